//! `mcp`, spoken to by the protocol's own client library.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::run::{clean, finish};
use super::world::{SHOP, World, server};
use crate::support::Host;
use crate::support::repository::Upstream;

/// What each of the calls came to, and what the server says of itself.
fn session(world: &World, source: &[&str], calls: &Value) -> Value {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = Command::new(root.join("scripts/python-tools")).output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let mut client = clean(Command::new(root.join("target/venv/bin/python")));
    client.arg(root.join("tests/cli/mcp_client.py")).arg(env!("CARGO_BIN_EXE_landfall"));
    client.args(["mcp", "--state", "state"]).args(source).current_dir(world.path());
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
        &["-f", "manifests"],
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

#[test]
fn the_manifests_of_a_repository_are_read_anew_with_each_call() {
    let host = Host::start();
    let destination = |name: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\nspec: {{ server: infra/edge, proxy: false }}\n"
        )
    };
    let upstream = Upstream::with(&[
        ("prod/edge.yaml", &server(&host.endpoint())),
        ("prod/web.yaml", &destination("web")),
        ("elsewhere/broken.yaml", "kind: Nothing\n"),
    ]);
    let bare = upstream.bare();
    let source = ["--git", bare.to_str().unwrap(), "--path", "prod"];
    let world = World::new("");
    let calls = json!([
        { "tool": "list", "arguments": { "kind": "destination" } },
        { "tool": "describe", "arguments": { "kind": "destination", "name": "web" } },
        { "tool": "diff", "arguments": {} },
        { "tool": "drift", "arguments": {} },
        { "tool": "doctor", "arguments": {} },
    ]);
    let look = || {
        let told = session(&world, &source, &calls);
        let results = told["results"].as_array().unwrap();
        assert!(results.iter().all(|it| it["isError"] != true && it["error"].is_null()), "{told:#}");
        let (listed, plan) = (&results[0]["structuredContent"], &results[2]["structuredContent"]);
        let names: Vec<String> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        (names, plan["revision"].as_str().unwrap_or_default().to_owned(), plan["operations"].as_array().unwrap().len())
    };
    assert_eq!(look(), (vec!["web".to_owned()], upstream.head(), 1));
    let pushed = upstream.commit(&[("prod/data.yaml", &destination("data"))]);
    assert_eq!(look(), (vec!["data".to_owned(), "web".to_owned()], pushed, 2));

    upstream.commit(&[("prod/data.yaml", "kind: Nothing\n")]);
    let told = session(&world, &source, &calls);
    for result in told["results"].as_array().unwrap() {
        assert_eq!(result["isError"], true, "{told:#}");
        assert!(result["content"][0]["text"].as_str().unwrap().contains("prod/data.yaml:1"), "{told:#}");
    }
    assert_eq!(host.network_ids("web-net").len(), 0);
}

/// What no client library sends: an answer says what is wrong with it, and the session goes on.
#[test]
fn a_line_that_is_no_message_is_answered_with_the_error_of_json_rpc() {
    let world = World::new(&server("unix:///nonexistent/docker.sock"));
    let mut command = world.command("mcp");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut send = |line: &[u8]| input.write_all(line).and_then(|()| input.write_all(b"\n")).unwrap();
    let mut answer = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    };
    send(br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#);
    assert_eq!(answer()["result"]["serverInfo"]["name"], "landfall");
    send(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let long = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\",\"params\":{{\"text\":\"{}\"}}}}",
        "x".repeat(2 << 20)
    );
    for (line, code) in [
        (&b"{not json"[..], -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":", -32700),
        (b"\xff\xfe", -32700),
        (b"null", -32600),
        (b"[]", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
        (long.as_bytes(), -32600),
    ] {
        send(line);
        let told = answer();
        assert_eq!(told["error"]["code"], code, "{told}: {}", String::from_utf8_lossy(&line[..line.len().min(60)]));
        assert!(told["id"].is_null(), "{told}");
        send(b"");
        send(br#"{"jsonrpc":"2.0","id":"after","method":"ping"}"#);
        assert_eq!(answer()["id"], "after");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}
