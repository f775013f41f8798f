//! Backups, restores and clones, as the pages have them.

use super::place::Place;
use crate::support::Host;
use crate::support::databases::{IMAGE, import, postgres_version};

fn server(name: &str, host: &Host) -> String {
    format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name} }}\nspec: {{ endpoint: '{}', allowedNamespaces: ['*'] }}\n---\n",
        host.endpoint()
    )
}

const SHOP: &str = "apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: edge, network: { name: web-net } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec:
  destination: web
  image: landfall/busybox:test
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  volumes: [{ volume: shop-uploads, mountPath: /data }]
---
";

fn database() -> String {
    format!(
        "apiVersion: landfall/v1
kind: Database
metadata: {{ name: orders }}
spec:
  destination: web
  engine: PostgreSQL
  version: '{}'
  image: {IMAGE}
  credentials: {{ username: keeper, database: goods, password: {{ file: ../secrets/orders, generate: true }} }}
  stopGracePeriodSeconds: 5
",
        postgres_version()
    )
}

#[test]
fn the_pages_about_backups_are_walked_through() {
    const REFERENCE: &str = "docs/reference/backup.md";
    const GUIDE: &str = "docs/guides/backup.md";
    let host = Host::start();
    import(&host);
    let _ = host.container("none");
    host.import_image("debian:test", &["/usr/bin/tar"]);
    let mut place = Place::new("the_pages_about_backups_are_walked_through", &host.endpoint());
    let kept = place.path().join("kept");
    place.stands_for("/srv/backups", kept.to_str().unwrap());
    let key = place.path().join("backup.key");
    std::fs::write(&key, landfall::shell::transfer::Identities::generate()).unwrap();
    let recipients = landfall::shell::transfer::Identities::read(&key).unwrap().recipients();
    place.stands_for("age1…", &recipients.names().join(""));
    place.declare("all.yaml", &(server("edge", &host) + SHOP + &database()));
    place.command("landfall apply --timeout 120s").expect(0);
    let sql = |statement: &str| {
        let line =
            "PGPASSWORD=$(cat /landfall/password) psql -h 127.0.0.1 -U keeper -d goods -P pager=off -qtAc \"$0\"";
        host.exec("default-orders", &["sh", "-c", line, statement]).trim().to_owned()
    };
    sql("create table customers (n int primary key, note text)");
    sql("insert into customers select g, repeat('customer ', 20) from generate_series(1, 1200) g");
    host.exec("default-shop-1", &["sh", "-c", "echo a > /data/upload"]);

    place.run(REFERENCE, "$ landfall backup database", &[0]);
    place.run(REFERENCE, "$ landfall backup verify", &[0]);
    std::fs::remove_dir_all(&kept).unwrap();
    place.run(GUIDE, "landfall backup database", &[0, 0]);
    place.run(GUIDE, "landfall backup verify", &[0]);

    // The guide gives restores no key: what they read is not encrypted.
    std::fs::remove_dir_all(&kept).unwrap();
    place.command("landfall backup database orders --to /srv/backups").expect(0);
    place.command("landfall backup application shop --to /srv/backups").expect(0);
    for (container, volume) in [("default-orders", "default-orders-data"), ("default-shop-1", "shop-uploads")] {
        host.remove_container(container);
        host.delete(&format!("/volumes/{volume}"));
    }
    host.remove_network("web-net");
    place.command("landfall apply --timeout 120s").expect(0);
    place.run(GUIDE, "landfall restore database", &[0, 0]);
    assert_eq!(sql("select count(*) from customers"), "1200");
    assert_eq!(host.exec("default-shop-1", &["cat", "/data/upload"]).trim(), "a");
    place.done();
}

#[test]
fn the_page_about_clones_shows_what_one_prints() {
    let hosts = (Host::start(), Host::start());
    let _ = (hosts.0.container("none"), hosts.1.container("none"));
    for host in [&hosts.0, &hosts.1] {
        host.import_image("debian:test", &["/usr/bin/tar"]);
    }
    let place = Place::new("the_page_about_clones_shows_what_one_prints", &hosts.0.endpoint());
    let staging = "apiVersion: landfall/v1
kind: Destination
metadata: { name: web, namespace: staging }
spec: { server: default/far, network: { name: staging-net } }
---
";
    place.declare("all.yaml", &(server("edge", &hosts.0) + &server("far", &hosts.1) + SHOP + staging));
    place.command("landfall apply").expect(0);
    hosts.0.exec("default-shop-1", &["sh", "-c", "head -c 2000000 /dev/urandom > /data/upload"]);
    place.run("docs/reference/clone.md", "$ landfall clone", &[0]);
    place.command("landfall apply").expect(0);
    let size = hosts.1.exec("default-shop-staging-1", &["stat", "-c", "%s", "/data/upload"]);
    assert_eq!(size.trim(), "2000000");
    place.done();
}
