//! A look at the listeners, the relay and the names in DNS for `deskbridge doctor`, step by step, each with a limit of
//! its own. Hands over no mail, neither to the relay nor to ourselves.

use std::{fmt::Display, future::Future, time::Duration};

use bridge_api::{Examination, Findings};
use tokio::time::timeout;

use crate::settings::{Identity, Settings};

mod certificate;
mod dkim;
mod door;
mod listeners;
mod names;
mod records;
mod relay;
mod talk;
#[cfg(test)]
mod tests;
mod tls;

/// How long each step may take. The three parts together stay below the half minute that a look has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    connect: Duration,
    handshake: Duration,
    /// For one of our own listeners, from the greeting to the farewell.
    door: Duration,
    /// For the relay, from the greeting to the farewell.
    relay: Duration,
    /// For one question to DNS.
    question: Duration,
    goodbye: Duration,
    parts: Parts,
}

/// For all that belongs together.
#[derive(Clone, Copy, Debug)]
struct Parts {
    listeners: Duration,
    relay: Duration,
    records: Duration,
}

impl Limits {
    pub(crate) const USUAL: Self = Self {
        connect: Duration::from_secs(4),
        handshake: Duration::from_secs(4),
        door: Duration::from_secs(2),
        relay: Duration::from_secs(8),
        question: Duration::from_secs(5),
        goodbye: Duration::from_millis(300),
        parts: Parts {
            listeners: Duration::from_secs(8),
            relay: Duration::from_secs(13),
            records: Duration::from_secs(7),
        },
    };
}

/// What all steps know.
struct Look<'a> {
    settings: &'a Settings,
    identity: &'a Identity,
    how: Examination,
    limits: Limits,
    findings: &'a Findings,
}

/// What came of one check.
enum Outcome {
    Fine(String),
    Skipped(String),
    /// What was found, and what to change.
    Warning(String, String),
    Failed(String, String),
}

pub(crate) async fn examine(
    settings: &Settings,
    identity: &Identity,
    how: Examination,
    limits: Limits,
    findings: &Findings,
) {
    let look = Look { settings, identity, how, limits, findings };
    certificate::look(&look);
    let Parts { listeners, relay, records } = limits.parts;
    look.part("look at our own listeners", listeners, listeners::look(&look)).await;
    look.part("look at the relay", relay, relay::look(&look)).await;
    look.part("ask DNS about our names", records, records::look(&look)).await;
}

impl Look<'_> {
    async fn part(&self, tried: &str, limit: Duration, work: impl Future<Output = ()>) {
        if timeout(limit, work).await.is_err() {
            let change = "see why what it tried last does not answer";
            self.tell(tried, failed(format!("not at its end within {} s", limit.as_secs_f32()), change));
        }
    }

    fn tell(&self, tried: impl Into<String>, outcome: Outcome) {
        // Servers end their words as they like.
        let line = |found: String| found.trim_end_matches('.').to_owned();
        match outcome {
            Outcome::Fine(found) => self.findings.fine(tried, found),
            Outcome::Skipped(found) => self.findings.skipped(tried, line(found)),
            Outcome::Warning(found, change) => self.findings.warning(tried, line(found), change),
            Outcome::Failed(found, change) => self.findings.failed(tried, line(found), change),
        }
    }
}

fn warning(found: impl Into<String>, change: impl Into<String>) -> Outcome {
    Outcome::Warning(found.into(), change.into())
}

fn failed(found: impl Into<String>, change: impl Into<String>) -> Outcome {
    Outcome::Failed(found.into(), change.into())
}

async fn within<T, E: Display>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(late(limit)),
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs_f32())
}

/// Most characters of foreign words that are shown.
const WORDS_MAX: usize = 200;

/// Foreign words on one line: quoted, escaped, and not too many.
fn quoted(words: &str) -> String {
    let cut: String = words.trim().chars().take(WORDS_MAX).collect();
    format!("{cut:?}")
}
