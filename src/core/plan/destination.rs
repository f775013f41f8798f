//! One destination: finding its network, creating it, comparing it with the manifest, and connecting whoever belongs on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::host::{self, Host, PREDEFINED};
use super::leaving::{self, Fate, Outlook};
use super::member::{self, Members, Target};
use super::operation::{
    Blocker, BlockerKind, Call, Cause, ContainerTarget, FieldDifference, Group, NetworkCreate, NetworkTarget, Note,
    NoteKind, OVERLAY, Operation, Reason, ServerType,
};
use super::{
    Context, Draft, addresses, adoption, applied, arrange, feasible, ownership, pool, proxy, replacement, service,
    start, swarm, workload,
};
use crate::core::api::{DestinationType, Kind, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredNetwork, implied_gateway};
use crate::core::observed::{NetworkId, NetworkScope, ObservedNetwork, ObservedSubnet, OwnAddress, SwarmState};

const ENABLE_ICC: &str = "com.docker.network.bridge.enable_icc";
const MTU: &str = "com.docker.network.driver.mtu";
const ENCRYPTED: &str = "encrypted";

/// What to do about a Swarm's network that stays without addresses.
pub const UNALLOCATED: &str = "the Swarm's address pools are used up, or another network has the declared subnet (its managers log it): remove unused \
     overlay networks, or remove this one and declare another `spec.network.subnets`";

const REPAIR: &str =
    "see what `docker info` says on that server; if managers are gone for good: docker swarm init --force-new-cluster";

/// The network of a declared destination, as far as there is one.
#[derive(Debug)]
pub(super) enum Located<'a> {
    Missing,
    /// Its labels name the set and this destination.
    Owned(&'a ObservedNetwork),
    /// Taken over: it carries no labels, and none can be added.
    Adopted(&'a ObservedNetwork),
    Refused(Note),
}

impl<'a> Located<'a> {
    pub(super) fn network(&self) -> Option<&'a ObservedNetwork> {
        match self {
            Located::Owned(network) | Located::Adopted(network) => Some(network),
            Located::Missing | Located::Refused(_) => None,
        }
    }
}

/// Finds the destination's network by its name, or by its labels where the manifest names none.
pub(super) fn locate<'a>(ctx: &Context<'a>, destination: &DesiredDestination) -> Located<'a> {
    if let Some(note) = unsuitable(ctx, destination) {
        return Located::Refused(note);
    }
    let mut own: Vec<&ObservedNetwork> = ctx.host.verified_of(ctx.set, &destination.key).collect();
    // Two appliers may have created one each: everyone settles on the older.
    own.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let Some(name) = &destination.network.name else {
        return match own.first() {
            Some(network) => ambiguous(ctx, &destination.key, &network.name)
                .or_else(|| in_scope(ctx, destination, network))
                .map_or(Located::Owned(network), Located::Refused),
            None => Located::Missing,
        };
    };
    let refuse = |reason, message: String| Note::refused(reason, &destination.key, message);
    if let Some(other) = prefixed(&ctx.host, name) {
        return Located::Refused(
            refuse(
                Reason::NameAmbiguous,
                format!(
                    "The name {name:?} is also the beginning of the id of the network {:?}, which the daemon may take it for.",
                    other.name
                ),
            )
            .hint("choose another spec.network.name"),
        );
    }
    if let Some((kept, _)) = twins(ctx, destination) {
        return in_scope(ctx, destination, kept).map_or(Located::Owned(kept), Located::Refused);
    }
    let network = match (ctx.host.networks_named(name), own.first()) {
        ([], None) => {
            return promised(ctx, destination, name).map_or(Located::Missing, |other| {
                Located::Refused(
                    refuse(
                        Reason::OwnershipConflict,
                        format!("The network {name:?} belongs to {other}, and its replacement was interrupted."),
                    )
                    .hint("choose another network name, or delete that destination first"),
                )
            });
        }
        // Its replacement was interrupted while there was none: another network of the destination is not what it was renamed from.
        ([], Some(_)) if interrupted_name(ctx, &destination.key).as_ref() == Some(name) => return Located::Missing,
        // The name differs: an immutable field like any other.
        ([], Some(network)) => network,
        ([network, ..], _) => network,
    };
    if let Some(note) = ambiguous(ctx, &destination.key, &network.name) {
        return Located::Refused(note);
    }
    match ctx.host.owner(network) {
        Some(owner) if owner.set != ctx.set => Located::Refused(
            refuse(
                Reason::OwnershipConflict,
                format!("The network {:?} belongs to the set {:?}, and this is {:?}.", network.name, owner.set, ctx.set),
            )
            .hint(format!("choose another network name, or apply with `--set {}`", owner.set)),
        ),
        Some(owner) if owner.destination.as_ref().is_some_and(|of| ctx.joins(destination, network, of)) => {
            in_scope(ctx, destination, network).map_or(Located::Adopted(network), Located::Refused)
        }
        Some(owner) if owner.destination.as_ref() != Some(&destination.key) => {
            let other = owner.destination.as_ref().map_or("no destination".to_owned(), ToString::to_string);
            Located::Refused(
                refuse(
                    Reason::OwnershipConflict,
                    format!("By its labels, the network {:?} belongs to {other}.", network.name),
                )
                .hint(
                    "choose another network name, and members move there without a gap; deleting that destination first takes them off meanwhile",
                ),
            )
        }
        Some(_) => in_scope(ctx, destination, network).map_or(Located::Owned(network), Located::Refused),
        None if destination.adopt => match own.first() {
            Some(own) => Located::Refused(
                refuse(
                    Reason::ImmutableField,
                    format!(
                        "spec.network.name is {:?} on the server and {name:?} in the manifest, and {name:?} exists already.",
                        own.name
                    ),
                )
                .hint(format!("delete the destination first, then adopt {name:?}")),
            ),
            None => in_scope(ctx, destination, network).map_or(Located::Adopted(network), Located::Refused),
        },
        None => Located::Refused(
            refuse(
                Reason::AdoptionRequired,
                format!("A network named {name:?} exists already, and Landfall did not create it."),
            )
            .hint("set `adopt: true` on the destination to take it over, or choose another network name"),
        ),
    }
}

