//! Swarm services that carry the proxy's labels: whether they have tasks, and a network in common with the proxy.

use super::check::Check;
use super::name::{ProxyView, list, word};
use super::{Finding, FindingCause};
use crate::core::api::ProxyType;
use crate::core::desired::{DesiredDestination, DesiredMember};
use crate::core::observed::{ObservedNetwork, ObservedService};

pub(super) fn findings<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>) -> Vec<Finding> {
    let is_proxy = |service: &ObservedService| proxy.service.is_some_and(|it| it.id == service.id);
    let services = check.view.observed.services.iter().filter(|service| !is_proxy(service));
    services.filter_map(|service| finding(check, proxy, service)).collect()
}

fn member<'a>(check: &Check<'a, '_>, service: &ObservedService) -> Option<(&'a DesiredDestination, &'a DesiredMember)> {
    let members = check.view.server.destinations.iter();
    let mut members = members.flat_map(|it| it.members.iter().map(move |member| (it, member)));
    members.find(|(_, member)| member.selector.swarm_services.contains(&service.name))
}

fn finding<'a>(check: &Check<'a, '_>, proxy: &ProxyView<'a>, service: &'a ObservedService) -> Option<Finding> {
    let routing = check.view.routing(&service.labels)?;
    let member = member(check, service);
    if member.is_some_and(|(destination, _)| !destination.active) {
        return None;
    }
    let name = &service.name;
    let object = member.map(|(_, member)| &member.resource);
    let none_runs = service.tasks.is_some_and(|tasks| tasks.running == 0);
    if none_runs || service.replicas == Some(0) {
        let seen = if proxy.proxy_type == ProxyType::Traefik { "404, or 503" } else { "502" };
        let message = format!("The service {name} has no running task.");
        let finding = Finding::new(FindingCause::ServiceWithoutTasks, seen, message).container(name).object(object);
        return Some(match service.replicas {
            Some(0) => finding.evidence("it is scaled to 0").fix(format!("docker service scale {}=1", word(name))),
            _ => finding.advice("its tasks say why").fix(format!("docker service ps --no-trunc {}", word(name))),
        });
    }
    if routing.elsewhere || proxy.containers.iter().any(|container| container.network_mode == "host") {
        return None;
    }
    let on: Vec<&ObservedNetwork> =
        check.view.observed.networks.iter().filter(|network| service.is_on(network) && !network.ingress).collect();
    let shared = |network: &&&ObservedNetwork| check.of_proxy.contains(&network.id);
    let wanted = routing.network.as_deref();
    let named = on.iter().find(|network| Some(network.name.as_str()) == wanted);
    let reached = match named {
        Some(network) => check.of_proxy.contains(&network.id),
        None => on.iter().any(|network| shared(&network)),
    };
    // What the proxy is on is known of a service, and of a container that is here.
    if reached || (proxy.service.is_none() && proxy.containers.is_empty()) {
        return None;
    }
    let of_proxy = check.of_proxy.iter().filter_map(|id| check.view.networks.get(id)).map(|it| it.name.as_str());
    let message = format!("The service {name} is on no network of {}.", proxy.name);
    let finding = Finding::new(FindingCause::ProxyNotOnNetwork, "504 after 30 s, or 502", message)
        .container(name)
        .object(object)
        .evidence(format!("{name} is on {}", list(on.iter().map(|network| network.name.as_str()))))
        .evidence(format!("{} is on {}", proxy.name, list(of_proxy)));
    let declared = member.filter(|(destination, _)| destination.proxy && !destination.suspend);
    if let Some((destination, _)) = declared {
        let finding = finding.fix("landfall apply");
        return Some(match &destination.network.name {
            Some(network) => finding.network(network),
            None => finding,
        });
    }
    let Some(network) = named.or(on.first()) else {
        return Some(finding.advice("put both on one overlay network"));
    };
    let (command, who) = match proxy.is_service {
        true => ("docker service update --network-add", &proxy.name),
        false => ("docker network connect", &proxy.name),
    };
    Some(finding.network(&network.name).fix(format!("{command} {} {}", word(&network.name), word(who))))
}
