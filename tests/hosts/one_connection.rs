//! One SSH connection a server, whatever is asked of it.

use super::fleet::{Fleet, destination};
use crate::cli::run::Ran;

const DESTINATIONS: usize = 12;

/// Twelve destinations with a member each, and a proxy that joins them all.
fn declare(fleet: &Fleet) {
    let edge = &fleet.edges[0];
    let mut manifests = fleet.server(1, &edge.endpoint).replace("---\n", "  proxy: { container: traefik }\n---\n");
    edge.host.container("traefik").running();
    for number in 0..DESTINATIONS {
        edge.host.container(&format!("app-{number}")).running();
        manifests += &destination(1, &format!("dest-{number}"));
        manifests += &format!(
            "apiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: app-{number} }}\n\
             spec: {{ destination: dest-{number}, containers: {{ names: [app-{number}] }} }}\n---\n"
        );
    }
    fleet.write(&manifests);
}

/// Runs, and counts the connections that sshd has accepted meanwhile.
fn counted(fleet: &Fleet, arguments: &str) -> (Ran, usize) {
    let before = fleet.edges[0].sshd.connections();
    let ran = fleet.run(arguments);
    (ran, fleet.edges[0].sshd.connections() - before)
}

#[test]
fn a_command_makes_one_connection_a_server_however_many_destinations_it_has() {
    // What opens more at once is turned away, and more sessions are none.
    let fleet = Fleet::start(1, &["MaxStartups 2", "MaxSessions 1"]);
    declare(&fleet);
    for (arguments, code) in [("diff", 1), ("apply", 0), ("diff", 0), ("drift", 0), ("get all", 0)] {
        let (ran, connections) = counted(&fleet, arguments);
        assert_eq!(connections, 1, "{arguments}\n{ran}");
        ran.expect(code);
    }
    assert_eq!(fleet.edges[0].host.network_ids("dest-7-net").len(), 1);
}

/// Where sockets may not be forwarded every request takes a session of `docker system dial-stdio`: those wait for one another.
#[test]
fn requests_beyond_max_sessions_wait_and_do_not_fail() {
    let fleet = Fleet::start(1, &["MaxStartups 2", "MaxSessions 2", "AllowStreamLocalForwarding no"]);
    declare(&fleet);
    for (arguments, code) in [("apply", 0), ("diff", 0), ("get all", 0)] {
        let (ran, connections) = counted(&fleet, arguments);
        assert_eq!(connections, 1, "{arguments}\n{ran}");
        ran.expect(code);
    }
}
