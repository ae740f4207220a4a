//! A stand-in API inbox.
