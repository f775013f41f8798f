//! Servers `edge-1`, `edge-2`, … with a destination each, reached over SSH from the place where commands run.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::cli::run::{Ran, clean, finish};
use crate::support::relay::Tap;
use crate::support::sshd::{Client, Sshd};
use crate::support::{Host, Lan};

pub(super) struct Fleet {
    pub(super) lan: Lan,
    pub(super) client: Client,
    pub(super) edges: Vec<Edge>,
    directory: tempfile::TempDir,
}

pub(super) struct Edge {
    pub(super) host: Host,
    pub(super) sshd: Sshd,
    pub(super) tap: Tap,
    /// As its manifest has it.
    pub(super) endpoint: String,
}

impl Fleet {
    /// So many servers, whose sshds have these further options.
    pub(super) fn start(count: usize, options: &[&str]) -> Self {
        let lan = Lan::new();
        let client = Client::new();
        let hosts: Vec<Host> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..count).map(|_| scope.spawn(|| Host::builder().on(&lan).start())).collect();
            starting.into_iter().map(|starting| starting.join().unwrap()).collect()
        });
        // On this thread: an sshd ends with the thread that started it.
        let edges = hosts.into_iter().map(|host| Edge::on(host, &client, options)).collect();
        let fleet = Self { lan, client, edges, directory: tempfile::tempdir().unwrap() };
        fleet.declare();
        fleet
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the manifests: every server by its endpoint, with `web` on it.
    pub(super) fn declare(&self) {
        let manifests: String = (1..)
            .zip(&self.edges)
            .map(|(number, edge)| self.server(number, &edge.endpoint) + &destination(number, "web"))
            .collect();
        self.write(&manifests);
    }

    pub(super) fn write(&self, manifests: &str) {
        std::fs::write(self.path("all.yaml"), manifests).unwrap();
    }

    /// The manifest of the server of that number, at an endpoint over SSH.
    pub(super) fn server(&self, number: usize, endpoint: &str) -> String {
        format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-{number} }}\nspec:\n  endpoint: {endpoint}\n  \
             ssh: {{ identityFile: {}, knownHosts: {}/.ssh/known_hosts }}\n---\n",
            self.client.key().display(),
            self.client.home().display(),
        )
    }

    /// Runs the binary with `-f` its manifests, where the servers are reached.
    pub(super) fn run(&self, arguments: &str) -> Ran {
        let mut command = clean(self.lan.inside(env!("CARGO_BIN_EXE_landfall")));
        command.current_dir(self.directory.path()).env("XDG_STATE_HOME", self.path("state"));
        finish(command.args(arguments.split(' ')).args(["-f", "all.yaml"]), "")
    }

    /// Everything is as declared: one network on every server, and nothing left to do.
    #[track_caller]
    pub(super) fn expect_converged(&self) {
        self.run("diff").expect(0);
        for (number, edge) in (1..).zip(&self.edges) {
            assert_eq!(edge.host.network_ids("web-net").len(), 1, "edge-{number}");
        }
    }
}

impl Edge {
    fn on(host: Host, client: &Client, options: &[&str]) -> Self {
        let mut builder = Sshd::builder().client(client).on(&host);
        for option in options {
            builder = builder.option(*option);
        }
        let sshd = builder.start();
        let tap = Tap::on(host.socket());
        let endpoint = over_ssh((host.address(), sshd.port()), &tap);
        Self { host, sshd, tap, endpoint }
    }

    pub(super) fn networks(&self) -> usize {
        self.host.network_ids("web-net").len()
    }
}

pub(super) fn over_ssh((address, port): (Ipv4Addr, u16), tap: &Tap) -> String {
    format!("ssh://{address}:{port}{}", tap.socket().display())
}

/// The manifest of a destination on the server of that number, with a network of its name.
pub(super) fn destination(number: usize, name: &str) -> String {
    let own = if name == "web" { format!("web-{number}") } else { name.to_owned() };
    format!(
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {own} }}\n\
         spec: {{ server: edge-{number}, network: {{ name: {name}-net }} }}\n---\n"
    )
}
