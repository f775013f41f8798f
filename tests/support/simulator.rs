//! What a server looks like after a plan's operations, as engine 20.10 would report it. A call that the engine would refuse panics.

use std::sync::atomic::{AtomicU64, Ordering};

use landfall::core::observed::{
    ContainerState, EndpointSettings, Exit, NetworkId, NetworkScope, Observations, ObservedContainer, ObservedEndpoint,
    ObservedNetwork, ObservedState, ServiceNetwork,
};
use landfall::core::plan::{Call, ContainerTarget, NetworkChange, NetworkTarget, OVERLAY, ServerPlan};

use super::scenario::hex_id;

/// Executes the operations of one server's plan.
pub fn apply(observed: &mut Observations, plan: &ServerPlan) {
    for operation in plan.groups.iter().flat_map(|group| &group.operations) {
        let of_swarm: Vec<ObservedNetwork> = match plan.manager().map(|manager| &observed[manager]) {
            Some(Ok(manager)) => {
                manager.networks.iter().filter(|it| it.scope == NetworkScope::Swarm).cloned().collect()
            }
            _ => Vec::new(),
        };
        let server = plan.manager().filter(|_| operation.call.is_for_manager()).unwrap_or(&plan.server);
        let Some(Ok(state)) = observed.get_mut(server) else { panic!("{server} cannot be called") };
        if let Call::ConnectEndpoint { network, .. } | Call::DisconnectEndpoint { network, .. } = &operation.call {
            // A worker gets to know a network of its Swarm with the first container there.
            let known = |it: &&ObservedNetwork| network.id.as_ref().map_or(it.name == network.name, |id| *id == it.id);
            if let Some(network) = of_swarm.iter().find(known)
                && state.network(&network.id).is_none()
            {
                state.networks.push(network.clone());
            }
        }
        call(state, &operation.call);
    }
}

