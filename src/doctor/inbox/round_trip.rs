//! The whole way once: a message of ours into the inbox, and its callback back to us.
//!
//! It disturbs nobody. It belongs to a contact of its own, made once, named so that an agent understands, and blocked: its
//! conversation is born resolved and stays so. And it is incoming, which nothing carries to a network.

use std::time::Duration;

use bridge_api::Verdict;
use serde_json::Map;
use tokio::time::{Instant, sleep};

use super::{
    super::{
        address::Leads,
        advice::{Words, of_undelivered},
        ear::Ear,
    },
    Known, Look,
    version::Release,
};
use crate::{
    chatwoot::{
        CallFault, Contact, ConversationId, ConversationStatus, MessageId, MessageStatus, MessageType, NewContact,
        NewConversation, NewMessage,
    },
    http::Heard,
};

/// Within this time the message must be back.
const BACK_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at who called, and between two at the message in the inbox.
const LISTEN_EVERY: Duration = Duration::from_millis(100);
const READ_EVERY: Duration = Duration::from_millis(800);
/// A failure is marked before its callback's refusal can be asked for, and after it: whoever comes second is waited for.
const LAST_WORD_LIMIT: Duration = Duration::from_millis(500);

/// No bridge's name holds a dot, so that this can never be the link or the message of one.
const OURS: &str = "deskbridge.doctor";
const CONTACT_NAME: &str = "deskbridge doctor (tests the wiring, nothing to do)";
const TEXT: &str =
    "A test of the wiring by `deskbridge doctor`. There is nothing to do, and nobody waits for an answer.";

/// What became of the message.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Back(Duration),
    /// It came, and was not believed.
    Refused(Heard),
    /// The inbox says why it did not come.
    Undelivered(String),
    Silent,
}

