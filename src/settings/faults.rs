//! Mistakes and how they are shown: place, key, caret and the nearest known key. Never a value that
//! could be a secret.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::{
    document::KeyPath,
    page::{Snippet, show},
};

/// Everything that is wrong with the settings, in the order of the file.
#[derive(Debug, Clone)]
pub struct Faults(pub(super) Vec<Fault>);

/// One mistake.
#[derive(Debug, Clone)]
pub struct Fault {
    pub place: Place,
    /// Dotted, from the root of the settings: `inboxes.support.url`. Empty for the file as a whole.
    pub key: String,
    /// Lower case, no full stop, no secret.
    pub message: String,
    /// The known key or word that is most like the one written.
    pub nearest: Option<String>,
    pub(super) snippet: Option<Snippet>,
}

/// Where a mistake was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole: it cannot be read, or something in it is missing.
    Whole {
        file: String,
    },
    /// Counted from 1; columns are characters.
    File {
        file: String,
        line: usize,
        column: usize,
    },
    Variable(String),
}

impl Faults {
    /// For a file that cannot be read at all.
    pub(super) fn unreadable(file: &str, message: impl Into<String>) -> Self {
        let place = Place::Whole { file: file.to_owned() };
        Self(vec![Fault { place, key: String::new(), message: message.into(), nearest: None, snippet: None }])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// The report for standard error: colours and boxes on a terminal, else plain lines that each
    /// begin with `file:line:column`.
    pub fn report(&self, terminal: bool) -> String {
        let mut text = String::new();
        for fault in &self.0 {
            if terminal { fault.draw(&mut text) } else { fault.print(&mut text) }
        }
        let count = self.0.len();
        text + &format!("{count} {} in the settings\n", if count == 1 { "mistake" } else { "mistakes" })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.report(false).trim_end())
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { file } => f.write_str(file),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// `file:line:column: key: what is wrong`, on one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.sentence())?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl Fault {
    /// A key in quotes, and what a message quotes, may hold anything.
    fn sentence(&self) -> String {
        visible(&if self.key.is_empty() { self.message.clone() } else { format!("{}: {}", self.key, self.message) })
    }

    fn advice(&self) -> Option<String> {
        self.nearest.as_ref().map(|nearest| visible(&format!("did you mean `{nearest}`?")))
    }

    /// In colours and frames.
    fn draw(&self, text: &mut String) {
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode());
        let drawn = handler.with_wrap_lines(false).with_context_lines(0).render_report(text, &Drawn(self));
        drawn.expect("writing to a string cannot fail, and each label lies in its line");
        text.push('\n');
    }

    /// As a compiler says it: a line that can be searched for, then the line of the file.
    fn print(&self, text: &mut String) {
        text.push_str(&self.to_string());
        text.push('\n');
        if let Some(snippet) = &self.snippet {
            text.push_str(&snippet.plain());
        }
    }
}

fn visible(text: &str) -> String {
    let mut shown = String::new();
    text.chars().for_each(|character| show(character, &mut shown));
    shown
}

/// A fault as `miette` draws it: the place stands in the frame and the advice below.
#[derive(Debug)]
struct Drawn<'a>(&'a Fault);

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.snippet.is_none() {
            write!(f, "{}: ", self.0.place)?;
        }
        f.write_str(&self.0.sentence())
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.advice()?))
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.snippet.as_ref().map(|snippet| snippet as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let snippet = self.0.snippet.as_ref()?;
        Some(Box::new([LabeledSpan::underline(snippet.label())].into_iter()))
    }
}

/// A mistake that is not yet placed in the file or the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) wrong: Wrong,
    pub(super) path: KeyPath,
    pub(super) message: String,
    pub(super) nearest: Option<String>,
}

/// What a finding points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The key: it should not be there.
    Key,
    /// The table: a key is missing in it. The path is that of the missing key.
    Missing,
    Value,
}

impl Finding {
    pub(super) fn new(wrong: Wrong, path: KeyPath, message: impl Into<String>) -> Self {
        Self { wrong, path, message: message.into(), nearest: None }
    }
    pub(super) fn near(mut self, nearest: Option<&str>) -> Self {
        self.nearest = nearest.map(str::to_owned);
        self
    }
}

/// The candidate most like `word`, if any is like it at all.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE_MIN: f64 = 0.6;
    let word = word.to_lowercase();
    // The first measure finds slips of the finger, the second shortened words (`api_tokn`).
    let alike = |known: &str| {
        strsim::normalized_damerau_levenshtein(&word, known).max(strsim::jaro_winkler(&word, known) * 0.8)
    };
    let scored = candidates.into_iter().map(|known| (alike(known), known)).filter(|(score, _)| *score >= ALIKE_MIN);
    scored.max_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, known)| known)
}
