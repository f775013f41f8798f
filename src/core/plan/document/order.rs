//! Which groups of a server's plan wait for which. Groups that do not wait for each other may be done at the same time, in any order.
//!
//! A daemon makes one change to networks at a time (`docs/design/facts.md`, fact 10), and addresses are given in the order of the connections: what
//! changes networks stays *in turn*. Containers that take long to start, to get healthy or to stop hold up only what needs them (fact 16).
//!
//! A group waits only for groups that the plan has before it: however they are combined, the waits end.

use std::collections::{BTreeMap, BTreeSet};

use super::call::Call;
use super::cause::Cause;
use super::step::Group;
use super::target::{ContainerTarget, PartyId, ServiceTarget};
use super::workload_call::WorkloadCall;
use crate::core::api::ObjectKey;

/// What has to have ended before a group is begun, by the places in the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits {
    /// So many groups, from the first one of the plan.
    pub first: usize,
    /// Others.
    pub others: BTreeSet<usize>,
    /// Among all of them those that the group goes on with: where one has not brought about what it was to for one of [`needed`], the group is skipped.
    pub base: BTreeSet<usize>,
    /// It is one of those that go one after another, and is done within moments: however much else is under way, there is room for it.
    pub in_turn: bool,
}

/// How a group goes with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It changes networks, or does what a repair takes: one after another.
    InTurn,
    /// It stops containers of a deactivated destination, which holds up no repair.
    Stop,
    /// It brings about something of a managed resource: after all repairs, beside other resources.
    Rollout,
    /// It takes away what goes for good: after everything that may serve in its place, beside other removals.
    Removal,
}

impl Way {
    fn of(group: &Group) -> Self {
        let goes = |cause: Cause| matches!(cause, Cause::DeletionRequested | Cause::Undeclared);
        let stops = |call: &Call| matches!(call, Call::StopContainer { .. });
        if group.is_of_workload() {
            let goes = group.operations.iter().all(|operation| goes(operation.cause));
            return if goes { Way::Removal } else { Way::Rollout };
        }
        let stops = !group.operations.is_empty() && group.operations.iter().all(|it| stops(&it.call));
        if stops { Way::Stop } else { Way::InTurn }
    }
}

/// What each group of a server's plan waits for.
pub fn waits(groups: &[Group]) -> Vec<Waits> {
    let mut before = Before::default();
    groups.iter().enumerate().map(|(at, group)| before.add(at, group)).collect()
}

/// The resources of which a managed one's group goes on with what earlier groups have brought about: itself, and what it comes after.
pub fn needed(group: &Group) -> BTreeSet<&ObjectKey> {
    if !group.is_of_workload() {
        return BTreeSet::new();
    }
    let calls = group.operations.iter().filter_map(|operation| match &operation.call {
        Call::Workload(call) => Some(call.after()),
        _ => None,
    });
    calls.flatten().chain(&group.after).chain([&group.object]).collect()
}

/// The groups so far.
#[derive(Default)]
struct Before<'a> {
    /// The last one that goes in turn.
    turn: Option<usize>,
    /// How many there are up to the last one of the kind.
    stops: usize,
    rollouts: usize,
    removals: usize,
    /// The last one that changes a container or a service.
    parties: BTreeMap<PartyId, usize>,
    objects: BTreeMap<&'a ObjectKey, OfObject>,
}

/// Groups that concern an object.
#[derive(Default)]
struct OfObject {
    /// Each relies on those before.
    chained: Vec<usize>,
    /// Each removes a container of its own, whatever becomes of its replicas.
    apart: Vec<usize>,
}

impl<'a> Before<'a> {
    fn add(&mut self, at: usize, group: &'a Group) -> Waits {
        let way = Way::of(group);
        let parties = parties(group);
        let apart = matches!(way, Way::Removal) && parties.len() == 1 && removes_containers_only(group);
        let base = self.base(group, apart);
        let mut others = base.clone();
        others.extend(parties.iter().filter_map(|party| self.parties.get(party)));
        others.extend(self.turn);
        let first = match way {
            Way::InTurn if removes_network(group) => self.rollouts.max(self.removals),
            Way::InTurn | Way::Stop => self.rollouts,
            Way::Rollout => self.stops,
            Way::Removal => self.stops.max(self.rollouts),
        };
        others.retain(|other| *other >= first);
        match way {
            Way::InTurn => self.turn = Some(at),
            Way::Stop => self.stops = at + 1,
            Way::Rollout => self.rollouts = at + 1,
            Way::Removal => self.removals = at + 1,
        }
        self.parties.extend(parties.into_iter().map(|party| (party, at)));
        for object in objects(group) {
            let of_object = self.objects.entry(object).or_default();
            if apart { of_object.apart.push(at) } else { of_object.chained.push(at) }
        }
        Waits { first, others, base, in_turn: way == Way::InTurn }
    }

    /// Those of what the group goes on with.
    fn base(&self, group: &Group, apart: bool) -> BTreeSet<usize> {
        let mut base = BTreeSet::new();
        for object in needed(group) {
            let Some(of_object) = self.objects.get(object) else { continue };
            base.extend(&of_object.chained);
            if !(apart && *object == group.object) {
                base.extend(&of_object.apart);
            }
        }
        base
    }
}

fn objects(group: &Group) -> BTreeSet<&ObjectKey> {
    group.operations.iter().flat_map(|operation| operation.objects()).chain([&group.object]).collect()
}

/// The containers and services that a group changes.
fn parties(group: &Group) -> BTreeSet<PartyId> {
    let (mut containers, mut services): (Vec<&ContainerTarget>, Vec<&ServiceTarget>) = (Vec::new(), Vec::new());
    for call in group.operations.iter().map(|operation| &operation.call) {
        containers.extend(call.container_target());
        services.extend(call.updated());
        match call {
            Call::RefreshProxy { proxy, .. } => containers.push(proxy),
            Call::Workload(call) => {
                containers.extend(call.removed());
                services.extend(call.service_target());
                match &**call {
                    WorkloadCall::CreateContainer { replaces, .. } => containers.extend(replaces),
                    WorkloadCall::StackRemove { services: all, .. } => services.extend(all),
                    WorkloadCall::StackDeploy(deploy) => services.extend(&deploy.services),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let containers = containers.into_iter().map(|it| PartyId::Container(it.id.clone()));
    containers.chain(services.into_iter().map(|it| PartyId::Service(it.id.clone()))).collect()
}

fn removes_containers_only(group: &Group) -> bool {
    group.operations.iter().all(|operation| match &operation.call {
        Call::Workload(call) => {
            matches!(**call, WorkloadCall::StopContainer { .. } | WorkloadCall::RemoveContainer { .. })
        }
        _ => false,
    })
}

fn removes_network(group: &Group) -> bool {
    group.operations.iter().any(|operation| matches!(operation.call, Call::RemoveNetwork { .. }))
}
