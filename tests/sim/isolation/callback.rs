//! What the inbox tells the model, as bytes.

use serde_json::{Value, json};

use crate::canary;

pub(super) const BEGIN_MILLIS: i64 = 1_900_000_000_000;
pub(super) const ACCOUNT: i64 = 1;
pub(super) const INBOX: i64 = 7;
const SENDER: &str = r#"{"id":3,"name":"Grace","type":"user"}"#;

/// What kind of message it is, and so whether it may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Public,
    Note,
    /// `private` missing, or of another type.
    Unmarked,
    Activity,
    Incoming,
    /// Our own, told back to us.
    Echo,
    Template,
    OtherInbox,
    OtherAccount,
    /// Of a conversation that no network of ours began.
    NoAddress,
}

impl Sort {
    pub(super) const FORBIDDEN: [Self; 9] = [
        Self::Note,
        Self::Unmarked,
        Self::Activity,
        Self::Incoming,
        Self::Echo,
        Self::Template,
        Self::OtherInbox,
        Self::OtherAccount,
        Self::NoAddress,
    ];
}

#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) sort: Sort,
    pub(super) message: i64,
    pub(super) event: &'static str,
    pub(super) private: Value,
    pub(super) failed: bool,
    /// Whose conversation the inbox says it is; a merge changes that.
    pub(super) contact: i64,
    /// What the conversation shows as its last message.
    pub(super) shown: String,
    conversation: i64,
    link: String,
    content: String,
    created_millis: i64,
}

impl Said {
    pub(super) fn new(
        sort: Sort,
        message: i64,
        link: &str,
        (conversation, contact): (i64, i64),
        now_millis: i64,
    ) -> Self {
        let content = if sort == Sort::Public {
            canary::to_peer(link, message as usize, 0)
        } else {
            format!("{} {message}", canary::SECRET)
        };
        let private = if sort == Sort::Unmarked {
            [Value::Null, json!("false"), json!(0), json!([])][message as usize % 4].clone()
        } else {
            Value::Bool(sort == Sort::Note)
        };
        let shown = canary::to_peer("another/thread", 0, 0);
        Self {
            sort,
            message,
            event: "message_created",
            private,
            failed: false,
            contact,
            shown,
            conversation,
            link: if sort == Sort::NoAddress { format!("{message}-made-by-the-inbox") } else { link.to_owned() },
            content,
            created_millis: now_millis,
        }
    }

    pub(super) fn raw(&self) -> String {
        let Self { sort, message, event, private, contact, conversation, shown, link, content, .. } = self;
        let message_type = match sort {
            Sort::Activity => "activity",
            Sort::Incoming => "incoming",
            Sort::Template => "template",
            Sort::Public
            | Sort::Note
            | Sort::Unmarked
            | Sort::Echo
            | Sort::OtherInbox
            | Sort::OtherAccount
            | Sort::NoAddress => "outgoing",
        };
        let account = if *sort == Sort::OtherAccount { 2 } else { ACCOUNT };
        let inbox = if *sort == Sort::OtherInbox { 8 } else { INBOX };
        let created = jiff::Timestamp::from_millisecond(self.created_millis).expect("a moment of ours").to_string();
        let attributes = if self.failed { r#"{"external_error":"no such nick"}"# } else { "{}" };
        let source_id = if *sort == Sort::Echo { format!("\"{link}/e1/0\"") } else { "null".to_owned() };
        // By hand: this is done a million times. No text of the model needs an escape.
        format!(r#"{{"event":"{event}","id":{message},"account":{{"id":{account}}},"inbox":{{"id":{inbox}}},"#)
            + &format!(
                r#""message_type":"{message_type}","private":{private},"content":"{content}","content_type":"text","#
            )
            + &format!(
                r#""content_attributes":{attributes},"source_id":{source_id},"created_at":"{created}","sender":{SENDER},"#
            )
            + &format!(r#""conversation":{{"id":{conversation},"status":"open","inbox_id":{inbox},"contact_inbox":"#)
            + &format!(
                r#"{{"contact_id":{contact},"source_id":"{link}"}},"messages":[{{"id":1,"content":"{shown}"}}]}}}}"#
            )
    }
}
