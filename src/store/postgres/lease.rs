//! Who may work on which partition: taken, given back, asked for. Renewed by whoever shows it; see `flush`. By the
//! database's own clock, which is one for all replicas.

use deadpool_postgres::Transaction;

use super::{fault::Failure, fence, reader::query, text};
use crate::store::{Lease, StoreError};

/// All partitions, whoever had them.
pub(super) async fn take(tx: &Transaction<'_>, owner: &str) -> Result<Lease, Failure> {
    query(tx, fence::ALONE, &[]).await?;
    let sql = "UPDATE lease SET owner = $1, until = now() + make_interval(secs => $2),
            epoch = (SELECT max(epoch) FROM lease) + 1 RETURNING partition, epoch";
    let taken = query(tx, sql, &[&text::put(owner).as_ref(), &fence::LEASE_SECONDS]).await?;
    let epoch = taken.first().map_or(0, |row| row.get(1));
    let partitions: Vec<i16> = taken.iter().map(|row| row.get(0)).collect();
    Ok(Lease { owner: owner.to_owned(), epoch, partitions: fence::mask(&partitions) })
}

/// Fails when somebody else has one of them by now.
pub(super) async fn give_back(tx: &Transaction<'_>, lease: &Lease) -> Result<(), Failure> {
    query(tx, fence::ALONE, &[]).await?;
    let sql = "UPDATE lease SET owner = NULL, until = '-infinity' WHERE owner = $1 AND epoch = $2 RETURNING partition";
    let given = query(tx, sql, &[&text::put(&lease.owner).as_ref(), &lease.epoch]).await?;
    let given: Vec<i16> = given.iter().map(|row| row.get(0)).collect();
    if fence::mask(&given) == lease.partitions { Ok(()) } else { Err(Failure::Refused(StoreError::LeaseLost)) }
}

/// Of a lease that has not ended.
pub(super) async fn owner(tx: &Transaction<'_>) -> Result<Option<String>, Failure> {
    let sql = "SELECT owner FROM lease WHERE owner IS NOT NULL AND until > now() ORDER BY partition LIMIT 1";
    Ok(query(tx, sql, &[]).await?.first().map(|row| text::take(row.get(0))))
}
