//! From the first byte to the end of the welcome: introduction, log-in, nick, limits of time.

use std::time::{Duration, Instant};

use bridge_api::BridgeState;

use super::{Ending, Machine, Phase, pace};
use crate::{
    message::{Command, Line, Source},
    sasl::Exchange,
    settings::is_loopback,
};

/// How long capabilities and log-in may take.
const CAP_TIME: Duration = Duration::from_secs(30);
/// How long all of it may take.
const REGISTRATION_TIME: Duration = Duration::from_mins(1);
/// How long a password waits, on plain text, for the server to ask for TLS instead.
const STS_TIME: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Registration {
    pub(super) started: Instant,
    pub(super) cap_ended: bool,
    pub(super) exchange: Option<Exchange>,
    pub(super) nick_tries: u32,
    pub(super) welcomed: bool,
}

impl Registration {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, cap_ended: false, exchange: None, nick_tries: 0, welcomed: false }
    }
}

impl Machine {
    pub(super) fn begin_registration(&mut self) {
        self.write_now(&Command::new("CAP").param("LS").param("302"));
        if !self.waits_for_sts() {
            self.introduce();
        }
    }

    /// On plain text no password leaves before the server had its chance to ask for TLS.
    fn waits_for_sts(&self) -> bool {
        let secret = self.settings.password.is_some();
        secret && !self.link.secure && !self.link.introduced && !is_loopback(&self.settings.server)
    }

    pub(super) fn introduce(&mut self) {
        if self.link.introduced {
            return;
        }
        self.link.introduced = true;
        if let Some(password) = &self.settings.password {
            let pass = Command::new("PASS").last(password.expose());
            self.write_now(&pass);
        }
        self.write_now(&Command::new("NICK").param(self.link.mask.nick.clone()));
        let user = Command::new("USER").param(self.settings.username()).param("0").param("*");
        let user = user.last(self.settings.realname.clone());
        self.write_now(&user);
    }

    /// Every REQ is answered: log in, or go on.
    pub(super) fn after_capabilities(&mut self) {
        let registration = &self.link.registration;
        if self.link.phase != Phase::Registering || registration.cap_ended || registration.exchange.is_some() {
            return;
        }
        self.log_in();
    }

    pub(super) fn end_capabilities(&mut self) {
        if !self.link.registration.cap_ended && self.link.phase == Phase::Registering {
            self.link.registration.cap_ended = true;
            self.write_now(&Command::new("CAP").param("END"));
        }
    }

    /// 001: its first parameter is our real nick, its last word often our mask.
    pub(super) fn on_welcome(&mut self, line: &Line<'_>) {
        if self.link.phase != Phase::Registering {
            return;
        }
        self.link.introduced = true;
        self.link.registration.welcomed = true;
        self.link.registration.cap_ended = true;
        self.learn_clock(line);
        if let Some(nick) = line.param(0).filter(|nick| !nick.is_empty() && *nick != "*") {
            nick.clone_into(&mut self.link.mask.nick);
        }
        let mask = line.last().rsplit(' ').next().and_then(Source::parse);
        if let Some(Source::Peer { nick, user, host }) = mask
            && self.link.is_us(nick)
            && !user.is_empty()
            && !host.is_empty()
        {
            self.link.mask.user = Some(user.to_owned());
            self.link.mask.host = Some(host.to_owned());
        }
    }

    /// 376 or 422: the welcome is over.
    pub(super) fn on_welcome_end(&mut self) {
        if self.link.phase != Phase::Registering || !self.link.registration.welcomed {
            return;
        }
        let required = self.settings.sasl.as_ref().is_some_and(|sasl| sasl.required);
        if required && self.link.account.is_none() {
            // The server never spoke of capabilities: on this network we would be nobody.
            self.hang_up(Ending::AuthAway, "the server offers no sasl log-in, and `sasl.required` is on");
            return;
        }
        self.link.phase = Phase::Ready;
        self.link.registered_at = Some(self.now.at);
        self.link.pace.begin(self.now.at);
        tracing::info!(server = self.settings.server, nick = self.link.mask.nick, "on the network");
        self.after_ready();
    }

    fn after_ready(&mut self) {
        if let Some(letter) = self.link.isupport.bot_mode() {
            let mode = Command::new("MODE").param(self.link.mask.nick.clone()).param(format!("+{letter}"));
            self.write_later(mode);
        }
        self.join_all();
        if self.link.mask.user.is_none() || !self.link.caps.has("server-time") {
            // Our own mask, and by our own signon how the server's clock stands to ours.
            let own = self.link.fold(&self.link.mask.nick);
            self.ask_whois(&own, false);
        }
        self.watch_the_known();
        self.prove_the_held();
        self.begin_history();
        self.after_nick_known();
        self.say_how_it_is();
    }

    /// Up, or up with a complaint.
    pub(super) fn say_how_it_is(&mut self) {
        if self.link.phase != Phase::Ready {
            return;
        }
        let complaint =
            self.nick_complaint().or_else(|| self.link.complaint.clone()).or_else(|| self.channel_complaint());
        self.say(complaint.map_or(BridgeState::Up, |reason| BridgeState::Degraded { reason }));
    }

    /// 002 and 004 name the server's software.
    pub(super) fn on_version(&mut self, line: &Line<'_>) {
        if let Some(profile) = line.params().iter().skip(1).find_map(|word| pace::profile_of(word)) {
            self.link.pace.adopt(self.settings.pace, profile);
        }
    }

    pub(super) fn on_isupport(&mut self, line: &Line<'_>) {
        let before = self.link.isupport.case_mapping();
        let applied = self.link.isupport.apply(line.params());
        if applied.case_mapping_unknown {
            tracing::warn!("the server names a case mapping that is not known, ascii is used");
        }
        if applied.case_mapping_changed {
            tracing::info!(?before, after = ?self.link.isupport.case_mapping(), "names are compared in another way now");
            self.fold_again();
        }
    }

    pub(super) fn check_registration(&mut self) {
        if self.link.phase != Phase::Registering {
            return;
        }
        let passed = self.now.at.saturating_duration_since(self.link.registration.started);
        if passed >= STS_TIME {
            self.introduce();
        }
        if passed >= CAP_TIME && !self.link.registration.cap_ended {
            self.log_in_failed(Ending::AuthAway, "the server did not finish the log-in in time");
            self.end_capabilities();
        }
        if passed >= REGISTRATION_TIME {
            self.hang_up(Ending::Network, "the server did not finish the registration in time");
        }
    }

    pub(super) fn registration_wake(&self) -> Option<(Instant, &'static str)> {
        if self.link.phase != Phase::Registering {
            return None;
        }
        let started = self.link.registration.started;
        let limit = if !self.link.introduced {
            STS_TIME
        } else if !self.link.registration.cap_ended {
            CAP_TIME
        } else {
            REGISTRATION_TIME
        };
        Some((started + limit, "registration takes too long"))
    }
}
