//! Removing a network: nobody may be on it, and it may take a while until it is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::{Instant, sleep};

use super::call::{Caller, Mishap, POLL, Warning, failed};
use crate::core::api::ObjectKey;
use crate::core::observed::{
    ContainerId, ContainerState, NetworkId, NetworkScope, ObservedContainer, ObservedEndpoint, ObservedNetwork,
    ObservedService, ObservedTask,
};
use crate::core::plan::{Reason, SWARM_SERVICE};
use crate::core::report::Failure;
use crate::shell::engine::{EngineError, EngineErrorKind, Writer};

/// A network that belongs to a Swarm is gone only after its nodes have let go of it.
const REMOVAL: Duration = Duration::from_secs(20);
/// Tasks of a service that was taken off the network are replaced one after another, each with as long to stop as it is granted.
const REPLACEMENT: Duration = Duration::from_secs(120);

impl Caller<'_> {
    pub(super) async fn remove(&self, id: &NetworkId) -> Result<Option<Warning>, Mishap> {
        let Some(network) = self.network(id).await? else { return Ok(None) };
        self.check_unused(&network, &Leaving::default(), Depth::Listed).await?;
        match self.answer(self.engine.remove_network(id)).await {
            Ok(()) => {}
            Err(error) if error.kind == EngineErrorKind::NotFound => {}
            Err(error) if error.kind == EngineErrorKind::NetworkInUse => self.held(&network, error).await?,
            // Whatever was answered: it may have been done all the same.
            Err(error) => {
                if self.network(id).await?.is_some() {
                    return Err(error.into());
                }
            }
        }
        let deadline = Instant::now() + REMOVAL;
        while self.network(id).await?.is_some() {
            if Instant::now() >= deadline {
                let message =
                    format!("The daemon accepted to remove the network {:?}, and still has it.", network.name);
                return Err(failed(Reason::NetworkInUse, message));
            }
            sleep(POLL).await;
        }
        self.stranded(&network).await
    }

    /// The daemon will not remove a network that nobody is to be seen on. A Swarm counts a task for everyone who is on it, and lets go of the
    /// network some moments after the last one; so it is asked again for a while.
    async fn held(&self, network: &ObservedNetwork, mut refused: EngineError) -> Result<(), Mishap> {
        let started = Instant::now();
        loop {
            self.check_unused(network, &Leaving::default(), Depth::Listed).await?;
            let Some(task) = refused.holding_task() else { return Err(leftover(network, refused)) };
            let seen = self.answer(self.engine.task(task)).await?;
            // What somebody is attached for by hand is wanted for good; a task of a service may be next to be replaced.
            let patience = match &seen {
                Some(task) if task.service.is_some() => REPLACEMENT,
                Some(task) if task.is_wanted() => self.limits.settle,
                _ => REMOVAL,
            };
            if started.elapsed() >= patience {
                let task = task.to_owned();
                return Err(held_by(network, &task, seen, refused.hint));
            }
            sleep(POLL).await;
            refused = match self.answer(self.engine.remove_network(&network.id)).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind == EngineErrorKind::NetworkInUse => error,
                Err(error) => return Err(error.into()),
            };
        }
    }

    /// Containers that came to be on the network between the last look and its removal. They cannot start until they are disconnected from it.
    async fn stranded(&self, network: &ObservedNetwork) -> Result<Option<Warning>, Mishap> {
        let users = match self.users(network, Depth::Listed).await {
            Ok(users) => users,
            // It is gone; what another server is not asked for any more may be told later.
            Err(mishap) if !mishap.lost => {
                let (message, hint) = (mishap.failure.message, mishap.failure.hint);
                return Ok(Some(Warning { reason: Reason::ServerUnreachable, message, hint }));
            }
            Err(mishap) => return Err(mishap),
        };
        let users: Vec<User> = users.into_iter().filter(|user| user.pinned).collect();
        if users.is_empty() {
            return Ok(None);
        }
        Ok(Some(Warning {
            reason: Reason::NetworkInUse,
            message: format!(
                "While the network {:?} was being removed, {} came to be attached to it and cannot start as it is.",
                network.name,
                list(&users)
            ),
            hint: Some(format!(
                "create the network again, or for each of them: docker network disconnect {} NAME",
                network.name
            )),
        }))
    }

    /// Nobody but those who are leaving is on the network. Tasks of a service that has been taken off it end by themselves, which is waited for.
    pub(super) async fn check_unused(
        &self,
        network: &ObservedNetwork,
        leaving: &Leaving<'_>,
        depth: Depth,
    ) -> Result<(), Mishap> {
        let deadline = Instant::now() + REPLACEMENT;
        loop {
            let mut users = self.users(network, depth).await?;
            users.retain(|user| !leaving.covers(user));
            if users.is_empty() {
                return Ok(());
            }
            if !users.iter().all(|user| user.ending) || Instant::now() >= deadline {
                return Err(Failure {
                    reason: Some(Reason::NetworkInUse),
                    message: format!("The network {:?} is in use by {}.", network.name, list(&users)),
                    hint: Some("disconnect or remove them, then apply again".to_owned()),
                }
                .into());
            }
            sleep(POLL).await;
        }
    }

    /// Whoever refers to the network, stopped containers and services without tasks included; of a Swarm's network, on any declared node.
    ///
    /// The daemon is asked in several ways, for one answer may leave out what another shows: whoever is in any of them is on the network.
    pub(super) async fn users(&self, network: &ObservedNetwork, depth: Depth) -> Result<Vec<User>, Mishap> {
        let mut users = Vec::new();
        let mut services = Vec::new();
        if network.scope == NetworkScope::Swarm {
            services = self.answer(self.manager.unwrap_or(self.engine).services()).await?;
            services.retain(|service| service.is_on(network));
        }
        let mut add = |containers: Vec<ObservedContainer>, server: Option<&ObjectKey>| {
            for container in containers {
                if users.iter().any(|user: &User| user.container.as_ref() == Some(&container.id)) {
                    continue;
                }
                if let Some(user) = user(&container, network, server, &services) {
                    users.push(user);
                }
            }
        };
        if network.scope == NetworkScope::Swarm && !self.others.is_empty() {
            for (server, engine) in self.others {
                match self.views(*engine, &network.id, depth).await {
                    Ok(containers) => add(containers, Some(server)),
                    Err(error) => return Err(not_looked_at(network, server, &error)),
                }
            }
        } else {
            add(self.views(self.engine, &network.id, depth).await?, None);
        }
        users.extend(services.into_iter().map(|service| User {
            name: format!("service {}", service.name),
            container: None,
            service: Some(service.name),
            pinned: false,
            ending: false,
        }));
        Ok(users)
    }
}

