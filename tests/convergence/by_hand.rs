//! Plans written by hand, for tests of the executor alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use landfall::core::api::{Kind, ObjectKey};
use landfall::core::observed::{ContainerId, EndpointSettings, NetworkId};
use landfall::core::plan::{
    Call, Cause, ContainerTarget, Group, Journal, JournalEndpoint, JournalPurpose, NetworkCreate, NetworkTarget,
    Operation, Plan, Reserved, ServerPlan, ServerType,
};
use landfall::core::report::{OperationReport, Outcome, Report};
use landfall::shell::engine::Writer;
use landfall::shell::execute::{Limits, Writers, execute};
use landfall::shell::store::file::FileJournals;

use crate::support::memory::{MemoryEngine, World, network};

pub(super) fn server() -> ObjectKey {
    ObjectKey::new(Kind::Server, "default", "edge")
}

pub(super) fn destination() -> ObjectKey {
    ObjectKey::new(Kind::Destination, "default", "web")
}

/// `web-net` as Landfall creates it for the destination `web`.
pub(super) fn web_net(uid: &str) -> NetworkCreate {
    let labels = [("landfall.set", "default"), ("landfall.destination", "default/web"), ("landfall.uid", uid)];
    NetworkCreate {
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..network("web-net", "bridge")
    }
}

pub(super) fn marked() -> EndpointSettings {
    EndpointSettings {
        driver_opts: BTreeMap::from([("landfall.set".to_owned(), "default".to_owned())]),
        ..EndpointSettings::default()
    }
}

pub(super) fn plan(groups: Vec<Group>) -> Plan {
    let server = ServerPlan {
        swarm: None,
        server: server(),
        server_type: Some(ServerType::Standalone),
        groups,
        settled: Vec::new(),
        withheld: None,
        notes: Vec::new(),
    };
    Plan { set: "default".to_owned(), servers: vec![server], notes: Vec::new() }
}

pub(super) fn group(operations: Vec<Operation>) -> Group {
    Group {
        object: destination(),
        operations,
        journal: None,
        completes: Vec::new(),
        needs: Vec::new(),
        after: Vec::new(),
    }
}

pub(super) fn operation(call: Call, cause: Cause, undo: Option<Call>) -> Operation {
    Operation { object: destination(), call, cause, disruptive: false, undo }
}

/// The network of that name as it is now, or the one to be created.
pub(super) fn at(world: &World, name: &str) -> NetworkTarget {
    let id = world.networks_named(name).first().map(|network| network.id.clone());
    NetworkTarget { name: name.to_owned(), id }
}

pub(super) fn created(name: &str) -> NetworkTarget {
    NetworkTarget { name: name.to_owned(), id: None }
}

pub(super) fn who(world: &World, name: &str) -> ContainerTarget {
    ContainerTarget { name: name.to_owned(), id: world.container_named(name).id.clone() }
}

pub(super) fn connect(network: NetworkTarget, container: ContainerTarget, settings: EndpointSettings) -> Call {
    Call::ConnectEndpoint { network, container, settings, reserved: Reserved::default() }
}

pub(super) fn disconnect(network: NetworkTarget, container: ContainerTarget) -> Call {
    Call::DisconnectEndpoint { network, container, force: false }
}

/// Creates `web-net` and connects the containers, each in a group of its own, as the planner would.
pub(super) fn setting_up(world: &World, uid: &str, containers: &[&str]) -> Plan {
    let create = group(vec![operation(Call::CreateNetwork(web_net(uid)), Cause::NetworkMissing, None)]);
    let connect = |name: &&str| {
        let call = connect(created("web-net"), who(world, name), marked());
        group(vec![operation(call, Cause::MemberDetached, None)])
    };
    plan(std::iter::once(create).chain(containers.iter().map(connect)).collect())
}

/// Deletes `web-net`, on which only the proxy is.
pub(super) fn deleting(world: &World) -> Plan {
    let network = at(world, "web-net");
    let proxy = who(world, "proxy");
    plan(vec![group(vec![
        operation(
            disconnect(network.clone(), proxy.clone()),
            Cause::DeletionRequested,
            Some(connect(network.clone(), proxy, marked())),
        ),
        operation(Call::RemoveNetwork { network }, Cause::DeletionRequested, None),
    ])])
}

