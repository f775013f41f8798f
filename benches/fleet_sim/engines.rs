//! Stand-in engines: each a Unix socket that answers as a Docker Engine does on which everything is as declared.
//!
//! One thread serves all of them. Answers are templates in which only the number of the server is filled in, so that the engines take little
//! of the processor that is measured.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

pub(super) const DESTINATIONS: usize = 50;
pub(super) const CONTAINERS: usize = 200;

/// Stands in a template where the number of the server belongs, with as many digits.
const HOLE: &str = "77777777";
/// Bytes of a request's head at most.
const HEAD: usize = 16 << 10;

/// The id of an object: 64 hexadecimal digits, other ones on each server.
fn id(kind: char, server: &str, number: usize) -> String {
    format!("{kind}{server}{number:055}")
}

fn network(number: usize) -> Value {
    json!({
        "Name": format!("net-{number}"), "Id": id('a', HOLE, number), "Created": "2026-01-01T00:00:00Z", "Scope": "local",
        "Driver": "bridge", "EnableIPv4": true, "EnableIPv6": false, "Internal": false, "Attachable": false, "Ingress": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": [{ "Subnet": format!("10.1.{number}.0/24"), "Gateway": format!("10.1.{number}.1") }] },
        "ConfigFrom": { "Network": "" }, "ConfigOnly": false, "Containers": {}, "Options": {},
        "Labels": { "com.docker.compose.network": format!("net-{number}"), "com.docker.compose.project": "shop" },
    })
}

/// Where a container is, and under which names where an inspection tells them.
fn endpoints(number: usize, inspected: bool) -> Value {
    let on = number % DESTINATIONS;
    let aliases = inspected.then(|| json!([format!("app-{number}"), format!("app-{number}.internal")]));
    json!({ format!("net-{on}"): {
        "IPAMConfig": inspected.then(|| json!({})), "Links": null, "Aliases": aliases, "DriverOpts": null, "GwPriority": 0,
        "NetworkID": id('a', HOLE, on), "EndpointID": id('e', HOLE, number), "Gateway": format!("10.1.{on}.1"),
        "IPAddress": format!("10.1.{on}.{}", 2 + number / DESTINATIONS), "IPPrefixLen": 24, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "MacAddress": "02:42:0a:01:00:02",
        "DNSNames": inspected.then(|| json!([format!("app-{number}"), &id('c', HOLE, number)[..12]])),
    } })
}

fn labels(number: usize) -> Value {
    json!({
        "com.docker.compose.project": "shop", "com.docker.compose.service": format!("app-{number}"),
        "com.docker.compose.config-hash": "5f2b7c0f6a9d4e1f8b3a2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f",
        "com.docker.compose.container-number": "1", "org.opencontainers.image.version": "1.36.1",
    })
}

fn listed(number: usize, attached: bool) -> Value {
    json!({
        "Id": id('c', HOLE, number), "Names": [format!("/app-{number}")], "Image": "registry.example.com/shop/app:1.36.1",
        "ImageID": "sha256:9c6f0724472873bb50a2ae67a9e7adcb57673a183cea8b06eb778dca859181b5", "Command": "/usr/bin/app --serve",
        "Created": 1_790_000_000, "Ports": [], "Labels": labels(number), "State": "running", "Status": "Up 3 hours",
        "HostConfig": { "NetworkMode": format!("net-{}", number % DESTINATIONS) }, "Mounts": [],
        "NetworkSettings": { "Networks": if attached { endpoints(number, false) } else { json!({}) } },
    })
}

fn inspected(number: usize, attached: bool) -> Value {
    json!({
        "Id": id('c', HOLE, number), "Name": format!("/app-{number}"), "Created": "2026-01-01T00:00:00Z", "Image": "sha256:0",
        "State": { "Status": "running", "Running": true, "ExitCode": 0, "Error": "", "StartedAt": "2026-01-01T00:00:01Z" },
        "Config": { "Hostname": format!("app-{number}"), "Image": "busybox:1", "Labels": labels(number), "Env": ["PATH=/bin"] },
        "HostConfig": { "NetworkMode": format!("net-{}", number % DESTINATIONS) },
        "NetworkSettings": { "Networks": if attached { endpoints(number, true) } else { json!({}) } },
    })
}

/// An answer with the places in it where the number of the server belongs.
struct Template {
    bytes: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    fn new(body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let text = head + &body;
        let holes = text.match_indices(HOLE).map(|(at, _)| at).collect();
        Self { bytes: text.into_bytes(), holes }
    }

    fn fill(&self, server: &str, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&self.bytes);
        for hole in &self.holes {
            into[start + hole..start + hole + HOLE.len()].copy_from_slice(server.as_bytes());
        }
    }
}

/// Of a container that is where it belongs, and of one that is not.
struct Attachment {
    there: Template,
    away: Template,
}

impl Attachment {
    fn new(body: impl Fn(bool) -> Value) -> Self {
        Self { there: Template::new(&body(true)), away: Template::new(&body(false)) }
    }

    fn of(&self, attached: bool) -> &Template {
        if attached { &self.there } else { &self.away }
    }
}

struct Templates {
    info: Template,
    networks: Template,
    network: Vec<Template>,
    /// The first container is the one that is disconnected.
    containers: Attachment,
    container: Vec<Attachment>,
}

