//! What holds for a look at the wiring of every kind of bridge: it returns in time whatever the far side does, it finds
//! what is not there, and each finding is fit to be read.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;

use crate::{Bridge, Examination, Finding, Findings, Verdict};

/// The half minute that a look has, and as much again for a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks, and sees to the form of what was found.
pub async fn taken(bridge: &dyn Bridge, at_work: bool) -> Vec<Finding> {
    let findings = Findings::default();
    let looking = bridge.examine(Examination::new(at_work), &findings);
    let returned = timeout(PATIENCE, looking).await;
    let found = findings.take();
    assert!(returned.is_ok(), "the look does not end; found so far: {found:#?}");
    found.iter().for_each(well_formed);
    found
}

/// What a look found, for tests that want single findings of it.
#[derive(Debug)]
pub struct Seen(pub Vec<Finding>);

impl Seen {
    /// The first whose trial begins with these words.
    pub fn of(&self, tried: &str) -> &Finding {
        let found = self.0.iter().find(|finding| finding.tried.starts_with(tried));
        found.unwrap_or_else(|| panic!("no finding on {tried:?}: {:#?}", self.0))
    }

    /// All but what begins with one of these.
    pub fn is_fine_but(&self, others: &[&str]) {
        let bad = |finding: &&Finding| {
            finding.verdict != Verdict::Fine && !others.iter().any(|tried| finding.tried.starts_with(tried))
        };
        let bad: Vec<_> = self.0.iter().filter(bad).collect();
        assert!(bad.is_empty() && !self.0.is_empty(), "{bad:#?}");
    }

    /// It has this verdict, and what came back and what to change hold these words.
    pub fn holds(&self, tried: &str, verdict: Verdict, words: &[&str]) {
        let finding = self.of(tried);
        let whole = format!("{} {}", finding.found, finding.change.as_deref().unwrap_or_default());
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(words.iter().all(|word| whole.contains(word)), "{words:?} in {finding:?}");
    }
}

/// Each of its texts is one line that says something, and where something is to be changed it says what.
pub fn well_formed(finding: &Finding) {
    for line in [&finding.tried, &finding.found].into_iter().chain(&finding.change) {
        assert!(!line.trim().is_empty() && !line.contains(char::is_control), "{finding:?}");
        assert!(!line.ends_with('.'), "no full stop: {finding:?}");
    }
    let wrong = matches!(finding.verdict, Verdict::Warning | Verdict::Failed);
    assert_eq!(finding.change.is_some(), wrong, "{finding:?}");
}

/// Where nobody listens.
pub async fn at_nothing(build: impl FnOnce(SocketAddr) -> Arc<dyn Bridge>) {
    fails(&*build(free_address())).await;
}

/// Where connections are taken and nothing is ever said.
pub async fn at_silence(build: impl FnOnce(SocketAddr) -> Arc<dyn Bridge>) {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    fails(&*build(silent.local_addr().expect("it is bound"))).await;
}

async fn fails(bridge: &dyn Bridge) {
    let found = taken(bridge, false).await;
    assert!(found.iter().any(|finding| finding.verdict == Verdict::Failed), "nothing failed: {found:#?}");
}

/// Of this machine, and nobody's at this moment.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound")
}
