//! Work that ends with the right to it.

use std::{future::poll_fn, pin::pin, task::Poll};

use super::{Tenure, Term};
use crate::model::Partition;

impl Tenure {
    /// Does the work as long as the partition is held in this term; `None` when that ended first. The clock is looked at
    /// before each step: a process that was stopped for a while and goes on must not finish a sentence that it had begun,
    /// since somebody else may speak by now.
    pub async fn guard<F: Future>(&self, (partition, term): (Partition, Term), work: F) -> Option<F::Output> {
        if !self.shared {
            return Some(work.await);
        }
        let mut ended = pin!(self.ended(partition, term));
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.term(partition) != term || ended.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    async fn ended(&self, partition: Partition, term: Term) {
        loop {
            let held = self.told.held();
            if held.term(partition) != term || self.clock.now() >= held.act_until_millis {
                return;
            }
            tokio::select! {
                biased;
                _ = self.told.after(held.number) => {}
                () = tokio::time::sleep_until(self.clock.instant(held.act_until_millis)) => {}
            }
        }
    }
}
