//! Containers that an event was about.
//!
//! A daemon tells of a disconnection before it is through with it: for some milliseconds, or many where it has much to do, the list shows the
//! container as it was, and the look that the event has caused finds nothing. An inspection waits for the daemon to be through. So these
//! containers are inspected beside the lists instead of after them, and what that tells counts if it comes later than the list.
//!
//! An answer that comes earlier and says something else than the list settles nothing: the list may show an older moment, however late it
//! came. Such a container is inspected after the list, as is one whose answer did not come in time, and nothing is recalled of either: the
//! daemon may have told all that it will tell about this disconnection (since Docker 29 it does so once).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use super::known::same;
use crate::core::observed::{ContainerId, ObservedContainer};
use crate::shell::engine::Reader;

/// How long a look waits for them before it asks again beside others.
const SUSPENSE: Duration = Duration::from_millis(100);
/// Inspected beside the lists at most. The others are inspected after them.
const BESIDE: usize = 8;

/// A container that something happens to just now.
pub(super) struct Suspect {
    pub(super) container: ObservedContainer,
    answered: Instant,
}

impl Suspect {
    /// One that the list says the same about, or that the daemon has told of after it has told the list. Any other may be older than the list.
    pub(super) fn is_worth_more_than(&self, list: &[ObservedContainer], listed: Instant) -> bool {
        let own = list.iter().find(|container| container.id == self.container.id);
        own.is_some_and(|own| self.answered > listed || same(&own.endpoints, &self.container.endpoints))
    }
}

