//! A mailbox on the disk, read as it fills.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use super::Letter;
use crate::wait::until;

/// How long nothing more must come for it to be believed that nothing does.
const QUIET: Duration = Duration::from_millis(1500);

#[derive(Clone, Debug)]
pub(crate) struct Maildir {
    folder: PathBuf,
}

impl Maildir {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Every mail in it, by the time at which it came.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        let Ok(entries) = fs::read_dir(self.folder.join("new")) else { return Vec::new() };
        // Names begin with the second and the microsecond; no mailbox of these tests is read by anybody else.
        let names: BTreeSet<_> = entries.flatten().map(|entry| entry.path()).collect();
        names.into_iter().map(|path| Letter::new(fs::read(path).expect("nobody deletes mails"))).collect()
    }

    /// The one mail whose text holds these words.
    pub(crate) fn with(&self, words: &str) -> Letter {
        until(&format!("a mail with `{words}`"), || {
            let letters = self.letters();
            let mut found: Vec<_> = letters.iter().filter(|letter| letter.text().contains(words)).collect();
            assert!(found.len() < 2, "`{words}` came {} times", found.len());
            let texts = || format!("{:?}", letters.iter().map(Letter::text).collect::<Vec<_>>());
            found.pop().cloned().ok_or_else(texts)
        })
    }

    /// Returns what is there once there are at least so many and nothing more has come for a while.
    pub(crate) fn settled(&self, count_min: usize) -> Vec<Letter> {
        let mut before = until(&format!("{count_min} mails"), || {
            let letters = self.letters();
            if letters.len() >= count_min { Ok(letters) } else { Err(format!("{} are there", letters.len())) }
        });
        loop {
            std::thread::sleep(QUIET);
            let now = self.letters();
            if now.len() == before.len() {
                return now;
            }
            before = now;
        }
    }
}
