//! A Swarm whose manager and worker are both reached over SSH.

use serde_json::json;

use super::fleet::{Fleet, destination};
use crate::support::wait_for;

#[test]
fn a_worker_and_its_manager_are_reached_over_ssh() {
    let fleet = Fleet::start(2, &[]);
    let [manager, worker] = [&fleet.edges[0].host, &fleet.edges[1].host];
    let at = |host: &crate::support::Host| json!({ "ListenAddr": format!("{}:2377", host.address()), "AdvertiseAddr": host.address() });
    manager.post("/swarm/init", at(manager));
    let mut join = at(worker);
    join["RemoteAddrs"] = json!([format!("{}:2377", manager.address())]);
    join["JoinToken"] = manager.get("/swarm")["JoinTokens"]["Worker"].clone();
    worker.post("/swarm/join", join);
    wait_for("the worker has joined", || (worker.get("/info")["Swarm"]["LocalNodeState"] == "active").then_some(()));
    let application = "apiVersion: landfall/v1\nkind: Application\nmetadata: { name: app }\n\
                       spec: { destination: web-2, containers: { names: [app] } }\n---\n";
    let servers: String = (1..).zip(&fleet.edges).map(|(number, edge)| fleet.server(number, &edge.endpoint)).collect();
    let own = |subnet: &str| {
        destination(2, "web").replace("network: {", &format!("network: {{ subnets: [{{ subnet: {subnet} }}],"))
    };
    // Its own address and the manager's are known over any transport.
    fleet.write(&(servers.clone() + &own("10.99.0.0/16")));
    let refused = fleet.run("apply --yes");
    assert!(refused.to_string().contains("SubnetOverlap"), "{refused}");
    assert_eq!(manager.network_ids("web-net"), [""; 0]);
    worker.container("app").running();
    fleet.write(&(servers + &own("10.42.0.0/24") + application));
    let applied = fleet.run("apply --yes").expect(0);
    assert!(applied.stdout.contains("by way of default/edge-1"), "{applied}");
    assert_eq!(worker.networks_of("app").len(), 2, "{applied}");
    fleet.run("diff").expect(0);
}
