//! Further causes that `doctor` names, staged with real proxies as those in `doctor.rs`.

use serde_json::{Value, json};

use super::doctor::{PORT, Street, TRAEFIK};
use crate::support::{Host, wait_for};

#[test]
fn networks_labels_and_ports_that_lead_traefik_astray_are_found() {
    let street = Street::with_traefik();
    let host = &street.host;
    street.world.run("apply").expect(0);
    street.answers(200);
    let again = || host.remove_container("shop");

    // The label names the destination, where only the manifest has the application.
    again();
    street.shop().network("home").running();
    street.heals("WrongNetworkLabel", 504);
    // It names what Compose would have called otherwise.
    again();
    street.application("shop", "0.0.0.0:80", 80).label("traefik.docker.network", "shop").network("home").running();
    street.replaced("WrongNetworkLabel", 504);

    again();
    let unnumbered = host.container("shop").label("traefik.enable", "true").network("street-shop");
    unnumbered.label("traefik.http.routers.shop.rule", "PathPrefix(`/`)").running();
    street.replaced("NoPort", 404);

    again();
    street.shop().network("street-shop").label("traefik.http.routers.shop.rule", "Host(`shop.example.com`)").running();
    street.replaced("NoRoute", 404);

    again();
    street.shop().network("street-shop").label("traefik.http.routers.shop.tls", "true").running();
    street.replaced("NoTlsRoute", 404);

    // Takes the request, and never answers it.
    again();
    let silent = street.shop().network("street-shop");
    silent.command(&["sh", "-c", "while :; do nc -l -p 80 -e sleep 1000; done"]).running();
    street.replaced("SlowApplication", 504);

    // What is left of an old version, with a router of another name for the same requests.
    let old = ["a-old", "z-old"];
    for name in old {
        let leftover = street.application(name, "0.0.0.0:80", 80).label("traefik.docker.network", "street-shop");
        leftover.command(&["httpd", "-f", "-p", "80", "-h", "/bin"]).network("street-shop").running();
    }
    let twice = street.finds("RouteTwice", 404);
    assert!(twice["fix"][0].as_str().unwrap().starts_with("docker stop "), "{twice}");
    old.iter().for_each(|name| host.remove_container(name));
    street.answers(200);
    street.doctor(&[]).expect(0);
}

#[test]
fn what_does_not_stand_up_behind_traefik_is_found() {
    let street = Street::with_traefik();
    let host = &street.host;
    street.world.run("apply").expect(0);
    street.answers(200);
    let again = || host.remove_container("shop");

    again();
    street.shop().network("street-shop").healthcheck("until test -e /tmp/later; do sleep 1; done").running();
    street.finds("HealthStarting", 404);
    host.exec("shop", &["touch", "/tmp/later"]);
    street.answers(200);
    street.doctor(&[]).expect(0);

    again();
    street.shop().network("street-shop").restarting();
    let failing = street.finds("NotRunning", 404);
    assert!(failing["message"].as_str().unwrap().contains("again and again"), "{failing}");
    street.replaced("NotRunning", 404);

    // The only address is the squatter's.
    host.create_network_with(json!({
        "Name": "tiny", "CheckDuplicate": true, "IPAM": { "Config": [{ "Subnet": "10.99.0.0/30" }] },
    }));
    host.container("squatter").network("tiny").running();
    again();
    street.shop().network("tiny").created();
    let refused = host.api("POST", "/containers/shop/start", &Value::Null);
    assert!(refused.status >= 400, "{}", refused.body);
    street.finds("AddressesExhausted", 404);
    host.remove_container("squatter");
    host.start_container("shop");
    again();
    street.shop().network("home").running();
    street.world.run("apply").expect(0);
    street.answers(200);
    street.doctor(&[]).expect(0);

    // Published ports lead nowhere from networks without a way out.
    host.create_network_with(json!({ "Name": "inside", "CheckDuplicate": true, "Internal": true }));
    host.remove_container("traefik");
    again();
    street.finds("ProxyMissing", 0);
    street.application("shop", "0.0.0.0:80", 80).label("traefik.docker.network", "inside").network("inside").running();
    street.traefik().network("inside").running();
    street.heals("ProxyUnpublished", 0);

    if host.api_version() < (1, 44) {
        // Later engines refuse a second network of a name.
        host.remove_container("traefik");
        street.traefik().network("street-shop").running();
        let second = host.create_network_with(json!({ "Name": "street-shop", "CheckDuplicate": false }));
        again();
        // Nothing starts on either of them by its name any more.
        street.shop().network("home").running();
        host.connect(&second, "shop");
        host.disconnect("home", "shop");
        host.container("squatter").network("home").running();
        street.heals("NetworkNameTwice", 504);
    }
}

