//! A trivial inbox on a thread of its own: answers every call with the least that is valid, counts
//! messages, and holds each conversation to its order and each message to coming once.

use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::wait;

/// From this number on, conversations are the baseline's: their messages come in any order.
pub(crate) const UNORDERED: u64 = 1_000_000_000;

pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    /// Texts that say when they were written count from here.
    pub(crate) begun: Instant,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    messages: AtomicU64,
    wrong: AtomicU64,
    /// How long messages took that say when they were written.
    times: Mutex<Vec<Duration>>,
}

/// What the calls have made. One thread, so no locks.
#[derive(Default)]
struct Made {
    /// By `source_id`.
    contacts: HashMap<String, u64>,
    /// The last line of each conversation.
    lines: HashMap<u64, u64>,
    /// Number and source id of the last message of each: one at a time is under way, so nobody asks for more.
    last: HashMap<u64, (u64, String)>,
}

impl Made {
    fn last(&self, conversation: u64) -> String {
        self.last.get(&conversation).map(|(id, source_id)| shown(*id, conversation, "", source_id)).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Posted<'a> {
    /// Ends in the number of the line within its conversation, from 1 on.
    /// Begins with `at` and the microseconds of its moment where its time is taken.
    content: &'a str,
    source_id: &'a str,
    private: bool,
}

#[derive(Deserialize)]
struct NewContact {
    source_id: String,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        Self::thinking(Duration::ZERO)
    }

    /// Lets so much time pass before each answer.
    pub(crate) fn thinking(thinks: Duration) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let (theirs, begun) = (seen.clone(), Instant::now());
        std::thread::spawn(move || serve(listener, theirs, begun, thinks));
        Self { address, begun, seen }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.seen.messages.load(Ordering::Acquire)
    }

    /// Messages that came twice or out of order.
    pub(crate) fn wrong(&self) -> u64 {
        self.seen.wrong.load(Ordering::Acquire)
    }

    /// How long those took that said when they were written, since the last question.
    pub(crate) fn times(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.seen.times.lock().expect("nobody panics over it"))
    }

    /// Blocks until there are so many; returns when.
    pub(crate) fn wait_for(&self, messages: u64) -> Instant {
        let what = || format!("{messages} messages; {} came", self.messages());
        wait::until(Duration::from_millis(1), what, || (self.messages() >= messages).then(Instant::now))
    }
}

fn serve(listener: std::net::TcpListener, seen: Arc<Seen>, begun: Instant, thinks: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let made = Rc::new(RefCell::new(Made::default()));
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async move {
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket");
            let (made, seen) = (made.clone(), seen.clone());
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| {
                    let (made, seen) = (made.clone(), seen.clone());
                    async move {
                        if !thinks.is_zero() {
                            tokio::time::sleep(thinks).await;
                        }
                        answer(request, made, seen, begun).await
                    }
                });
                // A client that hangs up has had what it wanted.
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    made: Rc<RefCell<Made>>,
    seen: Arc<Seen>,
    begun: Instant,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path().strip_prefix("/api/v1/accounts/1/").unwrap_or_default();
    let (status, text) = match path.split('/').collect::<Vec<_>>()[..] {
        // A gateway on a slow machine may have waited too long for an answer, and asks what is there.
        ["conversations", number, "messages"] if head.method == hyper::Method::GET => {
            (StatusCode::OK, format!(r#"{{"meta":{{}},"payload":[{}]}}"#, made.borrow().last(number_of(number))))
        }
        ["conversations", number, "messages"] => {
            (StatusCode::OK, message(number_of(number), &body, &made, &seen, begun))
        }
        ["conversations", _, "messages", _] => (StatusCode::OK, "{}".to_owned()),
        ["inboxes", _] => (StatusCode::OK, r#"{"id":7,"channel_type":"Channel::Api"}"#.to_owned()),
        ["contact_inboxes", "filter"] => return Ok(respond(StatusCode::NOT_FOUND, String::new())),
        ["contacts"] => (StatusCode::OK, contact(&body, &mut made.borrow_mut())),
        ["conversations"] if head.method == hyper::Method::GET => {
            (StatusCode::OK, r#"{"data":{"payload":[]}}"#.to_owned())
        }
        ["conversations"] => (StatusCode::OK, conversation(&body, &made.borrow())),
        _ => (StatusCode::NOT_FOUND, r#"{"error":"not in this inbox"}"#.to_owned()),
    };
    Ok(respond(status, text))
}

fn respond(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

fn message(conversation: u64, body: &[u8], made: &RefCell<Made>, seen: &Seen, begun: Instant) -> String {
    let posted: Posted<'_> = serde_json::from_slice(body).expect("a message");
    if conversation < UNORDERED && !posted.private {
        let line = posted.content.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let last = made.borrow_mut().lines.insert(conversation, line).unwrap_or(0);
        if line != last + 1 {
            seen.wrong.fetch_add(1, Ordering::AcqRel);
        }
    }
    let moment = posted.content.strip_prefix("at ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    if let Some(moment) = moment {
        let took = begun.elapsed().saturating_sub(Duration::from_micros(moment));
        seen.times.lock().expect("nobody panics over it").push(took);
    }
    // Notes are beside what is counted.
    let id = seen.messages.fetch_add(u64::from(!posted.private), Ordering::AcqRel) + 1;
    if conversation < UNORDERED {
        made.borrow_mut().last.insert(conversation, (id, posted.source_id.to_owned()));
    }
    shown(id, conversation, posted.content, posted.source_id)
}

fn number_of(word: &str) -> u64 {
    word.parse().expect("a number")
}

fn shown(id: u64, conversation: u64, content: &str, source_id: &str) -> String {
    format!(
        r#"{{"id":{id},"content":"{content}","inbox_id":7,"conversation_id":{conversation},"message_type":0,"content_type":"text","status":"sent","content_attributes":{{}},"created_at":1781946902,"private":false,"source_id":"{source_id}","sender":{{"additional_attributes":{{}},"custom_attributes":{{}},"email":null,"id":501,"identifier":"net/a:peer","name":"peer","phone_number":null,"thumbnail":"","blocked":false,"type":"contact"}}}}"#
    )
}

fn contact(body: &[u8], made: &mut Made) -> String {
    let new: NewContact = serde_json::from_slice(body).expect("a contact");
    let next = made.contacts.len() as u64 + 1;
    let id = *made.contacts.entry(new.source_id.clone()).or_insert(next);
    let source_id = new.source_id;
    format!(
        r#"{{"payload":{{"contact":{{"id":{id},"name":"peer","contact_inboxes":[]}},"contact_inbox":{{"source_id":"{source_id}","inbox":{{"id":7}}}}}}}}"#
    )
}

/// A contact's conversation has the contact's number.
fn conversation(body: &[u8], made: &Made) -> String {
    let new: NewContact = serde_json::from_slice(body).expect("a conversation");
    let id = made.contacts.get(&new.source_id).copied().unwrap_or(0);
    format!(r#"{{"id":{id},"inbox_id":7,"account_id":1,"status":"open","messages":[]}}"#)
}
