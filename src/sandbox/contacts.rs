//! Contacts and their links: creation, look-ups, merging, the two steps of a deletion.

use serde_json::{Map, Value};

use super::contact_fields::Fields;
use super::desk::{Attributes, Contact, Desk, Event, Link};
use super::params::{FilePart, Params};
use super::refusal::Refusal;

/// Rows on one page of a contact list.
pub(super) const CONTACTS_PER_PAGE: usize = 15;
const AVATAR_BYTES_MAX: usize = 15 << 20;
const AVATAR_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

impl Desk {
    /// Creates a contact and, with an inbox, its link: one transaction.
    pub(super) fn create_contact(&mut self, params: &Params) -> Result<(u64, Option<u64>), Refusal> {
        let fields = Fields::read(params);
        self.validate(&fields, None)?;
        let avatar = self.new_avatar(params)?;
        let inbox = params.id("inbox_id");
        let source_id = params.text("source_id").filter(|source| !source.is_empty());
        if let Some(inbox) = inbox {
            self.inbox(inbox)?;
            if source_id.is_some_and(|source| self.link_of(inbox, source).is_some()) {
                // The link is taken by somebody else, surely: this contact is new. Chatwoot does not rescue that.
                return Err(Refusal::Internal);
            }
        }
        let id = self.next_contact();
        let contact = Contact {
            id,
            name: fields.name.or(None).unwrap_or_default(),
            identifier: fields.identifier.or(None),
            email: fields.email.or(None),
            phone_number: fields.phone_number.or(None),
            blocked: params.flag("blocked").unwrap_or(false),
            additional_attributes: params.object("additional_attributes").unwrap_or_default(),
            custom_attributes: params.object("custom_attributes").unwrap_or_default(),
            created_ms: self.now_ms,
            last_activity_ms: None,
            avatar,
            links: Vec::new(),
        };
        self.contacts.insert(id, contact);
        self.index_contact(id);
        let link = match inbox {
            Some(inbox) => Some(self.link(id, inbox, source_id)?),
            None => None,
        };
        Ok((id, link))
    }

