//! Secrets are planted wherever one may stand, and looked for in everything that is printed, served, sent and kept.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::cli::run::{Ran, command, finish};
use crate::support::repository::{Http, HttpForge, Upstream};
use crate::support::{Host, wait_for};
use crate::web::client;

/// Each stands at one place only, so that what is found says where it came from.
const PLANTED: &[&str] = &[
    "PLANTED-notifier-url",
    "PLANTED-webhook-url",
    "PLANTED-template",
    "PLANTED-url-file",
    "PLANTED-url-env",
    "PLANTED-env-value",
    "PLANTED-env-changed",
    "PLANTED-env-file",
    "PLANTED-env-env",
    "PLANTED-file-value",
    "PLANTED-file-file",
    "PLANTED-log-option",
    "PLANTED-git-password",
    "PLANTED-webhook-secret",
    "PLANTED-act-token",
    "PLANTED-read-token",
    "PLANTED-passphrase",
    "PLANTED-on-a-wrong-line",
    "PLANTED-in-a-wrong-field",
    "PLANTED-database-password",
    "PLANTED-compose-variable",
    "PLANTED-compose-environment",
    "PLANTED-compose-env-file",
    "PLANTED-compose-unterminated",
    "PLANTED-posted-value",
];

/// A stack with secrets in each of the places where Compose takes them from.
const STACK: &str = "services:
  web:
    image: landfall/busybox:test
    command: [sleep, '1000000']
    stop_signal: SIGKILL
    env_file: variables.env
    environment: { A: '${VARIABLE}', B: PLANTED-compose-environment }
";

fn manifests(host: &Host, value: &str, replicas: usize) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge, namespace: infra }}
spec: {{ endpoint: '{}', allowedNamespaces: ['*'] }}
---
apiVersion: landfall/v1
kind: Server
metadata: {{ name: far, namespace: infra }}
spec:
  endpoint: ssh://deploy@127.0.0.1:9
  ssh: {{ identityFile: /nonexistent/key, passphraseEnv: PASSPHRASE }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: web-net }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: app, namespace: shop }}
spec:
  destination: web
  image: {image}
  replicas: {replicas}
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  env:
    - {{ name: PLAIN, value: {value} }}
    - {{ name: OF_FILE, valueFrom: {{ file: /{dir}/env-file }} }}
    - {{ name: OF_ENV, valueFrom: {{ env: PLANTED_ENV }} }}
  files:
    - {{ path: /run/a, value: PLANTED-file-value }}
    - {{ path: /run/b, valueFrom: {{ file: /{dir}/file-file }} }}
    - {{ path: /run/c, valueFrom: {{ database: {{ name: orders, field: url }} }} }}
  logging: {{ driver: json-file, options: {{ tag: PLANTED-log-option }} }}
---
apiVersion: landfall/v1
kind: Database
metadata: {{ name: orders, namespace: shop }}
spec:
  destination: web
  engine: PostgreSQL
  version: '17'
  credentials: {{ password: {{ file: /{dir}/database-password }} }}
---
apiVersion: landfall/v1
kind: Service
metadata: {{ name: cms, namespace: shop }}
spec:
  destination: web
  compose: {{ project: cms, file: /{dir}/stack/compose.yaml, healthTimeoutSeconds: 20 }}
---
apiVersion: landfall/v1
kind: Notifier
metadata: {{ name: slack, namespace: shop }}
spec: {{ type: slack, url: 'http://127.0.0.1:9/PLANTED-notifier-url' }}
---
apiVersion: landfall/v1
kind: Notifier
metadata: {{ name: hook, namespace: shop }}
spec: {{ type: webhook, url: 'http://127.0.0.1:9/PLANTED-webhook-url', contentType: text/plain, template: 'PLANTED-template {{{{ text }}}}' }}
---
apiVersion: landfall/v1
kind: Notifier
metadata: {{ name: file, namespace: shop }}
spec: {{ type: ntfy, urlFile: /{dir}/url-file }}
---
apiVersion: landfall/v1
kind: Notifier
metadata: {{ name: env, namespace: shop }}
spec: {{ type: discord, urlEnv: PLANTED_URL }}
",
        host.endpoint(),
        image = crate::support::host::IMAGE,
        dir = directory(host).display().to_string().trim_start_matches('/'),
    )
}

