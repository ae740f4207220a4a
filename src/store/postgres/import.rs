//! Rows as they are, from a copy of another store. Only while nothing works on this one.

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;

use super::{PostgresStore, fault::Failure, filling::PIECE_BYTES, text};
use crate::{
    model::OWN_SCOPE,
    store::{
        StoreError,
        copy::{COPYING, Kind, Of, Value, copying, rows_max},
    },
};

/// A connection that only a copy has.
pub(in crate::store) struct Import {
    client: Object,
}

type Param = Box<dyn ToSql + Sync + Send>;

impl PostgresStore {
    pub(in crate::store) async fn import(&self) -> Result<Import, StoreError> {
        Ok(Import { client: self.side.client().await.map_err(Failure::reason)? })
    }
}

impl Import {
    /// Whether a gateway has ever had a lease here.
    pub(in crate::store) async fn is_worked_on(&self) -> Result<bool, StoreError> {
        let row = self.client.query_one("SELECT max(epoch) > 0 FROM lease", &[]).await;
        row.map(|row| row.get(0)).map_err(reason)
    }

    /// From now on no gateway begins here, until the copy has come to its end.
    pub(in crate::store) async fn begin(&self) -> Result<(), StoreError> {
        let sql = "INSERT INTO cursor (scope, name, value) VALUES ($1, $2, $3) ON CONFLICT (scope, name) DO NOTHING";
        let value = copying().value.unwrap_or_default();
        self.client.execute(sql, &[&OWN_SCOPE, &COPYING, &value]).await.map(drop).map_err(reason)
    }
    pub(in crate::store) async fn end(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM cursor WHERE scope = $1 AND name = $2";
        self.client.execute(sql, &[&OWN_SCOPE, &COPYING]).await.map(drop).map_err(reason)
    }

    /// What follows from the rows: counts, and which numbers come next.
    pub(in crate::store) async fn settle(&self, newest: i64) -> Result<(), StoreError> {
        let sql = format!(
            "BEGIN;
            DELETE FROM tally;
            INSERT INTO tally (sink, slot, waiting, dead)
                SELECT id, 0, (SELECT count(*) FROM ev WHERE ev.sink = sink.id), (SELECT count(*) FROM dead WHERE dead.sink = sink.id)
                FROM sink;
            SELECT setval(pg_get_serial_sequence('sink', 'id'), greatest(1, max(id)), max(id) IS NOT NULL) FROM sink;
            SELECT setval('envelope_id', {}, {});
            COMMIT;
            ANALYZE;",
            newest.max(1),
            newest > 0
        );
        self.client.batch_execute(&sql).await.map_err(reason)
    }

    /// Those behind this key, or from the first, in order.
    pub(in crate::store) async fn rows(&self, kind: &Kind, after: &[Value]) -> Result<Vec<Vec<Value>>, StoreError> {
        let columns: Vec<String> = kind
            .columns
            .iter()
            .map(|(name, of)| if *of == Of::Number { format!("{name}::bigint") } else { (*name).to_owned() })
            .collect();
        let key = key(kind);
        let behind = if after.is_empty() { "TRUE".to_owned() } else { format!("({key}) > ({})", marks(kind, 0)) };
        let sql = format!(
            "SELECT {} FROM {} WHERE {behind} AND {} ORDER BY {key} LIMIT {}",
            columns.join(", "),
            kind.name,
            ours(kind),
            rows_max(kind)
        );
        let after: Vec<Param> = after.iter().map(param).collect();
        let rows = self.client.query(&sql, &refs(&after)).await.map_err(reason)?;
        let value = |row: &tokio_postgres::Row, (place, (_, of)): (usize, &(&str, Of))| match of {
            Of::Number => row.get::<_, Option<i64>>(place).map_or(Value::Null, Value::Number),
            Of::Truth => row.get::<_, Option<bool>>(place).map_or(Value::Null, Value::Truth),
            Of::Text => row.get::<_, Option<String>>(place).map_or(Value::Null, |t| Value::Text(text::take(t))),
            Of::Json => row.get::<_, Option<String>>(place).map_or(Value::Null, Value::Text),
            Of::Bytes => row.get::<_, Option<Vec<u8>>>(place).map_or(Value::Null, Value::Bytes),
        };
        let row = |row: &tokio_postgres::Row| kind.columns.iter().enumerate().map(|at| value(row, at)).collect();
        Ok(rows.iter().map(row).collect())
    }

