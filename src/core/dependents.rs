//! What refers to a destination from outside of it: shown before the destination is deleted, because Docker knows nothing of it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::core::api::ObjectKey;
use crate::core::desired::DesiredState;
use crate::core::observed::{ContainerState, NetworkId, ObservedContainer, ObservedNetwork};
use crate::core::workload::Value;
use crate::core::workload::routes::Route;

/// The destination in question, by everything that others may know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub network: NetworkId,
    pub network_name: String,
    pub subnets: Vec<IpNet>,
    /// Names and aliases of its members, attached or declared.
    pub names: BTreeSet<String>,
}

impl Subject {
    /// `members`: the containers that are on the network, and those that declared resources select. The proxy is none.
    pub fn new<'a>(
        network: &ObservedNetwork,
        members: impl IntoIterator<Item = &'a ObservedContainer>,
        declared_aliases: impl IntoIterator<Item = &'a String>,
    ) -> Self {
        let mut names: BTreeSet<String> = declared_aliases.into_iter().cloned().collect();
        for member in members {
            names.insert(member.name.clone());
            let endpoint = member.endpoints.iter().find(|endpoint| is_on(endpoint, &network.id, &network.name));
            if let Some(settings) = endpoint.and_then(|endpoint| endpoint.settings.as_ref()) {
                // The daemon adds the container's own short id to the aliases.
                names.extend(settings.aliases.iter().filter(|alias| *alias != member.id.short()).cloned());
            }
        }
        let subnets = network.subnets.iter().filter_map(|subnet| subnet.subnet.parse().ok()).collect();
        Self { network: network.id.clone(), network_name: network.name.clone(), subnets, names }
    }
}

/// One reference. It never holds a value of an environment variable, only what of the destination was found in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reference {
    pub container: String,
    pub state: &'static str,
    #[serde(flatten)]
    pub what: Referring,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind")]
pub enum Referring {
    /// An environment variable holds a member's name or address, or the network's name.
    Environment { variable: String, mentions: String },
    /// The container is on this destination and on other networks as well.
    AlsoOn { networks: Vec<String> },
    /// A label tells a proxy to reach the container through this network.
    ProxyLabel { label: String },
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} ({})", self.container, self.state)?;
        match &self.what {
            Referring::Environment { variable, mentions } => {
                write!(f, ", whose environment variable {variable} mentions {mentions}")
            }
            Referring::AlsoOn { networks } => write!(f, ", which is also on {}", networks.join(", ")),
            Referring::ProxyLabel { label } => write!(f, ", whose label {label} names the network"),
        }
    }
}

/// Labels whose value is the name of the network that a proxy goes through.
const PROXY_NETWORK_LABELS: [&str; 4] =
    ["traefik.docker.network", "traefik.swarm.network", "caddy_ingress_network", "caddy.ingress_network"];

/// Networks of every engine: nobody's destination.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// A container as inspect shows it.
#[derive(Debug, Clone, Copy)]
pub struct Inspected<'a> {
    /// With the settings of its endpoints.
    pub container: &'a ObservedContainer,
    /// `NAME=value`.
    pub env: &'a [String],
}

/// Everything among `containers` that refers to the destination. `proxy`: name of the server's proxy container.
pub fn references<'a>(
    subject: &Subject,
    containers: impl IntoIterator<Item = Inspected<'a>>,
    proxy: Option<&str>,
) -> Vec<Reference> {
    let mut found = BTreeSet::new();
    for Inspected { container, env } in containers {
        let refer = |what| Reference {
            container: container.name.clone(),
            state: ContainerState::as_str(container.state),
            what,
        };
        let is_proxy = proxy == Some(container.name.as_str());
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            container.endpoints.iter().partition(|endpoint| is_on(endpoint, &subject.network, &subject.network_name));

        found.extend(routes_through(&subject.network_name, container).map(&refer));
        let elsewhere: Vec<String> = elsewhere
            .iter()
            .map(|endpoint| endpoint.network_name.clone())
            .filter(|name| !PREDEFINED.contains(&name.as_str()))
            .collect();
        if !here.is_empty() && !is_proxy && !elsewhere.is_empty() {
            found.insert(refer(Referring::AlsoOn { networks: elsewhere }));
        }
        // Members know each other from within. The proxy is on the network without belonging to it.
        if here.is_empty() || is_proxy {
            for (variable, value) in env.iter().filter_map(|entry| entry.split_once('=')) {
                if let Some(mentions) = mentioned(subject, value).filter(|name| *name != container.name) {
                    found.insert(refer(Referring::Environment { variable: variable.to_owned(), mentions }));
                }
            }
        }
    }
    found.into_iter().collect()
}

