//! A gateway at work, as other commands reach it: through its control socket, whose file mode is the guard.

use std::{path::Path, time::Duration};

use reqwest::{Client, RequestBuilder, Url};
use serde_json::Value;

use super::CONTROL_SOCKET;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A gateway that answers.
#[derive(Debug)]
pub struct Live {
    client: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("the gateway does not answer: {0}")]
    Silent(String),
    /// In its own words.
    #[error("{0}")]
    Refused(String),
}

impl Live {
    /// `None` when no gateway runs on this data directory.
    pub fn reach(data_dir: &Path) -> Result<Option<Self>, LiveError> {
        let socket = data_dir.join(CONTROL_SOCKET);
        if std::os::unix::net::UnixStream::connect(&socket).is_err() {
            return Ok(None);
        }
        // The client asks for one although nothing here is encrypted. Whoever came first has chosen; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().unix_socket(socket).timeout(ANSWER_LIMIT).build();
        client.map(|client| Some(Self { client })).map_err(|error| LiveError::Silent(error.to_string()))
    }

    /// What stands at a path of the control socket, such as `/admin/outbox`.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, LiveError> {
        let url = Url::parse_with_params(&at(path), query).map_err(|error| LiveError::Silent(error.to_string()))?;
        ask(self.client.get(url)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, LiveError> {
        ask(self.client.post(at(path)).json(body)).await
    }

    /// The same for what may take this long.
    pub async fn post_within(&self, path: &str, body: &Value, limit: Duration) -> Result<Value, LiveError> {
        ask(self.client.post(at(path)).timeout(limit).json(body)).await
    }

    /// How it is, and whether it is ready.
    pub async fn ready(&self) -> Result<Value, LiveError> {
        let answer = self.client.get(at("/readyz")).send().await;
        answer.map_err(silent)?.json().await.map_err(silent)
    }
}

fn at(path: &str) -> String {
    format!("http://control{path}")
}

async fn ask(request: RequestBuilder) -> Result<Value, LiveError> {
    let answer = request.send().await.map_err(silent)?;
    let fine = answer.status().is_success();
    let body: Value = answer.json().await.map_err(silent)?;
    if fine {
        return Ok(body);
    }
    Err(LiveError::Refused(body["error"].as_str().unwrap_or("the gateway refused").to_owned()))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where a function of the error is wanted")]
fn silent(error: reqwest::Error) -> LiveError {
    LiveError::Silent(error.to_string())
}
