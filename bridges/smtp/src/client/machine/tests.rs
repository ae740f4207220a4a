//! Transcripts: what the relay says, what is said back, and what that means.

use bridge_api::FaultKind;
use proptest::prelude::*;

use super::*;

const HELLO: &[u8] = b"220 relay.test\r\n";
const PLAIN_OFFER: &[u8] = b"250 relay.test\r\n";

fn manners(security: Security, login: bool) -> Arc<Manners> {
    let login = login.then(|| ("ada".to_owned(), bridge_api::Secret::new("secret")));
    Arc::new(Manners { hostname: "desk.test".to_owned(), security, login })
}

fn mail(recipients: &[&str]) -> Addressed {
    Addressed {
        sender: Address::parse("desk@acme.test"),
        recipients: recipients.iter().map(|text| Address::parse(text).unwrap()).collect(),
        copies: Vec::new(),
        envelope_id: None,
        bytes: Some(1000),
    }
}

/// A machine and all that it said, one line for each output.
struct Play {
    machine: Machine,
    said: Vec<String>,
}

impl Play {
    fn new(security: Security, login: bool, loopback: bool) -> Self {
        let mut machine = Machine::new(manners(security, login));
        machine.handle(Input::Connected { loopback });
        Self { machine, said: Vec::new() }
    }

    fn on(mut self, input: Input<'_>) -> Self {
        self.machine.handle(input);
        while let Some(output) = self.machine.poll() {
            self.said.push(match output {
                Output::Write(bytes) => String::from_utf8(bytes).unwrap().trim_end().to_owned(),
                Output::Secure => "(secure)".to_owned(),
                Output::Ready => "(ready)".to_owned(),
                Output::Body => "(body)".to_owned(),
                Output::Accepted(accepted) if accepted.left_out.is_empty() => format!("(accepted {})", accepted.words),
                Output::Accepted(accepted) => format!("(accepted but {})", accepted.left_out.join("; ")),
                Output::Failed(fault) => format!("({} {})", kind(&fault), fault.reason),
            });
        }
        self
    }

    fn hear(self, bytes: &[u8]) -> Self {
        self.on(Input::Bytes(bytes))
    }

    /// What was said since the last time.
    #[track_caller]
    fn says(mut self, expected: &[&str]) -> Self {
        assert_eq!(std::mem::take(&mut self.said), expected);
        self
    }

    /// What was said last begins like this, and nothing came before it.
    #[track_caller]
    fn fails(mut self, expected: &str) -> Self {
        let said = std::mem::take(&mut self.said);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{said:?} is not {expected}");
        self
    }

    /// At rest on a connection without TLS or login.
    fn ready() -> Self {
        Self::ready_with(PLAIN_OFFER)
    }

    fn ready_with(offer: &[u8]) -> Self {
        let play = Self::new(Security::None, false, false).hear(HELLO).hear(offer);
        play.says(&["EHLO desk.test", "(ready)"])
    }

    /// The data of a mail is asked for.
    fn in_body() -> Self {
        let play = Self::ready().on(Input::Mail(mail(&["a@b.test"])));
        let play = play.hear(b"250 ok\r\n").hear(b"250 ok\r\n").hear(b"354 go\r\n");
        play.says(&["MAIL FROM:<desk@acme.test>", "RCPT TO:<a@b.test>", "DATA", "(body)"])
    }
}

fn kind(fault: &Fault) -> &'static str {
    match fault.kind {
        FaultKind::Retry { .. } => "retry",
        FaultKind::Unknown => "unknown",
        FaultKind::Refused => "refused",
        FaultKind::Down { .. } => "down",
    }
}

