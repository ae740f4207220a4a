//! New envelopes: known or not, and where they are written.

use std::ops::RangeInclusive;

use bridge_api::Cursor;
use rusqlite::params;

use super::{letters, work::Work};
use crate::{
    model::{OnDuplicate, Waiting},
    store::{
        Accepted, Blob, BlobId, BlobNames, message_ranks,
        written::{Written, WrittenEnvelope, WrittenHeld},
    },
};

pub(super) fn groups(work: &mut Work, groups: &[Written], now_millis: i64) -> rusqlite::Result<Vec<Accepted>> {
    groups.iter().map(|group| one(work, group, now_millis)).collect()
}

fn one(work: &mut Work, group: &Written, now_millis: i64) -> rusqlite::Result<Accepted> {
    let Some(first) = group.envelopes.first() else { return Ok(Accepted::Duplicate) };
    if let Some(hash) = &group.unless
        && is_known(work, first.at_millis, hash)?
    {
        return Ok(Accepted::Duplicate);
    }
    if is_known(work, first.at_millis, &first.hash)? {
        return match group.on_duplicate {
            OnDuplicate::Ignore => Ok(Accepted::Duplicate),
            OnDuplicate::Revive => revive(work, first.lane.id.0, &message_ranks(first.rank), now_millis),
        };
    }
    let mut written = Vec::with_capacity(group.envelopes.len());
    for (place, envelope) in group.envelopes.iter().enumerate() {
        if place > 0 {
            // Known from another group, it stands for the newer envelope from now on.
            let known = params![envelope.at_millis, envelope.hash];
            work.execute("DELETE FROM known WHERE at = ?1 AND hash = ?2", known)?;
        }
        written.push(insert(work, envelope, now_millis)?);
    }
    Ok(Accepted::New(written))
}

pub(super) fn dead(work: &mut Work, letters: &[WrittenHeld], now_millis: i64) -> rusqlite::Result<Vec<Accepted>> {
    let write = |held: &WrittenHeld| {
        let Accepted::New(letters) = one(work, &held.group, now_millis)? else { return Ok(Accepted::Duplicate) };
        for letter in letters {
            letters::bury(work, letter.id, &held.reason, now_millis)?;
        }
        let follow = groups(work, &held.follow, now_millis)?;
        Ok(Accepted::New(follow.into_iter().flat_map(Accepted::into_waiting).collect()))
    };
    letters.iter().map(write).collect()
}

fn is_known(work: &Work, at_millis: i64, hash: &[u8; 16]) -> rusqlite::Result<bool> {
    let mut known = work.connection().prepare_cached("SELECT 1 FROM known WHERE at = ?1 AND hash = ?2")?;
    known.exists(params![at_millis, hash])
}

fn revive(work: &mut Work, lane: i64, ranks: &RangeInclusive<i64>, now_millis: i64) -> rusqlite::Result<Accepted> {
    let sql = "SELECT id FROM dead WHERE lane = ?1 AND rank BETWEEN ?2 AND ?3 ORDER BY rank, id";
    let ids = letters::ids(work, sql, params![lane, ranks.start(), ranks.end()])?;
    if ids.is_empty() {
        return Ok(Accepted::Duplicate);
    }
    Ok(Accepted::Revived(ids.into_iter().map(|id| letters::revive(work, id, now_millis)).collect::<Result<_, _>>()?))
}

fn insert(work: &mut Work, new: &WrittenEnvelope, now_millis: i64) -> rusqlite::Result<Waiting> {
    let id = work.next_id();
    let sink = work.intern(&new.lane.sink)?;
    // Not `OR REPLACE`, which would copy the whole page at each run, in case half of it must be undone.
    work.execute("INSERT INTO known VALUES (?1, ?2, ?3)", params![new.at_millis, new.hash, id.0])?;
    work.execute(
        "INSERT INTO ev VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, NULL, NULL)",
        params![id.0, sink, new.lane.id.0, new.rank, new.due_millis],
    )?;
    work.execute(
        "INSERT INTO body VALUES (?1, ?2, ?3, ?4)",
        params![id.0, new.key.as_str(), now_millis, new.order_json],
    )?;
    work.count(sink, 1);
    Ok(Waiting { id, lane: new.lane.clone(), rank: new.rank, due_millis: new.due_millis })
}

/// Small ones, beside the other rows.
pub(super) fn blobs(work: &Work, blobs: &[Blob]) -> rusqlite::Result<()> {
    for Blob { id, bytes, held_by } in blobs {
        let (scope, name) = held_by.as_ref().map(|(scope, name)| (scope.as_str(), name.as_str())).unzip();
        let number = id.number().expect("names of blobs are given out by the store");
        work.execute("INSERT INTO kept VALUES (?1, ?2, ?3, ?4, ?5)", params![number, id.0, scope, name, &bytes[..]])?;
    }
    Ok(())
}

/// One that will be a file.
pub(super) fn large_blob(work: &Work, id: &BlobId) -> rusqlite::Result<()> {
    let number = id.number().expect("names of blobs are given out by the store");
    work.execute("INSERT INTO blob VALUES (?1, 0, ?2, NULL, NULL)", params![id.0, number >> BlobNames::BITS])
}

/// Its file is whole, and held by this cursor.
pub(super) fn filled(work: &Work, id: &BlobId, bytes: u64, cursors_: &[(String, Cursor)]) -> rusqlite::Result<()> {
    let (scope, name) = cursors_.first().map(|(scope, cursor)| (scope.as_str(), cursor.name.as_str())).unzip();
    let filled = params![id.0, bytes as i64, scope, name];
    work.execute("UPDATE blob SET bytes = ?2, scope = ?3, name = ?4 WHERE id = ?1", filled)?;
    cursors(work, cursors_)
}

pub(super) fn cursors(work: &Work, cursors: &[(String, Cursor)]) -> rusqlite::Result<()> {
    for (scope, cursor) in cursors {
        match &cursor.value {
            Some(value) => work.execute(
                "INSERT INTO cursor VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value",
                params![scope, cursor.name, value],
            )?,
            None => work.execute("DELETE FROM cursor WHERE scope = ?1 AND name = ?2", params![scope, cursor.name])?,
        }
    }
    Ok(())
}
