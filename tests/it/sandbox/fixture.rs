//! The payloads on disk, and what it means to have the shape of one.

use std::path::Path;

use serde_json::Value;

/// Hashes whose keys are the writer's business.
const FREE: [&str; 8] = [
    "changed_attributes",
    "content_attributes",
    "additional_attributes",
    "custom_attributes",
    "auto_assignment_config",
    "csat_config",
    "features",
    "settings",
];
/// Keys that are there only sometimes: their absence or presence says nothing about the shape.
const SOMETIMES: [&str; 4] = ["last_activity_at", "assignee", "assignee_type", "echo_id"];

pub(crate) fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chatwoot").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn json(name: &str) -> Value {
    serde_json::from_str(&text(&format!("{name}.json"))).unwrap()
}

/// Panics unless `actual` has the keys and types of the fixture, all the way down.
#[track_caller]
pub(crate) fn assert_shape(name: &str, actual: &Value) {
    let mut faults = Vec::new();
    compare(&json(name), actual, name, &mut faults);
    assert!(faults.is_empty(), "{}\n{actual:#}", faults.join("\n"));
}

fn compare(wanted: &Value, actual: &Value, at: &str, faults: &mut Vec<String>) {
    match (wanted, actual) {
        // What may be null may be anything, and the other way round.
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        (Value::Object(wanted), Value::Object(actual)) => {
            for (key, wanted) in wanted {
                let at = format!("{at}.{key}");
                match actual.get(key) {
                    Some(_) if FREE.contains(&key.as_str()) => {}
                    Some(actual) => compare(wanted, actual, &at, faults),
                    None if SOMETIMES.contains(&key.as_str()) => {}
                    // A pushed message of nobody's has a null id for its sender, and no sender.
                    None if key == "sender" && actual.get("sender_id") == Some(&Value::Null) => {}
                    None => faults.push(format!("{at} is missing")),
                }
            }
            for key in actual.keys().filter(|key| !wanted.contains_key(*key) && !SOMETIMES.contains(&key.as_str())) {
                faults.push(format!("{at}.{key} is too much"));
            }
        }
        (Value::Array(wanted), Value::Array(actual)) => {
            if let Some(wanted) = wanted.first() {
                for (index, actual) in actual.iter().enumerate() {
                    compare(wanted, actual, &format!("{at}[{index}]"), faults);
                }
            }
        }
        (Value::Number(wanted), Value::Number(actual)) if wanted.is_f64() == actual.is_f64() => {}
        (wanted, actual) => faults.push(format!("{at}: wanted something like {wanted}, found {actual}")),
    }
}
