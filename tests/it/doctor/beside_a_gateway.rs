//! While a gateway runs, it is asked what it heard.

use std::sync::Arc;

use bridge_api::Verdict;
use deskbridge::{
    gateway::{Gateway, Plan},
    store::{Place, SqliteStore, Store},
};

use super::{ROUND, Scene, assert_found, of, one, text};

impl Scene {
    async fn gateway(&self, changes: &[(&str, &str)]) -> (Gateway, Arc<dyn Store>) {
        let place = Place::in_dir(self.data_dir());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&place).unwrap());
        (Gateway::start(Plan::of(&self.settings(changes)), store.clone()).await.unwrap(), store)
    }
}

#[tokio::test]
async fn the_gateway_hears_the_message_and_makes_nothing_of_it() {
    let scene = Scene::new().await;
    let (gateway, store) = scene.gateway(&[]).await;
    let reported = scene.examine(&[]).await;
    assert_found(&reported, ROUND, Verdict::Fine, ("believed by the running gateway", ""));
    let state = one(&reported, "gateway", "ask the running gateway for inbox support");
    assert_ne!(state.verdict, Verdict::Failed, "{state:?}");
    let owner = one(&reported, "store", "ask who works");
    let here = format!("process {}, the running gateway, alone", std::process::id());
    assert_eq!((owner.verdict, owner.found), (Verdict::Fine, here));
    assert_eq!(of(&reported, Verdict::Failed), Vec::<String>::new(), "{}", text(&reported));
    scene.sandbox.until_callbacks_are_done().await;
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.dead), (0, 0));
    assert_eq!(scene.own(), (1, vec![("resolved".to_owned(), 1)]));
    gateway.stop().await;
}

#[tokio::test]
async fn what_the_gateway_refuses_is_told_in_its_words() {
    let scene = Scene::new().await;
    let wrong = ("demo-callback-secret", "another");
    let (gateway, _) = scene.gateway(&[wrong]).await;
    let reported = scene.examine(&[wrong]).await;
    assert_found(
        &reported,
        ROUND,
        Verdict::Failed,
        ("refused with 401: the callback's signature does not match", "SIGHUP"),
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_down_at_one_side_says_so() {
    let scene = Scene::new().await;
    let (gateway, _) = scene.gateway(&[("sandbox-token", "another")]).await;
    while !format!("{:?}", gateway.board().inboxes()).contains("Down") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let reported = scene.examine(&[]).await;
    let state = one(&reported, "gateway", "ask the running gateway for inbox support");
    assert!(state.verdict == Verdict::Failed && state.found.starts_with("down: "), "{state:?}");
    gateway.stop().await;
}
