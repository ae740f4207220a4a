//! What the server heard around a mail, kept beside it in the spool.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// Prefix of the cursors that stand for mails in the spool; behind it is the name of the kept bytes.
pub(crate) const SPOOL: &str = "mail/";

/// The envelope of one mail. As JSON it is the value of the mail's cursor, so fields are added with defaults and never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// Of the client, as the socket says.
    pub(crate) client: IpAddr,
    /// What the client called itself.
    pub(crate) helo: String,
    /// `SMTP`, `ESMTP`, `LMTP`, with `S` behind it under TLS (RFC 3848).
    pub(crate) protocol: String,
    /// `None` is the null sender `<>`.
    pub(crate) sender: Option<Address>,
    /// Those that were accepted, each once, details included, in their order. Never empty.
    pub(crate) recipients: Vec<Address>,
    /// When the last octet came, Unix milliseconds.
    pub(crate) received_millis: i64,
    /// Of the mail, in octets.
    pub(crate) bytes: u64,
}
