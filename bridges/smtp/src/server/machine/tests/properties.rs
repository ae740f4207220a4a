//! What holds for any octets, however they are cut.

use proptest::prelude::*;

use super::*;

/// What a client does in one go; it waits for the answers before the next.
fn flight() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "EHLO c.test\r\n",
        "LHLO c.test\r\n",
        "MAIL FROM:<ada@cust.test>\r\n",
        "MAIL FROM:<> SIZE=5\r\n",
        "RCPT TO:<support@acme.test>\r\n",
        "RCPT TO:<sales@acme.test>\r\n",
        "RCPT TO:<x@other.test>\r\n",
        "BDAT 7\r\nabc\r\nde",
        "BDAT 4 LAST\r\nx\n.\n",
        "BDAT 3 LAST\r\nx\r\n",
        "RSET\r\n",
        "NOOP\n",
        "NONSENSE\r\n",
        "\0\x01\u{ff}\r\n",
    ]);
    let text = prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat().into_bytes());
    let mail = prop::collection::vec(prop::sample::select(b"\r\n\r\n..abX: \0\xff".to_vec()), 0..80);
    prop_oneof![
        4 => text.clone(),
        2 => text.prop_map(|text| [&text[..], b"DATA\r\n"].concat()),
        2 => mail.prop_map(|mail| [&mail[..], b"\r\n.\r\n"].concat()),
        1 => Just(b"DATA\r\n".to_vec()),
    ]
}

/// All that is seen of a session from outside.
fn play(site: Site, flights: &[Vec<u8>], cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> (String, Vec<(Envelope, Vec<u8>)>) {
    let mut client = Client::known(site);
    client.say("MAIL FROM:<ada@cust.test>\r\nRCPT TO:<support@acme.test>\r\n");
    let mut heard = String::new();
    'session: for flight in flights {
        for piece in cut(flight) {
            if client.closed.is_some() {
                break 'session;
            }
            heard += &client.send(&piece);
        }
    }
    (heard, client.kept)
}

proptest! {
    #[test]
    fn the_same_is_heard_and_kept_wherever_the_octets_are_cut(
        flights in prop::collection::vec(flight(), 0..8), sizes in prop::collection::vec(1usize..9, 1..5),
        is_lmtp in any::<bool>(),
    ) {
        let site = || Site { mail_bytes_max: 60, ..if is_lmtp { lmtp() } else { site() } };
        let whole = play(site(), &flights, |flight| vec![flight.to_vec()]);
        // What may follow DATA depends on what was seen when DATA was, so that one line is never cut off from what follows.
        let cut = |flight: &[u8]| {
            let mut pieces = Vec::new();
            let mut rest = flight;
            for size in sizes.iter().cycle() {
                if rest.len() <= *size || rest.ends_with(b"DATA\r\n") && rest.len() <= 6 + size {
                    break;
                }
                let (piece, behind) = rest.split_at(*size);
                pieces.push(piece.to_vec());
                rest = behind;
            }
            pieces.push(rest.to_vec());
            pieces
        };
        prop_assert_eq!(play(site(), &flights, cut), whole);
    }

    #[test]
    fn no_octets_panic_and_nothing_is_kept_without_a_right_end(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8), flights in prop::collection::vec(flight(), 0..6),
        is_lmtp in any::<bool>(),
    ) {
        let mut client = Client::begun(if is_lmtp { lmtp() } else { site() });
        client.say("DATA\r\n");
        let mut sent = b"\r\n".to_vec();
        for piece in pieces.iter().chain(&flights) {
            if client.closed.is_some() {
                break;
            }
            client.send(piece);
            sent.extend(piece);
            let ended = sent.windows(5).any(|five| five == b"\r\n.\r\n");
            prop_assert!(ended || client.kept.is_empty());
        }
        for (envelope, _) in &client.kept {
            prop_assert!(!envelope.recipients.is_empty());
        }
    }

    #[test]
    fn any_first_words_do_no_harm(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut client = Client::of(site());
        client.input(Input::Greet);
        client.send(&text);
        prop_assert!(client.kept.is_empty());
    }
}
