//! One server: everything that is planned for it, in its order.

use std::collections::{BTreeMap, BTreeSet};

use super::destination;
use super::input::{DeleteMode, PlanInput};
use crate::core::api::{Kind, ObjectKey};
use crate::core::desired::{DesiredServer, Endpoint, TcpSecurity};
use crate::core::observed::{NetworkId, ObservedNetwork, Unobserved, UnobservedReason};
use crate::core::plan::decide::{findings, locate, pool, proxy_note};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::note::{self, Note, NoteKind};
use crate::core::plan::document::plan::{Plan, ServerPlan};
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::Group;
use crate::core::plan::document::target::NetworkCreate;
use crate::core::plan::document::updates;
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::emit::journals::{settle, stranded};
use crate::core::plan::emit::parts::Parts;
use crate::core::plan::emit::removal::Removal;
use crate::core::plan::workload::{compose_leaving, dependencies, leaving, on_swarm};
use crate::core::plan::world::container;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::party::Outlook;
use crate::core::plan::world::server::Host;
use crate::core::plan::world::swarm::View;

use crate::core::plan::emit::{
    arrange, default_route, deletion, lifecycle, limits, prune, refresh, rollouts, undeclared, unreadable,
};

/// The plan: what brings the observed state to the desired one, and what is left undone and why.
///
/// Guarantees: the same input gives the same plan. Nothing is planned for a server that was not observed. Planning again after every operation
/// is done gives no operations. `lint` says what else holds of every plan.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let views: BTreeMap<&ObjectKey, View<'_>> = input
        .desired
        .servers
        .keys()
        .filter_map(|key| Some((key, View::new(input.observed, key, input.observed.get(key)?.as_ref().ok()?))))
        .collect();
    let mut servers: Vec<ServerPlan> = input
        .desired
        .servers
        .values()
        .filter_map(|server| {
            let mut plan = plan_server(input, server, views.get(&server.key))?;
            unreadable::leave_as_it_is(input, server, &mut plan);
            plan.notes.splice(0..0, insecure_transport(server));
            Some(plan)
        })
        .collect();
    rollouts::once_a_pass(&mut servers);
    Plan { set: input.desired.set.clone(), notes: unknown_objects(input), servers }
}

/// The request to delete names the server, or something on it.
fn is_concerned(input: &PlanInput<'_>, server: &DesiredServer) -> bool {
    let mut keys = input.request.delete.keys();
    keys.any(|key| {
        *key == server.key
            || server
                .destinations
                .iter()
                .any(|it| it.key == *key || it.members.iter().any(|member| member.resource == *key))
    })
}

fn plan_server<'a>(
    input: &'a PlanInput<'a>,
    server: &'a DesiredServer,
    view: Option<&'a View<'a>>,
) -> Option<ServerPlan> {
    let view = match input.observed.get(&server.key) {
        Some(Ok(_)) => view?,
        Some(Err(unobserved)) => return Some(unobserved_server(input, server, unobserved)),
        None if input.request.only_delete && !is_concerned(input, server) => return None,
        None => {
            let unobserved = Unobserved {
                reason: UnobservedReason::ServerUnreachable,
                message: format!("{} was not observed.", server.key),
                hint: None,
            };
            return Some(unobserved_server(input, server, &unobserved));
        }
    };
    let ctx = Context::new(input, server, view);
    let mut plan = ServerPlan {
        server: server.key.clone(),
        server_type: Some(ctx.host.server_type()),
        swarm: ctx.swarm.map(|swarm| swarm.cluster(&server.key)),
        groups: Vec::new(),
        settled: Vec::new(),
        withheld: None,
        notes: Vec::new(),
    };
    if server.suspend {
        plan.notes.push(
            Note::new(
                NoteKind::Suspended,
                Reason::Suspended,
                &server.key,
                format!("{} is suspended: everything on it is left as it is.", server.key),
            )
            .hint("remove `suspend: true` to have it looked after again"),
        );
        return Some(plan);
    }

    let mut ctx = ctx;
    ctx.located = server.destinations.iter().map(|it| (it, locate::locate(&ctx, it))).collect();
    let mut parts = Parts::new(&ctx);
    if let Some(withheld) = limits::withheld(&ctx, &parts) {
        ctx.withheld = true;
        parts = Parts::new(&ctx);
        parts.draft.notes.push(withheld.note);
        plan.withheld = Some(withheld.list);
    }
    parts.assemble(&ctx, &mut plan);
    Some(plan)
}

