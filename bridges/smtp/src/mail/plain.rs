//! Plain text of a mail as lines: soft line ends undone where the sender's program made them (RFC 3676).

use super::{
    markdown::{Line, Quote, escaped},
    mime::Params,
    shown,
};

/// The lines of a text part. Nothing that was typed acts in them.
pub(crate) fn lines(text: &str, content: &Params) -> Vec<Line> {
    let text = shown::lines(text);
    let text = signed_text(&text);
    let flowed = content.get("format").is_some_and(|format| format.eq_ignore_ascii_case("flowed"));
    let joins = content.get("delsp").is_some_and(|delsp| delsp.eq_ignore_ascii_case("yes"));
    if flowed { unflowed(&text, joins) } else { text.split('\n').map(line).collect() }
}

fn line(text: &str) -> Line {
    let plain = text.trim_end();
    let quote = if plain.starts_with('>') { Quote::Quoted } else { Quote::Own };
    Line { markdown: escaped(plain, true), plain: plain.to_owned(), quote, mark: None }
}

/// Lines that end with a blank go on in the next one of the same quote; the line above a signature is none of them.
fn unflowed(text: &str, joins: bool) -> Vec<Line> {
    let mut out = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for written in text.split('\n') {
        let body = written.trim_start_matches('>');
        let depth = written.len() - body.len();
        let body = body.strip_prefix(' ').unwrap_or(body);
        let is_signature = body == "-- ";
        if let Some((_, text)) = open.take_if(|(known, _)| *known != depth || is_signature) {
            out.push(text);
        }
        let (_, mut text) = open.take().unwrap_or_else(|| {
            let marks = if depth > 0 { format!("{} ", ">".repeat(depth)) } else { String::new() };
            (depth, marks)
        });
        let soft = body.ends_with(' ') && !is_signature;
        text.push_str(if soft && joins { &body[..body.len() - 1] } else { body });
        if soft {
            open = Some((depth, text));
        } else {
            out.push(text);
        }
    }
    out.extend(open.map(|(_, text)| text));
    out.iter().map(|text| line(text)).collect()
}

/// Of a text that is signed in itself, what was signed; else the text.
fn signed_text(text: &str) -> String {
    let Some(signed) = text.trim_start().strip_prefix("-----BEGIN PGP SIGNED MESSAGE-----") else {
        return text.to_owned();
    };
    let Some((_, body)) = signed.split_once("\n\n") else { return text.to_owned() };
    let body = body.split("\n-----BEGIN PGP SIGNATURE-----").next().unwrap_or(body);
    body.split('\n').map(|line| line.strip_prefix("- ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Whether the whole text is one that only its reader can open.
pub(crate) fn is_encrypted(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN PGP MESSAGE-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plains(text: &str, content: &str) -> Vec<String> {
        lines(text, &Params::parse(content)).into_iter().map(|line| line.plain).collect()
    }

    #[test]
    fn soft_line_ends_are_undone_where_they_are_declared() {
        let text = "one \r\ntwo\r\n from\r\n> q1 \r\n> q2\r\n>> deep\r\nend \r\n-- \r\nme";
        assert_eq!(
            plains(text, "text/plain; format=flowed"),
            ["one two", "from", "> q1 q2", ">> deep", "end", "--", "me"]
        );
        assert_eq!(plains("日 \r\n本", "text/plain; format=Flowed; delsp=yes"), ["日本"]);
        assert_eq!(plains("one \r\ntwo", "text/plain"), ["one", "two"]);
    }

    #[test]
    fn a_text_that_is_signed_in_itself_is_read() {
        let text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nHello\n- -- \nme\n-----BEGIN PGP SIGNATURE-----\nxyz\n-----END PGP SIGNATURE-----";
        assert_eq!(plains(text, ""), ["Hello", "--", "me"]);
        assert!(is_encrypted("\n-----BEGIN PGP MESSAGE-----\nabc"));
    }

    #[test]
    fn what_was_typed_does_not_act() {
        for (typed, shown) in [
            ("# no heading", "\\# no heading"),
            ("- no list", "\\- no list"),
            ("1. no list", "1\\. no list"),
            ("  indented", "\u{a0}\u{a0}indented"),
            ("> quote", "\\> quote"),
            ("*a* _b_ snake_case `c`", "\\*a\\* \\_b\\_ snake_case \\`c\\`"),
            ("[a](javascript:x)", "\\[a\\](javascript:x)"),
            ("<script>", "\\<script\\>"),
            ("&lt; & &x", "\\&lt; & &x"),
            ("{{ contact }} {% x %}", "{\\{ contact }} {\\% x %}"),
            ("https://a.test/b_c?d=1", "https://a.test/b_c?d=1"),
            ("(https://a.test/*x*)", "([https\\://a.test/\\*x](https://a.test/%2Ax)\\*)"),
            ("<https://a.test>", "\\<[https\\://a.test](https://a.test)\\>"),
            ("ftp://a.test/*x", "ftp\\://a.test/\\*x"),
        ] {
            assert_eq!(lines(typed, &Params::default())[0].markdown, shown, "{typed:?}");
        }
    }
}
