//! The network's own history (`IRCv3` `draft/chathistory`): what was written while we were away, and
//! whether a doubtful reply arrived. One question at a time; nothing old is ever answered.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    Machine,
    batch::{Batch, Kept},
};
use crate::{
    message::{Command, Line},
    time,
};

mod backfill;
mod positions;
mod question;

pub(super) use positions::{DIRECT, Positions};
pub(super) use question::{Flown, Question};

/// What is asked of the history of one connection.
#[derive(Debug, Default)]
pub(super) struct History {
    waiting: VecDeque<Task>,
    current: Option<Fetch>,
    /// Positions behind which nothing is missing any more.
    caught_up: BTreeSet<String>,
    /// Direct conversations that are not read yet.
    directs_left: usize,
    /// Something could not be read, so agents hear of the gap.
    incomplete: bool,
}

#[derive(Debug)]
enum Task {
    /// Who wrote to us since this moment (server's clock)?
    Targets {
        from_millis: i64,
    },
    /// What was written in one channel or by one person since then?
    Lines {
        target: String,
        from_millis: i64,
    },
    Question(Question),
}

/// A task under way.
#[derive(Debug)]
struct Fetch {
    task: Task,
    since: Instant,
    /// The latest page first.
    pages: Vec<Vec<Kept>>,
    lines: usize,
}

/// Lines in one page.
const PAGE_LINES: usize = 100;
/// Lines read back from one channel or person.
const LINES_MAX: usize = 500;
const BACK_MILLIS: i64 = 24 * 3_600_000;
/// Lines may be stamped a little before others that came earlier.
const SLACK_MILLIS: i64 = 10_000;
const DIRECTS_MAX: usize = 50;
const ANSWER_TIME: Duration = Duration::from_mins(1);
/// What cannot be read back later than this after a reconnect is not missing because of it.
const RECENT: Duration = Duration::from_mins(10);

impl Machine {
    pub(super) fn has_history(&self) -> bool {
        ["draft/chathistory", "batch", "server-time"].iter().all(|name| self.link.caps.has(name))
    }

    /// Whether nothing of a gap is left to read.
    pub(super) fn has_caught_up(&self) -> bool {
        let history = &self.link.history;
        history.caught_up.contains(DIRECT) && history.waiting.is_empty() && history.current.is_none()
    }

    /// Now, by the server's clock.
    fn server_millis(&self) -> i64 {
        self.now.millis - self.link.clock_offset.unwrap_or(0)
    }

    /// On the network again: what did people write to us meanwhile?
    pub(super) fn begin_history(&mut self) {
        if !self.has_history() {
            self.note_gap();
            return;
        }
        match self.read_from(DIRECT) {
            Some(from_millis) => self.link.history.waiting.push_back(Task::Targets { from_millis }),
            None => self.catch_up(DIRECT),
        }
        self.next_task();
    }

    /// In a channel again: what was said there meanwhile?
    pub(super) fn begin_channel_history(&mut self, channel: &str) {
        if !self.has_history() {
            return;
        }
        let name = self.link.fold(channel).as_str().to_owned();
        self.link.history.caught_up.remove(&name);
        match self.read_from(&name) {
            Some(from_millis) => {
                self.link.history.waiting.push_back(Task::Lines { target: channel.to_owned(), from_millis });
            }
            None => self.catch_up(&name),
        }
        self.next_task();
    }

    /// Where to begin; `None` at the very first start, which reads nothing old.
    fn read_from(&self, name: &str) -> Option<i64> {
        let read = self.positions.of(name)?;
        Some((read - SLACK_MILLIS).max(self.server_millis() - BACK_MILLIS))
    }

    /// From here on every line moves the position.
    fn catch_up(&mut self, name: &str) {
        self.link.history.caught_up.insert(name.to_owned());
        let cursor = self.positions.catch_up(name, self.server_millis(), self.now.millis);
        self.outputs.push_back(super::Output::Cursor(cursor));
    }

    /// A line was read as it was written.
    pub(super) fn heard_at(&mut self, name: &str, line: &Line<'_>) {
        if !self.has_history() {
            return;
        }
        let stamp = line.tag("time").and_then(|time| time::parse(&time)).unwrap_or_else(|| self.server_millis());
        let caught_up = self.link.history.caught_up.contains(name);
        let cursor = self.positions.advance(name, stamp, caught_up, self.now.millis);
        self.save(cursor);
        self.positions.note(&backfill::event_of(line));
    }

    fn next_task(&mut self) {
        if self.link.history.current.is_some() {
            return;
        }
        let Some(task) = self.link.history.waiting.pop_front() else {
            let since = self.link.registered_at.map(|at| self.now.at.saturating_duration_since(at));
            if std::mem::take(&mut self.link.history.incomplete) && since.is_some_and(|since| since < RECENT) {
                self.note_gap();
            }
            return;
        };
        let page = self.page_lines();
        let ask = Command::new("CHATHISTORY");
        let command = match &task {
            Task::Targets { from_millis } => {
                let until = self.server_millis() + 60_000;
                ask.param("TARGETS").param(stamp(*from_millis)).param(stamp(until)).param(DIRECTS_MAX.to_string())
            }
            Task::Lines { target, from_millis } => {
                ask.param("LATEST").param(target.clone()).param(stamp(*from_millis)).param(page)
            }
            Task::Question(question) => ask.param("LATEST").param(question.target()).param("*").param(page),
        };
        self.write_later(command);
        self.link.history.current = Some(Fetch { task, since: self.now.at, pages: Vec::new(), lines: 0 });
    }

