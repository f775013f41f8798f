//! What a server looks like after the calls of a rollout: the images are there and what they do is chosen by their tag.
//!
//! `:sick` never gets healthy, whatever it is asked.

use std::collections::BTreeMap;

use landfall::core::api::RestartPolicy;
use landfall::core::observed::{
    ContainerId, ContainerState, Exit, Health, NetworkId, ObservedContainer, ObservedEndpoint, ObservedService,
    ObservedState, ServiceAttachment, ServiceId, ServiceNetwork, TaskCount,
};
use landfall::core::plan::workload::call::{ComposeUp, ContainerRef, ServiceRef, StackDeploy, WorkloadCall};
use landfall::core::workload::compare::wrapped;
use landfall::core::workload::identity::{Applied, DRAIN, FILES, UID, files_label};
use landfall::core::workload::secret::fingerprint;
use landfall::core::workload::seen::{ImageState, SeenConfig, SeenImage, SeenMount, SeenValue, is_anonymous};
use landfall::core::workload::service::{SeenSecret, SeenService, ServiceCreate, UpdateStatus};
use landfall::core::workload::{ContainerCreate, HostPort, Mount, MountSource, Port, Value, stack, stack_file};

use super::scenario::hex_id;

/// The image that a reference stands for.
pub fn image(reference: &str) -> SeenImage {
    SeenImage { id: format!("sha256:{}", hex_id(reference)), ..SeenImage::default() }
}

/// What it was made with, as inspection shows it.
fn config(create: &ContainerCreate, id: &ContainerId) -> SeenConfig {
    let template = &create.template;
    let applied = Applied::read(&create.labels);
    let check = template.healthcheck.clone();
    let check = check.map(|check| if create.drainable { wrapped(&check, "/landfall-drain").unwrap() } else { check });
    let anonymous = |mount: &Mount| matches!(&mount.source, MountSource::Volume(name) if is_anonymous(name));
    let declared = template.mounts.iter().map(|it| SeenMount { mount: it.clone(), anonymous: anonymous(it) });
    SeenConfig {
        image_id: image(&create.image).id,
        entrypoint: template.entrypoint.clone().unwrap_or_default(),
        command: template.command.clone().unwrap_or_default(),
        working_dir: template.working_dir.clone().unwrap_or_default(),
        user: template.user.clone().unwrap_or_default(),
        hostname: template.hostname.clone().unwrap_or_else(|| id.short().to_owned()),
        init: template.init,
        stop_signal: template.stop_signal.clone().unwrap_or_default(),
        stop_grace: template.stop_grace,
        env: template
            .env
            .iter()
            .map(|(name, value)| {
                let text = match value {
                    Value::Literal(text) => text.clone(),
                    Value::Secret(secret) => secret.expose().unwrap().to_owned(),
                };
                let literal = applied.env.contains(name).then(|| text.clone());
                (name.clone(), SeenValue { fingerprint: Some(fingerprint(&text, id.as_str())), literal })
            })
            .collect(),
        ports: template.ports.clone(),
        mounts: declared.collect(),
        tmpfs: template.tmpfs.clone(),
        restart: template.restart,
        resources: template.resources,
        healthcheck: check,
        read_only: template.read_only,
        cap_add: template.cap_add.clone(),
        cap_drop: template.cap_drop.clone(),
        extra_hosts: template.extra_hosts.clone(),
        logging: template.logging.clone(),
        restarts: 0,
        started: String::new(),
    }
}

