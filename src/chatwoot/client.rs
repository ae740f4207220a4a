//! The way one request goes: bounded, to one origin only, never repeated, its answer read to a limit and sorted.
//!
//! The calls themselves stand beside this file, by concern. What the token may touch is decided here: it is set on
//! requests to the inbox's own origin and on nothing else.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bridge_api::{Secret, SettingsFault};
use reqwest::{
    Method, Response, Url,
    header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
    multipart::Form,
};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    exchange::{Answered, Asked, Exchange, Unanswered, exchanged},
    fault::{Answer, Call, CallFault, classify, unreadable},
    ids::{AccountId, InboxId},
    origin::{ClientSettings, checked, header_of},
    text,
    web::Web,
};

/// One API inbox. Cheap to clone; clones share their connections and the limit on requests at once.
#[derive(Clone, Debug)]
pub struct Client {
    way: Way,
    pub(super) file_origins: Arc<[Url]>,
    pub(super) base_url: Url,
    pub(super) account_id: AccountId,
    pub(super) inbox_id: InboxId,
    token: Arc<RwLock<HeaderValue>>,
    places: Arc<Semaphore>,
    download_places: Arc<Semaphore>,
    upload_places: Arc<Semaphore>,
    upload_queue: Arc<Semaphore>,
}

/// How requests travel.
#[derive(Clone, Debug)]
enum Way {
    Web(Web),
    Exchange { exchange: Arc<dyn Exchange>, limit: Duration },
}

/// The right to send files now. Asked for before a file is opened, so that none waits half read.
#[derive(Debug)]
#[expect(dead_code, reason = "held, never looked at")]
pub struct UploadPlace {
    place: OwnedSemaphorePermit,
    queue: Option<OwnedSemaphorePermit>,
}

/// The dashed form: nginx drops header names with underscores.
static TOKEN_HEADER: HeaderName = HeaderName::from_static("api-access-token");
/// Files under way at once.
const DOWNLOADS_MAX: usize = 2;
/// Messages with files under way at once. Not among the other requests: Puma takes a body in before it gives it one of
/// its threads, so that a slow file delays nobody there, and should not here.
const UPLOADS_MAX: usize = 2;
/// Those that may wait for their turn, so that no place stands empty.
const UPLOADS_WAITING_MAX: usize = 2;
/// The whole of one request with files.
const UPLOAD_LIMIT: Duration = Duration::from_mins(3);

impl Client {
    /// Builds the client; connects to nothing.
    pub fn new(settings: ClientSettings) -> Result<Self, SettingsFault> {
        let base_url = checked(settings.base_url)?;
        let token = header_of(&settings.api_access_token)?;
        let way = match settings.exchange {
            Some(exchange) => Way::Exchange { exchange, limit: settings.request_limit },
            None => Way::Web(Web::new(settings.request_limit, &settings.user_agent)?),
        };
        Ok(Self {
            way,
            file_origins: settings.file_origins.into(),
            base_url,
            account_id: settings.account_id,
            inbox_id: settings.inbox_id,
            token: Arc::new(RwLock::new(token)),
            places: Arc::new(Semaphore::new(settings.concurrency.max(1))),
            download_places: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            upload_places: Arc::new(Semaphore::new(UPLOADS_MAX)),
            upload_queue: Arc::new(Semaphore::new(UPLOADS_MAX + UPLOADS_WAITING_MAX)),
        })
    }

    /// From the next request on, of all clones.
    pub fn use_token(&self, token: &Secret) -> Result<(), SettingsFault> {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = header_of(token)?;
        Ok(())
    }

    fn token(&self) -> HeaderValue {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn account_id(&self) -> AccountId {
        self.account_id
    }

    pub fn inbox_id(&self) -> InboxId {
        self.inbox_id
    }

    /// Which inbox this is among all of all installations, in words.
    pub fn identity(&self) -> String {
        format!("{} account {} inbox {}", self.base_url, self.account_id, self.inbox_id)
    }

    /// A request below this inbox's account.
    pub(super) fn ask(&self, call: Call, method: Method, path: &str) -> Request<'_> {
        let account = self.account_id;
        self.ask_at(call, method, &format!("api/v1/accounts/{account}/{path}"))
    }

    /// Where agents see a conversation.
    pub fn conversation_page(&self, conversation: super::ids::ConversationId) -> Url {
        let mut url = self.base_url.clone();
        let base = self.base_url.path().trim_end_matches('/');
        url.set_path(&format!("{base}/app/accounts/{}/conversations/{conversation}", self.account_id));
        url
    }

