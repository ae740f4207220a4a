//! `deskbridge healthcheck`: asks a running gateway whether it is ready, for images without a shell.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::{net::TcpStream, time::timeout};

use super::{Failure, SettingsArgs};
use crate::bridges::Registry;

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Where the gateway answers; without it, `gateway.listen` of the settings
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<String>,
}

const ANSWER_LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn run(args: &HealthcheckArgs, registry: &Registry) -> Result<String, Failure> {
    let url = match &args.url {
        Some(url) => given(url)?,
        None => own(args.settings.load(registry)?.gateway.listen),
    };
    let asked = timeout(ANSWER_LIMIT, ask(&url)).await;
    match asked {
        Err(_) => Err(Failure::new(format!("{url} did not answer within {} seconds", ANSWER_LIMIT.as_secs()))),
        Ok(Err(error)) => Err(Failure::new(format!("{url} cannot be asked: {error}"))),
        Ok(Ok((StatusCode::OK, _))) => Ok("ready\n".into()),
        Ok(Ok((status, body))) => Err(Failure::new(format!("not ready: {url} answered {status} {}", body.trim()))),
    }
}

fn given(text: &str) -> Result<Url, Failure> {
    let wrong = |reason: &str| Failure::usage(format!("--url {text}: {reason}, such as http://127.0.0.1:8600"));
    let mut url = Url::parse(text).map_err(|_| wrong("write an address"))?;
    if url.scheme() != "http" || !url.has_host() {
        return Err(wrong("the gateway answers plain http; write an address"));
    }
    if url.path() == "/" {
        url.set_path("/readyz");
    }
    Ok(url)
}

/// A gateway that listens on every address is asked on loopback.
fn own(listen: SocketAddr) -> Url {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    Url::parse(&format!("http://{address}/readyz")).expect("an address and a path are a url")
}

type AskError = Box<dyn std::error::Error + Send + Sync>;

/// One request on one connection, closed afterwards.
async fn ask(url: &Url) -> Result<(StatusCode, String), AskError> {
    const BODY_BYTES_MAX: usize = 64 * 1024;
    let addresses = url.socket_addrs(|| None)?;
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(url.path()).header(HOST, url.authority()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes();
        Ok::<_, AskError>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(answer);
    // The connection does the work while the answer is waited for; when it ends first, the answer
    // holds what became of the request.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn the_address_to_ask_is_loopback_where_the_gateway_listens_everywhere() {
        let cases = [
            ("127.0.0.1:8600", "http://127.0.0.1:8600/readyz"),
            ("0.0.0.0:1", "http://127.0.0.1:1/readyz"),
            ("[::]:8600", "http://[::1]:8600/readyz"),
            ("192.0.2.1:8600", "http://192.0.2.1:8600/readyz"),
        ];
        for (listen, expected) in cases {
            assert_eq!(own(listen.parse().unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn a_url_may_leave_the_path_out_and_must_be_plain_http() {
        assert_eq!(given("http://gateway:8600").unwrap().as_str(), "http://gateway:8600/readyz");
        assert_eq!(given("http://gateway:8600/readyz").unwrap().as_str(), "http://gateway:8600/readyz");
        for wrong in ["https://gateway", "gateway:8600", "nothing"] {
            assert!(matches!(given(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    async fn asked(answer: &'static str) -> Result<String, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let args = HealthcheckArgs { settings: SettingsArgs { file: "absent.toml".into() }, url: Some(url) };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let registry = Registry::empty();
        tokio::join!(run(&args, &registry), serve).0
    }

    #[tokio::test]
    async fn ready_is_200_and_anything_else_a_failure_with_the_reason() {
        assert_eq!(asked("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap(), "ready\n");
        for answer in ["HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\ndisk full", "nonsense\r\n\r\n", ""]
        {
            let failure = asked(answer).await.unwrap_err();
            let Failure::Failed(message) = failure else { panic!("{failure:?}") };
            assert_eq!(message.contains("disk full"), answer.contains("disk full"), "{message}");
        }
    }
}
