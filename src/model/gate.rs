//! Who may begin a conversation, and how often: limits that count within a moving hour and day, and masks of people who
//! are blocked. No clock: whoever asks passes the moment in.

use std::collections::{BTreeMap, HashMap, VecDeque};

pub const HOUR_MILLIS: i64 = 3_600_000;
pub const DAY_MILLIS: i64 = 24 * HOUR_MILLIS;
/// Beginnings that one ledger remembers; with more in a day than that, the eldest no longer count.
const BEGINNINGS_MAX: usize = 100_000;

/// What is asked of whoever writes over one bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateRules {
    /// New conversations of one peer or host within an hour; 0 for no limit.
    pub per_peer_hour: u32,
    /// New conversations of all within a day; 0 for no limit.
    pub per_day: u32,
    pub blocked: Masks,
}

/// Masks of names: `*` stands for anything, `?` for one character. Letters are compared without their case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks(Vec<Vec<char>>);

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    Blocked,
    /// Too many new conversations of this one.
    Peer,
    /// Too many new conversations of all.
    Bridge,
}

impl Refusal {
    pub const ALL: [Self; 3] = [Self::Blocked, Self::Peer, Self::Bridge];

    /// In one word, to be counted by.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Peer => "peer_limit",
            Self::Bridge => "bridge_limit",
        }
    }
}

impl Masks {
    pub fn new<'a>(masks: impl IntoIterator<Item = &'a str>) -> Self {
        Self(masks.into_iter().map(|mask| mask.to_lowercase().chars().collect()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn catch(&self, names: &[String]) -> bool {
        let mut names = names.iter().map(|name| name.to_lowercase().chars().collect::<Vec<_>>());
        !self.is_empty() && names.any(|name| self.0.iter().any(|mask| fits(mask, &name)))
    }
}

/// Whether the name is one that the mask stands for. Looks back to the last `*` alone, so that no mask and no name take
/// longer than their lengths multiplied.
fn fits(mask: &[char], name: &[char]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < name.len() {
        match mask.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[seen] => (at, seen) = (at + 1, seen + 1),
            Some(_) | None => {
                let Some((place, from)) = star else { return false };
                star = Some((place, from + 1));
                (at, seen) = (place + 1, from + 1);
            }
        }
    }
    mask[at..].iter().all(|c| *c == '*')
}

/// The beginnings of one bridge's conversations within the last day.
#[derive(Debug, Default)]
pub struct Ledger {
    /// In their order, each with whose it was.
    day: VecDeque<(i64, Option<u64>)>,
    /// Those of the last hour, by whose they were.
    hour: HashMap<u64, VecDeque<i64>>,
    /// The first in `day` that is not yet older than an hour.
    aged: usize,
}

impl Ledger {
    /// Counts one more, or says which limit is reached.
    pub fn begin(&mut self, rules: &GateRules, peer: Option<u64>, now_millis: i64) -> Result<(), Refusal> {
        self.forget(now_millis);
        if rules.per_day > 0 && self.day.len() >= rules.per_day as usize {
            return Err(Refusal::Bridge);
        }
        let begun = peer.and_then(|peer| self.hour.get(&peer)).map_or(0, VecDeque::len);
        if rules.per_peer_hour > 0 && begun >= rules.per_peer_hour as usize {
            return Err(Refusal::Peer);
        }
        self.enter(now_millis, peer);
        Ok(())
    }

    /// One that was counted by an earlier process. They come in the order of their moments.
    pub fn recall(&mut self, at_millis: i64, peer: Option<u64>) {
        self.enter(at_millis, peer);
    }

    fn enter(&mut self, at_millis: i64, peer: Option<u64>) {
        self.day.push_back((at_millis, peer));
        if let Some(peer) = peer {
            self.hour.entry(peer).or_default().push_back(at_millis);
        }
        if self.day.len() > BEGINNINGS_MAX {
            self.drop_first();
        }
    }

    fn forget(&mut self, now_millis: i64) {
        while let Some((at, peer)) = self.day.get(self.aged).copied().filter(|(at, _)| at + HOUR_MILLIS <= now_millis) {
            self.aged += 1;
            self.forget_of(peer, at);
        }
        while self.day.front().is_some_and(|(at, _)| at + DAY_MILLIS <= now_millis) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some((at, peer)) = self.day.pop_front() else { return };
        if self.aged == 0 {
            self.forget_of(peer, at);
        }
        self.aged = self.aged.saturating_sub(1);
    }

    fn forget_of(&mut self, peer: Option<u64>, at_millis: i64) {
        let Some(peer) = peer else { return };
        let Some(begun) = self.hour.get_mut(&peer) else { return };
        if begun.front() == Some(&at_millis) {
            begun.pop_front();
        }
        if begun.is_empty() {
            self.hour.remove(&peer);
        }
    }
}

/// Somebody who was not let in, as operators see them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TurnedAway {
    /// As the network names them.
    pub who: String,
    pub reason: &'static str,
    pub count: u64,
    pub last_millis: i64,
}

/// Those who were not let in over one bridge, the latest of them by name.
#[derive(Debug, Default)]
pub struct Refusals {
    latest: BTreeMap<(String, Refusal), (u64, i64)>,
}

