//! Stacks of Docker Compose: when Compose has to run, and what is done without it.
//!
//! Compose runs only where its own record on the containers differs from what it would make, or where containers are missing or stopped.
//! Whoever fell off a network is connected by Landfall, on the stack's own networks as on the destination: Compose would make the container anew,
//! and does not see a lost alias at all.

use std::collections::BTreeSet;

use super::hindrance;
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredEndpoint, DesiredMember};
use crate::core::observed::{EndpointSettings, ObservedContainer, ObservedNetwork};
use crate::core::plan::decide::settings;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{ContainerTarget, NetworkCreate, NetworkTarget, Reserved};
use crate::core::plan::document::workload_call::{ComposeUp, WorkloadCall};
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::ownership::{self, Mark, Purpose};
use crate::core::plan::world::target::{Target, recreation};
use crate::core::plan::world::{container, route, server};
use crate::core::workload::stack::{self, Finding, Made, Owner, Stack, StackNetwork, Unmade};

/// A stack on a destination, while it is planned for.
pub(crate) struct Managed<'a, 'c> {
    pub(crate) ctx: &'c Context<'a>,
    pub(crate) destination: &'a DesiredDestination,
    pub(crate) member: &'a DesiredMember,
    stack: &'a std::sync::Arc<Stack>,
    pub(crate) made: &'a Made,
    pub(crate) target: &'c Target<'a>,
}

/// Everything that brings one stack to what the manifest says.
pub(crate) fn converge<'a>(
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
            draft.notes.push(unmade_note(&member.resource, unmade));
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
    pub(crate) fn resource(&self) -> &'a ObjectKey {
        &self.member.resource
    }

    /// What was found out about the file: what keeps the stack from being brought up, and the rest.
    fn findings(&self) -> (Vec<Note>, Vec<Note>) {
        let of_server = stack::conflicts(self.ctx.server).into_iter();
        let conflicts = of_server.filter(|(resource, _)| resource == self.resource()).map(|(_, finding)| finding);
        let all = self.made.findings.iter().cloned().chain(conflicts);
        let all = all.map(|finding| (finding.refused, finding_note(self.stack, self.resource(), finding)));
        let (refused, warnings): (Vec<_>, Vec<_>) = all.partition(|(refused, _)| *refused);
        let notes = |pairs: Vec<(bool, Note)>| pairs.into_iter().map(|(_, note)| note).collect();
        (notes(refused), notes(warnings))
    }

    fn hindrance(&self) -> Option<Note> {
        let (ctx, resource, project) = (self.ctx, self.resource(), &self.stack.project);
        if let Some(note) = hindrance::held_stopped(ctx, resource, self.own()) {
            return Some(note);
        }
        if let Some(note) = hindrance::incomplete(ctx, resource, self.made.volumes.iter()) {
            return Some(note);
        }
        let others: Vec<(&ObservedContainer, Option<Owner>)> =
            of_project(ctx, project).into_iter().map(|it| (it, stack::owner(&it.labels))).collect();
        if let Some((container, Some(owner))) =
            others.iter().find(|(_, owner)| owner.as_ref().is_some_and(|owner| owner.set != ctx.set))
        {
            let (what, part) = (format!("The Compose project {project:?}"), format!("container {:?}", container.name));
            return Some(hindrance::owned_by_another(resource, &what, (&owner.object, &owner.set), &part));
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
        let before = settings::restorable(&attached);
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
        Group::new(self.resource(), operations)
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

    fn is_routed(&self) -> bool {
        self.stack.is_routed() && self.destination.proxy && self.ctx.server.proxy.is_some()
    }

    /// The proxy on the stack's own network where a service has a domain, and off it where none has any more.
    fn proxy(&self, draft: &mut Draft) {
        if self.stack.is_routed() {
            draft.notes.extend(unrouted(self.ctx, self.destination, self.resource()));
        }
        let Some(network) = self.made.home().and_then(|home| self.present(home)) else { return };
        let Some(container) = context::container(self.ctx) else { return };
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
        let container = context::container(self.ctx)?;
        let made_for = BTreeSet::from([Purpose::Proxy]);
        let mark = Mark { name: Some(&container.name), ..self.ctx.mark(&made_for, container) };
        let mut settings = settings::declared_settings(EndpointSettings::default(), &DesiredEndpoint::default(), &mark);
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
}

pub(crate) fn is_marked(attached: &server::Attached<'_>, set: &str) -> bool {
    attached.endpoint.settings.as_ref().is_some_and(|settings| ownership::is_marked(settings, set))
}

pub(crate) fn disconnect_proxy(
    resource: &ObjectKey,
    network: &ObservedNetwork,
    container: &ObservedContainer,
) -> Group {
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
    Group::of(operation)
}

/// The containers of a project but for those of `docker compose run` and those on their way out, by name.
pub(crate) fn of_project<'a>(ctx: &Context<'a>, project: &str) -> Vec<&'a ObservedContainer> {
    let is_of = |it: &&ObservedContainer| {
        it.labels.get(stack::PROJECT).is_some_and(|of| of == project)
            && !container::is_one_off(it)
            && !container::is_going(it)
    };
    let mut found: Vec<&ObservedContainer> = ctx.host.state.containers.iter().filter(is_of).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// What is to be said of a stack, with its place in the file.
pub(crate) fn finding_note(stack: &Stack, resource: &ObjectKey, finding: Finding) -> Note {
    let message = format!("{}: {}.", stack.place(finding.line), finding.message);
    let note = if finding.refused {
        Note::refused(finding.reason, resource, message)
    } else {
        Note::warning(finding.reason, resource, message)
    };
    note.hint(finding.hint)
}

/// Why nothing answers for the domains of a stack that has some.
pub(crate) fn unrouted(ctx: &Context<'_>, destination: &DesiredDestination, resource: &ObjectKey) -> Option<Note> {
    let (what, hint) = match &ctx.server.proxy {
        None => ("has no proxy that could route to it", "declare `spec.proxy` of the Server"),
        Some(_) if !destination.proxy => ("is not to have its proxy there", "set `proxy: true` on the destination"),
        Some(_) => return None,
    };
    let message = format!("{} {what}: nothing answers for the domains of {resource}.", ctx.server.key);
    Some(Note::warning(Reason::ProxyUnsupported, resource, message).hint(hint))
}

/// Why there is nothing to bring up.
pub(crate) fn unmade_note(resource: &ObjectKey, unmade: &Unmade) -> Note {
    Note::refused(unmade.reason, resource, unmade.message.clone()).hint(unmade.hint.clone())
}
