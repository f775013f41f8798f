//! Who may be taken off a network that Landfall put him on, and after what.
//!
//! Make before break: an endpoint goes when the manifests no longer have what it was made for, or when that is served elsewhere or by another
//! container, running, healthy where it has a health check, and connected. A declaration that finds nothing waits and keeps what is connected: a
//! container that a deploy tool has renamed, or a name with a letter too few in a manifest, is no reason to cut anybody off.
//!
//! What an endpoint was made for is written on it (`ownership.rs`). One from before that, or one that Landfall did not make, is taken to be anybody's
//! who is declared on its destination.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::applied;
use super::destination::{self, Located};
use super::host::{self, Attached, Host};
use super::member::{self, Members};
use super::operation::{Call, Cause, Connection, Group, NetworkTarget, Note, Party, Reason, WithheldDisconnection};
use super::ownership::{self, Purpose};
use crate::core::api::{ContainerSelector, Membership, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredMember, DesiredServer, ProxyInstance};
use crate::core::observed::{
    ContainerState, NetworkId, ObservedContainer, ObservedNetwork, ObservedService, ObservedState, STABLE, TaskCount,
};
use crate::core::workload::stack;

/// What a plan changes about who is on which network. Networks go by their names, for one may be made anew.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    made: BTreeMap<(Party, String), NetworkTarget>,
    undone: BTreeSet<(Party, String)>,
    pub(super) removed: BTreeSet<NetworkId>,
}

impl Outlook {
    pub(super) fn of<'g>(groups: impl Iterator<Item = &'g Group>) -> Self {
        let mut outlook = Self::default();
        for operation in groups.flat_map(|group| &group.operations) {
            for Connection { party, network } in operation.call.connections() {
                outlook.made.insert((party, network.name.clone()), network);
            }
            let gone = operation.call.disconnections().into_iter();
            outlook.undone.extend(gone.map(|Connection { party, network }| (party, network.name)));
            if let Call::RemoveNetwork { network } = &operation.call {
                outlook.removed.extend(network.id.clone());
            }
        }
        outlook
    }
}

/// A container or a Swarm service.
#[derive(Debug, Clone, Copy)]
pub(super) enum Somebody<'a> {
    Container(&'a ObservedContainer),
    Service(&'a ObservedService),
}

impl<'a> Somebody<'a> {
    fn name(&self) -> &'a str {
        match self {
            Somebody::Container(container) => &container.name,
            Somebody::Service(service) => &service.name,
        }
    }

    fn party(&self) -> Party {
        match self {
            Somebody::Container(container) => Party::Container(container.id.clone()),
            Somebody::Service(service) => Party::Service(service.id.clone()),
        }
    }

    fn is_meant_by(&self, selector: &ContainerSelector) -> bool {
        match self {
            Somebody::Container(container) => member::selects(selector, container),
            Somebody::Service(service) => selector.swarm_services.contains(&service.name),
        }
    }

    fn is_on(&self, host: &Host<'_>, network: &ObservedNetwork) -> bool {
        match self {
            Somebody::Container(container) => host.is_on(container, network),
            Somebody::Service(service) => service.is_on(network),
        }
    }

    /// It has ended, and well.
    fn is_done(&self) -> bool {
        match self {
            Somebody::Container(container) => {
                container.state == ContainerState::Exited && container.exit.as_ref().is_none_or(|exit| exit.code == 0)
            }
            Somebody::Service(_) => false,
        }
    }

    /// What stands in the way of his taking over from another.
    fn unfit(&self) -> Option<Lack> {
        match self {
            Somebody::Container(container) if container.has_settled() => None,
            Somebody::Container(container) if container.is_restarting() => {
                Some(Lack::of(format!("{:?} restarts again and again", container.name)).again(container.settles_in()))
            }
            Somebody::Container(ObservedContainer { name, health: Some(health), .. }) => {
                Some(Lack::of(format!("the health check of {name:?} says {}", health.as_str())))
            }
            Somebody::Container(container) => match container.settles_in() {
                Some(left) => {
                    let message = format!("{:?} has not run for {STABLE} s yet", container.name);
                    Some(Lack { reason: Reason::RolloutInProgress, ..Lack::of(message) }.again(Some(left)))
                }
                None => Some(Lack::of(format!("{:?} is {}", container.name, container.state.as_str()))),
            },
            Somebody::Service(service) => service.tasks.filter(|_| service.lacks_tasks()).map(|tasks| {
                let TaskCount { running, desired } = tasks;
                Lack::of(format!("{running} of {desired} tasks of the Swarm service {:?} run", service.name))
            }),
        }
    }
}

