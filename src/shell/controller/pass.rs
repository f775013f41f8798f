//! One pass over one server, on a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tracing::Instrument;

use super::outcome::Shown;
use super::run::{Options, Shared};
use super::subject::{Subject, is_about_any};
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::observed::{ContainerId, Observations, Unobserved};
use crate::core::plan::cut::cut;
use crate::core::plan::workload::call::WorkloadCall;
use crate::core::plan::{Call, Cause, Group, Operation, Plan, Request, ServerPlan, Withheld};
use crate::core::report::{Outcome, Report};
use crate::shell::engine::DockerWriter;
use crate::shell::engine::connect::{self, ConnectOptions};
use crate::shell::engine::fence::Fence;
use crate::shell::execute::{Writers, execute};
use crate::shell::reconcile::{Applied, Pass};
use crate::shell::store::etcd::approval::Given;

/// What one pass starts from.
pub(super) struct Start {
    pub(super) pass: u64,
    /// One server.
    pub(super) desired: DesiredState,
    /// Of every declared server to which a way could be laid: a pass over a node of a Swarm looks at the others.
    pub(super) writers: Arc<BTreeMap<ObjectKey, DockerWriter>>,
    /// In place of the one that it shares with other passes.
    pub(super) own: Option<DockerWriter>,
    /// What waits.
    pub(super) hold: BTreeSet<Subject>,
    /// Destinations that their last known policy protects from pruning.
    pub(super) protected: Arc<BTreeSet<ObjectKey>>,
    pub(super) overlays: Arc<BTreeSet<ObjectKey>>,
    /// Resources that are removed only after a backup.
    pub(super) guarded: Arc<BTreeSet<ObjectKey>>,
    /// Fingerprint of deletions that somebody has agreed to.
    pub(super) approved: Option<String>,
    /// The list that an approval was for, for as long as the manifests are those that it was for.
    pub(super) agreed: Option<Arc<Withheld>>,
    /// What etcd has of the kind.
    pub(super) given: Option<Arc<Given>>,
    /// Resources whose containers are replaced although nothing differs.
    pub(super) restart: BTreeSet<ObjectKey>,
    pub(super) lane: Lane,
    /// The lock on the server, where there are several controllers.
    pub(super) fence: Option<Fence>,
}

/// What a pass does of its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// All that is done within moments.
    Repairs,
    /// What may take minutes: images, containers that have to get healthy, drains.
    Rollout,
}

/// How a pass ended.
pub(super) struct PassEnded {
    pub(super) pass: u64,
    pub(super) took: Duration,
    /// The lock under which it was made.
    pub(super) fence: Option<Fence>,
    pub(super) result: Result<Done, String>,
}

/// What a pass brought.
pub(super) struct Done {
    pub(super) desired: DesiredState,
    /// Of what was done.
    pub(super) report: Report,
    /// Why the server was not observed.
    pub(super) unobserved: Option<Unobserved>,
    pub(super) withheld: Option<Withheld>,
    /// The revision of an approval that etcd has and that this pass found to be used up or void.
    pub(super) ended: Option<i64>,
    /// Planned, and left for a later pass.
    pub(super) held: BTreeSet<ObjectKey>,
    /// What is shown of it. Made here, for passes run side by side, and the loop is one.
    pub(super) shown: Shown,
    /// There is something for the other lane.
    pub(super) rollout: bool,
    /// Has the proxy look again at what was connected.
    pub(super) refresh: Option<Group>,
}

impl Done {
    pub(super) fn new(
        options: &Options,
        desired: DesiredState,
        applied: Applied,
        withheld: Option<Withheld>,
        waiting: Vec<Operation>,
        rollout: bool,
        refresh: Option<Group>,
    ) -> Self {
        let Applied { mut observed, report } = applied;
        let held = waiting.iter().flat_map(Operation::objects).cloned().collect();
        let shown = Shown::new(options, &desired, &observed, &report, withheld.as_ref(), waiting);
        let unobserved = desired.servers.keys().next().and_then(|server| observed.remove(server)?.err());
        Self { desired, report, unobserved, withheld, ended: None, held, shown, rollout, refresh }
    }
}

/// One pass. A panic in it is one pass that failed, and not the end of the loop.
pub(super) async fn run(shared: &Shared, start: Start) -> PassEnded {
    let started = Instant::now();
    let (pass, fence) = (start.pass, start.fence.clone());
    let server = start.desired.servers.keys().next().map(ObjectKey::path);
    let span = tracing::info_span!(
        target: "otel",
        "pass",
        // OpenTelemetry has signed numbers only.
        landfall.pass = i64::try_from(pass).ok(),
        landfall.server = server,
        otel.status_description = tracing::field::Empty
    );
    let result = isolated(work(shared, start)).instrument(span.clone()).await;
    if let Err(error) = &result {
        span.record("otel.status_description", error);
    }
    PassEnded { pass, took: started.elapsed(), fence, result }
}

