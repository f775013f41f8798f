//! Stacks on a Swarm: when `docker stack deploy` has to run.
//!
//! It runs only where its own record on the services differs from what the file comes to, or where services are missing. A service that fell off
//! the destination is put back without it, as any other service is.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredMember, ProxyInstance};
use crate::core::digest::short_id;
use crate::core::observed::{EndpointSettings, ObservedNetwork, ObservedService, Rollout, ServiceAttachment};
use crate::core::plan::decide::settings;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::plan::ServerType;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{ContainerTarget, NetworkCreate, Reserved, ServiceTarget};
use crate::core::plan::document::workload_call::{StackDeploy, WorkloadCall};
use crate::core::plan::emit::attachment;
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::workload::compose::{disconnect_proxy, finding_note, unmade_note, unrouted};
use crate::core::plan::workload::compose_differences::attempt;
use crate::core::plan::workload::hindrance::{held_at_zero, incomplete, owned_by_another};
use crate::core::plan::workload::on_swarm::rollout::is_update_of;
use crate::core::plan::world::applied;
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::ownership::{self, Mark, Purpose};
use crate::core::plan::world::service::identity_of_service;
use crate::core::plan::world::target::{Target, recreation};
use crate::core::workload::compare::Difference;
use crate::core::workload::identity::Identity;
use crate::core::workload::stack::{self, Made, Stack};
use crate::core::workload::stack_file::{HASH, NAMESPACE, StackFileService, service_of};

/// A stack on a destination of a Swarm, while it is planned for.
struct Managed<'a, 'c> {
    ctx: &'c Context<'a>,
    destination: &'a DesiredDestination,
    member: &'a DesiredMember,
    stack: &'a std::sync::Arc<Stack>,
    made: &'a Made,
    target: &'c Target<'a>,
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
    let (refused, warnings) = managed.findings();
    draft.notes.extend(warnings);
    match refused.is_empty().then(|| managed.hindrance()) {
        None => draft.notes.extend(refused),
        Some(Some(note)) => draft.notes.push(note),
        Some(None) => managed.deploy(draft),
    }
    managed.proxy(draft);
}

