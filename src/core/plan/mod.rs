//! Planning: a pure function from desired and observed state to operations, each with its cause, and notes on what is left undone.
#![allow(
    clippy::result_large_err,
    reason = "the other outcome of a decision is a note, which is kept, not an error that is passed up"
)]

mod addresses;
mod adoption;
mod applied;
mod arrange;
pub mod cut;
mod deletion;
mod destination;
pub mod display;
pub mod facts;
mod feasible;
mod findings;
mod host;
mod leaving;
pub mod lint;
mod member;
pub mod operation;
pub mod ownership;
mod pool;
mod proxy;
mod prune;
mod refresh;
mod replacement;
mod route;
mod service;
mod start;
mod swarm;
mod unreadable;
pub mod workload;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use applied::{is_mac_address_on_record, park};
pub use deletion::RESOURCES_REMAIN;
pub use destination::{UNALLOCATED, differences as immutable_differences};
pub use findings::named_twice;
pub use host::{SWARM_SERVICE, is_one_off, overlap, subnets as ranges};
pub use member::selects;
pub use operation::*;
pub use pool::wants_neighbours;
pub use prune::left_over;
pub use swarm::{is_of_another_node, makes_bridges, wants_elsewhere};

use self::deletion::Removal;
use self::destination::Located;
use self::host::Host;
use self::leaving::{Departure, Fate, Outlook, Question, Somebody};
use self::member::{Members, Target};
use self::ownership::{Mark, Purpose};
use self::replacement::Replaced;
use self::swarm::{Swarm, View};
use crate::core::api::{Kind, Membership, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredState, Endpoint, TcpSecurity};
use crate::core::observed::{
    ContainerId, EndpointSettings, NetworkId, NetworkScope, Observations, ObservedContainer, ObservedNetwork,
    Unobserved, UnobservedReason,
};

/// Everything the planner knows. Time, randomness and the user's consent come in as values.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    pub desired: &'a DesiredState,
    pub observed: &'a Observations,
    pub request: &'a Request,
    pub ids: &'a FreshIds,
    /// Replacements that were interrupted.
    pub journals: &'a [Journal],
}

/// What the user asked for beyond convergence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Remove what the set owns and the manifests no longer declare.
    pub prune: bool,
    /// Lift the limit on how much one pass may delete.
    pub allow_mass_delete: bool,
    /// Fingerprints of [`Withheld`] deletions that somebody has agreed to.
    pub approved: BTreeSet<String>,
    /// A list that was agreed to as a whole: what is left of it after a part was done is agreed to as well.
    pub agreed: Option<Arc<Withheld>>,
    /// Destinations whose policy was last known to be Orphan: undeclared, they are left, whatever their networks' labels say.
    pub protected: Arc<BTreeSet<ObjectKey>>,
    /// Destinations whose network was one of a Swarm when it was last seen.
    pub overlays: Arc<BTreeSet<ObjectKey>>,
    /// Objects to delete. They are still in the desired state, which says where they are, unless they are known to the servers' labels only.
    pub delete: BTreeMap<ObjectKey, DeleteMode>,
    /// Plan for nothing but the objects in `delete`.
    pub only_delete: bool,
    /// What other nodes of a Swarm have is of interest, although nothing is to be removed.
    pub whole_swarms: bool,
    /// Journals that say nothing: their destinations are left as they are.
    pub unreadable: Vec<UnreadableJournal>,
    /// Attempts to run something that have failed, with what was said of them: none is made again before something changes.
    pub failed_attempts: BTreeMap<String, String>,
    /// Networks of servers that were not looked at, as far as they are known: what is theirs of a pool is not given out again.
    pub neighbours: BTreeMap<ObjectKey, Vec<ObservedNetwork>>,
    /// Resources whose containers are replaced by new ones although nothing differs.
    pub restart: BTreeSet<ObjectKey>,
    /// Resources that are removed only after a backup, as far as that was known when a manifest last declared them.
    pub guarded: Arc<BTreeSet<ObjectKey>>,
    /// Those of which one was made, or that are removed without.
    pub saved: BTreeSet<ObjectKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// Refused while anything remains.
    Guarded,
    /// Stops and disconnects whatever is attached. The user has typed the destination's name or said `--yes`.
    Forced,
}

