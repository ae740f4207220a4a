//! People on a homeserver: Synapse, which pushes to the gateway, or the stand-in, which is faster by far.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Between, Net, Trouble, called};
use crate::{
    http,
    oracle::{Ordered, Promise},
    peers::{
        self,
        synapse::{self, Appservice, SERVER_NAME, Synapse, escape},
    },
    sandbox::Sandbox,
    wait::until,
};

pub(crate) struct Matrix {
    server: Server,
    /// Where people call.
    url: String,
    count: usize,
    people: Vec<Guest>,
    transactions: u64,
    trouble: Option<Trouble>,
    was_stopped: bool,
    /// What people's clients keep while there is trouble.
    kept: Vec<(usize, String)>,
}

enum Server {
    Synapse {
        process: Box<Synapse>,
        service: Appservice,
    },
    /// A sandbox whose inbox nobody uses. `calls` is where the gateway's own calls go.
    StandIn {
        _sandbox: Sandbox,
        calls: String,
        _folder: TempDir,
    },
}

struct Guest {
    user: String,
    token: String,
    room: String,
}

impl Matrix {
    pub(crate) fn synapse(count: usize) -> Self {
        let process = Box::new(Synapse::start());
        let (url, service) = (process.url(), process.appservice());
        Self::new(Server::Synapse { process, service }, url, count)
    }

    pub(crate) fn stand_in(count: usize, before: Option<Between<'_>>) -> Self {
        let folder = peers::folder();
        let sandbox = Sandbox::start_with(folder.path(), &["--homeserver"]);
        let url = sandbox.url.clone();
        let calls = before.map_or_else(|| url.clone(), |before| before(&url));
        Self::new(Server::StandIn { _sandbox: sandbox, calls, _folder: folder }, url, count)
    }

    fn new(server: Server, url: String, count: usize) -> Self {
        Self {
            server,
            url,
            count,
            people: Vec::new(),
            transactions: 0,
            trouble: None,
            was_stopped: false,
            kept: Vec::new(),
        }
    }

    /// Whom people write to.
    fn support(&self) -> String {
        match &self.server {
            Server::Synapse { service, .. } => service.user("support"),
            Server::StandIn { .. } => "@_desk_support:sandbox.test".to_owned(),
        }
    }

    fn call(&self, method: Method, path: &str, token: &str, body: &Value) -> Value {
        let answer = synapse::call(&self.url, method, path, Some(token), Some(body));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// User and token of somebody new.
    fn register(&self, name: &str) -> (String, String) {
        if let Server::Synapse { process, .. } = &self.server {
            let account = process.register(name);
            return (account.user, account.token);
        }
        let order = json!({ "user": name, "password": "wonderland" });
        let made = http::post_json(&format!("{}/sandbox/homeserver/accounts", self.url), &order);
        let made = made.expect("the sandbox answers").json();
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name}: {made}")).to_owned();
        (text("user_id"), text("access_token"))
    }

    fn welcome(&self, number: usize) -> Guest {
        let name = called(self.name(), number);
        let (user, token) = self.register(&name);
        let profile = format!("/_matrix/client/v3/profile/{}/displayname", escape(&user));
        self.call(Method::PUT, &profile, &token, &json!({ "displayname": name }));
        let wanted = json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [self.support()] });
        let made = self.call(Method::POST, "/_matrix/client/v3/createRoom", &token, &wanted);
        let room = made["room_id"].as_str().expect("a room has an id").to_owned();
        Guest { user, token, room }
    }
}

impl Net for Matrix {
    fn name(&self) -> &'static str {
        match self.server {
            Server::Synapse { .. } => "synapse",
            Server::StandIn { .. } => "matrix",
        }
    }

    fn title(&self) -> &'static str {
        match self.server {
            Server::Synapse { .. } => "Matrix (Synapse, push)",
            Server::StandIn { .. } => "Matrix (stand-in, websocket)",
        }
    }

    fn promise(&self) -> Promise {
        Promise { keeps: true, askable: true, forgets: self.was_stopped, ordered: Ordered::BothWays }
    }

    fn table(&self) -> String {
        match &self.server {
            Server::Synapse { service, .. } => {
                let Appservice { as_token, hs_token, namespace, port, .. } = service;
                format!(
                    "kind = \"matrix\"\nmode = \"appservice\"\nserver_name = \"{SERVER_NAME}\"\nhomeserver_url = \"{}\"\n\
                     listen = \"127.0.0.1:{port}\"\nas_token = \"{as_token}\"\nhs_token = \"{hs_token}\"\n\
                     user = \"{namespace}support\"\nnamespace = \"{namespace}\"\n",
                    self.url
                )
            }
            Server::StandIn { calls, .. } => format!(
                "kind = \"matrix\"\nmode = \"websocket\"\nserver_name = \"sandbox.test\"\nhomeserver_url = \"{calls}\"\n\
                 websocket_url = \"{}\"\nas_token = \"sandbox-as-token\"\nuser = \"_desk_support\"\nnamespace = \"_desk_\"\n",
                self.url.replacen("http", "ws", 1)
            ),
        }
    }

    fn people(&self) -> usize {
        self.count
    }

    fn gather(&mut self) {
        self.people = (0..self.count).map(|number| self.welcome(number)).collect();
        let support = self.support();
        for number in 0..self.count {
            let Guest { token, room, .. } = &self.people[number];
            let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", escape(room), escape(&support));
            until("the desk to join", || {
                let answer = synapse::call(&self.url, Method::GET, &path, Some(token), None);
                let state = answer.json()["membership"].clone();
                if state == "join" { Ok(()) } else { Err(state.to_string()) }
            });
            self.say(number, "hello");
        }
    }

    fn say(&mut self, person: usize, text: &str) {
        if self.trouble.is_some() {
            return self.kept.push((person, text.to_owned()));
        }
        self.transactions += 1;
        let Guest { token, room, .. } = &self.people[person];
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", escape(room), self.transactions);
        self.call(Method::PUT, &path, token, &json!({ "msgtype": "m.text", "body": text }));
    }

    fn heard(&mut self, person: usize) -> Vec<String> {
        let Guest { user, token, room } = &self.people[person];
        let events = synapse::history(&self.url, token, room);
        // Notices are the gateway's own.
        let of_agents = events
            .iter()
            .filter(|event| event["sender"].as_str() != Some(user) && event["content"]["msgtype"] == "m.text");
        of_agents.filter_map(|event| event["content"]["body"].as_str()).map(ToOwned::to_owned).collect()
    }

    fn suffer(&mut self, trouble: Trouble) {
        let Server::Synapse { process, .. } = &mut self.server else { return };
        match trouble {
            Trouble::Away => {
                process.stop();
                self.was_stopped = true;
            }
            Trouble::Hanging => process.hang(),
        }
        self.trouble = Some(trouble);
    }

    fn recover(&mut self) {
        let Server::Synapse { process, .. } = &mut self.server else { return };
        match self.trouble.take() {
            Some(Trouble::Away) => process.come_up(),
            Some(Trouble::Hanging) => process.wake(),
            None => {}
        }
        for (person, text) in std::mem::take(&mut self.kept) {
            self.say(person, &text);
        }
    }
}
