//! `kill -9` at random moments, with customers and agents talking all the time.
//!
//! A homeserver keeps what people write until it is taken, so that nothing may be lost in either direction, nothing
//! doubled, and every room keeps its order. A callback that nobody answered is the inbox's to report.

use std::{
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};

use super::world::{Guest, Mode, World};
use crate::{
    peers::{as_proxy::Dialect, synapse::Synapse},
    sandbox::{Desk, Message},
    wait::{PATIENCE, until_within},
    world::heavy,
};

const KILLS: &str = "DESKBRIDGE_E2E_KILLS";
/// A number, or `random`. The one in use is printed.
const SEED: &str = "DESKBRIDGE_E2E_SEED";
/// What a kill comes within, from the moment it may.
const LIFE_MILLIS_MAX: u64 = 1_500;
/// Between two lines or replies of all together.
const PAUSE: Duration = Duration::from_millis(40);
const PEOPLE: usize = 4;

#[test]
fn kills_under_an_appservice_lose_and_double_nothing_and_keep_the_order() {
    besiege(Mode::Appservice, 50);
}

#[test]
fn kills_behind_a_pipe_lose_and_double_nothing() {
    besiege(Mode::Websocket(Dialect::Wsproxy), 15);
}

#[test]
fn kills_behind_a_queue_lose_and_double_nothing_and_keep_the_order() {
    besiege(Mode::Websocket(Dialect::Asmux), 15);
}

#[test]
fn kills_under_an_account_like_anybodys_lose_and_double_nothing_and_keep_the_order() {
    besiege(Mode::Sync, 15);
}

fn besiege(mode: Mode, kills: usize) {
    let _alone = heavy();
    let Some(world) = World::shared(mode) else { return };
    let kills = std::env::var(KILLS).map_or(kills, |text| text.parse().expect("a number of kills"));
    let seed = match std::env::var(SEED).as_deref() {
        Ok("random") => fastrand::u64(..),
        Ok(text) => text.parse().expect("a seed"),
        Err(_) => 4711,
    };
    eprintln!("{mode:?}: {kills} kills with {SEED}={seed}");
    if let Mode::Websocket(_) = mode {
        world.proxy().switch(|switches| switches.time_scale = 0.05);
    }
    world.sandbox.faults(&trouble());
    let guests = (0..PEOPLE).map(|number| world.guest(Synapse::shared(), &name(number))).collect();
    let mut siege =
        Siege { world, rng: Rng::with_seed(seed), guests, said: vec![0; PEOPLE], replies: Vec::new(), busy: 0 };
    for _ in 0..kills {
        siege.round();
    }
    siege.settle();
    siege.judge(mode, kills);
}

/// Answers that come late widen the moments in which an outcome is unknown.
fn trouble() -> Value {
    let late = |on: &str| json!({ "on": on, "method": "POST", "probability": 0.4, "kind": "commit_then_slow", "milliseconds": 250 });
    json!({ "routes": [late("messages")], "callbacks": { "duplicate": "new_delivery" } })
}

/// A reply that the agent wrote.
struct Reply {
    id: u64,
    guest: usize,
    text: String,
}

struct Siege {
    world: World,
    rng: Rng,
    guests: Vec<Guest>,
    /// Lines said so far, by guest.
    said: Vec<usize>,
    replies: Vec<Reply>,
    /// Kills at which something was under way.
    busy: usize,
}

impl Siege {
    /// Talk, and a kill somewhere in it.
    fn round(&mut self) {
        self.world.gateway.spawn();
        // Half of the kills strike the start, half a bridge that is on its network.
        if self.rng.bool() {
            self.world.gateway.until_on_network();
        }
        let end = Instant::now() + Duration::from_millis(self.rng.u64(..LIFE_MILLIS_MAX));
        while Instant::now() < end {
            self.talk();
            thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
        self.world.gateway.kill();
        self.busy += usize::from(!self.world.gateway.waiting().is_empty());
    }

    fn talk(&mut self) {
        let guest = self.rng.usize(..PEOPLE);
        if self.rng.bool() {
            return self.say(guest);
        }
        let text = format!("reply {}", self.replies.len());
        let id = self.world.sandbox.reply(self.guests[guest].conversation, &text);
        self.replies.push(Reply { id, guest, text });
    }

    fn say(&mut self, guest: usize) {
        let line = self.said[guest];
        self.said[guest] += 1;
        self.guests[guest].say(&format!("line {line}"));
    }

    /// The last words of everybody arrive, and nothing waits any more.
    fn settle(&mut self) {
        self.world.start();
        for guest in 0..PEOPLE {
            self.say(guest);
        }
        self.world.until_incoming(self.said.iter().sum::<usize>() + PEOPLE);
        self.world.until_idle();
        until_within(PATIENCE * 2, "every reply to have an outcome", || {
            let desk = self.world.sandbox.desk();
            let open = |reply: &&Reply| desk.message(reply.id).is_none_or(|message| message.status == "sent");
            let open: Vec<_> = self.replies.iter().filter(open).map(|reply| reply.id).collect();
            if open.is_empty() { Ok(()) } else { Err(format!("without: {open:?}")) }
        });
    }

    fn judge(&self, mode: Mode, kills: usize) {
        let desk = self.world.sandbox.desk();
        eprintln!("{kills} kills, {} of them busy; {:?} lines, {} replies", self.busy, self.said, self.replies.len());
        assert_eq!((desk.contacts.len(), desk.conversations.len()), (PEOPLE, PEOPLE));
        for (number, guest) in self.guests.iter().enumerate() {
            self.judge_inbound(mode, &desk, number, guest);
            self.judge_outbound(&desk, number, guest);
        }
        assert!(self.busy * 4 >= kills, "too few kills struck anything: {}", self.busy);
    }

    fn judge_inbound(&self, mode: Mode, desk: &Desk, number: usize, guest: &Guest) {
        let found = desk.conversations.iter().find(|found| found.id == guest.conversation).expect("nobody deletes");
        let mut lines: Vec<_> = found.incoming()[1..].to_vec();
        // What the pipe lost is fetched while it already carries the next.
        if mode == Mode::Websocket(Dialect::Wsproxy) {
            lines.sort_by_key(|line| line["line ".len()..].parse::<usize>().expect("a number"));
        }
        let expected: Vec<_> = (0..self.said[number]).map(|line| format!("line {line}")).collect();
        assert_eq!(lines, expected, "{}", name(number));
    }

    fn judge_outbound(&self, desk: &Desk, number: usize, guest: &Guest) {
        let heard = guest.texts_of_agents(Synapse::shared());
        let written: Vec<_> = self.replies.iter().filter(|reply| reply.guest == number).collect();
        for reply in &written {
            let message = desk.message(reply.id).expect("nobody deletes");
            let count = heard.iter().filter(|text| **text == reply.text).count();
            assert!(count == 1 || (count == 0 && was_unanswered(message)), "{count} times: {message:?}");
        }
        let order: Vec<_> = written.iter().map(|reply| &reply.text).filter(|text| heard.contains(text)).collect();
        assert_eq!(heard.iter().collect::<Vec<_>>(), order, "{}", name(number));
    }
}

/// The callback never reached us, or was cut with the process that took it.
fn was_unanswered(message: &Message) -> bool {
    let reasons = ["Failed to open TCP connection", "end of file reached", "Net::ReadTimeout", "Connection reset"];
    message.status == "failed" && reasons.iter().any(|words| message.reason().starts_with(words))
}

fn name(number: usize) -> String {
    format!("person{number}")
}
