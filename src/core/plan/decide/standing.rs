//! Whether what an endpoint was made for still needs it.

use std::collections::{BTreeMap, BTreeSet};

use super::creation;
use crate::core::api::{ContainerSelector, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredMember, DesiredServer, ProxyInstance};
use crate::core::observed::{ObservedContainer, ObservedNetwork, ObservedState};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::Connection;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::ownership::{self, Purpose};
use crate::core::plan::world::party::{Lack, Outlook, Party};
use crate::core::plan::world::{container, selector};

/// Whether one of the things that an endpoint was made for still needs it.
pub(crate) enum Standing {
    /// The manifests do not have it any more.
    Dropped,
    Served {
        why: Why,
        needs: Vec<Connection>,
    },
    Waits(Note),
}

/// Decides about one endpoint.
pub(crate) struct Question<'c, 'a> {
    pub(crate) ctx: &'c Context<'a>,
    pub(crate) outlook: &'c Outlook,
    pub(crate) who: Party<'a>,
    /// The driver options of the endpoint; `None` where they are not known.
    pub(crate) options: Option<&'a BTreeMap<String, String>>,
    /// `None` where it is missing at present.
    pub(crate) network: Option<&'a ObservedNetwork>,
    /// Its name.
    pub(crate) name: &'c str,
    /// The declared destination whose network it is.
    pub(crate) home: Option<&'a DesiredDestination>,
}

