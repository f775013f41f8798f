//! Executes a plan: one engine call per operation, and no decision about what ought to be.
//!
//! Servers go in parallel, the groups of one server one after another, for a daemon does one change at a time anyway. When an operation
//! fails, the rest of its group is skipped and what the group had done is undone in reverse; the undoing is in the report, with the cause
//! `Rollback`. Other groups go on.
//!
//! A plan is made from a look that is some moments old, and others act on the same daemon. So every call that relies on more than the ids it
//! names is preceded by another look, and every answer that did not come is followed by one (`call.rs`). Two executors at work on the same
//! server do no harm, and one that is killed at any point leaves something that the next plan completes: nothing here needs a lock.

mod call;
mod compose;
mod job;
mod refresh;
mod removal;
mod service;
mod stack;
mod workload;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::core::api::ObjectKey;
use crate::core::observed::{NetworkId, ServiceId};
use crate::core::plan::workload::call::{ContainerRef, WorkloadCall};
use crate::core::plan::{
    Call, Cause, Connection, ContainerTarget, Group, Journal, JournalPurpose, NetworkChange, NetworkTarget, Note,
    Operation, PartyId, Plan, Reason, ServerPlan, ServiceTarget,
};
use crate::core::report::{Failure, OperationReport, Outcome, Report, ServerReport};
use crate::shell::engine::Writer;
use crate::shell::store::Journals;
use call::{Caller, Mishap, POLL};

/// Connections to the servers of a plan.
pub type Writers = BTreeMap<ObjectKey, Arc<dyn Writer>>;

/// How long a further update of a service waits for the rollout of the one before, of the same plan, and a container for that of another applier.
const ROLLOUT: Duration = Duration::from_secs(120);

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
    let mut run = ServerRun {
        server: &plan.server,
        caller: engines.own.map(caller),
        manager: engines.manager.map(caller),
        journals,
        progress,
        created: BTreeMap::new(),
        connected: BTreeSet::new(),
        updated: BTreeSet::new(),
        made: BTreeMap::new(),
        ready: Vec::new(),
        report: ServerReport {
            server: plan.server.clone(),
            server_type: plan.server_type,
            manager: plan.manager().cloned(),
            operations: Vec::new(),
            notes: plan.notes.clone(),
        },
    };
    let mut unfinished: Vec<&Journal> = Vec::new();
    let mut rest = plan.groups.as_slice();
    while let Some((group, others)) = rest.split_first() {
        run.heed();
        let rollouts = rest.iter().take_while(|group| is_rollout(group)).count();
        if rollouts > 1 {
            let (together, later) = rest.split_at(rollouts);
            for group in run.side_by_side(together).await {
                unfinished.extend(&group.completes);
            }
            rest = later;
            continue;
        }
        if run.group(group).await != Ended::Done {
            unfinished.extend(&group.completes);
        }
        rest = others;
    }
    let restored =
        plan.groups.iter().flat_map(|group| &group.completes).filter(|journal| !unfinished.contains(journal));
    for journal in restored.chain(&plan.settled) {
        forget(journals, journal).await;
    }
    run.report
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

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// It failed, and everything is as it was.
    Undone,
    /// It failed, and not everything could be put back.
    Halfway,
}

/// One server's part of an execution.
struct ServerRun<'a> {
    server: &'a ObjectKey,
    /// `None` once the server does not answer: what is left is skipped instead of timing out call by call.
    caller: Option<Caller<'a>>,
    /// For the calls that go to a manager of the Swarm. `None`: there is none, or it does not answer.
    manager: Option<Caller<'a>>,
    journals: &'a dyn Journals,
    progress: &'a dyn Progress,
    /// Networks that this plan has created, by name.
    created: BTreeMap<String, NetworkId>,
    /// Connections that this plan has made, and that were seen in place.
    connected: BTreeSet<(PartyId, NetworkId)>,
    /// Services that this plan has updated.
    updated: BTreeSet<ServiceId>,
    /// Containers that this plan has made, by the name that they were made with.
    made: BTreeMap<String, ContainerTarget>,
    /// Managed containers that this plan has seen ready, and whose they are.
    ready: Vec<(ObjectKey, ContainerTarget)>,
    report: ServerReport,
}

/// Rollouts of one server that are under way at the same time: what they take is waiting for images and for health.
const SIDE_BY_SIDE: usize = 32;

