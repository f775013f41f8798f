//! `landfall run` on a real daemon, seen from outside.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::api::{READING, check, described};
use super::client::{self, request};
use super::metrics::Scrape;
use crate::cli::run::command;
use crate::cli::world::{SHOP, World, server};
use crate::support::sshd::{Sshd, generate_key};
use crate::support::{Browser, Host, wait_for};

/// A running controller with an address of its own, killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        Self::start_in(command(), world, arguments)
    }

    /// With what is in the environment of that command.
    pub(crate) fn start_in(mut command: Command, world: &World, arguments: &[&str]) -> Self {
        command.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
        command.args(["run", "--log-format", "json", "--interval", "1h", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let address = wait_for("it says where it listens", || {
            let log = log.lock().unwrap();
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split('/').next()?.parse().ok()
        });
        Self { child, log, address }
    }

    pub(crate) fn get(&self, path: &str) -> client::Answer {
        client::get(self.address, path)
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Makes it read the manifests again.
    pub(crate) fn reload(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

#[test]
fn pain_30_what_falls_off_is_seen_live_on_the_page_and_in_the_metrics() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    host.container("orders").label("app", "orders").running();
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    let running = Running::start(&world, &[]);
    wait_for("it is ready", || (running.get("/readyz").status == 200).then_some(()));

    let browser = Browser::start();
    browser.open(&format!("http://{}/", running.address));
    let says = |text: &str| format!("return document.querySelector('#headline').innerText.includes({text:?})");
    browser.until("all is well", &says("All 2 destinations are as declared"));
    browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
    // Gone as soon as the page is loaded anew.
    browser.run("window.same = true");

    host.disconnect("web-net", "frontend");
    let told = "return document.querySelector('#changes').innerText.includes('MemberDetached')
        && [...document.querySelectorAll('#changes tbody tr')][0].innerText.includes('frontend')";
    let before = browser.run("return document.querySelectorAll('#changes tbody tr').length").as_u64().unwrap();
    browser.until(
        "the healing is told",
        &format!("{told} && document.querySelectorAll('#changes tbody tr').length > {before}"),
    );
    browser.until("all is well again", &says("All 2 destinations are as declared"));

    host.remove_container("orders");
    browser.until("the loss is shown", &says("1 of 2 destinations is not ready"));
    browser.until("it is said aloud", "return document.querySelector('#announce').textContent.includes('not ready')");
    assert!(browser.text("#attention").contains("ContainerMissing"), "{}", browser.text("#attention"));
    host.container("orders").label("app", "orders").running();
    browser.until("the return is shown", &says("All 2 destinations are as declared"));
    assert_eq!(browser.run("return window.same === true"), true, "the page was loaded anew");
    assert_eq!(browser.complaints(), Vec::<String>::new());

    let scrape = Scrape::parse(&running.get("/metrics").body);
    assert!(scrape.of("landfall_drift_found_total{cause=\"MemberDetached\"}") >= 1.0);
    assert!(scrape.of("landfall_drift_healed_total{cause=\"MemberDetached\"}") >= 1.0);
    assert!(scrape.of("landfall_operations_total{operation=\"ConnectEndpoint\",outcome=\"Done\"}") >= 4.0);
    assert_eq!(scrape.of("landfall_server_reachable{server=\"infra/edge\"}"), 1.0);
    assert!(scrape.of("landfall_events_total") >= 1.0);
    // With a history, and with servers that were really looked at.
    let document = described();
    for path in READING {
        check(&document, path, "get", 200, &running.get(path).expect(200).json());
    }
    let object = "/api/v1/objects/{kind}/{namespace}/{name}";
    for of in ["Server/infra/edge", "Destination/shop/web", "Application/shop/frontend", "Database/shop/orders"] {
        check(&document, object, "get", 200, &running.get(&format!("/api/v1/objects/{of}")).expect(200).json());
    }
    assert!(!running.get("/api/v1/history").json()["items"].as_array().unwrap().is_empty());
    let events = running.get("/api/v1/events").expect(200).json();
    assert!(events["items"].as_array().unwrap().iter().any(|event| event["reason"] == "MemberDetached"), "{events:#}");
}

fn destinations(names: &[&str]) -> String {
    let one = |name: &&str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ server: infra/edge, network: {{ name: {name}-net }}, proxy: false }}\n"
        )
    };
    names.iter().map(one).collect()
}