/// Random identities for networks that may have to be created: drawn before planning, so that planning stays pure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FreshIds(BTreeMap<ObjectKey, FreshId>);

/// Stands for an identity that has not been drawn.
const GENERATED: &str = "(generated)";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshId {
    /// CUID2 for the label `landfall.uid`.
    pub uid: String,
    /// CUID2 for the name of a network that declares none.
    pub network_name: String,
}

impl FreshIds {
    pub fn new(ids: BTreeMap<ObjectKey, FreshId>) -> Self {
        Self(ids)
    }

    /// A dry run draws none: what it shows must not change from one run to the next.
    pub fn get(&self, destination: &ObjectKey) -> FreshId {
        self.0
            .get(destination)
            .cloned()
            .unwrap_or_else(|| FreshId { uid: GENERATED.to_owned(), network_name: GENERATED.to_owned() })
    }
}

/// The plan: what brings the observed state to the desired one, and what is left undone and why.
///
/// Guarantees: the same input gives the same plan. Nothing is planned for a server that was not observed. Planning again after every operation
/// is done gives no operations. `lint` says what else holds of every plan.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let views: BTreeMap<&ObjectKey, View<'_>> = input
        .desired
        .servers
        .keys()
        .filter_map(|key| Some((key, View::new(input.observed, key, input.observed.get(key)?.as_ref().ok()?))))
        .collect();
    let mut servers: Vec<ServerPlan> = input
        .desired
        .servers
        .values()
        .filter_map(|server| {
            let mut plan = plan_server(input, server, views.get(&server.key))?;
            unreadable::leave_as_it_is(input, server, &mut plan);
            plan.notes.splice(0..0, insecure_transport(server));
            Some(plan)
        })
        .collect();
    service::once_a_pass(&mut servers);
    Plan { set: input.desired.set.clone(), notes: unknown_objects(input), servers }
}

/// What is known while one observed server is planned for.
struct Context<'a> {
    input: &'a PlanInput<'a>,
    request: &'a Request,
    set: &'a str,
    server: &'a DesiredServer,
    host: Host<'a>,
    swarm: Option<&'a Swarm<'a>>,
    /// The server's destinations, each with its network. Empty until they have been looked for.
    located: Vec<(&'a DesiredDestination, Located<'a>)>,
    /// What pruning would do is more than it may unasked: it leaves undone what the limits count.
    withheld: bool,
    /// See [`Context::overlays_elsewhere`].
    overlays: OnceCell<BTreeMap<ObjectKey, ObjectKey>>,
}

impl<'a> Context<'a> {
    fn new(input: &'a PlanInput<'a>, server: &'a DesiredServer, view: &'a View<'a>) -> Self {
        let (request, set) = (input.request, input.desired.set.as_str());
        let (host, swarm) = (Host::new(&view.state), view.swarm.as_ref());
        Context {
            input,
            request,
            set,
            server,
            host,
            swarm,
            located: Vec::new(),
            withheld: false,
            overlays: OnceCell::new(),
        }
    }

    /// Destinations with networks of a Swarm that other servers list, each with one of those servers.
    fn overlays_elsewhere(&self) -> &BTreeMap<ObjectKey, ObjectKey> {
        self.overlays.get_or_init(|| {
            let states = self.input.observed.iter().filter_map(|(server, seen)| Some((server, seen.as_ref().ok()?)));
            let others = states.filter(|(server, _)| **server != self.server.key);
            let networks = others.flat_map(|(server, state)| state.networks.iter().map(move |it| (server, it)));
            let own =
                networks.filter(|(_, network)| network.scope == NetworkScope::Swarm).filter_map(|(server, it)| {
                    let owner = ownership::of(it).filter(|owner| owner.sealed && owner.set == self.set)?;
                    Some((owner.destination?, server.clone()))
                });
            own.collect()
        })
    }

