//! What a network can do, as data. Each field is here because the gateway branches on it.

use std::time::Duration;

/// Known better after connecting; cautious before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What happens when the same key is sent twice.
    pub resend: Resend,
    /// Where this bridge runs, if there are several replicas of the gateway.
    pub placement: Placement,
    /// The longest text of one part in bytes, for bridges that keep the default [`Bridge::parts`](crate::Bridge::parts).
    pub text_bytes_max: usize,
    /// The form of text that the network shows.
    pub text_form: TextForm,
    pub attachments: Attachments,
    /// How far the network tells what became of a message.
    pub receipts: Receipts,
    /// The network can show which message a reply belongs to.
    pub replies: bool,
    /// The network can take a message back.
    pub withdraw: bool,
    /// How long one `send` or `probe` may take before it is given up as unknown.
    pub attempt_limit: Duration,
    /// Effects that the gateway may have under way at once, over all threads. At least 1.
    pub in_flight_max: usize,
}

impl Capabilities {
    /// The least that any network can do.
    pub fn cautious() -> Self {
        Self {
            resend: Resend::Risky,
            placement: Placement::OneReplica,
            text_bytes_max: 350,
            text_form: TextForm::Plain,
            attachments: Attachments::ByLink,
            receipts: Receipts::Accepted,
            replies: false,
            withdraw: false,
            attempt_limit: Duration::from_mins(2),
            in_flight_max: 64,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// The network drops a repeated key.
    Harmless,
    /// [`Bridge::probe`](crate::Bridge::probe) gives a true answer.
    Askable,
    /// Neither: a repeat may be a double, and the doubt is shown.
    Risky,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In one of them, and the others know nothing of its network.
    OneReplica,
    /// In one of them; all of them [listen](crate::Bridge::listen).
    EveryReplica,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    Plain,
    Markdown,
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachments {
    /// Not even a link.
    None,
    ByLink,
    /// The network carries files up to this size.
    Native {
        bytes_max: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receipts {
    /// The network's server took it.
    Accepted,
    /// It reached the person's client.
    Delivered,
    /// It was read.
    Read,
}
