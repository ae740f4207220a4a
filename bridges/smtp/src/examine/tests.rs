//! A look at scripted relays, a small DNS and our own server: each thing that can be wrong is named in one line.

use std::{net::SocketAddr, time::Duration};

use bridge_api::{
    BridgeName, Examination, Findings, Kind, Verdict,
    kit::look::{self, Seen, free_address},
};
use serde_json::{Value, json};

use super::{Limits, Look, Parts};
use crate::{Smtp, settings::Settings};

mod doors;
mod names;
mod relays;

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than a busy machine needs.
const PATIENT: Limits = Limits {
    connect: PATIENCE,
    handshake: PATIENCE,
    door: PATIENCE,
    relay: PATIENCE,
    question: PATIENCE,
    goodbye: Duration::from_millis(200),
    parts: Parts { listeners: PATIENCE, relay: PATIENCE, records: PATIENCE },
};

fn table(more: &Value) -> Value {
    let mut table = json!({
        "listen": free_address().to_string(), "hostname": "mx.acme.test", "addresses": ["support@acme.test"],
        "from": "Acme <support@acme.test>", "relay": { "host": "127.0.0.1", "port": 1, "security": "none" },
        "dns_servers": ["127.0.0.1:1"],
    });
    for (key, value) in more.as_object().unwrap() {
        table[key] = value.clone();
    }
    table
}

fn settings(more: &Value) -> Settings {
    let settings: Settings = serde_json::from_value(table(more)).unwrap();
    settings.check().unwrap();
    settings
}

/// One part of the whole.
async fn part(settings: &Settings, work: impl AsyncFnOnce(&Look<'_>)) -> Seen {
    let (findings, identity) = (Findings::default(), settings.identity().unwrap());
    let how = Examination::new(false);
    work(&Look { settings, identity: &identity, how, limits: PATIENT, findings: &findings }).await;
    let found = findings.take();
    found.iter().for_each(look::well_formed);
    assert!(!format!("{found:?}").contains("sesame"), "{found:#?}");
    Seen(found)
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers_are_failures_in_time() {
    let build = |address: SocketAddr| {
        let relay = json!({ "host": address.ip().to_string(), "port": address.port(), "security": "none" });
        let table = table(&json!({ "relay": relay }));
        Smtp::build(BridgeName::from("mail"), serde_json::from_value(table).unwrap()).unwrap()
    };
    look::at_nothing(build).await;
    look::at_silence(build).await;
}
