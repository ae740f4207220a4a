//! The fault switch: what goes wrong on purpose, how often, and where. Pure bookkeeping; others act on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// Requests that a fault may be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteClass {
    /// Every request of the application API, and files.
    #[default]
    Any,
    /// Contacts, their links, look-ups and merges.
    Contacts,
    /// Conversations, but not what is said in them.
    Conversations,
    /// `…/conversations/{id}/messages` and below.
    Messages,
    Inboxes,
    Files,
    /// `/health`, `/api`, the profile and the account.
    Probes,
}

impl RouteClass {
    /// The class of a path; None for the sandbox's own pages and hooks, which no fault reaches.
    pub(super) fn of(path: &str) -> Option<Self> {
        if path.starts_with("/rails/") {
            return Some(Self::Files);
        }
        let Some(rest) = path.strip_prefix("/api/v1/accounts/") else {
            return (path == "/health" || path == "/api" || path.starts_with("/api/")).then_some(Self::Probes);
        };
        let mut parts = rest.split('/').skip(1);
        match parts.next() {
            Some("contacts" | "contact_inboxes" | "actions") => Some(Self::Contacts),
            Some("conversations") if parts.nth(1) == Some("messages") => Some(Self::Messages),
            Some("conversations") => Some(Self::Conversations),
            Some("inboxes" | "inbox_members") => Some(Self::Inboxes),
            Some(_) | None => Some(Self::Probes),
        }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RouteFault {
    /// Everything is right, only late.
    Slow { milliseconds: u64 },
    /// 429 as `Rack::Attack` says it: plain text, no `Retry-After`.
    TooManyRequests,
    /// 500 before anything was stored.
    ServerError,
    /// 422 with an exception's text, before anything was stored.
    Unprocessable,
    /// A proxy's HTML page.
    BadGateway,
    /// 401: the token is not known any more.
    Unauthorized,
    /// 401 for another reason.
    Denied { why: Denial },
    /// The connection is cut before anything was stored.
    Drop,
    /// No answer ever, nothing stored.
    Hang,
    /// Stored; then the connection is cut without a byte of the answer.
    CommitThenDrop,
    /// Stored; then the connection is cut in the middle of the answer's body.
    CommitThenCut,
    /// Stored; then 500.
    CommitThenServerError,
    /// Stored; then 422 with an exception's text: Chatwoot rescues what its hooks raise.
    CommitThenUnprocessable,
    /// Stored; then a proxy's HTML page.
    CommitThenBadGateway,
    /// Stored at once; answered late.
    CommitThenSlow { milliseconds: u64 },
    /// Stored; no answer ever.
    CommitThenHang,
}

/// Why a request is not allowed, although its token is known. Chatwoot says all of it with 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// Something on the way has dropped the token.
    NoToken,
    /// Its owner is in another account.
    OtherAccount,
    /// It is an agent bot's, or a platform app's.
    Bot,
    Suspended,
    /// Its owner is no member of the inbox, or no administrator.
    NotPermitted,
}

/// A fault with its aim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteRule {
    #[serde(default)]
    pub on: RouteClass,
    /// `POST`, `GET`, …; every method when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How many requests it still strikes; every one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many matching requests pass before it begins.
    #[serde(default)]
    pub skip: u64,
    /// The chance to strike a request that matches, from 0 to 1.
    #[serde(default = "certain")]
    pub probability: f64,
    #[serde(flatten)]
    pub fault: RouteFault,
}

fn certain() -> f64 {
    1.0
}

impl RouteRule {
    /// Strikes every request of this class.
    pub fn always(on: RouteClass, fault: RouteFault) -> Self {
        Self { on, method: None, count: None, skip: 0, probability: certain(), fault }
    }

    /// Strikes the next `count` requests of this class and method.
    pub fn next(count: u64, on: RouteClass, method: &Method, fault: RouteFault) -> Self {
        Self { method: Some(method.to_string()), count: Some(count), ..Self::always(on, fault) }
    }
}

/// How a callback is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicate {
    /// As when the delivery job runs again.
    SameDelivery,
    /// As when the dispatching job runs again.
    NewDelivery,
}

/// How a callback is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signing {
    #[default]
    Right,
    /// With some other key.
    Wrong,
    /// Not at all, as before 4.13.0.
    Absent,
}

