//! One fault at each request of each command in turn, in front of a real daemon: nothing is lost, nothing is said to be done that is not, and the
//! next run completes what the fault interrupted. `scripts/faults` tries them all, the tests a sample.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::cli::run::Ran;
use crate::cli::world::{World, server};
use crate::support::Host;
use crate::support::faults::{Asked, Fate, Faulty};

/// Of all faults the tests try one in so many.
const SAMPLE: usize = 61;
/// Said in the environment by `scripts/faults`: one in how many, and beginning with which.
const EVERY: &str = "LANDFALL_FAULTS_EVERY";
const FIRST: &str = "LANDFALL_FAULTS_FIRST";

/// Another destination with somebody on it, whom nothing concerns.
const BYSTANDER: &str = "---
apiVersion: landfall/v1
kind: Destination
metadata: { name: data }
spec: { server: infra/edge, network: { name: data-net }, proxy: false }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: bystander }
spec: { destination: data, containers: { names: [bystander] } }
";

const APPLICATION: &str = "---
apiVersion: landfall/v1
kind: Application
metadata: { name: app }
spec: { destination: web, containers: { names: [app-0, app-1] }, endpoint: { aliases: [app] } }
";

fn destination(mtu: u32) -> String {
    named("web-net", mtu)
}

fn named(network: &str, mtu: u32) -> String {
    format!(
        "---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: infra/edge, network: {{ name: {network}, mtu: {mtu} }}, replacement: Reattach }}
"
    )
}

/// What is done, from a server on which everything is as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Create,
    Reconnect,
    Replace,
    Rename,
    Delete,
    Prune,
    Force,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario::Create,
    Scenario::Reconnect,
    Scenario::Replace,
    Scenario::Rename,
    Scenario::Delete,
    Scenario::Prune,
    Scenario::Force,
];

/// Those of the destination, before and after it gets another, and that of the bystander.
const NETWORKS: [&str; 3] = ["web-net", "new-net", "data-net"];

impl Scenario {
    fn command(self) -> &'static str {
        match self {
            Self::Create | Self::Reconnect | Self::Replace | Self::Rename => "apply --yes",
            Self::Prune => "apply --yes --prune --allow-mass-delete",
            Self::Delete => "delete destination web --yes --ignore-not-found",
            Self::Force => "delete destination web --yes --force --ignore-not-found",
        }
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Refused,
    Cut,
    DoneAndRefused,
    DoneAndCut,
    /// A list that leaves out what the command is about.
    Short,
}

const FAULTS: [Fault; 5] = [Fault::Refused, Fault::Cut, Fault::DoneAndRefused, Fault::DoneAndCut, Fault::Short];

impl Fault {
    /// `None`: such a request cannot suffer it.
    fn fate(self, asked: &Asked) -> Option<Fate> {
        let list = matches!(asked.path.as_str(), "/networks" | "/containers/json");
        match self {
            Self::Refused => Some(Fate::Refused(500)),
            Self::Cut => Some(Fate::Cut),
            Self::DoneAndRefused => asked.changes().then_some(Fate::DoneAndRefused(500)),
            Self::DoneAndCut => asked.changes().then_some(Fate::DoneAndCut),
            Self::Short => (list && !asked.changes()).then(short),
        }
    }
}

fn short() -> Fate {
    let concerned = |entry: &Value| {
        entry["Name"] == "web-net"
            || entry["Name"] == "new-net"
            || entry["Names"][0].as_str().is_some_and(|name| name.starts_with("/app-"))
    };
    Fate::Rewritten(Box::new(move |list| match list {
        Value::Array(entries) => Value::Array(entries.into_iter().filter(|entry| !concerned(entry)).collect()),
        other => other,
    }))
}

/// Networks with who is on them and under which aliases, and who runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    networks: BTreeMap<&'static str, usize>,
    members: BTreeMap<(&'static str, &'static str), Vec<String>>,
    states: BTreeMap<&'static str, String>,
    journals: usize,
}

struct Stage {
    host: Host,
    faulty: Faulty,
    world: World,
}

const CONTAINERS: [&str; 4] = ["traefik", "app-0", "app-1", "bystander"];

impl Stage {
    fn new() -> Self {
        let host = Host::start();
        let faulty = Faulty::before(host.socket());
        for name in CONTAINERS {
            host.container(name).running();
        }
        let world = World::new("");
        Self { host, faulty, world }
    }

