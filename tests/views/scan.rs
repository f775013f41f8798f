//! `scan`: what it makes of a server, literally, and that the next `diff` has nothing to do.

use std::collections::BTreeSet;

use landfall::core::api::Spec;
use landfall::core::manifest::{Manifests, Source, load};
use landfall::core::observed::{
    ObservedContainer, ObservedNetwork, ObservedService, ObservedState, ServiceAttachment, ServiceId, ServiceNetwork,
};
use landfall::core::scan::{ScanInput, Scanned, ScannedServer, scan};

use crate::support::scenario::hex_id;

use super::observed::{Labelled, container, manager, network, overlay, server, subnet};

fn scanned(state: &ObservedState) -> (String, Vec<String>) {
    let scanned = scan(&ScanInput {
        observed: state,
        server: ScannedServer::Undeclared { endpoint: "unix:///var/run/docker.sock" },
        namespace: None,
        set: "default",
        declared: &BTreeSet::new(),
    });
    (scanned.to_yaml().unwrap(), scanned.warnings)
}

#[test]
fn a_server_with_everything_on_it() {
    let mut static_app = container("api", "registry.example.com/api:3", &["web", "data"]);
    let settings = static_app.endpoints[0].settings.as_mut().unwrap();
    settings.aliases = vec!["backend".to_owned(), "api".to_owned(), static_app.id.short().to_owned()];
    settings.ipv4_address = Some("10.42.0.10".to_owned());
    let compose =
        |service: &'static str| [("com.docker.compose.project", "blog"), ("com.docker.compose.service", service)];
    let coolify = [
        ("coolify.managed", "true"),
        ("coolify.type", "application"),
        ("coolify.applicationId", "7"),
        ("coolify.pullRequestId", "0"),
        ("coolify.resourceName", "shop-front"),
        ("coolify.projectName", "shop"),
        ("coolify.environmentName", "production"),
    ];
    let mut web = network("web");
    web.subnets = vec![subnet("10.42.0.0/24", "10.42.0.1")];
    web.options = [
        ("com.docker.network.driver.mtu".to_owned(), "1450".to_owned()),
        ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned()),
        ("com.docker.network.bridge.name".to_owned(), "br-web".to_owned()),
    ]
    .into();
    let blog = network("blog_default").labels(&[
        ("com.docker.compose.project", "blog"),
        ("com.docker.compose.network", "default"),
        ("com.docker.compose.version", "2.20.0"),
        ("team", "press"),
    ]);
    let mut odd = network("-odd name");
    odd.driver = "bridge".to_owned();
    let mut vlan = network("vlan");
    vlan.driver = "macvlan".to_owned();
    let state = server(
        vec![web, network("data"), blog, odd, vlan],
        vec![
            container("coolify-proxy", "traefik:v3.6", &["web", "bridge"]),
            static_app,
            container("pg", "postgres:16", &["data"]),
            container("blog-wordpress-1", "wordpress", &["blog_default"]).labels(&compose("wordpress")),
            container("blog-db-1", "mariadb:11", &["blog_default"]).labels(&compose("db")),
            container("abc-101010", "shop", &["web"]).labels(&coolify),
            container("lonely", "busybox", &["bridge"]),
        ],
    );
    let (yaml, warnings) = scanned(&state);
    assert_eq!(
        yaml,
        r#"# Networks on default/edge-1-example-com that no manifest declared, and who is on them.
# Landfall takes them over as they are: nothing is changed by applying this.
---
# "coolify-proxy" looks like the reverse proxy; correct or remove it if it is not.
apiVersion: landfall/v1
kind: Server
metadata:
  name: edge-1-example-com
  namespace: default
spec:
  endpoint: unix:///var/run/docker.sock
  proxy:
    container: coolify-proxy
---
# The default network of the Compose project "blog", which it belongs to: `docker compose down` removes it.
# The proxy "coolify-proxy" is not on it; without `proxy: false` it would be connected.
apiVersion: landfall/v1
kind: Destination
metadata:
  name: blog-default
  namespace: default
  annotations:
    com.docker.compose.network: default
    com.docker.compose.project: blog
spec:
  server: edge-1-example-com
  network:
    name: blog_default
    labels:
      team: press
  proxy: false
  adopt: true
---
apiVersion: landfall/v1
kind: Service
metadata:
  name: blog
  namespace: default
spec:
  destination: blog-default
  compose:
    project: blog
  connectToDestination: true
---
# The proxy "coolify-proxy" is not on it; without `proxy: false` it would be connected.
apiVersion: landfall/v1
kind: Destination
metadata:
  name: data
  namespace: default
spec:
  server: edge-1-example-com
  network:
    name: data
  proxy: false
  adopt: true
---
# The same as Application/default/api, which appears differently on this network.
apiVersion: landfall/v1
kind: Application
metadata:
  name: api-data
  namespace: default
spec:
  destination: data
  containers:
    names:
    - api
---
apiVersion: landfall/v1
kind: Database
metadata:
  name: pg
  namespace: default
spec:
  destination: data
  containers:
    names:
    - pg
  engine: PostgreSQL
---
apiVersion: landfall/v1
kind: Destination
metadata:
  name: web
  namespace: default
spec:
  server: edge-1-example-com
  network:
    name: web
    subnets:
    - subnet: 10.42.0.0/24
      gateway: 10.42.0.1
    icc: false
    mtu: 1450
    options:
      com.docker.network.bridge.name: br-web
  adopt: true
---
apiVersion: landfall/v1
kind: Application
metadata:
  name: api
  namespace: default
spec:
  destination: web
  containers:
    names:
    - api
  endpoint:
    aliases:
    - backend
    ipv4Address: 10.42.0.10
---
apiVersion: landfall/v1
kind: Application
metadata:
  name: shop-front
  namespace: default
  labels:
    coolify.environmentName: production
    coolify.projectName: shop
spec:
  destination: web
  containers:
    labels:
      coolify.applicationId: '7'
      coolify.pullRequestId: '0'
"#
    );
    assert_eq!(
        warnings,
        [
            "The network \"-odd name\" is left out: a name like that cannot be declared.",
            "The network \"vlan\" is left out: its driver is \"macvlan\", and a destination on this server is a bridge network.",
        ]
    );
}

