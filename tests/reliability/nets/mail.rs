//! People with mail programs: through Postfix both ways, or straight to the gateway by a client that keeps what was
//! not taken, and from the gateway to a relay that keeps all.

use super::{Net, Trouble, called};
use crate::{
    mail_world::{HELP, lines},
    oracle::{Ordered, Promise},
    peers::{
        postfix::{HandIn, Letter, Postfix, THEIRS},
        proxy::Proxy,
        relay::Relay,
    },
    process::free_port,
    sender::{Outgoing, Sender},
    wait::until,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Postfix,
    Direct,
}

pub(crate) struct Mail {
    behind: Behind,
    sender: Sender,
    /// Where the gateway takes mail.
    port: u16,
    /// Where each person's answers go: the desk's address at first, then the signed one.
    desks: Vec<String>,
}

enum Behind {
    Postfix(Box<Postfix>),
    Relay { relay: Relay, wire: Proxy },
}

impl Mail {
    pub(crate) fn start(count: usize, front: Front) -> Self {
        let port = free_port();
        let (behind, to) = match front {
            Front::Postfix => {
                let postfix = Postfix::start(HandIn::Smtp, port);
                let front = postfix.front;
                (Behind::Postfix(Box::new(postfix)), front)
            }
            Front::Direct => {
                let relay = Relay::start(&[]);
                let wire = Proxy::to(([127, 0, 0, 1], relay.port).into());
                (Behind::Relay { relay, wire }, port)
            }
        };
        Self { behind, sender: Sender::to(to), port, desks: vec![HELP.to_owned(); count] }
    }

    fn address(person: usize) -> String {
        format!("p{person}@{THEIRS}")
    }

    /// Raw mails of this person.
    fn letters(&self, person: usize) -> Vec<String> {
        match &self.behind {
            Behind::Postfix(postfix) => {
                postfix.mailbox(&format!("p{person}")).letters().iter().map(Letter::raw).collect()
            }
            Behind::Relay { relay, .. } => {
                let address = Self::address(person);
                let kept = relay.kept().into_iter().filter(|mail| mail.recipients.contains(&address));
                kept.map(|mail| mail.letter.raw()).collect()
            }
        }
    }
}

impl Net for Mail {
    fn name(&self) -> &'static str {
        match self.behind {
            Behind::Postfix(_) => "postfix",
            Behind::Relay { .. } => "mail",
        }
    }

    fn title(&self) -> &'static str {
        match self.behind {
            Behind::Postfix(_) => "mail (Postfix)",
            Behind::Relay { .. } => "mail (a client and a relay of the tests' own)",
        }
    }

    fn promise(&self) -> Promise {
        let ordered = match self.behind {
            Behind::Postfix(_) => Ordered::No,
            Behind::Relay { .. } => Ordered::BothWays,
        };
        Promise { keeps: true, askable: false, forgets: false, ordered }
    }

    fn table(&self) -> String {
        let port = match &self.behind {
            Behind::Postfix(postfix) => postfix.smarthost,
            Behind::Relay { wire, .. } => wire.port,
        };
        lines("listen", self.port, &format!("port = {port}, security = \"none\""))
    }

    fn listens(&self) -> Option<u16> {
        Some(self.port)
    }

    fn people(&self) -> usize {
        self.desks.len()
    }

    fn gather(&mut self) {
        for person in 0..self.people() {
            self.say(person, "hello");
        }
    }

    fn acquaint(&mut self, person: usize) {
        self.desks[person] = until("an answer by mail", || {
            let letters = match &self.behind {
                Behind::Postfix(postfix) => postfix.mailbox(&format!("p{person}")).letters(),
                Behind::Relay { relay, .. } => {
                    let address = Self::address(person);
                    let kept = relay.kept().into_iter().filter(|mail| mail.recipients.contains(&address));
                    kept.map(|mail| mail.letter).collect()
                }
            };
            letters.first().map(Letter::answer_to).ok_or_else(|| "none".to_owned())
        });
    }

    fn say(&mut self, person: usize, text: &str) {
        self.sender.post(Outgoing {
            name: called(self.name(), person),
            from: Self::address(person),
            to: self.desks[person].clone(),
            text: text.to_owned(),
        });
    }

    fn pending(&mut self) -> Option<String> {
        let kept = self.sender.try_again();
        if kept > 0 {
            return Some(format!("{kept} mails at the client"));
        }
        let Behind::Postfix(postfix) = &self.behind else { return None };
        let queued = postfix.queued();
        (!queued.is_empty()).then(|| format!("{} mails in the queue of Postfix", queued.len()))
    }

    fn heard(&mut self, person: usize) -> Vec<String> {
        self.letters(person)
    }

    fn suffer(&mut self, trouble: Trouble) {
        match (&mut self.behind, trouble) {
            // Its processes are many, and none of them can be made to hang for all.
            (Behind::Postfix(postfix), Trouble::Away | Trouble::Hanging) => postfix.go_down(),
            (Behind::Relay { wire, .. }, Trouble::Away) => wire.cut(),
            (Behind::Relay { wire, .. }, Trouble::Hanging) => wire.wire().hold(),
        }
    }

    fn recover(&mut self) {
        match &mut self.behind {
            Behind::Postfix(postfix) => postfix.come_up(),
            Behind::Relay { wire, .. } => {
                wire.wire().release();
                // What hung is broken in the end, as by whoever restarts it.
                wire.cut();
                wire.mend();
            }
        }
    }
}
