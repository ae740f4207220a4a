//! `x_file` in place of a secret `x`. It reads the named files and keeps nothing of them.

use std::{fs::File, io::Read};

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::{
    document::KeyPath,
    faults::{Finding, Wrong},
    schema::{file_key, is_secret},
};

/// Puts the content of each `x_file` in `x`, for the secret keys of one table.
pub(super) fn take_files(
    properties: &Map<String, Json>,
    table: &mut Table,
    path: &KeyPath,
    findings: &mut Vec<Finding>,
) {
    for (key, _) in properties.iter().filter(|(_, shape)| is_secret(shape)) {
        let file_key = file_key(key);
        if properties.contains_key(&file_key) {
            continue;
        }
        let Some(named) = table.remove(&file_key) else { continue };
        let at = path.child(&file_key);
        if table.contains_key(key) {
            let message = format!("stands beside `{key}`; keep one of the two");
            findings.push(Finding::new(Wrong::Key, at, message));
            continue;
        }
        // A placeholder keeps a file that cannot be read from being reported as a missing key too.
        let text = read(&named).unwrap_or_else(|message| {
            findings.push(Finding::new(Wrong::Value, at, message));
            UNREAD.into()
        });
        table.insert(key.clone(), Value::String(text));
    }
}

const UNREAD: &str = "(unread)";

fn read(named: &Value) -> Result<String, String> {
    const SECRET_BYTES_MAX: u64 = 64 * 1024;
    let Value::String(file) = named else { return Err("must be the name of a file".into()) };
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read {file}: {error}"))?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("{file} is longer than {SECRET_BYTES_MAX} bytes, so it holds no secret"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(format!("{file} is empty")) } else { Ok(text) }
}
