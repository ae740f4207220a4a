//! Connections: to the inbox's own origins, and to public addresses for files. No redirects, no proxy, nothing sent twice.

use std::{sync::Arc, time::Duration};

use bridge_api::SettingsFault;

use super::address::PublicOnly;

/// By HTTP, as always but in a simulation.
#[derive(Clone, Debug)]
pub(super) struct Web {
    /// To the origins that the settings name.
    pub(super) inside: reqwest::Client,
    /// To public addresses only, for files.
    pub(super) outside: reqwest::Client,
}

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Puma closes an idle connection after 20 s. Staying below keeps a request from meeting the closing half-way, which
/// would leave its outcome in doubt.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

impl Web {
    pub(super) fn new(request_limit: Duration, user_agent: &str) -> Result<Self, SettingsFault> {
        let tls = tls_settings();
        let http = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .tls_backend_preconfigured(tls.clone())
                .connect_timeout(CONNECT_LIMIT)
                .timeout(request_limit)
                .pool_idle_timeout(IDLE_LIMIT)
                .user_agent(user_agent)
        };
        let unfit = |fault: reqwest::Error| SettingsFault::new("user_agent", fault.to_string());
        let outside = http().dns_resolver(PublicOnly::of_the_system()).build().map_err(unfit)?;
        Ok(Self { inside: http().build().map_err(unfit)?, outside })
    }
}

/// The system's certificates and the ring provider. A container without certificates can still use plain http.
pub fn tls_settings() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
