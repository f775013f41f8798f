//! The proxy, and one container after the other: whether it can be reached at all.

use std::collections::{BTreeMap, BTreeSet};

use super::name::{ProxyView, Served, View, list, word};
use super::routing::{Manner, may_take};
use super::{Asked, Details, Examined, Finding, FindingCause, address, reach, service};
use crate::core::api::ProxyType;
use crate::core::observed::{ContainerState, Health, NetworkId, ObservedContainer};

/// What is known, and what follows from it for all containers alike.
pub(super) struct Check<'a, 'v> {
    pub(super) input: &'v Examined<'a>,
    pub(super) view: &'v View<'a>,
    pub(super) served: Vec<Served<'a>>,
    pub(super) manner: Manner,
    pub(super) of_proxy: BTreeSet<&'a NetworkId>,
}

impl<'a, 'v> Check<'a, 'v> {
    pub(super) fn new(input: &'v Examined<'a>, view: &'v View<'a>) -> Self {
        let proxy = view.proxy.as_ref().and_then(|proxy| proxy.containers.first());
        let manner = Manner::read(proxy.and_then(|proxy| input.details.get(&proxy.id)));
        Self { input, view, served: view.served(), manner, of_proxy: view.of_proxy() }
    }

    pub(super) fn all(&self) -> Vec<Finding> {
        let mut findings = address::findings(self);
        let Some(proxy) = &self.view.proxy else { return findings };
        // One that no manifest declares may be the web server of an application.
        let services = self.view.observed.services.iter();
        let mut routed = services.filter(|service| self.view.routing(&service.labels).is_some());
        if !proxy.declared && self.served.is_empty() && routed.next().is_none() {
            return findings;
        }
        findings.extend(self.proxy(proxy));
        let runs = proxy.service.is_some() || proxy.containers.iter().any(|it| it.state == ContainerState::Running);
        for served in &self.served {
            if served.destination.is_some_and(|destination| !destination.active) {
                // Stopped on purpose.
                continue;
            }
            let found = self.container(proxy, served, runs);
            findings.extend(found.into_iter().map(|finding| {
                let finding =
                    if finding.container.is_none() { finding.container(&served.container.name) } else { finding };
                match &finding.object {
                    Some(_) => finding,
                    None => finding.object(served.resource),
                }
            }));
        }
        findings.extend(service::findings(self, proxy));
        findings.extend(reach::conflicts(self, proxy));
        findings.extend(reach::stale(self, proxy));
        if let Some(asked) = self.input.asked {
            self.explain(proxy, asked, &mut findings);
        }
        findings
    }

