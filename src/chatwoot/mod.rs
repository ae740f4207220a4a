//! The far side: Chatwoot's API.
