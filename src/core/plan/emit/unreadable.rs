//! A destination whose journal cannot be read: who was on its network, and how, may be written there and nowhere else. So it is left as it is until
//! a person has looked, and no other is.

use std::collections::BTreeSet;

use crate::core::api::ObjectKey;
use crate::core::desired::DesiredServer;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cut::{Stranded, cut};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::plan::ServerPlan;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::NetworkTarget;
use crate::core::plan::input::PlanInput;
use crate::core::plan::world::ownership;

/// Takes out of the plan what has to do with such a destination, and says so.
pub(crate) fn leave_as_it_is(input: &PlanInput<'_>, server: &DesiredServer, plan: &mut ServerPlan) {
    if plan.server_type.is_none() {
        return;
    }
    for journal in &input.request.unreadable {
        let Some(destination) = &journal.destination else {
            let message = format!("{}. Whose it is, its name does not tell.", journal.message);
            plan.notes.push(Note::warning(Reason::JournalUnreadable, &server.key, message).hint(HINT));
            continue;
        };
        let networks = networks(input, server, destination);
        if networks.is_empty() && server.destinations.iter().all(|it| it.key != *destination) {
            continue;
        }
        let concerned = |operation: &Operation| {
            operation.objects().contains(&destination)
                || targets(&operation.call).any(|target| {
                    target.id.iter().map(|id| id.as_str()).chain([target.name.as_str()]).any(|it| networks.contains(it))
                })
        };
        let out = cut(plan, |group: &Group| group.object == *destination || group.operations.iter().any(concerned));
        plan.settled.retain(|settled| settled.destination != *destination);
        for Stranded { group, .. } in out.stranded {
            let message = format!("It waits for {destination}, which is left as it is.");
            plan.notes.push(Note::waiting(Reason::JournalUnreadable, &group.object, message));
        }
        let message = format!("{}. Until then {destination} is left as it is.", journal.message);
        plan.notes.push(Note::refused(Reason::JournalUnreadable, destination, message).hint(HINT));
    }
}

const HINT: &str = "look at the file, put back by hand what it lists and is not there, and move the file away";

/// Names and ids of what the destination has on the server, or is to have.
fn networks<'a>(input: &PlanInput<'a>, server: &'a DesiredServer, destination: &ObjectKey) -> BTreeSet<&'a str> {
    let declared =
        server.destinations.iter().filter(|it| it.key == *destination).filter_map(|it| it.network.name.as_deref());
    let seen =
        input.observed.get(&server.key).and_then(|seen| seen.as_ref().ok()).into_iter().flat_map(|it| &it.networks);
    let own = seen.filter(|network| {
        ownership::of(network).is_some_and(|owner| owner.sealed && owner.destination.as_ref() == Some(destination))
    });
    declared.chain(own.flat_map(|network| [network.name.as_str(), network.id.as_str()])).collect()
}

fn targets(call: &Call) -> impl Iterator<Item = &NetworkTarget> {
    let one = match call {
        Call::ConnectEndpoint { network, .. }
        | Call::DisconnectEndpoint { network, .. }
        | Call::RemoveNetwork { network } => Some(network),
        Call::Workload(call) => call.network(),
        _ => None,
    };
    let several = match call {
        Call::UpdateService { changes, .. } => changes.as_slice(),
        _ => &[],
    };
    one.into_iter().chain(several.iter().map(|change| &change.network))
}
