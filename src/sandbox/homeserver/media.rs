//! Files: kept whole in memory, the oldest given up when there are too many.

use bytes::Bytes;

use super::house::{House, Medium};

/// What all files may take together.
const BYTES_MAX: usize = 512 * 1024 * 1024;

impl House {
    /// Keeps a file and returns its `mxc` address.
    pub(super) fn upload(&mut self, content_type: &str, name: Option<&str>, bytes: Bytes) -> String {
        let id = self.letters(24);
        let mut kept: usize = self.media.values().map(|medium| medium.bytes.len()).sum();
        kept += bytes.len();
        while kept > BYTES_MAX {
            let Some(victim) = self.media.keys().next().cloned() else { break };
            kept -= self.media.remove(&victim).map_or(0, |medium| medium.bytes.len());
        }
        let medium = Medium { content_type: content_type.to_owned(), name: name.map(ToOwned::to_owned), bytes };
        self.media.insert(id.clone(), medium);
        format!("mxc://{}/{id}", self.settings.server_name)
    }

    pub(super) fn medium(&self, server: &str, id: &str) -> Option<&Medium> {
        self.media.get(id).filter(|_| server == self.settings.server_name)
    }
}
