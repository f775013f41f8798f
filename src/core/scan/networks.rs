//! Destinations for the networks that no manifest declares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::Names;
use super::{Context, Document, Found, is_attached, is_endpoint_of, metadata};
use crate::core::api::{
    DeletionPolicy, DestinationSpec, Kind, Membership, NetworkSpec, Object, ObjectKey, ObjectRef, Replacement, Spec,
    SubnetSpec,
};
use crate::core::desired::is_host;
use crate::core::observed::{NetworkScope, ObservedNetwork, ObservedSubnet, SwarmState};
use crate::core::plan::ownership::{self, Ownership};
use crate::core::workload::stack;

/// Networks that an engine has of itself; `default` is what it takes for `bridge`.
const PREDEFINED: [&str; 6] = ["bridge", "host", "none", "ingress", "docker_gwbridge", "default"];

const MTU: &str = "com.docker.network.driver.mtu";
const ENABLE_ICC: &str = "com.docker.network.bridge.enable_icc";
const ENCRYPTED: &str = "encrypted";
/// Numbers that a Swarm assigns.
const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";

const OWN_LABELS: &str = "landfall.";
/// Bookkeeping of tools that make networks; whoever else writes these labels pretends to be them.
const COMPOSE_LABELS: &str = "com.docker.compose.";
const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_NETWORK: &str = "com.docker.compose.network";
const STACK: &str = "com.docker.stack.namespace";

/// A name shorter than this is the beginning of somebody's id by chance, and the daemon looks for names first.
const SHORTEST_PREFIX: usize = 4;

pub(super) fn destinations<'a>(context: &Context<'a>, names: &mut Names, warnings: &mut Vec<String>) -> Vec<Found<'a>> {
    let mut networks: Vec<&ObservedNetwork> = context.state.networks.iter().collect();
    networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let declared: BTreeSet<&str> = context
        .declared_server
        .iter()
        .flat_map(|server| &server.destinations)
        .filter_map(|destination| destination.network.name.as_deref())
        .collect();
    let mut ranges: Vec<IpNet> = context
        .declared_server
        .iter()
        .flat_map(|server| &server.destinations)
        .flat_map(|destination| &destination.network.subnets)
        .map(|subnet| subnet.subnet)
        .collect();
    let mut found = Vec::new();
    for network in networks {
        if is_the_engines(network)
            || declared.contains(network.name.as_str())
            || context.declared_server.is_some_and(|server| stack::is_home(server, network))
        {
            continue;
        }
        if let Some(owner) = ownership::of(network) {
            // Labels that are the network's own need no word: it is in somebody's manifests, or was.
            if owner.sealed {
                if let Some(of) = shared(context, network, &owner) {
                    if of.namespace == context.namespace {
                        found.push(Found { network, document: sharing(context, network, &of, names) });
                    } else {
                        warnings.push(format!(
                            "The network {:?} is left out: it is that of {of}, and only destinations of that namespace share it (`-n {}`).",
                            network.name, of.namespace
                        ));
                    }
                }
            } else {
                warnings.push(format!(
                    "The network {:?} is left out: it carries labels of the set {:?} that were made for another network.",
                    network.name, owner.set
                ));
            }
            continue;
        }
        match obstacle(context, network) {
            Some(why) => warnings.push(format!("The network {:?} is left out: {why}.", network.name)),
            None => found.push(Found { network, document: document(context, network, names, &mut ranges) }),
        }
    }
    found
}

/// The destination on another node of the Swarm whose network it is, where somebody on this server is on it.
fn shared(context: &Context<'_>, network: &ObservedNetwork, owner: &Ownership) -> Option<ObjectKey> {
    let of = owner.destination.clone().filter(|_| owner.set == context.set && network.scope == NetworkScope::Swarm)?;
    let here = context.declared_server.is_some_and(|server| server.destinations.iter().any(|it| it.key == of));
    let somebody = context.state.containers.iter().any(|container| {
        is_attached(container, network)
            && !container.labels.contains_key(super::members::SWARM_SERVICE)
            && !super::members::is_going(container)
            && !context.proxy.as_ref().is_some_and(|proxy| proxy.is(container))
    });
    (somebody && !here).then_some(of)
}

/// A destination that shares the network of one on another node: what that one declares is not said again.
fn sharing(context: &Context<'_>, network: &ObservedNetwork, of: &ObjectKey, names: &mut Names) -> Document {
    let name = format!("{}-{}", of.name, context.server.name);
    let key = names.take(Kind::Destination, &context.namespace, &name, "network", &[&context.server.name]);
    let proxy = context.proxy.as_ref().is_none_or(|proxy| proxy.is_on(context.state, network));
    let spec = DestinationSpec {
        proxy,
        ..adopting(context, NetworkSpec { name: Some(network.name.clone()), ..NetworkSpec::default() })
    };
    let comments = vec![format!("The network of {of}, on another node of the Swarm, which it is shared with.")];
    Document { comments, object: Object { metadata: metadata(&key), spec: Spec::Destination(Box::new(spec)) } }
}

