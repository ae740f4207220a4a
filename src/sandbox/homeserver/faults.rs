//! The homeserver's fault switch: what goes wrong on purpose with calls and with the websocket. Pure bookkeeping.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::pauses::Pauses;

/// Calls that a fault may be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallClass {
    #[default]
    Any,
    /// `/versions`, `/login`, `/register`, `/account`.
    Account,
    Profile,
    /// Making rooms, and coming and going.
    Rooms,
    /// `/send/`.
    Send,
    Redact,
    /// `/state`, members.
    State,
    /// Typing and receipts.
    Ephemeral,
    /// `/messages`, `/event`, `/context`.
    History,
    Upload,
    Download,
    Sync,
    /// Opening the websocket.
    Socket,
    /// The appservice's ping.
    Ping,
}

impl CallClass {
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/_matrix/media/v3/upload") {
            return Self::Upload;
        }
        if path.contains("/media/") {
            return Self::Download;
        }
        if path.ends_with("/fi.mau.as_sync") {
            return Self::Socket;
        }
        // `/_matrix/client/v3/rooms/{id}/send/…`
        let mut parts = path.trim_start_matches("/_matrix/client/").split('/').skip(1);
        match (parts.next(), parts.nth(1)) {
            (Some("sync"), _) => Self::Sync,
            (Some("profile"), _) => Self::Profile,
            (Some("appservice"), _) => Self::Ping,
            (Some("rooms"), Some("send")) => Self::Send,
            (Some("rooms"), Some("redact")) => Self::Redact,
            (Some("rooms"), Some("state" | "members" | "joined_members")) => Self::State,
            (Some("rooms"), Some("typing" | "receipt" | "read_markers")) => Self::Ephemeral,
            (Some("rooms"), Some("messages" | "event" | "context")) => Self::History,
            (Some("rooms" | "join" | "createRoom" | "joined_rooms"), _) => Self::Rooms,
            _ => Self::Account,
        }
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CallFault {
    /// Everything is right, only late.
    Slow { milliseconds: u64 },
    /// 429 with `Retry-After` and `retry_after_ms`.
    TooManyRequests { milliseconds: u64 },
    /// 500 before anything was done.
    ServerError,
    /// A proxy's HTML page.
    BadGateway,
    /// 401 `M_UNKNOWN_TOKEN`; 403 with the same code where the websocket is opened.
    UnknownToken,
    /// 403 `M_FORBIDDEN`.
    Forbidden,
    /// 404 `M_NOT_FOUND`.
    NotFound,
    /// The connection is cut before anything was done.
    Drop,
    /// No answer ever, nothing done.
    Hang,
    /// Nothing done while any rule of the switch holds; afterwards everything is right.
    Hold,
    /// Done; then 500.
    CommitThenServerError,
    /// Done; then a proxy's HTML page.
    CommitThenBadGateway,
    /// Done; then the connection is cut without a byte of the answer.
    CommitThenDrop,
    /// Done; then the connection is cut in the middle of the answer's body.
    CommitThenCut,
    /// Done; no answer ever.
    CommitThenHang,
    /// Done at once; answered late.
    CommitThenSlow { milliseconds: u64 },
}

/// A call's fault with its aim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRule {
    #[serde(default)]
    pub on: CallClass,
    /// `POST`, `GET`, …; every method when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only calls whose raw path and query contain this, e.g. one user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many calls it still strikes; every one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many matching calls pass before it begins.
    #[serde(default)]
    pub skip: u64,
    #[serde(flatten)]
    pub fault: CallFault,
}

/// Class, method, raw path and query of a call.
pub(super) type Asked<'a> = (CallClass, &'a Method, &'a str);

impl CallRule {
    /// Strikes every call of this class.
    pub fn always(on: CallClass, fault: CallFault) -> Self {
        Self { on, method: None, path: None, count: None, skip: 0, fault }
    }

    /// Strikes the next `count` calls of this class.
    pub fn next(count: u64, on: CallClass, fault: CallFault) -> Self {
        Self { count: Some(count), ..Self::always(on, fault) }
    }

    pub(super) fn aims_at(&self, (class, method, path_and_query): Asked<'_>) -> bool {
        (self.on == CallClass::Any || self.on == class)
            && self.method.as_ref().is_none_or(|wanted| method.as_str().eq_ignore_ascii_case(wanted))
            && self.path.as_ref().is_none_or(|part| path_and_query.contains(part))
    }