#[test]
fn a_mail_goes_out_with_tls_and_a_password() {
    Play::new(Security::Starttls, true, false)
        .says(&[])
        .hear(b"220-relay.test\r\n220 ready\r\n")
        .says(&["EHLO desk.test"])
        .hear(b"250-relay.test\r\n250-AUTH LOGIN\r\n250 STARTTLS\r\n")
        .says(&["STARTTLS"])
        .hear(b"220 go\r\n")
        .says(&["(secure)"])
        .on(Input::Secured)
        .says(&["EHLO desk.test"])
        .hear(b"250-relay.test\r\n250-SIZE 5000\r\n250 AUTH LOGIN PLAIN\r\n")
        .says(&["AUTH PLAIN AGFkYQBzZWNyZXQ="])
        .hear(b"235 2.7.0 welcome\r\n")
        .says(&["(ready)"])
        .on(Input::Mail(mail(&["a@b.test", "c@d.test"])))
        .says(&["MAIL FROM:<desk@acme.test> SIZE=1000"])
        .hear(b"250 2.1.0 ok\r\n")
        .says(&["RCPT TO:<a@b.test>"])
        .hear(b"250 ok\r\n")
        .says(&["RCPT TO:<c@d.test>"])
        .hear(b"251 forwarded\r\n")
        .says(&["DATA"])
        .hear(b"354 go on\r\n")
        .says(&["(body)"])
        .on(Input::Finishing)
        .says(&[])
        .hear(b"250 2.0.0 queued as 4711\r\n")
        .says(&["(accepted 250 2.0.0 queued as 4711)"])
        .on(Input::Reset)
        .says(&["RSET"])
        .hear(b"250 ok\r\n")
        .says(&["(ready)"])
        .on(Input::Quit)
        .says(&["QUIT"]);
}

#[test]
fn a_password_goes_by_login_where_plain_is_not_offered() {
    Play::new(Security::Tls, true, false)
        .hear(HELLO)
        .hear(b"250-x\r\n250 AUTH LOGIN CRAM-MD5\r\n")
        .hear(b"334 VXNlcm5hbWU6\r\n")
        .hear(b"334 UGFzc3dvcmQ6\r\n")
        .hear(b"235 ok\r\n")
        .says(&["EHLO desk.test", "AUTH LOGIN", "YWRh", "c2VjcmV0", "(ready)"]);
}

#[test]
fn starttls_is_never_skipped() {
    let greeted = || Play::new(Security::Starttls, true, true).hear(HELLO).says(&["EHLO desk.test"]);
    greeted().hear(b"250-x\r\n250 AUTH PLAIN\r\n").fails("(down the relay cannot be used: it does not offer STARTTLS");
    // A server that knows no EHLO offers nothing.
    let old = greeted().hear(b"502 what\r\n").says(&["HELO desk.test"]);
    old.hear(PLAIN_OFFER).fails("(down the relay cannot be used: it does not offer STARTTLS");
    let asked = || greeted().hear(b"250-x\r\n250 STARTTLS\r\n").says(&["STARTTLS"]);
    for refusal in [&b"454 not now\r\n"[..], b"501 no\r\n", b"250 ok\r\n"] {
        asked().hear(refusal).fails("(down the relay refused STARTTLS");
    }
    for behind in [&b"220 go\r\n250 injected\r\n"[..], b"220 go\r\n2"] {
        asked().hear(behind).fails("(down the relay cannot be used: it said more in clear");
    }
}

