//! How far the sweep of an inbox has come: a cursor of ours.

use bridge_api::Cursor;

use crate::{
    chatwoot::MessageId,
    model::{InboxName, OWN_SCOPE, Witnesses},
    store::{Batch, Store, StoreError, own_cursor, set_own_cursor},
};

/// How far an inbox was swept.
const SWEPT: &str = "swept";
/// The newest message id that was known at the last save.
const NEWEST: &str = "newest";
/// What was posted last.
const WITNESSES: &str = "witnesses";

/// The inbox's clock may differ from ours by this much, and a message may be that long on its way into the list.
pub(super) const SKEW_MILLIS: i64 = 10 * 60 * 1000;
/// A window reaches this far beyond what it must.
pub(super) const OVERLAP_MILLIS: i64 = 2 * 60 * 1000;
/// The window after our own clock was set back: how long nobody listened is not known then.
const UNKNOWN_MILLIS: i64 = 7 * 24 * 3600 * 1000;

/// One inbox of one installation. Ids mean nothing anywhere else, so neither do cursors that hold some.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub inbox: &'a InboxName,
    pub home: i64,
}

impl Place<'_> {
    pub(super) fn name(self, word: &str) -> String {
        format!("{word}/{}@{:016x}", self.inbox, self.home)
    }
}

/// The newest message id that was known at the last save; 0 at first.
pub async fn newest(store: &dyn Store, place: Place<'_>) -> Result<i64, StoreError> {
    Ok(own_cursor(store, &place.name(NEWEST)).await?.and_then(|value| value.parse().ok()).unwrap_or(0))
}

/// What was posted last, as of the last save.
pub async fn witnesses(store: &dyn Store, place: Place<'_>) -> Result<Witnesses, StoreError> {
    let saved = own_cursor(store, &place.name(WITNESSES)).await?;
    Ok(saved.and_then(|value| serde_json::from_str(&value).ok()).unwrap_or_default())
}

/// Saves what is known of the inbox: its newest message, and what was posted last.
pub async fn save_marks(
    store: &dyn Store,
    place: Place<'_>,
    (newest, witnesses): (i64, &Witnesses),
    now_millis: i64,
) -> Result<(), StoreError> {
    let mut cursors = vec![(OWN_SCOPE.to_owned(), Cursor::set(place.name(NEWEST), newest.to_string()))];
    if !witnesses.is_empty() {
        let json = serde_json::to_string(witnesses).expect("numbers and texts");
        cursors.push((OWN_SCOPE.to_owned(), Cursor::set(place.name(WITNESSES), json)));
    }
    store.accept(Batch { cursors, ..Batch::default() }, now_millis).await.map(drop)
}

/// How often this inbox turned out to be another one than it was.
pub async fn era(store: &dyn Store, inbox: &InboxName) -> Result<i64, StoreError> {
    Ok(era_since(store, inbox).await?.0)
}

/// The era, and when it began: numbers from before mean nothing.
pub(super) async fn era_since(store: &dyn Store, inbox: &InboxName) -> Result<(i64, i64), StoreError> {
    let saved = own_cursor(store, &format!("era/{inbox}")).await?;
    let numbers = saved.as_deref().and_then(|value| value.split_once('@'));
    let numbers = numbers.and_then(|(era, since)| Some((era.parse().ok()?, since.parse().ok()?)));
    Ok(numbers.unwrap_or((0, 0)))
}

pub(super) async fn save_era(
    store: &dyn Store,
    inbox: &InboxName,
    era: i64,
    now_millis: i64,
) -> Result<(), StoreError> {
    set_own_cursor(store, Cursor::set(format!("era/{inbox}"), format!("{era}@{now_millis}")), now_millis).await
}

/// What was swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Whatever moved before this moment was looked at. Time of day, Unix milliseconds.
    pub(super) through_millis: i64,
    /// Every message up to this one was looked at; 0 before the first sweep has ended.
    pub(super) floor: MessageId,
}

impl Position {
    /// Where the last process was. Without one, whatever moved since the store was made is to be looked at, as far as
    /// that is worth anything.
    pub(super) async fn load(
        store: &dyn Store,
        place: &Place<'_>,
        (born_millis, today): (i64, i64),
    ) -> Result<Self, StoreError> {
        let saved = own_cursor(store, &place.name(SWEPT)).await?;
        let first = Self { through_millis: born_millis.max(today - UNKNOWN_MILLIS), floor: MessageId(0) };
        Ok(saved.and_then(|value| Self::parse(&value)).unwrap_or(first))
    }

    pub(super) async fn save(self, store: &dyn Store, place: &Place<'_>, now_millis: i64) -> Result<(), StoreError> {
        let cursor = Cursor::set(place.name(SWEPT), format!("{}/{}", self.through_millis, self.floor));
        set_own_cursor(store, cursor, now_millis).await
    }

    fn parse(value: &str) -> Option<Self> {
        let (through_millis, floor) = value.split_once('/')?;
        Some(Self { through_millis: through_millis.parse().ok()?, floor: MessageId(floor.parse().ok()?) })
    }

    /// How far back the next sweep must look: by the time of day, and not less than what passed since the last one of
    /// this process. The one stands still where the clock is set back, the other while the machine sleeps.
    pub(super) fn window_millis(self, today: i64, passed_millis: Option<i64>) -> i64 {
        let gone = today - self.through_millis;
        match passed_millis {
            None if gone < -OVERLAP_MILLIS => UNKNOWN_MILLIS,
            passed => gone.max(passed.unwrap_or(0)).max(0) + OVERLAP_MILLIS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn a_position_outlives_the_process() {
        let (store, inbox) = (MemoryStore::default(), InboxName::new("support"));
        let place = Place { inbox: &inbox, home: 3 };
        let first = Position::load(&store, &place, (7_000, 9_000)).await.unwrap();
        assert_eq!(first, Position { through_millis: 7_000, floor: MessageId(0) });
        let later = Position { through_millis: 9_000, floor: MessageId(42) };
        later.save(&store, &place, 9_000).await.unwrap();
        assert_eq!(Position::load(&store, &place, (7_000, 12_000)).await.unwrap(), later);
        // Another installation behind the same name, and a name that begins like another one.
        for other in [Place { home: 4, ..place }, Place { inbox: &InboxName::new("supp"), ..place }] {
            assert_eq!(Position::load(&store, &other, (1, 1)).await.unwrap().through_millis, 1);
        }
    }

    #[test]
    fn a_window_reaches_back_to_the_last_sweep_and_further_when_the_clock_was_set_back() {
        let position = Position { through_millis: 1_000_000_000, floor: MessageId(1) };
        for (now_millis, passed, expected) in [
            (1_000_000_000, None, OVERLAP_MILLIS),
            (1_000_060_000, None, OVERLAP_MILLIS + 60_000),
            (1_000_000_000 - OVERLAP_MILLIS, None, OVERLAP_MILLIS),
            (1_000_000_000 - OVERLAP_MILLIS - 1, None, UNKNOWN_MILLIS),
            // Asleep for an hour, of which the other clock knows nothing; and set back by an hour.
            (1_003_600_000, Some(60_000), OVERLAP_MILLIS + 3_600_000),
            (1_000_000_000 - 3_600_000, Some(60_000), OVERLAP_MILLIS + 60_000),
        ] {
            assert_eq!(position.window_millis(now_millis, passed), expected, "{now_millis}");
        }
    }
}
