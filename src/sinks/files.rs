//! Files of a network's message, opened where they are and sent along with it. What cannot be sent becomes a line of
//! the text: a message is never lost for a file.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bridge_api::{Attachment, Bridge, BridgeName, Fault, FaultKind, File, Holder, Message, Pieces};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::timeout;

use crate::{
    chatwoot::{ATTACHMENTS_MAX, Upload, safe_name},
    model::{Roster, plain},
};

/// The bridges by their names: who can open a file, and who is told where a message landed.
pub type Bridges = Roster<BridgeName, dyn Bridge>;

/// Attempts after which a file that its network cannot give now is passed over, some minutes of waiting in all: the text
/// beside it, and what follows in its conversation, is worth more. From then on files are read before they are sent, so
/// that none can spoil another attempt.
const PATIENT_ATTEMPTS_MAX: u32 = 6;
/// Attempts after which a message goes without its files, since they may be what the inbox stumbles over.
const ATTEMPTS_WITH_FILES_MAX: u32 = 12;
/// How long a bridge may take to open a file, and for each piece of it.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
const PIECE_LIMIT: Duration = Duration::from_secs(20);

/// What says nothing about a file.
const ANY_TYPE: &str = "application/octet-stream";

/// Messages with files that found no place and will come again. They wait outside of any attempt, so that texts of other
/// people pass them by.
#[derive(Debug, Default)]
pub(super) struct Crowd(AtomicUsize);

/// The shortest and the longest wait of one that found no place.
const CROWD_WAIT_MIN: Duration = Duration::from_secs(2);
const CROWD_WAIT_MAX: Duration = Duration::from_mins(1);
/// So many of them lengthen the wait by the shortest one: each try is written down, and they must not be all that is.
const CROWD_STEP: u32 = 8;

impl Crowd {
    /// One comes, perhaps again.
    pub(super) fn leave(&self) {
        let less = |crowd: usize| Some(crowd.saturating_sub(1));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
    }

    /// It found no place, and comes again after this long.
    pub(super) fn join(&self) -> Duration {
        let before = u32::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX);
        CROWD_WAIT_MIN.saturating_mul(1 + before / CROWD_STEP).min(CROWD_WAIT_MAX)
    }
}

/// The files of one message, on their way.
#[derive(Default)]
pub(super) struct Carried {
    pub(super) uploads: Vec<Upload>,
    /// In place of what is not sent.
    pub(super) lines: Vec<String>,
    /// Why a file ended before its end, if one does.
    pub(super) broke: Arc<OnceLock<String>>,
}

/// How much of a message's files may go, and who opens them.
pub(super) struct Opener<'a> {
    pub(super) bridge: Option<&'a Arc<dyn Bridge>>,
    /// For each file, and for all of one message together.
    pub(super) bytes_max: u64,
    /// The attempts of the message so far, this one included.
    pub(super) attempts: u32,
}

