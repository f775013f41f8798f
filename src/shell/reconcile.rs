//! One pass: look, plan, carry out. Read this first.
//!
//! [`Pass::preview`] is all of `diff` and of `apply --dry-run`: it is given readers, so nothing it does can change a server.
//! [`Pass::apply`] is all of `apply` and `delete`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::observed::{Observations, ObservedNetwork, ObservedState, SwarmState};
use crate::core::plan::{
    Call, FreshIds, Journal, Plan, PlanInput, Request, makes_bridges, plan, wants_elsewhere, wants_neighbours,
};
use crate::core::report::Report;
use crate::shell::engine::{EngineError, Reader, Writer};
use crate::shell::execute::{Limits, Progress, Writers, execute};
use crate::shell::ids::fresh_ids;
use crate::shell::observe::{Interest, ObserveLimits, observe_all};
use crate::shell::slots::Turns;
use crate::shell::store::known::Known;
use crate::shell::store::{JournalError, Journals, Kept};

/// Networks by server.
type Neighbours = BTreeMap<ObjectKey, Vec<ObservedNetwork>>;

/// How long a server may take that is asked on suspicion, and how many are.
const SUSPICION: Duration = Duration::from_secs(5);
const SUSPECTS: usize = 32;

/// What a pass starts from.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    pub desired: &'a DesiredState,
    pub request: &'a Request,
    pub journals: &'a dyn Journals,
    /// What earlier looks have told.
    pub known: &'a Known,
    pub observe: ObserveLimits,
    pub execute: Limits,
}

/// What was seen, and what is to be done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub observed: Observations,
    pub plan: Plan,
}

/// A pass that was carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Before anything was done.
    pub observed: Observations,
    pub report: Report,
}

