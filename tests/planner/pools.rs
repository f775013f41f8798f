//! `subnets: auto`: ranges from the pool of a server, and what is said before anything is used up.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use landfall::core::api::{Kind, ObjectKey, Replacement};
use landfall::core::desired::{DesiredServer, Pool};
use landfall::core::plan::{Call, Reason};

use crate::support::scenario::{DestinationBuilder, Scenario, container, destination, key, network};

fn pool(range: &str, prefix_v4: u8) -> Pool {
    Pool { ranges: vec![range.parse().unwrap()], prefix_v4, prefix_v6: 64 }
}

fn auto(name: &str) -> DestinationBuilder {
    destination(name).named(&format!("{name}-net")).with(|it| it.network.auto = true)
}

fn pooled(range: &str, prefix: u8) -> Scenario {
    let mut scenario = Scenario::without_proxy();
    scenario.server().pool = Some(pool(range, prefix));
    scenario
}

/// The ranges that the plan gives, by network.
fn given(scenario: &Scenario) -> BTreeMap<String, Vec<IpNet>> {
    let plan = scenario.plan();
    let operations = plan.servers.iter().flat_map(|it| &it.groups).flat_map(|it| &it.operations);
    operations
        .filter_map(|operation| match &operation.call {
            Call::CreateNetwork(create) => {
                Some((create.name.clone(), create.subnets.iter().map(|it| it.subnet.parse().unwrap()).collect()))
            }
            _ => None,
        })
        .collect()
}

/// Another server of the same pool, with a destination of that name, not looked at.
fn beside(scenario: &mut Scenario, server: &str, destinations: Vec<DestinationBuilder>) -> ObjectKey {
    let other = DesiredServer {
        key: key(Kind::Server, server),
        destinations: destinations.into_iter().map(|it| it.0).collect(),
        ..scenario.server().clone()
    };
    let other_key = other.key.clone();
    scenario.desired.servers.insert(other_key.clone(), Arc::new(other));
    scenario.desired.narrow(|key, _| key.name == "edge-1");
    other_key
}

#[test]
fn a_range_comes_from_the_pool_and_is_the_same_every_time_and_what_is_in_place_stays() {
    let scenario = pooled("10.64.0.0/12", 24).destination(auto("web")).destination(auto("data"));
    let first = given(&scenario);
    let pool: IpNet = "10.64.0.0/12".parse().unwrap();
    assert!(first.values().flatten().all(|range| pool.contains(range) && range.prefix_len() == 24), "{first:?}");
    assert_eq!(first.len(), 2);
    assert_ne!(first["web-net"], first["data-net"]);
    // Others come and go, and nothing changes for those that were there.
    assert_eq!(given(&scenario.clone().destination(auto("more")))["web-net"], first["web-net"]);
    assert_eq!(given(&pooled("10.64.0.0/12", 24).destination(auto("web")))["web-net"], first["web-net"]);
    // In place, from wherever it came: no difference.
    pooled("10.64.0.0/12", 24)
        .network(network("web-net").of("web").subnet("192.168.7.0/24"))
        .destination(auto("web"))
        .expect("");
}

#[test]
fn nothing_is_given_out_that_is_used_declared_or_reserved_on_any_server_of_the_pool() {
    // Four blocks: one is a network of somebody else's, one is declared, one is reserved elsewhere.
    let mut scenario = pooled("10.64.0.0/22", 24)
        .network(network("theirs").subnet("10.64.0.0/25"))
        .destination(auto("web"))
        .destination(destination("fixed").named("fixed-net").subnet("10.64.1.0/24"));
    beside(&mut scenario, "edge-2", Vec::new());
    let servers: Vec<DesiredServer> = scenario.desired.all_servers().cloned().collect();
    let mut all: BTreeMap<_, _> = servers.into_iter().map(|it| (it.key.clone(), Arc::new(it))).collect();
    Arc::make_mut(all.get_mut(&key(Kind::Server, "edge-2")).unwrap()).reserved = vec!["10.64.2.0/24".parse().unwrap()];
    scenario.desired = landfall::core::desired::DesiredState::new("default", all);
    scenario.desired.narrow(|key, _| key.name == "edge-1");
    assert_eq!(given(&scenario)["web-net"], ["10.64.3.0/24".parse::<IpNet>().unwrap()]);
    // And with the last one used as well there is none.
    let full = scenario.network(network("more").subnet("10.64.3.128/25"));
    let plan = full.plan();
    let note = plan.servers[0].notes.iter().find(|note| note.reason == Reason::AddressPoolExhausted).unwrap();
    assert_eq!(note.message, "No range is left in the subnetPool of Server/default/edge-1: 10.64.0.0/22.");
    assert!(!given(&full).contains_key("web-net"), "and the others are made");
    assert!(given(&full).contains_key("fixed-net"));
}

