//! How much pruning does unasked.

use sha2::{Digest, Sha256};

use super::parts::Parts;
use super::removal::Removal;
use crate::core::digest::{SHORT, hex};
use crate::core::observed::{ObservedContainer, ObservedNetwork};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::document::withheld::{Withheld, WithheldDeletion, WithheldDisconnection, WithheldRemoval};
use crate::core::plan::document::workload_call::{ServiceRef, WorkloadCall};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::service::identity_of_service;
use crate::core::plan::world::{applied, ownership};
use crate::core::workload::stack;

/// How many of `owned` networks one pass may remove unasked: a fifth, and one in any case, but never all.
fn networks_unasked(owned: usize) -> usize {
    (owned / 5).max(1).min(owned.saturating_sub(1))
}

/// How many of `made` endpoints one pass may take off unasked: a fifth, and five in any case.
fn endpoints_unasked(made: usize) -> usize {
    (made / 5).max(5)
}

/// How many of `run` containers one pass may remove unasked: as many as endpoints.
fn containers_unasked(run: usize) -> usize {
    endpoints_unasked(run)
}

/// What pruning does not do unasked, and the note that says so.
pub(crate) struct TooMuch {
    pub(crate) list: Withheld,
    pub(crate) note: Note,
}

/// What pruning would do beyond its limits and what nobody has agreed to. Whoever has a successor is not counted.
pub(crate) fn withheld(ctx: &Context<'_>, parts: &Parts<'_>) -> Option<TooMuch> {
    let counted = parts.removals.iter().filter(|it| it.group.operations.iter().any(|it| it.cause == Cause::Undeclared));
    let removals: Vec<&Removal<'_>> = counted.clone().filter(|removal| !removal.succeeded).collect();
    let disconnections: Vec<&WithheldDisconnection> =
        counted.flat_map(|removal| &removal.counted).chain(&parts.draft.counted).collect();
    let retired = retired(parts);
    let (owned, made, run) = (owned(ctx), made(ctx), run(ctx));
    let networks = removals.len() > networks_unasked(owned);
    let endpoints = disconnections.len() > endpoints_unasked(made);
    let containers = retired.len() > containers_unasked(run);
    if ctx.request.allow_mass_delete || !(networks || endpoints || containers) {
        return None;
    }
    let list = list(ctx, &removals, &disconnections, retired);
    let agreed = ctx.request.agreed.as_ref().is_some_and(|agreed| agreed.covers(&list));
    if agreed || ctx.request.approved.contains(&list.fingerprint) {
        return None;
    }
    let mut excess = Vec::new();
    if networks {
        let names: Vec<_> = list.deletions.iter().map(|it| format!("{} ({:?})", it.destination, it.network)).collect();
        let limit = match networks_unasked(owned) {
            _ if removals.len() == owned => "which is all of them".to_owned(),
            limit => format!("more than {limit}"),
        };
        excess.push(format!(
            "remove {} of the {owned} destinations of the set {:?}, {limit}: {}",
            names.len(),
            ctx.set,
            some(&names)
        ));
    }
    if endpoints {
        let names: Vec<_> =
            list.disconnections.iter().map(|it| format!("{:?} from {:?}", it.name, it.network)).collect();
        excess.push(format!(
            "disconnect {} of the {made} endpoints of the set {:?}, more than {}: {}",
            names.len(),
            ctx.set,
            endpoints_unasked(made),
            some(&names)
        ));
    }
    if containers {
        let names: Vec<_> = list.removals.iter().map(|it| format!("{:?} of {}", it.name, it.object)).collect();
        excess.push(format!(
            "remove {} of the {run} containers that the set {:?} runs, more than {}: {}",
            names.len(),
            ctx.set,
            containers_unasked(run),
            some(&names)
        ));
    }
    let message = format!("Pruning would {}.", excess.join(", and "));
    let note = Note::refused(Reason::MassDeletionRefused, &ctx.server.key, message)
        .hint("if that is meant: `--allow-mass-delete`; if not, look for manifests that are missing");
    Some(TooMuch { list, note })
}

