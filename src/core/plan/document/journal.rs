//! What is written down before something is taken apart.

use serde::{Deserialize, Serialize};

use super::target::{ContainerTarget, NetworkCreate, ServiceTarget};
use crate::core::api::ObjectKey;
use crate::core::observed::EndpointSettings;

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