    /// At exactly the same calls.
    pub(super) fn aims_like(&self, other: &Self) -> bool {
        (self.on, &self.method, &self.path) == (other.on, &other.method, &other.path)
    }
}

/// What goes wrong with the websocket, in place of the next transaction or at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SocketFault {
    /// The connection ends without a close frame. In the wsproxy dialect the transaction is gone.
    Cut,
    /// As [`SocketFault::Cut`], after half of the frame.
    CutMidFrame,
    /// The frame is counted as written, and nobody ever sees it.
    Lose,
    /// The frame is written twice.
    Duplicate,
    /// Waits until so many transactions wait and writes them as one frame.
    Merge {
        transactions: usize,
    },
    /// Waits for two transactions and writes the newer one first.
    Reorder,
    Close {
        code: u16,
        reason: String,
    },
    /// Right, but late.
    Delay {
        milliseconds: u64,
    },
    /// The transaction has so many bytes of padding beside its events.
    Oversized {
        bytes: usize,
    },
    /// Fragments of one message that never ends, up to so many bytes.
    EndlessFragments {
        bytes: usize,
    },
    InvalidUtf8,
    /// A text frame that holds no JSON.
    NotJson,
    /// The same bytes as a binary frame.
    Binary,
    /// The link is half open: nothing is read or written any more.
    Freeze,
}

/// A websocket's fault with its aim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRule {
    /// How many transactions it still strikes; one when left out.
    #[serde(default = "once")]
    pub count: u64,
    /// How many transactions pass before it begins.
    #[serde(default)]
    pub skip: u64,
    #[serde(flatten)]
    pub fault: SocketFault,
}

