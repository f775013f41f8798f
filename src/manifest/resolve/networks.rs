//! What can be said of a network from its manifest alone: kinds of addresses, the name of its bridge, auxiliary addresses.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Placed, Resolver};
use crate::api::{DestinationSpec, DestinationType, NetworkSpec, ObjectKey, Spec};
use crate::desired::{DesiredSubnet, is_host};
use crate::manifest::check::quoted;
use crate::manifest::text::Problem;
use crate::manifest::tree::Step;

/// The option that names the bridge of a network.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// Of Linux.
const INTERFACE_NAME: usize = 15;

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

    pub(super) fn bridge_name(&mut self, at: usize, spec: &DestinationSpec) {
        let Some(name) = bridge_name(spec) else { return };
        let why = if name.len() > INTERFACE_NAME {
            format!(
                "{} is longer than the {INTERFACE_NAME} bytes that Linux allows the name of an interface",
                quoted(name)
            )
        } else if name.is_empty()
            || name == "."
            || name == ".."
            || name.contains(['/', ':'])
            || name.contains(char::is_whitespace)
        {
            format!("{} cannot be the name of an interface", quoted(name))
        } else {
            return;
        };
        let path = ["spec".into(), "network".into(), "options".into(), BRIDGE_NAME.into()];
        self.report(at, &path, |span| Problem::new(span, why));
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

/// The name that the bridge is to have, where the network is one.
fn bridge_name(spec: &DestinationSpec) -> Option<&str> {
    let name = spec.network.options.get(BRIDGE_NAME)?;
    (spec.destination_type != Some(DestinationType::Swarm)).then_some(name)
}
