//! A real daemon by the ways that lead there from other machines.

use std::process::{Child, Stdio};
use std::sync::Arc;

use landfall::shell::engine::connect::{ConnectOptions, Dialer, TcpDialer, TlsDialer, TlsMaterial};
use landfall::shell::engine::{DockerReader, EngineErrorKind, Reader};
use tokio::net::{TcpListener, UnixStream};

use super::reader;
use crate::cli::run::landfall;
use crate::cli::world::World;
use crate::ssh::dialer;
use crate::support::authority::{Authority, Certified, Validity, text};
use crate::support::sshd::Sshd;
use crate::support::{Host, wait_for};

fn through(dialer: Arc<dyn Dialer>) -> DockerReader {
    DockerReader::new("default/test", dialer, &ConnectOptions::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_looks_the_same_over_ssh() {
    let (host, sshd) = (Host::start(), Sshd::start());
    host.create_network("web");
    let over_ssh = through(Arc::new(dialer(&sshd, &host.socket())));
    let local = reader(&host, &ConnectOptions::default());
    assert_eq!(over_ssh.info().await.unwrap(), local.info().await.unwrap());
    let calls = (0..16).map(|_| over_ssh.networks());
    for networks in futures::future::join_all(calls).await {
        assert_eq!(networks.unwrap(), local.networks().await.unwrap());
    }
    assert_eq!(sshd.connections(), 1);
    assert_eq!(over_ssh.transport_note(), None);

    host.stop_daemon();
    let error = over_ssh.networks().await.unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::Unreachable, "{error}");
    host.start_daemon();
    assert_eq!(over_ssh.networks().await.unwrap(), local.networks().await.unwrap());
    assert_eq!(sshd.connections(), 1, "the session outlives the daemon");
}

/// With the real docker on the far side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_looks_the_same_over_dial_stdio() {
    let (host, sshd) = (Host::start(), Sshd::builder().option("AllowStreamLocalForwarding no").start());
    let over_ssh = through(Arc::new(dialer(&sshd, &host.socket())));
    let networks = over_ssh.networks().await.unwrap();
    assert_eq!(networks, reader(&host, &ConnectOptions::default()).networks().await.unwrap());
    assert!(over_ssh.transport_note().unwrap().contains("docker system dial-stdio"));

    host.stop_daemon();
    let later = through(Arc::new(dialer(&sshd, &host.socket())));
    let error = later.networks().await.unwrap_err();
    assert!(error.message.contains("Docker does not answer at"), "{error}");
}

/// From the manifest to the network, over one connection.
#[test]
fn apply_works_over_ssh_and_describe_says_how_the_server_is_reached() {
    let (host, sshd) = (Host::start(), Sshd::start());
    let fallback = Sshd::builder().option("AllowStreamLocalForwarding no").client(sshd.client()).start();
    let directory = tempfile::tempdir().unwrap();
    let server = |name: &str, sshd: &Sshd| {
        format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name} }}\nspec:\n  endpoint: ssh://127.0.0.1:{}{}\n  \
             ssh: {{ identityFile: {}, hostKey: {} }}\n---\n",
            sshd.port(),
            host.socket().display(),
            sshd.client().key().display(),
            sshd.host_key("ed25519"),
        )
    };
    let destination = "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\n\
                       spec: { server: edge-1, network: { name: web-net } }\n";
    let manifests = server("edge-1", &sshd) + &server("edge-2", &fallback) + destination;
    std::fs::write(directory.path().join("all.yaml"), manifests).unwrap();

    let applied = landfall(directory.path(), ["apply", "-f", "all.yaml"]);
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    assert_eq!(host.network_ids("web-net").len(), 1);
    assert_eq!(sshd.connections(), 1, "looking and changing share a connection");
    let again = landfall(directory.path(), ["diff", "-f", "all.yaml"]);
    assert_eq!(again.code, 0, "{}", again.stdout);

    let described = landfall(directory.path(), ["describe", "server", "edge-2", "-f", "all.yaml"]);
    assert!(described.stdout.contains("docker system dial-stdio"), "{}\n{}", described.stdout, described.stderr);
    let described = landfall(directory.path(), ["describe", "server", "edge-1", "-f", "all.yaml"]);
    assert!(!described.stdout.contains("dial-stdio"), "{}", described.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_tlsverify_lets_its_clients_in_and_nobody_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let Certified { certificate, key } = authority.server("IP:127.0.0.1", Validity::Now);
    let host = Host::builder()
        .argument("--tlsverify")
        .argument(&format!("--tlscacert={}", text(&authority.certificate())))
        .argument(&format!("--tlscert={}", text(&certificate)))
        .argument(&format!("--tlskey={}", text(&key)))
        .argument("-H=tcp://127.0.0.1:2376")
        .start();
    let relay = Relay::start(&host).await;
    let with = |client: &Certified| {
        let client = Some((client.certificate.clone(), client.key.clone()));
        let material = TlsMaterial { ca: authority.certificate(), client, server_name: None };
        through(Arc::new(TlsDialer::new("127.0.0.1", relay.port, material)))
    };
    let networks = with(&authority.client()).networks().await.unwrap();
    assert_eq!(networks, reader(&host, &ConnectOptions::default()).networks().await.unwrap());

    // Compose, which has no certificate, comes in over Landfall's own connection.
    let client = authority.client();
    let _ = host.container("none");
    let world = World::new(&format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec:
  endpoint: tcp://127.0.0.1:{}
  tls: {{ caFile: {}, certFile: {}, keyFile: {} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge, network: {{ name: web-net }} }}
---
apiVersion: landfall/v1
kind: Service
metadata: {{ name: cms }}
spec: {{ destination: web, compose: {{ project: cms, file: ../stack.yaml }} }}
",
        relay.port,
        authority.certificate().display(),
        client.certificate.display(),
        client.key.display(),
    ));
    world.write("stack.yaml", super::compose::STACK);
    let brought_up = tokio::task::spawn_blocking(move || {
        world.run("apply").expect(0);
        world.run("diff").expect(0);
    });
    brought_up.await.unwrap();
    assert_eq!(super::workloads::names(&host), ["cms-db-1", "cms-web-1"]);

    let error = with(&other.client()).networks().await.unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::PermissionDenied, "{error}");
    assert!(error.message.contains("refuses the client certificate"), "{error}");

    let error = through(Arc::new(TcpDialer::new("127.0.0.1", relay.port))).networks().await.unwrap_err();
    assert!(error.message.contains("expects TLS on this port"), "{error}");
}

/// From a port on our side to port 2376 in the host's network, by way of a socket file that both see.
struct Relay {
    port: u16,
    inside: Child,
}

const INSIDE: &str = r"
import socket, sys, threading
def copy(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError: pass
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen(64)
while True:
    a = listener.accept()[0]; b = socket.create_connection(('127.0.0.1', 2376))
    for pair in ((a, b), (b, a)): threading.Thread(target=copy, args=pair, daemon=True).start()
";

impl Relay {
    async fn start(host: &Host) -> Self {
        let socket = host.socket().with_file_name("relay.sock");
        let inside = host
            .inside(&["python3", "-c", INSIDE, &text(&socket)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the relay listens", || socket.exists().then_some(()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut ours, _)) = listener.accept().await {
                let mut theirs = UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut ours, &mut theirs).await });
            }
        });
        Self { port, inside }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // What runs in the host's process namespace ends with the host.
        let _ = self.inside.kill();
        let _ = self.inside.wait();
    }
}
