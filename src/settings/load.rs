//! From a file and the environment to [`Settings`], or to everything that is wrong with them.

use std::{ffi::OsString, fs::File, io::Read as _, path::Path};

use toml::Table;

use super::{
    Kinds, Prints, Settings,
    document::{Document, KeyPath},
    faults::{Faults, Finding, Wrong, nearest},
    layers::Layers,
    placing::Placing,
    rooms::Rooms,
    schema::{ROOMS, Shapes, file_schema, vocabulary},
    shape::Checked,
};

/// Reads the settings in `file` with `variables` of the environment laid over them.
pub fn load(
    file: &Path,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    kinds: &dyn Kinds,
) -> Result<Settings, Faults> {
    let name = file.display().to_string();
    load_text(&name, &read_file(file)?, variables, kinds)
}

pub(super) fn read_file(file: &Path) -> Result<String, Faults> {
    const FILE_BYTES_MAX: u64 = 1024 * 1024;
    let name = file.display().to_string();
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| Faults::unreadable(&name, format!("cannot be read: {error}")))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Faults::unreadable(&name, format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// As [`load`], for a text that is already here; `name` is what reports call it.
pub fn load_text(
    name: &str,
    text: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    kinds: &dyn Kinds,
) -> Result<Settings, Faults> {
    read_prepared(name, text, variables, kinds, |_| {})
}

/// The same, with something done to what is written before it is judged.
pub(super) fn read_prepared(
    name: &str,
    text: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    kinds: &dyn Kinds,
    prepare: impl FnOnce(&mut Table),
) -> Result<Settings, Faults> {
    let mut document = Document::read(text);
    let shapes = Shapes::new();
    let mut checked = Checked { findings: std::mem::take(&mut document.findings), ..Checked::default() };
    let file = known_rooms(std::mem::take(&mut document.table), &mut checked);
    let mut layers = Layers::merge(file, variables, &shapes, kinds)
        .map_err(|error| Faults::unreadable(name, format!("cannot be layered: {error}")))?;
    checked.findings.append(&mut layers.findings);
    let mut table = known_rooms(std::mem::take(&mut layers.table), &mut checked);
    prepare(&mut table);
    let settings = Rooms { checked: &mut checked, shapes: &shapes, kinds, prints: Prints::default() }.settings(table);
    match settings {
        Some(settings) if checked.findings.is_empty() && document.broken.is_empty() => Ok(settings),
        _ => {
            let vocabulary = vocabulary(&file_schema(kinds));
            let placing = Placing::new(name, text, &document, &layers.variables, &checked, vocabulary);
            Err(placing.faults(checked.findings))
        }
    }
}

/// Takes out what is no room of the file, before `config` reads a dot in its name as a path.
fn known_rooms(mut table: Table, checked: &mut Checked) -> Table {
    table.retain(|key, _| {
        let known = ROOMS.contains(&key);
        if !known {
            let near = nearest(key, ROOMS);
            let message = if near.is_some() {
                "unknown key".into()
            } else {
                format!("unknown key (known: {})", ROOMS.join(", "))
            };
            checked.findings.push(Finding::new(Wrong::Key, KeyPath::of(&[key]), message).near(near));
        }
        known
    });
    table
}
