//! Observing: from a [`Reader`] to an [`ObservedState`], complete or not at all.
//!
//! A server takes three calls however much is on it: the engine's own information, the networks and the containers, at the same time. A
//! Swarm manager is asked for its services too, and an engine outside of any Swarm is not asked about itself again for a while. The lists leave out how endpoints were connected, so every container on a
//! network of interest is inspected, several at once, unless what it would tell is known.
//!
//! The calls do not see one moment. Where that could be mistaken for a state that never was, the lists are read again:
//! - a container of the list that inspection does not find has to be missing from a second list as well;
//! - a container that was on a network of interest at an earlier look and that no list shows is asked for by its id: only that tells that it is
//!   gone, and one that is hidden from lists keeps its network;
//! - an endpoint on a network that is not among the networks may be pinned to a removed one, or the network is newer than the
//!   list. A second list tells, and of one that is not in that either the engine is asked by its id: some that stand between hide networks from lists.
//!
//! Containers that an event was about are inspected beside the lists (`suspects.rs`).

pub mod details;
mod known;
mod renamed;
mod suspects;
mod workloads;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;
use tracing::Instrument;

use crate::core::desired::DesiredServer;
use crate::core::observed::{
    ContainerId, ContainerState, NetworkId, Observations, ObservedContainer, ObservedEndpoint, ObservedNetwork,
    ObservedNode, ObservedService, ObservedState, SwarmAttachment, SwarmState, Unobserved, UnobservedReason,
};
use crate::core::workload::identity::has_expired;
use crate::shell::engine::{EngineError, EngineErrorKind, Reader};
use crate::shell::slots::Turns;
use crate::shell::store::known::{Known, KnownContainers, KnownEngine, Suspects, Unlisted};
use known::Recollection;
pub use renamed::containers;
use suspects::Suspect;

/// Inspections at once. More do not make a daemon answer faster, and are more connections than are kept.
const INSPECTIONS: usize = 8;
/// Endpoints on networks that are not in the list, of which it is asked whether they are there all the same.
const HIDDEN: usize = 256;
/// How long a network of a Swarm may be without a driver and addresses before it is taken to stay so.
const ALLOCATION: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);
/// Of those who were on a network, how many are remembered.
const MEMBERS: usize = 10_000;
/// Labels with this prefix are Landfall's own, of whichever set.
const OWN_LABELS: &str = "landfall.";

/// The networks whose endpoints have to be known with their settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// Every network.
    All,
    /// Networks of these names, and all that carry Landfall's labels.
    Names(BTreeSet<String>),
}

impl Interest {
    /// What a plan for the server looks at.
    pub fn declared(server: &DesiredServer) -> Self {
        let members = server.destinations.iter().flat_map(|destination| &destination.members);
        let stacks = members.filter_map(|member| member.stack.as_ref()?.made.as_ref().ok());
        let of_stacks = stacks.flat_map(|made| made.networks.values().map(|network| network.name.clone()));
        let declared = server.destinations.iter().filter_map(|destination| destination.network.name.clone());
        Self::Names(declared.chain(of_stacks).collect())
    }
}

/// Bounds on observing many servers.
#[derive(Debug, Clone, Copy)]
pub struct ObserveLimits {
    /// Servers at the same time, not counting those that take long.
    pub concurrency: usize,
    /// For all calls to one server together.
    pub per_server: Duration,
}

impl Default for ObserveLimits {
    fn default() -> Self {
        Self { concurrency: 32, per_server: Duration::from_secs(30) }
    }
}

