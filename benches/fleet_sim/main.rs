//! Measures Landfall over many stand-in engines: `scripts/bench fleet-sim [SERVERS] [PART]...`, where PART is validate, diff, run, heal or, only
//! where it is named, controllers: three of them that share the servers over an etcd of three members.
//!
//! Each engine has 50 networks that are destinations and 200 containers, 50 of which are applications. Everything is as declared. LANDFALL
//! names another program to measure than the one built along.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod controllers;
mod engines;
mod process;
#[path = "../../tests/support"]
#[allow(dead_code, clippy::unwrap_used, reason = "it is of the tests, which ask more of it")]
mod support {
    pub(crate) mod authority;
    pub(crate) mod etcd;
    pub(crate) mod lan;
    pub(crate) mod relay;

    pub(crate) fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
        super::wait_for_at_most(super::PATIENCE, what, condition)
    }
}

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engines::{DESTINATIONS, Engine};
use process::{Process, cpu_of, run};

const SERVERS: usize = 1_000;
const PARTS: [&str; 5] = ["validate", "diff", "run", "heal", "controllers"];
/// Resyncs before the memory of `run` is read: as many as an hour has by default.
const RESYNCS: usize = 60;
const HEALS: usize = 10;
/// For how long an idle controller is watched.
const IDLE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(600);

/// The figures, as a table in the end.
#[derive(Default)]
struct Figures(Vec<(String, String, &'static str)>);

impl Figures {
    fn add(&mut self, what: &str, figure: String, goal: &'static str) {
        println!("{what}: {figure}");
        self.0.push((what.to_owned(), figure, goal));
    }
}

struct Bench {
    landfall: PathBuf,
    directory: tempfile::TempDir,
    engines: Vec<Arc<Engine>>,
    figures: Figures,
}

fn main() {
    let mut servers = SERVERS;
    let mut parts = Vec::new();
    for argument in std::env::args().skip(1).filter(|it| it != "--bench") {
        match argument.parse() {
            Ok(number) => servers = number,
            Err(_) if PARTS.contains(&argument.as_str()) => parts.push(argument),
            Err(_) => {
                eprintln!("error: {argument:?} is neither a number of servers nor one of {}", PARTS.join(", "));
                return;
            }
        }
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|it| it == part);
    let mut bench = Bench::new(servers);
    if wanted("validate") {
        bench.validate();
    }
    if wanted("diff") {
        bench.diff();
    }
    if wanted("run") || wanted("heal") {
        bench.run(wanted("run"), wanted("heal"));
    }
    if parts.iter().any(|it| it == "controllers") {
        bench.controllers();
    }
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\n{servers} stand-ins of {DESTINATIONS} destinations and {} containers, {processors} processors",
        engines::CONTAINERS
    );
    println!("\n| | measured | goal |\n|---|---|---|");
    for (what, figure, goal) in &bench.figures.0 {
        println!("| {what} | {figure} | {goal} |");
    }
}

/// Manifests of one server: it, and 50 destinations with an application each.
fn manifests(directory: &Path, server: usize) -> String {
    let socket = directory.join(format!("{server}.sock"));
    let mut text = format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-{server} }}\nspec: {{ endpoint: \"unix://{}\" }}\n",
        socket.display()
    );
    for number in 0..DESTINATIONS {
        let _ = write!(
            text,
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: net-{server}-{number} }}\n\
             spec:\n  server: edge-{server}\n  adopt: true\n  network: {{ name: net-{number} }}\n\
             ---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: app-{server}-{number} }}\n\
             spec:\n  destination: net-{server}-{number}\n  containers: {{ names: [app-{number}] }}\n  endpoint: {{ aliases: [app-{number}.internal] }}\n"
        );
    }
    text
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
}

impl Bench {
    fn new(servers: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let of_manifests = directory.path().join("manifests");
        fs::create_dir(&of_manifests).expect("a directory can be made");
        for server in 0..servers {
            let text = manifests(directory.path(), server);
            fs::write(of_manifests.join(format!("{server}.yaml")), text).expect("manifests can be written");
        }
        let engines = engines::start(directory.path(), servers);
        let landfall = std::env::var_os("LANDFALL").unwrap_or_else(|| env!("CARGO_BIN_EXE_landfall").into());
        Self { landfall: landfall.into(), directory, engines, figures: Figures::default() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.landfall);
        command.current_dir(self.directory.path()).args(arguments).args(["-f", "manifests"]);
        command.env("XDG_STATE_HOME", self.directory.path().join("state"));
        command
    }

    fn validate(&mut self) {
        let objects = self.engines.len() * (1 + 2 * DESTINATIONS);
        let taken = run(&mut self.command(&["validate"]));
        assert!(taken.success, "validate fails");
        let figure = format!("{}, {:.0} MiB", seconds(taken.wall), taken.peak);
        self.figures.add(&format!("`validate` of {objects} objects"), figure, "3 s, 256 MiB");
    }

    fn diff(&mut self) {
        for (case, goal) in [("cold", ""), ("warm", "10 s, 256 MiB")] {
            let before = cpu_of("self").unwrap_or_default();
            let taken = run(&mut self.command(&["diff"]));
            assert!(taken.success, "diff fails");
            let stand_ins = cpu_of("self").unwrap_or_default() - before;
            let figure = format!(
                "{}, {:.0} MiB ({} of a processor, the stand-ins {})",
                seconds(taken.wall),
                taken.peak,
                seconds(taken.cpu),
                seconds(stand_ins)
            );
            self.figures.add(&format!("`diff`, {case}"), figure, goal);
        }
    }

