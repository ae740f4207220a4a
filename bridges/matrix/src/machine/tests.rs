//! Events in, reports out: the machine played by hand.

mod places;

use bridge_api::{Key, Message, Receipt, Report, Speaker, Target};
use serde_json::{Value, json};

use super::*;
use crate::wire::{Seen, read_event};

const NOW: i64 = 1_795_000_000_000;
const ME: &str = "@_acme_support:shop.example";
const KIM: &str = "@kim:shop.example";

struct Rig {
    machine: Machine,
    answers: Answers,
    count: i64,
}

impl Rig {
    fn new() -> Self {
        Self::of(Some("_acme_"), Invites::default())
    }

    fn of(namespace: Option<&str>, invites: Invites) -> Self {
        let me = Me { user: ME.into(), namespace: namespace.map(str::to_owned) };
        let answers = Answers { entered: ["!r".into()].into(), ..Answers::default() };
        Self { machine: Machine::new(me, invites, &[]), answers, count: 0 }
    }

    /// An event with the next id and moment.
    fn event(&mut self, room: &str, sender: &str, kind: &str, content: &Value, more: &Value) -> Event {
        self.count += 1;
        let mut value = json!({
            "type": kind, "event_id": format!("${}", self.count), "room_id": room, "sender": sender,
            "origin_server_ts": NOW + self.count, "content": content,
        });
        value.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        read_event(value, None).unwrap()
    }

    fn take(&mut self, events: Vec<Event>, ephemeral: Vec<Ephemeral>) -> Staged {
        let staged = self.machine.take(Transaction { events, ephemeral }, &self.answers, NOW);
        let again = self.machine.take(Transaction::default(), &self.answers, NOW);
        assert!(again.inbound.is_empty(), "nothing changes before the commit");
        staged
    }

    fn reports(&mut self, events: Vec<Event>, ephemeral: Vec<Ephemeral>) -> Vec<Report> {
        let mut staged = self.take(events, ephemeral);
        let reports = std::mem::take(&mut staged.inbound).into_iter().map(|inbound| inbound.report).collect();
        self.machine.commit(staged);
        reports
    }

    fn one(&mut self, event: Event) -> Vec<Report> {
        self.reports(vec![event], Vec::new())
    }

    fn says(&mut self, sender: &str, text: &str) -> Vec<Report> {
        let event = self.event("!r", sender, "m.room.message", &json!({"msgtype": "m.text", "body": text}), &json!({}));
        self.one(event)
    }

    fn content(&mut self, sender: &str, content: &Value) -> Vec<Report> {
        let event = self.event("!r", sender, "m.room.message", content, &json!({}));
        self.one(event)
    }

    fn member(&mut self, sender: &str, whom: &str, membership: &str, more: &Value) -> Vec<Report> {
        let mut facts = json!({"state_key": whom});
        facts.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let event = self.event("!r", sender, "m.room.member", &json!({"membership": membership}), &facts);
        self.one(event)
    }

    /// Kim's direct chat, entered.
    fn chat() -> Self {
        let mut rig = Self::new();
        rig.member(KIM, ME, "invite", &json!({}));
        rig.member(ME, ME, "join", &json!({}));
        rig
    }

    /// An agent's reply as it comes back from the homeserver.
    fn echo(&mut self, key: &str) -> EventRef {
        let content = json!({"msgtype": "m.text", "body": "hello", KEY_MARK: key});
        let event = self.event("!r", "@_acme_agent_user-3:shop.example", "m.room.message", &content, &json!({}));
        let id = event.id.clone();
        assert!(self.one(event).is_empty(), "what our users do is never reported");
        id
    }

    fn duty(&self) -> Option<Duty> {
        self.machine.rooms.get(&"!r".into()).and_then(Room::duty)
    }
}

fn message(reports: &[Report]) -> &Message {
    match reports {
        [Report::Message(message)] => message,
        other => panic!("not one message: {other:?}"),
    }
}