/// Whoever asks for the address of the name gets one or the other.
#[test]
fn a_name_that_two_services_answer_to_behind_caddy_is_found() {
    let street = Street::with_caddy();
    let host = &street.host;
    street.world.run("apply").expect(0);
    street.answers(200);
    let other = host.container("other").network_with("street-shop", json!({ "Aliases": ["shop.internal"] }));
    other
        .label("com.docker.compose.project", "blog")
        .label("com.docker.compose.service", "web")
        .command(&["httpd", "-f", "-p", "80", "-h", "/bin"])
        .running();
    // Of several addresses Go takes the one that is nearest to its own by their bits: that of the container before it.
    host.disconnect("street-shop", "caddy");
    street.world.run("apply").expect(0);
    street.heals("AliasTwice", 404);
    host.remove_container("other");

    host.remove_container("caddy");
    street.finds("ProxyMissing", 0);
    street.caddy().running();
    street.world.run("apply").expect(0);
    street.answers(200);
    street.doctor(&[]).expect(0);
}

/// Its tasks are what Traefik's provider for Swarms asks for.
#[test]
fn a_service_without_tasks_behind_traefik_is_found_and_scaled() {
    let street = Street::with_traefik();
    let host = &street.host;
    host.swarm_init();
    host.remove_container("shop");
    host.remove_container("traefik");
    host.create_network_with(
        json!({ "Name": "street-over", "CheckDuplicate": true, "Driver": "overlay", "Attachable": true }),
    );
    host.container("traefik")
        .image(TRAEFIK)
        .publish(80, PORT)
        .bind(&host.socket(), "/var/run/docker.sock")
        .network("street-over")
        .command(&[
            "traefik",
            "--entrypoints.web.address=:80",
            "--providers.swarm.exposedbydefault=false",
            "--providers.swarm.refreshseconds=1",
            "--providers.providersthrottleduration=100ms",
        ])
        .running();
    host.post(
        "/services/create",
        json!({
            "Name": "web",
            "Labels": {
                "traefik.enable": "true", "traefik.http.routers.web.rule": "PathPrefix(`/`)",
                "traefik.http.services.web.loadbalancer.server.port": "80", "traefik.swarm.lbswarm": "false",
            },
            "Mode": { "Replicated": { "Replicas": 1 } },
            // Virtual addresses need IPVS, which not every kernel of a test has.
            "EndpointSpec": { "Mode": "dnsrr" },
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "landfall/busybox:test",
                    "Command": ["sh", "-c", "mkdir -p /tmp/www && echo shop >/tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www"],
                    "StopSignal": "SIGKILL",
                },
                "Networks": [{ "Target": "street-over" }],
            },
        }),
    );
    street.answers(200);
    scale(host, 0);
    street.heals("ServiceWithoutTasks", 404);
}

fn scale(host: &Host, replicas: u64) {
    wait_for("the service to be scaled", || {
        let service = host.get("/services/web");
        let mut spec = service["Spec"].clone();
        spec["Mode"]["Replicated"]["Replicas"] = replicas.into();
        let path = format!("/services/web/update?version={}", service["Version"]["Index"]);
        (host.api("POST", &path, &spec).status == 200).then_some(())
    });
}

/// As people have it: several applications on several networks, some of them of Compose, jobs that are through, databases that no proxy serves.
#[test]
fn fifty_healthy_containers_behind_a_real_traefik_have_no_finding() {
    let street = Street::with_traefik();
    let host = &street.host;
    street.world.run("apply").expect(0);
    // No more than ten to a network: the ranges of the tests are small.
    let lanes = ["blog_default", "lane-0", "lane-1"];
    for lane in lanes {
        host.create_network(lane);
        host.connect(lane, "traefik");
    }
    let backends = ["shop_backend", "blog_backend"];
    backends.iter().for_each(|name| drop(host.create_network(name)));
    for number in 0..48 {
        let name = format!("c{number}");
        let plain = host.container(&name);
        let lane = lanes[number / 4 % 3];
        match number % 4 {
            // Served, by a host of its own.
            0 => {
                let rule = format!("Host(`{name}.example.com`)");
                let served = street.application(&name, "0.0.0.0:80", 80);
                let served = served.label(&format!("traefik.http.routers.{name}.rule"), &rule);
                served.label("traefik.docker.network", lane).network(lane).healthcheck("true").running()
            }
            1 => {
                let project = ["shop", "blog"][number / 4 % 2];
                let database = plain.label("com.docker.compose.project", project);
                let database = database.label("com.docker.compose.service", "db");
                database.network_with(&format!("{project}_backend"), json!({ "Aliases": ["db", name] })).running()
            }
            2 => plain.label("traefik.enable", "false").network(lane).running(),
            _ => plain.network("home").exited(),
        };
    }
    street.answers(200);
    let said = street.doctor(&[]).expect(0);
    assert!(said.stdout.contains("50 containers examined") || said.stdout.contains("No cause found"), "{said}");
    assert_eq!(street.doctor(&["-o", "json"]).expect(0).json()["findings"], json!([]));
}
