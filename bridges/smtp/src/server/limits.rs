//! Who may have how many connections and send how many mails in a minute. Asks no clock; opens nothing.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_mins(1);
/// New connections of one client in a minute.
const CONNECTIONS_PER_MINUTE_MAX: u32 = 60;
/// Clients whose last minute is remembered, beside those that are connected.
const CLIENTS_MAX: usize = 65_536;
/// Of the connections, in use: from here on silence is borne for a shorter time.
const CROWDED_PERCENT: usize = 80;

#[derive(Debug)]
pub(crate) struct Limits {
    connections_max: usize,
    per_client_max: usize,
    mails_per_minute_max: u32,
    trusted: HashSet<IpAddr>,
    trusts_loopback: bool,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    clients: HashMap<IpAddr, Client>,
}

#[derive(Debug)]
struct Client {
    open: usize,
    minute: Instant,
    connections: u32,
    mails: u32,
}

/// An open connection. Dropped, it is free for another.
#[derive(Debug)]
pub(crate) struct Seat {
    limits: Arc<Limits>,
    client: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    Full,
    PerClient,
    TooFast,
}

impl Limits {
    pub(crate) fn new(
        connections_max: usize,
        per_client_max: usize,
        mails_per_minute_max: u32,
        trusted: impl IntoIterator<Item = IpAddr>,
        trusts_loopback: bool,
    ) -> Arc<Self> {
        let trusted = trusted.into_iter().map(|address| address.to_canonical()).collect();
        Arc::new(Self {
            connections_max,
            per_client_max,
            mails_per_minute_max,
            trusted,
            trusts_loopback,
            table: Mutex::default(),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr, now: Instant) -> Result<Seat, TurnedAway> {
        let mut table = self.table();
        if table.open >= self.connections_max {
            return Err(TurnedAway::Full);
        }
        let client = self.counted(client);
        if let Some(client) = client {
            let known = table.client(client, now);
            if known.open >= self.per_client_max {
                return Err(TurnedAway::PerClient);
            }
            if known.connections >= CONNECTIONS_PER_MINUTE_MAX {
                return Err(TurnedAway::TooFast);
            }
            known.open += 1;
            known.connections += 1;
        }
        table.open += 1;
        Ok(Seat { limits: self.clone(), client })
    }

    pub(crate) fn is_crowded(&self) -> bool {
        self.table().open * 100 > self.connections_max * CROWDED_PERCENT
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what a client is counted: one customer of a provider has a whole /64 of IPv6 addresses.
    fn counted(&self, client: IpAddr) -> Option<IpAddr> {
        let client = client.to_canonical();
        if self.trusted.contains(&client) || self.trusts_loopback && client.is_loopback() {
            return None;
        }
        Some(match client {
            IpAddr::V4(_) => client,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        })
    }
}

impl Seat {
    /// May this client send one more mail now?
    pub(crate) fn admits_mail(&self, now: Instant) -> bool {
        let Some(client) = self.client else { return true };
        let mut table = self.limits.table();
        let known = table.client(client, now);
        if known.mails >= self.limits.mails_per_minute_max {
            return false;
        }
        known.mails += 1;
        true
    }
    /// Whether its client is a stranger's.
    pub(crate) fn is_counted(&self) -> bool {
        self.client.is_some()
    }
    pub(crate) fn is_crowded(&self) -> bool {
        self.limits.is_crowded()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.limits.table();
        table.open -= 1;
        if let Some(known) = self.client.and_then(|client| table.clients.get_mut(&client)) {
            known.open -= 1;
        }
    }
}

impl Table {
    fn client(&mut self, client: IpAddr, now: Instant) -> &mut Client {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            self.clients.retain(|_, known| known.open > 0);
        }
        let known = self.clients.entry(client).or_insert(Client { open: 0, minute: now, connections: 0, mails: 0 });
        if now.duration_since(known.minute) >= MINUTE {
            (known.minute, known.connections, known.mails) = (now, 0, 0);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_in_all_and_for_each_client() {
        let limits = Limits::new(5, 2, 300, [address("192.0.2.9")], false);
        let now = Instant::now();
        let enter = |text: &str| limits.enter(address(text), now);
        let first = enter("2001:db8::1").unwrap();
        let _second = enter("2001:db8::2").unwrap();
        assert_eq!(enter("2001:db8::3").unwrap_err(), TurnedAway::PerClient);
        let _other = enter("2001:db8:0:1::3").unwrap();
        drop(first);
        let _third = enter("2001:db8::3").unwrap();
        assert!(!limits.is_crowded());
        let _v4 = [enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        assert!(limits.is_crowded());
        assert_eq!(enter("192.0.2.9").unwrap_err(), TurnedAway::Full);
    }

    #[test]
    fn a_minute_has_room_for_so_many_and_the_next_for_as_many_again() {
        let limits = Limits::new(1000, 20, 2, [address("192.0.2.9")], true);
        let now = Instant::now();
        let here: Vec<_> = (0..100).map(|_| limits.enter(address("127.0.0.1"), now).unwrap()).collect();
        assert!((0..100).all(|_| here[0].admits_mail(now)), "programs on this machine are not counted");
        for _ in 0..CONNECTIONS_PER_MINUTE_MAX {
            limits.enter(address("192.0.2.1"), now).unwrap();
        }
        assert_eq!(limits.enter(address("192.0.2.1"), now).unwrap_err(), TurnedAway::TooFast);
        let seat = limits.enter(address("192.0.2.1"), now + MINUTE).unwrap();
        assert_eq!([0, 1, 2].map(|_| seat.admits_mail(now + MINUTE)), [true, true, false]);
        assert!(seat.admits_mail(now + MINUTE * 2));
        let trusted: Vec<_> = (0..100).map(|_| limits.enter(address("::ffff:192.0.2.9"), now).unwrap()).collect();
        assert!((0..100).all(|_| trusted[0].admits_mail(now)));
    }

    #[test]
    fn no_crowd_of_strangers_is_remembered_for_good() {
        let limits = Limits::new(10, 2, 2, [], false);
        let now = Instant::now();
        let _stays = limits.enter(address("192.0.2.1"), now).unwrap();
        for number in 0..=CLIENTS_MAX as u32 {
            limits.enter(std::net::Ipv4Addr::from_bits(number).into(), now).unwrap();
        }
        assert!(limits.table().clients.len() <= CLIENTS_MAX);
        assert_eq!(limits.table().clients[&address("192.0.2.1")].open, 1);
    }
}
