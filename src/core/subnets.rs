//! Which addresses are used, which are free, and which ranges are there twice.
//!
//! What is counted is what the servers show: the addresses of containers, gateways, and those that a network keeps back. A Swarm also uses
//! some for its load balancers, which no node tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState, Pool, implied_gateway};
use crate::core::observed::{AddressPool, NetworkId, NetworkScope, Observations, ObservedNetwork, ObservedState};
use crate::core::plan::{overlap, ranges};

/// What every engine cuts networks from where nothing is configured: base and prefix length.
const BUILT_IN_POOLS: [(&str, i64); 7] = [
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
];

/// The use of all servers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Map {
    pub servers: Vec<ServerUse>,
    /// What the `subnetPool` of servers is used for.
    pub shared_pools: Vec<SharedPool>,
    pub collisions: Vec<Collision>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerUse {
    /// `namespace/name`
    pub server: String,
    pub reachable: bool,
    pub networks: Vec<SubnetUse>,
    /// What the engine cuts networks without a declared subnet from.
    pub pools: Vec<PoolUse>,
}

/// One range of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetUse {
    pub network: String,
    pub driver: String,
    /// The declared destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    pub subnet: String,
    /// The part that addresses are given out from, where that is not the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    /// Addresses that containers can have; `None`: more than can be used up.
    pub total: Option<u64>,
    /// Gateway, addresses that are kept back, and those of containers.
    pub used: u64,
    pub free: Option<u64>,
    /// Days until it is used up, at the pace of what was seen so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<u64>,
}

/// One range of which the destinations of some servers are cut.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedPool {
    /// `namespace/name` of those that share it.
    pub servers: Vec<String>,
    #[serde(flatten)]
    pub usage: PoolUse,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolUse {
    pub base: String,
    /// Prefix length of the networks that are cut from it.
    pub size: u8,
    /// The engine's own, in place of configured ones.
    pub built_in: bool,
    /// Networks that fit.
    pub total: u64,
    pub used: u64,
    pub free: u64,
    /// The first range that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Days until it is used up, at the pace of what was seen so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<u64>,
}

/// Less than a tenth is left.
pub fn is_low(free: Option<u64>, total: Option<u64>) -> bool {
    matches!((free, total), (Some(free), Some(total)) if free.saturating_mul(10) < total)
}

/// When something was looked at, in seconds since the epoch, and how much of it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub at: i64,
    pub used: u64,
}

const DAY: f64 = 86_400.0;

/// Days until `free` more are used, at the pace of the samples: the line that fits them best. `None` where they do not grow, or say too little:
/// a day is the least.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a forecast"
)]
pub fn days_left(samples: &[Sample], free: u64) -> Option<u64> {
    let (first, last) = (samples.iter().map(|it| it.at).min()?, samples.iter().map(|it| it.at).max()?);
    if (last.saturating_sub(first) as f64) < DAY {
        return None;
    }
    let count = samples.len() as f64;
    let days = |sample: &Sample| sample.at.saturating_sub(first) as f64 / DAY;
    let (x, y) =
        (samples.iter().map(days).sum::<f64>() / count, samples.iter().map(|it| it.used as f64).sum::<f64>() / count);
    let spread: f64 = samples.iter().map(|it| (days(it) - x).powi(2)).sum();
    let together: f64 = samples.iter().map(|it| (days(it) - x) * (it.used as f64 - y)).sum();
    let pace = together / spread;
    // Less than one in a year is no growth.
    (pace > 1.0 / 365.0).then(|| (free as f64 / pace).floor() as u64)
}

/// What is known of earlier days, by [`SubnetUse::key`] and [`PoolUse::key`] with the server in front.
pub type Samples = BTreeMap<String, Vec<Sample>>;

impl SubnetUse {
    /// What tells it from the others of its server.
    pub fn key(&self) -> String {
        format!("{} {}", self.network, self.subnet)
    }
}

impl PoolUse {
    /// What tells it from the others of its server.
    pub fn key(&self) -> String {
        format!("pool {}/{}", self.base, self.size)
    }
}

