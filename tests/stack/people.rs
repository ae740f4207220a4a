//! Customers of the stand-in homeserver, through the calls of their page, and what they see.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{http, wait::until};

/// Somebody at the customer's page, in one room with support.
pub(crate) struct Customer {
    url: String,
    token: String,
    pub(crate) name: String,
    user: String,
    room: String,
}

impl Customer {
    /// Enters, begins a chat, and waits until support is in.
    pub(crate) fn enter(url: &str, name: &str) -> Self {
        let entered = http::post_json(&format!("{url}/customer/api/enter"), &json!({ "name": name }));
        let entered = entered.expect("the page answers").json();
        let text = |key: &str| entered[key].as_str().unwrap_or_else(|| panic!("no {key}: {entered}")).to_owned();
        let (token, user, support) = (text("customer"), text("user_id"), text("support"));
        let mut customer = Self { url: url.to_owned(), token, name: name.to_owned(), user, room: String::new() };
        let room = customer.call("chats", &json!({}))["room_id"].as_str().expect("a room").to_owned();
        customer.room = room;
        until(&format!("support to join {name}"), || {
            let events = customer.events();
            let joined = |event: &Value| event["state_key"] == *support && event["content"]["membership"] == "join";
            if events.iter().any(joined) { Ok(()) } else { Err(format!("{events:?}")) }
        });
        customer
    }

    pub(crate) fn say(&self, text: &str) {
        let content = json!({"msgtype": "m.text", "body": text});
        self.call(&format!("rooms/{}/send", self.room), &json!({"type": "m.room.message", "content": content}));
    }

    /// What others wrote in the room, in its order.
    pub(crate) fn heard(&self) -> Vec<String> {
        let theirs = |event: &&Value| event["type"] == "m.room.message" && event["sender"] != *self.user;
        let events = self.events();
        let texts = events.iter().filter(theirs).map(|event| event["content"]["body"].as_str());
        texts.map(|text| text.unwrap_or_default().to_owned()).collect()
    }

    fn events(&self) -> Vec<Value> {
        let state = http::get(&format!("{}/sandbox/homeserver/state", self.url)).expect("the sandbox answers").json();
        let rooms = state["rooms"].as_array().expect("rooms");
        let room = rooms.iter().find(|room| room["room_id"] == *self.room);
        room.and_then(|room| room["events"].as_array().cloned()).unwrap_or_default()
    }

    fn call(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/customer/api/{path}", self.url);
        let headers = [("x-customer", self.token.as_str()), ("content-type", "application/json")];
        let answer = http::request(Method::POST, &url, &headers, Some(body.to_string().into_bytes()));
        let answer = answer.expect("the page answers");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }
}