/// Looks at every server, several at once. One that hangs or fails neither delays nor fails the others.
pub async fn observe_all<'a, R: Reader>(
    servers: impl IntoIterator<Item = &'a DesiredServer>,
    interest: impl Fn(&DesiredServer) -> Interest,
    connect: impl Fn(&DesiredServer) -> Result<R, EngineError>,
    known: &Known,
    limits: ObserveLimits,
) -> Observations {
    // Boxed and collected: kept as a mapped iterator, the compiler cannot see that the whole may move between threads.
    let look = |server: &'a DesiredServer| {
        let interest = interest(server);
        let reader = connect(server);
        let look = async move {
            let suspects = known.take_suspects(&server.key);
            let recollection = Recollection::new(known.of(&server.key), &suspects, known.is_watched());
            let members = known.members(&server.key);
            let before = Before {
                engine: known.take_engine(&server.key),
                suspects: suspects.containers.clone(),
                members: members.clone(),
                unlisted: if suspects.all { Unlisted::default() } else { known.unlisted(&server.key) },
            };
            let look = async {
                let reader = reader?;
                let mut seen = look(&reader, &interest, before, &recollection).await?;
                let part = |seen: &Seen| seen.state.engine.swarm != SwarmState::Inactive;
                if known.was_in_swarm(&server.key).is_some_and(|before| before != part(&seen)) {
                    // A daemon that is going down takes itself for standalone, on the connections that it has: nobody believes it at once.
                    reader.renew();
                    let before = Before { members, ..Before::default() };
                    seen = look(&reader, &interest, before, &recollection).await?;
                }
                known.keep_in_swarm(&server.key, part(&seen));
                workloads::see(&reader, Some(server), &mut seen.state).await?;
                Ok(seen)
            };
            let look = look.map(|seen: Result<_, EngineError>| seen.map_err(unobserved));
            let path = server.key.path();
            let span = tracing::info_span!(
                target: "otel",
                "observe",
                landfall.server = path,
                otel.status_description = tracing::field::Empty
            );
            let seen = tokio::time::timeout(limits.per_server, look.instrument(span.clone())).await;
            let seen = seen.unwrap_or_else(|_| Err(too_slow(server, limits.per_server)));
            let changed = recollection.has_changed();
            let learned = recollection.into_known();
            let seen = match seen {
                Ok(Seen { state, engine, members, unlisted }) => {
                    // On most servers all is as it was, and packing it takes longer than anything else of a look.
                    if changed {
                        known.replace(&server.key, learned);
                    }
                    known.keep_members(&server.key, members);
                    known.keep_unlisted(&server.key, unlisted);
                    known.keep_engine(&server.key, engine);
                    Ok(state)
                }
                Err(unobserved) => {
                    span.record("otel.status_description", &unobserved.message);
                    // The next look goes on from here, however slowly the server answers.
                    let containers = suspects.containers.into_iter().filter(|id| !learned.contains_key(id)).collect();
                    known.learn(&server.key, learned);
                    known.suspect_all(&server.key, Suspects { all: false, containers });
                    Err(unobserved)
                }
            };
            (server.key.clone(), seen)
        };
        look.boxed()
    };
    let looks: Vec<_> = servers.into_iter().map(look).collect();
    Turns::new(limits.concurrency).all(looks).await.into_iter().collect()
}

/// Looks at one server. Any call that fails makes the whole look fail: half a state would be taken for the state.
pub async fn observe(reader: &(impl Reader + ?Sized), interest: &Interest) -> Result<ObservedState, Unobserved> {
    let recollection = Recollection::new(KnownContainers::new(), &Suspects::default(), false);
    let look = async {
        let mut state = look(reader, interest, Before::default(), &recollection).await?.state;
        workloads::see(reader, None, &mut state).await?;
        Ok(state)
    };
    look.await.map_err(unobserved)
}

/// What earlier looks have told, and events.
#[derive(Default)]
struct Before {
    engine: Option<KnownEngine>,
    suspects: BTreeSet<ContainerId>,
    /// Who was on a network of interest.
    members: BTreeSet<ContainerId>,
    unlisted: Unlisted,
}

/// What a look has found, and what the engine has told of itself.
struct Seen {
    state: ObservedState,
    engine: KnownEngine,
    members: BTreeSet<ContainerId>,
    unlisted: Unlisted,
}

