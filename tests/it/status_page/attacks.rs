//! What a stranger's page, a foreign name and a guesser can do: nothing.

use deskbridge::sandbox::SandboxSettings;
use reqwest::{Method, StatusCode};

use super::{Browser, given_up};
use crate::world::World;

/// One try to change something.
struct Try {
    what: &'static str,
    path: &'static str,
    /// Of the request beside those of a form; `HOST` stands for the gateway's address.
    headers: &'static [(&'static str, &'static str)],
    /// The form's token: the visit's own, or another.
    token: Token,
    cookie: Cookie,
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    Right,
    None,
    Wrong,
    OfAnotherVisit,
}

#[derive(Clone, Copy, PartialEq)]
enum Cookie {
    Visit,
    None,
    /// Of a visitor who has not signed in.
    Stranger,
    Odd,
}

const OURS: &[(&str, &str)] = &[("origin", "http://HOST")];
const RETRY: &str = "/letters/retry";
const DISCARD: &str = "/letters/discard";

const fn attempt(
    what: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    token: Token,
    cookie: Cookie,
) -> Try {
    Try { what, path, headers, token, cookie }
}

const PAUSE: &str = "/bridges/pause";
const SWEEP: &str = "/inboxes/sweep";

const TRIES: [Try; 31] = [
    attempt("no token to pause", PAUSE, OURS, Token::None, Cookie::Visit),
    attempt("another visit's token to pause", PAUSE, OURS, Token::OfAnotherVisit, Cookie::Visit),
    attempt("a stranger's cookie to pause", PAUSE, OURS, Token::Right, Cookie::Stranger),
    attempt("a foreign origin to reconnect", "/bridges/reconnect", &[("origin", "null")], Token::Right, Cookie::Visit),
    attempt("no cookie to sweep", SWEEP, OURS, Token::Right, Cookie::None),
    attempt("the API with the cookie alone to pause", "/admin/bridges/net/pause", OURS, Token::Right, Cookie::Visit),
    attempt("no token", RETRY, OURS, Token::None, Cookie::Visit),
    attempt("a wrong token", RETRY, OURS, Token::Wrong, Cookie::Visit),
    attempt("another visit's token", RETRY, OURS, Token::OfAnotherVisit, Cookie::Visit),
    attempt("no token to discard", DISCARD, OURS, Token::None, Cookie::Visit),
    attempt("another visit's token to discard", DISCARD, OURS, Token::OfAnotherVisit, Cookie::Visit),
    attempt("no token to sign out", "/sign-out", OURS, Token::None, Cookie::Visit),
    attempt("no cookie", RETRY, OURS, Token::Right, Cookie::None),
    attempt("a stranger's cookie and token", RETRY, OURS, Token::Right, Cookie::Stranger),
    attempt("a stranger's cookie to discard", DISCARD, OURS, Token::Right, Cookie::Stranger),
    attempt("an odd cookie", RETRY, OURS, Token::Right, Cookie::Odd),
    attempt("no origin", RETRY, &[], Token::Right, Cookie::Visit),
    attempt("an opaque origin", RETRY, &[("origin", "null")], Token::Right, Cookie::Visit),
    attempt("a foreign origin", RETRY, &[("origin", "http://evil.example")], Token::Right, Cookie::Visit),
    attempt("a foreign origin to discard", DISCARD, &[("origin", "https://evil.example")], Token::Right, Cookie::Visit),
    attempt("another port of ours", RETRY, &[("origin", "http://127.0.0.1:1")], Token::Right, Cookie::Visit),
    attempt("another name of ours", RETRY, &[("origin", "http://localhost")], Token::Right, Cookie::Visit),
    attempt(
        "an origin that only begins as ours",
        RETRY,
        &[("origin", "http://HOST.evil.example")],
        Token::Right,
        Cookie::Visit,
    ),
    attempt("an origin of another scheme", RETRY, &[("origin", "ftp://HOST")], Token::Right, Cookie::Visit),
    attempt(
        "plain http behind a proxy that speaks https",
        RETRY,
        &[("origin", "http://HOST"), ("x-forwarded-proto", "https")],
        Token::Right,
        Cookie::Visit,
    ),
    attempt(
        "another site, says the browser",
        RETRY,
        &[("origin", "http://HOST"), ("sec-fetch-site", "cross-site")],
        Token::Right,
        Cookie::Visit,
    ),
    attempt(
        "the same site, but not the same origin",
        DISCARD,
        &[("origin", "http://HOST"), ("sec-fetch-site", "same-site")],
        Token::Right,
        Cookie::Visit,
    ),
    attempt(
        "a foreign name that leads to us",
        RETRY,
        &[("host", "evil.example"), ("origin", "http://evil.example")],
        Token::Right,
        Cookie::Visit,
    ),
    attempt(
        "a foreign name with our port",
        DISCARD,
        &[("host", "evil.example:8600"), ("origin", "http://evil.example:8600")],
        Token::Right,
        Cookie::Visit,
    ),
    attempt(
        "a foreign name that looks like ours",
        RETRY,
        &[("host", "127.0.0.1.evil.example"), ("origin", "http://127.0.0.1.evil.example")],
        Token::Right,
        Cookie::Visit,
    ),
    attempt("an address of the API with the cookie alone", "/admin/outbox/retry", OURS, Token::Right, Cookie::Visit),
];

