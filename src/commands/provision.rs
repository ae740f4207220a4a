//! `deskbridge provision`: makes or repairs the API inboxes that the settings name. The difference comes first.

use std::{env, fs, path::Path};

use clap::Args;

use super::{Failure, print};
use crate::{
    bridges::Registry,
    doctor::provision::{self, Done, Trouble},
    settings::{self, Draft},
};

#[derive(Debug, Args)]
pub(super) struct ProvisionArgs {
    /// Print what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also let these agents see the inboxes, by their mail addresses
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',')]
    agents: Vec<String>,
    /// Write the number of an inbox that was made or found into the settings file
    #[arg(long)]
    write: bool,
}

pub(super) async fn run(args: &ProvisionArgs, file: &Path, registry: &Registry) -> Result<(), Failure> {
    let draft = settings::load_draft(file, env::vars_os(), registry).map_err(Failure::Settings)?;
    if draft.settings.inboxes.is_empty() {
        return Err(Failure::usage(format!("{} names no inbox; write one as [inboxes.support]", file.display())));
    }
    let mut plans = Vec::new();
    for name in draft.settings.inboxes.keys() {
        let plan = provision::look(&draft, name, &args.agents).await.map_err(|trouble| failure(name, trouble))?;
        print(&plan.difference())?;
        plans.push(plan);
    }
    if args.dry_run {
        return print("nothing was changed (--dry-run)\n");
    }
    for plan in plans {
        let name = plan.name().to_owned();
        let done = plan.carry_out(&mut |line| print(&format!("inbox {name}: {line}\n")).unwrap_or_default()).await;
        let done = done.map_err(|trouble| failure(&name, trouble))?;
        print(&numbered(args, file, &draft, &name, &done)?)?;
    }
    Ok(())
}

fn failure(name: &str, trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Settings(reason) => Failure::usage(format!("inbox {name}: {reason}")),
        Trouble::Failed(reason) => Failure::new(format!("inbox {name}: {reason}")),
    }
}

/// What is to be done about a number that the settings do not have yet.
fn numbered(args: &ProvisionArgs, file: &Path, draft: &Draft, name: &str, done: &Done) -> Result<String, Failure> {
    let id = done.inbox_id;
    if draft.inboxes.get(name).and_then(|inbox| inbox.inbox_id) == Some(id) {
        return Ok(String::new());
    }
    let by_hand = format!("inbox {name}: write this into [inboxes.{name}] of {}:\ninbox_id = {id}\n", file.display());
    if !args.write {
        return Ok(by_hand);
    }
    let failed =
        |error: std::io::Error| Failure::new(format!("{} cannot be changed: {error}\n{by_hand}", file.display()));
    let text = fs::read_to_string(file).map_err(failed)?;
    match settings::with_inbox_id(&text, name, id) {
        Some(changed) => {
            provision::replace(file, changed.as_bytes()).map_err(failed)?;
            Ok(format!("inbox {name}: {} says `inbox_id = {id}` now\n", file.display()))
        }
        None => Ok(by_hand),
    }
}
