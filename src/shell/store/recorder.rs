//! Writes to the store beside the loop, so that neither a slow disk nor a broken file holds up a repair.
//!
//! Flow: batches come in by a bounded queue, what is queued is written together, durably. What cannot be written is kept, up to a bound, and
//! tried again with the next batch and now and then without one. Whoever started it is told when the store's health changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::records::Batch;
use super::{Records, StoreError};

/// Batches that wait for the store. A pass makes one or two.
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
        set_aside: Option<String>,
        /// Passes and events that are in no record, since the store was not usable for too long.
        lost: usize,
    },
    Bad(StoreError),
}

/// What is queued.
#[derive(Debug)]
enum Item {
    Batch(Box<Batch>),
    /// To be told of once everything before it is written, or could not be.
    Mark(oneshot::Sender<()>),
}

/// A handle to the writing task.
#[derive(Debug)]
pub struct Recorder {
    sender: mpsc::Sender<Item>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// `told` is called with every change of the store's health, and at the beginning.
    pub fn start(records: Arc<dyn Records>, told: impl Fn(Health) + Send + 'static) -> Self {
        Self::start_with(records, RETRY, told)
    }

    fn start_with(records: Arc<dyn Records>, retry: Duration, told: impl Fn(Health) + Send + 'static) -> Self {
        let (sender, batches) = mpsc::channel(QUEUE);
        let writer = Writer { records, told: Box::new(told), unwritten: Batch::default(), lost: 0, health: None };
        Self { sender, task: tokio::spawn(writer.write_all(batches, retry)) }
    }

    /// Queues a batch. Never waits: what finds no place is lost, and said.
    pub fn record(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        match self.sender.try_send(Item::Batch(Box::new(batch))) {
            Err(TrySendError::Full(_)) => tracing::warn!("the history cannot keep up; some of it is left out"),
            Err(TrySendError::Closed(_)) => tracing::error!("the history is not written any more"),
            Ok(()) => {}
        }
    }

    /// Resolves once what is queued by now was written, or could not be.
    pub fn written(&self) -> impl Future<Output = ()> + Send + 'static {
        let (told, written) = oneshot::channel();
        let queued = self.sender.try_send(Item::Mark(told)).is_ok();
        async move {
            if queued {
                let _ = timeout(LAST_WRITE, written).await;
            }
        }
    }

    /// Waits for what is queued, for a moment.
    pub async fn close(self) {
        drop(self.sender);
        if timeout(LAST_WRITE, self.task).await.is_err() {
            tracing::warn!("the end of the history was not written within {LAST_WRITE:?}");
        }
    }
}

struct Writer {
    records: Arc<dyn Records>,
    told: Box<dyn Fn(Health) + Send>,
    unwritten: Batch,
    lost: usize,
    health: Option<Health>,
}

impl Writer {
    async fn write_all(mut self, mut items: mpsc::Receiver<Item>, retry: Duration) {
        self.prepare().await;
        loop {
            match timeout(retry, items.recv()).await {
                Ok(Some(item)) => {
                    let mut marks = Vec::new();
                    let more = std::iter::from_fn(|| items.try_recv().ok());
                    for item in std::iter::once(item).chain(more) {
                        match item {
                            Item::Batch(batch) => self.unwritten.merge(*batch),
                            Item::Mark(mark) => marks.push(mark),
                        }
                    }
                    if !self.unwritten.is_empty() {
                        self.write().await;
                    }
                    for mark in marks {
                        let _ = mark.send(());
                    }
                }
                Err(_) => {
                    if matches!(self.health, Some(Health::Bad(_))) && self.prepare().await {
                        self.write().await;
                    }
                }
                Ok(None) => return,
            }
        }
    }

    async fn prepare(&mut self) -> bool {
        let outcome = self.records.prepare().await;
        let good = outcome.is_ok();
        let health = match outcome {
            Ok(set_aside) => Health::Good { set_aside, lost: std::mem::take(&mut self.lost) },
            Err(error) => Health::Bad(error),
        };
        self.tell(health);
        good
    }

    async fn write(&mut self) {
        let mut outcome = self.records.record(&self.unwritten).await;
        // Damage that came up since the file was verified.
        if matches!(outcome, Err(StoreError::Corrupt { .. })) && self.prepare().await {
            outcome = self.records.record(&self.unwritten).await;
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
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::shell::store::file::FileRecords;
    use crate::shell::store::records::{EventRecord, EventType};

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

    fn start(store: &FileRecords) -> (Recorder, UnboundedReceiver<Health>) {
        let (sender, told) = unbounded_channel();
        let told_to = move |health| sender.send(health).unwrap();
        (Recorder::start_with(Arc::new(store.clone()), Duration::from_millis(20), told_to), told)
    }

    async fn next(told: &mut UnboundedReceiver<Health>) -> Health {
        timeout(PATIENCE, told.recv()).await.unwrap().unwrap()
    }

    fn good() -> Health {
        Health::Good { set_aside: None, lost: 0 }
    }

    fn messages(store: &FileRecords) -> Vec<String> {
        store.events(usize::MAX).unwrap().into_iter().map(|event| event.message).rev().collect()
    }

    #[tokio::test]
    async fn what_is_queued_is_written_before_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileRecords::in_directory(dir.path());
        let (recorder, mut told) = start(&store);
        for number in 0..200 {
            recorder.record(event(&number.to_string()));
        }
        recorder.close().await;
        assert_eq!(next(&mut told).await, good());
        assert!(told.try_recv().is_err());
        assert_eq!(messages(&store), (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_once_it_can_be_and_both_are_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        std::fs::write(&place, "in the way").unwrap();
        let store = FileRecords::in_directory(&place);
        let (recorder, mut told) = start(&store);
        let health = next(&mut told).await;
        assert!(matches!(&health, Health::Bad(_)), "{health:?}");
        recorder.record(event("first"));
        recorder.record(event("second"));
        std::fs::remove_file(&place).unwrap();
        assert_eq!(next(&mut told).await, good());
        recorder.close().await;
        assert_eq!(messages(&store), ["first", "second"]);
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_damaged_while_it_runs_is_moved_aside_and_nothing_new_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileRecords::in_directory(dir.path());
        let (recorder, mut told) = start(&store);
        assert_eq!(next(&mut told).await, good());
        std::fs::write(store.path(), "this is not a database").unwrap();
        recorder.record(event("after"));
        let Health::Good { set_aside: Some(aside), .. } = next(&mut told).await else {
            panic!("it is not said that the file was moved aside")
        };
        assert_eq!(std::fs::read_to_string(aside).unwrap(), "this is not a database");
        recorder.close().await;
        assert_eq!(messages(&store), ["after"]);
    }
}