/// Everything that is scanned is a valid manifest and reads back as what it was.
fn loaded(yaml: &str) -> Manifests {
    let sources = [Source { name: "scanned.yaml".to_owned(), bytes: yaml.as_bytes().to_vec() }];
    load(&sources).unwrap_or_else(|problems| {
        let problems: Vec<_> = problems.iter().map(|problem| problem.render(false)).collect();
        panic!("{}\n{yaml}", problems.join("\n"))
    })
}

/// What is declared, by kind and name, with the selector as a phrase and the destinations.
fn summary(yaml: &str) -> Vec<String> {
    let text = |value: serde_json::Value| serde_json::to_string(&value).unwrap().replace('"', "");
    loaded(yaml)
        .objects()
        .filter_map(|located| {
            let placement = located.object.spec.placement()?;
            let mut chosen = placement.containers.map(|containers| serde_json::to_value(containers).unwrap());
            if let Spec::Service(spec) = &located.object.spec
                && let Some(compose) = &spec.compose
            {
                chosen = Some(serde_json::to_value(compose).unwrap());
            }
            let destinations: Vec<&str> =
                placement.destination.into_iter().chain(placement.additional).map(|it| it.0.as_str()).collect();
            let endpoint = placement.endpoint.map(|endpoint| text(serde_json::to_value(endpoint).unwrap()));
            let line = format!("{} {} on {}", located.object.key(), text(chosen.unwrap()), destinations.join(", "));
            Some(line + &endpoint.map(|endpoint| format!(" as {endpoint}")).unwrap_or_default())
        })
        .collect()
}

