//! The way in: listeners, sessions, the SMTP and LMTP machine. A mail is stored before its client hears 250, and nothing is
//! ever handed on to another server from here.

mod command;
mod data;
mod header;
mod machine;
mod path;
mod timing;