impl ServerUse {
    /// What there is to remember of today.
    pub fn levels(&self) -> impl Iterator<Item = (String, u64)> {
        // Of what cannot be used up no forecast is made.
        let networks = self.networks.iter().filter(|it| it.total.is_some()).map(|it| (it.key(), it.used));
        networks.chain(self.pools.iter().map(|it| (it.key(), it.used)))
    }

    pub fn forecast(&mut self, samples: &Samples) {
        let of = |key: &str| samples.get(key).map_or(&[][..], Vec::as_slice);
        for usage in &mut self.networks {
            usage.days_left = usage.free.and_then(|free| days_left(of(&usage.key()), free));
        }
        for usage in &mut self.pools {
            usage.days_left = days_left(of(&usage.key()), usage.free);
        }
    }
}

/// Two ranges that have addresses in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Collision {
    pub a: Side,
    pub b: Side,
    /// On one server, where only one of them is reached; else it matters where the servers route to each other.
    pub same_server: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Side {
    pub server: String,
    pub network: String,
    pub subnet: String,
}

/// What the servers of the desired state use.
pub fn map(desired: &DesiredState, observed: &Observations) -> Map {
    let states = || observed.values().filter_map(|seen| seen.as_ref().ok());
    let mut servers = Vec::new();
    for (key, server) in &desired.servers {
        let path = key.path();
        servers.push(match observed.get(key) {
            Some(Ok(state)) => server_use(&path, server, state, states()),
            _ => ServerUse { server: path, reachable: false, networks: Vec::new(), pools: Vec::new() },
        });
    }
    Map { servers, shared_pools: shared_pools(desired, observed), collisions: collisions(desired, observed) }
}

/// Ranges of declared pools, each once, with all servers that have it, whether or not they are looked at.
fn shared_pools(desired: &DesiredState, observed: &Observations) -> Vec<SharedPool> {
    let mut pools: BTreeMap<(String, u8), (&Pool, IpNet)> = BTreeMap::new();
    for pool in desired.servers.values().filter_map(|server| server.pool.as_ref()) {
        for range in &pool.ranges {
            pools.insert((range.to_string(), size_of(pool, range)), (pool, *range));
        }
    }
    let of_range = |(pool, range): (&Pool, IpNet)| {
        let touches = |server: &&DesiredServer| {
            server.pool.as_ref().is_some_and(|pool| pool.ranges.iter().any(|other| overlap(other, &range)))
        };
        let sharing: Vec<&DesiredServer> = desired.all_servers().filter(touches).collect();
        let mut taken: Vec<IpNet> = sharing.iter().flat_map(|server| &server.reserved).copied().collect();
        for server in &sharing {
            match observed.get(&server.key) {
                Some(Ok(state)) => taken.extend(state.networks.iter().flat_map(ranges)),
                _ => taken.extend(server.destinations.iter().flat_map(|it| &it.network.subnets).map(|it| it.subnet)),
            }
        }
        let one = Pool { ranges: vec![range], ..pool.clone() };
        let usage = of_pool(&one, &taken).pop()?;
        Some(SharedPool { servers: sharing.iter().map(|server| server.key.path()).collect(), usage })
    };
    pools.into_values().filter_map(of_range).collect()
}

fn size_of(pool: &Pool, range: &IpNet) -> u8 {
    match range {
        IpNet::V4(_) => pool.prefix_v4,
        IpNet::V6(_) => pool.prefix_v6,
    }
}

/// What is used of each range of a declared pool. One with more networks than can be counted is left out: it is never used up.
pub fn of_pool(pool: &Pool, taken: &[IpNet]) -> Vec<PoolUse> {
    let part = |range: &IpNet| {
        pool_use(&AddressPool { base: range.to_string(), size: i64::from(size_of(pool, range)) }, false, taken)
    };
    pool.ranges.iter().filter_map(part).collect()
}

/// What one server uses, as far as it shows itself.
pub fn of_server(server: &DesiredServer, state: &ObservedState) -> ServerUse {
    server_use(&server.key.path(), server, state, std::iter::once(state))
}