impl Templates {
    fn new() -> Self {
        let info = json!({
            "ID": format!("ENGINE:{HOLE}"), "Name": format!("host-{HOLE}"), "ServerVersion": "28.3.0", "OSType": "linux",
            "OperatingSystem": "Debian GNU/Linux 13 (trixie)", "Swarm": { "LocalNodeState": "inactive" },
        });
        let list = |attached| Value::from_iter((0..CONTAINERS).map(|number| listed(number, number > 0 || attached)));
        Self {
            info: Template::new(&info),
            networks: Template::new(&Value::from_iter((0..DESTINATIONS).map(network))),
            network: (0..DESTINATIONS).map(|number| Template::new(&network(number))).collect(),
            containers: Attachment::new(list),
            container: (0..CONTAINERS)
                .map(|number| Attachment::new(|attached| inspected(number, number > 0 || attached)))
                .collect(),
        }
    }
}

/// One stand-in engine.
pub(super) struct Engine {
    number: String,
    templates: Arc<Templates>,
    attached: AtomicBool,
    /// How often it listed its containers.
    looks: AtomicUsize,
    /// When the first container was connected last.
    connected: Mutex<Option<Instant>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<String>>>,
}

impl Engine {
    pub(super) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// Takes the first container off its network and tells of it; returns when.
    pub(super) fn disconnect(&self) -> Instant {
        *self.connected.lock().expect("no thread panics") = None;
        self.attached.store(false, Ordering::Relaxed);
        let event = json!({
            "Type": "network", "Action": "disconnect", "time": 1_790_000_100, "timeNano": 1_790_000_100_000_000_000_i64,
            "Actor": { "ID": id('a', &self.number, 0), "Attributes": { "container": id('c', &self.number, 0), "name": "net-0", "type": "bridge" } },
        });
        let line = format!("{event}\n");
        let now = Instant::now();
        let mut listeners = self.listeners.lock().expect("no thread panics");
        listeners.retain(|it| it.send(format!("{:x}\r\n{line}\r\n", line.len())).is_ok());
        now
    }

    /// When the container was connected again, once it was.
    pub(super) fn connected(&self) -> Option<Instant> {
        *self.connected.lock().expect("no thread panics")
    }

    fn answer(&self, method: &str, path: &str, into: &mut Vec<u8>) {
        let attached = self.attached.load(Ordering::Relaxed);
        let path = path.split('?').next().unwrap_or_default();
        let number = |path: &str, kind: &str| {
            let id = path.strip_prefix(kind)?.split('/').next()?;
            id.get(9..)?.parse::<usize>().ok()
        };
        let template = match (method, path) {
            ("GET", "/info") => Some(&self.templates.info),
            ("GET", "/networks") => Some(&self.templates.networks),
            ("GET", "/containers/json") => {
                self.looks.fetch_add(1, Ordering::Relaxed);
                Some(self.templates.containers.of(attached))
            }
            ("GET", path) if path.starts_with("/containers/") => number(path, "/containers/")
                .and_then(|number| self.templates.container.get(number))
                .map(|container| container.of(attached)),
            ("GET", path) => number(path, "/networks/").and_then(|number| self.templates.network.get(number)),
            ("POST", path) if path.ends_with("/connect") => {
                self.connected.lock().expect("no thread panics").get_or_insert_with(Instant::now);
                self.attached.store(true, Ordering::Relaxed);
                into.extend_from_slice(b"HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            _ => None,
        };
        match template {
            Some(template) => template.fill(&self.number, into),
            None => {
                let body = json!({ "message": format!("no stand-in for {method} {path}") }).to_string();
                let head = "HTTP/1.1 404 Not Found\r\nApi-Version: 1.51\r\nContent-Type: application/json";
                into.extend_from_slice(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
            }
        }
    }
}

/// Serves so many engines in the directory, on a thread of their own: `0.sock` and so on.
pub(super) fn start(directory: &Path, servers: usize) -> Vec<Arc<Engine>> {
    let templates = Arc::new(Templates::new());
    let engine = |number| Engine {
        number: format!("{number:08}"),
        templates: Arc::clone(&templates),
        attached: AtomicBool::new(true),
        looks: AtomicUsize::new(0),
        connected: Mutex::default(),
        listeners: Mutex::default(),
    };
    let engines: Vec<Arc<Engine>> = (0..servers).map(|number| Arc::new(engine(number))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime starts");
    for (number, engine) in engines.iter().enumerate() {
        let entered = runtime.enter();
        let listener = UnixListener::bind(directory.join(format!("{number}.sock"))).expect("sockets can be bound");
        drop(entered);
        let engine = Arc::clone(engine);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&engine)));
            }
        });
    }
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    engines
}

/// Until the other side goes away.
async fn serve(mut stream: UnixStream, engine: Arc<Engine>) -> Option<()> {
    let mut read = Vec::with_capacity(512);
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if read.len() > HEAD || stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let whole = end + length.unwrap_or(0_usize);
        while read.len() < whole {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        read.drain(..whole);
        let mut words = head.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let path = path.strip_prefix("/v1.51").unwrap_or(path);
        match path {
            path if path.starts_with("/events") && !path.contains("until=") => return listen(stream, &engine).await,
            path if path.starts_with("/_ping") || path.starts_with("/events") => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Length: 0\r\n\r\n").await.ok()?;
            }
            path => {
                // Dropped once sent: a thousand idle connections hold no answers.
                let mut answer = Vec::new();
                engine.answer(method, path, &mut answer);
                stream.write_all(&answer).await.ok()?;
            }
        }
    }
}

/// The events, for as long as the other side listens.
async fn listen(mut stream: UnixStream, engine: &Engine) -> Option<()> {
    let head =
        "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    let (sender, mut events) = mpsc::unbounded_channel();
    engine.listeners.lock().expect("no thread panics").push(sender);
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            event = events.recv() => stream.write_all(event?.as_bytes()).await.ok()?,
            _ = stream.read(&mut nothing) => return None,
        }
    }
}
