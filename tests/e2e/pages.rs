//! Both of the sandbox's pages in a real browser, against the sandbox alone.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    browser::{Browser, Page},
    http, peers,
    sandbox::{Sandbox, TOKEN},
    wait::until,
};

const SUPPORT: &str = "@_desk_support:sandbox.test";

/// The support user's side, by plain client-server calls.
struct Support<'a> {
    sandbox: &'a Sandbox,
    sent: u32,
}

impl<'a> Support<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        let support = Self { sandbox, sent: 0 };
        for name in ["_desk_support", "_desk_agent_7"] {
            let body = json!({"type": "m.login.application_service", "username": name, "inhibit_login": true});
            support.call(Method::POST, "register", None, &body);
        }
        support.call(
            Method::PUT,
            &format!("profile/{SUPPORT}/displayname"),
            Some(SUPPORT),
            &json!({"displayname": "Acme support"}),
        );
        support
    }

    fn call(&self, method: Method, path: &str, user: Option<&str>, body: &Value) -> Value {
        let user = user.map(|user| format!("?user_id={user}")).unwrap_or_default();
        let url = format!("{}/_matrix/client/v3/{path}{user}", self.sandbox.url);
        let headers = [("authorization", "Bearer sandbox-as-token"), ("content-type", "application/json")];
        let answer = http::request(method, &url, &headers, Some(body.to_string().into_bytes()));
        let answer = answer.expect("the homeserver answers");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    fn state(&self) -> Value {
        http::get(&format!("{}/sandbox/homeserver/state", self.sandbox.url)).expect("the sandbox answers").json()
    }

    fn join(&self, room: &str) {
        self.call(Method::POST, &format!("join/{room}"), Some(SUPPORT), &json!({}));
    }

    /// The only room, once it is there.
    fn room(&self) -> String {
        until("a chat", || {
            let state = self.state();
            state["rooms"][0]["room_id"].as_str().map(ToOwned::to_owned).ok_or_else(|| state.to_string())
        })
    }

    fn send(&mut self, room: &str, user: &str, kind: &str, content: &Value) -> String {
        self.sent += 1;
        let path = format!("rooms/{room}/send/{kind}/t{}", self.sent);
        self.call(Method::PUT, &path, Some(user), content)["event_id"].as_str().expect("an id").to_owned()
    }

    fn say(&mut self, room: &str, user: &str, text: &str) -> String {
        self.send(room, user, "m.room.message", &json!({"msgtype": "m.text", "body": text}))
    }

    /// The newest event of the room for which this holds.
    fn until_event(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let state = self.state();
            let events = state["rooms"][0]["events"].as_array().cloned().unwrap_or_default();
            events.into_iter().rev().find(|event| holds(event)).ok_or_else(|| state["rooms"].to_string())
        })
    }

    fn until_said(&self, text: &str) -> Value {
        self.until_event(&format!("`{text}` in the room"), |event| event["content"]["body"] == text)
    }
}

/// A sandbox, and a browser to look at it with.
struct Stage {
    // Dropped in this order.
    browser: Browser,
    sandbox: Sandbox,
    _folder: TempDir,
}

impl Stage {
    /// `None` where there is no browser, after saying so.
    fn set(words: &[&str]) -> Option<Self> {
        Browser::present().then(|| {
            let folder = peers::folder();
            let sandbox = Sandbox::start_with(folder.path(), words);
            Self { browser: Browser::start(), sandbox, _folder: folder }
        })
    }

    fn customer(&self, name: &str) -> Page {
        let mut page = self.browser.open(&format!("{}/customer", self.sandbox.url));
        page.size(1100, 760, false);
        page.dark(false);
        page.picture("customer-enter");
        page.enter("#enter-name", name);
        page.shows("#live", "live");
        page
    }

    /// Kim's page, and the room in which support is too.
    fn chat(&self) -> (Support<'_>, Page, String) {
        let (support, page) = (Support::new(&self.sandbox), self.customer("Kim"));
        let room = support.room();
        support.join(&room);
        (support, page, room)
    }
}

