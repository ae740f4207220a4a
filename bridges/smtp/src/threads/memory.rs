//! The desk's memory: cursors as they will be once a batch of mails is accepted.

use std::collections::BTreeMap;

use bridge_api::{AcceptError, Cursor, Host, KeptId, ThreadId};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    address::Address,
    mail::MessageId,
    threads::state::{Known, Last, SentMail, Thread},
    token::{Kind, TokenKey, looks_like_token},
};

/// Cursors, and what a batch changes in them.
pub(crate) struct Memory<'a> {
    host: &'a Host,
    changed: BTreeMap<String, Option<String>>,
}

impl<'a> Memory<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        Self { host, changed: BTreeMap::new() }
    }

    /// What has to be saved, once.
    pub(crate) fn into_cursors(self) -> Vec<Cursor> {
        self.changed.into_iter().map(|(name, value)| Cursor { name, value }).collect()
    }

    pub(crate) async fn thread(&self, thread: &ThreadId) -> Result<Option<Thread>, AcceptError> {
        self.get(&Thread::cursor(thread)).await
    }
    /// With the name that its reply address is found by.
    pub(crate) fn keep_thread(&mut self, key: &TokenKey, id: &ThreadId, thread: &Thread) {
        let token = key.token(Kind::Reply, id.as_str());
        self.changed.insert(format!("reply/{token}"), Some(id.to_string()));
        self.set(Thread::cursor(id), thread);
    }

    /// The thread that a token of ours stands for.
    pub(crate) async fn thread_of_token(&self, key: &TokenKey, token: &str) -> Result<Option<ThreadId>, AcceptError> {
        if !looks_like_token(token) {
            return Ok(None);
        }
        let token = token.to_ascii_lowercase();
        if let Some(thread) = self.text(&format!("reply/{token}")).await? {
            return Ok(key.verify(Kind::Reply, &thread, &token).then(|| ThreadId::from(thread)));
        }
        Ok(self.sent(key, &token).await?.map(|sent| sent.thread))
    }
    /// The mail of ours that a token stands for. Strangers write what comes here, and the store finds names by their
    /// beginning: a token without letters would be the beginning of all of them.
    pub(crate) async fn sent(&self, key: &TokenKey, token: &str) -> Result<Option<SentMail>, AcceptError> {
        if !looks_like_token(token) {
            return Ok(None);
        }
        let token = token.to_ascii_lowercase();
        let sent: Option<SentMail> = self.get(&format!("sent/{token}")).await?;
        Ok(sent.filter(|sent| key.verify(Kind::Sent, sent.key.as_str(), &token)))
    }

    pub(crate) async fn known(&self, id: &MessageId) -> Result<Option<Known>, AcceptError> {
        self.get(&name_of(id)).await
    }
    pub(crate) fn keep_known(&mut self, id: &MessageId, known: &Known) {
        self.set(name_of(id), known);
    }

    pub(crate) async fn last(&self, author: &Address) -> Result<Option<Last>, AcceptError> {
        self.get(&format!("last/{}", hashed(&author.folded()))).await
    }
    pub(crate) fn keep_last(&mut self, author: &Address, last: &Last) {
        self.set(format!("last/{}", hashed(&author.folded())), last);
    }

    /// When this address was proved to be its owner's for the last time, Unix milliseconds.
    pub(crate) async fn proved(&self, author: &Address) -> Result<Option<i64>, AcceptError> {
        self.get(&format!("proved/{}", hashed(&author.folded()))).await
    }
    pub(crate) fn keep_proved(&mut self, author: &Address, at_millis: i64) {
        self.set(format!("proved/{}", hashed(&author.folded())), &at_millis);
    }

    pub(crate) fn keep_sent(&mut self, token: &str, sent: &SentMail) {
        self.set(format!("sent/{token}"), sent);
    }

    /// When somebody was answered automatically for the last time, and by which mail.
    pub(crate) async fn answered_automatically(&self, person: &Address) -> Result<Option<SentMail>, AcceptError> {
        self.get(&format!("auto/{}", hashed(&person.folded()))).await
    }
    pub(crate) fn keep_answered_automatically(&mut self, person: &Address, sent: &SentMail) {
        self.set(format!("auto/{}", hashed(&person.folded())), sent);
    }

    /// Kept bytes that have to outlive what is forgotten by age.
    pub(crate) fn hold(&mut self, id: &KeptId, at_millis: i64) {
        self.set(format!("held/{id}"), &at_millis);
    }

    pub(crate) fn remove(&mut self, name: String) {
        self.changed.insert(name, None);
    }

    async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, AcceptError> {
        let Some(text) = self.text(name).await? else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                tracing::warn!(cursor = name, error = error.to_string(), "what was remembered cannot be read");
                Ok(None)
            }
        }
    }
    async fn text(&self, name: &str) -> Result<Option<String>, AcceptError> {
        if let Some(changed) = self.changed.get(name) {
            return Ok(changed.clone());
        }
        let found = self.host.cursors(name).await?;
        Ok(found.into_iter().find(|cursor| cursor.name == name).and_then(|cursor| cursor.value))
    }
    fn set(&mut self, name: String, value: &impl Serialize) {
        let text = serde_json::to_string(value).expect("what is remembered has text keys only");
        self.changed.insert(name, Some(text));
    }
}

fn name_of(id: &MessageId) -> String {
    format!("mid/{}", hashed(id.as_str()))
}

/// Names of cursors are short, and say nothing of people.
fn hashed(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..16])
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use bridge_api::{BridgeName, BridgeState, HostPort, Inbound};

    use super::*;

    /// Has nothing, and remembers what it was asked for.
    #[derive(Default)]
    struct Asked(Mutex<Vec<String>>);

    #[async_trait]
    impl HostPort for Asked {
        async fn accept(&self, _: Vec<Inbound>, _: Vec<Cursor>) -> Result<(), AcceptError> {
            Ok(())
        }
        async fn cursors(&self, prefix: &str) -> Result<Vec<Cursor>, AcceptError> {
            self.0.lock().unwrap().push(prefix.to_owned());
            Ok(Vec::new())
        }
        fn state(&self, _: BridgeState) {}
    }

    #[tokio::test]
    async fn what_cannot_be_a_token_is_not_looked_for() {
        let (asked, key) = (Arc::new(Asked::default()), TokenKey::new());
        let host = Host::new(BridgeName::from("mail"), asked.clone());
        let memory = Memory::new(&host);
        let token = key.token(Kind::Sent, "1");
        for text in ["", " ", "a", &token[1..], &format!("{token}a"), "%", "________________________________"] {
            assert_eq!(memory.sent(&key, text).await, Ok(None));
            assert_eq!(memory.thread_of_token(&key, text).await, Ok(None));
        }
        assert_eq!(*asked.0.lock().unwrap(), Vec::<String>::new());
        assert_eq!(memory.sent(&key, &token).await, Ok(None));
        assert_eq!(*asked.0.lock().unwrap(), [format!("sent/{token}")]);
    }
}