impl<'a> Managed<'a, '_> {
    fn resource(&self) -> &'a ObjectKey {
        &self.member.resource
    }

    /// What keeps the stack from being deployed, and the rest.
    fn findings(&self) -> (Vec<Note>, Vec<Note>) {
        let conflicts = stack::conflicts(self.ctx.server).into_iter();
        // A Swarm names containers after their tasks.
        let conflicts =
            conflicts.filter(|(resource, it)| resource == self.resource() && it.reason != Reason::NameTaken);
        let all = self.made.on_swarm.findings.iter().cloned().chain(conflicts.map(|(_, finding)| finding));
        let (refused, warnings): (Vec<_>, Vec<_>) = all.partition(|finding| finding.refused);
        let notes = |findings: Vec<stack::Finding>| -> Vec<Note> {
            findings.into_iter().map(|finding| finding_note(self.stack, self.resource(), finding)).collect()
        };
        (notes(refused), notes(warnings))
    }

    fn hindrance(&self) -> Option<Note> {
        let (ctx, resource, project) = (self.ctx, self.resource(), &self.stack.project);
        if ctx.host.server_type() != ServerType::Manager {
            let message = format!(
                "{} is not a manager of its Swarm ({}), and managers alone run services: {resource} is not run.",
                ctx.server.key,
                ctx.host.server_type().describe()
            );
            return Some(
                Note::refused(Reason::NotASwarmManager, resource, message)
                    .hint("declare its destination on a manager of that Swarm"),
            );
        }
        if let Some(note) = incomplete(ctx, resource, self.made.volumes.iter())
            .or_else(|| held_at_zero(ctx, resource, of_stack(ctx, project)))
        {
            return Some(note);
        }
        let others: Vec<(&ObservedService, Option<Identity>)> =
            of_stack(ctx, project).into_iter().map(|it| (it, identity_of_service(it))).collect();
        let is_anothers = |it: &Identity| it.set != ctx.set || it.object != *resource;
        if let Some((service, Some(identity))) = others.iter().find(|(_, it)| it.as_ref().is_some_and(is_anothers)) {
            let (what, part) = (format!("The stack {project:?}"), format!("service {:?}", service.name));
            return Some(owned_by_another(resource, &what, (&identity.object, &identity.set), &part));
        }
        let foreign: Vec<&str> =
            others.iter().filter(|(_, owner)| owner.is_none()).map(|(service, _)| service.name.as_str()).collect();
        if !foreign.is_empty() && !self.stack.take_ownership {
            let message = format!(
                "The stack {project:?} was deployed by something else: Landfall did not make {}.",
                foreign.join(", ")
            );
            return Some(Note::refused(Reason::AdoptionRequired, resource, message).hint(
                "`takeOwnership: true` in `compose` has Landfall deploy it from now on, its volumes kept; without `file` the stack is adopted as it is",
            ));
        }
        None
    }

    /// Deploys the stack where anything differs that this would change.
    fn deploy(&self, draft: &mut Draft) {
        let (ctx, resource) = (self.ctx, self.resource());
        let all = of_stack(ctx, &self.stack.project);
        let differences = self.differences(&all);
        let restart = ctx.request.restart.contains(resource);
        if differences.is_empty() && !restart {
            return;
        }
        // An update in the middle of one aborts it. What is paused goes on with the definition that is given now.
        let busy = all.iter().find(|it| matches!(it.rollout, Some(Rollout::Updating | Rollout::RollbackStarted)));
        if let Some(busy) = busy {
            let message = format!("A rollout of the Swarm service {:?} is under way.", busy.name);
            draft.notes.push(Note::waiting(Reason::RolloutInProgress, resource, message).hint(format!(
                "the stack is deployed when it is over; how far that is: docker service ps {}",
                busy.name
            )));
            return;
        }
        let images = self.made.on_swarm.services.values().map(|service| &service.image);
        let attempt = attempt(ctx, (resource, &self.destination.key), &self.made.on_swarm.model, images);
        if let Some(failure) = ctx.request.failed_attempts.get(&attempt) {
            let message = format!("It was not deployed, and is not tried again until something changes. {failure}");
            draft.notes.push(
                Note::refused(Reason::HealthCheckFailed, resource, message)
                    .hint("change the compose file or an image; `landfall apply` tries it once more as it is"),
            );
            return;
        }
        let ends_with = |word: &str| !differences.is_empty() && differences.iter().all(|it| it.field.ends_with(word));
        let cause = match () {
            () if all.is_empty() => Cause::WorkloadMissing,
            () if ends_with(" image") => Cause::ImageMoved,
            () => Cause::WorkloadDiffers,
        };
        let harmless = differences.iter().all(|it| it.in_place || it.from.as_deref() == Some("none"));
        let running = all.iter().any(|service| service.replicas != Some(0));
        let own = |it: &&ObservedService| identity_of_service(it).is_some_and(|it| it.set == ctx.set);
        let call = WorkloadCall::StackDeploy(Box::new(StackDeploy {
            stack: std::sync::Arc::clone(self.stack),
            network: self.member.connect.then(|| self.target.call()),
            services: all.iter().map(|it| ServiceTarget::of(it)).collect(),
            moved: differences.iter().any(|it| it.field.ends_with(" image")),
            prune: all.iter().all(own),
            anew: restart,
            differences,
            attempt,
        }));
        // One update of a service a pass: the file has the destination in it.
        draft.groups.retain(|group| !all.iter().any(|service| is_update_of(group, service)));
        let mut operations = vec![self.operation(call, cause, running && (restart || !harmless))];
        // The network that the proxy comes to is made by this.
        if let (true, Some(home)) = (self.comes_home(), self.home_name().filter(|_| self.home().is_none())) {
            let create = NetworkCreate { name: home.to_owned(), ..self.target.create.clone() };
            operations.extend(self.connect_proxy(&Target { network: None, create }));
        }
        draft.groups.push(self.group(operations));
    }

    fn differences(&self, all: &[&ObservedService]) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |field: String, from: String, to: String, in_place: bool| {
            found.push(Difference { field, from: Some(from), to: Some(to), in_place });
        };
        let mut there: BTreeMap<&str, &ObservedService> = all.iter().map(|it| (it.name.as_str(), *it)).collect();
        for (name, wanted) in &self.made.on_swarm.services {
            let Some(service) = there.remove(wanted.name.as_str()) else {
                add(format!("{name} service"), "none".to_owned(), "made".to_owned(), false);
                continue;
            };
            if let Some((from, to)) = difference(service, wanted) {
                add(format!("{name} configuration"), from, to, false);
            } else if let Some((from, to)) = self.image_difference(service, wanted) {
                add(format!("{name} image"), from, to, false);
            }
            let word = |replicas: Option<u64>| replicas.map_or("global".to_owned(), |it| it.to_string());
            if service.replicas != wanted.replicas && !wanted.ends && !self.was_stopped(service) {
                add(format!("{name} replicas"), word(service.replicas), word(wanted.replicas), true);
            }
            let networks = wanted.networks.iter().filter_map(|network| self.present(network));
            for network in networks.filter(|network| service.attachment(network).is_none()) {
                add(format!("{name} on {}", network.name), "none".to_owned(), "attached".to_owned(), false);
            }
        }
        for service in there.into_values().filter(|it| identity_of_service(it).is_some_and(|it| it.set == self.ctx.set))
        {
            let name = service_of(&service.name, &self.stack.project).unwrap_or(&service.name);
            add(format!("{name} service"), "made".to_owned(), "none".to_owned(), false);
        }
        found
    }

    /// A deactivation has left it without tasks, and what undoes that gives them back.
    fn was_stopped(&self, service: &ObservedService) -> bool {
        let mut journals = self.ctx.input.journals.iter();
        service.replicas == Some(0)
            && journals.any(|journal| journal.services.iter().any(|listed| listed.service.id == service.id))
    }

    /// What runs under the name of the image against what that names now.
    fn image_difference(&self, service: &ObservedService, wanted: &StackFileService) -> Option<(String, String)> {
        let seen = &service.definition.as_ref()?.image;
        let (name, digest) = seen.split_once('@').map_or((seen.as_str(), None), |(name, digest)| (name, Some(digest)));
        if name != wanted.image.split('@').next().unwrap_or_default() {
            return Some((name.to_owned(), wanted.image.clone()));
        }
        let remote = self.ctx.host.state.images.get(&wanted.image)?.remote.as_deref()?;
        let moved = wanted.always_pulled && digest.is_some_and(|digest| digest != remote);
        moved.then(|| (short_id(digest.unwrap_or_default()), short_id(remote)))
    }

    fn present(&self, name: &str) -> Option<&'a ObservedNetwork> {
        match self.ctx.host.networks_named(name) {
            [only] => Some(*only),
            _ => None,
        }
    }

    fn home_name(&self) -> Option<&'a str> {
        self.made.home().filter(|home| !home.external).map(|home| home.name.as_str())
    }

    fn home(&self) -> Option<&'a ObservedNetwork> {
        self.present(self.home_name()?)
    }

    /// The proxy is to be on the stack's own network: on the destination's it is already, where the services are there.
    fn comes_home(&self) -> bool {
        self.stack.is_routed() && !self.member.connect && self.destination.proxy && self.ctx.server.proxy.is_some()
    }

    fn proxy(&self, draft: &mut Draft) {
        if self.stack.is_routed() {
            draft.notes.extend(unrouted(self.ctx, self.destination, self.resource()));
        }
        let Some(network) = self.home() else { return };
        let target = Target { network: Some(network), create: recreation(network) };
        let there = of_stack(self.ctx, &self.stack.project).iter().any(|it| identity_of_service(it).is_some());
        if self.comes_home() && there {
            let missing = match context::container(self.ctx) {
                Some(container) => self.ctx.host.attachment(container, Some(network), &network.name).is_none(),
                None => context::proxy(self.ctx).is_some_and(|service| service.attachment(network).is_none()),
            };
            let operations: Vec<Operation> =
                if missing { self.connect_proxy(&target).into_iter().collect() } else { Vec::new() };
            draft.groups.extend((!operations.is_empty()).then(|| self.group(operations)));
        } else if !self.comes_home() {
            draft.groups.extend(without_proxy(self.ctx, self.resource(), network));
        }
    }

    fn connect_proxy(&self, target: &Target<'_>) -> Option<Operation> {
        let made_for = BTreeSet::from([Purpose::Proxy]);
        let ctx = self.ctx;
        if let Some(ProxyInstance::Service(_)) = ctx.server.proxy.as_ref().map(|proxy| &proxy.instance) {
            let service = context::proxy(ctx)?;
            let mut attachment = ServiceAttachment::default();
            let mark = Mark { set: ctx.set, source: ctx.source(), made_for: &made_for, name: None };
            mark.write(&mut attachment.driver_opts);
            let cause = Cause::ProxyDetached;
            return Some(attachment::operation(self.resource(), service, target.call(), Some(attachment), cause));
        }
        let container = context::container(ctx)?;
        let mark = Mark { name: Some(&container.name), ..ctx.mark(&made_for, container) };
        let settings = settings::declared_settings(EndpointSettings::default(), &Default::default(), &mark);
        let call = Call::ConnectEndpoint {
            network: target.call(),
            container: ContainerTarget::of(container),
            settings,
            reserved: Reserved::default(),
        };
        Some(Operation {
            object: self.resource().clone(),
            call,
            cause: Cause::ProxyDetached,
            disruptive: false,
            undo: None,
        })
    }

    fn operation(&self, call: WorkloadCall, cause: Cause, disruptive: bool) -> Operation {
        let call = Call::Workload(Box::new(call));
        Operation { object: self.resource().clone(), call, cause, disruptive, undo: None }
    }

    fn group(&self, operations: Vec<Operation>) -> Group {
        group(self.resource(), operations)
    }
}

