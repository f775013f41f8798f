//! A Docker Engine in memory: the stand-in for tests of what a real daemon does too rarely, too slowly or not on request.
//!
//! It keeps to what `dockerd` 20.10 was seen to do, oddities included, and passes the same conformance tests. Where the two differ, the daemon is right.
//! On top of that it counts calls, fails, hangs and stops at a chosen call, serves stale reads, and lets somebody else act between two calls.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use landfall::core::observed::{
    ContainerId, ContainerState, EndpointSettings, EngineInfo, NetworkId, NetworkScope, ObservedContainer,
    ObservedEndpoint, ObservedNetwork, ObservedService, ObservedSubnet, ObservedTask, ServiceId, ServiceNetwork,
    SwarmState,
};
use landfall::core::plan::NetworkCreate;
use landfall::core::workload::Value;
use landfall::core::workload::seen::{SeenImage, SeenVolume};
use landfall::core::workload::service::{SeenSecret, ServiceCreate, ServiceTask, UpdateStatus};
use landfall::shell::engine::{
    ContainerDetail, EngineError, EngineErrorKind, EngineEvent, Reader, ServiceNetworkUpdate, ServiceUpdate, Writer,
};
use tokio::sync::watch;

use super::workloads;

/// One user's connection to an engine. Clones share the connection; [`MemoryEngine::another`] is a second one to the same daemon.
#[derive(Clone)]
pub(crate) struct MemoryEngine {
    world: Arc<Mutex<World>>,
    session: Arc<Mutex<Session>>,
}

/// What one connection did, and what is to go wrong on it.
#[derive(Default)]
struct Session {
    calls: Vec<LoggedCall>,
    /// The mutating calls that reached the daemon.
    performed: BTreeMap<&'static str, usize>,
    faults: Vec<Fault>,
    /// Lets others go first a number of times before each call.
    dither: Option<u64>,
    /// Reads are answered from here while it is set.
    stale: Option<World>,
    interfere: Option<Interfere>,
    /// Reads find the server unreachable once that many mutating calls were made.
    reads_fail_after: Option<usize>,
    /// Inspecting a container takes so long.
    inspection: Duration,
    hung: watch::Sender<bool>,
}

type Interfere = Box<dyn FnMut(&LoggedCall, &mut World) + Send>;

/// A call that was made, in the order of making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedCall {
    /// `CreateNetwork`, … as in a plan for what changes something; `networks`, `containers`, … for what reads.
    pub(crate) name: &'static str,
    /// Names of what it concerns, for people.
    pub(crate) subject: String,
    pub(crate) mutating: bool,
}

impl fmt::Display for LoggedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.subject)
    }
}

/// Something that goes wrong at the `nth` mutating call of a connection, counted from one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) nth: usize,
    pub(crate) when: When,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The daemon never sees the call.
    Before,
    /// The daemon does it, and the answer is lost.
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Fail(EngineErrorKind),
    /// No answer, ever. [`MemoryEngine::hung`] tells, so that a test can drop the caller as a crash would.
    Hang,
}

/// The daemon's state. Its methods are what "somebody else" does in a test.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) info: EngineInfo,
    pub(crate) networks: BTreeMap<NetworkId, ObservedNetwork>,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    pub(crate) services: Vec<ObservedService>,
    /// What a service was before its latest update.
    previous: BTreeMap<ServiceId, ObservedService>,
    pub(crate) secrets: Vec<SeenSecret>,
    /// What automatic subnets are cut from, in order.
    pub(crate) pools: Vec<IpNet>,
    /// Subnets of networks that are being made: taken, and not to be seen yet.
    reserved: Vec<(u64, IpNet)>,
    /// Engines from API 1.44 refuse a second network of the same name.
    pub(crate) unique_names: bool,
    /// Makes ids and times of creation: both are in the order of making.
    sequence: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) hostname: Option<String>,
    pub(crate) state: ContainerState,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) network_mode: String,
    pub(crate) env: Vec<String>,
    /// By the name of the network, as the daemon keeps them: two networks of one name share a slot.
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
}

/// A container's attachment, as the daemon keeps it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoint {
    /// Set at the first start, kept from then on: a container stays pinned to it.
    pub(crate) network_id: Option<NetworkId>,
    /// Empty while there is no endpoint in the kernel.
    pub(crate) endpoint_id: String,
    pub(crate) address: String,
    /// Left by a connect that failed on a running container. The list shows it once the container has stopped, inspection at once.
    pub(crate) leftover: bool,
    /// With the container's own short id among the aliases.
    pub(crate) settings: EndpointSettings,
}

const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