#[test]
fn servers_that_share_a_pool_are_planned_for_one_by_one_and_never_given_the_same() {
    // As many destinations as there are blocks, over two servers, of which each pass sees one.
    let names: Vec<String> = (0..16).map(|at| format!("d{at}")).collect();
    let mut taken: BTreeMap<IpNet, String> = BTreeMap::new();
    for own in [0, 1] {
        let mine = |at: usize| at % 2 == own;
        let mut scenario = pooled("10.64.0.0/20", 24);
        for (_, name) in names.iter().enumerate().filter(|(at, _)| mine(*at)) {
            scenario = scenario.destination(auto(name));
        }
        let others = names.iter().enumerate().filter(|(at, _)| !mine(*at)).map(|(_, name)| auto(name));
        beside(&mut scenario, "edge-2", others.collect());
        for (name, ranges) in given(&scenario) {
            for range in ranges {
                if let Some(other) = taken.insert(range, name.clone()) {
                    panic!("{range} is given to {name} and to {other}");
                }
            }
        }
    }
    assert_eq!(taken.len(), 16);
}

#[test]
fn what_another_server_really_has_counts_where_it_is_known() {
    let mut scenario = pooled("10.64.0.0/23", 24).destination(auto("web"));
    let other = beside(&mut scenario, "edge-2", vec![auto("data")]);
    let alone = given(&scenario)["web-net"].clone();
    // The other one has, for whatever reason, what would be given out here.
    let theirs = network("data-net").of("data").subnet(&alone[0].to_string()).build("theirs");
    scenario.request.neighbours.insert(other, vec![theirs]);
    assert_ne!(given(&scenario)["web-net"], alone);
}

#[test]
fn a_network_that_is_replaced_keeps_its_range_and_its_static_addresses() {
    let scenario = pooled("10.64.0.0/12", 24)
        .network(network("web-net").of("web").subnet("10.70.1.0/24").gateway("10.70.1.1").mtu("1500"))
        .container(container("api").on("web-net").static_address("10.70.1.9"))
        .destination(auto("web").mtu(1400).replacement(Replacement::Reattach));
    assert_eq!(given(&scenario)["web-net"], ["10.70.1.0/24".parse::<IpNet>().unwrap()]);
}

#[test]
fn both_families_are_given_where_the_pool_has_both() {
    let mut scenario = pooled("10.64.0.0/12", 24).destination(auto("web").with(|it| it.network.ipv6 = true));
    scenario.server().pool.as_mut().unwrap().ranges.push("fd00:64::/48".parse().unwrap());
    let ranges = given(&scenario)["web-net"].clone();
    assert_eq!(ranges.iter().map(IpNet::prefix_len).collect::<Vec<_>>(), [24, 64]);
}

#[test]
fn before_addresses_are_used_up_it_is_said() {
    let full = |members: u8| {
        let mut scenario = Scenario::without_proxy()
            .network(network("web-net").of("web").subnet("10.42.0.0/27").gateway("10.42.0.1"))
            .destination(destination("web").named("web-net"));
        for at in 0..members {
            let address = format!("10.42.0.{}", at + 2);
            scenario = scenario.container(container(&format!("c{at}")).on("web-net").address(&address));
        }
        let plan = scenario.plan();
        let notes = plan.servers[0].notes.iter().filter(|note| note.reason == Reason::AddressesLow);
        notes.map(|note| note.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(full(25), Vec::<String>::new(), "4 of 30");
    assert_eq!(full(27), ["2 of 30 addresses of 10.42.0.0/27 (network \"web-net\") are left."]);
    // And of the ranges of a pool.
    let mut scenario = pooled("10.64.0.0/22", 24);
    for at in 0..4 {
        scenario = scenario.network(network(&format!("n{at}")).subnet(&format!("10.64.{at}.0/24")));
    }
    let plan = scenario.plan();
    let note = plan.servers[0].notes.iter().find(|note| note.reason == Reason::AddressesLow).unwrap();
    assert_eq!(
        note.message,
        "Server/default/edge-1 has little left: 0 of 4 networks of /24 of its subnetPool 10.64.0.0/22."
    );
}
