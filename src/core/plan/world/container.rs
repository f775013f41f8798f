//! What a container, a service or a network is by itself.

use crate::core::desired::{Proxy, ProxyInstance};
use crate::core::observed::{ContainerState, ObservedContainer, ObservedEndpoint, ObservedNetwork};

/// Networks that every engine has. They cannot be created or removed, and connecting to them means something else.
pub(crate) const PREDEFINED: [&str; 5] = ["bridge", "host", "none", "ingress", "docker_gwbridge"];

/// Labels by which the engine and Docker Compose mark their containers.
pub(crate) const COMPOSE_PROJECT: &str = "com.docker.compose.project";

pub(crate) const STACK_NAMESPACE: &str = "com.docker.stack.namespace";

pub(crate) const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// Set on what `docker compose run` starts: a container of the service that does not serve for it.
const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";

/// Name of the service that a container is a task of.
pub const SWARM_SERVICE: &str = "com.docker.swarm.service.name";

pub(crate) const SWARM_TASK: &str = "com.docker.swarm.task.id";

/// Whether the two have an address in common.
pub fn overlap(a: &ipnet::IpNet, b: &ipnet::IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The ranges of a network; what cannot be read as one occupies nothing.
pub fn subnets(network: &ObservedNetwork) -> Vec<ipnet::IpNet> {
    network.subnets.iter().filter_map(|subnet| subnet.subnet.parse().ok()).collect()
}

pub(crate) fn is_proxy(container: &ObservedContainer, proxy: Option<&Proxy>) -> bool {
    match proxy {
        Some(Proxy { instance: ProxyInstance::Container(name), .. }) => container.name == *name,
        Some(Proxy { instance: ProxyInstance::Service(name), .. }) => {
            container.labels.get(SWARM_SERVICE).is_some_and(|service| service == name)
        }
        None => false,
    }
}

/// It was not made on the bridge that every container is on by default, and without the network it would be on none.
pub(crate) fn has_nothing_else(container: &ObservedContainer, network: &ObservedNetwork) -> bool {
    let is_it = |endpoint: &ObservedEndpoint| match &endpoint.network_id {
        Some(id) => *id == network.id,
        None => endpoint.network_name == network.name,
    };
    !matches!(container.network_mode.as_str(), "default" | "bridge" | "") && container.endpoints.iter().all(is_it)
}

/// The network that the container was made on, as whoever made it named it; `None`: the default one, another container's, or none.
pub(crate) fn first_network(container: &ObservedContainer) -> Option<&str> {
    let mode = container.network_mode.as_str();
    let is_builtin = matches!(mode, "" | "default" | "bridge" | "nat") || unconnectable(container).is_some();
    (!is_builtin).then_some(mode)
}

/// Whether that is this network: by its name, its id, or the beginning of that as Docker shows it. A shorter one may be the name of another network.
pub(crate) fn was_made_on(container: &ObservedContainer, network: &ObservedNetwork) -> bool {
    let is_id = |text: &str| text.len() >= 12 && network.id.as_str().starts_with(text);
    first_network(container).is_some_and(|first| first == network.name || is_id(first))
}

/// Run by a Swarm service: whatever is done to it is undone by the next task.
pub(crate) fn is_task(container: &ObservedContainer) -> bool {
    container.labels.contains_key(SWARM_TASK)
}

/// Started by `docker compose run`: it carries the labels of its service and is none of its replicas.
pub fn is_one_off(container: &ObservedContainer) -> bool {
    container.labels.get(COMPOSE_ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// On its way out: the engine refuses to connect or disconnect it.
pub(crate) fn is_going(container: &ObservedContainer) -> bool {
    matches!(container.state, ContainerState::Removing | ContainerState::Dead)
}

/// Why a container cannot be connected to a network at all.
pub(crate) fn unconnectable(container: &ObservedContainer) -> Option<&str> {
    let mode = container.network_mode.as_str();
    (mode == "host" || mode == "none" || mode.starts_with("container:")).then_some(mode)
}
