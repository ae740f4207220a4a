//! Pause, resume, reconnect and sweep now: by the page's buttons, which need no script, and by the API. Each is told to
//! the log.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bridge_api::BridgeName;
use maud::{Markup, html};
use serde_json::json;

use super::{api, page, shell, shell::For, status::Side};
use crate::http::{Front, Lever, Pulled};

pub(super) async fn pull(
    State(front): State<Arc<Front>>,
    Path(word): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (form, visitor, back) = match page::signed(&front, &headers, &body) {
        Ok(signed) => signed,
        Err(refused) => return *refused,
    };
    let Some(lever) = Lever::of(&word) else {
        return shell::plain(StatusCode::NOT_FOUND, "There is no such button");
    };
    let name = BridgeName::from(form.first("name").unwrap_or_default());
    let notice = match pulled(&front, lever, &name).await {
        Pulled::Done => match lever {
            Lever::Pause => format!("{name} is paused, until it is resumed or the gateway starts again"),
            Lever::Resume => format!("{name} is resumed"),
            Lever::Reconnect => format!("{name} connects again"),
        },
        Pulled::Already => format!("Nothing to do: {name} is {}", already(lever)),
        Pulled::Elsewhere => format!("{name} runs in another replica: it is to be told on that one's page"),
        Pulled::Unknown => "There is no such bridge now".to_owned(),
    };
    front.admin.visits.notify(&visitor.id, notice);
    shell::see(&back)
}

pub(super) async fn sweep(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let (form, visitor, back) = match page::signed(&front, &headers, &body) {
        Ok(signed) => signed,
        Err(refused) => return *refused,
    };
    let name = form.first("name").unwrap_or_default();
    let notice = if asked(&front, name) {
        format!("{name} is asked now for what no callback told")
    } else {
        "There is no such inbox".to_owned()
    };
    front.admin.visits.notify(&visitor.id, notice);
    shell::see(&back)
}

/// `POST /admin/bridges/NAME/pause`, `resume` or `reconnect`.
pub(super) async fn pull_by_api(
    State(front): State<Arc<Front>>,
    Path((name, word)): Path<(String, String)>,
) -> Response {
    let Some(lever) = Lever::of(&word) else {
        return api::refuse(StatusCode::NOT_FOUND, "a bridge can be told to pause, resume or reconnect");
    };
    let name = BridgeName::from(name);
    match pulled(&front, lever, &name).await {
        Pulled::Unknown => api::refuse(StatusCode::NOT_FOUND, "the settings name no such bridge"),
        Pulled::Elsewhere => api::refuse(StatusCode::CONFLICT, "another replica runs this bridge: ask that one"),
        done @ (Pulled::Done | Pulled::Already) => {
            let paused = front.levers.is_paused(&name);
            Json(json!({ "bridge": name.as_str(), "changed": done == Pulled::Done, "paused": paused })).into_response()
        }
    }
}

/// `POST /admin/inboxes/NAME/sweep`.
pub(super) async fn sweep_by_api(State(front): State<Arc<Front>>, Path(name): Path<String>) -> Response {
    if asked(&front, &name) {
        return Json(json!({ "inbox": name, "asked": true })).into_response();
    }
    api::refuse(StatusCode::NOT_FOUND, "the settings name no such inbox")
}

async fn pulled(front: &Front, lever: Lever, name: &BridgeName) -> Pulled {
    let pulled = front.levers.pull(lever, name).await;
    if pulled == Pulled::Done {
        let (bridge, command) = (name.as_str(), lever.word());
        tracing::info!(bridge, command, "an operator told a bridge what to do");
    }
    pulled
}

fn asked(front: &Front, inbox: &str) -> bool {
    let Some(door) = front.doors.get(inbox) else { return false };
    tracing::info!(inbox, command = "sweep", "an operator asked for a sweep");
    door.missed.ask();
    true
}

fn already(lever: Lever) -> &'static str {
    match lever {
        Lever::Pause => "paused already",
        Lever::Resume => "not paused",
        Lever::Reconnect => "paused: resume it",
    }
}

/// The buttons of one bridge or inbox.
pub(super) fn buttons(to: &For<'_>, side: &Side, back: &str) -> Markup {
    let button = |action: &str, name: &str, label: &str| {
        html! {
            form method="post" action=(action) {
                (to.token())
                input type="hidden" name="back" value=(back);
                input type="hidden" name="name" value=(name);
                button.quiet aria-label={ (label) " " (name) } { (label) }
            }
        }
    };
    html! {
        div.levers {
            @if side.inbox.is_none() {
                (button("/inboxes/sweep", &side.name, "Sweep now"))
            } @else if side.paused {
                (button("/bridges/resume", &side.name, "Resume"))
            } @else {
                (button("/bridges/pause", &side.name, "Pause"))
                (button("/bridges/reconnect", &side.name, "Reconnect"))
            }
        }
    }
}