    pub(super) fn details(&self, container: &ObservedContainer) -> Option<&'v Details> {
        self.input.details.get(&container.id)
    }

    fn proxy(&self, proxy: &ProxyView<'a>) -> Option<Finding> {
        const NO_ANSWER: &str = "no connection";
        if proxy.is_service {
            return None;
        }
        let name = &proxy.name;
        let Some(container) = proxy.containers.first() else {
            let message = format!("The proxy {name} does not exist.");
            return Some(
                Finding::new(FindingCause::ProxyMissing, NO_ANSWER, message)
                    .advice("start it, or correct `spec.proxy.container` of the server if it goes by another name"),
            );
        };
        let start = format!("docker start {}", word(name));
        if container.state != ContainerState::Running {
            let error = container.exit.as_ref().map(|exit| exit.error.as_str()).unwrap_or_default();
            if is_port_taken(error) {
                return Some(self.port_taken(container, error));
            }
            let message = format!("The proxy {name} does not run: it is {}.", container.state.as_str());
            let finding = Finding::new(FindingCause::ProxyNotRunning, NO_ANSWER, message).container(name);
            let finding = ended(finding, container);
            return Some(match container.state {
                ContainerState::Paused => finding.fix(format!("docker unpause {}", word(name))),
                ContainerState::Restarting => finding.fix(format!("docker logs --tail 20 {}", word(name))),
                _ => finding.fix(start),
            });
        }
        let networks = self.view.networks_of(container);
        let details = self.details(container);
        let published = details.is_some_and(|details| !details.published.is_empty());
        if details.is_some() && !published && container.network_mode != "host" {
            let message = format!("The proxy {name} publishes no port of the server.");
            return Some(
                Finding::new(FindingCause::ProxyUnpublished, NO_ANSWER, message).possible().container(name).advice(
                    "publish its ports, unless something before it, such as a tunnel, reaches it in another way",
                ),
            );
        }
        if published && !networks.is_empty() && networks.iter().all(|(_, network)| network.internal) {
            let message = format!("The proxy {name} is on internal networks only: its published ports lead nowhere.");
            let on = list(networks.iter().map(|(_, network)| network.name.as_str()));
            return Some(
                Finding::new(FindingCause::ProxyUnpublished, NO_ANSWER, message)
                    .container(name)
                    .evidence(format!("{name} is on {on}"))
                    .fix(format!("docker network connect bridge {}", word(name))),
            );
        }
        None
    }

    fn port_taken(&self, proxy: &ObservedContainer, error: &str) -> Finding {
        let name = &proxy.name;
        let message = format!("The proxy {name} cannot start: a port that it publishes is taken.");
        let finding = Finding::new(FindingCause::PortTaken, "no connection, or another service answers", message)
            .container(name)
            .evidence(error);
        let wanted = self.details(proxy).map(|details| details.published.clone()).unwrap_or_default();
        let holds = |it: &&ObservedContainer| {
            it.id != proxy.id
                && it.state.is_live()
                && self.details(it).is_some_and(|details| !details.published.is_disjoint(&wanted))
        };
        let start = format!("docker start {}", word(name));
        match self.view.observed.containers.iter().find(holds) {
            Some(holder) => finding
                .evidence(format!("{} publishes it", holder.name))
                .advice(format!("publish {} on another port, or not at all", holder.name))
                .fix(format!("docker stop {}", word(&holder.name)))
                .fix(start),
            None => finding.advice("`ss -ltnp` on the server shows the program that has it").fix(start),
        }
    }

    /// Whether another one that works takes the requests.
    pub(super) fn is_replaced(&self, served: &Served<'a>) -> bool {
        self.served.iter().any(|other| {
            other.container.id != served.container.id && other.container.is_serving() && self.alike(served, other)
        })
    }

    pub(super) fn alike(&self, a: &Served<'a>, b: &Served<'a>) -> bool {
        const SERVICE: [&str; 2] = ["com.docker.compose.project", "com.docker.compose.service"];
        let compose = |served: &Served<'a>| SERVICE.map(|key| served.container.labels.get(key));
        let routed = matches!((&a.routing, &b.routing), (Some(a), Some(b)) if a.same_as(b));
        routed
            || (a.resource.is_some() && a.resource == b.resource)
            || (compose(a)[0].is_some() && compose(a) == compose(b))
    }

    fn container(&self, proxy: &ProxyView<'a>, served: &Served<'a>, proxy_runs: bool) -> Vec<Finding> {
        let container = served.container;
        let name = &container.name;
        if container.state != ContainerState::Running {
            return match self.is_replaced(served) {
                true => Vec::new(),
                false => vec![self.not_running(proxy, served)],
            };
        }
        let mut findings = Vec::new();
        if let Some(health) = container.health.filter(|health| *health != Health::Healthy)
            && !self.is_replaced(served)
        {
            findings.push(self.unhealthy(proxy, container, health));
        }
        if proxy.proxy_type == ProxyType::Traefik
            && self.manner.only_enabled
            && served.routing.as_ref().is_some_and(|routing| routing.enabled.is_none())
        {
            let message = format!("{name} has labels of Traefik, and none that has Traefik serve it.");
            findings.push(
                Finding::new(FindingCause::NotEnabled, "404", message)
                    .evidence(format!("{} passes over containers without the label traefik.enable=true", proxy.name))
                    .advice("add the label traefik.enable=true and make the container anew")
                    .fix(recreate(container)),
            );
        }
        findings.extend(self.entry_points(proxy, served));
        if proxy_runs {
            findings.extend(reach::findings(self, proxy, served));
        }
        findings
    }

    /// A router of Traefik at entry points of which there is none.
    fn entry_points(&self, proxy: &ProxyView<'a>, served: &Served<'a>) -> Option<Finding> {
        let known = &self.manner.entry_points;
        if proxy.proxy_type != ProxyType::Traefik || known.is_empty() {
            return None;
        }
        let routes = served.routing.as_ref()?.routes.iter();
        let (router, route) = routes.into_iter().find(|(_, route)| {
            let mut names = route.entrypoints.split(',').map(|name| name.trim().to_ascii_lowercase()).peekable();
            !route.entrypoints.trim().is_empty() && !names.any(|name| known.contains(&name))
        })?;
        let name = &served.container.name;
        let message = format!("The router {router} of {name} is for entry points that {} does not have.", proxy.name);
        Some(
            Finding::new(FindingCause::EntryPointMissing, "404", message)
                .evidence(format!("{name} asks for {}", route.entrypoints))
                .evidence(format!("{} has {}", proxy.name, list(known.iter().map(String::as_str))))
                .advice(format!("correct the label traefik.http.routers.{router}.entrypoints"))
                .fix(recreate(served.container)),
        )
    }

    fn not_running(&self, proxy: &ProxyView<'a>, served: &Served<'a>) -> Finding {
        let container = served.container;
        let (name, word) = (&container.name, word(&container.name));
        if container.state == ContainerState::Paused {
            let message = format!("{name} is paused: connections to it are taken and never answered.");
            return Finding::new(FindingCause::Paused, "no answer, until the client or the proxy gives up", message)
                .fix(format!("docker unpause {word}"));
        }
        let seen = match proxy.proxy_type {
            ProxyType::Traefik => "404",
            ProxyType::Caddy if served.routing.is_some() => "502, or an empty 200",
            _ => "502",
        };
        let gone = container.endpoints.iter().find(|endpoint| {
            let id = endpoint.network_id.as_ref();
            id.is_some_and(|id| !id.is_of_swarm() && !self.view.networks.contains_key(id))
        });
        if let Some(endpoint) = gone {
            let network = &endpoint.network_name;
            let message =
                format!("{name} cannot start: its network {network} was removed, and it knows that one by its id.");
            let finding = ended(Finding::new(FindingCause::NetworkRemoved, seen, message).network(network), container);
            if let Some(destination) = self.view.destination(network) {
                return finding
                    .object(Some(&destination.key))
                    .fix("landfall apply")
                    .fix(format!("docker start {word}"));
            }
            let net = super::name::word(network);
            let finding = finding.fix(format!("docker network disconnect -f {net} {word}"));
            let finding = match self.view.network_named(network).is_empty() {
                true => finding.fix(format!("docker network create {net}")),
                false => finding,
            };
            return finding.fix(format!("docker network connect {net} {word}")).fix(format!("docker start {word}"));
        }
        let error = container.exit.as_ref().map(|exit| exit.error.as_str()).unwrap_or_default();
        if error.contains("no available IPv") || error.contains("address pool") {
            let message = format!("{name} cannot start: its network has no address left.");
            return ended(Finding::new(FindingCause::AddressesExhausted, seen, message), container)
                .advice("free addresses, or give the network a larger subnet; `landfall subnets` shows what is used");
        }
        let how = match container.state {
            ContainerState::Restarting => "it fails again and again, and Docker restarts it".to_owned(),
            state => format!("it is {}", state.as_str()),
        };
        let message = format!("{name} does not run: {how}.");
        let finding = ended(Finding::new(FindingCause::NotRunning, seen, message), container);
        // Without labels nobody says that it is to be reached at all: a job that is through has done what it was for.
        let through = served.routing.is_none() && container.exit.as_ref().is_some_and(|exit| exit.code == 0);
        let finding = if through { finding.possible() } else { finding };
        let finding = match self.details(container).map(|details| details.restarts).filter(|count| *count > 0) {
            Some(1) => finding.evidence("restarted once"),
            Some(count) => finding.evidence(format!("restarted {count} times")),
            None => finding,
        };
        match container.state {
            ContainerState::Restarting => {
                finding.advice("its log says why").fix(format!("docker logs --tail 20 {word}"))
            }
            _ => finding.fix(format!("docker start {word}")),
        }
    }

    fn unhealthy(&self, proxy: &ProxyView<'a>, container: &ObservedContainer, health: Health) -> Finding {
        let name = &container.name;
        let (cause, message) = match health {
            Health::Starting => {
                (FindingCause::HealthStarting, format!("The health check of {name} has not passed yet."))
            }
            _ => (FindingCause::Unhealthy, format!("The health check of {name} fails.")),
        };
        let seen = match proxy.proxy_type {
            ProxyType::Traefik => "404: Traefik leaves out what is not healthy",
            _ => "502, or what the application answers",
        };
        let finding = Finding::new(cause, seen, message);
        let finding = match self.details(container).and_then(|details| details.health_output.as_deref()) {
            Some(output) => finding.evidence(format!("it printed: {}", shortened(output))),
            None => finding,
        };
        let inspect = format!("docker inspect --format '{{{{json .State.Health}}}}' {}", word(name));
        match health {
            Health::Starting => finding.advice("wait for it; it is a cause until then").fix(inspect),
            _ => finding
                .advice("correct the application or its check")
                .fix(inspect)
                .fix(format!("docker restart {}", word(name))),
        }
    }

    /// What the answer to a request adds: no route for its host, and what the API cannot show.
    fn explain(&self, proxy: &ProxyView<'a>, asked: &Asked, findings: &mut Vec<Finding>) {
        if !asked.failed() {
            return;
        }
        let takes = |served: &&Served<'a>| {
            served.routing.as_ref().is_none_or(|routing| {
                routing.routes.is_empty()
                    || routing.routes.values().any(|route| may_take(proxy.proxy_type, &route.rule, &asked.host))
            })
        };
        let serving: Vec<&Served<'a>> = self.served.iter().filter(takes).collect();
        // One without tasks has no containers.
        let services = self.view.observed.services.iter().filter_map(|service| {
            let routing = self.view.routing(&service.labels)?;
            let mut routes = routing.routes.values();
            let takes = routing.routes.is_empty() || routes.any(|it| may_take(proxy.proxy_type, &it.rule, &asked.host));
            takes.then_some(service.name.as_str())
        });
        let services: BTreeSet<&str> = services.collect();
        let containers = serving.iter().map(|served| served.container.name.as_str());
        let names: BTreeSet<&str> = containers.chain(services.iter().copied()).collect();
        // What concerns other hosts explains nothing here.
        findings.retain(|finding| {
            let container = finding.container.as_deref();
            container.is_none_or(|name| names.contains(name) || name == proxy.name)
        });
        let seen = asked.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        if serving.is_empty() && services.is_empty() && asked.status == Some(404) {
            let rules: BTreeMap<&str, &str> = self
                .served
                .iter()
                .flat_map(|served| {
                    let routes = served.routing.iter().flat_map(|routing| routing.routes.values());
                    routes.map(|route| (route.rule.as_str(), served.container.name.as_str()))
                })
                .collect();
            let message = format!("No container on the server asks for requests to {}.", asked.host);
            let finding = Finding::new(FindingCause::NoRoute, seen, message);
            let finding = rules
                .iter()
                .take(10)
                .fold(finding, |finding, (rule, name)| finding.evidence(format!("{name} asks for {rule}")));
            findings.push(finding.advice("correct the host in the labels, or in `domains` of the Application"));
            return;
        }
        let tls = |served: &&Served<'a>| {
            served.routing.as_ref().is_some_and(|routing| routing.routes.values().any(|route| route.tls == asked.tls))
        };
        let labelled = serving.iter().filter(|served| served.routing.as_ref().is_some_and(|it| !it.routes.is_empty()));
        if asked.status == Some(404)
            && proxy.proxy_type == ProxyType::Traefik
            && labelled.clone().count() > 0
            && !labelled.clone().any(tls)
        {
            let (scheme, has) = if asked.tls { ("https", "without TLS") } else { ("http", "with TLS only") };
            let message = format!("The routers for {} are {has}, and {scheme} was asked.", asked.host);
            findings.push(Finding::new(FindingCause::NoTlsRoute, seen.clone(), message).advice(if asked.tls {
                "add the label traefik.http.routers.NAME.tls=true, or an `https://` domain to the Application"
            } else {
                "ask https, or add a router without TLS that redirects"
            }));
        }
        if findings.iter().any(|finding| finding.certain) {
            return;
        }
        for served in serving.iter().filter(|served| served.container.is_serving()) {
            let name = &served.container.name;
            let finding = match asked.status {
                Some(502) => {
                    let message =
                        format!("{name} may listen on 127.0.0.1 only, or on another port; the API does not show it.");
                    Finding::new(FindingCause::ListensOnLoopback, seen.clone(), message)
                        .advice("have it listen on 0.0.0.0")
                        .fix(format!("docker exec {} cat /proc/net/tcp", word(name)))
                }
                Some(504) | None => {
                    let message = format!(
                        "{name} may answer too slowly, or the server be short of memory; the API does not show it."
                    );
                    Finding::new(FindingCause::SlowApplication, seen.clone(), message)
                        .fix(format!("docker stats --no-stream {}", word(name)))
                        .fix(format!("docker logs --tail 20 {}", word(name)))
                }
                _ => continue,
            };
            findings.push(finding.possible().container(name).object(served.resource));
        }
    }
}

