//! The one hand that enters mails: decides for each what it is and whose, and has the gateway accept a batch of them
//! together with everything that is remembered of them.

use std::{collections::HashMap, sync::Arc};

use bridge_api::{AcceptError, EventId, Host, Inbound, KeptId, Peer, Report, ThreadId};
use sha2::{Digest, Sha256};

use super::{
    examine::{Content, Examined},
    report::{Told, answers_elsewhere},
    returned::{is_same, news},
};
use crate::{
    address::Address,
    automatic::{self, Breaker, Flow, Signs},
    bounce,
    clock::now_millis,
    envelope::{Envelope, SPOOL},
    mail::{Mail, MessageId},
    settings::{Ours, Settings, Spoofed, Verify},
    threads::{Author, Copy, Known, Last, Memory, Place, SentMail, Thread, claims, resolve},
    token::TokenKey,
    verdict::{Level, Policy},
};

/// Stands for an author without any address.
const NOBODY: &str = "unknown@mail.invalid";
/// A proof is noted once a day.
const PROVED_AGAIN_MILLIS: i64 = 24 * 3600 * 1000;
/// Copies of one Message-ID that differ.
const COPIES_MAX: usize = 20;
/// A mail that waited longer than this in the spool may be older than what is forgotten: its files are held by themselves.
const LONG_WAIT_MILLIS: i64 = 30 * 60 * 1000;

pub(crate) struct Clerk {
    settings: Arc<Settings>,
    ours: Ours,
    key: TokenKey,
    breaker: Breaker,
    /// What the breaker said of the mails of a batch: each is counted once, however often the batch is entered.
    flows: HashMap<KeptId, Flow>,
}

impl Clerk {
    pub(crate) fn new(settings: Arc<Settings>, key: TokenKey) -> Self {
        let ours = settings.ours();
        Self { settings, ours, key, breaker: Breaker::default(), flows: HashMap::new() }
    }

    pub(crate) fn separator(&self) -> char {
        self.settings.separator
    }

    /// All of the batch, or nothing: then it is to be entered again.
    pub(crate) async fn enter(&mut self, host: &Host, batch: &[Examined]) -> Result<(), AcceptError> {
        let mut memory = Memory::new(host);
        let mut events = Vec::new();
        for examined in batch {
            if let Some(content) = &examined.content {
                events.extend(self.one(&mut memory, &examined.id, &examined.envelope, content).await?);
            } else {
                tracing::error!(mail = examined.id.as_str(), "a mail in the spool has lost its bytes");
            }
            memory.remove(format!("{SPOOL}{}", examined.id));
            if now_millis() - examined.envelope.received_millis > LONG_WAIT_MILLIS {
                memory.hold(&examined.id, now_millis());
            }
        }
        host.accept(events, memory.into_cursors()).await?;
        self.flows.clear();
        Ok(())
    }

    async fn one(
        &mut self,
        memory: &mut Memory<'_>,
        id: &KeptId,
        envelope: &Envelope,
        content: &Content,
    ) -> Result<Vec<Inbound>, AcceptError> {
        let mail = &content.mail;
        let message_id = mail.message_id.clone().unwrap_or_else(|| derived_id(mail, &content.digest));
        let mut known = memory.known(&message_id).await?;
        let copy = Copy {
            digest: content.digest.clone(),
            date: mail.date_millis.unwrap_or(envelope.received_millis),
            level: content.verdict.level,
        };
        if known.as_ref().is_some_and(|known| known.has(&copy)) {
            tracing::info!(mail = id.as_str(), "a mail came twice");
            return Ok(Vec::new());
        }
        let event = event_name(&message_id, &copy);
        let details = self.details(envelope);
        let told = match self.of_ours(memory, envelope, content, &details, &event).await? {
            Some((thread, events)) => Some((thread, events)),
            None => self.of_a_person(memory, id, envelope, content, &details, &event).await?,
        };
        let Some((thread, events)) = told else { return Ok(Vec::new()) };
        let mut copies = known.as_mut().map(|known| std::mem::take(&mut known.copies)).unwrap_or_default();
        copies.drain(..copies.len().saturating_sub(COPIES_MAX - 1));
        copies.push(copy);
        memory.keep_known(&message_id, &Known { thread, copies, at: envelope.received_millis });
        Ok(events)
    }

