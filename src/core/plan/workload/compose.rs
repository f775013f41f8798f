//! Stacks of Docker Compose: when Compose has to run, and what is done without it.
//!
//! Compose runs only where its own record on the containers differs from what it would make, or where containers are missing or stopped.
//! Whoever fell off a network is connected by Landfall, on the stack's own networks as on the destination: Compose would make the container anew,
//! and does not see a lost alias at all.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::call::{ComposeUp, ContainerRef, WorkloadCall};
use super::leaving::{cause_of_leaving, held_as_moved, is_left_alone};
use super::{Cause, Context, Difference, Draft, Group, Note, Operation, Reason, host};
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredEndpoint, DesiredMember};
use crate::core::observed::{ContainerState, EndpointSettings, ObservedContainer, ObservedNetwork};
use crate::core::plan::destination::recreation;
use crate::core::plan::member::{self, Target};
use crate::core::plan::operation::Reserved;
use crate::core::plan::ownership::{self, Mark, Purpose};
use crate::core::plan::{Call, ContainerTarget, NetworkCreate, NetworkTarget, ServerType, proxy, route};
use crate::core::workload::identity::Identity;
use crate::core::workload::stack::{self, Finding, Made, Owner, Stack, StackNetwork, StackService};

/// A stack on a destination, while it is planned for.
struct Managed<'a, 'c> {
    ctx: &'c Context<'a>,
    destination: &'a DesiredDestination,
    member: &'a DesiredMember,
    stack: &'a std::sync::Arc<Stack>,
    made: &'a Made,
    target: &'c Target<'a>,
}

/// Everything that brings one stack to what the manifest says.
pub(super) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    member: &'a DesiredMember,
    stack: &'a std::sync::Arc<Stack>,
    target: &Target<'a>,
    draft: &mut Draft,
) {
    let made = match &stack.made {
        Ok(made) => made,
        Err(unmade) => {
            let note = Note::refused(unmade.reason, &member.resource, unmade.message.clone());
            draft.notes.push(note.hint(unmade.hint.clone()));
            return;
        }
    };
    let managed = Managed { ctx, destination, member, stack, made, target };
    managed.repair(draft);
    let (refused, warnings): (Vec<Note>, Vec<Note>) = managed.findings();
    draft.notes.extend(warnings);
    if refused.is_empty() {
        match managed.hindrance() {
            Some(note) => draft.notes.push(note),
            None => managed.up(draft),
        }
    } else {
        draft.notes.extend(refused);
    }
    managed.proxy(draft);
}

