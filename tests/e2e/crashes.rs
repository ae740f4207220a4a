//! `kill -9` at random moments, with people and agents talking all the time.
//!
//! What counts as ours: inbound, whatever the store held right after a kill, or the inbox ever showed. A line that was
//! still in the socket when the process died was read by nobody, and IRC has no way to ask for it again. Outbound,
//! every reply, whether a callback told of it or not. The network cannot be asked whether it took a line, so a kill may double at
//! most the one line a lane that was under way, or leave the agent told that it is in doubt.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::{
    gateway::NICK,
    irc::Person,
    peers::ngircd::{Flood, Ngircd},
    sandbox::{Desk, Message},
    wait::{PATIENCE, until, until_within},
    world::{World, heavy},
};

const KILLS: &str = "DESKBRIDGE_E2E_KILLS";
/// A number, or `random`. The one in use is printed.
const SEED: &str = "DESKBRIDGE_E2E_SEED";
/// What a kill comes within, from the moment it may.
const LIFE_MILLIS_MAX: u64 = 1_500;
/// Between two lines or replies of all people together. The help desk takes 200 a minute in one conversation, so that
/// each of [`PEOPLE`] must stay well below that.
const PAUSE: Duration = Duration::from_millis(40);
const PEOPLE: usize = 10;
/// Slow enough that lines wait for their turn, and with them the questions who wrote what.
const PACE: &str = "pace = { burst = 10, per_second = 40 }\n";

#[test]
fn kills_at_random_moments_lose_and_double_nothing_and_keep_the_order() {
    let _alone = heavy();
    let Some(world) = World::on_ngircd(Flood::Free, PACE) else { return };
    let kills = std::env::var(KILLS).map_or(50, |text| text.parse().expect("a number of kills"));
    let seed = match std::env::var(SEED).as_deref() {
        Ok("random") => fastrand::u64(..),
        Ok(text) => text.parse().expect("a seed"),
        Err(_) => 4711,
    };
    eprintln!("{kills} kills with {SEED}={seed}");
    let mut siege = Siege::new(world, seed);
    siege.world.sandbox.faults(&trouble());
    for _ in 0..kills {
        siege.round();
    }
    siege.settle();
    siege.judge(kills);
}

/// Answers that come late widen the moments in which an outcome is unknown.
fn trouble() -> Value {
    let late = |on: &str| json!({ "on": on, "method": "POST", "probability": 0.4, "kind": "commit_then_slow", "milliseconds": 250 });
    json!({
        "routes": [late("messages"), late("contacts"), late("conversations")],
        "callbacks": { "duplicate": "new_delivery" },
    })
}

/// A reply that the agent wrote.
struct Reply {
    id: u64,
    person: usize,
    number: usize,
}

struct Siege {
    world: World<Ngircd>,
    rng: Rng,
    people: Vec<Person>,
    /// Each said one line, whether the gateway was there or not.
    newcomers: Vec<Person>,
    /// Lines said so far, by person.
    said: Vec<usize>,
    replies: Vec<Reply>,
    /// With each person.
    conversations: Vec<u64>,
    /// Keys of people's messages that the store held right after some kill.
    kept: HashSet<String>,
    /// Kills at which something was under way.
    busy_kills: usize,
    /// Lines that waited for a proof of who wrote them, over all kills.
    held_at_kills: usize,
}

impl Siege {
    fn new(world: World<Ngircd>, seed: u64) -> Self {
        let (people, conversations) = (0..PEOPLE).map(|number| acquaint(&world, &nick(number))).unzip();
        Self {
            world,
            rng: Rng::with_seed(seed),
            people,
            newcomers: Vec::new(),
            said: vec![0; PEOPLE],
            replies: Vec::new(),
            conversations,
            kept: HashSet::new(),
            busy_kills: 0,
            held_at_kills: 0,
        }
    }

