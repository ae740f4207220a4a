//! Who signed in: a few visits, in memory, each bound in time; and the tokens that tie a form to its page.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// At once; the one that was used longest ago makes room.
const VISITS_MAX: usize = 64;
/// However much it is used, and without being used.
const WHOLE_MILLIS: i64 = 12 * 3_600_000;
const IDLE_MILLIS: i64 = 3_600_000;
/// 128 bits.
const ID_BYTES: usize = 16;

pub(super) struct Visits {
    open: Mutex<Vec<Visit>>,
    /// Of this process, for the tokens of forms.
    key: [u8; 32],
}

struct Visit {
    /// Of its id, so that a look at the memory opens nothing, and comparing takes no time that says something.
    hash: [u8; 32],
    began_millis: i64,
    used_millis: i64,
    notice: Option<String>,
}

impl Visits {
    pub(super) fn new() -> Self {
        Self { open: Mutex::default(), key: random() }
    }

    /// An id for a cookie. It opens nothing before a visit [begins](Self::begin) with it.
    pub(super) fn new_id() -> String {
        hex::encode(random::<ID_BYTES>())
    }

    pub(super) fn begin(&self, id: &str, now_millis: i64) {
        let mut open = self.fresh(now_millis);
        if open.len() >= VISITS_MAX {
            open.sort_by_key(|visit| visit.used_millis);
            open.remove(0);
        }
        open.push(Visit { hash: hash(id), began_millis: now_millis, used_millis: now_millis, notice: None });
    }

    /// Whether such a visit is open; using it keeps it open.
    pub(super) fn is_open(&self, id: &str, now_millis: i64) -> bool {
        let (mut open, wanted) = (self.fresh(now_millis), hash(id));
        let visit = open.iter_mut().find(|visit| visit.hash == wanted);
        visit.map(|visit| visit.used_millis = now_millis).is_some()
    }

    pub(super) fn end_all(&self) {
        lock(&self.open).clear();
    }

    pub(super) fn end(&self, id: &str) {
        let wanted = hash(id);
        lock(&self.open).retain(|visit| visit.hash != wanted);
    }

    /// Said on the visit's next page.
    pub(super) fn notify(&self, id: &str, notice: String) {
        let wanted = hash(id);
        if let Some(visit) = lock(&self.open).iter_mut().find(|visit| visit.hash == wanted) {
            visit.notice = Some(notice);
        }
    }
    pub(super) fn take_notice(&self, id: &str) -> Option<String> {
        let wanted = hash(id);
        lock(&self.open).iter_mut().find(|visit| visit.hash == wanted)?.notice.take()
    }

    /// The token of forms on pages that were given this cookie.
    pub(super) fn form_token(&self, id: &str) -> String {
        hex::encode(self.mac(id).finalize().into_bytes())
    }
    pub(super) fn is_form_token(&self, id: &str, token: &str) -> bool {
        hex::decode(token).is_ok_and(|token| self.mac(id).verify_slice(&token).is_ok())
    }

    fn mac(&self, id: &str) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key may have any length");
        mac.chain_update(id)
    }

    fn fresh(&self, now_millis: i64) -> MutexGuard<'_, Vec<Visit>> {
        let mut open = lock(&self.open);
        open.retain(|visit| {
            now_millis - visit.began_millis < WHOLE_MILLIS && now_millis - visit.used_millis < IDLE_MILLIS
        });
        open
    }
}

/// As [`Visits::new_id`] makes them.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 2 * ID_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Fit for secrets.
pub(super) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).expect("a system without randomness runs nothing of ours");
    bytes
}

fn hash(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

fn lock(open: &Mutex<Vec<Visit>>) -> MutexGuard<'_, Vec<Visit>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_ends_when_it_is_not_used_and_at_last_however_much_it_is() {
        let visits = Visits::new();
        visits.begin("one", 0);
        assert!(!visits.is_open("another", 0));
        assert!(!visits.is_open("one", IDLE_MILLIS));
        visits.begin("two", 0);
        let mut now = 0;
        while visits.is_open("two", now) {
            now += IDLE_MILLIS / 2;
        }
        assert_eq!(now, WHOLE_MILLIS);
        visits.begin("three", 0);
        visits.end("three");
        assert!(!visits.is_open("three", 0));
    }

    #[test]
    fn the_visit_that_was_used_longest_ago_makes_room() {
        let visits = Visits::new();
        for number in 0..VISITS_MAX as i64 {
            visits.begin(&number.to_string(), number);
        }
        assert!(visits.is_open("0", 100));
        visits.begin("new", 101);
        assert!(visits.is_open("0", 102) && visits.is_open("new", 102) && !visits.is_open("1", 102));
        assert_eq!(lock(&visits.open).len(), VISITS_MAX);
    }

    #[test]
    fn a_forms_token_belongs_to_its_cookie_and_to_this_process() {
        let (visits, others) = (Visits::new(), Visits::new());
        let token = visits.form_token("a");
        assert!(visits.is_form_token("a", &token));
        for wrong in ["", "zz", &token[2..], &others.form_token("a"), &visits.form_token("b")] {
            assert!(!visits.is_form_token("a", wrong), "{wrong}");
        }
    }

    #[test]
    fn ids_are_128_bits_and_never_the_same() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| Visits::new_id()).collect();
        assert!(ids.len() == 1000 && ids.iter().all(|id| is_id(id)));
        assert!(!is_id("A0") && !is_id(&"g".repeat(32)));
    }
}
