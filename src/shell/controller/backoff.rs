//! When what failed, or what something else keeps changing back, is tried again.
//!
//! Time is a value: the duration since the controller started. Jitter comes from a seed, so that a run can be repeated.
//!
//! By hand: a decision by values that is told the time, knows what was undone and how often, and ends with new manifests. The crates for it sleep and call
//! again (`backon`), or are kept no more (`backoff`).

use std::collections::VecDeque;
use std::time::Duration;

/// Wait after the first failure. What an event brings forward keeps this distance too.
pub const FIRST_RETRY: Duration = Duration::from_millis(750);
/// Longest wait between two tries, where the interval between two resyncs is longer still.
pub const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);
/// An event brings a try that breaks connections forward to this distance from the last one at most.
pub const DISRUPTIVE_RETRY: Duration = Duration::from_secs(5);
/// So many repairs of the same thing are made at once before waiting begins.
pub const FREE_REPAIRS: u32 = 20;
/// Wait after the first repair beyond those.
pub const FIRST_REPAIR_WAIT: Duration = Duration::from_secs(2);
/// Longest wait between two repairs of the same thing.
pub const LONGEST_REPAIR_WAIT: Duration = Duration::from_secs(30);
/// A repair this long after the one before it is no repetition.
pub const REPAIR_MEMORY: Duration = Duration::from_secs(120);
/// So many repairs…
pub const FIGHT: usize = 5;
/// Of a Swarm service on a network so many: that it is taken off is a rollout, and so is that it is put back, and a minute has room for few.
pub const FIGHT_OF_ROLLOUTS: usize = 3;
/// …within this time say that something else keeps undoing them.
pub const FIGHT_WITHIN: Duration = Duration::from_secs(60);

/// A small deterministic source of jitter (SplitMix64). Not for secrets.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `duration` give or take a tenth.
    pub fn tenth(&mut self, duration: Duration) -> Duration {
        let permille = 900 + self.next() % 201;
        duration.mul_f64(permille as f64 / 1000.0)
    }
}

/// What is remembered about the failures and the repairs of one thing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    failures: u32,
    failed_at: Duration,
    /// A try breaks connections.
    disruptive: bool,
    retry_at: Option<Duration>,
    /// In a row.
    repairs: u32,
    /// The last ones, the latest last.
    recent: VecDeque<Duration>,
    repair_at: Option<Duration>,
    contended_until: Option<Duration>,
}

