//! The loop on a repository: what is pushed comes into force, and what is wrong with it changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use landfall::shell::controller::board::{Board, Content};
use landfall::shell::controller::run::{Command, Options, run};
use landfall::shell::controller::source::{GitSource, Source};
use landfall::shell::engine::connect::ConnectOptions;
use landfall::shell::execute::Limits;
use landfall::shell::git::Repository;
use landfall::shell::observe::ObserveLimits;
use landfall::shell::store::file::FileJournals;
use tokio::sync::mpsc;

use super::{Copy, block_on};
use crate::cli::world::server;
use crate::support::Host;
use crate::support::repository::{Http, HttpForge, Upstream};

const NOBODY: &str = "unix:///nonexistent/docker.sock";

/// A loop in this process, an hour between two looks: what happens happens because it was told.
struct Following {
    board: Board,
    source: GitSource,
    commands: mpsc::Sender<Command>,
}

impl Following {
    fn start(copy: &Copy, repository: Repository) -> Self {
        let board = Board::new("default");
        let (commands, receiver) = mpsc::channel(4);
        let source = GitSource::new(repository);
        let options = Options {
            state: None,
            manifests: Source::Git(source.clone()),
            set: "default".to_owned(),
            source: None,
            interval: Duration::from_secs(3600),
            prune: true,
            allow_mass_delete: true,
            connect: ConnectOptions::default(),
            observe: ObserveLimits::default(),
            execute: Limits::default(),
            seed: 1,
        };
        tokio::spawn(run(options, Arc::new(FileJournals::in_state(copy.state())), None, board.clone(), receiver, None));
        Self { board, source, commands }
    }

    async fn until(&self, what: &str, condition: impl Fn(&Content) -> bool) {
        let mut changes = self.board.changes();
        let work = async {
            while !condition(&self.board.read()) {
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), work).await.is_err() {
            panic!("{what} does not come about: {:#?}", *self.board.read());
        }
    }

    async fn reload(&self) {
        self.commands.send(Command::Reload).await.unwrap();
    }
}

fn problem(content: &Content) -> Option<&'static str> {
    content.manifests.source.as_ref()?.problem.as_ref().map(|problem| problem.reason)
}

fn destination(name: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\n\
         spec: {{ server: infra/edge, network: {{ name: {name}-net }}, proxy: false }}\n"
    )
}

#[test]
fn what_is_pushed_is_brought_about_and_what_is_pushed_by_force_is_not() {
    let host = Host::start();
    let has = |name: &str| !host.network_ids(name).is_empty();
    let upstream = Upstream::with(&[("server.yaml", &server(&host.endpoint())), ("web.yaml", &destination("web"))]);
    let copy = Copy::of_path(&upstream.bare());
    block_on(async {
        let following = Following::start(&copy, copy.repository());
        let first = upstream.head();
        following.until("the first pass", |board| !board.servers.is_empty()).await;
        assert_eq!(following.board.read().manifests.revision.as_deref(), Some(first.as_str()));
        assert!(has("web-net"));

        let second = upstream.commit(&[("data.yaml", &destination("data"))]);
        following.reload().await;
        following.until("the new revision", |board| board.manifests.revision.as_ref() == Some(&second)).await;
        following.until("its pass", |_| has("data-net")).await;

        // Without web.yaml and with another past: nothing of it is done, and nothing is removed.
        upstream.work(&["rm", "--quiet", "web.yaml"]);
        upstream.work(&["commit", "--quiet", "--amend", "--message=rewritten"]);
        upstream.push(&["--force"]);
        following.reload().await;
        following.until("the refusal", |board| problem(board) == Some("HistoryRewritten")).await;
        following.commands.send(Command::Reconcile { server: None }).await.unwrap();
        let passes = following.board.read().counts.passes;
        following.until("one more pass", |board| board.counts.passes > passes).await;
        assert_eq!(following.board.read().manifests.revision, Some(second));
        assert!(has("web-net") && has("data-net"));
    });
}

#[test]
fn a_controller_that_starts_while_the_remote_is_gone_goes_on_with_the_last_good_revision() {
    let upstream = Upstream::with(&[("server.yaml", &server(NOBODY)), ("web.yaml", &destination("web"))]);
    let copy = Copy::of_path(&upstream.bare());
    let head = super::fetch(&mut copy.repository()).unwrap().revision.clone();
    std::fs::rename(upstream.bare(), upstream.path().join("moved.git")).unwrap();
    block_on(async {
        let following = Following::start(&copy, copy.repository());
        following.until("manifests", |board| board.manifests.revision.as_ref() == Some(&head)).await;
        following.until("the complaint", |board| problem(board) == Some("FetchFailed")).await;
        assert!(following.board.read().manifests.problems.is_empty());

        std::fs::rename(upstream.path().join("moved.git"), upstream.bare()).unwrap();
        let next = upstream.commit(&[("data.yaml", &destination("data"))]);
        following.reload().await;
        following.until("the next revision", |board| board.manifests.revision.as_ref() == Some(&next)).await;
        assert_eq!(problem(&following.board.read()), None);
    });
}

