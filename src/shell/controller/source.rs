//! Where the loop's manifests come from: files that are watched, or a repository that is fetched.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::backoff::Jitter;
use super::board::{Board, SourceProblem, SourceState};
use super::files;
use crate::core::manifest::{self, Diagnostic};
use crate::shell::git::{Checkout, GitError, Repository};
use crate::shell::sources;

/// Fetches that are asked for come no closer than this: a burst of pushes is one fetch or two.
const BETWEEN_FETCHES: Duration = Duration::from_secs(5);

/// Commits that are remembered.
const COMMITS: usize = 50;

/// Where manifests come from.
#[derive(Debug, Clone)]
pub enum Source {
    Files {
        paths: Vec<PathBuf>,
        /// Between two comparisons that nobody asked for; `None`: as the file system needs it.
        poll: Option<Duration>,
    },
    Git(GitSource),
}

/// What the source says at one moment.
pub struct Said {
    pub sources: Vec<manifest::Source>,
    pub problems: Vec<Diagnostic>,
    /// The paths as messages name them.
    pub names: Vec<PathBuf>,
    /// Of the repository.
    pub revision: Option<String>,
    /// The commit, of a repository: it has the files that the manifests name.
    pub checkout: Option<Arc<Checkout>>,
}

impl Source {
    /// Tells of possible changes for as long as somebody listens.
    pub fn changes(&self, board: &Board, interval: Duration, seed: u64) -> mpsc::Receiver<()> {
        match self {
            Source::Files { paths, poll } => files::watch(paths.clone(), *poll),
            Source::Git(git) => {
                let (told, changes) = mpsc::channel(1);
                tokio::spawn(git.clone().follow(board.clone(), interval, Jitter::new(seed), told));
                changes
            }
        }
    }

    /// Reads what there is. `None`: a first fetch is under way, and there is nothing yet.
    pub fn read(&self) -> Option<Said> {
        match self {
            Source::Files { paths, .. } => {
                let (sources, problems) = sources::read(paths, &mut std::io::empty());
                Some(Said { sources, problems, names: paths.clone(), revision: None, checkout: None })
            }
            Source::Git(git) => git.read(),
        }
    }

    /// What a controller before this one had in force, where that is not what there is now: for when that is wrong, and until something is good.
    pub fn before(&self) -> Option<Said> {
        match self {
            Source::Files { .. } => None,
            Source::Git(git) => git.now().before.as_ref().map(said),
        }
    }

    /// What was read of that revision is in force.
    pub fn accept(&self, revision: &str) {
        if let Source::Git(git) = self {
            git.accept(revision);
        }
    }

    /// Somebody says that there is something new. Files are read anyway.
    pub fn refresh(&self) {
        if let Source::Git(git) = self {
            git.refresh();
        }
    }
}

/// A followed repository: its last good revision, for everybody who holds this.
#[derive(Debug, Clone)]
pub struct GitSource(Arc<Followed>);

#[derive(Debug)]
struct Followed {
    repository: tokio::sync::Mutex<Repository>,
    now: Mutex<Now>,
    wake: Notify,
    accepted: Notify,
}

#[derive(Debug, Default)]
struct Now {
    checkout: Option<Arc<Checkout>>,
    problem: Option<Diagnostic>,
    /// In force, and not yet kept as such.
    accepted: Option<String>,
    /// In force before this process, until something is in this one.
    before: Option<Arc<Checkout>>,
}

impl GitSource {
    pub fn new(repository: Repository) -> Self {
        let now = Mutex::new(Now::default());
        let repository = tokio::sync::Mutex::new(repository);
        Self(Arc::new(Followed { repository, now, wake: Notify::new(), accepted: Notify::new() }))
    }

    fn accept(&self, revision: &str) {
        {
            let mut now = self.now();
            now.accepted = Some(revision.to_owned());
            now.before = None;
        }
        self.0.accepted.notify_one();
    }

    /// The next fetch is compared with what is in force now, and the next process begins with it.
    async fn keep(&self, repository: &Repository) {
        let accepted = self.now().accepted.take();
        if let Some(revision) = accepted
            && let Err(error) = repository.accept(&revision).await
        {
            tracing::warn!(%error, "which revision is in force is not remembered");
        }
    }