/// Appliers at work together have made a network of that name each, and one of them was stopped before it could remove its own. All of them are
/// this very destination's: the one in use stays, else the oldest, as the appliers would have agreed, and the others go. `None` where there is
/// one network only, or it cannot be told for certain which is needed.
fn twins<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
) -> Option<(&'a ObservedNetwork, Vec<&'a ObservedNetwork>)> {
    let named = ctx.host.networks_named(destination.network.name.as_ref()?);
    let is_own = |network: &ObservedNetwork| {
        let owner = ctx.host.owner(network);
        ctx.host.is_verified(network)
            && owner.is_some_and(|it| it.set == ctx.set && it.destination.as_ref() == Some(&destination.key))
    };
    if named.len() < 2 || !named.iter().all(|network| is_own(network)) {
        return None;
    }
    let mut used = Vec::new();
    for network in named {
        let attached = ctx.host.attached(network);
        // Known by its name only: of which of them nobody can say.
        if attached.iter().any(|it| it.endpoint.network_id.is_none()) {
            return None;
        }
        if !attached.is_empty() {
            used.push(*network);
        }
    }
    let kept = match used.as_slice() {
        [] => named.iter().copied().min_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)))?,
        [used] => used,
        _ => return None,
    };
    Some((kept, named.iter().copied().filter(|network| network.id != kept.id).collect()))
}

/// The destination without a declared name whose network had that name when its replacement was interrupted.
fn promised<'a>(ctx: &Context<'a>, destination: &DesiredDestination, name: &str) -> Option<&'a ObjectKey> {
    let others = ctx.server.destinations.iter().filter(|other| other.key != destination.key);
    let mut nameless = others.filter(|other| other.network.name.is_none() && !ctx.is_deleted(&other.key));
    let has_one = |key: &ObjectKey| ctx.host.verified_of(ctx.set, key).next().is_some();
    nameless
        .find(|other| interrupted_name(ctx, &other.key).is_some_and(|of| of == name) && !has_one(&other.key))
        .map(|other| &other.key)
}

/// Containers that are not running know their networks by name: with two of a name, nobody can tell who belongs where.
pub(super) fn ambiguous(ctx: &Context<'_>, destination: &ObjectKey, name: &str) -> Option<Note> {
    let several = ctx.host.networks_named(name);
    (several.len() > 1).then(|| {
        let ids: Vec<_> = several.iter().map(|network| describe_short(network)).collect();
        Note::refused(
            Reason::NameAmbiguous,
            destination,
            format!("{} networks are named {name:?}: {}.", several.len(), ids.join(", ")),
        )
        .hint("remove the one that is not needed by its id: docker network rm ID")
    })
}

/// A name shorter than this is the beginning of somebody's id by chance, and the daemon looks for names first.
const SHORTEST_PREFIX: usize = 4;

fn prefixed<'a>(host: &Host<'a>, name: &str) -> Option<&'a ObservedNetwork> {
    if name.len() < SHORTEST_PREFIX {
        return None;
    }
    host.state.networks.iter().find(|network| network.id.as_str().starts_with(name) && network.name != name)
}

fn describe_short(network: &ObservedNetwork) -> String {
    format!("{} ({}, {})", network.id.short(), network.driver, scope_word(network.scope))
}

fn scope_word(scope: NetworkScope) -> &'static str {
    match scope {
        NetworkScope::Local => "local",
        NetworkScope::Swarm => "swarm",
        NetworkScope::Global => "global",
    }
}

