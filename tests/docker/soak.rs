//! A quarter of an hour of `landfall run` on two servers, one of them over SSH, while everything around it goes wrong: `scripts/soak`.
//!
//! Faults come in a random order that the seed decides. At the end everything declared is there, nothing that should live is gone, the
//! calls are those that the faults explain, and the memory has not grown.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::run::command;
use crate::cli::world::World;
use crate::support::Host;
use crate::support::sshd::Sshd;

/// Destinations of each server, each with a member; `0` has a stopped database as well.
const DESTINATIONS: usize = 5;
/// How long convergence may take when nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Deterministic, and no more random than faults have to be.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?}")))
}

/// The controller's process, with a log that outlives it.
struct Controller {
    child: Child,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    fn start(soak: &Soak) -> Self {
        let log = File::options().create(true).append(true).open(soak.log()).unwrap();
        let mut command = command();
        command.current_dir(soak.world.path()).env("XDG_STATE_HOME", soak.world.path().join("state"));
        command.args([
            "run",
            "--log-format",
            "json",
            "--interval",
            "15s",
            "--timeout",
            "10s",
            "--listen",
            "127.0.0.1:0",
        ]);
        command.stdin(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap() }
    }

    /// Kilobytes in memory.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a process that runs");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// As systemd stops it.
    fn terminate(&mut self) {
        let asked = std::process::Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "it drains and ends well");
    }
}

struct Soak {
    hosts: [Host; 2],
    sshd: Sshd,
    world: World,
    dice: Dice,
    /// How often each happened.
    faults: BTreeMap<&'static str, usize>,
    /// Whether `extra` is declared at present.
    extra: bool,
}

fn network(destination: usize) -> String {
    format!("net-{destination}")
}

fn member(destination: usize) -> String {
    format!("app-{destination}")
}

impl Soak {
    fn new(seed: u64) -> Self {
        let (hosts, sshd) = ([Host::start(), Host::start()], Sshd::start());
        for host in &hosts {
            for container in (0..DESTINATIONS).map(member).chain(["traefik".to_owned(), "extra".to_owned()]) {
                host.container(&container).running();
            }
            host.container("database").exited();
            // Nobody declares these.
            host.create_network("foreign");
            host.container("stranger").network("foreign").running();
        }
        let soak = Self { hosts, sshd, world: World::new(""), dice: Dice(seed), faults: BTreeMap::new(), extra: true };
        soak.declare();
        soak
    }

    fn log(&self) -> PathBuf {
        self.world.path().join("log")
    }

    fn manifests(&self) -> String {
        let ssh = format!(
            "ssh://127.0.0.1:{}{}\n  ssh: {{ identityFile: {}, hostKey: {} }}",
            self.sshd.port(),
            self.hosts[1].socket().display(),
            self.sshd.client().key().display(),
            self.sshd.host_key("ed25519"),
        );
        let mut text = String::new();
        for (server, endpoint) in [("here", self.hosts[0].endpoint()), ("there", ssh)] {
            text += &format!(
                "---\napiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {server} }}\nspec:\n  endpoint: {endpoint}\n  proxy: {{ container: traefik }}\n"
            );
            let mut destination = |name: String, network: &str, member: &str, kind: &str| {
                text += &format!(
                    "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {server}-{name} }}\nspec: {{ server: {server}, network: {{ name: {network} }} }}\n\
                     ---\napiVersion: landfall/v1\nkind: {kind}\nmetadata: {{ name: {server}-{name}-{member} }}\nspec:\n  destination: {server}-{name}\n  \
                     containers: {{ names: [{member}] }}\n  endpoint: {{ aliases: [{member}.internal] }}\n"
                );
            };
            for number in 0..DESTINATIONS {
                destination(number.to_string(), &network(number), &member(number), "Application");
            }
            if self.extra {
                destination("extra".to_owned(), "extra-net", "extra", "Application");
            }
            text += &format!(
                "---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: {server}-database }}\nspec:\n  destination: {server}-0\n  \
                 containers: {{ names: [database] }}\n"
            );
        }
        text
    }

    fn declare(&self) {
        self.world.write("manifests/all.yaml", &self.manifests());
    }

