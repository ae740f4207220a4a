//! What must hold for any bytes: of what a homeserver hands over, of what people wrote, and of what agents write.

use std::time::{Duration, Instant};

use bridge_api::{Report, kit::fuzz::Target};
use pulldown_cmark::{Event as Piece, Options, Parser, Tag};
use serde_json::{Value, json, value::RawValue};

use crate::{
    machine::{Answers, Machine, Me, Staged},
    receive::protocol::{Act, Closed, Protocol, closed},
    render::{Content, TEXT_BYTES_MAX, display_name, from_markdown, split, strictly, to_markdown},
    settings::Invites,
    wire::{Ephemeral, Transaction, read_body},
};

/// All of this crate.
pub const TARGETS: &[Target] = &[TRANSACTION, FRAME, HTML, MARKUP, NAME];

const NOW: i64 = 1_795_000_000_000;
const ME: &str = "@_acme_support:shop.example";
const KIM: &str = "@kim:shop.example";
/// The room of the two good messages. What names it is no odd event but a good one.
const ROOM: &str = "!good:shop.example";

/// Whatever stands between two good events takes neither of them away, and nothing that is shown to agents acts.
///
/// The input is tried as a body, and as one event and one piece of ephemeral news of another body.
const TRANSACTION: Target = Target { name: "matrix_transaction", check: transaction, runs: 4_000 };

fn transaction(data: &[u8]) {
    if let Ok(whole) = read_body(data) {
        assert_harmless_reports(&played(whole));
    }
    let body = between(data, |good, odd| {
        format!("{{\"events\":[{},{odd},{}],\"ephemeral\":[{odd},{}]}}", good[0], good[1], good[2])
    });
    let read = read_body(body.as_bytes()).expect("a body with an odd event");
    assert_good_ones(read);
}

/// A text in which the input stands where a JSON value may, beside three good ones.
fn between(data: &[u8], text: impl Fn(&[Value; 3], &str) -> String) -> String {
    let message = |id: &str, body: &str| {
        json!({ "type": "m.room.message", "event_id": id, "room_id": ROOM, "sender": KIM, "origin_server_ts": NOW,
            "content": { "msgtype": "m.text", "body": body } })
    };
    let typing = json!({ "type": "m.typing", "room_id": ROOM, "content": { "user_ids": [KIM] } });
    let words = String::from_utf8_lossy(data);
    let odd =
        serde_json::from_str::<&RawValue>(&words).map_or_else(|_| json!(words).to_string(), |raw| raw.get().to_owned());
    text(&[message("$good-1", "first"), message("$good-2", "second"), typing], &odd)
}

fn assert_good_ones(read: Transaction) {
    let good: Vec<_> = read.events.iter().filter(|event| event.id.as_str().starts_with("$good-")).collect();
    assert!(good.len() >= 2, "a good event is lost");
    assert_eq!((read.events[0].id.as_str(), read.events[read.events.len() - 1].id.as_str()), ("$good-1", "$good-2"));
    let typing = Ephemeral::Typing { room: ROOM.into(), users: vec![KIM.into()] };
    assert_eq!(read.ephemeral.last(), Some(&typing));
    let alone = good.len() == 2 && read.events.iter().filter(|event| event.room.as_str() == ROOM).count() == 2;
    let staged = played(read);
    assert_harmless_reports(&staged);
    if alone {
        let text =
            |report: &Report| if let Report::Message(message) = report { message.text.clone() } else { String::new() };
        let here = staged.inbound.iter().filter(|inbound| inbound.event.as_str().starts_with("$good-"));
        assert_eq!(here.map(|inbound| text(&inbound.report)).collect::<Vec<_>>(), ["first", "second"]);
    }
}

fn played(transaction: Transaction) -> Staged {
    let me = Me { user: ME.into(), namespace: Some("_acme_".to_owned()) };
    let mut machine = Machine::new(me, Invites::default(), &[]);
    let answers = Answers { entered: [ROOM.into(), "!odd:s".into()].into(), ..Answers::default() };
    machine.wants(&transaction);
    machine.commit(machine.take(transaction.clone(), &answers, NOW));
    // Once more, upon what it left behind; then what a new machine says of it.
    machine.commit(machine.take(transaction.clone(), &answers, NOW));
    let again = Machine::new(machine.me.clone(), Invites::default(), &[]);
    again.take(transaction, &answers, NOW)
}

fn assert_harmless_reports(staged: &Staged) {
    for inbound in &staged.inbound {
        match &inbound.report {
            Report::Message(message) => assert_harmless(&message.text),
            Report::Note { text, .. } => assert_harmless(text),
            Report::Reacted { by, sign, .. } => assert!(!by.contains(char::is_control) && sign.chars().count() <= 64),
            Report::Edited { .. } | Report::Receipt { .. } | Report::Withdrawn { .. } | _ => {}
        }
    }
}

/// A frame is answered only when it asks, by its own number; what is no object ends the connection, and no odd event
/// takes the others away. Each line of the input is a frame.
const FRAME: Target = Target { name: "matrix_frame", check: frame, runs: 4_000 };