#[tokio::test]
async fn thirty_one_ways_to_use_somebody_elses_visit_change_nothing() {
    let world = World::new().await;
    let key = given_up(&world, "ada", "no such nick").await;
    let (mut operator, mut another, mut stranger) = (Browser::new(&world), Browser::new(&world), Browser::new(&world));
    operator.sign_in("admin").await;
    another.sign_in("admin").await;
    let own = operator.get("/").await.token().to_owned();
    let others = another.get("/").await.token().to_owned();
    let strangers = stranger.get("/").await.token().to_owned();
    let address = world.gateway.address().to_string();
    for one in &TRIES {
        let mut browser = Browser::new(&world);
        browser.cookie = match one.cookie {
            Cookie::Visit => operator.cookie.clone(),
            Cookie::None => None,
            Cookie::Stranger => stranger.cookie.clone(),
            Cookie::Odd => Some("deskbridge_visit=../../etc/passwd".to_owned()),
        };
        let token = match one.token {
            Token::Right if one.cookie == Cookie::Stranger => &strangers,
            Token::Right => &own,
            Token::None => "",
            Token::Wrong => "00ff",
            Token::OfAnotherVisit => &others,
        };
        let headers: Vec<_> =
            one.headers.iter().map(|(name, value)| (*name, value.replace("HOST", &address))).collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let form = [("form", token), ("key", key.as_str()), ("name", "net")];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = browser.send(Method::POST, one.path, &headers, &form).await;
        assert!(answer.status.is_client_error(), "{}: {} {}", one.what, answer.status, answer.text);
        assert_eq!(world.store.dead(9).await.unwrap().len(), 1, "{}", one.what);
        assert_eq!(world.gateway.board().bridges()["net"].state, bridge_api::BridgeState::Up, "{}", one.what);
        assert_eq!(operator.get("/").await.status, 200, "{}: still signed in", one.what);
    }
    assert_eq!(world.network.texts("a:ada"), Vec::<String>::new());
    // The same form, sent as it should be, does it.
    let page = operator.get("/").await;
    let done = operator.post(RETRY, &[("form", page.token()), ("key", &key)]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    world.network.wait_for_texts("a:ada", 1).await;
}

#[tokio::test]
async fn the_page_answers_under_its_own_names_only() {
    let world = World::adjusted(SandboxSettings::default(), |plan| {
        plan.admin_hosts = vec!["status.acme.example".to_owned()];
    })
    .await;
    let mut browser = Browser::new(&world);
    browser.sign_in("admin").await;
    for (host, expected) in [
        ("localhost:8600", 200),
        ("127.0.0.1", 200),
        ("status.acme.example", 200),
        ("STATUS.ACME.EXAMPLE:443", 200),
        ("evil.example", 421),
        ("acme.example", 421),
        ("192.0.2.1", 421),
    ] {
        for path in ["/", "/live", "/?q=x"] {
            let answer = browser.send(Method::GET, path, &[("host", host)], "").await;
            assert_eq!(answer.status.as_u16(), expected, "{host} {path}");
            assert!(expected == 200 || !answer.text.contains("support"), "{}", answer.text);
        }
    }
    // A program needs none of our names: nothing that a browser sends by itself opens the API.
    let headers = [("host", "deskbridge:8600"), ("authorization", "Bearer admin")];
    assert_eq!(browser.send(Method::GET, "/admin/status", &headers, "").await.status, 200);
}

#[tokio::test]
async fn every_answer_forbids_what_the_page_does_not_need() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    let mut answers =
        vec![browser.get("/").await, browser.send(Method::GET, "/", &[("host", "evil.example")], "").await];
    answers.push(browser.post("/letters/retry", &[("key", "x")]).await);
    browser.sign_in("admin").await;
    for path in ["/", "/live", "/?q=nothing", "/?id=1", "/?id=x&q=&sink=%00&after=.&before=-1"] {
        answers.push(browser.get(path).await);
    }
    answers.push(browser.send(Method::GET, "/admin/status", &[("authorization", "Bearer admin")], "").await);
    answers.push(browser.send(Method::GET, "/admin/status", &[], "").await);
    for answer in &answers {
        assert!(answer.status.as_u16() < 500, "{}", answer.text);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{name}: {}", answer.text);
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let nonce = |text: &str| text.split("nonce-").nth(1).map(|rest| rest[..32].to_owned());
    let (one, two) = (browser.get("/").await, browser.get("/").await);
    let policies = (one.header("content-security-policy"), two.header("content-security-policy"));
    assert!(nonce(policies.0).is_some() && nonce(policies.0) != nonce(policies.1), "a nonce is used once");
}
