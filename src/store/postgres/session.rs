//! A connection that writes: its statements, each prepared once, and the transaction that all verbs in hand share.
//! Says nothing about what is in them.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::try_join_all;
use tokio::time::timeout;
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{
    fault::Failure,
    flush, load,
    place::{Dialer, Role, STATEMENT_LIMIT},
    work::{Needs, Numbers, Work},
    writer::Job,
};
use crate::{model::SinkName, store::StoreError};

/// What a statement is given.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Sends all of these before it waits for the first answer, so that they take one round trip. The server does them in
/// this order.
macro_rules! together {
    ($($step:expr),* $(,)?) => { tokio::try_join!(biased; $(async { $step.await }),*) };
}
pub(super) use together;

const PREPARED: &str = "all statements of ours were prepared when the connection began";

pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// Which connection it is, among all that write.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) id: String,
    /// Where it counts.
    pub(super) slot: i16,
}

const ENROL: &str = "INSERT INTO writer (id, number) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING";
/// Waits for a transaction of the connection before this one that is still on its way.
const LAST: &str = "SELECT number FROM writer WHERE id = $1 FOR UPDATE";
const NUMBERS: &str = "SELECT nextval('envelope_id') FROM generate_series(1, $1::bigint)";
const INTERN: &str = "INSERT INTO sink (name) SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING";
const SINKS: &str = "SELECT name, id FROM sink WHERE name = ANY($1::text[])";

impl Session {
    /// `committed` is the last transaction of this name that somebody was told of.
    pub(super) async fn dial(dialer: &Dialer, name: &Name, committed: i64) -> Result<Self, Failure> {
        let client = dialer.dial(Role::Writer).await?;
        let own = [ENROL, LAST, NUMBERS, INTERN, SINKS];
        let all: Vec<&'static str> = own.iter().chain(load::ALL).chain(flush::ALL).copied().collect();
        let prepared = try_join_all(all.iter().map(|sql| client.prepare(sql)));
        let prepared = bounded(async { Ok(prepared.await?) }).await?;
        let session = Self { statements: all.into_iter().zip(prepared).collect(), client };
        session.execute(ENROL, &[&name.id]).await?;
        if committed > 0 && session.last(name).await? < committed {
            // Numbers of envelopes may be given out twice by now, so nothing that this process has in memory is sure.
            let reason = "the database has lost what it had acknowledged: a server took over that was behind";
            return Err(Failure::Refused(StoreError::Broken(reason.to_owned())));
        }
        Ok(session)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        Ok(self.client.query(self.statements.get(sql).expect(PREPARED), params).await?)
    }
    pub(super) async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Failure> {
        Ok(self.client.execute(self.statements.get(sql).expect(PREPARED), params).await?)
    }
    pub(super) async fn simple(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// The number of the last transaction of this name that was committed.
    pub(super) async fn last(&self, name: &Name) -> Result<i64, Failure> {
        let rows = bounded(self.query(LAST, &[&name.id])).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    /// Runs the verbs in one transaction of this number. What `Ok` holds is on the disk; a failure other than
    /// [`Failure::Unknown`] has left nothing. Either way `work` says what was in hand, and has the new numbers.
    pub(super) async fn transact(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        (name, number): (&Name, i64),
        sinks: &mut HashMap<String, i32>,
        work: &mut Work,
    ) -> Result<(), Failure> {
        let prepared = bounded(self.prepare_commit(jobs, (name, number), sinks, work)).await;
        if let Err(failure) = prepared {
            return Err(self.roll_back(failure).await);
        }
        // From here on it may have happened, whatever comes back but a plain refusal.
        match timeout(STATEMENT_LIMIT * 2, self.simple("COMMIT")).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Lost(reason))) => Err(Failure::Unknown(reason)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Unknown("the database does not answer".to_owned())),
        }
    }

    /// What cannot be rolled back ends with its connection.
    async fn roll_back(&self, failure: Failure) -> Failure {
        if matches!(failure, Failure::Lost(_)) {
            return failure;
        }
        match bounded(self.simple("ROLLBACK")).await {
            Ok(()) => failure,
            Err(_) => Failure::Lost(failure.words()),
        }
    }

    /// All of the transaction but its end.
    async fn prepare_commit(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        (name, number): (&Name, i64),
        sinks: &mut HashMap<String, i32>,
        work: &mut Work,
    ) -> Result<(), Failure> {
        let mut needs = Needs::default();
        for job in jobs.iter() {
            job.needs(&mut needs);
        }
        // Before the transaction: a name stays, whatever becomes of the rest, and nobody waits for it.
        self.intern(needs.sinks.iter(), sinks).await?;
        Box::pin(load::load(self, &needs, work)).await?;
        self.intern(work.rows.values().map(|row| &row.lane.sink), sinks).await?;
        for job in jobs.iter_mut() {
            job.run(work);
        }
        let numbers = self.numbers(work.new_count).await?;
        work.number(numbers);
        Box::pin(flush::flush(self, work, sinks, (name, number))).await
    }

    async fn numbers(&self, count: i64) -> Result<Numbers, Failure> {
        if count == 0 {
            return Ok(Numbers::default());
        }
        let mut numbers: Vec<i64> = self.query(NUMBERS, &[&count]).await?.iter().map(|row| row.get(0)).collect();
        numbers.sort_unstable();
        Ok(Numbers(numbers))
    }

    async fn intern(
        &self,
        names: impl Iterator<Item = &SinkName>,
        sinks: &mut HashMap<String, i32>,
    ) -> Result<(), Failure> {
        let unknown: BTreeSet<&str> = names.map(SinkName::as_str).filter(|name| !sinks.contains_key(*name)).collect();
        let unknown: Vec<&str> = unknown.into_iter().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.execute(INTERN, &[&unknown]).await?;
        let rows = self.query(SINKS, &[&unknown]).await?;
        sinks.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
        Ok(())
    }
}

/// A server that is gone without a word is not waited for longer than one that is slow.
pub(super) async fn bounded<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout(STATEMENT_LIMIT + STATEMENT_LIMIT / 2, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::Lost("the database does not answer".to_owned())),
    }
}
