//! The one place where transactions are handled, however they come: asks what must be asked, lets the machine
//! judge, hands the result to the host, and only then lets anybody acknowledge. Everything that changes what is
//! known of rooms goes through here, one after another.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bridge_api::Cursor;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use crate::{
    catch_up::beginning,
    client::Profile,
    duties::{self, Performed},
    hub::{Change, Courtesy, Hub, Input, News},
    ids::{EventRef, RoomId, UserId},
    machine::{Answers, Duty, Found, Room, Staged, Standing, Wants, Why},
    wire::{Event, Transaction},
};

/// Questions to the homeserver must not hold a transaction up for longer: what is not known by then is done without.
const ASK_LIMIT: Duration = Duration::from_secs(2);
const ASKS_AT_ONCE: usize = 16;
/// How far back it is looked for what somebody has read.
const HISTORY_PAGE: usize = 100;
/// What is handed to the host at once.
const EVENTS_AT_ONCE: usize = 500;
const DUTIES_AT_ONCE: usize = 16;
const COURTESIES_AT_ONCE: usize = 16;
/// Typing that nobody confirms is over after this time, since servers do not say so.
const TYPING_LIMIT: Duration = Duration::from_secs(30);
const AGAIN_FIRST: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_mins(5);

pub(crate) struct Desk {
    hub: Arc<Hub>,
    inputs: mpsc::Receiver<Input>,
    duties: JoinSet<(RoomId, Duty, Performed)>,
    /// Rooms with a duty under way or waiting for its next try.
    busy: HashSet<RoomId>,
    queue: VecDeque<(RoomId, Duty)>,
    again: HashMap<RoomId, Again>,
    courtesies: JoinSet<()>,
    typing: HashMap<RoomId, Instant>,
}

struct Again {
    at: Instant,
    pause: Duration,
    /// Its next try is not under way.
    waits: bool,
}

type Done = oneshot::Sender<Result<(), String>>;