    fn page_lines(&self) -> String {
        self.link.isupport.chathistory_max().unwrap_or(PAGE_LINES).min(PAGE_LINES).to_string()
    }

    /// One page has come.
    pub(super) fn on_history_page(&mut self, batch: Batch) {
        let about = Line::parse(&batch.opening).map(|line| self.link.fold(line.param_or_empty(2)));
        let Some(fetch) = self.link.history.current.take() else { return };
        let (target, from_millis) = match &fetch.task {
            Task::Lines { target, from_millis } => (target.clone(), *from_millis),
            Task::Question(question) => (question.target(), question.begins_millis()),
            Task::Targets { .. } => {
                self.link.history.current = Some(fetch);
                return;
            }
        };
        if about != Some(self.link.fold(&target)) {
            self.link.history.current = Some(fetch);
            return;
        }
        let mut fetch = fetch;
        let oldest = batch.lines.first().and_then(|kept| reference(kept, self.link.isupport.token("MSGREFTYPES")));
        fetch.lines += batch.lines.len();
        fetch.since = self.now.at;
        fetch.pages.push(batch.lines);
        match oldest {
            Some((millis, before)) if millis > from_millis && fetch.lines < LINES_MAX => {
                let page = self.page_lines();
                self.write_later(Command::new("CHATHISTORY").param("BEFORE").param(target).param(before).param(page));
                self.link.history.current = Some(fetch);
            }
            Some((millis, _)) => self.fetched(fetch, millis <= from_millis),
            None => self.fetched(fetch, true),
        }
    }

    /// `whole`: nothing between the beginning and now is missing.
    fn fetched(&mut self, fetch: Fetch, whole: bool) {
        let lines: Vec<Kept> = fetch.pages.into_iter().rev().flatten().collect();
        match fetch.task {
            Task::Lines { target, from_millis } => {
                self.link.history.incomplete |= !whole;
                self.import(&target, from_millis, &lines);
                self.lines_done(&target);
            }
            Task::Question(question) => self.answer_question(&question, &lines),
            Task::Targets { .. } => {}
        }
        self.next_task();
    }

    fn lines_done(&mut self, target: &str) {
        if self.link.isupport.is_channel(target) {
            let name = self.link.fold(target).as_str().to_owned();
            self.catch_up(&name);
            return;
        }
        self.link.history.directs_left = self.link.history.directs_left.saturating_sub(1);
        if self.link.history.directs_left == 0 {
            self.catch_up(DIRECT);
        }
    }

    /// `CHATHISTORY TARGETS <name> <time>`, each a line of the batch.
    pub(super) fn on_history_targets(&mut self, batch: &Batch) {
        let Some(Fetch { task: Task::Targets { from_millis }, .. }) = &self.link.history.current else { return };
        let from_millis = *from_millis;
        self.link.history.current = None;
        let mut names = BTreeSet::new();
        for line in batch.lines.iter().filter_map(|kept| Line::parse(&kept.line)) {
            let name = line.param_or_empty(1);
            let fits = !name.is_empty() && !self.link.isupport.is_channel(name) && !self.link.is_us(name);
            if fits && names.len() < DIRECTS_MAX {
                names.insert(name.to_owned());
            }
        }
        self.link.history.directs_left = names.len();
        let tasks = names.into_iter().map(|target| Task::Lines { target, from_millis });
        self.link.history.waiting.extend(tasks);
        if self.link.history.directs_left == 0 {
            self.catch_up(DIRECT);
        }
        self.next_task();
    }

    /// `FAIL CHATHISTORY <code> ... :text`, or no answer at all.
    pub(super) fn on_history_refused(&mut self, text: &str) {
        let Some(fetch) = self.link.history.current.take() else { return };
        tracing::warn!(reason = text, "the network's history cannot be read");
        match fetch.task {
            Task::Targets { .. } => {
                self.link.history.incomplete = true;
                self.catch_up(DIRECT);
            }
            Task::Lines { target, .. } => {
                self.link.history.incomplete = true;
                self.lines_done(&target);
            }
            Task::Question(question) => self.cannot_answer(&question),
        }
        self.next_task();
    }

    pub(super) fn check_history(&mut self) {
        let late = self.link.history.current.as_ref().is_some_and(|fetch| self.now.at >= fetch.since + ANSWER_TIME);
        if late {
            self.on_history_refused("no answer in time");
        }
    }

    pub(super) fn history_wake(&self) -> Option<(Instant, &'static str)> {
        self.link.history.current.as_ref().map(|fetch| (fetch.since + ANSWER_TIME, "a page of history"))
    }
}

fn stamp(millis: i64) -> String {
    format!("timestamp={}", time::format(millis))
}

/// The moment of a line, and how to ask for what came before it.
fn reference(kept: &Kept, types: Option<&str>) -> Option<(i64, String)> {
    let line = Line::parse(&kept.line)?;
    let millis = time::parse(&line.tag("time")?)?;
    let by_id = types.is_some_and(|types| types.split(',').any(|name| name == "msgid"));
    let id = line.tag("msgid").filter(|id| by_id && !id.is_empty() && !id.contains([' ', ':']));
    Some((millis, id.map_or_else(|| stamp(millis), |id| format!("msgid={id}"))))
}
