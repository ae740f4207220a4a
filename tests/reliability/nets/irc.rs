//! People on ngIRCd, with a wire between it and the gateway that can be cut.

use super::{Net, Trouble, called};
use crate::{
    gateway::NICK,
    irc::Person,
    oracle::{Ordered, Promise},
    peers::{
        ngircd::{Flood, Ngircd},
        proxy::Proxy,
    },
};

pub(crate) struct Irc {
    // People go before their server does.
    people: Vec<Person>,
    wire: Proxy,
    server: Ngircd,
    count: usize,
}

impl Irc {
    pub(crate) fn start(count: usize) -> Self {
        let server = Ngircd::start(Flood::Free);
        Self { people: Vec::new(), wire: Proxy::to(server.address()), server, count }
    }
}

impl Net for Irc {
    fn name(&self) -> &'static str {
        "irc"
    }

    fn title(&self) -> &'static str {
        "IRC (ngIRCd)"
    }

    fn promise(&self) -> Promise {
        Promise { keeps: false, askable: false, forgets: false, ordered: Ordered::BothWays }
    }

    fn table(&self) -> String {
        format!(
            "kind = \"irc\"\nserver = \"127.0.0.1\"\nnick = \"{NICK}\"\nport = {}\ntls = false\n\
             pace = {{ burst = 1000, per_second = 1000 }}\n",
            self.wire.port
        )
    }

    fn people(&self) -> usize {
        self.count
    }

    fn gather(&mut self) {
        let address = self.server.address();
        self.people = (0..self.count).map(|number| Person::join(address, &called("irc", number))).collect();
        for person in &mut self.people {
            person.say(NICK, "hello");
        }
    }

    fn say(&mut self, person: usize, text: &str) {
        self.people[person].say(NICK, text);
    }

    fn heard(&mut self, person: usize) -> Vec<String> {
        self.people[person].settle();
        self.people[person].texts_from(NICK)
    }

    fn suffer(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Away => self.wire.cut(),
            Trouble::Hanging => self.wire.wire().hold(),
        }
    }

    fn recover(&mut self) {
        let wire = self.wire.wire();
        wire.release();
        // What hung is broken in the end, as by whoever restarts it.
        self.wire.cut();
        self.wire.mend();
    }
}
