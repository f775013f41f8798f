//! What inspection has told before and need not be asked again.
//!
//! The settings of an endpoint cannot change while it has the same id, and a list shows the ids. So a live container whose
//! endpoints are all as they were is not inspected again: a look at a server that stays the same takes two lists and the engine's own information.
//! The endpoints of a stopped container have no ids. Where the events of the server are listened to, one that has exited or was only created is
//! remembered as long as the list shows the same of it and no event was about it: that it is disconnected is told, and connecting it alone shows
//! in the list. Why one that was created could not start is told by no event, so it is not believed for long ([`FRESH_CREATED`]).
//!
//! One thing is not seen that way: what a failed connect leaves behind on a running container shows in no list. Such a container is not
//! remembered, none is that an operation is about to touch, and none for longer than [`FRESH`].
//!
//! What was learned is kept as it comes: a look that takes too long has not been for nothing.
//!
//! What an engine says of itself costs it more than both lists, since it runs other programs to find out. So it is not asked again for as long, unless
//! it has to do with a Swarm, where its part may change from one moment to the next. One that has joined a Swarm since has a network of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::core::observed::{
    ContainerState, EngineInfo, Exit, NetworkScope, ObservedContainer, ObservedEndpoint, ObservedNetwork, SwarmState,
};
use crate::shell::store::known::{Inspected, KnownContainers, KnownEngine, Suspects};

/// For how long an inspection is believed, and what an engine has said of itself.
const FRESH: Duration = Duration::from_secs(300);
/// The same for a container that was never started: why it could not be shows nowhere else, and is told by no event.
const FRESH_CREATED: Duration = Duration::from_secs(20);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A clock that was set back makes an answer seem to come from the future.
fn is_fresh(at: u64, now: u64, limit: Duration) -> bool {
    now.checked_sub(at).is_some_and(|age| age <= limit.as_secs())
}

/// What the engine has told of itself in the course of a look.
pub(super) fn told(info: &EngineInfo) -> KnownEngine {
    KnownEngine { at: now(), info: info.clone() }
}

/// Whether the engine would say the same again, going by the networks it has now.
pub(super) fn holds(engine: &KnownEngine, networks: &[ObservedNetwork]) -> bool {
    is_fresh(engine.at, now(), FRESH)
        && engine.info.swarm == SwarmState::Inactive
        && networks.iter().all(|network| network.scope != NetworkScope::Swarm)
}

/// What is known in the course of a look.
pub(super) struct Recollection {
    content: Mutex<Content>,
    /// Events about its containers are heard.
    watched: bool,
    now: u64,
}

struct Content {
    before: KnownContainers,
    after: KnownContainers,
    /// Something was learned, or is not believed any more.
    changed: bool,
}

impl Recollection {
    pub(super) fn new(mut before: KnownContainers, suspects: &Suspects, watched: bool) -> Self {
        let whole = before.len();
        before.retain(|id, _| !suspects.all && !suspects.containers.contains(id));
        let content = Content { changed: before.len() < whole, before, after: KnownContainers::new() };
        Self { content: Mutex::new(content), watched, now: now() }
    }

    /// Fills in what is known of a container of the list; `false`: it has to be inspected.
    pub(super) fn recall(&self, listed: &mut ObservedContainer) -> bool {
        let mut content = self.content();
        let Some(known) = content.before.remove(&listed.id) else { return false };
        let before = std::mem::replace(&mut content.changed, true);
        let limit = if known.state == ContainerState::Created { FRESH_CREATED } else { FRESH };
        if !is_fresh(known.at, self.now, limit) || !self.is_memorable(listed) || !shows(listed, &known) {
            return false;
        }
        if !known.complete(&mut listed.endpoints) {
            return false;
        }
        listed.restarts = known.restarts;
        if !listed.state.is_live() {
            listed.exit = known.exit.as_deref().cloned();
        }
        content.after.insert(listed.id.clone(), known);
        content.changed = before;
        true
    }

    /// Keeps what an inspection has told of a container that is listed with these endpoints.
    pub(super) fn keep(&self, listed: &[ObservedEndpoint], inspected: &ObservedContainer) {
        if self.is_memorable(inspected) && same(listed, &inspected.endpoints) {
            let mut content = self.content();
            content.changed = true;
            content.after.insert(inspected.id.clone(), Inspected::of(self.now, inspected));
        }
    }

    /// Whether anything else is known now than before, were this all that there is.
    pub(super) fn has_changed(&self) -> bool {
        let content = self.content();
        // What is left was not asked for: it is gone, or was not believed and could not be told again.
        content.changed || !content.before.is_empty()
    }

