//! Ways to reach a Docker Engine.
//!
//! A transport is anything that opens byte streams to the daemon: a [`Dialer`]. What is spoken over them, how they are pooled
//! and how calls are bounded in time is the same for all and lives in `engine::transport`.

mod local;
mod tcp;

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

pub use local::UnixDialer;
pub use tcp::TcpDialer;

use super::EngineErrorKind;
use crate::desired::{DesiredServer, Endpoint, TcpSecurity};

/// Opens byte streams to one daemon. Nothing is opened before the first call; a dialer is dialled again whenever the pool wants
/// another connection, and after a connection broke.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Opens one more stream.
    async fn dial(&self) -> Result<BoxedStream, DialError>;

    /// The endpoint for messages, as the user wrote it: `unix:///var/run/docker.sock`.
    fn endpoint(&self) -> String;
}

/// A connected byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for T {}

pub type BoxedStream = Box<dyn ByteStream>;

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
    /// Bound on every call that changes something. Stopping a container takes as long as the container's own stop timeout.
    pub write_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { read_timeout: Duration::from_secs(10), write_timeout: Duration::from_secs(120) }
    }
}

/// The way to the server that its manifest names.
pub fn dialer(server: &DesiredServer) -> Result<Box<dyn Dialer>, DialError> {
    match &server.endpoint {
        Endpoint::Unix { path } => Ok(Box::new(UnixDialer::new(path))),
        Endpoint::Tcp { host, port, security: TcpSecurity::Plain } => Ok(Box::new(TcpDialer::new(host, *port))),
        Endpoint::Tcp { security: TcpSecurity::Tls(_), .. } => Err(unsupported("tcp:// endpoints with TLS")),
        Endpoint::Ssh { .. } => Err(unsupported("ssh:// endpoints")),
        Endpoint::Context { .. } => Err(unsupported("context:// endpoints")),
    }
}

fn unsupported(what: &str) -> DialError {
    DialError {
        kind: EngineErrorKind::Unreachable,
        message: format!("{what} are not supported by this version"),
        hint: Some("declare a unix:// endpoint and run Landfall on the server itself".to_owned()),
    }
}
