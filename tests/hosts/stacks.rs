//! Stacks on a server that is reached over SSH: Compose speaks to a socket of this machine, and nothing of Docker but its daemon is on the other.

use super::fleet::{Fleet, destination};

const STACK: &str = "services:
  web: { image: 'landfall/busybox:test', command: [sleep, '1000000'], stop_signal: SIGKILL, depends_on: { db: { condition: service_healthy } } }
  db:
    image: landfall/busybox:test
    command: [sleep, '1000000']
    stop_signal: SIGKILL
    healthcheck: { test: [CMD, 'true'], interval: 1s }
";

#[test]
fn a_stack_is_brought_up_and_taken_down_over_ssh_where_no_command_may_run() {
    let fleet = Fleet::start(1, &["ForceCommand /bin/false"]);
    let edge = &fleet.edges[0];
    // Makes the image.
    let _ = edge.host.container("none");
    std::fs::write(fleet.path("stack.yaml"), STACK).unwrap();
    let service = "apiVersion: landfall/v1
kind: Service
metadata: { name: cms }
spec: { destination: web-1, compose: { project: cms, file: stack.yaml }, connectToDestination: true }
";
    fleet.write(&(fleet.server(1, &edge.endpoint) + &destination(1, "web") + service));
    let before = edge.sshd.connections();
    let applied = fleet.run("apply").expect(0);
    assert!(applied.stdout.contains("+ compose up cms on web-net"), "{applied}");
    assert_eq!(edge.sshd.connections() - before, 1, "Compose goes over Landfall's own connection");
    assert_eq!(edge.host.networks_of("cms-web-1"), ["cms_default", "web-net"]);
    fleet.run("diff").expect(0);
    // A path of this machine is none of the server.
    std::fs::write(fleet.path("stack.yaml"), STACK.replace("  db:\n", "  db:\n    volumes: ['./data:/data']\n"))
        .unwrap();
    let refused = fleet.run("apply").expect(3);
    assert!(refused.to_string().contains("stack.yaml:4: the service `db` mounts `./data`"), "{refused}");
    std::fs::write(fleet.path("stack.yaml"), STACK).unwrap();
    fleet.run("delete service cms --yes").expect(0);
    assert_eq!(edge.host.get("/containers/json?all=1"), serde_json::json!([]));
    assert_eq!(edge.host.network_ids("cms_default"), Vec::<String>::new());
}
