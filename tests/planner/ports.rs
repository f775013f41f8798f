//! Ports of the server that something else has: told before anything is stopped.

use landfall::core::plan::Plan;
use landfall::core::workload::HostPort;

use super::workloads::{CHECK, application, containers, declare, execute, have_images, settle, world};
use crate::support::scenario::container;

fn publishing(spec: &str) -> String {
    application(&format!("  image: shop/frontend:1\n  ports: [{spec}]\n{CHECK}"))
}

/// What is said of ports, and what is done.
fn said(plan: &Plan) -> (Vec<String>, usize) {
    let notes = plan.servers.iter().flat_map(|server| &server.notes);
    let notes = notes.filter(|note| note.reason.as_str() == "PortTaken");
    let groups = plan.servers.iter().map(|server| server.groups.len()).sum();
    (notes.map(|note| format!("{:?} {}", note.kind, note.message)).collect(), groups)
}

#[test]
fn a_port_that_something_else_has_is_refused_before_the_old_container_is_stopped() {
    let mut world = world(&publishing("{ containerPort: 80, hostPort: 8080 }"))
        .container(container("legacy").on("bridge").publishes("127.0.0.1:9090"));
    have_images(&mut world);
    settle(&mut world);
    declare(&mut world, &publishing("{ containerPort: 80, hostPort: 9090 }"));
    have_images(&mut world);
    world.expect_plan(
        "
        default/edge-1
          ! refused Application/shop/frontend: The host port 9090/tcp is published by the container \"legacy\". (PortTaken)
              hint: nothing was stopped; publish another port, or stop that one; if it ran this resource until now: `metadata.annotations: { landfall/replaces: legacy }`
        ",
    );
    // Its own old container has the port that the new one takes.
    declare(&mut world, &publishing("{ containerPort: 81, hostPort: 8080 }"));
    have_images(&mut world);
    settle(&mut world);
    // Another address, another protocol, and one that does not run.
    for other in [
        "{ containerPort: 80, hostPort: 9090, hostAddress: 127.0.0.2 }",
        "{ containerPort: 80, hostPort: 9090, protocol: udp }",
    ] {
        declare(&mut world, &publishing(other));
        have_images(&mut world);
        assert_eq!(said(&world.plan()).0, Vec::<String>::new(), "{other}");
    }
    world.state().containers.iter_mut().find(|it| it.name == "legacy").unwrap().state =
        landfall::core::observed::ContainerState::Exited;
    declare(&mut world, &publishing("{ containerPort: 80, hostPort: 9090 }"));
    have_images(&mut world);
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"]);
}

#[test]
fn a_port_that_another_resource_gives_up_is_taken_by_the_pass_after_it() {
    let both = |frontend: u16, api: u16| {
        let text = publishing(&format!("{{ containerPort: 80, hostPort: {frontend} }}"));
        format!(
            "{text}---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: api, namespace: shop }}\nspec: {{ destination: web, image: shop/api:1, ports: [{{ containerPort: 80, hostPort: {api} }}] }}\n"
        )
    };
    let mut world = world(&both(8080, 8081));
    have_images(&mut world);
    settle(&mut world);
    declare(&mut world, &both(8081, 8082));
    have_images(&mut world);
    let plan = world.plan();
    let waits = "Waiting The host port 8081/tcp is the container \"shop-api-1\"'s until that is replaced or removed.";
    assert_eq!(said(&plan).0, [waits]);
    assert!(execute(&mut world, &plan, &mut usize::MAX.clone(), &mut |_| {}));
    assert_eq!(said(&world.plan()), (Vec::new(), 2));
    settle(&mut world);
    world.expect_plan("");
}

#[test]
fn addresses_collide_where_one_of_them_stands_for_all_of_its_family() {
    let port = |address: &str| HostPort {
        address: (!address.is_empty()).then(|| address.parse().unwrap()),
        number: 80,
        protocol: "tcp".to_owned(),
    };
    for (one, other, collide) in [
        ("", "", true),
        ("", "127.0.0.1", true),
        ("", "::1", true),
        ("0.0.0.0", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("0.0.0.0", "::1", false),
        ("::", "fd00::1", true),
        ("::", "0.0.0.0", false),
    ] {
        assert_eq!(port(one).collides_with(&port(other)), collide, "{one:?} and {other:?}");
        assert_eq!(port(other).collides_with(&port(one)), collide, "{other:?} and {one:?}");
    }
}
