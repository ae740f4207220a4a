//! The callback door: raw bytes in, verified, judged and stored, and only then answered. No look-up and no
//! call out, since Chatwoot waits five seconds and never knocks twice.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bridge_api::Secret;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::Instrument;

use super::Front;
use crate::{
    chatwoot::callback::{parse, verify},
    clock::Clock,
    intake::{self, Missed, Taken},
    telemetry::{Called, InboxFigures, Stage, spans},
};

/// Chatwoot's largest message is 150 000 characters; with its conversation around it a callback stays below this.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// A whole body must be there within this time.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// Of a body that is too large, this much more is read and thrown away, for this long.
const READ_AWAY_BYTES_MAX: usize = 16 << 20;
const READ_AWAY_LIMIT: Duration = Duration::from_secs(2);
/// For so long at most nothing is sent on after a callback that could not be stored, until the inbox was asked.
const MISSED_LIMIT: Duration = Duration::from_mins(1);
/// How long a callback waits for the inbox's secret to become known.
const SECRET_LIMIT: Duration = Duration::from_secs(3);

/// One inbox's callbacks.
pub struct Door {
    pub door: intake::Door,
    pub proof: Proof,
    /// Told of callbacks that were refused or lost.
    pub missed: Arc<Missed>,
    pub figures: Arc<InboxFigures>,
}

/// How a callback proves that it comes from the inbox.
pub enum Proof {
    /// By signature. Any of these secrets will do, so that one can be changed without a gap. The list is empty
    /// until the inbox has told its secret.
    Signature(watch::Receiver<Vec<Secret>>),
    /// By a token in the path, for Chatwoot before 4.13, which signs nothing.
    PathToken(Secret),
}

pub(super) async fn take(
    State(front): State<Arc<Front>>,
    Path(inbox): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    enter(&front, &inbox, None, &headers, body).await.unwrap_or_else(IntoResponse::into_response)
}

pub(super) async fn take_with_token(
    State(front): State<Arc<Front>>,
    Path((inbox, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    enter(&front, &inbox, Some(&token), &headers, body).await.unwrap_or_else(IntoResponse::into_response)
}

async fn enter(
    front: &Front,
    inbox: &str,
    token: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, (StatusCode, String)> {
    let door = front.doors.get(inbox).ok_or_else(|| (StatusCode::NOT_FOUND, "no such inbox\n".to_owned()))?;
    // Should what is refused have been a true one, it is found by asking.
    let span = spans::callback(inbox);
    let entered = admit(front, (inbox, door), token, headers, body).instrument(span.clone()).await;
    let entered = entered.inspect_err(|_| door.missed.ask());
    let called = match &entered {
        Ok((called, _)) => *called,
        Err((StatusCode::UNAUTHORIZED, _)) => Called::Refused,
        Err((StatusCode::BAD_REQUEST, _)) => Called::Malformed,
        Err((StatusCode::PAYLOAD_TOO_LARGE, _)) => Called::TooLarge,
        Err((StatusCode::REQUEST_TIMEOUT, _)) => Called::Late,
        Err(_) => Called::Unavailable,
    };
    door.figures.called(called);
    spans::ended(&span, called.word(), entered.is_ok());
    entered.map(|(_, said)| said.into_response())
}

async fn admit(
    front: &Front,
    (inbox, door): (&str, &Door),
    token: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Called, &'static str), (StatusCode, String)> {
    let body = read(body).await?;
    let judged = judge(front, (inbox, door), token, headers, &body).await;
    front.watches.see(inbox, &body, judged.as_ref().err());
    judged
}

async fn judge(
    front: &Front,
    (inbox, door): (&str, &Door),
    token: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Called, &'static str), (StatusCode, String)> {
    prove(&door.proof, front.clock, token, headers, body).await.inspect_err(|(_, reason)| {
        tracing::warn!(inbox, reason = reason.as_str(), "a callback was refused");
    })?;
    let callback = parse(body).map_err(|_| (StatusCode::BAD_REQUEST, "the body is no JSON object\n".to_owned()))?;
    match front.intake.callback(&door.door, &callback).await {
        Ok(outcome) => {
            tracing::debug!(inbox, outcome = ?outcome, "callback");
            answer(outcome, &door.missed)
        }
        Err(error) => {
            tracing::error!(inbox, error = error.to_string(), "a callback could not be stored");
            // What comes later must not overtake it. Counted first, so that no sweep under way ends the pause.
            door.missed.one();
            front.board.figures().error(Stage::Callback, error.word());
            front.intake.pause_for(&door.door.inbox, MISSED_LIMIT);
            Err((StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")))
        }
    }
}

fn answer(taken: Taken, missed: &Missed) -> Result<(Called, &'static str), (StatusCode, String)> {
    match taken {
        Taken::Stored => Ok((Called::Stored, "stored\n")),
        Taken::Duplicate => Ok((Called::Known, "known\n")),
        Taken::Ignored(_) => Ok((Called::Ignored, "ignored\n")),
        Taken::LookAgain => {
            missed.ask();
            Ok((Called::Ignored, "ignored\n"))
        }
        Taken::Refused(reason) => {
            missed.one();
            Err((StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")))
        }
    }
}

pub(super) async fn read(mut body: Body) -> Result<Bytes, (StatusCode, String)> {
    let limited = Limited::new(&mut body, BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_LIMIT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            read_away(body).await;
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over {BODY_BYTES_MAX} bytes\n")))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body broke off: {error}\n"))),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long\n".to_owned())),
    }
}

/// Takes in the rest of a body that is refused, up to a bound: closing on a client that still writes would cut
/// off the answer that tells it why.
async fn read_away(mut body: Body) {
    let all = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > READ_AWAY_BYTES_MAX {
                return;
            }
        }
    };
    // A slow client has had its time.
    drop(tokio::time::timeout(READ_AWAY_LIMIT, all).await);
}

/// Just after a start the inbox may not have told its secret yet. A refused callback never comes again, so
/// it waits for that, shorter than Chatwoot waits for the answer.
async fn known(secrets: &watch::Receiver<Vec<Secret>>) -> Option<Vec<Secret>> {
    let mut secrets = secrets.clone();
    let told = tokio::time::timeout(SECRET_LIMIT, secrets.wait_for(|secrets| !secrets.is_empty())).await;
    told.ok()?.ok().map(|secrets| secrets.clone())
}

pub(super) async fn prove(
    proof: &Proof,
    clock: Clock,
    token: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), (StatusCode, String)> {
    let unauthorised = |reason: String| (StatusCode::UNAUTHORIZED, format!("{reason}\n"));
    match proof {
        Proof::Signature(secrets) => {
            let secrets = known(secrets).await.ok_or_else(|| {
                let reason = "the inbox's callback secret could not be read yet\n".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, reason)
            })?;
            verify(headers, body, &secrets, clock.of_day() / 1000).map_err(|refusal| unauthorised(refusal.to_string()))
        }
        Proof::PathToken(expected) => {
            // Compared as hashes, so that the time taken says nothing about the token.
            let expected = Sha256::digest(expected.expose());
            let matches = token.is_some_and(|token| Sha256::digest(token) == expected);
            if matches { Ok(()) } else { Err(unauthorised("the callback's path token is missing or wrong".to_owned())) }
        }
    }
}
