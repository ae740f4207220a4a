//! The gateway's side: `Kind` and `Bridge` over the server, the desk and the client. Holds no protocol.

use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use bridge_api::{
    Attachment, Attachments, Bridge, BridgeName, BridgeState, Caller, CancellationToken, Capabilities, Cursor,
    Examination, Fault, File, Findings, Host, Kind, Outbound, Part, Peer, Placement, Receipts, Reply, Resend, Sent,
    SettingsFault, Spool, TextForm, ThreadId,
};
use tokio::time::Instant;

use crate::{
    client::Relay,
    compose::Composer,
    desk::{self, Desk, DeskParts},
    envelope::SPOOL,
    examine::{Limits, examine},
    keyring, mail,
    server::{self, Intake, Porter},
    settings::{Identity, Settings},
    threads::Thread,
    tls::ServerTls,
    token::TokenKey,
    verdict::Judge,
};

/// The kind `smtp`.
#[derive(Debug)]
pub struct Smtp;

impl Kind for Smtp {
    const NAME: &'static str = "smtp";
    type Settings = Settings;

    fn build(name: BridgeName, settings: Settings) -> Result<Arc<dyn Bridge>, SettingsFault> {
        settings.check()?;
        let identity = settings.identity()?;
        let judge = Arc::new(Judge::new(&settings)?);
        let relay = Relay::new(&settings.relay, &settings.hostname)?;
        let composer = Composer::new(&settings.relay, settings.dkim.as_ref())?;
        let settings = Arc::new(settings);
        if let Some(files) = &settings.tls {
            // Only to find what is wrong with them now; they are read anew when the bridge runs.
            ServerTls::load(files, Instant::now().into_std())?;
        }
        let (met, running) = (OnceLock::new(), RwLock::default());
        Ok(Arc::new(MailDesk { name, settings, identity, judge, relay, composer, met, running }))
    }
}

/// A relay may think about a mail for ten minutes after its last dot (RFC 5321, 4.5.3.2.6).
const ATTEMPT_LIMIT: Duration = Duration::from_mins(20);

/// Mail for one desk.
struct MailDesk {
    name: BridgeName,
    settings: Arc<Settings>,
    identity: Identity,
    judge: Arc<Judge>,
    relay: Relay,
    composer: Composer,
    /// For what is asked where another replica runs it.
    met: OnceLock<Host>,
    running: RwLock<Option<Running>>,
}

/// What is there while the bridge runs.
#[derive(Clone)]
struct Running {
    host: Host,
    key: TokenKey,
}

impl MailDesk {
    fn running(&self) -> Result<Running, Fault> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner).clone();
        running.ok_or_else(|| Fault::down(format!("the bridge {} is not running", self.name)))
    }

    fn set_running(&self, running: Option<Running>) {
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = running;
    }

    async fn deliver(&self, out: &Outbound, text: &str, attachments: &[Attachment]) -> Result<Sent, Fault> {
        let Running { host, key } = self.running()?;
        let desk = Desk { settings: &self.settings, identity: &self.identity, key: &key };
        let (letter, mut addressed) = desk::letter(&desk, &host, out, text, attachments).await?;
        let composed = self.composer.compose(&host, &letter).await?;
        addressed.bytes = composed.bytes;
        let accepted = self.relay.send(&addressed, composed.pieces).await?;
        tracing::info!(key = out.key.as_str(), answer = accepted.words.as_str(), "the relay took a mail");
        let remark = (!accepted.left_out.is_empty()).then(|| accepted.left_out.join("\n"));
        Ok(Sent { event: Some(letter.message_id.as_str().into()), remark })
    }
}

#[async_trait]
impl Bridge for MailDesk {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::cautious();
        capabilities.resend = Resend::Risky;
        // One works off the spool, makes the key of reply addresses and sends.
        capabilities.placement = Placement::EveryReplica;
        capabilities.text_bytes_max = usize::MAX;
        capabilities.text_form = TextForm::Markdown;
        capabilities.attachments = Attachments::Native { bytes_max: u64::from(self.settings.relay.mail_mib_max) << 20 };
        capabilities.receipts = Receipts::Accepted;
        capabilities.replies = true;
        capabilities.attempt_limit = ATTEMPT_LIMIT;
        capabilities.in_flight_max = self.settings.relay.connections_max;
        capabilities
    }

    /// A mail carries its files.
    fn parts(&self, _thread: &ThreadId, reply: Reply) -> Vec<Part> {
        let Reply { text, attachments, reply_to, .. } = reply;
        if text.trim().is_empty() && attachments.is_empty() {
            return Vec::new();
        }
        vec![Part::Letter { text, attachments, reply_to }]
    }

    fn meet(&self, host: &Host) {
        // Whoever was met first is as good as any.
        self.met.get_or_init(|| host.clone());
    }

    async fn run(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        let key = keyring::made(&host).await?;
        self.set_running(Some(Running { host: host.clone(), key: key.clone() }));
        host.state(BridgeState::Up);
        let parts = DeskParts::new(&host, self.settings.clone(), self.judge.clone(), key);
        desk::run(&host, parts, &stop).await;
        self.relay.close().await;
        self.set_running(None);
        Ok(())
    }

    async fn listen(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        let spool = Arc::new(Spool::new(&host, SPOOL, self.settings.spool_max));
        let intake = Intake { spool, porter: Arc::new(Porter::new(&self.settings)) };
        server::serve(&self.settings, intake, stop).await
    }

    async fn send(&self, out: &Outbound) -> Result<Sent, Fault> {
        match &out.part {
            Part::Letter { text, attachments, .. } => self.deliver(out, text, attachments).await,
            Part::Text { text, .. } => self.deliver(out, text, &[]).await,
            Part::Attachment(attachment) => self.deliver(out, "", std::slice::from_ref(attachment)).await,
            Part::Withdraw { .. } => {
                let remark = "A mail cannot be taken back: the person has it.".to_owned();
                Ok(Sent { event: None, remark: Some(remark) })
            }
            _ => Err(Fault::refused("mail knows no such message")),
        }
    }

    async fn probe(&self, out: &Outbound) -> Result<Option<Sent>, Fault> {
        match out.part {
            Part::Withdraw { .. } => Ok(None),
            Part::Letter { .. } | Part::Text { .. } | Part::Attachment(_) | _ => {
                Err(Fault::unknown("the connection to the relay ended before it said whether it took the mail"))
            }
        }
    }

    /// The server asks itself, before it answers to the end of a mail.
    fn caller(&self, _thread: &ThreadId, _peer: &Peer) -> Option<Caller> {
        None
    }

    fn people(&self) -> Option<&'static str> {
        Some(Thread::CURSOR)
    }

    fn person(&self, cursor: &Cursor) -> Option<(Vec<String>, String)> {
        Thread::person(cursor)
    }

    async fn examine(&self, how: Examination, findings: &Findings) {
        examine(&self.settings, &self.identity, how, Limits::USUAL, findings).await;
    }

    async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        let gone = || Fault::refused(format!("the mail with the file {:?} is no longer kept", attachment.name));
        let (id, number) = desk::file_of(&attachment.url).ok_or_else(gone)?;
        let host = match self.met.get() {
            Some(host) => host.clone(),
            None => self.running()?.host,
        };
        let raw = host.kept(&id).await.map_err(|error| Fault::retry(error.to_string()))?.ok_or_else(gone)?;
        let read = tokio::task::spawn_blocking(move || mail::read_file(&raw, number)).await;
        let file = read.map_err(|error| Fault::retry(error.to_string()))?.ok_or_else(gone)?;
        Ok(File::whole(file.media_type, file.bytes))
    }
}