impl Look<'_> {
    pub(super) async fn round_trip(&self, known: &Known) {
        let tried = "send a message round: into the inbox and back to the callback door";
        if let Ear::Deaf(reason) = self.ear {
            return self.findings.skipped(tried, format!("nobody can hear the callback: {reason}"));
        }
        match self.sent_and_awaited().await {
            Ok((ending, conversation)) => {
                self.tell(tried, &ending, known);
                self.tidy_up(conversation).await;
            }
            Err(Trouble::Inbox(fault)) => self.fault(tried, &fault),
            Err(Trouble::Ear(reason)) => {
                let change = "restart the gateway if it is of another version than this command";
                self.findings.failed(tried, format!("the gateway cannot be asked what it heard: {reason}"), change);
            }
        }
    }

    async fn sent_and_awaited(&self) -> Result<(Ending, ConversationId), Trouble> {
        let link = format!("{OURS}/{}/{}", self.inbox.account_id, self.inbox.inbox_id);
        let contact = self.own_contact(&link).await?;
        let conversation = self.own_conversation(&contact, &link).await?;
        // Another one each time, so that no late callback of an earlier look counts.
        let source_id = format!("{OURS}/{:016x}", fastrand::u64(..));
        self.ear.begin(&source_id).await.map_err(Trouble::Ear)?;
        let message = NewMessage {
            content: TEXT.to_owned(),
            message_type: MessageType::Incoming,
            private: false,
            source_id: source_id.clone(),
            content_attributes: Map::new(),
        };
        let begun = Instant::now();
        let posted = self.client.post_message(conversation, &message).await?;
        Ok((self.await_back(begun, &source_id, (conversation, posted.id)).await?, conversation))
    }

    async fn own_contact(&self, link: &str) -> Result<Contact, CallFault> {
        if let Some(contact) = self.client.contact_by_source_id(link).await? {
            return Ok(contact);
        }
        let new = NewContact {
            identifier: link.to_owned(),
            name: CONTACT_NAME.to_owned(),
            source_id: link.to_owned(),
            blocked: true,
            ..NewContact::default()
        };
        match self.client.create_contact(&new).await {
            Err(fault @ CallFault::Taken { .. }) => {
                // There already, without its link: an inbox of this number was deleted and made again.
                let found = self.client.contacts_by_identifier(link).await?.into_iter().next();
                let contact = found.ok_or(fault)?;
                self.client.add_link(contact.id, link).await?;
                Ok(contact)
            }
            made => made,
        }
    }

    async fn own_conversation(&self, contact: &Contact, link: &str) -> Result<ConversationId, CallFault> {
        if let Some(found) = self.client.conversations_by_source_id(link).await?.first() {
            return Ok(found.id);
        }
        let (source_id, additional_attributes) = (link.to_owned(), Map::new());
        let new = NewConversation { contact_id: contact.id, source_id, additional_attributes };
        Ok(self.client.create_conversation(&new).await?.id)
    }

    async fn await_back(
        &self,
        begun: Instant,
        source_id: &str,
        message: (ConversationId, MessageId),
    ) -> Result<Ending, Trouble> {
        let mut read = begun;
        while begun.elapsed() < BACK_LIMIT {
            if let Some(ending) = self.called(begun, source_id).await? {
                return Ok(ending);
            }
            if read.elapsed() >= READ_EVERY {
                read = Instant::now();
                if let Some(reason) = self.marked_as_failed(message).await? {
                    sleep(LAST_WORD_LIMIT).await;
                    let refused = self.called(begun, source_id).await?;
                    return Ok(refused.unwrap_or(Ending::Undelivered(reason)));
                }
            }
            sleep(LISTEN_EVERY).await;
        }
        Ok(self.marked_as_failed(message).await?.map_or(Ending::Silent, Ending::Undelivered))
    }

    async fn called(&self, begun: Instant, source_id: &str) -> Result<Option<Ending>, Trouble> {
        let heard = self.ear.heard(source_id).await.map_err(Trouble::Ear)?;
        let is_good = |heard: &Heard| heard.status == 200 && heard.inbox == self.name;
        if heard.iter().any(is_good) {
            return Ok(Some(Ending::Back(begun.elapsed())));
        }
        Ok(heard.into_iter().next().map(Ending::Refused))
    }

    async fn marked_as_failed(
        &self,
        (conversation, message): (ConversationId, MessageId),
    ) -> Result<Option<String>, CallFault> {
        let row = self.client.message(conversation, message).await?;
        let failed = row.filter(|row| row.status == MessageStatus::Failed);
        Ok(failed.map(|row| {
            let reason = row.content_attributes.get("external_error").and_then(|error| error.as_str());
            reason.unwrap_or("it names no reason").to_owned()
        }))
    }

    fn tell(&self, tried: &str, ending: &Ending, known: &Known) {
        let (verdict, Words { found, change }) = words(ending, (self.name, self.ear.is_gateway()), known);
        match verdict {
            Verdict::Failed => self.findings.failed(tried, found, change),
            Verdict::Fine | Verdict::Skipped | Verdict::Warning => self.findings.fine(tried, found),
        }
    }

    /// Somebody may have unblocked the contact, or opened its conversation.
    async fn tidy_up(&self, conversation: ConversationId) {
        let resolved = async {
            if self.client.conversation(conversation).await?.status != ConversationStatus::Resolved {
                self.client.toggle_status(conversation, ConversationStatus::Resolved).await?;
            }
            Ok::<_, CallFault>(())
        };
        if let Err(fault) = resolved.await {
            let change =
                format!("resolve conversation {conversation} by hand: {}", self.client.conversation_page(conversation));
            self.findings.warning("resolve the test's conversation", fault.to_string(), change);
        }
    }
}

/// Why it cannot be said what became of the message.
#[derive(Debug)]
enum Trouble {
    Inbox(CallFault),
    Ear(String),
}

impl From<CallFault> for Trouble {
    fn from(fault: CallFault) -> Self {
        Self::Inbox(fault)
    }
}

