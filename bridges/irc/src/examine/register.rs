//! Registration as the bridge does it, told step by step. A log-in or a nick that is refused is a finding, not an end.

use bridge_api::Findings;
use tokio::time::timeout;

use super::{
    Look,
    login::Login,
    place, said,
    talk::{Lost, Talk},
};
use crate::{
    isupport::Isupport,
    machine::{Caps, Endpoint, upgrade_port},
    message::{Command, Line, Source, Verb},
    settings::is_loopback,
};

/// Other nicks that are tried when one is refused.
const NICK_TRIES_MAX: u32 = 3;

pub(super) enum Ended {
    Registered(Box<Welcome>),
    /// The server asks for TLS on this port.
    Upgrade(u16),
    Out,
}

/// What is known once we are on the network.
#[derive(Default)]
pub(super) struct Welcome {
    /// By capability; `None` for a server that knows none.
    pub(super) offered: Option<Caps>,
    pub(super) isupport: Isupport,
    /// As the server calls us.
    pub(super) nick: String,
    /// Our `user@host` as others see it, where the server says.
    pub(super) address: Option<(String, String)>,
    /// The server would not give us the wanted nick: its number and words.
    pub(super) refused: Option<(u16, String)>,
    pub(super) logged_in: bool,
}

/// How far we are. Later ones are further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Only what the server can do was asked.
    Asking,
    Introduced,
    Welcomed,
}

pub(super) struct Registration<'a> {
    look: &'a Look<'a>,
    place: String,
    secure: bool,
    stage: Stage,
    offer: Caps,
    /// The whole offer is here.
    offer_complete: bool,
    tries: u32,
    login: Login<'a>,
    welcome: Welcome,
}

impl<'a> Registration<'a> {
    pub(super) fn new(look: &'a Look<'a>, endpoint: &Endpoint) -> Self {
        Self {
            look,
            place: place(endpoint),
            secure: endpoint.tls.is_some(),
            stage: Stage::Asking,
            offer: Caps::default(),
            offer_complete: false,
            tries: 0,
            login: Login::new(look),
            welcome: Welcome::default(),
        }
    }

    pub(super) async fn run(mut self, talk: &mut Talk) -> Ended {
        match self.converse(talk).await {
            Ok(Some(ended)) => ended,
            Ok(None) => self.registered(),
            Err(lost) => {
                let change = match lost {
                    Lost::Late(_) if !self.offer_complete => {
                        "see whether an IRC server is what answers at `server` and `port`"
                    }
                    Lost::Late(_) | Lost::Closed | Lost::Broke(_) => {
                        "ask the network: it may not want this machine, or be at its limits"
                    }
                };
                self.failed(lost.to_string(), change);
                Ended::Out
            }
        }
    }

    /// `None` at the end of the welcome.
    async fn converse(&mut self, talk: &mut Talk) -> Result<Option<Ended>, Lost> {
        talk.say(&Command::new("CAP").param("LS").param("302")).await?;
        let settings = self.look.settings;
        let waits = settings.password.is_some() && !self.secure && !is_loopback(&settings.server);
        if !waits {
            self.introduce(talk).await?;
        }
        loop {
            let text = if self.stage > Stage::Asking {
                talk.next().await?
            } else if let Ok(text) = timeout(self.look.limits.sts, talk.next()).await {
                text?
            } else {
                self.introduce(talk).await?;
                continue;
            };
            let Some(line) = Line::parse(&text) else { continue };
            if let Some(ended) = self.hear(talk, &line).await? {
                return Ok(Some(ended));
            }
            if self.stage == Stage::Welcomed && matches!(line.verb, Verb::Numeric(376 | 422)) {
                return Ok(None);
            }
        }
    }

    async fn introduce(&mut self, talk: &mut Talk) -> Result<(), Lost> {
        let settings = self.look.settings;
        if self.stage > Stage::Asking {
            return Ok(());
        }
        self.stage = Stage::Introduced;
        if let Some(password) = &settings.password {
            talk.say(&Command::new("PASS").last(password.expose())).await?;
        }
        let nick = if self.look.how.at_work { throw_away(&settings.nick) } else { settings.nick.clone() };
        talk.say(&Command::new("NICK").param(nick)).await?;
        let introduction = Command::new("USER").param(settings.username()).param("0").param("*");
        talk.say(&introduction.last(settings.realname.clone())).await
    }