/// Does one call. The error is what the executor would report.
pub fn perform(state: &mut ObservedState, call: &WorkloadCall) -> Result<(), String> {
    match call {
        WorkloadCall::PullImage { reference } => {
            let pulled = ImageState { local: Some(image(reference)), ..ImageState::default() };
            state.images.insert(reference.clone(), pulled);
        }
        WorkloadCall::CreateVolume { name, labels } => {
            // One that is there already is left as it is.
            state.volumes.entry(name.clone()).or_insert_with(|| labels.clone());
        }
        WorkloadCall::RunJob { container, before, network, settings, .. } => {
            if state.containers.iter().any(|it| it.name == container.name) {
                // It has run, and the one before did not get further.
                return Ok(());
            }
            if container.image.ends_with(":sick") {
                return Err("the job failed".to_owned());
            }
            if before.is_some() {
                create(state, container, network, settings);
                find(state, &ContainerRef::Created(container.name.clone())).state = ContainerState::Exited;
            }
        }
        WorkloadCall::CheckData { .. } => {}
        WorkloadCall::CreateContainer { container, network, settings, also, .. } => {
            create(state, container, network, settings);
            let further: Vec<ObservedEndpoint> = also
                .iter()
                .map(|(network, settings)| {
                    let on = state.networks.iter().find(|it| it.name == network.name).expect("the network is there");
                    ObservedEndpoint {
                        network_name: network.name.clone(),
                        network_id: Some(on.id.clone()),
                        endpoint_id: String::new(),
                        ipv4_address: String::new(),
                        ipv6_address: String::new(),
                        gw_priority: None,
                        settings: Some(settings.clone()),
                    }
                })
                .collect();
            find(state, &ContainerRef::Created(container.name.clone())).endpoints.extend(further);
        }
        WorkloadCall::StartContainer { container, job, .. } => {
            state.containers.retain(|it| Some(&it.name) != job.as_ref());
            let wanted = find(state, container).id.clone();
            let ports: Vec<HostPort> = state.workloads[&wanted].ports.iter().filter_map(Port::taken).collect();
            let others = state.containers.iter().filter(|it| it.id != wanted && it.state.is_live());
            if others.flat_map(|it| &it.ports).any(|taken| ports.iter().any(|port| port.collides_with(taken))) {
                return Err("port is already allocated".to_owned());
            }
            let container = find(state, container);
            container.state = ContainerState::Running;
            container.ports = ports;
            container.exit = None;
            let name = container.name.clone();
            for endpoint in &mut container.endpoints {
                endpoint.endpoint_id = hex_id(&format!("{name} on {}", endpoint.network_name));
            }
            let (id, sick) = (container.id.clone(), container.image.ends_with(":sick"));
            let checked = state.workloads[&id].healthcheck.is_some();
            let container = state.containers.iter_mut().find(|it| it.id == id).unwrap();
            container.health = match (checked, sick) {
                (_, true) => Some(Health::Unhealthy),
                (true, false) => Some(Health::Healthy),
                (false, false) => None,
            };
            if sick {
                return Err(format!("{name} is unhealthy"));
            }
        }
        WorkloadCall::StopContainer { container, .. } => {
            let container = find(state, &ContainerRef::Existing(container.clone()));
            container.state = ContainerState::Exited;
            container.exit = Some(Exit::default());
            container.health = None;
            container.ports.clear();
        }
        WorkloadCall::RemoveContainer { container, force } => {
            let container = find(state, container).clone();
            assert!(*force || !container.state.is_live(), "{} runs, and is removed", container.name);
            state.containers.retain(|it| it.id != container.id);
            state.workloads.remove(&container.id);
        }
        WorkloadCall::ClearContainer { container, .. } => {
            state.containers.retain(|it| it.id != container.id);
            state.workloads.remove(&container.id);
        }
        WorkloadCall::RenameContainer { container, to } => {
            assert!(state.containers.iter().all(|it| it.name != *to), "{to} exists already");
            find(state, container).name.clone_from(to);
        }
        WorkloadCall::UpdateContainer { container, update, .. } => {
            let config = state.workloads.get_mut(&container.id).unwrap();
            config.restart = update.restart.or(config.restart);
            config.resources.nano_cpus = update.nano_cpus.unwrap_or(config.resources.nano_cpus);
            config.resources.memory = update.memory.unwrap_or(config.resources.memory);
            config.resources.pids = update.pids.unwrap_or(config.resources.pids);
        }
        WorkloadCall::CreateSecret { name, labels, .. } => create_secret(&mut state.secrets, name, labels),
        WorkloadCall::RemoveSecret { name, uid } => {
            let used = state.services.iter().filter_map(|it| it.definition.as_ref()).flat_map(|it| it.files.values());
            let used = used.into_iter().any(|file| file.secret == *name);
            state.secrets.retain(|it| it.name != *name || it.labels.get(UID) != Some(uid) || used);
        }
        WorkloadCall::CreateService(rollout) => {
            let on = state.networks.iter().find(|it| it.name == rollout.network.name).expect("the network is there");
            let network = on.id.clone();
            let id = service_id(&format!("{} {:?}", rollout.create.name, rollout.create.labels.get(UID)));
            state.services.push(defined(&id, &rollout.create, &network, None, &state.secrets)?);
            if rollout.create.image.ends_with(":sick") {
                return Err(format!("{} lost a task", rollout.create.name));
            }
        }
        WorkloadCall::UpdateService { service, rollout, .. } => {
            let network = state.networks.iter().find(|it| it.name == rollout.network.name).unwrap().id.clone();
            let known = state.services.iter().find(|it| it.id == service.id).expect("the service is there");
            let updated = defined(&service.id, &rollout.create, &network, Some(known), &state.secrets)?;
            let known = state.services.iter_mut().find(|it| it.id == service.id).unwrap();
            if rollout.create.image.ends_with(":sick") {
                let status = UpdateStatus { state: "rollback_completed".to_owned(), message: "rolled back".to_owned() };
                known.definition.as_mut().unwrap().update = Some(status);
                return Err(format!("{} was rolled back", service.name));
            }
            *known = updated;
        }
        WorkloadCall::StopService { service } => {
            let known = state.services.iter_mut().find(|it| it.id == service.id).unwrap();
            (known.replicas, known.tasks) = (Some(0), Some(TaskCount { desired: 0, running: 0 }));
        }
        WorkloadCall::RemoveService { service, .. } => match service {
            ServiceRef::Existing(target) => state.services.retain(|it| it.id != target.id),
            ServiceRef::Created { name, uid } => {
                state.services.retain(|it| it.name != *name || it.labels.get(UID) != Some(uid));
            }
        },
        WorkloadCall::ComposeUp(up) => compose_up(state, up),
        WorkloadCall::StackDeploy(deploy) => stack_deploy(state, deploy),
        WorkloadCall::StackRemove { project, services, .. } => {
            state.services.retain(|it| services.iter().all(|gone| gone.id != it.id));
            let of_stack = |labels: &BTreeMap<String, String>| labels.get(stack_file::NAMESPACE) == Some(project);
            state.networks.retain(|it| !of_stack(&it.labels));
        }
        WorkloadCall::ComposeDown { project, stack } => {
            state.containers.retain(|it| stack.iter().all(|gone| gone.id != it.id));
            let of_project = |labels: &BTreeMap<String, String>| labels.get(stack::PROJECT) == Some(project);
            state.networks.retain(|it| !of_project(&it.labels));
        }
    }
    Ok(())
}

