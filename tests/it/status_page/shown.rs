//! What the page shows, and what its buttons do, all without a script.

use bridge_api::{BridgeState, Fault};
use reqwest::{Method, StatusCode};

use super::{Answer, Browser, given_up};
use crate::world::World;

async fn operator(world: &World) -> Browser {
    let mut browser = Browser::new(world);
    assert_eq!(browser.sign_in("admin").await.status, StatusCode::SEE_OTHER);
    browser
}

/// The fields of the form that holds this, as a browser would send them, and where to.
fn fields(page: &Answer, holds: &str) -> Vec<(String, String)> {
    let forms = page.text.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap());
    let form = forms.into_iter().find(|form| form.contains(holds)).unwrap_or_else(|| panic!("no {holds}"));
    let text =
        |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let attribute = |tag: &str, name: &str| {
        let value = tag.split(&format!("{name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap());
        text(value.unwrap_or_default())
    };
    let hidden = form.split("<input").skip(1).filter(|tag| tag.contains("type=\"hidden\""));
    hidden.map(|tag| (attribute(tag, "name"), attribute(tag, "value"))).collect()
}

async fn press(browser: &mut Browser, path: &str, fields: &[(String, String)]) -> Answer {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = browser.post(path, &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let address = answer.header("location").to_owned();
    browser.get(&address).await
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_its_reason_and_put_back_by_its_button() {
    let world = World::new().await;
    let key = given_up(&world, "ada", "no such nick").await;
    let mut browser = operator(&world).await;
    let page = browser.get("/").await;
    assert!(page.text.contains("1 given up") && page.text.contains("no such nick"), "{}", page.text);
    assert!(page.text.contains("a:ada") && page.text.contains(&key));
    let after = press(&mut browser, "/letters/retry", &fields(&page, &format!("Retry {key}"))).await;
    assert!(after.text.contains("1 message put back"), "{}", after.text);
    assert!(!browser.get("/").await.text.contains("put back"), "it is said once");
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["an answer"]);
    world.wait_for_rest().await;
    assert!(browser.get("/").await.text.contains("All is well"));
}

#[tokio::test]
async fn all_that_are_shown_are_discarded_at_the_second_click() {
    let world = World::new().await;
    for peer in ["ada", "bob", "cyd"] {
        given_up(&world, peer, "gone").await;
    }
    let mut browser = operator(&world).await;
    let page = browser.get("/").await;
    let all = fields(&page, "Discard all 3 shown for good");
    assert_eq!(all.iter().filter(|(name, _)| name == "key").count(), 3, "{all:?}");
    let after = press(&mut browser, "/letters/discard", &all).await;
    assert!(after.text.contains("3 messages discarded"), "{}", after.text);
    assert_eq!(world.store.dead(9).await.unwrap(), []);
    assert!(browser.get("/").await.text.contains("All is well"));
}

#[tokio::test]
async fn what_strangers_wrote_never_becomes_part_of_the_page() {
    let nasty = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}&amp;";
    let world = World::new().await;
    let key = given_up(&world, nasty, nasty).await;
    let host = world.network.host().await;
    host.state(BridgeState::Down { reason: nasty.to_owned() });
    let mut browser = operator(&world).await;
    let id = world.store.dead(1).await.unwrap()[0].id.0;
    let search = url::form_urlencoded::byte_serialize(nasty.as_bytes()).collect::<String>();
    for path in
        ["/".to_owned(), format!("/?id={id}"), format!("/?q={search}"), format!("/?sink={search}"), "/live".into()]
    {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200);
        for raw in ["<script>alert", "<img", "onerror=alert(1)>", "\u{202e}"] {
            // The field of the search holds just what was typed into it.
            let (before, field) = page.text.split_once("<input id=\"q\"").unwrap_or((&page.text, ""));
            let shown = format!("{before}{}", field.split_once('>').map_or("", |(_, rest)| rest)).replace(&search, "");
            assert!(!shown.contains(raw), "{path}: {raw} in {shown}");
        }
        assert!(page.text.contains("&lt;script&gt;alert(1)"), "{path}: {}", page.text);
    }
    // Its buttons hold what it is called, whatever that is.
    let page = browser.get("/").await;
    let all = fields(&page, "/letters/retry");
    assert!(all.contains(&("key".to_owned(), key.clone())), "{all:?} {key}");
}

