//! A Swarm of several hosts.

use serde_json::{Value, json};

use super::{Host, Lan, wait_for};

/// The first node is its manager, the others are workers. Published ports and virtual addresses do not work without IPVS; overlay networks
/// do, but for encrypted ones, which let nothing through on kernels without IPsec.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Host>,
    lan: Lan,
}

impl Cluster {
    pub(crate) fn start(nodes: usize) -> Self {
        let lan = Lan::new();
        let nodes: Vec<Host> = (0..nodes).map(|_| Host::builder().on(&lan).start()).collect();
        let address = nodes[0].address();
        nodes[0].post("/swarm/init", json!({ "ListenAddr": format!("{address}:2377"), "AdvertiseAddr": address }));
        let cluster = Self { nodes, lan };
        for node in &cluster.nodes[1..] {
            cluster.join(node, "Worker");
        }
        cluster
    }

    fn join(&self, node: &Host, role: &str) {
        let (manager, address) = (&self.nodes[0], node.address());
        let token = &manager.get("/swarm")["JoinTokens"][role];
        let body = json!({
            "ListenAddr": format!("{address}:2377"), "AdvertiseAddr": address,
            "RemoteAddrs": [format!("{}:2377", manager.address())], "JoinToken": token
        });
        node.post("/swarm/join", body);
        wait_for("a node has joined the Swarm", || {
            (node.get("/info")["Swarm"]["LocalNodeState"] == "active").then_some(())
        });
    }

    /// A node that has left.
    pub(crate) fn rejoin(&self, node: &Host) {
        self.join(node, "Worker");
    }

    /// Makes a manager of a worker.
    pub(crate) fn promote(&self, node: &Host) {
        let id = node.get("/info")["Swarm"]["NodeID"].as_str().unwrap().to_owned();
        wait_for("the managers take the promotion", || {
            let seen = self.nodes[0].get(&format!("/nodes/{id}"));
            let mut spec = seen["Spec"].clone();
            spec["Role"] = json!("manager");
            let path = format!("/nodes/{id}/update?version={}", seen["Version"]["Index"]);
            (self.nodes[0].api("POST", &path, &spec).status == 200).then_some(())
        });
        wait_for("the node is a manager", || {
            let swarm = &node.get("/info")["Swarm"];
            (swarm["ControlAvailable"] == json!(true) && swarm["Cluster"]["ID"] != Value::Null).then_some(())
        });
    }
}
