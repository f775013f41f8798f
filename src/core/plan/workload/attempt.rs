//! The calls of a rollout, and what it stands for.

use super::managed::{Held, Managed};
use crate::core::api::ObjectKey;
use crate::core::digest::{SHORT, digest};
use crate::core::plan::document::call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::Operation;
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::document::workload_call::{ContainerRef, Drain, WorkloadCall};
use crate::core::plan::emit::draft::Draft;
use crate::core::workload::compare::Difference;
use crate::core::workload::identity::{self, DRAIN};
use crate::core::workload::seen::SeenConfig;
use crate::core::workload::{ContainerCreate, ContainerTemplate, ContainerUpdate, MountSource, Order};

impl<'a> Managed<'a, '_> {
    /// The image and the volumes, before the container is made.
    pub(crate) fn beforehand(&self, cause: Cause, prepare: bool) -> Vec<Operation> {
        if !prepare {
            return Vec::new();
        }
        let mut calls = Vec::new();
        if self.image.local.is_none() || self.image.has_moved() {
            calls.push(WorkloadCall::PullImage { reference: self.workload.image.clone() });
        }
        calls.extend(self.check_data());
        calls.extend(self.volumes());
        calls.into_iter().map(|call| self.operation(call, cause, false, None)).collect()
    }

    /// What runs between the creation of a container and its start. Only the one that could create the container comes to this, or the one that
    /// finds it created.
    pub(crate) fn before_start(&self, started: &ContainerRef, cause: Cause, prepare: bool) -> Option<Operation> {
        let mut job = self.hook().filter(|_| prepare)?;
        if let WorkloadCall::RunJob { before, .. } = &mut job {
            *before = Some(started.clone());
        }
        let undo = WorkloadCall::RemoveContainer { container: ContainerRef::Created(self.job_name()), force: true };
        Some(self.operation(job, cause, false, Some(undo)))
    }

    /// What the one-shot container before a rollout is called.
    pub(crate) fn job_name(&self) -> String {
        format!("{}-{}{}", self.resource().namespace, self.resource().name, identity::JOB)
    }

    /// The job that [`before_start`](Self::before_start) plans, to be removed once the container has started.
    pub(crate) fn job_before(&self) -> Option<String> {
        self.workload.pre_deploy.as_ref().map(|_| self.job_name())
    }

    /// The one-shot container before a rollout.
    pub(crate) fn hook(&self) -> Option<WorkloadCall> {
        let hook = self.workload.pre_deploy.as_ref()?;
        let name = self.job_name();
        let mut container = self.create(0, &name, name.clone(), None);
        container.labels.remove(identity::REPLICA);
        container.labels.retain(|key, _| key.starts_with("landfall."));
        container.template = ContainerTemplate {
            command: Some(hook.command.clone()),
            ports: Vec::new(),
            restart: None,
            healthcheck: None,
            ..container.template
        };
        container.drainable = false;
        // A name of its own: requests for the application must not reach it.
        let mut settings = self.settings(&container.name);
        settings.aliases.clear();
        (settings.ipv4_address, settings.ipv6_address) = (None, None);
        let (network, timeout) = (self.target.call(), hook.timeout);
        Some(WorkloadCall::RunJob { container, before: None, network, settings, timeout })
    }

    /// `replaced`: what it takes the place of.
    pub(crate) fn make(&self, create: ContainerCreate, replaced: Option<&Held<'_>>, cause: Cause) -> Operation {
        let undo = WorkloadCall::RemoveContainer { container: ContainerRef::Created(create.name.clone()), force: true };
        let settings = self.settings(&create.name);
        let call = WorkloadCall::CreateContainer {
            container: create,
            network: self.target.call(),
            settings,
            also: self.further_networks(),
            replaces: replaced.map(|held| ContainerTarget::of(held.container)),
            differences: replaced.map(|held| held.differences.clone()).unwrap_or_default(),
            after: self.workload.depends_on.clone(),
        };
        self.operation(call, cause, false, Some(undo))
    }

    pub(crate) fn start(&self, name: &str, attempt: String, cause: Cause) -> Operation {
        let container = ContainerRef::Created(name.to_owned());
        // It goes before what has made room for it comes back: there are never two on one volume.
        let undo = WorkloadCall::RemoveContainer { container: container.clone(), force: true };
        let start =
            WorkloadCall::StartContainer { container, ready: self.readiness(), attempt, job: self.job_before() };
        self.operation(start, cause, false, Some(undo))
    }

    /// Volumes that the old container has for itself, and that the new one would otherwise begin without.
    pub(crate) fn inherited(&self, current: &Held<'_>) -> Vec<(String, String)> {
        let missing = SeenConfig::default();
        let config = self.ctx.host.state.workloads.get(&current.container.id).unwrap_or(&missing);
        let declared = &self.workload.container.mounts;
        let anonymous = config.mounts.iter().filter(|it| it.anonymous);
        anonymous
            .filter(|it| !declared.iter().any(|mount| mount.target == it.mount.target))
            .filter_map(|it| match &it.mount.source {
                MountSource::Volume(name) => Some((name.clone(), it.mount.target.clone())),
                MountSource::Path(_) => None,
            })
            .collect()
    }

    pub(crate) fn drain(&self, held: &Held<'_>) -> Option<Drain> {
        let file = held.container.labels.get(DRAIN)?.clone();
        let missing = SeenConfig::default();
        let config = self.ctx.host.state.workloads.get(&held.container.id).unwrap_or(&missing);
        let check = config.healthcheck.as_ref()?;
        let (interval, timeout) = (check.interval.unwrap_or(30), check.timeout.unwrap_or(30));
        let unhealthy = interval.saturating_add(timeout).saturating_mul(check.retries.unwrap_or(3)).saturating_add(5);
        Some(Drain { file, unhealthy, then: THROTTLE.saturating_add(self.workload.rollout.drain) })
    }

    /// What users will notice of a rollout that cannot be had without.
    pub(crate) fn expectation(&self, current: &Held<'_>) -> Option<Note> {
        let name = &current.container.name;
        let warn = |message: String, hint: &str| {
            Some(Note::warning(Reason::RolloutInterrupts, self.resource(), message).hint(hint))
        };
        let inherits = !self.inherited(current).is_empty();
        if self.workload.rollout.order == Order::StopFirst || inherits {
            let why = self.workload.rollout.why.clone().or(inherits.then(|| "it has a volume of its own".to_owned()));
            let why = why.map_or(String::new(), |why| format!(", because {why}"));
            return warn(
                format!("{name:?} stops before its successor starts{why}: requests fail until that is healthy."),
                match self.workload.database {
                    Some(_) => "no two of a database may be on one volume; plan it for a quiet hour",
                    None => {
                        "`rollout: { strategy: StartFirst }` starts the new one first, where two at once do no harm"
                    }
                },
            );
        }
        if self.is_behind_traefik() && !current.container.labels.contains_key(DRAIN) {
            return warn(
                format!(
                    "Traefik learns of the stop of {name:?} from the stop itself: some requests may fail for a few seconds."
                ),
                "with a `healthcheck`, and a shell in the image, Landfall has Traefik let go of a container before it stops",
            );
        }
        None
    }

    /// Stands for an attempt to have exactly this run in the place of what there is.
    pub(crate) fn attempt(&self, from: &str) -> String {
        let local = self.image.local.as_ref().map_or("", |local| local.id.as_str());
        let remote = self.image.remote.as_deref().unwrap_or_default();
        digest(format!("{from}\n{local}\n{remote}\n{}", self.declared("attempt")), SHORT)
    }

    /// Stands for having what is declared run in the place of a container, whatever has been pulled so far.
    pub(crate) fn rollout(&self, replaced: Option<&Held<'_>>) -> String {
        let from = replaced.map_or("", |held| held.container.id.as_str());
        digest(format!("{from}\n{}", self.declared(&format!("rollout {from}"))), SHORT)
    }

    fn declared(&self, salt: &str) -> String {
        let values: Vec<String> = self
            .workload
            .container
            .values()
            .map(|(place, value)| match value {
                crate::core::workload::Value::Literal(text) => format!("{place}={text}"),
                crate::core::workload::Value::Secret(secret) => {
                    format!("{place}={}", secret.fingerprint(salt).unwrap_or_default())
                }
            })
            .collect();
        let (resource, destination) = (self.resource(), &self.destination.key);
        format!("{resource}\n{destination}\n{:?}\n{values:?}\n{:?}", self.workload, self.labels)
    }

    /// Why nothing is made or started now.
    pub(crate) fn held_up(&self, attempt: &str) -> Option<Note> {
        self.port_taken().or_else(|| self.given_up(attempt)).or_else(|| self.job_under_way())
    }

    /// This very attempt has failed, and nothing has changed since.
    pub(crate) fn given_up(&self, attempt: &str) -> Option<Note> {
        let failure = self.ctx.request.failed_attempts.get(attempt)?;
        let ObjectKey { kind, namespace, name } = self.resource();
        let kind = kind.as_str().to_lowercase();
        Some(
            Note::refused(
                Reason::HealthCheckFailed,
                self.resource(),
                format!("It did not become healthy, and is not tried again until something changes. {failure}"),
            )
            .hint(format!(
                "change the manifest or the image, or ask for another try: landfall rollout restart {kind}/{name} -n {namespace}"
            )),
        )
    }
}

