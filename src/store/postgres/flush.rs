//! Writes what the verbs of a transaction have changed: each table at most once or twice, however many rows, in one
//! round trip.

mod columns;

use std::collections::{BTreeMap, HashMap};

use self::columns::{
    ATTEMPT, DEAD_NEW, DEAD_OF_DEAD, DEAD_OF_EV, DONE, EV_NEW, EV_SAME, Moves, attempts, dead, done, ev,
};
use super::{
    fault::Failure,
    fence,
    session::{Name, Params, Session, together},
    text,
    work::{Table, Work},
};
use crate::{model::Session as ThreadSession, store::BlobId};

const KNOWN_FIRST: &str =
    "INSERT INTO known (at, hash, id) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[])
    ON CONFLICT (at, hash) DO NOTHING";
const KNOWN_LATER: &str =
    "INSERT INTO known (at, hash, id) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[])
    ON CONFLICT (at, hash) DO UPDATE SET id = excluded.id";
const BODY_NEW: &str = "INSERT INTO body (id, key, accepted, order_json)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[])";
const BODY_OF_DEAD: &str = "INSERT INTO body (id, key, accepted, order_json)
    SELECT id, key, accepted, order_json FROM dead WHERE id = ANY($1::bigint[])";
const GONE_EV: &str = "DELETE FROM ev WHERE id = ANY($1::bigint[])";
const GONE_BODY: &str = "DELETE FROM body WHERE id = ANY($1::bigint[])";
const GONE_DEAD: &str = "DELETE FROM dead WHERE id = ANY($1::bigint[])";
const CURSOR: &str = "INSERT INTO cursor (scope, name, value) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
    ON CONFLICT (scope, name) DO UPDATE SET value = excluded.value";
const NO_CURSOR: &str = "DELETE FROM cursor USING unnest($1::text[], $2::text[]) AS gone (scope, name)
    WHERE cursor.scope = gone.scope AND cursor.name = gone.name";
const SESSION: &str = "INSERT INTO session (bridge, thread, contact, source_id, conversation, resolved, profile, home)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bool[], $7::bigint[], $8::bigint[])
    ON CONFLICT (bridge, thread) DO UPDATE SET contact = excluded.contact, source_id = excluded.source_id,
        conversation = excluded.conversation, resolved = excluded.resolved, profile = excluded.profile, home = excluded.home";
const NO_SESSION: &str = "DELETE FROM session USING unnest($1::text[], $2::text[]) AS gone (bridge, thread)
    WHERE session.bridge = gone.bridge AND session.thread = gone.thread";
const KEPT: &str = "INSERT INTO kept (n, id, scope, name, bytes)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[])";
const FILLED: &str = "UPDATE blob SET bytes = filled.bytes, scope = filled.scope, name = filled.name
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS filled (id, bytes, scope, name) WHERE blob.id = filled.id";
const AGAIN: &str = "INSERT INTO again (id) SELECT unnest($1::bigint[])";
const NUMBER: &str = "INSERT INTO writer (id, number) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET number = excluded.number, at = now()";
/// The wait for a standby server, which is part of a commit, must not be cut short: that would commit all the same.
const PATIENCE: &str = "SELECT set_config('statement_timeout', '0', true)";
/// Last, and in order of the sinks: whoever waits here waits for nobody who waits for them.
const TALLY: &str = "INSERT INTO tally (sink, slot, waiting, dead)
    SELECT sink, $2::smallint, waiting, dead FROM unnest($1::int[], $3::bigint[], $4::bigint[]) AS u (sink, waiting, dead) ORDER BY sink
    ON CONFLICT (sink, slot) DO UPDATE SET waiting = tally.waiting + excluded.waiting, dead = tally.dead + excluded.dead";

pub(super) const ALL: &[&str] = &[
    KNOWN_FIRST,
    KNOWN_LATER,
    EV_NEW,
    EV_SAME,
    BODY_NEW,
    BODY_OF_DEAD,
    DEAD_NEW,
    DEAD_OF_EV,
    DEAD_OF_DEAD,
    DONE,
    GONE_EV,
    GONE_BODY,
    GONE_DEAD,
    ATTEMPT,
    CURSOR,
    NO_CURSOR,
    SESSION,
    NO_SESSION,
    KEPT,
    FILLED,
    fence::PUT_BACK,
    AGAIN,
    NUMBER,
    PATIENCE,
    TALLY,
];

