//! `deskbridge outbox`: what waits, what was given up, one message's whole history. Asks the running
//! gateway through its control socket, or the store itself while no gateway runs.

use std::{collections::BTreeSet, fmt::Write as _};

use bridge_api::Key;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use crate::{
    clock,
    gateway::{Live, place_of},
    model::{InboxName, SinkName},
    settings::Settings,
    store::{SqliteStore, Store, StoreError},
};

/// Rows of each list.
const ROWS_MAX: usize = 10_000;

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
    Retry {
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Drop dead letters for good
    Discard {
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

/// What to print.
pub async fn run(args: &OutboxArgs, settings: &Settings) -> Result<String, Failure> {
    let live = Live::reach(&settings.gateway.data_dir).map_err(|error| Failure::new(error.to_string()))?;
    let answer = match live {
        Some(live) => ask_live(&live, &args.verb).await?,
        None => ask_store(settings, &args.verb).await?,
    };
    if args.json {
        return Ok(format!("{answer:#}\n"));
    }
    Ok(match &args.verb {
        OutboxVerb::List => list_text(&answer, &sinks_of(settings)),
        OutboxVerb::Show { .. } => history_text(&answer),
        OutboxVerb::Retry { .. } => format!("{} of {} put back\n", answer["revived"], answer["asked"]),
        OutboxVerb::Discard { .. } => format!("{} of {} dropped\n", answer["discarded"], answer["asked"]),
    })
}

async fn ask_live(live: &Live, verb: &OutboxVerb) -> Result<Value, Failure> {
    let answer = match verb {
        OutboxVerb::List => live.get("/admin/outbox", &[]).await,
        OutboxVerb::Show { key } => live.get("/admin/outbox/entry", &[("key", key)]).await,
        OutboxVerb::Retry { keys } => live.post("/admin/outbox/retry", &json!({ "keys": keys })).await,
        OutboxVerb::Discard { keys } => live.post("/admin/outbox/discard", &json!({ "keys": keys })).await,
    };
    answer.map_err(|error| Failure::new(error.to_string()))
}

async fn ask_store(settings: &Settings, verb: &OutboxVerb) -> Result<Value, Failure> {
    let place = place_of(settings);
    if !place.database.exists() {
        return Err(Failure::new(format!("there is no outbox yet: {} does not exist", place.database.display())));
    }
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&place)).await;
    let store = opened.map_err(|error| Failure::new(error.to_string()))?.map_err(failed)?;
    let answer = look(&store, verb).await;
    store.close().await;
    answer
}

async fn look(store: &SqliteStore, verb: &OutboxVerb) -> Result<Value, Failure> {
    let now = clock::now_millis();
    match verb {
        OutboxVerb::List => {
            let (depth, dead) = (store.depth().await.map_err(failed)?, store.dead(ROWS_MAX).await.map_err(failed)?);
            Ok(json!({ "depth": depth, "dead": dead, "waiting": store.list(ROWS_MAX).await.map_err(failed)? }))
        }
        OutboxVerb::Show { key } => match store.history(&Key::from(key.as_str())).await.map_err(failed)? {
            Some(history) => Ok(json!(history)),
            None => Err(Failure::new(format!("no envelope has the key `{key}`; `outbox list` shows those that wait"))),
        },
        OutboxVerb::Retry { keys } => {
            let revived = store.revive(&keys_of(keys), now).await.map_err(failed)?;
            Ok(json!({ "revived": revived.len(), "asked": keys.len() }))
        }
        OutboxVerb::Discard { keys } => {
            let discarded = store.discard(&keys_of(keys), now).await.map_err(failed)?;
            Ok(json!({ "discarded": discarded, "asked": keys.len() }))
        }
    }
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
