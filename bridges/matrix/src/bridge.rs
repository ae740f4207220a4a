//! The gateway's side: `Kind` and `Bridge` over the parts. Holds no protocol.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bridge_api::{
    Attachment, Attachments, Bridge, BridgeName, BridgeState, CancellationToken, Capabilities, Cursor, EventId,
    Examination, Fault, File, Findings, Host, Kind, Landing, Outbound, Part, Placement, Receipts, Reply, Resend,
    Secret, Sent, SettingsFault, TextForm, ThreadId, async_trait,
};

use crate::{
    catch_up::catch_up,
    client::{CallFault, Client, MediaRef},
    desk::Desk,
    examine::Look,
    ghosts::Ghosts,
    hub::{Courtesy, Ends, Here, Hub, News},
    ids::{EventRef, RoomId},
    machine::{self, Machine, Me},
    receive::{
        pacing::Pacing,
        push::{self, Taker},
        pushes::{self, Pushes},
        sync,
        websocket::{Link, REPLACED},
    },
    render, sending,
    settings::{Account, Appservice, Checked, Entrance, Settings},
};

/// The kind `matrix`.
#[derive(Debug)]
pub struct Matrix;

impl Kind for Matrix {
    const NAME: &'static str = "matrix";
    type Settings = Settings;

    fn build(name: BridgeName, settings: Settings) -> Result<Arc<dyn Bridge>, SettingsFault> {
        let registration = settings.registration(name.as_str()).map_err(|fault| fault.to_string());
        let settings = settings.check(name.as_str())?;
        let client = match &settings.account {
            Account::Appservice(appservice) => {
                Client::new(settings.homeserver.clone(), &appservice.token, Some(appservice.user.clone()))?
            }
            Account::Bot { token, .. } => Client::new(settings.homeserver.clone(), token, None)?,
        };
        let upload_bytes_max = AtomicU64::new(UPLOAD_BYTES_USUAL);
        Ok(Arc::new(Homeserver {
            name,
            settings,
            registration,
            client,
            hub: Here::default(),
            caught_up: Here::default(),
            upload_bytes_max,
        }))
    }
}

/// What Synapse takes when nobody has told it otherwise.
const UPLOAD_BYTES_USUAL: u64 = 50 << 20;
/// Replies under way at once, over all rooms.
const IN_FLIGHT_MAX: usize = 64;
/// Between two looks at what pushes may have missed: a homeserver that was restarted may sit on them.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// When what was kept could not be taken up.
const TAKE_UP_AGAIN: Duration = Duration::from_secs(1);
/// The first time: by then the homeserver has heard from us.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

struct Homeserver {
    name: BridgeName,
    settings: Checked,
    registration: Result<String, String>,
    client: Client,
    hub: Here,
    /// The same once what was missed has been read, so that it may hear what is new.
    caught_up: Here,
    upload_bytes_max: AtomicU64,
}

impl Homeserver {
    fn hub(&self) -> Result<Arc<Hub>, Fault> {
        let unreached = || Fault::down(format!("the bridge {} has not reached its homeserver yet", self.name));
        let hub = self.hub.hub().ok_or_else(unreached)?;
        // The other process has these rooms now, and may say the same.
        if hub.is_out() { Err(Fault::down(REPLACED)) } else { Ok(hub) }
    }

    /// Where the homeserver pushes to, if it does.
    fn entrance(&self) -> Option<(&Appservice, SocketAddr, &Secret)> {
        let Account::Appservice(appservice) = &self.settings.account else { return None };
        let Entrance::Push { listen, hs_token } = &appservice.entrance else { return None };
        Some((appservice, *listen, hs_token))
    }

    /// Who we are, asked until the homeserver says so. `None` when told to stop.
    async fn enter(&self, host: &Host, stop: &CancellationToken) -> Option<Me> {
        let mut pacing = Pacing::default();
        loop {
            let fault = match stop.run_until_cancelled(self.introduce()).await? {
                Ok(me) => return Some(me),
                Err(fault) => fault,
            };
            let pause = pacing.broke(Instant::now(), fastrand::f64());
            let after = if let CallFault::Limited { after } = &fault { *after } else { Duration::ZERO };
            let reason = fault.to_string();
            tracing::warn!(reason = reason.as_str(), "the homeserver cannot be used yet");
            host.state(BridgeState::Down { reason });
            stop.run_until_cancelled(tokio::time::sleep(pause.max(after))).await?;
        }
    }

    async fn introduce(&self) -> Result<Me, CallFault> {
        let me = match &self.settings.account {
            Account::Appservice(appservice) => {
                self.client.register(appservice.user.localpart()).await?;
                Me { user: appservice.user.clone(), namespace: Some(appservice.namespace.clone()) }
            }
            Account::Bot { .. } => Me { user: self.client.whoami().await?, namespace: None },
        };
        if let Some(name) = &self.settings.display_name {
            let known = self.client.profile(&me.user).await?.name;
            if known.as_ref() != Some(name) {
                self.client.set_name(&me.user, name).await?;
            }
        }
        match self.client.upload_bytes_max().await {
            Ok(Some(bytes_max)) => self.upload_bytes_max.store(bytes_max, Ordering::Relaxed),
            Ok(None) => {}
            Err(fault) if !fault.may_pass() => {}
            Err(fault) => return Err(fault),
        }
        Ok(me)
    }