pub(super) fn group(object: &ObjectKey, operations: Vec<Operation>) -> Group {
    Group::new(object, operations)
}

/// The record on the service against what the file comes to.
fn difference(service: &ObservedService, wanted: &StackFileService) -> Option<(String, String)> {
    let short = |hash: &str| hash.chars().take(7).collect::<String>();
    if identity_of_service(service).is_none() {
        return Some(("another tool's".to_owned(), "Landfall's".to_owned()));
    }
    let hash = service.labels.get(HASH).map(String::as_str).unwrap_or_default();
    (hash != wanted.hash).then(|| (short(hash), short(&wanted.hash)))
}

/// The services of a stack, by name.
pub(super) fn of_stack<'a>(ctx: &Context<'a>, project: &str) -> Vec<&'a ObservedService> {
    let is_of = |it: &&ObservedService| it.labels.get(NAMESPACE).is_some_and(|of| of == project);
    let mut found: Vec<&ObservedService> = ctx.host.state.services.iter().filter(is_of).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Takes the proxy off a network that Landfall put it on.
pub(super) fn without_proxy(ctx: &Context<'_>, object: &ObjectKey, network: &ObservedNetwork) -> Option<Group> {
    if let Some(container) = context::container(ctx) {
        let attached = ctx.host.attachment(container, Some(network), &network.name)?;
        let marked = attached.endpoint.settings.as_ref().is_some_and(|it| ownership::is_marked(it, ctx.set));
        return marked.then(|| disconnect_proxy(object, network, container));
    }
    let service = context::proxy(ctx)?;
    let attachment = service.attachment(network)?;
    applied::is_own(&attachment.driver_opts, ctx.set)
        .then(|| attachment::detach(object, service, network, Cause::ProxyUnwanted))
}
