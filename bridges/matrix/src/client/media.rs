//! Files: up and down in pieces, never held whole.

use std::{fmt, time::Duration};

use bridge_api::{Fault, File};
use futures_util::{StreamExt, stream};
use reqwest::{Method, Response, header};
use serde_json::Value;
use tokio::time::timeout;

use super::{CallFault, Client};
use crate::wire::text;

/// A transfer that stands still for this long has failed.
const PIECE_LIMIT: Duration = Duration::from_secs(30);
const TRANSFER_LIMIT: Duration = Duration::from_secs(100);
const NAME_BYTES_MAX: usize = 255;

/// `mxc://server/id`, of harmless characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaRef {
    server: String,
    id: String,
}

impl MediaRef {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (server, id) = text.strip_prefix("mxc://")?.split_once('/')?;
        let of_id = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let of_server = |b: u8| of_id(b) || matches!(b, b'.' | b':' | b'[' | b']');
        let fit = |part: &str, of: &dyn Fn(u8) -> bool| {
            !part.is_empty() && part.len() <= NAME_BYTES_MAX && part.bytes().all(of)
        };
        let fit = fit(server, &of_server) && fit(id, &of_id) && !server.starts_with('.');
        fit.then(|| Self { server: server.to_owned(), id: id.to_owned() })
    }
}

impl fmt::Display for MediaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mxc://{}/{}", self.server, self.id)
    }
}

impl Client {
    /// The largest file that the server takes, in bytes; `None` where it does not say.
    pub(crate) async fn upload_bytes_max(&self) -> Result<Option<u64>, CallFault> {
        let answer = self.get(self.url(&["_matrix", "client", "v1", "media", "config"])).await?;
        Ok(answer.get("m.upload.size").and_then(Value::as_u64))
    }

    pub(crate) async fn upload(&self, name: &str, file: File) -> Result<MediaRef, CallFault> {
        let mut url = self.url(&["_matrix", "media", "v3", "upload"]);
        url.query_pairs_mut().append_pair("filename", name);
        let media_type = file.media_type.as_deref().filter(|kind| header::HeaderValue::from_str(kind).is_ok());
        let mut request = self
            .request(Method::POST, url)
            .header(header::CONTENT_TYPE, media_type.unwrap_or("application/octet-stream"));
        if let Some(length) = file.length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let pieces = file.pieces.map(|piece| piece.map_err(|fault| fault.reason));
        let answer = self.json(request.body(reqwest::Body::wrap_stream(pieces)), TRANSFER_LIMIT).await?;
        text(&answer, &["content_uri"])
            .and_then(MediaRef::parse)
            .ok_or_else(|| CallFault::Doubtful("the homeserver took a file and did not name it".to_owned()))
    }

    /// By the authenticated path; by the older one where the server does not know that.
    pub(crate) async fn download(&self, media: &MediaRef) -> Result<File, CallFault> {
        let (server, id) = (media.server.as_str(), media.id.as_str());
        match self.fetch(&["_matrix", "client", "v1", "media", "download", server, id]).await {
            Err(CallFault::Refused { status: 404, code, .. }) if code != "M_NOT_FOUND" => {
                self.fetch(&["_matrix", "media", "v3", "download", server, id]).await
            }
            result => result,
        }
    }

    async fn fetch(&self, path: &[&str]) -> Result<File, CallFault> {
        let request = self.request(Method::GET, self.url(path)).timeout(TRANSFER_LIMIT);
        let sent = timeout(PIECE_LIMIT, request.send()).await;
        let sent = sent.map_err(|_| CallFault::Doubtful("the homeserver's media do not come".to_owned()))?;
        let response = sent.map_err(|error| CallFault::of_transport(&error))?;
        if response.status().as_u16() != 200 {
            return Err(match super::read(response).await {
                Err(fault) => fault,
                Ok(_) => CallFault::Doubtful("the homeserver answered without a file".to_owned()),
            });
        }
        Ok(opened(response))
    }
}

fn opened(response: Response) -> File {
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let (media_type, length) = (media_type.map(str::to_owned), response.content_length());
    let pieces = stream::try_unfold(response, |mut response| async move {
        let piece = timeout(PIECE_LIMIT, response.chunk()).await;
        let piece = piece.map_err(|_| Fault::retry("the file stopped coming from the homeserver"))?;
        let piece = piece.map_err(|_| Fault::retry("the file broke off on its way from the homeserver"))?;
        Ok(piece.map(|piece| (piece, response)))
    });
    File::new(media_type, length, pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_addresses_are_media() {
        for fit in ["mxc://shop.example/abc-_9", "mxc://[::1]:8448/a"] {
            assert_eq!(MediaRef::parse(fit).unwrap().to_string(), fit);
        }
        let unfit =
            ["", "mxc://", "mxc://shop.example", "mxc://shop.example/", "mxc:///id", "https://x/y", "mxc://a/b/c"];
        for text in unfit.into_iter().chain(["mxc://a/..", "mxc://../x", "mxc://a/b?c", "mxc://a/b%2f", "mxc://a b/c"])
        {
            assert_eq!(MediaRef::parse(text), None, "{text}");
        }
    }
}
