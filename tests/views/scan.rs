//! `scan`: what it makes of a server, literally, and that the next `diff` has nothing to do.

use std::collections::BTreeSet;

use landfall::scan::{ScanInput, ScannedServer, scan};

use super::observed::{Labelled, container, network, server, subnet};

fn scanned(state: &landfall::observed::ObservedState) -> (String, Vec<String>) {
    let scanned = scan(&ScanInput {
        observed: state,
        set: "default",
        server: ScannedServer::Undeclared { endpoint: "unix:///var/run/docker.sock" },
        namespace: None,
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
