//! Was this written by a robot? Looks at what a mail says of itself, never at what it is about. Pure.

use crate::{address::Address, mail::Mailbox};

mod breaker;
#[cfg(test)]
mod tests;

pub(crate) use breaker::{Breaker, Flow};

/// Field by which our own mails know each other. Its value is for the caller to check.
pub(crate) const LOOP_FIELD: &str = "X-Deskbridge-Loop";

/// What answering programs say of themselves.
const SAYS_REPLY: [&str; 5] = ["x-autoreply", "x-autorespond", "x-auto-reply", "x-autoresponder", "x-autoresponse"];
/// What lists write beside their id. `List-Unsubscribe` alone is written by shops as well; it is bulk mail all the same.
const OF_A_LIST: [&str; 6] =
    ["list-post", "list-help", "list-unsubscribe", "list-subscribe", "list-owner", "list-archive"];
/// None of these proves anything alone.
const SECOND_SIGNS: [&str; 5] = [
    "x-auto-response-suppress",
    "x-ms-exchange-generated-message-source",
    "x-ms-exchange-inbox-rules-loop",
    "x-mailer-autoreply",
    "x-vacation",
];
const OTHER_SIGNS: [&str; 6] = [LOOP_FIELD, "auto-submitted", "content-type", "feedback-id", "list-id", "precedence"];

/// Whether a field, by its name in any case, is one of those that are looked at here: the others need not be kept.
pub(crate) fn looks_at(name: &str) -> bool {
    let all = OTHER_SIGNS.iter().chain(&SAYS_REPLY).chain(&OF_A_LIST).chain(&SECOND_SIGNS);
    all.into_iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Characters of a list's name.
const LIST_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// The sign that gave a robot away.
    pub(crate) robot: Option<&'static str>,
    /// The mailing list that it came by: its id, else its address.
    pub(crate) list: Option<String>,
}

/// What a classification looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs<'x> {
    /// Names in lower case, values unfolded.
    pub(crate) fields: &'x [(String, String)],
    /// The envelope's; `None` is the null sender.
    pub(crate) sender: Option<&'x Address>,
    pub(crate) from: &'x [Mailbox],
    pub(crate) subject: &'x str,
}

pub(crate) fn classify(signs: Signs<'_>) -> Class {
    let list = list(&signs);
    Class { robot: signs.automatic(list.is_some()), list }
}

impl<'x> Signs<'x> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'x str> {
        debug_assert!(looks_at(name), "{name} is not kept");
        self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn automatic(&self, is_list: bool) -> Option<&'static str> {
        // RFC 3834, 5.2: whatever is not `no` was not written by hand, words of the future included.
        if self.values("auto-submitted").filter_map(first_token).any(|token| token != "no") {
            return Some("it says so itself (Auto-Submitted)");
        }
        if self.is_receipt() {
            return Some("it is a receipt");
        }
        let precedence = self.values("precedence").filter_map(first_token);
        if precedence.into_iter().any(|token| matches!(token.as_str(), "bulk" | "junk" | "list" | "auto_reply")) {
            return Some("it is bulk mail (Precedence)");
        }
        if is_list {
            return Some("it came by a mailing list");
        }
        for name in SAYS_REPLY {
            if self.values(name).any(|value| first_token(value).is_none_or(|token| token != "no" && token != "false")) {
                return Some("it says that it is an automatic reply");
            }
        }
        if self.values("feedback-id").next().is_some() {
            return Some("it is bulk mail (Feedback-ID)");
        }
        if self.sender.is_none() {
            return Some("it wants no answer (null sender)");
        }
        let authors = self.from.iter().filter_map(|mailbox| mailbox.address.as_ref());
        if self.sender.into_iter().chain(authors).any(|address| is_robot(address.local())) {
            return Some("its sender takes no mail");
        }
        (says_away(self.subject) && self.has_second_sign()).then_some("it says that its author is away")
    }

    fn is_receipt(&self) -> bool {
        self.values("content-type").any(|value| {
            let value = value.to_ascii_lowercase();
            value.trim_start().starts_with("multipart/report") && value.contains("disposition-notification")
        })
    }

    /// A subject alone proves nothing, since people write of their holidays too.
    fn has_second_sign(&self) -> bool {
        SECOND_SIGNS.into_iter().any(|name| self.values(name).next().is_some())
    }
}

fn list(signs: &Signs<'_>) -> Option<String> {
    if let Some(value) = signs.values("list-id").next() {
        // RFC 2919: words for people, then the id in angle brackets.
        let id = value.rsplit_once('<').map_or(value, |(_, rest)| rest.split('>').next().unwrap_or_default());
        return Some(shown(id)).filter(|id| !id.is_empty()).or_else(|| Some("unnamed".to_owned()));
    }
    let value = OF_A_LIST.into_iter().find_map(|name| signs.values(name).next())?;
    let address = value.split("mailto:").nth(1).map(|rest| rest.split(['>', '?', ',']).next().unwrap_or_default());
    Some(address.map(shown).filter(|text| !text.is_empty()).unwrap_or_else(|| "unnamed".to_owned()))
}

fn shown(text: &str) -> String {
    text.trim().chars().filter(|c| c.is_ascii_graphic() || c.is_alphanumeric()).take(LIST_MAX).collect()
}

/// The first word in lower case, comments left out. `None` when there is none.
fn first_token(value: &str) -> Option<String> {
    let mut depth = 0_usize;
    let mut token = String::new();
    for c in value.chars().take(1000) {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            c if c.is_whitespace() || c == ';' || c == ',' => {
                if !token.is_empty() {
                    break;
                }
            }
            c => token.extend(c.to_lowercase()),
        }
    }
    (!token.is_empty()).then_some(token)
}

fn is_robot(local: &str) -> bool {
    let local = local.to_lowercase();
    let plain: String = local.chars().filter(|c| !matches!(c, '-' | '_' | '.')).collect();
    matches!(plain.as_str(), "mailerdaemon" | "postmaster" | "noreply" | "donotreply" | "noreplies" | "nepasrepondre")
        || ["noreply+", "no-reply+", "donotreply+", "no-reply-", "noreply-"]
            .iter()
            .any(|start| local.starts_with(start))
        || local.starts_with("owner-")
        || local.ends_with("-request")
        || local.ends_with("-owner")
        || local.ends_with("-bounces")
}

fn says_away(subject: &str) -> bool {
    const WORDS: [&str; 14] = [
        "out of office",
        "out of the office",
        "automatic reply",
        "auto reply",
        "auto-reply",
        "autoreply",
        "auto response",
        "automatische antwort",
        "abwesenheit",
        "réponse automatique",
        "absence du bureau",
        "respuesta automática",
        "risposta automatica",
        "automatisch antwoord",
    ];
    let subject = subject.to_lowercase();
    WORDS.iter().any(|words| subject.contains(words))
}
