//! The test hosts themselves: a test that leaves a daemon behind, or meets another one's, proves nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Host, Lan, wait_for};

#[test]
fn two_hosts_share_nothing() {
    let (one, two) = (Host::start(), Host::start());
    one.container("only-here").running();
    one.create_network("only-here");
    assert_ne!(one.get("/info")["ID"], two.get("/info")["ID"]);
    assert_eq!(two.get("/containers/json?all=1"), json!([]));
    assert!(two.network_ids("only-here").is_empty());
    assert!(one.run(&["ip", "link", "show", "docker0"]).status.success());
}

#[test]
fn containers_come_in_every_state() {
    let host = Host::start();
    host.container("created").created();
    host.container("running").running();
    host.container("paused").paused();
    host.container("exited").exited();
    host.container("dead").dead();
    host.container("restarting").restarting();
    for state in ["created", "running", "paused", "exited", "dead", "restarting"] {
        assert_eq!(host.state(state), state);
    }
}

#[test]
fn containers_talk_over_a_network_by_their_aliases() {
    let host = Host::start();
    let network = host.create_network("talk");
    host.container("one").network_with("talk", json!({ "Aliases": ["first"] })).running();
    let two = host.container("two").network("talk").running();
    let output = host.exec(&two, &["ping", "-c", "1", "-W", "5", "first"]);
    assert!(output.contains("1 packets received"), "{output}");
    assert_eq!(host.inspect_network(&network)["Containers"].as_object().unwrap().len(), 2);
}

#[test]
fn a_host_comes_back_after_a_restart_a_kill_and_a_reboot() {
    let host = Host::start();
    host.create_network("kept");
    host.container("one").network("kept").restart("always").running();
    let running = || (host.state("one") == "running").then_some(());
    host.restart_daemon();
    wait_for("the container runs after a restart", running);
    host.kill_daemon();
    host.start_daemon();
    wait_for("the container runs after the daemon was killed", running);
    host.reboot_ungracefully();
    wait_for("the container runs after a reboot", running);
    assert_eq!(host.network_ids("kept").len(), 1);
}

#[test]
fn a_host_can_be_a_swarm_manager() {
    let host = Host::start();
    host.swarm_init();
    assert_eq!(host.get("/info")["Swarm"]["ControlAvailable"], json!(true));
}

#[test]
fn hosts_on_one_network_reach_each_other_until_the_cable_is_cut() {
    let lan = Lan::new();
    let (one, two) = (Host::builder().on(&lan).start(), Host::builder().on(&lan).start());
    let two_address = two.address().to_string();
    // busybox has a ping wherever these tests run.
    let reaches = || one.run(&["busybox", "ping", "-c", "1", "-W", "1", &two_address]).status.success();
    assert!(reaches());
    assert!(lan.inside("busybox").args(["ping", "-c", "1", "-W", "1", &two_address]).status().unwrap().success());
    two.seat().cut();
    assert!(!reaches());
    two.seat().mend();
    wait_for("the cable carries again", || reaches().then_some(()));
    two.reboot_ungracefully();
    wait_for("the host is back at its address", || reaches().then_some(()));
    let elsewhere = Command::new("busybox").args(["ping", "-c", "1", "-W", "1", &two_address]).output().unwrap();
    assert!(!elsewhere.status.success(), "the machine's own network has no way there");
}

fn processes_of(name: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let command_lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    command_lines.filter(|line| String::from_utf8_lossy(line).contains(name)).count()
}

fn groups_of(name: &str) -> String {
    let found = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", &format!("{name}*")]).output();
    String::from_utf8(found.unwrap().stdout).unwrap()
}

#[test]
fn nothing_is_left_of_a_host_that_was_dropped() {
    let host = Host::start();
    host.container("one").running();
    host.container("two").dead();
    let (name, socket) = (host.name().to_owned(), host.socket());
    // Several hosts in one test process differ in the number at the end of the name.
    assert!(processes_of(&format!("{name}\0")) > 0);
    drop(host);
    assert_eq!(processes_of(&format!("{name}\0")), 0);
    assert_eq!(groups_of(&name), "");
    assert!(!socket.parent().unwrap().exists());
}

/// Runs in a process of its own, which [`nothing_is_left_of_a_host_whose_test_was_killed`] starts and kills.
#[test]
#[ignore = "a part of another test"]
fn a_test_that_is_killed() {
    let host = Host::start();
    host.container("one").running();
    println!("host={} {}", host.name(), host.socket().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_of_a_host_whose_test_was_killed() {
    use std::io::{BufRead, BufReader};
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "docker::host::a_test_that_is_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("host=")?.1.to_owned())).unwrap();
    let (name, socket) = line.split_once(' ').unwrap();
    test.kill().unwrap();
    test.wait().unwrap();
    wait_for("the supervisor has cleaned up", || (!Path::new(socket).parent().unwrap().exists()).then_some(()));
    // Removing the directory is the last that it does before it ends itself.
    wait_for("the supervisor has ended", || (processes_of(&format!("{name}\0")) == 0).then_some(()));
    assert_eq!(groups_of(name), "");
}
