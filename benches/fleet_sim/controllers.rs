//! Several controllers that share the stand-ins over an etcd of three members: how they divide them, what they take, and what etcd has of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::Process;
use super::support::etcd::Etcd;
use super::{Bench, PATIENCE, ask_at, milliseconds, seconds, wait_for_at_most};

const CONTROLLERS: usize = 3;
/// For how long controllers with nothing to do are watched.
const REST: Duration = Duration::from_secs(120);
/// Endpoints that fall off, on as many servers, for what a repair costs etcd.
const REPAIRS: usize = 100;

struct Controller {
    process: Process,
    state: PathBuf,
}

/// What etcd has counted so far.
#[derive(Clone, Copy)]
struct Counted {
    at: Instant,
    revision: f64,
    proposals: f64,
    keepalives: f64,
    bytes: f64,
}

impl Counted {
    fn of(etcd: &Etcd) -> Self {
        let members: Vec<BTreeMap<String, f64>> = etcd.ports().into_iter().map(metrics).collect();
        let sum = |name: &str| members.iter().filter_map(|it| it.get(name)).sum::<f64>();
        let most = |name: &str| members.iter().filter_map(|it| it.get(name)).copied().fold(0.0, f64::max);
        Self {
            at: Instant::now(),
            revision: most("etcd_debugging_mvcc_current_revision"),
            proposals: most("etcd_server_proposals_committed_total"),
            // Counted by the member that leads.
            keepalives: sum("etcd_debugging_lease_renewed_total"),
            bytes: most("etcd_mvcc_db_total_size_in_use_in_bytes"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            at: self.at,
            revision: self.revision - before.revision,
            proposals: self.proposals - before.proposals,
            keepalives: self.keepalives - before.keepalives,
            bytes: self.bytes - before.bytes,
        }
    }
}

fn metrics(port: u16) -> BTreeMap<String, f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("etcd listens");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("etcd can be asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("etcd answers");
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    answer.lines().filter_map(line).collect()
}

impl Bench {
    pub(super) fn controllers(&mut self) {
        let etcd = Etcd::start(3);
        let url = etcd.url();
        let started = Instant::now();
        let mut controllers: Vec<Controller> = (0..CONTROLLERS).map(|number| self.controller(number, &url)).collect();
        self.await_shares(&url, CONTROLLERS);
        self.await_rest(&controllers);
        let figure = format!("{}, {}", seconds(started.elapsed()), self.shares(&url));
        self.figures.add(&format!("{CONTROLLERS} controllers: each has its share and has looked at it"), figure, "");
        self.memory(&controllers, "once they have looked");
        self.rest(&etcd, &controllers, &url);
        self.resync(&etcd, &controllers);
        self.repairs(&etcd, &controllers);
        self.pages(&controllers);
        self.takeover(&mut controllers, &url);
    }

    fn controller(&self, number: usize, url: &str) -> Controller {
        let state = self.directory.path().join(format!("state-{number}"));
        let log = fs::File::create(self.directory.path().join(format!("log-{number}"))).expect("a log can be written");
        let mut command = self.command(&["run", "--interval", "1h", "--listen", "none", "--store", url]);
        command.arg("--state").arg(&state).stdout(log.try_clone().expect("it can be shared")).stderr(log);
        Controller { process: Process::start(&mut command), state }
    }

    /// How many servers each has, by process.
    fn held(&self, url: &str) -> BTreeMap<u64, usize> {
        let mut command = std::process::Command::new(&self.landfall);
        let output = command.args(["get", "controllers", "-o", "json", "--store", url]).output().expect("it starts");
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let held = |it: &Value| Some((it["status"]["pid"].as_u64()?, it["status"]["servers"].as_array()?.len()));
        list["items"].as_array().into_iter().flatten().filter_map(held).collect()
    }

    fn shares(&self, url: &str) -> String {
        let held = self.held(url).into_values().map(|it| it.to_string()).collect::<Vec<_>>();
        format!("{} servers", held.join(" + "))
    }

    /// Until every server is held, and each controller has no less than half of an even share.
    fn await_shares(&self, url: &str, controllers: usize) {
        let servers = self.engines.len();
        wait_for_at_most(PATIENCE, "the servers are shared out", || {
            let held = self.held(url);
            let all = held.len() == controllers && held.values().sum::<usize>() == servers;
            (all && held.values().all(|it| it * controllers * 2 >= servers)).then_some(())
        });
    }

    fn await_rest(&self, controllers: &[Controller]) {
        controllers.iter().for_each(|it| self.await_quiet(&it.process));
    }

    fn memory(&mut self, controllers: &[Controller], when: &str) {
        let each: Vec<String> = controllers
            .iter()
            .map(|it| {
                let (resident, peak) = it.process.resident();
                format!("{resident:.0} MiB ({peak:.0} at most)")
            })
            .collect();
        self.figures.add(&format!("memory of each, {when}"), each.join(", "), "256 MiB");
    }

