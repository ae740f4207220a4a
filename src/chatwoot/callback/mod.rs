//! What Chatwoot tells us, from bytes to a decision. Pure: the raw body, the headers and the time are passed in.
//!
//! Three steps, always in this order: [`verify`] the bytes, [`parse`] their top-level fields, [`gate`] what they mean.
//! The sweep has no bytes to verify and joins at the gate with [`listed`]: there is no second way to a peer.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
mod lenient;
mod parse;
mod signature;
#[cfg(test)]
mod tests;

pub use gate::{GateSettings, Ignored, Occasion, Outgoing, PublicOutgoing, Verdict, gate};
pub use parse::{
    Attributes, Callback, CallbackConversation, CallbackFile, Event, NotACallback, Sender, listed, parse, standing,
};
pub use signature::{DELIVERY_HEADER, Refusal, SIGNATURE_HEADER, TIMESTAMP_HEADER, TOLERANCE_SECONDS, verify};
