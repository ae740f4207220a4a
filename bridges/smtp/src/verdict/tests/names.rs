//! A small DNS server: answers TXT, A and MX questions from a table, over UDP, for as long as it is polled.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

#[derive(Clone, Debug)]
pub(crate) enum Record {
    Txt(String),
    A(Ipv4Addr),
    Mx(&'static str),
    /// The server says that it failed.
    Fails,
    /// It never answers.
    Silent,
}

pub(crate) struct Names {
    socket: UdpSocket,
    table: Vec<(String, Record)>,
}

impl Names {
    pub(crate) async fn new(table: Vec<(String, Record)>) -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(), table }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) async fn serve(&self) {
        let mut packet = [0; 2000];
        loop {
            let (length, client) = self.socket.recv_from(&mut packet).await.unwrap();
            if let Some(answer) = self.answer(&packet[..length]) {
                self.socket.send_to(&answer, client).await.unwrap();
            }
        }
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
            at = end;
        }
        let question = &query[12..at + 5];
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let name = labels.join(".");
        let known: Vec<&Record> = self.table.iter().filter(|(n, _)| *n == name).map(|(_, record)| record).collect();
        let mut code = if known.is_empty() { 3 } else { 0 };
        let mut answers = Vec::new();
        let mut count = 0_u16;
        for record in known {
            let (answers_to, data) = match record {
                Record::Txt(text) => {
                    let chunks = text.as_bytes().chunks(255);
                    (16, chunks.flat_map(|part| [&[part.len() as u8], part].concat()).collect())
                }
                Record::A(address) => (1, address.octets().to_vec()),
                Record::Mx(host) => {
                    let labels = host.split('.').filter(|label| !label.is_empty());
                    let name = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
                    (15, [0, 10].into_iter().chain(name).chain([0]).collect())
                }
                Record::Fails => {
                    code = 2;
                    continue;
                }
                Record::Silent => return None,
            };
            if answers_to == kind {
                count += 1;
                answers.extend([0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 60]);
                answers.extend((data.len() as u16).to_be_bytes());
                answers.extend(data);
            }
        }
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend(question);
        answer.extend(answers);
        Some(answer)
    }
}