async fn look(
    reader: &(impl Reader + ?Sized),
    interest: &Interest,
    before: Before,
    recollection: &Recollection,
) -> Result<Seen, EngineError> {
    let engine = async {
        let engine = reader.info().await?;
        let swarm = match engine.swarm {
            SwarmState::Manager { .. } => swarm(reader).await?,
            _ => Swarm::default(),
        };
        Ok((known::told(&engine), swarm))
    };
    let rest = async {
        let containers = async { Ok((reader.containers().await?, Instant::now())) };
        let networks = async { allocated(reader, reader.networks().await?).await };
        let lists = async { futures::try_join!(networks, containers) };
        let (lists, mut suspects) = futures::join!(lists, suspects::inspect(reader, &before.suspects));
        let (mut networks, (mut containers, mut listed)) = lists?;
        let Missing { found: mut unlisted, unknown: mut members, denied } =
            missing(reader, &before.members, &before.unlisted.denied, &before.suspects, &containers).await?;
        if unlisted.iter().any(|container| !before.unlisted.hidden.contains(&container.id)) {
            // A list may be short once; who is in none is hidden, until one shows him.
            (containers, listed) = (reader.containers().await?, Instant::now());
            unlisted.retain(|hidden| containers.iter().all(|container| container.id != hidden.id));
        }
        let remembered = Unlisted { hidden: unlisted.iter().map(|it| it.id.clone()).collect(), denied };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        containers.retain(|it| !has_expired(&it.labels, now));
        suspects.retain(|_, suspect| suspect.is_worth_more_than(&containers, listed));
        let inspected = suspects.values().map(|suspect| &suspect.container);
        if containers.iter().chain(inspected).flat_map(|it| &it.endpoints).any(|it| dangles(it, &networks)) {
            networks = reader.networks().await?;
        }
        let seen = containers.iter().chain(suspects.values().map(|suspect| &suspect.container));
        let hidden = hidden(reader, interest, &networks, seen).await?;
        if !hidden.is_empty() {
            networks.extend(hidden);
            networks.sort_by(|one, other| one.id.cmp(&other.id));
            networks.dedup_by(|one, other| one.id == other.id);
        }
        resolve(&mut containers, &networks);
        let interesting = Interesting::new(interest, &networks);
        inspect(reader, &interesting, recollection, suspects, &mut containers).await?;
        resolve(&mut containers, &networks);
        resolve(&mut unlisted, &networks);
        let on = containers.iter().chain(&unlisted);
        let on = on.filter(|container| container.endpoints.iter().any(|it| interesting.covers(it)));
        members.extend(on.map(|container| container.id.clone()).take(MEMBERS.saturating_sub(members.len())));
        Ok((networks, containers, unlisted, (members, remembered)))
    };
    let ((engine, swarm), (networks, containers, unlisted, (members, remembered))) = match before.engine {
        None => futures::try_join!(engine, rest)?,
        Some(told) => {
            let rest = rest.await?;
            let engine = if known::holds(&told, &rest.0) { (told, Swarm::default()) } else { engine.await? };
            (engine, rest)
        }
    };
    let Swarm { services, nodes, attachments } = swarm;
    let state = ObservedState {
        networks,
        containers,
        unlisted,
        services,
        nodes,
        attachments,
        ..ObservedState::of(engine.info.clone())
    };
    Ok(Seen { state, engine, members, unlisted: remembered })
}

/// Those of whom no list tells any more.
#[derive(Default)]
struct Missing {
    /// They are there all the same.
    found: Vec<ObservedContainer>,
    /// They were not asked about, or that is forbidden.
    unknown: BTreeSet<ContainerId>,
    /// Of those, whom it is forbidden to ask about.
    denied: BTreeSet<ContainerId>,
}

/// Asks for those by their ids who were on a network when the server was last looked at, and whom the lists do not show. Whoever it was forbidden
/// to ask about is not asked about again: that would cost each look as many requests as there are such containers.
async fn missing(
    reader: &(impl Reader + ?Sized),
    members: &BTreeSet<ContainerId>,
    denied: &BTreeSet<ContainerId>,
    suspects: &BTreeSet<ContainerId>,
    listed: &[ObservedContainer],
) -> Result<Missing, EngineError> {
    let listed: BTreeSet<&ContainerId> = listed.iter().map(|container| &container.id).collect();
    // Owned: of borrowed ones the compiler cannot see that the whole may move between threads.
    let absent = members.iter().filter(|id| !listed.contains(id)).cloned();
    let (denied, asked): (BTreeSet<ContainerId>, BTreeSet<ContainerId>) =
        absent.partition(|id| denied.contains(id) && !suspects.contains(id));
    let mut asked: Vec<ContainerId> = asked.into_iter().collect();
    let not_asked = asked.split_off(asked.len().min(HIDDEN));
    let unknown = not_asked.into_iter().chain(denied.iter().cloned()).collect();
    let mut missing = Missing { unknown, denied, ..Missing::default() };
    let answers = asked.into_iter().map(|id| async move { (reader.container(&id).await, id) });
    let mut answers = stream::iter(answers).buffer_unordered(INSPECTIONS);
    while let Some((answer, id)) = answers.next().await {
        match answer {
            Ok(Some(detail)) => missing.found.push(detail.container),
            // It is gone.
            Ok(None) => {}
            Err(error) if error.kind == EngineErrorKind::PermissionDenied => {
                missing.unknown.insert(id.clone());
                missing.denied.insert(id);
            }
            Err(error) => return Err(error),
        }
    }
    missing.found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(missing)
}

