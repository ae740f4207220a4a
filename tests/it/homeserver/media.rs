//! Files: in with a limit, out only for those who show a token.

use deskbridge::sandbox::homeserver::HomeserverSettings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Place;

#[tokio::test]
async fn what_is_uploaded_comes_back_with_its_type_and_name() {
    let place = Place::fresh().await;
    let url = format!("{}/_matrix/media/v3/upload?filename=cr%C3%A4ck.jpg", place.sandbox.url());
    let upload = place.client.post(url).bearer_auth("sandbox-as-token").header("content-type", "image/jpeg");
    let answer: Value = upload.body(vec![7_u8; 1_000]).send().await.unwrap().json().await.unwrap();
    let address = answer["content_uri"].as_str().unwrap();
    let path = address.strip_prefix("mxc://").unwrap();
    let get = async |path: String, token: &str| {
        let request = place.client.get(format!("{}{path}", place.sandbox.url()));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        request.send().await.unwrap()
    };
    let download = format!("/_matrix/client/v1/media/download/{path}");
    let file = get(download.clone(), "sandbox-as-token").await;
    assert_eq!(file.headers()["content-type"], "image/jpeg");
    assert_eq!(file.headers()["content-disposition"], "inline; filename*=utf-8''cr%C3%A4ck.jpg");
    assert_eq!(file.bytes().await.unwrap().len(), 1_000);
    assert_eq!(get(download, "").await.status(), StatusCode::UNAUTHORIZED);
    let old = get(format!("/_matrix/media/v3/download/{path}"), "sandbox-as-token").await;
    assert_eq!(old.status(), StatusCode::NOT_FOUND, "the unauthenticated path is frozen");
    let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{path}?width=32&height=32&method=scale");
    assert_eq!(get(thumbnail, "sandbox-as-token").await.status(), StatusCode::OK);
    let missing = get("/_matrix/client/v1/media/download/elsewhere.test/abc".to_owned(), "sandbox-as-token").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(place.home.download(address).unwrap().1.as_deref(), Some("cräck.jpg"));
    place.stop().await;
}

#[tokio::test]
async fn a_file_above_the_limit_is_refused_in_words() {
    let settings = HomeserverSettings { upload_bytes_max: 4_096, ..HomeserverSettings::default() };
    let place = Place::start(settings).await;
    assert_eq!(place.get("/v1/media/config").await, json!({"m.upload.size": 4_096}));
    let upload = async |bytes: usize| {
        let url = format!("{}/_matrix/media/v3/upload", place.sandbox.url());
        place.client.post(url).bearer_auth("sandbox-as-token").body(vec![0_u8; bytes]).send().await.unwrap()
    };
    assert_eq!(upload(4_096).await.status(), StatusCode::OK);
    let refused = upload(3_000_000).await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refused.json::<Value>().await.unwrap()["errcode"], "M_TOO_LARGE");
    assert_eq!(place.home.count(Method::POST.as_str(), "/upload"), 2);
    place.stop().await;
}
