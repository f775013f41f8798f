//! Contexts as the docker program makes and uses them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::fleet::destination;
use crate::cli::run::{Ran, clean, finish};
use crate::support::authority::{Authority, Certified, Validity, text};
use crate::support::sshd::Sshd;
use crate::support::{Host, Lan};

/// One daemon that is reached by its socket, by TLS and over SSH, and a directory for `DOCKER_CONFIG` and manifests.
struct World {
    lan: Lan,
    host: Host,
    sshd: Sshd,
    directory: tempfile::TempDir,
}

impl World {
    fn start(authority: &Authority) -> Self {
        let lan = Lan::new();
        let Certified { certificate, key } = authority.server("IP:10.99.0.2", Validity::Now);
        let host = Host::builder()
            .on(&lan)
            .argument("--tlsverify")
            .argument(&format!("--tlscacert={}", text(&authority.certificate())))
            .argument(&format!("--tlscert={}", text(&certificate)))
            .argument(&format!("--tlskey={}", text(&key)))
            .argument("-H=tcp://10.99.0.2:2376")
            .start();
        assert_eq!(host.address().to_string(), "10.99.0.2");
        let sshd = Sshd::builder().on(&host).start();
        let directory = tempfile::tempdir().unwrap();
        // A context has no settings for SSH; the ssh program that is found first has a configuration of its own.
        let ssh = directory.path().join("ssh");
        let config = sshd.client().home().join(".ssh/config");
        std::fs::write(&ssh, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display())).unwrap();
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { lan, host, sshd, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn docker(&self, arguments: &[&str]) {
        let output = Command::new("docker").args(arguments).env("DOCKER_CONFIG", self.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `landfall` with a server at that context.
    fn run(&self, command: &str, context: &str, environment: &[(&str, &str)]) -> Ran {
        self.run_on(command, context, environment, &destination(1, "web"))
    }

    fn run_with_subnet(&self, command: &str, context: &str, subnet: &str) -> Ran {
        let network = format!("name: web-net, subnets: [{{ subnet: {subnet} }}]");
        self.run_on(command, context, &[], &destination(1, "web").replace("name: web-net", &network))
    }

    fn run_on(&self, command: &str, context: &str, environment: &[(&str, &str)], destination: &str) -> Ran {
        let manifests = format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-1 }}\nspec: {{ endpoint: 'context://{context}' }}\n---\n{destination}"
        );
        std::fs::write(self.path().join("all.yaml"), manifests).unwrap();
        let mut landfall = clean(self.lan.inside(env!("CARGO_BIN_EXE_landfall")));
        let path = format!("{}:{}", self.path().display(), std::env::var("PATH").unwrap());
        landfall.current_dir(self.path()).env("XDG_STATE_HOME", self.path().join("state")).env("PATH", path);
        landfall.env("DOCKER_CONFIG", self.path()).envs(environment.iter().copied());
        finish(landfall.args([command, "-f", "all.yaml"]), "")
    }
}