impl<'a> Managed<'a, '_> {
    fn resource(&self) -> &'a ObjectKey {
        &self.member.resource
    }

    /// What was found out about the file: what keeps the stack from being brought up, and the rest.
    fn findings(&self) -> (Vec<Note>, Vec<Note>) {
        let of_server = stack::conflicts(self.ctx.server).into_iter();
        let conflicts = of_server.filter(|(resource, _)| resource == self.resource()).map(|(_, finding)| finding);
        let note = |finding: Finding| {
            let message = format!("{}: {}.", self.stack.place(finding.line), finding.message);
            let note = if finding.refused {
                Note::refused(finding.reason, self.resource(), message)
            } else {
                Note::warning(finding.reason, self.resource(), message)
            };
            (finding.refused, note.hint(finding.hint))
        };
        let all = self.made.findings.iter().cloned().chain(conflicts).map(note);
        let (refused, warnings): (Vec<_>, Vec<_>) = all.partition(|(refused, _)| *refused);
        let notes = |pairs: Vec<(bool, Note)>| pairs.into_iter().map(|(_, note)| note).collect();
        (notes(refused), notes(warnings))
    }

    fn hindrance(&self) -> Option<Note> {
        let (ctx, resource, project) = (self.ctx, self.resource(), &self.stack.project);
        if ctx.host.server_type() != ServerType::Standalone {
            let message = format!("{} is part of a Swarm, where Docker Compose runs nothing.", ctx.server.key);
            return Some(Note::refused(Reason::WrongScope, resource, message).hint(format!(
                "docker stack deploy -c {} {project}, and adopt its services: `containers: {{ swarmServices: [NAME] }}`",
                self.stack.file
            )));
        }
        if let Some(note) = super::held_stopped(ctx, resource, self.own()) {
            return Some(note);
        }
        if let Some(note) = super::incomplete(ctx, resource, self.made.volumes.iter()) {
            return Some(note);
        }
        let others: Vec<(&ObservedContainer, Option<Owner>)> =
            of_project(ctx, project).into_iter().map(|it| (it, stack::owner(&it.labels))).collect();
        if let Some((container, Some(owner))) =
            others.iter().find(|(_, owner)| owner.as_ref().is_some_and(|owner| owner.set != ctx.set))
        {
            let message = format!(
                "The Compose project {project:?} is {}'s of the set {:?}: its container {:?} says so.",
                owner.object, owner.set, container.name
            );
            return Some(
                Note::refused(Reason::OwnershipConflict, resource, message)
                    .hint("give one of the two another `compose.project`"),
            );
        }
        let foreign: Vec<&str> =
            others.iter().filter(|(_, owner)| owner.is_none()).map(|(container, _)| container.name.as_str()).collect();
        if !foreign.is_empty() && !self.stack.take_ownership {
            let message = format!(
                "The Compose project {project:?} was brought up by something else: Landfall did not make {}.",
                foreign.join(", ")
            );
            return Some(Note::refused(Reason::AdoptionRequired, resource, message).hint(
                "`takeOwnership: true` in `compose` has them made anew as Landfall's own, their volumes kept; without `file` the stack is adopted as it is",
            ));
        }
        None
    }

    /// Connects whoever is not on a network of the stack's own, or does not answer there to the names that it should.
    fn repair(&self, draft: &mut Draft) {
        for container in self.own() {
            let Some(owner) = stack::owner(&container.labels) else { continue };
            for (network, names) in self.made.homes(&owner.service) {
                let Some(present) = self.present(network) else { continue };
                draft.groups.extend(self.attach(container, present, &names));
            }
        }
    }

    fn attach(
        &self,
        container: &'a ObservedContainer,
        network: &'a ObservedNetwork,
        names: &[String],
    ) -> Option<Group> {
        let attached = self.ctx.host.attachment(container, Some(network), &network.name);
        let settings = EndpointSettings { aliases: names.to_vec(), ..EndpointSettings::default() };
        let connect = |settings| Call::ConnectEndpoint {
            network: NetworkTarget::existing(network),
            container: ContainerTarget::of(container),
            settings,
            reserved: Reserved::default(),
        };
        let operation = |call, cause, disruptive, undo| Operation {
            object: self.resource().clone(),
            call,
            cause,
            disruptive,
            undo,
        };
        let live = container.state.is_live();
        let Some(attached) = attached else {
            return Some(self.group(vec![operation(connect(settings), Cause::MemberDetached, false, None)]));
        };
        let cause = if attached.stale {
            Cause::EndpointStale
        } else {
            let known = attached.endpoint.settings.as_ref()?;
            if names.iter().all(|name| known.aliases.contains(name)) {
                return None;
            }
            Cause::EndpointDiffers
        };
        let before = member::restorable(&attached);
        // An address that somebody chose is kept.
        let mut after = before.clone().unwrap_or_default();
        after.aliases.extend(names.iter().filter(|name| !after.aliases.contains(name)).cloned().collect::<Vec<_>>());
        let disconnect = Call::DisconnectEndpoint {
            network: NetworkTarget::existing(network),
            container: ContainerTarget::of(container),
            force: attached.stale && live,
        };
        let undo = before.filter(|_| !attached.stale).map(connect);
        let after = if attached.stale { settings } else { after };
        Some(self.group(vec![operation(disconnect, cause, live, undo), operation(connect(after), cause, false, None)]))
    }

    /// The network of the stack's, where there is exactly one of the name.
    fn present(&self, network: &StackNetwork) -> Option<&'a ObservedNetwork> {
        match self.ctx.host.networks_named(&network.name) {
            [only] => Some(*only),
            _ => None,
        }
    }

    fn group(&self, operations: Vec<Operation>) -> Group {
        Group { object: self.resource().clone(), operations, journal: None, completes: Vec::new(), needs: Vec::new() }
    }

    /// The containers of the project that Landfall had made, in the order of their names.
    fn own(&self) -> Vec<&'a ObservedContainer> {
        let mut own = of_project(self.ctx, &self.stack.project);
        own.retain(|it| stack::owner(&it.labels).is_some_and(|owner| owner.set == self.ctx.set));
        own
    }

    /// Has Compose run where anything differs that it would change.
    fn up(&self, draft: &mut Draft) {
        let ctx = self.ctx;
        let all = of_project(ctx, &self.stack.project);
        let differences = self.differences(&all);
        let restart = ctx.request.restart.contains(self.resource());
        if differences.is_empty() && !restart {
            return;
        }
        let attempt = self.attempt();
        if let Some(failure) = ctx.request.failed_attempts.get(&attempt) {
            let message =
                format!("It did not become healthy, and is not tried again until something changes. {failure}");
            draft.notes.push(
                Note::refused(Reason::HealthCheckFailed, self.resource(), message)
                    .hint("change the compose file or an image; `landfall apply` tries it once more as it is"),
            );
            return;
        }
        let cause = match differences.as_slice() {
            _ if all.is_empty() => Cause::WorkloadMissing,
            changes if !changes.is_empty() && changes.iter().all(|it| it.field.ends_with(" image")) => {
                Cause::ImageMoved
            }
            changes if !changes.is_empty() && changes.iter().all(|it| it.field.ends_with(" state")) => {
                Cause::WorkloadStopped
            }
            _ => Cause::WorkloadDiffers,
        };
        let running = all.iter().any(|container| container.state.is_live());
        let harmless = differences.iter().all(|it| it.field.ends_with(" state") || it.from.as_deref() == Some("none"));
        let call = WorkloadCall::ComposeUp(Box::new(ComposeUp {
            stack: std::sync::Arc::clone(self.stack),
            network: self.member.connect.then(|| self.target.call()),
            differences,
            orphans: all.iter().all(|it| stack::owner(&it.labels).is_some_and(|owner| owner.set == ctx.set)),
            anew: restart,
            attempt,
        }));
        let up = Operation {
            object: self.resource().clone(),
            call: Call::Workload(Box::new(call)),
            cause,
            disruptive: running && (restart || !harmless),
            undo: None,
        };
        let mut operations = vec![up];
        // The network that the proxy comes to is made by this.
        if let (true, Some(home)) = (self.is_routed(), self.made.home().filter(|home| self.present(home).is_none())) {
            let create = NetworkCreate { name: home.name.clone(), ..self.target.create.clone() };
            operations.extend(self.connect_proxy(&Target { network: None, create }));
        }
        draft.groups.push(self.group(operations));
    }

    fn differences(&self, all: &[&ObservedContainer]) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |field: String, from: Option<String>, to: Option<String>| {
            found.push(Difference { field, from, to, in_place: false });
        };
        let service_of = |it: &ObservedContainer| it.labels.get(stack::SERVICE).cloned().unwrap_or_default();
        let mut by_service: BTreeMap<String, Vec<&ObservedContainer>> = BTreeMap::new();
        for container in all {
            by_service.entry(service_of(container)).or_default().push(container);
        }
        for (name, service) in &self.made.services {
            let held = by_service.remove(name).unwrap_or_default();
            let count = u32::try_from(held.len()).unwrap_or(u32::MAX);
            if count != service.replicas {
                let word = |count: u32| if count == 0 { "none".to_owned() } else { count.to_string() };
                add(format!("{name} containers"), Some(word(count)), Some(service.replicas.to_string()));
            }
            if let Some((from, to)) = held.iter().find_map(|it| self.config_difference(it, service)) {
                add(format!("{name} configuration"), Some(from), Some(to));
            } else if let Some((from, to)) = held.iter().find_map(|it| self.image_difference(it, service)) {
                add(format!("{name} image"), Some(from), Some(to));
            }
            if let Some((container, called)) =
                held.iter().find_map(|it| Some((it, stack::name_of_replacement(&it.name)?)))
            {
                add(
                    format!("{name} state"),
                    Some(format!("{} left by a run that was cut off", container.name)),
                    Some(called.to_owned()),
                );
            } else if let Some(stopped) = held.iter().find(|it| is_stopped(it, service)) {
                add(format!("{name} state"), Some(stopped.state.as_str().to_owned()), Some("running".to_owned()));
            }
        }
        for (service, held) in by_service {
            let ours = held.iter().all(|it| stack::owner(&it.labels).is_some_and(|owner| owner.set == self.ctx.set));
            // What is somebody else's and not in the file is left.
            if ours {
                add(format!("{service} containers"), Some(held.len().to_string()), Some("none".to_owned()));
            }
        }
        if !all.is_empty() {
            let used: BTreeSet<&String> =
                self.made.services.values().flat_map(|service| service.networks.keys()).collect();
            for network in used.into_iter().filter_map(|key| self.made.networks.get(key)) {
                if self.ctx.host.networks_named(&network.name).is_empty() {
                    add(format!("network {}", network.name), Some("none".to_owned()), Some("made".to_owned()));
                }
            }
        }
        found
    }

    /// Compose's own record of what the service was like against what it is like.
    fn config_difference(&self, container: &ObservedContainer, service: &StackService) -> Option<(String, String)> {
        let label = |key: &str| container.labels.get(key).map(String::as_str).unwrap_or_default();
        let short = |hash: &str| hash.chars().take(7).collect::<String>();
        let hash = label(stack::CONFIG_HASH);
        if hash == service.hash && stack::owner(&container.labels).is_some() {
            return None;
        }
        if stack::owner(&container.labels).is_none() {
            return Some(("another tool's".to_owned(), "Landfall's".to_owned()));
        }
        let version = label(stack::VERSION);
        // A new version of Compose may tell apart what the file does not.
        Some(if version == self.made.version {
            (short(hash), short(&service.hash))
        } else {
            (
                format!("{} by Compose {version}", short(hash)),
                format!("{} by Compose {}", short(&service.hash), self.made.version),
            )
        })
    }

    fn image_difference(&self, container: &ObservedContainer, service: &StackService) -> Option<(String, String)> {
        let state = self.ctx.host.state.images.get(&service.image)?;
        let short = |id: &str| id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        let made_from = container.labels.get(stack::IMAGE).map(String::as_str).unwrap_or_default();
        let local = state.local.as_ref()?;
        if service.always_pulled && state.has_moved() {
            let to = state.remote.as_deref().unwrap_or_default();
            return Some((short(made_from), short(to)));
        }
        (!made_from.is_empty() && made_from != local.id).then(|| (short(made_from), short(&local.id)))
    }

    fn is_routed(&self) -> bool {
        self.stack.is_routed() && self.destination.proxy && self.ctx.server.proxy.is_some()
    }

    /// The proxy on the stack's own network where a service has a domain, and off it where none has any more.
    fn proxy(&self, draft: &mut Draft) {
        if self.stack.is_routed() {
            let missing = match &self.ctx.server.proxy {
                None => Some(("has no proxy that could route to it", "declare `spec.proxy` of the Server")),
                Some(_) if !self.destination.proxy => {
                    Some(("is not to have its proxy there", "set `proxy: true` on the destination"))
                }
                Some(_) => None,
            };
            if let Some((what, hint)) = missing {
                let message =
                    format!("{} {what}: nothing answers for the domains of {}.", self.ctx.server.key, self.resource());
                draft.notes.push(Note::warning(Reason::ProxyUnsupported, self.resource(), message).hint(hint));
            }
        }
        let Some(network) = self.made.home().and_then(|home| self.present(home)) else { return };
        let Some(container) = proxy::container(self.ctx) else { return };
        let attached = self.ctx.host.attachment(container, Some(network), &network.name);
        let target = Target { network: Some(network), create: recreation(network) };
        match attached {
            None if self.is_routed() && !self.own().is_empty() => {
                let operations: Vec<Operation> = self.connect_proxy(&target).into_iter().collect();
                draft.groups.extend((!operations.is_empty()).then(|| self.group(operations)));
            }
            Some(attached) if !self.is_routed() && is_marked(&attached, self.ctx.set) => {
                draft.groups.push(disconnect_proxy(self.resource(), network, container));
            }
            _ => {}
        }
    }

    fn connect_proxy(&self, target: &Target<'_>) -> Option<Operation> {
        let container = proxy::container(self.ctx)?;
        let made_for = BTreeSet::from([Purpose::Proxy]);
        let mark = Mark { name: Some(&container.name), ..self.ctx.mark(&made_for, container) };
        let mut settings = member::declared_settings(EndpointSettings::default(), &DesiredEndpoint::default(), &mark);
        settings.gw_priority = settings.gw_priority.or_else(|| route::below_the_others(self.ctx, target, container));
        Some(Operation {
            object: self.resource().clone(),
            call: Call::ConnectEndpoint {
                network: target.call(),
                container: ContainerTarget::of(container),
                settings,
                reserved: Reserved::default(),
            },
            cause: Cause::ProxyDetached,
            disruptive: false,
            undo: None,
        })
    }

    /// Stands for an attempt to have exactly this brought up.
    fn attempt(&self) -> String {
        let images: Vec<String> = self
            .made
            .services
            .values()
            .map(|service| {
                let state = self.ctx.host.state.images.get(&service.image);
                let local = state.and_then(|state| state.local.as_ref()).map_or("", |local| local.id.as_str());
                format!("{}={local}", service.image)
            })
            .collect();
        let (resource, destination) = (self.resource(), &self.destination.key);
        let text = format!("{resource}\n{destination}\n{}\n{images:?}", self.made.model.fingerprint());
        Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn is_marked(attached: &crate::core::plan::host::Attached<'_>, set: &str) -> bool {
    attached.endpoint.settings.as_ref().is_some_and(|settings| ownership::is_marked(settings, set))
}

fn disconnect_proxy(resource: &ObjectKey, network: &ObservedNetwork, container: &ObservedContainer) -> Group {
    let operation = Operation {
        object: resource.clone(),
        call: Call::DisconnectEndpoint {
            network: NetworkTarget::existing(network),
            container: ContainerTarget::of(container),
            force: false,
        },
        cause: Cause::ProxyUnwanted,
        disruptive: container.state.is_live(),
        undo: None,
    };
    Group {
        object: resource.clone(),
        operations: vec![operation],
        journal: None,
        completes: Vec::new(),
        needs: Vec::new(),
    }
}

/// It is there and does not run, and has not ended by itself with success.
fn is_stopped(container: &ObservedContainer, service: &StackService) -> bool {
    match container.state {
        ContainerState::Created => true,
        ContainerState::Exited | ContainerState::Dead => {
            let code = container.exit.as_ref().map_or(0, |exit| exit.code);
            !(service.ends && code == 0)
        }
        _ => false,
    }
}

/// The containers of a project but for those of `docker compose run` and those on their way out, by name.
fn of_project<'a>(ctx: &Context<'a>, project: &str) -> Vec<&'a ObservedContainer> {
    let is_of = |it: &&ObservedContainer| {
        it.labels.get(stack::PROJECT).is_some_and(|of| of == project) && !host::is_one_off(it) && !host::is_going(it)
    };
    let mut found: Vec<&ObservedContainer> = ctx.host.state.containers.iter().filter(is_of).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Stacks that the set has brought up on this server for resources that no longer are on their destinations, each with what becomes of it.
