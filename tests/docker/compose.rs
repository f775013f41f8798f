//! Stacks through the real Docker Compose, on a real daemon.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::controller::{Controller, until};
use super::workloads::names;
use crate::cli::run::{Ran, compose};
use crate::cli::world::World;
use crate::support::{Host, wait_for};

/// A web server and what it waits for.
pub(super) const STACK: &str = "services:
  web:
    image: landfall/busybox:test
    command: [sh, -c, 'mkdir -p /www && echo \"$${VERSION}\" > /www/index.html && exec httpd -f -p 80 -h /www']
    environment: { VERSION: '${VERSION:-one}' }
    stop_signal: SIGKILL
    volumes: ['data:/data']
    depends_on: { db: { condition: service_healthy } }
  db:
    image: landfall/busybox:test
    command: [sleep, '1000000']
    stop_signal: SIGKILL
    healthcheck: { test: [CMD, 'true'], interval: 1s }
volumes: { data: {} }
";

pub(super) fn stack(name: &str, further: &str) -> String {
    format!(
        "---
apiVersion: landfall/v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec:
  destination: web
  compose: {{ project: {name}, file: ../stack.yaml, healthTimeoutSeconds: 60 }}
{further}"
    )
}

pub(super) fn base(endpoint: &str, server: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge, namespace: infra }}
spec: {{ endpoint: '{endpoint}', allowedNamespaces: ['*']{server} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: web-net }} }}
"
    )
}

/// A host with the image of the tests, and manifests that declare these.
pub(super) fn world(host: &Host, stacks: &str) -> World {
    assert!(compose().join("docker-compose").exists(), "Docker Compose is missing; `scripts/compose` fetches it");
    let _ = host.container("none");
    let world = World::new(&(base(&host.endpoint(), "") + stacks));
    world.write("stack.yaml", STACK);
    world
}

fn declare(world: &World, host: &Host, stacks: &str) {
    world.write("manifests/all.yaml", &(base(&host.endpoint(), "") + stacks));
}

fn id(host: &Host, container: &str) -> String {
    host.inspect(container)["Id"].as_str().unwrap().to_owned()
}

fn ids(host: &Host, containers: &[&str]) -> Vec<String> {
    containers.iter().map(|container| id(host, container)).collect()
}

#[track_caller]
fn says(ran: &Ran, text: &str) {
    assert!(ran.to_string().contains(text), "{text:?} is not in it:\n{ran}");
}

#[track_caller]
fn does_not_say(ran: &Ran, text: &str) {
    assert!(!ran.to_string().contains(text), "{text:?} is in it:\n{ran}");
}

