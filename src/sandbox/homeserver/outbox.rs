//! What waits for the appservice: transactions in order, and how each dialect writes them.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::Dialect;
use super::house::House;
use super::room::Event;

/// Synapse's bound for events, and for ephemeral data, of one transaction.
const EVENTS_OF_ONE_MAX: usize = 100;
/// Transactions that wait; further ones are lost, as a full disk would lose them.
const WAITING_MAX: usize = 50_000;

#[derive(Debug, Clone)]
pub(super) enum Pushed {
    Event(u64),
    Ephemeral(Value),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Transaction {
    pub(super) id: u64,
    pub(super) events: Vec<u64>,
    pub(super) ephemeral: Vec<Value>,
}

pub(super) struct Outbox {
    dialect: Dialect,
    /// What one change left behind; becomes transactions when the change is over.
    fresh: Vec<Pushed>,
    pub(super) waiting: VecDeque<Transaction>,
    pub(super) connected: bool,
    /// Over HTTP, without a proxy between.
    pub(super) pushes: bool,
    next_id: u64,
}

impl Outbox {
    pub(super) fn new(dialect: Dialect, next_id: u64) -> Self {
        Self { dialect, fresh: Vec::new(), waiting: VecDeque::new(), connected: false, pushes: false, next_id }
    }

    pub(super) fn push(&mut self, pushed: Pushed) {
        self.fresh.push(pushed);
    }

    /// Makes transactions of what the change left. Ids rise, with gaps, as on a server with several appservices.
    pub(super) fn seal(&mut self) {
        // Synapse drops ephemeral data while the appservice is down; a proxy with a queue never looks down to it.
        let keeps_ephemeral = self.connected || (self.dialect == Dialect::Asmux && !self.pushes);
        let (mut events, mut ephemeral) = (Vec::new(), Vec::new());
        for pushed in self.fresh.drain(..) {
            match pushed {
                Pushed::Event(pos) => events.push(pos),
                Pushed::Ephemeral(data) if keeps_ephemeral => ephemeral.push(data),
                Pushed::Ephemeral(_) => {}
            }
        }
        while !(events.is_empty() && ephemeral.is_empty()) && self.waiting.len() < WAITING_MAX {
            let first = |length: usize| length.min(EVENTS_OF_ONE_MAX);
            let (some, more) = (first(events.len()), first(ephemeral.len()));
            let transaction = Transaction {
                id: self.next_id,
                events: events.drain(..some).collect(),
                ephemeral: ephemeral.drain(..more).collect(),
            };
            self.next_id += 1 + self.next_id % 2;
            self.waiting.push_back(transaction);
        }
    }

    /// Takes these away: they were delivered, as far as anybody here knows.
    pub(super) fn settle(&mut self, ids: &[u64]) {
        // Nearly always those at the front.
        while self.waiting.pop_front_if(|first| ids.contains(&first.id)).is_some() {}
        if self.waiting.front().is_some_and(|first| ids.iter().any(|id| *id > first.id)) {
            self.waiting.retain(|transaction| !ids.contains(&transaction.id));
        }
    }
}

impl House {
    /// One frame with these transactions, which the asmux dialect numbers.
    pub(super) fn frame(&self, transactions: &[Transaction], number: Option<u64>) -> Map<String, Value> {
        let ids: Vec<String> = transactions.iter().map(|transaction| transaction.id.to_string()).collect();
        let events = transactions.iter().flat_map(|transaction| &transaction.events);
        let events = events.filter_map(|pos| self.log.get(pos)).filter_map(|event| self.pushed(event));
        let ephemeral: Vec<&Value> = transactions.iter().flat_map(|transaction| &transaction.ephemeral).collect();
        let mut frame = Map::new();
        if let Some(number) = number {
            frame.insert("command".to_owned(), json!("transaction"));
            frame.insert("id".to_owned(), json!(number));
            frame.insert("data".to_owned(), json!({}));
        }
        frame.insert("status".to_owned(), json!("ok"));
        frame.insert("txn_id".to_owned(), json!(ids.join(",")));
        frame.insert("events".to_owned(), events.collect());
        if !ephemeral.is_empty() {
            frame.insert("ephemeral".to_owned(), json!(ephemeral));
        }
        frame
    }

