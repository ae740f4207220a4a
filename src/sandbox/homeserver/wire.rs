//! Frames of bytes, for what no websocket library would write. Pure.

/// One frame from the server, unmasked. `first` holds the FIN bit and the kind.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(length as u8),
        length @ 126..=65_535 => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

pub(super) fn text(payload: &[u8]) -> Vec<u8> {
    frame(0x81, payload)
}

/// A frame that promises more than it holds.
pub(super) fn half_of_text(payload: &[u8]) -> Vec<u8> {
    let whole = text(payload);
    let half = whole.len() - payload.len() / 2;
    whole[..half.min(whole.len() - 1)].to_vec()
}

/// The first fragment of a text message, or a later one; none of them is the last.
pub(super) fn fragment(is_first: bool, payload: &[u8]) -> Vec<u8> {
    frame(u8::from(is_first), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_three_forms() {
        let check = |length: usize, head: &[u8]| {
            let bytes = text(&vec![b'x'; length]);
            assert_eq!((&bytes[..head.len()], bytes.len()), (head, head.len() + length));
        };
        check(5, &[0x81, 5]);
        check(126, &[0x81, 126, 0, 126]);
        check(65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(fragment(true, b"a"), [1, 1, b'a']);
        assert_eq!(fragment(false, b"a"), [0, 1, b'a']);
        assert!(half_of_text(b"").len() == 1 && half_of_text(b"abcdef").len() == 5);
    }
}