    fn details(&self, envelope: &Envelope) -> Vec<String> {
        let detail = |address: &Address| address.split_detail(self.settings.separator).1.map(str::to_owned);
        envelope.recipients.iter().filter_map(detail).collect()
    }

    /// A mail that speaks of one of ours: a bounce, or ours itself.
    async fn of_ours(
        &mut self,
        memory: &mut Memory<'_>,
        envelope: &Envelope,
        content: &Content,
        details: &[String],
        event: &str,
    ) -> Result<Option<(ThreadId, Vec<Inbound>)>, AcceptError> {
        for (_, token) in
            content.mail.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(automatic::LOOP_FIELD))
        {
            if let Some(sent) = memory.sent(&self.key, token.trim()).await? {
                tracing::info!(key = sent.key.as_str(), "a mail of ours came back to us; it is not shown");
                return Ok(Some((sent.thread, Vec::new())));
            }
        }
        let Some(report) = &content.bounce else { return Ok(None) };
        let Some(sent) = self.returned(memory, report, details, envelope).await? else { return Ok(None) };
        let events = self.news(memory, report, &sent, envelope, event).await?;
        Ok(events.map(|events| (sent.thread, events)))
    }

    /// The mail of ours that a report speaks of, where the report is to be believed: it came to an address that was given
    /// to nobody but the servers on the way, or as servers send them, with the null sender and one of our names for the
    /// mail in it. What the mail refers to is another's. Words without a form have to come in both ways.
    async fn returned(
        &self,
        memory: &Memory<'_>,
        report: &bounce::Report,
        details: &[String],
        envelope: &Envelope,
    ) -> Result<Option<SentMail>, AcceptError> {
        let is_words = report.kind == bounce::Kind::Words;
        if is_words && envelope.sender.is_some() {
            return Ok(None);
        }
        for detail in details {
            if let Some(sent) = memory.sent(&self.key, detail).await? {
                return Ok(Some(sent));
            }
        }
        if is_words || envelope.sender.is_some() {
            return Ok(None);
        }
        let own = report.returned_message_id.as_ref().map(|id| id.halves().0);
        for token in report.original_envelope_id.as_deref().into_iter().chain(own) {
            if let Some(sent) = memory.sent(&self.key, token).await? {
                return Ok(Some(sent));
            }
        }
        Ok(None)
    }

    /// What a report says, for the agent. `None` when it says nothing of that kind.
    async fn news(
        &mut self,
        memory: &mut Memory<'_>,
        report: &bounce::Report,
        sent: &SentMail,
        envelope: &Envelope,
        event: &str,
    ) -> Result<Option<Vec<Inbound>>, AcceptError> {
        let inbound = |suffix: &str, report| Inbound {
            event: EventId::from(format!("{event}{suffix}")),
            at_millis: envelope.received_millis,
            thread: sent.thread.clone(),
            report,
        };
        match report.kind {
            bounce::Kind::Receipt => return Ok(None),
            bounce::Kind::Complaint => {
                if let Some(mut thread) = memory.thread(&sent.thread).await? {
                    thread.robot = Some("a recipient called our mail unwanted".to_owned());
                    memory.keep_thread(&self.key, &sent.thread, &thread);
                }
                let text = "The recipient's mail provider says that this mail was reported as unwanted.".to_owned();
                return Ok(Some(vec![inbound("", Report::Note { text, see: None })]));
            }
            bounce::Kind::Status | bounce::Kind::Words => {}
        }
        let Some(news) = news(&report.recipients, sent) else { return Ok(None) };
        if !news.unreached.is_empty()
            && let Some(mut thread) = memory.thread(&sent.thread).await?
        {
            thread.cc.retain(|copy| !news.unreached.iter().any(|gone| is_same(gone, copy)));
            memory.keep_thread(&self.key, &sent.thread, &thread);
        }
        let receipt = news.receipt.map(|receipt| Report::Receipt { key: sent.key.clone(), receipt });
        let note = (!news.notes.is_empty()).then(|| Report::Note { text: news.notes.join("\n"), see: None });
        let receipt = receipt.map(|receipt| inbound("", receipt));
        Ok(Some(receipt.into_iter().chain(note.map(|note| inbound("/note", note))).collect()))
    }

    async fn of_a_person(
        &mut self,
        memory: &mut Memory<'_>,
        id: &KeptId,
        envelope: &Envelope,
        content: &Content,
        details: &[String],
        event: &str,
    ) -> Result<Option<(ThreadId, Vec<Inbound>)>, AcceptError> {
        let Content { mail, verdict, .. } = content;
        if self.settings.spoofed == Spoofed::Drop
            && verdict.level == Level::Failed
            && verdict.dmarc_policy == Policy::Reject
        {
            tracing::warn!(mail = id.as_str(), "a forged mail was dropped, as the settings ask for");
            return Ok(None);
        }
        let author = self.author(memory, envelope, mail, verdict.level).await?;
        let class = automatic::classify(Signs {
            fields: &mail.fields,
            sender: envelope.sender.as_ref(),
            from: &mail.from,
            subject: &mail.subject,
        });
        let robot = self.robot(&author.address, class.robot);
        let claims = claims(mail, details, &self.settings.hostname);
        let place = resolve(memory, &self.key, &author, &claims, &mail.subject).await?;
        let (thread_id, before, about) = match place {
            Place::Joins(id, thread) => (id, Some(*thread), None),
            Place::Opens { about } => (thread_name(event), None, about),
        };
        let told = Told {
            id,
            envelope,
            content,
            event,
            thread: &thread_id,
            author: &author,
            before: before.as_ref(),
            about: about.as_ref(),
            robot: robot.as_deref(),
            list: class.list.as_deref(),
            unasked: self.settings.verify == Verify::Off,
            attach_whole_text: self.settings.attach_whole_text,
        };
        let events = told.events();
        let peer = told.peer();
        let flood = self.flood(id, peer.id.as_str(), robot.is_some(), envelope);
        let at = envelope.received_millis;
        memory.keep_last(&author.address, &Last { thread: thread_id.clone(), subject: mail.subject.clone(), at });
        let mut thread = self.thread_after((before, peer), &author, envelope, mail, robot);
        thread.robot = thread.robot.or(flood);
        memory.keep_thread(&self.key, &thread_id, &thread);
        Ok(Some((thread_id, events)))
    }

    async fn author(
        &self,
        memory: &mut Memory<'_>,
        envelope: &Envelope,
        mail: &Mail,
        level: Level,
    ) -> Result<Author, AcceptError> {
        let from = mail.from.iter().find_map(|one| one.address.clone());
        let nobody = || Address::parse(NOBODY).expect("an address by its form");
        let address = from.or_else(|| envelope.sender.clone()).unwrap_or_else(nobody);
        let proved = memory.proved(&address).await?;
        let at = envelope.received_millis;
        if level == Level::Verified && proved.is_none_or(|last| at - last > PROVED_AGAIN_MILLIS) {
            memory.keep_proved(&address, at);
        }
        // Where nobody is proved any more, nobody can be asked to be so again.
        let was_proved = proved.is_some() && self.settings.verify != Verify::Off;
        Ok(Author { address, level, was_proved })
    }

    /// Why a program must have written it.
    fn robot(&self, author: &Address, sign: Option<&str>) -> Option<String> {
        let is_ours = || self.ours.is_ours(author).then_some("it comes from an address of ours");
        sign.or_else(is_ours).map(str::to_owned)
    }

    /// Why nothing answers automatically for now, whoever writes: two programs may have met that do not say what they are.
    fn flood(&mut self, id: &KeptId, peer: &str, is_robot: bool, envelope: &Envelope) -> Option<String> {
        let breaker = &mut self.breaker;
        let flow = self.flows.entry(id.clone()).or_insert_with(|| {
            let flow = breaker.pass(peer, is_robot, envelope.received_millis);
            if flow == (Flow::Tripped { first: true }) {
                tracing::warn!("many mails from one sender in a short time; nothing answers them automatically");
            }
            flow
        });
        matches!(flow, Flow::Tripped { .. }).then(|| "its sender writes very often".to_owned())
    }

    fn thread_after(
        &self,
        (before, peer): (Option<Thread>, Peer),
        author: &Author,
        envelope: &Envelope,
        mail: &Mail,
        robot: Option<String>,
    ) -> Thread {
        let is_proved = matches!(author.level, Level::Verified | Level::Weak);
        let is_believed = is_proved || self.settings.verify == Verify::Off;
        let mut thread = before.unwrap_or_else(|| self.new_thread(peer, author, envelope));
        if robot.is_none() {
            let to = answers_elsewhere(mail, &author.address).filter(|_| is_believed).unwrap_or(&author.address);
            let name = mail.from.first().map(|from| from.name.clone()).unwrap_or_default();
            thread.turn_to(&author.address, to, name);
            thread.subject.clone_from(&mail.subject);
            thread.refer(mail.message_id.as_ref(), &mail.references);
            if is_believed {
                thread.copy_in(to, false);
                let others = mail.to.iter().chain(&mail.cc).filter_map(|one| one.address.as_ref());
                for other in others.filter(|other| !self.ours.is_ours(other)) {
                    thread.copy_in(other, true);
                }
            }
        } else if thread.subject.is_empty() {
            // The first of its thread. A later one, such as an absence, changes neither subject nor addresses.
            thread.subject.clone_from(&mail.subject);
            thread.refer(mail.message_id.as_ref(), &mail.references);
        }
        thread.robot = robot;
        thread.proved = is_proved;
        thread.at = envelope.received_millis;
        thread
    }

    fn new_thread(&self, peer: Peer, author: &Author, envelope: &Envelope) -> Thread {
        Thread {
            subject: String::new(),
            peer,
            author: author.address.clone(),
            to: author.address.clone(),
            to_name: String::new(),
            cc: Vec::new(),
            elsewhere: Vec::new(),
            people: vec![author.address.clone()],
            desk: self.desk(envelope),
            last: None,
            references: Vec::new(),
            robot: None,
            proved: false,
            at: envelope.received_millis,
        }
    }

    /// The address of ours that was written to, else the one that answers come from.
    fn desk(&self, envelope: &Envelope) -> Address {
        let base = |address: &Address| address.split_detail(self.settings.separator).0;
        let written = envelope.recipients.iter().map(base).find(|address| self.ours.is_ours(address));
        written.unwrap_or_else(|| envelope.recipients[0].clone())
    }
}

/// For a mail without a Message-ID: the same at every attempt to deliver it.
fn derived_id(mail: &Mail, digest: &str) -> MessageId {
    let mut hash = Sha256::new();
    for from in &mail.from {
        hash.update(from.address.as_ref().map(Address::folded).unwrap_or_default());
    }
    hash.update(mail.subject.as_bytes());
    hash.update(mail.date_millis.unwrap_or_default().to_le_bytes());
    hash.update(digest);
    let name = hex::encode(&hash.finalize()[..20]);
    MessageId::parse(&format!("<{name}@mail.invalid>")).expect("an id by its form")
}

fn event_name(id: &MessageId, copy: &Copy) -> String {
    let mut hash = Sha256::new();
    hash.update(id.as_str());
    hash.update(&copy.digest);
    hash.update(copy.date.to_le_bytes());
    hash.update([copy.level as u8]);
    hex::encode(&hash.finalize()[..16])
}

fn thread_name(event: &str) -> ThreadId {
    ThreadId::from(hex::encode(&Sha256::digest(format!("thread {event}"))[..10]))
}
