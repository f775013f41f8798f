//! Managed resources: which containers there ought to be, and what brings them about.
//!
//! A replica is a *slot*. What is planned for it follows from the containers that are in it now, by their labels, and from nothing else: a plan
//! that was interrupted anywhere is completed by the next one. A new container is called after the old one with `-next` behind it until the old
//! one is gone; the daemon gives a name once, so two appliers cannot both make it.

pub mod call;
mod compose;
mod data;
mod known;
mod leaving;
mod on_swarm;
mod ports;
mod predecessors;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use compose::{is_of_stack, leaving as stacks_leaving};
pub(super) use known::Identities;
pub use known::identity_of;
pub(super) use leaving::leaving;
pub(super) use on_swarm::identity_of_service;
pub(super) use predecessors::{Origin, predecessors};
pub use predecessors::{may_be_replaced, service_may_be_replaced};

use self::call::{Readiness, WorkloadCall};
use super::member::Target;
use super::{Call, Cause, ContainerTarget, Context, Draft, Group, NetworkTarget, Note, Operation, Reason, host};
use crate::core::api::{DestinationType, ObjectKey, ProxyType, PullPolicy};
use crate::core::desired::{DesiredDestination, DesiredMember, ProxyInstance};
use crate::core::observed::{EndpointSettings, ObservedContainer, ObservedService, STABLE};
use crate::core::plan::ownership::{self, Mark, Purpose};
use crate::core::workload::compare::{Declared, Difference, differences};
use crate::core::workload::identity::{self, Applied, Identity};
use crate::core::workload::seen::{ImageState, SeenConfig};
use crate::core::workload::{ContainerCreate, MountSource, Workload, routes};

/// A managed resource on a destination, while it is planned for.
struct Managed<'a, 'c> {
    ctx: &'c Context<'a>,
    destination: &'a DesiredDestination,
    member: &'a DesiredMember,
    workload: &'a Workload,
    target: &'c Target<'a>,
    image: ImageState,
    /// All labels but Landfall's own.
    labels: BTreeMap<String, String>,
}

/// One container in a slot, held against what is declared.
struct Held<'a> {
    container: &'a ObservedContainer,
    differences: Vec<Difference>,
    origin: Origin,
}

impl Held<'_> {
    fn fits(&self) -> bool {
        self.differences.is_empty()
    }

    fn is_next(&self) -> bool {
        self.origin == Origin::Own && self.container.name.ends_with(identity::NEXT)
    }

    fn changes_in_place(&self) -> bool {
        self.differences.iter().all(|difference| difference.in_place)
    }

    /// It serves, and is to make room for another.
    fn is_replaced_while_it_serves(&self) -> bool {
        !self.is_next() && !self.changes_in_place() && self.container.has_settled()
    }

    /// Somebody else made it: whoever has it replaced is asked.
    fn is_foreign(&self) -> bool {
        matches!(self.origin, Origin::Foreign)
    }
}

/// Everything that brings the managed resources of one destination to what the manifest says.
pub(super) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'a>,
    draft: &mut Draft,
) {
    let managed = || destination.members.iter().filter(|member| !ctx.is_deleted(&member.resource));
    for (member, stack) in managed().filter_map(|member| Some((member, member.stack.as_ref()?))) {
        compose::converge(ctx, destination, member, stack, target, draft);
    }
    for (member, workload) in managed().filter_map(|member| Some((member, member.workload.as_deref()?))) {
        let mut image = ctx.host.state.images.get(&workload.image).cloned().unwrap_or_default();
        if workload.pull_policy != PullPolicy::Always {
            image.remote = None;
        }
        let mut labels = labels(ctx, destination, member, workload, &target.create.name);
        let swarm = is_on_swarm(ctx, destination);
        if let Some(network) = labels.get(routes::TRAEFIK_NETWORK).filter(|_| swarm).cloned() {
            // Traefik 3 has a word of its own for services, and 2 has not.
            labels.entry(routes::TRAEFIK_SWARM_NETWORK.to_owned()).or_insert(network);
        }
        let managed = Managed { ctx, destination, member, workload, target, image, labels };
        if swarm {
            managed.on_swarm(draft);
            continue;
        }
        match managed.hindrance(draft) {
            Some(note) => draft.notes.push(note),
            None => managed.slots(draft),
        }
    }
}