/// Why nobody has taken the place of somebody yet.
struct Lack {
    reason: Reason,
    message: String,
    /// In so many seconds time alone may have put an end to it.
    again: Option<u32>,
}

impl Lack {
    fn of(message: String) -> Self {
        Self { reason: Reason::ContainerMissing, message, again: None }
    }

    fn again(self, seconds: Option<u32>) -> Self {
        Self { again: seconds, ..self }
    }
}

/// What becomes of somebody who is on a network.
pub(super) enum Fate {
    Stays,
    /// He stays, and that is worth knowing.
    Reported(Note),
    Leaves(Departure),
}

/// Somebody is taken off a network.
pub(super) struct Departure {
    /// The resource that has moved or has another container, or the destination.
    pub(super) object: ObjectKey,
    pub(super) cause: Cause,
    pub(super) needs: Vec<Connection>,
    /// As far as the limits of pruning count it.
    pub(super) counted: Option<WithheldDisconnection>,
}

/// What becomes of a container, other than the proxy, that is on the network of a declared destination.
pub(super) fn fate<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    members: &Members<'_>,
    attached: &Attached<'a>,
) -> Fate {
    let container = attached.container;
    let options = attached.endpoint.settings.as_ref().map(|settings| &settings.driver_opts);
    let marked = options.is_some_and(|options| applied::is_own(options, ctx.set));
    if host::is_going(container)
        || members.declared.contains(&container.id)
        || members.leaving.contains(&container.id)
        || ((members.apart.contains(&container.id) || members.one_offs.contains(&container.id)) && !marked)
    {
        return Fate::Stays;
    }
    let exclusive = destination.membership == Membership::Exclusive && !host::is_task(container);
    if !marked && !exclusive {
        return Fate::Reported(foreign(destination, container, network));
    }
    let who = Somebody::Container(container);
    let question =
        Question { ctx, outlook, who, options, network: Some(network), name: &network.name, home: Some(destination) };
    question.fate(destination, exclusive)
}

/// Whether somebody leaves who has an address that another one is to have: by what is there at present, or to hand over to that very one.
pub(super) fn gives_way<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    members: &Members<'_>,
    holder: &Attached<'a>,
    taker: &ObservedContainer,
) -> bool {
    let party = Party::Container(taker.id.clone());
    let taken = Outlook {
        made: [((party, network.name.clone()), NetworkTarget::existing(network))].into(),
        ..Outlook::default()
    };
    let leaves =
        |outlook: &Outlook| matches!(fate(ctx, outlook, destination, network, members, holder), Fate::Leaves(_));
    leaves(&Outlook::default()) || leaves(&taken)
}

/// Whether a container that something else runs was put on a network by what runs it, however Landfall has connected it again since: the endpoint
/// says so, or the container was made on that network. So has one that would be on no network at all without it.
pub(super) fn is_at_home(
    host: &Host<'_>,
    container: &ObservedContainer,
    options: Option<&BTreeMap<String, String>>,
    name: &str,
    network: Option<&ObservedNetwork>,
) -> bool {
    if host.identities.get(container).is_some() || stack::owner(&container.labels).is_some() {
        return false;
    }
    let mode = container.network_mode.as_str();
    options.is_some_and(applied::is_found)
        || mode == name
        || network.is_some_and(|network| mode == network.id.as_str() || host::has_nothing_else(container, network))
}

/// Nobody declares it, and Landfall did not connect it.
fn foreign(destination: &DesiredDestination, container: &ObservedContainer, network: &ObservedNetwork) -> Note {
    Note::unmanaged(
        Reason::MembershipForeign,
        &destination.key,
        format!("No resource declares the container {:?}, which is on {:?}.", container.name, network.name),
    )
    .hint("declare it, or set `membership: Exclusive` to have it disconnected")
}