#[test]
fn an_invite_is_followed_and_a_message_reported_under_the_inviters_name() {
    let mut rig = Rig::new();
    let stripped = json!({"unsigned": {"invite_room_state": [
        {"type": "m.room.member", "state_key": KIM, "content": {"membership": "join", "displayname": "Kim \u{202e}L", "avatar_url": "mxc://s/pic"}}]}});
    assert!(rig.member(KIM, ME, "invite", &stripped).is_empty());
    assert_eq!(rig.duty(), Some(Duty::Join { via: Some("shop.example".into()) }));
    rig.answers.entered.clear();
    rig.member(ME, ME, "join", &json!({}));
    assert_eq!(rig.duty(), Some(Duty::ReadBack), "what was written before is told to nobody");
    rig.answers.entered.insert("!r".into());
    rig.member(ME, ME, "join", &json!({}));
    assert_eq!(rig.duty(), Some(Duty::Settle));
    let reports = rig.says(KIM, "Hi *there*");
    let said = message(&reports);
    assert_eq!((said.peer.id.as_str(), said.peer.name.as_str()), (KIM, "Kim L"));
    assert_eq!(said.peer.picture.as_ref().unwrap().url, "mxc://s/pic");
    assert_eq!(said.text, "Hi \\*there\\*");
    // The same invite once more, late: joining twice is harmless, but not needed.
    rig.member(KIM, ME, "invite", &json!({}));
    assert!(rig.machine.rooms.get(&"!r".into()).unwrap().is_joined());
}

#[test]
fn invites_outside_the_policy_are_declined() {
    let invites = Invites { servers: vec!["shop.example".into()], ..Invites::default() };
    let mut rig = Rig::of(Some("_acme_"), invites);
    rig.member("@mallory:evil.example", ME, "invite", &json!({}));
    assert_eq!(rig.duty(), Some(Duty::Leave(Why::Declined)));
    rig.member(KIM, ME, "invite", &json!({}));
    assert!(matches!(rig.duty(), Some(Duty::Join { .. })), "somebody else may still invite");
}

#[test]
fn what_our_users_do_comes_back_and_is_dropped_whoever_of_them_it_was() {
    let mut rig = Rig::chat();
    for sender in [ME, "@_acme_agent_user-3:shop.example", "@_acme_bot:shop.example"] {
        assert!(rig.says(sender, "echo").is_empty(), "{sender}");
    }
    let elsewhere = rig.says("@_acme_x:evil.example", "not ours: another server");
    assert!(message(&elsewhere).text.contains("not ours"));
}

#[test]
fn a_bots_account_used_from_elsewhere_speaks_as_ourselves() {
    let mut rig = Rig::of(None, Invites::default());
    rig.member(KIM, ME, "invite", &json!({}));
    rig.member(ME, ME, "join", &json!({}));
    assert!(rig.content(ME, &json!({"msgtype": "m.text", "body": "x", KEY_MARK: "support:1/1/0"})).is_empty());
    assert!(rig.content(ME, &json!({"msgtype": "m.notice", "body": "x", NOTICE_MARK: "greeting"})).is_empty());
    let reports = rig.says(ME, "from my phone");
    assert_eq!(message(&reports).speaker, Speaker::Ourselves);
    assert_eq!(message(&reports).peer.id.as_str(), KIM);
}

#[test]
fn only_the_author_edits() {
    let mut rig = Rig::chat();
    rig.says(KIM, "first");
    let first = format!("${}", rig.count);
    let edit = |text: &str, of: &str| {
        json!({"msgtype": "m.text", "body": format!("* {text}"), "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": of}})
    };
    let reports = rig.content(KIM, &edit("second", &first));
    let [Report::Edited { event, message }] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!((event.as_str(), message.text.as_str()), (first.as_str(), "second"));
    assert!(rig.content("@mallory:shop.example", &edit("forged", &first)).is_empty());
    let ours = rig.echo("support:9/1/0");
    assert!(rig.content(KIM, &edit("forged", ours.as_str())).is_empty());
    rig.answers.events.insert("$gone".into(), Found::Absent);
    assert!(rig.content(KIM, &edit("of nothing", "$gone")).is_empty());
    assert_eq!(rig.content(KIM, &edit("nobody answered", "$unknown")).len(), 1, "its author is certain");
    let mut without = edit("x", &first);
    without.as_object_mut().unwrap().remove("m.new_content");
    assert!(rig.content(KIM, &without).is_empty());
}

