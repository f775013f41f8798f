//! Deleting: nothing that anybody still needs, and nothing that is not ours.

use std::collections::BTreeSet;

use super::destination::{Located, ambiguous, declared_blocker, recreation};
use super::host::{self, Attached};
use super::leaving::{self, Outlook, Question, Somebody, Verdict, Why};
use super::member;
use super::operation::{
    Blocker, BlockerKind, Call, Cause, Connection, ContainerTarget, Group, Journal, JournalEndpoint, JournalPurpose,
    NetworkTarget, Note, NoteKind, Operation, Reason, Reserved, WithheldDisconnection, distinct,
};
use super::{Context, DeleteMode, applied, ownership, service};
use crate::core::api::{DeletionPolicy, Kind, ObjectKey, Replacement};
use crate::core::desired::DesiredDestination;
use crate::core::observed::{NetworkScope, ObservedContainer, ObservedNetwork, ObservedService};

/// What `--set` is without being given.
const DEFAULT_SET: &str = "default";

/// The words that Coolify's users know.
pub const RESOURCES_REMAIN: &str = "You must delete all resources before deleting this destination.";

/// The planned removal of one network.
pub(super) struct Removal<'a> {
    pub(super) network: &'a ObservedNetwork,
    pub(super) group: Group,
    /// A risk that could not be checked.
    pub(super) warning: Option<Note>,
    /// Endpoints that go with it, as far as the limits of pruning count them.
    pub(super) counted: Vec<WithheldDisconnection>,
    /// All who were on it are on the network of another destination by now: it has a successor.
    pub(super) succeeded: bool,
}

impl Removal<'_> {
    /// It depends on nothing else that is planned.
    pub(super) fn is_sure(&self) -> bool {
        self.group.needs.is_empty()
    }
}

/// What the request to delete comes to on one server.
#[derive(Default)]
pub(super) struct Deletions<'a> {
    pub(super) removals: Vec<Removal<'a>>,
    pub(super) groups: Vec<Group>,
    pub(super) notes: Vec<Note>,
}

/// A network that is to be removed.
#[derive(Clone, Copy)]
pub(super) struct Doomed<'c, 'a> {
    pub(super) destination: &'c ObjectKey,
    pub(super) network: &'a ObservedNetwork,
    pub(super) cause: Cause,
    pub(super) mode: DeleteMode,
}

/// Those on a network who can be taken off it before it is removed.
#[derive(Default)]
struct Evacuation<'a> {
    containers: Vec<Attached<'a>>,
    services: Vec<&'a ObservedService>,
    needs: Vec<Connection>,
    counted: Vec<WithheldDisconnection>,
    moved: usize,
    /// Why somebody of Landfall's own is not taken off.
    waits: Vec<Note>,
}

impl Evacuation<'_> {
    fn has(&self, blocker: &Blocker) -> bool {
        match blocker.kind {
            BlockerKind::Container => self.containers.iter().any(|it| it.container.name == blocker.name),
            BlockerKind::SwarmService => self.services.iter().any(|it| it.name == blocker.name),
            // They end with their service.
            BlockerKind::SwarmTask => !self.services.is_empty() && blocker.server.is_none(),
            _ => false,
        }
    }
}

