//! The status page in a real browser, with and without scripts, against the real gateway; and the picture of it in the
//! README.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    browser::{Browser, Page},
    gateway::Gateway,
    peers,
    process::free_port,
    sandbox::Sandbox,
    wait::until,
};

/// Of `Gateway`'s settings.
const TOKEN: &str = "operator";
const HOUR: i64 = 3_600_000;

/// A gateway between a sandbox and three networks, one of which is not there; and a browser to look at it with.
struct Stage {
    // Dropped in this order.
    browser: Browser,
    gateway: Gateway,
    sandbox: Sandbox,
    _folder: TempDir,
}

impl Stage {
    /// `None` where there is no browser, after saying so.
    fn set() -> Option<Self> {
        Browser::present().then(|| {
            let folder = peers::folder();
            let sandbox = Sandbox::start_with(folder.path(), &["--homeserver"]);
            let inbox = format!("{}settle_seconds = 1\n", sandbox.settings());
            let mut gateway = Gateway::with_bridges(folder.path(), &inbox, &bridges(&sandbox));
            sandbox.call_back(&gateway.callback_url());
            // Makes the database, into which is put what took days to come about.
            gateway.start();
            gateway.signal("TERM");
            gateway.wait();
            fill(&gateway.data_dir());
            gateway.start();
            until("the homeserver's bridge to be up", || {
                let seen = gateway.ready()?.json();
                if seen["bridges"]["matrix"]["state"] == "up" { Ok(()) } else { Err(seen.to_string()) }
            });
            Self { browser: Browser::start(), gateway, sandbox, _folder: folder }
        })
    }

    /// Somebody writes over the homeserver, and is answered.
    fn talk(&self) {
        let mut customer = self.browser.open(&format!("{}/customer", self.sandbox.url));
        customer.enter("#enter-name", "Kim Lee");
        customer.shows("#live", "live");
        for text in ["Hello, my order 42 never came", "It was to be here on Monday"] {
            customer.enter("#text", text);
            self.sandbox.conversation("Kim Lee", text);
        }
        let conversation = self.sandbox.conversation("Kim Lee", "It was to be here on Monday").id;
        let reply = self.sandbox.reply(conversation, "I am looking into it");
        self.sandbox.until_status(reply, "delivered");
    }

    fn signed_in(&self, scripts: bool) -> Page {
        let mut page = self.browser.open(&self.gateway.url("/"));
        page.call("Emulation.setScriptExecutionDisabled", &json!({"value": !scripts}));
        page.size(1240, 860, false);
        page.dark(false);
        page.write("#token", TOKEN);
        page.press("Enter", 13);
        page.shows("h1", "down");
        // So a page is answered that asks to sign in.
        page.excuse("the server responded with a status of 401");
        page
    }
}

fn bridges(sandbox: &Sandbox) -> String {
    let (nobody, mail) = (free_port(), free_port());
    format!(
        "[bridges.libera]\nkind = \"irc\"\ninbox = \"desk\"\nserver = \"127.0.0.1\"\nport = {nobody}\ntls = false\n\
         nick = \"acme-help\"\n\n\
         [bridges.matrix]\nkind = \"matrix\"\ninbox = \"desk\"\nmode = \"websocket\"\nhomeserver_url = \"{}\"\n\
         server_name = \"sandbox.test\"\nas_token = \"sandbox-as-token\"\nhs_token = \"sandbox-hs-token\"\n\
         user = \"_desk_support\"\nnamespace = \"_desk_\"\n\n\
         [bridges.mail]\nkind = \"smtp\"\ninbox = \"desk\"\nlisten = \"127.0.0.1:{mail}\"\n\
         hostname = \"desk.acme.example\"\naddresses = [\"help@acme.example\"]\nfrom = \"Acme <help@acme.example>\"\n\
         verify = \"off\"\nrelay = {{ host = \"127.0.0.1\", port = {nobody}, security = \"none\" }}\n",
        sandbox.url
    )
}