async fn isolated<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is known");
        Err(format!("the pass panicked: {text}; this is a bug in Landfall"))
    })
}

/// Observes, plans and executes one server.
async fn work(shared: &Shared, start: Start) -> Result<Done, String> {
    let Start {
        pass: _,
        desired,
        writers,
        own,
        hold,
        protected,
        overlays,
        guarded,
        approved,
        agreed,
        given,
        restart,
        lane,
        fence,
    } = start;
    let (given_list, given_fingerprint) =
        given.as_ref().map(|it| (it.approval.list.clone(), it.approval.fingerprint.clone())).unzip();
    let request = Request {
        prune: shared.options.prune,
        allow_mass_delete: shared.options.allow_mass_delete,
        approved: approved.into_iter().chain(given_fingerprint).collect(),
        agreed: given_list.flatten().or(agreed),
        protected,
        overlays,
        guarded,
        restart,
        failed_attempts: desired.servers.keys().next().map(|server| shared.attempts.of(server)).unwrap_or_default(),
        ..Request::default()
    };
    let mut withheld = None;
    let mut over = false;
    let mut waiting = Vec::new();
    let mut rollout = false;
    let mut refresh = None;
    let pass = Pass {
        desired: &desired,
        request: &request,
        journals: shared.journals.as_ref(),
        known: &shared.known,
        observe: shared.options.observe,
        execute: shared.options.execute,
    };
    let own = own.as_ref().filter(|_| desired.servers.len() == 1);
    let own = |server: &DesiredServer| own.filter(|_| desired.servers.contains_key(&server.key));
    let connect = |server: &DesiredServer| match own(server).or_else(|| writers.get(&server.key)) {
        Some(writer) => Ok(writer.clone()),
        // Of a Swarm whose nodes are with several controllers: what is done there for this server is done under this server's lock.
        None => connect::writer(server, &ConnectOptions { fence: fence.clone(), ..shared.options.connect.clone() }),
    };
    let applied = pass
        .apply(
            connect,
            |observed, mut plan| {
                withheld = plan.servers.iter_mut().find_map(|server| server.withheld.take());
                over = given.as_ref().is_some_and(|given| is_over(given, withheld.is_some(), &plan, observed));
                waiting = leave_out(&mut plan, &hold);
                let others = split(&mut plan, lane);
                if lane == Lane::Repairs {
                    rollout = !others.is_empty();
                    waiting.extend(others);
                }
                refresh = plan.servers.iter_mut().find_map(ServerPlan::take_refresh);
                Some(plan)
            },
            &(),
        )
        .await;
    match applied {
        Ok(Some(applied)) => {
            shared.attempts.learn(&applied.report);
            let operations = applied.report.servers.iter().flat_map(|it| &it.operations);
            let connected = operations.filter(|it| matches!(it.operation.call, Call::ConnectEndpoint { .. }));
            let refresh = refresh.filter(|_| connected.clone().any(|it| it.outcome == Outcome::Done));
            let ended = given.filter(|_| over && lane == Lane::Repairs).map(|given| given.revision);
            Ok(Done { ended, ..Done::new(&shared.options, desired, applied, withheld, waiting, rollout, refresh) })
        }
        Ok(None) => Err("the pass was called off".to_owned()),
        Err(error) => Err(format!("no pass is possible: {error}")),
    }
}

/// Whether an approval is for nothing that is there any more, or for something else than what waits.
fn is_over(given: &Given, waits: bool, plan: &Plan, observed: &Observations) -> bool {
    let Some(Ok(seen)) = plan.servers.first().and_then(|server| observed.get(&server.server)) else { return false };
    match &given.approval.list {
        Some(list) => waits || !list.is_left_on(seen),
        // It is for one list as a whole, and that is being done.
        None => {
            let mut operations = plan.servers.iter().flat_map(|it| &it.groups).flat_map(|it| &it.operations);
            waits || operations.any(|operation| operation.cause == Cause::Undeclared)
        }
    }
}

/// Has the proxy of a server look again. What goes wrong is a warning in the report; an error is a panic.
pub(super) async fn refresh(
    shared: &Shared,
    server: &ObjectKey,
    writer: DockerWriter,
    group: Group,
) -> Result<Report, String> {
    let plan = Plan {
        set: shared.options.set.clone(),
        servers: vec![ServerPlan::of_one(server.clone(), group)],
        notes: Vec::new(),
    };
    let writers: Writers = [(server.clone(), Arc::new(writer) as _)].into();
    isolated(async { Ok(execute(&plan, &writers, &*shared.journals, &(), shared.options.execute).await) }).await
}