impl MemoryEngine {
    /// A daemon with the three predefined networks, no containers, and room for many networks.
    pub(crate) fn new() -> Self {
        let mut world = World {
            info: EngineInfo {
                id: "MEMORY".to_owned(),
                name: "memory".to_owned(),
                version: "20.10.24".to_owned(),
                api_version: None,
                swarm: SwarmState::Inactive,
                address_pools: Vec::new(),
                addresses: Vec::new(),
            },
            networks: BTreeMap::new(),
            containers: BTreeMap::new(),
            services: Vec::new(),
            previous: BTreeMap::new(),
            secrets: Vec::new(),
            pools: subnets_of("10.200.0.0/18", 24),
            reserved: Vec::new(),
            unique_names: false,
            sequence: 0,
        };
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            let subnets = if name == "bridge" { vec![world.automatic_subnet().expect("pools")] } else { Vec::new() };
            world.insert_network(&NetworkCreate { subnets, ..network(name, driver) });
        }
        Self { world: Arc::new(Mutex::new(world)), session: Arc::default() }
    }

    /// A second connection to the same daemon, with its own log and faults.
    pub(crate) fn another(&self) -> Self {
        Self { world: self.world.clone(), session: Arc::default() }
    }

    /// Looks at the daemon's state, or lets somebody else change it.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics while it holds the world")
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().expect("no test panics while it holds the session")
    }

    pub(crate) fn fault(&self, nth: usize, when: When, what: What) {
        self.session().faults.push(Fault { nth, when, what });
    }

    /// Resolves once a call hangs.
    pub(crate) async fn hung(&self) {
        let mut hung = self.session().hung.subscribe();
        let _ = hung.wait_for(|hung| *hung).await;
    }

    pub(crate) fn fail_reads_after_mutation(&self, nth: usize) {
        self.session().reads_fail_after = Some(nth);
    }

    pub(crate) fn inspections_take(&self, time: Duration) {
        self.session().inspection = time;
    }

    /// From now on reads show the daemon as it is at this moment, until [`MemoryEngine::fresh_reads`].
    pub(crate) fn stale_reads(&self) {
        let world = self.world().clone();
        self.session().stale = Some(world);
    }

    pub(crate) fn fresh_reads(&self) {
        self.session().stale = None;
    }

    /// Calls `action` before every call of this connection: somebody else acts in between.
    pub(crate) fn interfere(&self, action: impl FnMut(&LoggedCall, &mut World) + Send + 'static) {
        self.session().interfere = Some(Box::new(action));
    }

    /// Every call made on this connection.
    pub(crate) fn calls(&self) -> Vec<LoggedCall> {
        self.session().calls.clone()
    }

    /// The calls that change something.
    pub(crate) fn mutations(&self) -> Vec<LoggedCall> {
        self.calls().into_iter().filter(|call| call.mutating).collect()
    }

    /// How often each mutating call reached the daemon.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.session().performed.clone()
    }

    /// Interleaves this connection with others in a way that depends on `seed`.
    pub(crate) fn dither(&self, seed: u64) {
        self.session().dither = Some(seed);
    }

    async fn turn(&self) {
        let times = self.session().dither.as_mut().map_or(1, |state| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) % 4
        });
        for _ in 0..times {
            yield_once().await;
        }
    }

    async fn read<T>(&self, name: &'static str, answer: impl FnOnce(&World) -> T) -> Result<T, EngineError> {
        self.turn().await;
        self.log(name, String::new(), false);
        let made = self.mutations().len();
        if self.session().reads_fail_after.is_some_and(|nth| made >= nth) {
            return Err(error(EngineErrorKind::Unreachable, "made unreachable by the test"));
        }
        let stale = self.session().stale.clone();
        Ok(match stale {
            Some(world) => answer(&world),
            None => answer(&self.world()),
        })
    }

    async fn mutate<T>(
        &self,
        name: &'static str,
        subject: impl FnOnce(&World) -> String,
        act: impl FnOnce(&mut World) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.turn().await;
        let subject = subject(&self.world());
        self.log(name, subject, true);
        let nth = self.mutations().len();
        self.break_down(nth, When::Before).await?;
        let answer = act(&mut self.world());
        *self.session().performed.entry(name).or_default() += 1;
        self.break_down(nth, When::After).await?;
        answer
    }

    fn log(&self, name: &'static str, subject: String, mutating: bool) {
        let call = LoggedCall { name, subject, mutating };
        let interfere = {
            let mut session = self.session();
            session.calls.push(call.clone());
            session.interfere.take()
        };
        if let Some(mut interfere) = interfere {
            interfere(&call, &mut self.world());
            self.session().interfere.get_or_insert(interfere);
        }
    }

    async fn break_down(&self, nth: usize, when: When) -> Result<(), EngineError> {
        let fault = self.session().faults.iter().find(|fault| fault.nth == nth && fault.when == when).copied();
        match fault.map(|fault| fault.what) {
            None => Ok(()),
            Some(What::Fail(kind)) => Err(error(kind, "made to fail by the test")),
            Some(What::Hang) => {
                self.session().hung.send_replace(true);
                std::future::pending().await
            }
        }
    }
}

/// Ends with the making, however that ends.
struct Reservation {
    world: Arc<Mutex<World>>,
    token: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Ok(mut world) = self.world.lock() {
            world.reserved.retain(|(token, _)| *token != self.token);
        }
    }
}

/// Gives whoever else is polled a turn: two appliers on one thread interleave at every call.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn error(kind: EngineErrorKind, message: impl Into<String>) -> EngineError {
    EngineError { kind, attempted: "calling the engine in memory".to_owned(), message: message.into(), hint: None }
}

fn no_such_network(id: &NetworkId) -> EngineError {
    error(EngineErrorKind::NotFound, format!("network {id} not found"))
}

