//! The locks that replicas on one database agree by. None of them is held longer than a transaction.
//!
//! *The fence.* A turn shares it and then reads who has which partition, and so does who says that they live; who takes
//! or gives back partitions has it alone. So no lease changes while a turn that showed it is on its way, and a turn that
//! waited for the change sees it; and whoever is taken for dead hears of it with their next word.
//! Rows of leases are not locked themselves: each lock of a row is a write.
//!
//! *The announcement.* Numbers of envelopes grow with arrival, but whoever took the lower number may commit later.
//! Whoever asks for what stands behind the highest number that they saw would never see such a row. So each transaction
//! that may take numbers first announces, by a shared lock whose name is the highest number given out so far, that it
//! may still come with higher ones; and `waiting` answers up to the lowest such announcement only. In that order: it
//! reads the highest number, then the announcements, then the rows. A transaction that it does not see announced has
//! either ended, and then its rows are visible to what is read afterwards (locks go after the commit is visible), or
//! announces itself later, and then takes numbers above the highest that was read.

/// The first half of a lock's name: no other program's, as far as one can choose. The schema's own number keeps several
/// stores in one database apart.
macro_rules! class {
    () => {
        "(('x' || md5('deskbridge ' || current_schema()))::bit(31)::int)"
    };
}

pub(super) const SHARE: &str = concat!("SELECT pg_advisory_xact_lock_shared(", class!(), ", -1)");
pub(super) const ALONE: &str = concat!("SELECT pg_advisory_xact_lock(", class!(), ", -1)");
/// Whoever puts something back, until that is visible.
pub(super) const PUT_BACK: &str = concat!("SELECT pg_advisory_xact_lock(", class!(), ", -3)");
pub(super) const MIGRATE: &str = concat!("SELECT pg_advisory_xact_lock(", class!(), ", -2)");

/// The low 31 bits of the highest number: those that are on their way together lie closer than that.
pub(super) const ANNOUNCE: &str =
    concat!("SELECT pg_advisory_xact_lock_shared(", class!(), ", (last_value % 2147483648)::int) FROM envelope_id");

/// The highest number given out so far, and the last stamp of what was put back.
pub(super) const NEWEST: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END,
    (SELECT coalesce(max(stamp), 0) FROM again) FROM envelope_id";
/// What was announced, in the low bits.
pub(super) const ANNOUNCED: &str = concat!(
    "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = ",
    class!(),
    "::bigint::oid AND objid::bigint < 2147483648"
);

/// Numbers above this may still come, or may not have been seen.
pub(super) fn horizon(newest: i64, announced: impl Iterator<Item = i64>) -> i64 {
    const SPAN: i64 = 1 << 31;
    let of = |low: i64| {
        // The nearest number with these bits: a little below the newest, or above it where it was announced since.
        let behind = (newest - low).rem_euclid(SPAN);
        if behind > SPAN / 2 { newest } else { newest - behind - 1 }
    };
    announced.map(of).fold(newest, i64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_is_below_whatever_may_still_come() {
        for (newest, announced, expected) in [
            (100, vec![], 100),
            (100, vec![100], 99),
            (100, vec![97, 99], 96),
            (100, vec![103], 100),
            ((7 << 31) + 5, vec![(1 << 31) - 2], (7 << 31) - 3),
            (0, vec![1], 0),
        ] {
            assert_eq!(horizon(newest, announced.clone().into_iter()), expected, "{newest}: {announced:?}");
        }
    }
}
