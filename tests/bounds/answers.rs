//! Servers that answer without end. In a process of its own: other tests of the same process would be measured too.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use landfall::core::observed::{ContainerId, EndpointSettings, NetworkId, ServiceId};
use landfall::core::plan::NetworkCreate;
use landfall::core::workload::{ContainerCreate, ContainerTemplate, ContainerUpdate};
use landfall::shell::engine::connect::{ConnectOptions, UnixDialer};
use landfall::shell::engine::{
    DockerWriter, EngineError, EngineErrorKind, LogRequest, Reader, ServiceUpdate, Watcher, Writer,
};

/// Three gigabytes are as good as no end.
const SENT: usize = 3 << 30;

/// Answers the ping, and everything else with that status and those words again and again.
struct Flood {
    directory: tempfile::TempDir,
}

impl Flood {
    fn of(status: &'static str, begin: &'static str, again: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let piece = again.repeat((1 << 20) / again.len());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let piece = piece.clone();
                std::thread::spawn(move || answer(stream, status, begin, &piece));
            }
        });
        Self { directory }
    }

    fn engine(&self) -> DockerWriter {
        let socket = self.directory.path().join("docker.sock").display().to_string();
        DockerWriter::new("default/test", Arc::new(UnixDialer::new(socket)), &ConnectOptions::default())
    }
}

fn answer(mut stream: std::os::unix::net::UnixStream, status: &str, begin: &str, piece: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let head: Vec<String> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(asked) = head.first() else { return };
        if asked.contains("/_ping") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK");
            continue;
        }
        let _ = match status.contains("\r\n") {
            true => write!(stream, "HTTP/1.1 {status}{begin}"),
            false => write!(stream, "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n{begin}"),
        };
        let mut left = SENT;
        while left > 0 && stream.write_all(piece.as_bytes()).is_ok() {
            left = left.saturating_sub(piece.len());
        }
        return;
    }
}

/// Kilobytes that this process has had in memory at most.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn network() -> NetworkId {
    "0".repeat(64).try_into().unwrap()
}

fn container() -> ContainerId {
    "0".repeat(64).try_into().unwrap()
}

fn service() -> ServiceId {
    "0".repeat(25).try_into().unwrap()
}

fn create() -> NetworkCreate {
    serde_json::from_value(serde_json::json!({
        "name": "web", "driver": "bridge", "attachable": false, "internal": false, "ipv6": false, "subnets": [],
        "options": {}, "labels": {}
    }))
    .unwrap()
}

