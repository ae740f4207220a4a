//! What the help desk's own words mean, and the way out of each. Tables, looked through from the top.

use crate::chatwoot::CallFault;

/// One cause.
struct Advice {
    /// A part of what is said, in any case of letters.
    said: &'static str,
    found: &'static str,
    change: &'static str,
}

/// The ways in which Chatwoot says 401 (4.15): it uses no other status for a lack of rights.
const REFUSALS: [Advice; 8] = [
    Advice {
        said: "invalid access token",
        found: "Chatwoot does not know this token",
        change: "copy the access token from the profile page of the token's owner into `api_access_token`, without blanks around it",
    },
    Advice {
        said: "sign in or sign up",
        found: "the request arrived without its token",
        change: "something in front of Chatwoot drops the header `Api-Access-Token`: let it pass, or set `url` to where Chatwoot itself answers",
    },
    Advice {
        said: "bot is not authorized",
        found: "it is a bot's token, which may not make contacts",
        change: "use the access token of a user: of an agent who is a member of the inbox",
    },
    Advice {
        said: "authorized to access this account",
        found: "the token's owner is not in this account",
        change: "set `account_id` to the number behind /accounts/ in Chatwoot's addresses, or invite the token's owner into the account",
    },
    Advice {
        said: "bots",
        found: "it is a bot's or a platform app's token, which may not make contacts",
        change: "use the access token of a user: of an agent who is a member of the inbox",
    },
    Advice {
        said: "account is suspended",
        found: "the account is suspended",
        change: "have the account made active again by whoever runs Chatwoot",
    },
    Advice {
        said: "authorized to do this",
        found: "the token's owner may not do this",
        change: "add the token's owner to the inbox (Settings, Inboxes, Collaborators), or make them an administrator",
    },
    Advice {
        said: "limit exceeded",
        found: "the account's plan allows no more inboxes",
        change: "remove an inbox that is not needed, or change the plan",
    },
];

/// What Chatwoot writes on a message whose callback failed: the words of Ruby's HTTP client and of its own filter.
const UNDELIVERED: [Advice; 13] = [
    Advice {
        said: "no public ip addresses",
        found: "Chatwoot refuses to call private addresses",
        change: "set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in the environment of both rails and sidekiq (Chatwoot 4.14.1 or later) and restart them, or give the gateway a public address",
    },
    Advice {
        said: "resolve",
        found: "Chatwoot's worker finds no address for the host of the callback address",
        change: "set `gateway.public_url` to a name that sidekiq's container knows, such as the gateway's service name, and run `deskbridge provision`",
    },
    Advice {
        said: "getaddrinfo",
        found: "Chatwoot's worker finds no address for the host of the callback address",
        change: "set `gateway.public_url` to a name that sidekiq's container knows, such as the gateway's service name, and run `deskbridge provision`",
    },
    Advice {
        said: "refused",
        found: "nothing listens at the callback address, as Chatwoot's worker sees it",
        change: "have `gateway.listen` name an address that Chatwoot reaches (0.0.0.0:8600 in a container), and `gateway.public_url` the same port",
    },
    Advice {
        said: "opentimeout",
        found: "the callback address does not take connections from Chatwoot's worker",
        change: "let Chatwoot through to the gateway: a firewall or a network between them swallows the connection",
    },
    Advice {
        said: "execution expired",
        found: "the callback address does not take connections from Chatwoot's worker",
        change: "let Chatwoot through to the gateway: a firewall or a network between them swallows the connection",
    },
    Advice {
        said: "readtimeout",
        found: "the callback was not answered within Chatwoot's limit, usually 5 s",
        change: "look at what stands between Chatwoot and the gateway, and at the latency of the gateway's disk above",
    },
    Advice {
        said: "certificate",
        found: "Chatwoot does not trust the certificate at the callback address",
        change: "use a certificate of a known authority there, or plain http inside of one network",
    },
    Advice {
        said: "ssl",
        found: "Chatwoot gets no TLS connection to the callback address",
        change: "use http:// in `gateway.public_url` unless something in front of the gateway speaks TLS: the gateway itself does not",
    },
    Advice {
        said: "401",
        found: "what answers at the callback address refuses the signature",
        change: "give `callback_secret` the inbox's secret: `deskbridge provision` reads it into the file of `callback_secret_file`; and compare both clocks",
    },
    Advice {
        said: "404",
        found: "what answers at the callback address knows no such path",
        change: "the path must end in /callbacks/NAME with the inbox's name in the settings, and a proxy must pass it on as it is: run `deskbridge provision`",
    },
    Advice {
        said: "redirects",
        found: "the callback address leads in circles",
        change: "set `gateway.public_url` to the last address of the redirects",
    },
    Advice {
        said: "50",
        found: "what answers at the callback address cannot reach the gateway, or the gateway could not store the callback",
        change: "look at the proxy in front of the gateway, and at `readyz` and the log of the gateway",
    },
];

