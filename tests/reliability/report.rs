//! `RELIABILITY.md`: what was done, how often, and what came of it. Every number in it was counted in the run that
//! wrote it.

use std::{fmt::Write as _, fs, path::Path};

use crate::{
    SOAK_LARGE,
    field::Verdict,
    oracle::Tally,
    row::{Effort, Outcome},
};

pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) fault: &'static str,
    pub(crate) outcome: Outcome,
}

pub(crate) struct Report {
    pub(crate) entries: Vec<Entry>,
    pub(crate) effort: Effort,
}

const HEAD: &str = "| row | fault | struck | network | direction | messages | lost | doubled | out of order | astray | not taken | in doubt, told |
| --- | --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

const WORDS: &str = "\
**Struck:** attempts at the fault that hit something, of all attempts. A kill at a random moment counts when messages were under way; a row that strikes nothing fails. \
**Messages:** those that the gateway had taken (an answer that the inbox shows, whether or not its callback reached anybody; a mail answered 250, a Matrix transaction acknowledged or still kept by its homeserver, an IRC line in the store or at \
the inbox), and that so had to arrive. **Lost:** of these, absent at the end. **Doubled:** copies too many, contacts and conversations too; outward on IRC and by mail at most one for each break at which an answer of that conversation was not done with, those in doubt counted among them. **Out of order:** within one conversation, among those whose \
callback was answered; with several gateways, which each keep what they take in a time of their own, in the order in which they were answered. **Astray:** with a person, or in a conversation, that is not its own. **Not taken:** absent, and never acknowledged to anybody: an IRC line that was said to nobody or lay unread in \
the socket. **In doubt, told:** absent or not, nobody can say; the agent reads \"it may have been delivered\".

At the end of each row the faults stop, everybody says one more line, and everything has to arrive. Each message is a text of its own, so that it is known wherever it turns up. Before a run the judge is \
shown one message of each kind of wrong and has to see it.
";

const LIMITS: &str = "\
| network | to the inbox | to the person |
| --- | --- | --- |
| IRC | IRC repeats nothing. What was said while the gateway was away came back to its sender as *no such nick*; what lay unread in the socket at a kill is gone (*not taken*), always \
around a broken link and nowhere else, which the judge checks. By a clock that jumps further than `session_idle_hours`, everybody who is not logged in becomes somebody new | The network cannot be asked whether it took a line. Where a link broke (a kill is one), at most the one line of each conversation that was under way \
may come twice, or the agent reads that it may have been delivered. *Delivered* means that the server took it, never that somebody read it |
| Matrix | The homeserver keeps an event until it was acknowledged, and each counts once by its id. A homeserver that is stopped may forget to tell of an event that it keeps: the gateway finds it when it reads \
back, within five minutes, behind what was said since (*out of order*, only where Synapse was stopped). A clock that is fast by more than two weeks when an event comes, and is set before it comes again, may have it counted twice | Nothing remains: a repeat bears the same transaction id, and what is in doubt is looked up \
in the room first |
| mail | Nothing remains: whoever sends keeps a mail until it hears 250, and a second copy is recognised. A queue such as Postfix keeps no order | Between the final dot and the relay's 250 nobody can be asked: where that link broke, at most the one \
mail of each conversation that was under way may come twice, with the same Message-ID |
| inbox | - | Chatwoot calls once. What a callback that nobody answered would have told is asked for (the sweep), and comes behind what was written since |

Copies too many are allowed in these two places only (IRC and mail, to the person), and only so many in a conversation as its link broke; anywhere else, or more, and the run fails.
";

impl Report {
    /// What is not as it should be, with the row.
    pub(crate) fn faults(&self) -> Vec<String> {
        let of = |entry: &Entry| {
            let name = entry.name;
            entry.outcome.faults().into_iter().map(move |fault| format!("{name}: {fault}")).collect::<Vec<_>>()
        };
        self.entries.iter().flat_map(of).collect()
    }

    pub(crate) fn table(&self) -> String {
        let mut text = HEAD.to_owned();
        for Entry { name, fault, outcome } in &self.entries {
            let mut begin = format!("| {name} | {fault} | {} of {} |", outcome.struck, outcome.runs);
            if outcome.verdicts.is_empty() {
                writeln!(text, "{begin} did not come to its end | | | | | | | | |").expect("text takes text");
            }
            for Verdict { net, way, tally } in &outcome.verdicts {
                writeln!(text, "{begin} {net} | {} | {} |", way.words(), numbers(tally)).expect("text takes text");
                "| | | |".clone_into(&mut begin);
            }
        }
        text
    }

    /// The same by network, over all rows.
    fn sums(&self) -> String {
        let mut all = Outcome::default();
        for entry in &self.entries {
            all.add(entry.outcome.verdicts.clone());
        }
        let mut text = "| network | direction | messages | lost | doubled | out of order | astray | not taken | in doubt, told |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
        let mut total = Tally::default();
        for Verdict { net, way, tally } in &all.verdicts {
            writeln!(text, "| {net} | {} | {} |", way.words(), numbers(tally)).expect("text takes text");
            total.add(tally);
        }
        writeln!(text, "| **all** | | {} |", numbers(&total)).expect("text takes text");
        text
    }

    fn text(&self) -> String {
        let kills: usize = self.entries.iter().map(|entry| entry.outcome.kills).sum();
        let messages: usize = self.entries.iter().map(|entry| entry.outcome.messages()).sum();
        let faults = self.faults();
        let verdict = if faults.is_empty() {
            "Every row held.".to_owned()
        } else {
            let failed: Vec<_> = faults.iter().map(|fault| format!("- {fault}")).collect();
            format!("**Not every row held:**\n\n{}", failed.join("\n"))
        };
        let notes = self
            .entries
            .iter()
            .flat_map(|entry| entry.outcome.notes.iter().map(move |note| format!("- {}: {note}\n", entry.name)));
        let notes: String = notes.collect();
        format!(
            "# Reliability\n\nThe release binary among real servers (ngIRCd, Synapse, Postfix) and the sandbox inbox, killed, starved and lied \
             to. Nothing here is written by hand; this makes it anew:\n\n\
             ```sh\n{command}\n```\n\n\
             The same rows run shorter, under the same judge, in every `cargo test` where their peers are at hand. What each row does is in `tests/reliability`.\n\n\
             **{kills} kills, {messages} messages.** {verdict}\n\n\
             ## By network\n\n{}\n## By fault\n\n{}\n{WORDS}\n## What each network cannot prove, and what follows\n\n{LIMITS}\n\
             ## What else was measured\n\n{notes}",
            self.sums(),
            self.table(),
            command = self.command(),
        )
    }

    /// What made this report, and makes it anew.
    fn command(&self) -> String {
        let Effort { runs, seed, soak, .. } = &self.effort;
        let mut command = format!("cargo test --release --test reliability -- --large --seed {seed}");
        if let Some(runs) = runs {
            write!(command, " --runs {runs}").expect("text takes text");
        }
        if *soak != SOAK_LARGE {
            write!(command, " --soak {}s", soak.as_secs()).expect("text takes text");
        }
        command
    }

    pub(crate) fn write(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RELIABILITY.md");
        fs::write(&path, self.text()).expect("the report is written");
        eprintln!("written: {}", path.display());
    }
}

fn numbers(tally: &Tally) -> String {
    let Tally { messages, lost, doubled, disordered, strayed, untaken, in_doubt, complaints: _ } = tally;
    let all = [messages, lost, doubled, disordered, strayed, untaken, in_doubt];
    all.map(ToString::to_string).join(" | ")
}
