//! Styled runs: what both directions go through.

use schemars::JsonSchema;
use serde::Deserialize;

/// How an agent's emphasis reaches IRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Formatting {
    /// Formatting codes (bold, italic, strike, monospace); never colour.
    #[default]
    Codes,
    /// No codes; `*bold*`, `_italic_`, `~strike~` and `` `code` `` as text.
    Plain,
}

/// One style that exists on both sides. The order is that of nesting, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Bold,
    Strike,
    Italic,
    Code,
}

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style(u8);

/// Text of one style; holds no line break and no formatting code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Mark {
    pub(crate) const ALL: [Self; 4] = [Self::Bold, Self::Strike, Self::Italic, Self::Code];

    /// The toggle on the wire.
    pub(crate) fn code(self) -> char {
        match self {
            Self::Bold => '\x02',
            Self::Strike => '\x1e',
            Self::Italic => '\x1d',
            Self::Code => '\x11',
        }
    }

    /// What stands for it in plain text.
    pub(crate) fn sign(self) -> char {
        match self {
            Self::Bold => '*',
            Self::Strike => '~',
            Self::Italic => '_',
            Self::Code => '`',
        }
    }
}

impl Style {
    pub(crate) const PLAIN: Self = Self(0);

    pub(crate) fn has(self, mark: Mark) -> bool {
        self.0 & Self::bit(mark) != 0
    }

    pub(crate) fn with(self, mark: Mark) -> Self {
        Self(self.0 | Self::bit(mark))
    }

    pub(crate) fn without(self, mark: Mark) -> Self {
        Self(self.0 & !Self::bit(mark))
    }

    pub(crate) fn toggled(self, mark: Mark) -> Self {
        Self(self.0 ^ Self::bit(mark))
    }

    /// The marks of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The marks of exactly one.
    pub(crate) fn xor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    /// In nesting order, outermost first.
    pub(crate) fn marks(self) -> impl DoubleEndedIterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |&mark| self.has(mark))
    }

    fn bit(mark: Mark) -> u8 {
        1 << mark as u8
    }
}

/// Appends text, to the last run where the style is the same.
pub(crate) fn push(runs: &mut Vec<Run>, text: &str, style: Style) {
    match runs.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.style == style => last.text.push_str(text),
        _ => runs.push(Run { text: text.to_owned(), style }),
    }
}
