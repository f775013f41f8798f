//! Calls for managed resources, each with the looks that make it safe to repeat: whether a failed one took effect, and when a container that
//! was started serves.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::call::{Caller, Done, Mishap};
use crate::core::observed::{ContainerId, ContainerState, EndpointSettings, Health, ObservedContainer};
use crate::core::plan::workload::call::{ContainerRef, Drain, Readiness, WorkloadCall};
use crate::core::plan::{ContainerTarget, NetworkTarget, Reason};
use crate::core::report::Failure;
use crate::core::workload::identity::{DESTINATION, OBJECT, REPLICA, ROLLOUT, SET, UID, base_name};
use crate::core::workload::seen::SeenConfig;
use crate::core::workload::{ContainerCreate, ContainerUpdate};
use crate::shell::engine::{EngineError, EngineErrorKind, WorkloadDetail};

/// Between two looks at a container that is about to be ready, or to end.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Lines of a log that a failure shows.
pub(super) const LINES: usize = 10;
/// How long the daemon may take for a removal that another has asked for.
const REMOVAL: Duration = Duration::from_secs(10);
/// How long a container may take from its creation to its start or its job, on a daemon that has much to do. Whoever waits longer takes it for abandoned.
pub(super) const START: Duration = Duration::from_secs(15);
/// So many restarts of a container without a health check are a failure.
pub(super) const RESTARTS: u64 = 3;

/// Whose turn a rollout is.
enum Turn {
    /// This one's, with the container that it has made.
    Taken(ContainerId),
    /// Another applier has brought the same about.
    Done(ContainerId),
}

