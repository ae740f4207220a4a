//! Makes our schema where it is missing, and brings it up to date: one replica at a time, while others work on it.

use tokio_postgres::Client;

use super::{
    fault::Failure,
    fence,
    place::{Dialer, Role, quoted},
};
use crate::store::StoreError;

/// In order, each with the oldest schema whose programs can work on beside it; a file is never changed once it was
/// released.
const MIGRATIONS: [(&str, i32); 2] = [
    (include_str!("../migrations/postgres/0001_outbox.sql"), 1),
    (include_str!("../migrations/postgres/0002_shares.sql"), 2),
];

/// Of PostgreSQL. Older ones are not supported by their makers any more.
const VERSION_MIN: i32 = 130_000;

const JOURNAL: &str = "CREATE TABLE IF NOT EXISTS migration (
    version integer PRIMARY KEY,
    -- The oldest schema whose programs can work on beside this one.
    oldest integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
)";

/// Returns what the server calls its version.
pub(super) async fn prepare(dialer: &Dialer) -> Result<String, StoreError> {
    let client = dialer.dial(Role::Side).await.map_err(Failure::reason)?;
    let version = version(&client).await?;
    let made = match make_schema(&client, &dialer.schema).await {
        // Another replica has made it at this moment, as a second look shows.
        Err(Failure::OfOneVerb(_) | Failure::Passing(_)) => make_schema(&client, &dialer.schema).await,
        made => made,
    };
    made.map_err(Failure::reason)?;
    migrate(&client, MIGRATIONS.len()).await?;
    settings(&client).await?;
    Ok(version)
}

async fn version(client: &Client) -> Result<String, StoreError> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version')";
    let row = client.query_one(sql, &[]).await.map_err(|error| Failure::from(error).reason())?;
    let (number, version): (i32, String) = (row.get(0), row.get(1));
    if number < VERSION_MIN {
        return Err(StoreError::Unwritable(format!("PostgreSQL {version} is too old: at least 13 is needed")));
    }
    Ok(version)
}

/// Looks first: making needs a right that only the first start needs.
async fn make_schema(client: &Client, schema: &str) -> Result<(), Failure> {
    let there = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
    if !client.query_one(there, &[&schema]).await?.get::<_, bool>(0) {
        client.batch_execute(&format!("CREATE SCHEMA {}", quoted(schema))).await?;
    }
    Ok(())
}

async fn migrate(client: &Client, known: usize) -> Result<(), StoreError> {
    loop {
        let step = step(client, known as i64).await;
        if step.is_err() {
            // What fails as well ends with the connection.
            client.batch_execute("ROLLBACK").await.ok();
        }
        if step.map_err(Failure::reason)? {
            return Ok(());
        }
    }
}

