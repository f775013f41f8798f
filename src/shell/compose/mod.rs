//! Docker Compose, the program: where it is, what it makes of compose files, and how it is run against a daemon.

mod read;
mod run;
mod socket;
mod stack;

use std::ffi::OsStr;
use std::process::Command;

pub use read::{files, inputs, lend, read, words};
pub use run::{Ran, Work};
pub use stack::{Cli, Deployment};

use crate::shell::program::ask;

/// The first version that says what is under way as JSON.
const TELLS_JSON: (u32, u32) = (2, 29);

/// How to come by it.
pub const INSTALL: &str = "install Docker Compose 2 on the machine that Landfall runs on: the package docker-compose-plugin of Docker's repositories, \
                           docker-compose of Debian 13 or later, or a release of github.com/docker/compose as `docker-compose` in PATH";

/// The Docker Compose of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// `docker compose`, or `docker-compose`.
    words: &'static [&'static str],
    pub version: String,
}

impl Program {
    /// The plugin of the Docker CLI, else the program of its own. The error says what was found instead.
    pub fn find() -> Result<Self, String> {
        let mut found = Vec::new();
        for words in [&["docker", "compose"] as &[&str], &["docker-compose"]] {
            let program = Self { words, version: String::new() };
            let Ok(answer) = ask(program.command().args(["version", "--short"])) else { continue };
            let version = answer.stdout.trim().trim_start_matches('v').to_owned();
            match numbers(&version) {
                Some((major, _)) if answer.success && major >= 2 => return Ok(Self { words, version }),
                Some(_) if answer.success => found.push(format!("`{}` is version {version}", words.join(" "))),
                _ => {}
            }
        }
        Err(match found.as_slice() {
            [] => "neither `docker compose` nor `docker-compose` is installed".to_owned(),
            found => format!("{}, and 2 is needed", found.join(" and ")),
        })
    }

    /// As it is called: `docker compose`.
    pub fn name(&self) -> String {
        self.words.join(" ")
    }

    /// Without what the environment says of daemons and projects: the manifest says it.
    fn command(&self) -> Command {
        let mut command = undirected(self.words.first().copied().unwrap_or("docker-compose"));
        command.args(self.words.iter().skip(1));
        command
    }

    fn tells_json(&self) -> bool {
        numbers(&self.version).is_some_and(|version| version >= TELLS_JSON)
    }
}

/// A program without what the environment says of daemons and projects.
fn undirected(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if is_about_another(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn is_about_another(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("COMPOSE_")
        || matches!(&*name, "DOCKER_HOST" | "DOCKER_CONTEXT" | "DOCKER_TLS" | "DOCKER_TLS_VERIFY" | "DOCKER_CERT_PATH")
}

/// Major and minor.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(numbers("2.40.3"), Some((2, 40)));
        assert_eq!(numbers("5.0.0-rc.1"), Some((5, 0)));
        assert_eq!(numbers("2.40.3+ds1-0ubuntu1"), Some((2, 40)));
        assert_eq!(numbers("1.29.2"), Some((1, 29)));
        assert_eq!(numbers(""), None);
        assert!(numbers("2.9.0") < Some(TELLS_JSON));
    }

    #[test]
    fn what_the_environment_says_of_other_daemons_and_projects_is_left_out() {
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "COMPOSE_FILE", "COMPOSE_PROFILES"] {
            assert!(is_about_another(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "DOCKER_CONFIG", "HTTPS_PROXY", "TAG"] {
            assert!(!is_about_another(OsStr::new(name)), "{name}");
        }
    }
}
