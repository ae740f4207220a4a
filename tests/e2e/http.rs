//! Plain HTTP for tests that have no runtime of their own.

use std::{sync::LazyLock, time::Duration};

use reqwest::Method;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

static CLIENT: LazyLock<(Runtime, reqwest::Client)> = LazyLock::new(|| {
    // Whoever came first has chosen the provider; any of them will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
    (runtime, builder.build().expect("a client is built"))
});

/// Where servers of the tests' own live.
pub(crate) fn runtime() -> &'static Runtime {
    &CLIENT.0
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// `Err` is the transport's: refused, cut, timed out.
pub(crate) fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Result<Answer, String> {
    let (runtime, client) = &*CLIENT;
    runtime.block_on(async {
        let mut request = client.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        Ok(Answer { status, body: answer.text().await.map_err(|error| format!("{error:?}"))? })
    })
}

/// The body as it is, after redirects.
pub(crate) fn bytes(url: &str) -> Result<Vec<u8>, String> {
    let (runtime, client) = &*CLIENT;
    runtime.block_on(async {
        let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let bytes = answer.map_err(|error| format!("{error:?}"))?.bytes().await;
        bytes.map(Vec::from).map_err(|error| format!("{error:?}"))
    })
}

pub(crate) fn get(url: &str) -> Result<Answer, String> {
    request(Method::GET, url, &[], None)
}

pub(crate) fn post_json(url: &str, body: &Value) -> Result<Answer, String> {
    request(Method::POST, url, &[("content-type", "application/json")], Some(body.to_string().into_bytes()))
}
