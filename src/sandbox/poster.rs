//! One callback over HTTP, with Chatwoot's limits and Ruby's words for what went wrong.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url, header};

use super::callbacks::{Job, headers};
use super::faults::Signing;
use super::{SandboxError, SandboxSettings, Shared};

const REDIRECTS_MAX: usize = 10;
/// The answer is read and ignored; a larger one is a failure.
const ANSWER_BYTES_MAX: usize = 40 * 1024 * 1024;
/// Open and read have their own limits; this one ends an answer that drips.
const DELIVERY_MAX: Duration = Duration::from_mins(1);

pub(super) fn client(settings: &SandboxSettings) -> Result<Client, SandboxError> {
    // Whoever came first has chosen the provider; any of them will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    let idle = if settings.keep_callback_connections { settings.callback_workers } else { 0 };
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(settings.webhook_timeout)
        .read_timeout(settings.webhook_timeout)
        .timeout(DELIVERY_MAX.max(settings.webhook_timeout))
        .pool_max_idle_per_host(idle)
        .user_agent("Ruby")
        .build()
        .map_err(SandboxError::Client)
}

/// Posts once. The error is the text that Chatwoot would write on the message.
pub(super) async fn post(shared: &Shared, job: &Job, signing: Signing) -> Result<(), String> {
    let mut url = Url::parse(&job.url).map_err(|_| format!("bad URI(is not URI?): {:?}", job.url))?;
    for _ in 0..=REDIRECTS_MAX {
        if shared.settings.refuse_private_callbacks {
            refuse_private(&url).await?;
        }
        let now_ms = shared.now_ms();
        let request = shared.client.post(url.clone());
        let request = request
            .headers(headers(job, now_ms, signing))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(job.body.clone());
        let answer = request.send().await.map_err(|error| ruby_words(&error, &url))?;
        let status = answer.status();
        let next = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).map(ToOwned::to_owned);
        read_and_ignore(answer, &url).await?;
        match next {
            // A redirect is followed with the same method, body and headers.
            Some(next) if status.is_redirection() => url = url.join(&next).map_err(|error| error.to_string())?,
            _ if status.is_success() => return Ok(()),
            _ => return Err(reason(status)),
        }
    }
    Err("Got 10 redirects fetching the url".to_owned())
}

async fn read_and_ignore(mut answer: reqwest::Response, url: &Url) -> Result<(), String> {
    let mut read = 0;
    while let Some(chunk) = answer.chunk().await.map_err(|error| ruby_words(&error, url))? {
        read += chunk.len();
        if read > ANSWER_BYTES_MAX {
            return Err("file is too large".to_owned());
        }
    }
    Ok(())
}

fn reason(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

fn ruby_words(error: &reqwest::Error, url: &Url) -> String {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
    if error.is_timeout() && error.is_connect() {
        return "Net::OpenTimeout".to_owned();
    }
    if error.is_timeout() {
        return "Net::ReadTimeout with #<TCPSocket:(closed)>".to_owned();
    }
    if error.is_connect() {
        return format!(
            "Failed to open TCP connection to {host}:{port} (Connection refused - connect(2) for \"{host}\" port {port})"
        );
    }
    "end of file reached".to_owned()
}

/// The filter that 4.14.0 put in front of every callback.
async fn refuse_private(url: &Url) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let found = tokio::net::lookup_host((host, port)).await;
    let mut addresses = found.map_err(|_| format!("Could not resolve hostname '{host}'"))?;
    if addresses.any(|address| is_public(address.ip())) {
        return Ok(());
    }
    Err(format!("Hostname '{host}' has no public ip addresses"))
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_broadcast()
                || v4.is_multicast()
                || first == 0
                || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        let check = |address: &str, public| assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        for address in
            ["127.0.0.1", "10.1.2.3", "172.18.0.2", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"]
        {
            check(address, false);
        }
        for address in ["::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            check(address, false);
        }
        check("93.184.216.34", true);
        check("2606:2800:220:1::1", true);
    }

    #[test]
    fn a_status_is_named_as_ruby_names_it() {
        assert_eq!(reason(StatusCode::BAD_GATEWAY), "502 Bad Gateway");
        assert_eq!(reason(StatusCode::UNAUTHORIZED), "401 Unauthorized");
    }
}