pub(crate) fn existing(held: &Held<'_>) -> ContainerRef {
    ContainerRef::Existing(ContainerTarget::of(held.container))
}

pub(crate) fn cause(differences: &[Difference]) -> Cause {
    match differences {
        [only] if only.field == "image" => Cause::ImageMoved,
        _ => Cause::WorkloadDiffers,
    }
}

/// A repair or an activation starts it already.
pub(crate) fn is_started(draft: &Draft, held: &Held<'_>) -> bool {
    let operations = draft.groups.iter().flat_map(|group| &group.operations);
    operations.into_iter().any(|operation| {
        matches!(&operation.call, call::Call::StartContainer { container } if container.id == held.container.id)
    })
}

pub(crate) fn update(template: &ContainerTemplate, differences: &[Difference]) -> ContainerUpdate {
    let mut update = ContainerUpdate::default();
    for difference in differences {
        match difference.field.as_str() {
            "restart" => update.restart = Some(template.restart.unwrap_or(crate::core::api::RestartPolicy::No)),
            "resources.cpus" => update.nano_cpus = Some(template.resources.nano_cpus),
            "resources.memory" => update.memory = Some(template.resources.memory),
            "resources.pids" => update.pids = Some(template.resources.pids),
            _ => {}
        }
    }
    update
}

/// Seconds until Traefik acts on what the daemon tells it: its provider gathers changes for two.
pub(crate) const THROTTLE: u32 = 3;
