//! Resources for the containers and Swarm services on the networks.
//!
//! Each container is tried in the largest group that its labels put it in: a stack, a service of it, itself. A group is taken when one selector
//! chooses exactly its containers and all of them are on the same networks; otherwise it is split.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::Names;
use super::networks::{address, reference};
use super::{Context, Document, Found, Member, image, is_attached, is_endpoint_of, metadata};
use crate::core::api::{
    ApplicationSpec, ComposeSpec, ContainerSelector, DatabaseEngine, DatabaseSpec, EndpointSpec, Kind, Object,
    ObjectKey, ObjectRef, ServiceSpec, Spec, SubnetSpec,
};
use crate::core::desired::is_host;
use crate::core::observed::{ContainerState, EndpointSettings, NetworkScope, ObservedContainer};
use crate::core::plan::{is_one_off, selects};

pub(super) const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// What containers would be declared as, and how they are found again.
#[derive(Debug, Clone)]
struct Identity {
    kind: Kind,
    name: String,
    selector: ContainerSelector,
    engine: Option<DatabaseEngine>,
    /// Of the object's metadata.
    labels: BTreeMap<String, String>,
}

impl Identity {
    /// Containers of one identity form a group.
    fn group(&self) -> (Kind, String, String) {
        (self.kind, self.name.clone(), format!("{:?}", self.selector))
    }
}

/// Containers that are declared together.
struct Group<'a> {
    identity: Identity,
    /// In the order of their names; none where a Swarm service speaks for its tasks.
    containers: Vec<&'a ObservedContainer>,
    /// Indices of the networks they are all on.
    networks: Vec<usize>,
}

pub(super) fn members(context: &Context<'_>, found: &[Found<'_>], names: &mut Names) -> Vec<Member> {
    let mut groups = Vec::new();
    let services = services(context, found, &mut groups);
    let mut containers: Vec<&ObservedContainer> = context
        .state
        .containers
        .iter()
        .filter(|container| {
            let task_of_known =
                container.labels.get(SWARM_SERVICE).is_some_and(|name| services.contains(name.as_str()));
            // Containers of `docker compose run` are short-lived, and none of a service's replicas.
            !is_going(container)
                && !is_one_off(container)
                && !task_of_known
                && !context.proxy.as_ref().is_some_and(|proxy| proxy.is(container))
                && found.iter().any(|found| is_attached(container, found.network))
        })
        .collect();
    containers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    split(context, found, &containers, 0, &mut groups);

    groups.sort_by(|a, b| (a.identity.kind, &a.identity.name).cmp(&(b.identity.kind, &b.identity.name)));
    let mut addresses = BTreeSet::new();
    groups.iter().flat_map(|group| documents(context, found, group, names, &mut addresses)).collect()
}

/// On its way out: no selector means it any more.
pub(super) fn is_going(container: &ObservedContainer) -> bool {
    matches!(container.state, ContainerState::Removing | ContainerState::Dead)
}

/// Swarm services join networks by their definition. Returns the names of those that the server knows.
fn services<'a>(context: &Context<'a>, found: &[Found<'_>], groups: &mut Vec<Group<'a>>) -> BTreeSet<&'a str> {
    for service in &context.state.services {
        let is_proxy = context.proxy.as_ref().is_some_and(
            |proxy| matches!(&proxy.instance, crate::core::desired::ProxyInstance::Service(name) if *name == service.name),
        );
        let networks: Vec<usize> =
            (0..found.len()).filter(|at| found.get(*at).is_some_and(|found| service.is_on(found.network))).collect();
        if is_proxy || networks.is_empty() {
            continue;
        }
        let task = context.state.containers.iter().find(|task| task.labels.get(SWARM_SERVICE) == Some(&service.name));
        let engine = task.and_then(|task| image::engine(&task.image));
        let identity = Identity {
            kind: if engine.is_some() { Kind::Database } else { Kind::Application },
            name: service.name.clone(),
            selector: ContainerSelector { swarm_services: vec![service.name.clone()], ..ContainerSelector::default() },
            engine,
            labels: BTreeMap::new(),
        };
        groups.push(Group { identity, containers: Vec::new(), networks });
    }
    context.state.services.iter().map(|service| service.name.as_str()).collect()
}

