//! What can be said of a network from its manifest alone: kinds of addresses, the name of its bridge, auxiliary addresses.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Placed, Resolver, overlapping, subnet_path};
use crate::core::api::{DestinationSpec, DestinationType, NetworkSpec, ObjectKey, Spec};
use crate::core::desired::{DesiredDestination, DesiredSubnet, is_host};
use crate::core::manifest::check::quoted;
use crate::core::manifest::text::Problem;
use crate::core::manifest::tree::Step;

/// The option that names the bridge of a network.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// The option that says how the names of the containers' interfaces begin; a number follows.
const INTERFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
/// The option that names a container's interface.
pub(super) const INTERFACE: &str = "com.docker.network.endpoint.ifname";
/// Of Linux.
pub(super) const INTERFACE_NAME: usize = 15;
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// What the daemon takes for a boolean.
const BOOLEANS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// Linux does no IPv6 over less.
const IPV6_MTU: u32 = 1280;

impl Resolver<'_> {
    /// Which kinds of addresses the network is to have, and from how many ranges.
    pub(super) fn families(&mut self, at: usize, spec: &DestinationSpec) {
        const NETWORK: [Step<'_>; 2] = [Step::Key("spec"), Step::Key("network")];
        let network = &spec.network;
        if !network.ipv4 && !network.ipv6 {
            self.report(at, &[NETWORK[0], NETWORK[1], "ipv4".into()], |span| {
                Problem::new(span, "a network without IPv4 needs `ipv6: true`: it would have no addresses")
            });
        }
        if spec.destination_type != Some(DestinationType::Standalone) {
            return;
        }
        let parsed = network.subnets.listed().iter().enumerate();
        let parsed = parsed.filter_map(|(number, subnet)| Some((number, subnet.subnet.parse::<IpNet>().ok()?)));
        let (v4, v6): (Vec<_>, Vec<_>) = parsed.partition(|(_, subnet)| matches!(subnet, IpNet::V4(_)));
        for (family, subnets) in [("IPv4", v4), ("IPv6", v6)] {
            for (number, _) in subnets.into_iter().skip(1) {
                let path = [NETWORK[0], NETWORK[1], "subnets".into(), number.into(), "subnet".into()];
                self.report(at, &path, |span| {
                    Problem::new(span, format!("a bridge network has one {family} subnet"))
                        .hint("members that are to be kept apart go to a destination of their own")
                });
            }
        }
    }

    /// What a bridge cannot be made with, or can be made with and then gives its containers an interface that does nothing: of a name that Linux
    /// does not take the daemon says nothing, and calls the container connected.
    pub(super) fn bridge_options(&mut self, at: usize, spec: &DestinationSpec) {
        let network = &spec.network;
        if let Some(mtu) = network.mtu.filter(|mtu| network.ipv6 && *mtu < IPV6_MTU) {
            self.report(at, &["spec".into(), "network".into(), "mtu".into()], |span| {
                Problem::new(span, format!("an MTU of {mtu} carries no IPv6, which needs {IPV6_MTU}"))
                    .hint("declare a larger one, or leave out `ipv6`")
            });
        }
        if spec.destination_type == Some(DestinationType::Swarm) {
            return;
        }
        let problem = |option: &str, value: &str| match option {
            BRIDGE_NAME => not_an_interface(value, INTERFACE_NAME),
            INTERFACE_PREFIX => not_an_interface(value, INTERFACE_NAME - 1),
            MASQUERADE if !BOOLEANS.contains(&value) => Some(format!("{} is neither true nor false", quoted(value))),
            HOST_BINDING if value.parse::<IpAddr>().is_err() => Some(format!("{} is no IP address", quoted(value))),
            _ => None,
        };
        for (option, value) in &network.options {
            if let Some(why) = problem(option, value) {
                let path = ["spec".into(), "network".into(), "options".into(), option.as_str().into()];
                self.report(at, &path, |span| Problem::new(span, why));
            }
        }
    }

    pub(super) fn aux_addresses(
        &mut self,
        at: usize,
        network: &NetworkSpec,
        subnets: &[DesiredSubnet],
    ) -> BTreeMap<String, IpAddr> {
        let mut found: BTreeMap<String, IpAddr> = BTreeMap::new();
        for (name, text) in &network.aux_addresses {
            let path = ["spec".into(), "network".into(), "auxAddresses".into(), name.as_str().into()];
            let Some(address) = self.address(at, &path, text) else { continue };
            let within = subnets.iter().find(|subnet| subnet.subnet.contains(&address));
            let problem = match within {
                // What is wrong with the subnets has been said.
                None if subnets.len() < network.subnets.listed().len() => None,
                None => Some(format!("{address} is within none of the network's subnets")),
                Some(subnet) if !is_host(&subnet.subnet, address) => {
                    Some(format!("{address} is an address of the range {} as a whole", subnet.subnet))
                }
                Some(subnet) if subnet.gateway.unwrap_or_else(|| subnet.implied_gateway()) == address => {
                    Some(format!("{address} is the gateway of {}", subnet.subnet))
                }
                Some(_) => {
                    let same = found.iter().find(|(_, other)| **other == address);
                    same.map(|(other, _)| format!("{address} is the address of `{other}`"))
                }
            };
            match problem {
                Some(message) => self.report(at, &path, |span| Problem::new(span, message)),
                None => {
                    found.insert(name.clone(), address);
                }
            }
        }
        found
    }

    /// Overlays with ranges that overlap on servers which are nodes of one Swarm by what is declared: one destination makes a network of the Swarm,
    /// and one on another server shares it.
    pub(super) fn swarm_overlaps(&mut self) {
        let mut ranges = Vec::new();
        let swarms = self.swarms();
        for placed in self.destinations.values().filter(|it| is_of_swarm(&it.destination)) {
            let Some(swarm) = swarms.get(&placed.server) else { continue };
            for (number, subnet) in placed.destination.network.subnets.iter().enumerate() {
                let range = subnet.subnet;
                ranges.push((swarm, range.network(), range.broadcast(), range, placed.at, number));
            }
        }
        let server = |at: usize| self.destinations.values().find(|placed| placed.at == at).map(|it| it.server.clone());
        let found = overlapping(ranges).into_iter().filter_map(|it| {
            let (here, there) = (server(it.1)?, server(it.4)?);
            (here != there).then_some((it, there))
        });
        for ((range, at, number, other, owner), there) in found.collect::<Vec<_>>() {
            let hint = format!("{other} is of {} on {}", self.name(owner), there.path());
            self.report(at, &subnet_path(number), |span| {
                Problem::new(span, format!("{range} overlaps {other} on another node of the same Swarm")).hint(hint)
            });
        }
    }

    /// Servers with the first of those that are part of the same Swarm; of the others nothing is known from the manifests.
    fn swarms(&self) -> HashMap<ObjectKey, ObjectKey> {
        let of_swarm = || self.destinations.values().filter(|placed| is_of_swarm(&placed.destination));
        let name = |placed: &Placed| {
            let it = &placed.destination;
            it.network.name.clone().map(|name| (it.key.namespace.clone(), name))
        };
        // `None`: several make one of that name, each in a Swarm of its own.
        let mut makers: HashMap<_, Option<&ObjectKey>> = HashMap::new();
        for placed in of_swarm().filter(|placed| !placed.destination.adopt) {
            let Some(name) = name(placed) else { continue };
            makers.entry(name).and_modify(|maker| *maker = None).or_insert(Some(&placed.server));
        }
        let sharing = of_swarm().filter(|placed| placed.destination.adopt);
        let pairs: Vec<(&ObjectKey, &ObjectKey)> =
            sharing.filter_map(|placed| Some((&placed.server, (*makers.get(&name(placed)?)?)?))).collect();
        let mut swarms: HashMap<ObjectKey, ObjectKey> = HashMap::new();
        for (one, other) in pairs {
            let first = |key: &ObjectKey| swarms.get(key).unwrap_or(key).clone();
            let (one_first, other_first) = (first(one), first(other));
            let all = one_first.clone().min(other_first.clone());
            for swarm in swarms.values_mut().filter(|it| **it == one_first || **it == other_first) {
                swarm.clone_from(&all);
            }
            swarms.insert(one.clone(), all.clone());
            swarms.insert(other.clone(), all);
        }
        swarms
    }

    /// Two bridges of one name on one server: the second one cannot be made.
    pub(super) fn bridge_names(&mut self) {
        let mut taken: HashMap<(&ObjectKey, &str), usize> = HashMap::new();
        let mut found = Vec::new();
        let mut placed: Vec<&Placed> = self.destinations.values().collect();
        placed.sort_by_key(|placed| placed.at);
        for placed in placed {
            let loaded = self.loaded.get(placed.at).map(|loaded| &loaded.object.spec);
            let Some(Spec::Destination(spec)) = loaded else { continue };
            let Some(name) = bridge_name(spec) else { continue };
            match taken.get(&(&placed.server, name)) {
                None => {
                    taken.insert((&placed.server, name), placed.at);
                }
                Some(first) => found.push((placed.at, *first, name.to_owned(), placed.server.name.clone())),
            }
        }
        for (at, first, name, server) in found {
            let first = self.name(first);
            let path = ["spec".into(), "network".into(), "options".into(), BRIDGE_NAME.into()];
            self.report(at, &path, |span| {
                Problem::new(span, format!("the bridge `{name}` on `{server}` is that of another destination"))
                    .hint(format!("it is the bridge of {first}"))
            });
        }
    }
}

/// Why it cannot be the name of an interface of Linux, or the beginning of one, with at most so many bytes.
pub(super) fn not_an_interface(name: &str, most: usize) -> Option<String> {
    let invalid = name.is_empty()
        || name == "."
        || name == ".."
        || name.contains(['/', ':', '%'])
        || name.contains(char::is_whitespace);
    match name.len() > most {
        true if most < INTERFACE_NAME => Some(format!(
            "{} and a number are longer than the {INTERFACE_NAME} bytes that Linux allows the name of an interface",
            quoted(name)
        )),
        true => Some(format!(
            "{} is longer than the {INTERFACE_NAME} bytes that Linux allows the name of an interface",
            quoted(name)
        )),
        false => invalid.then(|| format!("{} cannot be the name of an interface", quoted(name))),
    }
}

/// The name that the bridge is to have, where the network is one.
fn bridge_name(spec: &DestinationSpec) -> Option<&str> {
    let name = spec.network.options.get(BRIDGE_NAME)?;
    (spec.destination_type != Some(DestinationType::Swarm)).then_some(name)
}

/// What is to be an overlay, whatever its server turns out to be.
fn is_of_swarm(destination: &DesiredDestination) -> bool {
    destination.asserted_type == Some(DestinationType::Swarm)
}
