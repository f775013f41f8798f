//! Ways to reach a Docker Engine.
//!
//! A transport is anything that opens byte streams to the daemon: a [`Dialer`]. What is spoken over them, how they are pooled
//! and how calls are bounded in time is the same for all and lives in `engine::transport`.

pub mod context;
mod local;
pub mod ssh;
mod tcp;
mod tls;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use context::{ContextEnvironment, ContextTarget};
pub use local::UnixDialer;
pub use ssh::{SshDialer, SshEndpoint};
pub use tcp::TcpDialer;
pub use tls::{TlsDialer, TlsMaterial};

use super::fence::Fence;
use super::{DockerReader, DockerWriter, EngineError, EngineErrorKind, RequestCounter};
use crate::core::api::SshSpec;
use crate::core::desired::{DesiredServer, Endpoint, TcpSecurity};
use crate::core::observed::{AddressOf, OwnAddress};

/// Opens byte streams to one daemon. Nothing is opened before the first call; a dialer is dialled again whenever the pool wants
/// another connection, and after a connection broke.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Opens one more stream.
    async fn dial(&self) -> Result<BoxedStream, DialError>;

    /// The same, for a stream that must not be heard of once it is closed: what was not delivered by then is thrown away, where the transport can.
    async fn dial_abrupt(&self) -> Result<BoxedStream, DialError> {
        self.dial().await
    }

    /// The endpoint for messages, as the user wrote it: `unix:///var/run/docker.sock`.
    fn endpoint(&self) -> String;

    /// For how long a stream that is not used is kept. Shorter than what daemons and SSH servers grant an idle connection.
    fn idle_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// The ends of the connection that was made last, as far as they are known.
    fn addresses(&self) -> Vec<OwnAddress> {
        Vec::new()
    }

    /// Something about the way taken that `describe server` should say.
    fn note(&self) -> Option<String> {
        None
    }
}

/// A connected byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for T {}

pub type BoxedStream = Box<dyn ByteStream>;

/// The ends of the connection that was made last.
#[derive(Debug, Clone, Default)]
struct Ends(Arc<Mutex<Vec<OwnAddress>>>);

impl Ends {
    fn of(stream: &TcpStream) -> Vec<OwnAddress> {
        let ends = [(stream.peer_addr(), AddressOf::Server), (stream.local_addr(), AddressOf::Client)];
        ends.into_iter().filter_map(|(address, of)| OwnAddress::new(address.ok()?.ip(), of)).collect()
    }

    fn keep(&self, ends: Vec<OwnAddress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    fn kept(&self) -> Vec<OwnAddress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A stream that could not be opened: why, and what the user can try.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct DialError {
    pub kind: EngineErrorKind,
    pub message: String,
    pub hint: Option<String>,
}

/// How calls are made, whatever the transport.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Bound on opening a stream and on every call that only reads.
    pub read_timeout: Duration,
    /// Bound on every call that changes something, but for stopping a container, which takes as long as the container's own stop timeout.
    pub write_timeout: Duration,
    /// Counts the requests of everything that is made with these options.
    pub requests: Arc<RequestCounter>,
    /// Where others may change the server as well: until when this process may.
    pub fence: Option<Fence>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(120),
            requests: Arc::default(),
            fence: None,
        }
    }
}

/// A client that looks at the server and cannot change it. Opens nothing yet.
pub fn reader(server: &DesiredServer, options: &ConnectOptions) -> Result<DockerReader, EngineError> {
    Ok(DockerReader::new(&server.key.path(), dialer(server)?, options))
}

/// A client that looks at the server and changes it. Opens nothing yet.
pub fn writer(server: &DesiredServer, options: &ConnectOptions) -> Result<DockerWriter, EngineError> {
    Ok(DockerWriter::new(&server.key.path(), dialer(server)?, options))
}

fn dialer(server: &DesiredServer) -> Result<Arc<dyn Dialer>, EngineError> {
    match &server.endpoint {
        Endpoint::Unix { path } => Ok(Arc::new(UnixDialer::new(path))),
        Endpoint::Tcp { host, port, security: TcpSecurity::Plain } => Ok(Arc::new(TcpDialer::new(host, *port))),
        Endpoint::Tcp { host, port, security: TcpSecurity::Tls(tls) } => {
            Ok(Arc::new(TlsDialer::new(host, *port, tls.into())))
        }
        Endpoint::Ssh { user, host, port, socket, settings } => {
            Ok(SshDialer::shared(ssh_endpoint(user.as_deref(), host, *port, socket.as_deref(), settings.as_ref())))
        }
        Endpoint::Context { name } => {
            let target = context::resolve(name, &ContextEnvironment::of_process());
            Ok(match target.map_err(|error| unresolved(server, name, error))? {
                ContextTarget::Unix { path } => Arc::new(UnixDialer::new(path)),
                ContextTarget::Tls { host, port, material } => Arc::new(TlsDialer::new(host, port, material)),
                ContextTarget::Ssh(endpoint) => SshDialer::shared(endpoint),
            })
        }
    }
}

fn ssh_endpoint(
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    socket: Option<&str>,
    settings: Option<&SshSpec>,
) -> SshEndpoint {
    let host = host.trim_matches(['[', ']']).to_owned();
    SshEndpoint {
        target: ssh::Target { user: user.map(str::to_owned), host, port },
        socket: socket.map(str::to_owned),
        settings: settings.cloned(),
    }
}

/// Something about the way to the server that is worth saying, once this process has been there.
pub fn note(server: &DesiredServer) -> Option<String> {
    match &server.endpoint {
        Endpoint::Ssh { user, host, port, socket, settings } => {
            SshDialer::note_of(&ssh_endpoint(user.as_deref(), host, *port, socket.as_deref(), settings.as_ref()))
        }
        Endpoint::Context { name } => match context::resolve(name, &ContextEnvironment::of_process()) {
            Ok(ContextTarget::Ssh(endpoint)) => SshDialer::note_of(&endpoint),
            _ => None,
        },
        Endpoint::Unix { .. } | Endpoint::Tcp { .. } => None,
    }
}

fn unresolved(server: &DesiredServer, context: &str, error: DialError) -> EngineError {
    let DialError { kind, message, hint } = error;
    EngineError { kind, attempted: format!("looking up context://{context} for {}", server.key.path()), message, hint }
}

/// `~` as in manifests: the home directory of the user that runs Landfall.
fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}