#[test]
fn a_stack_is_brought_up_changed_and_taken_down_with_its_volumes_kept() {
    let host = Host::start();
    let world = world(&host, &stack("cms", ""));
    world.run("validate").expect(0);
    let planned = world.run("diff").expect(1);
    says(&planned, "+ compose up cms (db containers: none -> 1; web containers: none -> 1)");
    assert_eq!(names(&host), Vec::<String>::new(), "a dry run makes nothing");
    world.run("apply").expect(0);
    assert_eq!(names(&host), ["cms-db-1", "cms-web-1"]);
    assert_eq!(host.networks_of("cms-web-1"), ["cms_default"], "isolated");
    let said = host.exec("cms-db-1", &["wget", "-q", "-O", "-", "http://web/"]);
    assert_eq!(said.trim(), "one");
    world.run("diff").expect(0);
    let json = world.run("diff -o json").expect(0).json();
    assert_eq!(json["operations"], json!([]), "Compose does not run a second time");

    let drift = world.run("drift").expect(0);
    does_not_say(&drift, "cms_default");
    does_not_say(&world.run("scan edge -n infra").expect(0), "cms");

    // A variable of one service: that service alone is made anew.
    let before = ids(&host, &["cms-db-1", "cms-web-1"]);
    world.write(".env", "VERSION=two\n");
    let planned = world.run("diff").expect(1);
    says(&planned, "~ compose up cms (web configuration: ");
    does_not_say(&planned, "db configuration");
    world.run("apply --yes").expect(0);
    assert_eq!(host.exec("cms-db-1", &["wget", "-q", "-O", "-", "http://web/"]).trim(), "two");
    assert_eq!(id(&host, "cms-db-1"), before[0]);
    assert_ne!(id(&host, "cms-web-1"), before[1]);
    world.run("diff").expect(0);

    // Another image under the same name.
    host.import_image_with("landfall/busybox:test", &[], |root| std::fs::write(root.join("new"), "").unwrap());
    says(&world.run("diff").expect(1), "(ImageMoved)");
    world.run("apply --yes").expect(0);
    world.run("diff").expect(0);

    // Stopped by hand: started again. Removed by hand: made again. More than one: scaled.
    host.stop_container("cms-db-1");
    says(&world.run("diff").expect(1), "db state: exited -> running");
    world.run("apply").expect(0);
    assert_eq!(host.state("cms-db-1"), "running");
    host.remove_container("cms-web-1");
    world.run("apply").expect(0);
    world.run("diff").expect(0);
    world.write("stack.yaml", &STACK.replace("  db:\n", "  db:\n    scale: 2\n"));
    says(&world.run("diff").expect(1), "db containers: 1 -> 2");
    world.run("apply --yes").expect(0);
    world.write("stack.yaml", &STACK.replace("  db:\n", "  cache:\n").replace("{ db: {", "{ cache: {"));
    says(&world.run("diff").expect(1), "db containers: 2 -> none");
    world.run("apply --yes").expect(0);
    assert_eq!(names(&host), ["cms-cache-1", "cms-web-1"], "what is not in the file any more goes");
    world.run("diff").expect(0);

    // Undeclared, it is reported, and pruned where that is asked for.
    declare(&world, &host, "");
    says(&world.run("diff").expect(0), "its stack \"cms\" exists");
    let pruned = world.run("apply --prune --yes").expect(0);
    says(&pruned, "- compose down cms (cms-cache-1, cms-web-1) for Service/shop/cms (Undeclared)");
    assert_eq!(names(&host), Vec::<String>::new());
    assert_eq!(host.network_ids("cms_default"), Vec::<String>::new());
    assert!(host.get("/volumes").to_string().contains("cms_data"), "the volume stays");
    world.run("diff").expect(0);

    // Deleted by name.
    declare(&world, &host, &stack("cms", ""));
    world.run("apply").expect(0);
    world.run("delete service cms -n shop --yes").expect(0);
    assert_eq!(names(&host), Vec::<String>::new());
}

/// Compose would make the containers anew, or see nothing: what Landfall can put back it puts back, on the same containers.
#[test]
fn compose_does_not_run_for_what_landfall_repairs() {
    let host = Host::start();
    let world = world(&host, &stack("cms", "  connectToDestination: true\n  endpoint: { aliases: [blog] }\n"));
    let applied = world.run("apply").expect(0);
    says(&applied, "+ compose up cms on web-net");
    let containers = ["cms-db-1", "cms-web-1"];
    let before = ids(&host, &containers);
    let on = |container: &str, network: &str| host.endpoint_of(container, network)["Aliases"].to_string();
    assert!(on("cms-web-1", "web-net").contains("web-cms") && on("cms-web-1", "web-net").contains("blog"));
    assert_eq!(host.networks_of("cms-web-1"), ["cms_default", "web-net"], "its own network is kept");
    world.run("diff").expect(0);

    // Lost aliases, on the destination and at home.
    for network in ["web-net", "cms_default"] {
        host.disconnect(network, "cms-web-1");
        host.connect(network, "cms-web-1");
        assert!(!on("cms-web-1", network).contains("web\""), "{}", on("cms-web-1", network));
    }
    // A missing attachment of each.
    host.disconnect("web-net", "cms-db-1");
    host.disconnect("cms_default", "cms-db-1");
    let repaired = world.run("apply --yes").expect(0);
    does_not_say(&repaired, "compose up");
    assert!(on("cms-web-1", "web-net").contains("web-cms") && on("cms-web-1", "cms_default").contains("\"web\""));
    assert_eq!(host.exec("cms-db-1", &["wget", "-q", "-O", "-", "http://web/"]).trim(), "one");
    assert!(!host.exec("cms-web-1", &["nslookup", "db"]).contains("can't resolve"));
    world.run("diff").expect(0);

    // The destination removed under them: it is made again, and they are connected.
    for container in containers {
        host.disconnect("web-net", container);
    }
    host.remove_network("web-net");
    let restored = world.run("apply --yes").expect(0);
    says(&restored, "+ create network web-net");
    does_not_say(&restored, "compose up");
    assert_eq!(ids(&host, &containers), before, "the same containers throughout");
    world.run("diff").expect(0);

    // A change of the file while the destination is missing: it is made first, and Compose finds it.
    for container in containers {
        host.disconnect("web-net", container);
    }
    host.remove_network("web-net");
    world.write(".env", "VERSION=two\n");
    let both = world.run("apply --yes").expect(0);
    let at = |text: &str| both.stdout.find(text).unwrap_or_else(|| panic!("{text}: {both}"));
    assert!(at("create network web-net") < at("compose up cms"), "{both}");
    assert_eq!(id(&host, "cms-db-1"), before[0]);
    world.run("diff").expect(0);
}

