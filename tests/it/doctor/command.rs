//! The program itself: its output, and its exit status.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use super::Scene;

/// Runs beside the sandbox, which is in this process.
pub(super) async fn run(words: &[&str], file: &Path) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
    command.args(words).arg("-c").arg(file);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

#[tokio::test]
async fn the_document_and_the_exit_status_say_whether_all_is_well() {
    let scene = Scene::new().await;
    let (output, text) = run(&["doctor", "--json"], &scene.file(&[])).await;
    assert_eq!(output.status.code(), Some(0), "{text}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], true);
    let findings = document["findings"].as_array().unwrap();
    for finding in findings {
        let keys: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        let with_change = ["about", "change", "found", "tried", "verdict"];
        assert!(keys == with_change || keys == ["about", "found", "tried", "verdict"], "{finding}");
    }
    let abouts: std::collections::BTreeSet<_> =
        findings.iter().map(|finding| finding["about"].as_str().unwrap()).collect();
    assert_eq!(abouts.into_iter().collect::<Vec<_>>(), ["gateway", "inbox support", "store"]);

    let (output, text) = run(&["doctor", "--json"], &scene.file(&[("sandbox-token", "another")])).await;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["ok"], false);
    assert!(text.ends_with("deskbridge: one check failed\n"), "{text}");

    let (output, text) = run(&["doctor"], &scene.file(&[("account_id = 1", "acount_id = 1")])).await;
    assert_eq!(output.status.code(), Some(2), "{text}");
}

#[tokio::test]
async fn piped_output_is_a_plain_line_a_check_with_the_change_below_and_no_secret() {
    let scene = Scene::new().await;
    let (output, text) = run(&["doctor"], &scene.file(&[("demo-callback-secret", "an0ther-secret")])).await;
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(!text.contains('\u{1b}') && !text.contains("an0ther-secret") && !text.contains("sandbox-token"), "{text}");
    let refused =
        lines.iter().position(|line| line.starts_with("failed   inbox support: send a message round")).unwrap();
    assert!(lines[refused + 1].starts_with("         change: run `deskbridge provision`"), "{text}");
    assert!(text.contains(" fine, ") && text.contains(" failed\n"), "{text}");
}
