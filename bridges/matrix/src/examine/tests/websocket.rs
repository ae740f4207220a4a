//! Whether the websocket opens, and what its server has against us.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::*;

const TRIED: &str = "open the appservice websocket";

fn table(address: SocketAddr) -> Value {
    json!({
        "mode": "websocket", "server_name": "hs.test", "as_token": "as-secret", "user": "_desk_support",
        "namespace": "_desk_", "websocket_url": format!("ws://{address}"),
    })
}

fn script() -> Script {
    Script::of(&[VERSIONS, OURS, KNOWN])
}

/// The first frame that the server sends; afterwards what we sent.
async fn opened(first: Message) -> (Seen, Vec<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        socket.send(first).await.unwrap();
        let mut heard = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            heard.push(message);
        }
        heard
    };
    let both = async { tokio::join!(look_at(table(address), false, script()), serving) };
    timeout(PATIENCE, both).await.expect("both end")
}

#[tokio::test]
async fn a_websocket_that_opens_is_closed_again_and_nothing_is_acknowledged() {
    let (seen, heard) = opened(Message::text(r#"{"command":"connect","status":"connected"}"#)).await;
    seen.holds(TRIED, Verdict::Fine, &["greets us"]);
    assert!(matches!(heard.as_slice(), [Message::Close(_)]), "{heard:?}");
    let transaction = r#"{"command":"transaction","id":1,"status":"ok","txn_id":"1","events":[]}"#;
    let (seen, heard) = opened(Message::text(transaction)).await;
    seen.holds(TRIED, Verdict::Fine, &["it opens"]);
    assert!(matches!(heard.as_slice(), [Message::Close(_)]), "{heard:?}");
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_quoted_by_its_code() {
    let close = |code: u16, reason: &'static str| {
        Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() }))
    };
    let (seen, _) = opened(close(4001, r#"{"status":"conn_replaced"}"#)).await;
    seen.holds(TRIED, Verdict::Failed, &["took it over", "stop the other gateway"]);
    let (seen, _) = opened(close(4003, r#"{"status":"no_such_service"}"#)).await;
    seen.holds(TRIED, Verdict::Failed, &["4003", "no_such_service"]);
}

#[tokio::test]
async fn refusals_and_absence_are_told_apart() {
    let unknown = "HTTP/1.1 403 Forbidden\r\ncontent-length: 29\r\n\r\n{\"errcode\":\"M_UNKNOWN_TOKEN\"}";
    let unheard = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let busy = "HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n";
    for (answer, words) in [
        (unknown, &["does not know our as_token", "same registration"][..]),
        (unheard, &["404", "`websocket_url`"]),
        (busy, &["503", "log"]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (seen, _stream) = tokio::join!(look_at(table(address), false, script()), serving);
        seen.holds(TRIED, Verdict::Failed, words);
    }
    let seen = look_at(table(free_address()), false, script()).await;
    seen.holds(TRIED, Verdict::Failed, &["does not open", "`websocket_url`"]);
}

#[tokio::test]
async fn a_second_one_is_not_opened_beside_a_running_gateway() {
    let seen = look_at(table(free_address()), true, script()).await;
    seen.holds(TRIED, Verdict::Skipped, &["take it away"]);
}
