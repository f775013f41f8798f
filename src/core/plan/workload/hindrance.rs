//! Why nothing of a resource can be planned.

use std::collections::BTreeSet;

use super::managed::Managed;
use crate::core::api::{ObjectKey, ProxyType, PullPolicy};
use crate::core::observed::{ObservedContainer, ObservedService};
use crate::core::plan::decide::settings;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::world::container;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::predecessors::is_anothers;
use crate::core::plan::world::server::Attached;
use crate::core::workload::MountSource;
use crate::core::workload::identity::{self, Identity, OBJECT};
use crate::core::workload::seen::SeenConfig;

impl<'a> Managed<'a, '_> {
    /// Why nothing of it can be planned.
    pub(crate) fn hindrance(&self, draft: &mut Draft) -> Option<Note> {
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

    pub(crate) fn secret_missing(&self) -> Option<Note> {
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
    pub(crate) fn other_on_the_volume(&self) -> Option<Note> {
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

    /// The one-shot container before a rollout, running or not.
    pub(crate) fn job(&self) -> Option<&'a ObservedContainer> {
        let job = self.ctx.host.container_named(&self.job_name())?;
        let identity = identity::of_job(&job.name, &job.labels)?;
        let Identity { set, object, destination, .. } = &identity;
        let own = *set == self.ctx.set && *object == *self.resource() && *destination == self.destination.key;
        own.then_some(job)
    }

    /// The job before the rollout runs, and not for long: whoever has begun it goes on with the rollout, or its end is seen.
    pub(crate) fn job_under_way(&self) -> Option<Note> {
        let job = self.job().filter(|job| job.state.is_live() && job.up.is_some())?;
        let message = format!("The job {:?} before its rollout is running.", job.name);
        Some(Note::waiting(Reason::RolloutInProgress, self.resource(), message).for_turn())
    }

    pub(crate) fn unrouted(&self) -> Option<Note> {
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
    pub(crate) fn waits_for(&self) -> Option<Note> {
        // Those that are planned here come before this one, and this one is skipped if one of them fails.
        let active = || self.ctx.server.destinations.iter().filter(|it| it.active && !it.suspend);
        let planned = |key: &ObjectKey| {
            active().flat_map(|it| &it.members).any(|member| member.resource == *key && member.workload.is_some())
        };
        let missing = self.workload.depends_on.iter().find(|key| !planned(key) && !self.ctx.is_available(key))?;
        let message = format!("{missing}, which it depends on, is not available.");
        let note = Note::waiting(Reason::ContainerMissing, self.resource(), message);
        Some(note.hint("it is started as soon as that is").again(self.ctx.settles_in(missing)))
    }

    /// One of its volumes is being filled with a copy.
    pub(crate) fn volumes_incomplete(&self) -> Option<Note> {
        let volumes = self.workload.container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume(name) => Some(name),
            MountSource::Path(_) => None,
        });
        incomplete(self.ctx, self.resource(), volumes)
    }
}

/// One of the containers is kept stopped, while its data is copied or because it has been moved.
pub(crate) fn held_stopped<'c>(
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

/// One of the services is kept at no replicas, while its data is copied.
pub(crate) fn held_at_zero<'s>(
    ctx: &Context<'_>,
    resource: &ObjectKey,
    services: impl IntoIterator<Item = &'s ObservedService>,
) -> Option<Note> {
    let all = &ctx.host.state.containers;
    let mut stopped = services.into_iter().filter(|it| it.replicas == Some(0));
    let (service, holder) = stopped.find_map(|service| {
        let holder = all.iter().find(|it| identity::holds(&it.labels, service.id.as_str()))?;
        Some((service, holder))
    })?;
    let message = format!("The Swarm service {} is scaled to 0 while its volumes are copied.", service.name);
    let hint = format!(
        "it gets its tasks back when the copy is done; if no copy is under way any more: docker rm {}",
        holder.name
    );
    Some(Note::waiting(Reason::LeftStopped, resource, message).hint(hint))
}

/// A stack is another set's, or another resource's. `what`: with its project; `part`: what of it says so.
pub(crate) fn owned_by_another(resource: &ObjectKey, what: &str, (owner, set): (&ObjectKey, &str), part: &str) -> Note {
    let message = format!("{what} is {owner}'s of the set {set:?}: its {part} says so.");
    Note::refused(Reason::OwnershipConflict, resource, message).hint("give one of the two another `compose.project`")
}

/// One of the volumes is being filled with a copy.
pub(crate) fn incomplete<'v>(
    ctx: &Context<'_>,
    resource: &ObjectKey,
    volumes: impl Iterator<Item = &'v String>,
) -> Option<Note> {
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

impl Managed<'_, '_> {
    /// What nothing tells to have run the resource until now, and looks like it: beside it the new one would be a second one. Before the first is made.
    pub(crate) fn may_have_run_it(&self, replica: u32) -> Option<Note> {
        let network = self.target.network.filter(|_| replica == 1 && self.held().is_empty())?;
        let aliases = || self.member.endpoint.aliases.iter().map(String::as_str);
        let names = || std::iter::once(self.resource().name.as_str()).chain(aliases());
        let repository =
            |image: &str| image.split('@').next().and_then(|it| it.rsplit_once(':')).map(|it| it.0.to_owned());
        let looks_like_it = |attached: &&Attached<'_>| {
            let container = attached.container;
            let service = container.labels.get(container::COMPOSE_SERVICE);
            names().any(|name| settings::answers(attached, name) || service.is_some_and(|it| it == name))
                || (repository(&container.image).is_some()
                    && repository(&container.image) == repository(&self.workload.image))
        };
        let is_strange = |attached: &&Attached<'_>| {
            let container = attached.container;
            !container.labels.contains_key(OBJECT)
                && !container::is_task(container)
                && !container::is_one_off(container)
                && !container::is_going(container)
                && !container::is_proxy(container, self.ctx.server.proxy.as_ref())
                && !is_anothers(self.ctx, container)
        };
        let attached = self.ctx.host.attached(network);
        let found = attached.iter().filter(is_strange).filter(looks_like_it);
        let found: Vec<&str> = found.map(|it| it.container.name.as_str()).collect();
        if found.is_empty() {
            return None;
        }
        let (names, verb) = (found.join(", "), if found.len() == 1 { "runs" } else { "run" });
        let message = format!(
            "{names} on {:?} {verb} beside it: whether that was this resource until now, nothing on the server tells.",
            network.name
        );
        Some(Note::warning(Reason::MembershipForeign, self.resource(), message).hint(format!(
            "to have a rollout put Landfall's container in its place: `metadata.annotations: {{ landfall/replaces: \"{names}\" }}`"
        )))
    }
}
