//! Messages that are more than text.

use bridge_api::{Attachment, Holder};
use serde_json::Value;

use super::literal;
use crate::{client::MediaRef, wire::text};

const NAME_CHARS_MAX: usize = 120;

#[derive(Debug, PartialEq)]
pub(super) enum Shown {
    Text,
    /// `caption` says that the body is a text of its own beside the file's name.
    File {
        file: Attachment,
        caption: bool,
    },
    /// Markdown.
    Words(String),
}

pub(super) fn read(msgtype: &str, content: &Value) -> Shown {
    match msgtype {
        "m.image" | "m.file" | "m.audio" | "m.video" | "m.sticker" => file(msgtype, content),
        "m.location" => location(content),
        _ => Shown::Text,
    }
}

fn file(msgtype: &str, content: &Value) -> Shown {
    let body = text(content, &["body"]).unwrap_or_default();
    let named = text(content, &["filename"]).filter(|name| !name.is_empty());
    let name = safe_name(named.unwrap_or(body), msgtype);
    if content.get("file").is_some() && content.get("url").is_none() {
        return Shown::Words(format!("*sent an encrypted file, which cannot be read here:* {}", literal(&name)));
    }
    let Some(media) = text(content, &["url"]).and_then(MediaRef::parse) else {
        return Shown::Words(format!("*sent a file without a usable address:* {}", literal(&name)));
    };
    let info = |key: &str| content.get("info").and_then(|info| info.get(key));
    let file = Attachment {
        name,
        media_type: info("mimetype").and_then(Value::as_str).map(str::to_owned),
        size_bytes: info("size").and_then(Value::as_u64),
        url: media.to_string(),
        holder: Holder::Network,
    };
    Shown::File { file, caption: named.is_some_and(|name| name != body) && !body.trim().is_empty() }
}

fn location(content: &Value) -> Shown {
    let body = literal(text(content, &["body"]).unwrap_or_default());
    let place = text(content, &["geo_uri"]).and_then(|uri| uri.strip_prefix("geo:"));
    let mut numbers = place.and_then(|place| place.split([';', '?']).next()).unwrap_or_default().split(',');
    let mut number = || numbers.next().and_then(|n| n.trim().parse::<f64>().ok()).filter(|n| n.is_finite());
    match (number(), number()) {
        (Some(lat), Some(lon)) => Shown::Words(format!(
            "*shared a place:* {body}\nhttps://www.openstreetmap.org/?mlat={lat}&mlon={lon}#map=17/{lat}/{lon}"
        )),
        _ => Shown::Words(format!("*shared a place:* {body}")),
    }
}

/// For display, never a path.
fn safe_name(name: &str, msgtype: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    let name = name.trim().trim_start_matches('.');
    if name.is_empty() { msgtype.trim_start_matches("m.").to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_have_safe_names_and_captions_of_their_own() {
        let file = |content: Value| match read("m.image", &content) {
            Shown::File { file, caption } => (file.name, caption),
            other @ (Shown::Text | Shown::Words(_)) => panic!("{other:?}"),
        };
        let cases = [
            (json!({"body": "crack.jpg", "url": "mxc://s/a"}), ("crack.jpg", false)),
            (json!({"body": "see the corner", "filename": "crack.jpg", "url": "mxc://s/a"}), ("crack.jpg", true)),
            (json!({"body": "crack.jpg", "filename": "crack.jpg", "url": "mxc://s/a"}), ("crack.jpg", false)),
            (json!({"body": "../../etc/passwd", "url": "mxc://s/a"}), ("passwd", false)),
            (json!({"body": "a\u{0}\nb", "url": "mxc://s/a"}), ("ab", false)),
            (json!({"url": "mxc://s/a"}), ("image", false)),
        ];
        for (content, (name, caption)) in cases {
            assert_eq!(file(content.clone()), (name.to_owned(), caption), "{content}");
        }
        for odd in [json!({"body": "x", "url": "https://evil/x"}), json!({"body": "x", "file": {"url": "mxc://s/a"}})] {
            assert!(matches!(read("m.file", &odd), Shown::Words(_)), "{odd}");
        }
    }

    #[test]
    fn a_place_becomes_a_link_to_a_map() {
        let Shown::Words(words) = read("m.location", &json!({"body": "Here", "geo_uri": "geo:51.5,-0.12;u=35"})) else {
            panic!("no words")
        };
        assert!(words.contains("mlat=51.5&mlon=-0.12"), "{words}");
        let Shown::Words(words) = read("m.location", &json!({"body": "Here", "geo_uri": "geo:nan,x"})) else {
            panic!()
        };
        assert_eq!(words, "*shared a place:* Here");
    }
}