    async fn hear(&mut self, talk: &mut Talk, line: &Line<'_>) -> Result<Option<Ended>, Lost> {
        match &line.verb {
            Verb::Word(word) => match word.as_ref() {
                "CAP" => return self.on_cap(talk, line).await,
                "AUTHENTICATE" => self.login.challenge(talk, line.param_or_empty(0)).await?,
                "ERROR" => {
                    let change = "ask the network what it has against this machine";
                    self.failed(format!("the server ended the connection: {}", said(line.last())), change);
                    return Ok(Some(Ended::Out));
                }
                _ => {}
            },
            Verb::Numeric(number) => return self.on_number(talk, *number, line).await,
        }
        Ok(None)
    }

    async fn on_number(&mut self, talk: &mut Talk, number: u16, line: &Line<'_>) -> Result<Option<Ended>, Lost> {
        let words = || format!("{number} {}", said(line.last()));
        match number {
            1 => self.on_welcome(line),
            5 => {
                self.welcome.isupport.apply(line.params());
            }
            432 | 433 | 436 | 437 if self.stage < Stage::Welcomed => {
                self.tries += 1;
                if self.tries > NICK_TRIES_MAX {
                    self.failed(format!("no nick is taken: {}", words()), "choose another `nick`");
                    return Ok(Some(Ended::Out));
                }
                if !self.look.how.at_work {
                    self.welcome.refused.get_or_insert_with(|| (number, line.last().to_owned()));
                }
                talk.say(&Command::new("NICK").param(throw_away(&self.look.settings.nick))).await?;
            }
            464 => {
                let change = if self.look.settings.password.is_some() {
                    "correct `password`"
                } else {
                    "the server wants a password: set `password`"
                };
                self.failed(words(), change);
                return Ok(Some(Ended::Out));
            }
            463 | 465 | 466 => {
                self.failed(words(), "ask the network to let this machine in: it is banned, or not on its list");
                return Ok(Some(Ended::Out));
            }
            900..=908 => self.login.number(talk, number, line).await?,
            _ => {}
        }
        Ok(None)
    }

    async fn on_cap(&mut self, talk: &mut Talk, line: &Line<'_>) -> Result<Option<Ended>, Lost> {
        let list = line.last();
        match line.param_or_empty(1).to_ascii_uppercase().as_str() {
            "LS" if !self.offer_complete => {
                self.offer.offer(list);
                if line.param(2) == Some("*") && line.params().len() >= 4 {
                    return Ok(None);
                }
                self.offer_complete = true;
                if let Some(port) = self.upgrade() {
                    return Ok(Some(Ended::Upgrade(port)));
                }
                self.introduce(talk).await?;
                self.login.begin(talk, self.offer.offered.get("sasl").map(String::as_str)).await?;
            }
            "ACK" => self.login.granted(talk, list).await?,
            "NAK" => self.login.denied(talk, list).await?,
            _ => {}
        }
        Ok(None)
    }

    fn upgrade(&self) -> Option<u16> {
        let port = upgrade_port(self.offer.offered.get("sts")?).filter(|_| !self.secure)?;
        let found = format!("the server accepts no connection without TLS and asks for port {port}");
        let change = format!("set `tls = true` and `port = {port}`");
        self.look.findings.warning(format!("register at {} without TLS", self.place), found, change);
        Some(port)
    }

    /// 001: its first parameter is our nick, its last word often our mask.
    fn on_welcome(&mut self, line: &Line<'_>) {
        self.stage = Stage::Welcomed;
        line.param_or_empty(0).clone_into(&mut self.welcome.nick);
        if let Some(Source::Peer { user, host, .. }) = line.last().rsplit(' ').next().and_then(Source::parse)
            && !user.is_empty()
            && !host.is_empty()
        {
            self.welcome.address = Some((user.to_owned(), host.to_owned()));
        }
    }

    fn registered(mut self) -> Ended {
        if self.offer_complete {
            self.welcome.offered = Some(self.offer);
        } else {
            self.login.never_offered();
        }
        self.welcome.logged_in = self.login.succeeded();
        let network = self.welcome.isupport.token("NETWORK").map(|name| format!(" of {}", said(name)));
        let found = format!("on the network{}", network.unwrap_or_default());
        self.look.findings.fine(format!("register at {}", self.place), found);
        Ended::Registered(Box::new(self.welcome))
    }

    fn failed(&self, found: String, change: &str) {
        let findings: &Findings = self.look.findings;
        findings.failed(format!("register at {}", self.place), found, change);
    }
}

/// A nick that nobody waits for, near to ours, and short enough for every server.
fn throw_away(nick: &str) -> String {
    format!("{}_{}", &nick[..nick.floor_char_boundary(5)], fastrand::u16(100..1000))
}
