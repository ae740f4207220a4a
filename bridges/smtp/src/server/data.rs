//! What stands between DATA and its end: finds CR LF . CR LF and nothing else, takes the stuffed dots out, notices bare CR and LF.
//! Works on large slices; what it cannot decide at the end of one it remembers for the next. Keeps no octet of a mail.

use memchr::memchr2;

const LINE_END: &[u8] = b"\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    /// Behind a dot that begins a line and is not written yet.
    Dot,
    /// Behind that dot and a CR.
    DotCr,
    /// Behind a CR that is not written yet.
    Cr,
    Middle,
}

/// How far a slice was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) used: usize,
    pub(super) ended: bool,
}

/// Reads the octets of one mail.
#[derive(Debug)]
pub(super) struct Scanner {
    at: At,
    /// A dot at the start of a line means something; not so in chunks (RFC 3030).
    dots: bool,
    /// Write a line end in the place of a bare CR or LF. It never becomes one for the protocol.
    normalize: bool,
    bare: bool,
}

impl Scanner {
    pub(super) fn data(normalize: bool) -> Self {
        Self { at: At::LineStart, dots: true, normalize, bare: false }
    }
    pub(super) fn chunks(normalize: bool) -> Self {
        Self { at: At::LineStart, dots: false, normalize, bare: false }
    }
    /// Was there a CR without LF, or a LF without CR?
    pub(super) fn saw_bare_newline(&self) -> bool {
        self.bare
    }

