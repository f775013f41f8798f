//! What moved away from the manifests, since when, and what no manifest knows.
//!
//! A view of the plan: every operation that would repair something is there because something drifted, and every refusal because something drifted
//! that Landfall will not repair by itself. What is unmanaged is reported beside it and counts for nothing.

mod junit;
mod markdown;
mod sarif;
mod since;
mod unused;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use junit::junit;
pub use markdown::markdown;
pub use sarif::sarif;
pub use since::Since;
pub use unused::{Unused, unused};

use crate::core::api::{Kind, Membership, ObjectKey};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::manifest::Location;
use crate::core::observed::{
    EngineEvent, NetworkId, NetworkScope, Observations, ObservedNetwork, ObservedState, SwarmState,
};
use crate::core::plan::facts::{SERVICE, facts};
use crate::core::plan::workload::call::WorkloadCall;
use crate::core::plan::{
    Call, Cause, Group, Note, NoteKind, Operation, Plan, Reason, SWARM_SERVICE, ServerPlan, ServerType,
    immutable_differences, is_of_another_node, left_over, ownership,
};
use crate::core::scope::Selection;
use crate::core::workload::stack;

/// Raised in its first part when a reader of the former version would misread the document.
pub const FORMAT_VERSION: &str = "1.0";

pub struct DriftInput<'a> {
    pub desired: &'a DesiredState,
    pub observed: &'a Observations,
    pub plan: &'a Plan,
    /// What the servers still remember, oldest first. Only dates come from it, so it may be missing.
    pub events: &'a BTreeMap<ObjectKey, Vec<EngineEvent>>,
    /// Where objects are declared.
    pub locations: &'a BTreeMap<ObjectKey, Location>,
}

/// The report, as in `drift -o json`. Field names and words are part of the contract; so is their order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    pub format_version: &'static str,
    pub set: String,
    /// Something differs from the manifests.
    pub drifted: bool,
    pub servers: Vec<DriftServer>,
    pub findings: Vec<Finding>,
    pub unmanaged: Vec<Unmanaged>,
    /// Destinations that nobody is on; absent where that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused: Option<Vec<Unused>>,
    /// What else there is to know: Waiting, Suspended, Warning.
    pub notes: Vec<DriftNote>,
    pub summary: Summary,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftServer {
    /// `namespace/name`.
    pub name: String,
    pub reachable: bool,
    /// `null` where the server could not be observed.
    #[serde(rename = "type")]
    pub server_type: Option<ServerType>,
    /// Why it could not be observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Declared objects on it: `Kind/namespace/name`.
    pub objects: Vec<ObjectKey>,
}

/// One thing that is not as declared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `null` where it concerns no single server.
    pub server: Option<String>,
    /// The declared object that is not as declared.
    pub object: ObjectKey,
    /// A cause, as of an operation, or the reason of a refusal.
    pub reason: &'static str,
    /// Landfall was asked for it, and will not do it as things are.
    pub refused: bool,
    /// The repair breaks connections.
    pub disruptive: bool,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    pub network: Option<String>,
    pub container: Option<String>,
    /// `null` where it is not known.
    pub since: Option<Since>,
    /// Where the object is declared.
    #[serde(flatten)]
    pub location: Option<Location>,
}

impl Finding {
    /// What it is the same finding by, from one run to the next.
    pub fn identity(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let object = self.object.to_string();
        [part(&self.server), object, self.reason.to_owned(), part(&self.network), part(&self.container)].join("|")
    }

    /// The message, since when, and what to do.
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        if let Some(since) = &self.since {
            text.push_str(&format!(" Since {:.0} ({}).", since.time, since.event));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!(" Hint: {hint}"));
        }
        text
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum UnmanagedKind {
    Container,
    Network,
    SwarmService,
}

