//! Whoever is on a destination's network without being declared there.

use super::attachment::change;
use super::draft::Draft;
use crate::core::desired::DesiredDestination;
use crate::core::plan::decide::leaving::{self, Fate};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::target::{ContainerTarget, NetworkTarget};
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::located::Located;
use crate::core::plan::world::party::{Outlook, Party};
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::{container, members};

/// Whoever is on the destination's network without being declared there.
pub(crate) fn undeclared<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    draft: &mut Draft,
) {
    let Some(network) = located.network().filter(|_| !destination.suspend) else { return };
    let members = members::resolve(ctx, destination, Some(network));
    let replaced = outlook.removed.contains(&network.id);
    let renamed = destination.network.name.as_ref().is_some_and(|name| *name != network.name);
    let services = ctx.host.services_on(network).into_iter().map(|service| {
        let fate = leaving::service_fate(ctx, outlook, destination, network, &members, service);
        (Party::Service(service), fate)
    });
    let attached = ctx.host.attached(network);
    let containers = attached.iter().filter(|attached| !is_spoken_for(ctx, attached)).map(|attached| {
        let fate = leaving::fate(ctx, outlook, destination, network, &members, attached);
        (Party::Container(attached.container), fate)
    });
    for (who, fate) in services.chain(containers) {
        let departure = match fate {
            Fate::Stays => continue,
            // He comes to be on another network than the note would name, which is told by itself.
            Fate::Reported(_) if replaced && renamed => continue,
            Fate::Reported(note) => {
                draft.notes.push(note);
                continue;
            }
            // A replacement has disconnected everyone already.
            Fate::Leaves(_) if replaced => continue,
            Fate::Leaves(departure) => departure,
        };
        let target = NetworkTarget::existing(network);
        let (call, disruptive) = match who {
            Party::Container(container) => {
                let disruptive = container.state.is_live();
                let container = ContainerTarget::of(container);
                (Call::DisconnectEndpoint { network: target, container, force: false }, disruptive)
            }
            Party::Service(service) => {
                let call = change(&departure.object, service, target, None, departure.cause);
                (call, service.replicas != Some(0))
            }
        };
        draft.leave(departure, call, disruptive);
    }
}

/// The proxy is dealt with by itself, and a service speaks for its tasks. A leftover is not on the network, and the daemon has nothing to disconnect.
fn is_spoken_for(ctx: &Context<'_>, attached: &Attached<'_>) -> bool {
    let container = attached.container;
    let service = container.labels.get(container::SWARM_SERVICE).and_then(|name| ctx.host.service_named(name));
    container::is_proxy(container, ctx.server.proxy.as_ref())
        || context::is_own_proxy(ctx, container)
        || container.is_leftover(attached.endpoint)
        || (container::is_task(container) && service.is_some())
}
