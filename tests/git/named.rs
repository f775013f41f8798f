//! Files that manifests name: with `--git` they are the repository's, of the commit that is in force.

use std::path::Path;

use landfall::core::desired::DesiredState;
use landfall::shell::git::Named;

use super::{Copy, block_on, fetch};
use crate::cli::run::{Ran, command, compose, finish};
use crate::support::repository::Upstream;
use crate::support::{Host, wait_for};

/// Below `clusters/prod`: a value, a value by way of a link, an encrypted one, and a stack of several files.
fn manifests(endpoint: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge, namespace: infra }}
spec: {{ endpoint: '{endpoint}', allowedNamespaces: ['*'] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: web-net }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: app, namespace: shop }}
spec:
  destination: web
  image: {image}
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  env:
    - {{ name: TOKEN, valueFrom: {{ file: ../values/token }} }}
    - {{ name: LINKED, valueFrom: {{ file: ../values/linked }} }}
    - {{ name: SEALED, valueFrom: {{ sops: {{ file: ../values/sealed.enc, key: key }} }} }}
---
apiVersion: landfall/v1
kind: Service
metadata: {{ name: cms, namespace: shop }}
spec:
  destination: web
  compose: {{ project: cms, file: ../stack/compose.yaml, healthTimeoutSeconds: 60 }}
",
        image = crate::support::host::IMAGE
    )
}

const STACK: &str = "include: [parts/second.yaml]
services:
  web:
    extends: { file: ../common/base.yml, service: base }
    env_file: variables
    environment: { VERSION: '${VERSION}' }
";
const BASE: &str = "services:
  base: { image: landfall/busybox:test, command: [sleep, '1000000'], stop_signal: SIGKILL }
";
const SECOND: &str = "services:
  second: { extends: { file: ../../common/base.yml, service: base } }
";

fn upstream(endpoint: &str) -> Upstream {
    let upstream = Upstream::with(&[
        ("clusters/prod/manifests/all.yaml", &manifests(endpoint)),
        ("clusters/prod/values/token", "of the commit\n"),
        ("clusters/prod/values/real", "behind the link\n"),
        ("clusters/prod/values/sealed.enc", "{\"key\": \"unsealed\"}"),
        ("clusters/prod/stack/compose.yaml", STACK),
        ("clusters/prod/stack/variables", "OF_FILE=first\n"),
        ("clusters/prod/stack/.env", "VERSION=one\n"),
        ("clusters/prod/stack/parts/second.yaml", SECOND),
        ("clusters/prod/common/base.yml", BASE),
        // Other tools' files, and large ones, are not in the way.
        ("clusters/prod/.landfallignore", "stack/\ncommon/\n"),
        ("image.bin", &"x".repeat(3 << 20)),
    ]);
    std::os::unix::fs::symlink("real", upstream.work_tree().join("clusters/prod/values/linked")).unwrap();
    upstream.commit_with(&[]);
    upstream
}

