//! Docker from outside: its commands, and one stack of our own that goes when it is dropped.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    process::{Ran, free_port, run},
    sandbox::Sandbox,
    wait::until,
};

/// The compose command: `docker compose`, or `docker-compose`.
const VARIABLE: &str = "DESKBRIDGE_STACK";
pub(crate) const IMAGE: &str = "deskbridge:local";
/// What stands on a port of this machine, by the variable that says which one.
const PORTS: [&str; 6] =
    ["GATEWAY_PORT", "SANDBOX_PORT", "MAIL_PORT", "GATEWAY2_PORT", "BALANCER_PORT", "BALANCER_MAIL_PORT"];

/// Says so where nobody asked for it. Whoever asks has an engine and the image: what is missing then is a failure.
pub(crate) fn wanted() -> bool {
    let wanted = std::env::var_os(VARIABLE).is_some();
    if !wanted {
        eprintln!("\n*** SKIPPED: the stack, which .ci/stack builds and tries ({VARIABLE} is not set) ***\n");
    }
    wanted
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn docker(words: &[&str]) -> Ran {
    let mut command = Command::new("docker");
    command.args(words);
    run(command)
}

/// What a command prints that must not fail.
pub(crate) fn said(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out
}

/// `docker compose` in the folder of its file, under a name and on ports of our own.
pub(crate) struct Compose {
    words: Vec<String>,
    project: String,
    environment: Vec<(&'static str, String)>,
}

impl Compose {
    pub(crate) fn new() -> Self {
        let words = std::env::var(VARIABLE).expect("it was looked for before");
        let words: Vec<String> = words.split_whitespace().map(ToOwned::to_owned).collect();
        assert!(!words.is_empty(), "{VARIABLE} names the compose command");
        let ports = PORTS.map(|name| (name, free_port().to_string()));
        Self { words, project: format!("deskbridge-stack-{}", std::process::id()), environment: ports.to_vec() }
    }

    pub(crate) fn with_profile(mut self, profile: &str) -> Self {
        self.environment.push(("COMPOSE_PROFILES", profile.to_owned()));
        self
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(["-p", &self.project]).args(words).current_dir(root());
        command.env_remove("COMPOSE_PROFILES").envs(self.environment.iter().cloned());
        run(command)
    }

    fn url(&self, port: &str) -> String {
        let (_, number) = self.environment.iter().find(|(variable, _)| *variable == port).expect("one of ours");
        format!("http://127.0.0.1:{number}")
    }
}

/// What is started: a profile and, in the order in which they are waited for, its services.
pub(crate) struct Choice {
    profile: Option<&'static str>,
    services: &'static [&'static str],
}

pub(crate) const DEFAULT: Choice = Choice { profile: None, services: &["sandbox", "gateway"] };
pub(crate) const POSTGRES: Choice = Choice { profile: Some("postgres"), services: &["postgres", "sandbox", "gateway"] };
pub(crate) const REPLICAS: Choice =
    Choice { profile: Some("replicas"), services: &["postgres", "sandbox", "gateway", "gateway2", "balancer"] };

/// A stack that is up.
pub(crate) struct Stack {
    compose: Compose,
    pub(crate) sandbox: Sandbox,
}

impl Stack {
    pub(crate) fn up(choice: &Choice) -> Self {
        let compose = choice.profile.into_iter().fold(Compose::new(), Compose::with_profile);
        let sandbox = Sandbox::at(&compose.url("SANDBOX_PORT"));
        let stack = Self { compose, sandbox };
        said(stack.compose.run(&["up", "-d"]));
        for service in choice.services {
            stack.until_healthy(service);
        }
        stack
    }

    /// Where that port is, from here.
    pub(crate) fn url(&self, port: &str) -> String {
        self.compose.url(port)
    }

    /// Names of containers differ between versions of compose.
    pub(crate) fn container(&self, service: &str) -> String {
        let id = said(self.compose.run(&["ps", "-q", service])).trim().to_owned();
        assert!(!id.is_empty(), "no container of {service}");
        id
    }

    pub(crate) fn inspect(&self, service: &str) -> Value {
        let text = said(docker(&["inspect", &self.container(service)]));
        serde_json::from_str::<Value>(&text).expect("docker prints JSON")[0].take()
    }

    pub(crate) fn until_healthy(&self, service: &str) {
        until(&format!("{service} to be healthy"), || {
            let state = self.inspect(service)["State"].take();
            if state["Health"]["Status"] == "healthy" { Ok(()) } else { Err(state.to_string()) }
        });
    }

    /// Within a container, by the executable that is there.
    pub(crate) fn exec(&self, service: &str, words: &[&str]) -> Ran {
        docker(&[&["exec", &self.container(service)], words].concat())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.compose.run(&["logs", "--no-color", "--tail", "60"]);
            eprintln!("{}{}", logs.out, logs.err);
        }
        self.compose.run(&["down", "-v", "--remove-orphans"]);
    }
}

/// The names of all files of an image, as `tar` lists them.
pub(crate) fn files_of_image() -> Vec<String> {
    let container = said(docker(&["create", IMAGE])).trim().to_owned();
    let mut export = Command::new("docker");
    let mut export = export.args(["export", &container]).stdout(Stdio::piped()).spawn().expect("docker runs");
    let mut list = Command::new("tar");
    list.arg("-t").stdin(export.stdout.take().expect("it is piped"));
    let listed = list.output().expect("tar runs");
    let whole = export.wait().expect("it can be waited for").success() && listed.status.success();
    said(docker(&["rm", "-v", &container]));
    assert!(whole, "the image cannot be listed");
    String::from_utf8_lossy(&listed.stdout).lines().map(ToOwned::to_owned).collect()
}
