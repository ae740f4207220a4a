//! Reports that are written for people only: what can be guessed from the words of the servers that write them.

use super::{
    Action, DIAGNOSTIC_MAX, PART_BYTES_MAX, RECIPIENTS_MAX, RecipientReport, header, one_line, part::Part,
    status::enhanced,
};
use crate::address::Address;

const LINES_MAX: usize = 2000;
const LINE_BYTES_MAX: usize = 1000;
/// A code belongs to the address that stands at most so many lines above it.
const REACH: usize = 12;

pub(super) struct Words {
    pub(super) recipients: Vec<RecipientReport>,
    /// The head of our mail, when it stands below the words.
    pub(super) returned: Vec<u8>,
}

/// `None` when this does not look like a report.
pub(super) fn read(raw: &[u8], leaves: &[Part<'_>]) -> Option<Words> {
    let failed: Vec<Address> = header::fields(raw)
        .filter(|field| field.is(b"x-failed-recipients"))
        .flat_map(|field| addresses(&field.value()))
        .take(RECIPIENTS_MAX)
        .collect();
    let part = leaves.iter().find(|part| part.media_type.starts_with("text/"))?;
    let text = part.decoded(PART_BYTES_MAX);
    let text = String::from_utf8_lossy(&text);
    if failed.is_empty() && !looks_like_one(raw, &text) {
        return None;
    }
    let (words, returned) = cut(&text);
    let found = scan(words, &failed);
    let gave_up = gave_up(words);
    let recipients: Vec<_> = found.into_iter().map(|found| found.finish(gave_up || !failed.is_empty())).collect();
    (!recipients.is_empty()).then(|| Words { recipients, returned: returned.as_bytes().to_vec() })
}

/// A person may write of a code too. A report comes from no person, or says in its subject what it is.
fn looks_like_one(raw: &[u8], text: &str) -> bool {
    const ROBOTS: [&str; 3] = ["mailer-daemon", "postmaster", "mail-daemon"];
    const SUBJECTS: [&str; 14] = [
        "undeliver",
        "delivery status",
        "delivery failure",
        "delivery failed",
        "delivery has failed",
        "failure notice",
        "returned mail",
        "returned to sender",
        "mail delivery",
        "message delayed",
        "unzustellbar",
        "non remis",
        "no se puede entregar",
        "mancato recapito",
    ];
    let from = header::value(raw, b"from").unwrap_or_default().to_lowercase();
    let subject = header::value(raw, b"subject").unwrap_or_default().to_lowercase();
    text.trim_start().starts_with("Hi. This is the qmail-send program")
        || ROBOTS.iter().any(|robot| from.contains(&format!("{robot}@")) || from.trim() == *robot)
        || SUBJECTS.iter().any(|words| subject.contains(words))
}

fn gave_up(words: &str) -> bool {
    const SIGNS: [&str; 7] = ["giving up", "given up", "permanent", "expired", "could not be", "not reach", "gave up"];
    let words = words.to_lowercase();
    SIGNS.iter().any(|sign| words.contains(sign))
        && !words.contains("will be retried")
        && !words.contains("do not need to resend")
}

/// The words, and the copy of our mail below them.
fn cut(text: &str) -> (&str, &str) {
    const MARKS: [&str; 6] = [
        "--- below this line is a copy of the message",
        "------ this is a copy of",
        "----- original message",
        "-----original message",
        "original message headers:",
        "----- message header follows",
    ];
    let mut at = 0;
    for line in text.split_inclusive('\n').take(LINES_MAX) {
        at += line.len();
        let start = line.trim_start();
        let start = start.char_indices().nth(60).map_or(start, |(end, _)| &start[..end]).to_lowercase();
        if MARKS.iter().any(|mark| start.starts_with(mark)) {
            return (&text[..at - line.len()], text[at..].trim_start_matches(['\r', '\n', ' ', '\t']));
        }
    }
    (&text[..at], "")
}

struct Found {
    address: Address,
    status: Option<String>,
    diagnostic: String,
}

impl Found {
    fn finish(self, gave_up: bool) -> RecipientReport {
        let status = self.status.unwrap_or_else(|| "5.0.0".to_owned());
        let action = match status.as_bytes().first() {
            Some(b'4') if !gave_up => Action::Delayed,
            Some(_) | None => Action::Failed,
        };
        RecipientReport {
            address: Some(self.address),
            action,
            status,
            diagnostic: self.diagnostic,
            remote: None,
            will_retry_until: None,
        }
    }
}

/// Each code goes to the address in its line or to the nearest one above it. Addresses without a code count only where a field
/// of the head, or a paragraph that begins with one as qmail's do, calls them failed.
fn scan(words: &str, failed: &[Address]) -> Vec<Found> {
    let mut found: Vec<Found> = failed
        .iter()
        .map(|address| Found { address: address.clone(), status: None, diagnostic: String::new() })
        .collect();
    let mut nearest: Option<(usize, Address)> = None;
    let mut paragraph: Option<Address> = None;
    for (number, line) in words.lines().take(LINES_MAX).enumerate() {
        let line = line.char_indices().find(|(at, _)| *at >= LINE_BYTES_MAX).map_or(line, |(at, _)| &line[..at]);
        let here = addresses(line).into_iter().next();
        if let Some(address) = &here {
            nearest = Some((number, address.clone()));
            if line.starts_with('<') && line.trim_end().ends_with(">:") {
                paragraph = Some(address.clone());
                entry(&mut found, address);
            }
        } else if line.trim().is_empty() {
            paragraph = None;
        }
        // One of success here is a version or a date.
        let code = enhanced(line).filter(|code| !code.starts_with('2')).map(str::to_owned);
        let close = nearest.as_ref().filter(|(at, _)| number - at <= REACH).map(|(_, address)| address);
        let Some(address) = paragraph.as_ref().or(close.filter(|_| code.is_some())) else { continue };
        let alone = here.is_some() && line.trim().trim_matches(['<', '>', ':']) == address.as_str();
        let Some(entry) = entry(&mut found, address).filter(|_| !alone) else { continue };
        // What the other server said is more than what this one makes of it.
        let better = code.is_some()
            || entry.diagnostic.is_empty()
            || (line.contains(" said: ") && !entry.diagnostic.contains(" said: "));
        if entry.status.is_none() && better {
            entry.diagnostic = one_line(line, DIAGNOSTIC_MAX);
            entry.status = code;
        }
    }
    found
}

fn entry<'f>(found: &'f mut Vec<Found>, address: &Address) -> Option<&'f mut Found> {
    if let Some(at) = found.iter().position(|known| known.address == *address) {
        return found.get_mut(at);
    }
    if found.len() < RECIPIENTS_MAX {
        found.push(Found { address: address.clone(), status: None, diagnostic: String::new() });
        return found.last_mut();
    }
    None
}

fn addresses(line: &str) -> Vec<Address> {
    line.split(|c: char| c.is_whitespace() || "<>(),;:\"'[]".contains(c))
        .filter(|word| word.len() > 4 && word.contains('@'))
        .map(|word| word.trim_end_matches(['.', '!', '?']))
        .filter_map(Address::parse)
        .filter(|address| address.domain().contains('.'))
        .collect()
}
