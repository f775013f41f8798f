//! A private Docker daemon for one test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::lan::{Lan, Seat};
use super::{ContainerBuilder, wait_for};

/// The image of every container in the tests: Debian's static busybox and nothing else.
pub(crate) const IMAGE: &str = "landfall/busybox:test";

/// A generation of the Docker Engine, as a Debian release packages it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    /// Debian 12, API 1.41.
    V20,
    /// Debian 13, API 1.45.
    V26,
    /// Debian testing, API 1.51.
    V28,
}

impl Engine {
    /// What a host runs that asks for none: `LANDFALL_TEST_ENGINE`, so that whole suites run on another engine.
    fn chosen() -> Self {
        match std::env::var("LANDFALL_TEST_ENGINE").as_deref() {
            Err(_) | Ok("" | "20") => Self::V20,
            Ok("26") => Self::V26,
            Ok("28") => Self::V28,
            Ok(other) => panic!("LANDFALL_TEST_ENGINE={other}: there are 20, 26 and 28"),
        }
    }

    fn generation(self) -> &'static str {
        match self {
            Self::V20 => "20",
            Self::V26 => "26",
            Self::V28 => "28",
        }
    }

    /// The root of the Debian that it is in, and its exact version. `None`: the machine's own.
    fn root(self) -> Option<(PathBuf, String)> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/engines");
        let directory = std::env::var_os("LANDFALL_ENGINES").map_or(default, PathBuf::from);
        let generation = self.generation();
        match fs::read_to_string(directory.join(format!("{generation}.version"))) {
            Ok(version) => Some((directory.join(generation), version.split(' ').next().unwrap_or_default().to_owned())),
            Err(_) if self == Self::V20 => None,
            Err(error) => {
                panic!("Docker {generation} is not in {}: {error}; `scripts/engines` fetches it", directory.display())
            }
        }
    }
}

/// A Docker daemon with its own network, mounts, processes, files and socket. It shares nothing with the Docker of the machine
/// that runs the tests and is gone when the value is dropped, as well as when the test process is killed.
pub(crate) struct Host {
    name: String,
    directory: PathBuf,
    supervisor: Child,
    /// `None`: a network of its own that leads nowhere.
    seat: Option<Seat>,
    /// Closing it ends the host.
    pipe: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    image: OnceLock<()>,
    /// Of the Engine's API, major and minor; Podman answers for the Docker that it takes the place of.
    api_version: OnceLock<(u32, u32)>,
}

/// How the daemon is configured.
#[derive(Debug, Clone)]
pub(crate) struct HostBuilder {
    podman: bool,
    engine: Engine,
    config: serde_json::Map<String, Value>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    lan: Option<Lan>,
}

impl HostBuilder {
    /// The `default-address-pools` of the daemon: CIDR and the prefix length of what is cut from it. The default bridge takes the
    /// first one.
    pub(crate) fn pools(self, pools: &[(&str, u8)]) -> Self {
        let pools = pools.iter().map(|(base, size)| json!({ "base": base, "size": size })).collect();
        self.option("default-address-pools", Value::Array(pools))
    }

    /// The pools that Docker has when nobody configures any.
    pub(crate) fn built_in_pools(mut self) -> Self {
        self.config.remove("default-address-pools");
        self
    }

    /// A key of `daemon.json`.
    pub(crate) fn option(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// A further argument of dockerd.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable of the daemon's environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Joined to other hosts: at [`Host::address`] they and the commands of that network reach it.
    pub(crate) fn on(mut self, lan: &Lan) -> Self {
        self.lan = Some(lan.clone());
        self
    }

    /// This engine, whatever the suite runs on.
    pub(crate) fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Debian's Podman in place of Docker, with its Docker-compatible API on [`Host::socket`]. It knows neither `daemon.json` nor arguments
    /// of dockerd, and starts and ends with the host.
    pub(crate) fn podman(mut self) -> Self {
        self.podman = true;
        self
    }

    pub(crate) fn start(self) -> Host {
        Host::launch(self)
    }
}

impl Host {
    /// A standalone daemon with more address pools than any test needs.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    pub(crate) fn builder() -> HostBuilder {
        let builder = HostBuilder {
            podman: false,
            engine: Engine::chosen(),
            config: serde_json::Map::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            lan: None,
        };
        builder.pools(&[("10.200.0.0/13", 28)])
    }