/// What kind of network the destination is: as the manifest says, else as the network is that was made for it, else as the server gives. That the
/// server joins a Swarm or leaves one makes nothing of another kind.
pub(super) fn class(ctx: &Context<'_>, destination: &DesiredDestination) -> DestinationType {
    if let Some(asserted) = destination.asserted_type {
        return asserted;
    }
    let of_scope = |scope: NetworkScope| match scope {
        NetworkScope::Swarm => DestinationType::Swarm,
        NetworkScope::Local | NetworkScope::Global => DestinationType::Standalone,
    };
    let own = ctx.host.verified_of(ctx.set, &destination.key);
    if let Some(network) = own.min_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id))) {
        return of_scope(network.scope);
    }
    // One that was adopted has no labels; that Landfall has connected somebody to it tells as well.
    let name = destination.network.name.as_deref().filter(|_| destination.adopt);
    if let Some([network]) = name.map(|name| ctx.host.networks_named(name)) {
        let marked = |attached: &host::Attached<'_>| {
            let settings = attached.endpoint.settings.as_ref();
            settings.is_some_and(|settings| applied::is_own(&settings.driver_opts, ctx.set))
        };
        if ctx.host.owner(network).is_none() && ctx.host.attached(network).iter().any(marked) {
            return of_scope(network.scope);
        }
    }
    if was_overlay(ctx, destination).is_some() {
        return DestinationType::Swarm;
    }
    ctx.host.server_type().destination_type()
}

