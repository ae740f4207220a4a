//! Styled runs: what both directions go through.

use schemars::JsonSchema;
use serde::Deserialize;

/// How an agent's emphasis reaches IRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Formatting {
    /// Formatting codes (bold, italic, strike, monospace); never colour.
    #[default]
    Codes,
    /// No codes; `*bold*`, `_italic_`, `~strike~` and `` `code` `` as text.
    Plain,
}

/// The styles that exist on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent toggles, as on the wire")]
pub(crate) struct Style {
    pub(crate) bold: bool,
    pub(crate) italic: bool,
    pub(crate) strike: bool,
    pub(crate) code: bool,
}

/// Text of one style; holds no line break and no formatting code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) text: String,
    pub(crate) style: Style,
}
