//! Managed applications on a real daemon: made, changed, kept when their successor is sick, and removed.

use serde_json::{Value, json};

use super::controller::{Controller, until};
use crate::cli::world::World;
use crate::support::Host;
use crate::support::host::text;

/// A web server that says who it is, and dies at once when told to.
const SPEC: &str = "  image: landfall/busybox:test
  command: [sh, -c, 'mkdir -p /www && echo $VERSION > /www/index.html && exec httpd -f -p 8080 -h /www']
  stopSignal: SIGKILL
  healthcheck: { command: [wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], intervalSeconds: 1, retries: 2 }
";

pub(super) fn manifests(host: &Host, spec: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge, namespace: infra }}
spec: {{ endpoint: '{}', allowedNamespaces: ['*'] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: web-net, subnets: [{{ subnet: 10.42.0.0/24 }}] }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: frontend, namespace: shop }}
spec:
  destination: web
{spec}",
        host.endpoint()
    )
}

pub(super) fn names(host: &Host) -> Vec<String> {
    let list = host.get("/containers/json?all=1");
    let name = |container: &Value| container["Names"][0].as_str().unwrap().trim_start_matches('/').to_owned();
    let mut names: Vec<String> = list.as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

/// What the application answers on its destination, by its name.
fn answer(host: &Host) -> String {
    host.container("client").network("web-net").running();
    let said = host.exec("client", &["wget", "-q", "-O", "-", "http://frontend:8080/"]);
    host.api("DELETE", "/containers/client?force=1", &json!(null));
    said.trim().to_owned()
}

#[test]
fn an_application_is_run_changed_kept_and_removed() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let version = |number: &str| format!("{SPEC}  env: [{{ name: VERSION, value: '{number}' }}]\n  replicas: 2\n");
    let world = World::new(&manifests(&host, &version("one")));
    world.run("validate").expect(0);
    let applied = world.run("apply").expect(0);
    assert!(applied.stdout.contains("+ create container shop-frontend-1"), "{applied}");
    assert_eq!(answer(&host), "one");
    world.run("diff").expect(0);
    let endpoint = &host.inspect("shop-frontend-1")["NetworkSettings"]["Networks"]["web-net"];
    assert!(endpoint["Aliases"].as_array().unwrap().contains(&json!("frontend")), "{endpoint}");

    // A changed variable: new containers, healthy before the old ones go.
    let before = host.inspect("shop-frontend-1")["Id"].clone();
    world.write("manifests/all.yaml", &manifests(&host, &version("two")));
    let planned = world.run("diff").expect(1);
    assert!(planned.stdout.contains("(env VERSION: changed)"), "{planned}");
    world.run("apply").expect(0);
    assert_eq!(answer(&host), "two");
    assert_ne!(host.inspect("shop-frontend-1")["Id"], before);
    world.run("diff").expect(0);

    // A version that never gets healthy: the others serve on.
    let sick = version("three").replace("http://127.0.0.1:8080/", "http://127.0.0.1:9/");
    world.write("manifests/all.yaml", &manifests(&host, &sick));
    let failed = world.run("apply").expect(2);
    assert!(failed.to_string().contains("is unhealthy. Its health check says: wget"), "{failed}");
    assert_eq!(answer(&host), "two");
    assert_eq!(names(&host), ["shop-frontend-1", "shop-frontend-2"], "nothing of the sick one is left");

    // Limits are raised in place, on the same containers.
    let id = host.inspect("shop-frontend-1")["Id"].clone();
    world.write(
        "manifests/all.yaml",
        &manifests(&host, &(version("two") + "  resources: { memory: 64Mi, pids: 50 }\n")),
    );
    let updated = world.run("apply").expect(0);
    assert!(updated.stdout.contains("~ update shop-frontend-1 in place"), "{updated}");
    let seen = host.inspect("shop-frontend-1");
    assert_eq!((&seen["Id"], &seen["HostConfig"]["Memory"]), (&id, &json!(64 << 20)));
    world.run("diff").expect(0);

    // Stopped by hand: started again. Removed by hand: made again.
    host.api("POST", "/containers/shop-frontend-1/stop", &json!(null));
    host.api("DELETE", "/containers/shop-frontend-2?force=1", &json!(null));
    world.run("diff").expect(1);
    world.run("apply").expect(0);
    assert_eq!(names(&host), ["shop-frontend-1", "shop-frontend-2"]);
    world.run("diff").expect(0);

    // Deleted by name, with its destination after it.
    world.run("delete application frontend -n shop --yes").expect(0);
    assert_eq!(names(&host), Vec::<String>::new());
}

