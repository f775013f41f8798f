//! Who can be on a network, and what a plan changes about who is where.

use std::collections::{BTreeMap, BTreeSet};

use super::selector;
use super::server::Host;
use crate::core::api::ContainerSelector;
use crate::core::observed::STABLE;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::Group;
use crate::core::plan::document::target::{Connection, NetworkTarget, PartyId};

use crate::core::observed::{
    ContainerState, NetworkId, ObservedContainer, ObservedNetwork, ObservedService, TaskCount,
};

/// What a plan changes about who is on which network. Networks go by their names, for one may be made anew.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) made: BTreeMap<(PartyId, String), NetworkTarget>,
    pub(crate) undone: BTreeSet<(PartyId, String)>,
    pub(crate) removed: BTreeSet<NetworkId>,
}

impl Outlook {
    pub(crate) fn of<'g>(groups: impl Iterator<Item = &'g Group>) -> Self {
        let mut outlook = Self::default();
        for operation in groups.flat_map(|group| &group.operations) {
            for Connection { party, network } in operation.call.connections() {
                outlook.made.insert((party, network.name.clone()), network);
            }
            let gone = operation.call.disconnections().into_iter();
            outlook.undone.extend(gone.map(|Connection { party, network }| (party, network.name)));
            if let Call::RemoveNetwork { network } = &operation.call {
                outlook.removed.extend(network.id.clone());
            }
        }
        outlook
    }
}

/// A container or a Swarm service.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Party<'a> {
    Container(&'a ObservedContainer),
    Service(&'a ObservedService),
}

impl<'a> Party<'a> {
    pub(crate) fn name(&self) -> &'a str {
        match self {
            Party::Container(container) => &container.name,
            Party::Service(service) => &service.name,
        }
    }

    pub(crate) fn party(&self) -> PartyId {
        match self {
            Party::Container(container) => PartyId::Container(container.id.clone()),
            Party::Service(service) => PartyId::Service(service.id.clone()),
        }
    }

    pub(crate) fn is_meant_by(&self, selector: &ContainerSelector) -> bool {
        match self {
            Party::Container(container) => selector::selects(selector, container),
            Party::Service(service) => selector.swarm_services.contains(&service.name),
        }
    }

    pub(crate) fn is_on(&self, host: &Host<'_>, network: &ObservedNetwork) -> bool {
        match self {
            Party::Container(container) => host.is_on(container, network),
            Party::Service(service) => service.is_on(network),
        }
    }

    /// It has ended, and well.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Party::Container(container) => {
                container.state == ContainerState::Exited && container.exit.as_ref().is_none_or(|exit| exit.code == 0)
            }
            Party::Service(_) => false,
        }
    }

    /// What stands in the way of his taking over from another.
    pub(crate) fn unfit(&self) -> Option<Lack> {
        match self {
            Party::Container(container) if container.has_settled() => None,
            Party::Container(container) if container.is_restarting() => {
                Some(Lack::of(format!("{:?} restarts again and again", container.name)).again(container.settles_in()))
            }
            Party::Container(ObservedContainer { name, health: Some(health), .. }) => {
                Some(Lack::of(format!("the health check of {name:?} says {}", health.as_str())))
            }
            Party::Container(container) => match container.settles_in() {
                Some(left) => {
                    let message = format!("{:?} has not run for {STABLE} s yet", container.name);
                    Some(Lack { reason: Reason::RolloutInProgress, ..Lack::of(message) }.again(Some(left)))
                }
                None => Some(Lack::of(format!("{:?} is {}", container.name, container.state.as_str()))),
            },
            Party::Service(service) => service.tasks.filter(|_| service.lacks_tasks()).map(|tasks| {
                let TaskCount { running, desired } = tasks;
                Lack::of(format!("{running} of {desired} tasks of the Swarm service {:?} run", service.name))
            }),
        }
    }
}

/// Why nobody has taken the place of somebody yet.
pub(crate) struct Lack {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// In so many seconds time alone may have put an end to it.
    pub(crate) again: Option<u32>,
}

impl Lack {
    pub(crate) fn of(message: String) -> Self {
        Self { reason: Reason::ContainerMissing, message, again: None }
    }

    fn again(self, seconds: Option<u32>) -> Self {
        Self { again: seconds, ..self }
    }
}
