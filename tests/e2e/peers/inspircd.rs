//! InspIRCd with anope: IRCv3 tags, echo, labels, TLS, and services with accounts.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;

use super::{spawn, unprivileged, until_it_speaks, write};
use crate::{
    irc::Person,
    process::{Process, free_port},
    wait::{self, PATIENCE},
};

const SERVER_CONF: &str = include_str!("inspircd.conf");
const SERVICES_CONF: &str = include_str!("anope.conf");

#[derive(Debug)]
pub(crate) struct Inspircd {
    _services: Process,
    _server: Process,
    folder: TempDir,
    /// Without TLS.
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
}

impl Inspircd {
    pub(crate) fn present() -> bool {
        super::have(&["inspircd", "anope", "setpriv"])
    }

    pub(crate) fn start() -> Self {
        let folder = super::folder();
        make_certificates(&folder);
        let (port, tls_port, link) = (free_port(), free_port(), free_port());
        let filled = |text: &str| {
            text.replace("{folder}", &folder.path().display().to_string())
                .replace("{port}", &port.to_string())
                .replace("{tls_port}", &tls_port.to_string())
                .replace("{link_port}", &link.to_string())
        };
        let conf = write(folder.path(), "inspircd.conf", &filled(SERVER_CONF));
        let args = ["--nofork", "--nopid", "--config"].map(OsString::from).into_iter().chain([conf.into_os_string()]);
        let mut server = spawn(unprivileged("inspircd"), args, "inspircd", folder.path());
        until_it_speaks(&mut server, SocketAddr::from(([127, 0, 0, 1], port)), "inspircd");
        let services = start_services(&folder, &filled(SERVICES_CONF));
        let server = Self { _services: services, _server: server, folder, port, tls_port };
        server.until_services_are_linked();
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes an account and returns its owner, logged in.
    pub(crate) fn register(&self, nick: &str, password: &str) -> Person {
        let mut person = Person::join(self.address(), nick);
        person.say("NickServ", &format!("REGISTER {password} {nick}@example.org"));
        person.until("the log-in after REGISTER", |line| line.command == "900");
        person
    }

    /// From now on the account may log in with the client certificate, which services take only from its own holder.
    pub(crate) fn trust_certificate(&self, account: &str, password: &str) {
        let mut stream = self.tls_stream();
        stream.get_mut().write_all(b"NICK certain\r\nUSER certain 0 * :certain\r\n").expect("the server reads");
        let mut done = false;
        while !done {
            let mut line = String::new();
            let read = stream.read_line(&mut line).expect("the server writes");
            assert!(read > 0 && !line.starts_with("ERROR"), "the server closed: {line}");
            let mut say = |line: String| stream.get_mut().write_all(line.as_bytes()).expect("the server reads");
            match line.split(' ').nth(1) {
                Some("376" | "422") => say(format!("PRIVMSG NickServ :IDENTIFY {account} {password}\r\n")),
                Some("900") => say("PRIVMSG NickServ :CERT ADD\r\n".to_owned()),
                _ if line.starts_with("PING ") => say(line.replacen("PING", "PONG", 1)),
                _ => done = line.contains("added to"),
            }
        }
    }

    /// With the client certificate, and verified against our authority.
    fn tls_stream(&self) -> BufReader<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        let pem = |name: &str| CertificateDer::from_pem_file(self.file(name)).expect("a certificate");
        roots.add(pem("ca.pem")).expect("an authority");
        let key = PrivateKeyDer::from_pem_file(self.file("client.key")).expect("a key");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("usual versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![pem("client.pem")], key)
            .expect("key and certificate fit");
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let stream = TcpStream::connect(("127.0.0.1", self.tls_port)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an open socket takes options");
        BufReader::new(StreamOwned::new(connection, stream))
    }

    fn until_services_are_linked(&self) {
        let mut probe = Person::join(self.address(), "prober");
        wait::until("services to be linked", || {
            probe.send("WHOIS NickServ");
            let answer = probe.until("an answer to WHOIS", |line| ["318", "401"].contains(&line.command.as_str()));
            // The end of WHOIS follows the 401 too; only a nick that is there has none.
            if answer.command == "318" && !probe.lines().iter().rev().take(2).any(|line| line.command == "401") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
            Err("no NickServ".to_owned())
        });
        probe.quit();
    }
}

fn start_services(folder: &TempDir, conf: &str) -> Process {
    write(folder.path(), "services.conf", conf);
    write(folder.path(), "services.motd", "services for tests\n");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("our own folder");
    let fixed = ["--nofork", "--localedir=/usr/share/locale", "--modulesdir=/usr/lib/anope"].map(OsString::from);
    let places = ["--confdir=", "--dbdir=", "--logdir="].map(|option| {
        let mut arg = OsString::from(option);
        arg.push(folder.path());
        arg
    });
    spawn(unprivileged("anope"), fixed.into_iter().chain(places), "anope", folder.path())
}

/// A certificate authority, the server's certificate under it, and a client's own.
fn make_certificates(folder: &TempDir) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are good names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, new_key()).expect("an authority signs itself");
    let names = ["irc.test", "localhost", "127.0.0.1"].map(str::to_owned);
    let server_key = new_key();
    let server = CertificateParams::new(names).expect("names and addresses");
    let server = server.signed_by(&server_key, &authority).expect("an authority signs");
    let client_key = new_key();
    let client =
        CertificateParams::new(["helper".to_owned()]).expect("a name").self_signed(&client_key).expect("signs");
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("client.pem", client.pem()),
        ("client.key", client_key.serialize_pem()),
    ] {
        write(folder.path(), name, &text);
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key is made")
}
