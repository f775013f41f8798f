//! Deleting: nothing that anybody still needs, and nothing that is not ours.

use std::collections::{BTreeMap, BTreeSet};

use super::{attachment, bound};
use crate::core::api::{ObjectKey, Replacement};
use crate::core::observed::{NetworkScope, ObservedContainer, ObservedNetwork, ObservedService};
use crate::core::plan::decide::leaving::Verdict;
use crate::core::plan::decide::locate::ambiguous;
use crate::core::plan::decide::settings;
use crate::core::plan::decide::standing::{Question, Why};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalEndpoint, JournalPurpose};
use crate::core::plan::document::note::{Blocker, BlockerKind, Note, NoteKind, declared_blocker, in_set};
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{Connection, ContainerTarget, NetworkTarget, Reserved, distinct};
use crate::core::plan::document::withheld::WithheldDisconnection;
use crate::core::plan::input::DeleteMode;
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::party::{Outlook, Party};
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::target::recreation;
use crate::core::plan::world::{applied, container, elsewhere, selector, service};
use crate::core::workload::stack_file;

/// The planned removal of one network.
pub(crate) struct Removal<'a> {
    pub(crate) network: &'a ObservedNetwork,
    pub(crate) group: Group,
    /// A risk that could not be checked.
    pub(crate) warning: Option<Note>,
    /// Endpoints that go with it, as far as the limits of pruning count them.
    pub(crate) counted: Vec<WithheldDisconnection>,
    /// All who were on it are on the network of another destination by now: it has a successor.
    pub(crate) succeeded: bool,
}

impl Removal<'_> {
    /// It depends on nothing else that is planned.
    pub(crate) fn is_sure(&self) -> bool {
        self.group.needs.is_empty()
    }
}

/// A network that is to be removed.
#[derive(Clone, Copy)]
pub(crate) struct Doomed<'c, 'a> {
    pub(crate) destination: &'c ObjectKey,
    pub(crate) network: &'a ObservedNetwork,
    pub(crate) cause: Cause,
    pub(crate) mode: DeleteMode,
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
        if container::is_proxy(container, proxy) || container::is_going(container) || container::is_task(container) {
            continue;
        }
        let options = attached.endpoint.settings.as_ref().map(|settings| &settings.driver_opts);
        let marked = options.is_some_and(|options| applied::is_own(options, ctx.set));
        let question = question(Party::Container(container), options);
        if (marked || replaced_for(ctx, destination, network, container)) && evacuation.takes(&question, destination) {
            evacuation.containers.push(attached);
        }
    }
    for service in ctx.host.services_on(network) {
        let options = service.attachment(network).map(|attachment| &attachment.driver_opts);
        let marked = options.is_some_and(|options| applied::is_own(options, ctx.set));
        let shared =
            service::is_proxy(service, proxy) || elsewhere::wanted_elsewhere(ctx, destination, network, service);
        if marked && !shared && evacuation.takes(&question(Party::Service(service), options), destination) {
            evacuation.services.push(service);
        }
    }
    evacuation
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
pub(crate) fn removal<'a>(
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
    let bound = bound::containers(ctx, destination, network);
    if mode == DeleteMode::Guarded {
        bound::list(&bound, &mut blockers);
    }
    stand_for_their_containers(ctx, destination, &mut blockers);
    blockers.sort();
    if !blockers.is_empty() {
        return Err(blocked(ctx, doomed, blockers, &bound, &evacuation));
    }
    let unseen = ctx.unseen_nodes(destination, network, mode)?;
    let warning = unseen.or_else(|| bound::unstartable(destination, network, &bound));
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
    let group = Group { journal, ..Group::new(destination, operations).needs(needs) };
    let succeeded = moved > 0 && counted.is_empty();
    Ok(Removal { network, group, warning, counted, succeeded })
}

/// A stack that is listed stands for what it runs, as an application does for its containers. What somebody ran beside it, the stack does not take along.
fn stand_for_their_containers(ctx: &Context<'_>, destination: &ObjectKey, blockers: &mut Vec<Blocker>) {
    let on_it = ctx.server.destinations.iter().filter(|it| it.key == *destination).flat_map(|it| &it.members);
    let listed = on_it.filter(|member| blockers.contains(&declared_blocker(destination, &member.resource)));
    let projects: BTreeSet<&str> = listed.filter_map(|it| Some(it.stack.as_ref()?.project.as_str())).collect();
    let is_of_one = |labels: &BTreeMap<String, String>| {
        let mut own = [container::COMPOSE_PROJECT, stack_file::NAMESPACE].into_iter();
        own.any(|label| labels.get(label).is_some_and(|project| projects.contains(project.as_str())))
    };
    blockers.retain(|blocker| match blocker.kind {
        _ if blocker.server.is_some() => true,
        BlockerKind::Container | BlockerKind::SwarmTask => {
            let container = ctx.host.container_named(&blocker.name);
            container.is_none_or(|it| container::is_one_off(it) || !is_of_one(&it.labels))
        }
        BlockerKind::SwarmService => {
            let service = ctx.host.state.services.iter().find(|it| it.name == blocker.name);
            service.is_none_or(|it| !is_of_one(&it.labels))
        }
        _ => true,
    });
}