/// Several stacks of one file: by themselves they cannot reach one another, connected ones do by alias.
#[test]
fn instances_are_isolated_and_connected_ones_reach_one_another_by_alias() {
    let host = Host::start();
    let connected = "  connectToDestination: true\n";
    let all = [stack("one", ""), stack("two", ""), stack("three", connected), stack("four", connected)].concat();
    let world = world(&host, &all);
    world.run("apply").expect(0);
    let reaches = |from: &str, whom: &str| {
        let said =
            host.exec(&format!("{from}-db-1"), &["timeout", "3", "wget", "-q", "-O", "-", &format!("http://{whom}/")]);
        said.trim() == "one"
    };
    let address = |stack: &str| {
        let endpoint = host.endpoint_of(&format!("{stack}-web-1"), &format!("{stack}_default"));
        endpoint["IPAddress"].as_str().unwrap().to_owned()
    };
    assert!(reaches("one", "web") && reaches("one", &address("one")));
    for other in ["two", "three"] {
        assert!(!reaches("one", &address(other)), "one reaches {other}");
        assert!(!reaches("one", &format!("web-{other}")) && !reaches("one", &format!("{other}-web-1")));
    }
    assert!(reaches("three", "web-four") && reaches("four", "web-three"));
    assert!(!reaches("three", "web-one") && !reaches("three", &address("four")), "the isolated networks stay apart");
    world.run("diff").expect(0);
}

#[test]
fn the_proxy_comes_to_the_network_of_a_stack_with_a_domain_and_goes_with_it() {
    let host = Host::start();
    let world = world(&host, "");
    host.container("traefik").running();
    let proxied = |further: &str| base(&host.endpoint(), ", proxy: { container: traefik }") + &stack("cms", further);
    let domain = "  domains: { web: [cms.example.com] }\n  targetPorts: { web: 80 }\n";
    world.write("manifests/all.yaml", &proxied(domain));
    says(&world.run("diff").expect(1), "connect traefik to cms_default for Service/shop/cms (ProxyDetached)");
    world.run("apply").expect(0);
    assert_eq!(host.networks_of("traefik"), ["bridge", "cms_default", "web-net"]);
    let labels = host.inspect("cms-web-1")["Config"]["Labels"].clone();
    assert_eq!(labels["traefik.docker.network"], "cms_default");
    assert_eq!(labels["traefik.http.routers.shop-cms-web-0.rule"], "Host(`cms.example.com`)");
    assert_eq!(host.inspect("cms-db-1")["Config"]["Labels"]["traefik.enable"], Value::Null);
    world.run("diff").expect(0);
    host.disconnect("cms_default", "traefik");
    let repaired = world.run("apply").expect(0);
    does_not_say(&repaired, "compose up");
    world.run("diff").expect(0);
    world.write("manifests/all.yaml", &proxied(""));
    world.run("apply --yes").expect(0);
    assert_eq!(host.networks_of("traefik"), ["bridge", "web-net"]);
    world.run("diff").expect(0);
    world.write("manifests/all.yaml", &proxied(domain));
    world.run("apply --yes").expect(0);
    world.run("delete service cms -n shop --yes").expect(0);
    assert_eq!(names(&host), ["traefik"]);
    assert_eq!(host.network_ids("cms_default"), Vec::<String>::new());

    world.write("manifests/all.yaml", &proxied("  targetPorts: { web: 70000 }\n"));
    says(&world.run("validate").expect(2), "70000 is no port");
    let unknown = "  domains: { nowhere: [cms.example.com] }\n";
    world.write("manifests/all.yaml", &proxied(unknown));
    says(&world.run("validate").expect(2), "the file has no service `nowhere`");
}

