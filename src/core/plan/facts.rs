//! What there is of the declared objects at present, seen as the planner sees it. It says what is, not what to make of it.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use super::host::Attached;
use super::member::Members;
use super::operation::ServerType;
use super::ownership::{self, Purpose};
use super::swarm::View;
use super::{Context, FreshIds, PlanInput, Request, applied, destination, host, member, service};
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredState, ProxyInstance};
use crate::core::observed::{
    ContainerState, Health, Observations, ObservedContainer, ObservedNetwork, ObservedService, ObservedState, TaskCount,
};

/// A server and what is on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFacts {
    #[serde(rename = "type")]
    pub server_type: ServerType,
    pub engine: EngineFacts,
    /// `None` where none is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ServerProxyFacts>,
    /// Networks of any kind.
    pub networks: usize,
    pub containers: usize,
    /// In the order of their keys.
    #[serde(skip)]
    pub destinations: Vec<(ObjectKey, DestinationFacts)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineFacts {
    /// Host name.
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerProxyFacts {
    /// Name of the container or the Swarm service.
    pub name: String,
    /// `missing` where there is none of that name.
    pub state: String,
}

/// A destination and what is on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationFacts {
    #[serde(rename = "type")]
    pub destination_type: DestinationType,
    /// `None` where it does not exist or cannot be told for certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFacts>,
    /// The proxy, where it is on the network or should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<EndpointFacts>,
    /// Containers of declared resources; by resource and name.
    pub members: Vec<MemberFacts>,
    /// What resources select and does not exist; in the order of the resources.
    pub missing: Vec<MissingFacts>,
    /// Containers on the network that no resource declares; by name.
    pub unmanaged: Vec<EndpointFacts>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFacts {
    pub name: String,
    pub id: String,
    pub driver: String,
    pub subnets: Vec<String>,
    /// The same with what else belongs to each.
    pub ipam: Vec<SubnetFacts>,
    pub internal: bool,
    pub ipv6: bool,
    /// RFC 3339 time as the daemon gives it.
    pub created: String,
    /// Landfall did not create it.
    pub adopted: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetFacts {
    pub subnet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberFacts {
    pub resource: ObjectKey,
    /// False for a stack that keeps to its own network, and for what is stopped beside the container that its resource's address is for.
    pub expected: bool,
    #[serde(flatten)]
    pub endpoint: EndpointFacts,
}

/// A declared member that is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingFacts {
    pub resource: ObjectKey,
    /// Absent where the resource selects by something else than the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// One of a few words of the Engine's API. A name of its own, for serde would borrow a `&str` from its input.
pub type Word = &'static str;

fn state_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    let word = String::deserialize(deserializer)?;
    if word == SERVICE {
        return Ok(SERVICE);
    }
    ContainerState::deserialize(word.as_str().into_deserializer()).map(ContainerState::as_str)
}

fn health_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Word>, D::Error> {
    Ok(Option::<Health>::deserialize(deserializer)?.map(Health::as_str))
}

/// Which kind of network a destination was seen to have, and whether it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkUse {
    pub destination: ObjectKey,
    pub network_type: DestinationType,
    pub is_unused: bool,
}

impl ServerFacts {
    /// Of the destinations whose network exists.
    pub fn uses(&self) -> Vec<NetworkUse> {
        let existing = self.destinations.iter().filter(|(_, facts)| facts.network.is_some());
        existing
            .map(|(key, facts)| NetworkUse {
                destination: key.clone(),
                network_type: facts.destination_type,
                is_unused: facts.is_unused(),
            })
            .collect()
    }
}

/// A container, or a Swarm service, and how it is on the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointFacts {
    /// Its name.
    pub container: String,
    /// Of the container; empty for a service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// Empty while it is not on the network, or does not run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint_id: String,
    /// As the daemon says; `service` of a Swarm service.
    #[serde(deserialize_with = "state_word")]
    pub state: Word,
    /// Of a Swarm service, where the engine counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCount>,
    /// What Swarm says of the latest task that failed, where fewer run than should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What its health check says, where it has one and runs.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "health_word")]
    pub health: Option<Word>,
    pub connected: bool,
    #[serde(default, skip_serializing_if = "String::is_empty", rename = "ipv4Address")]
    pub ipv4_address: String,
    #[serde(default, skip_serializing_if = "String::is_empty", rename = "ipv6Address")]
    pub ipv6_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Of one that no resource declares any more: the resource, or `Proxy`, that Landfall connected it for. It stays until another takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_for: Option<String>,
    /// Of what Landfall runs: the image as it is declared, and `@` with the digest that it is here, where it was pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl EndpointFacts {
    /// Why it serves nobody, in one word and in a sentence. `None`: it does, as far as can be seen.
    pub fn trouble(&self) -> Option<(&'static str, String)> {
        let Self { container, state, health, tasks, failure, .. } = self;
        if let Some(TaskCount { running, desired }) = tasks
            && running < desired
        {
            let why = failure.as_deref().map(|it| format!(": {}", it.trim_end_matches('.'))).unwrap_or_default();
            return Some((TASKS_NOT_RUNNING, format!("{running} of {desired} tasks of {container} run{why}.")));
        }
        match *health {
            _ if self.is_restarting() => {
                Some(("Restarting", format!("{container} ends again and again after it was started.")))
            }
            _ if !self.is_running() => Some(("NotRunning", format!("{container} is {state}."))),
            Some("unhealthy") => Some(("Unhealthy", format!("The health check of {container} fails."))),
            Some("starting") => Some(("Starting", format!("The health check of {container} has not passed yet."))),
            _ => None,
        }
    }

    pub fn is_restarting(&self) -> bool {
        self.state == ContainerState::Restarting.as_str()
    }

    /// A service speaks for its tasks, whatever they are doing.
    pub fn is_running(&self) -> bool {
        self.state == ContainerState::Running.as_str() || self.state == SERVICE
    }
}

