//! The example holds every key and means the defaults; `check`, `schema` and `completions` as a shell sees them.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Output},
};

use deskbridge::{
    bridges::Registry,
    settings::{EXAMPLE, Faults, Place, Settings, file_schema, load_text},
};
use serde_json::Value as Json;

fn read(text: &str) -> Result<Settings, Faults> {
    load_text("example.toml", text, Vec::<(OsString, OsString)>::new(), &Registry::standard())
}

/// The example with every key that is off by default turned on.
fn full_example() -> String {
    let on = |line: &str| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned)
    };
    EXAMPLE.lines().map(|line| on(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// Byte ranges of the keys: at the front of a line, in its header, and in its inline tables.
fn keys(text: &str) -> Vec<std::ops::Range<usize>> {
    let is_key = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let mut found = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split(" #").next().unwrap_or_default();
        if let Some(header) = code.strip_prefix('[') {
            let room = header.split(['.', ']']).next().unwrap_or_default();
            found.push(line_start + 1..line_start + 1 + room.len());
        }
        for (at, _) in code.match_indices(" = ").filter(|_| !code.starts_with(['#', '['])) {
            let start = code[..at].rfind(|c| !is_key(c)).map_or(0, |before| before + 1);
            found.push(line_start + start..line_start + at);
        }
        line_start += line.len();
    }
    found
}

#[test]
fn the_example_is_read_with_and_without_the_keys_that_are_off() {
    // Files that the settings name are read, too.
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["mail.acme.example".to_owned()]).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        format!("\"{}\"", path.display())
    };
    let cert = file("cert.pem", &made.cert.pem());
    let key = file("key.pem", &made.signing_key.serialize_pem());
    let dkim = file("dkim.pem", include_str!("../../bridges/smtp/src/compose/testdata/dkim.pem"));
    let full = full_example()
        .replace("cert_file = \"...\", key_file = \"...\"", &format!("cert_file = {cert}, key_file = {key}"))
        .replace("selector = \"2026\", key_file = \"...\"", &format!("selector = \"2026\", key_file = {dkim}"));
    // Not every deskbridge can send traces; one that cannot says so.
    let full = if cfg!(feature = "otlp") { full } else { full.replace("\notlp = ", "\n#otlp = ") };
    for text in [EXAMPLE, &full] {
        let settings = read(text).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!((settings.inboxes.len(), settings.bridges.len()), (1, 3));
    }
}

#[test]
fn each_key_of_the_example_is_refused_when_misspelt_and_the_right_one_is_suggested() {
    let text = full_example();
    let keys = keys(&text);
    assert!(keys.len() > 45, "only {} keys were found", keys.len());
    for range in keys {
        let key = &text[range.clone()];
        let middle = key.len() / 2;
        let slips = [
            format!("{}{}", &key[..middle], &key[middle + 1..]),
            format!("{key}{}", &key[key.len() - 1..]),
            format!("{}x{}", &key[..middle], &key[middle..]),
        ];
        for slip in slips {
            let mut wrong = text.clone();
            wrong.replace_range(range.clone(), &slip);
            let faults = read(&wrong).map(drop).expect_err(&slip);
            let line = text[..range.start].matches('\n').count() + 1;
            let column = range.start - text[..range.start].rfind('\n').map_or(0, |newline| newline + 1) + 1;
            let place = Place::File { file: "example.toml".into(), line, column };
            let fault = faults.iter().find(|fault| fault.place == place && fault.key.ends_with(&slip));
            let fault = fault.unwrap_or_else(|| panic!("`{slip}` at {line}:{column} is not in\n{faults}"));
            assert_eq!(fault.nearest.as_deref(), Some(key), "{fault}");
        }
    }
}

#[test]
fn traces_are_refused_where_they_are_not_built_in_and_a_wrong_address_everywhere() {
    let with = |url: &str| read(&format!("[log]\notlp = \"{url}\"\n")).map(|settings| settings.log.otlp.is_some());
    match with("http://collector:4318") {
        Ok(is_on) => assert!(is_on && cfg!(feature = "otlp")),
        Err(faults) => {
            let text = faults.to_string();
            assert!(!cfg!(feature = "otlp") && text.contains("log.otlp") && text.contains("--features otlp"), "{text}");
        }
    }
    let faults = with("collector:4318").unwrap_err().to_string();
    assert!(faults.contains("log.otlp") && faults.contains("http://"), "{faults}");
}

/// Each table of the schema with its keys, without the `_file` twins of secrets.
fn rooms() -> Vec<(String, Json)> {
    let schema = file_schema(&Registry::standard());
    let properties = &schema["properties"];
    let mut rooms: Vec<(String, Json)> =
        ["gateway", "store", "log"].iter().map(|room| ((*room).to_owned(), properties[room].clone())).collect();
    rooms.push(("inboxes.support".into(), properties["inboxes"]["additionalProperties"].clone()));
    let bridges = properties["bridges"]["additionalProperties"]["oneOf"].as_array().cloned().unwrap_or_default();
    assert_eq!(bridges.len(), 3, "each kind needs a bridge in the example");
    rooms.extend(bridges.into_iter().map(|bridge| {
        let room = match bridge["properties"]["kind"]["const"].as_str() {
            Some("irc") => "bridges.libera",
            Some("matrix") => "bridges.matrix",
            Some("smtp") => "bridges.mail",
            other => panic!("no bridge of the kind {other:?} in the example"),
        };
        (room.to_owned(), bridge)
    }));
    rooms
}

