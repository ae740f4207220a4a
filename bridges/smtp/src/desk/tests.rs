//! The desk over a host that records: what becomes of mails, and what is remembered of them.

mod answers;
mod bounces;
mod joining;
mod spool;

use std::sync::Arc;

use bridge_api::{Agent, Host, Inbound, KeptId, Message, Outbound, Part, Report, ThreadId, kit::RecordingHost};

use super::{
    enter::Clerk,
    examine::{Content, Examined},
    letter::{Desk, letter},
};
use crate::{
    address::Address,
    bounce,
    client::Addressed,
    compose::Letter,
    envelope::{Envelope, SPOOL},
    mail,
    settings::Settings,
    token::{Kind, TokenKey},
    verdict::{Level, Outcome, Policy, Verdict},
};

pub(super) struct Rig {
    pub(super) recording: Arc<RecordingHost>,
    pub(super) host: Host,
    pub(super) settings: Arc<Settings>,
    pub(super) key: TokenKey,
    clerk: Clerk,
    mails: u32,
}

pub(super) fn settings(more: &str) -> Settings {
    let text = format!(
        r#"{{"listen": "127.0.0.1:0", "hostname": "mail.acme.test", "addresses": ["support@acme.test"],
            "from": "Acme <support@acme.test>", "relay": {{"host": "127.0.0.1"}}{more}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

impl Rig {
    pub(super) fn new(more: &str) -> Self {
        let recording = RecordingHost::new();
        let (settings, key) = (Arc::new(settings(more)), TokenKey::new());
        settings.check().unwrap();
        let clerk = Clerk::new(settings.clone(), key.clone());
        Self { host: recording.host("mail"), recording, settings, key, clerk, mails: 0 }
    }

    /// The same desk, with other settings from now on.
    pub(super) fn turn(&mut self, more: &str) {
        self.settings = Arc::new(settings(more));
        self.clerk = Clerk::new(self.settings.clone(), self.key.clone());
    }

    /// Enters a mail that came from `sender` for `recipient`, and gives what was told of it.
    pub(super) async fn enter(&mut self, sender: &str, recipient: &str, level: Level, raw: &str) -> Vec<Inbound> {
        self.mails += 1;
        let examined = examined(self.mails, sender, recipient, level, raw);
        let before = self.recording.recorded().events.len();
        self.clerk.enter(&self.host, &[examined]).await.unwrap();
        self.recording.recorded().events[before..].to_vec()
    }

    /// The same for a proved mail to the desk.
    pub(super) async fn mail(&mut self, raw: &str) -> Vec<Inbound> {
        self.enter("ada@cust.test", "support@acme.test", Level::Verified, raw).await
    }

    pub(super) fn reply_address(&self, thread: &ThreadId) -> String {
        format!("support+{}@acme.test", self.key.token(Kind::Reply, thread.as_str()))
    }

    pub(super) async fn letter(
        &self,
        thread: &ThreadId,
        key: &str,
        agent: Option<&str>,
    ) -> Result<(Letter, Addressed), bridge_api::Fault> {
        let identity = self.settings.identity().unwrap();
        let desk = Desk { settings: &self.settings, identity: &identity, key: &self.key };
        let agent = agent.map(|name| Agent { id: "user-1".into(), name: name.to_owned(), is_robot: name == "Bot" });
        let part = Part::Letter { text: "Hello".into(), attachments: Vec::new(), reply_to: None };
        let out = Outbound {
            key: key.into(),
            thread: thread.clone(),
            part,
            agent,
            earlier_attempts: 0,
            attempted_millis: None,
        };
        letter(&desk, &self.host, &out, "Hello", &[]).await
    }

    pub(super) fn cursors(&self, prefix: &str) -> Vec<String> {
        let recorded = self.recording.recorded();
        recorded.cursors.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
}

pub(super) fn envelope(sender: &str, recipient: &str, number: u32) -> Envelope {
    Envelope {
        client: "192.0.2.1".parse().unwrap(),
        helo: "cust.test".into(),
        protocol: "ESMTP".into(),
        sender: Address::parse(sender),
        recipients: vec![Address::parse(recipient).unwrap()],
        received_millis: 1_700_000_000_000 + i64::from(number) * 1000,
        bytes: 1,
    }
}

pub(super) fn verdict(level: Level) -> Verdict {
    Verdict {
        level,
        spf: Outcome::None,
        dkim: Outcome::None,
        dmarc: Outcome::None,
        arc: Outcome::None,
        dmarc_policy: if level == Level::Failed { Policy::Reject } else { Policy::None },
        domain: None,
        reason: "A reason.".into(),
        retry: false,
    }
}

fn examined(number: u32, sender: &str, recipient: &str, level: Level, raw: &str) -> Examined {
    let raw = raw.trim_start().replace('\n', "\r\n");
    let mail = mail::read(raw.as_bytes());
    let content = Content {
        digest: super::examine::digest(&mail, raw.as_bytes()),
        mail,
        verdict: verdict(level),
        bounce: bounce::read(raw.as_bytes()),
    };
    let id = KeptId::from(format!("{number:032x}"));
    Examined { id, envelope: envelope(sender, recipient, number), content: Some(content) }
}

/// A mail of ada's with these further fields.
pub(super) fn from_ada(fields: &str, text: &str) -> String {
    let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
    format!(
        "From: Ada <ada@cust.test>\nTo: support@acme.test\nDate: Tue, 14 Nov 2023 22:00:00 +0000\n{fields}\n{text}\n"
    )
}

pub(super) fn message(event: &Inbound) -> &Message {
    let Report::Message(message) = &event.report else { panic!("no message: {event:?}") };
    message
}

pub(super) fn note(event: &Inbound) -> (&str, Option<&ThreadId>) {
    let Report::Note { text, see } = &event.report else { panic!("no note: {event:?}") };
    (text, see.as_ref())
}

/// A spool cursor, as the server leaves it.
pub(super) fn spooled(number: u32) -> String {
    format!("{SPOOL}{number:032x}")
}
