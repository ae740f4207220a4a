//! The one judge of all rows: what was said, what came, and what that means. Pure; it has seen no network.

use std::collections::BTreeMap;

/// What a network can promise, and so what may happen on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// Whoever writes keeps it until it was taken, so that nothing that was said may be missing. Else what was under
    /// way at a broken link may be.
    pub(crate) keeps: bool,
    /// It can be asked whether an answer arrived. Else one may come twice where a link broke, or the agent reads that
    /// it may have arrived.
    pub(crate) askable: bool,
    /// It was stopped, and may have forgotten to tell of something that it keeps: that is read back, and comes late.
    pub(crate) forgets: bool,
    /// Whether what comes out of it on the way in, and what it shows on the way out, has an order at all.
    pub(crate) ordered: Ordered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ordered {
    BothWays,
    /// A queue that hands on several at once stands on both ways.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    In,
    Out,
}

impl Way {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::In => "to the inbox",
            Self::Out => "to the person",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::In => "line",
            Self::Out => "reply",
        }
    }
}

/// Names a message, and is its whole text, so that it is known wherever it turns up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) way: Way,
    pub(crate) net: String,
    pub(crate) person: usize,
    pub(crate) number: usize,
}

impl Token {
    pub(crate) fn text(&self) -> String {
        // Of one length, so that a cut at any byte of one is a cut of all.
        format!("{}-{}-{:03}-{:05}", self.way.mark(), self.net, self.person, self.number)
    }

    /// The first token of this way in a text that may hold more, such as a subject.
    pub(crate) fn find(way: Way, text: &str) -> Option<Self> {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        words.into_iter().find_map(|word| {
            let mut parts = word.split('-');
            if parts.next()? != way.mark() {
                return None;
            }
            let net = parts.next()?.to_owned();
            let (person, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            parts.next().is_none().then_some(Self { way, net, person, number })
        })
    }
}

/// What became of one kind of message. Of all that are counted none may be lost, whatever the rest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Acknowledged, and so bound to arrive; and those that arrived anyhow.
    pub(crate) messages: usize,
    pub(crate) lost: usize,
    /// Copies too many.
    pub(crate) doubled: usize,
    pub(crate) disordered: usize,
    /// With somebody whose it is not.
    pub(crate) strayed: usize,
    /// Never acknowledged, and not there: unread at a kill, or said to nobody.
    pub(crate) untaken: usize,
    /// Not there, but the agent reads that it may not be.
    pub(crate) in_doubt: usize,
    /// What a tally has to say beside numbers.
    pub(crate) complaints: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.strayed += other.strayed;
        self.untaken += other.untaken;
        self.in_doubt += other.in_doubt;
        self.complaints.extend(other.complaints.iter().cloned());
    }

    fn complain(&mut self, text: String) {
        self.complaints.push(text);
    }
}

/// One person's talk with one agent, as those know it who wrote.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) net: String,
    pub(crate) person: usize,
    /// Lines said, numbered from 0.
    pub(crate) said: usize,
    /// Answers written, numbered from 0, as messages of the inbox.
    pub(crate) replies: Vec<u64>,
    /// How many lines had been said when the link broke, each time that it did.
    pub(crate) breaks: Vec<usize>,
    /// Breaks at which an answer of this conversation was not done with: one of them may be there twice, or in doubt.
    pub(crate) open: usize,
}

/// What is known of an answer beside whether it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its callback was answered 200.
    Taken,
    /// Its callback was not, and the gateway asks for it by itself: it has to come, but behind what was written since.
    Swept,
    /// The agent reads that it may have arrived.
    InDoubt,
}

impl Talk {
    pub(crate) fn mark_break(&mut self, is_open: bool) {
        self.breaks.push(self.said);
        self.open += usize::from(is_open);
    }

    fn token(&self, way: Way, number: usize) -> Token {
        Token { way, net: self.net.clone(), person: self.person, number }
    }

    pub(crate) fn line(&self, number: usize) -> String {
        self.token(Way::In, number).text()
    }

    pub(crate) fn reply(&self, number: usize) -> String {
        self.token(Way::Out, number).text()
    }

