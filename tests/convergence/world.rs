//! Manifests and a server in memory, brought together by whole passes: observe, plan, execute.

use std::collections::BTreeMap;

use async_trait::async_trait;
use landfall::core::api::ObjectKey;
use landfall::core::desired::DesiredState;
use landfall::core::observed::{ContainerId, ContainerState, EndpointSettings, ServiceAttachment};
use landfall::core::plan::cut::cut;
use landfall::core::plan::{Cause, Group, Journal, JournalPurpose, Plan, Request};
use landfall::core::report::Outcome;
use landfall::shell::execute::Limits;
use landfall::shell::observe::ObserveLimits;
use landfall::shell::reconcile::{Applied, Pass, Preview};
use landfall::shell::store::file::FileJournals;
use landfall::shell::store::known::Known;
use landfall::shell::store::{JournalError, Journals, Kept};
use tempfile::TempDir;

use crate::support::memory::{MemoryEngine, World};
use crate::support::scenario::Scenario;

pub(super) struct Town {
    pub(super) engine: MemoryEngine,
    pub(super) desired: DesiredState,
    pub(super) request: Request,
    state: TempDir,
}

impl Town {
    /// A server with the running proxy `traefik`, and what the scenario declares; nothing is applied yet.
    pub(super) fn new(scenario: Scenario) -> Self {
        let engine = MemoryEngine::new();
        engine.world().run_container("traefik");
        let state = tempfile::tempdir().expect("a temporary directory");
        Self { engine, desired: scenario.desired, request: scenario.request, state }
    }

    pub(super) fn declare(&mut self, scenario: Scenario) {
        self.desired = scenario.desired;
        self.request = scenario.request;
    }

    pub(super) fn journals(&self) -> FileJournals {
        FileJournals::in_state(self.state.path())
    }

    /// A new connection: what was counted and what was to go wrong is forgotten.
    pub(super) fn reconnect(&mut self) {
        self.engine = self.engine.another();
    }

    pub(super) async fn preview(&self) -> Preview {
        self.preview_after(None).await
    }

    /// After an event about a container.
    pub(super) async fn preview_after(&self, event: Option<(&ObjectKey, ContainerId)>) -> Preview {
        let (journals, known) = (self.journals(), Known::in_state(self.state.path()));
        if let Some((server, container)) = event {
            known.suspect(server, container);
        }
        let pass = Self::pass(&self.desired, &self.request, &journals, &known);
        pass.preview(|_| Ok(self.engine.clone())).await.expect("the journals can be read")
    }

    pub(super) async fn apply(&self) -> Applied {
        self.apply_through(&self.engine).await
    }

    pub(super) async fn apply_through(&self, engine: &MemoryEngine) -> Applied {
        self.apply_but_through(engine, |_| false).await
    }

    /// Leaves out these groups.
    pub(super) async fn apply_but(&self, left_out: impl Fn(&Group) -> bool) -> Applied {
        self.apply_but_through(&self.engine, left_out).await
    }

    /// With journals that take their time.
    pub(super) async fn apply_slowly_through(&self, engine: &MemoryEngine, turns: usize) -> Applied {
        let journals = SlowJournals { journals: self.journals(), turns };
        self.apply_with(engine, &journals, |_| false).await
    }

    async fn apply_but_through(&self, engine: &MemoryEngine, left_out: impl Fn(&Group) -> bool) -> Applied {
        self.apply_with(engine, &self.journals(), left_out).await
    }

    async fn apply_with(
        &self,
        engine: &MemoryEngine,
        journals: &dyn Journals,
        left_out: impl Fn(&Group) -> bool,
    ) -> Applied {
        let known = Known::in_state(self.state.path());
        let pass = Self::pass(&self.desired, &self.request, journals, &known);
        let decide = |_: &_, mut plan: Plan| {
            for server in &mut plan.servers {
                cut(server, &left_out);
            }
            Some(plan)
        };
        let applied = pass.apply(|_| Ok(engine.clone()), decide, &()).await;
        applied.expect("the journals can be read").expect("nobody calls it off")
    }