/// Why somebody leaves a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The manifests no longer have what he was there for. The only kind that the limits of pruning count.
    Undeclared,
    /// Another container has taken his place.
    Replaced,
    /// He is where his resource is declared now.
    Moved,
}

impl Why {
    pub(super) fn cause(self) -> Cause {
        match self {
            Why::Undeclared => Cause::MemberUndeclared,
            Why::Replaced => Cause::MemberReplaced,
            Why::Moved => Cause::MemberMoved,
        }
    }
}

/// Whether somebody may be taken off a network.
#[derive(Debug)]
pub(super) enum Verdict {
    /// As soon as these connections of the same plan are in place.
    Leaves {
        why: Why,
        resource: Option<ObjectKey>,
        needs: Vec<Connection>,
    },
    Stays(Note),
}

/// Whether one of the things that an endpoint was made for still needs it.
enum Standing {
    /// The manifests do not have it any more.
    Dropped,
    Served {
        why: Why,
        needs: Vec<Connection>,
    },
    Waits(Note),
}

/// Decides about one endpoint.
pub(super) struct Question<'c, 'a> {
    pub(super) ctx: &'c Context<'a>,
    pub(super) outlook: &'c Outlook,
    pub(super) who: Somebody<'a>,
    /// The driver options of the endpoint; `None` where they are not known.
    pub(super) options: Option<&'a BTreeMap<String, String>>,
    /// `None` where it is missing at present.
    pub(super) network: Option<&'a ObservedNetwork>,
    /// Its name.
    pub(super) name: &'c str,
    /// The declared destination whose network it is.
    pub(super) home: Option<&'a DesiredDestination>,
}

