//! Downloads, hop by hop.

use bridge_api::Secret;
use futures_util::TryStreamExt;
use reqwest::Url;

use super::REDIRECTS_MAX;
use crate::chatwoot::{
    AccountId, Call, CallFault, Client, ClientSettings, InboxId,
    scripted::{Scripted, Step},
};

const DATA_URL: &str = "https://desk.example/rails/active_storage/blobs/redirect/eyJ--1f/cat.png?disposition=inline";
const LIMIT: u64 = 16;

fn client(origin: &str, file_origins: &[&str]) -> Client {
    let url = |text: &str| Url::parse(text).unwrap();
    let settings = ClientSettings::new(url(origin), AccountId(1), InboxId(7), Secret::new("canary-token"));
    Client::new(ClientSettings { file_origins: file_origins.iter().copied().map(url).collect(), ..settings }).unwrap()
}

fn bytes(body: &str) -> Step {
    Step::Answer { head: "200 OK\r\nContent-Type: image/png".to_owned(), body: body.into() }
}

async fn fetch(client: &Client, url: &str) -> Result<Vec<u8>, CallFault> {
    let stream = client.download(url, LIMIT).await?.into_stream();
    Box::pin(stream).try_fold(Vec::new(), |all, chunk| async move { Ok([&all[..], &chunk[..]].concat()) }).await
}

#[tokio::test]
async fn a_file_is_fetched_from_where_we_reach_chatwoot_without_the_token() {
    let far = Scripted::play([Step::redirect("/rails/active_storage/disk/eyJ/cat.png"), bytes("PNG")]).await;
    assert_eq!(fetch(&client(&far.origin, &[]), DATA_URL).await.unwrap(), b"PNG");
    let seen = far.seen();
    assert_eq!(seen[0].line, "GET /rails/active_storage/blobs/redirect/eyJ--1f/cat.png?disposition=inline HTTP/1.1");
    assert_eq!(seen[1].line, "GET /rails/active_storage/disk/eyJ/cat.png HTTP/1.1");
    assert!(seen.iter().all(|seen| seen.headers.iter().all(|(_, value)| !value.contains("canary"))), "{seen:?}");
}

#[tokio::test]
async fn an_address_without_a_host_or_with_a_broken_one_still_leads_to_chatwoot() {
    let path = "/rails/active_storage/blobs/redirect/x/cat.png";
    for url in [path.to_owned(), format!("http://https{path}"), format!("http://[::1]:1{path}")] {
        let far = Scripted::play([bytes("PNG")]).await;
        assert_eq!(fetch(&client(&far.origin, &[]), &url).await.unwrap(), b"PNG", "{url}");
    }
}

#[tokio::test]
async fn private_storage_is_used_only_when_it_is_configured() {
    let storage = Scripted::play([bytes("PNG")]).await;
    let bucket = format!("{}/bucket/cat.png?X-Amz-Signature=1", storage.origin);
    let far = Scripted::play([Step::redirect(&bucket), Step::redirect(&bucket)]).await;
    let fault = fetch(&client(&far.origin, &[]), DATA_URL).await.unwrap_err();
    assert!(matches!(fault, CallFault::Invalid { .. }), "{fault:?}");
    assert!(storage.seen().is_empty());
    assert_eq!(fetch(&client(&far.origin, &[&storage.origin]), DATA_URL).await.unwrap(), b"PNG");
    assert_eq!(storage.seen()[0].line, "GET /bucket/cat.png?X-Amz-Signature=1 HTTP/1.1");
}

