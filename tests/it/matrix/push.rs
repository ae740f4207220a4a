//! The listener that a homeserver pushes to.

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, Way};

async fn call(house: &House, method: Method, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", house.pushed_to().unwrap());
    let request = client.request(method, url).body(body.to_owned());
    let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.expect("JSON, whatever the status"))
}

const PUT: Method = Method::PUT;
const GET: Method = Method::GET;
const POST: Method = Method::POST;

#[tokio::test]
async fn only_who_bears_the_homeservers_token_is_heard() {
    let house = House::new(Way::Push).await;
    let token = house.home.settings().hs_token.clone();
    let transactions = "/_matrix/app/v1/transactions/t1";
    let good = Some(token.as_str());
    let in_query = format!("{transactions}?access_token={token}");
    let wrong_query = format!("{transactions}?access_token=guess");
    let user = format!("/_matrix/app/v1/users/{}", house.support().replace('@', "%40").replace(':', "%3A"));
    let cases = [
        (PUT, transactions, None, "{}", 401),
        (PUT, transactions, Some("guess"), "{}", 403),
        (PUT, transactions, Some(""), "{}", 401),
        (PUT, &wrong_query, None, "{}", 403),
        (PUT, transactions, good, r#"{"events":[]}"#, 200),
        (PUT, &in_query, None, r#"{"events":[]}"#, 200),
        (PUT, "/transactions/t1", good, r#"{"events":[]}"#, 200),
        (PUT, transactions, good, "no JSON", 400),
        (PUT, transactions, good, "[]", 400),
        (GET, transactions, good, "", 405),
        (GET, &user, good, "", 200),
        (GET, "/users/%40nobody%3Asandbox.test", good, "", 404),
        (GET, "/_matrix/app/v1/rooms/%23_desk_x%3Asandbox.test", good, "", 404),
        (GET, "/rooms/%23_desk_x%3Asandbox.test", good, "", 404),
        (POST, "/_matrix/app/v1/ping", good, "{}", 200),
        (POST, "/_matrix/app/v1/ping", None, "{}", 401),
        (GET, "/_matrix/app/v1/ping", good, "", 405),
        (GET, "/_matrix/app/v1/thirdparty/protocol/x", good, "", 404),
        (GET, "/", good, "", 404),
    ];
    for (method, path, token, body, status) in cases {
        let (found, answer) = call(&house, method.clone(), path, token, body).await;
        assert_eq!(found, status, "{method} {path} {token:?}: {answer}");
        assert!(answer.is_object() && (status == 200 || answer["errcode"].is_string()), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_transaction_that_comes_twice_or_overlaps_takes_effect_once() {
    let house = House::new(Way::Push).await;
    let carol = house.guest("carol").await;
    house.until_idle().await;
    let token = house.home.settings().hs_token.clone();
    let event = |number: i64| {
        json!({"type": "m.room.message", "event_id": format!("$e{number}"), "room_id": carol.room, "sender": carol.user,
            "origin_server_ts": now() + number, "content": {"msgtype": "m.text", "body": format!("line {number}")}})
    };
    let bodies = [
        json!({"events": [event(1)]}),
        json!({"events": [event(1), event(2)]}),
        json!({"events": [event(2), event(3)]}),
    ];
    for (number, body) in bodies.iter().enumerate() {
        for id in [number, number, number + 100] {
            let path = format!("/_matrix/app/v1/transactions/{id}");
            assert_eq!(call(&house, PUT, &path, Some(&token), &body.to_string()).await.0, 200);
        }
    }
    house.until_text(carol.conversation, "line 3").await;
    house.until_idle().await;
    assert_eq!(house.texts(carol.conversation), ["hello", "line 1", "line 2", "line 3"]);
}

fn now() -> i64 {
    deskbridge::clock::now_millis()
}

/// More than there are places, and none of them shows the token: the homeserver is heard at once all the same.
#[tokio::test]
async fn clients_that_say_nothing_keep_no_transaction_out() {
    use tokio::io::AsyncWriteExt;
    let house = House::new(Way::Push).await;
    let token = house.home.settings().hs_token.clone();
    let address = house.pushed_to().unwrap().trim_start_matches("http://").to_owned();
    let mut silent = Vec::new();
    for number in 0..2_000 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let words: &[u8] = match number % 3 {
            0 => b"",
            1 => b"PUT /_matrix/app/v1/transactions/1 HTTP/1.1\r\nHost: x\r\nX-Half: ",
            _ => b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess\r\n\r\n",
        };
        // One that was sent away already does not read.
        drop(stream.write_all(words).await);
        silent.push(stream);
        if number % 100 == 99 {
            let path = format!("/_matrix/app/v1/transactions/s{number}");
            let (status, answer) = call(&house, PUT, &path, Some(&token), r#"{"events":[]}"#).await;
            assert_eq!(status, 200, "{answer}");
        }
    }
    drop(silent);
}
