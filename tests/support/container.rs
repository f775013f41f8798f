//! Containers in every state.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::host::{Host, IMAGE, text};
use super::wait_for;

/// A container to be made: say what it is like, then bring it into a state.
pub(crate) struct ContainerBuilder<'a> {
    host: &'a Host,
    name: String,
    image: String,
    command: Vec<String>,
    labels: Map<String, Value>,
    env: Vec<String>,
    restart: Option<String>,
    stop_signal: String,
    /// Seconds until the daemon kills it.
    stop_timeout: Option<u32>,
    network_mode: Option<String>,
    binds: Vec<String>,
    mac_address: Option<String>,
    healthcheck: Option<String>,
    /// Ports of the container and of the host.
    ports: Vec<(u16, u16)>,
    /// Endpoint settings by network: all but the first are connected after creation, as the API before 1.44 demands.
    networks: Vec<(String, Value)>,
}

impl<'a> ContainerBuilder<'a> {
    pub(crate) fn new(host: &'a Host, name: &str) -> Self {
        Self {
            host,
            name: name.to_owned(),
            image: IMAGE.to_owned(),
            command: vec!["sleep".to_owned(), "1000000".to_owned()],
            labels: Map::new(),
            env: Vec::new(),
            restart: None,
            // Process 1 ignores SIGTERM; nobody wants to wait ten seconds for each.
            stop_signal: "SIGKILL".to_owned(),
            stop_timeout: None,
            network_mode: None,
            binds: Vec::new(),
            mac_address: None,
            healthcheck: None,
            ports: Vec::new(),
            networks: Vec::new(),
        }
    }

    pub(crate) fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// It does not hear when it is asked to end, and is killed after so many seconds.
    pub(crate) fn slow_to_stop(self, seconds: u32) -> Self {
        Self { stop_timeout: Some(seconds), ..self.stop_signal("SIGTERM") }
    }

    /// One that [`Host::import_image`] has made.
    pub(crate) fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), json!(value));
        self
    }

    /// `NAME=value`
    pub(crate) fn env(mut self, variable: &str) -> Self {
        self.env.push(variable.to_owned());
        self
    }

    /// `always`, `unless-stopped`, `on-failure`
    pub(crate) fn restart(mut self, policy: &str) -> Self {
        self.restart = Some(policy.to_owned());
        self
    }

    pub(crate) fn stop_signal(mut self, signal: &str) -> Self {
        signal.clone_into(&mut self.stop_signal);
        self
    }

    /// `host`, `none` or `container:NAME`, where it is not on a network of its own.
    pub(crate) fn network_mode(mut self, mode: &str) -> Self {
        self.network_mode = Some(mode.to_owned());
        self
    }

    /// A file of the host, where it is in the container.
    pub(crate) fn bind(mut self, source: &Path, target: &str) -> Self {
        self.binds.push(format!("{}:{target}", source.display()));
        self
    }

    /// A volume of that name.
    pub(crate) fn volume(mut self, volume: &str, target: &str) -> Self {
        self.binds.push(format!("{volume}:{target}"));
        self
    }

    pub(crate) fn mac_address(mut self, address: &str) -> Self {
        self.mac_address = Some(address.to_owned());
        self
    }

    /// A shell command that is run every second; healthy where it succeeds, and unhealthy once it fails.
    pub(crate) fn healthcheck(mut self, command: &str) -> Self {
        self.healthcheck = Some(command.to_owned());
        self
    }

    /// Makes a TCP port of the container one of the host.
    pub(crate) fn publish(mut self, container: u16, host: u16) -> Self {
        self.ports.push((container, host));
        self
    }

    /// On this network. A container on none of its own is on the default bridge.
    pub(crate) fn network(self, network: &str) -> Self {
        self.network_with(network, json!({}))
    }

    /// `endpoint` is the `EndpointConfig` of the API: Aliases, IPAMConfig, DriverOpts, …
    pub(crate) fn network_with(mut self, network: &str, endpoint: Value) -> Self {
        self.networks.push((network.to_owned(), endpoint));
        self
    }

    /// Created, never started. Returns the id, as all that follow.
    pub(crate) fn created(self) -> String {
        let mode = self.network_mode.or_else(|| self.networks.first().map(|(network, _)| network.clone()));
        let first: Map<String, Value> = self.networks.iter().take(1).cloned().collect();
        let port = |&(container, host): &(u16, u16)| {
            (format!("{container}/tcp"), json!([{ "HostIp": "127.0.0.1", "HostPort": host.to_string() }]))
        };
        let ports: Map<String, Value> = self.ports.iter().map(port).collect();
        let exposed: Map<String, Value> = ports.keys().map(|port| (port.clone(), json!({}))).collect();
        let mut body = json!({
            "Image": self.image,
            "Cmd": self.command,
            "Labels": self.labels,
            "Env": self.env,
            "StopSignal": self.stop_signal,
            "StopTimeout": self.stop_timeout,
            "ExposedPorts": exposed,
            "HostConfig": {
                "CgroupParent": self.host.control_group(),
                "NetworkMode": mode.unwrap_or_else(|| "default".to_owned()),
                "PortBindings": ports,
                "Binds": self.binds,
                "RestartPolicy": { "Name": self.restart.unwrap_or_default() },
            },
            "NetworkingConfig": { "EndpointsConfig": first },
        });
        if let Some(command) = self.healthcheck {
            let second = 1_000_000_000_u64;
            body["Healthcheck"] =
                json!({ "Test": ["CMD-SHELL", command], "Interval": second, "Timeout": 5 * second, "Retries": 1 });
        }
        if let Some(mac_address) = self.mac_address {
            body["MacAddress"] = json!(mac_address);
        }
        let id = text(&self.host.post(&format!("/containers/create?name={}", self.name), body)["Id"]);
        for (network, endpoint) in self.networks.into_iter().skip(1) {
            self.host.connect_with(&network, &id, endpoint);
        }
        id
    }

    pub(crate) fn running(self) -> String {
        let host = self.host;
        let id = self.created();
        host.start_container(&id);
        id
    }

    pub(crate) fn paused(self) -> String {
        let host = self.host;
        let id = self.running();
        host.post(&format!("/containers/{id}/pause"), Value::Null);
        id
    }

    /// Ran and was stopped.
    pub(crate) fn exited(self) -> String {
        let host = self.host;
        let id = self.running();
        host.stop_container(&id);
        id
    }

    /// Fails again and again; the daemon is waiting before it tries once more. It stays so for a second and a half.
    pub(crate) fn restarting(mut self) -> String {
        self.command = vec!["false".to_owned()];
        let host = self.host;
        let id = self.restart("always").running();
        // The pause doubles with every attempt, from a tenth of a second.
        wait_for("the container is restarting", || {
            let container = host.inspect(&id);
            let waits = container["State"]["Status"] == "restarting" && container["RestartCount"].as_u64() >= Some(4);
            waits.then_some(())
        });
        id
    }

    /// Its removal failed halfway: the daemon could not delete its files.
    pub(crate) fn dead(self) -> String {
        let host = self.host;
        let id = self.exited();
        let files = host.data_directory().join("containers").join(&id);
        let locked = std::process::Command::new("chattr").arg("+i").arg(&files).status();
        assert!(locked.is_ok_and(|status| status.success()), "{} cannot be made immutable", files.display());
        let removed = host.api("DELETE", &format!("/containers/{id}"), &Value::Null);
        assert_eq!(removed.status, 500, "{}", removed.body);
        id
    }
}
