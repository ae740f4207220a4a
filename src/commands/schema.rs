//! `deskbridge schema`: the settings' JSON Schema.

use crate::{bridges::Registry, settings};

pub(super) fn run(registry: &Registry) -> String {
    format!("{:#}\n", settings::file_schema(registry))
}
