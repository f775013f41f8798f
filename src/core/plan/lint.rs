//! What every plan satisfies, whatever the input. The planner does not call it: tests do, of every plan they make.

mod workload;

use std::collections::{BTreeMap, BTreeSet};

use super::input::{self, PlanInput};
use crate::core::observed::{ContainerId, NetworkId, ObservedState};
use crate::core::plan::document::call::{Call, NetworkChange};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::NoteKind;
use crate::core::plan::document::plan::{Plan, ServerPlan};
use crate::core::plan::document::step;
use crate::core::plan::document::target::{NetworkTarget, ServiceTarget};
use crate::core::plan::workload::compose_leaving;
use crate::core::plan::world::server::Host;
use crate::core::plan::world::swarm::View;
use crate::core::plan::world::{container, ownership, selector};
use crate::core::workload::stack;

/// The rules that the plan breaks; empty if it is sound.
pub fn lint(input: &PlanInput<'_>, plan: &Plan) -> Vec<String> {
    let mut violations = Vec::new();
    if !plan.servers.is_sorted_by(|a, b| a.server < b.server) {
        violations.push("the servers are not in the order of their keys".to_owned());
    }
    for server in &plan.servers {
        let name = server.server.path();
        let mut say = |text: String| violations.push(format!("{name}: {text}"));
        notes(server, &mut say);
        match input.observed.get(&server.server) {
            Some(Ok(state)) => observed_server(input, server, state, &mut say),
            Some(Err(_)) | None => {
                if !server.groups.is_empty() || server.server_type.is_some() {
                    say("operations are planned although the server was not observed".to_owned());
                }
                if server.notes.is_empty() {
                    say("nothing says why the server was not observed".to_owned());
                }
            }
        }
    }
    violations
}

fn is_of_stack(input: &PlanInput<'_>, network: &str) -> bool {
    compose_leaving::is_of_stack(input.desired.destinations().flat_map(|(_, it)| &it.members), network)
}

fn notes(server: &ServerPlan, say: &mut impl FnMut(String)) {
    for note in &server.notes {
        if note.message.is_empty() {
            say(format!("a note on {} says nothing", note.object));
        }
        if note.kind == NoteKind::Refused && note.hint.is_none() {
            say(format!("the refusal of {} names no way out", note.object));
        }
        if !note.blockers.is_sorted() {
            say(format!("the blockers of {} are not in order", note.object));
        }
    }
}

/// Who is on which network while the plan is being executed.
struct Simulation<'a> {
    state: &'a ObservedState,
    host: Host<'a>,
    /// Observed networks that are still there.
    networks: BTreeSet<&'a NetworkId>,
    /// Created by the plan.
    created: BTreeSet<&'a str>,
    /// By the network's id, or its name where the plan creates it.
    attached: BTreeMap<&'a str, BTreeSet<&'a ContainerId>>,
    /// Services that the plan has taken off networks, by the network's id.
    detached: BTreeSet<(&'a str, &'a str)>,
}

fn observed_server(input: &PlanInput<'_>, server: &ServerPlan, state: &ObservedState, say: &mut impl FnMut(String)) {
    let declared = input.desired.servers.get(&server.server);
    if declared.is_none_or(|declared| declared.suspend) && !server.groups.is_empty() {
        say("operations are planned on a server that is suspended or not declared".to_owned());
    }
    let view = View::new(input.observed, &server.server, state);
    let state: &ObservedState = &view.state;
    let host = Host::new(state);
    let attached = state
        .networks
        .iter()
        .map(|network| {
            let on = host
                .attached(network)
                .into_iter()
                // Tasks come and go with their service.
                .filter(|it| {
                    !container::is_going(it.container)
                        && !it.container.is_leftover(it.endpoint)
                        && !container::is_task(it.container)
                });
            (network.id.as_str(), on.map(|it| &it.container.id).collect())
        })
        .collect();
    let mut simulation = Simulation {
        state,
        host,
        networks: state.networks.iter().map(|network| &network.id).collect(),
        created: BTreeSet::new(),
        attached,
        detached: BTreeSet::new(),
    };
    for group in &server.groups {
        if group.operations.is_empty() {
            say(format!("the group of {} is empty", group.object));
        }
        simulation.journal(input, group, say);
        for (at, operation) in group.operations.iter().enumerate() {
            let last = at + 1 == group.operations.len();
            if let Call::UpdateService { service, changes } = &operation.call
                && changes.iter().any(|change| change.attachment.is_none())
                && !last
                && operation.undo.is_none()
            {
                say(format!("taking {} off cannot be undone should the rest of its group fail", service.name));
            }
            if let Call::DisconnectEndpoint { container, .. } = &operation.call
                && !last
                && operation.undo.is_none()
                && !simulation.is_stale(&operation.call)
                && !(operation.cause == Cause::NetworkReplaced && simulation.is_elsewhere(&operation.call))
            {
                say(format!("disconnecting {} cannot be undone should the rest of its group fail", container.name));
            }
            simulation.call(input, &operation.call, operation.cause, say);
        }
    }
}

