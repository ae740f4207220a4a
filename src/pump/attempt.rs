//! One attempt or one probe, with its time limit; a panic in it is an unknown outcome, not an end.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bridge_api::Fault;
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{
    lanes::Taken,
    model::{Envelope, Partition},
    sinks::{Done, Sink},
    telemetry::{Outcome, spans},
    tenure::{Tenure, Term},
};

/// By what right it is done, where there are others who may have it.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub(super) partition: Partition,
    pub(super) term: Term,
}

/// How it ended. `Ok(None)` is a probe that found nothing.
pub(super) struct Finished {
    pub(super) taken: Taken,
    pub(super) right: Option<Right>,
    pub(super) envelope: Envelope,
    pub(super) outcome: Result<Option<Done>, Fault>,
    pub(super) panicked: bool,
}

pub(super) async fn run(
    sink: Arc<dyn Sink>,
    right: Option<(Tenure, Right)>,
    taken: Taken,
    envelope: Envelope,
) -> Finished {
    let limit = sink.attempt_limit();
    let (key, name) = (envelope.key.as_str(), envelope.lane.sink.as_str());
    let span = spans::attempt(key, name, envelope.attempts, envelope.doubt.is_some());
    let trying = tokio::time::timeout(limit, try_with(right.as_ref(), &*sink, &envelope));
    let trying = trying.instrument(span.clone());
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
    Finished { taken, right: right.map(|(_, right)| right), envelope, outcome, panicked }
}

async fn try_with(
    right: Option<&(Tenure, Right)>,
    sink: &dyn Sink,
    envelope: &Envelope,
) -> Result<Option<Done>, Fault> {
    let Some((tenure, Right { partition, term })) = right else { return try_once(sink, envelope).await };
    let tried = tenure.guard((*partition, *term), try_once(sink, envelope)).await;
    tried.unwrap_or_else(|| Err(Fault::unknown("the right to work on it ended during the attempt")))
}

async fn try_once(sink: &dyn Sink, envelope: &Envelope) -> Result<Option<Done>, Fault> {
    match &envelope.doubt {
        Some(attempt) => sink.probe(envelope, attempt.clone()).await,
        None => sink.deliver(envelope).await.map(Some),
    }
}
