//! An application that Landfall runs is updated under load, behind a real Traefik and a real Caddy.

use std::time::Instant;

use super::outage::{CADDY, Load, PORT};
use super::traefik;
use crate::cli::world::World;
use crate::support::{Host, wait_for};

/// As the labels that Landfall gives an application have caddy-docker-proxy write it, which no package holds: names are looked up for every request,
/// and a connection that is refused is tried again.
const CADDYFILE: &str = "{
    admin off
    auto_https off
}
:80 {
    reverse_proxy {
        dynamic a shop 8080 {
            refresh 100ms
        }
        lb_try_duration 5s
        lb_try_interval 50ms
        fail_duration 2s
        transport http {
            dial_timeout 500ms
        }
    }
}
";

fn manifests(host: &Host, proxy: &str, version: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec: {{ endpoint: '{}', proxy: {proxy} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge, network: {{ name: street-web }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop }}
spec:
  destination: web
  image: landfall/busybox:test
  command: [sh, -c, 'mkdir -p /tmp/www && echo {version} >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www']
  stopSignal: SIGKILL
  port: 8080
  domains: [127.0.0.1]
  rollout: {{ drainSeconds: 1 }}
  healthcheck: {{ command: [wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], intervalSeconds: 1, retries: 2 }}
",
        host.endpoint()
    )
}

/// Updates it three times, and until it has been asked two thousand times meanwhile.
#[track_caller]
fn no_request_fails(host: &Host, proxy: &str) {
    // Makes the image.
    let _ = host.container("none");
    let world = World::new(&manifests(host, proxy, "one"));
    world.run("apply").expect(0);
    wait_for("the application behind the proxy", || (traefik::status(host) == 200).then_some(()));
    let load = Load::on_path(host, "", "10");
    load.recovered(Instant::now(), false);
    let mut requests = 0;
    let mut updates = 0;
    while updates < 3 || requests < 2000 {
        updates += 1;
        assert!(updates < 20, "{requests} requests in {updates} updates: nobody asks");
        let version = format!("version-{updates}");
        let version = version.as_str();
        let since = Instant::now();
        world.write("manifests/all.yaml", &manifests(host, proxy, version));
        world.run("apply").expect(0);
        let (all, failures) = load.answers(since, Instant::now());
        assert_eq!(failures, Vec::<u16>::new(), "of {all}");
        assert_eq!(host.exec("default-shop-1", &["cat", "/tmp/www/index.html"]).trim(), version);
        requests += all;
    }
    eprintln!("{requests} requests during {updates} updates, none failed");
}

#[test]
fn no_request_fails_while_an_application_is_updated_behind_traefik() {
    let host = traefik::host();
    traefik::start(&host);
    no_request_fails(&host, "{ container: traefik, type: Traefik }");
}

#[test]
fn no_request_fails_while_an_application_is_updated_behind_caddy() {
    let host = Host::start();
    host.import_image(CADDY, &["/usr/bin/caddy"]);
    let serve = "echo \"$CADDYFILE\" | exec caddy run --config - --adapter caddyfile";
    let caddy = host.container("caddy").image(CADDY).publish(80, PORT);
    caddy.env(&format!("CADDYFILE={CADDYFILE}")).command(&["sh", "-c", serve]).running();
    no_request_fails(&host, "{ container: caddy, type: Caddy }");
}
