//! Destinations that nobody is on, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::core::api::ObjectKey;
use crate::core::desired::DesiredState;
use crate::core::observed::Observations;
use crate::core::plan::facts::{DestinationFacts, facts};

/// A destination that has a network and no member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unused {
    /// `namespace/name`.
    pub server: String,
    pub object: ObjectKey,
    pub network: String,
    /// Since when at the latest, as the record of this machine tells; `null` where it does not.
    pub since: Option<Timestamp>,
    /// For as long as was asked for.
    pub due: bool,
}

impl DestinationFacts {
    /// It has a network, and no container or Swarm service is on it or belongs to it but the proxy.
    pub fn is_unused(&self) -> bool {
        self.network.is_some() && self.members.is_empty() && self.unmanaged.is_empty()
    }
}

/// Every destination that is unused now, the longest first. `since`: what is on record; `due`: after how long it counts.
pub fn unused(
    desired: &DesiredState,
    observed: &Observations,
    since: &BTreeMap<ObjectKey, Timestamp>,
    now: Timestamp,
    due: Duration,
) -> Vec<Unused> {
    let mut found = Vec::new();
    for server in desired.servers.values() {
        let Some(facts) = facts(desired, server, observed) else { continue };
        for (key, destination) in &facts.destinations {
            let Some(network) = destination.network.as_ref().filter(|_| destination.is_unused()) else { continue };
            let since = since.get(key).copied();
            let for_long = |since: Timestamp| now.duration_since(since).unsigned_abs() >= due && since <= now;
            found.push(Unused {
                server: server.key.path(),
                object: key.clone(),
                network: network.name.clone(),
                since,
                due: due.is_zero() || since.is_some_and(for_long),
            });
        }
    }
    found.sort_by_key(|it| (it.since.is_none(), it.since, it.server.clone(), it.object.clone()));
    found
}