/// The command is typed as the page shows it.
#[test]
fn deletions_that_wait_are_shown_live_with_the_command_that_lets_them_go() {
    let host = Host::start();
    let world = World::new(&server(&host.endpoint()));
    world.write("manifests/shop.yaml", &destinations(&["a", "b", "c", "d"]));
    let state = world.path().join("it's state");
    let running = Running::start(&world, &["--set", "shop", "--state", state.to_str().unwrap()]);
    let networks = || ["a-net", "b-net", "c-net", "d-net"].map(|name| host.network_ids(name).len());
    wait_for("all exist", || (networks() == [1; 4]).then_some(()));

    let browser = Browser::start();
    browser.open(&format!("http://{}/", running.address));
    browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
    browser.until("nothing waits", "return document.querySelector('#pending').innerText.trim() === ''");
    browser.run("window.same = true");

    world.write("manifests/shop.yaml", &destinations(&["c", "d"]));
    browser.until("it is shown", "return document.querySelector('#pending').innerText.includes('2 deletions wait')");
    browser.until(
        "it is said aloud",
        "return document.querySelector('#announce').textContent.includes('2 deletions wait for your approval')",
    );
    let shown = browser.text("#pending");
    for said in ["infra/edge", "a-net", "Destination/shop/a", "b-net", "nothing is deleted unless you agree"] {
        assert!(shown.contains(said), "{said} is missing: {shown}");
    }
    assert!(browser.text("h1").contains("2 deletions wait"), "{}", browser.text("h1"));
    assert_eq!(networks(), [1; 4]);

    let shown = browser.text("#pending .command code");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_landfall")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut shell = crate::cli::run::clean(Command::new("sh"));
    let ran = crate::cli::run::finish(shell.args(["-c", &shown]).current_dir("/").env("PATH", path), "").expect(0);
    assert!(ran.stderr.contains("Approved."), "{ran}");
    browser.until("nothing waits", "return document.querySelector('#pending').innerText.trim() === ''");
    browser.until("all is well", "return document.querySelector('h1').innerText.includes('All 2 destinations')");
    assert_eq!(networks(), [0, 0, 1, 1]);
    assert_eq!(browser.run("return window.same === true"), true, "the page was loaded anew");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_is_suspended_from_outside_is_left_until_it_is_resumed_and_who_asked_is_written_down() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    host.container("orders").label("app", "orders").running();
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    world.write("token", "alice a-token-of-alices\n");
    let running = Running::start(&world, &["--token-file", "token"]);
    let ready = |of: &str| {
        let object = running.get(&format!("/api/v1/objects/{of}")).json();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().find(|it| it["type"] == "Ready").map(|it| it["reason"].as_str().unwrap().to_owned())
    };
    wait_for("all is well", || (ready("Destination/shop/web")? == "AsDeclared").then_some(()));
    let suspend = |suspend: bool| {
        let address = running.address.to_string();
        let headers = [
            ("Host", address.as_str()),
            ("Authorization", "Bearer a-token-of-alices"),
            ("Content-Type", "application/json"),
        ];
        let body = format!("{{\"object\":\"Destination/shop/web\",\"suspend\":{suspend}}}");
        client::send(client::connect(running.address), "POST /api/v1/suspend", &headers, &body).expect(202);
    };
    suspend(true);
    wait_for("it is suspended", || (ready("Destination/shop/web")? == "Suspended").then_some(()));
    host.disconnect("web-net", "frontend");
    // The other destination is still kept, and a pass that puts that right has seen this one too.
    host.disconnect("data-net", "orders");
    wait_for("the other is put right", || host.networks_of("orders").contains(&"data-net".to_owned()).then_some(()));
    assert!(!host.networks_of("frontend").contains(&"web-net".to_owned()), "it was not left as it is");
    suspend(false);
    wait_for("it is put right", || host.networks_of("frontend").contains(&"web-net".to_owned()).then_some(()));
    let events = running.get("/api/v1/events").expect(200).json();
    let told = |reason: &str, message: &str| {
        let all = events["items"].as_array().unwrap();
        assert!(all.iter().any(|it| it["reason"] == reason && it["message"] == message), "{events:#}");
    };
    told("SuspendRequested", "alice suspended it");
    told("ResumeRequested", "alice resumed it");
}

