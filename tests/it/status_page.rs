//! The status page: who gets in, what is shown, what its buttons do, and what nobody from elsewhere can do with them.

use bridge_api::Fault;
use deskbridge::sandbox::SandboxSettings;
use reqwest::{Method, StatusCode, header};

use crate::world::{World, message};

mod attacks;
mod shown;

/// A browser without scripts: keeps cookies, follows nothing by itself.
pub(crate) struct Browser {
    client: reqwest::Client,
    address: String,
    cookie: Option<String>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The token of the page's forms.
    pub(crate) fn token(&self) -> &str {
        let field = self.text.split("name=\"form\" value=\"").nth(1).expect("the page has a form");
        field.split('"').next().unwrap()
    }

    /// The cookie that it sets, without its attributes.
    fn cookie(&self) -> Option<String> {
        let set = self.headers.get(header::SET_COOKIE)?.to_str().unwrap();
        Some(set.split(';').next().unwrap().to_owned())
    }
}

impl Browser {
    pub(crate) fn new(world: &World) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, address: world.gateway.address().to_string(), cookie: None }
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !form.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_owned());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let answer = Answer { status, headers, text: answer.text().await.unwrap() };
        if let Some(cookie) = answer.cookie() {
            self.cookie = Some(cookie);
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// As a browser sends a form of this page.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = format!("http://{}", self.address);
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, path, &[("origin", &origin), ("sec-fetch-site", "same-origin")], &form).await
    }

    pub(crate) async fn sign_in(&mut self, token: &str) -> Answer {
        let page = self.get("/").await;
        self.post("/sign-in", &[("form", page.token()), ("token", token)]).await
    }
}

/// A world in which a reply to `peer` was given up for this reason; the key of its envelope.
pub(crate) async fn given_up(world: &World, peer: &str, reason: &str) -> String {
    let host = world.network.host().await;
    host.accept(vec![message(peer, &format!("{peer}-1"), "hello")], Vec::new()).await.unwrap();
    world.wait_for_rest().await;
    world.network.will(Err(Fault::refused(reason)));
    let conversation = world.conversations().last().unwrap()["id"].as_u64().unwrap();
    let reply = world.sandbox.reply(conversation, "an answer").unwrap();
    world.wait_for_status(reply, "failed").await;
    world.wait_for_rest().await;
    world.store.dead(1).await.unwrap()[0].key.to_string()
}

#[tokio::test]
async fn who_has_the_token_gets_in_and_out_and_nobody_else() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    let before = browser.get("/").await;
    assert_eq!(before.status, 401);
    assert!(before.text.contains("Admin token") && !before.text.contains("Waiting"), "{}", before.text);
    let wrong = browser.sign_in("nimda").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("That is not the admin token."));
    let right = browser.sign_in(" admin\n").await;
    assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, "/"));
    let page = browser.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("All is well") && page.text.contains("support"), "{}", page.text);
    assert_eq!(browser.get("/live").await.status, 200);
    // Nobody else is signed in by that.
    assert_eq!(Browser::new(&world).get("/").await.status, 401);
    let out = browser.post("/sign-out", &[("form", page.token())]).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/").await.status, 401);
    assert_eq!(browser.get("/live").await.status, 401);
}

#[tokio::test]
async fn a_program_shows_its_token_and_needs_no_cookie() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    let bearer = [("authorization", "Bearer admin")];
    assert_eq!(browser.send(Method::GET, "/", &bearer, "").await.status, 200);
    let status = browser.send(Method::GET, "/admin/status", &bearer, "").await;
    let status: serde_json::Value = serde_json::from_str(&status.text).unwrap();
    assert_eq!(status["bridges"][0]["state"], "up", "{status}");
    assert_eq!(status["inboxes"][0]["name"], "support");
    assert_eq!(status["waiting"], 0);
    let wrong = [("authorization", "Bearer nimda")];
    assert_eq!(browser.send(Method::GET, "/", &wrong, "").await.status, 401);
    assert_eq!(browser.send(Method::GET, "/admin/status", &wrong, "").await.status, 401);
}

