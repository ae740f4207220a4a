//! The Python environment that `.ci/matrix-venv` makes: Synapse, and a customer's client.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Whether it is there, with what these tests need. Says so where it is not, and fails where CI expects it.
pub(crate) fn present(folder: &Path) -> bool {
    // Written last by the script, so that a half-made environment does not count.
    if folder.join("stamp").is_file() {
        return true;
    }
    let text = format!("no Python environment in {} (run .ci/matrix-venv)", folder.display());
    assert!(std::env::var_os("CI").is_none(), "{text}");
    eprintln!("\n*** SKIPPED: {text} ***\n");
    false
}

/// The environment of Synapse and of customers.
pub(crate) fn folder() -> PathBuf {
    let target = || Path::new(env!("CARGO_TARGET_TMPDIR")).parent().map(|target| target.join("matrix-venv"));
    let set = std::env::var_os("DESKBRIDGE_TEST_VENV").map(PathBuf::from);
    set.or_else(target).expect("the target folder has a name")
}

/// The one of Heisenbridge, which needs older libraries.
pub(crate) fn heisenbridge_folder() -> PathBuf {
    let mut name = folder().into_os_string();
    name.push("-heisenbridge");
    PathBuf::from(name)
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(folder().join("bin/python"));
    // What is printed is read at once, and nothing is left beside the sources.
    command.args(["-u", "-B"]);
    command
}

/// A script beside this file.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/peers").join(name)
}