    async fn open_hub(&self, host: &Host, me: Me) -> Result<(Arc<Hub>, Ends), Fault> {
        let kept = host.cursors("").await.map_err(|error| Fault::retry(error.to_string()))?;
        let ghosts = match (&self.settings.account, &me.namespace) {
            (Account::Appservice(appservice), Some(namespace)) => {
                Some(Ghosts::new(namespace, &appservice.server_name, &kept))
            }
            _ => None,
        };
        let machine = Machine::new(me, self.settings.invites.clone(), &kept);
        let tells =
            matches!(&self.settings.account, Account::Appservice(Appservice { entrance: Entrance::Websocket(_), .. }));
        Ok(Hub::new(self.settings.clone(), self.client.clone(), machine, host.clone(), ghosts, tells))
    }

    async fn receive(&self, hub: Arc<Hub>, ends: Ends, stop: CancellationToken) -> Result<(), Fault> {
        let desk = Desk::new(hub.clone(), ends.inputs).run();
        let receiving = async {
            match &self.settings.account {
                Account::Bot { .. } => sync::run(&hub, stop).await,
                Account::Appservice(appservice) => match &appservice.entrance {
                    Entrance::Websocket(url) => {
                        Link::new(hub.clone(), url.clone(), appservice, ends.news).run(stop).await
                    }
                    Entrance::Push { .. } => pushed(&hub, &self.caught_up, &appservice.id, &stop).await,
                },
            }
        };
        // The desk ends by being dropped: what it has not kept, nobody has acknowledged.
        tokio::select! {
            () = desk => Err(Fault::retry("the desk ended by itself")),
            ended = receiving => ended,
        }
    }
}

/// What was missed first, then what was kept meanwhile, then the homeserver is asked to knock.
async fn pushed(hub: &Arc<Hub>, caught_up: &Here, id: &str, stop: &CancellationToken) -> Result<(), Fault> {
    let mut pacing = Pacing::default();
    loop {
        let Some(read) = stop.run_until_cancelled(catch_up(hub)).await else { return Ok(()) };
        let Err(reason) = read else { break };
        hub.host.state(BridgeState::Down { reason });
        let pause = pacing.broke(Instant::now(), fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(());
        }
    }
    let _at_work = caught_up.enter(hub.clone());
    hub.host.state(BridgeState::Up);
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = take_up(hub) => Ok(()),
        () = look_around(hub, id) => Ok(()),
    }
}

/// Takes what other replicas have kept. Never returns.
async fn take_up(hub: &Hub) {
    loop {
        match pushes::take_up(hub).await {
            Ok(()) => hub.host.rung().await,
            Err(reason) => {
                tracing::warn!(reason, "what the homeserver has pushed cannot be taken up now; it is tried again");
                tokio::time::sleep(TAKE_UP_AGAIN).await;
            }
        }
    }
}

/// Looks whether the homeserver reaches us, and for what it may have failed to bring. Never returns.
async fn look_around(hub: &Hub, id: &str) {
    let mut problem = knock(hub, id, false).await;
    // A homeserver that took us for dead threw receipts away until it heard from us, so the next look comes soon.
    let mut rest = LOOK_AGAIN;
    loop {
        tokio::time::sleep(if problem { Duration::from_secs(5) } else { rest }).await;
        if let Err(reason) = catch_up(hub).await {
            tracing::info!(reason, "what may have been missed cannot be read now");
        }
        rest = if problem { LOOK_AGAIN } else { LOOK_EVERY };
        problem = knock(hub, id, problem).await;
    }
}

/// True when the homeserver says that it cannot reach us. `had_problem`: it said so the last time.
async fn knock(hub: &Hub, id: &str, had_problem: bool) -> bool {
    let fault = match hub.client.ping_appservice(id).await {
        Ok(()) => {
            // Only news is told: with each word that a bridge is up, what waits for it is tried at once.
            if had_problem {
                hub.host.state(BridgeState::Up);
            }
            return false;
        }
        Err(fault) => fault,
    };
    let reason = fault.to_string();
    let about_us = ["M_BAD_STATUS", "M_CONNECTION_FAILED", "M_CONNECTION_TIMEOUT", "M_URL_NOT_SET"]
        .iter()
        .any(|code| fault.is(code));
    if about_us {
        let reason = format!("the homeserver cannot reach us, so nothing comes in: {reason}");
        tracing::warn!(reason = reason.as_str(), "the appservice's ping failed");
        hub.host.state(BridgeState::Degraded { reason });
    } else {
        // It does not know the call, or the registration has another id than `appservice_id`, or it is away itself.
        tracing::debug!(reason = reason.as_str(), "the homeserver does not say whether it can reach us");
    }
    about_us
}

