//! Two gateways on one PostgreSQL, and networks that come to them: what mail servers and a homeserver bring is taken by
//! whichever is asked, also by the one that does not run the bridge, and while nobody runs it.

use std::{fs, net::TcpStream, time::Duration};

use tempfile::TempDir;

use crate::{
    gateway::Gateway,
    http,
    mail::world::{ADA, HELP, lines},
    matrix::world::{ours, without_name},
    peers::{
        self,
        customer::Customer,
        door::{Door, Out},
        postgres::Postgres,
        relay::Relay,
        swaks::{Mail, Swaks},
        synapse::{SERVER_NAME, Synapse},
    },
    process::free_port,
    sandbox::Sandbox,
    wait::{PATIENCE, until_within},
    world::heavy,
};

const BRIDGES: [&str; 2] = ["mail", "matrix"];
/// Longer than a lease that nobody renews.
const TAKEOVER: Duration = Duration::from_secs(90);

struct Site {
    // Dropped in this order: the gateways' logs should end before their peers do.
    gateways: [Gateway; 2],
    doors: [Door; 2],
    out: Out,
    mail_port: u16,
    /// Of each gateway.
    own_mail_ports: [u16; 2],
    sandbox: Sandbox,
    relay: Relay,
    customer: Customer,
    room: String,
    conversation: u64,
    _database: Postgres,
    _folder: TempDir,
}

impl Site {
    /// Both work, and a customer is in a conversation on Matrix.
    fn open(server: &Synapse, database: Postgres) -> Self {
        let (folder, relay) = (peers::folder(), Relay::start(&[]));
        let sandbox = Sandbox::start(folder.path());
        let (service, mail_port, out) = (server.appservice(), free_port(), Out::default());
        let mut ports = [Vec::new(), Vec::new()];
        let mut gateways = ["one", "two"].map(|name| {
            let (folder, [mail, push]) = (folder.path().join(name), [free_port(), free_port()]);
            fs::create_dir(&folder).expect("a folder is made");
            ports[0].push(mail);
            ports[1].push(push);
            let head = |name: &str| format!("[bridges.{name}]\ninbox = \"desk\"\npeer_pause_millis = 0\n");
            let relay = format!("port = {}, security = \"none\"", relay.port);
            let homeserver = format!(
                "kind = \"matrix\"\nserver_name = \"{SERVER_NAME}\"\nhomeserver_url = \"{}\"\n\
                 mode = \"appservice\"\nlisten = \"127.0.0.1:{push}\"\n{}",
                server.url(),
                ours(&service)
            );
            let bridges = [head("mail"), lines("listen", mail, &relay), head("matrix"), homeserver].concat();
            let inbox = format!("{}settle_seconds = 1\n", sandbox.settings());
            let store = format!("\n[store]\nurl = \"{}\"\n", database.url());
            Gateway::with_bridges(&folder, &inbox, &bridges).with(&store)
        });
        let [mails, pushes] = ports;
        let own_mail_ports = [mails[0], mails[1]];
        let doors = [Door::on(mail_port, mails, out.clone()), Door::on(service.port, pushes, out.clone())];
        sandbox.call_back(&gateways[0].callback_url());
        gateways.iter_mut().for_each(Gateway::start);
        settle(&gateways);
        let mut customer = Customer::of(server, "everywhere");
        customer.set_name("everywhere");
        let support = service.user("support");
        let room = customer.dm(&support);
        customer.until_joined(&room, &support);
        customer.say(&room, "hello");
        let conversation = sandbox.conversation("everywhere", "hello").id;
        Self {
            gateways,
            doors,
            out,
            mail_port,
            own_mail_ports,
            sandbox,
            relay,
            customer,
            room,
            conversation,
            _database: database,
            _folder: folder,
        }
    }

    /// Whatever is brought from now on gets to this one.
    fn lead_to(&self, who: usize) {
        for one in 0..2 {
            self.out.set(one, one != who);
            if one != who {
                self.doors.iter().for_each(|door| door.cut(one));
            }
        }
    }

    fn runner_of(&self, bridge: &str) -> usize {
        let runs = |gateway: &Gateway| gateway.state_of(bridge) == "up";
        self.gateways.iter().position(runs).expect("one of them runs it")
    }

