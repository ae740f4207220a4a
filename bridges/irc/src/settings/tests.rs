//! Settings that are refused, and those that are left out.

use serde_json::{Value, json};

use super::*;

fn least() -> Value {
    json!({ "server": "irc.example", "nick": "help" })
}

fn with(key: &str, value: Value) -> Value {
    let mut table = least();
    table[key] = value;
    table
}

#[test]
fn two_keys_are_enough_and_mean_verified_tls() {
    let settings: Settings = serde_json::from_value(least()).unwrap();
    settings.check().unwrap();
    assert_eq!((settings.port(), settings.tls.is_on(), settings.username()), (6697, true, "help"));
    let plain: Settings = serde_json::from_value(with("tls", json!(false))).unwrap();
    assert_eq!(plain.port(), 6667);
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let cases = [
        ("nik", json!("x"), "unknown field `nik`"),
        ("tls", json!({ "ca": "x" }), "unknown field `ca`"),
        ("tls", json!("maybe"), "true, false, or a table"),
        ("pace", json!("fast"), "a profile (default, libera"),
        ("pace", json!({ "burst": 3 }), "missing field `per_second`"),
        ("sasl", json!({ "mechanism": "scram" }), "unknown variant `scram`"),
        ("channels", json!([{ "name": "#a", "listens": "all" }]), "unknown field `listens`"),
    ];
    for (key, value, expected) in cases {
        let error = serde_json::from_value::<Settings>(with(key, value)).unwrap_err().to_string();
        assert!(error.contains(expected), "{key}: {error}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_key() {
    let cases = [
        ("nick", json!("two words"), "nick"),
        ("nick", json!("1st"), "nick"),
        ("regain", json!(["REGAIN {nick}\r\nQUIT"]), "regain.0"),
        ("regain", json!(["a", "a", "a", "a", "a"]), "regain"),
        ("realname", json!("a\r\nQUIT"), "realname"),
        ("password", json!("a\nQUIT"), "password"),
        ("fallback_encoding", json!("klingon"), "fallback_encoding"),
        ("lines_max", json!(0), "lines_max"),
        ("pace", json!({ "burst": 0, "per_second": 1.0 }), "pace.burst"),
        ("pace", json!({ "burst": 1, "per_second": 0.0 }), "pace.per_second"),
        ("sasl", json!({ "mechanism": "external" }), "sasl.mechanism"),
        ("sasl", json!({ "mechanism": "plain", "account": "a" }), "sasl.password"),
        ("channels", json!([{ "name": "support" }]), "channels.0.name"),
        ("channels", json!([{ "name": "#a" }, { "name": "#A" }]), "channels.1.name"),
        ("channels", json!([{ "name": "#a", "key": "a b" }]), "channels.0.key"),
    ];
    for (key, value, expected) in cases {
        let settings: Settings = serde_json::from_value(with(key, value)).unwrap();
        assert_eq!(settings.check().unwrap_err().key, expected, "{key}");
    }
}

#[test]
fn a_password_in_clear_needs_tls_loopback_or_a_word() {
    let sasl = json!({ "mechanism": "plain", "account": "a", "password": "b" });
    let check = |server: &str, allow: bool| {
        let mut table = json!({ "server": server, "nick": "help", "tls": false, "sasl": sasl });
        table["sasl"]["allow_plaintext"] = json!(allow);
        serde_json::from_value::<Settings>(table).unwrap().check().is_ok()
    };
    assert_eq!(
        [check("irc.example", false), check("irc.example", true), check("127.0.0.1", false)],
        [false, true, true]
    );
}

#[test]
fn secrets_are_never_printed() {
    let mut table = with("password", json!("hunter2"));
    table["channels"] = json!([{ "name": "#a", "key": "hunter2" }]);
    table["sasl"] = json!({ "mechanism": "plain", "account": "a", "password": "hunter2" });
    let settings: Settings = serde_json::from_value(table).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}
