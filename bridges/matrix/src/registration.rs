//! The registration that a homeserver reads, made from the settings.

use std::fmt::Write;

use bridge_api::SettingsFault;

use crate::settings::{Mode, Settings, sender_localpart};

impl Settings {
    /// YAML for the homeserver. `bridge` is the name in the settings.
    pub fn registration(&self, bridge: &str) -> Result<String, SettingsFault> {
        if self.mode == Mode::Sync {
            return Err(SettingsFault::new(
                "mode",
                "a bot account needs no registration: it is for `websocket` and `appservice`",
            ));
        }
        let checked = self.check(bridge)?;
        let crate::settings::Account::Appservice(appservice) = checked.account else {
            return Err(SettingsFault::new("mode", "a bot account needs no registration"));
        };
        let hs_token = self.hs_token.as_ref().ok_or_else(|| {
            SettingsFault::new(
                "hs_token",
                "is missing; the registration names it, for the homeserver or the websocket's proxy",
            )
        })?;
        let url = self.listen_url.clone().or_else(|| self.listen.map(|listen| format!("http://{listen}")));
        let url = url.map_or_else(|| "null".to_owned(), |url| quoted(&url));
        let pattern = |sigil: &str| {
            let (prefix, server) = (escaped(&appservice.namespace), escaped(&appservice.server_name));
            quoted(&format!("{sigil}{prefix}.*:{server}"))
        };
        let mut yaml = String::new();
        let lines = [
            format!("id: {}", quoted(&appservice.id)),
            format!("url: {url}"),
            format!("as_token: {}", quoted(appservice.token.expose())),
            format!("hs_token: {}", quoted(hs_token.expose())),
            format!("sender_localpart: {}", quoted(&sender_localpart(&appservice.namespace))),
            "rate_limited: false".to_owned(),
            "receive_ephemeral: true".to_owned(),
            "namespaces:".to_owned(),
            format!("  users: [{{ exclusive: true, regex: {} }}]", pattern("@")),
            "  aliases: []".to_owned(),
            "  rooms: []".to_owned(),
        ];
        for line in lines {
            writeln!(yaml, "{line}").expect("a string takes all");
        }
        Ok(yaml)
    }
}

/// Single quotes take everything but themselves.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && c != '_' && c != '-' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
