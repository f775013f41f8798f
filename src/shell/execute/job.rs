//! One-shot containers of a rollout, each run by one applier at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::call::{Caller, Mishap};
use super::workload::{LINES, LOOK, START, is_equal, is_job_for, is_of_same, vanished};
use crate::core::observed::{ContainerId, ContainerState, EndpointSettings, ObservedContainer};
use crate::core::plan::workload::call::ContainerRef;
use crate::core::plan::{NetworkTarget, Reason};
use crate::core::report::Failure;
use crate::core::workload::database::{ONLY_DUMP, Written};
use crate::core::workload::identity::OBJECT;
use crate::core::workload::{ContainerCreate, NOWHERE};

/// Longest look into a volume.
const READING: Duration = Duration::from_secs(60);

impl Caller<'_> {
    /// Reads from a database's volume what wrote the data, with a container that has nothing else to do. What it cannot read it leaves to the
    /// labels.
    pub(super) async fn check_data(
        &self,
        create: &ContainerCreate,
        declared: &Written,
        needs_log: bool,
    ) -> Result<(), Mishap> {
        self.clear_job(create, |_| true).await?;
        let nowhere = NetworkTarget { name: NOWHERE.to_owned(), id: None };
        let id = self.make(create, &nowhere, &EndpointSettings::default()).await?;
        let ended = self.run_to_end(&id, &create.name, READING).await;
        let lines = self.answer(self.engine.log_tail(&id, LINES)).await.unwrap_or_default();
        self.discard(&id).await?;
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

    /// Runs a one-shot container to its end. `before`: what is started then; if that is started already, another applier has seen to both.
    pub(super) async fn job(
        &self,
        create: &ContainerCreate,
        before: Option<&ContainerRef>,
        network: &NetworkTarget,
        settings: &EndpointSettings,
        timeout: Duration,
    ) -> Result<Option<ContainerId>, Mishap> {
        let deadline = Instant::now() + START;
        let (id, ended) = loop {
            if let Some(id) = self.begun_job(create).await? {
                let ended = self.wait_for_end(&id, timeout).await;
                break (id, ended);
            }
            if !self.is_awaited(before).await? {
                return Ok(None);
            }
            self.clear_job(create, |left| !is_equal(left, &create.labels)).await?;
            match self.make(create, network, settings).await {
                // What came before this one is removed only after the start.
                Ok(id) if !self.is_awaited(before).await? => {
                    self.discard(&id).await?;
                    return Ok(None);
                }
                Ok(id) => {
                    let ended = self.run_to_end(&id, &create.name, timeout).await;
                    break (id, ended);
                }
                // Another was first, and is listed in a moment.
                Err(mishap) if mishap.failure.reason == Some(Reason::NameTaken) && Instant::now() < deadline => {
                    sleep(LOOK).await;
                }
                Err(mishap) => return Err(mishap),
            }
        };
        let failed = match ended {
            Ok(None) if self.look(&id).await?.is_none() => {
                // Whoever took away both is no other applier.
                self.is_awaited(before).await?;
                let message = format!("another process has run {}, and goes on with what it made of that", create.name);
                return Err(Failure { reason: Some(Reason::RolloutInProgress), message, hint: None }.into());
            }
            Ok(Some(0)) => None,
            Ok(Some(code)) => Some(format!("exited with code {code}")),
            Ok(None) => Some(format!("did not end within {} s", timeout.as_secs())),
            Err(error) => {
                let _ = self.discard(&id).await;
                return Err(error);
            }
        };
        if failed.is_none() && before.is_some() {
            return Ok(Some(id));
        }
        let words = if failed.is_some() { self.last_words(&id).await } else { String::new() };
        self.discard(&id).await?;
        match failed {
            None => Ok(None),
            Some(verdict) => {
                let message = format!("The job {} {verdict}; nothing was replaced.{words}", create.name);
                Err(Failure { reason: Some(Reason::HookFailed), message, hint: None }.into())
            }
        }
    }

    /// Whether what the job is run for has not been started.
    async fn is_awaited(&self, started: Option<&ContainerRef>) -> Result<bool, Mishap> {
        let Some(started) = started.and_then(ContainerRef::existing) else { return Ok(true) };
        match self.look(&started.id).await? {
            Some(seen) => Ok(seen.container.state == ContainerState::Created),
            None => Err(vanished(&started.name, "started").into()),
        }
    }

    /// Removes the job that has run before a container that is started now.
    pub(super) async fn clear_run_job(&self, name: &str, started: &ContainerId) -> Result<(), Mishap> {
        let containers = self.answer(self.engine.containers()).await?;
        let Some(container) = containers.iter().find(|it| it.id == *started) else { return Ok(()) };
        let is_own = |it: &&ObservedContainer| {
            it.name == name && !it.state.is_live() && is_job_for(&it.labels, &container.labels)
        };
        match containers.iter().find(is_own) {
            Some(job) => self.discard(&job.id).await,
            None => Ok(()),
        }
    }

    /// The very job, begun by another applier or by one that is no more: killed in the middle, a migration is worse than none. One that has ended
    /// tells what it came to.
    async fn begun_job(&self, create: &ContainerCreate) -> Result<Option<ContainerId>, Mishap> {
        let deadline = Instant::now() + START;
        loop {
            let containers = self.answer(self.engine.containers()).await?;
            let is_it = |it: &&ObservedContainer| {
                it.name == create.name && is_of_same(&it.labels, &create.labels) && is_equal(&it.labels, &create.labels)
            };
            match containers.iter().find(is_it) {
                // It is about to be started.
                Some(job) if job.state == ContainerState::Created && Instant::now() < deadline => sleep(LOOK).await,
                Some(job) if job.state == ContainerState::Created => {
                    self.discard(&job.id).await?;
                    return Ok(None);
                }
                job => return Ok(job.map(|job| job.id.clone())),
            }
        }
    }

    /// A job of that name that an interrupted rollout left behind. `is_left` is told its labels: another applier may have made it a moment ago.
    async fn clear_job(
        &self,
        create: &ContainerCreate,
        is_left: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<(), Mishap> {
        let containers = self.answer(self.engine.containers()).await?;
        let Some(left) = containers.iter().find(|it| it.name == create.name) else { return Ok(()) };
        if left.labels.get(OBJECT) != create.labels.get(OBJECT) {
            let message = format!("A container named {} exists, and is not Landfall's.", create.name);
            return Err(Failure { reason: Some(Reason::NameTaken), message, hint: None }.into());
        }
        if is_left(&left.labels) { self.discard(&left.id).await } else { Ok(()) }
    }

    /// Its exit code; `None`: it has not ended in time.
    async fn run_to_end(&self, id: &ContainerId, name: &str, timeout: Duration) -> Result<Option<i64>, Mishap> {
        self.set_going(id, name).await?;
        self.wait_for_end(id, timeout).await
    }

    async fn wait_for_end(&self, id: &ContainerId, timeout: Duration) -> Result<Option<i64>, Mishap> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.look(id).await? {
                Some(seen) if !seen.container.state.is_live() => {
                    return Ok(Some(seen.container.exit.map_or(0, |exit| exit.code)));
                }
                Some(_) if Instant::now() < deadline => sleep(LOOK).await,
                Some(_) => return Ok(None),
                None => return Ok(None),
            }
        }
    }
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
