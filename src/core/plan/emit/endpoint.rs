//! Containers on a destination's network: connected, connected again, taken off.

use crate::core::api::ObjectKey;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{EndpointSettings, ObservedContainer, ObservedNetwork};
use crate::core::plan::decide::seat::{self, Now, SeatDecision, SeatFacts, Wish};
use crate::core::plan::decide::{addresses, obtainable};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalEndpoint, JournalPurpose};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{ContainerTarget, NetworkTarget, Reserved};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::route;
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::target::{Target, Wanted};

use crate::core::plan::decide::settings::{
    check_attachable, declared_again, declared_settings, differs, journalled_settings, restorable, unknown,
};

/// What brings one container onto the network as declared: nothing, a connect, or a disconnect and a connect.
pub(crate) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    wanted: &Wanted<'a>,
    detached: Cause,
) -> Result<Option<Group>, Note> {
    let endpoint = Endpoint { ctx, destination, target, wanted };
    let attachment = ctx.host.attachment(wanted.container, target.network, &target.create.name);
    let decision = seat::seat(endpoint.facts(members, attachment.as_ref(), detached));
    // One that is not running needs its address when it starts.
    if decision == SeatDecision::Keep && wanted.container.state.is_live() {
        return Ok(None);
    }
    if decision != SeatDecision::Reattach(Cause::AddressReserved) {
        obtainable::check(ctx, destination, target, members, wanted, attachment.as_ref())?;
    }
    let (SeatDecision::Attach(cause) | SeatDecision::Reattach(cause)) = decision else { return Ok(None) };
    check_attachable(target, wanted)?;
    let reserved = addresses::reserved(ctx, target, members, &wanted.container.id);
    match attachment {
        None => Ok(Some(endpoint.attach(reserved, cause))),
        Some(attached) => endpoint.reattach(&attached, reserved, cause).map(Some),
    }
}

/// What takes a container off a network.
pub(crate) fn detach(
    object: &ObjectKey,
    container: &ObservedContainer,
    network: &ObservedNetwork,
    cause: Cause,
) -> Group {
    let (network, container_target) = (NetworkTarget::existing(network), ContainerTarget::of(container));
    let call = Call::DisconnectEndpoint { network, container: container_target, force: false };
    Group::of(Operation::new(object, call, cause).disruptive(container.state.is_live()))
}

/// One container on one network.
struct Endpoint<'c, 'a> {
    ctx: &'c Context<'a>,
    destination: &'c DesiredDestination,
    target: &'c Target<'c>,
    wanted: &'c Wanted<'a>,
}

impl Endpoint<'_, '_> {
    fn facts(&self, members: &Members<'_>, attachment: Option<&Attached<'_>>, detached: Cause) -> SeatFacts {
        let Self { ctx, target, wanted, .. } = self;
        let now = match attachment {
            None => Now::Off,
            Some(attached) if attached.stale => Now::Stale,
            Some(_) => Now::On,
        };
        let on = attachment.filter(|attached| !attached.stale);
        let differs = on.is_some_and(|attached| differs(attached, &wanted.endpoint, ctx.set));
        let on = on.filter(|_| !differs);
        let trespasses =
            on.is_some_and(|attached| addresses::trespasses(ctx, target, members, attached, &wanted.endpoint));
        SeatFacts { wish: Wish::Present(detached), now, differs, trespasses }
    }

    fn attach(&self, reserved: Reserved, cause: Cause) -> Group {
        let container = &self.wanted.container.id;
        let journals = self.ctx.journals_listing(&self.destination.key, container);
        let journalled = journals.last().and_then(|journal| journalled_settings(journal, container));
        let cause = if journalled.is_some() { Cause::JournalRestore } else { cause };
        let connect = self.connect(self.settings(journalled, &reserved), reserved);
        let connect = Operation::new(self.wanted.object, connect, cause);
        Group::of(connect).completes(journals.into_iter().cloned().collect())
    }

    fn reattach(&self, attached: &Attached<'_>, reserved: Reserved, cause: Cause) -> Result<Group, Note> {
        let Self { ctx, destination, target, wanted } = self;
        let container = wanted.container;
        let before = restorable(attached).ok_or_else(|| unknown(wanted.object, container, &target.create.name))?;
        let live = container.state.is_live();
        // What a stale endpoint was connected to cannot be brought back; the journal remembers how.
        let undo = (!attached.stale).then(|| self.connect(before.clone(), Reserved::default()));
        let disconnect = Call::DisconnectEndpoint {
            network: target.call(),
            container: ContainerTarget::of(container),
            force: attached.stale && live,
        };
        let connect = self.connect(self.settings(Some(before.clone()), &reserved), reserved);
        let disconnect = Operation::new(wanted.object, disconnect, cause).disruptive(live).undone_by(undo);
        let connect = Operation::new(wanted.object, connect, cause);
        Ok(Group::new(wanted.object, vec![disconnect, connect]).journal(Journal {
            services: Vec::new(),
            server: ctx.server.key.clone(),
            destination: destination.key.clone(),
            purpose: JournalPurpose::Reattach,
            network: target.create.clone(),
            endpoints: vec![JournalEndpoint {
                container: ContainerTarget::of(container),
                settings: before,
                was_running: live,
            }],
        }))
    }

    fn connect(&self, settings: EndpointSettings, reserved: Reserved) -> Call {
        let (network, container) = (self.target.call(), ContainerTarget::of(self.wanted.container));
        Call::ConnectEndpoint { network, container, settings, reserved }
    }

    /// As declared, over what was there `before`.
    fn settings(&self, before: Option<EndpointSettings>, reserved: &Reserved) -> EndpointSettings {
        let Self { ctx, target, wanted, .. } = self;
        let existed = before.is_some();
        let mut base = before.unwrap_or_default();
        addresses::let_go(&mut base, reserved, ctx.set);
        let mark = ctx.mark(&wanted.made_for, wanted.container);
        let mut settings = match existed {
            true => declared_again(base, &wanted.endpoint, &mark),
            false => declared_settings(base, &wanted.endpoint, &mark),
        };
        settings.gw_priority = settings.gw_priority.or_else(|| route::below_the_others(ctx, target, wanted.container));
        settings
    }
}