/// The labels by which a proxy would reach this container through the network.
pub fn routes_through<'a>(
    network_name: &'a str,
    container: &'a ObservedContainer,
) -> impl Iterator<Item = Referring> + 'a {
    PROXY_NETWORK_LABELS
        .into_iter()
        .filter(move |label| container.labels.get(*label).is_some_and(|value| value == network_name))
        .map(|label| Referring::ProxyLabel { label: label.to_owned() })
}

/// A declared resource elsewhere that needs something of the destination.
pub fn declared_elsewhere(subject: &Subject, desired: &DesiredState, destination: &ObjectKey) -> Vec<String> {
    let here: BTreeSet<&ObjectKey> = desired
        .all_servers()
        .flat_map(|server| &server.destinations)
        .filter(|it| it.key == *destination)
        .flat_map(|it| it.members.iter().map(|member| &member.resource))
        .collect();
    let mut found = BTreeSet::new();
    for other in desired.all_servers().flat_map(|it| &it.destinations).filter(|it| it.key != *destination) {
        for member in other.members.iter().filter(|member| !here.contains(&member.resource)) {
            let Some(workload) = &member.workload else { continue };
            let (resource, on) = (&member.resource, other.key.path());
            for needed in workload.depends_on.iter().filter(|needed| here.contains(needed)) {
                found.insert(format!("{resource} on {on}, which depends on {needed}"));
            }
            for (place, value) in workload.container.values() {
                let text = match value {
                    Value::Literal(text) => Some(text.as_str()),
                    Value::Secret(secret) => secret.expose(),
                };
                if let Some(mentions) = text.and_then(|text| mentioned(subject, text)) {
                    found.insert(format!("{resource} on {on}, whose {place} mentions {mentions}"));
                }
            }
        }
    }
    found.into_iter().collect()
}

/// A line of a load balancer's configuration that names the destination, one of its members or an address of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// From 1.
    pub line: usize,
    pub mentions: String,
}

/// Reads the configuration of a Caddy or a Traefik, whatever its syntax: comments count for nothing. `server`: by which names and addresses the
/// server goes for others.
pub fn in_configuration(subject: &Subject, server: &BTreeSet<String>, text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = match line.find('#') {
            // Within a word it begins no comment.
            Some(at) if at == 0 || line[..at].ends_with(char::is_whitespace) => &line[..at],
            _ => line,
        };
        let of_server = || words(line).find(|word| server.contains(*word)).map(str::to_owned);
        if let Some(mentions) = mentioned(subject, line).or_else(of_server) {
            found.push(Mention { line: number + 1, mentions });
        }
    }
    found
}

/// What a running proxy would send requests to, of what it tells of its configuration: addresses that are the destination's.
pub fn routed(subject: &Subject, configuration: &serde_json::Value) -> BTreeSet<String> {
    fn walk(subject: &Subject, value: &serde_json::Value, depth: usize, found: &mut BTreeSet<String>) {
        if depth > 64 {
            return;
        }
        match value {
            serde_json::Value::Array(all) => all.iter().for_each(|it| walk(subject, it, depth + 1, found)),
            serde_json::Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        serde_json::Value::String(text) if matches!(key.as_str(), "url" | "address" | "dial") => {
                            found.extend(mentioned(subject, text));
                        }
                        value => walk(subject, value, depth + 1, found),
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(subject, configuration, 0, &mut found);
    found
}

/// Host names for which requests reach the members: their records in the DNS are of no use any more.
pub fn dns_names<'a>(
    members: impl IntoIterator<Item = &'a ObservedContainer>,
    declared: impl IntoIterator<Item = &'a Route>,
) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = declared.into_iter().map(|route| route.host.clone()).collect();
    for (key, value) in members.into_iter().flat_map(|member| &member.labels) {
        if key.starts_with("traefik.") && key.ends_with(".rule") {
            let hosts = value.split("Host(").skip(1).filter_map(|rest| rest.split_once(')')).map(|(inside, _)| inside);
            let hosts =
                hosts.flat_map(|inside| inside.split(',')).map(|host| host.trim().trim_matches(['`', '"', '\'']));
            names.extend(hosts.filter(|host| is_host_name(host)).map(str::to_owned));
        } else if key == "caddy" || key.strip_prefix("caddy_").is_some_and(|it| it.chars().all(|c| c.is_ascii_digit()))
        {
            let hosts = value.split([',', ' ']).filter_map(|site| {
                let site = site.split_once("://").map_or(site, |(_, site)| site);
                site.split(['/', ':']).next()
            });
            names.extend(hosts.filter(|host| is_host_name(host)).map(str::to_owned));
        }
    }
    names
}