    fn declare(&self, parts: &[&str]) {
        self.world.write("manifests/all.yaml", &(server(&self.faulty.endpoint()) + BYSTANDER + &parts.concat()));
    }

    fn empty(&self, network: &str) {
        for id in self.host.network_ids(network) {
            for name in CONTAINERS {
                self.host.api(
                    "POST",
                    &format!("/networks/{id}/disconnect"),
                    &json!({ "Container": name, "Force": true }),
                );
            }
        }
    }

    /// Everything as declared, and then what the scenario begins with.
    fn set_up(&self, scenario: Scenario) {
        self.faulty.heal();
        let _ = std::fs::remove_dir_all(self.world.path().join("state"));
        for network in ["web-net", "new-net"] {
            self.empty(network);
            self.host.network_ids(network).iter().for_each(|id| self.host.remove_network(id));
        }
        for name in ["app-0", "app-1"] {
            self.host.start_container(name);
        }
        self.declare(&[&destination(1400), APPLICATION]);
        self.world.run("apply --yes").expect(0);
        self.host.stop_container("app-1");
        match scenario {
            Scenario::Create => {
                self.empty("web-net");
                self.host.remove_network("web-net");
            }
            Scenario::Reconnect => {
                for name in ["traefik", "app-0", "app-1"] {
                    self.host.disconnect("web-net", name);
                }
            }
            Scenario::Replace => self.declare(&[&destination(1450), APPLICATION]),
            Scenario::Rename => self.declare(&[&named("new-net", 1400), APPLICATION]),
            Scenario::Delete => {
                for name in ["app-0", "app-1"] {
                    self.host.disconnect("web-net", name);
                }
                self.declare(&[&destination(1400)]);
            }
            Scenario::Prune => self.declare(&[]),
            Scenario::Force => {}
        }
        self.faulty.take_asked();
    }

    fn look(&self) -> Look {
        let mut look =
            Look { networks: BTreeMap::new(), members: BTreeMap::new(), states: BTreeMap::new(), journals: 0 };
        for network in NETWORKS {
            look.networks.insert(network, self.host.network_ids(network).len());
        }
        for name in CONTAINERS {
            let seen = self.host.inspect(name);
            look.states.insert(name, seen["State"]["Status"].to_string());
            for network in NETWORKS {
                let endpoint = &seen["NetworkSettings"]["Networks"][network];
                if !endpoint.is_null() {
                    let aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
                    let mut aliases: Vec<String> =
                        aliases.iter().filter_map(Value::as_str).filter(|it| *it == "app").map(str::to_owned).collect();
                    aliases.dedup();
                    look.members.insert((network, name), aliases);
                }
            }
        }
        // Those of forced deletions stay, for people.
        let journals = std::fs::read_dir(self.world.path().join("state/landfall/journal"));
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
        look.journals =
            journals.into_iter().flatten().flatten().map(name).filter(|name| name.starts_with("reattach")).count();
        look
    }

    /// The scenario without a fault: what it ends with, and how many requests it takes.
    fn undisturbed(&self, scenario: Scenario) -> (Look, usize) {
        self.set_up(scenario);
        self.world.run(scenario.command()).expect(0);
        (self.look(), self.faulty.take_asked().len())
    }

    /// `None`: no request suffered it.
    fn disturbed(&self, scenario: Scenario, fault: Fault, nth: usize) -> Option<Ran> {
        self.set_up(scenario);
        let count = AtomicUsize::new(0);
        let happened = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&happened);
        self.faulty.rule(move |asked| {
            if asked.path == "/_ping" || count.fetch_add(1, Ordering::SeqCst) + 1 != nth {
                return Fate::Pass;
            }
            fault.fate(asked).map_or(Fate::Pass, |fate| {
                told.store(1, Ordering::SeqCst);
                fate
            })
        });
        let ran = self.world.run(scenario.command());
        self.faulty.heal();
        (happened.load(Ordering::SeqCst) == 1).then_some(ran)
    }
}

