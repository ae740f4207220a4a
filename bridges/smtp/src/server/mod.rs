//! The way in: listeners, sessions, the SMTP and LMTP machine. A mail is stored before its client hears 250, and nothing is
//! ever handed on to another server from here.

mod command;
mod data;
mod header;
mod machine;
mod path;
mod timing;
pub(crate) struct Server;
impl Server {
    pub(crate) fn new(_: std::sync::Arc<crate::Settings>) -> Result<Self, bridge_api::SettingsFault> {
        Ok(Self)
    }
    pub(crate) async fn run(
        &self,
        _: &bridge_api::Host,
        _: &std::sync::Arc<crate::spool::Spool>,
        _a: tokio::sync::mpsc::Sender<(bridge_api::KeptId, crate::envelope::Envelope)>,
        stop: &bridge_api::CancellationToken,
    ) -> Result<(), bridge_api::Fault> {
        stop.cancelled().await;
        Ok(())
    }
}