    fn run(&mut self, figures: bool, heals: bool) {
        let mut command = self.command(&["run", "--interval", "1h", "--listen", "none"]);
        let log = fs::File::create(self.directory.path().join("log")).expect("a log can be written");
        let started = Instant::now();
        let mut process = Process::start(command.stdout(log.try_clone().expect("it can be shared")).stderr(log));
        self.await_looks(&mut process, 1);
        self.await_quiet(&process);
        let (resident, peak) = process.resident();
        if figures {
            let figure = format!(
                "{}, {} of a processor, {resident:.0} MiB ({peak:.0} MiB at most)",
                seconds(started.elapsed()),
                seconds(process.cpu())
            );
            self.figures.add("`run`: all looked at first, inspections included", figure, "");
            self.resyncs(&mut process);
            self.idle(&process);
            self.web();
        }
        if heals {
            self.heal(&mut process);
        }
    }

    /// Until every engine has listed its containers so often.
    fn await_looks(&self, process: &mut Process, looks: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.engines.iter().any(|engine| engine.looks() < looks) {
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(!process.has_ended(), "run has ended: {}", log());
            assert!(Instant::now() < deadline, "run takes too long: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Until the controller has done next to nothing for a second.
    fn await_quiet(&self, process: &Process) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = process.cpu();
            std::thread::sleep(Duration::from_secs(1));
            if process.cpu() - before < Duration::from_millis(50) || Instant::now() > deadline {
                return;
            }
        }
    }

    fn resyncs(&mut self, process: &mut Process) {
        let mut longest = Duration::ZERO;
        let (before, stand_ins) = (process.cpu(), cpu_of("self").unwrap_or_default());
        let rounds = RESYNCS.min(std::env::var("RESYNCS").ok().and_then(|it| it.parse().ok()).unwrap_or(RESYNCS));
        for _ in 0..rounds {
            let looks = self.engines.iter().map(|engine| engine.looks()).max().unwrap_or_default();
            let started = Instant::now();
            self.ask("POST", "/api/v1/reconcile");
            self.await_looks(process, looks + 1);
            longest = longest.max(started.elapsed());
            // Some may have been looked at once more for other reasons.
            std::thread::sleep(Duration::from_millis(200));
        }
        self.await_quiet(process);
        let looks = (rounds * self.engines.len()) as f64;
        let each = |cpu: Duration| format!("{:.1} ms", cpu.as_secs_f64() * 1000.0 / looks);
        let taken = process.cpu() - before;
        let stand_ins = cpu_of("self").unwrap_or_default() - stand_ins;
        let figure =
            format!("{} ({} of a processor a look, the stand-ins {})", seconds(longest), each(taken), each(stand_ins));
        self.figures.add("`run`: all looked at again, the longest", figure, "10 s");
        let (resident, peak) = process.resident();
        let figure = format!("{resident:.0} MiB ({peak:.0} MiB at most)");
        self.figures.add(&format!("`run`: resident after {rounds} resyncs"), figure, "256 MiB");
    }

    fn idle(&mut self, process: &Process) {
        let before = process.cpu();
        std::thread::sleep(IDLE);
        let share = (process.cpu() - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        self.figures.add("`run`: idle", format!("{share:.1} % of a processor"), "1 %");
    }

    fn web(&mut self) {
        for path in ["/", "/metrics", "/api/v1/servers", "/api/v1/destinations", "/api/v1/status"] {
            let started = Instant::now();
            let bytes = self.ask("GET", path);
            let figure = format!("{}, {} kB", milliseconds(started.elapsed()), bytes / 1000);
            self.figures.add(&format!("`GET {path}`"), figure, "100 ms");
        }
    }

    /// One endpoint of a server falls off while all of them are looked at again.
    fn heal(&mut self, process: &mut Process) {
        let mut took = Vec::new();
        for number in 0..HEALS {
            let engine = Arc::clone(&self.engines[number * self.engines.len() / HEALS]);
            self.ask("POST", "/api/v1/reconcile");
            std::thread::sleep(Duration::from_millis(200));
            let lost = engine.disconnect();
            let deadline = lost + PATIENCE;
            let connected = loop {
                if let Some(connected) = engine.connected() {
                    break connected;
                }
                assert!(Instant::now() < deadline && !process.has_ended(), "it is not put back");
                std::thread::sleep(Duration::from_micros(500));
            };
            took.push(connected - lost);
            self.await_quiet(process);
        }
        took.sort();
        let figure = format!("{} ({} at most)", milliseconds(took[HEALS / 2]), milliseconds(took[HEALS - 1]));
        self.figures.add("heal of one endpoint during a resync of all: event to call", figure, "50 ms");
    }

    /// Asks the controller over its socket; returns how many bytes the answer has.
    fn ask(&self, method: &str, path: &str) -> usize {
        ask_at(&self.directory.path().join("state/landfall/sets/default/landfall.sock"), method, path)
    }
}

fn ask_at(socket: &Path, method: &str, path: &str) -> usize {
    let mut stream = UnixStream::connect(socket).expect("the controller listens");
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it can be asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let status = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    assert!(status.starts_with("HTTP/1.1 2"), "{method} {path}: {}", String::from_utf8_lossy(&answer));
    answer.len()
}

fn wait_for_at_most<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