/// The networks again, until the Swarm has given each of them what it was asked to have. One that is older than that takes stays without it, and is
/// not waited for: a Swarm whose addresses are used up would slow down every look, also those that have nothing to do with the network.
async fn allocated(
    reader: &(impl Reader + ?Sized),
    mut networks: Vec<ObservedNetwork>,
) -> Result<Vec<ObservedNetwork>, EngineError> {
    let deadline = Instant::now() + ALLOCATION;
    while networks.iter().any(|network| network.is_unallocated() && is_new(network, reader.now()))
        && Instant::now() < deadline
    {
        tokio::time::sleep(POLL).await;
        networks = reader.networks().await?;
    }
    Ok(networks)
}

/// Whether the network was made so recently that the Swarm may still be at it. `now`: since the epoch.
fn is_new(network: &ObservedNetwork, now: Duration) -> bool {
    let made: Option<jiff::Timestamp> = network.created.parse().ok();
    let made = made.and_then(|made| u128::try_from(made.as_nanosecond()).ok());
    made.is_some_and(|made| now.as_nanos().saturating_sub(made) < ALLOCATION.as_nanos())
}

/// What a manager tells of its Swarm.
#[derive(Default)]
struct Swarm {
    services: Vec<ObservedService>,
    nodes: Vec<ObservedNode>,
    attachments: Vec<SwarmAttachment>,
}

async fn swarm(reader: &(impl Reader + ?Sized)) -> Result<Swarm, EngineError> {
    let nodes = async {
        let nodes = reader.nodes().await?;
        // Who is on the only node is listed there.
        let attachments = if nodes.len() > 1 { reader.attachments().await? } else { Vec::new() };
        Ok((nodes, attachments))
    };
    let (services, (nodes, attachments)) = futures::try_join!(services(reader), nodes)?;
    Ok(Swarm { services, nodes, attachments })
}

/// The Swarm's services, with what keeps those from running that lack tasks. Of so many at most: where more fail, it is the same for all.
async fn services(reader: &(impl Reader + ?Sized)) -> Result<Vec<ObservedService>, EngineError> {
    let mut services = reader.services().await?;
    for service in services.iter_mut().filter(|service| service.lacks_tasks()).take(INSPECTIONS) {
        service.failure = reader.failure(&service.id).await?;
    }
    Ok(services)
}

/// A container that does not run keeps what it was connected with: where that was the id of a Swarm's network that the daemon does not have at
/// present, the id takes the place of the name. One that was never started keeps the word that it was made with, which may be an id or, as Docker
/// shows it, the beginning of one. One that has an address is on the network, also where the daemon names it without its id, as
/// Podman does.
fn resolve(containers: &mut [ObservedContainer], networks: &[ObservedNetwork]) {
    for container in containers {
        // Started, it has the network by its name as well.
        let new = container.state == ContainerState::Created;
        for endpoint in container.endpoints.iter_mut().filter(|it| it.network_id.is_none()) {
            let mut named = networks.iter().filter(|network| network.name == endpoint.network_name);
            endpoint.network_id = match (named.next(), named.next()) {
                (None, _) => match by_id(&endpoint.network_name, networks).filter(|_| new) {
                    Some(network) => {
                        endpoint.network_name.clone_from(&network.name);
                        Some(network.id.clone())
                    }
                    None => NetworkId::try_from(endpoint.network_name.clone()).ok().filter(NetworkId::is_of_swarm),
                },
                (Some(only), None) if !endpoint.ipv4_address.is_empty() => Some(only.id.clone()),
                (Some(_), _) => None,
            };
        }
    }
}

/// The one whose id, or the beginning of whose id, is given in the place of a name. Docker takes shorter ones too, which may be names as well.
fn by_id<'n>(word: &str, networks: &'n [ObservedNetwork]) -> Option<&'n ObservedNetwork> {
    let mut found = networks.iter().filter(|network| word.len() >= 12 && network.id.as_str().starts_with(word));
    found.next().filter(|_| found.next().is_none())
}

