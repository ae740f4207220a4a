//! `deskbridge man`: the manual, made of what the commands say of themselves.

use std::{io, path::PathBuf};

use clap::Args;

use super::Failure;

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder, instead of printing the first
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs, command: clap::Command) -> Result<String, Failure> {
    match &args.dir {
        None => page(command).map_err(|error| Failure::new(error.to_string())),
        Some(dir) => {
            let failed = |error: io::Error| Failure::new(format!("cannot write to {}: {error}", dir.display()));
            clap_mangen::generate_to(command, dir).map(|()| String::new()).map_err(failed)
        }
    }
}

fn page(command: clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_manual_has_a_page_for_each_command() {
        let folder = tempfile::tempdir().unwrap();
        let command = super::super::Arguments::command();
        let first = run(&ManArgs { dir: None }, command.clone()).unwrap();
        assert!(first.contains(".TH deskbridge 1") && first.contains("deskbridge\\-run(1)"), "{first}");
        run(&ManArgs { dir: Some(folder.path().to_owned()) }, command).unwrap();
        let outbox = std::fs::read_to_string(folder.path().join("deskbridge-outbox.1")).unwrap();
        assert!(outbox.contains("what was given up"), "{outbox}");
        let absent = ManArgs { dir: Some(folder.path().join("absent")) };
        assert!(run(&absent, super::super::Arguments::command()).is_err());
    }
}
