//! Replies on their way: checked, paced, written. One at a time for each conversation.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bridge_api::{Fault, FaultKind, Key, Outbound, Part, Sent, ThreadId};

use super::{Machine, Output, Ticket, history::Flown, recent::Outcome, whois::Answer};
use crate::{
    isupport::Folded,
    message::{Command, Target, Text},
    render::text_bytes_max,
};

mod lines;
mod resolve;

use resolve::Verdict;

#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) list: VecDeque<Order>,
    /// Sent, but a bounce from a far server may still come.
    pub(super) bounceable: VecDeque<Bounceable>,
}

#[derive(Debug)]
pub(super) struct Order {
    ticket: Ticket,
    pub(super) out: Outbound,
    since: Instant,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    Waiting,
    /// A WHOIS of this nick is under way.
    Checking(Folded),
    /// Proved to be the right person; must leave before this moment or be checked again.
    Proved(Target, String, Instant),
    Flying(Flight),
}

/// Written, not yet known to be accepted.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) target: Folded,
    pub(super) proof: Proof,
    pub(super) written: Instant,
    /// Lines without an echo yet.
    pub(super) unproved: usize,
    pub(super) sent: Sent,
    /// The away text that the server answered with.
    pub(super) away: Option<String>,
    flown: Option<Flown>,
}

impl Stage {
    /// What history may show later.
    fn flown(&self) -> Option<Flown> {
        if let Self::Flying(flight) = self { flight.flown.clone() } else { None }
    }
}

/// What will show that the server took it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The echo that carries one of these labels.
    Labels(Vec<String>),
    /// The echo, by target and order.
    Echo,
    /// The answer to a PING written behind it.
    Barrier(String),
}

#[derive(Debug)]
pub(super) struct Bounceable {
    pub(super) target: Folded,
    pub(super) key: Key,
    pub(super) thread: ThreadId,
    pub(super) at: Instant,
}

const FLYING_MAX: usize = 4;
/// What is not written after this goes back to the gateway.
const ORDER_TIME: Duration = Duration::from_mins(1);
/// `send` ends before the gateway gives up on it at 90 s.
const PROOF_TIME: Duration = Duration::from_secs(25);
/// A proof of identity older than this is asked for again.
const FRESH: Duration = Duration::from_secs(1);
pub(super) const BOUNCE_TIME: Duration = Duration::from_mins(1);
const BOUNCEABLE_MAX: usize = 256;
pub(super) const ORDERS_MAX: usize = 256;

impl Machine {
    pub(super) fn order(&mut self, ticket: Ticket, out: Outbound) {
        if let Some(Outcome::Sent(sent)) = self.recent.of(&out.key) {
            let sent = sent.clone();
            self.outputs.push_back(Output::Settled(ticket, Ok(Some(sent))));
            return;
        }
        let refusal = if !self.is_ready() {
            Some(Fault::down(self.down_reason.clone()))
        } else if !self.speaks() {
            Some(Fault::down(self.nick_complaint().unwrap_or_default()))
        } else if self.orders.list.len() >= ORDERS_MAX {
            Some(Fault::retry("too many replies wait for the server"))
        } else {
            None
        };
        match refusal {
            Some(fault) => {
                self.recent.note(&out.key, Outcome::NotDone);
                self.outputs.push_back(Output::Settled(ticket, Err(fault)));
            }
            None => self.orders.list.push_back(Order { ticket, out, since: self.now.at, stage: Stage::Waiting }),
        }
    }

    /// Lines that checks under way will need at once when they are answered.
    pub(super) fn reserved_lines(&self) -> f64 {
        let a_reply = self.lines_of_a_reply();
        self.orders.list.iter().filter(|order| matches!(order.stage, Stage::Checking(_) | Stage::Proved(..))).count()
            as f64
            * a_reply
    }

    fn lines_of_a_reply(&self) -> f64 {
        if self.link.caps.has("echo-message") { 1.0 } else { 2.0 }
    }

    /// Takes the next step with one reply, when the pace has room. False: nothing to do now.
    pub(super) fn start_order(&mut self) -> bool {
        let flying = self.orders.list.iter().filter(|order| matches!(order.stage, Stage::Flying(_))).count();
        for index in 0..self.orders.list.len() {
            match &self.orders.list[index].stage {
                Stage::Proved(target, address, until) => {
                    if *until < self.now.at {
                        self.orders.list[index].stage = Stage::Waiting;
                        return true;
                    }
                    let (target, address) = (target.clone(), address.clone());
                    if self.fly(index, &target, &address) {
                        return true;
                    }
                    return false;
                }
                Stage::Waiting if flying < FLYING_MAX && !self.has_elder(index) => match self.advance(index) {
                    Step::Done => return true,
                    Step::NoRoom => return false,
                    Step::Blocked => {}
                },
                Stage::Waiting | Stage::Checking(_) | Stage::Flying(_) => {}
            }
        }
        false
    }

