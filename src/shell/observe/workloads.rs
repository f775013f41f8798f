//! How managed containers were made, and the images that resources declare. Nothing is asked where nothing is managed.
//!
//! Limits and restart policies change without a trace in any list, so a managed container is inspected at every look.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use super::INSPECTIONS;
use crate::core::api::PullPolicy;
use crate::core::desired::DesiredServer;
use crate::core::observed::{ContainerId, ObservedContainer, ObservedService, ObservedState, SwarmState};
use crate::core::plan::workload::{may_be_replaced, service_may_be_replaced};
use crate::core::workload::identity;
use crate::core::workload::seen::ImageState;
use crate::shell::engine::{EngineError, EngineErrorKind, Reader};

/// Fills in what the state leaves out of managed containers, and of the images that `server` declares.
pub(super) async fn see(
    reader: &(impl Reader + ?Sized),
    server: Option<&DesiredServer>,
    state: &mut ObservedState,
) -> Result<(), EngineError> {
    let members = || server.into_iter().flat_map(|server| &server.destinations).flat_map(|it| &it.members);
    let of_interest = |container: &&ObservedContainer| {
        container.labels.contains_key(identity::OBJECT) || members().any(|member| may_be_replaced(container, member))
    };
    let ids: Vec<ContainerId> = state.containers.iter().filter(of_interest).map(|it| it.id.clone()).collect();
    let seen: Vec<_> = stream::iter(ids)
        .map(|id| async move { reader.workload(&id).await.map(|detail| (id, detail)) })
        .buffer_unordered(INSPECTIONS)
        .try_collect()
        .await?;
    for (id, detail) in seen {
        let Some(detail) = detail else {
            // Gone since the list: what is planned for it finds that out.
            state.containers.retain(|container| container.id != id);
            continue;
        };
        if let Some(container) = state.containers.iter_mut().find(|container| container.id == id) {
            // One look, of one piece: state, health and configuration belong together.
            container.take_state(detail.container);
        }
        state.workloads.insert(id, detail.config);
    }
    services(reader, server, state).await?;
    if members().any(|member| member.workload.as_ref().is_some_and(|workload| workload.database.is_some())) {
        let volumes = reader.volumes().await?;
        state.volumes = volumes.into_iter().map(|volume| (volume.name, volume.labels)).collect();
    }
    for (reference, ask) in images(server) {
        let local = reader.image(&reference).await?;
        let mut seen = ImageState { local, ..ImageState::default() };
        if ask {
            match reader.remote_digest(&reference).await {
                Ok(digest) => seen.remote = Some(digest),
                Err(error) => seen.problem = Some(error.to_string()),
            }
        }
        state.images.insert(reference, seen);
    }
    Ok(())
}

/// The definitions of services that a resource may take over, which the list leaves out, and the secrets of what Landfall runs on the Swarm.
async fn services(
    reader: &(impl Reader + ?Sized),
    server: Option<&DesiredServer>,
    state: &mut ObservedState,
) -> Result<(), EngineError> {
    let members = || server.into_iter().flat_map(|server| &server.destinations).flat_map(|it| &it.members);
    if !matches!(state.engine.swarm, SwarmState::Manager { .. }) {
        return Ok(());
    }
    let may_be = |it: &ObservedService| members().any(|member| service_may_be_replaced(it, member));
    for service in &mut state.services {
        if service.definition.is_none() && may_be(service) {
            service.definition = reader.service(&service.id).await?.and_then(|seen| seen.definition);
        }
    }
    let workloads = || members().filter_map(|it| it.workload.as_ref());
    let managed = state.services.iter().any(|it| it.labels.contains_key(identity::OBJECT));
    if managed || workloads().next().is_some() {
        state.secrets = match reader.secrets().await {
            // Whoever needs none need not be allowed to see them.
            Err(error)
                if error.kind == EngineErrorKind::PermissionDenied
                    && workloads().all(|it| it.container.files.is_empty()) =>
            {
                Vec::new()
            }
            listed => listed?,
        };
    }
    Ok(())
}

/// References of images, and whether their registries are to be asked.
fn images(server: Option<&DesiredServer>) -> BTreeMap<String, bool> {
    let members = server.into_iter().flat_map(|server| &server.destinations).flat_map(|it| &it.members);
    let members: Vec<_> = members.collect();
    let stacks = members.iter().filter_map(|member| member.stack.as_ref()?.made.as_ref().ok());
    let services = stacks.flat_map(|made| made.services.values());
    let of_stacks = services.map(|it| (it.image.clone(), it.always_pulled && !it.image.contains('@')));
    let workloads: BTreeSet<(String, bool)> = members
        .iter()
        .filter_map(|member| member.workload.as_ref())
        .map(|it| (it.image.clone(), it.pull_policy == PullPolicy::Always && !it.image.contains('@')))
        .chain(of_stacks)
        .collect();
    let mut images = BTreeMap::new();
    for (reference, ask) in workloads {
        *images.entry(reference).or_default() |= ask;
    }
    images
}
