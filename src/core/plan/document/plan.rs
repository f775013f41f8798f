//! The plan as a document: operations with their causes, and notes on what is not done and why.

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::journal::Journal;
use super::note::Note;
use super::step::Group;
use super::withheld::Withheld;
use crate::core::api::{DestinationType, ObjectKey};

/// What to do on all servers, in a stable order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub set: String,
    /// In the order of their keys.
    pub servers: Vec<ServerPlan>,
    /// Notes that concern no single server.
    pub notes: Vec<Note>,
}

/// One server's part of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerPlan {
    pub server: ObjectKey,
    /// `None`: the server could not be observed, and `groups` is empty.
    pub server_type: Option<ServerType>,
    /// The Swarm that it is part of. `None` where it is part of none, or where no manager of it could be asked.
    pub swarm: Option<Cluster>,
    /// In an order in which they can be executed; which of them wait for which is what `order::waits` says. A failure within a group skips the rest of
    /// that group, and later operations on a network it was to create.
    pub groups: Vec<Group>,
    /// Journals that have nothing left to restore: their files go.
    pub settled: Vec<Journal>,
    /// What is not deleted because nobody has agreed to it.
    pub withheld: Option<Withheld>,
    pub notes: Vec<Note>,
}

impl ServerPlan {
    /// Another server whose daemon gets the calls that are for a manager.
    pub fn manager(&self) -> Option<&ObjectKey> {
        self.swarm.as_ref().map(|swarm| &swarm.manager).filter(|manager| **manager != self.server)
    }
}

/// The Swarm that a server is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The server whose daemon lists the Swarm's networks and gets the calls that are for a manager: the server itself if it is one.
    pub manager: ObjectKey,
    /// Other declared servers that are part of it, in order. Their containers may be on its networks.
    pub nodes: Vec<ObjectKey>,
}

/// What the daemon says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerType {
    Standalone,
    Manager,
    Worker,
    /// On its way into a Swarm.
    Pending,
    /// A manager that nobody has unlocked since it started.
    Locked,
    /// A manager of a Swarm that has lost too many of its managers.
    Leaderless,
    /// Of a Swarm that does not work.
    Error,
}

impl ServerType {
    pub fn destination_type(self) -> DestinationType {
        match self {
            ServerType::Standalone => DestinationType::Standalone,
            ServerType::Manager
            | ServerType::Worker
            | ServerType::Pending
            | ServerType::Locked
            | ServerType::Leaderless
            | ServerType::Error => DestinationType::Swarm,
        }
    }

    /// As people call it.
    pub fn describe(self) -> &'static str {
        match self {
            ServerType::Standalone => "standalone",
            ServerType::Manager => "Swarm manager",
            ServerType::Worker => "Swarm worker",
            ServerType::Pending => "joining a Swarm",
            ServerType::Locked => "locked Swarm manager",
            ServerType::Leaderless => "Swarm manager without a leader",
            ServerType::Error => "Swarm node in error",
        }
    }
}

impl Plan {
    /// What each start of a managed container stands for; see [`WorkloadCall::StartContainer`].
    pub fn attempts(&self) -> impl Iterator<Item = &str> {
        let operations = self.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
        operations.filter_map(|operation| operation.call.attempt())
    }
}

impl ServerPlan {
    /// Takes out what has the proxy look again: for several plans together once is enough.
    pub fn take_refresh(&mut self) -> Option<Group> {
        self.groups.extract_if(.., |group| is_refresh(group)).last()
    }

    /// Nothing but one group.
    pub fn of_one(server: ObjectKey, group: Group) -> Self {
        let groups = vec![group];
        Self { server, server_type: None, swarm: None, groups, settled: Vec::new(), withheld: None, notes: Vec::new() }
    }
}

pub(crate) fn is_refresh(group: &Group) -> bool {
    group.operations.iter().any(|operation| matches!(operation.call, Call::RefreshProxy { .. }))
}

/// Takes the refresh out of a plan that connects nothing any more: it follows from the connections.
pub(crate) fn drop_needless(plan: &mut ServerPlan) {
    let connects = |group: &Group| group.operations.iter().any(|it| matches!(it.call, Call::ConnectEndpoint { .. }));
    if !plan.groups.iter().any(connects) {
        plan.groups.retain(|group| !is_refresh(group));
    }
}