/// Fails as raced when somebody else has taken in what was new a moment ago.
pub(super) async fn flush(
    session: &Session,
    work: &Work,
    sinks: &HashMap<String, i32>,
    (name, number): (&Name, i64),
) -> Result<(), Failure> {
    let moves = Moves::of(work, sinks);
    together!(
        known(session, work),
        envelopes(session, &moves),
        attempts(session, work),
        beside(session, work),
        last(session, work, &moves, (name, number)),
    )?;
    Ok(())
}

async fn run(session: &Session, rows: usize, sql: &'static str, params: Params<'_>) -> Result<(), Failure> {
    if rows > 0 { session.execute(sql, params).await.map(drop) } else { Ok(()) }
}

/// In order of the index, so that two who bring the same keys wait for each other at most one way round.
async fn known(session: &Session, work: &Work) -> Result<(), Failure> {
    let of = |first: bool| {
        let changed = work.known.iter().filter(|(_, known)| known.changed && known.first == first);
        let mut rows: Vec<_> = changed.map(|((at, hash), known)| (*at, &hash[..], known.id)).collect();
        rows.sort_unstable();
        let at: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let hashes: Vec<&[u8]> = rows.iter().map(|row| row.1).collect();
        let ids: Vec<i64> = rows.iter().map(|row| row.2).collect();
        (at, hashes, ids)
    };
    let (first, later) = (of(true), of(false));
    let write = async {
        if first.0.is_empty() { Ok(0) } else { session.execute(KNOWN_FIRST, &[&first.0, &first.1, &first.2]).await }
    };
    let (written, ()) = together!(write, run(session, later.0.len(), KNOWN_LATER, &[&later.0, &later.1, &later.2]),)?;
    if written as usize == first.0.len() {
        Ok(())
    } else {
        Err(Failure::Raced("another replica took in the same at the same moment".to_owned()))
    }
}

async fn envelopes(session: &Session, moves: &Moves<'_>) -> Result<(), Failure> {
    let (new, of_dead) = (moves.of_move(Table::New, Table::Ev), moves.of_move(Table::Dead, Table::Ev));
    let keys: Vec<_> = new.iter().map(|(_, row)| text::put(&row.key)).collect();
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    let accepted: Vec<i64> = new.iter().map(|(_, row)| row.accepted_millis).collect();
    let orders: Vec<&str> = new.iter().map(|(_, row)| row.order_json.as_deref().unwrap_or_default()).collect();
    let (new, of_dead): (Vec<i64>, Vec<i64>) =
        (new.iter().map(|(id, _)| *id).collect(), of_dead.iter().map(|(id, _)| *id).collect());
    let (gone_ev, gone_dead) = (moves.gone(Table::Ev), moves.gone(Table::Dead));
    // What is taken from a row comes before its end.
    together!(
        ev(session, moves),
        run(session, new.len(), BODY_NEW, &[&new, &keys, &accepted, &orders]),
        run(session, of_dead.len(), BODY_OF_DEAD, &[&of_dead]),
        dead(session, moves),
        done(session, moves),
        run(session, gone_ev.len(), GONE_EV, &[&gone_ev]),
        run(session, gone_ev.len(), GONE_BODY, &[&gone_ev]),
        run(session, gone_dead.len(), GONE_DEAD, &[&gone_dead]),
    )?;
    Ok(())
}

type Places<'a> = (Vec<std::borrow::Cow<'a, str>>, Vec<std::borrow::Cow<'a, str>>);

fn places<'a>(names: impl Iterator<Item = &'a (String, String)>) -> Places<'a> {
    names.map(|(one, other)| (text::put(one), text::put(other))).unzip()
}