#[test]
fn what_was_offered_before_tls_counts_no_more() {
    Play::new(Security::Starttls, true, false)
        .hear(HELLO)
        .hear(b"250-x\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
        .hear(b"220 go\r\n")
        .on(Input::Secured)
        .says(&["EHLO desk.test", "STARTTLS", "(secure)", "EHLO desk.test"])
        .hear(b"250 x\r\n")
        .fails("(down the relay cannot be used: it offers neither AUTH PLAIN nor AUTH LOGIN");
}

#[test]
fn no_password_goes_out_in_clear_but_over_loopback() {
    let offer = b"250-x\r\n250 AUTH PLAIN\r\n";
    let far = Play::new(Security::None, true, false).hear(HELLO).says(&["EHLO desk.test"]);
    far.hear(offer).fails("(down the relay cannot be used: no password is sent without TLS");
    let near = Play::new(Security::None, true, true).hear(HELLO).hear(offer);
    near.says(&["EHLO desk.test", "AUTH PLAIN AGFkYQBzZWNyZXQ="]);
}

#[test]
fn a_relay_that_will_not_have_us_is_down_and_fails_no_mail() {
    let fresh = || Play::new(Security::Tls, true, false);
    for greeting in [&b"421 busy\r\n"[..], b"450 busy\r\n", b"554 no\r\n", b"250 odd\r\n"] {
        fresh().hear(greeting).fails("(down");
    }
    let greeted = || fresh().hear(HELLO).says(&["EHLO desk.test"]);
    for reply in [&b"421 busy\r\n"[..], b"450 busy\r\n", b"354 odd\r\n", b"nonsense\r\n"] {
        greeted().hear(reply).fails("(down");
    }
    greeted().hear(b"500 what\r\n").says(&["HELO desk.test"]).hear(b"550 no\r\n").fails("(down");
    for reply in [&b"535 5.7.8 wrong\r\n"[..], b"454 later\r\n", b"334 more\r\n", b"421 bye\r\n"] {
        let asked = greeted().hear(b"250-x\r\n250 AUTH PLAIN\r\n").says(&["AUTH PLAIN AGFkYQBzZWNyZXQ="]);
        let play = asked.hear(reply).fails("(down");
        assert!(!play.machine.is_usable());
    }
    let login = || greeted().hear(b"250-x\r\n250 AUTH LOGIN\r\n").says(&["AUTH LOGIN"]);
    login().hear(b"504 no\r\n").fails("(down");
    login().hear(b"334 u\r\n").says(&["YWRh"]).hear(b"535 no\r\n").fails("(down");
}

#[test]
fn refusals_of_a_mail_are_told_apart() {
    let outcomes = [
        ("450 4.2.0 later", "(retry"),
        ("452 4.3.1 full", "(retry"),
        ("550 5.1.1 no", "(refused"),
        ("552 5.3.4 large", "(refused"),
        ("530 5.7.0 STARTTLS first", "(down"),
        ("535 5.7.8 log in", "(down"),
        ("421 4.3.2 stopping", "(down"),
        ("354 odd", "(retry"),
        ("junk", "(retry"),
    ];
    for (reply, expected) in outcomes {
        let reply = format!("{reply}\r\n");
        let begun = || Play::ready().on(Input::Mail(mail(&["a@b.test"])));
        begun().says(&["MAIL FROM:<desk@acme.test>"]).hear(reply.as_bytes()).fails(expected);
        let named = begun().hear(b"250 ok\r\n").says(&["MAIL FROM:<desk@acme.test>", "RCPT TO:<a@b.test>"]);
        named.hear(reply.as_bytes()).fails(expected);
        if !reply.starts_with("354") {
            let asked = begun().hear(b"250 ok\r\n").hear(b"250 ok\r\n");
            asked
                .says(&["MAIL FROM:<desk@acme.test>", "RCPT TO:<a@b.test>", "DATA"])
                .hear(reply.as_bytes())
                .fails(expected);
        }
        let body = Play::in_body().hear(reply.as_bytes()).fails(expected);
        assert!(!body.machine.is_usable(), "it waits for data that does not come");
    }
}

#[test]
fn the_answer_to_the_final_dot_decides() {
    for (reply, expected, usable) in [
        ("250 queued\r\n", "(accepted 250 queued)", true),
        ("450 later\r\n", "(retry", true),
        ("421 stopping\r\n", "(retry", false),
        ("554 5.6.0 spam\r\n", "(refused the relay did not take the mail: 554 5.6.0 spam", true),
        ("354 odd\r\n", "(unknown", false),
        ("junk\r\n", "(unknown", false),
        ("250 queued\r\n421 bye\r\n", "(accepted 250 queued)", false),
    ] {
        let play = Play::in_body().on(Input::Finishing).says(&[]).hear(reply.as_bytes()).fails(expected);
        assert_eq!(play.machine.is_usable(), usable, "{reply}");
    }
}

#[test]
fn a_refusal_names_its_recipient_and_the_connection_stays_good() {
    let play = Play::ready().on(Input::Mail(mail(&["a@b.test", "c@d.test"]))).hear(b"250 ok\r\n").hear(b"250 ok\r\n");
    let play = play.says(&["MAIL FROM:<desk@acme.test>", "RCPT TO:<a@b.test>", "RCPT TO:<c@d.test>"]);
    let play = play.hear(b"550 5.1.1 <c@d.test>: nobody, says x@y.test\r\n");
    let play = play.says(&[
        "(refused the relay did not take the recipient c@d.test: 550 5.1.1 <c@d.test>: nobody, says (address))",
    ]);
    assert!(play.machine.is_usable() && play.machine.has_answered());
    play.on(Input::Reset).hear(b"250 ok\r\n").says(&["RSET", "(ready)"]).on(Input::Mail(mail(&["a@b.test"])));
}

#[test]
fn a_copy_that_is_refused_for_good_stops_nothing_and_is_told() {
    let copies = || ["c@d.test", "ü@d.test", "e@d.test"].map(|text| Address::parse(text).unwrap()).to_vec();
    let to_copy = || {
        let mail = Addressed { copies: copies(), ..mail(&["a@b.test"]) };
        let mut play = Play::ready().on(Input::Mail(mail)).hear(b"250 ok\r\n").hear(b"250 ok\r\n");
        play.said.clear();
        play
    };
    let play = to_copy().hear(b"550 5.1.1 nobody\r\n").says(&["RCPT TO:<e@d.test>"]).hear(b"250 ok\r\n");
    let play = play.says(&["DATA"]).hear(b"354 go on\r\n").says(&["(body)"]);
    let play = play.on(Input::Finishing).hear(b"250 kept\r\n");
    let said = play.said.join(" ");
    assert!(said.contains("no copy went to c@d.test: 550 5.1.1 nobody"), "{said}");
    assert!(said.contains("no copy went to ü@d.test: the relay does not offer SMTPUTF8"), "{said}");
    to_copy().hear(b"451 4.7.1 later\r\n").fails("(retry the relay did not take the recipient c@d.test");
}

#[test]
fn what_the_relay_cannot_carry_is_refused_before_anything_is_said() {
    let play = Play::ready_with(b"250-x\r\n250 SIZE 999\r\n");
    let play = play.on(Input::Mail(mail(&["a@b.test"]))).fails("(refused the mail has 1000 bytes");
    assert!(play.machine.is_usable());
    let play = Play::ready().on(Input::Mail(mail(&["ü@b.test"])));
    let play = play.fails("(refused the relay cannot carry mail to or from ü@b.test");
    assert!(play.machine.is_usable());
    let able = Play::ready_with(b"250-x\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
    able.on(Input::Mail(mail(&["ü@b.test"]))).says(&["MAIL FROM:<desk@acme.test> BODY=8BITMIME SMTPUTF8"]);
}

#[test]
fn a_mail_has_recipients_and_not_too_many() {
    let many: Vec<String> = (0..=RECIPIENTS_MAX).map(|at| format!("a{at}@b.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for recipients in [&many[..], &[]] {
        let play = Play::ready().on(Input::Mail(mail(recipients))).fails("(refused a mail goes to 1 to 100 recipients");
        assert!(play.machine.is_usable());
    }
    Play::ready().on(Input::Mail(mail(&many[1..]))).says(&["MAIL FROM:<desk@acme.test>"]);
}

proptest! {
    #[test]
    fn whatever_a_relay_says_a_mail_counts_only_when_its_end_was_written(
        security in prop_oneof![Just(Security::None), Just(Security::Starttls), Just(Security::Tls)],
        steps in proptest::collection::vec(0usize..16, 0..40),
    ) {
        const REPLIES: [&[u8]; 12] = [
            b"220 x\r\n", b"250 x\r\n", b"250-x\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n", b"235 x\r\n", b"334 x\r\n",
            b"354 x\r\n", b"421 x\r\n", b"450 x\r\n", b"550 x\r\n", b"25", b"\xff\r\n", b"250 x\r\n250 x\r\n",
        ];
        let mut machine = Machine::new(manners(security, true));
        machine.handle(Input::Connected { loopback: true });
        let (mut body, mut finishing, mut secure) = (false, false, security == Security::Tls);
        for step in steps {
            match REPLIES.get(step) {
                Some(reply) => machine.handle(Input::Bytes(reply)),
                None if step == 12 => machine.handle(Input::Mail(mail(&["a@b.test", "c@d.test"]))),
                None if step == 13 => machine.handle(Input::Reset),
                None if step == 14 && body => {
                    machine.handle(Input::Finishing);
                    (body, finishing) = (false, machine.phase() == Phase::Final);
                }
                None => {}
            }
            while let Some(output) = machine.poll() {
                match output {
                    Output::Body => body = true,
                    Output::Secure => {
                        secure = true;
                        machine.handle(Input::Secured);
                    }
                    Output::Accepted(_) => prop_assert!(std::mem::take(&mut finishing)),
                    Output::Failed(fault) => {
                        prop_assert_eq!(fault.kind == FaultKind::Unknown && !finishing, false);
                        (body, finishing) = (false, false);
                    }
                    Output::Write(bytes) => {
                        let guarded = [&b"AUTH"[..], b"MAIL", b"RCPT"].iter().any(|word| bytes.starts_with(word));
                        prop_assert!(!guarded || secure || security == Security::None);
                    }
                    Output::Ready => {}
                }
            }
        }
    }
}

#[test]
fn a_lost_connection_is_unknown_only_behind_the_final_dot() {
    let lost = |mut play: Play| kind(&play.machine.lost("gone"));
    assert_eq!(lost(Play::new(Security::None, false, false)), "down");
    assert_eq!(lost(Play::ready()), "down");
    assert_eq!(lost(Play::ready().on(Input::Mail(mail(&["a@b.test"])))), "retry");
    assert_eq!(lost(Play::in_body()), "retry");
    assert_eq!(lost(Play::in_body().on(Input::Finishing)), "unknown");
}

#[test]
fn an_answer_that_was_there_before_its_question_is_none() {
    let play = Play::ready().on(Input::Mail(mail(&["a@b.test"]))).says(&["MAIL FROM:<desk@acme.test>"]);
    let mut play = play.hear(b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n");
    assert_eq!(play.said.remove(0), "RCPT TO:<a@b.test>");
    play.fails("(retry the relay was lost before it had the whole mail: it does not speak SMTP");
    // An idle connection that says something by itself carries no further mail.
    let play = Play::ready().hear(b"421 idle too long\r\n").says(&[]);
    assert!(!play.machine.is_usable());
}

#[test]
fn each_phase_is_known_to_the_clock() {
    assert_eq!(Play::new(Security::None, false, false).machine.phase(), Phase::Greeting);
    assert_eq!(Play::ready().machine.phase(), Phase::Command);
    assert_eq!(Play::in_body().machine.phase(), Phase::Body);
    assert_eq!(Play::in_body().on(Input::Finishing).machine.phase(), Phase::Final);
}

#[test]
fn no_password_is_ever_printed() {
    let mut machine = Machine::new(manners(Security::Tls, true));
    machine.handle(Input::Connected { loopback: false });
    machine.handle(Input::Bytes(b"220 x\r\n"));
    machine.handle(Input::Bytes(b"250-x\r\n250 AUTH PLAIN\r\n"));
    let printed: Vec<String> = std::iter::from_fn(|| machine.poll()).map(|output| format!("{output:?}")).collect();
    assert_eq!(printed, ["Write(16 bytes)", "Write(29 bytes)"]);
    assert!(!format!("{:?}", manners(Security::Tls, true)).contains("secret\""));
}
