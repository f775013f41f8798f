//! What keeps a resource from being a Swarm service, and what is said of one that is.

use std::collections::BTreeSet;

use super::definition::There;
use crate::core::api::{ProxyType, PullPolicy};
use crate::core::observed::ObservedService;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::plan::ServerType;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::workload::hindrance::held_at_zero;
use crate::core::plan::workload::managed::Managed;
use crate::core::workload::service::{LONGEST_NAME, ServiceCreate};
use crate::core::workload::{MountSource, Order, identity};

impl<'a> Managed<'a, '_> {
    /// Why nothing of it can be planned.
    pub(crate) fn swarm_hindrance(&self, there: &There<'a>) -> Option<Note> {
        let resource = self.resource();
        let refused = |reason, message: String, hint: &str| Some(Note::refused(reason, resource, message).hint(hint));
        if self.ctx.host.server_type() != ServerType::Manager {
            let message = format!(
                "{} is not a manager of its Swarm ({}), and managers alone run services: {resource} is not run.",
                self.ctx.server.key,
                self.ctx.host.server_type().describe()
            );
            return refused(Reason::NotASwarmManager, message, "declare its destination on a manager of that Swarm");
        }
        if self.workload.is_proxy {
            let message =
                "The proxy of a Swarm is not run by Landfall: it has to be on a manager, and to read services.";
            let hint = "run it as a service and name that: `proxy: { service: NAME, type: Traefik }` on the Server";
            return refused(Reason::WrongScope, message.to_owned(), hint);
        }
        let data = || self.other_service_on_the_volume(there).or_else(|| self.other_on_the_volume());
        self.beyond_services()
            .or_else(|| self.secret_missing())
            .or_else(|| self.swarm_image_hindrance(there))
            .or_else(|| self.volumes_incomplete())
            .or_else(|| held_at_zero(self.ctx, resource, there.own.into_iter().chain(there.before.iter().copied())))
            .or_else(data)
            .or_else(|| self.data_hindrance())
    }

    /// Fields that a Swarm has nothing for.
    pub(crate) fn beyond_services(&self) -> Option<Note> {
        let resource = self.resource();
        let name = self.service_name();
        if name.len() > LONGEST_NAME {
            let message =
                format!("A Swarm service cannot be called {name:?}: that is longer than {LONGEST_NAME} characters.");
            return Some(
                Note::refused(Reason::WrongScope, resource, message).hint("declare a shorter `containerName`"),
            );
        }
        let endpoint = &self.member.endpoint;
        if endpoint.ipv4_address.is_some() || endpoint.ipv6_address.is_some() || endpoint.mac_address.is_some() {
            let message =
                format!("A static address is declared for {resource}, whose tasks get theirs from the Swarm.");
            return Some(
                Note::refused(Reason::AddressUnavailable, resource, message)
                    .hint("remove it from `endpoint`; a service is found by its name and aliases"),
            );
        }
        let port = self.workload.container.ports.iter().find(|port| port.host_address.is_some())?;
        let message =
            format!("The port {port} is to be published on one address, and a Swarm publishes on all of its nodes.");
        Some(Note::refused(Reason::WrongScope, resource, message).hint("remove `hostAddress`"))
    }

    /// Nodes pull for themselves, and nothing keeps them from it.
    pub(crate) fn swarm_image_hindrance(&self, there: &There<'a>) -> Option<Note> {
        let alone = self.ctx.host.state.nodes.len() <= 1;
        let never = self.workload.pull_policy == PullPolicy::Never;
        (never && alone && self.image.local.is_none() && there.own.is_none()).then(|| {
            let message = format!("The server has no image {}, and pullPolicy is Never.", self.workload.image);
            Note::refused(Reason::ImageUnavailable, self.resource(), message)
                .hint(format!("docker pull {}, or `pullPolicy: IfNotPresent`", self.workload.image))
        })
    }

    pub(crate) fn other_service_on_the_volume(&self, there: &There<'a>) -> Option<Note> {
        let connection = self.workload.database.as_ref()?;
        let own = |it: &ObservedService| {
            there.own.is_some_and(|own| own.id == it.id) || there.before.iter().any(|before| before.id == it.id)
        };
        let uses = |it: &&ObservedService| {
            it.definition.as_ref().is_some_and(|it| {
                it.config.mounts.iter().any(|it| it.mount.source == MountSource::Volume(connection.volume.clone()))
            })
        };
        let other = self.ctx.host.state.services.iter().filter(|it| !own(it)).find(uses)?;
        let message = format!("The volume {:?} is in use by the Swarm service {:?}.", connection.volume, other.name);
        Some(
            Note::refused(Reason::DataIncompatible, self.resource(), message)
                .hint("give each database its own `storage.volume`, or remove that service first"),
        )
    }

    /// What is warned of, and what is waited for.
    pub(crate) fn swarm_notes(&self, there: &There<'a>, create: &ServiceCreate, draft: &mut Draft) {
        let resource = self.resource();
        if let Some(problem) = &self.image.problem {
            let message = format!("Whether {} has moved is unknown: {problem}.", self.workload.image);
            draft.notes.push(Note::warning(Reason::ImageUnavailable, resource, message));
        }
        if !self.workload.routes.is_empty() {
            draft.notes.extend(self.unrouted());
            let traefik = self.ctx.server.proxy.as_ref().is_some_and(|proxy| proxy.proxy_type == ProxyType::Traefik);
            if traefik
                && self.workload.port.is_none()
                && !self.labels.keys().any(|it| it.ends_with("loadbalancer.server.port"))
            {
                let message =
                    "Traefik is not told the ports of Swarm services, and `port` is not declared: nothing is routed.";
                draft.notes.push(Note::warning(Reason::ProxyUnsupported, resource, message).hint("declare `port`"));
            }
        }
        if there.own.is_some() && create.order == Order::StopFirst && create.replicas > 0 {
            let why = self.workload.rollout.why.as_ref().map_or(String::new(), |why| format!(", because {why}"));
            let message = format!(
                "Tasks of {:?} stop before their successors start{why}: with one replica, requests fail until that is healthy.",
                create.name
            );
            draft
                .notes
                .push(Note::warning(Reason::RolloutInterrupts, resource, message).hint(
                    "`rollout: { strategy: StartFirst }` starts the new one first, where two at once do no harm",
                ));
        }
    }

    pub(crate) fn service_name_taken(&self, name: &str, other: &ObservedService) -> Note {
        let message = format!("A Swarm service named {name:?} exists, and Landfall did not make it for this resource.");
        let note = Note::refused(Reason::NameTaken, self.resource(), message);
        if other.labels.contains_key(identity::OBJECT) {
            return note.hint("remove it, or declare another `containerName`");
        }
        note.hint(format!(
            "remove it, or declare another `containerName`; if it ran this resource until now, say that it is to be replaced: \
             `metadata.annotations: {{ landfall/replaces: {name} }}`"
        ))
    }

    pub(crate) fn foreign_secret(&self, create: &ServiceCreate) -> Option<Note> {
        let own: BTreeSet<&str> = self.own_secrets().collect();
        let secrets = &self.ctx.host.state.secrets;
        let wanted = |name: &str| create.files.values().any(|file| file.secret == name);
        let other = secrets.iter().find(|it| wanted(&it.name) && !own.contains(it.name.as_str()))?;
        let message =
            format!("A Swarm secret named {:?} exists, and Landfall did not make it for this resource.", other.name);
        Some(
            Note::refused(Reason::NameTaken, self.resource(), message)
                .hint(format!("remove it: docker secret rm {}", other.name)),
        )
    }
}
