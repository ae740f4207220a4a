//! Customers and agents who write at once, without waiting for each other, and what must have come of it.

use crate::{people::Customer, wait::until, world::Stack};

const NAMES: [&str; 3] = ["Kim", "Lee", "Sam"];

/// One conversation for each customer. Every second question is answered by the agent in the same breath.
pub(crate) struct Stream<'a> {
    stack: &'a Stack,
    people: [(Customer, u64); NAMES.len()],
    asked: Vec<String>,
    answered: Vec<String>,
}

impl<'a> Stream<'a> {
    pub(crate) fn begin(stack: &'a Stack) -> Self {
        let people = NAMES.map(|name| {
            let customer = Customer::enter(&stack.sandbox.url, name);
            customer.say("hello");
            let conversation = stack.sandbox.conversation(name, "hello").id;
            (customer, conversation)
        });
        Self { stack, people, asked: vec!["hello".to_owned()], answered: Vec::new() }
    }

    /// How many questions each customer has asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len() - 1
    }

    pub(crate) fn go_on(&mut self) {
        self.step(self.asked.len().is_multiple_of(2));
    }

    /// Only the customers write.
    pub(crate) fn ask(&mut self) {
        self.step(false);
    }

    fn step(&mut self, is_answered: bool) {
        let n = self.asked.len();
        let (question, answer) = (format!("question {n}"), format!("answer {n}"));
        for (customer, conversation) in &self.people {
            customer.say(&question);
            if is_answered {
                self.stack.sandbox.reply(*conversation, &answer);
            }
        }
        self.asked.push(question);
        if is_answered {
            self.answered.push(answer);
        }
    }

    /// Whether the inbox lacks something that was written.
    pub(crate) fn is_missed(&self) -> bool {
        self.stack.sandbox.desk().incoming().count() < NAMES.len() * self.asked.len()
    }

    /// Each once and in order, on both sides, and marked as delivered.
    pub(crate) fn all_arrives(&self) {
        let (asked, answered) = (&self.asked, &self.answered);
        for (customer, _) in &self.people {
            let name = &customer.name;
            until(&format!("all that {name} wrote"), || {
                let desk = self.stack.sandbox.desk();
                let found = desk.of(name).iter().map(|one| one.incoming().len()).sum::<usize>();
                if found >= asked.len() { Ok(()) } else { Err(format!("{found} of {}", asked.len())) }
            });
            until(&format!("all that {name} was told"), || {
                let heard = customer.heard().len();
                if heard >= answered.len() { Ok(()) } else { Err(format!("{heard} of {}", answered.len())) }
            });
            assert_eq!(&customer.heard(), answered, "{name} heard everything once and in order");
            let desk = self.stack.sandbox.desk();
            let [one] = desk.of(name)[..] else { panic!("{name} has several conversations: {desk:?}") };
            assert_eq!(&one.incoming(), asked, "{name} was heard once and in order");
        }
        until("each reply to be marked as delivered", || {
            let desk = self.stack.sandbox.desk();
            let messages = desk.conversations.iter().flat_map(|one| &one.messages);
            let mut open =
                messages.filter(|one| answered.iter().any(|text| text == one.text()) && one.status == "sent");
            open.next().map_or(Ok(()), |message| Err(format!("{message:?}")))
        });
    }
}
