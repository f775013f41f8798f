//! What a proxy's troubles depend on and no list tells: ports, the configuration of the proxy, and what health checks print.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use super::INSPECTIONS;
use crate::core::desired::DesiredServer;
use crate::core::doctor::{Details, is_proxy, setting_names, subjects};
use crate::core::observed::{ContainerId, EngineEvent, ObservedContainer, ObservedState};
use crate::shell::engine::{EngineError, Reader, WorkloadDetail};

/// Details of the containers that matter, and the events that the daemon remembers.
#[derive(Debug, Default)]
pub struct Closer {
    pub details: BTreeMap<ContainerId, Details>,
    pub events: Vec<EngineEvent>,
}

/// Looks closer at a server that was observed: once at every container that is served or on a network of somebody's, whose endpoints and
/// state are then known as inspection shows them.
pub async fn look(
    reader: &(impl Reader + ?Sized),
    server: &DesiredServer,
    observed: &mut ObservedState,
) -> Result<Closer, EngineError> {
    let mut closer = Closer::default();
    let first = subjects(server, observed).into_iter().chain(on_networks(observed)).collect();
    let (seen, events) = futures::try_join!(inspect(reader, first), reader.recent_events(0))?;
    closer.events = events;
    take(observed, &mut closer, seen);
    // Now that it is known how the proxy ended, there may be more that matters.
    let more = subjects(server, observed).into_iter().filter(|id| !closer.details.contains_key(id)).collect();
    let seen = inspect(reader, more).await?;
    take(observed, &mut closer, seen);
    for id in subjects(server, observed).into_iter().filter(|id| is_proxy(server, observed, id)) {
        // What proxies are told by variables; the values of all others stay where they are.
        let env = reader.container(&id).await?.map(|detail| detail.env).unwrap_or_default();
        let Some(details) = closer.details.get_mut(&id) else { continue };
        let settings = env.iter().filter_map(|line| line.split_once('='));
        let known = settings.filter(|(name, _)| setting_names().contains(name));
        details.settings = known.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }
    Ok(closer)
}

/// Containers on a network that is not one of the engine's own, where they can be reached by name.
fn on_networks(observed: &ObservedState) -> impl Iterator<Item = ContainerId> + use<'_> {
    let own = ["bridge", "host", "none"];
    let is_on = move |container: &&ObservedContainer| {
        container.endpoints.iter().any(|endpoint| !own.contains(&endpoint.network_name.as_str()))
    };
    observed.containers.iter().filter(is_on).map(|container| container.id.clone())
}

async fn inspect(
    reader: &(impl Reader + ?Sized),
    ids: BTreeSet<ContainerId>,
) -> Result<Vec<(ContainerId, WorkloadDetail)>, EngineError> {
    stream::iter(ids)
        .map(|id| async move { reader.workload(&id).await.map(|detail| detail.map(|detail| (id, detail))) })
        .buffer_unordered(INSPECTIONS)
        .try_filter_map(|detail| async move { Ok(detail) })
        .try_collect()
        .await
}

fn take(observed: &mut ObservedState, closer: &mut Closer, seen: Vec<(ContainerId, WorkloadDetail)>) {
    let mut seen: BTreeMap<ContainerId, WorkloadDetail> = seen.into_iter().collect();
    for container in &mut observed.containers {
        let Some(detail) = seen.remove(&container.id) else { continue };
        let inspected = &detail.container;
        container.state = inspected.state;
        container.exit.clone_from(&inspected.exit);
        container.health = inspected.health;
        for endpoint in &mut container.endpoints {
            let same = inspected.endpoints.iter().find(|it| it.network_name == endpoint.network_name);
            endpoint.settings = same.and_then(|it| it.settings.clone()).or(endpoint.settings.take());
        }
        closer.details.insert(container.id.clone(), details(detail));
    }
}

fn details(workload: WorkloadDetail) -> Details {
    let WorkloadDetail { config, health_output, exposed, .. } = workload;
    let port = |text: &String| text.split('/').next().and_then(|number| number.parse().ok());
    let mut exposed: BTreeSet<u16> = exposed.iter().filter_map(port).collect();
    exposed.extend(config.ports.iter().map(|port| port.container_port));
    Details {
        exposed,
        published: config.ports.iter().filter_map(|port| port.host_port).collect(),
        command: [config.entrypoint, config.command].concat(),
        extra_hosts: config.extra_hosts,
        settings: BTreeMap::new(),
        restarts: config.restarts,
        started: config.started,
        health_output,
    }
}
