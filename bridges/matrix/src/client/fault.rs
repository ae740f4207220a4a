//! Why a call failed, and what that means for an effect that needed it.

use std::{fmt, time::Duration};

use bridge_api::Fault;
use serde_json::Value;

use crate::wire::text;

/// A pause that a server asks for is kept up to this.
const PAUSE_MAX: Duration = Duration::from_mins(15);

#[derive(Debug)]
pub(crate) enum CallFault {
    /// The server said no.
    Refused { status: u16, code: String, said: String },
    /// Too many requests.
    Limited { after: Duration },
    /// Surely nothing was carried out.
    Unreachable(String),
    /// Somebody further on does not answer: without a code it is the server itself, and a proxy in front of it says so;
    /// with one the server says it of somebody else. It may have been carried out.
    Away { status: u16, code: String },
    /// It may have been carried out.
    Doubtful(String),
}

impl CallFault {
    pub(super) fn of_transport(error: &reqwest::Error) -> Self {
        let mut reason = "the homeserver does not answer".to_owned();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            if inner.source().is_none() {
                reason = format!("{reason}: {inner}");
            }
            source = inner.source();
        }
        if error.is_connect() { Self::Unreachable(reason) } else { Self::Doubtful(reason) }
    }

    pub(super) fn of_answer(status: u16, after: Option<Duration>, body: Option<&Value>) -> Self {
        let word = |key: &str| body.and_then(|body| text(body, &[key])).unwrap_or_default().to_owned();
        match status {
            429 => {
                // The header is whole seconds, the body's older field milliseconds: wait for the longer.
                let millis = body.and_then(|body| body.get("retry_after_ms")).and_then(Value::as_u64).unwrap_or(0);
                let after = after.unwrap_or_default().max(Duration::from_millis(millis));
                Self::Limited { after: after.clamp(Duration::from_millis(200), PAUSE_MAX) }
            }
            502..=504 => Self::Away { status, code: word("errcode") },
            500..=599 => {
                Self::Doubtful(format!("the homeserver answered {status} {}", word("errcode")).trim_end().to_owned())
            }
            _ => Self::Refused { status, code: word("errcode"), said: word("error") },
        }
    }

    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } | Self::Away { code, .. } if code == wanted)
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Away { status, .. } => Some(*status),
            Self::Limited { .. } => Some(429),
            Self::Unreachable(_) | Self::Doubtful(_) => None,
        }
    }

    /// Our token is not, or no longer, good.
    pub(crate) fn is_of_credentials(&self) -> bool {
        self.status() == Some(401) || self.is("M_UNKNOWN_TOKEN") || self.is("M_MISSING_TOKEN")
    }

    /// Trying the same later may help.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::Refused { .. }) || self.is_of_credentials()
    }

    /// For an effect that is the same at every try, whose outcome can be asked.
    pub(crate) fn into_fault(self) -> Fault {
        let reason = self.to_string();
        match self {
            fault @ Self::Refused { .. } if fault.is_of_credentials() => Fault::down(reason),
            Self::Refused { .. } => Fault::refused(reason),
            Self::Limited { after } => Fault::down_for(after, reason),
            Self::Unreachable(_) => Fault::down(reason),
            Self::Away { .. } | Self::Doubtful(_) => Fault::unknown(reason),
        }
    }

    /// For a call before the effect itself: the effect surely did not happen. What goes wrong with one call says
    /// nothing about others, so only a server that is away as a whole holds everybody's messages.
    pub(crate) fn into_fault_of_preparation(self) -> Fault {
        match self {
            Self::Away { ref code, .. } if code.is_empty() => Fault::down(self.to_string()),
            Self::Away { .. } => Fault::retry(self.to_string()),
            Self::Doubtful(reason) => Fault::retry(reason),
            fault @ (Self::Refused { .. } | Self::Limited { .. } | Self::Unreachable(_)) => fault.into_fault(),
        }
    }
}

impl fmt::Display for CallFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            fault @ Self::Refused { .. } if fault.is_of_credentials() => {
                f.write_str("the homeserver does not know our token: check it against the registration")
            }
            Self::Refused { status, code, said } => {
                write!(f, "the homeserver refused ({status}")?;
                if !code.is_empty() {
                    write!(f, " {code}")?;
                }
                f.write_str(")")?;
                if said.is_empty() { Ok(()) } else { write!(f, ": {}", clean(said)) }
            }
            Self::Limited { after } => write!(f, "the homeserver asks for a pause of {} s", after.as_secs_f32()),
            Self::Away { status, code } => match code.as_str() {
                "" => write!(f, "the homeserver is away ({status})"),
                code => write!(f, "the homeserver does not reach another server ({status} {code})"),
            },
            Self::Unreachable(reason) | Self::Doubtful(reason) => f.write_str(reason),
        }
    }
}

/// A server's words on one line of bounded length.
fn clean(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use bridge_api::FaultKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_answer_has_its_meaning() {
        let limited = json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 884});
        let token = json!({"errcode": "M_UNKNOWN_TOKEN"});
        let down_for = |millis| FaultKind::Down { after: Some(Duration::from_millis(millis)) };
        let cases = [
            (429, Some(1), Some(&limited), down_for(1000)),
            (429, None, Some(&limited), down_for(884)),
            (429, None, None, down_for(200)),
            (401, None, Some(&token), FaultKind::Down { after: None }),
            (403, None, Some(&token), FaultKind::Down { after: None }),
            (403, None, None, FaultKind::Refused),
            (413, None, None, FaultKind::Refused),
            (302, None, None, FaultKind::Refused),
            (500, None, None, FaultKind::Unknown),
            (502, None, Some(&token), FaultKind::Unknown),
        ];
        for (status, after, body, expected) in cases {
            let fault = CallFault::of_answer(status, after.map(Duration::from_secs), body).into_fault();
            assert_eq!(fault.kind, expected, "{status}");
        }
    }

    #[test]
    fn before_the_effect_only_a_server_that_is_away_holds_everybody() {
        let prepared = |status| CallFault::of_answer(status, None, None).into_fault_of_preparation().kind;
        for status in [502, 503, 504] {
            assert_eq!(prepared(status), FaultKind::Down { after: None }, "{status}");
        }
        let elsewhere = json!({"errcode": "M_CONNECTION_FAILED"});
        let remote = CallFault::of_answer(502, None, Some(&elsewhere)).into_fault_of_preparation();
        assert_eq!(remote.kind, FaultKind::Retry { after: None }, "one server of many is no reason to hold all");
        assert_eq!(prepared(500), FaultKind::Retry { after: None });
        assert_eq!(prepared(403), FaultKind::Refused);
        let cut = CallFault::Doubtful("cut off".to_owned()).into_fault_of_preparation();
        assert_eq!(cut.kind, FaultKind::Retry { after: None });
    }
}