/// Something on a server that no manifest declares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unmanaged {
    pub server: String,
    pub kind: UnmanagedKind,
    pub name: String,
    /// The network that a container is on.
    pub network: Option<String>,
    /// The destination that a container is on.
    pub object: Option<ObjectKey>,
    /// A container's.
    pub state: Option<&'static str>,
    pub message: String,
    pub since: Option<Since>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftNote {
    pub kind: NoteKind,
    pub reason: Reason,
    pub server: Option<String>,
    pub object: ObjectKey,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl DriftNote {
    fn line(&self) -> String {
        let object = self.object.to_string();
        let of = if self.message.contains(&object) { String::new() } else { format!("{object}: ") };
        format!("{of}{} ({})", self.message, self.reason)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Findings, refused ones included.
    pub findings: usize,
    pub refused: usize,
    pub unmanaged: usize,
    /// Servers that could not be observed.
    pub unreachable: usize,
}

/// Makes the report.
pub fn drift(input: &DriftInput<'_>) -> Drift {
    let mut report = Drift {
        format_version: FORMAT_VERSION,
        set: input.plan.set.clone(),
        drifted: false,
        servers: Vec::new(),
        findings: Vec::new(),
        unmanaged: Vec::new(),
        unused: None,
        notes: Vec::new(),
        summary: Summary { findings: 0, refused: 0, unmanaged: 0, unreachable: 0 },
    };
    for plan in &input.plan.servers {
        let server = input.desired.servers.get(&plan.server).map(AsRef::as_ref);
        let state = input.observed.get(&plan.server).and_then(|observed| observed.as_ref().ok());
        let events = input.events.get(&plan.server).map_or(&[][..], Vec::as_slice);
        let name = plan.server.path();
        report.servers.push(server_of(plan, server));
        operations(input, plan, state, events, &mut report.findings);
        // The note that a server could not be observed has become its `message`.
        let told = usize::from(plan.server_type.is_none());
        notes(input, Some(&name), plan.notes.iter().skip(told), state, events, &mut report);
        if let (Some(server), Some(state)) = (server, state) {
            unmanaged(input, server, state, events, &mut report.unmanaged);
        }
    }
    notes(input, None, input.plan.notes.iter(), None, &[], &mut report);
    report.count();
    report
}

impl Drift {
    /// The notes as tables and Markdown have them: what holds for an object on several servers once.
    pub fn note_lines(&self) -> Vec<(NoteKind, String)> {
        let mut told = BTreeSet::new();
        let lines = self.notes.iter().map(|note| (note.kind, note.line()));
        lines.filter(|(kind, line)| told.insert((kind.to_string(), line.clone()))).collect()
    }

    /// The report about the selected objects. A server that could not be observed stays: what is on it is not known.
    #[must_use]
    pub fn restrict(mut self, selection: &Selection) -> Self {
        self.findings.retain(|finding| selection.has(&finding.object) || finding.object.kind == Kind::Server);
        self.notes.retain(|note| selection.has(&note.object) || note.object.kind == Kind::Server);
        self.unmanaged.retain(|unmanaged| unmanaged.object.as_ref().is_some_and(|object| selection.has(object)));
        if let Some(unused) = &mut self.unused {
            unused.retain(|unused| selection.has(&unused.object));
        }
        for server in &mut self.servers {
            server.objects.retain(|object| selection.has(object));
        }
        self.count();
        self
    }

    fn count(&mut self) {
        self.summary = Summary {
            findings: self.findings.len(),
            refused: self.findings.iter().filter(|finding| finding.refused).count(),
            unmanaged: self.unmanaged.len(),
            unreachable: self.servers.iter().filter(|server| !server.reachable).count(),
        };
        self.drifted = !self.findings.is_empty();
    }
}

fn server_of(plan: &ServerPlan, server: Option<&DesiredServer>) -> DriftServer {
    let mut objects = BTreeSet::new();
    for destination in server.iter().flat_map(|server| &server.destinations) {
        objects.insert(destination.key.clone());
        objects.extend(destination.members.iter().map(|member| member.resource.clone()));
    }
    let unobserved = plan.notes.first().filter(|_| plan.server_type.is_none());
    DriftServer {
        name: plan.server.path(),
        reachable: plan.server_type.is_some(),
        server_type: plan.server_type,
        reason: unobserved.map(|note| note.reason),
        message: unobserved.map(|note| note.message.clone()),
        hint: unobserved.and_then(|note| note.hint.clone()),
        objects: objects.into_iter().collect(),
    }
}

/// One finding for everything that is done about it: a reconnect is two calls, a replacement many.
fn operations(
    input: &DriftInput<'_>,
    plan: &ServerPlan,
    state: Option<&ObservedState>,
    events: &[EngineEvent],
    findings: &mut Vec<Finding>,
) {
    let first = findings.len();
    let all = plan.groups.iter().flat_map(|group| group.operations.iter().map(move |operation| (group, operation)));
    let all = all.flat_map(|(group, operation)| operation.parts().into_iter().map(move |part| (group, part)));
    // That the proxy looks again follows from the other findings.
    let all = all.filter(|(group, operation)| operation.cause != Cause::ProxyStale && !is_on_the_way(group, operation));
    for (group, operation) in all {
        let operation = &operation;
        let network = operation.call.network().filter(|name| !name.starts_with('(')).map(str::to_owned);
        let container = match operation.cause {
            Cause::NetworkMissing
            | Cause::NetworkReplaced
            | Cause::OwnershipTaken
            | Cause::NetworkDuplicate
            | Cause::Undeclared
            | Cause::DeletionRequested => None,
            _ => operation.call.container().or(operation.call.service()).map(str::to_owned),
        };
        let reason = operation.cause.as_str();
        let known = findings.iter_mut().skip(first).find(|known| {
            known.object == operation.object
                && known.reason == reason
                && known.container == container
                && known.network == network
        });
        if let Some(known) = known {
            known.disruptive |= operation.disruptive;
            continue;
        }
        findings.push(Finding {
            server: Some(plan.server.path()),
            object: operation.object.clone(),
            reason,
            refused: false,
            disruptive: operation.disruptive,
            message: match operation.cause {
                Cause::NetworkReplaced => replaced(input, group, state, network.as_deref()),
                _ => message(operation, network.as_deref(), container.as_deref()),
            },
            hint: None,
            since: since::of_cause(operation.cause, network.as_deref(), container.as_deref(), state, events),
            network,
            container,
            location: input.locations.get(&operation.object).cloned(),
        });
    }
}

/// An image, a volume or a job that another operation of the group is in need of: what is missing or differs is told of that one.
fn is_on_the_way(group: &Group, operation: &Operation) -> bool {
    let prepares = |operation: &Operation| match &operation.call {
        Call::Workload(call) => matches!(
            **call,
            WorkloadCall::PullImage { .. }
                | WorkloadCall::CreateVolume { .. }
                | WorkloadCall::CreateSecret { .. }
                | WorkloadCall::RunJob { .. }
                | WorkloadCall::CheckData { .. }
        ),
        _ => false,
    };
    prepares(operation) && !group.operations.iter().all(prepares)
}

/// Which fields of the network are others than declared.
fn replaced(input: &DriftInput<'_>, group: &Group, state: Option<&ObservedState>, network: Option<&str>) -> String {
    let old = group.operations.iter().find_map(|operation| match &operation.call {
        Call::RemoveNetwork { network } => state?.network(network.id.as_ref()?),
        _ => None,
    });
    let declared = input.desired.destination(&group.object);
    let differences = old.zip(declared).map(|(old, (_, declared))| immutable_differences(&declared.network, old));
    let fields = match differences {
        Some(differences) if !differences.is_empty() => {
            differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        _ => "it differs in fields that Docker cannot change".to_owned(),
    };
    let name = network.map_or_else(|| "The destination's network".to_owned(), |name| format!("The network {name:?}"));
    format!("{name} would be replaced: {fields}.")
}

fn message(operation: &Operation, network: Option<&str>, container: Option<&str>) -> String {
    let (the_network, network) = match network {
        Some(name) => (format!("The network {name:?}"), format!("the network {name:?}")),
        None => ("The destination's network".to_owned(), "the destination's network".to_owned()),
    };
    let container = container.map(|name| format!("{name:?}")).unwrap_or_default();
    let (member, the_member) = match operation.call.service() {
        // Compose brings up a whole.
        None if container.is_empty() => (operation.object.to_string(), operation.object.to_string()),
        Some(_) => (format!("the Swarm service {container}"), format!("The Swarm service {container}")),
        None => (format!("the container {container}"), format!("The container {container}")),
    };
    match operation.cause {
        Cause::NetworkMissing => format!("{the_network} does not exist."),
        Cause::ProxyDetached => format!("The proxy {container} is not on {network}."),
        Cause::ProxyUnwanted => {
            format!("The proxy {container} is on {network}, of a destination that is deactivated or asks for none.")
        }
        Cause::MemberDetached => format!("{the_member} is not on {network}."),
        Cause::EndpointDiffers => {
            format!("{the_member} is on {network} otherwise than declared.")
        }
        Cause::AddressReserved => {
            format!("{the_member} is on {network} at an address that is declared for another.")
        }
        Cause::EndpointStale => {
            format!("{the_member} is pinned to a removed network, and could not start again.")
        }
        Cause::MembershipExclusive => {
            format!("{the_member} is on {network}, which is exclusive, and no resource declares it.")
        }
        Cause::MemberUndeclared => {
            format!("{the_member} is on {network} for a resource that is no longer declared.")
        }
        Cause::MemberReplaced => format!("{the_member} is on {network}, and another one has taken its place."),
        Cause::MemberMoved => format!("{the_member} is on {network}, and its resource is declared elsewhere."),
        Cause::Deactivated => format!("{the_member} runs, and its destination is deactivated."),
        Cause::NetworkDuplicate => format!("{the_network} is there twice, and no container is on one of them."),
        Cause::Activated => format!("Landfall stopped {member}, and its destination is active again."),
        Cause::StartAfterRepair => format!("{the_member} ended for want of its network."),
        Cause::Undeclared => format!("{the_network} belongs to the set, and no manifest declares it."),
        Cause::JournalRestore => {
            format!("An interrupted replacement has left {member} off {network}.")
        }
        Cause::WorkloadMissing => format!("{the_member} does not exist."),
        Cause::WorkloadDiffers => format!("{the_member} is not as the manifest says: {}.", operation.call),
        Cause::WorkloadStopped => format!("{the_member} does not run."),
        Cause::ImageMoved => format!("{the_member} runs another image than is declared: {}.", operation.call),
        Cause::ReplicaSurplus => format!("{the_member} is one replica more than is declared."),
        Cause::OwnershipTaken => format!("{the_network} is adopted, and is to be Landfall's own."),
        Cause::NetworkReplaced | Cause::ProxyStale | Cause::DeletionRequested | Cause::Rollback => {
            format!("{the_network} is to be changed: {}.", operation.call.name())
        }
    }
}

fn notes<'a>(
    input: &DriftInput<'_>,
    server: Option<&str>,
    notes: impl Iterator<Item = &'a Note>,
    state: Option<&ObservedState>,
    events: &[EngineEvent],
    report: &mut Drift,
) {
    for note in notes {
        let Note { kind, reason, object, message, hint, .. } = note;
        let refused = *kind == NoteKind::Refused;
        match kind {
            NoteKind::Refused | NoteKind::Warning if refused || note.finding.is_some() => {
                let network = network_of(input.desired, object);
                report.findings.push(Finding {
                    server: server.map(str::to_owned),
                    object: object.clone(),
                    reason: reason.as_str(),
                    refused,
                    disruptive: false,
                    message: message.clone(),
                    hint: hint.clone(),
                    since: since::of_refusal(*reason, network.as_deref(), state, events),
                    network,
                    container: note.finding.clone(),
                    location: input.locations.get(object).cloned(),
                });
            }
            // Found anew, with names in fields of their own.
            NoteKind::Unmanaged => {}
            NoteKind::Refused | NoteKind::Waiting | NoteKind::Suspended | NoteKind::Warning => {
                report.notes.push(DriftNote {
                    kind: *kind,
                    reason: *reason,
                    server: server.map(str::to_owned),
                    object: object.clone(),
                    message: message.clone(),
                    hint: hint.clone(),
                })
            }
        }
    }
}

fn network_of(desired: &DesiredState, destination: &ObjectKey) -> Option<String> {
    desired.destination(destination).and_then(|(_, destination)| destination.network.name.clone())
}

/// Networks that an engine has of itself.
const PREDEFINED: [&str; 5] = ["bridge", "host", "none", "ingress", "docker_gwbridge"];

fn unmanaged(
    input: &DriftInput<'_>,
    server: &DesiredServer,
    state: &ObservedState,
    events: &[EngineEvent],
    unmanaged: &mut Vec<Unmanaged>,
) {
    let Some(facts) = facts(input.desired, server, input.observed) else { return };
    let name = server.key.path();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut names: BTreeSet<&str> = PREDEFINED.into();
    names.extend(server.destinations.iter().filter_map(|destination| destination.network.name.as_deref()));
    for (key, destination) in &facts.destinations {
        let Some(network) = &destination.network else { continue };
        known.insert(&network.id);
        let declared = server.destinations.iter().find(|declared| declared.key == *key);
        let exclusive = declared.is_some_and(|it| it.membership == Membership::Exclusive);
        let mut containers = Vec::new();
        // Of whom Landfall keeps until another takes his place, the notes tell.
        for foreign in destination.unmanaged.iter().filter(|it| it.kept_for.is_none()) {
            let name = &foreign.container;
            // An exclusive destination is rid of containers, and leaves services to their definitions.
            if foreign.state == SERVICE {
                containers.push((foreign, format!("No resource declares the Swarm service {name:?}.")));
            } else if !exclusive {
                containers.push((foreign, format!("No resource declares the container {name:?}.")));
            }
        }
        if let Some(proxy) = destination.proxy.as_ref().filter(|proxy| proxy.connected)
            && declared.is_some_and(|declared| declared.active && !declared.proxy)
        {
            let message = format!("The proxy {:?} is on it, and the destination asks for none.", proxy.container);
            containers.push((proxy, message));
        }
        for (container, message) in containers {
            unmanaged.push(Unmanaged {
                server: name.clone(),
                kind: if container.state == SERVICE { UnmanagedKind::SwarmService } else { UnmanagedKind::Container },
                name: container.container.clone(),
                network: Some(network.name.clone()),
                object: Some(key.clone()),
                state: Some(container.state),
                message,
                since: since::connected(&network.name, &container.container, state, events),
            });
        }
    }
    elsewhere(input, server, state, events, unmanaged);
    let mut networks: Vec<_> = state.networks.iter().collect();
    networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    for network in networks {
        if known.contains(network.id.as_str())
            || names.contains(network.name.as_str())
            || network.ingress
            || stack::is_home(server, network)
        {
            continue;
        }
        if is_of_another_node(input.desired, input.observed, &server.key, network) {
            continue;
        }
        let message = match ownership::of(network) {
            // Somebody else's manifests have it.
            Some(owner) if owner.sealed && owner.set != input.desired.set => continue,
            Some(ownership::Ownership { sealed: true, destination: Some(made_for), .. }) => {
                left_over(input.desired, &server.key, &made_for, &network.name)
            }
            _ => format!("No manifest declares the network {:?}.", network.name),
        };
        unmanaged.push(Unmanaged {
            server: name.clone(),
            kind: UnmanagedKind::Network,
            name: network.name.clone(),
            network: None,
            object: None,
            state: None,
            message,
            since: since::created(network),
        });
    }
}

/// Containers on networks of the Swarm that another node's destination is about, and this server has none for.
fn elsewhere(
    input: &DriftInput<'_>,
    server: &DesiredServer,
    state: &ObservedState,
    events: &[EngineEvent],
    unmanaged: &mut Vec<Unmanaged>,
) {
    if state.engine.swarm == SwarmState::Inactive {
        return;
    }
    let declared: BTreeSet<&str> =
        server.destinations.iter().filter_map(|destination| destination.network.name.as_deref()).collect();
    let seen = input.observed.values().flatten().flat_map(|state| &state.networks);
    let shared: BTreeMap<&NetworkId, &ObservedNetwork> = seen
        .filter(|network| network.scope == NetworkScope::Swarm && !network.ingress)
        .map(|it| (&it.id, it))
        .collect();
    let proxy = server.proxy.as_ref().map(|proxy| proxy.instance.name());
    let mut containers: Vec<_> = state.containers.iter().collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    for container in containers {
        let of_service = container.labels.get(SWARM_SERVICE).map(String::as_str);
        if of_service.is_some() || proxy == Some(container.name.as_str()) {
            continue;
        }
        for endpoint in &container.endpoints {
            let Some(network) = endpoint.network_id.as_ref().and_then(|id| shared.get(id)) else { continue };
            if declared.contains(network.name.as_str()) {
                continue;
            }
            let owner = ownership::of(network).filter(|owner| owner.sealed && owner.set == input.desired.set);
            let made_for = owner.and_then(|owner| owner.destination);
            let by_name = || {
                let others = input.desired.all_servers().filter(|other| other.key != server.key);
                let mut others = others.flat_map(|other| &other.destinations);
                let named = others.find(|it| it.network.name.as_deref() == Some(network.name.as_str()))?;
                is_of_another_node(input.desired, input.observed, &server.key, network).then(|| named.key.clone())
            };
            let on = made_for.filter(|key| input.desired.destination(key).is_some_and(|(on, _)| on.key != server.key));
            let Some(key) = on.or_else(by_name) else { continue };
            unmanaged.push(Unmanaged {
                server: server.key.path(),
                kind: UnmanagedKind::Container,
                name: container.name.clone(),
                network: Some(network.name.clone()),
                message: format!(
                    "No resource declares the container {:?}, which is on the network of {key}, and no destination of this server shares it.",
                    container.name
                ),
                object: Some(key),
                state: Some(container.state.as_str()),
                since: since::connected(&network.name, &container.name, state, events),
            });
        }
    }
}