fn status(state: &str) -> Option<UpdateStatus> {
    Some(UpdateStatus { state: state.to_owned(), message: String::new() })
}

fn no_such_container(id: &ContainerId) -> EngineError {
    error(EngineErrorKind::NotFound, format!("No such container: {id}"))
}

/// A network of that name with nothing else said.
pub(crate) fn network(name: &str, driver: &str) -> NetworkCreate {
    NetworkCreate {
        replaces: Vec::new(),
        beside: Vec::new(),
        generated: false,
        name: name.to_owned(),
        driver: driver.to_owned(),
        attachable: false,
        internal: false,
        ipv4: true,
        ipv6: false,
        subnets: Vec::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

pub(crate) fn subnets_of(base: &str, size: u8) -> Vec<IpNet> {
    base.parse::<IpNet>().expect("a CIDR").subnets(size).expect("a longer prefix").collect()
}

impl World {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Spread over the whole range, as a real daemon's are: the order of ids is not the order of creation.
    fn fresh_hex(&mut self) -> String {
        let number = self.next();
        format!("{:016x}{:048x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number)
    }

    fn fresh_time(&mut self) -> String {
        let number = self.next();
        format!("2026-01-01T00:{:02}:{:02}.{:09}Z", number / 60 % 60, number % 60, number)
    }

    fn automatic_subnet(&self) -> Result<ObservedSubnet, EngineError> {
        let free = self.pools.iter().find(|pool| !self.overlaps(pool)).ok_or_else(|| {
            error(
                EngineErrorKind::AddressPoolExhausted,
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            )
        })?;
        let gateway = free.hosts().next().map(|address| address.to_string());
        Ok(ObservedSubnet { subnet: free.to_string(), gateway, ..ObservedSubnet::default() })
    }

    fn overlaps(&self, subnet: &IpNet) -> bool {
        self.networks
            .values()
            .flat_map(|network| &network.subnets)
            .filter_map(|other| other.subnet.parse::<IpNet>().ok())
            .chain(self.reserved.iter().map(|(_, subnet)| *subnet))
            .any(|other| other.contains(subnet) || subnet.contains(&other))
    }

    /// The networks of that name.
    pub(crate) fn networks_named(&self, name: &str) -> Vec<&ObservedNetwork> {
        self.networks.values().filter(|network| network.name == name).collect()
    }

    /// The one network of that name.
    pub(crate) fn network_named(&self, name: &str) -> &ObservedNetwork {
        match self.networks_named(name).as_slice() {
            [network] => network,
            found => panic!("one network named {name:?} expected, {} found", found.len()),
        }
    }

    pub(crate) fn container_named(&self, name: &str) -> &Container {
        self.containers.values().find(|container| container.name == name).expect("a container of that name")
    }

    pub(crate) fn create_network(&mut self, create: &NetworkCreate) -> Result<NetworkId, EngineError> {
        self.check_network(create)?;
        Ok(self.insert_network(create))
    }

    fn check_network(&self, create: &NetworkCreate) -> Result<(), EngineError> {
        if PREDEFINED.contains(&create.name.as_str()) {
            let message = format!("operation is not permitted on predefined {} network", create.name);
            return Err(error(EngineErrorKind::Forbidden, message));
        }
        if create.driver == "overlay" && !matches!(self.info.swarm, SwarmState::Manager { .. }) {
            return Err(error(EngineErrorKind::NotASwarmManager, "This node is not a swarm manager."));
        }
        if self.unique_names && !self.networks_named(&create.name).is_empty() {
            let message = format!("network with name {} already exists", create.name);
            return Err(error(EngineErrorKind::NameTaken, message));
        }
        for subnet in &create.subnets {
            let Ok(cidr) = subnet.subnet.parse::<IpNet>() else {
                return Err(error(EngineErrorKind::Other, format!("invalid CIDR address: {}", subnet.subnet)));
            };
            if create.driver == "bridge" && self.overlaps(&cidr) {
                let message = "Pool overlaps with other one on this address space";
                return Err(error(EngineErrorKind::SubnetOverlap, message));
            }
        }
        let has = |v6: bool| {
            create.subnets.iter().filter_map(|s| s.subnet.parse::<IpNet>().ok()).any(|s| s.addr().is_ipv6() == v6)
        };
        if create.ipv6 && !has(true) {
            let message = "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the network";
            return Err(error(EngineErrorKind::AddressPoolExhausted, message));
        }
        if !has(false) {
            self.automatic_subnet()?;
        }
        Ok(())
    }

    fn insert_network(&mut self, create: &NetworkCreate) -> NetworkId {
        let NetworkCreate {
            name,
            driver,
            attachable,
            internal,
            ipv4,
            ipv6,
            subnets,
            options,
            labels,
            replaces: _,
            beside: _,
            generated: _,
        } = create.clone();
        let swarm = driver == "overlay";
        let id = if swarm { format!("{:025}", self.next()) } else { self.fresh_hex() };
        let id = NetworkId::try_from(id).expect("made to be valid");
        let mut subnets = subnets;
        let v4 = |s: &ObservedSubnet| s.subnet.parse::<IpNet>().is_ok_and(|s| s.addr().is_ipv4());
        if driver != "host" && driver != "null" && !subnets.iter().any(v4) {
            subnets.insert(0, self.automatic_subnet().expect("checked before"));
        }
        let scope = if swarm { NetworkScope::Swarm } else { NetworkScope::Local };
        let created = self.fresh_time();
        self.networks.insert(
            id.clone(),
            ObservedNetwork {
                id: id.clone(),
                name,
                driver,
                scope,
                internal,
                attachable,
                ingress: false,
                ipv4,
                ipv6,
                subnets,
                options,
                labels,
                created,
            },
        );
        id
    }

    /// Succeeds under stopped containers, which then stay pinned to the id that is gone.
    pub(crate) fn remove_network(&mut self, id: &NetworkId) -> Result<(), EngineError> {
        let network = self.networks.get(id).ok_or_else(|| no_such_network(id))?;
        if PREDEFINED.contains(&network.name.as_str()) {
            let message = format!("{} is a pre-defined network and cannot be removed", network.name);
            return Err(error(EngineErrorKind::Forbidden, message));
        }
        let live = |endpoint: &Endpoint| !endpoint.endpoint_id.is_empty() && endpoint.network_id.as_ref() == Some(id);
        if self.containers.values().flat_map(|container| container.endpoints.values()).any(live) {
            let message = format!("network {} id {id} has active endpoints", network.name);
            return Err(error(EngineErrorKind::NetworkInUse, format!("error while removing network: {message}")));
        }
        if self.services.iter().any(|service| service.networks.iter().any(|used| used.target == id.as_str())) {
            let message = format!("rpc error: code = FailedPrecondition desc = network {id} is in use by service");
            return Err(error(EngineErrorKind::NetworkInUse, message));
        }
        self.networks.remove(id);
        Ok(())
    }

    /// Creates a container that has not been started, on `bridge` unless `network_mode` says otherwise.
    pub(crate) fn create_container(&mut self, name: &str, network_mode: &str) -> ContainerId {
        let id = ContainerId::try_from(self.fresh_hex()).expect("made to be valid");
        let first = if network_mode == "default" { "bridge" } else { network_mode };
        let mut endpoint = Endpoint::default();
        if !PREDEFINED.contains(&first) {
            endpoint.settings.aliases.push(id.short().to_owned());
        }
        let endpoints = match network_mode.starts_with("container:") {
            true => BTreeMap::new(),
            false => BTreeMap::from([(first.to_owned(), endpoint)]),
        };
        let container = Container {
            id: id.clone(),
            name: name.to_owned(),
            hostname: None,
            state: ContainerState::Created,
            labels: BTreeMap::new(),
            network_mode: network_mode.to_owned(),
            env: Vec::new(),
            endpoints,
        };
        self.containers.insert(id.clone(), container);
        id
    }

    /// Creates a container on `bridge` and starts it.
    pub(crate) fn run_container(&mut self, name: &str) -> ContainerId {
        let id = self.create_container(name, "default");
        self.start_container(&id).expect("bridge has room");
        id
    }

    pub(crate) fn remove_container(&mut self, id: &ContainerId) {
        self.containers.remove(id);
    }

    fn container_mut(&mut self, id: &ContainerId) -> Result<&mut Container, EngineError> {
        self.containers.get_mut(id).ok_or_else(|| no_such_container(id))
    }

    pub(crate) fn start_container(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        let container = self.containers.get(id).ok_or_else(|| no_such_container(id))?.clone();
        if container.state.is_live() {
            return Ok(());
        }
        let mut started = BTreeMap::new();
        for (name, endpoint) in &container.endpoints {
            let network = match &endpoint.network_id {
                Some(id) => self.networks.get(id),
                None => self.networks.values().find(|network| network.name == *name),
            };
            let wanted = endpoint.network_id.as_ref().map_or(name.as_str(), NetworkId::as_str);
            let network =
                network.ok_or_else(|| error(EngineErrorKind::Other, format!("network {wanted} not found")))?.clone();
            let settings = EndpointSettings { mac_address: None, ..endpoint.settings.clone() };
            started.insert(name.clone(), self.join(&network, &settings)?);
        }
        let container = self.container_mut(id)?;
        container.endpoints = started;
        container.state = ContainerState::Running;
        Ok(())
    }

    pub(crate) fn stop_container(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        let container = self.container_mut(id)?;
        if !container.state.is_live() {
            return Ok(());
        }
        container.state = ContainerState::Exited;
        for endpoint in container.endpoints.values_mut() {
            endpoint.endpoint_id.clear();
            endpoint.address.clear();
            endpoint.leftover = false;
            endpoint.settings.mac_address = None;
        }
        Ok(())
    }

    /// Makes the endpoint of a running container.
    fn join(&mut self, network: &ObservedNetwork, settings: &EndpointSettings) -> Result<Endpoint, EngineError> {
        let address = self.address(network, settings.ipv4_address.as_deref())?;
        // 20.10 derives the MAC address from the IPv4 address, whatever was asked for.
        let mac_address = address.map(|address| {
            let [a, b, c, d] = address.octets();
            format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
        });
        Ok(Endpoint {
            network_id: Some(network.id.clone()),
            endpoint_id: self.fresh_hex(),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            leftover: false,
            settings: EndpointSettings { mac_address, ..settings.clone() },
        })
    }

    fn address(&self, network: &ObservedNetwork, fixed: Option<&str>) -> Result<Option<Ipv4Addr>, EngineError> {
        let used: Vec<&str> = self
            .containers
            .values()
            .flat_map(|container| container.endpoints.values())
            .filter(|endpoint| endpoint.network_id.as_ref() == Some(&network.id))
            .map(|endpoint| endpoint.address.as_str())
            .collect();
        let subnets = network.subnets.iter().filter_map(|subnet| match subnet.subnet.parse() {
            Ok(IpNet::V4(cidr)) => Some((cidr, subnet)),
            _ => None,
        });
        let mut subnets = subnets.peekable();
        if subnets.peek().is_none() {
            return Ok(None);
        }
        if let Some(fixed) = fixed {
            let address: Ipv4Addr =
                fixed.parse().map_err(|_| error(EngineErrorKind::Other, format!("invalid address {fixed}")))?;
            if !subnets.any(|(cidr, _)| cidr.contains(&address)) {
                let message = format!("Invalid address {fixed}: It does not belong to any of this network's subnets");
                return Err(error(EngineErrorKind::AddressUnavailable, message));
            }
            if used.contains(&fixed) {
                return Err(error(EngineErrorKind::AddressTaken, "Address already in use"));
            }
            return Ok(Some(address));
        }
        for (cidr, subnet) in subnets {
            let range = match subnet.ip_range.as_deref().map(str::parse) {
                Some(Ok(IpNet::V4(range))) => range,
                _ => cidr,
            };
            let gateway = subnet.gateway.clone().or_else(|| cidr.hosts().next().map(|first| first.to_string()));
            let free = |address: &Ipv4Addr| {
                let text = address.to_string();
                Some(&text) != gateway.as_ref() && !used.contains(&text.as_str())
            };
            if let Some(address) = range.hosts().find(free) {
                return Ok(Some(address));
            }
        }
        Err(error(EngineErrorKind::AddressPoolExhausted, "no available IPv4 addresses on this network's address pools"))
    }

    /// A stopped container takes any network id, even one that does not exist, and keeps what it was connected with before;
    /// a running one that cannot be given what was asked for is left with an entry that keeps it from starting again.
    pub(crate) fn connect(
        &mut self,
        network_id: &NetworkId,
        container_id: &ContainerId,
        settings: &EndpointSettings,
    ) -> Result<(), EngineError> {
        let network = self.networks.get(network_id).cloned();
        let container = self.container_mut(container_id)?.clone();
        if matches!(container.state, ContainerState::Removing | ContainerState::Dead) {
            let message = "container is marked for removal and cannot be connected or disconnected to the network";
            return Err(error(EngineErrorKind::Forbidden, message));
        }
        let Some(network) = network else {
            if container.state.is_live() {
                return Err(no_such_network(network_id));
            }
            let endpoint = Endpoint { settings: settings.clone(), ..Endpoint::default() };
            self.container_mut(container_id)?.endpoints.insert(network_id.to_string(), endpoint);
            return Ok(());
        };
        check_connect(&network, &container, settings)?;
        let mut settings = settings.clone();
        if !PREDEFINED.contains(&network.name.as_str()) {
            for own in [Some(container.id.short()), container.hostname.as_deref()].into_iter().flatten() {
                if !settings.aliases.iter().any(|alias| alias == own) {
                    settings.aliases.push(own.to_owned());
                }
            }
        }
        if !container.state.is_live() {
            let endpoint = Endpoint { settings, ..Endpoint::default() };
            self.container_mut(container_id)?.endpoints.entry(network.name).or_insert(endpoint);
            return Ok(());
        }
        let present = container.endpoints.get(&network.name);
        if present.is_some_and(|endpoint| {
            endpoint.network_id.as_ref() == Some(network_id) && !endpoint.endpoint_id.is_empty()
        }) {
            let message = format!("endpoint with name {} already exists in network {}", container.name, network.name);
            return Err(error(EngineErrorKind::AlreadyConnected, message));
        }
        let joined = self.join(&network, &settings);
        let container = self.container_mut(container_id)?;
        match joined {
            Ok(endpoint) => {
                container.endpoints.insert(network.name, endpoint);
                Ok(())
            }
            Err(error) => {
                let leftover = Endpoint { settings, leftover: true, ..Endpoint::default() };
                container.endpoints.entry(network.name).or_insert(leftover);
                Err(error)
            }
        }
    }

    pub(crate) fn disconnect(
        &mut self,
        network_id: &NetworkId,
        container_id: &ContainerId,
        force: bool,
    ) -> Result<(), EngineError> {
        let network = self.networks.get(network_id).cloned();
        let container = self.container_mut(container_id)?;
        let slot = network.as_ref().map_or(network_id.to_string(), |network| network.name.clone());
        let not_connected = || {
            let message = format!("container {container_id} is not connected to network {slot}");
            error(EngineErrorKind::NotConnected, message)
        };
        if container.state.is_live() && !(network.is_none() && force) {
            if network.is_none() {
                return Err(no_such_network(network_id));
            }
            let there = container.endpoints.get(&slot).is_some_and(|endpoint| {
                endpoint.network_id.as_ref() == Some(network_id) && !endpoint.endpoint_id.is_empty()
            });
            if !there {
                return Err(not_connected());
            }
        }
        container.endpoints.remove(&slot).map(|_| ()).ok_or_else(not_connected)
    }

    /// As by id, but for a network that need not exist.
    pub(crate) fn disconnect_by_name(&mut self, network: &str, id: &ContainerId) -> Result<(), EngineError> {
        if let [known] = self.networks_named(network).as_slice() {
            let known = known.id.clone();
            return self.disconnect(&known, id, false);
        }
        let container = self.container_mut(id)?;
        if container.state.is_live() {
            return Err(error(EngineErrorKind::NotFound, format!("network {network} not found")));
        }
        let message = format!("container {id} is not connected to the network {network}");
        container.endpoints.remove(network).map(|_| ()).ok_or_else(|| error(EngineErrorKind::NotConnected, message))
    }

    /// A Swarm service without tasks, of a daemon that is a manager from then on.
    pub(crate) fn add_service(&mut self, name: &str) -> ServiceId {
        self.info.swarm = SwarmState::Manager {
            node_id: "node1".to_owned(),
            cluster_id: "cluster1".to_owned(),
            nodes: Some(1),
            managers: ["node1".to_owned()].into(),
        };
        let id = ServiceId::try_from(self.fresh_hex()[..25].to_owned()).expect("of the form of an id");
        self.services.push(ObservedService {
            id: id.clone(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            networks: Vec::new(),
            replicas: Some(0),
            rollout: None,
            rollout_started: None,
            has_previous: false,
            tasks: None,
            failure: None,
            parallelism: 1,
            round_robin: false,
            ports: Vec::new(),
            definition: None,
        });
        id
    }

    pub(crate) fn update_service(&mut self, service: &ServiceId, update: ServiceUpdate<'_>) -> Result<(), EngineError> {
        let known = self.services.iter_mut().find(|known| known.id == *service);
        let known = known.ok_or_else(|| error(EngineErrorKind::NotFound, format!("service {service} not found")))?;
        match update {
            ServiceUpdate::Replicas(replicas) => known.replicas = Some(replicas),
            ServiceUpdate::Networks(changes) | ServiceUpdate::Restored(changes) => {
                let missing = changes.iter().find(|it| it.attachment.is_some() && !self.networks.contains_key(it.id));
                if let Some(missing) = missing {
                    return Err(no_such_network(missing.id));
                }
                for ServiceNetworkUpdate { id, name, attachment } in changes {
                    known.networks.retain(|known| !known.is(id, name));
                    let attachment = attachment.cloned();
                    let on = attachment.map(|attachment| ServiceNetwork { target: id.to_string(), attachment });
                    known.networks.extend(on);
                }
            }
            ServiceUpdate::RolledBack => {
                let before = self.previous.remove(service);
                *known = before.ok_or_else(|| error(EngineErrorKind::Other, "service has no previous spec"))?;
                known.definition.iter_mut().for_each(|it| it.update = status("rollback_completed"));
            }
            ServiceUpdate::Definition { create, network, .. } => {
                if !self.networks.contains_key(network) {
                    return Err(no_such_network(network));
                }
                let missing = |message| error(EngineErrorKind::NotFound, message);
                let new = workloads::defined(service, create, network, Some(known), &self.secrets).map_err(missing)?;
                self.previous.insert(service.clone(), std::mem::replace(known, new));
                if create.image.ends_with(":sick") {
                    // The Swarm rolls back by itself.
                    return self.update_service(service, ServiceUpdate::RolledBack);
                }
            }
        }
        Ok(())
    }

    fn create_service(&mut self, create: &ServiceCreate, network: &NetworkId) -> Result<ServiceId, EngineError> {
        if self.services.iter().any(|it| it.name == create.name) {
            let message = "rpc error: code = AlreadyExists desc = name conflicts with an existing object";
            return Err(error(EngineErrorKind::NameTaken, message));
        }
        if !self.networks.contains_key(network) {
            return Err(no_such_network(network));
        }
        let id = ServiceId::try_from(self.fresh_hex()[..25].to_owned()).expect("of the form of an id");
        let made = workloads::defined(&id, create, network, None, &self.secrets);
        self.services.push(made.map_err(|message| error(EngineErrorKind::NotFound, message))?);
        Ok(id)
    }

    fn tasks_of(&self, id: &ServiceId) -> Vec<ServiceTask> {
        let Some(service) = self.services.iter().find(|it| it.id == *id) else { return Vec::new() };
        let sick = service.definition.as_ref().is_some_and(|it| it.image.ends_with(":sick"));
        let task = |slot: u64| ServiceTask {
            id: format!("task{slot}"),
            slot,
            node: "node1".to_owned(),
            state: if sick { "failed" } else { "running" }.to_owned(),
            desired_state: if sick { "shutdown" } else { "running" }.to_owned(),
            error: if sick {
                "task: non-zero exit (137): dockerexec: unhealthy container".to_owned()
            } else {
                String::new()
            },
            since: String::new(),
            container: None,
        };
        (1..=service.replicas.unwrap_or_default()).map(task).collect()
    }

    fn observe_container(container: &Container, settings: bool) -> ObservedContainer {
        let endpoint = |(name, endpoint): (&String, &Endpoint)| ObservedEndpoint {
            network_name: name.clone(),
            network_id: endpoint.network_id.clone(),
            endpoint_id: endpoint.endpoint_id.clone(),
            ipv4_address: endpoint.address.clone(),
            ipv6_address: String::new(),
            gw_priority: endpoint.settings.gw_priority,
            settings: settings.then(|| endpoint.settings.clone()),
        };
        ObservedContainer {
            id: container.id.clone(),
            name: container.name.clone(),
            image: "tiny".to_owned(),
            state: container.state,
            exit: None,
            health: None,
            up: None,
            restarts: 0,
            labels: container.labels.clone(),
            network_mode: container.network_mode.clone(),
            ports: Vec::new(),
            endpoints: container.endpoints.iter().filter(|(_, it)| settings || !it.leftover).map(endpoint).collect(),
        }
    }

    fn name_of(&self, network: &NetworkId) -> String {
        self.networks.get(network).map_or(network.short().to_owned(), |network| network.name.clone())
    }

    fn name_of_container(&self, container: &ContainerId) -> String {
        self.containers.get(container).map_or(container.short().to_owned(), |container| container.name.clone())
    }

    fn pair(&self, network: &NetworkId, container: &ContainerId) -> String {
        format!("{} {}", self.name_of(network), self.name_of_container(container))
    }
}

fn check_connect(
    network: &ObservedNetwork,
    container: &Container,
    settings: &EndpointSettings,
) -> Result<(), EngineError> {
    let forbidden = |message: &str| Err(error(EngineErrorKind::Forbidden, message));
    if network.driver == "host" {
        return forbidden("container cannot be disconnected from host network or connected to host network");
    }
    if container.network_mode == "host" || container.network_mode.starts_with("container:") {
        return forbidden(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        );
    }
    if container.network_mode == "none" {
        return forbidden(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        );
    }
    if PREDEFINED.contains(&network.name.as_str()) && !settings.aliases.is_empty() {
        return forbidden("network-scoped alias is supported only for containers in user defined networks");
    }
    let fixed = [&settings.ipv4_address, &settings.ipv6_address];
    for address in fixed.into_iter().flatten() {
        let declared = |subnet: &ObservedSubnet| {
            let same_family = match (address.parse::<IpAddr>(), subnet.subnet.parse::<IpNet>()) {
                (Ok(address), Ok(subnet)) => address.is_ipv6() == subnet.addr().is_ipv6(),
                _ => false,
            };
            // The gateway that the daemon chose tells an automatic subnet from a declared one here; the daemon itself remembers.
            same_family && !is_automatic(subnet)
        };
        if !network.subnets.iter().any(declared) {
            return Err(error(
                EngineErrorKind::AddressUnavailable,
                "user specified IP address is supported only when connecting to networks with user configured subnets",
            ));
        }
    }
    Ok(())
}

/// Automatic subnets come from `10.200.0.0/13`, which the tests keep out of their manifests.
fn is_automatic(subnet: &ObservedSubnet) -> bool {
    let pool: IpNet = "10.200.0.0/13".parse().expect("a CIDR");
    subnet.subnet.parse::<IpNet>().is_ok_and(|subnet| pool.contains(&subnet))
}

#[async_trait]
impl Reader for MemoryEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.read("info", |world| world.info.clone()).await
    }

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        self.read("networks", |world| world.networks.values().cloned().collect()).await
    }

    async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError> {
        let list = |world: &World| world.containers.values().map(|c| World::observe_container(c, false)).collect();
        self.read("containers", list).await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
        let inspect = |world: &World| {
            let container = world.containers.get(id)?;
            Some(ContainerDetail { container: World::observe_container(container, true), env: container.env.clone() })
        };
        let takes = self.session().inspection;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        self.read("container", inspect).await
    }

    async fn services(&self) -> Result<Vec<ObservedService>, EngineError> {
        self.read("services", |world| world.services.clone()).await
    }

    async fn service(&self, id: &ServiceId) -> Result<Option<ObservedService>, EngineError> {
        self.read("service", |world| world.services.iter().find(|it| it.id == *id).cloned()).await
    }

    async fn service_tasks(&self, id: &ServiceId) -> Result<Vec<ServiceTask>, EngineError> {
        self.read("service_tasks", |world| world.tasks_of(id)).await
    }

    async fn secrets(&self) -> Result<Vec<SeenSecret>, EngineError> {
        self.read("secrets", |world| world.secrets.clone()).await
    }

    async fn task_log_tail(&self, _id: &str, _lines: usize) -> Result<Vec<String>, EngineError> {
        self.read("task_log_tail", |_| Vec::new()).await
    }

    async fn image(&self, reference: &str) -> Result<Option<SeenImage>, EngineError> {
        self.read("image", |_| Some(workloads::image(reference))).await
    }

    async fn volumes(&self) -> Result<Vec<SeenVolume>, EngineError> {
        self.read("volumes", |_| Vec::new()).await
    }

    async fn task(&self, _id: &str) -> Result<Option<ObservedTask>, EngineError> {
        self.read("task", |_| None).await
    }

    async fn recent_events(&self, _since: i64) -> Result<Vec<EngineEvent>, EngineError> {
        self.read("recent_events", |_| Vec::new()).await
    }
}

#[async_trait]
impl Writer for MemoryEngine {
    async fn create_network(&self, network: &NetworkCreate) -> Result<NetworkId, EngineError> {
        // A network is as old as the beginning of its making, and to be seen at its end.
        let (created, reservation) = {
            let mut world = self.world();
            let token = world.next();
            let wanted = network.subnets.iter().filter_map(|subnet| subnet.subnet.parse().ok());
            let free: Vec<IpNet> = wanted.filter(|subnet| !world.overlaps(subnet)).collect();
            world.reserved.extend(free.into_iter().map(|subnet| (token, subnet)));
            (world.fresh_time(), Reservation { world: self.world.clone(), token })
        };
        let act = |world: &mut World| {
            world.reserved.retain(|(token, _)| *token != reservation.token);
            let id = world.create_network(network)?;
            world.networks.get_mut(&id).expect("just created").created = created;
            Ok(id)
        };
        self.mutate("CreateNetwork", |_| network.name.clone(), act).await
    }

    async fn connect(
        &self,
        network: &NetworkId,
        container: &ContainerId,
        settings: &EndpointSettings,
    ) -> Result<(), EngineError> {
        let act = |world: &mut World| world.connect(network, container, settings);
        self.mutate("ConnectEndpoint", |world| world.pair(network, container), act).await
    }

    async fn disconnect(&self, network: &NetworkId, container: &ContainerId, force: bool) -> Result<(), EngineError> {
        let act = |world: &mut World| world.disconnect(network, container, force);
        self.mutate("DisconnectEndpoint", |world| world.pair(network, container), act).await
    }

    async fn disconnect_by_name(&self, network: &str, container: &ContainerId) -> Result<(), EngineError> {
        let subject = format!("{} {network}", container.short());
        self.mutate("DisconnectEndpoint", |_| subject, |world| world.disconnect_by_name(network, container)).await
    }

    async fn remove_network(&self, network: &NetworkId) -> Result<(), EngineError> {
        let act = |world: &mut World| world.remove_network(network);
        self.mutate("RemoveNetwork", |world| world.name_of(network), act).await
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let act = |world: &mut World| world.start_container(container);
        self.mutate("StartContainer", |world| world.name_of_container(container), act).await
    }

    async fn stop_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let act = |world: &mut World| world.stop_container(container);
        self.mutate("StopContainer", |world| world.name_of_container(container), act).await
    }

    async fn create_secret(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        _content: &Value,
    ) -> Result<(), EngineError> {
        let act = |world: &mut World| {
            if world.secrets.iter().any(|it| it.name == name) {
                return Err(error(EngineErrorKind::NameTaken, format!("secret {name} already exists")));
            }
            workloads::create_secret(&mut world.secrets, name, labels);
            Ok(())
        };
        self.mutate("CreateSecret", |_| name.to_owned(), act).await
    }

    async fn remove_secret(&self, id: &str) -> Result<bool, EngineError> {
        let act = |world: &mut World| {
            let name = world.secrets.iter().find(|it| it.id == id).map(|it| it.name.clone());
            let definitions = world.services.iter().filter_map(|it| it.definition.as_ref());
            let used = definitions.flat_map(|it| it.files.values()).any(|it| Some(&it.secret) == name.as_ref());
            world.secrets.retain(|it| it.id != id || used);
            Ok(!used)
        };
        self.mutate("RemoveSecret", |_| id.to_owned(), act).await
    }

    async fn create_service(&self, service: &ServiceCreate, network: &NetworkId) -> Result<ServiceId, EngineError> {
        let act = |world: &mut World| world.create_service(service, network);
        self.mutate("CreateService", |_| service.name.clone(), act).await
    }

    async fn remove_service(&self, service: &ServiceId) -> Result<(), EngineError> {
        let act = |world: &mut World| {
            world.services.retain(|it| it.id != *service);
            Ok(())
        };
        self.mutate("RemoveService", |_| service.to_string(), act).await
    }

    async fn update_service(&self, service: &ServiceId, update: ServiceUpdate<'_>) -> Result<(), EngineError> {
        let act = |world: &mut World| world.update_service(service, update);
        let subject = |world: &World| {
            let known = world.services.iter().find(|known| known.id == *service);
            let known = known.map_or(service.as_str(), |known| &known.name);
            match update {
                ServiceUpdate::Networks(changes) | ServiceUpdate::Restored(changes) => {
                    let names: Vec<&str> = changes.iter().map(|change| change.name).collect();
                    format!("{known} {}", names.join(" "))
                }
                ServiceUpdate::Replicas(replicas) => format!("{known} {replicas}"),
                ServiceUpdate::Definition { .. } => known.to_owned(),
                ServiceUpdate::RolledBack => format!("{known} back"),
            }
        };
        self.mutate("UpdateService", subject, act).await
    }
}
