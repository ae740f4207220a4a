//! The mail side of `deskbridge try`: its mail page beside the agent's page in a browser, and the example that it
//! prints for a shell.

use std::{net::TcpStream, process::Command};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    browser::{Browser, Page},
    peers,
    process::{Process, free_port, run},
    sandbox::Sandbox,
    try_out::named,
    wait::until,
};

/// Width, height, whether it is a phone.
const DESKTOP: (u32, u32, bool) = (1280, 800, false);
const PHONE: (u32, u32, bool) = (390, 844, true);

/// The first run, with its own port for mail.
struct Tried {
    process: Process,
    mail: String,
    _folder: TempDir,
}

impl Tried {
    fn start() -> Self {
        let folder = peers::folder();
        let mail = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskbridge"));
        command.args(["try", "--listen", &format!("127.0.0.1:{}", free_port()), "--listen-mail", &mail]);
        let tried = Self { process: Process::spawn(command, "try", folder.path()), mail, _folder: folder };
        // The bridge opens it by itself, a moment after the addresses are printed.
        until("the port for mail to open", || {
            TcpStream::connect(&tried.mail).map(drop).map_err(|error| format!("{error}: {}", tried.process.err()))
        });
        tried
    }

    fn page(&mut self, word: &str) -> String {
        named(&mut self.process, word)
    }

    fn sandbox(&mut self) -> Sandbox {
        Sandbox::at(&self.page("agent's page"))
    }

    fn stop(mut self) {
        self.process.signal("INT");
        assert!(self.process.wait().success(), "{}", self.process.err());
    }
}

/// Both sizes in both colours. Nothing may reach out of the screen to the side.
fn look(page: &mut Page, name: &str) {
    for (size, (width, height, phone)) in [("desktop", DESKTOP), ("phone", PHONE)] {
        page.size(width, height, phone);
        let across = "Math.max(...[...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() \
                      && !one.closest('.hide-text')).map((one) => one.getBoundingClientRect().right)) <= innerWidth + 1";
        page.until(&format!("{name} to fit a {size}"), across);
        for dark in [false, true] {
            page.dark(dark);
            page.picture(&format!("{name}-{size}-{}", if dark { "dark" } else { "light" }));
        }
    }
    page.dark(false);
    page.size(DESKTOP.0, DESKTOP.1, DESKTOP.2);
}

fn write_to_the_desk(mail: &mut Page) {
    mail.click("#new");
    mail.fill("#from-name", "Ada Lovelace");
    mail.fill("#from", "ada@example.org");
    mail.fill("#subject-field", "Order 42");
    mail.fill("#text", "My order 42 never came.\nIt was for Monday.");
    mail.click("#send");
    mail.shows("#result", "The gateway took the mail for support@desk.test.");
    mail.shows("#result code", "250 ");
}

fn look_at_every_part(mail: &mut Page) {
    look(mail, "mail-read");
    mail.click(".tabs button:nth-child(2)");
    mail.until("the HTML in its frame", "document.querySelector('iframe.frame')?.srcdoc.includes('today') === true");
    look(mail, "mail-html");
    mail.click("#mail summary");
    mail.click(".tabs button:nth-child(3)");
    mail.shows("#mail .source", "In-Reply-To: <");
    look(mail, "mail-source");
}

#[test]
fn a_customer_writes_mail_and_an_agent_answers_from_page_to_page() {
    if !Browser::present() {
        return;
    }
    let mut tried = Tried::start();
    let (mail, agent) = (tried.page("mail page"), tried.page("agent's page"));
    let browser = Browser::start();
    let mut mail = browser.open(&mail);
    mail.size(DESKTOP.0, DESKTOP.1, DESKTOP.2);
    mail.shows("#live", "live");
    look(&mut mail, "mail-empty");
    write_to_the_desk(&mut mail);
    look(&mut mail, "mail-sent");

    let mut agent = browser.open(&agent);
    agent.size(1100, 760, false);
    agent.shows(".row", "Ada Lovelace");
    agent.click(".row");
    agent.shows(".bubble", "My order 42 never came.");
    agent.enter("#text", "It ships **today**, Ada.");

    // A page in the back draws no rows.
    mail.call("Page.bringToFront", &json!({}));
    mail.shows(".row", "Order 42");
    mail.click(".row");
    mail.shows("#subject", "Order 42");
    mail.shows("#mail .text", "It ships");
    look_at_every_part(&mut mail);
    agent.call("Page.bringToFront", &json!({}));
    agent.shows(".msg.out .foot", "Delivered");

    mail.call("Page.bringToFront", &json!({}));
    mail.click("#reply");
    mail.shows("#writer-title", "Reply to the desk");
    mail.until("the reply to be one", "document.querySelector('#subject-field').value.startsWith('Re: ')");
    mail.until("the reply to be hers", "document.querySelector('#from').value === 'ada@example.org'");
    mail.until(
        "the agent to be quoted",
        "document.querySelector('#text').value.includes('via Support wrote:\\n> It ships')",
    );
    // Above what is quoted, where the page has put the cursor.
    mail.write("#text", "Thank you, that is soon enough.");
    look(&mut mail, "mail-reply");
    mail.click("#send");
    mail.shows("#result code", "250 ");
    agent.call("Page.bringToFront", &json!({}));
    agent.shows(".msg:not(.out) .bubble", "Thank you, that is soon enough.");
    assert_eq!(agent.evaluate("document.querySelectorAll('.row').length"), 1, "a conversation for each mail");
    agent.picture("mail-agent");
    mail.has_no_complaints();
    agent.has_no_complaints();

    let desk = tried.sandbox().desk();
    let [conversation] = desk.of("Ada Lovelace")[..] else { panic!("one conversation of hers: {desk:?}") };
    assert_eq!(conversation.incoming().len(), 2, "{conversation:?}");
    assert_eq!(conversation.messages.iter().filter(|message| message.status == "delivered").count(), 1);
    tried.stop();
}

#[test]
fn mail_by_curl_is_enough() {
    if !peers::have(&["curl"]) {
        return;
    }
    let mut tried = Tried::start();
    let sandbox = tried.sandbox();
    let said = tried.process.out();
    assert!(said.contains(&format!("smtp://{},", tried.mail)), "{said}");
    let example = said.lines().map(str::trim).find(|line| line.starts_with("printf ") && line.contains("| curl "));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(example.unwrap_or_else(|| panic!("no example in {said}")));
    let ran = run(shell);
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", tried.process.err());
    let message = until("the mail in the inbox", || {
        let desk = sandbox.desk();
        desk.incoming().next().cloned().ok_or_else(|| format!("{desk:?}"))
    });
    assert!(message.text().contains("It hums."), "{message:?}");
    tried.stop();
}