    fn launch(builder: HostBuilder) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let name = format!("landfall-test-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        // Kept: whoever ends last removes it, and that is the supervisor.
        let directory = tempfile::Builder::new().prefix("landfall-").tempdir().unwrap().keep();
        fs::write(directory.join("daemon.json"), Value::Object(builder.config).to_string()).unwrap();
        let log = File::create(directory.join("log")).unwrap();
        let root = if builder.podman { None } else { builder.engine.root() };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/host.sh");
        let mut supervisor = Command::new("sh")
            .arg(script)
            .arg(&directory)
            .arg(&name)
            .args(&builder.arguments)
            // Nothing of the developer's own Docker gets in.
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("ENGINE", if builder.podman { "podman" } else { "docker" })
            .envs(root.iter().map(|(root, _)| ("ROOT", root)))
            .envs(builder.environment)
            // An interrupt from the terminal must not stop it before it has cleaned up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let pipe = (supervisor.stdin.take().unwrap(), BufReader::new(supervisor.stdout.take().unwrap()));
        let seat = builder.lan.as_ref().map(Lan::seat);
        let host = Self {
            name,
            directory,
            supervisor,
            seat,
            pipe: Mutex::new(Some(pipe)),
            image: OnceLock::new(),
            api_version: OnceLock::new(),
        };
        host.plug();
        host.start_daemon();
        if !builder.podman {
            host.is_what_was_asked_for(builder.engine, root.map(|(_, version)| version));
        }
        host
    }

    /// A suite that passes on another engine than it names proves nothing.
    fn is_what_was_asked_for(&self, engine: Engine, exactly: Option<String>) {
        let version = self.get("/version")["Version"].as_str().unwrap_or_default().to_owned();
        let upstream = version.split(['+', '-']).next().unwrap_or_default();
        let generation = format!("{}.", engine.generation());
        let same = upstream.starts_with(&generation) && exactly.is_none_or(|exactly| exactly == upstream);
        assert!(same, "a test host is to run {engine:?} and runs Docker {version}; `scripts/engines` fetches others");
    }

    /// Of the Engine's API: `(1, 41)`. What differs between engines is keyed by it.
    pub(crate) fn api_version(&self) -> (u32, u32) {
        *self.api_version.get_or_init(|| {
            let version = text(&self.get("/version")["ApiVersion"]);
            let (major, minor) = version.split_once('.').unwrap();
            (major.parse().unwrap(), minor.parse().unwrap())
        })
    }

    fn plug(&self) {
        if let Some(seat) = &self.seat {
            // From its first answer on the host's namespaces are there.
            self.command("await");
            seat.plug(self.first_process());
        }
    }

