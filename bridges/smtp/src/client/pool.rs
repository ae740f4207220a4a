//! The connections to the one relay: so many at once, kept for a while. Has no task: whoever sends drives.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use bridge_api::{Fault, SettingsFault};
use bytes::Bytes;
use futures_util::Stream;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    driver::{Connection, Limits, Target},
    envelope::Addressed,
    machine::{Accepted, Manners},
    tls,
};
use crate::settings::RelaySettings;

/// The mail server that takes what goes out.
pub(crate) struct Relay {
    target: Arc<Target>,
    turns: Semaphore,
    /// Idle ones, the one that rested least at the end. Never more than there are turns.
    kept: Mutex<Vec<Connection>>,
}

impl Relay {
    pub(crate) fn new(settings: &RelaySettings, hostname: &str) -> Result<Self, SettingsFault> {
        Self::with_limits(settings, hostname, Limits::USUAL)
    }

    pub(crate) fn with_limits(settings: &RelaySettings, hostname: &str, limits: Limits) -> Result<Self, SettingsFault> {
        let login = match (&settings.username, &settings.password) {
            (Some(name), Some(password)) => Some((name.clone(), password.clone())),
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        if login.as_ref().is_some_and(|(name, password)| name.contains('\0') || password.expose().contains('\0')) {
            return Err(SettingsFault::new("relay.username", "no user name or password holds a NUL"));
        }
        let manners = Manners { hostname: hostname.to_owned(), security: settings.security, login };
        let target = Target {
            host: tls::bare(&settings.host).to_owned(),
            port: settings.port(),
            connector: tls::connector(settings)?,
            server_name: tls::server_name(&settings.host)?,
            manners: Arc::new(manners),
            limits,
        };
        let turns = Semaphore::new(settings.connections_max);
        Ok(Self { target: Arc::new(target), turns, kept: Mutex::default() })
    }

    /// Hands one mail over. Waits for a free connection; the body is read once, when the relay asks for it. Dropping
    /// the future drops the connection.
    pub(crate) async fn send(
        &self,
        mail: &Addressed,
        body: impl Stream<Item = Result<Bytes, Fault>> + Send,
    ) -> Result<Accepted, Fault> {
        let _turn = self.turns.acquire().await.expect("the turns are never closed");
        let mut body = pin!(body);
        if let Some(mut old) = self.take()
            && old.reset().await.is_ok()
        {
            let outcome = old.send(mail, &mut body).await;
            // One that died while it rested says nothing about this mail.
            if outcome.is_ok() || old.is_usable() || old.has_answered() {
                self.keep(old).await;
                return outcome;
            }
        }
        let mut new = Connection::open(&self.target).await?;
        let outcome = new.send(mail, &mut body).await;
        self.keep(new).await;
        outcome
    }

    /// Takes leave of all connections that rest.
    pub(crate) async fn close(&self) {
        while let Some(connection) = self.take() {
            connection.quit().await;
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|connection| now.duration_since(connection.idle_since) < self.target.limits.idle);
        kept.pop()
    }

    async fn keep(&self, mut connection: Connection) {
        if !connection.is_usable() {
            return;
        }
        if connection.is_worn() {
            return connection.quit().await;
        }
        connection.idle_since = Instant::now();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