#[test]
fn a_secret_reaches_the_container_and_nothing_that_landfall_prints_or_keeps() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let spec = "  image: landfall/busybox:test\n  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n  env: [{ name: TOKEN, valueFrom: { file: ../token } }]\n  files: [{ path: /run/secrets/key, valueFrom: { file: ../token }, mode: '0400' }]\n";
    let world = World::new(&manifests(&host, spec));
    let missing = world.run("apply").expect(3);
    assert!(missing.stdout.contains("(SecretMissing)"), "{missing}");
    world.write("token", "hunter2\n");
    let applied = world.run("-vvv apply").expect(0);
    assert!(!applied.to_string().contains("hunter2"), "{applied}");
    let seen = host.inspect("shop-frontend-1");
    assert!(seen["Config"]["Env"].as_array().unwrap().contains(&json!("TOKEN=hunter2")));
    assert_eq!(host.exec("shop-frontend-1", &["cat", "/run/secrets/key"]), "hunter2");
    world.run("diff").expect(0);
    world.write("token", "correct horse\n");
    let changed = world.run("-vvv diff").expect(1);
    assert!(changed.stdout.contains("env TOKEN: changed; file /run/secrets/key: changed"), "{changed}");
    assert!(!changed.to_string().contains("hunter2") && !changed.to_string().contains("horse"), "{changed}");
    let observed = world.run("get server edge -n infra -o json --observed").expect(0);
    assert!(!observed.to_string().contains("hunter2"), "{observed}");
}

