//! Who was disconnected by a group that was interrupted, and still belongs on the network.

use std::collections::BTreeMap;

use super::leaving::Fate;
use super::seat::{self, Wish};
use super::standing::Question;
use crate::core::api::Membership;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, EndpointSettings, ObservedContainer};
use crate::core::plan::document::journal::Journal;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::party::{Outlook, Party};
use crate::core::plan::world::target::Target;
use crate::core::plan::world::{applied, container};

impl<'a> Context<'a> {
    /// Containers that an interrupted group has disconnected and that still belong on the network, each with the journals that say so.
    pub(crate) fn left_behind(
        &self,
        destination: &'a DesiredDestination,
        target: &Target<'_>,
        members: &Members<'_>,
    ) -> Vec<(&'a ObservedContainer, Vec<&'a Journal>)> {
        let mut found: BTreeMap<&ContainerId, (&'a ObservedContainer, Vec<&'a Journal>)> = BTreeMap::new();
        for journal in self.journals(&destination.key) {
            for listed in &journal.endpoints {
                // A container that was recreated meanwhile has its own idea of its networks.
                let Some(container) = self.host.container(&listed.container.id) else { continue };
                let detached = self.host.attachment(container, target.network, &target.create.name).is_none();
                if detached && self.returns(destination, target, members, container, &listed.settings) {
                    found.entry(&container.id).or_insert_with(|| (container, Vec::new())).1.push(journal);
                }
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        found
    }

    /// Whether a container that was on the network before it was interrupted is to be there again.
    fn returns(
        &self,
        destination: &'a DesiredDestination,
        target: &Target<'_>,
        members: &Members<'_>,
        container: &'a ObservedContainer,
        settings: &'a EndpointSettings,
    ) -> bool {
        if container::is_going(container)
            || container::unconnectable(container).is_some()
            || members.leaving.contains(&container.id)
        {
            return false;
        }
        let marked = applied::is_own(&settings.driver_opts, self.set);
        let exclusive = destination.membership == Membership::Exclusive;
        if members.declared.contains(&container.id) {
            true
        } else if container::is_proxy(container, self.server.proxy.as_ref()) {
            !matches!(seat::proxy(destination, marked, false), Wish::Absent(_))
        } else if marked || exclusive {
            let question = Question {
                ctx: self,
                outlook: &Outlook::default(),
                who: Party::Container(container),
                options: Some(&settings.driver_opts),
                network: target.network,
                name: &target.create.name,
                home: Some(destination),
            };
            !matches!(question.fate(destination, exclusive), Fate::Leaves(_))
        } else {
            true
        }
    }
}
