//! Ranges for destinations that leave theirs to Landfall (`subnets: auto`).
//!
//! A range is looked for from a place on that the destination's own name gives, so that what others are given hardly ever matters: whoever
//! plans for one server only, without having seen the others, comes to the same. What is in place stays, wherever it is; only a network
//! that has to be made is given a range. Others that wait for one as well are given theirs first where their names come first, so that two
//! servers that are planned for at the same moment do not take the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredServer, Pool};
use crate::core::observed::{NetworkScope, Observations, ObservedNetwork, ObservedState};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::input;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::{container, ownership};
use crate::core::subnets::{PoolUse, is_low, of_network};

/// Whether what is on other servers matters to a plan: a destination waits for a range of a pool that they share.
pub fn wants_neighbours<'a>(
    server: &DesiredServer,
    observed: &Observations,
    set: &str,
    all: impl Iterator<Item = &'a DesiredServer>,
) -> Vec<&'a DesiredServer> {
    let (Some(pool), Some(Ok(state))) = (&server.pool, observed.get(&server.key)) else { return Vec::new() };
    let waits = |it: &&DesiredDestination| it.network.auto && network_of(it, &state.networks, set).is_none();
    if !server.destinations.iter().any(|it| waits(&it)) {
        return Vec::new();
    }
    all.filter(|other| shares(pool, other) && !observed.contains_key(&other.key)).collect()
}

fn shares(pool: &Pool, other: &DesiredServer) -> bool {
    other.pool.as_ref().is_some_and(|it| it.ranges.iter().any(|a| pool.ranges.iter().any(|b| container::overlap(a, b))))
}

/// The network of a destination among those of its server.
fn network_of<'n>(
    destination: &DesiredDestination,
    networks: &'n [ObservedNetwork],
    set: &str,
) -> Option<&'n ObservedNetwork> {
    let own = |network: &&ObservedNetwork| {
        ownership::of(network)
            .is_some_and(|it| it.sealed && it.set == set && it.destination.as_ref() == Some(&destination.key))
    };
    let named = |network: &&ObservedNetwork| destination.network.name.as_ref() == Some(&network.name);
    networks.iter().find(own).or_else(|| networks.iter().find(named))
}

/// The ranges for the network of a destination that has to be made; or why there are none.
pub(crate) fn ranges(ctx: &Context<'_>, destination: &DesiredDestination) -> Result<Vec<IpNet>, Note> {
    let Some(pool) = ctx.server.pool.as_ref().filter(|_| destination.network.auto) else { return Ok(Vec::new()) };
    let desired = ctx.input.desired;
    let mut taken = Taken::default();
    let mut waiting: Vec<(&DesiredDestination, &Pool)> = Vec::new();
    for server in desired.all_servers().filter(|it| it.key == ctx.server.key || shares(pool, it)) {
        server.reserved.iter().for_each(|range| taken.add(range));
        let declared = server.destinations.iter().flat_map(|it| &it.network.subnets);
        declared.for_each(|subnet| taken.add(&subnet.subnet));
        let networks: Option<&[ObservedNetwork]> = match ctx.input.observed.get(&server.key) {
            Some(Ok(state)) => {
                state.engine.addresses.iter().for_each(|own| taken.add(&IpNet::from(own.address)));
                Some(&state.networks)
            }
            _ => ctx.request.neighbours.get(&server.key).map(Vec::as_slice),
        };
        networks.into_iter().flatten().flat_map(container::subnets).for_each(|range| taken.add(&range));
        let autos = server.destinations.iter().filter(|it| it.network.auto);
        let missing = autos.filter(|it| networks.is_none_or(|all| network_of(it, all, ctx.set).is_none()));
        waiting.extend(missing.filter_map(|it| Some((it, server.pool.as_ref()?))));
    }
    // A network that is replaced is in place, and waits for another one all the same.
    if !waiting.iter().any(|(it, _)| it.key == destination.key) {
        waiting.push((destination, pool));
    }
    waiting.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));
    for (it, pool) in waiting {
        let families: BTreeSet<bool> = pool.ranges.iter().map(is_v6).filter(|v6| has(it, *v6)).collect();
        let found: Vec<Option<IpNet>> = families.iter().map(|v6| taken.next(pool, *v6, &it.key)).collect();
        found.iter().flatten().for_each(|range| taken.add(range));
        if it.key != destination.key {
            continue;
        }
        return match found.iter().copied().collect::<Option<Vec<IpNet>>>() {
            Some(ranges) if !ranges.is_empty() => Ok(ranges),
            _ => {
                let ranges: Vec<String> = pool.ranges.iter().map(ToString::to_string).collect();
                let message =
                    format!("No range is left in the subnetPool of {}: {}.", ctx.server.key, ranges.join(", "));
                Err(Note::refused(Reason::AddressPoolExhausted, &destination.key, message).hint(
                    "add a range to `subnetPool.ranges`, make `prefixLength` longer, or declare `spec.network.subnets`; \
                     `landfall subnets` shows what is used",
                ))
            }
        };
    }
    Ok(Vec::new())
}

