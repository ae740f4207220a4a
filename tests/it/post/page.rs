//! The mail page: what it loads, what it is told, and what its own calls do. A second relay plays the gateway.

use deskbridge::sandbox::SandboxSettings;
use deskbridge::sandbox::mail::{MailFault, MailRule, Step};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{DEADLINE, Place};

struct Page {
    place: Place,
    /// Where the page's mails go.
    gateway: Place,
    client: Client,
}

impl Page {
    async fn open() -> Self {
        let (place, gateway) = (Place::fresh().await, Place::fresh().await);
        place.sandbox.set_mail_target(gateway.post.address());
        Self { place, gateway, client: Client::builder().no_proxy().build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.place.sandbox.url())
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.client.post(self.url(path)).json(&body).send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }
}

fn letter() -> Value {
    json!({"from_name": "Kim Lee", "from": "kim@example.org", "to": "support@acme.test", "subject": "Größe", "text": "Hi\n.\n"})
}

const ANSWER: &str = "From: \"Ada\" <support@acme.test>\r\nReply-To: <support+7@acme.test>\r\nTo: <kim@example.org>\r\n\
    Subject: Re: x\r\nMessage-ID: <2@acme.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n\
    --m\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script><b>hi</b>\r\n\
    --m\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=\"a \\\"b\\\".html\"\r\n\r\n<i>x</i>\r\n--m--\r\n";

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere() {
    let page = Page::open().await;
    let answer = page.get("/mail").await;
    let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'; script-src 'nonce-"), "{policy}");
    assert!(!policy.contains("script-src 'unsafe") && !policy.contains("frame-src"), "{policy}");
    assert!(answer.text().await.unwrap().contains("<title>Sandbox mailbox</title>"));
    let other = Place::fresh().await;
    let agents = page.client.get(other.sandbox.url()).send().await.unwrap();
    let policy = agents.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(!policy.contains("unsafe"), "other pages allow no styles of others: {policy}");
}

