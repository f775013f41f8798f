//! Controllers as processes: who takes over when, what a stopped one does when it goes on, and what commands show.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::engines::{self, Engine};
use crate::cli::run::{command, landfall};
use crate::support::etcd::Etcd;
use crate::support::relay::Relay;
use crate::support::{wait_for, wait_for_at_most};

/// Controllers, their daemons, and the etcd between them.
pub(super) struct Fleet {
    pub(super) etcd: Etcd,
    /// In the environment of each.
    environment: Vec<(String, String)>,
    pub(super) engines: Vec<Arc<Engine>>,
    pub(super) controllers: Vec<Controller>,
    pub(super) directory: TempDir,
}

pub(super) struct Controller {
    process: Option<Child>,
    /// To each member of etcd.
    pub(super) relays: Vec<Relay>,
}

impl Fleet {
    pub(super) fn start(servers: usize, controllers: usize, members: usize) -> Self {
        Self::start_on(Etcd::start(members), servers, controllers)
    }

    pub(super) fn start_on(etcd: Etcd, servers: usize, controllers: usize) -> Self {
        Self::start_in(etcd, servers, controllers, Vec::new())
    }

    /// `environment`: of each controller.
    pub(super) fn start_in(etcd: Etcd, servers: usize, controllers: usize, environment: Vec<(String, String)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engines = engines::start(directory.path(), servers, controllers);
        for controller in 0..controllers {
            let manifests = directory.path().join(format!("manifests-{controller}"));
            fs::create_dir(&manifests).unwrap();
            for server in 0..servers {
                fs::write(manifests.join(format!("{server}.yaml")), manifest(&directory, controller, server)).unwrap();
            }
        }
        let controller = |_| Controller {
            process: None,
            relays: etcd.ports().iter().map(|port| Relay::start_here((std::net::Ipv4Addr::LOCALHOST, *port))).collect(),
        };
        let controllers = (0..controllers).map(controller).collect();
        let mut fleet = Self { etcd, environment, engines, controllers, directory };
        for number in 0..fleet.controllers.len() {
            fleet.run(number);
        }
        fleet
    }

