//! `deskbridge check`: the settings can be used. Starts nothing.

use std::{fmt::Write as _, path::Path};

use crate::settings::{Inbox, Settings};

/// What was read, in one line, and behind it what `provision` would still do. Mistakes were reported before.
pub(super) fn run(file: &Path, settings: &Settings) -> String {
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let inboxes = count(settings.inboxes.len(), "inbox", "inboxes");
    let bridges = count(settings.bridges.len(), "bridge", "bridges");
    let mut text = format!("{}: no mistakes, {inboxes}, {bridges}\n", file.display());
    for (name, _) in settings.inboxes.iter().filter(|(_, inbox)| is_unproved(inbox)) {
        writeln!(
            text,
            "inboxes.{name}: no `callback_secret`, so an administrator's token is needed to read it; \
             `deskbridge provision` takes it into a file"
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// Nothing in the settings says by what its callbacks are proved.
fn is_unproved(inbox: &Inbox) -> bool {
    inbox.callback_secret.is_none() && inbox.callback_path_token.is_none()
}
