//! A real etcd of one or three members on ports of the loopback device, gone when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use landfall::shell::store::etcd::{Client, EtcdAddress, TlsFiles};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::authority::{Authority, Certified};
use super::lan::{Lan, Seat};
use super::relay::Relay;
use super::wait_for;

pub(crate) struct Etcd {
    directory: TempDir,
    members: Vec<Member>,
    setup: Setup,
    tls: Option<Tls>,
}

/// What kind of cluster.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    pub(crate) members: usize,
    /// Bytes that its database may have.
    pub(crate) quota: Option<u64>,
    /// Clients have to show a certificate.
    pub(crate) tls: bool,
    /// Each member is on a machine of its own, as far as the network goes, and can be cut off from others.
    pub(crate) apart: bool,
}

struct Tls {
    authority: Authority,
    server: Certified,
    client: Certified,
}

struct Member {
    /// Where clients and other members reach it.
    address: Ipv4Addr,
    client: u16,
    peer: u16,
    process: Option<Child>,
    home: Option<Home>,
}

/// A network namespace with a cable to the others' bridge. Clients come by the relay.
struct Home {
    keeper: Child,
    _seat: Seat,
    relay: Relay,
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A port that nobody has at this moment.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Member {
    fn here(count: usize) -> Vec<Self> {
        let member = |ports: &[u16]| Self {
            address: Ipv4Addr::LOCALHOST,
            client: ports[0],
            peer: ports[1],
            process: None,
            home: None,
        };
        free_ports(count * 2).chunks(2).map(member).collect()
    }

    fn apart(count: usize) -> Vec<Self> {
        let lan = Lan::new();
        let member = |_| {
            let (keeper, seat) = lan.machine();
            let address = seat.address();
            let relay = Relay::start_between(&lan, (address, 2379));
            let home = Some(Home { keeper, _seat: seat, relay });
            Self { address, client: 2379, peer: 2380, process: None, home }
        };
        (0..count).map(member).collect()
    }

    /// Of the loopback device of whoever runs the tests.
    fn port(&self) -> u16 {
        self.home.as_ref().map_or(self.client, |home| home.relay.address().1)
    }

    fn command(&self, program: &str) -> Command {
        let Some(home) = &self.home else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", home.keeper.id())).arg(program);
        command
    }

    /// Has the member's kernel throw away what it sends there, or send it again.
    fn route(&self, change: &str, to: Ipv4Addr) {
        let output = self.command("ip").args(["route", change, "blackhole", &format!("{to}/32")]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Etcd {
    pub(crate) fn start(members: usize) -> Self {
        Self::start_with(Setup { members, ..Setup::default() })
    }

    pub(crate) fn start_with(setup: Setup) -> Self {
        let members = if setup.apart { Member::apart(setup.members) } else { Member::here(setup.members) };
        let tls = setup.tls.then(|| {
            let authority = Authority::new();
            // Its gateway is a client of its own.
            let (server, client) = (authority.peer("DNS:localhost,IP:127.0.0.1"), authority.client());
            Tls { authority, server, client }
        });
        let mut etcd = Self { directory: tempfile::tempdir().unwrap(), members, setup, tls };
        (0..etcd.members.len()).for_each(|number| etcd.run(number));
        etcd.answers();
        etcd
    }

    fn answers(&self) {
        wait_for("etcd answers", || self.ctl(&["endpoint", "health"]).then_some(()));
    }

    fn peer(&self, number: usize) -> String {
        let member = &self.members[number];
        format!("http://{}:{}", member.address, member.peer)
    }

    fn cluster(&self) -> String {
        let peer = |number| format!("m{number}={}", self.peer(number));
        (0..self.members.len()).map(peer).collect::<Vec<_>>().join(",")
    }

    fn data(&self, number: usize) -> PathBuf {
        self.directory.path().join(number.to_string())
    }

    pub(crate) fn run(&mut self, number: usize) {
        let (peer, cluster, data) = (self.peer(number), self.cluster(), self.data(number));
        let member = &self.members[number];
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://{}:{}", member.address, member.client);
        let log = File::create(self.directory.path().join(format!("{number}.log"))).unwrap();
        let mut command = member.command("etcd");
        command.args(["--name", &format!("m{number}"), "--data-dir"]).arg(data);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &cluster, "--heartbeat-interval", "100", "--election-timeout", "1000"]);
        if let Some(quota) = self.setup.quota {
            command.args(["--quota-backend-bytes", &quota.to_string()]);
        }
        if let Some(Tls { authority, server, .. }) = &self.tls {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority.certificate());
            command.arg("--cert-file").arg(&server.certificate).arg("--key-file").arg(&server.key);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.members[number].process = Some(command.spawn().expect("etcd is installed (Debian: etcd-server)"));
    }

    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.members[number].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        if let Some(process) = &self.members[number].process {
            let _ = kill_process(Pid::from_child(process), signal);
        }
    }

    /// From now on nothing gets from one of the members to the other, nor back. Clients reach both.
    pub(crate) fn part(&self, one: usize, other: usize) {
        self.members[one].route("add", self.members[other].address);
        self.members[other].route("add", self.members[one].address);
    }

    pub(crate) fn join(&self, one: usize, other: usize) {
        self.members[one].route("del", self.members[other].address);
        self.members[other].route("del", self.members[one].address);
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.members.iter().map(Member::port).collect()
    }

    fn hosts(&self) -> String {
        self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// `etcd://127.0.0.1:…`
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/landfall", if self.tls.is_some() { "etcds" } else { "etcd" }, self.hosts())
    }

    /// What clients show.
    pub(crate) fn tls(&self) -> TlsFiles {
        self.tls.as_ref().map_or_else(TlsFiles::default, |tls| TlsFiles {
            ca: Some(tls.authority.certificate()),
            certificate: Some(tls.client.certificate.clone()),
            key: Some(tls.client.key.clone()),
        })
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(EtcdAddress::parse(&self.url(), self.tls(), None).unwrap())
    }

    /// Whether `etcdctl` succeeds.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> bool {
        self.ctl_output(arguments).status.success()
    }

