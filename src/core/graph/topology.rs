//! The declared servers, destinations and members with how each of them is at present: what the status page and `graph --observed` draw.

use crate::core::api::{Condition, ConditionStatus, Kind, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredServer};
use crate::core::plan::Reason;
use crate::core::plan::facts::{DestinationFacts, EndpointFacts, ServerFacts};

/// How something is. The order is that of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Declared, and there is nothing of that name.
    Missing,
    /// Should be on the network and is not.
    Detached,
    /// Does not run.
    Stopped,
    /// Runs, and its health check fails.
    Unhealthy,
    /// Does not answer.
    Unreachable,
    /// Not as declared for another reason.
    NotReady,
    /// As declared, and undone again and again.
    Contended,
    /// Nothing is known of it at present.
    Unknown,
    /// Left alone because the manifest says so.
    Suspended,
    Deactivated,
    /// A stack that keeps to its own network, or a spare that is no member.
    Apart,
    /// On the network, and nothing declares it.
    Unmanaged,
    Connected,
    Reachable,
    Ready,
}

/// What to make of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    Bad,
    Unsure,
    Plain,
    Good,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Detached => "detached",
            Self::Stopped => "stopped",
            Self::Unhealthy => "unhealthy",
            Self::Unreachable => "unreachable",
            Self::NotReady => "not ready",
            Self::Contended => "contended",
            Self::Unknown => "unknown",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Apart => "on its own network",
            Self::Unmanaged => "unmanaged",
            Self::Connected => "connected",
            Self::Reachable => "reachable",
            Self::Ready => "ready",
        }
    }

    pub fn tone(self) -> Tone {
        match self {
            Self::Missing | Self::Detached | Self::Stopped | Self::Unhealthy | Self::Unreachable | Self::NotReady => {
                Tone::Bad
            }
            Self::Contended | Self::Unknown => Tone::Unsure,
            Self::Suspended | Self::Deactivated | Self::Apart | Self::Unmanaged => Tone::Plain,
            Self::Connected | Self::Reachable | Self::Ready => Tone::Good,
        }
    }

    /// Whether a line leads there.
    pub(super) fn is_attached(self) -> bool {
        matches!(
            self,
            Self::Connected | Self::Contended | Self::Stopped | Self::Unhealthy | Self::Unmanaged | Self::Unknown
        )
    }
}

impl Tone {
    /// Class of what is drawn.
    pub fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Unsure => "unsure",
            Self::Plain => "plain",
            Self::Good => "good",
        }
    }

    /// For whom colours say nothing.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Bad => "✕",
            Self::Unsure => "?",
            Self::Plain => "·",
            Self::Good => "✓",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerShape {
    pub key: ObjectKey,
    pub state: State,
    /// Its engine, or why nothing is known of it.
    pub says: String,
    /// The proxy's container or service.
    pub proxy: Option<EndShape>,
    /// In the order of their keys.
    pub destinations: Vec<DestinationShape>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationShape {
    pub key: ObjectKey,
    pub state: State,
    /// Why it is not ready, or nothing.
    pub says: String,
    pub network: String,
    pub subnets: Vec<String>,
    /// How the server's proxy is on it; `None`: it is not wanted there.
    pub proxy: Option<State>,
    /// Those that a line leads to first, by name.
    pub ends: Vec<EndShape>,
}

/// A container or a Swarm service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndShape {
    pub name: String,
    /// What declares it.
    pub resource: Option<ObjectKey>,
    pub state: State,
    pub address: String,
}

/// Of a server that was looked at, or was not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look<'a> {
    /// Not yet.
    None,
    /// It does not answer; what was there when it last did.
    Failed {
        last: Option<&'a ServerFacts>,
    },
    Done(&'a ServerFacts),
}