/// Takes what is on hold out of the plan, and what cannot be done without it.
fn leave_out(plan: &mut Plan, hold: &BTreeSet<Subject>) -> Vec<Operation> {
    let held = |group: &Group| is_about_any(group, hold);
    let cut = plan.servers.iter_mut().map(|server| cut(server, held));
    cut.flat_map(|out| out.asked.into_iter().chain(out.stranded.into_iter().map(|it| it.group)))
        .flat_map(|group| group.operations)
        .collect()
}

/// Takes what is for the other lane out of the plan, and returns what of it is ready to be done.
fn split(plan: &mut Plan, lane: Lane) -> Vec<Operation> {
    let cut = plan.servers.iter_mut().map(|server| {
        let retiring = retiring(server);
        let other = |group: &Group| match lane {
            Lane::Repairs => group.is_of_workload() || waits_for(group, &retiring),
            Lane::Rollout => !group.is_of_workload(),
        };
        cut(server, other)
    });
    cut.flat_map(|out| out.asked).flat_map(|group| group.operations).collect()
}

/// What goes for good with a plan.
#[derive(Default)]
struct Retiring {
    containers: BTreeSet<ContainerId>,
    /// Ids of networks that a Swarm service is on which goes.
    networks: BTreeSet<String>,
}

fn retiring(plan: &ServerPlan) -> Retiring {
    let operations = plan.groups.iter().flat_map(|group| &group.operations);
    let leaving = operations.filter(|it| matches!(it.cause, Cause::Undeclared | Cause::DeletionRequested));
    let mut retiring = Retiring::default();
    for operation in leaving {
        let Call::Workload(call) = &operation.call else { continue };
        retiring.containers.extend(call.removed().into_iter().map(|container| container.id.clone()));
        if let WorkloadCall::RemoveService { networks, .. } | WorkloadCall::StackRemove { networks, .. } = &**call {
            retiring.networks.extend(networks.iter().cloned());
        }
    }
    retiring
}

/// A network goes after the containers and services on it that go for good, and those go in the other lane.
fn waits_for(group: &Group, retiring: &Retiring) -> bool {
    let removed = group.operations.iter().filter_map(|it| match &it.call {
        Call::RemoveNetwork { network } => Some(network),
        _ => None,
    });
    let removed: Vec<_> = removed.collect();
    let has_service =
        removed.iter().filter_map(|network| network.id.as_ref()).any(|id| retiring.networks.contains(id.as_str()));
    let lets_go = |it: &Operation| matches!(&it.call, Call::DisconnectEndpoint { container, .. } if retiring.containers.contains(&container.id));
    has_service || (!removed.is_empty() && group.operations.iter().any(lets_go))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;
    use crate::core::observed::NetworkId;
    use crate::core::plan::NetworkTarget;
    use crate::core::plan::workload::call::ServiceRef;

    #[test]
    fn a_network_waits_for_the_service_on_it_that_goes_in_the_other_lane() {
        let object = ObjectKey::new(Kind::Application, "shop", "frontend");
        let group = |call: Call| Group::of(Operation::new(&object, call, Cause::DeletionRequested));
        let removal = |id: &str| {
            let id = NetworkId::try_from(id.to_owned()).unwrap();
            group(Call::RemoveNetwork { network: NetworkTarget { name: "web-net".to_owned(), id: Some(id) } })
        };
        let (on, apart) = ("a".repeat(25), "b".repeat(25));
        let retired = WorkloadCall::RemoveService {
            service: ServiceRef::Created { name: "shop-frontend".to_owned(), uid: String::new() },
            volumes: Vec::new(),
            networks: vec![on.clone()],
        };
        let edge = ObjectKey::new(Kind::Server, "default", "edge");
        let retiring = retiring(&ServerPlan::of_one(edge, group(Call::Workload(Box::new(retired)))));
        assert!(waits_for(&removal(&on), &retiring));
        assert!(!waits_for(&removal(&apart), &retiring));
    }

    #[tokio::test]
    async fn a_pass_that_panics_is_a_pass_that_failed_and_says_why() {
        let said = isolated::<()>(async { panic!("index {} is out of bounds", 7) }).await;
        assert_eq!(said, Err("the pass panicked: index 7 is out of bounds; this is a bug in Landfall".to_owned()));
        assert_eq!(isolated(async { Ok(7) }).await, Ok(7));
    }
}