/// Dead letters, and replies that wait for the network that is not there.
fn fill(data_dir: &Path) {
    let mut database = Connection::open(data_dir.join("deskbridge.db")).expect("the gateway made it");
    let filling = database.transaction().expect("nobody else is there");
    let now: i64 = filling.query_row("SELECT unixepoch() * 1000", [], |row| row.get(0)).expect("a number");
    for name in ["bridge:libera", "bridge:mail", "inbox:desk"] {
        filling.execute("INSERT INTO sink (name) VALUES (?1) ON CONFLICT DO NOTHING", [name]).expect("a sink");
    }
    let sink = |name: &str| -> i64 {
        filling.query_row("SELECT id FROM sink WHERE name = ?1", [name], |row| row.get(0)).expect("a sink")
    };
    let letters = [
        ("bridge:mail", "lin@customer.example", 4711, "550 5.1.1 <lin@customer.example>: no such mailbox", 3),
        ("bridge:libera", "a:ada", 4698, "ada has left the network, and nobody is proved to be the same person", 1),
        ("bridge:libera", "a:<b>mallory</b>", 4655, "<script>document.title='owned'</script> is no such nick", 2),
        ("bridge:mail", "sam@shop.example", 4602, "the relay refused the sender: 553 5.7.1 not owned by acme", 1),
    ];
    for (number, (to, thread, message, reason, attempts)) in letters.into_iter().enumerate() {
        let id = 1_000 + number as i64;
        let (key, died) = (format!("desk:{message}/0"), now - (number as i64 * 7 + 1) * HOUR / 3);
        let order = reply(to, thread, message).to_string();
        let letter = params![id, key, sink(to), id, message * 4096, died - HOUR / 20, died, attempts, reason, order];
        let sql = "INSERT INTO dead VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10)";
        filling.execute(sql, letter).expect("a dead letter");
        let sql = "INSERT INTO attempt VALUES (?1, ?2, ?3, 0, ?3 + 800, ?4, ?5)";
        for attempt in 1..=attempts {
            let last = attempt == attempts;
            let (outcome, why) =
                if last { ("dead", reason) } else { ("again", "the connection was cut: try again later") };
            let started = died - i64::from(attempts - attempt) * 60_000 - 800;
            filling.execute(sql, params![id, attempt, started, outcome, why]).expect("an attempt");
        }
    }
    for number in 0..23_i64 {
        let (id, message) = (2_000 + number, 4_800 + number);
        let row = params![id, sink("bridge:libera"), id, message * 4096, now];
        filling.execute("INSERT INTO ev VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, NULL, NULL)", row).expect("an envelope");
        let order = reply("bridge:libera", &format!("a:peer{number}"), message).to_string();
        let body = params![id, format!("desk:{message}/0"), now - HOUR / 4 + number * 20_000, order];
        filling.execute("INSERT INTO body VALUES (?1, ?2, ?3, ?4)", body).expect("an order");
    }
    let counts = "UPDATE sink SET dead = (SELECT count(*) FROM dead WHERE dead.sink = sink.id),
        waiting = (SELECT count(*) FROM ev WHERE ev.sink = sink.id)";
    filling.execute(counts, []).expect("counts");
    filling.commit().expect("the disk has room");
}

/// As the gateway writes orders down.
fn reply(sink: &str, thread: &str, message: i64) -> Value {
    let bridge = sink.split(':').nth(1).expect("a sink has a name");
    json!({"send": {
        "bridge": bridge, "thread": thread, "part": {"Text": {"text": "an answer"}},
        "agent": {"id": "7", "name": "Grace"},
        "message": {"inbox": "desk", "conversation": message / 10, "message": message}, "last": true,
    }})
}

/// The letter with this key has a button, which is pressed.
fn retry(page: &mut Page, key: &str) {
    page.click(&format!("button[aria-label=\"Retry {key}\"]"));
    page.shows(".notice", "1 message put back");
    page.until("the letter to be gone", &format!("!document.querySelector('[aria-label=\"Retry {key}\"]')"));
}

#[test]
fn an_operator_signs_in_sees_what_is_wrong_and_puts_a_letter_back() {
    let Some(stage) = Stage::set() else { return };
    stage.talk();
    let mut page = stage.signed_in(true);
    page.shows("#pulse", "live");
    page.shows("tr.bad", "libera");
    page.shows("tr.good", "matrix");
    page.until("the reply to be counted", "document.querySelector('tr.good td.n').innerText.trim() !== '–'");
    page.until("nothing of a stranger's to run", "document.title.includes('given up')");
    retry(&mut page, "desk:4698/0");
    // It goes to the network that is not there, and waits.
    page.until("fewer letters", "document.querySelectorAll('#live .letters li form').length === 3");
    page.click("button[aria-label='Retry all 3 shown']");
    page.shows(".notice", "3 messages put back");
    page.write("#q", "4698");
    page.press("Enter", 13);
    page.shows(".story", "attempt 1");
    page.has_no_complaints();
}

#[test]
fn the_page_keeps_itself_fresh_and_rests_while_nobody_looks() {
    let Some(stage) = Stage::set() else { return };
    let mut page = stage.signed_in(true);
    page.shows("#pulse", "live");
    page.evaluate("window.unchanged = document.getElementById('live')");
    page.until("a fresh content", "window.unchanged !== document.getElementById('live')");
    // Under a hand that is about to press something nothing moves.
    page.click(".letters summary");
    page.shows("#pulse", "paused");
    page.click("details[open] summary");
    page.shows("#pulse", "live");
    page.has_no_complaints();
}

