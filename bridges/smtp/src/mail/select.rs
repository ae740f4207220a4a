//! Decides what each part of a mail is for: text to read, a file, a mail inside the mail. It looks at structure only.

use super::mime::{Part, Tree};

/// What is to be shown, in the order of the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Text(usize),
    Html(usize),
    /// The same said twice.
    Either {
        plain: Vec<Item>,
        html: Vec<Item>,
    },
    File(usize),
    /// A mail inside the mail.
    Mail(usize),
    Calendar(usize),
    Encrypted,
    /// Signed in a form that hides the text from those who do not know it.
    Sealed,
    /// One piece of a mail that was cut in several.
    Piece,
}

pub(super) fn select(tree: &Tree<'_>) -> Vec<Item> {
    let mut out = Vec::new();
    part(tree, 0, &mut out);
    out
}

/// As deep as multiparts are opened, which is bounded.
fn part(tree: &Tree<'_>, at: usize, out: &mut Vec<Item>) {
    let part_at = &tree.parts[at];
    if !part_at.is_multipart {
        return leaf(part_at, at, out);
    }
    let children = tree.children(at);
    match (part_at.media_type.as_str(), children.as_slice()) {
        // The boundary never came: what is there is text.
        (_, []) => out.push(Item::Text(at)),
        ("multipart/alternative", children) => alternative(tree, children, out),
        ("multipart/related", children) => related(tree, at, children, out),
        ("multipart/signed", [first, rest @ ..]) => {
            part(tree, *first, out);
            rest.iter().filter(|at| !is_signature(&tree.parts[**at])).for_each(|at| part(tree, *at, out));
        }
        ("multipart/encrypted", children) => {
            out.push(Item::Encrypted);
            let content = children.iter().filter(|at| tree.parts[**at].media_type != "application/pgp-encrypted");
            out.extend(content.map(|at| Item::File(*at)));
        }
        (_, children) => children.iter().for_each(|at| part(tree, *at, out)),
    }
}

fn leaf(part: &Part<'_>, at: usize, out: &mut Vec<Item>) {
    // The mail itself cannot be its own attachment.
    let attached = part.disposition.value == "attachment" || part.file_name().is_some();
    let shown = at == 0 || !attached;
    match part.media_type.as_str() {
        "text/plain" | "text/markdown" if shown => out.push(Item::Text(at)),
        "text/html" if shown => out.push(Item::Html(at)),
        media_type if media_type.starts_with("multipart/") && at == 0 => out.push(Item::Text(at)),
        "text/calendar" | "application/ics" => out.push(Item::Calendar(at)),
        "message/rfc822" | "message/global" => out.push(Item::Mail(at)),
        "message/partial" => out.extend([Item::Piece, Item::File(at)]),
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
            let kind = part.content.get("smime-type").unwrap_or_default().to_ascii_lowercase();
            let signed = kind.starts_with("signed") || kind.starts_with("certs") || kind.starts_with("compressed");
            out.extend([if signed { Item::Sealed } else { Item::Encrypted }, Item::File(at)]);
        }
        _ => out.push(Item::File(at)),
    }
}

/// The last one of each kind is the best one. What is no text is a file, whatever it stands beside.
fn alternative(tree: &Tree<'_>, children: &[usize], out: &mut Vec<Item>) {
    let html = children.iter().copied().rfind(|at| holds(tree, *at, "text/html"));
    let plain = children.iter().copied().rfind(|at| Some(*at) != html && holds(tree, *at, "text/plain"));
    let items = |at: Option<usize>| {
        let mut items = Vec::new();
        if let Some(at) = at {
            part(tree, at, &mut items);
        }
        items
    };
    out.push(Item::Either { plain: items(plain), html: items(html) });
    let chosen = |at: &usize| Some(*at) == html || Some(*at) == plain;
    for at in children.iter().filter(|at| !chosen(at)) {
        let media_type = tree.parts[*at].media_type.as_str();
        let other_text = media_type.starts_with("text/") && media_type != "text/calendar";
        if !other_text || tree.parts[*at].file_name().is_some() {
            part(tree, *at, out);
        }
    }
}

fn related(tree: &Tree<'_>, at: usize, children: &[usize], out: &mut Vec<Item>) {
    let start = tree.parts[at].content.get("start").unwrap_or_default();
    let start = start.trim_matches(['<', '>', ' ']);
    let is_root = |at: &usize| !start.is_empty() && tree.parts[*at].content_id().as_deref() == Some(start);
    let Some(root) = children.iter().copied().find(is_root).or_else(|| children.first().copied()) else { return };
    part(tree, root, out);
    for at in children.iter().copied().filter(|at| *at != root) {
        if tree.parts[at].is_multipart { part(tree, at, out) } else { out.push(Item::File(at)) }
    }
}

/// Whether the part is such a text, or holds one.
fn holds(tree: &Tree<'_>, at: usize, media_type: &str) -> bool {
    let is = |at: usize| tree.parts[at].media_type == media_type && tree.parts[at].disposition.value != "attachment";
    // Children stand behind their parents, so that one pass finds all that is inside.
    let mut inside = vec![false; tree.parts.len()];
    inside[at] = true;
    for child in at + 1..tree.parts.len() {
        inside[child] = tree.parts[child].parent.is_some_and(|parent| inside[parent]);
    }
    (at..tree.parts.len()).any(|at| inside[at] && is(at))
}

fn is_signature(part: &Part<'_>) -> bool {
    ["application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"]
        .contains(&part.media_type.as_str())
}

impl Part<'_> {
    /// As the sender wrote it.
    pub(super) fn file_name(&self) -> Option<String> {
        self.disposition.get("filename").or_else(|| self.content.get("name")).filter(|name| !name.trim().is_empty())
    }
    pub(super) fn content_id(&self) -> Option<String> {
        Some(self.head.first("content-id")?.trim().trim_matches(['<', '>']).to_owned())
    }
}
