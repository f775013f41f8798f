//! The desired state: what the manifests say, with references resolved and defaults filled. Nothing is left to choose.
//!
//! Made by `manifest::resolve` from a validated set; the planner and the views read it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::core::api::{
    ContainerSelector, DeletionPolicy, DestinationType, Membership, ObjectKey, ProxyType, Replacement, ServerRole,
    SshSpec, TlsSpec,
};
use crate::core::backup::policy::Policy;
use crate::core::digest::{SHORT, hex};
use crate::core::workload::Workload;
use crate::core::workload::database::Connection;
use crate::core::workload::stack::Stack;

/// Everything one set of manifests declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DesiredState {
    /// Name of the set (`--set`): what it owns is marked with it.
    pub set: String,
    /// Which manifests these are: networks and endpoints are marked with it, and pruning leaves those of others. `None`: nobody said, and
    /// nothing that carries one is this one's.
    pub source: Option<String>,
    /// What is planned for, in the order of their keys. Shared: a loop over a thousand servers has a thousand passes, each over one server,
    /// and none has a copy of what is declared.
    pub servers: BTreeMap<ObjectKey, Arc<DesiredServer>>,
    /// Every declared server, where not all of them are planned for: where one is part of the same Swarm as one of `servers`, what is on it
    /// matters all the same.
    everything: Option<Arc<BTreeMap<ObjectKey, Arc<DesiredServer>>>>,
}

impl DesiredServer {
    /// Its destinations, and the resources on them.
    pub fn on_it(&self) -> impl Iterator<Item = &ObjectKey> {
        let members = self.destinations.iter().flat_map(|it| &it.members).map(|member| &member.resource);
        self.destinations.iter().map(|it| &it.key).chain(members)
    }

    /// Whether the destination, or a destination of the resource, is on it.
    pub fn has(&self, object: &ObjectKey) -> bool {
        self.on_it().any(|it| it == object)
    }
}

impl DesiredState {
    /// Everything is planned for.
    pub fn new(set: &str, servers: BTreeMap<ObjectKey, Arc<DesiredServer>>) -> Self {
        Self { set: set.to_owned(), source: None, servers, everything: None }
    }

    pub fn destinations(&self) -> impl Iterator<Item = (&DesiredServer, &DesiredDestination)> {
        self.servers
            .values()
            .flat_map(|server| server.destinations.iter().map(move |destination| (server.as_ref(), destination)))
    }

    /// Leaves to be planned for what `keep` takes.
    pub fn narrow(&mut self, keep: impl Fn(&ObjectKey, &DesiredServer) -> bool) {
        self.share();
        self.servers.retain(|key, server| keep(key, server));
    }

    /// Makes every [`focused`](Self::focused) state after this one share the list of what is declared.
    pub fn share(&mut self) {
        if self.everything.is_none() {
            self.everything = Some(Arc::new(self.servers.clone()));
        }
    }

    /// The same, planned for that server alone. It costs as much with a thousand servers as with one.
    pub fn focused(&self, server: &ObjectKey) -> Self {
        let one = self.servers.get_key_value(server).map(|(key, server)| (key.clone(), Arc::clone(server)));
        let everything = self.everything.clone().unwrap_or_else(|| Arc::new(self.servers.clone()));
        Self {
            set: self.set.clone(),
            source: self.source.clone(),
            servers: one.into_iter().collect(),
            everything: Some(everything),
        }
    }

    /// All that are declared, planned for or not.
    pub fn all_servers(&self) -> impl Iterator<Item = &DesiredServer> {
        self.everything.as_deref().unwrap_or(&self.servers).values().map(AsRef::as_ref)
    }

    /// Those that nothing is planned for.
    pub fn elsewhere(&self) -> impl Iterator<Item = &DesiredServer> {
        self.all_servers().filter(|server| !self.servers.contains_key(&server.key))
    }

    pub fn destination(&self, key: &ObjectKey) -> Option<(&DesiredServer, &DesiredDestination)> {
        self.all_servers().find_map(|server| Some((server, server.destinations.iter().find(|it| it.key == *key)?)))
    }
}

/// A declared server with the destinations declared on it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredServer {
    pub key: ObjectKey,
    pub endpoint: Endpoint,
    pub role: ServerRole,
    pub proxy: Option<Proxy>,
    pub suspend: bool,
    /// Where networks without a declared range get one from.
    pub pool: Option<Pool>,
    /// Ranges that no network may have.
    pub reserved: Vec<IpNet>,
    /// In the order of their keys.
    pub destinations: Vec<DesiredDestination>,
}

impl DesiredServer {
    /// Stands for which objects are declared on it. Where the server is, and what else manifests say of the objects, is no part of it: each
    /// controller may have a way to the server of its own.
    pub fn declares(&self) -> String {
        let mut hasher = Sha256::new();
        for destination in &self.destinations {
            hasher.update(format!("{}\n", destination.key));
            destination.members.iter().for_each(|member| hasher.update(format!("  {}\n", member.resource)));
        }
        hex(&hasher.finalize()[..SHORT])
    }
}

/// Where a Docker Engine listens and what it takes to get in.
#[derive(Debug, Clone, PartialEq)]
pub enum Endpoint {
    Unix { path: String },
    Tcp { host: String, port: u16, security: TcpSecurity },
    Ssh { user: Option<String>, host: String, port: Option<u16>, socket: Option<String>, settings: Option<SshSpec> },
    Context { name: String },
}