/// Finds those who are on the network by Landfall's doing alone and are not needed there any more.
fn evacuation<'a>(ctx: &Context<'a>, outlook: &Outlook, doomed: Doomed<'_, 'a>) -> Evacuation<'a> {
    let Doomed { destination, network, mode, .. } = doomed;
    let mut evacuation = Evacuation::default();
    if mode == DeleteMode::Forced {
        return evacuation;
    }
    let proxy = ctx.server.proxy.as_ref();
    let question =
        |who, options| Question { ctx, outlook, who, options, network: Some(network), name: &network.name, home: None };
    for attached in ctx.host.attached(network).into_iter().chain(ctx.host.stale(&network.name)) {
        let container = attached.container;
        if host::is_proxy(container, proxy) || host::is_going(container) || host::is_task(container) {
            continue;
        }
        let options = attached.endpoint.settings.as_ref().map(|settings| &settings.driver_opts);
        let marked = options.is_some_and(|options| applied::is_own(options, ctx.set));
        let question = question(Somebody::Container(container), options);
        if (marked || replaced_for(ctx, destination, network, container)) && evacuation.takes(&question, destination) {
            evacuation.containers.push(attached);
        }
    }
    for service in ctx.host.services_on(network) {
        let options = service.attachment(network).map(|attachment| &attachment.driver_opts);
        let marked = options.is_some_and(|options| applied::is_own(options, ctx.set));
        let shared = service::is_proxy(service, proxy) || service::wanted_elsewhere(ctx, destination, network, service);
        if marked && !shared && evacuation.takes(&question(Somebody::Service(service), options), destination) {
            evacuation.services.push(service);
        }
    }
    evacuation
}

impl Evacuation<'_> {
    fn takes(&mut self, question: &Question<'_, '_>, destination: &ObjectKey) -> bool {
        match question.decide() {
            Verdict::Stays(note) => {
                self.waits.push(note);
                false
            }
            // It is one of those that stand in the way, as any other that Landfall did not put there.
            Verdict::Leaves { why: Why::Undeclared, .. } if question.was_there_before() => false,
            Verdict::Leaves { why: Why::Undeclared, .. } if question.of_another_source(destination).is_some() => {
                self.waits.extend(question.of_another_source(destination));
                false
            }
            Verdict::Leaves { why, needs, .. } => {
                self.needs.extend(needs);
                match why {
                    Why::Undeclared => self.counted.extend(question.counted(destination)),
                    Why::Moved | Why::Replaced => self.moved += 1,
                }
                true
            }
        }
    }
}

/// A network that its destination has left for another one, as `replacement: Reattach` allows, with whoever was on it: whoever is on the other
/// one by now is not needed on this.
fn replaced_for(
    ctx: &Context<'_>,
    destination: &ObjectKey,
    former: &ObservedNetwork,
    container: &ObservedContainer,
) -> bool {
    let located = ctx.located.iter().find(|(it, _)| it.key == *destination);
    located.is_some_and(|(declared, located)| {
        declared.replacement == Replacement::Reattach
            && located.network().is_some_and(|network| network.id != former.id && ctx.host.is_on(container, network))
    })
}

/// The operations that remove a destination's network, or who stands in the way.
pub(super) fn removal<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    doomed: Doomed<'_, 'a>,
    declared: Vec<Blocker>,
) -> Result<Removal<'a>, Note> {
    let Doomed { destination, network, mode, .. } = doomed;
    if let Some(note) = ambiguous(ctx, destination, &network.name) {
        return Err(note);
    }
    let proxy = ctx.server.proxy.as_ref();
    let evacuation = evacuation(ctx, outlook, doomed);
    let mut blockers = match mode {
        DeleteMode::Guarded => declared,
        DeleteMode::Forced => Vec::new(),
    };
    blockers.extend(ctx.host.blockers(network, proxy).into_iter().filter(|blocker| match mode {
        DeleteMode::Guarded => !evacuation.has(blocker),
        // Their definitions would put them back on the network, or hold it: beyond what force can do.
        DeleteMode::Forced => matches!(blocker.kind, BlockerKind::SwarmService | BlockerKind::SwarmTask),
    }));
    // Those on other servers, force leaves alone: whoever typed the name of this destination did not mean to stop anything there.
    blockers.extend(ctx.elsewhere_on(network));
    blockers.extend(ctx.host.unlisted_on(network));
    blockers.extend(ctx.joined(destination, network));
    blockers.sort();
    if !blockers.is_empty() {
        return Err(blocked(ctx, doomed, blockers, &evacuation));
    }
    let warning = ctx.unseen_nodes(destination, network, mode)?;
    let (operations, endpoints) = steps(ctx, doomed, &evacuation)?;
    let journal = (!endpoints.is_empty()).then(|| Journal {
        services: Vec::new(),
        server: ctx.server.key.clone(),
        destination: destination.clone(),
        purpose: JournalPurpose::ForcedDeletion,
        network: recreation(network),
        endpoints,
    });
    let Evacuation { needs, counted, moved, .. } = evacuation;
    let needs = distinct(needs);
    let group = Group { object: destination.clone(), operations, journal, completes: Vec::new(), needs };
    let succeeded = moved > 0 && counted.is_empty();
    Ok(Removal { network, group, warning, counted, succeeded })
}

