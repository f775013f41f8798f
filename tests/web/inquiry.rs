//! What the page shows when somebody asks for it: what the doctor finds, what containers use and what they print, of a real daemon.

use serde_json::json;

use super::api::{check, described};
use super::client;
use super::metrics::Scrape;
use super::served::{Served, TOKEN};
use crate::support::{Browser, Host};

const READ: &str = "a-token-to-read-with";

pub(super) fn manifests(host: &Host) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec: {{ endpoint: '{}', proxy: {{ container: traefik, type: Traefik }} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge, network: {{ name: web-net }}, adopt: true }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop }}
spec: {{ destination: web, containers: {{ names: [shop] }} }}
---
apiVersion: landfall/v1
kind: Server
metadata: {{ name: gone }}
spec: {{ endpoint: 'unix:///nonexistent.sock' }}
",
        host.endpoint()
    )
}

/// A shop that talks, behind a proxy that is not on its network.
pub(super) fn street() -> Host {
    let host = Host::start();
    host.create_network("web-net");
    host.container("traefik").running();
    host.container("shop")
        .network("web-net")
        .label("traefik.enable", "true")
        .label("traefik.http.routers.shop.rule", "Host(`shop.example.com`)")
        .label("traefik.http.services.shop.loadbalancer.server.port", "80")
        .command(&["sh", "-c", "echo open; echo '<b>no \u{1b}[31mmarkup</b>'; while :; do :; done"])
        .running();
    host
}

#[test]
fn what_no_pass_sees_is_asked_of_the_servers_and_answered_as_described() {
    let host = street();
    let served = Served::that_measures();
    served.declare(&manifests(&host));
    let document = described();
    let get = |path: &str, query: &str, status: u16| {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("Host", "localhost"), ("Authorization", authorization.as_str())];
        let line = format!("GET {path}?object={query}");
        let answer = client::send(client::connect(served.address), &line, &headers, "").expect(status);
        check(&document, path, "get", status, &answer.json());
        answer.json()
    };
    let found = get("/api/v1/doctor", "Application/default/shop", 200);
    assert_eq!(found["findings"][0]["cause"], "ProxyNotOnNetwork", "{found}");
    let found = get("/api/v1/doctor", "Server/default/gone", 200);
    assert_eq!(found["servers"], json!([{ "server": "Server/default/gone", "reachable": false, "examined": 0 }]));

    for (object, containers) in
        [("Application/default/shop", json!(["shop"])), ("Destination/default/web", json!(["shop"]))]
    {
        let used = get("/api/v1/usage", object, 200);
        let names: Vec<_> = used["containers"].as_array().unwrap().iter().map(|it| it["container"].clone()).collect();
        assert_eq!(json!(names), containers, "{used}");
        assert!(used["containers"][0]["cpu"].as_f64().unwrap() > 0.01, "{used}");
    }
    assert!(!served.get("/metrics").expect(200).body.contains("landfall_usage_"), "nothing is measured yet");
    served.measure();
    let scrape = Scrape::parse(&served.get("/metrics").expect(200).body);
    let of = |name: &str| {
        let labels = "destination=\"default/web\",resource=\"Application/default/shop\",server=\"default/edge\"";
        let all = scrape.series.iter().filter(|(series, _)| series.starts_with(&format!("landfall_usage_{name}{{")));
        let found = all.clone().find(|(series, _)| labels.split(',').all(|label| series.contains(label)));
        *found.unwrap_or_else(|| panic!("{name} in {:#?}", scrape.series)).1
    };
    assert!(of("cpu_cores") > 0.01 && of("memory_bytes") > 0.0);
    assert_eq!(of("disk_written_bytes_per_second"), 0.0);
    let used = get("/api/v1/usage", "Server/default/gone", 200);
    assert!(used["problems"][0].as_str().unwrap().starts_with("default/gone was not looked at: "), "{used}");

    let printed = get("/api/v1/logs", "Application/default/shop", 200);
    let lines = printed["containers"][0]["lines"].as_array().unwrap();
    assert!(lines[0].as_str().unwrap().ends_with(" open") && lines.len() == 2, "{printed}");
    assert!(!lines[1].as_str().unwrap().contains('\u{1b}'), "{printed}");
    let last = get("/api/v1/logs", "Application/default/shop&tail=1", 200);
    assert_eq!(last["containers"][0]["lines"].as_array().unwrap().len(), 1, "{last}");
    for path in ["/api/v1/doctor", "/api/v1/usage", "/api/v1/logs"] {
        get(path, "Application/default/nothing", 404);
        get(path, "nonsense", 400);
    }
    get("/api/v1/logs", "Destination/default/web", 400);
}