pub(in crate::core::plan) fn leaving(ctx: &Context<'_>) -> (Vec<Group>, Vec<Note>) {
    let (mut groups, mut notes) = (Vec::new(), Vec::new());
    let mut stacks: BTreeMap<String, Owner> = BTreeMap::new();
    for container in &ctx.host.state.containers {
        if let Some(owner) = stack::owner(&container.labels).filter(|owner| owner.set == ctx.set) {
            stacks.entry(owner.project.clone()).or_insert(owner);
        }
    }
    let declared = |project: &str| {
        let members = ctx.server.destinations.iter().flat_map(|it| &it.members);
        let mut stacks = members.filter(|member| !ctx.is_deleted(&member.resource)).filter_map(|it| it.stack.as_ref());
        stacks.any(|stack| stack.project == project)
    };
    for (project, owner) in stacks.into_iter().filter(|(project, _)| !declared(project)) {
        let Owner { set, object, destination, .. } = owner;
        let identity = Identity { set, object, destination, replica: 0, uid: String::new() };
        if is_left_alone(ctx, &identity) {
            continue;
        }
        let containers = of_project(ctx, &project);
        if !ctx.is_deleted(&identity.object)
            && let Some((source, hint)) = other_source(ctx, &identity.destination)
        {
            let message = format!(
                "The stack {project:?} of {} was brought up from {source}, and is left alone.",
                identity.object
            );
            notes.push(Note::unmanaged(Reason::OwnershipConflict, &identity.object, message).hint(hint));
            continue;
        }
        let Some(cause) = cause_of_leaving(ctx, &identity) else {
            // The note on what is withheld names it.
            if ctx.withheld {
                continue;
            }
            let message =
                format!("No manifest declares {} any more, and its stack {project:?} exists.", identity.object);
            notes.push(
                Note::unmanaged(Reason::Undeclared, &identity.object, message)
                    .hint("`--prune` stops and removes it; its volumes stay"),
            );
            continue;
        };
        let is_own = |it: &&ObservedContainer| stack::owner(&it.labels).is_some_and(|owner| owner.set == ctx.set);
        if let Some(other) = containers.iter().find(|it| !is_own(it)) {
            let message = format!(
                "Compose would remove {:?} with the stack {project:?}, and Landfall did not make it.",
                other.name
            );
            notes.push(
                Note::refused(Reason::OwnershipConflict, &identity.object, message)
                    .hint(format!("remove it first, or remove the stack yourself: docker compose -p {project} down")),
            );
            continue;
        }
        if let Some(note) = super::leaving::unsaved(ctx, &identity.object, containers.iter().copied()) {
            notes.push(note);
            continue;
        }
        if let Some(note) = removes_a_destination(ctx, &project, &identity.object) {
            notes.push(note);
            continue;
        }
        groups.extend(down(ctx, &project, &identity.object, &containers, cause));
    }
    (groups, notes)
}

