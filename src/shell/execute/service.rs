//! Swarm services that Landfall runs. The Swarm replaces their tasks, and rolls back where one of the new ones fails: it is watched until it is
//! through, for it tells nobody by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::call::{Caller, Mishap};
use super::workload::{LINES, RESTARTS};
use crate::core::observed::{NetworkId, ObservedService, ServiceId};
use crate::core::plan::workload::call::{ServiceRef, ServiceRollout};
use crate::core::plan::{Reason, ServiceTarget};
use crate::core::report::Failure;
use crate::core::workload::Value;
use crate::core::workload::identity::UID;
use crate::core::workload::service::{ServiceTask, UpdateStatus};
use crate::shell::engine::{EngineError, EngineErrorKind, ServiceUpdate};

/// Between two looks at a service.
const LOOK: Duration = Duration::from_millis(500);
/// How long an update may be without a word of how it goes.
const SILENT: Duration = Duration::from_secs(10);
/// Longest wait for tasks of a service that is gone, beyond the time that they have to stop.
const ENDING: Duration = Duration::from_secs(60);
/// Longest wait for a rollback: it starts what ran before.
const ROLLBACK: Duration = Duration::from_secs(300);

/// Ids of tasks that had ended before.
pub(super) type Bygone = BTreeSet<String>;

/// What is waited for of one service.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    pub(super) name: String,
    /// Tasks; `None`: as many as there are nodes for.
    pub(super) replicas: Option<u64>,
    /// A task may end by itself, with success.
    pub(super) ends: bool,
    /// Seconds that the tasks have.
    pub(super) timeout: u32,
    /// For how long they have to run.
    pub(super) stable: Duration,
}

impl Awaited {
    fn of(rollout: &ServiceRollout) -> Self {
        let ServiceRollout { create, ready, .. } = rollout;
        let checked = create.template.healthcheck.as_ref();
        let checked = checked.is_some_and(|check| check.test.first().is_some_and(|kind| kind != "NONE"));
        Self {
            name: create.name.clone(),
            replicas: Some(create.replicas),
            ends: false,
            timeout: ready.timeout,
            stable: Duration::from_secs(if checked { 0 } else { u64::from(ready.stable) }),
        }
    }

    /// Whether a task is as it is to be.
    fn serves(&self, task: &ServiceTask) -> bool {
        (task.state == "running" && task.desired_state == "running") || (self.ends && task.state == "complete")
    }

    /// Whether these are enough.
    fn is_met(&self, serving: usize, tasks: &[ServiceTask]) -> bool {
        match self.replicas {
            Some(replicas) => serving as u64 >= replicas,
            None => serving > 0 && tasks.iter().all(|task| task.desired_state != "running" || self.serves(task)),
        }
    }

    fn wanted(&self) -> String {
        self.replicas.map_or_else(|| "all of its".to_owned(), |replicas| replicas.to_string())
    }
}

