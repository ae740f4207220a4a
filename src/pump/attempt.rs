//! One attempt or one probe, with its time limit; a panic in it is an unknown outcome, not an end.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bridge_api::Fault;
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{
    lanes::Taken,
    model::Envelope,
    sinks::{Done, Sink},
    telemetry::{Outcome, spans},
};

/// How it ended. `Ok(None)` is a probe that found nothing.
pub(super) struct Finished {
    pub(super) taken: Taken,
    pub(super) envelope: Envelope,
    pub(super) outcome: Result<Option<Done>, Fault>,
    pub(super) panicked: bool,
}

pub(super) async fn run(sink: Arc<dyn Sink>, taken: Taken, envelope: Envelope) -> Finished {
    let limit = sink.attempt_limit();
    let (key, name) = (envelope.key.as_str(), envelope.lane.sink.as_str());
    let span = spans::attempt(key, name, envelope.attempts, envelope.doubt.is_some());
    let trying = tokio::time::timeout(limit, try_once(&*sink, &envelope)).instrument(span.clone());
    let tried = AssertUnwindSafe(trying).catch_unwind().await;
    let panicked = tried.is_err();
    let outcome = match tried {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Fault::unknown(format!("no answer within {} s", limit.as_secs()))),
        Err(_) => Err(Fault::unknown("the attempt panicked; the log has the details")),
    };
    match &outcome {
        Ok(Some(_)) => spans::ended(&span, "done", true),
        Ok(None) => spans::ended(&span, "absent", true),
        Err(fault) => spans::ended(&span, Outcome::from(fault.kind).word(), false),
    }
    Finished { taken, envelope, outcome, panicked }
}

async fn try_once(sink: &dyn Sink, envelope: &Envelope) -> Result<Option<Done>, Fault> {
    match &envelope.doubt {
        Some(attempt) => sink.probe(envelope, attempt.clone()).await,
        None => sink.deliver(envelope).await.map(Some),
    }
}
