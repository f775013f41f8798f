//! Stacks on a Swarm: the Docker CLI deploys them, and what comes of it is seen here: whether the tasks of each service run, and why not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::call::{Caller, Done, Mishap};
use super::compose::{reason, said};
use super::service::{Awaited, Bygone};
use crate::core::observed::{ObservedNetwork, ObservedService};
use crate::core::plan::workload::call::StackDeploy;
use crate::core::plan::{Reason, ServiceTarget};
use crate::core::report::Failure;
use crate::core::workload::identity::OBJECT;
use crate::core::workload::stack_file::{NAMESPACE, StackFile, StackFileService};
use crate::shell::compose::{Cli, Deployment, Ran};

/// For the CLI to tell the managers, and the registries to be asked.
const DEPLOYING: Duration = Duration::from_secs(600);
/// A task without a health check that runs for so long is taken to serve.
const STABLE: Duration = Duration::from_secs(3);
/// For the networks of a stack to go: the Swarm lets go of them some time after the last task.
const LETTING_GO: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

impl Caller<'_> {
    pub(super) async fn stack_deploy(&self, deploy: &StackDeploy) -> Result<Done, Mishap> {
        let stack = &deploy.stack;
        let made = match &stack.made {
            Ok(made) => made,
            Err(unmade) => {
                let (message, hint) = (unmade.message.clone(), Some(unmade.hint.clone()));
                return Err(Failure { reason: Some(unmade.reason), message, hint }.into());
            }
        };
        let (project, file) = (stack.project.as_str(), &*made.on_swarm);
        let cli = find(project).await?;
        let before = self.of_stack(project).await?;
        let mut bygone = BTreeMap::new();
        for service in &before {
            let tasks = self.answer(self.engine.service_tasks(&service.id)).await?;
            let ended: Bygone = tasks.into_iter().filter(|task| !task.is_there()).map(|task| task.id).collect();
            bygone.insert(service.name.clone(), ended);
        }
        let deployment = Deployment {
            project,
            file,
            network: deploy.network.as_ref().map(|network| network.name.as_str()),
            prune: deploy.prune,
            moved: deploy.moved,
            limit: DEPLOYING,
        };
        let ran = self.through(cli.deploy(deployment, self.engine, &|text| self.step(text)).await)?;
        if !ran.success {
            let message = format!("`docker stack deploy` could not deploy the stack {project}: {}", said(&ran));
            return Err(Failure { reason: Some(reason(&ran.said)), message, hint: None }.into());
        }
        if deploy.anew {
            for service in &before {
                self.through(cli.restart(&service.name, self.engine).await)?;
            }
        }
        let is_wanted = |service: &&ObservedService| file.services.values().any(|wanted| wanted.name == service.name);
        for gone in before.iter().filter(|service| deploy.prune && !is_wanted(service)) {
            self.tasks_gone(&gone.id, &gone.name).await?;
        }
        let waited = self.stack_serves(deploy, file, &before, &bygone, stack.health_timeout).await;
        waited.map_err(|mishap| Mishap { applied: true, ..mishap })?;
        self.clear(&cli, deploy, file).await;
        let networks = self.answer(self.engine.networks()).await?;
        let own = networks.into_iter().filter(|network| file.networks.contains(&network.name));
        Ok(Done { networks: own.map(|it| (it.name, it.id)).collect(), ..Done::default() })
    }

    /// Waits until every service is as the file says, and tells of the first that is not.
    async fn stack_serves(
        &self,
        deploy: &StackDeploy,
        file: &StackFile,
        before: &[ObservedService],
        bygone: &BTreeMap<String, Bygone>,
        timeout: u32,
    ) -> Result<(), Mishap> {
        let project = &deploy.stack.project;
        let now = self.of_stack(project).await?;
        let none = Bygone::new();
        let waits = file.services.iter().map(|(name, wanted)| {
            let service = now.iter().find(|it| it.name == wanted.name);
            let was = before.iter().find(|it| it.name == wanted.name);
            let bygone = bygone.get(&wanted.name).unwrap_or(&none);
            let changed = deploy.anew
                || was.is_some_and(|was| service.is_none_or(|now| was.labels != now.labels))
                || deploy.differences.iter().any(|it| it.field.starts_with(&format!("{name} ")));
            self.service_serves(service, awaited(wanted, timeout), was.is_some() && changed, bygone)
        });
        let outcomes = join_all(waits).await;
        let failed = file.services.keys().zip(outcomes).find_map(|(name, outcome)| Some((name, outcome.err()?)));
        let Some((name, mishap)) = failed else { return Ok(()) };
        let message = format!("The service {name} of the stack {project} does not serve. {}", mishap.failure.message);
        Err(Mishap { failure: Failure { message, ..mishap.failure }, ..mishap })
    }

    async fn service_serves(
        &self,
        service: Option<&ObservedService>,
        awaited: Awaited,
        updated: bool,
        bygone: &Bygone,
    ) -> Result<(), Mishap> {
        let Some(service) = service else {
            let message = format!("The Swarm service {} was removed while it was deployed.", awaited.name);
            return Err(Failure { reason: None, message, hint: None }.into());
        };
        if awaited.replicas == Some(0) {
            return Ok(());
        }
        let steps =
            u32::try_from(awaited.replicas.unwrap_or(1).div_ceil(service.parallelism.max(1))).unwrap_or(u32::MAX);
        let steps = if updated { steps } else { 1 };
        let time = Duration::from_secs(u64::from(awaited.timeout).saturating_mul(u64::from(steps)));
        let deadline = Instant::now() + time;
        if updated {
            return self.updated(&ServiceTarget::of(service), &awaited, deadline, bygone).await;
        }
        self.tasks_ready(&service.id, &awaited, deadline, bygone).await
    }

    /// Removes secrets and configs of former contents: one that a service still refers to stays.
    async fn clear(&self, cli: &Cli, deploy: &StackDeploy, file: &StackFile) {
        let (object, project) = (&file.object, &deploy.stack.project);
        for (kind, word) in [("secrets", "secret"), ("configs", "config")] {
            let current: BTreeSet<&str> =
                file.files.iter().filter(|it| it.kind == kind).map(|it| it.name.as_str()).collect();
            let listed = cli.list(word, &format!("{OBJECT}={object}"), self.engine).await.unwrap_or_default();
            let is_of = |name: &String| name.strip_prefix(project.as_str()).is_some_and(|rest| rest.starts_with('_'));
            let former: Vec<String> =
                listed.into_iter().filter(|name| is_of(name) && !current.contains(name.as_str())).collect();
            if !former.is_empty() {
                // What stays is removed after a later deployment, or with the stack.
                let _ = cli.discard(word, &former, self.engine).await;
            }
        }
    }

    pub(super) async fn stack_remove(&self, project: &str) -> Result<(), Mishap> {
        let cli = find(project).await?;
        let services = self.of_stack(project).await?;
        let deadline = Instant::now() + LETTING_GO;
        let mut ran = self.through(cli.remove(project, self.engine, &|text| self.step(text)).await)?;
        for service in &services {
            self.tasks_gone(&service.id, &service.name).await?;
        }
        loop {
            let left = self.left_of(project).await?;
            let Some(left) = left else { return Ok(()) };
            if Instant::now() >= deadline {
                let message = format!("`docker stack rm` left {left} of the stack {project}: {}", said(&ran));
                let hint = Some("see what is on it: docker network inspect --verbose NETWORK".to_owned());
                return Err(Failure { reason: None, message, hint }.into());
            }
            sleep(LOOK).await;
            ran = self.through(cli.remove(project, self.engine, &|_| {}).await)?;
        }
    }

    /// A service or a network of the stack that is still there.
    async fn left_of(&self, project: &str) -> Result<Option<String>, Mishap> {
        if let Some(service) = self.of_stack(project).await?.first() {
            return Ok(Some(format!("the service {}", service.name)));
        }
        let networks = self.answer(self.engine.networks()).await?;
        let is_of = |it: &&ObservedNetwork| it.labels.get(NAMESPACE).is_some_and(|of| of == project);
        Ok(networks.iter().find(is_of).map(|network| format!("the network {}", network.name)))
    }

    async fn of_stack(&self, project: &str) -> Result<Vec<ObservedService>, Mishap> {
        let mut services = self.answer(self.engine.services()).await?;
        services.retain(|it| it.labels.get(NAMESPACE).is_some_and(|of| of == project));
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(services)
    }

    fn step(&self, text: &str) {
        tracing::info!(server = self.server.path(), "{text}");
        self.progress.step(self.server, text);
    }

    fn through(&self, ran: std::io::Result<Ran>) -> Result<Ran, Mishap> {
        let ran = ran.map_err(|error| Failure {
            reason: Some(Reason::ComposeMissing),
            message: format!("docker cannot be run: {error}."),
            hint: Some(Cli::INSTALL.to_owned()),
        })?;
        match ran.unreachable {
            Some(error) if !ran.success => Err(error.into()),
            _ => Ok(ran),
        }
    }
}

fn awaited(wanted: &StackFileService, timeout: u32) -> Awaited {
    Awaited {
        name: wanted.name.clone(),
        replicas: wanted.replicas,
        ends: wanted.ends,
        timeout,
        stable: if wanted.checked { Duration::ZERO } else { STABLE },
    }
}

async fn find(project: &str) -> Result<Cli, Mishap> {
    let found = tokio::task::spawn_blocking(Cli::find).await.unwrap_or_else(|panic| Err(panic.to_string()));
    let missing = |found| Failure {
        reason: Some(Reason::ComposeMissing),
        message: format!("The stack {project} is to be deployed on a Swarm, and {found}."),
        hint: Some(Cli::INSTALL.to_owned()),
    };
    Ok(found.map_err(missing)?)
}
