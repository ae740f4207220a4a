//! The log: to standard error, as lines for people on a terminal, else as JSON. Says nothing of its own.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::settings::{Log, LogFormat};

/// From now on events are logged to standard error. The first call counts.
///
/// Text from far away is only ever the value of a field, as `?text` or a plain `&str`: both are
/// escaped, where a message or `%text` would let a newline in a nick begin a line of its own.
pub fn start_log(log: &Log) {
    let subscriber = subscriber(log, io::stderr().is_terminal(), io::stderr);
    // Refused when there is one already, as in tests; then that one stays.
    drop(tracing::subscriber::set_global_default(subscriber));
}

fn subscriber<W>(log: &Log, terminal: bool, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse_lossy(log.level.as_str());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(terminal);
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    };
    if json { Box::new(lines.json().flatten_event(true).finish()) } else { Box::new(lines.finish()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What an event of each level looks like in this format.
    fn logged(level: &str, format: LogFormat) -> String {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let log = Log { level: level.parse().unwrap(), format };
        tracing::subscriber::with_default(subscriber(&log, false, file.clone()), || {
            tracing::debug!("unheard");
            tracing::info!(nick = "eve\nERROR forged \u{1b}[31m", peer = ?"a\nb", "somebody wrote");
        });
        io::read_to_string(rewound(&file)).unwrap()
    }

    fn rewound(mut file: &std::fs::File) -> &std::fs::File {
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn text_from_far_away_stays_on_its_line_in_both_formats() {
        for format in [LogFormat::Pretty, LogFormat::Json, LogFormat::Auto] {
            let lines = logged("info", format);
            assert_eq!(lines.lines().count(), 1, "{lines}");
            assert!(!lines.contains('\u{1b}') && lines.contains("somebody wrote"), "{lines}");
        }
    }

    #[test]
    fn away_from_a_terminal_auto_is_json_with_the_fields_beside_the_message() {
        let line: serde_json::Value = serde_json::from_str(&logged("info", LogFormat::Auto)).unwrap();
        assert_eq!(line["message"], "somebody wrote");
        assert_eq!(line["nick"], "eve\nERROR forged \u{1b}[31m");
    }

    #[test]
    fn the_level_may_be_set_per_module() {
        assert_eq!(logged("off", LogFormat::Pretty), "");
        assert_eq!(logged("off,deskbridge=debug", LogFormat::Pretty).lines().count(), 2);
        assert_eq!(logged("warn,deskbridge::pump=debug", LogFormat::Pretty), "");
    }
}
