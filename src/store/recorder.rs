//! Writes to the store beside the loop, so that neither a slow disk nor a broken file holds up a repair.
//!
//! Flow: batches come in by a bounded queue, what is queued is written together, durably. What cannot be written is kept, up to a bound, and
//! tried again with the next batch and now and then without one. Whoever started it is told when the store's health changes.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::history::{Store, StoreError};
use super::records::Batch;

/// Batches that wait for the disk. A pass makes one or two.
const QUEUE: usize = 1024;
/// Passes, and events, that are kept while the store cannot be written.
const UNWRITTEN: usize = 1000;
const RETRY: Duration = Duration::from_secs(30);
/// How long an ending process waits for what is queued.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What became of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It is written to.
    Good {
        /// It was unreadable before, and moved here.
        set_aside: Option<PathBuf>,
        /// Passes and events that are in no record, since the store was not usable for too long.
        lost: usize,
    },
    Bad(StoreError),
}

/// A handle to the writing thread. Dropping it waits for what is queued, for a moment.
#[derive(Debug)]
pub struct Recorder {
    sender: Option<SyncSender<Batch>>,
    ended: Receiver<()>,
}

impl Recorder {
    /// `told` is called with every change of the store's health, and at the beginning.
    pub fn start(store: Store, told: impl Fn(Health) + Send + 'static) -> std::io::Result<Self> {
        Self::start_with(store, RETRY, told)
    }

    fn start_with(store: Store, retry: Duration, told: impl Fn(Health) + Send + 'static) -> std::io::Result<Self> {
        let (sender, batches) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(1);
        std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            let mut writer = Writer { store, told: Box::new(told), unwritten: Batch::default(), lost: 0, health: None };
            writer.prepare();
            writer.write_all(&batches, retry);
            let _ = end.send(());
        })?;
        Ok(Self { sender: Some(sender), ended })
    }

    /// Queues a batch. Never waits: what finds no place is lost, and said.
    pub fn record(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        match self.sender.as_ref().map(|sender| sender.try_send(batch)) {
            Some(Err(TrySendError::Full(_))) => tracing::warn!("the history cannot keep up; some of it is left out"),
            Some(Err(TrySendError::Disconnected(_))) => tracing::error!("the history is not written any more"),
            Some(Ok(())) | None => {}
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.sender = None;
        if self.ended.recv_timeout(LAST_WRITE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the end of the history was not written within {LAST_WRITE:?}");
        }
    }
}

struct Writer {
    store: Store,
    told: Box<dyn Fn(Health) + Send>,
    unwritten: Batch,
    lost: usize,
    health: Option<Health>,
}

impl Writer {
    fn write_all(&mut self, batches: &Receiver<Batch>, retry: Duration) {
        loop {
            match batches.recv_timeout(retry) {
                Ok(batch) => {
                    self.unwritten.merge(batch);
                    batches.try_iter().for_each(|batch| self.unwritten.merge(batch));
                    self.write();
                }
                Err(RecvTimeoutError::Timeout) => {
                    if matches!(self.health, Some(Health::Bad(_))) && self.prepare() {
                        self.write();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn prepare(&mut self) -> bool {
        let outcome = self.store.prepare();
        let good = outcome.is_ok();
        let health = match outcome {
            Ok(set_aside) => Health::Good { set_aside, lost: std::mem::take(&mut self.lost) },
            Err(error) => Health::Bad(error),
        };
        self.tell(health);
        good
    }

    fn write(&mut self) {
        let mut outcome = self.store.record(&self.unwritten);
        // Damage that came up since the file was verified.
        if matches!(outcome, Err(StoreError::Corrupt { .. })) && self.prepare() {
            outcome = self.store.record(&self.unwritten);
        }
        match outcome {
            Ok(()) => {
                self.unwritten = Batch::default();
                if matches!(self.health, Some(Health::Bad(_))) {
                    let lost = std::mem::take(&mut self.lost);
                    self.tell(Health::Good { set_aside: None, lost });
                }
            }
            Err(error) => {
                self.lost += self.unwritten.limit(UNWRITTEN);
                self.tell(Health::Bad(error));
            }
        }
    }

    /// Says what is new, once.
    fn tell(&mut self, health: Health) {
        let good = Health::Good { set_aside: None, lost: 0 };
        if self.health.as_ref() != Some(&health)
            && !(health == good && matches!(self.health, Some(Health::Good { .. })))
        {
            (self.told)(health.clone());
        }
        self.health = Some(health);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::store::history::Bounds;
    use crate::store::records::{EventRecord, EventType};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn event(message: &str) -> Batch {
        let event = EventRecord {
            id: 0,
            time: jiff::Timestamp::from_second(1).unwrap(),
            event_type: EventType::Normal,
            object: None,
            server: None,
            reason: "Any".to_owned(),
            message: message.to_owned(),
            pass: None,
        };
        Batch { events: vec![event], ..Batch::default() }
    }

    fn start(store: &Store) -> (Recorder, Receiver<Health>) {
        let (sender, told) = channel();
        let told_to = move |health| sender.send(health).unwrap();
        (Recorder::start_with(store.clone(), Duration::from_millis(20), told_to).unwrap(), told)
    }

    fn good() -> Health {
        Health::Good { set_aside: None, lost: 0 }
    }

    fn messages(store: &Store) -> Vec<String> {
        store.events(usize::MAX).unwrap().into_iter().map(|event| event.message).rev().collect()
    }

    #[test]
    fn what_is_queued_is_written_before_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_directory(dir.path());
        let (recorder, told) = start(&store);
        for number in 0..200 {
            recorder.record(event(&number.to_string()));
        }
        drop(recorder);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [good()]);
        assert_eq!(messages(&store), (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn what_could_not_be_written_is_written_once_it_can_be_and_both_are_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        std::fs::write(&place, "in the way").unwrap();
        let store = Store::in_directory(&place);
        let (recorder, told) = start(&store);
        let health = told.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(&health, Health::Bad(_)), "{health:?}");
        recorder.record(event("first"));
        recorder.record(event("second"));
        std::fs::remove_file(&place).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), good());
        drop(recorder);
        assert_eq!(messages(&store), ["first", "second"]);
        assert_eq!(told.try_iter().next(), None);
    }

    #[test]
    fn a_file_that_is_damaged_while_it_runs_is_moved_aside_and_nothing_new_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::with_bounds(dir.path(), Bounds::default());
        let (recorder, told) = start(&store);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), good());
        std::fs::write(store.path(), "this is not a database").unwrap();
        recorder.record(event("after"));
        let Health::Good { set_aside: Some(aside), .. } = told.recv_timeout(PATIENCE).unwrap() else {
            panic!("it is not said that the file was moved aside")
        };
        assert_eq!(std::fs::read_to_string(aside).unwrap(), "this is not a database");
        drop(recorder);
        assert_eq!(messages(&store), ["after"]);
    }
}
