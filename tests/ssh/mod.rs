//! SSH against a real sshd: the multiplexer, host keys, authentication, and the ways to the daemon.

mod auth;
mod host_keys;
mod memory;
mod mux;
mod transport;

use std::path::{Path, PathBuf};
use std::time::Duration;

use landfall::core::api::SshSpec;
use landfall::shell::engine::connect::DialError;
use landfall::shell::engine::connect::ssh::{Destination, Mux, SshDialer, SshEndpoint, SshTimeouts, Target, Timing};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::support::sshd::{Client, Sshd};

/// Short bounds where a test waits for them, long enough for a busy machine elsewhere.
pub(crate) const TIMEOUTS: SshTimeouts = SshTimeouts {
    connect: Duration::from_secs(20),
    open: Duration::from_secs(10),
    timing: Timing { keepalive: Duration::from_secs(15), answer: Duration::from_secs(10) },
};

/// The endpoint of a server as a manifest would name it, with the settings that a manifest would have.
pub(crate) fn endpoint(sshd: &Sshd, socket: &Path, settings: Option<SshSpec>) -> SshEndpoint {
    SshEndpoint {
        target: Target { user: None, host: "127.0.0.1".to_owned(), port: Some(sshd.port()) },
        socket: Some(socket.display().to_string()),
        settings,
    }
}

pub(crate) fn no_settings() -> SshSpec {
    SshSpec { identity_file: None, passphrase_file: None, passphrase_env: None, host_key: None, known_hosts: None }
}

pub(crate) fn dialer(sshd: &Sshd, socket: &Path) -> SshDialer {
    dialer_of(sshd.client(), endpoint(sshd, socket, None))
}

pub(crate) fn dialer_of(client: &Client, endpoint: SshEndpoint) -> SshDialer {
    SshDialer::with(endpoint, client.environment(), TIMEOUTS)
}

pub(crate) fn dialer_with(sshd: &Sshd, settings: SshSpec) -> SshDialer {
    dialer_of(sshd.client(), endpoint(sshd, Path::new("/nowhere"), Some(settings)))
}

/// Why there is no session.
pub(crate) async fn refusal(dialer: &SshDialer) -> DialError {
    match dialer.session().await {
        Ok(_) => panic!("a session was made"),
        Err(error) => error,
    }
}

pub(crate) fn to(socket: &Path) -> Destination {
    Destination::Socket(socket.display().to_string())
}

/// A socket of the far side on which every byte comes back. Dropping it ends it.
pub(crate) struct Echo {
    socket: PathBuf,
    task: tokio::task::JoinHandle<()>,
    _directory: TempDir,
}

impl Echo {
    pub(crate) fn start() -> Self {
        Self::serve(|mut stream| async move {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        })
    }

    /// Runs `answer` on every connection.
    pub(crate) fn serve<F>(answer: impl Fn(UnixStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let directory = tempfile::Builder::new().prefix("landfall-echo-").tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream));
            }
        });
        Self { socket, task, _directory: directory }
    }

    /// Just enough HTTP for `GET /_ping`, again and again on one connection.
    pub(crate) fn pinging() -> Self {
        Self::serve(|mut stream| async move {
            let mut seen = Vec::new();
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                seen.extend_from_slice(&buffer[..count]);
                if seen.ends_with(b"\r\n\r\n") {
                    let close = String::from_utf8_lossy(&seen).contains("Connection: close");
                    seen.clear();
                    let answered = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await;
                    if answered.is_err() || close {
                        break;
                    }
                }
            }
        })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request and its answer over any stream.
pub(crate) async fn ping(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nOK") {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the stream ended after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(answer).unwrap()
}

/// Waits until a condition holds, without a clock of its own.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited too long until {what}");
}

/// No stream is left open, in libssh2 included.
pub(crate) async fn until_no_streams(mux: &Mux) {
    until("every stream is closed", || mux.open_streams() == 0).await;
}
