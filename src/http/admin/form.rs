//! Forms of our pages: taken only as our own page sent them, in one visit or before it.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use url::form_urlencoded;

use super::{
    guard::{self, Visitor},
    shell,
};
use crate::http::Front;

/// The field that holds the token of the page.
pub(super) const TOKEN: &str = "form";

pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn of(query: &[u8]) -> Self {
        Self(form_urlencoded::parse(query).into_owned().collect())
    }

    /// The first field of this name, if it holds anything.
    pub(super) fn first(&self, name: &'static str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// What a page of ours sent, and who. Refused when it was not one, or one that was given to somebody else.
pub(super) fn sent(front: &Arc<Front>, headers: &HeaderMap, body: &Bytes) -> Result<(Form, Visitor), Box<Response>> {
    let visitor = Visitor::of(&front.admin, headers, front.clock.now());
    let form = Form::of(body);
    if !guard::from_our_page(headers) {
        tracing::warn!("a form of the status page was sent from elsewhere and refused");
        return Err(Box::new(shell::plain(StatusCode::FORBIDDEN, "This form was not sent from the status page")));
    }
    if !form.first(TOKEN).is_some_and(|token| front.admin.visits.is_form_token(&visitor.id, token)) {
        let reason = "This page is too old: load it again, and send the form anew";
        return Err(Box::new(shell::plain(StatusCode::FORBIDDEN, reason)));
    }
    Ok((form, visitor))
}
