//! Cuts a header block into its fields. Bounded in bytes and fields; what is beyond is skipped and said to be.

use super::header_text;

/// Octets of a header block, and fields in it, that are looked at.
pub(crate) const HEAD_BYTES_MAX: usize = 256 * 1024;
pub(crate) const FIELDS_MAX: usize = 1000;
/// Octets of one field's value that are decoded: no honest one has more.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A field as it stands in the mail, its value still folded and encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// As it stands before the colon, white space included.
    pub(crate) raw_name: &'a [u8],
    value: &'a [u8],
}

impl Field<'_> {
    /// In any case, and with white space before the colon, as some write it.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }
    /// On one line, without white space around it.
    pub(crate) fn value(&self) -> String {
        unfolded(self.value)
    }
    fn name(&self) -> &[u8] {
        self.raw_name.trim_ascii_end()
    }
}

/// A header block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head<'a> {
    fields: Vec<Field<'a>>,
    /// Where the body begins.
    pub(crate) body: usize,
    /// Not all of it was looked at.
    pub(crate) cut: bool,
}

impl<'a> Head<'a> {
    /// In their order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter()
    }
    /// Names in lower case with unfolded values, in their order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.fields().map(|field| (String::from_utf8_lossy(field.name()).to_ascii_lowercase(), field.value()))
    }
    /// The values of all fields with this name, unfolded.
    pub(crate) fn values(&self, name: &'a str) -> impl Iterator<Item = String> + '_ {
        self.fields().filter(move |field| field.is(name)).map(Field::value)
    }
    /// The first one counts: a second one is what a forger appends.
    pub(crate) fn first(&self, name: &'a str) -> Option<String> {
        self.values(name).next()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// The header block that begins at `start`. A line that is no field ends it, since senders forget the blank line.
pub(crate) fn head(raw: &[u8], start: usize) -> Head<'_> {
    let mut head = Head::default();
    let mut at = start;
    let mut field: Option<(usize, usize, usize)> = None;
    while at < raw.len() {
        let next = line_end(raw, at);
        let line = trimmed(&raw[at..next]);
        if line.is_empty() {
            at = next;
            break;
        }
        let mut inside = next - start <= HEAD_BYTES_MAX;
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some((_, _, end)) = field.as_mut().filter(|_| inside) {
                *end = next;
            }
        } else if let Some(colon) = colon_of(line) {
            head.push(raw, field.take());
            inside &= head.fields.len() < FIELDS_MAX;
            field = inside.then_some((at, at + colon, next));
        } else if !(at == start && (line.starts_with(b"From ") || line.starts_with(b">From "))) {
            break;
        }
        head.cut |= !inside;
        at = next;
    }
    head.push(raw, field);
    head.body = at;
    head
}

impl<'a> Head<'a> {
    fn push(&mut self, raw: &'a [u8], field: Option<(usize, usize, usize)>) {
        if let Some((name, colon, end)) = field {
            self.fields.push(Field { raw_name: &raw[name..colon], value: &raw[colon + 1..end] });
        }
    }
}

/// Where the line that begins at `at` has ended, its line feed included.
pub(crate) fn line_end(raw: &[u8], at: usize) -> usize {
    raw[at..].iter().position(|&byte| byte == b'\n').map_or(raw.len(), |feed| at + feed + 1)
}

pub(crate) fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

const NAME_BYTES_MAX: usize = 200;

/// A boundary line may hold a colon too, so dashes never begin a field.
fn colon_of(line: &[u8]) -> Option<usize> {
    let colon = line.iter().take(NAME_BYTES_MAX).position(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let good = !name.is_empty() && !name.starts_with(b"--") && name.iter().all(u8::is_ascii_graphic);
    good.then_some(colon)
}

fn unfolded(value: &[u8]) -> String {
    let value = &value[..value.len().min(VALUE_BYTES_MAX)];
    let line: Vec<u8> = value.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    header_text(line.trim_ascii())
}
