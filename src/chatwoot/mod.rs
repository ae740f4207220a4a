//! The far side: Chatwoot's API channel, as its own words put it.
//!
//! `client` asks (one function per call), `callback` is told (pure: bytes to verified, parsed and gated), `fault` sorts
//! what goes wrong (pure). Nothing here repeats a call, remembers anything or knows of bridges.

mod address;
mod client;
mod contacts;
mod conversations;
mod exchange;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod ids;
mod inboxes;
mod messages;
mod origin;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
mod text;
mod web;
pub mod callback;
pub mod fault;
pub mod wire;

pub use address::is_public;
pub use client::{Client, UploadPlace};
pub use contacts::{AVATAR_BYTES_MAX, AVATAR_TYPES, ContactChange, NewContact};
pub use conversations::NewConversation;
pub use exchange::{Answered, Asked, Exchange, Unanswered};
pub use fault::{Call, CallFault};
pub use files::File;
pub use ids::{AccountId, ContactId, ConversationId, InboxId, MessageId};
pub use inboxes::InboxChange;
pub use messages::{ATTACHMENTS_MAX, CONTENT_CHARS_MAX, MESSAGES_PAGE, NewMessage, Posted, Upload};
pub use origin::ClientSettings;
pub use text::safe_name;
pub use web::tls_settings;
pub use wire::{
    Account, AgentRow, Contact, Conversation, ConversationStatus, Inbox, Link, MessageRow, MessageStatus, MessageType,
    Profile, ProfileAccount, Version,
};
