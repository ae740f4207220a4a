//! A callback receiver: keeps what comes, and answers as it is told.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) json: Value,
}

impl Delivery {
    pub(crate) fn event(&self) -> &str {
        self.json["event"].as_str().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let (Some(timestamp), Some(signature)) =
            (self.header("X-Chatwoot-Timestamp"), self.header("X-Chatwoot-Signature"))
        else {
            return false;
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        signature == format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<(Vec<Delivery>, Option<StatusCode>)>>);

pub(crate) struct Receiver {
    kept: Kept,
    pub(crate) url: String,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let kept = Kept::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/callbacks/support", listener.local_addr().unwrap());
        let router = Router::new().route("/callbacks/support", post(keep)).with_state(kept.clone());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            axum::serve(listener, router).await.unwrap();
        }));
        Self { kept, url, tasks, stop }
    }

    /// What came so far, in the order it came.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.kept.0.lock().unwrap().0.clone()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.deliveries().iter().map(|delivery| delivery.event().to_owned()).collect()
    }

    pub(crate) fn first(&self, fits: impl Fn(&Value) -> bool) -> Option<Delivery> {
        self.deliveries().into_iter().find(|delivery| fits(&delivery.json))
    }

    pub(crate) fn clear(&self) {
        self.kept.0.lock().unwrap().0.clear();
    }

    /// None: 200.
    pub(crate) fn answer_with(&self, status: Option<StatusCode>) {
        self.kept.0.lock().unwrap().1 = status;
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn keep(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let json = serde_json::from_slice(&body).unwrap();
    let mut kept = kept.0.lock().unwrap();
    kept.0.push(Delivery { headers, body, json });
    kept.1.unwrap_or(StatusCode::OK)
}
