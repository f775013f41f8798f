//! A host as Coolify lays it out: compose files, names, labels and networks of its own making. What `scan` writes of it changes nothing.

use std::process::Command;

use serde_json::json;

use crate::cli::run::compose;
use crate::cli::world::World;
use crate::support::Host;

/// The destination that every server of Coolify's begins with.
const DESTINATION: &str = "coolify";

/// What Coolify names by: CUID2s.
const STOREFRONT: &str = "hs0kkcw8kw4gw0c0c8sgw4o8";
const WORKER: &str = "b8okswgk4ckg0wow8kc0w4wc";
const PLAUSIBLE: &str = "x4k8wk8ks0gw0oc4s8cgoksk";
const WIKI: &str = "qcs8c4k0o0gk4w8wkokgc0g8";

/// Type of the database, its engine in a manifest, the port.
const DATABASES: [(&str, &str, &str); 8] = [
    ("standalone-postgresql", "PostgreSQL", "postgres:16-alpine"),
    ("standalone-mysql", "MySQL", "mysql:8"),
    ("standalone-mariadb", "MariaDB", "mariadb:11"),
    ("standalone-mongodb", "MongoDB", "mongo:7"),
    ("standalone-redis", "Redis", "redis:7.2"),
    ("standalone-keydb", "KeyDB", "eqalpha/keydb:latest"),
    ("standalone-dragonfly", "Dragonfly", "docker.dragonflydb.io/dragonflydb/dragonfly:latest"),
    ("standalone-clickhouse", "ClickHouse", "clickhouse/clickhouse-server:25.11"),
];

/// Directories as below `/data/coolify`, and the real Compose over them.
struct Coolify<'a> {
    host: &'a Host,
    data: tempfile::TempDir,
}

impl Coolify<'_> {
    fn compose(&self, directory: &str, project: &str, file: &serde_json::Value) {
        let directory = self.data.path().join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("docker-compose.yml"), file.to_string()).unwrap();
        let output = Command::new(compose().join("docker-compose"))
            .args([
                "-f",
                "docker-compose.yml",
                "--project-name",
                project,
                "up",
                "-d",
                "--remove-orphans",
                "--pull",
                "never",
            ])
            .current_dir(&directory)
            .env("DOCKER_HOST", self.host.endpoint())
            .output()
            .unwrap();
        assert!(output.status.success(), "{project}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `defaultLabels` and `defaultDatabaseLabels`.
    fn labels(resource: &str, further: &[(&str, &str)]) -> serde_json::Value {
        let mut labels = json!({
            "coolify.managed": "true",
            "coolify.resourceName": resource,
            "coolify.serviceName": resource,
            "coolify.projectName": "shop",
            "coolify.environmentName": "production",
        });
        further.iter().for_each(|(key, value)| labels[*key] = json!(value));
        labels
    }

    fn service(labels: serde_json::Value, image: &str) -> serde_json::Value {
        json!({
            "image": image,
            "command": ["sleep", "1000000"],
            "stop_signal": "SIGKILL",
            "restart": "unless-stopped",
            "labels": labels,
        })
    }

    /// One container, named anew with each deployment, that answers to its name and to what the user chose.
    fn application(&self, uuid: &str, id: &str, container: &str, name: &str, pull_request: &str) {
        let further = [
            ("coolify.version", "4.3.11"),
            ("coolify.applicationId", id),
            ("coolify.type", "application"),
            ("coolify.name", container),
            ("coolify.pullRequestId", pull_request),
            ("traefik.enable", "true"),
        ];
        let mut service = Self::service(Self::labels(name, &further), "landfall/busybox:test");
        service["container_name"] = json!(container);
        service["networks"] = json!({ DESTINATION: { "aliases": [container, format!("{name}-internal")] } });
        let file = json!({
            "services": { container: service },
            "networks": { DESTINATION: { "external": true, "name": DESTINATION, "attachable": true } },
        });
        self.compose(&format!("applications/{uuid}"), uuid, &file);
    }

    fn database(&self, number: usize, sub_type: &str, image: &str) -> String {
        let uuid = format!("db{number}s0c4ssk4gwk0w0ggs8cswk");
        let id = (number + 1).to_string();
        let name = sub_type.trim_start_matches("standalone-").to_owned();
        let further =
            [("coolify.type", "database"), ("coolify.databaseId", &id), ("coolify.database.subType", sub_type)];
        let mut service = Self::service(Self::labels(&name, &further), image);
        service["container_name"] = json!(uuid);
        service["networks"] = json!([DESTINATION]);
        service["volumes"] = json!([format!("{name}-data-{uuid}:/data")]);
        let file = json!({
            "services": { &uuid: service },
            "networks": { DESTINATION: { "external": true, "name": DESTINATION, "attachable": true } },
            "volumes": { format!("{name}-data-{uuid}"): { "name": format!("{name}-data-{uuid}"), "external": false } },
        });
        self.compose(&format!("databases/{uuid}"), &uuid, &file);
        uuid
    }

    /// A one-click service: its containers on a network of its own, which is named after it.
    fn stack(&self, uuid: &str, id: &str, name: &str, parts: &[(&str, &str)]) {
        let mut services = json!({});
        for (number, (part, kind)) in parts.iter().enumerate() {
            let sub_id = format!("{id}{number}");
            let container = format!("{part}-{uuid}");
            let further = [
                ("coolify.version", "4.3.11"),
                ("coolify.serviceId", id),
                ("coolify.type", "service"),
                ("coolify.name", &container),
                ("coolify.pullRequestId", "0"),
                ("coolify.service.subId", &sub_id),
                ("coolify.service.subType", kind),
                ("coolify.service.subName", part),
            ];
            let mut service = Self::service(Self::labels(name, &further), "landfall/busybox:test");
            service["container_name"] = json!(container);
            service["networks"] = json!({ uuid: null });
            services[*part] = service;
        }
        let file = json!({ "services": services, "networks": { uuid: { "name": uuid, "external": true } } });
        self.host.create_network(uuid);
        self.compose(&format!("services/{uuid}"), uuid, &file);
        self.host.connect(uuid, "coolify-proxy");
    }

    fn proxy(&self) {
        let labels = json!({ "coolify.managed": "true", "coolify.proxy": "true" });
        let mut service = Self::service(labels, "traefik:v3.6");
        service["container_name"] = json!("coolify-proxy");
        service["networks"] = json!([DESTINATION]);
        let file = json!({
            "name": "coolify-proxy",
            "services": { "traefik": service },
            "networks": { DESTINATION: { "external": true } },
        });
        self.compose("proxy", "coolify-proxy", &file);
    }
}