impl ServerShape {
    /// `conditions`: those of an object on this server. `takes`: which of its destinations are drawn.
    pub fn new<'c>(
        server: &DesiredServer,
        look: Look<'_>,
        conditions: impl Fn(&ObjectKey) -> &'c [Condition],
        takes: impl Fn(&DesiredDestination) -> bool,
    ) -> Self {
        let (facts, last) = match look {
            Look::Done(facts) => (Some(facts), None),
            Look::Failed { last } => (None, last),
            Look::None => (None, None),
        };
        let state = match look {
            _ if server.suspend => State::Suspended,
            Look::Done(_) => State::Reachable,
            Look::Failed { .. } => State::Unreachable,
            Look::None => State::Unknown,
        };
        let says = match (facts, look) {
            (Some(facts), _) => format!("Docker {} on {}", facts.engine.version, facts.engine.name),
            (None, Look::None) => "not looked at yet".to_owned(),
            (None, _) => {
                let ready = conditions(&server.key).iter().find(|it| it.condition_type == "Ready");
                ready.map_or_else(|| "does not answer".to_owned(), |ready| ready.message.to_string())
            }
        };
        let proxy = server.proxy.as_ref().map(|declared| {
            let seen = facts.and_then(|facts| facts.proxy.as_ref());
            let state = match seen.map(|seen| seen.state.as_str()) {
                None => State::Unknown,
                Some("missing") => State::Missing,
                Some("running" | "service") => State::Ready,
                Some(_) => State::Stopped,
            };
            let name = seen.map_or_else(|| declared.instance.name().to_owned(), |seen| seen.name.clone());
            EndShape { name, resource: None, state, address: String::new() }
        });
        let found = |facts: Option<&ServerFacts>, key: &ObjectKey| {
            let all = &facts?.destinations;
            all.binary_search_by(|(known, _)| known.cmp(key)).ok().map(|at| all[at].1.clone())
        };
        let destinations = server.destinations.iter().filter(|destination| takes(destination)).map(|destination| {
            let seen = found(facts, &destination.key);
            let last = found(last, &destination.key);
            DestinationShape::new(server, destination, seen.as_ref(), last.as_ref(), &conditions)
        });
        Self { key: server.key.clone(), state, says, proxy, destinations: destinations.collect() }
    }
}

fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|it| it.condition_type == "Ready")
}

fn is_contended(conditions: &[Condition]) -> bool {
    let word = Reason::Contended.as_str();
    conditions.iter().any(|it| it.condition_type == word && it.status == ConditionStatus::True)
}

/// How a declared destination is, by what is said of it.
pub fn destination_state(server: &DesiredServer, destination: &DesiredDestination, conditions: &[Condition]) -> State {
    match ready(conditions).map(|it| it.status) {
        _ if destination.suspend || server.suspend => State::Suspended,
        // From outside of the manifests.
        Some(ConditionStatus::Unknown)
            if ready(conditions).is_some_and(|it| it.reason == Reason::Suspended.as_str()) =>
        {
            State::Suspended
        }
        Some(ConditionStatus::False) => State::NotReady,
        Some(ConditionStatus::Unknown) | None => State::Unknown,
        Some(ConditionStatus::True) if is_contended(conditions) => State::Contended,
        Some(ConditionStatus::True) if !destination.active => State::Deactivated,
        Some(ConditionStatus::True) => State::Ready,
    }
}