#[test]
fn a_customer_writes_and_is_answered_in_the_browser() {
    let Some(stage) = Stage::set(&["--homeserver"]) else { return };
    let mut support = Support::new(&stage.sandbox);
    let mut page = stage.customer("Kim Lee");
    let room = support.room();
    page.shows("#sub", "has been asked to join");
    support.join(&room);
    page.shows(".fact", "Acme support joined");
    page.enter("#text", "My order 42 never came. See https://acme.example/orders/42 please");
    let asked = support.until_said("My order 42 never came. See https://acme.example/orders/42 please");
    assert_eq!(asked["sender"], "@kim-lee:sandbox.test");
    let asked = asked["event_id"].as_str().unwrap().to_owned();
    support.send(
        &room,
        SUPPORT,
        "m.room.message",
        &json!({"msgtype": "m.notice", "body": "Thank you, somebody will be with you shortly."}),
    );
    page.shows(".fact.notice", "somebody will be with you shortly");
    support.call(Method::POST, &format!("rooms/{room}/receipt/m.read/{asked}"), Some(SUPPORT), &json!({}));
    page.shows(".msg.out .read", "Seen");
    agent_answers(&mut support, &mut page, &room, &asked);
    customer_acts(&support, &mut page, &room);
    looks(&mut page);
    page.has_no_complaints();
}

/// A ghost comes in, types, answers with markup and a picture, and is read.
fn agent_answers(support: &mut Support<'_>, page: &mut Page, room: &str, asked: &str) {
    let ghost = "@_desk_agent_7:sandbox.test";
    support.call(Method::PUT, &format!("profile/{ghost}/displayname"), Some(ghost), &json!({"displayname": "Sam"}));
    support.call(Method::POST, &format!("rooms/{room}/invite"), Some(SUPPORT), &json!({"user_id": ghost}));
    support.call(Method::POST, &format!("join/{room}"), Some(ghost), &json!({}));
    let typing = format!("rooms/{room}/typing/{ghost}");
    support.call(Method::PUT, &typing, Some(ghost), &json!({"typing": true, "timeout": 30_000}));
    page.shows(".typing", "Sam is typing");
    page.picture("customer-typing");
    support.call(Method::PUT, &typing, Some(ghost), &json!({"typing": false}));
    page.until("the end of typing", "!document.querySelector('.typing')");
    let markup = "<p>Order <strong>42</strong> ships <em>today</em>:</p>\
        <ul><li>boots</li><li>a <code>SKU-9</code> lace</li></ul>";
    let answer = json!({
        "msgtype": "m.text", "body": "Order 42 ships today", "format": "org.matrix.custom.html", "formatted_body": markup,
        "m.relates_to": {"m.in_reply_to": {"event_id": asked}},
    });
    let answer = support.send(room, ghost, "m.room.message", &answer);
    page.shows(".msg .bubble.rich strong", "42");
    page.shows(".msg .quote", "My order 42 never came");
    page.shows("#name", "Sam");
    let read = format!("rooms.get(open).receipts.get(me.user_id) === {}", json!(answer));
    page.until("the customer's receipt", &read);
}