impl Caller<'_> {
    pub(super) async fn create_secret(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        content: &Value,
    ) -> Result<(), Mishap> {
        let Err(error) = self.answer(self.engine.create_secret(name, labels, content)).await else { return Ok(()) };
        // Made by a call whose answer did not come, or by an earlier pass: the same name is the same content.
        let secrets = self.answer(self.engine.secrets()).await?;
        match secrets.iter().find(|secret| secret.name == name) {
            Some(secret) if is_alike(&secret.labels, labels) => Ok(()),
            Some(_) => {
                let message = format!("A Swarm secret named {name} exists, and Landfall did not make it.");
                let hint = Some(format!("remove it: docker secret rm {name}"));
                Err(Failure { reason: Some(Reason::NameTaken), message, hint }.into())
            }
            None => Err(error.into()),
        }
    }

    pub(super) async fn remove_secret(&self, name: &str, uid: &str) -> Result<(), Mishap> {
        let secrets = self.answer(self.engine.secrets()).await?;
        let own = secrets.iter().find(|it| it.name == name && it.labels.get(UID).is_some_and(|it| it == uid));
        let Some(secret) = own else { return Ok(()) };
        if let Err(error) = self.answer(self.engine.remove_secret(&secret.id)).await
            && self.answer(self.engine.secrets()).await?.iter().any(|it| it.id == secret.id)
        {
            return Err(error.into());
        }
        Ok(())
    }

    pub(super) async fn create_service(&self, rollout: &ServiceRollout) -> Result<(), Mishap> {
        let ServiceRollout { create, network, ready, .. } = rollout;
        let network = known(network.id.as_ref(), &network.name)?;
        let id = match self.answer(self.engine.create_service(create, network)).await {
            Ok(id) => id,
            Err(error) => {
                let services = self.answer(self.engine.services()).await?;
                let own = services.iter().find(|it| {
                    it.name == create.name && it.labels.get(UID).is_some_and(|uid| create.labels.get(UID) == Some(uid))
                });
                match own {
                    Some(service) => service.id.clone(),
                    None => return Err(refused(error).into()),
                }
            }
        };
        // It was made: what undoes that is done where it does not get ready.
        let deadline = Instant::now() + Duration::from_secs(u64::from(ready.timeout));
        let ready = self.tasks_ready(&id, &Awaited::of(rollout), deadline, &Bygone::new()).await;
        ready.map_err(|mishap| Mishap { applied: true, ..mishap })
    }

    /// Waits until as many tasks run as are declared: a task runs once it is healthy, where it has a health check.
    pub(super) async fn tasks_ready(
        &self,
        id: &ServiceId,
        awaited: &Awaited,
        deadline: Instant,
        bygone: &Bygone,
    ) -> Result<(), Mishap> {
        let mut since: Option<Instant> = None;
        let mut running: Vec<String> = Vec::new();
        loop {
            let tasks = self.tasks_since(id, bygone).await?;
            let now: Vec<String> =
                tasks.iter().filter(|task| awaited.serves(task)).map(|task| task.id.clone()).collect();
            if awaited.is_met(now.len(), &tasks) {
                if now != running {
                    (running, since) = (now, Some(Instant::now()));
                }
                if since.is_some_and(|since| since.elapsed() >= awaited.stable) {
                    return Ok(());
                }
            } else {
                since = None;
                running = Vec::new();
            }
            let failed = tasks.iter().filter(|task| task.has_failed()).count() as u64;
            let hopeless = tasks.iter().any(|task| task.has_failed() && is_hopeless(&task.error));
            let late = Instant::now() >= deadline;
            if hopeless || failed > RESTARTS || late {
                let verdict = match tasks.iter().find(|task| task.has_failed()) {
                    _ if late => {
                        format!("had not {} running tasks within {} s", awaited.wanted(), awaited.timeout)
                    }
                    Some(_) if failed > 1 => format!("lost {failed} tasks"),
                    _ => "lost a task".to_owned(),
                };
                return Err(self.task_failure(&awaited.name, &verdict, &tasks, None).await.into());
            }
            sleep(LOOK).await;
        }
    }

    /// What became of the task that failed, and its last words: whoever reads the failure need not look for its node.
    async fn task_failure(&self, name: &str, verdict: &str, tasks: &[ServiceTask], named: Option<&str>) -> Failure {
        let mut message = format!("The Swarm service {name} {verdict}.");
        let failed = || tasks.iter().find(|task| task.has_failed());
        let waits = || tasks.iter().find(|task| !task.error.is_empty() && task.desired_state == "running");
        let blamed = named.and_then(|id| tasks.iter().find(|task| task.id == id && !task.error.is_empty()));
        let task = blamed.or_else(failed).or_else(waits);
        let mut reason = Reason::HealthCheckFailed;
        if let Some(task) = task {
            if !task.error.is_empty() {
                message.push_str(&format!(" A task of it: {}: {}.", task.state, task.error.trim_end_matches('.')));
            }
            if task.error.contains("No such image") {
                reason = Reason::ImageUnavailable;
            }
        }
        // Of one that never came to start there is none.
        let last =
            task.filter(|task| task.container.is_some()).or_else(|| tasks.iter().find(|it| it.container.is_some()));
        if let Some(task) = last {
            let lines = self.answer(self.engine.task_log_tail(&task.id, LINES)).await.unwrap_or_default();
            if !lines.is_empty() {
                message.push_str(&format!(" Its last log lines:\n    {}", lines.join("\n    ")));
            }
        }
        Failure { reason: Some(reason), message, hint: Some(format!("docker service ps --no-trunc {name}")) }
    }

    pub(super) async fn roll_out_service(
        &self,
        service: &ServiceTarget,
        rollout: &ServiceRollout,
        anew: bool,
    ) -> Result<(), Mishap> {
        let ServiceRollout { create, network, ready, parallelism, .. } = rollout;
        let network = known(network.id.as_ref(), &network.name)?;
        let bygone = self.answer(self.engine.service_tasks(&service.id)).await?;
        let bygone: Bygone = bygone.into_iter().filter(|task| !task.is_there()).map(|task| task.id).collect();
        let update = ServiceUpdate::Definition { create, network, anew };
        self.update_service(service, update).await?;
        let at_once = if *parallelism == 0 { create.replicas.max(1) } else { *parallelism };
        let steps = u32::try_from(create.replicas.div_ceil(at_once).max(1)).unwrap_or(u32::MAX);
        let time = Duration::from_secs(u64::from(ready.timeout).saturating_mul(u64::from(steps)));
        let deadline = Instant::now() + time;
        if create.replicas == 0 {
            return Ok(());
        }
        let awaited = Awaited::of(rollout);
        if !rollout.restarts() {
            return self.tasks_ready(&service.id, &awaited, deadline, &bygone).await;
        }
        self.updated(service, &awaited, deadline, &bygone).await
    }

    /// Without those that had ended before: a Swarm keeps some of them, with how they failed.
    async fn tasks_since(&self, id: &ServiceId, bygone: &Bygone) -> Result<Vec<ServiceTask>, EngineError> {
        let mut tasks = self.answer(self.engine.service_tasks(id)).await?;
        tasks.retain(|task| !bygone.contains(&task.id));
        Ok(tasks)
    }

    /// Waits for the end of an update. One that takes too long is rolled back.
    pub(super) async fn updated(
        &self,
        service: &ServiceTarget,
        awaited: &Awaited,
        deadline: Instant,
        bygone: &Bygone,
    ) -> Result<(), Mishap> {
        let begun = Instant::now();
        loop {
            let seen = self.service_by_id(service).await?;
            let status = status(&seen);
            match status.map(|it| it.state.as_str()) {
                Some("completed") => return Ok(()),
                Some("rollback_started" | "rollback_paused" | "rollback_completed" | "paused") => {
                    return Err(self.rolled_back(service, status, None, bygone).await);
                }
                // Nothing had to be replaced, or the Swarm has not begun.
                None if begun.elapsed() > SILENT => {
                    return self.tasks_ready(&service.id, awaited, deadline, bygone).await;
                }
                _ => {}
            }
            if Instant::now() >= deadline {
                let why = format!("was not through within {} s", deadline.duration_since(begun).as_secs());
                if let Err(error) = self.update_service(service, ServiceUpdate::RolledBack).await {
                    let mut failure = error.failure;
                    failure.message = format!(
                        "The update of the Swarm service {} {why}, and it could not be rolled back: {}",
                        service.name, failure.message
                    );
                    return Err(Failure { reason: Some(Reason::HealthCheckFailed), ..failure }.into());
                }
                return Err(self.rolled_back(service, None, Some(why), bygone).await);
            }
            sleep(LOOK).await;
        }
    }

    /// Waits for the end of a rollback, and says what it was for. `why`: it was asked for here.
    async fn rolled_back(
        &self,
        service: &ServiceTarget,
        status: Option<&UpdateStatus>,
        why: Option<String>,
        bygone: &Bygone,
    ) -> Mishap {
        // Tasks are forgotten in time: what failed is looked for at once.
        let tasks = self.tasks_since(&service.id, bygone).await.unwrap_or_default();
        let task = status.and_then(|status| task_in(&status.message)).map(str::to_owned);
        let mut end = status.map(|it| it.state.clone()).unwrap_or_default();
        let deadline = Instant::now() + ROLLBACK;
        while matches!(end.as_str(), "" | "updating" | "rollback_started") && Instant::now() < deadline {
            sleep(LOOK).await;
            match self.service_by_id(service).await {
                Ok(seen) => end = self::status(&seen).map(|it| it.state.clone()).unwrap_or_default(),
                Err(mishap) => return mishap,
            }
        }
        let name = &service.name;
        let why = why.unwrap_or_else(|| "lost a task while it was updated".to_owned());
        let verdict = match end.as_str() {
            "rollback_completed" => format!("{why}, and the Swarm has rolled it back: it runs as it did before"),
            "paused" => format!(
                "{why}, and the Swarm has paused the update: what ran before serves on as far as it was not replaced"
            ),
            "rollback_paused" => format!("{why}, and the rollback is paused as well"),
            _ => format!("{why}, and its rollback is not through"),
        };
        let failure = self.task_failure(name, &verdict, &tasks, task.as_deref()).await;
        let hint = match end.as_str() {
            "paused" => Some(format!("docker service rollback {name}; then change the manifest or the image")),
            "rollback_completed" => Some("change the manifest or the image".to_owned()),
            _ => failure.hint.clone(),
        };
        Failure { hint, ..failure }.into()
    }

    async fn service_by_id(&self, service: &ServiceTarget) -> Result<ObservedService, Mishap> {
        let seen = self.answer(self.engine.service(&service.id)).await?;
        seen.ok_or_else(|| {
            let message = format!("The Swarm service {} was removed while it was updated.", service.name);
            Failure { reason: None, message, hint: None }.into()
        })
    }

    pub(super) async fn stop_service(&self, service: &ServiceTarget) -> Result<(), Mishap> {
        self.update_service(service, ServiceUpdate::Replicas(0)).await?;
        self.tasks_gone(&service.id, &service.name).await.map_err(|mishap| Mishap { applied: true, ..mishap })
    }

    pub(super) async fn remove_service(&self, service: &ServiceRef) -> Result<(), Mishap> {
        let id = match service {
            ServiceRef::Existing(service) => service.id.clone(),
            ServiceRef::Created { name, uid } => {
                let services = self.answer(self.engine.services()).await?;
                let own = services.iter().find(|it| it.name == *name && it.labels.get(UID) == Some(uid));
                match own {
                    Some(service) => service.id.clone(),
                    None => return Ok(()),
                }
            }
        };
        if let Err(error) = self.answer(self.engine.remove_service(&id)).await
            && self.answer(self.engine.service(&id)).await?.is_some()
        {
            return Err(refused(error).into());
        }
        self.tasks_gone(&id, service.name()).await
    }

    /// They hold the network, and the volumes.
    pub(super) async fn tasks_gone(&self, id: &ServiceId, name: &str) -> Result<(), Mishap> {
        let deadline = Instant::now() + ENDING;
        loop {
            let tasks = match self.answer(self.engine.service_tasks(id)).await {
                Ok(tasks) => tasks,
                // Of a service that is gone, some managers know no tasks.
                Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            // Of a node that is down nobody hears again.
            if !tasks.iter().any(ServiceTask::is_there) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let message =
                    format!("The tasks of the Swarm service {name} have not ended within {} s.", ENDING.as_secs());
                let hint = Some("see whether their node is up: docker node ls".to_owned());
                return Err(Failure { reason: None, message, hint }.into());
            }
            sleep(LOOK).await;
        }
    }
}

