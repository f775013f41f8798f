//! Whether the server can carry a destination at all.

use super::feasible;
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::DesiredDestination;
use crate::core::observed::SwarmState;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::plan::ServerType;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::input::PlanInput;
use crate::core::plan::world::class::{class, was_overlay};
use crate::core::plan::world::container::PREDEFINED;
use crate::core::plan::world::context::Context;

/// What the Swarm that the server is part of has against an overlay.
fn swarm_unfit(ctx: &Context<'_>, destination: &DesiredDestination, class: DestinationType) -> Option<Note> {
    let server = &ctx.server.key;
    let (state, hint) = match &ctx.host.state.engine.swarm {
        SwarmState::Inactive | SwarmState::Manager { .. } => return None,
        // Of no concern to a bridge.
        _ if class == DestinationType::Standalone => return None,
        SwarmState::Worker { .. } if ctx.swarm.is_some() => return None,
        SwarmState::Worker { manager_addresses, .. } => {
            return Some(without_manager(ctx.input, server, &destination.key, manager_addresses));
        }
        SwarmState::Locked => ("locked".to_owned(), "docker swarm unlock, on that server"),
        SwarmState::Error { message, .. } => (format!("in error: {}", message.trim_end_matches('.')), REPAIR),
        SwarmState::Pending => {
            ("not ready yet".to_owned(), "try again when `docker info` on that server says that its Swarm is active")
        }
    };
    let message = format!("The Swarm that {server} is part of is {state}.");
    Some(Note::refused(Reason::NotASwarmManager, &destination.key, message).hint(hint))
}

/// Why the server cannot carry the destination at all.
pub(crate) fn unsuitable(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<Note> {
    let server = &ctx.server.key;
    let refuse = |reason, message: String| Note::refused(reason, &destination.key, message);
    let class = class(ctx, destination);
    if let Some(note) = swarm_unfit(ctx, destination, class) {
        return Some(note);
    }
    let is = match ctx.host.server_type() {
        ServerType::Standalone => "a standalone server",
        ServerType::Manager => "a Swarm manager",
        _ => "a node of a Swarm",
    };
    if class == DestinationType::Swarm && ctx.host.server_type() == ServerType::Standalone {
        return role_changed(ctx, destination).or_else(|| {
            Some(
                refuse(Reason::WrongScope, format!("spec.type is swarm, and {server} is {is}."))
                    .hint("set `type: standalone`, or leave it out"),
            )
        });
    }
    if class == DestinationType::Standalone && destination.network.encrypted {
        let (why, hint) = match ctx.host.server_type() {
            ServerType::Standalone => (
                format!("{server} is {is}"),
                "remove `encrypted`, or make the server a Swarm manager: docker swarm init",
            ),
            _ => ("the destination is a bridge network".to_owned(), "remove `encrypted`"),
        };
        return Some(
            refuse(Reason::WrongScope, format!("spec.network.encrypted needs an overlay network, and {why}."))
                .hint(hint),
        );
    }
    if let Some(note) = feasible::impossible(ctx, destination, class) {
        return Some(note);
    }
    if class == DestinationType::Swarm && !destination.network.icc {
        return Some(
            refuse(
                Reason::WrongScope,
                format!("spec.network.icc: false needs a bridge network, and {server} is {is}."),
            )
            .hint("remove `icc`"),
        );
    }
    let name = destination.network.name.as_deref()?;
    PREDEFINED.contains(&name).then(|| {
        refuse(Reason::WrongScope, format!("{name:?} is a network of the Docker Engine itself."))
            .hint("choose another spec.network.name")
    })
}

/// The server has no part in a Swarm, and the destination's network has.
fn role_changed(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<Note> {
    let told = was_overlay(ctx, destination)?;
    let message = format!(
        "{} is not part of a Swarm now, and the network of {} is one of a Swarm ({told}): nothing is made, moved or removed.",
        ctx.server.key, destination.key
    );
    Some(Note::waiting(Reason::RoleChanged, &destination.key, message).hint(
        "it goes on when the server is a node of that Swarm again; should it stay out of it, set `type: standalone`",
    ))
}

const REPAIR: &str =
    "see what `docker info` says on that server; if managers are gone for good: docker swarm init --force-new-cluster";

/// What to do about a Swarm's network that stays without addresses.
pub const UNALLOCATED: &str = "the Swarm's address pools are used up, or another network has the declared subnet (its managers log it): remove unused \
     overlay networks, or remove this one and declare another `spec.network.subnets`";

/// Why a worker's networks cannot be made: no manager of its Swarm is declared, or none answers.
pub(crate) fn without_manager(
    input: &PlanInput<'_>,
    server: &ObjectKey,
    destination: &ObjectKey,
    addresses: &[String],
) -> Note {
    let managers = match addresses {
        [] => String::new(),
        [one] => format!(" Its manager is {one}."),
        several => format!(" Its managers are {}.", several.join(", ")),
    };
    let silent = input.desired.all_servers().map(|server| &server.key);
    let silent: Vec<_> =
        silent.filter(|key| matches!(input.observed.get(*key), Some(Err(_)))).map(|key| key.path()).collect();
    let (why, hint) = if silent.is_empty() {
        ("none of them is declared".to_owned(), "declare a manager of that Swarm as a server")
    } else {
        let why = format!("none that is declared could be reached ({} did not answer)", silent.join(", "));
        (why, "declare a further manager of that Swarm as a server, or try again when they answer")
    };
    Note::refused(
        Reason::NotASwarmManager,
        destination,
        format!("{server} is a worker of a Swarm, whose networks are made by its managers, and {why}.{managers}"),
    )
    .hint(hint)
}