impl History {
    /// `longest`: bound of the wait.
    pub fn failed(&mut self, now: Duration, longest: Duration, disruptive: bool, jitter: &mut Jitter) {
        let wait = FIRST_RETRY.saturating_mul(2u32.saturating_pow(self.failures)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        self.disruptive = disruptive;
        self.retry_at = Some(now + jitter.tenth(wait).min(longest));
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Something has happened to it: what failed may succeed now.
    pub fn bring_forward(&mut self) {
        let distance = if self.disruptive { DISRUPTIVE_RETRY } else { FIRST_RETRY };
        self.bring_forward_to(distance);
    }

    /// The next try is at most that long after the last one.
    pub fn bring_forward_to(&mut self, distance: Duration) {
        self.retry_at = self.retry_at.map(|at| at.min(self.failed_at + distance));
    }

    /// It had moved and was put back. True: from now on it is contended.
    pub fn repaired(&mut self, now: Duration) -> bool {
        self.undone(now, FIGHT)
    }

    /// The same. `fight`: so many within a minute are contention, [`FIGHT`] at most.
    pub fn undone(&mut self, now: Duration, fight: usize) -> bool {
        self.succeeded();
        let forgotten = self.recent.back().is_none_or(|last| now.saturating_sub(*last) > REPAIR_MEMORY);
        self.repairs = if forgotten { 1 } else { self.repairs.saturating_add(1) };
        self.recent.push_back(now);
        if self.recent.len() > FIGHT {
            self.recent.pop_front();
        }
        self.repair_at = self.repairs.checked_sub(FREE_REPAIRS).filter(|extra| *extra > 0).map(|extra| {
            now + FIRST_REPAIR_WAIT.saturating_mul(2u32.saturating_pow(extra - 1)).min(LONGEST_REPAIR_WAIT)
        });
        let before = self.is_contended(now);
        let first = self.recent.iter().rev().nth(fight.saturating_sub(1));
        let often = first.is_some_and(|first| now.saturating_sub(*first) <= FIGHT_WITHIN);
        if often || before {
            self.contended_until = Some(now + FIGHT_WITHIN);
        }
        often && !before
    }

    /// Something else keeps undoing what is repaired. Ends once it has held for a minute.
    pub fn is_contended(&self, now: Duration) -> bool {
        self.contended_until.is_some_and(|until| now < until)
    }

    /// It is left alone until then.
    pub fn held_until(&self, now: Duration) -> Option<Duration> {
        self.retry_at.into_iter().chain(self.repair_at).filter(|at| *at > now).max()
    }

    /// It is left alone because it keeps being undone.
    pub fn is_guarded(&self, now: Duration) -> bool {
        self.repair_at.is_some_and(|at| at > now)
    }

    /// When there is something to do or to say about it.
    pub fn due_at(&self, now: Duration) -> Option<Duration> {
        self.held_until(now).into_iter().chain(self.contended_until.filter(|until| *until > now)).min()
    }

    /// True once, when a wait is over.
    pub fn take_due(&mut self, now: Duration) -> bool {
        let over = |at: &mut Duration| *at <= now;
        let retry = self.retry_at.take_if(over).is_some();
        let repair = self.repair_at.take_if(over).is_some();
        let calm = self.contended_until.take_if(over).is_some();
        calm || (retry || repair) && self.held_until(now).is_none()
    }

    /// Nothing of it matters any more. `longest`: bound of the waits after failures.
    pub fn is_past(&self, now: Duration, longest: Duration) -> bool {
        let last = self.recent.back().copied().unwrap_or_default().max(self.failed_at);
        self.due_at(now).is_none() && now.saturating_sub(last) > REPAIR_MEMORY.max(longest * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn waits_double_from_three_quarters_of_a_second_to_their_bound() {
        let mut jitter = Jitter::new(7);
        let mut history = History::default();
        let mut expected = FIRST_RETRY;
        for _ in 0..40 {
            history.failed(Duration::ZERO, LONGEST, false, &mut jitter);
            let wait = history.held_until(Duration::ZERO).expect("held after a failure");
            assert!(wait >= expected.mul_f64(0.9) && wait <= expected.mul_f64(1.1).min(LONGEST), "{wait:?}");
            expected = (expected * 2).min(LONGEST);
        }
        history.succeeded();
        assert_eq!(history.held_until(Duration::ZERO), None);
    }

    #[test]
    fn what_happens_to_it_brings_the_next_try_forward_and_one_that_breaks_connections_less() {
        for (disruptive, next) in [(false, FIRST_RETRY), (true, DISRUPTIVE_RETRY)] {
            let mut history = History::default();
            for _ in 0..10 {
                history.failed(SECOND, LONGEST, disruptive, &mut Jitter::new(7));
            }
            assert!(history.held_until(SECOND).unwrap() > SECOND * 50);
            history.bring_forward();
            assert_eq!(history.held_until(SECOND), Some(SECOND + next));
            assert_eq!(history.held_until(SECOND * 7), None);
        }
    }

    #[test]
    fn twenty_repairs_in_a_row_are_made_at_once_and_further_ones_wait_for_half_a_minute_at_most() {
        let mut history = History::default();
        let mut now = SECOND;
        let mut waits = Vec::new();
        for _ in 0..27 {
            history.repaired(now);
            let wait = history.held_until(now).map_or(0, |at| (at - now).as_secs());
            waits.push(wait);
            now += Duration::from_secs(wait) + Duration::from_millis(10);
        }
        assert_eq!(waits[..20], [0; 20]);
        assert_eq!(waits[20..], [2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn the_fifth_repair_within_a_minute_says_that_it_is_contended_once_and_a_minute_of_peace_ends_it() {
        let mut history = History::default();
        let said: Vec<bool> = (1..=8).map(|second| history.repaired(SECOND * second)).collect();
        assert_eq!(said, [false, false, false, false, true, false, false, false]);
        assert!(history.is_contended(SECOND * 67));
        assert_eq!(history.due_at(SECOND * 9), Some(SECOND * 68), "somebody has to look then");
        assert!(!history.is_contended(SECOND * 68));
        assert!(history.take_due(SECOND * 68) && !history.take_due(SECOND * 68));
        let mut slow = History::default();
        assert!((1..=20).all(|turn| !slow.repaired(SECOND * 16 * turn)), "four within a minute");
    }

    #[test]
    fn what_is_repaired_as_seldom_as_the_guard_lets_it_stays_contended() {
        let mut history = History::default();
        let mut now = SECOND;
        for _ in 0..40 {
            history.repaired(now);
            now = history.held_until(now).unwrap_or(now) + SECOND;
        }
        assert!(history.is_contended(now));
    }

    #[test]
    fn a_repair_long_after_the_one_before_starts_from_nothing() {
        let mut history = History::default();
        for i in 0..25 {
            history.repaired(SECOND * i);
        }
        assert!(history.held_until(SECOND * 25).is_some());
        let later = SECOND * 25 + REPAIR_MEMORY + SECOND;
        history.repaired(later);
        assert_eq!(history.held_until(later), None);
        assert!(!history.is_past(later, LONGEST));
        assert!(history.is_past(later + REPAIR_MEMORY + SECOND, LONGEST));
    }

    #[test]
    fn jitter_stays_within_a_tenth_and_repeats_for_a_seed() {
        let draws =
            |seed| (0..1000).map(|_| seed).scan(Jitter::new(seed), |j, _| Some(j.tenth(SECOND))).collect::<Vec<_>>();
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
        assert!(draws(3).iter().all(|d| *d >= SECOND.mul_f64(0.9) && *d <= SECOND.mul_f64(1.1)));
    }
}
