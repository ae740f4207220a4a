//! One mail on its way to the spool: small ones are kept whole, large ones piece by piece. What fails, fails at the end, once.

use std::sync::Arc;

use bridge_api::{AcceptError, Filling, Host, KeptId, Spool};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::porter::Porter;
use crate::envelope::Envelope;

/// Where mails go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) spool: Arc<Spool>,
    /// Asks whether a mail is let in.
    pub(crate) porter: Arc<Porter>,
}

impl Intake {
    pub(super) fn host(&self) -> &Host {
        self.spool.host()
    }
}

/// A mail up to this size is held in memory, and all mails together up to the second one.
const MEMORY_BYTES_MAX: usize = 256 * 1024;
pub(super) const BUDGET_BYTES: usize = 256 * 1024 * 1024;
/// By which a mail's share of the budget grows.
const SHARE_BYTES: usize = 32 * 1024;
/// Of a large mail, given on at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The memory that all mails on their way share, one permit for each share.
pub(super) fn budget(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes / SHARE_BYTES))
}

/// Could a mail of this declared size be held now? What it takes is reserved only as it comes.
pub(super) fn has_memory(budget: &Semaphore, bytes: u64) -> bool {
    let held = bytes.clamp(1, MEMORY_BYTES_MAX as u64) as usize;
    budget.available_permits() >= held.div_ceil(SHARE_BYTES)
}

pub(super) struct Arrival {
    intake: Intake,
    budget: Arc<Semaphore>,
    held: Vec<u8>,
    shares: Option<OwnedSemaphorePermit>,
    filling: Option<(KeptId, Box<dyn Filling>)>,
    /// Of a mail whose beginning is no longer in memory.
    head: Vec<u8>,
    failed: bool,
}

impl Arrival {
    pub(super) fn new(intake: Intake, budget: Arc<Semaphore>) -> Self {
        Self { intake, budget, held: Vec::new(), shares: None, filling: None, head: Vec::new(), failed: false }
    }

    /// Forgets the mail under way, if there is one.
    pub(super) fn discard(&mut self) {
        (self.held, self.shares, self.filling, self.failed) = (Vec::new(), None, None, false);
        self.head = Vec::new();
    }

    pub(super) async fn take(&mut self, piece: &[u8]) {
        if self.failed {
            return;
        }
        if let Err(error) = self.try_take(piece).await {
            self.fail(&error);
        }
    }

    async fn try_take(&mut self, piece: &[u8]) -> Result<(), AcceptError> {
        self.reserve(self.held.len() + piece.len())?;
        self.held.extend_from_slice(piece);
        let bytes_max = if self.filling.is_some() { PIECE_BYTES } else { MEMORY_BYTES_MAX };
        if self.held.len() <= bytes_max {
            return Ok(());
        }
        if self.filling.is_none() {
            self.filling = Some(self.intake.host().fill().await?);
            self.head = head_of(&self.held).to_vec();
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), AcceptError> {
        let held = std::mem::take(&mut self.held);
        match &mut self.filling {
            Some((_, filling)) if !held.is_empty() => filling.write(Bytes::from(held)).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Takes shares of the budget for this many octets; they are given back with the mail.
    fn reserve(&mut self, bytes: usize) -> Result<(), AcceptError> {
        let owned = self.shares.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(SHARE_BYTES).saturating_sub(owned);
        if missing == 0 {
            return Ok(());
        }
        let more = self.budget.clone().try_acquire_many_owned(missing as u32);
        let more = more.map_err(|_| AcceptError("too many mails are on their way in at once".to_owned()))?;
        match &mut self.shares {
            Some(shares) => shares.merge(more),
            None => self.shares = Some(more),
        }
        Ok(())
    }

    fn fail(&mut self, error: &AcceptError) {
        tracing::warn!(error = error.to_string(), "a mail could not be stored and was put off");
        self.discard();
        self.failed = true;
    }

    /// What the client is answered where the mail under way is not let in. One that cannot be judged, or cannot be stored,
    /// is not turned away here.
    pub(super) async fn turned_away(&self, envelope: &Envelope, counted: bool) -> Option<&'static str> {
        if self.failed {
            return None;
        }
        let head = if self.filling.is_some() { &self.head } else { &self.held };
        let asked = self.intake.porter.turns_away(self.intake.host(), (envelope, head), counted);
        asked.await.unwrap_or_else(|error| {
            tracing::debug!(error = error.to_string(), "whether a mail is let in cannot be looked up");
            None
        })
    }

    /// Makes the mail durable, and has the desk look for it. `None`: nothing of it is left.
    pub(super) async fn keep(&mut self, envelope: &Envelope) -> Option<KeptId> {
        let kept = if self.failed { None } else { self.try_keep(envelope).await };
        self.discard();
        kept
    }

    async fn try_keep(&mut self, envelope: &Envelope) -> Option<KeptId> {
        match self.store(envelope).await {
            Ok(id) => {
                let Envelope { bytes, protocol, .. } = envelope;
                tracing::debug!(mail = id.to_string(), bytes, protocol, "a mail is kept");
                Some(id)
            }
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    async fn store(&mut self, envelope: &Envelope) -> Result<KeptId, AcceptError> {
        let json = serde_json::to_string(envelope).map_err(|error| AcceptError(error.to_string()))?;
        self.write_rest().await?;
        let spool = &self.intake.spool;
        let Some((id, filling)) = self.filling.take() else {
            return spool.keep(std::mem::take(&mut self.held).into(), &json).await;
        };
        spool.finish((&id, filling), &json).await?;
        Ok(id)
    }

    async fn write_rest(&mut self) -> Result<(), AcceptError> {
        if self.filling.is_some() { self.write().await } else { Ok(()) }
    }
}

/// The head of a mail, with the blank line behind it where that has come.
fn head_of(beginning: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(beginning, b"\r\n\r\n").map_or(MEMORY_BYTES_MAX, |end| end + 4);
    &beginning[..end.min(beginning.len())]
}
