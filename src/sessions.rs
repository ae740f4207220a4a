//! The session cache: from (bridge, thread) to contact, link, `source_id` and conversation. A concurrent
//! map over the store; what neither holds is asked of the inbox, and made there only when it is missing.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use bridge_api::{BridgeName, Fault, Message, Peer, ThreadId};
use dashmap::DashMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::{
    chatwoot::{
        CallFault, Client, Contact, ContactChange, ContactId, Conversation, ConversationStatus, NewContact,
        NewConversation,
    },
    clock::Clock,
    model::{Partition, Session, orders},
    store::{Store, StoreError},
    tenure::{Tenure, Term},
};

/// When the cache is full, one of this many entries goes.
const EVICT_ONE_OF: usize = 16;

/// Sessions of one inbox.
pub struct Sessions {
    store: Arc<dyn Store>,
    client: Arc<Client>,
    clock: Clock,
    tenure: Tenure,
    cache: DashMap<Arc<str>, Cached>,
    count_max: usize,
    evicted: AtomicUsize,
    /// How often this inbox turned out to be another one than it was.
    era: AtomicI64,
    home: AtomicI64,
    /// One contact is made by one task at a time, however many of its threads write together.
    making: DashMap<Box<str>, Arc<Mutex<()>>>,
}

/// A session that a message can be posted with.
#[derive(Debug)]
pub struct Ensured {
    pub session: Session,
    /// The contact's name, facts or picture are others than at the last message.
    pub shows_anew: bool,
}

/// A session without what its key says already.
#[derive(Clone)]
struct Cached {
    contact: i64,
    conversation: i64,
    profile: i64,
    resolved: bool,
    /// In which its thread's lane was ours when it was read.
    term: Term,
    /// Only where the inbox answered with another than ours.
    source_id: Option<Box<str>>,
}

impl Sessions {
    /// Keeps at most `count_max` sessions in memory; the store has them all. Those of another era are not believed.
    /// Where others work on the same store, only sessions of threads are kept whose lanes are ours.
    pub fn new(
        store: Arc<dyn Store>,
        client: Arc<Client>,
        (clock, tenure): (Clock, Tenure),
        (count_max, era): (usize, i64),
    ) -> Self {
        let (cache, making) = (DashMap::new(), DashMap::new());
        let (count_max, evicted) = (count_max.max(EVICT_ONE_OF), AtomicUsize::new(0));
        let home = AtomicI64::new(home_of(&client, era));
        Self { store, client, clock, tenure, cache, count_max, evicted, era: AtomicI64::new(era), home, making }
    }

    pub fn era(&self) -> i64 {
        self.era.load(Ordering::Relaxed)
    }

    /// From now on no session from before is believed; each is found again by asking.
    pub fn enter(&self, era: i64) {
        self.era.store(era, Ordering::Relaxed);
        self.home.store(home_of(&self.client, era), Ordering::Relaxed);
        self.cache.clear();
    }

    /// The store has what is still to be known.
    pub fn forget_memory(&self) {
        self.cache.clear();
    }

    /// Where the sessions of now lead to.
    pub fn home(&self) -> i64 {
        self.home.load(Ordering::Relaxed)
    }

