//! A real OpenSSH server for one test, and the client's side of things: keys, known_hosts, an agent.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use landfall::shell::engine::connect::ssh::Environment;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Host, wait_for};

/// An sshd with files of its own, on loopback or on a host. It and everything it started are gone when the value is dropped.
pub(crate) struct Sshd {
    directory: TempDir,
    listener: Child,
    place: Place,
    client: Client,
}

/// Where an sshd listens.
#[derive(Clone)]
struct Place {
    address: Ipv4Addr,
    port: u16,
    /// The process whose network it is in; `None`: the machine's.
    network_of: Option<u32>,
}

/// Ends what belongs to an sshd, from any thread.
#[derive(Clone, Copy)]
pub(crate) struct Killer {
    listener: u32,
}

/// How the server is configured.
pub(crate) struct SshdBuilder {
    options: Vec<String>,
    key_types: Vec<&'static str>,
    client: Option<Client>,
    place: Option<Place>,
}

/// The user who connects: a directory that is home, with a key that servers accept and a known_hosts that servers enter themselves into.
#[derive(Clone)]
pub(crate) struct Client {
    home: PathBuf,
    // Shared by the servers that know the client.
    _directory: std::sync::Arc<TempDir>,
}

impl SshdBuilder {
    /// A line of sshd_config. The first one wins, so these overrule ours.
    pub(crate) fn option(mut self, line: impl Into<String>) -> Self {
        self.options.push(line.into());
        self
    }

    /// Types of host keys: ed25519, ecdsa, rsa.
    pub(crate) fn host_keys(mut self, types: &[&'static str]) -> Self {
        self.key_types = types.to_vec();
        self
    }

    /// For this client rather than one of its own.
    pub(crate) fn client(mut self, client: &Client) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// In the host's network, at its address.
    pub(crate) fn on(mut self, host: &Host) -> Self {
        self.place = Some(Place { address: host.address(), port: 22, network_of: Some(host.first_process()) });
        self
    }

    pub(crate) fn start(self) -> Sshd {
        Sshd::launch(self)
    }
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    pub(crate) fn builder() -> SshdBuilder {
        SshdBuilder { options: Vec::new(), key_types: vec!["ed25519"], client: None, place: None }
    }

    fn launch(builder: SshdBuilder) -> Self {
        let directory = tempfile::Builder::new().prefix("landfall-sshd-").tempdir().unwrap();
        let path = directory.path();
        let client = builder.client.unwrap_or_else(Client::new);
        let place = builder.place.unwrap_or_else(|| Place {
            address: Ipv4Addr::LOCALHOST,
            port: free_port(),
            network_of: None,
        });
        let mut config = builder.options;
        for key_type in &builder.key_types {
            generate_key(&path.join(format!("host_{key_type}")), key_type, "");
            config.push(format!("HostKey {}/host_{key_type}", path.display()));
        }
        config.extend([
            format!("ListenAddress {}", place.address),
            "LogLevel VERBOSE".to_owned(),
            "PidFile none".to_owned(),
            "UsePAM no".to_owned(),
            "UseDNS no".to_owned(),
            // The test's files belong to whoever runs the test.
            "StrictModes no".to_owned(),
            "PermitRootLogin prohibit-password".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            format!("AuthorizedKeysFile {}/authorized_keys", path.display()),
            // bash reads ~/.bashrc for a command over SSH unless SHLVL says that it runs within another: what stands in the developer's
            // own is none of a test's business, and a test that kills it midway leaves its locks behind.
            format!("SetEnv PATH={0}/bin:/usr/bin:/bin HOME={0} SHLVL=2", path.display()),
        ]);
        fs::create_dir(path.join("bin")).unwrap();
        fs::write(path.join("sshd_config"), config.join("\n") + "\n").unwrap();
        fs::copy(client.key().with_extension("pub"), path.join("authorized_keys")).unwrap();
        // Where Debian's init makes it, sshd does not.
        let _ = fs::create_dir_all("/run/sshd");
        let listener = spawn_listener(path, &place);
        let sshd = Self { directory, listener, place, client };
        sshd.wait_until_listening();
        sshd.enter_known_hosts();
        sshd
    }

    fn wait_until_listening(&self) {
        let line = format!("Server listening on {} port {}.", self.place.address, self.place.port);
        wait_for("sshd listens", || {
            let log = self.log();
            assert!(!log.contains("Bind to port"), "{log}");
            log.contains(&line).then_some(())
        });
    }

    /// The log since the last start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.place.port
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A file of the server.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// TCP connections that sshd has accepted since its start.
    pub(crate) fn connections(&self) -> usize {
        self.log().matches("Connection from ").count()
    }

    /// `ssh-ed25519 AAAA…` of the host.
    pub(crate) fn host_key(&self, key_type: &str) -> String {
        let public = fs::read_to_string(self.path(&format!("host_{key_type}.pub"))).unwrap();
        public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn fingerprint(&self, key_type: &str) -> String {
        fingerprint(&self.path(&format!("host_{key_type}.pub")))
    }

    /// As known_hosts names this server.
    pub(crate) fn known_name(&self) -> String {
        known_name(self.place.address, self.place.port)
    }

    fn enter_known_hosts(&self) {
        self.client.set_known_hosts(&(self.client.known_hosts() + &self.known_hosts_lines(&self.known_name())));
    }

    /// Its keys as known_hosts has them for that name.
    pub(crate) fn known_hosts_lines(&self, name: &str) -> String {
        let mut lines = String::new();
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            if let Some(key_type) = file.strip_prefix("host_").and_then(|name| name.strip_suffix(".pub")) {
                lines += &format!("{name} {}\n", self.host_key(key_type));
            }
        }
        lines
    }

    /// A program that commands over SSH find before any other.
    pub(crate) fn install_program(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Other keys than those the clients have on file.
    pub(crate) fn change_host_key(&mut self, key_type: &str) {
        let file = self.path(&format!("host_{key_type}"));
        fs::remove_file(&file).unwrap();
        generate_key(&file, key_type, "");
        self.restart();
    }

    /// Ends the listener and every session, and starts anew on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.listener = spawn_listener(self.directory.path(), &self.place);
        self.wait_until_listening();
    }

    /// `kill -9` of the listener and every session.
    pub(crate) fn kill(&mut self) {
        let processes = self.processes();
        self.signal(Signal::KILL);
        let _ = self.listener.wait();
        wait_for("sshd is gone", || {
            processes
                .iter()
                .all(|pid| !Path::new(&format!("/proc/{}/root/", pid.as_raw_nonzero())).exists())
                .then_some(())
        });
    }

    /// `kill -9` of the sessions: the listener goes on.
    pub(crate) fn kill_sessions(&self) {
        self.killer().kill_sessions();
    }

    pub(crate) fn killer(&self) -> Killer {
        Killer { listener: self.listener.id() }
    }

    /// Every process stops, and its TCP connections stay.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill_process(pid, signal);
        }
    }

    fn processes(&self) -> Vec<Pid> {
        self.killer().processes()
    }
}

