//! Figures of the transports, for notes: `cargo test --release -- --ignored --nocapture figures`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall::engine::connect::{ConnectOptions, Dialer};
use landfall::engine::{DockerReader, Reader};

use super::reader;
use crate::ssh::dialer;
use crate::support::Host;
use crate::support::sshd::Sshd;

fn through(dialer: Arc<dyn Dialer>) -> DockerReader {
    DockerReader::new("default/test", dialer, &ConnectOptions::default())
}

/// p50 and p99 of a thousand `GET /networks`, one after another.
async fn latency(reader: &DockerReader) -> (Duration, Duration) {
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let started = Instant::now();
        reader.networks().await.unwrap();
        times.push(started.elapsed());
    }
    times.sort();
    (times[500], times[990])
}

/// Sixteen at once, for two thousand.
async fn throughput(reader: &DockerReader) -> f64 {
    let started = Instant::now();
    let workers = (0..16).map(|_| async {
        for _ in 0..125 {
            reader.networks().await.unwrap();
        }
    });
    futures::future::join_all(workers).await;
    2_000.0 / started.elapsed().as_secs_f64()
}

/// Kilobytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn report(what: &str, reader: &DockerReader) {
    let ((p50, p99), rate) = (latency(reader).await, throughput(reader).await);
    eprintln!("{what:<28} p50 {p50:>8.2?}  p99 {p99:>8.2?}  {rate:>6.0} requests/s with 16 at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a while and asserts nothing"]
async fn figures_of_the_transports() {
    let (host, sshd) = (Host::start(), Sshd::start());
    for number in 0..5 {
        host.create_network(&format!("web-{number}"));
    }
    report("local socket", &reader(&host, &ConnectOptions::default())).await;
    let over_ssh = through(Arc::new(dialer(&sshd, &host.socket())));
    let started = Instant::now();
    over_ssh.networks().await.unwrap();
    eprintln!("ssh: connect and first call   {:.2?}", started.elapsed());
    report("ssh", &over_ssh).await;
    let by_command = Sshd::builder().option("AllowStreamLocalForwarding no").start();
    report("ssh, dial-stdio", &through(Arc::new(dialer(&by_command, &host.socket())))).await;
    docker_cli(&host, &sshd);
    cold(&host, &sshd).await;
    memory(&sshd, &host.socket()).await;
}

/// `docker -H ssh://` asks the far side's docker for the default socket; here that is given by its environment.
fn docker_cli(host: &Host, sshd: &Sshd) {
    let script =
        format!("#!/bin/sh\nexec /usr/bin/docker --host unix://{} system dial-stdio\n", host.socket().display());
    sshd.install_program("docker", &script);
    let wrapper = sshd.client().home().join("ssh");
    let config = sshd.client().home().join(".ssh/config");
    std::fs::write(&wrapper, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display())).unwrap();
    Command::new("chmod").arg("+x").arg(&wrapper).status().unwrap();
    let path = format!("{}:{}", sshd.client().home().display(), std::env::var("PATH").unwrap());
    let mut times = Vec::new();
    for _ in 0..10 {
        let started = Instant::now();
        let output = Command::new("docker")
            .args(["-H", &format!("ssh://127.0.0.1:{}", sshd.port()), "network", "ls"])
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        times.push(started.elapsed());
    }
    times.sort();
    eprintln!("docker -H ssh:// network ls  {:.2?} (median of 10)", times[5]);
}

async fn cold(host: &Host, sshd: &Sshd) {
    let mut times = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let reader = through(Arc::new(dialer(sshd, &host.socket())));
        let (networks, containers, info) = tokio::join!(reader.networks(), reader.containers(), reader.info());
        assert!(networks.is_ok() && containers.is_ok() && info.is_ok());
        times.push(started.elapsed());
    }
    times.sort();
    eprintln!("ssh: connect and observe     {:.2?} (median of 20)", times[10]);
}

async fn memory(sshd: &Sshd, socket: &Path) {
    let before = resident();
    let mut open = Vec::new();
    for _ in 0..40 {
        let reader = through(Arc::new(dialer(sshd, socket)));
        reader.networks().await.unwrap();
        open.push(reader);
    }
    eprintln!("ssh: memory                  {} kB a connection", (resident() - before) / 40);
    drop(open);
    let mut after = Vec::new();
    for _ in 0..3 {
        for _ in 0..100 {
            through(Arc::new(dialer(sshd, socket))).networks().await.unwrap();
        }
        after.push(resident());
    }
    eprintln!("ssh: memory after 100, 200 and 300 further connections made and dropped: {after:?} kB");
}