#[test]
fn contexts_lead_where_docker_goes_with_them() {
    let authority = Authority::new();
    let world = World::start(&authority);
    let Certified { certificate, key } = authority.client();
    let local = format!("unix://{}", world.host.socket().display());
    let ssh = format!("ssh://{}:{}{}", world.host.address(), world.sshd.port(), world.host.socket().display());
    let tls = format!(
        "host=tcp://10.99.0.2:2376,ca={},cert={},key={}",
        text(&authority.certificate()),
        text(&certificate),
        text(&key)
    );
    world.docker(&["context", "create", "local", "--docker", &format!("host={local}")]);
    world.docker(&["context", "create", "certified", "--docker", &tls]);

    world.run("apply", "local", &[]).expect(0);
    // The others see what was done there: it is the same daemon.
    assert_eq!(world.host.network_ids("web-net").len(), 1);
    world.run("diff", "certified", &[]).expect(0);

    // What is current is what docker would use.
    world.docker(&["context", "use", "certified"]);
    world.run("diff", "current", &[]).expect(0);
    world.run("diff", "current", &[("DOCKER_CONTEXT", "local")]).expect(0);
    world.run("diff", "current", &[("DOCKER_HOST", &local), ("DOCKER_CONTEXT", "nowhere")]).expect(0);
    let over_ssh = world.run("diff", "current", &[("DOCKER_HOST", &ssh)]).expect(0);
    assert_eq!(world.sshd.connections(), 1, "{over_ssh}");

    for (context, environment, words) in [
        ("nowhere", None, "there is no Docker context \"nowhere\""),
        ("current", Some(("DOCKER_CONTEXT", "nowhere")), "there is no Docker context \"nowhere\""),
        ("current", Some(("DOCKER_HOST", "tcp://10.99.0.2:2375")), "plain TCP is not used on a context's word"),
    ] {
        let ran = world.run("diff", context, environment.as_slice()).expect(2);
        assert!(ran.stderr.contains(words), "{words}\n{ran}");
        assert!(ran.stderr.contains("docker context ls"), "{ran}");
    }
}

/// The manifest has no address; the connection has two.
#[test]
fn a_subnet_with_the_servers_own_address_is_refused_by_whichever_way_it_is_reached() {
    let authority = Authority::new();
    let world = World::start(&authority);
    let Certified { certificate, key } = authority.client();
    let ssh = format!("ssh://{}:{}{}", world.host.address(), world.sshd.port(), world.host.socket().display());
    let tls = format!(
        "host=tcp://10.99.0.2:2376,ca={},cert={},key={}",
        text(&authority.certificate()),
        text(&certificate),
        text(&key)
    );
    world.docker(&["context", "create", "certified", "--docker", &tls]);
    world.docker(&["context", "create", "shell", "--docker", &format!("host={ssh}")]);
    for context in ["certified", "shell"] {
        let ran = world.run_with_subnet("apply", context, "10.99.0.0/24").expect(3);
        assert!(ran.stdout.contains("10.99.0.0/24 contains 10.99.0.2, the address by which"), "{ran}");
        assert!(ran.stdout.contains("(SubnetOverlap)"), "{ran}");
        assert_eq!(world.host.network_ids("web-net").len(), 0);
    }
    world.run_with_subnet("apply", "shell", "10.98.0.0/24").expect(0);
    assert_eq!(world.host.network_ids("web-net").len(), 1, "beside it there is room");
}

/// As above without encryption, which the manifest has to ask for and every report warns of.
#[test]
fn a_daemon_without_tls_takes_an_explicit_word_and_is_warned_about() {
    let lan = Lan::new();
    let host = Host::builder().on(&lan).argument("--tls=false").argument("-H=tcp://10.99.0.2:2375").start();
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &str, insecure: &str| {
        let server = format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-1 }}\nspec: {{ endpoint: 'tcp://{}:2375'{insecure} }}\n---\n",
            host.address()
        );
        std::fs::write(directory.path().join("all.yaml"), server + &destination(1, "web")).unwrap();
        let mut landfall = clean(lan.inside(env!("CARGO_BIN_EXE_landfall")));
        landfall.current_dir(directory.path()).env("XDG_STATE_HOME", directory.path().join("state"));
        finish(landfall.args(arguments.split(' ')).args(["-f", "all.yaml"]), "")
    };
    let refused = run("apply", "").expect(2);
    assert!(refused.stderr.contains("needs `tls` or `insecure: true`"), "{refused}");
    assert_eq!(host.network_ids("web-net").len(), 0);
    for (arguments, code) in
        [("diff", 1), ("apply", 0), ("diff", 0), ("diff -o json", 0), ("drift", 0), ("drift -o markdown", 0)]
    {
        let ran = run(arguments, ", insecure: true").expect(code);
        assert!(
            ran.stdout.contains("InsecureTransport") && ran.stdout.contains("neither encryption nor"),
            "{arguments}\n{ran}"
        );
    }
    assert_eq!(host.network_ids("web-net").len(), 1);
}
