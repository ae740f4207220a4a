//! The log's fixed words: an event in plain words, and fields whose names mean the same everywhere.

use super::{code_of, relative, rust_files, word};

/// The names of log fields, each with one meaning: what an operator filters by in one place is called so in all.
const LOG_FIELDS: &[&str] = &[
    // Whose it is.
    "bridge",
    "inbox",
    "sink",
    "room",
    "channel",
    "server",
    "contact",
    "conversation",
    "agent",
    // What it is about.
    "key",
    "event",
    "mail",
    "blob",
    "cursor",
    "call",
    "request_id",
    "command",
    "duty",
    "stage",
    "setting",
    "place",
    // An attempt, and what came of it.
    "attempt",
    "was_probe",
    "again",
    "outcome",
    "status",
    "code",
    "word",
    "answer",
    "ending",
    "redacted",
    "typing",
    // Why: `fault` of a far side, `error` of ours or of the machine, `reason` as a sentence.
    "fault",
    "error",
    "reason",
    // How much, and how long.
    "attempts",
    "waiting",
    "bridges",
    "conversations",
    "events",
    "found",
    "rows",
    "count",
    "bytes",
    "pause_seconds",
    // What we are called, and where we listen.
    "address",
    "nick",
    "protocol",
    "before",
    "after",
];
/// What names a person is for debug and trace alone.
const LOG_FIELDS_OF_PEOPLE: &[&str] = &["account", "peer", "thread"];

/// Each call of a log macro: its level, and what stands between its brackets.
fn log_calls(code: &str) -> Vec<(String, Vec<String>)> {
    let mut calls = Vec::new();
    for (at, mark) in code.match_indices("tracing::") {
        let rest = &code[at + mark.len()..];
        let level = word(rest);
        let Some(inside) = rest.strip_prefix(&format!("{level}!(")) else { continue };
        if ["trace", "debug", "info", "warn", "error"].contains(&level.as_str()) {
            calls.push((level, arguments(inside)));
        }
    }
    calls
}

/// What stands between commas, up to the bracket that closes what was opened before `code`.
fn arguments(code: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped, mut all) = (0, false, false, vec![String::new()]);
    for c in code.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        all.last_mut().unwrap().push(c);
    }
    all.into_iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

#[test]
fn log_fields_have_fixed_names_and_people_are_named_at_debug_at_most() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for path in ["src", "bridges/api/src", "bridges/irc/src", "bridges/matrix/src", "bridges/smtp/src"]
        .iter()
        .flat_map(|folder| rust_files(folder))
    {
        let code = code_of(&path);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (level, arguments) in log_calls(code) {
            seen += 1;
            let (event, fields) = arguments.split_last().unwrap();
            if !event.starts_with('"') {
                faults.push(format!("{}: {level} of {event} says no event in plain words", relative(&path)));
            }
            for field in fields {
                let name = word(field.trim_start_matches('?'));
                let of_people =
                    LOG_FIELDS_OF_PEOPLE.contains(&name.as_str()) && ["debug", "trace"].contains(&level.as_str());
                if !of_people && !LOG_FIELDS.contains(&name.as_str()) {
                    faults.push(format!("{}: `{name}` is no name of a log field at {level}", relative(&path)));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 100, "the reader of log calls found only {seen}");
}

#[test]
fn the_reader_of_log_calls_sees_through_brackets_and_quotes() {
    let code = "tracing::warn!(key = f(a, \"(,\\\"\"), ?fault, \"gone, (all)\");";
    let expected =
        vec![("warn".to_owned(), vec!["key = f(a, \"(,\\\"\")".to_owned(), "?fault".into(), "\"gone, (all)\"".into()])];
    assert_eq!(log_calls(code), expected);
}
