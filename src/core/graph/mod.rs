//! The declared servers, destinations and members as a drawing.
//!
//! Made from the manifests alone: a graph can be drawn in a pull request, where no server is reachable.
//! [`Graph::new`] collects what there is to draw; [`mermaid`], [`dot`] and [`svg`] write it down.

mod dot;
mod mermaid;
mod picture;
mod svg;
mod topology;

use std::collections::{BTreeMap, BTreeSet};

pub use dot::dot;
pub use mermaid::mermaid;
pub use picture::{CARDS, Cell, Drawn, Layout, STYLE, fleet, picture};
pub use svg::svg;
pub use topology::{DestinationShape, EndShape, Look, ServerShape, State, Tone, destination_state};

use crate::core::api::{Kind, Object, ObjectKey, ServerRole, Spec};
use crate::core::printable::is_obeyed;

/// What there is to draw, in a stable order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// In the order of their keys.
    pub servers: Vec<ServerNode>,
    /// In the order of their keys.
    pub members: Vec<MemberNode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNode {
    pub key: ObjectKey,
    pub endpoint: String,
    /// Name of the proxy's container or service.
    pub proxy: Option<String>,
    /// A build server takes no destinations.
    pub build: bool,
    pub suspended: bool,
    /// How it is, where that was looked at.
    pub state: Option<State>,
    /// In the order of their keys.
    pub destinations: Vec<DestinationNode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationNode {
    pub key: ObjectKey,
    /// As declared.
    pub display_name: Option<String>,
    /// `None`: generated.
    pub network: Option<String>,
    /// The server's proxy is connected to it.
    pub proxied: bool,
    pub active: bool,
    pub suspended: bool,
    /// How it is, and how the proxy is on it, where that was looked at.
    pub state: Option<State>,
    pub proxy: Option<State>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberNode {
    pub key: ObjectKey,
    /// A service stack that keeps to its own network: it belongs to its destinations without being on them.
    pub isolated: bool,
    pub destination: ObjectKey,
    pub additional: Vec<ObjectKey>,
    /// How its containers are, and where, where that was looked at: the worst of them.
    pub state: Option<(State, String)>,
}

impl Graph {
    /// What a validated set of objects declares. References that lead nowhere are left out: saying so is the validation's business.
    pub fn new<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut servers = BTreeMap::new();
        let mut destinations = BTreeMap::new();
        let mut members = BTreeMap::new();
        let objects: Vec<&Object> = objects.into_iter().collect();
        let defaults: BTreeMap<ObjectKey, ObjectKey> = objects
            .iter()
            .filter_map(|object| {
                let Spec::Server(spec) = &object.spec else { return None };
                let default = spec.default_destination.as_ref()?;
                Some((object.key(), default.resolve(Kind::Destination, &object.metadata.namespace)))
            })
            .collect();
        for object in objects {
            let key = object.key();
            let namespace = &object.metadata.namespace;
            if let Some(placement) = object.spec.placement() {
                let resolve = |reference: &crate::core::api::ObjectRef| reference.resolve(Kind::Destination, namespace);
                let default = || defaults.get(&placement.server?.resolve(Kind::Server, namespace)).cloned();
                let Some(destination) = placement.destination.map(resolve).or_else(default) else { continue };
                let member = MemberNode {
                    key: key.clone(),
                    isolated: !placement.connect,
                    destination,
                    additional: placement.additional.iter().map(resolve).collect(),
                    state: None,
                };
                members.insert(key, member);
                continue;
            }
            match &object.spec {
                Spec::Server(spec) => {
                    let proxy = spec.proxy.as_ref().and_then(|proxy| proxy.container.clone().or(proxy.service.clone()));
                    let server = ServerNode {
                        key: key.clone(),
                        endpoint: spec.endpoint.clone(),
                        proxy,
                        build: spec.role == ServerRole::Build,
                        suspended: spec.suspend,
                        state: None,
                        destinations: Vec::new(),
                    };
                    servers.insert(key, server);
                }
                Spec::Destination(spec) => {
                    let destination = DestinationNode {
                        key: key.clone(),
                        display_name: spec.display_name.clone(),
                        network: spec.network.name.clone(),
                        proxied: spec.proxy && spec.active,
                        active: spec.active,
                        suspended: spec.suspend,
                        state: None,
                        proxy: None,
                    };
                    destinations.insert(key, (spec.server.resolve(Kind::Server, namespace), destination));
                }
                Spec::Application(_) | Spec::Database(_) | Spec::Service(_) | Spec::Notifier(_) => {}
            }
        }
        members.retain(|_, member| {
            member.additional.retain(|key| destinations.contains_key(key));
            destinations.contains_key(&member.destination)
        });
        for (server, mut destination) in destinations.into_values() {
            if let Some(server) = servers.get_mut(&server) {
                destination.proxied &= server.proxy.is_some();
                server.destinations.push(destination);
            }
        }
        Self { servers: servers.into_values().collect(), members: members.into_values().collect() }
    }
}

impl Graph {
    /// Leaves the objects that `takes` takes, and what they are on: a member without its destination would tell nothing.
    pub fn narrow(&mut self, takes: impl Fn(&ObjectKey) -> bool) {
        self.members.retain(|member| takes(&member.key));
        let needed: BTreeSet<ObjectKey> = self
            .members
            .iter()
            .flat_map(|member| std::iter::once(&member.destination).chain(&member.additional))
            .cloned()
            .collect();
        for server in &mut self.servers {
            server.destinations.retain(|destination| takes(&destination.key) || needed.contains(&destination.key));
        }
        self.servers.retain(|server| takes(&server.key) || !server.destinations.is_empty());
    }

    /// Leaves these servers, and what is on them.
    pub fn narrow_to(&mut self, servers: &BTreeSet<ObjectKey>) {
        self.servers.retain(|server| servers.contains(&server.key));
        let drawn: BTreeSet<&ObjectKey> =
            self.servers.iter().flat_map(|server| &server.destinations).map(|destination| &destination.key).collect();
        self.members.retain_mut(|member| {
            member.additional.retain(|destination| drawn.contains(destination));
            match drawn.contains(&member.destination) {
                true => true,
                false if member.additional.is_empty() => false,
                false => {
                    member.destination = member.additional.remove(0);
                    true
                }
            }
        });
    }
}

impl Graph {
    /// Adds how everything is.
    pub fn observe(&mut self, shapes: &[ServerShape]) {
        let destinations: BTreeMap<&ObjectKey, &DestinationShape> =
            shapes.iter().flat_map(|server| &server.destinations).map(|shape| (&shape.key, shape)).collect();
        for server in &mut self.servers {
            server.state = shapes.iter().find(|shape| shape.key == server.key).map(|shape| shape.state);
            for destination in &mut server.destinations {
                let shape = destinations.get(&destination.key);
                destination.state = shape.map(|shape| shape.state);
                destination.proxy = shape.and_then(|shape| shape.proxy);
            }
        }
        for member in &mut self.members {
            let on = std::iter::once(&member.destination).chain(&member.additional);
            let ends = on.filter_map(|key| destinations.get(key)).flat_map(|shape| &shape.ends);
            let own: Vec<&EndShape> = ends.filter(|end| end.resource.as_ref() == Some(&member.key)).collect();
            let worst = own.iter().map(|end| end.state).min();
            let says = own.iter().filter(|end| Some(end.state) == worst).map(|end| end.says()).next();
            member.state = worst.zip(says);
        }
    }
}

impl DestinationNode {
    /// What is worth saying beside its name.
    fn remark(&self) -> Option<&'static str> {
        match (self.active, self.suspended) {
            (false, _) => Some("deactivated"),
            (true, true) => Some("suspended"),
            (true, false) => None,
        }
    }

    /// Its network's name and what is worth saying about it.
    fn subtitle(&self) -> String {
        let network = self.network.as_deref().unwrap_or("generated name");
        match self.state.map(State::word).or(self.remark()) {
            Some(remark) => format!("{network}, {remark}"),
            None => network.to_owned(),
        }
    }

    /// Everything, for a tooltip.
    fn title(&self) -> String {
        match &self.display_name {
            Some(name) => format!("{}: {name} ({})", self.key, self.subtitle()),
            None => format!("{} ({})", self.key, self.subtitle()),
        }
    }
}