impl Opener<'_> {
    /// Opens what is to be sent. An error is a network that cannot be asked now.
    pub(super) async fn open_all(&self, message: &Message) -> Result<Carried, Fault> {
        let mut carried = Carried::default();
        let mut bytes_left = self.bytes_max;
        for attachment in &message.attachments {
            let name = safe_name(&attachment.name);
            match attachment.holder {
                Holder::Link => carried.lines.push(link(attachment)),
                Holder::Inbox => carried.lines.push(not_shown(&name, "it is the inbox's own")),
                Holder::Network if carried.uploads.len() == ATTACHMENTS_MAX => {
                    carried.lines.push(not_shown(&name, &format!("a message has at most {ATTACHMENTS_MAX} files")));
                }
                Holder::Network => match self.upload(name.clone(), attachment, bytes_left, &carried.broke).await {
                    Ok((upload, bytes)) => {
                        bytes_left -= bytes;
                        carried.uploads.push(upload);
                    }
                    Err(fault) if fault.kind == FaultKind::Refused || self.attempts >= PATIENT_ATTEMPTS_MAX => {
                        carried.lines.push(not_shown(&name, &fault.reason));
                    }
                    // The network may be down as a whole; the inbox is not.
                    Err(fault) => return Err(Fault::retry(format!("the file {name:?} cannot be had: {fault}"))),
                },
            }
        }
        Ok(carried)
    }

    /// The file and its length.
    async fn upload(
        &self,
        name: String,
        attachment: &Attachment,
        bytes_left: u64,
        broke: &Arc<OnceLock<String>>,
    ) -> Result<(Upload, u64), Fault> {
        if self.attempts >= ATTEMPTS_WITH_FILES_MAX {
            return Err(Fault::refused("the inbox may have stumbled over it"));
        }
        self.fits(attachment.size_bytes, bytes_left)?;
        let bridge = self.bridge.ok_or_else(|| Fault::refused("its bridge is no longer set up"))?;
        let file = timeout(OPEN_LIMIT, bridge.open(attachment)).await;
        let file = file.map_err(|_| Fault::retry("the network did not open it in time"))??;
        self.fits(file.length, bytes_left)?;
        let content_type = media_type([file.media_type.as_deref(), attachment.media_type.as_deref()]);
        match file.length {
            Some(length) if self.attempts < PATIENT_ATTEMPTS_MAX => {
                let pieces = measured(file.pieces, length, broke.clone());
                Ok((Upload::streamed(name, content_type, length, pieces), length))
            }
            // A form tells the length of each part before it.
            Some(_) | None => {
                let bytes = read(file, bytes_left).await?;
                let length = bytes.len() as u64;
                Ok((Upload::whole(name, content_type, bytes), length))
            }
        }
    }

    fn fits(&self, length: Option<u64>, bytes_left: u64) -> Result<(), Fault> {
        match length {
            Some(length) if length > self.bytes_max => Err(Fault::refused(format!(
                "its {} are more than the {} that may be",
                mib(length),
                mib(self.bytes_max)
            ))),
            Some(length) if length > bytes_left => {
                Err(Fault::refused(format!("all files of a message may have {} together", mib(self.bytes_max))))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Of a small file too: never "0 MB".
fn mib(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes.div_ceil(1024)),
        0x10_0000.. => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

fn link(attachment: &Attachment) -> String {
    format!("{}: {}", attachment.name, attachment.url)
}

/// The line in place of a file.
pub(super) fn not_shown(name: &str, why: &str) -> String {
    format!("{}: not shown here, {}", plain(name), plain(why))
}

/// Whole, with the same limits as in pieces.
pub(super) async fn read(file: File, bytes_max: u64) -> Result<Bytes, Fault> {
    let (length, mut pieces) = (file.length, file.pieces);
    let too_large = || Fault::refused(format!("it is larger than the {} that may be", mib(bytes_max)));
    if length.is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    while let Some(piece) = next(&mut pieces).await? {
        if (whole.len() + piece.len()) as u64 > length.unwrap_or(bytes_max) {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    match length {
        Some(length) if length != whole.len() as u64 => Err(Fault::retry("the file ended before its end")),
        Some(_) | None => Ok(whole.into()),
    }
}

async fn next(pieces: &mut Pieces) -> Result<Option<Bytes>, Fault> {
    let piece = timeout(PIECE_LIMIT, pieces.next()).await;
    piece.map_err(|_| Fault::retry("the network fell silent"))?.transpose()
}

/// The pieces, held to their length; why they ended early is left in `broke`.
fn measured(
    pieces: Pieces,
    length: u64,
    broke: Arc<OnceLock<String>>,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + 'static {
    stream::try_unfold((pieces, length), move |(mut pieces, left)| {
        let broke = broke.clone();
        async move {
            let found = match next(&mut pieces).await {
                Ok(None) if left > 0 => Err(Fault::retry("the file ended before its end")),
                Ok(None) => Ok(None),
                Ok(Some(piece)) => match left.checked_sub(piece.len() as u64) {
                    Some(left) => Ok(Some((piece, (pieces, left)))),
                    None => Err(Fault::retry("the file goes on behind its end")),
                },
                Err(fault) => Err(fault),
            };
            // The first one counts.
            found.inspect_err(|fault| drop(broke.set(fault.reason.clone())))
        }
    })
}

/// The first that says something, without parameters and in lower case; a word that is no media type is none.
pub(super) fn media_type(candidates: [Option<&str>; 2]) -> String {
    let bare = |candidate: &str| candidate.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut said = candidates.into_iter().flatten().map(bare).filter(|found| is_media_type(found) && found != ANY_TYPE);
    said.next().unwrap_or_else(|| ANY_TYPE.to_owned())
}

fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        (1..=60).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    text.split_once('/').is_some_and(|(kind, of)| token(kind) && token(of))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bridge_api::{CancellationToken, Capabilities, Host, Outbound, Peer, Sent, Speaker, async_trait};

    use super::*;

    #[test]
    fn the_more_wait_for_a_place_the_longer_each_of_them_waits() {
        let crowd = Crowd::default();
        let waits: Vec<u64> = (0..400).map(|_| crowd.join().as_secs()).collect();
        assert_eq!((waits[0], waits[7], waits[8], waits[399]), (2, 2, 4, 60));
        (0..500).for_each(|_| crowd.leave());
        assert_eq!(crowd.join(), CROWD_WAIT_MIN);
    }

    #[test]
    fn a_media_type_is_what_the_holder_says_else_what_was_declared() {
        for (opened, declared, expected) in [
            (Some("image/PNG; charset=x"), Some("text/plain"), "image/png"),
            (Some("application/octet-stream"), Some("image/png"), "image/png"),
            (None, Some("image/svg+xml"), "image/svg+xml"),
            (Some("nonsense"), Some("a/b/c"), ANY_TYPE),
            (Some("text/\r\nX: y"), None, ANY_TYPE),
            (None, None, ANY_TYPE),
        ] {
            assert_eq!(media_type([opened, declared]), expected, "{opened:?} {declared:?}");
        }
    }

    #[tokio::test]
    async fn pieces_come_to_just_their_length_or_end_with_a_fault() {
        for (pieces, length, broke) in [
            (vec![Ok("PN"), Ok("G")], 3, None),
            (vec![Ok("PNG")], 4, Some("the file ended before its end")),
            (vec![Ok("PN"), Ok("GG")], 3, Some("the file goes on behind its end")),
            (vec![Ok("PN"), Err("gone")], 3, Some("gone")),
        ] {
            let bytes = |piece: &'static str| Bytes::from_static(piece.as_bytes());
            let pieces: Vec<_> = pieces.into_iter().map(|piece| piece.map(bytes).map_err(Fault::retry)).collect();
            let slot = Arc::new(OnceLock::new());
            let seen: Vec<_> = measured(Box::pin(stream::iter(pieces)), length, slot.clone()).collect().await;
            assert_eq!(slot.get().map(String::as_str), broke);
            assert_eq!(seen.iter().any(Result::is_err), broke.is_some());
        }
    }

    /// A network whose every file ends so.
    struct Keeps(fn() -> Result<File, Fault>);

    #[async_trait]
    impl Bridge for Keeps {
        fn capabilities(&self) -> Capabilities {
            Capabilities::cautious()
        }
        async fn run(&self, _: Host, _: CancellationToken) -> Result<(), Fault> {
            Ok(())
        }
        async fn send(&self, _: &Outbound) -> Result<Sent, Fault> {
            Ok(Sent::default())
        }
        async fn probe(&self, _: &Outbound) -> Result<Option<Sent>, Fault> {
            Ok(None)
        }
        async fn open(&self, _: &Attachment) -> Result<File, Fault> {
            self.0()
        }
    }

    async fn open(keeps: fn() -> Result<File, Fault>, attempts: u32) -> Result<Carried, Fault> {
        let peer = Peer { id: "a:ada".into(), name: "ada".into(), facts: BTreeMap::new(), email: None, picture: None };
        let (name, url) = ("cat.png".to_owned(), "net:cat".to_owned());
        let file = Attachment { name, media_type: None, size_bytes: None, url, holder: Holder::Network };
        let message = Message {
            peer,
            speaker: Speaker::Peer,
            text: String::new(),
            attachments: vec![file],
            reply_to: None,
            quiet: false,
            facts: std::collections::BTreeMap::new(),
            thread_facts: BTreeMap::new(),
        };
        let bridge: Arc<dyn Bridge> = Arc::new(Keeps(keeps));
        Opener { bridge: Some(&bridge), bytes_max: 100, attempts }.open_all(&message).await
    }

    #[tokio::test]
    async fn patience_with_a_network_and_with_a_file_has_an_end() {
        let down = || Err(Fault::down("no connection"));
        let fault = open(down, PATIENT_ATTEMPTS_MAX - 1).await.map(drop).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Retry { after: None }, "the inbox is not down");
        let lines = open(down, PATIENT_ATTEMPTS_MAX).await.unwrap().lines;
        assert_eq!(lines, ["cat.png: not shown here, no connection"]);

        let breaks = || Ok(File::new(None, Some(3), stream::iter([Ok("PN".into()), Err(Fault::retry("cut off"))])));
        assert_eq!(open(breaks, PATIENT_ATTEMPTS_MAX - 1).await.unwrap().uploads.len(), 1, "it looks well");
        let lines = open(breaks, PATIENT_ATTEMPTS_MAX).await.unwrap().lines;
        assert_eq!(lines, ["cat.png: not shown here, cut off"], "it is read first");

        let whole = || Ok(File::whole(None, "PNG"));
        assert_eq!(open(whole, ATTEMPTS_WITH_FILES_MAX - 1).await.unwrap().uploads.len(), 1);
        assert_eq!(open(whole, ATTEMPTS_WITH_FILES_MAX).await.unwrap().uploads.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_says_nothing_is_not_waited_for() {
        let silent = || Ok(File::new(None, Some(3), stream::pending()));
        let lines = open(silent, PATIENT_ATTEMPTS_MAX).await.unwrap().lines;
        assert_eq!(lines, ["cat.png: not shown here, the network fell silent"]);
    }

    #[tokio::test]
    async fn a_file_of_unknown_length_is_read_to_its_limit() {
        let file = |pieces: &'static [&'static str]| {
            File::new(None, None, stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())))))
        };
        assert_eq!(read(file(&["PN", "G"]), 3).await.unwrap(), "PNG");
        assert_eq!(read(file(&["PN", "GG"]), 3).await.unwrap_err().kind, FaultKind::Refused);
    }
}
