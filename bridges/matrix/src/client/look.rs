//! Calls of a look at the wiring: what came back is told to an operator, so a refusal is an answer like any other.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use reqwest::{Method, RequestBuilder, header::DATE};
use serde_json::{Value, json};

use super::{CallFault, Client};
use crate::{ids::UserId, wire::text};

/// No answer to these is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Most characters of a server's words that are shown.
const WORDS_MAX: usize = 200;

/// What a homeserver, or whoever stands there instead, answered.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    /// By its clock.
    pub(crate) at: Option<SystemTime>,
    /// Null when it is no JSON.
    pub(crate) body: Value,
}

impl Said {
    pub(crate) fn is(&self, code: &str) -> bool {
        text(&self.body, &["errcode"]) == Some(code)
    }

    pub(crate) fn word(&self, key: &str) -> Option<&str> {
        text(&self.body, &[key])
    }
}

/// The status, and what there is of a code and of words, on one line.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for key in ["errcode", "error"] {
            if let Some(word) = self.word(key).filter(|word| !word.is_empty()) {
                write!(f, " {}", quoted(word))?;
            }
        }
        Ok(())
    }
}

/// Foreign words on one line: quoted, escaped, and not too many. A code is shown as it is.
pub(crate) fn quoted(words: &str) -> String {
    let cut: String = words.chars().take(WORDS_MAX).collect();
    if cut.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        cut
    } else {
        format!("{cut:?}")
    }
}

impl Client {
    /// As ourselves, whoever our other calls speak as.
    fn bare(&self, segments: &[&str]) -> url::Url {
        let mut url = self.url(segments);
        url.set_query(None);
        url
    }

    pub(crate) async fn ask_versions(&self, limit: Duration) -> Result<Said, CallFault> {
        // Without our token: some servers look at it even here, and it is the next step's matter.
        self.ask(self.http.get(self.bare(&["_matrix", "client", "versions"])), limit).await
    }

    /// Its program, where the homeserver tells it here.
    pub(crate) async fn ask_program(&self, limit: Duration) -> Option<String> {
        let url = self.bare(&["_matrix", "federation", "v1", "version"]);
        let said = self.ask(self.http.get(url), limit).await.ok().filter(|said| said.status == 200)?;
        let server = said.body.get("server")?;
        Some(format!("{} {}", quoted(text(server, &["name"])?), quoted(text(server, &["version"])?)))
    }

    /// Whose our token is; with `user`, whether it may speak for them.
    pub(crate) async fn ask_whoami(&self, user: Option<&UserId>, limit: Duration) -> Result<Said, CallFault> {
        let mut url = self.bare(&["_matrix", "client", "v3", "account", "whoami"]);
        if let Some(user) = user {
            url.query_pairs_mut().append_pair("user_id", user.as_str());
        }
        self.ask(self.request(Method::GET, url), limit).await
    }

    pub(crate) async fn ask_ping(&self, id: &str, limit: Duration) -> Result<Said, CallFault> {
        let url = self.bare(&["_matrix", "client", "v1", "appservice", id, "ping"]);
        let body = json!({ "transaction_id": "deskbridge-look" });
        self.ask(self.request(Method::POST, url).json(&body), limit).await
    }

    /// A `/sync` that brings nothing of any room, and moves nothing on.
    pub(crate) async fn ask_sync(&self, limit: Duration) -> Result<Said, CallFault> {
        let filter = json!({
            "presence": { "types": [] },
            "account_data": { "types": [] },
            "room": { "rooms": [] },
        });
        let mut url = self.bare(&["_matrix", "client", "v3", "sync"]);
        url.query_pairs_mut()
            .append_pair("filter", &filter.to_string())
            .append_pair("set_presence", "offline")
            .append_pair("timeout", "0");
        self.ask(self.request(Method::GET, url), limit).await
    }

    async fn ask(&self, request: RequestBuilder, limit: Duration) -> Result<Said, CallFault> {
        let broke = |error: reqwest::Error| CallFault::of_transport(&error);
        let mut response = request.timeout(limit).send().await.map_err(broke)?;
        let status = response.status().as_u16();
        let at = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let at = at.and_then(|date| httpdate::parse_http_date(date).ok());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(broke)? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(CallFault::Doubtful("the homeserver's answer is too large".to_owned()));
            }
            body.extend_from_slice(&piece);
        }
        let body = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object).unwrap_or_default();
        Ok(Said { status, at, body })
    }
}
