//! One envelope's whole history: accepted, each attempt with how it ended and why, and where it is now.

use maud::{Markup, html};

use super::{letters, shell::For, status::Status, words};
use crate::{
    http::Front,
    model::EnvelopeId,
    store::{Attempt, EnvelopeState, History},
};

pub(super) async fn page(front: &Front, to: &For<'_>, status: &Status, id: EnvelopeId) -> Markup {
    let history = front.store.history_of(id).await;
    html! {
        p.back { a href="/" { "← Status" } }
        @match history {
            Ok(Some(history)) => (story(to, status, &history, &letters::link(id))),
            Ok(None) => p.none { "It is no longer known: finished messages are forgotten after the time that the settings say." },
            Err(error) => p.notice.bad role="alert" { "The store cannot be read: " (error) "." },
        }
    }
}

pub(super) fn story(to: &For<'_>, status: &Status, history: &History, back: &str) -> Markup {
    let key = history.key.as_str();
    html! {
        article.story {
            header {
                h2.key { (words::exact(key)) }
                p.facts { (letters::about(history.about.as_ref(), &history.sink)) }
                p { (state(&history.state, status.now_millis)) }
                @if matches!(history.state, EnvelopeState::Dead { .. }) { (letters::buttons(to, back, &[key], key)) }
            }
            ol.line {
                li { (words::at(history.accepted_millis)) " " b { "accepted" } }
                @for tried in &history.attempts { (attempt(tried)) }
                (end(&history.state, history.attempts.last().and_then(|last| last.reason.as_deref())))
            }
        }
    }
}

fn state(state: &EnvelopeState, now_millis: i64) -> Markup {
    match state {
        EnvelopeState::Waiting { due_millis } if *due_millis > now_millis => {
            html! { span.state.warn { "waiting" } " next attempt in " (words::span(due_millis - now_millis)) }
        }
        EnvelopeState::Waiting { .. } => html! { span.state.warn { "waiting" } " due now" },
        EnvelopeState::Done { .. } => html! { span.state.good { "done" } },
        EnvelopeState::Dead { .. } => html! { span.state.bad { "given up" } },
        EnvelopeState::Discarded { .. } => html! { span.state { "discarded" } },
    }
}

fn attempt(tried: &Attempt) -> Markup {
    let outcome = match tried.outcome.as_deref() {
        Some("done") => "took effect",
        Some("again") => "surely not done, to be tried again",
        Some("doubt") => "may have taken effect",
        Some("dead") => "given up",
        Some(_) | None => "under way",
    };
    html! {
        li {
            (words::at(tried.started_millis)) " " b { "attempt " (tried.number) } " "
            span.outcome { (outcome) }
            @if let Some(ended) = tried.ended_millis { span.soft { " after " (length(ended - tried.started_millis)) } }
            @if let Some(reason) = &tried.reason { p { (words::foreign(reason)) } }
        }
    }
}

fn length(millis: i64) -> String {
    if millis < 1_000 { format!("{} ms", millis.max(0)) } else { words::span(millis) }
}

/// `said` is why the last attempt ended, which needs no saying twice.
fn end(state: &EnvelopeState, said: Option<&str>) -> Markup {
    match state {
        EnvelopeState::Waiting { .. } => html! {},
        EnvelopeState::Done { at_millis, result } => html! {
            li {
                (words::at(*at_millis)) " " b { "done" }
                @if let Some(result) = result { p { "known there as " code { (words::foreign(result)) } } }
            }
        },
        EnvelopeState::Dead { at_millis, reason } => html! {
            li {
                (words::at(*at_millis)) " " b { "given up" }
                @if said != Some(reason) { p { (words::foreign(reason)) } }
            }
        },
        EnvelopeState::Discarded { at_millis } => html! { li { (words::at(*at_millis)) " " b { "discarded" } } },
    }
}
