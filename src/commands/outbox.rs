//! `deskbridge outbox`: what waits, what was given up, one message's whole history. Asks the running
//! gateway through its control socket, or the store itself while no gateway runs.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
};

use bridge_api::Key;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;
use crate::{
    clock,
    gateway::{Live, LiveError, location_of},
    model::{EnvelopeId, InboxName, SinkName},
    settings::Settings,
    store::{RowMark, Rows, Store, StoreError},
};

/// Rows of each list.
const ROWS_MAX: usize = 10_000;
/// Dead letters of one order.
const BATCH: usize = 500;

#[derive(Debug, Args)]
pub struct OutboxArgs {
    #[command(subcommand)]
    pub verb: OutboxVerb,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum OutboxVerb {
    /// What waits, and what was given up
    List,
    /// One message's whole history
    Show { key: String },
    /// Put dead letters back
    Retry(Chosen),
    /// Drop dead letters for good
    Discard(Chosen),
}

/// Some dead letters.
#[derive(Debug, Args)]
pub struct Chosen {
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub keys: Vec<String>,
    /// All of them; those that are given up meanwhile stay
    #[arg(long)]
    pub all: bool,
    /// With --all: only those for this far side, such as bridge:libera
    #[arg(long, requires = "all", value_name = "NAME")]
    pub sink: Option<String>,
}

/// What is done with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Retry,
    Discard,
}

impl Fate {
    /// The counted field of an answer.
    fn field(self) -> &'static str {
        match self {
            Self::Retry => "revived",
            Self::Discard => "discarded",
        }
    }
    fn word(self) -> &'static str {
        match self {
            Self::Retry => "put back",
            Self::Discard => "dropped",
        }
    }
}

/// What to print.
pub async fn run(args: &OutboxArgs, settings: &Settings) -> Result<String, Failure> {
    if let OutboxVerb::Discard(Chosen { all: true, sink: None, .. }) = &args.verb {
        return Err(Failure::usage("discard --all needs --sink NAME, since what is dropped is gone"));
    }
    let outbox = Outbox::reach(settings).await?;
    let answer = outbox.ask(&args.verb).await;
    outbox.close().await;
    let answer = answer?;
    if args.json {
        return Ok(format!("{answer:#}\n"));
    }
    let counted = |fate: Fate| format!("{} of {} {}\n", answer[fate.field()], answer["asked"], fate.word());
    Ok(match &args.verb {
        OutboxVerb::List => list_text(&answer, &sinks_of(settings)),
        OutboxVerb::Show { .. } => history_text(&answer),
        OutboxVerb::Retry(_) => counted(Fate::Retry),
        OutboxVerb::Discard(_) => counted(Fate::Discard),
    })
}

/// A gateway at work, or its store while there is none.
enum Outbox {
    Live(Live),
    Store(Arc<dyn Store>),
}

impl Outbox {
    async fn reach(settings: &Settings) -> Result<Self, Failure> {
        if let Some(live) = Live::reach(&settings.gateway.data_dir).map_err(unanswered)? {
            return Ok(Self::Live(live));
        }
        let location = location_of(settings);
        if let Some(missing) = location.is_missing() {
            return Err(Failure::new(format!("there is no outbox yet: {missing}")));
        }
        Ok(Self::Store(location.open().await.map_err(failed)?))
    }

    async fn close(&self) {
        if let Self::Store(store) = self {
            store.close().await;
        }
    }

    async fn ask(&self, verb: &OutboxVerb) -> Result<Value, Failure> {
        match verb {
            OutboxVerb::List => self.list().await,
            OutboxVerb::Show { key } => self.show(key).await,
            OutboxVerb::Retry(chosen) => self.decide(Fate::Retry, chosen).await,
            OutboxVerb::Discard(chosen) => self.decide(Fate::Discard, chosen).await,
        }
    }

    async fn list(&self) -> Result<Value, Failure> {
        match self {
            Self::Live(live) => live.get("/admin/outbox", &[]).await.map_err(unanswered),
            Self::Store(store) => {
                let (depth, dead) = (store.depth().await.map_err(failed)?, store.dead(ROWS_MAX).await.map_err(failed)?);
                Ok(json!({ "depth": depth, "dead": dead, "waiting": store.list(ROWS_MAX).await.map_err(failed)? }))
            }
        }
    }