#[test]
fn a_single_fault_at_any_request_loses_nothing_and_the_next_run_completes_it() {
    let told = |name: &str| std::env::var(name).ok().and_then(|told| told.parse().ok());
    let every = told(EVERY).unwrap_or(SAMPLE);
    let first = told(FIRST).unwrap_or(0);
    let stage = Stage::new();
    let (mut runs, mut turn, mut differences) = (0, 0, Vec::new());
    for scenario in SCENARIOS {
        let (expected, requests) = stage.undisturbed(scenario);
        for (fault, nth) in FAULTS.into_iter().flat_map(|fault| (1..=requests).map(move |nth| (fault, nth))) {
            turn += 1;
            if turn % every != first % every {
                continue;
            }
            let Some(ran) = stage.disturbed(scenario, fault, nth) else { continue };
            runs += 1;
            let what = format!("{scenario:?}, {fault:?} at request {nth}");
            // Some hundred runs take their time.
            println!("{runs}: {what} ({} differences before)", differences.len());
            let after = stage.look();
            let bystander =
                |look: &Look| look.members.contains_key(&("data-net", "bystander")) && look.networks["data-net"] == 1;
            if !bystander(&after) {
                differences.push(format!("{what}: the bystander is concerned: {after:?}"));
            }
            if ran.code == 0 && after != expected {
                differences
                    .push(format!("{what}: said to be done, and is\n{after:?}\ninstead of\n{expected:?}\n{ran}"));
            }
            let again = stage.world.run(scenario.command());
            let healed = stage.look();
            if again.code != 0 || healed != expected {
                differences.push(format!(
                    "{what}: the next run ({}) leaves\n{healed:?}\ninstead of\n{expected:?}\n{ran}\n{again}",
                    again.code
                ));
            }
        }
    }
    println!("{runs} runs with one fault each, {} differences", differences.len());
    assert!(runs > 0 && differences.is_empty(), "{} of {runs} runs:\n{}", differences.len(), differences.join("\n\n"));
}

type Lie = fn(&Asked) -> Fate;

/// What stands between and lies for good.
#[test]
fn lists_that_are_wrong_for_good_lead_to_no_deletion_no_disconnection_and_no_duplicate() {
    let stage = Stage::new();
    let lies: [(&str, Lie); 4] = [
        ("hidden network", |asked| if asked.is("GET", "/networks") { short() } else { Fate::Pass }),
        ("hidden containers", |asked| if asked.is("GET", "/containers/json") { short() } else { Fate::Pass }),
        ("hidden both", |asked| {
            if matches!(asked.path.as_str(), "/networks" | "/containers/json") { short() } else { Fate::Pass }
        }),
        ("hidden endpoints", |asked| match asked.is("GET", "/containers/json") {
            true => Fate::Rewritten(Box::new(|mut list| {
                for container in list.as_array_mut().into_iter().flatten() {
                    container["NetworkSettings"]["Networks"] = json!({});
                }
                list
            })),
            false => Fate::Pass,
        }),
    ];
    let commands = ["apply --yes", "apply --yes --prune", "delete destination web --yes"];
    let (mut runs, mut differences) = (0, Vec::new());
    for (lie, fate) in lies {
        for command in commands {
            // As declared, and for the deletion with containers that people have connected.
            stage.set_up(Scenario::Force);
            if command.starts_with("delete") {
                stage.declare(&[&destination(1400)]);
                for name in ["app-0", "app-1"] {
                    stage.host.disconnect("web-net", name);
                    stage.host.connect("web-net", name);
                }
            }
            let before = stage.look();
            stage.faulty.rule(fate);
            let ran = stage.world.run(command);
            stage.faulty.heal();
            runs += 1;
            let harm = |it: &Asked| it.method == "DELETE" || it.path.ends_with("/disconnect");
            let harmed: Vec<String> = stage
                .faulty
                .take_asked()
                .iter()
                .filter(|it| harm(it))
                .map(|it| format!("{} {}", it.method, it.path))
                .collect();
            let after = stage.look();
            if !harmed.is_empty() || after.networks["web-net"] != 1 || after.members != before.members {
                differences.push(format!("{lie}, {command}: {harmed:?}\n{after:?}\ninstead of\n{before:?}\n{ran}"));
            }
        }
    }
    println!("{runs} runs with lists that are wrong for good, {} differences", differences.len());
    assert!(differences.is_empty(), "{} of {runs} runs:\n{}", differences.len(), differences.join("\n\n"));
}
