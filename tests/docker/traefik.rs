//! A real Traefik in front of an application: it reads the addresses of containers when one starts, dies or changes health, and at no other time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::controller::{Controller, until};
use super::workloads::names;
use crate::cli::world::World;
use crate::support::{Host, wait_for};

pub(super) const TRAEFIK: &str = "landfall/traefik:test";
/// Where the proxy answers on the host.
const PORT: u16 = 8080;

const MANIFESTS: &str = "apiVersion: landfall/v1
kind: Server
metadata: { name: edge }
spec: { endpoint: 'ENDPOINT', proxy: { container: traefik, type: Traefik } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: shop }
spec: { server: edge, network: { name: street-shop } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec: { destination: shop, containers: { names: [shop] } }
";

/// The program of PyPI's package; `scripts/proxies` fetches it.
pub(super) fn program() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/proxies");
    let program = std::env::var_os("LANDFALL_PROXIES").map_or(default, PathBuf::from).join("traefik");
    assert!(program.exists(), "{} is missing; `scripts/proxies` fetches it", program.display());
    program
}

pub(super) fn host() -> Host {
    let host = Host::start();
    host.import_image_with(TRAEFIK, &[], |root| {
        std::fs::copy(program(), root.join("bin/traefik")).unwrap();
    });
    host
}

/// On the network of published ports only.
pub(super) fn start(host: &Host) {
    host.container("traefik")
        .image(TRAEFIK)
        .publish(80, PORT)
        .bind(&host.socket(), "/var/run/docker.sock")
        .command(&[
            "traefik",
            "--entrypoints.web.address=:80",
            "--providers.docker.exposedbydefault=false",
            "--providers.providersthrottleduration=100ms",
        ])
        .running();
}

/// Traefik, and an application that it is to serve, each on no network of Landfall's yet.
fn street() -> (Host, World) {
    let host = host();
    let serve = "mkdir -p /tmp/www && echo shop >/tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www";
    // Where the network of its label is missing, Traefik takes any other that it finds.
    host.create_network("home");
    host.container("shop")
        .network("home")
        .label("traefik.enable", "true")
        .label("traefik.docker.network", "street-shop")
        .label("traefik.http.routers.shop.rule", "PathPrefix(`/`)")
        .label("traefik.http.services.shop.loadbalancer.server.port", "80")
        .command(&["sh", "-c", serve])
        .running();
    start(&host);
    let world = World::new(&MANIFESTS.replace("ENDPOINT", &host.endpoint()));
    (host, world)
}

/// The status that the proxy answers with; 0: none.
pub(super) fn status(host: &Host) -> u16 {
    let url = format!("http://127.0.0.1:{PORT}/");
    let mut curl = host.inside(&[
        "curl",
        "--silent",
        "--max-time",
        "1",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        &url,
    ]);
    let output = curl.output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap_or(0)
}

/// How often a container that has the proxy look again was started.
fn refreshes(host: &Host) -> usize {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let filters = r#"{"type":["container"],"event":["start"],"label":["landfall.refresh"]}"#;
    let answer = host.api("GET", &format!("/events?since=0&until={now}&filters={filters}"), &json!(null));
    match &answer.body {
        Value::String(lines) => lines.lines().filter(|line| !line.trim().is_empty()).count(),
        Value::Null => 0,
        _ => 1,
    }
}