impl Refusals {
    /// People who are remembered by name.
    const LATEST_MAX: usize = 50;

    /// True when it is the first time that is remembered.
    pub fn add(&mut self, who: &str, refusal: Refusal, now_millis: i64) -> bool {
        let key = (who.to_owned(), refusal);
        if let Some((count, last)) = self.latest.get_mut(&key) {
            (*count, *last) = (*count + 1, now_millis);
            return false;
        }
        if self.latest.len() >= Self::LATEST_MAX {
            let eldest = self.latest.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone());
            eldest.map(|key| self.latest.remove(&key));
        }
        self.latest.insert(key, (1, now_millis));
        true
    }

    /// The latest first.
    pub fn shown(&self) -> Vec<TurnedAway> {
        let mut shown: Vec<_> = self
            .latest
            .iter()
            .map(|((who, refusal), (count, last))| TurnedAway {
                who: who.clone(),
                reason: refusal.word(),
                count: *count,
                last_millis: *last,
            })
            .collect();
        shown.sort_by(|one, other| other.last_millis.cmp(&one.last_millis).then_with(|| one.who.cmp(&other.who)));
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_fits_whole_names_without_their_case() {
        for (mask, name, expected) in [
            ("ada", "Ada", true),
            ("ada", "adah", false),
            ("*@spam.example", "x@SPAM.example", true),
            ("*@spam.example", "x@spam.example.org", false),
            ("*!*@*.bad.host", "nick!~u@a.b.bad.host", true),
            ("@*:evil.example", "@a:evil.example", true),
            ("@?:evil.example", "@ab:evil.example", false),
            ("**a*b**", "xxaxxbxx", true),
            ("*ab", "aab", true),
            ("", "", true),
            ("?", "", false),
            ("*", "", true),
            ("ÄDA", "äda", true),
        ] {
            assert_eq!(Masks::new([mask]).catch(&[name.to_owned()]), expected, "{mask} {name}");
        }
        assert!(!Masks::default().catch(&[String::new()]));
    }

    #[test]
    fn no_mask_takes_long_over_any_name() {
        // With a look back to each star this would not come to an end.
        let (mask, name) = ("*a".repeat(500) + "b", "a".repeat(20_000));
        assert!(!Masks::new([mask.as_str()]).catch(&[name]));
    }

    #[test]
    fn limits_count_within_a_moving_hour_and_a_moving_day() {
        let rules = GateRules { per_peer_hour: 2, per_day: 5, ..GateRules::default() };
        let mut ledger = Ledger::default();
        let mut begin = |peer: u64, at: i64| ledger.begin(&rules, Some(peer), at);
        assert_eq!([begin(1, 0), begin(1, 10), begin(1, 20)], [Ok(()), Ok(()), Err(Refusal::Peer)]);
        assert_eq!(begin(2, 20), Ok(()), "another is no worse off");
        assert_eq!([begin(1, HOUR_MILLIS), begin(1, HOUR_MILLIS + 9)], [Ok(()), Err(Refusal::Peer)]);
        assert_eq!([begin(1, HOUR_MILLIS + 10), begin(3, HOUR_MILLIS + 10)], [Ok(()), Err(Refusal::Bridge)]);
        assert_eq!(begin(3, DAY_MILLIS - 1), Err(Refusal::Bridge));
        assert_eq!(begin(3, DAY_MILLIS), Ok(()));
        assert!(ledger.hour.len() == 1 && ledger.day.len() == 5, "{ledger:?}");
    }

    #[test]
    fn what_an_earlier_process_counted_counts_and_without_limits_nothing_is_refused() {
        let rules = GateRules { per_peer_hour: 2, ..GateRules::default() };
        let mut ledger = Ledger::default();
        ledger.recall(0, Some(1));
        ledger.recall(5, Some(1));
        assert_eq!(ledger.begin(&rules, Some(1), 10), Err(Refusal::Peer));
        assert_eq!(ledger.begin(&rules, None, 10), Ok(()));
        let mut ledger = Ledger::default();
        for at in 0..BEGINNINGS_MAX as i64 + 10 {
            assert_eq!(ledger.begin(&GateRules::default(), Some(at as u64 % 7), 0), Ok(()));
        }
        assert_eq!(ledger.day.len(), BEGINNINGS_MAX);
        assert_eq!(ledger.hour.values().map(VecDeque::len).sum::<usize>(), BEGINNINGS_MAX);
    }

    #[test]
    fn the_latest_who_were_turned_away_are_remembered_by_name_and_told_of_once() {
        let mut refusals = Refusals::default();
        assert!(refusals.add("a", Refusal::Blocked, 1));
        assert!(!refusals.add("a", Refusal::Blocked, 2) && refusals.add("a", Refusal::Peer, 3));
        for n in 0..Refusals::LATEST_MAX {
            refusals.add(&format!("b{n:02}"), Refusal::Bridge, 10 + n as i64);
        }
        let shown = refusals.shown();
        assert_eq!((shown.len(), shown[0].who.as_str()), (Refusals::LATEST_MAX, "b49"));
        assert!(shown.iter().all(|one| one.who != "a"));
    }
}
