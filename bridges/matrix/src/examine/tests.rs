//! A look at scripted homeservers: each thing that can be wrong is named in one line.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header::DATE},
    response::IntoResponse,
};
use bridge_api::{
    BridgeName, Kind, Verdict,
    kit::look::{self, Seen, free_address},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};

use crate::Matrix;

mod entrance;
mod websocket;

const PATIENCE: Duration = Duration::from_secs(30);

/// To the first rule whose words are in `METHOD path?query`.
type Rules = &'static [(&'static str, u16, &'static str)];

const VERSIONS: (&str, u16, &str) = ("GET /_matrix/client/versions", 200, r#"{"versions":["r0.6.1","v1.2","v1.11"]}"#);
const PROGRAM: (&str, u16, &str) =
    ("GET /_matrix/federation/v1/version", 200, r#"{"server":{"name":"Synapse","version":"1.98.0"}}"#);
const OURS: (&str, u16, &str) = ("whoami?user_id=", 200, r#"{"user_id":"@_desk_support:hs.test"}"#);
const KNOWN: (&str, u16, &str) = ("whoami", 200, r#"{"user_id":"@_desk_bot:hs.test"}"#);

#[derive(Clone)]
struct Script {
    rules: Rules,
    date: Option<&'static str>,
    /// Whom the homeserver pings, and by which token.
    pings: Option<(SocketAddr, &'static str)>,
}

impl Script {
    fn of(rules: Rules) -> Self {
        Self { rules, date: None, pings: None }
    }
}

async fn answer(State(script): State<Script>, method: Method, uri: Uri, asked: HeaderMap) -> impl IntoResponse {
    let call = format!("{method} {uri}");
    let mut headers = HeaderMap::new();
    if uri.path().ends_with("/versions") && asked.contains_key("authorization") {
        // As Synapse does, where a wrong token would then look like no homeserver at all.
        return (StatusCode::UNAUTHORIZED, headers, r#"{"errcode":"M_UNKNOWN_TOKEN","error":"no"}"#.to_owned());
    }
    if let Some(date) = script.date {
        headers.insert(DATE, HeaderValue::from_static(date));
    }
    if let Some((address, token)) = script.pings.filter(|_| call.contains("/ping")) {
        let (status, body) = entrance::knock(address, token).await;
        return (StatusCode::from_u16(status).unwrap(), headers, body.to_string());
    }
    let found = script.rules.iter().find(|(words, ..)| call.contains(words));
    let (status, body) = found.map_or((404, "<html>"), |(_, status, body)| (*status, *body));
    (StatusCode::from_u16(status).unwrap(), headers, body.to_owned())
}

fn appservice(listen: SocketAddr) -> Value {
    json!({
        "mode": "appservice", "server_name": "hs.test", "as_token": "as-secret", "hs_token": "hs-secret",
        "user": "_desk_support", "namespace": "_desk_", "listen": listen.to_string(),
    })
}

fn bot() -> Value {
    json!({ "mode": "sync", "access_token": "bot-secret" })
}

async fn look_at(mut table: Value, at_work: bool, script: Script) -> Seen {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    table["homeserver_url"] = format!("http://{}", listener.local_addr().unwrap()).into();
    let bridge = Matrix::build(BridgeName::from("chat"), serde_json::from_value(table).unwrap()).unwrap();
    let router = Router::new().fallback(answer).with_state(script);
    let serving = async { axum::serve(listener, router).await };
    let findings = tokio::select! {
        findings = look::taken(&*bridge, at_work) => findings,
        ended = serving => panic!("{ended:?}"),
    };
    assert!(!format!("{findings:?}").contains("secret"), "{findings:#?}");
    Seen(findings)
}

#[tokio::test]
async fn a_homeserver_is_named_with_what_it_speaks() {
    let seen = look_at(bot(), false, Script::of(&[VERSIONS, PROGRAM])).await;
    seen.holds("ask http://", Verdict::Fine, &["Synapse 1.98.0", "1.11"]);
    seen.holds("compare the homeserver's clock", Verdict::Fine, &["agree"]);
    let old: Rules = &[("versions", 200, r#"{"versions":["r0.5.0\u202e"]}"#)];
    look_at(bot(), false, Script::of(old)).await.holds("ask http://", Verdict::Warning, &["r0.5.0\\u{202e}", "update"]);
    let seen = look_at(bot(), false, Script::of(&[("versions", 404, "<html>")])).await;
    seen.holds("ask http://", Verdict::Failed, &["no homeserver: 404", "`homeserver_url`"]);
    assert_eq!(seen.0.len(), 1, "nothing more can be asked");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_with_how_far() {
    let past = Script { date: Some("Sun, 06 Nov 1994 08:49:37 GMT"), ..Script::of(&[VERSIONS]) };
    look_at(bot(), false, past).await.holds("compare", Verdict::Warning, &["behind ours", "NTP"]);
    let future = Script { date: Some("Sat, 06 Nov 2094 08:49:37 GMT"), ..Script::of(&[VERSIONS]) };
    look_at(bot(), false, future).await.holds("compare", Verdict::Warning, &["ahead of ours"]);
}

#[tokio::test]
async fn a_token_that_is_not_known_leads_to_the_registration() {
    for status in [401, 403] {
        let rules: Rules = match status {
            401 => &[VERSIONS, ("whoami", 401, r#"{"errcode":"M_UNKNOWN_TOKEN","error":"no"}"#)],
            _ => &[VERSIONS, ("whoami", 403, r#"{"errcode":"M_UNKNOWN_TOKEN","error":"no"}"#)],
        };
        let seen = look_at(appservice(free_address()), false, Script::of(rules)).await;
        let words = ["does not know the registration", "deskbridge matrix registration --bridge chat", "restart"];
        seen.holds("use `as_token`", Verdict::Failed, &words);
        assert!(seen.0.iter().all(|finding| !finding.tried.starts_with("listen")), "{:#?}", seen.0);
    }
    let rules: Rules = &[VERSIONS, ("whoami", 401, r#"{"errcode":"M_UNKNOWN_TOKEN","error":"no"}"#)];
    look_at(bot(), false, Script::of(rules)).await.holds(
        "use `access_token`",
        Verdict::Failed,
        &["log the account in"],
    );
    let rules: Rules = &[VERSIONS, ("whoami", 500, r#"{"errcode":"M_UNKNOWN","error":"a\u0007\u202eb"}"#)];
    let seen = look_at(appservice(free_address()), false, Script::of(rules)).await;
    seen.holds("use `as_token`", Verdict::Failed, &["500 M_UNKNOWN", "\\u{202e}"]);
}

#[tokio::test]
async fn whom_we_may_speak_for_is_told() {
    let forbidden = r#"{"errcode":"M_FORBIDDEN","error":"Application service cannot masquerade as this user"}"#;
    let unmade = r#"{"errcode":"M_FORBIDDEN","error":"Application service has not registered this user"}"#;
    let cases: [(Rules, Verdict, &str); 3] = [
        (&[VERSIONS, OURS, KNOWN], Verdict::Fine, "allows it"),
        (Box::leak(Box::new([VERSIONS, ("user_id=", 403, forbidden), KNOWN])), Verdict::Failed, "does not hold it"),
        (Box::leak(Box::new([VERSIONS, ("user_id=", 403, unmade), KNOWN])), Verdict::Fine, "not there yet"),
    ];
    for (rules, verdict, word) in cases {
        let seen = look_at(appservice(free_address()), false, Script::of(rules)).await;
        seen.holds("use `as_token`", Verdict::Fine, &["@_desk_bot:hs.test"]);
        seen.holds("speak for @_desk_support:hs.test", verdict, &[word]);
    }
    let elsewhere: Rules = &[VERSIONS, ("whoami", 200, r#"{"user_id":"@_desk_bot:other.test"}"#)];
    let seen = look_at(appservice(free_address()), false, Script::of(elsewhere)).await;
    seen.holds("use `as_token`", Verdict::Failed, &["other.test", "`server_name`"]);
}

#[tokio::test]
async fn a_bot_account_is_named_and_its_sync_tried() {
    let me = ("whoami", 200, r#"{"user_id":"@desk:hs.test"}"#);
    let rules: Rules = Box::leak(Box::new([VERSIONS, me, ("/sync", 200, r#"{"next_batch":"s1"}"#)]));
    let seen = look_at(bot(), false, Script::of(rules)).await;
    seen.holds("use `access_token`", Verdict::Fine, &["@desk:hs.test"]);
    seen.holds("ask what is new", Verdict::Fine, &["answers"]);
    let mut table = bot();
    table["server_name"] = "other.test".into();
    let refused = ("/sync", 403, r#"{"errcode":"M_FORBIDDEN","error":"no"}"#);
    let rules: Rules = Box::leak(Box::new([VERSIONS, me, refused]));
    let seen = look_at(table, false, Script::of(rules)).await;
    seen.holds("use `access_token`", Verdict::Failed, &["hs.test", "`server_name`"]);
    seen.holds("ask what is new", Verdict::Failed, &["403 M_FORBIDDEN"]);
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers_are_failures_in_time() {
    let build = |address: SocketAddr| {
        let mut table = appservice(free_address());
        table["homeserver_url"] = format!("http://{address}").into();
        Matrix::build(BridgeName::from("chat"), serde_json::from_value(table).unwrap()).unwrap()
    };
    look::at_nothing(build).await;
    look::at_silence(build).await;
}
