//! Replacing a network, because Docker cannot change one.
//!
//! Under its own name, or with the addresses that it has, the new one can be there only when the old one is gone: everyone off, the old one away,
//! the new one in its place, everyone on again. Under another name it is made beside the old one, and nobody leaves that before everybody is on
//! the new one. What is left of it when that is interrupted is the network of a former name, and is dealt with alike: nothing has to be written
//! down for that, since everyone is on the one or the other at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::destination::{Located, creation, overlap, recreation};
use super::feasible::uncreatable;
use super::host::{self, Attached};
use super::leaving::{self, Fate, Outlook};
use super::member::{self, Members, Target};
use super::operation::{
    Call, Cause, Connection, ContainerTarget, FieldDifference, Group, Journal, JournalEndpoint, JournalPurpose,
    NetworkCreate, NetworkTarget, Note, Operation, Party, Reason, Reserved, WithheldDisconnection,
};
use super::{Context, addresses, ownership, proxy};
use crate::core::api::{ObjectKey, Replacement};
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, EndpointSettings, NetworkId, ObservedContainer, ObservedNetwork};

#[derive(Default)]
pub(super) struct Replaced<'a> {
    pub(super) groups: Vec<Group>,
    /// Of a network that is made beside the old one: everybody off that, and it away, after everybody is on the new one.
    pub(super) departure: Option<Group>,
    /// Who the groups have dealt with.
    pub(super) handled: BTreeSet<&'a ContainerId>,
    /// Who does not come back, as far as the limits of pruning count it.
    pub(super) counted: Vec<WithheldDisconnection>,
    pub(super) notes: Vec<Note>,
}

/// Somebody to be connected to the new network.
struct Returning<'a> {
    container: &'a ObservedContainer,
    before: EndpointSettings,
    after: EndpointSettings,
    cause: Cause,
    /// That list him, where an interrupted replacement has left him behind.
    journals: Vec<&'a Journal>,
}

impl Returning<'_> {
    fn is_static(&self) -> bool {
        addresses::is_static(&self.after)
    }
}

/// Why a network is to be replaced.
#[derive(Clone, Copy)]
pub(super) struct Why<'d> {
    /// The fields that differ, each with both values.
    pub(super) differences: &'d [FieldDifference],
    pub(super) adopted: bool,
}

