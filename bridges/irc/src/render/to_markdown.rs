//! IRC text to Markdown.

/// A peer's text as balanced Markdown.
pub(crate) fn to_markdown(text: &str) -> String {
    text.to_owned()
}

/// `* nick text`, in italics.
pub(crate) fn action_to_markdown(nick: &str, text: &str) -> String {
    format!("_\\* {} {}_", to_markdown(nick), to_markdown(text))
}
