//! What began to wait, in the order in which it did.

use super::{Model, row::Row};
use crate::{
    model::EnvelopeId,
    store::{Lease, News, StoreError, Watermark},
};

impl Model {
    pub(super) fn is_news(&mut self, id: EnvelopeId) {
        self.stamp += 1;
        self.news.insert(self.stamp, id);
    }

    /// Whether it waits in a partition that this lease does not hold. What is not there is lost to nobody.
    pub(super) fn is_lost(&self, lease: &Lease, id: EnvelopeId) -> bool {
        self.rows.get(&id).is_some_and(|row| row.lives() && !self.tenants.holds(lease, row.partition))
    }

    pub(super) fn news(&self, lease: &Lease, since: Watermark, count_max: usize) -> Result<News, StoreError> {
        self.tenants.hold_all(lease)?;
        let (mut waiting, mut at) = (Vec::new(), since.at);
        for (stamp, id) in self.news.range(since.at + 1..) {
            if waiting.len() == count_max {
                return Ok(News { waiting, next: Watermark { at, ..since }, more: true });
            }
            at = *stamp;
            let row = self.rows.get(id).filter(|row| row.lives() && self.tenants.holds(lease, row.partition));
            waiting.extend(row.map(Row::waiting));
        }
        Ok(News { waiting, next: Watermark { at, ..since }, more: false })
    }
}
