//! The way of a request without sockets: what a simulation puts in the place of the connections, so that it decides
//! when an answer comes, and whether one does.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

/// Exchanges one request for one answer within the process. Files do not travel this way.
#[async_trait]
pub trait Exchange: fmt::Debug + Send + Sync {
    async fn exchange(&self, asked: Asked) -> Result<Answered, Unanswered>;
}

/// A request as it would leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub method: Method,
    /// Path and query, as they stand in a request's first line.
    pub target: String,
    pub body: Option<Value>,
    pub with_token: bool,
}

/// An answer as it would come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub content_type: String,
    pub retry_after: Option<String>,
    pub body: Vec<u8>,
}

/// Why none came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No connection stood, so nothing can have happened.
    NotSent,
    /// The connection ended early, so anything can.
    Cut,
    /// Nothing came within the request's limit.
    Late,
}

/// The same limit on the whole of a request as over a connection.
pub(super) async fn exchanged(exchange: &dyn Exchange, limit: Duration, asked: Asked) -> Result<Answered, Unanswered> {
    timeout(limit, exchange.exchange(asked)).await.unwrap_or(Err(Unanswered::Late))
}
