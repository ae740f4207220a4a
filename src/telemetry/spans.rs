//! What a collector of traces is told: one span for each attempt, each question about one, and each callback, with
//! names and outcomes, and no text of anybody. Without the feature `otlp` there are none, and they cost nothing.

use tracing::{Span, field::Empty};

/// Spans of this target go to the collector and not into the log.
pub(super) const TARGET: &str = "deskbridge::spans";

/// One attempt, or the question about an earlier one.
pub fn attempt(key: &str, sink: &str, attempt: u32, is_question: bool) -> Span {
    if !cfg!(feature = "otlp") {
        return Span::none();
    }
    if is_question {
        tracing::info_span!(target: TARGET, "question", key, sink, attempt, outcome = Empty, otel.status_code = Empty)
    } else {
        tracing::info_span!(target: TARGET, "attempt", key, sink, attempt, outcome = Empty, otel.status_code = Empty)
    }
}

/// One callback of this inbox.
pub fn callback(inbox: &str) -> Span {
    if !cfg!(feature = "otlp") {
        return Span::none();
    }
    tracing::info_span!(target: TARGET, "callback", inbox, outcome = Empty, otel.status_code = Empty)
}

/// How it ended, by a fixed word.
pub fn ended(span: &Span, outcome: &'static str, well: bool) {
    span.record("outcome", outcome);
    if !well {
        span.record("otel.status_code", "ERROR");
    }
}
