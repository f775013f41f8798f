//! Many servers at once, but not all: they take turns, and one that keeps everybody waiting loses its turn without losing its work.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Work that has not ended after this is waiting for somebody else, and goes on beside the others: a dozen servers that hang must not hold
/// up the one that answers.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    /// For those that do not wait for the others.
    urgent: Arc<Semaphore>,
}

/// Whose turn it is. Ends when dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held for as long as the turn lasts")] Option<OwnedSemaphorePermit>);

/// Of those that do not wait for the others, so many at once.
const URGENT: usize = 8;

impl Turns {
    /// For so many at the same time, at least one.
    pub fn new(at_once: usize) -> Self {
        let free = Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)));
        Self { free, urgent: Arc::new(Semaphore::new(URGENT)) }
    }

    /// Waits for a turn. The second value: it did not have to be waited for with the others, because `urgent` was notified, be it meanwhile.
    pub async fn turn(&self, urgent: &Notify) -> (Turn, bool) {
        let jump = async {
            urgent.notified().await;
            Arc::clone(&self.urgent).acquire_owned().await
        };
        tokio::select! {
            biased;
            turn = jump => (Turn(turn.ok()), true),
            turn = Arc::clone(&self.free).acquire_owned() => (Turn(turn.ok()), false),
        }
    }

    /// Waits for its turn, then works. Bounds on the work itself begin with the turn.
    pub async fn take<F: Future>(&self, work: F) -> F::Output {
        let turn = Turn(Arc::clone(&self.free).acquire_owned().await.ok());
        turn.work(work).await
    }

    /// All of it; what comes back is in the order of what was given.
    pub async fn all<F: Future>(&self, works: impl IntoIterator<Item = F>) -> Vec<F::Output> {
        join_all(works.into_iter().map(|work| self.take(work))).await
    }
}

impl Turn {
    /// Works, and gives the turn to another where that takes long.
    pub async fn work<F: Future>(self, work: F) -> F::Output {
        let mut work = pin!(work);
        match tokio::time::timeout(PATIENCE, work.as_mut()).await {
            Ok(output) => output,
            Err(_) => {
                drop(self);
                work.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_work_at_once_than_there_are_turns() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let works = (0..20).map(|number| {
            let (now, most) = (&now, &most);
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                number
            }
        });
        let started = tokio::time::Instant::now();
        assert_eq!(Turns::new(4).all(works).await, (0..20).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 4);
        assert_eq!(started.elapsed().as_millis(), 500);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_holds_up_nobody() {
        let works = (0..10).map(|number| async move {
            if number < 8 {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            (number, tokio::time::Instant::now())
        });
        let started = tokio::time::Instant::now();
        let ended = Turns::new(4).all(works).await;
        assert_eq!((ended[9].1 - started).as_secs(), 4, "after two rounds of patience");
        assert_eq!(started.elapsed().as_secs(), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_urgent_waits_for_none_of_the_others() {
        let turns = Turns::new(1);
        let (calm, urgent) = (Notify::new(), Notify::new());
        let (held, jumped) = turns.turn(&calm).await;
        assert!(!jumped);
        let waits = turns.turn(&urgent);
        let told = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            urgent.notify_one();
        };
        let ((_, jumped), ()) = futures::join!(waits, told);
        assert!(jumped, "it became urgent while it waited");
        drop(held);
        assert!(!turns.turn(&calm).await.1);
    }

    #[tokio::test]
    async fn none_at_all_would_be_for_ever() {
        assert_eq!(Turns::new(0).take(async { 1 }).await, 1);
        assert_eq!(Turns::new(usize::MAX).take(async { 1 }).await, 1);
    }
}
