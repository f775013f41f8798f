//! Sends notices to the declared notifiers. The loop never waits for it: what does not fit is dropped and counted.
//!
//! A task for each notifier takes notices from a short queue, one after the other, so that they arrive in their order. An address is a secret:
//! it is in no message.

mod post;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::board::Board;
use crate::core::api::{NotifierEvent, ObjectKey};
use crate::core::notice::{Bucket, Notice, Notifier, Recent, payload};
use post::{Failure, post};

/// Largest file with an address.
const LARGEST_FILE: u64 = 4096;

/// How fast, and how persistently.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The same notice is not told again within this.
    pub window: Duration,
    /// So many at once…
    pub burst: u32,
    /// …then one each so often.
    pub each: Duration,
    /// Notices that wait for one notifier.
    pub queue: usize,
    pub attempts: u32,
    /// Doubled with each attempt.
    pub first_retry: Duration,
    pub longest_retry: Duration,
    /// Of one attempt.
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(600),
            burst: 20,
            each: Duration::from_secs(6),
            queue: 100,
            attempts: 6,
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
        }
    }
}

/// The declared notifiers, at work for as long as this lives.
#[derive(Clone)]
pub struct Notifiers(Arc<Shared>);

struct Shared {
    pace: Pace,
    board: Board,
    started: Instant,
    outlets: Mutex<Outlets>,
}

#[derive(Default)]
struct Outlets {
    recent: Recent,
    declared: BTreeMap<ObjectKey, Outlet>,
}

struct Outlet {
    notifier: Arc<Notifier>,
    bucket: Bucket,
    /// Dropped with the outlet, which ends its task when it has sent what waits.
    queue: mpsc::Sender<Letter>,
}

struct Letter {
    notice: Notice,
    time: jiff::Timestamp,
    left_out: u64,
}

impl Notifiers {
    pub fn new(board: Board, pace: Pace) -> Self {
        Self(Arc::new(Shared { pace, board, started: Instant::now(), outlets: Mutex::default() }))
    }

    /// These are declared now. Those that are declared as before go on as they are.
    pub fn declare(&self, notifiers: &[Notifier]) {
        let mut outlets = self.0.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        outlets.declared.retain(|_, outlet| notifiers.contains(&outlet.notifier));
        for notifier in notifiers {
            if outlets.declared.contains_key(&notifier.key) {
                continue;
            }
            let (queue, letters) = mpsc::channel(self.0.pace.queue);
            let notifier = Arc::new(notifier.clone());
            tokio::spawn(work(Arc::clone(&notifier), letters, self.0.board.clone(), self.0.pace));
            let bucket = Bucket::new(self.0.pace.burst, self.0.pace.each);
            outlets.declared.insert(notifier.key.clone(), Outlet { notifier, bucket, queue });
        }
    }

    /// Something keeps undoing what is repaired.
    pub fn contended(&self, destination: ObjectKey, server: Option<ObjectKey>, message: &str) {
        let event = NotifierEvent::Contended;
        let reason = event.as_str().to_owned();
        let object = Some(destination);
        self.tell(vec![Notice { event, object, server, reason, message: message.to_owned() }]);
    }

    /// A backup that was due was not written.
    pub fn backup_failed(&self, object: ObjectKey, server: ObjectKey, message: &str) {
        let event = NotifierEvent::BackupFailed;
        let (reason, message) = (event.as_str().to_owned(), message.to_owned());
        self.tell(vec![Notice { event, object: Some(object), server: Some(server), reason, message }]);
    }

    /// The manifests are invalid, for that reason, or valid again.
    pub fn manifests(&self, reason: Option<&str>, message: &str) {
        let event = if reason.is_some() { NotifierEvent::ManifestInvalid } else { NotifierEvent::ManifestValid };
        let reason = reason.unwrap_or(event.as_str()).to_owned();
        self.tell(vec![Notice { event, object: None, server: None, reason, message: message.to_owned() }]);
    }

    /// Tells those who want to know. Never waits.
    pub fn tell(&self, notices: Vec<Notice>) {
        let now = self.0.started.elapsed();
        let mut dropped = 0;
        let mut outlets = self.0.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        let Outlets { recent, declared, .. } = &mut *outlets;
        for notice in notices {
            if declared.is_empty() || recent.repeats(&notice, now, self.0.pace.window) {
                continue;
            }
            for outlet in declared.values_mut().filter(|outlet| outlet.notifier.takes(&notice)) {
                let Some(left_out) = outlet.bucket.take(now) else {
                    dropped += 1;
                    continue;
                };
                let letter = Letter { notice: notice.clone(), time: jiff::Timestamp::now(), left_out };
                if outlet.queue.try_send(letter).is_err() {
                    dropped += 1;
                }
            }
        }
        drop(outlets);
        if dropped > 0 {
            count(&self.0.board, "dropped", dropped);
        }
    }
}

fn count(board: &Board, outcome: &'static str, by: u64) {
    board.update(|board| *board.counts.notices.entry(outcome).or_default() += by);
}

async fn work(notifier: Arc<Notifier>, mut letters: mpsc::Receiver<Letter>, board: Board, pace: Pace) {
    while let Some(letter) = letters.recv().await {
        let name = notifier.key.path();
        match send(&notifier, &letter, &board, pace).await {
            Ok(attempts) => {
                tracing::debug!(notifier = name, event = letter.notice.event.as_str(), attempts, "told");
                count(&board, "sent", 1);
            }
            Err(why) => {
                tracing::warn!(notifier = name, event = letter.notice.event.as_str(), error = why, "not told");
                count(&board, "failed", 1);
            }
        }
    }
}

/// How many attempts it took, or why it was given up.
async fn send(notifier: &Notifier, letter: &Letter, board: &Board, pace: Pace) -> Result<u32, String> {
    let set = board.read().set.clone();
    let time = format!("{:.0}", letter.time);
    let payload = payload(notifier, &letter.notice, &set, &time, letter.left_out).map_err(|error| error.to_string())?;
    let mut wait = pace.first_retry;
    for attempt in 1.. {
        // Read anew: a secret may have been changed meanwhile.
        let failure = match address(notifier) {
            Err(why) => return Err(why),
            Ok(url) => match tokio::time::timeout(pace.timeout, post(notifier.notifier_type(), &url, &payload)).await {
                Ok(Ok(())) => return Ok(attempt),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::again(format!("no answer within {:?}", pace.timeout)),
            },
        };
        if attempt >= pace.attempts || !failure.worth_repeating {
            return Err(failure.message);
        }
        let name = notifier.key.path();
        tracing::debug!(notifier = name, attempt, error = failure.message, "not told yet");
        tokio::time::sleep(failure.after.unwrap_or(wait).min(pace.longest_retry)).await;
        wait = wait.saturating_mul(2);
    }
    Err(String::new())
}

/// The address, from where the manifest says.
fn address(notifier: &Notifier) -> Result<String, String> {
    use std::io::Read;
    let spec = &notifier.spec;
    let found = match (&spec.url, &spec.url_file, &spec.url_env) {
        (Some(url), _, _) => url.clone(),
        (_, Some(file), _) => {
            let mut text = String::new();
            let open = std::fs::File::open(Path::new(file));
            open.and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text))
                .map_err(|error| format!("the address cannot be read from {file}: {error}"))?;
            text
        }
        (_, _, Some(name)) => std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?,
        (None, None, None) => return Err("it has no address".to_owned()),
    };
    Ok(found.trim().to_owned())
}
