//! Networks as such: names and aliases that are there twice, ranges that overlap.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Check;
use super::name::word;
use super::{Finding, FindingCause};
use crate::core::observed::{NetworkScope, ObservedContainer, ObservedNetwork};
use crate::core::plan::{overlap, ranges};
use crate::core::subnets;

/// What there is to say of networks whatever the proxy does.
pub(super) fn findings(check: &Check<'_, '_>) -> Vec<Finding> {
    let mut findings = aliases(check);
    findings.extend(overlaps(check));
    findings.extend(exhausted(check));
    findings
}

/// Networks of what is served on which no further container finds an address: the next deploy fails.
fn exhausted(check: &Check<'_, '_>) -> Vec<Finding> {
    let served = check.served.iter().flat_map(|served| check.view.networks_of(served.container));
    let networks: BTreeMap<_, _> = served.map(|(_, network)| (&network.id, network)).collect();
    let full = networks.into_values().flat_map(|network| {
        let subnets = subnets::of_network(network, [check.view.observed]);
        subnets.into_iter().filter(|subnet| subnet.free == Some(0)).map(move |subnet| (network, subnet))
    });
    full.map(|(network, subnet)| {
        let message = format!("All addresses of {} are in use: no further container can start on it.", network.name);
        Finding::new(FindingCause::AddressesExhausted, "as now, until a container is replaced", message)
            .possible()
            .network(&network.name)
            .evidence(format!("{} has {} addresses", subnet.subnet, subnet.total.unwrap_or_default()))
            .advice("free addresses, or give the network a larger subnet; `landfall subnets` shows what is used")
    })
    .collect()
}

/// Who a container is on a network: its replicas may go by the same name.
fn origin(check: &Check<'_, '_>, container: &ObservedContainer) -> Option<String> {
    if let Some((_, member)) = check.view.member(container) {
        return Some(member.resource.to_string());
    }
    let label = |key: &str| container.labels.get(key);
    // Each version of an application has a Compose project service of its own there.
    if let Some((kind, id)) =
        ["coolify.applicationId", "coolify.databaseId"].iter().find_map(|key| Some((key, label(key)?)))
    {
        return Some(format!("{kind} {id}"));
    }
    let of_compose = label("com.docker.compose.project").zip(label("com.docker.compose.service"));
    of_compose
        .map(|(project, service)| format!("the Compose service {project}/{service}"))
        .or_else(|| label(crate::core::plan::SWARM_SERVICE).map(|service| format!("the Swarm service {service}")))
}

