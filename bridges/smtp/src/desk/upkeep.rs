//! Forgets what is remembered of mails so old that nobody answers them any more.

use std::time::Duration;

use bridge_api::{AcceptError, Cursor, Host, ThreadId};
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    clock::now_millis,
    token::{Kind, TokenKey},
};

/// Answers to older mails open a new thread.
const REMEMBERED_MILLIS: i64 = 400 * 24 * 3600 * 1000;
const FIRST: Duration = Duration::from_mins(5);
const EVERY: Duration = Duration::from_hours(24);
/// Between two looks, so that nobody waits long behind them.
const BREATH: Duration = Duration::from_millis(50);
/// First letters behind the prefixes: names are looked at in slices.
const LETTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

/// Never returns.
pub(super) async fn run(host: &Host, key: &TokenKey) {
    sleep(FIRST).await;
    loop {
        match forget(host, key, now_millis() - REMEMBERED_MILLIS).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old mails were forgotten"),
            Err(error) => tracing::warn!(error = error.to_string(), "old mails could not be forgotten"),
        }
        sleep(EVERY).await;
    }
}

/// What every remembered value says of its age.
#[derive(Deserialize)]
#[serde(untagged)]
enum Aged {
    At { at: i64 },
    Bare(i64),
}

pub(super) async fn forget(host: &Host, key: &TokenKey, before_millis: i64) -> Result<usize, AcceptError> {
    let mut count = 0;
    for prefix in ["thread/", "mid/", "last/", "sent/", "auto/", "proved/", "held/"] {
        for letter in LETTERS.chars() {
            let found = host.cursors(&format!("{prefix}{letter}")).await?;
            let old: Vec<Cursor> = found.into_iter().filter(|cursor| is_old(cursor, before_millis)).collect();
            if old.is_empty() {
                continue;
            }
            count += old.len();
            let replies = old.iter().filter_map(|cursor| cursor.name.strip_prefix("thread/")).map(|id| {
                let token = key.token(Kind::Reply, ThreadId::from(id).as_str());
                Cursor::remove(format!("reply/{token}"))
            });
            let replies: Vec<_> = replies.collect();
            let gone = old.into_iter().map(|cursor| Cursor::remove(cursor.name)).chain(replies).collect();
            host.save_cursors(gone).await?;
            sleep(BREATH).await;
        }
    }
    Ok(count)
}

/// What cannot be read says nothing of its age, and stays.
fn is_old(cursor: &Cursor, before_millis: i64) -> bool {
    let Some(Ok(aged)) = cursor.value.as_deref().map(serde_json::from_str) else { return false };
    match aged {
        Aged::At { at } | Aged::Bare(at) => at < before_millis,
    }
}

#[cfg(test)]
mod tests {
    use bridge_api::kit::RecordingHost;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_old_goes_with_its_reply_address_and_the_rest_stays() {
        let recording = RecordingHost::new();
        let host = recording.host("mail");
        let key = TokenKey::new();
        let reply = |thread: &str| format!("reply/{}", key.token(Kind::Reply, thread));
        let saved = [
            ("thread/0a".to_owned(), r#"{"at":1,"x":2}"#.to_owned()),
            ("thread/0b".to_owned(), r#"{"at":9}"#.to_owned()),
            (reply("0a"), "0a".to_owned()),
            (reply("0b"), "0b".to_owned()),
            ("mid/ff".to_owned(), r#"{"at":1}"#.to_owned()),
            ("sent/zz".to_owned(), r#"{"at":1}"#.to_owned()),
            ("proved/12".to_owned(), "1".to_owned()),
            ("last/12".to_owned(), "unreadable".to_owned()),
            ("mail/0".to_owned(), r#"{"at":1}"#.to_owned()),
            ("key".to_owned(), "1".to_owned()),
        ];
        let cursors = saved.iter().map(|(name, value)| Cursor::set(name, value)).collect();
        host.save_cursors(cursors).await.unwrap();
        assert_eq!(forget(&host, &key, 5).await, Ok(4));
        let left: Vec<String> = recording.recorded().cursors.keys().cloned().collect();
        let mut expected = vec!["key".to_owned(), "last/12".into(), "mail/0".into(), reply("0b"), "thread/0b".into()];
        expected.sort();
        assert_eq!(left, expected);
    }
}
