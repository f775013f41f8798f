//! The plan as a document: operations with their causes, and notes on what is not done and why.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::workload::call::WorkloadCall;
use crate::core::api::{DestinationType, ObjectKey};
#[cfg(doc)]
use crate::core::desired::DesiredServer;
use crate::core::observed::{
    ContainerId, EndpointSettings, NetworkId, ObservedContainer, ObservedEndpoint, ObservedNetwork, ObservedService,
    ObservedState, ObservedSubnet, ServiceAttachment, ServiceId,
};

/// What to do on all servers, in a stable order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub set: String,
    /// In the order of their keys.
    pub servers: Vec<ServerPlan>,
    /// Notes that concern no single server.
    pub notes: Vec<Note>,
}

impl Plan {
    /// Adds the plan for other servers.
    pub fn extend(&mut self, other: Plan) {
        self.servers.extend(other.servers);
        self.servers.sort_by(|one, other| one.server.cmp(&other.server));
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

/// One server's part of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerPlan {
    pub server: ObjectKey,
    /// `None`: the server could not be observed, and `groups` is empty.
    pub server_type: Option<ServerType>,
    /// The Swarm that it is part of. `None` where it is part of none, or where no manager of it could be asked.
    pub swarm: Option<Cluster>,
    /// Executed one after another. A failure within a group skips the rest of that group, and later operations on a network it was to create.
    pub groups: Vec<Group>,
    /// Journals that have nothing left to restore: their files go.
    pub settled: Vec<Journal>,
    /// What is not deleted because nobody has agreed to it.
    pub withheld: Option<Withheld>,
    pub notes: Vec<Note>,
}

/// Deletions, disconnections and removals of containers that are more than a pass makes unasked: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// Stands for exactly this list on this server: who agrees to it agrees to nothing else.
    pub fingerprint: String,
    /// What is declared on the server meanwhile, as [`DesiredServer::declares`] has it: who agrees does so for that.
    #[serde(default)]
    pub declared: String,
    pub deletions: Vec<WithheldDeletion>,
    /// Of endpoints that Landfall made for what the manifests no longer have, those on networks that would be removed included.
    pub disconnections: Vec<WithheldDisconnection>,
    /// Containers that Landfall runs for resources that the manifests no longer have.
    pub removals: Vec<WithheldRemoval>,
}

/// How many there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WithheldCounts {
    pub deletions: usize,
    pub disconnections: usize,
    pub removals: usize,
}

impl WithheldCounts {
    pub fn total(self) -> usize {
        self.deletions + self.disconnections + self.removals
    }
}

impl std::iter::Sum for WithheldCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            deletions: a.deletions + b.deletions,
            disconnections: a.disconnections + b.disconnections,
            removals: a.removals + b.removals,
        })
    }
}

/// `2 deletions, 1 disconnection and 3 removals of containers`
impl std::fmt::Display for WithheldCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let words = [
            word(self.deletions, "deletion", "deletions"),
            word(self.disconnections, "disconnection", "disconnections"),
            word(self.removals, "removal of a container", "removals of containers"),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        match words.split_last() {
            None => Ok(()),
            Some((only, [])) => f.write_str(only),
            Some((last, others)) => write!(f, "{} and {last}", others.join(", ")),
        }
    }
}