/// A real Redis: made with a password that nobody wrote, healthy when it lets in whoever has it, reached by name on its destination.
#[test]
fn a_database_is_run_with_a_generated_password_and_serves_the_application_that_waits_for_it() {
    let host = Host::start();
    host.import_image("landfall/redis:test", &["/usr/bin/redis-server", "/usr/bin/redis-cli"]);
    let database = "---
apiVersion: landfall/v1
kind: Database
metadata: { name: orders, namespace: shop }
spec:
  destination: web
  engine: Redis
  version: '7'
  image: landfall/redis:test
  credentials: { password: { file: ../secrets/orders, generate: true } }
  stopGracePeriodSeconds: 2
";
    let application = "  image: landfall/redis:test
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  dependsOn: [Database/orders]
  env: [{ name: REDIS, valueFrom: { database: { name: orders, field: url } } }]
";
    let world = World::new(&(manifests(&host, application) + database));
    world.run("apply --dry-run").expect(0);
    assert!(!world.path().join("secrets/orders").exists(), "a dry run writes nothing");
    let applied = world.run("apply").expect(0);
    let at = |text: &str| applied.stdout.find(text).unwrap_or_else(|| panic!("{text}: {applied}"));
    assert!(at("start shop-orders ") < at("create container shop-frontend-1"), "{applied}");
    let password = std::fs::read_to_string(world.path().join("secrets/orders")).unwrap().trim().to_owned();
    assert!(password.len() >= 24 && !applied.to_string().contains(&password), "{applied}");
    let seen = host.inspect("shop-orders");
    assert_eq!(seen["State"]["Health"]["Status"], "healthy");
    for part in ["Config", "HostConfig", "Args", "Path"] {
        assert!(!seen[part].to_string().contains(&password), "the password is in no argument, variable or label");
    }
    let ask =
        |words: &str| host.exec("shop-frontend-1", &["sh", "-c", &format!("redis-cli -u $REDIS {words} 2>/dev/null")]);
    assert_eq!(ask("set greeting hello").trim(), "OK");
    let refused = host.exec("shop-frontend-1", &["redis-cli", "-h", "orders", "get", "greeting"]);
    assert!(refused.contains("NOAUTH"), "{refused}");
    world.run("diff").expect(0);
    // How it is reached: masked, unless somebody asks for it.
    let seen = world.run("get database orders -n shop -o json").expect(0);
    let seen: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(seen["status"]["connectionUrl"], "redis://default:***@orders:6379/0");
    let described = world.run("describe database orders -n shop").expect(0);
    assert!(described.stdout.contains("redis://default:***@orders:6379/0"), "{described}");
    assert!(described.stdout.contains("Available") && !described.to_string().contains(&password), "{described}");
    let shown = world.run("describe database orders -n shop --show-secrets").expect(0);
    assert!(shown.stdout.contains(&format!("redis://default:{password}@orders:6379/0")), "{shown}");

    // Another version of the configuration: the data stays.
    let changed = database.replace("  stopGracePeriodSeconds: 2\n", "  stopGracePeriodSeconds: 3\n");
    world.write("manifests/all.yaml", &(manifests(&host, application) + &changed));
    let planned = world.run("diff").expect(1);
    assert!(planned.stdout.contains("because it is a database: requests fail"), "{planned}");
    world.run("apply").expect(0);
    assert_eq!(ask("get greeting").trim(), "hello");
    world.run("delete database orders -n shop --yes").expect(0);
    let volumes = host.get("/volumes").to_string();
    assert!(volumes.contains("shop-orders-data"), "the volume stays: {volumes}");
    let kept = world.run("get volumes -o wide --no-headers").expect(0);
    let line = kept.stdout.split_whitespace().collect::<Vec<_>>();
    assert!(line.ends_with(&["Declared", "Database/shop/orders", "redis:7"]), "its manifest still names it: {kept}");
    world.write("manifests/all.yaml", &manifests(&host, "  image: landfall/redis:test\n"));
    assert_eq!(world.run("get volumes --unused -o name").expect(0).stdout, "volume/shop-orders-data\n");
}

#[test]
fn logs_of_all_replicas_are_shown_with_their_names_and_a_rollout_is_followed_and_asked_for() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let spec = SPEC.replace("exec httpd", "echo serving $VERSION && exec httpd");
    let spec = format!("{spec}  env: [{{ name: VERSION, value: one }}]\n  replicas: 2\n");
    let world = World::new(&manifests(&host, &spec));
    let none = world.run("rollout status application/frontend --no-wait").expect(2);
    assert!(none.stdout.contains("0 of 2 run"), "{none}");
    world.run("apply").expect(0);
    let done = world.run("rollout status application/frontend").expect(0);
    assert_eq!(done.stdout, "application/frontend is rolled out: 2 of 2 run as declared\n");

    let logs = world.run("logs application/frontend").expect(0);
    let mut lines: Vec<&str> = logs.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["shop-frontend-1 | serving one", "shop-frontend-2 | serving one"]);
    let one = world.run("logs destination/web --tail 0 --no-prefix").expect(0);
    assert_eq!(one.stdout, "");
    let stamped = world.run("logs app frontend --timestamps --no-prefix --since 1h").expect(0);
    assert!(stamped.stdout.lines().all(|line| line.starts_with("20") && line.ends_with("Z serving one")), "{stamped}");
    world.run("logs server/edge").expect(2);
    world.run("logs application/nope").expect(2);

    // Both are other containers afterwards, and nothing differs.
    let ids = || ["shop-frontend-1", "shop-frontend-2"].map(|name| host.inspect(name)["Id"].clone());
    let before = ids();
    let restarted = world.run("rollout restart application/frontend").expect(0);
    assert!(restarted.stdout.contains("(container: as it is -> anew)"), "{restarted}");
    let after = ids();
    assert!(before.iter().all(|id| !after.contains(id)), "{before:?} {after:?}");
    world.run("diff").expect(0);
    assert_eq!(names(&host), ["shop-frontend-1", "shop-frontend-2"]);
    assert_eq!(answer(&host), "one");
}

