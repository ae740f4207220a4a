//! How fast the status page answers with much in the outbox: the real gateway, both far sides of it away.

use std::{path::Path, time::Instant};

use deskbridge::{
    clock::now_millis,
    model::{Group, InboxName, Lane, MessageRef, NewEnvelope, Order, SinkName, rank_of},
    store::{Batch, Held, Place, SqliteStore, Store},
};

use crate::{plan, slices::millis};

const LANES: i64 = 10_000;
const BATCH: i64 = 1_000;
const DEAD: i64 = 5_000;
const TEXT: &str = "a reply of about the usual length, which says that somebody looks into the matter and will be back";

pub(crate) struct Sizes {
    pub(crate) waiting: i64,
    pub(crate) rounds: usize,
}

impl Sizes {
    pub(crate) fn small() -> Self {
        Self { waiting: 2_000, rounds: 5 }
    }
    pub(crate) fn large(waiting: i64) -> Self {
        Self { waiting, rounds: 300 }
    }
}

pub(crate) async fn run(folder: &Path, sizes: &Sizes) {
    let folder = folder.join(format!("page-{}", sizes.waiting));
    let begun = Instant::now();
    fill(&folder, sizes.waiting).await;
    println!(
        "\nstatus page, {} waiting, {DEAD} given up: filled in {:.0} s",
        sizes.waiting,
        begun.elapsed().as_secs_f64()
    );
    let begun = Instant::now();
    let (gateway, store) = plan::gateway(&folder, plan::nobody(), plan::irc(1)).await;
    println!("the gateway starts in {:.1} s", begun.elapsed().as_secs_f64());
    let depth = store.depth().await.expect("the store works");
    assert_eq!((depth.waiting, depth.dead), (sizes.waiting as u64, DEAD as u64));
    let client = reqwest::Client::builder().build().expect("a client");
    let (middle, last) = (sizes.waiting / 2, sizes.waiting - 1);
    println!("{:34} {:>9} {:>9} {:>9}", "", "p50 ms", "p95 ms", "most ms");
    for (what, path) in [
        ("the page", "/".to_owned()),
        ("its fresh part", "/live".to_owned()),
        ("one far side", "/?sink=bridge:net".to_owned()),
        ("one message", format!("/?id={middle}")),
        ("search: a key, newest", format!("/?q=support:{last}/0")),
        ("search: a key, in the middle", format!("/?q=support:{middle}/0")),
        ("search: a message's number", format!("/?q={last}")),
        ("search: nothing there", "/?q=nobody".to_owned()),
        ("/admin/status", "/admin/status".to_owned()),
        ("/admin/outbox, 50 of each", "/admin/outbox?count=50".to_owned()),
    ] {
        let url = format!("http://{}{path}", gateway.address());
        let mut times = Vec::with_capacity(sizes.rounds);
        for _ in 0..sizes.rounds {
            let once = Instant::now();
            let answer = client.get(&url).bearer_auth(plan::ADMIN_TOKEN).send().await.expect("the gateway answers");
            assert_eq!(answer.status(), 200, "{path}");
            let text = answer.text().await.expect("a whole answer");
            times.push(once.elapsed());
            assert!(text.len() > 100, "{path}: {text}");
        }
        times.sort_unstable();
        let at = |percent: usize| millis(times[(times.len() - 1) * percent / 100]);
        println!("{what:34} {:9.1} {:9.1} {:9.1}", at(50), at(95), at(100));
    }
    gateway.stop().await;
}

/// Replies and messages by turns, in lanes by turns; the oldest are dead.
async fn fill(folder: &Path, waiting: i64) {
    let store = SqliteStore::open(&Place::in_dir(folder)).expect("the folder can be written");
    let held =
        |number: i64| Held { group: Group::one(reply(number)), reason: "no such nick".into(), follow: Vec::new() };
    let held = (waiting..waiting + DEAD).map(held).collect();
    store.accept(Batch { held, ..Batch::default() }, now_millis()).await.expect("the store works");
    for first in (0..waiting).step_by(BATCH as usize) {
        let numbers = first..(first + BATCH).min(waiting);
        let groups = numbers.map(|number| Group::one(if number % 2 == 0 { note(number) } else { reply(number) }));
        let batch = Batch { groups: groups.collect(), ..Batch::default() };
        store.accept(batch, now_millis()).await.expect("the store works");
    }
    store.close().await;
}

/// From the inbox to the network.
fn reply(number: i64) -> NewEnvelope {
    let thread = format!("a:peer{}", number % LANES);
    let message = MessageRef { inbox: InboxName::new("support"), conversation: number % LANES, message: number };
    NewEnvelope {
        key: format!("support:{number}/0").into(),
        at_millis: now_millis(),
        lane: Lane::new(SinkName::bridge(&"net".into()), "out", "net", &thread),
        rank: rank_of(number, 0),
        due_millis: 0,
        order: Order::Send {
            bridge: "net".into(),
            thread: thread.as_str().into(),
            part: bridge_api::Part::Text { text: TEXT.into(), reply_to: None },
            agent: None,
            message,
            last: true,
        },
    }
}

/// From the network to the inbox.
fn note(number: i64) -> NewEnvelope {
    let thread = format!("a:peer{}", number % LANES);
    NewEnvelope {
        key: format!("net/event{number}/0").into(),
        at_millis: now_millis(),
        lane: Lane::new(SinkName::inbox(&InboxName::new("support")), "in", "net", &thread),
        rank: number,
        due_millis: 0,
        order: Order::Note {
            bridge: "net".into(),
            thread: thread.as_str().into(),
            text: TEXT.into(),
            reply_to: None,
            see: None,
        },
    }
}