pub fn service_id(seed: &str) -> ServiceId {
    ServiceId::try_from(hex_id(seed)[..25].to_owned()).unwrap()
}

pub fn create_secret(secrets: &mut Vec<SeenSecret>, name: &str, labels: &BTreeMap<String, String>) {
    assert!(secrets.iter().all(|it| it.name != name), "the secret {name} exists already");
    secrets.push(SeenSecret { id: hex_id(name)[..25].to_owned(), name: name.to_owned(), labels: labels.clone() });
    secrets.sort_by(|one, other| one.name.cmp(&other.name));
}

/// A service as the Swarm has it once its tasks run. What is not Landfall's stays as it was `before`. The error names a secret that is not there.
pub fn defined(
    id: &ServiceId,
    create: &ServiceCreate,
    network: &NetworkId,
    before: Option<&ObservedService>,
    secrets: &[SeenSecret],
) -> Result<ObservedService, String> {
    if let Some(file) = create.files.values().find(|file| secrets.iter().all(|it| it.name != file.secret)) {
        return Err(format!("secret {} not found", file.secret));
    }
    let applied = before.map(|before| Applied::read(&before.labels)).unwrap_or_default();
    let mut labels = before.map(|before| before.labels.clone()).unwrap_or_default();
    labels.retain(|key, _| !key.starts_with("landfall.") && !applied.labels.contains(key));
    labels.extend(create.labels.clone());
    let mut networks = before.map(|before| before.networks.clone()).unwrap_or_default();
    networks.retain(|it| it.target != network.as_str());
    networks.push(ServiceNetwork { target: network.to_string(), attachment: create.attachment.clone() });
    let template = &create.template;
    let own = Applied::of(template, &BTreeMap::new());
    let was = before.and_then(|before| before.definition.as_deref()).cloned().unwrap_or_default();
    let mut env = was.config.env.clone();
    env.retain(|name, _| !applied.env.contains(name) && !applied.secret.contains(name));
    env.extend(template.env.iter().map(|(name, value)| {
        let text = match value {
            Value::Literal(text) => text.clone(),
            Value::Secret(secret) => secret.expose().unwrap().to_owned(),
        };
        let literal = own.env.contains(name).then(|| text.clone());
        (name.clone(), SeenValue { fingerprint: Some(fingerprint(&text, id.as_str())), literal })
    }));
    let mounts = template.mounts.iter().map(|mount| SeenMount { mount: mount.clone(), anonymous: false });
    let replicas = create.replicas;
    let config = SeenConfig {
        entrypoint: template.entrypoint.clone().unwrap_or_default(),
        command: template.command.clone().unwrap_or_default(),
        working_dir: template.working_dir.clone().unwrap_or_default(),
        user: template.user.clone().unwrap_or_default(),
        hostname: template.hostname.clone().unwrap_or_default(),
        init: template.init,
        stop_signal: template.stop_signal.clone().unwrap_or_default(),
        stop_grace: template.stop_grace,
        env,
        ports: template.ports.clone(),
        mounts: mounts.collect(),
        tmpfs: template.tmpfs.clone(),
        restart: template.restart.map(|policy| match policy {
            RestartPolicy::Always => RestartPolicy::UnlessStopped,
            other => other,
        }),
        resources: template.resources,
        healthcheck: template.healthcheck.clone(),
        read_only: template.read_only,
        cap_add: template.cap_add.clone(),
        cap_drop: template.cap_drop.clone(),
        extra_hosts: template.extra_hosts.clone(),
        logging: template.logging.clone(),
        ..SeenConfig::default()
    };
    let definition = SeenService {
        config,
        image: create.image.clone(),
        files: create.files.clone(),
        constraints: create.node.iter().map(|node| node.constraint()).collect(),
        order: create.order.as_str().to_owned(),
        update: before.map(|_| UpdateStatus { state: "completed".to_owned(), message: String::new() }),
    };
    Ok(ObservedService {
        id: id.clone(),
        name: create.name.clone(),
        labels,
        networks,
        replicas: Some(replicas),
        rollout: None,
        rollout_started: None,
        has_previous: before.is_some(),
        tasks: Some(TaskCount { desired: replicas, running: replicas }),
        failure: None,
        parallelism: 1,
        round_robin: template.ports.is_empty(),
        ports: Vec::new(),
        definition: Some(Box::new(definition)),
    })
}

