//! The customer's page: what it loads, what it is told, and what its own calls do.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{DEADLINE, Place, SUPPORT, part};

/// One open page.
struct Page<'a> {
    place: &'a Place,
    token: String,
    user: String,
}

impl<'a> Page<'a> {
    async fn enter(place: &'a Place, name: &str) -> Self {
        place.ghost("support").await;
        let url = format!("{}/customer/api/enter", place.sandbox.url());
        let answer: Value =
            place.client.post(url).json(&json!({"name": name})).send().await.unwrap().json().await.unwrap();
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        Self { place, token: text("customer"), user: text("user_id") }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/customer/api{path}", self.place.sandbox.url());
        self.place.client.request(method, url).header("x-customer", &self.token)
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.request(Method::POST, path).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    async fn chat(&self) -> String {
        let room = self.post("/chats", json!({})).await["room_id"].as_str().unwrap().to_owned();
        self.place.home.join(SUPPORT, &room).unwrap();
        room
    }

    /// The event stream until it has told `found`.
    async fn told<T>(&self, found: impl Fn(&Value) -> Option<T>) -> T {
        let url = format!("{}/customer/api/events?customer={}", self.place.sandbox.url(), self.token);
        let mut stream = self.place.client.get(url).send().await.unwrap();
        let look = async {
            let mut seen = String::new();
            loop {
                seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
                let whole = seen.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
                let mut data = whole.filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
                if let Some(found) = data.find_map(|data| found(&serde_json::from_str(data).unwrap())) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, look).await.expect("an event")
    }
}

#[tokio::test]
async fn the_page_has_the_agents_pages_policy_and_the_same_door() {
    let place = Place::fresh().await;
    let get = async |path: &str, origin: &str| {
        let request = place.client.get(format!("{}{path}", place.sandbox.url()));
        request.header("origin", origin).send().await.unwrap()
    };
    let page = get("/customer", &place.sandbox.url()).await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(get("/customer", "https://evil.example").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(get("/", &place.sandbox.url()).await.status(), StatusCode::OK, "the agent's page stays where it was");
    assert_eq!(get("/customer/api/events", &place.sandbox.url()).await.status(), StatusCode::UNAUTHORIZED);
    place.stop().await;
}

#[tokio::test]
async fn every_page_is_a_customer_of_its_own_who_chats_with_support() {
    let place = Place::fresh().await;
    let (kim, other) = (Page::enter(&place, "Kim Lee").await, Page::enter(&place, "Kim Lee").await);
    assert_eq!((kim.user.as_str(), other.user.as_str()), ("@kim-lee:sandbox.test", "@kim-lee-2:sandbox.test"));
    let room = kim.chat().await;
    let path = format!("/rooms/{}", part(&room));
    let content = json!({"msgtype": "m.text", "body": "Hi"});
    let sent = kim.post(&format!("{path}/send"), json!({"type": "m.room.message", "content": content})).await;
    assert_eq!(place.home.texts(&room), [(kim.user.clone(), "Hi".to_owned())]);
    let answer = place.home.say(SUPPORT, &room, "Hello").unwrap();
    place.home.read(SUPPORT, &room, sent["event_id"].as_str().unwrap()).unwrap();
    let news = kim
        .told(|news| {
            let room = &news["rooms"][0];
            let events = room["events"].as_array()?;
            events.iter().any(|event| event["event_id"] == json!(answer)).then(|| room.clone())
        })
        .await;
    assert!(news["receipts"].as_array().unwrap().iter().any(|one| one["user"] == SUPPORT));
    let support = news["members"].as_array().unwrap().iter().find(|one| one["id"] == SUPPORT).unwrap().clone();
    assert_eq!((&support["support"], &support["membership"]), (&json!(true), &json!("join")));
    assert_eq!(other.told(|news| Some(news["rooms"].clone())).await, json!([]), "nobody sees another's chat");
    let foreign = other.request(Method::POST, &format!("{path}/send")).json(&json!({"content": content}));
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    place.stop().await;
}

#[tokio::test]
async fn typing_reading_files_and_withdrawing_go_through_the_page() {
    let place = Place::fresh().await;
    let kim = Page::enter(&place, "Kim").await;
    let room = kim.chat().await;
    let path = format!("/rooms/{}", part(&room));
    kim.post(&format!("{path}/typing"), json!({"on": true})).await;
    assert_eq!(place.home.typing_in(&room), [kim.user.as_str()]);
    kim.post(&format!("{path}/typing"), json!({"on": false})).await;
    let event = place.home.say(SUPPORT, &room, "Hello").unwrap();
    kim.post(&format!("{path}/read"), json!({"event_id": event})).await;
    assert_eq!(place.home.read_by(&room, &kim.user), Some(event));
    let upload = kim.request(Method::POST, "/upload?filename=cat.png").header("content-type", "image/png");
    let upload: Value = upload.body(vec![1_u8, 2, 3]).send().await.unwrap().json().await.unwrap();
    let address = upload["content_uri"].as_str().unwrap();
    let media = format!("{}/customer/api/media/{}", place.sandbox.url(), address.strip_prefix("mxc://").unwrap());
    assert_eq!(place.client.get(&media).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let file = place.client.get(format!("{media}?customer={}", kim.token)).send().await.unwrap();
    assert_eq!(file.bytes().await.unwrap().as_ref(), [1, 2, 3]);
    let content = json!({"msgtype": "m.image", "body": "cat.png", "url": address});
    let sent = kim.post(&format!("{path}/send"), json!({"content": content})).await;
    kim.post(&format!("{path}/redact"), json!({"event_id": sent["event_id"]})).await;
    assert_eq!(place.home.event(sent["event_id"].as_str().unwrap()).unwrap()["content"], json!({}));
    kim.post(&format!("{path}/leave"), json!({})).await;
    assert_eq!(place.home.membership(&room, &kim.user), "leave");
    let membership = kim.told(|news| news["rooms"][0]["membership"].as_str().map(ToOwned::to_owned)).await;
    assert_eq!(membership, "leave");
    place.stop().await;
}
