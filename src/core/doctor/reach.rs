//! Which address the proxy takes for a container, and whether it can be reached from there.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, recreate};
use super::name::{ProxyView, Served, list, word};
use super::routing::Routing;
use super::{Finding, FindingCause};
use crate::core::api::ProxyType;
use crate::core::observed::{ContainerState, EngineEvent, Health, ObservedContainer, ObservedNetwork};

const ICC: &str = "com.docker.network.bridge.enable_icc";

/// What a client sees where the proxy connects to an address that nothing answers at.
fn unreachable(proxy: ProxyType) -> &'static str {
    match proxy {
        ProxyType::Traefik => "504 after 30 s",
        ProxyType::Caddy => "502 after 3 s",
        ProxyType::Nginx => "504 after 60 s, or 502",
        ProxyType::Other => "502 or 504",
    }
}

pub(super) fn findings<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>, served: &Served<'a>) -> Vec<Finding> {
    let container = served.container;
    let mut findings = Vec::new();
    if served.routing.as_ref().is_some_and(|routing| routing.elsewhere) {
        return findings;
    }
    if proxy.containers.iter().any(|it| it.network_mode == "host") {
        // It is in the network of the server, which is on every bridge.
        findings.extend(port(check, proxy, served));
        return findings;
    }
    let reached = check.view.shared(container).unwrap_or(container);
    match container.network_mode.as_str() {
        "host" => findings.extend(host_mode(check, proxy, served)),
        "none" => findings.push(no_network(proxy, container)),
        _ => findings.extend(route(check, proxy, served, reached).or_else(|| isolated(check, proxy, served, reached))),
    }
    if findings.is_empty() {
        findings.extend(port(check, proxy, served));
    }
    findings
}

fn host_mode<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>, served: &Served<'a>) -> Option<Finding> {
    let knows_host = |container: &ObservedContainer| {
        let details = check.details(container);
        details.is_some_and(|details| details.extra_hosts.iter().any(|host| host.starts_with("host.docker.internal")))
    };
    if served.routing.is_none() || proxy.containers.iter().copied().any(knows_host) {
        return None;
    }
    let name = &served.container.name;
    let message =
        format!("{name} uses the server's own network (mode host), where {} does not look for it.", proxy.name);
    let finding = Finding::new(FindingCause::NetworkMode, "502; 504 on a port of the proxy's own", message);
    Some(
        match proxy.proxy_type {
            ProxyType::Traefik => finding
                .evidence(format!("{} takes 127.0.0.1 for it, which is the proxy itself", proxy.name))
                .advice(format!(
                    "run {name} on a network of the proxy, or give {} the extra host host.docker.internal:host-gateway",
                    proxy.name
                )),
            _ => finding.advice(format!("run {name} on a network of the proxy")),
        }
        .fix(recreate(served.container)),
    )
}

fn no_network(proxy: &ProxyView<'_>, container: &ObservedContainer) -> Finding {
    let name = &container.name;
    let message = format!("{name} has no network (mode none): {} finds no address for it.", proxy.name);
    let seen = if proxy.proxy_type == ProxyType::Traefik { "404" } else { "502" };
    Finding::new(FindingCause::NetworkMode, seen, message)
        .advice(format!("run {name} on a network of the proxy"))
        .fix(recreate(container))
}

/// The networks among which the proxy chooses the container's address.
struct Choice<'a> {
    /// Live ones of the container.
    all: Vec<&'a ObservedNetwork>,
    shared: Vec<&'a ObservedNetwork>,
}

impl<'a> Choice<'a> {
    fn of(check: &Check<'a, '_>, container: &'a ObservedContainer) -> Self {
        let all: Vec<_> = check.view.networks_of(container).into_iter().map(|(_, network)| network).collect();
        // A proxy that reads no labels goes by names, and there are none on the default bridge.
        let by_address = check.view.routing(&container.labels).is_some();
        let reachable = |network: &&&ObservedNetwork| {
            check.of_proxy.contains(&network.id) && (by_address || network.name != "bridge")
        };
        let shared = all.iter().filter(reachable).copied().collect();
        Self { all, shared }
    }

