//! One group of a plan: its operations in their order, and what was done of them undone where one fails.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::call::{Mishap, POLL};
use super::forget;
use super::schedule::{Callers, ServerRun};
use crate::core::api::ObjectKey;
use crate::core::observed::NetworkId;
use crate::core::plan::workload::call::{ContainerRef, WorkloadCall};
use crate::core::plan::{
    Call, Cause, Connection, ContainerTarget, Group, Journal, JournalPurpose, NetworkChange, NetworkTarget, Note,
    Operation, Reason, ServiceTarget,
};
use crate::core::report::{Failure, OperationReport, Outcome};

/// How long a further update of a service waits for the rollout of the one before, of the same plan, and a container for that of another applier.
const ROLLOUT: Duration = Duration::from_secs(120);

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    /// It failed, and everything is as it was.
    Undone,
    /// It failed, and not everything could be put back.
    Halfway,
}

/// How a group ended, with its part of the report.
pub(super) struct GroupEnd {
    pub(super) ended: Ended,
    pub(super) operations: Vec<OperationReport>,
    pub(super) notes: Vec<Note>,
}

impl GroupEnd {
    /// The objects of operations that were not done.
    pub(super) fn lacking(&self) -> impl Iterator<Item = &ObjectKey> {
        let lacking = self.operations.iter().filter(|it| matches!(it.outcome, Outcome::Failed(_) | Outcome::Skipped));
        lacking.map(|it| &it.operation.object)
    }
}

/// It makes a managed container, or has one take over; and does not only take one away.
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

/// The execution of one group.
pub(super) struct GroupRun<'r, 'a> {
    run: &'r ServerRun<'a>,
    callers: Callers<'a>,
    operations: Vec<OperationReport>,
    notes: Vec<Note>,
}

impl<'r, 'a> GroupRun<'r, 'a> {
    pub(super) fn new(run: &'r ServerRun<'a>, callers: Callers<'a>) -> Self {
        Self { run, callers, operations: Vec::new(), notes: Vec::new() }
    }

    /// Does the group, unless it `lacks_base`: something that it goes on with.
    pub(super) async fn group(mut self, group: &Group, lacks_base: bool) -> (GroupEnd, Callers<'a>) {
        let ended = self.steps(group, lacks_base).await;
        (GroupEnd { ended, operations: self.operations, notes: self.notes }, self.callers)
    }

