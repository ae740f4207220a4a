//! Says in a line or a few what a file inside a mail is: another mail, an appointment.

use super::{
    headers,
    markdown::{Line, Quote, escaped},
    mime::{decoded, head},
    shown,
};

const LABEL_CHARS_MAX: usize = 200;
/// Octets of a calendar, and lines of it, that are looked at.
const CALENDAR_BYTES_MAX: usize = 256 * 1024;
const CALENDAR_LINES_MAX: usize = 5000;

/// Who wrote the inner mail, about what and when.
pub(super) fn mail_head(raw: &[u8]) -> Vec<Line> {
    let head = head(raw, 0);
    let mail = headers::from_head(&head);
    let from = mail.from.first().map(|from| match &from.address {
        Some(address) if from.name.is_empty() => address.to_string(),
        Some(address) => format!("{} <{address}>", from.name),
        None => from.name.clone(),
    });
    let date = shown::one_line(&head.first("date").unwrap_or_default(), LABEL_CHARS_MAX);
    let says = [("From", from.unwrap_or_default()), ("Subject", mail.subject), ("Date", date)];
    says.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| quoted(&format!("{key}: {value}")))
        .collect()
}

/// A line of the quote in which an inner mail is shown.
pub(super) fn quoted(plain: &str) -> Line {
    Line { markdown: format!("> {}", escaped(plain, true)), plain: plain.to_owned(), ..Line::default() }
}

/// Markdown lines of the inner mail, inside the quote.
pub(super) fn quoted_markdown(markdown: &str) -> Vec<Line> {
    let line =
        |line: &str| Line { markdown: format!("> {line}"), plain: line.to_owned(), quote: Quote::Own, mark: None };
    markdown.split('\n').map(line).collect()
}

/// What kind of appointment, when it begins, who asks.
pub(super) fn calendar(bytes: &[u8]) -> Option<Line> {
    let text = decoded(None, &bytes[..bytes.len().min(CALENDAR_BYTES_MAX)]);
    let text = text.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
    let mut event = Event::default();
    for line in text.split('\n').take(CALENDAR_LINES_MAX) {
        event.line(line);
    }
    let says: Vec<String> = [event.summary, event.start, event.organizer].into_iter().flatten().collect();
    if says.is_empty() {
        return None;
    }
    let method = match event.method.as_deref() {
        Some("REQUEST") => "Invitation",
        Some("CANCEL") => "Cancelled appointment",
        Some("REPLY") => "Answer to an invitation",
        Some("COUNTER") => "Proposal of another time",
        Some(_) | None => "Appointment",
    };
    let plain = format!("{method}: {}", says.join(", "));
    Some(Line { markdown: escaped(&plain, true), plain, ..Line::default() })
}

#[derive(Default)]
struct Event {
    method: Option<String>,
    summary: Option<String>,
    start: Option<String>,
    organizer: Option<String>,
    /// Of what is open inside of the calendar: only its event counts.
    inside: Vec<String>,
    done: bool,
}

impl Event {
    fn line(&mut self, line: &str) {
        let Some((key, value)) = split(line) else { return };
        let (name, parameters) = key.split_once(';').unwrap_or((key, ""));
        let name = name.trim().to_ascii_uppercase();
        let in_event = !self.done && self.inside.last().is_some_and(|kind| kind == "VEVENT" || kind == "VTODO");
        match name.as_str() {
            "BEGIN" if self.inside.len() < 10 => self.inside.push(value.trim().to_ascii_uppercase()),
            "END" => self.done |= self.inside.pop().is_some_and(|kind| kind == "VEVENT"),
            "METHOD" => self.method = Some(value.trim().to_ascii_uppercase()),
            "SUMMARY" if in_event && self.summary.is_none() => self.summary = label(&unescaped(value)),
            "DTSTART" if in_event && self.start.is_none() => self.start = label(&moment(value, parameters)),
            "ORGANIZER" if in_event && self.organizer.is_none() => {
                self.organizer = label(&organizer(value, parameters));
            }
            _ => {}
        }
    }
}

/// At the colon outside of quotes.
fn split(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = line.find(|c| {
        quoted ^= c == '"';
        c == ':' && !quoted
    })?;
    Some((&line[..at], &line[at + 1..]))
}

fn label(text: &str) -> Option<String> {
    Some(shown::one_line(text, LABEL_CHARS_MAX)).filter(|label| !label.is_empty())
}

fn unescaped(value: &str) -> String {
    value.replace("\\n", " ").replace("\\N", " ").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\")
}

/// `20240131T093000Z` as people write it; what has another form stays as it is.
fn moment(value: &str, parameters: &str) -> String {
    let value = value.trim();
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let zone = match parameter(parameters, "TZID") {
        Some(zone) => format!(" {zone}"),
        None if value.ends_with('Z') => " UTC".to_owned(),
        None => String::new(),
    };
    let date = |d: &str| format!("{}-{}-{}", &d[..4], &d[4..6], &d[6..8]);
    match digits.len() {
        8 => date(&digits),
        14 => format!("{} {}:{}{zone}", date(&digits), &digits[8..10], &digits[10..12]),
        _ => value.to_owned(),
    }
}

fn organizer(value: &str, parameters: &str) -> String {
    let value = value.trim();
    let address = value.get(7..).filter(|_| value[..7].eq_ignore_ascii_case("mailto:")).unwrap_or(value);
    match parameter(parameters, "CN") {
        Some(name) if name != address => format!("{name} <{address}>"),
        Some(_) | None => address.to_owned(),
    }
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (known, value) = parameter.split_once('=')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
    })
}
