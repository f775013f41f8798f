//! Has a proxy look again: a container that starts and goes is the event that it waits for.

use super::call::{Caller, Done, Warning};
use crate::core::observed::{ContainerId, EndpointSettings};
use crate::core::plan::{ContainerTarget, Reason, ownership};
use crate::core::workload::seen::SeenConfig;
use crate::core::workload::{ContainerCreate, ContainerTemplate};
use crate::shell::engine::EngineError;

/// Marks the container, so that one which an interrupted command left behind is known.
const REFRESH: &str = "landfall.refresh";
/// Printing its version is the shortest thing that Traefik does.
const COMMAND: &str = "version";

impl Caller<'_> {
    /// Starts the proxy's own image, which is there, on no network, and removes the container. The repair that it follows is done in any case:
    /// what goes wrong is a warning.
    pub(super) async fn refresh(&self, proxy: &ContainerTarget, image: &str, set: &str) -> Done {
        let warning = match self.start_and_discard(proxy, image, set).await {
            Ok(()) => None,
            Err(error) => Some(Warning {
                reason: Reason::ProxyStale,
                message: format!(
                    "{} may not know the addresses of members that were reconnected: {}.",
                    proxy.name,
                    error.to_string().trim_end_matches('.')
                ),
                hint: Some(format!(
                    "docker restart {} has it look again; `proxy.refresh: false` on the Server if it reads networks by itself",
                    proxy.name
                )),
            }),
        };
        Done { warning, ..Done::default() }
    }

    async fn start_and_discard(&self, proxy: &ContainerTarget, image: &str, set: &str) -> Result<(), EngineError> {
        let seen = self.answer(self.engine.workload(&proxy.id)).await?;
        // One that is gone looks when it is back.
        let Some(SeenConfig { entrypoint, command, .. }) = seen.map(|it| it.config) else { return Ok(()) };
        let Some(program) = entrypoint.into_iter().chain(command).next() else { return Ok(()) };
        let create = container(program, image, set);
        let id = match self.create_refresh(&create).await {
            Ok(id) => id,
            Err(error) if !self.discard_leftover(&create).await? => return Err(error),
            Err(_) => self.create_refresh(&create).await?,
        };
        let started = self.answer(self.engine.start_container(&id)).await;
        let discarded = self.answer(self.engine.discard_container(&id)).await;
        started.and(discarded)
    }

    async fn create_refresh(&self, create: &ContainerCreate) -> Result<ContainerId, EngineError> {
        self.answer(self.engine.create_container(create, "none", &EndpointSettings::default())).await
    }

    /// One that an interrupted command left behind, or that another one is about to discard.
    async fn discard_leftover(&self, create: &ContainerCreate) -> Result<bool, EngineError> {
        let containers = self.answer(self.engine.containers()).await?;
        let own = containers.iter().find(|it| it.name == create.name && it.labels.contains_key(REFRESH));
        let Some(container) = own else { return Ok(false) };
        self.answer(self.engine.discard_container(&container.id)).await?;
        Ok(true)
    }
}

/// `program`: what the proxy itself runs, so that it is in the image.
fn container(program: String, image: &str, set: &str) -> ContainerCreate {
    let labels = [(ownership::SET, set), (REFRESH, "proxy"), ("traefik.enable", "false")];
    ContainerCreate {
        name: format!("landfall-refresh-{set}"),
        image: image.to_owned(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        template: ContainerTemplate {
            entrypoint: Some(vec![program]),
            command: Some(vec![COMMAND.to_owned()]),
            read_only: true,
            ..ContainerTemplate::default()
        },
        inherited: Vec::new(),
        drainable: false,
    }
}