    /// What has been recalled and kept so far.
    pub(super) fn into_known(self) -> KnownContainers {
        self.content.into_inner().unwrap_or_else(PoisonError::into_inner).after
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a change would show, or be told.
    fn is_memorable(&self, container: &ObservedContainer) -> bool {
        let identified =
            |endpoint: &ObservedEndpoint| endpoint.network_id.is_some() && !endpoint.endpoint_id.is_empty();
        match container.state.is_live() {
            true => container.endpoints.iter().all(identified),
            false => self.watched && matches!(container.state, ContainerState::Exited | ContainerState::Created),
        }
    }
}

/// Whether the list shows what is known.
fn shows(listed: &ObservedContainer, known: &Inspected) -> bool {
    let code = |exit: Option<&Exit>| exit.map(|exit| exit.code);
    let same_end = listed.state == known.state
        && (listed.exit.is_none() || code(listed.exit.as_ref()) == code(known.exit.as_deref()));
    known.is_of(&listed.endpoints)
        && match listed.state.is_live() {
            true => known.state.is_live(),
            false => same_end,
        }
}

/// Whether they are the same endpoints, whatever is known of their settings.
pub(super) fn same(listed: &[ObservedEndpoint], known: &[ObservedEndpoint]) -> bool {
    fn identity(endpoint: &ObservedEndpoint) -> impl PartialEq + '_ {
        let ObservedEndpoint {
            network_name,
            network_id,
            endpoint_id,
            ipv4_address,
            ipv6_address,
            gw_priority: _,
            settings: _,
        } = endpoint;
        (network_name, network_id, endpoint_id, ipv4_address, ipv6_address)
    }
    listed.len() == known.len() && listed.iter().zip(known).all(|(listed, known)| identity(listed) == identity(known))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::observed::EndpointSettings;

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

    fn recollection(before: KnownContainers, watched: bool) -> Recollection {
        Recollection::new(before, &Suspects::default(), watched)
    }

    /// What is known after a look that inspected the container.
    fn known(listed: &ObservedContainer, inspected: &ObservedContainer) -> KnownContainers {
        let recollection = recollection(KnownContainers::new(), true);
        recollection.keep(&listed.endpoints, inspected);
        recollection.into_known()
    }

    fn exited(code: i64) -> ObservedContainer {
        let exit = Some(Exit { code, ..Exit::default() });
        let mut container = ObservedContainer { state: ContainerState::Exited, exit, ..listed("") };
        container.endpoints[0].ipv4_address = String::new();
        container
    }

    #[test]
    fn an_endpoint_that_is_still_the_same_has_the_settings_it_had() {
        let before = listed("e1");
        let recollection = recollection(known(&before, &inspected(&before)), false);
        let mut again = listed("e1");
        assert!(recollection.recall(&mut again));
        assert_eq!(again, inspected(&before));
        assert!(!recollection.has_changed());
        assert_eq!(recollection.into_known().len(), 1, "and it stays known");
    }

    #[test]
    fn what_is_known_has_changed_where_something_was_learned_or_is_not_believed_any_more() {
        let before = listed("e1");
        let known = known(&before, &inspected(&before));
        assert!(recollection(known.clone(), true).has_changed(), "it is gone");
        let other = recollection(known.clone(), true);
        assert!(!other.recall(&mut listed("e2")) && other.has_changed());
        let learning = recollection(KnownContainers::new(), true);
        assert!(!learning.has_changed());
        learning.keep(&before.endpoints, &inspected(&before));
        assert!(learning.has_changed());
        let suspected = Suspects { all: false, containers: [before.id].into() };
        assert!(Recollection::new(known, &suspected, true).has_changed());
    }

    #[test]
    fn another_endpoint_another_address_or_another_state_is_inspected() {
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
            let recollection = recollection(known(&before, &inspected(&before)), true);
            assert!(!recollection.recall(&mut other), "{other:?}");
            assert!(recollection.into_known().is_empty());
        }
    }

    #[test]
    fn one_that_has_exited_is_remembered_with_its_end_where_events_are_heard_and_nowhere_else() {
        let before = exited(128);
        let mut told = inspected(&before);
        told.exit = Some(Exit { code: 128, error: "network web not found".to_owned(), oom_killed: false });
        let known = known(&before, &told);
        let mut again = exited(128);
        assert!(recollection(known.clone(), true).recall(&mut again));
        assert_eq!(again, told);
        assert!(!recollection(known.clone(), false).recall(&mut exited(128)), "no event would be heard");
        assert!(!recollection(known.clone(), true).recall(&mut exited(0)), "it has run since");
    }

    #[test]
    fn one_that_was_never_started_is_remembered_for_some_seconds_for_why_would_not_show() {
        let created = ObservedContainer { state: ContainerState::Created, ..exited(0) };
        let known = known(&created, &inspected(&created));
        let mut again = created.clone();
        assert!(recollection(known.clone(), true).recall(&mut again));
        assert_eq!(again, inspected(&created));
        assert!(!recollection(known.clone(), false).recall(&mut created.clone()), "no event would be heard");
        let mut later = recollection(known.clone(), true);
        later.now += FRESH_CREATED.as_secs() + 1;
        assert!(!later.recall(&mut created.clone()));
        assert!(!recollection(known, true).recall(&mut exited(0)), "it has run since");
    }

    #[test]
    fn what_an_event_was_about_is_inspected_and_after_a_gap_in_the_events_everything_is() {
        let before = listed("e1");
        let known = known(&before, &inspected(&before));
        let suspected = Suspects { all: false, containers: [before.id.clone()].into() };
        for suspects in [suspected, Suspects { all: true, ..Suspects::default() }] {
            assert!(!Recollection::new(known.clone(), &suspects, true).recall(&mut listed("e1")), "{suspects:?}");
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
            let mut recollection = recollection(known(&before, &inspected(&before)), false);
            recollection.now = recollection.now.wrapping_add(at);
            assert!(!recollection.recall(&mut listed("e1")), "{at}");
        }
    }
}
