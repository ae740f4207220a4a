//! A customer and an agent in a correspondence, through Postfix on both sides.

use super::world::{ADA, AGENT, COMPANY, HELP, World};
use crate::{
    http,
    peers::{
        postfix::{HandIn, Letter},
        swaks::{Mail, Swaks},
    },
};

/// Any bytes at all, and more than one line of base64.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(count).collect()
}

#[test]
fn a_mail_with_three_files_arrives_and_its_answer_is_one_that_mail_readers_know_how_to_answer() {
    correspond(HandIn::Smtp);
}

#[test]
fn the_same_by_lmtp() {
    correspond(HandIn::Lmtp);
}

#[test]
fn lmtp_is_spoken_with_anybody_who_may_hand_in() {
    let Some(world) = World::start(HandIn::Lmtp) else { return };
    Swaks::to(world.port).lmtp().send(&Mail::new(ADA, HELP).subject("hello").text("straight in"));
    world.conversation("straight in");
    let refused = Swaks::to(world.port).lmtp().try_send(&Mail::new(ADA, "someone@else.test").text("not ours"));
    assert!(!refused.is_taken(), "{}", refused.transcript);
}

fn correspond(hand_in: HandIn) {
    let Some(world) = World::start(hand_in) else { return };
    let files = [bytes(1, 100), bytes(2, 70_000), b"three\n".to_vec()];
    let mail = Mail::new(ADA, HELP)
        .header("From", "=?UTF-8?Q?Ad=C3=A8le_M=C3=BCller?= <ada@cust.test>")
        // `Größe ändern`, in two pieces.
        .subject("=?UTF-8?B?R3LDtsOfZQ==?= =?ISO-8859-1?Q?_=E4ndern?=")
        .id("<first@cust.test>")
        .text("Guten Tag,\nmeine Größe fehlt.\n")
        .html("<p>Guten Tag,</p><p>meine <b>Größe</b> fehlt.</p>")
        .file("plain.bin", "application/octet-stream", &files[0])
        .file("=?UTF-8?Q?Ma=C3=9Fe_2.bin?=", "application/octet-stream", &files[1])
        .file("notes.txt", "text/plain", &files[2]);
    world.receive(&mail);

    let conversation = world.conversation("fehlt");
    let desk = world.sandbox.desk();
    assert_eq!(desk.contacts.iter().map(|contact| contact.name.as_str()).collect::<Vec<_>>(), ["Adèle Müller"]);
    assert!(conversation.incoming()[0].contains("Größe"), "{conversation:?}");
    let state = http::get(&format!("{}/sandbox/state", world.sandbox.url)).expect("the sandbox answers").body;
    assert!(state.contains("Größe ändern"), "the subject is nowhere: {state}");
    let incoming: Vec<_> = desk.incoming().collect();
    assert!(incoming[0].source_id.as_deref().is_some_and(|id| id.starts_with("net/")), "{incoming:?}");
    let attached = incoming.iter().flat_map(|message| &message.attachments);
    let arrived: Vec<_> = attached.map(|file| http::bytes(&file.data_url).expect("the inbox serves it")).collect();
    for file in &files {
        assert!(arrived.contains(file), "a file of {} bytes is not there", file.len());
    }

    let picture = bytes(3, 40_000);
    let text = "Here is **what** you need: ä\n.and a dot";
    let reply = world.sandbox.reply_with_file(conversation.id, text, "label.png", &picture);
    let letter = world.postfix.mailbox("ada").with("you need: ä");
    world.sandbox.until_status(reply, "delivered");
    judge_answer(&letter, &picture);

    world.receive(&answer(&letter, "Danke, das passt."));
    let again = world.conversation("das passt");
    assert_eq!(again.id, conversation.id);
    let second = world.sandbox.reply(conversation.id, "Gern geschehen.");
    let letter = world.postfix.mailbox("ada").with("Gern geschehen");
    assert_eq!(letter.in_reply_to(), ["second@cust.test"]);
    assert_eq!(letter.references().first().map(String::as_str), Some("first@cust.test"));
    world.sandbox.until_status(second, "delivered");
    assert_eq!(world.postfix.mailbox("ada").settled(2).len(), 2);
    world.postfix.until_empty();
}