    fn named(&self, name: &str) -> Option<&'a ObservedNetwork> {
        self.all.iter().find(|network| network.name == name).copied()
    }

    fn is_shared(&self, network: &ObservedNetwork) -> bool {
        self.shared.iter().any(|shared| shared.id == network.id)
    }
}

/// The network that a label, or the configuration of the proxy, names; and where it says so.
fn asked_for<'c>(
    check: &'c Check<'_, '_>,
    proxy: &ProxyView<'_>,
    routing: Option<&'c Routing>,
) -> Option<(&'c str, String)> {
    let label = routing.and_then(|routing| routing.network.as_deref());
    match proxy.proxy_type {
        ProxyType::Traefik => label.map(|it| (it, format!("the label traefik.docker.network={it}"))).or_else(|| {
            let default = check.manner.network.as_deref();
            default.map(|it| (it, format!("providers.docker.network={it} of {}", proxy.name)))
        }),
        ProxyType::Caddy => label.map(|it| (it, format!("the label caddy_ingress_network={it}"))),
        ProxyType::Nginx | ProxyType::Other => None,
    }
}

fn route<'a>(
    check: &Check<'a, '_>,
    proxy: &ProxyView<'a>,
    served: &Served<'a>,
    reached: &'a ObservedContainer,
) -> Option<Finding> {
    let choice = Choice::of(check, reached);
    let name = &served.container.name;
    if choice.all.is_empty() {
        let message = format!("{name} is on no network: {} finds no address for it.", proxy.name);
        let seen = if proxy.proxy_type == ProxyType::Traefik { "404" } else { "502" };
        let finding = Finding::new(FindingCause::MemberNotOnNetwork, seen, message);
        return Some(connect(check, proxy, served, &choice, finding));
    }
    let asked = asked_for(check, proxy, served.routing.as_ref());
    if let Some((wanted, where_from)) = &asked {
        let on = choice.named(wanted);
        if let Some(network) = on {
            return (!choice.is_shared(network)).then(|| apart(check, proxy, served, &choice, Some(network)));
        }
        // The label of Caddy is taken at its word; Traefik falls back to any network that the container has.
        let fails = proxy.proxy_type == ProxyType::Caddy || choice.shared.len() < choice.all.len();
        return fails.then(|| wrong_name(check, proxy, served, &choice, wanted, where_from));
    }
    if let Some(ingress) = check.manner.ingress.as_ref().filter(|_| served.routing.is_some()) {
        let on: Vec<_> = choice.all.iter().filter(|network| ingress.contains(&network.name)).copied().collect();
        return match on.iter().find(|network| !choice.is_shared(network)) {
            _ if on.is_empty() => {
                let wanted = list(ingress.iter().map(String::as_str));
                let where_from = format!("CADDY_INGRESS_NETWORKS of {}", proxy.name);
                Some(wrong_name(check, proxy, served, &choice, &wanted, &where_from))
            }
            Some(network) if on.len() == 1 => Some(apart(check, proxy, served, &choice, Some(network))),
            _ => None,
        };
    }
    if choice.shared.is_empty() {
        return Some(apart(check, proxy, served, &choice, None));
    }
    let ambiguous = proxy.proxy_type == ProxyType::Traefik && choice.shared.len() < choice.all.len();
    ambiguous.then(|| {
        let apart: Vec<&str> = choice
            .all
            .iter()
            .filter(|network| !choice.is_shared(network))
            .map(|network| network.name.as_str())
            .collect();
        let message = format!(
            "{name} is on several networks, no label says which one {} is to take, and it takes any of them.",
            proxy.name
        );
        let shared = choice.shared[0];
        let finding = Finding::new(FindingCause::AmbiguousNetwork, "200 or 504 after 30 s, as chance has it", message)
            .network(&shared.name);
        compose_networks(relation(finding, check, proxy, served, &choice), served, &choice)
            .evidence(format!("{} is not on {}", proxy.name, list(apart)))
            .advice(format!("set the label traefik.docker.network={} and make the container anew", shared.name))
            .fix(recreate(served.container))
    })
}

