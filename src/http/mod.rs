//! The gateway's own listener.