fn compose(container: ObservedContainer, project: &str, service: &str) -> ObservedContainer {
    container.labels(&[("com.docker.compose.project", project), ("com.docker.compose.service", service)])
}

#[test]
fn a_stack_whose_services_are_on_different_networks_is_declared_by_service() {
    let state = server(
        vec![network("blog_default"), network("edge")],
        vec![
            compose(container("blog-web-1", "nginx", &["blog_default", "edge"]), "blog", "web"),
            compose(container("blog-web-2", "nginx", &["blog_default", "edge"]), "blog", "web"),
            compose(container("blog-db-1", "postgres:16", &["blog_default"]), "blog", "db"),
        ],
    );
    assert_eq!(
        summary(&scanned(&state).0),
        [
            "Application/default/blog-web {composeProject:blog,composeService:web} on blog-default, edge",
            "Database/default/blog-db {composeProject:blog,composeService:db} on blog-default",
        ]
    );
}

#[test]
fn a_stack_that_is_nothing_but_a_database_is_a_database() {
    let state = server(vec![network("n")], vec![compose(container("pg-1", "postgres:16", &["n"]), "pg", "db")]);
    assert_eq!(summary(&scanned(&state).0), ["Database/default/pg {composeProject:pg,composeService:db} on n"]);
}

#[test]
fn replicas_on_different_networks_are_declared_by_name() {
    let state = server(
        vec![network("a"), network("b")],
        vec![
            compose(container("x-web-1", "nginx", &["a"]), "x", "web"),
            compose(container("x-web-2", "nginx", &["a", "b"]), "x", "web"),
        ],
    );
    assert_eq!(
        summary(&scanned(&state).0),
        ["Application/default/x-web-1 {names:[x-web-1]} on a", "Application/default/x-web-2 {names:[x-web-2]} on a, b"]
    );
}

/// Coolify: the same id may occur for every kind of database, a service stack has parts, a preview is an application of its own.
#[test]
fn coolifys_labels_make_applications_databases_and_services() {
    let coolify = |name: &str, image: &str, labels: &[(&str, &str)]| {
        container(name, image, &["coolify"]).labels(&[("coolify.managed", "true")]).labels(labels)
    };
    let database = |name, sub_type| {
        let labels = [
            ("coolify.type", "database"),
            ("coolify.databaseId", "1"),
            ("coolify.resourceName", name),
            ("coolify.database.subType", sub_type),
        ];
        coolify(name, "registry.local/custom", &labels)
    };
    let part = |name, id, sub_type| {
        let labels = [
            ("coolify.type", "service"),
            ("coolify.serviceId", "4"),
            ("coolify.resourceName", "wiki"),
            ("coolify.service.subId", id),
            ("coolify.service.subType", sub_type),
            ("coolify.service.subName", name),
        ];
        coolify(name, "postgres", &labels)
    };
    let application = |name, pull_request| {
        let labels = [
            ("coolify.type", "application"),
            ("coolify.applicationId", "1"),
            ("coolify.resourceName", "front"),
            ("coolify.pullRequestId", pull_request),
        ];
        coolify(name, "front", &labels)
    };
    let mut containers = vec![
        database("pg", "standalone-postgresql"),
        database("cache", "standalone-redis"),
        part("wiki-app", "8", "application"),
        part("wiki-db", "3", "database"),
        application("front-1", "0"),
        application("front-2", "12"),
        // Coolify itself has no id.
        coolify("coolify-db", "postgres:15", &[]),
        coolify("coolify-proxy", "traefik:v3", &[("coolify.proxy", "true")]),
    ];
    let lines = summary(&scanned(&server(vec![network("coolify")], containers.clone())).0);
    assert_eq!(
        lines,
        [
            "Application/default/front {labels:{coolify.applicationId:1,coolify.pullRequestId:0}} on coolify",
            "Application/default/front-pr-12 {labels:{coolify.applicationId:1,coolify.pullRequestId:12}} on coolify",
            "Database/default/cache {labels:{coolify.database.subType:standalone-redis,coolify.databaseId:1}} on coolify",
            "Database/default/coolify-db {names:[coolify-db]} on coolify",
            "Database/default/pg {labels:{coolify.database.subType:standalone-postgresql,coolify.databaseId:1}} on coolify",
            "Service/default/wiki {labels:{coolify.serviceId:4}} on coolify",
        ]
    );
    // Its database is on a network of its own as well: the stack falls into its parts.
    containers[3] = containers[3].clone();
    let own = container("wiki-db", "postgres", &["coolify", "wiki-net"]);
    containers[3].endpoints = own.endpoints;
    let lines = summary(&scanned(&server(vec![network("coolify"), network("wiki-net")], containers)).0);
    assert!(lines.contains(
        &"Application/default/wiki-wiki-app {labels:{coolify.service.subId:8,coolify.service.subType:application,coolify.serviceId:4}} on coolify"
            .to_owned()
    ), "{lines:#?}");
    assert!(lines.contains(
        &"Database/default/wiki-wiki-db {labels:{coolify.service.subId:3,coolify.service.subType:database,coolify.serviceId:4}} on coolify, wiki-net"
            .to_owned()
    ), "{lines:#?}");
}

