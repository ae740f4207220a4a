//! `deskbridge completions`: what a shell needs to complete the commands.

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, command: &mut clap::Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "deskbridge", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
