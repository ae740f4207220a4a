//! What a server can do with frames: whatever it is, the connection ends and no more than the limit is held.

use std::time::Duration;

use bridge_api::Secret;
use futures_util::StreamExt;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{
    push::BODY_BYTES_MAX,
    websocket::{Socket, open},
};
use crate::client::tls;

const PATIENCE: Duration = Duration::from_mins(1);
const TEXT: u8 = 1;
const CONTINUED: u8 = 0;
/// On the first byte of the last frame of a message.
const LAST: u8 = 0x80;

/// Our end of a websocket, and the bare stream of the other end.
async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (token, tls) = (Secret::new("demo"), tls());
    let (ours, theirs) = tokio::join!(open(&url, &token, &tls), async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap().into_inner()
    });
    (ours.unwrap(), theirs)
}

/// A frame as a server writes it, of which `bytes` are said to come.
fn frame(first: u8, bytes: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match bytes {
        0..=125 => frame.push(bytes as u8),
        126..=0xffff => {
            frame.push(126);
            frame.extend((bytes as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend(bytes.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// What comes of these frames: the first text, or why the connection ended.
async fn heard(frames: Vec<Vec<u8>>) -> Result<String, Error> {
    let (mut ours, mut theirs) = pair().await;
    // Kept open, so that an end is ours.
    let writing = async {
        for frame in frames {
            // Nobody reads any more once the connection was given up.
            if theirs.write_all(&frame).await.is_err() {
                break;
            }
        }
    };
    let reading = async move {
        loop {
            match timeout(PATIENCE, ours.next()).await.expect("something is heard").expect("a frame or an end") {
                Ok(Message::Text(text)) => return Ok(text.to_string()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    };
    let (heard, ()) = tokio::join!(reading, writing);
    heard
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection_before_it_comes() {
    let bytes = BODY_BYTES_MAX as u64;
    for said in [bytes + 1, bytes * 100, u64::MAX >> 1] {
        // Not a byte of it is waited for.
        let ended = heard(vec![frame(LAST | TEXT, said, b"")]).await;
        assert!(matches!(ended, Err(Error::Capacity(_) | Error::Protocol(_))), "{said}: {ended:?}");
    }
    let whole = heard(vec![frame(LAST | TEXT, bytes, &vec![b'x'; BODY_BYTES_MAX])]).await;
    assert_eq!(whole.map(|text| text.len()).unwrap(), BODY_BYTES_MAX);
}

#[tokio::test]
async fn fragments_are_held_up_to_the_limit_and_no_further() {
    let mut bytes: Vec<Vec<u8>> = vec![frame(TEXT, 1, b"x")];
    bytes.extend((0..100_000).map(|_| frame(CONTINUED, 1, b"x")));
    bytes.push(frame(LAST | CONTINUED, 0, b""));
    assert_eq!(heard(bytes).await.unwrap().len(), 100_001, "one byte at a time is slow, and no more than that");
    // One that never ends.
    let piece = vec![b'x'; 1 << 20];
    let mut endless = vec![frame(TEXT, 1, b"x")];
    endless.extend((0..40).map(|_| frame(CONTINUED, 1 << 20, &piece)));
    assert!(matches!(heard(endless).await, Err(Error::Capacity(_))));
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection() {
    for (what, frames) in [
        ("bad UTF-8", vec![frame(LAST | TEXT, 2, b"\xc3\x28")]),
        ("a character that is cut", vec![frame(LAST | TEXT, 1, b"\xc3")]),
        ("a continuation of nothing", vec![frame(LAST | CONTINUED, 1, b"x")]),
        ("a message within another", vec![frame(TEXT, 1, b"x"), frame(LAST | TEXT, 1, b"x")]),
        ("an unknown kind", vec![frame(LAST | 3, 1, b"x")]),
        ("a reserved bit, as of compression", vec![frame(LAST | 0x40 | TEXT, 1, b"x")]),
        ("a ping in pieces", vec![frame(9, 1, b"x")]),
        ("a ping that is too long", vec![frame(LAST | 9, 126, &[b'x'; 126])]),
        ("a masked frame", vec![vec![LAST | TEXT, 0x81, 1, 2, 3, 4, 0x79]]),
    ] {
        let ended = heard(frames).await;
        assert!(matches!(ended, Err(Error::Protocol(_) | Error::Utf8(_))), "{what}: {ended:?}");
    }
}
