//! When to read the manifests: when something tells of a change, and now and then without.
//!
//! On a thread of its own: a network file system that does not answer holds up whoever asks it, and that must not be the loop.

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::watch::{FileWatch, remote};

/// How often the files are compared although nothing was told.
const UNTOLD: Duration = Duration::from_secs(30);
/// The same where nobody tells: on a network file system, and where the files cannot be watched.
const UNTOLD_REMOTE: Duration = Duration::from_secs(2);

/// Sends a message whenever it is time to read them, the first as soon as they are watched. Ends when the receiver is dropped.
///
/// `poll`: between two comparisons that nobody asked for; `None`: as the file system needs it.
pub(super) fn watch(paths: Vec<PathBuf>, poll: Option<Duration>) -> mpsc::Receiver<()> {
    // One place is enough: the message carries no content, and one that is pending stands for all that follow.
    let (sender, receiver) = mpsc::channel(1);
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let mut files = Files { paths, poll, watch: None, compared: Instant::now() };
        files.begin();
        runtime.block_on(async {
            let _ = sender.try_send(());
            loop {
                tokio::select! {
                    () = files.changed() => {
                        let _ = sender.try_send(());
                    }
                    () = sender.closed() => return,
                }
            }
        });
    });
    receiver
}

struct Files {
    paths: Vec<PathBuf>,
    poll: Option<Duration>,
    /// `None`: they cannot be watched at present.
    watch: Option<FileWatch>,
    compared: Instant,
}

impl Files {
    fn begin(&mut self) {
        match FileWatch::new(&self.paths) {
            Ok(watch) => {
                self.watch = Some(watch);
                if let Some(path) = remote(&self.paths) {
                    let every = self.untold();
                    tracing::info!(path = %path.display(), "on a network file system; compared every {every:?}");
                }
            }
            Err(error) => {
                let every = self.untold();
                tracing::warn!(%error, "the manifests cannot be watched; they are compared every {every:?} instead");
            }
        }
    }

    fn untold(&self) -> Duration {
        let told = self.watch.is_some() && remote(&self.paths).is_none();
        self.poll.unwrap_or(if told { UNTOLD } else { UNTOLD_REMOTE })
    }

    /// Resolves when it is time to read them. A wait that is given up loses nothing.
    async fn changed(&mut self) {
        let due = self.compared + self.untold();
        let told = async {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        match tokio::time::timeout_at(due, told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the manifests cannot be watched any more; they are compared every so often instead");
                self.watch = None;
            }
            // What was in the way may have gone. That it was there has been said when it began.
            Err(_) if self.watch.is_none() => self.watch = FileWatch::new(&self.paths).ok(),
            Err(_) => {}
        }
        self.compared = Instant::now();
    }
}
