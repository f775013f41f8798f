//! Why a request through the proxy ends in 502, 503, 504 or 404: the causes that the Engine API shows, each with what was seen and what
//! fixes it.
//!
//! A finding is certain unless it says otherwise: a server on which everything works has none. What may be a cause and may be none, such as
//! a port that the image does not expose, is told only where it is asked for or where the proxy was seen to fail.

mod address;
mod check;
mod name;
mod reach;
mod routing;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::core::api::{Kind, ObjectKey};
use crate::core::desired::DesiredServer;
use crate::core::observed::{ContainerId, EngineEvent, ObservedState};

pub use routing::{is_routed, setting_names};

/// What one server shows, and what is declared for it.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'a> {
    pub server: &'a DesiredServer,
    pub observed: &'a ObservedState,
    /// What a list of containers leaves out; of those in [`subjects`].
    pub details: &'a BTreeMap<ContainerId, Details>,
    /// What the daemon remembers, oldest first.
    pub events: &'a [EngineEvent],
    /// A request through the proxy, and what came of it.
    pub asked: Option<&'a Asked>,
}

/// How a container was made and how it fares, as far as it matters to a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Ports that the image or the container exposes, published ones among them.
    pub exposed: BTreeSet<u16>,
    /// Ports of the host.
    pub published: BTreeSet<u16>,
    pub command: Vec<String>,
    pub extra_hosts: Vec<String>,
    /// Variables that proxies read, and no others: see [`setting_names`].
    pub settings: BTreeMap<String, String>,
    pub restarts: u64,
    /// RFC 3339, as the daemon gives it.
    pub started: String,
    /// What the last health check printed.
    pub health_output: Option<String>,
}

/// A request that was sent through the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    pub url: String,
    pub host: String,
    pub path: String,
    pub tls: bool,
    /// `None`: no answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub milliseconds: u64,
}

impl Asked {
    /// The answer is one that a proxy gives where it cannot reach an application, or knows none.
    pub fn failed(&self) -> bool {
        self.status.is_none_or(|status| matches!(status, 404 | 502..=504))
    }
}

/// What keeps a request from its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum FindingCause {
    ProxyMissing,
    ProxyNotRunning,
    PortTaken,
    ProxyUnpublished,
    ProxyNotOnNetwork,
    MemberNotOnNetwork,
    WrongNetworkLabel,
    AmbiguousNetwork,
    NetworkNameTwice,
    NetworkMode,
    ContainersIsolated,
    StaleProxyView,
    NotRunning,
    Paused,
    NetworkRemoved,
    AddressesExhausted,
    Unhealthy,
    HealthStarting,
    NotEnabled,
    NoPort,
    EntryPointMissing,
    PortNotExposed,
    RouterConflict,
    RouteTwice,
    AliasTwice,
    SubnetOverlap,
    ServiceWithoutTasks,
    NoRoute,
    NoTlsRoute,
    ListensOnLoopback,
    SlowApplication,
}

impl fmt::Display for FindingCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One cause, found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub cause: FindingCause,
    /// Nothing else explains what was seen. `false`: it may be a cause.
    pub certain: bool,
    /// `Server/namespace/name`
    pub server: String,
    /// The declared object that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// What a client of the proxy sees.
    pub seen: String,
    pub message: String,
    /// What was observed.
    pub evidence: Vec<String>,
    /// What to do, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Commands that fix it, in order.
    pub fix: Vec<String>,
}

impl Finding {
    fn new(cause: FindingCause, seen: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            cause,
            certain: true,
            server: String::new(),
            object: None,
            container: None,
            network: None,
            seen: seen.into(),
            message: message.into(),
            evidence: Vec::new(),
            advice: None,
            fix: Vec::new(),
        }
    }

    fn possible(mut self) -> Self {
        self.certain = false;
        self
    }

    fn object(mut self, object: Option<&ObjectKey>) -> Self {
        self.object = object.map(ToString::to_string);
        self
    }

    fn container(mut self, name: &str) -> Self {
        self.container = Some(name.to_owned());
        self
    }

    fn network(mut self, name: &str) -> Self {
        self.network = Some(name.to_owned());
        self
    }

    fn evidence(mut self, text: impl Into<String>) -> Self {
        self.evidence.push(text.into());
        self
    }

    fn advice(mut self, text: impl Into<String>) -> Self {
        self.advice = Some(text.into());
        self
    }

    fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix.push(command.into());
        self
    }
}

/// The containers whose details are worth asking for: the proxy, and those that it serves; all where the proxy is held up by another one.
pub fn subjects(server: &DesiredServer, observed: &ObservedState) -> BTreeSet<ContainerId> {
    let view = name::View::new(server, observed);
    let proxies = || view.proxy.iter().flat_map(|proxy| proxy.containers.iter().copied());
    if proxies().any(|proxy| proxy.exit.as_ref().is_some_and(|exit| check::is_port_taken(&exit.error))) {
        return observed.containers.iter().map(|container| container.id.clone()).collect();
    }
    proxies().chain(view.candidates()).map(|container| container.id.clone()).collect()
}

/// Whether the container is the server's proxy, or a task of it.
pub fn is_proxy(server: &DesiredServer, observed: &ObservedState, id: &ContainerId) -> bool {
    let view = name::View::new(server, observed);
    view.proxy.iter().any(|proxy| proxy.containers.iter().any(|container| container.id == *id))
}

/// Everything that is found on the server, the proxy's own troubles first.
pub fn examine(input: &Examined<'_>) -> Vec<Finding> {
    let view = name::View::new(input.server, input.observed);
    let check = check::Check::new(input, &view);
    let mut findings = check.all();
    for finding in &mut findings {
        finding.server = input.server.key.to_string();
    }
    findings.sort_by(|a, b| {
        (!a.certain, a.cause, &a.container, &a.network).cmp(&(!b.certain, b.cause, &b.container, &b.network))
    });
    findings.dedup();
    findings
}

/// Leaves what concerns the object: itself, what is on it, and whatever troubles the proxy as a whole.
pub fn narrow(findings: &mut Vec<Finding>, server: &DesiredServer, object: &ObjectKey) {
    if object.kind == Kind::Server {
        return;
    }
    let destination = server.destinations.iter().find(|destination| destination.key == *object);
    let concerned: BTreeSet<String> = match destination {
        Some(destination) => {
            let members = destination.members.iter().map(|member| member.resource.to_string());
            members.chain([destination.key.to_string()]).collect()
        }
        None => [object.to_string()].into(),
    };
    let network = destination.and_then(|destination| destination.network.name.as_ref());
    findings.retain(|finding| {
        finding.object.as_ref().is_some_and(|object| concerned.contains(object))
            || (network.is_some() && finding.network.as_ref() == network)
            || (finding.object.is_none() && finding.container.is_none())
            || matches!(
                finding.cause,
                FindingCause::ProxyMissing | FindingCause::ProxyNotRunning | FindingCause::PortTaken
            )
    });
}