/// Executes one call.
pub fn call(state: &mut ObservedState, call: &Call) {
    match call {
        Call::CreateNetwork(create) => {
            assert!(state.networks.iter().all(|it| it.name != create.name), "{} exists already", create.name);
            // A network created again is another one.
            static CREATED: AtomicU64 = AtomicU64::new(0);
            let mut id = hex_id(&format!("created {} {}", create.name, CREATED.fetch_add(1, Ordering::Relaxed)));
            if create.driver == OVERLAY {
                id.truncate(25);
            }
            state.networks.push(ObservedNetwork {
                id: NetworkId::try_from(id).unwrap(),
                name: create.name.clone(),
                driver: create.driver.clone(),
                scope: if create.driver == "overlay" { NetworkScope::Swarm } else { NetworkScope::Local },
                internal: create.internal,
                attachable: create.attachable,
                ingress: false,
                ipv4: create.ipv4,
                ipv6: create.ipv6,
                subnets: create.subnets.clone(),
                options: create.options.clone(),
                labels: create.labels.clone(),
                created: format!("2026-01-01T00:{:02}:00Z", state.networks.len()),
            });
        }
        Call::RemoveNetwork { network } => {
            let found = find(state, network).clone();
            for container in &state.containers {
                for endpoint in &container.endpoints {
                    let going = matches!(container.state, ContainerState::Removing | ContainerState::Dead)
                        || container.labels.contains_key("com.docker.swarm.task.id");
                    assert!(going || !is_on(endpoint, &found), "{} is still on {}", container.name, found.name);
                }
            }
            state.networks.retain(|it| it.id != found.id);
        }
        Call::ConnectEndpoint { network, container, settings, reserved: _ } => {
            let network = find(state, network).clone();
            let container = container_mut(state, container);
            // What a failed connect has left behind is written over.
            let live = container.state.is_live();
            container.endpoints.retain(|it| !(live && it.network_id.is_none() && it.network_name == network.name));
            assert!(
                container.endpoints.iter().all(|it| it.network_name != network.name),
                "{} is on {} already",
                container.name,
                network.name
            );
            let endpoint = endpoint(container, &network, settings);
            container.endpoints.push(endpoint);
            container.endpoints.sort_by(|a, b| a.network_name.cmp(&b.network_name));
        }
        Call::DisconnectEndpoint { network, container, force: _ } => {
            let network = find(state, network).clone();
            let container = container_mut(state, container);
            let before = container.endpoints.len();
            // A container that is not live is disconnected by name, whatever id it has.
            container
                .endpoints
                .retain(|it| !(is_on(it, &network) || (!container.state.is_live() && it.network_name == network.name)));
            assert_eq!(container.endpoints.len() + 1, before, "{} is not on {}", container.name, network.name);
        }
        Call::StartContainer { container } => {
            let networks = state.networks.clone();
            let container = container_mut(state, container);
            container.state = ContainerState::Running;
            container.exit = None;
            let name = container.name.clone();
            for endpoint in &mut container.endpoints {
                let found = networks.iter().find(|network| is_on(endpoint, network));
                let network = found.unwrap_or_else(|| panic!("network {} not found", endpoint.network_name));
                endpoint.network_id = Some(network.id.clone());
                endpoint.endpoint_id = hex_id(&format!("{name} on {}", network.name));
            }
        }
        Call::ScaleService { service, replicas } => {
            let service = state.services.iter_mut().find(|it| it.id == service.id);
            service.expect("the service is there").replicas = Some(*replicas);
        }
        Call::UpdateService { service, changes } => {
            for NetworkChange { network, attachment, .. } in changes {
                let network = find(state, network).clone();
                let service = state.services.iter_mut().find(|it| it.id == service.id);
                let service = service.expect("the service is there");
                service.networks.retain(|known| !known.is(&network.id, &network.name));
                if let Some(attachment) = attachment {
                    let target = network.id.to_string();
                    service.networks.push(ServiceNetwork { target, attachment: attachment.clone() });
                }
            }
        }
        // It reads the world anew and changes nothing of it.
        Call::RefreshProxy { .. } => {}
        Call::Workload(call) => super::workloads::perform(state, call).unwrap(),
        Call::StopContainer { container } => {
            let container = container_mut(state, container);
            container.state = ContainerState::Exited;
            container.exit = Some(Exit { code: 137, ..Exit::default() });
            for endpoint in &mut container.endpoints {
                endpoint.endpoint_id.clear();
                endpoint.ipv4_address.clear();
            }
        }
    }
}

fn endpoint(container: &ObservedContainer, network: &ObservedNetwork, settings: &EndpointSettings) -> ObservedEndpoint {
    let mut settings = settings.clone();
    settings.aliases.push(container.id.short().to_owned());
    let live = container.state.is_live();
    ObservedEndpoint {
        network_name: network.name.clone(),
        // A container that is not running gets the network's id when it starts.
        network_id: live.then(|| network.id.clone()),
        endpoint_id: if live { hex_id(&format!("{} on {}", container.name, network.name)) } else { String::new() },
        ipv4_address: if live { settings.ipv4_address.clone().unwrap_or_default() } else { String::new() },
        ipv6_address: if live { settings.ipv6_address.clone().unwrap_or_default() } else { String::new() },
        gw_priority: settings.gw_priority,
        settings: Some(settings),
    }
}

fn is_on(endpoint: &ObservedEndpoint, network: &ObservedNetwork) -> bool {
    match &endpoint.network_id {
        Some(id) => *id == network.id,
        None => endpoint.network_name == network.name,
    }
}

fn find<'a>(state: &'a ObservedState, target: &NetworkTarget) -> &'a ObservedNetwork {
    match &target.id {
        Some(id) => state.network(id).unwrap_or_else(|| panic!("{} is gone", target.name)),
        None => state
            .networks
            .iter()
            .find(|it| it.name == target.name)
            .unwrap_or_else(|| panic!("{} was not created", target.name)),
    }
}

fn container_mut<'a>(state: &'a mut ObservedState, target: &ContainerTarget) -> &'a mut ObservedContainer {
    state.containers.iter_mut().find(|it| it.id == target.id).unwrap_or_else(|| panic!("{} is gone", target.name))
}