impl<'a> Question<'_, 'a> {
    /// What becomes of somebody who is on the network of a destination and undeclared there.
    pub(super) fn fate(&self, destination: &DesiredDestination, exclusive: bool) -> Fate {
        let (why, resource, needs) = match self.decide() {
            Verdict::Stays(note) => return Fate::Reported(note),
            Verdict::Leaves { why, resource, needs } => (why, resource, needs),
        };
        let marked = self.is_marked();
        if marked
            && why == Why::Undeclared
            && let Some(note) =
                self.of_another_source(&destination.key).or_else(|| self.found_there(&destination.key, exclusive))
        {
            return Fate::Reported(note);
        }
        let is_task = matches!(self.who, Somebody::Container(container) if host::is_task(container));
        if is_task || !(exclusive || self.ctx.request.prune) {
            let (name, on) = (self.who.name(), self.name);
            let (did, hint) = match self.who {
                Somebody::Container(_) => (format!("connected {name:?} to {on:?}"), "`--prune` disconnects it"),
                Somebody::Service(_) => (format!("put the Swarm service {name:?} on {on:?}"), "`--prune` takes it off"),
            };
            let message = format!("Landfall {did} for a resource that is no longer declared there.");
            return Fate::Reported(Note::unmanaged(Reason::Undeclared, &destination.key, message).hint(hint));
        }
        let counted = if marked && why == Why::Undeclared { self.counted(&destination.key) } else { None };
        if counted.is_some() && self.ctx.withheld {
            return Fate::Stays;
        }
        let cause = if exclusive && why == Why::Undeclared { Cause::MembershipExclusive } else { why.cause() };
        Fate::Leaves(Departure { object: resource.unwrap_or_else(|| destination.key.clone()), cause, needs, counted })
    }

    fn is_marked(&self) -> bool {
        self.options.is_some_and(|options| applied::is_own(options, self.ctx.set))
    }

    /// He was connected from other manifests of the same set, which may well have what he is there for.
    pub(super) fn of_another_source(&self, object: &ObjectKey) -> Option<Note> {
        let marked = self.options.and_then(|options| options.get(ownership::SOURCE));
        let source = marked.or_else(|| self.network?.labels.get(ownership::SOURCE))?;
        self.ctx.another_source(source).map(|hint| {
            let what = match self.who {
                Somebody::Container(_) => "",
                Somebody::Service(_) => "The Swarm service ",
            };
            let (name, on) = (self.who.name(), self.name);
            let message = format!("{what}{name:?} was put on {on:?} from {source}, and is left alone.");
            Note::unmanaged(Reason::OwnershipConflict, object, message).hint(hint)
        })
    }

    /// Landfall did not put him there, whatever it has done to his endpoint since. An exclusive destination is rid of him all the same.
    fn found_there(&self, object: &ObjectKey, exclusive: bool) -> Option<Note> {
        let (name, on) = (self.who.name(), self.name);
        if exclusive || !self.was_there_before() {
            return None;
        }
        let (what, off) = match self.who {
            Somebody::Container(_) => {
                (format!("the container {name:?}"), format!("docker network disconnect {on} {name}"))
            }
            Somebody::Service(_) => {
                (format!("the Swarm service {name:?}"), format!("docker service update --network-rm {on} {name}"))
            }
        };
        let message = format!(
            "No resource declares {what} any more, which was on {on:?} before Landfall connected it: it stays there."
        );
        Some(
            Note::unmanaged(Reason::MembershipForeign, object, message)
                .hint(format!("declare it, or take it off: {off}")),
        )
    }

    /// Whether whoever made him put him on the network, and not Landfall.
    pub(super) fn was_there_before(&self) -> bool {
        match self.who {
            Somebody::Container(container) => {
                is_at_home(&self.ctx.host, container, self.options, self.name, self.network)
            }
            Somebody::Service(_) => self.options.is_some_and(applied::is_found),
        }
    }

    pub(super) fn counted(&self, object: &ObjectKey) -> Option<WithheldDisconnection> {
        let id = match self.who {
            Somebody::Container(container) => container.id.to_string(),
            Somebody::Service(service) => service.id.to_string(),
        };
        Some(WithheldDisconnection {
            destination: object.clone(),
            name: self.who.name().to_owned(),
            id,
            network: self.name.to_owned(),
            network_id: self.network?.id.clone(),
        })
    }

    pub(super) fn decide(&self) -> Verdict {
        let mut why = Why::Undeclared;
        let mut needs = Vec::new();
        let mut resource = None;
        let purposes = self.purposes();
        for purpose in &purposes {
            let standing = match purpose {
                Purpose::Proxy => self.proxy(),
                Purpose::Resource(resource) => self.resource(resource),
            };
            match standing {
                Standing::Dropped => {}
                Standing::Served { why: how, needs: further } => {
                    if let Purpose::Resource(key) = purpose {
                        resource.get_or_insert_with(|| key.clone());
                    }
                    why = why.max(how);
                    needs.extend(further);
                }
                Standing::Waits(note) => return Verdict::Stays(note),
            }
        }
        match self.elsewhere(&purposes) {
            Ok(None) => {}
            Ok(Some((key, further))) => {
                // What an endpoint with a record was made for has been judged above: the rest is a condition of leaving, not its reason. So the
                // reason is the same before and after the connection elsewhere has been made.
                if self.recorded().is_none() {
                    resource.get_or_insert(key);
                    why = Why::Moved;
                }
                needs.extend(further);
            }
            Err(note) => return Verdict::Stays(note),
        }
        if why == Why::Moved
            && let Err(note) = self.accompanied(&mut needs)
        {
            return Verdict::Stays(note);
        }
        // Whom he has served for is not known, so nobody can have taken his place.
        if why == Why::Replaced && self.recorded().is_none() {
            (why, resource) = (Why::Undeclared, None);
        }
        Verdict::Leaves { why, resource, needs }
    }

    fn recorded(&self) -> Option<BTreeSet<Purpose>> {
        self.options.filter(|_| self.is_marked()).and_then(ownership::made_for)
    }

    /// What the endpoint was made for, as far as it can be known.
    fn purposes(&self) -> BTreeSet<Purpose> {
        let recorded = self.recorded();
        let name = self.options.and_then(|options| options.get(ownership::NAME));
        let anybodys = recorded.is_none();
        let mut purposes = recorded.unwrap_or_default();
        let Some(home) = self.home else { return purposes };
        // A resource may have been renamed in the manifests since, and the container after that.
        let may_mean =
            |member: &&DesiredMember| anybodys || name.is_some_and(|name| member.selector.names.contains(name));
        let members = home.members.iter().filter(|member| member.connect && !self.ctx.is_deleted(&member.resource));
        purposes.extend(members.filter(may_mean).map(|member| Purpose::Resource(member.resource.clone())));
        let proxy = self.ctx.server.proxy.as_ref().map(|proxy| proxy.instance.name());
        if anybodys || name.is_some_and(|name| proxy == Some(name.as_str())) {
            purposes.insert(Purpose::Proxy);
        }
        purposes
    }

    fn is_home(&self, destination: &DesiredDestination) -> bool {
        self.home.is_some_and(|home| home.key == destination.key)
    }

    /// Where on this server the resource is to be connected.
    fn places(&self, resource: &ObjectKey) -> Vec<(&'a DesiredDestination, &'a DesiredMember)> {
        places(self.ctx, self.ctx.server, resource)
    }

    fn resource(&self, resource: &ObjectKey) -> Standing {
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

    fn proxy(&self) -> Standing {
        let Some(home) = self.home.filter(|home| home.proxy && home.active) else { return Standing::Dropped };
        let Some(proxy) = &self.ctx.server.proxy else { return Standing::Dropped };
        let name = proxy.instance.name();
        let found = match &proxy.instance {
            ProxyInstance::Container(name) => self.ctx.host.container_named(name).map(Somebody::Container),
            ProxyInstance::Service(name) => self.ctx.host.service_named(name).map(Somebody::Service),
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
                self.takes_over(Somebody::Service(service), destination)
            };
            return Ok(swarm_services
                .iter()
                .map(service)
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect());
        }
        let mut found = member::matching(host, &declared.selector);
        if declared.workload.is_some() {
            // Nobody takes his own place, and none that carries a copy of the labels takes anybody's.
            let is_own = |it: &ObservedContainer| host.identities.get(it).is_some_and(|it| it.set == self.ctx.set);
            found.retain(|it| is_own(it) && Somebody::Container(it).party() != self.who.party());
        }
        let recorded = self.options.and_then(|options| options.get(ownership::NAME));
        let own: Vec<&String> = names.iter().filter(|name| recorded == Some(name)).collect();
        let required = if own.is_empty() { names.iter().collect() } else { own };
        if required.is_empty() {
            // Whoever is chosen by labels is as good as any other of them.
            let tried: Vec<_> =
                found.into_iter().map(|it| self.takes_over(Somebody::Container(it), destination)).collect();
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
            needs.extend(self.takes_over(Somebody::Container(container), destination)?);
        }
        Ok(needs)
    }

    /// Whether somebody serves on a destination: at present, or by a connection that the plan makes.
    fn takes_over(&self, who: Somebody<'a>, destination: &DesiredDestination) -> Result<Option<Connection>, Lack> {
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
    fn in_place(&self, who: Somebody<'_>, destination: &DesiredDestination) -> Option<Option<Connection>> {
        let (_, located) = self.ctx.located.iter().find(|(it, _)| it.key == destination.key)?;
        let current = located.network();
        let party = who.party();
        let target = || destination::creation(self.ctx, destination, current.map(|it| it.name.as_str())).name;
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
    fn elsewhere(&self, purposes: &BTreeSet<Purpose>) -> Result<Option<(ObjectKey, Option<Connection>)>, Note> {
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
    fn accompanied(&self, needs: &mut Vec<Connection>) -> Result<(), Note> {
        let Some(proxy) = &self.ctx.server.proxy else { return Ok(()) };
        let proxy = match &proxy.instance {
            ProxyInstance::Container(name) => self.ctx.host.container_named(name).map(Somebody::Container),
            ProxyInstance::Service(name) => self.ctx.host.service_named(name).map(Somebody::Service),
        };
        let serves = |proxy: &Somebody<'_>| self.network.is_some_and(|network| proxy.is_on(&self.ctx.host, network));
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
    containers.retain(|it| !host::is_going(it) && member::selects(&declared.selector, it) && on_it(it));
    match containers.iter().any(|it| it.has_settled()) {
        true => Ok(()),
        false => Err(containers.iter().filter_map(|it| it.settles_in()).min()),
    }
}
