//! What there is of the declared objects at present, seen as the planner sees it. It says what is, not what to make of it.

use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::core::api::{DestinationType, ObjectKey};
use crate::core::observed::{ContainerState, Health, TaskCount};
use crate::core::plan::document::plan::ServerType;

/// A server and what is on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFacts {
    #[serde(rename = "type")]
    pub server_type: ServerType,
    pub engine: EngineFacts,
    /// `None` where none is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ServerProxyFacts>,
    /// Networks of any kind.
    pub networks: usize,
    pub containers: usize,
    /// In the order of their keys.
    #[serde(skip)]
    pub destinations: Vec<(ObjectKey, DestinationFacts)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineFacts {
    /// Host name.
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerProxyFacts {
    /// Name of the container or the Swarm service.
    pub name: String,
    /// `missing` where there is none of that name.
    pub state: String,
}

/// A destination and what is on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationFacts {
    #[serde(rename = "type")]
    pub destination_type: DestinationType,
    /// `None` where it does not exist or cannot be told for certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFacts>,
    /// The proxy, where it is on the network or should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<EndpointFacts>,
    /// Containers of declared resources; by resource and name.
    pub members: Vec<MemberFacts>,
    /// What resources select and does not exist; in the order of the resources.
    pub missing: Vec<MissingFacts>,
    /// Containers on the network that no resource declares; by name.
    pub unmanaged: Vec<EndpointFacts>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFacts {
    pub name: String,
    pub id: String,
    pub driver: String,
    pub subnets: Vec<String>,
    /// The same with what else belongs to each.
    pub ipam: Vec<SubnetFacts>,
    pub internal: bool,
    pub ipv6: bool,
    /// RFC 3339 time as the daemon gives it.
    pub created: String,
    /// Landfall did not create it.
    pub adopted: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetFacts {
    pub subnet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberFacts {
    pub resource: ObjectKey,
    /// False for a stack that keeps to its own network, and for what is stopped beside the container that its resource's address is for.
    pub expected: bool,
    #[serde(flatten)]
    pub endpoint: EndpointFacts,
}

/// A declared member that is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingFacts {
    pub resource: ObjectKey,
    /// Absent where the resource selects by something else than the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// One of a few words of the Engine's API. A name of its own, for serde would borrow a `&str` from its input.
pub type Word = &'static str;

fn state_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    let word = String::deserialize(deserializer)?;
    if word == SERVICE {
        return Ok(SERVICE);
    }
    ContainerState::deserialize(word.as_str().into_deserializer()).map(ContainerState::as_str)
}

fn health_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Word>, D::Error> {
    Ok(Option::<Health>::deserialize(deserializer)?.map(Health::as_str))
}

/// Which kind of network a destination was seen to have, and whether it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkUse {
    pub destination: ObjectKey,
    pub network_type: DestinationType,
    pub is_unused: bool,
}

impl ServerFacts {
    /// Of the destinations whose network exists.
    pub fn uses(&self) -> Vec<NetworkUse> {
        let existing = self.destinations.iter().filter(|(_, facts)| facts.network.is_some());
        existing
            .map(|(key, facts)| NetworkUse {
                destination: key.clone(),
                network_type: facts.destination_type,
                is_unused: facts.is_unused(),
            })
            .collect()
    }
}

/// A container, or a Swarm service, and how it is on the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointFacts {
    /// Its name.
    pub container: String,
    /// Of the container; empty for a service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// Empty while it is not on the network, or does not run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint_id: String,
    /// As the daemon says; `service` of a Swarm service.
    #[serde(deserialize_with = "state_word")]
    pub state: Word,
    /// Of a Swarm service, where the engine counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCount>,
    /// What Swarm says of the latest task that failed, where fewer run than should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What its health check says, where it has one and runs.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "health_word")]
    pub health: Option<Word>,
    pub connected: bool,
    #[serde(default, skip_serializing_if = "String::is_empty", rename = "ipv4Address")]
    pub ipv4_address: String,
    #[serde(default, skip_serializing_if = "String::is_empty", rename = "ipv6Address")]
    pub ipv6_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Of one that no resource declares any more: the resource, or `Proxy`, that Landfall connected it for. It stays until another takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_for: Option<String>,
    /// Of what Landfall runs: the image as it is declared, and `@` with the digest that it is here, where it was pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl EndpointFacts {
    /// Why it serves nobody, in one word and in a sentence. `None`: it does, as far as can be seen.
    pub fn trouble(&self) -> Option<(&'static str, String)> {
        let Self { container, state, health, tasks, failure, .. } = self;
        if let Some(TaskCount { running, desired }) = tasks
            && running < desired
        {
            let why = failure.as_deref().map(|it| format!(": {}", it.trim_end_matches('.'))).unwrap_or_default();
            return Some((TASKS_NOT_RUNNING, format!("{running} of {desired} tasks of {container} run{why}.")));
        }
        match *health {
            _ if self.is_restarting() => {
                Some(("Restarting", format!("{container} ends again and again after it was started.")))
            }
            _ if !self.is_running() => Some(("NotRunning", format!("{container} is {state}."))),
            Some("unhealthy") => Some(("Unhealthy", format!("The health check of {container} fails."))),
            Some("starting") => Some(("Starting", format!("The health check of {container} has not passed yet."))),
            _ => None,
        }
    }

    pub fn is_restarting(&self) -> bool {
        self.state == ContainerState::Restarting.as_str()
    }

    /// A service speaks for its tasks, whatever they are doing.
    pub fn is_running(&self) -> bool {
        self.state == ContainerState::Running.as_str() || self.state == SERVICE
    }
}

const TASKS_NOT_RUNNING: &str = "TasksNotRunning";

/// State of a Swarm service in the place of a container's: how many of its tasks run is the Swarm's business.
pub const SERVICE: &str = "service";
