//! `deskbridge doctor`: looks at the wiring against the live systems, one line a check.

use std::io::{self, IsTerminal as _};

use clap::Args;

use super::{Failure, print};
use crate::{
    doctor::{self, Reported, Tally},
    settings::Settings,
};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints each finding as it comes, or all of them as one document.
pub(super) async fn run(args: &DoctorArgs, settings: &Settings) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal();
    let (mut before, mut printed) = (None::<Reported>, Ok(()));
    let reported = doctor::examine(settings, |finding| {
        if args.json || printed.is_err() {
            return;
        }
        printed = print(&doctor::line(finding, before.as_ref(), terminal));
        before = Some(finding.clone());
    });
    let reported = reported.await;
    printed?;
    let tally = doctor::tally(&reported);
    if args.json {
        print(&format!("{:#}\n", doctor::json(&reported)))?;
    } else {
        print(&format!("{}{}\n", if terminal { "\n" } else { "" }, tally.words()))?;
    }
    ended(tally)
}

fn ended(tally: Tally) -> Result<(), Failure> {
    match tally.failed {
        0 => Ok(()),
        1 => Err(Failure::new("one check failed")),
        failed => Err(Failure::new(format!("{failed} checks failed"))),
    }
}
