//! Rows in which a connection breaks at each byte of one request, or of one answer.

use std::sync::Arc;

use crate::{
    field::Field,
    layout::Layout,
    nets::Kind,
    oracle::Way,
    row::{Effort, Outcome},
    scissors::{Scissors, Side},
    wait::{PATIENCE, until_within},
};

const PEOPLE: usize = 60;

/// What posts a message to the inbox.
pub(crate) fn inbox_request(effort: &Effort) -> Option<Outcome> {
    cut_everywhere(effort, Way::In, Side::Request)
}

pub(crate) fn inbox_answer(effort: &Effort) -> Option<Outcome> {
    cut_everywhere(effort, Way::In, Side::Answer)
}

/// What sends a message to a homeserver.
pub(crate) fn homeserver_request(effort: &Effort) -> Option<Outcome> {
    cut_everywhere(effort, Way::Out, Side::Request)
}

pub(crate) fn homeserver_answer(effort: &Effort) -> Option<Outcome> {
    cut_everywhere(effort, Way::Out, Side::Answer)
}

#[expect(clippy::unnecessary_wraps, reason = "rows may be without what they need")]
fn cut_everywhere(effort: &Effort, way: Way, side: Side) -> Option<Outcome> {
    let made: std::cell::OnceCell<Arc<Scissors>> = std::cell::OnceCell::new();
    let before = |url: &str| {
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the sandbox's address has a port");
        let (method, path) = match way {
            Way::In => ("POST ", "/messages"),
            Way::Out => ("PUT ", "/send/m.room.message/"),
        };
        let scissors = made.get_or_init(|| Arc::new(Scissors::before(port, method, path, side)));
        format!("http://127.0.0.1:{}", scissors.port)
    };
    let kinds = [(Kind::MatrixStandIn, PEOPLE)];
    let mut layout = Layout::of(&kinds, effort.seed);
    match way {
        Way::In => layout.before_inbox = Some(&before),
        Way::Out => layout.before_homeserver = Some(&before),
    }
    let mut field = Field::lay_out(&layout);
    field.open();
    let scissors = made.get().expect("it was asked for").clone();
    // The longest of some that pass tells how many bytes there are to cut.
    for who in 0..field.crowd() {
        field.send_next(way, who);
    }
    until_within(PATIENCE, "the length of one to be known", || {
        if scissors.longest() > 0 && field.gateway.waiting().is_empty() {
            Ok(())
        } else {
            Err("none passed".to_owned())
        }
    });
    let length = scissors.longest();
    let mut outcome = Outcome::default();
    for cut in 0..=length {
        let who = cut % field.crowd();
        scissors.cut(field.next_text(way, who), cut);
        field.send_next(way, who);
        outcome.runs += 1;
    }
    let desk = field.drain();
    outcome.struck = scissors.struck();
    if outcome.struck < outcome.runs {
        outcome.complaints.push(format!("only {} of {} were cut", outcome.struck, outcome.runs));
    }
    outcome.add(field.judge(&desk));
    outcome.notes.push(format!("Cut before the first and after each of the {length} bytes of {}.", side.words()));
    Some(outcome)
}
