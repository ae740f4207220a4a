//! Recipients: this is no relay, in whatever form it is asked to be one.

use super::*;

#[test]
fn no_form_of_address_makes_a_relay_of_us() {
    let forms = [
        "victim@other.test",
        "victim@OTHER.test",
        "victim@other.test.",
        "victim@sub.acme.test",
        "victim@acme.test.other.test",
        "victim@xacme.test",
        "victim@[192.0.2.1]",
        "victim@[127.0.0.1]",
        "victim@[IPv6:::1]",
        "victim@192.0.2.1",
        "victim@localhost",
        "victim@mx.acme.test",
        "victim%other.test@acme.test",
        "victim%other.test@any.test",
        "victim%other.test@any.test.",
        "\"victim%other.test\"@any.test",
        "victim%other.test%more.test@any.test",
        "other.test!victim@any.test",
        "\"other.test!victim\"@any.test",
        "any.test!other.test!victim@any.test",
        "other.test!victim",
        "victim@other.test@any.test",
        "\"victim@other.test\"@any.test",
        "\"victim\\@other.test\"@any.test",
        "victim\\@other.test@any.test",
        "@any.test:victim@other.test",
        "@acme.test,@any.test:victim@other.test",
        "@any.test:victim%other.test@any.test",
        "@any.test:other.test!victim@any.test",
        "@any.test:@any.test:victim@other.test",
        "victim:other.test@any.test",
        "<victim@other.test>@any.test",
        "victim@other.test,support@acme.test",
        "support@acme.test,victim@other.test",
        "victim@other.test\u{ff20}any.test",
        "support+victim@other.test",
        "support+victim%other.test@acme.test",
        "support+x@other.test@acme.test",
        "\"support@acme.test\"@other.test",
        "support@acme.test@other.test",
        "support@acme.test victim@other.test",
        "postmaster@other.test",
        "abuse@other.test",
        "victim@",
        "@any.test",
        "victim",
        "|/bin/sh@any.test:x",
    ];
    assert!(forms.len() > 40);
    for form in forms {
        let mut client = Client::known(site());
        client.heard();
        client.say("MAIL FROM:<a@c.test>\r\n");
        let reply = client.say(&format!("RCPT TO:<{form}>\r\n"));
        assert!(reply.starts_with('5'), "{form}: {reply}");
        assert_eq!(codes(&client.say("DATA\r\n")), if reply.starts_with("555") { "503" } else { "554" }, "{form}");
    }
}

#[test]
fn our_own_addresses_are_taken_in_each_form_that_means_them() {
    for (form, expected) in [
        ("support@acme.test", "support@acme.test"),
        ("SUPPORT@ACME.TEST", "support@acme.test"),
        ("support@acme.test.", "support@acme.test"),
        ("\"support\"@acme.test", "support@acme.test"),
        ("support+abc@acme.test", "support+abc@acme.test"),
        ("@x.test,@y.test:sales@acme.test", "sales@acme.test"),
        ("anything@any.test", "anything@any.test"),
        ("postmaster", "postmaster@acme.test"),
        ("PostMaster", "postmaster@acme.test"),
        ("postmaster@acme.test", "postmaster@acme.test"),
        ("Abuse@acme.test", "abuse@acme.test"),
    ] {
        let mut client = Client::known(site());
        client.say(&format!("MAIL FROM:<>\r\nRCPT TO:<{form}>\r\n"));
        client.say("DATA\r\n");
        client.say("x\r\n.\r\n");
        let (envelope, _) = &client.kept[0];
        assert_eq!(envelope.recipients, [Address::parse(expected).unwrap()], "{form}");
        assert_eq!(envelope.sender, None);
    }
}

#[test]
fn a_repeated_recipient_is_kept_once() {
    let mut client = Client::begun(site());
    assert_eq!(
        codes(&client.say("RCPT TO:<SUPPORT@acme.test>\r\nRCPT TO:<sales@acme.test>\r\nDATA\r\n")),
        "250 250 354"
    );
    client.say("x\r\n.\r\n");
    let found: Vec<_> = client.kept[0].0.recipients.iter().map(Address::as_str).collect();
    assert_eq!(found, ["support@acme.test", "sales@acme.test"]);
}

#[test]
fn a_hundred_recipients_are_taken_and_the_others_put_off() {
    let mut client = Client::known(site());
    client.heard();
    client.say("MAIL FROM:<>\r\n");
    for number in 0..100 {
        assert_eq!(codes(&client.say(&format!("RCPT TO:<a{number}@any.test>\r\n"))), "250");
    }
    assert!(client.say("RCPT TO:<b@any.test>\r\n").starts_with("452 4.5.3"));
    assert_eq!(codes(&client.say("DATA\r\n")), "354");
    client.say(".\r\n");
    assert_eq!(client.kept[0].0.recipients.len(), 100);
}
