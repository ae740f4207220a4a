//! The one door in.
