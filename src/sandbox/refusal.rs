//! Why a request is not granted, and the body that Chatwoot says it with.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::faults::Denial;

/// One refusal in the words of Chatwoot 4.15.1 (`RequestExceptionHandler` and Rails' public exceptions).
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    BadRequest,
    /// No token in the request.
    SignIn,
    UnknownToken,
    /// Chatwoot answers 401, not 403, for a missing permission.
    NotPermitted,
    /// For another reason, which a fault plays.
    Denied(Denial),
    Missing,
    /// Some look-ups answer 404 without a body.
    MissingEmpty,
    /// No such path at all.
    NoRoute {
        json: bool,
    },
    /// A record that fails validation: texts may be localised, attributes are not.
    Invalid {
        message: String,
        attributes: Vec<&'static str>,
    },
    /// The other 422: any exception's text.
    Unprocessable(String),
    TooLarge,
    Internal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::BadRequest => body(StatusCode::BAD_REQUEST, &json!({"status": 400, "error": "Bad Request"})),
            Self::SignIn => body(
                StatusCode::UNAUTHORIZED,
                &json!({"errors": ["You need to sign in or sign up before continuing."]}),
            ),
            Self::UnknownToken => body(StatusCode::UNAUTHORIZED, &json!({"error": "Invalid Access Token"})),
            Self::Denied(why) => denied(why),
            Self::NotPermitted => {
                body(StatusCode::UNAUTHORIZED, &json!({"error": "You are not authorized to do this action"}))
            }
            Self::Missing => body(StatusCode::NOT_FOUND, &json!({"error": "Resource could not be found"})),
            Self::MissingEmpty => StatusCode::NOT_FOUND.into_response(),
            Self::NoRoute { json: true } => body(StatusCode::NOT_FOUND, &json!({"status": 404, "error": "Not Found"})),
            Self::NoRoute { json: false } => html(
                StatusCode::NOT_FOUND,
                "<!DOCTYPE html><html><head><title>The page you were looking for doesn't exist (404)</title></head></html>\n",
            ),
            Self::Invalid { message, attributes } => {
                body(StatusCode::UNPROCESSABLE_ENTITY, &json!({"message": message, "attributes": attributes}))
            }
            Self::Unprocessable(error) => body(StatusCode::UNPROCESSABLE_ENTITY, &json!({"error": error})),
            Self::TooLarge => html(
                StatusCode::PAYLOAD_TOO_LARGE,
                "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n",
            ),
            Self::Internal => internal_error(),
        }
    }
}

fn denied(why: Denial) -> Response {
    let error = match why {
        Denial::NoToken => return Refusal::SignIn.into_response(),
        Denial::NotPermitted => return Refusal::NotPermitted.into_response(),
        Denial::OtherAccount => "You are not authorized to access this account",
        Denial::Bot => "Access to this endpoint is not authorized for bots",
        Denial::Suspended => "Account is suspended",
    };
    body(StatusCode::UNAUTHORIZED, &json!({"error": error}))
}

pub(super) fn internal_error() -> Response {
    body(StatusCode::INTERNAL_SERVER_ERROR, &json!({"status": 500, "error": "Internal Server Error"}))
}

/// `Rack::Attack`'s answer: plain text, and nothing says how long to wait.
pub(super) fn retry_later() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [(header::CONTENT_TYPE, "text/plain")], "Retry later\n").into_response()
}

/// What a proxy says when Chatwoot is away.
pub(super) fn bad_gateway() -> Response {
    html(
        StatusCode::BAD_GATEWAY,
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
    )
}

pub(super) fn body(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], value.to_string()).into_response()
}

fn html(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html")], text).into_response()
}
