//! From the spool to the gateway, through every stage.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bridge_api::{CancellationToken, Cursor, kit::RecordingHost};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

use super::{envelope, from_ada, message, settings};
use crate::{
    desk::{DeskParts, queue::Queue, refill, run},
    envelope::SPOOL,
    server::{Intake, Porter},
    token::TokenKey,
    verdict::Judge,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps a mail as the server does.
async fn keep(recording: &Arc<RecordingHost>, number: u32, sender: &str, raw: String) {
    let envelope = serde_json::to_string(&envelope(sender, "support@acme.test", number)).unwrap();
    let bytes = raw.replace('\n', "\r\n").into();
    let cursors = move |id: &bridge_api::KeptId| vec![Cursor::set(format!("{SPOOL}{id}"), envelope)];
    recording.host("mail").keep(bytes, cursors).await.unwrap();
}

#[tokio::test]
async fn what_waits_in_the_spool_is_entered_in_order_and_leaves_it_once_it_is_accepted() {
    let recording = RecordingHost::new();
    let host = recording.host("mail");
    for number in 0..50 {
        let fields = format!("Message-ID: <{number}@cust.test>\nSubject: s{number}");
        keep(&recording, number, "ada@cust.test", from_ada(&fields, &number.to_string())).await;
    }
    let (mails, arrivals) = mpsc::channel(4);
    let (missed, waiting) = (Arc::new(Notify::new()), Arc::new(50.into()));
    let settings = Arc::new(settings(r#", "verify": "off""#));
    let porter = Arc::new(Porter::new(&settings, TokenKey::new()));
    let intake = Intake { host: host.clone(), porter, mails, missed, waiting };
    let judge = Arc::new(Judge::new(&settings).unwrap());
    let parts = DeskParts::new(arrivals, &intake, settings, judge, TokenKey::new());
    recording.recorded().refuses = true;
    let stop = CancellationToken::new();
    let watched = async {
        recording.wait_refused(2).await;
        assert_eq!(recording.recorded().cursors.len(), 50, "nothing leaves the spool before it is accepted");
        recording.recorded().refuses = false;
        recording.wait_for(|recorded| (recorded.events.len() >= 50).then_some(())).await;
        // One that the channel had no room for is found by looking.
        keep(&recording, 50, "bob@cust.test", from_ada("Message-ID: <50@cust.test>\nSubject: s50", "50")).await;
        intake.waiting.fetch_add(1, Ordering::AcqRel);
        intake.missed.notify_one();
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
    assert_eq!(intake.waiting.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn what_is_found_in_the_spool_does_not_wait_in_the_channel_as_well() {
    let recording = RecordingHost::new();
    let host = recording.host("mail");
    let (mails, mut arrivals) = mpsc::channel(4);
    for number in 0..3 {
        keep(&recording, number, "ada@cust.test", from_ada("Subject: s", "x")).await;
        let id = bridge_api::KeptId::from(format!("{number:032x}"));
        mails.send((id, envelope("ada@cust.test", "support@acme.test", number))).await.unwrap();
    }
    let mut queue = Queue::new('+');
    assert!(!refill(&host, &mut arrivals, &mut queue).await);
    assert!(arrivals.try_recv().is_err());
    assert_eq!(queue.next().unwrap().1.len(), 3);
}
