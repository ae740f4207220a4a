//! Did a doubtful reply arrive? History shows it, or shows its absence; else the doubt stays.

use bridge_api::{EventId, Fault, Key, Sent};

use super::{Kept, LINES_MAX, Machine, Task};
use crate::{
    machine::{Output, Ticket, probe::SOON},
    message::Line,
    time,
};

/// A reply that was written and never confirmed.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Flown {
    /// Nick or channel, as written.
    pub(in crate::machine) target: String,
    /// Our own nick then.
    pub(in crate::machine) nick: String,
    pub(in crate::machine) texts: Vec<String>,
    /// When, by the server's clock.
    pub(in crate::machine) server_millis: i64,
    /// What the agent must know once it is sent.
    pub(in crate::machine) remark: Option<String>,
}

#[derive(Debug)]
pub(in crate::machine) struct Question {
    pub(in crate::machine) ticket: Ticket,
    pub(in crate::machine) key: Key,
    pub(in crate::machine) flown: Flown,
}

/// Stamps may be this much earlier than our own measure of the server's clock.
const CLOCK_MILLIS: i64 = 2000;
const QUESTIONS_MAX: usize = 64;

impl Question {
    pub(super) fn target(&self) -> String {
        self.flown.target.clone()
    }

    /// A page that reaches back to here covers the moment of the reply.
    pub(super) fn begins_millis(&self) -> i64 {
        self.flown.server_millis - CLOCK_MILLIS
    }
}

impl Machine {
    /// Looks it up. The answer comes later.
    pub(in crate::machine) fn ask_history(&mut self, question: Question) {
        let waiting = &mut self.link.history.waiting;
        if waiting.iter().filter(|task| matches!(task, Task::Question(_))).count() >= QUESTIONS_MAX {
            let fault = Fault::retry_after(SOON, "too many questions wait for the network's history");
            self.outputs.push_back(Output::Settled(question.ticket, Err(fault)));
            return;
        }
        // Somebody waits for it; what is read back waits for nobody.
        let place = waiting.iter().position(|task| !matches!(task, Task::Question(_))).unwrap_or(waiting.len());
        waiting.insert(place, Task::Question(question));
        self.next_task();
    }

    pub(super) fn answer_question(&mut self, question: &Question, lines: &[Kept]) {
        let Flown { texts, remark, .. } = &question.flown;
        let lines: Vec<Line<'_>> = lines.iter().filter_map(|kept| Line::parse(&kept.line)).collect();
        let covers = lines.iter().any(|line| self.shows_coverage(line, question));
        let found = self.find_all(question, &lines);
        let result = match found.len() {
            count if count == texts.len() => Ok(Some(Sent { event: found.last().cloned(), remark: remark.clone() })),
            0 if covers && lines.len() < LINES_MAX => match self.ghost_may_speak() {
                Some(left) => Err(Fault::retry_after(
                    left.min(SOON),
                    "an earlier connection may still deliver this reply; waiting until it surely cannot",
                )),
                None => Ok(None),
            },
            _ => Err(Fault::unknown("the network's history does not say whether the line arrived")),
        };
        if let Ok(Some(sent)) = &result {
            self.recent.note(&question.key, crate::machine::recent::Outcome::Sent(sent.clone()));
        }
        self.outputs.push_back(Output::Settled(question.ticket, result));
    }

    /// A line from before the reply: history reaches back that far. Some networks keep a direct
    /// conversation for accounts only, so without one it must be a line of our own.
    fn shows_coverage(&self, line: &Line<'_>, question: &Question) -> bool {
        let own = line.nick().is_some_and(|nick| self.link.isupport.same(nick, &question.flown.nick));
        let kept = own || self.link.account.is_some() || self.link.isupport.is_channel(&question.flown.target);
        let before = line.tag("time").and_then(|time| time::parse(&time));
        kept && before.is_some_and(|millis| millis <= question.begins_millis())
    }

    /// The ids of our lines with these texts, each text once, in order.
    fn find_all(&self, question: &Question, lines: &[Line<'_>]) -> Vec<EventId> {
        let flown = &question.flown;
        let mut found = Vec::new();
        for line in lines {
            let Some(text) = flown.texts.get(found.len()) else { break };
            let own = line.nick().is_some_and(|nick| self.link.isupport.same(nick, &flown.nick));
            let there = self.link.isupport.same(line.param_or_empty(0), &flown.target);
            let in_time = line.tag("time").and_then(|time| time::parse(&time)) >= Some(question.begins_millis());
            let Some(id) = line.tag("msgid").filter(|id| !id.is_empty()) else { continue };
            let id = EventId::from(id.into_owned());
            // The same words may have been confirmed as another reply just before.
            if own && there && in_time && plain(line.last()) == plain(text) && !self.recent.has_event(&id) {
                found.push(id);
            }
        }
        found
    }

    pub(super) fn cannot_answer(&mut self, question: &Question) {
        let fault = Fault::unknown("the network's history cannot be asked whether the line arrived");
        self.outputs.push_back(Output::Settled(question.ticket, Err(fault)));
    }

    /// The connection is gone, and the questions with it.
    pub(in crate::machine) fn fail_questions(&mut self, history: super::History) {
        let tasks = history.waiting.into_iter().chain(history.current.map(|fetch| fetch.task));
        for task in tasks {
            if let Task::Question(question) = task {
                let fault = Fault::down(self.down_reason.clone());
                self.outputs.push_back(Output::Settled(question.ticket, Err(fault)));
            }
        }
    }
}

/// Channels may take the formatting away.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
