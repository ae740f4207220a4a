//! A collector of traces that keeps what it is sent. Only a gateway with the feature `otlp` sends anything.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// The bodies of all requests so far.
pub(super) type Taken = Arc<Mutex<Vec<Vec<u8>>>>;

/// Its thread ends with the process.
pub(super) fn start() -> (SocketAddr, Taken) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Taken::default());
    let keep = taken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One that goes away has sent what it had.
            take(stream, &keep).ok();
        }
    });
    (address, taken)
}

fn take(mut stream: TcpStream, taken: &Taken) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        assert!(head.starts_with("POST /v1/traces "), "{head}");
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body)?;
        taken.lock().unwrap().push(body);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