/// Every call of the API.
async fn calls(engine: &DockerWriter) -> Vec<(&'static str, Result<(), EngineError>)> {
    let events = async {
        let mut stream = engine.subscribe().await?;
        while let Some(event) = stream.next().await {
            event?;
        }
        Ok(())
    };
    let logs = async {
        let request = LogRequest { follow: false, tail: Some(10), since: None, timestamps: false };
        let mut lines = engine.logs(&container(), request).await?;
        // Who follows a log reads it line by line and keeps none of it.
        let mut left = 10_000;
        while let Some(line) = lines.next().await {
            line?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        Ok(())
    };
    let made = ContainerCreate {
        name: "web".to_owned(),
        image: "web:1".to_owned(),
        labels: std::collections::BTreeMap::new(),
        template: ContainerTemplate::default(),
        inherited: Vec::new(),
        drainable: false,
    };
    let limits = ContainerUpdate { restart: None, nano_cpus: Some(1), memory: None, pids: None };
    let settings = EndpointSettings::default();
    vec![
        ("info", engine.info().await.map(drop)),
        ("networks", engine.networks().await.map(drop)),
        ("containers", engine.containers().await.map(drop)),
        ("container", engine.container(&container()).await.map(drop)),
        ("services", engine.services().await.map(drop)),
        ("task", engine.task("abc").await.map(drop)),
        ("network", engine.network(&network()).await.map(drop)),
        ("network by name", engine.network_named("web").await.map(drop)),
        ("containers on", engine.containers_on(&network()).await.map(drop)),
        ("nodes", engine.nodes().await.map(drop)),
        ("attachments", engine.attachments().await.map(drop)),
        ("failure", engine.failure(&service()).await.map(drop)),
        ("workload", engine.workload(&container()).await.map(drop)),
        ("image", engine.image("web:1").await.map(drop)),
        ("remote digest", engine.remote_digest("web:1").await.map(drop)),
        ("log tail", engine.log_tail(&container(), 10).await.map(drop)),
        ("volumes", engine.volumes().await.map(drop)),
        ("storage", engine.storage().await.map(drop)),
        ("recent events", engine.recent_events(0).await.map(drop)),
        ("events", events.await),
        ("logs", logs.await),
        ("pull", engine.pull_image("web:1", &|_, _| ()).await),
        ("create container", engine.create_container(&made, "web", &settings).await.map(drop)),
        ("remove container", engine.remove_container(&container(), true).await),
        ("discard", engine.discard_container(&container()).await),
        ("rename", engine.rename_container(&container(), "web").await),
        ("update container", engine.update_container(&container(), &limits).await),
        ("create volume", engine.create_volume("web", &std::collections::BTreeMap::new()).await),
        ("exec", engine.exec(&container(), &["true"]).await.map(drop)),
        ("exec output", engine.exec_output(&container(), &["true"], 1000).await.map(drop)),
        ("create", engine.create_network(&create()).await.map(drop)),
        ("connect", engine.connect(&network(), &container(), &settings).await),
        ("disconnect", engine.disconnect(&network(), &container(), true).await),
        ("disconnect by name", engine.disconnect_by_name("web", &container()).await),
        ("remove", engine.remove_network(&network()).await),
        ("start", engine.start_container(&container()).await),
        ("stop", engine.stop_container(&container()).await),
        ("update", engine.update_service(&service(), ServiceUpdate::Replicas(1)).await),
    ]
}

/// Calls whose answer is needed whole.
const NEEDED: &[&str] =
    &["info", "networks", "containers", "create", "create container", "storage", "volumes", "image", "exec"];

/// What a server may not tell, as one that is no manager or a filter that forbids it: then it is not known.
const OPTIONAL: &[&str] = &["nodes", "attachments", "failure"];

#[tokio::test]
#[ignore = "run by the test below"]
async fn every_call_against_every_flood() {
    // With a line break: the beginning of the head itself.
    let chunk = format!("4000\r\n{}\r\n", "{".repeat(0x4000));
    let floods: [(&str, &str, &str); 15] = [
        ("200 OK\r\n", "", "X-More: header\r\n"),
        ("200 OK\r\nX-Long: ", "", "x"),
        ("200 OK\r\nContent-Length: 9999999999999\r\n\r\n", "", "x"),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;", "extension"),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\n[]\r\n0\r\n", "X-More: trailer\r\n"),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", &chunk),
        ("200 OK", "", "x"),
        ("200 OK", "[", " "),
        ("200 OK", "[{\"Id\":\"", "0"),
        ("200 OK", "[", "{},"),
        ("200 OK", "{\"NetworkSettings\":{\"Networks\":{\"a\":{}", ",\"b\":{}"),
        ("200 OK", "", "{\"Type\":\"network\",\"Action\":\"connect\"}\n"),
        ("201 Created", "{\"Id\":\"", "0"),
        ("500 Internal Server Error", "{\"message\":\"no space left", " on device"),
        ("403 Forbidden", "<html>", "<p>no</p>\n"),
    ];
    for (status, begin, again) in floods {
        let flood = Flood::of(status, begin, again);
        let started = Instant::now();
        for (call, said) in calls(&flood.engine()).await {
            let tells = match &said {
                // What was asked for is done; that more is said of it than there is to say changes nothing.
                Ok(()) if OPTIONAL.contains(&call) => true,
                Ok(()) => status.starts_with("20") && (!NEEDED.contains(&call) || begin.contains("[]")),
                Err(error) => error.to_string().len() < 1_000 && error.kind != EngineErrorKind::NotFound,
            };
            assert!(tells, "{status} {begin}{again}: {call}: {said:?}");
        }
        let took = started.elapsed();
        println!("{status} {begin}{again}: {took:?}, {} kB so far", peak());
        assert!(took < Duration::from_secs(60), "{status} {begin}: {took:?}");
    }
    println!("peak {}", peak());
}

/// Of three gigabytes, and of each of the others.
const MOST: u64 = 300 << 10;

#[test]
fn a_server_that_answers_without_end_costs_a_call_and_not_the_process() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bounds::answers::every_call_against_every_flood", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let peak: u64 = said.lines().find_map(|line| line.strip_prefix("peak ")).expect("it says").parse().unwrap();
    assert!(peak < MOST, "{said}");
}
