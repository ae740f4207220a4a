//! Cuts a byte stream into lines. Holds at most one unfinished line.

/// Longest line kept: 8191 bytes of tags, 512 of message, and slack.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024;

/// Splits at LF, drops one CR before it, ignores empty lines; a longer line is dropped up to the next LF and counted.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
    skipping: bool,
    dropped: u64,
}

impl LineBuffer {
    /// Takes bytes from the front of `input` until one line is whole. `None`: all of `input` is consumed.
    ///
    /// `while let Some(line) = lines.next_line(&mut bytes) { … }`
    pub(crate) fn next_line(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        loop {
            let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
                self.keep(input);
                *input = &[];
                return None;
            };
            let (head, rest) = input.split_at(end);
            *input = &rest[1..];
            self.keep(head);
            if let Some(line) = self.finish() {
                return Some(line);
            }
        }
    }

    /// Lines dropped so far because they were too long.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets an unfinished line, as after a reconnect. The count stays.
    pub(crate) fn clear(&mut self) {
        self.partial = Vec::new();
        self.skipping = false;
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte more, so that a line of the full length may still end in CR LF.
        if self.skipping || self.partial.len() + bytes.len() > LINE_BYTES_MAX + 1 {
            self.skipping = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) -> Option<Vec<u8>> {
        let mut line = std::mem::take(&mut self.partial);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.skipping) || line.len() > LINE_BYTES_MAX {
            self.dropped += 1;
            return None;
        }
        (!line.is_empty()).then_some(line)
    }
}
