//! What every task of the relay shares: the mailbox behind its mutex, the switch, the counts, the gateway's address.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::PostSettings;
use super::faults::MailFaults;
use super::mailbox::{Envelope, Mailbox, ReceivedMail};
use super::shown;
use super::target::MailTarget;

/// Command lines that are remembered; the oldest are forgotten.
pub(super) const HEARD_MAX: usize = 10_000;

/// What has happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PostCounts {
    pub connections: u64,
    /// Connections that are there now.
    pub open: u64,
    /// Connections that came to be under TLS.
    pub tls: u64,
    /// Users who proved who they are, and who did not.
    pub proved: u64,
    pub unproved: u64,
    /// Mails that were taken, with those that are forgotten.
    pub mails: u64,
}

pub(in crate::sandbox) struct Core {
    pub(super) settings: PostSettings,
    pub(super) address: SocketAddr,
    /// Tells this run from others, whose mails have the same numbers.
    pub(super) era: u64,
    pub(super) faults: MailFaults,
    /// Moves whenever something changed.
    pub(super) changed: watch::Sender<u64>,
    /// Whether the listener should be open, and whether it is.
    pub(super) wanted: watch::Sender<bool>,
    pub(super) listening: watch::Sender<bool>,
    state: Mutex<State>,
    /// Rows of the page's list, which cost a parse each.
    summaries: Mutex<BTreeMap<u64, Value>>,
}

struct State {
    mailbox: Mailbox,
    counts: PostCounts,
    heard: VecDeque<String>,
    desk_address: String,
    target: Option<MailTarget>,
}

impl Core {
    pub(super) fn new(settings: PostSettings, address: SocketAddr) -> Self {
        let state = State {
            mailbox: Mailbox::new(settings.mailbox_bytes_max),
            counts: PostCounts::default(),
            heard: VecDeque::new(),
            desk_address: settings.desk_address.clone(),
            target: settings.target.clone(),
        };
        Self {
            settings,
            address,
            era: fastrand::u64(..),
            faults: MailFaults::default(),
            changed: watch::Sender::new(0),
            wanted: watch::Sender::new(true),
            listening: watch::Sender::new(true),
            state: Mutex::new(state),
            summaries: Mutex::default(),
        }
    }

    pub(super) fn keep(&self, envelope: Envelope, raw: Vec<u8>) -> u64 {
        let number = self.state().mailbox.keep(jiff::Timestamp::now().as_millisecond(), envelope, Bytes::from(raw));
        self.nudge();
        number
    }

    /// Those that are kept, oldest first, from behind this number.
    pub(super) fn mails_after(&self, number: u64) -> Vec<Arc<ReceivedMail>> {
        let state = self.state();
        let newest_first = state.mailbox.all().rev().take_while(|mail| mail.number > number);
        let mut mails: Vec<_> = newest_first.cloned().collect();
        mails.reverse();
        mails
    }

    pub(super) fn mail(&self, number: u64) -> Option<Arc<ReceivedMail>> {
        self.state().mailbox.get(number).cloned()
    }

    /// The number of the oldest mail that is kept.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.state().mailbox.all().next().map(|mail| mail.number)
    }

    pub(super) fn forget_mails(&self) {
        self.state().mailbox.forget_all();
        self.nudge();
    }

    /// The mail's row, from the parse that somebody has paid already if it was.
    pub(super) fn summary(&self, mail: &ReceivedMail) -> Value {
        let mut summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = summaries.get(&mail.number) {
            return known.clone();
        }
        let oldest = self.oldest().unwrap_or(mail.number).min(mail.number);
        *summaries = summaries.split_off(&oldest);
        let summary = shown::summary(mail);
        summaries.insert(mail.number, summary.clone());
        summary
    }

    pub(super) fn count(&self, work: impl FnOnce(&mut PostCounts)) {
        work(&mut self.state().counts);
        self.nudge();
    }

    pub(super) fn counts(&self) -> PostCounts {
        let state = self.state();
        PostCounts { mails: state.mailbox.taken(), ..state.counts }
    }

    pub(super) fn hear(&self, line: String) {
        {
            let mut state = self.state();
            if state.heard.len() == HEARD_MAX {
                state.heard.pop_front();
            }
            state.heard.push_back(line);
        }
        self.nudge();
    }

    pub(super) fn heard(&self) -> Vec<String> {
        self.state().heard.iter().cloned().collect()
    }

    pub(super) fn target(&self) -> Option<MailTarget> {
        self.state().target.clone()
    }

    pub(super) fn set_target(&self, target: Option<MailTarget>) {
        self.state().target = target;
        self.nudge();
    }

    pub(super) fn desk_address(&self) -> String {
        self.state().desk_address.clone()
    }

    pub(super) fn set_desk_address(&self, address: String) {
        self.state().desk_address = address;
        self.nudge();
    }

    fn nudge(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
