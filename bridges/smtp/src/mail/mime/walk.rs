//! Finds the parts of a mail in one pass over its lines, with a stack of boundaries instead of recursion. A mail inside
//! a mail is one part: nothing here looks into it.

use std::collections::HashMap;

use super::{
    Head, Params,
    fields::{line_end, trimmed},
    head,
};

/// Multiparts inside each other; a deeper one is one part as it is.
pub(crate) const DEPTH_MAX: usize = 50;
/// Parts that are looked at; what follows is left in the raw mail.
pub(crate) const PARTS_MAX: usize = 500;
/// The standard allows 70.
const BOUNDARY_BYTES_MAX: usize = 250;

/// One part. A multipart has children, whose `parent` it is.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) parent: Option<usize>,
    pub(crate) head: Head<'a>,
    pub(crate) content: Params,
    /// What the content is taken for: `text/plain` where nothing is declared.
    pub(crate) media_type: String,
    pub(crate) disposition: Params,
    pub(crate) encoding: String,
    /// Still encoded.
    pub(crate) body: &'a [u8],
    /// It was opened, so that its children are parts of their own.
    pub(crate) is_multipart: bool,
}

/// All parts, each behind its parent, in the order of the mail. The first one is the mail itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree<'a> {
    pub(crate) parts: Vec<Part<'a>>,
    /// A multipart was too deep to be opened.
    pub(crate) deep: bool,
    /// There are more parts.
    pub(crate) many: bool,
}

impl Tree<'_> {
    pub(crate) fn children(&self, parent: usize) -> Vec<usize> {
        (parent + 1..self.parts.len()).filter(|&at| self.parts[at].parent == Some(parent)).collect()
    }
}

struct Open {
    part: usize,
    boundary: Vec<u8>,
}

struct Walk<'a> {
    raw: &'a [u8],
    tree: Tree<'a>,
    open: Vec<Open>,
    /// The levels at which a boundary is open, so that a line is compared once, not with each of them.
    levels: HashMap<Vec<u8>, Vec<usize>>,
    /// The part whose body is being passed, and where that begins; `None` between parts.
    leaf: Option<(usize, usize)>,
}

pub(crate) fn walk(raw: &[u8]) -> Tree<'_> {
    let mut walk = Walk { raw, tree: Tree::default(), open: Vec::new(), levels: HashMap::new(), leaf: None };
    let mut at = walk.begin(0);
    // The blank line before a boundary belongs to the boundary.
    let mut end = at;
    while at < raw.len() && !walk.open.is_empty() {
        let next = line_end(raw, at);
        let line = trimmed(&raw[at..next]);
        match walk.boundary(line) {
            None => {
                end = at + line.len();
                at = next;
            }
            Some((level, closes)) => {
                walk.end_at(end.min(at), level + usize::from(!closes));
                if !closes && walk.tree.parts.len() >= PARTS_MAX {
                    walk.tree.many = true;
                    break;
                }
                at = if closes { next } else { walk.begin(next) };
                end = at;
            }
        }
    }
    let end = if walk.tree.many { end.min(at) } else { raw.len() };
    walk.end_at(end, 0);
    walk.tree
}

impl Walk<'_> {
    /// A part whose header block begins here. Gives where its body does.
    fn begin(&mut self, at: usize) -> usize {
        let parent = self.open.last().map(|open| open.part);
        let head = head(self.raw, at);
        let body = head.body;
        let content = Params::parse(&head.first("content-type").unwrap_or_default());
        let in_digest = parent.is_some_and(|parent| self.tree.parts[parent].media_type == "multipart/digest");
        let media_type = media_type(&content.value, in_digest);
        let boundary = content.raw("boundary").map(|boundary| boundary.trim_end().as_bytes().to_vec());
        let boundary = boundary.filter(|boundary| {
            media_type.starts_with("multipart/") && (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        });
        self.tree.deep |= boundary.is_some() && self.open.len() >= DEPTH_MAX;
        let boundary = boundary.filter(|_| self.open.len() < DEPTH_MAX);
        let index = self.tree.parts.len();
        self.tree.parts.push(Part {
            parent,
            content,
            media_type,
            disposition: Params::parse(&head.first("content-disposition").unwrap_or_default()),
            encoding: head.first("content-transfer-encoding").unwrap_or_default().trim().to_ascii_lowercase(),
            head,
            body: &self.raw[body..body],
            is_multipart: boundary.is_some(),
        });
        match boundary {
            Some(boundary) => {
                self.levels.entry(boundary.clone()).or_default().push(self.open.len());
                self.open.push(Open { part: index, boundary });
            }
            None => self.leaf = Some((index, body)),
        }
        body
    }

    /// Whose boundary this line is, the innermost first, and whether it is the last one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let rest = line.strip_prefix(b"--")?.trim_ascii_end();
        if rest.is_empty() || rest.len() > BOUNDARY_BYTES_MAX + 2 {
            return None;
        }
        let is = |rest: &[u8]| self.levels.get(rest).and_then(|levels| levels.last().copied());
        let closed = || is(rest.strip_suffix(b"--")?).map(|level| (level, true));
        is(rest).map(|level| (level, false)).or_else(closed)
    }

    /// Ends what is open down to `level` multiparts.
    fn end_at(&mut self, end: usize, level: usize) {
        if let Some((leaf, start)) = self.leaf.take() {
            self.tree.parts[leaf].body = &self.raw[start..end.max(start)];
        }
        for open in self.open.drain(level.min(self.open.len())..) {
            if let Some(levels) = self.levels.get_mut(&open.boundary) {
                levels.pop();
            }
            let part = &mut self.tree.parts[open.part];
            let start = part.head.body;
            part.body = &self.raw[start..end.max(start)];
        }
    }
}

/// What is declared, when it is well formed.
fn media_type(declared: &str, in_digest: bool) -> String {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&c))
    };
    let good = declared.len() <= 127 && declared.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub));
    match declared {
        _ if good => declared.to_owned(),
        "" if in_digest => "message/rfc822".to_owned(),
        "" | "text" => "text/plain".to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}
