//! Why an operation is in the plan.

use serde::{Deserialize, Serialize};

/// Why an operation is in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// No network of that destination exists.
    NetworkMissing,
    /// An immutable field differs and `replacement` allows to replace it.
    NetworkReplaced,
    /// An adopted network is made anew as Landfall's own.
    OwnershipTaken,
    /// The proxy does not notice by itself that a member is reachable at another address.
    ProxyStale,
    /// The proxy is not on an active destination's network.
    ProxyDetached,
    /// The proxy is on the network of a destination that is deactivated or asks for no proxy.
    ProxyUnwanted,
    /// A declared member is not on the network.
    MemberDetached,
    /// The endpoint lacks something that is declared, or has something that Landfall put there and that no longer is.
    EndpointDiffers,
    /// The daemon gave the endpoint an address that is declared for another member.
    AddressReserved,
    /// The container is pinned to a network that no longer exists.
    EndpointStale,
    /// An undeclared container on an exclusive destination.
    MembershipExclusive,
    /// Landfall connected it for a resource that is no longer declared.
    MemberUndeclared,
    /// Landfall connected it for a resource that another container serves for by now.
    MemberReplaced,
    /// Landfall connected it for a resource that is declared elsewhere by now, where it is connected.
    MemberMoved,
    /// The destination is deactivated.
    Deactivated,
    /// The destination is active again, and Landfall had stopped the container.
    Activated,
    /// The container ended because its network or its attachment was missing, and the manifest wants it started once that is repaired.
    StartAfterRepair,
    /// `delete` names the object.
    DeletionRequested,
    /// The destination has another network of the same name; nobody is on this one.
    NetworkDuplicate,
    /// The set owns the network and no manifest declares it any more.
    Undeclared,
    /// No container of the replica exists.
    WorkloadMissing,
    /// The container is not as the manifest says.
    WorkloadDiffers,
    /// The container is as declared, and does not run.
    WorkloadStopped,
    /// The image that the reference stands for is another one now.
    ImageMoved,
    /// More replicas run than are declared.
    ReplicaSurplus,
    /// An interrupted replacement left the container disconnected.
    JournalRestore,
    /// A failed operation of the group is being undone.
    Rollback,
}
