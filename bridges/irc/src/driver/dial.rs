//! Opening a connection: addresses, TCP, TLS, all within one limit of time.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{machine::Endpoint, settings::TlsFiles, tls};

/// Plain or TLS, the rest does not care.
pub(crate) type Socket = Box<dyn Duplex>;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

const DIAL_TIME: Duration = Duration::from_secs(15);
const STAGGER: Duration = Duration::from_millis(250);
const ADDRESSES_MAX: usize = 16;

pub(super) async fn dial(endpoint: &Endpoint) -> io::Result<Socket> {
    let place = format!("{}:{}", endpoint.host, endpoint.port);
    match timeout(DIAL_TIME, connect(endpoint)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(io::Error::new(error.kind(), format!("cannot connect to {place}: {error}"))),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("cannot connect to {place} in time"))),
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    let addresses = resolve(endpoint).await?;
    let tcp = connect_tcp(&addresses).await?;
    match &endpoint.tls {
        Some(files) => secure(endpoint, files, tcp).await,
        None => Ok(Box::new(tcp)),
    }
}

/// At least one address.
pub(crate) async fn resolve(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((endpoint.host.as_str(), endpoint.port)).await?;
    let addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// All addresses of the name, each a moment after the one before: the first to answer wins
/// (RFC 8305, "happy eyeballs").
pub(crate) async fn connect_tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut tries: FuturesUnordered<_> = (0u32..)
        .zip(addresses)
        .map(|(place, address)| async move {
            tokio::time::sleep(STAGGER * place).await;
            TcpStream::connect(address).await
        })
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(tried) = tries.next().await {
        match tried {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

pub(crate) async fn secure(endpoint: &Endpoint, files: &TlsFiles, tcp: TcpStream) -> io::Result<Socket> {
    // Read again at each connection, so that a renewed certificate is taken without a restart.
    let config = tls::client_config(files).map_err(io::Error::other)?;
    let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(config).connect(name, tcp).await?))
}