impl Desk {
    pub(crate) fn new(hub: Arc<Hub>, inputs: mpsc::Receiver<Input>) -> Self {
        Self {
            hub,
            inputs,
            duties: JoinSet::new(),
            busy: HashSet::new(),
            queue: VecDeque::new(),
            again: HashMap::new(),
            courtesies: JoinSet::new(),
            typing: HashMap::new(),
        }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(mut self) {
        let open = self.hub.machine().rooms.duties();
        for (room, duty) in open {
            self.enlist(room, duty);
        }
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            self.begin_duties();
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.work(input).await,
                    None => return,
                },
                Some(performed) = self.duties.join_next() => {
                    if let Ok((room, duty, performed)) = performed {
                        self.performed(room, duty, performed).await;
                    }
                }
                Some(_) = self.courtesies.join_next() => {}
                _ = tick.tick() => self.look_at_the_clock(),
            }
        }
    }

    /// Takes whatever else waits along, since one sync of the disk serves all of it.
    async fn work(&mut self, first: Input) {
        let (mut transaction, mut cursors) = (Transaction::default(), Vec::new());
        let mut waiting: Vec<Done> = Vec::new();
        let mut next = Some(first);
        while let Some(input) = next.take() {
            match input {
                Input::Transaction { transaction: more, cursors: with, done } => {
                    cursors.extend(with);
                    transaction.events.extend(more.events);
                    transaction.ephemeral.extend(more.ephemeral);
                    waiting.push(done);
                }
                Input::Courtesy(courtesy) => self.courtesy(courtesy),
                Input::Change { change, done } => {
                    // In the order of arrival: what came before goes first.
                    let before = (std::mem::take(&mut transaction), std::mem::take(&mut cursors));
                    self.transaction(before, &mut waiting).await;
                    let kept = self.change(change).await;
                    drop(done.send(kept));
                }
            }
            if transaction.events.len() < EVENTS_AT_ONCE {
                next = self.inputs.try_recv().ok();
            }
        }
        self.transaction((transaction, cursors), &mut waiting).await;
    }

    async fn transaction(&mut self, (transaction, cursors): (Transaction, Vec<Cursor>), waiting: &mut Vec<Done>) {
        if waiting.is_empty() {
            return;
        }
        let wants = self.hub.machine().wants(&transaction);
        let (answers, mut before) = ask(&self.hub, wants).await;
        let mut transaction = transaction;
        if !before.is_empty() {
            before.append(&mut transaction.events);
            transaction.events = before;
        }
        let staged = self.hub.machine().take(transaction, &answers, now_millis());
        let kept = self.keep(staged, cursors).await;
        for done in waiting.drain(..) {
            drop(done.send(kept.clone()));
        }
    }

    /// And `more` cursors.
    async fn keep(&mut self, mut staged: Staged, more: Vec<Cursor>) -> Result<(), String> {
        let mut cursors = staged.cursors();
        cursors.extend(more);
        let inbound = std::mem::take(&mut staged.inbound);
        if !inbound.is_empty() || !cursors.is_empty() {
            self.hub.host.accept(inbound, cursors).await.map_err(|error| error.to_string())?;
        }
        let duties: Vec<_> = staged.rooms.iter().filter_map(|(id, room)| Some((id.clone(), room.duty()?))).collect();
        let typing = std::mem::take(&mut staged.typing);
        let checkpoints = std::mem::take(&mut staged.checkpoints);
        self.hub.machine_mut().commit(staged);
        for (room, thread, is_typing) in typing {
            self.hub.host.typing(&thread, is_typing);
            if is_typing {
                self.typing.insert(room, Instant::now() + TYPING_LIMIT)
            } else {
                self.typing.remove(&room)
            };
        }
        if !checkpoints.is_empty() {
            self.hub.news(News::Taken(checkpoints));
        }
        for (room, duty) in duties {
            self.enlist(room, duty);
        }
        Ok(())
    }

    async fn change(&mut self, change: Change) -> Result<(), String> {
        let mut staged = Staged::default();
        {
            let machine = self.hub.machine();
            let mut room = |id: &RoomId, with: &mut dyn FnMut(&mut Room)| {
                let known = || machine.rooms.get(id).cloned().unwrap_or_default();
                with(staged.rooms.entry(id.clone()).or_insert_with(known));
            };
            match change {
                // Whatever became of us there since is newer.
                Change::Joined(id) => room(&id, &mut |room| {
                    if matches!(room.standing, Standing::Invited { .. }) {
                        room.standing = Standing::Joined;
                    }
                }),
                Change::ReadBack(id) => room(&id, &mut |room| room.read_back = true),
                Change::Out(id, why) => room(&id, &mut |room| {
                    let invited_again = matches!(room.standing, Standing::Invited { .. }) && why != Why::Left;
                    if !invited_again && !matches!(room.standing, Standing::Out(_)) {
                        room.standing = Standing::Out(why);
                    }
                }),
                Change::Told(id) => room(&id, &mut |room| room.told = true),
                Change::Reinvited(id) => room(&id, &mut |room| room.reinvited = true),
                Change::Settled { room: id, encrypted, too_large, peer } => room(&id, &mut |room| {
                    room.settled = true;
                    room.encrypted |= encrypted;
                    if room.peer.is_none() {
                        room.peer.clone_from(&peer);
                    }
                    if too_large {
                        room.standing = Standing::Leaving(Why::TooLarge);
                    }
                }),
                Change::Placed { base, to, peer, told } => {
                    room(&to, &mut |room| {
                        room.peer = Some(peer.clone());
                        (room.settled, room.read_back) = (true, true);
                    });
                    if let Some(told) = told {
                        room(&told, &mut |room| room.told = true);
                    }
                    staged.places.insert(base, to);
                }
                Change::Moved { from, to } => {
                    let known = machine.rooms.get(&from).cloned().unwrap_or_default();
                    room(&to, &mut |room| {
                        room.peer.clone_from(&known.peer);
                        (room.settled, room.read_back) = (true, true);
                        room.standing = Standing::Joined;
                    });
                    room(&from, &mut |room| {
                        room.replaced_by = None;
                        room.standing = Standing::Leaving(Why::Moved);
                    });
                    staged.places.insert(machine.rooms.base_of(&from).clone(), to);
                }
            }
        }
        self.keep(staged, Vec::new()).await
    }

    fn enlist(&mut self, room: RoomId, duty: Duty) {
        if self.busy.insert(room.clone()) {
            self.queue.push_back((room, duty));
        }
    }

    fn begin_duties(&mut self) {
        while self.duties.len() < DUTIES_AT_ONCE
            && let Some((room, duty)) = self.queue.pop_front()
        {
            let hub = self.hub.clone();
            self.duties.spawn(async move {
                let performed = duties::perform(&hub, &room, &duty).await;
                (room, duty, performed)
            });
        }
    }

    /// What is done may be followed by the room's next duty. What failed is tried again, less and less often.
    async fn performed(&mut self, room: RoomId, duty: Duty, performed: Performed) {
        let failed = match performed {
            Performed::Done(change) => {
                self.busy.remove(&room);
                match self.change(change).await {
                    Ok(()) => {
                        self.again.remove(&room);
                        return;
                    }
                    Err(reason) => reason,
                }
            }
            Performed::Later(reason) => reason,
        };
        let pause = self.again.get(&room).map_or(AGAIN_FIRST, |again| (again.pause * 2).min(AGAIN_MAX));
        tracing::info!(room = room.as_str(), duty = ?duty, reason = failed.as_str(), "something about a room is tried again later");
        self.busy.insert(room.clone());
        let at = Instant::now() + pause.mul_f64(0.75 + fastrand::f64() / 2.0);
        self.again.insert(room, Again { at, pause, waits: true });
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        let (hub, busy, queue) = (&self.hub, &mut self.busy, &mut self.queue);
        self.again.retain(|room, again| {
            if !again.waits || again.at > now {
                return true;
            }
            again.waits = false;
            // The room may want something else by now, or nothing.
            let duty = hub.machine().rooms.get(room).and_then(Room::duty);
            match duty {
                Some(duty) => queue.push_back((room.clone(), duty)),
                None => drop(busy.remove(room)),
            }
            busy.contains(room)
        });
        let over: Vec<RoomId> =
            self.typing.iter().filter(|(_, at)| **at <= now).map(|(room, _)| room.clone()).collect();
        for room in over {
            self.typing.remove(&room);
            let thread = self.hub.machine_mut().stop_typing(&room);
            if let Some(thread) = thread {
                self.hub.host.typing(&thread, false);
            }
        }
    }

    fn courtesy(&mut self, courtesy: Courtesy) {
        if self.courtesies.len() >= COURTESIES_AT_ONCE {
            return;
        }
        let hub = self.hub.clone();
        self.courtesies.spawn(async move {
            let shown = match courtesy {
                Courtesy::Typing(room, typing) => hub.client.type_in(&room, &hub.me.user, typing).await,
                Courtesy::Read(room, event) => hub.client.mark_read(&room, &event).await,
                Courtesy::Picture(agent) => {
                    if let Some(ghosts) = &hub.ghosts {
                        ghosts.picture(&hub.client, &hub.host, &agent).await;
                    }
                    Ok(())
                }
            };
            if let Err(fault) = shown {
                tracing::debug!(fault = fault.to_string(), "a courtesy was not shown");
            }
        });
    }
}