impl Withheld {
    /// Whether everything in the other list is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        other.deletions.iter().all(|it| self.deletions.contains(it))
            && other.disconnections.iter().all(|it| self.disconnections.contains(it))
            && other.removals.iter().all(|it| self.removals.contains(it))
    }

    /// Whether anything of it is there to be removed or disconnected.
    pub fn is_left_on(&self, state: &ObservedState) -> bool {
        let on = |network: &NetworkId, name: &str, endpoint: &ObservedEndpoint| match &endpoint.network_id {
            Some(id) => id == network,
            None => endpoint.network_name == name,
        };
        let is_connected = |it: &WithheldDisconnection| {
            let mut containers = state.containers.iter().filter(|container| container.id.as_str() == it.id);
            let mut services = state.services.iter().filter(|service| service.id.as_str() == it.id);
            containers.any(|container| container.endpoints.iter().any(|end| on(&it.network_id, &it.network, end)))
                || services.any(|service| service.networks.iter().any(|end| end.is(&it.network_id, &it.network)))
        };
        self.deletions.iter().any(|it| state.networks.iter().any(|network| network.id == it.network_id))
            || self.removals.iter().any(|it| {
                state.containers.iter().any(|container| container.id.as_str() == it.id)
                    || state.services.iter().any(|service| service.id.as_str() == it.id)
            })
            || self.disconnections.iter().any(is_connected)
    }

    pub fn counts(&self) -> WithheldCounts {
        WithheldCounts {
            deletions: self.deletions.len(),
            disconnections: self.disconnections.len(),
            removals: self.removals.len(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WithheldRemoval {
    /// The resource that it was made for.
    pub object: ObjectKey,
    pub name: String,
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldDeletion {
    pub destination: ObjectKey,
    pub network: String,
    pub network_id: NetworkId,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WithheldDisconnection {
    /// Whose network it is.
    pub destination: ObjectKey,
    /// Of the container or the Swarm service.
    pub name: String,
    pub id: String,
    pub network: String,
    pub network_id: NetworkId,
}

impl ServerPlan {
    /// Another server whose daemon gets the calls that are for a manager.
    pub fn manager(&self) -> Option<&ObjectKey> {
        self.swarm.as_ref().map(|swarm| &swarm.manager).filter(|manager| **manager != self.server)
    }
}

/// The Swarm that a server is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The server whose daemon lists the Swarm's networks and gets the calls that are for a manager: the server itself if it is one.
    pub manager: ObjectKey,
    /// Other declared servers that are part of it, in order. Their containers may be on its networks.
    pub nodes: Vec<ObjectKey>,
}

/// What the daemon says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerType {
    Standalone,
    Manager,
    Worker,
    /// On its way into a Swarm.
    Pending,
    /// A manager that nobody has unlocked since it started.
    Locked,
    /// A manager of a Swarm that has lost too many of its managers.
    Leaderless,
    /// Of a Swarm that does not work.
    Error,
}

impl ServerType {
    pub fn destination_type(self) -> DestinationType {
        match self {
            ServerType::Standalone => DestinationType::Standalone,
            ServerType::Manager
            | ServerType::Worker
            | ServerType::Pending
            | ServerType::Locked
            | ServerType::Leaderless
            | ServerType::Error => DestinationType::Swarm,
        }
    }

    /// As people call it.
    pub fn describe(self) -> &'static str {
        match self {
            ServerType::Standalone => "standalone",
            ServerType::Manager => "Swarm manager",
            ServerType::Worker => "Swarm worker",
            ServerType::Pending => "joining a Swarm",
            ServerType::Locked => "locked Swarm manager",
            ServerType::Leaderless => "Swarm manager without a leader",
            ServerType::Error => "Swarm node in error",
        }
    }
}

/// Operations that belong together because a later one relies on an earlier one.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub object: ObjectKey,
    pub operations: Vec<Operation>,
    /// What to write down durably before the first operation, because a crash midway would otherwise lose it. It goes when the group is done
    /// or completely undone; that of a forced deletion stays, for people.
    pub journal: Option<Journal>,
    /// Journals of interrupted groups that this one helps to restore. One of them goes when every group that names it is done; undoing is
    /// not enough.
    pub completes: Vec<Journal>,
    /// Connections that earlier groups make and that have to be seen in place before the first operation. Without one of them the group is
    /// skipped: nobody is let go before somebody else serves.
    pub needs: Vec<Connection>,
}

/// Somebody on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub party: Party,
    pub network: NetworkTarget,
}

/// Who can be on a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Container(ContainerId),
    /// Its tasks.
    Service(ServiceId),
}

