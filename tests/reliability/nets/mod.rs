//! The networks with people on them, each driven from outside in one way: somebody says a text, somebody is shown
//! texts.

mod irc;
mod mail;
mod matrix;

use crate::oracle::Promise;

pub(crate) use irc::Irc;
pub(crate) use mail::{Front, Mail};
pub(crate) use matrix::Matrix;

/// One network.
pub(crate) trait Net {
    /// The bridge's name in the settings, and the word in every message.
    fn name(&self) -> &'static str;
    /// What a reader of the report calls it.
    fn title(&self) -> &'static str;
    fn promise(&self) -> Promise;
    /// The lines of the bridge's table.
    fn table(&self) -> String;
    /// Where the gateway takes connections for it, where it does.
    fn listens(&self) -> Option<u16> {
        None
    }
    fn people(&self) -> usize;
    /// Makes everybody known, once the bridge is there. What they say first is `hello`.
    fn gather(&mut self);
    /// Somebody whose first answer came: from now on the network knows which conversation is meant.
    fn acquaint(&mut self, _person: usize) {}
    fn say(&mut self, person: usize, text: &str);
    /// Gives what the network still keeps another try. Says what that is, when there is some.
    fn pending(&mut self) -> Option<String> {
        None
    }
    /// Texts of agents that the person was shown, in the order in which the network took them.
    fn heard(&mut self, person: usize) -> Vec<String>;
    /// Makes the far side do this until it is told to be well again.
    fn suffer(&mut self, _trouble: Trouble) {}
    fn recover(&mut self) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Connections break, and new ones are refused.
    Away,
    /// Connections stay, and nobody answers.
    Hanging,
}

/// The name of somebody, on the network and at the inbox.
pub(crate) fn called(net: &str, person: usize) -> String {
    format!("{net}{person}")
}

/// Which networks a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Irc,
    /// The stand-in homeserver, by websocket.
    MatrixStandIn,
    /// Synapse, by push.
    Synapse,
    /// Postfix on both sides.
    Postfix,
    /// A mail client that keeps its connection and what was not taken, and a relay that keeps all.
    MailDirect,
}

impl Kind {
    /// Whether the programs are there that it needs.
    pub(crate) fn is_present(self) -> bool {
        match self {
            Self::Irc => crate::peers::ngircd::Ngircd::present(),
            Self::Synapse => crate::peers::synapse::Synapse::present(),
            Self::Postfix => crate::peers::postfix::Postfix::present(),
            Self::MatrixStandIn | Self::MailDirect => true,
        }
    }

    /// Everything of it runs when this returns. `before_homeserver` says where calls to the stand-in at this address go.
    pub(crate) fn start(self, people: usize, before_homeserver: Option<Between<'_>>) -> Box<dyn Net> {
        match self {
            Self::Irc => Box::new(Irc::start(people)),
            Self::MatrixStandIn => Box::new(Matrix::stand_in(people, before_homeserver)),
            Self::Synapse => Box::new(Matrix::synapse(people)),
            Self::Postfix => Box::new(Mail::start(people, Front::Postfix)),
            Self::MailDirect => Box::new(Mail::start(people, Front::Direct)),
        }
    }
}

/// Puts something before a server, given the server's address; returns its own.
pub(crate) type Between<'a> = &'a dyn Fn(&str) -> String;