    /// Makes the rows behind one key and up to another, or to the end, what the source has there.
    pub(in crate::store) async fn mirror(
        &self,
        kind: &Kind,
        (after, until): (&[Value], Option<&[Value]>),
        rows: &[Vec<Value>],
    ) -> Result<(), StoreError> {
        let key = key(kind);
        let mut bounds = vec![ours(kind)];
        let mut params: Vec<Param> = Vec::new();
        for (bound, sign) in [(Some(after).filter(|after| !after.is_empty()), ">"), (until, "<=")] {
            let Some(bound) = bound else { continue };
            bounds.push(format!("({key}) {sign} ({})", marks(kind, params.len())));
            params.extend(bound.iter().map(param));
        }
        let kept: Vec<String> = (0..kind.key).map(|place| array(kind, place, params.len() + place + 1)).collect();
        params.extend((0..kind.key).map(|place| column(kind, place, rows)));
        let remove = format!(
            "DELETE FROM {} WHERE {} AND ({key}) NOT IN (SELECT * FROM unnest({}))",
            kind.name,
            bounds.join(" AND "),
            kept.join(", ")
        );
        let put = put(kind);
        let columns: Vec<Param> = (0..kind.columns.len()).map(|place| column(kind, place, rows)).collect();
        let written = async {
            self.client.batch_execute("BEGIN").await?;
            self.client.execute(&remove, &refs(&params)).await?;
            if !rows.is_empty() {
                self.client.execute(&put, &refs(&columns)).await?;
            }
            self.client.batch_execute("COMMIT").await
        };
        let written = written.await;
        if written.is_err() {
            // What fails as well ends with the connection.
            self.client.batch_execute("ROLLBACK").await.ok();
        }
        written.map_err(reason)
    }

    /// The bytes of a large blob; `None` where it was never whole.
    pub(in crate::store) async fn pieces(&self, id: &str, bytes: Option<&[u8]>) -> Result<(), StoreError> {
        let size = bytes.map(|bytes| bytes.len() as i64);
        let there = "SELECT bytes FROM blob WHERE id = $1 AND bytes IS NOT DISTINCT FROM $2";
        if !self.client.query(there, &[&id, &size]).await.map_err(reason)?.is_empty() {
            return Ok(());
        }
        self.client.execute("DELETE FROM piece WHERE blob = $1", &[&id]).await.map_err(reason)?;
        for (n, piece) in bytes.unwrap_or_default().chunks(PIECE_BYTES).enumerate() {
            let sql = "INSERT INTO piece (blob, n, bytes) VALUES ($1, $2, $3)";
            self.client.execute(sql, &[&id, &(n as i32), &piece]).await.map_err(reason)?;
        }
        // Last, so that a blob which has its size is whole.
        let sql = "UPDATE blob SET bytes = $2 WHERE id = $1";
        self.client.execute(sql, &[&id, &size]).await.map(drop).map_err(reason)
    }
}

