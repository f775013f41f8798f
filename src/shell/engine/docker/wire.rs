//! The daemon's JSON, as far as anyone looks at it. Absent and null are the same, and what is not named here may be anything.
//!
//! Few bytes of JSON can stand for much memory: `{}` for a whole endpoint. So lists are turned into what is kept of them entry by entry,
//! and what an answer may come to in memory is bounded as its bytes are (`budget.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Deserializer};

use super::budget::{self, Part};
pub(super) use super::budget::{List, decoded};

use crate::core::observed::{
    AddressOf, AddressPool, ContainerId, ContainerState, EndpointSettings, EngineInfo, Exit, Health, NetworkId,
    NetworkScope, NodeAvailability, ObservedContainer, ObservedEndpoint, ObservedNetwork, ObservedNode,
    ObservedService, ObservedSubnet, ObservedTask, OwnAddress, Rollout, ServiceAttachment, ServiceId, ServiceNetwork,
    SwarmAttachment, SwarmState, TaskCount,
};
use crate::shell::engine::NetworkDetail;
use crate::shell::engine::{ContainerDetail, EngineEvent};

use super::definition;
use crate::core::workload::HostPort;
use crate::core::workload::identity::OBJECT;
use crate::core::workload::seen::SeenVolume;
use crate::core::workload::service::{self as workload, SeenSecret, SeenService, ServiceTask};

/// An answer that decodes and makes no sense.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Odd(pub(super) String);

fn or_default<'de, D: Deserializer<'de>, T: Part>(deserializer: D) -> Result<T, D::Error> {
    T::or_default(deserializer)
}

/// The daemon writes an empty string for nothing.
fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

