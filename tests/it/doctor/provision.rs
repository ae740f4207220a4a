//! From nothing, twice, and what it leaves alone.

use std::{fs, os::unix::fs::PermissionsExt as _};

use deskbridge::sandbox::{Role, SandboxSettings};
use serde_json::Value;

use super::{Scene, command::run};

/// Without a number, and with the secret in a file that is not there yet.
fn from_nothing(scene: &Scene) -> Vec<(String, String)> {
    let file = scene.folder.path().join("secret");
    vec![
        ("inbox_id = 7\n".to_owned(), String::new()),
        (
            "callback_secret = \"demo-callback-secret\"".to_owned(),
            format!("callback_secret_file = \"{}\"", file.display()),
        ),
    ]
}

fn borrowed(changes: &[(String, String)]) -> Vec<(&str, &str)> {
    changes.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect()
}

fn inbox(scene: &Scene, id: u64) -> Value {
    let state = scene.sandbox.state();
    let inboxes = state["inboxes"].as_array().unwrap();
    inboxes.iter().find(|inbox| inbox["id"] == id).cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn an_inbox_is_made_from_nothing_and_a_second_time_there_is_no_difference() {
    let callback_url = Some("https://else.example/hook".to_owned());
    let scene = Scene::with(SandboxSettings { callback_url, ..SandboxSettings::default() }).await;
    let changes = from_nothing(&scene);
    let file = scene.file(&borrowed(&changes));
    let (written, before) = (fs::read_to_string(&file).unwrap(), scene.sandbox.state());
    let secret = scene.folder.path().join("secret");

    let (output, text) = run(&["provision", "--dry-run", "--write"], &file).await;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("+ API inbox         \"support\"\n") && text.contains("+ secret file"), "{text}");
    assert_eq!((scene.sandbox.state(), secret.exists()), (before, false), "nothing is changed");
    assert_eq!(fs::read_to_string(&file).unwrap(), written);

    let (output, text) = run(&["provision", "--agents", "Grace@harbor.example"], &file).await;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("inbox support: made as number 8\n") && text.ends_with("\ninbox_id = 8\n"), "{text}");
    let made = inbox(&scene, 8);
    assert_eq!(made["webhook_url"], format!("http://127.0.0.1:{}/callbacks/support", scene.port));
    assert_eq!(fs::read_to_string(&secret).unwrap().trim(), made["secret"]);
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(inbox(&scene, 7)["webhook_url"], "https://else.example/hook", "another inbox is left alone");

    let before = scene.sandbox.state();
    let (output, text) = run(&["provision", "--write", "--agents", "grace@harbor.example"], &file).await;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("inbox 8 \"support\"):\n  no difference\n"), "found by its callback address: {text}");
    assert_eq!(scene.sandbox.state(), before);
    assert!(fs::read_to_string(&file).unwrap().contains("[inboxes.support]\ninbox_id = 8\n"));

    let (output, text) = run(&["provision"], &file).await;
    assert!(output.status.success() && text.ends_with("  no difference\n"), "{text}");
    let (output, text) = run(&["doctor"], &file).await;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains(made["secret"].as_str().unwrap()), "{text}");
}

#[tokio::test]
async fn a_callback_address_and_a_secret_that_differ_are_put_right() {
    let callback_url = Some("http://old:8600/callbacks/support/t0ken".to_owned());
    let scene = Scene::with(SandboxSettings { callback_url, ..SandboxSettings::default() }).await;
    let secret = scene.folder.path().join("secret");
    fs::write(&secret, "an0ther").unwrap();
    let named = format!("callback_secret_file = \"{}\"", secret.display());
    let file = scene.file(&[("callback_secret = \"demo-callback-secret\"", &named)]);
    let (output, text) = run(&["provision"], &file).await;
    assert_eq!(output.status.code(), Some(0), "{text}");
    let ours = format!("http://127.0.0.1:{}/callbacks/support", scene.port);
    let difference = format!(
        "- callback address  http://old:8600/callbacks/support/***\n+ callback address  {ours}\n- secret file       {0} (another secret)\n+ secret file       {0} (the inbox's)\n",
        secret.display()
    );
    assert!(text.contains(&difference), "{text}");
    assert!(!text.contains("t0ken") && !text.contains("an0ther") && !text.contains("demo-callback-secret"), "{text}");
    assert_eq!(inbox(&scene, 7)["webhook_url"], ours);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "demo-callback-secret\n");
    assert!(!text.contains("write this into"), "the number was right: {text}");
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_before_anything_is_changed() {
    let scene = Scene::new().await;
    let before = scene.sandbox.state();
    let public_url = format!("public_url = \"http://127.0.0.1:{}\"\n", scene.port);
    let moved = [("demo-callback-secret", "another"), (public_url.as_str(), "public_url = \"http://gw:1\"\n")];
    let cases = [
        (vec!["provision"], vec![(public_url.as_str(), "")], 2, "set `gateway.public_url`"),
        (vec!["provision"], vec![("sandbox-token", "another")], 1, "does not know this token"),
        (vec!["provision"], vec![("account_id = 1", "account_id = 2")], 1, "not in account 2"),
        (vec!["provision", "--agents", "eve@harbor.example"], vec![], 1, "nobody in the account has the address"),
        (vec!["provision", "--dry-run"], moved.to_vec(), 0, "+ callback address  http://gw:1/callbacks/support"),
    ];
    for (words, changes, status, expected) in cases {
        let (output, text) = run(&words, &scene.file(&changes)).await;
        assert_eq!(output.status.code(), Some(status), "{words:?}: {text}");
        assert!(text.contains(expected), "{words:?}: {text}");
        assert_eq!(scene.sandbox.state(), before, "{words:?}");
    }
    let scene = Scene::with(SandboxSettings { role: Role::Agent, ..SandboxSettings::default() }).await;
    let (output, text) = run(&["provision"], &scene.file(&[])).await;
    assert!(output.status.code() == Some(1) && text.contains("no administrator"), "{text}");
}

#[tokio::test]
async fn a_secret_in_the_settings_themselves_cannot_be_put_right_and_is_told() {
    let scene = Scene::new().await;
    let (output, text) = run(&["provision"], &scene.file(&[("demo-callback-secret", "an0ther")])).await;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("`callback_secret` in the settings is not the inbox's") && !text.contains("an0ther"),
        "{text}"
    );
}
