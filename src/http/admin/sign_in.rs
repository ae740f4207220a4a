//! In by the admin token, out by a button. A visit has a new id, which nobody knew before.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use super::{form, guard, shell, visits::Visits, words};
use crate::http::Front;

pub(super) async fn enter(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let admin = &front.admin;
    let Some(token) = admin.token() else { return shell::off() };
    let (form, visitor) = match form::sent(&front, &headers, &body) {
        Ok(sent) => sent,
        Err(refused) => return *refused,
    };
    let now = front.clock.now();
    if let Some(pause) = admin.limit.form_pause(now) {
        let seconds = pause.as_secs() + 1;
        let reason = format!("Too many wrong tokens: wait {}", words::span(seconds as i64 * 1000));
        let mut answer = shell::sign_in(admin, &visitor, StatusCode::TOO_MANY_REQUESTS, Some(&reason));
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return answer;
    }
    // A token that was copied brings a blank or a line end with it.
    let given = form.first("token").unwrap_or_default().trim();
    if !guard::is_same(given, token.expose()) {
        admin.limit.wrong_in_form(now);
        tracing::warn!("somebody gave a wrong admin token on the status page");
        return shell::sign_in(admin, &visitor, StatusCode::UNAUTHORIZED, Some("That is not the admin token"));
    }
    admin.limit.right_in_form();
    tracing::info!("an operator signed in on the status page");
    let id = Visits::new_id();
    admin.visits.begin(&id, now);
    let mut answer = shell::see("/");
    answer.headers_mut().insert(header::SET_COOKIE, visitor.cookie_of(&id));
    answer
}

pub(super) async fn leave(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    match form::sent(&front, &headers, &body) {
        Ok((_, visitor)) => {
            front.admin.visits.end(&visitor.id);
            shell::see("/")
        }
        Err(refused) => *refused,
    }
}
