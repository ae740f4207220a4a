//! An IRC server that says what no real one would: for bytes that a real server cleans up before they reach anybody.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use crate::{process::free_port, wait::PATIENCE};

#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) port: u16,
    /// Connections that have registered.
    registered: mpsc::Receiver<TcpStream>,
}

impl Scripted {
    /// Lets one connection after the other register, and answers the questions that a client asks by itself.
    pub(crate) fn start() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let (tell, registered) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || drop(serve(&stream, &tell)));
            }
        });
        Self { port, registered }
    }

    /// The next connection that has registered.
    pub(crate) fn next(&self) -> TcpStream {
        self.registered.recv_timeout(PATIENCE).expect("the bridge registers")
    }

    /// Whether another one has registered meanwhile.
    pub(crate) fn has_next(&self) -> bool {
        self.registered.try_recv().is_ok()
    }
}

fn serve(stream: &TcpStream, registered: &mpsc::Sender<TcpStream>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut nick = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "NICK" => rest.trim_start_matches(':').clone_into(&mut nick),
            "CAP" if rest.starts_with("LS") => writer.write_all(b":s.test CAP * LS :\r\n")?,
            "USER" => {
                let welcome =
                    format!(":s.test 001 {nick} :hello {nick}!{nick}@host.test\r\n:s.test 422 {nick} :none\r\n");
                writer.write_all(welcome.as_bytes())?;
                drop(registered.send(stream.try_clone()?));
            }
            "PING" => writer.write_all(format!(":s.test PONG s.test {rest}\r\n").as_bytes())?,
            "WHOIS" => writer.write_all(whois(&nick, rest.split(' ').next().unwrap_or_default()).as_bytes())?,
            _ => {}
        }
    }
    Ok(())
}

/// Everybody asked for is there, since always, as the user `a`.
fn whois(us: &str, who: &str) -> String {
    format!(
        ":s.test 311 {us} {who} a host.test * :{who}\r\n\
         :s.test 317 {us} {who} 0 1700000000 :seconds idle, signon time\r\n\
         :s.test 318 {us} {who} :End\r\n"
    )
}