/// Networks that a Compose file defines beside its default one keep its services from that.
fn compose_networks(finding: Finding, served: &Served<'_>, choice: &Choice<'_>) -> Finding {
    let label = |labels: &BTreeMap<String, String>, key: &str| labels.get(key).cloned();
    let Some(project) = label(&served.container.labels, "com.docker.compose.project") else { return finding };
    let own = choice.all.iter().filter(|network| {
        label(&network.labels, "com.docker.compose.project").is_some_and(|it| it == project)
            && label(&network.labels, "com.docker.compose.network").is_some_and(|it| it != "default")
    });
    own.fold(finding, |finding, network| {
        finding.evidence(format!("the Compose file of {project} defines {} under `networks:`", network.name))
    })
}

/// Who is on what.
fn relation(
    finding: Finding,
    check: &Check<'_, '_>,
    proxy: &ProxyView<'_>,
    served: &Served<'_>,
    choice: &Choice<'_>,
) -> Finding {
    let of_proxy = check.of_proxy.iter().filter_map(|id| check.view.networks.get(id)).map(|it| it.name.as_str());
    finding
        .evidence(format!("{} is on {}", served.container.name, list(choice.all.iter().map(|it| it.name.as_str()))))
        .evidence(format!("{} is on {}", proxy.name, list(of_proxy)))
}

/// The proxy is not on the network over which it would reach the container.
fn apart<'a>(
    check: &Check<'a, '_>,
    proxy: &ProxyView<'a>,
    served: &Served<'a>,
    choice: &Choice<'a>,
    over: Option<&ObservedNetwork>,
) -> Finding {
    let name = &served.container.name;
    let namesake = choice.all.iter().find(|network| {
        let mut of_proxy = check.of_proxy.iter().filter_map(|id| check.view.networks.get(id));
        of_proxy.any(|other| other.name == network.name && other.id != network.id)
    });
    if let Some(network) = namesake {
        let message = format!(
            "There are two networks named {}: {} is on one, and {name} on the other.",
            network.name, proxy.name
        );
        let finding = Finding::new(FindingCause::NetworkNameTwice, unreachable(proxy.proxy_type), message);
        let finding =
            check.view.network_named(&network.name).iter().fold(finding.network(&network.name), |finding, it| {
                finding.evidence(format!("{} {} of scope {}", it.id.short(), it.name, scope(it)))
            });
        return finding
            .advice(format!("remove the one with the proxy only, once {name} is reached over the other"))
            .fix(format!("docker network connect {} {}", network.id.short(), word(&proxy.name)));
    }
    let declared = served.destination.filter(|destination| destination.proxy && !destination.suspend);
    let declared = declared.and_then(|destination| destination.network.name.as_deref());
    if let Some(wanted) = declared.filter(|wanted| over.is_none() && choice.named(wanted).is_none()) {
        let message = format!("{name} is not on {wanted}, where it is declared, and on no network of {}.", proxy.name);
        let finding = Finding::new(FindingCause::MemberNotOnNetwork, unreachable(proxy.proxy_type), message);
        return relation(finding, check, proxy, served, choice).network(wanted).fix("landfall apply");
    }
    let message = match over {
        Some(network) => format!("{} is not on {}, over which it is to reach {name}.", proxy.name, network.name),
        None => format!("{} is on none of the networks of {name}.", proxy.name),
    };
    let finding = Finding::new(FindingCause::ProxyNotOnNetwork, unreachable(proxy.proxy_type), message);
    let finding = compose_networks(relation(finding, check, proxy, served, choice), served, choice);
    let Some(network) = over.or_else(|| preferred(check, served, choice)) else { return finding };
    let finding = finding.network(&network.name);
    if proxy.is_service {
        return finding.fix(format!(
            "docker service update --network-add {} {}",
            word(&network.name),
            word(&proxy.name)
        ));
    }
    match check.view.destination(&network.name).filter(|it| it.proxy && it.active && proxy.declared) {
        Some(_) => finding.fix("landfall apply"),
        None => finding.fix(format!("docker network connect {} {}", word(&network.name), word(&proxy.name))),
    }
}

/// The network of a destination of the container's, else any that is not the engine's own.
fn preferred<'a>(check: &Check<'a, '_>, served: &Served<'a>, choice: &Choice<'a>) -> Option<&'a ObservedNetwork> {
    let declared = served.destination.and_then(|destination| destination.network.name.as_deref());
    declared
        .and_then(|name| choice.named(name))
        .or_else(|| choice.all.iter().find(|network| check.view.destination(&network.name).is_some()).copied())
        .or_else(|| choice.all.iter().find(|network| network.name != "bridge").copied())
        .or_else(|| choice.all.first().copied())
}