/// One of the containers is kept stopped, while its data is copied or because it has been moved.
fn held_stopped<'c>(
    ctx: &Context<'_>,
    resource: &ObjectKey,
    containers: impl IntoIterator<Item = &'c ObservedContainer>,
) -> Option<Note> {
    let all = &ctx.host.state.containers;
    let (container, holder) = containers.into_iter().filter(|it| !it.state.is_live()).find_map(|container| {
        let holder = all.iter().find(|it| identity::holds(&it.labels, container.id.as_str()))?;
        Some((container, holder))
    })?;
    let (name, holder, moved_to) = (&container.name, &holder.name, holder.labels.get(identity::MOVED_TO));
    let (message, hint) = match moved_to {
        Some(to) => (
            format!("{name} is left stopped: its data was moved to {to}."),
            format!("commit the manifest that `landfall move` printed; to stay here after all: docker rm {holder}"),
        ),
        None => (
            format!("{name} is stopped while its volumes are copied."),
            format!("it is started when the copy is done; if no copy is under way any more: docker rm {holder}"),
        ),
    };
    Some(Note::waiting(Reason::LeftStopped, resource, message).hint(hint))
}

/// One of the volumes is being filled with a copy.
fn incomplete<'v>(ctx: &Context<'_>, resource: &ObjectKey, volumes: impl Iterator<Item = &'v String>) -> Option<Note> {
    let mut markers = ctx.host.state.containers.iter().filter(|it| it.labels.contains_key(identity::FILLS)).peekable();
    markers.peek()?;
    let markers: Vec<&ObservedContainer> = markers.collect();
    let (volume, marker) = volumes.into_iter().find_map(|volume| {
        markers.iter().find(|it| identity::fills(&it.labels, volume)).map(|marker| (volume, marker))
    })?;
    let message = format!("The volume {volume:?} is being filled with a copy.");
    Some(Note::waiting(Reason::VolumeIncomplete, resource, message).hint(format!(
        "it is used when the copy is complete; one that was cut off is begun anew by the same command, or dropped: docker rm {}, and docker volume rm {volume}",
        marker.name
    )))
}

/// What runs on the destination are services: its network is the Swarm's.
pub(super) fn is_on_swarm(ctx: &Context<'_>, destination: &DesiredDestination) -> bool {
    ctx.host.server_type() != super::ServerType::Standalone
        && super::destination::class(ctx, destination) == DestinationType::Swarm
}

/// The services that run a managed resource on a destination, or run it until its own does.
pub(super) fn services_of<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    member: &DesiredMember,
) -> Vec<&'a ObservedService> {
    let is_its = |it: &&ObservedService| {
        identity_of_service(it).is_some_and(|identity| {
            identity.set == ctx.set && identity.object == member.resource && identity.destination == destination.key
        })
    };
    if member.workload.is_none() { Vec::new() } else { ctx.host.state.services.iter().filter(is_its).collect() }
}

/// The user's labels over those of the routes.
fn labels(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    member: &DesiredMember,
    workload: &Workload,
    network: &str,
) -> BTreeMap<String, String> {
    let proxy = ctx.server.proxy.as_ref().filter(|_| destination.proxy);
    let mut labels = proxy.map_or_else(BTreeMap::new, |proxy| {
        routes::labels(proxy.proxy_type, &member.resource, network, &workload.routes, workload.port)
    });
    // The proxy that Landfall runs has a resolver of that name.
    if proxy.is_some_and(|proxy| proxy.run_by.is_some()) {
        let tls: Vec<String> = labels.keys().filter(|key| key.ends_with(".tls")).cloned().collect();
        labels.extend(tls.into_iter().map(|key| (format!("{key}.certresolver"), routes::RESOLVER.to_owned())));
    }
    labels.extend(workload.container.labels.clone());
    labels
}