impl<'a> Parts<'a> {
    fn new(ctx: &Context<'a>) -> Self {
        let nothing = Outlook::default();
        let requested = deletion::requested(ctx, &nothing);
        let mut parts = Parts {
            draft: Draft::default(),
            requested: requested.groups,
            removals: requested.removals,
            settled: Vec::new(),
            notes: requested.notes,
            retired: Vec::new(),
        };
        let left = [leaving::leaving(ctx), compose_leaving::leaving(ctx), on_swarm::stack_leaving::leaving(ctx)];
        for (groups, notes) in left {
            parts.retired.extend(groups);
            // A deletion of one object says nothing of what else is left over.
            let concerns = |note: &Note| !ctx.request.only_delete || ctx.is_deleted(&note.object);
            parts.notes.extend(notes.into_iter().filter(concerns));
        }
        if ctx.request.only_delete {
            return parts;
        }
        // What can be removed whatever else is done makes room for what is to be created.
        let pruned = prune::prune(ctx, &nothing).removals.into_iter().filter(Removal::is_sure);
        let pruned = pruned.map(|removal| removal.network);
        let requested = parts.removals.iter().map(|removal| removal.network);
        let removed: BTreeSet<&NetworkId> = pruned.chain(requested).map(|network| &network.id).collect();
        parts.draft.notes.extend(proxy_note::server_note(ctx));
        for (destination, located) in ctx.located.iter().filter(|(it, _)| !ctx.is_deleted(&it.key)) {
            let mut part = destination::converge(ctx, destination, located, &removed);
            settle(ctx, destination, located, &mut part, &mut parts.settled);
            parts.draft.add(part);
        }
        parts.draft.notes.extend(pool::low(ctx));
        let outlook = Outlook::of(parts.draft.groups.iter().chain(&parts.draft.departures));
        for (destination, located) in ctx.located.iter().filter(|(it, _)| !ctx.is_deleted(&it.key)) {
            undeclared::undeclared(ctx, &outlook, destination, located, &mut parts.draft);
        }
        arrange::hand_over(ctx, &mut parts.draft.groups, &mut parts.draft.departures);
        parts.draft.notes.extend(default_route::notes(ctx, &parts.draft.groups));
        let pruned = prune::prune(ctx, &outlook);
        parts.removals.extend(pruned.removals);
        parts.notes.extend(pruned.notes);
        parts.draft.notes.extend(stranded(ctx));
        parts.draft.notes.extend(findings::notes(ctx));
        parts.settled.extend(lifecycle::forgotten(ctx));
        parts.settled.append(&mut parts.draft.settled);
        parts
    }

    /// Puts everything in its order.
    fn assemble(self, ctx: &Context<'_>, plan: &mut ServerPlan) {
        let Parts { draft, requested, removals, settled, mut notes, retired } = self;
        plan.settled = settled;
        // What is in the way of a new network goes first, everything else last: a pass that is interrupted has done the useful part.
        notes.extend(removals.iter().filter_map(|removal| removal.warning.clone()));
        let created: Vec<&NetworkCreate> = draft.groups.iter().flat_map(created).collect();
        let (first, last): (Vec<_>, Vec<_>) =
            removals.into_iter().partition(|removal| removal.is_sure() && in_the_way(removal.network, &created));
        // Updates of services after whatever they may rely on, everything about one in one.
        let (services, mut groups): (Vec<_>, Vec<_>) =
            draft.groups.into_iter().chain(requested).partition(updates::is_update);
        let (leaving, others): (Vec<_>, Vec<_>) = draft.departures.into_iter().partition(updates::is_update);
        groups.extend(updates::merged(services.into_iter().chain(leaving).collect()));
        groups.extend(others);
        // Repairs before what may take minutes.
        let slow: Vec<Group> = groups.extract_if(.., |group| group.is_of_workload()).collect();
        arrange::free_first(ctx, &mut groups);
        plan.groups.extend(first.into_iter().map(|removal| removal.group));
        let refresh = refresh::group(ctx, &groups);
        plan.groups.extend(groups);
        plan.groups.extend(refresh);
        plan.groups.extend(dependencies::in_order(ctx, slow));
        plan.groups.extend(dependencies::leaving_in_order(ctx, retired));
        plan.groups.extend(last.into_iter().map(|removal| removal.group));
        rollouts::wait_for_rollouts(ctx, plan);
        rollouts::wait_for_node(ctx, plan);
        notes.extend(rollouts::rollback_notes(ctx, plan));
        for note in draft.notes.into_iter().chain(notes) {
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
        }
    }
}