    /// What the inbox holds of this person.
    pub(crate) fn judge_in(&self, came: &[Option<Token>], promise: Promise) -> Tally {
        let mut tally = Tally::default();
        let counts = self.count(Way::In, came, (self.said, &|_| false), promise, &mut tally);
        tally.messages = counts.len();
        let missing: Vec<usize> = (0..self.said).filter(|number| !counts.contains_key(number)).collect();
        if promise.keeps {
            tally.messages = self.said;
            tally.lost = missing.len();
        } else {
            for (from, to) in runs(&missing) {
                // A stream breaks in one place: what is missing lies around it, and nowhere else.
                if self.breaks.iter().any(|at| (from..=to).contains(at)) {
                    tally.untaken += to - from;
                } else {
                    tally.lost += to - from;
                    tally.messages += to - from;
                }
            }
        }
        if tally.lost > 0 {
            tally.complain(format!("{} {}: lost of what was said: {missing:?}", self.net, self.person));
        }
        if tally.doubled > 0 {
            tally.complain(format!("{} {}: came twice: {:?}", self.net, self.person, twice(&counts)));
        }
        tally
    }

    /// What the person was shown.
    pub(crate) fn judge_out(&self, came: &[Option<Token>], fates: &[Fate], promise: Promise) -> Tally {
        let mut tally = Tally::default();
        let late = |number: usize| fates.get(number) == Some(&Fate::Swept);
        let counts = self.count(Way::Out, came, (self.replies.len(), &late), promise, &mut tally);
        tally.messages = counts.len();
        for (number, fate) in fates.iter().enumerate().filter(|(number, _)| !counts.contains_key(number)) {
            match fate {
                Fate::InDoubt if !promise.askable => {
                    tally.in_doubt += 1;
                    tally.messages += 1;
                }
                Fate::Taken | Fate::Swept | Fate::InDoubt => {
                    tally.lost += 1;
                    tally.messages += 1;
                    tally.complain(format!("{}: lost, though {fate:?}", self.reply(number)));
                }
            }
        }
        let excused = if promise.askable { 0 } else { self.open };
        if tally.doubled + tally.in_doubt > excused || counts.values().any(|count| *count > 2) {
            let (twice, doubts) = (twice(&counts), tally.in_doubt);
            tally.complain(format!(
                "{} {}: too many copies or doubts, {excused} may be: {twice:?} twice, {doubts} in doubt",
                self.net, self.person
            ));
        }
        tally
    }

    /// How often each number came. Counts what is double, in the wrong place or out of order on the way. So many were
    /// sent; of some it is known that they come late.
    fn count(
        &self,
        way: Way,
        came: &[Option<Token>],
        (sent, late): (usize, &dyn Fn(usize) -> bool),
        promise: Promise,
        tally: &mut Tally,
    ) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        let mut newest = None;
        for token in came {
            let ours = token.as_ref().filter(|token| token.way == way && token.net == self.net);
            let Some(token) = ours.filter(|token| token.person == self.person && token.number < sent) else {
                tally.strayed += 1;
                tally.complain(format!("{} {}: not theirs: {token:?}", self.net, self.person));
                continue;
            };
            let count: &mut usize = counts.entry(token.number).or_default();
            *count += 1;
            if *count > 1 {
                tally.doubled += 1;
                continue;
            }
            if late(token.number) {
                continue;
            }
            if promise.ordered == Ordered::BothWays && newest > Some(token.number) {
                tally.disordered += 1;
                if way == Way::In && promise.forgets && tally.disordered <= self.breaks.len() {
                    continue;
                }
                tally.complain(format!("{} {}: {} after {newest:?}", self.net, self.person, token.text()));
            }
            newest = newest.max(Some(token.number));
        }
        counts
    }
}

fn twice(counts: &BTreeMap<usize, usize>) -> Vec<usize> {
    counts.iter().filter(|(_, count)| **count > 1).map(|(number, _)| *number).collect()
}

/// Numbers that follow each other, as from and up to.
fn runs(numbers: &[usize]) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match found.last_mut() {
            Some((_, end)) if *end == *number => *end += 1,
            Some(_) | None => found.push((*number, *number + 1)),
        }
    }
    found
}

