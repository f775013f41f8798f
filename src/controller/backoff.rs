//! When a destination that failed, or that something else keeps changing back, is tried again.
//!
//! Time is a value: the duration since the controller started. Jitter comes from a seed, so that a run can be repeated.

use std::time::Duration;

/// Wait after the first failure.
pub const FIRST_RETRY: Duration = Duration::from_millis(750);
/// Longest wait between two tries.
pub const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);
/// Wait after the first repeated repair of the same destination.
pub const FIRST_REPAIR_WAIT: Duration = Duration::from_secs(2);
/// Longest wait between two repairs; reached, the destination counts as contended and is only reported.
pub const LONGEST_REPAIR_WAIT: Duration = Duration::from_secs(300);
/// A repair this long after the one before it is no repetition.
pub const REPAIR_MEMORY: Duration = Duration::from_secs(10 * 60);
/// So many repairs are made at once before waiting begins: a redeploy legitimately takes a few.
pub const FREE_REPAIRS: u32 = 3;

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

/// What is remembered about one destination's failures and repairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    failures: u32,
    retry_at: Option<Duration>,
    repairs: u32,
    last_repair: Option<Duration>,
    repair_at: Option<Duration>,
}

impl History {
    pub fn failed(&mut self, now: Duration, jitter: &mut Jitter) {
        let wait = FIRST_RETRY.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + jitter.tenth(wait).min(LONGEST_RETRY));
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// Something had moved and was put back.
    pub fn repaired(&mut self, now: Duration) {
        self.succeeded();
        let forgotten = self.last_repair.is_none_or(|last| now.saturating_sub(last) > REPAIR_MEMORY);
        self.repairs = if forgotten { 1 } else { self.repairs.saturating_add(1) };
        self.last_repair = Some(now);
        self.repair_at = self.repairs.checked_sub(FREE_REPAIRS).filter(|extra| *extra > 0).map(|extra| {
            let wait = FIRST_REPAIR_WAIT.saturating_mul(3u32.saturating_pow(extra - 1)).min(LONGEST_REPAIR_WAIT);
            now + wait
        });
    }

    /// Somebody keeps undoing what is repaired.
    pub fn contended(&self, now: Duration) -> bool {
        self.repair_at.zip(self.last_repair).is_some_and(|(at, last)| now < at && at - last >= LONGEST_REPAIR_WAIT)
    }

    /// The destination is left alone until then.
    pub fn held_until(&self, now: Duration) -> Option<Duration> {
        self.retry_at.into_iter().chain(self.repair_at).filter(|at| *at > now).max()
    }

    /// True once, when a wait is over.
    pub fn take_due(&mut self, now: Duration) -> bool {
        let over = |at: &mut Duration| *at <= now;
        let retry = self.retry_at.take_if(over).is_some();
        self.repair_at.take_if(over).is_some() || retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_from_three_quarters_of_a_second_to_a_quarter_of_an_hour() {
        let mut jitter = Jitter::new(7);
        let mut history = History::default();
        let mut expected = FIRST_RETRY;
        for _ in 0..40 {
            history.failed(Duration::ZERO, &mut jitter);
            let wait = history.held_until(Duration::ZERO).expect("held after a failure");
            assert!(wait >= expected.mul_f64(0.9) && wait <= expected.mul_f64(1.1).min(LONGEST_RETRY), "{wait:?}");
            expected = (expected * 2).min(LONGEST_RETRY);
        }
        history.succeeded();
        assert_eq!(history.held_until(Duration::ZERO), None);
    }

    #[test]
    fn a_few_repairs_are_free_and_further_ones_wait_ever_longer_until_the_destination_is_contended() {
        let mut history = History::default();
        let mut now = SECOND;
        let mut waits = Vec::new();
        for _ in 0..9 {
            history.repaired(now);
            let wait = history.held_until(now).map_or(0, |at| (at - now).as_secs());
            waits.push(wait);
            now += Duration::from_secs(wait) + Duration::from_millis(10);
        }
        assert_eq!(waits, [0, 0, 0, 2, 6, 18, 54, 162, 300]);
        assert!(history.contended(now - SECOND));
    }

    #[test]
    fn a_repair_long_after_the_one_before_starts_from_nothing() {
        let mut history = History::default();
        for i in 0..5 {
            history.repaired(SECOND * i);
        }
        assert!(history.held_until(SECOND * 5).is_some());
        history.repaired(SECOND * 5 + REPAIR_MEMORY + SECOND);
        assert_eq!(history.held_until(SECOND * 5 + REPAIR_MEMORY + SECOND), None);
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