/// What is nearly used up: addresses of a network, ranges of a pool. Said before anything fails for it.
pub(crate) fn low(ctx: &Context<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    for (destination, located) in ctx.located.iter().filter(|(it, _)| !ctx.is_deleted(&it.key)) {
        let Some(network) = located.network() else { continue };
        let of_swarm = network.scope == NetworkScope::Swarm;
        let others = ctx.input.observed.values().filter_map(|seen| seen.as_ref().ok());
        let states: Vec<&ObservedState> = match of_swarm {
            true => others.filter(|state| state.network(&network.id).is_some()).collect(),
            false => vec![ctx.host.state],
        };
        for usage in of_network(network, states).into_iter().filter(|it| is_low(it.free, it.total)) {
            let (free, total) = (usage.free.unwrap_or_default(), usage.total.unwrap_or_default());
            let message =
                format!("{free} of {total} addresses of {} (network {:?}) are left.", usage.subnet, network.name);
            notes.push(Note::warning(Reason::AddressesLow, &destination.key, message).hint(
                "move members to another destination, or give this one a wider range with `replacement: Reattach`; \
                 `landfall subnets` shows for how long it lasts",
            ));
        }
    }
    let mut full: Vec<String> = Vec::new();
    let declared = ctx.server.pool.iter().flat_map(|pool| pool_uses(ctx.input, &ctx.server.key, pool));
    let engine = crate::core::subnets::pools(ctx.host.state);
    // Of the ranges that an engine has together: it takes one from wherever one is left.
    let (free, total) = engine.iter().fold((0, 0), |(free, total), it| (free + it.free, total + it.total));
    for pool in declared.filter(|it| is_low(Some(it.free), Some(it.total))) {
        full.push(format!(
            "{} of {} networks of /{} of its subnetPool {}",
            pool.free, pool.total, pool.size, pool.base
        ));
    }
    if is_low(Some(free), Some(total)) {
        full.push(format!("{free} of {total} networks of the daemon's address pools"));
    }
    if !full.is_empty() {
        let message = format!("{} has little left: {}.", ctx.server.key, full.join(", "));
        notes.push(Note::warning(Reason::AddressesLow, &ctx.server.key, message).hint(
            "add ranges to `subnetPool`, set `default-address-pools` of the daemon, or remove unused networks; \
             `landfall subnets` shows what is used",
        ));
    }
    notes
}

