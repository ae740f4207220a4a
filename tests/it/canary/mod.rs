//! No secret of the settings is in anything that the gateway puts out, at the loudest log level, after a conversation
//! and after failures of each kind; and above debug the log has no words and no address of anybody.

mod collector;
mod secrets;
mod stage;

use std::{fs, path::Path};

use deskbridge::sandbox::mail::OutgoingMail;
use serde_json::Value;

use self::{
    secrets::{ADMIN, ALL, CHANNEL_KEY, HS, IRC, PATH, SASL, forms},
    stage::{Stage, until},
};

const PEER_WORDS: &str = "peerwordsq7";
const AGENT_WORDS: &str = "agentwordsq7";
const MAIL_ADDRESS: &str = "ada-q7@cust.test";
const MATRIX_NAME: &str = "adaq7";
/// What people say, and how they are called.
const PEOPLE: [&str; 4] = [PEER_WORDS, AGENT_WORDS, MAIL_ADDRESS, MATRIX_NAME];

/// One output, with a name for who has to look for it.
struct Output {
    name: String,
    bytes: Vec<u8>,
}

impl Output {
    fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), bytes: bytes.into() }
    }

    fn holds(&self, part: &str) -> bool {
        self.bytes.windows(part.len()).any(|window| window == part.as_bytes())
    }
}

async fn talk_by_matrix(stage: &Stage) {
    let home = stage.sandbox.homeserver().unwrap();
    let user = home.customer(MATRIX_NAME);
    let room = home.direct_chat(&user);
    until("the bridge in the room", async || (home.joined(&room).len() > 1).then_some(())).await;
    home.say(&user, &room, &format!("hello {PEER_WORDS}")).unwrap();
    let conversation = until("the customer's words", async || stage.conversation_with("hello ")).await;
    stage.sandbox.reply(conversation, &format!("good morning {AGENT_WORDS}")).unwrap();
    let said = async || home.texts(&room).into_iter().find(|(_, text)| text.contains(AGENT_WORDS));
    until("the agent's words", said).await;
}

async fn talk_by_mail(stage: &Stage) {
    let post = stage.sandbox.post().unwrap();
    let raw = format!(
        "From: Ada <{MAIL_ADDRESS}>\r\nTo: help@desk.test\r\nSubject: order\r\nMessage-ID: <1@cust.test>\r\n\
         Date: Mon, 30 Nov 2026 10:00:00 +0000\r\n\r\nwhere is my order? {PEER_WORDS}\r\n"
    );
    let mail = OutgoingMail::new(MAIL_ADDRESS, "help@desk.test", raw);
    let codes = post.send(stage.mail, &mail).await.unwrap().codes();
    assert!(codes.iter().all(|code| *code < 400), "{codes:?}");
    let conversation = until("the mail", async || stage.conversation_with("where is my order?")).await;
    stage.sandbox.reply(conversation, &format!("on its way {AGENT_WORDS}")).unwrap();
    until("the answer at the relay", async || post.mails_to(MAIL_ADDRESS).first().cloned()).await;
}

