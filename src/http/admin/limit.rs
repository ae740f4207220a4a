//! How fast admin tokens can be tried, over all who try together, in a few numbers.
//!
//! At the sign-in form, growing pauses in which nothing is compared. A bearer's token is always compared, so that
//! nobody who holds the right one is shut out by others' guesses; but after some wrong ones these take turns, so that
//! guesses get slow, and a right one at worst late.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::MutexGuard as Turn;

/// Wrong tokens that cost nothing.
const FREE: u32 = 3;
/// The pause after the last free one; each further one doubles it, up to the longest.
const PAUSE_FIRST_MILLIS: i64 = 2_000;
const PAUSE_MAX_MILLIS: i64 = 60_000;
/// After so long without a wrong one all is forgotten.
const FORGET_MILLIS: i64 = 15 * 60_000;
/// Of one bearer's turn.
const TURN: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Limit {
    form: Mutex<Strikes>,
    bearer: Mutex<Strikes>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Strikes {
    wrong: u32,
    last_millis: i64,
}

impl Limit {
    /// How long the form is closed yet; `None` when it is open.
    pub(super) fn form_pause(&self, now_millis: i64) -> Option<Duration> {
        lock(&self.form).pause(now_millis)
    }
    pub(super) fn wrong_in_form(&self, now_millis: i64) {
        lock(&self.form).add(now_millis);
    }
    pub(super) fn right_in_form(&self) {
        *lock(&self.form) = Strikes::default();
    }

    /// Returns at once, or when it is this one's turn.
    pub(super) async fn bearer_turn(&self, now_millis: i64) -> Option<Turn<'_, ()>> {
        lock(&self.bearer).pause(now_millis)?;
        let turn = self.turn.lock().await;
        tokio::time::sleep(TURN).await;
        Some(turn)
    }
    pub(super) fn wrong_by_bearer(&self, now_millis: i64) {
        lock(&self.bearer).add(now_millis);
    }
}

impl Strikes {
    fn add(&mut self, now_millis: i64) {
        let forgotten = now_millis - self.last_millis > FORGET_MILLIS;
        self.wrong = if forgotten { 1 } else { self.wrong.saturating_add(1) };
        self.last_millis = now_millis;
    }

    fn pause(&self, now_millis: i64) -> Option<Duration> {
        let more = self.wrong.checked_sub(FREE)?;
        let pause = (PAUSE_FIRST_MILLIS << more.min(16)).min(PAUSE_MAX_MILLIS);
        let left = self.last_millis + pause - now_millis;
        (left > 0).then(|| Duration::from_millis(left as u64))
    }
}

fn lock(strikes: &Mutex<Strikes>) -> MutexGuard<'_, Strikes> {
    strikes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_ones_cost_nothing_and_then_each_costs_twice_the_one_before() {
        let limit = Limit::default();
        let mut now = 1_000_000;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            limit.wrong_in_form(now);
            let pause = limit.form_pause(now).map_or(0, |pause| pause.as_secs());
            pauses.push(pause);
            now += pause as i64 * 1000;
            assert_eq!(limit.form_pause(now), None, "it ends");
        }
        assert_eq!(pauses, [0, 0, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(limit.bearer.lock().unwrap().wrong, 0, "guesses at one door do not slow the other");
    }

    #[test]
    fn what_was_long_ago_or_ended_well_is_forgotten() {
        let limit = Limit::default();
        (0..5).for_each(|_| limit.wrong_in_form(0));
        assert!(limit.form_pause(0).is_some());
        limit.wrong_in_form(FORGET_MILLIS + 1);
        assert_eq!(limit.form_pause(FORGET_MILLIS + 1), None);
        (0..5).for_each(|_| limit.wrong_in_form(FORGET_MILLIS + 2));
        limit.right_in_form();
        assert_eq!(limit.form_pause(FORGET_MILLIS + 2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn bearers_take_turns_after_some_wrong_ones_and_each_of_them_gets_one() {
        let limit = Limit::default();
        assert!(limit.bearer_turn(0).await.is_none());
        (0..FREE).for_each(|_| limit.wrong_by_bearer(0));
        let began = tokio::time::Instant::now();
        let turns = (0..20).map(|_| async { drop(limit.bearer_turn(0).await.expect("a turn")) });
        futures_util::future::join_all(turns).await;
        assert_eq!(began.elapsed(), TURN * 20);
    }
}
