//! Stacks: Docker Compose at work, and what Landfall sees for itself of what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::call::{Caller, Done, Mishap};
use super::workload::{LOOK, RESTARTS};
use crate::core::observed::{ContainerId, ContainerState, Health, NetworkId, ObservedContainer};
use crate::core::plan::workload::call::ComposeUp;
use crate::core::plan::{ContainerTarget, Reason, is_one_off};
use crate::core::report::Failure;
use crate::core::workload::stack::{self, Made};
use crate::shell::compose::{INSTALL, Program, Ran, Work};
use crate::shell::engine::{EngineError, WorkloadDetail};

/// For images to come, beyond the time that the services have to become healthy.
const PULLING: Duration = Duration::from_secs(3600);
/// For everything to stop.
const STOPPING: Duration = Duration::from_secs(1800);
/// A container without a health check that runs for so long is taken to serve.
const STABLE: Duration = Duration::from_secs(3);
/// Characters of what Compose says.
const SAID: usize = 2000;
/// What the remains of a run that was killed are complained about with: the next run is through with them.
const REMAINS: [&str; 5] =
    ["already in progress", "marked for removal", "No such container", "is already in use by container", "Conflict"];

/// What is to be said of one container.
enum Verdict {
    Serves,
    /// It may still come to serve.
    Waits,
    /// It is to blame.
    Failed(String),
}