#[test]
fn what_hurts_in_a_file_is_said_with_its_line_before_anything_is_done() {
    let host = Host::start();
    let world = world(&host, &stack("cms", ""));
    let hurting = "name: other
services:
  web:
    image: landfall/busybox:test
    command: [echo, '${NOWHERE}']
    networks: [front]
    volumes: ['./data:/data']
  agent:
    image: landfall/busybox:test
    network_mode: host
networks:
  front: {}
";
    world.write("stack.yaml", hurting);
    for (command, code) in [("validate", 0), ("diff", 1)] {
        let said = world.run(command).expect(code).to_string();
        for (place, text) in [
            ("stack.yaml:1", "the manifest says `project: cms`"),
            ("stack.yaml:5", "the variable `NOWHERE` is not set"),
            ("stack.yaml:10", "`network_mode: host`"),
            ("stack.yaml:12", "the network `front` is defined within the file"),
        ] {
            assert!(said.contains(place) && said.contains(text), "{command}: {place} {text}\n{said}");
        }
        assert!(said.contains("ComposeNetworks") && said.contains("ComposeInvalid"), "{said}");
        assert!(!said.contains("./data"), "a path of this machine is one of the server: {said}");
    }

    // The same for a server that is another machine.
    let remote = base("ssh://deploy@edge.example.com", "") + &stack("cms", "");
    world.write("manifests/all.yaml", &remote);
    world.write("stack.yaml", &hurting.replace("  agent:", "    build: .\n  agent:"));
    let said = world.run("validate").expect(2);
    says(&said, "stack.yaml:7");
    says(&said, "mounts `./data`, a path of the machine that Landfall runs on");
    says(&said, "the service `web` is built from a directory");

    // What only one instance can have.
    let fixed = STACK.replace("  db:\n", "  db:\n    container_name: db\n    ports: ['5432:5432']\n");
    world.write("stack.yaml", &fixed);
    declare(&world, &host, &[stack("one", ""), stack("two", "")].concat());
    let said = world.run("validate").expect(2);
    says(&said, "the container name `db` is Service/shop/one's as well");
    says(&said, "the port 5432/tcp of the server is Service/shop/one's as well");
    says(&world.run("diff").expect(3), "(PortTaken)");
    declare(&world, &host, &[stack("one", ""), stack("two", "").replace("project: two", "project: one")].concat());
    says(&world.run("validate").expect(2), "the Compose project one is Service/shop/one's on the same server");

    // What cannot be brought up at all.
    declare(&world, &host, &stack("cms", ""));
    for (file, texts) in [
        ("services:\n  web:\n    image: x\n   foo: bar\n", ["stack.yaml:4", "it is no YAML"]),
        ("services:\n  web:\n    image: x\n    imagee: y\n", ["stack.yaml:4", "'imagee' not allowed"]),
        ("services:\n  web:\n    image: ${X:?give it}\n", ["stack.yaml:3", "give it"]),
        ("services: {}\n", ["stack.yaml", "it has no services"]),
    ] {
        world.write("stack.yaml", file);
        let validated = world.run("validate").expect(2);
        let planned = world.run("apply").expect(3);
        for text in texts {
            says(&validated, text);
            says(&planned, text);
        }
        says(&planned, "(ComposeInvalid)");
    }
    std::fs::remove_file(world.path().join("stack.yaml")).unwrap();
    says(&world.run("apply").expect(3), "no such file");
    assert_eq!(names(&host), Vec::<String>::new());
}

