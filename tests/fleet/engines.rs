//! Stand-ins for Docker daemons with one network and one container, which write down every call that changes something, with its token.
//!
//! Each controller has a socket of its own to each daemon, so that it is known who has called, and so that one can be cut off from the other.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use landfall::core::api::{DeletionPolicy, Kind, ObjectKey};
use landfall::core::plan::ownership;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

/// What a change takes: long enough to be met in the middle of it.
const TAKES: Duration = Duration::from_millis(20);

/// One call that changes something. All of it is shown where something is wrong.
#[derive(Debug, Clone)]
#[allow(dead_code)]
pub(super) struct Call {
    pub(super) controller: usize,
    /// `None`: it had none.
    pub(super) token: Option<i64>,
    pub(super) began: Instant,
    /// `None`: it is under way.
    pub(super) ended: Option<Instant>,
    path: String,
}

impl Call {
    /// Of a network.
    pub(super) fn is_removal(&self) -> bool {
        self.path.starts_with("/networks/") && !self.path.ends_with("connect")
    }
}

pub(super) struct Engine {
    number: usize,
    attached: AtomicBool,
    /// A network of the set's that no manifest declares.
    left: AtomicBool,
    calls: Mutex<Vec<Call>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<String>>>,
    /// Whether looks are answered, and how many wait to be.
    held: watch::Sender<bool>,
    waiting: AtomicUsize,
    /// By controller: whether it is cut off.
    cut: Vec<watch::Sender<bool>>,
}

fn network_id(number: usize) -> String {
    format!("a{number:063}")
}

fn left_id(number: usize) -> String {
    format!("b{number:063}")
}

fn container_id(number: usize) -> String {
    format!("c{number:063}")
}

impl Engine {
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn is_attached(&self) -> bool {
        self.attached.load(Ordering::SeqCst)
    }

    /// Has it a network that the set once made and no longer declares.
    pub(super) fn leave_a_network(&self) {
        self.left.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_left_network(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }

    /// Takes the container off its network, and tells of it.
    pub(super) fn disconnect(&self) -> Instant {
        self.attached.store(false, Ordering::SeqCst);
        // What is older than the history is kept is dropped from it.
        let time = jiff::Timestamp::now();
        let nanoseconds = i64::try_from(time.as_nanosecond()).unwrap();
        let event = json!({
            "Type": "network", "Action": "disconnect", "time": time.as_second(), "timeNano": nanoseconds,
            "Actor": { "ID": network_id(self.number), "Attributes": { "container": container_id(self.number), "name": "net-0", "type": "bridge" } },
        });
        let line = format!("{event}\n");
        let now = Instant::now();
        let mut listeners = self.listeners.lock().unwrap();
        listeners.retain(|it| it.send(format!("{:x}\r\n{line}\r\n", line.len())).is_ok());
        now
    }

    /// From now on nothing passes between that controller and this daemon, or everything does.
    pub(super) fn cut(&self, controller: usize, cut: bool) {
        self.cut[controller].send_replace(cut);
    }

    /// From now on whoever asks for its containers gets no answer, until the other is called.
    pub(super) fn hold(&self) {
        self.held.send_replace(true);
    }

    pub(super) fn release(&self) {
        self.held.send_replace(false);
    }

    /// Controllers that wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn answer(&self, method: &str, path: &str) -> Option<Value> {
        let number = self.number;
        let endpoint = |inspected: bool| {
            json!({ "net-0": {
                "IPAMConfig": null, "Aliases": inspected.then(|| json!(["app-0"])), "DriverOpts": null, "NetworkID": network_id(number),
                "EndpointID": format!("e{number:063}"), "Gateway": "10.1.0.1", "IPAddress": "10.1.0.2", "IPPrefixLen": 24,
                "MacAddress": "02:42:0a:01:00:02", "DNSNames": inspected.then(|| json!(["app-0"])),
            } })
        };
        let endpoints = |inspected| if self.is_attached() { endpoint(inspected) } else { json!({}) };
        let network = json!({
            "Name": "net-0", "Id": network_id(number), "Created": "2026-01-01T00:00:00Z", "Scope": "local", "Driver": "bridge",
            "EnableIPv4": true, "EnableIPv6": false, "Internal": false, "Attachable": false, "Ingress": false, "Containers": {},
            "IPAM": { "Driver": "default", "Config": [{ "Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1" }] }, "Options": {}, "Labels": {},
        });
        let destination = ObjectKey::new(Kind::Destination, "default", "old");
        let labels = ownership::labels("old", "default", &destination, "old-net", DeletionPolicy::Delete, None);
        let mut left = network.clone();
        left["Name"] = json!("old-net");
        left["Id"] = json!(left_id(number));
        left["IPAM"]["Config"] = json!([{ "Subnet": "10.2.0.0/24", "Gateway": "10.2.0.1" }]);
        left["Labels"] = json!(labels);
        let all = if self.has_left_network() { json!([network, left]) } else { json!([network]) };
        let state = json!({ "Status": "running", "Running": true, "ExitCode": 0, "StartedAt": "2026-01-01T00:00:01Z" });
        match (method, path) {
            ("GET", "/info") => Some(json!({
                "ID": format!("ENGINE:{number}"), "Name": format!("host-{number}"), "ServerVersion": "28.3.0", "OSType": "linux",
                "OperatingSystem": "Debian", "Swarm": { "LocalNodeState": "inactive" },
            })),
            ("GET", "/networks") => Some(all),
            ("GET", "/containers/json") => Some(json!([{
                "Id": container_id(number), "Names": ["/app-0"], "Image": "app:1", "ImageID": "sha256:0", "Created": 1_790_000_000,
                "Ports": [], "Labels": {}, "State": "running", "Status": "Up", "HostConfig": { "NetworkMode": "net-0" }, "Mounts": [],
                "NetworkSettings": { "Networks": endpoints(false) },
            }])),
            ("GET", path) if path.starts_with("/containers/") => Some(json!({
                "Id": container_id(number), "Name": "/app-0", "Created": "2026-01-01T00:00:00Z", "Image": "sha256:0", "State": state,
                "Config": { "Hostname": "app-0", "Image": "app:1", "Labels": {}, "Env": [] }, "HostConfig": { "NetworkMode": "net-0" },
                "NetworkSettings": { "Networks": endpoints(true) },
            })),
            ("GET", path) if path == format!("/networks/{}", left_id(number)) => {
                self.has_left_network().then_some(left)
            }
            ("GET", path) if path.starts_with("/networks/") => Some(network),
            _ => None,
        }
    }
}