/// How a TCP endpoint is protected.
#[derive(Debug, Clone, PartialEq)]
pub enum TcpSecurity {
    Tls(TlsSpec),
    /// `insecure: true`
    Plain,
}

/// Address ranges that networks are cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// As declared, IPv4 and IPv6.
    pub ranges: Vec<IpNet>,
    /// Prefix length of the networks.
    pub prefix_v4: u8,
    pub prefix_v6: u8,
}

/// A server's proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    pub instance: ProxyInstance,
    pub proxy_type: ProxyType,
    /// Whether it is made to look again; `None`: where its image is Traefik's.
    pub refresh: Option<bool>,
    /// The application that Landfall runs it as.
    pub run_by: Option<ObjectKey>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProxyInstance {
    /// Container of that name.
    Container(String),
    /// Swarm service of that name.
    Service(String),
}

impl ProxyInstance {
    pub fn name(&self) -> &str {
        match self {
            ProxyInstance::Container(name) | ProxyInstance::Service(name) => name,
        }
    }
}

/// A declared destination with the members that belong on it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredDestination {
    pub key: ObjectKey,
    /// As declared; `None` means `<server>-<network>`, which is known once the network has a name.
    pub display_name: Option<String>,
    pub network: DesiredNetwork,
    pub asserted_type: Option<DestinationType>,
    pub proxy: bool,
    pub active: bool,
    pub adopt: bool,
    /// An adopted network that does not exist is created.
    pub create_if_missing: bool,
    /// An adopted network is made anew as Landfall's own.
    pub take_ownership: bool,
    pub membership: Membership,
    pub replacement: Replacement,
    pub deletion_policy: DeletionPolicy,
    pub suspend: bool,
    /// Resources that name this destination, in the order of their keys.
    pub members: Vec<DesiredMember>,
}

/// The declared properties of a destination's network.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredNetwork {
    /// `None`: generated once, found again by label.
    pub name: Option<String>,
    pub subnets: Vec<DesiredSubnet>,
    /// The ranges come from the server's pool.
    pub auto: bool,
    /// Addresses that Docker gives to no container, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
    pub internal: bool,
    pub ipv4: bool,
    pub ipv6: bool,
    pub icc: bool,
    pub mtu: Option<u32>,
    pub encrypted: bool,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredSubnet {
    pub subnet: IpNet,
    pub gateway: Option<IpAddr>,
    pub ip_range: Option<IpNet>,
}

impl DesiredSubnet {
    pub fn implied_gateway(&self) -> IpAddr {
        implied_gateway(&self.subnet, self.ip_range.as_ref())
    }
}

/// The address that Docker gives the gateway where none is declared: the first of what it gives addresses from.
pub fn implied_gateway(subnet: &IpNet, ip_range: Option<&IpNet>) -> IpAddr {
    let first = ip_range.unwrap_or(subnet).network();
    match (is_host(subnet, first), first) {
        (true, first) => first,
        (false, IpAddr::V4(first)) => Ipv4Addr::from_bits(first.to_bits().saturating_add(1)).into(),
        (false, IpAddr::V6(first)) => Ipv6Addr::from_bits(first.to_bits().saturating_add(1)).into(),
    }
}

/// Whether a host of the range can have the address: not that of the network itself, and no IPv4 broadcast address.
pub fn is_host(range: &IpNet, address: IpAddr) -> bool {
    let reserved = match range {
        IpNet::V4(net) if net.prefix_len() < 31 => address == net.network() || address == net.broadcast(),
        IpNet::V6(net) if net.prefix_len() < 127 => address == net.network(),
        _ => false,
    };
    range.contains(&address) && !reserved
}

/// A resource on a destination.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredMember {
    /// Application, Database or Service.
    pub resource: ObjectKey,
    pub selector: ContainerSelector,
    pub endpoint: DesiredEndpoint,
    /// False for a service stack that keeps to its own network: it belongs to the destination, and blocks its deletion, without being on it.
    pub connect: bool,
    /// Start a container again that exited because its network or attachment was missing, once repaired.
    pub start_after_repair: bool,
    /// What Landfall runs; `None`: something else does.
    pub workload: Option<Arc<Workload>>,
    /// What the resource was called before, where the manifest says so.
    pub was: Option<ObjectKey>,
    /// Containers of these names, which something else made, ran it before.
    pub replaces: Vec<String>,
    /// Copies of its data.
    pub backup: Option<Arc<Policy>>,
    /// A stack of Docker Compose that Landfall brings up. It has its containers on networks of its own, whatever `connect` says.
    pub stack: Option<Arc<Stack>>,
}

impl DesiredMember {
    /// How a database that Landfall runs is reached.
    pub fn connection(&self) -> Option<&Connection> {
        self.workload.as_ref()?.database.as_ref()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredEndpoint {
    pub aliases: Vec<String>,
    pub ipv4_address: Option<Ipv4Addr>,
    pub ipv6_address: Option<Ipv6Addr>,
    /// In lower case.
    pub mac_address: Option<String>,
    pub gw_priority: Option<i64>,
    pub driver_opts: BTreeMap<String, String>,
}