/// Replaces `web-net` with one of another uid and puts the containers back on it.
pub(super) fn reattaching(world: &World, uid: &str) -> Plan {
    let old = world.network_named("web-net");
    let before = web_net(&old.labels["landfall.uid"]);
    let on = at(world, "web-net");
    let endpoints: Vec<JournalEndpoint> = members(world, &old.id)
        .into_iter()
        .map(|(container, settings)| JournalEndpoint { container, settings, was_running: false })
        .collect();
    let mut operations = Vec::new();
    for JournalEndpoint { container, settings, .. } in &endpoints {
        let undo = connect(on.clone(), container.clone(), settings.clone());
        let call = disconnect(on.clone(), container.clone());
        operations.push(operation(call, Cause::NetworkReplaced, Some(undo)));
    }
    let remove = Call::RemoveNetwork { network: on };
    operations.push(operation(remove, Cause::NetworkReplaced, Some(Call::CreateNetwork(before.clone()))));
    let undo = Call::RemoveNetwork { network: created("web-net") };
    operations.push(operation(Call::CreateNetwork(web_net(uid)), Cause::NetworkReplaced, Some(undo)));
    for JournalEndpoint { container, settings, .. } in &endpoints {
        let undo = disconnect(created("web-net"), container.clone());
        let call = connect(created("web-net"), container.clone(), settings.clone());
        operations.push(operation(call, Cause::NetworkReplaced, Some(undo)));
    }
    let journal = Journal {
        services: Vec::new(),
        server: server(),
        destination: destination(),
        purpose: JournalPurpose::Reattach,
        network: before,
        endpoints,
    };
    plan(vec![Group { journal: Some(journal), ..group(operations) }])
}

/// Whoever is on the network, with the settings to pass on connecting.
pub(super) fn members(world: &World, network: &NetworkId) -> Vec<(ContainerTarget, EndpointSettings)> {
    let name = &world.networks[network].name;
    let settings = |container: &crate::support::memory::Container| {
        let settings = container.endpoints.get(name)?.settings.clone();
        let aliases = settings.aliases.into_iter().filter(|alias| alias != container.id.short()).collect();
        Some(EndpointSettings { aliases, mac_address: None, ..settings })
    };
    let target = |container: &crate::support::memory::Container| ContainerTarget {
        name: container.name.clone(),
        id: container.id.clone(),
    };
    world.containers.values().filter_map(|container| Some((target(container), settings(container)?))).collect()
}

pub(super) fn writers(engine: &MemoryEngine) -> Writers {
    BTreeMap::from([(server(), Arc::new(engine.clone()) as Arc<dyn Writer>)])
}

pub(super) async fn carry_out(engine: &MemoryEngine, plan: &Plan) -> Report {
    let state = tempfile::tempdir().expect("a temporary directory");
    carry_out_with(engine, plan, state.path()).await
}

pub(super) async fn carry_out_with(engine: &MemoryEngine, plan: &Plan, state: &Path) -> Report {
    execute(plan, &writers(engine), &FileJournals::in_state(state), &(), Limits::default()).await
}

/// One line per operation: what became of it.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let line = |OperationReport { operation, outcome }: &OperationReport| {
        let subject = match &operation.call {
            Call::CreateNetwork(create) => create.name.clone(),
            Call::ConnectEndpoint { network, container, .. } | Call::DisconnectEndpoint { network, container, .. } => {
                format!("{} {}", network.name, container.name)
            }
            Call::RemoveNetwork { network } => network.name.clone(),
            Call::StartContainer { container } | Call::StopContainer { container } => container.name.clone(),
            Call::RefreshProxy { proxy, .. } => proxy.name.clone(),
            Call::Workload(call) => call.to_string(),
            Call::ScaleService { service, replicas } => format!("{} {replicas}", service.name),
            Call::UpdateService { service, changes } => {
                let networks: Vec<&str> = changes.iter().map(|change| change.network.name.as_str()).collect();
                format!("{} {}", networks.join(" "), service.name)
            }
        };
        let rollback = if operation.cause == Cause::Rollback { "rollback: " } else { "" };
        let outcome = match outcome {
            Outcome::Failed(failure) => match failure.reason {
                Some(reason) => format!("failed, {reason:?}"),
                None => format!("failed, {}", failure.message),
            },
            Outcome::Done => "done".to_owned(),
            Outcome::Skipped => "skipped".to_owned(),
            Outcome::Planned => "planned".to_owned(),
        };
        format!("{rollback}{} {subject}: {outcome}", operation.call.name())
    };
    report.servers.iter().flat_map(|server| &server.operations).map(line).collect()
}

/// Names of the containers that are on the network of that name, by its present id or by name.
pub(super) fn on(world: &World, name: &str) -> Vec<String> {
    let network = world.network_named(name);
    let is_on =
        |endpoint: &crate::support::memory::Endpoint| endpoint.network_id.as_ref().is_none_or(|id| *id == network.id);
    let mut names: Vec<String> = world
        .containers
        .values()
        .filter(|container| container.endpoints.get(name).is_some_and(is_on))
        .map(|container| container.name.clone())
        .collect();
    names.sort();
    names
}

pub(super) fn id_of(world: &World, container: &str) -> ContainerId {
    world.container_named(container).id.clone()
}
