//! The plan as text: one line per operation with its cause, in a form for people and for literals in tests.
//!
//! ```text
//! default/edge-1
//!   + create network web-net for Destination/shop/web (NetworkMissing)
//!   + connect traefik to web-net for Destination/shop/web (ProxyDetached)
//!   ! refused Destination/shop/old: You must delete all resources before deleting this destination. (ResourcesRemain)
//!       Container db-1, exited
//!       hint: …
//! ```

use std::fmt;

use super::call::{Call, NetworkChange};
use super::cause::Cause;
use super::note::{Blocker, BlockerKind, Note, NoteKind};
use super::plan::{Plan, ServerPlan};
use super::reason::Reason;
use super::step::Operation;

/// Words that are part of the contract: as in the JSON document.
macro_rules! words {
    ($name:ident { $($variant:ident),* $(,)? }) => {
        impl $name {
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => stringify!($variant),)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words!(Cause {
    NetworkMissing,
    NetworkReplaced,
    OwnershipTaken,
    ProxyStale,
    NetworkDuplicate,
    ProxyDetached,
    ProxyUnwanted,
    MemberDetached,
    EndpointDiffers,
    AddressReserved,
    EndpointStale,
    MembershipExclusive,
    MemberUndeclared,
    MemberReplaced,
    MemberMoved,
    Deactivated,
    Activated,
    StartAfterRepair,
    DeletionRequested,
    Undeclared,
    WorkloadMissing,
    WorkloadDiffers,
    WorkloadStopped,
    ImageMoved,
    ReplicaSurplus,
    JournalRestore,
    Rollback,
});
words!(NoteKind { Refused, Waiting, Unmanaged, Suspended, Warning });
words!(Reason {
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
    NetworkMissing,
    ProxyStale,
    AddressPoolExhausted,
    AddressesLow,
    SubnetOverlap,
    HostKeyMismatch,
    MassDeletionRefused,
    ContainerMissing,
    MembershipForeign,
    ManifestInvalid,
    Suspended,
    Undeclared,
    Orphaned,
    AliasTakenTwice,
    AddressUnavailable,
    AddressTaken,
    NameTaken,
    Contended,
    JournalUnreadable,
    PassFailed,
    EndpointUnknown,
    LeftStopped,
    EndpointDiffers,
    DefaultRouteMoves,
    InsecureTransport,
    ImageUnavailable,
    HealthCheckFailed,
    PortTaken,
    DataIncompatible,
    VolumeChanged,
    BackupFailed,
    VolumeIncomplete,
    SecretMissing,
    HookFailed,
    ProxyUnsupported,
    RolloutInterrupts,
    StackFileLacks,
    TasksNotRunning,
    Restarting,
    NodeUnavailable,
    RoleChanged,
    RolloutInProgress,
    RollbackChanges,
    ComposeMissing,
    ComposeInvalid,
    ComposeNetworks,
});
words!(BlockerKind { Destination, Application, Database, Service, Container, SwarmService, SwarmTask });

impl Cause {
    /// The cause as a clause, for people: "it does not exist".
    pub fn explain(self) -> &'static str {
        match self {
            Cause::NetworkMissing => "no network of the destination exists",
            Cause::NetworkReplaced => "a field that Docker cannot change differs",
            Cause::ProxyStale => "it does not notice by itself that a member was connected",
            Cause::OwnershipTaken => "it is adopted, and is to be Landfall's own",
            Cause::NetworkDuplicate => {
                "the destination has another network of the same name, and no container is on this one"
            }
            Cause::ProxyDetached => "the proxy is not on the network",
            Cause::ProxyUnwanted => "the destination is deactivated or asks for no proxy",
            Cause::MemberDetached => "the member is not on the network",
            Cause::EndpointDiffers => {
                "the endpoint lacks something that is declared, or has something of Landfall's that no longer is"
            }
            Cause::AddressReserved => "its address is declared for another member",
            Cause::EndpointStale => "the container is pinned to a network that no longer exists",
            Cause::MembershipExclusive => "no resource declares it, and membership is exclusive",
            Cause::MemberUndeclared => "Landfall connected it for a resource that is no longer declared",
            Cause::MemberReplaced => "another container serves in its place, running and connected",
            Cause::MemberMoved => "its resource is declared elsewhere, and it is connected there",
            Cause::Deactivated => "the destination is deactivated",
            Cause::Activated => "the destination is active again, and Landfall had stopped it",
            Cause::StartAfterRepair => "it ended for want of its network, which is repaired",
            Cause::DeletionRequested => "its deletion was requested",
            Cause::Undeclared => "the set owns it and no manifest declares it any more",
            Cause::WorkloadMissing => "no container of the replica exists",
            Cause::WorkloadDiffers => "the container is not as the manifest says",
            Cause::WorkloadStopped => "the container does not run",
            Cause::ImageMoved => "the image that is declared is another one now",
            Cause::ReplicaSurplus => "more replicas run than are declared",
            Cause::JournalRestore => "an interrupted change left it disconnected",
            Cause::Rollback => "an operation after it failed",
        }
    }
}

impl Call {
    /// The network that the call concerns; `None` where it concerns none, or several.
    pub fn network(&self) -> Option<&str> {
        match self {
            Call::CreateNetwork(create) => Some(&create.name),
            Call::ConnectEndpoint { network, .. }
            | Call::DisconnectEndpoint { network, .. }
            | Call::RemoveNetwork { network } => Some(&network.name),
            Call::UpdateService { changes, .. } => match changes.as_slice() {
                [change] => Some(&change.network.name),
                _ => None,
            },
            Call::Workload(call) => call.network().map(|network| network.name.as_str()),
            Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::RefreshProxy { .. }
            | Call::ScaleService { .. } => None,
        }
    }

    /// The container that the call concerns.
    pub fn container(&self) -> Option<&str> {
        match self {
            Call::Workload(call) => call.container(),
            Call::RefreshProxy { proxy, .. } => Some(&proxy.name),
            _ => self.container_target().map(|container| container.name.as_str()),
        }
    }

    /// The Swarm service that the call concerns.
    pub fn service(&self) -> Option<&str> {
        match self {
            Call::UpdateService { service, .. } | Call::ScaleService { service, .. } => Some(&service.name),
            Call::CreateNetwork(_)
            | Call::ConnectEndpoint { .. }
            | Call::DisconnectEndpoint { .. }
            | Call::RemoveNetwork { .. }
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::RefreshProxy { .. } => None,
            Call::Workload(call) => call.service(),
        }
    }

    /// `+` for what is added, `-` for what goes.
    pub fn sign(&self) -> char {
        match self {
            Call::CreateNetwork(_) | Call::ConnectEndpoint { .. } | Call::StartContainer { .. } => '+',
            Call::DisconnectEndpoint { .. }
            | Call::RemoveNetwork { .. }
            | Call::StopContainer { .. }
            | Call::ScaleService { replicas: 0, .. } => '-',
            Call::UpdateService { changes, .. } if changes.iter().any(|change| change.attachment.is_some()) => '+',
            Call::UpdateService { .. } => '-',
            Call::ScaleService { .. } => '+',
            Call::RefreshProxy { .. } => '~',
            Call::Workload(call) => call.sign(),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::CreateNetwork(create) => {
                write!(f, "create network {}", create.name)?;
                let mut details: Vec<String> = Vec::new();
                if create.driver != "bridge" {
                    details.push(create.driver.clone());
                }
                details.extend(create.subnets.iter().map(|subnet| subnet.subnet.clone()));
                if !details.is_empty() {
                    write!(f, " ({})", details.join(", "))?;
                }
                Ok(())
            }
            Call::ConnectEndpoint { network, container, settings, reserved: _ } => {
                write!(f, "connect {} to {}", container.name, network.name)?;
                let names = settings.aliases.iter().chain(&settings.ipv4_address).chain(&settings.ipv6_address);
                let names: Vec<&str> = names.map(String::as_str).collect();
                if !names.is_empty() {
                    write!(f, " as {}", names.join(", "))?;
                }
                Ok(())
            }
            Call::DisconnectEndpoint { network, container, force } => {
                let forced = if *force { " by force" } else { "" };
                write!(f, "disconnect {} from {}{forced}", container.name, network.name)
            }
            Call::RemoveNetwork { network } => write!(f, "remove network {}", network.name),
            Call::StartContainer { container } => write!(f, "start {}", container.name),
            Call::StopContainer { container } => write!(f, "stop {}", container.name),
            Call::Workload(call) => call.fmt(f),
            Call::RefreshProxy { proxy, .. } => write!(f, "have {} look again", proxy.name),
            Call::ScaleService { service, replicas } => {
                let noun = if *replicas == 1 { "replica" } else { "replicas" };
                write!(f, "scale service {} to {replicas} {noun}", service.name)
            }
            Call::UpdateService { service, changes } => {
                write!(f, "update service {}:", service.name)?;
                for (at, NetworkChange { network, attachment, .. }) in changes.iter().enumerate() {
                    let and = if at == 0 { "" } else { ";" };
                    match attachment {
                        None => write!(f, "{and} remove network {}", network.name)?,
                        Some(attachment) => {
                            write!(f, "{and} add network {}", network.name)?;
                            if !attachment.aliases.is_empty() {
                                write!(f, " as {}", attachment.aliases.join(", "))?;
                            }
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

impl Operation {
    /// For which objects, and why: `for Destination/shop/web (ProxyDetached)`.
    pub fn purpose(&self) -> String {
        let mut causes: Vec<(Cause, Vec<String>)> = Vec::new();
        for part in self.parts() {
            let object = part.object.to_string();
            match causes.iter_mut().find(|(cause, _)| *cause == part.cause) {
                Some((_, objects)) if objects.contains(&object) => {}
                Some((_, objects)) => objects.push(object),
                None => causes.push((part.cause, vec![object])),
            }
        }
        let causes = causes.into_iter().map(|(cause, objects)| format!("{} ({cause})", objects.join(", ")));
        format!("for {}", causes.collect::<Vec<_>>().join(", "))
    }
}

/// One line: `+ connect traefik to web-net for Destination/shop/web (ProxyDetached)`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.call.sign(), self.call, self.purpose())?;
        if self.disruptive { f.write_str(", disruptive") } else { Ok(()) }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.kind, self.name, self.state)?;
        self.server.as_ref().map_or(Ok(()), |server| write!(f, ", on {server}"))
    }
}

/// The first line says it; blockers and the hint follow, indented by four.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, word) = match self.kind {
            NoteKind::Refused => ('!', "refused"),
            NoteKind::Waiting => ('?', "waiting"),
            NoteKind::Unmanaged => ('.', "unmanaged"),
            NoteKind::Suspended => ('.', "suspended"),
            NoteKind::Warning => ('*', "warning"),
        };
        write!(f, "{sign} {word} {}: {} ({})", self.object, self.message, self.reason)?;
        for blocker in &self.blockers {
            write!(f, "\n    {blocker}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

/// The server's name, then operations, then notes, indented by two. Nothing where there is nothing to say.
impl fmt::Display for ServerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations = self.groups.iter().flat_map(|group| &group.operations).map(|operation| match self.manager() {
            Some(manager) if operation.call.is_for_manager() => format!("{operation}, by way of {}", manager.path()),
            _ => operation.to_string(),
        });
        let mut lines = operations.chain(self.notes.iter().map(ToString::to_string)).peekable();
        if lines.peek().is_some() {
            writeln!(f, "{}", self.server.path())?;
        }
        for line in lines.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// Servers in their order, and what concerns none of them last.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            write!(f, "{server}")?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}