/// Puts the container where the proxy is.
fn connect<'a>(
    check: &Check<'a, '_>,
    proxy: &ProxyView<'a>,
    served: &Served<'a>,
    choice: &Choice<'a>,
    finding: Finding,
) -> Finding {
    let finding = relation(finding, check, proxy, served, choice);
    let wanted = served.routing.as_ref().and_then(|routing| routing.network.as_deref());
    let declared = served.destination.and_then(|destination| destination.network.name.as_deref());
    match (declared, wanted) {
        (Some(network), _) => finding.network(network).fix("landfall apply"),
        (None, Some(network)) => {
            let command = format!("docker network connect {} {}", word(network), word(&served.container.name));
            look_again(proxy, finding.network(network).fix(command))
        }
        (None, None) => finding,
    }
}

/// Traefik reads addresses when a container starts, and not when one is connected.
fn look_again(proxy: &ProxyView<'_>, finding: Finding) -> Finding {
    match proxy.containers.first().filter(|_| proxy.proxy_type == ProxyType::Traefik) {
        Some(traefik) => finding.fix(nudge(traefik)),
        None => finding,
    }
}

/// The start and end of a container of the proxy's own image, which is always there.
fn nudge(traefik: &ObservedContainer) -> String {
    format!("docker run --rm --network none {} version", word(&traefik.image))
}

/// What is named is none of the container's networks.
fn wrong_name<'a>(
    check: &Check<'a, '_>,
    proxy: &ProxyView<'a>,
    served: &Served<'a>,
    choice: &Choice<'a>,
    wanted: &str,
    where_from: &str,
) -> Finding {
    let name = &served.container.name;
    let exists = !check.view.network_named(wanted).is_empty();
    let message = match exists {
        true => format!("{name} is not on {wanted}, over which {} is to reach it.", proxy.name),
        false => format!("{} is to reach {name} over {wanted}, and no network has that name.", proxy.name),
    };
    let seen = match proxy.proxy_type {
        ProxyType::Traefik if choice.shared.is_empty() => "504 after 30 s",
        ProxyType::Traefik => "200 or 504 after 30 s, as chance has it",
        _ => "502 or 503",
    };
    let finding = Finding::new(FindingCause::WrongNetworkLabel, seen, message).network(wanted).evidence(where_from);
    let finding = relation(finding, check, proxy, served, choice);
    let member_of = check.view.destination(wanted).filter(|destination| {
        destination.active
            && served.resource.is_some_and(|resource| {
                destination.members.iter().any(|member| member.resource == *resource && member.connect)
            })
    });
    if let Some(destination) = member_of {
        return finding
            .advice(format!("{} is declared on {}: applying connects it", name, destination.key))
            .fix("landfall apply");
    }
    if exists {
        return look_again(proxy, finding.fix(format!("docker network connect {} {}", word(wanted), word(name))));
    }
    // Compose puts the name of the project before that of a network.
    let prefixed = choice
        .all
        .iter()
        .find(|network| network.name.strip_suffix(wanted).is_some_and(|project| project.ends_with('_')));
    let right =
        prefixed.copied().or_else(|| choice.shared.first().copied()).or_else(|| preferred(check, served, choice));
    let finding = match (prefixed, right) {
        (Some(network), _) => finding
            .advice(format!("Compose named the network {}: name that one, and make the container anew", network.name)),
        (None, Some(network)) => finding.advice(format!("name {} instead, and make the container anew", network.name)),
        (None, None) => finding,
    };
    finding.fix(recreate(served.container))
}

fn scope(network: &ObservedNetwork) -> &'static str {
    match network.scope {
        crate::core::observed::NetworkScope::Local => "local",
        crate::core::observed::NetworkScope::Swarm => "swarm",
        crate::core::observed::NetworkScope::Global => "global",
    }
}

