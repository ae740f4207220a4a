//! Reads the tree and holds it to `ARCHITECTURE.md`: who may know whom, and how large a file may grow.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "tidy/logs.rs"]
mod logs;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each room of `src`, and the rooms that it may use. A room always knows itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("settings", &[]),
    ("telemetry", &["clock", "settings"]),
    ("model", &[]),
    ("policy", &[]),
    ("store", &["telemetry", "model"]),
    ("tenure", &["clock", "model", "store"]),
    ("chatwoot", &[]),
    ("sessions", &["clock", "model", "store", "tenure", "chatwoot"]),
    ("sinks", &["clock", "model", "policy", "store", "sessions", "chatwoot", "telemetry"]),
    ("lanes", &["model"]),
    ("pump", &["clock", "telemetry", "model", "policy", "store", "tenure", "lanes", "sinks"]),
    ("intake", &["clock", "telemetry", "model", "store", "chatwoot"]),
    ("sweep", &["clock", "telemetry", "model", "store", "tenure", "chatwoot", "intake", "sessions"]),
    ("http", &["clock", "telemetry", "model", "store", "chatwoot", "intake"]),
    ("bridges", &["settings"]),
    (
        "gateway",
        &[
            "clock",
            "settings",
            "telemetry",
            "model",
            "policy",
            "store",
            "tenure",
            "chatwoot",
            "sessions",
            "sinks",
            "lanes",
            "pump",
            "intake",
            "sweep",
            "http",
            "bridges",
        ],
    ),
    ("doctor", &["clock", "settings", "store", "chatwoot", "http", "gateway"]),
    ("sandbox", &[]),
    (
        "commands",
        &[
            "clock",
            "settings",
            "telemetry",
            "model",
            "policy",
            "store",
            "chatwoot",
            "gateway",
            "sweep",
            "http",
            "bridges",
            "doctor",
            "sandbox",
        ],
    ),
];

/// What the contract's crate and the adapters may use of ours.
const CRATES: &[(&str, &[&str])] = &[
    ("bridges/api", &[]),
    ("bridges/irc", &["bridge_api"]),
    ("bridges/matrix", &["bridge_api"]),
    ("bridges/smtp", &["bridge_api"]),
];
const OURS: &[&str] = &["bridge_api", "bridge_irc", "bridge_matrix", "bridge_smtp", "deskbridge"];

/// Lines of a file of code. A longer one is split by concern, or named here; the list only shrinks.
const LINES_MAX: usize = 450;
const LONGER: &[(&str, usize)] = &[];
const MAIN_LINES_MAX: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "no code in {folder}");
    found
}

/// The names that follow `prefix` in a file's code, `{…}` groups included: `crate::{a::B, c}` gives a and c.
fn named_after(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(heads(group)),
            None => names.push(word(rest)),
        }
    }
    names
}

/// The first word of each item of a `use` group, up to its closing brace.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && depth == 0 && !c.is_whitespace() => {
                found.push(word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Without comments, so that a sentence may speak of another room.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Tests may reach for whatever they need.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    name == "tests"
        || name == "suite"
        || name.ends_with("_tests")
        || path.components().any(|c| c.as_os_str() == "tests")
}

