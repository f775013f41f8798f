//! Where `run` listens, and where it refuses to.

use crate::cli::world::{World, server};

fn world() -> World {
    World::new(&server("unix:///nonexistent/docker.sock"))
}

#[test]
fn listening_where_others_can_reach_it_takes_a_token() {
    let world = world();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7420"] {
        let ran = world.run(&format!("run --listen {address}")).expect(2);
        assert!(ran.stderr.contains("there is no token"), "{ran}");
        assert!(ran.stderr.contains("--token-file"), "{ran}");
    }
}

#[test]
fn an_address_or_a_token_that_is_none_ends_it_at_once() {
    let world = world();
    let ran = world.run("run --listen nowhere").expect(2);
    assert!(ran.stderr.contains("not an address to listen on"), "{ran}");
    let ran = world.run("run --listen none --token-file missing").expect(2);
    assert!(ran.stderr.contains("missing cannot be read"), "{ran}");
    world.write("empty", "\n");
    let ran = world.run("run --listen none --token-file empty").expect(2);
    assert!(ran.stderr.contains("the token is empty"), "{ran}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = world.run(&format!("run --listen {}", taken.local_addr().unwrap())).expect(2);
    assert!(ran.stderr.contains("cannot listen on"), "{ran}");
}