macro_rules! wire {
    ($(#[$meta:meta])* $name:ident { $($key:literal $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct $name {
            $(#[serde(rename = $key, deserialize_with = "or_default")] $field: $type,)*
        }

        impl Part for $name {}
    };
}

wire!(Info {
    "ID" id: String,
    "Name" name: String,
    "ServerVersion" version: String,
    "Swarm" swarm: Swarm,
    "DefaultAddressPools" pools: Vec<Pool>,
});
wire!(Swarm {
    "LocalNodeState" state: String,
    "NodeID" node_id: String,
    "NodeAddr" node_address: String,
    "ControlAvailable" control_available: bool,
    "Error" error: String,
    "Cluster" cluster: Cluster,
    "RemoteManagers" managers: Vec<Manager>,
    "Nodes" nodes: u64,
});
wire!(Cluster { "ID" id: String, });
wire!(Manager { "Addr" address: String, "NodeID" node_id: String, });
wire!(Pool { "Base" base: String, "Size" size: i64, });

impl From<Info> for EngineInfo {
    fn from(info: Info) -> Self {
        Self {
            addresses: info.swarm.addresses(),
            id: info.id,
            name: info.name,
            version: info.version,
            api_version: None,
            swarm: info.swarm.into(),
            address_pools: info.pools.into_iter().map(|Pool { base, size }| AddressPool { base, size }).collect(),
        }
    }
}

impl Swarm {
    /// What the nodes of the Swarm find each other by.
    fn addresses(&self) -> Vec<OwnAddress> {
        let own = self.node_address.parse().ok().and_then(|address| OwnAddress::new(address, AddressOf::Server));
        let managers = self.managers.iter().filter_map(|manager| manager.address.parse::<SocketAddr>().ok());
        let managers = managers.filter_map(|address| OwnAddress::new(address.ip(), AddressOf::SwarmManager));
        own.into_iter().chain(managers).collect()
    }
}

impl From<Swarm> for SwarmState {
    fn from(swarm: Swarm) -> Self {
        let Swarm { state, node_id, node_address: _, control_available, error, cluster, managers, nodes } = swarm;
        let (mut manager_addresses, manager_ids): (Vec<String>, Vec<String>) =
            managers.into_iter().map(|manager| (manager.address, manager.node_id)).unzip();
        manager_addresses.sort();
        // Before the first answer of a manager its id is not known.
        let managers: BTreeSet<String> = manager_ids.into_iter().filter_map(filled).collect();
        match state.as_str() {
            "" | "inactive" => SwarmState::Inactive,
            "pending" => SwarmState::Pending,
            "locked" => SwarmState::Locked,
            // More than half of the managers have to be there. Without them this one knows nothing of the Swarm, and shows an empty one.
            "active" if control_available && cluster.id.is_empty() => {
                let message = filled(error).unwrap_or_else(|| "its managers do not answer".to_owned());
                SwarmState::Error { message, manager: true }
            }
            "active" if control_available => {
                SwarmState::Manager { node_id, cluster_id: cluster.id, nodes: (nodes > 0).then_some(nodes), managers }
            }
            "active" => SwarmState::Worker { node_id, manager_addresses, managers },
            _ => SwarmState::Error { message: filled(error).unwrap_or(state), manager: control_available },
        }
    }
}

wire!(Network {
    "Id" id: String,
    "Name" name: String,
    "Created" created: String,
    "Scope" scope: String,
    "Driver" driver: String,
    "EnableIPv4" ipv4: Option<bool>,
    "EnableIPv6" ipv6: bool,
    "IPAM" ipam: Ipam,
    "Internal" internal: bool,
    "Attachable" attachable: bool,
    "Ingress" ingress: bool,
    "Options" options: BTreeMap<String, String>,
    "Labels" labels: BTreeMap<String, String>,
});
wire!(Ipam { "Config" config: Vec<Subnet>, });
wire!(Subnet {
    "Subnet" subnet: String,
    "Gateway" gateway: String,
    "IPRange" ip_range: String,
    "AuxiliaryAddresses" aux_addresses: BTreeMap<String, String>,
});

/// A network with those that run on it.
#[derive(Deserialize)]
pub(super) struct InspectedNetwork {
    #[serde(flatten)]
    network: Network,
    #[serde(rename = "Containers", default)]
    containers: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

impl TryFrom<InspectedNetwork> for NetworkDetail {
    type Error = Odd;

    fn try_from(InspectedNetwork { network, containers }: InspectedNetwork) -> Result<Self, Odd> {
        let network = network.try_into()?;
        // An overlay also has a load balancer on each node, under a name.
        let containers = containers.unwrap_or_default().into_keys().filter_map(|id| id.try_into().ok()).collect();
        Ok(NetworkDetail { network, containers })
    }
}

impl TryFrom<Network> for ObservedNetwork {
    type Error = Odd;

    fn try_from(network: Network) -> Result<Self, Odd> {
        let id = NetworkId::try_from(network.id).map_err(|odd| Odd(odd.to_string()))?;
        let scope = match network.scope.as_str() {
            "local" => NetworkScope::Local,
            "swarm" => NetworkScope::Swarm,
            "global" => NetworkScope::Global,
            // A Swarm's network that its manager has not allocated yet may have none.
            "" if id.is_of_swarm() => NetworkScope::Swarm,
            other => return Err(Odd(format!("network {:?} has the unknown scope {other:?}", network.name))),
        };
        let subnets = network.ipam.config.into_iter().map(|Subnet { subnet, gateway, ip_range, aux_addresses }| {
            ObservedSubnet { subnet, gateway: filled(gateway), ip_range: filled(ip_range), aux_addresses }
        });
        Ok(Self {
            id,
            name: network.name,
            driver: network.driver,
            scope,
            internal: network.internal,
            attachable: network.attachable,
            ingress: network.ingress,
            // Older engines do not say, and know no other.
            ipv4: network.ipv4.unwrap_or(true),
            ipv6: network.ipv6,
            subnets: subnets.collect(),
            options: network.options,
            labels: network.labels,
            created: network.created,
        })
    }
}

wire!(
    /// The answer to making a network.
    Created { "Id" id: String, }
);

impl TryFrom<Created> for NetworkId {
    type Error = Odd;

    fn try_from(created: Created) -> Result<Self, Odd> {
        NetworkId::try_from(created.id).map_err(|odd| Odd(odd.to_string()))
    }
}

wire!(ListedContainer {
    "Id" id: String,
    "Names" names: Vec<String>,
    "Image" image: String,
    "State" state: String,
    "Status" status: String,
    "Labels" labels: BTreeMap<String, String>,
    "HostConfig" host: HostConfig,
    "NetworkSettings" network_settings: NetworkSettings,
    "Ports" ports: Vec<ListedPort>,
});
wire!(ListedPort { "IP" address: String, "PublicPort" number: u64, "Type" protocol: String, });
wire!(HostConfig { "NetworkMode" network_mode: String, });
wire!(NetworkSettings { "Networks" networks: BTreeMap<String, Endpoint>, });
wire!(Endpoint {
    "NetworkID" network_id: String,
    "EndpointID" endpoint_id: String,
    "IPAddress" ipv4_address: String,
    "GlobalIPv6Address" ipv6_address: String,
    "IPAMConfig" ipam: EndpointIpam,
    "Aliases" aliases: Vec<String>,
    "Links" links: Vec<String>,
    "MacAddress" mac_address: String,
    "DriverOpts" driver_opts: BTreeMap<String, String>,
    "GwPriority" gw_priority: Option<i64>,
});
wire!(EndpointIpam {
    "IPv4Address" ipv4_address: String,
    "IPv6Address" ipv6_address: String,
    "LinkLocalIPs" link_local_ips: Vec<String>,
});

impl TryFrom<ListedContainer> for ObservedContainer {
    type Error = Odd;

    fn try_from(container: ListedContainer) -> Result<Self, Odd> {
        let id = ContainerId::try_from(container.id).map_err(|odd| Odd(odd.to_string()))?;
        // Links of other containers (`/other/alias`) are names too.
        let names = container.names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
        let name = names.into_iter().find(|name| !name.contains('/')).unwrap_or(id.short()).to_owned();
        let endpoints = endpoints(container.network_settings, Inspected::No)?;
        Ok(Self {
            state: state(&container.state),
            exit: exit_code(&container.status).map(|code| Exit { code, ..Exit::default() }),
            health: listed_health(&container.status),
            up: listed_uptime(&container.status),
            restarts: 0,
            name,
            image: container.image,
            labels: container.labels,
            network_mode: container.host.network_mode,
            ports: container.ports.into_iter().filter_map(listed_port).collect(),
            endpoints,
            id,
        })
    }
}

/// `None`: exposed, and no port of the server.
fn listed_port(ListedPort { address, number, protocol }: ListedPort) -> Option<HostPort> {
    let number = u16::try_from(number).ok().filter(|number| *number != 0)?;
    Some(HostPort { address: address.parse().ok(), number, protocol })
}

wire!(InspectedContainer {
    "Id" id: String,
    "Name" name: String,
    "State" state: State,
    "RestartCount" restarts: u64,
    "Config" config: Config,
    "HostConfig" host: HostConfig,
    "NetworkSettings" network_settings: NetworkSettings,
});
wire!(State {
    "Status" status: String,
    "ExitCode" code: i64,
    "Error" error: String,
    "OOMKilled" oom_killed: bool,
    "Health" health: HealthState,
});
wire!(HealthState { "Status" status: String, });
wire!(Config {
    "Image" image: String,
    "Labels" labels: BTreeMap<String, String>,
    "Env" env: Vec<String>,
});

impl TryFrom<InspectedContainer> for ContainerDetail {
    type Error = Odd;

    fn try_from(container: InspectedContainer) -> Result<Self, Odd> {
        let id = ContainerId::try_from(container.id).map_err(|odd| Odd(odd.to_string()))?;
        let endpoints = endpoints(container.network_settings, Inspected::Yes)?;
        let State { status, code, error, oom_killed, health } = container.state;
        let state = state(&status);
        // One that was never started has neither, unless starting it failed.
        let ended = state == ContainerState::Exited || (!state.is_live() && !error.is_empty());
        let observed = ObservedContainer {
            id,
            name: container.name.strip_prefix('/').unwrap_or(&container.name).to_owned(),
            image: container.config.image,
            state,
            exit: ended.then_some(Exit { code, error, oom_killed }),
            health: self::health(&health.status).filter(|_| state == ContainerState::Running),
            // Only the daemon's own clock tells, and in the list it does.
            up: None,
            restarts: container.restarts,
            labels: container.config.labels,
            network_mode: container.host.network_mode,
            ports: Vec::new(),
            endpoints,
        };
        Ok(Self { container: observed, env: container.config.env })
    }
}

/// The list has it in words only: `Exited (137) 2 minutes ago`.
fn exit_code(status: &str) -> Option<i64> {
    status.strip_prefix("Exited (")?.split_once(')')?.0.parse().ok()
}

/// The list has it in words only: `Up 2 minutes (healthy)`, `Up 1 second (health: starting)`.
fn listed_health(status: &str) -> Option<Health> {
    let (_, words) = status.strip_prefix("Up ")?.strip_suffix(')')?.rsplit_once('(')?;
    health(words.strip_prefix("health: ").unwrap_or(words))
}

/// The list has it in words only, and to the second for the first minute: `Up Less than a second`, `Up 1 second`, `Up 12 seconds (healthy)`.
fn listed_uptime(status: &str) -> Option<u32> {
    let words = status.strip_prefix("Up ")?;
    if words.starts_with("Less than a second") {
        return Some(0);
    }
    let (count, unit) = words.split_once(' ')?;
    let unit = unit.split(' ').next()?;
    matches!(unit, "second" | "seconds").then(|| count.parse().ok())?
}

fn health(word: &str) -> Option<Health> {
    match word {
        "starting" => Some(Health::Starting),
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        // `none`, and `Paused`, which the list has in the same place.
        _ => None,
    }
}

/// The daemon lists endpoints without their settings.
#[derive(Clone, Copy, PartialEq)]
enum Inspected {
    Yes,
    No,
}

fn endpoints(settings: NetworkSettings, inspected: Inspected) -> Result<Vec<ObservedEndpoint>, Odd> {
    let endpoints = settings.networks.into_iter().map(|(network_name, endpoint)| {
        // Podman has the name in the place of the id, which is as much as a container that was never started knows.
        let id = filled(endpoint.network_id).filter(|id| *id != network_name);
        let network_id = id.map(NetworkId::try_from).transpose();
        let settings = (inspected == Inspected::Yes).then(|| EndpointSettings {
            aliases: endpoint.aliases,
            links: endpoint.links,
            ipv4_address: filled(endpoint.ipam.ipv4_address),
            ipv6_address: filled(endpoint.ipam.ipv6_address),
            link_local_ips: endpoint.ipam.link_local_ips,
            mac_address: filled(endpoint.mac_address),
            driver_opts: endpoint.driver_opts,
            gw_priority: endpoint.gw_priority,
        });
        Ok(ObservedEndpoint {
            network_name,
            network_id: network_id.map_err(|odd| Odd(odd.to_string()))?,
            endpoint_id: endpoint.endpoint_id,
            ipv4_address: endpoint.ipv4_address,
            ipv6_address: endpoint.ipv6_address,
            gw_priority: endpoint.gw_priority,
            settings,
        })
    });
    endpoints.collect()
}

/// A word that no daemon uses yet counts as running: what may be alive is not disturbed without saying so.
fn state(word: &str) -> ContainerState {
    match word {
        // Podman: configured, initialized, stopped.
        "created" | "configured" | "initialized" => ContainerState::Created,
        "paused" => ContainerState::Paused,
        "restarting" => ContainerState::Restarting,
        "removing" => ContainerState::Removing,
        "exited" | "stopped" => ContainerState::Exited,
        "dead" => ContainerState::Dead,
        _ => ContainerState::Running,
    }
}

wire!(Service {
    "ID" id: String,
    "Spec" spec: ServiceSpec,
    "PreviousSpec" previous: Option<PreviousSpec>,
    "UpdateStatus" update: UpdateStatus,
    "ServiceStatus" tasks: Option<ServiceStatus>,
});
wire!(PreviousSpec { "Name" name: String, });
wire!(UpdateStatus { "State" state: String, "StartedAt" started: String, "Message" message: String, });
wire!(ServiceStatus { "RunningTasks" running: u64, "DesiredTasks" desired: u64, });
wire!(ServiceSpec {
    "Name" name: String,
    "Labels" labels: BTreeMap<String, String>,
    "TaskTemplate" task: TaskTemplate,
    // Before API 1.25 the networks were here, and services made then still have them here.
    "Networks" networks: Vec<Attachment>,
    "Mode" mode: Mode,
    "UpdateConfig" update: Option<UpdateConfig>,
    "EndpointSpec" endpoint: EndpointSpec,
});
wire!(UpdateConfig { "Parallelism" parallelism: u64, "Order" order: String, });
wire!(EndpointSpec { "Mode" mode: String, "Ports" ports: Vec<definition::PublishedPort>, });
wire!(TaskTemplate {
    "Networks" networks: Vec<Attachment>,
    "ContainerSpec" container: definition::ContainerSpec,
    "Resources" resources: definition::TaskResources,
    "RestartPolicy" restart: definition::Restart,
    "Placement" placement: definition::Placement,
    "LogDriver" logging: Option<definition::LogDriver>,
});
wire!(Attachment {
    "Target" target: String,
    "Aliases" aliases: Vec<String>,
    "DriverOpts" driver_opts: BTreeMap<String, String>,
});
wire!(Mode { "Replicated" replicated: Option<Replicated>, "ReplicatedJob" job: Option<Job>, });
wire!(Replicated { "Replicas" replicas: u64, });
wire!(Job { "TotalCompletions" completions: u64, });

impl TryFrom<Service> for ObservedService {
    type Error = Odd;

    /// With its definition where that is a managed resource's.
    fn try_from(service: Service) -> Result<Self, Odd> {
        let managed = service.spec.labels.contains_key(OBJECT);
        let observed = service.whole()?;
        Ok(Self { definition: observed.definition.filter(|_| managed), ..observed })
    }
}

impl Service {
    pub(super) fn whole(self) -> Result<ObservedService, Odd> {
        let ServiceSpec { name, labels, task, networks, mode, update, endpoint } = self.spec;
        let replicas = mode.replicated.map(|mode| mode.replicas).or(mode.job.map(|job| job.completions));
        let network = |Attachment { target, aliases, driver_opts }| ServiceNetwork {
            target,
            attachment: ServiceAttachment { aliases, driver_opts },
        };
        let TaskTemplate { networks: of_tasks, container, resources, restart, placement, logging } = task;
        let networks = of_tasks.into_iter().chain(networks).map(network).collect();
        let id = ServiceId::try_from(self.id).map_err(|odd| Odd(odd.to_string()))?;
        let rollout = Rollout::of(&self.update.state);
        let tasks = self.tasks.map(|ServiceStatus { running, desired }| TaskCount { desired, running });
        let has_previous = self.previous.is_some_and(|previous| !previous.name.is_empty());
        let UpdateConfig { parallelism, order } = update.unwrap_or(UpdateConfig {
            // Swarm's own default, where nothing is said.
            parallelism: 1,
            order: String::new(),
        });
        let UpdateStatus { state, started, message } = self.update;
        let ports = endpoint.ports.iter().filter_map(definition::PublishedPort::of_all_nodes).collect();
        let told = definition::Told { container, resources, restart, placement, logging, ports: endpoint.ports };
        let definition = SeenService {
            order,
            update: (!state.is_empty()).then_some(workload::UpdateStatus { state, message }),
            ..told.seen(id.as_str(), &labels)
        };
        Ok(ObservedService {
            id,
            name,
            labels,
            networks,
            replicas,
            rollout_started: rollout.map(|_| started).filter(|started| !started.is_empty()),
            rollout,
            has_previous,
            tasks,
            failure: None,
            parallelism,
            round_robin: endpoint.mode == "dnsrr",
            ports,
            definition: Some(Box::new(definition)),
        })
    }
}

wire!(Task {
    "ID" id: String,
    "Slot" slot: u64,
    "NodeID" node: String,
    "ServiceID" service: String,
    "Spec" spec: TaskSpec,
    "Status" status: TaskStatus,
    "DesiredState" desired_state: String,
});
wire!(TaskSpec { "NetworkAttachmentSpec" attachment: TaskAttachment, "Networks" networks: Vec<Attachment>, });
wire!(TaskAttachment { "ContainerID" container: String, });
wire!(TaskStatus {
    "State" state: String,
    "Err" error: String,
    "Message" message: String,
    "Timestamp" time: String,
    "ContainerStatus" container: TaskContainer,
});
wire!(TaskContainer { "ContainerID" id: String, });
wire!(Secret { "ID" id: String, "Spec" spec: SecretSpec, });
wire!(SecretSpec { "Name" name: String, "Labels" labels: BTreeMap<String, String>, });

impl From<Secret> for SeenSecret {
    fn from(secret: Secret) -> Self {
        Self { id: secret.id, name: secret.spec.name, labels: secret.spec.labels }
    }
}

impl From<Task> for ServiceTask {
    fn from(task: Task) -> Self {
        let TaskStatus { state, error, message: _, time, container } = task.status;
        Self {
            id: task.id,
            slot: task.slot,
            node: task.node,
            state,
            desired_state: task.desired_state,
            error: error.chars().take(FAILURE).collect(),
            since: time,
            container: filled(container.id),
        }
    }
}

impl Task {
    /// When, and of what, it failed or was rejected; of a bounded length.
    pub(super) fn failure(&self) -> Option<(String, String)> {
        let TaskStatus { state, error, message, time, .. } = &self.status;
        let text = if error.is_empty() { message } else { error };
        let text: String = text.chars().take(FAILURE).collect();
        matches!(state.as_str(), "failed" | "rejected").then(|| (time.clone(), format!("{state}: {text}")))
    }

    pub(super) fn is_pending(&self) -> Option<String> {
        let TaskStatus { state, error, .. } = &self.status;
        let waits = self.desired_state == "running" && state == "pending" && !error.is_empty();
        waits.then(|| format!("pending: {}", error.chars().take(FAILURE).collect::<String>()))
    }
}

impl Task {
    /// The container that the Swarm holds its networks for.
    pub(super) fn into_attachment(self) -> Option<SwarmAttachment> {
        let container = filled(self.spec.attachment.container)?;
        let networks = self.spec.networks.into_iter().map(|network| network.target).collect();
        (self.desired_state == "running").then_some(SwarmAttachment { container, node: self.node, networks })
    }
}

wire!(Node {
    "ID" id: String,
    "Spec" spec: NodeSpec,
    "Description" description: NodeDescription,
    "Status" status: NodeStatus,
});
wire!(NodeSpec { "Availability" availability: String, });
wire!(NodeDescription { "Hostname" name: String, });
wire!(NodeStatus { "State" state: String, "Addr" address: String, });

impl From<Node> for ObservedNode {
    fn from(node: Node) -> Self {
        Self {
            id: node.id,
            name: node.description.name,
            availability: match node.spec.availability.as_str() {
                "drain" => NodeAvailability::Drain,
                "pause" => NodeAvailability::Pause,
                _ => NodeAvailability::Active,
            },
            up: !matches!(node.status.state.as_str(), "down" | "disconnected"),
            address: node.status.address.parse().ok().filter(|address: &IpAddr| !address.is_unspecified()),
        }
    }
}

/// Characters of what is said of a task.
const FAILURE: usize = 300;

impl From<Task> for ObservedTask {
    fn from(task: Task) -> Self {
        Self {
            node: task.node,
            service: filled(task.service),
            container: filled(task.spec.attachment.container),
            state: task.status.state,
            desired_state: task.desired_state,
        }
    }
}

wire!(Volumes { "Volumes" volumes: Vec<Volume>, });
wire!(Volume { "Name" name: String, "Labels" labels: BTreeMap<String, String>, });

impl From<Volumes> for Vec<SeenVolume> {
    fn from(volumes: Volumes) -> Self {
        let mut volumes: Vec<SeenVolume> =
            volumes.volumes.into_iter().map(|Volume { name, labels }| SeenVolume { name, labels }).collect();
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        volumes
    }
}

wire!(Event {
    "Type" object_type: String,
    "Action" action: String,
    "Actor" actor: Actor,
    "time" seconds: i64,
    "timeNano" nanos: i64,
});
wire!(Actor { "ID" id: String, "Attributes" attributes: BTreeMap<String, String>, });

/// One JSON object a line. A line that cannot be read is left out: events are hints, and their absence proves nothing.
pub(super) fn events(bytes: &[u8]) -> Vec<EngineEvent> {
    budget::begin();
    let events = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>().map_while(Result::ok);
    let events = events.filter_map(|event| serde_json::from_value::<Event>(event).ok());
    let mut events: Vec<EngineEvent> = events
        .map(|mut event| EngineEvent {
            time_nanos: if event.nanos == 0 { event.seconds.saturating_mul(1_000_000_000) } else { event.nanos },
            name: event.actor.attributes.remove("name").unwrap_or_default(),
            container: event.actor.attributes.remove("container").filter(|_| event.object_type == "network"),
            object_type: event.object_type,
            action: event.action,
            id: event.actor.id,
        })
        .collect();
    events.sort_by_key(|event| event.time_nanos);
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn null_is_nothing() {
        let network: Network = serde_json::from_value(json!({
            "Id": ID, "Name": "web", "Scope": "local", "Driver": "bridge", "IPAM": { "Driver": "default", "Options": null, "Config": null },
            "Options": null, "Labels": null, "Peers": null
        }))
        .unwrap();
        let network = ObservedNetwork::try_from(network).unwrap();
        assert_eq!((network.subnets.len(), network.options.len(), network.labels.len()), (0, 0, 0));
        let container: ListedContainer = serde_json::from_value(json!({
            "Id": ID, "Names": null, "State": "removing", "Labels": null, "HostConfig": null, "NetworkSettings": { "Networks": null }
        }))
        .unwrap();
        let container = ObservedContainer::try_from(container).unwrap();
        assert_eq!((container.name.as_str(), container.endpoints.len()), ("0123456789ab", 0));
    }

    #[test]
    fn the_health_of_a_running_container_is_in_the_list_as_well_as_in_its_details() {
        let listed = |status: &str| listed_health(status).map(Health::as_str);
        assert_eq!(listed("Up 2 minutes (healthy)"), Some("healthy"));
        assert_eq!(listed("Up Less than a second (health: starting)"), Some("starting"));
        assert_eq!(listed("Up 3 hours (unhealthy)"), Some("unhealthy"));
        for none in ["Up 2 minutes", "Up 2 minutes (Paused)", "Exited (137) 2 minutes ago", "Created", ""] {
            assert_eq!(listed(none), None, "{none}");
        }
        let inspected = |state: serde_json::Value| {
            let container: InspectedContainer = serde_json::from_value(json!({ "Id": ID, "State": state })).unwrap();
            ContainerDetail::try_from(container).unwrap().container.health
        };
        assert_eq!(
            inspected(json!({ "Status": "running", "Health": { "Status": "starting" } })),
            Some(Health::Starting)
        );
        assert_eq!(inspected(json!({ "Status": "running", "Health": { "Status": "none" } })), None);
        assert_eq!(inspected(json!({ "Status": "running", "Health": null })), None);
        assert_eq!(inspected(json!({ "Status": "exited", "Health": { "Status": "unhealthy" } })), None);
    }

    #[test]
    fn how_long_a_container_has_run_is_in_the_list_for_a_minute() {
        for (status, up) in [
            ("Up Less than a second", Some(0)),
            ("Up Less than a second (health: starting)", Some(0)),
            ("Up 1 second", Some(1)),
            ("Up 5 seconds", Some(5)),
            ("Up 59 seconds (healthy)", Some(59)),
            ("Up About a minute", None),
            ("Up 2 minutes (healthy)", None),
            ("Up 3 seconds (Paused)", Some(3)),
            ("Restarting (1) 3 seconds ago", None),
            ("Exited (0) 3 seconds ago", None),
            ("Up 99999999999 seconds", None),
            ("Up", None),
            ("", None),
        ] {
            assert_eq!(listed_uptime(status), up, "{status}");
        }
    }

    #[test]
    fn an_id_that_is_no_id_is_refused() {
        let network: Network =
            serde_json::from_value(json!({ "Id": "../containers/victim", "Name": "web", "Scope": "local" })).unwrap();
        assert!(ObservedNetwork::try_from(network).unwrap_err().0.contains("../containers/victim"));
    }

    #[test]
    fn a_container_goes_by_its_own_name_and_not_by_a_link_to_it() {
        let container: ListedContainer =
            serde_json::from_value(json!({ "Id": ID, "Names": ["/web/db", "/database"], "State": "running" })).unwrap();
        assert_eq!(ObservedContainer::try_from(container).unwrap().name, "database");
    }

    #[test]
    fn the_swarm_state_is_what_the_daemon_says() {
        let state = |swarm: serde_json::Value| -> SwarmState { serde_json::from_value::<Swarm>(swarm).unwrap().into() };
        assert_eq!(state(json!(null_swarm())), SwarmState::Inactive);
        assert_eq!(
            state(
                json!({ "LocalNodeState": "active", "ControlAvailable": true, "NodeID": "n", "Nodes": 3, "Cluster": { "ID": "c" } })
            ),
            SwarmState::Manager {
                node_id: "n".to_owned(),
                cluster_id: "c".to_owned(),
                nodes: Some(3),
                managers: BTreeSet::new()
            }
        );
        assert_eq!(
            state(json!({
                "LocalNodeState": "active", "ControlAvailable": true, "NodeID": "n", "Cluster": null,
                "Error": "rpc error: code = Unknown desc = The swarm does not have a leader."
            })),
            SwarmState::Error {
                message: "rpc error: code = Unknown desc = The swarm does not have a leader.".to_owned(),
                manager: true
            }
        );
        assert_eq!(
            state(json!({
                "LocalNodeState": "active", "ControlAvailable": false, "NodeID": "n",
                "RemoteManagers": [{ "NodeID": "m", "Addr": "10.0.0.1:2377" }]
            })),
            SwarmState::Worker {
                node_id: "n".to_owned(),
                manager_addresses: vec!["10.0.0.1:2377".to_owned()],
                managers: BTreeSet::from(["m".to_owned()])
            }
        );
        assert_eq!(state(json!({ "LocalNodeState": "locked", "Error": "Swarm is encrypted" })), SwarmState::Locked);
        assert_eq!(
            state(json!({ "LocalNodeState": "error", "Error": "no quorum" })),
            SwarmState::Error { message: "no quorum".to_owned(), manager: false }
        );
    }

    fn null_swarm() -> serde_json::Value {
        json!({ "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "", "RemoteManagers": null })
    }

    #[test]
    fn an_unknown_or_broken_event_does_not_hide_the_others() {
        let lines = concat!(
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"c","name":"web"}},"time":2,"timeNano":2000000001}"#,
            "\n",
            r#"{"Type":"sandwich","Action":{"not":"a word"},"timeNano":"never"}"#,
            "\n",
            r#"{"Type":"container","Action":"die","Actor":{"ID":"c","Attributes":null},"time":1}"#,
            "\n{\"Type\":\"netw",
        );
        let events = events(lines.as_bytes());
        let seen: Vec<_> = events.iter().map(|event| (event.time_nanos, event.action.as_str())).collect();
        assert_eq!(seen, [(1_000_000_000, "die"), (2_000_000_001, "connect")]);
        assert_eq!(events[1].container.as_deref(), Some("c"));
        assert_eq!(events[1].name, "web");
    }

    #[test]
    fn a_services_networks_are_found_in_both_places() {
        let service: Service = serde_json::from_value(json!({ "ID": "6yuvzemddvv4wc8x0ahvc9mva", "Spec": {
            "Name": "web", "Networks": [{ "Target": "old" }], "TaskTemplate": { "Networks": [{ "Target": "new" }] },
            "Mode": { "Replicated": { "Replicas": 0 } }
        }}))
        .unwrap();
        let service = ObservedService::try_from(service).unwrap();
        let targets: Vec<&str> = service.networks.iter().map(|network| network.target.as_str()).collect();
        assert_eq!((&targets[..], service.replicas), (&["new", "old"][..], Some(0)));
    }
}
