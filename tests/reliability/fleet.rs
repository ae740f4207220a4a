//! Three gateways that share the work on one PostgreSQL, each with wires of its own to the database and to the inbox.
//! One after another they are killed, hang for longer than their lease, are stopped, are cut off; and the database is
//! restarted. Connections and callbacks come to whoever is well, as a balancer sees to it.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use crate::{
    field::{Field, is_up},
    gateway::Gateway,
    layout::Layout,
    nets::Kind,
    peers::{postgres::Postgres, proxy::Proxy},
    row::{Effort, Outcome},
    siege::trouble,
    wait::{PATIENCE, until_within},
};

const GATEWAYS: usize = 3;
/// Longer than a lease, so that somebody else has what was held.
const ABSENCE: Duration = Duration::from_secs(14);
/// Without the inbox, or before the next strike.
const SPELL: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strike {
    Kill,
    /// SIGSTOP, and later SIGCONT: what it holds was taken meanwhile, and it does not know.
    Hang,
    /// SIGTERM, as at an upgrade.
    Stop,
    OffDatabase,
    OffInbox,
    /// All of them lose it for a moment.
    DatabaseRestarts,
}

/// The short form has time for those that begin it.
const STRIKES: [Strike; 6] =
    [Strike::Kill, Strike::Stop, Strike::OffInbox, Strike::Hang, Strike::OffDatabase, Strike::DatabaseRestarts];
const SHORT: usize = 3;

struct Fleet {
    field: Field,
    to_database: Vec<Proxy>,
    to_inbox: Vec<Proxy>,
    database: Postgres,
    /// Until IRC, the first of them, was held again, after a kill and after a stop.
    after_kill: Vec<Duration>,
    after_stop: Vec<Duration>,
}

pub(crate) fn replicas(effort: &Effort) -> Option<Outcome> {
    if !Kind::Irc.is_present() {
        return None;
    }
    let database = Postgres::start()?;
    let people = if effort.large { [700, 700, 600] } else { [12, 12, 10] };
    let kinds = [(Kind::Irc, people[0]), (Kind::MatrixStandIn, people[1]), (Kind::MailDirect, people[2])];
    let mut fleet = Fleet::lay(&kinds, database, effort.seed);
    let mut outcome = Outcome::default();
    for run in 0..effort.runs(SHORT, 10 * STRIKES.len()) {
        let strike = STRIKES[run % STRIKES.len()];
        // Mostly one who has something that nobody else may have. One that hangs keeps its nick on IRC for a long while,
        // which the short form has no time for.
        let net = if strike == Strike::Hang && !effort.large { "matrix" } else { "irc" };
        let who = if !effort.large || fleet.field.rng.u8(..4) > 0 { fleet.holder(net) } else { None };
        let who = who.unwrap_or_else(|| fleet.field.rng.usize(..GATEWAYS));
        fleet.strike(strike, who, &mut outcome);
        fleet.field.talk(SPELL);
    }
    Some(fleet.end(outcome))
}

impl Fleet {
    fn lay(kinds: &[(Kind, usize)], database: Postgres, seed: u64) -> Self {
        let (to_database, to_inbox) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let wire = |wires: &RefCell<Vec<Proxy>>, port: u16| {
            let proxy = Proxy::to(([127, 0, 0, 1], port).into());
            let port = proxy.port;
            wires.borrow_mut().push(proxy);
            port
        };
        let port_of = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port is last");
        let before_inbox = |url: &str| format!("http://127.0.0.1:{}", wire(&to_inbox, port_of(url)));
        let tables = |_| {
            let port = wire(&to_database, database.port());
            format!("\n[store]\nurl = \"postgres://deskbridge@127.0.0.1:{port}/postgres?sslmode=disable\"\n")
        };
        let layout = Layout {
            before_inbox: Some(&before_inbox),
            gateways: GATEWAYS,
            tables: &tables,
            ..Layout::of(kinds, seed)
        };
        let mut field = Field::lay_out(&layout);
        field.open();
        // Without calls that are made twice: a balancer makes no two of one, and neither does the help desk.
        let mut faults = trouble();
        faults.as_object_mut().expect("faults are a table").remove("callbacks");
        field.sandbox.faults(&faults);
        let (to_database, to_inbox) = (to_database.into_inner(), to_inbox.into_inner());
        Self { field, to_database, to_inbox, database, after_kill: Vec::new(), after_stop: Vec::new() }
    }

    fn gateway(&mut self, who: usize) -> &mut Gateway {
        self.field.gateways().nth(who).expect("there are so many")
    }

