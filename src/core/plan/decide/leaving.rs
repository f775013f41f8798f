//! Who may be taken off a network that Landfall put him on, and after what.
//!
//! Make before break: an endpoint goes when the manifests no longer have what it was made for, or when that is served elsewhere or by another
//! container, running, healthy where it has a health check, and connected. A declaration that finds nothing waits and keeps what is connected: a
//! container that a deploy tool has renamed, or a name with a letter too few in a manifest, is no reason to cut anybody off.
//!
//! What an endpoint was made for is written on it (`ownership.rs`). One from before that, or one that Landfall did not make, is taken to be anybody's
//! who is declared on its destination.

use std::collections::{BTreeMap, BTreeSet};

use super::standing::{Question, Standing, Why};
use crate::core::api::{Membership, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredMember};
use crate::core::observed::{ObservedContainer, ObservedNetwork, ObservedService};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::{Connection, NetworkTarget, PartyId};
use crate::core::plan::document::withheld::WithheldDisconnection;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::elsewhere::wanted_elsewhere;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::ownership::{self, Purpose};
use crate::core::plan::world::party::{Outlook, Party};
use crate::core::plan::world::server::{Attached, Host};
use crate::core::plan::world::{applied, container, service};
use crate::core::workload::identity::{self, Identity};
use crate::core::workload::stack;