    async fn show(&self, key: &str) -> Result<Value, Failure> {
        match self {
            Self::Live(live) => live.get("/admin/outbox/entry", &[("key", key)]).await.map_err(unanswered),
            Self::Store(store) => match store.history(&Key::from(key)).await.map_err(failed)? {
                Some(history) => Ok(json!(history)),
                None => {
                    Err(Failure::new(format!("no envelope has the key `{key}`; `outbox list` shows those that wait")))
                }
            },
        }
    }

    /// In batches, so that a gateway at work is not held up, and whoever waits sees how far it is.
    async fn decide(&self, fate: Fate, chosen: &Chosen) -> Result<Value, Failure> {
        let mut progress = Progress::new(fate);
        for keys in chosen.keys.chunks(BATCH) {
            progress.add(self.decide_on(fate, keys).await?, keys.len());
        }
        if !chosen.all {
            return Ok(progress.end());
        }
        let mut rows = Rows { sink: chosen.sink.clone(), ..Rows::first(BATCH) };
        loop {
            // From the newest back: what is given up again stands before that.
            let letters = self.dead(&rows).await?;
            let keys: Vec<_> = letters.iter().map(|letter| letter.key.clone()).collect();
            progress.add(self.decide_on(fate, &keys).await?, keys.len());
            rows.after = letters.last().map(|last| RowMark { at_millis: last.died_millis, id: EnvelopeId(last.id) });
            if letters.len() < BATCH {
                return Ok(progress.end());
            }
        }
    }

    async fn dead(&self, rows: &Rows) -> Result<Vec<Letter>, Failure> {
        let dead = match self {
            Self::Live(live) => {
                let count = rows.count_max.to_string();
                let after = rows.after.map(|after| format!("{}.{}", after.at_millis, after.id.0));
                let mut words = vec![("state", "dead"), ("count", count.as_str())];
                words.extend(rows.sink.as_deref().map(|sink| ("sink", sink)));
                words.extend(after.as_deref().map(|after| ("after", after)));
                live.get("/admin/outbox", &words).await.map_err(unanswered)?["dead"].take()
            }
            Self::Store(store) => json!(store.dead_rows(rows).await.map_err(failed)?),
        };
        serde_json::from_value(dead).map_err(|error| Failure::new(format!("the gateway answers oddly: {error}")))
    }

    /// Of how many it was true.
    async fn decide_on(&self, fate: Fate, keys: &[String]) -> Result<u64, Failure> {
        let now = clock::now_millis();
        match (self, fate) {
            (Self::Live(live), fate) => {
                let path = if fate == Fate::Retry { "/admin/outbox/retry" } else { "/admin/outbox/discard" };
                let answer = live.post(path, &json!({ "keys": keys })).await.map_err(unanswered)?;
                Ok(answer[fate.field()].as_u64().unwrap_or_default())
            }
            (Self::Store(store), Fate::Retry) => {
                Ok(store.revive(&keys_of(keys), now).await.map_err(failed)?.len() as u64)
            }
            (Self::Store(store), Fate::Discard) => Ok(store.discard(&keys_of(keys), now).await.map_err(failed)? as u64),
        }
    }
}

/// What of a dead letter is needed to decide about it.
#[derive(Deserialize)]
struct Letter {
    id: i64,
    key: String,
    died_millis: i64,
}

/// How far it is, on a terminal in one line that is written again and again.
struct Progress {
    fate: Fate,
    done: u64,
    asked: usize,
    shown: bool,
}

impl Progress {
    fn new(fate: Fate) -> Self {
        Self { fate, done: 0, asked: 0, shown: false }
    }

    fn add(&mut self, done: u64, asked: usize) {
        self.done += done;
        self.asked += asked;
        if asked == BATCH && io::stderr().is_terminal() {
            self.shown = true;
            // Nobody is helped by a failure to say how far it is.
            drop(write!(io::stderr(), "\r{} {} …", self.done, self.fate.word()));
        }
    }