/// The operations that replace `network`, or why it is not replaced.
pub(super) fn replace<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    why: Why<'_>,
    members: &Members<'a>,
    removed: &BTreeSet<&NetworkId>,
) -> Result<Replaced<'a>, Note> {
    let taken_over = why.adopted && destination.take_ownership;
    let cause = if taken_over { Cause::OwnershipTaken } else { Cause::NetworkReplaced };
    let differ = match why.differences {
        [] => format!("The network {:?} is adopted and is to be Landfall's own", network.name),
        differences => differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    let refuse = |message: String| Note::refused(Reason::ImmutableField, &destination.key, message);
    if why.adopted && !taken_over {
        return Err(refuse(format!(
            "{differ}. The network is adopted, and Landfall removes none that it did not create."
        ))
        .hint(
            "change the manifest to what the network is, or have it made anew as Landfall's own: `takeOwnership: true`",
        ));
    }
    let attached: Vec<Attached<'a>> =
        ctx.host.attached(network).into_iter().filter(|attached| !host::is_going(attached.container)).collect();
    let blockers = ctx.host.blockers(network, ctx.server.proxy.as_ref());
    match destination.replacement {
        _ if taken_over => {}
        Replacement::Never => {
            return Err(refuse(format!("{differ}. Docker cannot change a network.")).hint(
                "change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`",
            ));
        }
        Replacement::WhenEmpty if attached.iter().any(|attached| !is_proxy(ctx, attached.container)) => {
            return Err(refuse(format!(
                "{differ}. The network is replaced when nothing but the proxy is on it, and something is."
            ))
            .blockers(blockers)
            .hint("disconnect what is on it, or allow to reconnect it: `replacement: Reattach`"));
        }
        Replacement::WhenEmpty | Replacement::Reattach => {}
    }
    let services = !ctx.host.services_on(network).is_empty();
    if services || attached.iter().any(|attached| host::is_task(attached.container)) {
        return Err(refuse(format!(
            "{differ}. Swarm services are on the network, and whether they are is up to their definitions."
        ))
        .blockers(blockers)
        .hint(
            "declare `proxy: false` and leave the services out of the manifests until the network is replaced; what Landfall did not put there \
             goes with docker service update --network-rm",
        ));
    }
    let unlisted = ctx.host.unlisted_on(network);
    if !unlisted.is_empty() {
        return Err(refuse(format!("{differ}. Something between hides who is on the network."))
            .blockers(unlisted)
            .hint("let Landfall see what is listed, or remove it"));
    }
    let mut ignored = removed.clone();
    ignored.insert(&network.id);
    let mut create = creation(ctx, destination, Some(&network.name));
    if destination.network.auto {
        // It is removed before the new one is made, and nobody else is given what it had.
        create.subnets = recreation(network).subnets;
    }
    if let Some(note) = uncreatable(ctx, destination, &create, &ignored).or_else(|| overlap(ctx, destination, &ignored))
    {
        return Err(note);
    }
    if create.name != network.name && !ctx.host.networks_named(&create.name).is_empty() {
        return Err(refuse(format!("{differ}, and a network of that name exists already.")).hint("choose another name"));
    }

    let made = Target { network: None, create: create.clone() };
    let change = Change { ctx, destination, network, made: &made, members, cause };
    let mut crowd = change.crowd()?;
    // Whoever an interrupted replacement has left behind comes back as well, and is not lost should this one be interrupted too.
    let target = Target { network: Some(network), create: recreation(network) };
    for (container, journals) in ctx.left_behind(destination, &target, members) {
        let Some(before) = journals.last().and_then(|journal| member::journalled_settings(journal, &container.id))
        else {
            continue;
        };
        let after = change.settings(container, before.clone());
        let cause = Cause::JournalRestore;
        crowd.returning.push(Returning { container, before, after, cause, journals });
    }
    if create.name != network.name
        && let Some(it) = crowd.pinned_to(&create.name)
    {
        return Err(refuse(format!("{differ}, and {:?} is pinned to another network of that name.", it.name))
            .hint(format!("docker network disconnect {} {}", create.name, it.name)));
    }
    if let Some(note) =
        displaced(destination, &create, &crowd.returning).or_else(|| collision(destination, &crowd.returning))
    {
        return Err(note);
    }
    crowd.in_order(ctx);
    let beside = create.name != network.name
        && uncreatable(ctx, destination, &create, removed).is_none()
        && overlap(ctx, destination, removed).is_none();
    let create = NetworkCreate { replaces: why.differences.to_vec(), ..create };
    let renumbered = renumbered(destination, network, &create, &crowd.returning);
    let mut replaced = if beside { change.beside(crowd, Some(create)) } else { change.in_turn(crowd, create) };
    replaced.notes.extend(renumbered);
    Ok(replaced)
}

/// Somebody on the old network.
struct Leaving<'a> {
    attached: Attached<'a>,
    before: EndpointSettings,
    /// Why he does not come back; `None`: he does.
    gone: Option<Cause>,
}

/// Whoever is on a network that goes.
struct Crowd<'a> {
    leaving: Vec<Leaving<'a>>,
    returning: Vec<Returning<'a>>,
    counted: Vec<WithheldDisconnection>,
}

impl<'a> Crowd<'a> {
    /// Somebody who cannot be connected to a network of that name, for he is pinned to one that is gone.
    fn pinned_to(&self, name: &str) -> Option<&'a ObservedContainer> {
        let mut returning = self.returning.iter().map(|it| it.container);
        returning.find(|it| it.endpoints.iter().any(|known| known.network_name == name))
    }

    /// Who has an address of their own first, as the others are given what is free then; and then the proxy, which serves everyone.
    fn in_order(&mut self, ctx: &Context<'_>) {
        self.returning.sort_by_key(|it| (!it.is_static(), !is_proxy(ctx, it.container), it.container.name.clone()));
        // Undone in reverse.
        self.leaving.sort_by_key(|it| addresses::is_static(&it.before));
    }

    fn all(&self) -> BTreeSet<&'a ContainerId> {
        let leaving = self.leaving.iter().map(|it| &it.attached.container.id);
        leaving.chain(self.returning.iter().map(|it| &it.container.id)).collect()
    }
}

