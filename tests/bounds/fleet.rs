//! Memory of `run` over many servers: what they answer and what is declared for them, once, and not once for each other.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::stand_in::{Answer, ok, stand_in};
use crate::cli::run::command;

const DESTINATIONS: usize = 50;
const CONTAINERS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(300);

/// Servers that answer as engines do on which everything is as declared.
struct Fleet {
    directory: tempfile::TempDir,
    /// How often each listed its containers.
    looks: Vec<Arc<AtomicUsize>>,
}

fn id(kind: &str, number: usize) -> String {
    format!("{kind:0<8}{number:056}")
}

fn networks() -> String {
    let network = |number| {
        json!({
            "Id": id("a", number), "Name": format!("net-{number}"), "Driver": "bridge", "Scope": "local",
            "Created": "2026-01-01T00:00:00Z", "EnableIPv6": false, "Internal": false, "Attachable": false,
            "Ingress": false, "IPAM": { "Driver": "default", "Config": [{ "Subnet": format!("10.1.{number}.0/24") }] },
            "Options": {}, "Labels": {},
        })
    };
    serde_json::Value::from_iter((0..DESTINATIONS).map(network)).to_string()
}

fn containers() -> String {
    let container = |number: usize| {
        let on = number % DESTINATIONS;
        json!({
            "Id": id("c", number), "Names": [format!("/app-{number}")], "Image": "busybox:1", "ImageID": "sha256:0",
            "Command": "sleep", "Created": 1_700_000_000, "State": "running", "Status": "Up 1 hour", "Ports": [],
            "Labels": { "com.example.note": "a label such as many containers have", "com.example.number": number.to_string() },
            "HostConfig": { "NetworkMode": format!("net-{on}") }, "Mounts": [],
            "NetworkSettings": { "Networks": { format!("net-{on}"): {
                "NetworkID": id("a", on), "EndpointID": id("e", number), "IPAddress": format!("10.1.{on}.{}", 2 + number / DESTINATIONS),
                "IPPrefixLen": 24, "Gateway": format!("10.1.{on}.1"), "MacAddress": "02:42:0a:01:00:02",
            } } },
        })
    };
    serde_json::Value::from_iter((0..CONTAINERS).map(container)).to_string()
}

/// What inspecting it shows.
fn container(path: &str) -> serde_json::Value {
    let id_asked = path.split('/').find(|part| part.len() == 64).unwrap();
    let number: usize = id_asked.trim_start_matches(['c', '0']).parse().unwrap_or(0);
    let on = number % DESTINATIONS;
    json!({
        "Id": id_asked, "Name": format!("/app-{number}"), "Created": "2026-01-01T00:00:00Z", "Image": "sha256:0",
        "State": { "Status": "running", "Running": true, "ExitCode": 0, "Error": "" },
        "Config": { "Hostname": format!("app-{number}"), "Image": "busybox:1", "Labels": {}, "Env": ["PATH=/bin"] },
        "HostConfig": { "NetworkMode": format!("net-{on}") },
        "NetworkSettings": { "Networks": { format!("net-{on}"): {
            "NetworkID": id("a", on), "EndpointID": id("e", number), "Aliases": [format!("app-{number}")], "IPAMConfig": {},
        } } },
    })
}

impl Fleet {
    fn of(servers: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (networks, containers): (Arc<str>, Arc<str>) = (networks().into(), containers().into());
        let mut manifests = String::new();
        let mut looks = Vec::new();
        for server in 0..servers {
            let socket = directory.path().join(format!("{server}.sock"));
            manifests += &format!(
                "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-{server} }}\nspec: {{ endpoint: \"unix://{}\" }}\n---\n",
                socket.display()
            );
            for destination in 0..DESTINATIONS {
                manifests += &format!(
                    "apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web-{server}-{destination} }}\n\
                     spec: {{ server: edge-{server}, adopt: true, network: {{ name: net-{destination} }} }}\n---\n"
                );
            }
            let seen = Arc::new(AtomicUsize::new(0));
            looks.push(Arc::clone(&seen));
            let (networks, containers) = (Arc::clone(&networks), Arc::clone(&containers));
            stand_in(&socket, move |_, path| answer(server, &networks, &containers, &seen, path));
        }
        std::fs::write(directory.path().join("all.yaml"), manifests).unwrap();
        Self { directory, looks }
    }

    /// Kilobytes that `run` had in memory at most while it looked at every server twice.
    fn peak(&self) -> u64 {
        let mut child = Run::over(self.directory.path());
        let deadline = Instant::now() + PATIENCE;
        // The third look of a server begins after its second pass.
        while self.looks.iter().any(|it| it.load(Ordering::Relaxed) < 3) {
            assert!(Instant::now() < deadline, "{:?}", self.looks);
            assert!(child.0.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

struct Run(Child);

impl Run {
    fn over(directory: &Path) -> Self {
        let mut command = command();
        command.current_dir(directory).env("XDG_STATE_HOME", directory.join("state"));
        command.args(["run", "-f", "all.yaml", "--interval", "2s"]);
        let log = std::fs::File::create(directory.join("log")).unwrap();
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn answer(server: usize, networks: &str, containers: &str, seen: &AtomicUsize, path: &str) -> Answer {
    match path {
        "/info" => ok(json!({
            "ID": format!("ENGINE:{server}"), "Name": format!("host-{server}"), "ServerVersion": "20.10.24",
            "OperatingSystem": "Debian", "OSType": "linux", "Swarm": { "LocalNodeState": "inactive" },
        })),
        "/networks" => ok(networks),
        path if path.starts_with("/containers/json") => {
            seen.fetch_add(1, Ordering::Relaxed);
            ok(containers)
        }
        path if path.starts_with("/containers/") => ok(container(path)),
        path if path.starts_with("/events") && path.contains("until") => ok(""),
        path if path.starts_with("/events") => Answer::Silence,
        path => panic!("nobody answers {path}"),
    }
}

#[test]
fn memory_grows_with_what_there_is_and_not_with_its_square() {
    let of = |servers| {
        let peak = Fleet::of(servers).peak();
        println!("{servers} servers: {peak} kB");
        peak
    };
    let (few, many) = (of(50), of(100));
    assert!(many < 400 << 10, "100 servers: {many} kB");
    // Twice as many servers: at most twice as much, of which some is the program itself.
    assert!(many < 2 * few, "50 servers: {few} kB, 100 servers: {many} kB");
}
