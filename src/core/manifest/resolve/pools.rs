//! Address pools of servers, ranges that they keep back, and the destination that is a server's default.

use ipnet::IpNet;

use super::{Reference, Resolver, subnet_path};
use crate::core::api::{Kind, ObjectKey, Spec, SubnetPoolSpec};
use crate::core::desired::Pool;
use crate::core::manifest::range;
use crate::core::manifest::text::Problem;
use crate::core::manifest::tree::Step;

impl Resolver<'_> {
    pub(super) fn subnet_pool(&mut self, at: usize, spec: &SubnetPoolSpec) -> Option<Pool> {
        let SubnetPoolSpec { ranges, prefix_length, prefix_length_v6 } = spec;
        let mut found: Vec<IpNet> = Vec::with_capacity(ranges.len());
        let mut whole = true;
        if ranges.is_empty() {
            self.report_absent(at, &["spec".into(), "subnetPool".into(), "ranges".into()], |span| {
                Problem::new(span, "the pool has no ranges").hint("such as `ranges: [10.64.0.0/12]`")
            });
            return None;
        }
        for (number, text) in ranges.iter().enumerate() {
            let path = [Step::Key("spec"), "subnetPool".into(), "ranges".into(), number.into()];
            let Some(range) = self.range(at, &path, text) else {
                whole = false;
                continue;
            };
            let (field, prefix) = match range {
                IpNet::V4(_) => ("prefixLength", *prefix_length),
                IpNet::V6(_) => ("prefixLengthV6", *prefix_length_v6),
            };
            let other = found.iter().find(|other| overlap(other, &range)).copied();
            let problem = if let Some(why) = range::unusable(&range) {
                Some(why)
            } else if range.prefix_len() > prefix {
                Some(format!("no network of /{prefix} (`{field}`) fits into {range}"))
            } else {
                other.map(|other| format!("{range} overlaps {other} of the same pool"))
            };
            match problem {
                Some(problem) => {
                    whole = false;
                    self.report(at, &path, |span| Problem::new(span, problem));
                }
                None => found.push(range),
            }
        }
        whole.then_some(Pool { ranges: found, prefix_v4: *prefix_length, prefix_v6: *prefix_length_v6 })
    }

    pub(super) fn reserved(&mut self, at: usize, ranges: &[String]) -> Vec<IpNet> {
        let mut found = Vec::with_capacity(ranges.len());
        for (number, text) in ranges.iter().enumerate() {
            found.extend(self.range(at, &["spec".into(), "reservedRanges".into(), number.into()], text));
        }
        found
    }

    /// What only destinations and servers together can get wrong of it.
    pub(super) fn pools(&mut self) {
        let mut without: Vec<(usize, ObjectKey)> = Vec::new();
        let mut lacking: Vec<(usize, &'static str, ObjectKey)> = Vec::new();
        let mut clashes: Vec<(usize, usize, IpNet, IpNet, ObjectKey)> = Vec::new();
        for placed in self.destinations.values() {
            let Some(server) = self.servers.get(&placed.server) else { continue };
            let network = &placed.destination.network;
            if network.auto {
                // What is wrong with a pool is reported where it is.
                let declared = self.at(&server.key).and_then(|at| self.get(at)).map(|loaded| &loaded.object.spec);
                let declared = matches!(declared, Some(Spec::Server(spec)) if spec.subnet_pool.is_some());
                match &server.pool {
                    None if !declared => without.push((placed.at, server.key.clone())),
                    None => {}
                    Some(pool) => {
                        let lacks = |v6: bool| !pool.ranges.iter().any(|range| matches!(range, IpNet::V6(_)) == v6);
                        for (family, wanted, v6) in [("IPv4", network.ipv4, false), ("IPv6", network.ipv6, true)] {
                            if wanted && lacks(v6) {
                                lacking.push((placed.at, family, server.key.clone()));
                            }
                        }
                    }
                }
            }
            // An adopted network is there already, whatever it is.
            for (number, subnet) in placed.subnets().filter(|_| !placed.destination.adopt) {
                if let Some(range) = server.reserved.iter().find(|range| overlap(range, &subnet.subnet)) {
                    clashes.push((placed.at, number, subnet.subnet, *range, server.key.clone()));
                }
            }
        }
        let subnets = [Step::Key("spec"), "network".into(), "subnets".into()];
        for (at, server) in without {
            self.report(at, &subnets, |span| {
                Problem::new(span, format!("server `{}` has no `subnetPool` to take a range from", server.path()))
                    .hint("give it one, such as `subnetPool: { ranges: [10.64.0.0/12] }`")
            });
        }
        for (at, family, server) in lacking {
            self.report(at, &subnets, |span| {
                let message = format!("the subnetPool of server `{}` has no {family} range", server.path());
                Problem::new(span, message).hint(match family {
                    "IPv6" => "such as fd00:64::/48",
                    _ => "such as 10.64.0.0/12; a network without IPv4 has `ipv4: false`",
                })
            });
        }
        for (at, number, subnet, reserved, server) in clashes {
            self.report(at, &subnet_path(number), |span| {
                let message = format!("{subnet} overlaps {reserved}, which server `{}` reserves", server.path());
                Problem::new(span, message).hint("choose another range, or take it out of `reservedRanges`")
            });
        }
    }

    pub(super) fn default_destination(&mut self, at: usize) {
        let Some(loaded) = self.get(at) else { return };
        let Spec::Server(spec) = &loaded.object.spec else { return };
        let Some(reference) = &spec.default_destination else { return };
        let path = ["spec".into(), "defaultDestination".into()];
        let Reference::Found(key) = self.reference(at, &path, reference, Kind::Destination) else { return };
        let Some(placed) = self.destinations.get(&key) else { return };
        if placed.server != loaded.object.key() {
            let other = placed.server.path();
            self.report(at, &path, |span| {
                Problem::new(span, format!("destination `{}` is on server `{other}`", reference.0))
                    .hint("the default is one of the server's own destinations")
            });
        }
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}