/// A name that two different services answer to: every other request reaches the wrong one.
fn aliases(check: &Check<'_, '_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for network in check.view.observed.networks.iter().filter(|network| !is_predefined(network)) {
        let mut taken: BTreeMap<&str, Vec<(&ObservedContainer, Option<String>)>> = BTreeMap::new();
        for container in check.view.observed.containers.iter().filter(|container| container.state.is_live()) {
            let endpoint =
                container.endpoints.iter().find(|endpoint| endpoint.network_id.as_ref() == Some(&network.id));
            let Some(settings) = endpoint.and_then(|endpoint| endpoint.settings.as_ref()) else { continue };
            let names: BTreeSet<&str> = settings.aliases.iter().map(String::as_str).collect();
            for alias in names.into_iter().filter(|alias| *alias != container.id.short() && *alias != container.name) {
                taken.entry(alias).or_default().push((container, origin(check, container)));
            }
        }
        for (alias, holders) in taken {
            let origins: BTreeSet<&String> = holders.iter().filter_map(|(_, origin)| origin.as_ref()).collect();
            let strangers = holders.iter().filter(|(_, origin)| origin.is_none()).count();
            if origins.len() + strangers < 2 {
                continue;
            }
            let names: Vec<&str> = holders.iter().map(|(container, _)| container.name.as_str()).collect();
            let message = format!(
                "The name {alias} on {} belongs to {}: each gets a part of the requests.",
                network.name,
                super::name::list(names)
            );
            // One that is declared to have it keeps it.
            let is_declared = |container: &ObservedContainer| {
                check.view.member(container).is_some_and(|(_, member)| {
                    *member.resource.name == *alias || member.endpoint.aliases.iter().any(|it| *it == *alias)
                })
            };
            let mut others = holders.iter().rev().map(|(container, _)| *container);
            let last = others.find(|it| !is_declared(it)).unwrap_or(holders[holders.len() - 1].0);
            // Whoever is asked for in vain is what it is about.
            let is_served = |it: &&ObservedContainer| check.served.iter().any(|served| served.container.id == it.id);
            let mut asked_for = holders.iter().map(|(container, _)| *container);
            let subject = asked_for.find(is_served).unwrap_or(last);
            let finding =
                Finding::new(FindingCause::AliasTwice, "the answer of another application, now and then", message)
                    .network(&network.name)
                    .container(&subject.name)
                    .object(check.view.member(subject).map(|(_, member)| &member.resource));
            let finding = holders.iter().fold(finding, |finding, (container, origin)| {
                let origin = origin.as_deref().unwrap_or("a container of its own");
                finding.evidence(format!("{} is of {origin}", container.name))
            });
            let finding = finding
                .advice("give one of them another alias")
                .fix(format!("docker network disconnect {} {}", word(&network.name), word(&last.name)))
                .fix(format!(
                    "docker network connect --alias {} {} {}",
                    word(&last.name),
                    word(&network.name),
                    word(&last.name)
                ));
            // Two versions that were started by hand may share a name on purpose.
            findings.push(if strangers == 0 && origins.len() > 1 { finding } else { finding.possible() });
        }
    }
    findings
}

fn is_predefined(network: &ObservedNetwork) -> bool {
    network.ingress || matches!(network.name.as_str(), "bridge" | "host" | "none" | "docker_gwbridge")
}

/// Two networks of a container in the same range: only one of them has the route.
fn overlaps(check: &Check<'_, '_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    let proxy = check.view.proxy.iter().flat_map(|proxy| proxy.containers.iter().copied());
    let served = check.served.iter().map(|served| served.container);
    for container in proxy.chain(served).filter(|container| container.state.is_live()) {
        let networks = check.view.networks_of(container);
        for (at, (_, a)) in networks.iter().enumerate() {
            for (_, b) in &networks[at + 1..] {
                let ours = ranges(a);
                let Some((one, other)) = ours
                    .iter()
                    .find_map(|one| ranges(b).into_iter().find(|other| overlap(one, other)).map(|other| (*one, other)))
                else {
                    continue;
                };
                if !told.insert((a.id.as_str(), b.id.as_str())) {
                    continue;
                }
                let message = format!(
                    "{} is on {} and on {}, whose ranges overlap: only one is reached.",
                    container.name, a.name, b.name
                );
                findings.push(
                    Finding::new(FindingCause::SubnetOverlap, "504, or 502", message)
                        .container(&container.name)
                        .network(&a.name)
                        .evidence(format!("{} has {one}", a.name))
                        .evidence(format!("{} has {other}", b.name))
                        .advice("give one of the networks another subnet")
                        .fix(format!("docker network inspect {} {}", word(&a.name), word(&b.name))),
                );
            }
        }
    }
    let local = || check.view.observed.networks.iter().filter(|network| network.scope == NetworkScope::Local);
    for own in &check.view.observed.engine.addresses {
        // Within one of the engine's networks it depends on that one alone.
        let within: Vec<_> =
            local().filter(|network| ranges(network).iter().any(|range| range.contains(&own.address))).collect();
        let [network] = within.as_slice() else { continue };
        if own.of == crate::core::observed::AddressOf::Client {
            continue;
        }
        let message = format!("{} has the range in which the server's own address {} is.", network.name, own.address);
        findings.push(
            Finding::new(FindingCause::SubnetOverlap, "no connection, from parts of the network", message)
                .network(&network.name)
                .possible()
                .advice("give the network another subnet"),
        );
    }
    findings
}
