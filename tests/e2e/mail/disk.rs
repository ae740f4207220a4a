//! A disk that fills up while a mail comes in.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
};

use super::world::{ADA, HELP, World};
use crate::{
    peers::{
        postfix::HandIn,
        swaks::{Mail, Swaks},
    },
    small_disk::SmallDisk,
    wait::{PATIENCE, until},
};

/// More than the gateway wants to be free before it lets a mail begin.
const DISK_MIB: u64 = 400;
/// More than any buffer on the way.
const MAIL_MIB: usize = 8;

#[test]
fn a_disk_that_fills_during_a_mail_puts_it_off_and_keeps_no_half_of_it() {
    let Some(mut world) = World::start(HandIn::Smtp) else { return };
    world.gateway.signal("TERM");
    assert!(world.gateway.wait().success());
    fs::remove_dir_all(world.gateway.data_dir()).expect("our own folder");
    let Some(disk) = SmallDisk::mount(world.gateway.data_dir(), DISK_MIB) else {
        eprintln!("\n*** SKIPPED: a full disk needs the right to mount one ***\n");
        return;
    };
    world.come_up();
    Swaks::to(world.port).send(&Mail::new(ADA, HELP).subject("before").text("there is room"));
    world.conversation("there is room");

    let mut client = Client::begin(world.port);
    client.half(MAIL_MIB << 20);
    disk.fill();
    let answer = client.end();
    assert!(answer.starts_with("452 ") || answer.starts_with("451 "), "{answer}");
    let refused = Swaks::to(world.port).try_send(&Mail::new(ADA, HELP).text("too early"));
    assert!(refused.last_answer().starts_with("452 "), "{}", refused.transcript);
    let mut kept = Vec::new();
    large_files(&world.gateway.data_dir().join("blobs"), &mut kept);
    assert_eq!(kept, [""; 0], "half of a mail lies there");

    disk.free();
    world.gateway.until_ready();
    let mut client = until("the gateway to take mail again", || Client::try_begin(world.port));
    client.half(MAIL_MIB << 20);
    let answer = client.end();
    assert!(answer.starts_with("250 "), "{answer}");
    world.conversation("a large mail");
    assert_eq!(world.sandbox.desk().incoming().count(), 2);
    // The disk goes first, so that the folder below it can.
    world.gateway.kill();
    drop(disk);
}

/// What is there of more than a hundredth of the mail.
fn large_files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            large_files(&path, found);
        } else if entry.metadata().is_ok_and(|file| file.len() as usize > (MAIL_MIB << 20) / 100) {
            found.push(path.display().to_string());
        }
    }
}

/// Somebody who sends a mail slowly.
struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    /// As far as the first line of the mail's text.
    fn begin(port: u16) -> Self {
        Self::try_begin(port).unwrap_or_else(|answer| panic!("it may begin: {answer}"))
    }

    fn try_begin(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        // A gateway that does not answer fails the test instead of hanging it.
        for limit in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            limit(&stream, Some(PATIENCE)).map_err(|error| error.to_string())?;
        }
        let reader = BufReader::new(stream.try_clone().map_err(|error| error.to_string())?);
        let mut client = Self { stream, reader };
        client.expect("220")?;
        for (command, code) in [
            ("EHLO client.cust.test".to_owned(), "250"),
            (format!("MAIL FROM:<{ADA}>"), "250"),
            (format!("RCPT TO:<{HELP}>"), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            client.stream.write_all(format!("{command}\r\n").as_bytes()).map_err(|error| error.to_string())?;
            client.expect(code)?;
        }
        let begin = format!(
            "From: <{ADA}>\r\nTo: <{HELP}>\r\nSubject: large\r\nMessage-ID: <large@cust.test>\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n\r\na large mail\r\n--edge\r\n\
             Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=large.bin\r\n\r\n"
        );
        client.stream.write_all(begin.as_bytes()).map_err(|error| error.to_string())?;
        Ok(client)
    }

    /// Of the file in it.
    fn half(&mut self, bytes: usize) {
        let line = [b"x".repeat(76), b"\r\n".to_vec()].concat();
        self.stream.write_all(&line.repeat(bytes / line.len())).expect("it reads");
    }

    /// The rest of the mail, and what the server says to all of it.
    fn end(&mut self) -> String {
        self.half(MAIL_MIB << 20);
        self.stream.write_all(b"--edge--\r\n.\r\n").expect("it reads");
        self.answer().unwrap_or_else(|error| error)
    }

    fn expect(&mut self, code: &str) -> Result<(), String> {
        let answer = self.answer()?;
        if answer.starts_with(code) { Ok(()) } else { Err(answer) }
    }

    /// The last line of it.
    fn answer(&mut self) -> Result<String, String> {
        loop {
            let mut line = String::new();
            let count = self.reader.read_line(&mut line).map_err(|error| error.to_string())?;
            if count == 0 {
                return Err("it hung up".to_owned());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }
}
