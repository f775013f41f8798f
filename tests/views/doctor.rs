//! `doctor`: every cause by the values that show it, and none on a server on which everything works.

use std::collections::BTreeMap;

use landfall::core::api::{Kind, ObjectKey};
use landfall::core::desired::DesiredServer;
use landfall::core::doctor::{Asked, Details, Examined, Finding, FindingCause, examine, narrow, subjects};
use landfall::core::manifest::{Source, load};
use landfall::core::observed::{
    ContainerId, ContainerState, EngineEvent, Exit, Health, NetworkId, ObservedContainer, ObservedNetwork,
    ObservedService, ObservedState,
};

use super::observed::{Labelled, container, container_id, manager, network, network_id, overlay, server, subnet};

const MANIFESTS: &str = "apiVersion: landfall/v1
kind: Server
metadata: { name: edge }
spec: { endpoint: 'unix:///docker.sock', proxy: { container: traefik, type: Traefik } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: shop }
spec: { server: edge, network: { name: shop-net } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec: { destination: shop, containers: { names: [shop] } }
";

/// A server, and what is known of it.
struct World {
    server: DesiredServer,
    observed: ObservedState,
    details: BTreeMap<ContainerId, Details>,
    events: Vec<EngineEvent>,
    asked: Option<Asked>,
}

fn declared(manifests: &str) -> DesiredServer {
    let source = Source { name: "all.yaml".to_owned(), bytes: manifests.as_bytes().to_vec() };
    let desired = load(&[source]).unwrap().desired("default");
    let server = desired.servers.values().next().unwrap();
    DesiredServer::clone(server)
}

impl World {
    fn new(networks: &[&str], containers: Vec<ObservedContainer>) -> Self {
        let networks: Vec<ObservedNetwork> = networks.iter().map(|name| network(name)).collect();
        let mut world = Self {
            server: declared(MANIFESTS),
            observed: server(networks, containers),
            details: BTreeMap::new(),
            events: Vec::new(),
            asked: None,
        };
        for id in subjects(&world.server, &world.observed) {
            let details = Details {
                exposed: [80].into(),
                published: [80].into(),
                started: "2026-03-01T10:00:00Z".to_owned(),
                ..Details::default()
            };
            world.details.insert(id, details);
        }
        world
    }

    fn caddy(mut self) -> Self {
        self.server =
            declared(&MANIFESTS.replace("container: traefik, type: Traefik", "container: caddy, type: Caddy"));
        for id in subjects(&self.server, &self.observed) {
            self.details.entry(id).or_insert_with(|| Details { published: [80].into(), ..Details::default() });
        }
        self
    }

    fn details(&mut self, name: &str) -> &mut Details {
        self.details.entry(container_id(name)).or_default()
    }

    fn examine(&self) -> Vec<Finding> {
        examine(&Examined {
            server: &self.server,
            observed: &self.observed,
            details: &self.details,
            events: &self.events,
            asked: self.asked.as_ref(),
        })
    }

    /// Cause, container and first command of what is certain.
    fn found(&self) -> Vec<(FindingCause, String, String)> {
        let certain = self.examine().into_iter().filter(|finding| finding.certain);
        certain
            .map(|it| (it.cause, it.container.unwrap_or_default(), it.fix.first().cloned().unwrap_or_default()))
            .collect()
    }

    #[track_caller]
    fn finds(&self, cause: FindingCause, container: &str, fix: &str) -> Finding {
        assert_eq!(self.found(), [(cause, container.to_owned(), fix.to_owned())], "{:#?}", self.examine());
        self.examine().remove(0)
    }

    fn asks(mut self, url_host: &str, status: Option<u16>) -> Self {
        self.asked = Some(Asked {
            url: format!("http://{url_host}/"),
            host: url_host.to_owned(),
            path: "/".to_owned(),
            tls: false,
            status,
            problem: None,
            milliseconds: 1,
        });
        self
    }
}

fn traefik(networks: &[&str]) -> ObservedContainer {
    container("traefik", "traefik:v3.6", networks)
}

/// An application that asks Traefik for a host of its own name.
fn app(name: &str, networks: &[&str]) -> ObservedContainer {
    container(name, "app", networks).labels(&[
        ("traefik.enable", "true"),
        (&format!("traefik.http.routers.{name}.rule"), &format!("Host(`{name}.example.com`)")),
        (&format!("traefik.http.services.{name}.loadbalancer.server.port"), "80"),
    ])
}

fn caddy(networks: &[&str]) -> ObservedContainer {
    container("caddy", "caddy:2", networks)
}

/// An application that asks caddy-docker-proxy for a host of its own name.
fn site(name: &str, networks: &[&str]) -> ObservedContainer {
    container(name, "app", networks)
        .labels(&[("caddy", &format!("{name}.example.com")), ("caddy.reverse_proxy", "{{upstreams 80}}")])
}

fn exited(container: ObservedContainer, code: i64, error: &str, oom_killed: bool) -> ObservedContainer {
    let exit = Some(Exit { code, error: error.to_owned(), oom_killed });
    ObservedContainer { state: ContainerState::Exited, exit, ..container }
}

fn event(seconds: i64, object_type: &str, action: &str, id: &str, container: Option<&str>) -> EngineEvent {
    EngineEvent {
        time_nanos: seconds * 1_000_000_000,
        object_type: object_type.to_owned(),
        action: action.to_owned(),
        id: id.to_owned(),
        name: String::new(),
        container: container.map(str::to_owned),
    }
}

/// Fifty containers, of every kind that works and could be taken for one that does not.
fn healthy() -> World {
    let networks = ["shop-net", "a-net", "b-net", "c-net", "private", "blog_default"];
    let mut containers =
        vec![traefik(&["bridge", "shop-net", "a-net", "b-net", "c-net", "blog_default"]), app("shop", &["shop-net"])];
    // One network that the proxy is on as well; several, all of them; several, and a label.
    for n in 0..12 {
        containers.push(app(&format!("one-{n}"), &[["a-net", "b-net", "c-net"][n % 3]]));
        containers.push(app(&format!("all-{n}"), &["a-net", "b-net"]));
        containers
            .push(app(&format!("some-{n}"), &["c-net", "private"]).labels(&[("traefik.docker.network", "c-net")]));
    }
    // A label that names none of its networks, and all of them will do.
    containers.push(app("fallback", &["a-net"]).labels(&[("traefik.docker.network", "gone")]));
    // Databases, workers and jobs: nobody asks them by HTTP.
    containers.push(container("db", "postgres:16", &["private"]));
    containers.push(exited(container("job", "app", &["a-net"]), 1, "", false));
    containers.push(ObservedContainer { health: Some(Health::Unhealthy), ..container("worker", "app", &["private"]) });
    // Two replicas of a service, their alias shared, and the old version that a deploy left behind.
    for (n, state) in [(1, None), (2, Some(Health::Healthy))] {
        let mut replica = app("blog", &["blog_default"])
            .labels(&[("com.docker.compose.project", "blog"), ("com.docker.compose.service", "web")]);
        replica.name = format!("blog-web-{n}");
        replica.id = container_id(&replica.name);
        replica.health = state;
        let id = replica.id.short().to_owned();
        replica.endpoints[0].settings.as_mut().unwrap().aliases = vec!["web".to_owned(), id];
        containers.push(replica);
    }
    let mut old = exited(app("one-1", &["b-net"]), 137, "", false);
    old.name = "one-1-old".to_owned();
    old.id = container_id(&old.name);
    containers.push(old);
    // Turned off, and of no proxy's concern.
    containers.push(app("off", &["private"]).labels(&[("traefik.enable", "false")]));
    // Uses the network of another one.
    let mut sidecar = app("sidecar", &[]);
    sidecar.network_mode = format!("container:{}", container_id("one-2"));
    containers.push(sidecar);
    while containers.len() < 50 {
        containers.push(container(&format!("other-{}", containers.len()), "app", &["private"]));
    }
    let mut world = World::new(&networks, containers);
    for (at, network) in world.observed.networks.iter_mut().enumerate() {
        network.subnets = vec![subnet(&format!("10.{at}.0.0/24"), &format!("10.{at}.0.1"))];
    }
    world.details("traefik").published = [80, 443].into();
    world.events = vec![
        event(1, "network", "connect", network_id("a-net").as_str(), Some(container_id("one-0").as_str())),
        event(2, "container", "start", container_id("one-0").as_str(), None),
        // Away and back at once: Docker gives the same address again.
        event(3, "network", "disconnect", network_id("a-net").as_str(), Some(container_id("one-0").as_str())),
        event(4, "network", "connect", network_id("a-net").as_str(), Some(container_id("one-0").as_str())),
    ];
    world
}

#[test]
fn a_server_on_which_everything_works_has_no_finding() {
    let world = healthy();
    assert_eq!(world.observed.containers.len(), 50);
    assert_eq!(world.found(), []);
    // The same containers, of no declared proxy: it is recognised, and nothing is found either.
    let mut undeclared = healthy();
    undeclared.server.proxy = None;
    assert_eq!(undeclared.found(), []);
}

#[test]
fn a_proxy_that_is_not_on_the_network_is_found_and_connected_by_whoever_declares_it() {
    let world = World::new(&["shop-net"], vec![traefik(&["bridge"]), app("shop", &["shop-net"])]);
    let finding = world.finds(FindingCause::ProxyNotOnNetwork, "shop", "landfall apply");
    assert_eq!(finding.object.as_deref(), Some("Application/default/shop"));
    assert_eq!(finding.network.as_deref(), Some("shop-net"));
    assert_eq!(finding.seen, "504 after 30 s");
    assert_eq!(finding.evidence, ["shop is on shop-net", "traefik is on bridge"]);

    let world = World::new(&["other net"], vec![traefik(&["bridge"]), app("blog", &["other net"])]);
    world.finds(FindingCause::ProxyNotOnNetwork, "blog", "docker network connect 'other net' traefik");
    // In the network of the server it reaches every bridge.
    let host_mode = ObservedContainer { network_mode: "host".to_owned(), ..traefik(&["host"]) };
    assert_eq!(World::new(&["a"], vec![host_mode, app("blog", &["a"])]).found(), []);

    let world = World::new(&["a"], vec![caddy(&["bridge"]), site("blog", &["a"])]).caddy();
    let finding = world.finds(FindingCause::ProxyNotOnNetwork, "blog", "docker network connect a caddy");
    assert_eq!(finding.seen, "502 after 3 s");
    // A proxy with a configuration of its own serves the declared applications.
    let world = World::new(&["shop-net"], vec![caddy(&["bridge"]), container("shop", "app", &["shop-net"])]).caddy();
    world.finds(FindingCause::ProxyNotOnNetwork, "shop", "landfall apply");
    // The default bridge has no names by which it could be reached.
    let networks = &["shop-net", "bridge"];
    let world = World::new(&["shop-net"], vec![caddy(networks), container("shop", "app", &["bridge"])]).caddy();
    world.finds(FindingCause::MemberNotOnNetwork, "shop", "landfall apply");
}

#[test]
fn the_network_that_a_label_names_has_to_be_there_and_shared() {
    let proxy = || traefik(&["bridge", "web"]);
    let both = |label: &[(&str, &str)]| app("blog", &["web", "private"]).labels(label);
    let world = World::new(&["web", "private"], vec![proxy(), both(&[])]);
    let finding =
        world.finds(FindingCause::AmbiguousNetwork, "blog", "docker rm -f blog # and `docker run` with the label");
    assert_eq!(finding.advice.as_deref(), Some("set the label traefik.docker.network=web and make the container anew"));

    let world = World::new(&["web", "private"], vec![proxy(), both(&[("traefik.docker.network", "private")])]);
    world.finds(FindingCause::ProxyNotOnNetwork, "blog", "docker network connect private traefik");
    let world = World::new(&["web", "private"], vec![proxy(), both(&[("traefik.docker.network", "webb")])]);
    world.finds(FindingCause::WrongNetworkLabel, "blog", "docker rm -f blog # and `docker run` with the label");
    let world = World::new(
        &["web", "other"],
        vec![proxy(), app("blog", &["other"]).labels(&[("traefik.docker.network", "web")])],
    );
    world.finds(FindingCause::WrongNetworkLabel, "blog", "docker network connect web blog");

    // Compose has its project's name before that of the network.
    let labels = [
        ("traefik.docker.network", "front"),
        ("com.docker.compose.project", "blog"),
        ("com.docker.compose.service", "web"),
    ];
    let world = World::new(
        &["blog_front", "blog_back"],
        vec![traefik(&["blog_front"]), app("blog", &["blog_back", "blog_front"]).labels(&labels)],
    );
    let finding =
        world.finds(FindingCause::WrongNetworkLabel, "blog", "docker compose -p blog up -d --force-recreate web");
    assert_eq!(
        finding.advice.as_deref(),
        Some("Compose named the network blog_front: name that one, and make the container anew")
    );

    // What Traefik takes where no label says.
    let mut world = World::new(&["web", "private"], vec![proxy(), both(&[])]);
    world.details("traefik").command = vec!["--providers.docker.network=web".to_owned()];
    assert_eq!(world.found(), []);
    world.details("traefik").command =
        vec!["sh".to_owned(), "-c".to_owned(), "traefik --providers.docker.network=private".to_owned()];
    world.finds(FindingCause::ProxyNotOnNetwork, "blog", "docker network connect private traefik");
}

#[test]
fn the_ingress_network_of_caddy_has_to_be_the_right_one() {
    let label = |name: &str| site("blog", &["web", "private"]).labels(&[("caddy_ingress_network", name)]);
    let proxy = || caddy(&["web"]);
    assert_eq!(World::new(&["web", "private"], vec![proxy(), label("web")]).caddy().found(), []);
    assert_eq!(World::new(&["web", "private"], vec![proxy(), site("blog", &["web", "private"])]).caddy().found(), []);
    let world = World::new(&["web", "private"], vec![proxy(), label("ingress")]).caddy();
    let finding =
        world.finds(FindingCause::WrongNetworkLabel, "blog", "docker rm -f blog # and `docker run` with the label");
    assert_eq!(finding.evidence[0], "the label caddy_ingress_network=ingress");
    let world = World::new(&["web", "private"], vec![proxy(), label("private")]).caddy();
    world.finds(FindingCause::ProxyNotOnNetwork, "blog", "docker network connect private caddy");
    let mut world = World::new(&["web"], vec![proxy(), site("blog", &["web"])]).caddy();
    world.details("caddy").settings = [("CADDY_INGRESS_NETWORKS".to_owned(), "stack_web".to_owned())].into();
    world.finds(FindingCause::WrongNetworkLabel, "blog", "docker rm -f blog # and `docker run` with the label");
}

#[test]
fn what_is_not_healthy_or_does_not_run_is_found_unless_another_serves_in_its_place() {
    let proxy = || traefik(&["web"]);
    let sick = ObservedContainer { health: Some(Health::Unhealthy), ..app("blog", &["web"]) };
    let mut world = World::new(&["web"], vec![proxy(), sick.clone()]);
    world.details("blog").health_output = Some("wget: can't connect to remote host".to_owned());
    let inspect = "docker inspect --format '{{json .State.Health}}' blog";
    let finding = world.finds(FindingCause::Unhealthy, "blog", inspect);
    assert_eq!(finding.evidence, ["it printed: wget: can't connect to remote host"]);
    let starting = ObservedContainer { health: Some(Health::Starting), ..app("blog", &["web"]) };
    World::new(&["web"], vec![proxy(), starting]).finds(FindingCause::HealthStarting, "blog", inspect);

    let killed = exited(app("blog", &["web"]), 137, "", true);
    let finding =
        World::new(&["web"], vec![proxy(), killed]).finds(FindingCause::NotRunning, "blog", "docker start blog");
    assert_eq!(finding.evidence, ["the kernel killed it for want of memory"]);
    let paused = ObservedContainer { state: ContainerState::Paused, ..app("blog", &["web"]) };
    World::new(&["web"], vec![proxy(), paused]).finds(FindingCause::Paused, "blog", "docker unpause blog");
    let restarting = ObservedContainer { state: ContainerState::Restarting, ..app("blog", &["web"]) };
    World::new(&["web"], vec![proxy(), restarting]).finds(
        FindingCause::NotRunning,
        "blog",
        "docker logs --tail 20 blog",
    );

    // Without labels a job that is through is no trouble, and one that failed is.
    let ended = |code| {
        let shop = exited(container("shop", "app", &["shop-net"]), code, "", false);
        World::new(&["shop-net"], vec![caddy(&["shop-net"]), shop]).caddy()
    };
    assert_eq!(ended(0).found(), []);
    ended(1).finds(FindingCause::NotRunning, "shop", "docker start shop");

    let mut new = app("blog", &["web"]);
    new.name = "blog-2".to_owned();
    new.id = container_id("blog-2");
    assert_eq!(World::new(&["web"], vec![proxy(), sick, new]).found(), []);
}

#[test]
fn a_container_that_was_pinned_to_a_removed_network_and_one_without_an_address_cannot_start() {
    let mut pinned = exited(app("shop", &["shop-net"]), 128, "network 0123 not found", false);
    pinned.endpoints[0].network_id = Some(NetworkId::try_from("0".repeat(64)).unwrap());
    let world = World::new(&["shop-net"], vec![traefik(&["shop-net"]), pinned.clone()]);
    world.finds(FindingCause::NetworkRemoved, "shop", "landfall apply");
    pinned.endpoints[0].network_name = "gone".to_owned();
    let finding = World::new(&["shop-net"], vec![traefik(&["shop-net"]), pinned]).examine().remove(0);
    assert_eq!(
        finding.fix,
        [
            "docker network disconnect -f gone shop",
            "docker network create gone",
            "docker network connect gone shop",
            "docker start shop"
        ]
    );
    let full =
        exited(app("blog", &["web"]), 128, "no available IPv4 addresses on this network's address pools: web", false);
    World::new(&["web"], vec![traefik(&["web"]), full]).finds(FindingCause::AddressesExhausted, "blog", "");
}

#[test]
fn a_container_without_a_network_of_its_own_is_reached_nowhere() {
    let mode = |mode: &str| ObservedContainer { network_mode: mode.to_owned(), ..app("blog", &[mode]) };
    let mut world = World::new(&["web"], vec![traefik(&["web"]), mode("host")]);
    let recreate = "docker rm -f blog # and `docker run` with the label";
    world.finds(FindingCause::NetworkMode, "blog", recreate);
    world.details("traefik").extra_hosts = vec!["host.docker.internal:host-gateway".to_owned()];
    assert_eq!(world.found(), []);
    World::new(&["web"], vec![traefik(&["web"]), mode("none")]).finds(FindingCause::NetworkMode, "blog", recreate);
}

#[test]
fn a_proxy_that_is_missing_stopped_or_without_its_ports_is_found_first() {
    World::new(&["web"], vec![app("blog", &["web"])]).finds(FindingCause::ProxyMissing, "", "");
    let stopped = exited(traefik(&["web"]), 0, "", false);
    World::new(&["web"], vec![stopped, app("blog", &["web"])]).finds(
        FindingCause::ProxyNotRunning,
        "traefik",
        "docker start traefik",
    );
    let error =
        "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated";
    let mut world =
        World::new(&["web"], vec![exited(traefik(&["web"]), 128, error, false), container("nginx", "nginx", &["web"])]);
    world.details("traefik").published = [80].into();
    world.details("nginx").published = [80].into();
    let finding = world.finds(FindingCause::PortTaken, "traefik", "docker stop nginx");
    assert_eq!(finding.evidence, [error, "nginx publishes it"]);
    let mut world = World::new(&["web"], vec![traefik(&["web"]), app("blog", &["web"])]);
    world.details("traefik").published = [80].into();
    world.observed.networks.iter_mut().find(|network| network.name == "web").unwrap().internal = true;
    world.finds(FindingCause::ProxyUnpublished, "traefik", "docker network connect bridge traefik");
}

#[test]
fn two_networks_of_one_name_and_one_that_isolates_its_containers() {
    let mut app = app("blog", &["web"]);
    let other = NetworkId::try_from("f".repeat(64)).unwrap();
    app.endpoints[0].network_id = Some(other.clone());
    let mut world = World::new(&["web"], vec![traefik(&["web"]), app]);
    world.observed.networks.push(ObservedNetwork { id: other.clone(), ..network("web") });
    let fix = format!("docker network connect {} traefik", other.short());
    world.finds(FindingCause::NetworkNameTwice, "blog", &fix);

    let mut world = World::new(&["web"], vec![traefik(&["web"]), self::app("blog", &["web"])]);
    let web = world.observed.networks.iter_mut().find(|network| network.name == "web").unwrap();
    web.options.insert("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
    world.finds(FindingCause::ContainersIsolated, "blog", "docker network inspect web");
}

#[test]
fn a_member_that_was_connected_after_traefik_looked_is_not_served() {
    let mut world = World::new(&["shop-net"], vec![traefik(&["shop-net"]), app("shop", &["shop-net"])]);
    let (net, shop) = (network_id("shop-net"), container_id("shop"));
    let connected = event(20, "network", "connect", net.as_str(), Some(shop.as_str()));
    let left = event(10, "network", "disconnect", net.as_str(), Some(shop.as_str()));
    let other = event(15, "container", "start", container_id("other").as_str(), None);
    let fix = "docker run --rm --network none traefik:v3.6 version";
    world.events = vec![connected.clone()];
    world.finds(FindingCause::StaleProxyView, "shop", fix);
    world.events = vec![left.clone(), other.clone(), connected.clone()];
    world.finds(FindingCause::StaleProxyView, "shop", fix);
    world.events = vec![left, connected.clone()];
    assert_eq!(world.found(), []);
    assert_eq!(world.examine()[0].cause, FindingCause::StaleProxyView);
    world.events = vec![connected, event(25, "container", "health_status: healthy", "", None)];
    assert_eq!(world.examine(), []);
}

#[test]
fn labels_that_traefik_does_not_take() {
    let mut plain = app("blog", &["web"]);
    plain.labels.remove("traefik.enable");
    let mut world = World::new(&["web"], vec![traefik(&["web"]), plain]);
    assert_eq!(world.found(), []);
    world.details("traefik").command = vec!["--providers.docker.exposedByDefault=false".to_owned()];
    world.finds(FindingCause::NotEnabled, "blog", "docker rm -f blog # and `docker run` with the label");

    let mut portless = app("blog", &["web"]);
    portless.labels.retain(|key, _| !key.contains("loadbalancer"));
    let mut world = World::new(&["web"], vec![traefik(&["web"]), portless]);
    assert_eq!(world.found(), []);
    world.details("blog").exposed.clear();
    world.finds(FindingCause::NoPort, "blog", "docker rm -f blog # and `docker run` with the label");

    let mut world = World::new(&["web"], vec![traefik(&["web"]), app("blog", &["web"])]);
    world.details("blog").exposed = [3000].into();
    assert_eq!(world.found(), []);
    let possible = world.examine().remove(0);
    assert_eq!((possible.cause, possible.certain), (FindingCause::PortNotExposed, false));
    assert_eq!(possible.message, "The proxy is told port 80 of blog, which exposes 3000.");
}

#[test]
fn a_router_at_entry_points_that_traefik_does_not_have() {
    let label = [("traefik.http.routers.blog.entrypoints", "websecure")];
    let mut world = World::new(&["web"], vec![traefik(&["web"]), app("blog", &["web"]).labels(&label)]);
    assert_eq!(world.found(), []);
    world.details("traefik").command = vec!["--entryPoints.web.address=:80".to_owned()];
    let finding =
        world.finds(FindingCause::EntryPointMissing, "blog", "docker rm -f blog # and `docker run` with the label");
    assert_eq!(finding.evidence, ["blog asks for websecure", "traefik has web"]);
    world.details("traefik").command.push("--entrypoints.WebSecure.address=:443".to_owned());
    assert_eq!(world.found(), []);
}

#[test]
fn a_network_of_the_compose_file_and_one_without_a_free_address() {
    let labels = [("com.docker.compose.project", "blog"), ("com.docker.compose.service", "web")];
    let mut world = World::new(
        &["shop-net", "blog_back"],
        vec![traefik(&["shop-net"]), app("blog", &["shop-net", "blog_back"]).labels(&labels)],
    );
    let back = world.observed.networks.iter_mut().find(|network| network.name == "blog_back").unwrap();
    *back = back.clone().labels(&[("com.docker.compose.project", "blog"), ("com.docker.compose.network", "back")]);
    let finding =
        world.finds(FindingCause::AmbiguousNetwork, "blog", "docker compose -p blog up -d --force-recreate web");
    assert!(
        finding.evidence.contains(&"the Compose file of blog defines blog_back under `networks:`".to_owned()),
        "{finding:?}"
    );

    let mut blog = app("blog", &["web"]);
    blog.endpoints[0].ipv4_address = "10.1.0.2".to_owned();
    let mut world = World::new(&["web"], vec![traefik(&["web"]), blog]);
    let web = world.observed.networks.iter_mut().find(|network| network.name == "web").unwrap();
    web.subnets = vec![subnet("10.1.0.0/30", "10.1.0.1")];
    assert_eq!(world.found(), []);
    assert_eq!(world.examine()[0].cause, FindingCause::AddressesExhausted);
}

#[test]
fn a_service_of_a_swarm_without_tasks_or_without_a_network_of_the_proxy() {
    let service = |name: &str, networks: &[&str], replicas: u64, running: u64| -> ObservedService {
        let networks: Vec<_> = networks.iter().map(|name| serde_json::json!({ "target": network_id(name) })).collect();
        let labels = serde_json::json!({
            "traefik.enable": "true",
            format!("traefik.http.routers.{name}.rule"): format!("Host(`{name}.example.com`)"),
            format!("traefik.http.services.{name}.loadbalancer.server.port"): "80",
        });
        serde_json::from_value(serde_json::json!({
            "id": format!("{name:a<25}"), "name": name, "labels": labels, "networks": networks, "replicas": replicas,
            "tasks": { "desired": replicas, "running": running },
        }))
        .unwrap()
    };
    let world = |services: Vec<ObservedService>| {
        let mut world = World::new(&[], Vec::new());
        world.observed = manager(vec![overlay("web"), overlay("other")], services);
        let proxy = "proxy: { service: traefik, type: Traefik }";
        world.server = declared(&MANIFESTS.replace("proxy: { container: traefik, type: Traefik }", proxy));
        world
    };
    let traefik = || service("traefik", &["web"], 1, 1);
    assert_eq!(world(vec![traefik(), service("blog", &["web"], 2, 2)]).found(), []);
    let ps = "docker service ps --no-trunc blog";
    world(vec![traefik(), service("blog", &["web"], 2, 0)]).finds(FindingCause::ServiceWithoutTasks, "blog", ps);
    let scale = "docker service scale blog=1";
    world(vec![traefik(), service("blog", &["web"], 0, 0)]).finds(FindingCause::ServiceWithoutTasks, "blog", scale);
    // Traefik has no route to it, and that is why.
    let asked = |host: &str| world(vec![traefik(), service("blog", &["web"], 0, 0)]).asks(host, Some(404));
    asked("blog.example.com").finds(FindingCause::ServiceWithoutTasks, "blog", scale);
    asked("shop.example.com").finds(FindingCause::NoRoute, "", "");
    let add = "docker service update --network-add other traefik";
    world(vec![traefik(), service("blog", &["other"], 1, 1)]).finds(FindingCause::ProxyNotOnNetwork, "blog", add);
}

#[test]
fn routers_that_two_containers_define() {
    let other = app("other", &["web"]).labels(&[("traefik.http.routers.blog.rule", "Host(`other.example.com`)")]);
    let world = World::new(&["web"], vec![traefik(&["web"]), app("blog", &["web"]), other]);
    let finding =
        world.finds(FindingCause::RouterConflict, "other", "docker rm -f other # and `docker run` with the label");
    assert_eq!(finding.evidence, ["blog: Host(`blog.example.com`)", "other: Host(`other.example.com`)"]);
    let twin = app("twin", &["web"]).labels(&[("traefik.http.routers.twin.rule", "Host(`blog.example.com`)")]);
    let world = World::new(&["web"], vec![traefik(&["web"]), app("blog", &["web"]), twin]);
    world.finds(FindingCause::RouteTwice, "twin", "docker stop blog");
}

#[test]
fn an_alias_of_two_stacks_and_ranges_that_overlap() {
    let stack = |project: &'static str| {
        let name = format!("{project}-web-1");
        let mut container = container(&name, "app", &["web"])
            .labels(&[("com.docker.compose.project", project), ("com.docker.compose.service", "web")]);
        container.endpoints[0].settings.as_mut().unwrap().aliases = vec!["web".to_owned(), name];
        container
    };
    let world = World::new(&["web"], vec![traefik(&["web"]), stack("blog"), stack("shop")]);
    world.finds(FindingCause::AliasTwice, "shop-web-1", "docker network disconnect web shop-web-1");

    // The application that is declared keeps its name, in whatever order they are.
    let shop = || {
        let mut shop = app("shop", &["shop-net"]);
        shop.endpoints[0].settings.as_mut().unwrap().aliases = vec!["shop".to_owned(), "web".to_owned()];
        shop
    };
    let named = || {
        let mut other = stack("blog");
        other.endpoints[0] = shop().endpoints[0].clone();
        other
    };
    let mut containers = vec![traefik(&["shop-net"]), shop(), named()];
    for _ in 0..2 {
        let mut world = World::new(&["shop-net"], containers.clone());
        let with_alias = "containers: { names: [shop] }, endpoint: { aliases: [web] } }";
        world.server = declared(&MANIFESTS.replace("containers: { names: [shop] } }", with_alias));
        let fix = "docker network disconnect shop-net blog-web-1";
        assert!(world.found().iter().all(|(cause, _, command)| *cause == FindingCause::AliasTwice && command == fix));
        assert!(!world.found().is_empty());
        containers.swap(1, 2);
    }

    // Two versions of an application of Coolify, during a deployment.
    let version = |name: &'static str| stack(name).labels(&[("coolify.applicationId", "7")]);
    assert_eq!(World::new(&["web"], vec![traefik(&["web"]), version("a"), version("b")]).found(), []);

    let mut world = World::new(&["a", "b"], vec![traefik(&["a", "b"]), app("blog", &["a"])]);
    for (name, range) in [("a", "10.1.0.0/16"), ("b", "10.1.2.0/24")] {
        let network = world.observed.networks.iter_mut().find(|network| network.name == name).unwrap();
        network.subnets = vec![subnet(range, "10.1.2.1")];
    }
    world.finds(FindingCause::SubnetOverlap, "traefik", "docker network inspect a b");
}

#[test]
fn an_answer_is_explained_by_what_concerns_its_host() {
    let world = || {
        let stopped = exited(app("blog", &["web"]), 1, "", false);
        World::new(&["web"], vec![traefik(&["web"]), stopped, app("shop", &["web"])])
    };
    world().asks("blog.example.com", Some(404)).finds(FindingCause::NotRunning, "blog", "docker start blog");
    // Another host has nothing to do with it.
    let fine = world().asks("shop.example.com", Some(502));
    assert_eq!(fine.found(), []);
    let possible = fine.examine().remove(0);
    assert_eq!(possible.cause, FindingCause::ListensOnLoopback);
    assert_eq!(possible.fix, ["docker exec shop cat /proc/net/tcp"]);
    assert_eq!(world().asks("shop.example.com", Some(504)).examine()[0].cause, FindingCause::SlowApplication);
    let unknown = world().asks("shpo.example.com", Some(404));
    let finding = unknown.finds(FindingCause::NoRoute, "", "");
    assert_eq!(finding.evidence, ["blog asks for Host(`blog.example.com`)", "shop asks for Host(`shop.example.com`)"]);
    let mut https = world().asks("shop.example.com", Some(404));
    https.asked.as_mut().unwrap().tls = true;
    https.finds(FindingCause::NoTlsRoute, "", "");
}

#[test]
fn findings_are_narrowed_to_an_object_and_the_proxy_stays() {
    let world =
        World::new(&["shop-net", "web"], vec![traefik(&["bridge"]), app("shop", &["shop-net"]), app("blog", &["web"])]);
    let names = |object: &ObjectKey| {
        let mut findings = world.examine();
        narrow(&mut findings, &world.server, object);
        findings.into_iter().filter_map(|finding| finding.container).collect::<Vec<_>>()
    };
    assert_eq!(names(&ObjectKey::new(Kind::Server, "default", "edge")), ["blog", "shop"]);
    assert_eq!(names(&ObjectKey::new(Kind::Destination, "default", "shop")), ["shop"]);
    assert_eq!(names(&ObjectKey::new(Kind::Application, "default", "shop")), ["shop"]);
}
