//! While no gateway runs: `doctor` listens in its place.

use bridge_api::Verdict;
use deskbridge::sandbox::{CallbackFaults, Denial, Role, RouteClass, RouteFault, RouteRule, SandboxSettings, Signing};
use std::time::Duration;

use serde_json::Value;

use crate::world::DEADLINE;

use super::{ROUND, Scene, assert_found, of, one, text};

#[tokio::test]
async fn sound_wiring_has_no_failure_and_a_second_look_leaves_one_contact_and_one_resolved_conversation() {
    let scene = Scene::new().await;
    let first = scene.examine(&[]).await;
    assert_eq!(of(&first, Verdict::Failed), Vec::<String>::new(), "{}", text(&first));
    assert_found(&first, ROUND, Verdict::Fine, ("back after", ""));
    assert_found(&first, "GET /api", Verdict::Fine, ("Chatwoot 4.15.1", ""));
    assert_found(&first, "compare the callback secret", Verdict::Fine, ("ours is the inbox's", ""));
    assert_found(&first, "use the token", Verdict::Warning, ("an administrator", "an agent's token is enough"));
    assert_eq!(one(&first, "gateway", "ask the running gateway").verdict, Verdict::Skipped);
    assert_eq!(one(&first, "gateway", "reach the gateway").verdict, Verdict::Fine);
    assert_eq!(scene.own(), (1, vec![("resolved".to_owned(), 1)]));
    let second = scene.examine(&[]).await;
    assert_found(&second, ROUND, Verdict::Fine, ("back after", ""));
    assert_eq!(scene.own(), (1, vec![("resolved".to_owned(), 2)]));
    assert!(!scene.data_dir().exists(), "a look makes nothing");
}

#[tokio::test]
async fn an_agents_token_is_enough_and_the_round_trip_proves_the_secret() {
    let scene = Scene::with(SandboxSettings { role: Role::Agent, ..SandboxSettings::default() }).await;
    let reported = scene.examine(&[]).await;
    assert_eq!(of(&reported, Verdict::Failed), Vec::<String>::new(), "{}", text(&reported));
    assert_found(&reported, "use the token", Verdict::Fine, ("an agent", ""));
    assert_found(&reported, "compare the callback secret", Verdict::Skipped, ("administrators only", ""));
    assert_found(&reported, ROUND, Verdict::Fine, ("back after", ""));
}

#[tokio::test]
async fn a_secret_that_the_settings_leave_out_is_read_from_the_inbox() {
    let scene = Scene::new().await;
    let reported = scene.examine(&[("callback_secret = \"demo-callback-secret\"\n", "")]).await;
    assert_found(&reported, "compare the callback secret", Verdict::Fine, ("read from the inbox", ""));
    assert_found(&reported, "use the token", Verdict::Warning, ("an administrator", "callback_secret_file"));
    assert_found(&reported, ROUND, Verdict::Fine, ("back after", ""));
}

#[tokio::test]
async fn the_secret_before_the_present_one_is_believed_and_told() {
    let scene = Scene::new().await;
    let both = "callback_secret = \"new\"\ncallback_secret_before = \"demo-callback-secret\"";
    let reported = scene.examine(&[("callback_secret = \"demo-callback-secret\"", both)]).await;
    let compared = "compare the callback secret";
    assert_found(&reported, compared, Verdict::Warning, ("`callback_secret_before` still", "provision"));
    assert_found(&reported, ROUND, Verdict::Fine, ("back after", ""));
}

#[tokio::test]
async fn each_way_to_be_denied_is_told_apart() {
    let denied = |why| RouteFault::Denied { why };
    let token = "use the token";
    let cases = [
        (RouteFault::Unauthorized, "Chatwoot does not know this token", "profile page"),
        (denied(Denial::NoToken), "arrived without its token", "Api-Access-Token"),
        (denied(Denial::OtherAccount), "not in this account", "account_id"),
        (denied(Denial::Bot), "a bot's or a platform app's token", "of a user"),
        (denied(Denial::Suspended), "suspended", "active again"),
    ];
    let scene = Scene::new().await;
    for (fault, found, change) in cases {
        scene.sandbox.faults().clear();
        // What is asked without a token comes first: health, version, time.
        scene.sandbox.faults().add(RouteRule { skip: 3, ..RouteRule::always(RouteClass::Probes, fault) });
        let reported = scene.examine(&[]).await;
        assert_found(&reported, token, Verdict::Failed, (found, change));
        assert_eq!(one(&reported, "inbox support", "everything that needs the token").verdict, Verdict::Skipped);
    }
    scene.sandbox.faults().clear();
    scene.sandbox.faults().add(RouteRule::always(RouteClass::Inboxes, denied(Denial::NotPermitted)));
    assert_found(&scene.examine(&[]).await, "read inbox 7", Verdict::Failed, ("may not do this", "Collaborators"));
    scene.sandbox.faults().clear();
    let wrong = scene.examine(&[("sandbox-token", "another-token")]).await;
    assert_found(&wrong, token, Verdict::Failed, ("Chatwoot does not know this token", "api_access_token"));
    assert_eq!(of(&wrong, Verdict::Failed).len(), 1, "{}", text(&wrong));
    let elsewhere = scene.examine(&[("account_id = 1", "account_id = 2")]).await;
    assert_found(&elsewhere, token, Verdict::Failed, ("not in account 2 but in 1 (Harbor Support)", "account_id"));
}

