//! The transcripts in the documentation: the commands are run against a real daemon, and what they print is what the pages say.
//! `UPDATE_DOCS=1` writes the pages anew.

mod blocks;
mod data;
mod place;
mod running;
mod walks;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::cli::run::{command, finish};
use crate::documents::generated;
use crate::support::Host;

/// The one difference between the pages and the test: a reader's daemon listens on the default socket.
const SERVER: &str = "\
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec:
  proxy: { container: traefik, type: Traefik }
";

const SHOP: &str = "\
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec:
  server: edge-1
  network:
    name: web-net
    subnets: [{ subnet: 10.42.0.0/24 }]
---
apiVersion: landfall/v1
kind: Application
metadata: { name: frontend }
spec:
  destination: web
  containers: { names: [frontend] }
  endpoint: { aliases: [www], ipv4Address: 10.42.0.10 }
";

#[test]
fn the_pages_show_what_the_commands_print() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    let directory = tempfile::tempdir().unwrap();
    let manifests = directory.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("edge-1.yaml"), format!("{SERVER}  endpoint: {}\n", host.endpoint())).unwrap();
    fs::write(manifests.join("shop.yaml"), SHOP).unwrap();

    let run = |line: &str, code: i32| transcript(directory.path(), line, code);
    let mut readme = format!("```yaml\n{SERVER}---\n{SHOP}```\n\n```console\n");
    readme += &[run("diff", 1), run("apply", 0), run("diff", 0)].join("\n");
    readme += "```\n\nDisconnect the proxy by hand, then try to delete what is in use:\n\n```console\n";
    readme += "$ docker network disconnect web-net traefik\n";
    let reference = format!(
        "```yaml\n{SHOP}```\n\n```console\n{}```\n",
        [run("get destinations", 0), run("describe destination web", 0)].join("\n")
    );

    host.disconnect("web-net", "traefik");
    readme += &[run("drift", 1), run("apply", 0), run("delete destination web", 3), run("diff", 0)].join("\n");
    readme += "```\n";

    generated("README.md", "transcript", &readme);
    generated("docs/reference/destination.md", "destination", &reference);
}

/// A command and all it prints, standard error included.
#[track_caller]
fn transcript(directory: &Path, line: &str, code: i32) -> String {
    // A state of its own: what other commands of the machine have left behind is nobody's business here.
    let state = directory.join("state");
    let mut command = command();
    command.current_dir(directory).env("XDG_STATE_HOME", state).args(line.split(' '));
    let ran = finish(&mut command, "").expect(code);
    let mut text = format!("$ landfall {line}\n");
    for line in ran.stdout.lines().chain(ran.stderr.lines()) {
        writeln!(text, "{}", settled(line)).unwrap();
    }
    text
}

/// What changes from one run to the next: ids, times and ages.
fn settled(line: &str) -> String {
    let words = line.trim_end().split(' ').map(|word| {
        if let Some((before, rest)) = word.split_once('\t') {
            return format!("{}\t{}", settled(before), settled(rest));
        }
        let bare = word.trim_matches(['(', ')']);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let settled = if bare.len() >= 12 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
            match bare.len() {
                64 => "4f9d3a1c7be2b05d6e8f1a2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60",
                _ => "4f9d3a1c7be2",
            }
        } else if bare.len() > 19 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T' && digits(&bare[..4]) {
            "2026-11-22T20:05:10Z"
        } else if bare.strip_suffix('s').is_some_and(digits) {
            "2s"
        } else {
            bare
        };
        // Columns stay where they are.
        let width = if settled == "2s" { word.len() } else { 0 };
        format!("{:<width$}", word.replace(bare, settled))
    });
    words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}
