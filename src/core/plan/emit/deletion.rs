//! What is named in a request to delete.

use std::collections::BTreeSet;

use super::removal::{Doomed, RESOURCES_REMAIN, Removal, removal};
use super::{attachment, endpoint};
use crate::core::api::{DeletionPolicy, Kind, ObjectKey};
use crate::core::desired::DesiredDestination;
use crate::core::observed::ObservedNetwork;
use crate::core::plan::decide::leaving;
use crate::core::plan::decide::network::{Asked, Found, NetworkDecision, NetworkFacts, network as decide_network};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::{Blocker, Note, NoteKind, declared_blocker};
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::Group;
use crate::core::plan::input::DeleteMode;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::party::{Outlook, Party};
use crate::core::plan::world::{applied, container, elsewhere, ownership, selector, service};

/// What the request to delete comes to on one server.
#[derive(Default)]
pub(crate) struct Deletions<'a> {
    pub(crate) removals: Vec<Removal<'a>>,
    pub(crate) groups: Vec<Group>,
    pub(crate) notes: Vec<Note>,
}

/// Plans the request to delete on one observed server.
pub(crate) fn requested<'a>(ctx: &Context<'a>, outlook: &Outlook) -> Deletions<'a> {
    let located = &ctx.located;
    let mut deletions = Deletions::default();
    let mut accepted: BTreeSet<&ObjectKey> = BTreeSet::new();
    for (key, mode) in &ctx.request.delete {
        match key.kind {
            Kind::Destination => {
                if let Some((destination, located)) = located.iter().find(|(it, _)| it.key == *key) {
                    match declared(ctx, outlook, destination, located, *mode) {
                        Ok(removal) => {
                            accepted.insert(key);
                            deletions.removals.push(removal);
                        }
                        Err(note) => deletions.notes.push(note),
                    }
                } else if ctx.input.desired.destination(key).is_none() {
                    undeclared(ctx, outlook, key, *mode, &mut deletions);
                }
            }
            Kind::Server if *key == ctx.server.key => {
                let remaining: Vec<Blocker> = ctx
                    .server
                    .destinations
                    .iter()
                    .filter(|it| !ctx.is_deleted(&it.key))
                    .map(|it| declared_blocker(key, &it.key))
                    .collect();
                if !remaining.is_empty() {
                    deletions.notes.push(
                        Note::refused(
                            Reason::ResourcesRemain,
                            key,
                            "You must delete all destinations before deleting this server.",
                        )
                        .blockers(remaining)
                        .hint("delete the destinations that are listed"),
                    );
                }
            }
            Kind::Server | Kind::Application | Kind::Database | Kind::Service | Kind::Notifier => {}
        }
    }
    for (destination, located) in located {
        members(ctx, destination, located, &accepted, &mut deletions);
    }
    deletions
}

/// A destination that is declared, and named in the request.
pub(crate) fn declared<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    mode: DeleteMode,
) -> Result<Removal<'a>, Note> {
    let key = &destination.key;
    if destination.suspend {
        return Err(Note::new(
            NoteKind::Suspended,
            Reason::Suspended,
            key,
            format!("{key} is suspended and left as it is."),
        )
        .hint("remove `suspend: true`, then delete it"));
    }
    let resources: Vec<Blocker> = destination
        .members
        .iter()
        .filter(|member| !ctx.is_deleted(&member.resource))
        .map(|member| declared_blocker(key, &member.resource))
        .collect();
    // Forgetting a destination leaves whatever names it without one.
    let forget = |network: &ObservedNetwork, why: &str| match mode {
        DeleteMode::Guarded if !resources.is_empty() => Note::refused(Reason::ResourcesRemain, key, RESOURCES_REMAIN)
            .blockers(resources.clone())
            .hint("delete what is listed, or give it another `destination`"),
        DeleteMode::Guarded | DeleteMode::Forced => orphaned(key, network, why),
    };
    let label = located.network().and_then(|network| ctx.host.owner(network)).map(|owner| owner.deletion_policy);
    let protected = [destination.deletion_policy, label.unwrap_or_default()].contains(&DeletionPolicy::Orphan);
    let facts = NetworkFacts { protected, ..NetworkFacts::new(Asked::Absent, Found::of(located)) };
    let network = match (decide_network(facts), located) {
        (NetworkDecision::Remove, Located::Owned(network)) => *network,
        (_, Located::Owned(network)) => return Err(forget(network, "has the deletion policy Orphan")),
        (_, Located::Adopted(network)) => return Err(forget(network, "is adopted")),
        (_, Located::Missing) => {
            let name = destination.network.name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
            let message = format!("The network{name} of {key} is gone already; there is nothing to delete.");
            return Err(Note::warning(Reason::NetworkNotFound, key, message));
        }
        (_, Located::Refused(note)) if note.reason == Reason::AdoptionRequired => {
            return Err(Note::warning(Reason::Orphaned, key, format!("{} It stays as it is.", note.message)));
        }
        (_, Located::Refused(note)) => return Err(note.clone()),
    };
    let doomed = Doomed { destination: key, network, cause: Cause::DeletionRequested, mode };
    removal(ctx, outlook, doomed, resources)
}

