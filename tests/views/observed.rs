//! Observed states, built by what matters to a test.

use landfall::core::observed::{
    ContainerId, ContainerState, EndpointSettings, EngineInfo, NetworkId, NetworkScope, ObservedContainer,
    ObservedEndpoint, ObservedNetwork, ObservedService, ObservedState, ObservedSubnet, SwarmState,
};

/// A standalone server with the networks that every engine has, and these.
pub(super) fn server(networks: Vec<ObservedNetwork>, containers: Vec<ObservedContainer>) -> ObservedState {
    let mut all: Vec<_> = [("bridge", "bridge"), ("host", "host"), ("none", "null")]
        .into_iter()
        .map(|(name, driver)| ObservedNetwork { driver: driver.to_owned(), ..network(name) })
        .collect();
    all.extend(networks);
    let engine = EngineInfo {
        id: "ENGINE".to_owned(),
        name: "Edge_1.example.com".to_owned(),
        version: "20.10.24".to_owned(),
        api_version: None,
        swarm: SwarmState::Inactive,
        address_pools: Vec::new(),
        addresses: Vec::new(),
    };
    ObservedState { networks: all, containers, ..ObservedState::of(engine) }
}

pub(super) fn manager(networks: Vec<ObservedNetwork>, services: Vec<ObservedService>) -> ObservedState {
    let mut state = server(networks, Vec::new());
    state.engine.swarm = SwarmState::Manager {
        node_id: "node".to_owned(),
        cluster_id: "cluster".to_owned(),
        nodes: Some(1),
        managers: ["node".to_owned()].into(),
    };
    state.services = services;
    state
}

fn id_of(text: &str) -> String {
    let mut id: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    id.truncate(64);
    format!("{id:0<64}")
}

pub(super) fn network_id(name: &str) -> NetworkId {
    NetworkId::try_from(id_of(name)).unwrap()
}

pub(super) fn container_id(name: &str) -> ContainerId {
    ContainerId::try_from(id_of(&format!("container {name}"))).unwrap()
}

pub(super) fn network(name: &str) -> ObservedNetwork {
    ObservedNetwork {
        id: network_id(name),
        name: name.to_owned(),
        driver: "bridge".to_owned(),
        scope: NetworkScope::Local,
        internal: false,
        attachable: false,
        ingress: false,
        ipv4: true,
        ipv6: false,
        subnets: Vec::new(),
        options: [].into(),
        labels: [].into(),
        created: "2026-03-01T10:00:00Z".to_owned(),
    }
}

pub(super) fn overlay(name: &str) -> ObservedNetwork {
    ObservedNetwork { driver: "overlay".to_owned(), scope: NetworkScope::Swarm, attachable: true, ..network(name) }
}

pub(super) fn subnet(subnet: &str, gateway: &str) -> ObservedSubnet {
    ObservedSubnet { subnet: subnet.to_owned(), gateway: Some(gateway.to_owned()), ..ObservedSubnet::default() }
}

pub(super) fn container(name: &str, image: &str, networks: &[&str]) -> ObservedContainer {
    ObservedContainer {
        id: container_id(name),
        name: name.to_owned(),
        image: image.to_owned(),
        state: ContainerState::Running,
        exit: None,
        health: None,
        up: None,
        restarts: 0,
        labels: [].into(),
        network_mode: (*networks.first().unwrap_or(&"default")).to_owned(),
        ports: Vec::new(),
        endpoints: networks
            .iter()
            .map(|network| ObservedEndpoint {
                network_name: (*network).to_owned(),
                network_id: Some(network_id(network)),
                endpoint_id: id_of(&format!("{name} on {network}")),
                ipv4_address: String::new(),
                ipv6_address: String::new(),
                gw_priority: None,
                settings: Some(EndpointSettings::default()),
            })
            .collect(),
    }
}

pub(super) trait Labelled {
    fn labels(self, labels: &[(&str, &str)]) -> Self;
}

impl Labelled for ObservedContainer {
    fn labels(mut self, labels: &[(&str, &str)]) -> Self {
        self.labels.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }
}

impl Labelled for ObservedNetwork {
    fn labels(mut self, labels: &[(&str, &str)]) -> Self {
        self.labels.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }
}