#[test]
fn replies_and_signs_find_what_they_speak_of_in_their_own_room() {
    let mut rig = Rig::chat();
    let ours = rig.echo("support:9/1/0");
    let reply = |to: &str| json!({"msgtype": "m.text", "body": "> <@x:s> old\n\nyes", "m.relates_to": {"m.in_reply_to": {"event_id": to}}});
    let reports = rig.content(KIM, &reply(ours.as_str()));
    assert_eq!(message(&reports).reply_to, Some(Target::Effect(Key::from("support:9/1/0"))));
    assert_eq!(message(&reports).text, "yes");
    let own = format!("${}", rig.count);
    assert_eq!(message(&rig.content(KIM, &reply(&own))).reply_to, Some(Target::Event(own.as_str().into())));
    // An event of another room.
    let foreign = rig.event("!other", KIM, "m.room.message", &json!({"msgtype": "m.text", "body": "x"}), &json!({}));
    let id = foreign.id.clone();
    rig.one(foreign);
    assert_eq!(message(&rig.content(KIM, &reply(id.as_str()))).reply_to, None);
    let sign = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": ours.as_str(), "key": "👍"}});
    let event = rig.event("!r", KIM, "m.reaction", &sign, &json!({}));
    let reports = rig.one(event);
    let expected =
        Report::Reacted { to: Target::Effect("support:9/1/0".into()), by: "kim".into(), sign: "👍".into() };
    assert_eq!(reports, [expected]);
}

#[test]
fn a_redaction_takes_back_by_either_of_its_two_names() {
    let mut rig = Rig::chat();
    rig.says(KIM, "oops");
    let target = format!("${}", rig.count);
    for (content, more) in [(json!({"redacts": target}), json!({})), (json!({}), json!({"redacts": target}))] {
        let event = rig.event("!r", KIM, "m.room.redaction", &content, &more);
        assert_eq!(rig.one(event), [Report::Withdrawn { event: target.as_str().into() }]);
    }
    let empty = rig.event("!r", KIM, "m.room.message", &json!({}), &json!({"unsigned": {"redacted_because": {}}}));
    assert!(rig.one(empty).is_empty(), "taken back before it reached us");
}

