//! Rows as they are, for a copy into another store.

use rusqlite::{Connection, types::ValueRef};

use super::{SqliteStore, fault::Failure};
use crate::store::{
    StoreError,
    copy::{Kind, Of, Value, rows_max},
};

impl SqliteStore {
    /// Those behind this key, or from the first, in order.
    pub(in crate::store) async fn rows(
        &self,
        kind: &'static Kind,
        after: Vec<Value>,
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        self.lookups.call(move |connection| rows(connection, kind, &after)).await
    }

    /// The highest number that an envelope ever had.
    pub(in crate::store) async fn newest_id(&self) -> Result<i64, StoreError> {
        self.writer.call(|work| Ok(work.newest_id())).await
    }
}

fn rows(connection: &Connection, kind: &Kind, after: &[Value]) -> Result<Vec<Vec<Value>>, Failure> {
    let columns: Vec<&str> = kind.columns.iter().map(|(name, _)| *name).collect();
    let key = columns[..kind.key].join(", ");
    let marks = vec!["?"; kind.key].join(", ");
    let behind = if after.is_empty() { String::new() } else { format!("WHERE ({key}) > ({marks})") };
    let sql =
        format!("SELECT {} FROM {} {behind} ORDER BY {key} LIMIT {}", columns.join(", "), kind.name, rows_max(kind));
    let mut statement = connection.prepare_cached(&sql)?;
    let after: Vec<rusqlite::types::Value> = after.iter().map(bound).collect();
    let mut rows = statement.query(rusqlite::params_from_iter(after))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let values = kind.columns.iter().enumerate().map(|(place, (_, of))| Ok(value(row.get_ref(place)?, *of)));
        found.push(values.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(found)
}

fn value(found: ValueRef<'_>, of: Of) -> Value {
    match found {
        ValueRef::Integer(number) if of == Of::Truth => Value::Truth(number != 0),
        ValueRef::Integer(number) => Value::Number(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // No table has any of the last.
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
    }
}

fn bound(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Number(number) => (*number).into(),
        Value::Truth(truth) => (*truth).into(),
        Value::Text(text) => text.clone().into(),
        Value::Bytes(bytes) => bytes.clone().into(),
    }
}
