//! What stands in the place of a bridge that was taken out of the settings, or is paused: everything for it waits.

use bridge_api::{Attachment, Bridge, CancellationToken, Capabilities, Fault, File, Host, Outbound, Sent, async_trait};

pub(super) const GONE: &str = "the bridge is no longer in the settings; what waits for it is kept until it is again";

pub(super) const PAUSED: &str =
    "paused by an operator, until it is resumed or the gateway starts again; what waits for it is kept";

/// With the reason.
pub(super) struct Absent(pub(super) &'static str);

#[async_trait]
impl Bridge for Absent {
    fn capabilities(&self) -> Capabilities {
        Capabilities::cautious()
    }
    async fn run(&self, _host: Host, stop: CancellationToken) -> Result<(), Fault> {
        stop.cancelled().await;
        Ok(())
    }
    async fn send(&self, _out: &Outbound) -> Result<Sent, Fault> {
        Err(Fault::down(self.0))
    }
    async fn probe(&self, _out: &Outbound) -> Result<Option<Sent>, Fault> {
        Err(Fault::down(self.0))
    }
    async fn open(&self, _attachment: &Attachment) -> Result<File, Fault> {
        Err(Fault::down(self.0))
    }
}