#[test]
fn overlays_are_declared_with_their_services_and_tasks_are_not_members_of_their_own() {
    let mut net = overlay("web");
    net.options = [
        ("com.docker.network.driver.overlay.vxlanid_list".to_owned(), "4097".to_owned()),
        ("encrypted".to_owned(), String::new()),
    ]
    .into();
    net.subnets = vec![subnet("10.0.1.0/24", "10.0.1.1")];
    let service = |name: &str| ObservedService {
        id: ServiceId::try_from(hex_id(name)[..25].to_owned()).unwrap(),
        name: name.to_owned(),
        labels: [].into(),
        networks: vec![ServiceNetwork { target: net.id.as_str().to_owned(), attachment: ServiceAttachment::default() }],
        replicas: Some(1),
        rollout: None,
        rollout_started: None,
        has_previous: false,
        tasks: None,
        failure: None,
        parallelism: 1,
        round_robin: false,
        ports: Vec::new(),
        definition: None,
    };
    let mut state = manager(
        vec![net.clone(), network("local"), ObservedNetwork { ingress: true, ..overlay("ingress") }],
        vec![service("shop_front"), service("shop_db"), service("proxy_traefik")],
    );
    let task = |name: &str, image: &str, service: &str| {
        container(name, image, &["web"])
            .labels(&[("com.docker.swarm.service.name", service), ("com.docker.swarm.task.id", "t")])
    };
    state.containers = vec![
        task("shop_front.1.abc", "front", "shop_front"),
        task("shop_db.1.abc", "mysql:8", "shop_db"),
        task("proxy_traefik.1.abc", "traefik:v3", "proxy_traefik"),
        container("plain", "busybox", &["web"]),
    ];
    let (yaml, warnings) = scanned(&state);
    assert_eq!(
        summary(&yaml),
        [
            "Application/default/plain {names:[plain]} on web",
            "Application/default/shop-front {swarmServices:[shop_front]} on web",
            "Database/default/shop-db {swarmServices:[shop_db]} on web",
        ]
    );
    assert!(yaml.contains("  proxy:\n    service: proxy_traefik\n"), "{yaml}");
    assert!(
        yaml.contains(
            "    name: web\n    subnets:\n    - subnet: 10.0.1.0/24\n      gateway: 10.0.1.1\n    encrypted: true\n"
        ),
        "{yaml}"
    );
    assert!(!yaml.contains("vxlan"));
    assert_eq!(
        warnings,
        [
            "The network \"local\" is left out: its driver is \"bridge\", and a destination on a Swarm is an overlay network of the Swarm."
        ]
    );
}

const DECLARED: &str = r"
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1, namespace: infra }
spec: { proxy: { container: proxy } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web, namespace: infra }
spec: { server: edge-1, network: { name: web-net, subnets: [{ subnet: 10.1.0.0/16 }] } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: front, namespace: infra }
spec: { destination: web, containers: { names: [front] } }
";

