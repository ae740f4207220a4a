//! The gateway's side: `Kind` and `Bridge` over the driver. Holds no protocol.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bridge_api::{
    Bridge, BridgeName, CancellationToken, Capabilities, Examination, Fault, Findings, Host, Kind, Outbound, Part,
    Reply, Sent, SettingsFault, ThreadId,
};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    driver::{Call, Driver, Verb},
    examine::{Limits, examine},
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
        let driver = Driver::new(settings.clone(), received);
        let view = Arc::new(RwLock::new(driver.view()));
        Ok(Arc::new(Network { name, settings, calls, runs: AtomicBool::new(false), view, driver: Mutex::new(driver) }))
    }
}

/// Calls on their way to the driver. More than the gateway may have under way.
const CALLS_MAX: usize = 128;

/// One connection to one network.
struct Network {
    name: BridgeName,
    settings: Arc<Settings>,
    calls: mpsc::Sender<Call>,
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