#[test]
fn everything_can_be_done_without_scripts() {
    let Some(stage) = Stage::set() else { return };
    let mut page = stage.signed_in(false);
    page.shows("tr.bad", "libera");
    retry(&mut page, "desk:4698/0");
    page.click("summary[aria-label='Discard desk:4602/0']");
    page.click("button[aria-label='Discard desk:4602/0 for good']");
    page.shows(".notice", "1 message discarded");
    page.click("button[aria-label='Pause matrix']");
    page.shows(".notice", "matrix is paused, until it is resumed or the gateway starts again");
    page.shows("tr.bad .why", "paused by an operator");
    page.click("button[aria-label='Resume matrix']");
    page.shows(".notice", "matrix is resumed");
    page.click("button[aria-label='Sweep now desk']");
    page.shows(".notice", "desk is asked now");
    page.write("#q", "a:ada");
    page.press("Enter", 13);
    page.shows("#messages + *", "None");
    page.click("a.brand");
    page.click(".letters a.key");
    page.shows(".story", "given up");
    page.evaluate("document.querySelector('form[action=\"/sign-out\"] button').click()");
    page.shows("label", "Admin token");
}

#[test]
fn the_page_fits_every_screen_in_both_schemes() {
    let Some(stage) = Stage::set() else { return };
    stage.talk();
    let mut page = stage.signed_in(true);
    let id = "document.querySelector('.letters a.key').getAttribute('href')";
    let message = page.evaluate(id).as_str().expect("a link").to_owned();
    for (name, path) in
        [("board", "/"), ("message", message.as_str()), ("search", "/?q=desk%3A47"), ("few", "/?q=4711")]
    {
        page.call("Page.navigate", &json!({"url": stage.gateway.url(path)}));
        page.shows("#pulse", "live");
        for (size, width, height, phone) in
            [("wide", 1400, 1000, false), ("tablet", 820, 1100, true), ("phone", 360, 780, true)]
        {
            page.size(width, height, phone);
            for dark in [false, true] {
                page.dark(dark);
                let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(page.evaluate(overflow), json!(0), "{name} on a {size}");
                page.picture(&format!("status-{name}-{size}-{}", if dark { "dark" } else { "light" }));
            }
        }
    }
    page.has_no_complaints();
}

#[test]
fn one_command_decides_about_all_letters_of_a_far_side() {
    let Some(mut stage) = Stage::set() else { return };
    let ran = stage.gateway.command(&["outbox", "discard", "--all"]);
    assert_eq!(ran.code, Some(2), "not all of all far sides: {ran:?}");
    let ran = stage.gateway.command(&["outbox", "discard", "--all", "--sink", "bridge:mail"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2 of 2 dropped\n"), "{ran:?}");
    // The same while no gateway runs.
    stage.gateway.signal("TERM");
    stage.gateway.wait();
    let ran = stage.gateway.command(&["outbox", "retry", "--all"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2 of 2 put back\n"), "{ran:?}");
    assert_eq!(stage.gateway.waiting().len(), 25);
}

/// Makes the picture of the README, and with `DESKBRIDGE_PICTURES=1` puts it into its place.
#[test]
fn the_picture_of_the_readme_can_be_made_anew() {
    let Some(stage) = Stage::set() else { return };
    stage.talk();
    let mut page = stage.signed_in(true);
    page.size(1180, 900, false);
    page.call("Emulation.setScrollbarsHidden", &json!({"hidden": true}));
    // Not everybody who sees it knows why it is there.
    stage.gateway.command(&["outbox", "discard", "desk:4655/0"]);
    page.call("Page.navigate", &json!({"url": stage.gateway.url("/")}));
    // Just now, or on a busy machine some seconds ago.
    let last = "[...document.querySelectorAll('tr.good td.n:last-child')].some((one) => one.innerText.trim() !== '–')";
    page.until("the last reply", last);
    page.shows("h1", "3 given up");
    page.shows("#pulse", "live");
    let end = page.evaluate("document.querySelector('[aria-labelledby=dead]').getBoundingClientRect().bottom + 14");
    let clip = json!({"x": 0, "y": 0, "width": 1180, "height": end, "scale": 1});
    let shot = page.call("Page.captureScreenshot", &json!({"format": "png", "clip": clip}));
    let bytes = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("it is base64");
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{} bytes are no page", bytes.len());
    assert!(bytes.len() < 150_000, "{} bytes are too many for a README", bytes.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/pictures/status.png");
    assert!(path.exists(), "the README shows it");
    if std::env::var_os("DESKBRIDGE_PICTURES").is_some() {
        fs::write(path, bytes).expect("the picture can be written");
    }
}
