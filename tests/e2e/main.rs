//! The real binary against real peers: ngIRCd, InspIRCd with services, Synapse, Postfix, a browser, and the sandbox
//! inbox as a process of its own.
//!
//! Everything is driven from outside: settings files, signals, HTTP, and bytes on an IRC connection. It uses nothing
//! of the library, but in `examine`. A missing server is a loud skip on a laptop, and a failure where `CI` is set.

mod browser;
mod gateway;
mod http;
mod irc;
mod mail;
mod matrix;
mod peers;
mod process;
mod sandbox;
mod small_disk;
mod wait;
mod world;

mod accounts;
mod bad_input;
mod conversation;
mod crashes;
mod crowd;
mod every_replica;
mod examine;
mod forgetting;
mod identity;
mod limits;
mod outages;
mod pages;
mod peers_themselves;
mod on_postgres;
mod process_life;
mod repeats;
mod reread;
mod status_page;
mod try_mail;
mod try_out;
