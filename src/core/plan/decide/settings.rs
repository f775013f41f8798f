//! How an endpoint is to be connected, and whether the one that is there is as declared.

use std::net::IpAddr;

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredEndpoint};
use crate::core::plan::document::journal::Journal;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::applied::{self, Family, address};
use crate::core::plan::world::container::{self, STACK_NAMESPACE};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::ownership::{Mark, Purpose};
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::target::{Target, Wanted};

use crate::core::observed::{
    ContainerId, EndpointSettings, NetworkId, NetworkScope, ObservedContainer, ObservedEndpoint,
};

/// Settings with which the endpoint could be connected again as it is. `None` where it was not inspected: never guessed.
pub(crate) fn restorable(attached: &Attached<'_>) -> Option<EndpointSettings> {
    let mut settings = attached.endpoint.settings.clone()?;
    // The engine adds the container's short id by itself.
    settings.aliases.retain(|alias| alias != attached.container.id.short());
    let of_swarm = attached.endpoint.network_id.as_ref().is_some_and(NetworkId::is_of_swarm);
    if of_swarm && attached.container.state.is_live() {
        applied::forget_given(&mut settings);
    }
    // A hardware address derived from an address that the daemon chose must not be pinned: the next holder of that address would get the same.
    if settings.ipv4_address.is_none()
        && settings.mac_address.as_deref().is_some_and(|mac| is_derived(mac, attached.endpoint))
    {
        settings.mac_address = None;
    }
    Some(settings)
}

fn is_derived(mac: &str, endpoint: &ObservedEndpoint) -> bool {
    address(&endpoint.ipv4_address).is_some_and(|address| match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            mac.eq_ignore_ascii_case(&format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
        }
        IpAddr::V6(_) => false,
    })
}

/// What the engine is asked for: `base` as it was, with everything that is declared and without what no longer is, marked as the set's.
pub(crate) fn declared_settings(
    base: EndpointSettings,
    endpoint: &DesiredEndpoint,
    mark: &Mark<'_>,
) -> EndpointSettings {
    let mut settings = base;
    applied::unpark(&mut settings, mark.set);
    let EndpointSettings { aliases, ipv4_address, ipv6_address, driver_opts, .. } = &mut settings;
    applied::apply_aliases(aliases, driver_opts, &endpoint.aliases, mark.set);
    let declared = endpoint.ipv4_address.map(IpAddr::V4);
    applied::apply_address(Family::V4, ipv4_address, driver_opts, declared, mark.set);
    let declared = endpoint.ipv6_address.map(IpAddr::V6);
    applied::apply_address(Family::V6, ipv6_address, driver_opts, declared, mark.set);
    applied::apply_mac_address(&mut settings, endpoint.mac_address.as_ref(), mark.set);
    applied::apply_gw_priority(&mut settings, endpoint.gw_priority, mark.set);
    applied::apply_driver_opts(&mut settings.driver_opts, &endpoint.driver_opts, mark.set);
    mark.write(&mut settings.driver_opts);
    settings
}

/// The settings of somebody who comes back to the network: as before, with whatever is declared.
pub(crate) fn returning_settings(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    members: &Members<'_>,
    container: &ObservedContainer,
    before: EndpointSettings,
) -> EndpointSettings {
    let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
    let proxy = destination.proxy && container::is_proxy(container, ctx.server.proxy.as_ref());
    match declared {
        Some(wanted) => {
            let mut made_for = wanted.made_for.clone();
            made_for.extend(proxy.then_some(Purpose::Proxy));
            declared_again(before, &wanted.endpoint, &ctx.mark(&made_for, container))
        }
        None if proxy => {
            let made_for = [Purpose::Proxy].into();
            declared_again(before, &DesiredEndpoint::default(), &ctx.mark(&made_for, container))
        }
        None => before,
    }
}