    /// A request below the base address. `path` is ours: numbers, fixed words and encoded
    /// segments only.
    pub(super) fn ask_at(&self, call: Call, method: Method, path: &str) -> Request<'_> {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}/{path}", self.base_url.path().trim_end_matches('/')));
        Request { client: self, call, method, url, body: Body::Empty, with_token: true, bytes_max: ANSWER_BYTES_MAX }
    }

    /// `None` in a simulation.
    pub(super) fn web(&self) -> Option<&Web> {
        match &self.way {
            Way::Web(web) => Some(web),
            Way::Exchange { .. } => None,
        }
    }

    /// Downloads are long: they have places of their own, so that messages never wait for files.
    pub(super) async fn download_place(&self) -> OwnedSemaphorePermit {
        place(&self.download_places).await
    }

    /// Waits until files may be sent.
    pub async fn upload_place(&self) -> UploadPlace {
        UploadPlace { place: place(&self.upload_places).await, queue: None }
    }

    /// The same, unless some wait already: `None` at once.
    pub async fn upload_place_soon(&self) -> Option<UploadPlace> {
        let queue = Arc::clone(&self.upload_queue).try_acquire_owned().ok()?;
        Some(UploadPlace { place: place(&self.upload_places).await, queue: Some(queue) })
    }
}

async fn place(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed")
}

/// Largest answer of most calls. A conversation shows its last message twice, 150 000 characters of up to six bytes each.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Largest answer of a list: a hundred of the longest messages, three bytes a character, and room to spare. Less would
/// leave a conversation of long mails that can never be looked through.
pub(super) const LIST_BYTES_MAX: usize = 64 << 20;

enum Body {
    Empty,
    Json(Value),
    Form(Form, UploadPlace),
}

impl Body {
    fn into_json(self, call: Call) -> Result<Option<Value>, CallFault> {
        match self {
            Self::Empty => Ok(None),
            Self::Json(body) => Ok(Some(body)),
            Self::Form(..) => Err(CallFault::Invalid { reason: format!("could not {}: no files here", call.words()) }),
        }
    }
}

/// As it stands in a request's first line.
fn target(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

/// One request being put together. It is consumed by sending: nothing here can send twice.
pub(super) struct Request<'a> {
    client: &'a Client,
    call: Call,
    method: Method,
    url: Url,
    body: Body,
    with_token: bool,
    bytes_max: usize,
}

impl Request<'_> {
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    pub(super) fn json(mut self, body: Value) -> Self {
        self.body = Body::Json(text::storable(body));
        self
    }

    pub(super) fn form(mut self, form: Form, place: UploadPlace) -> Self {
        self.body = Body::Form(form, place);
        self
    }

    pub(super) fn without_token(mut self) -> Self {
        self.with_token = false;
        self
    }

    pub(super) fn up_to(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Sends and reads the answer as `T`.
    pub(super) async fn read<T: DeserializeOwned>(self) -> Result<T, CallFault> {
        let call = self.call;
        self.send().await?.accept(call)?.parse(call)
    }

    /// Sends; a record of any shape will do. A login page with status 200 says that nothing was done.
    pub(super) async fn recorded(self) -> Result<(), CallFault> {
        self.read::<IgnoredAny>().await.map(drop)
    }

    /// Sends; any 2xx will do, since the call answers with nothing.
    pub(super) async fn done(self) -> Result<(), CallFault> {
        let call = self.call;
        self.send().await?.accept(call).map(drop)
    }

    /// Sends and returns whatever came back. Waiting for a place is not part of the request's limit.
    pub(super) async fn send(self) -> Result<Reply, CallFault> {
        let Self { client, call, method, url, body, with_token, bytes_max } = self;
        let _place = match &body {
            Body::Form(..) => None,
            Body::Empty | Body::Json(_) => Some(place(&client.places).await),
        };
        let web = match &client.way {
            Way::Web(web) => web,
            Way::Exchange { exchange, limit } => {
                let asked = Asked { method, target: target(&url), body: body.into_json(call)?, with_token };
                let answered = exchanged(&**exchange, *limit, asked).await;
                return Reply::exchanged(call, answered, bytes_max);
            }
        };
        let mut request = web.inside.request(method, url).header(ACCEPT, "application/json");
        if with_token {
            request = request.header(&TOKEN_HEADER, client.token());
        }
        let mut _upload_place = None;
        request = match body {
            Body::Empty => request,
            Body::Json(body) => request.json(&body),
            Body::Form(form, place) => {
                _upload_place = Some(place);
                request.timeout(UPLOAD_LIMIT).multipart(form)
            }
        };
        let response = request.send().await.map_err(|fault| not_answered(call, &fault))?;
        Reply::read(call, response, bytes_max).await
    }
}

