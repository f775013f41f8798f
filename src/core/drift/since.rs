//! Since when: from the events that a daemon still remembers. It keeps few, so the absence of one proves nothing.

use jiff::Timestamp;
use serde::Serialize;

use crate::core::observed::{EngineEvent, ObservedNetwork, ObservedState};
use crate::core::plan::{Cause, Reason};

/// When something became as it is, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Since {
    /// By the daemon's clock; RFC 3339.
    pub time: Timestamp,
    /// What happened then: `container disconnected`, `network removed`, …
    pub event: &'static str,
}

/// A container that is started is connected, and one that stops is disconnected, within a moment; neither says anything about its attachment.
const MOMENT_NANOS: i64 = 2_000_000_000;

/// The events of one server, asked about one network and one container by name.
struct History<'a> {
    events: &'a [EngineEvent],
    network: Option<&'a str>,
    container_id: Option<&'a str>,
}

impl<'a> History<'a> {
    fn new(
        network: Option<&'a str>,
        container: Option<&'a str>,
        state: Option<&'a ObservedState>,
        events: &'a [EngineEvent],
    ) -> Self {
        let known = container.and_then(|name| state?.container_named(name));
        Self { events, network, container_id: known.map(|container| container.id.as_str()) }
    }

    fn latest(&self, matches: impl Fn(&EngineEvent) -> bool) -> Option<i64> {
        self.events.iter().filter(|event| matches(event)).map(|event| event.time_nanos).max()
    }

    fn network_event(&self, actions: &[&str]) -> Option<i64> {
        self.latest(|event| {
            event.object_type == "network"
                && actions.contains(&event.action.as_str())
                && Some(event.name.as_str()) == self.network
        })
    }

    fn container_event(&self, action: &str) -> Option<i64> {
        self.latest(|event| self.is_of_container(event) && event.action == action)
    }

    fn is_of_container(&self, event: &EngineEvent) -> bool {
        event.object_type == "container" && Some(event.id.as_str()) == self.container_id
    }

    /// `connect` or `disconnect` of the container, unless it was merely started or stopped then.
    fn endpoint_event(&self, action: &str, unless: &[&str]) -> Option<i64> {
        let mere = |time: i64| {
            self.events.iter().any(|event| {
                self.is_of_container(event)
                    && unless.contains(&event.action.as_str())
                    && event.time_nanos.abs_diff(time) < MOMENT_NANOS.unsigned_abs()
            })
        };
        self.latest(|event| {
            event.object_type == "network"
                && event.action == action
                && Some(event.name.as_str()) == self.network
                && event.container.is_some()
                && event.container.as_deref() == self.container_id
                && !mere(event.time_nanos)
        })
    }

    /// Everything after which the container is not on the network.
    fn detached(&self) -> Option<Since> {
        let candidates = [
            (self.endpoint_event("disconnect", &["die", "stop", "kill"]), "container disconnected"),
            (self.network_event(&["destroy", "remove"]), "network removed"),
            (self.container_event("create"), "container created"),
        ];
        let (time, event) = candidates.into_iter().filter_map(|(time, event)| Some((time?, event))).max()?;
        let connected = self.endpoint_event("connect", &[]);
        if connected.is_some_and(|connected| connected > time) { None } else { at(Some(time), event) }
    }
}

fn at(nanos: Option<i64>, event: &'static str) -> Option<Since> {
    let time = Timestamp::from_nanosecond(i128::from(nanos?)).ok()?;
    Some(Since { time, event })
}

pub(super) fn of_cause(
    cause: Cause,
    network: Option<&str>,
    container: Option<&str>,
    state: Option<&ObservedState>,
    events: &[EngineEvent],
) -> Option<Since> {
    let history = History::new(network, container, state, events);
    match cause {
        Cause::NetworkMissing | Cause::EndpointStale => {
            at(history.network_event(&["destroy", "remove"]), "network removed")
        }
        Cause::ProxyDetached | Cause::MemberDetached | Cause::JournalRestore => history.detached(),
        Cause::ProxyUnwanted
        | Cause::MembershipExclusive
        | Cause::EndpointDiffers
        | Cause::AddressReserved
        | Cause::MemberUndeclared
        | Cause::MemberReplaced
        | Cause::MemberMoved => at(history.endpoint_event("connect", &["start", "restart"]), "container connected"),
        Cause::Deactivated => at(history.container_event("start"), "container started"),
        Cause::Activated | Cause::StartAfterRepair | Cause::WorkloadStopped => {
            at(history.container_event("die"), "container ended")
        }
        // It may as well be the manifest that changed.
        Cause::NetworkReplaced
        | Cause::OwnershipTaken
        | Cause::NetworkDuplicate
        | Cause::Undeclared
        | Cause::DeletionRequested
        | Cause::WorkloadMissing
        | Cause::WorkloadDiffers
        | Cause::ImageMoved
        | Cause::ReplicaSurplus
        | Cause::ProxyStale
        | Cause::Rollback => None,
    }
}

pub(super) fn of_refusal(
    reason: Reason,
    network: Option<&str>,
    state: Option<&ObservedState>,
    events: &[EngineEvent],
) -> Option<Since> {
    match reason {
        // Somebody has made the network, and it was not Landfall.
        Reason::AdoptionRequired | Reason::NameAmbiguous => {
            let history = History::new(network, None, state, events);
            at(history.network_event(&["create"]), "network created").or_else(|| {
                let named = state?.networks.iter().filter(|known| Some(known.name.as_str()) == network);
                named.filter_map(created).max_by_key(|since| since.time)
            })
        }
        _ => None,
    }
}

pub(super) fn connected(
    network: &str,
    container: &str,
    state: &ObservedState,
    events: &[EngineEvent],
) -> Option<Since> {
    let history = History::new(Some(network), Some(container), Some(state), events);
    at(history.endpoint_event("connect", &["start", "restart"]), "container connected")
}

pub(super) fn created(network: &ObservedNetwork) -> Option<Since> {
    // The zero time of Go is what an engine without a record says.
    let time = network.created.parse::<Timestamp>().ok().filter(|time| *time > Timestamp::UNIX_EPOCH)?;
    Some(Since { time, event: "network created" })
}