/// Each is refused, and each refusal may say why.
async fn knock_wrongly(stage: &Stage) {
    let client = reqwest::Client::builder().build().unwrap();
    let post = |path: &str| client.post(stage.url(path)).body(r#"{"event":"message_created"}"#);
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    let forged = post("/callbacks/support").header("x-chatwoot-timestamp", "1").header("x-chatwoot-signature", "x");
    assert_eq!(status(forged).await, 401);
    assert_eq!(status(post("/callbacks/old/wrong")).await, 401);
    assert_eq!(status(post(&format!("/callbacks/old/{PATH}"))).await, 200);
    assert_eq!(status(client.get(stage.url("/admin/outbox")).bearer_auth("wrong")).await, 401);
    let pushed = format!("http://{}/_matrix/app/v1/transactions/7", stage.pushed_to);
    assert_eq!(status(client.put(&pushed).bearer_auth("wrong").body("{}")).await, 403);
    assert_eq!(status(client.put(format!("{pushed}?access_token={HS}x")).body("{}")).await, 403);
}

async fn answers(stage: &Stage) -> Vec<Output> {
    let client = reqwest::Client::builder().build().unwrap();
    let mut outputs = Vec::new();
    for path in ["/metrics", "/readyz", "/healthz", "/admin/outbox", "/admin/outbox/entry?key=none", "/none"] {
        let answer = client.get(stage.url(path)).bearer_auth(ADMIN).send().await.unwrap();
        outputs.push(Output::new(path, answer.bytes().await.unwrap()));
    }
    outputs
}

/// What `check` says of the settings, each line with a secret being wrong in one way after the other.
fn checked(stage: &Stage) -> Vec<Output> {
    let (text, mut outputs) = (fs::read_to_string(&stage.settings).unwrap(), Vec::new());
    let file = stage.settings.with_file_name("wrong.toml");
    for (at, line) in text.lines().enumerate().filter(|(_, line)| ALL.iter().any(|secret| line.contains(secret))) {
        let (key, value) = line.split_once(" = ").unwrap();
        let (open, doubled) = (line.trim_end_matches(['"', '}', ' ', ']']), format!("{key} = {value}\n{line}"));
        for wrong in
            [format!("x{line}"), format!("{key} = [{value}, 7]"), open.to_owned(), doubled, format!("{key} {value}")]
        {
            let lines: Vec<_> =
                text.lines().enumerate().map(|(n, old)| if n == at { wrong.as_str() } else { old }).collect();
            fs::write(&file, lines.join("\n")).unwrap();
            let output = stage::deskbridge(&["check", "-c"]).arg(&file).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{wrong}");
            outputs.push(Output::new(&format!("check of `{key}`"), [output.stdout, output.stderr].concat()));
        }
    }
    outputs
}

fn files(folder: &Path, outputs: &mut Vec<Output>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, outputs);
        } else if path.is_file() {
            outputs.push(Output::new(&path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test]
async fn no_secret_of_the_settings_is_in_any_output() {
    let mut stage = Stage::start().await;
    talk_by_matrix(&stage).await;
    talk_by_mail(&stage).await;
    // The passwords were really sent: by IRC in clear and in base64, and refused; and by mail.
    let spoken = |part: &str| stage.irc_heard().iter().any(|line| forms(part).iter().any(|form| line.contains(form)));
    until("a refused login on IRC", async || [IRC, SASL, CHANNEL_KEY].into_iter().all(spoken).then_some(())).await;
    knock_wrongly(&stage).await;

    let mut outputs = answers(&stage).await;
    stage.stop().await;
    let log = stage.log();
    outputs.push(Output::new("log", log.clone()));
    outputs.push(Output::new("standard output", stage.out()));
    outputs.extend(checked(&stage));
    let spans = stage.spans();
    assert_eq!(spans.holds("attempt") && spans.holds("callback"), cfg!(feature = "otlp"));
    assert!(PEOPLE.iter().all(|part| !spans.holds(part)), "a span names somebody");
    outputs.push(spans);
    files(&stage.data, &mut outputs);

    let named = |name: &str| outputs.iter().filter(|output| output.name.contains(name)).count();
    assert!(named("deskbridge.db") > 0 && named("check") >= ALL.len(), "{} outputs", outputs.len());
    let metrics = outputs.iter().find(|output| output.name == "/metrics").unwrap();
    assert!(metrics.holds("deskbridge_build_info") && metrics.holds("bridge=\"mail\""));
    assert!(PEOPLE.iter().all(|part| !metrics.holds(part)), "a figure names somebody");
    assert!(log.contains("TRACE") && log.contains("a callback was refused"), "the log is not at its loudest");
    let mut found = Vec::new();
    for secret in ALL {
        let forms = forms(secret);
        let hits = outputs.iter().filter(|output| forms.iter().any(|form| output.holds(form)));
        found.extend(hits.map(|output| format!("{secret} in {}: {}", output.name, around(output, &forms))));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    no_words_above_debug(&log);
}

/// The words before the first hit, for whoever has to find the place.
fn around(output: &Output, forms: &[String]) -> String {
    let text = String::from_utf8_lossy(&output.bytes);
    let line = text.lines().find(|line| forms.iter().any(|form| line.contains(form))).unwrap_or_default();
    line.chars().take(300).collect()
}

fn no_words_above_debug(log: &str) {
    let (mut quiet, mut loud) = (Vec::new(), 0);
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        if matches!(event["level"].as_str(), Some("INFO" | "WARN" | "ERROR")) {
            loud += 1;
            let held = PEOPLE.into_iter().find(|part| line.contains(part));
            quiet.extend(held.map(|part| format!("{part} in {line}")));
        }
    }
    assert!(quiet.is_empty() && loud > 3, "{loud} lines\n{}", quiet.join("\n"));
}