fn at<'a>(table: &'a toml::Table, dotted: &str) -> &'a toml::Table {
    dotted.split('.').fold(table, |table, key| table[key].as_table().unwrap_or_else(|| panic!("no [{dotted}]")))
}

#[test]
fn the_example_holds_every_key_of_the_schema() {
    let example: toml::Table = full_example().parse().unwrap();
    for (room, shape) in rooms() {
        let keys: BTreeSet<&String> = shape["properties"].as_object().unwrap().keys().collect();
        let written: BTreeSet<&String> = at(&example, &room).keys().collect();
        for key in keys {
            let twin = key.strip_suffix("_file").is_some_and(|secret| shape["properties"].get(secret).is_some());
            assert!(twin || written.contains(key), "`{key}` of [{room}] is not in the example");
        }
        for key in nested_keys(&shape) {
            assert!(EXAMPLE.contains(&key), "`{key}`, somewhere in [{room}], is not in the example");
        }
    }
}

fn nested_keys(shape: &Json) -> Vec<String> {
    match shape {
        Json::Object(fields) => {
            let own = fields.get("properties").and_then(Json::as_object).into_iter().flatten();
            let own = own.filter(|(key, _)| !key.ends_with("_file") || *key == "ca_file").map(|(key, _)| key.clone());
            own.chain(fields.values().flat_map(nested_keys)).collect()
        }
        Json::Array(items) => items.iter().flat_map(nested_keys).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Vec::new(),
    }
}

#[test]
fn the_example_says_the_defaults() {
    let example: toml::Table = full_example().parse().unwrap();
    let mut compared = 0;
    for (room, shape) in rooms() {
        let table = at(&example, &room);
        for (key, shape) in shape["properties"].as_object().unwrap() {
            let default = &shape["default"];
            if !default.is_null() && *default != serde_json::json!([]) {
                assert_eq!(serde_json::to_value(&table[key]).unwrap(), *default, "`{key}` of [{room}]");
                compared += 1;
            }
        }
    }
    assert!(compared >= 15, "only {compared} keys have a default");
}

fn deskbridge(arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
    command.args(arguments).current_dir(folder).env_clear().envs(variables.iter().copied());
    command.output().expect("the executable was built for this test")
}

#[test]
fn check_says_what_it_read_and_what_provision_would_still_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("deskbridge.toml"), EXAMPLE).unwrap();
    fs::write(folder.path().join("other.toml"), "").unwrap();
    let other = [("DESKBRIDGE_CONFIG", "other.toml")];
    let cases = [
        (
            vec!["check"],
            &other[..0],
            "deskbridge.toml: no mistakes, 1 inbox, 3 bridges\n\
             inboxes.support: no `callback_secret`, so an administrator's token is needed to read it; \
             `deskbridge provision` takes it into a file\n",
        ),
        (vec!["check", "-c", "other.toml"], &other[..0], "other.toml: no mistakes, 0 inboxes, 0 bridges\n"),
        (vec!["check"], &other[..], "other.toml: no mistakes, 0 inboxes, 0 bridges\n"),
    ];
    for (arguments, variables, expected) in cases {
        let output = deskbridge(&arguments, folder.path(), variables);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
    }
}

#[test]
fn check_reports_every_mistake_on_standard_error_in_plain_text_and_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    let text = EXAMPLE
        .replace("stop_seconds", "stop_secs")
        .replace("api_access_token = \"...\"", "api_tokn = \"c4nary\"")
        .replace("\"irc\" ", "\"ircc\" ")
        .replace("concurrency = 4 ", "concurrency = 99 ");
    fs::write(folder.path().join("bad.toml"), &text).unwrap();
    let output = deskbridge(&["check", "-c", "bad.toml"], folder.path(), &[("DESKBRIDGE__LOG__FORMAT", "xml")]);
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{report}");
    let place = |part: &str| format!("bad.toml:{}", text[..text.find(part).unwrap()].matches('\n').count() + 1);
    for expected in [
        format!("{}:1: gateway.stop_secs: unknown key; did you mean `stop_seconds`?\n", place("stop_secs")),
        format!("{}:1: inboxes.support.api_tokn: unknown key; did you mean `api_access_token`?\n", place("api_tokn")),
        format!("{}:15: inboxes.support.concurrency: must be from 1 to 64\n", place("concurrency")),
        format!(
            "{}:8: bridges.libera.kind: no bridge kind `ircc` (known: irc, matrix, smtp); did you mean `irc`?\n",
            place("ircc")
        ),
        "DESKBRIDGE__LOG__FORMAT: log.format: must be one of ".to_owned(),
        "6 mistakes in the settings\n".to_owned(),
    ] {
        assert!(report.contains(&expected), "{expected} is not in\n{report}");
    }
    assert!(!report.contains("c4nary") && !report.contains('\u{1b}'), "{report}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = deskbridge(&["check"], folder.path(), &[]);
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(report.starts_with("deskbridge.toml: cannot be read: "), "{report}");
}

#[test]
fn the_schema_is_json_for_every_kind_and_offers_files_for_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let output = deskbridge(&["schema"], folder.path(), &[]);
    let schema: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema, file_schema(&Registry::standard()));
    let inbox = &schema["properties"]["inboxes"]["additionalProperties"];
    assert_eq!(inbox["properties"]["api_access_token_file"]["type"], "string");
    assert!(!inbox["required"].as_array().unwrap().contains(&"api_access_token".into()));
    assert!(!schema.to_string().contains("$ref"));
}

#[test]
fn completions_are_made_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = deskbridge(&["completions", shell], folder.path(), &[]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("healthcheck"), "{shell}");
    }
}
