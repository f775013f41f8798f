//! Networks that would take away the addresses that the server's own connections depend on.

use landfall::core::api::Replacement;
use landfall::core::observed::{AddressOf, OwnAddress};

use crate::support::scenario::{Scenario, destination, network};

fn reached(address: &str, of: AddressOf) -> Scenario {
    let mut scenario = Scenario::without_proxy();
    scenario.state().engine.addresses.extend(OwnAddress::new(address.parse().unwrap(), of));
    scenario
}

#[test]
fn a_subnet_with_an_end_of_the_connection_is_refused_before_anything_is_tried() {
    for (of, what) in [
        (AddressOf::Server, "the address by which the server is reached"),
        (AddressOf::Client, "the address from which the server is reached"),
        (AddressOf::SwarmManager, "the address of a manager of its Swarm"),
    ] {
        reached("192.0.2.12", of)
            .destination(destination("web").named("web-net").subnet("192.0.2.0/24"))
            .expect_nothing_but(&format!(
                "
            default/edge-1
              ! refused Destination/shop/web: The subnet 192.0.2.0/24 contains 192.0.2.12, {what}. (SubnetOverlap)
                  hint: the server would be lost with the network; choose a subnet that is nowhere else in use
            "
            ));
    }
}

#[test]
fn an_address_is_the_same_however_it_is_written() {
    let scenario = reached("::ffff:192.0.2.12", AddressOf::Server);
    assert_eq!(scenario.clone().state().engine.addresses[0].address.to_string(), "192.0.2.12");
    assert_eq!(reached("127.0.0.1", AddressOf::Server).state().engine.addresses, [], "the same everywhere");
}

#[test]
fn a_subnet_beside_them_and_one_that_the_daemon_chooses_are_made() {
    reached("192.0.2.12", AddressOf::Server)
        .destination(destination("web").named("web-net").subnet("198.51.100.0/24"))
        .destination(destination("api").named("api-net"))
        .expect(
            "
            default/edge-1
              + create network api-net for Destination/shop/api (NetworkMissing)
              + create network web-net (198.51.100.0/24) for Destination/shop/web (NetworkMissing)
            ",
        );
}

/// A controller in a container on the server reaches it over one of the daemon's own networks.
#[test]
fn a_network_that_is_made_anew_is_not_refused_for_the_connection_that_goes_over_it() {
    reached("10.42.0.1", AddressOf::Server)
        .network(network("web-net").subnet("10.42.0.0/24").of("web"))
        .destination(
            destination("web").named("web-net").subnet("10.42.0.0/24").mtu(1400).replacement(Replacement::WhenEmpty),
        )
        .expect(
            "
            default/edge-1
              - remove network web-net for Destination/shop/web (NetworkReplaced)
              + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkReplaced)
            ",
        );
}
