//! `run -f PATH`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::args::{self, ManifestArgs, ServerArgs, SetArgs, StateArgs};
use super::identity::IdentityArgs;
use super::listen::ListenArgs;
use super::output::LogFormat;
use super::repository::GitArgs;
use super::shared::StoreArgs;
use super::{Context, Error, Exit, keeper, schedule, servers};
use crate::core::api::ConditionStatus;
use crate::shell::controller::board::Board;
use crate::shell::controller::run::{Command, Ended, Options, run as run_loop};
use crate::shell::controller::sharing::Together;
use crate::shell::controller::source::{GitSource, Source};
use crate::shell::git::Repository;
use crate::shell::store::etcd::keeper::Joining;
use crate::shell::store::etcd::{self, Client, EtcdJournals, EtcdRecords, Views};
use crate::shell::store::file::lock::{ControllerLock, Holder, LockError};
use crate::shell::store::file::{FileJournals, FileRecords};
use crate::shell::store::{Journals, Records, set_directory, state_directory};
use crate::shell::web::{self, WebState, Webhook, WebhookSecret};

/// Keeps the servers the way the manifests say, until told to stop
///
/// Watches the manifests, or follows a Git repository, and every server's events, and looks at every server again now and then without being told. What falls off is
/// put back; what fails is tried again, ever less often. Manifests that are wrong change nothing: the last good ones stay in force.
/// Networks that are no longer declared are removed, with every guard of `apply --prune`; `--no-prune` leaves them.
///
/// It answers on http://127.0.0.1:7420/ and on a socket in its state directory. Reading is free there; acting over HTTP needs a token.
///
/// SIGTERM or Ctrl-C ends what is under way first, at most 30 seconds; a second one stops at once. SIGHUP reads the manifests again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: ManifestArgs,
    #[command(flatten)]
    git: GitArgs,
    /// Follow the branch also where its history was rewritten
    #[arg(long, requires = "git", help_heading = "Manifests from Git")]
    allow_rewrite: bool,
    /// File with the secret of a webhook of GitHub, GitLab or Gitea, which then has the repository fetched at once
    #[arg(long, value_name = "FILE", requires = "git", help_heading = "Manifests from Git")]
    webhook_secret_file: Option<PathBuf>,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    identity: IdentityArgs,
    /// How often every server is looked at, and the repository fetched, without being told; give or take a tenth
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = args::parse_duration)]
    interval: Duration,
    /// How often the manifests are compared although nothing told of a change [default: 30s; 2s on network file systems]
    #[arg(long, value_name = "DURATION", value_parser = args::parse_duration)]
    poll: Option<Duration>,
    /// Leave networks that are no longer declared
    #[arg(long)]
    no_prune: bool,
    /// Remove more than max(1, 20 %) of the set's destinations of a server at once, or all of them, or disconnect more than max(5, 20 %) of its
    /// endpoints
    #[arg(long, conflicts_with = "no_prune")]
    allow_mass_delete: bool,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// How long the servers of a controller that has vanished are left to it, and about a third of how long others take to go on; 3s to 60s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_ttl, help_heading = "Shared store")]
    store_ttl: Duration,
    #[command(flatten)]
    listen: ListenArgs,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let paths = args.manifests.paths();
    if paths.iter().any(|path| path.as_os_str() == "-") {
        return Err(Error::new("standard input cannot be watched").hint("name a file or a directory with -f"));
    }
    let listening = args.listen.check()?;
    let directory = state_directory(args.state.state.as_deref())
        .map_err(|error| Error::new("there is no place for journals").caused_by(&error))?;
    let own = set_directory(&directory, &args.set.set);
    let wanted = args.git.wanted(!args.allow_rewrite)?;
    let named = match &wanted {
        Some(wanted) => vec![wanted.address.to_string()],
        None => paths.iter().map(|path| path.display().to_string()).collect(),
    };
    let lock = lock(args, named.clone(), &own)?;
    if let Err(error) = &lock {
        context.warn(&format!("{error}; nothing keeps a second controller of this set away"));
    }
    let shared = share(args)?;
    let (store, journals) = match &shared {
        Some((client, Together { shares, .. })) => (
            Arc::new(EtcdRecords::new(client.beside(), &args.set.set, Some(shares.held()))) as Arc<dyn Records>,
            Arc::new(EtcdJournals::new(client.beside(), &args.set.set, shares.held())) as Arc<dyn Journals>,
        ),
        None => (
            Arc::new(FileRecords::in_directory(&own)) as Arc<dyn Records>,
            Arc::new(FileJournals::in_state(&directory)) as Arc<dyn Journals>,
        ),
    };
    let (manifests, webhook) = match wanted {
        Some(wanted) => {
            let branch = wanted.branch.clone();
            let source = GitSource::new(Repository::new(&own, wanted));
            (Source::Git(source.clone()), webhook(args, source, branch)?)
        }
        None => (Source::Files { paths, poll: args.poll }, None),
    };
    let options = Options {
        manifests,
        set: args.set.set.clone(),
        state: args.state.state.as_deref().and_then(|path| std::path::absolute(path).ok()),
        source: Some(args.identity.identify(&args.manifests, &args.git, &args.state)?),
        interval: args.interval,
        prune: !args.no_prune,
        allow_mass_delete: args.allow_mass_delete,
        connect: servers::options(&args.servers),
        observe: servers::observation(&args.servers),
        execute: servers::execution(&args.servers),
        seed: u64::from(std::process::id()),
    };
    let board = Board::new(&args.set.set);
    if shared.is_some() {
        board.update(|content| content.fleet = Some(Arc::default()));
    }
    let ended = context.block_on(async {
        let (sender, commands) = mpsc::channel(16);
        let signals = Signals::new().map_err(|error| Error::new("signals cannot be received").caused_by(&error))?;
        let web = WebState::new(web::Shared {
            board: board.clone(),
            store: store.clone(),
            state: args.state.state.as_deref().and_then(|path| std::path::absolute(path).ok()),
            commands: sender.clone(),
            token: listening.token.clone(),
            read_token: listening.read_token.clone(),
            hosts: listening.hosts.clone(),
            webhook,
            limits: web::Limits::default(),
            planner: web::Planner::new(
                servers::options(&args.servers),
                servers::observation(&args.servers),
                Arc::clone(&journals),
            ),
            usage: listening.usage,
        });
        let listeners = listening.open(&web, &own).await?;
        tokio::spawn(web.clone().keep_measuring());
        tokio::spawn(signals.forward(sender.clone()));
        tokio::spawn(keeper::keep(directory.clone(), board.clone(), servers::options(&args.servers)));
        tokio::spawn(schedule::keep(schedule::Scheduler {
            state: directory.clone(),
            set: args.set.set.clone(),
            board: board.clone(),
            options: servers::options(&args.servers),
            commands: sender.clone(),
        }));
        let place =
            Place { directory: own.clone(), manifests: named, lock: lock.ok(), listeners, web, board: board.clone() };
        let together = shared.map(|(_, together)| together);
        let shares = together.as_ref().map(|together| together.shares.clone());
        let mut running = std::pin::pin!(run_loop(options, journals, Some(store), board, commands, together));
        let ended = tokio::select! {
            ended = &mut running => Ok(ended),
            error = place.keep() => {
                tracing::error!("{error}; this one ends");
                let _ = sender.send(Command::Stop).await;
                running.await;
                Err(Error::new("the state directory was removed, and another controller has it now").caused_by(&error))
            }
        };
        if let Some(shares) = shares {
            shares.stop().await;
        }
        ended
    })??;
    Ok(match ended {
        Ended::Drained => Exit::Done,
        Ended::Aborted => Exit::Interrupted,
    })
}

