//! A destination as a wire with whoever hangs on it.

use super::parts::{Mark, href, word};
use crate::core::plan::Cause;
use crate::core::plan::facts::EndpointFacts;
use crate::shell::web::view::{DestinationView, Standing};

pub(super) struct Lane {
    pub(super) standing: Mark,
    pub(super) word: &'static str,
    pub(super) name: String,
    pub(super) href: String,
    /// Why it is not ready, or nothing.
    pub(super) says: String,
    /// Class of the wire.
    pub(super) bus: &'static str,
    pub(super) network: String,
    pub(super) network_says: String,
    pub(super) ends: Vec<End>,
    /// How many are left out.
    pub(super) more: usize,
}

/// Who is on the network, or should be.
pub(super) struct End {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) says: String,
}

impl Lane {
    /// With at most so many ends; those that need attention first.
    pub(super) fn new(destination: &DestinationView<'_>, most: usize) -> Self {
        let standing = destination.standing();
        let key = destination.key();
        let ready = destination.conditions().iter().find(|it| it.condition_type == "Ready");
        let mut says = match (standing, ready) {
            (_, None) => "It has not been looked at yet.".to_owned(),
            (Standing::Ready, Some(_)) if !destination.declared.active => "Deactivated.".to_owned(),
            (Standing::Ready, Some(_)) => String::new(),
            (_, Some(ready)) if ready.message.is_empty() => ready.reason.to_string(),
            (_, Some(ready)) => format!("{}: {}", ready.reason, ready.message),
        };
        // The server says it once for all of its destinations.
        if destination.server.state.is_some() && destination.server.about().is_none() {
            says = String::new();
        }
        let (bus, network, network_says) = wire(destination);
        let mut ends = ends(destination);
        let more = ends.len().saturating_sub(most);
        if more > 0 {
            ends.sort_by_key(|end| !(end.class.contains("off") || end.class.contains("missing")));
            ends.truncate(most);
        }
        Self {
            standing: standing.into(),
            word: word(standing),
            name: key.path(),
            href: href(&key.to_string()),
            says,
            bus,
            network,
            network_says,
            ends,
            more,
        }
    }
}

fn wire(destination: &DestinationView<'_>) -> (&'static str, String, String) {
    let declared = || destination.declared.network.name.clone().unwrap_or_else(|| "(no name yet)".to_owned());
    match destination.facts() {
        None => ("unknown", declared(), "not observed".to_owned()),
        Some(facts) => match &facts.network {
            // One of that name may be there and be somebody else's.
            None => match destination.conditions().iter().find(|it| it.condition_type == "NetworkExists") {
                Some(exists) if exists.reason != Cause::NetworkMissing.as_str() => {
                    ("gone", declared(), format!("not Landfall's: {}", exists.reason))
                }
                _ => ("gone", declared(), "does not exist".to_owned()),
            },
            Some(network) => {
                let mut says = vec![network.driver.clone()];
                says.extend(network.subnets.iter().cloned());
                says.extend(network.internal.then(|| "internal".to_owned()));
                says.extend(network.adopted.then(|| "adopted".to_owned()));
                ("there", network.name.clone(), says.join(" · "))
            }
        },
    }
}

fn ends(destination: &DestinationView<'_>) -> Vec<End> {
    let Some(facts) = destination.facts() else { return Vec::new() };
    let mut ends = Vec::new();
    if let Some(proxy) = &facts.proxy {
        let class = if proxy.connected { "proxy" } else { "proxy off" };
        ends.push(end(class, "proxy", proxy));
    } else if let Some(declared) = destination.server.declared.proxy.as_ref()
        && destination.declared.proxy
        && destination.declared.active
    {
        ends.push(End {
            class: "proxy missing".to_owned(),
            name: declared.instance.name().to_owned(),
            says: "proxy · does not exist".to_owned(),
        });
    }
    for member in &facts.members {
        let resource = member.resource.to_string();
        let class = match (member.endpoint.connected, member.expected) {
            (true, _) => "on",
            (false, true) => "off",
            (false, false) => "apart",
        };
        ends.push(end(class, &resource, &member.endpoint));
    }
    ends.extend(facts.missing.iter().map(|missing| End {
        class: "missing".to_owned(),
        name: missing.container.clone().unwrap_or_else(|| missing.resource.to_string()),
        says: format!("{} · no such container", missing.resource),
    }));
    ends.extend(facts.unmanaged.iter().map(|endpoint| match &endpoint.kept_for {
        Some(purpose) => end("on", &format!("kept for {purpose} until another takes its place"), endpoint),
        None => end("foreign", "undeclared", endpoint),
    }));
    ends
}

fn end(class: &str, what: &str, endpoint: &EndpointFacts) -> End {
    let mut says = vec![what.to_owned()];
    if endpoint.state != "running" {
        says.push(endpoint.state.to_owned());
    }
    match class {
        "off" | "proxy off" => says.push("not connected".to_owned()),
        "apart" => says.push("keeps to its own network".to_owned()),
        _ => {
            says.extend([&endpoint.ipv4_address, &endpoint.ipv6_address].into_iter().find(|it| !it.is_empty()).cloned())
        }
    }
    let stopped = if endpoint.is_running() { "" } else { " stopped" };
    End { class: format!("{class}{stopped}"), name: endpoint.container.clone(), says: says.join(" · ") }
}