fn server_use<'o>(
    path: &str,
    server: &DesiredServer,
    state: &ObservedState,
    all: impl Iterator<Item = &'o ObservedState> + Clone,
) -> ServerUse {
    let mut networks: Vec<SubnetUse> = state
        .networks
        .iter()
        .flat_map(|network| {
            let destination = destination(server, network);
            let states: Vec<&ObservedState> = match network.scope {
                // Its containers are on all nodes.
                NetworkScope::Swarm => all.clone().filter(|state| state.network(&network.id).is_some()).collect(),
                _ => vec![state],
            };
            of_network(network, states)
                .into_iter()
                .map(move |usage| SubnetUse { destination: destination.clone(), ..usage })
        })
        .collect();
    networks.sort_by_key(|it| (it.subnet.parse::<IpNet>().ok(), it.network.clone()));
    ServerUse { server: path.to_owned(), reachable: true, networks, pools: pools(state) }
}

fn destination(server: &DesiredServer, network: &ObservedNetwork) -> Option<String> {
    let named = |name: &Option<String>| name.as_deref() == Some(network.name.as_str());
    server.destinations.iter().find(|it| named(&it.network.name)).map(|it| it.key.path())
}

/// The ranges of a network; `states`: the servers whose containers may be on it.
pub fn of_network<'o>(
    network: &ObservedNetwork,
    states: impl IntoIterator<Item = &'o ObservedState>,
) -> Vec<SubnetUse> {
    let mut held: BTreeSet<IpAddr> = BTreeSet::new();
    for container in states.into_iter().flat_map(|state| &state.containers) {
        for endpoint in container.endpoints.iter().filter(|it| it.network_id.as_ref() == Some(&network.id)) {
            let addresses = [&endpoint.ipv4_address, &endpoint.ipv6_address];
            held.extend(addresses.into_iter().filter_map(|text| address(text)));
        }
    }
    network
        .subnets
        .iter()
        .filter_map(|subnet| {
            let range: IpNet = subnet.subnet.parse().ok()?;
            let part: Option<IpNet> = subnet.ip_range.as_deref().and_then(|text| text.parse().ok());
            let told = subnet.gateway.as_deref().and_then(address);
            let gateway = told.unwrap_or_else(|| implied_gateway(&range.trunc(), part.as_ref()));
            let kept = subnet.aux_addresses.values().filter_map(|text| address(text));
            let given = part.as_ref().unwrap_or(&range);
            let mut taken: BTreeSet<IpAddr> = held.iter().copied().chain(kept).collect();
            taken.insert(gateway);
            let within = taken.into_iter().filter(|address| given.contains(address)).count() as u64;
            let total = hosts(given, &range);
            Some(SubnetUse {
                network: network.name.clone(),
                driver: network.driver.clone(),
                destination: None,
                subnet: subnet.subnet.clone(),
                ip_range: subnet.ip_range.clone(),
                total,
                used: within,
                free: total.map(|total| total.saturating_sub(within)),
                days_left: None,
            })
        })
        .collect()
}

/// With or without the length of a prefix.
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

/// How many addresses containers can have of a range, or of the part of it that they are given from. `None`: more than can be used up, or
/// no range.
pub fn capacity(subnet: &str, ip_range: Option<&str>) -> Option<u64> {
    let range: IpNet = subnet.parse().ok()?;
    let given = ip_range.and_then(|part| part.parse().ok()).unwrap_or(range);
    hosts(&given, &range)
}

/// How many addresses of `given` hosts can have; the first and the last of an IPv4 range are none.
fn hosts(given: &IpNet, range: &IpNet) -> Option<u64> {
    let bits = u32::from(given.max_prefix_len() - given.prefix_len());
    let all = 1_u64.checked_shl(bits).filter(|_| bits < 63)?;
    let first = u64::from(given.network() == range.network());
    let last = u64::from(given.addr().is_ipv4() && given.broadcast() == range.broadcast());
    Some(if bits < 2 { all } else { all - first - last })
}

pub fn pools(state: &ObservedState) -> Vec<PoolUse> {
    let configured = &state.engine.address_pools;
    let built_in = configured.is_empty();
    let own = || BUILT_IN_POOLS.map(|(base, size)| AddressPool { base: base.to_owned(), size });
    let pools = if built_in { own().to_vec() } else { configured.clone() };
    // A range of its own, or one that a route of the machine goes through, is left out by the engine as well.
    let taken: Vec<IpNet> = state
        .networks
        .iter()
        .filter(|network| network.scope == NetworkScope::Local)
        .flat_map(ranges)
        .chain(state.engine.addresses.iter().map(|own| IpNet::from(own.address)))
        .collect();
    pools.iter().filter_map(|pool| pool_use(pool, built_in, &taken)).collect()
}