    /// Whether an earlier reply of the same conversation is still on its way.
    fn has_elder(&self, index: usize) -> bool {
        let thread = &self.orders.list[index].out.thread;
        self.orders.list.iter().take(index).any(|order| order.out.thread == *thread)
    }

    fn advance(&mut self, index: usize) -> Step {
        let thread = self.orders.list[index].out.thread.clone();
        match self.resolve(&thread, None) {
            Verdict::Go(target, address) => {
                if !self.link.pace.has(self.lines_of_a_reply() + self.reserved_lines(), self.now.at) {
                    return Step::NoRoom;
                }
                if self.fly(index, &target, &address) { Step::Done } else { Step::NoRoom }
            }
            Verdict::Check(nick) => self.check_person(index, nick),
            Verdict::Wait => Step::Blocked,
            Verdict::Not(fault) => {
                self.settle(index, Err(fault));
                Step::Done
            }
        }
    }

    /// Asks who holds the nick now; the reply follows the answer at once.
    fn check_person(&mut self, index: usize, nick: Folded) -> Step {
        if !self.is_asked(&nick) {
            if !self.whois_may_leave() {
                return Step::Blocked;
            }
            let need = 1.0 + self.lines_of_a_reply() + self.reserved_lines();
            if !self.link.pace.has(need, self.now.at) || !self.write_whois(&nick) {
                return Step::NoRoom;
            }
        }
        self.orders.list[index].stage = Stage::Checking(nick);
        Step::Done
    }

    /// WHOIS has answered: send back to back, or say why not.
    pub(super) fn orders_after_check(&mut self, answer: &Answer) {
        let nick = self.link.fold(&answer.nick);
        let mut index = 0;
        while index < self.orders.list.len() {
            let order = &self.orders.list[index];
            if !matches!(&order.stage, Stage::Checking(checking) if *checking == nick) {
                index += 1;
                continue;
            }
            let thread = order.out.thread.clone();
            match self.resolve(&thread, Some(answer)) {
                Verdict::Go(target, address) => {
                    let until = self.now.at + FRESH;
                    self.orders.list[index].stage = Stage::Proved(target.clone(), address.clone(), until);
                    if self.fly(index, &target, &address) || matches!(self.orders.list[index].stage, Stage::Proved(..))
                    {
                        index += 1;
                    }
                }
                Verdict::Check(_) | Verdict::Wait => {
                    self.orders.list[index].stage = Stage::Waiting;
                    index += 1;
                }
                Verdict::Not(fault) => self.settle(index, Err(fault)),
            }
        }
    }

    /// Writes a reply and what will prove it. False: no room, nothing is written.
    fn fly(&mut self, index: usize, target: &Target, address: &str) -> bool {
        let most = text_bytes_max(&self.link.mask, target, &self.link.isupport);
        let nick = address.strip_suffix(": ").unwrap_or(target.as_str());
        let texts =
            lines::of_part(&self.orders.list[index].out.part, address, nick, self.link.isupport.case_mapping(), most);
        let labels = self.link.caps.labels();
        let mut lines = Vec::new();
        let mut names = Vec::new();
        for text in &texts {
            let mut command = Command::privmsg(target, text);
            if labels {
                let label = format!("d{}", self.link.next_counter());
                command = command.tag("label", label.clone());
                names.push(label);
            }
            lines.push(command);
        }
        let Some(first) = lines.first().and_then(|command| self.encode(command)) else {
            self.settle(index, Err(Fault::refused("nothing in this message can be shown on irc")));
            return true;
        };
        if !self.link.pace.take(first.len(), self.now.at) {
            return false;
        }
        self.outputs.push_back(Output::Write(first));
        let proof = if labels {
            Proof::Labels(names)
        } else if self.link.caps.has("echo-message") {
            Proof::Echo
        } else {
            let counter = self.link.next_counter();
            let token = format!("sent-{}-{counter}", self.link.epoch);
            lines.push(Command::new("PING").last(token.clone()));
            Proof::Barrier(token)
        };
        // Right behind the first line: nothing of ours may come between.
        for command in lines.into_iter().skip(1).rev() {
            self.link.control.push_front(command);
        }
        let flight = Flight {
            target: self.link.fold(target.as_str()),
            proof,
            written: self.now.at,
            unproved: texts.len(),
            sent: Sent { remark: lines::remark_on(&self.orders.list[index].out.part), ..Sent::default() },
            away: None,
            flown: self.flown(target, &texts, &self.orders.list[index].out.part),
        };
        self.orders.list[index].stage = Stage::Flying(flight);
        while self.write_control() {}
        true
    }