    /// Whoever pauses a bridge takes its mail in no more, and does again once the bridge is another's.
    fn pause_ends_with_the_right_to_run(&mut self) {
        let who = self.runner_of("mail");
        let is_open = |site: &Self| TcpStream::connect(("127.0.0.1", site.own_mail_ports[who])).is_ok();
        let url = self.gateways[who].url("/admin/bridges/mail/pause");
        let bearer = [("authorization", "Bearer operator")];
        let answer = http::request(reqwest::Method::POST, &url, &bearer, None).expect("it answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!is_open(self));
        self.gateways[who].signal("STOP");
        until_within(TAKEOVER, "the other to run the bridge", || match self.gateways[1 - who].state_of("mail") {
            state if state == "up" => Ok(()),
            state => Err(state),
        });
        self.gateways[who].signal("CONT");
        until_within(PATIENCE, "the first to take mail again", || {
            if is_open(self) { Ok(()) } else { Err("closed".to_owned()) }
        });
        settle(&self.gateways);
    }

    fn mail(&self, text: &str) {
        Swaks::to(self.mail_port).send(&Mail::new(ADA, HELP).subject(text).text(text));
    }

    /// Returns the conversation by mail that holds this text, once both networks have brought it.
    fn until_both_came(&self, text: &str) -> u64 {
        let mut found = None;
        until_within(TAKEOVER, &format!("`{text}` by both"), || {
            let desk = self.sandbox.desk();
            let holds = |conversation: &&crate::sandbox::Conversation| {
                conversation.incoming().iter().any(|line| line.contains(text))
            };
            let (chats, mails): (Vec<_>, Vec<_>) =
                desk.conversations.iter().filter(holds).partition(|one| one.id == self.conversation);
            found = mails.first().map(|mail| mail.id);
            if chats.len() == 1 && mails.len() == 1 { Ok(()) } else { Err(format!("{desk:?}")) }
        });
        found.expect("it was waited for")
    }
}

/// Each bridge runs in one of them, and the other says so.
fn settle(gateways: &[Gateway; 2]) {
    until_within(PATIENCE * 2, "each bridge to run in one of two", || {
        for bridge in BRIDGES {
            let states = gateways.each_ref().map(|gateway| gateway.state_of(bridge));
            if !matches!(states.each_ref().map(String::as_str), ["up", "elsewhere"] | ["elsewhere", "up"]) {
                return Err(format!("{bridge}: {states:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn whoever_is_asked_takes_in_mails_and_pushes_also_while_nobody_runs_the_bridge() {
    let _alone = heavy();
    if !Synapse::present() {
        return;
    }
    let Some(database) = Postgres::start() else { return };
    let mut site = Site::open(Synapse::shared(), database);
    let mut said = vec!["hello".to_owned()];
    for (round, who) in [0, 1, 0, 1].into_iter().enumerate() {
        site.lead_to(who);
        let text = format!("question {round}");
        let room = site.room.clone();
        site.customer.say(&room, &text);
        site.mail(&text);
        let by_mail = site.until_both_came(&text);
        let answer = format!("answer {round}");
        for conversation in [by_mail, site.conversation] {
            let reply = site.sandbox.reply(conversation, &answer);
            site.sandbox.until_status(reply, "delivered");
        }
        site.customer.wait_for(&answer, |seen| without_name(seen.body()) == answer);
        assert_eq!(site.relay.until(round + 1).len(), round + 1);
        said.push(text);
    }

    site.pause_ends_with_the_right_to_run();

    // One that runs a bridge dies. The other takes what comes at once, though it is nobody's to work on yet.
    let who = site.runner_of("mail");
    site.lead_to(1 - who);
    site.gateways[who].kill();
    for text in ["is anybody there", "it is me again"] {
        let room = site.room.clone();
        site.customer.say(&room, text);
        site.mail(text);
        said.push(text.to_owned());
    }
    for text in ["is anybody there", "it is me again"] {
        site.until_both_came(text);
    }
    let desk = site.sandbox.desk();
    let chat = desk.conversations.iter().find(|one| one.id == site.conversation).expect("it was there");
    assert_eq!(chat.incoming(), said, "each once and in order");
    let mut by_mail: Vec<_> =
        desk.conversations.iter().filter(|one| one.id != chat.id).flat_map(|one| one.incoming()).collect();
    by_mail.sort_unstable();
    assert_eq!(by_mail.len(), said.len() - 1, "each once: {by_mail:?}");
}
