//! Our own listeners, before and while the gateway runs.

use std::{fs, path::Path};

use bridge_api::{CancellationToken, kit::RecordingHost};
use tokio::net::TcpListener;

use super::*;

fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["mx.acme.test".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn an_address_that_is_free_taken_or_elsewhere_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cases = [
        (free_address().to_string(), Verdict::Fine, "free"),
        (taken.local_addr().unwrap().to_string(), Verdict::Failed, "end the mail server"),
        ("192.0.2.1:2525".to_owned(), Verdict::Failed, "address of this machine"),
    ];
    for (listen, verdict, word) in cases {
        let settings = settings(&json!({ "listen": listen }));
        let seen = part(&settings, async |look| crate::examine::listeners::look(look).await).await;
        seen.holds("listen on", verdict, &[word]);
        seen.holds("have our own server carry foreign mail", Verdict::Skipped, &["not running"]);
    }
}

/// With every kind of listener.
async fn beside_a_running_one(more: &Value) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let files = json!({ "cert_file": folder.path().join("cert.pem"), "key_file": folder.path().join("key.pem") });
    let mut all = json!({
        "listen": free_address().to_string(), "listen_tls": free_address().to_string(),
        "listen_lmtp": free_address().to_string(), "tls": files,
    });
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    let table = table(&all);
    let build = || Smtp::build(BridgeName::from("mail"), serde_json::from_value(table.clone()).unwrap()).unwrap();
    let (running, host, stop) = (build(), RecordingHost::new(), CancellationToken::new());
    let looking = async {
        host.wait_for(|recorded| (!recorded.states.is_empty()).then_some(())).await;
        look::taken(&*build(), true).await
    };
    let found = tokio::select! {
        found = looking => found,
        ended = running.listen(host.host("mail"), stop) => panic!("{ended:?}"),
    };
    let recorded = host.recorded();
    assert!(recorded.kept.is_empty() && recorded.events.is_empty(), "no mail came of it");
    drop(recorded);
    Seen(found)
}

#[tokio::test]
async fn a_running_gateway_greets_secures_takes_ours_and_carries_nothing_foreign() {
    for addresses in [json!(["support@acme.test"]), json!(["support@acme.test", "@acme.test"])] {
        let seen = beside_a_running_one(&json!({ "addresses": addresses })).await;
        let count = |tried: &str, verdict| {
            seen.0.iter().filter(|finding| finding.tried.starts_with(tried) && finding.verdict == verdict).count()
        };
        assert_eq!(count("connect to the running gateway", Verdict::Fine), 3, "{:#?}", seen.0);
        assert_eq!(count("secure a connection to the running gateway", Verdict::Fine), 2, "{:#?}", seen.0);
        assert_eq!(
            count("have the running gateway take mail for support@acme.test", Verdict::Fine),
            3,
            "{:#?}",
            seen.0
        );
        assert_eq!(count("have our own server carry foreign mail", Verdict::Fine), 3, "{:#?}", seen.0);
        seen.holds("look at the certificate", Verdict::Fine, &["names mx.acme.test"]);
    }
}

#[tokio::test]
async fn a_gateway_that_is_said_to_run_and_does_not_is_a_failure() {
    let (findings, settings) = (Findings::default(), settings(&json!({})));
    let identity = settings.identity().unwrap();
    let how = Examination::new(true);
    let look = Look { settings: &settings, identity: &identity, how, limits: PATIENT, findings: &findings };
    crate::examine::listeners::look(&look).await;
    Seen(findings.take()).holds("connect to the running gateway", Verdict::Failed, &["refused", "log"]);
}
