//! Who works here, and who may work on which partition. By the database's own clock, which is one for all replicas.

use std::collections::BTreeSet;

use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::{fault::Failure, fence, hints::MOVED, text};
use crate::{
    model::{PARTITIONS, Partition, Partitions},
    store::{
        LEASE_MILLIS, Lease, Renewed,
        shares::{Holder, Share, share_of},
    },
};

const LIVE: &str = "INSERT INTO replica (owner, until)
    VALUES ($1, clock_timestamp() + make_interval(secs => $2::float8 + $3::float8 / 1000))
    ON CONFLICT (owner) DO UPDATE SET until = excluded.until";
const LIVING: &str =
    "SELECT owner FROM replica WHERE until > clock_timestamp() + make_interval(secs => $1::float8) ORDER BY owner";
const DEAD: &str = "DELETE FROM replica WHERE until <= clock_timestamp() + make_interval(secs => $1::float8)";
const LEASES: &str = "SELECT owner, epoch, orphaned, array_agg(partition) FROM lease GROUP BY owner, epoch, orphaned";
const TAKE: &str =
    "UPDATE lease SET owner = $1, epoch = epoch + 1, orphaned = false WHERE partition = ANY($2::smallint[])";
const FREE: &str = "UPDATE lease SET owner = NULL, orphaned = $3
    WHERE owner = $1 AND ($2::smallint[] IS NULL OR partition = ANY($2::smallint[]))";

/// Says that this owner lives, and takes what it lacks. `ahead_seconds` is put on the database's clock.
pub(super) async fn renew(client: &mut Client, owner: &str, ahead_seconds: f64) -> Result<Renewed, Failure> {
    let tx = begin(client).await?;
    tx.query(fence::SHARE, &[]).await?;
    live(&tx, owner, ahead_seconds).await?;
    let table = Table::read(&tx, ahead_seconds).await?;
    let share = table.share(owner);
    tx.commit().await?;
    if share.takes.is_empty() {
        return Ok(table.renewed(owner, share.surplus, Partitions::NONE));
    }
    let tx = begin(client).await?;
    tx.query(fence::ALONE, &[]).await?;
    let renewed = take_share(&tx, owner, ahead_seconds).await?;
    tx.commit().await?;
    Ok(renewed)
}

/// The same, for one who begins: whatever it had under this name is nobody's.
pub(super) async fn take(client: &mut Client, owner: &str, ahead_seconds: f64) -> Result<Lease, Failure> {
    let tx = begin(client).await?;
    tx.query(fence::ALONE, &[]).await?;
    tx.execute(FREE, &[&text::put(owner).as_ref(), &None::<Vec<i16>>, &true]).await?;
    let renewed = take_share(&tx, owner, ahead_seconds).await?;
    tx.execute(MOVED, &[]).await?;
    tx.commit().await?;
    Ok(renewed.lease)
}

/// Returns what is left.
pub(super) async fn give_back(client: &mut Client, owner: &str, partitions: &Partitions) -> Result<Lease, Failure> {
    let tx = begin(client).await?;
    tx.query(fence::ALONE, &[]).await?;
    tx.execute(FREE, &[&text::put(owner).as_ref(), &Some(numbers(partitions)), &false]).await?;
    let left = Table::read(&tx, 0.0).await?.lease(owner);
    tx.execute(MOVED, &[]).await?;
    tx.commit().await?;
    Ok(left)
}

/// It goes, and all that it had is free.
pub(super) async fn release(client: &mut Client, owner: &str) -> Result<(), Failure> {
    let tx = begin(client).await?;
    tx.query(fence::ALONE, &[]).await?;
    let name = text::put(owner);
    tx.execute(FREE, &[&name.as_ref(), &None::<Vec<i16>>, &false]).await?;
    tx.execute("DELETE FROM replica WHERE owner = $1", &[&name.as_ref()]).await?;
    tx.execute(MOVED, &[]).await?;
    Ok(tx.commit().await?)
}