fn once() -> u64 {
    1
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sheet {
    pub(super) calls: Vec<CallRule>,
    pub(super) socket: Vec<SocketRule>,
}

/// Rules of each list; more are refused.
pub(super) const RULES_MAX: usize = 64;

/// The switch itself.
#[derive(Default)]
pub struct HomeserverFaults {
    set: Mutex<Set>,
    replaced: watch::Sender<()>,
}

#[derive(Default)]
struct Set {
    sheet: Sheet,
    struck: u64,
    pauses: Pauses,
    /// Raw paths and queries.
    held: Vec<String>,
}

impl HomeserverFaults {
    /// Adds a rule for calls behind those that are there; the first that matches strikes.
    pub fn call(&self, rule: CallRule) {
        let mut set = self.set();
        if set.sheet.calls.len() < RULES_MAX {
            set.sheet.calls.push(rule);
        }
    }

    /// The next transaction meets this fault.
    pub fn socket(&self, fault: SocketFault) {
        self.socket_rule(SocketRule { count: 1, skip: 0, fault });
    }

    pub fn socket_rule(&self, rule: SocketRule) {
        let mut set = self.set();
        if set.sheet.socket.len() < RULES_MAX {
            set.sheet.socket.push(rule);
        }
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.replace(Sheet::default());
    }

    /// How many calls and transactions were struck since the start: a test that met no fault has shown nothing.
    pub fn struck(&self) -> u64 {
        self.set().struck
    }

    /// How many calls came where a pause had been asked for, before it was over. Clearing ends no pause.
    pub fn impatient(&self) -> u64 {
        self.set().pauses.impatient()
    }

    /// How many calls with this in their raw path and query are held now. Who hangs up is held no more.
    pub fn held(&self, part: &str) -> usize {
        self.set().held.iter().filter(|path| path.contains(part)).count()
    }

    pub(super) fn replace(&self, sheet: Sheet) {
        self.set().sheet = sheet;
        self.replaced.send_replace(());
    }

    pub(super) fn sheet(&self) -> Sheet {
        self.set().sheet.clone()
    }

    /// The fault for this call, which it uses up.
    pub(super) fn pick_call(&self, path_and_query: &str, method: &Method, now: Instant) -> Option<CallFault> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let asked = (CallClass::of(path), method, path_and_query);
        let mut set = self.set();
        set.pauses.see(asked, now);
        for rule in &mut set.sheet.calls {
            if !rule.aims_at(asked) || rule.count == Some(0) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.count = rule.count.map(|count| count - 1);
            let rule = rule.clone();
            set.struck += 1;
            set.pauses.begin(&rule, now);
            return Some(rule.fault);
        }
        None
    }

    /// Holds a call. Returns when no rule holds any more.
    pub(super) async fn hold(&self, path_and_query: &str) {
        let mut replaced = self.replaced.subscribe();
        let _held = Held::new(self, path_and_query);
        while self.set().sheet.calls.iter().any(|rule| rule.fault == CallFault::Hold) {
            // It cannot end: the sender is ours.
            drop(replaced.changed().await);
        }
    }

    /// The fault for the next transaction, which it uses up. `ready` says whether a fault can strike already.
    pub(super) fn pick_socket(&self, ready: impl Fn(&SocketFault) -> bool) -> Picked {
        let mut set = self.set();
        set.sheet.socket.retain(|rule| rule.count > 0);
        let Some(rule) = set.sheet.socket.first_mut() else { return Picked::Nothing };
        if rule.skip > 0 {
            rule.skip -= 1;
            return Picked::Nothing;
        }
        if !ready(&rule.fault) {
            return Picked::Wait;
        }
        rule.count -= 1;
        let fault = rule.fault.clone();
        set.struck += 1;
        Picked::Fault(fault)
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is held for as long as its client waits.
struct Held<'a> {
    faults: &'a HomeserverFaults,
    path_and_query: &'a str,
}

impl<'a> Held<'a> {
    fn new(faults: &'a HomeserverFaults, path_and_query: &'a str) -> Self {
        faults.set().held.push(path_and_query.to_owned());
        Self { faults, path_and_query }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = &mut self.faults.set().held;
        held.iter().position(|path| path == self.path_and_query).map(|at| held.swap_remove(at));
    }
}

pub(super) enum Picked {
    Nothing,
    /// The fault needs more transactions than there are.
    Wait,
    Fault(SocketFault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_belongs_to_one_class() {
        let check = |path: &str, class| assert_eq!(CallClass::of(path), class, "{path}");
        check("/_matrix/client/v3/rooms/%21r/send/m.room.message/1", CallClass::Send);
        check("/_matrix/client/v3/rooms/%21r/redact/%24e/1", CallClass::Redact);
        check("/_matrix/client/v3/rooms/%21r/state/m.room.name/", CallClass::State);
        check("/_matrix/client/v3/rooms/%21r/typing/%40kim", CallClass::Ephemeral);
        check("/_matrix/client/v3/rooms/%21r/messages", CallClass::History);
        check("/_matrix/client/v3/rooms/%21r/invite", CallClass::Rooms);
        check("/_matrix/client/v3/join/%21r", CallClass::Rooms);
        check("/_matrix/client/v3/createRoom", CallClass::Rooms);
        check("/_matrix/client/v3/profile/%40kim/displayname", CallClass::Profile);
        check("/_matrix/client/v3/sync", CallClass::Sync);
        check("/_matrix/client/versions", CallClass::Account);
        check("/_matrix/client/v3/account/whoami", CallClass::Account);
        check("/_matrix/client/v1/appservice/x/ping", CallClass::Ping);
        check("/_matrix/media/v3/upload", CallClass::Upload);
        check("/_matrix/client/v1/media/download/s/x", CallClass::Download);
        check("/_matrix/client/unstable/fi.mau.as_sync", CallClass::Socket);
    }

    #[test]
    fn a_counted_rule_strikes_that_often_after_those_it_skips() {
        let faults = HomeserverFaults::default();
        let rule = CallRule::next(2, CallClass::Send, CallFault::ServerError);
        faults.call(CallRule { skip: 1, path: Some("%40kim".to_owned()), ..rule });
        let (path, now) = ("/_matrix/client/v3/rooms/%21r/send/m.room.message/1", Instant::now());
        assert_eq!(faults.pick_call(path, &Method::PUT, now), None, "the path does not match");
        let kims = format!("{path}?user_id=%40kim");
        let struck = [(); 4].map(|()| faults.pick_call(&kims, &Method::PUT, now).is_some());
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.struck(), 2);
    }

    #[test]
    fn a_sheet_is_read_as_it_is_written() {
        let text = r#"{"calls":[{"on":"send","count":1,"kind":"too_many_requests","milliseconds":884}],
            "socket":[{"kind":"close","code":4001,"reason":"x"},{"skip":2,"kind":"merge","transactions":3}]}"#;
        let sheet: Sheet = serde_json::from_str(text).unwrap();
        assert_eq!((sheet.socket[0].count, sheet.socket[1].skip), (1, 2));
        let again: Sheet = serde_json::from_str(&serde_json::to_string(&sheet).unwrap()).unwrap();
        assert_eq!(again, sheet);
        assert!(serde_json::from_str::<Sheet>(r#"{"call":[]}"#).is_err());
    }
}
