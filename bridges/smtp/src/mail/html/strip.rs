//! The bare text of HTML that is too much to be understood: what stands between tags, a line for each block.

use super::{
    super::{
        markdown::{Line, Quote, escaped},
        shown,
    },
    element::{Kind, kind_of},
    entity::decoded,
    token::{Token, Tokens},
};

pub(super) fn lines(html: &str) -> Vec<Line> {
    let mut text = String::new();
    for token in Tokens::new(html) {
        match token {
            Token::Text(piece) => text.push_str(&decoded(piece).replace(['\r', '\n'], " ")),
            Token::Open(tag) => break_at(&mut text, tag.name),
            Token::Close(name) => break_at(&mut text, name),
        }
    }
    shown::lines(&text).split('\n').map(line).collect()
}

fn break_at(text: &mut String, name: &str) {
    if kind_of(name) != Kind::Inline && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}

fn line(text: &str) -> Line {
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Line { markdown: escaped(&plain, true), plain, quote: Quote::Own, mark: None }
}
