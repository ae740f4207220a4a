//! Calls on contacts and their links.

use reqwest::{Method, multipart::Form};
use serde_json::{Map, Value, json};

use super::{
    client::{Client, LIST_BYTES_MAX, UploadPlace},
    fault::{Call, CallFault},
    ids::ContactId,
    messages::Upload,
    text::cut,
    wire::{Contact, CreatedContact, Link, Payload},
};

/// A contact to be made, together with its link to our inbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewContact {
    /// Unique in the account, at most 255 characters.
    pub identifier: String,
    /// Cut to [`NAME_CHARS_MAX`] characters.
    pub name: String,
    /// The link's name: unique in the inbox; make it unique in the installation.
    pub source_id: String,
    /// Must not belong to another contact; Chatwoot stores it in lower case.
    pub email: Option<String>,
    pub additional_attributes: Map<String, Value>,
    /// Its messages are kept, and its conversations stay resolved: nobody is called.
    pub blocked: bool,
}

/// What to change on a contact; `None` and absent keys stay as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContactChange {
    /// Cut to [`NAME_CHARS_MAX`] characters.
    pub name: Option<String>,
    pub identifier: Option<String>,
    /// Merged into what is there; keys cannot be removed this way.
    pub additional_attributes: Map<String, Value>,
}

/// What Chatwoot takes as a picture of a contact (4.15, `avatarable.rs`).
pub const AVATAR_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
pub const AVATAR_BYTES_MAX: u64 = 15 << 20;

/// Chatwoot refuses longer ones (4.15, `application_record.rb`), and a long name is no reason to lose a message.
const NAME_CHARS_MAX: usize = 255;

impl Client {
    /// The contact whose link in our inbox has this source id (`contact_inboxes/filter`, Chatwoot 3.2).
    pub async fn contact_by_source_id(&self, source_id: &str) -> Result<Option<Contact>, CallFault> {
        let call = Call::FindContact;
        let request = self.ask(call, Method::POST, "contact_inboxes/filter");
        let reply = request.json(json!({ "inbox_id": self.inbox_id, "source_id": source_id })).send().await?;
        // Nobody of that name is an empty 404. One with a text means that the inbox itself is not there.
        if reply.status == 404 && reply.body.is_empty() {
            return Ok(None);
        }
        reply.accept(call)?.parse(call).map(Some)
    }

    /// Makes a contact and its link in one transaction.
    ///
    /// `Taken` names the attribute that another contact has; a link's source id in use by another contact is a 500,
    /// hence `Doubtful`. In both cases look the contact up before trying again.
    pub async fn create_contact(&self, new: &NewContact) -> Result<Contact, CallFault> {
        let mut body = json!({
            "inbox_id": self.inbox_id,
            "source_id": new.source_id,
            "identifier": new.identifier,
            "name": cut(&new.name, NAME_CHARS_MAX),
            "additional_attributes": new.additional_attributes,
        });
        if let Some(email) = &new.email {
            body["email"] = json!(email);
        }
        if new.blocked {
            body["blocked"] = json!(true);
        }
        let created: CreatedContact = self.ask(Call::CreateContact, Method::POST, "contacts").json(body).read().await?;
        Ok(created.into_contact())
    }

    /// The contacts with exactly this identifier: at most one by Chatwoot's own rule.
    ///
    /// `contacts/filter` compares without case and may hide contacts (feature `crm_v2`), so its rows are compared again;
    /// when it finds nobody, `contacts_by_search` sees more.
    pub async fn contacts_by_identifier(&self, identifier: &str) -> Result<Vec<Contact>, CallFault> {
        let filter = json!({
            "attribute_key": "identifier", "filter_operator": "equal_to", "values": [identifier], "query_operator": null,
        });
        let request = self.ask(Call::FindContact, Method::POST, "contacts/filter").query("page", "1");
        let found = request.json(json!({ "payload": [filter] })).up_to(LIST_BYTES_MAX).read().await?;
        Ok(identified(found, identifier))
    }

    /// The same by the search box, which sees every contact, and is limited to 100 calls a minute an account.
    ///
    /// It finds parts of identifiers too and gives 15 rows: a short identifier may be hidden behind longer ones.
    pub async fn contacts_by_search(&self, identifier: &str) -> Result<Vec<Contact>, CallFault> {
        let request = self.ask(Call::FindContact, Method::GET, "contacts/search");
        let request = request.query("q", identifier).query("page", "1").query("include_contact_inboxes", "true");
        Ok(identified(request.up_to(LIST_BYTES_MAX).read().await?, identifier))
    }

    /// A contact with its links.
    pub async fn contact(&self, contact: ContactId) -> Result<Contact, CallFault> {
        let request = self.ask(Call::ReadContact, Method::GET, &format!("contacts/{contact}"));
        Ok(request.read::<Payload<Contact>>().await?.payload)
    }

    /// Changes a contact. Chatwoot checks the whole record again, so an old fault of it can refuse a new change.
    pub async fn update_contact(&self, contact: ContactId, change: &ContactChange) -> Result<Contact, CallFault> {
        let mut body = Map::new();
        body.extend(change.name.iter().map(|name| ("name".to_owned(), json!(cut(name, NAME_CHARS_MAX)))));
        body.extend(change.identifier.iter().map(|identifier| ("identifier".to_owned(), json!(identifier))));
        if !change.additional_attributes.is_empty() {
            body.insert("additional_attributes".to_owned(), json!(change.additional_attributes));
        }
        let request = self.ask(Call::UpdateContact, Method::PATCH, &format!("contacts/{contact}"));
        Ok(request.json(body.into()).read::<Payload<Contact>>().await?.payload)
    }

    /// Gives a contact a picture: one of [`AVATAR_TYPES`], at most [`AVATAR_BYTES_MAX`].
    pub async fn set_avatar(&self, contact: ContactId, picture: Upload, place: UploadPlace) -> Result<(), CallFault> {
        let form = Form::new().part("avatar", picture.into_part()?);
        let request = self.ask(Call::UpdateContact, Method::PATCH, &format!("contacts/{contact}"));
        request.form(form, place).recorded().await
    }

    /// Ties a contact to our inbox under one more source id. The same again gives the same link; one that another
    /// contact has is a 500, hence `Doubtful`.
    pub async fn add_link(&self, contact: ContactId, source_id: &str) -> Result<Link, CallFault> {
        let request = self.ask(Call::AddLink, Method::POST, &format!("contacts/{contact}/contact_inboxes"));
        request.json(json!({ "inbox_id": self.inbox_id, "source_id": source_id })).read().await
    }
}

impl Client {
    /// The contacts with this mail address: at most one by Chatwoot's own rule. `contacts/filter` compares without case.
    pub async fn contacts_by_email(&self, email: &str) -> Result<Vec<Contact>, CallFault> {
        let filter = json!({
            "attribute_key": "email", "filter_operator": "equal_to", "values": [email], "query_operator": null,
        });
        let request = self.ask(Call::FindContact, Method::POST, "contacts/filter").query("page", "1");
        let found: Payload<Vec<Contact>> =
            request.json(json!({ "payload": [filter] })).up_to(LIST_BYTES_MAX).read().await?;
        let same = |contact: &Contact| contact.email.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(email));
        Ok(found.payload.into_iter().filter(same).collect())
    }
}

fn identified(found: Payload<Vec<Contact>>, identifier: &str) -> Vec<Contact> {
    found.payload.into_iter().filter(|contact| contact.identifier.as_deref() == Some(identifier)).collect()
}