/// One migration, in a transaction of its own that nobody else is in. Whether there is none left.
async fn step(client: &Client, known: i64) -> Result<bool, Failure> {
    client.batch_execute("BEGIN").await?;
    client.query(fence::MIGRATE, &[]).await?;
    client.batch_execute(JOURNAL).await?;
    let newest = "SELECT coalesce(max(version), 0)::bigint, coalesce(max(oldest), 0)::bigint FROM migration";
    let row = client.query_one(newest, &[]).await?;
    let (found, oldest): (i64, i64) = (row.get(0), row.get(1));
    if oldest > known {
        return Err(Failure::Refused(StoreError::TooNew { found, known }));
    }
    if found < known {
        let (sql, oldest) = MIGRATIONS[found as usize];
        client.batch_execute(sql).await?;
        let version = found as i32 + 1;
        client.execute("INSERT INTO migration (version, oldest) VALUES ($1, $2)", &[&version, &oldest]).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(found + 1 >= known)
}

/// What the server is set to that our promise rests on.
async fn settings(client: &Client) -> Result<(), StoreError> {
    let sql = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'";
    let off = client.query(sql, &[]).await.map_err(|error| Failure::from(error).reason())?;
    for row in off {
        let setting: &str = row.get(0);
        tracing::warn!(setting, "the database server has this off: a crash of its machine can lose what was stored");
    }
    // Connections of processes that are long gone.
    let sql = "DELETE FROM writer WHERE at < now() - interval '30 days'";
    client.execute(sql, &[]).await.map_err(|error| Failure::from(error).reason())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::{
        model::{EnvelopeId, Partitions, SinkName},
        store::{PostgresStore, Store as _, postgres::server, suite::NOW},
    };

    #[tokio::test]
    async fn a_schema_that_older_programs_can_work_on_is_taken_and_one_that_they_cannot_is_refused() {
        let Some(place) = server::place() else { return };
        let dialer = place.dialer(TaskTracker::new()).unwrap();
        prepare(&dialer).await.unwrap();
        let client = dialer.dial(Role::Side).await.unwrap();
        client.execute("INSERT INTO migration (version, oldest) VALUES (99, 2)", &[]).await.unwrap();
        prepare(&dialer).await.unwrap();
        client.execute("UPDATE migration SET oldest = 98 WHERE version = 99", &[]).await.unwrap();
        let refused = prepare(&dialer).await;
        assert_eq!(refused, Err(StoreError::TooNew { found: 99, known: MIGRATIONS.len() as i64 }));
    }

    /// With a gateway of that version at work, which goes on and must not be heard any more.
    #[tokio::test]
    async fn an_outbox_of_the_first_schema_is_shared_from_then_on_and_whoever_had_all_of_it_is_fenced() {
        let Some(place) = server::place() else { return };
        let dialer = place.dialer(TaskTracker::new()).unwrap();
        let client = dialer.dial(Role::Side).await.unwrap();
        make_schema(&client, &dialer.schema).await.unwrap();
        migrate(&client, 1).await.unwrap();
        let fill = "INSERT INTO sink (name) VALUES ('inbox:support'), ('bridge:libera');
            INSERT INTO ev SELECT n, 7, n, 256 * n + 7, n, 0, 0, 0 FROM generate_series(1, 2) AS n;
            INSERT INTO body SELECT n, n::text, 0, '{}' FROM generate_series(1, 2) AS n;
            UPDATE lease SET owner = 'of before', epoch = 5, until = now() + interval '30 s'";
        client.batch_execute(fill).await.unwrap();

        let store = PostgresStore::open(&place).await.unwrap();
        let home = SinkName::from_stored("bridge:libera".to_owned()).home();
        let rows = client.query("SELECT share FROM ev ORDER BY id", &[]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i16>>(), [7, i16::from(home)]);
        let older =
            "INSERT INTO ev (id, partition, sink, lane, rank, due, attempts, number) VALUES (3, 7, 1, 7, 1, 0, 0, 0)";
        assert!(client.batch_execute(older).await.is_err(), "it takes nothing in any more");
        let all = "SELECT count(*) FROM lease WHERE owner = 'of before' AND epoch = 5";
        assert_eq!(client.query_one(all, &[]).await.unwrap().get::<_, i64>(0), 0, "and settles nothing");
        let renewed = store.renew(&store.lease("new", NOW).await.unwrap(), NOW).await.unwrap();
        let waiting = store.waiting(&renewed.lease, &Partitions::ALL, EnvelopeId(0), 9).await.unwrap();
        assert_eq!(waiting.iter().map(|row| row.id.0).collect::<Vec<_>>(), [1, 2]);
        store.close().await;
    }

    #[tokio::test]
    async fn replicas_that_start_at_once_make_one_schema() {
        let Some(place) = server::place() else { return };
        let dialer = place.dialer(TaskTracker::new()).unwrap();
        let all = futures_util::future::join_all((0..8).map(|_| prepare(&dialer))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        let client = dialer.dial(Role::Side).await.unwrap();
        let leases = client.query_one("SELECT count(*) FROM lease", &[]).await.unwrap();
        assert_eq!(leases.get::<_, i64>(0), 256);
    }
}
