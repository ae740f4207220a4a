//! `deskbridge run` as a process: its settings file, its end in every way, its restarts on the same data.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::{
    http,
    process::{Process, Ran, free_port, run},
    wait::until,
};

/// The bridge's nick on every network of these tests.
pub(crate) const NICK: &str = "helper";
/// `DESKBRIDGE_E2E_LOG=debug` shows more of what went before a failure.
const LOG_VARIABLE: &str = "DESKBRIDGE_E2E_LOG";

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Option<Process>,
    folder: PathBuf,
    port: u16,
}

impl Gateway {
    /// Writes the settings; starts nothing. `inbox` and `bridge` are lines of the tables `inboxes.desk` and
    /// `bridges.net`.
    pub(crate) fn new(folder: &Path, inbox: &str, bridge: &str) -> Self {
        let bridge = format!("kind = \"irc\"\nserver = \"127.0.0.1\"\nnick = \"{NICK}\"\n{bridge}");
        Self::with_bridge(folder, inbox, &bridge)
    }

    /// The same for any kind of bridge, which `bridge` names.
    pub(crate) fn with_bridge(folder: &Path, inbox: &str, bridge: &str) -> Self {
        Self::with_bridges(
            folder,
            inbox,
            &format!("[bridges.net]\ninbox = \"desk\"\npeer_pause_millis = 0\n{bridge}\n"),
        )
    }

    /// The same with whole tables of bridges.
    pub(crate) fn with_bridges(folder: &Path, inbox: &str, bridges: &str) -> Self {
        let gateway = Self { process: None, folder: folder.to_owned(), port: free_port() };
        let log = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| "info".to_owned());
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"{}\"\nadmin_token = \"operator\"\nstop_seconds = 10\n\n\
             [log]\nlevel = \"{log}\"\nformat = \"json\"\n\n\
             [inboxes.desk]\n{inbox}\n{bridges}",
            gateway.port,
            gateway.data_dir().display(),
        );
        fs::write(gateway.settings_file(), text).expect("a file is written");
        gateway
    }

    /// Further tables of the settings.
    pub(crate) fn with(self, tables: &str) -> Self {
        let file = self.settings_file();
        let text = fs::read_to_string(&file).expect("it was written") + tables;
        fs::write(file, text).expect("a file is written");
        self
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.folder.join("deskbridge.toml")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn callback_url(&self) -> String {
        self.url("/callbacks/desk")
    }

    /// Starts, and waits for nothing.
    pub(crate) fn spawn(&mut self) {
        self.spawn_by(&[]);
    }

    /// As an argument of another program, if there is one.
    pub(crate) fn spawn_by(&mut self, program: &[String]) {
        let ours = [env!("CARGO_BIN_EXE_deskbridge").to_owned(), "run".to_owned(), "-c".to_owned()];
        let mut words = program.iter().chain(&ours);
        let mut command = Command::new(words.next().expect("ours at least"));
        command.args(words).arg(self.settings_file());
        self.process = Some(Process::spawn(command, "gateway", &self.folder));
    }

    /// Starts, and returns when callbacks can be stored.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.until_ready();
    }

    pub(crate) fn until_ready(&mut self) {
        let url = self.url("/readyz");
        until("the gateway to be ready", || {
            let process = self.process.as_mut().expect("it was started");
            if let Some(status) = process.ended() {
                panic!("the gateway ended by itself: {status}\n{}", process.err());
            }
            match http::get(&url)? {
                answer if answer.status == 200 => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        });
    }

    pub(crate) fn ready(&self) -> Result<http::Answer, String> {
        http::request(reqwest::Method::GET, &self.url("/readyz"), &[("authorization", "Bearer operator")], None)
    }

    /// Returns when the bridge is on its network.
    pub(crate) fn until_on_network(&self) {
        self.until_bridge("up");
    }

    pub(crate) fn until_bridge(&self, state: &str) {
        until(&format!("the bridge to be {state}"), || {
            let seen = self.ready()?.json();
            if state_of(&seen["bridges"]["net"]) == state { Ok(()) } else { Err(seen.to_string()) }
        });
    }

    pub(crate) fn bridge_state(&self) -> String {
        self.state_of("net")
    }

    pub(crate) fn state_of(&self, bridge: &str) -> String {
        self.ready().map_or_else(|error| error, |answer| state_of(&answer.json()["bridges"][bridge]).to_owned())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.as_mut().expect("it was started").kill();
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.process.as_ref().expect("it was started").signal(signal);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it was started").pid()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.as_mut().expect("it was started").wait()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::err).unwrap_or_default()
    }

    /// Another command on the same settings.
    pub(crate) fn command(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
        command.args(words).arg("-c").arg(self.settings_file());
        run(command)
    }

    /// What waits in the outbox, by key, with the sink it waits for.
    pub(crate) fn waiting(&self) -> Vec<(String, String)> {
        let ran = self.command(&["outbox", "list", "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let listed: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let rows = listed["waiting"].as_array().unwrap_or_else(|| panic!("no rows: {listed}"));
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| (text(row, "key"), text(row, "sink"))).collect()
    }

    /// Lines that the bridge keeps until it is proved whose they are, by the key that they will have. Only a look into
    /// the database of a gateway that is down tells: they are in no lane yet.
    pub(crate) fn held(&self) -> Vec<String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let database = Connection::open_with_flags(self.data_dir().join("deskbridge.db"), flags).expect("a database");
        let mut held =
            database.prepare("SELECT value FROM cursor WHERE name LIKE 'held/%'").expect("the schema of migration 1");
        let rows = held.query_map([], |row| row.get::<_, String>(0)).expect("a query");
        let line = |value: String| serde_json::from_str::<Value>(&value).expect("a held line is JSON");
        let lines = rows.map(|value| line(value.expect("a row")));
        lines.map(|line| format!("net/{}/0", line["event"].as_str().expect("an event"))).collect()
    }
}

/// A state is a word, or a table that holds one.
fn state_of(stated: &Value) -> &str {
    let state = &stated["state"];
    state.as_str().or_else(|| state["state"].as_str()).unwrap_or("absent")
}
