//! What sessions leave behind. In a process of its own: other tests of the same process would be measured too.

use std::process::Command;

use landfall::shell::engine::connect::Dialer;

use super::{Echo, dialer, ping, until};
use crate::support::sshd::Sshd;

/// So many sessions, in the process that is measured.
const SESSIONS: &str = "LANDFALL_TEST_SESSIONS";

/// Kilobytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Half of the sessions to warm up, then the others.
#[tokio::test]
#[ignore = "run by the test below"]
async fn sessions_made_and_dropped() {
    let count: u64 = std::env::var(SESSIONS).unwrap().parse().unwrap();
    let sshd = Sshd::builder().option("MaxStartups 100").start();
    let daemon = Echo::pinging();
    let mut memory = Vec::new();
    for number in 0..=count {
        if number % (count / 10).max(1) == 0 {
            memory.push(resident());
        }
        let dialer = dialer(&sshd, daemon.socket());
        let mut stream = dialer.dial().await.unwrap();
        ping(&mut stream).await;
        let mux = dialer.session().await.unwrap();
        // Every way in which a session ends.
        match number % 3 {
            0 => drop(stream),
            1 => mux.kill(),
            _ => {}
        }
        if number % 3 == 0 {
            until("the stream is closed", || mux.open_streams() == 0).await;
        }
    }
    println!("memory {memory:?}");
}

/// A session that is not freed keeps some forty kilobytes.
#[test]
fn sessions_that_are_gone_leave_no_memory_behind() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ssh::memory::sessions_made_and_dropped", "--ignored", "--nocapture"])
        .env(SESSIONS, "120")
        // One heap, whose size does not depend on which thread was the first to ask.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let memory = said.lines().find_map(|line| line.split_once("memory ")).expect("it says how much").1;
    let memory: Vec<i64> = memory.trim_matches(['[', ']']).split(", ").map(|kb| kb.parse().unwrap()).collect();
    let growth = memory[10] - memory[5];
    assert!(growth < 60 * MOST, "{growth} kB more after 60 further sessions: {memory:?}");
}

/// Kilobytes a session.
const MOST: i64 = 8;