/// A judge that sees nothing would pass everything, so it is shown one of each before it judges.
pub(crate) fn prove_the_judge() {
    let strict = Promise { keeps: true, askable: true, forgets: false, ordered: Ordered::BothWays };
    let loose = Promise { keeps: false, askable: false, forgets: false, ordered: Ordered::BothWays };
    let talk = |said: usize, replies: usize, breaks: &[usize]| Talk {
        net: "irc".to_owned(),
        person: 3,
        said,
        replies: (0..replies as u64).collect(),
        breaks: breaks.to_vec(),
        open: breaks.len(),
    };
    let of = |way, numbers: &[usize]| {
        let token = |number: &usize| Some(Token { way, net: "irc".to_owned(), person: 3, number: *number });
        numbers.iter().map(token).collect::<Vec<_>>()
    };
    let counts =
        |tally: Tally| [tally.messages, tally.lost, tally.doubled, tally.disordered, tally.strayed, tally.untaken];
    let came = |said, breaks: &[usize], numbers: &[usize], promise| {
        counts(talk(said, 0, breaks).judge_in(&of(Way::In, numbers), promise))
    };
    assert_eq!(came(4, &[], &[0, 1, 2, 3], strict), [4, 0, 0, 0, 0, 0]);
    assert_eq!(came(4, &[2], &[0, 1, 3], strict), [4, 1, 0, 0, 0, 0], "who keeps loses nothing");
    assert_eq!(came(6, &[2], &[0, 1, 3, 5], loose), [5, 1, 0, 0, 0, 1], "only around the break");
    assert_eq!(came(3, &[], &[0, 2, 1], strict), [3, 0, 0, 1, 0, 0]);
    let restarted = Promise { forgets: true, ..strict };
    let complaints =
        |breaks: &[usize]| talk(3, 0, breaks).judge_in(&of(Way::In, &[0, 2, 1]), restarted).complaints.len();
    assert_eq!((complaints(&[]), complaints(&[2])), (1, 0), "read back after a restart, and only then");
    assert_eq!(came(3, &[], &[0, 1, 1, 2], strict), [3, 0, 1, 0, 0, 0]);
    let stray = Token { way: Way::In, net: "irc".to_owned(), person: 4, number: 0 };
    assert_eq!(counts(talk(0, 0, &[]).judge_in(&[Some(stray)], strict)), [0, 0, 0, 0, 1, 0]);
    let heard = |breaks: &[usize], numbers: &[usize], fates: &[Fate], promise| {
        let tally = talk(0, fates.len(), breaks).judge_out(&of(Way::Out, numbers), fates, promise);
        (counts(tally.clone()), tally.in_doubt, tally.complaints.len())
    };
    assert_eq!(heard(&[], &[], &[Fate::Taken], loose), ([1, 1, 0, 0, 0, 0], 0, 1));
    assert_eq!(heard(&[], &[], &[Fate::Swept], strict), ([1, 1, 0, 0, 0, 0], 0, 1));
    let three = [Fate::Taken, Fate::Swept, Fate::Taken];
    assert_eq!(heard(&[], &[0, 2, 1], &three, strict), ([3, 0, 0, 0, 0, 0], 0, 0), "late, but there");
    assert_eq!(heard(&[], &[2, 1, 0], &three, strict), ([3, 0, 0, 1, 0, 0], 0, 1));
    assert_eq!(heard(&[0], &[], &[Fate::InDoubt], loose), ([1, 0, 0, 0, 0, 0], 1, 0));
    assert_eq!(heard(&[], &[], &[Fate::InDoubt], loose), ([1, 0, 0, 0, 0, 0], 1, 1), "no link broke");
    assert_eq!(heard(&[0], &[], &[Fate::InDoubt], strict), ([1, 1, 0, 0, 0, 0], 0, 1));
    let two = [Fate::Taken, Fate::InDoubt];
    assert_eq!(heard(&[0], &[0, 0], &two, loose), ([2, 0, 1, 0, 0, 0], 1, 1), "one break excuses one");
    assert_eq!(heard(&[], &[0, 0], &[Fate::Taken], loose), ([1, 0, 1, 0, 0, 0], 0, 1), "no link broke");
    assert_eq!(heard(&[0], &[0, 0], &[Fate::Taken], loose), ([1, 0, 1, 0, 0, 0], 0, 0));
    assert_eq!(heard(&[0], &[0, 0], &[Fate::Taken], strict), ([1, 0, 1, 0, 0, 0], 0, 1));
    let text = "Re: hello\n\nline-irc-003-00017\n";
    assert_eq!(Token::find(Way::In, text).map(|token| token.text()).as_deref(), Some("line-irc-003-00017"));
    assert_eq!(Token::find(Way::Out, text), None);
}
