//! Notices on their way, to a web server of the test.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use landfall::core::api::NotifierEvent;
use landfall::shell::controller::board::Board;
use landfall::shell::controller::notify::{Notifiers, Pace};
use serde_json::json;

use super::receiver::Receiver;
use super::{notice, notifiers};
use crate::cli::world::World;
use crate::support::authority::{Authority, Validity};
use crate::support::wait_for;

/// Without waits between attempts that would be felt.
const FAST: fn() -> Pace = || Pace { first_retry: Duration::from_millis(5), attempts: 4, ..Pace::default() };

struct Telling {
    runtime: tokio::runtime::Runtime,
    board: Board,
    notifiers: Notifiers,
}

impl Telling {
    fn new(pace: Pace, specs: &[String]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let board = Board::new("default");
        let telling = Notifiers::new(board.clone(), pace);
        let declared = notifiers(specs);
        {
            let _entered = runtime.enter();
            telling.declare(&declared);
        }
        Self { runtime, board, notifiers: telling }
    }

    fn tell(&self, event: NotifierEvent, name: &str) {
        let _entered = self.runtime.enter();
        self.notifiers.tell(vec![notice(event, name)]);
    }

    fn count(&self, outcome: &'static str) -> u64 {
        self.board.read().counts.notices.get(outcome).copied().unwrap_or_default()
    }

    fn wait(&self, outcome: &'static str, count: u64) {
        wait_for("the notices are counted", || (self.count(outcome) == count).then_some(()));
    }
}

#[test]
fn every_service_gets_the_form_that_it_documents() {
    let receiver = Receiver::start(&[]);
    let template = r#"template: '{"text": {{ text | tojson }}, "who": "{{ namespace }}/{{ name }}"}'"#;
    let specs = [
        format!("type: slack, url: '{}'", receiver.url("/slack")),
        format!("type: discord, url: '{}'", receiver.url("/discord")),
        format!("type: ntfy, url: '{}'", receiver.url("/below/topic?auth=abc")),
        format!("type: webhook, url: '{}'", receiver.url("/plain")),
        format!("type: webhook, url: '{}', {template}", receiver.url("/template")),
        format!(
            "type: webhook, url: '{}', template: '{{{{ event }}}}', contentType: text/plain",
            receiver.url("/text")
        ),
    ];
    let telling = Telling::new(FAST(), &specs);
    telling.tell(NotifierEvent::Blocked, "web");
    let received = receiver.wait(6);
    let of = |target: &str| received.iter().find(|it| it.target == target).unwrap_or_else(|| panic!("{target}"));
    let text = "Destination/shop/web is blocked on shop/edge: The proxy is \"off\" <it>. (ProxyDetached)";
    assert_eq!(of("/slack").json(), json!({ "text": text.replace('<', "&lt;").replace('>', "&gt;") }));
    assert_eq!(of("/discord").json(), json!({ "content": text, "allowed_mentions": { "parse": [] } }));
    assert_eq!(
        of("/below/?auth=abc").json(),
        json!({
            "topic": "topic", "title": "Destination/shop/web is blocked", "message": text, "tags": ["warning"], "priority": 4
        })
    );
    let mut plain = of("/plain").json();
    plain.as_object_mut().unwrap().remove("time").expect("a time");
    assert_eq!(
        plain,
        json!({
            "event": "Blocked", "object": "Destination/shop/web", "kind": "Destination", "namespace": "shop", "name": "web",
            "server": "shop/edge", "reason": "ProxyDetached", "message": "The proxy is \"off\" <it>.", "set": "default",
            "text": text, "leftOut": 0
        })
    );
    assert_eq!(of("/template").json(), json!({ "text": text, "who": "shop/web" }));
    assert_eq!((of("/text").body.as_str(), of("/text").head.contains("content-type: text/plain")), ("Blocked", true));
    assert!(of("/slack").head.contains("content-type: application/json"), "{:?}", of("/slack"));
    telling.wait("sent", 6);
}

#[test]
fn a_notice_is_tried_again_until_it_is_taken_and_then_the_next_one_goes() {
    let receiver = Receiver::start(&[Some("500 Oops"), Some("429 Slow\r\nRetry-After: 0"), Some("503 Later")]);
    let telling = Telling::new(FAST(), &[format!("type: slack, url: '{}'", receiver.url("/x"))]);
    telling.tell(NotifierEvent::DriftFound, "first");
    telling.tell(NotifierEvent::DriftFound, "second");
    let received = receiver.wait(5);
    telling.wait("sent", 2);
    let order: Vec<bool> = received.iter().map(|it| it.body.contains("first")).collect();
    assert_eq!(order, [true, true, true, true, false]);
}

