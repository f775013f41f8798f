//! The immutable fields of a network, held against the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::core::desired::{DesiredNetwork, DesiredSubnet, implied_gateway};
use crate::core::observed::{ObservedNetwork, ObservedSubnet};
use crate::core::plan::document::target::FieldDifference;
use crate::core::plan::world::applied;

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
    compare_subnets(subnets, network, &mut compare);
    compare_aux_addresses(aux_addresses, network, &mut compare);
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

/// Takes down a field if the two differ: its name, what the server has, what the manifest says.
type Compare<'c> = &'c mut dyn FnMut(&str, &dyn std::fmt::Display, &dyn std::fmt::Display);

fn compare_subnets(subnets: &[DesiredSubnet], network: &ObservedNetwork, compare: Compare<'_>) {
    if subnets.is_empty() {
        return;
    }
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
            let observed = found.gateway.as_deref().and_then(applied::address);
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

fn compare_aux_addresses(declared: &BTreeMap<String, IpAddr>, network: &ObservedNetwork, compare: Compare<'_>) {
    if declared.is_empty() {
        return;
    }
    let word = |(name, address): (&String, String)| format!("{name}={address}");
    let declared: BTreeSet<String> = declared.iter().map(|(name, address)| word((name, address.to_string()))).collect();
    let observed = network.subnets.iter().flat_map(|subnet| &subnet.aux_addresses);
    let observed = observed.map(|(name, text)| {
        let address = applied::address(text);
        word((name, address.map_or_else(|| text.clone(), |address| address.to_string())))
    });
    compare("auxAddresses", &list(&observed.collect()), &list(&declared));
}

/// A field that has the value which it has where a manifest does not mention it.
pub(crate) fn is_default(difference: &FieldDifference) -> bool {
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

const ENABLE_ICC: &str = "com.docker.network.bridge.enable_icc";

const MTU: &str = "com.docker.network.driver.mtu";

const ENCRYPTED: &str = "encrypted";

/// Driver options: those written out, and the fields that stand for one.
pub(crate) fn options(network: &DesiredNetwork) -> BTreeMap<String, String> {
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