/// Compose removes the networks of a project with its containers, and one of them may be the network of a destination that stays.
fn removes_a_destination(ctx: &Context<'_>, project: &str, object: &ObjectKey) -> Option<Note> {
    let is_of_project = |network: &&ObservedNetwork| network.labels.get(stack::PROJECT).is_some_and(|of| of == project);
    let staying = ctx.located.iter().filter(|(destination, _)| !ctx.is_deleted(&destination.key));
    let (destination, network) = staying
        .filter_map(|(destination, located)| Some((&destination.key, located.network().filter(is_of_project)?)))
        .next()?;
    let message = format!(
        "Compose would remove the network {:?} with the stack {project:?}, and {destination} declares it.",
        network.name
    );
    let hint = format!(
        "delete {destination} as well; to keep the network, remove the containers yourself: docker compose -p {project} rm --stop --force"
    );
    Some(Note::refused(Reason::OwnershipConflict, object, message).hint(hint))
}

/// The manifests that the destination's network was made from, where those are not ours.
fn other_source(ctx: &Context<'_>, destination: &ObjectKey) -> Option<(String, String)> {
    let network = ctx.host.verified_of(ctx.set, destination).next()?;
    let source = network.labels.get(ownership::SOURCE)?;
    Some((source.clone(), ctx.another_source(source)?))
}

