//! The loop of `landfall run` within the test: with its board to read and its commands to send.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall::shell::controller::board::{Board, Content};
use landfall::shell::controller::run::{Command, Ended, Options, run};
use landfall::shell::controller::source::Source;
use landfall::shell::engine::connect::ConnectOptions;
use landfall::shell::execute::Limits;
use landfall::shell::observe::ObserveLimits;
use landfall::shell::store::file::FileJournals;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Running {
    pub(super) board: Board,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<Ended>,
}

impl Running {
    /// Follows `manifests/` in `directory`. It resyncs so seldom that what happens happens because something told.
    pub(super) fn start(directory: &Path) -> Self {
        Self::start_with(directory, |_| ())
    }

    pub(super) fn start_with(directory: &Path, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            manifests: Source::Files { paths: vec![directory.join("manifests")], poll: None },
            set: "default".to_owned(),
            state: None,
            source: None,
            interval: Duration::from_secs(3600),
            prune: true,
            allow_mass_delete: false,
            connect: ConnectOptions::default(),
            observe: ObserveLimits::default(),
            execute: Limits::default(),
            seed: 1,
        };
        change(&mut options);
        let board = Board::new("default");
        let (commands, receiver) = mpsc::channel(16);
        let task = tokio::spawn(run(
            options,
            Arc::new(FileJournals::in_state(directory)),
            None,
            board.clone(),
            receiver,
            None,
        ));
        Self { board, commands, task }
    }

    pub(super) async fn send(&self, command: Command) {
        self.commands.send(command).await.unwrap();
    }

    /// Waits for the board to show something.
    pub(super) async fn shows<T>(&self, what: &str, look: impl Fn(&Content) -> Option<T>) -> T {
        let mut changes = self.board.changes();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(&self.board.read()) {
                return found;
            }
            let next = tokio::time::timeout_at(deadline.into(), changes.changed()).await;
            assert!(next.is_ok(), "{what} is not shown: {:#?}", *self.board.read());
        }
    }

    /// A whole pass that begins after this.
    pub(super) async fn another_pass(&self) {
        // The first to end may have been under way already.
        for _ in 0..2 {
            let before = self.board.read().counts.passes;
            self.send(Command::Reconcile { server: None }).await;
            self.shows("another pass", |board| (board.counts.passes > before).then_some(())).await;
        }
    }

    pub(super) async fn stop(self) -> Ended {
        self.send(Command::Stop).await;
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap()
    }
}
