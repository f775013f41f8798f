//! Which containers of a server Landfall runs, by their labels, and those among them that somebody has renamed.
//!
//! The labels are sealed with the container's name. On a container of another name they are a copy, or it was renamed: then an endpoint of its own still
//! says what it was called when Landfall connected it, which no copy of labels has. A container that a tool has cloned with all its endpoints says so as
//! well; it is no renamed one as long as there is a container of that name and replica.

use std::collections::{BTreeSet, HashMap};

use super::ownership::{self, Purpose};
use crate::core::observed::{ContainerId, ObservedContainer};
use crate::core::workload::identity::{self, Identity, OBJECT, REPLICA, SET};
use crate::core::workload::stack;

/// Whose the containers of a server are.
#[derive(Debug, Default)]
pub(crate) struct Identities<'a> {
    known: HashMap<&'a ContainerId, Known>,
    /// Labels that were not made for them.
    unproven: Vec<&'a ObservedContainer>,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    /// What it was called, where it was renamed.
    former: Option<String>,
}

/// A container's place: the set, the resource, the destination and the replica.
fn place(identity: &Identity) -> (String, String, String, u32) {
    (identity.set.clone(), identity.object.to_string(), identity.destination.path(), identity.replica)
}

impl<'a> Identities<'a> {
    pub(crate) fn of(containers: &'a [ObservedContainer]) -> Self {
        let mut identities = Self::default();
        let mut others = Vec::new();
        for container in containers.iter().filter(|it| it.labels.contains_key(OBJECT)) {
            match identity::of(&container.name, &container.labels) {
                Some(identity) => drop(identities.known.insert(&container.id, Known { identity, former: None })),
                None if container.labels.contains_key(REPLICA) && stack::owner(&container.labels).is_none() => {
                    others.push(container);
                }
                None => {}
            }
        }
        let held: BTreeSet<_> = identities.known.values().map(|known| place(&known.identity)).collect();
        let mut renamed: Vec<(&ObservedContainer, Identity, String)> = Vec::new();
        for container in others {
            match renamed_from(container).filter(|(identity, _)| !held.contains(&place(identity))) {
                Some((identity, former)) => renamed.push((container, identity, former)),
                None => identities.unproven.push(container),
            }
        }
        for (container, identity, former) in &renamed {
            let same = |other: &&(&ObservedContainer, Identity, String)| place(&other.1) == place(identity);
            // Of several nobody can tell which is the one.
            if renamed.iter().filter(same).count() > 1 {
                identities.unproven.push(container);
                continue;
            }
            let known = Known { identity: identity.clone(), former: Some(former.clone()) };
            identities.known.insert(&container.id, known);
        }
        identities
    }

    /// `None`: it carries no labels of a managed resource, or they were not made for it.
    pub(crate) fn get(&self, container: &ObservedContainer) -> Option<&Identity> {
        self.known.get(&container.id).map(|known| &known.identity)
    }

    /// What it was called when Landfall made it, where somebody has given it another name.
    pub(crate) fn former_name(&self, container: &ObservedContainer) -> Option<&str> {
        self.known.get(&container.id)?.former.as_deref()
    }

    /// Containers that carry labels of the set that were not made for them, or no longer prove it.
    pub(crate) fn unproven<'s>(&'s self, set: &'s str) -> impl Iterator<Item = &'a ObservedContainer> + 's {
        self.unproven.iter().copied().filter(move |it| it.labels.get(SET).is_some_and(|of| of == set))
    }
}

/// Whose a container is, by its labels and its name, or where it was renamed by what its endpoints say. It takes more to act on it: of two that
/// claim one place, neither may be the one.
pub fn identity_of(container: &ObservedContainer) -> Option<Identity> {
    identity::of(&container.name, &container.labels).or_else(|| renamed_from(container).map(|(identity, _)| identity))
}

/// Whose it is, and what it was called when Landfall connected it.
fn renamed_from(container: &ObservedContainer) -> Option<(Identity, String)> {
    let settings = container.endpoints.iter().filter_map(|endpoint| endpoint.settings.as_ref());
    settings.map(|settings| &settings.driver_opts).find_map(|options| {
        let name = options.get(ownership::NAME)?;
        let identity = identity::of(name, &container.labels)?;
        let made_for = ownership::made_for(options)?;
        let own = options.get(ownership::SET) == Some(&identity.set)
            && (made_for.contains(&Purpose::Resource(identity.object.clone())) || made_for.contains(&Purpose::Proxy));
        own.then(|| (identity, name.clone()))
    })
}