    /// The next step, where a network or an endpoint was made from these manifests, and `None` where it was from ours.
    fn another_source(&self, source: &str) -> Option<String> {
        let unknown = self.source().is_none() && !self.request.prune;
        let another = self.source() != Some(source) && !unknown;
        another.then(|| format!("if these are the manifests that it was made from: `--source {source}`"))
    }

    /// The manifests that are planned for.
    fn source(&self) -> Option<&'a str> {
        self.input.desired.source.as_deref()
    }

    /// What an endpoint of this container is marked with.
    fn mark<'m>(&self, made_for: &'m BTreeSet<Purpose>, container: &'m ObservedContainer) -> Mark<'m>
    where
        'a: 'm,
    {
        Mark { set: self.set, source: self.source(), made_for, name: Some(&container.name) }
    }

    fn is_deleted(&self, key: &ObjectKey) -> bool {
        self.request.delete.contains_key(key)
    }

    /// Another destination of this server that the container serves and that is not deactivated.
    fn active_elsewhere(
        &self,
        destination: &DesiredDestination,
        container: &ObservedContainer,
    ) -> Option<&'a ObjectKey> {
        self.server
            .destinations
            .iter()
            .filter(|other| other.key != destination.key && other.active && !self.is_deleted(&other.key))
            .find(|other| {
                other
                    .members
                    .iter()
                    .any(|member| !self.is_deleted(&member.resource) && member::selects(&member.selector, container))
            })
            .map(|other| &other.key)
    }

    /// Journals of the destination that are the planner's to act on.
    fn journals(&self, destination: &ObjectKey) -> impl Iterator<Item = &'a Journal> {
        let journals: &'a [Journal] = self.input.journals;
        journals.iter().filter(move |journal| {
            journal.purpose == JournalPurpose::Reattach
                && journal.server == self.server.key
                && journal.destination == *destination
        })
    }

    fn journals_listing(&self, destination: &ObjectKey, container: &ContainerId) -> Vec<&'a Journal> {
        self.journals(destination)
            .filter(|journal| journal.endpoints.iter().any(|listed| listed.container.id == *container))
            .collect()
    }

    /// Containers that an interrupted group has disconnected and that still belong on the network, each with the journals that say so.
    fn left_behind(
        &self,
        destination: &'a DesiredDestination,
        target: &Target<'_>,
        members: &Members<'_>,
    ) -> Vec<(&'a ObservedContainer, Vec<&'a Journal>)> {
        let mut found: BTreeMap<&ContainerId, (&'a ObservedContainer, Vec<&'a Journal>)> = BTreeMap::new();
        for journal in self.journals(&destination.key) {
            for listed in &journal.endpoints {
                // A container that was recreated meanwhile has its own idea of its networks.
                let Some(container) = self.host.container(&listed.container.id) else { continue };
                let detached = self.host.attachment(container, target.network, &target.create.name).is_none();
                if detached && self.returns(destination, target, members, container, &listed.settings) {
                    found.entry(&container.id).or_insert_with(|| (container, Vec::new())).1.push(journal);
                }
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        found
    }

    /// Whether a container that was on the network before it was interrupted is to be there again.
    fn returns(
        &self,
        destination: &'a DesiredDestination,
        target: &Target<'_>,
        members: &Members<'_>,
        container: &'a ObservedContainer,
        settings: &'a EndpointSettings,
    ) -> bool {
        if host::is_going(container)
            || host::unconnectable(container).is_some()
            || members.leaving.contains(&container.id)
        {
            return false;
        }
        let marked = applied::is_own(&settings.driver_opts, self.set);
        let exclusive = destination.membership == Membership::Exclusive;
        if members.declared.contains(&container.id) {
            true
        } else if host::is_proxy(container, self.server.proxy.as_ref()) {
            proxy::belongs(self, destination, marked) != Some(false)
        } else if marked || exclusive {
            let question = Question {
                ctx: self,
                outlook: &Outlook::default(),
                who: Somebody::Container(container),
                options: Some(&settings.driver_opts),
                network: target.network,
                name: &target.create.name,
                home: Some(destination),
            };
            !matches!(question.fate(destination, exclusive), Fate::Leaves(_))
        } else {
            true
        }
    }
}

/// Operations and notes while they are being collected.
#[derive(Debug, Default)]
struct Draft {
    groups: Vec<Group>,
    /// Of those who are not needed any more; after everything that brings somebody else into their place.
    departures: Vec<Group>,
    /// Those of them that the limits of pruning count.
    counted: Vec<WithheldDisconnection>,
    settled: Vec<Journal>,
    notes: Vec<Note>,
}

impl Draft {
    fn add(&mut self, part: Draft) {
        let Draft { groups, departures, counted, settled, notes } = part;
        self.groups.extend(groups);
        self.departures.extend(departures);
        self.counted.extend(counted);
        self.settled.extend(settled);
        self.notes.extend(notes);
    }

    /// Takes over what replaces a network, and says who has been dealt with.
    fn replace<'a>(&mut self, replaced: Replaced<'a>) -> BTreeSet<&'a ContainerId> {
        let Replaced { groups, departure, handled, counted, notes } = replaced;
        self.groups.extend(groups);
        self.departures.extend(departure);
        self.counted.extend(counted);
        self.notes.extend(notes);
        handled
    }

    /// Takes somebody off a network.
    fn leave(&mut self, departure: Departure, call: Call, disruptive: bool) {
        let Departure { object, cause, needs, counted } = departure;
        self.counted.extend(counted);
        let needs = distinct(needs);
        let operations = vec![Operation { object: object.clone(), call, cause, disruptive, undo: None }];
        self.departures.push(Group { object, operations, journal: None, completes: Vec::new(), needs });
    }

    /// The containers that the draft connects.
    fn connected(&self) -> BTreeSet<ContainerId> {
        let operations = self.groups.iter().flat_map(|group| &group.operations);
        operations
            .filter_map(|operation| match &operation.call {
                Call::ConnectEndpoint { container, .. } => Some(container.id.clone()),
                _ => None,
            })
            .collect()
    }
}

