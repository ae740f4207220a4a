//! The client-server API, one function a call. Never retries.

mod fault;
mod look;
mod media;
mod profiles;
mod rooms;
mod sending;
mod server;

use std::{fmt, sync::Arc, time::Duration};

use bridge_api::{Secret, SettingsFault};
use reqwest::{Method, Response, header::HeaderValue};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde_json::Value;
use url::Url;

pub(crate) use fault::CallFault;
pub(crate) use look::{Said, quoted};
pub(crate) use media::MediaRef;
pub(crate) use profiles::Profile;
pub(crate) use rooms::NewRoom;

use crate::ids::UserId;

/// How long a connection may take to open, and a whole call but for files and `/sync`.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: HeaderValue,
    /// Whom our calls speak as, unless they say otherwise. A bot speaks as itself.
    me: Option<UserId>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// The system's root certificates. A homeserver on plain HTTP needs none.
pub(crate) fn tls() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring offers TLS 1.2 and 1.3");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Client {
    pub(crate) fn new(base: Url, token: &Secret, me: Option<UserId>) -> Result<Self, SettingsFault> {
        let unfit = |reason: String| SettingsFault::new("homeserver_url", reason);
        let mut token = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| SettingsFault::new("as_token", "must be the token alone"))?;
        token.set_sensitive(true);
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tls_backend_preconfigured((*tls()).clone())
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("deskbridge/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unfit(error.to_string()))?;
        Ok(Self { http, base, token, me })
    }

    /// Speaks as another of our users.
    pub(crate) fn speaking_as(&self, user: &UserId) -> Self {
        let me = self.me.as_ref().map(|_| user.clone());
        Self { me, ..self.clone() }
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("the settings demand a host").pop_if_empty().extend(segments);
        if let Some(user) = &self.me {
            url.query_pairs_mut().append_pair("user_id", user.as_str());
        }
        url
    }

    fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        self.http.request(method, url).header(reqwest::header::AUTHORIZATION, self.token.clone())
    }

    /// A call with a JSON answer. `limit` counts for the whole of it.
    async fn json(&self, request: reqwest::RequestBuilder, limit: Duration) -> Result<Value, CallFault> {
        let response = request.timeout(limit).send().await.map_err(|error| CallFault::of_transport(&error))?;
        read(response).await
    }

    async fn get(&self, url: Url) -> Result<Value, CallFault> {
        self.json(self.request(Method::GET, url), CALL_LIMIT).await
    }

    async fn post(&self, url: Url, body: &Value) -> Result<Value, CallFault> {
        self.json(self.request(Method::POST, url).json(body), CALL_LIMIT).await
    }

    async fn put(&self, url: Url, body: &Value) -> Result<Value, CallFault> {
        self.json(self.request(Method::PUT, url).json(body), CALL_LIMIT).await
    }
}

async fn read(mut response: Response) -> Result<Value, CallFault> {
    let status = response.status();
    let after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let after = after.map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| CallFault::of_transport(&error))? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(CallFault::Doubtful("the homeserver's answer is too large".to_owned()));
        }
        body.extend_from_slice(&piece);
    }
    let value = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object);
    match (status.as_u16(), value) {
        (200, Some(value)) => Ok(value),
        (200..=299, _) => Err(CallFault::Doubtful("the homeserver's answer is no JSON object".to_owned())),
        (status, value) => Err(CallFault::of_answer(status, after, value.as_ref())),
    }
}