impl Caller<'_> {
    pub(super) async fn compose_up(&self, up: &ComposeUp) -> Result<Done, Mishap> {
        let stack = &up.stack;
        let made = match &stack.made {
            Ok(made) => made,
            Err(unmade) => {
                let (message, hint) = (unmade.message.clone(), Some(unmade.hint.clone()));
                return Err(Failure { reason: Some(unmade.reason), message, hint }.into());
            }
        };
        let program = find(&stack.project).await?;
        let before: BTreeSet<ContainerId> = {
            let containers = self.of_project(&stack.project).await?;
            containers.into_iter().filter(|it| it.state.is_live()).map(|it| it.id).collect()
        };
        let timeout = stack.health_timeout.to_string();
        let mut words = vec!["up", "-d", "--wait", "--wait-timeout", &timeout, "--quiet-pull"];
        words.extend(up.orphans.then_some("--remove-orphans"));
        words.extend((!made.builds).then_some("--no-build"));
        words.extend(up.anew.then_some("--force-recreate"));
        let work = || Work {
            project: &stack.project,
            directory: Some(&made.directory),
            model: Some(made.model.expose(up.network.as_ref().map(|network| network.name.as_str()))),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            limit: PULLING + Duration::from_secs(u64::from(stack.health_timeout)),
        };
        let mut ran = self.run(&program, work()).await?;
        if !ran.success && REMAINS.iter().any(|text| ran.said.contains(text)) {
            ran = self.run(&program, work()).await?;
        }
        // A service that has ended with success ends Compose's waiting for the others.
        let deadline = Instant::now() + Duration::from_secs(u64::from(stack.health_timeout));
        let waits = ran.success || ran.said.ends_with("exited (0)");
        self.serves(made, &stack.project, &before, &ran, waits.then_some(deadline)).await?;
        self.rename(&stack.project).await?;
        let networks = self.answer(self.engine.networks()).await?;
        let own = |name: &str| made.networks.values().any(|network| network.name == name);
        let networks: Vec<(String, NetworkId)> =
            networks.into_iter().filter(|network| own(&network.name)).map(|it| (it.name, it.id)).collect();
        Ok(Done { networks, ..Done::default() })
    }

    pub(super) async fn compose_down(&self, project: &str, stack: &[ContainerTarget]) -> Result<(), Mishap> {
        let program = find(project).await?;
        let unexpected = self.of_project(project).await?;
        let unexpected = unexpected
            .iter()
            .find(|it| stack::owner(&it.labels).is_none() && stack.iter().all(|known| known.id != it.id));
        if let Some(other) = unexpected {
            let message =
                format!("The container {} has come to be in the project {project}, and is not Landfall's.", other.name);
            let hint = Some("apply again".to_owned());
            return Err(Failure { reason: Some(Reason::OwnershipConflict), message, hint }.into());
        }
        let words = ["down", "--remove-orphans"].map(str::to_owned).to_vec();
        let work = Work { project, directory: None, model: None, words, limit: STOPPING };
        let ran = self.run(&program, work).await?;
        let left = self.of_project(project).await?;
        if let Some(container) = left.first() {
            let said = said(&ran);
            let message = format!("Docker Compose left {} of the stack {project}: {said}", container.name);
            return Err(Failure { reason: None, message, hint: None }.into());
        }
        Ok(())
    }

    async fn run(&self, program: &Program, work: Work<'_>) -> Result<Ran, Mishap> {
        let step = |text: &str| {
            tracing::info!(server = self.server.path(), "{text}");
            self.progress.step(self.server, text);
        };
        let ran = program.run(work, self.engine, &step).await.map_err(|error| Failure {
            reason: Some(Reason::ComposeMissing),
            message: format!("{} cannot be run: {error}.", program.name()),
            hint: Some(INSTALL.to_owned()),
        })?;
        match ran.unreachable {
            Some(error) if !ran.success => Err(error.into()),
            _ => Ok(ran),
        }
    }

    async fn of_project(&self, project: &str) -> Result<Vec<ObservedContainer>, EngineError> {
        let mut containers = self.answer(self.engine.containers()).await?;
        containers.retain(|it| it.labels.get(stack::PROJECT).is_some_and(|of| of == project) && !is_one_off(it));
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Gives containers their names that a run has left behind under those of a replacement: it was killed before it came to that.
    async fn rename(&self, project: &str) -> Result<(), Mishap> {
        let containers = self.of_project(project).await?;
        for container in &containers {
            let Some(name) = stack::name_of_replacement(&container.name) else { continue };
            if containers.iter().all(|other| other.name != name) {
                self.answer(self.engine.rename_container(&container.id, name)).await?;
            }
        }
        Ok(())
    }

    /// Looks at every container of the stack: each is healthy, runs, or has ended with success where it may. `deadline`: until when those are
    /// waited for that are not so far; `None`: Compose has given up.
    async fn serves(
        &self,
        made: &Made,
        project: &str,
        before: &BTreeSet<ContainerId>,
        ran: &Ran,
        deadline: Option<Instant>,
    ) -> Result<(), Mishap> {
        // Since when each was seen to run, without a restart in between.
        let mut running: BTreeMap<ContainerId, (u64, Instant)> = BTreeMap::new();
        loop {
            let mut waiting = None;
            let mut count = 0;
            for container in self.of_project(project).await? {
                let Some(detail) = self.look(&container.id).await? else { continue };
                let service = container.labels.get(stack::SERVICE).cloned().unwrap_or_default();
                let restarts = detail.config.restarts;
                if detail.container.state != ContainerState::Running {
                    running.remove(&container.id);
                } else if running.get(&container.id).is_none_or(|(before, _)| *before != restarts) {
                    running.insert(container.id.clone(), (restarts, Instant::now()));
                }
                let stable = running.get(&container.id).is_some_and(|(_, since)| since.elapsed() >= STABLE);
                let known = before.contains(&container.id) || stable;
                let ends = made.services.get(&service).is_some_and(|it| it.ends);
                match judge(&detail, known, ends) {
                    Verdict::Serves => count += 1,
                    Verdict::Waits => waiting = Some((container, service)),
                    Verdict::Failed(why) => {
                        let words = self.unhealthy(&container.id, &container.name, &why, detail.health_output).await;
                        return Err(to_blame(project, &service, ran, words));
                    }
                }
            }
            let wanted: u32 = made.services.values().map(|service| service.replicas).sum();
            match (waiting, deadline) {
                (None, Some(_)) if count >= wanted => return Ok(()),
                (Some((container, service)), Some(deadline)) if Instant::now() >= deadline => {
                    let detail = self.look(&container.id).await?.and_then(|detail| detail.health_output);
                    let words =
                        self.unhealthy(&container.id, &container.name, "did not become healthy in time", detail).await;
                    return Err(to_blame(project, &service, ran, words));
                }
                (_, Some(deadline)) if Instant::now() < deadline && ran.success => sleep(LOOK).await,
                (Some(_), Some(_)) => sleep(LOOK).await,
                // Compose says why; which service it is waiting for tells more than its name.
                (Some((container, service)), None) if container.state.is_live() && ran.said.contains("healthy") => {
                    let detail = self.look(&container.id).await?.and_then(|detail| detail.health_output);
                    let words = self.unhealthy(&container.id, &container.name, "is not healthy", detail).await;
                    return Err(to_blame(project, &service, ran, words));
                }
                _ => {
                    let message = format!("Docker Compose could not bring the stack {project} up: {}", said(ran));
                    return Err(Failure { reason: Some(reason(&ran.said)), message, hint: None }.into());
                }
            }
        }
    }
}