/// Counted without going through its blocks one by one: there may be millions.
fn pool_use(pool: &AddressPool, built_in: bool, taken: &[IpNet]) -> Option<PoolUse> {
    let base = pool.base.parse::<IpNet>().ok()?.trunc();
    let size =
        u8::try_from(pool.size).ok().filter(|size| (base.prefix_len()..=base.max_prefix_len()).contains(size))?;
    let bits = u32::from(size - base.prefix_len());
    let total = 1_u64.checked_shl(bits).filter(|_| bits < 63)?;
    let shift = u32::from(base.max_prefix_len() - size);
    let start = number(base.network());
    let block =
        |address: IpAddr| u64::try_from((number(address) - start).checked_shr(shift).unwrap_or(0)).unwrap_or(u64::MAX);
    let mut blocks: Vec<(u64, u64)> = taken
        .iter()
        .filter(|range| overlap(range, &base))
        .map(|range| match range.contains(&base) {
            true => (0, total - 1),
            false => (block(range.network()), block(range.broadcast())),
        })
        .collect();
    blocks.sort_unstable();
    let (mut used, mut from, mut next) = (0, 0, None);
    for (first, last) in blocks {
        if first > from && next.is_none() {
            next = Some(from);
        }
        if last >= from {
            used += last - first.max(from) + 1;
            from = last + 1;
        }
    }
    let next = next.or((from < total).then_some(from)).and_then(|at| nth(&base, size, at));
    Some(PoolUse { base: base.to_string(), size, built_in, total, used, free: total - used, next, days_left: None })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The block of that number.
fn nth(base: &IpNet, size: u8, at: u64) -> Option<String> {
    let offset = u128::from(at).checked_shl(u32::from(base.max_prefix_len() - size))?;
    let first = number(base.network()).checked_add(offset)?;
    let address: IpAddr = match base.addr() {
        IpAddr::V4(_) => std::net::Ipv4Addr::from_bits(u32::try_from(first).ok()?).into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::from_bits(first).into(),
    };
    Some(IpNet::new(address, size).ok()?.to_string())
}

/// A range with whose it is.
struct Held<'o> {
    range: IpNet,
    server: &'o ObjectKey,
    network: &'o ObservedNetwork,
    declared: bool,
}

/// On one server any two; over servers those of declared destinations, since every engine has the same ranges of its own.
fn collisions(desired: &DesiredState, observed: &Observations) -> Vec<Collision> {
    let mut held: Vec<Held<'_>> = Vec::new();
    let mut of_swarm: BTreeMap<&NetworkId, ()> = BTreeMap::new();
    for (key, server) in &desired.servers {
        let Some(Ok(state)) = observed.get(key) else { continue };
        for network in &state.networks {
            // Each node of a Swarm lists the same one.
            if network.scope == NetworkScope::Swarm && of_swarm.insert(&network.id, ()).is_some() {
                continue;
            }
            let declared = destination(server, network).is_some();
            held.extend(ranges(network).into_iter().map(|range| Held {
                range: range.trunc(),
                server: key,
                network,
                declared,
            }));
        }
    }
    // In the order of their first addresses, wider ones first: what overlaps a range follows it.
    held.sort_by_key(|it| (it.range.addr().is_ipv6(), number(it.range.network()), it.range.prefix_len()));
    let mut collisions = Vec::new();
    for (at, a) in held.iter().enumerate() {
        for b in held[at + 1..].iter().take_while(|b| overlap(&a.range, &b.range)) {
            let same_server = a.server == b.server;
            // macvlan and ipvlan networks may share the range of a real one, and those of a Swarm have a space of their own.
            let apart =
                same_server && (a.network.scope != b.network.scope || is_of_lan(a.network) || is_of_lan(b.network));
            let of_interest = same_server || (a.declared && b.declared);
            if a.network.id == b.network.id || apart || !of_interest {
                continue;
            }
            collisions.push(Collision { a: side(a), b: side(b), same_server });
            if collisions.len() >= MOST_COLLISIONS {
                return collisions;
            }
        }
    }
    collisions.sort_by(|x, y| (!x.same_server, &x.a, &x.b).cmp(&(!y.same_server, &y.a, &y.b)));
    collisions
}

