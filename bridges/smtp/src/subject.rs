//! What mail programs put before a subject: `Re:` and its like, in many languages. One list, for all who compare
//! subjects or write them. Pure.

/// Of an answer.
const REPLIES: [&str; 23] = [
    "re", "aw", "sv", "vs", "antw", "antwort", "odp", "ref", "rif", "r", "res", "ynt", "bls", "vá", "va", "atb", "ats",
    "отв", "отг", "απ", "σχετ", "回复", "答复",
];
/// Of a mail that is handed on. `VS` is either, by the language.
const FORWARDS: [&str; 20] = [
    "fwd",
    "fw",
    "wg",
    "tr",
    "rv",
    "i",
    "enc",
    "doorst",
    "vb",
    "vs",
    "vl",
    "pd",
    "továbbítás",
    "redir",
    "fs",
    "转发",
    "轉寄",
    "転送",
    "ilt",
    "πρθ",
];

/// Whether two subjects are about the same thing: without what programs put before them, in any case.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let bare = |text| without(text, |word| REPLIES.contains(&word) || FORWARDS.contains(&word));
    let (one, other) = (bare(one), bare(other));
    !one.is_empty() && one.eq_ignore_ascii_case(other)
}

/// Of an answer, what was answered.
pub(crate) fn answered(subject: &str) -> &str {
    without(subject, |word| REPLIES.contains(&word))
}

pub(crate) fn is_forward(subject: &str) -> bool {
    word(subject).is_some_and(|(word, _)| FORWARDS.contains(&word.as_str()))
}

fn without(subject: &str, is_one: impl Fn(&str) -> bool) -> &str {
    let mut rest = subject.trim();
    while let Some((_, behind)) = word(rest).filter(|(word, _)| is_one(word)) {
        rest = behind;
    }
    rest
}

/// The word before the colon, and what stands behind it. `Re[2]` and `Re(2)` count the answers.
fn word(subject: &str) -> Option<(String, &str)> {
    let (word, rest) = subject.split_once([':', '：'])?;
    let word = word.trim();
    let bare = word.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | '(' | ')' | '^'));
    Some((bare.trim_end().to_lowercase(), rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_compared_without_what_programs_put_before_them() {
        for (one, other, same) in [
            ("Help", "Re: help", true),
            ("AW: WG: Help", "Re[2]: Help ", true),
            ("Help", "Help me", false),
            ("", "Re: ", false),
            ("[#12] Help", "Re: [#12] Help", true),
            ("Order: late", "late", false),
            ("ATB: Help", "TR : Help", true),
            ("答复：转发：订单", "订单", true),
            ("Továbbítás: Help", "SV(3): Help", true),
        ] {
            assert_eq!(is_same(one, other), same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_forward_is_none_of_an_answer() {
        for (subject, forward, of) in [
            ("Fwd: Help", true, "Fwd: Help"),
            ("WG : Help", true, "WG : Help"),
            ("Re: Fwd: Help", false, "Fwd: Help"),
            ("Forward: Help", false, "Forward: Help"),
            ("Help", false, "Help"),
        ] {
            assert_eq!((is_forward(subject), answered(subject)), (forward, of), "{subject:?}");
        }
    }
}
