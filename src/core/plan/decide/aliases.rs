//! One alias, several owners.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::answers;
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, ObservedNetwork, ServiceAttachment};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::applied;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::ownership::{self, Purpose};
use crate::core::plan::world::selector::matching;
use crate::core::plan::world::server::Attached;

/// One alias, several owners: whoever asks for it gets either.
pub(crate) fn alias_notes(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    network: Option<&ObservedNetwork>,
    members: &Members<'_>,
) -> Vec<Note> {
    let wanted: BTreeSet<&ContainerId> = members.wanted.iter().map(|wanted| &wanted.container.id).collect();
    // What Landfall put on a member is taken off by this very plan.
    let stays = |other: &Attached<'_>, alias: &str| {
        let settings = other.endpoint.settings.as_ref().filter(|_| wanted.contains(&other.container.id));
        other.container.name == alias
            || !settings.is_some_and(|it| applied::is_own_alias(alias, &it.driver_opts, ctx.set))
    };
    let (owners, own) = declared(ctx, destination);
    let attached = network.map(|network| ctx.host.attached(network)).unwrap_or_default();
    // A service answers to its name wherever it is, and is there by this very plan at the latest.
    let mut services: BTreeMap<&str, Option<&ServiceAttachment>> =
        members.services.iter().map(|wanted| (wanted.service.name.as_str(), None)).collect();
    if let Some(network) = network {
        let on = ctx.host.services_on(network).into_iter();
        services.extend(on.map(|service| (service.name.as_str(), service.attachment(network))));
    }
    let mut notes = Vec::new();
    for (alias, resources) in owners {
        let mut claims: Vec<String> = resources.iter().map(ToString::to_string).collect();
        claims.extend(
            attached
                .iter()
                .filter(|other| {
                    !own[alias].contains(&other.container.id)
                        && answers(other, alias)
                        && stays(other, alias)
                        && !precedes(ctx, other, &resources)
                })
                .map(|other| format!("the container {:?}", other.container.name)),
        );
        let means = |service: &str| {
            let meaning = destination.members.iter().filter(|member| resources.contains(&member.resource));
            meaning.flat_map(|member| &member.selector.swarm_services).any(|name| name == service)
        };
        let answering = services.iter().filter(|(name, attachment)| {
            let aliases = attachment.map(|it| it.aliases.as_slice()).unwrap_or_default();
            let taken_off = attachment.is_some_and(|it| {
                members.services.iter().any(|wanted| wanted.service.name == **name)
                    && applied::is_own_alias(alias, &it.driver_opts, ctx.set)
            });
            **name == alias || (aliases.iter().any(|it| it == alias) && !taken_off)
        });
        claims
            .extend(answering.filter(|(name, _)| !means(name)).map(|(name, _)| format!("the Swarm service {name:?}")));
        notes.extend((claims.len() > 1).then(|| taken_twice(destination, alias, &claims)));
    }
    notes
}

/// It was one of the resource's own containers and is there until another one serves.
fn precedes(ctx: &Context<'_>, other: &Attached<'_>, resources: &BTreeSet<&ObjectKey>) -> bool {
    let options = other.endpoint.settings.as_ref().map(|settings| &settings.driver_opts);
    let options = options.filter(|options| applied::is_own(options, ctx.set));
    options.and_then(ownership::made_for).is_some_and(|made_for| {
        made_for.iter().any(|it| matches!(it, Purpose::Resource(resource) if resources.contains(resource)))
    })
}

/// For each alias, the resources that declare it, and their containers.
type Declared<'a> = (BTreeMap<&'a str, BTreeSet<&'a ObjectKey>>, BTreeMap<&'a str, BTreeSet<&'a ContainerId>>);

fn declared<'a>(ctx: &Context<'a>, destination: &'a DesiredDestination) -> Declared<'a> {
    let (mut owners, mut own) = Declared::default();
    for member in &destination.members {
        if !member.connect || member.endpoint.aliases.is_empty() || ctx.is_deleted(&member.resource) {
            continue;
        }
        let containers = matching(&ctx.host, &member.selector);
        for alias in &member.endpoint.aliases {
            owners.entry(alias).or_default().insert(&member.resource);
            own.entry(alias).or_default().extend(containers.iter().map(|container| &container.id));
        }
    }
    (owners, own)
}

fn taken_twice(destination: &DesiredDestination, alias: &str, claims: &[String]) -> Note {
    let message =
        format!("The alias {alias:?} belongs to {}: whoever asks for it gets any of them.", claims.join(" and "));
    Note::warning(Reason::AliasTakenTwice, &destination.key, message)
        .hint("give each its own alias, or put them on different destinations")
}