/// Networks that the list leaves out and that are there: whoever asks for one by its id or its name is told. Only a network that is gone makes an
/// endpoint stale, and only one that is not there is created, or said to be gone.
async fn hidden(
    reader: &(impl Reader + ?Sized),
    interest: &Interest,
    networks: &[ObservedNetwork],
    containers: impl Iterator<Item = &ObservedContainer>,
) -> Result<Vec<ObservedNetwork>, EngineError> {
    let interesting = |endpoint: &&ObservedEndpoint| match interest {
        Interest::All => true,
        Interest::Names(names) => names.contains(&endpoint.network_name),
    };
    let endpoints = containers.flat_map(|container| &container.endpoints);
    let dangling = endpoints.filter(|endpoint| dangles(endpoint, networks)).filter(interesting);
    // A worker does not know the networks of its Swarm that nobody runs on.
    let ids: BTreeSet<NetworkId> = dangling
        .filter_map(|endpoint| endpoint.network_id.clone())
        .filter(|id| !id.is_of_swarm())
        .take(HIDDEN)
        .collect();
    let by_id = ids.into_iter().map(|id| async move { reader.network(&id).await });
    let mut told: Vec<_> = stream::iter(by_id).buffer_unordered(INSPECTIONS).try_collect().await?;
    if let Interest::Names(names) = interest {
        let listed: BTreeSet<&str> = networks.iter().map(|network| network.name.as_str()).collect();
        // Owned: of borrowed ones the compiler cannot see that the whole may move between threads.
        let missing: Vec<String> =
            names.iter().filter(|name| !listed.contains(name.as_str())).take(HIDDEN).cloned().collect();
        let by_name = missing.into_iter().map(|name| async move { reader.network_named(&name).await });
        let more: Vec<_> = stream::iter(by_name).buffer_unordered(INSPECTIONS).try_collect().await?;
        told.extend(more);
    }
    Ok(told.into_iter().flatten().map(|detail| detail.network).collect())
}

fn dangles(endpoint: &ObservedEndpoint, networks: &[ObservedNetwork]) -> bool {
    let known = |id: &NetworkId| networks.binary_search_by(|network| network.id.cmp(id)).is_ok();
    endpoint.network_id.as_ref().is_some_and(|id| !known(id))
}

/// An [`Interest`] on a given server.
struct Interesting<'a> {
    /// `None`: all.
    names: Option<BTreeSet<&'a str>>,
    ids: BTreeSet<&'a NetworkId>,
    /// All that the daemon lists.
    listed: &'a [ObservedNetwork],
}

impl<'a> Interesting<'a> {
    fn new(interest: &'a Interest, networks: &'a [ObservedNetwork]) -> Self {
        let Interest::Names(names) = interest else {
            return Self { names: None, ids: BTreeSet::new(), listed: networks };
        };
        let ours = |network: &ObservedNetwork| network.labels.keys().any(|label| label.starts_with(OWN_LABELS));
        let of_interest = || networks.iter().filter(|network| names.contains(&network.name) || ours(network));
        let known = of_interest().map(|network| network.name.as_str());
        Self {
            names: Some(names.iter().map(String::as_str).chain(known).collect()),
            ids: of_interest().map(|network| &network.id).collect(),
            listed: networks,
        }
    }

    /// By name as well: a container that was never started knows no id, and a pinned one knows one that is gone. Whose a network of a Swarm
    /// is that a worker does not list, only a manager knows.
    fn covers(&self, endpoint: &ObservedEndpoint) -> bool {
        let of_swarm = |id: &NetworkId| id.is_of_swarm() && dangles(endpoint, self.listed);
        self.names.as_ref().is_none_or(|names| names.contains(endpoint.network_name.as_str()))
            || endpoint.network_id.as_ref().is_some_and(|id| self.ids.contains(id) || of_swarm(id))
    }

    /// Keeps what was told of a container, in the form in which it is listed.
    fn keep(
        &self,
        recollection: &Recollection,
        listed: &[ObservedEndpoint],
        mut inspected: ObservedContainer,
    ) -> ObservedContainer {
        resolve(std::slice::from_mut(&mut inspected), self.listed);
        recollection.keep(listed, &inspected);
        inspected
    }
}