/// The network lets its containers speak with nobody but the server.
fn isolated<'a>(
    check: &Check<'a, '_>,
    proxy: &ProxyView<'a>,
    served: &Served<'a>,
    reached: &'a ObservedContainer,
) -> Option<Finding> {
    let choice = Choice::of(check, reached);
    let asked = asked_for(check, proxy, served.routing.as_ref()).and_then(|(name, _)| choice.named(name));
    let over: Vec<&ObservedNetwork> = asked.map_or_else(|| choice.shared.clone(), |network| vec![network]);
    let forbids = |network: &&&ObservedNetwork| network.options.get(ICC).is_some_and(|value| value == "false");
    let network = over.iter().find(forbids).filter(|_| over.iter().all(|network| forbids(&network)))?;
    let name = &served.container.name;
    let message = format!("{} forbids its containers to speak with one another (icc).", network.name);
    let finding = Finding::new(FindingCause::ContainersIsolated, unreachable(proxy.proxy_type), message)
        .network(&network.name)
        .evidence(format!("{ICC}=false, and {name} and {} are both on it", proxy.name));
    Some(match check.view.destination(&network.name) {
        Some(destination) => finding
            .advice(format!("set `spec.network.icc` of {} to true; the network is made anew for it", destination.key))
            .fix("landfall diff"),
        None => finding
            .advice(format!("make {} anew without the option, or have both on another network", network.name))
            .fix(format!("docker network inspect {}", word(&network.name))),
    })
}

/// The port that Traefik takes.
fn port<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>, served: &Served<'a>) -> Option<Finding> {
    let routing = served.routing.as_ref()?;
    let details = check.details(served.container)?;
    let name = &served.container.name;
    let exposed = list(details.exposed.iter().map(u16::to_string).collect::<Vec<_>>().iter().map(String::as_str));
    if proxy.proxy_type == ProxyType::Traefik && routing.ports.is_empty() && details.exposed.is_empty() {
        let message = format!("{name} exposes no port, and no label says which one it listens on.");
        return Some(
            Finding::new(FindingCause::NoPort, "404: Traefik leaves it out", message)
                .advice(
                    "set the label traefik.http.services.NAME.loadbalancer.server.port, or `port` of the Application",
                )
                .fix(recreate(served.container)),
        );
    }
    let wrong = routing.ports.iter().find(|port| !details.exposed.contains(port))?;
    if details.exposed.is_empty() {
        return None;
    }
    let message = format!("The proxy is told port {wrong} of {name}, which exposes {exposed}.");
    Some(
        Finding::new(FindingCause::PortNotExposed, "502 at once, if it does not listen there", message)
            .possible()
            .advice("correct the port in the label, or `port` of the Application")
            .fix(format!("docker exec {} cat /proc/net/tcp", word(name))),
    )
}

