//! What is wrong with a declared container and no operation puts right: it is said in the plan, and counts as drift.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredMember, DesiredServer, DesiredState};
use crate::core::observed::ObservedContainer;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::{container, members, selector};
use crate::core::workload::{identity, routes, stack};

/// Everything of that kind on one server.
pub(crate) fn notes(ctx: &Context<'_>) -> Vec<Note> {
    let mut notes = restarting(ctx);
    notes.extend(unproven(ctx));
    notes.extend(anothers(ctx));
    notes
}

/// Containers that an adopted resource means and that are another's: Landfall runs them for it, or it names them. Both get what both declare.
fn anothers(ctx: &Context<'_>) -> Vec<Note> {
    // Who names containers is found by the names: there may be as many resources as containers.
    let mut by_name: HashMap<&str, Vec<&DesiredMember>> = HashMap::new();
    let mut by_labels: Vec<&DesiredMember> = Vec::new();
    for member in adopted(ctx.server).filter(|it| !ctx.is_deleted(&it.resource)) {
        if member.selector.names.is_empty() {
            by_labels.push(member);
        }
        for name in &member.selector.names {
            by_name.entry(name).or_default().push(member);
        }
    }
    let mut notes = BTreeMap::new();
    for container in ctx.host.state.containers.iter().filter(|it| !container::is_going(it)) {
        let run_for = ctx.host.identities.get(container).map(|it| (&it.set, &it.object));
        let of_stack = stack::owner(&container.labels);
        let run_for = run_for.or_else(|| of_stack.as_ref().map(|it| (&it.set, &it.object)));
        let naming = by_name.get(container.name.as_str()).map_or(&[][..], Vec::as_slice);
        if run_for.is_none() && naming.is_empty() {
            continue;
        }
        let claims = naming.iter().chain(&by_labels);
        let meaning: Vec<_> = claims.filter(|it| selector::selects(&it.selector, container)).collect();
        for member in &meaning {
            let (resource, name) = (&member.resource, &container.name);
            let note = |others: String| {
                let message = format!("{resource} selects the container {name:?}, {others}.");
                Note::finding(Reason::OwnershipConflict, resource, name, message).hint(OWN_CONTAINER)
            };
            let own = |set: &str, object: &ObjectKey| set == ctx.set && object == resource;
            let of_another = match run_for {
                Some((set, object)) if !own(set, object) => Some(run_by(ctx.set, set, object)),
                Some(_) => None,
                None => names_it(&meaning, member, name).map(|other| format!("which {other} names as its own")),
            };
            if let Some(others) = of_another {
                notes.insert((resource, name), note(others));
            }
        }
    }
    notes.into_values().collect()
}

const OWN_CONTAINER: &str = "have one resource declare it, with the aliases and destinations of both; correct `spec.containers` if another container is meant";

fn run_by(own_set: &str, set: &str, object: &ObjectKey) -> String {
    match set == own_set {
        true => format!("which Landfall runs for {object}"),
        false => format!("which Landfall runs for {object} of the set {set:?}"),
    }
}

/// Another resource that names the container. Of two that both name it, the first one has it.
fn names_it<'m>(meaning: &[&&'m DesiredMember], of: &DesiredMember, name: &String) -> Option<&'m ObjectKey> {
    let names = |member: &DesiredMember| member.selector.names.contains(name);
    let others = meaning.iter().filter(|it| it.resource != of.resource && names(it)).map(|it| &it.resource);
    others.filter(|other| !names(of) || **other < of.resource).min()
}

fn adopted(server: &DesiredServer) -> impl Iterator<Item = &DesiredMember> {
    let members = server.destinations.iter().flat_map(|it| &it.members);
    members.filter(|it| it.connect && it.workload.is_none() && it.stack.is_none())
}

/// Containers that two resources of one server have by name, as far as the manifests tell: the resource, and what is to be said of it.
pub fn named_twice(desired: &DesiredState) -> Vec<(ObjectKey, String)> {
    let mut found = BTreeSet::new();
    for server in desired.servers.values() {
        // The name, who has it, and whether Landfall runs it for him.
        let mut owners: BTreeMap<&str, BTreeMap<&ObjectKey, bool>> = BTreeMap::new();
        let runs = made_names(server);
        for (name, resource) in &runs {
            owners.entry(name).or_default().insert(resource, true);
        }
        for member in adopted(server) {
            for name in &member.selector.names {
                owners.entry(name).or_default().entry(&member.resource).or_insert(false);
            }
        }
        for (name, owners) in owners {
            let managed = owners.iter().find(|(_, runs)| **runs).map(|(owner, _)| *owner);
            let Some(first) = managed.or_else(|| owners.keys().next().copied()) else { continue };
            let whose = if managed.is_some() { "which Landfall is to run for" } else { "which is also named by" };
            let others = owners.iter().filter(|(resource, runs)| !**runs && **resource != first);
            found.extend(others.map(|(resource, _)| {
                ((*resource).clone(), format!("{resource} names the container {name:?}, {whose} {first}"))
            }));
        }
    }
    found.into_iter().collect()
}

