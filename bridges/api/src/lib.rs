//! The contract between the gateway and a bridge: the words of one network, and nothing else.
//!
//! A bridge reports what happens on its network as [`Inbound`] events and causes one effect for each
//! [`Outbound`]. It never sees the help desk, never stores anything by itself and never repeats
//! anything: the gateway keeps, orders and repeats.
//!
//! ```
//! use std::sync::Arc;
//! use bridge_api::{async_trait, Bridge, Capabilities, CancellationToken, Fault, Host, Outbound, Sent};
//!
//! /// A network that forgets everything at once.
//! struct Void(Capabilities);
//!
//! #[async_trait]
//! impl Bridge for Void {
//!     fn capabilities(&self) -> Capabilities {
//!         self.0.clone()
//!     }
//!     async fn run(&self, _host: Host, stop: CancellationToken) -> Result<(), Fault> {
//!         stop.cancelled().await;
//!         Ok(())
//!     }
//!     async fn send(&self, _out: &Outbound) -> Result<Sent, Fault> {
//!         Ok(Sent::default())
//!     }
//!     async fn probe(&self, _out: &Outbound) -> Result<Option<Sent>, Fault> {
//!         Ok(None)
//!     }
//! }
//!
//! let _bridge: Arc<dyn Bridge> = Arc::new(Void(Capabilities::cautious()));
//! ```

mod bridge;
mod caller;
mod capabilities;
mod content;
mod fault;
mod file;
mod finding;
mod host;
mod ids;
mod kept;
#[cfg(feature = "kit")]
pub mod kit;
mod secret;
mod spool;

pub use async_trait::async_trait;
pub use bridge::{Bridge, Kind};
pub use caller::{Admission, Caller};
pub use capabilities::{Attachments, Capabilities, Placement, Receipts, Resend, TextForm};
pub use content::{
    Agent, Attachment, Holder, Inbound, Message, Outbound, Part, Peer, Receipt, Reply, Report, Sent, Speaker, Target,
};
pub use fault::{Fault, FaultKind, SettingsFault};
pub use file::{File, Pieces};
pub use finding::{Examination, Finding, Findings, Verdict};
pub use host::{AcceptError, BridgeState, Cursor, CursorsOf, Host, HostPort, Landing};
pub use ids::{AgentId, BridgeName, EventId, KeptId, Key, PeerId, ThreadId};
pub use kept::Filling;
pub use secret::Secret;
pub use spool::{Spool, Spooled};
pub use tokio_util::sync::CancellationToken;