/// As the daemon says it of a start that failed.
pub(super) fn is_port_taken(error: &str) -> bool {
    ["port is already allocated", "address already in use", "ports are not available"]
        .iter()
        .any(|it| error.contains(it))
}

/// How it ended, as evidence.
fn ended(finding: Finding, container: &ObservedContainer) -> Finding {
    let Some(exit) = &container.exit else { return finding };
    let finding = match (exit.oom_killed, exit.code) {
        (true, _) => finding.evidence("the kernel killed it for want of memory").advice("give it more memory"),
        (false, code) => finding.evidence(format!("it ended with code {code}")),
    };
    match exit.error.as_str() {
        "" => finding,
        error => finding.evidence(shortened(error)),
    }
}

/// The command that makes a container anew, where it is known who made it.
pub(super) fn recreate(container: &ObservedContainer) -> String {
    let label = |key: &str| container.labels.get(key);
    match (label("com.docker.compose.project"), label("com.docker.compose.service")) {
        _ if container.labels.contains_key(crate::core::workload::identity::OBJECT) => "landfall apply".to_owned(),
        (Some(project), Some(service)) => {
            format!("docker compose -p {} up -d --force-recreate {}", word(project), word(service))
        }
        _ => format!("docker rm -f {0} # and `docker run` with the label", word(&container.name)),
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 300;
    let line = text.trim().replace('\n', " ");
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST).chain(['…']).collect() }
}
