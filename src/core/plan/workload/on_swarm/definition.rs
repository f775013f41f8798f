//! On a Swarm: one service for a resource. The Swarm keeps its tasks, replaces them and rolls back; what is planned is the definition, and what
//! that refers to. A service keeps its name, so there is no second one beside it: an update is one call, which the Swarm undoes by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::api::{ObjectKey, PullPolicy};
use crate::core::desired::DesiredDestination;
use crate::core::observed::{
    NodeAvailability, ObservedContainer, ObservedNode, ObservedService, ServiceAttachment, SwarmState,
};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::workload::managed::Managed;
use crate::core::plan::world::ownership::{self, Mark, Purpose};
use crate::core::plan::world::predecessors::{self, Origin};
use crate::core::plan::world::service::{self, identity_of_service};
use crate::core::plan::world::{applied, container};
use crate::core::workload::compare::Difference;
use crate::core::workload::identity::{self, Applied};
use crate::core::workload::seen::SeenConfig;
use crate::core::workload::service::{
    Live, NO_REPLICA, NODE, Node, SeenService, ServiceCreate, bound_to, owner, secret_files, service_differences,
    volumes,
};

/// What is there of a resource on the Swarm.
pub(crate) struct There<'a> {
    /// Under its name: Landfall's own, or one that it takes over.
    pub(crate) own: Option<&'a ObservedService>,
    pub(crate) foreign: bool,
    /// Under other names: those that its own takes the place of.
    pub(crate) before: Vec<&'a ObservedService>,
    /// Containers that ran it before.
    pub(crate) containers: Vec<&'a ObservedContainer>,
}