fn judge_answer(letter: &Letter, picture: &[u8]) {
    let (name, address) = letter.from();
    assert_eq!(name, format!("{AGENT} via {COMPANY}"));
    assert_eq!((address.as_str(), letter.to().1.as_str()), (HELP, ADA));
    let token = letter.answer_to();
    let detail = token.strip_prefix("help+").and_then(|rest| rest.strip_suffix("@support.test"));
    assert!(detail.is_some_and(|detail| detail.len() >= 16), "no token in {token}");
    assert_eq!(letter.subject(), "Re: Größe ändern");
    assert_eq!(letter.in_reply_to(), ["first@cust.test"]);
    assert_eq!(letter.references(), ["first@cust.test"]);
    assert!(letter.text().contains("\n.and a dot"), "{letter:?}");
    assert!(letter.html().is_some_and(|html| html.contains("<strong>what</strong>")), "{letter:?}");
    let files = letter.files();
    assert_eq!(files.len(), 1, "{letter:?}");
    assert_eq!((files[0].name.as_str(), files[0].bytes == picture), ("label.png", true));
    for once in ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Reply-To"] {
        assert_eq!(letter.count(once), 1, "{once} in {letter:?}");
    }
    assert_eq!(letter.header("Auto-Submitted"), None, "a person wrote it");
}

/// As a mail reader makes it when one clicks on `reply`.
fn answer(letter: &Letter, text: &str) -> Mail {
    let references: Vec<_> = letter.references().iter().chain([&letter.id()]).map(|id| format!("<{id}>")).collect();
    let quoted: Vec<_> = letter.text().lines().map(|line| format!("> {line}")).collect();
    Mail::new(ADA, &letter.answer_to())
        .header("From", "=?UTF-8?Q?Ad=C3=A8le_M=C3=BCller?= <ada@cust.test>")
        .subject("=?UTF-8?B?UmU6IEdyw7bDn2Ugw6RuZGVybg==?=")
        .id("<second@cust.test>")
        .header("In-Reply-To", &format!("<{}>", letter.id()))
        .header("References", &references.join(" "))
        .text(&format!(
            "{text}\n\nOn Mon, 30 Nov 2026 at 10:00, {AGENT} via {COMPANY} <{HELP}> wrote:\n{}\n",
            quoted.join("\n")
        ))
}

#[test]
fn private_notes_never_leave() {
    let Some(world) = World::start(HandIn::Smtp) else { return };
    world.receive(&Mail::new(ADA, HELP).subject("hello").text("is anybody there?"));
    let conversation = world.conversation("is anybody there?").id;
    world.sandbox.note(conversation, "a difficult customer");
    world.sandbox.resolve(conversation);
    let reply = world.sandbox.reply(conversation, "good morning");
    world.sandbox.until_status(reply, "delivered");
    let letters = world.postfix.mailbox("ada").settled(1);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].text().contains("good morning") && !letters[0].raw().contains("difficult"), "{letters:?}");
}

#[test]
fn a_bounce_of_the_queue_behind_us_fails_the_message_with_its_words() {
    let Some(world) = World::start(HandIn::Smtp) else { return };
    world.receive(&Mail::new("gone@cust.test", HELP).subject("hello").text("answer me"));
    let conversation = world.conversation("answer me").id;
    let reply = world.sandbox.reply(conversation, "here is your answer");
    let failed = world.sandbox.until_status(reply, "failed");
    let reason = failed.reason();
    assert!(reason.contains("5.1.1") && reason.to_lowercase().contains("unknown user"), "{reason}");
    world.postfix.until_empty();
    let desk = world.sandbox.desk();
    assert_eq!((desk.incoming().count(), desk.conversations.len()), (1, 1), "a bounce is no message of anybody's");
}

/// More than the help desk takes in one message, which is 150 000 characters.
#[test]
fn a_mail_longer_than_the_help_desk_takes_is_shown_in_part_and_kept_whole_beside_it() {
    let Some(world) = World::start(HandIn::Smtp) else { return };
    let lines: Vec<String> = (0..20_000).map(|line| format!("line number {line} of a long story")).collect();
    world.receive(&Mail::new(ADA, HELP).subject("long").text(&lines.join("\n")));
    let conversation = world.conversation("line number 0 of");
    let message = conversation.messages.first().expect("it was found by it");
    let attached: Vec<_> =
        message.attachments.iter().map(|file| http::bytes(&file.data_url).expect("the inbox serves it")).collect();
    let whole = attached.iter().map(|bytes| String::from_utf8_lossy(bytes));
    let last = lines.last().expect("there are lines");
    assert!(whole.into_iter().any(|text| text.contains(last)), "the end of it is nowhere: {:?}", message.attachments);
}
