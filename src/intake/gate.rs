//! The gate before new conversations: who is let in by a bridge, and what is remembered of those who were not.
//!
//! A message of a conversation that is known costs a look into memory, or into the store the first time. A new one is
//! counted, and what is counted becomes durable in the transaction that keeps the message itself, so that a restart
//! does not open the gate anew. Each process counts for itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bridge_api::{Admission, BridgeName, Caller, Cursor, Inbound, Message, Report, Speaker, ThreadId};
use sha2::{Digest, Sha256};

use super::Route;
use crate::{
    model::{
        OWN_SCOPE,
        gate::{DAY_MILLIS, GateRules, Ledger, Refusal, Refusals, TurnedAway},
    },
    store::{Store, StoreError},
};

/// Before the names of cursors that stand for one beginning each.
const BEGUN: &str = "begun/";
/// Threads that are known to have a conversation. With more of them the store is asked again.
const KNOWN_MAX: usize = 100_000;
/// Beginnings that are forgotten in one transaction.
const EXPIRED_MAX: usize = 100;

/// The gates of all bridges.
#[derive(Default)]
pub struct Gates {
    rules: Mutex<HashMap<BridgeName, Arc<GateRules>>>,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    ledgers: HashMap<BridgeName, Ledger>,
    refusals: HashMap<BridgeName, Refusals>,
    /// Threads of conversations that there are, or that were let in.
    known: HashSet<u64>,
    /// Beginnings that no transaction has kept yet.
    unsaved: Vec<Cursor>,
    /// Names and moments of those that are kept, the eldest first.
    saved: std::collections::VecDeque<(i64, String)>,
    number: u64,
}

impl Gates {
    /// From now on this is asked of whoever writes over the bridge.
    pub fn set(&self, bridge: &BridgeName, rules: GateRules) {
        lock(&self.rules).insert(bridge.clone(), Arc::new(rules));
    }

    /// What an earlier process counted.
    pub async fn recall(&self, store: &dyn Store, now_millis: i64) -> Result<(), StoreError> {
        let mut found: Vec<_> = store.cursors(OWN_SCOPE, BEGUN).await?.into_iter().filter_map(read).collect();
        found.sort_by_key(|begun| begun.at_millis);
        let mut counted = lock(&self.counted);
        for Begun { name, bridge, at_millis, peer, thread } in found {
            // A clock that was set back must not shut the gate for longer than a day.
            let at_millis = at_millis.min(now_millis);
            if at_millis + DAY_MILLIS > now_millis {
                counted.ledgers.entry(bridge).or_default().recall(at_millis, peer);
                counted.known.extend(thread);
            }
            counted.saved.push_back((at_millis, name));
        }
        Ok(())
    }

    /// The same events without those that are not let in, which are counted.
    pub(super) async fn let_in(
        &self,
        store: &dyn Store,
        (bridge, route): (&BridgeName, &Route),
        events: Vec<Inbound>,
        now_millis: i64,
    ) -> Result<Vec<Inbound>, StoreError> {
        let Some(rules) = self.rules_of(bridge).filter(|rules| **rules != GateRules::default()) else {
            return Ok(events);
        };
        let mut kept = Vec::with_capacity(events.len());
        for event in events {
            let caller = message_of(&event).and_then(|message| route.bridge.caller(&event.thread, &message.peer));
            let refused = match caller {
                None => None,
                Some(caller) => self.refuses(store, (bridge, &rules), (&event.thread, &caller), now_millis).await?,
            };
            match refused {
                None => kept.push(event),
                Some(refusal) => route.figures.refused(refusal.word()),
            }
        }
        Ok(kept)
    }

