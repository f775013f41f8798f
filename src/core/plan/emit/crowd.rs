//! Whoever is on a network that is replaced, and how they come to be on the new one.

use std::collections::BTreeSet;

use super::draft::Replaced;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, EndpointSettings, ObservedContainer, ObservedNetwork};
use crate::core::plan::decide::leaving::{self, Fate};
use crate::core::plan::decide::seat::{self, Wish};
use crate::core::plan::decide::{addresses, settings};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalEndpoint, JournalPurpose};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{
    Connection, ContainerTarget, NetworkCreate, NetworkTarget, PartyId, Reserved,
};
use crate::core::plan::document::withheld::WithheldDisconnection;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::party::Outlook;
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::target::{Target, recreation};
use crate::core::plan::world::{container, ownership};

/// Somebody to be connected to the new network.
pub(crate) struct Returning<'a> {
    pub(crate) container: &'a ObservedContainer,
    pub(crate) before: EndpointSettings,
    pub(crate) after: EndpointSettings,
    pub(crate) cause: Cause,
    /// That list him, where an interrupted replacement has left him behind.
    pub(crate) journals: Vec<&'a Journal>,
}

impl Returning<'_> {
    fn is_static(&self) -> bool {
        addresses::is_static(&self.after)
    }
}

/// Somebody on the old network.
pub(crate) struct Leaving<'a> {
    pub(crate) attached: Attached<'a>,
    pub(crate) before: EndpointSettings,
    /// Why he does not come back; `None`: he does.
    pub(crate) gone: Option<Cause>,
}

/// Whoever is on a network that goes.
pub(crate) struct Crowd<'a> {
    pub(crate) leaving: Vec<Leaving<'a>>,
    pub(crate) returning: Vec<Returning<'a>>,
    pub(crate) counted: Vec<WithheldDisconnection>,
}

impl<'a> Crowd<'a> {
    /// Somebody who cannot be connected to a network of that name, for he is pinned to one that is gone.
    pub(crate) fn pinned_to(&self, name: &str) -> Option<&'a ObservedContainer> {
        let mut returning = self.returning.iter().map(|it| it.container);
        returning.find(|it| it.endpoints.iter().any(|known| known.network_name == name))
    }

    /// Who has an address of their own first, as the others are given what is free then; and then the proxy, which serves everyone.
    pub(crate) fn in_order(&mut self, ctx: &Context<'_>) {
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
pub(crate) struct Change<'c, 'a> {
    pub(crate) ctx: &'c Context<'a>,
    pub(crate) destination: &'a DesiredDestination,
    /// The one that goes.
    pub(crate) network: &'a ObservedNetwork,
    /// The one that is to be, or is there already.
    pub(crate) made: &'c Target<'c>,
    pub(crate) members: &'c Members<'a>,
    pub(crate) cause: Cause,
}

impl<'a> Change<'_, 'a> {
    pub(crate) fn crowd(&self) -> Result<Crowd<'a>, Note> {
        let Self { ctx, destination, network, members, cause, .. } = *self;
        let mut crowd = Crowd { leaving: Vec::new(), returning: Vec::new(), counted: Vec::new() };
        for it in ctx.host.attached(network) {
            let container = it.container;
            if container::is_going(container) {
                continue;
            }
            let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
            let marked = it.endpoint.settings.as_ref().is_some_and(|settings| ownership::is_marked(settings, ctx.set));
            let gone = if is_proxy(ctx, container) {
                match seat::proxy(destination, marked, declared.is_some()) {
                    Wish::Absent(cause) if declared.is_none() => Some(cause),
                    _ => None,
                }
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
            let bereft = ctx.host.bereft(container, network, &self.made.create.name);
            if let Some(first) = bereft.filter(|_| gone.is_none()) {
                return Err(self.inseparable(container, first));
            }
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
        let unknown = || settings::unknown(&self.destination.key, it.container, &self.network.name);
        settings::restorable(it).ok_or_else(unknown)
    }

    /// Somebody who would be on no network, or on one less, for ever.
    fn inseparable(&self, container: &ObservedContainer, first: &str) -> Note {
        let (name, network) = (&container.name, &self.network.name);
        let gone = if self.network.id.as_str().starts_with(first) { "which goes with it" } else { "which is gone" };
        let message = format!(
            "The network {network:?} is not replaced: {name:?} is on it and was created on {first:?}, {gone}. This Docker Engine connects no container without the network that it was created on."
        );
        let hint = format!("create {name} anew on {network:?}, by its name");
        Note::refused(Reason::ImmutableField, &self.destination.key, message).hint(hint)
    }

    /// How somebody is to be connected to the new network who was connected to the old one like this.
    pub(crate) fn settings(&self, container: &ObservedContainer, mut before: EndpointSettings) -> EndpointSettings {
        let Self { ctx, destination, made, members, .. } = *self;
        let reserved = addresses::reserved(ctx, made, members, &container.id);
        addresses::let_go(&mut before, &reserved, ctx.set);
        settings::returning_settings(ctx, destination, members, container, before)
    }

    fn operation(&self, call: Call, cause: Cause, disruptive: bool, undo: Option<Call>) -> Operation {
        Operation { object: self.destination.key.clone(), call, cause, disruptive, undo }
    }

    fn group(&self, operations: Vec<Operation>) -> Group {
        Group::new(&self.destination.key, operations)
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
    pub(crate) fn in_turn(&self, crowd: Crowd<'a>, create: NetworkCreate) -> Replaced<'a> {
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
    pub(crate) fn beside(&self, crowd: Crowd<'a>, create: Option<NetworkCreate>) -> Replaced<'a> {
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
                    .map(|it| Connection { party: PartyId::Container(it.container.id.clone()), network: made.call() });
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

pub(crate) fn is_proxy(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    container::is_proxy(container, ctx.server.proxy.as_ref())
}

fn disconnection(network: &NetworkTarget, container: &ObservedContainer) -> Call {
    Call::DisconnectEndpoint { network: network.clone(), container: ContainerTarget::of(container), force: false }
}
