//! Executes a plan: one engine call per operation, and no decision about what ought to be.
//!
//! Servers go in parallel, and so do the groups of one server that do not wait for each other (`core/plan/document/order.rs`, `schedule.rs`). When an
//! operation fails, the rest of its group is skipped and what the group had done is undone in reverse; the undoing is in the report, with the
//! cause `Rollback`. Groups that do not go on with what it was to bring about are done all the same.
//!
//! A plan is made from a look that is some moments old, and others act on the same daemon. So every call that relies on more than the ids it
//! names is preceded by another look, and every answer that did not come is followed by one (`call.rs`). Two executors at work on the same
//! server do no harm, and one that is killed at any point leaves something that the next plan completes: nothing here needs a lock.

mod call;
mod compose;
mod group;
mod job;
mod refresh;
mod removal;
mod schedule;
mod service;
mod stack;
mod workload;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt};

use crate::core::api::ObjectKey;
use crate::core::plan::{Journal, Operation, Plan, ServerPlan};
use crate::core::report::{Outcome, Report, ServerReport};
use crate::shell::engine::Writer;
use crate::shell::store::Journals;
use call::Caller;
use group::Ended;
use schedule::{Callers, ServerRun};

/// Connections to the servers of a plan.
pub type Writers = BTreeMap<ObjectKey, Arc<dyn Writer>>;

/// Told about every operation as it happens, undoing included. Must not block.
pub trait Progress: Send + Sync {
    fn started(&self, _server: &ObjectKey, _operation: &Operation) {}
    fn finished(&self, _server: &ObjectKey, _operation: &Operation, _outcome: &Outcome) {}
    /// Something on the way: of an operation that consists of many things, in another program's words.
    fn step(&self, _server: &ObjectKey, _text: &str) {}
    /// How far the pull of an image is: bytes that have come, and bytes that are known of.
    fn pulled(&self, _server: &ObjectKey, _reference: &str, _come: u64, _known: u64) {}
    /// Asked before each group: what is under way is completed, and the rest is skipped.
    fn stopped(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Progress for () {}

/// Bounds of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub servers_at_once: usize,
    /// For one call, in case that the transport has no bound of its own or fails to keep it.
    pub call: Duration,
    /// How long to wait for something that another applier or the daemon is about to finish.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { servers_at_once: 32, call: Duration::from_secs(150), settle: Duration::from_secs(2) }
    }
}

/// Does what the plan says and reports what became of it.
pub async fn execute(
    plan: &Plan,
    writers: &Writers,
    journals: &dyn Journals,
    progress: &dyn Progress,
    limits: Limits,
) -> Report {
    // Boxed and collected: kept as a mapped iterator, the compiler cannot see that the whole may move between threads.
    let run = |server| execute_server(server, writers, journals, progress, limits).boxed();
    let runs: Vec<_> = plan.servers.iter().map(run).collect();
    // As they end: one that takes long must not keep the next from beginning.
    let mut servers: Vec<ServerReport> =
        futures::stream::iter(runs).buffer_unordered(limits.servers_at_once.max(1)).collect().await;
    servers.sort_by_key(|report| plan.servers.iter().position(|server| server.server == report.server));
    Report { set: plan.set.clone(), revision: None, servers, notes: plan.notes.clone(), prune: Vec::new() }
}

async fn execute_server(
    plan: &ServerPlan,
    writers: &Writers,
    journals: &dyn Journals,
    progress: &dyn Progress,
    limits: Limits,
) -> ServerReport {
    let engines = Engines::new(plan, writers);
    let caller = |engine| Caller {
        engine,
        manager: engines.manager,
        others: &engines.others,
        limits,
        server: &plan.server,
        progress,
    };
    let callers = Callers { own: engines.own.map(caller), manager: engines.manager.map(caller) };
    let run = ServerRun { server: &plan.server, journals, progress, known: Mutex::default() };
    let ends = run.all(&plan.groups, callers).await;
    let unfinished: Vec<&Journal> = ends
        .iter()
        .zip(&plan.groups)
        .filter(|(end, _)| end.ended != Ended::Done)
        .flat_map(|(_, it)| &it.completes)
        .collect();
    let restored =
        plan.groups.iter().flat_map(|group| &group.completes).filter(|journal| !unfinished.contains(journal));
    for journal in restored.chain(&plan.settled) {
        forget(journals, journal).await;
    }
    let mut report = ServerReport {
        server: plan.server.clone(),
        server_type: plan.server_type,
        manager: plan.manager().cloned(),
        operations: Vec::new(),
        notes: plan.notes.clone(),
    };
    // As the plan has them, whichever was through first.
    for end in ends {
        report.operations.extend(end.operations);
        report.notes.extend(end.notes);
    }
    report
}

/// The engines that a server's part of the plan has to do with.
struct Engines<'a> {
    own: Option<&'a dyn Writer>,
    /// Of the Swarm that the server is part of: its own if it is a manager.
    manager: Option<&'a dyn Writer>,
    /// The nodes of that Swarm, the two above among them.
    others: Vec<(&'a ObjectKey, &'a dyn Writer)>,
}

impl<'a> Engines<'a> {
    fn new(plan: &'a ServerPlan, writers: &'a Writers) -> Self {
        let engine = |server: &ObjectKey| writers.get(server).map(AsRef::as_ref);
        let own = engine(&plan.server);
        let Some(swarm) = &plan.swarm else { return Self { own, manager: None, others: Vec::new() } };
        let mut nodes: Vec<&ObjectKey> = [&plan.server, &swarm.manager].into_iter().chain(&swarm.nodes).collect();
        nodes.sort();
        nodes.dedup();
        let others = nodes.into_iter().filter_map(|key| Some((key, engine(key)?))).collect();
        Self { own, manager: engine(&swarm.manager), others }
    }
}

/// A journal that stays by mistake is found settled by the next plan: nothing a user has to know.
async fn forget(journals: &dyn Journals, journal: &Journal) {
    if let Err(error) = journals.remove(journal).await {
        tracing::warn!(destination = %journal.destination, %error, "a journal that is done with could not be removed");
    }
}
