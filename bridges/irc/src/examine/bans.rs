//! Ban masks. Pure; kinds of ban that are no mask are not understood, and never match.

use crate::isupport::Isupport;

/// `*` is any run of characters, `?` any one, names compared as the network does.
pub(super) fn matches(mask: &str, ours: &str, isupport: &Isupport) -> bool {
    mask.contains('!') && wild(isupport.fold(mask).as_str().as_bytes(), isupport.fold(ours).as_str().as_bytes())
}

/// In time that grows with the product of both lengths at most.
fn wild(mask: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < text.len() {
        match mask.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((before, from)) = star else { return false };
                star = Some((before, from + 1));
                at = before + 1;
                seen = from + 1;
            }
        }
    }
    mask[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_on_us_when_its_mask_fits() {
        for (mask, fits) in [
            ("*!*@*", true),
            ("help!*@*", true),
            ("HELP!*@*", true),
            ("h?lp!*@host.test", true),
            ("*!*bridge@*.test", true),
            ("*!*@*.test*", true),
            ("other!*@*", false),
            ("*!*@*.example", false),
            ("h?p!*@*", false),
            ("$a:help", false),
            ("", false),
        ] {
            assert_eq!(matches(mask, "help!~bridge@host.test", &Isupport::default()), fits, "{mask}");
        }
    }
}
