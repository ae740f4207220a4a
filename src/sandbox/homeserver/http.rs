//! What surrounds every call: its record, the limits on its body, and the fault switch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::errors::MatrixError;
use super::faults::{CallClass, CallFault};
use super::socket;
use super::state::{Call, Core};

/// Synapse's bound for anything but a file.
const BODY_BYTES_MAX: usize = 200 * 65_536;
/// Of a body that is too large, so much is taken in, so that its refusal arrives.
const EXCESS_BYTES_MAX: usize = 64 * 1024 * 1024;
const BODY_WAIT: Duration = Duration::from_mins(1);

const FLUSH_WAIT: Duration = Duration::from_millis(20);

/// The end of a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct Cut;

/// Answers one call below `/_matrix`. None: the connection is to be cut.
pub(in crate::sandbox) async fn answer(
    core: Arc<Core>,
    router: Router,
    request: Request<Incoming>,
    era: CancellationToken,
) -> Option<Response<Body>> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let call = Call {
        method: request.method().to_string(),
        path: path.clone(),
        user_agent: text(header::USER_AGENT),
        status: None,
    };
    let number = core.note_call(call);
    let fault = core.faults.pick_call(&path, request.method(), Instant::now());
    let response = carry_out(&core, router, request, fault, era).await?;
    core.note_status(number, response.status().as_u16());
    Some(response)
}

async fn carry_out(
    core: &Arc<Core>,
    router: Router,
    request: Request<Incoming>,
    fault: Option<CallFault>,
    era: CancellationToken,
) -> Option<Response<Body>> {
    let uri = request.uri().clone();
    let class = CallClass::of(uri.path());
    if class == CallClass::Socket {
        if let Some(fault) = &fault
            && let Some(response) = instead(core, fault, &uri).await?
        {
            return Some(response);
        }
        return Some(socket::open(core, request, era));
    }
    let limit = if class == CallClass::Upload { core.settings.upload_bytes_max } else { BODY_BYTES_MAX };
    let (parts, body) = request.into_parts();
    let body = match read(body, limit).await {
        Ok(body) => body,
        Err(error) => return Some(error.into_response()),
    };
    if let Some(fault) = &fault
        && let Some(response) = instead(core, fault, &uri).await?
    {
        return Some(response);
    }
    let response = match router.oneshot(Request::from_parts(parts, Body::from(body))).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match &fault {
        Some(fault) => afterwards(fault, response).await,
        None => Some(response),
    }
}

/// What a fault does before anything is done. None inside: the call goes on. None outside: cut.
async fn instead(core: &Core, fault: &CallFault, uri: &Uri) -> Option<Option<Response<Body>>> {
    let refusal = match fault {
        CallFault::Slow { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            return Some(None);
        }
        CallFault::TooManyRequests { milliseconds } => MatrixError::too_many(*milliseconds),
        CallFault::ServerError => MatrixError::internal(),
        CallFault::UnknownToken if CallClass::of(uri.path()) == CallClass::Socket => socket::unknown_token(),
        CallFault::UnknownToken => MatrixError::unknown_token(),
        CallFault::Forbidden => MatrixError::forbidden("Forbidden on purpose"),
        CallFault::NotFound => MatrixError::missing("Missing on purpose"),
        CallFault::BadGateway => return Some(Some(bad_gateway())),
        CallFault::Drop => return None,
        CallFault::Hang => std::future::pending().await,
        CallFault::Hold => {
            core.faults.hold(&uri.to_string()).await;
            return Some(None);
        }
        CallFault::CommitThenServerError
        | CallFault::CommitThenBadGateway
        | CallFault::CommitThenDrop
        | CallFault::CommitThenCut
        | CallFault::CommitThenHang
        | CallFault::CommitThenSlow { .. } => return Some(None),
    };
    Some(Some(refusal.into_response()))
}

/// What a fault does to the answer of a call that was carried out.
async fn afterwards(fault: &CallFault, response: Response<Body>) -> Option<Response<Body>> {
    match fault {
        CallFault::CommitThenServerError => Some(MatrixError::internal().into_response()),
        CallFault::CommitThenBadGateway => Some(bad_gateway()),
        CallFault::CommitThenDrop => None,
        CallFault::CommitThenCut => Some(cut(response).await),
        CallFault::CommitThenHang => std::future::pending().await,
        CallFault::CommitThenSlow { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            Some(response)
        }
        CallFault::Slow { .. }
        | CallFault::TooManyRequests { .. }
        | CallFault::ServerError
        | CallFault::BadGateway
        | CallFault::UnknownToken
        | CallFault::Forbidden
        | CallFault::NotFound
        | CallFault::Drop
        | CallFault::Hang
        | CallFault::Hold => Some(response),
    }
}

fn bad_gateway() -> Response<Body> {
    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n";
    (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

/// Promises the whole body, sends half of it, and breaks off.
async fn cut(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    let breaks_off = async {
        // Lets the half that is sent leave first.
        tokio::time::sleep(FLUSH_WAIT).await;
        Err(Cut)
    };
    let stream = stream::once(std::future::ready(Ok(half))).chain(stream::once(breaks_off));
    Response::from_parts(parts, Body::from_stream(stream))
}

/// Takes a body in piece by piece, keeping no more than the limit.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, MatrixError> {
    let mut kept = Vec::new();
    let mut size = 0;
    let whole = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(MatrixError::bad("M_UNKNOWN", "The body broke off")) };
            let Ok(data) = frame.into_data() else { continue };
            size += data.len();
            if size <= limit {
                kept.extend_from_slice(&data);
            } else if size > limit.saturating_add(EXCESS_BYTES_MAX) {
                break;
            }
        }
        Ok(())
    };
    let late = |_| MatrixError::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", "The body took too long");
    tokio::time::timeout(BODY_WAIT, whole).await.map_err(late)??;
    if size > limit {
        return Err(MatrixError::too_large("Upload request body is too large"));
    }
    Ok(Bytes::from(kept))
}
