//! What goes wrong at an engine, classified by operation, status and message: the status alone misleads.

use thiserror::Error;

/// A call to an engine that did not succeed.
#[derive(Debug, Error)]
#[error("{attempted}: {message}")]
pub struct EngineError {
    pub kind: EngineErrorKind,
    /// What was being done, such as `creating network "web-net"`.
    pub attempted: String,
    /// What the daemon or the transport said.
    pub message: String,
    /// What the user can try next.
    pub hint: Option<String>,
}

impl EngineError {
    /// An engine that has no such call.
    pub(crate) fn unsupported(attempted: &str) -> Self {
        let message = "this engine has no such call".to_owned();
        Self { kind: EngineErrorKind::Other, attempted: attempted.to_owned(), message, hint: None }
    }

    /// The task for which a Swarm holds a network that is to be removed.
    pub fn holding_task(&self) -> Option<&str> {
        let (_, rest) = self.message.split_once("in use by task ")?;
        let id = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        (!id.is_empty()).then_some(id)
    }
}

/// What to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineErrorKind {
    /// No answer: the socket is missing, refused, timed out or broke. For a mutation the outcome is unknown.
    Unreachable,
    /// The socket or the daemon denies access.
    PermissionDenied,
    /// The SSH host key is unknown or another one.
    HostKeyMismatch,
    /// The daemon speaks an API that is too old.
    TooOld,
    /// The daemon speaks no API as old as the newest that is known here.
    TooNew,
    NotFound,
    /// A name matches more than one network.
    Ambiguous,
    /// The container is connected already.
    AlreadyConnected,
    /// The container is not connected.
    NotConnected,
    /// The network has active endpoints.
    NetworkInUse,
    /// A network of that name exists already (engines from API 1.44).
    NameTaken,
    AddressPoolExhausted,
    SubnetOverlap,
    /// A port of the server that something else has.
    PortTaken,
    /// No registry gives the image, or none with the credentials that there are.
    ImageUnavailable,
    /// The static address is outside of the network's subnets.
    AddressUnavailable,
    /// Another endpoint has the static address, or the network itself.
    AddressTaken,
    /// Another network has the name of the bridge, or another interface.
    BridgeNameTaken,
    NotASwarmManager,
    /// The Swarm is replacing the service's tasks.
    RolloutInProgress,
    /// Predefined networks, host-mode containers, wrong scope: the daemon will not do it whatever we try.
    Forbidden,
    /// An answer that cannot be read.
    Protocol,
    /// Anything else the daemon reports.
    Other,
}