#[test]
fn each_room_uses_only_the_rooms_that_it_may_know() {
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut faults = Vec::new();
    for path in rust_files("src") {
        let room = room_of(&path);
        if room == "lib" || room == "main" || is_test(&path) {
            continue;
        }
        let Some(may) = rooms.get(room.as_str()) else {
            faults.push(format!("{}: the room `{room}` is in no row of the table", relative(&path)));
            continue;
        };
        let code = code_of(&path);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for used in named_after(code, "crate::") {
            if used != room && rooms.contains_key(used.as_str()) && !may.contains(&used.as_str()) {
                faults.push(format!("{}: `{room}` may not know `{used}`", relative(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_two_rooms_know_each_other() {
    let reach = |from: &str| {
        let mut known: Vec<&str> = Vec::new();
        let mut open = vec![from];
        while let Some(room) = open.pop() {
            for next in ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, may)| may) {
                if !known.contains(next) {
                    known.push(next);
                    open.push(next);
                }
            }
        }
        known
    };
    for (room, _) in ROOMS {
        assert!(!reach(room).contains(room), "`{room}` knows itself through others");
    }
}

#[test]
fn an_adapter_knows_the_contract_and_nothing_else_of_ours() {
    let mut faults = Vec::new();
    for (folder, may) in CRATES {
        for path in rust_files(&format!("{folder}/src")) {
            let code = code_of(&path);
            for theirs in OURS.iter().filter(|name| !may.contains(name)) {
                if code.contains(&format!("{theirs}::")) {
                    faults.push(format!("{}: may not know `{theirs}`", relative(&path)));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_registry_names_an_adapter() {
    for path in rust_files("src") {
        let code = code_of(&path);
        let named = code.contains("bridge_irc");
        assert!(!named || relative(&path) == "src/bridges.rs", "{} names an adapter", relative(&path));
    }
}

#[test]
fn files_stay_readable_in_one_sitting() {
    let mut faults = Vec::new();
    for path in ["src", "bridges", "tests"].iter().flat_map(|folder| rust_files(folder)) {
        let name = relative(&path);
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let longer = LONGER.iter().find(|(file, _)| *file == name);
        let max = if name == "src/main.rs" { MAIN_LINES_MAX } else { longer.map_or(LINES_MAX, |(_, max)| *max) };
        if lines > max {
            faults.push(format!("{name}: {lines} lines, at most {max}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The text log writes a displayed field as it is, so that a nick with a line break could forge lines; a string
/// is escaped.
#[test]
fn no_log_field_is_displayed_raw() {
    for path in ["src", "bridges/api/src", "bridges/irc/src", "bridges/matrix/src", "bridges/smtp/src"]
        .iter()
        .flat_map(|folder| rust_files(folder))
    {
        let code = code_of(&path);
        let raw = ["(%", ", %", "= %"].iter().flat_map(|mark| code.match_indices(mark));
        let raw = raw.filter(|(at, mark)| code[at + mark.len()..].starts_with(|c: char| c.is_alphabetic() || c == '_'));
        assert_eq!(raw.count(), 0, "{} logs a field by `%`", relative(&path));
    }
}

/// What one of the two forms of fuzzing did not know would be tried by halves.
#[test]
fn each_fuzz_target_is_played_and_has_a_corpus_and_a_binary() {
    let (mut targets, mut played) = (Vec::new(), 0);
    for path in ["src", "bridges/irc/src", "bridges/matrix/src", "bridges/smtp/src"].iter().flat_map(|f| rust_files(f))
    {
        let code = code_of(&path);
        played += code.matches(".play();").count();
        for declared in code.split(": Target = Target {").skip(1) {
            let name = declared.split('"').nth(1).unwrap();
            targets.push(name.to_owned());
        }
    }
    assert_eq!(played, targets.len());
    targets.sort();
    let fuzz = root().join("tests/fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let binaries = manifest.split("[[bin]]").skip(1).map(|binary| binary.split('"').nth(1).unwrap().to_owned());
    assert_eq!(binaries.collect::<Vec<_>>(), targets);
    for (folder, ending) in [("corpus", ""), ("words", ".dict")] {
        let entries = fs::read_dir(fuzz.join(folder)).unwrap();
        let mut found: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, targets.iter().map(|name| format!("{name}{ending}")).collect::<Vec<_>>());
    }
}

/// The words between back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_page_on_security_names_files_and_tests_that_are_there() {
    let page = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let code: String =
        ["src", "bridges", "tests"].iter().flat_map(|f| rust_files(f)).map(|path| code_of(&path)).collect();
    let (mut tests, mut faults) = (0, Vec::new());
    for word in page.lines().flat_map(quoted) {
        if word.matches('_').count() >= 3 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            tests += 1;
            if !code.contains(&format!("fn {word}(")) {
                faults.push(format!("no test `{word}`"));
            }
        }
        if ["src/", "bridges/", "tests/", "deploy/"].iter().any(|folder| word.starts_with(folder)) {
            faults.extend((!root().join(word).exists()).then(|| format!("no file `{word}`")));
        }
    }
    assert!(tests > 50 && faults.is_empty(), "{tests} tests; {}", faults.join("\n"));
}

/// As the gateway says them: an operator looks for what is on the screen.
#[test]
fn the_texts_in_the_page_on_troubles_are_said_somewhere() {
    let page = fs::read_to_string(root().join("TROUBLESHOOTING.md")).unwrap();
    let mut code = String::new();
    for line in ["src", "bridges"]
        .iter()
        .flat_map(|f| rust_files(f))
        .flat_map(|path| code_of(&path).lines().map(str::to_owned).collect::<Vec<_>>())
    {
        // A text that goes on in the next line of the code is one.
        match line.strip_suffix('\\') {
            Some(begun) => code.push_str(begun.trim_start()),
            None => code.extend([line.trim_start(), "\n"]),
        }
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").next().unwrap());
    let pieces =
        rows.flat_map(quoted).flat_map(|text| text.split('…')).map(|piece| piece.trim_matches([' ', ':', '(', ')']));
    let pieces: Vec<&str> = pieces.filter(|piece| piece.len() > 8).collect();
    let unsaid: Vec<&&str> = pieces.iter().filter(|piece| !code.contains(**piece)).collect();
    assert!(pieces.len() > 100 && unsaid.is_empty(), "of {} nobody says {unsaid:#?}", pieces.len());
}

#[test]
fn every_module_says_what_it_is() {
    for path in ["src", "bridges/api/src", "bridges/irc/src", "bridges/matrix/src", "bridges/smtp/src"]
        .iter()
        .flat_map(|folder| rust_files(folder))
    {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with what it holds", relative(&path));
    }
}

#[test]
fn the_reader_of_use_lines_sees_groups_and_paths() {
    let code = "use crate::{\n    model::{Envelope, Group},\n    store::Store,\n};\nlet x = crate::clock::now();";
    assert_eq!(named_after(code, "crate::"), ["model", "store", "clock"]);
}