#[test]
fn what_is_never_taken_is_given_up_and_counted() {
    let receiver = Receiver::start(&[Some("500 Oops"); 4]);
    let telling = Telling::new(FAST(), &[format!("type: slack, url: '{}'", receiver.url("/x"))]);
    telling.tell(NotifierEvent::DriftFound, "web");
    telling.wait("failed", 1);
    assert_eq!(receiver.all().len(), 4);
}

#[test]
fn a_redirect_is_not_followed_and_a_refusal_is_not_repeated() {
    let elsewhere = Receiver::start(&[]);
    let moved = format!("302 Found\r\nLocation: {}", elsewhere.url("/stolen"));
    let receiver = Receiver::start(&[Some(&moved), Some("404 Not Found")]);
    let telling = Telling::new(FAST(), &[format!("type: discord, url: '{}'", receiver.url("/x"))]);
    telling.tell(NotifierEvent::DriftFound, "web");
    telling.tell(NotifierEvent::DriftFound, "data");
    telling.wait("failed", 2);
    assert_eq!((receiver.all().len(), elsewhere.all().len()), (2, 0));
}

#[test]
fn the_same_is_told_once_and_only_those_who_asked_are_told() {
    let receiver = Receiver::start(&[]);
    let specs = [
        format!("type: slack, url: '{}'", receiver.url("/all")),
        format!("type: slack, url: '{}', events: [ServerDown]", receiver.url("/servers")),
        format!("type: slack, url: '{}', namespaces: [other]", receiver.url("/other")),
        format!("type: slack, url: '{}', namespaces: ['*'], events: [Healed]", receiver.url("/healed")),
    ];
    let telling = Telling::new(FAST(), &specs);
    for _ in 0..3 {
        telling.tell(NotifierEvent::DriftFound, "web");
    }
    telling.tell(NotifierEvent::Healed, "web");
    telling.wait("sent", 3);
    let mut targets: Vec<String> = receiver.all().into_iter().map(|it| it.target).collect();
    targets.sort();
    assert_eq!(targets, ["/all", "/all", "/healed"]);
}

#[test]
fn a_flood_is_cut_and_nobody_waits_for_a_receiver_that_does_not_answer() {
    let receiver = Receiver::start(&[]);
    let silent = Receiver::start(&[None; 50]);
    let pace = Pace { burst: 3, each: Duration::from_secs(3600), queue: 2, ..FAST() };
    let specs =
        [format!("type: slack, url: '{}'", receiver.url("/x")), format!("type: slack, url: '{}'", silent.url("/x"))];
    let telling = Telling::new(pace, &specs);
    let begun = Instant::now();
    for number in 0..200 {
        telling.tell(NotifierEvent::DriftFound, &format!("d{number}"));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "telling waits: {:?}", begun.elapsed());
    // Three fit the rate of each, and of the silent one's at most one is under way while two wait.
    assert!(telling.count("dropped") >= 2 * 197, "{}", telling.count("dropped"));
    receiver.wait(1);
    assert!(receiver.all().len() <= 3);
}

