//! From the spool to the gateway, through every stage.

use std::{sync::Arc, time::Duration};

use bridge_api::{CancellationToken, Spool, kit::RecordingHost};
use tokio::time::timeout;

use super::{envelope, from_ada, message, settings};
use crate::{
    desk::{DeskParts, run},
    envelope::SPOOL,
    token::TokenKey,
    verdict::Judge,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps a mail as the server does.
async fn keep(recording: &Arc<RecordingHost>, number: u32, sender: &str, raw: String) {
    let envelope = serde_json::to_string(&envelope(sender, "support@acme.test", number)).unwrap();
    Spool::new(&recording.host("mail"), SPOOL, 1000).keep(raw.replace('\n', "\r\n").into(), &envelope).await.unwrap();
}

#[tokio::test]
async fn what_waits_in_the_spool_is_entered_in_order_and_leaves_it_once_it_is_accepted() {
    let recording = RecordingHost::new();
    let host = recording.host("mail");
    for number in 0..50 {
        let fields = format!("Message-ID: <{number}@cust.test>\nSubject: s{number}");
        keep(&recording, number, "ada@cust.test", from_ada(&fields, &number.to_string())).await;
    }
    let settings = Arc::new(settings(r#", "verify": "off""#));
    let judge = Arc::new(Judge::new(&settings).unwrap());
    let parts = DeskParts::new(&host, settings, judge, TokenKey::new());
    recording.recorded().refuses = true;
    let stop = CancellationToken::new();
    let watched = async {
        recording.wait_refused(2).await;
        assert_eq!(recording.recorded().cursors.len(), 50, "nothing leaves the spool before it is accepted");
        recording.recorded().refuses = false;
        recording.wait_for(|recorded| (recorded.events.len() >= 50).then_some(())).await;
        // One that comes while the desk works, perhaps to another replica.
        keep(&recording, 50, "bob@cust.test", from_ada("Message-ID: <50@cust.test>\nSubject: s50", "50")).await;
        recording.wait_for(|recorded| (recorded.events.len() >= 51).then_some(())).await;
        stop.cancel();
    };
    let running = run(&host, parts, &stop);
    timeout(PATIENCE, async { tokio::join!(running, watched) }).await.expect("the spool is worked off");
    let recorded = recording.recorded();
    let messages: Vec<_> =
        recorded.events.iter().filter(|e| matches!(e.report, bridge_api::Report::Message(_))).collect();
    let numbers: Vec<String> =
        messages.iter().map(|event| message(event).text.rsplit('\n').next().unwrap().to_owned()).collect();
    assert_eq!(numbers, (0..51).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(!recorded.cursors.keys().any(|name| name.starts_with(SPOOL)), "the spool is empty");
}