impl<'a> Question<'_, 'a> {
    /// What becomes of somebody who is on the network of a destination and undeclared there.
    pub(crate) fn fate(&self, destination: &DesiredDestination, exclusive: bool) -> Fate {
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
        let is_task = matches!(self.who, Party::Container(container) if container::is_task(container));
        if is_task || !(exclusive || self.ctx.request.prune) {
            let (name, on) = (self.who.name(), self.name);
            let (did, hint) = match self.who {
                Party::Container(_) => (format!("connected {name:?} to {on:?}"), "`--prune` disconnects it"),
                Party::Service(_) => (format!("put the Swarm service {name:?} on {on:?}"), "`--prune` takes it off"),
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

    pub(crate) fn is_marked(&self) -> bool {
        self.options.is_some_and(|options| applied::is_own(options, self.ctx.set))
    }

    /// He was connected from other manifests of the same set, which may well have what he is there for.
    pub(crate) fn of_another_source(&self, object: &ObjectKey) -> Option<Note> {
        let marked = self.options.and_then(|options| options.get(ownership::SOURCE));
        let source = marked.or_else(|| self.network?.labels.get(ownership::SOURCE))?;
        self.ctx.another_source(source).map(|hint| {
            let what = match self.who {
                Party::Container(_) => "",
                Party::Service(_) => "The Swarm service ",
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
            Party::Container(_) => {
                (format!("the container {name:?}"), format!("docker network disconnect {on} {name}"))
            }
            Party::Service(_) => {
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
    pub(crate) fn was_there_before(&self) -> bool {
        match self.who {
            Party::Container(container) => is_at_home(&self.ctx.host, container, self.options, self.name, self.network),
            Party::Service(_) => self.options.is_some_and(applied::is_found),
        }
    }

    pub(crate) fn counted(&self, object: &ObjectKey) -> Option<WithheldDisconnection> {
        let id = match self.who {
            Party::Container(container) => container.id.to_string(),
            Party::Service(service) => service.id.to_string(),
        };
        Some(WithheldDisconnection {
            destination: object.clone(),
            name: self.who.name().to_owned(),
            id,
            network: self.name.to_owned(),
            network_id: self.network?.id.clone(),
        })
    }

    pub(crate) fn decide(&self) -> Verdict {
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

    pub(crate) fn is_home(&self, destination: &DesiredDestination) -> bool {
        self.home.is_some_and(|home| home.key == destination.key)
    }
}

/// What becomes of somebody who is on a network.
pub(crate) enum Fate {
    Stays,
    /// He stays, and that is worth knowing.
    Reported(Note),
    Leaves(Departure),
}

/// Somebody is taken off a network.
pub(crate) struct Departure {
    /// The resource that has moved or has another container, or the destination.
    pub(crate) object: ObjectKey,
    pub(crate) cause: Cause,
    pub(crate) needs: Vec<Connection>,
    /// As far as the limits of pruning count it.
    pub(crate) counted: Option<WithheldDisconnection>,
}

/// What becomes of a container, other than the proxy, that is on the network of a declared destination.
pub(crate) fn fate<'a>(
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
    if container::is_going(container)
        || is_run_here(ctx, destination, container)
        || members.declared.contains(&container.id)
        || members.leaving.contains(&container.id)
        || ((members.apart.contains(&container.id) || members.one_offs.contains(&container.id)) && !marked)
    {
        return Fate::Stays;
    }
    let exclusive = destination.membership == Membership::Exclusive && !container::is_task(container);
    if !marked && !exclusive {
        return Fate::Reported(foreign(destination, container, network));
    }
    let who = Party::Container(container);
    let question =
        Question { ctx, outlook, who, options, network: Some(network), name: &network.name, home: Some(destination) };
    question.fate(destination, exclusive)
}

/// Landfall made the container for this destination: it goes as a whole, stopped while it still has its network, and where its removal is refused it
/// stays as it is. On another destination it is a member like any that is adopted.
fn is_run_here(ctx: &Context<'_>, destination: &DesiredDestination, container: &ObservedContainer) -> bool {
    let is_own = |identity: &Identity| identity.set == ctx.set && identity.destination == destination.key;
    ctx.host.identities.get(container).is_some_and(is_own)
        || identity::of_job(&container.name, &container.labels).as_ref().is_some_and(is_own)
}

/// Whether somebody leaves who has an address that another one is to have: by what is there at present, or to hand over to that very one.
pub(crate) fn gives_way<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    members: &Members<'_>,
    holder: &Attached<'a>,
    taker: &ObservedContainer,
) -> bool {
    let party = PartyId::Container(taker.id.clone());
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
pub(crate) fn is_at_home(
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
        || network.is_some_and(|network| mode == network.id.as_str() || container::has_nothing_else(container, network))
}

/// What becomes of a Swarm service that is on the network of a declared destination.
pub(crate) fn service_fate<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    members: &Members<'_>,
    service: &'a ObservedService,
) -> Fate {
    // What Landfall runs itself goes as a whole, or is somebody else's to speak of.
    let managed = service::identity_of_service(service).is_some_and(|it| it.set == ctx.set);
    if managed
        || members.services.iter().any(|wanted| wanted.service.id == service.id)
        || members.leaving_services.contains(service.name.as_str())
        || service::is_proxy(service, ctx.server.proxy.as_ref())
        || wanted_elsewhere(ctx, &destination.key, network, service)
    {
        return Fate::Stays;
    }
    let options = service.attachment(network).map(|attachment| &attachment.driver_opts);
    let (name, on) = (&service.name, &network.name);
    if !options.is_some_and(|options| applied::is_own(options, ctx.set)) {
        let message = format!("No resource declares the Swarm service {name:?}, which is on {on:?}.");
        let hint = format!(
            "declare it: `containers: {{ swarmServices: [{name}] }}`, or take it off: docker service update --network-rm {on} {name}"
        );
        return Fate::Reported(Note::unmanaged(Reason::MembershipForeign, &destination.key, message).hint(hint));
    }
    let who = Party::Service(service);
    let question = Question { ctx, outlook, who, options, network: Some(network), name: on, home: Some(destination) };
    question.fate(destination, false)
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

/// Whether somebody may be taken off a network.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// As soon as these connections of the same plan are in place.
    Leaves {
        why: Why,
        resource: Option<ObjectKey>,
        needs: Vec<Connection>,
    },
    Stays(Note),
}