/// Fills in what the list leaves out, and keeps what is told of it as it comes.
async fn inspect(
    reader: &(impl Reader + ?Sized),
    interesting: &Interesting<'_>,
    recollection: &Recollection,
    mut suspects: BTreeMap<ContainerId, Suspect>,
    containers: &mut Vec<ObservedContainer>,
) -> Result<(), EngineError> {
    let is_covered = |container: &ObservedContainer| container.endpoints.iter().any(|it| interesting.covers(it));
    suspects.retain(|id, suspect| {
        let listed = containers.iter().find(|container| container.id == *id);
        is_covered(&suspect.container) || listed.is_some_and(is_covered)
    });
    // Owned: of borrowed ones the compiler cannot see that the whole may move between threads.
    let unknown: Vec<(ContainerId, Vec<ObservedEndpoint>)> = containers
        .iter_mut()
        .filter(|container| is_covered(container) && !suspects.contains_key(&container.id))
        .filter_map(|container| {
            (!recollection.recall(container)).then(|| (container.id.clone(), container.endpoints.clone()))
        })
        .collect();
    let details: Vec<_> = stream::iter(unknown)
        .map(|(id, listed)| async move {
            let detail = reader.container(&id).await?;
            let inspected = detail.map(|detail| interesting.keep(recollection, &listed, detail.container));
            Ok((id, inspected))
        })
        .buffer_unordered(INSPECTIONS)
        .try_collect()
        .await?;
    let mut seen: HashMap<_, _> = HashMap::new();
    let mut vanished = BTreeSet::new();
    for (id, inspected) in details {
        match inspected {
            Some(inspected) => drop(seen.insert(id, inspected)),
            None => drop(vanished.insert(id)),
        }
    }
    for (id, suspect) in suspects {
        let inspected = match containers.iter().find(|container| container.id == id) {
            Some(listed) => interesting.keep(recollection, &listed.endpoints, suspect.container),
            None => suspect.container,
        };
        seen.insert(id, inspected);
    }
    if !vanished.is_empty() {
        let again = reader.containers().await?;
        if let Some(container) = again.iter().find(|container| vanished.contains(&container.id)) {
            return Err(contradiction(container));
        }
        containers.retain(|container| !vanished.contains(&container.id));
    }
    for container in containers {
        if let Some(inspected) = seen.remove(&container.id) {
            // The later look, and of one piece: addresses, ids and settings belong together.
            container.endpoints.clone_from(&inspected.endpoints);
            container.take_state(inspected);
        }
    }
    Ok(())
}

fn contradiction(container: &ObservedContainer) -> EngineError {
    EngineError {
        kind: EngineErrorKind::Protocol,
        attempted: format!("inspecting container {:?}", container.name),
        message: "the daemon lists it and does not find it".to_owned(),
        hint: Some(format!("if it stays so, `docker rm -f {}` or restart the daemon", container.name)),
    }
}

fn too_slow(server: &DesiredServer, limit: Duration) -> Unobserved {
    Unobserved {
        reason: UnobservedReason::ServerUnreachable,
        message: format!("observing {} took longer than {limit:?}", server.key.path()),
        hint: Some("check the load of the server and the connection to it, or give it more `--timeout`".to_owned()),
    }
}