#[test]
fn a_member_that_was_connected_while_it_runs_is_served_and_one_at_another_address_again() {
    let (host, world) = street();
    let applied = world.run("apply").expect(0);
    assert!(applied.stdout.contains("~ have traefik look again for Server/default/edge (ProxyStale)"), "{applied}");
    wait_for("the application behind Traefik", || (status(&host) == 200).then_some(()));
    world.run("diff").expect(0);
    assert_eq!(names(&host), ["shop", "traefik"]);
    // The daemon tells of whole seconds only.
    let told = wait_for("the event of the refresh", || Some(refreshes(&host)).filter(|told| *told > 0));
    assert_eq!(told, 1);

    // While nobody looks it falls off, Traefik reads that, and another container takes its address.
    let address = host.endpoint_of("shop", "street-shop")["IPAddress"].clone();
    host.disconnect("street-shop", "shop");
    host.container("squatter").network("street-shop").running();
    assert_eq!(host.endpoint_of("squatter", "street-shop")["IPAddress"], address);
    wait_for("Traefik to let go of it", || (status(&host) != 200).then_some(()));
    let mut controller = Controller::start(&world, &[]);
    let since = Instant::now();
    until("the application served again", &mut controller, || status(&host) == 200);
    eprintln!("from the start of `run` to the first 200: {} ms", since.elapsed().as_millis());
    assert_ne!(host.endpoint_of("shop", "street-shop")["IPAddress"], address);

    // Healed by `run` at once, as seen through the proxy.
    let mut healed: Vec<Duration> = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        host.disconnect("street-shop", "shop");
        until("the application served again", &mut controller, || {
            host.networks_of("shop").contains(&"street-shop".to_owned()) && status(&host) == 200
        });
        healed.push(since.elapsed());
    }
    healed.sort();
    eprintln!(
        "from a disconnection to the first 200: median {} ms, worst {} ms",
        healed[2].as_millis(),
        healed[4].as_millis()
    );

    // Many at a time are one burst, and Traefik looks again after it; some more where the machine is slow. All are served.
    let members: Vec<String> = (1..=9).map(|number| format!("member-{number}")).collect();
    for name in &members {
        host.container(name).running();
    }
    let more = format!(
        "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: more }}\nspec: {{ destination: shop, containers: {{ names: [{}] }} }}\n",
        members.join(", ")
    );
    world.write("manifests/all.yaml", &(MANIFESTS.replace("ENDPOINT", &host.endpoint()) + &more));
    let is_on = |name: &str| host.networks_of(name).contains(&"street-shop".to_owned());
    let refreshing = |name: &String| name.starts_with("landfall-refresh");
    let over = || wait_for("the last refresh to be over", || (!names(&host).iter().any(refreshing)).then_some(()));
    until("all members connected", &mut controller, || members.iter().all(|name| is_on(name)));
    until("the application served", &mut controller, || status(&host) == 200);
    over();
    let before = refreshes(&host);
    for name in &members {
        host.disconnect("street-shop", name);
    }
    host.disconnect("street-shop", "shop");
    until("all connected again", &mut controller, || members.iter().all(|name| is_on(name)) && is_on("shop"));
    until("the application served again", &mut controller, || status(&host) == 200);
    let told = wait_for("the event of the refresh", || Some(refreshes(&host)).filter(|told| *told > before)) - before;
    over();
    eprintln!("{told} refreshes for 10 disconnections");
    assert!(told < 10, "{told}");
}

#[test]
fn what_an_interrupted_refresh_left_behind_is_cleared_and_refresh_can_be_turned_off() {
    let (host, world) = street();
    host.container("landfall-refresh-default").label("landfall.refresh", "proxy").created();
    let applied = world.run("apply").expect(0);
    assert!(!applied.to_string().contains("may not know"), "{applied}");
    assert_eq!(names(&host), ["shop", "traefik"]);

    host.disconnect("street-shop", "shop");
    let off = MANIFESTS.replace("type: Traefik", "type: Traefik, refresh: false").replace("ENDPOINT", &host.endpoint());
    world.write("manifests/all.yaml", &off);
    let planned = world.run("diff").expect(1);
    assert!(!planned.stdout.contains("look again"), "{planned}");

    // Somebody else's container of that name stays, and the repair is done all the same.
    host.container("landfall-refresh-default").created();
    world.write("manifests/all.yaml", &MANIFESTS.replace("ENDPOINT", &host.endpoint()));
    let applied = world.run("apply").expect(0);
    assert!(applied.to_string().contains("traefik may not know the addresses"), "{applied}");
    assert_eq!(names(&host), ["landfall-refresh-default", "shop", "traefik"]);
    assert!(host.networks_of("shop").contains(&"street-shop".to_owned()));
}