/// Why the network is not removed, and the next step.
fn blocked(
    ctx: &Context<'_>,
    doomed: Doomed<'_, '_>,
    blockers: Vec<Blocker>,
    bound: &[Blocker],
    evacuation: &Evacuation<'_>,
) -> Note {
    let Doomed { destination, cause, .. } = doomed;
    let hint = bound::hint(bound, &blockers).unwrap_or_else(|| next_step(ctx, doomed, &blockers, evacuation));
    // What waits for nothing but Landfall's own next steps is not refused.
    let waits = cause == Cause::Undeclared && blockers.len() == evacuation.waits.len();
    let kind = if waits { NoteKind::Waiting } else { NoteKind::Refused };
    Note::new(kind, Reason::ResourcesRemain, destination, RESOURCES_REMAIN).blockers(blockers).hint(hint)
}

/// Force is none as long as there is another.
fn next_step(ctx: &Context<'_>, doomed: Doomed<'_, '_>, blockers: &[Blocker], evacuation: &Evacuation<'_>) -> String {
    let Doomed { destination, network, mode, .. } = doomed;
    let has = |kinds: &[BlockerKind]| blockers.iter().any(|it| kinds.contains(&it.kind));
    let services = "remove the Swarm services, or take the network out of them: docker service update --network-rm";
    let declared = ctx.server.destinations.iter().flat_map(|it| &it.members);
    let is_declared = |name: &str| {
        let container = ctx.host.container_named(name);
        declared.clone().any(|it| container.is_some_and(|container| selector::selects(&it.selector, container)))
    };
    let hidden = !ctx.host.unlisted_on(network).is_empty();
    match (mode, evacuation.waits.first()) {
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
    }
}

/// Everyone off the network, the proxy last, and the network away; with those whom a forced deletion stops.
fn steps<'a>(
    ctx: &Context<'a>,
    doomed: Doomed<'_, 'a>,
    evacuation: &Evacuation<'a>,
) -> Result<(Vec<Operation>, Vec<JournalEndpoint>), Note> {
    let Doomed { destination, network, cause, .. } = doomed;
    let proxy = ctx.server.proxy.as_ref();
    let target = NetworkTarget::existing(network);
    let mut operations = Vec::new();
    let mut endpoints = Vec::new();
    let mut all: Vec<Attached<'_>> = ctx.host.attached(network);
    // Those pinned to an earlier network of the name refer to it as well, and cannot start while they do.
    all.extend(ctx.host.stale(&network.name));
    // Tasks leave with their service.
    all.retain(|it| !container::is_going(it.container) && !container::is_task(it.container));
    all.sort_by_key(|it| (container::is_proxy(it.container, proxy), it.container.name.clone()));
    let off = |service: &ObservedService| {
        let back = service
            .attachment(network)
            .cloned()
            .map(|before| attachment::change(destination, service, target.clone(), Some(before), Cause::Rollback));
        attachment::operation(destination, service, target.clone(), None, cause).undone_by(back)
    };
    // What Landfall runs itself goes before: with it, its tasks.
    let goes =
        |it: &&&ObservedService| service::identity_of_service(it).is_some_and(|identity| identity.set == ctx.set);
    operations.extend(evacuation.services.iter().filter(|it| !goes(it)).map(|it| off(it)));
    for it in all {
        let (steps, stopped) = led_off(ctx, doomed, &it)?;
        operations.extend(steps);
        endpoints.extend(stopped);
    }
    let proxy = context::proxy(ctx).filter(|service| service.attachment(network).is_some());
    operations.extend(proxy.map(off));
    operations.push(Operation::new(destination, Call::RemoveNetwork { network: target }, cause));
    Ok((operations, endpoints))
}

/// One container off the network, stopped before by a forced deletion, which keeps a record of it.
fn led_off(
    ctx: &Context<'_>,
    doomed: Doomed<'_, '_>,
    it: &Attached<'_>,
) -> Result<(Vec<Operation>, Option<JournalEndpoint>), Note> {
    let Doomed { destination, network, cause, mode } = doomed;
    let container = it.container;
    let target = || ContainerTarget::of(container);
    let is_proxy = container::is_proxy(container, ctx.server.proxy.as_ref());
    let before = settings::restorable(it).ok_or_else(|| settings::unknown(destination, container, &network.name))?;
    let live = container.state.is_live();
    let forced = mode == DeleteMode::Forced && !is_proxy;
    let mut operations = Vec::new();
    if forced && live {
        let stop = Operation::new(destination, Call::StopContainer { container: target() }, cause);
        operations.push(stop.disruptive(true).undone_by(Some(Call::StartContainer { container: target() })));
    }
    let stopped = forced.then(|| JournalEndpoint { container: target(), settings: before.clone(), was_running: live });
    let network = NetworkTarget::existing(network);
    let back = (!it.stale).then(|| Call::ConnectEndpoint {
        network: network.clone(),
        container: target(),
        settings: before,
        reserved: Reserved::default(),
    });
    let off = Call::DisconnectEndpoint { network, container: target(), force: it.stale && live };
    // What force disconnects has been stopped by now, and nobody is left for the proxy to talk to.
    let disruptive = live && !forced && !is_proxy;
    operations.push(Operation::new(destination, off, cause).disruptive(disruptive).undone_by(back));
    Ok((operations, stopped))
}

/// The words that Coolify's users know.
pub const RESOURCES_REMAIN: &str = "You must delete all resources before deleting this destination.";
