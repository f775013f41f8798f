//! `dependsOn` as an order: what is brought about goes after what it needs, and what goes for good before it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::core::api::ObjectKey;
use crate::core::plan::document::step::Group;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::service::identity_of_service;
use crate::core::workload::identity;

/// What each resource of a server needs.
struct Dependencies(BTreeMap<ObjectKey, BTreeSet<ObjectKey>>);

impl Dependencies {
    /// As the manifests say.
    fn declared(ctx: &Context<'_>) -> Self {
        let mut needs: BTreeMap<ObjectKey, BTreeSet<ObjectKey>> = BTreeMap::new();
        for member in ctx.server.destinations.iter().flat_map(|it| &it.members) {
            let workload = member.workload.as_deref().into_iter();
            let of_member = needs.entry(member.resource.clone()).or_default();
            of_member.extend(workload.flat_map(|workload| &workload.depends_on).cloned());
        }
        Self(needs)
    }

    /// The same; of what no manifest declares any more, as its containers and services were made.
    fn with_recorded(ctx: &Context<'_>) -> Self {
        let Self(mut needs) = Self::declared(ctx);
        let state = ctx.host.state;
        let containers =
            state.containers.iter().filter_map(|it| Some((ctx.host.identities.get(it)?.clone(), &it.labels)));
        let services = state.services.iter().filter_map(|it| Some((identity_of_service(it)?, &it.labels)));
        let mut recorded: BTreeMap<ObjectKey, BTreeSet<ObjectKey>> = BTreeMap::new();
        for (own, labels) in containers.chain(services).filter(|(own, _)| own.set == ctx.set) {
            if !needs.contains_key(&own.object) {
                recorded.entry(own.object).or_default().extend(identity::depends_on(labels));
            }
        }
        needs.extend(recorded);
        Self(needs)
    }

    /// Whatever it needs, directly or through others, and how long the longest way there is. Where records of different times make a circle, it ends.
    fn below(&self, key: &ObjectKey) -> (BTreeSet<&ObjectKey>, usize) {
        let (mut all, mut depth) = (BTreeSet::new(), 0);
        let needs = |key: &ObjectKey| self.0.get(key).into_iter().flatten();
        let mut level: BTreeSet<&ObjectKey> = needs(key).collect();
        while !level.is_empty() && depth < self.0.len() {
            depth += 1;
            let next = level.iter().flat_map(|key| needs(key)).collect();
            all.append(&mut level);
            level = next;
        }
        (all, depth)
    }
}

/// The groups with those of a resource after those of what it depends on.
pub(crate) fn in_order(ctx: &Context<'_>, mut groups: Vec<Group>) -> Vec<Group> {
    if groups.len() > 1 {
        let dependencies = Dependencies::declared(ctx);
        groups.sort_by_cached_key(|group| dependencies.below(&group.object).1);
    }
    groups
}

/// Groups of what goes for good: those of a resource before those of what it depends on, which wait for them.
pub(crate) fn leaving_in_order(ctx: &Context<'_>, mut groups: Vec<Group>) -> Vec<Group> {
    if groups.len() < 2 {
        return groups;
    }
    let dependencies = Dependencies::with_recorded(ctx);
    let objects: BTreeSet<ObjectKey> = groups.iter().map(|group| group.object.clone()).collect();
    let mut dependents: BTreeMap<&ObjectKey, Vec<ObjectKey>> = BTreeMap::new();
    let mut depths: BTreeMap<&ObjectKey, usize> = BTreeMap::new();
    for object in &objects {
        let (needs, depth) = dependencies.below(object);
        depths.insert(object, depth);
        for needed in needs.into_iter().filter(|needed| *needed != object) {
            if objects.contains(needed) {
                dependents.entry(needed).or_default().push(object.clone());
            }
        }
    }
    groups.sort_by_key(|group| Reverse(depths.get(&group.object).copied()));
    for group in &mut groups {
        group.after = dependents.get(&group.object).cloned().unwrap_or_default();
    }
    groups
}
