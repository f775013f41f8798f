//! The dialer: one session a server, jump hosts, the fallback, reconnecting, and errors for people.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use landfall::shell::engine::EngineErrorKind;
use landfall::shell::engine::connect::ssh::{SshDialer, SshTimeouts, Timing};
use landfall::shell::engine::connect::{DialError, Dialer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Echo, TIMEOUTS, dialer, dialer_of, endpoint, ping, until};
use crate::support::sshd::Sshd;

/// What `docker system dial-stdio` does, in Python: standard input and output joined to a socket.
fn install_docker(sshd: &Sshd, socket: &Path) {
    let script = format!(
        r#"#!/usr/bin/python3
import os, select, socket, sys
open({log:?}, "a").write(" ".join(sys.argv[1:]) + "\n")
s = socket.socket(socket.AF_UNIX); s.connect({socket:?})
open_ends = [0, s]
while s in open_ends:
    for end in select.select(open_ends, [], [])[0]:
        data = os.read(0, 65536) if end == 0 else s.recv(65536)
        if not data:
            open_ends.remove(end)
            if end == 0: s.shutdown(socket.SHUT_WR)
        elif end == 0: s.sendall(data)
        else: os.write(1, data)
"#,
        log = sshd.path("docker.log").display().to_string(),
        socket = socket.display().to_string(),
    );
    sshd.install_program("docker", &script);
}

async fn failure(dialer: &SshDialer) -> DialError {
    match dialer.dial().await {
        Ok(_) => panic!("a stream was opened"),
        Err(error) => error,
    }
}

/// MaxSessions does not limit forwarded sockets, and one connection never meets MaxStartups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_any_number_of_streams() {
    let sshd = Sshd::builder().option("MaxStartups 2").option("MaxSessions 1").start();
    let daemon = Echo::pinging();
    let dialer = dialer(&sshd, daemon.socket());
    let streams = futures::future::join_all((0..40).map(|_| async {
        let mut stream = dialer.dial().await.unwrap();
        ping(&mut stream).await;
        stream
    }));
    let streams = streams.await;
    assert_eq!(dialer.session().await.unwrap().open_streams(), 40);
    assert_eq!(sshd.connections(), 1);
    assert_eq!(dialer.note(), None);
    drop(streams);
}

#[tokio::test]
async fn a_server_that_allows_no_session_channels_will_do() {
    let sshd = Sshd::builder().option("MaxSessions 0").start();
    let daemon = Echo::pinging();
    let dialer = dialer(&sshd, daemon.socket());
    ping(&mut dialer.dial().await.unwrap()).await;
    ping(&mut dialer.dial().await.unwrap()).await;
    sshd.kill_sessions();
    let mux = dialer.session().await.unwrap();
    until("the end is noticed without a channel to read from", || !mux.is_alive()).await;
    assert_eq!(sshd.connections(), 1);
}

#[tokio::test]
async fn the_smallest_authorization_is_enough() {
    let sshd = Sshd::start();
    let key = fs::read_to_string(sshd.path("authorized_keys")).unwrap();
    fs::write(sshd.path("authorized_keys"), format!("restrict,port-forwarding {key}")).unwrap();
    let daemon = Echo::pinging();
    ping(&mut dialer(&sshd, daemon.socket()).dial().await.unwrap()).await;
}

#[tokio::test]
async fn a_jump_host_is_gone_through_by_a_session_of_its_own() {
    let inner = Sshd::start();
    let middle = Sshd::builder().client(inner.client()).start();
    let outer = Sshd::builder().client(inner.client()).start();
    let daemon = Echo::pinging();
    // The middle one has a jump host of its own in the configuration.
    inner.client().configure(&format!(
        "Host inner\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump middle\n\
         Host middle\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump outer\n\
         Host outer\n  HostName 127.0.0.1\n  Port {}\n",
        inner.port(),
        middle.port(),
        outer.port()
    ));
    let mut endpoint = endpoint(&inner, daemon.socket(), None);
    endpoint.target.host = "inner".to_owned();
    endpoint.target.port = None;
    let dialer = dialer_of(inner.client(), endpoint);
    for _ in 0..3 {
        ping(&mut dialer.dial().await.unwrap()).await;
    }
    for (sshd, name) in [(&inner, "inner"), (&middle, "middle"), (&outer, "outer")] {
        assert_eq!(sshd.connections(), 1, "{name}");
    }
    outer.kill_sessions();
    let mux = dialer.session().await.unwrap();
    until("the death of a hop is the death of what goes through it", || !mux.is_alive()).await;
    ping(&mut dialer.dial().await.unwrap()).await;
}

