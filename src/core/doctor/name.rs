//! Who is who: the proxy, what it serves, and which declared object that is.

use std::collections::{BTreeMap, BTreeSet};

use super::routing::Routing;
use crate::core::api::{Kind, ObjectKey, ProxyType};
use crate::core::desired::{DesiredDestination, DesiredMember, DesiredServer, ProxyInstance};
use crate::core::observed::{
    NetworkId, ObservedContainer, ObservedEndpoint, ObservedNetwork, ObservedService, ObservedState,
};
use crate::core::plan::{SWARM_SERVICE, is_one_off, selects};
use crate::core::scan::recognise_proxy;

/// A server with its proxy told apart from what it serves.
pub(super) struct View<'a> {
    pub(super) server: &'a DesiredServer,
    pub(super) observed: &'a ObservedState,
    pub(super) networks: BTreeMap<&'a NetworkId, &'a ObservedNetwork>,
    pub(super) proxy: Option<ProxyView<'a>>,
    /// Containers of one proxy at least carry labels that it reads.
    by_labels: bool,
}

pub(super) struct ProxyView<'a> {
    pub(super) name: String,
    pub(super) proxy_type: ProxyType,
    /// One, or the tasks of the service that run here.
    pub(super) containers: Vec<&'a ObservedContainer>,
    pub(super) service: Option<&'a ObservedService>,
    /// A manifest declares it.
    pub(super) declared: bool,
    pub(super) is_service: bool,
}

/// A container that the proxy is to serve.
pub(super) struct Served<'a> {
    pub(super) container: &'a ObservedContainer,
    /// `None`: no labels; the proxy's own configuration names it.
    pub(super) routing: Option<Routing>,
    pub(super) destination: Option<&'a DesiredDestination>,
    pub(super) resource: Option<&'a ObjectKey>,
}

impl<'a> View<'a> {
    pub(super) fn new(server: &'a DesiredServer, observed: &'a ObservedState) -> Self {
        let declared = server.proxy.as_ref().map(|proxy| (proxy.instance.clone(), proxy.proxy_type));
        let is_declared = declared.is_some();
        let proxy = declared.or_else(|| recognise_proxy(observed)).map(|(instance, proxy_type)| {
            let name = instance.name().to_owned();
            let is_service = matches!(instance, ProxyInstance::Service(_));
            let is = |container: &&ObservedContainer| match &instance {
                ProxyInstance::Container(name) => container.name == *name,
                ProxyInstance::Service(name) => container.labels.get(SWARM_SERVICE) == Some(name),
            };
            ProxyView {
                proxy_type,
                containers: observed.containers.iter().filter(is).collect(),
                service: observed.services.iter().find(|service| is_service && service.name == name),
                declared: is_declared,
                name,
                is_service,
            }
        });
        let mut view = Self {
            server,
            observed,
            networks: observed.networks.iter().map(|network| (&network.id, network)).collect(),
            proxy,
            by_labels: false,
        };
        let by_labels = view.others().any(|container| view.routing(&container.labels).is_some());
        view.by_labels = by_labels;
        view
    }

    pub(super) fn proxy_type(&self) -> ProxyType {
        self.proxy.as_ref().map_or(ProxyType::Other, |proxy| proxy.proxy_type)
    }

    pub(super) fn routing(&self, labels: &BTreeMap<String, String>) -> Option<Routing> {
        Routing::read(self.proxy_type(), labels)
    }

    fn others(&self) -> impl Iterator<Item = &'a ObservedContainer> + use<'a, '_> {
        let is_proxy = |container: &ObservedContainer| {
            self.proxy.as_ref().is_some_and(|proxy| proxy.containers.iter().any(|it| it.id == container.id))
        };
        self.observed.containers.iter().filter(move |container| !is_proxy(container) && !is_one_off(container))
    }

    /// The destination and the resource that the container is a member of; a destination with the proxy first.
    pub(super) fn member(&self, container: &ObservedContainer) -> Option<(&'a DesiredDestination, &'a DesiredMember)> {
        let members = self.server.destinations.iter().flat_map(|it| it.members.iter().map(move |member| (it, member)));
        members
            .filter(|(_, member)| selects(&member.selector, container))
            .min_by_key(|(destination, member)| (!destination.proxy, !destination.active, &member.resource))
    }

    /// The containers that the proxy is to serve: those whose labels say so, or, where it reads none, the declared applications.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &'a ObservedContainer> + use<'a, '_> {
        self.others().filter(|container| self.proxy.is_some() && self.is_served(container))
    }

    fn is_served(&self, container: &ObservedContainer) -> bool {
        if self.by_labels || self.proxy_type() == ProxyType::Traefik {
            return self.routing(&container.labels).is_some();
        }
        self.member(container).is_some_and(|(destination, member)| {
            destination.proxy && member.connect && member.resource.kind == Kind::Application
        })
    }

    pub(super) fn served(&self) -> Vec<Served<'a>> {
        self.candidates()
            .map(|container| {
                let member = self.member(container);
                Served {
                    container,
                    routing: self.routing(&container.labels),
                    destination: member.map(|(destination, _)| destination),
                    resource: member.map(|(_, member)| &member.resource),
                }
            })
            .collect()
    }

    /// The networks that the container is on: those that exist, by name.
    pub(super) fn networks_of(
        &self,
        container: &'a ObservedContainer,
    ) -> Vec<(&'a ObservedEndpoint, &'a ObservedNetwork)> {
        let on = |endpoint: &'a ObservedEndpoint| {
            let network = self.networks.get(endpoint.network_id.as_ref()?)?;
            Some((endpoint, *network))
        };
        container.endpoints.iter().filter_map(on).collect()
    }

    /// The container whose network another one shares.
    pub(super) fn shared(&self, container: &ObservedContainer) -> Option<&'a ObservedContainer> {
        let of = container.network_mode.strip_prefix("container:")?;
        self.observed.containers.iter().find(|it| it.id.as_str() == of || it.name == of)
    }

    pub(super) fn network_named(&self, name: &str) -> Vec<&'a ObservedNetwork> {
        self.observed.networks.iter().filter(|network| network.name == name).collect()
    }

    /// The destination that the network is declared as.
    pub(super) fn destination(&self, network: &str) -> Option<&'a DesiredDestination> {
        self.server.destinations.iter().find(|it| it.network.name.as_deref() == Some(network) && !it.suspend)
    }

    /// The networks that the proxy is on.
    pub(super) fn of_proxy(&self) -> BTreeSet<&'a NetworkId> {
        let Some(proxy) = &self.proxy else { return BTreeSet::new() };
        let own = proxy.containers.iter().flat_map(|container| {
            let through = self.shared(container).unwrap_or(container);
            self.networks_of(through).into_iter().map(|(_, network)| &network.id)
        });
        let of_service =
            self.observed.networks.iter().filter(|network| proxy.service.is_some_and(|service| service.is_on(network)));
        own.chain(of_service.map(|network| &network.id)).collect()
    }
}

/// For a shell.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-:/=@+,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// `a`, `a and b`, `a, b and c`; nothing is `no network`.
pub(super) fn list<'t>(names: impl IntoIterator<Item = &'t str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => "no network".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
