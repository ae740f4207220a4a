//! Between the inbox and the gateway's door: passes callbacks on, and remembers which messages were answered 200. From
//! then on they are the gateway's.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
};
use hyper::{Request, Response, StatusCode};
use serde_json::Value;

use crate::{
    door::Out,
    peers::server::{Server, forward},
    process::free_port,
};

const BODY_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Callbacks {
    port: u16,
    shared: Arc<Shared>,
    _server: Server,
}

#[derive(Debug, Default)]
struct Shared {
    /// Addresses of gateways, which take turns.
    targets: Vec<String>,
    out: Out,
    next: AtomicUsize,
    taken: Mutex<HashSet<u64>>,
    /// Calls that nobody has answered with 200, by message, of which the inbox may make several.
    unanswered: Mutex<HashMap<u64, usize>>,
    /// Answered by the gateway itself, and not with 200.
    refused: AtomicUsize,
}

impl Callbacks {
    /// `targets` are everything of the gateways' addresses before the path.
    pub(crate) fn to(targets: Vec<String>, out: Out) -> Self {
        let shared = Arc::new(Shared { targets, out, ..Shared::default() });
        let port = free_port();
        let router = Router::new().fallback(pass).with_state(shared.clone());
        Self { port, shared, _server: Server::on(port, router) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn is_taken(&self, message: u64) -> bool {
        self.taken().contains(&message)
    }

    /// Each call was answered 200, so that nothing kept one behind those that were made later.
    pub(crate) fn is_taken_at_once(&self, message: u64) -> bool {
        self.is_taken(message) && !self.shared.unanswered().contains_key(&message)
    }

    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn unanswered(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_BYTES_MAX).await else {
        return Response::builder().status(StatusCode::BAD_REQUEST).body(Body::empty()).expect("a valid answer");
    };
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = said["id"].as_u64().filter(|_| said["event"] == "message_created");
    if let Some(id) = message {
        *shared.unanswered().entry(id).or_default() += 1;
    }
    let count = shared.targets.len();
    let first = shared.next.fetch_add(1, Ordering::Relaxed);
    // Only to one: whoever died over it may have kept it.
    let turn = (0..count).map(|step| (first + step) % count).find(|who| !shared.out.has(*who)).unwrap_or_default();
    let answer = forward(&shared.targets[turn], Request::from_parts(parts, Body::from(bytes))).await;
    if answer.status() == StatusCode::OK {
        if let Some(id) = message {
            shared.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            let mut unanswered = shared.unanswered();
            let left = unanswered.remove(&id).unwrap_or_default().saturating_sub(1);
            if left > 0 {
                unanswered.insert(id, left);
            }
        }
    } else if answer.status() != StatusCode::BAD_GATEWAY {
        // A bad gateway is what `forward` makes of nobody.
        shared.refused.fetch_add(1, Ordering::Relaxed);
    }
    answer
}