/// What nobody may see is planted wherever Landfall comes by, and looked for wherever it speaks.
#[test]
fn secrets_are_in_no_log_page_answer_or_metric() {
    const PLANTED: [&str; 4] =
        ["planted-token-0123456789", "planted-env-of-a-container", "planted-in-a-manifest", "planted-guess"];
    let host = Host::start();
    host.container("traefik").running();
    host.container("frontend").env(&format!("DATABASE_PASSWORD={}", PLANTED[1])).running();
    let managed = format!(
        "---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: managed, namespace: shop }}
spec:
  destination: web
  image: example/app:1
  env: [{{ name: API_KEY, value: {} }}]
",
        PLANTED[2]
    );
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    world.write("token", PLANTED[0]);
    let running = Running::start(&world, &["--token-file", "token", "-vvv"]);
    wait_for("it has looked", || (running.get("/readyz").status == 200).then_some(()));
    // Refused or not, it is quoted nowhere.
    world.write("manifests/managed.yaml", &managed);
    world.write("manifests/broken.yaml", &managed.replace("kind: Application", "kind: Aplication"));
    wait_for("it has read that too", || {
        let problems = running.get("/api/v1/manifests").json()["problems"].as_array().unwrap().len();
        (problems > 0).then_some(())
    });
    let token = format!("Bearer {}", PLANTED[0]);
    request(running.address, "POST /api/v1/reconcile", &[("Authorization", &token)]).expect(202);
    let guess = format!("Bearer {}", PLANTED[3]);
    request(running.address, "POST /api/v1/reconcile", &[("Authorization", &guess)]).expect(401);
    host.disconnect("bridge", "frontend");
    wait_for("a pass has ended", || running.log().contains("\"pass\"").then_some(()));

    let mut spoken = vec![("the log".to_owned(), running.log())];
    for path in [
        "/",
        "/metrics",
        "/readyz",
        "/api/v1/status",
        "/api/v1/manifests",
        "/api/v1/servers",
        "/api/v1/destinations",
        "/api/v1/resources",
        "/api/v1/diff",
        "/api/v1/events",
        "/api/v1/history",
        "/objects/Destination/shop/web",
        "/objects/Application/shop/frontend",
        "/objects/Server/infra/edge",
    ] {
        spoken.push((path.to_owned(), running.get(path).body));
    }
    for (place, text) in spoken {
        assert!(!text.is_empty(), "{place} is silent");
        for secret in PLANTED {
            assert!(!text.contains(secret), "{secret} in {place}");
        }
    }
}