fn directory(host: &Host) -> std::path::PathBuf {
    host.socket().parent().unwrap().join("planted")
}

const WRONG: &str = "---
{ apiVersion: landfall/v1, kind: Notifier, metadata: { name: x }, spec: { tpye: slack, url: 'http://x/PLANTED-on-a-wrong-line' } }
---
{ apiVersion: landfall/v1, kind: Notifier, metadata: { name: y }, spec: { type: slack, webhookUrl: 'http://x/PLANTED-in-a-wrong-field' } }
";

/// What was searched, and what was found.
#[derive(Default)]
struct Search {
    places: usize,
    bytes: usize,
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, place: &str, content: &[u8]) {
        self.places += 1;
        self.bytes += content.len();
        for planted in PLANTED {
            if content.windows(planted.len()).any(|window| window == planted.as_bytes()) {
                self.found.push(format!("{planted} in {place}"));
            }
        }
    }

    fn ran(&mut self, place: &str, ran: &Ran) {
        self.look(&format!("{place}: stdout"), ran.stdout.as_bytes());
        self.look(&format!("{place}: stderr"), ran.stderr.as_bytes());
    }

    /// Every file, but for the copies of the repository: the manifests themselves are in there.
    fn files(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() && !path.ends_with("checkouts") && !path.ends_with("objects") {
                self.files(&path);
            } else if kind.is_file() {
                self.look(&path.display().to_string(), &std::fs::read(&path).unwrap());
            }
        }
    }
}

