//! What containers ask of their proxy, by the labels that it reads.

use std::collections::{BTreeMap, BTreeSet};

use super::Details;
use crate::core::api::ProxyType;

/// Variables by which proxies are told about networks.
const INGRESS_NETWORKS: &str = "CADDY_INGRESS_NETWORKS";
const TRAEFIK_NETWORK: &str = "TRAEFIK_PROVIDERS_DOCKER_NETWORK";
const TRAEFIK_EXPOSED: &str = "TRAEFIK_PROVIDERS_DOCKER_EXPOSEDBYDEFAULT";

/// The variables that [`Details::settings`] has.
pub fn setting_names() -> [&'static str; 3] {
    [INGRESS_NETWORKS, TRAEFIK_NETWORK, TRAEFIK_EXPOSED]
}

/// Whether the labels ask a proxy of that type for anything.
pub fn is_routed(proxy: ProxyType, labels: &BTreeMap<String, String>) -> bool {
    Routing::read(proxy, labels).is_some()
}

/// What the labels of one container ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Routing {
    /// As the label says; `None`: it says nothing.
    pub(super) enabled: Option<bool>,
    /// The network over which the proxy is to reach it.
    pub(super) network: Option<String>,
    /// By name: of a router of Traefik, or of a site of Caddy.
    pub(super) routes: BTreeMap<String, Route>,
    pub(super) ports: BTreeSet<u16>,
    /// The address is not taken from the container at all.
    pub(super) elsewhere: bool,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// A rule of Traefik, or the addresses of a site of Caddy.
    pub(super) rule: String,
    pub(super) entrypoints: String,
    pub(super) priority: String,
    pub(super) tls: bool,
    /// All that is said of it: two definitions of one name have to be the same.
    pub(super) definition: BTreeMap<String, String>,
}

impl Routing {
    pub(super) fn read(proxy: ProxyType, labels: &BTreeMap<String, String>) -> Option<Self> {
        match proxy {
            ProxyType::Traefik => Self::traefik(labels),
            ProxyType::Caddy => Self::caddy(labels),
            ProxyType::Nginx | ProxyType::Other => None,
        }
    }

    fn traefik(labels: &BTreeMap<String, String>) -> Option<Self> {
        let mut routing = Self::default();
        let (mut http, mut other) = (false, false);
        for (key, value) in labels {
            // Traefik takes no notice of case.
            let key = key.to_ascii_lowercase();
            let Some(rest) = key.strip_prefix("traefik.") else { continue };
            match rest {
                "enable" => routing.enabled = Some(truth(value)),
                "docker.network" | "swarm.network" => routing.network = Some(value.clone()),
                _ => {}
            }
            other |= rest.starts_with("tcp.") || rest.starts_with("udp.");
            let Some(rest) = rest.strip_prefix("http.") else { continue };
            http = true;
            let parts: Vec<&str> = rest.split('.').collect();
            match parts.as_slice() {
                ["routers", name, field @ ..] if !field.is_empty() => {
                    let route = routing.routes.entry((*name).to_owned()).or_default();
                    let field = field.join(".");
                    match field.as_str() {
                        "rule" => route.rule.clone_from(value),
                        "entrypoints" => route.entrypoints.clone_from(value),
                        "priority" => route.priority.clone_from(value),
                        _ => {}
                    }
                    route.tls |= field.starts_with("tls.") || (field == "tls" && truth(value));
                    route.definition.insert(field, value.clone());
                }
                ["services", _, "loadbalancer", "server", "port"] => routing.ports.extend(value.trim().parse::<u16>()),
                ["services", _, "loadbalancer", "server", "url"] => routing.elsewhere = true,
                _ => {}
            }
        }
        let asks = http || (routing.enabled == Some(true) && !other);
        (asks && routing.enabled != Some(false)).then_some(routing)
    }