    /// Fetches soon. Asking again meanwhile asks for nothing more.
    pub fn refresh(&self) {
        self.0.wake.notify_one();
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Option<Said> {
        let (checkout, problem) = {
            let now = self.now();
            (now.checkout.clone(), now.problem.clone())
        };
        match (checkout, problem) {
            // What went wrong since is on the board: these manifests are as good as before.
            (Some(checkout), _) => Some(said(&checkout)),
            (None, Some(problem)) => {
                let names = vec![PathBuf::from(&problem.file)];
                Some(Said { sources: Vec::new(), problems: vec![problem], names, revision: None, checkout: None })
            }
            (None, None) => None,
        }
    }

    /// Fetches now, then whenever the interval is over or somebody asks for it.
    async fn follow(self, board: Board, interval: Duration, mut jitter: Jitter, told: mpsc::Sender<()>) {
        let mut repository = self.0.repository.lock().await;
        let wanted = repository.wanted().clone();
        board.update(|board| {
            board.manifests.source = Some(SourceState {
                url: wanted.address.to_string(),
                branch: wanted.branch.clone(),
                path: wanted.path.clone(),
                revision: None,
                commits: Vec::new(),
                fetched: None,
                problem: None,
            });
        });
        let mut first = true;
        loop {
            let began = Instant::now();
            let fetched = tokio::select! {
                fetched = repository.fetch() => fetched,
                () = told.closed() => return,
            };
            let restored = match &fetched {
                // Nothing from before either, so far: perhaps the process before this one had something.
                Err(_) if self.now().checkout.is_none() => repository.last_good().await.and_then(Result::ok),
                _ => None,
            };
            if let Ok(fetched) = &fetched
                && std::mem::take(&mut first)
                && let Some(Ok(before)) = repository.last_good().await
                && before.revision != fetched.revision
            {
                self.now().before = Some(Arc::new(before));
            }
            let problem = fetched.as_ref().err().map(|error| self.complain(&board, error));
            let checkout = fetched.ok();
            let is_new = self.take(&board, checkout.is_some(), checkout.or(restored), problem);
            if is_new && told.send(()).await.is_err() {
                return;
            }
            let mut wait = std::pin::pin!(tokio::time::sleep(jitter.tenth(interval)));
            loop {
                tokio::select! {
                    () = self.0.accepted.notified() => self.keep(&repository).await,
                    () = &mut wait => break,
                    () = self.0.wake.notified() => {
                        tokio::time::sleep_until(began + BETWEEN_FETCHES.min(interval)).await;
                        break;
                    }
                    () = told.closed() => return,
                }
            }
            self.keep(&repository).await;
        }
    }

    /// Shows what came of a fetch; whether there is something to read that was not there before.
    fn take(&self, board: &Board, fetched: bool, checkout: Option<Checkout>, problem: Option<Diagnostic>) -> bool {
        let mut now = self.now();
        let before = now.checkout.as_ref().map(|it| it.revision.clone());
        let unread = now.checkout.is_none() && problem.is_some() && now.problem != problem;
        let is_new = checkout.as_ref().is_some_and(|it| before.as_ref() != Some(&it.revision));
        let recovered = fetched && now.problem.is_some();
        now.problem = problem;
        if is_new {
            now.checkout = checkout.map(Arc::new);
        }
        let revision = now.checkout.as_ref().map(|it| it.revision.clone());
        let commit = now.checkout.as_ref().and_then(|it| it.commit.clone());
        drop(now);
        if is_new {
            tracing::info!(revision, before, fetched, "the repository has a revision to follow");
        } else if recovered {
            tracing::info!(revision, "the repository can be followed again");
        }
        board.update(|board| {
            if let Some(source) = &mut board.manifests.source {
                source.revision = revision;
                if let Some(commit) = commit.filter(|it| source.commit(&it.revision).is_none()) {
                    source.commits.push(commit);
                    let older = source.commits.len().saturating_sub(COMMITS);
                    source.commits.drain(..older);
                }
                if fetched {
                    source.fetched = Some(jiff::Timestamp::now());
                    source.problem = None;
                }
            }
        });
        is_new || unread
    }

    /// Once for each new problem, not with every fetch.
    fn complain(&self, board: &Board, error: &GitError) -> Diagnostic {
        let diagnostic = error.diagnostic();
        if self.now().problem.as_ref() != Some(&diagnostic) {
            let consequence = match self.now().checkout {
                Some(_) => "the last good revision stays in force",
                None => "there was no good one before, so nothing is done",
            };
            tracing::warn!(reason = error.reason(), %error, "{consequence}");
        }
        board.update(|board| {
            if let Some(source) = &mut board.manifests.source {
                let since = source.problem.take().filter(|it| it.reason == error.reason()).map(|it| it.since);
                source.problem = Some(SourceProblem {
                    reason: error.reason(),
                    message: error.to_string(),
                    hint: error.hint(),
                    since: since.unwrap_or_else(jiff::Timestamp::now),
                });
            }
        });
        diagnostic
    }
}

fn said(checkout: &Arc<Checkout>) -> Said {
    let (sources, problems) = checkout.read();
    let revision = Some(checkout.revision.clone());
    Said { sources, problems, names: vec![checkout.name()], revision, checkout: Some(Arc::clone(checkout)) }
}
