//! Time: how long a client is waited for.

use super::*;

/// Lets time go by up to the moment that the machine named.
fn sleep(client: &mut Client) -> Duration {
    let (at, _) = client.machine.wake().unwrap();
    let slept = at.duration_since(client.now.at);
    client.wait(slept);
    client.input(Input::Tick);
    slept
}

#[test]
fn a_silent_client_is_waited_for_and_then_shown_out() {
    for (crowded, expected) in [(false, TIMING.command), (true, TIMING.command_when_crowded)] {
        let mut client = Client::known(site());
        client.heard();
        client.now.crowded = crowded;
        client.wait(expected.checked_sub(Duration::from_millis(1)).unwrap());
        client.input(Input::Tick);
        assert_eq!(client.closed, None);
        assert_eq!(sleep(&mut client), Duration::from_millis(1));
        assert!(client.heard().starts_with("421 4.4.2"));
        assert_eq!(client.closed, Some("no command came in time"));
    }
}

#[test]
fn single_octets_of_a_command_buy_no_time() {
    let mut client = Client::known(site());
    client.wait(TIMING.command / 2);
    client.say("NO");
    client.wait(TIMING.command / 2);
    client.say("O");
    assert_eq!(client.closed, Some("no command came in time"));
}

#[test]
fn a_session_ends_even_when_it_is_busy() {
    let mut client = Client::known(site());
    let started = client.now.at;
    while client.closed.is_none() {
        client.wait(TIMING.command / 2);
        client.say("MAIL FROM:<>\r\nRSET\r\n");
    }
    assert_eq!(client.now.at - started, TIMING.session);
    assert_eq!(client.closed, Some("the session took too long"));
}

#[test]
fn a_mail_has_to_come_on() {
    let mut client = Client::begun(site());
    client.say("DATA\r\n");
    client.send(&b"x".repeat(200_000));
    client.wait(TIMING.pause / 2);
    client.send(b"x");
    assert_eq!(sleep(&mut client), Duration::from_secs(200_001 / 1024).saturating_sub(TIMING.pause / 2));
    assert_eq!(client.closed, Some("the mail came too slowly"));

    let mut client = Client::begun(site());
    client.say("DATA\r\n");
    for _ in 0..4 {
        client.send(&b"x".repeat(200_000));
    }
    assert_eq!(sleep(&mut client), TIMING.pause);
    assert_eq!(client.closed, Some("the mail stopped coming"));
}

#[test]
fn a_mail_that_trickles_in_is_cut_after_a_while() {
    let mut client = Client::begun(site());
    client.say("DATA\r\n");
    let started = client.now.at;
    while client.closed.is_none() {
        client.wait(Duration::from_secs(1));
        client.send(&b"x".repeat(100));
    }
    assert_eq!(client.now.at - started, TIMING.slow_after);
    assert_eq!((client.closed, client.kept.len()), (Some("the mail came too slowly"), 0));

    let mut client = Client::begun(Site { mail_bytes_max: 100 * 1024 * 1024, ..site() });
    client.say("DATA\r\n");
    let started = client.now.at;
    while client.closed.is_none() {
        client.wait(Duration::from_secs(20));
        client.send(&b"x".repeat(60_000));
    }
    assert_eq!(client.now.at - started, TIMING.mail);
    assert_eq!(client.closed, Some("the mail took too long"));
}

#[test]
fn chunks_share_the_time_of_one_mail() {
    let mut client = Client::begun(site());
    client.say("BDAT 1\r\nx");
    client.heard();
    assert_eq!(sleep(&mut client), TIMING.slow_after);
    assert_eq!(client.closed, Some("the mail came too slowly"));
}

#[test]
fn a_mail_that_is_being_stored_is_waited_for() {
    let mut client = Client::begun(site());
    client.say("DATA\r\n");
    client.machine.handle(Input::Bytes(b"x\r\n.\r\n"), client.now);
    while client.machine.poll().is_some() {}
    assert_eq!(client.machine.wake(), None);
    client.wait(TIMING.session);
    client.input(Input::Tick);
    assert_eq!(client.closed, None);
    client.input(Input::Stored(Some(KeptId::from("1"))));
    assert!(client.heard().starts_with("250 2.0.0"));
}