/// One network in the place of another.
#[derive(Clone, Copy)]
struct Change<'c, 'a> {
    ctx: &'c Context<'a>,
    destination: &'a DesiredDestination,
    /// The one that goes.
    network: &'a ObservedNetwork,
    /// The one that is to be, or is there already.
    made: &'c Target<'c>,
    members: &'c Members<'a>,
    cause: Cause,
}

impl<'a> Change<'_, 'a> {
    fn crowd(&self) -> Result<Crowd<'a>, Note> {
        let Self { ctx, destination, network, members, cause, .. } = *self;
        let mut crowd = Crowd { leaving: Vec::new(), returning: Vec::new(), counted: Vec::new() };
        for it in ctx.host.attached(network) {
            let container = it.container;
            if host::is_going(container) {
                continue;
            }
            let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
            let marked = it.endpoint.settings.as_ref().is_some_and(|settings| ownership::is_marked(settings, ctx.set));
            let gone = if is_proxy(ctx, container) {
                (declared.is_none() && proxy::belongs(ctx, destination, marked) == Some(false))
                    .then_some(Cause::ProxyUnwanted)
            } else {
                // Whoever leaves in the same plan, after somebody else has been connected, leaves the new network.
                match leaving::fate(ctx, &Outlook::default(), destination, network, members, &it) {
                    Fate::Leaves(departure) => {
                        crowd.counted.extend(departure.counted);
                        Some(departure.cause)
                    }
                    Fate::Stays | Fate::Reported(_) => None,
                }
            };
            let before = self.before(&it)?;
            crowd.leaving.push(Leaving { attached: it, before: before.clone(), gone });
            if gone.is_none() {
                let after = self.settings(container, before.clone());
                crowd.returning.push(Returning { container, before, after, cause, journals: Vec::new() });
            }
        }
        Ok(crowd)
    }

    fn before(&self, it: &Attached<'_>) -> Result<EndpointSettings, Note> {
        let unknown = || member::unknown(&self.destination.key, it.container, &self.network.name);
        member::restorable(it).ok_or_else(unknown)
    }

    /// How somebody is to be connected to the new network who was connected to the old one like this.
    fn settings(&self, container: &ObservedContainer, mut before: EndpointSettings) -> EndpointSettings {
        let Self { ctx, destination, made, members, .. } = *self;
        let reserved = addresses::reserved(ctx, made, members, &container.id);
        addresses::let_go(&mut before, &reserved, ctx.set);
        member::returning_settings(ctx, destination, members, container, before)
    }

    fn operation(&self, call: Call, cause: Cause, disruptive: bool, undo: Option<Call>) -> Operation {
        Operation { object: self.destination.key.clone(), call, cause, disruptive, undo }
    }

    fn group(&self, operations: Vec<Operation>) -> Group {
        let object = self.destination.key.clone();
        Group { object, operations, journal: None, completes: Vec::new(), needs: Vec::new() }
    }

    fn joins(&self, it: &Returning<'_>, undo: Option<Call>) -> Operation {
        let call = Call::ConnectEndpoint {
            network: self.made.call(),
            container: ContainerTarget::of(it.container),
            settings: it.after.clone(),
            reserved: addresses::reserved(self.ctx, self.made, self.members, &it.container.id),
        };
        self.operation(call, it.cause, false, undo)
    }

    /// He is put back should a later step fail, unless `is_elsewhere`.
    fn leaves(&self, it: &Leaving<'_>, is_elsewhere: bool) -> Operation {
        let (old, container) = (NetworkTarget::existing(self.network), it.attached.container);
        let undo = (!is_elsewhere).then(|| Call::ConnectEndpoint {
            network: old.clone(),
            container: ContainerTarget::of(container),
            settings: it.before.clone(),
            // As it was.
            reserved: Reserved::default(),
        });
        let cause = it.gone.unwrap_or(self.cause);
        self.operation(disconnection(&old, container), cause, container.state.is_live(), undo)
    }

    /// One after the other: everybody off, the old network away, the new one in its place, everybody on.
    fn in_turn(&self, crowd: Crowd<'a>, create: NetworkCreate) -> Replaced<'a> {
        let Self { ctx, destination, network, made, cause, .. } = *self;
        let mut operations: Vec<Operation> = crowd.leaving.iter().map(|it| self.leaves(it, false)).collect();
        let removal = Call::RemoveNetwork { network: NetworkTarget::existing(network) };
        let back = Call::CreateNetwork(NetworkCreate { beside: create.beside.clone(), ..recreation(network) });
        operations.push(self.operation(removal, cause, false, Some(back)));
        let away = Call::RemoveNetwork { network: made.call() };
        operations.push(self.operation(Call::CreateNetwork(create), cause, false, Some(away)));
        let on = crowd.returning.iter().map(|it| self.joins(it, Some(disconnection(&made.call(), it.container))));
        operations.extend(on);
        let mut completes: Vec<Journal> = Vec::new();
        for journal in crowd.returning.iter().flat_map(|it| &it.journals) {
            if !completes.contains(journal) {
                completes.push((*journal).clone());
            }
        }
        let endpoints = crowd.returning.iter().map(|it| JournalEndpoint {
            container: ContainerTarget::of(it.container),
            settings: it.before.clone(),
            was_running: it.container.state.is_live(),
        });
        let journal = Journal {
            services: Vec::new(),
            server: ctx.server.key.clone(),
            destination: destination.key.clone(),
            purpose: JournalPurpose::Reattach,
            network: recreation(network),
            endpoints: endpoints.collect(),
        };
        let group = Group { journal: Some(journal), completes, ..self.group(operations) };
        let renamed = made.create.name != network.name;
        let strangers = crowd.returning.iter().filter(|it| renamed && self.is_stranger(it));
        let notes = strangers.map(|it| self.moves_along(it.container)).collect();
        Replaced { handled: crowd.all(), groups: vec![group], counted: crowd.counted, notes, ..Replaced::default() }
    }

    /// Beside each other: everybody on the new network, which is made where it does not exist yet, each by himself; and when all are there,
    /// everybody off the old one, and that away.
    fn beside(&self, crowd: Crowd<'a>, create: Option<NetworkCreate>) -> Replaced<'a> {
        let Self { ctx, network, made, cause, .. } = *self;
        let is_there = |it: &Returning<'_>| made.network.is_some_and(|network| ctx.host.is_on(it.container, network));
        let (there, on): (Vec<_>, Vec<_>) = crowd.returning.iter().partition(|it| is_there(it));
        let mut off: Vec<Operation> = crowd.leaving.iter().map(|it| self.leaves(it, it.gone.is_none())).collect();
        let removal = Call::RemoveNetwork { network: NetworkTarget::existing(network) };
        off.push(self.operation(removal, cause, false, None));
        let create = create.map(|create| {
            let away = Call::RemoveNetwork { network: made.call() };
            self.operation(Call::CreateNetwork(create), cause, false, Some(away))
        });
        let mut replaced = Replaced::default();
        match create {
            // Nobody is there to be seen on the new one before the old one goes.
            Some(create) if on.is_empty() => {
                off.insert(0, create);
                replaced.groups.push(self.group(off));
            }
            create => {
                replaced.groups.extend(create.map(|create| self.group(vec![create])));
                replaced.groups.extend(on.iter().map(|it| {
                    let completes = it.journals.iter().map(|journal| (*journal).clone()).collect();
                    Group { completes, ..self.group(vec![self.joins(it, None)]) }
                }));
                let needs = on
                    .iter()
                    .map(|it| Connection { party: Party::Container(it.container.id.clone()), network: made.call() });
                replaced.departure = Some(Group { needs: needs.collect(), ..self.group(off) });
            }
        }
        let strangers = on.iter().filter(|it| self.is_stranger(it));
        replaced.notes.extend(strangers.map(|it| self.moves_along(it.container)));
        replaced.handled = crowd.all();
        for it in there {
            // He is looked after where he is.
            replaced.handled.remove(&it.container.id);
        }
        replaced.counted = crowd.counted;
        replaced
    }

    /// Neither declared nor connected by Landfall.
    fn is_stranger(&self, it: &Returning<'_>) -> bool {
        let id = &it.container.id;
        !is_proxy(self.ctx, it.container)
            && !self.members.declared.contains(id)
            && !self.members.leaving.contains(id)
            && !ownership::is_marked(&it.before, self.ctx.set)
    }

    fn moves_along(&self, container: &ObservedContainer) -> Note {
        let (former, new) = (&self.network.name, &self.made.create.name);
        let message = format!(
            "No resource declares the container {:?}, which is on {former:?}: it moves to {new:?} with the others.",
            container.name
        );
        Note::unmanaged(Reason::MembershipForeign, &self.destination.key, message)
            .hint(format!("what runs it names {former:?}: write {new:?} there before it is run anew"))
    }
}

fn is_proxy(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    host::is_proxy(container, ctx.server.proxy.as_ref())
}

fn disconnection(network: &NetworkTarget, container: &ObservedContainer) -> Call {
    Call::DisconnectEndpoint { network: network.clone(), container: ContainerTarget::of(container), force: false }
}

/// Whether the network is one that its destination had under a former name, with the leave of `replacement` to make it anew: of a change of the name
/// that was interrupted.
pub(super) fn is_former(ctx: &Context<'_>, network: &ObservedNetwork, of: &ObjectKey) -> bool {
    let Some((destination, located)) = ctx.located.iter().find(|(it, _)| it.key == *of) else { return false };
    let Located::Owned(current) = located else { return false };
    let may_go = match destination.replacement {
        Replacement::Never => false,
        Replacement::WhenEmpty => ctx.host.attached(network).iter().all(|it| is_proxy(ctx, it.container)),
        Replacement::Reattach => true,
    };
    let foreign = network.labels.get(ownership::SOURCE).is_some_and(|source| ctx.another_source(source).is_some());
    may_go
        && !foreign
        && !destination.suspend
        && !ctx.is_deleted(of)
        && destination.network.name.as_deref() == Some(current.name.as_str())
        && current.name != network.name
        && (current.scope, &current.driver) == (network.scope, &network.driver)
        && ctx.looks_after(network)
        && !ctx.declared_in_swarm(network, of)
        && !ctx.located.iter().any(|(_, other)| other.network().is_some_and(|used| used.id == network.id))
}

/// Goes on with a change of the name that was interrupted: whoever is on the network of a former name comes to be on the present one, and it goes. One
/// a pass.
pub(super) fn succeed<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    current: &'a ObservedNetwork,
    members: &Members<'a>,
) -> Option<Result<Replaced<'a>, Note>> {
    let mut formers: Vec<&ObservedNetwork> = ctx
        .host
        .verified_of(ctx.set, &destination.key)
        .filter(|network| is_former(ctx, network, &destination.key))
        .collect();
    formers.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let former = formers.into_iter().next()?;
    Some(succeed_one(ctx, destination, former, current, members))
}

