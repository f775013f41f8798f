//! The containers of a server, for commands that look at nothing else: with what tells whose a container is that a person has renamed.

use futures::stream::{self, StreamExt, TryStreamExt};

use super::INSPECTIONS;
use crate::core::observed::{ContainerId, ObservedContainer};
use crate::core::plan::workload::identity_of;
use crate::core::workload::identity::OBJECT;
use crate::shell::engine::{EngineError, Reader};

/// The list of containers. Those with Landfall's labels that were made for another name are inspected: the list leaves out what their endpoints say.
pub async fn containers(reader: &(impl Reader + ?Sized)) -> Result<Vec<ObservedContainer>, EngineError> {
    let mut containers = reader.containers().await?;
    let is_doubtful = |it: &&ObservedContainer| it.labels.contains_key(OBJECT) && identity_of(it).is_none();
    let doubtful: Vec<ContainerId> = containers.iter().filter(is_doubtful).map(|it| it.id.clone()).collect();
    let inspected: Vec<ObservedContainer> = stream::iter(doubtful)
        .map(|id| async move { reader.container(&id).await })
        .buffer_unordered(INSPECTIONS)
        .try_filter_map(|detail| async move { Ok(detail.map(|detail| detail.container)) })
        .try_collect()
        .await?;
    for detail in inspected {
        if let Some(container) = containers.iter_mut().find(|it| it.id == detail.id) {
            container.endpoints = detail.endpoints;
        }
    }
    Ok(containers)
}
