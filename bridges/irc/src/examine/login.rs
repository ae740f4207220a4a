//! The log-in to services by SASL, as one finding. Ends the capability talk in every case, so that the rest can be looked at.

use super::{
    Look, said,
    talk::{Lost, Talk},
};
use crate::{
    driver::nonce,
    machine::{choose, credentials},
    message::{Command, Line},
    sasl::{Exchange, Mechanism},
    settings::{SaslMechanism, SaslSettings},
};

pub(super) struct Login<'a> {
    look: &'a Look<'a>,
    mechanism: Option<Mechanism>,
    exchange: Option<Exchange>,
    /// As the server names it.
    account: Option<String>,
    succeeded: bool,
    /// The finding is written, or none is due.
    told: bool,
    ended: bool,
}

impl<'a> Login<'a> {
    pub(super) fn new(look: &'a Look<'a>) -> Self {
        let told = look.settings.sasl.is_none();
        Self { look, mechanism: None, exchange: None, account: None, succeeded: false, told, ended: false }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.succeeded
    }

    /// `offered`: the value of the capability, when it is there.
    pub(super) async fn begin(&mut self, talk: &mut Talk, offered: Option<&str>) -> Result<(), Lost> {
        let Some(sasl) = &self.look.settings.sasl else { return self.end(talk).await };
        let Some(offered) = offered else {
            self.services_away("the server offers no SASL now");
            return self.end(talk).await;
        };
        let Some(mechanism) = choose(sasl, offered) else {
            let found = format!("the server offers {}, not the configured mechanism", said(offered));
            self.failed(&found, "set `sasl.mechanism` to one that it offers");
            return self.end(talk).await;
        };
        self.mechanism = Some(mechanism);
        talk.say(&Command::new("CAP").param("REQ").last("sasl")).await
    }

    pub(super) async fn granted(&mut self, talk: &mut Talk, list: &str) -> Result<(), Lost> {
        let (Some(mechanism), Some(sasl)) = (self.mechanism, &self.look.settings.sasl) else { return Ok(()) };
        if self.exchange.is_some() || self.told || !list.split_ascii_whitespace().any(|name| name == "sasl") {
            return Ok(());
        }
        match Exchange::start(mechanism, &credentials(sasl), &nonce()) {
            Ok(exchange) => {
                self.exchange = Some(exchange);
                talk.say(&Command::new("AUTHENTICATE").param(mechanism.name())).await
            }
            Err(error) => {
                self.failed(&error.to_string(), "correct `sasl.account` and `sasl.password`");
                self.end(talk).await
            }
        }
    }

    pub(super) async fn denied(&mut self, talk: &mut Talk, list: &str) -> Result<(), Lost> {
        if self.told || !list.split_ascii_whitespace().any(|name| name == "sasl") {
            return Ok(());
        }
        self.services_away("the server names SASL and refuses it");
        self.end(talk).await
    }

    pub(super) async fn challenge(&mut self, talk: &mut Talk, chunk: &str) -> Result<(), Lost> {
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        match exchange.feed(chunk) {
            Ok(answers) => {
                for answer in answers {
                    talk.say(&Command::new("AUTHENTICATE").param(answer.expose())).await?;
                }
                Ok(())
            }
            Err(error) => {
                self.failed(&error.to_string(), &refusal_change(self.look.settings.sasl.as_ref()));
                talk.say(&Command::new("AUTHENTICATE").param("*")).await?;
                self.end(talk).await
            }
        }
    }

    /// 900 to 908.
    pub(super) async fn number(&mut self, talk: &mut Talk, number: u16, line: &Line<'_>) -> Result<(), Lost> {
        match number {
            900 => self.account = line.param(2).map(str::to_owned),
            903 => return self.done(talk).await,
            902 | 904..=906 if !self.told => {
                let found = format!("the server refused it: {number} {}", said(line.last()));
                self.failed(&found, &refusal_change(self.look.settings.sasl.as_ref()));
                return self.end(talk).await;
            }
            _ => {}
        }
        Ok(())
    }

    async fn done(&mut self, talk: &mut Talk) -> Result<(), Lost> {
        let proved = self.exchange.as_ref().is_some_and(Exchange::accepts_success);
        if self.told {
            return Ok(());
        }
        if !proved {
            let change = "ask the network: whoever answers does not prove that it knows the password";
            self.failed("the server said that it succeeded without proving itself", change);
            return self.end(talk).await;
        }
        self.succeeded = true;
        self.told = true;
        let account = self.account.as_deref().map(|name| format!(", the account is {}", said(name)));
        self.look.findings.fine(self.tried(), format!("logged in{}", account.unwrap_or_default()));
        self.end(talk).await
    }

    /// On the network, and the server never spoke of capabilities.
    pub(super) fn never_offered(&mut self) {
        if !self.told {
            self.told = true;
            let change = "remove `sasl`, or use a server of the network that can log in before the welcome";
            self.tell("the server knows no capabilities, so no SASL", change);
        }
    }

    fn services_away(&mut self, found: &str) {
        let change = "try again later, since it goes when the network's services are away; if it never comes, \
                      remove `sasl`";
        self.failed(found, change);
    }

    fn failed(&mut self, found: &str, change: &str) {
        self.exchange = None;
        self.told = true;
        self.tell(found, change);
    }

    fn tell(&self, found: &str, change: &str) {
        let required = self.look.settings.sasl.as_ref().is_some_and(|sasl| sasl.required);
        if required {
            self.look.findings.failed(self.tried(), found, change);
        } else {
            let found = format!("{found}; the bridge goes on without the account (`sasl.required` is off)");
            self.look.findings.warning(self.tried(), found, change);
        }
    }

    fn tried(&self) -> String {
        let by = self.mechanism.map(|mechanism| format!(" by SASL {}", mechanism.name()));
        let by = by.unwrap_or_else(|| " by SASL".to_owned());
        match self.look.settings.sasl.as_ref().and_then(|sasl| sasl.account.as_ref()) {
            Some(account) => format!("log in to the account {}{by}", said(account)),
            None => format!("log in{by}"),
        }
    }

    async fn end(&mut self, talk: &mut Talk) -> Result<(), Lost> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        talk.say(&Command::new("CAP").param("END")).await
    }
}

/// No server says whether it was the name or the password.
fn refusal_change(sasl: Option<&SaslSettings>) -> String {
    let Some(sasl) = sasl else { return String::new() };
    if sasl.mechanism == SaslMechanism::External {
        return "add the fingerprint of `tls.client_cert_file` to the account (NickServ CERT ADD)".to_owned();
    }
    let account = sasl.account.as_deref().unwrap_or_default();
    format!(
        "correct `sasl.password`; if there is no account {} on this network, register it with NickServ or correct \
         `sasl.account`",
        said(account)
    )
}
