//! What the page is asked to show, from its address. What cannot be read is left out.

use std::fmt::Write as _;

use url::form_urlencoded;

use super::form::Form;
use crate::{model::EnvelopeId, store::RowMark};

/// The longest text to search for.
const SEARCH_BYTES_MAX: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// One envelope, by its number.
    pub(super) id: Option<EnvelopeId>,
    /// A search, and below which envelope it goes on.
    pub(super) q: Option<String>,
    pub(super) before: Option<EnvelopeId>,
    /// Lists of what is for this sink only, and the dead letters behind this one.
    pub(super) sink: Option<String>,
    pub(super) after: Option<RowMark>,
}

impl Asked {
    pub(super) fn of(query: Option<&str>) -> Self {
        let form = Form::of(query.unwrap_or_default().as_bytes());
        let number = |name: &'static str| form.first(name).and_then(|text| text.parse().ok()).map(EnvelopeId);
        let text = |name: &'static str| form.first(name).map(str::trim).filter(|text| !text.is_empty()).map(cut);
        let after = form.first("after").and_then(mark);
        Self { id: number("id"), q: text("q"), before: number("before"), sink: text("sink"), after }
    }

    /// The address of a page that shows this.
    pub(super) fn address(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, id) in [("id", self.id), ("before", self.before)] {
            if let Some(id) = id {
                query.append_pair(name, &id.0.to_string());
            }
        }
        for (name, text) in [("q", &self.q), ("sink", &self.sink)] {
            if let Some(text) = text {
                query.append_pair(name, text);
            }
        }
        if let Some(after) = self.after {
            query.append_pair("after", &written(after));
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(SEARCH_BYTES_MAX)].to_owned()
}

/// A row's place as text: `MOMENT.NUMBER`.
pub(super) fn written(mark: RowMark) -> String {
    let mut text = mark.at_millis.to_string();
    write!(text, ".{}", mark.id.0).expect("writing to a string cannot fail");
    text
}

pub(super) fn mark(text: &str) -> Option<RowMark> {
    let (at_millis, id) = text.split_once('.')?;
    Some(RowMark { at_millis: at_millis.parse().ok()?, id: EnvelopeId(id.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_survives_its_address() {
        let after = Some(RowMark { at_millis: -3, id: EnvelopeId(7) });
        let text = |text: &str| Some(text.to_owned());
        for asked in [
            Asked::default(),
            Asked { id: Some(EnvelopeId(4)), ..Asked::default() },
            Asked { q: text("a&b=<ü>#\n%"), before: Some(EnvelopeId(9)), ..Asked::default() },
            Asked { sink: text("inbox:support"), after, ..Asked::default() },
        ] {
            let address = asked.address();
            assert_eq!(Asked::of(address.split_once('?').map(|(_, query)| query)), asked, "{address}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(Asked::of(Some("id=x&before=&after=1&after=2.x&q=%20&other=1&=&%ff=%ff")), Asked::default());
        let long = Asked::of(Some(&format!("q={}", "ü".repeat(1_000))));
        assert_eq!(long.q.unwrap().len(), SEARCH_BYTES_MAX);
    }
}
