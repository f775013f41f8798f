//! Managed resources: which containers there ought to be, and what brings them about.
//!
//! A replica is a *slot*. What is planned for it follows from the containers that are in it now, by their labels, and from nothing else: a plan
//! that was interrupted anywhere is completed by the next one. A new container is called after the old one with `-next` behind it until the old
//! one is gone; the daemon gives a name once, so of two appliers one makes it. It is made before anything else is done, and the other waits.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::api::{ObjectKey, ProxyType};
use crate::core::desired::{DesiredDestination, DesiredMember, ProxyInstance};
use crate::core::digest::short_id;
use crate::core::observed::{ContainerState, EndpointSettings, ObservedContainer, STABLE};
use crate::core::plan::decide::run::{Differs, Holder};
use crate::core::plan::decide::{creation, settings};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::NetworkTarget;
use crate::core::plan::document::workload_call::{Readiness, WorkloadCall};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::ownership::{self, Mark, Purpose};
use crate::core::plan::world::predecessors::{Origin, predecessors};
use crate::core::plan::world::target::Target;
use crate::core::plan::world::{container, located};
use crate::core::workload::compare::{Declared, Difference, differences};
use crate::core::workload::identity::{self, Applied, Identity};
use crate::core::workload::seen::{ImageState, SeenConfig};
use crate::core::workload::{ContainerCreate, MountSource, Workload, routes};

/// A managed resource on a destination, while it is planned for.
pub(crate) struct Managed<'a, 'c> {
    pub(crate) ctx: &'c Context<'a>,
    pub(crate) destination: &'a DesiredDestination,
    pub(crate) member: &'a DesiredMember,
    pub(crate) workload: &'a Workload,
    pub(crate) target: &'c Target<'a>,
    pub(crate) image: ImageState,
    /// All labels but Landfall's own.
    pub(crate) labels: BTreeMap<String, String>,
}

/// One container in a slot, held against what is declared.
pub(crate) struct Held<'a> {
    pub(crate) container: &'a ObservedContainer,
    pub(crate) differences: Vec<Difference>,
    pub(crate) origin: Origin,
}

impl Held<'_> {
    pub(crate) fn fits(&self) -> bool {
        self.differences.is_empty()
    }

    pub(crate) fn is_next(&self) -> bool {
        self.origin == Origin::Own && self.container.name.ends_with(identity::NEXT)
    }

    pub(crate) fn as_holder(&self) -> Holder {
        let differs = match self.fits() {
            true => Differs::No,
            false if self.changes_in_place() => Differs::InPlace,
            false => Differs::Anew,
        };
        let stopped = matches!(self.container.state, ContainerState::Created | ContainerState::Exited);
        Holder { differs, stopped }
    }

    pub(crate) fn changes_in_place(&self) -> bool {
        self.differences.iter().all(|difference| difference.in_place)
    }

    /// It serves, and is to make room for another.
    pub(crate) fn is_replaced_while_it_serves(&self) -> bool {
        !self.is_next() && !self.changes_in_place() && self.container.has_settled()
    }

    /// Somebody else made it: whoever has it replaced is asked.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.origin, Origin::Foreign)
    }
}