    fn rest(&mut self, etcd: &Etcd, controllers: &[Controller], url: &str) {
        // What has been found is written a moment later.
        std::thread::sleep(Duration::from_secs(10));
        let cpu = || controllers.iter().map(|it| it.process.cpu()).sum::<Duration>();
        let (before, cpu_before, held) = (Counted::of(etcd), cpu(), self.held(url));
        std::thread::sleep(REST);
        let taken = Counted::of(etcd).since(before);
        let minutes = taken.at.duration_since(before.at).as_secs_f64() / 60.0;
        let figure = format!(
            "{:.1} writes, {:.1} proposals, {:.0} keepalives",
            taken.revision / minutes,
            taken.proposals / minutes,
            taken.keepalives / minutes
        );
        self.figures.add("etcd at rest, a minute", figure, "leases only");
        let daily = taken.bytes / minutes * 60.0 * 24.0 / 1024.0 / 1024.0;
        self.figures.add("growth of etcd's database at rest, a day (extrapolated)", format!("{daily:.1} MiB"), "0");
        let share = (cpu() - cpu_before).as_secs_f64() / (minutes * 60.0) * 100.0;
        self.figures.add("all controllers at rest", format!("{share:.1} % of a processor"), "");
        let same = if self.held(url) == held { "none moved" } else { "some moved" };
        self.figures.add("servers, meanwhile", same.to_owned(), "none moved");
    }

    /// All are looked at again, and are as they were.
    fn resync(&mut self, etcd: &Etcd, controllers: &[Controller]) {
        let before = Counted::of(etcd);
        let looks: Vec<usize> = self.engines.iter().map(|engine| engine.looks()).collect();
        let started = Instant::now();
        ask_at(&controllers[0].state.join("sets/default/landfall.sock"), "POST", "/api/v1/reconcile");
        wait_for_at_most(PATIENCE, "all are looked at again", || {
            self.engines.iter().zip(&looks).all(|(engine, looks)| engine.looks() > *looks).then_some(())
        });
        let took = started.elapsed();
        self.await_rest(controllers);
        // The request itself is told to all in two writes: the lease is none.
        let figure = format!("{}, {:.0} writes", seconds(took), Counted::of(etcd).since(before).revision);
        self.figures.add("all are looked at again, asked for at one controller", figure, "10 s");
    }

    fn repairs(&mut self, etcd: &Etcd, controllers: &[Controller]) {
        let count = REPAIRS.min(self.engines.len());
        let before = Counted::of(etcd);
        let mut took = Vec::new();
        for engine in &self.engines[..count] {
            let lost = engine.disconnect();
            let connected = wait_for_at_most(PATIENCE, "it is put back", || engine.connected());
            took.push(connected - lost);
        }
        self.await_rest(controllers);
        std::thread::sleep(Duration::from_secs(5));
        let taken = Counted::of(etcd).since(before);
        took.sort();
        self.figures.add(
            "heal of one endpoint: event to call",
            format!("{} ({} at most)", milliseconds(took[count / 2]), milliseconds(took[count - 1])),
            "50 ms",
        );
        let each = |total: f64| total / count as f64;
        let figure = format!("{:.1} writes, {:.1} kB", each(taken.revision), each(taken.bytes) / 1000.0);
        self.figures.add("etcd, for each repair", figure, "");
        let daily = each(taken.bytes) * self.engines.len() as f64 * 10.0 / 1024.0 / 1024.0;
        let figure = format!("{daily:.0} MiB before compaction");
        self.figures.add("growth a day with ten repairs a server (extrapolated)", figure, "");
    }

    fn pages(&mut self, controllers: &[Controller]) {
        let socket = controllers[0].state.join("sets/default/landfall.sock");
        for path in ["/", "/api/v1/servers", "/api/v1/status"] {
            let started = Instant::now();
            let bytes = ask_at(&socket, "GET", path);
            let figure = format!("{}, {} kB", milliseconds(started.elapsed()), bytes / 1000);
            self.figures.add(&format!("`GET {path}` of one controller"), figure, "100 ms");
        }
    }

    fn takeover(&mut self, controllers: &mut Vec<Controller>, url: &str) {
        let held = self.held(url);
        let gone = controllers.remove(0);
        let lost = held.get(&u64::from(gone.process.id())).copied().unwrap_or_default();
        let looks: Vec<usize> = self.engines.iter().map(|engine| engine.looks()).collect();
        let killed = Instant::now();
        drop(gone);
        // Nobody says which server was whose: one endpoint of each falls off.
        let engines: Vec<_> = self.engines.iter().map(Arc::clone).collect();
        for engine in &engines {
            engine.disconnect();
        }
        wait_for_at_most(PATIENCE, "every server is repaired", || {
            engines.iter().all(|engine| engine.connected().is_some()).then_some(())
        });
        let repaired: Vec<Duration> = {
            let mut all: Vec<_> = engines.iter().filter_map(|it| Some(it.connected()? - killed)).collect();
            all.sort();
            all
        };
        // The last `lost` of them are those that were taken over.
        let taken = &repaired[repaired.len() - lost.max(1)..];
        let figure = format!("{} of the first, {} of the last", seconds(taken[0]), seconds(taken[taken.len() - 1]));
        self.figures.add(&format!("kill -9 of one: repairs of its {lost} servers by the others"), figure, "15 s");
        wait_for_at_most(PATIENCE, "all are looked at", || {
            engines.iter().zip(&looks).all(|(engine, looks)| engine.looks() > *looks).then_some(())
        });
        self.await_rest(controllers);
        self.memory(controllers, "of the two that are left");
        let started = Instant::now();
        controllers.push(self.controller(0, url));
        self.await_shares(url, CONTROLLERS);
        // Shares stay as they are for a while, then they are even.
        let mut before = self.held(url);
        let settled = wait_for_at_most(PATIENCE, "nothing moves any more", || {
            std::thread::sleep(Duration::from_secs(5));
            let now = self.held(url);
            let same = now == before;
            before = now;
            same.then(Instant::now)
        });
        let figure = format!("{}, {}", seconds(settled - started), self.shares(url));
        self.figures.add("it comes back: until nothing moves any more", figure, "");
    }
}
