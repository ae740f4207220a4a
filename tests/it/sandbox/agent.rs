//! The agent's page: what it loads, what it is told, and whom it lets in.

use reqwest::StatusCode;
use serde_json::{Value, json};

use deskbridge::sandbox::SandboxSettings;

use super::{DEADLINE, Desk, SOURCE_ID};

#[tokio::test]
async fn the_page_has_a_policy_that_allows_nothing_foreign() {
    let desk = Desk::fresh().await;
    let page = desk.client.get(desk.sandbox.url()).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    assert_eq!(page.text().await.unwrap().matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    desk.stop().await;
}

#[tokio::test]
async fn hooks_are_closed_to_other_web_pages() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    let url = format!("{}/sandbox/conversations/{id}/resolve", desk.sandbox.url());
    let check = async |name: &str, value: &str, status: StatusCode| {
        let answer = desk.client.post(&url).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), status, "{name}: {value}");
    };
    check("Origin", "https://evil.example", StatusCode::FORBIDDEN).await;
    check("Origin", "null", StatusCode::FORBIDDEN).await;
    check("Host", "rebound.evil.example", StatusCode::FORBIDDEN).await;
    check("Origin", &desk.sandbox.url(), StatusCode::OK).await;
    desk.stop().await;
}

#[tokio::test]
async fn changes_reach_an_open_page_without_a_reload() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    let url = format!("{}/sandbox/events", desk.sandbox.url());
    let mut events = desk.client.get(url).send().await.unwrap();
    desk.incoming(id, "hello", "libera/1/0").await;
    let mut seen = String::new();
    let told = async {
        while !(seen.contains("event: message\n") && seen.ends_with("\n\n")) {
            seen.push_str(std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, told).await.expect("an event");
    let data = seen.split("event: message\ndata: ").nth(1).unwrap().lines().next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["message"]["content"], &data["conversation"]["unread_count"]), (&json!("hello"), &json!(1)));
    desk.stop().await;
}

#[tokio::test]
async fn the_agent_replies_notes_resolves_and_deletes_over_http() {
    let desk = Desk::fresh().await;
    let id = desk.conversation(SOURCE_ID).await;
    let base = format!("{}/sandbox", desk.sandbox.url());
    let post = async |path: String, body: Value| {
        desk.client.post(format!("{base}{path}")).json(&body).send().await.unwrap().error_for_status().unwrap()
    };
    let reply: Value = post(format!("/conversations/{id}/reply"), json!({"content": "Hi"})).await.json().await.unwrap();
    assert_eq!((&reply["message_type"], &reply["sender"]["name"]), (&json!(1), &json!("Grace")));
    post(format!("/conversations/{id}/reply"), json!({"content": "psst", "private": true})).await;
    post(format!("/conversations/{id}/resolve"), json!({})).await;
    let state: Value = desk.client.get(format!("{base}/state")).send().await.unwrap().json().await.unwrap();
    let found = &state["conversations"][0];
    assert_eq!((&found["status"], &found["messages"][1]["private"]), (&json!("resolved"), &json!(true)));
    assert!(found["internal_id"].as_u64().unwrap() > 100_000, "far from the display id");
    desk.client.delete(format!("{base}/conversations/{id}")).send().await.unwrap();
    let thread = desk.client.get(format!("{base}/conversations/{id}")).send().await.unwrap();
    assert_eq!(thread.status(), StatusCode::NOT_FOUND);
    desk.stop().await;
}

#[tokio::test]
async fn numbers_go_on_from_where_an_earlier_run_may_have_ended() {
    let before = 5_000_000;
    let desk = Desk::start(SandboxSettings { messages_before: before, ..SandboxSettings::default() }).await;
    let id = desk.conversation(SOURCE_ID).await;
    assert_eq!(id, 1 + before / 1_000);
    let reply = desk.sandbox.reply(id, "hello").unwrap();
    assert!(reply > before, "{reply}");
    let row = desk.see(&format!("/conversations/{id}/messages")).await["payload"][0].clone();
    assert_eq!((&row["id"], &row["content"]), (&json!(reply), &json!("hello")));
    desk.stop().await;
}
