//! The proxy looks again: Traefik reads the addresses of containers only when one starts, dies or changes health, so a member that Landfall
//! connects while it runs stays unreachable behind it.

use std::collections::BTreeSet;

use crate::core::api::{ObjectKey, ProxyType};
use crate::core::observed::{ContainerId, ObservedContainer};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::world::container;
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::located::Located;

/// What the image of Traefik says it is.
const TITLE: &str = "org.opencontainers.image.title";

/// The group that has the proxy look again once the others are done; `None` where it has no need to.
pub(crate) fn group(ctx: &Context<'_>, groups: &[Group]) -> Option<Group> {
    let traefik = context::container(ctx).filter(|container| reads_on_events(ctx, container))?;
    let served = served(ctx, groups);
    if !groups.iter().any(|group| goes_unnoticed(ctx, group, traefik, &served)) {
        return None;
    }
    let operation = Operation {
        object: ctx.server.key.clone(),
        call: Call::RefreshProxy {
            proxy: ContainerTarget::of(traefik),
            image: traefik.image.clone(),
            set: ctx.set.to_owned(),
        },
        cause: Cause::ProxyStale,
        disruptive: false,
        undo: None,
    };
    Some(Group::new(&ctx.server.key, vec![operation]))
}

fn reads_on_events(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    let Some(declared) = &ctx.server.proxy else { return false };
    let is_traefik = || {
        let name = container.image.rsplit('/').next().unwrap_or_default();
        name.contains("traefik")
            || container.labels.get(TITLE).is_some_and(|title| title.eq_ignore_ascii_case("traefik"))
    };
    declared.proxy_type == ProxyType::Traefik
        && container.state.is_live()
        && declared.refresh.unwrap_or_else(is_traefik)
}

/// Names of the networks over which the proxy serves.
fn served(ctx: &Context<'_>, groups: &[Group]) -> BTreeSet<String> {
    let wanting = ctx.located.iter().filter(|(destination, _)| destination.proxy && destination.active);
    let mut names = BTreeSet::new();
    let mut keys: BTreeSet<&ObjectKey> = BTreeSet::new();
    for (destination, located) in wanting {
        keys.insert(&destination.key);
        names.extend(located.network().map(|network| network.name.clone()));
        names.extend(destination.network.name.clone().filter(|_| !matches!(located, Located::Refused(_))));
    }
    let made = groups.iter().flat_map(|group| &group.operations).filter(|operation| keys.contains(&operation.object));
    names.extend(made.filter_map(|operation| match &operation.call {
        Call::CreateNetwork(create) => Some(create.name.clone()),
        _ => None,
    }));
    names
}

/// Whether a group connects what serves already, at an address that the proxy does not know.
fn goes_unnoticed(ctx: &Context<'_>, group: &Group, traefik: &ObservedContainer, served: &BTreeSet<String>) -> bool {
    group.operations.iter().any(|operation| {
        let Call::ConnectEndpoint { network, container, settings, .. } = &operation.call else { return false };
        if !served.contains(&network.name) {
            return false;
        }
        if container.id == traefik.id {
            // It was away, and may have missed what became of those who stayed.
            let network = network.id.as_ref().and_then(|id| ctx.host.state.network(id));
            return network
                .is_some_and(|network| ctx.host.attached(network).iter().any(|it| is_live(ctx, &it.container.id)));
        }
        // One that is started later in the plan is noticed when it starts.
        let starts =
            |it: &Operation| matches!(&it.call, Call::StartContainer { container: it } if it.id == container.id);
        let keeps = |before: &str| settings.ipv4_address.as_deref() == Some(before);
        is_live(ctx, &container.id)
            && !group.operations.iter().any(starts)
            && !address_before(ctx, group, &container.id, &network.name).is_some_and(|before| keeps(&before))
    })
}

fn is_live(ctx: &Context<'_>, id: &ContainerId) -> bool {
    ctx.host.container(id).is_some_and(|it| it.state.is_live() && !container::is_going(it))
}

/// The address that the container has on the network until the group disconnects it.
fn address_before(ctx: &Context<'_>, group: &Group, id: &ContainerId, network: &str) -> Option<String> {
    let leaves = |it: &Operation| matches!(&it.call, Call::DisconnectEndpoint { container, network: of, .. } if container.id == *id && of.name == network);
    group.operations.iter().find(|it| leaves(it))?;
    let container = ctx.host.container(id)?;
    let endpoint = container.endpoints.iter().find(|it| it.network_name == network)?;
    Some(endpoint.ipv4_address.clone())
}
