//! Moves what a store on SQLite has into one on PostgreSQL: all of it, with its numbers. The target becomes what the
//! source is, whatever an earlier copy has left there; one that a gateway has worked on is not touched.

mod kinds;

use bridge_api::Cursor;
use sha2::{Digest, Sha256};

pub(super) use self::kinds::{KINDS, Kind, Of, Value};
use super::{BlobId, Place, PostgresPlace, PostgresStore, SqliteStore, Store, StoreError, postgres::Import};

/// Rows of one step, and about how many bytes.
const ROWS_MAX: usize = 2_000;
const BYTES_MAX: usize = 4 << 20;

/// The cursor that a target has until a copy into it has come to its end.
pub(super) const COPYING: &str = "copying";

/// What there is of one kind, on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub kind: &'static str,
    pub rows: u64,
    /// Of all that is in them, in order.
    pub digest: String,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub kind: &'static str,
    pub rows: u64,
    /// Copied and now compared.
    pub checking: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the source: {0}")]
    Source(StoreError),
    #[error("the target: {0}")]
    Target(StoreError),
    #[error(
        "a gateway has worked on the target, so nothing was copied: what is there is newer; to begin anew, drop the schema \
         `{0}` first"
    )]
    WorkedOn(String),
    #[error("the two differ in what is in `{kind}`: {source_rows} rows here, {target_rows} there; run it again")]
    Differs { kind: &'static str, source_rows: u64, target_rows: u64 },
}

/// The gateway of the source must be stopped, which its lock makes sure of.
pub async fn copy(from: &Place, to: &PostgresPlace, mut tell: impl FnMut(Step)) -> Result<Vec<Copied>, CopyError> {
    let place = from.clone();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&place)).await;
    let opened = opened.map_err(|error| CopyError::Source(StoreError::Unwritable(error.to_string())))?;
    let source = opened.map_err(CopyError::Source)?;
    let copied = between(&source, to, &mut tell).await;
    source.close().await;
    copied
}

async fn between(
    source: &SqliteStore,
    to: &PostgresPlace,
    tell: &mut impl FnMut(Step),
) -> Result<Vec<Copied>, CopyError> {
    let target = PostgresStore::open_for_copy(to).await.map_err(CopyError::Target)?;
    let copied = fill(source, &target, &to.schema, tell).await;
    target.close().await;
    copied
}

async fn fill(
    source: &SqliteStore,
    target: &PostgresStore,
    schema: &str,
    tell: &mut impl FnMut(Step),
) -> Result<Vec<Copied>, CopyError> {
    let import = target.import().await.map_err(CopyError::Target)?;
    if import.is_worked_on().await.map_err(CopyError::Target)? {
        return Err(CopyError::WorkedOn(schema.to_owned()));
    }
    import.begin().await.map_err(CopyError::Target)?;
    for kind in KINDS {
        copy_kind(source, &import, kind, tell).await?;
    }
    let newest = source.newest_id().await.map_err(CopyError::Source)?;
    import.settle(newest).await.map_err(CopyError::Target)?;
    let mut counted = Vec::new();
    for kind in KINDS {
        let here = count(kind, async |after| source.rows(kind, after).await, source, tell);
        let here = here.await.map_err(CopyError::Source)?;
        let there = count(kind, async |after| import.rows(kind, &after).await, target, tell);
        let there = there.await.map_err(CopyError::Target)?;
        if here != there {
            return Err(CopyError::Differs { kind: kind.name, source_rows: here.rows, target_rows: there.rows });
        }
        counted.push(here);
    }
    import.end().await.map_err(CopyError::Target)?;
    Ok(counted)
}

async fn copy_kind(
    source: &SqliteStore,
    import: &Import,
    kind: &'static Kind,
    tell: &mut impl FnMut(Step),
) -> Result<(), CopyError> {
    let (mut after, mut copied) = (Vec::new(), 0);
    loop {
        let rows = source.rows(kind, after.clone()).await.map_err(CopyError::Source)?;
        let until = rows.last().map(|row| row[..kind.key].to_vec());
        import.mirror(kind, (&after, until.as_deref()), &rows).await.map_err(CopyError::Target)?;
        if kind.name == "blob" {
            for row in &rows {
                let Value::Text(id) = &row[0] else { continue };
                let bytes = source.blob(&BlobId(id.clone())).await.map_err(CopyError::Source)?;
                import.pieces(id, bytes.as_deref()).await.map_err(CopyError::Target)?;
            }
        }
        copied += rows.len() as u64;
        tell(Step { kind: kind.name, rows: copied, checking: false });
        match until {
            Some(until) => after = until,
            None => return Ok(()),
        }
    }
}

