//! A process that is killed at work loses nothing that it acknowledged.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
};

use futures_util::future::join_all;

use super::{
    Place, SqliteStore,
    tests::{accept, fresh},
};
use crate::store::{
    Accepted, Begin, EnvelopeState, Settle, Settled, Store, Turn,
    suite::{NOW, key},
};

/// Where the child of the next test works; unset in an ordinary run.
const CHILD: &str = "DESKBRIDGE_TEST_STORE";
const CHILD_TASKS: usize = 8;

/// Runs in the child: does work until it is killed, and says what is acknowledged.
#[test]
fn child_that_works_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&Place::in_dir(folder)).unwrap();
        let lease = store.lease("child", NOW).await.unwrap();
        join_all((0..CHILD_TASKS).map(|task| toil(&store, &lease, task))).await;
    });
}

async fn toil(store: &SqliteStore, lease: &super::Lease, task: usize) {
    for number in 0.. {
        let name = format!("{}/{task}/{number}", std::process::id());
        let id = accept(store, &name).await.unwrap().into_waiting()[0].id;
        say("accepted", &name);
        if number % 2 == 0 {
            let begin = vec![Begin { id, mark: 1 }];
            store.turn(lease, Turn { begin, ..Turn::default() }, NOW).await.unwrap();
            say("begun", &name);
            let settle = vec![Settle { id, outcome: Settled::Done { result: None, follow: Vec::new() } }];
            store.turn(lease, Turn { settle, ..Turn::default() }, NOW).await.unwrap();
            say("done", &name);
        }
    }
}

fn say(what: &str, name: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what} {name}").unwrap();
    out.flush().unwrap();
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let (_folder, place) = fresh();
    for acknowledged in [1, 50, 400] {
        let said = kill_after(&place, acknowledged);
        let store = SqliteStore::open(&place).unwrap();
        for (what, name) in said {
            let state =
                store.history(&key(&name)).await.unwrap().map(|history| (history.state, history.attempts.len()));
            let (state, attempts) = state.unwrap_or_else(|| panic!("{name} was {what} and is lost"));
            let wanted = match what.as_str() {
                "accepted" => true,
                "begun" => attempts == 1,
                "done" => matches!(state, EnvelopeState::Done { .. }),
                _ => false,
            };
            assert!(wanted, "{name} was {what} and is {state:?}");
            assert_eq!(accept(&store, &name).await, Ok(Accepted::Duplicate));
        }
        store.close().await;
    }
}

/// Starts a child, kills it after it acknowledged so many things, and returns all that it said.
fn kill_after(place: &Place, acknowledged: usize) -> HashSet<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::sqlite::killed::child_that_works_until_it_is_killed", "--nocapture"])
        .env(CHILD, &place.data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while text.matches("accepted ").count() < acknowledged {
        assert_ne!(out.read_line(&mut text).unwrap(), 0, "the child ended by itself: {text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    out.read_to_string(&mut text).unwrap();
    // A line that was cut off was not said.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let words = whole.lines().filter_map(|line| line.split_once(' '));
    let said = words.filter(|(what, _)| ["accepted", "begun", "done"].contains(what));
    said.map(|(what, name)| (what.to_owned(), name.to_owned())).collect()
}