    /// One thing goes wrong. What it needs to be over is done, what Landfall has to repair is left.
    fn fault(&mut self, controller: &mut Controller, elapsed: f64) {
        let here = self.dice.below(2);
        let number = self.dice.below(DESTINATIONS);
        let pause = Duration::from_millis(500 + 500 * self.dice.below(6) as u64);
        let host = &self.hosts[here];
        let (network, member) = (network(number), member(number));
        let name = match self.dice.below(14) {
            0..=2 => {
                let who = if self.dice.below(2) == 0 { "traefik" } else { member.as_str() };
                // It may be off already: then this is no fault, and not repaired.
                host.api(
                    "POST",
                    &format!("/networks/{network}/disconnect"),
                    &json!({ "Container": who, "Force": true }),
                );
                "disconnect"
            }
            3..=4 => {
                let attached = host.get(&format!("/networks?filters={}", named(&network)));
                for id in attached.as_array().unwrap().iter().map(|network| network["Id"].as_str().unwrap()) {
                    for who in ["traefik", &member] {
                        host.api(
                            "POST",
                            &format!("/networks/{id}/disconnect"),
                            &json!({ "Container": who, "Force": true }),
                        );
                    }
                    host.api("DELETE", &format!("/networks/{id}"), &Value::Null);
                }
                "network removed by hand"
            }
            5 => {
                host.api("DELETE", &format!("/containers/{member}?force=1"), &Value::Null);
                host.container(&member).running();
                "container recreated"
            }
            6 => {
                host.api("DELETE", "/containers/traefik?force=1", &Value::Null);
                host.container("traefik").running();
                "proxy recreated"
            }
            7 => {
                host.stop_container(&member);
                host.api("POST", &format!("/containers/{member}/start"), &Value::Null);
                "container restarted"
            }
            8 => {
                self.extra = !self.extra;
                self.declare();
                if !self.extra && self.dice.below(2) == 0 {
                    // Whoever is attached keeps the network. It goes when the last one has left, and is not brought back once the edit is read.
                    let leave = |host: &Host| {
                        host.api(
                            "POST",
                            "/networks/extra-net/disconnect",
                            &json!({ "Container": "extra", "Force": true }),
                        );
                        host.network_ids("extra-net").is_empty()
                    };
                    let gone = || self.hosts.iter().filter(|host| !leave(host)).count() == 0;
                    self.until("what is no longer declared is gone", || gone().then_some(()).ok_or_else(String::new));
                }
                "manifests edited"
            }
            9 => {
                self.world.write("manifests/all.yaml", "kind: Destination\n  metadata: [broken\n");
                std::thread::sleep(pause);
                self.declare();
                "manifests corrupted"
            }
            10 => {
                host.kill_daemon();
                std::thread::sleep(pause);
                host.start_daemon();
                "daemon killed"
            }
            11 => {
                self.sshd.kill_sessions();
                "sshd's sessions killed"
            }
            12 => {
                self.sshd.freeze();
                std::thread::sleep(pause * 4);
                self.sshd.thaw();
                "partition"
            }
            // The memory is watched in the last two thirds: a new process would hide what the old one had.
            _ if elapsed < 0.33 => {
                if self.dice.below(2) == 0 {
                    let _ = controller.child.kill();
                    let _ = controller.child.wait();
                } else {
                    controller.terminate();
                }
                *controller = Controller::start(self);
                "controller killed or restarted"
            }
            _ => {
                self.sshd.kill();
                std::thread::sleep(pause);
                self.sshd.restart();
                "sshd killed"
            }
        };
        *self.faults.entry(name).or_default() += 1;
    }

    /// Everything that is not Landfall's to repair.
    fn mend(&mut self) {
        self.extra = true;
        self.declare();
        for host in &self.hosts {
            for container in (0..DESTINATIONS).map(member).chain(["traefik".to_owned(), "extra".to_owned()]) {
                host.api("POST", &format!("/containers/{container}/start"), &Value::Null);
            }
        }
    }

