//! Forgetting a person: their rows, and then, as far as that can be done from here, whatever of them is left in the
//! server's files.

use std::collections::{BTreeMap, BTreeSet};

use bridge_api::Key;
use deadpool_postgres::{Object, Transaction};
use tokio_postgres::types::ToSql;

use super::{fault::Failure, fence, prune, reader::query, text};
use crate::{
    model::{OWN_SCOPE, Order},
    store::{
        Whom,
        forget::{Forgotten, SessionRow, Trail, blobs_in},
    },
};

/// Rows of one step.
const STEP: i64 = 2_000;
/// Tables in which somebody may be named.
const TABLES: [&str; 10] = ["ev", "body", "dead", "done", "attempt", "session", "cursor", "kept", "blob", "piece"];
const REMAINS: &str = "the database server's write-ahead log and its backups may hold it until they are overwritten";

/// Removes the rows. Nothing when some wait that are not to be removed.
pub(super) async fn rows(tx: &Transaction<'_>, whom: &Whom, slot: i16) -> Result<Forgotten, Failure> {
    // No turn is under way meanwhile.
    query(tx, fence::ALONE, &[]).await?;
    let (sessions, cursors) = (sessions(tx, whom).await?, cursors(tx, whom.bridge.as_str()).await?);
    let trail = Trail::follow(whom, &sessions, &cursors);
    let mut named = BTreeSet::new();
    let waiting =
        orders(tx, "SELECT id, order_json FROM body WHERE id > $1 ORDER BY id LIMIT $2", (&trail, &mut named));
    let waiting = waiting.await?;
    if !waiting.is_empty() && !whom.also_waiting {
        return Ok(Forgotten { refused: waiting.len(), ..Forgotten::default() });
    }
    let dead = orders(tx, "SELECT id, order_json FROM dead WHERE id > $1 ORDER BY id LIMIT $2", (&trail, &mut named));
    let dead = dead.await?;
    let finished = finished(tx, &trail).await?;
    drop_envelopes(tx, (&waiting, &dead, &finished), slot).await?;
    let gone: Vec<_> = sessions.iter().filter(|row| trail.is_session(row)).collect();
    let threads: Vec<_> = gone.iter().map(|row| text::put(&row.thread).into_owned()).collect();
    let sql = "DELETE FROM session WHERE bridge = $1 AND thread = ANY($2::text[])";
    query(tx, sql, &[&whom.bridge.as_str(), &threads]).await?;
    let theirs = cursors.into_iter().filter(|(name, value)| trail.is_cursor(name, value));
    let mut holders: Names = theirs.map(|(name, _)| (whom.bridge.to_string(), name)).collect();
    let own = self::cursors(tx, OWN_SCOPE).await?.into_iter().filter(|(name, value)| trail.is_own_cursor(name, value));
    holders.extend(own.map(|(name, _)| (OWN_SCOPE.to_owned(), name)));
    for (scope, name) in &holders {
        let sql = "DELETE FROM cursor WHERE scope = $1 AND name = $2";
        query(tx, sql, &[&text::put(scope).as_ref(), &text::put(name).as_ref()]).await?;
    }
    let blobs = kept(tx, &trail, (&holders, &named)).await? + large(tx, &trail, (&holders, &named)).await?;
    Ok(Forgotten {
        refused: 0,
        waiting: waiting.len(),
        dead: dead.len(),
        finished: finished.len(),
        sessions: gone.len(),
        cursors: holders.len(),
        blobs,
        contacts: trail.contacts(),
        conversations: trail.conversations(),
        not_overwritten: None,
    })
}

/// Writes the tables anew without what was removed, one after another; each is closed to everybody meanwhile. What
/// still may hold it.
pub(super) async fn overwrite(client: &Object) -> Result<String, Failure> {
    for table in TABLES {
        if let Err(error) = client.batch_execute(&format!("VACUUM (FULL) {table}")).await {
            let reason = Failure::from(error).reason();
            return Ok(format!("free parts of the table `{table}` may hold it ({reason}), and {REMAINS}"));
        }
    }
    Ok(REMAINS.to_owned())
}

async fn sessions(tx: &Transaction<'_>, whom: &Whom) -> Result<Vec<SessionRow>, Failure> {
    let sql = "SELECT thread, source_id, contact, conversation, home FROM session WHERE bridge = $1";
    let rows = query(tx, sql, &[&whom.bridge.as_str()]).await?;
    let row = |row: &tokio_postgres::Row| SessionRow {
        thread: text::take(row.get(0)),
        source_id: text::take(row.get(1)),
        contact: row.get(2),
        conversation: row.get(3),
        home: row.get(4),
    };
    Ok(rows.iter().map(row).collect())
}

async fn cursors(tx: &Transaction<'_>, scope: &str) -> Result<Vec<(String, String)>, Failure> {
    let rows = query(tx, "SELECT name, value FROM cursor WHERE scope = $1", &[&text::put(scope).as_ref()]).await?;
    Ok(rows.iter().map(|row| (text::take(row.get(0)), text::take(row.get(1)))).collect())
}