impl<'a> Question<'_, 'a> {
    /// Where on this server the resource is to be connected.
    fn places(&self, resource: &ObjectKey) -> Vec<(&'a DesiredDestination, &'a DesiredMember)> {
        places(self.ctx, self.ctx.server, resource)
    }

    pub(crate) fn resource(&self, resource: &ObjectKey) -> Standing {
        let places = self.places(resource);
        if places.is_empty() {
            return self.on_another_server(resource);
        }
        let mut why = Why::Replaced;
        let mut needs = Vec::new();
        for (destination, declared) in places {
            let moves = !self.is_home(destination) && self.who.is_meant_by(&declared.selector);
            let served = if moves {
                why = Why::Moved;
                self.in_place(self.who, destination).map(|need| need.into_iter().collect()).ok_or(None)
            } else {
                self.served(declared, destination).map_err(Some)
            };
            match served {
                Ok(further) => needs.extend(further),
                Err(None) => return Standing::Waits(self.waits_for_move(resource, destination)),
                Err(Some(lack)) => return Standing::Waits(self.waits_for_successor(resource, destination, &lack)),
            }
        }
        Standing::Served { why, needs }
    }

    pub(crate) fn proxy(&self) -> Standing {
        let Some(home) = self.home.filter(|home| home.proxy && home.active) else { return Standing::Dropped };
        let Some(proxy) = &self.ctx.server.proxy else { return Standing::Dropped };
        let name = proxy.instance.name();
        let found = match &proxy.instance {
            ProxyInstance::Container(name) => self.ctx.host.container_named(name).map(Party::Container),
            ProxyInstance::Service(name) => self.ctx.host.service_named(name).map(Party::Service),
        };
        let lack = match found {
            None => Lack::of(format!("there is no {name:?}")),
            Some(found) => match self.takes_over(found, home) {
                Ok(needs) => return Standing::Served { why: Why::Replaced, needs: needs.into_iter().collect() },
                Err(lack) => lack,
            },
        };
        let note = Note::waiting(
            lack.reason,
            &home.key,
            format!("{:?} stays on {:?} as a proxy of the server: {}.", self.who.name(), self.name, lack.message),
        );
        let hint = format!("it is disconnected once {name:?} runs and is connected");
        Standing::Waits(note.hint(hint).again(lack.again))
    }

    /// The connections by which others serve for a resource on a destination, as far as the plan makes them, or what is wanting.
    fn served(&self, declared: &DesiredMember, destination: &'a DesiredDestination) -> Result<Vec<Connection>, Lack> {
        let ContainerSelector { names, swarm_services, .. } = &declared.selector;
        let host = &self.ctx.host;
        if !swarm_services.is_empty() {
            let service = |name: &String| {
                let missing = || Lack::of(format!("there is no Swarm service {name:?}"));
                let service = host.service_named(name).ok_or_else(missing)?;
                self.takes_over(Party::Service(service), destination)
            };
            return Ok(swarm_services
                .iter()
                .map(service)
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect());
        }
        let mut found = selector::matching(host, &declared.selector);
        if declared.workload.is_some() {
            // Nobody takes his own place, and none that carries a copy of the labels takes anybody's.
            let is_own = |it: &ObservedContainer| host.identities.get(it).is_some_and(|it| it.set == self.ctx.set);
            found.retain(|it| is_own(it) && Party::Container(it).party() != self.who.party());
        }
        let recorded = self.options.and_then(|options| options.get(ownership::NAME));
        let own: Vec<&String> = names.iter().filter(|name| recorded == Some(name)).collect();
        let required = if own.is_empty() { names.iter().collect() } else { own };
        if required.is_empty() {
            // Whoever is chosen by labels is as good as any other of them.
            let tried: Vec<_> =
                found.into_iter().map(|it| self.takes_over(Party::Container(it), destination)).collect();
            if tried.iter().any(|tried| matches!(tried, Ok(None))) {
                return Ok(Vec::new());
            }
            let first = tried.into_iter().reduce(|first, next| if first.is_ok() { first } else { next });
            return first
                .unwrap_or_else(|| Err(Lack::of("no container matches".to_owned())))
                .map(|need| need.into_iter().collect());
        }
        let mut needs = Vec::new();
        for name in required {
            let container = found.iter().find(|container| container.name == *name);
            let container = container.ok_or_else(|| Lack::of(format!("there is no container {name:?}")))?;
            needs.extend(self.takes_over(Party::Container(container), destination)?);
        }
        Ok(needs)
    }

    /// Whether somebody serves on a destination: at present, or by a connection that the plan makes.
    fn takes_over(&self, who: Party<'a>, destination: &DesiredDestination) -> Result<Option<Connection>, Lack> {
        // What has done its work keeps no stranger on an exclusive destination.
        if !self.is_marked() && who.is_done() {
            return Ok(None);
        }
        if let Some(lack) = who.unfit() {
            return Err(lack);
        }
        self.in_place(who, destination)
            .ok_or_else(|| Lack::of(format!("{:?} is not on {}", who.name(), destination.key)))
    }

    /// Whether somebody is on the destination's network: `Some(None)` at present, else by a connection that the plan makes.
    fn in_place(&self, who: Party<'_>, destination: &DesiredDestination) -> Option<Option<Connection>> {
        let (_, located) = self.ctx.located.iter().find(|(it, _)| it.key == destination.key)?;
        let current = located.network();
        let party = who.party();
        let target = || creation::creation(self.ctx, destination, current.map(|it| it.name.as_str())).name;
        let names = current.map(|network| network.name.clone()).into_iter().chain(
            // Most destinations need no more than the first.
            (!matches!(located, Located::Adopted(_))).then(target),
        );
        let mut undone = false;
        for name in names {
            let key = (party.clone(), name);
            if let Some(network) = self.outlook.made.get(&key) {
                return Some(Some(Connection { party, network: network.clone() }));
            }
            undone |= self.outlook.undone.contains(&key);
        }
        if undone {
            return None;
        }
        current.is_some_and(|network| who.is_on(&self.ctx.host, network)).then_some(None)
    }

    /// Resources that mean him and that the endpoint was not made for, as far as is known: wherever they are declared, he is to be connected at
    /// one place before he is disconnected here.
    pub(crate) fn elsewhere(
        &self,
        purposes: &BTreeSet<Purpose>,
    ) -> Result<Option<(ObjectKey, Option<Connection>)>, Note> {
        let mut planned = None;
        let mut missing = None;
        for destination in self.ctx.server.destinations.iter().filter(|it| !self.is_home(it)) {
            if self.ctx.is_deleted(&destination.key) {
                continue;
            }
            let means = |member: &&DesiredMember| {
                member.connect
                    && !self.ctx.is_deleted(&member.resource)
                    && !purposes.contains(&Purpose::Resource(member.resource.clone()))
                    && self.who.is_meant_by(&member.selector)
            };
            for member in destination.members.iter().filter(means) {
                match self.in_place(self.who, destination) {
                    Some(None) => return Ok(Some((member.resource.clone(), None))),
                    Some(Some(need)) => planned = planned.or(Some((member.resource.clone(), Some(need)))),
                    None => missing = missing.or_else(|| Some(self.waits_for_move(&member.resource, destination))),
                }
            }
        }
        match (planned, missing) {
            (None, Some(note)) => Err(note),
            (planned, _) => Ok(planned),
        }
    }

    /// Whoever moves to another destination is served by the proxy there before he leaves the one where it serves him now.
    pub(crate) fn accompanied(&self, needs: &mut Vec<Connection>) -> Result<(), Note> {
        let Some(proxy) = &self.ctx.server.proxy else { return Ok(()) };
        let proxy = match &proxy.instance {
            ProxyInstance::Container(name) => self.ctx.host.container_named(name).map(Party::Container),
            ProxyInstance::Service(name) => self.ctx.host.service_named(name).map(Party::Service),
        };
        let serves = |proxy: &Party<'_>| self.network.is_some_and(|network| proxy.is_on(&self.ctx.host, network));
        let Some(proxy) = proxy.filter(serves) else { return Ok(()) };
        let goes_to = |destination: &&DesiredDestination| {
            destination.proxy
                && destination.active
                && !self.is_home(destination)
                && !self.ctx.is_deleted(&destination.key)
                && destination.members.iter().any(|member| member.connect && self.who.is_meant_by(&member.selector))
        };
        for destination in self.ctx.server.destinations.iter().filter(goes_to) {
            match self.in_place(proxy, destination) {
                Some(need) => needs.extend(need),
                None => {
                    return Err(Note::waiting(
                        Reason::ContainerMissing,
                        &destination.key,
                        format!(
                            "{:?} stays on {:?} until the proxy {:?} is on {} as well.",
                            self.who.name(),
                            self.name,
                            proxy.name(),
                            destination.key
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn on_another_server(&self, resource: &ObjectKey) -> Standing {
        let others = self.ctx.input.desired.all_servers().filter(|server| server.key != self.ctx.server.key);
        let places: Vec<_> = others
            .flat_map(|server| places(self.ctx, server, resource).into_iter().map(move |place| (server, place)))
            .collect();
        if places.is_empty() {
            return Standing::Dropped;
        }
        for (server, (destination, declared)) in places {
            let (reason, lack, again) = match self.ctx.input.observed.get(&server.key) {
                Some(Ok(state)) => match serves(state, destination, declared) {
                    Ok(()) => continue,
                    Err(again) => (Reason::ContainerMissing, String::new(), again),
                },
                Some(Err(_)) | None => (Reason::ServerUnreachable, format!(" {} was not looked at.", server.key), None),
            };
            return Standing::Waits(
                Note::waiting(
                    reason,
                    resource,
                    format!(
                        "{:?} stays on {:?} until {resource} runs on {} of {}, where it is declared now.{lack}",
                        self.who.name(),
                        self.name,
                        destination.key,
                        server.key
                    ),
                )
                .hint(format!(
                    "remove {:?} from {} when it is not needed there any more",
                    self.who.name(),
                    self.ctx.server.key
                ))
                .again(again),
            );
        }
        Standing::Served { why: Why::Moved, needs: Vec::new() }
    }

    fn waits_for_move(&self, resource: &ObjectKey, destination: &DesiredDestination) -> Note {
        let located = self.ctx.located.iter().find(|(it, _)| it.key == destination.key).map(|(_, located)| located);
        let (reason, lack) = match located {
            _ if destination.suspend => (Reason::Suspended, " It is suspended."),
            _ if !destination.active => (Reason::Suspended, " It is deactivated."),
            Some(Located::Refused(note)) => (note.reason, " It was refused."),
            Some(Located::Missing) => (Reason::NetworkNotFound, " Its network does not exist."),
            _ => (Reason::ContainerMissing, ""),
        };
        Note::waiting(
            reason,
            resource,
            format!(
                "{:?} stays on {:?} until it is on {}, where {resource} is declared now.{lack}",
                self.who.name(),
                self.name,
                destination.key
            ),
        )
    }

    fn waits_for_successor(&self, resource: &ObjectKey, destination: &DesiredDestination, lack: &Lack) -> Note {
        let where_ = if self.is_home(destination) { String::new() } else { format!(" on {}", destination.key) };
        let Lack { reason, message, again } = lack;
        Note::waiting(
            *reason,
            resource,
            format!(
                "{:?} stays on {:?} until another container takes its place{where_}: {message}.",
                self.who.name(),
                self.name
            ),
        )
        .hint(format!("it is disconnected once what {resource} declares runs and is connected"))
        .again(*again)
    }
}

/// Where on a server a resource is to be connected.
fn places<'a>(
    ctx: &Context<'_>,
    server: &'a DesiredServer,
    resource: &ObjectKey,
) -> Vec<(&'a DesiredDestination, &'a DesiredMember)> {
    if ctx.is_deleted(resource) {
        return Vec::new();
    }
    let destinations = server.destinations.iter().filter(|destination| !ctx.is_deleted(&destination.key));
    let declared = |member: &&DesiredMember| member.connect && member.resource == *resource;
    destinations
        .flat_map(|destination| destination.members.iter().filter(declared).map(move |member| (destination, member)))
        .collect()
}

/// Whether on another server something serves for a resource on a destination; else in how many seconds that may be so, where that is a matter
/// of time.
fn serves(
    state: &ObservedState,
    destination: &DesiredDestination,
    declared: &DesiredMember,
) -> Result<(), Option<u32>> {
    let is_network = |network: &&ObservedNetwork| match &destination.network.name {
        Some(name) => network.name == *name,
        None => ownership::of(network).is_some_and(|owner| owner.destination.as_ref() == Some(&destination.key)),
    };
    let networks: Vec<&ObservedNetwork> = state.networks.iter().filter(is_network).collect();
    let on_it = |container: &&ObservedContainer| {
        container
            .endpoints
            .iter()
            .any(|endpoint| networks.iter().any(|network| endpoint.network_id.as_ref() == Some(&network.id)))
    };
    let mut services = state.services.iter().filter(|it| declared.selector.swarm_services.contains(&it.name));
    if services.any(|service| !service.lacks_tasks() && networks.iter().any(|network| service.is_on(network))) {
        return Ok(());
    }
    let mut containers: Vec<&ObservedContainer> = state.containers.iter().collect();
    containers.retain(|it| !container::is_going(it) && selector::selects(&declared.selector, it) && on_it(it));
    match containers.iter().any(|it| it.has_settled()) {
        true => Ok(()),
        false => Err(containers.iter().filter_map(|it| it.settles_in()).min()),
    }
}

/// Why somebody leaves a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// The manifests no longer have what he was there for. The only kind that the limits of pruning count.
    Undeclared,
    /// Another container has taken his place.
    Replaced,
    /// He is where his resource is declared now.
    Moved,
}

impl Why {
    pub(crate) fn cause(self) -> Cause {
        match self {
            Why::Undeclared => Cause::MemberUndeclared,
            Why::Replaced => Cause::MemberReplaced,
            Why::Moved => Cause::MemberMoved,
        }
    }
}