#[async_trait]
impl Bridge for Homeserver {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::cautious();
        capabilities.resend = Resend::Askable;
        // Who is in which room is in the memory of one. A connection of ours is that one's, too.
        capabilities.placement =
            if self.entrance().is_some() { Placement::EveryReplica } else { Placement::OneReplica };
        capabilities.text_bytes_max = render::TEXT_BYTES_MAX;
        capabilities.text_form = TextForm::Html;
        capabilities.attachments = Attachments::Native { bytes_max: self.upload_bytes_max.load(Ordering::Relaxed) };
        capabilities.receipts = Receipts::Read;
        capabilities.replies = true;
        capabilities.withdraw = true;
        capabilities.in_flight_max = IN_FLIGHT_MAX;
        capabilities
    }

    fn parts(&self, _thread: &ThreadId, reply: Reply) -> Vec<Part> {
        let mut reply_to = reply.reply_to;
        let texts = render::split(&reply.text, render::TEXT_BYTES_MAX);
        let mut parts: Vec<Part> =
            texts.into_iter().map(|text| Part::Text { text, reply_to: reply_to.take() }).collect();
        parts.extend(reply.attachments.into_iter().map(Part::Attachment));
        parts
    }

    async fn run(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        let Some(me) = self.enter(&host, &stop).await else { return Ok(()) };
        let (hub, ends) = self.open_hub(&host, me).await?;
        let _at_work = self.hub.enter(hub.clone());
        Box::pin(self.receive(hub, ends, stop)).await
    }

    async fn listen(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        let Some((appservice, listen, hs_token)) = self.entrance() else {
            stop.cancelled().await;
            return Ok(());
        };
        let listener = push::listen(listen).await.map_err(Fault::retry)?;
        host.state(BridgeState::Up);
        let us = (self.client.clone(), appservice.user.clone());
        let pushes = Arc::new(Pushes::new(&host, us, self.caught_up.clone()));
        push::serve(Taker::Pushes(pushes), listener, hs_token.clone(), stop).await;
        Ok(())
    }

    async fn send(&self, out: &Outbound) -> Result<Sent, Fault> {
        let hub = self.hub()?;
        sending::send(&hub, self.upload_bytes_max.load(Ordering::Relaxed), out).await
    }

    async fn probe(&self, out: &Outbound) -> Result<Option<Sent>, Fault> {
        sending::probe(&*self.hub()?, out).await
    }

    async fn open(&self, attachment: &Attachment) -> Result<File, Fault> {
        let media = MediaRef::parse(&attachment.url).ok_or_else(|| Fault::refused("the file has no usable address"))?;
        self.client.download(&media).await.map_err(|fault| match fault {
            CallFault::Limited { after } => Fault::retry_after(after, "the homeserver asks for a pause"),
            fault @ CallFault::Refused { .. } if !fault.may_pass() => Fault::refused(fault.to_string()),
            fault @ (CallFault::Refused { .. }
            | CallFault::Unreachable(_)
            | CallFault::Away { .. }
            | CallFault::Doubtful(_)) => Fault::retry(fault.to_string()),
        })
    }

    fn registration(&self) -> Result<String, Fault> {
        self.registration.clone().map_err(Fault::refused)
    }

    async fn examine(&self, how: Examination, findings: &Findings) {
        let name = self.name.as_str();
        Look { name, settings: &self.settings, client: &self.client, how, findings }.examine().await;
    }

    async fn typing(&self, thread: &ThreadId, typing: bool) {
        let Some(hub) = self.hub.hub() else { return };
        let (room, seen) = {
            let machine = hub.machine();
            let room = machine.rooms.place_of(&RoomId::of_thread(thread)).clone();
            let seen = machine.newest_of_theirs(&room);
            (room, seen)
        };
        hub.courtesy(Courtesy::Typing(room.clone(), typing));
        if let Some(seen) = seen.filter(|_| typing) {
            hub.courtesy(Courtesy::Read(room, seen));
        }
    }

    fn people(&self) -> Option<&'static str> {
        Some(machine::ROOM)
    }

    fn person(&self, cursor: &Cursor) -> Option<(Vec<String>, String)> {
        machine::person(cursor)
    }

    async fn forget(&self, cursors: &[String]) {
        if let Some(hub) = self.hub.hub() {
            hub.machine_mut().forget(cursors);
        }
    }

    fn landed(&self, event: &EventId, landing: Landing) {
        let Some(hub) = self.hub.hub() else { return };
        let reason = match landing {
            Landing::Done => None,
            Landing::Dead(reason) => Some(reason),
        };
        hub.news(News::Landed { event: EventRef::from(event.as_str()), reason });
    }
}