    /// What Synapse puts to an appservice over HTTP.
    pub(super) fn pushed_body(&self, transaction: &Transaction) -> Map<String, Value> {
        let events = transaction.events.iter().filter_map(|pos| self.log.get(pos));
        let mut body = Map::new();
        body.insert("events".to_owned(), events.map(|event| with_copies(event.shown(self.now_ms, None))).collect());
        body.insert("ephemeral".to_owned(), json!(transaction.ephemeral));
        body.insert("de.sorunome.msc2409.to_device".to_owned(), json!([]));
        body
    }

    /// As the dialect's proxy passes it on; None when it is too old for asmux.
    fn pushed(&self, event: &Event) -> Option<Value> {
        match self.settings.dialect {
            Dialect::Wsproxy => Some(recoded(event, self.now_ms)),
            Dialect::Asmux => {
                let age = self.now_ms - event.at_ms;
                let old = self.settings.drop_older_than.is_some_and(|limit| age > limit.as_millis() as i64);
                (!old).then(|| with_copies(event.shown(self.now_ms, None)))
            }
        }
    }
}

/// What Synapse writes beside the event itself, for appservices of long ago.
fn with_copies(mut event: Value) -> Value {
    let unsigned = event["unsigned"].clone();
    if let Some(event) = event.as_object_mut() {
        if let Some(sender) = event.get("sender").cloned() {
            event.insert("user_id".to_owned(), sender);
        }
        for key in ["age", "prev_content", "replaces_state", "invite_room_state"] {
            if let Some(copy) = unsigned.get(key) {
                event.insert(key.to_owned(), copy.clone());
            }
        }
    }
    event
}

/// wsproxy decodes every event into its own structs and encodes those again.
fn recoded(event: &Event, now_ms: i64) -> Value {
    const KEPT: [&str; 9] =
        ["type", "event_id", "room_id", "sender", "state_key", "origin_server_ts", "content", "redacts", "unsigned"];
    let mut shown = event.shown(now_ms, None);
    if let Some(shown) = shown.as_object_mut() {
        shown.retain(|key, _| KEPT.contains(&key.as_str()));
        if let Some(unsigned) = shown.get_mut("unsigned").and_then(Value::as_object_mut) {
            let none = json!({"chunk": [], "count": 0});
            let relations = json!({"m.annotation": none, "m.reference": none, "m.replace": none});
            unsigned.insert("m.relations".to_owned(), relations);
            let stripped = unsigned.get_mut("invite_room_state").and_then(Value::as_array_mut);
            for state in stripped.into_iter().flatten().filter_map(Value::as_object_mut) {
                state.remove("sender");
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(count: u64) -> impl Iterator<Item = Pushed> {
        (1..=count).map(Pushed::Event)
    }

    #[test]
    fn a_transaction_holds_a_hundred_events_and_ids_rise_with_gaps() {
        let mut outbox = Outbox::new(Dialect::Asmux, 803);
        pushed(250).for_each(|event| outbox.push(event));
        outbox.seal();
        let sizes: Vec<_> = outbox.waiting.iter().map(|one| (one.id, one.events.len())).collect();
        assert_eq!(sizes, [(803, 100), (805, 100), (807, 50)]);
        outbox.settle(&[803, 807]);
        assert_eq!(outbox.waiting.iter().map(|one| one.id).collect::<Vec<_>>(), [805]);
    }

    #[test]
    fn ephemeral_data_is_lost_while_a_wsproxy_has_no_client() {
        let check = |dialect, connected, kept| {
            let mut outbox = Outbox::new(dialect, 1);
            outbox.connected = connected;
            outbox.push(Pushed::Ephemeral(json!({"type": "m.typing"})));
            outbox.seal();
            assert_eq!(outbox.waiting.len(), kept, "{dialect:?} connected: {connected}");
        };
        check(Dialect::Wsproxy, false, 0);
        check(Dialect::Wsproxy, true, 1);
        check(Dialect::Asmux, false, 1);
    }
}
