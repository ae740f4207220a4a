//! Questions to DNS, each within a limit. Whether there is nothing or nobody says so, is told apart.

use std::time::Duration;

use hickory_resolver::{
    TokioResolver,
    net::NetError,
    proto::rr::{RData, Record, RecordType},
};
use mail_auth::MessageAuthenticator;

use super::{Outcome, late, quoted, warning};

pub(super) struct Names<'a> {
    resolver: &'a TokioResolver,
    limit: Duration,
}

/// Nobody says whether there is such a record.
pub(super) struct Mute(String);

impl Mute {
    pub(super) fn told(self) -> Outcome {
        let Self(why) = self;
        warning(format!("DNS does not say: {why}"), "correct `dns_servers` or this machine's DNS settings")
    }
}

impl<'a> Names<'a> {
    pub(super) fn new(authenticator: &'a MessageAuthenticator, limit: Duration) -> Self {
        Self { resolver: authenticator.resolver(), limit }
    }

    /// The texts of a name, each put together from its pieces.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<String>, Mute> {
        let text = |data: &RData| {
            let RData::TXT(txt) = data else { return None };
            Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
        };
        self.ask(name, RecordType::TXT, text).await
    }

    /// The servers of a domain, the first one first. `.` says that it takes no mail.
    pub(super) async fn servers(&self, domain: &str) -> Result<Vec<String>, Mute> {
        let server = |data: &RData| {
            let RData::MX(mx) = data else { return None };
            Some((mx.preference, mx.exchange.to_utf8()))
        };
        let mut found = self.ask(domain, RecordType::MX, server).await?;
        found.sort();
        Ok(found.into_iter().map(|(_, name)| name).collect())
    }

    pub(super) async fn has_address(&self, name: &str) -> Result<bool, Mute> {
        let address = |data: &RData| matches!(data, RData::A(_) | RData::AAAA(_)).then_some(());
        if !self.ask(name, RecordType::A, address).await?.is_empty() {
            return Ok(true);
        }
        Ok(!self.ask(name, RecordType::AAAA, address).await?.is_empty())
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Result<Vec<T>, Mute> {
        // With its dot at the end, no other domain is tried behind it.
        let name = format!("{}.", name.trim_end_matches('.'));
        let asked = tokio::time::timeout(self.limit, self.resolver.lookup(name, kind)).await;
        match asked {
            Ok(Ok(found)) => Ok(found.answers().iter().filter_map(|record: &Record| read(&record.data)).collect()),
            Ok(Err(error)) if is_nothing(&error) => Ok(Vec::new()),
            Ok(Err(error)) => Err(Mute(quoted(&error.to_string()))),
            Err(_) => Err(Mute(late(self.limit))),
        }
    }
}

fn is_nothing(error: &NetError) -> bool {
    error.is_nx_domain() || error.is_no_records_found()
}
