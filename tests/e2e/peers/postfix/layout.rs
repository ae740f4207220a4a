//! The files of a private Postfix, how it is started, and how it is ended. Nothing of the system's own Postfix is read
//! but its programs. Knows nothing of the tests around it, so that the figures can use it too.

use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Whom mailboxes belong to: `nobody`, since Postfix delivers nothing as root.
pub(crate) const NOBODY: u32 = 65534;

/// What every instance is.
const MAIN: &str = "\
compatibility_level = 3.6
myhostname = mx.mail.test
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
disable_dns_lookups = yes
default_transport = error:5.1.2 leads out of the test
notify_classes =
virtual_minimum_uid = 1
";

const SERVICES: &str = "\
cleanup   unix       n - n -     0 cleanup
qmgr      unix       n - n 300   1 qmgr
tlsmgr    unix       - - n 1000? 1 tlsmgr
rewrite   unix       - - n -     - trivial-rewrite
bounce    unix       - - n -     0 bounce
defer     unix       - - n -     0 bounce
trace     unix       - - n -     0 bounce
verify    unix       - - n -     1 verify
flush     unix       n - n 1000? 0 flush
proxymap  unix       - - n -     - proxymap
smtp      unix       - - n -     - smtp
relay     unix       - - n -     - smtp
lmtp      unix       - - n -     - lmtp
showq     unix       n - n -     - showq
error     unix       - - n -     - error
retry     unix       - - n -     - error
discard   unix       - - n -     - discard
virtual   unix       - n n -     - virtual
anvil     unix       - - n -     1 anvil
scache    unix       - - n -     1 scache
postlog   unix-dgram n - n -     1 postlogd
";

/// Writes its files. `main` are further lines of `main.cf`; each of `listeners` is a port with the options of its own.
pub(crate) fn lay_out(folder: &Path, main: &str, listeners: &[(u16, &str)]) -> io::Result<()> {
    for name in ["queue", "lib", "boxes", "log"] {
        fs::create_dir(folder.join(name))?;
    }
    chown(folder.join("boxes"), Some(NOBODY), Some(NOBODY))?;
    // By name, since its number differs from machine to machine.
    ran("chown", &["postfix".as_ref(), folder.join("lib").as_os_str()])?;
    let place = folder.display();
    let own = format!(
        "queue_directory = {place}/queue\ndata_directory = {place}/lib\nmaillog_file = {place}/log/mail\n\
         maillog_file_prefixes = {place}\nvirtual_mailbox_base = {place}/boxes\n\
         virtual_uid_maps = static:{NOBODY}\nvirtual_gid_maps = static:{NOBODY}\n"
    );
    fs::write(folder.join("main.cf"), format!("{MAIN}{own}{main}"))?;
    let doors = listeners.iter().map(|(port, options)| format!("127.0.0.1:{port} inet n - n - 150 smtpd{options}"));
    fs::write(folder.join("master.cf"), format!("{SERVICES}{}\n", doors.collect::<Vec<_>>().join("\n")))
}

/// Stays in the foreground. It leaves its process group nevertheless, so that [`end`] has to end it.
pub(crate) fn start(folder: &Path) -> Command {
    let mut command = Command::new(daemon("postfix"));
    command.arg("-c").arg(folder).arg("start-fg");
    command
}

/// As a power cut.
pub(crate) fn end(folder: &Path) {
    let Ok(text) = fs::read_to_string(folder.join("queue/pid/master.pid")) else { return };
    if let Ok(group) = text.trim().parse::<u32>() {
        // One that is gone already is as good as ended.
        drop(ran("kill", &["-KILL".as_ref(), "--".as_ref(), format!("-{group}").as_ref()]));
    }
}

/// A program that Debian keeps where not everybody looks.
pub(crate) fn daemon(name: &str) -> PathBuf {
    let known = ["/usr/sbin", "/usr/local/sbin"].map(|folder| Path::new(folder).join(name));
    known.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

fn ran(program: &str, words: &[&std::ffi::OsStr]) -> io::Result<()> {
    let status = Command::new(program).args(words).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {status}"))) }
}
