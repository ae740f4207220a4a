//! The parts of a body: their boundaries, their headers and the text in both forms. Pure, and the same for the same letter.

use bridge_api::Attachment;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::compose::{
    clean, encode,
    header::{Fields, parameter},
    html, plain,
};

/// Everything of a body but the bytes of the files.
pub(crate) struct Parts {
    /// The value of the mail's own `Content-Type`, and the encoding when it is a single part.
    pub(crate) content_type: Vec<String>,
    /// Up to the first file.
    pub(crate) text: Bytes,
    pub(crate) attachments: Vec<Attachment>,
    /// Behind the last file.
    pub(crate) end: Bytes,
    mixed: String,
}

impl Parts {
    /// `seed` tells this mail from others; boundaries are made of it.
    pub(crate) fn new(markdown: &str, attachments: &[Attachment], seed: &str) -> Self {
        let boundary = |what: &str| {
            let digest = Sha256::digest(format!("{what}\0{seed}"));
            // Neither base64 nor quoted-printable can ever write `=_`.
            format!("=_{}", hex::encode(&digest[..12]))
        };
        let (mixed, alternative) = (boundary("mixed"), boundary("alternative"));
        let markdown = clean::text(markdown);
        let has_files = !attachments.is_empty();
        let mut text = String::new();
        if !has_files {
            write_alternative(&markdown, &alternative, &mut text);
        } else if !markdown.trim().is_empty() {
            let mut fields = Fields::default();
            fields.add("Content-Type", multipart("alternative", &alternative));
            text = format!("--{mixed}\r\n{}\r\n", fields.as_str());
            write_alternative(&markdown, &alternative, &mut text);
        }
        let content_type = if has_files { multipart("mixed", &mixed) } else { multipart("alternative", &alternative) };
        let end = if has_files { format!("--{mixed}--\r\n") } else { String::new() };
        let attachments = attachments.to_vec();
        // The end is never empty, so that the last piece is one to look at.
        let (text, end) = if has_files { (text, end) } else { (String::new(), text) };
        Self { content_type, text: text.into(), attachments, end: end.into(), mixed }
    }

    /// What stands before the bytes of a file.
    pub(crate) fn file_header(&self, attachment: &Attachment, media_type: Option<&str>) -> Bytes {
        let name = clean::file_name(&attachment.name);
        let media_type = clean::media_type(media_type.or(attachment.media_type.as_deref()));
        let mut fields = Fields::default();
        fields.add("Content-Type", [media_type]);
        fields.add("Content-Transfer-Encoding", ["base64".to_owned()]);
        let disposition = std::iter::once("attachment;".to_owned()).chain(parameter("filename", &name));
        fields.add("Content-Disposition", disposition);
        format!("--{}\r\n{}\r\n", self.mixed, fields.as_str()).into()
    }

    /// Octets of the whole body by what is declared of the files. `None` when one does not say; at least so many.
    pub(crate) fn declared_bytes(&self) -> (u64, bool) {
        let mut sum = (self.text.len() + self.end.len()) as u64;
        let mut complete = true;
        for attachment in &self.attachments {
            complete &= attachment.size_bytes.is_some();
            let coded = encode::Base64Lines::encoded_bytes(attachment.size_bytes.unwrap_or(0));
            sum = sum.saturating_add(self.file_header(attachment, None).len() as u64).saturating_add(coded);
        }
        (sum, complete)
    }
}

fn write_alternative(markdown: &str, boundary: &str, out: &mut String) {
    write_text("plain", &plain::of_markdown(markdown), boundary, out);
    if let Some(page) = html::of_markdown(markdown) {
        write_text("html", &page, boundary, out);
    }
    out.extend(["--", boundary, "--\r\n"]);
}

fn write_text(kind: &str, text: &str, boundary: &str, out: &mut String) {
    let (encoding, lines) = encode::text(text);
    let mut fields = Fields::default();
    fields.add("Content-Type", [format!("text/{kind};"), "charset=\"utf-8\"".to_owned()]);
    fields.add("Content-Transfer-Encoding", [encoding.to_owned()]);
    let gap = if lines.is_empty() || lines.ends_with("\r\n") { "" } else { "\r\n" };
    out.extend(["--", boundary, "\r\n", fields.as_str(), "\r\n", &lines, gap]);
}

fn multipart(kind: &str, boundary: &str) -> Vec<String> {
    vec![format!("multipart/{kind};"), format!("boundary=\"{boundary}\"")]
}