/// What a person reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) found: String,
    pub(super) change: String,
}

impl Words {
    fn new(found: impl Into<String>, change: impl Into<String>) -> Self {
        Self { found: found.into(), change: change.into() }
    }
}

/// Of a call that failed.
pub(super) fn of_fault(fault: &CallFault) -> Words {
    let said = fault.to_string();
    match fault {
        CallFault::Unauthorised { .. } => match looked_up(&REFUSALS, &said) {
            Some(advice) => Words::new(format!("{} ({said})", advice.found), advice.change),
            None => {
                Words::new(said, "look at the rights of the token's owner, and at what stands in front of Chatwoot")
            }
        },
        CallFault::NotFound { .. } => Words::new(said, "check `account_id` and `inbox_id`"),
        CallFault::Limited { .. } | CallFault::Flooded => Words::new(
            said,
            "try again in a minute; if that is usual, add the gateway's address to RACK_ATTACK_ALLOWED_IPS of Chatwoot",
        ),
        CallFault::NotSent { .. } => Words::new(said, "check `url`, and what stands in front of Chatwoot"),
        CallFault::Doubtful { .. } | CallFault::Odd { .. } | CallFault::Taken { .. } | CallFault::Invalid { .. } => {
            Words::new(said, "look into the log of Chatwoot's rails process at this moment")
        }
    }
}

/// Of what stands on a message whose callback failed.
pub(super) fn of_undelivered(external_error: &str) -> Words {
    let said = format!("Chatwoot could not deliver the callback: {external_error}");
    match looked_up(&UNDELIVERED, external_error) {
        Some(advice) => Words::new(format!("{} ({external_error})", advice.found), advice.change),
        None => Words::new(said, "look into the log of Chatwoot's sidekiq process at this moment"),
    }
}

fn looked_up(table: &'static [Advice], said: &str) -> Option<&'static Advice> {
    let said = said.to_lowercase();
    table.iter().find(|advice| said.contains(advice.said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chatwoot::{Call, fault};

    fn refusal(body: &str) -> Words {
        let answer = fault::Answer {
            status: 401,
            content_type: "application/json",
            body: body.as_bytes(),
            ..Default::default()
        };
        of_fault(&fault::classify(Call::ReadProfile, &answer))
    }

    #[test]
    fn the_ways_to_say_401_are_told_apart() {
        let cases = [
            (r#"{"error":"Invalid Access Token"}"#, "does not know this token"),
            (r#"{"errors":["You need to sign in or sign up before continuing."]}"#, "without its token"),
            (r#"{"error":"You are not authorized to access this account"}"#, "not in this account"),
            (r#"{"error":"You are not authorized to do this action"}"#, "may not do this"),
            (r#"{"error":"Access to this endpoint is not authorized for bots"}"#, "bot's or a platform app's"),
            (r#"{"error":"Bot is not authorized to access this account"}"#, "bot"),
            (r#"{"error":"Account is suspended"}"#, "suspended"),
            (r#"{"error":"something new"}"#, "something new"),
        ];
        for (body, found) in cases {
            let words = refusal(body);
            assert!(words.found.contains(found), "{body}: {words:?}");
        }
    }

    #[test]
    fn what_stands_on_an_undelivered_message_names_its_cause() {
        let cases = [
            ("Hostname 'gateway' has no public ip addresses", "SAFE_FETCH_ALLOW_PRIVATE_NETWORK"),
            ("Could not resolve hostname 'gateway'", "a name that sidekiq's container knows"),
            ("getaddrinfo: Name or service not known", "a name that sidekiq's container knows"),
            (
                "Failed to open TCP connection to gw:8600 (Connection refused - connect(2) for \"gw\" port 8600)",
                "0.0.0.0:8600",
            ),
            ("Net::OpenTimeout", "firewall"),
            ("Net::ReadTimeout with #<TCPSocket:(closed)>", "latency"),
            ("SSL_connect returned=1 errno=0: certificate verify failed", "known authority"),
            ("SSL_connect returned=1 errno=0 state=error: wrong version number", "http://"),
            ("401 Unauthorized", "callback_secret"),
            ("404 Not Found", "/callbacks/NAME"),
            ("502 Bad Gateway", "proxy"),
            ("503 Service Unavailable", "readyz"),
            ("Got 10 redirects fetching the url", "last address"),
            ("something new", "sidekiq"),
        ];
        for (said, change) in cases {
            let words = of_undelivered(said);
            assert!(words.change.contains(change) && words.found.contains(said), "{said}: {words:?}");
        }
    }
}
