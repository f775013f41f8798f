//! Containers on a destination's network: connected, connected again, taken off.

use crate::core::desired::DesiredDestination;
use crate::core::observed::EndpointSettings;
use crate::core::plan::decide::{addresses, obtainable};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalEndpoint, JournalPurpose};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{ContainerTarget, Reserved};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::route;
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
    let container = wanted.container;
    let attachment = ctx.host.attachment(container, target.network, &target.create.name);
    let cause = match &attachment {
        None => Some(detached),
        Some(attached) if attached.stale => Some(Cause::EndpointStale),
        Some(attached) if differs(attached, &wanted.endpoint, ctx.set) => Some(Cause::EndpointDiffers),
        Some(attached) if addresses::trespasses(ctx, target, members, attached, &wanted.endpoint) => {
            Some(Cause::AddressReserved)
        }
        Some(_) => None,
    };
    // One that is not running needs its address when it starts.
    if cause.is_none() && container.state.is_live() {
        return Ok(None);
    }
    if cause != Some(Cause::AddressReserved) {
        obtainable::check(ctx, destination, target, members, wanted, attachment.as_ref())?;
    }
    let Some(cause) = cause else { return Ok(None) };
    check_attachable(target, wanted)?;
    let reserved = addresses::reserved(ctx, target, members, &container.id);
    let connect = |settings, reserved| Call::ConnectEndpoint {
        network: target.call(),
        container: ContainerTarget::of(container),
        settings,
        reserved,
    };
    let operation =
        |call, cause, disruptive, undo| Operation { object: wanted.object.clone(), call, cause, disruptive, undo };
    let settings = |before: Option<EndpointSettings>| {
        let existed = before.is_some();
        let mut base = before.unwrap_or_default();
        addresses::let_go(&mut base, &reserved, ctx.set);
        let mark = ctx.mark(&wanted.made_for, container);
        let mut settings = match existed {
            true => declared_again(base, &wanted.endpoint, &mark),
            false => declared_settings(base, &wanted.endpoint, &mark),
        };
        settings.gw_priority = settings.gw_priority.or_else(|| route::below_the_others(ctx, target, container));
        settings
    };
    let Some(attached) = attachment else {
        let journals = ctx.journals_listing(&destination.key, &container.id);
        let journalled = journals.last().and_then(|journal| journalled_settings(journal, &container.id));
        let cause = if journalled.is_some() { Cause::JournalRestore } else { cause };
        let settings = settings(journalled);
        return Ok(Some(Group {
            object: wanted.object.clone(),
            operations: vec![operation(connect(settings, reserved.clone()), cause, false, None)],
            journal: None,
            completes: journals.into_iter().cloned().collect(),
            needs: Vec::new(),
        }));
    };
    let Some(before) = restorable(&attached) else {
        return Err(unknown(wanted.object, container, &target.create.name));
    };
    let live = container.state.is_live();
    // What a stale endpoint was connected to cannot be brought back; the journal remembers how.
    let undo = (!attached.stale).then(|| connect(before.clone(), Reserved::default()));
    let disconnect = Call::DisconnectEndpoint {
        network: target.call(),
        container: ContainerTarget::of(container),
        force: attached.stale && live,
    };
    let connect = connect(settings(Some(before.clone())), reserved.clone());
    Ok(Some(Group {
        object: wanted.object.clone(),
        operations: vec![operation(disconnect, cause, live, undo), operation(connect, cause, false, None)],
        journal: Some(Journal {
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
        }),
        completes: Vec::new(),
        needs: Vec::new(),
    }))
}
