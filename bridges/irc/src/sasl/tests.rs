//! Exchanges of each mechanism, with published vectors.

use super::*;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

fn credentials(account: &str, password: &str) -> Credentials {
    Credentials { account: account.to_owned(), password: Secret::new(password) }
}

/// Feeds one whole server message and joins the answer.
fn say(exchange: &mut Exchange, message: &str) -> Result<String, SaslError> {
    let mut sent = Vec::new();
    for chunk in chunks(&Secret::new(message)) {
        sent.extend(exchange.feed(chunk.expose())?);
    }
    let text: String = sent.iter().map(Secret::expose).filter(|chunk| *chunk != "+").collect();
    Ok(String::from_utf8(STANDARD.decode(text).unwrap()).unwrap())
}

fn scram(password: &str) -> Exchange {
    let mut exchange = Exchange::start(Mechanism::ScramSha256, &credentials("user", password), NONCE).unwrap();
    assert_eq!(say(&mut exchange, "").unwrap(), format!("n,,n=user,r={NONCE}"));
    exchange
}

#[test]
fn the_example_of_rfc_7677_is_reproduced() {
    let mut exchange = scram("pencil");
    assert_eq!(
        say(&mut exchange, SERVER_FIRST).unwrap(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert!(!exchange.accepts_success());
    let last = exchange.feed(&STANDARD.encode("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")).unwrap();
    assert_eq!(last.iter().map(Secret::expose).collect::<Vec<_>>(), ["+"]);
    assert!(exchange.accepts_success());
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_believed() {
    for last in ["v=AAAA", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=", "v=", "v=!", "", "x=1"] {
        let mut exchange = scram("pencil");
        say(&mut exchange, SERVER_FIRST).unwrap();
        assert_eq!(say(&mut exchange, last), Err(SaslError::ServerSignature), "{last}");
        assert!(!exchange.accepts_success());
    }
    let mut exchange = scram("pencil");
    say(&mut exchange, SERVER_FIRST).unwrap();
    assert_eq!(say(&mut exchange, "e=invalid-proof"), Err(SaslError::Refused("invalid-proof".into())));
}

#[test]
fn a_challenge_outside_the_rules_ends_the_exchange() {
    let cases = [
        ("r=rOprNGfwEbeRWgbNEkqO1,s=AAAA,i=4095", SaslError::Iterations(4095)),
        ("r=rOprNGfwEbeRWgbNEkqO1,s=AAAA,i=600001", SaslError::Iterations(600_001)),
        ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096", SaslError::Protocol("the nonce does not extend ours")),
        ("r=somebodyelse,s=AAAA,i=4096", SaslError::Protocol("the nonce does not extend ours")),
        ("m=x,r=rOprNGfwEbeRWgbNEkqO1,s=AAAA,i=4096", SaslError::Protocol("no nonce first")),
        ("r=rOprNGfwEbeRWgbNEkqO1,s=,i=4096", SaslError::Protocol("no salt")),
        ("r=rOprNGfwEbeRWgbNEkqO1,s=AAAA,i=-1", SaslError::Protocol("no iteration count")),
        ("", SaslError::Protocol("no nonce first")),
    ];
    for (message, error) in cases {
        let mut exchange = scram("pencil");
        assert_eq!(say(&mut exchange, message), Err(error), "{message}");
        assert_eq!(say(&mut exchange, SERVER_FIRST), Err(SaslError::Protocol("a challenge after the end")));
    }
}

#[test]
fn plain_and_external_answer_the_empty_challenge_once() {
    let mut plain = Exchange::start(Mechanism::Plain, &credentials("jilles", "sesame"), "").unwrap();
    assert!(!plain.accepts_success());
    // The example of the IRCv3 specification.
    assert_eq!(plain.feed("+").unwrap()[0].expose(), "amlsbGVzAGppbGxlcwBzZXNhbWU=");
    assert!(plain.accepts_success());
    assert!(plain.feed("+").is_err());

    let mut external = Exchange::start(Mechanism::External, &credentials("", ""), "").unwrap();
    assert_eq!(external.feed("+").unwrap()[0].expose(), "+");
    assert!(external.accepts_success());
}

#[test]
fn long_messages_are_cut_at_400_and_a_full_last_piece_is_followed_by_a_plus() {
    for (bytes, lengths) in [(0, vec![1]), (3, vec![4]), (297, vec![396]), (300, vec![400, 1]), (303, vec![400, 4])] {
        let pieces = chunks(&Secret::new("x".repeat(bytes)));
        assert_eq!(pieces.iter().map(|piece| piece.expose().len()).collect::<Vec<_>>(), lengths, "{bytes}");
    }
    let mut exchange = scram("pencil");
    let long = format!("r={NONCE}{},s=AAAA,i=4096", "y".repeat(600));
    assert!(say(&mut exchange, &long).unwrap().contains(&"y".repeat(600)));
}

#[test]
fn endless_or_oversize_pieces_are_refused() {
    let mut exchange = scram("pencil");
    assert!(exchange.feed(&"A".repeat(401)).is_err());
    let mut exchange = scram("pencil");
    let full = "A".repeat(400);
    assert!((0..100).any(|_| exchange.feed(&full).is_err()));
}

#[test]
fn credentials_that_could_cut_fields_are_refused() {
    for (account, password) in [("", "x"), ("a\0b", "x"), ("a", "x\0y"), ("a", "x\ny")] {
        for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
            let started = Exchange::start(mechanism, &credentials(account, password), NONCE);
            assert_eq!(started.err(), Some(SaslError::Credentials));
        }
    }
    assert!(Exchange::start(Mechanism::ScramSha256, &credentials("a", "b"), "short").is_err());
    assert_eq!(
        Scram::new("a=b,c", Secret::new("x"), NONCE).unwrap().client_first(),
        format!("n,,n=a=3Db=2Cc,r={NONCE}")
    );
}

#[test]
fn no_secret_shows_in_debug() {
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
        let exchange = Exchange::start(mechanism, &credentials("acc", "hunter2"), NONCE).unwrap();
        assert!(!format!("{exchange:?}").contains("hunter2"));
    }
}