/// Enough to see what it is about.
const NAMED: usize = 20;

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Networks of the set that pruning may touch at all, without those that a request names: they go in any case, and what is left decides what
/// is too much.
fn owned(ctx: &Context<'_>) -> usize {
    let ours = |network: &ObservedNetwork| {
        network.labels.get(ownership::SOURCE).is_none_or(|source| ctx.another_source(source).is_none())
    };
    ctx.host.verified(ctx.set).filter(|(network, key)| ours(network) && !ctx.is_deleted(key)).count()
}

/// Endpoints that the set has made, whatever network they are on.
fn made(ctx: &Context<'_>) -> usize {
    let containers = ctx.host.state.containers.iter().flat_map(|container| &container.endpoints);
    let settings = containers.filter_map(|endpoint| endpoint.settings.as_ref()).map(|settings| &settings.driver_opts);
    let services = ctx.host.state.services.iter().flat_map(|service| &service.networks);
    let attachments = services.map(|network| &network.attachment.driver_opts);
    settings.chain(attachments).filter(|options| applied::is_own(options, ctx.set)).count()
}

/// Containers and Swarm services that the set runs.
fn run(ctx: &Context<'_>) -> usize {
    let of_stack = |it: &ObservedContainer| stack::owner(&it.labels).is_some_and(|owner| owner.set == ctx.set);
    let of_resource =
        |it: &ObservedContainer| ctx.host.identities.get(it).is_some_and(|identity| identity.set == ctx.set);
    let services = ctx.host.state.services.iter();
    // A service counts as one, however many tasks it has, and for the server that looks after it.
    let services = services.filter(|it| {
        identity_of_service(it)
            .is_some_and(|identity| identity.set == ctx.set && ctx.looks_after_service(&identity.destination))
    });
    ctx.host.state.containers.iter().filter(|it| of_resource(it) || of_stack(it)).count() + services.count()
}

/// Containers and Swarm services that go because no manifest declares what they run.
fn retired(parts: &Parts<'_>) -> Vec<WithheldRemoval> {
    let operations = parts.retired.iter().flat_map(|group| &group.operations);
    let undeclared = operations.filter(|operation| operation.cause == Cause::Undeclared);
    let mut retired: Vec<_> = undeclared
        .flat_map(|operation| {
            let of_container = |it: &ContainerTarget| (it.name.clone(), it.id.to_string());
            let removed: Vec<(String, String)> = match &operation.call {
                Call::Workload(call) => match call.as_ref() {
                    WorkloadCall::RemoveService { service: ServiceRef::Existing(service), .. } => {
                        vec![(service.name.clone(), service.id.to_string())]
                    }
                    WorkloadCall::StackRemove { services, .. } => {
                        services.iter().map(|service| (service.name.clone(), service.id.to_string())).collect()
                    }
                    call => call.removed().into_iter().map(of_container).collect(),
                },
                _ => Vec::new(),
            };
            removed.into_iter().map(|(name, id)| WithheldRemoval { object: operation.object.clone(), name, id })
        })
        .collect();
    retired.sort();
    retired
}

fn list(
    ctx: &Context<'_>,
    removals: &[&Removal<'_>],
    disconnections: &[&WithheldDisconnection],
    retired: Vec<WithheldRemoval>,
) -> Withheld {
    let mut deletions: Vec<_> = removals
        .iter()
        .map(|removal| WithheldDeletion {
            destination: removal.group.object.clone(),
            network: removal.network.name.clone(),
            network_id: removal.network.id.clone(),
        })
        .collect();
    deletions.sort_by(|a, b| (&a.destination, &a.network_id).cmp(&(&b.destination, &b.network_id)));
    let mut disconnections: Vec<_> = disconnections.iter().copied().cloned().collect();
    disconnections.sort();
    let mut hasher = Sha256::new();
    hasher.update(format!("{}\n{}\n", ctx.set, ctx.server.key));
    for deletion in &deletions {
        hasher.update(format!("{} {}\n", deletion.destination, deletion.network_id));
    }
    for disconnection in &disconnections {
        hasher.update(format!("{} {} {}\n", disconnection.destination, disconnection.network_id, disconnection.id));
    }
    for removal in &retired {
        hasher.update(format!("{} {}\n", removal.object, removal.id));
    }
    let fingerprint = hex(&hasher.finalize()[..SHORT]);
    Withheld { fingerprint, declared: ctx.server.declares(), deletions, disconnections, removals: retired }
}