/// The same for what servers, repositories and notifiers are reached with.
#[test]
fn secrets_of_addresses_and_keys_are_in_no_log_page_answer_or_event() {
    use crate::support::repository::{Http, HttpForge, Upstream};
    const PASSWORD: &str = "planted-git-password";
    const RIGHT: &str = "planted-passphrase";
    const WRONG: &str = "planted-wrong-passphrase";
    const WEBHOOK: &str = "planted-webhook-secret";
    const TOKEN: &str = "planted-token-of-the-environment";
    const GUESS: &str = "planted-guess-at-the-webhook";
    const HOOK: &str = "planted-address";

    let sshd = Sshd::start();
    let key = sshd.client().home().join("locked");
    generate_key(&key, "ed25519", RIGHT);
    std::fs::copy(key.with_extension("pub"), sshd.path("authorized_keys")).unwrap();
    let server = |name: &str, passphrase: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name}, namespace: infra }}\nspec:\n  \
             endpoint: ssh://127.0.0.1:{}/nowhere/docker.sock\n  allowedNamespaces: ['*']\n  \
             ssh: {{ identityFile: {}, hostKey: {}, {passphrase} }}\n",
            sshd.port(),
            key.display(),
            sshd.host_key("ed25519"),
        )
    };
    let world = World::new("");
    world.write("passphrase", WRONG);
    world.write("webhook", WEBHOOK);
    let wrong = world.path().join("passphrase");
    // One that answers with an error, and one that nobody answers at.
    let receiver = crate::notify::receiver::Receiver::start(&[Some("404 Not Found"), Some("404 Not Found")]);
    let notifier = |name: &str, url: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: {name}, namespace: infra }}\n\
             spec: {{ type: slack, url: '{url}' }}\n"
        )
    };
    let manifests = [
        server("right", "passphraseEnv: KEY_PASSPHRASE"),
        server("wrong", &format!("passphraseFile: {}", wrong.display())),
        notifier("refused", &receiver.url(&format!("/{HOOK}"))),
        notifier("nobody", &format!("https://{HOOK}@127.0.0.1:1/{HOOK}?key={HOOK}")),
        "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\n\
         spec: { server: infra/right, network: { name: web-net } }\n"
            .to_owned(),
    ];
    let upstream = Upstream::with(&[("all.yaml", &manifests.concat())]);
    let forge = HttpForge::serve(&upstream.bare(), Http::Smart, Some(&format!("deploy:{PASSWORD}")));
    let mut command = command();
    command.env("KEY_PASSPHRASE", RIGHT).env("LANDFALL_TOKEN", TOKEN);
    let address = format!("http://deploy:{PASSWORD}@{}/shop.git", forge.authority);
    let running = Running::start_in(
        command,
        &world,
        &["--git", &address, "--branch", "main", "--webhook-secret-file", "webhook", "-vvv"],
    );
    wait_for("it has looked", || (running.get("/readyz").status == 200).then_some(()));
    wait_for("notices were given up", || (running.log().matches("not told").count() >= 2).then_some(()));
    let deliver = |secret: &str| {
        let headers = [("Host", "localhost"), ("X-Gitlab-Token", secret), ("X-Gitlab-Event", "Push Hook")];
        client::send(client::connect(running.address), "POST /api/v1/webhook/git", &headers, "{}")
    };
    deliver(GUESS).expect(403);
    deliver(WEBHOOK).expect(202);
    // The remote goes away: an error with its address in it.
    drop(forge);
    wait_for("the remote is missed", || {
        running.reload();
        running.get("/api/v1/manifests").json()["source"]["problem"].is_object().then_some(())
    });

    let mut spoken = vec![("the log".to_owned(), running.log())];
    let pages = ["/", "/metrics", "/objects/Server/infra/right", "/objects/Server/infra/wrong"];
    for path in READING.into_iter().chain(pages) {
        spoken.push((path.to_owned(), running.get(path).body));
    }
    for (kind, name) in [("Server", "right"), ("Server", "wrong")] {
        let path = format!("/api/v1/objects/{kind}/infra/{name}");
        spoken.push((path.clone(), running.get(&path).body));
    }
    // Notifiers are their address and no more: none of them is shown.
    running.get("/api/v1/objects/Notifier/infra/refused").expect(404);
    running.get("/objects/Notifier/infra/refused").expect(404);
    for arguments in ["events -o json", "history -o json"] {
        let ran = world.run(arguments);
        spoken.push((arguments.to_owned(), format!("{ran}")));
    }
    // What is kept is nobody else's.
    let mut kept = vec![world.path().join("state")];
    let mut files = 0;
    while let Some(path) = kept.pop() {
        use std::os::unix::fs::PermissionsExt;
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            kept.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !metadata.is_symlink() {
            files += 1;
        }
        let mode = metadata.permissions().mode();
        assert!(metadata.is_symlink() || mode & 0o077 == 0, "{}: {mode:o}", path.display());
        if metadata.is_file() {
            let content = std::fs::read(&path).unwrap();
            // The manifests are what was committed, with the addresses of notifiers in them.
            let own = path.components().any(|part| part.as_os_str() == "checkouts");
            for secret in [PASSWORD, RIGHT, WRONG, WEBHOOK, TOKEN, GUESS, HOOK] {
                let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found || own, "{secret} in {}", path.display());
            }
        }
    }
    assert!(files >= 2, "{files} files are kept");
    assert!(spoken[0].1.contains("not told") && spoken[0].1.contains("locked"), "{}", spoken[0].1);
    for (place, text) in spoken {
        assert!(!text.is_empty(), "{place} is silent");
        for secret in [PASSWORD, RIGHT, WRONG, WEBHOOK, TOKEN, GUESS, HOOK] {
            assert!(!text.contains(secret), "{secret} in {place}: {text}");
        }
    }
}