    async fn steps(&mut self, group: &Group, lacks_base: bool) -> Ended {
        let mut rest = group.operations.iter();
        let mut undo: Vec<&Operation> = Vec::new();
        // What another applier has brought about is not for this one to undo.
        let mut of_another = false;
        let mut ended = Ended::Done;
        let ready = !lacks_base && group.needs.iter().all(|need| self.is_in_place(need));
        if self.callers.own.is_none() || !ready {
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
                        self.run.known().created.insert(create.name.clone(), id);
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
                (Ended::Done, JournalPurpose::Reattach) => forget(self.run.journals, journal).await,
                // What the failed call has done may not be known: everybody is looked for.
                (Ended::Undone, _) if self.is_as_listed(journal).await => forget(self.run.journals, journal).await,
                (Ended::Undone, _) => ended = Ended::Halfway,
                (Ended::Done, JournalPurpose::Deactivated | JournalPurpose::ForcedDeletion) | (Ended::Halfway, _) => {}
            }
        }
        ended
    }

    /// Everybody in the journal is seen on the network, and runs if that was so before; or does not exist any more.
    async fn is_as_listed(&self, journal: &Journal) -> bool {
        let Some(caller) = self.callers.own else { return false };
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
        let known = self.run.known();
        let network = need.network.id.as_ref().or_else(|| known.created.get(&need.network.name));
        network.is_some_and(|network| known.connected.contains(&(need.party.clone(), network.clone())))
    }

    /// Keeps account of who is connected by what was done.
    fn account(&self, call: &Call) {
        let mut known = self.run.known();
        for Connection { party, network } in call.connections() {
            known.connected.extend(network.id.map(|id| (party, id)));
        }
        for Connection { party, network } in call.disconnections() {
            if let Some(id) = network.id {
                known.connected.remove(&(party, id));
            }
        }
    }

    /// What has to be settled before the first operation of a group.
    async fn prepare(&mut self, group: &Group) -> Result<(), Failure> {
        if let Some(caller) = self.callers.own
            && let Err(mishap) = caller.check_group(group).await
        {
            self.lost(&mishap, false);
            return Err(mishap.failure);
        }
        self.go_on(group).await?;
        let Some(journal) = &group.journal else { return Ok(()) };
        self.run.journals.write(journal).await.map_err(|error| Failure {
            reason: None,
            message: format!("{error}; nothing was started that could not be put back after a crash"),
            hint: error.hint.map(str::to_owned),
        })
    }

    /// Whether those of a resource that have taken over so far still serve: else the next one is not replaced by the like of them.
    async fn go_on(&self, group: &Group) -> Result<(), Failure> {
        let Some(caller) = self.callers.own.filter(|_| is_rollout(group)) else { return Ok(()) };
        let known = self.run.known().ready.clone();
        for (_, container) in known.iter().filter(|(object, _)| *object == group.object) {
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
                    self.run.known().created.remove(&create.name);
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
        let caller = if for_manager { self.callers.manager } else { self.callers.own };
        let (Some(caller), Some(call)) = (caller, call) else {
            self.record(operation, Outcome::Skipped);
            return Performed::Not { applied: false };
        };
        self.run.progress.started(self.run.server, operation);
        let span = tracing::info_span!(
            target: "otel",
            "operation",
            landfall.server = self.run.server.path(),
            landfall.operation = %operation,
            otel.status_description = tracing::field::Empty
        );
        let mut answer = caller.call(&call).instrument(span.clone()).await;
        let service = call.updated().map(|service| service.id.clone());
        // A service is in the way of itself; a container is what another applier makes at the moment.
        if service.as_ref().is_some_and(|service| self.run.known().updated.contains(service)) || call.takes_a_turn() {
            let deadline = Instant::now() + ROLLOUT;
            let waits = |it: &Mishap| it.failure.reason == Some(Reason::RolloutInProgress) && !it.outdated;
            while answer.as_ref().is_err_and(waits) && Instant::now() < deadline && !self.run.progress.stopped() {
                sleep(POLL).await;
                answer = caller.call(&call).instrument(span.clone()).await;
            }
        }
        match answer {
            Ok(done) => {
                self.account(&call);
                self.record(operation, Outcome::Done);
                let mut known = self.run.known();
                let made = done.container.map(|(name, id)| (name.clone(), ContainerTarget { name, id }));
                known.ready.extend(call.made_ready().map(|container| (operation.object.clone(), container.clone())));
                known.updated.extend(service);
                known.created.extend(done.networks);
                known.made.extend(made);
                drop(known);
                self.notes.extend(done.warning.map(|warning| warning.about(&operation.object)));
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
                self.notes.extend(waits);
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
            None => self.run.known().created.get(&network.name).cloned(),
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
                    network.id = Some(self.run.known().created.get(&network.name)?.clone());
                }
                if let WorkloadCall::CreateContainer { also, .. } = &mut **call {
                    for (network, _) in also.iter_mut().filter(|(network, _)| network.id.is_none()) {
                        network.id = self.run.known().created.get(&network.name).cloned();
                    }
                    // Where one could not be made, the next pass connects.
                    also.retain(|(network, _)| network.id.is_some());
                }
                if let Some(container) = call.container_mut()
                    && let ContainerRef::Created(name) = container
                {
                    *container = ContainerRef::Existing(self.run.known().made.get(name)?.clone());
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
            self.callers.manager = None;
        } else if mishap.lost {
            self.callers.own = None;
        }
    }

    fn record(&mut self, operation: &Operation, outcome: Outcome) {
        self.run.progress.finished(self.run.server, operation, &outcome);
        self.operations.push(OperationReport { operation: operation.clone(), outcome });
    }
}

/// What became of one call.
enum Performed {
    /// With the id of the network that was created. `by_another`: another applier has done it at the same time.
    Done { created: Option<NetworkId>, by_another: bool },
    /// `applied`: something of it happened nevertheless and has to be undone.
    Not { applied: bool },
}
