//! Networks that the server's engine can never make, and fields that only some engines tell.

use landfall::core::api::Replacement;
use landfall::core::observed::AddressPool;
use landfall::core::plan::{Call, NetworkCreate};

use crate::support::scenario::{DestinationBuilder, Scenario, application, container, destination, network};

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

fn on(version: &str, destination: DestinationBuilder) -> Scenario {
    Scenario::without_proxy().engine(version).destination(destination)
}

fn ipv6() -> DestinationBuilder {
    destination("web").named("web-net").with(|it| it.network.ipv6 = true)
}

fn bridge(name: &str) -> DestinationBuilder {
    destination("web").named("web-net").with(|it| {
        it.network.options.insert(BRIDGE_NAME.to_owned(), name.to_owned());
    })
}

const CREATED: &str = "
    default/edge-1
      + create network web-net for Destination/shop/web (NetworkMissing)
    ";

#[test]
fn a_bridge_has_one_subnet_of_each_kind_and_an_overlay_several() {
    let two = || destination("web").named("web-net").subnet("10.1.0.0/24").subnet("10.2.0.0/24");
    on("28.5.2", two().member(application("app"))).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: A bridge network has one IPv4 subnet, and the manifest declares 10.1.0.0/24, 10.2.0.0/24. (WrongScope)
              hint: declare one of them; members that are to be kept apart go to a destination of their own
          ? waiting Application/shop/app: Destination/shop/web was refused; its members are left as they are until that is resolved. (WrongScope)
        ",
    );
    let v6 = ipv6().subnet("10.1.0.0/24").subnet("fd01::/64").subnet("fd02::/64");
    on("28.5.2", v6).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: A bridge network has one IPv6 subnet, and the manifest declares fd01::/64, fd02::/64. (WrongScope)
              hint: declare one of them; members that are to be kept apart go to a destination of their own
        ",
    );
    on("28.5.2", two()).swarm_manager().expect(
        "
        default/edge-1
          + create network web-net (overlay, 10.1.0.0/24, 10.2.0.0/24) for Destination/shop/web (NetworkMissing)
        ",
    );
}

#[test]
fn ipv6_without_a_subnet_takes_an_engine_with_a_pool() {
    for version in ["20.10.24", "26.1.5"] {
        on(version, ipv6()).expect_nothing_but(&format!(
            "
        default/edge-1
          ! refused Destination/shop/web: spec.network.ipv6 is true without an IPv6 subnet, and Docker Engine {version} has no pool to take one from. (AddressPoolExhausted)
              hint: declare one in `spec.network.subnets`, such as a /64 of fd00::/8, or add one to `default-address-pools` of the daemon
        "
        ));
    }
    on("27.5.1", ipv6()).expect(CREATED);
    on("20.10.24", ipv6().subnet("fd01::/64")).expect(
        "
        default/edge-1
          + create network web-net (fd01::/64) for Destination/shop/web (NetworkMissing)
        ",
    );
    let mut pooled = on("20.10.24", ipv6());
    pooled.state().engine.address_pools.push(AddressPool { base: "fd42::/56".to_owned(), size: 64 });
    pooled.expect(CREATED);
    // One that exists has its addresses.
    on("20.10.24", ipv6()).network(network("web-net").of("web").subnet("fd01::/64").ipv6()).expect("");
}

#[test]
fn a_network_without_ipv4_takes_an_engine_that_makes_one() {
    let six = || ipv6().subnet("fd01::/64").with(|it| it.network.ipv4 = false);
    on("27.5.1", six()).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: spec.network.ipv4 is false, and Docker Engine 27.5.1 makes none without IPv4. (WrongScope)
              hint: it takes Docker 28 or newer (API 1.48)
        ",
    );
    let scenario = on("28.5.2", six());
    let Call::CreateNetwork(NetworkCreate { ipv4, ipv6, .. }) = scenario.plan().servers[0].groups[0].operations[0].call
    else {
        panic!("the network is created")
    };
    assert_eq!((ipv4, ipv6), (false, true));
    scenario.expect(
        "
        default/edge-1
          + create network web-net (fd01::/64) for Destination/shop/web (NetworkMissing)
        ",
    );
}

