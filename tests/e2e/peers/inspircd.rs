//! InspIRCd with anope: IRCv3 tags, echo, labels, TLS, and services with accounts.

use std::{ffi::OsString, fs, net::SocketAddr, path::PathBuf, time::Duration};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{spawn, unprivileged, until_it_speaks, write};
use crate::{
    irc::Person,
    process::{Process, free_port},
    wait,
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
    /// Of the client certificate, as services know it.
    pub(crate) fingerprint: String,
}

impl Inspircd {
    pub(crate) fn present() -> bool {
        super::have(&["inspircd", "anope", "setpriv"])
    }

    pub(crate) fn start() -> Self {
        let folder = super::folder();
        let fingerprint = make_certificates(&folder);
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
        let server = Self { _services: services, _server: server, folder, port, tls_port, fingerprint };
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

    /// The account of `owner` may log in with the client certificate.
    pub(crate) fn trust_certificate(&self, owner: &mut Person) {
        owner.say("NickServ", &format!("CERT ADD {}", self.fingerprint));
        owner.until("the answer to CERT ADD", |line| line.command == "NOTICE" && line.last().contains("added"));
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
    for name in ["db", "logs"] {
        fs::create_dir(folder.path().join(name)).expect("a folder is made");
    }
    let at = |option: &str, name: &str| {
        let mut arg = OsString::from(option);
        arg.push(folder.path().join(name));
        arg
    };
    let fixed = ["--nofork", "--localedir=/usr/share/locale", "--modulesdir=/usr/lib/anope"].map(OsString::from);
    let places = [at("--confdir=", ""), at("--dbdir=", "db"), at("--logdir=", "logs")];
    let anope = super::find("anope").expect("looked for before");
    spawn(std::process::Command::new(anope), fixed.into_iter().chain(places), "anope", folder.path())
}

/// A certificate authority, the server's certificate under it, and a client's own. Returns the client's fingerprint.
fn make_certificates(folder: &TempDir) -> String {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are good names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, new_key()).expect("an authority signs itself");
    let names = ["irc.test", "localhost", "127.0.0.1"].map(str::to_owned);
    let server_key = new_key();
    let server = CertificateParams::new(names).expect("names and addresses");
    let server = server.signed_by(&server_key, &authority).expect("an authority signs");
    let client_key = new_key();
    let client = CertificateParams::new(["helper".to_owned()]).expect("a name").self_signed(&client_key).expect("signs");
    let fingerprint = hex::encode(Sha256::digest(client.der()));
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("client.pem", client.pem()),
        ("client.key", client_key.serialize_pem()),
    ] {
        write(folder.path(), name, &text);
    }
    fingerprint
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key is made")
}