const TASKS_NOT_RUNNING: &str = "TasksNotRunning";

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
    let located = destination::locate(ctx, destination);
    let network = located.network();
    let members = member::resolve(ctx, destination, network);
    let attached = network.map(|network| ctx.host.attached(network)).unwrap_or_default();
    let on_it = |container: &ObservedContainer| attached.iter().find(|other| other.container.id == container.id);
    let proxy = ctx.server.proxy.as_ref();

    let proxy_facts = service::proxy(ctx)
        .filter(|it| (destination.proxy && destination.active) || network.is_some_and(|network| it.is_on(network)))
        .map(|it| service_endpoint(it, network));
    let proxy_facts = proxy_facts.or_else(|| {
        attached
            .iter()
            .find(|attached| host::is_proxy(attached.container, proxy))
            .map(|attached| endpoint(attached.container, Some(attached)))
            .or_else(|| {
                let wanted = destination.proxy && destination.active;
                let container =
                    ctx.host.state.containers.iter().find(|container| wanted && host::is_proxy(container, proxy));
                container.map(|container| endpoint(container, None))
            })
    });
    // A service speaks for its tasks: those that have ended are kept for a while, on the networks that were declared in their time.
    let spoken_for = |container: &ObservedContainer| {
        let service = container.labels.get(host::SWARM_SERVICE).and_then(|name| ctx.host.service_named(name));
        host::is_task(container) && service.is_some()
    };
    let Members { all, apart, declared, leftovers, one_offs, services, .. } = &members;
    let unmanaged = attached.iter().filter(|attached| {
        let id = &attached.container.id;
        !declared.contains(id)
            && !apart.contains(id)
            && !one_offs.contains(id)
            && !host::is_proxy(attached.container, proxy)
            && !spoken_for(attached.container)
    });
    let on =
        network.into_iter().flat_map(|network| ctx.host.services_on(network).into_iter().map(move |it| (network, it)));
    let foreign = on.filter(|(network, it)| {
        !service::is_proxy(it, proxy)
            && !services.iter().any(|wanted| wanted.service.id == it.id)
            && !service::wanted_elsewhere(ctx, &destination.key, network, it)
    });
    let by_service = services.iter().map(|wanted| MemberFacts {
        resource: wanted.object.clone(),
        expected: true,
        endpoint: service_endpoint(wanted.service, network),
    });
    DestinationFacts {
        destination_type: destination::class(ctx, destination),
        network: network.map(|network| network_facts(ctx, network)),
        proxy: proxy_facts,
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

/// What Landfall connected somebody for who is declared no more, where that is still declared.
fn kept_for(ctx: &Context<'_>, destination: &DesiredDestination, attached: &Attached<'_>) -> Option<String> {
    let options = &attached.endpoint.settings.as_ref()?.driver_opts;
    let made_for = ownership::made_for(options).filter(|_| applied::is_own(options, ctx.set))?;
    let is_declared = |purpose: &&Purpose| match purpose {
        Purpose::Proxy => destination.proxy && destination.active && ctx.server.proxy.is_some(),
        Purpose::Resource(resource) => destination.members.iter().any(|it| it.connect && it.resource == *resource),
    };
    made_for.iter().find(is_declared).map(ToString::to_string)
}

/// The image of a container that Landfall runs, with its digest where the daemon knows one: of a tag, that is what is in use.
fn image(ctx: &Context<'_>, container: &ObservedContainer) -> Option<String> {
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

fn missing(destination: &DesiredDestination, members: &Members<'_>) -> Vec<MissingFacts> {
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

fn endpoint(container: &ObservedContainer, attached: Option<&Attached<'_>>) -> EndpointFacts {
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

/// State of a Swarm service in the place of a container's: how many of its tasks run is the Swarm's business.
pub const SERVICE: &str = "service";

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
