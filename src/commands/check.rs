//! `deskbridge check`: the settings can be used. Starts nothing.

use std::path::Path;

use crate::settings::Settings;

/// What was read, in one line. Mistakes were reported before.
pub(super) fn run(file: &Path, settings: &Settings) -> String {
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let inboxes = count(settings.inboxes.len(), "inbox", "inboxes");
    let bridges = count(settings.bridges.len(), "bridge", "bridges");
    format!("{}: no mistakes, {inboxes}, {bridges}\n", file.display())
}