/// A destination that no manifest declares any more, named in the request: its network is known by its labels.
fn undeclared<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    key: &ObjectKey,
    mode: DeleteMode,
    deletions: &mut Deletions<'a>,
) {
    let networks: Vec<_> =
        ctx.host.verified(ctx.set).filter(|(_, of)| *of == key).map(|(network, _)| network).collect();
    for network in networks.into_iter().filter(|network| ctx.looks_after(network)) {
        let label = ctx.host.owner(network).map(|owner| owner.deletion_policy).unwrap_or_default();
        if label == DeletionPolicy::Orphan || ctx.request.protected.contains(key) {
            deletions.notes.push(orphaned(key, network, "has the deletion policy Orphan"));
            continue;
        }
        let doomed = Doomed { destination: key, network, cause: Cause::DeletionRequested, mode };
        match removal(ctx, outlook, doomed, Vec::new()) {
            Ok(removal) => deletions.removals.push(removal),
            Err(note) => deletions.notes.push(note),
        }
    }
}

pub(crate) fn orphaned(key: &ObjectKey, network: &ObservedNetwork, why: &str) -> Note {
    Note::warning(
        Reason::Orphaned,
        key,
        format!("The network {:?} {why}: it is forgotten, with everything on it left as it is.", network.name),
    )
    .hint(format!("once nothing is attached to it: docker network rm {}", network.id.short()))
}

/// The endpoints of resources that the request names: those that Landfall connected go with them.
fn members<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    accepted: &BTreeSet<&ObjectKey>,
    deletions: &mut Deletions<'a>,
) {
    let Some(network) = located.network() else { return };
    if accepted.contains(&destination.key) {
        return;
    }
    let kept: BTreeSet<_> = destination
        .members
        .iter()
        .filter(|member| member.connect && !ctx.is_deleted(&member.resource))
        .flat_map(|member| selector::matching(&ctx.host, &member.selector))
        .map(|container| &container.id)
        .collect();
    let mut seen = BTreeSet::new();
    member_services(ctx, destination, network, deletions);
    for member in destination.members.iter().filter(|member| ctx.is_deleted(&member.resource)) {
        for container in selector::matching(&ctx.host, &member.selector) {
            // What Landfall runs itself goes with its endpoints, and serves until it is stopped.
            let goes = ctx.host.identities.get(container);
            if goes.is_some_and(|it| it.set == ctx.set && it.object == member.resource)
                || kept.contains(&container.id)
                || container::is_proxy(container, ctx.server.proxy.as_ref())
                || container::is_task(container)
                || !seen.insert(&container.id)
            {
                continue;
            }
            let Some(attached) = ctx.host.attachment(container, Some(network), &network.name) else { continue };
            if attached.stale {
                continue;
            }
            let options = attached.endpoint.settings.as_ref().map(|settings| &settings.driver_opts);
            let marked = options.is_some_and(|options| applied::is_own(options, ctx.set))
                && !leaving::is_at_home(&ctx.host, container, options, &network.name, Some(network));
            let who = Party::Container(container);
            deletions.leave(ctx, (destination, network), &member.resource, who, marked);
        }
    }
}

impl Deletions<'_> {
    /// Takes somebody off the network whose resource is deleted, where Landfall put him there.
    fn leave(
        &mut self,
        ctx: &Context<'_>,
        (destination, network): (&DesiredDestination, &ObservedNetwork),
        resource: &ObjectKey,
        who: Party<'_>,
        marked: bool,
    ) {
        let (name, on) = (who.name(), &network.name);
        let (what, did, off) = match who {
            Party::Container(_) => {
                (format!("{name:?}"), "connect it", format!("docker network disconnect {on} {name}"))
            }
            Party::Service(_) => (
                format!("The Swarm service {name:?}"),
                "put it there",
                format!("docker service update --network-rm {on} {name}"),
            ),
        };
        if destination.suspend || ctx.is_deleted(&destination.key) {
            let why = if destination.suspend { "is suspended" } else { "is not deleted" };
            let message = format!("{what} is left on {on:?}, since {} {why}.", destination.key);
            self.notes.push(Note::warning(Reason::ResourcesRemain, resource, message));
        } else if marked {
            self.groups.push(match who {
                Party::Container(container) => endpoint::detach(resource, container, network, Cause::DeletionRequested),
                Party::Service(service) => attachment::detach(resource, service, network, Cause::DeletionRequested),
            });
        } else {
            let message = format!("{what} is left on {on:?}: Landfall did not {did}.");
            self.notes.push(Note::unmanaged(Reason::MembershipForeign, resource, message).hint(off));
        }
    }
}

/// Services of resources that the request names: taken off the network if Landfall put them there.
fn member_services(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    network: &ObservedNetwork,
    deletions: &mut Deletions<'_>,
) {
    let kept = |name: &String| {
        let mut kept = destination.members.iter().filter(|member| member.connect && !ctx.is_deleted(&member.resource));
        kept.any(|member| member.selector.swarm_services.contains(name))
    };
    let mut seen = BTreeSet::new();
    for member in destination.members.iter().filter(|member| ctx.is_deleted(&member.resource)) {
        for name in &member.selector.swarm_services {
            let Some(service) = ctx.host.service_named(name).filter(|_| !kept(name)) else { continue };
            let Some(attachment) = service.attachment(network) else { continue };
            let goes = service::identity_of_service(service);
            if goes.is_some_and(|it| it.set == ctx.set && it.object == member.resource)
                || service::is_proxy(service, ctx.server.proxy.as_ref())
                || elsewhere::wanted_elsewhere(ctx, &destination.key, network, service)
                || !seen.insert(name)
            {
                continue;
            }
            let marked =
                ownership::is_marked_service(attachment, ctx.set) && !applied::is_found(&attachment.driver_opts);
            let who = Party::Service(service);
            deletions.leave(ctx, (destination, network), &member.resource, who, marked);
        }
    }
}