/// A thousand servers that were all given the same range collide half a million times.
const MOST_COLLISIONS: usize = 1000;

fn is_of_lan(network: &ObservedNetwork) -> bool {
    matches!(network.driver.as_str(), "macvlan" | "ipvlan")
}

fn side(held: &Held<'_>) -> Side {
    Side { server: held.server.path(), network: held.network.name.clone(), subnet: held.range.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(base: &str, size: i64, taken: &[&str]) -> Option<PoolUse> {
        let taken: Vec<IpNet> = taken.iter().map(|range| range.parse().unwrap()).collect();
        pool_use(&AddressPool { base: base.to_owned(), size }, false, &taken)
    }

    #[test]
    fn a_pool_is_counted_in_blocks_whatever_takes_them() {
        let used = |base, size, taken: &[&str]| {
            let it = pool(base, size, taken).unwrap();
            (it.total, it.used, it.free, it.next)
        };
        let next = |text: &str| Some(text.to_owned());
        assert_eq!(used("10.0.0.0/8", 24, &[]), (65_536, 0, 65_536, next("10.0.0.0/24")));
        assert_eq!(
            used("10.0.0.0/22", 24, &["10.0.0.0/24", "10.0.2.0/25", "10.0.2.128/25"]),
            (4, 2, 2, next("10.0.1.0/24"))
        );
        // One that is wider than a block, one within another, and one that is wider than the pool.
        assert_eq!(used("10.0.0.0/22", 24, &["10.0.0.0/23", "10.0.1.0/24"]), (4, 2, 2, next("10.0.2.0/24")));
        assert_eq!(used("10.0.0.0/22", 24, &["10.0.0.0/8"]), (4, 4, 0, None));
        assert_eq!(used("10.0.0.0/24", 24, &["10.0.0.5/32"]), (1, 1, 0, None));
        assert_eq!(used("fd00::/48", 64, &["fd00::/64", "10.0.0.0/8"]), (65_536, 1, 65_535, next("fd00:0:0:1::/64")));
        assert_eq!(pool("10.0.0.0/24", 16, &[]), None);
        assert_eq!(pool("ten", 24, &[]), None);
        assert_eq!(pool("::/0", 128, &[]), None, "more than can be counted");
    }

    #[test]
    fn a_forecast_follows_the_pace_of_what_was_seen_and_makes_none_of_too_little() {
        let samples = |used: &[u64]| -> Vec<Sample> {
            used.iter().enumerate().map(|(day, used)| Sample { at: day as i64 * 86_400, used: *used }).collect()
        };
        assert_eq!(days_left(&samples(&[10, 12, 14, 16]), 20), Some(10));
        assert_eq!(days_left(&samples(&[10, 14, 12, 16]), 16), Some(10), "the line that fits best");
        assert_eq!(days_left(&samples(&[10, 12]), 0), Some(0));
        for nothing in [&[][..], &[10], &[10, 10, 10], &[12, 11, 10]] {
            assert_eq!(days_left(&samples(nothing), 20), None, "{nothing:?}");
        }
        let of_an_hour = [Sample { at: 0, used: 1 }, Sample { at: 3600, used: 90 }];
        assert_eq!(days_left(&of_an_hour, 20), None);
    }

    #[test]
    fn hosts_are_neither_the_first_nor_the_last_address() {
        let hosts = |given: &str, range: &str| hosts(&given.parse().unwrap(), &range.parse().unwrap());
        assert_eq!(hosts("10.0.0.0/24", "10.0.0.0/24"), Some(254));
        assert_eq!(hosts("10.0.0.0/31", "10.0.0.0/31"), Some(2));
        assert_eq!(hosts("10.0.0.64/26", "10.0.0.0/24"), Some(64));
        assert_eq!(hosts("10.0.0.128/25", "10.0.0.0/24"), Some(127));
        assert_eq!(hosts("fd00::/64", "fd00::/64"), None);
        assert_eq!(hosts("fd00::/120", "fd00::/120"), Some(255));
    }
}