    /// What is not as it has to be.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (place, host) in self.hosts.iter().enumerate() {
            let mut expect = |holds: bool, what: String| {
                if !holds {
                    problems.push(format!("server {place}: {what}"));
                }
            };
            let names = (0..DESTINATIONS).map(|number| (network(number), member(number)));
            for (network, member) in names.chain([("extra-net".to_owned(), "extra".to_owned())]) {
                let ids = host.network_ids(&network);
                expect(ids.len() == 1, format!("{} networks are called {network}", ids.len()));
                for container in [member.as_str(), "traefik"] {
                    let endpoint = host.endpoint_of(container, &network);
                    let on = ids.iter().any(|id| endpoint["NetworkID"] == **id);
                    expect(on, format!("{container} is not on {network}"));
                }
                let aliases = host.endpoint_of(&member, &network)["Aliases"].to_string();
                expect(
                    aliases.contains(&format!("\"{member}.internal\"")),
                    format!("{member} has the aliases {aliases}"),
                );
            }
            expect(
                host.networks_of("database").contains(&network(0)),
                "the stopped database has lost its network".to_owned(),
            );
            expect(host.networks_of("stranger") == ["foreign"], "the stranger was touched".to_owned());
        }
        problems
    }

    fn await_convergence(&self, what: &str) -> Duration {
        self.until(what, || match self.problems() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(problems.join("\n")),
        })
    }

    /// How long it took.
    fn until(&self, what: &str, holds: impl Fn() -> Result<(), String>) -> Duration {
        let started = Instant::now();
        while let Err(problems) = holds() {
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: not so after {PATIENCE:?}; faults so far {:?}:\n{problems}\n{}",
                self.faults,
                tail(&std::fs::read_to_string(self.log()).unwrap(), 60)
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        started.elapsed()
    }

    /// Calls that were made, by their first words; the log has each.
    fn calls(&self) -> BTreeMap<String, usize> {
        let log = std::fs::read_to_string(self.log()).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut calls = BTreeMap::new();
        for line in lines.filter(|line| line["fields"]["message"] == "Done") {
            let operation = line["fields"]["operation"].as_str().unwrap();
            let words: Vec<_> =
                operation.split_whitespace().skip(1).take(1 + usize::from(operation.contains(" network "))).collect();
            *calls.entry(words.join(" ")).or_default() += 1;
        }
        calls
    }
}

fn named(network: &str) -> String {
    format!("%7B%22name%22%3A%5B%22%5E{network}%24%22%5D%7D")
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[test]
#[ignore = "takes a quarter of an hour: scripts/soak"]
fn everything_that_goes_wrong_is_put_right_and_nothing_else_is_touched() {
    let seed = variable("LANDFALL_SOAK_SEED", 20_260);
    let length = Duration::from_secs(variable("LANDFALL_SOAK_SECONDS", 900));
    let mut soak = Soak::new(seed.max(1));
    let mut controller = Controller::start(&soak);
    soak.await_convergence("at the beginning");

    let started = Instant::now();
    let mut memory = Vec::new();
    let mut healing = Vec::new();
    while started.elapsed() < length {
        let elapsed = started.elapsed().as_secs_f64() / length.as_secs_f64();
        for _ in 0..=soak.dice.below(3) {
            soak.fault(&mut controller, elapsed);
        }
        assert!(controller.child.try_wait().unwrap().is_none(), "the controller has ended");
        // Now and then there is time to get well: the state must be whole before the next blow.
        if soak.dice.below(4) == 0 {
            soak.mend();
            healing.push(soak.await_convergence("on the way"));
        }
        memory.push((elapsed, controller.resident()));
    }
    soak.mend();
    healing.push(soak.await_convergence("at the end"));

    let calls = soak.calls();
    let happened = |name: &str| soak.faults.get(name).copied().unwrap_or_default();
    let most = |from: f64, to: f64| {
        let within = memory.iter().filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, kilobytes)| *kilobytes).max().unwrap_or_default()
    };
    let (middle, last) = (most(0.34, 0.67), most(0.67, 1.1));
    healing.sort();
    eprintln!("seed {seed}, {} s", length.as_secs());
    eprintln!("faults: {:#?}", soak.faults);
    eprintln!("calls that were carried out: {calls:#?}");
    eprintln!(
        "whole again after a pause: median {:?}, longest {:?}",
        healing[healing.len() / 2],
        healing.last().unwrap()
    );
    eprintln!("memory: at most {middle} kB in the second third, {last} kB in the last");

    // Only `extra` ever goes, once on each server for every second edit.
    let removed = calls.get("remove network").copied().unwrap_or_default();
    let undeclared = happened("manifests edited").div_ceil(2) + healing.len();
    assert!(removed <= 2 * undeclared, "{removed} networks removed, {undeclared} times undeclared");
    // Each is made once, and again when a fault or an edit has taken it away.
    let created = calls.get("create network").copied().unwrap_or_default();
    let lost = happened("network removed by hand") + 2 * (happened("manifests edited") + healing.len());
    assert!(created <= 2 * (DESTINATIONS + 1) + lost, "{created} networks created, {lost} lost");
    // What the manifests say is there, so a fresh look has nothing to do either.
    soak.world.run("diff -f manifests").expect(0);
    for host in &soak.hosts {
        host.start_container("database");
        assert!(host.networks_of("database").contains(&network(0)));
    }
    assert!(last <= middle + middle / 5, "memory grows: {middle} kB, then {last} kB");
    controller.terminate();
}
