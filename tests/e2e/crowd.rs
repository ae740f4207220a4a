//! Many people at once.

use std::{collections::HashSet, thread};

use crate::{
    gateway::NICK,
    peers::ngircd::Flood,
    wait::until_within,
    world::{FAST, World, heavy},
};

const PEOPLE: usize = 20;
const LINES: usize = 50;

#[test]
fn twenty_people_who_write_fifty_messages_at_once_get_twenty_conversations_in_order() {
    let _alone = heavy();
    let Some(world) = World::on_ngircd(Flood::Free, FAST) else { return };
    let mut people: Vec<_> = (0..PEOPLE).map(|number| world.person(&format!("person{number}"))).collect();
    thread::scope(|scope| {
        for person in &mut people {
            scope.spawn(move || {
                for line in 0..LINES {
                    let nick = person.nick().to_owned();
                    person.say(NICK, &format!("{nick} says {line}"));
                }
            });
        }
    });
    // Everybody stays: whoever left at once could not be told from somebody else of that nick.
    let patience = crate::wait::PATIENCE * 3;
    until_within(patience, "all messages at the inbox", || {
        let count = world.sandbox.desk().incoming().count();
        if count >= PEOPLE * LINES { Ok(()) } else { Err(format!("{count} messages")) }
    });
    let desk = world.sandbox.desk();
    let identifiers: Vec<_> = desk.contacts.iter().map(|contact| (&contact.name, &contact.identifier)).collect();
    assert_eq!((desk.contacts.len(), desk.conversations.len()), (PEOPLE, PEOPLE), "{identifiers:?}");
    for number in 0..PEOPLE {
        let nick = format!("person{number}");
        let found = desk.of(&nick);
        assert_eq!(found.len(), 1, "{nick}");
        let expected: Vec<_> = (0..LINES).map(|line| format!("{nick} says {line}")).collect();
        assert_eq!(found[0].incoming(), expected, "{nick}");
    }
    let sources: HashSet<_> = desk.incoming().map(|message| message.source_id.clone()).collect();
    assert_eq!(sources.len(), PEOPLE * LINES);
}
