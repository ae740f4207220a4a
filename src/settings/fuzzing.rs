//! Settings of any bytes.

use bridge_api::kit::fuzz::Target;

use super::stub::read;

/// All of this room.
pub const TARGETS: &[Target] = &[TOML];

/// Any text is settings or mistakes, and no report of either shows the value of a secret.
const TOML: Target = Target { name: "settings_toml", check: toml, runs: 2_000 };

/// Keys that hold a secret wherever they are known, and near misses of them.
const SECRET_KEYS: [&str; 7] =
    ["api_access_token", "api_tokn", "callback_secret", "callback_path_token", "admin_token", "password", "key"];

fn toml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Files that a mistake names are read, and what is a device there is not for a test to open.
    if text.contains("_file") {
        return;
    }
    let shown = match read(&text) {
        Ok(settings) => format!("{settings:?}"),
        Err(faults) => {
            let (plain, drawn) = (faults.report(false), faults.report(true));
            assert!(!plain.is_empty() && !drawn.is_empty() && faults.iter().count() > 0);
            assert!(!plain.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{plain:?}");
            plain + &drawn + &format!("{faults:?}")
        }
    };
    for secret in secrets(&text) {
        assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
    }
}

/// What is surely meant as a secret: a canary in quotes behind a key of one, which stands nowhere else in the text.
fn secrets(text: &str) -> Vec<&str> {
    if text.contains("\"\"\"") || text.contains("'''") {
        return Vec::new();
    }
    let quoted = |line: &'_ str| {
        let (before, rest) = line.split_once(" = \"")?;
        let (value, after) = rest.split_once('"')?;
        let key = before.rsplit([' ', '{', ',', '\t']).next()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let fine = SECRET_KEYS.contains(&key)
            && !before.contains(['"', '\'', '#'])
            && value.starts_with("c4nary-")
            && value.len() > 8
            && value.chars().all(plain)
            && !after.contains(['"', '\'']);
        fine.then_some((before.len() + 4, value.len()))
    };
    let found = text.lines().filter_map(|line| quoted(line).map(|(at, length)| &line[at..at + length]));
    found.filter(|secret| text.matches(secret).count() == 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_settings_or_mistakes_without_a_secret() {
        TOML.play();
    }

    #[test]
    fn what_is_surely_a_secret_is_found() {
        let text = "[a]\npassword = \"c4nary-one\"\nsasl = { account = x, password = \"c4nary-two\" }\n# key = \"c4nary-three\"\nname = \"c4nary-four\"";
        assert_eq!(secrets(text), ["c4nary-one", "c4nary-two"]);
    }
}
