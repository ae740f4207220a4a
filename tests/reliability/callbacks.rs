//! Between the inbox and the gateway's door: passes callbacks on, and remembers which messages were answered 200. From
//! then on they are the gateway's.

use std::{
    collections::HashMap,
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
    peers::{
        door::Out,
        server::{Server, forward},
    },
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
    /// Messages of which a call was answered 200, and as how many-th.
    taken: Mutex<HashMap<u64, usize>>,
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
        self.taken().contains_key(&message)
    }

    /// Which of these were taken after one that was written later.
    pub(crate) fn overtaken(&self, messages: &[u64]) -> Vec<bool> {
        let (taken, mut earliest) = (self.taken(), usize::MAX);
        let place = |id: &u64| taken.get(id).copied().unwrap_or(usize::MAX);
        let mut overtaken: Vec<_> = messages
            .iter()
            .rev()
            .map(|id| {
                let is_overtaken = earliest < place(id);
                earliest = earliest.min(place(id));
                is_overtaken
            })
            .collect();
        overtaken.reverse();
        overtaken
    }

    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_BYTES_MAX).await else {
        return Response::builder().status(StatusCode::BAD_REQUEST).body(Body::empty()).expect("a valid answer");
    };
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let count = shared.targets.len();
    let first = shared.next.fetch_add(1, Ordering::Relaxed);
    // Only to one: whoever died over it may have kept it.
    let turn = (0..count).map(|step| (first + step) % count).find(|who| !shared.out.has(*who)).unwrap_or_default();
    let answer = forward(&shared.targets[turn], Request::from_parts(parts, Body::from(bytes))).await;
    if answer.status() == StatusCode::OK {
        if let Some(id) = said["id"].as_u64().filter(|_| said["event"] == "message_created") {
            let mut taken = shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let place = taken.len();
            taken.entry(id).or_insert(place);
        }
    } else if answer.status() != StatusCode::BAD_GATEWAY {
        // A bad gateway is what `forward` makes of nobody.
        shared.refused.fetch_add(1, Ordering::Relaxed);
    }
    answer
}