    pub(super) fn run(&mut self, number: usize) {
        let relays = &self.controllers[number].relays;
        let hosts: Vec<String> = relays.iter().map(|it| format!("{}:{}", it.address().0, it.address().1)).collect();
        let log = File::options().create(true).append(true).open(self.log(number)).unwrap();
        let process = command()
            .current_dir(self.directory.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(["run", "-f", &format!("manifests-{number}"), "--state", &format!("state-{number}")])
            .args(["--listen", "none", "--interval", "20s", "--store", &format!("etcd://{}/landfall", hosts.join(","))])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.controllers[number].process = Some(process);
    }

    /// Has it give up what it has, and waits until it has ended.
    pub(super) fn stop(&mut self, number: usize) {
        self.signal(number, Signal::TERM);
        if let Some(mut process) = self.controllers[number].process.take() {
            assert!(process.wait().unwrap().success(), "{}", self.logs());
        }
    }

    /// Where that controller answers.
    pub(super) fn socket(&self, number: usize) -> std::path::PathBuf {
        self.directory.path().join(format!("state-{number}/sets/default/landfall.sock"))
    }

    /// Until it does.
    pub(super) fn answers(&self, number: usize) {
        wait_for("it answers", || std::os::unix::net::UnixStream::connect(self.socket(number)).ok());
    }

    fn log(&self, number: usize) -> std::path::PathBuf {
        self.directory.path().join(format!("{number}.log"))
    }

    pub(super) fn logs(&self) -> String {
        let log =
            |number| format!("--- controller {number}\n{}", fs::read_to_string(self.log(number)).unwrap_or_default());
        (0..self.controllers.len()).map(log).collect()
    }

    pub(super) fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.controllers[number].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub(super) fn signal(&self, number: usize, signal: Signal) {
        if let Some(process) = &self.controllers[number].process {
            let _ = kill_process(Pid::from_child(process), signal);
        }
    }

    /// `get controllers`, as etcd has it.
    pub(super) fn members(&self) -> Vec<Value> {
        let ran = landfall(self.directory.path(), ["get", "controllers", "-o", "json", "--store", &self.etcd.url()])
            .expect(0);
        ran.json()["items"].as_array().unwrap().clone()
    }

    /// How many servers each process has.
    pub(super) fn shares(&self) -> BTreeMap<u32, usize> {
        let share = |it: &Value| {
            let pid = it["status"]["pid"].as_u64().unwrap();
            (u32::try_from(pid).unwrap(), it["status"]["servers"].as_array().unwrap().len())
        };
        self.members().iter().map(share).collect()
    }

    pub(super) fn share(&self, number: usize) -> usize {
        let pid = self.controllers[number].process.as_ref().map(Child::id);
        pid.and_then(|pid| self.shares().get(&pid).copied()).unwrap_or_default()
    }

    /// Servers of one controller, by their numbers.
    pub(super) fn held_by(&self, number: usize) -> Vec<usize> {
        let pid = self.controllers[number].process.as_ref().map(Child::id);
        let members = self.members();
        let own = members.iter().find(|it| it["status"]["pid"].as_u64() == pid.map(u64::from));
        let servers = own.into_iter().flat_map(|it| it["status"]["servers"].as_array().unwrap());
        servers.map(|it| it["server"].as_str().unwrap().rsplit_once('-').unwrap().1.parse().unwrap()).collect()
    }

    pub(super) fn id(&self, number: usize) -> String {
        let pid = self.controllers[number].process.as_ref().map(|it| u64::from(it.id()));
        let members = self.members();
        let own = members.iter().find(|it| it["status"]["pid"].as_u64() == pid).unwrap();
        own["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// Until every server has somebody, and nobody all.
    pub(super) fn settled(&self) {
        wait_for_at_most(Duration::from_secs(90), "the servers are shared out", || {
            let shares = self.shares();
            let all = shares.values().sum::<usize>() == self.engines.len();
            (all && shares.len() == self.controllers.len() && shares.values().all(|share| *share > 0)).then_some(())
        });
    }

    /// Whether what every daemon was told is what one controller after the other may say.
    pub(super) fn verdict(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, engine) in self.engines.iter().enumerate() {
            let mut latest = 0;
            let mut holders: BTreeMap<i64, usize> = BTreeMap::new();
            // Until when what was begun under former tokens went on.
            let (mut before, mut within) = (None, None);
            for call in engine.calls() {
                let Some(token) = call.token else {
                    wrong.push(format!("server {number}: a call without a token: {call:?}"));
                    continue;
                };
                if token < latest {
                    wrong.push(format!("server {number}: token {token} after {latest}: {call:?}"));
                }
                if token > latest {
                    before = before.max(within.take());
                }
                latest = latest.max(token);
                within = within.max(Some(call.ended.unwrap_or(call.began)));
                if before > Some(call.began) {
                    wrong.push(format!("server {number}: what was begun under a former token went on still: {call:?}"));
                }
                if *holders.entry(token).or_insert(call.controller) != call.controller {
                    wrong.push(format!("server {number}: two controllers with the token {token}: {call:?}"));
                }
            }
        }
        wrong
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for number in 0..self.controllers.len() {
            self.kill(number);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

fn manifest(directory: &TempDir, controller: usize, server: usize) -> String {
    let socket = directory.path().join(format!("{controller}-{server}.sock"));
    format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-{server} }}\nspec: {{ endpoint: \"unix://{}\" }}\n\
         ---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: net-{server} }}\n\
         spec: {{ server: edge-{server}, adopt: true, network: {{ name: net-0 }} }}\n\
         ---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: app-{server} }}\n\
         spec: {{ destination: net-{server}, containers: {{ names: [app-0] }} }}\n",
        socket.display()
    )
}

/// From the end of a controller to the first repair by another, one after the other: `FLEET_FAILOVERS=N`, which `scripts/fleet-faults` sets.
#[test]
fn how_long_a_failover_takes() {
    let rounds = std::env::var("FLEET_FAILOVERS").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    let mut fleet = Fleet::start(20, 3, 3);
    let mut took = Vec::new();
    for round in 0..rounds {
        fleet.settled();
        let number = round % 3;
        let held = fleet.held_by(number);
        fleet.kill(number);
        let began = fleet.engines[held[0]].disconnect();
        let engine = &fleet.engines[held[0]];
        wait_for_at_most(Duration::from_secs(60), "another one repairs", || engine.is_attached().then_some(()));
        took.push(began.elapsed());
        fleet.run(number);
    }
    took.sort();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64();
    eprintln!("figure: {rounds} failovers: p50 {:.1} s, p99 {:.1} s, longest {:.1} s", at(50), at(99), at(100));
    assert!(took.iter().all(|it| *it < Duration::from_secs(15)), "{took:?}");
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

/// Takes the container off, and waits until it is back; how long that was.
pub(super) fn healed(engine: &Engine) -> Duration {
    let began = engine.disconnect();
    wait_for_at_most(Duration::from_secs(60), "it is put back", || engine.is_attached().then_some(()));
    began.elapsed()
}

#[test]
fn servers_are_shared_out_each_is_kept_by_one_and_those_of_one_that_dies_are_taken_over() {
    let mut fleet = Fleet::start(20, 3, 3);
    fleet.settled();
    for engine in &fleet.engines {
        healed(engine);
    }
    // What happened is one history, wherever it is asked for. It is written after the repair: who is killed at once leaves it out.
    let recorded = |fleet: &Fleet, passes: usize| {
        wait_for("everything is on record", || {
            let ran = landfall(fleet.directory.path(), ["history", "-o", "json", "--store", &fleet.etcd.url()]);
            (ran.expect(0).json()["items"].as_array().unwrap().len() >= passes).then_some(())
        });
    };
    recorded(&fleet, 20);
    let held = fleet.held_by(0);
    assert!(!held.is_empty());
    fleet.kill(0);
    for server in &held {
        fleet.engines[*server].disconnect();
    }
    // How long that takes is measured by the test above.
    wait_for_at_most(Duration::from_secs(60), "another one repairs", || {
        held.iter().all(|it| fleet.engines[*it].is_attached()).then_some(())
    });
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
    recorded(&fleet, 20 + held.len());
}

#[test]
fn a_controller_that_is_stopped_in_the_middle_does_nothing_when_it_goes_on_and_takes_part_again() {
    let fleet = Fleet::start(14, 2, 1);
    fleet.settled();
    let held = fleet.held_by(0);
    // Told, and stopped before it can be through.
    for server in &held {
        fleet.engines[*server].disconnect();
    }
    fleet.signal(0, Signal::STOP);
    wait_for("the other one repairs", || held.iter().all(|it| fleet.engines[*it].is_attached()).then_some(()));
    wait_for("it has everything", || (fleet.share(1) == 14).then_some(()));
    for server in &held {
        healed(&fleet.engines[*server]);
    }
    fleet.signal(0, Signal::CONT);
    // It is back when it has some of them again.
    wait_for_at_most(Duration::from_secs(60), "it takes part again", || (fleet.share(0) > 0).then_some(()));
    for engine in &fleet.engines {
        healed(engine);
    }
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

#[test]
fn a_controller_that_is_cut_off_from_etcd_stops_and_says_so_and_another_goes_on() {
    let fleet = Fleet::start(14, 2, 1);
    fleet.settled();
    let held = fleet.held_by(0);
    fleet.controllers[0].relays.iter().for_each(Relay::stall);
    wait_for("the other one has everything", || (fleet.share(1) == 14).then_some(()));
    for server in &held {
        healed(&fleet.engines[*server]);
    }
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
    assert!(
        fs::read_to_string(fleet.log(0)).unwrap().contains("etcd does not do what is asked of it"),
        "{}",
        fleet.logs()
    );
    fleet.controllers[0].relays.iter().for_each(Relay::resume);
    wait_for_at_most(Duration::from_secs(60), "it takes part again", || (fleet.share(0) > 0).then_some(()));
}

#[test]
fn a_controller_that_is_drained_gives_everything_away_and_nothing_waits() {
    let fleet = Fleet::start(14, 2, 1);
    fleet.settled();
    let (id, store) = (fleet.id(0), fleet.etcd.url());
    let drained = landfall(fleet.directory.path(), ["drain", &id, "--store", &store]).expect(0);
    assert_eq!(drained.stderr, format!("{id} has no servers any more.\n"));
    wait_for_at_most(Duration::from_secs(3), "the other has them", || (fleet.share(1) == 14).then_some(()));
    for engine in &fleet.engines {
        assert!(healed(engine) < Duration::from_secs(3));
    }
    let table = landfall(fleet.directory.path(), ["get", "controllers", "--store", &store]).expect(0).stdout;
    assert!(table.contains("Draining") && table.contains("Ready"), "{table}");
    landfall(fleet.directory.path(), ["drain", &id, "--undo", "--store", &store]).expect(0);
    fleet.settled();
    let unknown = landfall(fleet.directory.path(), ["drain", "nobody", "--store", &store]).expect(2);
    assert!(unknown.stderr.contains(&id), "{unknown}");
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}