fn plan_server<'a>(
    input: &'a PlanInput<'a>,
    server: &'a DesiredServer,
    view: Option<&'a View<'a>>,
) -> Option<ServerPlan> {
    let concerned = || {
        let mut keys = input.request.delete.keys();
        keys.any(|key| {
            *key == server.key
                || server
                    .destinations
                    .iter()
                    .any(|it| it.key == *key || it.members.iter().any(|member| member.resource == *key))
        })
    };
    let view = match input.observed.get(&server.key) {
        Some(Ok(_)) => view?,
        Some(Err(unobserved)) => return Some(unobserved_server(input, server, unobserved)),
        None if input.request.only_delete && !concerned() => return None,
        None => {
            let unobserved = Unobserved {
                reason: UnobservedReason::ServerUnreachable,
                message: format!("{} was not observed.", server.key),
                hint: None,
            };
            return Some(unobserved_server(input, server, &unobserved));
        }
    };
    let ctx = Context::new(input, server, view);
    let mut plan = ServerPlan {
        server: server.key.clone(),
        server_type: Some(ctx.host.server_type()),
        swarm: ctx.swarm.map(|swarm| swarm.cluster(&server.key)),
        groups: Vec::new(),
        settled: Vec::new(),
        withheld: None,
        notes: Vec::new(),
    };
    if server.suspend {
        plan.notes.push(
            Note::new(
                NoteKind::Suspended,
                Reason::Suspended,
                &server.key,
                format!("{} is suspended: everything on it is left as it is.", server.key),
            )
            .hint("remove `suspend: true` to have it looked after again"),
        );
        return Some(plan);
    }

    let mut ctx = ctx;
    ctx.located = server.destinations.iter().map(|it| (it, destination::locate(&ctx, it))).collect();
    let mut parts = Parts::new(&ctx);
    if let Some(withheld) = prune::withheld(&ctx, &parts) {
        ctx.withheld = true;
        parts = Parts::new(&ctx);
        parts.draft.notes.push(withheld.note);
        plan.withheld = Some(withheld.list);
    }
    parts.assemble(&ctx, &mut plan);
    Some(plan)
}