#[test]
fn a_rollout_holds_up_no_repair_of_the_same_server() {
    let host = Host::start();
    host.container("member").running();
    // Serves when it is let.
    let spec = "  image: landfall/busybox:test
  command: [sh, -c, 'while [ ! -e /tmp/go ]; do sleep 0.1; done; mkdir -p /www && echo up > /www/index.html && exec httpd -f -p 8080 -h /www']
  stopSignal: SIGKILL
  healthcheck: { command: [wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], intervalSeconds: 1, retries: 1000 }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: member, namespace: shop }
spec: { destination: web, containers: { names: [member] } }
";
    let world = World::new(&manifests(&host, spec));
    let mut controller = Controller::start(&world, &[]);
    let is_on = || host.networks_of("member").contains(&"web-net".to_owned());
    until("the rollout to be under way", &mut controller, || {
        let seen = host.api("GET", "/containers/shop-frontend-1/json", &json!(null));
        is_on() && seen.status == 200 && seen.body["State"]["Status"] == "running"
    });
    for _ in 0..3 {
        host.disconnect("web-net", "member");
        until("the member back on its network", &mut controller, is_on);
    }
    let health = || host.inspect("shop-frontend-1")["State"]["Health"]["Status"].clone();
    assert_ne!(health(), "healthy");
    host.exec("shop-frontend-1", &["touch", "/tmp/go"]);
    until("the application to be healthy", &mut controller, || health() == "healthy");
    until("nothing left to do", &mut controller, || world.run("diff").code == 0);
    assert_eq!(names(&host), ["member", "shop-frontend-1"]);
    until("the rollout on record beside the repairs", &mut controller, || {
        world.run("events --for application/frontend -n shop").expect(0).stdout.contains("shop-frontend-1")
    });
}

