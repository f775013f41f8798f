//! What inspection has told before and need not be asked again.
//!
//! The settings of an endpoint cannot change while it has the same id, and a list shows the ids. So a live container whose
//! endpoints are all as they were is not inspected again: a look at a server that stays the same takes two lists and the engine's own information.
//!
//! One thing is not seen that way: what a failed connect leaves behind on a running container shows in no list. Such a container is not
//! remembered, none is that an operation is about to touch, and none for longer than [`FRESH`].

//!
//! What an engine says of itself costs it more than both lists, since it runs other programs to find out. So it is not asked again for as long, unless
//! it has to do with a Swarm, where its part may change from one moment to the next. One that has joined a Swarm since has a network of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::observed::{EngineInfo, NetworkScope, ObservedContainer, ObservedEndpoint, ObservedNetwork, SwarmState};
use crate::store::known::{Inspected, KnownContainers, KnownEngine};

/// For how long an inspection is believed, and what an engine has said of itself.
const FRESH: Duration = Duration::from_secs(300);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A clock that was set back makes an answer seem to come from the future.
fn is_fresh(at: u64, now: u64) -> bool {
    now.checked_sub(at).is_some_and(|age| age <= FRESH.as_secs())
}

/// What the engine has told of itself in the course of a look.
pub(super) fn told(info: &EngineInfo) -> KnownEngine {
    KnownEngine { at: now(), info: info.clone() }
}

/// Whether the engine would say the same again, going by the networks it has now.
pub(super) fn holds(engine: &KnownEngine, networks: &[ObservedNetwork]) -> bool {
    is_fresh(engine.at, now())
        && engine.info.swarm == SwarmState::Inactive
        && networks.iter().all(|network| network.scope != NetworkScope::Swarm)
}

/// What is known at the beginning of a look, and what will be at its end.
pub(super) struct Recollection {
    before: KnownContainers,
    after: KnownContainers,
    now: u64,
}

impl Recollection {
    pub(super) fn new(before: KnownContainers) -> Self {
        Self { before, after: KnownContainers::new(), now: now() }
    }

    /// Fills in what is known of a container of the list; `false`: it has to be inspected.
    pub(super) fn recall(&mut self, listed: &mut ObservedContainer) -> bool {
        let Some(known) = self.before.remove(&listed.id) else { return false };
        if !is_fresh(known.at, self.now) || !identifies(listed) || !same(&listed.endpoints, &known.endpoints) {
            return false;
        }
        listed.endpoints.clone_from(&known.endpoints);
        self.after.insert(listed.id.clone(), known);
        true
    }

    /// Keeps what an inspection has told of a container of the list.
    pub(super) fn keep(&mut self, listed: &ObservedContainer, inspected: &ObservedContainer) {
        if identifies(inspected) && same(&listed.endpoints, &inspected.endpoints) {
            self.after.insert(listed.id.clone(), Inspected { at: self.now, endpoints: inspected.endpoints.clone() });
        }
    }

    pub(super) fn into_known(self) -> KnownContainers {
        self.after
    }
}

/// Whether each endpoint has an id, which only those of live containers have.
fn identifies(container: &ObservedContainer) -> bool {
    let identified = |endpoint: &ObservedEndpoint| endpoint.network_id.is_some() && !endpoint.endpoint_id.is_empty();
    container.state.is_live() && container.endpoints.iter().all(identified)
}

/// Whether they are the same endpoints, whatever is known of their settings.
pub(super) fn same(listed: &[ObservedEndpoint], known: &[ObservedEndpoint]) -> bool {
    let identity = |endpoint: &ObservedEndpoint| {
        let ObservedEndpoint { network_name, network_id, endpoint_id, ipv4_address, ipv6_address, settings: _ } =
            endpoint.clone();
        (network_name, network_id, endpoint_id, ipv4_address, ipv6_address)
    };
    listed.len() == known.len() && listed.iter().zip(known).all(|(listed, known)| identity(listed) == identity(known))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::observed::{ContainerState, EndpointSettings};

    fn listed(endpoint_id: &str) -> ObservedContainer {
        serde_json::from_value(json!({
            "id": format!("{:064x}", 1), "name": "c", "image": "i", "state": "running", "labels": {}, "network_mode": "m",
            "endpoints": [{
                "network_name": "web", "network_id": format!("{:064x}", 2), "endpoint_id": endpoint_id, "ipv4_address": "10.0.0.2",
                "ipv6_address": "", "settings": null
            }]
        }))
        .unwrap()
    }

    fn inspected(listed: &ObservedContainer) -> ObservedContainer {
        let mut container = listed.clone();
        let aliases = vec!["db".to_owned()];
        container.endpoints[0].settings = Some(EndpointSettings { aliases, ..EndpointSettings::default() });
        container
    }

    /// What is known after a look that inspected the container.
    fn known(listed: &ObservedContainer, inspected: &ObservedContainer) -> KnownContainers {
        let mut recollection = Recollection::new(KnownContainers::new());
        recollection.keep(listed, inspected);
        recollection.into_known()
    }

    #[test]
    fn an_endpoint_that_is_still_the_same_has_the_settings_it_had() {
        let before = listed("e1");
        let mut recollection = Recollection::new(known(&before, &inspected(&before)));
        let mut again = listed("e1");
        assert!(recollection.recall(&mut again));
        assert_eq!(again, inspected(&before));
        assert_eq!(recollection.into_known().len(), 1, "and it stays known");
    }

    #[test]
    fn another_endpoint_another_address_or_a_container_that_is_not_live_is_inspected() {
        let before = listed("e1");
        let others = [
            listed("e2"),
            listed(""),
            ObservedContainer { state: ContainerState::Exited, ..before.clone() },
            ObservedContainer { endpoints: Vec::new(), ..before.clone() },
            ObservedContainer {
                endpoints: vec![ObservedEndpoint {
                    ipv4_address: "10.0.0.3".to_owned(),
                    ..before.endpoints[0].clone()
                }],
                ..before.clone()
            },
        ];
        for mut other in others {
            let mut recollection = Recollection::new(known(&before, &inspected(&before)));
            assert!(!recollection.recall(&mut other), "{other:?}");
            assert!(recollection.into_known().is_empty());
        }
    }

    #[test]
    fn what_only_inspection_shows_is_looked_for_each_time() {
        let before = listed("e1");
        let mut leftover = inspected(&before);
        leftover.endpoints.push(ObservedEndpoint { network_id: None, ..leftover.endpoints[0].clone() });
        assert!(known(&before, &leftover).is_empty());
    }

    #[test]
    fn an_inspection_is_believed_for_a_while_only() {
        let before = listed("e1");
        for at in [FRESH.as_secs() + 1, u64::MAX] {
            let mut recollection = Recollection::new(known(&before, &inspected(&before)));
            recollection.now = recollection.now.wrapping_add(at);
            assert!(!recollection.recall(&mut listed("e1")), "{at}");
        }
    }
}