impl ServerNode {
    fn remark(&self) -> Option<&'static str> {
        match (self.build, self.suspended) {
            (true, _) => Some("build server"),
            (false, true) => Some("suspended"),
            (false, false) => None,
        }
    }

    fn subtitle(&self) -> String {
        match self.state.map(State::word).or(self.remark()) {
            Some(remark) => format!("{remark}, {}", self.endpoint),
            None => self.endpoint.clone(),
        }
    }
}

impl MemberNode {
    /// Everything, for a tooltip.
    fn title(&self) -> String {
        if self.isolated { format!("{} (keeps to its own network)", self.key) } else { self.key.to_string() }
    }
}

/// Names longer than this are cut in a drawing; the tooltip has them whole.
const LONGEST_LABEL: usize = 40;

/// At most `longest` characters, the last of them `…` where something was cut off. Control characters become spaces: no drawing wants them,
/// and XML forbids most.
fn shorten(text: &str, longest: usize) -> String {
    let mut shortened: String = text.chars().take(longest).map(printable).collect();
    if text.chars().nth(longest).is_some() {
        shortened.pop();
        shortened.push('…');
    }
    shortened
}

/// Directional overrides are taken out with the control characters: they make a name read as another one.
fn printable(character: char) -> char {
    if character.is_control() || is_obeyed(character) { ' ' } else { character }
}
