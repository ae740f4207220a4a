//! The relay, as the bridge meets it: its name, TLS, the log-in, the sender, the sizes. No mail is handed over: the one
//! that is begun ends before its data.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bridge_api::Secret;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Look, Outcome, failed, late, talk::Talk, tls, warning, within};
use crate::{
    address::Address,
    client::{Offers, Reply, Wire, bare, connector, server_name},
    settings::{RelaySettings, Security, is_loopback},
};

/// The detail of the sender that is tried: real ones have a token there.
const DETAIL: &str = "doctor";

/// A conversation that got so far.
struct Relay<'a> {
    look: &'a Look<'a>,
    settings: &'a RelaySettings,
    place: String,
    talk: Talk,
    offers: Offers,
}

/// The step failed, and its finding is written.
struct Told;

pub(super) async fn look(look: &Look<'_>) {
    let settings = &look.settings.relay;
    let place = format!("{}:{}", settings.host, settings.port());
    let Some(tcp) = reach(look, &place).await else { return };
    let talk = match settings.security {
        Security::Tls => {
            let Ok(wire) = secure(look, settings, &place, Box::new(tcp)).await else { return };
            Talk::new(wire, look.limits.relay)
        }
        Security::Starttls | Security::None => Talk::plain(tcp, look.limits.relay),
    };
    let relay = Relay { look, settings, place, talk, offers: Offers::default() };
    if let Ok(relay) = relay.greeted().await {
        relay.rest().await;
    }
}

async fn reach(look: &Look<'_>, place: &str) -> Option<TcpStream> {
    let settings = &look.settings.relay;
    let tried = format!("find the address of the relay {}", settings.host);
    let found = within(look.limits.connect, lookup_host((bare(&settings.host), settings.port()))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(addresses) => addresses.collect(),
        Err(why) => {
            look.tell(tried, failed(why, "correct `relay.host`, or this machine's DNS settings"));
            return None;
        }
    };
    let Some(first) = addresses.first() else {
        look.tell(tried, failed("the name has no address", "correct `relay.host`"));
        return None;
    };
    look.tell(tried, Outcome::Fine(first.ip().to_string()));
    let tried = format!("connect to the relay {place}");
    match within(look.limits.connect, TcpStream::connect(&addresses[..])).await {
        Ok(tcp) => Some(tcp),
        Err(why) => {
            let change = "correct `relay.host` and `relay.port`, or let the connection through the firewall: many \
                          providers close port 25";
            look.tell(tried, failed(why, change));
            None
        }
    }
}

async fn secure(
    look: &Look<'_>,
    settings: &RelaySettings,
    place: &str,
    wire: Box<dyn Wire>,
) -> Result<Box<dyn Wire>, Told> {
    let tried = format!("secure the connection to the relay {place} by TLS");
    let ready = connector(settings).and_then(|connector| Ok((connector, server_name(&settings.host)?)));
    let (connector, name) = match ready {
        Ok(ready) => ready,
        Err(fault) => {
            look.tell(tried, failed(fault.to_string(), "correct this setting"));
            return Err(Told);
        }
    };
    match timeout(look.limits.handshake, connector.connect(name, wire)).await {
        Ok(Ok(wire)) => {
            look.tell(tried, Outcome::Fine("its certificate is trusted".to_owned()));
            Ok(Box::new(wire))
        }
        Ok(Err(error)) => {
            let (found, change) = tls::what_failed(&error, &settings.host);
            look.tell(tried, failed(found, change));
            Err(Told)
        }
        Err(_) => {
            let change = "set `relay.security` to what this port speaks: `starttls` on 587, `tls` on 465";
            look.tell(tried, failed(late(look.limits.handshake), change));
            Err(Told)
        }
    }
}

