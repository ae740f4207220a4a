//! Opening a connection: addresses, TCP, TLS, all within one limit of time.

use std::{io, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{machine::Endpoint, tls};

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
    let tcp = connect_tcp(endpoint).await?;
    tcp.set_nodelay(true)?;
    let Some(files) = &endpoint.tls else { return Ok(Box::new(tcp)) };
    // Read again at each connection, so that a renewed certificate is taken without a restart.
    let config = tls::client_config(files).map_err(io::Error::other)?;
    let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
    let tls = TlsConnector::from(config).connect(name, tcp).await?;
    Ok(Box::new(tls))
}

/// All addresses of the name, each a moment after the one before: the first to answer wins
/// (RFC 8305, "happy eyeballs").
async fn connect_tcp(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let addresses = lookup_host((endpoint.host.as_str(), endpoint.port)).await?;
    let mut tries: FuturesUnordered<_> = (0u32..)
        .zip(addresses.take(ADDRESSES_MAX))
        .map(|(place, address)| async move {
            tokio::time::sleep(STAGGER * place).await;
            TcpStream::connect(address).await
        })
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(tried) = tries.next().await {
        match tried {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}