#[tokio::test]
async fn each_far_side_is_shown_with_its_state_and_why() {
    let world = World::new().await;
    let host = world.network.host().await;
    let mut browser = operator(&world).await;
    host.state(BridgeState::Down { reason: "the server refuses the password".into() });
    let page = browser.get("/").await;
    assert!(page.text.contains(">down<") && page.text.contains("the server refuses the password"), "{}", page.text);
    assert!(page.text.contains("data-title=\"1 down\"") && page.text.contains("data-tone=\"bad\""), "{}", page.text);
    host.state(BridgeState::Degraded { reason: "two of three channels".into() });
    let page = browser.get("/live").await;
    assert!(page.text.contains(">degraded<") && page.text.contains("two of three channels"), "{}", page.text);
    host.state(BridgeState::Up);
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world.wait_for_rest().await;
    let page = browser.get("/live").await;
    assert!(page.text.contains("data-tone=\"good\"") && page.text.contains("All is well"), "{}", page.text);
    assert!(page.text.contains("data-label=\"Last in\"><time"), "{}", page.text);
}

#[tokio::test]
async fn a_search_finds_a_message_by_its_key_its_number_and_its_contact_with_its_history() {
    let world = World::new().await;
    world.network.will(Err(Fault::retry("busy")));
    let key = given_up(&world, "ada", "no such nick").await;
    let number = key.split([':', '/']).nth(1).unwrap().to_owned();
    let mut browser = operator(&world).await;
    for (search, expected) in [
        (key.as_str(), vec![key.as_str(), "attempt 1", "no such nick"]),
        (key.split('/').next().unwrap(), vec![key.as_str(), "failed"]),
        (number.as_str(), vec![key.as_str(), "attempt 1"]),
        ("net/a:ada", vec!["Contacts", "net/a:ada", key.as_str(), "net/ada-1/0", "took effect"]),
        ("a:ada", vec!["net/a:ada", key.as_str()]),
        ("net/ada-1/0", vec!["net/ada-1/0", "known there as"]),
        ("nobody at all", vec!["None."]),
    ] {
        let search: String = url::form_urlencoded::byte_serialize(search.as_bytes()).collect();
        let page = browser.get(&format!("/?q={search}")).await;
        for words in expected {
            assert!(page.text.contains(words), "{search}: no {words} in {}", page.text);
        }
    }
    let id = world.store.dead(1).await.unwrap()[0].id.0;
    let page = browser.get(&format!("/?id={id}")).await;
    let done = press(&mut browser, "/letters/retry", &fields(&page, "/letters/retry")).await;
    assert!(done.text.contains("1 message put back") && done.text.contains(&key), "{}", done.text);
}

#[tokio::test]
async fn programs_read_the_lists_in_pieces_and_by_far_side() {
    let world = World::new().await;
    for peer in ["ada", "bob", "cyd"] {
        given_up(&world, peer, "gone").await;
    }
    let mut browser = Browser::new(&world);
    let bearer = [("authorization", "Bearer admin")];
    let mut keys = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/admin/outbox?state=dead&count=2&sink=bridge:net{after}");
        let answer = browser.send(Method::GET, &path, &bearer, "").await;
        let answer: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        let piece = answer["dead"].as_array().unwrap();
        keys.extend(piece.iter().map(|letter| letter["about"]["thread"].as_str().unwrap().to_owned()));
        assert!(answer.get("waiting").is_none());
        let Some(next) = answer["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(keys, ["a:cyd", "a:bob", "a:ada"]);
    let nothing = browser.send(Method::GET, "/admin/outbox?state=dead&sink=inbox:support", &bearer, "").await;
    assert!(nothing.text.contains("\"dead\":[]"), "{}", nothing.text);
    for wrong in ["after=1.1", "state=dead&after=x", "state=alive"] {
        let answer = browser.send(Method::GET, &format!("/admin/outbox?{wrong}"), &bearer, "").await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    let found = browser.send(Method::GET, "/admin/search?q=a:bob", &bearer, "").await;
    let found: serde_json::Value = serde_json::from_str(&found.text).unwrap();
    assert_eq!(found["contacts"][0]["source_id"], "net/a:bob", "{found}");
    assert!(found["messages"].as_array().unwrap().iter().any(|one| one["state"]["state"] == "dead"), "{found}");
}
