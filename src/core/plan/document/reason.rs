//! Why something is not done.

use serde::{Deserialize, Serialize};

use crate::core::observed::UnobservedReason;

/// Why something is not done. The words are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    ResourcesRemain,
    AdoptionRequired,
    OwnershipConflict,
    ImmutableField,
    NameAmbiguous,
    WrongScope,
    NotASwarmManager,
    ServerUnreachable,
    PermissionDenied,
    NetworkInUse,
    NetworkNotFound,
    /// An adopted network does not exist, and what made it has to bring it back.
    NetworkMissing,
    /// The proxy could not be made to look again.
    ProxyStale,
    AddressPoolExhausted,
    /// Few addresses of a network are left, or few ranges of a pool.
    AddressesLow,
    SubnetOverlap,
    HostKeyMismatch,
    MassDeletionRefused,
    ContainerMissing,
    MembershipForeign,
    ManifestInvalid,
    /// What an interrupted change has left behind is on record and cannot be read.
    JournalUnreadable,
    /// A pass ended before anything was known.
    PassFailed,
    /// `suspend: true` on the object or its server.
    Suspended,
    /// Declared by no manifest; reported, never touched.
    Undeclared,
    /// `deletionPolicy: Orphan`, or an adopted network: forgotten, not removed.
    Orphaned,
    /// One alias, two members: whoever asks for it gets either.
    AliasTakenTwice,
    /// A static address that lies outside of the network's subnets.
    AddressUnavailable,
    /// A static address that another container holds.
    AddressTaken,
    /// A name that something else has: the bridge of another network.
    NameTaken,
    /// Something else keeps undoing what the controller repairs.
    Contended,
    /// The settings of an endpoint are not in the observation. They are never guessed, so it is not reconnected.
    EndpointUnknown,
    /// The container is not running, and starting it is not Landfall's to decide.
    LeftStopped,
    /// The engine did not give an endpoint the settings it was asked for.
    EndpointDiffers,
    /// Connecting a container moves its default route to the network, and the engine cannot be told otherwise.
    DefaultRouteMoves,
    /// `insecure: true`: the server is reached without encryption and without authentication.
    InsecureTransport,
    /// No registry gives the image.
    ImageUnavailable,
    /// A new container did not become healthy.
    HealthCheckFailed,
    /// A port of the server that something else has.
    PortTaken,
    /// The data on a volume cannot be used as declared.
    DataIncompatible,
    /// The declared volume is another than the one with the data.
    VolumeChanged,
    /// A backup that has to be there first is not.
    BackupFailed,
    /// The volume is being filled with a copy.
    VolumeIncomplete,
    /// A value that comes from elsewhere is not there.
    SecretMissing,
    /// A job before a rollout failed.
    HookFailed,
    /// The proxy reads no labels, or there is none.
    ProxyUnsupported,
    /// A rollout that cannot be had without failed requests.
    RolloutInterrupts,
    /// A stack file does not name the network that Landfall puts its service on.
    StackFileLacks,
    /// Fewer tasks of a Swarm service run than should.
    TasksNotRunning,
    /// A container ends again and again, and the daemon starts it again.
    Restarting,
    /// The Swarm lets no container of the node onto its networks: the node is drained or paused.
    NodeUnavailable,
    /// The server has left its Swarm, or says so for a moment: what was an overlay waits.
    RoleChanged,
    /// The Swarm is replacing the tasks of the service, or has paused in that: nothing about it is changed.
    RolloutInProgress,
    /// An update of a Swarm service takes the place of what could be rolled back to.
    RollbackChanges,
    /// Docker Compose, or for a Swarm the Docker CLI, is not installed where Landfall runs.
    ComposeMissing,
    /// A compose file that cannot be brought up as it is, or that says something which has no effect.
    ComposeInvalid,
    /// Networks of a compose file that the proxy or others cannot reach.
    ComposeNetworks,
}

impl From<UnobservedReason> for Reason {
    fn from(reason: UnobservedReason) -> Self {
        match reason {
            UnobservedReason::ServerUnreachable => Reason::ServerUnreachable,
            UnobservedReason::PermissionDenied => Reason::PermissionDenied,
            UnobservedReason::HostKeyMismatch => Reason::HostKeyMismatch,
            UnobservedReason::PassFailed => Reason::PassFailed,
        }
    }
}