#[tokio::test]
async fn other_web_pages_reach_nothing() {
    let page = Page::open().await;
    for path in ["/mail", "/mail/messages", "/mail/events", "/sandbox/mail/state"] {
        let foreign = page.client.get(page.url(path)).header(header::ORIGIN, "https://evil.example");
        assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{path}");
    }
    let foreign = page.client.post(page.url("/mail/send")).header(header::ORIGIN, "https://evil.example");
    assert_eq!(foreign.json(&letter()).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(page.gateway.post.mails().is_empty());
}

#[tokio::test]
async fn a_sandbox_without_a_relay_has_no_mail_page() {
    let sandbox = deskbridge::sandbox::Sandbox::start(SandboxSettings::default()).await.unwrap();
    assert!(sandbox.post().is_none());
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{}/mail", sandbox.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_customers_mail_goes_to_the_gateway_and_its_answer_comes_back() {
    let page = Page::open().await;
    let (status, answer) = page.post("/mail/send", letter()).await;
    assert_eq!((status, &answer["taken"]), (StatusCode::OK, &json!(true)), "{answer}");
    assert_eq!(answer["answer"], "250 2.0.0 kept as 1");
    assert_eq!(answer["steps"][3]["step"], "RCPT TO:<support@acme.test>");
    let mail = page.gateway.post.mail(1).unwrap();
    assert_eq!(
        (mail.envelope.sender.as_str(), mail.envelope.addresses()),
        ("kim@example.org", vec!["support@acme.test"])
    );
    let text = mail.text();
    assert!(text.contains("Subject: =?utf-8?B?R3LDtsOfZQ==?=\r\n") && text.ends_with("\r\n\r\nHi\r\n.\r\n"), "{text}");
    let id = answer["message_id"].as_str().unwrap();
    assert!(text.contains(&format!("Message-ID: {id}\r\n")) && id.ends_with("@example.org>"), "{text}");
}

#[tokio::test]
async fn files_go_with_a_mail_and_a_reply_names_what_it_answers() {
    let page = Page::open().await;
    let file = Part::bytes(vec![1, 2, 3]).file_name("Plan 7.bin").mime_str("application/x-plan").unwrap();
    let form = Form::new()
        .text("from", "kim@example.org")
        .text("subject", "Re: x")
        .text("text", "see there")
        .text("in_reply_to", "<2@acme.test>")
        .text("references", "<1@example.org> <2@acme.test>")
        .part("files[]", file);
    let answer = page.client.post(page.url("/mail/send")).multipart(form).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mail = page.gateway.post.mail(1).unwrap();
    assert_eq!(mail.envelope.addresses(), ["support@desk.test"], "the desk's own address when none is chosen");
    for line in [
        "In-Reply-To: <2@acme.test>\r\n",
        "References: <1@example.org>\r\n <2@acme.test>\r\n",
        "Content-Type: application/x-plan\r\n",
        "filename*=utf-8''Plan%207.bin\r\n",
        "\r\n\r\nAQID\r\n",
    ] {
        assert!(mail.text().contains(line), "{line}: {}", mail.text());
    }
}

#[tokio::test]
async fn what_comes_of_a_mail_is_told_in_words() {
    let page = Page::open().await;
    page.gateway.post.faults().add(MailRule::next(1, Step::Recipient, MailFault::Refuse));
    let (status, answer) = page.post("/mail/send", letter()).await;
    assert_eq!((status, &answer["taken"]), (StatusCode::OK, &json!(false)));
    assert_eq!(answer["answer"], "550 5.1.1 nobody of this name");
    assert_eq!(answer["step"], "RCPT TO:<support@acme.test>");

    page.gateway.post.faults().add(MailRule::next(1, Step::Content, MailFault::CommitThenClose));
    let (status, answer) = page.post("/mail/send", letter()).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(answer["error"].as_str().unwrap().starts_with("no answer to the mail: "), "{answer}");
    assert_eq!(answer["steps"].as_array().unwrap().len(), 5);

    page.gateway.post.go_down().await;
    let (status, answer) = page.post("/mail/send", letter()).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(answer["error"].as_str().unwrap().starts_with("cannot connect to "), "{answer}");

    let mut wrong = letter();
    wrong["from"] = json!("kim");
    let (status, answer) = page.post("/mail/send", wrong).await;
    assert_eq!(
        (status, answer["error"].as_str().unwrap()),
        (StatusCode::UNPROCESSABLE_ENTITY, "your address is written like kim@example.org")
    );

    page.place.post.set_target(None);
    let (status, answer) = page.post("/mail/send", letter()).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["error"].as_str().unwrap().contains("no gateway takes mail here yet"), "{answer}");
}