#[cfg(test)]
impl Import {
    /// What a copy that was cut off, from a source that then changed, may leave.
    pub(in crate::store) async fn spoil(&self) {
        let sql = "DELETE FROM done; DELETE FROM piece WHERE n = 1; UPDATE blob SET bytes = NULL;
            INSERT INTO ev SELECT id + 1000, 1, sink, lane, rank, 0, 0, 0 FROM dead; UPDATE session SET contact = 0;
            INSERT INTO cursor VALUES ('libera', 'zz', 'x'), ('mail', '', 'x')";
        self.client.batch_execute(sql).await.expect("the tables are there");
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where a function of the error is wanted")]
fn reason(error: tokio_postgres::Error) -> StoreError {
    StoreError::Unwritable(super::fault::words(&error))
}

fn key(kind: &Kind) -> String {
    kind.columns[..kind.key].iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The mark of a copy that is under way is none of what is copied.
fn ours(kind: &Kind) -> String {
    if kind.name == "cursor" {
        format!("NOT (scope = '{OWN_SCOPE}' AND name = '{COPYING}')")
    } else {
        "TRUE".to_owned()
    }
}

fn cast(of: Of) -> &'static str {
    match of {
        Of::Number => "bigint",
        Of::Truth => "bool",
        Of::Text | Of::Json => "text",
        Of::Bytes => "bytea",
    }
}

fn marks(kind: &Kind, behind: usize) -> String {
    let mark = |place: usize| format!("${}::{}", behind + place + 1, cast(kind.columns[place].1));
    (0..kind.key).map(mark).collect::<Vec<_>>().join(", ")
}

fn array(kind: &Kind, place: usize, parameter: usize) -> String {
    format!("${parameter}::{}[]", cast(kind.columns[place].1))
}

/// As [`Lane::partition`](crate::model::Lane::partition) says.
const SHARE: &str = ", (SELECT CASE WHEN sink.name LIKE 'bridge:%'
        THEN get_byte(sha256(convert_to(sink.name, 'UTF8')), 0) ELSE (u.lane & 255)::int END
    FROM sink WHERE sink.id = u.sink)";

fn put(kind: &Kind) -> String {
    let names: Vec<&str> = kind.columns.iter().map(|(name, _)| *name).collect();
    let arrays: Vec<String> = (0..names.len()).map(|place| array(kind, place, place + 1)).collect();
    let changes: Vec<String> = names[kind.key..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    // What the target derives from the others.
    let (more, derived) = if kind.name == "ev" { (", share", SHARE) } else { ("", "") };
    let values: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    format!(
        "INSERT INTO {} ({}{more}) OVERRIDING SYSTEM VALUE SELECT {}{derived} FROM unnest({}) AS u ({}) \
         ON CONFLICT ({}) DO UPDATE SET {}",
        kind.name,
        names.join(", "),
        values.join(", "),
        arrays.join(", "),
        names.join(", "),
        key(kind),
        changes.join(", ")
    )
}

fn refs(params: &[Param]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| &**param as _).collect()
}

fn param(value: &Value) -> Param {
    match value {
        // Keys have none.
        Value::Null => Box::new(None::<i64>),
        Value::Number(number) => Box::new(*number),
        Value::Truth(truth) => Box::new(*truth),
        Value::Text(text) => Box::new(text::put(text).into_owned()),
        Value::Bytes(bytes) => Box::new(bytes.clone()),
    }
}

fn column(kind: &Kind, place: usize, rows: &[Vec<Value>]) -> Param {
    let values = || rows.iter().map(|row| &row[place]);
    match kind.columns[place].1 {
        Of::Number => {
            let number = |value: &Value| if let Value::Number(number) = value { Some(*number) } else { None };
            Box::new(values().map(number).collect::<Vec<_>>())
        }
        Of::Truth => {
            let truth = |value: &Value| if let Value::Truth(truth) = value { Some(*truth) } else { None };
            Box::new(values().map(truth).collect::<Vec<_>>())
        }
        Of::Text | Of::Json => {
            let is_json = kind.columns[place].1 == Of::Json;
            let kept = |text: &String| if is_json { text.clone() } else { text::put(text).into_owned() };
            let text = |value: &Value| if let Value::Text(text) = value { Some(kept(text)) } else { None };
            Box::new(values().map(text).collect::<Vec<_>>())
        }
        Of::Bytes => {
            let bytes = |value: &Value| if let Value::Bytes(bytes) = value { Some(bytes.clone()) } else { None };
            Box::new(values().map(bytes).collect::<Vec<_>>())
        }
    }
}