#[tokio::test]
async fn jump_hosts_that_lead_in_a_circle_are_refused() {
    let sshd = Sshd::start();
    sshd.client().configure("Host 127.0.0.1\n  ProxyJump a\nHost a\n  ProxyJump b\nHost b\n  ProxyJump a\n");
    let error = failure(&dialer(&sshd, Path::new("/nowhere"))).await;
    assert!(error.message.contains("ProxyJump leads over more than 8 hosts"), "{error}");
}

#[tokio::test]
async fn the_host_key_of_a_jump_host_is_checked_too() {
    let inner = Sshd::start();
    let jump = Sshd::builder().client(inner.client()).start();
    let known: String = inner.client().known_hosts().lines().take(1).map(|line| format!("{line}\n")).collect();
    inner.client().set_known_hosts(&known);
    inner.client().configure(&format!(
        "Host 127.0.0.1\n  ProxyJump jump\nHost jump\n  HostName 127.0.0.1\n  Port {}\n",
        jump.port()
    ));
    let error = failure(&dialer(&inner, Path::new("/nowhere"))).await;
    assert_eq!(error.kind, EngineErrorKind::HostKeyMismatch);
    assert!(error.message.starts_with("the host key of jump is not known"), "{error}");
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn forbidden_forwarding_falls_back_to_dial_stdio_and_says_so() {
    let sshd = Sshd::builder().option("AllowStreamLocalForwarding no").start();
    let daemon = Echo::pinging();
    install_docker(&sshd, daemon.socket());
    let dialer = dialer(&sshd, daemon.socket());
    for _ in 0..3 {
        ping(&mut dialer.dial().await.unwrap()).await;
    }
    let note = dialer.note().unwrap();
    assert!(note.contains("forbids the forwarding of sockets") && note.contains("docker system dial-stdio"), "{note}");
    let commands = fs::read_to_string(sshd.path("docker.log")).unwrap();
    let command = format!("--host unix://{} system dial-stdio\n", daemon.socket().display());
    assert_eq!(commands, command.repeat(4), "one to try, then one a stream: the refusal is remembered");
    assert_eq!(sshd.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_dial_stdio_are_whole_and_end_when_dropped() {
    let sshd = Sshd::builder().option("AllowStreamLocalForwarding no").start();
    let daemon = Echo::pinging();
    install_docker(&sshd, daemon.socket());
    let dialer = dialer(&sshd, daemon.socket());
    let mut stream = dialer.dial().await.unwrap();
    for _ in 0..200 {
        ping(&mut stream).await;
    }
    let mux = dialer.session().await.unwrap();
    drop(stream);
    drop(dialer.dial().await.unwrap());
    super::until_no_streams(&mux).await;
    ping(&mut dialer.dial().await.unwrap()).await;
}

#[tokio::test]
async fn a_missing_socket_is_told_from_forbidden_forwarding_by_what_docker_says() {
    let sshd = Sshd::start();
    sshd.install_program(
        "docker",
        "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1\n",
    );
    let error = failure(&dialer(&sshd, Path::new("/nowhere/docker.sock"))).await;
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert!(
        error.message.starts_with("Docker does not answer at /nowhere/docker.sock on 127.0.0.1: Cannot connect"),
        "{error}"
    );
}

#[tokio::test]
async fn a_denied_socket_is_a_matter_of_permission() {
    let sshd = Sshd::start();
    sshd.install_program(
        "docker",
        "#!/bin/sh\necho 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1\n",
    );
    let error = failure(&dialer(&sshd, Path::new("/nowhere/docker.sock"))).await;
    assert_eq!(error.kind, EngineErrorKind::PermissionDenied);
    assert!(error.message.contains("denies access to /nowhere/docker.sock"), "{error}");
}

#[tokio::test]
async fn without_docker_on_the_far_side_all_three_causes_are_named() {
    let sshd = Sshd::start();
    sshd.install_program("docker", "#!/bin/sh\necho 'docker: command not found' >&2; exit 127\n");
    let error = failure(&dialer(&sshd, Path::new("/nowhere/docker.sock"))).await;
    for part in ["there is no such socket", "the user may not open it", "sshd forbids", "command not found"] {
        assert!(error.message.contains(part), "{part} is not in: {error}");
    }
    assert!(error.hint.unwrap().contains("AllowStreamLocalForwarding"));
}

#[tokio::test]
async fn a_path_that_a_shell_could_read_otherwise_is_never_part_of_a_command() {
    let sshd = Sshd::start();
    install_docker(&sshd, Path::new("/nowhere"));
    let error = failure(&dialer(&sshd, Path::new("/nowhere/$(touch x).sock"))).await;
    assert!(error.message.contains("cannot be passed"), "{error}");
    assert!(!sshd.path("docker.log").exists());
}

#[tokio::test]
async fn a_lost_session_is_replaced_by_the_next_dial() {
    let mut sshd = Sshd::start();
    let daemon = Echo::pinging();
    let dialer = dialer(&sshd, daemon.socket());
    let mut before = dialer.dial().await.unwrap();
    ping(&mut before).await;
    sshd.restart();
    assert!(before.read(&mut [0; 16]).await.is_err(), "what was open is lost, and says so");
    ping(&mut dialer.dial().await.unwrap()).await;
    assert_eq!(sshd.connections(), 1);
}

/// The stream may have carried a request whose outcome nobody knows: it breaks, and nothing is sent a second time.
#[tokio::test]
async fn a_request_in_flight_is_never_sent_again() {
    let sshd = Sshd::start();
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let daemon = Echo::serve(move |mut stream| {
        let seen = seen.clone();
        async move {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            let _ = seen.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
            std::future::pending::<()>().await;
        }
    });
    let dialer = dialer(&sshd, daemon.socket());
    let mut stream = dialer.dial().await.unwrap();
    stream.write_all(b"POST /networks/create HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(requests.recv().await.unwrap().starts_with("POST"));
    sshd.kill_sessions();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let _other = dialer.dial().await.unwrap();
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_again_only_after_a_while() {
    let mut sshd = Sshd::start();
    let daemon = Echo::pinging();
    let dialer = dialer(&sshd, daemon.socket());
    sshd.kill();
    let error = failure(&dialer).await;
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert_eq!(
        error.message,
        format!("cannot connect to 127.0.0.1:{}: Connection refused (os error 111)", sshd.port())
    );
    sshd.restart();
    failure(&dialer).await;
    assert_eq!(sshd.connections(), 0, "the second dial got the error of the first");
    let started = Instant::now();
    while dialer.dial().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sshd.connections(), 1);
}

#[tokio::test]
async fn a_frozen_server_costs_one_timeout_and_is_connected_anew() {
    let mut sshd = Sshd::start();
    let daemon = Echo::pinging();
    let timeouts = SshTimeouts {
        connect: Duration::from_millis(800),
        open: Duration::from_millis(400),
        timing: Timing { answer: Duration::from_millis(400), ..TIMEOUTS.timing },
    };
    let dialer = SshDialer::with(endpoint(&sshd, daemon.socket(), None), sshd.client().environment(), timeouts);
    ping(&mut dialer.dial().await.unwrap()).await;
    sshd.freeze();
    let started = Instant::now();
    let error = failure(&dialer).await;
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    sshd.restart();
    let started = Instant::now();
    while dialer.dial().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_no_ssh_server_is_said_to_be_none() {
    let sshd = Sshd::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let mut endpoint = endpoint(&sshd, Path::new("/nowhere"), None);
    endpoint.target.port = Some(port);
    let error = failure(&dialer_of(sshd.client(), endpoint)).await;
    assert!(error.message.contains("closed the connection") && error.message.contains("no SSH server"), "{error}");
}

#[tokio::test]
async fn the_endpoint_is_shown_as_it_was_written() {
    let sshd = Sshd::start();
    let mut endpoint = endpoint(&sshd, Path::new("/run/docker.sock"), None);
    endpoint.target.user = Some("deploy".to_owned());
    let dialer = dialer_of(sshd.client(), endpoint);
    assert_eq!(dialer.endpoint(), format!("ssh://deploy@127.0.0.1:{}/run/docker.sock", sshd.port()));
}

/// More at once than sshd allows sessions (`MaxSessions`, 10 by default): the others wait for their turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_over_dial_stdio_than_sessions_wait_for_their_turn() {
    let sshd = Sshd::builder().option("AllowStreamLocalForwarding no").start();
    let daemon = Echo::pinging();
    install_docker(&sshd, daemon.socket());
    let dialer = dialer(&sshd, daemon.socket());
    drop(dialer.dial().await.unwrap());
    let pings = (0..40).map(|_| async {
        let mut stream = dialer.dial().await.unwrap();
        ping(&mut stream).await;
    });
    futures::future::join_all(pings).await;
    assert_eq!(sshd.connections(), 1);
}