/// Groups the containers by their identity at `depth`, and what does not hold together by the next.
fn split<'a>(
    context: &Context<'a>,
    found: &[Found<'_>],
    containers: &[&'a ObservedContainer],
    depth: usize,
    groups: &mut Vec<Group<'a>>,
) {
    let mut candidates: BTreeMap<_, (Identity, Vec<&'a ObservedContainer>)> = BTreeMap::new();
    for container in containers {
        let mut identities = identities(context, container);
        let identity = identities.swap_remove(depth.min(identities.len() - 1));
        candidates.entry(identity.group()).or_insert_with(|| (identity, Vec::new())).1.push(container);
    }
    for (identity, containers) in candidates.into_values() {
        let on: BTreeSet<Vec<usize>> = containers.iter().map(|container| networks_of(container, found)).collect();
        let chosen = context.state.containers.iter().filter(|container| !is_going(container));
        let chosen: BTreeSet<_> =
            chosen.filter(|container| selects(&identity.selector, container)).map(|container| &container.id).collect();
        let exact = chosen == containers.iter().map(|container| &container.id).collect();
        let addressed = containers.len() > 1 && containers.iter().any(|container| has_address(container));
        let last = is_by_name(&identity.selector);
        match (on.len(), on.into_iter().next()) {
            (1, Some(networks)) if last || (exact && !addressed) => {
                groups.push(Group { identity, containers, networks });
            }
            // Nothing finer is left: two containers of one name, which no engine has.
            _ if last => {}
            _ => split(context, found, &containers, depth + 1, groups),
        }
    }
}

fn is_by_name(selector: &ContainerSelector) -> bool {
    !selector.names.is_empty()
}

fn networks_of(container: &ObservedContainer, found: &[Found<'_>]) -> Vec<usize> {
    (0..found.len()).filter(|at| found.get(*at).is_some_and(|found| is_attached(container, found.network))).collect()
}

fn has_address(container: &ObservedContainer) -> bool {
    container
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.settings.as_ref())
        .any(|settings| settings.ipv4_address.is_some() || settings.ipv6_address.is_some())
}

/// What a container can be declared as, the largest group first. The last is the container by its name.
fn identities(context: &Context<'_>, container: &ObservedContainer) -> Vec<Identity> {
    let engine = image::engine(&container.image);
    let kind = if engine.is_some() { Kind::Database } else { Kind::Application };
    let label = |key: &str| container.labels.get(key).filter(|value| !value.is_empty());
    let none = ContainerSelector::default();
    let mut identities = coolify(container, engine);
    if let (true, Some(project)) = (identities.is_empty(), label(COMPOSE_PROJECT)) {
        let stack = ContainerSelector { compose_project: Some(project.clone()), ..none.clone() };
        let of_project = context.state.containers.iter().filter(|other| selects(&stack, other));
        let services: BTreeSet<_> = of_project.map(|other| other.labels.get(COMPOSE_SERVICE)).collect();
        // A project that is nothing but a database is that database.
        let only_database = services.len() == 1 && label(COMPOSE_SERVICE).is_some() && kind == Kind::Database;
        if !only_database {
            identities.push(Identity {
                kind: Kind::Service,
                name: project.clone(),
                selector: stack,
                engine: None,
                labels: BTreeMap::new(),
            });
        }
        if let Some(service) = label(COMPOSE_SERVICE) {
            let selector = ContainerSelector {
                compose_project: Some(project.clone()),
                compose_service: Some(service.clone()),
                ..none.clone()
            };
            let name = if only_database { project.clone() } else { format!("{project}-{service}") };
            identities.push(Identity { kind, name, selector, engine, labels: BTreeMap::new() });
        }
    }
    let selector = ContainerSelector { names: vec![container.name.clone()], ..none };
    identities.push(Identity { kind, name: container.name.clone(), selector, engine, labels: BTreeMap::new() });
    identities
}

/// As Coolify labels what it deploys. Its containers' names change with every deployment; the ids in the labels do not.
fn coolify(container: &ObservedContainer, by_image: Option<DatabaseEngine>) -> Vec<Identity> {
    let label = |key: &str| container.labels.get(key).filter(|value| !value.is_empty());
    let chosen = |keys: &[&str]| ContainerSelector {
        labels: keys.iter().filter_map(|key| Some(((*key).to_owned(), label(key)?.clone()))).collect(),
        ..ContainerSelector::default()
    };
    if label("coolify.managed").is_none_or(|managed| managed != "true") {
        return Vec::new();
    }
    let Some(name) = label("coolify.resourceName").or(label("coolify.name")).or(label("coolify.serviceName")) else {
        return Vec::new();
    };
    let labels = chosen(&["coolify.projectName", "coolify.environmentName"]).labels;
    let identity =
        |kind, name: String, selector, engine| Identity { kind, name, selector, engine, labels: labels.clone() };
    // Newer versions identify by uuid.
    let id = |uuid: &'static str, id: &'static str| if label(uuid).is_some() { uuid } else { id };
    let identities = match label("coolify.type").map(String::as_str) {
        Some("application") => {
            let preview = label("coolify.pullRequestId").filter(|number| *number != "0");
            let name = preview.map_or(name.clone(), |number| format!("{name}-pr-{number}"));
            let selector = chosen(&[id("coolify.applicationUuid", "coolify.applicationId"), "coolify.pullRequestId"]);
            vec![identity(Kind::Application, name, selector, None)]
        }
        Some("database") => {
            // Ids count anew for every kind of database.
            let selector = chosen(&[id("coolify.databaseUuid", "coolify.databaseId"), "coolify.database.subType"]);
            let engine = label("coolify.database.subType").and_then(|sub_type| coolify_engine(sub_type)).or(by_image);
            vec![identity(Kind::Database, name.clone(), selector, engine)]
        }
        Some("service") => {
            let stack = id("coolify.serviceUuid", "coolify.serviceId");
            let part = id("coolify.service.subUuid", "coolify.service.subId");
            let kind = match label("coolify.service.subType").map(String::as_str) {
                Some("database") => Kind::Database,
                _ => Kind::Application,
            };
            let mut identities = vec![identity(Kind::Service, name.clone(), chosen(&[stack]), None)];
            if let Some(own) = label("coolify.service.subName").or(label(part)) {
                let engine = by_image.filter(|_| kind == Kind::Database);
                let selector = chosen(&[stack, part, "coolify.service.subType"]);
                identities.push(identity(kind, format!("{name}-{own}"), selector, engine));
            }
            identities
        }
        _ => Vec::new(),
    };
    // A selector without the id would choose everything of its kind.
    identities.into_iter().filter(|identity| identity.selector.labels.keys().any(|key| is_id(key))).collect()
}

fn is_id(key: &str) -> bool {
    key.ends_with("Id") && key != "coolify.pullRequestId" || key.ends_with("Uuid")
}

fn coolify_engine(sub_type: &str) -> Option<DatabaseEngine> {
    Some(match sub_type.strip_prefix("standalone-")? {
        "postgresql" => DatabaseEngine::PostgreSQL,
        "mysql" => DatabaseEngine::MySQL,
        "mariadb" => DatabaseEngine::MariaDB,
        "mongodb" => DatabaseEngine::MongoDB,
        "redis" => DatabaseEngine::Redis,
        "keydb" => DatabaseEngine::KeyDB,
        "dragonfly" => DatabaseEngine::Dragonfly,
        "clickhouse" => DatabaseEngine::ClickHouse,
        _ => return None,
    })
}

/// One manifest for the group, or several where its containers appear differently on different networks: a resource has one `endpoint`.
fn documents(
    context: &Context<'_>,
    found: &[Found<'_>],
    group: &Group<'_>,
    names: &mut Names,
    addresses: &mut BTreeSet<(usize, IpAddr)>,
) -> Vec<Member> {
    let mut comments = declared_already(context, group);
    let mut networks = group.networks.clone();
    // The network that the containers were created on comes first: it is what they call home.
    let created_on = group.containers.first().map(|container| container.network_mode.as_str());
    networks.sort_by_key(|at| (found.get(*at).map(|found| found.network.name.as_str()) != created_on, *at));
    let mut buckets: Vec<(EndpointSpec, Vec<usize>)> = Vec::new();
    for at in networks {
        let Some(found) = found.get(at) else { continue };
        let endpoint = endpoint(context, found, at, group, addresses, &mut comments);
        match buckets.iter_mut().find(|(other, _)| *other == endpoint) {
            // An address belongs to one network, even where two networks have the same range.
            Some((_, networks)) if endpoint.ipv4_address.is_none() && endpoint.ipv6_address.is_none() => {
                networks.push(at)
            }
            _ => buckets.push((endpoint, vec![at])),
        }
    }
    let mut members = Vec::new();
    for (number, (endpoint, networks)) in buckets.into_iter().enumerate() {
        let mut destinations = networks.iter().filter_map(|at| found.get(*at)).map(|found| found.document.object.key());
        let Some(destination) = destinations.next() else { continue };
        let additional = destinations.map(|key| reference(&key, &context.namespace)).collect();
        let name = if number == 0 {
            group.identity.name.clone()
        } else {
            format!("{}-{}", group.identity.name, destination.name)
        };
        let key = names.take(group.identity.kind, &context.namespace, &name, "container", &[&context.server.name]);
        let mut comments = std::mem::take(&mut comments);
        if number > 0 {
            comments
                .push(format!("The same as {}, which appears differently on this network.", members_first(&members)));
        }
        let home = networks.first().and_then(|at| found.get(*at)).map(|found| found.network.id.clone());
        let Some(home) = home else { continue };
        let document = document(context, group, key, &destination, additional, endpoint, comments);
        members.push(Member { home, document });
    }
    members
}

fn members_first(members: &[Member]) -> String {
    members.first().map(|member| member.document.object.key().to_string()).unwrap_or_default()
}

/// A container may serve several declarations; the reader may want to have it in one.
fn declared_already(context: &Context<'_>, group: &Group<'_>) -> Vec<String> {
    let declared = context.declared_server.iter().flat_map(|server| &server.destinations).flat_map(|it| &it.members);
    let resources: BTreeSet<&ObjectKey> = declared
        .filter(|member| group.containers.iter().any(|container| selects(&member.selector, container)))
        .map(|member| &member.resource)
        .collect();
    resources
        .into_iter()
        .map(|resource| {
            format!("Also chosen by {resource}: instead of this, the destination can be added to its additionalDestinations.")
        })
        .collect()
}

fn document(
    context: &Context<'_>,
    group: &Group<'_>,
    key: ObjectKey,
    destination: &ObjectKey,
    additional_destinations: Vec<ObjectRef>,
    endpoint: EndpointSpec,
    comments: Vec<String>,
) -> Document {
    let Identity { kind, selector, engine, labels, .. } = &group.identity;
    let destination = reference(destination, &context.namespace);
    let endpoint = Some(endpoint).filter(|endpoint| *endpoint != EndpointSpec::default());
    let mut metadata = metadata(&key);
    metadata.labels.clone_from(labels);
    let spec = match kind {
        Kind::Database => Spec::Database(Box::new(DatabaseSpec {
            additional_destinations,
            endpoint,
            engine: *engine,
            ..DatabaseSpec::adopted(destination, selector.clone())
        })),
        Kind::Service => {
            let project = selector.compose_project.clone().filter(|project| is_project(project));
            let compose = project.map(|project| ComposeSpec {
                project,
                file: None,
                env_file: None,
                take_ownership: false,
                health_timeout_seconds: None,
            });
            Spec::Service(Box::new(ServiceSpec {
                destination: Some(destination),
                server: None,
                additional_destinations,
                containers: compose.is_none().then(|| selector.clone()),
                endpoint,
                start_after_repair: false,
                compose,
                connect_to_destination: true,
                domains: BTreeMap::new(),
                target_ports: BTreeMap::new(),
                backup: None,
            }))
        }
        Kind::Application | Kind::Server | Kind::Destination | Kind::Notifier => {
            Spec::Application(Box::new(ApplicationSpec {
                additional_destinations,
                endpoint,
                ..ApplicationSpec::adopted(destination, selector.clone())
            }))
        }
    };
    Document { comments, object: Object { metadata, spec } }
}

/// What Compose takes as the name of a project; labels can hold anything.
fn is_project(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(fits) && name.chars().all(|c| fits(c) || matches!(c, '_' | '-'))
}

/// What would be lost if the containers were taken off the network by hand.
fn endpoint(
    context: &Context<'_>,
    found: &Found<'_>,
    at: usize,
    group: &Group<'_>,
    addresses: &mut BTreeSet<(usize, IpAddr)>,
    comments: &mut Vec<String>,
) -> EndpointSpec {
    let settings = |container: &'_ ObservedContainer| -> Option<EndpointSettings> {
        container.endpoints.iter().find(|endpoint| is_endpoint_of(endpoint, found.network))?.settings.clone()
    };
    let mut aliases: Option<Vec<String>> = None;
    for container in &group.containers {
        let Some(settings) = settings(container) else { return EndpointSpec::default() };
        match &mut aliases {
            None => aliases = Some(settings.aliases),
            Some(common) => common.retain(|alias| settings.aliases.contains(alias)),
        }
    }
    // The engine adds a container's name and short id by itself.
    let implied = |alias: &String| {
        group.containers.iter().any(|container| container.name == *alias || container.id.short() == alias)
    };
    let mut aliases = aliases.unwrap_or_default();
    aliases.retain(|alias| !implied(alias) && is_host_name(alias));
    aliases.sort();
    aliases.dedup();
    let mut endpoint = EndpointSpec { aliases, ..EndpointSpec::default() };
    let [container] = group.containers.as_slice() else { return endpoint };
    let Some(settings) = settings(container) else { return endpoint };
    endpoint.gw_priority = settings.gw_priority.filter(|priority| *priority != 0 && i32::try_from(*priority).is_ok());
    endpoint.driver_opts = settings.driver_opts.iter().filter(|(name, _)| is_option(name)).map(owned).collect();
    // A live container on a network of a Swarm shows the address that the Swarm chose as if it were a static one.
    if found.network.scope == NetworkScope::Swarm && container.state.is_live() {
        return endpoint;
    }
    let mut static_address = |text: Option<&String>| {
        let ip = address(text?)?;
        if declarable(context, found, container, ip) && addresses.insert((at, ip)) {
            return Some(ip.to_string());
        }
        comments.push(format!("Its static address {ip} on {:?} cannot be declared.", found.network.name));
        None
    };
    endpoint.ipv4_address = static_address(settings.ipv4_address.as_ref());
    endpoint.ipv6_address = static_address(settings.ipv6_address.as_ref());
    endpoint
}

/// Whether the address can be declared with the subnets that are, and is nobody else's.
fn declarable(context: &Context<'_>, found: &Found<'_>, container: &ObservedContainer, ip: IpAddr) -> bool {
    let Spec::Destination(spec) = &found.document.object.spec else { return false };
    let fits = |subnet: &SubnetSpec| {
        subnet.subnet.parse::<IpNet>().is_ok_and(|range| is_host(&range, ip))
            && subnet.gateway.as_deref().and_then(address) != Some(ip)
    };
    let held = context
        .state
        .containers
        .iter()
        .filter(|other| other.id != container.id)
        .flat_map(|other| &other.endpoints)
        .filter(|endpoint| is_endpoint_of(endpoint, found.network))
        .any(|endpoint| address(&endpoint.ipv4_address) == Some(ip) || address(&endpoint.ipv6_address) == Some(ip));
    spec.network.subnets.listed().iter().any(fits) && !held
}

/// What a manifest may say of a driver's options; Landfall's own are no part of it.
fn is_option(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("landfall.") && !name.contains(',') && !name.contains(char::is_whitespace)
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

/// What the manifest's schema allows as an alias.
fn is_host_name(alias: &str) -> bool {
    alias.len() <= 253
        && alias.starts_with(|c: char| c.is_ascii_alphanumeric())
        && alias.ends_with(|c: char| c.is_ascii_alphanumeric())
        && alias.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
