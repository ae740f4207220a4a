//! Limits of what is taken, at the limit, one byte over it and a hundredfold, with the memory that it takes.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{bad_input::post, gateway::Gateway, peers::ngircd::Flood, process::free_port, wait::until, world::World};

const MIB: usize = 1 << 20;
/// What the whole of it may add to the process.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// A callback of this size that orders nothing.
fn callback(bytes: usize) -> Vec<u8> {
    let (head, tail) = (r#"{"event":"conversation_updated","pad":""#, r#""}"#);
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len())).into_bytes()
}

/// What is answered to the end of this mail, or to as much of it as is taken.
pub(crate) fn mail(port: u16, mail: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the mail server listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    hear(&mut stream, "220");
    for (line, expected) in [
        ("EHLO c.test", "CHUNKING"),
        ("MAIL FROM:<a@c.test>", "250"),
        ("RCPT TO:<support@acme.test>", "250"),
        ("DATA", "354"),
    ] {
        stream.write_all(format!("{line}\r\n").as_bytes()).expect("a command goes out");
        hear(&mut stream, expected);
    }
    // One that is far too large is not read to its end.
    drop(stream.write_all(mail).and_then(|()| stream.write_all(b"\r\n.\r\n")));
    hear(&mut stream, "\r\n")
}

fn hear(stream: &mut TcpStream, end: &str) -> String {
    let (mut heard, mut buffer) = (String::new(), [0; 1024]);
    while !heard.contains(end) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => heard.push_str(&String::from_utf8_lossy(&buffer[..bytes])),
        }
    }
    heard
}

/// A mail with this much in its header, and in all.
fn written(header: usize, all: usize) -> Vec<u8> {
    let mut mail = String::from("Subject: x\r\n");
    while mail.len() < header {
        let left = (header - mail.len()).min(900);
        mail.extend(["X-Pad: ", &"y".repeat(left.saturating_sub(9)), "\r\n"]);
    }
    mail.push_str("\r\n");
    while mail.len() < all {
        let left = (all - mail.len()).min(500);
        mail.push_str(&"z".repeat(left.saturating_sub(2)));
        mail.push_str("\r\n");
    }
    mail.into_bytes()
}

/// A bridge that takes mail on this port, for the inbox of the tests.
pub(crate) fn mail_bridge(port: u16) -> String {
    format!(
        "\n[bridges.mail]\nkind = \"smtp\"\ninbox = \"desk\"\nlisten = \"127.0.0.1:{port}\"\nhostname = \"mx.acme.test\"\n\
         addresses = [\"support@acme.test\"]\nfrom = \"Support <support@acme.test>\"\nverify = \"off\"\nmail_mib_max = 1\n\
         relay = {{ host = \"127.0.0.1\", port = 9, security = \"none\" }}\n"
    )
}

pub(crate) fn until_mail_is_taken(gateway: &Gateway) {
    until("mail to be taken", || {
        let seen = gateway.ready()?.json();
        if seen["bridges"]["mail"]["state"] == "up" { Ok(()) } else { Err(seen.to_string()) }
    });
}

fn figure(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a figure of this name");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn each_limit_holds_at_it_over_it_and_far_over_it_and_the_memory_stays() {
    let port = free_port();
    let bridge = mail_bridge(port);
    let Some(world) = World::on_ngircd(Flood::Free, &bridge) else { return };
    until_mail_is_taken(&world.gateway);
    let (url, secret, pid) = (world.gateway.callback_url(), world.sandbox.secret(), world.gateway.pid());
    assert_eq!(post(&url, &callback(1000), &secret, 0), 200);
    let before = figure(pid, "VmRSS");
    assert_eq!(post(&url, &callback(MIB), &secret, 0), 200);
    assert_eq!(post(&url, &callback(MIB + 1), &secret, 0), 413);
    // The rest of a hundredfold is not read, which the client may meet as an end before its answer.
    let far = std::panic::catch_unwind(|| post(&url, &callback(100 * MIB), &secret, 0));
    assert!(far.is_err() || far.is_ok_and(|status| status == 413));
    for (what, bytes, expected) in [
        ("at the limit", written(0, MIB - 2), "250 "),
        ("over the limit", written(0, MIB - 1), "552 "),
        ("far over the limit", written(0, 100 * MIB), "552 "),
        ("a header at the limit", written(256 * 1024 - 2, 300 * 1024), "250 "),
        ("a header over the limit", written(256 * 1024 + 900, 300 * 1024), "552 "),
        ("a header far over the limit", written(25 * MIB, 25 * MIB), "552 "),
    ] {
        let answer = mail(port, &bytes);
        // Closed in the middle of what is sent, the answer may be lost with the connection.
        let cut = bytes.len() > 2 * MIB && answer.is_empty();
        assert!(cut || answer.starts_with(expected), "{what}, {} bytes: {answer}", bytes.len());
    }
    let peak = figure(pid, "VmHWM");
    assert!(peak <= before + GROWTH_KIB_MAX, "it took {before} KiB before, and {peak} at its peak");
    assert_eq!(post(&url, &callback(1000), &secret, 0), 200, "it works on");
}