/// How closely it is looked who is on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// By what lists, and the network itself, say.
    Listed,
    /// Every container is inspected as well.
    Inspected,
}

/// Inspections at once.
const INSPECTIONS: usize = 8;

impl Caller<'_> {
    /// What one engine tells of its containers, in several ways: a container may be among them more than once.
    async fn views(
        &self,
        engine: &dyn Writer,
        network: &NetworkId,
        depth: Depth,
    ) -> Result<Vec<ObservedContainer>, EngineError> {
        let mut views = self.answer(engine.containers()).await?;
        let told = self.answer(engine.containers_on(network)).await?;
        let running = self.answer(engine.network(network)).await?.map(|detail| detail.containers).unwrap_or_default();
        let listed: BTreeSet<ContainerId> = views.iter().map(|it| it.id.clone()).collect();
        let heard = match depth {
            Depth::Listed => Vec::new(),
            Depth::Inspected => self.heard_of(engine, network).await,
        };
        let all = listed.iter().filter(|_| depth == Depth::Inspected);
        let hidden = running.iter().chain(told.iter().map(|it| &it.id)).chain(&heard);
        let hidden = hidden.filter(|id| !listed.contains(*id));
        let asked: BTreeSet<ContainerId> = all.chain(hidden).cloned().collect();
        views.extend(told);
        let inspections = asked.into_iter().map(|id| async move { self.answer(engine.container(&id)).await });
        let inspected: Vec<_> = stream::iter(inspections).buffer_unordered(INSPECTIONS).try_collect().await?;
        views.extend(inspected.into_iter().flatten().map(|detail| detail.container));
        Ok(views)
    }
}

/// Of what the daemon remembers to have happened, the latest containers.
const HEARD: usize = 64;

impl Caller<'_> {
    /// Containers that events still tell of: one that does not run and that lists leave out shows nowhere else. Where no events can be had, nobody.
    async fn heard_of(&self, engine: &dyn Writer, network: &NetworkId) -> Vec<ContainerId> {
        let events = self.answer(engine.recent_events(0)).await.unwrap_or_default();
        let about = events.into_iter().rev().filter_map(|event| match event.object_type.as_str() {
            "container" => event.id.try_into().ok(),
            "network" if event.id == network.as_str() => event.container?.try_into().ok(),
            _ => None,
        });
        let mut heard: Vec<ContainerId> = Vec::new();
        for id in about {
            if heard.len() < HEARD && !heard.contains(&id) {
                heard.push(id);
            }
        }
        heard
    }
}