#[tokio::test]
async fn a_wrong_inbox_is_named_with_the_ones_that_may_be_meant() {
    let scene = Scene::new().await;
    let reported = scene.examine(&[("inbox_id = 7", "inbox_id = 8")]).await;
    assert_found(&reported, "read inbox 8", Verdict::Failed, ("no such inbox", "7 (Sandbox)"));
    let channel_type = "Channel::WebWidget".to_owned();
    let scene = Scene::with(SandboxSettings { channel_type, ..SandboxSettings::default() }).await;
    let reported = scene.examine(&[]).await;
    assert_found(&reported, "read inbox 7", Verdict::Failed, ("a website's", "deskbridge provision"));
}

#[tokio::test]
async fn a_secret_that_does_not_match_is_told_whether_or_not_the_inbox_shows_its_own() {
    for role in [Role::Administrator, Role::Agent] {
        let scene = Scene::with(SandboxSettings { role, ..SandboxSettings::default() }).await;
        let reported = scene.examine(&[("demo-callback-secret", "another")]).await;
        assert_found(&reported, ROUND, Verdict::Failed, ("refused with 401", "callback_secret"));
        let compared = if role == Role::Administrator { Verdict::Failed } else { Verdict::Skipped };
        assert_eq!(one(&reported, "inbox support", "compare the callback secret").verdict, compared);
    }
    let scene = Scene::new().await;
    scene.sandbox.faults().callbacks(CallbackFaults { signing: Signing::Absent, ..CallbackFaults::default() });
    assert_found(&scene.examine(&[]).await, ROUND, Verdict::Failed, ("no signature", "4.13"));
}

#[tokio::test]
async fn a_callback_address_that_is_not_ours_or_not_there_is_told_with_both() {
    // Nothing listens on port 1.
    let callback_url = Some("http://127.0.0.1:1/callbacks/support".to_owned());
    let scene = Scene::with(SandboxSettings { callback_url, ..SandboxSettings::default() }).await;
    let (address, ours) =
        ("compare the inbox's callback address", format!("and ours is http://127.0.0.1:{}", scene.port));
    let reported = scene.examine(&[]).await;
    assert_found(&reported, address, Verdict::Failed, ("it is http://127.0.0.1:1/callbacks/support", "provision"));
    assert_found(&reported, address, Verdict::Failed, (&ours, "provision"));
    assert_found(&reported, ROUND, Verdict::Failed, ("nothing listens at the callback address", "gateway.listen"));

    scene.sandbox.set_callback_url(format!("http://127.0.0.1:{}/callbacks/suport", scene.port));
    assert_found(&scene.examine(&[]).await, ROUND, Verdict::Failed, ("knows no such path", "/callbacks/NAME"));
    scene.sandbox.set_callback_url("");
    let reported = scene.examine(&[]).await;
    assert_found(&reported, address, Verdict::Failed, ("it has none", "provision"));
    assert_found(&reported, ROUND, Verdict::Skipped, ("calls nobody back", ""));
}

#[tokio::test]
async fn a_help_desk_that_calls_no_private_address_is_told_with_the_variable_to_set() {
    let refusing = SandboxSettings { refuse_private_callbacks: true, ..SandboxSettings::default() };
    let scene = Scene::with(refusing.clone()).await;
    let reported = scene.examine(&[]).await;
    assert_found(
        &reported,
        ROUND,
        Verdict::Failed,
        ("has no public ip addresses", "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"),
    );
    let scene = Scene::with(SandboxSettings { chatwoot_version: "4.14.0".to_owned(), ..refusing }).await;
    let reported = scene.examine(&[]).await;
    assert_found(&reported, ROUND, Verdict::Failed, ("refuses to call private addresses", "update Chatwoot to 4.14.1"));
    assert_found(&reported, "ask what this version", Verdict::Failed, ("4.14.0 calls no private address", "4.14.1"));
}