impl<'a> Simulation<'a> {
    fn key<'t>(&self, target: &'t NetworkTarget) -> &'t str {
        target.id.as_ref().map_or(target.name.as_str(), NetworkId::as_str)
    }

    fn is_stale(&self, call: &Call) -> bool {
        let Call::DisconnectEndpoint { network, container, .. } = call else { return false };
        let stale = self.host.stale(&network.name);
        stale.iter().any(|it| it.container.id == container.id)
    }

    /// He is on another network as well.
    fn is_elsewhere(&self, call: &Call) -> bool {
        let Call::DisconnectEndpoint { network, container, .. } = call else { return false };
        let left = self.key(network);
        self.attached.iter().any(|(other, on)| *other != left && on.contains(&container.id))
    }

    /// Whoever is disconnected in order to come back is in the journal.
    fn journal(&self, input: &PlanInput<'_>, group: &step::Group, say: &mut impl FnMut(String)) {
        let mut gone: BTreeSet<&ContainerId> = BTreeSet::new();
        for operation in &group.operations {
            match &operation.call {
                Call::DisconnectEndpoint { container, .. } => {
                    gone.insert(&container.id);
                }
                // Of a stack's own network the file says who is on it, and how.
                Call::ConnectEndpoint { network, .. } if is_of_stack(input, &network.name) => {}
                Call::ConnectEndpoint { container, .. } if gone.contains(&container.id) => {
                    let listed = group
                        .journal
                        .as_ref()
                        .is_some_and(|it| it.endpoints.iter().any(|listed| listed.container.id == container.id));
                    if !listed {
                        say(format!("{} is reconnected without a journal", container.name));
                    }
                }
                _ => {}
            }
        }
    }

    fn call(&mut self, input: &PlanInput<'_>, call: &'a Call, cause: Cause, say: &mut impl FnMut(String)) {
        match call {
            Call::CreateNetwork(create) => {
                let taken =
                    self.state.networks.iter().any(|it| it.name == create.name && self.networks.contains(&it.id));
                if taken || (!self.created.insert(&create.name) && create.name != input::GENERATED) {
                    say(format!("a network named {} exists when it is created", create.name));
                }
                if create.labels.get(ownership::SET) != Some(&input.desired.set) {
                    say(format!("the network {} is created without an owner", create.name));
                }
                self.attached.entry(&create.name).or_default();
            }
            Call::RemoveNetwork { network } => self.remove(input, network, cause, say),
            Call::RefreshProxy { .. } => {}
            Call::ConnectEndpoint { network, container, .. } => {
                self.exists(network, say);
                self.container(&container.id, &container.name, say);
                let key = self.key(network);
                if !self.attached.entry(key).or_default().insert(&container.id) {
                    say(format!("{} is connected to {}, where it is already", container.name, network.name));
                }
            }
            Call::DisconnectEndpoint { network, container, .. } => {
                self.exists(network, say);
                self.container(&container.id, &container.name, say);
                let stale = self.is_stale(call);
                let key = self.key(network);
                if !self.attached.entry(key).or_default().remove(&container.id) && !stale {
                    say(format!("{} is disconnected from {}, where it is not", container.name, network.name));
                }
                if !self.is_ours(input, network) {
                    say(format!("{} is disconnected from {}, which is unmanaged", container.name, network.name));
                }
            }
            Call::UpdateService { service, changes } => self.update_service(input, service, changes, say),
            Call::ScaleService { service, replicas } => self.scale_service(input, service, *replicas, say),
            Call::Workload(call) => self.workload(input, call, say),
            Call::StopContainer { container } | Call::StartContainer { container } => {
                self.container(&container.id, &container.name, say);
                let forced = cause == Cause::DeletionRequested;
                if !forced && !self.is_member(input, &container.id) {
                    say(format!("{} is stopped or started, and no resource declares it", container.name));
                }
            }
        }
    }

    fn update_service(
        &mut self,
        input: &PlanInput<'_>,
        service: &'a ServiceTarget,
        changes: &'a [NetworkChange],
        say: &mut impl FnMut(String),
    ) {
        let Some(observed) = self.state.services.iter().find(|it| it.id == service.id) else {
            say(format!("{} does not exist", service.name));
            return;
        };
        for NetworkChange { network, attachment, .. } in changes {
            self.exists(network, say);
            let before = network.id.as_ref().and_then(|id| self.state.network(id));
            let before = before.and_then(|network| observed.attachment(network));
            if before == attachment.as_ref() {
                say(format!("{} is updated for {}, where it is as it should be", service.name, network.name));
            }
            if attachment.is_none() {
                if !self.is_ours(input, network) {
                    say(format!("{} is taken off {}, which is unmanaged", service.name, network.name));
                }
                self.detached.insert((self.key(network), &service.name));
            }
        }
    }

    fn remove(
        &mut self,
        input: &PlanInput<'_>,
        network: &'a NetworkTarget,
        cause: Cause,
        say: &mut impl FnMut(String),
    ) {
        self.exists(network, say);
        let Some(id) = &network.id else {
            say(format!("{} is removed without its id", network.name));
            return;
        };
        if let Some(observed) = self.state.network(id) {
            let owned = self.host.owner(observed).is_some_and(|owner| owner.set == input.desired.set);
            let taken_over = cause == Cause::OwnershipTaken
                && input.desired.destinations().any(|(_, it)| {
                    it.adopt && it.take_ownership && it.network.name.as_deref() == Some(observed.name.as_str())
                });
            if !owned && !taken_over {
                say(format!("{} is removed, and the set does not own it", network.name));
            }
            if cause == Cause::Undeclared && !(input.request.prune && self.host.is_verified(observed)) {
                say(format!("{} is pruned, and was not asked for or its labels are not its own", network.name));
            }
            let on = self.host.services_on(observed);
            if on.iter().any(|service| !self.detached.contains(&(id.as_str(), service.name.as_str()))) {
                say(format!("{} is removed from under a Swarm service", network.name));
            }
        }
        let on = self.attached.remove(id.as_str()).unwrap_or_default();
        if !on.is_empty() {
            say(format!("{} is removed while {} containers are on it", network.name, on.len()));
        }
        self.networks.remove(id);
    }

    fn exists(&self, network: &NetworkTarget, say: &mut impl FnMut(String)) {
        let exists = match &network.id {
            Some(id) => self.networks.contains(id),
            None => self.created.contains(network.name.as_str()),
        };
        if !exists {
            say(format!("{} is used and does not exist", network.name));
        }
    }

    fn container(&self, id: &ContainerId, name: &str, say: &mut impl FnMut(String)) {
        match self.state.containers.iter().find(|container| container.id == *id) {
            None => say(format!("{name} does not exist")),
            Some(container) if container::is_going(container) => say(format!("{name} is being removed")),
            Some(container) if container::is_task(container) => say(format!("{name} is run by a Swarm service")),
            Some(_) => {}
        }
    }

    /// The network of a declared destination, or one that carries the set's labels.
    fn is_ours(&self, input: &PlanInput<'_>, network: &NetworkTarget) -> bool {
        let Some(id) = &network.id else { return true };
        if is_of_stack(input, &network.name)
            || self.state.network(id).is_some_and(|observed| observed.labels.contains_key(stack::PROJECT))
        {
            return true;
        }
        self.state.network(id).is_some_and(|observed| {
            self.host.owner(observed).map_or_else(
                || {
                    input
                        .desired
                        .destinations()
                        .any(|(_, it)| it.adopt && it.network.name.as_deref() == Some(observed.name.as_str()))
                },
                |owner| owner.set == input.desired.set,
            )
        })
    }

    fn is_member(&self, input: &PlanInput<'_>, id: &ContainerId) -> bool {
        let container = self.state.containers.iter().find(|container| container.id == *id);
        container.is_some_and(|container| {
            input
                .desired
                .destinations()
                .any(|(_, it)| it.members.iter().any(|member| selector::selects(&member.selector, container)))
        })
    }
}
