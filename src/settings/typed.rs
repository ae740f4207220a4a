//! From a checked table to a type, with every value that the type refuses, not only the first.

use bridge_api::SettingsFault;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Reads `T`, or says of each key why it cannot be read.
///
/// Keys are dotted from the table. A missing key is reported only when nothing else is wrong: a value
/// that was refused is taken out before the next look, and would then be missed.
pub fn read_table<T: DeserializeOwned>(table: Table) -> Result<T, Vec<SettingsFault>> {
    let mut value = Value::Table(table);
    let mut faults = Vec::new();
    loop {
        let (path, message) = match serde_path_to_error::deserialize(value.clone()) {
            Ok(read) if faults.is_empty() => return Ok(read),
            Ok::<T, _>(_) => return Err(faults),
            Err(error) => (keys(error.path()), error.inner().message().to_owned()),
        };
        let missing = message.starts_with("missing field");
        if !missing || faults.is_empty() && path.is_empty() {
            faults.push(SettingsFault::new(path.join("."), message));
        }
        if !remove(&mut value, &path) {
            return Err(faults);
        }
    }
}

fn keys(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    let key = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map_while(key).collect()
}

/// Takes one value out. False when there is nothing there, which ends the search for mistakes.
pub(super) fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, above)) = path.split_last() else { return false };
    let parent = above.iter().try_fold(value, |value, key| match value {
        Value::Table(table) => table.get_mut(key),
        Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => None,
    });
    match parent {
        Some(Value::Table(table)) => table.remove(last).is_some(),
        Some(Value::Array(items)) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading it matters")]
    struct Point {
        x: u8,
        y: u8,
        name: Option<String>,
    }

    #[test]
    fn every_refused_value_is_reported_and_a_missing_key_only_alone() {
        let cases = [
            ("x = 1\ny = 2", vec![]),
            ("x = 300\ny = -1\nname = true", vec!["name", "x", "y"]),
            ("x = 300", vec!["x"]),
            ("x = 3", vec![""]),
        ];
        for (text, expected) in cases {
            let read = read_table::<Point>(text.parse().unwrap());
            let keys: Vec<String> =
                read.map_or_else(|faults| faults.into_iter().map(|it| it.key).collect(), |_| vec![]);
            assert_eq!(keys, expected, "{text}");
        }
    }
}
