//! `kill -9` at random moments while mail comes in. A mail server in front keeps what was not answered with 250 and
//! tries again, so that nothing may be lost and nothing doubled.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::json;

use super::world::{ADA, HELP, World};
use crate::{
    peers::{postfix::HandIn, source::Source},
    sandbox::Desk,
    world::heavy,
};

const KILLS: &str = "DESKBRIDGE_E2E_KILLS";
/// A number, or `random`. The one in use is printed.
const SEED: &str = "DESKBRIDGE_E2E_SEED";
/// What a kill comes within, from the moment it may.
const LIFE_MILLIS_MAX: u64 = 1_500;
const MAILS: usize = 500;
const CLIENTS: usize = 10;

#[test]
fn kills_while_mail_comes_in_by_smtp_lose_and_double_nothing() {
    besiege(HandIn::Smtp, 12);
}

#[test]
fn kills_while_mail_comes_in_by_lmtp_lose_and_double_nothing() {
    besiege(HandIn::Lmtp, 6);
}

fn besiege(hand_in: HandIn, kills: usize) {
    let _alone = heavy();
    let Some(mut world) = World::start(hand_in) else { return };
    let kills = std::env::var(KILLS).map_or(kills, |text| text.parse().expect("a number of kills"));
    let seed = match std::env::var(SEED).as_deref() {
        Ok("random") => fastrand::u64(..),
        Ok(text) => text.parse().expect("a seed"),
        Err(_) => 4711,
    };
    eprintln!("{hand_in}: {kills} kills with {SEED}={seed}");
    // Answers that come late widen the moments in which an outcome is unknown.
    let late = json!({ "on": "messages", "method": "POST", "probability": 0.2, "kind": "commit_then_slow", "milliseconds": 250 });
    world.sandbox.faults(&json!({ "routes": [late] }));
    let mut rng = Rng::with_seed(seed);
    let mut busy = 0;
    // Some for each life, so that there is something to strike at every kill.
    let lives = kills + 1;
    for life in 0..kills {
        let source = Source::to(world.postfix.front, share(life, lives)).clients(CLIENTS).numbered();
        let mut sending = source.spawn(ADA, HELP, world.folder());
        // Half of the kills strike a start, half a bridge that takes mail.
        if rng.bool() {
            world.gateway.until_on_network();
        }
        let end = Instant::now() + Duration::from_millis(rng.u64(..LIFE_MILLIS_MAX));
        thread::sleep(end.saturating_duration_since(Instant::now()));
        world.gateway.kill();
        busy += usize::from(!world.gateway.waiting().is_empty() || !world.postfix.queued().is_empty());
        assert!(sending.wait().success(), "Postfix took everything: {}", sending.err());
        world.gateway.spawn();
    }
    world.gateway.until_on_network();
    let last = Source::to(world.postfix.front, share(kills, lives)).clients(CLIENTS).numbered();
    assert_eq!(last.run(ADA, HELP).code, Some(0));
    world.postfix.until_empty();
    world.until_incoming(MAILS);
    world.until_idle();
    judge(&world.sandbox.desk());
    eprintln!("{kills} kills, {busy} of them busy");
    assert!(busy * 4 >= kills, "too few kills struck anything: {busy}");
}

/// How many of all mails are sent in one life.
fn share(life: usize, lives: usize) -> usize {
    MAILS * (life + 1) / lives - MAILS * life / lives
}

fn judge(desk: &Desk) {
    let ids: Vec<_> = desk.incoming().filter_map(|message| message.source_id.clone()).collect();
    assert_eq!((ids.len(), desk.incoming().count()), (MAILS, MAILS), "each mail has come once");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), MAILS, "each as itself");
    assert_eq!(desk.contacts.len(), 1, "{:?}", desk.contacts);
}