/// Everything that is planned for one server.
struct Parts<'a> {
    draft: Draft,
    requested: Vec<Group>,
    removals: Vec<Removal<'a>>,
    settled: Vec<Journal>,
    notes: Vec<Note>,
    /// Containers and stacks that Landfall runs for what is no longer declared, or is to be deleted.
    retired: Vec<Group>,
}

impl<'a> Parts<'a> {
    fn new(ctx: &Context<'a>) -> Self {
        let nothing = Outlook::default();
        let requested = deletion::requested(ctx, &nothing);
        let mut parts = Parts {
            draft: Draft::default(),
            requested: requested.groups,
            removals: requested.removals,
            settled: Vec::new(),
            notes: requested.notes,
            retired: Vec::new(),
        };
        for (groups, notes) in [workload::leaving(ctx), workload::stacks_leaving(ctx)] {
            parts.retired.extend(groups);
            // A deletion of one object says nothing of what else is left over.
            let concerns = |note: &Note| !ctx.request.only_delete || ctx.is_deleted(&note.object);
            parts.notes.extend(notes.into_iter().filter(concerns));
        }
        if ctx.request.only_delete {
            return parts;
        }
        // What can be removed whatever else is done makes room for what is to be created.
        let pruned = prune::prune(ctx, &nothing).removals.into_iter().filter(Removal::is_sure);
        let pruned = pruned.map(|removal| removal.network);
        let requested = parts.removals.iter().map(|removal| removal.network);
        let removed: BTreeSet<&NetworkId> = pruned.chain(requested).map(|network| &network.id).collect();
        parts.draft.notes.extend(proxy::server_note(ctx));
        for (destination, located) in ctx.located.iter().filter(|(it, _)| !ctx.is_deleted(&it.key)) {
            let mut part = destination::converge(ctx, destination, located, &removed);
            settle(ctx, destination, located, &mut part, &mut parts.settled);
            parts.draft.add(part);
        }
        parts.draft.notes.extend(pool::low(ctx));
        let outlook = Outlook::of(parts.draft.groups.iter().chain(&parts.draft.departures));
        for (destination, located) in ctx.located.iter().filter(|(it, _)| !ctx.is_deleted(&it.key)) {
            destination::undeclared(ctx, &outlook, destination, located, &mut parts.draft);
        }
        arrange::hand_over(ctx, &mut parts.draft.groups, &mut parts.draft.departures);
        parts.draft.notes.extend(route::notes(ctx, &parts.draft.groups));
        let pruned = prune::prune(ctx, &outlook);
        parts.removals.extend(pruned.removals);
        parts.notes.extend(pruned.notes);
        parts.draft.notes.extend(stranded(ctx));
        parts.draft.notes.extend(findings::notes(ctx));
        parts.settled.extend(start::forgotten(ctx));
        parts.settled.append(&mut parts.draft.settled);
        parts
    }