impl Caller<'_> {
    /// `call` names networks and containers by id.
    pub(super) async fn workload(&self, call: &WorkloadCall) -> Result<Done, Mishap> {
        match call {
            WorkloadCall::PullImage { reference } => {
                let progress = |come, known| self.progress.pulled(self.server, reference, come, known);
                self.engine.pull_image(reference, &progress).await.map_err(Mishap::from)?;
            }
            WorkloadCall::CreateVolume { name, labels } => {
                self.answer(self.engine.create_volume(name, labels)).await?;
            }
            WorkloadCall::RunJob { container, before, network, settings, timeout } => {
                let timeout = Duration::from_secs(u64::from(*timeout));
                let job = self.job(container, before.as_ref(), network, settings, timeout).await?;
                return Ok(Done { container: job.map(|id| (container.name.clone(), id)), ..Done::default() });
            }
            WorkloadCall::CheckData { container, declared, needs_log } => {
                self.check_data(container, declared, *needs_log).await?;
            }
            WorkloadCall::CreateContainer { container, network, settings, also, replaces, .. } => {
                let (id, by_another) = match self.take_turn(container, network, settings, replaces.as_ref()).await? {
                    Turn::Taken(id) => {
                        self.join(&id, also).await?;
                        (id, false)
                    }
                    Turn::Done(id) => (id, true),
                };
                return Ok(Done { container: Some((container.name.clone(), id)), by_another, ..Done::default() });
            }
            WorkloadCall::StartContainer { container, ready, job, .. } => {
                self.start(container, ready, job.as_deref()).await?;
            }
            WorkloadCall::StopContainer { container, drain } => {
                if let Some(drain) = drain {
                    self.drain(&container.id, drain).await?;
                }
                let stopped = self.answer(self.engine.stop_container(&container.id)).await;
                self.unless(stopped, &container.id, |seen| !seen.is_some_and(|it| it.container.state.is_live()))
                    .await?;
            }
            WorkloadCall::RemoveContainer { container, force } => {
                let (id, _) = known(container)?;
                let removed = self.answer(self.engine.remove_container(id, *force)).await;
                self.unless_removed(id, removed).await?;
            }
            WorkloadCall::ClearContainer { container, fresh } => self.clear_left(container, *fresh).await?,
            WorkloadCall::RenameContainer { container, to } => {
                let (id, name) = known(container)?;
                if let Err(error) = self.answer(self.engine.rename_container(id, to)).await {
                    let Some(seen) = self.look(id).await? else {
                        return Err(vanished(name, &format!("renamed to {to}")).into());
                    };
                    if seen.container.name != *to {
                        return Err(failure(error).into());
                    }
                }
            }
            WorkloadCall::UpdateContainer { container, update, .. } => {
                let updated = self.answer(self.engine.update_container(&container.id, update)).await;
                let seen = self.look(&container.id).await?;
                // The daemon answers 200 to what it does not do.
                if !seen.is_some_and(|it| is_updated(&it.config, update)) {
                    updated?;
                    let message = format!("The daemon accepted the update of {}, and did not make it.", container.name);
                    return Err(Failure { reason: None, message, hint: None }.into());
                }
            }
            WorkloadCall::ComposeUp(up) => return self.compose_up(up).await,
            WorkloadCall::ComposeDown { project, stack } => self.compose_down(project, stack).await?,
            WorkloadCall::StackDeploy(deploy) => return self.stack_deploy(deploy).await,
            WorkloadCall::StackRemove { project, .. } => self.stack_remove(project).await?,
            WorkloadCall::CreateSecret { name, labels, content } => self.create_secret(name, labels, content).await?,
            WorkloadCall::RemoveSecret { name, uid } => self.remove_secret(name, uid).await?,
            WorkloadCall::CreateService(rollout) => self.create_service(rollout).await?,
            WorkloadCall::UpdateService { service, rollout, anew } => {
                self.roll_out_service(service, rollout, *anew).await?;
            }
            WorkloadCall::StopService { service } => self.stop_service(service).await?,
            WorkloadCall::RemoveService { service, .. } => self.remove_service(service).await?,
        }
        Ok(Done::default())
    }

    pub(super) async fn look(&self, id: &ContainerId) -> Result<Option<WorkloadDetail>, EngineError> {
        self.answer(self.engine.workload(id)).await
    }

    /// A call that failed may have taken effect all the same.
    async fn unless(
        &self,
        called: Result<(), EngineError>,
        id: &ContainerId,
        is_done: impl FnOnce(Option<&WorkloadDetail>) -> bool,
    ) -> Result<(), Mishap> {
        let Err(error) = called else { return Ok(()) };
        let seen = self.look(id).await?;
        if is_done(seen.as_ref()) { Ok(()) } else { Err(failure(error).into()) }
    }

    /// Removes one that was made for a single run.
    pub(super) async fn discard(&self, id: &ContainerId) -> Result<(), Mishap> {
        let discarded = self.answer(self.engine.discard_container(id)).await;
        self.unless_removed(id, discarded).await
    }

    async fn unless_removed(&self, id: &ContainerId, removed: Result<(), EngineError>) -> Result<(), Mishap> {
        let Err(error) = removed else { return Ok(()) };
        if self.is_removed(id).await? { Ok(()) } else { Err(failure(error).into()) }
    }

    /// Removes what was left behind. `fresh`: it had not been started.
    async fn clear_left(&self, container: &ContainerTarget, fresh: bool) -> Result<(), Mishap> {
        if fresh {
            self.watch(container).await?;
        }
        let removed = self.answer(self.engine.remove_container(&container.id, true)).await;
        self.unless_removed(&container.id, removed).await
    }

    /// One that was never started may have been made a moment ago, and by another: it is given the time that its maker has for starting it.
    async fn watch(&self, container: &ContainerTarget) -> Result<(), Mishap> {
        let deadline = Instant::now() + START;
        loop {
            let containers = self.answer(self.engine.containers()).await?;
            let Some(seen) = containers.iter().find(|it| it.id == container.id) else { return Ok(()) };
            let job_runs = containers.iter().any(|it| it.state.is_live() && is_job_for(&it.labels, &seen.labels));
            if job_runs || seen.state != ContainerState::Created {
                let message = format!("another process is about to have {} take over", container.name);
                return Err(Failure { reason: Some(Reason::RolloutInProgress), message, hint: None }.into());
            }
            if Instant::now() >= deadline {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    /// Whether the container is gone, or on its way out by another's doing: while the daemon removes it for one, it refuses the other.
    async fn is_removed(&self, id: &ContainerId) -> Result<bool, Mishap> {
        let going =
            |seen: &WorkloadDetail| matches!(seen.container.state, ContainerState::Removing | ContainerState::Dead);
        let deadline = Instant::now() + REMOVAL;
        loop {
            match self.look(id).await? {
                None => return Ok(true),
                Some(seen) if !going(&seen) => return Ok(false),
                Some(_) if Instant::now() >= deadline => return Ok(false),
                Some(_) => sleep(LOOK).await,
            }
        }
    }

    /// Makes the container of a rollout. The daemon gives its name once: of two appliers that roll out the same at the same time, one goes on and
    /// the other one finds it done.
    async fn take_turn(
        &self,
        create: &ContainerCreate,
        network: &NetworkTarget,
        settings: &EndpointSettings,
        replaces: Option<&ContainerTarget>,
    ) -> Result<Turn, Mishap> {
        let mishap = match self.make(create, network, settings).await {
            Ok(id) => {
                let Some(before) = replaces else { return Ok(Turn::Taken(id)) };
                if self.look(&before.id).await?.is_some_and(|seen| seen.container.state != ContainerState::Removing) {
                    return Ok(Turn::Taken(id));
                }
                // The plan is older than the whole of another's rollout.
                self.answer(self.engine.remove_container(&id, true)).await?;
                let message = format!("another process has replaced or removed {} since it was looked at", before.name);
                let hint = Some("apply again".to_owned());
                let failure = Failure { reason: Some(Reason::RolloutInProgress), message, hint };
                return Err(Mishap { outdated: true, ..failure.into() });
            }
            Err(mishap) => mishap,
        };
        let base = base_name(&create.name);
        let is_taken = mishap.failure.reason == Some(Reason::NameTaken);
        let deadline = Instant::now() + START;
        loop {
            let containers = self.answer(self.engine.containers()).await?;
            let named = |name: &str| containers.iter().find(|it| it.name == name);
            let is_own = |it: &&ObservedContainer| is_of_same(&it.labels, &create.labels);
            if let Some(done) = named(base).filter(is_own).filter(|it| is_equal(&it.labels, &create.labels)) {
                return Ok(Turn::Done(done.id.clone()));
            }
            if is_taken && base != create.name && named(&create.name).filter(is_own).is_some() {
                let message = format!("another process replaces {base} at the moment");
                let hint = "apply again once that is done; `landfall rollout status` waits for it".to_owned();
                return Err(Failure { reason: Some(Reason::RolloutInProgress), message, hint: Some(hint) }.into());
            }
            // The daemon takes a name some moments before it lists the container.
            if !is_taken || named(&create.name).is_some() || Instant::now() >= deadline {
                return Err(mishap);
            }
            sleep(LOOK).await;
        }
    }

    /// The container of that name: made here, or by a call whose answer did not come.
    pub(super) async fn make(
        &self,
        create: &ContainerCreate,
        network: &NetworkTarget,
        settings: &EndpointSettings,
    ) -> Result<ContainerId, Mishap> {
        let made = self.answer(self.engine.create_container(create, &network.name, settings)).await;
        let error = match made {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        let containers = self.answer(self.engine.containers()).await?;
        let own = containers.iter().find(|it| {
            it.name == create.name && it.labels.get(UID).is_some_and(|uid| create.labels.get(UID) == Some(uid))
        });
        match own {
            Some(container) => Ok(container.id.clone()),
            None => Err(failure(error).into()),
        }
    }

    /// Puts a container that was just made on further networks, before it starts.
    async fn join(&self, id: &ContainerId, also: &[(NetworkTarget, EndpointSettings)]) -> Result<(), Mishap> {
        for (network, settings) in also {
            let Some(target) = &network.id else { continue };
            if let Err(error) = self.answer(self.engine.connect(target, id, settings)).await {
                let seen = self.look(id).await?;
                let on = |it: &WorkloadDetail| it.container.endpoints.iter().any(|on| on.network_name == network.name);
                if !seen.as_ref().is_some_and(on) {
                    let _ = self.answer(self.engine.remove_container(id, true)).await;
                    return Err(failure(error).into());
                }
            }
        }
        Ok(())
    }

    async fn start(&self, container: &ContainerRef, ready: &Readiness, job: Option<&str>) -> Result<(), Mishap> {
        let (id, name) = known(container)?;
        let before = self.look(id).await?.map_or(0, |seen| seen.config.restarts);
        self.set_going(id, name).await?;
        // It was started: what undoes that is done where it does not get ready.
        let ready = async {
            if let Some(job) = job {
                self.clear_run_job(job, id).await?;
            }
            self.ready(id, name, ready, before).await
        };
        ready.await.map_err(|mishap| Mishap { applied: true, ..mishap })
    }

    /// Starts a container. One that is there by the name of a network cannot start while there are two of that name: others have made the network at
    /// the same time, and are about to agree on one.
    pub(super) async fn set_going(&self, id: &ContainerId, name: &str) -> Result<(), Mishap> {
        let deadline = Instant::now() + 2 * self.limits.settle;
        loop {
            let Err(error) = self.answer(self.engine.start_container(id)).await else { return Ok(()) };
            let Some(seen) = self.look(id).await? else { return Err(vanished(name, "started").into()) };
            if seen.container.state.is_live() {
                return Ok(());
            }
            if Instant::now() >= deadline || error.kind != EngineErrorKind::Ambiguous {
                return Err(failure(error).into());
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the container serves: healthy, or without a health check running for a while without a restart.
    async fn ready(&self, id: &ContainerId, name: &str, ready: &Readiness, before: u64) -> Result<(), Mishap> {
        let started = Instant::now();
        let deadline = started + Duration::from_secs(u64::from(ready.timeout));
        let stable = Duration::from_secs(u64::from(ready.stable));
        let mut running_since = started;
        let mut restarts = before;
        loop {
            let Some(seen) = self.look(id).await? else {
                // Its removal says nothing of what it would have come to: the next pass tries again.
                return Err(vanished(name, "ready").into());
            };
            if seen.config.restarts != restarts {
                restarts = seen.config.restarts;
                running_since = Instant::now();
            }
            let state = seen.container.state;
            let checked = seen
                .config
                .healthcheck
                .as_ref()
                .is_some_and(|check| check.test.first().is_some_and(|kind| kind != "NONE"));
            let verdict = match (state, seen.container.health) {
                (ContainerState::Running, Some(Health::Healthy)) => return Ok(()),
                (ContainerState::Running, Some(Health::Unhealthy)) => Some("is unhealthy".to_owned()),
                (ContainerState::Running, _) if checked => None,
                (ContainerState::Running, _) if running_since.elapsed() >= stable => return Ok(()),
                (ContainerState::Exited | ContainerState::Dead, _) => {
                    let code = seen.container.exit.as_ref().map_or(0, |exit| exit.code);
                    Some(format!("exited with code {code}"))
                }
                _ if restarts > before + RESTARTS => Some(format!("was restarted {} times", restarts - before)),
                _ => None,
            };
            let verdict = verdict.or_else(|| {
                (Instant::now() >= deadline).then(|| format!("was not healthy within {} s", ready.timeout))
            });
            if let Some(verdict) = verdict {
                return Err(self.unhealthy(id, name, &verdict, seen.health_output).await.into());
            }
            sleep(LOOK).await;
        }
    }

    /// A container that was ready a moment ago. Whether that cannot be seen is for the next call to say.
    pub(super) async fn still_serves(&self, container: &ContainerTarget) -> Result<(), Failure> {
        let Ok(Some(seen)) = self.look(&container.id).await else { return Ok(()) };
        if seen.container.is_serving() {
            return Ok(());
        }
        let verdict = match (seen.container.state, seen.container.health) {
            (ContainerState::Running, Some(health)) => format!("was ready, and is {} now", health.as_str()),
            (state, _) => format!("was ready, and is {} now", state.as_str()),
        };
        let name = &seen.container.name;
        let failure = self.unhealthy(&container.id, name, &verdict, seen.health_output).await;
        Err(Failure { hint: Some("the others are left as they are".to_owned()), ..failure })
    }

    /// What its health check and its log say: whoever reads the failure need not go to the server.
    pub(super) async fn unhealthy(
        &self,
        id: &ContainerId,
        name: &str,
        verdict: &str,
        check: Option<String>,
    ) -> Failure {
        let mut message = format!("The container {name} {verdict}.");
        if let Some(output) = check {
            message.push_str(&format!(" Its health check says: {}.", one_line(&output).trim_end_matches('.')));
        }
        message.push_str(&self.last_words(id).await);
        Failure { reason: Some(Reason::HealthCheckFailed), message, hint: None }
    }

    pub(super) async fn last_words(&self, id: &ContainerId) -> String {
        let lines = self.answer(self.engine.log_tail(id, LINES)).await.unwrap_or_default();
        if lines.is_empty() { String::new() } else { format!(" Its last log lines:\n    {}", lines.join("\n    ")) }
    }

    /// Has the proxy let go of the container: its health check is made to fail, and the proxy given its time.
    async fn drain(&self, id: &ContainerId, drain: &Drain) -> Result<(), Mishap> {
        let line = format!(": > '{}'", drain.file.replace('\'', ""));
        // One that cannot be drained is stopped all the same: it is the one that is to go.
        if !matches!(self.answer(self.engine.exec(id, &["/bin/sh", "-c", &line])).await, Ok(0)) {
            return Ok(());
        }
        let deadline = Instant::now() + Duration::from_secs(u64::from(drain.unhealthy));
        while Instant::now() < deadline {
            match self.look(id).await? {
                Some(seen) if seen.container.state.is_live() && seen.container.health != Some(Health::Unhealthy) => {
                    sleep(LOOK).await;
                }
                _ => break,
            }
        }
        sleep(Duration::from_secs(u64::from(drain.then))).await;
        Ok(())
    }
}

/// Of the same resource and destination, for the same set.
pub(super) fn is_of_same(labels: &BTreeMap<String, String>, own: &BTreeMap<String, String>) -> bool {
    [SET, OBJECT, DESTINATION, REPLICA].iter().all(|label| labels.get(*label) == own.get(*label))
}

/// Of a one-shot container for the same resource and destination.
pub(super) fn is_job_for(labels: &BTreeMap<String, String>, own: &BTreeMap<String, String>) -> bool {
    !labels.contains_key(REPLICA)
        && [SET, OBJECT, DESTINATION].iter().all(|label| labels.get(*label) == own.get(*label))
}

/// Made to run the same in the same place.
pub(super) fn is_equal(labels: &BTreeMap<String, String>, own: &BTreeMap<String, String>) -> bool {
    own.get(ROLLOUT).is_some_and(|rollout| labels.get(ROLLOUT) == Some(rollout))
}

fn known(container: &ContainerRef) -> Result<(&ContainerId, &str), Mishap> {
    match container {
        ContainerRef::Existing(container) => Ok((&container.id, &container.name)),
        ContainerRef::Created(name) => {
            let message = format!("The container {name} has not been created.");
            Err(Failure { reason: None, message, hint: None }.into())
        }
    }
}

/// Something else has removed it. `before`: it was what.
pub(super) fn vanished(name: &str, before: &str) -> Failure {
    let message = format!("The container {name} was removed by something else before it was {before}.");
    let hint = "if a controller (`landfall run`) keeps the server, it brings back what its own manifests declare: change those; else apply again";
    Failure { reason: Some(Reason::ContainerMissing), message, hint: Some(hint.to_owned()) }
}

/// Of a container, and not of a network.
fn failure(error: EngineError) -> Failure {
    let taken = error.kind == EngineErrorKind::NameTaken;
    let failure = Failure::from(error);
    if taken { Failure { reason: Some(Reason::NameTaken), ..failure } } else { failure }
}

fn is_updated(seen: &SeenConfig, update: &ContainerUpdate) -> bool {
    let ContainerUpdate { restart, nano_cpus, memory, pids } = update;
    restart.is_none_or(|wanted| seen.restart == Some(wanted))
        && nano_cpus.is_none_or(|wanted| seen.resources.nano_cpus == wanted)
        && memory.is_none_or(|wanted| seen.resources.memory == wanted)
        && pids.is_none_or(|wanted| seen.resources.pids == wanted)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