/// What a person reads of an ending. The inbox by its name in the settings; whether a gateway runs.
fn words(ending: &Ending, (name, by_gateway): (&str, bool), known: &Known) -> (Verdict, Words) {
    let told = |found: String, change: &str| Words { found, change: change.to_owned() };
    let words = match ending {
        Ending::Back(after) => {
            let whom =
                if by_gateway { "the running gateway" } else { "this command, which listened in the gateway's place" };
            let found = format!("back after {} ms, and believed by {whom}", after.as_millis());
            return (Verdict::Fine, told(found, ""));
        }
        Ending::Refused(heard) if heard.inbox != name => told(
            format!("it came to /callbacks/{}, the address of another inbox", heard.inbox),
            "run `deskbridge provision`, which gives each inbox its own callback address",
        ),
        Ending::Refused(heard) => refused(heard),
        // Its only cause there, and another way out.
        Ending::Undelivered(said) if known.release == Some(Release(4, 14, 0)) && said.contains("no public ip") => {
            let change = "update Chatwoot to 4.14.1 or later and set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true for rails and sidekiq";
            told(of_undelivered(said).found, change)
        }
        Ending::Undelivered(said) => of_undelivered(said),
        Ending::Silent => told(
            format!("nothing came back within {} s, and Chatwoot names no failure", BACK_LIMIT.as_secs()),
            if known.leads == Leads::Nowhere {
                "set the inbox's callback address (`deskbridge provision`), and look whether Chatwoot's sidekiq process runs"
            } else {
                "look whether Chatwoot's sidekiq process runs and keeps up, and whether the callback address above is ours"
            },
        ),
    };
    (Verdict::Failed, words)
}

/// By what the callback door said.
const REFUSED: [(&str, &str); 5] = [
    (
        "does not match",
        "run `deskbridge provision` with `callback_secret_file`, or copy the inbox's secret into `callback_secret`, and have the gateway read it (SIGHUP)",
    ),
    ("no signature", "update Chatwoot to 4.13 or later, or set `callback_path_token` and run `deskbridge provision`"),
    ("seconds off", "set the clocks of this machine and of Chatwoot's by NTP"),
    ("path token", "run `deskbridge provision`, which writes the path token into the callback address"),
    ("could not be read", "set `callback_secret`, or use an administrator's token"),
];

fn refused(heard: &Heard) -> Words {
    let reason = heard.reason.as_deref().unwrap_or("without a reason");
    let change = REFUSED.iter().find(|(said, _)| reason.contains(said));
    let change = change.map_or("look into the gateway's log at this moment", |(_, change)| change);
    Words { found: format!("it came back and was refused with {}: {reason}", heard.status), change: change.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chatwoot::callback::Refusal, doctor::inbox::Role};

    fn said(ending: &Ending, release: Option<Release>) -> String {
        let known = Known { release, leads: Leads::Private, role: Role::Agent };
        let (verdict, words) = words(ending, ("support", true), &known);
        format!("{verdict:?} {} > {}", words.found, words.change)
    }

    #[test]
    fn each_ending_has_words_and_a_way_out() {
        let refused = |inbox: &str, reason: &str| {
            Ending::Refused(Heard { inbox: inbox.to_owned(), status: 401, reason: Some(reason.to_owned()) })
        };
        let private = Ending::Undelivered("Hostname 'gw' has no public ip addresses".to_owned());
        let cases = [
            (Ending::Back(Duration::from_millis(12)), None, "Fine back after 12 ms", "gateway"),
            (refused("support", &Refusal::Mismatch.to_string()), None, "refused with 401", "callback_secret"),
            (refused("support", &Refusal::Unsigned.to_string()), None, "refused with 401", "4.13"),
            (refused("support", &Refusal::Untimely.to_string()), None, "refused with 401", "NTP"),
            (refused("support", "something new"), None, "something new", "log"),
            (refused("sales", "no"), None, "/callbacks/sales", "provision"),
            (private, Some(Release(4, 15, 1)), "private addresses", "SAFE_FETCH_ALLOW_PRIVATE_NETWORK"),
            (Ending::Silent, None, "within 10 s", "sidekiq"),
        ];
        for (ending, release, found, change) in cases {
            let said = said(&ending, release);
            let (before, behind) = said.split_once(" > ").unwrap();
            assert!(before.contains(found) && (behind.contains(change) || before.contains(change)), "{said}");
        }
        let private = Ending::Undelivered("Hostname 'gw' has no public ip addresses".to_owned());
        assert!(said(&private, Some(Release(4, 14, 0))).contains("update Chatwoot to 4.14.1"));
    }
}