    pub(crate) fn ctl_output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.hosts(), "--dial-timeout", "2s"]);
        if let Some(Tls { authority, client, .. }) = &self.tls {
            command.arg("--cacert").arg(authority.certificate());
            command.arg("--cert").arg(&client.certificate).arg("--key").arg(&client.key);
        }
        command.args(arguments).output().expect("etcdctl is installed (Debian: etcd-client)")
    }

    /// What the members have agreed on so far, whether or not it changed anything: the most that one of them has counted.
    pub(crate) fn proposals(&self) -> u64 {
        let counted = |port: u16| {
            let url = format!("http://127.0.0.1:{port}/metrics");
            let output = Command::new("curl").args(["--silent", "--fail", &url]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let line = text.lines().find_map(|it| it.strip_prefix("etcd_server_proposals_committed_total "));
            line.map_or_else(|| panic!("{text}"), |it| it.parse::<f64>().unwrap() as u64)
        };
        self.ports().into_iter().map(counted).max().unwrap()
    }

    /// Of a cluster of one: a file that it can be brought back from.
    pub(crate) fn snapshot(&self) -> PathBuf {
        let file = self.directory.path().join("snapshot");
        let output = self.ctl_output(&["snapshot", "save", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        file
    }

    /// Everything is as it was, at once.
    pub(crate) fn restore(&mut self, snapshot: &Path) {
        let cluster = self.cluster();
        for number in 0..self.members.len() {
            self.kill(number);
            let (data, peer) = (self.data(number), self.peer(number));
            std::fs::remove_dir_all(&data).unwrap();
            let mut command = Command::new("etcdctl");
            command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(snapshot);
            command.args(["--name", &format!("m{number}"), "--initial-cluster", &cluster]);
            command.args(["--initial-advertise-peer-urls", &peer, "--data-dir"]).arg(data);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        (0..self.members.len()).for_each(|number| self.run(number));
        self.answers();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }
}