/// What is used of the ranges of a server's pool, by all servers that share it and were seen.
fn pool_uses(input: &input::PlanInput<'_>, server: &ObjectKey, pool: &Pool) -> Vec<PoolUse> {
    let sharing = input.desired.all_servers().filter(|it| it.key == *server || shares(pool, it));
    let mut taken: Vec<IpNet> = Vec::new();
    for server in sharing {
        taken.extend(&server.reserved);
        let networks = match input.observed.get(&server.key) {
            Some(Ok(state)) => Some(&state.networks),
            _ => input.request.neighbours.get(&server.key),
        };
        match networks {
            Some(networks) => taken.extend(networks.iter().flat_map(container::subnets)),
            None => taken.extend(server.destinations.iter().flat_map(|it| &it.network.subnets).map(|it| it.subnet)),
        }
    }
    crate::core::subnets::of_pool(pool, &taken)
}

fn is_v6(range: &IpNet) -> bool {
    matches!(range, IpNet::V6(_))
}

fn has(destination: &DesiredDestination, v6: bool) -> bool {
    if v6 { destination.network.ipv6 } else { destination.network.ipv4 }
}

/// Addresses that are nobody's to give, as spans without overlaps, in order; IPv4 and IPv6 apart.
#[derive(Debug, Default)]
struct Taken {
    spans: [Vec<(u128, u128)>; 2],
}

impl Taken {
    fn add(&mut self, range: &IpNet) {
        let spans = &mut self.spans[usize::from(is_v6(range))];
        let (mut first, mut last) = (number(range.network()), number(range.broadcast()));
        let from = spans.partition_point(|span| span.1 < first);
        let to = spans.partition_point(|span| span.0 <= last);
        for span in spans.drain(from..to) {
            (first, last) = (first.min(span.0), last.max(span.1));
        }
        spans.insert(from, (first, last));
    }

    /// The last address of what is taken of a span.
    fn within(&self, v6: bool, first: u128, last: u128) -> Option<u128> {
        let spans = &self.spans[usize::from(v6)];
        let span = spans.get(spans.partition_point(|span| span.1 < first))?;
        (span.0 <= last).then_some(span.1)
    }

    /// The first free block of the pool from the place of `key` on, all around.
    fn next(&self, pool: &Pool, v6: bool, key: &ObjectKey) -> Option<IpNet> {
        let prefix = if v6 { pool.prefix_v6 } else { pool.prefix_v4 };
        let ranges: Vec<&IpNet> =
            pool.ranges.iter().filter(|it| is_v6(it) == v6 && it.prefix_len() <= prefix).collect();
        let blocks = |range: &IpNet| 1_u128.checked_shl(u32::from(prefix - range.prefix_len())).unwrap_or(u128::MAX);
        let total = ranges.iter().fold(0_u128, |sum, range| sum.saturating_add(blocks(range)));
        let start = place(key).checked_rem(total)?;
        // From the place to the end of its range, through the ranges after it, and those before it up to the place.
        let mut before = 0_u128;
        let mut turns: Vec<(&IpNet, u128, u128)> = Vec::new();
        let mut head = None;
        for range in &ranges {
            let count = blocks(range);
            if (before..before.saturating_add(count)).contains(&start) {
                let own = start - before;
                turns.insert(0, (range, own, count));
                head = Some((turns.len(), (*range, 0, own)));
            } else if head.is_some() {
                turns.push((range, 0, count));
            }
            before = before.saturating_add(count);
        }
        let wrapped = ranges.iter().take_while(|range| turns.first().is_none_or(|(first, ..)| first != *range));
        turns.extend(wrapped.map(|range| (*range, 0, blocks(range))).collect::<Vec<_>>());
        turns.extend(head.map(|(_, turn)| turn));
        turns.into_iter().find_map(|(range, from, to)| self.free(range, prefix, from, to))
    }

