//! The status itself: each far side in a row, with the few numbers that say whether somebody has to do something.

use bridge_api::BridgeState;
use maud::{Markup, html};

use super::{
    asked::Asked,
    letters, lever,
    shell::For,
    status::{Side, Status, Tone},
    words,
};
use crate::{http::Front, store::Rows};

/// Dead letters, and envelopes that wait, on one page.
const LETTERS_SHOWN: usize = 50;
const WAITING_SHOWN: usize = 10;
/// People who were not let in, by name.
const AWAY_SHOWN: usize = 10;
/// What waits longer than this is worth a look.
const LATE_MILLIS: i64 = 60_000;

/// Everything that is asked for anew, with what the script needs for the window's title.
pub(super) fn live(status: &Status, heading: &str, inside: &Markup) -> Markup {
    html! { div #live data-tone=(class(status.tone())) data-title=(heading) { (inside) } }
}

/// The whole in one short sentence.
pub(super) fn title(status: &Status) -> String {
    let of = |tone| status.sides().filter(|side| side.tone() == tone).count() as u64;
    let mut said = Vec::new();
    if status.store.fault.is_some() {
        said.push("the store fails".to_owned());
    }
    for (count, what) in [(of(Tone::Bad), "down"), (of(Tone::Warn), "not well")] {
        if count > 0 {
            said.push(format!("{} {what}", words::count(count)));
        }
    }
    if status.dead > 0 {
        said.push(format!("{} given up", words::count(status.dead)));
    }
    if status.stopping {
        said.push("stopping".to_owned());
    }
    let sentence = said.join(", ");
    let mut letters = sentence.chars();
    letters.next().map_or("All is well".to_owned(), |first| first.to_uppercase().chain(letters).collect())
}

pub(super) async fn page(front: &Front, to: &For<'_>, status: &Status, asked: &Asked) -> Markup {
    let rows = |count_max, after| Rows { sink: asked.sink.clone(), after, count_max };
    let (dead, waiting) = (rows(LETTERS_SHOWN, asked.after), rows(WAITING_SHOWN, None));
    let lists = tokio::try_join!(front.store.dead_rows(&dead), front.store.list_rows(&waiting));
    let of_sink = asked.sink.as_ref().and_then(|sink| status.sides().find(|side| side.sink == *sink));
    let (dead_count, waiting_count) = of_sink.map_or((status.dead, status.waiting), |side| (side.dead, side.waiting));
    html! {
        (summary(status))
        (sides(to, status, "Bridges", (&status.bridges, asked)))
        (sides(to, status, "Inboxes", (&status.inboxes, asked)))
        (gone(status))
        @if let Some(sink) = &asked.sink {
            p.filter { "Below: only what is for " b { (words::foreign(&words::sink(sink))) } ". " a href="/" { "Show all" } }
        }
        @match lists {
            Ok((dead, waiting)) => {
                (letters::dead(to, status.now_millis, asked, (&dead, dead_count)))
                @if !waiting.is_empty() { (letters::waiting(status.now_millis, &waiting, waiting_count)) }
            }
            Err(error) => p.notice.bad role="alert" { "The lists cannot be read: " (error) "." }
        }
        (footer(status))
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
    }
}

fn summary(status: &Status) -> Markup {
    let oldest = status.sides().filter_map(|side| side.figures.oldest_millis).max();
    let rate = |of: fn(&Side) -> Option<u64>| status.bridges.iter().filter_map(of).reduce(|a, b| a + b);
    html! {
        div.sum {
            h1 class=(class(status.tone())) { (title(status)) }
            dl {
                div { dt { "Waiting" } dd { (words::count(status.waiting)) } }
                div { dt { "Oldest" } dd { (oldest.map_or("–".to_owned(), words::span)) } }
                div { dt { "Given up" } dd.warn[status.dead > 0] { (words::count(status.dead)) } }
                div { dt { "In, a minute" } dd { (figure(rate(|side| side.figures.inbound_per_minute))) } }
                div { dt { "Out, a minute" } dd { (figure(rate(|side| side.figures.outbound_per_minute))) } }
            }
        }
        @if let Some(fault) = &status.store.fault {
            p.notice.bad role="alert" { "Nothing new can be taken: " (words::foreign(fault)) "." }
        }
        @if status.stopping { p.notice { "The gateway is stopping." } }
    }
}

fn figure(number: Option<u64>) -> String {
    number.map_or_else(|| "–".to_owned(), words::count)
}

/// Nothing is not looked at.
fn quiet(number: Option<u64>) -> Markup {
    let nothing = number.is_none_or(|number| number == 0);
    html! { @if nothing { span.soft { (figure(number)) } } @else { (figure(number)) } }
}

fn sides(to: &For<'_>, status: &Status, heading: &str, (sides, asked): (&[Side], &Asked)) -> Markup {
    let inboxes = heading == "Inboxes";
    html! {
        section.sides aria-labelledby=(heading) {
            h2 #(heading) { (heading) }
            @if sides.is_empty() { p.none { "The settings name none." } } @else {
                table role="table" aria-labelledby=(heading) {
                    thead role="rowgroup" { tr role="row" {
                        th role="columnheader" scope="col" { @if inboxes { "Inbox" } @else { "Bridge" } }
                        th role="columnheader" scope="col" { "State" }
                        th.n role="columnheader" scope="col" title="Messages from the network, in the last minute" { "In/min" }
                        th.n role="columnheader" scope="col" title="Replies to the network, in the last minute" { "Out/min" }
                        th.n role="columnheader" scope="col" title="How long the oldest undelivered message has waited" { "Lag" }
                        th.n role="columnheader" scope="col" { "Waiting" }
                        th.n role="columnheader" scope="col" { "Given up" }
                        th.n role="columnheader" scope="col" title="Last message that reached the inbox" { "Last in" }
                        th.n role="columnheader" scope="col" title="Last reply that reached the network" { "Last out" }
                    } }
                    tbody role="rowgroup" { @for side in sides { (row(to, status, side, asked)) } }
                }
            }
        }
    }
}

fn row(to: &For<'_>, status: &Status, side: &Side, asked: &Asked) -> Markup {
    let (now, figures) = (status.now_millis, &side.figures);
    let below = Asked { sink: Some(side.sink.clone()), ..Asked::default() }.address();
    let late = figures.oldest_millis.is_some_and(|oldest| oldest > LATE_MILLIS);
    let last =
        |millis: Option<i64>| html! { @match millis { Some(at) => (words::ago(at, now)), None => (quiet(None)) } };
    html! {
        tr role="row" class=(class(side.tone())) {
            th.name role="rowheader" scope="row" {
                a href=(below) { (side.name) }
                @if let Some(inbox) = &side.inbox { span.soft { " → " (inbox) } }
            }
            td.how role="cell" data-label="State" {
                (state(side, now))
                (turned_away(side, now))
                (lever::buttons(to, side, &asked.address()))
            }
            td.n role="cell" data-label="In/min" { (quiet(figures.inbound_per_minute)) }
            td.n role="cell" data-label="Out/min" { (quiet(figures.outbound_per_minute)) }
            td.n.warn[late] role="cell" data-label="Lag" {
                @match figures.oldest_millis { Some(oldest) => (words::span(oldest)), None => (quiet(None)) }
            }
            td.n role="cell" data-label="Waiting" { (quiet(Some(side.waiting))) }
            td.n.warn[side.dead > 0] role="cell" data-label="Given up" { (quiet(Some(side.dead))) }
            td.n role="cell" data-label="Last in" { (last(figures.last_inbound_millis)) }
            td.n role="cell" data-label="Last out" { (last(figures.last_outbound_millis)) }
        }
    }
}

fn state(side: &Side, now_millis: i64) -> Markup {
    let Some(stated) = &side.stated else { return html! { span.state.warn { "unknown" } } };
    let (word, reason) = match &stated.state {
        BridgeState::Up => ("up", None),
        BridgeState::Connecting => ("connecting", None),
        BridgeState::Degraded { reason } => ("degraded", Some(reason)),
        BridgeState::Down { reason } => ("down", Some(reason)),
        BridgeState::Elsewhere => ("elsewhere", None),
    };
    // For good is what the settings no longer name; the rest is tried again.
    let held = side.figures.held_until_millis.filter(|until| *until > now_millis && *until < i64::MAX);
    html! {
        span.state.{ (class(side.tone())) } { (word) }
        span.soft { " for " (words::since(stated.since_millis, now_millis)) }
        @if let Some(until) = held { span.soft { ", again in " (words::span(until - now_millis)) } }
        @if let Some(reason) = reason { p.why { (words::foreign(reason)) } }
        @if let Some(swept) = side.figures.last_sweep_millis {
            p.why.soft title="The last time that the inbox was asked what no callback had told" {
                "swept " (words::ago(swept, now_millis))
                @if let Some(found) = side.figures.sweep_recovered.filter(|found| *found > 0) {
                    ", which found " (words::many(found, "message", "messages")) " since the start"
                }
            }
        }
    }
}

/// Who was not let in: counted since the start, the latest by name.
fn turned_away(side: &Side, now_millis: i64) -> Markup {
    let refused = side.figures.refused.filter(|refused| *refused > 0 && side.inbox.is_some());
    html! {
        @if let Some(refused) = refused {
            details.away {
                summary { (words::many(refused, "message", "messages")) " not let in since the start" }
                ul {
                    @for one in side.turned_away.iter().take(AWAY_SHOWN) {
                        li {
                            (words::foreign(&one.who)) ": " (words::count(one.count)) ", "
                            @match one.reason {
                                "blocked" => "blocked by the settings",
                                "peer_limit" => "too many new conversations of this one",
                                _ => "too many new conversations of all",
                            }
                            ", last " (words::ago(one.last_millis, now_millis))
                        }
                    }
                }
            }
        }
    }
}

fn gone(status: &Status) -> Markup {
    html! {
        @if !status.gone.is_empty() {
            section aria-labelledby="gone" {
                h2 #gone { "No longer in the settings" }
                ul.gone {
                    @for gone in &status.gone {
                        li {
                            a href=(Asked { sink: Some(gone.sink.clone()), ..Asked::default() }.address()) {
                                (words::foreign(&words::sink(&gone.sink)))
                            }
                            ": " (words::count(gone.waiting)) " waiting until the settings name it again, "
                            (words::count(gone.dead)) " given up"
                        }
                    }
                }
            }
        }
    }
}

fn footer(status: &Status) -> Markup {
    html! {
        footer {
            span { "deskbridge " (status.version) }
            span { "up " (words::since(status.started_millis, status.now_millis)) }
            span { (words::foreign(&status.store.kind)) }
        }
    }
}