    /// Puts everything in its order.
    fn assemble(self, ctx: &Context<'_>, plan: &mut ServerPlan) {
        let Parts { draft, requested, removals, settled, mut notes, retired } = self;
        plan.settled = settled;
        // What is in the way of a new network goes first, everything else last: a pass that is interrupted has done the useful part.
        notes.extend(removals.iter().filter_map(|removal| removal.warning.clone()));
        let created: Vec<&NetworkCreate> = draft.groups.iter().flat_map(created).collect();
        let (first, last): (Vec<_>, Vec<_>) =
            removals.into_iter().partition(|removal| removal.is_sure() && in_the_way(removal.network, &created));
        // Updates of services after whatever they may rely on, everything about one in one.
        let (services, mut groups): (Vec<_>, Vec<_>) =
            draft.groups.into_iter().chain(requested).partition(service::is_update);
        let (leaving, others): (Vec<_>, Vec<_>) = draft.departures.into_iter().partition(service::is_update);
        groups.extend(service::merged(services.into_iter().chain(leaving).collect()));
        groups.extend(others);
        // Repairs before what may take minutes.
        let slow: Vec<Group> = groups.extract_if(.., |group| group.is_of_workload()).collect();
        arrange::free_first(ctx, &mut groups);
        plan.groups.extend(first.into_iter().map(|removal| removal.group));
        let refresh = refresh::group(ctx, &groups);
        plan.groups.extend(groups);
        plan.groups.extend(refresh);
        plan.groups.extend(workload::in_order(ctx, slow));
        plan.groups.extend(retired);
        plan.groups.extend(last.into_iter().map(|removal| removal.group));
        service::wait_for_rollouts(ctx, plan);
        swarm::wait_for_node(ctx, plan);
        notes.extend(service::rollback_notes(ctx, plan));
        for note in draft.notes.into_iter().chain(notes) {
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
        }
    }
}

impl Group {
    /// Whether it makes, changes or removes what Landfall runs.
    pub fn is_of_workload(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation.call, Call::Workload(_)))
    }
}

fn created(group: &Group) -> impl Iterator<Item = &NetworkCreate> {
    group.operations.iter().filter_map(|operation| match &operation.call {
        Call::CreateNetwork(create) => Some(create),
        _ => None,
    })
}

fn in_the_way(network: &ObservedNetwork, created: &[&NetworkCreate]) -> bool {
    created.iter().any(|create| {
        create.name == network.name
            || create
                .subnets
                .iter()
                .filter_map(|subnet| subnet.subnet.parse::<ipnet::IpNet>().ok())
                .any(|wanted| host::subnets(network).iter().any(|occupied| host::overlap(occupied, &wanted)))
    })
}

/// Finds the journals of the destination that have done their duty, and keeps those open that list somebody who cannot be connected now.
fn settle<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    part: &mut Draft,
    settled: &mut Vec<Journal>,
) {
    let mut journals = ctx.journals(&destination.key).peekable();
    if destination.suspend || matches!(located, Located::Refused(_)) || journals.peek().is_none() {
        return;
    }
    let network = located.network();
    let members = member::resolve(ctx, destination, network);
    let create = destination::creation(ctx, destination, network.map(|network| network.name.as_str()));
    let left_behind = ctx.left_behind(destination, &Target { network, create }, &members);
    let connected = part.connected();
    let stuck: Vec<&Journal> = left_behind
        .iter()
        .filter(|(container, _)| !connected.contains(&container.id))
        .flat_map(|(_, journals)| journals.iter().copied())
        .collect();
    for group in &mut part.groups {
        group.completes.retain(|journal| !stuck.contains(&journal));
    }
    if network.is_none() {
        // Until it exists they are all that knows of it.
        return;
    }
    let open: Vec<&Journal> = left_behind.iter().flat_map(|(_, journals)| journals.iter().copied()).collect();
    settled.extend(journals.filter(|journal| !open.contains(journal)).cloned());
}

/// Journals of destinations that are not declared on this server any more: kept, and mentioned.
fn stranded(ctx: &Context<'_>) -> Vec<Note> {
    ctx.input
        .journals
        .iter()
        .filter(|journal| {
            journal.purpose == JournalPurpose::Reattach
                && journal.server == ctx.server.key
                && !ctx.server.destinations.iter().any(|it| it.key == journal.destination)
        })
        .map(|journal| {
            let names: Vec<_> = journal.endpoints.iter().map(|listed| listed.container.name.as_str()).collect();
            Note::warning(
                Reason::Orphaned,
                &journal.destination,
                format!(
                    "An interrupted change may have left {} off the network {:?}, and no manifest declares {} any more.",
                    names.join(", "),
                    journal.network.name,
                    journal.destination
                ),
            )
            .hint("declare the destination again to have them reconnected")
        })
        .collect()
}

