//! Addresses: which may be links, and how they are written so that nothing in them acts.

use url::Url;

use super::escape::is_reference;

/// Where a link in a message leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(String),
    /// A user or a room, by id or alias; its text is its name.
    Mention(String),
    Nowhere,
}

/// The schemes that Matrix allows.
const SCHEMES: [&str; 5] = ["https", "http", "ftp", "mailto", "magnet"];

pub(super) fn target_of(href: &str) -> Target {
    let Ok(url) = Url::parse(href.trim()) else { return Target::Nowhere };
    if let Some(id) = mentioned(&url) {
        return Target::Mention(id);
    }
    match address(&url) {
        Some(address) => Target::Address(address),
        None => Target::Nowhere,
    }
}

/// An address that may be a link, as a browser would read it, in characters that mean nothing in Markdown or HTML.
pub(super) fn allowed(href: &str) -> Option<String> {
    address(&Url::parse(href.trim()).ok()?)
}

fn address(url: &Url) -> Option<String> {
    if !SCHEMES.contains(&url.scheme()) {
        return None;
    }
    let written = url.as_str();
    let mut out = String::with_capacity(written.len());
    for (at, byte) in written.bytes().enumerate() {
        // As a character reference it would become another address.
        let ends_reference = byte == b';' && ends_reference(&written[..at]);
        if byte.is_ascii_graphic() && !b"<>()\"`{}|\\^*".contains(&byte) && !ends_reference {
            out.push(byte.into());
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    Some(out)
}

fn ends_reference(before: &str) -> bool {
    let name = before.len() - before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '#').len();
    let (rest, name) = before.split_at(before.len() - name);
    rest.ends_with('&') && is_reference(&format!("{name};"))
}

/// The id in a link to a user or a room; a link to one event is an address like any other.
fn mentioned(url: &Url) -> Option<String> {
    let path = match url.scheme() {
        "https" | "http" if url.host_str() == Some("matrix.to") => url.fragment()?.strip_prefix('/')?,
        "matrix" => return mentioned_by_uri(url.path()),
        _ => return None,
    };
    let path = path.split('?').next().unwrap_or_default();
    let id = percent_decoded(path.trim_end_matches('/'));
    (id.starts_with(['@', '#', '!']) && !id.contains('/')).then_some(id)
}

fn mentioned_by_uri(path: &str) -> Option<String> {
    let (kind, id) = path.split_once('/')?;
    let sign = match kind {
        "u" | "user" => '@',
        "r" | "room" => '#',
        "roomid" => '!',
        _ => return None,
    };
    (!id.contains('/')).then(|| format!("{sign}{}", percent_decoded(id)))
}

fn percent_decoded(text: &str) -> String {
    let plain = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(plain.as_bytes()).next().map_or(String::new(), |(key, _)| key.into_owned())
}

/// Whether a link's text is where it leads, so that the text alone says all.
pub(super) fn says(text: &str, address: &str) -> bool {
    let text = text.trim();
    let bare = |address: &str| address.trim_end_matches('/').to_owned();
    let address_bare = bare(address);
    if bare(text) == address_bare || address.strip_prefix("mailto:") == Some(text) {
        return true;
    }
    allowed(text).is_some_and(|read| bare(&read) == address_bare)
}

/// Whether a link's text looks like an address itself, but like another one than that to which it leads.
pub(super) fn hides(text: &str, address: &str) -> bool {
    let without_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    poses_as_address(text) && text.trim().trim_end_matches('/') != without_scheme.trim_end_matches('/')
}

fn poses_as_address(text: &str) -> bool {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if lower.contains("://") || lower.starts_with("www.") || lower.starts_with("mailto:") {
        return true;
    }
    let host = text.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let mut labels = host.rsplit('.');
    let last = labels.next().unwrap_or_default();
    !text.contains(char::is_whitespace)
        && last.chars().count() >= 2
        && last.chars().all(char::is_alphabetic)
        && labels.next().is_some_and(|label| !label.is_empty())
}

/// The bare addresses in a text, as byte ranges: from the scheme to the next blank, without what ends a sentence.
pub(super) fn addresses(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for (colon, _) in text.match_indices("://") {
        let word = text[..colon].trim_end_matches(|c: char| c.is_ascii_alphanumeric());
        let scheme = &text[word.len()..colon];
        let starts = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        if !starts || word.ends_with(char::is_alphanumeric) || found.last().is_some_and(|last| last.end > word.len()) {
            continue;
        }
        let rest = &text[word.len()..];
        let end = rest.find(|c: char| c.is_whitespace() || "<>\"".contains(c)).unwrap_or(rest.len());
        let length = sentence_end(&rest[..end]);
        if length > scheme.len() + "://".len() {
            found.push(word.len()..word.len() + length);
        }
    }
    found
}

/// Where an address ends that stands in a sentence: a closing bracket belongs to it only if it was opened in it.
fn sentence_end(token: &str) -> usize {
    let mut end = token.len();
    let mut surplus = token.matches(')').count() as isize - token.matches('(').count() as isize;
    while let Some(last) = token[..end].chars().next_back() {
        match last {
            ')' if surplus > 0 => surplus -= 1,
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' | ']' => {}
            _ => break,
        }
        end -= last.len_utf8();
    }
    end
}