#[tokio::test]
async fn mails_are_shown_and_their_files_are_only_bytes() {
    let page = Page::open().await;
    page.place.hand_over(ANSWER).await;
    let list = page.json("/mail/messages").await;
    assert_eq!(list["messages"][0]["subject"], "Re: x");
    assert_eq!(list["messages"][0]["files"], json!(["a \"b\".html"]));
    assert_eq!(page.json("/mail/messages?after=1").await["messages"], json!([]));
    let mail = page.json("/mail/messages/1").await;
    assert_eq!(mail["html"]["text"], "<script>alert(1)</script><b>hi</b>");
    assert_eq!((&mail["text"], &mail["reply"]["to"]), (&Value::Null, &json!("support+7@acme.test")));
    for (path, kind, disposition, body) in [
        (
            "/mail/messages/1/files/0",
            "application/octet-stream",
            "attachment; filename*=utf-8''a%20%22b%22.html",
            "<i>x</i>",
        ),
        ("/mail/messages/1/raw", "text/plain; charset=utf-8", "inline", ANSWER),
    ] {
        let answer = page.get(path).await;
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            (header(header::CONTENT_TYPE).as_str(), header(header::CONTENT_DISPOSITION).as_str()),
            (kind, disposition)
        );
        assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert!(header(header::CONTENT_SECURITY_POLICY).contains("sandbox"));
        assert_eq!(answer.text().await.unwrap(), body);
    }
    for path in ["/mail/messages/2", "/mail/messages/1/files/1", "/mail/messages/x", "/mail/messages/0/raw"] {
        assert_eq!(page.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_open_page_is_told_of_every_mail_and_of_the_gateway() {
    let page = Page::open().await;
    page.place.hand_over("Subject: one\r\n\r\nx\r\n").await;
    let mut stream = page.get("/mail/events").await;
    let mut seen = String::new();
    let mut told = async || {
        loop {
            if let Some((event, rest)) = seen.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(ToOwned::to_owned);
                seen = rest.to_owned();
                if let Some(data) = data {
                    return serde_json::from_str::<Value>(&data).unwrap();
                }
                continue;
            }
            let chunk = tokio::time::timeout(DEADLINE, stream.chunk()).await.expect("an event").unwrap();
            seen.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    };
    let first = told().await;
    assert_eq!((&first["first"], &first["messages"][0]["subject"]), (&json!(true), &json!("one")));
    assert_eq!(first["target"], page.gateway.post.address().to_string());
    page.place.hand_over("Subject: two\r\n\r\nx\r\n").await;
    let second = told().await;
    assert_eq!((&second["first"], second["messages"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(second["messages"][0]["subject"], "two");
    page.place.post.set_desk_address("help@acme.test");
    assert_eq!(told().await["desk_address"], "help@acme.test");
    page.place.post.forget_mails();
    assert_eq!(told().await["oldest"], Value::Null);
}

#[tokio::test]
async fn a_page_that_saw_mails_of_another_run_is_shown_all_of_this_one() {
    let page = Page::open().await;
    page.place.hand_over("Subject: one\r\n\r\nx\r\n").await;
    let first = async |last: Option<String>| {
        let client = reqwest::Client::builder().build().unwrap();
        let mut request = client.get(format!("{}/mail/events", page.place.sandbox.url()));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let mut stream = request.send().await.unwrap();
        let mut seen = String::new();
        while !seen.contains("\n\n") {
            let chunk = tokio::time::timeout(DEADLINE, stream.chunk()).await.expect("an event").unwrap().unwrap();
            seen.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let line = |name: &str| seen.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let told: Value = serde_json::from_str(&line("data: ")).unwrap();
        (line("id: "), told["messages"].as_array().unwrap().len())
    };
    let (id, rows) = first(None).await;
    assert_eq!((id.ends_with("-1"), rows), (true, 1));
    for (last, rows) in [(id, 0), ("17-50".to_owned(), 1), ("50".to_owned(), 1)] {
        assert_eq!(first(Some(last.clone())).await.1, rows, "{last}");
    }
}

#[tokio::test]
async fn hooks_set_faults_and_the_target_and_show_the_state() {
    let page = Page::open().await;
    let (status, _) =
        page.post("/sandbox/mail/target", json!({"address": "127.0.0.1:9", "desk_address": "a@b.test"})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = page.post("/sandbox/mail/target", json!({"address": "nowhere"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let rule = json!({"on": "content", "count": 1, "kind": "put_off"});
    let (status, sheet) = page.post("/sandbox/mail/faults", json!({"rules": [rule]})).await;
    assert_eq!((status, &sheet["rules"][0]["kind"]), (StatusCode::OK, &json!("put_off")));
    for wrong in [
        json!({"rules": [{"on": "quit", "kind": "no_starttls"}]}),
        json!({"rules": vec![rule; 65]}),
        json!({"rule": []}),
    ] {
        assert_eq!(page.post("/sandbox/mail/faults", wrong).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(page.place.hand_over("x\r\n").await.last(), Some(&451));
    assert_eq!(page.place.hand_over("Subject: x\r\n\r\nx\r\n").await.last(), Some(&250));
    let state = page.json("/sandbox/mail/state").await;
    assert_eq!(
        (&state["target"], &state["struck"], &state["counts"]["mails"]),
        (&json!("127.0.0.1:9"), &json!(1), &json!(1))
    );
    assert_eq!(state["mails"][0]["raw"], "Subject: x\r\n\r\nx\r\n");
    let cleared = page.client.delete(page.url("/sandbox/mail/faults")).send().await.unwrap();
    assert_eq!(cleared.status(), StatusCode::OK);
    assert_eq!(page.json("/sandbox/mail/faults").await, json!({"rules": []}));
}
