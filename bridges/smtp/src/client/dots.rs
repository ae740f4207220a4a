//! The data of a mail as it goes over the wire: dots doubled, every line ended by CR LF. Never passes a bare CR or LF on,
//! since another server might take it for an end that is none.

/// A CR or LF that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mail holds a bare CR or LF")]
pub(crate) struct BareNewline;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Middle,
    BehindCr,
}

/// Where the stream of one mail is.
#[derive(Debug)]
pub(crate) struct Dots {
    at: At,
}

impl Dots {
    pub(crate) fn new() -> Self {
        Self { at: At::LineStart }
    }

    /// The wire form of the next piece, put behind what is in `wire`.
    pub(crate) fn write(&mut self, piece: &[u8], wire: &mut Vec<u8>) -> Result<(), BareNewline> {
        wire.reserve(piece.len());
        for &byte in piece {
            self.at = match (self.at, byte) {
                (At::BehindCr, b'\n') => At::LineStart,
                (At::BehindCr, _) | (_, b'\n') => return Err(BareNewline),
                (_, b'\r') => At::BehindCr,
                (At::LineStart, b'.') => {
                    wire.push(b'.');
                    At::Middle
                }
                (At::LineStart | At::Middle, _) => At::Middle,
            };
            wire.push(byte);
        }
        Ok(())
    }

    /// What the data lacks to end with a whole line.
    pub(crate) fn end(&self) -> Result<&'static [u8], BareNewline> {
        match self.at {
            At::LineStart => Ok(b""),
            At::Middle => Ok(b"\r\n"),
            At::BehindCr => Err(BareNewline),
        }
    }
}

/// What tells the server that the mail is whole, at the start of a line.
pub(crate) const FINAL_DOT: &[u8] = b".\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(pieces: &[&[u8]]) -> Result<Vec<u8>, BareNewline> {
        let (mut dots, mut wire) = (Dots::new(), Vec::new());
        for piece in pieces {
            dots.write(piece, &mut wire)?;
        }
        wire.extend_from_slice(dots.end()?);
        wire.extend_from_slice(FINAL_DOT);
        Ok(wire)
    }

    #[test]
    fn dots_are_doubled_at_line_starts_only() {
        for (pieces, expected) in [
            (&[&b"a.b\r\n"[..]][..], Ok(&b"a.b\r\n.\r\n"[..])),
            (&[b".\r\n"], Ok(b"..\r\n.\r\n")),
            (&[b"a\r\n", b".b"], Ok(b"a\r\n..b\r\n.\r\n")),
            (&[b"a\r", b"\n", b"."], Ok(b"a\r\n..\r\n.\r\n")),
            (&[], Ok(b".\r\n")),
            (&[b"a\nb"], Err(BareNewline)),
            (&[b"a\rb"], Err(BareNewline)),
            (&[b"a\r\r\n"], Err(BareNewline)),
            (&[b"a\r\n", b"\n"], Err(BareNewline)),
            (&[b"a\r"], Err(BareNewline)),
        ] {
            assert_eq!(wire(pieces), expected.map(<[u8]>::to_vec), "{pieces:?}");
        }
    }

    /// What a strict server does with the wire form: where it ends, and what it keeps.
    fn received(wire: &[u8]) -> (Vec<u8>, usize) {
        let (mut kept, mut at) = (Vec::new(), 0);
        loop {
            let end = at + wire[at..].windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
            let line = &wire[at..end];
            at = end;
            if line == FINAL_DOT {
                return (kept, at);
            }
            kept.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
    }

    proptest! {
        #[test]
        fn a_mail_comes_out_as_it_went_in(lines in proptest::collection::vec("[.a]{0,4}", 0..12), cut in 0usize..40) {
            let mail: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
            let (left, right) = mail.split_at(cut.min(mail.len()));
            let wire = wire(&[left, right]).unwrap();
            prop_assert_eq!(received(&wire), (mail, wire.len()));
        }
    }
}
