//! The way in: listeners, sessions, the SMTP and LMTP machine. A mail is stored before its client hears 250, and nothing is
//! ever handed on to another server from here.

use std::sync::Arc;

use bridge_api::{BridgeState, CancellationToken, Fault, SettingsFault};
use futures_util::future::join_all;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{address::Address, settings::Settings, tls::ServerTls};

mod arrival;
mod command;
mod data;
mod driver;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod header;
mod limits;
mod listener;
mod machine;
mod path;
mod porter;
#[cfg(test)]
mod tests;
mod timing;

pub(crate) use arrival::Intake;
use driver::Door;
use limits::Limits;
use listener::Ends;
pub(crate) use listener::listen;
use machine::Site;
pub(crate) use porter::Porter;
use timing::{TIMING, Timing};

/// Takes mails in until `stop`, on every listener of the settings. The settings were checked before.
pub(crate) async fn serve(settings: &Settings, intake: Intake, stop: CancellationToken) -> Result<(), Fault> {
    let mut server = Server::bind(settings, TIMING)?;
    server.trusts_loopback = true;
    intake.host().state(BridgeState::Up);
    server.run(settings, intake, stop).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Smtp,
    Tls,
    Lmtp,
}

struct Server {
    listeners: Vec<(Way, TcpListener)>,
    tls: Option<Arc<ServerTls>>,
    timing: Timing,
    memory_bytes: usize,
    /// Programs on this machine are not counted.
    trusts_loopback: bool,
}

impl Server {
    fn bind(settings: &Settings, timing: Timing) -> Result<Self, Fault> {
        let unusable = |fault: SettingsFault| Fault::down(fault.to_string());
        let tls = settings.tls.as_ref().map(|files| ServerTls::load(files, Instant::now().into_std()));
        let tls = tls.transpose().map_err(unusable)?.map(Arc::new);
        let mut listeners = Vec::new();
        for (way, key, address) in [
            (Way::Smtp, "listen", settings.listen),
            (Way::Tls, "listen_tls", settings.listen_tls),
            (Way::Lmtp, "listen_lmtp", settings.listen_lmtp),
        ] {
            if let Some(address) = address {
                listeners.push((way, listener::bind(key, address)?));
            }
        }
        Ok(Self { listeners, tls, timing, memory_bytes: arrival::BUDGET_BYTES, trusts_loopback: false })
    }

    async fn run(self, settings: &Settings, intake: Intake, stop: CancellationToken) -> Result<(), Fault> {
        let limits = Limits::new(
            settings.connections_max,
            settings.connections_per_client_max,
            settings.mails_per_minute_max,
            settings.trusted_clients.iter().copied(),
            self.trusts_loopback,
        );
        let budget = arrival::budget(self.memory_bytes);
        let ends = Ends { stop, kill: CancellationToken::new() };
        // Sessions must not outlive this future, however it ends.
        let _kill = ends.kill.clone().drop_guard();
        let tasks = TaskTracker::new();
        let mut accepting = Vec::new();
        for (way, listener) in self.listeners {
            let door = Arc::new(Door {
                site: Arc::new(site(settings, way, self.tls.is_some(), self.timing)?),
                intake: intake.clone(),
                budget: budget.clone(),
                tls: self.tls.clone(),
                implicit: way == Way::Tls,
            });
            accepting.push(listener::accept(listener, door, limits.clone(), tasks.clone(), ends.clone()));
        }
        join_all(accepting).await;
        listener::finish(&tasks, &ends, self.timing.stop).await;
        Ok(())
    }
}

fn site(settings: &Settings, way: Way, has_tls: bool, timing: Timing) -> Result<Site, Fault> {
    let domain = settings.addresses.first().and_then(|text| text.rsplit_once('@')).map_or("", |(_, domain)| domain);
    let postmaster = Address::parse(&format!("postmaster@{domain}"));
    Ok(Site {
        hostname: settings.hostname.clone(),
        ours: settings.ours(),
        postmaster: postmaster.ok_or_else(|| Fault::down("`addresses` names no domain"))?,
        mail_bytes_max: u64::from(settings.mail_mib_max) * 1024 * 1024,
        bare_newline: settings.bare_newline,
        lmtp: way == Way::Lmtp,
        starttls: has_tls && way == Way::Smtp,
        timing,
    })
}