    /// The session as we know it, without asking the inbox.
    pub async fn known(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<Option<Session>, StoreError> {
        let key = source_id_of(bridge, thread);
        let term = self.term(bridge, thread);
        let fresh = |cached: &Cached| term.is_some_and(|term| cached.term == term);
        if let Some(cached) = self.cache.get(&*key).map(|entry| entry.value().clone()).filter(fresh) {
            return Ok(Some(cached.into_session(bridge, thread, &key, self.home())));
        }
        let home = self.home();
        let session = self.store.session(bridge, thread).await?.filter(|session| session.home == home);
        if let (Some(session), Some(term)) = (&session, term) {
            self.remember(key, session, term);
        }
        Ok(session)
    }

    /// The session that this message belongs to, with its contact as the network shows it now. Whatever is
    /// missing is found in the inbox or made there, once.
    pub async fn ensure(&self, bridge: &BridgeName, thread: &ThreadId, message: &Message) -> Result<Ensured, Fault> {
        let known = self.known(bridge, thread).await.map_err(store_fault)?;
        let profile = known.as_ref().map(|session| session.profile);
        let session = match known {
            Some(session) if !session.resolved => self.refresh(session, &message.peer).await?,
            Some(_) | None => {
                let session = self.make(bridge, thread, message).await?;
                self.save(&session).await?;
                session
            }
        };
        let shows_anew = profile != Some(session.profile);
        Ok(Ensured { session, shows_anew })
    }

    /// The contact's new picture could not be shown for a reason that may pass: with the next message it is new again.
    pub async fn show_again(&self, session: Session) -> Result<(), Fault> {
        self.save(&Session { profile: !session.profile, ..session }).await
    }

    /// The conversation was resolved: the next message asks the inbox where it belongs.
    pub async fn resolved(&self, bridge: &BridgeName, thread: &ThreadId, conversation: i64) -> Result<(), Fault> {
        match self.known(bridge, thread).await.map_err(store_fault)? {
            Some(session) if session.conversation == conversation && !session.resolved => {
                self.save(&Session { resolved: true, ..session }).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Something that the session names is gone: the next message finds or makes it anew.
    pub async fn forget(&self, bridge: &BridgeName, thread: &ThreadId) -> Result<(), Fault> {
        self.cache.remove(&*source_id_of(bridge, thread));
        self.store.forget_session(bridge, thread).await.map_err(store_fault)
    }

    /// Sessions in memory.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    async fn save(&self, session: &Session) -> Result<(), Fault> {
        let key = source_id_of(&session.bridge, &session.thread);
        let Some(term) = self.term(&session.bridge, &session.thread) else {
            self.cache.remove(&*key);
            return Err(Fault::retry("another process looks after this conversation now"));
        };
        self.store.save_session(session).await.map_err(store_fault)?;
        self.remember(key, session, term);
        Ok(())
    }

    /// The term in which the thread's lane is ours; `None` while it is another's. Where there are no others, nobody has to
    /// know which lane it is.
    fn term(&self, bridge: &BridgeName, thread: &ThreadId) -> Option<Term> {
        if !self.tenure.is_shared() {
            return Some(0);
        }
        let partition: Partition = orders::inbound_lane_id(bridge, thread).partition();
        Some(self.tenure.term(partition)).filter(|term| *term > 0)
    }

    fn remember(&self, key: Arc<str>, session: &Session, term: Term) {
        // The inbox may have turned out to be another one while this was on its way.
        if session.home != self.home() {
            return;
        }
        if self.cache.len() >= self.count_max {
            self.cache.retain(|_, _| !self.evicted.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVICT_ONE_OF));
        }
        let source_id = (session.source_id != *key).then(|| session.source_id.as_str().into());
        let Session { contact, conversation, profile, resolved, .. } = *session;
        self.cache.insert(key, Cached { contact, conversation, profile, resolved, term, source_id });
    }

    /// Tells the inbox when the network shows the peer differently now.
    async fn refresh(&self, session: Session, peer: &Peer) -> Result<Session, Fault> {
        let profile = profile_of(peer);
        if profile == session.profile {
            return Ok(session);
        }
        let change = ContactChange {
            name: Some(peer.name.clone()),
            identifier: None,
            additional_attributes: facts(&peer.facts),
        };
        match self.client.update_contact(ContactId(session.contact), &change).await {
            Ok(_) => {}
            // The contact may have been merged into another, or something old in it refuses the change. Neither is
            // a reason to keep a message back.
            Err(fault @ (CallFault::NotFound { .. } | CallFault::Taken { .. } | CallFault::Invalid { .. })) => {
                tracing::info!(
                    contact = session.contact,
                    fault = fault.to_string(),
                    "the contact keeps its old profile"
                );
            }
            // The next message tells it again.
            Err(CallFault::Doubtful { reason, .. }) => {
                tracing::info!(contact = session.contact, reason, "the contact's new profile may not be shown yet");
                return Ok(session);
            }
            Err(fault) => return Err(self.fault(fault)),
        }
        let session = Session { profile, ..session };
        self.save(&session).await?;
        Ok(session)
    }

    /// Looks before it makes, at each step, since an earlier try may have got further than we know.
    async fn make(&self, bridge: &BridgeName, thread: &ThreadId, message: &Message) -> Result<Session, Fault> {
        let source_id = source_id_of(bridge, thread);
        let contact = self.contact(bridge, &source_id, &message.peer).await?;
        let conversation = self.conversation(&contact, &source_id, message).await.map_err(|fault| self.fault(fault))?;
        Ok(Session {
            bridge: bridge.clone(),
            thread: thread.clone(),
            contact: contact.id.0,
            source_id: conversation.source_id().unwrap_or(&source_id).to_owned(),
            conversation: conversation.id.0,
            resolved: false,
            profile: profile_of(&message.peer),
            home: self.home(),
        })
    }

    async fn contact(&self, bridge: &BridgeName, source_id: &str, peer: &Peer) -> Result<Contact, Fault> {
        let identifier = format!("{bridge}/{}", peer.id);
        let lock = self.making.entry(identifier.clone().into_boxed_str()).or_default().value().clone();
        let contact = {
            let _one_at_a_time = lock.lock().await;
            self.contact_alone(&identifier, source_id, peer).await
        };
        drop(lock);
        self.making.remove_if(&*identifier, |_, lock| Arc::strong_count(lock) == 1);
        contact
    }

    async fn contact_alone(&self, identifier: &str, source_id: &str, peer: &Peer) -> Result<Contact, Fault> {
        let found = self.client.contact_by_source_id(source_id).await;
        if let Some(contact) = found.map_err(|fault| self.misplaced(fault))? {
            return Ok(contact);
        }
        let new = NewContact {
            identifier: identifier.to_owned(),
            name: peer.name.clone(),
            source_id: source_id.to_owned(),
            email: peer.email.clone(),
            additional_attributes: facts(&peer.facts),
            blocked: false,
        };
        match self.client.create_contact(&new).await {
            Ok(contact) => Ok(contact),
            Err(CallFault::Taken { attributes, reason }) if attributes.iter().any(|a| a == "identifier") => {
                self.linked(identifier, source_id).await?.ok_or_else(|| Fault::retry(reason))
            }
            Err(CallFault::Taken { attributes, reason }) if attributes.iter().any(|a| a == "email") => {
                let email = peer.email.as_deref().unwrap_or_default();
                match self.owner_of(email, source_id).await? {
                    Some(contact) => Ok(contact),
                    // Nobody has it: it is malformed, or hidden from us.
                    None => self.without_email(new, &reason).await,
                }
            }
            Err(CallFault::Invalid { reason }) if new.email.is_some() => self.without_email(new, &reason).await,
            Err(fault) => Err(self.misplaced(fault)),
        }
    }

    /// Chatwoot is stricter with addresses than mail is; the message counts more.
    async fn without_email(&self, new: NewContact, reason: &str) -> Result<Contact, Fault> {
        tracing::info!(reason, "the contact is made without its mail address");
        let new = NewContact { email: None, ..new };
        match self.client.create_contact(&new).await {
            Ok(contact) => Ok(contact),
            Err(CallFault::Taken { attributes, reason }) if attributes.iter().any(|a| a == "identifier") => {
                self.linked(&new.identifier, &new.source_id).await?.ok_or_else(|| Fault::retry(reason))
            }
            Err(fault) => Err(self.misplaced(fault)),
        }
    }

    /// What a failed call means for the effect that needed it.
    fn fault(&self, fault: CallFault) -> Fault {
        fault.into_fault(self.clock.of_day())
    }

    /// Where no record is named, one that is not there is the account or the inbox: nothing can be done before
    /// the settings or the inbox are mended, and nothing is given up until then.
    fn misplaced(&self, fault: CallFault) -> Fault {
        if matches!(fault, CallFault::NotFound { .. }) {
            return Fault::down("the account or the inbox is not there: check `account_id` and `inbox_id`");
        }
        self.fault(fault)
    }

    /// The contact that has the peer's proved address already gets one more link.
    async fn owner_of(&self, email: &str, source_id: &str) -> Result<Option<Contact>, Fault> {
        let found = self.client.contacts_by_email(email).await.map_err(|fault| self.fault(fault))?;
        let Some(contact) = found.into_iter().next() else { return Ok(None) };
        self.client.add_link(contact.id, source_id).await.map_err(|fault| self.fault(fault))?;
        Ok(Some(contact))
    }

    /// The contact is there already, under another thread of the same peer: it gets one more link.
    async fn linked(&self, identifier: &str, source_id: &str) -> Result<Option<Contact>, Fault> {
        let mut found = self.client.contacts_by_identifier(identifier).await.map_err(|fault| self.fault(fault))?;
        if found.is_empty() {
            found = self.client.contacts_by_search(identifier).await.map_err(|fault| self.fault(fault))?;
        }
        let Some(contact) = found.into_iter().next() else { return Ok(None) };
        self.client.add_link(contact.id, source_id).await.map_err(|fault| self.fault(fault))?;
        Ok(Some(contact))
    }

    /// The link's latest conversation while it lives. Else one is asked for, and the inbox's own setting
    /// decides whether that is a new one.
    async fn conversation(
        &self,
        contact: &Contact,
        source_id: &str,
        message: &Message,
    ) -> Result<Conversation, CallFault> {
        let mut found = self.client.conversations_by_source_id(source_id).await?;
        found.sort_by_key(|conversation| std::cmp::Reverse(conversation.id));
        // A blocked contact's conversations are born resolved; one after another would help nobody.
        let lives = |c: &Conversation| c.status != ConversationStatus::Resolved || contact.blocked;
        if let Some(newest) = found.into_iter().next().filter(lives) {
            return Ok(newest);
        }
        let new = NewConversation {
            contact_id: contact.id,
            source_id: source_id.to_owned(),
            additional_attributes: facts(&message.thread_facts),
        };
        self.client.create_conversation(&new).await
    }
}

impl Cached {
    fn into_session(self, bridge: &BridgeName, thread: &ThreadId, key: &str, home: i64) -> Session {
        Session {
            bridge: bridge.clone(),
            thread: thread.clone(),
            contact: self.contact,
            source_id: self.source_id.map_or_else(|| key.to_owned(), String::from),
            conversation: self.conversation,
            resolved: self.resolved,
            profile: self.profile,
            home,
        }
    }
}

/// Our stable name for a thread's link, unique in the installation as long as bridge names are.
pub fn source_id_of(bridge: &BridgeName, thread: &ThreadId) -> Arc<str> {
    format!("{bridge}/{thread}").into()
}

/// Stands for one inbox of one installation, in one era.
pub fn home_of(client: &Client, era: i64) -> i64 {
    first_bytes(Sha256::new().chain_update(client.identity()).chain_update(era.to_le_bytes()))
}

fn profile_of(peer: &Peer) -> i64 {
    let mut hash = Sha256::new();
    hash.update(&peer.name);
    for (name, value) in &peer.facts {
        for word in [name, value] {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word);
        }
    }
    if let Some(picture) = &peer.picture {
        // A length of its own keeps it apart from any fact.
        hash.update(u64::MAX.to_le_bytes());
        hash.update(&picture.url);
    }
    first_bytes(hash)
}

fn first_bytes(hash: Sha256) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_le_bytes(first)
}

fn facts(facts: &std::collections::BTreeMap<String, String>) -> Map<String, Value> {
    facts.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

fn store_fault(error: StoreError) -> Fault {
    Fault::retry(error.to_string()).because(error)
}