/// Reply, edit, react, delete and attach.
fn customer_acts(support: &Support<'_>, page: &mut Page, room: &str) {
    page.click(".msg:not(.out) [aria-label=Reply]");
    page.shows("#about-text", "Reply to Sam");
    page.enter("#text", "Thank yuo!");
    let reply = support.until_said("Thank yuo!");
    assert!(reply["content"]["m.relates_to"]["m.in_reply_to"]["event_id"].is_string());
    page.shows(".msg.out .bubble", "Thank yuo!");
    page.press("ArrowUp", 38);
    page.until("the text to edit", "document.querySelector('#text').value === 'Thank yuo!'");
    page.evaluate("document.querySelector('#text').value = ''");
    page.enter("#text", "Thank you!");
    let edit = support.until_said("* Thank you!");
    assert_eq!(edit["content"]["m.relates_to"]["event_id"], reply["event_id"]);
    page.shows(".msg.out .foot", "edited");
    page.click(".msg:not(.out) [aria-label=React]");
    page.click(".picker [aria-label='React with 🎉']");
    let reaction = support.until_event("a reaction", |event| event["type"] == "m.reaction");
    assert_eq!(reaction["content"]["m.relates_to"]["key"], "🎉");
    page.shows(".marks", "🎉");
    page.enter("#text", "wrong window");
    support.until_said("wrong window");
    page.shows(".msg.out .bubble", "wrong window");
    page.evaluate("[...document.querySelectorAll('.msg.out [aria-label=Delete]')].pop().click()");
    page.shows(".msg.deleted", "Message deleted");
    let folder = peers::folder();
    let file = folder.path().join("crack.svg.png");
    fs::write(&file, PICTURE).expect("a file is written");
    page.attach("#files", &file);
    page.shows("#held", "crack.svg.png");
    page.click("#send");
    let sent = support.until_event("a picture", |event| event["content"]["msgtype"] == "m.image");
    assert_eq!((&sent["content"]["info"]["w"], &sent["room_id"]), (&json!(1), &json!(room)));
    page.until(
        "the picture to be shown",
        "[...document.querySelectorAll('.pic img')].some((one) => one.naturalWidth === 1)",
    );
}

/// One transparent point, as PNG.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

/// Nothing sticks out at either size, in either light.
fn looks(page: &mut Page) {
    for (name, width, height, phone) in [("desktop", 1100, 760, false), ("phone", 390, 780, true)] {
        page.size(width, height, phone);
        for dark in [false, true] {
            page.dark(dark);
            page.until("no sideways scrolling", "document.documentElement.scrollWidth <= innerWidth");
            page.evaluate("toEnd()");
            page.picture(&format!("customer-{name}-{}", if dark { "dark" } else { "light" }));
        }
    }
}

#[test]
fn two_tabs_are_two_customers_and_a_reload_keeps_each() {
    let Some(stage) = Stage::set(&["--homeserver"]) else { return };
    let support = Support::new(&stage.sandbox);
    let (mut kim, mut sam) = (stage.customer("Kim"), stage.customer("Sam"));
    kim.enter("#text", "I am Kim");
    kim.shows(".msg.out .bubble", "I am Kim");
    kim.call("Page.reload", &json!({}));
    kim.shows(".msg.out .bubble", "I am Kim");
    kim.shows("#sub", "you are Kim");
    sam.shows("#sub", "you are Sam");
    assert_eq!(sam.evaluate("document.querySelectorAll('.msg').length"), json!(0));
    assert_eq!(support.state()["rooms"].as_array().unwrap().len(), 2, "a reload makes no chat");
    kim.click("#leave");
    kim.shows("#gate-text", "This chat has ended");
    kim.picture("customer-ended");
    kim.has_no_complaints();
}

#[test]
fn a_page_comes_back_by_itself_when_the_sandbox_does() {
    let Some(stage) = Stage::set(&["--homeserver"]) else { return };
    let (mut support, mut page, room) = stage.chat();
    support.say(&room, SUPPORT, "before");
    page.shows(".bubble", "before");
    stage.sandbox.down(1);
    page.shows("#live.lost", "reconnecting");
    until("the sandbox to be back", || http::get(&stage.sandbox.url).map(drop));
    support.say(&room, SUPPORT, "after");
    page.shows(".bubble", "after");
    page.shows("#live", "live");
    assert_eq!(page.evaluate("document.querySelectorAll('.msg').length"), json!(2), "nothing twice");
}