/// Why the network is not removed, and the next step. Force is none as long as there is another.
fn blocked(ctx: &Context<'_>, doomed: Doomed<'_, '_>, blockers: Vec<Blocker>, evacuation: &Evacuation<'_>) -> Note {
    let Doomed { destination, network, mode, cause } = doomed;
    let has = |kinds: &[BlockerKind]| blockers.iter().any(|it| kinds.contains(&it.kind));
    let services = "remove the Swarm services, or take the network out of them: docker service update --network-rm";
    let declared = ctx.server.destinations.iter().flat_map(|it| &it.members);
    let is_declared = |name: &str| {
        let container = ctx.host.container_named(name);
        declared.clone().any(|it| container.is_some_and(|container| member::selects(&it.selector, container)))
    };
    let hidden = !ctx.host.unlisted_on(network).is_empty();
    let hint = match (mode, evacuation.waits.first()) {
        _ if hidden => {
            "something between hides containers from lists: let Landfall see them, or remove them where they are seen"
                .to_owned()
        }
        (DeleteMode::Guarded, Some(wait)) => {
            let hint = wait.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}{hint}", wait.message.trim_end_matches('.'))
        }
        (DeleteMode::Guarded, None)
            if has(&[BlockerKind::Application, BlockerKind::Database, BlockerKind::Service]) =>
        {
            "delete the resources that are listed as well, or give them another `destination`".to_owned()
        }
        (DeleteMode::Guarded, None)
            if network.scope == NetworkScope::Swarm && blockers.iter().all(|it| it.kind == BlockerKind::SwarmTask) =>
        {
            "their service has left the network, and Swarm is replacing them: try again when they are gone".to_owned()
        }
        // Force leaves them alone.
        (DeleteMode::Guarded, None) if has(&[BlockerKind::SwarmService]) => {
            format!("remove what else is listed; {services}")
        }
        (_, None) if !ctx.attached_unseen(network).is_empty() => {
            "take them off there, or declare that node as a server; if it is gone for good: docker node rm --force NODE, on a manager".to_owned()
        }
        (DeleteMode::Guarded, None) if blockers.iter().any(|it| is_declared(&it.name)) => {
            format!(
                "Landfall did not connect what is listed: remove it, or take it off: docker network disconnect {} NAME",
                network.name
            )
        }
        (DeleteMode::Guarded, None) => format!(
            "remove what is listed, or stop and disconnect it all: landfall delete destination {} -n {}{} --force",
            destination.name,
            destination.namespace,
            in_set(ctx.set)
        ),
        (DeleteMode::Forced, _) => match blockers.iter().find_map(|blocker| blocker.server.as_ref()) {
            Some(server) => {
                format!("disconnect or remove what is on other servers, such as {server}, there; {services}")
            }
            None => services.to_owned(),
        },
    };
    // What waits for nothing but Landfall's own next steps is not refused.
    let waits = cause == Cause::Undeclared && blockers.len() == evacuation.waits.len();
    let kind = if waits { NoteKind::Waiting } else { NoteKind::Refused };
    Note::new(kind, Reason::ResourcesRemain, destination, RESOURCES_REMAIN).blockers(blockers).hint(hint)
}

