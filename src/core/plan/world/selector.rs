//! Which containers a selector means.

use super::container::{self, COMPOSE_PROJECT, COMPOSE_SERVICE, SWARM_SERVICE};
use super::server::Host;
use crate::core::api::ContainerSelector;
use crate::core::observed::ObservedContainer;

/// The containers a selector means, by name, but for those on their way out.
pub(crate) fn matching<'a>(host: &Host<'a>, selector: &ContainerSelector) -> Vec<&'a ObservedContainer> {
    if *selector == ContainerSelector::default() {
        return Vec::new();
    }
    let candidates: Vec<&ObservedContainer> = if selector.names.is_empty() {
        host.state.containers.iter().collect()
    } else {
        selector.names.iter().filter_map(|name| host.container_named(name)).collect()
    };
    let mut found: Vec<_> = candidates
        .into_iter()
        .filter(|container| selects(selector, container) && !container::is_going(container))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    found.dedup_by(|a, b| a.id == b.id);
    found
}

/// Whether the selector means the container. One that `docker compose run` started is meant by its name only: it carries the labels of a service
/// whose alias it must not answer for.
pub fn selects(selector: &ContainerSelector, container: &ObservedContainer) -> bool {
    describes(selector, container) && (selector.names.contains(&container.name) || !container::is_one_off(container))
}

pub(crate) fn describes(selector: &ContainerSelector, container: &ObservedContainer) -> bool {
    let ContainerSelector { names, labels, compose_project, compose_service, swarm_services } = selector;
    let has = |key: &str, value: &String| container.labels.get(key) == Some(value);
    *selector != ContainerSelector::default()
        && (names.is_empty() || names.contains(&container.name))
        && labels.iter().all(|(key, value)| has(key, value))
        && compose_project.as_ref().is_none_or(|project| has(COMPOSE_PROJECT, project))
        && compose_service.as_ref().is_none_or(|service| has(COMPOSE_SERVICE, service))
        && (swarm_services.is_empty() || swarm_services.iter().any(|service| has(SWARM_SERVICE, service)))
}

pub(crate) fn describe(selector: &ContainerSelector) -> String {
    let ContainerSelector { names, labels, compose_project, compose_service, swarm_services } = selector;
    let mut parts = Vec::new();
    if !names.is_empty() {
        parts.push(format!("names {}", names.join(", ")));
    }
    parts.extend(labels.iter().map(|(key, value)| format!("label {key}={value}")));
    parts.extend(compose_project.iter().map(|project| format!("Compose project {project}")));
    parts.extend(compose_service.iter().map(|service| format!("Compose service {service}")));
    if !swarm_services.is_empty() {
        parts.push(format!("Swarm services {}", swarm_services.join(", ")));
    }
    if parts.is_empty() { "an empty selector".to_owned() } else { parts.join(" and ") }
}
