//! What a homeserver pushes, to whichever replica: handled at once where the bridge runs and has caught up, and otherwise
//! kept for whoever runs it. Either way in one order, since a homeserver sends one transaction after another.

use bridge_api::{AcceptError, Cursor, Host, Spool, Spooled, async_trait};
use bytes::Bytes;

use super::routes::Callee;
use crate::{
    client::Client,
    hub::{Here, Hub},
    ids::UserId,
    wire::{Transaction, read_body},
};

/// Prefixes of the cursors that stand for transactions in the spool, and of those that hold them.
const SPOOL: &str = "push/";
const TEXT: &str = "pushed/";
/// Transactions that wait there, nearly: a homeserver keeps what is refused, and comes again. Whoever begins to run the
/// bridge reads all of them at once.
const WAITING_MAX: usize = 1000;
/// What is taken up at once.
const AT_ONCE_MAX: usize = 100;
const BYTES_AT_ONCE: usize = 8 << 20;

/// The entrance of one replica.
pub(crate) struct Pushes {
    spool: Spool,
    client: Client,
    user: UserId,
    here: Here,
}

impl Pushes {
    /// `here`: where the bridge is found if it runs in this process.
    pub(crate) fn new(host: &Host, (client, user): (Client, UserId), here: Here) -> Self {
        Self { spool: Spool::new(host, SPOOL, WAITING_MAX), client, user, here }
    }
}

#[async_trait]
impl Callee for Pushes {
    fn user(&self) -> &UserId {
        &self.user
    }
    fn client(&self) -> &Client {
        &self.client
    }
    async fn take(&self, transaction: Transaction, body: Bytes) -> Result<(), String> {
        if let Some(hub) = self.here.hub() {
            match take_behind(&hub, transaction).await {
                Ok(()) => return Ok(()),
                // It may just be leaving; what it has kept all the same is not taken twice.
                Err(reason) => tracing::debug!(reason, "a transaction is kept for later"),
            }
        }
        if self.spool.is_full().await {
            return Err("too many transactions wait".to_owned());
        }
        // Odd bytes in what nobody reads must not keep a homeserver from ever bringing anything else.
        let text = String::from_utf8_lossy(&body).into_owned();
        self.spool.put(text, TEXT).await.map_err(|error| error.to_string())
    }
}

/// Takes a transaction once all that came before it was taken.
async fn take_behind(hub: &Hub, transaction: Transaction) -> Result<(), String> {
    // A homeserver waits for each answer, so that nobody stands in line here.
    let _turn = hub.pushes.lock().await;
    take_all(hub).await?;
    hub.take(transaction).await
}

/// Takes what waits in the spool.
pub(crate) async fn take_up(hub: &Hub) -> Result<(), String> {
    let _turn = hub.pushes.lock().await;
    take_all(hub).await
}

async fn take_all(hub: &Hub) -> Result<(), String> {
    let waiting = Spooled::all(&hub.host, SPOOL).await.map_err(|error| error.to_string())?;
    let (mut transaction, mut taken, mut bytes) = (Transaction::default(), Vec::new(), 0);
    for Spooled { id, .. } in waiting {
        let text = kept(&hub.host, id.as_str()).await.map_err(|error| error.to_string())?;
        // It could be read when it came.
        let more = read_body(text.as_bytes()).unwrap_or_else(|_| {
            tracing::error!(cursor = id.as_str(), "a transaction that was kept is damaged");
            Transaction::default()
        });
        transaction.events.extend(more.events);
        transaction.ephemeral.extend(more.ephemeral);
        taken.extend([SPOOL, TEXT].map(|prefix| Cursor::remove(format!("{prefix}{id}"))));
        bytes += text.len();
        if taken.len() >= 2 * AT_ONCE_MAX || bytes >= BYTES_AT_ONCE {
            hub.take_with(std::mem::take(&mut transaction), std::mem::take(&mut taken)).await?;
            bytes = 0;
        }
    }
    if taken.is_empty() { Ok(()) } else { hub.take_with(transaction, taken).await }
}

async fn kept(host: &Host, id: &str) -> Result<String, AcceptError> {
    let name = format!("{TEXT}{id}");
    let found = host.cursors(&name).await?.into_iter().find(|cursor| cursor.name == name);
    Ok(found.and_then(|cursor| cursor.value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bridge_api::{Secret, kit::RecordingHost};
    use reqwest::Url;

    use super::*;
    use crate::receive::routes::answer;

    const PATH: &str = "/_matrix/app/v1/transactions/1";

    fn pushes(recording: &std::sync::Arc<RecordingHost>) -> Pushes {
        let homeserver = Url::parse("http://127.0.0.1:9").unwrap();
        let client = Client::new(homeserver, &Secret::new("token"), None).unwrap();
        Pushes::new(&recording.host("chat"), (client, UserId::from("@desk:x.test")), Here::default())
    }

    #[tokio::test]
    async fn what_is_pushed_where_nobody_runs_the_bridge_is_kept_before_it_is_acknowledged() {
        let recording = RecordingHost::new();
        let pushes = pushes(&recording);
        let body = |number: u32| Bytes::from(format!("{{\"events\":[],\"number\":{number}}}"));
        for number in [1, 2] {
            assert_eq!(answer(&pushes, "PUT", PATH, body(number)).await.0, 200);
        }
        let host = recording.host("chat");
        let mut kept = Vec::new();
        for Spooled { id, .. } in Spooled::all(&host, SPOOL).await.unwrap() {
            kept.push(super::kept(&host, id.as_str()).await.unwrap());
        }
        assert_eq!(kept, [body(1), body(2)]);
        host.rung().await;
        let odd = Bytes::from_static(b"{\"events\":[],\"odd\":\"\xff\"}");
        assert_eq!(answer(&pushes, "PUT", PATH, odd).await.0, 200);
        recording.recorded().refuses = true;
        assert_eq!(answer(&pushes, "PUT", PATH, body(3)).await.0, 503);
        assert_eq!(answer(&pushes, "PUT", PATH, Bytes::from_static(b"no transaction")).await.0, 400);
        assert_eq!(recording.recorded().cursors.len(), 2 * 3);
    }

    #[tokio::test]
    async fn a_homeserver_is_put_off_where_too_much_waits() {
        let recording = RecordingHost::new();
        let waiting = (0..WAITING_MAX).map(|number| Cursor::set(format!("{SPOOL}{number}"), format!("{number} ")));
        recording.host("chat").save_cursors(waiting.collect()).await.unwrap();
        assert_eq!(answer(&pushes(&recording), "PUT", PATH, Bytes::from_static(b"{}")).await.0, 503);
    }
}
