//! A target for libFuzzer: the one that the binary is named for.

#![no_main]

use std::sync::LazyLock;

use bridge_api::kit::fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env!("CARGO_BIN_NAME");
    let mut all = [
        bridge_irc::fuzzing::TARGETS,
        bridge_matrix::fuzzing::TARGETS,
        bridge_smtp::fuzzing::TARGETS,
        deskbridge::chatwoot::fuzzing::TARGETS,
        deskbridge::settings::fuzzing::TARGETS,
    ]
    .into_iter()
    .flatten();
    *all.find(|target| target.name == name).unwrap_or_else(|| panic!("no crate has the target `{name}`"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.check)(data));