/// Routers that two containers define: Traefik drops one that is defined in two ways, and takes one of two that ask for the same.
pub(super) fn conflicts<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>) -> Vec<Finding> {
    if proxy.proxy_type != ProxyType::Traefik {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let considered: Vec<(&Served<'a>, &Routing)> = check
        .served
        .iter()
        .filter(|served| {
            served.container.state == ContainerState::Running
                && matches!(served.container.health, None | Some(Health::Healthy))
        })
        .filter_map(|served| Some((served, served.routing.as_ref()?)))
        .collect();
    let mut by_name = BTreeMap::new();
    let mut by_rule = BTreeMap::new();
    for (served, routing) in &considered {
        for (name, route) in &routing.routes {
            let first = by_name.entry(name).or_insert((served, route));
            if first.1.definition != route.definition {
                let (a, b) = (&first.0.container.name, &served.container.name);
                let message = format!("{a} and {b} define the router {name} differently: Traefik takes neither.");
                findings.push(
                    Finding::new(FindingCause::RouterConflict, "404", message)
                        .container(b)
                        .object(served.resource)
                        .evidence(format!("{a}: {}", first.1.rule))
                        .evidence(format!("{b}: {}", route.rule))
                        .advice(format!("name the router of one of them otherwise, or remove the one that is left over: docker rm -f {}", word(a)))
                        .fix(recreate(served.container)),
                );
                continue;
            }
            if route.rule.is_empty() {
                continue;
            }
            let key = (&route.rule, &route.entrypoints, route.tls, &route.priority);
            let (holder, router) = by_rule.entry(key).or_insert((served, name));
            if holder.container.id != served.container.id && *router != name && !check.alike_by_origin(holder, served) {
                let (a, b) = (&holder.container.name, &served.container.name);
                let message = format!("{a} and {b} both ask for {}: one of them gets every request.", route.rule);
                findings.push(
                    Finding::new(
                        FindingCause::RouteTwice,
                        "the answer of another application, or of an old version",
                        message,
                    )
                    .container(b)
                    .object(served.resource)
                    .evidence(format!("router {router} of {a}"))
                    .evidence(format!("router {name} of {b}"))
                    .advice("remove the one that is left over, or correct its rule")
                    .fix(format!("docker stop {}", word(a))),
                );
            }
        }
    }
    findings
}

impl<'a> Check<'a, '_> {
    /// Made by the same resource or the same service of Compose.
    fn alike_by_origin(&self, a: &Served<'a>, b: &Served<'a>) -> bool {
        (a.resource.is_some() && a.resource == b.resource)
            || (a.container.labels.contains_key("com.docker.compose.project")
                && ["com.docker.compose.project", "com.docker.compose.service"]
                    .iter()
                    .all(|key| a.container.labels.get(*key) == b.container.labels.get(*key)))
    }
}

/// Members that were connected after Traefik has last read addresses.
pub(super) fn stale<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>) -> Vec<Finding> {
    let Some(traefik) = proxy.containers.iter().find(|it| it.state == ContainerState::Running) else {
        return Vec::new();
    };
    // On a Swarm it asks every few seconds.
    if proxy.proxy_type != ProxyType::Traefik || proxy.is_service {
        return Vec::new();
    }
    let events = check.input.events;
    let reads = |event: &&EngineEvent| {
        let action = event.action.as_str();
        event.object_type == "container"
            && (action == "start" || action == "die" || action.starts_with("health_status"))
    };
    let last_read = events.iter().filter(reads).map(|event| event.time_nanos).max();
    let served: BTreeMap<&str, &Served<'a>> = check
        .served
        .iter()
        .filter(|served| served.container.is_serving())
        .map(|served| (served.container.id.as_str(), served))
        .collect();
    let mut findings = Vec::new();
    let mut done = BTreeSet::new();
    for event in events.iter().rev() {
        let is_connect = event.object_type == "network" && event.action == "connect";
        let Some(served) = event.container.as_deref().filter(|_| is_connect).and_then(|id| served.get(id)) else {
            continue;
        };
        let Some((endpoint, network)) =
            check.view.networks_of(served.container).into_iter().find(|(_, network)| network.id.as_str() == event.id)
        else {
            continue;
        };
        if !done.insert((served.container.id.as_str(), network.id.as_str()))
            || last_read.is_some_and(|read| read > event.time_nanos)
            || !check.of_proxy.contains(&network.id)
            || !is_taken(check, proxy, served, network)
        {
            continue;
        }
        // Away and back without anything read in between: Docker mostly gives the same address again, and then all is well.
        let left = events.iter().rev().find(|it| {
            it.object_type == "network"
                && it.action == "disconnect"
                && it.id == event.id
                && it.container == event.container
                && it.time_nanos <= event.time_nanos
        });
        let certain = left.is_none_or(|left| last_read.is_some_and(|read| read >= left.time_nanos));
        let name = &served.container.name;
        let message = format!(
            "{name} was connected to {} after {} last looked, and is not served at its address there.",
            network.name, proxy.name
        );
        let finding = Finding::new(FindingCause::StaleProxyView, "404, or 504 after 30 s", message)
            .container(name)
            .object(served.resource)
            .network(&network.name)
            .evidence(format!("its address is {}", endpoint.ipv4_address))
            .evidence("Traefik reads addresses only when a container starts, dies or changes health, and none did since")
            .advice("any start of a container has Traefik look again; `landfall apply` and `run` do so for what they connect")
            .fix(nudge(traefik));
        findings.push(if certain { finding } else { finding.possible() });
    }
    findings
}

/// Whether Traefik takes the container's address on this network.
fn is_taken<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>, served: &Served<'a>, network: &ObservedNetwork) -> bool {
    let choice = Choice::of(check, served.container);
    match asked_for(check, proxy, served.routing.as_ref()) {
        Some((name, _)) if choice.named(name).is_some() => name == network.name,
        _ => choice.all.len() == 1,
    }
}
