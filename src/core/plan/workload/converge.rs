//! Managed resources: which containers there ought to be, and what brings them about.
//!
//! A replica is a *slot*. What is planned for it follows from the containers that are in it now, by their labels, and from nothing else: a plan
//! that was interrupted anywhere is completed by the next one. A new container is called after the old one with `-next` behind it until the old
//! one is gone; the daemon gives a name once, so two appliers cannot both make it.

use std::collections::BTreeMap;

use super::managed::{Held, Managed, labels};
use super::{compose, on_swarm};
use crate::core::api::PullPolicy;
use crate::core::desired::DesiredDestination;
use crate::core::observed::ContainerState;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::Group;
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::world::class::is_on_swarm;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::predecessors::Origin;
use crate::core::plan::world::target::Target;
use crate::core::workload::routes;

/// Everything that brings the managed resources of one destination to what the manifest says.
pub(crate) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'a>,
    draft: &mut Draft,
) {
    let managed = || destination.members.iter().filter(|member| !ctx.is_deleted(&member.resource));
    for (member, stack) in managed().filter_map(|member| Some((member, member.stack.as_ref()?))) {
        match is_on_swarm(ctx, destination) {
            true => on_swarm::stack::converge(ctx, destination, member, stack, target, draft),
            false => compose::converge(ctx, destination, member, stack, target, draft),
        }
    }
    for (member, workload) in managed().filter_map(|member| Some((member, member.workload.as_deref()?))) {
        let mut image = ctx.host.state.images.get(&workload.image).cloned().unwrap_or_default();
        if workload.pull_policy != PullPolicy::Always {
            image.remote = None;
        }
        let mut labels = labels(ctx, destination, member, workload, &target.create.name);
        let swarm = is_on_swarm(ctx, destination);
        if let Some(network) = labels.get(routes::TRAEFIK_NETWORK).filter(|_| swarm).cloned() {
            // Traefik 3 has a word of its own for services, and 2 has not.
            labels.entry(routes::TRAEFIK_SWARM_NETWORK.to_owned()).or_insert(network);
        }
        let managed = Managed { ctx, destination, member, workload, target, image, labels };
        if swarm {
            managed.on_swarm(draft);
            continue;
        }
        match managed.hindrance(draft) {
            Some(note) => draft.notes.push(note),
            None => managed.slots(draft),
        }
    }
}

impl<'a> Managed<'a, '_> {
    fn slots(&self, draft: &mut Draft) {
        let mut slots: BTreeMap<u32, Vec<Held<'a>>> = BTreeMap::new();
        let (own, mut before): (Vec<_>, Vec<_>) = self.held().into_iter().partition(|it| it.origin == Origin::Own);
        for held in own {
            let replica = self.identity(held.container).map_or(0, |identity| identity.replica);
            slots.entry(replica).or_default().push(held);
        }
        let mut prepared = false;
        let failed = |draft: &Draft, from: usize| {
            draft.notes[from..].iter().any(|note| note.reason == Reason::HealthCheckFailed)
        };
        let (told, begun) = (draft.notes.len(), draft.groups.len());
        // Whoever has made it goes on with the job, as far as can be seen.
        let goes_on = slots.values().flatten().any(|it| it.is_next() || it.container.state == ContainerState::Created);
        if slots.values().flatten().chain(&before).any(Held::is_replaced_while_it_serves) {
            self.confirm(slots.values().flatten(), draft);
        }
        for replica in 1..=self.workload.replicas {
            let mut held = slots.remove(&replica).unwrap_or_default();
            if held.iter().all(Held::is_next) {
                let of_slot = |it: &Held<'_>| it.origin == Origin::Former(replica);
                let at = before.iter().position(of_slot).or_else(|| before.iter().position(Held::is_foreign));
                held.extend(at.map(|at| before.remove(at)));
            }
            // What has failed once would fail with every replica, one after another.
            if failed(draft, told) && held.iter().any(Held::is_replaced_while_it_serves) {
                continue;
            }
            let before = draft.groups.len();
            self.slot(replica, held, !prepared, draft);
            // The image, the volumes and the hook are for all of them.
            prepared |= draft.groups[before..].iter().any(Group::makes_container);
        }
        // An interrupted rollout has left it, and none goes on with it.
        if let Some(job) = self.job().filter(|job| !job.state.is_live() && !goes_on && draft.groups.len() == begun) {
            draft.groups.push(self.clear(job));
        }
        // Fewer replicas than before: the others go last.
        let surplus = |it: &Held<'_>| matches!(it.origin, Origin::Former(replica) if replica > self.workload.replicas);
        for held in slots.into_values().flatten().chain(before.into_iter().filter(surplus)) {
            draft.groups.push(self.retire(&held, Cause::ReplicaSurplus));
        }
    }
}
