//! What `get` shows is what the planner sees.

use landfall::core::plan::facts::{ServerFacts, facts};

use crate::support::scenario::{Scenario, application, container, destination, edge, network};

fn look(scenario: Scenario) -> ServerFacts {
    facts(&scenario.desired, &scenario.desired.servers[&edge()], &scenario.observed).unwrap()
}

#[test]
fn facts_tell_members_the_proxy_and_the_unmanaged_apart() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("frontend").on("web-net"))
        .container(container("late").on("bridge"))
        .container(container("stranger").on("web-net"))
        .destination(destination("web").named("web-net").member(application("shop").containers(&["frontend", "late"])));
    let facts = look(scenario);
    let (key, web) = &facts.destinations[0];
    assert_eq!(key.to_string(), "Destination/shop/web");
    let network = web.network.as_ref().unwrap();
    assert_eq!((network.name.as_str(), network.adopted), ("web-net", false));
    let proxy = web.proxy.as_ref().unwrap();
    assert_eq!((proxy.container.as_str(), proxy.connected), ("traefik", false));
    let members: Vec<_> =
        web.members.iter().map(|member| (member.endpoint.container.as_str(), member.endpoint.connected)).collect();
    assert_eq!(members, [("frontend", true), ("late", false)]);
    let unmanaged: Vec<_> = web.unmanaged.iter().map(|endpoint| endpoint.container.as_str()).collect();
    assert_eq!(unmanaged, ["stranger"]);
}

#[test]
fn a_network_that_is_missing_or_somebody_elses_is_no_network_of_the_destination() {
    let missing = look(Scenario::new().destination(destination("web").named("web-net")));
    assert_eq!(missing.destinations[0].1.network, None);
    let foreign = Scenario::new()
        .network(network("web-net"))
        .container(container("frontend").on("web-net"))
        .destination(destination("web").named("web-net").member(application("frontend")));
    let (_, web) = &look(foreign).destinations[0];
    assert_eq!(web.network, None);
    assert!(!web.members[0].endpoint.connected);
}
