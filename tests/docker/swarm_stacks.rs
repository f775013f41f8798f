//! Stacks on a real Swarm of one node, through the real Docker CLI: deployed, changed, failed, repaired and removed.

use serde_json::{Value, json};

use super::backup::{shell, spoilt};
use super::compose::{base, stack};
use super::controller::{Controller, until};
use super::on_swarm::{swarm, tasks};
use crate::cli::run::compose;
use crate::cli::world::World;
use crate::support::host::text;
use crate::support::{Cluster, Host, wait_for};

/// A web server and what it waits for, in the words of Compose: much of it is not in the schema of stack files.
const STACK: &str = "name: cms
services:
  web:
    image: landfall/busybox:test
    command: [sh, -c, 'mkdir -p /www && echo \"$${VERSION} $$(cat /etc/motto) $$(cat /run/secrets/token)\" > /www/index.html && exec httpd -f -p 80 -h /www']
    environment: { VERSION: '${VERSION:-one}', UNSET: }
    restart: unless-stopped
    stop_signal: SIGKILL
    volumes: ['data:/data', { type: tmpfs, target: /scratch, tmpfs: { size: 1000000 } }]
    depends_on: { db: { condition: service_healthy } }
    healthcheck: { test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1/'], interval: 1s, start_interval: 1s, start_period: 20s, retries: 2 }
    configs: [{ source: motto, target: /etc/motto, mode: 0444 }]
    secrets: [token]
    deploy: { endpoint_mode: dnsrr, update_config: { order: start-first, monitor: 2s }, resources: { limits: { cpus: '0.5', pids: 50 } } }
  db:
    image: landfall/busybox:test
    command: [sleep, '1000000']
    stop_signal: SIGKILL
    deploy: { endpoint_mode: dnsrr }
volumes: { data: {} }
configs: { motto: { file: ./motto.txt } }
secrets: { token: { environment: TOKEN } }
";

fn declare(world: &World, host: &Host, stacks: &str) {
    world.write("manifests/all.yaml", &(base(&host.endpoint(), "") + stacks));
}

fn world(host: &Host, stacks: &str) -> World {
    assert!(compose().join("docker-compose").exists(), "Docker Compose is missing; `scripts/compose` fetches it");
    let world = World::new(&(base(&host.endpoint(), "") + stacks));
    world.write("stack.yaml", STACK);
    world.write("motto.txt", "hello");
    world
}

fn services(host: &Host) -> Vec<String> {
    files(host, "services")
}

/// Names of the services, secrets or configs of the Swarm.
fn files(host: &Host, kind: &str) -> Vec<String> {
    let list = host.get(&format!("/{kind}"));
    let mut names: Vec<String> = list.as_array().unwrap().iter().map(|it| text(&it["Spec"]["Name"])).collect();
    names.sort();
    names
}

/// What the stack's web server answers to who is on that network.
fn answer(host: &Host, network: &str, name: &str) -> String {
    host.container("client").network(network).running();
    // The name of tasks that were just replaced is not there for a moment.
    let said = wait_for("the name is known", || {
        let said = host.exec("client", &["wget", "-q", "-O", "-", &format!("http://{name}/")]);
        (!said.contains("bad address")).then_some(said)
    });
    host.api("DELETE", "/containers/client?force=1", &json!(null));
    said.trim().to_owned()
}

/// Waits until the latest update of a service is through, and has a task running.
fn rests(host: &Host, service: &str) {
    wait_for("the update is through", || {
        let through = host.get(&format!("/services/{service}"))["UpdateStatus"]["State"] == json!("completed");
        (through && tasks(host, service).len() == 1).then_some(())
    });
}

fn spec(host: &Host, service: &str) -> Value {
    host.get(&format!("/services/{service}"))["Spec"].clone()
}

const TOKEN: &[(&str, &str)] = &[("TOKEN", "hunter2")];

#[test]
fn a_stack_is_deployed_changed_repaired_and_removed_with_its_volumes_kept() {
    let host = swarm();
    let service = stack("cms", "  connectToDestination: true\n");
    let world = world(&host, &service);
    let run = |arguments: &str| world.run_with(TOKEN, arguments);
    let planned = run("diff").expect(1);
    assert!(
        planned.stdout.contains("+ deploy stack cms on web-net (db service: none -> made; web service: none -> made)"),
        "{planned}"
    );
    let applied = run("-vv apply").expect(0);
    assert!(
        applied.stdout.contains("\n1 resource is in place") || applied.stdout.contains("deploy stack cms"),
        "{applied}"
    );
    assert!(!applied.to_string().contains("hunter2"), "{applied}");
    assert_eq!(services(&host), ["cms_db", "cms_web"]);
    assert_eq!(answer(&host, "web-net", "web-cms"), "one hello hunter2");
    assert_eq!(answer(&host, "cms_default", "web"), "one hello hunter2", "the stack's own network is kept");
    run("diff").expect(0);
    let json = run("diff -o json").expect(0).json();
    assert_eq!(json["operations"], json!([]), "the CLI does not run a second time");
    let labels = spec(&host, "cms_web")["Labels"].clone();
    assert_eq!(labels["landfall.object"], json!("Service/shop/cms"));
    assert!(!labels.to_string().contains("hunter2"));
    assert!(!run("drift").expect(0).to_string().contains("cms_"));

    // A variable of one service: the tasks of that one alone are replaced.
    let before = (tasks(&host, "cms_db"), tasks(&host, "cms_web"));
    let (motto, token) = (files(&host, "configs"), files(&host, "secrets"));
    world.write(".env", "VERSION=two\n");
    world.write("motto.txt", "good day");
    let planned = run("diff").expect(1);
    assert!(planned.stdout.contains("~ deploy stack cms on web-net (web configuration: "), "{planned}");
    run("apply --yes").expect(0);
    assert_eq!(answer(&host, "web-net", "web-cms"), "two good day hunter2");
    assert_eq!(tasks(&host, "cms_db"), before.0);
    assert_ne!(tasks(&host, "cms_web"), before.1);
    assert_ne!(files(&host, "configs"), motto);
    assert_eq!((files(&host, "configs").len(), files(&host, "secrets")), (1, token), "the former content is removed");
    run("diff").expect(0);

    // What fell off the destination is put back without a deployment; what was scaled by hand is not.
    let seen = host.get("/services/cms_db");
    let mut off = seen["Spec"].clone();
    let own = |it: &Value| host.network_ids("web-net").contains(&text(&it["Target"]));
    off["TaskTemplate"]["Networks"].as_array_mut().unwrap().retain(|it| !own(it));
    host.post(&format!("/services/cms_db/update?version={}", seen["Version"]["Index"]), off);
    rests(&host, "cms_db");
    let planned = run("diff").expect(1);
    assert!(!planned.stdout.contains("deploy stack") && planned.stdout.contains("cms_db"), "{planned}");
    run("apply --yes").expect(0);
    rests(&host, "cms_db");
    run("diff").expect(0);

    // Deactivated, and back.
    let all = base(&host.endpoint(), "") + &service;
    world.write("manifests/all.yaml", &all.replace("server: infra/edge,", "server: infra/edge, active: false,"));
    run("apply --yes").expect(0);
    assert_eq!(spec(&host, "cms_web")["Mode"]["Replicated"]["Replicas"], json!(0));
    run("diff").expect(0);
    declare(&world, &host, &service);
    run("apply --yes").expect(0);
    wait_for("the tasks are back", || (!run("diff").to_string().contains("waiting")).then_some(()));
    assert_eq!(answer(&host, "web-net", "web-cms"), "two good day hunter2");
    run("diff").expect(0);

    // A service that is not in the file any more, and then the stack.
    let stripped = STACK.replace("    depends_on: { db: { condition: service_healthy } }\n", "");
    let (head, rest) = stripped.split_once("  db:\n").unwrap();
    world.write("stack.yaml", &format!("{head}volumes: {}", rest.split_once("volumes: ").unwrap().1));
    let planned = run("diff").expect(1);
    assert!(planned.stdout.contains("db service: made -> none"), "{planned}");
    run("apply --yes").expect(0);
    assert_eq!(services(&host), ["cms_web"]);
    run("diff").expect(0);
    let deleted = run("delete service cms -n shop --yes").expect(0);
    assert!(deleted.stdout.contains("- remove stack cms (cms_web)"), "{deleted}");
    assert_eq!(services(&host), Vec::<String>::new());
    assert_eq!(host.network_ids("cms_default"), Vec::<String>::new());
    assert_eq!((files(&host, "configs"), files(&host, "secrets")), (Vec::new(), Vec::new()));
    assert!(host.get("/volumes").to_string().contains("cms_data"), "volumes stay");
    assert_eq!(host.network_ids("web-net").len(), 1);
}

#[test]
fn a_version_that_does_not_serve_is_told_with_its_task_and_what_ran_before_comes_back() {
    let host = swarm();
    let world = world(&host, &stack("cms", ""));
    let run = |arguments: &str| world.run_with(TOKEN, arguments);
    run("apply").expect(0);
    let before = tasks(&host, "cms_web");
    world.write("stack.yaml", &STACK.replace("exec httpd -f -p 80", "echo broken; exit 3; exec httpd -f -p 80"));
    let failed = run("apply --yes").expect(2).to_string();
    assert!(failed.contains("The service web of the stack cms does not serve. The Swarm service cms_web"), "{failed}");
    assert!(failed.contains("non-zero exit (3)") && failed.contains("the Swarm has rolled it back"), "{failed}");
    assert!(failed.contains("(HealthCheckFailed)") && failed.contains("broken"), "{failed}");
    assert_eq!(tasks(&host, "cms_web"), before, "it serves on");
    // An image that there is none of, of a stack that is not there yet.
    world.write("stack.yaml", &STACK.replace("landfall/busybox:test", "landfall/none:test"));
    let failed = run("apply --yes").expect(2).to_string();
    assert!(failed.contains("No such image") && failed.contains("(ImageUnavailable)"), "{failed}");
}

#[test]
fn what_a_swarm_has_nothing_for_is_refused_or_told_and_who_deployed_it_is_asked() {
    let host = swarm();
    let world = world(&host, &stack("cms", ""));
    let run = |arguments: &str| world.run_with(TOKEN, arguments);
    let odd = STACK.replace(
        "    restart: unless-stopped\n",
        "    restart: unless-stopped\n    container_name: fixed\n    privileged: true\n    ports: [{ target: 80, published: '8080', host_ip: 127.0.0.1, mode: host }]\n",
    );
    world.write("stack.yaml", &odd);
    let refused = run("apply").expect(3).to_string();
    assert!(refused.contains("stack.yaml:"), "{refused}");
    assert!(
        refused.contains("a Swarm has nothing for `container_name` and `privileged` of the service `web`"),
        "{refused}"
    );
    assert!(refused.contains("publishes a port on one address"), "{refused}");
    assert_eq!(services(&host), Vec::<String>::new());
    world.write("stack.yaml", &odd.replace("host_ip: 127.0.0.1, ", ""));
    run("apply").expect(0);
    let ports = spec(&host, "cms_web")["EndpointSpec"]["Ports"].clone();
    assert_eq!(ports[0]["PublishedPort"], json!(8080));
    // As if a person had deployed it.
    for name in services(&host) {
        let seen = host.get(&format!("/services/{name}"));
        let mut bare = seen["Spec"].clone();
        bare["Labels"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("landfall."));
        host.post(&format!("/services/{name}/update?version={}", seen["Version"]["Index"]), bare);
    }
    let refused = run("diff").expect(3);
    assert!(refused.to_string().contains("(AdoptionRequired)"), "{refused}");
    let before = tasks(&host, "cms_db");
    declare(&world, &host, &stack("cms", "").replace("file:", "takeOwnership: true, file:"));
    run("apply --yes").expect(0);
    assert_eq!(tasks(&host, "cms_db"), before, "taken over as it runs");
    run("diff").expect(0);
    // No manifest declares it any more.
    declare(&world, &host, "");
    let said = run("diff").expect(0).to_string();
    assert!(said.contains("its stack \"cms\" exists") && said.contains("only with --prune"), "{said}");
    run("apply --prune --yes --allow-mass-delete").expect(0);
    assert_eq!(services(&host), Vec::<String>::new());
}

/// Files with what an archive has to keep of them.
const FILES: &str =
    "mkdir -p deep && echo one >deep/file && ln -s deep/file soft && chown 1234:70000 deep/file && chmod 4750 deep/file
     head -c 3000000 /dev/urandom >large && touch -d '2001-02-03 04:05:06' deep";
const LOOK: &str = "find . -mindepth 1 -printf '%P %y %m %U:%G %l %Ts\\n' | LC_ALL=C sort; find . -type f -exec sha256sum {} + | LC_ALL=C sort";

#[test]
fn a_stack_is_backed_up_and_restored_with_its_services_scaled_to_zero_and_back() {
    let host = swarm();
    let world = world(&host, &stack("cms", ""));
    let run = |arguments: &str| world.run_with(TOKEN, arguments);
    run("apply").expect(0);
    let volume = host.data_directory().join("volumes/cms_data/_data");
    shell(&volume, FILES);
    let content = shell(&volume, LOOK);
    let replicas = || ["cms_db", "cms_web"].map(|it| spec(&host, it)["Mode"]["Replicated"]["Replicas"].clone());
    let both = || ["cms_db", "cms_web"].map(|it| tasks(&host, it));
    let back = |before: &[Vec<String>; 2]| {
        wait_for("each service has another task", || {
            let now = both();
            now.iter().zip(before).all(|(now, before)| now.len() == 1 && now != before).then_some(())
        });
    };
    let before = both();
    let backed_up = run("backup service cms -n shop").expect(0);
    assert!(backed_up.stdout.contains("while it was stopped: volume cms_data"), "{backed_up}");
    assert!(!backed_up.to_string().contains("not in the archive"), "{backed_up}");
    back(&before);
    wait_for("it is as declared", || (run("diff").code == 0).then_some(()));
    let verified = run("backup verify service cms -n shop").expect(0);
    assert!(verified.stdout.contains("all as they were"), "{verified}");

    let refused = run("restore service cms -n shop").expect(3);
    assert!(refused.stderr.contains("there is data already: files in the volume cms_data"), "{refused}");
    shell(&volume, "rm -r deep && echo other >stray");
    let before = both();
    run("restore service cms -n shop --replace").expect(0);
    assert_eq!(shell(&volume, LOOK), content);
    back(&before);

    // One that fails leaves it at zero, which the next one ends.
    let shelf = world.path().join("backups/service/shop/cms");
    spoilt(&shelf, &world.path().join("spoilt"));
    run("restore service cms -n shop --from spoilt --replace --no-backup").expect(2);
    assert_eq!(replicas(), [json!(0), json!(0)]);
    let waits = run("apply --yes");
    assert!(waits.to_string().contains("(LeftStopped)"), "{waits}");
    assert_eq!(replicas(), [json!(0), json!(0)]);
    run("restore service cms -n shop --replace --no-backup").expect(0);
    assert_eq!((replicas(), shell(&volume, LOOK)), ([json!(1), json!(1)], content));
    wait_for("both have a task", || both().iter().all(|it| it.len() == 1).then_some(()));
    wait_for("it is as declared", || (run("diff").code == 0).then_some(()));

    // A controller is beside it, which gives no tasks to what is copied, and does so once the copy was killed.
    shell(&volume, "head -c 60000000 /dev/urandom >large");
    let mut with = crate::cli::run::command();
    with.envs(TOKEN.iter().copied());
    let mut controller = Controller::spawn(&world, with, &[]);
    let mut backup = world.command("backup service cms -n shop").envs(TOKEN.iter().copied()).spawn().unwrap();
    until("scaled to zero for the copy", &mut controller, || replicas() == [json!(0), json!(0)]);
    backup.kill().unwrap();
    backup.wait().unwrap();
    until("scaled up again", &mut controller, || replicas() == [json!(1), json!(1)]);
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

/// Volumes are a node's own: what is on another one is named, and neither missed in silence nor made anew here.
#[test]
fn what_a_stack_has_on_another_node_is_not_taken_for_saved() {
    let cluster = Cluster::start(2);
    for node in &cluster.nodes {
        // Makes the image.
        let _ = node.container("none");
    }
    let [manager, worker] = &cluster.nodes[..] else { unreachable!() };
    let on = |role: &str| {
        format!(
            "    volumes: ['records:/records']\n    deploy: {{ endpoint_mode: dnsrr, placement: {{ constraints: ['node.role == {role}'] }} }}\nvolumes: {{ data: {{}}, records: {{}} }}\n"
        )
    };
    let (head, rest) = STACK.split_once("    deploy: { endpoint_mode: dnsrr }\nvolumes: { data: {} }\n").unwrap();
    let bound = format!("placement: {{ constraints: ['node.hostname == {}'] }}, resources:", manager.name());
    let head = head.replace("resources:", &bound);
    let world = world(manager, &stack("cms", ""));
    world.write("stack.yaml", &format!("{head}{}{rest}", on("worker")));
    let run = |arguments: &str| world.run_with(TOKEN, arguments);
    run("apply").expect(0);
    assert_eq!((tasks(worker, "cms_db").len(), tasks(manager, "cms_web").len()), (1, 1));
    shell(&manager.data_directory().join("volumes/cms_data/_data"), "echo here >file");
    let records = worker.data_directory().join("volumes/cms_records/_data");
    shell(&records, "echo there >file");

    let unbound = run("backup service cms -n shop").expect(3);
    assert!(
        unbound.stderr.contains("the Swarm service cms_db is not bound to the node of Server/infra/edge"),
        "{unbound}"
    );
    let partly = run("backup service cms -n shop --live").expect(0);
    let said = format!("not in the archive: the volume cms_records on the node {}", worker.name());
    assert!(partly.to_string().contains(&said) && partly.stdout.contains("volume cms_data"), "{partly}");
    assert!(manager.api("GET", "/volumes/cms_records", &json!(null)).status == 404, "none of that name is made here");
    assert_eq!((tasks(worker, "cms_db").len(), tasks(manager, "cms_web").len()), (1, 1));
    let archive = shell(world.path(), "ls -d backups/service/shop/cms/2*");
    let archive = archive.trim();
    shell(world.path(), &format!("sed -i s/cms_data/cms_records/ {archive}/manifest.json"));
    let refused = run(&format!("restore service cms -n shop --from {archive} --replace")).expect(3);
    assert!(refused.stderr.contains("has the volume cms_records on the node"), "{refused}");
    assert_eq!(shell(&records, "cat file"), "there\n");

    // All of it on the other node, and a volume of that name here, which is left from before.
    let moved = std::fs::read_to_string(world.path().join("stack.yaml")).unwrap();
    world.write("stack.yaml", &moved.replace(manager.name(), worker.name()));
    run("apply --yes").expect(0);
    wait_for("the former task has ended", || tasks(manager, "cms_web").is_empty().then_some(()));
    let refused = run("backup service cms -n shop --live").expect(3);
    assert!(refused.stderr.contains("has the volume cms_data on the node") && refused.stdout.is_empty(), "{refused}");
}