/// What is not told, or not in time, the rest of the look has to find out.
pub(super) async fn inspect(
    reader: &(impl Reader + ?Sized),
    suspects: &BTreeSet<ContainerId>,
) -> BTreeMap<ContainerId, Suspect> {
    let asked = suspects.iter().take(BESIDE).map(|id| async move {
        let told = timeout(SUSPENSE, reader.container(id)).await.ok()?.ok()??;
        Some((id.clone(), Suspect { container: told.container, answered: Instant::now() }))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use serde_json::json;

    use super::super::known::Recollection;
    use super::super::{Before, Interest, look};
    use super::*;
    use crate::core::observed::{EngineInfo, ObservedNetwork, ObservedService, ObservedTask, SwarmState};
    use crate::shell::engine::{ContainerDetail, EngineError, EngineEvent};
    use crate::shell::store::known::{KnownContainers, Suspects};

    const MOMENT: Duration = Duration::from_millis(10);

    /// A daemon with a container that is listed on two networks.
    struct Busy {
        /// How long the list takes.
        listing: Duration,
        /// What one inspection after another tells, the last one again and again: how long it takes, and on how many networks the container is.
        inspections: Vec<(Duration, usize)>,
        inspected: AtomicUsize,
    }

    fn container(networks: usize) -> ObservedContainer {
        let endpoint = |number: usize| {
            json!({
                "network_name": format!("web-{number}"), "network_id": format!("{number:064x}"), "endpoint_id": format!("e{number}"),
                "ipv4_address": "", "ipv6_address": "", "settings": null
            })
        };
        serde_json::from_value(json!({
            "id": format!("{:064x}", 7), "name": "caddy", "image": "i", "state": "running", "labels": {}, "network_mode": "m",
            "endpoints": (1..=networks).map(endpoint).collect::<Vec<_>>()
        }))
        .unwrap()
    }

    #[async_trait]
    impl Reader for Busy {
        async fn info(&self) -> Result<EngineInfo, EngineError> {
            let (id, name, version) = ("id".to_owned(), "edge-1".to_owned(), "20.10.24".to_owned());
            Ok(EngineInfo {
                id,
                name,
                version,
                api_version: None,
                swarm: SwarmState::Inactive,
                address_pools: Vec::new(),
                addresses: Vec::new(),
            })
        }

        async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
            let network = |number: u8| {
                serde_json::from_value(json!({
                    "id": format!("{number:064x}"), "name": format!("web-{number}"), "driver": "bridge", "scope": "local", "internal": false,
                    "attachable": false, "ingress": false, "ipv6": false, "subnets": [], "options": {}, "labels": {}, "created": ""
                }))
                .unwrap()
            };
            Ok(vec![network(1), network(2)])
        }

        async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError> {
            tokio::time::sleep(self.listing).await;
            Ok(vec![container(2)])
        }

        async fn container(&self, _: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
            let turn = self.inspected.fetch_add(1, Ordering::Relaxed);
            let (takes, networks) = self.inspections[turn.min(self.inspections.len() - 1)];
            tokio::time::sleep(takes).await;
            Ok(Some(ContainerDetail { container: container(networks), env: Vec::new() }))
        }

        async fn services(&self) -> Result<Vec<ObservedService>, EngineError> {
            Ok(Vec::new())
        }

        async fn task(&self, _: &str) -> Result<Option<ObservedTask>, EngineError> {
            Ok(None)
        }

        async fn recent_events(&self, _: i64) -> Result<Vec<EngineEvent>, EngineError> {
            Ok(Vec::new())
        }
    }

    fn suspects() -> Suspects {
        Suspects { all: false, containers: [container(0).id].into() }
    }

    /// On how many networks the container is seen, how long the look took, and how many inspections.
    async fn seen(listing: Duration, inspections: &[(Duration, usize)]) -> (usize, Duration, usize) {
        seen_after(listing, inspections, KnownContainers::new()).await
    }

    async fn seen_after(
        listing: Duration,
        inspections: &[(Duration, usize)],
        known: KnownContainers,
    ) -> (usize, Duration, usize) {
        let busy = Busy { listing, inspections: inspections.to_vec(), inspected: AtomicUsize::new(0) };
        let recollection = Recollection::new(known, &suspects(), true);
        let before = Before { suspects: suspects().containers, ..Before::default() };
        let begun = Instant::now();
        let seen = look(&busy, &Interest::All, before, &recollection).await.unwrap();
        (seen.state.containers[0].endpoints.len(), begun.elapsed(), busy.inspected.into_inner())
    }

    /// What is known of the container that the list shows.
    async fn known() -> KnownContainers {
        let busy = Busy { listing: MOMENT, inspections: vec![(MOMENT, 2)], inspected: AtomicUsize::new(0) };
        let recollection = Recollection::new(KnownContainers::new(), &Suspects::default(), true);
        look(&busy, &Interest::All, Before::default(), &recollection).await.unwrap();
        recollection.into_known()
    }

    #[tokio::test(start_paused = true)]
    async fn a_disconnection_that_the_daemon_is_not_through_with_is_waited_for_and_seen() {
        assert_eq!(seen(MOMENT, &[(MOMENT * 4, 1)]).await, (1, MOMENT * 4, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_before_the_list_and_is_something_else_is_asked_again() {
        assert_eq!(seen(MOMENT * 2, &[(MOMENT, 1), (MOMENT, 2)]).await, (2, MOMENT * 3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disconnection_that_is_told_once_is_seen_though_the_list_is_slow_and_shows_what_is_remembered() {
        let known = known().await;
        assert_eq!(known.len(), 1);
        let list = Duration::from_millis(60);
        assert_eq!(seen_after(list, &[(MOMENT, 1)], known).await, (1, list + MOMENT, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_before_the_list_and_is_the_same_is_not_asked_again() {
        assert_eq!(seen(MOMENT * 2, &[(MOMENT, 2)]).await, (2, MOMENT * 2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_is_busy_for_long_is_asked_again_whatever_is_remembered() {
        let long = Duration::from_secs(5);
        assert_eq!(seen(MOMENT, &[(long, 1), (MOMENT, 2)]).await, (2, SUSPENSE + MOMENT, 2));
        assert_eq!(
            seen_after(MOMENT, &[(long, 1), (long, 1)], known().await).await,
            (1, SUSPENSE + long, 2),
            "the list shows what is remembered"
        );
    }
}