    async fn refuses(
        &self,
        store: &dyn Store,
        (bridge, rules): (&BridgeName, &GateRules),
        (thread, caller): (&ThreadId, &Caller),
        now_millis: i64,
    ) -> Result<Option<Refusal>, StoreError> {
        if rules.blocked.catch(&caller.names) {
            self.turn_away(bridge, caller, Refusal::Blocked, now_millis);
            return Ok(Some(Refusal::Blocked));
        }
        let place = hash(&[bridge.as_str(), thread.as_str()]);
        if lock(&self.counted).known.contains(&place) {
            return Ok(None);
        }
        if store.session(bridge, thread).await?.is_some() {
            lock(&self.counted).know(place);
            return Ok(None);
        }
        Ok(self.begin((bridge, rules), caller, Some(place), now_millis).err())
    }

    /// The same for somebody whose thread is not known yet.
    pub(super) fn admit(
        &self,
        (bridge, route): (&BridgeName, &Route),
        caller: &Caller,
        begins: bool,
        now_millis: i64,
    ) -> Admission {
        let Some(rules) = self.rules_of(bridge) else { return Admission::Welcome };
        let refused = if rules.blocked.catch(&caller.names) {
            self.turn_away(bridge, caller, Refusal::Blocked, now_millis);
            Some(Refusal::Blocked)
        } else if begins {
            self.begin((bridge, &rules), caller, None, now_millis).err()
        } else {
            None
        };
        match refused {
            None => return Admission::Welcome,
            Some(refusal) => route.figures.refused(refusal.word()),
        }
        if refused == Some(Refusal::Blocked) { Admission::Never } else { Admission::Later }
    }

    fn begin(
        &self,
        (bridge, rules): (&BridgeName, &GateRules),
        caller: &Caller,
        place: Option<u64>,
        now_millis: i64,
    ) -> Result<(), Refusal> {
        if rules.per_peer_hour == 0 && rules.per_day == 0 {
            return Ok(());
        }
        let peer = caller.counted_as.as_ref().map(|name| hash(&[bridge.as_str(), name]));
        let mut counted = lock(&self.counted);
        let begun = counted.ledgers.entry(bridge.clone()).or_default().begin(rules, peer, now_millis);
        if let Err(refusal) = begun {
            drop(counted);
            self.turn_away(bridge, caller, refusal, now_millis);
            return Err(refusal);
        }
        if let Some(place) = place {
            counted.know(place);
        }
        counted.write_down(bridge, (peer, place), now_millis);
        Ok(())
    }

    fn turn_away(&self, bridge: &BridgeName, caller: &Caller, refusal: Refusal, now_millis: i64) {
        let who = caller.names.first().map_or("", String::as_str);
        let mut counted = lock(&self.counted);
        let first = counted.refusals.entry(bridge.clone()).or_default().add(who, refusal, now_millis);
        drop(counted);
        if first {
            let reason = refusal.word();
            tracing::warn!(bridge = bridge.as_str(), reason, "somebody is not let in; the status page says who");
            tracing::debug!(bridge = bridge.as_str(), peer = who, "who is not let in");
        }
    }

    /// Who was not let in lately, since the start.
    pub fn turned_away(&self, bridge: &str) -> Vec<TurnedAway> {
        let counted = lock(&self.counted);
        counted.refusals.get(&BridgeName::from(bridge)).map(Refusals::shown).unwrap_or_default()
    }

    /// Nobody is remembered by name any more, nor which conversations there are.
    pub fn forget_names(&self) {
        let mut counted = lock(&self.counted);
        counted.refusals.clear();
        counted.known.clear();
    }

    /// What the next transaction has to keep, and what it may remove.
    pub(super) fn unsaved(&self, now_millis: i64) -> Vec<(String, Cursor)> {
        let mut counted = lock(&self.counted);
        if counted.unsaved.is_empty() {
            return Vec::new();
        }
        let mut cursors = std::mem::take(&mut counted.unsaved);
        let expired =
            counted.saved.iter().take(EXPIRED_MAX).take_while(|(at, _)| at + DAY_MILLIS <= now_millis).count();
        let expired: Vec<_> = counted.saved.drain(..expired).map(|(_, name)| Cursor::remove(name)).collect();
        cursors.extend(expired);
        cursors.into_iter().map(|cursor| (OWN_SCOPE.to_owned(), cursor)).collect()
    }

