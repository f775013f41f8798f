//! How often people are told. Time is a value: the duration since the controller started.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Notice;
use crate::core::api::{NotifierEvent, ObjectKey};

/// Notices that are remembered to tell repetitions.
const REMEMBERED: usize = 10_000;

/// Tells repetitions of the same thing.
#[derive(Debug, Default)]
pub struct Recent {
    told: BTreeMap<(NotifierEvent, Option<ObjectKey>, String), Duration>,
}

impl Recent {
    /// Whether the same was told less than `window` ago. That a server went and came back is told each time, and so is what becomes of the
    /// manifests: one without the other would leave people with the wrong belief.
    pub fn repeats(&mut self, notice: &Notice, now: Duration, window: Duration) -> bool {
        if matches!(
            notice.event,
            NotifierEvent::ServerDown
                | NotifierEvent::ServerBack
                | NotifierEvent::ManifestInvalid
                | NotifierEvent::ManifestValid
        ) {
            return false;
        }
        self.told.retain(|_, at| now.saturating_sub(*at) < window);
        let key = (notice.event, notice.object.clone(), notice.reason.clone());
        if self.told.contains_key(&key) {
            return true;
        }
        if self.told.len() < REMEMBERED {
            self.told.insert(key, now);
        }
        false
    }
}

/// So many at once, then one each so often.
#[derive(Debug)]
pub struct Bucket {
    size: u32,
    each: Duration,
    left: u32,
    filled: Duration,
    left_out: u64,
}

impl Bucket {
    pub fn new(size: u32, each: Duration) -> Self {
        Self { size, each, left: size, filled: Duration::ZERO, left_out: 0 }
    }

    /// `None`: not now. Otherwise how many were left out since the last one.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        while self.left < self.size && now.saturating_sub(self.filled) >= self.each {
            self.left += 1;
            self.filled += self.each;
        }
        if self.left == self.size {
            self.filled = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_same_is_told_once_in_a_while_and_other_things_at_once() {
        let mut recent = Recent::default();
        let notice = |event, name: &str, reason: &str| Notice {
            event,
            object: Some(ObjectKey::new(Kind::Destination, "shop", name)),
            server: None,
            reason: reason.to_owned(),
            message: String::new(),
        };
        let drift = notice(NotifierEvent::DriftFound, "web", "ProxyDetached");
        assert!(!recent.repeats(&drift, MINUTE, MINUTE * 10));
        assert!(recent.repeats(&drift, MINUTE * 5, MINUTE * 10));
        assert!(!recent.repeats(&notice(NotifierEvent::Healed, "web", "ProxyDetached"), MINUTE * 5, MINUTE * 10));
        assert!(!recent.repeats(&notice(NotifierEvent::DriftFound, "web", "NetworkMissing"), MINUTE * 5, MINUTE * 10));
        assert!(!recent.repeats(&notice(NotifierEvent::DriftFound, "data", "ProxyDetached"), MINUTE * 5, MINUTE * 10));
        assert!(!recent.repeats(&drift, MINUTE * 12, MINUTE * 10));
        let down = notice(NotifierEvent::ServerDown, "edge", "ServerUnreachable");
        assert!(!recent.repeats(&down, MINUTE, MINUTE * 10) && !recent.repeats(&down, MINUTE, MINUTE * 10));
    }

    #[test]
    fn a_flood_is_cut_and_the_next_notice_says_by_how_much() {
        let mut bucket = Bucket::new(3, MINUTE);
        let taken: Vec<_> = (0..5).map(|_| bucket.take(MINUTE * 60)).collect();
        assert_eq!(taken, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(bucket.take(MINUTE * 61), Some(2));
        assert_eq!(bucket.take(MINUTE * 61), None);
        // However long it was quiet, no more than the size at once.
        let taken = (0..10).filter(|_| bucket.take(MINUTE * 600).is_some()).count();
        assert_eq!(taken, 3);
    }
}
