//! `mcp`, spoken to by the protocol's own client library.

use std::process::Command;

use serde_json::{Value, json};

use super::run::{clean, finish};
use super::world::{SHOP, World, server};
use crate::support::Host;

/// What each of the calls came to, and what the server says of itself.
fn session(world: &World, calls: &Value) -> Value {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = Command::new(root.join("scripts/python-tools")).output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let mut client = clean(Command::new(root.join("target/venv/bin/python")));
    client.arg(root.join("tests/cli/mcp_client.py")).arg(env!("CARGO_BIN_EXE_landfall"));
    client.args(["mcp", "-f", "manifests", "--state", "state"]).current_dir(world.path());
    finish(&mut client, &calls.to_string()).expect(0).json()
}

#[test]
fn a_client_reads_everything_by_tools_and_changes_nothing() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    host.container("orders").label("app", "orders").running();
    let secret = "---
apiVersion: landfall/v1
kind: Application
metadata: { name: managed, namespace: shop }
spec:
  destination: web
  image: example/app:1
  env: [{ name: API_KEY, value: planted-in-a-manifest }]
";
    let world = World::new(&(server(&host.endpoint()) + SHOP + secret));
    let told = session(
        &world,
        &json!([
            { "tool": "list", "arguments": {} },
            { "tool": "list", "arguments": { "kind": "destination", "name": "web", "namespace": "shop" } },
            { "tool": "describe", "arguments": { "kind": "destination", "name": "shop/web" } },
            { "tool": "diff", "arguments": {} },
            { "tool": "drift", "arguments": { "namespace": "shop" } },
            { "tool": "doctor", "arguments": {} },
            { "tool": "explain", "arguments": { "path": "destination.spec.network.mtu" } },
            { "tool": "describe", "arguments": { "kind": "destination", "name": "nothing" } },
            { "tool": "explain", "arguments": { "path": "--help" } },
            { "tool": "apply", "arguments": {} },
        ]),
    );
    assert_eq!(told["about"]["serverInfo"]["name"], "landfall", "{told:#}");
    let tools = told["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["list", "describe", "diff", "drift", "doctor", "explain"]);
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool:#}");
        assert!(tool["description"].as_str().unwrap().ends_with('.'), "{tool:#}");
        for (name, property) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}: {tool:#}");
        }
    }
    let text = |at: usize| told["results"][at]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{told:#}"));
    let data = |at: usize| &told["results"][at]["structuredContent"];
    let failed = |at: usize| told["results"][at]["isError"] == true;

    assert_eq!(data(0)["items"].as_array().unwrap().len(), 6, "{told:#}");
    assert_eq!(data(1)["metadata"]["name"], "web");
    assert!(data(1)["status"]["conditions"].is_array() && data(1)["spec"].is_null(), "{told:#}");
    assert!(text(2).contains("NetworkMissing") && text(2).contains("web-net"), "{}", text(2));
    assert_eq!(data(3)["operations"][0]["op"], "CreateNetwork", "{told:#}");
    assert!(data(4).is_object() && data(5)["servers"][0]["reachable"] == true, "{told:#}");
    assert!(text(6).contains("mtu"), "{}", text(6));
    assert!(failed(7) && text(7).contains("nothing"), "{told:#}");
    assert!(failed(8), "{told:#}");
    assert!(told["results"][9]["error"].as_str().unwrap().contains("no tool"), "{told:#}");
    assert!(!told.to_string().contains("planted"), "{told:#}");
    assert!((0..7).all(|at| !failed(at)), "{told:#}");
    assert_eq!((host.network_ids("web-net").len(), host.network_ids("data-net").len()), (0, 0));
}

#[test]
fn standard_input_is_no_place_for_manifests_of_it() {
    let world = World::new(&server("unix:///nonexistent/docker.sock"));
    let ran = world.run("mcp -f -").expect(2);
    assert!(ran.stderr.contains("standard input is for the protocol"), "{ran}");
}
