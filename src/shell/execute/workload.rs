//! Calls for managed resources, each with the looks that make it safe to repeat: whether a failed one took effect, and when a container that
//! was started serves.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::call::{Caller, Done, Mishap};
use crate::core::observed::{ContainerId, ContainerState, EndpointSettings, Health};
use crate::core::plan::workload::call::{ContainerRef, Drain, Readiness, WorkloadCall};
use crate::core::plan::{ContainerTarget, NetworkTarget, Reason};
use crate::core::report::Failure;
use crate::core::workload::NOWHERE;
use crate::core::workload::database::{ONLY_DUMP, Written};
use crate::core::workload::identity::{OBJECT, UID};
use crate::core::workload::seen::SeenConfig;
use crate::core::workload::{ContainerCreate, ContainerUpdate};
use crate::shell::engine::{EngineError, EngineErrorKind, WorkloadDetail};

/// Between two looks at a container that is about to be ready, or to end.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Lines of a log that a failure shows.
pub(super) const LINES: usize = 10;
/// Longest look into a volume.
const READING: Duration = Duration::from_secs(60);
/// How long the daemon may take for a removal that another has asked for.
const REMOVAL: Duration = Duration::from_secs(10);
/// So many restarts of a container without a health check are a failure.
pub(super) const RESTARTS: u64 = 3;

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
            WorkloadCall::RunJob { container, network, settings, timeout } => {
                self.job(container, network, settings, Duration::from_secs(u64::from(*timeout))).await?;
            }
            WorkloadCall::CheckData { container, declared, needs_log } => {
                self.check_data(container, declared, *needs_log).await?;
            }
            WorkloadCall::CreateContainer { container, network, settings, also, .. } => {
                let id = self.make(container, network, settings).await?;
                self.join(&id, also).await?;
                return Ok(Done { container: Some((container.name.clone(), id)), ..Done::default() });
            }
            WorkloadCall::StartContainer { container, ready, .. } => self.start(container, ready).await?,
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
                if let Err(error) = removed {
                    self.is_removed(id).await?.then_some(()).ok_or_else(|| failure(error))?;
                }
            }
            WorkloadCall::RenameContainer { container, to } => {
                let (id, _) = known(container)?;
                let renamed = self.answer(self.engine.rename_container(id, to)).await;
                self.unless(renamed, id, |seen| seen.is_some_and(|it| it.container.name == *to)).await?;
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

    /// The container of that name: made here, or by a call whose answer did not come.
    async fn make(
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

    /// Reads from a database's volume what wrote the data, with a container that has nothing else to do. What it cannot read it leaves to the
    /// labels.
    async fn check_data(&self, create: &ContainerCreate, declared: &Written, needs_log: bool) -> Result<(), Mishap> {
        self.clear_job(create).await?;
        let nowhere = NetworkTarget { name: NOWHERE.to_owned(), id: None };
        let id = self.make(create, &nowhere, &EndpointSettings::default()).await?;
        let ended = self.run_to_end(&id, READING).await;
        let lines = self.answer(self.engine.log_tail(&id, LINES)).await.unwrap_or_default();
        self.answer(self.engine.discard_container(&id)).await?;
        ended?;
        if needs_log && lines.iter().any(|line| line.trim() == ONLY_DUMP) {
            return Err(only_a_dump(declared).into());
        }
        let Some(before) = lines.iter().find_map(|line| line.parse::<Written>().ok()) else { return Ok(()) };
        if before.is_read_by(declared) {
            return Ok(());
        }
        let message =
            format!("The data was written by {before}, and the manifest declares {declared}; nothing was stopped.");
        let hint = format!(
            "declare {before} again, or dump the data with it and restore the dump into another `storage.volume`"
        );
        Err(Failure { reason: Some(Reason::DataIncompatible), message, hint: Some(hint) }.into())
    }

    async fn start(&self, container: &ContainerRef, ready: &Readiness) -> Result<(), Mishap> {
        let (id, name) = known(container)?;
        let before = self.look(id).await?.map_or(0, |seen| seen.config.restarts);
        if let Err(error) = self.answer(self.engine.start_container(id)).await {
            let seen = self.look(id).await?;
            if !seen.is_some_and(|it| it.container.state.is_live()) {
                return Err(failure(error).into());
            }
        }
        // It was started: what undoes that is done where it does not get ready.
        self.ready(id, name, ready, before).await.map_err(|mishap| Mishap { applied: true, ..mishap })
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
                let message = format!("The container {name} was removed before it was ready.");
                // Its removal says nothing of what it would have come to: the next pass tries again.
                return Err(Failure { reason: Some(Reason::ContainerMissing), message, hint: None }.into());
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

    async fn last_words(&self, id: &ContainerId) -> String {
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

    /// Runs a one-shot container to its end.
    async fn job(
        &self,
        create: &ContainerCreate,
        network: &NetworkTarget,
        settings: &EndpointSettings,
        timeout: Duration,
    ) -> Result<(), Mishap> {
        self.clear_job(create).await?;
        let id = self.make(create, network, settings).await?;
        let ended = self.run_to_end(&id, timeout).await;
        let failed = match ended {
            Ok(Some(0)) => None,
            Ok(Some(code)) => Some(format!("exited with code {code}")),
            Ok(None) => Some(format!("did not end within {} s", timeout.as_secs())),
            Err(error) => {
                let _ = self.answer(self.engine.discard_container(&id)).await;
                return Err(error);
            }
        };
        let words = if failed.is_some() { self.last_words(&id).await } else { String::new() };
        self.answer(self.engine.discard_container(&id)).await?;
        match failed {
            None => Ok(()),
            Some(verdict) => {
                let message = format!("The job {} {verdict}; nothing was replaced.{words}", create.name);
                Err(Failure { reason: Some(Reason::HookFailed), message, hint: None }.into())
            }
        }
    }

    /// A job of that name that an interrupted rollout left behind.
    async fn clear_job(&self, create: &ContainerCreate) -> Result<(), Mishap> {
        let containers = self.answer(self.engine.containers()).await?;
        let Some(left) = containers.iter().find(|it| it.name == create.name) else { return Ok(()) };
        if left.labels.get(OBJECT) != create.labels.get(OBJECT) {
            let message = format!("A container named {} exists, and is not Landfall's.", create.name);
            return Err(Failure { reason: Some(Reason::NameTaken), message, hint: None }.into());
        }
        Ok(self.answer(self.engine.discard_container(&left.id)).await?)
    }

    /// Its exit code; `None`: it has not ended in time.
    async fn run_to_end(&self, id: &ContainerId, timeout: Duration) -> Result<Option<i64>, Mishap> {
        self.answer(self.engine.start_container(id)).await?;
        let deadline = Instant::now() + timeout;
        loop {
            match self.look(id).await? {
                Some(seen) if !seen.container.state.is_live() => {
                    return Ok(Some(seen.container.exit.map_or(0, |exit| exit.code)));
                }
                Some(_) if Instant::now() < deadline => sleep(LOOK).await,
                Some(_) => return Ok(None),
                None => return Ok(Some(-1)),
            }
        }
    }
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

/// A Redis that keeps an append-only file reads nothing else: with none there it begins empty, and its next dump replaces the old one.
fn only_a_dump(declared: &Written) -> Failure {
    let message = format!(
        "The volume has a dump (dump.rdb) and no append-only file, and {declared} would be started with one: it would begin empty and write over \
         the dump; nothing was stopped."
    );
    let hint = "have the server that runs now write one, with the command `CONFIG SET appendonly yes`; or declare `config: appendonly no` to go on \
                with dumps alone";
    Failure { reason: Some(Reason::DataIncompatible), message, hint: Some(hint.to_owned()) }
}