    fn caddy(labels: &BTreeMap<String, String>) -> Option<Self> {
        let mut routing = Self { network: labels.get("caddy_ingress_network").cloned(), ..Self::default() };
        for (key, value) in labels {
            let site = key.split('.').next().unwrap_or(key);
            let number = site.strip_prefix("caddy").map(|rest| rest.strip_prefix('_').unwrap_or(rest));
            if !number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
                continue;
            }
            if key == site {
                // What begins with a parenthesis is a snippet, and with `@` a matcher: neither is a site.
                if !value.starts_with(['(', '@']) {
                    let route = Route { rule: value.clone(), tls: !value.contains("http://"), ..Route::default() };
                    routing.routes.insert(value.clone(), route);
                }
            } else if key.ends_with("reverse_proxy") {
                let port = value.split_once("{{upstreams").map(|(_, rest)| rest.trim_start());
                let digits = port.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
                routing.ports.extend(digits.and_then(|digits| digits.parse::<u16>().ok()));
                routing.elsewhere |= !value.contains("{{upstreams");
            }
        }
        (!routing.routes.is_empty()).then_some(routing)
    }

    /// Whether one of the two can stand in for the other: they ask for the same.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let rules = |routing: &Self| -> BTreeSet<String> {
            routing.routes.values().map(|route| route.rule.clone()).filter(|rule| !rule.is_empty()).collect()
        };
        !rules(self).is_disjoint(&rules(other))
    }
}

/// As Go reads it.
fn truth(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

/// How the proxy itself was told to go about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// The network that Traefik takes where no label names one.
    pub(super) network: Option<String>,
    /// Traefik passes over containers without `traefik.enable=true`.
    pub(super) only_enabled: bool,
    /// Entry points that its command line defines, in lower case; where there are any, there are no others.
    pub(super) entry_points: BTreeSet<String>,
    /// The networks over which Caddy reaches what it serves; `None`: its own.
    pub(super) ingress: Option<BTreeSet<String>>,
}

impl Manner {
    pub(super) fn read(details: Option<&Details>) -> Self {
        let Some(details) = details else { return Self::default() };
        let set = |name: &str| details.settings.get(name).filter(|value| !value.trim().is_empty());
        let mut manner = Self {
            network: set(TRAEFIK_NETWORK).cloned(),
            only_enabled: set(TRAEFIK_EXPOSED).is_some_and(|value| !truth(value)),
            entry_points: BTreeSet::new(),
            ingress: set(INGRESS_NETWORKS).map(|list| list.split(',').map(|name| name.trim().to_owned()).collect()),
        };
        // A shell may stand before it: `sh -c "exec traefik --providers…"`.
        for word in details.command.iter().flat_map(|argument| argument.split_whitespace()) {
            let Some((flag, value)) = word.trim_start_matches('-').split_once('=') else { continue };
            let flag = flag.to_ascii_lowercase();
            if let Some((name, _)) = flag.strip_prefix("entrypoints.").and_then(|rest| rest.split_once('.')) {
                manner.entry_points.insert(name.to_owned());
            }
            match flag.as_str() {
                "providers.docker.network" | "providers.swarm.network" => manner.network = Some(value.to_owned()),
                "providers.docker.exposedbydefault" | "providers.swarm.exposedbydefault" => {
                    manner.only_enabled = !truth(value)
                }
                _ => {}
            }
        }
        manner
    }
}

/// Whether a rule of Traefik, or the address of a site of Caddy, may take a request to the host. What cannot be told may.
pub(super) fn may_take(proxy: ProxyType, rule: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    match proxy {
        ProxyType::Traefik => {
            let lower = rule.to_ascii_lowercase();
            if lower.contains("hostregexp(") || lower.contains("hostsni") || lower.contains('!') {
                return true;
            }
            let mut hosts = lower.split("host(").skip(1).flat_map(|rest| {
                rest.split(')').next().unwrap_or_default().split(',').map(|it| it.trim().trim_matches(['`', '"']))
            });
            let first = hosts.next();
            first.is_none_or(|first| first == host || hosts.any(|it| it == host))
        }
        _ => rule.split([' ', ',']).filter(|it| !it.is_empty()).any(|address| {
            let address = address.split_once("://").map_or(address, |(_, rest)| rest);
            let name = address.split('/').next().unwrap_or_default().to_ascii_lowercase();
            let name = name.rsplit_once(':').map_or(name.as_str(), |(name, _)| name);
            name.is_empty() || name == host || name.contains(['*', '{'])
        }),
    }
}
