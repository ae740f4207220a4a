//! What every task of the homeserver shares: the house behind its mutex, the switch, the record of calls.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::HomeserverSettings;
use super::faults::HomeserverFaults;
use super::house::House;
use super::link::Board;
use super::push::Pusher;

/// Calls that are remembered; the oldest are forgotten.
const CALLS_MAX: usize = 20_000;

/// One call as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub method: String,
    /// Raw, with its query.
    pub path: String,
    pub user_agent: String,
    /// None while it is under way, and for ever when the connection was cut.
    pub status: Option<u16>,
}

pub(in crate::sandbox) struct Core {
    pub(super) settings: HomeserverSettings,
    pub(super) faults: HomeserverFaults,
    pub(super) board: Board,
    pub(super) pusher: Pusher,
    pub(super) tasks: TaskTracker,
    /// Moves whenever something changed.
    pub(super) changed: watch::Sender<u64>,
    house: Mutex<House>,
    calls: Mutex<(u64, VecDeque<(u64, Call)>)>,
}

impl Core {
    pub(in crate::sandbox) fn new(settings: HomeserverSettings, tasks: TaskTracker) -> Result<Self, reqwest::Error> {
        Ok(Self {
            pusher: Pusher::new(settings.push_url.clone())?,
            faults: HomeserverFaults::default(),
            board: Board::default(),
            tasks,
            changed: watch::Sender::new(0),
            house: Mutex::new(House::new(settings.clone())),
            calls: Mutex::default(),
            settings,
        })
    }

    /// Changes the house, and wakes whoever waits for news.
    pub(super) fn change<T>(&self, work: impl FnOnce(&mut House) -> T) -> T {
        let mut house = self.house();
        house.now_ms = jiff::Timestamp::now().as_millisecond();
        let outcome = work(&mut house);
        house.outbox.seal();
        drop(house);
        self.nudge();
        outcome
    }

    pub(super) fn look<T>(&self, work: impl FnOnce(&House) -> T) -> T {
        let mut house = self.house();
        house.now_ms = jiff::Timestamp::now().as_millisecond();
        work(&house)
    }

    pub(super) fn nudge(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Notes a call and returns its number.
    pub(super) fn note_call(&self, call: Call) -> u64 {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.0 += 1;
        let number = calls.0;
        if calls.1.len() == CALLS_MAX {
            calls.1.pop_front();
        }
        calls.1.push_back((number, call));
        number
    }

    pub(super) fn note_status(&self, number: u64, status: u16) {
        {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, call)) = calls.1.iter_mut().rev().find(|(other, _)| *other == number) {
                call.status = Some(status);
            }
        }
        self.nudge();
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.1.iter().map(|(_, call)| call.clone()).collect()
    }

    fn house(&self) -> MutexGuard<'_, House> {
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