impl Relay<'_> {
    /// As far as the answer to EHLO that counts.
    async fn greeted(mut self) -> Result<Self, Told> {
        let tried = format!("connect to the relay {}", self.place);
        let change = "ask whoever runs the relay; if it is no mail server, correct `relay.host` and `relay.port`";
        match self.talk.hear().await {
            Ok(reply) if reply.code == 220 => {}
            Ok(reply) => return self.told(&tried, failed(format!("it turns us away: {}", reply.words(&[])), change)),
            Err(why) => return self.told(&tried, failed(why, change)),
        }
        self.hello(&tried).await?;
        self.look.tell(tried, Outcome::Fine("it greets, and answers".to_owned()));
        if self.settings.security == Security::Starttls {
            return self.start_tls().await;
        }
        if self.settings.security == Security::None && !is_loopback(&self.settings.host) {
            let change = "set `relay.security` to `starttls` or `tls`, unless the relay is on a network of your own";
            let outcome =
                warning("`relay.security` is `none`: everybody on the way can read what agents write", change);
            self.look.tell(format!("keep secret what is said to the relay {}", self.place), outcome);
        }
        Ok(self)
    }

    async fn hello(&mut self, tried: &str) -> Result<(), Told> {
        let hostname = &self.look.settings.hostname;
        let change = "set `hostname` to a full name of this machine, or ask whoever runs the relay";
        let mut reply = self.talk.say(&format!("EHLO {hostname}")).await;
        if reply.as_ref().is_ok_and(|reply| reply.code / 100 == 5) {
            reply = self.talk.say(&format!("HELO {hostname}")).await;
        }
        match reply {
            Ok(reply) if reply.code / 100 == 2 => {
                self.offers = Offers::read(&reply.lines);
                Ok(())
            }
            Ok(reply) => {
                self.look.tell(tried, failed(format!("it refuses our name: {}", reply.words(&[])), change));
                Err(Told)
            }
            Err(why) => {
                self.look.tell(tried, failed(why, change));
                Err(Told)
            }
        }
    }

    async fn start_tls(mut self) -> Result<Self, Told> {
        let tried = format!("secure the connection to the relay {} by TLS", self.place);
        if !self.offers.starttls {
            let change = "set `relay.security = \"tls\"` with the relay's port for it (465), or `none` if the relay is \
                          on this machine";
            return self.told(&tried, failed("it does not offer STARTTLS, and nothing is sent in clear", change));
        }
        match self.talk.say("STARTTLS").await {
            Ok(reply) if reply.code == 220 => {}
            Ok(reply) => return self.told(&tried, failed(reply.words(&[]), "ask whoever runs the relay")),
            Err(why) => return self.told(&tried, failed(why, "ask whoever runs the relay")),
        }
        let Self { look, settings, place, talk, .. } = self;
        let Some(wire) = talk.into_wire() else {
            let found = "it said more in clear behind its answer to STARTTLS";
            look.tell(tried, failed(found, "ask whoever runs the relay: somebody may stand between"));
            return Err(Told);
        };
        let wire = secure(look, settings, &place, wire).await?;
        let mut relay =
            Self { look, settings, place, talk: Talk::new(wire, look.limits.relay), offers: Offers::default() };
        relay.hello(&tried).await?;
        Ok(relay)
    }

    async fn rest(mut self) {
        self.sizes();
        if let (Some(name), Some(password)) = (&self.settings.username, &self.settings.password)
            && !self.log_in(name, password).await
        {
            return;
        }
        self.sender().await;
        self.talk.leave(self.look.limits.goodbye).await;
    }

    fn sizes(&self) {
        let tried = "compare the largest mail that the relay takes with `relay.mail_mib_max`";
        let most = u64::from(self.settings.mail_mib_max);
        let outcome = match self.offers.size_max {
            Some(bytes) if bytes < most << 20 => {
                let change = format!("set `relay.mail_mib_max` to {}", (bytes >> 20).max(1));
                warning(format!("the relay takes {bytes} bytes, and mails of {most} MiB are made"), change)
            }
            Some(bytes) => Outcome::Fine(format!("it takes {bytes} bytes")),
            None => Outcome::Fine("it names no limit".to_owned()),
        };
        self.look.tell(tried, outcome);
    }

    async fn log_in(&mut self, name: &str, password: &Secret) -> bool {
        let tried = format!("log in to the relay as {}", super::quoted(name));
        let said = if self.offers.plain {
            let secret = Secret::new(STANDARD.encode(format!("\0{name}\0{}", password.expose())));
            self.talk.say(&format!("AUTH PLAIN {}", secret.expose())).await
        } else if self.offers.login {
            self.log_in_by_steps(name, password).await
        } else {
            let change = "remove `relay.username` if the relay knows this machine; else use its port for programs that \
                          log in (587)";
            self.look.tell(tried, failed("it offers neither AUTH PLAIN nor AUTH LOGIN", change));
            return false;
        };
        let outcome = match said {
            Ok(reply) if reply.code == 235 => Outcome::Fine("it takes the name and the password".to_owned()),
            Ok(reply) if matches!(reply.code, 530 | 534 | 535 | 538) => {
                let change = "correct `relay.username` and `relay.password`; some providers want a password made for \
                              programs";
                failed(format!("wrong name or password: {}", reply.words(&[name])), change)
            }
            Ok(reply) if reply.code / 100 == 4 => {
                failed(reply.words(&[name]), "try again later: it does not refuse for good")
            }
            Ok(reply) => failed(reply.words(&[name]), "ask whoever runs the relay"),
            Err(why) => failed(why, "ask whoever runs the relay"),
        };
        let fine = matches!(outcome, Outcome::Fine(_));
        self.look.tell(tried, outcome);
        fine
    }

    async fn log_in_by_steps(&mut self, name: &str, password: &Secret) -> Result<Reply, String> {
        for word in ["AUTH LOGIN".to_owned(), STANDARD.encode(name)] {
            let reply = self.talk.say(&word).await?;
            if reply.code != 334 {
                return Ok(reply);
            }
        }
        self.talk.say(&STANDARD.encode(password.expose())).await
    }

    /// To ourselves, since servers judge the sender only once they know a recipient.
    async fn sender(&mut self) {
        let ours = &self.look.identity.address;
        let sender = ours.with_detail(self.look.settings.separator, DETAIL).unwrap_or_else(|| ours.clone());
        let tried = format!("begin a mail from {}", sender.as_str());
        let outcome = match self.begin(&sender, ours).await {
            Ok(reply) => verdict(&reply, &[sender.as_str(), ours.as_str()]),
            Err(why) => failed(why, "ask whoever runs the relay"),
        };
        self.look.tell(tried, outcome);
    }

    /// The answer that decides.
    async fn begin(&mut self, sender: &Address, recipient: &Address) -> Result<Reply, String> {
        let written = crate::compose::written_address;
        let mut reply = self.talk.say(&format!("MAIL FROM:<{}>", written(sender))).await?;
        if reply.code / 100 == 2 {
            reply = self.talk.say(&format!("RCPT TO:<{}>", written(recipient))).await?;
        }
        self.talk.say("RSET").await?;
        Ok(reply)
    }

    fn told(&self, tried: &str, outcome: Outcome) -> Result<Self, Told> {
        self.look.tell(tried, outcome);
        Err(Told)
    }
}

fn verdict(reply: &Reply, known: &[&str]) -> Outcome {
    let words = reply.words(known);
    match reply.code {
        200..=299 => Outcome::Fine("the relay takes it".to_owned()),
        530 | 534 | 535 | 538 => {
            failed(format!("it wants a log-in first: {words}"), "set `relay.username` and `relay.password`")
        }
        500..=599 => {
            let change = "have the relay let this machine or log-in send as the addresses of `from`, with every detail \
                          behind the `separator`, or set `from` to what it allows";
            failed(format!("the relay refuses our sender address, or to carry mail for us: {words}"), change)
        }
        _ => warning(format!("the relay puts it off: {words}"), "try again later; if it stays so, ask who runs it"),
    }
}
