//! A mail program as the standard wants it: it keeps each mail until a server has answered 250, and tries again.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

/// Longer than a server of these tests ever thinks.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Outgoing {
    /// The same at every try, so that it is known to be the same mail.
    fn bytes(&self, number: usize) -> String {
        let Self { name, from, to, text } = self;
        format!(
            "From: {name} <{from}>\r\nTo: <{to}>\r\nSubject: hello\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n\
             Message-ID: <{number}.{from}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
             {text}\r\n"
        )
    }
}

/// One client, one connection, one mail after the other.
#[derive(Debug)]
pub(crate) struct Sender {
    port: u16,
    link: Option<BufReader<TcpStream>>,
    kept: VecDeque<(usize, Outgoing)>,
    posted: usize,
}

impl Sender {
    pub(crate) fn to(port: u16) -> Self {
        Self { port, link: None, kept: VecDeque::new(), posted: 0 }
    }

    pub(crate) fn post(&mut self, mail: Outgoing) {
        self.posted += 1;
        self.kept.push_back((self.posted, mail));
        self.try_again();
    }

    /// Returns how many mails it still keeps.
    pub(crate) fn try_again(&mut self) -> usize {
        while let Some((number, mail)) = self.kept.front() {
            let sent = match self.link.take() {
                Some(link) => send(link, mail, *number),
                None => connect(self.port).and_then(|link| send(link, mail, *number)),
            };
            // Refused or cut off, it is kept and sent anew.
            let Ok(link) = sent else { break };
            self.link = Some(link);
            self.kept.pop_front();
        }
        self.kept.len()
    }
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    let mut link = BufReader::new(stream);
    expect(&mut link, '2')?;
    order(&mut link, "EHLO client.cust.test", '2')?;
    Ok(link)
}

/// Gives the connection back once the server has taken the mail.
fn send(mut link: BufReader<TcpStream>, mail: &Outgoing, number: usize) -> io::Result<BufReader<TcpStream>> {
    order(&mut link, &format!("MAIL FROM:<{}>", mail.from), '2')?;
    order(&mut link, &format!("RCPT TO:<{}>", mail.to), '2')?;
    order(&mut link, "DATA", '3')?;
    order(&mut link, &format!("{}.", mail.bytes(number)), '2')?;
    Ok(link)
}

fn order(link: &mut BufReader<TcpStream>, words: &str, class: char) -> io::Result<()> {
    link.get_mut().write_all(format!("{words}\r\n").as_bytes())?;
    expect(link, class)
}

/// Whatever answers otherwise is an error of the kind `Other`.
fn expect(link: &mut BufReader<TcpStream>, class: char) -> io::Result<()> {
    loop {
        let mut answer = String::new();
        if link.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if answer.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        return if answer.starts_with(class) { Ok(()) } else { Err(io::Error::other(answer)) };
    }
}