    /// The first free block of those numbers.
    fn free(&self, range: &IpNet, prefix: u8, from: u128, to: u128) -> Option<IpNet> {
        let shift = u32::from(range.max_prefix_len() - prefix);
        let base = number(range.network());
        let size = 1_u128.checked_shl(shift)?;
        let mut at = from;
        while at < to {
            let first = base.checked_add(at.checked_shl(shift)?)?;
            match self.within(is_v6(range), first, first + (size - 1)) {
                None => return IpNet::new(address(range, first)?, prefix).ok(),
                // What is taken ends there, or beyond the range.
                Some(last) => at = last.checked_sub(base)?.checked_shr(shift)? + 1,
            }
        }
        None
    }
}

/// Where the search begins: a number that is as good as random, and the same every time.
fn place(key: &ObjectKey) -> u128 {
    let digest = Sha256::digest(key.to_string().as_bytes());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(like: &IpNet, number: u128) -> Option<IpAddr> {
    Some(match like {
        IpNet::V4(_) => std::net::Ipv4Addr::from_bits(u32::try_from(number).ok()?).into(),
        IpNet::V6(_) => std::net::Ipv6Addr::from_bits(number).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;

    fn pool(ranges: &[&str], prefix_v4: u8) -> Pool {
        Pool { ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(), prefix_v4, prefix_v6: 64 }
    }

    fn key(number: usize) -> ObjectKey {
        ObjectKey::new(Kind::Destination, "shop", &format!("d{number}"))
    }

    /// All blocks of the pool, one after another.
    fn all(pool: &Pool, v6: bool, taken: &mut Taken) -> Vec<IpNet> {
        let mut found = Vec::new();
        while let Some(range) = taken.next(pool, v6, &key(found.len())) {
            taken.add(&range);
            found.push(range);
            assert!(found.len() <= 1 << 12, "it has an end");
        }
        found
    }

    #[test]
    fn every_block_of_a_pool_is_given_out_once_whatever_is_taken_of_it() {
        let pool = pool(&["10.64.0.0/20", "10.80.0.0/22", "10.96.0.0/30"], 24);
        let mut taken = Taken::default();
        for range in ["10.64.3.128/25", "10.64.4.0/23", "10.80.0.0/30", "10.0.0.0/12", "fd00::/8", "10.63.0.0/16"] {
            taken.add(&range.parse().unwrap());
        }
        let mut found = all(&pool, false, &mut taken);
        found.sort();
        let mut expected: Vec<IpNet> = (0..16).map(|at| format!("10.64.{at}.0/24").parse().unwrap()).collect();
        expected.extend((1..4).map(|at| format!("10.80.{at}.0/24").parse::<IpNet>().unwrap()));
        expected.retain(|it| !["10.64.3.0/24", "10.64.4.0/24", "10.64.5.0/24"].contains(&it.to_string().as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn pools_at_the_ends_of_the_address_space_are_used_up_and_no_further() {
        for (range, prefix, count) in [("255.255.254.0/23", 24, 2), ("0.0.0.0/6", 8, 4), ("10.0.0.0/24", 24, 1)] {
            assert_eq!(all(&pool(&[range], prefix), false, &mut Taken::default()).len(), count, "{range}");
        }
        let v6 = pool(&["ffff:ffff:ffff:ffc0::/58"], 24);
        assert_eq!(all(&v6, true, &mut Taken::default()).len(), 64);
        assert!(
            Taken::default().next(&pool(&["fd00::/8"], 24), true, &key(1)).is_some(),
            "more blocks than can be counted"
        );
        assert_eq!(Taken::default().next(&pool(&["fd00::/8"], 24), false, &key(1)), None);
    }

    #[test]
    fn where_the_search_begins_is_up_to_the_name_alone() {
        let pool = pool(&["10.64.0.0/12"], 24);
        let mut taken = Taken::default();
        let alone: Vec<_> = (0..20).map(|at| taken.next(&pool, false, &key(at))).collect();
        let together: Vec<_> = (0..20)
            .map(|at| {
                let range = taken.next(&pool, false, &key(at));
                range.iter().for_each(|range| taken.add(range));
                range
            })
            .collect();
        assert_eq!(alone, together, "none of these is in another's way");
    }
}
