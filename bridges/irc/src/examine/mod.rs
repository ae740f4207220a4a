//! A look at the network for `deskbridge doctor`: one short visit, step by step, each with a limit of its own.
//!
//! Joins no channel, writes to nobody, and leaves by QUIT.

use std::time::Duration;

use bridge_api::{Examination, Findings};

use crate::{
    machine::Endpoint,
    settings::{Settings, TlsFiles, is_loopback},
};

mod bans;
mod capabilities;
mod channels;
mod login;
mod nick;
mod reach;
mod register;
mod talk;
#[cfg(test)]
mod tests;

use register::{Ended, Registration};
use talk::Talk;

/// How long each step may take. All together stay below the half minute that a look has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    resolve: Duration,
    connect: Duration,
    handshake: Duration,
    /// From the first line to the end of the welcome, log-in included.
    registration: Duration,
    /// For a server that is asked for TLS where a password would otherwise go in clear.
    sts: Duration,
    /// For all that is asked once we are on the network.
    questions: Duration,
    goodbye: Duration,
}

impl Limits {
    pub(crate) const USUAL: Self = Self {
        resolve: Duration::from_secs(4),
        connect: Duration::from_secs(4),
        handshake: Duration::from_secs(4),
        registration: Duration::from_secs(12),
        sts: Duration::from_secs(5),
        questions: Duration::from_secs(4),
        goodbye: Duration::from_millis(500),
    };
}

/// What all steps know.
struct Look<'a> {
    settings: &'a Settings,
    how: Examination,
    limits: Limits,
    findings: &'a Findings,
}

pub(crate) async fn examine(settings: &Settings, how: Examination, limits: Limits, findings: &Findings) {
    let look = Look { settings, how, limits, findings };
    let tls = settings.tls.files().cloned();
    let mut endpoint = Endpoint { host: settings.server.clone(), port: settings.port(), tls };
    if let Some(port) = look.visit(&endpoint).await {
        endpoint = Endpoint { port, tls: Some(TlsFiles::default()), ..endpoint };
        look.visit(&endpoint).await;
    }
}

impl Look<'_> {
    /// From the name to the goodbye. A port: the server wants us there, with TLS.
    async fn visit(&self, endpoint: &Endpoint) -> Option<u16> {
        let socket = reach::reach(self, endpoint).await?;
        self.say_how_secret(endpoint);
        let mut talk = Talk::new(socket, self.settings, self.limits.registration);
        let ended = Registration::new(self, endpoint).run(&mut talk).await;
        let upgrade = match ended {
            Ended::Registered(welcome) => {
                talk.allow(self.limits.questions);
                nick::look(self, &mut talk, &welcome).await;
                capabilities::look(self, &welcome);
                channels::look(self, &mut talk, &welcome).await;
                None
            }
            Ended::Upgrade(port) => Some(port),
            Ended::Out => None,
        };
        talk.leave(self.limits.goodbye).await;
        upgrade
    }

    fn say_how_secret(&self, endpoint: &Endpoint) {
        if endpoint.tls.is_none() && !is_loopback(&endpoint.host) {
            let tried = format!("keep what is said to {} secret", place(endpoint));
            let found = "the connection has no TLS: everybody on the way can read and change it";
            self.findings.warning(tried, found, "set `tls = true`, and the port that the network names for TLS");
        }
    }
}

fn place(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

/// Most characters of a server's words that are shown.
const WORDS_MAX: usize = 200;

/// A server's words on one line: quoted, escaped, and not too many.
fn said(text: &str) -> String {
    let cut: String = text.trim().chars().take(WORDS_MAX).collect();
    format!("{cut:?}")
}
