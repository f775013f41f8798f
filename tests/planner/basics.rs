//! Networks, the proxy and members on one server.

use crate::support::scenario::{Scenario, application, container, destination, network};

#[test]
fn a_server_with_nothing_declared_needs_nothing() {
    Scenario::new().expect("");
}

#[test]
fn a_missing_network_is_created_and_the_proxy_and_the_members_are_connected() {
    Scenario::new()
        .container(container("frontend").on("bridge"))
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.42.0.0/24")
                .member(application("frontend").alias("front").address("10.42.0.10")),
        )
        .expect(
            "
            default/edge-1
              + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkMissing)
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
              + connect frontend to web-net as front, 10.42.0.10 for Application/shop/frontend (MemberDetached)
            ",
        );
}

#[test]
fn a_network_without_a_name_gets_one_and_is_found_again() {
    Scenario::new().destination(destination("web")).expect(
        "
        default/edge-1
          + create network generated-web for Destination/shop/web (NetworkMissing)
          + connect traefik to generated-web for Destination/shop/web (ProxyDetached)
        ",
    );
}

#[test]
fn a_detached_proxy_is_connected_to_every_destination() {
    Scenario::new()
        .network(network("api-net").of("api"))
        .network(network("web-net").of("web"))
        .destination(destination("api").named("api-net"))
        .destination(destination("web").named("web-net"))
        .expect(
            "
            default/edge-1
              + connect traefik to api-net for Destination/shop/api (ProxyDetached)
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
            ",
        );
}
