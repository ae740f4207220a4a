//! What Synapse refuses in an event before it looks at power. Pure.

use serde_json::{Map, Value};

use super::errors::MatrixError;

/// An event with all that servers add to it.
const EVENT_BYTES_MAX: usize = 65_536;
/// Hashes, signatures and the ids of earlier events: what a stored event has beside what is seen here.
const EVENT_BYTES_ADDED: usize = 1_000;
/// Canonical JSON has integers of 53 bits and nothing else.
const INTEGER_MAX: i64 = (1 << 53) - 1;

pub(super) fn content(kind: &str, content: &Value) -> Result<Map<String, Value>, MatrixError> {
    let object = content.as_object().ok_or_else(|| MatrixError::bad_json("Content must be a JSON object."))?;
    numbers(content)?;
    if kind == "m.room.message" {
        for key in ["body", "msgtype"] {
            match object.get(key) {
                Some(Value::String(_)) => {}
                Some(_) => return Err(MatrixError::bad_json(format!("'{key}' not a string type"))),
                None => return Err(MatrixError::bad_json(format!("'{key}' not in content"))),
            }
        }
    }
    Ok(object.clone())
}

fn numbers(value: &Value) -> Result<(), MatrixError> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) if (-INTEGER_MAX..=INTEGER_MAX).contains(&integer) => Ok(()),
            Some(_) => Err(MatrixError::bad_json("JSON integer out of range")),
            None => Err(MatrixError::bad_json("Bad JSON value: float")),
        },
        Value::Array(items) => items.iter().try_for_each(numbers),
        Value::Object(fields) => fields.values().try_for_each(numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

pub(super) fn size(event: &Map<String, Value>) -> Result<(), MatrixError> {
    let bytes = serde_json::to_string(event).map_or(usize::MAX, |text| text.len());
    if bytes.saturating_add(EVENT_BYTES_ADDED) > EVENT_BYTES_MAX {
        return Err(MatrixError::too_large("event too large"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn floats_and_bodies_that_are_no_text_are_refused() {
        let check = |value: Value, errcode: Option<&str>| {
            let found = content("m.room.message", &value).err().map(|error| error.errcode);
            assert_eq!(found, errcode, "{value}");
        };
        check(json!({"msgtype": "m.text", "body": "Hi"}), None);
        check(json!({"msgtype": "m.text", "body": "Hi", "n": {"deep": [1, 2.5]}}), Some("M_BAD_JSON"));
        check(json!({"msgtype": "m.text", "body": "Hi", "n": 9_007_199_254_740_992_i64}), Some("M_BAD_JSON"));
        check(json!({"msgtype": "m.text", "body": "Hi", "n": -9_007_199_254_740_991_i64}), None);
        check(json!({"msgtype": "m.text", "body": 4}), Some("M_BAD_JSON"));
        check(json!({"msgtype": "m.text"}), Some("M_BAD_JSON"));
        check(json!(["body"]), Some("M_BAD_JSON"));
        assert!(content("m.reaction", &json!({})).is_ok());
    }
}
