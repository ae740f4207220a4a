//! `deskbridge store copy`: moves what is kept from SQLite to PostgreSQL.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use clap::{Args, Subcommand};

use super::Failure;
use crate::{
    gateway::location,
    settings::{Settings, StoreUrl},
    store::{Copied, CopyStep, Location, copy},
};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy all that is kept into another store, and compare the two. The gateway must be stopped. Can be run again
    Copy(CopyArgs),
}

#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    /// `sqlite:PATH`; left out, where the data directory has it
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// `postgres://USER:PASSWORD@HOST/DATABASE`; left out, `store.url` of the settings, which other users of this machine
    /// cannot read off the process
    #[arg(long, value_name = "URL")]
    to: Option<String>,
}

/// What to print.
pub(super) async fn run(command: &StoreCommand, settings: &Settings) -> Result<String, Failure> {
    let StoreCommand::Copy(args) = command;
    let data_dir = &settings.gateway.data_dir;
    let from = match &args.from {
        Some(from) => url("--from", from)?,
        None => StoreUrl::Sqlite(data_dir.join("deskbridge.db")),
    };
    let to = match &args.to {
        Some(to) => url("--to", to)?,
        None => settings.store.url.clone(),
    };
    let (Location::Sqlite(from), Location::Postgres(mut to)) = (location(&from, data_dir), location(&to, data_dir))
    else {
        return Err(Failure::usage(
            "a copy goes from sqlite:PATH to postgres://…: set `store.url`, or say --from and --to",
        ));
    };
    if !from.database.exists() {
        return Err(Failure::new(format!("there is nothing to copy: {} does not exist", from.database.display())));
    }
    // The source has its lock already.
    to.data_dir = None;
    let mut progress = Progress::default();
    let copied = copy(&from, &to, |step| progress.tell(step)).await;
    progress.end();
    Ok(text(&copied.map_err(|error| Failure::new(error.to_string()))?))
}

fn url(option: &str, text: &str) -> Result<StoreUrl, Failure> {
    text.parse().map_err(|message| Failure::usage(format!("{option} {message}")))
}

/// On a terminal, one line that is written over.
#[derive(Default)]
struct Progress {
    width: usize,
}

impl Progress {
    fn tell(&mut self, step: CopyStep) {
        let doing = if step.checking { "comparing" } else { "copying" };
        self.show(&format!("{doing} {}: {} rows", step.kind, step.rows));
    }

    fn end(&mut self) {
        if self.width > 0 {
            self.show("");
            self.show_raw("\r");
        }
    }

    fn show(&mut self, line: &str) {
        if io::stderr().is_terminal() {
            self.show_raw(&format!("\r{line:width$}", width = self.width));
            self.width = line.len();
        }
    }

    #[expect(clippy::unused_self, reason = "it is what is shown of it")]
    fn show_raw(&self, text: &str) {
        // Whoever does not see how far it is misses nothing else.
        io::stderr().write_all(text.as_bytes()).ok();
    }
}

fn text(copied: &[Copied]) -> String {
    let mut text = String::new();
    for Copied { kind, rows, digest } in copied {
        writeln!(text, "{kind:8} {rows:>10} rows, {digest} on both sides").expect("writing to a string cannot fail");
    }
    text.push_str(
        "all is copied: start the gateway with `store.url` set to the new one, and keep the old file until it works\n",
    );
    text
}