    fn has(&mut self, who: usize, net: &str) -> bool {
        self.gateway(who).ready().is_ok_and(|answer| is_up(&answer.json()["bridges"][net]))
    }

    fn holder(&mut self, net: &str) -> Option<usize> {
        (0..GATEWAYS).find(|who| !self.field.out.has(*who) && self.has(*who, net))
    }

    /// Nothing more is brought to this one, or it is again.
    fn set_out(&mut self, who: usize, is_out: bool) {
        self.field.out.set(who, is_out);
        if is_out {
            self.field.doors.iter().for_each(|door| door.cut(who));
        }
    }

    fn strike(&mut self, strike: Strike, who: usize, outcome: &mut Outcome) {
        outcome.runs += 1;
        let names: Vec<_> = self.field.nets.iter().map(|net| net.name()).collect();
        let held: Vec<usize> = (0..names.len()).filter(|net| self.has(who, names[*net])).collect();
        let begun = Instant::now();
        match strike {
            Strike::Kill => {
                self.set_out(who, true);
                self.gateway(who).kill();
                outcome.kills += 1;
                self.break_off(&held);
                self.until_held(&held[..held.len().min(1)]);
                self.after_kill.extend(held.contains(&0).then(|| begun.elapsed()));
                self.until_held(&held);
                self.gateway(who).start();
            }
            Strike::Stop => {
                self.set_out(who, true);
                self.gateway(who).signal("TERM");
                self.until_held(&held[..held.len().min(1)]);
                self.after_stop.extend(held.contains(&0).then(|| begun.elapsed()));
                self.until_held(&held);
                let status = self.gateway(who).wait();
                if !status.success() {
                    outcome.complaints.push(format!("told to stop, it ended so: {status}"));
                }
                self.gateway(who).start();
            }
            Strike::Hang => {
                self.set_out(who, true);
                self.gateway(who).signal("STOP");
                self.break_off(&held);
                self.talk_unheard(ABSENCE, &held);
                self.gateway(who).signal("CONT");
            }
            Strike::OffDatabase => {
                self.set_out(who, true);
                self.to_database[who].wire().hold();
                self.break_off(&held);
                self.talk_unheard(ABSENCE, &held);
                self.to_database[who].wire().release();
                self.to_database[who].cut();
                self.to_database[who].mend();
            }
            Strike::OffInbox => {
                self.to_inbox[who].cut();
                self.field.talk(SPELL);
                self.to_inbox[who].mend();
            }
            Strike::DatabaseRestarts => {
                self.database.go_down();
                self.field.talk(Duration::from_secs(1));
                self.database.come_up();
            }
        }
        // It may be this one that holds them by now.
        self.until_well(who);
        self.set_out(who, false);
        self.until_held(&held);
        outcome.struck +=
            usize::from(!held.is_empty() || matches!(strike, Strike::OffInbox | Strike::DatabaseRestarts));
    }

    fn break_off(&mut self, held: &[usize]) {
        for net in held {
            self.field.mark_break(*net);
        }
    }

    fn talk_unheard(&mut self, span: Duration, held: &[usize]) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.talk_a_little(held);
        }
    }

    fn talk_a_little(&mut self, held: &[usize]) {
        self.mark_silence(held);
        self.field.talk(STEP);
        self.mark_silence(held);
    }

    fn mark_silence(&mut self, held: &[usize]) {
        for net in held {
            self.field.mark_silence(*net);
        }
    }

    /// Everybody talks on until somebody holds these networks.
    fn until_held(&mut self, held: &[usize]) {
        let names: Vec<_> = held.iter().map(|net| self.field.nets[*net].name()).collect();
        until_within(PATIENCE * 2, "the networks to be held again", || {
            self.talk_a_little(held);
            let missing: Vec<_> = names.iter().filter(|name| self.holder(name).is_none()).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
        });
    }

    fn until_well(&mut self, who: usize) {
        until_within(PATIENCE * 2, "the gateway to be ready", || match self.gateway(who).ready()? {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    }

    fn end(mut self, mut outcome: Outcome) -> Outcome {
        let desk = self.field.drain();
        outcome.add(self.field.judge(&desk));
        for (what, mut spans) in [("a kill", self.after_kill), ("a stop", self.after_stop)] {
            spans.sort_unstable();
            if let (Some(least), Some(most)) = (spans.first(), spans.last()) {
                outcome.notes.push(format!(
                    "After {what} another gateway was on IRC, and known to be, within {:.1} to {:.1} s ({} times).",
                    least.as_secs_f64(),
                    most.as_secs_f64(),
                    spans.len()
                ));
            }
        }
        outcome
    }
}
