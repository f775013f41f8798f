//! Which containers have printed something, and where it is read.

use std::collections::BTreeSet;

use futures::stream::BoxStream;

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredServer};
use crate::core::observed::{ContainerId, ObservedContainer};
use crate::core::plan::selects;
use crate::core::plan::workload::identity_of;
use crate::core::workload::identity;
use crate::shell::engine::{EngineError, LogLine, LogRequest, Reader};
use crate::shell::observe;

/// What a log is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// On that server.
    Container(ObjectKey, ContainerId),
    /// By its id, which all managers of a Swarm know.
    Task(String),
}

impl Source {
    pub async fn open(
        &self,
        reader: &impl Reader,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        match self {
            Self::Container(_, id) => reader.logs(id, request).await,
            Self::Task(id) => reader.task_logs(id, request).await,
        }
    }
}

/// The containers of those objects on a server, and the tasks of those that run as services of its Swarm, each with its name.
pub async fn sources(
    reader: &impl Reader,
    set: &str,
    server: &DesiredServer,
    keys: &BTreeSet<ObjectKey>,
) -> Result<Vec<(String, Source)>, EngineError> {
    let containers = observe::containers(reader).await?;
    let own = containers.iter().filter(|container| is_of(set, server, keys, container));
    let mut found: Vec<(String, Source)> =
        own.map(|it| (it.name.clone(), Source::Container(server.key.clone(), it.id.clone()))).collect();
    let managed = server.destinations.iter().flat_map(|destination| &destination.members);
    if managed.into_iter().any(|member| member.workload.is_some()) {
        for service in reader.services().await? {
            let of = identity::of(&service.name, &service.labels);
            let wanted =
                of.is_some_and(|of| of.set == set && (keys.contains(&of.object) || keys.contains(&of.destination)));
            if !wanted {
                continue;
            }
            let tasks = reader.service_tasks(&service.id).await?;
            // What was replaced has said what it had to say.
            let tasks = tasks.into_iter().filter(|task| task.is_there() && task.container.is_some());
            found.extend(tasks.map(|task| (format!("{}.{}", service.name, task.slot), Source::Task(task.id))));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a container is one of those objects, by its seal or by the selector of an adopted resource.
fn is_of(set: &str, server: &DesiredServer, keys: &BTreeSet<ObjectKey>, container: &ObservedContainer) -> bool {
    if let Some(identity) = identity_of(container) {
        return identity.set == set && (keys.contains(&identity.object) || keys.contains(&identity.destination));
    }
    let of = |destination: &DesiredDestination| {
        let mut members = destination.members.iter();
        members.any(|member| {
            (keys.contains(&member.resource) || keys.contains(&destination.key))
                && member.workload.is_none()
                && selects(&member.selector, container)
        })
    };
    server.destinations.iter().any(of)
}