/// Ids of their orders. What they name goes with them.
async fn orders(
    tx: &Transaction<'_>,
    sql: &str,
    (trail, named): (&Trail<'_>, &mut BTreeSet<String>),
) -> Result<Vec<i64>, Failure> {
    let (mut found, mut after) = (Vec::new(), 0_i64);
    loop {
        let rows = query(tx, sql, &[&after, &STEP]).await?;
        let Some(last) = rows.last() else { return Ok(found) };
        after = last.get(0);
        for row in &rows {
            let json: &str = row.get(1);
            if serde_json::from_str::<Order>(json).is_ok_and(|order| trail.is_order(&order)) {
                named.extend(blobs_in(json).map(str::to_owned));
                found.push(row.get(0));
            }
        }
    }
}

async fn finished(tx: &Transaction<'_>, trail: &Trail<'_>) -> Result<Vec<i64>, Failure> {
    let sql = "SELECT done.id, key, name, result FROM done JOIN sink ON sink.id = done.sink
        WHERE done.id > $1 ORDER BY done.id LIMIT $2";
    let (mut found, mut after) = (Vec::new(), 0_i64);
    loop {
        let rows = query(tx, sql, &[&after, &STEP]).await?;
        let Some(last) = rows.last() else { return Ok(found) };
        after = last.get(0);
        for row in &rows {
            let (key, result) = (Key::new(text::take(row.get(1))), row.get::<_, Option<String>>(3).map(text::take));
            if trail.is_finished(&key, row.get(2), result.as_deref()) {
                found.push(row.get(0));
            }
        }
    }
}

async fn drop_envelopes(
    tx: &Transaction<'_>,
    (waiting, dead, finished): (&[i64], &[i64], &[i64]),
    slot: i16,
) -> Result<(), Failure> {
    let mut counts = BTreeMap::<i32, (i64, i64)>::new();
    for row in query(tx, "DELETE FROM ev WHERE id = ANY($1::bigint[]) RETURNING sink", &[&waiting]).await? {
        counts.entry(row.get(0)).or_default().0 -= 1;
    }
    for row in query(tx, "DELETE FROM dead WHERE id = ANY($1::bigint[]) RETURNING sink", &[&dead]).await? {
        counts.entry(row.get(0)).or_default().1 -= 1;
    }
    query(tx, "DELETE FROM body WHERE id = ANY($1::bigint[])", &[&waiting]).await?;
    query(tx, "DELETE FROM done WHERE id = ANY($1::bigint[])", &[&finished]).await?;
    for ids in [waiting, dead, finished] {
        query(tx, "DELETE FROM attempt WHERE id = ANY($1::bigint[])", &[&ids]).await?;
    }
    for (sink, (waiting, dead)) in counts {
        let sql = "INSERT INTO tally (sink, slot, waiting, dead) VALUES ($1, $2, $3, $4) ON CONFLICT (sink, slot)
            DO UPDATE SET waiting = tally.waiting + excluded.waiting, dead = tally.dead + excluded.dead";
        query(tx, sql, &[&sink, &slot, &waiting, &dead]).await?;
    }
    Ok(())
}

type Names = BTreeSet<(String, String)>;

fn holder(row: &tokio_postgres::Row) -> Option<(String, String)> {
    let (scope, name): (Option<String>, Option<String>) = (row.get(1), row.get(2));
    Some((text::take(scope?), text::take(name?)))
}

/// Removes the small blobs; returns how many.
async fn kept(
    tx: &Transaction<'_>,
    trail: &Trail<'_>,
    (holders, named): (&Names, &BTreeSet<String>),
) -> Result<usize, Failure> {
    /// They may be whole mails.
    const BLOBS: i64 = 50;
    let (mut found, mut after) = (Vec::new(), i64::MIN);
    loop {
        let sql = "SELECT id, scope, name, n, bytes FROM kept WHERE n > $1 ORDER BY n LIMIT $2";
        let rows = query(tx, sql, &[&after, &BLOBS]).await?;
        let Some(last) = rows.last() else { break };
        after = last.get(3);
        for row in &rows {
            let is_held = holder(row).is_some_and(|holder| holders.contains(&holder));
            if is_held || named.contains(row.get::<_, &str>(0)) || trail.is_blob(row.get(4)) {
                found.push(row.get::<_, i64>(3));
            }
        }
    }
    query(tx, "DELETE FROM kept WHERE n = ANY($1::bigint[])", &[&found]).await?;
    Ok(found.len())
}

/// The same of the large ones.
async fn large(
    tx: &Transaction<'_>,
    trail: &Trail<'_>,
    (holders, named): (&Names, &BTreeSet<String>),
) -> Result<usize, Failure> {
    let mut found = Vec::new();
    for row in query(tx, "SELECT id, scope, name FROM blob", &[]).await? {
        let id: String = row.get(0);
        let is_held = holder(&row).is_some_and(|holder| holders.contains(&holder));
        if is_held || named.contains(&id) || trail.is_blob(&whole(tx, &id).await?) {
            found.push(id);
        }
    }
    prune::forget_blobs(tx, &found).await?;
    Ok(found.len())
}

async fn whole(tx: &Transaction<'_>, id: &String) -> Result<Vec<u8>, Failure> {
    let params: &[&(dyn ToSql + Sync)] = &[id];
    let pieces = query(tx, "SELECT bytes FROM piece WHERE blob = $1 ORDER BY n", params).await?;
    Ok(pieces.iter().flat_map(|row| row.get::<_, &[u8]>(0)).copied().collect())
}
