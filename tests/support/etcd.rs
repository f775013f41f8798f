//! A real etcd of one or three members on ports of the loopback device, gone when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use landfall::shell::store::etcd::{Client, EtcdAddress, TlsFiles};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait_for;

pub(crate) struct Etcd {
    directory: TempDir,
    members: Vec<Member>,
    cluster: String,
    quota: Option<u64>,
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

/// A port that nobody has at this moment.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Etcd {
    pub(crate) fn start(members: usize) -> Self {
        Self::start_with(members, None)
    }

    /// `quota`: bytes that its database may have.
    pub(crate) fn start_with(members: usize, quota: Option<u64>) -> Self {
        let ports = free_ports(members * 2);
        let members: Vec<Member> =
            ports.chunks(2).map(|ports| Member { client: ports[0], peer: ports[1], process: None }).collect();
        let peer = |(number, member): (usize, &Member)| format!("m{number}=http://127.0.0.1:{}", member.peer);
        let cluster = members.iter().enumerate().map(peer).collect::<Vec<_>>().join(",");
        let mut etcd = Self { directory: tempfile::tempdir().unwrap(), members, cluster, quota };
        for number in 0..etcd.members.len() {
            etcd.run(number);
        }
        wait_for("etcd answers", || etcd.ctl(&["endpoint", "health"]).then_some(()));
        etcd
    }

    pub(crate) fn run(&mut self, number: usize) {
        let member = &mut self.members[number];
        let (client, peer) =
            (format!("http://127.0.0.1:{}", member.client), format!("http://127.0.0.1:{}", member.peer));
        let log = File::create(self.directory.path().join(format!("{number}.log"))).unwrap();
        let mut command = Command::new("etcd");
        command
            .args(["--name", &format!("m{number}"), "--data-dir"])
            .arg(self.directory.path().join(number.to_string()));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &self.cluster, "--heartbeat-interval", "100", "--election-timeout", "1000"]);
        if let Some(quota) = self.quota {
            command.args(["--quota-backend-bytes", &quota.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        member.process = Some(command.spawn().expect("etcd is installed (Debian: etcd-server)"));
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

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// `etcd://127.0.0.1:…`
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("etcd://{}/landfall", hosts.join(","))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(EtcdAddress::parse(&self.url(), TlsFiles::default(), None).unwrap())
    }

    /// Whether `etcdctl` succeeds.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> bool {
        self.ctl_output(arguments).status.success()
    }

    pub(crate) fn ctl_output(&self, arguments: &[&str]) -> std::process::Output {
        let hosts: Vec<String> = self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &hosts.join(","), "--dial-timeout", "2s"]).args(arguments);
        command.output().expect("etcdctl is installed (Debian: etcd-client)")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }
}
