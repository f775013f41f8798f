//! Containers that an engine of today does not start without the network that they were created on.

use landfall::core::api::{Kind, Replacement};
use landfall::core::observed::ContainerState;

use crate::support::scenario::{Scenario, application, container, destination, network};

/// Made on the network of a destination that is to go, and moved to another one by hand since.
fn moved(engine: &str) -> Scenario {
    Scenario::new()
        .engine(engine)
        .network(network("web-net").of("web"))
        .network(network("other-net"))
        .container(container("db").made_on("web-net").on("other-net").state(ContainerState::Exited))
        .destination(destination("web").named("web-net"))
}

#[test]
fn a_network_stays_for_a_container_that_does_not_start_without_it_though_it_is_not_on_it() {
    moved("28.5.2").delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              Container db, exited, created on it
              hint: this Docker Engine starts no container without the network that it was created on: create what is listed anew on another network, or remove it
        ",
    );
    for engine in ["20.10.24", "24.0.9"] {
        moved(engine).delete(Kind::Destination, "web").expect(
            "
            default/edge-1
              - remove network web-net for Destination/shop/web (DeletionRequested)
            ",
        );
    }
}

#[test]
fn by_its_id_or_the_beginning_of_that_it_is_the_same_network() {
    let mut scenario = moved("28.5.2");
    let id = scenario.state().networks.iter().find(|it| it.name == "web-net").unwrap().id.as_str().to_owned();
    for mode in [id.as_str(), &id[..12]] {
        let mut scenario = scenario.clone().delete(Kind::Destination, "web");
        let containers = &mut scenario.state().containers;
        containers.iter_mut().find(|it| it.name == "db").unwrap().network_mode = mode.to_owned();
        assert!(scenario.plan().to_string().contains("Container db, exited, created on it"), "{mode}");
    }
    // A short word may be the beginning of an id by chance, and is the name of another network.
    for mode in ["default", "bridge", "none", "container:web-net", "other-net", &id[..2]] {
        let mut scenario = scenario.clone().delete(Kind::Destination, "web");
        let containers = &mut scenario.state().containers;
        containers.iter_mut().find(|it| it.name == "db").unwrap().network_mode = mode.to_owned();
        assert!(!scenario.plan().to_string().contains("refused"), "{mode}");
    }
}

#[test]
fn force_removes_the_network_and_says_who_does_not_start_any_more() {
    let plan = moved("28.5.2").force_delete("web").plan().to_string();
    assert!(plan.contains("- remove network web-net"), "{plan}");
    assert!(plan.contains("\"db\" was created on \"web-net\""), "{plan}");
}

fn replaced(engine: &str, name: &str, made_on: &str) -> String {
    let declared = destination("web").named(name).subnet("10.2.0.0/24").replacement(Replacement::Reattach);
    let scenario = Scenario::new()
        .engine(engine)
        .network(network("web-net").of("web").subnet("10.1.0.0/24"))
        .container(container("app").made_on(made_on).on("web-net"))
        .destination(declared.member(application("app")));
    scenario.plan().to_string()
}

#[test]
fn a_network_that_containers_were_created_on_keeps_its_name() {
    let plan = replaced("28.5.2", "new-net", "web-net");
    assert!(plan.contains("this Docker Engine starts none of them without it"), "{plan}");
    assert!(plan.contains("Container app, running, created on it") && !plan.contains("- disconnect"), "{plan}");
    for (engine, name) in [("28.5.2", "web-net"), ("20.10.24", "new-net")] {
        let plan = replaced(engine, name, "web-net");
        assert!(plan.contains("- remove network web-net") && !plan.contains("refused"), "{engine} {name}: {plan}");
    }
}

#[test]
fn whoever_could_not_be_connected_again_is_not_taken_off_for_a_replacement() {
    let plan = replaced("28.5.2", "web-net", "gone-net");
    assert!(plan.contains("\"app\" is on it and was created on \"gone-net\", which is gone"), "{plan}");
    assert!(!plan.contains("- disconnect") && !plan.contains("- remove"), "{plan}");
    for (engine, made_on) in [("20.10.24", "gone-net"), ("28.5.2", "bridge"), ("28.5.2", "default")] {
        let plan = replaced(engine, "web-net", made_on);
        assert!(plan.contains("- remove network web-net"), "{engine} {made_on}: {plan}");
    }
}