/// Each of them once, in their order.
pub fn distinct(needs: Vec<Connection>) -> Vec<Connection> {
    let mut distinct: Vec<Connection> = Vec::with_capacity(needs.len());
    for need in needs {
        if !distinct.contains(&need) {
            distinct.push(need);
        }
    }
    distinct
}

/// One Docker API call.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The declared object it serves.
    pub object: ObjectKey,
    pub call: Call,
    pub cause: Cause,
    /// Existing connections break or tasks restart.
    pub disruptive: bool,
    /// What puts things back, as they were observed, when a later operation of the group fails. Run in reverse order. Where undoing has
    /// created a removed network again, its old id stands for the new one from there on.
    pub undo: Option<Call>,
}

impl Operation {
    /// Of one that makes a network anew: what differs.
    pub fn replaces(&self) -> &[FieldDifference] {
        match &self.call {
            Call::CreateNetwork(create) => &create.replaces,
            _ => &[],
        }
    }
}

/// The driver of networks that span the nodes of a Swarm.
pub const OVERLAY: &str = "overlay";

/// The call itself, complete: the executor adds nothing but the id of a network created earlier in the plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    CreateNetwork(NetworkCreate),
    ConnectEndpoint {
        network: NetworkTarget,
        container: ContainerTarget,
        settings: EndpointSettings,
        reserved: Reserved,
    },
    DisconnectEndpoint {
        network: NetworkTarget,
        container: ContainerTarget,
        force: bool,
    },
    /// Nobody refers to the network when it is removed, stopped containers included: look again right before.
    RemoveNetwork {
        network: NetworkTarget,
    },
    StartContainer {
        container: ContainerTarget,
    },
    StopContainer {
        container: ContainerTarget,
    },
    /// A Swarm service is on networks by its definition, and its tasks are restarted when that changes. The rest of the definition is as it is
    /// found.
    UpdateService {
        service: ServiceTarget,
        /// All that a pass changes, in one: each update restarts the tasks. At least one.
        changes: Vec<NetworkChange>,
    },
    /// A service has no state of its own to be stopped in: it is given no tasks, and later as many as it had.
    ScaleService {
        service: ServiceTarget,
        replicas: u64,
    },
    /// A short-lived container of the proxy's own image starts and goes: that has the proxy look again.
    RefreshProxy {
        proxy: ContainerTarget,
        image: String,
        set: String,
    },
    /// Something for a resource that Landfall runs.
    Workload(Box<WorkloadCall>),
}

impl Call {
    /// Whether it goes to a manager of the Swarm that the server is part of, and not to the server's own daemon.
    pub fn is_for_manager(&self) -> bool {
        match self {
            Call::CreateNetwork(create) => create.driver == OVERLAY,
            Call::RemoveNetwork { network } => network.id.as_ref().is_some_and(NetworkId::is_of_swarm),
            Call::UpdateService { .. } | Call::ScaleService { .. } => true,
            Call::ConnectEndpoint { .. }
            | Call::DisconnectEndpoint { .. }
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::RefreshProxy { .. } => false,
            Call::Workload(call) => call.is_for_manager(),
        }
    }

