//! The Docker CLI, which deploys stacks on a Swarm: Compose itself knows none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use super::run::{Input, operate};
use super::socket::Socket;
use super::{Ran, numbers, undirected};
use crate::core::workload::stack_file::{StackFile, StackFileContent};
use crate::shell::engine::Writer;
use crate::shell::program::ask;

/// The oldest that reads stack files of version 3.9.
const OLDEST: u32 = 20;
/// The first that reads those of version 3.12.
const RECENT: u32 = 25;
/// Between two looks whether a pipe is read.
const LOOK: Duration = Duration::from_millis(10);
/// For a list, or a removal that waits for nothing.
const SHORT: Duration = Duration::from_secs(60);

/// The Docker CLI of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cli {
    pub version: String,
}

/// What `docker stack deploy` is to do.
#[derive(Debug)]
pub struct Deployment<'a> {
    pub project: &'a str,
    pub file: &'a StackFile,
    /// Name of the destination's network, where the services are on it.
    pub network: Option<&'a str>,
    pub prune: bool,
    /// The registry is asked what each tag stands for; else those stay that run.
    pub moved: bool,
    /// After which it is ended.
    pub limit: Duration,
}

impl Cli {
    /// How to come by it.
    pub const INSTALL: &str = "install the Docker CLI on the machine that Landfall runs on: the package docker-ce-cli of Docker's repositories, or docker-cli of Debian; it \
                               needs no daemon there";

    /// The error says what was found instead.
    pub fn find() -> Result<Self, String> {
        let missing = || "the Docker CLI, `docker`, is not installed".to_owned();
        let answer = ask(undirected("docker").arg("--version")).map_err(|_| missing())?;
        let words = answer.stdout.split_whitespace().skip_while(|word| *word != "version").nth(1).unwrap_or_default();
        let version = words.trim_end_matches(',').to_owned();
        match numbers(&version) {
            Some((major, _)) if answer.success && major >= OLDEST => Ok(Self { version }),
            Some(_) if answer.success => Err(format!("`docker` is version {version}, and {OLDEST}.10 is needed")),
            _ => Err(missing()),
        }
    }

    fn is_recent(&self) -> bool {
        numbers(&self.version).is_some_and(|(major, _)| major >= RECENT)
    }

    /// Deploys a stack, and does not wait for its tasks. Credentials for the registries go along, as the CLI has them.
    pub async fn deploy(
        &self,
        deployment: Deployment<'_>,
        engine: &dyn Writer,
        step: &(dyn Fn(&str) + Sync),
    ) -> io::Result<Ran> {
        let socket = Socket::open()?;
        let Deployment { project, file, network, prune, moved, limit } = deployment;
        let pipes = pipes(socket.directory(), &file.files)?;
        let mut command = tokio::process::Command::from(undirected("docker"));
        command.args(["stack", "deploy", "--compose-file", "-", "--with-registry-auth"]);
        command.args(["--resolve-image", if moved { "always" } else { "changed" }]);
        command.args(prune.then_some("--prune")).arg(project);
        let text = Some(file.expose(network, socket.directory(), self.is_recent()));
        let fed = async {
            join_all(pipes.iter().zip(&file.files).map(|(pipe, file)| feed(pipe, file))).await;
            std::future::pending().await
        };
        operate(command, &socket, Input { text, limit }, engine, step, fed).await
    }

    /// Removes services, networks, secrets and configs of a stack, as far as nothing uses them.
    pub async fn remove(&self, project: &str, engine: &dyn Writer, step: &(dyn Fn(&str) + Sync)) -> io::Result<Ran> {
        self.run(&["stack", "rm", project], SHORT, engine, step).await
    }

    /// Removes configs or secrets of a stack by their names. One that is in use stays.
    pub async fn discard(&self, kind: &str, names: &[String], engine: &dyn Writer) -> io::Result<Ran> {
        let words: Vec<&str> = [kind, "rm"].into_iter().chain(names.iter().map(String::as_str)).collect();
        self.run(&words, SHORT, engine, &|_| {}).await
    }

    /// Names of the configs or secrets that carry a label.
    pub async fn list(&self, kind: &str, label: &str, engine: &dyn Writer) -> io::Result<Vec<String>> {
        let words = [kind, "ls", "--filter", &format!("label={label}"), "--format", "{{.Name}}"];
        let ran = self.run(&words, SHORT, engine, &|_| {}).await?;
        let is_name = |line: &String| !line.is_empty() && !line.contains(char::is_whitespace);
        Ok(ran.talk.into_iter().filter(|line| ran.success && is_name(line)).collect())
    }

    /// Has every task of a service replaced, and does not wait for that.
    pub async fn restart(&self, service: &str, engine: &dyn Writer) -> io::Result<Ran> {
        self.run(&["service", "update", "--force", "--detach", "--quiet", service], SHORT, engine, &|_| {}).await
    }

    async fn run(
        &self,
        words: &[&str],
        limit: Duration,
        engine: &dyn Writer,
        step: &(dyn Fn(&str) + Sync),
    ) -> io::Result<Ran> {
        let socket = Socket::open()?;
        let mut command = tokio::process::Command::from(undirected("docker"));
        command.args(words);
        operate(command, &socket, Input { text: None, limit }, engine, step, std::future::pending()).await
    }
}

/// A pipe for each file, which only this user can read: what is secret is on no disk.
fn pipes(directory: &Path, files: &[StackFileContent]) -> io::Result<Vec<PathBuf>> {
    let paths = (0..files.len()).map(|number| directory.join(number.to_string()));
    paths
        .map(|path| {
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            Ok(path)
        })
        .collect()
}

/// Writes a file to its pipe, once: the program reads each of them once. One that is never read is waited for until the program has ended.
async fn feed(pipe: &Path, file: &StackFileContent) {
    loop {
        match pipe::OpenOptions::new().open_sender(pipe) {
            Ok(mut sender) => {
                // One that ends before it has read all says why itself.
                let _ = sender.write_all(file.expose()).await;
                return;
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