/// Two applications, one with a preview; eight databases; two stacks, one of them connected to the destination; the proxy.
fn lay_out(host: &Host) -> Vec<String> {
    let _ = host.container("none");
    for (_, _, image) in DATABASES.iter().chain([&("", "", "traefik:v3.6")]) {
        let (repository, tag) = image.rsplit_once(':').unwrap();
        let (path, body) = (format!("/images/landfall/busybox:test/tag?repo={repository}&tag={tag}"), json!(null));
        assert!(host.api("POST", &path, &body).status < 400, "{image}");
    }
    host.create_network_with(json!({
        "Name": DESTINATION,
        "Driver": "bridge",
        "Attachable": true,
        "IPAM": { "Config": [{ "Subnet": "10.99.0.0/24" }] },
    }));
    let coolify = Coolify { host, data: tempfile::tempdir().unwrap() };
    coolify.proxy();
    coolify.application(STOREFRONT, "7", &format!("{STOREFRONT}-101010123456"), "storefront", "0");
    coolify.application(&format!("{STOREFRONT}-pr-12"), "7", &format!("{STOREFRONT}-pr-12"), "storefront", "12");
    coolify.application(WORKER, "8", &format!("{WORKER}-111111123456"), "worker", "0");
    let databases =
        DATABASES.iter().enumerate().map(|(number, (sub_type, _, image))| coolify.database(number, sub_type, image));
    let databases = databases.collect();
    coolify.stack(PLAUSIBLE, "2", "plausible", &[("plausible", "application"), ("events-db", "database")]);
    coolify.stack(WIKI, "3", "wiki", &[("wiki", "application"), ("wiki-db", "database")]);
    // "Connect to Predefined Network".
    for part in ["plausible", "events-db"] {
        let container = format!("{part}-{PLAUSIBLE}");
        host.connect_with(DESTINATION, &container, json!({ "Aliases": [container] }));
    }
    databases
}

#[test]
fn a_host_of_coolify_is_scanned_to_manifests_that_change_nothing_and_keep_it_connected() {
    let host = &Host::start();
    let databases = lay_out(host);
    let world = World::new(&format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: coolify-1 }}
spec: {{ endpoint: '{}', proxy: {{ container: coolify-proxy, type: Traefik }} }}
",
        host.endpoint()
    ));
    let scanned = world.run("scan coolify-1").expect(0);
    let text = &scanned.stdout;
    // As the resources are called in Coolify, and the databases with their engines.
    for name in ["storefront", "storefront-pr-12", "worker"] {
        assert!(text.contains(&format!("kind: Application\nmetadata:\n  name: {name}\n")), "{name}: {scanned}");
    }
    for (sub_type, engine, _) in DATABASES {
        let name = sub_type.trim_start_matches("standalone-");
        assert!(text.contains(&format!("kind: Database\nmetadata:\n  name: {name}\n")), "{name}: {scanned}");
        assert!(text.contains(&format!("engine: {engine}\n")), "{engine}: {scanned}");
    }
    assert!(text.contains("kind: Service\nmetadata:\n  name: plausible\n"), "{scanned}");
    assert!(text.contains("coolify.projectName: shop"), "the project and the environment become labels: {scanned}");
    world.write("manifests/scanned.yaml", text);
    let nothing = world.run("diff").expect(0);
    let json = world.run("diff -o json").expect(0).json();
    assert_eq!(json["operations"], json!([]), "{nothing}");
    let applied = world.run("apply").expect(0);
    assert!(applied.to_string().contains("Nothing"), "{applied}");

    // A new deployment has another name, and is found and kept by its labels.
    let coolify = Coolify { host, data: tempfile::tempdir().unwrap() };
    host.remove_container(&format!("{STOREFRONT}-101010123456"));
    coolify.application(STOREFRONT, "7", &format!("{STOREFRONT}-121212123456"), "storefront", "0");
    world.run("diff").expect(0);
    // What falls off is put back, with the name that it is reached by.
    host.disconnect(DESTINATION, &databases[0]);
    host.disconnect(DESTINATION, &format!("events-db-{PLAUSIBLE}"));
    host.disconnect(DESTINATION, &format!("{WORKER}-111111123456"));
    world.run("diff").expect(1);
    world.run("apply").expect(0);
    for container in [&databases[0], &format!("events-db-{PLAUSIBLE}")] {
        assert!(host.networks_of(container).contains(&DESTINATION.to_owned()), "{container}");
    }
    let aliases = host.endpoint_of(&format!("{WORKER}-111111123456"), DESTINATION)["Aliases"].to_string();
    assert!(aliases.contains("worker-internal"), "{aliases}");
    world.run("diff").expect(0);
    // Nothing that needs the destination lets go of it.
    let refused = world.run("delete destination coolify --yes").expect(3);
    assert!(
        refused.to_string().contains("You must delete all resources before deleting this destination."),
        "{refused}"
    );
}