/// Labels of the manifests that stand in the place of those that `domains` would become: the resource, and what is to be said of it.
pub fn overridden_routes(desired: &DesiredState) -> Vec<(ObjectKey, String)> {
    let mut found = BTreeMap::new();
    for server in desired.servers.values() {
        let Some(proxy) = &server.proxy else { continue };
        for destination in server.destinations.iter().filter(|it| it.proxy) {
            for member in &destination.members {
                let Some(workload) = &member.workload else { continue };
                let network = destination.network.name.as_deref().unwrap_or_default();
                let routed =
                    routes::labels(proxy.proxy_type, &member.resource, network, &workload.routes, workload.port);
                let own = &workload.container.labels;
                let others = routed.iter().filter(|(label, value)| own.get(*label).is_some_and(|it| it != *value));
                let labels: Vec<String> = others.map(|(label, _)| format!("`{label}`")).collect();
                if !labels.is_empty() {
                    let (them, they) = if labels.len() == 1 { ("label", "is") } else { ("labels", "are") };
                    let message = format!(
                        "the {them} {} of {} {they} used in place of what its `domains` would set",
                        labels.join(", "),
                        member.resource
                    );
                    found.insert(member.resource.clone(), message);
                }
            }
        }
    }
    found.into_iter().collect()
}

/// What the containers are called that Landfall runs on a server, and for which resource.
fn made_names(server: &DesiredServer) -> Vec<(String, &ObjectKey)> {
    let on = |resource: &ObjectKey| {
        server.destinations.iter().filter(|it| it.members.iter().any(|member| member.resource == *resource)).count()
    };
    let mut names = Vec::new();
    for destination in &server.destinations {
        for member in &destination.members {
            let Some(workload) = &member.workload else { continue };
            let apart = on(&member.resource) > 1;
            let replicas = 1..=workload.replicas;
            names.extend(replicas.map(|replica| {
                (workload.container_name(&member.resource, &destination.key, apart, replica), &member.resource)
            }));
        }
    }
    names
}

/// Containers that carry labels of the set's managed resources and that the labels were not made for, as far as can be told: copies, and a container
/// that was renamed and has lost the endpoint that says so.
fn unproven(ctx: &Context<'_>) -> Vec<Note> {
    let mut containers: Vec<_> = ctx.host.identities.unproven(ctx.set).filter(|it| !container::is_going(it)).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let note = |container: &ObservedContainer| {
        let object: ObjectKey = container.labels.get(identity::OBJECT)?.parse().ok()?;
        let name = &container.name;
        let message = format!(
            "The container {name:?} carries the labels of {object}, which were made for a container of another name: it is left alone."
        );
        let hint = format!(
            "if it is Landfall's and was renamed, give it its name back: docker rename {name} NAME; else make it anew without the labels `landfall.…`"
        );
        Some(Note::finding(Reason::OwnershipConflict, &object, name, message).hint(hint))
    };
    containers.into_iter().filter_map(note).collect()
}

/// Declared containers that end again and again. They are connected, and serve nobody.
fn restarting(ctx: &Context<'_>) -> Vec<Note> {
    if !ctx.host.state.containers.iter().any(|it| it.is_restarting() && !container::is_task(it)) {
        return Vec::new();
    }
    let find = |object, what: &str, name: &str| {
        Note::finding(
            Reason::Restarting,
            object,
            name,
            format!("{what} {name:?} ends again and again after it was started."),
        )
        .hint(format!("docker logs {name}"))
    };
    let proxy = context::container(ctx).filter(|it| it.is_restarting());
    let wanted = ctx.located.iter().any(|(it, _)| it.proxy && it.active && !it.suspend);
    let mut notes: Vec<Note> =
        proxy.filter(|_| wanted).map(|it| find(&ctx.server.key, "The proxy", &it.name)).into_iter().collect();
    let mut said = BTreeSet::new();
    for (destination, located) in
        ctx.located.iter().filter(|(it, _)| it.active && !it.suspend && !ctx.is_deleted(&it.key))
    {
        let members = members::resolve(ctx, destination, located.network());
        for (resource, container) in members.all {
            if container.is_restarting() && !container::is_task(container) && said.insert((resource, &container.id)) {
                notes.push(find(resource, "The container", &container.name));
            }
        }
    }
    notes
}