impl<'a> Managed<'a, '_> {
    fn resource(&self) -> &'a ObjectKey {
        &self.member.resource
    }

    /// Why nothing of it can be planned.
    fn hindrance(&self, draft: &mut Draft) -> Option<Note> {
        let resource = self.resource();
        if let Some(note) = self.secret_missing().or_else(|| self.image_hindrance()) {
            return Some(note);
        }
        if let Some(note) = self.volumes_incomplete() {
            return Some(note);
        }
        if let Some(note) = self.other_on_the_volume().or_else(|| self.data_hindrance()) {
            return Some(note);
        }
        if let Some(problem) = &self.image.problem {
            let message = format!("Whether {} has moved is unknown: {problem}.", self.workload.image);
            draft.notes.push(Note::warning(Reason::ImageUnavailable, resource, message));
        }
        if !self.workload.routes.is_empty() {
            draft.notes.extend(self.unrouted());
        }
        self.waits_for()
    }

    fn secret_missing(&self) -> Option<Note> {
        let mut values = self.workload.container.values();
        let (place, why) = values.find_map(|(place, value)| Some((place, value.missing()?.to_owned())))?;
        let message = format!("The value of {place} is missing: {why}.");
        let hint = "nothing was stopped; provide the value, then apply again";
        Some(Note::refused(Reason::SecretMissing, self.resource(), message).hint(hint))
    }

    fn image_hindrance(&self) -> Option<Note> {
        let missing = self.image.local.is_none() && self.workload.pull_policy == PullPolicy::Never;
        let made = || self.held().iter().any(|held| held.container.image == self.workload.image);
        (missing && !made()).then(|| {
            let message = format!("The server has no image {}, and pullPolicy is Never.", self.workload.image);
            Note::refused(Reason::ImageUnavailable, self.resource(), message)
                .hint(format!("docker pull {}, or `pullPolicy: IfNotPresent`", self.workload.image))
        })
    }

    /// Two containers on the data of one database destroy it.
    fn other_on_the_volume(&self) -> Option<Note> {
        let connection = self.workload.database.as_ref()?;
        let own: BTreeSet<&str> = self.held().iter().map(|held| held.container.id.as_str()).collect();
        let uses = |config: &SeenConfig| {
            config.mounts.iter().any(|it| it.mount.source == MountSource::Volume(connection.volume.clone()))
        };
        let mut others = self
            .ctx
            .host
            .state
            .workloads
            .iter()
            .filter(|(id, config)| !own.contains(id.as_str()) && uses(config))
            .filter_map(|(id, _)| self.ctx.host.container(id));
        // A look into the volume that was interrupted is cleared away by the next one.
        let is_reader = |it: &&ObservedContainer| {
            it.name.ends_with(identity::READER)
                && it.labels.get(identity::OBJECT).is_some_and(|object| *object == self.resource().to_string())
        };
        let other = others.find(|it| !is_reader(it))?;
        // A container of this very resource on another destination is about to be removed: the volume is free then.
        let message = format!("The volume {:?} is in use by the container {:?}.", connection.volume, other.name);
        Some(
            Note::refused(Reason::DataIncompatible, self.resource(), message)
                .hint("give each database its own `storage.volume`, or remove that container first"),
        )
    }

    fn unrouted(&self) -> Option<Note> {
        let warn = |message: String, hint: &str| {
            Some(Note::warning(Reason::ProxyUnsupported, self.resource(), message).hint(hint))
        };
        match &self.ctx.server.proxy {
            None => warn(
                format!("{} has no proxy that could route {} to it.", self.ctx.server.key, self.workload.routes[0]),
                "declare `spec.proxy` of the Server",
            ),
            Some(_) if !self.destination.proxy => warn(
                format!("{} asks for no proxy: nothing routes to it.", self.destination.key),
                "set `proxy: true` on the destination",
            ),
            Some(proxy) if matches!(proxy.proxy_type, ProxyType::Nginx | ProxyType::Other) => warn(
                format!("Routes are labels of Traefik and Caddy, and the proxy of {} is neither.", self.ctx.server.key),
                "configure the route at the proxy, or give the labels that it reads in `labels`",
            ),
            Some(_) => None,
        }
    }

    /// Dependencies that are neither available nor brought about by this plan.
    fn waits_for(&self) -> Option<Note> {
        let missing = self.workload.depends_on.iter().find(|key| !self.ctx.is_available(key))?;
        if self.ctx.server.destinations.iter().any(|it| {
            it.members
                .iter()
                .any(|member| member.resource == *missing && member.workload.is_some() && it.active && !it.suspend)
        }) {
            // It is planned before this one, and this one is skipped if that fails.
            return None;
        }
        let message = format!("{missing}, which it depends on, is not available.");
        let note = Note::waiting(Reason::ContainerMissing, self.resource(), message);
        Some(note.hint("it is started as soon as that is").again(self.ctx.settles_in(missing)))
    }

    /// Every own container, whichever its slot, and those that own ones take the place of.
    fn held(&self) -> Vec<Held<'a>> {
        let containers = &self.ctx.host.state.containers;
        let own = containers
            .iter()
            .filter(|container| !host::is_going(container) && self.identity(container).is_some())
            .map(|container| (container, Origin::Own));
        let mut held: Vec<Held<'a>> = own
            .chain(predecessors(self.ctx, self.destination, self.member))
            .map(|(container, origin)| Held { container, differences: self.compare(container, origin), origin })
            .collect();
        held.sort_by(|a, b| a.container.name.cmp(&b.container.name));
        held
    }

    fn identity(&self, container: &ObservedContainer) -> Option<&Identity> {
        self.ctx.host.identities.get(container).filter(|it| {
            it.set == self.ctx.set && it.object == *self.resource() && it.destination == self.destination.key
        })
    }

    fn compare(&self, container: &ObservedContainer, origin: Origin) -> Vec<Difference> {
        let missing = SeenConfig::default();
        let config = self.ctx.host.state.workloads.get(&container.id).unwrap_or(&missing);
        let foreign = origin == Origin::Foreign;
        let declared = Declared { template: &self.workload.container, labels: &self.labels, foreign };
        let mut found =
            differences(declared, container.id.as_str(), &container.labels, config, self.image.local.as_ref());
        found.extend(self.image_difference(container, config));
        found.extend(self.origin_difference(container, origin));
        if self.ctx.request.restart.contains(self.resource()) && identity::base_name(&container.name) == container.name
        {
            let (from, to) = (Some("as it is".to_owned()), Some("anew".to_owned()));
            found.push(Difference { field: "container".to_owned(), from, to, in_place: false });
        }
        found
    }

    /// That another container takes its place for what it is, and not for how it was made.
    fn origin_difference(&self, container: &ObservedContainer, origin: Origin) -> Vec<Difference> {
        let differs = |field: &str, from: String, to: String| Difference {
            field: field.to_owned(),
            from: Some(from),
            to: Some(to),
            in_place: false,
        };
        match origin {
            Origin::Own => Vec::new(),
            Origin::Former(_) => {
                let identity = self.ctx.host.identities.get(container);
                match identity.filter(|it| it.destination != self.destination.key) {
                    Some(it) => vec![differs("destination", it.destination.path(), self.destination.key.path())],
                    None => {
                        let was = self.member.was.as_ref().map(ToString::to_string).unwrap_or_default();
                        vec![differs("resource", was, self.resource().to_string())]
                    }
                }
            }
            Origin::Foreign => {
                let project = container.labels.get(host::COMPOSE_PROJECT);
                let by = project.map_or("something else".to_owned(), |project| format!("Compose project {project}"));
                let network = &self.target.create.name;
                let names: BTreeSet<&str> = container.endpoints.iter().map(|it| it.network_name.as_str()).collect();
                let others = names.iter().any(|name| name != network);
                let networks = || names.iter().copied().collect::<Vec<_>>().join(", ");
                let mut found = vec![differs("run by", by, "Landfall".to_owned())];
                found.extend(others.then(|| differs("networks", networks(), network.clone())));
                found
            }
        }
    }

    fn image_difference(&self, container: &ObservedContainer, config: &SeenConfig) -> Option<Difference> {
        let image = &self.workload.image;
        let same = match &self.image.local {
            // The same image by another name is the same image.
            Some(local) => local.id == config.image_id,
            None => container.image == *image,
        };
        if same && !self.image.has_moved() {
            return None;
        }
        let short = |id: &str| id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        let (from, to) = if container.image == *image {
            let to = self.image.remote.as_deref().or(self.image.local.as_ref().map(|local| local.id.as_str()));
            (
                format!("{image} ({})", short(&config.image_id)),
                format!("{image} ({})", to.map_or_else(String::new, short)),
            )
        } else {
            (container.image.clone(), image.clone())
        };
        Some(Difference { field: "image".to_owned(), from: Some(from), to: Some(to), in_place: false })
    }

    fn slots(&self, draft: &mut Draft) {
        let mut slots: BTreeMap<u32, Vec<Held<'a>>> = BTreeMap::new();
        let (own, mut before): (Vec<_>, Vec<_>) = self.held().into_iter().partition(|it| it.origin == Origin::Own);
        for held in own {
            let replica = self.identity(held.container).map_or(0, |identity| identity.replica);
            slots.entry(replica).or_default().push(held);
        }
        let mut prepared = false;
        let failed = |draft: &Draft, from: usize| {
            draft.notes[from..].iter().any(|note| note.reason == Reason::HealthCheckFailed)
        };
        let told = draft.notes.len();
        if slots.values().flatten().chain(&before).any(Held::is_replaced_while_it_serves) {
            self.confirm(slots.values().flatten(), draft);
        }
        for replica in 1..=self.workload.replicas {
            let mut held = slots.remove(&replica).unwrap_or_default();
            if held.iter().all(Held::is_next) {
                let of_slot = |it: &Held<'_>| it.origin == Origin::Former(replica);
                let at = before.iter().position(of_slot).or_else(|| before.iter().position(Held::is_foreign));
                held.extend(at.map(|at| before.remove(at)));
            }
            // What has failed once would fail with every replica, one after another.
            if failed(draft, told) && held.iter().any(Held::is_replaced_while_it_serves) {
                continue;
            }
            let before = draft.groups.len();
            self.slot(replica, held, !prepared, draft);
            // The image, the volumes and the hook are for all of them.
            prepared |= draft.groups[before..].iter().any(Group::makes_container);
        }
        // Fewer replicas than before: the others go last.
        let surplus = |it: &Held<'_>| matches!(it.origin, Origin::Former(replica) if replica > self.workload.replicas);
        for held in slots.into_values().flatten().chain(before.into_iter().filter(surplus)) {
            draft.groups.push(self.retire(&held, Cause::ReplicaSurplus));
        }
    }

    fn name(&self, replica: u32) -> String {
        let apart = self
            .ctx
            .server
            .destinations
            .iter()
            .filter(|it| it.members.iter().any(|member| member.resource == *self.resource()))
            .count()
            > 1;
        self.workload.container_name(self.resource(), &self.destination.key, apart, replica)
    }

    /// What the container of a replica is made with. `name` is what it will be called once it has taken over.
    fn create(&self, replica: u32, name: &str, called: String, inherited: Vec<(String, String)>) -> ContainerCreate {
        let fresh = self.ctx.input.ids.get(&self.destination.key);
        let mut labels = self.labels.clone();
        labels.insert(identity::APPLIED.to_owned(), Applied::of(&self.workload.container, &self.labels).label());
        labels.extend(identity::labels(
            &fresh.uid,
            self.ctx.set,
            self.resource(),
            &self.destination.key,
            replica,
            name,
        ));
        labels.extend(self.written().map(|written| (identity::DATA.to_owned(), written.label())));
        labels.extend(self.before_delete());
        let source = self.ctx.input.desired.source.as_ref();
        labels.extend(source.map(|source| (ownership::SOURCE.to_owned(), source.clone())));
        ContainerCreate {
            name: called,
            image: self.workload.image.clone(),
            labels,
            template: self.workload.container.clone(),
            inherited,
            drainable: self.is_behind_traefik(),
        }
    }

    /// The label that says that it is removed only after a backup, and of what kind.
    fn before_delete(&self) -> Option<(String, String)> {
        let backup = self.member.backup.as_ref().filter(|policy| policy.spec.before_delete);
        let spec = backup.and_then(|policy| serde_json::to_string(&policy.spec).ok())?;
        Some((identity::BEFORE_DELETE.to_owned(), spec))
    }

    /// One of its volumes is being filled with a copy.
    fn volumes_incomplete(&self) -> Option<Note> {
        let volumes = self.workload.container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume(name) => Some(name),
            MountSource::Path(_) => None,
        });
        incomplete(self.ctx, self.resource(), volumes)
    }

    fn is_behind_traefik(&self) -> bool {
        let traefik = |proxy: &crate::core::desired::Proxy| {
            proxy.proxy_type == ProxyType::Traefik && matches!(proxy.instance, ProxyInstance::Container(_))
        };
        self.destination.proxy
            && self.ctx.server.proxy.as_ref().is_some_and(traefik)
            && self.labels.keys().any(|key| key.starts_with("traefik."))
    }

    fn settings(&self, name: &str) -> EndpointSettings {
        let made_for = BTreeSet::from([Purpose::Resource(self.resource().clone())]);

        let mark = Mark {
            set: self.ctx.set,
            source: self.ctx.input.desired.source.as_deref(),
            made_for: &made_for,
            name: Some(name),
        };
        super::member::declared_settings(EndpointSettings::default(), &self.member.endpoint, &mark)
    }

    /// Of the server's proxy: the networks of the other destinations that ask for it, so that it serves them from its first moment.
    fn further_networks(&self) -> Vec<(NetworkTarget, EndpointSettings)> {
        if !self.workload.is_proxy {
            return Vec::new();
        }
        let purpose = BTreeSet::from([Purpose::Proxy]);
        let mark = Mark {
            set: self.ctx.set,
            source: self.ctx.input.desired.source.as_deref(),
            made_for: &purpose,
            name: self.workload.container_name.as_deref(),
        };
        let asks = |it: &DesiredDestination| {
            it.key != self.destination.key && it.proxy && it.active && !it.suspend && !self.ctx.is_deleted(&it.key)
        };
        let others = self.ctx.located.iter().filter(|(it, _)| asks(it));
        others
            .filter_map(|(destination, located)| {
                if matches!(located, super::Located::Refused(_)) {
                    return None;
                }
                let target = match located.network() {
                    Some(network) => NetworkTarget::existing(network),
                    None => {
                        let create = super::destination::creation(self.ctx, destination, None);
                        NetworkTarget { name: create.name, id: None }
                    }
                };
                let endpoint = crate::core::desired::DesiredEndpoint::default();
                let settings = super::member::declared_settings(EndpointSettings::default(), &endpoint, &mark);
                Some((target, settings))
            })
            .collect()
    }

    fn readiness(&self) -> Readiness {
        Readiness { timeout: self.workload.rollout.health_timeout, stable: STABLE }
    }

    fn operation(&self, call: WorkloadCall, cause: Cause, disruptive: bool, undo: Option<WorkloadCall>) -> Operation {
        Operation {
            object: self.resource().clone(),
            call: Call::Workload(Box::new(call)),
            cause,
            disruptive,
            undo: undo.map(|call| Call::Workload(Box::new(call))),
        }
    }

    fn group(&self, operations: Vec<Operation>) -> Group {
        Group { object: self.resource().clone(), operations, journal: None, completes: Vec::new(), needs: Vec::new() }
    }

    /// The volumes that a new container needs and the daemon would make without labels; those that are known to be there are not made.
    fn volumes(&self) -> impl Iterator<Item = WorkloadCall> {
        let names: BTreeSet<&String> = self
            .workload
            .container
            .mounts
            .iter()
            .filter_map(|mount| match &mount.source {
                MountSource::Volume(name) => Some(name),
                MountSource::Path(_) => None,
            })
            .collect();
        let labels = self.volume_labels();
        let state = self.ctx.host.state;
        let is_there = |name: &String| {
            let source = MountSource::Volume(name.clone());
            let mut mounts = state.workloads.values().flat_map(|config| &config.mounts);
            state.volumes.contains_key(name) || mounts.any(|it| it.mount.source == source)
        };
        let missing: Vec<&String> = names.into_iter().filter(|name| !is_there(name)).collect();
        missing.into_iter().map(move |name| WorkloadCall::CreateVolume { name: name.clone(), labels: labels.clone() })
    }

    fn volume_labels(&self) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> = BTreeMap::from([
            (ownership::SET.to_owned(), self.ctx.set.to_owned()),
            (identity::OBJECT.to_owned(), self.resource().to_string()),
        ]);
        labels.extend(self.written().map(|written| (identity::DATA.to_owned(), written.label())));
        labels
    }
}