    /// That transaction did not come about.
    pub(super) fn not_saved(&self, cursors: Vec<(String, Cursor)>) {
        lock(&self.counted).unsaved.extend(cursors.into_iter().map(|(_, cursor)| cursor));
    }

    fn rules_of(&self, bridge: &BridgeName) -> Option<Arc<GateRules>> {
        lock(&self.rules).get(bridge).cloned()
    }
}

impl Counted {
    fn know(&mut self, place: u64) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(place);
    }

    fn write_down(&mut self, bridge: &BridgeName, (peer, place): (Option<u64>, Option<u64>), now_millis: i64) {
        self.number += 1;
        let name = format!("{BEGUN}{bridge}/{now_millis:x}-{:x}", self.number);
        let word = |hash: Option<u64>| hash.map_or_else(|| "-".to_owned(), |hash| format!("{hash:016x}"));
        let value = format!("{now_millis} {} {}", word(peer), word(place));
        self.unsaved.push(Cursor::set(name.clone(), value));
        self.saved.push_back((now_millis, name));
    }
}

/// One beginning, as it is kept. No name of anybody is in it.
struct Begun {
    name: String,
    bridge: BridgeName,
    at_millis: i64,
    peer: Option<u64>,
    thread: Option<u64>,
}

fn read(cursor: Cursor) -> Option<Begun> {
    let bridge = cursor.name.strip_prefix(BEGUN)?.split_once('/')?.0.into();
    let value = cursor.value?;
    let mut words = value.split(' ');
    let at_millis = words.next()?.parse().ok()?;
    let mut word = || words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
    let (peer, thread) = (word(), word());
    Some(Begun { name: cursor.name, bridge, at_millis, peer, thread })
}

/// What a peer wrote, if that is what it is.
fn message_of(event: &Inbound) -> Option<&Message> {
    let message = match &event.report {
        Report::Message(message) | Report::Edited { message, .. } => message,
        Report::Reacted { .. } | Report::Receipt { .. } | Report::Withdrawn { .. } | Report::Note { .. } | _ => {
            return None;
        }
    };
    (message.speaker == Speaker::Peer).then_some(message)
}

