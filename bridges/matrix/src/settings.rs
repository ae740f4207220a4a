//! The adapter's own table, as written in TOML, and its checks. Knows nothing of the protocol.

use std::net::SocketAddr;

use bridge_api::{Secret, SettingsFault};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::ids::UserId;

/// One way to one homeserver.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How events come in: `websocket` (an appservice websocket, `fi.mau.as_sync`), `appservice` (the
    /// homeserver pushes over HTTP), or `sync` (a bot account that asks).
    pub mode: Mode,
    /// Where the client-server API answers.
    pub homeserver_url: String,
    /// Where the appservice websocket is; `homeserver_url` when left out. `ws`, `wss`, `http` or `https`.
    #[serde(default)]
    pub websocket_url: Option<String>,
    /// The part of user ids behind the colon. In mode `sync` it is read from the account when left out.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Our token for the homeserver, from the registration. Modes `websocket` and `appservice`.
    #[serde(default)]
    pub as_token: Option<Secret>,
    /// The homeserver's token for us, from the registration. Mode `appservice`.
    #[serde(default)]
    pub hs_token: Option<Secret>,
    /// Localpart of the user that customers write to; inside the namespace. Modes `websocket` and `appservice`.
    #[serde(default)]
    pub user: Option<String>,
    /// Prefix of the localparts that are ours. Modes `websocket` and `appservice`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// `id` of the registration. `deskbridge-NAME` when left out.
    #[serde(default)]
    pub appservice_id: Option<String>,
    /// Token of the bot account. Mode `sync`.
    #[serde(default)]
    pub access_token: Option<Secret>,
    /// Where the homeserver pushes to. Mode `appservice`.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// How the homeserver reaches `listen`, for the registration. `http://` and `listen` when left out.
    #[serde(default)]
    pub listen_url: Option<String>,
    /// Name that people see of the user they write to. Left as it is when left out.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Who answers: `ghosts` (each agent as a user of their own; where that cannot be, as in mode `sync`,
    /// as `names`), `names` (the agent's name before the text), `hidden` (neither).
    #[serde(default)]
    pub agents: Agents,
    /// Said once, as a notice, in each room that the bridge was invited to. Nothing when left out.
    #[serde(default)]
    pub greeting: Option<String>,
    /// Whose invites are accepted.
    #[serde(default)]
    pub invites: Invites,
    /// Show people when an agent is typing, and that their messages were read.
    #[serde(default = "yes")]
    pub presence: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Websocket,
    Appservice,
    Sync,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agents {
    #[default]
    Ghosts,
    Names,
    Hidden,
}

/// Who may invite the bridge, and into what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Invites {
    /// Names of servers whose users may; `*` stands for any run of characters. All when left out.
    #[serde(default = "everybody")]
    pub servers: Vec<String>,
    /// User ids that may whatever their server; `*` as above.
    #[serde(default)]
    pub users: Vec<String>,
    /// Most people in a room, the bridge's own not counted. Larger rooms are left again. 1 to 10000.
    #[serde(default = "members_max")]
    pub members_max: usize,
}

impl Default for Invites {
    fn default() -> Self {
        Self { servers: everybody(), users: Vec::new(), members_max: members_max() }
    }
}

fn yes() -> bool {
    true
}

fn everybody() -> Vec<String> {
    vec!["*".to_owned()]
}

fn members_max() -> usize {
    50
}

/// Settings whose mode has what it needs.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) homeserver: Url,
    pub(crate) account: Account,
    pub(crate) display_name: Option<String>,
    pub(crate) agents: Agents,
    pub(crate) greeting: Option<String>,
    pub(crate) invites: Invites,
    pub(crate) presence: bool,
}

