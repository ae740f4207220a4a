//! The lists: what was given up, with what can be done about it, and what has waited longest.

use maud::{Markup, html};

use super::{asked::Asked, shell::For, words};
use crate::{
    model::{About, EnvelopeId},
    store::{DeadLetter, Listed, RowMark},
};

/// Where one envelope's whole history is shown.
pub(super) fn link(id: EnvelopeId) -> String {
    Asked { id: Some(id), ..Asked::default() }.address()
}

pub(super) fn dead(to: &For<'_>, now_millis: i64, asked: &Asked, (letters, count): (&[DeadLetter], u64)) -> Markup {
    let keys: Vec<&str> = letters.iter().map(|letter| letter.key.as_str()).collect();
    let older = letters.last().map(|last| RowMark { at_millis: last.died_millis, id: last.id });
    let older = Asked { after: older.filter(|_| (letters.len() as u64) < count), ..asked.clone() };
    html! {
        section aria-labelledby="dead" {
            div.head {
                h2 #dead { "Given up " span.count { (words::count(count)) } }
                @if keys.len() > 1 { (all_shown(to, asked, &keys)) }
            }
            @if letters.is_empty() {
                p.none { @if asked.after.is_some() { "No older ones." } @else { "Nothing. What cannot be delivered is kept here." } }
            } @else {
                ul.letters { @for letter in letters { (one(to, now_millis, asked, letter)) } }
            }
            @if older.after.is_some() || asked.after.is_some() {
                p.more {
                    @if asked.after.is_some() { a href=(Asked { after: None, ..asked.clone() }.address()) { "Newest" } " " }
                    @if older.after.is_some() && !letters.is_empty() { a href=(older.address()) { "Older" } }
                }
            }
        }
    }
}

fn one(to: &For<'_>, now_millis: i64, asked: &Asked, letter: &DeadLetter) -> Markup {
    html! {
        li {
            div.what {
                p.reason { (words::foreign(&letter.reason)) }
                p.facts {
                    (about(letter.about.as_ref(), &letter.sink))
                    " · " (words::ago(letter.died_millis, now_millis))
                    " · " (words::many(letter.attempts.into(), "attempt", "attempts"))
                    " · " a.key href=(link(letter.id)) { (words::foreign(letter.key.as_str())) }
                }
            }
            (buttons(to, &asked.address(), &[letter.key.as_str()], letter.key.as_str()))
        }
    }
}

fn all_shown(to: &For<'_>, asked: &Asked, keys: &[&str]) -> Markup {
    let what = format!("all {} shown", keys.len());
    buttons(to, &asked.address(), keys, &what)
}

/// Retry at once; discard, which cannot be undone, at the second click.
pub(super) fn buttons(to: &For<'_>, back: &str, keys: &[&str], what: &str) -> Markup {
    let several = keys.len() > 1;
    html! {
        form.do method="post" action="/letters/retry" {
            (to.token())
            input type="hidden" name="back" value=(back);
            @for key in keys { input type="hidden" name="key" value=(key); }
            button aria-label=(format!("Retry {what}")) { "Retry" @if several { " " (what) } }
            details {
                summary aria-label=(format!("Discard {what}")) { "Discard" @if several { " " (what) } }
                button.danger formaction="/letters/discard" aria-label=(format!("Discard {what} for good")) {
                    "Discard for good"
                }
            }
        }
    }
}

pub(super) fn waiting(now_millis: i64, rows: &[Listed], count: u64) -> Markup {
    html! {
        section aria-labelledby="waiting" {
            div.head { h2 #waiting { "Waiting longest " span.count { "of " (words::count(count)) } } }
            ul.letters {
                @for (place, row) in rows.iter().enumerate() {
                    // Many wait for the same reason, which is said once.
                    @let said = place > 0 && rows[place - 1].reason == row.reason;
                    (one_waiting(row, now_millis, said))
                }
            }
        }
    }
}

fn one_waiting(row: &Listed, now_millis: i64, said: bool) -> Markup {
    html! {
        li.tight[said] {
            div.what {
                @if !said { p.reason { (why(row, now_millis)) } }
                p.facts {
                    (about(row.about.as_ref(), &row.sink))
                    " · accepted " (words::ago(row.accepted_millis, now_millis))
                    @if row.attempts > 0 { " · " (words::many(row.attempts.into(), "attempt", "attempts")) }
                    " · " a.key href=(link(row.id)) { (words::foreign(row.key.as_str())) }
                }
            }
        }
    }
}

/// Why it has not been done yet.
fn why(row: &Listed, now_millis: i64) -> Markup {
    html! {
        @if row.open { span.tag { "under way or in doubt" } " " }
        @match &row.reason {
            Some(reason) => (words::foreign(reason)),
            None => "Not tried yet",
        }
        @if row.due_millis > now_millis { span.soft { " · again in " (words::span(row.due_millis - now_millis)) } }
    }
}

/// Whom and what it is about, and where it goes.
pub(super) fn about(about: Option<&About>, sink: &str) -> Markup {
    let what = match about.map(|about| about.what) {
        Some("message") => "message",
        Some("reply") => "reply",
        Some("status") => "status of a reply",
        Some("note") => "note",
        Some("withdrawal") => "withdrawal",
        Some("resolved") => "end of a conversation",
        Some(_) | None => "order",
    };
    let who = about.and_then(|about| about.who.as_deref());
    let thread = about.and_then(|about| about.thread.as_ref());
    let (conversation, message) = about.map_or((None, None), |about| (about.conversation, about.message));
    html! {
        (what)
        @if let Some(who) = who { " from " b { (words::foreign(who)) } }
        " to " (words::sink(sink))
        @if let Some(thread) = thread { ", thread " (words::foreign(thread.as_str())) }
        @if let Some(conversation) = conversation { ", conversation " (conversation) }
        @if let Some(message) = message {
            ", message " a href=(Asked { q: Some(message.to_string()), ..Asked::default() }.address()) { (message) }
        }
    }
}