fn adopting(context: &Context<'_>, network: NetworkSpec) -> DestinationSpec {
    DestinationSpec {
        server: reference(&context.server, &context.namespace),
        display_name: None,
        network,
        destination_type: None,
        proxy: true,
        active: true,
        adopt: true,
        create_if_missing: false,
        take_ownership: false,
        membership: Membership::default(),
        replacement: Replacement::default(),
        deletion_policy: DeletionPolicy::default(),
        suspend: false,
    }
}

fn is_the_engines(network: &ObservedNetwork) -> bool {
    PREDEFINED.contains(&network.name.as_str()) || network.ingress
}

/// Why a destination of that name would be refused.
fn obstacle(context: &Context<'_>, network: &ObservedNetwork) -> Option<String> {
    let name = network.name.as_str();
    let same_name = context.state.networks.iter().filter(|other| other.name == name).count();
    let prefixed = context
        .state
        .networks
        .iter()
        .find(|other| name.len() >= SHORTEST_PREFIX && other.name != name && other.id.as_str().starts_with(name));
    let (driver, scope) = match &context.state.engine.swarm {
        SwarmState::Inactive => ("bridge", NetworkScope::Local),
        SwarmState::Manager { .. } | SwarmState::Worker { .. } => ("overlay", NetworkScope::Swarm),
        SwarmState::Pending | SwarmState::Locked | SwarmState::Error { .. } => {
            return Some("the server's Swarm is not in working order".to_owned());
        }
    };
    if !is_docker_name(name) {
        Some("a name like that cannot be declared".to_owned())
    } else if same_name > 1 {
        Some(format!("{same_name} networks have that name"))
    } else if let Some(other) = prefixed {
        Some(format!("its name is also the beginning of the id of {:?}", other.name))
    } else if network.driver != driver || network.scope != scope {
        Some(match driver {
            "bridge" => {
                format!("its driver is {:?}, and a destination on this server is a bridge network", network.driver)
            }
            _ => format!(
                "its driver is {:?}, and a destination on a Swarm is an overlay network of the Swarm",
                network.driver
            ),
        })
    } else {
        None
    }
}

/// What the manifest's schema allows as the name of a network.
fn is_docker_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn document(context: &Context<'_>, network: &ObservedNetwork, names: &mut Names, ranges: &mut Vec<IpNet>) -> Document {
    let mut comments = Vec::new();
    let key = names.take(Kind::Destination, &context.namespace, &network.name, "network", &[&context.server.name]);
    let mut metadata = metadata(&key);
    if let Some((sentence, annotations)) = maker(network) {
        comments.push(sentence);
        metadata.annotations = annotations;
    }
    let proxy = match &context.proxy {
        None => true,
        Some(proxy) if proxy.is_on(context.state, network) => true,
        Some(proxy) => {
            comments.push(format!(
                "The proxy {:?} is not on it; without `proxy: false` it would be connected.",
                proxy.name()
            ));
            false
        }
    };
    pinned(context, network, &mut comments);
    if let SwarmState::Worker { manager_addresses, .. } = &context.state.engine.swarm {
        comments.push(format!(
            "A network of the Swarm: a manager of it has to be declared as a server too ({}).",
            manager_addresses.join(", ")
        ));
    }
    let spec = DestinationSpec { proxy, ..adopting(context, properties(network, ranges, &mut comments)) };
    Document { comments, object: Object { metadata, spec: Spec::Destination(Box::new(spec)) } }
}

/// `name`, or `namespace/name` from another namespace.
pub(super) fn reference(key: &ObjectKey, namespace: &str) -> ObjectRef {
    ObjectRef(if key.namespace == namespace { key.name.to_string() } else { key.path() })
}

/// The tool that made the network and will want to remove it too.
fn maker(network: &ObservedNetwork) -> Option<(String, BTreeMap<String, String>)> {
    let label = |key: &str| network.labels.get(key).cloned();
    let noted = |keys: &[&str]| {
        keys.iter().filter_map(|key| Some(((*key).to_owned(), network.labels.get(*key)?.clone()))).collect()
    };
    if let (Some(project), Some(own)) = (label(COMPOSE_PROJECT), label(COMPOSE_NETWORK)) {
        let sentence = if own == "default" {
            format!("The default network of the Compose project {project:?}, which it belongs to:")
        } else {
            format!("The network {own:?} of the Compose project {project:?}, which it belongs to:")
        };
        let sentence = format!("{sentence} `docker compose down` removes it.");
        return Some((sentence, noted(&[COMPOSE_PROJECT, COMPOSE_NETWORK])));
    }
    let stack = label(STACK)?;
    Some((format!("Made by the stack {stack:?}, which it belongs to: `docker stack rm` removes it."), noted(&[STACK])))
}

