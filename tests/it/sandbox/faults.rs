//! The fault switch: what is stored, what is answered, and what the connection does.

use deskbridge::sandbox::{RouteClass, RouteFault, RouteRule};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture;
use super::{DEADLINE, Desk, SOURCE_ID};

/// What a create meets: an answer with this status, or an end without one.
async fn meets(fault: RouteFault, status: Option<u16>, stored: usize) {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    desk.sandbox.faults().add(RouteRule::next(1, RouteClass::Messages, &Method::POST, fault.clone()));
    let body = json!({"content": "x", "message_type": "incoming", "source_id": "libera/1/0"});
    let request = desk.request(Method::POST, &format!("/conversations/{id}/messages")).json(&body);
    let answer = match request.send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            // A body that breaks off is no answer either.
            answer.bytes().await.ok().map(|_| status)
        }
        Err(_) => None,
    };
    assert_eq!(answer, status, "{fault:?}");
    assert_eq!(desk.messages(id, "").await.len(), stored, "{fault:?}");
    assert_eq!(desk.sandbox.faults().struck(), 1);
    desk.stop().await;
}

#[tokio::test]
async fn what_fails_before_the_commit_stores_nothing() {
    meets(RouteFault::TooManyRequests, Some(429), 0).await;
    meets(RouteFault::ServerError, Some(500), 0).await;
    meets(RouteFault::Unprocessable, Some(422), 0).await;
    meets(RouteFault::BadGateway, Some(502), 0).await;
    meets(RouteFault::Unauthorized, Some(401), 0).await;
    meets(RouteFault::Drop, None, 0).await;
}

#[tokio::test]
async fn what_fails_after_the_commit_is_stored() {
    meets(RouteFault::CommitThenDrop, None, 1).await;
    meets(RouteFault::CommitThenCut, None, 1).await;
    meets(RouteFault::CommitThenServerError, Some(500), 1).await;
    meets(RouteFault::CommitThenUnprocessable, Some(422), 1).await;
    meets(RouteFault::CommitThenBadGateway, Some(502), 1).await;
    meets(RouteFault::CommitThenSlow { milliseconds: 1 }, Some(200), 1).await;
    meets(RouteFault::Slow { milliseconds: 1 }, Some(200), 1).await;
}

#[tokio::test]
async fn a_request_that_hangs_is_stored_or_not_and_ends_with_the_sandbox() {
    for (fault, stored) in [(RouteFault::Hang, 0), (RouteFault::CommitThenHang, 1)] {
        let desk = Desk::fresh().await;
        let id = desk.conversation(SOURCE_ID).await;
        desk.sandbox.faults().add(RouteRule::next(1, RouteClass::Messages, &Method::POST, fault));
        let request = desk.request(Method::POST, &format!("/conversations/{id}/messages"));
        let hanging = request.json(&json!({"content": "x"})).send();
        let struck = desk.sandbox.until(DEADLINE, |state| {
            let count = state["conversations"][0]["messages"].as_array().unwrap().len();
            (desk.sandbox.faults().struck() == 1 && count == stored).then_some(())
        });
        tokio::select! {
            answer = hanging => panic!("an answer came: {answer:?}"),
            struck = struck => struck.expect("the fault strikes"),
        }
        desk.stop().await;
    }
}

#[tokio::test]
async fn a_sandbox_that_is_down_refuses_connections_and_comes_back_with_its_state() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    desk.sandbox.go_down().await;
    let refused = TcpStream::connect(desk.sandbox.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    desk.sandbox.come_up().await;
    assert_eq!(desk.see(&format!("/conversations/{id}")).await["id"], id);
    desk.stop().await;
}

#[tokio::test]
async fn faults_are_set_and_shown_over_http() {
    let desk = Desk::fresh().await;
    let url = format!("{}/sandbox/faults", desk.sandbox.url());
    let sheet = json!({"routes": [{"on": "inboxes", "count": 1, "kind": "bad_gateway"}]});
    let shown: serde_json::Value = desk.client.post(&url).json(&sheet).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["routes"][0]["kind"], "bad_gateway");
    let answer = desk.request(Method::GET, "/inboxes/7").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()["content-type"], "text/html");
    assert_eq!(answer.text().await.unwrap(), fixture::text("error_502.html"));
    desk.see("/inboxes/7").await;
    let wrong = desk.client.post(&url).json(&json!({"routs": []})).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    desk.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let desk = Desk::fresh().await;
    let mut stream = TcpStream::connect(desk.sandbox.address()).await.unwrap();
    let head = "POST /api/v1/accounts/1/contacts HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    // The length alone is enough: nobody waits for the bytes.
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    desk.stop().await;
}

#[tokio::test]
async fn half_a_request_does_not_keep_the_sandbox_from_stopping() {
    let desk = Desk::fresh().await;
    let mut stream = TcpStream::connect(desk.sandbox.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    desk.see("/inboxes/7").await;
    desk.stop().await;
    let mut rest = Vec::new();
    // Closed or reset, but ended.
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the connection ends").ok();
}