    /// As in the plan's JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Call::CreateNetwork(_) => "CreateNetwork",
            Call::ConnectEndpoint { .. } => "ConnectEndpoint",
            Call::DisconnectEndpoint { .. } => "DisconnectEndpoint",
            Call::RemoveNetwork { .. } => "RemoveNetwork",
            Call::StartContainer { .. } => "StartContainer",
            Call::StopContainer { .. } => "StopContainer",
            Call::UpdateService { .. } | Call::ScaleService { .. } => "UpdateService",
            Call::RefreshProxy { .. } => "RefreshProxy",
            Call::Workload(call) => call.name(),
        }
    }

    /// The container it changes.
    pub fn container_target(&self) -> Option<&ContainerTarget> {
        match self {
            Call::ConnectEndpoint { container, .. }
            | Call::DisconnectEndpoint { container, .. }
            | Call::StartContainer { container }
            | Call::StopContainer { container } => Some(container),
            Call::Workload(call) => call.target(),
            Call::CreateNetwork(_)
            | Call::RemoveNetwork { .. }
            | Call::UpdateService { .. }
            | Call::RefreshProxy { .. }
            | Call::ScaleService { .. } => None,
        }
    }

    /// The Swarm service that it changes.
    pub fn updated(&self) -> Option<&ServiceTarget> {
        match self {
            Call::UpdateService { service, .. } | Call::ScaleService { service, .. } => Some(service),
            Call::Workload(call) => call.updated(),
            _ => None,
        }
    }

    /// The connections that are there once it is done.
    pub fn connections(&self) -> Vec<Connection> {
        match self {
            Call::ConnectEndpoint { network, container, .. } => {
                vec![Connection { party: Party::Container(container.id.clone()), network: network.clone() }]
            }
            Call::UpdateService { service, changes } => {
                let made = changes.iter().filter(|change| change.attachment.is_some());
                made.map(|change| service.on(&change.network)).collect()
            }
            Call::CreateNetwork(_)
            | Call::DisconnectEndpoint { .. }
            | Call::RemoveNetwork { .. }
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::ScaleService { .. }
            | Call::RefreshProxy { .. }
            | Call::Workload(_) => Vec::new(),
        }
    }

    /// The connections that are not there any more once it is done.
    pub fn disconnections(&self) -> Vec<Connection> {
        match self {
            Call::DisconnectEndpoint { network, container, .. } => {
                vec![Connection { party: Party::Container(container.id.clone()), network: network.clone() }]
            }
            Call::UpdateService { service, changes } => {
                let gone = changes.iter().filter(|change| change.attachment.is_none());
                gone.map(|change| service.on(&change.network)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The networks that have to be created earlier in the plan for the call to be possible.
    pub fn awaits(&self) -> Vec<&str> {
        let networks: Vec<&NetworkTarget> = match self {
            Call::ConnectEndpoint { network, .. }
            | Call::DisconnectEndpoint { network, .. }
            | Call::RemoveNetwork { network } => vec![network],
            Call::UpdateService { changes, .. } => changes.iter().map(|change| &change.network).collect(),
            Call::Workload(call) => call.network().into_iter().collect(),
            Call::CreateNetwork(_)
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::RefreshProxy { .. }
            | Call::ScaleService { .. } => Vec::new(),
        };
        networks.into_iter().filter(|network| network.id.is_none()).map(|network| network.name.as_str()).collect()
    }
}

/// A network that the tasks of a Swarm service are put on, or taken off.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkChange {
    /// The declared object it serves.
    pub object: ObjectKey,
    pub cause: Cause,
    pub network: NetworkTarget,
    /// How the tasks are put on the network; `None`: they are taken off it.
    pub attachment: Option<ServiceAttachment>,
    /// As of a group: without one of them in place, this change is left out of the update.
    pub needs: Vec<Connection>,
}

/// What an endpoint must not be given, because it is declared for others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    pub addresses: Vec<IpAddr>,
    /// Free ones to choose from where the daemon chooses one of `addresses` all the same, the first first.
    pub spare: Vec<IpAddr>,
}

/// A network to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkTarget {
    pub name: String,
    /// `None`: the one created under `name` earlier in this server's plan. If that failed, what was to be done with it is skipped.
    pub id: Option<NetworkId>,
}

impl NetworkTarget {
    pub fn existing(network: &ObservedNetwork) -> Self {
        Self { name: network.name.clone(), id: Some(network.id.clone()) }
    }
}

/// A container to act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerTarget {
    pub name: String,
    pub id: ContainerId,
}

impl ContainerTarget {
    pub fn of(container: &ObservedContainer) -> Self {
        Self { name: container.name.clone(), id: container.id.clone() }
    }
}

/// A Swarm service to act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTarget {
    pub name: String,
    pub id: ServiceId,
}

impl ServiceTarget {
    pub fn of(service: &ObservedService) -> Self {
        Self { name: service.name.clone(), id: service.id.clone() }
    }

