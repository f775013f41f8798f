//! Manifests in a directory of their own, for one run of the binary or several.

use std::path::Path;
use std::process::Command;

use super::run::{Ran, command, finish};

/// A directory to run in, with `manifests/` and a place for journals.
pub(crate) struct World {
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(manifests: &str) -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.path().join("manifests")).unwrap();
        world.write("manifests/all.yaml", manifests);
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        // At once: a controller that watches the directory reads the former content or this, and never the half of it.
        let path = self.path().join(name);
        let path = path.canonicalize().unwrap_or(path);
        let beside = self.path().join(".written");
        std::fs::write(&beside, content).unwrap();
        if let Ok(before) = std::fs::metadata(&path) {
            std::fs::set_permissions(&beside, before.permissions()).unwrap();
        }
        std::fs::rename(beside, path).unwrap();
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.run_with_input(arguments, "")
    }

    /// The command with that environment.
    pub(crate) fn run_with(&self, environment: &[(&str, &str)], arguments: &str) -> Ran {
        let mut command = self.command(arguments);
        finish(command.envs(environment.iter().copied()), "")
    }

    /// The same as a shell takes it.
    pub(crate) fn command_line(&self, arguments: &str) -> String {
        let program = command().get_program().to_string_lossy().into_owned();
        let path = self.path().display();
        format!("cd '{path}' && XDG_STATE_HOME='{path}/state' '{program}' {arguments}")
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let state = self.path().join("state");
        let mut command = command();
        command.current_dir(self.path()).env("XDG_STATE_HOME", state).args(arguments.split_whitespace());
        command
    }

    /// With a terminal for everything, on which `answer` is typed.
    pub(crate) fn on_a_terminal(&self, arguments: &str, answer: &str) -> Ran {
        let mut script = Command::new("script");
        script.current_dir(self.path()).env("XDG_STATE_HOME", self.path().join("state"));
        script.env("NO_COLOR", "1").env_remove("LANDFALL_MANIFESTS");
        let typed = format!("{} {arguments}", env!("CARGO_BIN_EXE_landfall"));
        finish(script.args(["--quiet", "--return", "--command", &typed, "/dev/null"]), answer)
    }

    /// `arguments` are separated by spaces.
    pub(crate) fn run_with_input(&self, arguments: &str, input: &str) -> Ran {
        finish(&mut self.command(arguments), input)
    }
}

/// A server with a proxy and nothing else.
pub(crate) fn server(endpoint: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge, namespace: infra }}
spec:
  endpoint: {endpoint}
  allowedNamespaces: ['*']
  proxy: {{ container: traefik }}
"
    )
}

/// Destinations `web` and `data` in the namespace `shop`, with an application on both and a database on one.
pub(crate) const SHOP: &str = "---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web, namespace: shop, labels: { tier: front } }
spec:
  server: infra/edge
  network: { name: web-net, subnets: [{ subnet: 10.42.0.0/24 }] }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: data, namespace: shop }
spec:
  server: infra/edge
  network: { name: data-net }
  proxy: false
---
apiVersion: landfall/v1
kind: Application
metadata: { name: frontend, namespace: shop, labels: { tier: front } }
spec:
  destination: web
  additionalDestinations: [data]
  containers: { names: [frontend] }
  endpoint: { aliases: [www] }
---
apiVersion: landfall/v1
kind: Database
metadata: { name: orders, namespace: shop }
spec:
  destination: data
  containers: { labels: { app: orders } }
";