fn unobserved(error: EngineError) -> Unobserved {
    let reason = match error.kind {
        EngineErrorKind::PermissionDenied => UnobservedReason::PermissionDenied,
        EngineErrorKind::HostKeyMismatch => UnobservedReason::HostKeyMismatch,
        _ => UnobservedReason::ServerUnreachable,
    };
    Unobserved { reason, message: error.to_string(), hint: error.hint }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use serde_json::json;

    use super::*;
    use crate::core::observed::{EngineInfo, NetworkScope, ObservedService, ObservedTask};
    use crate::shell::engine::{ContainerDetail, EngineEvent};

    /// Answers what it is told to, list by list; the last one for ever.
    #[derive(Default)]
    struct Scripted {
        manager: bool,
        networks: Mutex<VecDeque<Vec<ObservedNetwork>>>,
        containers: Mutex<VecDeque<Vec<ObservedContainer>>>,
        gone: BTreeSet<ContainerId>,
        broken: BTreeSet<ContainerId>,
        calls: Mutex<Vec<String>>,
    }

    fn next<T: Clone>(lists: &Mutex<VecDeque<Vec<T>>>) -> Vec<T> {
        let mut lists = lists.lock().unwrap();
        if lists.len() > 1 { lists.pop_front().unwrap() } else { lists.front().cloned().unwrap_or_default() }
    }

    fn unreachable() -> EngineError {
        EngineError {
            kind: EngineErrorKind::Unreachable,
            attempted: "inspecting".to_owned(),
            message: "the connection broke".to_owned(),
            hint: None,
        }
    }

    impl Scripted {
        fn note(&self, call: &str) {
            self.calls.lock().unwrap().push(call.to_owned());
        }

        fn calls(&self) -> Vec<String> {
            let mut calls = self.calls.lock().unwrap().clone();
            calls.sort();
            calls
        }
    }

    #[async_trait]
    impl Reader for Scripted {
        async fn info(&self) -> Result<EngineInfo, EngineError> {
            self.note("info");
            let swarm = match self.manager {
                true => SwarmState::Manager {
                    node_id: "n".to_owned(),
                    cluster_id: "c".to_owned(),
                    nodes: None,
                    managers: BTreeSet::new(),
                },
                false => SwarmState::Inactive,
            };
            let (id, name, version) = ("id".to_owned(), "edge-1".to_owned(), "20.10.24".to_owned());
            Ok(EngineInfo {
                id,
                name,
                version,
                api_version: None,
                swarm,
                address_pools: Vec::new(),
                addresses: Vec::new(),
            })
        }

        async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
            self.note("networks");
            Ok(next(&self.networks))
        }

        async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError> {
            self.note("containers");
            Ok(next(&self.containers))
        }

        async fn container(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
            self.note(&format!("container {}", &id.as_str()[63..]));
            if self.broken.contains(id) {
                return Err(unreachable());
            }
            let container = next(&self.containers).into_iter().find(|container| container.id == *id);
            let container = container.filter(|_| !self.gone.contains(id));
            Ok(container.map(|mut container| {
                container.endpoints.iter_mut().for_each(|endpoint| endpoint.settings = Some(Default::default()));
                ContainerDetail { container, env: Vec::new() }
            }))
        }

        async fn services(&self) -> Result<Vec<ObservedService>, EngineError> {
            self.note("services");
            Ok(Vec::new())
        }

        async fn task(&self, _: &str) -> Result<Option<ObservedTask>, EngineError> {
            Ok(None)
        }

        async fn recent_events(&self, _: i64) -> Result<Vec<EngineEvent>, EngineError> {
            Ok(Vec::new())
        }
    }

    fn network(id: u8, name: &str, labels: serde_json::Value) -> ObservedNetwork {
        serde_json::from_value(json!({
            "id": format!("{id:064x}"), "name": name, "driver": "bridge", "scope": "local", "internal": false, "attachable": false,
            "ingress": false, "ipv6": false, "subnets": [], "options": {}, "labels": labels, "created": ""
        }))
        .unwrap()
    }

    fn container(id: u8, network_name: &str, network_id: Option<u8>) -> ObservedContainer {
        let network_id = network_id.map(|id| format!("{id:064x}"));
        serde_json::from_value(json!({
            "id": format!("{id:064x}"), "name": format!("c{id}"), "image": "i", "state": "running", "labels": {}, "network_mode": "m",
            "endpoints": [{
                "network_name": network_name, "network_id": network_id, "endpoint_id": "", "ipv4_address": "", "ipv6_address": "",
                "settings": null
            }]
        }))
        .unwrap()
    }

    fn id(id: u8) -> ContainerId {
        format!("{id:064x}").try_into().unwrap()
    }

    fn scripted(networks: Vec<Vec<ObservedNetwork>>, containers: Vec<Vec<ObservedContainer>>) -> Scripted {
        Scripted {
            networks: Mutex::new(networks.into()),
            containers: Mutex::new(containers.into()),
            ..Scripted::default()
        }
    }

    fn names(names: &[&str]) -> Interest {
        Interest::Names(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[tokio::test]
    async fn only_containers_on_a_network_of_interest_are_inspected() {
        let networks = vec![
            network(1, "web", json!({})),
            network(2, "other", json!({})),
            network(3, "generated", json!({ "landfall.set": "default" })),
        ];
        let containers = vec![
            container(1, "web", Some(1)),
            container(2, "other", Some(2)),
            container(3, "generated", Some(3)),
            container(4, "web", None),
        ];
        let reader = scripted(vec![networks], vec![containers]);
        let state = observe(&reader, &names(&["web"])).await.unwrap();
        assert_eq!(reader.calls(), ["container 1", "container 3", "container 4", "containers", "info", "networks"]);
        let known = state.containers.iter().map(|container| container.endpoints[0].settings.is_some());
        assert_eq!(known.collect::<Vec<_>>(), [true, false, true, true]);
        let everything = observe(&reader, &Interest::All).await.unwrap();
        assert!(everything.containers.iter().all(|container| container.endpoints[0].settings.is_some()));
    }

    #[tokio::test]
    async fn a_manager_is_asked_for_its_services() {
        let reader = Scripted { manager: true, ..Scripted::default() };
        observe(&reader, &Interest::All).await.unwrap();
        assert_eq!(reader.calls(), ["containers", "info", "networks", "services"]);
    }

    #[tokio::test]
    async fn an_engine_outside_of_a_swarm_is_not_asked_about_itself_again_until_it_has_a_network_of_one() {
        let look = async |reader: &Scripted, before: Before| {
            let recollection = Recollection::new(KnownContainers::new(), &Suspects::default(), false);
            look(reader, &Interest::All, before, &recollection).await.unwrap()
        };
        let again = async |reader: &Scripted, engine| {
            reader.calls.lock().unwrap().clear();
            let seen = look(reader, Before { engine: Some(engine), ..Before::default() }).await;
            (seen.engine, reader.calls())
        };
        let reader = scripted(vec![vec![network(1, "web", json!({}))]], vec![vec![]]);
        let first = look(&reader, Before::default()).await;
        assert_eq!(reader.calls(), ["containers", "info", "networks"]);
        let (second, calls) = again(&reader, first.engine.clone()).await;
        assert_eq!((second, calls), (first.engine.clone(), vec!["containers".to_owned(), "networks".to_owned()]));

        let mut ingress = network(2, "ingress", json!({}));
        ingress.scope = NetworkScope::Swarm;
        let joined = Scripted { manager: true, ..scripted(vec![vec![ingress]], vec![vec![]]) };
        let (manager, calls) = again(&joined, first.engine.clone()).await;
        assert_eq!(calls, ["containers", "info", "networks", "services"]);
        // Its part in the Swarm may be another one by now.
        let left = Scripted { manager: true, ..scripted(vec![vec![]], vec![vec![]]) };
        assert_eq!(again(&left, manager).await.1, ["containers", "info", "networks", "services"]);

        let old = KnownEngine { at: 0, ..first.engine };
        assert_eq!(again(&reader, old).await.1, ["containers", "info", "networks"]);
    }

    #[tokio::test]
    async fn a_container_that_goes_away_meanwhile_is_dropped_when_a_second_list_agrees() {
        let web = vec![network(1, "web", json!({}))];
        let both = vec![container(1, "web", Some(1)), container(2, "web", Some(1))];
        let reader = Scripted {
            gone: [id(1)].into(),
            ..scripted(vec![web.clone()], vec![both.clone(), both.clone(), both[1..].to_vec()])
        };
        let state = observe(&reader, &names(&["web"])).await.unwrap();
        assert_eq!(state.containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(), ["c2"]);

        let reader = Scripted { gone: [id(1)].into(), ..scripted(vec![web], vec![both]) };
        let contradiction = observe(&reader, &names(&["web"])).await.unwrap_err();
        assert!(contradiction.message.contains("lists it and does not find it"), "{}", contradiction.message);
    }

    #[tokio::test]
    async fn an_inspection_that_fails_fails_the_whole_look() {
        let both = vec![container(1, "web", Some(1)), container(2, "web", Some(1))];
        let reader =
            Scripted { broken: [id(2)].into(), ..scripted(vec![vec![network(1, "web", json!({}))]], vec![both]) };
        let error = observe(&reader, &names(&["web"])).await.unwrap_err();
        assert_eq!(error.reason, UnobservedReason::ServerUnreachable);
    }

    #[tokio::test]
    async fn a_network_that_is_younger_than_the_list_of_networks_is_not_taken_for_a_removed_one() {
        let (old, new) = (network(1, "web", json!({})), network(2, "web", json!({})));
        let reader = scripted(vec![vec![old], vec![new]], vec![vec![container(1, "web", Some(2))]]);
        let state = observe(&reader, &names(&["web"])).await.unwrap();
        assert_eq!(state.networks[0].id.as_str(), format!("{:064x}", 2));
    }
}