/// Said in every report, not only where the manifest is read: whoever sees the report may not know the manifest.
fn insecure_transport(server: &DesiredServer) -> Option<Note> {
    let Endpoint::Tcp { host, port, security: TcpSecurity::Plain } = &server.endpoint else { return None };
    let message =
        format!("tcp://{host}:{port} has neither encryption nor authentication: whoever reaches it owns the machine.");
    let note = Note::warning(Reason::InsecureTransport, &server.key, message);
    Some(note.hint("give the daemon certificates and the server `tls`, or reach it over `ssh://`"))
}

impl From<UnobservedReason> for Reason {
    fn from(reason: UnobservedReason) -> Self {
        match reason {
            UnobservedReason::ServerUnreachable => Reason::ServerUnreachable,
            UnobservedReason::PermissionDenied => Reason::PermissionDenied,
            UnobservedReason::HostKeyMismatch => Reason::HostKeyMismatch,
            UnobservedReason::PassFailed => Reason::PassFailed,
        }
    }
}

fn unobserved_server(input: &PlanInput<'_>, server: &DesiredServer, unobserved: &Unobserved) -> ServerPlan {
    let reason = unobserved.reason.into();
    let mut note = Note::warning(reason, &server.key, unobserved.message.clone());
    note.hint.clone_from(&unobserved.hint);
    let mut notes = vec![note];
    for (key, mode) in &input.request.delete {
        if !server.destinations.iter().any(|it| it.key == *key) {
            continue;
        }
        notes.push(match mode {
            // One that answers, and lets nobody in, is not gone for good.
            DeleteMode::Forced if unobserved.reason != UnobservedReason::ServerUnreachable => {
                Note::warning(reason, key, format!("Whether anything is on {key} is unknown, so it is not deleted."))
            }
            DeleteMode::Guarded => {
                Note::warning(reason, key, format!("Whether anything is on {key} is unknown, so it is not deleted."))
                    .hint(format!(
                        "if the server is gone for good: landfall delete destination {} -n {}{} --force",
                        key.name,
                        key.namespace,
                        deletion::in_set(&input.desired.set)
                    ))
            }
            DeleteMode::Forced => Note::warning(
                Reason::Orphaned,
                key,
                format!("{key} is forgotten; should {} come back, its network is still there.", server.key),
            ),
        });
    }
    ServerPlan {
        server: server.key.clone(),
        server_type: None,
        swarm: None,
        groups: Vec::new(),
        settled: Vec::new(),
        withheld: None,
        notes,
    }
}

/// Objects to delete that neither a manifest nor a server knows.
fn unknown_objects(input: &PlanInput<'_>) -> Vec<Note> {
    let declared = |key: &ObjectKey| {
        input.desired.all_servers().any(|server| {
            server.key == *key
                || server
                    .destinations
                    .iter()
                    .any(|it| it.key == *key || it.members.iter().any(|member| member.resource == *key))
        })
    };
    let labelled = |key: &ObjectKey| {
        input.observed.iter().any(|(server, state)| {
            input.desired.servers.contains_key(server)
                && state
                    .as_ref()
                    .is_ok_and(|state| Host::new(state).verified(&input.desired.set).any(|(_, of)| of == key))
        })
    };
    let partial = input.observed.values().any(Result::is_err);
    input
        .request
        .delete
        .keys()
        .filter(|key| !declared(key) && (key.kind != Kind::Destination || !labelled(key)))
        .map(|key| {
            if key.kind != Kind::Destination {
                return Note::warning(
                    Reason::ContainerMissing,
                    key,
                    format!("No manifest declares {key}; there is nothing to delete."),
                );
            }
            let where_ = if partial { "no server that could be observed has" } else { "no server has" };
            Note::warning(
                Reason::NetworkNotFound,
                key,
                format!("No manifest declares {key}, and {where_} a network of it; there is nothing to delete."),
            )
        })
        .collect()
}
