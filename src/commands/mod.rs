//! One thin file per command: arguments in, a room below does the work, text or JSON out.
//!
//! Standard output is the result and standard error the log; the exit status is 0 for done, 1 for
//! failed, 2 for wrong usage or settings.

mod check;
mod completions;
mod doctor;
mod forget;
mod healthcheck;
mod inbox;
mod man;
mod matrix;
pub mod outbox;
mod provision;
pub mod run;
pub mod sandbox;
mod schema;
mod store;
pub mod try_it;

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    bridges::Registry,
    settings::{self, Faults, Log, Settings},
    telemetry,
};

/// Carries conversations between chat networks and a help desk's API inbox
#[derive(Debug, Parser)]
#[command(name = "deskbridge", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole product in one process, with nothing to set up
    Try(try_it::TryArgs),
    /// The gateway
    Run(SettingsArgs),
    /// Read the settings and say everything that is wrong with them
    Check(SettingsArgs),
    /// Check the wiring against the live systems: what was tried, what came back, what to change
    Doctor {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(flatten)]
        doctor: doctor::DoctorArgs,
    },
    /// Make or repair the API inboxes: callback address and secret
    Provision {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(flatten)]
        provision: provision::ProvisionArgs,
    },
    /// The stand-in inbox alone, with its agent page
    Sandbox(sandbox::SandboxArgs),
    /// What waits and what was given up, and what to do about it
    Outbox {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(flatten)]
        outbox: outbox::OutboxArgs,
    },
    /// Remove whatever is kept of a person here
    Forget {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(flatten)]
        forget: forget::ForgetArgs,
    },
    /// For inboxes that were restored or replaced
    Inbox {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(subcommand)]
        command: inbox::InboxCommand,
    },
    /// Where messages are kept
    Store {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// For bridges to Matrix
    Matrix {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(subcommand)]
        command: matrix::MatrixCommand,
    },
    /// Print the settings' JSON Schema, for editors
    Schema,
    /// Ask a running gateway whether it is ready
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man(man::ManArgs),
}

/// Where the settings are.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// The settings file
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        env = "DESKBRIDGE_CONFIG",
        default_value = "deskbridge.toml",
        global = true
    )]
    file: PathBuf,
}

impl SettingsArgs {
    fn load(&self, registry: &Registry) -> Result<Settings, Failure> {
        settings::load(&self.file, env::vars_os(), registry).map_err(Failure::Settings)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    Failed(String),
    Usage(String),
    Settings(Faults),
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    fn report(self) -> ExitCode {
        let (text, status) = match self {
            Self::Failed(message) => (format!("deskbridge: {message}\n"), 1),
            Self::Usage(message) => (format!("deskbridge: {message}\n"), 2),
            Self::Settings(faults) => (faults.report(io::stderr().is_terminal()), 2),
        };
        // When standard error is gone, the exit status is all that is left to say it with.
        drop(io::stderr().lock().write_all(text.as_bytes()));
        ExitCode::from(status)
    }
}

/// Does what the process's arguments say, with the bridges of this registry.
pub fn run(registry: &Registry) -> ExitCode {
    match obey(Arguments::parse().command, registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn obey(command: Command, registry: &Registry) -> Result<(), Failure> {
    match command {
        Command::Try(args) => {
            let _logging = telemetry::start_log(&Log::default());
            wait_for(try_it::run(&args, registry))
        }
        Command::Run(args) => {
            let settings = args.load(registry)?;
            let logging = telemetry::start_log(&settings.log);
            let read = || settings::load(&args.file, env::vars_os(), registry);
            wait_for(run::run(settings, &read, &logging))
        }
        Command::Sandbox(args) => {
            let _logging = telemetry::start_log(&Log::default());
            wait_for(sandbox::run(args))
        }
        Command::Check(args) => print(&check::run(&args.file, &args.load(registry)?)),
        Command::Doctor { settings, doctor } => wait_for(doctor::run(&doctor, &settings.load(registry)?)),
        Command::Provision { settings, provision } => wait_for(provision::run(&provision, &settings.file, registry)),
        Command::Outbox { settings, outbox } => {
            let settings = settings.load(registry)?;
            print(&wait_for(outbox::run(&outbox, &settings))?)
        }
        Command::Forget { settings, forget } => print(&wait_for(forget::run(&forget, &settings.load(registry)?))?),
        Command::Inbox { settings, command } => print(&wait_for(inbox::run(&command, &settings.load(registry)?))?),
        Command::Store { settings, command } => print(&wait_for(store::run(&command, &settings.load(registry)?))?),
        Command::Matrix { settings, command } => print(&matrix::run(&command, &settings.load(registry)?)?),
        Command::Schema => print(&schema::run(registry)),
        Command::Healthcheck(args) => print(&wait_for(healthcheck::run(&args, registry))?),
        Command::Completions(args) => {
            print(&completions::run(&args, &mut <Arguments as clap::CommandFactory>::command()))
        }
        Command::Man(args) => print(&man::run(&args, <Arguments as clap::CommandFactory>::command())?),
    }
}

fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Runtime::new();
    runtime.map_err(|error| Failure::new(format!("the runtime does not start: {error}")))?.block_on(work)
}

/// A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("the result cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_settings_file_may_stand_behind_the_verb() {
        let parsed = Arguments::try_parse_from(["deskbridge", "outbox", "list", "-c", "x.toml", "--json"]).unwrap();
        let Command::Outbox { settings, outbox } = parsed.command else { panic!("another command") };
        assert_eq!((settings.file, outbox.json), (PathBuf::from("x.toml"), true));
    }

    #[test]
    fn wrong_usage_is_status_2() {
        for arguments in
            [&["deskbridge", "rum"][..], &["deskbridge", "outbox", "retry"], &["deskbridge", "check", "-x"]]
        {
            assert_eq!(Arguments::try_parse_from(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
    }
}