/// It makes a managed container, or has one take over; and does not only take one away, which is done in the order of the plan.
fn is_rollout(group: &Group) -> bool {
    group.operations.iter().any(|operation| match &operation.call {
        Call::Workload(call) => !matches!(
            **call,
            WorkloadCall::StopContainer { .. }
                | WorkloadCall::RemoveContainer { .. }
                | WorkloadCall::ClearContainer { .. }
                | WorkloadCall::RemoveService { .. }
                | WorkloadCall::StackRemove { .. }
                | WorkloadCall::RemoveSecret { .. }
        ),
        _ => false,
    })
}

/// Those of the groups that wait for none of the others, and the rest, each in their order.
fn independent(groups: Vec<&Group>) -> (Vec<&Group>, Vec<&Group>) {
    let mut before: BTreeSet<&ObjectKey> = BTreeSet::new();
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for group in groups {
        let waits = needed(group).iter().any(|object| before.contains(object));
        before.insert(&group.object);
        if waits { later.push(group) } else { now.push(group) }
    }
    (now, later)
}

/// The resources of a managed one's group that have to be in place for it: itself as far as it is brought about, and what it depends on.
fn needed(group: &Group) -> BTreeSet<&ObjectKey> {
    let calls = group.operations.iter().filter_map(|operation| match &operation.call {
        Call::Workload(call) => Some(call),
        _ => None,
    });
    let mut needed = BTreeSet::new();
    for call in calls {
        needed.insert(&group.object);
        needed.extend(call.after());
    }
    needed
}

impl<'a> ServerRun<'a> {
    /// Begins nothing more once whoever watches has said so.
    fn heed(&mut self) {
        if self.progress.stopped() {
            self.caller = None;
            self.manager = None;
        }
    }

    /// Rollouts of different resources at the same time, those of one after what it depends on. Returns the groups that did not end well.
    async fn side_by_side<'g>(&mut self, groups: &'g [Group]) -> Vec<&'g Group> {
        let mut unfinished = Vec::new();
        let mut waiting: Vec<&Group> = groups.iter().collect();
        while !waiting.is_empty() {
            self.heed();
            let (now, later) = independent(waiting);
            waiting = later;
            let runs: Vec<_> = now
                .iter()
                .enumerate()
                .map(|(at, group)| {
                    let mut run = self.apart();
                    async move {
                        let ended = run.group(group).await;
                        (at, run, ended)
                    }
                    .boxed()
                })
                .collect();
            let known = self.report.operations.iter().filter(|it| is_lacking(it)).count();
            let ready = self.ready.len();
            let mut done: Vec<(usize, ServerRun<'a>, Ended)> =
                futures::stream::iter(runs).buffer_unordered(SIDE_BY_SIDE).collect().await;
            // As the plan has them, whichever was through first.
            done.sort_by_key(|(at, ..)| *at);
            for (at, run, ended) in done {
                self.join(run, known, ready);
                if ended != Ended::Done {
                    unfinished.push(now[at]);
                }
            }
        }
        unfinished
    }

    /// The same run for one group beside others: it knows what was brought about until now, and what was not.
    fn apart(&self) -> Self {
        ServerRun {
            server: self.server,
            caller: self.caller,
            manager: self.manager,
            journals: self.journals,
            progress: self.progress,
            created: self.created.clone(),
            connected: self.connected.clone(),
            updated: self.updated.clone(),
            made: self.made.clone(),
            ready: self.ready.clone(),
            report: ServerReport {
                server: self.report.server.clone(),
                server_type: self.report.server_type,
                manager: self.report.manager.clone(),
                operations: self.report.operations.iter().filter(|it| is_lacking(it)).cloned().collect(),
                notes: Vec::new(),
            },
        }
    }

    /// What was done apart; `known` and `ready`: how many operations and containers it was told of.
    fn join(&mut self, run: ServerRun<'a>, known: usize, ready: usize) {
        self.caller = self.caller.and(run.caller);
        self.manager = self.manager.and(run.manager);
        self.created.extend(run.created);
        self.connected.extend(run.connected);
        self.updated.extend(run.updated);
        self.made.extend(run.made);
        self.ready.extend(run.ready.into_iter().skip(ready));
        self.report.operations.extend(run.report.operations.into_iter().skip(known));
        self.report.notes.extend(run.report.notes);
    }
}

/// It was not done.
fn is_lacking(report: &OperationReport) -> bool {
    matches!(report.outcome, Outcome::Failed(_) | Outcome::Skipped)
}

