//! Who signs in to the help desk, with a picture each.

use super::desk::Blob;

/// Someone who signs in to the help desk.
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    /// Red, green and blue of their picture.
    colour: [u8; 3],
}

/// Owner of the API token: sender of what a gateway posts as outgoing.
pub(super) const TOKEN_OWNER: Member =
    Member { id: 3, name: "Bridge", email: "bridge@harbor.example", colour: [0x80; 3] };
/// The person at the page, unless another is chosen there.
pub(super) const AGENT: Member =
    Member { id: 5, name: "Grace", email: "grace@harbor.example", colour: [0x1f, 0x6f, 0xeb] };
/// Who may sit at the page.
pub(super) const AGENTS: [Member; 2] =
    [AGENT, Member { id: 6, name: "Radia", email: "radia@harbor.example", colour: [0xbf, 0x39, 0x89] }];

pub(super) fn member(id: u64) -> &'static Member {
    AGENTS.iter().find(|agent| agent.id == id).unwrap_or(&TOKEN_OWNER)
}

/// The id when somebody of that id may sit at the page, else the usual one.
pub(super) fn at_the_page(id: Option<u64>) -> u64 {
    id.filter(|id| AGENTS.iter().any(|agent| agent.id == *id)).unwrap_or(AGENT.id)
}

impl Member {
    /// The signed id of the picture, and it. The token's owner has none.
    pub(super) fn picture(&self) -> (String, Blob) {
        let name = format!("{}.png", self.name.to_lowercase());
        (self.picture_id(), Blob { name, content_type: "image/png".to_owned(), bytes: disc(self.colour).into() })
    }

    pub(super) fn picture_id(&self) -> String {
        format!("avatar{}", self.id)
    }

    /// Its lasting address, as `avatar_url` makes it.
    pub(super) fn picture_url(&self, frontend_url: &str) -> String {
        let (id, name) = (self.picture_id(), self.name.to_lowercase());
        format!("{frontend_url}/rails/active_storage/representations/redirect/{id}/{name}.png")
    }
}

/// Pixels of a picture's side; a multiple of eight.
const SIDE: usize = 64;

/// A disc on white as a PNG of two colours: one bit a pixel, stored without compression.
fn disc(colour: [u8; 3]) -> Vec<u8> {
    let side = u32::try_from(SIDE).expect("it is small").to_be_bytes();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, *b"IHDR", &[&side[..], &side[..], &[1, 3, 0, 0, 0]].concat());
    chunk(&mut png, *b"PLTE", &[&[0xff; 3][..], &colour[..]].concat());
    let rows = rows();
    let length = u16::try_from(rows.len()).expect("it is small");
    let header = [&[0x78, 0x01, 0x01][..], &length.to_le_bytes(), &(!length).to_le_bytes()].concat();
    chunk(&mut png, *b"IDAT", &[&header[..], &rows[..], &adler(&rows).to_be_bytes()].concat());
    chunk(&mut png, *b"IEND", &[]);
    png
}

/// Each row begins with its filter: none.
fn rows() -> Vec<u8> {
    let half = SIDE / 2;
    let inside = |x: usize, y: usize| x.abs_diff(half).pow(2) + y.abs_diff(half).pow(2) < half.pow(2);
    let byte = |y: usize, at: usize| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(inside(at * 8 + bit, y)));
    (0..SIDE).flat_map(|y| std::iter::once(0).chain((0..SIDE / 8).map(move |at| byte(y, at)))).collect()
}

fn chunk(png: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).expect("it is small").to_be_bytes());
    let named = [&name[..], data].concat();
    png.extend(&named);
    png.extend(crc(&named).to_be_bytes());
}

/// CRC-32, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn adler(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_checksums_are_those_of_the_specifications() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(b"IEND"), 0xae42_6082);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_picture_is_small_and_differs_by_agent() {
        let pictures: Vec<Bytes> = AGENTS.iter().map(|agent| agent.picture().1.bytes).collect();
        assert!(pictures.iter().all(|picture| picture.starts_with(b"\x89PNG") && picture.len() < 1024));
        assert_ne!(pictures[0], pictures[1]);
        assert_eq!((at_the_page(Some(6)), at_the_page(Some(3)), at_the_page(None)), (6, 5, 5));
    }
}