/// They may hold anything, so that being on the same machine is not enough.
#[test]
fn logs_are_for_whoever_has_a_token_and_use_is_shown_where_that_was_asked_for() {
    let host = street();
    let logs = "/api/v1/logs?object=Application/default/shop";
    let with = |served: &Served, path: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("Host", "localhost"), ("Authorization", authorization.as_str())];
        client::send(client::connect(served.address), &format!("GET {path}"), &headers, "")
    };
    // Without any token there is nobody whom it could be shown to over TCP; whoever may open the socket may.
    let served = Served::with(None);
    served.declare(&manifests(&host));
    assert!(served.get(logs).expect(403).body.contains("--read-token"));
    assert!(client::over_socket(&served.socket, &format!("GET {logs}")).expect(200).body.contains("open"));
    let page = served.get("/objects/Application/default/shop?look=logs").expect(200).body;
    assert!(page.contains("--read-token") && !page.contains(">What shop has printed"), "{page}");

    let served = Served::with_read_token(READ);
    served.declare(&manifests(&host));
    served.get(logs).expect(401);
    assert!(with(&served, logs, READ).expect(200).body.contains("open"));
    with(&served, logs, TOKEN).expect(200);
    with(&served, logs, "a-wrong-token").expect(401);
    // A browser is asked for it.
    let asked = served.get("/objects/Application/default/shop?look=logs").expect(401);
    assert!(asked.headers["www-authenticate"].starts_with("Basic "), "{:?}", asked.headers);
    let page = with(&served, "/objects/Application/default/shop?look=logs", READ).expect(200).body;
    assert!(page.contains(" open\n") && page.contains("&#60;b&#62;no "), "{page}");

    // Nobody asked for what containers use.
    served.get("/api/v1/usage?object=Application/default/shop").expect(404);
    let page = served.get("/objects/Application/default/shop?look=usage").expect(200).body;
    assert!(!page.contains("id=\"usage\"") && page.contains("id=\"doctor\""), "{page}");
}

#[test]
fn the_sections_are_filled_by_a_click_and_stay_while_the_page_goes_on() {
    let host = street();
    let served = Served::that_measures();
    served.declare(&manifests(&host));
    let browser = Browser::start();
    browser.resize(1280, 900);
    browser.open(&served.url("/objects/Application/default/shop"));
    browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
    assert!(!browser.text("#doctor").contains("ProxyNotOnNetwork"));
    browser.run("document.querySelector('#doctor a.button').click()");
    browser
        .until("it is examined", "return document.querySelector('#doctor')?.innerText.includes('ProxyNotOnNetwork')");
    assert_eq!(browser.run("return location.hash"), "#doctor");
    let doctor = browser.text("#doctor");
    for said in
        ["traefik is on none of the networks of shop", "Seen through the proxy: 504", "landfall apply", "1 cause found"]
    {
        assert!(doctor.contains(said), "{said} is missing: {doctor}");
    }
    // Something changes: what was found is not asked for again, and stays.
    browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
    browser.run("document.querySelector('#headline p').append('!')");
    served.board.update(|_| {});
    browser.until("it is anew", "return !document.querySelector('#headline p').textContent.includes('!')");
    assert!(browser.text("#doctor").contains("ProxyNotOnNetwork"));
    browser.run("document.querySelector('#usage a.button').click()");
    browser.until("it is measured", "return document.querySelector('#usage table')?.innerText.includes('shop')");
    for (width, name) in [(1280, "inquiry-light"), (390, "inquiry-narrow")] {
        browser.resize(width, 900);
        super::page::legible(&browser, name);
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