    /// Writes the mail's own octets to `out`. Uses the whole of `input`, or up to the end of the mail.
    pub(super) fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) -> Scanned {
        let mut used = 0;
        while let Some(&next) = input.get(used) {
            match self.at {
                At::LineStart if self.dots && next == b'.' => {
                    self.at = At::Dot;
                    used += 1;
                }
                At::Dot if next == b'\r' => {
                    self.at = At::DotCr;
                    used += 1;
                }
                At::LineStart | At::Dot => self.at = At::Middle,
                At::DotCr if next == b'\n' => return Scanned { used: used + 1, ended: true },
                At::Cr if next == b'\n' => {
                    out.extend_from_slice(LINE_END);
                    self.at = At::LineStart;
                    used += 1;
                }
                At::DotCr | At::Cr => {
                    self.bare(b'\r', out);
                    self.at = At::Middle;
                }
                At::Middle => used += self.lines(&input[used..], out),
            }
        }
        Scanned { used, ended: false }
    }

    /// At the end of the last chunk, where nothing can follow a CR any more.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.at == At::Cr {
            self.bare(b'\r', out);
        }
        self.at = At::Middle;
    }

    /// From within a line on, over whole lines as long as nothing in them needs a closer look. Says how much it used.
    fn lines(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut searched = 0;
        while let Some(found) = memchr2(b'\r', b'\n', &input[searched..]) {
            let at = searched + found;
            if input[at] == b'\n' {
                out.extend_from_slice(&input[..at]);
                self.bare(b'\n', out);
                return at + 1;
            }
            if input.get(at + 1) != Some(&b'\n') {
                out.extend_from_slice(&input[..at]);
                self.at = At::Cr;
                return at + 1;
            }
            searched = at + 2;
            if self.dots && input.get(searched).is_none_or(|next| *next == b'.') {
                out.extend_from_slice(&input[..searched]);
                self.at = At::LineStart;
                return searched;
            }
        }
        out.extend_from_slice(input);
        input.len()
    }

    fn bare(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.bare = true;
        if self.normalize { out.extend_from_slice(LINE_END) } else { out.push(byte) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the mail is, whether a bare newline was in it, and what was left behind its end.
    fn read(mut scanner: Scanner, parts: &[&[u8]]) -> (Vec<u8>, bool, Option<Vec<u8>>) {
        let mut out = Vec::new();
        for (index, piece) in parts.iter().enumerate() {
            let step = scanner.scan(piece, &mut out);
            if step.ended {
                let mut left = piece[step.used..].to_vec();
                left.extend(parts[index + 1..].concat());
                return (out, scanner.saw_bare_newline(), Some(left));
            }
            assert_eq!(step.used, piece.len());
        }
        (out, scanner.saw_bare_newline(), None)
    }

    #[test]
    fn only_a_dot_alone_between_two_line_ends_is_the_end() {
        for (input, mail, bare, left) in [
            (".\r\n", "", false, Some("")),
            ("a\r\n.\r\nQUIT", "a\r\n", false, Some("QUIT")),
            ("..\r\n.\r\n", ".\r\n", false, Some("")),
            (".a\r\n..b\r\n.\r\n", "a\r\n.b\r\n", false, Some("")),
            ("a\r\n.a.\r\n.\r\n", "a\r\na.\r\n", false, Some("")),
            ("a.\r\n.\r\n", "a.\r\n", false, Some("")),
            ("a\r\r\n.\r\n", "a\r\r\n", true, Some("")),
            ("a\n.\nb", "a\n.\nb", true, None),
            ("a\n.\r\nb", "a\n.\r\nb", true, None),
            ("a\r\n.\nb", "a\r\n\nb", true, None),
            ("a\r\n.\rb", "a\r\n\rb", true, None),
            ("a\r\n.\r\r\nb", "a\r\n\r\r\nb", true, None),
            ("a\r.\r\nb", "a\r.\r\nb", true, None),
            ("a\r.\rb", "a\r.\rb", true, None),
            ("a\r\n.\0\r\nb", "a\r\n\0\r\nb", false, None),
            ("a\r\n\r\n.", "a\r\n\r\n", false, None),
        ] {
            let (found, saw, rest) = read(Scanner::data(false), &[input.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&found), mail, "{input:?}");
            assert_eq!((saw, rest.as_deref()), (bare, left.map(str::as_bytes)), "{input:?}");
        }
    }

    #[test]
    fn a_line_end_takes_the_place_of_a_bare_one_and_ends_nothing() {
        for (input, mail) in [
            ("a\nb\r\n.\r\n", "a\r\nb\r\n"),
            ("a\rb\r\n.\r\n", "a\r\nb\r\n"),
            ("a\r\r\n.\r\n", "a\r\n\r\n"),
            ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\n..\r\n.\r\n", "a\r\n..\r\n"),
        ] {
            let (found, saw, left) = read(Scanner::data(true), &[input.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&found), mail, "{input:?}");
            assert_eq!((saw, left), (true, Some(Vec::new())), "{input:?}");
        }
    }

    #[test]
    fn dots_mean_nothing_in_chunks() {
        let mut scanner = Scanner::chunks(true);
        let mut out = Vec::new();
        assert!(!scanner.scan(b".a\r\n.\r\n..b\r", &mut out).ended);
        scanner.finish(&mut out);
        assert_eq!(out, b".a\r\n.\r\n..b\r\n");
        assert!(scanner.saw_bare_newline());
    }

    /// The same by the shortest definition, one octet at a time.
    fn plainly(input: &[u8]) -> (Vec<u8>, Option<usize>) {
        let (mut mail, mut start) = (Vec::new(), 0);
        loop {
            let rest = &input[start..];
            let end = rest.windows(2).position(|pair| pair == LINE_END);
            let line = &rest[..end.map_or(rest.len(), |end| end + 2)];
            if line == b".\r\n" {
                return (mail, Some(start + 3));
            }
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            match end {
                Some(end) => start += end + 2,
                None => return (mail, None),
            }
        }
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"\r\n\r\n..a\0\xff".to_vec()), 0..60)
    }

    proptest! {
        #[test]
        fn it_reads_as_the_definition_says_wherever_it_is_cut(input in octets(), cuts in prop::collection::vec(0usize..60, 0..6)) {
            let (mut mail, end) = plainly(&input);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&input[from..cut]);
                from = cut;
            }
            pieces.push(&input[from..]);
            let (mut found, _, left) = read(Scanner::data(false), &pieces);
            prop_assert_eq!(left.map(|left| input.len() - left.len()), end);
            if end.is_none() {
                // What may still become an end or a line end is not written yet.
                for tail in [&mut mail, &mut found] {
                    while tail.last() == Some(&b'\r') {
                        tail.pop();
                    }
                }
            }
            prop_assert_eq!(found, mail);
        }

        #[test]
        fn no_bare_newline_is_left_after_normalizing(input in octets()) {
            let mut out = Vec::new();
            let mut scanner = Scanner::data(true);
            scanner.scan(&input, &mut out);
            let text = String::from_utf8_lossy(&out).replace("\r\n", "");
            prop_assert!(!text.contains(['\r', '\n']), "{text:?}");
        }

        #[test]
        fn what_is_stuffed_comes_back_as_it_was(lines in prop::collection::vec("[.a]{0,5}", 0..8)) {
            let mail = lines.iter().map(|line| format!("{line}\r\n")).collect::<Vec<_>>().concat();
            let stuffed = lines.iter().map(|line| {
                if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") }
            }).collect::<Vec<_>>().concat();
            let (found, bare, left) = read(Scanner::data(false), &[stuffed.as_bytes(), b".\r\n"]);
            prop_assert_eq!((found, bare, left), (mail.into_bytes(), false, Some(Vec::new())));
        }
    }
}