    /// Changes only the given keys; attribute hashes are merged, so that a key can never be taken away.
    pub(super) fn update_contact(&mut self, id: u64, params: &Params) -> Result<(), Refusal> {
        self.contact(id)?;
        let fields = Fields::read(params);
        self.validate(&fields, Some(id))?;
        let avatar = self.new_avatar(params)?;
        self.unindex_contact(id);
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.name = fields.name.or(Some(std::mem::take(&mut contact.name))).unwrap_or_default();
            contact.identifier = fields.identifier.or(contact.identifier.take());
            contact.email = fields.email.or(contact.email.take());
            contact.phone_number = fields.phone_number.or(contact.phone_number.take());
            contact.blocked = params.flag("blocked").unwrap_or(contact.blocked);
            contact.additional_attributes.extend(params.object("additional_attributes").unwrap_or_default());
            contact.custom_attributes.extend(params.object("custom_attributes").unwrap_or_default());
            contact.avatar = avatar.or(contact.avatar.take());
        }
        self.index_contact(id);
        self.touch_conversations_of(id);
        Ok(())
    }

    /// Stores the picture that came along, if one did and it is one.
    fn new_avatar(&mut self, params: &Params) -> Result<Option<String>, Refusal> {
        let Some((_, file)) = params.files.iter().find(|(field, _)| field == "avatar") else { return Ok(None) };
        let refused = |message: &str| Refusal::Invalid { message: message.to_owned(), attributes: vec!["avatar"] };
        if !AVATAR_TYPES.contains(&file.content_type.as_str()) {
            return Err(refused("Avatar filetype not supported"));
        }
        if file.bytes.len() > AVATAR_BYTES_MAX {
            return Err(refused("Avatar is too big"));
        }
        let file =
            FilePart { name: file.name.clone(), content_type: file.content_type.clone(), bytes: file.bytes.clone() };
        Ok(Some(self.store_blob(file)))
    }

    /// Finds or makes the link of a contact to an inbox; without a source id Chatwoot invents one, anew each time.
    pub(super) fn link(&mut self, contact: u64, inbox: u64, source_id: Option<&str>) -> Result<u64, Refusal> {
        if let Some(link) = source_id.and_then(|source| self.link_of(inbox, source)) {
            return if self.links[&link].contact == contact { Ok(link) } else { Err(Refusal::Internal) };
        }
        let id = self.next_link();
        let source_id = match source_id {
            Some(source) => source.to_owned(),
            None => self.uuid(),
        };
        let pubsub_token = super::desk::token(&mut self.random);
        self.links_by_source.entry(source_id.clone()).or_default().push(id);
        let conversations = Vec::new();
        self.links
            .insert(id, Link { id, contact, inbox, source_id, pubsub_token, created_ms: self.now_ms, conversations });
        if let Some(contact) = self.contacts.get_mut(&contact) {
            contact.links.push(id);
        }
        Ok(id)
    }

    /// The link with this source id in this inbox; the pair is unique.
    pub(super) fn link_of(&self, inbox: u64, source_id: &str) -> Option<u64> {
        self.links_by_source.get(source_id)?.iter().copied().find(|link| self.links[link].inbox == inbox)
    }

    /// Moves everything of `mergee` to `base`; nobody is told.
    pub(super) fn merge_contacts(&mut self, base: u64, mergee: u64) -> Result<(), Refusal> {
        self.contact(base)?;
        self.contact(mergee)?;
        if base == mergee {
            return Err(Refusal::Unprocessable("contact merge requires two different contacts".to_owned()));
        }
        self.unindex_contact(mergee);
        self.unindex_contact(base);
        let gone = self.contacts.remove(&mergee).ok_or(Refusal::Missing)?;
        for link in &gone.links {
            let Some(link) = self.links.get_mut(link) else { continue };
            link.contact = base;
            for display in link.conversations.clone() {
                self.hand_over(display, mergee, base);
            }
        }
        if let Some(contact) = self.contacts.get_mut(&base) {
            contact.links.extend(&gone.links);
            contact.identifier = contact.identifier.take().or(gone.identifier);
            contact.email = contact.email.take().or(gone.email);
            contact.phone_number = contact.phone_number.take().or(gone.phone_number);
            if contact.name.is_empty() {
                contact.name = gone.name;
            }
            contact.additional_attributes = merged(gone.additional_attributes, &contact.additional_attributes);
            contact.custom_attributes = merged(gone.custom_attributes, &contact.custom_attributes);
        }
        self.index_contact(base);
        self.touch_conversations_of(base);
        Ok(())
    }

    fn hand_over(&mut self, display: u64, from: u64, to: u64) {
        use super::desk::Sender;
        let Some(conversation) = self.conversations.get_mut(&display) else { return };
        conversation.contact = to;
        for id in conversation.messages.clone() {
            if let Some(message) = self.message_mut(id).filter(|message| message.sender == Sender::Contact(from)) {
                message.sender = Sender::Contact(to);
            }
        }
    }

    /// The first step of a deletion: the row goes, what hangs on it waits for [`Desk::purge`].
    pub(super) fn delete_contact(&mut self, id: u64) -> Result<(), Refusal> {
        self.contact(id)?;
        self.unindex_contact(id);
        self.contacts.remove(&id);
        let window_ms = i64::try_from(self.settings.deletion_window.as_millis()).unwrap_or(i64::MAX);
        self.purges.push((self.now_ms.saturating_add(window_ms), id));
        Ok(())
    }

    /// The second step, for every deletion whose time has come.
    pub(super) fn purge(&mut self) {
        let now_ms = self.now_ms;
        let (due, waiting): (Vec<_>, Vec<_>) = self.purges.drain(..).partition(|(at, _)| *at <= now_ms);
        self.purges = waiting;
        for (_, contact) in due {
            let links: Vec<u64> =
                self.links.values().filter(|link| link.contact == contact).map(|link| link.id).collect();
            for id in links {
                self.remove_link(id);
            }
        }
    }

    pub(super) fn remove_link(&mut self, id: u64) {
        let Some(link) = self.links.remove(&id) else { return };
        if let Some(rows) = self.links_by_source.get_mut(&link.source_id) {
            rows.retain(|row| *row != id);
            if rows.is_empty() {
                self.links_by_source.remove(&link.source_id);
            }
        }
        if let Some(contact) = self.contacts.get_mut(&link.contact) {
            contact.links.retain(|row| *row != id);
        }
        for display in link.conversations {
            self.remove_conversation(display);
        }
    }

    pub(super) fn remove_conversation(&mut self, display: u64) {
        let Some(conversation) = self.conversations.remove(&display) else { return };
        if let Some(link) = self.links.get_mut(&conversation.link) {
            link.conversations.retain(|id| *id != display);
        }
        for id in conversation.messages {
            let Some(message) = self.take_message(id) else { continue };
            for attachment in message.attachments {
                self.blobs.remove(&attachment.blob);
            }
        }
        self.events.push(Event::ConversationGone { conversation: display });
    }

    /// Contacts that `contacts/filter` may see (those with an e-mail, phone number or identifier), by id.
    pub(super) fn known_contacts(&self) -> Vec<&Contact> {
        let mut found: Vec<&Contact> = self
            .contacts
            .values()
            .filter(|contact| {
                [&contact.email, &contact.phone_number, &contact.identifier]
                    .into_iter()
                    .any(|field| field.as_deref().is_some_and(|text| !text.is_empty()))
            })
            .collect();
        found.sort_unstable_by_key(|contact| contact.id);
        found
    }

    pub(super) fn touch_conversations_of(&mut self, contact: u64) {
        let Some(contact) = self.contacts.get(&contact) else { return };
        for link in &contact.links {
            for conversation in self.links.get(link).map(|link| link.conversations.as_slice()).unwrap_or_default() {
                self.events.push(Event::ConversationTouched { conversation: *conversation });
            }
        }
    }

    fn index_contact(&mut self, id: u64) {
        let Some(contact) = self.contacts.get(&id) else { return };
        for (index, text) in [
            (&mut self.contact_by_identifier, &contact.identifier),
            (&mut self.contact_by_email, &contact.email),
            (&mut self.contact_by_phone, &contact.phone_number),
        ] {
            if let Some(text) = text {
                index.insert(text.clone(), id);
            }
        }
    }

    fn unindex_contact(&mut self, id: u64) {
        let Some(contact) = self.contacts.get(&id) else { return };
        for (index, text) in [
            (&mut self.contact_by_identifier, &contact.identifier),
            (&mut self.contact_by_email, &contact.email),
            (&mut self.contact_by_phone, &contact.phone_number),
        ] {
            if let Some(text) = text {
                index.remove(text);
            }
        }
    }
}

fn merged(mut under: Attributes, over: &Map<String, Value>) -> Attributes {
    under.extend(over.clone());
    under
}
