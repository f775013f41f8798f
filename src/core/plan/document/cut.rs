//! Taking groups out of a plan: the one way for a selection, for objects that wait, and for tests.
//!
//! What is left is a plan like any other. A group that relies on a network that is then not created goes too, as one does that waits for a
//! connection which nobody makes any more; and a journal that a group outside of the plan helps to complete is completed by none inside of it.

use std::collections::BTreeMap;

use super::call::Call;
use super::journal::Journal;
use super::plan::{self, ServerPlan};
use super::step::{Group, Operation};
use super::target::Connection;
use super::updates;
use crate::core::api::ObjectKey;

/// What was taken out of one server's plan.
#[derive(Debug, Default, PartialEq)]
pub struct CutOut {
    /// As asked, in the order of the plan.
    pub asked: Vec<Group>,
    /// They rely on something that was taken out.
    pub stranded: Vec<Stranded>,
}

/// A group that lacks what it relies on.
#[derive(Debug, PartialEq)]
pub struct Stranded {
    pub group: Group,
    /// Whose group was to bring it about.
    pub creator: ObjectKey,
    pub lacks: Lack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The network is not created.
    Network,
    /// The connection that takes over is not made.
    Connection,
}

impl CutOut {
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.asked.iter().chain(self.stranded.iter().map(|it| &it.group))
    }
}

/// Takes out the groups that `leaves` names, and whatever cannot be done without them.
///
/// Of a service's update, what is taken out leaves the rest.
pub fn cut(plan: &mut ServerPlan, leaves: impl Fn(&Group) -> bool) -> CutOut {
    plan.groups = updates::apart(std::mem::take(&mut plan.groups));
    // What the connections call for stays or goes with them.
    let asked = plan.groups.extract_if(.., |group| !plan::is_refresh(group) && leaves(group)).collect();
    let mut out = CutOut { asked, stranded: Vec::new() };
    loop {
        let lacking = lacking(&out, &plan.groups);
        if lacking.iter().all(Option::is_none) {
            break;
        }
        let groups = std::mem::take(&mut plan.groups);
        for (group, lack) in groups.into_iter().zip(lacking) {
            match lack {
                Some((creator, lacks)) => out.stranded.push(Stranded { group, creator, lacks }),
                None => plan.groups.push(group),
            }
        }
    }
    plan.groups = updates::rejoined(std::mem::take(&mut plan.groups));
    plan::drop_needless(plan);
    let pending: Vec<&Journal> = out.groups().flat_map(|group| &group.completes).collect();
    for group in &mut plan.groups {
        group.completes.retain(|journal| !pending.contains(&journal));
    }
    out
}

/// For each group that is kept, what it relies on and does not get, and whose group was to bring that about.
fn lacking(out: &CutOut, kept: &[Group]) -> Vec<Option<(ObjectKey, Lack)>> {
    let lost = lost(out, kept);
    let unmade: Vec<(Connection, &ObjectKey)> = out.groups().flat_map(connections).collect();
    let made: Vec<Connection> = kept.iter().flat_map(connections).map(|(connection, _)| connection).collect();
    let lack = |group: &Group| {
        if let Some(creator) = awaited(group).find_map(|name| lost.get(name)) {
            return Some((creator.clone(), Lack::Network));
        }
        let need = group.needs.iter().find(|need| !made.contains(need))?;
        let maker = unmade.iter().find(|(connection, _)| connection == need).map_or(&group.object, |(_, maker)| *maker);
        Some((maker.clone(), Lack::Connection))
    };
    kept.iter().map(lack).collect()
}

fn connections(group: &Group) -> impl Iterator<Item = (Connection, &ObjectKey)> {
    let made = |operation: &Operation| operation.call.connections();
    group.operations.iter().flat_map(move |it| made(it).into_iter().map(move |made| (made, &it.object)))
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
    group.operations.iter().flat_map(|operation| operation.call.awaits())
}