    /// Where other hosts of the same [`Lan`] reach it.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.seat().address()
    }

    /// The cable that joins it to its [`Lan`], to be cut and mended.
    pub(crate) fn seat(&self) -> &Seat {
        self.seat.as_ref().expect("the host was started with `on`")
    }

    /// Unique among the hosts of all test processes; also the host name of the daemon.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Below which the containers are. dockerd is told; Podman has to be told with every container.
    pub(super) fn control_group(&self) -> String {
        format!("/{}", self.name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// As a Server manifest names it: `unix:///…`.
    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The daemon's data root.
    pub(crate) fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the daemon has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn command(&self, command: &str) {
        let mut pipe = self.pipe.lock().unwrap();
        let (stdin, stdout) = pipe.as_mut().unwrap();
        let mut answer = String::new();
        let answered = writeln!(stdin, "{command}").and_then(|()| stdout.read_line(&mut answer));
        assert!(
            answered.is_ok() && answer == format!("{command} done\n"),
            "the supervisor of a test host did not {command}: {answered:?} {answer:?}\n\
             (a private daemon takes root, dockerd, unshare and ip; scripts/test installs them)\n{}",
            self.log()
        );
    }

    /// Starts the daemon after it was stopped or killed, and waits until it answers.
    pub(crate) fn start_daemon(&self) {
        self.command("start");
        wait_for("the daemon of a test host answers", || {
            assert!(!self.log().contains("failed to start daemon"), "{}", self.log());
            self.try_api("GET", "/_ping", "", &[]).ok().filter(|answer| answer.status == 200)
        });
    }

    /// Stops the daemon as `systemctl stop docker` does, containers included.
    pub(crate) fn stop_daemon(&self) {
        self.command("terminate");
    }

    /// As `systemctl restart docker`.
    pub(crate) fn restart_daemon(&self) {
        self.stop_daemon();
        self.start_daemon();
    }

    /// `kill -9` of the daemon alone: containers go on.
    pub(crate) fn kill_daemon(&self) {
        self.command("kill");
    }

    /// The power is cut and comes back: the daemon and all containers are killed, and the daemon starts on what is on disk.
    pub(crate) fn reboot_ungracefully(&self) {
        self.cut_power();
        self.start_daemon();
    }

    /// Only what is on disk is left.
    pub(crate) fn cut_power(&self) {
        self.command("crash");
        self.plug();
    }

    /// Runs a command inside of the host's namespaces.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        self.inside(command).output().unwrap()
    }

    /// A command that will run inside of the host's namespaces.
    pub(crate) fn inside(&self, words: &[&str]) -> Command {
        let inside = self.first_process().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &inside, "--net", "--uts", "--mount", "--pid"]).args(words);
        command
    }

    /// Process 1 of the host, by its number outside.
    pub(crate) fn first_process(&self) -> u32 {
        let child = |pid: u32| {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            children.trim().parse().unwrap_or_else(|_| panic!("process {pid} has {children:?} for children"))
        };
        child(child(self.supervisor.id()))
    }

    /// Makes the daemon the manager of a Swarm of its own. Published ports and virtual addresses do not work without IPVS; overlay
    /// networks do.
    pub(crate) fn swarm_init(&self) {
        self.post("/swarm/init", json!({ "ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1" }));
    }

    /// One HTTP request to the daemon.
    pub(crate) fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.try_api(method, path, "application/json", &body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    fn try_api(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> std::io::Result<Answer> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // HTTP/1.0: the answer is not chunked and ends with the connection.
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n")?;
        stream.write_all(body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Answer {
            status: status.ok_or(std::io::ErrorKind::InvalidData)?,
            body: serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())),
        })
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.api("GET", path, &Value::Null).expect_success(path)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        self.api("POST", path, &body).expect_success(path)
    }

    pub(crate) fn delete(&self, path: &str) {
        self.api("DELETE", path, &Value::Null).expect_success(path);
    }

    /// Creates a bridge network and returns its id.
    pub(crate) fn create_network(&self, name: &str) -> String {
        self.create_network_with(json!({ "Name": name }))
    }

    /// Creates a network from the body of `POST /networks/create` and returns its id.
    pub(crate) fn create_network_with(&self, body: Value) -> String {
        text(&self.post("/networks/create", body)["Id"])
    }

    /// All networks of that very name.
    pub(crate) fn network_ids(&self, name: &str) -> Vec<String> {
        let networks = self.get("/networks");
        let networks = networks.as_array().unwrap().iter();
        networks.filter(|network| network["Name"] == name).map(|network| text(&network["Id"])).collect()
    }

    pub(crate) fn inspect_network(&self, network: &str) -> Value {
        self.get(&format!("/networks/{network}"))
    }

    pub(crate) fn remove_network(&self, network: &str) {
        self.delete(&format!("/networks/{network}"));
    }

    pub(crate) fn connect(&self, network: &str, container: &str) {
        self.connect_with(network, container, json!({}));
    }

    /// `endpoint` is the `EndpointConfig` of the API.
    pub(crate) fn connect_with(&self, network: &str, container: &str, endpoint: Value) {
        let body = json!({ "Container": container, "EndpointConfig": endpoint });
        self.post(&format!("/networks/{network}/connect"), body);
    }

    pub(crate) fn disconnect(&self, network: &str, container: &str) {
        self.post(&format!("/networks/{network}/disconnect"), json!({ "Container": container }));
    }

    /// A container to be made.
    pub(crate) fn container(&self, name: &str) -> ContainerBuilder<'_> {
        self.image.get_or_init(|| self.import_image(IMAGE, &[]));
        ContainerBuilder::new(self, name)
    }

    pub(crate) fn inspect(&self, container: &str) -> Value {
        self.get(&format!("/containers/{container}/json"))
    }

    /// `running`, `exited`, …
    pub(crate) fn state(&self, container: &str) -> String {
        text(&self.inspect(container)["State"]["Status"])
    }

    /// The container's endpoint on the network as inspect shows it; null where there is none.
    pub(crate) fn endpoint_of(&self, container: &str, network_name: &str) -> Value {
        self.inspect(container)["NetworkSettings"]["Networks"][network_name].clone()
    }

    /// Names of the networks the container knows, in order.
    pub(crate) fn networks_of(&self, container: &str) -> Vec<String> {
        let container = self.inspect(container);
        let networks = container["NetworkSettings"]["Networks"].as_object();
        let mut names: Vec<String> = networks.unwrap().keys().cloned().collect();
        names.sort();
        names
    }

    pub(crate) fn start_container(&self, container: &str) {
        self.post(&format!("/containers/{container}/start"), Value::Null);
    }

    pub(crate) fn stop_container(&self, container: &str) {
        self.post(&format!("/containers/{container}/stop"), Value::Null);
    }

    pub(crate) fn remove_container(&self, container: &str) {
        self.delete(&format!("/containers/{container}?force=1&v=1"));
    }

    /// Runs a command in a running container and returns what it prints.
    pub(crate) fn exec(&self, container: &str, command: &[&str]) -> String {
        let exec = json!({ "Cmd": command, "AttachStdout": true, "AttachStderr": true, "Tty": true });
        let exec = text(&self.post(&format!("/containers/{container}/exec"), exec)["Id"]);
        match self.post(&format!("/exec/{exec}/start"), json!({ "Tty": true })) {
            Value::String(output) => output,
            other => other.to_string(),
        }
    }

    /// An image of Debian's busybox and these further programs, each with the libraries that it is linked to.
    pub(crate) fn import_image(&self, image: &str, programs: &[&str]) {
        self.import_image_with(image, programs, |_| {});
    }

    /// The same, with whatever `add` puts into its root directory.
    pub(crate) fn import_image_with(&self, image: &str, programs: &[&str], add: impl FnOnce(&Path)) {
        self.import_image_as(image, programs, &[], add);
    }

    /// The same, with instructions of a Dockerfile.
    pub(crate) fn import_image_as(&self, image: &str, programs: &[&str], changes: &[&str], add: impl FnOnce(&Path)) {
        let root = tempfile::tempdir().unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.expect("busybox-static is not installed");
        fs::create_dir(root.path().join("bin")).unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        fs::copy(busybox, root.path().join("bin/busybox")).unwrap();
        let applets = Command::new(busybox).arg("--list").output().unwrap();
        for applet in String::from_utf8(applets.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
            std::os::unix::fs::symlink("busybox", root.path().join("bin").join(applet)).unwrap();
        }
        for program in programs {
            let linked = Command::new("ldd").arg(program).output().unwrap();
            let linked = String::from_utf8(linked.stdout).unwrap();
            let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
            for file in libraries.chain([*program]) {
                let copy = root.path().join(file.trim_start_matches('/'));
                fs::create_dir_all(copy.parent().unwrap()).unwrap();
                fs::copy(file, copy).unwrap_or_else(|error| panic!("{file}: {error}; scripts/test installs it"));
            }
        }
        add(root.path());
        let tar = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        // With its registry: Podman takes an image without one for its own, and looks for it elsewhere.
        let mut path = format!("/images/create?fromSrc=-&repo=docker.io/{image}");
        for change in changes {
            let encoded: String = change.bytes().map(|byte| format!("%{byte:02X}")).collect();
            path.push_str(&format!("&changes={encoded}"));
        }
        self.try_api("POST", &path, "application/x-tar", &tar.stdout).unwrap().expect_success(&path);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().filter(|line| !line.contains("module=grpc")).rev().take(20).collect();
            eprintln!("--- the last lines of the daemon of {}", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        if let Ok(mut pipe) = self.pipe.lock() {
            pipe.take();
        }
        // Removes the directory as well.
        let _ = self.supervisor.wait();
    }
}

/// The daemon's answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// A string where the body is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// The daemon's error message.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(super) fn expect_success(self, path: &str) -> Value {
        assert!(self.status < 400, "{path}: {} {}", self.status, self.body);
        self.body
    }
}

/// A string value; panics on anything else.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string")).to_owned()
}