/// Everyone off the network, the proxy last, and the network away; with those whom a forced deletion stops.
fn steps<'a>(
    ctx: &Context<'a>,
    doomed: Doomed<'_, 'a>,
    evacuation: &Evacuation<'a>,
) -> Result<(Vec<Operation>, Vec<JournalEndpoint>), Note> {
    let Doomed { destination, network, cause, mode } = doomed;
    let proxy = ctx.server.proxy.as_ref();
    let target = NetworkTarget::existing(network);
    let operation = |call, disruptive, undo| Operation { object: destination.clone(), call, cause, disruptive, undo };
    let mut operations = Vec::new();
    let mut endpoints = Vec::new();
    let mut all: Vec<Attached<'_>> = ctx.host.attached(network);
    // Those pinned to an earlier network of the name refer to it as well, and cannot start while they do.
    all.extend(ctx.host.stale(&network.name));
    // Tasks leave with their service.
    all.retain(|it| !host::is_going(it.container) && !host::is_task(it.container));
    all.sort_by_key(|it| (host::is_proxy(it.container, proxy), it.container.name.clone()));
    // What Landfall runs itself goes before: with it, its tasks.
    let goes = |it: &&&ObservedService| {
        super::workload::identity_of_service(it).is_some_and(|identity| identity.set == ctx.set)
    };
    for service in evacuation.services.iter().filter(|it| !goes(it)) {
        let before = service.attachment(network).cloned();
        let mut update = service::operation(destination, service, target.clone(), None, cause);
        update.undo =
            before.map(|before| service::change(destination, service, target.clone(), Some(before), Cause::Rollback));
        operations.push(update);
    }
    for it in all {
        let container = it.container;
        let is_proxy = host::is_proxy(container, proxy);
        let before = member::restorable(&it).ok_or_else(|| member::unknown(destination, container, &network.name))?;
        let live = container.state.is_live();
        let forced = mode == DeleteMode::Forced && !is_proxy;
        if forced {
            if live {
                operations.push(operation(
                    Call::StopContainer { container: ContainerTarget::of(container) },
                    true,
                    Some(Call::StartContainer { container: ContainerTarget::of(container) }),
                ));
            }
            endpoints.push(JournalEndpoint {
                container: ContainerTarget::of(container),
                settings: before.clone(),
                was_running: live,
            });
        }
        operations.push(operation(
            Call::DisconnectEndpoint {
                network: target.clone(),
                container: ContainerTarget::of(container),
                force: it.stale && live,
            },
            // What force disconnects has been stopped by now, and nobody is left for the proxy to talk to.
            live && !forced && !is_proxy,
            (!it.stale).then(|| Call::ConnectEndpoint {
                network: target.clone(),
                container: ContainerTarget::of(container),
                settings: before,
                reserved: Reserved::default(),
            }),
        ));
    }
    if let Some(service) = service::proxy(ctx)
        && let Some(before) = service.attachment(network)
    {
        let mut update = service::operation(destination, service, target.clone(), None, cause);
        let before = Some(before.clone());
        update.undo = Some(service::change(destination, service, target.clone(), before, Cause::Rollback));
        operations.push(update);
    }
    operations.push(operation(Call::RemoveNetwork { network: target }, false, None));
    Ok((operations, endpoints))
}

/// The option of a command for this set.
pub(super) fn in_set(set: &str) -> String {
    if set == DEFAULT_SET { String::new() } else { format!(" --set {set}") }
}

/// Plans the request to delete on one observed server.
pub(super) fn requested<'a>(ctx: &Context<'a>, outlook: &Outlook) -> Deletions<'a> {
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
fn declared<'a>(
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
    let network = match located {
        Located::Owned(network) => *network,
        Located::Adopted(network) => return Err(forget(network, "is adopted")),
        Located::Missing => {
            let name = destination.network.name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
            return Err(Note::warning(
                Reason::NetworkNotFound,
                key,
                format!("The network{name} of {key} is gone already; there is nothing to delete."),
            ));
        }
        Located::Refused(note) if note.reason == Reason::AdoptionRequired => {
            return Err(Note::warning(Reason::Orphaned, key, format!("{} It stays as it is.", note.message)));
        }
        Located::Refused(note) => return Err(note.clone()),
    };
    let label = ctx.host.owner(network).map(|owner| owner.deletion_policy).unwrap_or_default();
    if destination.deletion_policy == DeletionPolicy::Orphan || label == DeletionPolicy::Orphan {
        return Err(forget(network, "has the deletion policy Orphan"));
    }
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

