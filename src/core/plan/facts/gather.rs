//! What is known of a declared server, gathered.

use super::types::{
    DestinationFacts, EndpointFacts, EngineFacts, MemberFacts, MissingFacts, NetworkFacts, SERVICE, ServerFacts,
    ServerProxyFacts, SubnetFacts,
};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredState, ProxyInstance};
use crate::core::plan::decide::locate;
use crate::core::plan::input::{FreshIds, PlanInput, Request};
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::members::{self, Members};
use crate::core::plan::world::ownership::{self, Purpose};
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::swarm::View;
use crate::core::plan::world::{applied, class, container, elsewhere, service};

use crate::core::observed::{
    ContainerState, Health, Observations, ObservedContainer, ObservedNetwork, ObservedService, ObservedState,
};

/// The facts of one declared server; `None` where it was not observed.
pub fn facts(desired: &DesiredState, server: &DesiredServer, observed: &Observations) -> Option<ServerFacts> {
    let state = observed.get(&server.key)?.as_ref().ok()?;
    let input = PlanInput { desired, observed, request: &Request::default(), ids: &FreshIds::default(), journals: &[] };
    let view = View::new(observed, &server.key, state);
    let ctx = Context::new(&input, server, &view);
    Some(server_facts(&ctx, state))
}

fn server_facts(ctx: &Context<'_>, observed: &ObservedState) -> ServerFacts {
    let server = ctx.server;
    ServerFacts {
        server_type: ctx.host.server_type(),
        engine: EngineFacts { name: observed.engine.name.clone(), version: observed.engine.version.clone() },
        proxy: server.proxy.as_ref().map(|proxy| match &proxy.instance {
            ProxyInstance::Container(name) => ServerProxyFacts {
                name: name.clone(),
                state: ctx
                    .host
                    .container_named(name)
                    .map_or("missing", |container| container.state.as_str())
                    .to_owned(),
            },
            ProxyInstance::Service(name) => ServerProxyFacts {
                name: name.clone(),
                state: ctx.host.service_named(name).map_or("missing", |_| SERVICE).to_owned(),
            },
        }),
        networks: observed.networks.len(),
        containers: observed.containers.len(),
        destinations: server
            .destinations
            .iter()
            .map(|destination| (destination.key.clone(), destination_facts(ctx, destination)))
            .collect(),
    }
}

fn destination_facts<'a>(ctx: &Context<'a>, destination: &'a DesiredDestination) -> DestinationFacts {
    let located = locate::locate(ctx, destination);
    let network = located.network();
    let members = members::resolve(ctx, destination, network);
    let attached = network.map(|network| ctx.host.attached(network)).unwrap_or_default();
    let on_it = |container: &ObservedContainer| attached.iter().find(|other| other.container.id == container.id);
    let proxy = ctx.server.proxy.as_ref();

    // A service speaks for its tasks: those that have ended are kept for a while, on the networks that were declared in their time.
    let spoken_for = |container: &ObservedContainer| {
        let service = container.labels.get(container::SWARM_SERVICE).and_then(|name| ctx.host.service_named(name));
        container::is_task(container) && service.is_some()
    };
    let Members { all, apart, declared, leftovers, one_offs, services, .. } = &members;
    let unmanaged = attached.iter().filter(|attached| {
        let id = &attached.container.id;
        !declared.contains(id)
            && !apart.contains(id)
            && !one_offs.contains(id)
            && !container::is_proxy(attached.container, proxy)
            && !spoken_for(attached.container)
    });
    let on =
        network.into_iter().flat_map(|network| ctx.host.services_on(network).into_iter().map(move |it| (network, it)));
    let foreign = on.filter(|(network, it)| {
        !service::is_proxy(it, proxy)
            && !services.iter().any(|wanted| wanted.service.id == it.id)
            && !elsewhere::wanted_elsewhere(ctx, &destination.key, network, it)
    });
    let by_service = services.iter().map(|wanted| MemberFacts {
        resource: wanted.object.clone(),
        expected: true,
        endpoint: service_endpoint(wanted.service, network),
    });
    DestinationFacts {
        destination_type: class::class(ctx, destination),
        network: network.map(|network| network_facts(ctx, network)),
        proxy: proxy_facts(ctx, destination, network, &attached),
        members: all
            .iter()
            .filter(|(_, container)| !spoken_for(container))
            .map(|(resource, container)| MemberFacts {
                resource: (*resource).clone(),
                expected: !leftovers.contains(&container.id)
                    && (!apart.contains(&container.id) || declared.contains(&container.id)),
                endpoint: EndpointFacts { image: image(ctx, container), ..endpoint(container, on_it(container)) },
            })
            .chain(by_service)
            .collect(),
        missing: missing(destination, &members),
        unmanaged: unmanaged
            .map(|attached| EndpointFacts {
                kept_for: kept_for(ctx, destination, attached),
                ..endpoint(attached.container, Some(attached))
            })
            .chain(foreign.map(|(network, it)| service_endpoint(it, Some(network))))
            .collect(),
    }
}

