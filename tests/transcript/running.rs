//! What is said of a controller, with one that runs.

use std::net::TcpListener;

use super::place::Place;
use crate::support::Host;
use crate::support::etcd::Etcd;
use crate::support::repository::Upstream;

const PAGE: &str = "docs/operating.md";

fn manifests(host: &Host) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec: {{ endpoint: '{}', allowedNamespaces: [shop] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge, network: {{ name: web-net }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop }}
spec:
  destination: web
  image: landfall/busybox:test
  command: [sh, -c, 'echo open; exec sleep 1000000']
  stopSignal: SIGKILL
",
        host.endpoint()
    )
}

/// A place with a controller that answers at the address of the pages.
fn place(test: &str, host: &Host) -> Place {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut place = Place::new(test, &host.endpoint());
    place.stands_for("127.0.0.1:7420", &free.to_string());
    let etc = place.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    place.stands_for("/etc/landfall", etc.to_str().unwrap());
    place.declare("all.yaml", &manifests(host));
    place
}

#[test]
fn a_controller_is_asked_as_the_pages_say() {
    let host = Host::start();
    let _ = host.container("none");
    let place = place("a_controller_is_asked_as_the_pages_say", &host);
    let ran = place.run(PAGE, "openssl rand", &[0, 0, 0, 0]);
    for asked in &ran[2..] {
        assert_eq!(asked.json()["accepted"], true, "{asked}");
    }
    std::fs::copy(place.path().join("manifests/all.yaml"), place.path().join("manifests.yaml")).unwrap();
    let plan = &place.run("docs/reference/http.md", "curl --data-binary", &[0])[0];
    assert_eq!(plan.json()["servers"][0]["reachable"], true, "{plan}");
    place.done();
}

#[test]
fn what_happened_is_told_and_waited_for_as_operating_says() {
    let host = Host::start();
    let _ = host.container("none");
    let place = place("what_happened_is_told_and_waited_for_as_operating_says", &host);
    place.command("landfall run -f manifests");
    place.command("landfall wait application/shop --for=condition=Ready --timeout 60s").expect(0);
    // Nobody has to say where the manifests are: the controller has them.
    std::fs::rename(place.path().join("manifests"), place.path().join("elsewhere")).unwrap();
    let ran = place.run(PAGE, "landfall events -w", &[130, 0, 130, 0, 0, 130, 0, 0]);
    assert!(ran[5].stdout.ends_with("| open\n"), "{}", ran[5]);
    place.done();
}

#[test]
fn the_guide_to_several_controllers_is_walked_through() {
    const GUIDE: &str = "docs/guides/several-controllers.md";
    let host = Host::start();
    let _ = host.container("none");
    let etcd = Etcd::start(3);
    let upstream = Upstream::with(&[("all.yaml", &manifests(&host))]);
    let mut place = place("the_guide_to_several_controllers_is_walked_through", &host);
    place.stands_for("https://git.example.com/ops/servers.git", upstream.bare().to_str().unwrap());
    let url = etcd.url().replace("etcd://", "etcd://landfall@");
    place.stands_for("etcd://landfall@10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/landfall", &url);
    place.stands_for("etcd://…", &format!("{url} --store-password-file /etc/landfall/etcd"));
    // Again, for what was put in.
    let etc = place.path().join("etc").display().to_string();
    place.stands_for("/etc/landfall", &etc);
    std::fs::write(place.path().join("etc/etcd"), "a-secret\n").unwrap();
    // It asks at a terminal.
    place.stands_for("etcdctl user add landfall ", "etcdctl user add landfall:a-secret ");
    place.stands_for("etcdctl ", &format!("ETCDCTL_API=3 etcdctl --endpoints=127.0.0.1:{} ", etcd.ports()[0]));
    place.run(GUIDE, "etcdctl user add", &[0, 0, 0, 0]);
    for words in [&["user", "add", "root:root"][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]] {
        assert!(etcd.ctl(words), "{words:?}");
    }
    place.run(GUIDE, "landfall run --git", &[0]);
    let ran = place.run(GUIDE, "landfall get controllers", &[0, 0, 0]);
    assert!(ran[1].stdout.contains("default/edge"), "{}", ran[1]);
    assert!(ran[2].stdout.contains("default/edge"), "{}", ran[2]);
    place.done();
}
