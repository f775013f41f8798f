//! Updates of Swarm services: one of a service a pass, with everything that is to change. A second one would meet the rollout of the first and have it begin anew.

use super::call::Call;
use super::step::{Group, Operation};
use super::target::Connection;

/// Whether a group does nothing but update a service's networks.
pub(crate) fn is_update(group: &Group) -> bool {
    let updates = |operation: &Operation| matches!(operation.call, Call::UpdateService { .. });
    !group.operations.is_empty() && group.operations.iter().all(updates)
}

/// One group for each service, with all that is to change about it.
pub(crate) fn merged(groups: Vec<Group>) -> Vec<Group> {
    let mut merged: Vec<Group> = Vec::new();
    for group in groups {
        let Group { object, operations, needs, journal, completes, after } = group;
        for operation in operations {
            let Call::UpdateService { service, changes: mut new } = operation.call else { continue };
            for change in &mut new {
                change.needs.extend(needs.iter().cloned());
            }
            let known =
                merged.iter_mut().flat_map(|group| &mut group.operations).find_map(|known| match &mut known.call {
                    Call::UpdateService { service: of, changes } if of.id == service.id => {
                        Some((changes, &mut known.disruptive))
                    }
                    _ => None,
                });
            match known {
                Some((changes, disruptive)) => {
                    changes.extend(new);
                    *disruptive |= operation.disruptive;
                }
                None => merged.push(Group {
                    object: object.clone(),
                    operations: vec![Operation { call: Call::UpdateService { service, changes: new }, ..operation }],
                    journal: journal.clone(),
                    completes: completes.clone(),
                    needs: Vec::new(),
                    after: after.clone(),
                }),
            }
        }
    }
    in_order(merged)
}

/// Whoever waits for another service's connection after that service, as far as they do not wait for each other.
fn in_order(mut groups: Vec<Group>) -> Vec<Group> {
    let mut ordered = Vec::with_capacity(groups.len());
    while !groups.is_empty() {
        let makes = |group: &Group| group.operations.iter().flat_map(|it| it.call.connections()).collect::<Vec<_>>();
        let free = groups.iter().position(|group| {
            let needs = needs(group);
            let others = groups.iter().filter(|other| !std::ptr::eq(*other, group)).flat_map(makes);
            !others.into_iter().any(|made| needs.contains(&&made))
        });
        ordered.push(groups.remove(free.unwrap_or(0)));
    }
    ordered
}

/// What the group's changes wait for.
pub(crate) fn needs(group: &Group) -> Vec<&Connection> {
    let changes = group.operations.iter().flat_map(|operation| match &operation.call {
        Call::UpdateService { changes, .. } => changes.as_slice(),
        _ => &[],
    });
    changes.flat_map(|change| &change.needs).collect()
}

/// Groups of which some have been taken [`apart`], as one for each service again.
pub(crate) fn rejoined(groups: Vec<Group>) -> Vec<Group> {
    let (mut rejoined, mut updates) = (Vec::with_capacity(groups.len()), Vec::new());
    for group in groups {
        if is_update(&group) {
            updates.push(group);
        } else {
            rejoined.append(&mut merged(std::mem::take(&mut updates)));
            rejoined.push(group);
        }
    }
    rejoined.append(&mut merged(updates));
    rejoined
}

/// The groups as they were before they were merged.
pub(crate) fn apart(groups: Vec<Group>) -> Vec<Group> {
    let split = |group: Group| {
        if !is_update(&group) {
            return vec![group];
        }
        let parts = group.operations.iter().flat_map(Operation::parts);
        let parts = parts.map(|mut operation| {
            let mut needs = group.needs.clone();
            if let Call::UpdateService { changes, .. } = &mut operation.call {
                needs.extend(changes.iter_mut().flat_map(|change| change.needs.drain(..)));
            }
            Group { object: operation.object.clone(), operations: vec![operation], needs, ..group.clone() }
        });
        parts.collect()
    };
    groups.into_iter().flat_map(split).collect()
}