fn status(service: &ObservedService) -> Option<&UpdateStatus> {
    service.definition.as_ref()?.update.as_ref()
}

/// As in `update rolled back due to failure or early termination of task 0123456789abcdefghijklmno`.
fn task_in(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(" task ")?;
    let id = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    (!id.is_empty()).then_some(id)
}

/// What another try does not change.
fn is_hopeless(error: &str) -> bool {
    ["unhealthy container", "No such image", "executable file not found", "invalid mount"]
        .iter()
        .any(|words| error.contains(words))
}

fn is_alike(seen: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    use crate::core::workload::identity::{DESTINATION, OBJECT, SET};
    [SET, OBJECT, DESTINATION].iter().all(|key| seen.get(*key) == wanted.get(*key))
}

fn known<'a>(id: Option<&'a NetworkId>, name: &str) -> Result<&'a NetworkId, Mishap> {
    id.ok_or_else(|| {
        let message = format!("The network {name} has not been created.");
        Failure { reason: None, message, hint: None }.into()
    })
}

/// Of a service, and not of a network.
fn refused(error: EngineError) -> Failure {
    let taken = error.kind == EngineErrorKind::NameTaken;
    let failure = Failure::from(error);
    if taken { Failure { reason: Some(Reason::NameTaken), ..failure } } else { failure }
}