fn frame(data: &[u8]) {
    let start = Instant::now();
    let mut protocol = Protocol::new("matrix", start);
    let mut now = start;
    for frame in String::from_utf8_lossy(data).lines() {
        let acts = protocol.hear(frame, now, NOW);
        assert_answers(frame, acts);
        now += Duration::from_secs(30);
        let asked = protocol.tick(now, NOW);
        assert!(asked.len() <= 1 && protocol.wake() >= start);
        let Closed::Other(shown) = closed(1000, frame) else { continue };
        assert!(shown.len() < 500 && !shown.contains(char::is_control), "{shown:?}");
    }
    let frame = between(data, |good, odd| {
        format!(
            "{{\"command\":\"transaction\",\"id\":3,\"txn_id\":\"t\",\"data\":{odd},\"events\":[{},{odd},{}],\"ephemeral\":[{odd},{}]}}",
            good[0], good[1], good[2]
        )
    });
    let acts = protocol.hear(&frame, now, NOW);
    let Ok([Act::Take { transaction, ack: Some(_) }]) = <[Act; 1]>::try_from(acts) else {
        panic!("{frame} is no transaction")
    };
    assert_good_ones(transaction);
}

fn assert_answers(frame: &str, acts: Vec<Act>) {
    assert!(acts.len() <= 1);
    let value: Value = serde_json::from_str(frame).unwrap_or_default();
    let command = value["command"].as_str().unwrap_or_default();
    let id = value["id"].as_u64().filter(|id| *id > 0);
    for act in acts {
        let (written, of) = match act {
            Act::Write(text) => (text, id),
            Act::Take { ack: Some(ack), .. } => {
                let Some(Act::Write(text)) = Protocol::taken(Some(ack), &Err("no room".to_owned())) else {
                    panic!("a failure is not told: {frame}")
                };
                (text, id)
            }
            Act::Take { ack: None, .. } => {
                assert_eq!(id, None, "{frame}");
                assert_eq!(Protocol::taken(None, &Ok(())), None);
                continue;
            }
            Act::Proxy { id: asked, .. } => {
                assert_eq!((asked, command), (id, "http_proxy"));
                continue;
            }
            Act::Close(_) => continue,
        };
        assert!(value.is_object() && !["response", "error"].contains(&command), "{frame} is answered by {written}");
        let written: Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(written.get("id").and_then(Value::as_u64), of.filter(|_| command != "connect"), "{frame}");
    }
}

/// HTML of a person is words to an agent's reader of Markdown: nothing of it acts, and it grows by a bound.
const HTML: Target = Target { name: "matrix_html", check: html, runs: 4_000 };

fn html(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (body, formatted) = text.split_once('\u{1}').unwrap_or((&text, &text));
    for content in [
        Content { body, formatted_body: Some(formatted), ..Content::default() },
        Content { body, formatted_body: Some(formatted), emote_of: Some(body), reply: true },
        Content { body, reply: true, ..Content::default() },
    ] {
        let markdown = to_markdown(&content);
        assert!(markdown.len() <= 256 * (text.len() + 16), "{} bytes of {}", markdown.len(), text.len());
        assert_harmless(&markdown);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; all the rest only shows words")]
fn assert_harmless(markdown: &str) {
    assert!(!markdown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{markdown:?}");
    let mut outside_code = markdown.to_owned();
    let events = Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES);
    for (event, range) in events.into_offset_iter() {
        if matches!(event, Piece::Code(_) | Piece::Start(Tag::CodeBlock(_))) {
            outside_code.replace_range(range.clone(), &"x".repeat(range.len()));
        }
        let acts = match &event {
            Piece::Html(_) | Piece::InlineHtml(_) | Piece::Start(Tag::Image { .. } | Tag::HtmlBlock) => true,
            Piece::Start(Tag::Link { dest_url, .. }) => {
                let scheme = dest_url.split(':').next().unwrap_or_default().to_ascii_lowercase();
                !["http", "https", "ftp", "mailto", "magnet"].contains(&&*scheme)
            }
            _ => false,
        };
        assert!(!acts, "{event:?} in {markdown:?}");
    }
    // The inbox takes nothing in code for a template.
    assert!(!outside_code.contains("{{") && !outside_code.contains("{%"), "a template: {markdown:?}");
}

/// An agent's Markdown becomes HTML of the forms that Matrix allows and nothing else, in pieces that fit an event.
const MARKUP: Target = Target { name: "matrix_markup", check: markup, runs: 3_000 };

fn markup(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let rendered = from_markdown(&text);
    let formatted = rendered.formatted.as_deref().unwrap_or_default();
    assert_eq!(strictly(formatted), Ok(()), "{formatted}");
    for shown in [&*rendered.body, formatted] {
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
    }
    for room in [512, TEXT_BYTES_MAX] {
        for piece in split(&text, room) {
            let piece = from_markdown(&piece);
            assert!(piece.bytes() <= room && !piece.body.is_empty(), "{} bytes in {room}", piece.bytes());
        }
    }
}

/// A name is short, shows something and hides nothing. The first line is what the member is called, the second the id.
const NAME: Target = Target { name: "matrix_name", check: name, runs: 6_000 };

fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (raw, id) = text.split_once('\n').unwrap_or((&text, "@kim:s"));
    let shown = display_name(raw, id);
    assert!(!shown.trim().is_empty() && shown.trim() == shown && shown.chars().count() <= 64, "{shown:?}");
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    assert!(!shown.contains(hides), "{shown:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_odd_event_takes_a_good_one_away() {
        TRANSACTION.play();
    }

    #[test]
    fn any_frame_is_answered_only_when_it_asks() {
        FRAME.play();
    }

    #[test]
    fn any_html_of_a_person_is_only_words() {
        HTML.play();
    }

    #[test]
    fn any_markdown_of_an_agent_is_allowed_html() {
        MARKUP.play();
    }

    #[test]
    fn any_name_is_short_and_visible() {
        NAME.play();
    }
}
