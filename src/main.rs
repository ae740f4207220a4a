//! The executable: everything is in the library, so that a program with adapters of its own is as short.

use std::process::ExitCode;

fn main() -> ExitCode {
    deskbridge::commands::run(&deskbridge::bridges::Registry::standard())
}
