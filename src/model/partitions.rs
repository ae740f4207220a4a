//! Shares of the lanes: the unit of ownership between processes.

use std::fmt;

/// How many there are.
pub const PARTITIONS: usize = 256;

/// One of them.
pub type Partition = u8;

/// Some of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Partitions([u64; PARTITIONS / 64]);

impl Partitions {
    pub const NONE: Self = Self([0; PARTITIONS / 64]);
    pub const ALL: Self = Self([u64::MAX; PARTITIONS / 64]);

    pub fn has(&self, partition: Partition) -> bool {
        self.0[usize::from(partition / 64)] >> (partition % 64) & 1 == 1
    }
    pub fn insert(&mut self, partition: Partition) {
        self.0[usize::from(partition / 64)] |= 1 << (partition % 64);
    }
    pub fn remove(&mut self, partition: Partition) {
        self.0[usize::from(partition / 64)] &= !(1 << (partition % 64));
    }
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }
    /// In ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Partition> + use<'_> {
        (0..=Partition::MAX).filter(|partition| self.has(*partition))
    }
    /// What is here or there.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.with(other, |one, other| one | other)
    }
    /// What is here and there.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |one, other| one & other)
    }
    /// What is here and not there.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.with(other, |one, other| one & !other)
    }

    fn with(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        words.iter_mut().zip(other.0).for_each(|(word, other)| *word = join(*word, other));
        Self(words)
    }
}

impl FromIterator<Partition> for Partitions {
    fn from_iter<I: IntoIterator<Item = Partition>>(all: I) -> Self {
        let mut partitions = Self::NONE;
        all.into_iter().for_each(|partition| partitions.insert(partition));
        partitions
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_a_set() {
        let some: Partitions = [0, 63, 64, 255].into_iter().collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        assert_eq!(some.iter().next_back(), Some(255));
        assert_eq!((some.len(), some.has(63), some.has(62), some.is_all()), (4, true, false, false));
        let mut rest = Partitions::ALL.without(&some);
        assert_eq!((rest.len(), rest.and(&some), rest.or(&some)), (252, Partitions::NONE, Partitions::ALL));
        rest.insert(64);
        rest.remove(1);
        assert_eq!((rest.len(), rest.has(64), rest.has(1)), (252, true, false));
        assert!(Partitions::default().is_empty() && !some.is_empty());
    }
}