    /// Talk, a kill somewhere in it, and a look at what the store holds.
    fn round(&mut self) {
        if !self.world.gateway.is_running() {
            self.world.gateway.spawn();
            // Half of the kills strike the start, half a bridge that is on its network.
            if self.rng.bool() {
                self.world.gateway.until_on_network();
            }
        }
        let life = Duration::from_millis(self.rng.u64(..LIFE_MILLIS_MAX));
        let end = Instant::now() + life;
        self.welcome_newcomer();
        while Instant::now() < end {
            self.talk();
            thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
        self.world.gateway.kill();
        let waiting = self.world.gateway.waiting();
        let held = self.world.gateway.held();
        self.busy_kills += usize::from(!waiting.is_empty());
        self.held_at_kills += held.len();
        let keys = waiting.into_iter().map(|(key, _)| key).filter(|key| key.starts_with("net/"));
        self.kept.extend(keys.chain(held));
    }

    /// Has a contact and a conversation made while the kill is near.
    fn welcome_newcomer(&mut self) {
        let mut newcomer = self.world.person(&format!("fresh{}", self.newcomers.len()));
        newcomer.say(NICK, "hello");
        self.newcomers.push(newcomer);
    }

    fn talk(&mut self) {
        let person = self.rng.usize(..PEOPLE);
        if self.rng.bool() {
            return self.say(person);
        }
        let number = self.replies.iter().filter(|reply| reply.person == person).count();
        let id = self.world.sandbox.reply(self.conversations[person], &format!("reply {number}"));
        self.replies.push(Reply { id, person, number });
    }

    fn say(&mut self, person: usize) {
        let line = self.said[person];
        self.said[person] += 1;
        self.people[person].say(NICK, &format!("line {line}"));
    }

    /// The last words of everybody arrive, and nothing waits any more.
    fn settle(&mut self) {
        self.world.start_again();
        for person in 0..PEOPLE {
            self.say(person);
            let (nick, last) = (nick(person), format!("line {}", self.said[person] - 1));
            self.world.sandbox.conversation(&nick, &last);
        }
        until_within(PATIENCE * 2, "nothing to wait", || {
            let waiting = self.world.gateway.waiting();
            if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
        });
        until("every reply to have an outcome", || {
            let desk = self.world.sandbox.desk();
            let open = |reply: &&Reply| {
                let message = desk.message(reply.id);
                message.is_none_or(|message| {
                    message.status == "sent" || (message.status == "failed" && !in_doubt(message))
                })
            };
            let open: Vec<_> = self.replies.iter().filter(open).map(|reply| reply.id).collect();
            if open.is_empty() { Ok(()) } else { Err(format!("without: {open:?}")) }
        });
        self.people.iter_mut().for_each(Person::settle);
    }

    fn judge(&self, kills: usize) {
        let desk = self.world.sandbox.desk();
        let arrived = self.judge_inbound(&desk);
        let doubled = self.judge_outbound(&desk);
        let said = self.said.iter().sum::<usize>() + PEOPLE + self.newcomers.len();
        let bounced: usize = self.people.iter().chain(&self.newcomers).map(bounced).sum();
        eprintln!(
            "{kills} kills, {} of them busy; {said} lines said, {bounced} to nobody, {arrived} arrived, {} of those seen in \
             the store at a kill, {} while held; {} replies, {doubled} lines doubled",
            self.busy_kills,
            self.kept.len(),
            self.held_at_kills,
            self.replies.len()
        );
        assert!(self.busy_kills * 4 >= kills, "too few kills struck anything: {}", self.busy_kills);
        // One line is said at a time and the next one a pause later, so that hardly more than one is unread at a kill.
        let unread = said.saturating_sub(bounced + arrived);
        assert!(unread <= 2 * kills, "{unread} lines were neither taken nor bounced: somebody does not listen");
        assert!(doubled <= kills * PEOPLE);
    }

    /// Returns how many lines arrived.
    fn judge_inbound(&self, desk: &Desk) -> usize {
        for newcomer in &self.newcomers {
            let contacts = desk.contacts.iter().filter(|contact| contact.name == newcomer.nick()).count();
            let lines: Vec<_> = desk.of(newcomer.nick()).iter().map(|conversation| conversation.incoming()).collect();
            // With none the gateway was away, or the line was in the socket when it was killed.
            assert!(contacts <= 1 && (lines.is_empty() || lines == [["hello"]]), "{}: {lines:?}", newcomer.nick());
        }
        for person in 0..PEOPLE {
            let nick = nick(person);
            assert_eq!(desk.contacts.iter().filter(|contact| contact.name == nick).count(), 1, "{nick}");
            assert_eq!(desk.of(&nick).len(), 1, "{nick}");
            let lines = desk.of(&nick)[0].incoming();
            assert_eq!(lines[0], "hello");
            let numbers: Vec<usize> = lines[1..].iter().map(|line| number_of(line, "line ")).collect();
            assert!(numbers.is_sorted_by(|one, next| one < next), "{nick}: doubled or out of order: {numbers:?}");
        }
        let sources: Vec<&str> = desk.incoming().filter_map(|message| message.source_id.as_deref()).collect();
        let distinct: HashSet<_> = sources.iter().copied().collect();
        assert_eq!(distinct.len(), sources.len(), "doubled at the inbox");
        let lost: Vec<_> = self.kept.iter().filter(|key| !distinct.contains(key.as_str())).collect();
        assert!(lost.is_empty(), "kept by the store and lost: {lost:?}");
        sources.len()
    }

    /// Returns how many lines came twice.
    fn judge_outbound(&self, desk: &Desk) -> usize {
        let mut doubled = 0;
        for (person, client) in self.people.iter().enumerate() {
            let heard = client.texts_from(NICK);
            assert_eq!(heard[0], "hello to you");
            let heard: Vec<usize> = heard[1..].iter().map(|text| number_of(text, "reply ")).collect();
            assert!(heard.is_sorted(), "{}: out of order: {heard:?}", nick(person));
            for reply in self.replies.iter().filter(|reply| reply.person == person) {
                let count = heard.iter().filter(|number| **number == reply.number).count();
                let message = desk.message(reply.id).expect("nobody deletes");
                assert!(count <= 2, "{}: {count} times {message:?}", nick(person));
                assert!(count > 0 || in_doubt(message), "{}: lost: {message:?}", nick(person));
                doubled += count.saturating_sub(1);
            }
        }
        doubled
    }
}

/// Somebody whose connection can be told from the next one of that nick, since the network was asked about it.
fn acquaint(world: &World<Ngircd>, nick: &str) -> (Person, u64) {
    let mut person = world.person(nick);
    person.say(NICK, "hello");
    let conversation = world.sandbox.conversation(nick, "hello").id;
    let reply = world.sandbox.reply(conversation, "hello to you");
    world.sandbox.until_status(reply, "delivered");
    (person, conversation)
}

/// The agent was told that it is not known whether the line arrived.
fn in_doubt(message: &Message) -> bool {
    message.status == "failed"
        && (message.reason().contains("doubt") || message.reason().contains("may have been delivered"))
}

/// Lines that came back, since the bridge was not there.
fn bounced(person: &Person) -> usize {
    person.lines().iter().filter(|line| line.command == "401" && line.params.iter().any(|word| word == NICK)).count()
}

fn nick(person: usize) -> String {
    format!("person{person}")
}

fn number_of(text: &str, before: &str) -> usize {
    let number = text.strip_prefix(before).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("`{text}` is nothing that was written"))
}