/// This controller's part in a fleet.
fn share(args: &Args) -> Result<Option<(Client, Together)>, Error> {
    let Some(client) = args.store.client()? else { return Ok(None) };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(|it| it.is_ascii_alphanumeric() || "-.".contains(*it)).take(63).collect();
    let joining = Joining { client: client.clone(), set: args.set.set.clone(), host, ttl: args.store_ttl };
    let started = etcd::keeper::start(joining);
    let (shares, heard) = started.map_err(|error| Error::new("the locks have no thread").caused_by(&error))?;
    let views = Views::new(client.beside(), &args.set.set, shares.held());
    Ok(Some((client, Together { shares, heard, views })))
}

/// etcd counts whole seconds, and loses its leader for one or two.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    match args::parse_duration(text)? {
        ttl if ttl.subsec_nanos() == 0 && (3..=60).contains(&ttl.as_secs()) => Ok(ttl),
        _ => Err("whole seconds, 3 to 60".to_owned()),
    }
}

/// Type of the controller's own condition about the set's directory.
const STATE_KEPT: &str = "StateKept";
/// Between two looks whether the set's directory is still there.
const LOOK: Duration = Duration::from_secs(1);

/// The set's directory, with what is this controller's in it. It may be removed at any time: then it is made again.
struct Place {
    directory: PathBuf,
    manifests: Vec<String>,
    lock: Option<ControllerLock>,
    listeners: web::Listeners,
    web: WebState,
    board: Board,
}