impl<'a> Managed<'a, '_> {
    pub(crate) fn resource(&self) -> &'a ObjectKey {
        &self.member.resource
    }

    /// Every own container, whichever its slot, and those that own ones take the place of.
    pub(crate) fn held(&self) -> Vec<Held<'a>> {
        let containers = &self.ctx.host.state.containers;
        let own = containers
            .iter()
            .filter(|container| !container::is_going(container) && self.identity(container).is_some())
            .map(|container| (container, Origin::Own));
        let mut held: Vec<Held<'a>> = own
            .chain(predecessors(self.ctx, self.destination, self.member))
            .map(|(container, origin)| Held { container, differences: self.compare(container, origin), origin })
            .collect();
        held.sort_by(|a, b| a.container.name.cmp(&b.container.name));
        held
    }

    pub(crate) fn identity(&self, container: &ObservedContainer) -> Option<&Identity> {
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
                let project = container.labels.get(container::COMPOSE_PROJECT);
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
        let (from, to) = if container.image == *image {
            let to = self.image.remote.as_deref().or(self.image.local.as_ref().map(|local| local.id.as_str()));
            (
                format!("{image} ({})", short_id(&config.image_id)),
                format!("{image} ({})", to.map_or_else(String::new, short_id)),
            )
        } else {
            (container.image.clone(), image.clone())
        };
        Some(Difference { field: "image".to_owned(), from: Some(from), to: Some(to), in_place: false })
    }

    pub(crate) fn name(&self, replica: u32) -> String {
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
    pub(crate) fn create(
        &self,
        replica: u32,
        name: &str,
        called: String,
        replaced: Option<&Held<'_>>,
    ) -> ContainerCreate {
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
        labels.insert(identity::ROLLOUT.to_owned(), self.rollout(replaced));
        labels.extend(self.written().map(|written| (identity::DATA.to_owned(), written.label())));
        labels.extend(self.before_delete());
        labels.extend(identity::depends_on_label(&self.workload.depends_on));
        let source = self.ctx.input.desired.source.as_ref();
        labels.extend(source.map(|source| (ownership::SOURCE.to_owned(), source.clone())));
        ContainerCreate {
            name: called,
            image: self.workload.image.clone(),
            labels,
            template: self.workload.container.clone(),
            inherited: replaced.map(|held| self.inherited(held)).unwrap_or_default(),
            drainable: self.is_behind_traefik(),
        }
    }

    /// The label that says that it is removed only after a backup, and of what kind.
    pub(crate) fn before_delete(&self) -> Option<(String, String)> {
        let backup = self.member.backup.as_ref().filter(|policy| policy.spec.before_delete);
        let spec = backup.and_then(|policy| serde_json::to_string(&policy.spec).ok())?;
        Some((identity::BEFORE_DELETE.to_owned(), spec))
    }

    pub(crate) fn is_behind_traefik(&self) -> bool {
        let traefik = |proxy: &crate::core::desired::Proxy| {
            proxy.proxy_type == ProxyType::Traefik && matches!(proxy.instance, ProxyInstance::Container(_))
        };
        self.destination.proxy
            && self.ctx.server.proxy.as_ref().is_some_and(traefik)
            && self.labels.keys().any(|key| key.starts_with("traefik."))
    }

    pub(crate) fn settings(&self, name: &str) -> EndpointSettings {
        let made_for = BTreeSet::from([Purpose::Resource(self.resource().clone())]);

        let mark = Mark {
            set: self.ctx.set,
            source: self.ctx.input.desired.source.as_deref(),
            made_for: &made_for,
            name: Some(name),
        };
        settings::declared_settings(EndpointSettings::default(), &self.member.endpoint, &mark)
    }

    /// Of the server's proxy: the networks of the other destinations that ask for it, so that it serves them from its first moment.
    pub(crate) fn further_networks(&self) -> Vec<(NetworkTarget, EndpointSettings)> {
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
                if matches!(located, located::Located::Refused(_)) {
                    return None;
                }
                let target = match located.network() {
                    Some(network) => NetworkTarget::existing(network),
                    None => {
                        let create = creation::creation(self.ctx, destination, None);
                        NetworkTarget { name: create.name, id: None }
                    }
                };
                let endpoint = crate::core::desired::DesiredEndpoint::default();
                let settings = settings::declared_settings(EndpointSettings::default(), &endpoint, &mark);
                Some((target, settings))
            })
            .collect()
    }

    pub(crate) fn readiness(&self) -> Readiness {
        Readiness { timeout: self.workload.rollout.health_timeout, stable: STABLE }
    }

    pub(crate) fn operation(
        &self,
        call: WorkloadCall,
        cause: Cause,
        disruptive: bool,
        undo: Option<WorkloadCall>,
    ) -> Operation {
        Operation {
            object: self.resource().clone(),
            call: Call::Workload(Box::new(call)),
            cause,
            disruptive,
            undo: undo.map(|call| Call::Workload(Box::new(call))),
        }
    }

    pub(crate) fn group(&self, operations: Vec<Operation>) -> Group {
        Group::new(self.resource(), operations)
    }

    /// The volumes that a new container needs and the daemon would make without labels; those that are known to be there are not made.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = WorkloadCall> {
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

    pub(crate) fn volume_labels(&self) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> = BTreeMap::from([
            (ownership::SET.to_owned(), self.ctx.set.to_owned()),
            (identity::OBJECT.to_owned(), self.resource().to_string()),
        ]);
        labels.extend(self.written().map(|written| (identity::DATA.to_owned(), written.label())));
        labels
    }
}

/// The user's labels over those of the routes.
pub(crate) fn labels(
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
