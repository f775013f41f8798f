//! What pruning does not do before somebody has agreed to it.

use serde::{Deserialize, Serialize};

use crate::core::api::ObjectKey;
#[cfg(doc)]
use crate::core::desired::DesiredServer;
use crate::core::observed::{NetworkId, ObservedEndpoint, ObservedState};

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
