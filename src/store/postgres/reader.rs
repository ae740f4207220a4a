//! Connections that read, up to a number of them: who asks for more waits, and not for ever.

use std::{fmt, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Transaction,
};
use tokio_postgres::{IsolationLevel, Row};

use super::{
    fault::Failure,
    place::{Dialer, Role},
    session::Params,
};
use crate::store::StoreError;

/// For a free connection.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// For the server to answer to a new one, all that it is told first included.
const CREATE_LIMIT: Duration = Duration::from_secs(10);
/// Above all that SQLite's store makes of a clock.
const BEHIND_SQLITE: i64 = 1 << 61;
/// For all statements of one look.
const LOOK_LIMIT: Duration = Duration::from_mins(2);

pub(super) struct Reader {
    pool: Pool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("pool", &self.pool.status()).finish()
    }
}

impl Reader {
    pub(super) fn new(dialer: &Dialer, role: Role, connections_max: usize) -> Result<Self, StoreError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(dialer.config.clone(), dialer.connector.clone(), recycling);
        let begin = dialer.begin(role);
        let begin = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let begin = begin.clone();
            Box::pin(async move { client.batch_execute(&begin).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager).max_size(connections_max).runtime(Runtime::Tokio1).post_create(begin);
        let pool = pool.wait_timeout(Some(WAIT_LIMIT)).create_timeout(Some(CREATE_LIMIT));
        let pool = pool.recycle_timeout(Some(CREATE_LIMIT)).build();
        Ok(Self { pool: pool.map_err(|error| StoreError::Unwritable(error.to_string()))? })
    }

    pub(super) async fn client(&self) -> Result<Object, Failure> {
        match self.pool.get().await {
            Ok(client) => Ok(client),
            Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) => Err(error.into()),
            Err(PoolError::Closed) => Err(Failure::Refused(StoreError::Closed)),
            Err(PoolError::Timeout(_)) => Err(Failure::Passing("all connections to the database are busy".to_owned())),
            Err(PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)) => {
                Err(Failure::Passing("no connection to the database could be made".to_owned()))
            }
        }
    }

    /// The next of the numbers that envelopes have, too, behind whatever a store by SQLite has given out.
    pub(super) async fn ordinal(&self) -> Result<i64, StoreError> {
        let mut again = true;
        loop {
            let asked = limited(async {
                let client = self.client().await?;
                let sql = "SELECT nextval('envelope_id')";
                let number: i64 = client.query_one(&client.prepare_cached(sql).await?, &[]).await?.get(0);
                Ok(BEHIND_SQLITE + number)
            });
            match asked.await {
                Err(Failure::Lost(_)) if again => again = false,
                asked => return asked.map_err(Failure::reason),
            }
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// Begins a transaction that sees one state of the store.
pub(super) async fn begin(client: &mut Object) -> Result<Transaction<'_>, Failure> {
    let begin = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    Ok(begin.start().await?)
}

/// A statement that its connection remembers.
pub(super) async fn query(tx: &Transaction<'_>, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
    Ok(tx.query(&tx.prepare_cached(sql).await?, params).await?)
}

pub(super) async fn limited<T>(look: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(LOOK_LIMIT, look).await {
        Ok(found) => found,
        Err(_) => Err(Failure::Passing("the database does not answer".to_owned())),
    }
}

/// Looks at one state of the store, once more where the connection turns out to be gone.
macro_rules! look {
    ($reader:expr, $tx:ident => $look:expr) => {{
        let mut again = true;
        loop {
            let looked = $crate::store::postgres::reader::limited(async {
                let mut client = $reader.client().await?;
                let $tx = $crate::store::postgres::reader::begin(&mut client).await?;
                $look.await
            });
            match looked.await {
                Err($crate::store::postgres::fault::Failure::Lost(_)) if again => again = false,
                looked => break looked.map_err($crate::store::postgres::fault::Failure::reason),
            }
        }
    }};
}
pub(super) use look;
