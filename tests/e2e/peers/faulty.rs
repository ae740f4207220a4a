//! A homeserver behind a load balancer that has a bad day: real answers, and the wrong ones a test asks for.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::State, response::IntoResponse};
use hyper::{Request, Response, StatusCode};
use reqwest::Method;
use serde_json::json;

use super::server::{Server, forward, hang_up};
use crate::process::free_port;

/// Clients count their waits in whole milliseconds, and round down.
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// 429, with how long to wait in both of its forms.
    TooMany {
        seconds: u64,
    },
    BadGateway,
    /// No answer for so long, then none at all.
    Hang(Duration),
    /// Closes the connection at once.
    HangUp,
}

/// Strikes requests of this method whose path contains these words, so many times.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) times: usize,
    /// The request is carried out first, and only its answer lost.
    pub(crate) carried_out: bool,
    pub(crate) fault: Fault,
}

impl Rule {
    fn aims_at(&self, method: &Method, path: &str) -> bool {
        self.method == *method && path.contains(self.path)
    }
}

/// A request, and the status it was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) status: u16,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _server: Server,
}

#[derive(Debug)]
struct Shared {
    target: String,
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Vec<Call>>,
    pauses: Mutex<Pauses>,
}

/// What requests were told to wait for.
#[derive(Debug, Default)]
struct Pauses {
    /// Who said so, and when the wait is over.
    open: Vec<(Rule, Instant)>,
    impatient: usize,
}

impl Faulty {
    pub(crate) fn to(target: &str) -> Self {
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            rules: Mutex::default(),
            calls: Mutex::default(),
            pauses: Mutex::default(),
        });
        let port = free_port();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        Self { port, shared, _server: Server::on(port, router) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn add(&self, rule: Rule) {
        locked(&self.shared.rules).push(rule);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn clear(&self) {
        locked(&self.shared.rules).clear();
    }

    /// How many requests the rules have yet to strike. A test that met no fault has shown nothing.
    pub(crate) fn strikes_left(&self) -> usize {
        locked(&self.shared.rules).iter().map(|rule| rule.times).sum()
    }

    /// How many requests came that a rule had told to wait, before the wait was over.
    pub(crate) fn impatient(&self) -> usize {
        locked(&self.shared.pauses).impatient
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        locked(&self.shared.calls).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn strike(&self, method: &Method, path: &str) -> Option<Rule> {
        let (mut rules, mut pauses, now) = (locked(&self.rules), locked(&self.pauses), Instant::now());
        pauses.open.retain(|(_, over)| now + TICK < *over);
        if pauses.open.iter().any(|(rule, _)| rule.aims_at(method, path)) {
            pauses.impatient += 1;
        }
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && rule.aims_at(method, path))?;
        rule.times -= 1;
        if let Fault::TooMany { seconds } = rule.fault {
            pauses.open.push((rule.clone(), now + Duration::from_secs(seconds)));
        }
        Some(rule.clone())
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().to_string());
    let response = match shared.strike(&method, &path) {
        None => forward(&shared.target, request).await,
        Some(rule) => {
            if rule.carried_out {
                drop(forward(&shared.target, request).await);
            }
            fail(rule.fault).await
        }
    };
    locked(&shared.calls).push(Call { method, path, status: response.status().as_u16() });
    response
}

async fn fail(fault: Fault) -> Response<Body> {
    match fault {
        Fault::TooMany { seconds } => {
            let body = json!({
                "errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": seconds * 1000,
            });
            let headers = [("retry-after", seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers, axum::Json(body)).into_response()
        }
        Fault::BadGateway => (StatusCode::BAD_GATEWAY, "<html><h1>502 Bad Gateway</h1></html>").into_response(),
        Fault::Hang(wait) => {
            tokio::time::sleep(wait).await;
            hang_up()
        }
        Fault::HangUp => hang_up(),
    }
}
