//! The way in: listeners, sessions, the SMTP and LMTP machine.