    fn on(&self, network: &NetworkTarget) -> Connection {
        Connection { party: Party::Service(self.id.clone()), network: network.clone() }
    }
}

impl Operation {
    /// The operation as it would be for each thing that it does by itself: the changes of a service are of several objects, for causes of their own.
    pub fn parts(&self) -> Vec<Operation> {
        let Call::UpdateService { service, changes } = &self.call else { return vec![self.clone()] };
        let part = |change: &NetworkChange| Operation {
            object: change.object.clone(),
            call: Call::UpdateService { service: service.clone(), changes: vec![change.clone()] },
            cause: if self.cause == Cause::Rollback { self.cause } else { change.cause },
            ..self.clone()
        };
        changes.iter().map(part).collect()
    }

    /// The declared objects it serves.
    pub fn objects(&self) -> Vec<&ObjectKey> {
        match &self.call {
            Call::UpdateService { changes, .. } => changes.iter().map(|change| &change.object).collect(),
            _ => vec![&self.object],
        }
    }
}

fn yes() -> bool {
    true
}

/// The body of `POST /networks/create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkCreate {
    pub name: String,
    pub driver: String,
    pub attachable: bool,
    pub internal: bool,
    /// False is for engines from API 1.48 on.
    #[serde(default = "yes")]
    pub ipv4: bool,
    pub ipv6: bool,
    pub subnets: Vec<ObservedSubnet>,
    pub options: BTreeMap<String, String>,
    /// Landfall's own included.
    pub labels: BTreeMap<String, String>,
    /// Why it is made in the place of another: for people, and no part of the call.
    #[serde(skip)]
    pub replaces: Vec<FieldDifference>,
    /// Networks of its destination under other names that are there as well, as the plan has it.
    #[serde(skip)]
    pub beside: Vec<NetworkId>,
    /// No manifest says the name: another applier makes the network of the same destination under another one.
    #[serde(skip)]
    pub generated: bool,
}

/// A field that Docker cannot change, with what the server has and what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDifference {
    /// `spec.network.mtu`
    pub field: String,
    pub observed: String,
    pub declared: String,
}

impl std::fmt::Display for FieldDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, observed, declared } = self;
        write!(f, "{field} is {observed} on the server and {declared} in the manifest")
    }
}

/// Endpoints to be put back should a reconnect, a replacement or a forced deletion be interrupted. Two journals are the same if they are equal:
/// name a file after its content, several of one destination may be open at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    pub server: ObjectKey,
    pub destination: ObjectKey,
    pub purpose: JournalPurpose,
    /// The network as it was, to be created again if the new one cannot be.
    pub network: NetworkCreate,
    pub endpoints: Vec<JournalEndpoint>,
    /// Services that a deactivation has left without tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<JournalService>,
}

