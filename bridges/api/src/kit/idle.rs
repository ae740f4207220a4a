//! A bridge of which nothing is wanted but that it is there.

use crate::{Bridge, CancellationToken, Capabilities, Fault, Host, Outbound, Sent, async_trait};

/// A network on which nothing happens: it takes whatever is sent, and keeps none of it.
#[derive(Clone, Copy, Debug)]
pub struct Idle;

#[async_trait]
impl Bridge for Idle {
    fn capabilities(&self) -> Capabilities {
        Capabilities::cautious()
    }
    async fn run(&self, _: Host, _: CancellationToken) -> Result<(), Fault> {
        Ok(())
    }
    async fn send(&self, _: &Outbound) -> Result<Sent, Fault> {
        Ok(Sent::default())
    }
    async fn probe(&self, _: &Outbound) -> Result<Option<Sent>, Fault> {
        Ok(None)
    }
}
