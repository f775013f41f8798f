//! What a proxy's troubles depend on and no list tells: ports, the configuration of the proxy, and what health checks print.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use super::INSPECTIONS;
use crate::desired::DesiredServer;
use crate::doctor::{Details, is_proxy, setting_names, subjects};
use crate::engine::{EngineError, Reader, WorkloadDetail};
use crate::observed::{ContainerId, EngineEvent, ObservedState};

/// Details of the containers that matter, and the events that the daemon remembers.
#[derive(Debug, Default)]
pub struct Closer {
    pub details: BTreeMap<ContainerId, Details>,
    pub events: Vec<EngineEvent>,
}

/// Looks closer at a server that was observed.
pub async fn look(
    reader: &(impl Reader + ?Sized),
    server: &DesiredServer,
    observed: &ObservedState,
) -> Result<Closer, EngineError> {
    let ids: Vec<(ContainerId, bool)> =
        subjects(server, observed).into_iter().map(|id| (id.clone(), is_proxy(server, observed, &id))).collect();
    let details = stream::iter(ids)
        .map(|(id, proxy)| async move {
            let Some(workload) = reader.workload(&id).await? else { return Ok(None) };
            // What proxies are told by variables; the values of all others stay where they are.
            let env = match proxy {
                true => reader.container(&id).await?.map(|detail| detail.env).unwrap_or_default(),
                false => Vec::new(),
            };
            Ok(Some((id, details(workload, &env))))
        })
        .buffer_unordered(INSPECTIONS)
        .try_filter_map(|detail| async move { Ok(detail) });
    let (details, events) = futures::try_join!(details.try_collect(), reader.recent_events(0))?;
    Ok(Closer { details, events })
}

fn details(workload: WorkloadDetail, env: &[String]) -> Details {
    let WorkloadDetail { config, health_output, exposed, .. } = workload;
    let port = |text: &String| text.split('/').next().and_then(|number| number.parse().ok());
    let settings = env.iter().filter_map(|line| line.split_once('='));
    let mut exposed: BTreeSet<u16> = exposed.iter().filter_map(port).collect();
    exposed.extend(config.ports.iter().map(|port| port.container_port));
    Details {
        exposed,
        published: config.ports.iter().filter_map(|port| port.host_port).collect(),
        command: [config.entrypoint, config.command].concat(),
        extra_hosts: config.extra_hosts,
        settings: settings
            .filter(|(name, _)| setting_names().contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        restarts: config.restarts,
        started: config.started,
        health_output,
    }
}