/// What tells that the destination's network is one of a Swarm, though the server gives none now: a daemon that is going down takes itself for
/// standalone for some seconds, and a node that is repaired leaves its Swarm and joins it again.
fn was_overlay(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<String> {
    let key = &destination.key;
    if ctx.host.verified_of(ctx.set, key).any(|it| it.scope == NetworkScope::Swarm) {
        return Some("the server still lists it".to_owned());
    }
    if let Some(name) = &destination.network.name {
        if ctx.host.networks_named(name).iter().any(|network| network.scope == NetworkScope::Swarm) {
            return Some("the server still lists it".to_owned());
        }
        for container in &ctx.host.state.containers {
            let mut endpoints = container.endpoints.iter();
            if endpoints
                .any(|it| it.network_name == *name && it.network_id.as_ref().is_some_and(NetworkId::is_of_swarm))
            {
                return Some(format!("the container {:?} is on it by an id that a Swarm gave out", container.name));
            }
        }
    }
    if ctx.request.overlays.contains(key) {
        return Some("it was one when it was last seen".to_owned());
    }
    ctx.overlays_elsewhere().get(key).map(|server| format!("{server} lists it"))
}

/// The server has no part in a Swarm, and the destination's network has.
fn role_changed(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<Note> {
    let told = was_overlay(ctx, destination)?;
    let message = format!(
        "{} is not part of a Swarm now, and the network of {} is one of a Swarm ({told}): nothing is made, moved or removed.",
        ctx.server.key, destination.key
    );
    Some(Note::waiting(Reason::RoleChanged, &destination.key, message).hint(
        "it goes on when the server is a node of that Swarm again; should it stay out of it, set `type: standalone`",
    ))
}

/// Why the server cannot carry the destination at all.
fn unsuitable(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<Note> {
    let server = &ctx.server.key;
    let refuse = |reason, message: String| Note::refused(reason, &destination.key, message);
    let class = class(ctx, destination);
    match &ctx.host.state.engine.swarm {
        SwarmState::Inactive | SwarmState::Manager { .. } => {}
        // Of no concern to a bridge.
        _ if class == DestinationType::Standalone => {}
        SwarmState::Worker { .. } if ctx.swarm.is_some() => {}
        SwarmState::Worker { manager_addresses, .. } => {
            return Some(swarm::without_manager(ctx.input, server, &destination.key, manager_addresses));
        }
        SwarmState::Pending | SwarmState::Locked | SwarmState::Error { .. } => {
            let (state, hint) = match &ctx.host.state.engine.swarm {
                SwarmState::Locked => ("locked".to_owned(), "docker swarm unlock, on that server"),
                SwarmState::Error { message, .. } => (format!("in error: {}", message.trim_end_matches('.')), REPAIR),
                _ => (
                    "not ready yet".to_owned(),
                    "try again when `docker info` on that server says that its Swarm is active",
                ),
            };
            return Some(
                refuse(Reason::NotASwarmManager, format!("The Swarm that {server} is part of is {state}.")).hint(hint),
            );
        }
    }
    let is = match ctx.host.server_type() {
        ServerType::Standalone => "a standalone server",
        ServerType::Manager => "a Swarm manager",
        _ => "a node of a Swarm",
    };
    if class == DestinationType::Swarm && ctx.host.server_type() == ServerType::Standalone {
        return role_changed(ctx, destination).or_else(|| {
            Some(
                refuse(Reason::WrongScope, format!("spec.type is swarm, and {server} is {is}."))
                    .hint("set `type: standalone`, or leave it out"),
            )
        });
    }
    if class == DestinationType::Standalone && destination.network.encrypted {
        let (why, hint) = match ctx.host.server_type() {
            ServerType::Standalone => (
                format!("{server} is {is}"),
                "remove `encrypted`, or make the server a Swarm manager: docker swarm init",
            ),
            _ => ("the destination is a bridge network".to_owned(), "remove `encrypted`"),
        };
        return Some(
            refuse(Reason::WrongScope, format!("spec.network.encrypted needs an overlay network, and {why}."))
                .hint(hint),
        );
    }
    if let Some(note) = feasible::impossible(ctx, destination, class) {
        return Some(note);
    }
    if class == DestinationType::Swarm && !destination.network.icc {
        return Some(
            refuse(
                Reason::WrongScope,
                format!("spec.network.icc: false needs a bridge network, and {server} is {is}."),
            )
            .hint("remove `icc`"),
        );
    }
    let name = destination.network.name.as_deref()?;
    PREDEFINED.contains(&name).then(|| {
        refuse(Reason::WrongScope, format!("{name:?} is a network of the Docker Engine itself."))
            .hint("choose another spec.network.name")
    })
}

/// A network of another kind than the server gives: taken for something else, it would only do harm.
fn in_scope(ctx: &Context<'_>, destination: &DesiredDestination, network: &ObservedNetwork) -> Option<Note> {
    let (driver, scope, expected) = match class(ctx, destination) {
        DestinationType::Standalone => ("bridge", NetworkScope::Local, "a bridge network"),
        DestinationType::Swarm => (OVERLAY, NetworkScope::Swarm, "an overlay network of the Swarm"),
    };
    // Where the manifest does not say which, the network could be had as it is.
    let bridge = network.driver == "bridge" && network.scope == NetworkScope::Local;
    let hint = match destination.asserted_type {
        None if bridge => "choose another network name, or set `type: standalone`",
        _ => "choose another network name",
    };
    let driver_fits = network.driver == driver || network.is_unallocated();
    let fits = driver_fits && network.scope == scope && !network.ingress;
    (!fits).then(|| {
        Note::refused(
            Reason::WrongScope,
            &destination.key,
            format!(
                "The network {:?} is of driver {:?} and scope {}, and a destination on {} is {expected}.",
                network.name,
                network.driver,
                scope_word(network.scope),
                ctx.server.key
            ),
        )
        .hint(hint)
    })
}

/// The body of the call that creates the destination's network.
pub(super) fn creation(ctx: &Context<'_>, destination: &DesiredDestination, name: Option<&str>) -> NetworkCreate {
    let fresh = ctx.input.ids.get(&destination.key);
    let DesiredNetwork {
        name: declared,
        subnets,
        auto: _,
        aux_addresses,
        internal,
        ipv4,
        ipv6,
        icc: _,
        mtu: _,
        encrypted: _,
        options: _,
        labels,
    } = &destination.network;
    // A network without a declared name keeps the one it has, also if its replacement was interrupted while there was none.
    let name = declared
        .clone()
        .or_else(|| name.map(str::to_owned))
        .or_else(|| interrupted_name(ctx, &destination.key))
        .unwrap_or(fresh.network_name);
    let overlay = class(ctx, destination) == DestinationType::Swarm;
    let mut labels = labels.clone();
    let policy = destination.deletion_policy;
    labels.extend(ownership::labels(&fresh.uid, ctx.set, &destination.key, &name, policy, ctx.source()));
    let others = ctx.host.verified_of(ctx.set, &destination.key).filter(|network| network.name != name);
    NetworkCreate {
        replaces: Vec::new(),
        beside: others.map(|network| network.id.clone()).collect(),
        generated: declared.is_none(),
        name,
        driver: if overlay { OVERLAY } else { "bridge" }.to_owned(),
        attachable: overlay,
        internal: *internal,
        ipv4: *ipv4,
        ipv6: *ipv6,
        subnets: subnets
            .iter()
            .map(|subnet| ObservedSubnet {
                subnet: subnet.subnet.to_string(),
                gateway: subnet.gateway.map(|gateway| gateway.to_string()),
                ip_range: subnet.ip_range.map(|range| range.to_string()),
                aux_addresses: aux_addresses_of(aux_addresses, &subnet.subnet),
            })
            .collect(),
        options: options(&destination.network),
        labels,
    }
}

/// With ranges of the server's pool, where the destination leaves them to Landfall.
pub(super) fn placed(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    create: NetworkCreate,
) -> Result<NetworkCreate, Note> {
    if !destination.network.auto {
        return Ok(create);
    }
    let subnet = |range: IpNet| ObservedSubnet { subnet: range.to_string(), ..ObservedSubnet::default() };
    let subnets = pool::ranges(ctx, destination)?.into_iter().map(subnet).collect();
    Ok(NetworkCreate { subnets, ..create })
}

/// Those within one subnet.
fn aux_addresses_of(all: &BTreeMap<String, IpAddr>, subnet: &IpNet) -> BTreeMap<String, String> {
    let within = all.iter().filter(|(_, address)| subnet.contains(*address));
    within.map(|(name, address)| (name.clone(), address.to_string())).collect()
}

fn interrupted_name(ctx: &Context<'_>, destination: &ObjectKey) -> Option<String> {
    let name = &ctx.journals(destination).last()?.network.name;
    ctx.host.networks_named(name).is_empty().then(|| name.clone())
}

/// Driver options: those written out, and the fields that stand for one.
fn options(network: &DesiredNetwork) -> BTreeMap<String, String> {
    let mut options = network.options.clone();
    if !network.icc {
        options.insert(ENABLE_ICC.to_owned(), "false".to_owned());
    }
    if let Some(mtu) = network.mtu {
        options.insert(MTU.to_owned(), mtu.to_string());
    }
    if network.encrypted {
        options.insert(ENCRYPTED.to_owned(), String::new());
    }
    options
}

/// An observed network as the body of the call that would create it again.
pub(super) fn recreation(network: &ObservedNetwork) -> NetworkCreate {
    let mut options = network.options.clone();
    // Numbers that the Swarm has assigned.
    options.remove("com.docker.network.driver.overlay.vxlanid_list");
    NetworkCreate {
        replaces: Vec::new(),
        beside: Vec::new(),
        generated: false,
        name: network.name.clone(),
        driver: network.driver.clone(),
        attachable: network.attachable,
        internal: network.internal,
        ipv4: network.ipv4,
        ipv6: network.ipv6,
        subnets: network
            .subnets
            .iter()
            .map(|subnet| ObservedSubnet {
                gateway: subnet.gateway.as_deref().and_then(member::address).map(|gateway| gateway.to_string()),
                ..subnet.clone()
            })
            .collect(),
        options,
        labels: network.labels.clone(),
    }
}

/// The immutable fields that differ.
pub fn differences(desired: &DesiredNetwork, network: &ObservedNetwork) -> Vec<FieldDifference> {
    // What is in place of a pool's ranges stays.
    let DesiredNetwork {
        name,
        subnets,
        auto: _,
        aux_addresses,
        internal,
        ipv4,
        ipv6,
        icc,
        mtu,
        encrypted,
        options,
        labels,
    } = desired;
    let mut differences = Vec::new();
    let mut compare = |field: &str, server: &dyn std::fmt::Display, manifest: &dyn std::fmt::Display| {
        let (observed, declared) = (server.to_string(), manifest.to_string());
        if observed != declared {
            differences.push(FieldDifference { field: format!("spec.network.{field}"), observed, declared });
        }
    };
    let option = |key: &str| network.options.get(key).map_or("unset", |value| value.as_str());
    if let Some(name) = name {
        compare("name", &network.name, name);
    }
    if !subnets.is_empty() {
        let families: BTreeSet<bool> = subnets.iter().map(|subnet| matches!(subnet.subnet, IpNet::V6(_))).collect();
        let declared: BTreeSet<_> = subnets.iter().map(|subnet| subnet.subnet.trunc()).collect();
        // A family that is not declared is left to the daemon.
        let observed: Vec<(IpNet, &ObservedSubnet)> = network
            .subnets
            .iter()
            .filter_map(|subnet| Some((subnet.subnet.parse::<IpNet>().ok()?.trunc(), subnet)))
            .filter(|(range, _)| families.contains(&matches!(range, IpNet::V6(_))))
            .collect();
        let ranges: BTreeSet<_> = observed.iter().map(|(range, _)| *range).collect();
        let mut replaced: Vec<_> = observed.iter().filter(|(range, _)| !declared.contains(range)).collect();
        let mut unpaired = false;
        for (at, subnet) in subnets.iter().enumerate() {
            let range = subnet.subnet.trunc();
            let found = observed.iter().find(|(known, _)| *known == range);
            // One that is not there stands in the place of one of its family that is no longer declared.
            let stands_for = |known: &&(IpNet, _)| matches!(known.0, IpNet::V6(_)) == matches!(range, IpNet::V6(_));
            let found = found.or_else(|| replaced.iter().position(stands_for).map(|at| replaced.remove(at)));
            let Some((known, found)) = found else {
                unpaired = true;
                continue;
            };
            compare(&format!("subnets[{at}].subnet"), known, &range);
            let known_range = found.ip_range.as_deref().and_then(|range| range.parse::<IpNet>().ok());
            if let Some(gateway) = subnet.gateway {
                // Not every engine tells the one that it chose.
                let observed = found.gateway.as_deref().and_then(member::address);
                let observed = observed.unwrap_or_else(|| implied_gateway(known, known_range.as_ref()));
                compare(&format!("subnets[{at}].gateway"), &observed, &gateway);
            }
            if let Some(range) = subnet.ip_range {
                let observed = known_range.map_or("unset".to_owned(), |range| range.trunc().to_string());
                compare(&format!("subnets[{at}].ipRange"), &observed, &range.trunc());
            }
        }
        if unpaired || !replaced.is_empty() {
            compare("subnets", &list(&ranges), &list(&declared));
        }
    }
    if !aux_addresses.is_empty() {
        let word = |(name, address): (&String, String)| format!("{name}={address}");
        let declared: BTreeSet<String> =
            aux_addresses.iter().map(|(name, address)| word((name, address.to_string()))).collect();
        let observed = network.subnets.iter().flat_map(|subnet| &subnet.aux_addresses);
        let observed = observed.map(|(name, text)| {
            let address = member::address(text);
            word((name, address.map_or_else(|| text.clone(), |address| address.to_string())))
        });
        compare("auxAddresses", &list(&observed.collect()), &list(&declared));
    }
    compare("internal", &network.internal, internal);
    compare("ipv4", &network.ipv4, ipv4);
    compare("ipv6", &network.ipv6, ipv6);
    if !options.contains_key(ENABLE_ICC) {
        compare("icc", &network.options.get(ENABLE_ICC).is_none_or(|value| is_on(value)), icc);
    }
    if let Some(mtu) = mtu {
        compare("mtu", &option(MTU), mtu);
    }
    if !options.contains_key(ENCRYPTED) {
        // The mere key encrypts, whatever it is set to; only an explicit no does not.
        let observed = network.options.get(ENCRYPTED).is_some_and(|value| value.is_empty() || is_on(value));
        compare("encrypted", &observed, encrypted);
    }
    for (key, value) in options {
        compare(&format!("options.{key}"), &option(key), value);
    }
    for (key, value) in labels {
        compare(&format!("labels.{key}"), &network.labels.get(key).map_or("unset", String::as_str), value);
    }
    differences
}

/// A field that has the value which it has where a manifest does not mention it.
fn is_default(difference: &FieldDifference) -> bool {
    match difference.field.as_str() {
        "spec.network.encrypted" | "spec.network.internal" | "spec.network.ipv6" => difference.declared == "false",
        "spec.network.ipv4" => difference.declared == "true",
        _ => false,
    }
}

/// As the engine reads a boolean option.
fn is_on(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn list<T: ToString>(values: &BTreeSet<T>) -> String {
    if values.is_empty() { "unset".to_owned() } else { values.iter().map(T::to_string).collect::<Vec<_>>().join(", ") }
}

/// The declared range that cannot be had, because another network has it.
pub(super) fn overlap(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    ignored: &BTreeSet<&NetworkId>,
) -> Option<Note> {
    let scope = match class(ctx, destination) {
        DestinationType::Standalone => NetworkScope::Local,
        DestinationType::Swarm => NetworkScope::Swarm,
    };
    let refused = |words: String| Note::refused(Reason::SubnetOverlap, &destination.key, words);
    let in_use = "choose another subnet; `docker network ls` and `docker network inspect` show those in use";
    // An overlay reaches every node of its Swarm, and whoever is on it is on a bridge of its node as well.
    if scope == NetworkScope::Swarm {
        if let Some(words) = ctx.declared_overlap(destination) {
            return Some(refused(words).hint("choose another subnet for one of the two"));
        }
        let subnets = destination.network.subnets.iter().map(|it| it.subnet);
        let mut taken = subnets.filter(|subnet| ctx.host.overlapping(subnet, scope, ignored).is_none());
        let found = taken.find_map(|subnet| Some((subnet, ctx.taken_on_nodes(&subnet, ignored)?)));
        if let Some((subnet, words)) = found {
            return Some(refused(format!("The subnet {subnet} {words}.")).hint(in_use));
        }
    }
    destination.network.subnets.iter().map(|subnet| &subnet.subnet).find_map(|subnet| {
        let overlay = || ctx.host.overlapping(subnet, NetworkScope::Swarm, ignored);
        if let Some((network, occupied)) = ctx.host.overlapping(subnet, scope, ignored).or_else(overlay) {
            let words = format!("The subnet {subnet} overlaps {occupied} of the network {:?}.", network.name);
            return Some(refused(words).hint(in_use));
        }
        let OwnAddress { address, of } = ctx.host.own_address_in(subnet)?;
        let what = of.describe();
        let hint = "the server would be lost with the network; choose a subnet that is nowhere else in use";
        Some(refused(format!("The subnet {subnet} contains {address}, {what}.")).hint(hint))
    })
}

/// Everything that brings one destination to what the manifest says.
pub(super) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    removed: &BTreeSet<&NetworkId>,
) -> Draft {
    let mut draft = Draft::default();
    if destination.suspend {
        draft.notes.push(
            Note::new(
                NoteKind::Suspended,
                Reason::Suspended,
                &destination.key,
                format!("{} is suspended and left as it is.", destination.key),
            )
            .hint("remove `suspend: true` to have it looked after again"),
        );
        wait_for(ctx, destination, Reason::Suspended, "is suspended", &mut draft);
        return draft;
    }
    if let Located::Refused(note) = located {
        draft.notes.push(note.clone());
        let why = if note.kind == NoteKind::Waiting { "waits" } else { "was refused" };
        wait_for(ctx, destination, note.reason, why, &mut draft);
        return draft;
    }
    let mut network = located.network();
    let members = member::resolve(ctx, destination, network);
    let mut handled = BTreeSet::new();
    for twin in twins(ctx, destination).into_iter().flat_map(|(_, others)| others) {
        draft.groups.push(Group {
            object: destination.key.clone(),
            operations: vec![Operation {
                object: destination.key.clone(),
                call: Call::RemoveNetwork { network: NetworkTarget::existing(twin) },
                cause: Cause::NetworkDuplicate,
                disruptive: false,
                undo: None,
            }],
            journal: None,
            completes: Vec::new(),
            needs: Vec::new(),
        });
    }
    match network {
        None => {
            if let Some(other) = ctx.made_for(destination) {
                draft.notes.push(
                    Note::waiting(
                        Reason::NetworkNotFound,
                        &destination.key,
                        format!("{other}, on another node of the Swarm, has not made the network yet."),
                    )
                    .hint("apply again when it has"),
                );
                wait_for(ctx, destination, Reason::NetworkNotFound, "has no network yet", &mut draft);
                return draft;
            }
            if let Some(note) = adoption::awaited(ctx, destination) {
                let reason = note.reason;
                draft.notes.push(note);
                wait_for(ctx, destination, reason, "has no network yet", &mut draft);
                return draft;
            }
            let create = match placed(ctx, destination, creation(ctx, destination, None)) {
                Ok(create) => create,
                Err(note) => {
                    let reason = note.reason;
                    draft.notes.push(note);
                    wait_for(ctx, destination, reason, "was refused", &mut draft);
                    return draft;
                }
            };
            let refused = feasible::uncreatable(ctx, destination, &create, removed);
            if let Some(note) = refused.or_else(|| overlap(ctx, destination, removed)) {
                let reason = note.reason;
                draft.notes.push(note);
                wait_for(ctx, destination, reason, "was refused", &mut draft);
                return draft;
            }
            draft.groups.push(Group {
                object: destination.key.clone(),
                operations: vec![Operation {
                    object: destination.key.clone(),
                    call: Call::CreateNetwork(create),
                    cause: Cause::NetworkMissing,
                    disruptive: false,
                    undo: None,
                }],
                journal: None,
                completes: ctx.journals(&destination.key).cloned().collect(),
                needs: Vec::new(),
            });
        }
        // What it does not show yet is no difference.
        Some(current) if current.is_unallocated() => {
            draft.notes.push(
                Note::refused(
                    Reason::AddressPoolExhausted,
                    &destination.key,
                    format!("The Swarm has given the network {:?} no driver and no addresses.", current.name),
                )
                .hint(UNALLOCATED),
            );
            wait_for(ctx, destination, Reason::AddressPoolExhausted, "has no addresses", &mut draft);
            return draft;
        }
        Some(current) => {
            let mut differences = differences(&destination.network, current);
            if ctx.is_shared(destination, current) {
                // What the destination that made it declares need not be said again.
                differences.retain(|it| !is_default(it));
            }
            if !differences.is_empty() || adoption::is_taken_over(destination, located) {
                let why =
                    replacement::Why { differences: &differences, adopted: matches!(located, Located::Adopted(_)) };
                match replacement::replace(ctx, destination, current, why, &members, removed) {
                    Ok(replaced) => {
                        if why.adopted {
                            draft.notes.extend(adoption::farewell(destination, current));
                        }
                        handled = draft.replace(replaced);
                        network = None;
                    }
                    // It cannot be what the manifest says, and whoever belongs on it is looked after all the same.
                    Err(note) => draft.notes.push(note),
                }
            }
            if network.is_some() {
                match replacement::succeed(ctx, destination, current, &members) {
                    None => {}
                    Some(Ok(succeeded)) => handled = draft.replace(succeeded),
                    Some(Err(note)) => draft.notes.push(note),
                }
            }
        }
    }
    let create = match (network, located.network()) {
        (Some(current), _) => recreation(current),
        (None, replaced) => creation(ctx, destination, replaced.map(|network| network.name.as_str())),
    };
    let target = Target { network, create };
    proxy::converge(ctx, destination, &target, &members, &handled, &mut draft);
    if destination.active {
        draft.notes.extend(members.notes.iter().cloned());
        for wanted in &members.wanted {
            if handled.contains(&wanted.container.id) || host::is_proxy(wanted.container, ctx.server.proxy.as_ref()) {
                continue;
            }
            match member::converge(ctx, destination, &target, &members, wanted, Cause::MemberDetached) {
                Ok(None) => {}
                Ok(Some(mut group)) => {
                    draft.notes.extend(start::after_repair(wanted, &mut group));
                    draft.groups.push(group);
                }
                Err(note) => draft.notes.push(note),
            }
        }
        for wanted in &members.services {
            if !service::is_proxy(wanted.service, ctx.server.proxy.as_ref()) {
                service::attach(ctx, &destination.key, &target, wanted, Cause::MemberDetached, &mut draft);
            }
        }
        draft.notes.extend(member::alias_notes(ctx, destination, located.network(), &members));
    }
    restore(ctx, destination, &target, &members, &handled, &mut draft);
    if destination.active {
        workload::converge(ctx, destination, &target, &mut draft);
        start::resume(ctx, destination, &members, &mut draft);
    }
    arrange::statics_first(ctx, &target, &members, &mut draft.groups);
    if !destination.active {
        start::stop(ctx, destination, &target, &members, &mut draft);
        service::stop(ctx, destination, &target, &members, &mut draft);
    }
    draft
}

/// The members of a destination that is left alone are not connected to it; each says so.
fn wait_for(ctx: &Context<'_>, destination: &DesiredDestination, reason: Reason, why: &str, draft: &mut Draft) {
    for member in &destination.members {
        if member.connect && !ctx.is_deleted(&member.resource) {
            draft.notes.push(Note::waiting(
                reason,
                &member.resource,
                format!("{} {why}; its members are left as they are until that is resolved.", destination.key),
            ));
        }
    }
}

/// Connects whoever an interrupted replacement left behind and nobody else has connected by now.
fn restore<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'_>,
    handled: &BTreeSet<&'a crate::core::observed::ContainerId>,
    draft: &mut Draft,
) {
    let planned: BTreeSet<_> = draft.connected();
    for (container, journals) in ctx.left_behind(destination, target, members) {
        if handled.contains(&container.id) || planned.contains(&container.id) {
            continue;
        }
        let Some(settings) = journals.last().and_then(|journal| member::journalled_settings(journal, &container.id))
        else {
            continue;
        };
        let settings = member::returning_settings(ctx, destination, members, container, settings);
        draft.groups.push(Group {
            object: destination.key.clone(),
            operations: vec![Operation {
                object: destination.key.clone(),
                call: Call::ConnectEndpoint {
                    network: target.call(),
                    container: ContainerTarget::of(container),
                    settings,
                    reserved: addresses::reserved(ctx, target, members, &container.id),
                },
                cause: Cause::JournalRestore,
                disruptive: false,
                undo: None,
            }],
            journal: None,
            completes: journals.into_iter().cloned().collect(),
            needs: Vec::new(),
        });
    }
}

/// Whoever is on the destination's network without being declared there.
pub(super) fn undeclared<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    draft: &mut Draft,
) {
    let Some(network) = located.network().filter(|_| !destination.suspend) else { return };
    let members = member::resolve(ctx, destination, Some(network));
    let replaced = outlook.removed.contains(&network.id);
    let renamed = destination.network.name.as_ref().is_some_and(|name| *name != network.name);
    service::undeclared(ctx, outlook, destination, network, &members, draft);
    for attached in ctx.host.attached(network) {
        // A leftover is not on the network, and the daemon has nothing to disconnect. A service speaks for its tasks.
        let container = attached.container;
        let service = container.labels.get(host::SWARM_SERVICE).and_then(|name| ctx.host.service_named(name));
        if host::is_proxy(container, ctx.server.proxy.as_ref())
            || workload::is_own_proxy(ctx, container)
            || container.is_leftover(attached.endpoint)
            || (host::is_task(container) && service.is_some())
        {
            continue;
        }
        match leaving::fate(ctx, outlook, destination, network, &members, &attached) {
            Fate::Stays => {}
            // He comes to be on another network than the note would name, which is told by itself.
            Fate::Reported(_) if replaced && renamed => {}
            Fate::Reported(note) => draft.notes.push(note),
            // A replacement has disconnected everyone already.
            Fate::Leaves(_) if replaced => {}
            Fate::Leaves(departure) => {
                let call = Call::DisconnectEndpoint {
                    network: NetworkTarget::existing(network),
                    container: ContainerTarget::of(container),
                    force: false,
                };
                draft.leave(departure, call, container.state.is_live());
            }
        }
    }
}

/// A declared resource, as a blocker.
pub(super) fn declared_blocker(destination: &ObjectKey, resource: &ObjectKey) -> Blocker {
    let kind = match resource.kind {
        Kind::Application => BlockerKind::Application,
        Kind::Database => BlockerKind::Database,
        Kind::Service => BlockerKind::Service,
        Kind::Destination | Kind::Server | Kind::Notifier => BlockerKind::Destination,
    };
    let name = if resource.namespace == destination.namespace { resource.name.to_string() } else { resource.path() };
    Blocker { kind, name, state: "declared".to_owned(), server: None }
}