/// Containers that cannot start because they are pinned to a network that had this name.
fn pinned(context: &Context<'_>, network: &ObservedNetwork, comments: &mut Vec<String>) {
    let mut containers: Vec<_> = context.state.containers.iter().filter(|it| !super::members::is_going(it)).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    for container in containers {
        let stale = container.endpoints.iter().any(|endpoint| {
            endpoint.network_name == network.name
                && !is_endpoint_of(endpoint, network)
                && endpoint.network_id.as_ref().is_some_and(|id| context.state.network(id).is_none())
        });
        if stale {
            comments.push(format!(
                "The container {:?} is pinned to a removed network of this name and cannot start again; declared here, it would be repaired.",
                container.name
            ));
        }
    }
}

fn properties(network: &ObservedNetwork, ranges: &mut Vec<IpNet>, comments: &mut Vec<String>) -> NetworkSpec {
    let option = |key: &str| network.options.get(key).map(String::as_str);
    let mtu = option(MTU).and_then(|text| text.parse::<u32>().ok().filter(|mtu| mtu.to_string() == text));
    let mtu = mtu.filter(|mtu| (68..=65_535).contains(mtu));
    if let Some(text) = option(MTU).filter(|_| mtu.is_none()) {
        comments.push(format!("Its MTU is {text:?}, which cannot be declared."));
    }
    let subnets = subnets(network, ranges, comments);
    NetworkSpec {
        name: Some(network.name.clone()),
        aux_addresses: if subnets.is_empty() { BTreeMap::new() } else { aux_addresses(network, comments) },
        subnets: subnets.into(),
        internal: network.internal,
        ipv4: network.ipv4,
        ipv6: network.ipv6,
        icc: option(ENABLE_ICC).is_none_or(is_on),
        mtu,
        // The mere key encrypts, whatever it is set to; only an explicit no does not.
        encrypted: option(ENCRYPTED).is_some_and(|value| value.is_empty() || is_on(value)),
        options: network
            .options
            .iter()
            .filter(|(key, _)| ![MTU, ENABLE_ICC, ENCRYPTED, VXLAN_IDS].contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        labels: network
            .labels
            .iter()
            .filter(|(key, _)| !key.starts_with(OWN_LABELS) && !key.starts_with(COMPOSE_LABELS) && *key != STACK)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

/// Addresses that Docker gives to no container; they would be lost with the network.
fn aux_addresses(network: &ObservedNetwork, comments: &mut Vec<String>) -> BTreeMap<String, String> {
    let all = network.subnets.iter().flat_map(|subnet| subnet.aux_addresses.iter().map(move |it| (subnet, it)));
    let mut found = BTreeMap::new();
    for (subnet, (name, text)) in all {
        let range = subnet.subnet.parse::<IpNet>().ok().map(|range| range.trunc());
        match address(text).filter(|address| range.is_some_and(|range| is_host(&range, *address))) {
            Some(address) => {
                found.insert(name.clone(), address.to_string());
            }
            None => comments.push(format!("Its auxiliary address {name}={text} cannot be declared.")),
        }
    }
    found
}

/// As the engine reads a boolean option.
fn is_on(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// A range that another destination of the server declares cannot be declared twice.
fn subnets(network: &ObservedNetwork, ranges: &mut Vec<IpNet>, comments: &mut Vec<String>) -> Vec<SubnetSpec> {
    let parsed: Vec<(IpNet, &ObservedSubnet)> = network
        .subnets
        .iter()
        .filter_map(|subnet| Some((subnet.subnet.parse::<IpNet>().ok()?.trunc(), subnet)))
        .filter(|(range, _)| network.ipv6 || matches!(range, IpNet::V4(_)))
        .collect();
    if let Some((range, _)) = parsed.iter().find(|(range, _)| ranges.iter().any(|other| overlaps(range, other))) {
        comments.push(format!("Its range {range} overlaps that of another destination and is therefore not declared."));
        return Vec::new();
    }
    ranges.extend(parsed.iter().map(|(range, _)| *range));
    parsed
        .into_iter()
        .map(|(range, subnet)| {
            let gateway = subnet.gateway.as_deref().and_then(address).filter(|gateway| is_host(&range, *gateway));
            let ip_range = subnet.ip_range.as_deref().and_then(|text| text.parse::<IpNet>().ok());
            let ip_range = ip_range.map(|part| part.trunc()).filter(|part| range.contains(part));
            SubnetSpec {
                subnet: range.to_string(),
                gateway: gateway.map(|gateway| gateway.to_string()),
                ip_range: ip_range.map(|part| part.to_string()),
            }
        })
        .collect()
}

fn overlaps(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Tolerates the prefix length that some engine versions append.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}
