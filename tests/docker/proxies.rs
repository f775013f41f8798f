//! The proxy of a server, run by Landfall: a real Traefik and a real Caddy, on every destination from their first moment.

use super::outage::CADDY;
use super::traefik;
use crate::cli::world::World;
use crate::support::{Host, wait_for};

fn manifests(host: &Host, proxy: &str) -> String {
    let shop = |destination: &str| {
        format!(
            "---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: {destination} }}
spec: {{ server: edge, network: {{ name: street-{destination} }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: app-{destination} }}
spec:
  destination: {destination}
  image: landfall/busybox:test
  command: [sh, -c, 'mkdir -p /tmp/www && echo {destination} >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www']
  stopSignal: SIGKILL
  port: 8080
  domains: [{destination}.example]
"
        )
    };
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec: {{ endpoint: '{}' }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: proxy }}
spec:
  role: Proxy
  destination: north
{proxy}{}{}",
        host.endpoint(),
        shop("north"),
        shop("south")
    )
}

/// What the proxy answers on the server's port 80 for a host name.
fn answer(host: &Host, name: &str) -> String {
    let asked =
        host.run(&["curl", "--silent", "--max-time", "5", "--header", &format!("Host: {name}"), "http://127.0.0.1/"]);
    String::from_utf8_lossy(&asked.stdout).trim().to_owned()
}

#[track_caller]
fn serves_both(host: &Host) {
    for destination in ["north", "south"] {
        let name = format!("{destination}.example");
        wait_for(&format!("{name} behind the proxy"), || (answer(host, &name) == destination).then_some(()));
    }
}

#[test]
fn traefik_as_an_application_serves_every_destination_and_is_updated_in_place() {
    let host = traefik::host();
    let socket = host.socket().display().to_string();
    let spec = |more: &str| {
        format!(
            "  image: {}\n  volumes: [{{ hostPath: {socket}, mountPath: /var/run/docker.sock, readOnly: true }}]\n{more}",
            traefik::TRAEFIK
        )
    };
    // Makes the image.
    let _ = host.container("none");
    let world = World::new(&manifests(&host, &spec("")));
    let applied = world.run("apply").expect(0);
    assert!(applied.stdout.contains("on street-north, street-south"), "{applied}");
    serves_both(&host);
    let seen = host.inspect("default-proxy");
    let ports = &seen["HostConfig"]["PortBindings"];
    assert_eq!((&ports["80/tcp"][0]["HostPort"], &ports["443/tcp"][0]["HostPort"]), (&"80".into(), &"443".into()));
    let mounts = seen["Mounts"].to_string();
    assert!(mounts.contains("default-proxy-certificates") && mounts.contains("\"/certificates\""), "{mounts}");
    assert_eq!(seen["State"]["Health"]["Status"], "healthy");
    world.run("diff").expect(0);

    // Another environment: one apply, and it is on both networks again.
    world.write("manifests/all.yaml", &manifests(&host, &spec("  env: [{ name: TZ, value: UTC }]\n")));
    world.run("apply").expect(0);
    serves_both(&host);
    world.run("diff").expect(0);
    assert_eq!(host.networks_of("default-proxy"), ["street-north", "street-south"]);
}

#[test]
fn caddy_as_an_application_is_on_every_destination_with_its_ports() {
    let host = Host::start();
    host.import_image(CADDY, &["/usr/bin/caddy"]);
    // As caddy-docker-proxy, which no package holds, would write it from the labels.
    let site = |name: &str| {
        format!(
            "http://{name}.example {{\n reverse_proxy {{\n dynamic a app-{name} 8080 {{\n refresh 100ms\n }}\n }}\n}}\n"
        )
    };
    let file = format!("{{\n admin off\n auto_https off\n}}\n{}{}", site("north"), site("south"));
    let spec = format!(
        "  image: {CADDY}\n  command: [caddy, run, --config, /etc/Caddyfile, --adapter, caddyfile]\n  files: [{{ path: /etc/Caddyfile, value: {} }}]\n",
        serde_json::to_string(&file).unwrap()
    );
    // Makes the image.
    let _ = host.container("none");
    let world = World::new(&manifests(&host, &spec));
    world.run("apply").expect(0);
    serves_both(&host);
    let seen = host.inspect("default-proxy");
    let ports = seen["HostConfig"]["PortBindings"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(ports, ["443/tcp", "443/udp", "80/tcp"]);
    let mounts = seen["Mounts"].to_string();
    assert!(mounts.contains("default-proxy-certificates") && mounts.contains("\"/data\""), "{mounts}");
    world.run("diff").expect(0);
    // Gone with the rest, certificates kept.
    world.run("delete application proxy --yes").expect(0);
    assert!(host.get("/volumes").to_string().contains("default-proxy-certificates"));
}
