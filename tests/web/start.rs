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

/// Runs it until its log says that it has looked.
fn log_of(arguments: &[&str]) -> String {
    use std::io::{BufRead, BufReader};
    let world = world();
    let mut command = crate::cli::run::command();
    command.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
    command.args(["run", "--listen", "127.0.0.1:0", "-vv"]).args(arguments);
    let mut child = command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut log = Vec::new();
    for line in lines {
        let looked = line.contains("not reachable");
        log.push(line);
        if looked {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    log.join("\n")
}

#[test]
fn the_log_is_text_for_people_or_one_json_object_a_line() {
    let text = log_of(&[]);
    assert!(text.contains(" INFO ") && text.contains("manifests read"), "{text}");
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(
        !text.lines().any(is_json) && !text.contains('\u{1b}'),
        "no JSON, and no colours where nobody looks: {text}"
    );

    let json = log_of(&["--log-format", "json"]);
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for line in &lines {
        assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["target"].as_str().unwrap().starts_with("landfall"), "{line}");
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
    let looked =
        lines.iter().find(|line| line["fields"]["message"].as_str().unwrap().contains("not reachable")).unwrap();
    assert_eq!((&looked["fields"]["server"], &looked["fields"]["pass"]), (&"infra/edge".into(), &1.into()));
}