fn down(
    ctx: &Context<'_>,
    project: &str,
    object: &ObjectKey,
    containers: &[&ObservedContainer],
    cause: Cause,
) -> Vec<Group> {
    let mut groups = Vec::new();
    // A network that the proxy is on cannot be removed.
    if let Some(proxy) = proxy::container(ctx) {
        for network in
            ctx.host.state.networks.iter().filter(|it| it.labels.get(stack::PROJECT).is_some_and(|of| of == project))
        {
            let attached = ctx.host.attachment(proxy, Some(network), &network.name);
            if attached.is_some_and(|attached| is_marked(&attached, ctx.set)) {
                groups.push(disconnect_proxy(object, network, proxy));
            }
        }
    }
    let stack = containers.iter().map(|container| ContainerTarget::of(container)).collect();
    let operation = |call, disruptive| Operation {
        object: object.clone(),
        call: Call::Workload(Box::new(call)),
        cause,
        disruptive,
        undo: None,
    };
    let is_live = containers.iter().any(|container| container.state.is_live());
    let mut operations = vec![operation(WorkloadCall::ComposeDown { project: project.to_owned(), stack }, is_live)];
    // What has held it stopped since it was moved has nothing to hold any more.
    let mut holders: Vec<_> = containers.iter().filter_map(|it| held_as_moved(ctx, it)).collect();
    holders.sort_by(|one, other| one.id.cmp(&other.id));
    holders.dedup_by(|one, other| one.id == other.id);
    for holder in holders {
        let container = ContainerRef::Existing(ContainerTarget::of(holder));
        operations.push(operation(WorkloadCall::RemoveContainer { container, force: false }, false));
    }
    groups.push(Group { object: object.clone(), operations, journal: None, completes: Vec::new(), needs: Vec::new() });
    groups
}

/// Whether the network is one that a declared stack has for itself: nobody's record is needed to put somebody back on it.
pub(in crate::core::plan) fn is_of_stack(
    members: impl Iterator<Item = impl std::borrow::Borrow<DesiredMember>>,
    network: &str,
) -> bool {
    let mut members = members;
    members.any(|member| {
        let made = member.borrow().stack.as_ref().and_then(|stack| stack.made.as_ref().ok());
        made.is_some_and(|made| made.networks.values().any(|it| it.name == network))
    })
}
