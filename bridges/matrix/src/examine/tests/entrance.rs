//! Whether the homeserver reaches us: it knocks for real, at a listener that is there for the moment only.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

const TRIED: &str = "have the homeserver reach this bridge";

/// As a homeserver does it, and what it tells of that.
pub(super) async fn knock(address: SocketAddr, token: &str) -> (u16, Value) {
    let failed = json!({ "errcode": "M_CONNECTION_FAILED", "error": "connection refused" });
    let Ok(mut stream) = TcpStream::connect(address).await else { return (502, failed) };
    let request = format!(
        "POST /_matrix/app/v1/ping HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 2\r\n\
         connection: close\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    let status: u16 = heard.split(' ').nth(1).unwrap().parse().unwrap();
    match status {
        200 => (200, json!({ "duration_ms": 7 })),
        status => (502, json!({ "errcode": "M_BAD_STATUS", "error": "no", "status": status, "body": "" })),
    }
}

async fn pinged(at_work: bool, pings: (SocketAddr, &'static str), listen: SocketAddr) -> Seen {
    let script = Script { pings: Some(pings), ..Script::of(&[VERSIONS, OURS, KNOWN]) };
    look_at(appservice(listen), at_work, script).await
}

#[tokio::test]
async fn a_homeserver_that_reaches_us_and_one_that_does_not_are_told_apart() {
    let listen = free_address();
    let seen = pinged(false, (listen, "hs-secret"), listen).await;
    seen.holds("listen on", Verdict::Fine, &["free"]);
    seen.holds(TRIED, Verdict::Fine, &["in 7 ms"]);
    let seen = pinged(false, (listen, "another-token"), listen).await;
    seen.holds(TRIED, Verdict::Failed, &["not `hs_token`"]);
    let seen = pinged(false, (free_address(), "hs-secret"), listen).await;
    seen.holds(TRIED, Verdict::Failed, &["M_CONNECTION_FAILED", "`listen_url`"]);
    drop(TcpListener::bind(listen).await.expect("the look let go of it"));
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_and_beside_a_running_gateway_is_wanted() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    let seen = pinged(false, (listen, "hs-secret"), listen).await;
    seen.holds("listen on", Verdict::Failed, &["in use", "`listen`"]);
    drop(taken);
    let seen = pinged(true, (listen, "hs-secret"), listen).await;
    seen.holds("connect to the running gateway", Verdict::Failed, &["refused", "log"]);
}

#[tokio::test]
async fn each_answer_to_a_ping_has_its_own_way_out() {
    let cases: [(u16, &str, Verdict, &[&str]); 6] = [
        (400, r#"{"errcode":"M_URL_NOT_SET","error":"x"}"#, Verdict::Failed, &["`listen_url`", "registration"]),
        (403, r#"{"errcode":"M_FORBIDDEN","error":"x"}"#, Verdict::Warning, &["`appservice_id`", "deskbridge-chat"]),
        (502, r#"{"errcode":"M_BAD_STATUS","error":"x","status":404}"#, Verdict::Failed, &["somebody else", "404"]),
        (504, r#"{"errcode":"M_CONNECTION_TIMEOUT","error":"x"}"#, Verdict::Failed, &["`listen_url`"]),
        (404, r#"{"errcode":"M_UNRECOGNIZED","error":"x"}"#, Verdict::Skipped, &["cannot be asked"]),
        (500, r#"{"errcode":"M_UNKNOWN","error":"x"}"#, Verdict::Failed, &["500 M_UNKNOWN"]),
    ];
    for (status, body, verdict, words) in cases {
        let rules: Rules = Box::leak(Box::new([VERSIONS, OURS, KNOWN, ("/ping", status, body)]));
        look_at(appservice(free_address()), false, Script::of(rules)).await.holds(TRIED, verdict, words);
    }
}
