//! The files in a `winmail.dat`, the wrapping that Outlook sends to strangers by mistake. Only names and bytes are taken
//! out; what is no such wrapping, or a broken one, stays the file that it is.

use super::mime::{Part, decoded};

const SIGNATURE: [u8; 4] = [0x78, 0x9f, 0x3e, 0x22];
const FILES_MAX: usize = 100;
const ATTRIBUTES_MAX: usize = 5000;
/// More than there are parts, so that a file's number tells both.
const PARTS_STEP: usize = 1024;

const ATTACH_BEGIN: u32 = 0x0006_9002;
const ATTACH_TITLE: u32 = 0x0001_8010;
const ATTACH_DATA: u32 = 0x0006_800f;

pub(super) struct Wrapped<'a> {
    pub(super) name: String,
    pub(super) bytes: &'a [u8],
}

pub(super) fn is(part: &Part<'_>) -> bool {
    ["application/ms-tnef", "application/vnd.ms-tnef"].contains(&part.media_type.as_str())
        || part.file_name().is_some_and(|name| name.eq_ignore_ascii_case("winmail.dat"))
}

pub(super) fn number(part: usize, inside: usize) -> u32 {
    u32::try_from(part + (inside + 1) * PARTS_STEP).expect("parts and files are bounded")
}

/// The part and, of a wrapping, the place of the file in it.
pub(super) fn split_number(number: u32) -> (usize, Option<usize>) {
    let number = number as usize;
    (number % PARTS_STEP, (number / PARTS_STEP).checked_sub(1))
}

/// `None` where it is no whole wrapping.
pub(super) fn files(bytes: &[u8]) -> Option<Vec<Wrapped<'_>>> {
    let mut rest = bytes.strip_prefix(&SIGNATURE)?.get(2..)?;
    let mut files: Vec<Wrapped<'_>> = Vec::new();
    for _ in 0..ATTRIBUTES_MAX {
        let Some((id, data, after)) = attribute(rest) else { break };
        rest = after;
        match id {
            ATTACH_BEGIN if files.len() < FILES_MAX => files.push(Wrapped { name: String::new(), bytes: &[] }),
            ATTACH_TITLE => {
                let title = data.split(|byte| *byte == 0).next().unwrap_or_default();
                if let Some(file) = files.last_mut() {
                    file.name = decoded(None, title);
                }
            }
            ATTACH_DATA => {
                if let Some(file) = files.last_mut() {
                    file.bytes = data;
                }
            }
            _ => {}
        }
    }
    // Without its end, nobody knows what is missing.
    rest.iter().all(|byte| *byte == 0).then_some(files)
}

/// Its name, its content, and what follows its sum.
fn attribute(rest: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let id = u32::from_le_bytes(rest.get(1..5)?.try_into().ok()?);
    let length = usize::try_from(u32::from_le_bytes(rest.get(5..9)?.try_into().ok()?)).ok()?;
    let end = length.checked_add(9)?;
    let sum = u16::from_le_bytes(rest.get(end..end.checked_add(2)?)?.try_into().ok()?);
    let data = &rest[9..end];
    let counted = data.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    (counted == sum).then(|| (id, data, &rest[end + 2..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(id: u32, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let sum = data.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        [&[2][..], &id.to_le_bytes(), &length.to_le_bytes(), data, &sum.to_le_bytes()].concat()
    }

    fn wrapping() -> Vec<u8> {
        [
            &SIGNATURE[..],
            &[1, 0],
            &attribute(0x0008_9006, &[0, 0, 1, 0]),
            &attribute(ATTACH_BEGIN, &[1, 0]),
            &attribute(ATTACH_TITLE, b"a.pdf\0"),
            &attribute(ATTACH_DATA, b"%PDF"),
            &attribute(ATTACH_BEGIN, &[1, 0]),
            &attribute(ATTACH_DATA, b"second"),
            &attribute(ATTACH_TITLE, b"..\\b.txt\0"),
        ]
        .concat()
    }

    #[test]
    fn the_files_in_a_wrapping_are_found() {
        let bytes = wrapping();
        let found: Vec<_> = files(&bytes).unwrap().into_iter().map(|file| (file.name, file.bytes.to_vec())).collect();
        assert_eq!(found, [("a.pdf".to_owned(), b"%PDF".to_vec()), ("..\\b.txt".to_owned(), b"second".to_vec())]);
    }

    #[test]
    fn a_broken_wrapping_is_none() {
        let mut bytes = wrapping();
        assert!(files(&bytes[..bytes.len() - 3]).is_none());
        assert!(files(b"PK\x03\x04").is_none());
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
        assert!(files(&bytes).is_none());
        assert!(files(&SIGNATURE).is_none());
    }

    #[test]
    fn a_number_tells_the_part_and_the_place() {
        assert_eq!(split_number(number(499, 3)), (499, Some(3)));
        assert_eq!(split_number(7), (7, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_wrapping_or_none(bytes in any::<Vec<u8>>()) {
            let bytes = [&SIGNATURE[..], &bytes].concat();
            prop_assert!(files(&bytes).is_none_or(|files| files.len() <= FILES_MAX));
        }
    }
}