/// As the Docker CLI does it: every service is given its definition, and keeps its tasks where that is the same.
fn stack_deploy(state: &mut ObservedState, deploy: &StackDeploy) {
    let file = &deploy.stack.made.as_ref().expect("a stack that was read").on_swarm;
    let project = &deploy.stack.project;
    let destination = deploy.network.as_ref().map(|it| it.name.as_str());
    let model: serde_json::Value =
        serde_json::from_str(&file.expose(destination, std::path::Path::new("/run"), true)).unwrap();
    for name in &file.networks {
        if state.networks.iter().all(|it| it.name != *name) {
            let made = super::scenario::network(name).overlay().label(stack_file::NAMESPACE, project);
            state.networks.push(made.build(name));
        }
    }
    let is_of = |it: &ObservedService| it.labels.get(stack_file::NAMESPACE) == Some(project);
    state
        .services
        .retain(|it| !is_of(it) || !deploy.prune || file.services.values().any(|wanted| wanted.name == it.name));
    for (name, wanted) in &file.services {
        let spec = &model["services"][name];
        let labels = spec["deploy"]["labels"].as_object().unwrap().iter();
        let mut labels: BTreeMap<String, String> =
            labels.map(|(key, value)| (key.clone(), value.as_str().unwrap().replace("$$", "$"))).collect();
        labels.insert(stack_file::NAMESPACE.to_owned(), project.clone());
        let networks = spec["networks"].as_object().unwrap().iter().map(|(key, on)| {
            let real = model["networks"][key]["name"].as_str().unwrap();
            let target =
                state.networks.iter().find(|it| it.name == real).expect("a network that is there").id.to_string();
            let further = on["aliases"].as_array().into_iter().flatten().map(|it| it.as_str().unwrap().to_owned());
            let aliases = std::iter::once(name.clone()).chain(further).collect();
            ServiceNetwork { target, attachment: ServiceAttachment { aliases, ..ServiceAttachment::default() } }
        });
        let networks = networks.collect();
        let replicas = wanted.replicas;
        let definition = SeenService { image: wanted.image.clone(), ..SeenService::default() };
        let count = replicas.unwrap_or(1);
        let known = state.services.iter().find(|it| it.name == wanted.name).map(|it| it.id.clone());
        state.services.retain(|it| it.name != wanted.name);
        state.services.push(ObservedService {
            id: known.unwrap_or_else(|| {
                ServiceId::try_from(hex_id(&format!("service {}", wanted.name))[..25].to_owned()).unwrap()
            }),
            name: wanted.name.clone(),
            labels,
            networks,
            replicas,
            rollout: None,
            rollout_started: None,
            has_previous: false,
            tasks: Some(TaskCount { desired: count, running: count }),
            failure: None,
            parallelism: 1,
            round_robin: false,
            ports: Vec::new(),
            definition: Some(Box::new(definition)),
        });
    }
}