fn texts<'a>(texts: &'a [std::borrow::Cow<'_, str>]) -> Vec<&'a str> {
    texts.iter().map(AsRef::as_ref).collect()
}

/// Cursors, sessions, blobs.
async fn beside(session: &Session, work: &Work) -> Result<(), Failure> {
    let set = places(work.cursors.iter().filter(|(_, value)| value.is_some()).map(|(place, _)| place));
    let removed = places(work.cursors.iter().filter(|(_, value)| value.is_none()).map(|(place, _)| place));
    let values: Vec<_> = work.cursors.values().flatten().map(|value| text::put(value)).collect();
    let (scopes, names, values) = (texts(&set.0), texts(&set.1), texts(&values));
    let (gone_scopes, gone_names) = (texts(&removed.0), texts(&removed.1));
    together!(
        run(session, scopes.len(), CURSOR, &[&scopes, &names, &values]),
        run(session, gone_scopes.len(), NO_CURSOR, &[&gone_scopes, &gone_names]),
        sessions(session, &work.sessions),
        blobs(session, work),
    )?;
    Ok(())
}

async fn sessions(
    session: &Session,
    sessions: &BTreeMap<(String, String), Option<ThreadSession>>,
) -> Result<(), Failure> {
    let gone = places(sessions.iter().filter(|(_, saved)| saved.is_none()).map(|(place, _)| place));
    let (gone_bridges, gone_threads) = (texts(&gone.0), texts(&gone.1));
    let saved: Vec<&ThreadSession> = sessions.values().flatten().collect();
    let bridges: Vec<&str> = saved.iter().map(|one| one.bridge.as_str()).collect();
    let threads: Vec<_> = saved.iter().map(|one| text::put(one.thread.as_str())).collect();
    let source_ids: Vec<_> = saved.iter().map(|one| text::put(&one.source_id)).collect();
    let contacts: Vec<i64> = saved.iter().map(|one| one.contact).collect();
    let conversations: Vec<i64> = saved.iter().map(|one| one.conversation).collect();
    let resolved: Vec<bool> = saved.iter().map(|one| one.resolved).collect();
    let profiles: Vec<i64> = saved.iter().map(|one| one.profile).collect();
    let homes: Vec<i64> = saved.iter().map(|one| one.home).collect();
    let (threads, source_ids) = (texts(&threads), texts(&source_ids));
    let params: Params<'_> =
        &[&bridges, &threads, &contacts, &source_ids, &conversations, &resolved, &profiles, &homes];
    together!(
        run(session, saved.len(), SESSION, params),
        run(session, gone_bridges.len(), NO_SESSION, &[&gone_bridges, &gone_threads]),
    )?;
    Ok(())
}

async fn blobs(session: &Session, work: &Work) -> Result<(), Failure> {
    let numbers = work.blobs.iter().map(|blob| blob.id.number().expect("names of blobs are given out by the store"));
    let numbers: Vec<i64> = numbers.collect();
    let ids: Vec<&str> = work.blobs.iter().map(|blob| blob.id.0.as_str()).collect();
    let held = |holder: &Option<(String, String)>| {
        holder.as_ref().map(|(scope, name)| (text::put(scope).into_owned(), text::put(name).into_owned())).unzip()
    };
    let (scopes, names): (Vec<Option<String>>, Vec<Option<String>>) =
        work.blobs.iter().map(|blob| held(&blob.held_by)).unzip();
    let bytes: Vec<&[u8]> = work.blobs.iter().map(|blob| &blob.bytes[..]).collect();
    let whole: Vec<&str> = work.filled.iter().map(|(BlobId(id), ..)| id.as_str()).collect();
    let sizes: Vec<i64> = work.filled.iter().map(|(_, bytes, _)| *bytes).collect();
    let (whole_scopes, whole_names): (Vec<Option<String>>, Vec<Option<String>>) =
        work.filled.iter().map(|(_, _, holder)| held(holder)).unzip();
    together!(
        run(session, ids.len(), KEPT, &[&numbers, &ids, &scopes, &names, &bytes]),
        run(session, whole.len(), FILLED, &[&whole, &sizes, &whole_scopes, &whole_names]),
    )?;
    Ok(())
}

async fn last(session: &Session, work: &Work, moves: &Moves<'_>, (name, number): (&Name, i64)) -> Result<(), Failure> {
    let counts: Vec<_> = moves.counts().into_iter().collect();
    let counted: Vec<i32> = counts.iter().map(|(sink, _)| *sink).collect();
    let waiting: Vec<i64> = counts.iter().map(|(_, (waiting, _))| *waiting).collect();
    let dead: Vec<i64> = counts.iter().map(|(_, (_, dead))| *dead).collect();
    if !work.revived.is_empty() {
        session.query(fence::PUT_BACK, &[]).await?;
    }
    together!(
        run(session, work.revived.len(), AGAIN, &[&work.revived]),
        run(session, 1, NUMBER, &[&name.id, &number]),
        run(session, 1, PATIENCE, &[]),
        run(session, counted.len(), TALLY, &[&counted, &name.slot, &waiting, &dead]),
    )?;
    Ok(())
}
