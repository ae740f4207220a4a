//! Looks at what is ours: the running gateway, where it listens, and whether its public address leads to it.

use std::{sync::Arc, time::Duration};

use bridge_api::Findings;
use reqwest::Url;
use serde_json::Value;

use super::ear::Ear;
use crate::settings::{HttpUrl, Settings};

const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Shorter ones can be guessed.
const ADMIN_TOKEN_CHARS_MIN: usize = 16;

pub(super) async fn examine(settings: &Settings, ear: &Ear, findings: Arc<Findings>) {
    at_work(settings, ear, &findings).await;
    match &settings.gateway.public_url {
        Some(url) => public_address(settings, url, ear, &findings).await,
        None => findings.warning(
            "read `gateway.public_url`",
            "it is not set, so callback addresses cannot be compared, and `deskbridge provision` has none to write",
            "set it to how Chatwoot reaches the gateway, such as http://deskbridge:8600",
        ),
    }
    admin_token(settings, &findings);
}

async fn at_work(settings: &Settings, ear: &Ear, findings: &Findings) {
    let (tried, listen) = ("ask the running gateway", settings.gateway.listen);
    match ear {
        Ear::Gateway(live) => match live.ready().await {
            Ok(state) => states(&state, findings),
            Err(error) => findings.failed(tried, error.to_string(), "look into the gateway's log"),
        },
        Ear::Own(_) => findings.skipped(
            tried,
            format!(
                "none runs on {}; this command listens on {listen} in its place",
                settings.gateway.data_dir.display()
            ),
        ),
        Ear::Deaf(reason) => findings.failed(
            format!("listen on {listen}"),
            format!(
                "no gateway runs on {}, and the address cannot be had: {reason}",
                settings.gateway.data_dir.display()
            ),
            "end what has the port, or choose another one in `gateway.listen` and `gateway.public_url`",
        ),
    }
}

/// What `/readyz` tells.
fn states(state: &Value, findings: &Findings) {
    let tried = "ask the running gateway";
    if state["ready"] == true {
        findings.fine(tried, "it is ready: callbacks are stored");
    } else if state["stopping"] == true {
        findings.warning(tried, "it is stopping", "look again when it has started");
    } else {
        let reason = state["store"]["reason"].as_str().unwrap_or("it names no reason");
        findings.failed(tried, format!("it is not ready: {reason}"), "make room for the store, or repair it");
    }
    for (kind, name, stated) in [("inbox", &state["inboxes"]), ("bridge", &state["bridges"])]
        .into_iter()
        .flat_map(|(kind, all)| all.as_object().into_iter().flatten().map(move |(name, stated)| (kind, name, stated)))
    {
        let tried = format!("ask the running gateway for {kind} {name}");
        let reason = stated["reason"].as_str().unwrap_or("it names no reason");
        let change = format!("see `{kind} {name}` below");
        match stated["state"].as_str() {
            Some("up") => findings.fine(tried, "up"),
            Some("elsewhere") => findings.fine(tried, "another replica of the gateway runs it"),
            Some("degraded") => findings.warning(tried, format!("degraded: {reason}"), change),
            Some("down") => findings.failed(tried, format!("down: {reason}"), change),
            Some(_) | None => findings.warning(tried, "it is still connecting", change),
        }
    }
}

/// From here, which may be another place than Chatwoot's: the round trip has the last word.
async fn public_address(settings: &Settings, url: &HttpUrl, ear: &Ear, findings: &Findings) {
    let tried = format!("reach the gateway at its public address {}", url.base());
    if let Ear::Deaf(_) = ear {
        return findings.skipped(tried, "not tried: nothing of ours listens");
    }
    let Err(error) = alive(url).await else {
        return findings.fine(tried, "it answers from here");
    };
    let found = format!("it does not answer from here: {error}");
    match unheard(settings, url.url()) {
        Some(change) => findings.failed(tried, found, change),
        None => findings.warning(
            tried,
            found,
            "see whether the round trip below succeeds: then Chatwoot reaches it in another way, and all is well",
        ),
    }
}

/// The way out where the settings alone show that nobody else can reach the gateway.
fn unheard(settings: &Settings, public: &Url) -> Option<String> {
    let listen = settings.gateway.listen;
    let host = public.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let direct = public.scheme() == "http" && public.port_or_known_default() == Some(listen.port());
    (listen.ip().is_loopback() && direct && !loopback).then(|| {
        format!(
            "the gateway listens on {} alone, where no other container or machine reaches it: set `gateway.listen` to \"0.0.0.0:{}\"",
            listen.ip(),
            listen.port()
        )
    })
}

async fn alive(url: &HttpUrl) -> Result<(), String> {
    // The client asks for one at any rate. Whoever came first has chosen; any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_LIMIT)
        .build()
        .map_err(|error| error.to_string())?;
    let answer = client.get(format!("{}/healthz", url.base())).send().await.map_err(|error| cause(&error))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if status.is_success() && text.trim() == "ok" {
        Ok(())
    } else {
        Err(format!("something else answers, with {status}"))
    }
}

/// The innermost one: those around it repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    if error.is_timeout() { format!("no answer in {} s", ANSWER_LIMIT.as_secs()) } else { inner.to_string() }
}

fn admin_token(settings: &Settings, findings: &Findings) {
    let tried = "read `gateway.admin_token`";
    match &settings.gateway.admin_token {
        None => findings.fine(tried, "none: the status page is off, and commands use the control socket"),
        Some(token) if token.expose().chars().count() < ADMIN_TOKEN_CHARS_MIN => findings.warning(
            tried,
            format!("it is shorter than {ADMIN_TOKEN_CHARS_MIN} characters, and can be guessed"),
            "use a long random one, such as that of `openssl rand -hex 32`",
        ),
        Some(_) => findings.fine(tried, "there is one: the status page is on"),
    }
}

#[cfg(test)]
mod tests {
    use bridge_api::Verdict;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_gateway_says_of_itself_becomes_a_line_each() {
        let state = json!({
            "ready": true, "stopping": false, "store": { "state": "up" },
            "inboxes": { "support": { "state": "down", "reason": "no token" } },
            "bridges": { "a": { "state": "up" }, "b": { "state": "degraded", "reason": "slow" }, "c": { "state": "connecting" } },
        });
        let findings = Findings::default();
        states(&state, &findings);
        let verdicts: Vec<_> = findings.take().into_iter().map(|it| (it.verdict, it.found)).collect();
        let expected = [
            (Verdict::Fine, "it is ready: callbacks are stored"),
            (Verdict::Failed, "down: no token"),
            (Verdict::Fine, "up"),
            (Verdict::Warning, "degraded: slow"),
            (Verdict::Warning, "it is still connecting"),
        ];
        assert_eq!(verdicts, expected.map(|(verdict, found)| (verdict, found.to_owned())));
        states(&json!({ "ready": false, "store": { "state": "down", "reason": "full" } }), &findings);
        assert_eq!(findings.take()[0].found, "it is not ready: full");
    }
}
