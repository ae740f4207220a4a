//! Networks with people, an inbox with agents, and the gateway between them, with everything written down that anybody
//! said: the ground on which every row of the report takes place.

use std::{
    collections::{BTreeSet, VecDeque},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tempfile::TempDir;

use crate::{
    callbacks::Callbacks,
    gateway::Gateway,
    layout::{Layout, furnish},
    nets::{Net, called},
    oracle::{Fate, Promise, Talk, Tally, Token, Way},
    peers::{
        self,
        door::{Door, Out},
    },
    sandbox::{Desk, Message, Sandbox},
    store::{self, Kept, Log},
    wait::{PATIENCE, until_within},
};

/// Between two bursts of what everybody says and writes.
const PAUSE: Duration = Duration::from_millis(10);
/// What is said and written between two pauses.
const BURST: usize = 3;
/// Messages of one conversation in a minute, below the 200 that the help desk takes.
const PER_MINUTE_MAX: usize = 170;
/// Between two looks at everything, which cost something.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long everything may take to arrive once nothing goes wrong any more. Only a failure ever waits so long.
const DRAIN: Duration = PATIENCE.saturating_mul(6);

pub(crate) struct Field {
    // Dropped in this order: the gateway's log should end before its peers do.
    pub(crate) gateway: Gateway,
    /// Others on the same store.
    pub(crate) beside: Vec<Gateway>,
    pub(crate) doors: Vec<Door>,
    pub(crate) out: Out,
    pub(crate) nets: Vec<Box<dyn Net>>,
    pub(crate) sandbox: Sandbox,
    pub(crate) callbacks: Callbacks,
    pub(crate) rng: Rng,
    people: Vec<Person>,
    /// Lines of people that the store held when its process died.
    kept: BTreeSet<Token>,
    /// The gateway is gone because it had to go.
    is_dead: bool,
    complaints: Vec<String>,
    pub(crate) folder: TempDir,
}

/// Somebody in a conversation.
struct Person {
    net: usize,
    talk: Talk,
    conversation: u64,
    /// When this conversation's latest messages were sent, the oldest first.
    sent: VecDeque<Instant>,
}

impl Person {
    /// Whether the help desk would refuse one more.
    fn is_hasty(&mut self) -> bool {
        while self.sent.pop_front_if(|sent| sent.elapsed() > Duration::from_mins(1)).is_some() {}
        self.sent.len() >= PER_MINUTE_MAX
    }
}

impl Field {
    /// Everybody is there, and nobody was started: [`Field::open`] does.
    pub(crate) fn lay_out(layout: &Layout<'_>) -> Self {
        let folder = peers::folder();
        let sandbox = Sandbox::start(folder.path());
        let kinds = layout.kinds.iter();
        let nets: Vec<_> = kinds.map(|(kind, people)| kind.start(*people, layout.before_homeserver)).collect();
        let mut gateways: Vec<_> =
            (0..layout.gateways).map(|number| furnish((folder.path(), number), layout, &sandbox, &nets)).collect();
        let out = Out::default();
        let callbacks = Callbacks::to(gateways.iter().map(|(gateway, _)| gateway.url("")).collect(), out.clone());
        let ports = |net: usize| gateways.iter().filter_map(|(_, ports)| ports[net]).collect::<Vec<_>>();
        let listening = nets.iter().enumerate().filter_map(|(number, net)| Some((net.listens()?, ports(number))));
        let shared = listening.filter(|_| layout.gateways > 1);
        let doors = shared.map(|(port, ports)| Door::on(port, ports, out.clone())).collect();
        let gateway = gateways.remove(0).0;
        let beside = gateways.into_iter().map(|(gateway, _)| gateway).collect();
        sandbox.call_back(&callbacks.url("/callbacks/desk"));
        Self {
            gateway,
            beside,
            doors,
            out,
            nets,
            sandbox,
            callbacks,
            rng: Rng::with_seed(layout.seed),
            people: Vec::new(),
            kept: BTreeSet::new(),
            is_dead: false,
            complaints: Vec::new(),
            folder,
        }
    }

    /// Starts, and has everybody and their agent say hello.
    pub(crate) fn open(&mut self) {
        self.gateways().for_each(Gateway::start);
        self.until_up();
        for net in &mut self.nets {
            net.gather();
        }
        let everybody: Vec<_> =
            self.nets.iter().enumerate().flat_map(|(net, it)| (0..it.people()).map(move |one| (net, one))).collect();
        let desk = until_within(PATIENCE * 2, "everybody at the inbox", || {
            let desk = self.sandbox.desk();
            let here = |(net, one): &(usize, usize)| desk.of(&called(self.nets[*net].name(), *one)).len() == 1;
            if everybody.iter().all(here) { Ok(desk) } else { Err(format!("{:?}", desk.contacts)) }
        });
        let hello = |(net, person): &(usize, usize)| {
            let name = self.nets[*net].name();
            let conversation = desk.of(&called(name, *person))[0].id;
            let first = self.sandbox.reply(conversation, "hello to you");
            let talk = Talk {
                net: name.to_owned(),
                person: *person,
                said: 0,
                replies: Vec::new(),
                breaks: Vec::new(),
                open: 0,
            };
            (first, Person { net: *net, talk, conversation, sent: VecDeque::new() })
        };
        let (firsts, people): (Vec<_>, Vec<_>) = everybody.iter().map(hello).unzip();
        until_within(PATIENCE * 2, "everybody to be greeted", || {
            let desk = self.sandbox.desk();
            let open =
                |id: &&u64| desk.message(**id).is_none_or(|found| !["delivered", "read"].contains(&&*found.status));
            let open: Vec<_> = firsts.iter().filter(open).filter_map(|id| desk.message(*id)).collect();
            if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
        });
        for (net, person) in everybody {
            self.nets[net].acquaint(person);
        }
        self.people = people;
    }

    pub(crate) fn until_up(&self) {
        self.until_up_within(PATIENCE * 2);
    }

    pub(crate) fn until_up_within(&self, patience: Duration) {
        until_within(patience, "every bridge to be up", || self.look_whether_up());
    }

    /// The same for a gateway that is expected to end.
    pub(crate) fn until_up_or_gone(&mut self) {
        until_within(PATIENCE * 2, "every bridge to be up", || {
            if self.gateway.is_running() { self.look_whether_up() } else { Ok(()) }
        });
    }

    /// In some gateway each.
    fn look_whether_up(&self) -> Result<(), String> {
        let all = std::iter::once(&self.gateway).chain(&self.beside);
        let seen: Vec<_> = all.map(Gateway::ready).collect();
        let answered: Vec<_> = seen.iter().flatten().map(|answer| answer.json()["bridges"].clone()).collect();
        let up = |net: &dyn Net| answered.iter().any(|bridges| is_up(&bridges[net.name()]));
        if self.nets.iter().all(|net| up(&**net)) { Ok(()) } else { Err(format!("{seen:?}")) }
    }

    pub(crate) fn gateways(&mut self) -> impl Iterator<Item = &mut Gateway> {
        std::iter::once(&mut self.gateway).chain(&mut self.beside)
    }

    fn is_any_running(&mut self) -> bool {
        self.gateways().any(Gateway::is_running)
    }

    /// What waits for the network, as a gateway that is well says.
    fn waiting(&self) -> Vec<(String, String)> {
        let all = std::iter::once(&self.gateway).chain(&self.beside).enumerate();
        let (_, well) = all.into_iter().find(|(number, _)| !self.out.has(*number)).expect("one of them is well");
        well.waiting()
    }

    /// Everybody talks for so long, or until the gateway is gone.
    pub(crate) fn talk(&mut self, span: Duration) {
        self.is_dead &= !self.gateway.is_running();
        let end = Instant::now() + span;
        while Instant::now() < end && self.is_any_running() {
            self.burst(BURST);
            thread::sleep(PAUSE);
        }
    }

    /// So many messages, each of anybody to the other side.
    pub(crate) fn burst(&mut self, count: usize) {
        for _ in 0..count {
            let who = self.rng.usize(..self.people.len());
            let says = self.rng.bool();
            if self.people[who].is_hasty() {
                continue;
            }
            if says { self.say(who) } else { self.reply(who) }
        }
    }

    fn say(&mut self, who: usize) {
        let Person { net, talk, sent, .. } = &mut self.people[who];
        sent.push_back(Instant::now());
        let text = talk.line(talk.said);
        talk.said += 1;
        self.nets[*net].say(talk.person, &text);
    }

    fn reply(&mut self, who: usize) {
        let Person { talk, conversation, sent, .. } = &mut self.people[who];
        sent.push_back(Instant::now());
        let text = talk.reply(talk.replies.len());
        talk.replies.push(self.sandbox.reply(*conversation, &text));
    }

    /// Somebody says something.
    pub(crate) fn say_somewhere(&mut self) {
        let who = self.rng.usize(..self.people.len());
        self.say(who);
    }

    /// The text of what this person, or their agent, says next.
    pub(crate) fn next_text(&self, way: Way, who: usize) -> String {
        let talk = &self.people[who].talk;
        match way {
            Way::In => talk.line(talk.said),
            Way::Out => talk.reply(talk.replies.len()),
        }
    }

    pub(crate) fn send_next(&mut self, way: Way, who: usize) {
        match way {
            Way::In => self.say(who),
            Way::Out => self.reply(who),
        }
    }

    pub(crate) fn crowd(&self) -> usize {
        self.people.len()
    }

    /// Said and written so far.
    pub(crate) fn sent(&self) -> usize {
        self.people.iter().map(|person| person.talk.said + person.talk.replies.len()).sum()
    }

    /// The link of this network broke just now, or is mended.
    pub(crate) fn mark_break(&mut self, net: usize) {
        let waiting: BTreeSet<u64> =
            self.waiting().iter().filter_map(|(key, _)| key.split([':', '/']).nth(1)?.parse().ok()).collect();
        for person in self.people.iter_mut().filter(|person| person.net == net) {
            let is_open = person.talk.replies.iter().any(|id| waiting.contains(id));
            person.talk.mark_break(is_open);
        }
    }

    /// Nobody hears what is said on this network now. Nothing that was answered is in doubt for that.
    pub(crate) fn mark_silence(&mut self, net: usize) {
        for person in self.people.iter_mut().filter(|person| person.net == net) {
            person.talk.breaks.push(person.talk.said);
        }
    }

    /// Nothing has ended the gateway that was meant to.
    pub(crate) fn must_live(&mut self) {
        if !self.gateway.is_running() && !self.is_dead {
            self.complaints.push("the gateway ended by itself".to_owned());
        }
    }

    /// The gateway died just now: what did it hold?
    pub(crate) fn mark_death(&mut self) -> Kept {
        self.is_dead = true;
        let kept = store::look(&self.gateway.data_dir(), &Log::Kept);
        for Person { talk, .. } in &mut self.people {
            let theirs = |token: &&Token| token.way == Way::Out && token.net == talk.net && token.person == talk.person;
            let is_open = kept.waiting.iter().any(|token| theirs(&token));
            talk.mark_break(is_open);
        }
        self.kept.extend(kept.waiting.iter().filter(|token| token.way == Way::In).cloned());
        kept
    }

    /// Nothing goes wrong any more: returns once everything has arrived that can, with the inbox as it is then.
    pub(crate) fn drain(&mut self) -> Desk {
        self.sandbox.faults(&serde_json::json!({}));
        self.must_live();
        self.gateways().filter_map(|gateway| (!gateway.is_running()).then(|| gateway.start())).for_each(drop);
        self.until_up();
        // Somebody who is heard now was not forgotten.
        for who in 0..self.people.len() {
            self.say(who);
        }
        let begun = Instant::now();
        loop {
            let desk = self.sandbox.desk();
            match self.missing(&desk) {
                None => return desk,
                // The judge says what is missing, and in whose name.
                Some(seen) if begun.elapsed() > DRAIN => {
                    eprintln!("waited {DRAIN:?} for everything to arrive; seen: {seen}");
                    return desk;
                }
                Some(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// What is still to come, as far as anybody can tell.
    fn missing(&mut self, desk: &Desk) -> Option<String> {
        if let Some(pending) = self.nets.iter_mut().find_map(|net| net.pending()) {
            return Some(pending);
        }
        for Person { net, talk, conversation, .. } in &self.people {
            let lines = lines_of(desk, *conversation);
            let here = |number: usize| lines.iter().flatten().any(|token| token.number == number);
            let first = if self.nets[*net].promise().keeps { 0 } else { talk.said.saturating_sub(1) };
            if let Some(number) = (first..talk.said).find(|number| !here(*number)) {
                return Some(format!("{} is not at the inbox", talk.line(number)));
            }
            let open = |id: &&u64| {
                // A reply that the inbox could not tell us of is failed there, until the gateway has asked for it.
                let swept = !self.callbacks.is_taken(**id);
                desk.message(**id).is_none_or(|found| found.status == "sent" || (swept && is_unanswered(found)))
            };
            if let Some(id) = talk.replies.iter().find(open) {
                return Some(format!("reply {id} has no outcome: {:?}", desk.message(*id)));
            }
        }
        let waiting = self.waiting();
        (!waiting.is_empty()).then(|| format!("{waiting:?}"))
    }

    /// By network and way, in the order of the networks.
    pub(crate) fn judge(&mut self, desk: &Desk) -> Vec<Verdict> {
        let mut nets = std::mem::take(&mut self.nets);
        let mut verdicts = Vec::new();
        for (number, net) in nets.iter_mut().enumerate() {
            let (mut inward, mut outward) = (Tally::default(), Tally::default());
            let mut kept: BTreeSet<_> = self.kept.iter().filter(|token| token.net == net.name()).collect();
            for person in self.people.iter().filter(|person| person.net == number) {
                let lines = lines_of(desk, person.conversation);
                kept.retain(|token| !lines.iter().flatten().any(|line| line == *token));
                inward.add(&judge_person(person, net.name(), net.promise(), desk, &lines));
                let heard = net.heard(person.talk.person);
                let mut shown: Vec<_> = heard.iter().map(|text| Token::find(Way::Out, text)).collect();
                // The greeting, which a mailbox may show behind what came later.
                shown.iter().position(Option::is_none).map(|greeting| shown.remove(greeting));
                let replies = person.talk.replies.iter();
                let mut fates: Vec<_> = replies.map(|id| self.fate(desk.message(*id), *id)).collect();
                if !self.beside.is_empty() {
                    // Each gateway takes them in its own time: what it keeps for later comes behind what others took.
                    let overtaken = self.callbacks.overtaken(&person.talk.replies);
                    let late = fates.iter_mut().zip(overtaken).filter(|(fate, late)| *late && **fate == Fate::Taken);
                    late.for_each(|(fate, _)| *fate = Fate::Swept);
                }
                outward.add(&person.talk.judge_out(&shown, &fates, net.promise()));
            }
            if !kept.is_empty() && !net.promise().keeps {
                inward.lost += kept.len();
                inward.complaints.push(format!("the store had them: {kept:?}"));
            }
            verdicts.push(Verdict { net: net.title(), way: Way::In, tally: inward });
            verdicts.push(Verdict { net: net.title(), way: Way::Out, tally: outward });
        }
        self.nets = nets;
        if let Some(first) = verdicts.first_mut() {
            first.tally.complaints.append(&mut self.complaints);
        }
        verdicts
    }

    fn fate(&self, message: Option<&Message>, id: u64) -> Fate {
        let failed = message.filter(|message| message.status == "failed");
        let doubts = |message: &Message| message.reason().starts_with("it may have been delivered");
        let taken = self.callbacks.is_taken(id);
        match failed {
            Some(failed) if doubts(failed) => Fate::InDoubt,
            _ if taken => Fate::Taken,
            _ => Fate::Swept,
        }
    }
}

/// As `/readyz` says it: in one word, or a word with more.
pub(crate) fn is_up(stated: &serde_json::Value) -> bool {
    stated["state"] == "up" || stated["state"]["state"] == "up"
}

/// What became of all messages of one network in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) net: &'static str,
    pub(crate) way: Way,
    pub(crate) tally: Tally,
}

fn judge_person(person: &Person, net: &str, promise: Promise, desk: &Desk, lines: &[Option<Token>]) -> Tally {
    let name = called(net, person.talk.person);
    let mut tally = person.talk.judge_in(lines.get(1..).unwrap_or_default(), promise);
    // One contact and one conversation are made for each, however often their making was interrupted.
    let made = (desk.contacts.iter().filter(|contact| contact.name == name).count(), desk.of(&name).len());
    if made != (1, 1) {
        tally.doubled += made.0.max(made.1).saturating_sub(1);
        tally.complaints.push(format!("{name}: {made:?} contacts and conversations"));
    }
    tally
}

/// What people said in this conversation, oldest first. The first is the hello, which is no token.
fn lines_of(desk: &Desk, conversation: u64) -> Vec<Option<Token>> {
    let found = desk.conversations.iter().find(|found| found.id == conversation);
    let lines = found.into_iter().flat_map(|found| found.incoming());
    lines.map(|text| Token::find(Way::In, text)).collect()
}

/// As the inbox writes it on a message whose callback found nobody.
fn is_unanswered(message: &Message) -> bool {
    let reasons = ["Failed to open TCP connection", "end of file reached", "Net::ReadTimeout", "Connection reset"];
    let coded = message.reason().split(' ').next().is_some_and(|word| word.len() == 3 && word.parse::<u16>().is_ok());
    message.status == "failed" && (coded || reasons.iter().any(|words| message.reason().starts_with(words)))
}
