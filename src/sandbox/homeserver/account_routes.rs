//! Calls about the server, accounts, profiles, `/sync`, and the appservice's ping.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Dialect;
use super::errors::MatrixError;
use super::history::token;
use super::push;
use super::routes::{Answer, At, Cores, Parsed, Requester, Search, empty, ok, token_of};
use super::state::Core;
use super::sync::Asked;

/// Longest time that one `/sync` waits.
const SYNC_WAIT_MAX: Duration = Duration::from_mins(2);

pub(super) fn routes() -> Router<Arc<Core>> {
    let v3 = "/_matrix/client/v3";
    Router::new()
        .route("/_matrix/client/versions", get(versions))
        .route(&format!("{v3}/login"), get(flows).post(login))
        .route(&format!("{v3}/logout"), post(logout))
        .route(&format!("{v3}/register"), post(register))
        .route(&format!("{v3}/account/whoami"), get(whoami))
        .route(&format!("{v3}/profile/{{user}}"), get(profile))
        .route(&format!("{v3}/profile/{{user}}/{{field}}"), get(profile_field).put(set_profile))
        .route(&format!("{v3}/user/{{user}}/filter"), post(new_filter))
        .route(&format!("{v3}/user/{{user}}/account_data/{{kind}}"), get(account_data).put(set_account_data))
        .route(&format!("{v3}/user/{{user}}/rooms/{{room}}/account_data/{{kind}}"), get(room_data).put(set_room_data))
        .route(&format!("{v3}/sync"), get(sync))
        .route("/_matrix/client/v1/appservice/{id}/ping", post(ping))
}

async fn versions(State(core): Cores) -> Answer {
    ok(&json!({"versions": core.settings.versions, "unstable_features": {}}))
}

async fn flows() -> Answer {
    ok(&json!({"flows": [{"type": "m.login.password"}, {"type": "m.login.application_service"}]}))
}

async fn login(State(core): Cores, Parsed(body): Parsed) -> Answer {
    ok(&core.change(|house| house.login(&body))?)
}

async fn logout(State(core): Cores, parts: Parts) -> Answer {
    let token = token_of(&parts).unwrap_or_default();
    let gone = core.change(|house| house.tokens.remove(&token));
    if gone.is_some() { empty() } else { Err(MatrixError::unknown_token()) }
}

async fn register(State(core): Cores, parts: Parts, Parsed(body): Parsed) -> Answer {
    let by_appservice = token_of(&parts).is_some_and(|token| token == core.settings.as_token);
    ok(&core.change(|house| house.register(&body, by_appservice))?)
}

async fn whoami(requester: Requester) -> Answer {
    let mut answer = json!({"user_id": requester.user, "is_guest": false});
    if let Some(device) = requester.device {
        answer["device_id"] = json!(device);
    }
    ok(&answer)
}

async fn profile(State(core): Cores, At(user): At<String>) -> Answer {
    ok(&core.look(|house| {
        let profile = house.profile(&user)?;
        let mut answer = json!({});
        for (key, value) in [("displayname", &profile.displayname), ("avatar_url", &profile.avatar_url)] {
            if let Some(value) = value {
                answer[key] = json!(value);
            }
        }
        Ok::<_, MatrixError>(answer)
    })?)
}

async fn profile_field(State(core): Cores, At((user, field)): At<(String, String)>) -> Answer {
    ok(&core.look(|house| {
        let profile = house.profile(&user)?;
        match field.as_str() {
            "displayname" => Ok(json!({"displayname": profile.displayname})),
            "avatar_url" => Ok(json!({"avatar_url": profile.avatar_url})),
            _ => Err(MatrixError::missing("Profile field was not found")),
        }
    })?)
}

async fn set_profile(
    State(core): Cores,
    requester: Requester,
    At((user, field)): At<(String, String)>,
    Parsed(body): Parsed,
) -> Answer {
    if user != requester.user {
        return Err(MatrixError::bad("M_FORBIDDEN", format!("Cannot set another user's {field}")));
    }
    let value = match &body[&field] {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err(MatrixError::bad("M_INVALID_PARAM", format!("'{field}' must be a string")));
        }
    };
    core.change(|house| house.set_profile(&user, &field, value))?;
    empty()
}

