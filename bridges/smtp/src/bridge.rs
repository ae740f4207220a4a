//! The gateway's side: `Kind` and `Bridge` over the server, the desk and the client. Holds no protocol.

use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use bridge_api::{
    Attachment, Attachments, Bridge, BridgeName, Caller, CancellationToken, Capabilities, Cursor, Examination, Fault,
    File, Findings, Host, Kind, Outbound, Part, Peer, Placement, Receipts, Reply, Resend, Sent, SettingsFault,
    TextForm, ThreadId,
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    client::Relay,
    compose::Composer,
    desk::{self, Desk, DeskParts},
    envelope::SPOOL,
    examine::{Limits, examine},
    mail,
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

/// Mails on their way from the server to the desk; what does not fit is found in the spool.
const ARRIVALS_MAX: usize = 1024;
/// The cursor of the key that tokens are made with.
const KEY: &str = "key";
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

    async fn serve(&self, running: &Running, stop: &CancellationToken) -> Result<(), Fault> {
        let Running { host, key } = running;
        let waiting = host.cursors(SPOOL).await.map_err(|error| Fault::down(error.to_string()))?.len();
        let (mails, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let (missed, waiting) = (Arc::default(), Arc::new(waiting.into()));
        let porter = Arc::new(Porter::new(&self.settings, key.clone()));
        let intake = Intake { host: host.clone(), porter, mails, missed, waiting };
        let parts = DeskParts::new(arrivals, &intake, self.settings.clone(), self.judge.clone(), key.clone());
        // The desk works on until the last session has ended.
        let closed = CancellationToken::new();
        let serving = async {
            let ended = server::serve(&self.settings, intake, stop.clone()).await;
            closed.cancel();
            ended
        };
        let (ended, ()) = tokio::join!(serving, desk::run(host, parts, &closed));
        self.relay.close().await;
        ended
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
        // One reads the spool and makes the key of reply addresses.
        capabilities.placement = Placement::OneReplica;
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
        let key = token_key(&host).await?;
        let running = Running { host, key };
        self.set_running(Some(running.clone()));
        let ended = self.serve(&running, &stop).await;
        self.set_running(None);
        ended
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

/// Made once, and kept with everything that was signed with it.
async fn token_key(host: &Host) -> Result<TokenKey, Fault> {
    let unwritable = |error: bridge_api::AcceptError| Fault::down(format!("the store cannot be used: {error}"));
    let found = host.cursors(KEY).await.map_err(unwritable)?;
    let kept = found.into_iter().find(|cursor| cursor.name == KEY).and_then(|cursor| cursor.value);
    if let Some(text) = kept {
        return TokenKey::from_hex(&text).ok_or_else(|| Fault::down("the key of reply addresses cannot be read"));
    }
    let key = TokenKey::new();
    host.save_cursors(vec![Cursor::set(KEY, key.to_hex())]).await.map_err(unwritable)?;
    Ok(key)
}
