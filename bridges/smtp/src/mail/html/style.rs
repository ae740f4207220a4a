//! What an element's attributes say about it: hidden, quoted, a signature, where the earlier mail begins.

use super::{super::markdown::Mark, entity::decoded, token::Tag};

/// Octets of a `style` that are looked at.
const STYLE_BYTES_MAX: usize = 4096;

pub(super) fn style(tag: &Tag<'_>) -> String {
    let style = decoded(tag.get("style").unwrap_or_default());
    let style = &style[..style.floor_char_boundary(STYLE_BYTES_MAX)];
    style.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
}

/// Nobody who reads the mail in its program sees it.
pub(super) fn is_hidden(tag: &Tag<'_>, style: &str) -> bool {
    tag.get("hidden").is_some() || style.split(';').any(|rule| hides(rule.trim_end_matches("!important")))
}

fn hides(rule: &str) -> bool {
    let Some((property, value)) = rule.split_once(':') else { return false };
    let number = || {
        let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        value[..digits].parse::<f32>().ok()
    };
    match property {
        "display" => value == "none",
        "visibility" => value == "hidden" || value == "collapse",
        "mso-hide" => value == "all",
        "opacity" => number().is_some_and(|number| number < 0.05),
        // In `em` one is a whole letter.
        "font-size" => {
            number().is_some_and(|n| n == 0.0 || n <= 1.0 && (value.ends_with("px") || value.ends_with("pt")))
        }
        "max-height" | "max-width" => number() == Some(0.0),
        _ => false,
    }
}

/// A picture that nobody is to see.
pub(super) fn is_tracker(tag: &Tag<'_>, style: &str) -> bool {
    let tiny = |value: &str| value.trim().trim_end_matches("px").parse::<u32>().is_ok_and(|size| size <= 2);
    let styled = |property: &str| style.split(';').any(|rule| rule.strip_prefix(property).is_some_and(tiny));
    let sized = |name: &str| tag.get(name).is_some_and(tiny);
    sized("width") || sized("height") || styled("width:") || styled("height:")
}

/// Whether all in the element was written by somebody else.
pub(super) fn is_quote(tag: &Tag<'_>) -> bool {
    let blockquote = tag.name.eq_ignore_ascii_case("blockquote");
    let typed = blockquote && tag.get("type").is_some_and(|kind| kind.eq_ignore_ascii_case("cite"));
    let classes =
        ["gmail_attr", "moz-cite-prefix", "yahoo_quoted", "protonmail_quote", "zmail_extra", "tutanota_quote"];
    typed || blockquote && has_class(tag, "gmail_quote") || classes.iter().any(|class| has_class(tag, class))
}

/// What begins at the element.
pub(super) fn mark(tag: &Tag<'_>, style: &str) -> Option<Mark> {
    let id = tag.get("id").unwrap_or_default();
    let ids = ["divrplyfwdmsg", "appendonsend", "mail-editor-reference-message-container", "olk_src_body_section"];
    let is_id = |known: &str| id.len() < 60 && id.to_ascii_lowercase().trim_start_matches("x_") == known;
    if ids.into_iter().any(is_id) || has_class(tag, "OutlookMessageHeader") {
        return Some(Mark::History);
    }
    if ["gmail_signature", "gmail_signature_prefix", "moz-signature"].iter().any(|class| has_class(tag, class))
        || is_id("signature") && tag.name.eq_ignore_ascii_case("div")
    {
        return Some(Mark::Signature);
    }
    let ruled = style.contains("border-top:solid#")
        || style.contains("border-top:1pxsolid")
        || style.contains("border-top:1ptsolid")
        || style.contains("border-width:1ptmediummedium");
    ruled.then_some(Mark::Rule)
}

fn has_class(tag: &Tag<'_>, class: &str) -> bool {
    let is = |known: &str| known.strip_prefix("x_").unwrap_or(known).eq_ignore_ascii_case(class);
    tag.get("class").is_some_and(|classes| classes.split_ascii_whitespace().take(20).any(is))
}