impl Pass<'_> {
    /// Observes and plans.
    pub async fn preview<R: Reader>(
        &self,
        connect: impl Fn(&DesiredServer) -> Result<R, EngineError>,
    ) -> Result<Preview, JournalError> {
        let kept = self.journals.load().await?;
        let observed = self.look(&connect).await;
        let neighbours = self.neighbours(&observed, &connect).await;
        let plan = self.plan(&observed, &FreshIds::default(), &kept, &neighbours);
        Ok(Preview { observed, plan })
    }

    /// Observes and plans as [`preview`](Self::preview) does, and hands on what there is of each server as soon as it can be planned for, in no
    /// particular order: what was seen of one is let go before all have answered. `each` also gets what the servers that it is about declare.
    ///
    /// Servers for whose plan others matter come together, at the end.
    pub async fn survey<R: Reader>(
        &self,
        connect: impl Fn(&DesiredServer) -> Result<R, EngineError>,
        mut each: impl FnMut(&DesiredState, Preview),
    ) -> Result<(), JournalError> {
        let kept = self.journals.load().await?;
        let mut desired = self.desired.clone();
        desired.share();
        let turns = Turns::new(self.observe.concurrency);
        let looks = desired.servers.values().map(|server| {
            let look = observe_all([server.as_ref()], Interest::declared, &connect, self.known, self.observe);
            turns.take(look).boxed_local()
        });
        let mut looks: FuturesUnordered<_> = looks.collect();
        let mut together = Observations::new();
        while let Some(observed) = looks.next().await {
            let Some(server) = observed.keys().next() else { continue };
            let focused = desired.focused(server);
            let pass = Pass { desired: &focused, ..*self };
            if pass.stands_alone(&observed) {
                let plan = pass.plan(&observed, &FreshIds::default(), &kept, &Neighbours::new());
                each(&focused, Preview { observed, plan });
            } else {
                together.extend(observed);
            }
        }
        drop(looks);
        if !together.is_empty() {
            desired.narrow(|server, _| together.contains_key(server));
            let pass = Pass { desired: &desired, ..*self };
            let observed = pass.complete(together, &connect).await;
            let neighbours = pass.neighbours(&observed, &connect).await;
            let plan = pass.plan(&observed, &FreshIds::default(), &kept, &neighbours);
            each(&desired, Preview { observed, plan });
        }
        Ok(())
    }

    /// Whether the plan is the same whatever is on other servers, and theirs whatever is on this one. All of them have been seen.
    fn stands_alone(&self, observed: &Observations) -> bool {
        let standalone =
            |seen: &Result<ObservedState, _>| matches!(seen, Ok(state) if state.engine.swarm == SwarmState::Inactive);
        // Who plans without is shown what pruning would do.
        let pruning = Request { prune: true, ..self.request.clone() };
        let servers = || self.desired.servers.values();
        observed.values().all(standalone)
            && !wants_elsewhere(self.desired, observed, &pruning)
            && !makes_bridges(self.desired, observed, self.request)
            && servers()
                .all(|it| wants_neighbours(it, observed, &self.desired.set, self.desired.all_servers()).is_empty())
    }

    /// Observes, plans, lets `decide` cut the plan down or call it off (`None`), and carries it out.
    pub async fn apply<W: Writer + Clone + 'static>(
        &self,
        connect: impl Fn(&DesiredServer) -> Result<W, EngineError>,
        decide: impl FnOnce(&Observations, Plan) -> Option<Plan>,
        progress: &dyn Progress,
    ) -> Result<Option<Applied>, JournalError> {
        let kept = self.journals.load().await?;
        // One connection a server, and none to a server that is not looked at.
        let connections: Mutex<BTreeMap<ObjectKey, W>> = Mutex::default();
        let reader = |server: &DesiredServer| {
            let writer = connect(server)?;
            let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.insert(server.key.clone(), writer.clone());
            Ok(writer)
        };
        let observed = self.look(&reader).await;
        let neighbours = self.neighbours(&observed, &connect).await;
        let writers = connections.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut plan = self.plan(&observed, &FreshIds::default(), &kept, &neighbours);
        // Drawing identities takes longer than planning, and hardly any pass needs one.
        if creates(&plan) {
            plan = self.plan(&observed, &fresh_ids(self.desired), &kept, &neighbours);
        }
        let Some(mut plan) = decide(&observed, plan) else { return Ok(None) };
        for server in &mut plan.servers {
            if let (Some(Ok(seen)), Some(writer)) = (observed.get(&server.server), writers.get(&server.server)) {
                keep_doubtful(&mut server.settled, seen, writer).await;
            }
        }
        let writers: Writers = writers.into_iter().map(|(server, writer)| (server, Arc::new(writer) as _)).collect();
        for server in &plan.servers {
            let operations = server.groups.iter().flat_map(|group| &group.operations);
            self.known.forget(
                &server.server,
                operations.clone().filter_map(|operation| Some(&operation.call.container_target()?.id)),
            );
            let connected = operations.filter_map(|operation| match &operation.call {
                Call::ConnectEndpoint { container, .. } => Some(&container.id),
                _ => None,
            });
            self.known.expect_members(&server.server, connected);
        }
        let report = execute(&plan, &writers, self.journals, progress, self.execute).await;
        Ok(Some(Applied { observed, report }))
    }

    async fn look<R: Reader>(&self, connect: impl Fn(&DesiredServer) -> Result<R, EngineError>) -> Observations {
        let servers = self.desired.servers.values().map(AsRef::as_ref);
        let observed = observe_all(servers, Interest::declared, &connect, self.known, self.observe).await;
        self.complete(observed, connect).await
    }

    /// Also looks at others, where they matter to the plan.
    async fn complete<R: Reader>(
        &self,
        mut observed: Observations,
        connect: impl Fn(&DesiredServer) -> Result<R, EngineError>,
    ) -> Observations {
        // The nodes of a Swarm are looked at together, for its managers make its networks and containers on any node may be on them.
        if wants_elsewhere(self.desired, &observed, self.request) {
            let elsewhere = self.desired.elsewhere();
            observed.extend(observe_all(elsewhere, Interest::declared, &connect, self.known, self.observe).await);
        } else if makes_bridges(self.desired, &observed, self.request) {
            // What is about to become a bridge here may be an overlay that a manager lists: this server may have left its Swarm.
            let limits = ObserveLimits { per_server: self.observe.per_server.min(SUSPICION), ..self.observe };
            let others = self.desired.elsewhere().filter(|server| self.may_manage(&server.key)).take(SUSPECTS);
            let seen = observe_all(others, Interest::declared, &connect, self.known, limits).await;
            // Repairs of this server wait once for another one that is down, and not at every pass.
            seen.iter().for_each(|(server, seen)| self.known.keep_silent(server, seen.is_ok()));
            observed.extend(seen.into_iter().filter(|(_, seen)| seen.is_ok()));
        }
        observed
    }

    /// Whether the server may be a manager of some Swarm. `run` looks at every server by itself, and knows which are.
    fn may_manage(&self, server: &ObjectKey) -> bool {
        self.known.was_in_swarm(server).unwrap_or(!self.known.is_watched()) && !self.known.was_silent(server)
    }

    /// The networks of servers that were not looked at, where a destination is to get a range that none of them has. A server that does not
    /// answer is taken to have what it would be given.
    async fn neighbours<R: Reader>(
        &self,
        observed: &Observations,
        connect: impl Fn(&DesiredServer) -> Result<R, EngineError>,
    ) -> Neighbours {
        let mut wanted: BTreeMap<&ObjectKey, &DesiredServer> = BTreeMap::new();
        for server in self.desired.servers.values() {
            let others = wants_neighbours(server, observed, &self.desired.set, self.desired.all_servers());
            wanted.extend(others.into_iter().map(|other| (&other.key, other)));
        }
        let lists: Vec<_> = wanted
            .into_values()
            .map(|server| {
                let reader = connect(server);
                async move {
                    let networks = tokio::time::timeout(self.observe.per_server, reader.ok()?.networks()).await;
                    Some((server.key.clone(), networks.ok()?.ok()?))
                }
                .boxed()
            })
            .collect();
        Turns::new(self.observe.concurrency).all(lists).await.into_iter().flatten().collect()
    }

    fn plan(&self, observed: &Observations, ids: &FreshIds, kept: &Kept, neighbours: &Neighbours) -> Plan {
        let asked;
        let request = if kept.unreadable.is_empty() && neighbours.is_empty() {
            self.request
        } else {
            let (unreadable, neighbours) = (kept.unreadable.clone(), neighbours.clone());
            asked = Request { unreadable, neighbours, ..self.request.clone() };
            &asked
        };
        plan(&PlanInput { desired: self.desired, observed, request, ids, journals: &kept.journals })
    }
}

/// Leaves the journals open that list a container which the look did not show and which is there all the same.
async fn keep_doubtful<R: Reader>(settled: &mut Vec<Journal>, seen: &ObservedState, reader: &R) {
    let mut doubtful = Vec::new();
    for journal in settled.iter() {
        for listed in &journal.endpoints {
            let id = &listed.container.id;
            if seen.containers.iter().all(|container| container.id != *id)
                && !matches!(reader.container(id).await, Ok(None))
            {
                doubtful.push(journal.clone());
                break;
            }
        }
    }
    settled.retain(|journal| !doubtful.contains(journal));
}

/// Whether the plan has a network to create, be it to undo something.
fn creates(plan: &Plan) -> bool {
    let creates = |call: &Call| match call {
        Call::CreateNetwork(_) => true,
        Call::Workload(call) => {
            matches!(call.name(), "CreateContainer" | "RunJob" | "CreateService" | "CreateSecret" | "UpdateService")
        }
        _ => false,
    };
    let operations = plan.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
    operations.into_iter().any(|operation| creates(&operation.call) || operation.undo.as_ref().is_some_and(creates))
}