pub(super) fn orphaned(key: &ObjectKey, network: &ObservedNetwork, why: &str) -> Note {
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
        .flat_map(|member| member::matching(&ctx.host, &member.selector))
        .map(|container| &container.id)
        .collect();
    let mut seen = BTreeSet::new();
    member_services(ctx, destination, network, deletions);
    for member in destination.members.iter().filter(|member| ctx.is_deleted(&member.resource)) {
        for container in member::matching(&ctx.host, &member.selector) {
            if kept.contains(&container.id)
                || host::is_proxy(container, ctx.server.proxy.as_ref())
                || host::is_task(container)
                || !seen.insert(&container.id)
            {
                continue;
            }
            let Some(attached) = ctx.host.attachment(container, Some(network), &network.name) else { continue };
            if attached.stale {
                continue;
            }
            let resource = &member.resource;
            let name = &container.name;
            let options = attached.endpoint.settings.as_ref().map(|settings| &settings.driver_opts);
            let marked = options.is_some_and(|options| applied::is_own(options, ctx.set))
                && !leaving::is_at_home(&ctx.host, container, options, &network.name, Some(network));
            if destination.suspend || ctx.is_deleted(&destination.key) {
                let why = if destination.suspend { "is suspended" } else { "is not deleted" };
                deletions.notes.push(Note::warning(
                    Reason::ResourcesRemain,
                    resource,
                    format!("{name:?} is left on {:?}, since {} {why}.", network.name, destination.key),
                ));
            } else if marked {
                deletions.groups.push(Group {
                    object: resource.clone(),
                    operations: vec![Operation {
                        object: resource.clone(),
                        call: Call::DisconnectEndpoint {
                            network: NetworkTarget::existing(network),
                            container: ContainerTarget::of(container),
                            force: false,
                        },
                        cause: Cause::DeletionRequested,
                        disruptive: container.state.is_live(),
                        undo: None,
                    }],
                    journal: None,
                    completes: Vec::new(),
                    needs: Vec::new(),
                });
            } else {
                deletions.notes.push(
                    Note::unmanaged(
                        Reason::MembershipForeign,
                        resource,
                        format!("{name:?} is left on {:?}: Landfall did not connect it.", network.name),
                    )
                    .hint(format!("docker network disconnect {} {name}", network.name)),
                );
            }
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
            if service::is_proxy(service, ctx.server.proxy.as_ref())
                || service::wanted_elsewhere(ctx, &destination.key, network, service)
                || !seen.insert(name)
            {
                continue;
            }
            let resource = &member.resource;
            if destination.suspend || ctx.is_deleted(&destination.key) {
                let why = if destination.suspend { "is suspended" } else { "is not deleted" };
                deletions.notes.push(Note::warning(
                    Reason::ResourcesRemain,
                    resource,
                    format!(
                        "The Swarm service {name:?} is left on {:?}, since {} {why}.",
                        network.name, destination.key
                    ),
                ));
            } else if ownership::is_marked_service(attachment, ctx.set) && !applied::is_found(&attachment.driver_opts) {
                deletions.groups.push(service::detach(resource, service, network, Cause::DeletionRequested));
            } else {
                deletions.notes.push(
                    Note::unmanaged(
                        Reason::MembershipForeign,
                        resource,
                        format!(
                            "The Swarm service {name:?} is left on {:?}: Landfall did not put it there.",
                            network.name
                        ),
                    )
                    .hint(format!("docker service update --network-rm {} {name}", network.name)),
                );
            }
        }
    }
}