#[test]
fn the_bridge_of_another_network_is_not_asked_for_again() {
    let taken = |other: &str, name: &str, scenario: Scenario| {
        scenario.expect_nothing_but(&format!(
            "
        default/edge-1
          ! refused Destination/shop/web: The bridge \"{name}\" is that of the network \"{other}\". (NameTaken)
              hint: choose another `com.docker.network.bridge.name`, or leave it to Docker
        "
        ));
    };
    taken("other", "br-web", on("28.5.2", bridge("br-web")).network(network("other").option(BRIDGE_NAME, "br-web")));
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    taken("other", "br-0123456789ab", on("28.5.2", bridge("br-0123456789ab")).network(network("other").id(id)));
    on("28.5.2", bridge("br-web")).network(network("other").option(BRIDGE_NAME, "br-other")).expect(CREATED);
}

#[test]
fn a_network_that_is_made_anew_has_its_bridge_again() {
    on("28.5.2", bridge("br-web").mtu(1400).replacement(Replacement::WhenEmpty))
        .network(network("web-net").of("web").option(BRIDGE_NAME, "br-web").mtu("1500"))
        .expect(
            "
            default/edge-1
              - remove network web-net for Destination/shop/web (NetworkReplaced)
              + create network web-net for Destination/shop/web (NetworkReplaced)
            ",
        );
}

#[test]
fn a_gateway_that_the_engine_does_not_tell_is_the_one_that_docker_gives() {
    let declared = |gateway: &str| {
        let web = destination("web").named("web-net").subnet("10.42.0.0/24");
        web.with(|it| it.network.subnets[0].gateway = Some(gateway.parse().unwrap()))
    };
    let observed = || network("web-net").of("web").subnet("10.42.0.0/24");
    on("20.10.24", declared("10.42.0.1")).network(observed()).expect("");
    on("29.0.1", declared("10.42.0.1")).network(observed().gateway("10.42.0.1")).expect("");
    on("20.10.24", declared("10.42.0.9")).network(observed()).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: spec.network.subnets[0].gateway is 10.42.0.1 on the server and 10.42.0.9 in the manifest. Docker cannot change a network. (ImmutableField)
              hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
        ",
    );
}

#[test]
fn auxiliary_addresses_and_address_families_are_compared_and_restored_with_the_old_network() {
    let declared = |address: &str| {
        let web = ipv6().subnet("fd01::/64").with(|it| {
            it.network.ipv4 = false;
            it.network.aux_addresses.insert("router".to_owned(), address.parse().unwrap());
        });
        web.replacement(Replacement::Reattach).member(application("app"))
    };
    let scenario = |address: &str| {
        on("28.5.2", declared(address))
            .network(network("web-net").of("web").subnet("fd01::/64").aux("router", "fd01::5").ipv6().without_ipv4())
            .container(container("app").on("web-net"))
    };
    scenario("fd01:0::5").expect("");
    let planned = scenario("fd01::6").plan();
    let removal =
        planned.servers[0].groups[0].operations.iter().find(|it| matches!(it.call, Call::RemoveNetwork { .. }));
    let Some(Call::CreateNetwork(before)) = &removal.unwrap().undo else { panic!("{planned}") };
    assert_eq!((before.ipv4, before.subnets[0].aux_addresses["router"].as_str()), (false, "fd01::5"));
    on("28.5.2", ipv6().subnet("fd01::/64")).network(network("web-net").of("web").subnet("fd01::/64").ipv6().without_ipv4()).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: spec.network.ipv4 is false on the server and true in the manifest. Docker cannot change a network. (ImmutableField)
              hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
        ",
    );
}