async fn find(project: &str) -> Result<Program, Mishap> {
    let found = tokio::task::spawn_blocking(Program::find).await.unwrap_or_else(|panic| Err(panic.to_string()));
    let missing = |found| Failure {
        reason: Some(Reason::ComposeMissing),
        message: format!("The stack {project} needs Docker Compose: {found}."),
        hint: Some(INSTALL.to_owned()),
    };
    Ok(found.map_err(missing)?)
}

/// `known`: it has run for a while, or did before.
fn judge(detail: &WorkloadDetail, known: bool, ends: bool) -> Verdict {
    let code = detail.container.exit.as_ref().map_or(0, |exit| exit.code);
    let checked =
        detail.config.healthcheck.as_ref().and_then(|check| check.test.first()).is_some_and(|kind| kind != "NONE");
    match (detail.container.state, detail.container.health) {
        (ContainerState::Running, Some(Health::Healthy)) => Verdict::Serves,
        (ContainerState::Running, Some(Health::Unhealthy)) => Verdict::Failed("is unhealthy".to_owned()),
        (ContainerState::Running, _) if !checked && known => Verdict::Serves,
        (ContainerState::Running | ContainerState::Restarting, _) if !known && detail.config.restarts > RESTARTS => {
            Verdict::Failed(format!("was restarted {} times", detail.config.restarts))
        }
        (ContainerState::Paused, _) => Verdict::Serves,
        (ContainerState::Exited | ContainerState::Dead, _) if ends && code == 0 => Verdict::Serves,
        (ContainerState::Exited | ContainerState::Dead, _) => Verdict::Failed(format!("exited with code {code}")),
        _ => Verdict::Waits,
    }
}

fn to_blame(project: &str, service: &str, ran: &Ran, words: Failure) -> Mishap {
    let compose = if ran.success { String::new() } else { format!(" Compose says: {}", said(ran)) };
    let message = format!("The service {service} of the stack {project} does not serve.{compose} {}", words.message);
    Failure { message, ..words }.into()
}

pub(super) fn said(ran: &Ran) -> String {
    let said: String = ran.said.chars().take(SAID).collect();
    let late = if ran.late { " (it was ended, for it took too long)" } else { "" };
    format!("{}{late}.", said.trim().trim_end_matches('.'))
}

pub(super) fn reason(said: &str) -> Reason {
    let says = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    if says(&["port is already allocated", "address already in use"]) {
        Reason::PortTaken
    } else if says(&["declared as external, but could not be found"]) {
        Reason::NetworkMissing
    } else if says(&["is already in use by container"]) {
        Reason::NameTaken
    } else if says(&["address pool", "fully subnetted"]) {
        Reason::AddressPoolExhausted
    } else if says(&["manifest", "pull", "registry", "No such image", "no such image", "failed to resolve reference"]) {
        Reason::ImageUnavailable
    } else {
        Reason::ComposeInvalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compose_says_is_sorted_by_what_can_be_done_about_it() {
        for (said, expected) in [
            ("Bind for 0.0.0.0:80 failed: port is already allocated", Reason::PortTaken),
            ("network web-net declared as external, but could not be found", Reason::NetworkMissing),
            ("manifest for nginx:nope not found", Reason::ImageUnavailable),
            ("Get \"https://registry-1.docker.io/v2/\": dial tcp", Reason::ImageUnavailable),
            ("could not find an available, non-overlapping IPv4 address pool", Reason::AddressPoolExhausted),
            ("service web: something else", Reason::ComposeInvalid),
        ] {
            assert_eq!(reason(said), expected, "{said}");
        }
    }
}