impl Place {
    /// Ends with the lock of another controller.
    async fn keep(mut self) -> LockError {
        let mut told = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(lock) = &self.lock else {
                self.listen().await;
                continue;
            };
            if !lock.is_lost() {
                self.listen().await;
                continue;
            }
            let directory = self.directory.display().to_string();
            match acquire(self.manifests.clone(), &self.directory) {
                Ok(lock) => {
                    self.lock = Some(lock);
                    self.listen().await;
                    let message =
                        format!("{directory} was removed and is made again; the history and journals in it are gone.");
                    tracing::warn!("{message}");
                    self.board.set_condition(STATE_KEPT, ConditionStatus::True, "MadeAgain", &message);
                    told = false;
                }
                Err(error @ LockError::Held { .. }) => return error,
                Err(error) if !told => {
                    told = true;
                    let message = format!(
                        "{directory} was removed and cannot be made again: {error}. Nothing keeps a second controller away."
                    );
                    tracing::error!("{message}");
                    self.board.set_condition(STATE_KEPT, ConditionStatus::False, "Removed", &message);
                }
                Err(_) => {}
            }
        }
    }

    /// Listens on the socket again where it is gone.
    async fn listen(&mut self) {
        if self.listeners.has_lost_socket()
            && let Err(error) = self.listeners.socket(&self.web, &self.directory).await
        {
            tracing::debug!(%error, "the socket is gone and cannot be made again");
        }
    }
}

fn acquire(manifests: Vec<String>, directory: &Path) -> Result<ControllerLock, LockError> {
    let holder = Holder { pid: std::process::id(), since: jiff::Timestamp::now(), manifests };
    ControllerLock::acquire(directory, &holder)
}

/// One controller a set on this machine. A lock that cannot be had for another reason than a controller is gone without: two do no harm.
fn lock(args: &Args, manifests: Vec<String>, directory: &Path) -> Result<Result<ControllerLock, LockError>, Error> {
    match acquire(manifests, directory) {
        Err(error @ LockError::Held { .. }) => {
            Err(Error::new(format!("another `landfall run` keeps the set {:?} already", args.set.set))
                .because(error.to_string())
                .hint("stop that one, or keep another set with --set"))
        }
        outcome => Ok(outcome),
    }
}

fn webhook(args: &Args, source: GitSource, branch: Option<String>) -> Result<Option<Webhook>, Error> {
    let Some(file) = &args.webhook_secret_file else { return Ok(None) };
    let secret = WebhookSecret::read(file)
        .map_err(|error| Error::new(format!("--webhook-secret-file {}", file.display())).caused_by(&error))?;
    Ok(Some(Webhook::new(secret, source, branch)))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn forward(mut self, sender: mpsc::Sender<Command>) {
        loop {
            let command = tokio::select! {
                _ = self.terminate.recv() => Command::Stop,
                _ = self.interrupt.recv() => Command::Stop,
                _ = self.hangup.recv() => Command::Reload,
            };
            if sender.send(command).await.is_err() {
                return;
            }
        }
    }
}
