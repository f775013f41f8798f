//! What systemd, or whoever else set `NOTIFY_SOCKET`, is told: ready, stopping, and that the loop still turns.
//!
//! The signs of life come from the loop itself: one that hangs sends none, and is restarted.

use std::time::Duration;

pub(super) use sd_notify::NotifyState as Fact;
use tokio::time::{Interval, MissedTickBehavior};

/// Does nothing where nobody asked to be told.
pub(super) fn tell(facts: &[Fact<'_>]) {
    if let Err(error) = sd_notify::notify(facts) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// Ticks often enough for the service manager's watchdog.
pub(super) struct SignsOfLife(Option<Interval>);

impl SignsOfLife {
    pub(super) fn from_environment() -> Self {
        let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Self(limit.map(|limit| {
            let mut interval = tokio::time::interval((limit / 3).max(Duration::from_millis(1)));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Never, where no watchdog waits.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}