#[tokio::test]
async fn a_version_that_signs_nothing_is_usable_with_a_path_token_alone() {
    let chatwoot_version = "4.12.1".to_owned();
    let scene = Scene::with(SandboxSettings { chatwoot_version, ..SandboxSettings::default() }).await;
    let lacks = "ask what this version cannot do";
    let reported = scene.examine(&[]).await;
    assert_found(&reported, lacks, Verdict::Failed, ("signs no callbacks", "callback_path_token"));
    assert_found(&reported, ROUND, Verdict::Failed, ("no signature", "4.13"));
    let with_token = ("callback_secret = \"demo-callback-secret\"", "callback_path_token = \"t0ken\"");
    let reported = scene.examine(&[with_token]).await;
    assert_found(&reported, ROUND, Verdict::Failed, ("path token is missing or wrong", "provision"));
    assert!(!text(&reported).contains("t0ken"), "{}", text(&reported));
    scene.sandbox.set_callback_url(format!("http://127.0.0.1:{}/callbacks/support/t0ken", scene.port));
    let reported = scene.examine(&[with_token]).await;
    assert_found(&reported, lacks, Verdict::Warning, ("only the path's token", "4.13"));
    assert_found(&reported, ROUND, Verdict::Fine, ("back after", ""));
    assert_eq!(of(&reported, Verdict::Failed), Vec::<String>::new(), "{}", text(&reported));
    assert!(!text(&reported).contains("t0ken"), "{}", text(&reported));
}

#[tokio::test]
async fn clocks_that_differ_are_a_warning_first_and_then_a_failure() {
    let clocks = "compare the clocks";
    let scene = Scene::new().await;
    scene.sandbox.advance(Duration::from_mins(1));
    assert_found(&scene.examine(&[]).await, clocks, Verdict::Warning, ("s ahead of ours", "NTP"));
    scene.sandbox.advance(Duration::from_secs(190));
    let reported = scene.examine(&[]).await;
    assert_found(&reported, clocks, Verdict::Failed, ("s ahead of ours", "NTP"));
    assert_found(&reported, ROUND, Verdict::Fine, ("back after", ""));
    scene.sandbox.advance(Duration::from_secs(100));
    assert_found(&scene.examine(&[]).await, ROUND, Verdict::Failed, ("seconds off", "NTP"));
}

#[tokio::test]
async fn an_inbox_that_cannot_be_reached_is_told_by_one_failure() {
    let scene = Scene::new().await;
    scene.sandbox.go_down().await;
    let reported = scene.examine(&[]).await;
    let url = format!("reach {}", scene.sandbox.url());
    assert_found(&reported, &url, Verdict::Failed, ("takes no connection", "rails"));
    assert_eq!(of(&reported, Verdict::Failed).len(), 1, "{}", text(&reported));
    let reported = scene.examine(&[(&scene.sandbox.url(), "http://nowhere.invalid:3000")]).await;
    assert_found(&reported, "reach http://nowhere.invalid:3000", Verdict::Failed, ("DNS", "host"));
}

#[tokio::test]
async fn limits_and_services_that_are_not_as_they_should_be_are_told() {
    let scene = Scene::new().await;
    scene.sandbox.faults().queue_down(true);
    let reported = scene.examine(&[("inbox_id = 7", "inbox_id = 7\nsettle_seconds = 10")]).await;
    assert_found(&reported, "GET /api: queue_services", Verdict::Failed, ("Redis", "Chatwoot"));
    assert_found(&reported, "compare `settle_seconds`", Verdict::Warning, ("10 s", "settle_seconds"));
}

#[tokio::test]
async fn a_message_that_never_comes_back_is_told_within_a_limit() {
    let scene = Scene::new().await;
    scene.sandbox.faults().callbacks(CallbackFaults { hold: true, ..CallbackFaults::default() });
    assert_found(&scene.examine(&[]).await, ROUND, Verdict::Failed, ("within 10 s", "sidekiq"));
}

#[tokio::test]
async fn what_the_inbox_calls_back_meanwhile_is_left_for_the_gateway() {
    let scene = Scene::new().await;
    scene.examine(&[]).await;
    scene.sandbox.faults().callbacks(CallbackFaults { hold: true, ..CallbackFaults::default() });
    let reply = scene.sandbox.reply(1, "is anybody there?").unwrap();
    // Both callbacks come while the doctor listens.
    let release = async {
        let posted = |state: &Value| (state["conversations"][0]["messages"].as_array()?.len() == 3).then_some(());
        scene.sandbox.until(DEADLINE, posted).await.expect("the test message is posted");
        scene.sandbox.release_callbacks();
    };
    let (reported, ()) = tokio::join!(scene.examine(&[]), release);
    assert_found(&reported, ROUND, Verdict::Fine, ("back after", ""));
    scene.sandbox.until_callbacks_are_done().await;
    let state = scene.sandbox.state();
    let rows = state["conversations"][0]["messages"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == reply).unwrap();
    assert_eq!(row["status"], "failed", "only a gateway may take it: {row}");
    assert_eq!(row["content_attributes"]["external_error"], "503 Service Unavailable");
}

#[tokio::test]
async fn an_address_that_something_else_has_is_told() {
    let scene = Scene::new().await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", scene.port)).unwrap();
    let reported = scene.examine(&[]).await;
    let listen = one(&reported, "gateway", &format!("listen on 127.0.0.1:{}", scene.port));
    assert_eq!(listen.verdict, Verdict::Failed, "{listen:?}");
    assert_found(&reported, ROUND, Verdict::Skipped, ("nobody can hear", ""));
    drop(taken);
}
