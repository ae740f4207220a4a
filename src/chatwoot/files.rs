//! Downloading what is attached to a message: a bounded stream, without the token, never into our own network.
//!
//! The address comes from Chatwoot, which redirects to its storage (302, Chatwoot 4.15). Each hop is judged by itself:
//! the inbox's origin and the configured storage as they are, anything else only by https and only at public addresses.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::{Response, Url, header::LOCATION};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    address::is_public,
    client::Client,
    fault::{Call, CallFault},
};

/// A file on its way. It ends at its limit, after [`DOWNLOAD_LIMIT`], or when nothing comes for [`CHUNK_LIMIT`].
#[derive(Debug)]
pub struct File {
    response: Response,
    bytes_max: u64,
    bytes_left: u64,
    _place: OwnedSemaphorePermit,
}

/// The whole of one download.
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(5);
/// The longest silence within one.
const CHUNK_LIMIT: Duration = Duration::from_secs(30);
/// Chatwoot to its storage is one; a proxy that insists on https is another.
const REDIRECTS_MAX: usize = 3;

impl Client {
    /// Opens an attachment by its `data_url`. The file is over when `bytes_max` is passed.
    ///
    /// `NotFound` may mean "not yet": the message is announced before its file is stored. Start again from `data_url`,
    /// since what it leads to expires after five minutes.
    pub async fn download(&self, data_url: &str, bytes_max: u64) -> Result<File, CallFault> {
        let place = self.download_place().await;
        let mut url = self.base_url.join(data_url).map_err(|_| refused("is no address"))?;
        for _ in 0..=REDIRECTS_MAX {
            url = self.here(url);
            let response = self.hop(&url).await?;
            match response.status().as_u16() {
                200 => return File::open(response, bytes_max, place),
                301 | 302 | 303 | 307 | 308 => url = next(&url, &response)?,
                404 | 410 => return Err(CallFault::NotFound { call: Call::Download }),
                status => return Err(doubtful(&format!("the storage answered {status}"))),
            }
        }
        Err(doubtful("it is redirected too often"))
    }

    async fn hop(&self, url: &Url) -> Result<Response, CallFault> {
        let web = self.web().ok_or_else(|| refused("leads out of a simulation"))?;
        let http = match self.way(url)? {
            Way::Inside => &web.inside,
            Way::Outside => &web.outside,
        };
        let sent = timeout(CHUNK_LIMIT, http.get(url.clone()).timeout(DOWNLOAD_LIMIT).send()).await;
        let sent = sent.map_err(|_| doubtful("the storage did not answer in time"))?;
        sent.map_err(|fault| {
            tracing::debug!(fault = ?fault.without_url(), "an attachment's storage did not answer");
            doubtful("its storage cannot be reached")
        })
    }

    /// Chatwoot names its files by its public address, which may not exist from here, or be wrong: its own paths are
    /// asked for where we reach it.
    pub(super) fn here(&self, url: Url) -> Url {
        let Some(at) = url.path().find(STORAGE_PATH) else { return url };
        let mut here = self.base_url.clone();
        here.set_path(&format!("{}{}", self.base_url.path().trim_end_matches('/'), &url.path()[at..]));
        here.set_query(url.query());
        here
    }

    pub(super) fn way(&self, url: &Url) -> Result<Way, CallFault> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("holds a user name"));
        }
        let known = |origin: &Url| matches!(url.scheme(), "http" | "https") && origin.origin() == url.origin();
        if known(&self.base_url) || self.file_origins.iter().any(known) {
            return Ok(Way::Inside);
        }
        if url.scheme() != "https" {
            return Err(refused("is neither chatwoot's nor reached by https"));
        }
        // An address written as a number never reaches the resolver, so it is looked at here; `Url` has brought all
        // spellings of one to the usual form.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let public = host.parse().map_or(!host.is_empty(), is_public);
        if public { Ok(Way::Outside) } else { Err(refused("lies in a private network")) }
    }
}

const STORAGE_PATH: &str = "/rails/active_storage/";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To an origin that the settings name.
    Inside,
    /// To anywhere public.
    Outside,
}

fn next(url: &Url, response: &Response) -> Result<Url, CallFault> {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    location.and_then(|location| url.join(location).ok()).ok_or_else(|| doubtful("its redirect leads nowhere"))
}

impl File {
    fn open(response: Response, bytes_max: u64, place: OwnedSemaphorePermit) -> Result<Self, CallFault> {
        if response.content_length().is_some_and(|length| length > bytes_max) {
            return Err(too_large(bytes_max));
        }
        Ok(Self { response, bytes_max, bytes_left: bytes_max, _place: place })
    }

    /// As the storage says; what the message says is the better one.
    pub fn content_type(&self) -> Option<&str> {
        self.response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    /// In bytes, when the storage tells.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece; `None` at the end of the whole file, never of a part.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallFault> {
        let chunk = timeout(CHUNK_LIMIT, self.response.chunk()).await;
        let chunk = chunk.map_err(|_| doubtful("its storage fell silent"))?;
        let Some(chunk) = chunk.map_err(|_| doubtful("its storage broke off"))? else { return Ok(None) };
        let left = self.bytes_left.checked_sub(chunk.len() as u64);
        self.bytes_left = left.ok_or_else(|| too_large(self.bytes_max))?;
        Ok(Some(chunk))
    }

    /// The pieces as a stream, ending with the first fault.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, CallFault>> + Send {
        stream::try_unfold(self, |mut file| async move { Ok(file.chunk().await?.map(|chunk| (chunk, file))) })
    }
}

fn doubtful(why: &str) -> CallFault {
    CallFault::Doubtful { call: Call::Download, reason: format!("could not download the attachment: {why}") }
}

fn refused(why: &str) -> CallFault {
    CallFault::Invalid { reason: format!("the attachment is not downloaded: its address {why}") }
}

fn too_large(bytes_max: u64) -> CallFault {
    CallFault::Invalid { reason: format!("the attachment is larger than {bytes_max} bytes") }
}

#[cfg(test)]
mod tests;