/// Who we are on the homeserver.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    Appservice(Appservice),
    /// Our user id is asked of the server.
    Bot {
        token: Secret,
        server_name: Option<String>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Appservice {
    pub(crate) id: String,
    pub(crate) server_name: String,
    pub(crate) token: Secret,
    pub(crate) user: UserId,
    /// Localparts that begin so are ours.
    pub(crate) namespace: String,
    pub(crate) entrance: Entrance,
}

/// Where an appservice's transactions come from.
#[derive(Clone, Debug)]
pub(crate) enum Entrance {
    Websocket(Url),
    Push { listen: SocketAddr, hs_token: Secret },
}

impl Settings {
    pub(crate) fn check(&self, bridge: &str) -> Result<Checked, SettingsFault> {
        let homeserver = url("homeserver_url", &self.homeserver_url, &["http", "https"])?;
        if !(1..=10_000).contains(&self.invites.members_max) {
            return Err(SettingsFault::new("invites.members_max", "must be from 1 to 10000"));
        }
        let account = match self.mode {
            Mode::Sync => {
                let token = self.access_token.clone().ok_or_else(|| missing("access_token", "sync"))?;
                let token = token_fit("access_token", token)?;
                Account::Bot { token, server_name: self.server_name.clone() }
            }
            Mode::Websocket => {
                let place = self.websocket_url.as_ref().unwrap_or(&self.homeserver_url);
                let place = url("websocket_url", place, &["ws", "wss", "http", "https"])?;
                Account::Appservice(self.appservice(bridge, Entrance::Websocket(place))?)
            }
            Mode::Appservice => {
                let listen = self.listen.ok_or_else(|| missing("listen", "appservice"))?;
                let hs_token = self.hs_token.clone().ok_or_else(|| missing("hs_token", "appservice"))?;
                let hs_token = token_fit("hs_token", hs_token)?;
                Account::Appservice(self.appservice(bridge, Entrance::Push { listen, hs_token })?)
            }
        };
        Ok(Checked {
            homeserver,
            account,
            display_name: self.display_name.clone(),
            agents: self.agents,
            greeting: self.greeting.clone().filter(|text| !text.trim().is_empty()),
            invites: self.invites.clone(),
            presence: self.presence,
        })
    }

    fn appservice(&self, bridge: &str, entrance: Entrance) -> Result<Appservice, SettingsFault> {
        let mode = match entrance {
            Entrance::Websocket(_) => "websocket",
            Entrance::Push { .. } => "appservice",
        };
        let server_name = self.server_name.clone().ok_or_else(|| missing("server_name", mode))?;
        let token = self.as_token.clone().ok_or_else(|| missing("as_token", mode))?;
        let user = self.user.clone().ok_or_else(|| missing("user", mode))?;
        let namespace = self.namespace.clone().ok_or_else(|| missing("namespace", mode))?;
        if server_name.is_empty() || server_name.contains(['/', ' ', '@']) {
            return Err(SettingsFault::new("server_name", "must be the part of user ids behind the colon"));
        }
        for (key, part) in [("user", &user), ("namespace", &namespace)] {
            if part.is_empty() || !part.chars().all(is_of_localpart) {
                let reason =
                    "must be of the characters a-z, 0-9, `.`, `_`, `=`, `-`, `/` and `+`, without `@` and server";
                return Err(SettingsFault::new(key, reason));
            }
        }
        if !user.starts_with(&namespace) {
            return Err(SettingsFault::new("user", format!("must begin with the namespace `{namespace}`")));
        }
        if user == sender_localpart(&namespace) {
            let reason = "is kept for the appservice itself, which cannot be asked for missed invites: choose another";
            return Err(SettingsFault::new("user", reason));
        }
        let user = UserId::new(format!("@{user}:{server_name}"));
        if user.as_str().len() > 255 {
            return Err(SettingsFault::new("user", "is too long: a user id has at most 255 bytes"));
        }
        Ok(Appservice {
            id: self.appservice_id.clone().unwrap_or_else(|| format!("deskbridge-{bridge}")),
            server_name,
            token: token_fit("as_token", token)?,
            user,
            namespace,
            entrance,
        })
    }
}

/// The appservice's own user, which nobody writes to: it has no `/sync` on Synapse.
pub(crate) fn sender_localpart(namespace: &str) -> String {
    format!("{namespace}bot")
}

/// The characters of a localpart by the specification. Servers do not hold appservices to it, so we do.
pub(crate) fn is_of_localpart(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '=' | '-' | '/' | '+')
}

fn missing(key: &str, mode: &str) -> SettingsFault {
    SettingsFault::new(key, format!("is missing; mode `{mode}` needs it"))
}

fn token_fit(key: &str, token: Secret) -> Result<Secret, SettingsFault> {
    let fit = !token.expose().is_empty() && token.expose().bytes().all(|b| b.is_ascii_graphic());
    if fit { Ok(token) } else { Err(SettingsFault::new(key, "must be the token alone, without spaces or line ends")) }
}

fn url(key: &str, text: &str, schemes: &[&str]) -> Result<Url, SettingsFault> {
    let wrong = |reason: String| SettingsFault::new(key, reason);
    let url = Url::parse(text).map_err(|error| wrong(format!("is no URL: {error}")))?;
    if !schemes.contains(&url.scheme()) || url.host_str().is_none() {
        return Err(wrong(format!("must begin with {}://", schemes.join(":// or "))));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must have no user name, query or fragment".to_owned()));
    }
    Ok(url)
}

/// `*` stands for any run of characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    true
}

impl Invites {
    pub(crate) fn allow(&self, user: &UserId) -> bool {
        let server = user.server().unwrap_or_default();
        self.servers.iter().any(|pattern| matches(pattern, server))
            || self.users.iter().any(|pattern| matches(pattern, user.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        let cases = [
            ("*", "", true),
            ("*", "shop.example", true),
            ("shop.example", "shop.example", true),
            ("shop.example", "shop.example.evil", false),
            ("*.example", "shop.example", true),
            ("*.example", "shop.example.evil", false),
            ("@*:shop.example", "@kim:shop.example", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    fn read(mode: &str, lines: &str) -> Result<Checked, String> {
        let text = format!("mode = \"{mode}\"\nhomeserver_url = \"http://127.0.0.1:8008\"\n{lines}");
        let value: serde_json::Value = text
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(key, value)| (key.to_owned(), serde_json::from_str(value).unwrap()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        serde_json::from_value::<Settings>(value)
            .map_err(|error| error.to_string())?
            .check("matrix")
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn each_mode_says_what_it_lacks() {
        let whole =
            "server_name = \"shop.example\"\nas_token = \"a\"\nuser = \"_acme_support\"\nnamespace = \"_acme_\"";
        let cases = [
            ("sync", "", "access_token: is missing"),
            ("websocket", "", "server_name: is missing"),
            ("appservice", whole, "listen: is missing"),
            ("websocket", &whole.replace("_acme_support", "support"), "user: must begin with the namespace"),
            ("websocket", &whole.replace("_acme_support", "_acme_bot"), "user: is kept for the appservice"),
            ("websocket", &whole.replace("_acme_support", "_acme_Sup"), "user: must be of the characters"),
            ("websocket", &whole.replace("\"a\"", "\"a b\""), "as_token: must be the token alone"),
        ];
        for (mode, lines, expected) in cases {
            let fault = read(mode, lines).map(drop).unwrap_err();
            assert!(fault.starts_with(expected), "{mode}: {fault}");
        }
        assert!(read("websocket", whole).is_ok());
        assert!(read("sync", "access_token = \"x\"").is_ok());
    }
}