/// What `docker run` or Compose has made is adopted, then run by Landfall, then called otherwise: each time a rollout, and never two of it left.
#[test]
fn an_adopted_application_becomes_landfalls_and_is_renamed_and_images_and_volumes_say_who_uses_them() {
    let host = Host::start();
    host.container("frontend").env("TOKEN=hunter2").running();
    let application = |name: &str, annotations: &str, spec: &str| {
        manifests(&host, spec).replace(
            "metadata: { name: frontend, namespace: shop }",
            &format!("metadata: {{ name: {name}, namespace: shop{annotations} }}"),
        )
    };
    let world = World::new(&application("frontend", "", "  containers: { names: [frontend] }\n"));
    world.run("apply").expect(0);
    let adopted = world.run("get application frontend -n shop -o json").expect(0);
    assert!(!adopted.stdout.contains("Available"), "Landfall does not run it: {adopted}");

    let spec = format!("{SPEC}  volumes: [{{ volume: pages, mountPath: /pages }}]\n  containerName: frontend\n");
    world.write("manifests/all.yaml", &application("frontend", "", &spec));
    let planned = world.run("diff").expect(1);
    for said in ["run by: something else -> Landfall", "networks: bridge, web-net -> web-net", "env TOKEN: removed"] {
        assert!(planned.stdout.contains(said), "{said}: {planned}");
    }
    assert!(
        planned.stdout.contains("remove container frontend") && planned.stdout.contains(", disruptive"),
        "{planned}"
    );
    assert!(!planned.to_string().contains("hunter2"), "{planned}");
    let before = host.inspect("frontend")["Id"].clone();
    world.run("apply").expect(0);
    assert_eq!(names(&host), ["frontend"]);
    assert_ne!(host.inspect("frontend")["Id"], before);
    world.run("diff").expect(0);
    let status = |name: &str| {
        let seen = world.run(&format!("get application {name} -n shop -o json")).expect(0);
        let seen: Value = serde_json::from_str(&seen.stdout).unwrap();
        let conditions = seen["status"]["conditions"].as_array().unwrap().clone();
        let one = |kind: &str| conditions.iter().find(|it| it["type"] == kind).unwrap().clone();
        ["Available", "Progressing", "Healthy"]
            .map(|kind| format!("{kind}={} {}", text(&one(kind)["status"]), text(&one(kind)["reason"])))
    };
    assert_eq!(status("frontend"), ["Available=True Serving", "Progressing=False RolledOut", "Healthy=True Serving"]);

    // Another name.
    let spec = spec.replace("  containerName: frontend\n", "");
    world.write("manifests/all.yaml", &application("storefront", ", annotations: { landfall/was: frontend }", &spec));
    assert_eq!(status("storefront")[1], "Progressing=True RolloutInProgress");
    let renamed = world.run("apply --prune").expect(0);
    assert!(renamed.stdout.contains("resource: Application/shop/frontend -> Application/shop/storefront"), "{renamed}");
    assert_eq!(names(&host), ["shop-storefront-1"]);
    world.write("manifests/all.yaml", &application("storefront", "", &spec));
    world.run("diff").expect(0);

    // Who uses what.
    host.api("POST", "/volumes/create", &json!({ "Name": "nobodys" }));
    let volumes = world.run("get volumes").expect(0);
    let line = |of: &str| {
        let line = volumes.stdout.lines().find(|line| line.contains(of)).unwrap_or_else(|| panic!("{of}: {volumes}"));
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert!(line("pages").ends_with("Application/shop/storefront InUse"), "{volumes}");
    assert!(line("nobodys").ends_with("Unused"), "{volumes}");
    assert_eq!(world.run("get volume --unused -o name").expect(0).stdout, "volume/nobodys\n");
    let images = world.run("get images -o json").expect(0);
    let images: Value = serde_json::from_str(&images.stdout).unwrap();
    let of = |name: &str| images["items"].as_array().unwrap().iter().find(|it| it["metadata"]["name"] == name).unwrap();
    let image = of("landfall/busybox:test");
    assert_eq!(image["status"]["usedBy"], json!(["Application/shop/storefront"]), "{image}");
    assert_eq!((&image["status"]["status"], &image["kind"]), (&json!("InUse"), &json!("Image")), "{image}");
    let size = image["status"]["size"].as_u64().unwrap();
    assert!(size > 100_000 && text(&image["status"]["id"]).starts_with("sha256:"), "{image}");
    world.run("get images --watch").expect(2);
    world.run("get applications --unused").expect(2);
}

/// From the page, or with `curl`: new containers once, and not again with every pass.
#[test]
fn a_restart_that_a_controller_is_asked_for_replaces_the_containers_once() {
    use crate::support::wait_for;
    use crate::web::client;
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let spec = "  image: landfall/busybox:test\n  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n";
    let world = World::new(&manifests(&host, spec));
    world.write("token", "alice a-token-of-alices\n");
    let running = crate::web::live::Running::start(&world, &["--token-file", "token"]);
    let id = || {
        let seen = host.api("GET", "/containers/shop-frontend-1/json", &json!(null));
        (seen.status == 200).then(|| seen.body["Id"].as_str().unwrap().to_owned())
    };
    let settled = || {
        let object = running.get("/api/v1/objects/Application/shop/frontend").json();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let so = |name: &str, status: &str| conditions.iter().any(|it| it["type"] == name && it["status"] == status);
        (so("Ready", "True") && so("Reconciling", "False")).then_some(())
    };
    wait_for("it runs", settled);
    let before = id().unwrap();
    let post = |path: &str, body: &str| {
        let address = running.address.to_string();
        let headers = [
            ("Host", address.as_str()),
            ("Authorization", "Bearer a-token-of-alices"),
            ("Content-Type", "application/json"),
        ];
        client::send(client::connect(running.address), &format!("POST {path}"), &headers, body).expect(202);
    };
    post("/api/v1/restart", "{\"object\":\"Application/shop/frontend\"}");
    wait_for("another container runs", || id().filter(|id| *id != before));
    wait_for("it is through", settled);
    let after = id().unwrap();
    // Passes after that find nothing to do.
    for _ in 0..2 {
        let passes = || running.get("/api/v1/objects/Server/infra/edge").json()["status"]["lastPass"]["pass"].as_u64();
        let seen = passes();
        post("/api/v1/reconcile", "");
        wait_for("a pass more", || (passes() > seen).then_some(()));
    }
    assert_eq!(id().unwrap(), after);
}

/// Whoever rolls out is killed in the middle, at two at once, with a hook that fails, and with a port that somebody else has.
#[test]
fn what_goes_wrong_in_a_rollout_leaves_the_old_one_serving_and_the_next_one_completes_it() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let version = |number: &str, more: &str| {
        format!("{SPEC}  env: [{{ name: VERSION, value: '{number}' }}]\n{more}").replace(
            "exec httpd",
            "{ [ $VERSION != slow ] || while [ ! -e /tmp/go ]; do sleep 0.1; done; } && exec httpd",
        )
    };
    let world = World::new(&manifests(&host, &version("one", "")));
    world.run("apply").expect(0);
    let declare =
        |number: &str, more: &str| world.write("manifests/all.yaml", &manifests(&host, &version(number, more)));

    // A hook that fails: nothing was replaced, and nothing of it is left.
    let hook = |command: &str| format!("  hooks: {{ preDeploy: {{ command: [sh, -c, '{command}'] }} }}\n");
    declare("two", &hook("echo migrating; exit 3"));
    let failed = world.run("apply").expect(2).to_string();
    assert!(
        failed.contains("HookFailed") && failed.contains("exited with code 3") && failed.contains("migrating"),
        "{failed}"
    );
    assert_eq!((names(&host), answer(&host)), (vec!["shop-frontend-1".to_owned()], "one".to_owned()));
    // One that passes is run once, on the destination, with the new version's variables.
    declare("two", &hook("echo $VERSION > /dev/null; [ $VERSION = two ] && ping -c 1 -w 5 frontend"));
    world.run("apply").expect(0);
    assert_eq!((names(&host), answer(&host)), (vec!["shop-frontend-1".to_owned()], "two".to_owned()));

    // Killed while the new one gets healthy.
    declare("slow", "");
    let mut killed = world.command("apply").spawn().unwrap();
    crate::support::wait_for("the new version beside the old one", || {
        let seen = host.api("GET", "/containers/shop-frontend-1-next/json", &json!(null));
        (seen.status == 200 && seen.body["State"]["Running"] == true).then_some(())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let health = |name: &str| host.inspect(name)["State"]["Health"]["Status"].clone();
    assert_eq!(health("shop-frontend-1"), "healthy");
    // Two go on where it was at once: whichever does what, it is done once.
    host.exec("shop-frontend-1-next", &["touch", "/tmp/go"]);
    let mut both: Vec<_> = (0..2).map(|_| world.command("apply").spawn().unwrap()).collect();
    for apply in &mut both {
        apply.wait().unwrap();
    }
    world.run("apply").expect(0);
    world.run("diff").expect(0);
    assert_eq!((names(&host), answer(&host)), (vec!["shop-frontend-1".to_owned()], "slow".to_owned()));

    // A port of the server that somebody else has: the old one is not stopped.
    host.container("other").publish(80, 8099).running();
    declare("three", "  ports: [{ containerPort: 8080, hostPort: 8099 }]\n");
    let taken = world.run("apply").expect(3).to_string();
    assert!(taken.contains("PortTaken"), "{taken}");
    crate::support::wait_for("the old one in its place", || (health("shop-frontend-1") == "healthy").then_some(()));
    host.remove_container("other");
    assert_eq!((names(&host), answer(&host)), (vec!["shop-frontend-1".to_owned()], "slow".to_owned()));
    world.run("apply").expect(0);
    assert_eq!((names(&host), answer(&host)), (vec!["shop-frontend-1".to_owned()], "three".to_owned()));
    world.run("diff").expect(0);
}