/// Those whose names begin so are gone, and gave nothing back.
pub(super) async fn bury(client: &mut Client, beginning: &str) -> Result<(), Failure> {
    let tx = begin(client).await?;
    tx.query(fence::ALONE, &[]).await?;
    let name = text::put(beginning);
    tx.execute("UPDATE lease SET owner = NULL, orphaned = true WHERE starts_with(owner, $1)", &[&name.as_ref()])
        .await?;
    tx.execute("DELETE FROM replica WHERE starts_with(owner, $1)", &[&name.as_ref()]).await?;
    tx.execute(MOVED, &[]).await?;
    Ok(tx.commit().await?)
}

/// One who lives, if anybody does.
pub(super) async fn somebody(client: &Client) -> Result<Option<String>, Failure> {
    let living = client.query(LIVING, &[&0.0]).await?;
    Ok(living.first().map(|row| text::take(row.get(0))))
}

/// In which each statement sees what was committed before it: a lock that was waited for is worth nothing else.
async fn begin(client: &mut Client) -> Result<Transaction<'_>, Failure> {
    Ok(client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?)
}

async fn live(tx: &Transaction<'_>, owner: &str, ahead_seconds: f64) -> Result<(), Failure> {
    let millis = LEASE_MILLIS as f64;
    tx.execute(LIVE, &[&text::put(owner).as_ref(), &ahead_seconds, &millis]).await?;
    Ok(())
}

/// While nobody else does.
async fn take_share(tx: &Transaction<'_>, owner: &str, ahead_seconds: f64) -> Result<Renewed, Failure> {
    live(tx, owner, ahead_seconds).await?;
    tx.execute(DEAD, &[&ahead_seconds]).await?;
    let before = Table::read(tx, ahead_seconds).await?;
    let Share { takes, surplus } = before.share(owner);
    tx.execute(TAKE, &[&text::put(owner).as_ref(), &numbers(&takes)]).await?;
    let orphaned = takes.iter().filter(|one| before.is_orphan(*one)).collect();
    Ok(Table::read(tx, ahead_seconds).await?.renewed(owner, surplus, orphaned))
}

fn numbers(partitions: &Partitions) -> Vec<i16> {
    partitions.iter().map(i16::from).collect()
}

#[derive(Clone, Default)]
struct Slot {
    owner: Option<String>,
    epoch: i64,
    orphaned: bool,
}

/// Who has what.
struct Table {
    living: BTreeSet<String>,
    slots: Vec<Slot>,
}

impl Table {
    async fn read(tx: &Transaction<'_>, ahead_seconds: f64) -> Result<Self, Failure> {
        let living = tx.query(LIVING, &[&ahead_seconds]).await?;
        let living = living.iter().map(|row| text::take(row.get(0))).collect();
        let mut slots = vec![Slot::default(); PARTITIONS];
        for row in tx.query(LEASES, &[]).await? {
            let (owner, epoch, orphaned) = (row.get::<_, Option<String>>(0).map(text::take), row.get(1), row.get(2));
            for partition in row.get::<_, Vec<i16>>(3) {
                slots[partition as usize] = Slot { owner: owner.clone(), epoch, orphaned };
            }
        }
        Ok(Self { living, slots })
    }

    fn holds(&self, owner: &str) -> Partitions {
        let holds = |one: &Partition| self.slots[usize::from(*one)].owner.as_deref() == Some(owner);
        (0..=Partition::MAX).filter(holds).collect()
    }

    fn share(&self, owner: &str) -> Share {
        let living = self.living.iter().map(|owner| Holder { owner, holds: self.holds(owner) });
        share_of(owner, &living.collect::<Vec<_>>())
    }

    fn lease(&self, owner: &str) -> Lease {
        let epoch = |slot: &Slot| if slot.owner.as_deref() == Some(owner) { slot.epoch } else { 0 };
        Lease::new(owner, std::array::from_fn(|place| epoch(&self.slots[place])))
    }

    /// Whether whoever had it gave it up in no good order.
    fn is_orphan(&self, partition: Partition) -> bool {
        let slot = &self.slots[usize::from(partition)];
        slot.orphaned || slot.owner.is_some()
    }

    fn renewed(&self, owner: &str, surplus: Partitions, orphaned: Partitions) -> Renewed {
        Renewed { lease: self.lease(owner), orphaned, surplus, owners: self.living.len() }
    }
}
