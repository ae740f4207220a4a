//! Lines inside quotes and list items, each with its prefix: the frame of Markdown and of readable plain text alike.

/// What must stand between the last line and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    #[default]
    Line,
    Blank,
}

#[derive(Debug, Default)]
pub(super) struct Sheet {
    out: String,
    /// Around the next line, outermost first.
    blocks: Vec<Block>,
    /// For each block that was entered, whether it is shown.
    entered: Vec<bool>,
    gap: Gap,
    /// How many blocks the last line stood in, and how many of these are still open.
    last: usize,
    shared: usize,
}

#[derive(Debug)]
enum Block {
    Quote,
    /// The marker is written once, then blanks of its length.
    Item {
        marker: String,
        written: bool,
    },
}

/// Deeper nesting is shown at this depth: the inbox shows nothing at all of what is nested in twenty, and counts an
/// item of a list twice.
pub(super) const BLOCKS_SHOWN_MAX: usize = 8;

impl Sheet {
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn enter_quote(&mut self) {
        self.enter(Block::Quote);
    }

    pub(super) fn enter_item(&mut self, marker: String) {
        self.enter(Block::Item { marker, written: false });
    }

    fn enter(&mut self, block: Block) {
        let shown = self.blocks.len() < BLOCKS_SHOWN_MAX;
        self.entered.push(shown);
        if shown {
            self.blocks.push(block);
        }
    }

    /// Leaves the block that was entered last.
    pub(super) fn leave(&mut self) {
        if self.entered.pop() == Some(true) {
            self.blocks.pop();
            self.shared = self.shared.min(self.blocks.len());
        }
    }

    /// Whether the next line stands in a list's item.
    pub(super) fn in_item(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::Item { .. }))
    }

    /// Asks for at least this much before the next line.
    pub(super) fn gap(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    pub(super) fn line(&mut self, text: &str) {
        let starts_item = self.blocks.iter().any(|block| matches!(block, Block::Item { written: false, .. }));
        // Without a blank line a reader of Markdown takes this one into the block that has ended.
        let lazy = self.shared < self.last && !starts_item;
        if !self.out.is_empty() {
            self.out.push('\n');
            if self.gap == Gap::Blank || lazy {
                self.prefix(self.shared);
                self.trim();
                self.out.push('\n');
            }
        }
        self.prefix(self.blocks.len());
        if text.is_empty() {
            self.trim();
        }
        self.out.push_str(text);
        self.gap = Gap::Line;
        self.last = self.blocks.len();
        self.shared = self.last;
    }

    fn prefix(&mut self, depth: usize) {
        for block in &mut self.blocks[..depth] {
            match block {
                Block::Quote => self.out.push_str("> "),
                Block::Item { marker, written: true } => self.out.extend(marker.chars().map(|_| ' ')),
                Block::Item { marker, written } => {
                    *written = true;
                    self.out.push_str(marker);
                }
            }
        }
    }

    fn trim(&mut self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
    }
}
