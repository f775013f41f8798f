//! What runs on declared destinations, looked at twice: what it has used in between.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;

use crate::core::api::ObjectKey;
use crate::core::desired::DesiredServer;
use crate::core::observed::ObservedContainer;
use crate::core::usage::{ContainerUsage, Sample, Usage};
use crate::shell::engine::{EngineError, Reader};
use crate::shell::observe;
use crate::shell::transfer::source::Services;

/// Containers of one server that are asked at the same time.
const AT_ONCE: usize = 16;

/// A container, the destination that it is on, and the resource that it is of.
type Placed<'a> = (&'a ObservedContainer, &'a ObjectKey, Option<&'a ObjectKey>);

/// Everything that runs on the declared destinations of a server, as far as `wanted` says: of a destination, and of a resource where one declares it.
pub async fn of_server(
    reader: &impl Reader,
    server: &DesiredServer,
    set: &str,
    interval: Duration,
    wanted: impl Fn(&ObjectKey, Option<&ObjectKey>) -> bool,
) -> Result<Vec<ContainerUsage>, EngineError> {
    let listed = observe::containers(reader).await?;
    let services = Services::of(reader, &listed, set).await?;
    let mut placed: Vec<Placed<'_>> = Vec::new();
    for destination in &server.destinations {
        let name = destination.network.name.as_deref();
        for container in listed.iter().filter(|it| it.state.is_live()) {
            let member =
                destination.members.iter().find(|member| services.is_of(member, container, &member.resource, set));
            let is_on = || container.endpoints.iter().any(|it| Some(it.network_name.as_str()) == name);
            let resource = member.map(|it| &it.resource);
            if (member.is_some() || is_on()) && wanted(&destination.key, resource) {
                placed.push((container, &destination.key, resource));
            }
        }
    }
    placed.sort_by(|one, other| (one.1, &one.0.name).cmp(&(other.1, &other.0.name)));
    let before = samples(reader, &placed).await?;
    tokio::time::sleep(interval).await;
    let after = samples(reader, &placed).await?;
    let used = |(container, destination, resource): Placed<'_>| {
        let (before, after) = (before.get(container.id.as_str())?, after.get(container.id.as_str())?);
        Some(ContainerUsage {
            server: server.key.path(),
            destination: destination.path(),
            resource: resource.map(ToString::to_string),
            container: container.name.clone(),
            memory_limit: (after.limit > 0).then_some(after.limit),
            usage: Usage::between(before, after)?,
        })
    };
    Ok(placed.into_iter().filter_map(used).collect())
}

/// By the id of the container. One that is gone has none.
async fn samples(reader: &impl Reader, placed: &[Placed<'_>]) -> Result<BTreeMap<String, Sample>, EngineError> {
    let mut ids: Vec<_> = placed.iter().map(|(container, ..)| container.id.clone()).collect();
    ids.sort();
    ids.dedup();
    let asked = futures::stream::iter(ids).map(|id| async move { (id.to_string(), reader.usage(&id).await) });
    let answers: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
    let mut samples = BTreeMap::new();
    for (id, sample) in answers {
        if let Some(sample) = sample? {
            samples.insert(id, sample);
        }
    }
    Ok(samples)
}