#[test]
fn a_stack_that_does_not_serve_says_which_service_and_its_last_words() {
    let host = Host::start();
    let world = world(&host, &stack("cms", ""));
    // Never healthy, with something that waits for it.
    let sick = STACK
        .replace("[sleep, '1000000']", "[sh, -c, 'echo no disk; sleep 1000000']")
        .replace("[CMD, 'true'], interval: 1s", "[CMD-SHELL, 'echo nobody home; false'], interval: 1s, retries: 2");
    world.write("stack.yaml", &sick);
    let failed = world.run("apply").expect(2);
    for text in ["The service db of the stack cms does not serve", "is unhealthy", "nobody home", "no disk"] {
        says(&failed, text);
    }
    says(&failed, "HealthCheckFailed");
    // Healthy again: the rest is started.
    world.write("stack.yaml", STACK);
    world.run("apply --yes").expect(0);

    // An image that nobody has: what runs is left.
    let before = ids(&host, &["cms-db-1", "cms-web-1"]);
    world.write("stack.yaml", &STACK.replacen("landfall/busybox:test", "landfall/nowhere:test", 1));
    let failed = world.run("apply --yes").expect(2);
    says(&failed, "ImageUnavailable");
    assert_eq!(ids(&host, &["cms-db-1", "cms-web-1"]), before);

    // One that ends with success has done its work; one that crashes again and again has not.
    let job = "  job: { image: landfall/busybox:test, command: ['true'] }\n";
    world.write("stack.yaml", &STACK.replace("volumes: { data", &format!("{job}volumes: {{ data")));
    world.run("apply --yes").expect(0);
    assert_eq!(host.state("cms-job-1"), "exited");
    world.run("diff").expect(0);
    let crash = "  job: { image: landfall/busybox:test, command: [sh, -c, 'echo broken; exit 3'], restart: always }\n";
    world.write("stack.yaml", &STACK.replace("volumes: { data", &format!("{crash}volumes: {{ data")));
    let failed = world.run("apply --yes").expect(2);
    says(&failed, "The service job of the stack cms does not serve");
    says(&failed, "broken");
}

