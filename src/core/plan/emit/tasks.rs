//! The tasks of Swarm services, with a destination's `active`.

use super::draft::Draft;
use crate::core::desired::DesiredDestination;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalPurpose, JournalService};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ServiceTarget;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::elsewhere::active_elsewhere;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::service::is_proxy;
use crate::core::plan::world::target::{Target, WantedService, recreation};

/// Takes their tasks from the services of a deactivated destination, unless they also serve one that is active.
pub(crate) fn stop(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'_>,
    draft: &mut Draft,
) {
    for WantedService { object, service, .. } in &members.services {
        if service.replicas == Some(0) || is_proxy(service, ctx.server.proxy.as_ref()) {
            continue;
        }
        let stays = |why: String, hint: String| Note::warning(Reason::ResourcesRemain, object, why).hint(hint);
        if let Some(active) = active_elsewhere(ctx, destination, service) {
            draft.notes.push(stays(
                format!(
                    "The Swarm service {:?} also belongs to {active}, which is active, and is left running.",
                    service.name
                ),
                format!("docker service scale {}=0, or deactivate {active} as well", service.name),
            ));
            continue;
        }
        let Some(replicas) = service.replicas else {
            draft.notes.push(stays(
                format!(
                    "{} is deactivated, and the Swarm service {:?} is global: it is left running.",
                    destination.key, service.name
                ),
                format!("docker service rm {}", service.name),
            ));
            continue;
        };
        let call = Call::ScaleService { service: ServiceTarget::of(service), replicas: 0 };
        let stop = Operation::new(object, call, Cause::Deactivated).disruptive(true);
        draft.groups.push(Group::of(stop).journal(Journal {
            server: ctx.server.key.clone(),
            destination: destination.key.clone(),
            purpose: JournalPurpose::Deactivated,
            network: target.network.map_or_else(|| target.create.clone(), recreation),
            endpoints: Vec::new(),
            services: vec![JournalService { service: ServiceTarget::of(service), replicas }],
        }));
    }
}

/// Gives a service that was left without tasks by a deactivation as many as it had. `None`: somebody has changed that meanwhile, or it is gone.
pub(crate) fn resume(members: &Members<'_>, journal: &Journal, listed: &JournalService) -> Option<Group> {
    let wanted = members.services.iter().find(|wanted| wanted.service.id == listed.service.id);
    let wanted = wanted.filter(|wanted| wanted.service.replicas == Some(0))?;
    let call = Call::ScaleService { service: listed.service.clone(), replicas: listed.replicas };
    Some(Group::of(Operation::new(wanted.object, call, Cause::Activated)).completes(vec![journal.clone()]))
}
