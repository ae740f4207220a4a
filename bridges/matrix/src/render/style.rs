//! Styled runs of one line: what HTML goes through on its way to Markdown.

/// A style that Markdown has a sign for. The order is that of nesting, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Bold,
    Strike,
    Italic,
    Code,
}

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style(u8);

/// Text of one style and at most one link; holds no line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) text: String,
    pub(super) style: Style,
    /// Which of the page's links it belongs to.
    pub(super) link: Option<usize>,
}

impl Mark {
    const ALL: [Self; 4] = [Self::Bold, Self::Strike, Self::Italic, Self::Code];
}

impl Style {
    pub(super) const PLAIN: Self = Self(0);

    pub(super) fn has(self, mark: Mark) -> bool {
        self.0 & Self::bit(mark) != 0
    }

    pub(super) fn with(self, mark: Mark) -> Self {
        Self(self.0 | Self::bit(mark))
    }

    pub(super) fn without(self, mark: Mark) -> Self {
        Self(self.0 & !Self::bit(mark))
    }

    /// The marks of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In nesting order, outermost first.
    pub(super) fn marks(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |&mark| self.has(mark))
    }

    fn bit(mark: Mark) -> u8 {
        1 << mark as u8
    }
}

/// How often each mark is open, since emphasis may nest in itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Depths([u32; 4]);

impl Depths {
    pub(super) fn open(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    pub(super) fn close(&mut self, mark: Mark) {
        let depth = &mut self.0[mark as usize];
        *depth = depth.saturating_sub(1);
    }

    pub(super) fn style(&self) -> Style {
        Mark::ALL.into_iter().filter(|&mark| self.0[mark as usize] > 0).fold(Style::PLAIN, Style::with)
    }
}

/// Appends text, to the last run where style and link are the same.
pub(super) fn push(runs: &mut Vec<Run>, text: &str, style: Style, link: Option<usize>) {
    match runs.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.style == style && last.link == link => last.text.push_str(text),
        _ => runs.push(Run { text: text.to_owned(), style, link }),
    }
}
