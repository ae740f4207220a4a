//! Looks at the wiring of all that the settings name and says what to change. It posts one test message of its own to
//! each inbox, and changes nothing else; only [`provision`] does.

mod address;
mod advice;
mod ear;
mod gateway;
mod inbox;
pub mod provision;
mod report;
mod store;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bridge_api::{Examination, Findings};
use futures_util::future::join_all;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use self::ear::Ear;
use crate::{http, settings::Settings};

pub use report::{Reported, Tally, json, line, tally};

/// How long one bridge may be looked at.
const BRIDGE_LIMIT: Duration = Duration::from_secs(30);
/// The same for an inbox, whose requests have limits of their own, and for what is ours.
const INBOX_LIMIT: Duration = Duration::from_mins(2);
const OWN_LIMIT: Duration = Duration::from_mins(1);
/// How often it is looked for findings that can be told.
const TICK: Duration = Duration::from_millis(40);

/// What is looked at side by side with the others.
struct Section<'a> {
    about: String,
    findings: Arc<Findings>,
    done: Arc<AtomicBool>,
    work: Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// Looks at everything. `tell` hears of each finding in the order of the report: as it comes, as soon as all of what
/// stands before it has been told.
pub async fn examine(settings: &Settings, tell: impl FnMut(&Reported)) -> Vec<Reported> {
    let (ear, listener) = Ear::open(settings).await;
    let stop = CancellationToken::new();
    let listening = async {
        if let (Ear::Own(own), Some(listener)) = (&ear, listener) {
            http::serve::serve(listener, own.router(), stop.clone()).await;
        }
    };
    let looking = async {
        let reported = follow(sections(settings, &ear), tell).await;
        stop.cancel();
        reported
    };
    tokio::join!(looking, listening).0
}

fn sections<'a>(settings: &'a Settings, ear: &'a Ear) -> Vec<Section<'a>> {
    let mut sections = vec![
        section("gateway".to_owned(), OWN_LIMIT, |findings| gateway::examine(settings, ear, findings)),
        section("store".to_owned(), OWN_LIMIT, |findings| store::examine(settings, ear.is_gateway(), findings)),
    ];
    sections.extend(settings.inboxes.keys().map(|name| {
        section(format!("inbox {name}"), INBOX_LIMIT, |findings| inbox::examine(settings, name, ear, findings))
    }));
    let how = Examination::new(ear.is_gateway());
    sections.extend(settings.bridges.iter().map(|(name, entry)| {
        let look = |findings: Arc<Findings>| async move { entry.bridge.examine(how, &findings).await };
        section(format!("bridge {name}"), BRIDGE_LIMIT, look)
    }));
    sections
}

fn section<'a, F>(about: String, limit: Duration, look: impl FnOnce(Arc<Findings>) -> F) -> Section<'a>
where
    F: Future<Output = ()> + 'a,
{
    let (findings, done): (Arc<Findings>, Arc<AtomicBool>) = Default::default();
    let (looking, found, ended) = (look(findings.clone()), findings.clone(), done.clone());
    let work = Box::pin(async move {
        if timeout(limit, looking).await.is_err() {
            let hung = format!("something was still waited for after {} s, behind what is told above", limit.as_secs());
            found.failed("come to the end", hung, "see what comes after the last line above: it does not answer");
        }
        ended.store(true, Ordering::Release);
    });
    Section { about, findings, done, work }
}

/// Lets all of them run, and tells what they find.
async fn follow(sections: Vec<Section<'_>>, tell: impl FnMut(&Reported)) -> Vec<Reported> {
    let (works, shown): (Vec<_>, Vec<_>) =
        sections.into_iter().map(|it| (it.work, (it.about, it.findings, it.done))).unzip();
    let mut teller = Teller { shown, at: 0, reported: Vec::new(), tell };
    let all = join_all(works);
    tokio::pin!(all);
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            biased;
            _ = &mut all => break,
            _ = ticks.tick() => teller.go_on(),
        }
    }
    teller.go_on();
    teller.reported
}

struct Teller<F> {
    shown: Vec<(String, Arc<Findings>, Arc<AtomicBool>)>,
    /// Which of them is being told.
    at: usize,
    reported: Vec<Reported>,
    tell: F,
}

impl<F: FnMut(&Reported)> Teller<F> {
    fn go_on(&mut self) {
        while let Some((about, findings, done)) = self.shown.get(self.at) {
            // Asked first: what is found before the end is taken below.
            let ended = done.load(Ordering::Acquire);
            for finding in findings.take() {
                let reported = Reported { about: about.clone(), finding };
                (self.tell)(&reported);
                self.reported.push(reported);
            }
            if !ended {
                return;
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn findings_are_told_in_the_order_of_the_report_and_one_that_hangs_hides_nothing() {
        let quick = section("quick".to_owned(), BRIDGE_LIMIT, |findings| async move {
            findings.fine("a", "b");
        });
        let hanging = section("hanging".to_owned(), BRIDGE_LIMIT, |findings| async move {
            findings.fine("c", "d");
            std::future::pending::<()>().await;
        });
        let mut told = Vec::new();
        let reported = follow(vec![hanging, quick], |reported| told.push(reported.about.clone())).await;
        assert_eq!(told, ["hanging", "hanging", "quick"]);
        let found: Vec<_> = reported.iter().map(|it| it.finding.found.as_str()).collect();
        assert_eq!(found, ["d", "something was still waited for after 30 s, behind what is told above", "b"]);
        assert_eq!(tally(&reported).failed, 1);
    }
}