/// What goes wrong with callbacks. All of it is off by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackFaults {
    pub duplicate: Option<Duplicate>,
    /// Gathers this many callbacks and sends them newest first; 0 or 1: in order.
    pub reorder: usize,
    /// Keeps callbacks back until it is false again.
    pub hold: bool,
    /// Loses the first `drop` of every `drop_of`, in silence: nothing is marked failed.
    pub drop: u64,
    pub drop_of: u64,
    pub signing: Signing,
    /// Waits this long before each callback.
    pub delay_milliseconds: u64,
    /// Answers a request only after the callbacks it caused have been delivered.
    pub before_response: bool,
    /// Keeps callbacks of this event only, e.g. `message_created`, for drop and duplicate; all when left out.
    pub only: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FaultSheet {
    pub(super) routes: Vec<RouteRule>,
    pub(super) callbacks: CallbackFaults,
    /// Redis is away, as `GET /api` tells it.
    pub(super) queue_down: bool,
    /// The next so many downloads answer 404: the upload has not finished.
    pub(super) files_not_ready: u64,
}

/// Rules of one fault sheet; more are refused.
pub(super) const ROUTE_RULES_MAX: usize = 64;

/// The switch itself. Cheap to ask while nothing is set.
pub struct Faults {
    armed: AtomicBool,
    sheet: Mutex<Set>,
}

