//! SASL log-in during registration, and what follows when it fails.

use super::{Ending, Machine, Phase};
use crate::{
    message::{Command, Line},
    sasl::{Credentials, Exchange, Mechanism, SaslError},
    settings::{SaslMechanism, SaslSettings},
};

impl Machine {
    pub(super) fn log_in(&mut self) {
        let Some(sasl) = self.settings.sasl.clone() else {
            self.end_capabilities();
            return;
        };
        if !self.link.caps.has("sasl") {
            // Services are away: their capability goes with them.
            self.log_in_failed(Ending::AuthAway, "the server offers no sasl log-in now");
            return;
        }
        let offered = self.link.caps.offered.get("sasl").map_or("", String::as_str);
        let Some(mechanism) = choose(&sasl, offered) else {
            let reason = format!("the server does not offer the configured sasl mechanism (it offers: {offered})");
            self.log_in_failed(Ending::Auth, &reason);
            return;
        };
        match Exchange::start(mechanism, &credentials(&sasl), &self.link.nonce) {
            Ok(exchange) => {
                self.link.registration.exchange = Some(exchange);
                self.write_now(&Command::new("AUTHENTICATE").param(mechanism.name()));
            }
            Err(error) => self.log_in_failed(Ending::Auth, &error.to_string()),
        }
    }

    pub(super) fn on_authenticate(&mut self, line: &Line<'_>) {
        let Some(exchange) = &mut self.link.registration.exchange else { return };
        match exchange.feed(line.param_or_empty(0)) {
            Ok(answers) => {
                for answer in answers {
                    self.write_now(&Command::new("AUTHENTICATE").param(answer.expose()));
                }
            }
            Err(error) => {
                self.write_now(&Command::new("AUTHENTICATE").param("*"));
                self.link.registration.exchange = None;
                if error == SaslError::ServerSignature {
                    self.hang_up(Ending::Auth, error.to_string());
                } else {
                    self.log_in_failed(Ending::Auth, &error.to_string());
                }
            }
        }
    }

    /// 900: `<nick> <mask> <account> :text`
    pub(super) fn on_logged_in(&mut self, line: &Line<'_>) {
        self.link.account = line.param(2).map(str::to_owned);
        if let Some(crate::message::Source::Peer { user, host, .. }) =
            line.param(1).and_then(crate::message::Source::parse)
            && ![user, host].iter().any(|part| part.is_empty() || *part == "*")
        {
            self.link.mask.user = Some(user.to_owned());
            self.link.mask.host = Some(host.to_owned());
        }
    }

    /// 903
    pub(super) fn on_log_in_done(&mut self) {
        let Some(exchange) = self.link.registration.exchange.take() else { return };
        if !exchange.accepts_success() {
            self.hang_up(Ending::Auth, "the server said that the log-in succeeded without proving itself");
            return;
        }
        if self.link.account.is_none() {
            let account = self.settings.sasl.as_ref().and_then(|sasl| sasl.account.clone());
            self.link.account = Some(account.unwrap_or_else(|| "*".to_owned()));
        }
        self.end_capabilities();
    }

    /// 902, 904, 905, 906, 907
    pub(super) fn on_log_in_refused(&mut self, number: u16, line: &Line<'_>) {
        let during = self.link.registration.exchange.take().is_some();
        if number == 907 {
            self.end_capabilities();
        } else if during {
            let reason = format!("the server refused the sasl log-in ({number}): {}", line.last());
            self.log_in_failed(Ending::Auth, &reason);
        }
    }

    pub(super) fn log_in_failed(&mut self, ending: Ending, reason: &str) {
        self.link.registration.exchange = None;
        if self.link.phase != Phase::Registering || self.link.registration.cap_ended {
            return;
        }
        match &self.settings.sasl {
            Some(sasl) if sasl.required => self.hang_up(ending, reason),
            Some(_) => {
                tracing::warn!(reason, "on the network without the account");
                self.link.complaint = Some(format!("without the account: {reason}"));
                self.end_capabilities();
            }
            None => self.end_capabilities(),
        }
    }
}

pub(crate) fn credentials(sasl: &SaslSettings) -> Credentials {
    Credentials {
        account: sasl.account.clone().unwrap_or_default(),
        password: sasl.password.clone().unwrap_or_else(|| bridge_api::Secret::new("")),
    }
}

/// The configured mechanism, or SCRAM in place of PLAIN where only that is offered: it shows less.
pub(crate) fn choose(sasl: &SaslSettings, offered: &str) -> Option<Mechanism> {
    let mechanism = match sasl.mechanism {
        SaslMechanism::Plain => Mechanism::Plain,
        SaslMechanism::External => Mechanism::External,
        SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
    };
    let offers = |wanted: Mechanism| offered.split(',').any(|name| Mechanism::from_name(name) == Some(wanted));
    if offered.is_empty() || offers(mechanism) {
        Some(mechanism)
    } else if mechanism == Mechanism::Plain && offers(Mechanism::ScramSha256) {
        Some(Mechanism::ScramSha256)
    } else {
        None
    }
}