fn succeed_one<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    former: &'a ObservedNetwork,
    current: &'a ObservedNetwork,
    members: &Members<'a>,
) -> Result<Replaced<'a>, Note> {
    let made = Target { network: Some(current), create: recreation(current) };
    let stays = |why: String| {
        let message = format!(
            "The network {:?} was made for {}, which uses {:?} now. {why}",
            former.name, destination.key, current.name
        );
        Note::refused(Reason::ImmutableField, &destination.key, message)
    };
    let attached = ctx.host.attached(former);
    if !ctx.host.services_on(former).is_empty() || attached.iter().any(|it| host::is_task(it.container)) {
        let note = stays("Swarm services are on it, and whether they are is up to their definitions.".to_owned());
        return Err(note
            .blockers(ctx.host.blockers(former, ctx.server.proxy.as_ref()))
            .hint(format!("take them off: docker service update --network-rm {} NAME", former.name)));
    }
    let unlisted = ctx.host.unlisted_on(former);
    if !unlisted.is_empty() {
        let note = stays("Something between hides who is on it.".to_owned());
        return Err(note.blockers(unlisted).hint("let Landfall see what is listed, or remove it"));
    }
    let change = Change { ctx, destination, network: former, made: &made, members, cause: Cause::NetworkReplaced };
    let mut crowd = change.crowd()?;
    let stale = |it: &&ObservedContainer| {
        ctx.host.attachment(it, Some(current), &current.name).is_some_and(|attached| attached.stale)
    };
    if let Some(pinned) = crowd.returning.iter().map(|it| it.container).find(stale) {
        return Err(stays(format!("{:?} is pinned to another network of that name.", pinned.name))
            .hint(format!("docker network disconnect {} {}", current.name, pinned.name)));
    }
    if let Some(note) =
        displaced(destination, &made.create, &crowd.returning).or_else(|| collision(destination, &crowd.returning))
    {
        return Err(note);
    }
    crowd.in_order(ctx);
    Ok(change.beside(crowd, None))
}

