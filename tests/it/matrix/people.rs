//! What people can and cannot make the bridge do by what they write, what they never read, and who is forgotten.

use bridge_api::BridgeName;
use deskbridge::{
    gateway::Live,
    model::InboxName,
    store::{By, Whom},
};
use serde_json::json;

use super::house::{House, Way};

/// Those of table C36.
#[tokio::test]
async fn fifty_texts_that_look_like_commands_are_carried_as_text() {
    let texts: Vec<String> = serde_json::from_str(include_str!("../../fixtures/names/commands.json")).unwrap();
    assert_eq!(texts.len(), 50);
    let house = House::new(Way::Sync).await;
    let carol = house.guest("carol").await;
    for text in &texts {
        house.home.say(&carol.user, &carol.room, text).unwrap();
    }
    house.home.say(&carol.user, &carol.room, "that was all").unwrap();
    house.until_text(carol.conversation, "that was all").await;
    assert_eq!(house.texts(carol.conversation).len(), 2 + texts.len());
    let support = house.support();
    assert!(house.said(&carol.room).iter().all(|(who, _)| *who != support), "{:?}", house.said(&carol.room));
    assert_eq!(house.home.membership(&carol.room, &support), "join");
}

/// Whom the bridge has in memory and in its notes.
#[tokio::test]
async fn who_is_forgotten_beside_a_running_gateway_is_a_stranger_to_the_bridge_too() {
    for way in [Way::Wsproxy, Way::Push] {
        let house = House::new(way).await;
        let (carol, kim) = (house.guest("carol").await, house.guest("kim").await);
        house.until_idle().await;
        let live = Live::reach(house.data_dir()).unwrap().expect("the gateway runs");
        let whom = Whom {
            bridge: BridgeName::from("net"),
            inbox: InboxName::new("support"),
            by: By::Word(carol.user.clone()),
            also_waiting: true,
        };
        let store = house.store();
        let mentions = async |word: &str| {
            let cursors = store.cursors("net", "").await.unwrap();
            cursors.iter().any(|cursor| format!("{cursor:?}").contains(word))
        };
        assert!(mentions(&carol.user).await && mentions(&kim.user).await, "the test can bite");
        let done = live.post("/admin/forget", &json!([whom])).await.unwrap();
        assert!(done[0]["cursors"].as_u64().unwrap() > 0 && done[0]["sessions"] == 1, "{done}");
        // The other goes on as before, and brings nothing of hers back.
        house.home.say(&kim.user, &kim.room, "still here").unwrap();
        house.until_text(kim.conversation, "still here").await;
        house.until_idle().await;
        assert!(!mentions(&carol.user).await && !mentions(&carol.room).await && mentions(&kim.user).await);
    }
}