impl ServerRun<'_> {
    async fn group(&mut self, group: &Group) -> Ended {
        let mut rest = group.operations.iter();
        let mut undo: Vec<&Operation> = Vec::new();
        // What another applier has brought about is not for this one to undo.
        let mut of_another = false;
        let mut ended = Ended::Done;
        let ready = group.needs.iter().all(|need| self.is_in_place(need)) && !self.is_without_base(group);
        if self.caller.is_none() || !ready {
            ended = Ended::Undone;
        } else if let Err(failure) = self.prepare(group).await {
            ended = Ended::Undone;
            if let Some(first) = rest.next() {
                self.record(first, Outcome::Failed(failure));
            }
        }
        while ended == Ended::Done
            && let Some(operation) = rest.next()
        {
            match self.perform(operation, &operation.call, &BTreeMap::new()).await {
                Performed::Done { created, by_another } => {
                    of_another |= by_another;
                    undo.push(operation);
                    if let (Call::CreateNetwork(create), Some(id)) = (&operation.call, created) {
                        self.created.insert(create.name.clone(), id);
                    }
                }
                Performed::Not { applied } => {
                    if applied {
                        undo.push(operation);
                    }
                    ended = Ended::Undone;
                }
            }
        }
        for operation in rest {
            self.record(operation, Outcome::Skipped);
        }
        if of_another {
            undo.clear();
        }
        if ended == Ended::Undone && !self.undo(&undo).await {
            ended = Ended::Halfway;
        }
        if let Some(journal) = &group.journal {
            match (ended, journal.purpose) {
                // Whoever was connected again was seen in place.
                (Ended::Done, JournalPurpose::Reattach) => forget(self.journals, journal).await,
                // What the failed call has done may not be known: everybody is looked for.
                (Ended::Undone, _) if self.is_as_listed(journal).await => forget(self.journals, journal).await,
                (Ended::Undone, _) => ended = Ended::Halfway,
                (Ended::Done, JournalPurpose::Deactivated | JournalPurpose::ForcedDeletion) | (Ended::Halfway, _) => {}
            }
        }
        ended
    }

    /// Everybody in the journal is seen on the network, and runs if that was so before; or does not exist any more.
    async fn is_as_listed(&self, journal: &Journal) -> bool {
        let Some(caller) = self.caller else { return false };
        for listed in &journal.endpoints {
            match caller.inspect(&listed.container).await {
                Ok(None) => {}
                Ok(Some(seen)) => {
                    let on = seen.endpoints.iter().any(|endpoint| endpoint.network_name == journal.network.name);
                    let belongs = journal.purpose != JournalPurpose::Deactivated;
                    if belongs && !on || listed.was_running && !seen.state.is_live() {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn is_in_place(&self, need: &Connection) -> bool {
        let network = need.network.id.as_ref().or_else(|| self.created.get(&need.network.name));
        network.is_some_and(|network| self.connected.contains(&(need.party.clone(), network.clone())))
    }

    /// Keeps account of who is connected by what was done.
    fn account(&mut self, call: &Call) {
        for Connection { party, network } in call.connections() {
            self.connected.extend(network.id.map(|id| (party, id)));
        }
        for Connection { party, network } in call.disconnections() {
            if let Some(id) = network.id {
                self.connected.remove(&(party, id));
            }
        }
    }

    /// The group goes on with what an earlier one of a managed resource was to bring about, and that failed.
    fn is_without_base(&self, group: &Group) -> bool {
        let needed = needed(group);
        let failed = |report: &OperationReport| is_lacking(report) && needed.contains(&report.operation.object);
        !needed.is_empty() && self.report.operations.iter().any(failed)
    }

    /// What has to be settled before the first operation of a group.
    async fn prepare(&mut self, group: &Group) -> Result<(), Failure> {
        if let Some(caller) = self.caller
            && let Err(mishap) = caller.check_group(group).await
        {
            self.lost(&mishap, false);
            return Err(mishap.failure);
        }
        self.go_on(group).await?;
        let Some(journal) = &group.journal else { return Ok(()) };
        self.journals.write(journal).await.map_err(|error| Failure {
            reason: None,
            message: format!("{error}; nothing was started that could not be put back after a crash"),
            hint: error.hint.map(str::to_owned),
        })
    }

    /// Whether those of a resource that have taken over so far still serve: else the next one is not replaced by the like of them.
    async fn go_on(&self, group: &Group) -> Result<(), Failure> {
        let Some(caller) = self.caller.filter(|_| is_rollout(group)) else { return Ok(()) };
        for (_, container) in self.ready.iter().filter(|(object, _)| *object == group.object) {
            caller.still_serves(container).await?;
        }
        Ok(())
    }

    /// Runs the undo of each operation, the last one first. True if that left everything as it was.
    async fn undo(&mut self, operations: &[&Operation]) -> bool {
        let mut complete = true;
        // Ids of networks that were removed, and of those made in their place.
        let mut again: BTreeMap<NetworkId, NetworkId> = BTreeMap::new();
        let mut undone: Vec<&Call> = Vec::new();
        for operation in operations.iter().rev() {
            let Some(call) = operation.undo.as_ref().filter(|call| !undone.contains(call)) else { continue };
            undone.push(call);
            let rollback = Operation {
                object: operation.object.clone(),
                call: call.clone(),
                cause: Cause::Rollback,
                disruptive: operation.disruptive,
                undo: None,
            };
            match (self.perform(&rollback, call, &again).await, &operation.call) {
                (
                    Performed::Done { created: Some(new), .. },
                    Call::RemoveNetwork { network: NetworkTarget { id: Some(old), .. } },
                ) => {
                    again.insert(old.clone(), new);
                }
                (Performed::Done { .. }, Call::CreateNetwork(create)) => {
                    self.created.remove(&create.name);
                }
                (Performed::Done { .. }, _) => {}
                (Performed::Not { .. }, _) => complete = false,
            }
        }
        complete
    }

    async fn perform(
        &mut self,
        operation: &Operation,
        call: &Call,
        again: &BTreeMap<NetworkId, NetworkId>,
    ) -> Performed {
        let (operation, call) = match self.possible(operation, call) {
            Some((possible, left_out)) => {
                self.record(&left_out, Outcome::Skipped);
                (Cow::Owned(possible.clone()), Cow::Owned(possible.call))
            }
            None => (Cow::Borrowed(operation), Cow::Borrowed(call)),
        };
        let (operation, call): (&Operation, &Call) = (&operation, &call);
        let call = self.resolve(call, again);
        let for_manager = call.as_ref().is_some_and(Call::is_for_manager);
        let caller = if for_manager { self.manager } else { self.caller };
        let (Some(caller), Some(call)) = (caller, call) else {
            self.record(operation, Outcome::Skipped);
            return Performed::Not { applied: false };
        };
        self.progress.started(self.server, operation);
        let span = tracing::info_span!(
            target: "otel",
            "operation",
            landfall.server = self.server.path(),
            landfall.operation = %operation,
            otel.status_description = tracing::field::Empty
        );
        let mut answer = caller.call(&call).instrument(span.clone()).await;
        let service = call.updated().map(|service| service.id.clone());
        // A service is in the way of itself; a container is what another applier makes at the moment.
        if service.as_ref().is_some_and(|service| self.updated.contains(service)) || call.takes_a_turn() {
            let deadline = Instant::now() + ROLLOUT;
            let waits = |it: &Mishap| it.failure.reason == Some(Reason::RolloutInProgress) && !it.outdated;
            while answer.as_ref().is_err_and(waits) && Instant::now() < deadline && !self.progress.stopped() {
                sleep(POLL).await;
                answer = caller.call(&call).instrument(span.clone()).await;
            }
        }
        match answer {
            Ok(done) => {
                self.account(&call);
                self.ready.extend(call.made_ready().map(|container| (operation.object.clone(), container.clone())));
                self.updated.extend(service);
                self.record(operation, Outcome::Done);
                self.created.extend(done.networks);
                self.made.extend(done.container.map(|(name, id)| (name.clone(), ContainerTarget { name, id })));
                self.report.notes.extend(done.warning.map(|warning| warning.about(&operation.object)));
                Performed::Done { created: done.created, by_another: done.by_another }
            }
            Err(mishap) if mishap.failure.reason == Some(Reason::RolloutInProgress) => {
                self.record(operation, Outcome::Skipped);
                let Failure { message, hint, .. } = mishap.failure;
                let waits = operation.objects().into_iter().map(|object| {
                    let what = if call.updated().is_some() { "the service" } else { "it" };
                    let message = format!("Nothing about {what} is changed now: {message}.");
                    let note = Note::waiting(Reason::RolloutInProgress, object, message);
                    Note { hint: hint.clone(), turn: call.updated().is_none(), ..note }
                });
                self.report.notes.extend(waits);
                Performed::Not { applied: false }
            }
            Err(mishap) => {
                span.record("otel.status_description", &mishap.failure.message);
                self.lost(&mishap, for_manager);
                self.record(operation, Outcome::Failed(mishap.failure));
                for (call, outcome) in mishap.cleanup {
                    let object = operation.object.clone();
                    let cleanup = Operation { object, call, cause: Cause::Rollback, disruptive: false, undo: None };
                    self.record(&cleanup, outcome);
                }
                Performed::Not { applied: mishap.applied }
            }
        }
    }

    /// Which changes of a service lack a network that was to be created, or a connection that takes over.
    fn impossible(&self, service: &ServiceTarget, changes: &[NetworkChange]) -> Vec<bool> {
        let none = BTreeMap::new();
        let mut impossible: Vec<bool> =
            changes.iter().map(|change| self.id_of(&change.network, &none).is_none()).collect();
        loop {
            let remaining: Vec<NetworkChange> =
                changes.iter().zip(&impossible).filter(|(_, out)| !**out).map(|(change, _)| change.clone()).collect();
            let made = Call::UpdateService { service: service.clone(), changes: remaining }.connections();
            let lacks = |change: &NetworkChange| {
                change.needs.iter().any(|need| !made.contains(need) && !self.is_in_place(need))
            };
            let before = impossible.clone();
            for (out, change) in impossible.iter_mut().zip(changes) {
                *out |= lacks(change);
            }
            if impossible == before {
                return impossible;
            }
        }
    }

    /// What can be done of a service's update, and what cannot; `None` where that is all of it, or nothing.
    fn possible(&self, operation: &Operation, call: &Call) -> Option<(Operation, Operation)> {
        let Call::UpdateService { service, changes } = call else { return None };
        let impossible = self.impossible(service, changes);
        let part = |wanted: bool| {
            let part =
                changes.iter().zip(&impossible).filter(|(_, out)| **out != wanted).map(|(change, _)| change.clone());
            let changes: Vec<NetworkChange> = part.collect();
            let first = changes.first()?;
            Some(Operation {
                object: first.object.clone(),
                cause: if operation.cause == Cause::Rollback { operation.cause } else { first.cause },
                call: Call::UpdateService { service: service.clone(), changes },
                disruptive: operation.disruptive,
                undo: None,
            })
        };
        Some((part(true)?, part(false)?))
    }

    fn id_of(&self, network: &NetworkTarget, again: &BTreeMap<NetworkId, NetworkId>) -> Option<NetworkId> {
        match &network.id {
            Some(id) => Some(again.get(id).unwrap_or(id).clone()),
            None => self.created.get(&network.name).cloned(),
        }
    }

    /// The call with the ids that only execution brings to light. `None`: the network that it is about was not created.
    fn resolve(&self, call: &Call, again: &BTreeMap<NetworkId, NetworkId>) -> Option<Call> {
        let mut call = call.clone();
        match &mut call {
            Call::ConnectEndpoint { network, .. }
            | Call::DisconnectEndpoint { network, .. }
            | Call::RemoveNetwork { network } => {
                network.id = Some(self.id_of(network, again)?);
            }
            Call::UpdateService { service, changes } => {
                if self.impossible(service, changes).contains(&true) {
                    return None;
                }
                for NetworkChange { network, .. } in changes {
                    network.id = Some(self.id_of(network, again)?);
                }
            }
            Call::Workload(call) => {
                if let Some(network) = call.network_mut().filter(|network| network.id.is_none()) {
                    network.id = Some(self.created.get(&network.name)?.clone());
                }
                if let WorkloadCall::CreateContainer { also, .. } = &mut **call {
                    for (network, _) in also.iter_mut().filter(|(network, _)| network.id.is_none()) {
                        network.id = self.created.get(&network.name).cloned();
                    }
                    // Where one could not be made, the next pass connects.
                    also.retain(|(network, _)| network.id.is_some());
                }
                if let Some(container) = call.container_mut()
                    && let ContainerRef::Created(name) = container
                {
                    *container = ContainerRef::Existing(self.made.get(name)?.clone());
                }
            }
            Call::CreateNetwork(_)
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::RefreshProxy { .. }
            | Call::ScaleService { .. } => {}
        }
        Some(call)
    }

    fn lost(&mut self, mishap: &Mishap, manager: bool) {
        if mishap.lost && manager {
            self.manager = None;
        } else if mishap.lost {
            self.caller = None;
        }
    }

    fn record(&mut self, operation: &Operation, outcome: Outcome) {
        self.progress.finished(self.server, operation, &outcome);
        self.report.operations.push(OperationReport { operation: operation.clone(), outcome });
    }
}

/// What became of one call.
enum Performed {
    /// With the id of the network that was created. `by_another`: another applier has done it at the same time.
    Done { created: Option<NetworkId>, by_another: bool },
    /// `applied`: something of it happened nevertheless and has to be undone.
    Not { applied: bool },
}
