//! From the service that there is to the one that ought to be.

use std::collections::BTreeSet;

use super::definition::There;
use crate::core::api::ObjectKey;
use crate::core::observed::{NodeAvailability, ObservedService};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{ContainerTarget, ServiceTarget};
use crate::core::plan::document::workload_call::{ContainerRef, ServiceRef, ServiceRollout, WorkloadCall};
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::workload::attempt::cause;
use crate::core::plan::workload::managed::Managed;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::service::identity_of_service;
use crate::core::workload::compare::Difference;
use crate::core::workload::service::{Node, SecretFile, ServiceCreate};
use crate::core::workload::{Order, identity};

impl<'a> Managed<'a, '_> {
    pub(crate) fn roll_out(
        &self,
        there: &There<'a>,
        create: ServiceCreate,
        differences: Vec<Difference>,
        draft: &mut Draft,
    ) {
        let from = there.own.map_or(String::new(), |it| format!("{} {differences:?}", it.id));
        let attempt = self.attempt(&from);
        if let Some(note) = self.given_up(&attempt).or_else(|| self.waits_for()) {
            draft.notes.push(note);
            return;
        }
        let restarts = differences.iter().any(|difference| !difference.in_place);
        let mut operations = Vec::new();
        if restarts || there.own.is_none() {
            self.swarm_notes(there, &create, draft);
            match self.before_tasks(there, &create) {
                Ok(calls) => operations.extend(calls),
                Err(note) => {
                    draft.notes.push(note);
                    return;
                }
            }
        }
        draft.notes.extend(rolled_back(there, self.resource()));
        let cause = if there.own.is_none() { Cause::WorkloadMissing } else { cause(&differences) };
        operations.extend(self.secrets_for(&create, cause));
        let stop_first = create.order == Order::StopFirst || create.node.is_some();
        let foreign = there.foreign
            || !there.containers.is_empty()
            || there.before.iter().any(|it| identity_of_service(it).is_none());
        if stop_first {
            operations.extend(self.stop_before(there, cause));
        }
        let rollout = ServiceRollout {
            network: self.target.call(),
            differences,
            after: self.workload.depends_on.clone(),
            ready: self.readiness(),
            parallelism: there.own.map_or(1, |it| it.parallelism),
            attempt,
            create: create.clone(),
        };
        let disruptive = foreign || (there.own.is_some() && create.order == Order::StopFirst);
        let disruptive = disruptive && (there.own.is_none() || restarts);
        operations.push(self.rollout_step(there, rollout, cause, disruptive));
        if let Some(service) = there.own {
            // One update of a service a pass: the definition has the network in it.
            draft.groups.retain(|group| !is_update_of(group, service));
        }
        draft.groups.push(self.group(operations));
        let after = self.after_tasks(there, &create, cause, stop_first);
        if !after.is_empty() {
            draft.groups.push(self.group(after));
        }
    }

    /// The service is made, or updated to what it ought to be.
    fn rollout_step(&self, there: &There<'a>, rollout: ServiceRollout, cause: Cause, disruptive: bool) -> Operation {
        if let Some(service) = there.own {
            let (service, rollout) = (ServiceTarget::of(service), Box::new(rollout));
            let call = WorkloadCall::UpdateService { service, rollout, anew: self.is_restarted() };
            return self.operation(call, cause, disruptive, None);
        }
        let uid = rollout.create.labels.get(identity::UID).cloned().unwrap_or_default();
        let undo = WorkloadCall::RemoveService {
            service: ServiceRef::Created { name: rollout.create.name.clone(), uid },
            volumes: Vec::new(),
            networks: Vec::new(),
        };
        self.operation(WorkloadCall::CreateService(Box::new(rollout)), cause, disruptive, Some(undo))
    }

    /// The hook, and the look at the data: before anything is stopped, by containers on this node.
    pub(crate) fn before_tasks(&self, there: &There<'a>, create: &ServiceCreate) -> Result<Vec<Operation>, Note> {
        let here = self.ctx.own_node();
        let is_here = |node: &Node| here.is_some_and(|here| here.id == node.id);
        if self.workload.pre_deploy.is_some() {
            let refused =
                |reason, message: String, hint: &str| Err(Note::refused(reason, self.resource(), message).hint(hint));
            if let Some(node) = create.node.as_ref().filter(|node| here.is_some() && !is_here(node)) {
                let message = format!(
                    "The hook needs the volumes on the node {}, and Landfall runs hooks on {}.",
                    node.name, self.ctx.server.key
                );
                return refused(
                    Reason::WrongScope,
                    message,
                    "leave out `hooks.preDeploy`, or run its command with the application",
                );
            }
            if let Some(node) = here.filter(|node| node.availability != NodeAvailability::Active) {
                let message = format!(
                    "The hook runs on the node {}, and the Swarm lets no container of it onto its networks.",
                    node.name
                );
                return refused(
                    Reason::NodeUnavailable,
                    message,
                    "docker node update --availability active NODE, or leave out `hooks.preDeploy`",
                );
            }
        }
        let looks = there.own.is_none() && create.node.as_ref().is_none_or(is_here);
        let cause = Cause::WorkloadMissing;
        let mut calls = Vec::new();
        let check = self.check_data().filter(|_| looks);
        let hook = self.hook();
        if (check.is_some() || hook.is_some()) && (self.image.local.is_none() || self.image.has_moved()) {
            calls.push(WorkloadCall::PullImage { reference: self.workload.image.clone() });
        }
        calls.extend(check);
        calls.extend(hook);
        Ok(calls.into_iter().map(|call| self.operation(call, cause, false, None)).collect())
    }

    pub(crate) fn secrets_for(&self, create: &ServiceCreate, cause: Cause) -> Vec<Operation> {
        let have: BTreeSet<&str> = self.own_secrets().collect();
        let files = create.files.iter().filter(|(_, file)| !have.contains(file.secret.as_str()));
        let mut made: BTreeSet<&str> = BTreeSet::new();
        let operation = |(path, file): (&String, &SecretFile)| {
            let content = self.workload.container.files.get(path)?.content.clone();
            let labels = self.identity_labels(&file.secret);
            let uid = labels.get(identity::UID).cloned().unwrap_or_default();
            let undo = WorkloadCall::RemoveSecret { name: file.secret.clone(), uid };
            let call = WorkloadCall::CreateSecret { name: file.secret.clone(), labels, content };
            Some(self.operation(call, cause, false, Some(undo)))
        };
        files.filter(|(_, file)| made.insert(&file.secret)).filter_map(operation).collect()
    }

    /// Those whose volumes it is to have end before it begins. They come back if it does not get healthy.
    pub(crate) fn stop_before(&self, there: &There<'a>, cause: Cause) -> Vec<Operation> {
        let live = there.before.iter().filter(|it| it.replicas.is_some_and(|replicas| replicas > 0));
        let services = live.map(|it| {
            let target = ServiceTarget::of(it);
            let undo = Call::ScaleService { service: target.clone(), replicas: it.replicas.unwrap_or_default() };
            let call = WorkloadCall::StopService { service: target };
            Operation { undo: Some(undo), ..self.operation(call, cause, true, None) }
        });
        let containers = there.containers.iter().filter(|it| it.state.is_live()).map(|it| {
            let target = ContainerTarget::of(it);
            let undo = Call::StartContainer { container: target.clone() };
            let call = WorkloadCall::StopContainer { container: target, drain: None };
            Operation { undo: Some(undo), ..self.operation(call, cause, true, None) }
        });
        services.chain(containers).collect()
    }

    /// What it has taken the place of goes, and secrets that nothing refers to any more.
    pub(crate) fn after_tasks(
        &self,
        there: &There<'a>,
        create: &ServiceCreate,
        cause: Cause,
        stopped: bool,
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        for service in &there.before {
            let call = WorkloadCall::RemoveService {
                service: ServiceRef::Existing(ServiceTarget::of(service)),
                volumes: Vec::new(),
                networks: service.networks.iter().map(|network| network.target.clone()).collect(),
            };
            operations.push(self.operation(call, cause, identity_of_service(service).is_none(), None));
            operations
                .extend(secrets_of(self.ctx, service).into_iter().map(|call| self.operation(call, cause, false, None)));
        }
        for container in &there.containers {
            let target = ContainerTarget::of(container);
            if container.state.is_live() && !stopped {
                let call = WorkloadCall::StopContainer { container: target.clone(), drain: None };
                operations.push(self.operation(call, cause, true, None));
            }
            let call = WorkloadCall::RemoveContainer { container: ContainerRef::Existing(target), force: false };
            operations.push(self.operation(call, cause, true, None));
        }
        operations.extend(self.unused_secrets(create).map(|call| self.operation(call, cause, false, None)));
        operations
    }

    pub(crate) fn unused_secrets(&self, create: &ServiceCreate) -> impl Iterator<Item = WorkloadCall> {
        let former = &create.former_secrets;
        let secrets = self.ctx.host.state.secrets.iter().filter(move |it| former.contains(&it.name));
        secrets.map(|it| WorkloadCall::RemoveSecret {
            name: it.name.clone(),
            uid: it.labels.get(identity::UID).cloned().unwrap_or_default(),
        })
    }

    /// Left behind by an update that was interrupted, or rolled back. While one is under way the one before it may come back.
    pub(crate) fn clear_secrets(&self, there: &There<'a>, create: &ServiceCreate, draft: &mut Draft) {
        if there.own.is_some_and(|it| it.rollout.is_some()) {
            return;
        }
        let operations: Vec<Operation> =
            self.unused_secrets(create).map(|call| self.operation(call, Cause::WorkloadDiffers, false, None)).collect();
        if !operations.is_empty() {
            draft.groups.push(self.group(operations));
        }
    }
}