/// Before a connection stood, nothing can have happened; after that, anything can.
fn not_answered(call: Call, fault: &reqwest::Error) -> CallFault {
    if fault.is_builder() || fault.is_connect() {
        let why = if fault.is_timeout() { "did not take the connection in time" } else { "cannot be reached" };
        return CallFault::NotSent { reason: format!("could not {}: chatwoot {why} ({})", call.words(), root(fault)) };
    }
    broken_off(call, if fault.is_timeout() { Unanswered::Late } else { Unanswered::Cut })
}

fn broken_off(call: Call, unanswered: Unanswered) -> CallFault {
    let words = call.words();
    let why = match unanswered {
        Unanswered::NotSent => {
            return CallFault::NotSent { reason: format!("could not {words}: chatwoot cannot be reached") };
        }
        Unanswered::Cut => "closed the connection before it answered",
        Unanswered::Late => "did not answer in time",
    };
    CallFault::Doubtful { call, reason: format!("may not have managed to {words}: chatwoot {why}") }
}

/// The innermost cause: the outer ones repeat the address.
fn root(fault: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = fault;
    while let Some(source) = inner.source() {
        inner = source;
    }
    text::shown(&inner.to_string())
}

/// An answer, read whole.
pub(super) struct Reply {
    pub(super) status: u16,
    content_type: String,
    retry_after: Option<String>,
    location: Option<String>,
    date: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) async fn read(call: Call, mut response: Response, bytes_max: usize) -> Result<Self, CallFault> {
        let (status, headers) = (response.status().as_u16(), response.headers());
        let request_id = header(headers, &REQUEST_ID).unwrap_or_default();
        tracing::debug!(call = call.words(), status, request_id, "chatwoot answered");
        let mut reply = Self {
            status,
            content_type: header(headers, &CONTENT_TYPE).unwrap_or_default(),
            retry_after: header(headers, &RETRY_AFTER),
            location: header(headers, &LOCATION),
            date: header(headers, &DATE),
            body: Vec::new(),
        };
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(reply),
                // The status was definite; a reason cut short does not make a refusal less of one.
                Err(_) if !reply.is_success() => return Ok(reply),
                Err(fault) => return Err(not_answered(call, &fault)),
            };
            if reply.body.len() + chunk.len() > bytes_max {
                return Err(too_long(call, bytes_max));
            }
            reply.body.extend_from_slice(&chunk);
        }
    }

    fn exchanged(call: Call, answered: Result<Answered, Unanswered>, bytes_max: usize) -> Result<Self, CallFault> {
        let Answered { status, content_type, retry_after, body } = answered.map_err(|why| broken_off(call, why))?;
        if body.len() > bytes_max {
            return Err(too_long(call, bytes_max));
        }
        Ok(Self { status, content_type, retry_after, location: None, date: None, body })
    }

    /// Itself when 2xx, else the fault.
    pub(super) fn accept(self, call: Call) -> Result<Self, CallFault> {
        if self.is_success() { Ok(self) } else { Err(classify(call, &self.as_answer())) }
    }

    /// The body as `T`, by its content type first: a login page is no answer.
    pub(super) fn parse<T: DeserializeOwned>(&self, call: Call) -> Result<T, CallFault> {
        if !self.as_answer().is_json() {
            return Err(unreadable(call, &self.as_answer()));
        }
        serde_json::from_slice(&self.body).map_err(|fault| {
            tracing::debug!(call = call.words(), ?fault, "an answer did not have the known shape");
            unreadable(call, &self.as_answer())
        })
    }

    /// Unix milliseconds of the `Date` header.
    pub(super) fn date_millis(&self) -> Option<i64> {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(self.date.as_deref()?.trim());
        date.ok().map(jiff::Timestamp::as_millisecond)
    }

    fn as_answer(&self) -> Answer<'_> {
        Answer {
            status: self.status,
            content_type: &self.content_type,
            retry_after: self.retry_after.as_deref(),
            location: self.location.as_deref(),
            body: &self.body,
        }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

fn too_long(call: Call, bytes_max: usize) -> CallFault {
    let reason = format!("could not {}: the answer is over {bytes_max} bytes", call.words());
    CallFault::Doubtful { call, reason }
}

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
