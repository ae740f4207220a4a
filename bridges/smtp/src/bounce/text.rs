//! Reports that are written for people only: what can be guessed from the words of the servers that write them.

use super::{Action, DIAGNOSTIC_MAX, RECIPIENTS_MAX, RecipientReport, decoded, one_line, status::enhanced};
use crate::{
    address::Address,
    mail::mime::{Head, Part},
};

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
pub(super) fn read(top: &Head<'_>, leaves: &[&Part<'_>]) -> Option<Words> {
    let failed: Vec<Address> =
        top.values("x-failed-recipients").flat_map(|value| addresses(&value)).take(RECIPIENTS_MAX).collect();
    let part = leaves.iter().find(|part| part.media_type.starts_with("text/"))?;
    let text = decoded(part);
    let text = String::from_utf8_lossy(&text);
    if failed.is_empty() && !looks_like_one(top, &text) {
        return None;
    }
    let (words, returned) = cut(&text);
    let gave_up = gave_up(words) || !failed.is_empty();
    let found = scan(words, &failed, gave_up);
    let recipients: Vec<_> = found.into_iter().map(|found| found.finish(gave_up)).collect();
    (!recipients.is_empty()).then(|| Words { recipients, returned: returned.as_bytes().to_vec() })
}

/// A person may write of a code too. A report comes from no person, or says in its subject what it is.
fn looks_like_one(top: &Head<'_>, text: &str) -> bool {
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
    let from = top.first("from").unwrap_or_default().to_lowercase();
    let subject = top.first("subject").unwrap_or_default().to_lowercase();
    text.trim_start().starts_with("Hi. This is the qmail-send program")
        || ROBOTS.iter().any(|robot| from.contains(&format!("{robot}@")) || from.trim() == *robot)
        || SUBJECTS.iter().any(|words| subject.contains(words))
}

fn gave_up(words: &str) -> bool {
    const SIGNS: [&str; 12] = [
        "giving up",
        "given up",
        "gave up",
        "permanent",
        "expired",
        "could not be",
        "could not deliver",
        "wasn't able to deliver",
        "unable to deliver",
        "not reach",
        "failed",
        "undeliver",
    ];
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
        // Some put no mark there, and the copy begins with the first field of its head.
        let begins = ["received: ", "return-path: "]
            .iter()
            .any(|name| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
        if begins {
            return text.split_at(at);
        }
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
    /// The line that was heard last.
    line: usize,
}

impl Found {
    fn new(address: &Address) -> Self {
        Self { address: address.clone(), status: None, diagnostic: String::new(), line: 0 }
    }

    /// Takes the most telling line, and those that it runs on in.
    fn hear(&mut self, number: usize, line: &str, code: Option<&str>) {
        let runs_on = self.line + 1 == number && line.starts_with([' ', '\t']) && !self.diagnostic.is_empty();
        // What the other server said is more than what this one makes of it.
        let said = line.contains(" said: ") && !self.diagnostic.contains(" said: ");
        if self.status.is_none() && (code.is_some() || self.diagnostic.is_empty() || said) {
            self.status = code.map(str::to_owned);
            self.diagnostic = one_line(line, DIAGNOSTIC_MAX);
            self.line = number;
        } else if runs_on {
            self.diagnostic = one_line(&format!("{} {line}", self.diagnostic), DIAGNOSTIC_MAX);
            self.line = number;
        }
    }

    fn finish(self, gave_up: bool) -> RecipientReport {
        let status = self.status.unwrap_or_else(|| "5.0.0".to_owned());
        let action = match status.as_bytes().first() {
            Some(b'4') if !gave_up => Action::Delayed,
            Some(_) | None => Action::Failed,
        };
        RecipientReport { address: Some(self.address), action, status, diagnostic: self.diagnostic, remote: None }
    }
}

/// Each code goes to the address in its line or to the nearest one above it. An address without a code counts where a field of
/// the head calls it failed, where a line begins with it as Postfix and qmail write, or where it has a line for itself in a
/// mail that says that it was given up.
fn scan(words: &str, failed: &[Address], gave_up: bool) -> Vec<Found> {
    let mut found: Vec<Found> = failed.iter().map(Found::new).collect();
    let mut nearest: Option<(usize, Address)> = None;
    let mut paragraph: Option<Address> = None;
    for (number, line) in words.lines().take(LINES_MAX).enumerate() {
        let line = line.char_indices().find(|(at, _)| *at >= LINE_BYTES_MAX).map_or(line, |(at, _)| &line[..at]);
        let here = addresses(line).into_iter().next();
        let alone = here.as_ref().is_some_and(|address| line.trim().trim_matches(['<', '>', ':']) == address.as_str());
        if let Some(address) = &here {
            nearest = Some((number, address.clone()));
            if (line.starts_with('<') && line.contains(">:")) || (alone && gave_up) {
                paragraph = Some(address.clone());
                entry(&mut found, address);
            }
        } else if line.trim().is_empty() {
            paragraph = None;
        }
        // One of success here is a version or a date.
        let code = enhanced(line).filter(|code| !code.starts_with('2'));
        let close = nearest.as_ref().filter(|(at, _)| number - at <= REACH).map(|(_, address)| address);
        let Some(address) = paragraph.as_ref().or(close.filter(|_| code.is_some())) else { continue };
        if let Some(entry) = entry(&mut found, address).filter(|_| !alone) {
            entry.hear(number, line, code);
        }
    }
    found
}

fn entry<'f>(found: &'f mut Vec<Found>, address: &Address) -> Option<&'f mut Found> {
    if let Some(at) = found.iter().position(|known| known.address == *address) {
        return found.get_mut(at);
    }
    if found.len() < RECIPIENTS_MAX {
        found.push(Found::new(address));
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