/// One answer of the homeserver.
enum Answer {
    Profile(UserId, Profile),
    Event(EventRef, Found),
    Beginning(RoomId, Vec<Event>),
    History(RoomId, Vec<Event>),
}

/// Whatever is answered in time, and what was written in rooms before we came in.
async fn ask(hub: &Hub, wants: Wants) -> (Answers, Vec<Event>) {
    let (mut answers, mut before) = (Answers::default(), Vec::new());
    if wants == Wants::default() {
        return (answers, before);
    }
    let beginnings = wants.entered.into_iter().map(|room| beginning_of(hub, room).boxed());
    let profiles = wants.profiles.into_iter().map(|user| profile_of(hub, user).boxed());
    let events = wants.events.into_iter().map(|(room, event)| event_of(hub, room, event).boxed());
    let histories = wants.histories.into_iter().map(|room| history_of(hub, room).boxed());
    let questions: Vec<_> = beginnings.chain(profiles).chain(events).chain(histories).collect();
    let mut answering = stream::iter(questions).buffer_unordered(ASKS_AT_ONCE);
    let collecting = async {
        while let Some(answer) = answering.next().await {
            match answer {
                Some(Answer::Profile(user, profile)) => drop(answers.profiles.insert(user, profile)),
                Some(Answer::Event(event, found)) => drop(answers.events.insert(event, found)),
                Some(Answer::History(room, events)) => drop(answers.histories.insert(room, events)),
                Some(Answer::Beginning(room, events)) => {
                    before.extend(events);
                    answers.entered.insert(room);
                }
                None => {}
            }
        }
    };
    if tokio::time::timeout(ASK_LIMIT, collecting).await.is_err() {
        tracing::info!("the homeserver did not answer questions in time; they are done without");
    }
    (answers, before)
}

async fn beginning_of(hub: &Hub, room: RoomId) -> Option<Answer> {
    let events = beginning(hub, &room).await.ok()?;
    Some(Answer::Beginning(room, events))
}

async fn history_of(hub: &Hub, room: RoomId) -> Option<Answer> {
    let mut events = hub.client.history(&room, (None, None), HISTORY_PAGE).await.ok()?.events;
    events.reverse();
    Some(Answer::History(room, events))
}

async fn profile_of(hub: &Hub, user: UserId) -> Option<Answer> {
    let profile = hub.client.profile(&user).await.ok()?;
    Some(Answer::Profile(user, profile))
}

async fn event_of(hub: &Hub, room: RoomId, event: EventRef) -> Option<Answer> {
    let found = hub.client.event(&room, &event).await.ok()?;
    Some(Answer::Event(event, found.map_or(Found::Absent, |found| Found::Event(Box::new(found)))))
}

#[expect(clippy::disallowed_methods, reason = "the desk is where the machine's time comes from")]
pub(crate) fn now_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as i64)
}
