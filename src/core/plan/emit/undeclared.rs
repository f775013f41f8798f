//! Whoever is on a destination's network without being declared there.

use super::attachment::change;
use super::draft::Draft;
use crate::core::desired::DesiredDestination;
use crate::core::observed::ObservedNetwork;
use crate::core::plan::decide::leaving::{self, Fate};
use crate::core::plan::decide::party::{Outlook, Somebody};
use crate::core::plan::decide::standing::Question;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::{ContainerTarget, NetworkTarget};
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::elsewhere::wanted_elsewhere;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::members::{self, Members};
use crate::core::plan::world::service::{self, is_proxy};
use crate::core::plan::world::{applied, container};

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
    services(ctx, outlook, destination, network, &members, draft);
    for attached in ctx.host.attached(network) {
        // A leftover is not on the network, and the daemon has nothing to disconnect. A service speaks for its tasks.
        let container = attached.container;
        let service = container.labels.get(container::SWARM_SERVICE).and_then(|name| ctx.host.service_named(name));
        if container::is_proxy(container, ctx.server.proxy.as_ref())
            || context::is_own_proxy(ctx, container)
            || container.is_leftover(attached.endpoint)
            || (container::is_task(container) && service.is_some())
        {
            continue;
        }
        match leaving::fate(ctx, outlook, destination, network, &members, &attached) {
            Fate::Stays => {}
            // He comes to be on another network than the note would name, which is told by itself.
            Fate::Reported(_) if replaced && renamed => {}
            Fate::Reported(note) => draft.notes.push(note),
            // A replacement has disconnected everyone already.
            Fate::Leaves(_) if replaced => {}
            Fate::Leaves(departure) => {
                let call = Call::DisconnectEndpoint {
                    network: NetworkTarget::existing(network),
                    container: ContainerTarget::of(container),
                    force: false,
                };
                draft.leave(departure, call, container.state.is_live());
            }
        }
    }
}

/// Services that are on the destination's network without being declared there.
fn services<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    members: &Members<'_>,
    draft: &mut Draft,
) {
    for service in ctx.host.services_on(network) {
        let declared = members.services.iter().any(|wanted| wanted.service.id == service.id);
        let leaving = members.leaving_services.contains(service.name.as_str());
        // What Landfall runs itself goes as a whole, or is somebody else's to speak of.
        let managed = service::identity_of_service(service).is_some_and(|it| it.set == ctx.set);
        if declared
            || managed
            || leaving
            || is_proxy(service, ctx.server.proxy.as_ref())
            || wanted_elsewhere(ctx, &destination.key, network, service)
        {
            continue;
        }
        let options = service.attachment(network).map(|attachment| &attachment.driver_opts);
        let (name, on) = (&service.name, &network.name);
        if options.is_some_and(|options| applied::is_own(options, ctx.set)) {
            let who = Somebody::Service(service);
            let question =
                Question { ctx, outlook, who, options, network: Some(network), name: on, home: Some(destination) };
            match question.fate(destination, false) {
                Fate::Stays => {}
                Fate::Reported(note) => draft.notes.push(note),
                Fate::Leaves(departure) => {
                    let target = NetworkTarget::existing(network);
                    let call = change(&departure.object, service, target, None, departure.cause);
                    draft.leave(departure, call, service.replicas != Some(0));
                }
            }
        } else {
            draft.notes.push(
                Note::unmanaged(
                    Reason::MembershipForeign,
                    &destination.key,
                    format!("No resource declares the Swarm service {name:?}, which is on {on:?}."),
                )
                .hint(format!(
                    "declare it: `containers: {{ swarmServices: [{name}] }}`, or take it off: docker service update --network-rm {on} {name}"
                )),
            );
        }
    }
}
