//! `doctor` and `provision` against the sandbox, which plays each failure; each is named by one line.

mod alone;
mod beside_a_gateway;
mod command;
mod provision;

use std::{ffi::OsString, fs, net::TcpListener, path::PathBuf};

use bridge_api::{Finding, Verdict};
use deskbridge::{
    bridges::Registry,
    doctor::{self, Reported},
    sandbox::{Sandbox, SandboxSettings},
    settings::{Settings, load_text},
};

use crate::world::SECRET;

/// Below those that systems give to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A sandbox inbox, and the settings of a gateway that may run.
struct Scene {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
    port: u16,
}

impl Scene {
    async fn new() -> Self {
        Self::with(SandboxSettings::default()).await
    }

    /// The inbox calls the gateway's address, unless the settings name another one.
    async fn with(settings: SandboxSettings) -> Self {
        let port = free_port();
        let ours = format!("http://127.0.0.1:{port}/callbacks/support");
        let callback_url = settings.callback_url.or(Some(ours));
        let callback_secret = Some(SECRET.to_owned());
        let sandbox = Sandbox::start(SandboxSettings { callback_url, callback_secret, ..settings }).await.unwrap();
        Self { sandbox, folder: tempfile::tempdir().unwrap(), port }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The text of a settings file: the lines of the inbox as they should be, with `(from, to)` replaced in them.
    fn text(&self, changes: &[(&str, &str)]) -> String {
        let (port, url, data) = (self.port, self.sandbox.url(), self.data_dir());
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"\ndata_dir = \"{}\"\n\
             [inboxes.support]\nurl = \"{url}\"\naccount_id = 1\ninbox_id = 7\napi_access_token = \"sandbox-token\"\n\
             callback_secret = \"{SECRET}\"\n",
            data.display(),
        );
        changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from} in {text}");
            text.replace(from, to)
        })
    }

    fn settings(&self, changes: &[(&str, &str)]) -> Settings {
        let text = self.text(changes);
        load_text("desk.toml", &text, Vec::<(OsString, OsString)>::new(), &Registry::standard())
            .unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// As a file, for the program itself.
    fn file(&self, changes: &[(&str, &str)]) -> PathBuf {
        let file = self.folder.path().join("desk.toml");
        fs::write(&file, self.text(changes)).unwrap();
        file
    }

    async fn examine(&self, changes: &[(&str, &str)]) -> Vec<Reported> {
        let settings = self.settings(changes);
        let mut told = Vec::new();
        let reported = doctor::examine(&settings, |finding| told.push(finding.clone())).await;
        assert_eq!(told, reported, "what is told is what is reported");
        reported
    }

    /// What there is of the doctor's own in the inbox: contacts, and the conversations with their status and length.
    fn own(&self) -> (usize, Vec<(String, usize)>) {
        let state = self.sandbox.state();
        let conversations = state["conversations"].as_array().unwrap().iter().map(|conversation| {
            let status = conversation["status"].as_str().unwrap().to_owned();
            (status, conversation["messages"].as_array().unwrap().len())
        });
        (state["contacts"].as_array().unwrap().len(), conversations.collect())
    }
}

fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(PORTS)).take(200).find(free).expect("one of them is free")
}

/// The one finding about this whose check begins so.
#[track_caller]
fn one(reported: &[Reported], about: &str, tried: &str) -> Finding {
    let these: Vec<_> = reported.iter().filter(|it| it.about == about && it.finding.tried.starts_with(tried)).collect();
    assert_eq!(these.len(), 1, "{about}: {tried} in {}", text(reported));
    these[0].finding.clone()
}

#[track_caller]
fn assert_found(reported: &[Reported], tried: &str, verdict: Verdict, (found, change): (&str, &str)) {
    let finding = one(reported, "inbox support", tried);
    let said = finding.change.clone().unwrap_or_default();
    assert!(
        finding.verdict == verdict && finding.found.contains(found) && said.contains(change),
        "{tried}: wanted {verdict:?}, {found:?}, {change:?}, there is {finding:?}"
    );
}

fn of(reported: &[Reported], verdict: Verdict) -> Vec<String> {
    let these = reported.iter().filter(|it| it.finding.verdict == verdict);
    these.map(|it| format!("{}: {}: {}", it.about, it.finding.tried, it.finding.found)).collect()
}

fn text(reported: &[Reported]) -> String {
    reported.iter().map(|it| doctor::line(it, None, false)).collect()
}

const ROUND: &str = "send a message round";
