//! What a caller leaves behind.

use std::time::Duration;

use bridge_api::{Message, Peer, Report, Speaker, kit::Idle};

use super::{reply::agent_id, *};
use crate::{store::MemoryStore, telemetry::Figures};

fn event() -> Inbound {
    let peer = Peer {
        id: "a:ada".into(),
        name: "ada".into(),
        facts: std::collections::BTreeMap::new(),
        email: None,
        picture: None,
    };
    let message = Message {
        peer,
        speaker: Speaker::Peer,
        text: "hello".into(),
        attachments: Vec::new(),
        reply_to: None,
        quiet: false,
        facts: std::collections::BTreeMap::new(),
        thread_facts: std::collections::BTreeMap::new(),
    };
    Inbound { event: "1".into(), at_millis: 1, thread: "a:ada".into(), report: Report::Message(message) }
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_left_behind_in_the_store_still_reaches_the_pump() {
    let (feed, mut pump) = mpsc::channel(1);
    feed.send(Feed::Back(SinkName::from_stored("inbox:support"))).await.unwrap();
    let all = Figures::new([("net", "support")], ["support"], None);
    let figures = all.bridge("net").unwrap();
    let typing = mpsc::channel(1).0;
    let route = Route { inbox: InboxName::new("support"), bridge: Arc::new(Idle), typing, figures };
    let store = Arc::new(MemoryStore::default());
    let routes = Arc::new([(BridgeName::from("net"), Arc::new(route))].into_iter().collect());
    let horizon = Horizon { born_millis: 0, memory_millis: 1 };
    let intake =
        Intake::new(store.clone(), feed, Clock::from_millis(0), TaskTracker::new(), (routes, Arc::default()), horizon);

    // The pump is busy, so the caller hangs up after the commit and before the pump was told.
    let bridge = BridgeName::from("net");
    let call = intake.inbound(&bridge, vec![event()], Vec::new());
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    assert_eq!(store.depth().await.unwrap().waiting, 1);

    assert!(matches!(pump.recv().await, Some(Feed::Back(_))));
    let told = tokio::time::timeout(Duration::from_secs(1), pump.recv()).await;
    assert!(matches!(told, Ok(Some(Feed::Waiting(waiting))) if waiting.len() == 1));
}

#[test]
fn agents_of_different_kinds_never_share_an_id() {
    let kinds = [Some("user"), Some("agent_bot"), Some("captain_assistant"), Some("../x"), None];
    let ids = kinds.map(|kind| agent_id(kind, 3).to_string());
    assert_eq!(ids, ["user-3", "bot-3", "assistant-3", "other-3", "other-3"]);
    assert_eq!((user_of(&"user-3".into()), user_of(&"bot-3".into()), user_of(&"user-x".into())), (Some(3), None, None));
}