/// `landfall run`, with its log.
struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Running {
    fn start(mut command: std::process::Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let log: Arc<Mutex<String>> = Arc::default();
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, log }
    }

    fn says(&self, text: &str) -> String {
        wait_for(text, || {
            let log = self.log.lock().unwrap();
            log.contains(text).then(|| log.clone())
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that an assistant is told by the tools of `mcp`.
fn assistant(landfall: &dyn Fn(&str) -> std::process::Command, search: &mut Search) {
    let begin = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
    let call = |id: usize, tool: &str, arguments: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool, "arguments": arguments } });
    let mut messages = vec![
        json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": begin }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    ];
    let of = |kind: &str, name: &str| json!({ "kind": kind, "name": name });
    let calls = [
        ("list", json!({})),
        ("list", of("application", "shop/app")),
        ("describe", of("application", "shop/app")),
        ("describe", of("database", "shop/orders")),
        ("describe", of("notifier", "shop/hook")),
        ("diff", json!({})),
        ("drift", json!({})),
        ("doctor", json!({})),
    ];
    messages.extend(calls.into_iter().enumerate().map(|(number, (tool, arguments))| call(number + 1, tool, arguments)));
    let input: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let ran = finish(&mut landfall("mcp -vvv"), &input);
    assert_eq!(ran.stdout.lines().count(), 9, "{ran}");
    search.ran("mcp", &ran);
}

#[test]
fn planted_secrets_are_nowhere_but_where_they_belong() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let planted = directory(&host);
    std::fs::create_dir_all(planted.join("stack")).unwrap();
    for (name, content) in [
        ("env-file", "PLANTED-env-file"),
        ("file-file", "PLANTED-file-file"),
        ("url-file", "http://127.0.0.1:9/PLANTED-url-file"),
        ("secret", "PLANTED-webhook-secret"),
        ("act", "PLANTED-act-token"),
        ("read", "PLANTED-read-token"),
        ("database-password", "PLANTED-database-password"),
        ("stack/compose.yaml", STACK),
        ("stack/.env", "VARIABLE=PLANTED-compose-variable\n"),
        ("stack/variables.env", "C=PLANTED-compose-env-file\n"),
    ] {
        std::fs::write(planted.join(name), content).unwrap();
    }
    let upstream = Upstream::with(&[("all.yaml", &manifests(&host, "PLANTED-env-value", 1))]);
    let forge = HttpForge::serve(&upstream.bare(), Http::Smart, Some("deploy:PLANTED-git-password"));
    let home = tempfile::tempdir().unwrap();
    let landfall = |arguments: &str| {
        let mut command = command();
        command.current_dir(home.path()).env("XDG_STATE_HOME", home.path().join("state")).args(arguments.split(' '));
        command.env("PLANTED_ENV", "PLANTED-env-env").env("PLANTED_URL", "http://127.0.0.1:9/PLANTED-url-env");
        command.env("PASSPHRASE", "PLANTED-passphrase").env("HOME", home.path());
        command
    };
    let git = format!("--git http://deploy:PLANTED-git-password@{}/shop.git", forge.authority);
    let mut search = Search::default();

    let file = |name: &str| planted.join(name).display().to_string();
    let running = Running::start(landfall(&format!(
        "run {git} --interval 1h --listen 127.0.0.1:0 -vvv --webhook-secret-file {} --token-file {} --read-token {}",
        file("secret"),
        file("act"),
        file("read")
    )));
    let log = running.says("listening on http://");
    let address: SocketAddr =
        log.split("listening on http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    let runs = || {
        host.get("/containers/json").to_string().contains("shop-app-1") && !host.networks_of("shop-app-1").is_empty()
    };
    wait_for("the application", || runs().then_some(()));
    wait_for("the stack", || host.get("/containers/json").to_string().contains("cms-web-1").then_some(()));
    // Something to tell of, and something that fails to be told.
    host.disconnect("web-net", "shop-app-1");
    running.says("not told");

    // Another form of it all, seen before it is in force, then a form that is wrong.
    let said = |search: &mut Search, arguments: &str| {
        let ran = finish(&mut landfall(arguments), "");
        search.ran(arguments, &ran);
        ran
    };
    std::fs::create_dir(home.path().join("manifests")).unwrap();
    let next = |text: &str| std::fs::write(home.path().join("manifests/all.yaml"), text).unwrap();
    next(&manifests(&host, "PLANTED-env-changed", 2));
    for format in ["table", "json", "yaml", "markdown"] {
        let ran = said(&mut search, &format!("diff --prune -vvv -o {format}"));
        assert!(ran.stdout.contains("WorkloadDiffers") || ran.stdout.contains("env PLAIN"), "it differs: {ran}");
    }
    for format in ["table", "json", "markdown", "junit", "sarif"] {
        said(&mut search, &format!("drift -vvv -o {format}"));
    }
    for arguments in [
        "get all -vvv",
        "get all -o wide",
        "get all -o name",
        "get server edge -n infra -o json --observed -vvv",
        "describe server edge -n infra",
        "describe server far -n infra -vvv",
        "describe destination web -n shop",
        "describe application app -n shop -vvv",
        "describe notifier",
        "describe all -n shop",
        "describe database orders -n shop -vvv",
        "describe service cms -n shop -vvv",
        "explain application.spec.env",
        "explain database.spec.credentials",
        "get servers,destinations -o yaml",
        "get images",
        "get volumes -o json",
        "doctor -o json",
        "doctor --possible -vvv",
        "subnets -o json",
        "graph --observed",
        "graph",
        "graph -o dot",
        "graph -o svg",
        "doctor --possible",
        "subnets",
        "logs application/app -n shop",
        "scan edge -vvv",
        "validate -v",
        "apply --yes -vvv",
        "apply --yes -vvv -o json",
        "rollout status application/app -n shop --timeout 2s",
        "diff --git http://deploy:PLANTED-git-password@127.0.0.1:9/shop.git -vvv",
        "events",
        "events -o json",
        "history",
        "history -o json",
        "wait destination/web --for=condition=Ready --timeout 1s",
        "delete application app -n shop --dry-run -vvv",
    ] {
        said(&mut search, arguments);
    }
    said(&mut search, &format!("diff {git} -vvv"));
    let history = finish(&mut landfall("history -o json"), "").json();
    for pass in history["items"].as_array().unwrap().iter().take(20) {
        said(&mut search, &format!("history {}", pass["pass"]));
    }
    // Words of a file of variables that Compose cannot read.
    std::fs::write(planted.join("stack/variables.env"), "C=\"PLANTED-compose-unterminated\n").unwrap();
    for arguments in ["validate", "diff -vvv", "apply --yes -vvv", "describe service cms -n shop", "drift -o json"] {
        let ran = said(&mut search, arguments);
        assert!(ran.to_string().contains("variables.env") || arguments.starts_with("drift"), "{ran}");
    }
    std::fs::write(planted.join("stack/variables.env"), "C=PLANTED-compose-env-file\n").unwrap();
    assistant(&landfall, &mut search);
    next(&(manifests(&host, "PLANTED-env-value", 1) + WRONG));
    for arguments in ["validate", "validate -o json", "validate -o yaml", "diff", "apply", "get all"] {
        assert_eq!(said(&mut search, arguments).code, 2);
    }
    upstream.commit(&[("wrong.yaml", WRONG)]);
    let pid = running.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "HUP", &pid]).status().unwrap().success());
    running.says("the manifests are invalid");

    let headers = [("Authorization", "Bearer PLANTED-act-token")];
    let mut paths = vec!["/".to_owned(), "/?show=attention".to_owned(), "/metrics".to_owned(), "/readyz".to_owned()];
    paths.extend(
        ["status", "manifests", "servers", "destinations", "resources", "diff", "events", "history", "pending"]
            .map(|name| format!("/api/v1/{name}")),
    );
    for object in ["Server/infra/edge", "Server/infra/far", "Destination/shop/web", "Application/shop/app"] {
        paths.extend([format!("/objects/{object}"), format!("/api/v1/objects/{object}")]);
    }
    paths.extend(["/api/v1/objects/Database/shop/orders", "/api/v1/objects/Service/shop/cms"].map(str::to_owned));
    paths.extend(["/objects/Database/shop/orders", "/objects/Service/shop/cms", "/topology.svg"].map(str::to_owned));
    for path in &paths {
        let answer = client::request(address, &format!("GET {path}"), &headers);
        search.look(path, format!("{:?}{}", answer.headers, answer.body).as_bytes());
        assert!(answer.status < 400 || path == "/readyz", "{path}: {answer:?}");
    }
    for line in ["POST /api/v1/reconcile", "POST /api/v1/approve", "POST /api/v1/webhook/git"] {
        let answer = client::request(address, line, &[("Authorization", "Bearer PLANTED-act-tokem")]);
        search.look(line, answer.body.as_bytes());
    }
    let posted = manifests(&host, "PLANTED-posted-value", 2);
    let plan = "POST /api/v1/plan?prune=true";
    let authority = address.to_string();
    let post = |body: &str| {
        let headers = [("Host", authority.as_str()), headers[0], ("Content-Type", "application/yaml")];
        client::send(client::connect(address), plan, &headers, body)
    };
    let planned = post(&posted);
    assert_eq!(planned.status, 200, "{planned:?}");
    search.look(plan, planned.body.as_bytes());
    assert!(!planned.body.contains("bug in Landfall") && !planned.body.contains("ComposeInvalid"), "{}", planned.body);
    let wrong = post(&(posted + WRONG));
    assert_eq!(wrong.status, 422, "{wrong:?}");
    search.look("POST /api/v1/plan of what is wrong", wrong.body.as_bytes());
    let log = running.says("the manifests are invalid");
    search.look("the log of run -vvv", log.as_bytes());
    search.files(&home.path().join("state"));
    // What the daemon shows to anyone who may look, but for the container itself.
    for path in ["/containers/json?all=1", "/networks"] {
        search.look(path, host.get(path).to_string().as_bytes());
    }
    let labels: Value = host.inspect("shop-app-1")["Config"]["Labels"].clone();
    search.look("labels of the container", labels.to_string().as_bytes());

    println!("{} places with {} bytes searched for {} secrets", search.places, search.bytes, PLANTED.len());
    assert!(search.places > 100, "{} places", search.places);
    assert_eq!(search.found, Vec::<String>::new());
}
