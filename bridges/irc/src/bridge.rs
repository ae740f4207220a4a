//! The gateway's side: `Kind` and `Bridge` over the driver. Holds no protocol.

use std::{
    net::IpAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bridge_api::{
    Bridge, BridgeName, Caller, CancellationToken, Capabilities, Cursor, Examination, Fault, Findings, Host, Kind,
    Outbound, Part, Peer, Reply, Sent, SettingsFault, ThreadId,
};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    driver::{Call, Driver, Forget, Verb},
    examine::{Limits, examine},
    machine,
    settings::Settings,
    tls,
    view::View,
};

/// The kind `irc`.
#[derive(Debug)]
pub struct Irc;

impl Kind for Irc {
    const NAME: &'static str = "irc";
    type Settings = Settings;

    fn build(name: BridgeName, settings: Settings) -> Result<Arc<dyn Bridge>, SettingsFault> {
        settings.check()?;
        if let Some(files) = settings.tls.files() {
            tls::client_config(files)?;
        }
        let settings = Arc::new(settings);
        let (calls, received) = mpsc::channel(CALLS_MAX);
        let (forgets, forgotten) = mpsc::channel(1);
        let driver = Driver::new(settings.clone(), received, forgotten);
        let view = Arc::new(RwLock::new(driver.view()));
        let (runs, driver) = (AtomicBool::new(false), Mutex::new(driver));
        Ok(Arc::new(Network { name, settings, calls, forgets, runs, view, driver }))
    }
}

/// Calls on their way to the driver. More than the gateway may have under way.
const CALLS_MAX: usize = 128;

/// One connection to one network.
struct Network {
    name: BridgeName,
    settings: Arc<Settings>,
    calls: mpsc::Sender<Call>,
    forgets: mpsc::Sender<Forget>,
    /// Somebody reads `calls`.
    runs: AtomicBool,
    view: Arc<RwLock<View>>,
    driver: Mutex<Driver>,
}

impl Network {
    async fn call(&self, verb: Verb, out: &Outbound) -> Result<Option<Sent>, Fault> {
        if !self.runs.load(Ordering::Acquire) {
            return Err(Fault::down(format!("the bridge {} is not running", self.name)));
        }
        let (answer, answered) = oneshot::channel();
        let call = Call { verb, out: out.clone(), answer };
        self.calls.try_send(call).map_err(|_| Fault::retry("too many replies wait for the bridge"))?;
        answered
            .await
            .unwrap_or_else(|_| Err(Fault::unknown("the bridge stopped before the server had confirmed the line")))
    }
}

#[async_trait]
impl Bridge for Network {
    fn capabilities(&self) -> Capabilities {
        Capabilities::cautious()
    }

    fn parts(&self, thread: &ThreadId, reply: Reply) -> Vec<Part> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.parts(thread.as_str(), reply, self.settings.formatting, self.settings.lines_max)
    }

    async fn run(&self, host: Host, stop: CancellationToken) -> Result<(), Fault> {
        let mut driver = self.driver.lock().await;
        self.runs.store(true, Ordering::Release);
        let running = Running(&self.runs);
        let ended = driver.run(host, stop, &self.view).await;
        drop(running);
        driver.turn_away("the bridge is stopped");
        ended
    }

    async fn send(&self, out: &Outbound) -> Result<Sent, Fault> {
        self.call(Verb::Send, out).await.map(Option::unwrap_or_default)
    }

    async fn probe(&self, out: &Outbound) -> Result<Option<Sent>, Fault> {
        self.call(Verb::Probe, out).await
    }

    fn caller(&self, thread: &ThreadId, peer: &Peer) -> Option<Caller> {
        Some(caller(thread, peer))
    }

    fn people(&self) -> Option<&'static str> {
        Some(machine::PEOPLE)
    }

    fn person(&self, cursor: &Cursor) -> Option<(Vec<String>, String)> {
        machine::person(cursor)
    }

    async fn forget(&self, cursors: &[String]) {
        if let Ok(mut driver) = self.driver.try_lock() {
            driver.forget_at_rest(cursors);
            return;
        }
        let (answer, answered) = oneshot::channel();
        if self.forgets.send(Forget { cursors: cursors.to_vec(), answer }).await.is_ok() {
            // Dropped with the driver, and all that it knew.
            let _gone = answered.await;
        }
    }

    async fn examine(&self, how: Examination, findings: &Findings) {
        examine(&self.settings, how, Limits::USUAL, findings).await;
    }
}

/// Lowers the flag also when `run` is dropped.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// By `nick!user@host` and account, too. Who is not logged in is counted by host, since nicks are anybody's; but not by one
/// that all people of a gateway on the server's own machine have.
fn caller(thread: &ThreadId, peer: &Peer) -> Caller {
    let Caller { mut names, counted_as } = Caller::of(thread, peer);
    let fact = |name: &str| peer.facts.get(name).map(String::as_str).unwrap_or_default();
    let (nick, place, account) = (fact("nick"), fact("host"), fact("account"));
    names.push(format!("{nick}!{place}"));
    if !account.is_empty() {
        names.push(account.to_owned());
        return Caller { names, counted_as };
    }
    let host = place.rsplit_once('@').map_or("", |(_, host)| host);
    let address: Option<IpAddr> = host.parse().ok();
    let shared =
        host.is_empty() || host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback());
    Caller { names, counted_as: (!shared).then(|| host.to_lowercase()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_counted_by_account_or_host_and_blocked_by_mask_too() {
        let peer = |facts: &[(&str, &str)]| Peer {
            id: "s:1".into(),
            name: "ada".into(),
            facts: facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            email: None,
            picture: None,
        };
        let of = |facts: &[(&str, &str)]| caller(&"#acme:s:1".into(), &peer(facts));
        let stranger = of(&[("nick", "ada"), ("host", "~a@Host.example")]);
        assert_eq!(stranger.names, ["s:1", "#acme:s:1", "ada!~a@Host.example"]);
        assert_eq!(stranger.counted_as.as_deref(), Some("host.example"));
        let member = of(&[("nick", "ada"), ("host", "~a@h"), ("account", "ada_l")]);
        assert_eq!((member.names[3].as_str(), member.counted_as.as_deref()), ("ada_l", Some("s:1")));
        for shared in ["~a@localhost", "~a@127.0.0.1", "~a@::1", ""] {
            assert_eq!(of(&[("nick", "ada"), ("host", shared)]).counted_as, None, "{shared}");
        }
    }
}
