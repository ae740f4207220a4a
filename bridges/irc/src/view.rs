//! What `Bridge::parts` needs to know of the connection, and thread ids. Pure.

use bridge_api::{Part, Reply};

use crate::{
    isupport::Isupport,
    message::{Target, Text},
    render::{Formatting, Mask, compose, text_bytes_max},
};

/// In front of a part that begins with the person's nick, which is put in when it is sent. It can
/// never be part of a text for IRC.
pub(crate) const ADDRESS_MARK: char = '\x01';
/// How the line begins that says that a reply was cut; the agent is told by a remark when it was sent.
pub(crate) const CUT_WORDS: &str = "(cut here: ";

/// How long lines may be, as known now.
#[derive(Clone, Debug)]
pub(crate) struct View {
    mask: Mask,
    isupport: Isupport,
}

impl View {
    pub(crate) fn new(mask: &Mask, isupport: &Isupport) -> Self {
        Self { mask: mask.clone(), isupport: isupport.clone() }
    }

    /// Bytes of text in one line of this thread.
    fn room(&self, thread: &str) -> usize {
        let (channel, _) = split_thread(thread);
        let nick_bytes = self.isupport.peer_nick_bytes_max();
        let room = if let Some(target) = channel.and_then(|name| Target::channel(name, &self.isupport).ok()) {
            // `nick: ` goes before the first line; room for it is left on all.
            text_bytes_max(&self.mask, &target, &self.isupport).saturating_sub(nick_bytes + 2)
        } else {
            let longest = Target::nick(&"n".repeat(nick_bytes), &self.isupport);
            longest.map_or(ROOM_LEAST, |target| text_bytes_max(&self.mask, &target, &self.isupport))
        };
        room.max(ROOM_LEAST)
    }

    /// An agent's message as IRC lines, at most `lines_max` and one that says that there was more.
    pub(crate) fn parts(&self, thread: &str, reply: Reply, formatting: Formatting, lines_max: usize) -> Vec<Part> {
        let room = self.room(thread);
        let mut lines: Vec<String> =
            compose(&reply.text, formatting, room).iter().map(|text| text.as_str().to_owned()).collect();
        if lines.len() > lines_max {
            let left = lines.len() - lines_max;
            lines.truncate(lines_max);
            lines.push(format!("{CUT_WORDS}{left} more lines do not fit on irc)"));
        }
        for file in reply.attachments {
            let name = crate::text::display_name(&file.name);
            let line = if name.is_empty() { file.url } else { format!("{name}: {}", file.url) };
            lines.extend(Text::new(line).map(|text| text.as_str().to_owned()));
        }
        if split_thread(thread).0.is_some()
            && let Some(first) = lines.first_mut()
        {
            first.insert(0, ADDRESS_MARK);
        }
        let mut reply_to = reply.reply_to;
        lines.into_iter().map(|text| Part::Text { text, reply_to: reply_to.take() }).collect()
    }
}

/// Even with the longest names there is this much.
const ROOM_LEAST: usize = 100;

/// `#channel:a:anna` to the channel and the peer; a direct message's thread is the peer alone.
pub(crate) fn split_thread(thread: &str) -> (Option<&str>, &str) {
    let at = [":a:", ":s:"].iter().filter_map(|mark| thread.rfind(mark)).max();
    match at {
        Some(at) => (Some(&thread[..at]), &thread[at + 1..]),
        None => (None, thread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_taken_apart_where_it_was_put_together() {
        let cases = [
            ("a:anna", None, "a:anna"),
            ("s:00ff", None, "s:00ff"),
            ("#help:a:anna", Some("#help"), "a:anna"),
            ("#a:b:s:00ff", Some("#a:b"), "s:00ff"),
            ("#x:a:y:s:00ff", Some("#x:a:y"), "s:00ff"),
        ];
        for (thread, channel, peer) in cases {
            assert_eq!(split_thread(thread), (channel, peer), "{thread}");
        }
    }

    fn reply(text: &str) -> Reply {
        Reply { text: text.to_owned(), agent: None, attachments: Vec::new(), reply_to: None }
    }

    fn texts(parts: Vec<Part>) -> Vec<String> {
        parts
            .into_iter()
            .filter_map(|part| if let Part::Text { text, .. } = part { Some(text) } else { None })
            .collect()
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let mask = Mask { nick: "help".into(), user: None, host: None };
        let view = View::new(&mask, &Isupport::default());
        let long = (0..20).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n\n");
        let lines = texts(view.parts("s:00", reply(&long), Formatting::Codes, 8));
        assert_eq!(lines.len(), 9);
        assert!(lines[8].contains("12 more lines"), "{}", lines[8]);
    }

    #[test]
    fn only_the_first_line_in_a_channel_is_addressed() {
        let mask = Mask { nick: "help".into(), user: None, host: None };
        let view = View::new(&mask, &Isupport::default());
        let lines = texts(view.parts("#c:a:x", reply("one\n\ntwo"), Formatting::Codes, 8));
        assert_eq!(lines, ["\u{1}one", "two"]);
        assert_eq!(texts(view.parts("a:x", reply("one"), Formatting::Codes, 8)), ["one"]);
    }
}
