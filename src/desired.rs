//! The desired state: what the manifests say, with references resolved and defaults filled. Nothing is left to choose.
//!
//! Made by `manifest::resolve` from a validated set; the planner and the views read it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::api::{
    ContainerSelector, DeletionPolicy, DestinationType, Membership, ObjectKey, ProxyType, Replacement, ServerRole,
    SshSpec, TlsSpec,
};
use crate::workload::Workload;

/// Everything one set of manifests declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DesiredState {
    /// Name of the set (`--set`): what it owns is marked with it.
    pub set: String,
    /// Which manifests these are: networks and endpoints are marked with it, and pruning leaves those of others. `None`: nobody said, and
    /// nothing that carries one is this one's.
    pub source: Option<String>,
    /// In the order of their keys.
    pub servers: BTreeMap<ObjectKey, DesiredServer>,
    /// Declared servers that nothing is planned for. Where one is part of the same Swarm as one of `servers`, what is on it matters all the
    /// same.
    pub elsewhere: BTreeMap<ObjectKey, DesiredServer>,
}

impl DesiredState {
    pub fn destinations(&self) -> impl Iterator<Item = (&DesiredServer, &DesiredDestination)> {
        self.servers
            .values()
            .flat_map(|server| server.destinations.iter().map(move |destination| (server, destination)))
    }

    /// Leaves to be planned for what `keep` takes.
    pub fn narrow(&mut self, keep: impl Fn(&ObjectKey, &DesiredServer) -> bool) {
        let (servers, elsewhere) =
            std::mem::take(&mut self.servers).into_iter().partition(|(key, server)| keep(key, server));
        self.servers = servers;
        self.elsewhere.extend::<BTreeMap<_, _>>(elsewhere);
    }

    /// All that are declared, planned for or not.
    pub fn all_servers(&self) -> impl Iterator<Item = &DesiredServer> {
        self.servers.values().chain(self.elsewhere.values())
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
    /// In the order of their keys.
    pub destinations: Vec<DesiredDestination>,
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

/// A server's proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    pub instance: ProxyInstance,
    pub proxy_type: ProxyType,
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