fn created(group: &Group) -> impl Iterator<Item = &NetworkCreate> {
    group.operations.iter().filter_map(|operation| match &operation.call {
        Call::CreateNetwork(create) => Some(create),
        _ => None,
    })
}

fn in_the_way(network: &ObservedNetwork, created: &[&NetworkCreate]) -> bool {
    created.iter().any(|create| {
        create.name == network.name
            || create
                .subnets
                .iter()
                .filter_map(|subnet| subnet.subnet.parse::<ipnet::IpNet>().ok())
                .any(|wanted| container::subnets(network).iter().any(|occupied| container::overlap(occupied, &wanted)))
    })
}

/// Said in every report, not only where the manifest is read: whoever sees the report may not know the manifest.
fn insecure_transport(server: &DesiredServer) -> Option<Note> {
    let Endpoint::Tcp { host, port, security: TcpSecurity::Plain } = &server.endpoint else { return None };
    let message =
        format!("tcp://{host}:{port} has neither encryption nor authentication: whoever reaches it owns the machine.");
    let note = Note::warning(Reason::InsecureTransport, &server.key, message);
    Some(note.hint("give the daemon certificates and the server `tls`, or reach it over `ssh://`"))
}

fn unobserved_server(input: &PlanInput<'_>, server: &DesiredServer, unobserved: &Unobserved) -> ServerPlan {
    let reason = unobserved.reason.into();
    let mut note = Note::warning(reason, &server.key, unobserved.message.clone());
    note.hint.clone_from(&unobserved.hint);
    let mut notes = vec![note];
    for (key, mode) in &input.request.delete {
        if !server.destinations.iter().any(|it| it.key == *key) {
            continue;
        }
        notes.push(match mode {
            // One that answers, and lets nobody in, is not gone for good.
            DeleteMode::Forced if unobserved.reason != UnobservedReason::ServerUnreachable => {
                Note::warning(reason, key, format!("Whether anything is on {key} is unknown, so it is not deleted."))
            }
            DeleteMode::Guarded => {
                Note::warning(reason, key, format!("Whether anything is on {key} is unknown, so it is not deleted."))
                    .hint(format!(
                        "if the server is gone for good: landfall delete destination {} -n {}{} --force",
                        key.name,
                        key.namespace,
                        note::in_set(&input.desired.set)
                    ))
            }
            DeleteMode::Forced => Note::warning(
                Reason::Orphaned,
                key,
                format!("{key} is forgotten; should {} come back, its network is still there.", server.key),
            ),
        });
    }
    ServerPlan {
        server: server.key.clone(),
        server_type: None,
        swarm: None,
        groups: Vec::new(),
        settled: Vec::new(),
        withheld: None,
        notes,
    }
}

/// Objects to delete that neither a manifest nor a server knows.
fn unknown_objects(input: &PlanInput<'_>) -> Vec<Note> {
    let declared = |key: &ObjectKey| {
        input.desired.all_servers().any(|server| {
            server.key == *key
                || server
                    .destinations
                    .iter()
                    .any(|it| it.key == *key || it.members.iter().any(|member| member.resource == *key))
        })
    };
    let set = &input.desired.set;
    let hosts: Vec<Host<'_>> = match input.request.delete.keys().any(|key| !declared(key)) {
        true => {
            let observed = input.observed.iter().filter(|(server, _)| input.desired.servers.contains_key(*server));
            observed.filter_map(|(_, state)| state.as_ref().ok()).map(Host::new).collect()
        }
        false => Vec::new(),
    };
    let known = |key: &ObjectKey| match key.kind {
        Kind::Destination => hosts.iter().any(|host| host.verified(set).any(|(_, of)| of == key)),
        _ => hosts.iter().any(|host| host.runs(set, key)),
    };
    let partial = input.observed.values().any(Result::is_err);
    input
        .request
        .delete
        .keys()
        .filter(|key| !declared(key) && !known(key))
        .map(|key| {
            let where_ = if partial { "no server that could be observed has" } else { "no server has" };
            if key.kind != Kind::Destination {
                return Note::warning(
                    Reason::ContainerMissing,
                    key,
                    format!("No manifest declares {key}, and {where_} anything of it; there is nothing to delete."),
                );
            }
            Note::warning(
                Reason::NetworkNotFound,
                key,
                format!("No manifest declares {key}, and {where_} a network of it; there is nothing to delete."),
            )
        })
        .collect()
}
