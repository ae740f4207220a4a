//! The two commands that say who is there: `STARTTLS` and `AUTH`. Takes no mail.

use super::super::auth;
use super::super::faults::Step;
use super::super::wire::End;
use super::{Flow, Gate, Session};

impl Session {
    /// Begins anew under TLS: what was said before does not count.
    pub(super) async fn starttls(mut self) -> Result<(Self, Flow), End> {
        self.core.hear("STARTTLS".to_owned());
        match self.gate(Step::Starttls, "STARTTLS").await? {
            Gate::Pass => {}
            Gate::Answered => return Ok((self, Flow::On)),
            Gate::Leave => return Ok((self, Flow::Over)),
        }
        let Some(config) = self.core.settings.tls.clone().filter(|_| !self.tls) else {
            self.say(503, "5.5.1 there is no TLS to start").await?;
            return Ok((self, Flow::On));
        };
        self.say(220, "2.0.0 go ahead").await?;
        let wire = self.wire.under_tls(config).await?;
        self.core.count(|counts| counts.tls += 1);
        let fresh = Self { wire, tls: true, hello: None, user: None, sender: None, recipients: Vec::new(), ..self };
        Ok((fresh, Flow::On))
    }

    pub(super) async fn auth(&mut self, line: &str, mechanism: &str, initial: Option<String>) -> Result<Flow, End> {
        match self.gate(Step::Auth, line).await? {
            Gate::Pass => {}
            Gate::Answered => {
                self.core.count(|counts| counts.unproved += 1);
                return Ok(Flow::On);
            }
            Gate::Leave => return Ok(Flow::Over),
        }
        if self.hello.as_ref().is_none_or(|(_, extended)| !extended) || self.user.is_some() || self.sender.is_some() {
            self.say(503, "5.5.1 not now").await?;
            return Ok(Flow::On);
        }
        let given = match mechanism {
            "PLAIN" => {
                let response = self.response(initial, "").await?;
                response.as_deref().and_then(auth::plain)
            }
            "LOGIN" => {
                let user = self.response(initial, auth::USERNAME).await?;
                let password = if user.is_some() { self.response(None, auth::PASSWORD).await? } else { None };
                user.zip(password).and_then(|(user, password)| auth::login(&user, &password))
            }
            _ => {
                self.say(504, "5.5.4 PLAIN or LOGIN").await?;
                return Ok(Flow::On);
            }
        };
        let Some((user, password)) = given else {
            self.say(501, "5.5.2 cancelled, or not what this mechanism says").await?;
            return Ok(Flow::On);
        };
        let account = self.core.settings.account.as_ref();
        if account.is_some_and(|account| account.user != user || account.password != password) {
            self.core.count(|counts| counts.unproved += 1);
            self.say(535, "5.7.8 wrong name or password").await?;
            return Ok(Flow::On);
        }
        self.core.count(|counts| counts.proved += 1);
        self.user = Some(user);
        self.say(235, "2.7.0 welcome").await?;
        Ok(Flow::On)
    }

    /// What the client answers to the challenge, unless it has done so already. None: it has changed its mind.
    async fn response(&mut self, initial: Option<String>, challenge: &str) -> Result<Option<String>, End> {
        if let Some(initial) = initial {
            return Ok(Some(if initial == "=" { String::new() } else { initial }));
        }
        self.say(334, challenge).await?;
        let line = self.wire.line().await?;
        Ok(String::from_utf8(line).ok().filter(|line| line != "*"))
    }
}
