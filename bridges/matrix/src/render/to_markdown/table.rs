//! A table's cells as lines of Markdown. The first row is its head, since Markdown knows no table without one.

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// How many tables lie in its cells around here; their cells are text.
    pub(super) inner: usize,
    /// How many elements of a cell are open.
    pub(super) in_cell: bool,
}

impl Table {
    pub(super) fn start_row(&mut self) {
        if self.rows.last().is_none_or(|row| !row.is_empty()) {
            self.rows.push(Vec::new());
        }
    }

    pub(super) fn push(&mut self, cell: &str) {
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        if let Some(row) = self.rows.last_mut() {
            row.push(escaped_pipes(cell));
        }
    }

    /// Later rows may be shorter than the head, but what is longer would not be shown.
    pub(super) fn lines(self) -> Vec<String> {
        let written = |row: &[String]| format!("| {} |", row.join(" | "));
        let rows: Vec<Vec<String>> =
            self.rows.into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut lines: Vec<String> = rows.iter().map(|row| written(row)).collect();
        if let Some(head) = lines.first_mut() {
            head.push_str(&"  |".repeat(width - rows[0].len()));
            lines.insert(1, format!("|{}", " --- |".repeat(width)));
        }
        lines
    }
}

/// A table is cut at its pipes before anything else is read, code and addresses too.
fn escaped_pipes(cell: &str) -> String {
    let mut out = String::with_capacity(cell.len());
    let mut backslashes = 0;
    for c in cell.chars() {
        if c == '|' && backslashes % 2 == 0 {
            out.push('\\');
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        out.push(c);
    }
    out
}
