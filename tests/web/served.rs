//! The web part on an address of its own, with a board that the test writes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use landfall::core::manifest::{self, Source};
use landfall::core::report::Report;
use landfall::core::status::Status;
use landfall::shell::controller::board::{Board, ServerState};
use landfall::shell::controller::run::Command;
use landfall::shell::engine::connect::ConnectOptions;
use landfall::shell::observe::ObserveLimits;
use landfall::shell::store::file::FileJournals;
use landfall::shell::web::{AllowedHosts, Limits, Listeners, Planner, Shared, Token, WebState, Webhook};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::client::{self, Answer};
use crate::support::scenario::Scenario;

pub(crate) const TOKEN: &str = "a-token-of-the-test";

/// Served until dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) board: Board,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) socket: PathBuf,
    web: WebState,
    listeners: Option<Listeners>,
    // The directory of the socket.
    _state: tempfile::TempDir,
    runtime: Runtime,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::with(Some(Token::new(TOKEN).unwrap()))
    }

    pub(crate) fn with(token: Option<Token>) -> Self {
        Self::start(token, None, Limits::default())
    }

    pub(crate) fn with_webhook(token: Option<Token>, webhook: Option<Webhook>) -> Self {
        Self::start(token, webhook, Limits::default())
    }

    /// Reading takes this token beyond loopback.
    pub(crate) fn with_read_token(token: &str) -> Self {
        let act = Some(Token::new(TOKEN).unwrap());
        Self::started(act, Some(Token::new(token).unwrap()), None, Limits::default(), false)
    }

    /// It shows what containers use.
    pub(crate) fn that_measures() -> Self {
        Self::started(Some(Token::new(TOKEN).unwrap()), None, None, Limits::default(), true)
    }

    /// What these manifests declare, before any pass.
    pub(crate) fn declare(&self, manifests: &str) {
        let source = Source { name: "all.yaml".to_owned(), bytes: manifests.as_bytes().to_vec() };
        let desired = manifest::load(&[source]).unwrap().desired("default");
        self.board.update(|board| {
            board.declared = Arc::new(desired);
            board.manifests.generation = 1;
        });
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::start(Some(Token::new(TOKEN).unwrap()), None, limits)
    }

    pub(crate) fn start(token: Option<Token>, webhook: Option<Webhook>, limits: Limits) -> Self {
        Self::started(token, None, webhook, limits, false)
    }

    fn started(
        token: Option<Token>,
        read_token: Option<Token>,
        webhook: Option<Webhook>,
        limits: Limits,
        usage: bool,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (sender, commands) = mpsc::channel(4);
        let board = Board::new("default");
        let state = tempfile::tempdir().unwrap();
        let web = WebState::new(Shared {
            board: board.clone(),
            store: Arc::new(landfall::shell::store::file::FileRecords::in_directory(state.path())),
            state: None,
            commands: sender,
            token,
            read_token,
            hosts: AllowedHosts(vec!["landfall.example.com".to_owned()]),
            webhook,
            limits,
            planner: Planner::new(
                ConnectOptions::default(),
                ObserveLimits::default(),
                Arc::new(FileJournals::in_state(state.path())),
            ),
            usage,
        });
        let (listeners, address, socket) = runtime.block_on(async {
            let mut listeners = Listeners::default();
            let socket = listeners.socket(&web, state.path()).await.unwrap();
            let address = listeners.tcp(&web, "127.0.0.1:0".parse().unwrap()).await.unwrap();
            (listeners, address, socket)
        });
        Self { address, board, commands, socket, web, listeners: Some(listeners), _state: state, runtime }
    }

    /// One round of the meter, as `run --usage` does it every 30 s.
    pub(crate) fn measure(&self) {
        self.runtime.block_on(self.web.measure());
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        client::get(self.address, path)
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        client::request(self.address, &format!("POST {path}"), headers)
    }

    /// Shows what a pass over these states comes to, as the loop does.
    pub(crate) fn show(&self, scenario: &Scenario) {
        self.show_report(scenario, &Report::planned(scenario.plan()));
    }

    pub(crate) fn show_report(&self, scenario: &Scenario, report: &Report) {
        let (desired, observed) = (&scenario.desired, &scenario.observed);
        self.board.update(|board| {
            let mut declared = (*board.declared).clone();
            declared.servers.extend(desired.servers.clone());
            board.declared = Arc::new(declared);
            board.manifests.generation = 1;
        });
        for server in desired.servers.keys() {
            let status = Status::new(desired, observed, report);
            let shown = ServerState::new(server, 1, jiff::Timestamp::now(), status, report.document());
            self.board.passed(server, shown, report);
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the loop was asked to do.
    pub(crate) fn asked(&mut self) -> Option<Command> {
        Some(match self.commands.try_recv().ok()? {
            Command::By { command, .. } => *command,
            command => command,
        })
    }

    /// Who has asked for something last.
    pub(crate) fn who(&mut self) -> Option<String> {
        match self.commands.try_recv().ok()? {
            Command::By { who, .. } => Some(who),
            _ => None,
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.listeners = None;
    }
}