struct Set {
    sheet: FaultSheet,
    random: fastrand::Rng,
    dropped_turn: u64,
    struck: u64,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ 0xfa17);
        let set = Set { sheet: FaultSheet::default(), random, dropped_turn: 0, struck: 0 };
        Self { armed: AtomicBool::new(false), sheet: Mutex::new(set) }
    }

    /// Adds a rule behind those that are there; the first that matches strikes.
    pub fn add(&self, rule: RouteRule) {
        let mut set = self.set();
        if set.sheet.routes.len() < ROUTE_RULES_MAX {
            set.sheet.routes.push(rule);
        }
        self.armed.store(true, Ordering::Release);
    }

    /// Replaces what goes wrong with callbacks.
    pub fn callbacks(&self, faults: CallbackFaults) {
        self.set().sheet.callbacks = faults;
    }

    /// Tells that Redis is away, or that it is back.
    pub fn queue_down(&self, down: bool) {
        self.set().sheet.queue_down = down;
    }

    /// Lets the next `count` downloads answer 404.
    pub fn files_not_ready(&self, count: u64) {
        self.set().sheet.files_not_ready = count;
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.replace(FaultSheet::default());
    }

    /// How many requests were struck since the start: a test that met no fault has shown nothing.
    pub fn struck(&self) -> u64 {
        self.set().struck
    }

    pub(super) fn replace(&self, sheet: FaultSheet) {
        self.armed.store(!sheet.routes.is_empty(), Ordering::Release);
        self.set().sheet = sheet;
    }

    pub(super) fn sheet(&self) -> FaultSheet {
        self.set().sheet.clone()
    }

    pub(super) fn callback_faults(&self) -> CallbackFaults {
        self.set().sheet.callbacks.clone()
    }

    pub(super) fn held(&self) -> bool {
        self.set().sheet.callbacks.hold
    }

    pub(super) fn queue_is_down(&self) -> bool {
        self.set().sheet.queue_down
    }

    /// The fault for this request, which it uses up.
    pub(super) fn pick(&self, class: RouteClass, method: &Method) -> Option<RouteFault> {
        if !self.armed.load(Ordering::Acquire) {
            return None;
        }
        let mut set = self.set();
        let Set { sheet, random, struck, .. } = &mut *set;
        for rule in &mut sheet.routes {
            let here = (rule.on == RouteClass::Any || rule.on == class)
                && rule.method.as_ref().is_none_or(|wanted| method.as_str().eq_ignore_ascii_case(wanted));
            if !here || rule.count == Some(0) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.probability < 1.0 && random.f64() >= rule.probability {
                continue;
            }
            rule.count = rule.count.map(|count| count - 1);
            *struck += 1;
            return Some(rule.fault.clone());
        }
        None
    }

    /// Whether this callback is one of those to lose.
    pub(super) fn loses_callback(&self, event: &str) -> bool {
        let mut set = self.set();
        let faults = &set.sheet.callbacks;
        if faults.drop == 0 || faults.drop_of == 0 || faults.only.as_deref().is_some_and(|only| only != event) {
            return false;
        }
        let lost = set.dropped_turn % faults.drop_of < faults.drop;
        set.dropped_turn += 1;
        lost
    }

    pub(super) fn file_is_not_ready(&self) -> bool {
        let mut set = self.set();
        let waiting = set.sheet.files_not_ready > 0;
        set.sheet.files_not_ready = set.sheet.files_not_ready.saturating_sub(1);
        waiting
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        self.sheet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_one_class() {
        let check = |path: &str, class| assert_eq!(RouteClass::of(path), class, "{path}");
        check("/api/v1/accounts/1/contacts/501", Some(RouteClass::Contacts));
        check("/api/v1/accounts/1/contact_inboxes/filter", Some(RouteClass::Contacts));
        check("/api/v1/accounts/1/actions/contact_merge", Some(RouteClass::Contacts));
        check("/api/v1/accounts/1/conversations", Some(RouteClass::Conversations));
        check("/api/v1/accounts/1/conversations/42/labels", Some(RouteClass::Conversations));
        check("/api/v1/accounts/1/conversations/42/messages", Some(RouteClass::Messages));
        check("/api/v1/accounts/1/conversations/42/messages/9001", Some(RouteClass::Messages));
        check("/api/v1/accounts/1/inboxes/7", Some(RouteClass::Inboxes));
        check("/api/v1/accounts/1", Some(RouteClass::Probes));
        check("/api/v1/profile", Some(RouteClass::Probes));
        check("/health", Some(RouteClass::Probes));
        check("/rails/active_storage/blobs/redirect/x/cat.png", Some(RouteClass::Files));
        check("/sandbox/faults", None);
        check("/", None);
    }

    #[test]
    fn a_counted_rule_strikes_that_often_after_those_it_skips() {
        let faults = Faults::new(1);
        let mut rule = RouteRule::next(2, RouteClass::Messages, &Method::POST, RouteFault::CommitThenDrop);
        rule.skip = 1;
        faults.add(rule);
        let pick = |class, method| faults.pick(class, &method).is_some();
        assert!(!pick(RouteClass::Messages, Method::GET), "other methods pass");
        assert!(!pick(RouteClass::Contacts, Method::POST), "other classes pass");
        let struck = [(); 4].map(|()| pick(RouteClass::Messages, Method::POST));
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.struck(), 2);
    }

    #[test]
    fn a_probability_is_kept_roughly() {
        let faults = Faults::new(7);
        let rule = RouteRule { probability: 0.25, ..RouteRule::always(RouteClass::Any, RouteFault::ServerError) };
        faults.add(rule);
        let struck = (0..4_000).filter(|_| faults.pick(RouteClass::Messages, &Method::GET).is_some()).count();
        assert!((800..1_200).contains(&struck), "{struck} of 4000");
    }

    #[test]
    fn k_of_n_callbacks_are_lost() {
        let faults = Faults::new(1);
        let only = Some("message_created".to_owned());
        faults.callbacks(CallbackFaults { drop: 2, drop_of: 3, only, ..CallbackFaults::default() });
        let lost = [(); 6].map(|()| faults.loses_callback("message_created"));
        assert_eq!(lost, [true, true, false, true, true, false]);
        assert!(!faults.loses_callback("conversation_updated"));
    }

    #[test]
    fn a_sheet_is_read_as_it_is_written() {
        let text = r#"{"routes":[{"on":"messages","method":"POST","count":1,"kind":"commit_then_slow","milliseconds":20}],
            "callbacks":{"duplicate":"same_delivery","signing":"absent"}}"#;
        let sheet: FaultSheet = serde_json::from_str(text).unwrap();
        assert_eq!(sheet.routes[0].fault, RouteFault::CommitThenSlow { milliseconds: 20 });
        let again: FaultSheet = serde_json::from_str(&serde_json::to_string(&sheet).unwrap()).unwrap();
        assert_eq!(again, sheet);
        assert!(serde_json::from_str::<FaultSheet>(r#"{"callbacks":{"dupicate":null}}"#).is_err());
    }
}
