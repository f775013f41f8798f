//! The real daemon.

use std::sync::Arc;

use landfall::core::observed::{ContainerId, ContainerState, EndpointSettings, ServiceId};
use landfall::shell::engine::connect::{ConnectOptions, UnixDialer};
use landfall::shell::engine::{DockerWriter, Writer};
use serde_json::{Value, json};

use super::{ContainerSpec, Subject, conformance};
use crate::support::Host;
use crate::support::host::{IMAGE, text};

pub(super) struct DockerSubject {
    host: Host,
    engine: DockerWriter,
}

impl DockerSubject {
    pub(super) fn on(host: Host) -> Self {
        let dialer = Arc::new(UnixDialer::new(host.socket().display().to_string()));
        let engine = DockerWriter::new("default/test", dialer, &ConnectOptions::default());
        Self { host, engine }
    }
}

impl Subject for DockerSubject {
    fn engine(&self) -> &dyn Writer {
        &self.engine
    }

    fn add_container(&self, spec: &ContainerSpec) -> ContainerId {
        let mut container = self.host.container(&spec.name);
        for (network, settings) in &spec.networks {
            container = container.network_with(network, endpoint(settings));
        }
        for (key, value) in &spec.labels {
            container = container.label(key, value);
        }
        for variable in &spec.env {
            container = container.env(variable);
        }
        if let Some(mode) = &spec.network_mode {
            container = container.network_mode(mode);
        }
        let id = match spec.state {
            ContainerState::Created => container.created(),
            ContainerState::Running => container.running(),
            ContainerState::Paused => container.paused(),
            ContainerState::Exited => container.exited(),
            other => panic!("no case asks for a container that is {}", other.as_str()),
        };
        id.try_into().unwrap()
    }

    fn remove_container(&self, id: &ContainerId) {
        self.host.remove_container(id.as_str());
    }

    fn add_service(&self, name: &str) -> ServiceId {
        if self.host.get("/info")["Swarm"]["LocalNodeState"] != "active" {
            self.host.swarm_init();
        }
        let body = json!({
            "Name": name, "Mode": { "Replicated": { "Replicas": 0 } }, "EndpointSpec": { "Mode": "dnsrr" },
            "TaskTemplate": { "ContainerSpec": { "Image": IMAGE } }
        });
        text(&self.host.post("/services/create", body)["ID"]).try_into().unwrap()
    }

    fn remove_service(&self, id: &ServiceId) {
        self.host.delete(&format!("/services/{id}"));
    }
}

fn endpoint(settings: &EndpointSettings) -> Value {
    let EndpointSettings {
        aliases,
        links,
        ipv4_address,
        ipv6_address,
        link_local_ips,
        mac_address,
        driver_opts,
        gw_priority: _,
    } = settings;
    let mut endpoint =
        json!({ "Aliases": aliases, "Links": links, "DriverOpts": driver_opts, "MacAddress": mac_address });
    if ipv4_address.is_some() || ipv6_address.is_some() || !link_local_ips.is_empty() {
        endpoint["IPAMConfig"] =
            json!({ "IPv4Address": ipv4_address, "IPv6Address": ipv6_address, "LinkLocalIPs": link_local_ips });
    }
    endpoint
}

conformance!(real, DockerSubject::on(Host::start()));
conformance!(swarm real_swarm, DockerSubject::on(Host::start()));