/// As Compose does it: what is as its record says stays, everything else is made anew.
fn compose_up(state: &mut ObservedState, up: &ComposeUp) {
    let made = up.stack.made.as_ref().expect("a stack that was read");
    let project = &up.stack.project;
    for network in made.networks.values() {
        if state.networks.iter().all(|it| it.name != network.name) {
            assert!(!network.external, "{} is missing, and somebody else's", network.name);
            let observed = super::scenario::network(&network.name).label(stack::PROJECT, project);
            state.networks.push(observed.build(&network.name));
        }
    }
    let model: serde_json::Value =
        serde_json::from_str(&made.model.expose(up.network.as_ref().map(|it| it.name.as_str()))).unwrap();
    let is_of = |it: &ObservedContainer, service: &str| {
        it.labels.get(stack::PROJECT) == Some(project) && it.labels.get(stack::SERVICE).is_some_and(|of| of == service)
    };
    state.containers.retain(|it| {
        it.labels.get(stack::PROJECT) != Some(project)
            || !up.orphans
            || made.services.keys().any(|service| is_of(it, service))
    });
    for (name, service) in &made.services {
        let image = image(&service.image);
        state.images.insert(service.image.clone(), ImageState { local: Some(image.clone()), ..ImageState::default() });
        let wanted = [(stack::CONFIG_HASH, &service.hash), (stack::IMAGE, &image.id)];
        state
            .containers
            .retain(|it| !is_of(it, name) || wanted.iter().all(|(key, value)| it.labels.get(*key) == Some(*value)));
        for number in 1..=service.replicas {
            let container = format!("{project}-{name}-{number}");
            if let Some(known) = state.containers.iter_mut().find(|it| it.name == container) {
                known.state = ContainerState::Running;
                continue;
            }
            let mut labels: BTreeMap<String, String> =
                serde_json::from_value(model["services"][name]["labels"].clone()).unwrap_or_default();
            labels.extend(wanted.map(|(key, value)| (key.to_owned(), value.clone())));
            labels.extend([(stack::PROJECT.to_owned(), project.clone()), (stack::SERVICE.to_owned(), name.clone())]);
            let homes = made.homes(name).map(|(network, aliases)| (network.name.clone(), aliases));
            let destination =
                up.network.iter().map(|it| (it.name.clone(), vec![name.clone(), stack::alias(name, project)]));
            let endpoints = homes.chain(destination).map(|(network, aliases)| ObservedEndpoint {
                network_id: state.networks.iter().find(|it| it.name == network).map(|it| it.id.clone()),
                endpoint_id: hex_id(&format!("{container} on {network}")),
                network_name: network,
                ipv4_address: String::new(),
                ipv6_address: String::new(),
                gw_priority: None,
                settings: Some(landfall::core::observed::EndpointSettings { aliases, ..Default::default() }),
            });
            let endpoints = endpoints.collect();
            state.containers.push(ObservedContainer {
                id: ContainerId::try_from(hex_id(&container)).unwrap(),
                name: container,
                image: service.image.clone(),
                state: ContainerState::Running,
                exit: None,
                health: None,
                up: None,
                restarts: 0,
                labels,
                network_mode: format!("{project}_default"),
                ports: Vec::new(),
                endpoints,
            });
        }
    }
}