/// The proxy, where it is on the network or should be.
fn proxy_facts(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    network: Option<&ObservedNetwork>,
    attached: &[Attached<'_>],
) -> Option<EndpointFacts> {
    let wanted = destination.proxy && destination.active;
    if let Some(service) = context::proxy(ctx)
        && (wanted || network.is_some_and(|network| service.is_on(network)))
    {
        return Some(service_endpoint(service, network));
    }
    let proxy = ctx.server.proxy.as_ref();
    if let Some(attached) = attached.iter().find(|attached| container::is_proxy(attached.container, proxy)) {
        return Some(endpoint(attached.container, Some(attached)));
    }
    let container = ctx.host.state.containers.iter().find(|it| wanted && container::is_proxy(it, proxy))?;
    Some(endpoint(container, None))
}

/// What Landfall connected somebody for who is declared no more, where that is still declared.
pub(crate) fn kept_for(ctx: &Context<'_>, destination: &DesiredDestination, attached: &Attached<'_>) -> Option<String> {
    let options = &attached.endpoint.settings.as_ref()?.driver_opts;
    let made_for = ownership::made_for(options).filter(|_| applied::is_own(options, ctx.set))?;
    let is_declared = |purpose: &&Purpose| match purpose {
        Purpose::Proxy => destination.proxy && destination.active && ctx.server.proxy.is_some(),
        Purpose::Resource(resource) => destination.members.iter().any(|it| it.connect && it.resource == *resource),
    };
    made_for.iter().find(is_declared).map(ToString::to_string)
}

/// The image of a container that Landfall runs, with its digest where the daemon knows one: of a tag, that is what is in use.
pub(crate) fn image(ctx: &Context<'_>, container: &ObservedContainer) -> Option<String> {
    let config = ctx.host.state.workloads.get(&container.id)?;
    ctx.host.identities.get(container)?;
    let reference = &container.image;
    let local = ctx.host.state.images.get(reference).and_then(|image| image.local.as_ref());
    let digest = local
        .filter(|local| local.id == config.image_id && !reference.contains('@'))
        .and_then(|local| local.digests.first()?.split_once('@'));
    Some(match digest {
        Some((_, digest)) => format!("{reference}@{digest}"),
        None => reference.clone(),
    })
}

pub(crate) fn missing(destination: &DesiredDestination, members: &Members<'_>) -> Vec<MissingFacts> {
    let mut missing = Vec::new();
    for member in destination.members.iter().filter(|member| member.connect) {
        let mut found = members.all.iter().filter(|(resource, _)| **resource == member.resource);
        let names = &member.selector.names;
        let lacks = |container| MissingFacts { resource: member.resource.clone(), container };
        if names.is_empty() {
            for name in &member.selector.swarm_services {
                if !members.services.iter().any(|wanted| wanted.service.name == *name) {
                    missing.push(lacks(Some(name.clone())));
                }
            }
            let by_service = members.services.iter().any(|wanted| *wanted.object == member.resource);
            if found.next().is_none() && member.selector.swarm_services.is_empty() && !by_service {
                missing.push(lacks(None));
            }
        } else {
            let absent = names.iter().filter(|name| !found.clone().any(|(_, container)| container.name == **name));
            missing.extend(absent.map(|name| lacks(Some(name.clone()))));
        }
    }
    missing
}

fn network_facts(ctx: &Context<'_>, network: &ObservedNetwork) -> NetworkFacts {
    NetworkFacts {
        name: network.name.clone(),
        id: network.id.as_str().to_owned(),
        driver: network.driver.clone(),
        subnets: network.subnets.iter().map(|subnet| subnet.subnet.clone()).collect(),
        ipam: network
            .subnets
            .iter()
            .map(|subnet| SubnetFacts {
                subnet: subnet.subnet.clone(),
                gateway: subnet.gateway.clone(),
                ip_range: subnet.ip_range.clone(),
            })
            .collect(),
        internal: network.internal,
        ipv6: network.ipv6,
        created: network.created.clone(),
        adopted: ctx.host.owner(network).is_none(),
    }
}

pub(crate) fn endpoint(container: &ObservedContainer, attached: Option<&Attached<'_>>) -> EndpointFacts {
    let settings = attached.and_then(|attached| attached.endpoint.settings.as_ref());
    let mut aliases = settings.map(|settings| settings.aliases.clone()).unwrap_or_default();
    aliases.retain(|alias| alias != container.id.short());
    EndpointFacts {
        container: container.name.clone(),
        container_id: container.id.to_string(),
        endpoint_id: attached.map(|attached| attached.endpoint.endpoint_id.clone()).unwrap_or_default(),
        state: if container.is_restarting() { ContainerState::Restarting } else { container.state }.as_str(),
        tasks: None,
        failure: None,
        health: container.health.map(Health::as_str),
        connected: attached.is_some(),
        ipv4_address: attached.map(|attached| attached.endpoint.ipv4_address.clone()).unwrap_or_default(),
        ipv6_address: attached.map(|attached| attached.endpoint.ipv6_address.clone()).unwrap_or_default(),
        mac_address: settings.and_then(|settings| settings.mac_address.clone()),
        aliases,
        kept_for: None,
        image: None,
    }
}

fn service_endpoint(service: &ObservedService, network: Option<&ObservedNetwork>) -> EndpointFacts {
    let attachment = network.and_then(|network| service.attachment(network));
    EndpointFacts {
        container: service.name.clone(),
        container_id: String::new(),
        endpoint_id: String::new(),
        state: SERVICE,
        tasks: service.tasks,
        failure: service.failure.clone(),
        health: None,
        connected: attachment.is_some(),
        ipv4_address: String::new(),
        ipv6_address: String::new(),
        mac_address: None,
        aliases: attachment.map(|attachment| attachment.aliases.clone()).unwrap_or_default(),
        kept_for: None,
        image: None,
    }
}
