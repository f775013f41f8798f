//! Networks that other tools made: waited for, and made anew as Landfall's own where the manifest asks for it.

use crate::core::desired::DesiredDestination;
use crate::core::observed::ObservedNetwork;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::class;
use crate::core::plan::world::container::{COMPOSE_PROJECT, STACK_NAMESPACE};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;

/// Why the missing network of a destination is not created: the tool that made it finds a network that Landfall made under its name, and fails.
/// `None` where creating it is right.
pub(crate) fn awaited(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<Note> {
    let creates = destination.create_if_missing || destination.take_ownership;
    // An interrupted change removed it: it was Landfall's own, or becomes so.
    let interrupted = ctx.journals(&destination.key).next().is_some();
    if !destination.adopt || creates || interrupted {
        return None;
    }
    let name = destination.network.name.as_deref()?;
    let wait = |message: String| Note::waiting(Reason::NetworkMissing, &destination.key, message);
    let near = near_names(ctx, name);
    if let [first, ..] = near.as_slice() {
        let names: Vec<String> = near.iter().map(|it| format!("{:?}{}", it.name, made_by(it))).collect();
        let message = format!(
            "There is no network {name:?} to adopt; {} {}.",
            if near.len() > 1 { "there are" } else { "there is" },
            names.join(", ")
        );
        return Some(wait(message).hint(format!("set `network.name: {}` if that is the one", first.name)));
    }
    let message = format!("There is no network {name:?} to adopt.");
    Some(wait(message).hint(match owner(ctx, destination, name) {
        Some(Owner::Project(project)) => {
            format!("bring the compose project {project:?} up, which makes it: docker compose -p {project} up -d; or set `createIfMissing: true`")
        }
        Some(Owner::Stack(stack)) => {
            format!("deploy the stack {stack:?}, which makes it: docker stack deploy -c FILE {stack}; or set `createIfMissing: true`")
        }
        None => "start what makes it, or set `createIfMissing: true`".to_owned(),
    }))
}

/// What makes a network whose name begins with its own.
enum Owner {
    Project(String),
    Stack(String),
}

fn owner(ctx: &Context<'_>, destination: &DesiredDestination, name: &str) -> Option<Owner> {
    let prefixes = |owner: &str| name.strip_prefix(owner).is_some_and(|rest| rest.starts_with('_'));
    let state = ctx.host.state;
    let label = |key: &'static str| {
        let containers = state.containers.iter().filter_map(move |it| it.labels.get(key));
        containers.map(String::as_str).find(|owner| prefixes(owner))
    };
    let selected = destination.members.iter().filter_map(|member| member.selector.compose_project.as_deref());
    let mut selected = selected.chain(label(COMPOSE_PROJECT));
    if let Some(project) = selected.find(|project| prefixes(project)) {
        return Some(Owner::Project(project.to_owned()));
    }
    if let Some(stack) = label(STACK_NAMESPACE) {
        return Some(Owner::Stack(stack.to_owned()));
    }
    // Neither containers nor services tell, as after `compose down`: the name does, as both tools write it.
    let (prefix, _) = name.split_once('_').filter(|(prefix, rest)| !prefix.is_empty() && !rest.is_empty())?;
    let overlay = class::class(ctx, destination) == crate::core::api::DestinationType::Swarm;
    Some(if overlay { Owner::Stack(prefix.to_owned()) } else { Owner::Project(prefix.to_owned()) })
}

/// Networks whose names differ by the prefix of a project or stack, or in the case of letters, and that no destination has.
fn near_names<'a>(ctx: &Context<'a>, name: &str) -> Vec<&'a ObservedNetwork> {
    let is_near = |network: &&ObservedNetwork| {
        let other = network.name.as_str();
        let extends = |long: &str, short: &str| {
            long.strip_suffix(short).is_some_and(|rest| rest.len() > 1 && rest.ends_with('_'))
        };
        let differs = other != name;
        differs && (extends(other, name) || extends(name, other) || other.eq_ignore_ascii_case(name))
    };
    let declared = |network: &&ObservedNetwork| {
        let mut destinations = ctx.server.destinations.iter();
        destinations.any(|it| it.network.name.as_ref() == Some(&network.name))
    };
    let all = ctx.host.state.networks.iter().filter(|network| ctx.host.owner(network).is_none());
    all.filter(is_near).filter(|network| !declared(network)).collect()
}

fn made_by(network: &ObservedNetwork) -> String {
    match (network.labels.get(COMPOSE_PROJECT), network.labels.get(STACK_NAMESPACE)) {
        (Some(project), _) => format!(" of the compose project {project:?}"),
        (None, Some(stack)) => format!(" of the stack {stack:?}"),
        (None, None) => String::new(),
    }
}

/// Whether an adopted network is made anew as Landfall's own.
pub(crate) fn is_taken_over(destination: &DesiredDestination, located: &Located<'_>) -> bool {
    destination.take_ownership && matches!(located, Located::Adopted(_))
}

/// What the tool that made a network needs to know about its new owner.
pub(crate) fn farewell(destination: &DesiredDestination, network: &ObservedNetwork) -> Option<Note> {
    let project = network.labels.get(COMPOSE_PROJECT);
    let stack = network.labels.get(STACK_NAMESPACE);
    let (what, owner) = project.map(|it| ("compose project", it)).or_else(|| stack.map(|it| ("stack", it)))?;
    let message =
        format!("The {what} {owner:?} made the network {:?}, and refuses one that it did not make.", network.name);
    let hint = format!(
        "write it into its file before the next deployment: networks: {{ NAME: {{ name: {}, external: true }} }}",
        network.name
    );
    Some(Note::warning(Reason::OwnershipConflict, &destination.key, message).hint(hint))
}
