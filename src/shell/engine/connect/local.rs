//! `unix://`: the daemon of this machine.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UnixStream;

use super::{BoxedStream, DialError, Dialer};
use crate::shell::engine::EngineErrorKind;

/// Opens streams to a Unix socket.
#[derive(Debug, Clone)]
pub struct UnixDialer {
    path: String,
}

impl UnixDialer {
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }

    fn explain(&self, error: &Error) -> DialError {
        let path = &self.path;
        let (kind, message, hint) = match error.kind() {
            ErrorKind::NotFound => (
                EngineErrorKind::Unreachable,
                format!("there is no socket at {path}"),
                "is Docker installed and running? Try `systemctl start docker`, or correct the server's `spec.endpoint`",
            ),
            ErrorKind::ConnectionRefused => (
                EngineErrorKind::Unreachable,
                format!("no daemon listens on {path}"),
                "the socket is there but the daemon is not. Try `systemctl restart docker` and `journalctl -u docker`",
            ),
            ErrorKind::PermissionDenied => (
                EngineErrorKind::PermissionDenied,
                format!("permission denied on {path}"),
                "run Landfall as root or as a member of the socket's group (`usermod -aG docker USER`, then log in again)",
            ),
            _ => (
                EngineErrorKind::Unreachable,
                format!("{path} cannot be opened: {error}"),
                "check that the server's `spec.endpoint` names the daemon's socket",
            ),
        };
        DialError { kind, message, hint: Some(hint.to_owned()) }
    }
}

#[async_trait]
impl Dialer for UnixDialer {
    async fn dial(&self) -> Result<BoxedStream, DialError> {
        match UnixStream::connect(&self.path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.path)
    }

    /// Opening another one costs nothing, and keeping one costs 25 kB: the buffers of HTTP.
    fn idle_timeout(&self) -> Duration {
        Duration::from_secs(3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn failure(path: &str) -> DialError {
        match UnixDialer::new(path).dial().await {
            Ok(_) => panic!("{path} answers"),
            Err(error) => error,
        }
    }

    #[tokio::test]
    async fn a_missing_socket_asks_whether_docker_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let error = failure(&path.display().to_string()).await;
        assert_eq!(error.kind, EngineErrorKind::Unreachable);
        assert_eq!(error.message, format!("there is no socket at {}", path.display()));
        assert!(error.hint.unwrap().contains("systemctl start docker"));
    }

    #[tokio::test]
    async fn a_socket_without_a_listener_is_told_from_a_missing_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = failure(&path.display().to_string()).await;
        assert_eq!(error.kind, EngineErrorKind::Unreachable);
        assert_eq!(error.message, format!("no daemon listens on {}", path.display()));
    }

    #[test]
    fn permission_denied_names_the_group() {
        let error = UnixDialer::new("/var/run/docker.sock").explain(&Error::from(ErrorKind::PermissionDenied));
        assert_eq!(error.kind, EngineErrorKind::PermissionDenied);
        assert!(error.hint.unwrap().contains("usermod -aG docker"));
    }
}