#[test]
fn a_project_of_another_set_or_of_a_person_is_not_touched_unasked() {
    let host = Host::start();
    let world = world(&host, &stack("cms", ""));
    world.run("apply").expect(0);
    let elsewhere = world.path().join("elsewhere.yaml");
    let theirs = base(&host.endpoint(), "") + &stack("cms", "").replace("../stack.yaml", "stack.yaml");
    std::fs::write(&elsewhere, theirs.replace("web-net", "other-net")).unwrap();
    let other = world.run("apply --set other -f elsewhere.yaml").expect(3);
    says(&other, "(OwnershipConflict)");
    says(&other, "is Service/shop/cms's of the set \"default\"");
    world.run("apply --set other -f elsewhere.yaml --prune --yes").expect(3);
    assert_eq!(names(&host), ["cms-db-1", "cms-web-1"]);
    world.run("delete service cms -n shop --yes").expect(0);

    // Brought up by hand.
    let by_hand = |words: &[&str]| {
        let output = std::process::Command::new(compose().join("docker-compose"))
            .args(["-p", "cms", "-f", "stack.yaml"])
            .args(words)
            .current_dir(world.path())
            .env("DOCKER_HOST", host.endpoint())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    by_hand(&["up", "-d"]);
    host.exec("cms-web-1", &["touch", "/data/kept"]);
    let before = ids(&host, &["cms-db-1", "cms-web-1"]);
    let refused = world.run("apply").expect(3);
    says(&refused, "(AdoptionRequired)");
    says(&refused, "`takeOwnership: true`");
    assert_eq!(ids(&host, &["cms-db-1", "cms-web-1"]), before);
    world.run("apply --prune --yes").expect(3);
    assert_eq!(ids(&host, &["cms-db-1", "cms-web-1"]), before);

    // Adopted, it is left as it is; taken over, it is made anew with its data.
    let adopted = stack("cms", "").replace(", file: ../stack.yaml, healthTimeoutSeconds: 60", "");
    declare(&world, &host, &adopted);
    world.run("apply").expect(0);
    assert_eq!(ids(&host, &["cms-db-1", "cms-web-1"]), before);
    declare(&world, &host, &stack("cms", "").replace("file:", "takeOwnership: true, file:"));
    says(&world.run("diff").expect(1), "another tool's -> Landfall's");
    world.run("apply --yes").expect(0);
    assert_ne!(ids(&host, &["cms-db-1", "cms-web-1"]), before);
    assert_eq!(host.exec("cms-web-1", &["ls", "/data"]).trim(), "kept");
    world.run("diff").expect(0);
}

#[test]
fn a_bring_up_that_is_killed_is_completed_by_the_next() {
    let host = Host::start();
    let world = world(&host, &stack("cms", ""));
    world.run("apply").expect(0);
    for (number, delay) in [60, 120, 200, 350, 600].into_iter().enumerate() {
        world.write(".env", &format!("VERSION=v{number}\n"));
        let slow = STACK.replace("'1000000'", &format!("'{}'", 1_000_001 + number));
        world.write("stack.yaml", &slow);
        let mut applying = world
            .command("apply --yes")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = applying.kill();
        let _ = applying.wait();
        world.run("apply --yes").expect(0);
        assert_eq!(names(&host), ["cms-db-1", "cms-web-1"], "nothing is left behind");
        assert_eq!(host.exec("cms-db-1", &["wget", "-q", "-O", "-", "http://web/"]).trim(), format!("v{number}"));
        world.run("diff").expect(0);
    }
}

#[test]
fn without_compose_it_is_said_how_to_come_by_it() {
    let host = Host::start();
    let world = world(&host, &stack("cms", ""));
    let empty = world.path().display().to_string();
    let without = [("PATH", empty.as_str())];
    let applied = world.run_with(&without, "apply").expect(3);
    says(&applied, "(ComposeMissing)");
    says(&applied, "install Docker Compose 2");
    assert_eq!(host.network_ids("web-net").len(), 1, "everything else is done");
    let validated = world.run_with(&without, "validate").expect(0);
    says(&validated, "neither `docker compose` nor `docker-compose` is installed");
    says(&world.run_with(&without, "version -v").expect(0), "compose: none");
    says(&world.run("version -v").expect(0), "compose: docker-compose 2.");

    // As the plugin of the Docker CLI.
    let plugins = world.path().join("docker/cli-plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    std::os::unix::fs::symlink(compose().join("docker-compose"), plugins.join("docker-compose")).unwrap();
    let config = world.path().join("docker").display().to_string();
    let plugin = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("DOCKER_CONFIG", config.as_str())];
    says(&world.run_with(&plugin, "version -v").expect(0), "compose: docker compose 2.");
    world.run_with(&plugin, "apply").expect(0);
    assert_eq!(names(&host), ["cms-db-1", "cms-web-1"]);
    world.run("diff").expect(0);
}

/// A stack that takes long to get healthy holds up no repair.
#[test]
fn run_brings_stacks_up_beside_its_repairs_and_notices_a_changed_file() {
    let host = Host::start();
    let application = "---
apiVersion: landfall/v1
kind: Application
metadata: { name: app, namespace: shop }
spec: { destination: web, containers: { names: [app] } }
";
    let world = world(&host, &(stack("cms", "") + application));
    host.container("app").running();
    // Healthy once a file is there.
    let waiting =
        STACK.replace("[CMD, 'true'], interval: 1s", "[CMD, 'test', '-e', '/ready'], interval: 1s, retries: 1000");
    world.write("stack.yaml", &waiting);
    let mut controller = Controller::start(&world, &["--poll", "1s"]);
    until("the database of the stack", &mut controller, || names(&host).contains(&"cms-db-1".to_owned()));
    until("the member", &mut controller, || host.networks_of("app").contains(&"web-net".to_owned()));
    let since = Instant::now();
    host.disconnect("web-net", "app");
    until("the member again", &mut controller, || host.networks_of("app").contains(&"web-net".to_owned()));
    eprintln!("healed beside a stack that is waited for: {} ms", since.elapsed().as_millis());
    assert_eq!(host.state("cms-db-1"), "running");
    host.exec("cms-db-1", &["touch", "/ready"]);
    until("the stack", &mut controller, || {
        let answer = host.api("GET", "/containers/cms-web-1/json", &json!(null));
        answer.body["State"]["Status"] == "running"
    });
    // The file itself is no manifest, and is watched all the same.
    world.write("stack.yaml", &waiting.replace("one}", "seen}"));
    until("the changed service", &mut controller, || {
        // While it is replaced there is none.
        let answer = host.api("GET", "/containers/cms-web-1/json", &json!(null));
        answer.body["Config"]["Env"].to_string().contains("VERSION=seen")
    });
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    wait_for("both containers", || (names(&host).len() == 3).then_some(()));
}