impl Killer {
    /// `kill -9` of the sessions: the listener goes on.
    pub(crate) fn kill_sessions(self) {
        for pid in self.processes().into_iter().skip(1) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// `kill -9` of the listener and every session.
    pub(crate) fn kill_everything(self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// The listener and everything below it.
    fn processes(self) -> Vec<Pid> {
        let mut found = vec![self.listener];
        let mut next = 0;
        while next < found.len() {
            let pid = found[next];
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
            next += 1;
        }
        found.into_iter().filter_map(|pid| Pid::from_raw(pid.try_into().unwrap())).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.listener.wait();
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("landfall-client-").tempdir().unwrap();
        let client = Self { home: directory.path().to_owned(), _directory: std::sync::Arc::new(directory) };
        fs::create_dir(client.home.join(".ssh")).unwrap();
        generate_key(&client.key(), "ed25519", "");
        client.set_known_hosts("");
        client.configure("");
        client
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The private key that servers accept.
    pub(crate) fn key(&self) -> PathBuf {
        self.home.join(".ssh/id_ed25519")
    }

    pub(crate) fn known_hosts(&self) -> String {
        fs::read_to_string(self.home.join(".ssh/known_hosts")).unwrap_or_default()
    }

    /// Takes whatever answers at that address for this server.
    pub(crate) fn trust(&self, (address, port): (Ipv4Addr, u16), sshd: &Sshd) {
        let lines = sshd.known_hosts_lines(&known_name(address, port));
        self.set_known_hosts(&(self.known_hosts() + &lines));
    }

    pub(crate) fn set_known_hosts(&self, lines: &str) {
        fs::write(self.home.join(".ssh/known_hosts"), lines).unwrap();
    }

    /// Sets ~/.ssh/config. What stands in it comes before our own lines.
    pub(crate) fn configure(&self, lines: &str) {
        let ssh = self.home.join(".ssh");
        let ours = format!(
            "{lines}\nHost *\n  UserKnownHostsFile {0}/known_hosts\n  GlobalKnownHostsFile none\n  IdentityFile {0}/id_ed25519\n",
            ssh.display()
        );
        fs::write(ssh.join("config"), ours).unwrap();
    }

    pub(crate) fn environment(&self) -> Environment {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        Environment {
            home: self.home.clone(),
            agent: None,
            user: String::from_utf8(user).unwrap().trim().to_owned(),
            program: Some("ssh".into()),
            config_file: Some(self.home.join(".ssh/config")),
        }
    }
}

/// A real ssh-agent, gone when dropped.
pub(crate) struct Agent {
    process: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("landfall-agent-").tempdir().unwrap();
        let socket = directory.path().join("agent");
        let process = unorphaned("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        wait_for("the agent listens", || socket.exists().then_some(()));
        Self { process, socket, _directory: directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    pub(crate) fn add(&self, key: &Path) {
        let output = Command::new("ssh-add").arg(key).env("SSH_AUTH_SOCK", &self.socket).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a key pair: ed25519, ecdsa or rsa.
pub(crate) fn generate_key(file: &Path, key_type: &str, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", key_type, "-N", passphrase, "-C", "test", "-f"]).arg(file);
    if !passphrase.is_empty() {
        // One round: what is tested is not how slow it is.
        command.args(["-a", "1"]);
    }
    let _ = fs::remove_file(file.with_extension("pub"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `SHA256:…` as OpenSSH itself computes it.
pub(crate) fn fingerprint(public: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

/// As known_hosts names a server.
fn known_name(address: Ipv4Addr, port: u16) -> String {
    if port == 22 { address.to_string() } else { format!("[{address}]:{port}") }
}

fn spawn_listener(directory: &Path, place: &Place) -> Child {
    let log = fs::File::create(directory.join("log")).unwrap();
    // sshd wants to know its own absolute path.
    let sshd = "/usr/sbin/sshd";
    let mut command = match place.network_of {
        Some(process) => {
            let mut command = unorphaned("nsenter");
            command.arg(format!("--net=/proc/{process}/ns/net")).arg(sshd);
            command
        }
        None => unorphaned(sshd),
    };
    command
        .args(["-D", "-e", "-p", &place.port.to_string(), "-f"])
        .arg(directory.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A command that dies with the test, however that ends.
fn unorphaned(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
