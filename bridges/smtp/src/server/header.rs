//! Watches a mail's header go by: how large it is and how often the mail was handed on. Keeps nine octets of it.

use memchr::memchr;

const HEADER_BYTES_MAX: usize = 256 * 1024;
const FIELDS_MAX: usize = 1000;
/// More hops than any honest way has: the mail goes round in a circle.
const RECEIVED_MAX: usize = 50;

const RECEIVED: &[u8] = b"received";

#[derive(Debug, Default)]
pub(super) struct HeaderGate {
    done: bool,
    bytes: usize,
    fields: usize,
    received: usize,
    /// How the line under way begins, and how long it is so far.
    begin: [u8; RECEIVED.len() + 1],
    length: usize,
}

impl HeaderGate {
    /// The next octets of the mail.
    pub(super) fn pass(&mut self, mut piece: &[u8]) {
        while !self.done && !piece.is_empty() {
            let end = memchr(b'\n', piece);
            let line = &piece[..end.unwrap_or(piece.len())];
            let free = self.begin.get_mut(self.length..).unwrap_or_default();
            let taken = free.len().min(line.len());
            free[..taken].copy_from_slice(&line[..taken]);
            self.length += line.len();
            let Some(end) = end else {
                self.bytes += line.len();
                return;
            };
            self.bytes += end + 1;
            self.line();
            piece = &piece[end + 1..];
        }
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.bytes > HEADER_BYTES_MAX || self.fields > FIELDS_MAX
    }
    pub(super) fn is_a_loop(&self) -> bool {
        self.received > RECEIVED_MAX
    }

    fn line(&mut self) {
        let begin = &self.begin[..self.length.min(self.begin.len())];
        self.done = matches!(begin, b"" | b"\r");
        if !self.done && !begin.starts_with(b" ") && !begin.starts_with(b"\t") {
            self.fields += 1;
            let (name, behind) = begin.split_at(begin.len().min(RECEIVED.len()));
            let named = name.eq_ignore_ascii_case(RECEIVED) && matches!(behind, b":" | b" " | b"\t");
            self.received += usize::from(named);
        }
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(mail: &[u8], piece_bytes: usize) -> HeaderGate {
        let mut gate = HeaderGate::default();
        for piece in mail.chunks(piece_bytes) {
            gate.pass(piece);
        }
        gate
    }

    #[test]
    fn fields_and_hops_are_counted_until_the_empty_line() {
        let mail =
            b"Received: a\r\n\tby b\r\nRECEIVED : c\r\nReceived-SPF: x\r\nreceived\r\nX: y\r\n\r\nReceived: z\r\n";
        for piece_bytes in [1, 2, 3, 7, 1000] {
            let gate = gate(mail, piece_bytes);
            assert_eq!((gate.fields, gate.received, gate.bytes), (5, 2, mail.len() - 13), "{piece_bytes}");
        }
    }

    #[test]
    fn each_bound_is_reached_and_passed() {
        for (fields, too_large) in [(FIELDS_MAX, false), (FIELDS_MAX + 1, true)] {
            let mail = format!("{}\r\n", "X: y\r\n".repeat(fields));
            assert_eq!(gate(mail.as_bytes(), 1000).is_too_large(), too_large, "{fields}");
        }
        for (bytes, too_large) in [(HEADER_BYTES_MAX, false), (HEADER_BYTES_MAX + 1, true)] {
            let mail = format!("X: {}\r\n\r\n{}", "y".repeat(bytes - 7), "body".repeat(100));
            assert_eq!(gate(mail.as_bytes(), 1000).is_too_large(), too_large, "{bytes}");
        }
        for (hops, is_a_loop) in [(RECEIVED_MAX, false), (RECEIVED_MAX + 1, true)] {
            let mail = format!("{}\r\n", "Received: x\r\n".repeat(hops));
            assert_eq!(gate(mail.as_bytes(), 13).is_a_loop(), is_a_loop, "{hops}");
        }
        assert!(gate(&vec![b'x'; HEADER_BYTES_MAX + 1], 4096).is_too_large(), "a header that never ends");
    }
}
