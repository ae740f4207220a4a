//! What agents send besides text: files, and themselves.

use std::time::Duration;

use bridge_api::{Attachment, Fault, FaultKind, Holder, Part};

use crate::world::World;

async fn answered() -> World {
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    world
}

fn file_of(part: &Part) -> Attachment {
    let Part::Attachment(file) = part else { panic!("no file: {part:?}") };
    file.clone()
}

#[tokio::test]
async fn a_bridge_opens_an_agents_file_from_the_inbox() {
    let world = answered().await;
    world.sandbox.reply_with_file(1, "cat.png", "image/png", b"PNG bytes").unwrap();
    let file = file_of(&world.network.wait_for_sent(1).await[0].part);
    assert_eq!(
        (file.name.as_str(), file.media_type.as_deref(), file.size_bytes),
        ("cat.png", Some("image/png"), Some(9))
    );
    assert_eq!(file.holder, Holder::Inbox);
    let opened = world.network.host().await.open(&file).await.unwrap();
    assert_eq!((opened.media_type.as_deref(), opened.length), (Some("image/png"), Some(9)));
    assert_eq!(opened.read(100).await.unwrap(), "PNG bytes");
}

#[tokio::test]
async fn a_file_that_is_announced_before_it_is_stored_is_only_late() {
    let world = answered().await;
    world.sandbox.reply_with_file(1, "cat.png", "image/png", b"PNG").unwrap();
    let file = file_of(&world.network.wait_for_sent(1).await[0].part);
    world.sandbox.faults().files_not_ready(1);
    let host = world.network.host().await;
    let fault = host.open(&file).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Retry { after: Some(Duration::from_secs(2)) });
    assert_eq!(host.open(&file).await.unwrap().read(100).await.unwrap(), "PNG");
}

#[tokio::test]
async fn the_gateway_opens_nothing_in_its_own_network_and_no_file_of_others() {
    let world = answered().await;
    let host = world.network.host().await;
    for (url, holder) in [
        (format!("http://{}/healthz", world.gateway.address()), Holder::Inbox),
        ("https://127.0.0.1/x".to_owned(), Holder::Inbox),
        ("file:///etc/passwd".to_owned(), Holder::Inbox),
        (format!("{}/x.png", world.sandbox.url()), Holder::Link),
    ] {
        let file = Attachment { name: "x".into(), media_type: None, size_bytes: None, url: url.clone(), holder };
        let fault = host.open(&file).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Refused, "{url}: {fault}");
    }
}

#[tokio::test]
async fn each_agent_has_a_name_and_a_picture_and_the_inboxs_own_texts_have_neither() {
    let world = answered().await;
    world.sandbox.reply(1, "hello").unwrap();
    world.network.wait_for_sent(1).await;
    world.sandbox.reply_as(6, 1, "me too").unwrap();
    let sent = world.network.wait_for_sent(2).await;
    let agents: Vec<_> = sent.iter().map(|out| out.agent.clone().unwrap()).collect();
    let seen: Vec<_> = agents.iter().map(|agent| (agent.id.as_str(), agent.name.as_str())).collect();
    assert_eq!(seen, [("user-5", "Grace"), ("user-6", "Radia")]);
    let host = world.network.host().await;
    let mut pictures = Vec::new();
    for agent in &agents {
        let picture = host.agent_picture(agent).await.unwrap().expect("a picture");
        pictures.push(host.open(&picture).await.unwrap().read(10_000).await.unwrap());
    }
    assert!(pictures.iter().all(|picture| picture.starts_with(b"\x89PNG")));
    assert_ne!(pictures[0], pictures[1]);
    for nobody in ["user-3", "user-99", "bot-5", "5"] {
        let agent = bridge_api::Agent { id: nobody.into(), name: "x".into(), is_robot: false };
        assert_eq!(host.agent_picture(&agent).await.unwrap(), None, "{nobody}");
    }
}

#[tokio::test]
async fn pictures_that_cannot_be_read_are_none_and_hold_nothing() {
    use deskbridge::sandbox::{RouteClass, RouteFault, RouteRule};
    let world = answered().await;
    world.wait_for_rest().await;
    world.sandbox.faults().add(RouteRule::always(RouteClass::Probes, RouteFault::Unauthorized));
    let agent = bridge_api::Agent { id: "user-5".into(), name: "Grace".into(), is_robot: false };
    assert_eq!(world.network.host().await.agent_picture(&agent).await.unwrap(), None);
    world.sandbox.reply(1, "hello").unwrap();
    assert_eq!(world.network.wait_for_texts("a:ada", 1).await, ["hello"]);
}

/// Those of table C38: whatever goes wrong, the person reads what agents wrote and nothing else.
#[tokio::test]
async fn no_inner_error_is_ever_told_to_the_person() {
    const INNER: &str = "canary-inner: /var/lib/deskbridge/deskbridge.db is locked";
    let world = World::new().await;
    world.write("ada", "1", "hello").await;
    world.wait_for_incoming(1, 1).await;
    for (number, fault) in
        [Fault::refused(INNER), Fault::retry(INNER), Fault::unknown(INNER), Fault::down(INNER)].into_iter().enumerate()
    {
        world.network.will(Err(fault));
        world.sandbox.reply(1, &format!("answer {number}")).unwrap();
    }
    let sent = world.network.wait_for_texts("a:ada", 3).await;
    world.wait_for_rest().await;
    let whole = format!("{sent:?}{:?}", world.network.wait_for_sent(3).await);
    assert!(!whole.contains("canary-inner") && !whole.contains("deskbridge.db"), "{whole}");
    assert!(sent.iter().all(|text| text.starts_with("answer ")), "{sent:?}");
}