impl Group {
    fn makes_container(&self) -> bool {
        self.operations.iter().any(|operation| {
            matches!(&operation.call, Call::Workload(call) if matches!(**call, WorkloadCall::CreateContainer { .. }))
        })
    }
}

impl super::Plan {
    /// What each start of a managed container stands for; see [`WorkloadCall::StartContainer`].
    pub fn attempts(&self) -> impl Iterator<Item = &str> {
        let operations = self.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
        operations.filter_map(|operation| operation.call.attempt())
    }
}

impl Call {
    /// The managed container that is ready once it is done.
    pub fn made_ready(&self) -> Option<&ContainerTarget> {
        match self {
            Call::Workload(call) => match &**call {
                WorkloadCall::StartContainer { container, attempt, .. } if !attempt.is_empty() => container.existing(),
                _ => None,
            },
            _ => None,
        }
    }

    /// What a start of a managed container stands for.
    pub fn attempt(&self) -> Option<&str> {
        match self {
            Call::Workload(call) => match &**call {
                WorkloadCall::StartContainer { attempt, .. } if !attempt.is_empty() => Some(attempt),
                WorkloadCall::ComposeUp(up) => Some(&up.attempt),
                WorkloadCall::CreateService(rollout) | WorkloadCall::UpdateService { rollout, .. } => {
                    Some(&rollout.attempt)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// The groups with those of a resource after those of what it depends on.
pub(super) fn in_order(ctx: &Context<'_>, groups: Vec<Group>) -> Vec<Group> {
    let members = || ctx.server.destinations.iter().flat_map(|it| &it.members);
    let depth = |key: &ObjectKey| {
        // A circle of dependencies ends at some depth, and is waited for as any other.
        let mut depth = 0;
        let mut level: BTreeSet<&ObjectKey> = BTreeSet::from([key]);
        while depth < 16 {
            let below: BTreeSet<&ObjectKey> = members()
                .filter(|member| level.contains(&member.resource))
                .filter_map(|member| member.workload.as_deref())
                .flat_map(|workload| &workload.depends_on)
                .collect();
            if below.is_empty() {
                break;
            }
            level = below;
            depth += 1;
        }
        depth
    };
    let mut groups: Vec<(usize, Group)> = groups.into_iter().map(|group| (depth(&group.object), group)).collect();
    groups.sort_by_key(|(depth, _)| *depth);
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The container is the proxy of the server, run by Landfall, whatever it is called at this moment.
pub(super) fn is_own_proxy(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    let run_by = ctx.server.proxy.as_ref().and_then(|proxy| proxy.run_by.as_ref());
    run_by.is_some_and(|resource| {
        let identity = ctx.host.identities.get(container);
        identity.is_some_and(|identity| identity.set == ctx.set && identity.object == *resource)
    })
}

impl Context<'_> {
    /// When a container of the resource that has just been started counts, in seconds.
    fn settles_in(&self, resource: &ObjectKey) -> Option<u32> {
        let members = self.input.desired.all_servers().flat_map(|server| {
            let members = server.destinations.iter().flat_map(|it| &it.members);
            members.filter(|it| it.resource == *resource).map(move |member| (&server.key, member))
        });
        let containers = members.filter_map(|(server, member)| {
            let state = self.input.observed.get(server)?.as_ref().ok()?;
            Some(state.containers.iter().filter(|it| super::member::selects(&member.selector, it)))
        });
        containers.flatten().filter_map(ObservedContainer::settles_in).max()
    }

    /// Whether a resource serves: each of its replicas runs, and is healthy where it has a health check or has run for a moment where it has none.
    pub(super) fn is_available(&self, resource: &ObjectKey) -> bool {
        let servers = self.input.desired.all_servers();
        let mut found = false;
        for server in servers {
            for member in server.destinations.iter().flat_map(|it| &it.members).filter(|it| it.resource == *resource) {
                let Some(Ok(state)) = self.input.observed.get(&server.key) else { return false };
                let serving = state
                    .containers
                    .iter()
                    .filter(|container| super::member::selects(&member.selector, container) && container.has_settled())
                    .count();
                let wanted = member.workload.as_ref().map_or(1, |workload| workload.replicas as usize);
                found = true;
                if serving < wanted && !runs_as_service(state, self.set, resource) {
                    return false;
                }
            }
        }
        found
    }
}

/// Its service has all of its tasks.
fn runs_as_service(state: &crate::core::observed::ObservedState, set: &str, resource: &ObjectKey) -> bool {
    let its = |it: &&ObservedService| {
        identity_of_service(it).is_some_and(|identity| identity.set == set && identity.object == *resource)
    };
    let mut services = state.services.iter().filter(its).peekable();
    services.peek().is_some()
        && services
            .all(|it| it.rollout.is_none() && it.tasks.is_some_and(|tasks| tasks.running >= tasks.desired.max(1)))
}