/// A journal that exists and says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableJournal {
    /// Whose it is. `None`: it is not known, or the planner would not act on it.
    pub destination: Option<ObjectKey>,
    /// Which file, and why it cannot be read.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JournalPurpose {
    /// Somebody is disconnected in order to be connected again: whoever is listed and not on the network is connected.
    Reattach,
    /// The destination was deactivated: whoever is listed was running, and is started when it is active again.
    Deactivated,
    /// `delete --force`: kept so that a person can undo it. The planner does not act on it.
    ForcedDeletion,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEndpoint {
    pub container: ContainerTarget,
    pub settings: EndpointSettings,
    /// It was running and was stopped, for a forced deletion or a deactivation.
    pub was_running: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalService {
    pub service: ServiceTarget,
    /// How many it had.
    pub replicas: u64,
}

/// Why an operation is in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// No network of that destination exists.
    NetworkMissing,
    /// An immutable field differs and `replacement` allows to replace it.
    NetworkReplaced,
    /// An adopted network is made anew as Landfall's own.
    OwnershipTaken,
    /// The proxy does not notice by itself that a member is reachable at another address.
    ProxyStale,
    /// The proxy is not on an active destination's network.
    ProxyDetached,
    /// The proxy is on the network of a destination that is deactivated or asks for no proxy.
    ProxyUnwanted,
    /// A declared member is not on the network.
    MemberDetached,
    /// The endpoint lacks something that is declared, or has something that Landfall put there and that no longer is.
    EndpointDiffers,
    /// The daemon gave the endpoint an address that is declared for another member.
    AddressReserved,
    /// The container is pinned to a network that no longer exists.
    EndpointStale,
    /// An undeclared container on an exclusive destination.
    MembershipExclusive,
    /// Landfall connected it for a resource that is no longer declared.
    MemberUndeclared,
    /// Landfall connected it for a resource that another container serves for by now.
    MemberReplaced,
    /// Landfall connected it for a resource that is declared elsewhere by now, where it is connected.
    MemberMoved,
    /// The destination is deactivated.
    Deactivated,
    /// The destination is active again, and Landfall had stopped the container.
    Activated,
    /// The container ended because its network or its attachment was missing, and the manifest wants it started once that is repaired.
    StartAfterRepair,
    /// `delete` names the object.
    DeletionRequested,
    /// The destination has another network of the same name; nobody is on this one.
    NetworkDuplicate,
    /// The set owns the network and no manifest declares it any more.
    Undeclared,
    /// No container of the replica exists.
    WorkloadMissing,
    /// The container is not as the manifest says.
    WorkloadDiffers,
    /// The container is as declared, and does not run.
    WorkloadStopped,
    /// The image that the reference stands for is another one now.
    ImageMoved,
    /// More replicas run than are declared.
    ReplicaSurplus,
    /// An interrupted replacement left the container disconnected.
    JournalRestore,
    /// A failed operation of the group is being undone.
    Rollback,
}

/// Something that is not done, or that somebody should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub kind: NoteKind,
    pub reason: Reason,
    pub object: ObjectKey,
    /// A full sentence; differences name both values.
    pub message: String,
    /// The command or change that would resolve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default)]
    pub blockers: Vec<Blocker>,
    /// What a rollout of others has undone, and what is put back when it is over.
    #[serde(skip)]
    pub undone: Vec<Undone>,
    /// In so many seconds it may be over, though nothing tells of that.
    #[serde(skip)]
    pub again: Option<u32>,
    /// Name of a container with which something is wrong that no operation puts right: `drift` counts it.
    #[serde(skip)]
    pub finding: Option<String>,
}

/// A network that a Swarm service lacks while a rollout of it is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Undone {
    pub service: ServiceTarget,
    pub network: NetworkTarget,
    /// When the rollout began, as the engine says it.
    pub rollout: String,
}