/// Files of the same names where the command runs: nothing of theirs counts.
fn decoys(directory: &Path) {
    for (name, content) in [
        ("clusters/prod/values/token", "of the working directory"),
        ("clusters/prod/values/linked", "of the working directory"),
        ("clusters/prod/values/sealed.enc", "{\"key\": \"of the working directory\"}"),
        ("clusters/prod/stack/compose.yaml", "services: { web: { image: decoy } }"),
    ] {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn environment(host: &Host, container: &str) -> Vec<String> {
    let environment = host.inspect(container)["Config"]["Env"].clone();
    serde_json::from_value(environment).unwrap()
}

#[track_caller]
fn has(host: &Host, container: &str, variable: &str) {
    let found = environment(host, container);
    assert!(found.iter().any(|it| it == variable), "{variable} of {container}: {found:?}");
}

struct Commands {
    home: tempfile::TempDir,
}

impl Commands {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        decoys(home.path());
        let bin = home.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        // Decrypts what is not encrypted: `sops --decrypt --output-type json -- FILE`.
        std::fs::write(bin.join("sops"), "#!/bin/sh\nexec cat \"$5\"\n").unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(bin.join("sops"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { home }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = command();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{path}", self.home.path().join("bin").display(), compose().display());
        command.current_dir(self.home.path()).env("PATH", path);
        command.env("XDG_STATE_HOME", self.home.path().join("state")).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments), "")
    }
}

#[test]
fn what_manifests_name_is_read_from_the_commit_and_not_from_where_the_command_runs() {
    let host = Host::start();
    let _ = host.container("none");
    let upstream = upstream(&host.endpoint());
    let bare = upstream.bare().display().to_string();
    let commands = Commands::new();
    let git = ["--git", &bare, "--path", "clusters/prod"];
    let run = |verb: &[&str]| commands.run(&[verb, &git].concat());
    run(&["apply", "--yes"]).expect(0);
    has(&host, "shop-app-1", "TOKEN=of the commit");
    has(&host, "shop-app-1", "LINKED=behind the link");
    has(&host, "shop-app-1", "SEALED=unsealed");
    has(&host, "cms-web-1", "OF_FILE=first");
    has(&host, "cms-web-1", "VERSION=one");
    assert!(!host.inspect("cms-second-1")["Id"].is_null());
    run(&["diff"]).expect(0);
    // The next commit is written out elsewhere, and what is as it was stays as it is.
    let before = host.inspect("cms-web-1")["Id"].clone();
    upstream.commit(&[("clusters/prod/values/token", "of the next commit\n")]);
    let planned = run(&["diff"]).expect(1);
    assert!(planned.stdout.contains("env TOKEN"), "{planned}");
    run(&["apply", "--yes"]).expect(0);
    has(&host, "shop-app-1", "TOKEN=of the next commit");
    assert_eq!(host.inspect("cms-web-1")["Id"], before);
    let labels = host.inspect("cms-web-1")["Config"]["Labels"].to_string();
    assert!(!labels.contains("/checkouts/"), "a directory that is gone by now: {labels}");
}

#[test]
fn a_commit_that_changes_nothing_but_a_file_that_is_named_comes_into_force() {
    let host = Host::start();
    let _ = host.container("none");
    let upstream = upstream(&host.endpoint());
    let commands = Commands::new();
    let bare = upstream.bare().display().to_string();
    let run = ["run", "--git", &bare, "--path", "clusters/prod", "--interval", "2s", "--listen", "127.0.0.1:0"];
    let mut running = commands.command(&run).spawn().unwrap();
    // The container of the moment: while one takes the place of another, there is none of the name.
    let until = |container: &str, variable: &str| {
        let quoted = format!("\"{variable}\"");
        wait_for(variable, || {
            let answer = host.api("GET", &format!("/containers/{container}/json"), &serde_json::Value::Null);
            answer.body.to_string().contains(&quoted).then_some(())
        });
    };
    until("shop-app-1", "TOKEN=of the commit");
    until("cms-web-1", "OF_FILE=first");
    upstream
        .commit(&[("clusters/prod/values/token", "rotated\n"), ("clusters/prod/stack/variables", "OF_FILE=second\n")]);
    until("shop-app-1", "TOKEN=rotated");
    until("cms-web-1", "OF_FILE=second");
    // A commit whose file is too large is not in force, and the next one is another try though the manifests are the same.
    upstream.commit(&[("clusters/prod/values/token", &"x".repeat((1 << 20) + 1))]);
    let events = || commands.run(&["events"]).stdout;
    wait_for("the commit is refused", || events().contains("larger than 1 MiB").then_some(()));
    upstream.commit(&[("clusters/prod/values/token", "small again\n")]);
    until("shop-app-1", "TOKEN=small again");
    // A file that is gone is a problem of that commit, which says so; what runs goes on.
    upstream.work(&["rm", "--quiet", "clusters/prod/values/token"]);
    upstream.commit_with(&[]);
    let get = || commands.run(&["describe", "application", "app", "-n", "shop"]);
    wait_for("the missing file", || get().stdout.contains("values/token").then_some(()));
    until("shop-app-1", "TOKEN=small again");
    running.kill().unwrap();
    running.wait().unwrap();
}

/// What `diff` says of one value of an application, the file being named like this.
fn refusal(file: &str, further: &[(&str, &str)], path: &str) -> String {
    let manifest = format!(
        "apiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: app }}\nspec:\n  destination: web\n  image: x\n  env:\n    \
         - {{ name: A, valueFrom: {{ file: {file} }} }}\n"
    );
    let base = "apiVersion: landfall/v1\nkind: Server\nmetadata: { name: edge }\nspec: { endpoint: 'unix:///nonexistent/docker.sock' }\n---\n\
                apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\nspec: { server: edge, network: { name: web } }\n";
    let upstream = Upstream::with(&[("prod/base.yaml", base), ("prod/app.yaml", &manifest)]);
    upstream.commit(further);
    let copy = Copy::of_path(&upstream.bare()).at(path);
    let mut repository = copy.repository();
    let checkout = std::sync::Arc::new(fetch(&mut repository).unwrap());
    let (read, problems) = checkout.read();
    assert!(problems.is_empty());
    let manifests = landfall::shell::sources::validate(&[checkout.name()], &read, problems).unwrap();
    let mut desired: DesiredState = manifests.desired("default");
    if let Err(error) = block_on(checkout.provide(&Named::by(&desired))) {
        return error.to_string();
    }
    let manifests = manifests.with_base(checkout.base());
    landfall::shell::secrets::read(&mut desired, manifests.base(), landfall::shell::secrets::Generate::No);
    let (_, destination) = desired.destinations().next().unwrap();
    let workload = destination.members[0].workload.clone().unwrap();
    let (_, value) = workload.container.values().next().unwrap();
    let secret = value.secret().unwrap();
    secret.problem().map_or_else(|| format!("read: {}", secret.expose().unwrap()), str::to_owned)
}

#[test]
fn no_way_leads_out_of_the_repository() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("passwd"), "of the machine").unwrap();
    for (file, further, path, expected) in [
        ("token", &[("prod/token", "x")][..], "", "read: x"),
        ("../shared/token", &[("shared/token", "y")], "", "read: y"),
        ("../shared/token", &[("shared/token", "y")], "prod", "outside of `--path prod`"),
        ("../../../../../../etc/passwd", &[], "", "outside of the repository"),
        ("none", &[], "", "no such file"),
        ("directory", &[("prod/directory/x", "x")], "", "cannot be read"),
        ("large", &[("prod/large", &"x".repeat((1 << 20) + 1))], "", "larger than 1 MiB"),
    ] {
        let said = refusal(file, further, path);
        assert!(said.contains(expected), "{file} of {path:?}: {said}");
        assert!(!said.contains("/checkouts/"), "{said}");
    }
}