fn hash(words: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word);
        hash.update([0]);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bridge_api::kit::Idle;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        model::{InboxName, Session, gate::Masks},
        store::{Batch, MemoryStore},
        telemetry::Figures,
    };

    fn route(figures: &Figures) -> Route {
        let (typing, figures) = (mpsc::channel(1).0, figures.bridge("net").unwrap());
        Route { inbox: InboxName::new("support"), bridge: Arc::new(Idle), typing, figures }
    }

    fn writes(who: &str, place: &str, number: u32) -> Inbound {
        let peer = bridge_api::Peer {
            id: who.into(),
            name: who.into(),
            facts: std::collections::BTreeMap::new(),
            email: None,
            picture: None,
        };
        let message = serde_json::from_value(serde_json::json!({ "peer": peer, "speaker": "Peer", "text": "x" }));
        let event = format!("{who}-{place}-{number}").into();
        Inbound { event, at_millis: 1, thread: place.into(), report: Report::Message(message.unwrap()) }
    }

    fn rules(per_peer_hour: u32, per_day: u32, blocked: &[&str]) -> GateRules {
        GateRules { per_peer_hour, per_day, blocked: Masks::new(blocked.iter().copied()) }
    }

    async fn threads(gates: &Gates, store: &MemoryStore, route: &Route, events: Vec<Inbound>, now: i64) -> Vec<String> {
        let kept = gates.let_in(store, (&"net".into(), route), events, now).await.unwrap();
        kept.iter().map(|event| event.thread.to_string()).collect()
    }

    #[tokio::test]
    async fn known_conversations_go_on_and_new_ones_are_counted() {
        let (figures, store) = (Figures::new([("net", "support")], ["support"], None), MemoryStore::default());
        let (route, gates) = (route(&figures), Gates::default());
        gates.set(&"net".into(), rules(2, 4, &[]));
        let session = Session {
            bridge: "net".into(),
            thread: "old".into(),
            contact: 1,
            source_id: "net/old".into(),
            conversation: 1,
            resolved: true,
            profile: 0,
            home: 0,
        };
        store.save_session(&session).await.unwrap();
        let flood = ["a", "b", "a", "c", "old", "b"].map(|place| writes("eve", place, 0)).to_vec();
        assert_eq!(threads(&gates, &store, &route, flood, 0).await, ["a", "b", "a", "old", "b"]);
        let others = ["d", "e", "f"].map(|place| writes(place, place, 0)).to_vec();
        assert_eq!(threads(&gates, &store, &route, others, 0).await, ["d", "e"], "the day has room for four");
        assert_eq!(gates.turned_away("net").len(), 2);
        assert!(gates.turned_away("net").iter().any(|one| one.who == "eve" && one.reason == "peer_limit"));
        let shown = figures.snapshot(0).bridges[0].refused;
        assert_eq!(shown, 2);
    }

    #[tokio::test]
    async fn whoever_is_blocked_is_not_let_in_even_where_there_is_a_conversation_and_new_rules_hold_at_once() {
        let (figures, store) = (Figures::new([("net", "support")], ["support"], None), MemoryStore::default());
        let (route, gates) = (route(&figures), Gates::default());
        gates.set(&"net".into(), rules(0, 9, &[]));
        assert_eq!(threads(&gates, &store, &route, vec![writes("eve", "a", 0)], 0).await, ["a"]);
        gates.set(&"net".into(), rules(0, 9, &["EVE"]));
        let both = vec![writes("eve", "a", 1), writes("ada", "b", 1)];
        assert_eq!(threads(&gates, &store, &route, both, 0).await, ["b"]);
        let caller = |who: &str| Caller { names: vec![who.to_owned()], counted_as: None };
        let admit = |who: &str| gates.admit((&"net".into(), &route), &caller(who), true, 0);
        assert_eq!([admit("eve"), admit("ada")], [Admission::Never, Admission::Welcome]);
        gates.set(&"net".into(), rules(0, 3, &[]));
        assert_eq!(admit("eve"), Admission::Later, "three began already");
    }

    #[tokio::test]
    async fn a_restart_does_not_open_the_gate_anew_and_a_day_later_it_is_open() {
        let (figures, store) = (Figures::new([("net", "support")], ["support"], None), MemoryStore::default());
        let (route, before) = (route(&figures), Gates::default());
        before.set(&"net".into(), rules(2, 0, &[]));
        let flood = ["a", "b"].map(|place| writes("eve", place, 0)).to_vec();
        assert_eq!(threads(&before, &store, &route, flood.clone(), 7).await, ["a", "b"]);
        // A transaction that failed loses nothing of it.
        before.not_saved(before.unsaved(7));
        let cursors = before.unsaved(7);
        assert_eq!((cursors.len(), before.unsaved(7).len()), (2, 0));
        store.accept(Batch { cursors, ..Batch::default() }, 7).await.unwrap();
        let after = Gates::default();
        after.set(&"net".into(), rules(2, 0, &[]));
        after.recall(&store, 8).await.unwrap();
        let more = flood.into_iter().chain([writes("eve", "c", 0)]).collect();
        assert_eq!(threads(&after, &store, &route, more, 8).await, ["a", "b"]);
        let later = Gates::default();
        later.set(&"net".into(), rules(2, 0, &[]));
        later.recall(&store, 7 + DAY_MILLIS).await.unwrap();
        assert_eq!(threads(&later, &store, &route, vec![writes("eve", "c", 0)], 7 + DAY_MILLIS).await, ["c"]);
        let cursors = later.unsaved(7 + DAY_MILLIS);
        let removed = cursors.iter().filter(|(_, cursor)| cursor.value.is_none()).count();
        assert_eq!((removed, cursors.len()), (2, 3), "what no longer counts goes");
    }
}
