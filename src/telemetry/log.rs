//! The log: to standard error, as lines for people on a terminal, else as JSON; and where traces are collected, the spans
//! to the collector beside it.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, reload};

#[cfg(feature = "otlp")]
use super::otlp::{self, Collector};
use crate::settings::{Log, LogFormat};

/// Lasts as long as the process has something to say. Its end sends what a collector was not told yet.
#[derive(Default)]
#[must_use = "dropped, it sends no more spans"]
pub struct Logging {
    level: Option<SetLevel>,
    #[cfg(feature = "otlp")]
    _collector: Option<Collector>,
}

/// Gives the log another filter.
type SetLevel = Box<dyn Fn(EnvFilter) + Send + Sync>;
type Made = (Box<dyn Subscriber + Send + Sync>, SetLevel);

impl Logging {
    /// From now on this much is logged.
    pub fn set_level(&self, log: &Log) {
        if let Some(set) = &self.level {
            set(filter(log));
        }
    }
}

/// From now on events are logged to standard error. The first call counts.
///
/// Text from far away is only ever the value of a field, as `?text` or a plain `&str`: both are
/// escaped, where a message or `%text` would let a newline in a nick begin a line of its own.
pub fn start_log(log: &Log) -> Logging {
    let terminal = io::stderr().is_terminal();
    #[cfg(feature = "otlp")]
    if let Some(url) = &log.otlp {
        match Collector::new(url) {
            Ok(collector) => {
                let level = start(traced(log, terminal, io::stderr, &collector));
                return Logging { level, _collector: Some(collector) };
            }
            Err(error) => {
                let level = start(subscriber(log, terminal, io::stderr));
                tracing::warn!(error = error.to_string(), "no spans are sent to the collector");
                return Logging { level, _collector: None };
            }
        }
    }
    let level = start(subscriber(log, terminal, io::stderr));
    Logging {
        level,
        #[cfg(feature = "otlp")]
        _collector: None,
    }
}

fn start((subscriber, level): Made) -> Option<SetLevel> {
    // Refused when there is one already, as in tests; then that one stays.
    tracing::subscriber::set_global_default(subscriber).ok().map(|()| level)
}

fn filter(log: &Log) -> EnvFilter {
    EnvFilter::builder().parse_lossy(log.level.as_str())
}

fn subscriber<W>(log: &Log, terminal: bool, writer: W) -> Made
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(writer).with_ansi(terminal);
    if is_json(log.format, terminal) {
        let lines = lines.json().flatten_event(true).with_filter_reloading();
        let level = setter(lines.reload_handle());
        (Box::new(lines.finish()), level)
    } else {
        let lines = lines.with_filter_reloading();
        let level = setter(lines.reload_handle());
        (Box::new(lines.finish()), level)
    }
}

fn setter<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> SetLevel {
    Box::new(move |filter| {
        if let Err(error) = handle.reload(filter) {
            tracing::warn!(error = error.to_string(), "the log keeps its level");
        }
    })
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    }
}

/// The same, and the spans to the collector, which the log does not show: its lines stay as they are without one.
#[cfg(feature = "otlp")]
fn traced<W>(log: &Log, terminal: bool, writer: W, collector: &Collector) -> Made
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    use tracing_subscriber::{
        Layer as _, Registry,
        filter::{FilterExt as _, filter_fn},
        layer::SubscriberExt as _,
    };

    let (filter, handle) = reload::Layer::new(filter(log));
    let filter = filter.and(filter_fn(|metadata| !otlp::is_for_collector(metadata)));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal);
    let spans = Registry::default().with(collector.layer());
    if is_json(log.format, terminal) {
        (Box::new(spans.with(lines.json().flatten_event(true).with_filter(filter))), setter(handle))
    } else {
        (Box::new(spans.with(lines.with_filter(filter))), setter(handle))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What an event of each level looks like in this format.
    fn logged(level: &str, format: LogFormat) -> String {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let log = Log { level: level.parse().unwrap(), format, ..Log::default() };
        tracing::subscriber::with_default(subscriber(&log, false, file.clone()).0, || {
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

    #[test]
    fn the_level_may_be_set_while_it_logs() {
        for format in [LogFormat::Pretty, LogFormat::Json] {
            let file = Arc::new(tempfile::tempfile().unwrap());
            let log = |level: &str| Log { level: level.parse().unwrap(), format, ..Log::default() };
            let (lines, set) = subscriber(&log("warn"), false, file.clone());
            tracing::subscriber::with_default(lines, || {
                tracing::info!("before");
                set(filter(&log("info")));
                tracing::info!("after");
            });
            let lines = io::read_to_string(rewound(&file)).unwrap();
            assert!(lines.lines().count() == 1 && lines.contains("after"), "{lines}");
        }
    }
}