/// The daemon chooses the range of the new network, and with it the addresses of all who are on it.
fn renumbered(
    destination: &DesiredDestination,
    network: &ObservedNetwork,
    create: &NetworkCreate,
    returning: &[Returning<'_>],
) -> Option<Note> {
    if !create.subnets.is_empty() || network.subnets.is_empty() || returning.is_empty() {
        return None;
    }
    let ranges: Vec<&str> = network.subnets.iter().map(|it| it.subnet.as_str()).collect();
    let message = format!(
        "The network {:?} has {} now, and is made anew without a declared subnet: the daemon may choose another, and the addresses of all containers on it change.",
        network.name,
        ranges.join(", ")
    );
    let kept: Vec<String> = ranges.iter().map(|range| format!("{{ subnet: {range} }}")).collect();
    let hint = format!("to keep it, declare it: `network: {{ subnets: [{}] }}`", kept.join(", "));
    Some(Note::warning(Reason::ImmutableField, &destination.key, message).hint(hint))
}

/// A static address that two of them are to have.
fn collision(destination: &DesiredDestination, returning: &[Returning<'_>]) -> Option<Note> {
    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for it in returning {
        for address in addresses::configured(&it.after) {
            let Some(other) = owners.insert(address, &it.container.name) else { continue };
            let name = &it.container.name;
            let message =
                format!("The network is not replaced: {other:?} and {name:?} would both have the address {address}.");
            return Some(
                Note::refused(Reason::AddressTaken, &destination.key, message)
                    .hint("declare another address, or reconnect the one that people gave it to without it"),
            );
        }
    }
    None
}

/// Static addresses that the new network will not have.
fn displaced(destination: &DesiredDestination, create: &NetworkCreate, returning: &[Returning<'_>]) -> Option<Note> {
    let ranges: Vec<IpNet> = create.subnets.iter().filter_map(|it| it.subnet.parse().ok()).collect();
    let lost: Vec<String> = returning
        .iter()
        .flat_map(|it| {
            [&it.after.ipv4_address, &it.after.ipv6_address]
                .into_iter()
                .flatten()
                .filter(|text| {
                    member::address(text).is_some_and(|address| !ranges.iter().any(|range| range.contains(&address)))
                })
                .map(|address| format!("{address} of {:?}", it.container.name))
        })
        .collect();
    (!lost.is_empty()).then(|| {
        Note::refused(
            Reason::AddressUnavailable,
            &destination.key,
            format!(
                "The network is not replaced: static addresses would be outside of its declared subnets: {}.",
                lost.join(", ")
            ),
        )
        .hint("declare the subnets and, for its members, `endpoint.ipv4Address`")
    })
}
