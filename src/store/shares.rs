//! Who gets which partitions. Pure: everybody who renews a lease reckons the same from the same rows.

use crate::model::{PARTITIONS, Partitions};

/// One who lives, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder<'a> {
    pub(super) owner: &'a str,
    pub(super) holds: Partitions,
}

/// What one of them does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Of those that nobody holds.
    pub(super) takes: Partitions,
    /// Of its own.
    pub(super) surplus: Partitions,
}

/// Fair: nobody is to have more than one above another. Few moves: only what is above a fair share is given up, who has
/// most is let have the odd one, and what is named stays named until it is gone.
pub(super) fn share_of(owner: &str, living: &[Holder<'_>]) -> Share {
    let Some(own) = living.iter().find(|holder| holder.owner == owner) else { return Share::default() };
    let mut by_size: Vec<_> = living.iter().map(|holder| (holder.holds.len(), holder.owner)).collect();
    by_size.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
    let place = by_size.iter().position(|(_, name)| *name == owner).expect("it is one of them");
    let fair = PARTITIONS / living.len() + usize::from(place < PARTITIONS % living.len());
    let held = living.iter().fold(Partitions::NONE, |held, holder| held.or(&holder.holds));
    let free = Partitions::ALL.without(&held);
    let count = own.holds.len();
    // From two ends, so that what was taken last is not what is given up first.
    Share {
        takes: free.iter().take(fair.saturating_sub(count)).collect(),
        surplus: own.holds.iter().rev().take(count.saturating_sub(fair)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Site = BTreeMap<&'static str, Partitions>;

    fn living(site: &Site) -> Vec<Holder<'_>> {
        site.iter().map(|(owner, holds)| Holder { owner, holds: *holds }).collect()
    }

    /// Everybody renews in turn, and gives up at once what it is told to. Returns how many partitions moved to others.
    fn settle(site: &mut Site) -> usize {
        let mut moved = 0;
        for _ in 0..3 {
            for owner in site.keys().copied().collect::<Vec<_>>() {
                let share = share_of(owner, &living(site));
                moved += share.surplus.len();
                let holds = site.get_mut(owner).unwrap();
                *holds = holds.or(&share.takes).without(&share.surplus);
            }
        }
        for owner in site.keys() {
            assert_eq!(share_of(owner, &living(site)), Share::default(), "{owner} is not at rest");
        }
        moved
    }

    fn counts(site: &Site) -> Vec<usize> {
        site.values().map(Partitions::len).collect()
    }

    #[test]
    fn who_is_alone_has_all_and_who_comes_is_given_a_fair_part_with_the_fewest_moves() {
        let mut site = Site::from([("a", Partitions::NONE)]);
        assert_eq!((settle(&mut site), counts(&site)), (0, vec![256]));
        site.insert("b", Partitions::NONE);
        assert_eq!((settle(&mut site), counts(&site)), (128, vec![128, 128]));
        site.insert("c", Partitions::NONE);
        assert_eq!(settle(&mut site), 85);
        assert_eq!(counts(&site), [86, 85, 85]);
        let before = site.clone();
        let gone = site.remove("b").unwrap();
        assert_eq!(settle(&mut site), 0, "only what it left behind moves");
        assert_eq!(counts(&site), [128, 128]);
        assert!(site.iter().all(|(owner, holds)| before[owner].without(holds).is_empty()));
        assert_eq!(site["a"].or(&site["c"]).and(&gone), gone);
    }

    #[test]
    fn what_is_to_be_given_up_stays_the_same_while_it_is_given_up_piece_by_piece() {
        let mut site = Site::from([("a", Partitions::ALL), ("b", Partitions::NONE)]);
        let surplus = share_of("a", &living(&site)).surplus;
        assert_eq!(surplus.len(), 128);
        // All but one that is at work.
        let busy: Partitions = surplus.iter().take(1).collect();
        site.insert("a", Partitions::ALL.without(&surplus).or(&busy));
        assert_eq!(share_of("a", &living(&site)), Share { takes: Partitions::NONE, surplus: busy });
        assert_eq!(share_of("b", &living(&site)).takes, surplus.without(&busy));
    }

    #[test]
    fn a_stranger_gets_nothing() {
        assert_eq!(share_of("c", &[Holder { owner: "a", holds: Partitions::NONE }]), Share::default());
    }

    proptest! {
        #[test]
        fn however_they_come_and_go_all_is_held_once_and_fairly(
            steps in proptest::collection::vec((0..5_usize, any::<bool>()), 1..12),
        ) {
            let mut site = Site::from([("z", Partitions::NONE)]);
            settle(&mut site);
            for (who, comes) in steps {
                let owner = ["a", "b", "c", "d", "e"][who];
                let (before, count) = (site.clone(), site.len());
                let changed = if comes {
                    site.insert(owner, before.get(owner).copied().unwrap_or_default()).is_none()
                } else {
                    site.remove(owner).is_some()
                };
                let moved = settle(&mut site);
                let held = site.values().fold(Partitions::NONE, |all, one| all.or(one));
                prop_assert!(held.is_all());
                prop_assert_eq!(counts(&site).iter().sum::<usize>(), PARTITIONS, "nobody shares one");
                let (least, most) = (counts(&site).into_iter().min().unwrap(), counts(&site).into_iter().max().unwrap());
                prop_assert!(most - least <= 1, "{:?}", counts(&site));
                // No more than the part of the one who came.
                prop_assert!(moved <= if changed && comes { PARTITIONS / (count + 1) } else { 0 }, "{moved} moved");
            }
        }
    }
}