#[test]
fn manifests_that_are_wrong_leave_the_former_revision_in_force_and_are_named_as_in_the_repository() {
    let upstream = Upstream::with(&[("prod/server.yaml", &server(NOBODY)), ("prod/web.yaml", &destination("web"))]);
    let copy = Copy::of_path(&upstream.bare()).at("prod");
    block_on(async {
        let following = Following::start(&copy, copy.repository());
        let first = upstream.head();
        following.until("manifests", |board| board.manifests.revision.as_ref() == Some(&first)).await;
        let wrong = upstream.commit(&[("prod/web.yaml", "apiVersion: landfall/v1\nkind: Destinaton\n")]);
        following.reload().await;
        following.until("the problem", |board| !board.manifests.problems.is_empty()).await;
        let board = following.board.read();
        assert_eq!(board.manifests.problems[0].file, "prod/web.yaml");
        assert_eq!(board.manifests.revision, Some(first));
        assert_eq!(board.manifests.source.as_ref().unwrap().revision, Some(wrong));
    });
}

#[test]
fn nothing_ever_fetched_is_a_problem_and_no_empty_set() {
    let gone = Path::new("/nonexistent/shop.git");
    let copy = Copy::of_path(gone);
    block_on(async {
        let following = Following::start(&copy, copy.repository());
        following.until("the problem", |board| !board.manifests.problems.is_empty()).await;
        let board = following.board.read();
        assert_eq!((board.manifests.generation, problem(&board)), (0, Some("FetchFailed")));
        assert!(board.manifests.problems[0].to_string().contains("/nonexistent/shop.git"));
    });
}

#[test]
fn a_flood_of_requests_to_fetch_is_few_fetches() {
    let upstream = Upstream::with(&[("server.yaml", &server(NOBODY)), ("web.yaml", &destination("web"))]);
    let forge = HttpForge::serve(&upstream.bare(), Http::Smart, None);
    let copy = Copy::of(forge.url());
    block_on(async {
        let following = Following::start(&copy, copy.repository());
        let first = upstream.head();
        following.until("manifests", |board| board.manifests.revision.as_ref() == Some(&first)).await;
        let next = upstream.commit(&[("data.yaml", &destination("data"))]);
        let before = forge.begun();
        for _ in 0..1000 {
            following.source.refresh();
            tokio::task::yield_now().await;
        }
        following.until("the next revision", |board| board.manifests.revision.as_ref() == Some(&next)).await;
        let fetches = forge.begun() - before;
        assert!((1..=2).contains(&fetches), "{fetches} fetches");
    });
}

const WRONG: &str = "apiVersion: landfall/v1\nkind: Destinaton\n";

#[test]
fn a_commit_that_was_never_in_force_may_be_taken_back_by_force_and_nothing_else_may() {
    let upstream = Upstream::with(&[("server.yaml", &server(NOBODY)), ("web.yaml", &destination("web"))]);
    let copy = Copy::of_path(&upstream.bare());
    block_on(async {
        let following = Following::start(&copy, copy.repository());
        let good = upstream.commit(&[("data.yaml", &destination("data"))]);
        following.until("manifests", |board| board.manifests.revision.as_ref() == Some(&good)).await;

        upstream.commit(&[("web.yaml", WRONG)]);
        following.reload().await;
        following.until("the problem", |board| !board.manifests.problems.is_empty()).await;

        // The end of the branch goes, and with it nothing that was in force.
        upstream.work(&["reset", "--quiet", "--hard", &good]);
        upstream.push(&["--force"]);
        following.reload().await;
        following.until("good manifests", |board| board.manifests.problems.is_empty()).await;
        {
            let board = following.board.read();
            assert_eq!(board.manifests.revision.as_ref(), Some(&good));
            assert_eq!(problem(&board), None);
            assert_eq!(board.manifests.conditions[0].reason, "ManifestValid");
            let told = board.recent.iter().map(|event| event.reason.as_str());
            let told: Vec<_> = told.filter(|reason| reason.starts_with("Manifest")).collect();
            assert_eq!(told, ["ManifestValid", "ManifestInvalid"]);
        }

        // Another wrong commit, taken back together with one that was in force.
        upstream.commit(&[("web.yaml", WRONG)]);
        following.reload().await;
        following.until("the problem", |board| !board.manifests.problems.is_empty()).await;
        upstream.work(&["reset", "--quiet", "--hard", &format!("{good}~1")]);
        upstream.push(&["--force"]);
        following.reload().await;
        following.until("the refusal", |board| problem(board) == Some("HistoryRewritten")).await;
        assert_eq!(following.board.read().manifests.revision, Some(good));
    });
}

#[test]
fn a_controller_that_starts_on_wrong_manifests_goes_on_with_those_that_were_in_force() {
    let upstream = Upstream::with(&[("server.yaml", &server(NOBODY)), ("web.yaml", &destination("web"))]);
    let copy = Copy::of_path(&upstream.bare());
    let good = super::fetch(&mut copy.repository()).unwrap().revision.clone();
    let wrong = upstream.commit(&[("web.yaml", WRONG)]);
    block_on(async {
        let following = Following::start(&copy, copy.repository());
        following.until("manifests", |board| board.manifests.revision.as_ref() == Some(&good)).await;
        following.until("the problem", |board| !board.manifests.problems.is_empty()).await;
        {
            let board = following.board.read();
            assert_eq!(board.declared.destinations().count(), 1);
            assert_eq!(board.manifests.source.as_ref().unwrap().revision, Some(wrong));
            assert!(board.manifests.conditions[0].message.ends_with("The last good manifests stay in force."));
        }

        let next = upstream.commit(&[("web.yaml", &destination("web")), ("data.yaml", &destination("data"))]);
        following.reload().await;
        following.until("the next revision", |board| board.manifests.revision.as_ref() == Some(&next)).await;
        assert_eq!(following.board.read().declared.destinations().count(), 2);
    });
}