    fn end(self) -> Value {
        if self.shown {
            drop(write!(io::stderr(), "\r\u{1b}[K"));
        }
        let mut answer = json!({ "asked": self.asked });
        answer[self.fate.field()] = json!(self.done);
        answer
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where a function of the error is wanted")]
fn unanswered(error: LiveError) -> Failure {
    Failure::new(error.to_string())
}

fn keys_of(keys: &[String]) -> Vec<Key> {
    keys.iter().map(|key| Key::from(key.as_str())).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where a function of the error is wanted")]
fn failed(error: StoreError) -> Failure {
    Failure::new(error.to_string())
}

/// The names of all that the settings name as a far side.
fn sinks_of(settings: &Settings) -> BTreeSet<String> {
    let inboxes = settings.inboxes.keys().map(|name| SinkName::inbox(&InboxName::new(name.as_str())).to_string());
    inboxes.chain(settings.bridges.keys().map(|name| SinkName::bridge(name).to_string())).collect()
}

fn list_text(answer: &Value, sinks: &BTreeSet<String>) -> String {
    // What waits for one of those waits until the settings name it again.
    let to = |sink: &Value| {
        let gone = if sinks.contains(sink.as_str().unwrap_or_default()) { "" } else { ", no longer in the settings" };
        format!("{}{gone}", word(sink))
    };
    let mut text = format!("{} waiting, {} given up\n", answer["depth"]["waiting"], answer["depth"]["dead"]);
    for row in answer["waiting"].as_array().into_iter().flatten() {
        let (key, attempts) = (word(&row["key"]), &row["attempts"]);
        let open = if row["open"] == json!(true) { ", under way or in doubt" } else { "" };
        let reason = row["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
        writeln_to(&mut text, &format!("  waiting  {key}  to {}  {attempts} attempts{open}{reason}", to(&row["sink"])));
    }
    for row in answer["dead"].as_array().into_iter().flatten() {
        let (key, attempts) = (word(&row["key"]), &row["attempts"]);
        let reason = word(&row["reason"]);
        writeln_to(&mut text, &format!("  given up {key}  to {}  {attempts} attempts: {reason}", to(&row["sink"])));
    }
    text
}

fn history_text(answer: &Value) -> String {
    let mut text = format!("{}  to {}\n", word(&answer["key"]), word(&answer["sink"]));
    writeln_to(&mut text, &format!("  {}  accepted", time(&answer["accepted_millis"])));
    for attempt in answer["attempts"].as_array().into_iter().flatten() {
        let outcome = attempt["outcome"].as_str().unwrap_or("open");
        let reason = attempt["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
        let line = format!("  {}  attempt {}: {outcome}{reason}", time(&attempt["started_millis"]), attempt["number"]);
        writeln_to(&mut text, &line);
    }
    let state = &answer["state"];
    let when = if state["at_millis"].is_null() { &state["due_millis"] } else { &state["at_millis"] };
    let more = state["reason"].as_str().or(state["result"].as_str()).map_or_else(String::new, |m| format!(": {m}"));
    writeln_to(&mut text, &format!("  {}  {}{more}", time(when), word(&state["state"])));
    text
}

/// Control characters of foreign texts stay out of the terminal.
fn word(value: &Value) -> String {
    value.as_str().unwrap_or("?").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn time(millis: &Value) -> String {
    let moment = millis.as_i64().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    moment.map_or_else(|| "?".to_owned(), |moment| format!("{moment:.3}"))
}

fn writeln_to(text: &mut String, line: &str) {
    // Writing to a `String` cannot fail.
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_something_that_the_settings_no_longer_name_is_shown_so() {
        let waiting = |sink: &str| json!({ "key": "k", "sink": sink, "attempts": 0, "open": false, "reason": null });
        let dead = json!([{ "key": "d", "sink": "bridge:old", "attempts": 1, "reason": "no" }]);
        let rows = [waiting("inbox:support"), waiting("inbox:renamed")];
        let answer = json!({ "depth": { "waiting": 2, "dead": 1 }, "waiting": rows, "dead": dead });
        let text = list_text(&answer, &BTreeSet::from(["inbox:support".to_owned(), "bridge:libera".to_owned()]));
        let gone: Vec<_> = text.lines().skip(1).map(|line| line.contains(", no longer in the settings")).collect();
        assert_eq!(gone, [false, true, true], "{text}");
    }
}