#[test]
fn foreign_markup_is_inert_on_the_customers_page() {
    let Some(stage) = Stage::set(&["--homeserver"]) else { return };
    let (mut support, mut page, room) = stage.chat();
    let bad = "document.title='bad'";
    let markup = format!(
        "<mx-reply>old quote</mx-reply><script>{bad}</script><style>body{{display:none}}</style>\
         <img src=\"x\" onerror=\"{bad}\" alt=\"a cat\"><a href=\"javascript:{bad}\">track</a><svg onload=\"{bad}\"></svg>\
         <iframe srcdoc=\"x\"></iframe><form action=\"/x\"><input name=\"y\"></form>\
         <a href=\"https://acme.example/\" onclick=\"{bad}\" style=\"color:red\" class=\"app\">a link</a><b>end</b>"
    );
    let content = json!({
        "msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": markup,
    });
    support.send(&room, SUPPORT, "m.room.message", &content);
    page.shows(".bubble.rich b", "end");
    let count = |selector: &str| format!("document.querySelectorAll('.rich {selector}').length");
    for selector in ["script", "style", "img", "svg", "iframe", "form", "input", "[onclick]", "[style]", ".app"] {
        assert_eq!(page.evaluate(&count(selector)), json!(0), "{selector}");
    }
    let links = "[...document.querySelectorAll('.rich a')].map((link) => link.getAttribute('href'))";
    assert_eq!(page.evaluate(links), json!([null, "https://acme.example/"]));
    let shown = page.evaluate("document.querySelector('.rich').innerText");
    assert_eq!(shown, "a cattracka linkend", "text stays, an old quote does not");
    // What is written by others stands as it is.
    let raw = json!({"type": "m.room.message", "event_id": "$odd", "sender": 5, "content": "no object"});
    let body = json!({"room_id": room, "event": raw});
    http::post_json(&format!("{}/sandbox/homeserver/raw", stage.sandbox.url), &body).expect("the sandbox answers");
    support.say(&room, SUPPORT, "<b>not bold</b>");
    page.shows(".bubble", "<b>not bold</b>");
    page.until("the title to be ours", "document.title.endsWith('Chat with support')");
}

#[test]
fn the_agents_page_shows_what_comes_in_and_sends_what_is_typed() {
    let Some(stage) = Stage::set(&[]) else { return };
    let sandbox = &stage.sandbox;
    let mut page = stage.browser.open(&sandbox.url);
    page.size(1100, 760, false);
    page.shows("#live", "live");
    let post = |path: &str, body: Value| {
        let url = format!("{}/api/v1/accounts/1{path}", sandbox.url);
        let headers = [("api-access-token", TOKEN), ("content-type", "application/json")];
        let answer = http::request(Method::POST, &url, &headers, Some(body.to_string().into_bytes()));
        answer.expect("the sandbox answers").json()
    };
    let contact = post("/contacts", json!({"inbox_id": 7, "source_id": "libera/ada", "name": "Ada"}));
    let contact = contact["payload"]["contact"]["id"].as_u64().expect("a contact");
    let body = json!({"inbox_id": 7, "contact_id": contact, "source_id": "libera/ada"});
    let conversation = post("/conversations", body)["id"].as_u64().expect("a conversation");
    let messages = format!("/conversations/{conversation}/messages");
    post(&messages, json!({"content": "Hello <b>there</b>", "message_type": "incoming"}));
    page.shows(".row", "Hello <b>there</b>");
    page.click(".row");
    page.shows(".bubble", "Hello <b>there</b>");
    page.enter("#text", "Good morning");
    page.shows(".msg.out .bubble", "Good morning");
    until("the reply at the inbox", || {
        let desk = sandbox.desk();
        let found =
            desk.conversations.iter().flat_map(|one| &one.messages).any(|message| message.text() == "Good morning");
        found.then_some(()).ok_or_else(|| format!("{desk:?}"))
    });
    page.picture("agent-desktop");
    page.size(390, 780, true);
    page.until("no sideways scrolling", "document.documentElement.scrollWidth <= innerWidth");
    page.picture("agent-phone");
    page.has_no_complaints();
}