#[tokio::test]
async fn wrong_tokens_close_the_form_for_a_while_and_never_the_door_for_who_bears_the_right_one() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    for _ in 0..3 {
        assert_eq!(browser.sign_in("nimda").await.status, 401);
    }
    let closed = browser.sign_in("admin").await;
    assert_eq!(closed.status, StatusCode::TOO_MANY_REQUESTS, "even the right one is not looked at");
    assert!(closed.header("retry-after").parse::<u64>().unwrap() >= 1);
    // Another browser is no better off: the pause is everybody's.
    assert_eq!(Browser::new(&world).sign_in("admin").await.status, StatusCode::TOO_MANY_REQUESTS);
    for _ in 0..5 {
        let wrong = [("authorization", "Bearer nimda")];
        assert_eq!(browser.send(Method::GET, "/admin/outbox", &wrong, "").await.status, 401);
    }
    let bearer = [("authorization", "Bearer admin")];
    assert_eq!(browser.send(Method::GET, "/admin/outbox", &bearer, "").await.status, 200);
    // When the pause is over, the form is open again.
    let deadline = tokio::time::Instant::now() + crate::world::DEADLINE;
    while browser.sign_in("admin").await.status != StatusCode::SEE_OTHER {
        assert!(tokio::time::Instant::now() < deadline, "the form stays closed");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_cookie_says_nothing_to_scripts_goes_nowhere_else_and_is_new_for_each_visit() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    let before = browser.get("/").await;
    let door = before.cookie().unwrap();
    let plain = before.header("set-cookie").to_owned();
    assert!(plain.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{plain}");
    let visit = browser.sign_in("admin").await.cookie().unwrap();
    assert_ne!(door, visit, "an id that was known before opens nothing");
    assert!(visit.strip_prefix("deskbridge_visit=").is_some_and(|id| id.len() == 32), "{visit}");
    let tls = [("x-forwarded-proto", "https")];
    let secure = Browser::new(&world).send(Method::GET, "/", &tls, "").await;
    let secure = secure.header("set-cookie").to_owned();
    assert!(
        secure.starts_with("__Host-deskbridge_visit=") && secure.ends_with("; SameSite=Strict; Secure"),
        "{secure}"
    );
}

#[tokio::test]
async fn a_link_on_another_site_does_not_end_a_visit() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    browser.sign_in("admin").await;
    // With which a browser keeps its cookie for itself.
    let visit = browser.cookie.take();
    let from_elsewhere = browser.send(Method::GET, "/", &[("sec-fetch-site", "cross-site")], "").await;
    assert_eq!((from_elsewhere.status.as_u16(), from_elsewhere.cookie()), (200, None), "{}", from_elsewhere.text);
    assert!(from_elsewhere.text.contains("http-equiv=\"refresh\"") && !from_elsewhere.text.contains("support"));
    browser.cookie = visit;
    assert_eq!(browser.send(Method::GET, "/", &[("sec-fetch-site", "same-origin")], "").await.status, 200);
}

#[tokio::test]
async fn without_a_token_in_the_settings_the_page_says_how_to_switch_it_on() {
    let world = World::adjusted(SandboxSettings::default(), |plan| plan.admin_token = None).await;
    let mut browser = Browser::new(&world);
    let off = browser.get("/").await;
    assert_eq!(off.status, 200);
    assert!(off.text.contains("status page is off") && off.text.contains("admin_token"), "{}", off.text);
    assert!(!off.text.contains("support") && !off.text.contains("name=\"token\""));
    let bearer = [("authorization", "Bearer ")];
    assert_eq!(browser.send(Method::GET, "/admin/status", &bearer, "").await.status, 404);
    assert!(browser.get("/live").await.text.contains("status page is off"));
}