fn is_host_name(text: &str) -> bool {
    text.contains('.')
        && text.len() <= 253
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*'))
}

fn is_on(endpoint: &crate::core::observed::ObservedEndpoint, id: &NetworkId, name: &str) -> bool {
    match &endpoint.network_id {
        Some(network_id) => network_id == id,
        None => endpoint.network_name == name,
    }
}

/// The first thing in `value` that is the destination's: a whole word, so that `db` is not found in `dbname`.
fn mentioned(subject: &Subject, value: &str) -> Option<String> {
    let known = |word: &str| {
        let address = word.parse::<IpAddr>();
        *word == subject.network_name
            || subject.names.contains(word)
            || address.is_ok_and(|address| subject.subnets.iter().any(|subnet| subnet.contains(&address)))
    };
    words(value).find(|word| known(word)).map(str::to_owned)
}

/// Names and addresses in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_ipv6 = |c: char| c.is_ascii_hexdigit() || c == ':';
    let words = text.split(move |c| !is_name(c)).chain(text.split(move |c| !is_ipv6(c)));
    words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::observed::{ContainerId, EndpointSettings, NetworkScope, ObservedEndpoint, ObservedSubnet};

    fn network(name: &str, digit: char) -> ObservedNetwork {
        ObservedNetwork {
            id: network_id(digit),
            name: name.to_owned(),
            driver: "bridge".to_owned(),
            scope: NetworkScope::Local,
            internal: false,
            attachable: false,
            ingress: false,
            ipv4: true,
            ipv6: false,
            subnets: vec![
                ObservedSubnet { subnet: "10.42.0.0/24".to_owned(), ..ObservedSubnet::default() },
                ObservedSubnet { subnet: "fd42::/64".to_owned(), ..ObservedSubnet::default() },
            ],
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            created: String::new(),
        }
    }

    fn network_id(digit: char) -> NetworkId {
        NetworkId::try_from(digit.to_string().repeat(64)).expect("64 digits")
    }

    fn container(name: &str, networks: &[(&str, char)], env: &[&str]) -> (ObservedContainer, Vec<String>) {
        let endpoints = networks
            .iter()
            .map(|(network, digit)| ObservedEndpoint {
                network_name: (*network).to_owned(),
                network_id: Some(network_id(*digit)),
                endpoint_id: String::new(),
                ipv4_address: String::new(),
                ipv6_address: String::new(),
                gw_priority: None,
                settings: Some(EndpointSettings {
                    aliases: vec![format!("{name}-alias"), "e".repeat(12)],
                    ..EndpointSettings::default()
                }),
            })
            .collect();
        (
            ObservedContainer {
                id: ContainerId::try_from("e".repeat(64)).expect("64 digits"),
                name: name.to_owned(),
                image: "busybox".to_owned(),
                state: ContainerState::Running,
                exit: None,
                health: None,
                up: None,
                restarts: 0,
                labels: BTreeMap::new(),
                network_mode: "bridge".to_owned(),
                ports: Vec::new(),
                endpoints,
            },
            env.iter().map(|entry| (*entry).to_owned()).collect(),
        )
    }

    /// What is found when `web` is deleted, with `db-1` on it.
    fn found(others: Vec<(ObservedContainer, Vec<String>)>) -> Vec<String> {
        let member = container("db-1", &[("web-net", 'a')], &["SELF=db-1"]);
        let subject = Subject::new(&network("web-net", 'a'), [&member.0], [&"declared".to_owned()]);
        let mut all = others;
        all.push(member);
        let all = all.iter().map(|(container, env)| Inspected { container, env });
        references(&subject, all, Some("traefik")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_refers_to_a_destination_that_nobody_knows() {
        assert_eq!(found(vec![container("other", &[("bridge", 'b')], &["PATH=/bin", "DB=db-10"])]), [""; 0]);
    }

    #[test]
    fn environment_variables_are_named_and_their_values_are_not() {
        let other = container(
            "worker",
            &[("jobs", 'b')],
            &[
                "DATABASE_URL=postgres://app:hunter2@db-1:5432/shop",
                "REPLICA=http://db-1-alias/",
                "CACHE=10.42.0.7:6379",
                "V6=[fd42::7]:6379",
                "NET=web-net",
                "ALIAS=declared",
                "HARMLESS=10.43.0.7",
                "SHORT_ID=eeeeeeeeeeee",
            ],
        );
        let found = found(vec![other]);
        assert_eq!(
            found,
            [
                "container worker (running), whose environment variable ALIAS mentions declared",
                "container worker (running), whose environment variable CACHE mentions 10.42.0.7",
                "container worker (running), whose environment variable DATABASE_URL mentions db-1",
                "container worker (running), whose environment variable NET mentions web-net",
                "container worker (running), whose environment variable REPLICA mentions db-1-alias",
                "container worker (running), whose environment variable V6 mentions fd42::7",
            ]
        );
        assert!(!found.join(" ").contains("hunter2"));
    }

    #[test]
    fn members_know_each_other_from_within() {
        assert_eq!(found(vec![container("app", &[("web-net", 'a')], &["DB=db-1"])]), [""; 0]);
    }

    #[test]
    fn a_container_on_two_destinations_is_listed() {
        assert_eq!(
            found(vec![container("app", &[("bridge", 'c'), ("jobs", 'b'), ("web-net", 'a')], &["DB=db-1"])]),
            ["container app (running), which is also on jobs"]
        );
    }

    #[test]
    fn the_proxy_is_on_many_networks_and_only_its_settings_refer() {
        assert_eq!(
            found(vec![container(
                "traefik",
                &[("jobs", 'b'), ("web-net", 'a')],
                &["CADDY_INGRESS_NETWORKS=jobs,web-net"]
            )]),
            ["container traefik (running), whose environment variable CADDY_INGRESS_NETWORKS mentions web-net"]
        );
    }

    fn subject() -> Subject {
        let member = container("db-1", &[("web-net", 'a')], &[]);
        Subject::new(&network("web-net", 'a'), [&member.0], [])
    }

    #[test]
    fn load_balancers_elsewhere_are_read_by_line_whatever_their_syntax() {
        let server = BTreeSet::from(["edge-1.example.com".to_owned()]);
        let caddyfile = "shop.example.com {\n  # to db-1\n  reverse_proxy edge-1.example.com:8080\n}\n";
        let mention = |line, mentions: &str| Mention { line, mentions: mentions.to_owned() };
        assert_eq!(in_configuration(&subject(), &server, caddyfile), [mention(3, "edge-1.example.com")]);
        let traefik = "http:\n  services:\n    shop:\n      loadBalancer:\n        servers:\n        - url: http://10.42.0.7:80\n        - url: http://db-10:80 # db-1\n";
        assert_eq!(in_configuration(&subject(), &server, traefik), [mention(6, "10.42.0.7")]);
    }

    #[test]
    fn a_running_proxy_is_asked_where_it_sends_requests_to() {
        let traefik = serde_json::json!([
            { "name": "shop@docker", "loadBalancer": { "servers": [{ "url": "http://10.42.0.7:80" }, { "url": "http://10.43.0.7:80" }] } },
        ]);
        assert_eq!(routed(&subject(), &traefik), ["10.42.0.7".to_owned()].into());
        let caddy = serde_json::json!({ "apps": { "http": { "routes": [{ "upstreams": [{ "dial": "db-1:80" }] }], "comment": "10.42.0.9" } } });
        assert_eq!(routed(&subject(), &caddy), ["db-1".to_owned()].into());
    }

    #[test]
    fn names_in_the_dns_are_those_that_requests_come_for() {
        let mut member = container("shop", &[("web-net", 'a')], &[]).0;
        for (key, value) in [
            ("traefik.http.routers.shop.rule", "Host(`shop.example.com`, `www.example.com`) && PathPrefix(`/api`)"),
            ("caddy_0", "https://cms.example.com:443/blog"),
            ("caddy_0.reverse_proxy", "{{upstreams}}"),
            ("other", "Host(`not.example.com`)"),
        ] {
            member.labels.insert(key.to_owned(), value.to_owned());
        }
        let declared = crate::core::workload::routes::parse("https://api.example.com/v1").unwrap();
        let names: Vec<String> = dns_names([&member], [&declared]).into_iter().collect();
        assert_eq!(names, ["api.example.com", "cms.example.com", "shop.example.com", "www.example.com"]);
    }

    #[test]
    fn labels_that_route_a_proxy_through_the_network_are_listed() {
        let mut other = container("shop", &[("jobs", 'b')], &[]);
        other.0.labels.insert("traefik.docker.network".to_owned(), "web-net".to_owned());
        other.0.labels.insert("traefik.swarm.network".to_owned(), "another".to_owned());
        assert_eq!(
            found(vec![other]),
            ["container shop (running), whose label traefik.docker.network names the network"]
        );
    }
}