/// Somebody waits for an answer.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(engine: &'a Engine) -> Self {
        engine.waiting.fetch_add(1, Ordering::SeqCst);
        Self(&engine.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// So many daemons, each with a socket for each controller: `CONTROLLER-NUMBER.sock`.
pub(super) fn start(directory: &Path, engines: usize, controllers: usize) -> Vec<Arc<Engine>> {
    let engine = |number| Engine {
        number,
        attached: AtomicBool::new(true),
        left: AtomicBool::new(false),
        calls: Mutex::default(),
        listeners: Mutex::default(),
        held: watch::Sender::new(false),
        waiting: AtomicUsize::new(0),
        cut: (0..controllers).map(|_| watch::Sender::new(false)).collect(),
    };
    let engines: Vec<Arc<Engine>> = (0..engines).map(|number| Arc::new(engine(number))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for engine in &engines {
        for controller in 0..controllers {
            let entered = runtime.enter();
            let listener = UnixListener::bind(directory.join(format!("{controller}-{}.sock", engine.number))).unwrap();
            drop(entered);
            let engine = Arc::clone(engine);
            runtime.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let engine = Arc::clone(&engine);
                    tokio::spawn(async move {
                        let mut cut = engine.cut[controller].subscribe();
                        tokio::select! {
                            _ = serve(stream, &engine, controller) => {}
                            // Closed, as a firewall's reset does it.
                            _ = cut.wait_for(|cut| *cut) => {}
                        }
                    });
                }
            });
        }
    }
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    engines
}

async fn serve(mut stream: UnixStream, engine: &Engine, controller: usize) -> Option<()> {
    let mut read = Vec::with_capacity(512);
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<i64>().ok());
        let whole = end + usize::try_from(field("content-length:").unwrap_or_default()).ok()?;
        while read.len() < whole {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        read.drain(..whole);
        let mut words = head.split(' ');
        let (method, path) = (words.next()?.to_uppercase(), words.next()?);
        let path = path.strip_prefix("/v1.51").unwrap_or(path);
        if path.starts_with("/events") && !path.contains("until=") {
            return listen(stream, engine).await;
        }
        let bare = path.split('?').next().unwrap_or_default();
        if method != "GET" && method != "HEAD" {
            let (token, began) = (field("x-landfall-fence:"), Instant::now());
            let call = Call { controller, token, began, ended: None, path: path.to_owned() };
            let at = {
                let mut calls = engine.calls.lock().unwrap();
                calls.push(call);
                calls.len() - 1
            };
            tokio::time::sleep(TAKES).await;
            if bare.ends_with("/connect") {
                engine.attached.store(true, Ordering::SeqCst);
            }
            if method == "DELETE" && bare == format!("/networks/{}", left_id(engine.number)) {
                engine.left.store(false, Ordering::SeqCst);
            }
            engine.calls.lock().unwrap()[at].ended = Some(Instant::now());
        }
        // Seen, and told later: what is in between is the middle of a pass.
        let seen = (bare == "/containers/json").then(|| engine.answer(&method, bare).map(|it| it.to_string()));
        if seen.is_some() && *engine.held.borrow() {
            let _waiting = Waiting::of(engine);
            engine.held.subscribe().wait_for(|held| !held).await.ok()?;
        }
        let body = match bare {
            "/containers/json" => seen.flatten(),
            "/_ping" | "/events" => Some(String::new()),
            _ if bare.ends_with("/connect") || method == "DELETE" => Some(String::new()),
            _ => engine.answer(&method, bare).map(|it| it.to_string()),
        };
        let (status, body) = match body {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", json!({ "message": format!("no stand-in for {method} {path}") }).to_string()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.ok()?;
    }
}

async fn listen(mut stream: UnixStream, engine: &Engine) -> Option<()> {
    let head =
        "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    let (sender, mut events) = mpsc::unbounded_channel();
    engine.listeners.lock().unwrap().push(sender);
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            event = events.recv() => stream.write_all(event?.as_bytes()).await.ok()?,
            _ = stream.read(&mut nothing) => return None,
        }
    }
}