async fn new_filter(State(core): Cores, requester: Requester, At(_): At<String>, Parsed(body): Parsed) -> Answer {
    ok(&core.change(|house| {
        let user = house.users.get_mut(&requester.user).ok_or_else(MatrixError::internal)?;
        user.filters.push(body);
        Ok::<_, MatrixError>(json!({"filter_id": (user.filters.len() - 1).to_string()}))
    })?)
}

async fn account_data(core: Cores, requester: Requester, At((user, kind)): At<(String, String)>) -> Answer {
    room_data(core, requester, At((user, String::new(), kind))).await
}

/// What a client keeps for itself. Nothing here looks at it, and `/sync` does not tell it.
async fn room_data(
    State(core): Cores,
    requester: Requester,
    At((user, room, kind)): At<(String, String, String)>,
) -> Answer {
    own_data(&requester, &user)?;
    let found = core.look(|house| house.users.get(&user)?.account_data.get(&(room, kind)).cloned());
    ok(&found.ok_or_else(|| MatrixError::missing("Account data not found"))?)
}

async fn set_account_data(
    core: Cores,
    requester: Requester,
    At((user, kind)): At<(String, String)>,
    body: Parsed,
) -> Answer {
    set_room_data(core, requester, At((user, String::new(), kind)), body).await
}

async fn set_room_data(
    State(core): Cores,
    requester: Requester,
    At((user, room, kind)): At<(String, String, String)>,
    Parsed(body): Parsed,
) -> Answer {
    own_data(&requester, &user)?;
    core.change(|house| house.users.get_mut(&user).map(|user| user.account_data.insert((room, kind), body)));
    empty()
}

fn own_data(requester: &Requester, user: &str) -> Result<(), MatrixError> {
    if requester.user == user {
        Ok(())
    } else {
        Err(MatrixError::forbidden("Cannot get account data for other users."))
    }
}

async fn sync(State(core): Cores, requester: Requester, Query(query): Search) -> Answer {
    // What Synapse does to an appservice's own user, whether it names itself or not.
    if requester.by_appservice && requester.user == core.settings.sender() {
        return Err(MatrixError::internal());
    }
    let since = query.get("since").map(|text| token(text)).transpose()?;
    let filter = query.get("filter").map_or(Value::Null, |text| {
        let named = text.parse().ok().and_then(|number: usize| {
            core.look(|house| house.users.get(&requester.user)?.filters.get(number).cloned())
        });
        named.or_else(|| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
    });
    let wait = query.get("timeout").and_then(|text| text.parse().ok()).unwrap_or(0);
    let wait = Duration::from_millis(wait).min(SYNC_WAIT_MAX);
    let asked = Asked { user: &requester.user, access: &requester.access, since, timeline: Asked::limit(&filter) };
    let mut changed = core.changed.subscribe();
    let news = async {
        loop {
            let (answer, some) = core.look(|house| house.sync(&asked));
            if some || since.is_none() || changed.changed().await.is_err() {
                return answer;
            }
        }
    };
    match tokio::time::timeout(wait, news).await {
        Ok(answer) => ok(&answer),
        Err(_) => ok(&core.look(|house| house.sync(&asked)).0),
    }
}

/// The homeserver asks the appservice through the proxy. wsproxy knows no such path.
async fn ping(State(core): Cores, requester: Requester, At(id): At<String>, Parsed(body): Parsed) -> Answer {
    if !requester.by_appservice || id != core.settings.appservice_id {
        return Err(MatrixError::forbidden("Provided access token is not for this appservice"));
    }
    if let Some(url) = core.pusher.url() {
        return ok(&push::ping(&core, &url, &body["transaction_id"]).await?);
    }
    let connected = core.look(|house| house.outbox.connected);
    let status = match core.settings.dialect {
        Dialect::Asmux if connected => return ok(&json!({"duration_ms": 1})),
        Dialect::Asmux => 502,
        Dialect::Wsproxy => 404,
    };
    let error = MatrixError::new(StatusCode::BAD_GATEWAY, "M_BAD_STATUS", "Ping returned a bad status");
    Err(error.with("status", json!(status)).with("body", json!("")))
}