    /// Kept where the network has a history that may be asked.
    fn flown(&self, target: &Target, texts: &[Text], part: &Part) -> Option<Flown> {
        let offset = self.link.clock_offset.filter(|_| self.has_history())?;
        Some(Flown {
            target: target.as_str().to_owned(),
            nick: self.link.mask.nick.clone(),
            texts: texts.iter().map(|text| text.as_str().to_owned()).collect(),
            server_millis: self.now.millis - offset,
            remark: lines::remark_on(part),
        })
    }

    /// Ends one order, and tells the caller.
    pub(super) fn settle(&mut self, index: usize, mut result: Result<Sent, Fault>) {
        let Some(order) = self.orders.list.remove(index) else { return };
        if let (Ok(sent), Stage::Flying(flight)) = (&mut result, &order.stage) {
            self.remark_away(&order.out.thread, flight.away.as_deref(), sent);
        }
        let outcome = match &result {
            Ok(sent) => Outcome::Sent(sent.clone()),
            Err(Fault { kind: FaultKind::Unknown, .. }) => Outcome::Unknown(order.stage.flown()),
            Err(_) => Outcome::NotDone,
        };
        self.recent.note(&order.out.key, outcome);
        if result.is_ok()
            && let Stage::Flying(flight) = order.stage
        {
            self.orders.bounceable.retain(|old| self.now.at.saturating_duration_since(old.at) < BOUNCE_TIME);
            if self.orders.bounceable.len() < BOUNCEABLE_MAX {
                let Outbound { key, thread, .. } = order.out;
                self.orders.bounceable.push_back(Bounceable { target: flight.target, key, thread, at: self.now.at });
            }
        }
        self.outputs.push_back(Output::Settled(order.ticket, result.map(Some)));
    }

    /// The connection is gone: what was written may have arrived, the rest surely has not.
    pub(super) fn fail_orders(&mut self) {
        while let Some(order) = self.orders.list.front() {
            let fault = match order.stage {
                Stage::Flying(_) => Fault::unknown("the connection broke before the server confirmed the line"),
                Stage::Waiting | Stage::Checking(_) | Stage::Proved(..) => Fault::down(self.down_reason.clone()),
            };
            self.settle(0, Err(fault));
        }
        self.orders.bounceable.clear();
    }

    pub(super) fn check_orders(&mut self) {
        let mut index = 0;
        while index < self.orders.list.len() {
            let order = &self.orders.list[index];
            let fault = match &order.stage {
                Stage::Flying(flight) => (self.now.at.saturating_duration_since(flight.written) >= PROOF_TIME)
                    .then(|| Fault::unknown("the server did not confirm the line in time")),
                Stage::Waiting | Stage::Checking(_) | Stage::Proved(..) => {
                    (self.now.at.saturating_duration_since(order.since) >= ORDER_TIME)
                        .then(|| Fault::retry("the server's limits left no room for this reply in time"))
                }
            };
            match fault {
                Some(fault) => self.settle(index, Err(fault)),
                None => index += 1,
            }
        }
    }

    pub(super) fn delivery_wake(&self) -> Option<(Instant, &'static str)> {
        let limit = self.orders.list.iter().map(|order| match &order.stage {
            Stage::Flying(flight) => flight.written + PROOF_TIME,
            Stage::Waiting | Stage::Checking(_) | Stage::Proved(..) => order.since + ORDER_TIME,
        });
        let mut wake = limit.min().map(|at| (at, "a reply's time is over"));
        let orders = self.orders.list.iter().any(|order| matches!(order.stage, Stage::Waiting | Stage::Proved(..)));
        let link = &self.link;
        if self.is_ready() && (orders || !link.control.is_empty() || !link.polite.is_empty() || self.has_questions()) {
            let steps = [0.01, 1.0, 1.5].into_iter().chain((2..=self.link.pace.burst() as u32).map(f64::from));
            let room = steps.map(|lines| self.link.pace.ready_at(lines)).find(|at| *at > self.now.at);
            wake = wake.into_iter().chain(room.map(|at| (at, "room to write"))).min_by_key(|(at, _)| *at);
        }
        wake
    }
}

enum Step {
    Done,
    NoRoom,
    /// Something else must happen first; others may go on.
    Blocked,
}
