//! What stands around every page: its head, its policy, the header with search and sign-out; and the pages that
//! strangers see.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Admin, form::TOKEN, guard::Visitor, visits::random};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// A dot, which the script colours.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='6' fill='%235b7083'/%3E%3C/svg%3E";

/// What a page needs of whom it is for.
pub(super) struct For<'a> {
    pub(super) admin: &'a Admin,
    pub(super) visitor: &'a Visitor,
}

impl For<'_> {
    /// The hidden field that ties a form to this visit.
    pub(super) fn token(&self) -> Markup {
        html! { input type="hidden" name=(TOKEN) value=(self.admin.visits.form_token(&self.visitor.id)); }
    }
}

/// A whole page for somebody who is signed in.
pub(super) fn page(to: &For<'_>, title: &str, search: &str, notice: Option<&str>, live: &Markup) -> Response {
    let body = html! {
        a.skip href="#live" { "Skip to the content" }
        header.top {
            a.brand href="/" { "deskbridge" }
            form.search method="get" action="/" role="search" {
                label.unseen for="q" { "Search" }
                input #q type="search" name="q" value=(search) autocomplete="off" spellcheck="false" maxlength="500"
                    placeholder="Message key, person, address, Chatwoot number";
                button { "Search" }
            }
            p #pulse.pulse aria-live="off" { noscript { a href="" { "Load again" } } }
            form method="post" action="/sign-out" { (to.token()) button.quiet { "Sign out" } }
        }
        main {
            @if let Some(notice) = notice { p.notice role="status" { (notice) } }
            (live)
        }
    };
    whole(StatusCode::OK, title, &body, true)
}

/// For whoever has not signed in, with what went wrong.
pub(super) fn sign_in(admin: &Admin, visitor: &Visitor, status: StatusCode, wrong: Option<&str>) -> Response {
    let to = For { admin, visitor };
    let body = html! {
        main.door {
            h1 { "deskbridge" }
            form method="post" action="/sign-in" {
                (to.token())
                // For password stores, which want a name beside the password.
                input.unseen type="text" name="username" value="operator" autocomplete="username" tabindex="-1"
                    aria-hidden="true" readonly;
                label for="token" { "Admin token" }
                input #token type="password" name="token" required autofocus autocomplete="current-password"
                    aria-describedby=[wrong.map(|_| "wrong")];
                @if let Some(wrong) = wrong { p #wrong.wrong role="alert" { (wrong) "." } }
                button.main { "Sign in" }
            }
            p.hint { "It is " code { "gateway.admin_token" } " in the settings." }
        }
    };
    let mut answer = whole(status, "Sign in", &body, false);
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"deskbridge\""));
    }
    if let Some(cookie) = visitor.cookie() {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// Where the settings have no token.
pub(super) fn off() -> Response {
    let body = html! {
        main.door {
            h1 { "deskbridge" }
            p { "The status page is off, because the settings have no admin token." }
            p { "To switch it on, put a long random one into the settings and start deskbridge again:" }
            pre { "[gateway]\nadmin_token_file = \"/run/secrets/deskbridge_admin\"" }
            p { "The file holds the token alone. " code { "openssl rand -hex 32" } " makes a good one. "
                code { "admin_token = \"...\"" } " does as well, in a file that nobody else can read." }
        }
    };
    whole(StatusCode::OK, "Off", &body, false)
}

/// For whoever followed a link from elsewhere: our own page asks again, and then the browser sends its cookie.
pub(super) fn again() -> Response {
    let page =
        html! { (DOCTYPE) html lang="en" { head { title { "deskbridge" } meta http-equiv="refresh" content="0"; } } };
    axum::response::Html(page.into_string()).into_response()
}

/// One sentence, and the way back.
pub(super) fn plain(status: StatusCode, sentence: &str) -> Response {
    let body =
        html! { main.door { h1 { "deskbridge" } p { (sentence) "." } p { a href="/" { "To the status page" } } } };
    whole(status, "deskbridge", &body, false)
}

/// After a form: look there.
pub(super) fn see(address: &str) -> Response {
    let address = HeaderValue::from_str(address).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response()
}

fn whole(status: StatusCode, title: &str, body: &Markup, alive: bool) -> Response {
    let nonce = hex::encode(random::<16>());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · deskbridge" }
                link #icon rel="icon" href=(ICON);
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                @if alive { script nonce=(nonce) { (PreEscaped(SCRIPT)) } }
            }
        }
    };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("the nonce is hex digits");
    (status, [(header::CONTENT_SECURITY_POLICY, policy)], axum::response::Html(page.into_string())).into_response()
}