/// Reads all of a kind once more.
async fn count(
    kind: &'static Kind,
    rows: impl AsyncFn(Vec<Value>) -> Result<Vec<Vec<Value>>, StoreError>,
    store: &dyn Store,
    tell: &mut impl FnMut(Step),
) -> Result<Copied, StoreError> {
    let (mut after, mut count, mut digest) = (Vec::new(), 0, Sha256::new());
    loop {
        let page = rows(after.clone()).await?;
        let Some(last) = page.last() else { break };
        after = last[..kind.key].to_vec();
        for row in &page {
            for value in row {
                value.digest(&mut digest);
            }
            if kind.name == "blob"
                && let Value::Text(id) = &row[0]
            {
                let bytes = store.blob(&BlobId(id.clone())).await?;
                bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.into())).digest(&mut digest);
            }
        }
        count += page.len() as u64;
        tell(Step { kind: kind.name, rows: count, checking: true });
    }
    Ok(Copied { kind: kind.name, rows: count, digest: hex::encode(&digest.finalize()[..8]) })
}

/// So many rows that a step is neither small nor large.
pub(super) fn rows_max(kind: &Kind) -> usize {
    ROWS_MAX.min(BYTES_MAX / kind.row_bytes)
}

/// Says that a copy is under way, or is not.
pub(super) fn copying() -> Cursor {
    Cursor::set(COPYING, "unfinished")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::{
        Batch, Blob,
        postgres::server,
        suite::{NOW, people},
    };

    /// Two people, with all that can be kept of them, and files of both sizes.
    async fn filled(place: &Place) -> (SqliteStore, Vec<(BlobId, Option<Bytes>)>) {
        let store = SqliteStore::open(place).unwrap();
        people(&store, "x\0y").await;
        let mut blobs = Vec::new();
        for size in [0, 3, 300_000, 1_000_000] {
            let (id, bytes) = (store.name_blob(NOW), Bytes::from(vec![7; size]));
            if size < 1000 {
                let blobs = vec![Blob { id: id.clone(), bytes: bytes.clone(), held_by: None }];
                store.accept(Batch { blobs, ..Batch::default() }, NOW).await.unwrap();
            } else {
                let mut fill = store.fill(&id).await.unwrap();
                fill.write(bytes.clone()).await.unwrap();
                fill.finish(vec![("mail".to_owned(), Cursor::set(size.to_string(), "x"))]).await.unwrap();
            }
            blobs.push((id, Some(bytes)));
        }
        let unfinished = store.name_blob(NOW);
        drop(store.fill(&unfinished).await.unwrap());
        blobs.push((unfinished, None));
        (store, blobs)
    }

    #[tokio::test]
    async fn a_copy_has_the_same_people_and_files_and_is_mended_by_another() {
        let Some(to) = server::place() else { return };
        let folder = tempfile::tempdir().unwrap();
        let from = Place::in_dir(folder.path());
        let (sqlite, blobs) = filled(&from).await;
        sqlite.close().await;
        let mut kinds = Vec::new();
        let copied = copy(&from, &to, |step| kinds.push(step.kind)).await.unwrap();
        assert!(KINDS.iter().all(|kind| kinds.contains(&kind.name)), "{kinds:?}");

        // As if the first had been interrupted, and the source had gone on.
        let spoiled = PostgresStore::open_for_copy(&to).await.unwrap();
        let import = spoiled.import().await.unwrap();
        import.begin().await.unwrap();
        import.spoil().await;
        drop(import);
        spoiled.close().await;
        let half = PostgresStore::open(&to).await.map(drop);
        assert!(matches!(&half, Err(StoreError::Unwritable(reason)) if reason.contains("store copy")), "{half:?}");
        assert_eq!(copy(&from, &to, |_| ()).await.unwrap(), copied);

        let (sqlite, postgres) = (SqliteStore::open(&from).unwrap(), PostgresStore::open(&to).await.unwrap());
        for (id, bytes) in blobs {
            assert_eq!(postgres.blob(&id).await, Ok(bytes), "{id:?}");
        }
        assert_eq!(postgres.sessions_like("a", 9).await, sqlite.sessions_like("a", 9).await);
        for scope in ["libera", "mail", crate::model::OWN_SCOPE] {
            assert_eq!(postgres.cursors(scope, "").await, sqlite.cursors(scope, "").await, "{scope}");
        }
        assert_eq!(postgres.dead(9).await, sqlite.dead(9).await);
        assert_eq!(postgres.depth().await, sqlite.depth().await);
    }
}
