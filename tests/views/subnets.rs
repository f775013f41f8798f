//! `subnets`: what is used, free, and there twice.

use landfall::core::api::ObjectKey;
use landfall::core::desired::DesiredState;
use landfall::core::manifest::{Source, load};
use landfall::core::observed::{
    AddressPool, ObservedNetwork, ObservedState, ObservedSubnet, Unobserved, UnobservedReason,
};
use landfall::core::subnets::map;

use super::observed::{container, network, overlay, server, subnet};

const MANIFESTS: &str = "apiVersion: landfall/v1
kind: Server
metadata: { name: a }
spec: { endpoint: 'unix:///a.sock' }
---
apiVersion: landfall/v1
kind: Server
metadata: { name: b }
spec: { endpoint: 'unix:///b.sock' }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web-a }
spec: { server: a, network: { name: web } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web-b }
spec: { server: b, network: { name: web } }
";

fn desired() -> DesiredState {
    let source = Source { name: "all.yaml".to_owned(), bytes: MANIFESTS.as_bytes().to_vec() };
    load(&[source]).unwrap().desired("default")
}

fn key(desired: &DesiredState, name: &str) -> ObjectKey {
    desired.servers.keys().find(|key| key.name == name).unwrap().clone()
}

fn ranged(name: &str, range: &str, gateway: &str) -> ObservedNetwork {
    ObservedNetwork { subnets: vec![subnet(range, gateway)], ..network(name) }
}

fn with_address(mut state: ObservedState, name: &str, network: &str, address: &str) -> ObservedState {
    let mut container = container(name, "app", &[network]);
    container.endpoints[0].ipv4_address = address.to_owned();
    state.containers.push(container);
    state
}

#[test]
fn addresses_of_containers_gateways_and_what_is_kept_back_are_counted() {
    let desired = desired();
    let mut web = ranged("web", "10.1.0.0/24", "10.1.0.1");
    web.subnets[0].aux_addresses = [("printer".to_owned(), "10.1.0.9".to_owned())].into();
    let part = ObservedSubnet { ip_range: Some("10.2.0.128/29".to_owned()), ..subnet("10.2.0.0/24", "10.2.0.1") };
    let mut state = server(vec![web, ObservedNetwork { subnets: vec![part], ..network("part") }], Vec::new());
    state = with_address(state, "one", "web", "10.1.0.2");
    state = with_address(state, "two", "web", "10.1.0.3");
    state = with_address(state, "three", "part", "10.2.0.128");
    // A static one, outside of what Docker gives.
    state = with_address(state, "four", "part", "10.2.0.5");
    state.engine.address_pools = vec![AddressPool { base: "10.1.0.0/16".to_owned(), size: 24 }];
    let (a, b) = (key(&desired, "a"), key(&desired, "b"));
    let unobserved = Unobserved { reason: UnobservedReason::ServerUnreachable, message: String::new(), hint: None };
    let map = map(&desired, &[(a, Ok(state)), (b, Err(unobserved))].into());
    let uses: Vec<_> = map.servers[0]
        .networks
        .iter()
        .map(|it| (it.network.as_str(), it.destination.as_deref(), it.total, it.used, it.free))
        .collect();
    assert_eq!(uses, [("web", Some("default/web-a"), Some(254), 4, Some(250)), ("part", None, Some(8), 1, Some(7))]);
    let pool = &map.servers[0].pools[0];
    assert_eq!(
        (pool.total, pool.used, pool.free, pool.next.as_deref(), pool.built_in),
        (256, 1, 255, Some("10.1.1.0/24"), false)
    );
    assert!(!map.servers[1].reachable);
}

#[test]
fn ranges_collide_on_a_server_and_between_the_declared_networks_of_two() {
    let desired = desired();
    let first = server(
        vec![
            ranged("web", "10.1.0.0/16", "10.1.0.1"),
            ranged("other", "10.1.7.0/24", "10.1.7.1"),
            ranged("own", "172.18.0.0/16", "172.18.0.1"),
        ],
        Vec::new(),
    );
    let second = server(
        vec![ranged("web", "10.1.128.0/17", "10.1.128.1"), ranged("own", "172.18.0.0/16", "172.18.0.1")],
        Vec::new(),
    );
    let observed = [(key(&desired, "a"), Ok(first)), (key(&desired, "b"), Ok(with_ids(second)))].into();
    let map = map(&desired, &observed);
    let found: Vec<_> = map
        .collisions
        .iter()
        .map(|it| {
            (it.same_server, it.a.network.as_str(), it.a.subnet.as_str(), it.b.server.as_str(), it.b.subnet.as_str())
        })
        .collect();
    assert_eq!(
        found,
        [
            (true, "web", "10.1.0.0/16", "default/a", "10.1.7.0/24"),
            (false, "web", "10.1.0.0/16", "default/b", "10.1.128.0/17"),
        ]
    );
    // Without configured pools the engine has its own.
    let built_in = &map.servers[0].pools;
    assert_eq!(built_in.iter().map(|pool| pool.total).sum::<u64>(), 31);
    assert_eq!(built_in.iter().map(|pool| pool.used).sum::<u64>(), 1);
}

/// Networks of another daemon: their ids are others.
fn with_ids(mut state: ObservedState) -> ObservedState {
    for (at, network) in state.networks.iter_mut().enumerate() {
        network.id = format!("{at:f>64x}").try_into().unwrap();
    }
    state
}

#[test]
fn an_overlay_is_one_network_with_containers_on_all_nodes() {
    let desired = desired();
    let node = |name: &str, address: &str| {
        let web = ObservedNetwork { subnets: vec![subnet("10.0.1.0/24", "10.0.1.1")], ..overlay("web") };
        with_address(server(vec![web], Vec::new()), name, "web", address)
    };
    let observed =
        [(key(&desired, "a"), Ok(node("one", "10.0.1.4"))), (key(&desired, "b"), Ok(node("two", "10.0.1.5")))].into();
    let map = map(&desired, &observed);
    assert!(map.servers.iter().all(|server| server.networks[0].used == 3), "{:#?}", map.servers);
    assert_eq!(map.collisions, []);
}