#[test]
fn an_address_from_a_file_or_the_environment_is_read_and_never_logged() {
    let receiver = Receiver::start(&[Some("404 Not Found"), Some("404 Not Found")]);
    let world = World::new(&crate::cli::world::server("unix:///nonexistent/docker.sock"));
    world.write("address", &format!("{}\n", receiver.url("/s3cr3t-file")));
    world.write(
        "manifests/notifiers.yaml",
        &format!(
            "apiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: file, namespace: infra }}\n\
             spec: {{ type: slack, urlFile: {} }}\n---\n\
             apiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: env, namespace: infra }}\n\
             spec: {{ type: slack, urlEnv: NOTIFY_ADDRESS }}\n",
            world.path().join("address").display()
        ),
    );
    let mut child = crate::cli::run::command()
        .current_dir(world.path())
        .env("XDG_STATE_HOME", world.path().join("state"))
        .env("NOTIFY_ADDRESS", receiver.url("/s3cr3t-env"))
        .args(["run", "-vv", "--listen", "none", "--interval", "1h"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while log.matches("not told").count() < 2 {
        let Some(Ok(line)) = lines.next() else { panic!("it ended:\n{log}") };
        log.push_str(&line);
        log.push('\n');
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut targets: Vec<String> = receiver.wait(2).into_iter().map(|it| it.target).collect();
    targets.sort();
    assert_eq!(targets, ["/s3cr3t-env", "/s3cr3t-file"]);
    assert!(receiver.all()[0].body.contains("Server/infra/edge cannot be reached"), "{:?}", receiver.all());
    assert!(log.contains("status 404") && !log.contains("s3cr3t"), "{log}");
}

/// The machine's trust is that of the process: so this is the binary, in an environment of its own.
#[test]
fn over_tls_the_machine_decides_whom_to_trust_and_every_refusal_says_why_and_not_where() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let right = "DNS:localhost,IP:127.0.0.1";
    // Signed one after the other: the files are named alike.
    let good = Receiver::secure(&trusted.server(right, Validity::Now), &[Some("503 Later\r\nRetry-After: 0")]);
    let expired = Receiver::secure(&trusted.server(right, Validity::Past), &[]);
    let future = Receiver::secure(&trusted.server(right, Validity::Future), &[]);
    let misnamed = Receiver::secure(&trusted.server("DNS:hooks.example.com", Validity::Now), &[]);
    let foreign = Receiver::secure(&other.server(right, Validity::Now), &[]);
    let plain = Receiver::start(&[]);
    let world = World::new(&crate::cli::world::server("unix:///nonexistent/docker.sock"));
    let addresses = [
        ("good", good.url("/s3cr3t")),
        ("expired", expired.url("/s3cr3t")),
        ("future", future.url("/s3cr3t")),
        ("misnamed", misnamed.url("/s3cr3t")),
        ("foreign", foreign.url("/s3cr3t")),
        ("plain", plain.url("/s3cr3t").replace("http://", "https://")),
    ];
    let manifests: String = addresses
        .iter()
        .map(|(name, url)| {
            format!(
                "---\napiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: {name}, namespace: infra }}\n\
                 spec: {{ type: slack, url: '{url}?key=s3cr3t' }}\n"
            )
        })
        .collect();
    world.write("manifests/notifiers.yaml", &manifests);
    let mut command = crate::cli::run::command();
    command.env("SSL_CERT_FILE", trusted.certificate()).env_remove("SSL_CERT_DIR");
    let running = crate::web::live::Running::start_in(command, &world, &["-vv"]);
    let says = |name: &str| {
        wait_for("it is said what became of it", || {
            let log = running.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            lines.find_map(|line| {
                let fields = &line["fields"];
                (fields["notifier"] == format!("infra/{name}")).then(|| {
                    format!("{} {}", fields["message"].as_str().unwrap(), fields["error"].as_str().unwrap_or(""))
                })
            })
        })
    };
    assert_eq!(says("expired"), "not told yet TLS failed: its certificate has expired");
    assert_eq!(
        says("future"),
        "not told yet TLS failed: its certificate is not valid yet, or this machine's clock is slow"
    );
    assert_eq!(
        says("misnamed"),
        "not told yet TLS failed: its certificate is for another name than the host of the address"
    );
    assert_eq!(
        says("foreign"),
        "not told yet TLS failed: its certificate is of no authority that this machine trusts; SSL_CERT_FILE names others"
    );
    assert_eq!(
        says("plain"),
        "not told yet TLS failed: the other side does not seem to speak it; is the address to begin with http:// instead?"
    );
    // Tried again until it is taken; and once taken, the same is not told again.
    assert_eq!(good.wait(2)[1].target, "/s3cr3t?key=s3cr3t");
    assert!(good.all()[1].body.contains("Server/infra/edge cannot be reached"), "{:?}", good.all());
    running.reload();
    wait_for("it has looked again", || (running.log().matches("\"pass\":2").count() > 0).then_some(()));
    assert_eq!(good.all().len(), 2);
    for silent in [&expired, &future, &misnamed, &foreign] {
        assert_eq!(silent.all().len(), 0);
    }
    let log = running.log();
    let ports = addresses.iter().map(|(_, url)| url.split(':').nth(2).unwrap().split('/').next().unwrap());
    for secret in ["s3cr3t", "hooks.example.com"].into_iter().chain(ports) {
        assert!(!log.contains(secret), "{secret} in the log: {log}");
    }
}