fn scanned_declared(state: &ObservedState, namespace: Option<&str>) -> Scanned {
    let manifests = loaded(DECLARED);
    let desired = manifests.desired("default");
    let declared: BTreeSet<_> = manifests.objects().map(|located| located.object.key()).collect();
    let server = desired.servers.values().next().unwrap();
    scan(&ScanInput {
        observed: state,
        server: ScannedServer::Declared(server),
        namespace,
        set: "default",
        declared: &declared,
    })
}

#[test]
fn what_is_declared_is_left_out_and_its_names_are_not_used_again() {
    let mut other = network("web");
    other.subnets = vec![subnet("10.1.2.0/24", "10.1.2.1")];
    let state = server(
        vec![network("web-net"), other, network("theirs").labels(&[("landfall.set", "team-b")])],
        vec![
            container("front", "front", &["web-net", "web"]),
            container("proxy", "nginx", &["web"]),
            container("old", "busybox", &["web-net"]),
        ],
    );
    let scanned = scanned_declared(&state, None);
    assert_eq!(
        scanned.to_yaml().unwrap(),
        r#"# Networks on infra/edge-1 that no manifest declared, and who is on them.
# Landfall takes them over as they are: nothing is changed by applying this.
---
# Its range 10.1.2.0/24 overlaps that of another destination and is therefore not declared.
apiVersion: landfall/v1
kind: Destination
metadata:
  name: web-edge-1
  namespace: infra
spec:
  server: edge-1
  network:
    name: web
  adopt: true
---
# Also chosen by Application/infra/front: instead of this, the destination can be added to its additionalDestinations.
apiVersion: landfall/v1
kind: Application
metadata:
  name: front-edge-1
  namespace: infra
spec:
  destination: web-edge-1
  containers:
    names:
    - front
"#
    );
    assert_eq!(
        scanned.warnings,
        [
            "The network \"theirs\" is left out: it carries labels of the set \"team-b\" that were made for another network."
        ]
    );
    loaded(&format!("{DECLARED}{}", scanned.to_yaml().unwrap()));
}

#[test]
fn another_namespace_refers_to_the_server_by_its_path() {
    let scanned = scanned_declared(&server(vec![network("n")], Vec::new()), Some("shop"));
    let yaml = scanned.to_yaml().unwrap();
    assert!(yaml.contains("  name: n\n  namespace: shop\n"), "{yaml}");
    assert!(yaml.contains("  server: infra/edge-1\n"), "{yaml}");
}

#[test]
fn a_server_that_is_completely_declared_says_so() {
    let scanned = scanned_declared(&server(vec![network("web-net")], Vec::new()), None);
    assert_eq!(scanned.to_yaml().unwrap(), "# Every network on infra/edge-1 that can be a destination is declared.\n");
}

#[test]
fn a_recognised_proxy_is_suggested_where_the_server_declares_none() {
    let manifests = loaded("apiVersion: landfall/v1\nkind: Server\nmetadata: { name: s }\nspec: {}\n");
    let desired = manifests.desired("default");
    let state = server(
        vec![network("n"), network("m")],
        vec![container("front-proxy", "docker.io/library/traefik:v3.1", &["n"])],
    );
    let scanned = scan(&ScanInput {
        observed: &state,
        server: ScannedServer::Declared(desired.servers.values().next().unwrap()),
        namespace: None,
        set: "default",
        declared: &BTreeSet::new(),
    });
    let yaml = scanned.to_yaml().unwrap();
    assert!(yaml.contains("#   proxy: { container: front-proxy, type: Traefik }\n"), "{yaml}");
    // Following the suggestion changes nothing by itself.
    assert!(yaml.contains("    name: m\n  proxy: false\n"), "{yaml}");
    assert!(yaml.contains("    name: n\n  adopt: true\n"), "{yaml}");
}
