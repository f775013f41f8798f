//! Taking groups out of a plan: the one way for a selection, for objects that wait, and for tests.
//!
//! What is left is a plan like any other. A group that relies on a network that is then not created goes too, and a journal that a group
//! outside of the plan helps to complete is completed by none inside of it.

use std::collections::BTreeMap;

use super::operation::{Call, Group, Journal, ServerPlan};
use crate::api::ObjectKey;

/// What was taken out of one server's plan.
#[derive(Debug, Default, PartialEq)]
pub struct CutOut {
    /// As asked, in the order of the plan.
    pub asked: Vec<Group>,
    /// They rely on something that was taken out.
    pub stranded: Vec<Stranded>,
}

/// A group that lacks the network it relies on.
#[derive(Debug, PartialEq)]
pub struct Stranded {
    pub group: Group,
    /// Whose network is not created.
    pub creator: ObjectKey,
}

impl CutOut {
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.asked.iter().chain(self.stranded.iter().map(|it| &it.group))
    }
}

/// Takes out the groups that `leaves` names, and whatever cannot be done without them.
pub fn cut(plan: &mut ServerPlan, leaves: impl Fn(&Group) -> bool) -> CutOut {
    let asked: Vec<Group> = plan.groups.extract_if(.., |group| leaves(group)).collect();
    let mut out = CutOut { asked, stranded: Vec::new() };
    loop {
        let lost = lost(&out, &plan.groups);
        let creator = |group: &Group| awaited(group).find_map(|name| lost.get(name)).cloned();
        let stranded: Vec<Stranded> = plan
            .groups
            .extract_if(.., |group| creator(group).is_some())
            .filter_map(|group| Some(Stranded { creator: creator(&group)?, group }))
            .collect();
        if stranded.is_empty() {
            break;
        }
        out.stranded.extend(stranded);
    }
    let pending: Vec<&Journal> = out.groups().flat_map(|group| &group.completes).collect();
    for group in &mut plan.groups {
        group.completes.retain(|journal| !pending.contains(&journal));
    }
    out
}

/// Networks that only groups outside of the plan would have created, with the objects that they are of.
fn lost(out: &CutOut, kept: &[Group]) -> BTreeMap<String, ObjectKey> {
    let mut lost: BTreeMap<String, ObjectKey> =
        out.groups().flat_map(created).map(|(name, object)| (name.to_owned(), object.clone())).collect();
    for (name, _) in kept.iter().flat_map(created) {
        lost.remove(name);
    }
    lost
}

fn created(group: &Group) -> impl Iterator<Item = (&str, &ObjectKey)> {
    group.operations.iter().filter_map(|operation| match &operation.call {
        Call::CreateNetwork(create) => Some((create.name.as_str(), &operation.object)),
        _ => None,
    })
}

/// Names of the networks that have to be created before the group can do its work.
fn awaited(group: &Group) -> impl Iterator<Item = &str> {
    group.operations.iter().filter_map(|operation| operation.call.awaits())
}