#[test]
fn an_encrypted_room_is_told_once_and_each_message_gets_its_checkpoint() {
    let mut rig = Rig::new();
    let stripped = json!({"unsigned": {"invite_room_state": [
        {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]}});
    rig.member(KIM, ME, "invite", &stripped);
    rig.member(ME, ME, "join", &json!({}));
    assert_eq!(rig.duty(), Some(Duty::TellEncrypted), "known from the invite");
    let mut secret = || rig.event("!r", KIM, "m.room.encrypted", &json!({"ciphertext": "x"}), &json!({}));
    let (first, second) = (secret(), secret());
    let staged = rig.take(vec![first, second], Vec::new());
    assert_eq!(staged.inbound.len(), 1, "the agents are told once");
    assert_eq!(staged.checkpoints.iter().filter(|c| !c.carried).count(), 2);
    assert!(message(&[staged.inbound[0].report.clone()]).text.contains("encrypted"));
}

#[test]
fn leaving_coming_back_and_being_thrown_out_are_told() {
    let mut rig = Rig::chat();
    let note = |reports: Vec<Report>| match reports.as_slice() {
        [Report::Note { text, .. }] => text.clone(),
        [] => String::new(),
        other => panic!("{other:?}"),
    };
    let room = |rig: &Rig| rig.machine.rooms.get(&"!r".into()).unwrap().clone();
    assert_eq!(note(rig.member(KIM, KIM, "leave", &json!({}))), "kim left the Matrix room.");
    assert!(room(&rig).peer_left);
    assert_eq!(note(rig.member(KIM, KIM, "join", &json!({}))), "kim joined the Matrix room.");
    assert!(!room(&rig).peer_left);
    let renamed = json!({"unsigned": {"prev_content": {"membership": "join"}}});
    assert_eq!(note(rig.member(KIM, KIM, "join", &renamed)), "", "a new name is no arrival");
    assert_eq!(note(rig.member(ME, ME, "join", &json!({}))), "");
    let out = note(rig.member(KIM, ME, "ban", &json!({})));
    assert_eq!(out, "kim banned us from the Matrix room. Replies open a new room.");
    assert_eq!(room(&rig).standing, Standing::Out(Why::Banned));
    assert_eq!(rig.duty(), None);
}

#[test]
fn in_a_room_of_several_whoever_is_not_the_peer_is_named() {
    let mut rig = Rig::chat();
    rig.answers.profiles.insert("@lee:shop.example".into(), Profile { name: Some("Lee*".into()), picture: None });
    assert_eq!(message(&rig.says("@lee:shop.example", "me too")).text, "**Lee\\*:** me too");
    assert_eq!(message(&rig.says("@lee:shop.example", "me too")).peer.id.as_str(), KIM);
    assert_eq!(message(&rig.says(KIM, "fine")).text, "fine");
}

#[test]
fn a_replaced_room_is_followed_and_keeps_its_conversation() {
    let mut rig = Rig::chat();
    let tombstone =
        rig.event("!r", KIM, "m.room.tombstone", &json!({"replacement_room": "!new"}), &json!({"state_key": ""}));
    rig.one(tombstone);
    assert_eq!(rig.duty(), Some(Duty::Move { to: "!new".into(), via: Some("shop.example".into()) }));
    rig.machine.rooms.place("!r".into(), "!new".into());
    let event = rig.event("!new", KIM, "m.room.message", &json!({"msgtype": "m.text", "body": "here"}), &json!({}));
    let staged = rig.take(vec![event], Vec::new());
    assert_eq!(staged.inbound[0].thread.as_str(), "!r");
    assert_eq!(message(&[staged.inbound[0].report.clone()]).peer.id.as_str(), KIM);
}

#[test]
fn typing_is_told_at_changes_only_and_ends_with_the_message() {
    let mut rig = Rig::chat();
    let mut types = |users: &[&str]| {
        let users = users.iter().map(|user| UserId::from(*user)).collect();
        let staged = rig.take(Vec::new(), vec![Ephemeral::Typing { room: "!r".into(), users }]);
        let told: Vec<bool> = staged.typing.iter().map(|(.., typing)| *typing).collect();
        rig.machine.commit(staged);
        told
    };
    assert!(types(&[ME]).is_empty(), "our own users are listed too");
    assert_eq!(types(&[KIM, ME]), [true]);
    assert!(types(&[KIM]).is_empty());
    let event = rig.event("!r", KIM, "m.room.message", &json!({"msgtype": "m.text", "body": "done"}), &json!({}));
    let staged = rig.take(vec![event], Vec::new());
    assert_eq!(staged.typing.iter().map(|(.., typing)| *typing).collect::<Vec<_>>(), [false]);
}

#[test]
fn reading_one_message_reads_those_before_it_once() {
    let mut rig = Rig::chat();
    let (first, second) = (rig.echo("support:1/1/0"), rig.echo("support:2/1/0"));
    let third = rig.echo("support:3/1/0");
    let receipts = |event: &EventRef, user: &str| {
        let seen = Seen { event: event.clone(), user: user.into(), at_millis: NOW };
        vec![Ephemeral::Receipts { room: "!r".into(), seen: vec![seen] }]
    };
    let keys = |reports: Vec<Report>| -> Vec<String> {
        let key = |report| {
            let Report::Receipt { key, receipt: Receipt::Read } = report else { panic!("{report:?}") };
            key.to_string()
        };
        reports.into_iter().map(key).collect()
    };
    assert!(rig.reports(Vec::new(), receipts(&third, ME)).is_empty(), "our own receipts come back too");
    assert_eq!(keys(rig.reports(Vec::new(), receipts(&second, KIM))), ["support:1/1/0", "support:2/1/0"]);
    assert!(rig.reports(Vec::new(), receipts(&first, KIM)).is_empty());
    // Together with the message itself.
    let message = json!({"body": "x", KEY_MARK: "support:4/1/0"});
    let fourth = rig.event("!r", ME, "m.room.message", &message, &json!({}));
    let receipt = receipts(&fourth.id.clone(), KIM);
    assert_eq!(keys(rig.reports(vec![fourth], receipt)), ["support:3/1/0", "support:4/1/0"]);
    // After a restart: only what the homeserver tells of the event is known.
    let mut later = Rig::chat();
    let old = later.event("!r", ME, "m.room.message", &json!({"body": "x", KEY_MARK: "support:7/1/0"}), &json!({}));
    later.answers.events.insert("$old".into(), Found::Event(Box::new(old)));
    assert_eq!(keys(later.reports(Vec::new(), receipts(&"$old".into(), KIM))), ["support:7/1/0"]);
}

#[test]
fn a_moment_that_nobody_can_believe_is_remembered_for_good() {
    let mut rig = Rig::chat();
    let mut moment = |ts: i64, id: &str| {
        let event = rig.event(
            "!r",
            KIM,
            "m.room.message",
            &json!({"body": "x"}),
            &json!({"origin_server_ts": ts, "event_id": id}),
        );
        rig.take(vec![event], Vec::new()).inbound[0].at_millis
    };
    for ts in [NOW - 1000, NOW + 10 * 24 * 3600 * 1000] {
        assert_eq!(moment(ts, "$a"), ts, "whatever our own clock says");
    }
    for ts in [0, -5, i64::MAX, i64::MIN, NOW - 2 * AGE_MAX_MILLIS] {
        assert_eq!(moment(ts, "$a"), moment(ts, "$a"));
        assert!(moment(ts, "$a") >= NEVER_FORGOTTEN, "{ts}");
    }
}

#[test]
fn wants_only_what_is_not_known() {
    let mut rig = Rig::chat();
    let reply = json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"m.in_reply_to": {"event_id": "$far"}}});
    let event = rig.event("!r", KIM, "m.room.message", &reply, &json!({}));
    let echo = rig.event("!r", ME, "m.room.message", &reply, &json!({}));
    let transaction = Transaction { events: vec![event, echo], ephemeral: Vec::new() };
    let wants = rig.machine.wants(&transaction);
    assert_eq!(wants.profiles.iter().map(UserId::as_str).collect::<Vec<_>>(), [KIM]);
    assert_eq!(wants.events.into_iter().collect::<Vec<_>>(), [("!r".into(), "$far".into())]);
    rig.answers.profiles.insert(KIM.into(), Profile::default());
    let staged = rig.take(transaction.events.clone(), Vec::new());
    rig.machine.commit(staged);
    assert!(rig.machine.wants(&transaction).profiles.is_empty());
}

#[test]
fn odd_contents_never_panic() {
    let mut rig = Rig::chat();
    for kind in ["m.room.message", "m.sticker", "m.reaction", "m.room.redaction", "m.room.encrypted"] {
        for content in [
            json!({}),
            json!({"msgtype": 7, "body": {"x": 1}}),
            json!({"msgtype": "m.image"}),
            json!({"msgtype": "m.image", "url": 1.5, "info": "none"}),
            json!({"m.relates_to": {"rel_type": "m.replace", "event_id": 4}}),
            json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$x", "key": "\u{0}".repeat(300)}}),
            json!({"body": "x", "format": "org.matrix.custom.html", "formatted_body": "<div>".repeat(5000)}),
        ] {
            let event = rig.event("!r", KIM, kind, &content, &json!({}));
            rig.one(event);
        }
    }
    for kind in ["m.room.member", "m.room.tombstone", "m.room.encryption"] {
        for content in [json!({}), json!({"membership": 5}), json!({"replacement_room": "!r"})] {
            let event = rig.event("!r", KIM, kind, &content, &json!({"state_key": ME}));
            rig.one(event);
        }
    }
}
