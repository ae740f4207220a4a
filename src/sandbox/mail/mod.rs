//! A stand-in mail relay and mailbox in memory, with a fault switch; a small SMTP client; and a page on which to read
//! what the gateway sent out and to write to it as a customer.
//!
//! A second reading of the contract: it uses nothing of the gateway's, so that it cannot share its mistakes.

mod auth;
mod client;
mod command;
mod compose;
mod core;
mod faults;
mod handle;
mod mailbox;
mod routes;
mod server;
mod session;
mod shown;
mod target;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;

pub use client::{Handover, HandoverError, OutgoingMail, Reply};
pub use core::PostCounts;
pub use faults::{MailFault, MailFaults, MailRule, Step};
pub use handle::Post;
pub use mailbox::{Envelope, MAILS_MAX, ReceivedMail, Recipient};
pub use target::MailTarget;

pub(super) use self::core::Core;
pub(super) use routes::routes;
pub(super) use server::serve;

/// Who may hand mail to the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostAccount {
    pub user: String,
    pub password: String,
}

/// How the stand-in relay is set up. The defaults are for a first look on loopback.
#[derive(Debug, Clone)]
pub struct PostSettings {
    /// Where to take mail; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What the relay calls itself.
    pub hostname: String,
    /// With an account, nobody else may hand mail over; without one, every name and password is right.
    pub account: Option<PostAccount>,
    /// With a certificate, `STARTTLS` is offered. See [`tls_from_pem`].
    pub tls: Option<Arc<ServerConfig>>,
    /// TLS from the first octet instead.
    pub tls_from_start: bool,
    /// `SIZE`: the largest mail.
    pub mail_bytes_max: usize,
    /// All kept mails together; the oldest are forgotten.
    pub mailbox_bytes_max: usize,
    /// Whom the page writes to, unless the customer chooses somebody else.
    pub desk_address: String,
    /// Where the gateway takes mail.
    pub target: Option<MailTarget>,
}

impl Default for PostSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            hostname: "relay.sandbox.test".to_owned(),
            account: None,
            tls: None,
            tls_from_start: false,
            mail_bytes_max: 40 * 1024 * 1024,
            mailbox_bytes_max: 256 * 1024 * 1024,
            desk_address: "support@desk.test".to_owned(),
            target: None,
        }
    }
}

/// Why there is no TLS with this certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("no PEM: {0}")]
    Pem(#[from] pem::Error),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

/// TLS with this certificate chain and its key, both as PEM.
pub fn tls_from_pem(chain: &str, key: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(Arc::new(builder.with_single_cert(chain, key)?))
}

/// Binds the relay's listener.
pub(super) async fn open(settings: PostSettings) -> io::Result<(Core, TcpListener)> {
    let listener = TcpListener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    Ok((Core::new(settings, address), listener))
}
