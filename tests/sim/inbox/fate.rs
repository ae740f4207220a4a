//! What becomes of one request on its way to the inbox and of the answer on its way back. What has arrived is done
//! there, whether or not anybody still waits for it.

use std::{sync::Arc, time::Duration};

use bridge_api::async_trait;
use deskbridge::chatwoot::{Answered, Asked, Exchange, Unanswered};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    Inbox,
    answers::{json_answer, server_error},
};
use crate::{process::Process, weather::Strike};

/// The server gives a request up by itself after this long: later it does nothing for it.
const SERVER_LIMIT_MILLIS: u64 = 15_000;
/// Longer than any client waits.
const TOO_LATE: Duration = Duration::from_secs(40);

/// One process's way to the inbox.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) process: Arc<Process>,
}

struct Fate {
    /// When it is done there, if it is.
    done_after: Option<Duration>,
    answered_after: Duration,
    answer: Answer,
}

enum Answer {
    True,
    Instead(Answered),
    None(Unanswered),
}

#[async_trait]
impl Exchange for Line {
    async fn exchange(&self, asked: Asked) -> Result<Answered, Unanswered> {
        self.process.touch(Strike::CrashBeforeRequest).await;
        if !self.process.reaches_inbox() {
            return Err(Unanswered::NotSent);
        }
        let fate = self.inbox.fate(&asked);
        let (tell, told) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.inbox.weather.tasks.spawn(async move {
            // Nobody may wait any more.
            drop(tell.send(fate.run(&inbox, &asked).await));
        });
        let answered = told.await.unwrap_or(Err(Unanswered::Cut));
        self.process.touch(Strike::CrashAfterAnswer).await;
        answered
    }
}

impl Fate {
    /// An answer that may come before the deed, when the connection is cut early.
    async fn run(self, inbox: &Arc<Inbox>, asked: &Asked) -> Result<Answered, Unanswered> {
        let mut answered = None;
        if let Some(after) = self.done_after {
            if after > self.answered_after {
                let (inbox, asked) = (inbox.clone(), asked.clone());
                inbox.weather.tasks.clone().spawn(async move {
                    tokio::time::sleep(after).await;
                    drop(inbox.answer(&asked));
                });
            } else {
                tokio::time::sleep(after).await;
                answered = Some(inbox.answer(asked));
            }
        }
        tokio::time::sleep(self.answered_after.saturating_sub(self.done_after.unwrap_or_default())).await;
        match self.answer {
            Answer::True => answered.ok_or(Unanswered::Cut),
            Answer::Instead(answer) => Ok(answer),
            Answer::None(why) => Err(why),
        }
    }
}

impl Inbox {
    fn fate(&self, asked: &Asked) -> Fate {
        let quick = self.weather.between(1, 30);
        let answered_after = quick + self.weather.between(0, 30);
        let instead = |answer| Fate { done_after: None, answered_after, answer: Answer::Instead(answer) };
        let done = |answer| Fate { done_after: Some(quick), answered_after, answer };
        let strikes = |strike| self.weather.strikes(strike);
        let posts = asked.method.as_str() == "POST" && asked.target.ends_with("/messages");

        if let Some(answer) = self.refusal(asked) {
            return instead(answer);
        }
        if strikes(Strike::NotSent) {
            return Fate { done_after: None, answered_after, answer: Answer::None(Unanswered::NotSent) };
        }
        if strikes(Strike::CutBefore) {
            return Fate { done_after: None, answered_after, answer: Answer::None(Unanswered::Cut) };
        }
        if strikes(Strike::Silent) {
            return Fate { done_after: None, answered_after: TOO_LATE, answer: Answer::None(Unanswered::Cut) };
        }
        if strikes(Strike::CutAfter) {
            return done(Answer::None(Unanswered::Cut));
        }
        if strikes(Strike::CutThenSaved) {
            let done_after = Some(self.weather.between(1_000, SERVER_LIMIT_MILLIS));
            return Fate { done_after, answered_after, answer: Answer::None(Unanswered::Cut) };
        }
        if strikes(Strike::Late) {
            let done_after = Some(self.weather.between(0, SERVER_LIMIT_MILLIS));
            return Fate { done_after, answered_after: TOO_LATE, answer: Answer::True };
        }
        if strikes(Strike::ErrorAfter) {
            return done(Answer::Instead(server_error()));
        }
        if strikes(Strike::BadGatewayAfter) {
            return done(Answer::Instead(page(504, "gateway time-out")));
        }
        if posts && strikes(Strike::UnprocessableAfter) {
            return done(Answer::Instead(json_answer(422, &json!({ "error": "Connection refused - redis:6379" }))));
        }
        done(Answer::True)
    }

    /// Answers without a deed.
    fn refusal(&self, asked: &Asked) -> Option<Answered> {
        let strikes = |strike| self.weather.strikes(strike);
        let posts = asked.method.as_str() == "POST" && asked.target.ends_with("/messages");
        let limited = |retry_after: Option<&str>| Answered {
            status: 429,
            content_type: "text/plain".into(),
            retry_after: retry_after.map(str::to_owned),
            body: b"Retry later\n".to_vec(),
        };
        if strikes(Strike::ErrorBefore) {
            return Some(server_error());
        }
        if strikes(Strike::BadGatewayBefore) {
            return Some(page(502, "bad gateway"));
        }
        if strikes(Strike::Unauthorised) {
            return Some(json_answer(401, &json!({ "error": "You are not authorized to do this action" })));
        }
        if strikes(Strike::Limited) {
            return Some(limited(None));
        }
        if strikes(Strike::LimitedUntil) {
            return Some(limited(Some("7")));
        }
        if strikes(Strike::LoginPage) {
            return Some(page(200, "please sign in"));
        }
        if posts && strikes(Strike::Flooded) {
            return Some(json_answer(422, &json!({ "error": "Validation failed: Too many messages" })));
        }
        if posts && strikes(Strike::TooLarge) {
            return Some(page(413, "request entity too large"));
        }
        None
    }
}

fn page(status: u16, text: &str) -> Answered {
    let body = format!("<html><body>{text}</body></html>").into_bytes();
    Answered { status, content_type: "text/html".into(), retry_after: None, body }
}