impl Note {
    pub fn new(kind: NoteKind, reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason,
            object: object.clone(),
            message: message.into(),
            hint: None,
            blockers: Vec::new(),
            undone: Vec::new(),
            again: None,
            finding: None,
        }
    }

    pub fn refused(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Refused, reason, object, message)
    }

    pub fn waiting(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Waiting, reason, object, message)
    }

    pub fn unmanaged(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Unmanaged, reason, object, message)
    }

    pub fn warning(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Warning, reason, object, message)
    }

    /// A warning about a container that `drift` counts.
    pub fn finding(reason: Reason, object: &ObjectKey, container: &str, message: impl Into<String>) -> Self {
        Self { finding: Some(container.to_owned()), ..Self::warning(reason, object, message) }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn again(mut self, seconds: Option<u32>) -> Self {
        self.again = seconds;
        self
    }

    #[must_use]
    pub fn blockers(mut self, blockers: Vec<Blocker>) -> Self {
        self.blockers = blockers;
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NoteKind {
    Refused,
    Waiting,
    Unmanaged,
    Suspended,
    Warning,
}

/// Why something is not done. The words are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    ResourcesRemain,
    AdoptionRequired,
    OwnershipConflict,
    ImmutableField,
    NameAmbiguous,
    WrongScope,
    NotASwarmManager,
    ServerUnreachable,
    PermissionDenied,
    NetworkInUse,
    NetworkNotFound,
    /// An adopted network does not exist, and what made it has to bring it back.
    NetworkMissing,
    /// The proxy could not be made to look again.
    ProxyStale,
    AddressPoolExhausted,
    /// Few addresses of a network are left, or few ranges of a pool.
    AddressesLow,
    SubnetOverlap,
    HostKeyMismatch,
    MassDeletionRefused,
    ContainerMissing,
    MembershipForeign,
    ManifestInvalid,
    /// What an interrupted change has left behind is on record and cannot be read.
    JournalUnreadable,
    /// A pass ended before anything was known.
    PassFailed,
    /// `suspend: true` on the object or its server.
    Suspended,
    /// Declared by no manifest; reported, never touched.
    Undeclared,
    /// `deletionPolicy: Orphan`, or an adopted network: forgotten, not removed.
    Orphaned,
    /// One alias, two members: whoever asks for it gets either.
    AliasTakenTwice,
    /// A static address that lies outside of the network's subnets.
    AddressUnavailable,
    /// A static address that another container holds.
    AddressTaken,
    /// A name that something else has: the bridge of another network.
    NameTaken,
    /// Something else keeps undoing what the controller repairs.
    Contended,
    /// The settings of an endpoint are not in the observation. They are never guessed, so it is not reconnected.
    EndpointUnknown,
    /// The container is not running, and starting it is not Landfall's to decide.
    LeftStopped,
    /// The engine did not give an endpoint the settings it was asked for.
    EndpointDiffers,
    /// Connecting a container moves its default route to the network, and the engine cannot be told otherwise.
    DefaultRouteMoves,
    /// `insecure: true`: the server is reached without encryption and without authentication.
    InsecureTransport,
    /// No registry gives the image.
    ImageUnavailable,
    /// A new container did not become healthy.
    HealthCheckFailed,
    /// A port of the server that something else has.
    PortTaken,
    /// The data on a volume cannot be used as declared.
    DataIncompatible,
    /// The declared volume is another than the one with the data.
    VolumeChanged,
    /// A backup that has to be there first is not.
    BackupFailed,
    /// The volume is being filled with a copy.
    VolumeIncomplete,
    /// A value that comes from elsewhere is not there.
    SecretMissing,
    /// A job before a rollout failed.
    HookFailed,
    /// The proxy reads no labels, or there is none.
    ProxyUnsupported,
    /// A rollout that cannot be had without failed requests.
    RolloutInterrupts,
    /// A stack file does not name the network that Landfall puts its service on.
    StackFileLacks,
    /// Fewer tasks of a Swarm service run than should.
    TasksNotRunning,
    /// A container ends again and again, and the daemon starts it again.
    Restarting,
    /// The Swarm lets no container of the node onto its networks: the node is drained or paused.
    NodeUnavailable,
    /// The server has left its Swarm, or says so for a moment: what was an overlay waits.
    RoleChanged,
    /// The Swarm is replacing the tasks of the service, or has paused in that: nothing about it is changed.
    RolloutInProgress,
    /// An update of a Swarm service takes the place of what could be rolled back to.
    RollbackChanges,
    /// Docker Compose, or for a Swarm the Docker CLI, is not installed where Landfall runs.
    ComposeMissing,
    /// A compose file that cannot be brought up as it is, or that says something which has no effect.
    ComposeInvalid,
    /// Networks of a compose file that the proxy or others cannot reach.
    ComposeNetworks,
}

/// What stands in the way of a deletion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blocker {
    pub kind: BlockerKind,
    pub name: String,
    /// `running`, `exited`, …; `declared` for a resource in the manifests.
    pub state: String,
    /// `namespace/name` of the server it is on, where that is another node of the destination's Swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BlockerKind {
    Destination,
    Application,
    Database,
    Service,
    Container,
    SwarmService,
    SwarmTask,
}