impl<'a> Managed<'a, '_> {
    pub(crate) fn on_swarm(&self, draft: &mut Draft) {
        let there = self.there();
        if let Some(note) = self.swarm_hindrance(&there) {
            draft.notes.push(note);
            return;
        }
        let name = self.service_name();
        if there.own.is_none()
            && let Some(other) = self.ctx.host.service_named(&name)
        {
            draft.notes.push(self.service_name_taken(&name, other));
            return;
        }
        let node = match self.node(&there) {
            Ok(node) => node,
            Err(note) => {
                draft.notes.push(note);
                return;
            }
        };
        let create = self.service_create(name, &there, node);
        if let Some(note) = self.foreign_secret(&create) {
            draft.notes.push(note);
            return;
        }
        let differences = self.service_differences(&there, &create);
        let fits = there.own.is_some() && differences.is_empty() && there.before.is_empty();
        if fits && there.containers.is_empty() {
            self.clear_secrets(&there, &create, draft);
            return;
        }
        self.roll_out(&there, create, differences, draft);
    }

    pub(crate) fn service_name(&self) -> String {
        let ObjectKey { namespace, name, .. } = self.resource();
        if let Some(name) = &self.workload.container_name {
            return name.clone();
        }
        // All nodes of a Swarm have the same services.
        let servers = self.ctx.input.desired.all_servers();
        let servers = servers.filter(|it| it.key == self.ctx.server.key || self.ctx.is_node(&it.key));
        let of = |it: &&DesiredDestination| {
            it.members.iter().any(|member| member.resource == *self.resource() && member.workload.is_some())
        };
        let several = servers.flat_map(|server| &server.destinations).filter(of).count() > 1;
        if several && self.workload.database.is_none() {
            return format!("{namespace}-{name}-{}", self.destination.key.name);
        }
        format!("{namespace}-{name}")
    }

    fn there(&self) -> There<'a> {
        let name = self.service_name();
        let mut there = There { own: None, foreign: false, before: Vec::new(), containers: self.containers_before() };
        let proxy = self.ctx.server.proxy.as_ref();
        let mut services: Vec<&'a ObservedService> = self.ctx.host.state.services.iter().collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        for it in services {
            let foreign = match identity_of_service(it) {
                Some(identity) if identity.set != self.ctx.set => continue,
                Some(identity) if !self.is_its(&identity) => continue,
                Some(_) => false,
                None if it.labels.contains_key(identity::OBJECT) || service::is_proxy(it, proxy) => continue,
                None if !self.ran_before(it) => continue,
                None => true,
            };
            if it.name == name {
                (there.own, there.foreign) = (Some(it), foreign);
            } else {
                there.before.push(it);
            }
        }
        there
    }

    /// Its own, under whichever name, that of its former name, or on a destination of the server that it is not on any more.
    fn is_its(&self, identity: &identity::Identity) -> bool {
        let here = identity.destination == self.destination.key;
        let own = identity.object == *self.resource();
        let renamed = here && self.member.was.as_ref() == Some(&identity.object);
        (here && own)
            || renamed
            || (own && predecessors::has_moved_to(self.ctx, self.destination, self.resource(), identity))
    }

    /// Something else made it, and the resource was adopted: the manifest names it, or Landfall has put it on a network for the resource.
    fn ran_before(&self, service: &ObservedService) -> bool {
        predecessors::service_may_be_replaced(service, self.member) && !self.is_another_ones(service)
    }

    fn is_another_ones(&self, service: &ObservedService) -> bool {
        let members = self.ctx.server.destinations.iter().flat_map(|destination| &destination.members);
        members
            .filter(|member| member.workload.is_none())
            .any(|member| member.selector.swarm_services.contains(&service.name))
    }

    fn containers_before(&self) -> Vec<&'a ObservedContainer> {
        let found = predecessors::predecessors(self.ctx, self.destination, self.member).into_iter();
        found.filter(|(_, origin)| *origin != Origin::Own).map(|(container, _)| container).collect()
    }

    /// Where its volumes are: where they have been, else on the server that the destination is on, if that takes tasks.
    fn node(&self, there: &There<'a>) -> Result<Option<Node>, Note> {
        let mounts = &self.workload.container.mounts;
        if mounts.is_empty() {
            return Ok(None);
        }
        let nodes = &self.ctx.host.state.nodes;
        let node = |id: &str| {
            let known = nodes.iter().find(|node| node.id == id);
            Node { id: id.to_owned(), name: known.map_or(id.to_owned(), |node| node.name.clone()) }
        };
        let services = there.own.iter().chain(&there.before);
        let bound = services
            .filter_map(|it| it.definition.as_ref())
            .find_map(|it| it.constraints.iter().find_map(|constraint| bound_to(constraint)));
        if let Some(id) = bound {
            if !nodes.is_empty() && nodes.iter().all(|node| node.id != id) {
                let message = format!(
                    "Its volumes ({}) are on the node {id}, which is not part of the Swarm any more.",
                    volumes(mounts).collect::<Vec<_>>().join(", ")
                );
                return Err(Note::refused(Reason::NodeUnavailable, self.resource(), message).hint(
                    "have the node join again, or move the data and delete the resource first: its next service is bound to this server's node",
                ));
            }
            return Ok(Some(node(id)));
        }
        let takes = |it: &&ObservedNode| it.availability == NodeAvailability::Active && it.up;
        if let Some(id) = self.ctx.node_with_volume(volumes(mounts)) {
            return Ok(Some(node(id)));
        }
        let own = match &self.ctx.host.state.engine.swarm {
            SwarmState::Manager { node_id, .. } => Some(node_id.as_str()),
            _ => None,
        };
        let is_own = |it: &&ObservedNode| Some(it.id.as_str()) == own;
        let known = nodes.iter().any(|it| is_own(&it));
        if let Some(id) = own.filter(|_| !known || nodes.iter().any(|it| is_own(&it) && takes(&it))) {
            return Ok(Some(node(id)));
        }
        let first = nodes.iter().filter(takes).min_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        match first {
            Some(first) => Ok(Some(node(&first.id))),
            None => {
                let message = "No node of the Swarm takes tasks: its volumes can be nowhere.";
                Err(Note::refused(Reason::NodeUnavailable, self.resource(), message)
                    .hint("docker node update --availability active NODE"))
            }
        }
    }

    fn service_create(&self, name: String, there: &There<'a>, node: Option<Node>) -> ServiceCreate {
        let template = self.workload.container.clone();
        let mut applied = Applied::of(&template, &self.labels);
        applied.fields.extend(node.iter().map(|_| NODE.to_owned()));
        let mut labels = self.labels.clone();
        labels.insert(identity::APPLIED.to_owned(), applied.label());
        labels.extend(self.identity_labels(&name));
        let own = there.own.filter(|_| !there.foreign);
        labels.extend(own.and_then(|it| Some((identity::UID.to_owned(), it.labels.get(identity::UID)?.clone()))));
        labels.extend(self.before_delete());
        labels.extend(identity::depends_on_label(&self.workload.depends_on));
        labels.extend(self.written().map(|written| (identity::DATA.to_owned(), written.label())));
        let files = secret_files(&template, &name, &owner(self.ctx.set, self.resource(), &self.destination.key));
        let image = match self.image.remote.as_deref().filter(|_| self.workload.pull_policy == PullPolicy::Always) {
            Some(digest) if !self.workload.image.contains('@') => format!("{}@{digest}", self.workload.image),
            _ => self.workload.image.clone(),
        };
        let former = self.own_secrets().filter(|name| files.values().all(|file| file.secret != *name));
        ServiceCreate {
            former_secrets: former.map(str::to_owned).collect(),
            image,
            labels,
            files,
            replicas: self.replicas(there),
            order: self.workload.rollout.order,
            node,
            volume_labels: self.volume_labels(),
            attachment: self.attachment(there),
            template,
            name,
        }
    }

    /// One that was left without tasks by a deactivation gets them back by what undoes that.
    fn replicas(&self, there: &There<'a>) -> u64 {
        let stopped = there.own.filter(|it| it.replicas == Some(0)).is_some_and(|it| {
            let mut journals = self.ctx.input.journals.iter();
            journals.any(|journal| journal.services.iter().any(|listed| listed.service.id == it.id))
        });
        if stopped { 0 } else { u64::from(self.workload.replicas) }
    }

    pub(crate) fn identity_labels(&self, name: &str) -> BTreeMap<String, String> {
        let fresh = self.ctx.input.ids.get(&self.destination.key);
        let mut labels =
            identity::labels(&fresh.uid, self.ctx.set, self.resource(), &self.destination.key, NO_REPLICA, name);
        let source = self.ctx.input.desired.source.as_ref();
        labels.extend(source.map(|source| (ownership::SOURCE.to_owned(), source.clone())));
        labels
    }

    fn attachment(&self, there: &There<'a>) -> ServiceAttachment {
        let before = self.target.network.and_then(|network| there.own?.attachment(network));
        let mut attachment = before.cloned().unwrap_or_default();
        let ServiceAttachment { aliases, driver_opts } = &mut attachment;
        applied::apply_aliases(aliases, driver_opts, &self.member.endpoint.aliases, self.ctx.set);
        let made_for = BTreeSet::from([Purpose::Resource(self.resource().clone())]);
        let mark = Mark { set: self.ctx.set, source: self.ctx.source(), made_for: &made_for, name: None };
        mark.write(&mut attachment.driver_opts);
        attachment
    }

    /// Names of the secrets that Landfall has made for it.
    pub(crate) fn own_secrets(&self) -> impl Iterator<Item = &'a str> {
        let secrets = self.ctx.host.state.secrets.iter();
        secrets
            .filter(|secret| {
                identity::of(&secret.name, &secret.labels).is_some_and(|it| {
                    it.set == self.ctx.set && it.object == *self.resource() && it.destination == self.destination.key
                })
            })
            .map(|secret| secret.name.as_str())
    }

    fn service_differences(&self, there: &There<'a>, create: &ServiceCreate) -> Vec<Difference> {
        let differs = |field: &str, from: String, to: String| Difference {
            field: field.to_owned(),
            from: Some(from),
            to: Some(to),
            in_place: false,
        };
        let mut found = Vec::new();
        let nothing = SeenService::default();
        if let Some(service) = there.own {
            let live = Live {
                id: service.id.as_str(),
                labels: &service.labels,
                definition: service.definition.as_deref().unwrap_or(&nothing),
                replicas: service.replicas,
                foreign: there.foreign,
            };
            let own: BTreeSet<&str> = self.own_secrets().collect();
            found.extend(service_differences(create, &self.labels, &live, |name| own.contains(name)));
        }
        let by = |service: &ObservedService| match service.labels.get(container::STACK_NAMESPACE) {
            Some(stack) => format!("the stack {stack}"),
            None => "something else".to_owned(),
        };
        if let Some(service) = there.own.filter(|_| there.foreign) {
            found.push(differs("run by", by(service), "Landfall".to_owned()));
        }
        for service in &there.before {
            found.push(match identity_of_service(service) {
                Some(identity) if identity.destination != self.destination.key => {
                    differs("destination", identity.destination.path(), self.destination.key.path())
                }
                Some(identity) if identity.object != *self.resource() => {
                    differs("resource", identity.object.to_string(), self.resource().to_string())
                }
                Some(_) => differs("name", service.name.clone(), create.name.clone()),
                None => differs("run by", format!("{} as {}", by(service), service.name), "Landfall".to_owned()),
            });
        }
        for container in &there.containers {
            found.push(differs("run by", format!("the container {}", container.name), "a Swarm service".to_owned()));
        }
        if self.is_restarted() && there.own.is_some() {
            found.push(differs("tasks", "as they are".to_owned(), "anew".to_owned()));
        }
        found
    }

    pub(crate) fn is_restarted(&self) -> bool {
        self.ctx.request.restart.contains(self.resource())
    }

    /// How it runs on the Swarm now: of services that are its own.
    pub(crate) fn service_runs(&self) -> Vec<(&'a SeenConfig, &'a BTreeMap<String, String>, &'a str)> {
        let there = self.there();
        let services = there.own.into_iter().chain(there.before);
        services
            .filter_map(|it| {
                let definition = it.definition.as_deref()?;
                Some((&definition.config, &it.labels, definition.image.split('@').next().unwrap_or_default()))
            })
            .collect()
    }
}
