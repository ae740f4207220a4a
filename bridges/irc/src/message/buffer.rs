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
    #[cfg_attr(not(test), expect(dead_code, reason = "for a counter that nobody shows yet"))]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets an unfinished line, as after a reconnect. The count stays.
    #[cfg_attr(not(test), expect(dead_code, reason = "the machine takes a new buffer for each link"))]
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(buffer: &mut LineBuffer, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| buffer.next_line(&mut bytes)).collect()
    }

    #[test]
    fn lines_end_at_lf_with_or_without_a_cr() {
        for (bytes, lines) in [
            (&b"a\r\nb\nc"[..], &[&b"a"[..], b"b"][..]),
            (b"\r\n\n\r\na\n", &[b"a"]),
            (b"a\rb\r\r\n", &[b"a\rb\r"]),
            (b"", &[]),
            (b"a", &[]),
        ] {
            assert_eq!(feed(&mut LineBuffer::default(), bytes), lines);
        }
    }

    #[test]
    fn a_line_at_the_limit_passes_and_a_longer_one_is_dropped_and_counted() {
        let mut buffer = LineBuffer::default();
        for (length, end) in [(LINE_BYTES_MAX, "\r\n"), (LINE_BYTES_MAX, "\n")] {
            let line = [&vec![b'x'; length][..], end.as_bytes()].concat();
            assert_eq!(feed(&mut buffer, &line).len(), 1);
        }
        assert_eq!(buffer.dropped(), 0);
        for (length, end) in [(LINE_BYTES_MAX + 1, "\n"), (LINE_BYTES_MAX + 1, "\r\n"), (1_000_000, "\n")] {
            let line = [&vec![b'x'; length][..], end.as_bytes(), b"next\n"].concat();
            assert_eq!(feed(&mut buffer, &line), [b"next"], "{length}");
        }
        assert_eq!(buffer.dropped(), 3);
    }

    #[test]
    fn an_endless_line_holds_no_memory() {
        let mut buffer = LineBuffer::default();
        for _ in 0..1000 {
            feed(&mut buffer, &[b'x'; 4096]);
            assert!(buffer.partial.capacity() <= 2 * LINE_BYTES_MAX + 4096);
        }
        buffer.clear();
        assert_eq!(feed(&mut buffer, b"a\n"), [b"a"]);
    }

    proptest! {
        #[test]
        fn random_cuts_give_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..300),
            long in 0_usize..2 * LINE_BYTES_MAX,
            cuts in proptest::collection::vec(0_usize..40_000, 0..6),
        ) {
            let bytes = [&bytes[..], &vec![b'x'; long], b"\n", &bytes[..]].concat();
            let mut whole = LineBuffer::default();
            let lines = feed(&mut whole, &bytes);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut buffer = LineBuffer::default();
            let pieces: Vec<_> = cuts.windows(2).flat_map(|cut| feed(&mut buffer, &bytes[cut[0]..cut[1]])).collect();
            prop_assert_eq!(pieces, lines);
            prop_assert_eq!(buffer.dropped(), whole.dropped());
        }
    }
}