    fn pass<'a>(
        desired: &'a DesiredState,
        request: &'a Request,
        journals: &'a dyn Journals,
        known: &'a Known,
    ) -> Pass<'a> {
        Pass { desired, request, journals, known, observe: ObserveLimits::default(), execute: Limits::default() }
    }

    /// Applies until it is killed by a call that hangs.
    pub(super) async fn apply_until_killed(&self) -> Option<Applied> {
        tokio::select! {
            applied = self.apply() => Some(applied),
            () = self.engine.hung() => None,
        }
    }

    /// What a person would compare: names, settings and states, no ids, dates or addresses.
    pub(super) fn look(&self) -> Look {
        let world = self.engine.world();
        let known = |name: &String| match world.networks_named(name).first() {
            Some(network) if network.labels.get("landfall.destination").is_some_and(|it| it == "shop/generated") => {
                "(generated)".to_owned()
            }
            _ => name.clone(),
        };
        let mut networks: Vec<_> = world
            .networks
            .values()
            .map(|network| {
                let labels = network.labels.iter().filter(|(label, _)| *label != "landfall.uid");
                let labels = labels.map(|(label, value)| (label.clone(), value.clone())).collect();
                (known(&network.name), labels, network.options.clone())
            })
            .collect();
        networks.sort();
        let containers = world.containers.values().map(|container| {
            let endpoints = container.endpoints.iter().map(|(name, endpoint)| {
                let there = match &endpoint.network_id {
                    Some(id) => world.networks.contains_key(id),
                    None => !world.networks_named(name).is_empty(),
                };
                (known(name), (there, EndpointSettings { mac_address: None, ..endpoint.settings.clone() }))
            });
            (container.name.clone(), (container.state, endpoints.collect()))
        });
        let containers = containers.collect();
        // Each attempt at a forced deletion leaves its record.
        let mut journals = self.journals().load().expect("the journals can be read").journals;
        journals.retain(|journal| journal.purpose == JournalPurpose::Reattach);
        let services = world.services.iter().map(|service| {
            let networks = service.networks.iter().map(|on| {
                let network = world.networks.values().find(|network| on.is(&network.id, &network.name));
                (network.map_or("(gone)".to_owned(), |network| network.name.clone()), on.attachment.clone())
            });
            (service.name.clone(), (service.replicas, networks.collect()))
        });
        let definitions = world.services.iter().filter_map(|it| Some((it.name.clone(), it.definition.as_ref()?)));
        let definitions = definitions.map(|(name, it)| {
            let files = it.files.values().map(|file| file.secret.clone()).collect();
            (name, (it.image.clone(), it.config.env.keys().cloned().collect(), files))
        });
        Look {
            networks,
            containers,
            definitions: definitions.collect(),
            secrets: world.secrets.iter().map(|it| it.name.clone()).collect(),
            services: services.collect(),
            journals: journals.len(),
        }
    }

    pub(super) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.engine.world()
    }
}

/// A disk that lets others go first for a number of turns, before and after everything it does.
#[derive(Debug)]
struct SlowJournals {
    journals: FileJournals,
    turns: usize,
}

#[async_trait]
impl Journals for SlowJournals {
    async fn load(&self) -> Result<Kept, JournalError> {
        turns(self.turns).await;
        let kept = self.journals.load();
        turns(self.turns).await;
        kept
    }

    async fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        turns(self.turns).await;
        let written = self.journals.write(journal);
        turns(self.turns).await;
        written
    }

    async fn remove(&self, journal: &Journal) -> Result<(), JournalError> {
        turns(self.turns).await;
        let removed = self.journals.remove(journal);
        turns(self.turns).await;
        removed
    }
}

pub(super) async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

type Words = BTreeMap<String, String>;
type Endpoints = BTreeMap<String, (bool, EndpointSettings)>;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    networks: Vec<(String, Words, Words)>,
    /// By name: whether each endpoint is on a network that exists, and its settings.
    containers: BTreeMap<String, (ContainerState, Endpoints)>,
    /// By name: how many tasks each has, and how it is on which network.
    services: BTreeMap<String, (Option<u64>, BTreeMap<String, ServiceAttachment>)>,
    /// By name of those that Landfall runs: image, variables and secrets.
    definitions: BTreeMap<String, (String, Vec<String>, Vec<String>)>,
    secrets: Vec<String>,
    journals: usize,
}

/// Operations that failed or were undone.
pub(super) fn trouble(applied: &Applied) -> Vec<String> {
    let operations = applied.report.servers.iter().flat_map(|server| &server.operations);
    operations
        .filter(|it| it.outcome != Outcome::Done || it.operation.cause == Cause::Rollback)
        .map(|it| format!("{} {:?} {:?}", it.operation.call.name(), it.operation.cause, it.outcome))
        .collect()
}