impl DestinationShape {
    fn new<'c>(
        server: &DesiredServer,
        destination: &DesiredDestination,
        facts: Option<&DestinationFacts>,
        last: Option<&DestinationFacts>,
        conditions: impl Fn(&ObjectKey) -> &'c [Condition],
    ) -> Self {
        let own = conditions(&destination.key);
        let state = destination_state(server, destination, own);
        let says = match ready(own) {
            Some(ready) if ready.status != ConditionStatus::True && !ready.message.is_empty() => {
                ready.message.to_string()
            }
            Some(ready) if ready.status != ConditionStatus::True => ready.reason.to_string(),
            _ => String::new(),
        };
        let shown = facts.or(last);
        let network = shown.and_then(|facts| facts.network.as_ref());
        let name = network.map(|network| network.name.clone()).or_else(|| destination.network.name.clone());
        let subnets = match network {
            Some(network) => network.subnets.clone(),
            None => destination.network.subnets.iter().map(|it| it.subnet.to_string()).collect(),
        };
        let wanted = destination.proxy && destination.active && server.proxy.is_some();
        let proxy = match shown.map(|facts| facts.proxy.as_ref()) {
            _ if facts.is_none() => wanted.then_some(State::Unknown),
            Some(Some(proxy)) if proxy.connected && is_contended(own) => Some(State::Contended),
            Some(Some(proxy)) if proxy.connected => Some(State::Connected),
            Some(Some(_)) => Some(State::Detached),
            Some(None) => wanted.then_some(State::Missing),
            None => None,
        };
        let mut ends: Vec<EndShape> = Vec::new();
        for member in shown.into_iter().flat_map(|facts| &facts.members) {
            let endpoint = &member.endpoint;
            let state = match (endpoint.connected, member.expected) {
                (true, _) if facts.is_none() => State::Unknown,
                (true, _) if is_contended(conditions(&member.resource)) => State::Contended,
                (true, _) if !endpoint.is_running() => State::Stopped,
                (true, _) if endpoint.health == Some("unhealthy") => State::Unhealthy,
                (true, _) => State::Connected,
                (false, true) => State::Detached,
                (false, false) => State::Apart,
            };
            ends.push(end(endpoint, Some(member.resource.clone()), state));
        }
        for missing in shown.into_iter().flat_map(|facts| &facts.missing) {
            let name = missing.container.clone().unwrap_or_else(|| missing.resource.path());
            let resource = Some(missing.resource.clone());
            ends.push(EndShape { name, resource, state: State::Missing, address: String::new() });
        }
        if shown.is_none() {
            // What is declared is all that is known.
            ends.extend(destination.members.iter().map(|member| EndShape {
                name: member.resource.path(),
                resource: Some(member.resource.clone()),
                state: State::Unknown,
                address: String::new(),
            }));
        }
        ends.extend(shown.into_iter().flat_map(|facts| &facts.unmanaged).map(|it| end(it, None, State::Unmanaged)));
        ends.sort_by_key(|end| (!end.state.is_attached(), end.state == State::Unmanaged));
        let network = name.unwrap_or_else(|| "(no name yet)".to_owned());
        Self { key: destination.key.clone(), state, says, network, subnets, proxy, ends }
    }

    /// The worst of what is drawn of it.
    pub fn worst(&self) -> Tone {
        let ends = self.ends.iter().map(|end| end.state).chain(self.proxy);
        ends.map(State::tone).fold(self.state.tone(), Tone::min)
    }
}

fn end(endpoint: &EndpointFacts, resource: Option<ObjectKey>, state: State) -> EndShape {
    let address = [&endpoint.ipv4_address, &endpoint.ipv6_address].into_iter().find(|it| !it.is_empty());
    let address = address.map(|it| it.split('/').next().unwrap_or_default().to_owned()).unwrap_or_default();
    EndShape { name: endpoint.container.clone(), resource, state, address }
}

impl EndShape {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.resource.as_ref().map(|resource| resource.kind) {
            Some(Kind::Database) => "Database",
            Some(Kind::Service) => "Service",
            Some(_) => "Application",
            None => "Undeclared",
        }
    }

    /// Address and state, as far as they are worth saying.
    pub fn says(&self) -> String {
        match (self.state, self.address.is_empty()) {
            (State::Connected, false) => self.address.clone(),
            (State::Unknown, false) => format!("{}, last seen", self.address),
            (state, false) => format!("{} · {}", state.word(), self.address),
            (state, true) => state.word().to_owned(),
        }
    }
}
