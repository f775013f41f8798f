//! Ports of the server that a container is to publish, and that something else has.

use super::leaving;
use super::managed::Managed;
use crate::core::observed::ObservedContainer;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::workload::{HostPort, Port};

impl Managed<'_, '_> {
    /// A container that publishes what another has does not start, and is found out only when its predecessor has stopped.
    pub(crate) fn port_taken(&self) -> Option<Note> {
        let wanted: Vec<HostPort> = self.workload.container.ports.iter().filter_map(Port::taken).collect();
        if wanted.is_empty() {
            return None;
        }
        self.port_of_container(&wanted).or_else(|| self.port_of_service(&wanted))
    }

    fn port_of_container(&self, wanted: &[HostPort]) -> Option<Note> {
        let held = self.held();
        // What it takes the place of has stopped by then.
        let others = self
            .ctx
            .host
            .state
            .containers
            .iter()
            .filter(|other| other.state.is_live() && !held.iter().any(|held| held.container.id == other.id));
        let (port, other) = others
            .filter_map(|other| Some((collision(wanted, &other.ports)?, other)))
            // One that keeps its port is worth more words than one that gives it up.
            .min_by_key(|(_, other)| self.gives_up(other, wanted))?;
        let name = &other.name;
        if self.gives_up(other, wanted) {
            let message =
                format!("The host port {port} is the container {name:?}'s until that is replaced or removed.");
            return Some(
                Note::waiting(Reason::PortTaken, self.resource(), message)
                    .hint("nothing was stopped; the next `landfall apply` takes it"),
            );
        }
        let message = format!("The host port {port} is published by the container {name:?}.");
        Some(Note::refused(Reason::PortTaken, self.resource(), message).hint(
            match self.ctx.host.identities.get(other) {
                Some(identity) => {
                    format!("{} has it; publish another port, or take it from there first", identity.object)
                }
                None => format!(
                    "nothing was stopped; publish another port, or stop that one; if it ran this resource until now: \
                 `metadata.annotations: {{ landfall/replaces: {name} }}`"
                ),
            },
        ))
    }

    /// The routing mesh of a Swarm has a port on every node.
    fn port_of_service(&self, wanted: &[HostPort]) -> Option<Note> {
        let services = self.ctx.host.state.services.iter();
        let (port, service) = services.filter_map(|it| Some((collision(wanted, &it.ports)?, it))).next()?;
        let message = format!("The host port {port} is published by the Swarm service {:?}.", service.name);
        let hint = "nothing was stopped; publish another port, or take it from the service first";
        Some(Note::refused(Reason::PortTaken, self.resource(), message).hint(hint))
    }

    /// A container of this set that is declared without the port by now, or goes for good.
    fn gives_up(&self, other: &ObservedContainer, wanted: &[HostPort]) -> bool {
        let Some(identity) = self.ctx.host.identities.get(other).filter(|it| it.set == self.ctx.set) else {
            return false;
        };
        let destination = self.ctx.server.destinations.iter().find(|it| it.key == identity.destination);
        let mut members = destination.into_iter().flat_map(|it| &it.members);
        let declared = members.find(|it| it.resource == identity.object && !self.ctx.is_deleted(&it.resource));
        match declared.and_then(|member| member.workload.as_ref()) {
            Some(workload) => {
                let kept: Vec<HostPort> = workload.container.ports.iter().filter_map(Port::taken).collect();
                collision(wanted, &kept).is_none()
            }
            None => leaving::cause_of_leaving(self.ctx, identity).is_some(),
        }
    }
}

/// The first of the wanted ports that is among those that another has.
fn collision<'p>(wanted: &'p [HostPort], taken: &[HostPort]) -> Option<&'p HostPort> {
    wanted.iter().find(|wanted| taken.iter().any(|taken| taken.collides_with(wanted)))
}
