//! Where a store is, and how each connection to it begins: with our schema, commits that are on the disk, and an end to
//! every wait.

use std::{future::poll_fn, path::PathBuf, time::Duration};

use tokio_postgres::{
    AsyncMessage, Client, Notification,
    config::{Config, Host, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::{
    fault::{Failure, words},
    tls::{Tls, connector},
};
use crate::store::StoreError;

/// Before the server answers to a new connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// A peer that has gone without a word is noticed.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// One statement, but for those of people who search.
pub(super) const STATEMENT_LIMIT: Duration = Duration::from_secs(30);
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// A process that hangs in the middle of a transaction holds locks that others wait for.
const HANG_LIMIT: Duration = Duration::from_secs(2);

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresPlace {
    /// Server, database, user and password, which its `Debug` leaves out.
    pub config: Config,
    /// Ours alone, in a database that may be anybody's.
    pub schema: String,
    pub tls: Tls,
    /// Authorities, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A folder that this process has for itself while the store is open.
    pub data_dir: Option<PathBuf>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Its statements are ours and known, and each has one good plan, by index.
    Writer,
    /// Work that nobody waits for.
    Side,
    Reader,
    /// Says that we live. Whoever is late with that has lost, so there is no use in waiting.
    Keeper,
}

/// Opens connections.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) config: Config,
    pub(super) schema: String,
    pub(super) connector: MakeRustlsConnect,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PostgresPlace {
    /// For people: no password is in it.
    pub(super) fn words(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        });
        let hosts: Vec<_> = hosts.collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or("the user's database");
        format!("{database}, schema {}, at {}", self.schema, hosts.join(", "))
    }

    /// Connects, and says what the server is and which schema it has for us, if any. Makes nothing.
    pub async fn look(&self) -> Result<(String, Option<i64>), StoreError> {
        let dialer = self.dialer(TaskTracker::new())?;
        let client = dialer.dial(Role::Side).await.map_err(Failure::reason)?;
        let looked = async {
            let version: String = client.query_one("SELECT current_setting('server_version')", &[]).await?.get(0);
            let there = "SELECT to_regclass('migration') IS NOT NULL";
            if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
                return Ok((version, None));
            }
            let row = client.query_one("SELECT max(version)::bigint FROM migration", &[]).await?;
            Ok::<_, tokio_postgres::Error>((version, row.get(0)))
        };
        looked.await.map_err(|error| Failure::from(error).reason())
    }

    pub(super) fn dialer(&self, tasks: TaskTracker) -> Result<Dialer, StoreError> {
        let mut config = self.config.clone();
        config.ssl_mode(self.tls.mode()).target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.tcp_user_timeout(SILENCE_LIMIT).keepalives_idle(SILENCE_LIMIT);
        config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT_LIMIT));
        if config.get_application_name().is_none() {
            config.application_name("deskbridge");
        }
        let connector = connector(self.tls, self.ca_file.as_deref())?;
        Ok(Dialer { config, schema: self.schema.clone(), connector, tasks })
    }
}

impl Dialer {
    /// One that is ready for statements.
    pub(super) async fn dial(&self, role: Role) -> Result<Client, Failure> {
        self.dial_and_hear(role, |_| {}).await
    }

    /// The same; `hear` is told what others say to all. It ends with the client, and the client with it.
    pub(super) async fn dial_and_hear(
        &self,
        role: Role,
        hear: impl Fn(Notification) + Send + 'static,
    ) -> Result<Client, Failure> {
        let dialed = async {
            let (client, mut connection) = self.config.connect(self.connector.clone()).await?;
            self.tasks.spawn(async move {
                while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                    match message {
                        Ok(AsyncMessage::Notification(said)) => hear(said),
                        // Notices, and what is not known yet.
                        Ok(_) => {}
                        Err(error) => {
                            tracing::debug!(error = words(&error), "a connection to the database ended");
                            break;
                        }
                    }
                }
            });
            client.batch_execute(&self.begin(role)).await?;
            Ok(client)
        };
        // Hosts are tried one after another, each with its own limit.
        let limit = CONNECT_LIMIT * (2 + self.config.get_hosts().len() as u32);
        match tokio::time::timeout(limit, dialed).await {
            Ok(dialed) => dialed,
            Err(_) => Err(Failure::Lost("the database does not answer".to_owned())),
        }
    }

    /// What a session is told first.
    pub(super) fn begin(&self, role: Role) -> String {
        let (schema, millis) = (quoted(&self.schema), |limit: Duration| limit.as_millis());
        let mut sql = format!(
            "SET search_path TO {schema};
            SET synchronous_commit TO on;
            SET statement_timeout TO {};
            SET lock_timeout TO {};
            SET idle_in_transaction_session_timeout TO {};",
            millis(STATEMENT_LIMIT),
            millis(LOCK_LIMIT),
            millis(if matches!(role, Role::Writer | Role::Keeper) { HANG_LIMIT } else { STATEMENT_LIMIT })
        );
        match role {
            Role::Writer => sql.push_str(
                "SET plan_cache_mode TO force_generic_plan; SET enable_seqscan TO off; SET enable_hashjoin TO off;
                SET enable_mergejoin TO off; SET jit TO off;",
            ),
            Role::Side => sql.push_str("SET statement_timeout TO 0;"),
            Role::Reader => sql.push_str("SET default_transaction_read_only TO on;"),
            // Those who want a lock behind one that is waited for in vain wait as well.
            Role::Keeper => sql.push_str("SET lock_timeout TO 1000; SET statement_timeout TO 3000;"),
        }
        sql
    }
}

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