fn create(
    state: &mut ObservedState,
    create: &ContainerCreate,
    network: &landfall::core::plan::NetworkTarget,
    settings: &landfall::core::observed::EndpointSettings,
) {
    assert!(state.containers.iter().all(|it| it.name != create.name), "{} exists already", create.name);
    let on = state.networks.iter().find(|it| it.name == network.name).expect("the network is there").clone();
    let seed = format!("{} {:?} {}", create.name, create.labels.get(UID), state.containers.len());
    let ids = (0..).map(|again| ContainerId::try_from(hex_id(&format!("{seed} {again}"))).unwrap());
    let id = ids.into_iter().find(|id| state.containers.iter().all(|it| it.id != *id)).unwrap();
    let mut labels: BTreeMap<String, String> = create.labels.clone();
    if let Some(uid) = labels.get(UID).cloned() {
        labels.extend(files_label(&create.template, &uid).map(|label| (FILES.to_owned(), label)));
    }
    if create.drainable && create.template.healthcheck.is_some() {
        labels.insert(DRAIN.to_owned(), "/landfall-drain".to_owned());
    }
    let mut settings = settings.clone();
    settings.aliases.push(id.short().to_owned());
    state.containers.push(ObservedContainer {
        id: id.clone(),
        name: create.name.clone(),
        image: create.image.clone(),
        state: ContainerState::Created,
        exit: None,
        health: None,
        up: None,
        restarts: 0,
        labels,
        network_mode: network.name.clone(),
        ports: Vec::new(),
        endpoints: vec![ObservedEndpoint {
            network_name: network.name.clone(),
            network_id: Some(on.id),
            endpoint_id: String::new(),
            ipv4_address: settings.ipv4_address.clone().unwrap_or_default(),
            ipv6_address: String::new(),
            gw_priority: None,
            settings: Some(settings),
        }],
    });
    state.workloads.insert(id.clone(), config(create, &id));
}

fn find<'a>(state: &'a mut ObservedState, container: &ContainerRef) -> &'a mut ObservedContainer {
    let found = match container {
        ContainerRef::Existing(target) => state.containers.iter_mut().find(|it| it.id == target.id),
        ContainerRef::Created(name) => state.containers.iter_mut().find(|it| it.name == *name),
    };
    found.unwrap_or_else(|| panic!("{} is gone", container.name()))
}