/// Spellings of our own machine, of the cloud's metadata address and of what is no web address at all.
const TRAPS: &str = "\
    http://127.0.0.1:PORT/x https://127.0.0.1:PORT/x https://2130706433:PORT/x https://0x7f000001:PORT/x \
    https://0177.0.0.1:PORT/x https://0x7f.1:PORT/x https://127.1:PORT/x https://①②⑦.⓪.⓪.①:PORT/x \
    https://[::1]:PORT/x https://[::ffff:127.0.0.1]:PORT/x https://[::ffff:7f00:1]:PORT/x https://[64:ff9b::7f00:1]:PORT/x \
    https://[2002:7f00:1::]:PORT/x https://0.0.0.0:PORT/x https://0:PORT/x https://[::]:PORT/x https://localhost:PORT/x \
    https://localhost.:PORT/x https://LOCALHOST:PORT/x https://foo@127.0.0.1:PORT/x https://1.1.1.1@127.0.0.1:PORT/x \
    https://127.0.0.1:PORT\\@1.1.1.1/x https://169.254.169.254/latest/meta-data http://169.254.169.254/latest \
    https://10.0.0.1/x https://172.16.0.1/x https://192.168.0.1/x https://[fd00::1]/x https://[fe80::1]/x \
    http://localhost:PORT/x //127.0.0.1:PORT/x file:///etc/passwd ftp://127.0.0.1:PORT/x data:text/plain,x \
    javascript:alert(1) gopher://127.0.0.1:PORT/x http://1.1.1.1/x https:///127.0.0.1:PORT/x \
    https://017700000001:PORT/x https://0x7f.0x0.0x0.0x1:PORT/x https://127.0.1:PORT/x https://127.000.000.001:PORT/x \
    https://%31%32%37.0.0.1:PORT/x https://127。0。0。1:PORT/x https://１２７.0.0.1:PORT/x https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/x \
    https://[::127.0.0.1]:PORT/x https://[0:0:0:0:0:0:0:1]:PORT/x https://[::ffff:0:127.0.0.1]:PORT/x \
    https://[fe80::1%25lo]:PORT/x https://[fc00::1]/x https://[ff02::1]/x https://[2001:db8::1]/x https://[64:ff9b:1::1]/x \
    https://100.64.0.1/x https://198.18.0.1/x https://192.0.2.1/x https://224.0.0.1/x https://255.255.255.255/x \
    https://[::ffff:169.254.169.254]/x https://[fd00:ec2::254]/latest/meta-data https://2852039166/x \
    https://localhost:PORT#@1.1.1.1/x https://localhost:PORT?@1.1.1.1/x ws://127.0.0.1:PORT/x unix:/run/x.sock \
    https://user:pw@[::1]:PORT/x https://127.0.0.1.:PORT/x";

#[tokio::test]
async fn no_address_leads_into_our_own_network_at_first_or_by_redirect() {
    let trap = Scripted::play([]).await;
    let port = trap.origin.rsplit(':').next().unwrap().to_owned();
    assert!(TRAPS.split_whitespace().count() >= 60);
    for url in TRAPS.split_whitespace().map(|url| url.replace("PORT", &port)) {
        // As a redirect's target first, then as the attachment's own address.
        let far = Scripted::play([Step::redirect(&url)]).await;
        let client = client(&far.origin, &[]);
        for start in [DATA_URL, &url] {
            let fault = fetch(&client, start).await.unwrap_err();
            assert!(
                matches!(fault, CallFault::Invalid { .. } | CallFault::Doubtful { .. }),
                "{start} {url}: {fault:?}"
            );
        }
    }
    assert!(trap.seen().is_empty(), "{:?}", trap.seen());
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let far = Scripted::play((0..9).map(|_| Step::redirect("/again"))).await;
    let fault = fetch(&client(&far.origin, &[]), DATA_URL).await.unwrap_err();
    assert!(fault.to_string().contains("too often"), "{fault:?}");
    assert_eq!(far.seen().len(), REDIRECTS_MAX + 1);
}

#[tokio::test]
async fn a_file_ends_at_its_limit_whether_or_not_it_tells_its_length() {
    let unsaid = |body: &str| Step::Raw(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}").into());
    for (step, fits) in [
        (bytes("0123456789abcdef"), true),
        (bytes("0123456789abcdefg"), false),
        (unsaid("0123456789abcdef"), true),
        (unsaid("0123456789abcdefg"), false),
    ] {
        let far = Scripted::play([step]).await;
        let fetched = fetch(&client(&far.origin, &[]), DATA_URL).await;
        match fetched {
            Ok(all) => assert!(fits && all.len() as u64 == LIMIT),
            Err(fault) => assert!(!fits && matches!(fault, CallFault::Invalid { .. }), "{fault:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_yet_or_breaks_off_can_be_tried_again() {
    let cut = Step::Cut { head: "200 OK".to_owned(), body: b"PN".to_vec() };
    for step in [cut, Step::HangUp, Step::page(403, "expired"), Step::page(500, ""), Step::page(302, "no location")] {
        let far = Scripted::play([step]).await;
        let fault = fetch(&client(&far.origin, &[]), DATA_URL).await.unwrap_err();
        assert!(matches!(fault, CallFault::Doubtful { call: Call::Download, .. }), "{fault:?}");
    }
    for status in [404, 410] {
        let far = Scripted::play([Step::page(status, "<Error>NoSuchKey</Error>")]).await;
        let fault = fetch(&client(&far.origin, &[]), DATA_URL).await.unwrap_err();
        assert_eq!(fault, CallFault::NotFound { call: Call::Download });
    }
}
