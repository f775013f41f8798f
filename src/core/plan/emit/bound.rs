//! Containers that an engine does not start without the network that they were created on.

use crate::core::api::ObjectKey;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ObservedContainer, ObservedNetwork};
use crate::core::plan::document::note::{Blocker, Note};
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::server::bound_blocker;

/// Who would stay without the network that this engine does not start them without. What Landfall runs itself goes with its resource, or is created
/// anew where that has moved to; but not where it is there already.
pub(super) fn containers(ctx: &Context<'_>, destination: &ObjectKey, network: &ObservedNetwork) -> Vec<Blocker> {
    let stays = |container: &&ObservedContainer| {
        let Some(identity) = ctx.host.identities.get(container).filter(|it| it.set == ctx.set) else { return true };
        let is_home = |(declared, located): &(&DesiredDestination, Located<'_>)| {
            declared.key != *destination
                && declared.members.iter().any(|it| it.resource == identity.object && !ctx.is_deleted(&it.resource))
                && located.network().is_some_and(|other| ctx.host.is_on(container, other))
        };
        ctx.located.iter().any(is_home)
    };
    ctx.host.bound_to(network).into_iter().filter(stays).map(bound_blocker).collect()
}

/// What a forced deletion leaves behind that does not start any more.
pub(super) fn unstartable(destination: &ObjectKey, network: &ObservedNetwork, bound: &[Blocker]) -> Option<Note> {
    let names: Vec<String> = bound.iter().map(|it| format!("{:?}", it.name)).collect();
    let name = &network.name;
    let message = format!(
        "This Docker Engine starts no container without the network that it was created on, and {} was created on {name:?}.",
        names.join(", ")
    );
    let hint = "create it anew on another network, as with `docker compose up --force-recreate`, or the network again";
    (!bound.is_empty()).then(|| Note::warning(Reason::ResourcesRemain, destination, message).hint(hint))
}

/// Adds those who are not among the blockers, as somebody on the network is.
pub(super) fn list(bound: &[Blocker], blockers: &mut Vec<Blocker>) {
    let is_listed = |it: &&Blocker| !blockers.iter().any(|known| (known.kind, &known.name) == (it.kind, &it.name));
    let further: Vec<Blocker> = bound.iter().filter(is_listed).cloned().collect();
    blockers.extend(further);
}

/// Where nothing else stands in the way: no connection can be taken off.
pub(super) fn hint(bound: &[Blocker], blockers: &[Blocker]) -> Option<String> {
    let hint = "this Docker Engine starts no container without the network that it was created on: create what is listed anew on another network, or remove it";
    blockers.iter().all(|it| bound.contains(it)).then(|| hint.to_owned())
}