/// Somebody who refers to a network.
pub(super) struct User {
    name: String,
    container: Option<ContainerId>,
    /// The Swarm service, or the one that the container is a task of.
    service: Option<String>,
    /// By the network's id: it cannot start without it.
    pinned: bool,
    /// A task of a service that is not on the network any more.
    ending: bool,
}

impl User {
    /// It knows the network by its name alone, and is on another one of that name as well when it starts.
    pub(super) fn takes_another(&self) -> bool {
        !self.pinned && self.container.is_some() && self.service.is_none()
    }
}

/// Those whom operations before the removal take off the network.
#[derive(Debug, Default)]
pub(super) struct Leaving<'a> {
    pub(super) containers: BTreeSet<&'a ContainerId>,
    pub(super) services: BTreeSet<&'a str>,
}

impl Leaving<'_> {
    fn covers(&self, user: &User) -> bool {
        user.container.as_ref().is_some_and(|container| self.containers.contains(container))
            || user.service.as_ref().is_some_and(|service| self.services.contains(service.as_str()))
    }
}

fn user(
    container: &ObservedContainer,
    network: &ObservedNetwork,
    server: Option<&ObjectKey>,
    services: &[ObservedService],
) -> Option<User> {
    // It is on its way out and holds nothing up.
    if matches!(container.state, ContainerState::Removing | ContainerState::Dead) {
        return None;
    }
    let by_id = |endpoint: &ObservedEndpoint| match &endpoint.network_id {
        Some(id) => *id == network.id,
        // As Docker shows an id, it may stand in the place of a name.
        None => endpoint.network_name.len() >= 12 && network.id.as_str().starts_with(&endpoint.network_name),
    };
    let by_name = |endpoint: &ObservedEndpoint| endpoint.network_id.is_none() && endpoint.network_name == network.name;
    let pinned = container.endpoints.iter().any(by_id);
    if !pinned && !container.endpoints.iter().any(by_name) {
        return None;
    }
    let service = container.labels.get(SWARM_SERVICE).cloned();
    // On a network that is not of a Swarm, it is a container to which somebody has copied the labels.
    let ending = network.scope == NetworkScope::Swarm
        && service.as_ref().is_some_and(|name| services.iter().all(|service| service.name != *name));
    // Swarm keeps tasks that have ended for its history, and starts none of them again.
    if ending && !container.state.is_live() {
        return None;
    }
    let on = server.map_or(String::new(), |server| format!(" on {}", server.path()));
    Some(User {
        name: format!("container {} ({}){on}", container.name, container.state.as_str()),
        container: Some(container.id.clone()),
        pinned,
        ending,
        service,
    })
}

fn list(users: &[User]) -> String {
    users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The call itself is not affected, and neither is the server that it goes to.
fn not_looked_at(network: &ObservedNetwork, server: &ObjectKey, error: &EngineError) -> Mishap {
    Failure {
        reason: Some(Reason::ServerUnreachable),
        message: format!(
            "Whether a container on {} is on the network {:?} could not be seen: {error}.",
            server.path(),
            network.name
        ),
        hint: error.hint.clone(),
    }
    .into()
}

fn leftover(network: &ObservedNetwork, refused: EngineError) -> Mishap {
    let hint = format!(
        "no container is seen on it, so the daemon holds a leftover: docker network inspect {} names it, \
         docker network disconnect -f {} NAME removes it",
        network.name, network.name
    );
    let failure = Failure::from(refused);
    Failure { hint: failure.hint.clone().or(Some(hint)), ..failure }.into()
}

fn held_by(network: &ObservedNetwork, id: &str, task: Option<ObservedTask>, hint: Option<String>) -> Mishap {
    let name = &network.name;
    let (message, advice) = match task {
        None => (
            format!("The Swarm holds the network {name:?} for the task {id}, which no longer exists."),
            "try again later; if it stays so, restart Docker on the manager that leads the Swarm".to_owned(),
        ),
        Some(task) => {
            let who = match (&task.container, &task.service) {
                (Some(container), _) => format!("the container {}", container.get(..12).unwrap_or(container)),
                (None, Some(service)) => format!("a task of the service {service}"),
                (None, None) => "a task".to_owned(),
            };
            let node = &task.node;
            (
                format!(
                    "The Swarm holds the network {name:?} for {who} on the node {node} (task {id}, {}).",
                    task.state
                ),
                format!(
                    "see it with `docker node inspect {node}`, and declare that node as a server; if the node is gone for good: \
                     docker node rm --force {node}"
                ),
            )
        }
    };
    Failure { reason: Some(Reason::NetworkInUse), message, hint: hint.or(Some(advice)) }.into()
}