/// The latest update came to nothing, by whoever it was: that is why what is declared is not so.
fn rolled_back(there: &There<'_>, resource: &ObjectKey) -> Option<Note> {
    let service = there.own?;
    let update = service.definition.as_ref()?.update.as_ref()?;
    (update.state == "rollback_completed").then(|| {
        let message = format!(
            "The Swarm has rolled back the latest update of the service {:?}: {}.",
            service.name,
            update.message.trim_end_matches('.')
        );
        let hint = format!("docker service ps --no-trunc {}", service.name);
        Note::warning(Reason::HealthCheckFailed, resource, message).hint(hint)
    })
}

pub(crate) fn is_update_of(group: &Group, of: &ObservedService) -> bool {
    let mut operations = group.operations.iter();
    !group.operations.is_empty()
        && operations.all(|it| matches!(&it.call, Call::UpdateService { service, .. } if service.id == of.id))
}

/// What removes the secrets that Landfall has made for a service.
pub(in crate::core::plan::workload) fn secrets_of(ctx: &Context<'_>, service: &ObservedService) -> Vec<WorkloadCall> {
    let Some(identity) = identity_of_service(service) else { return Vec::new() };
    let its = |it: &identity::Identity| {
        it.set == identity.set && it.object == identity.object && it.destination == identity.destination
    };
    let secrets = ctx.host.state.secrets.iter();
    secrets
        .filter(|secret| identity::of(&secret.name, &secret.labels).is_some_and(|it| its(&it)))
        .map(|secret| WorkloadCall::RemoveSecret {
            name: secret.name.clone(),
            uid: secret.labels.get(identity::UID).cloned().unwrap_or_default(),
        })
        .collect()
}
