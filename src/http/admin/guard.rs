//! Who may ask what: the bearer of the token, a visit, and nobody else; from our own pages, under our own names.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::{
    Admin, api,
    visits::{self, Visits},
};
use crate::http::Front;

/// The visit's id, in a cookie; the first where the browser came over TLS.
const COOKIE_TLS: &str = "__Host-deskbridge_visit";
const COOKIE: &str = "deskbridge_visit";

/// For every answer, of the page and of the API: nothing is kept, guessed, framed, or told to others.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`, with which a browser would not say from where a form comes.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
/// Where a page does not say otherwise.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Lets only the bearer of the admin token through to the API.
pub(super) async fn bearer(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let answer = match proven(&front, request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(Unproven::Off) => api::refuse(StatusCode::NOT_FOUND, "there is no `gateway.admin_token` in the settings"),
        Err(Unproven::Missing) => unauthorised("the admin token is missing: send it as `Authorization: Bearer TOKEN`"),
        Err(Unproven::Wrong) => unauthorised("the admin token is wrong"),
    };
    closed(answer)
}

/// Lets only requests under one of our names through to the pages.
pub(super) async fn host(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    if front.admin.hosts.allow(request.uri(), request.headers()) {
        return closed(next.run(request).await);
    }
    let host = request.headers().get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    tracing::warn!(address = ?String::from_utf8_lossy(host), "the status page was asked for under a foreign name");
    let reason = "The status page does not answer under this name.\n\
        If the name is yours, write it into `gateway.admin_hosts` in the settings.\n";
    closed((StatusCode::MISDIRECTED_REQUEST, reason).into_response())
}

fn unauthorised(reason: &str) -> Response {
    let mut answer = api::refuse(StatusCode::UNAUTHORIZED, reason);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"deskbridge\""));
    answer
}

fn closed(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    answer
}

/// Why somebody is not the bearer of the token.
pub(super) enum Unproven {
    /// There is no token.
    Off,
    Missing,
    Wrong,
}

/// Whether the request bears the token.
pub(super) async fn proven(front: &Front, headers: &HeaderMap) -> Result<(), Unproven> {
    let admin = &front.admin;
    let Some(token) = admin.token() else { return Err(Unproven::Off) };
    let given = headers.get(header::AUTHORIZATION).ok_or(Unproven::Missing)?;
    let given = given.to_str().ok().and_then(|given| given.strip_prefix("Bearer ")).ok_or(Unproven::Missing)?;
    let turn = admin.limit.bearer_turn(front.clock.now()).await;
    let right = is_same(given, token.expose());
    drop(turn);
    if right {
        return Ok(());
    }
    admin.limit.wrong_by_bearer(front.clock.now());
    tracing::warn!("a wrong admin token was borne");
    Err(Unproven::Wrong)
}

/// Compared as hashes, so that the time taken says nothing about the token.
pub(super) fn is_same(given: &str, token: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(token)
}

/// A browser, by the cookie that it brought, or will be given.
pub(super) struct Visitor {
    pub(super) id: String,
    /// Whether a visit is open under the id.
    pub(super) signed_in: bool,
    tls: bool,
    cookie: Cookie,
}

/// Where the id is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cookie {
    Brought,
    New,
    /// New, after a link on another site: with that a browser sends no cookie of ours, although it may have one.
    Withheld,
}

impl Visitor {
    pub(super) fn of(admin: &Admin, headers: &HeaderMap, now_millis: i64) -> Self {
        let tls = over_tls(headers);
        let brought = cookie(headers, name(tls)).filter(|id| visits::is_id(id)).map(str::to_owned);
        let signed_in = brought.as_ref().is_some_and(|id| admin.visits.is_open(id, now_millis));
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let cookie = match (&brought, site) {
            (Some(_), _) => Cookie::Brought,
            (None, Some(b"cross-site" | b"same-site")) => Cookie::Withheld,
            (None, _) => Cookie::New,
        };
        Self { id: brought.unwrap_or_else(Visits::new_id), signed_in, tls, cookie }
    }

    /// Asked once more, by a page of ours, it would bring its cookie.
    pub(super) fn may_be_signed_in(&self) -> bool {
        self.cookie == Cookie::Withheld
    }

    /// The cookie, unless the browser has it.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        (self.cookie != Cookie::Brought).then(|| self.cookie_of(&self.id))
    }

    /// Gone with the browser, never sent from elsewhere, never shown to a script.
    pub(super) fn cookie_of(&self, id: &str) -> HeaderValue {
        let secure = if self.tls { "; Secure" } else { "" };
        let cookie = format!("{}={id}; Path=/; HttpOnly; SameSite=Strict{secure}", name(self.tls));
        HeaderValue::from_str(&cookie).expect("ids are hex digits")
    }
}

fn name(tls: bool) -> &'static str {
    if tls { COOKIE_TLS } else { COOKIE }
}

/// As the proxy before us says. Anybody can say so, and gets nothing by it but a stricter cookie for himself.
fn over_tls(headers: &HeaderMap) -> bool {
    let told = headers.get("x-forwarded-proto").and_then(|told| told.to_str().ok());
    told.and_then(|told| told.split(',').next()).is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(given, _)| *given == name).map(|(_, value)| value)
}

/// Whether a form was sent from a page of ours: by its origin, and where the browser says so, by its site.
pub(super) fn from_our_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    // Behind a proxy that does not say so, https may look like http to us.
    let scheme = if over_tls(headers) { scheme == "https" } else { matches!(scheme, "http" | "https") };
    let site = text(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin");
    scheme && site && authority.eq_ignore_ascii_case(host)
}
