//! Traces to a collector, by OTLP over HTTP. Sends spans of ours and nothing that the log has.

use std::{fmt, io, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracerProvider, Tracer},
};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::spans;
use crate::settings::HttpUrl;

/// A collector that takes longer has had its chance: the batch is dropped.
const EXPORT_LIMIT: Duration = Duration::from_secs(10);
/// An answer of a collector is some bytes; what is longer is none.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where finished spans go.
pub(super) struct Collector {
    provider: SdkTracerProvider,
}

impl Collector {
    /// Sends nothing yet. Fails where the machine has no threads, or no certificates for `https`.
    pub(super) fn new(url: &HttpUrl) -> io::Result<Self> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new()?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", url.base()))
            .with_timeout(EXPORT_LIMIT)
            .build()
            .map_err(io::Error::other)?;
        let resource = Resource::builder_empty().with_service_name("deskbridge").build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { provider })
    }

    /// Takes the spans of a subscriber that are meant for a collector.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer: Tracer = self.provider.tracer("deskbridge");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_for_collector))
    }
}

/// What was not sent yet is sent, within the limit of an export.
impl Drop for Collector {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(error = error.to_string(), "the last spans did not reach the collector");
        }
    }
}

pub(super) fn is_for_collector(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == spans::TARGET
}

/// Sends batches. The exporter calls it on a thread of its own, where no runtime is, so it brings one.
struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn new() -> io::Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tls_backend_preconfigured(tls())
            .timeout(EXPORT_LIMIT)
            .build()
            .map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { http, runtime })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request = self.http.request(head.method, head.uri.to_string()).headers(head.headers).body(body);
        let mut answer = request.send().await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err("the collector's answer is too long".into());
            }
        }
        Ok(Response::builder().status(answer.status()).body(Bytes::from(body))?)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.block_on(self.send(request))
    }
}

fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
        sync::mpsc,
    };

    use tracing_subscriber::{Registry, layer::SubscriberExt};

    use super::*;

    /// Takes one request, and tells its head and its body.
    fn collector() -> (HttpUrl, mpsc::Receiver<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            tell.send((head, body)).unwrap();
        });
        (url, told)
    }

    fn some_spans() {
        let span = spans::attempt("libera/1/0", "inbox:support", 2, false);
        span.in_scope(|| tracing::info!(reason = "words of ada", "somebody wrote"));
        spans::ended(&span, "done", true);
        tracing::info_span!("another", reason = "words of ada").in_scope(|| {});
        spans::ended(&spans::callback("support"), "refused", false);
    }

    #[test]
    fn finished_spans_reach_the_collector_with_their_names_and_without_what_the_log_has() {
        let (url, told) = collector();
        let collector = Collector::new(&url).unwrap();
        tracing::subscriber::with_default(Registry::default().with(collector.layer()), some_spans);
        drop(collector);
        let (head, body) = told.recv_timeout(Duration::from_mins(1)).unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
        let holds = |part: &str| body.windows(part.len()).any(|window| window == part.as_bytes());
        for part in ["deskbridge", "attempt", "libera/1/0", "inbox:support", "done", "callback", "refused"] {
            assert!(holds(part), "no {part}");
        }
        assert!(!holds("words of ada") && !holds("another"));
    }

    #[test]
    fn a_collector_that_is_not_there_holds_nobody_up_at_the_end() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let collector = Collector::new(&format!("http://{gone}").parse().unwrap()).unwrap();
        tracing::subscriber::with_default(Registry::default().with(collector.layer()), some_spans);
        drop(collector);
    }
}