/// The same as [`declared_settings`], for an endpoint that there was before, whoever made it.
pub(crate) fn declared_again(
    before: EndpointSettings,
    endpoint: &DesiredEndpoint,
    mark: &Mark<'_>,
) -> EndpointSettings {
    let options = before.driver_opts.clone();
    let mut settings = declared_settings(before, endpoint, mark);
    applied::keep_found(&options, &mut settings.driver_opts, mark.set);
    settings
}

/// Whether an endpoint lacks something that is declared, or has something of Landfall's that no longer is. One that was not inspected is taken
/// to be as declared.
pub(crate) fn differs(attached: &Attached<'_>, endpoint: &DesiredEndpoint, set: &str) -> bool {
    let Some(settings) = &attached.endpoint.settings else { return false };
    let EndpointSettings { aliases, ipv4_address, ipv6_address, driver_opts, .. } = settings;
    let address_differs = |family, declared: Option<IpAddr>, configured: Option<&String>, in_use: &str| {
        let has = configured.map_or(in_use, String::as_str);
        match declared {
            Some(declared) => address(has) != Some(declared),
            None => configured.is_some_and(|it| applied::is_own_address(family, it, driver_opts, set)),
        }
    };
    let ObservedEndpoint { ipv4_address: v4_in_use, ipv6_address: v6_in_use, .. } = attached.endpoint;
    // A spare address might be taken while the container is stopped, and then it would not start.
    let is_parked = !attached.container.state.is_live() && applied::is_parked(driver_opts, set);
    is_parked
        || applied::aliases_differ(aliases, driver_opts, &endpoint.aliases, set)
        || applied::mac_address_differs(settings, endpoint.mac_address.as_ref(), set)
        || applied::gw_priority_differs(settings, endpoint.gw_priority, set)
        || applied::driver_opts_differ(driver_opts, &endpoint.driver_opts, set)
        || address_differs(Family::V4, endpoint.ipv4_address.map(IpAddr::V4), ipv4_address.as_ref(), v4_in_use)
        || address_differs(Family::V6, endpoint.ipv6_address.map(IpAddr::V6), ipv6_address.as_ref(), v6_in_use)
}

pub(crate) fn journalled_settings(journal: &Journal, container: &ContainerId) -> Option<EndpointSettings> {
    journal.endpoints.iter().find(|listed| listed.container.id == *container).map(|listed| listed.settings.clone())
}

pub(crate) fn unknown(object: &ObjectKey, container: &ObservedContainer, network: &str) -> Note {
    Note::refused(
        Reason::EndpointUnknown,
        object,
        format!(
            "How {:?} is connected to {network:?} was not observed, so it could not be connected again as it was.",
            container.name
        ),
    )
    .hint("observe the server again")
}

/// It has the name, on the network that it is attached to.
pub(crate) fn answers(attached: &Attached<'_>, alias: &str) -> bool {
    attached.container.name == alias
        || attached
            .endpoint
            .settings
            .as_ref()
            .is_some_and(|settings| settings.aliases.iter().any(|known| known == alias))
}

/// Containers of their own get onto the networks of a Swarm only where those are attachable, which is decided when a network is made.
pub(crate) fn check_attachable(target: &Target<'_>, wanted: &Wanted<'_>) -> Result<(), Note> {
    let Some(network) = target.network.filter(|it| it.scope == NetworkScope::Swarm && !it.attachable) else {
        return Ok(());
    };
    // The manager has not filled in its properties yet.
    if network.is_unallocated() {
        return Ok(());
    }
    let message = format!(
        "The network {:?} is not attachable: only Swarm services can be on it, and {:?} is a container.",
        network.name, wanted.container.name
    );
    let hint = match network.labels.get(STACK_NAMESPACE) {
        Some(stack) => {
            let own = network.name.strip_prefix(&format!("{stack}_")).unwrap_or(&network.name);
            format!(
                "in the stack file, under `networks:` and `{own}:`, write `attachable: true`; Docker makes the network anew after \
                 docker stack rm {stack}"
            )
        }
        None => format!(
            "remove the network and make it anew: docker network create --driver overlay --attachable {}",
            network.name
        ),
    };
    Err(Note::refused(Reason::WrongScope, wanted.object, message).hint(hint))
}
