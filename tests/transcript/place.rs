//! A place in which blocks of the documentation are run as they stand there.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::blocks::{self, Block};
use super::settled;
use crate::cli::run::{Ran, clean, finish};
use crate::support::wait_for;

/// Where a controller listens that is not told where.
const USUAL: &str = "127.0.0.1:7420";

/// A directory with a home, a shell whose `landfall` is the one that was built, and a `docker` that speaks to the test's daemon.
pub(super) struct Place {
    directory: tempfile::TempDir,
    docker: String,
    /// What a page says, and what it is here.
    replaced: Vec<(String, String)>,
    left: RefCell<Vec<(&'static str, &'static str)>>,
    controllers: RefCell<Vec<Child>>,
}

impl Place {
    /// For the blocks that are listed for the test; `docker`: the endpoint of its daemon.
    pub(super) fn new(test: &str, docker: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["bin", "home", "manifests"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_landfall"), directory.path().join("bin/landfall")).unwrap();
        let left = RefCell::new(blocks::of_test(test));
        Self { directory, docker: docker.to_owned(), replaced: Vec::new(), left, controllers: RefCell::default() }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What the page calls `written` is called `here`, and is shown under the page's name.
    pub(super) fn stands_for(&mut self, written: &str, here: &str) {
        self.replaced.push((written.to_owned(), here.to_owned()));
    }

    /// A manifest of the page, or one that goes before it.
    pub(super) fn declare(&self, name: &str, manifests: &str) {
        fs::write(self.path().join("manifests").join(name), self.here(manifests)).unwrap();
    }

    fn here(&self, text: &str) -> String {
        self.replaced.iter().fold(text.to_owned(), |text, (written, here)| text.replace(written, here))
    }

    fn written(&self, text: &str) -> String {
        self.replaced.iter().fold(text.to_owned(), |text, (written, here)| text.replace(here, written))
    }

    /// Runs a block, command after command, each of which ends with its code. Where a page shows outputs, they are those.
    #[track_caller]
    pub(super) fn run(&self, page: &str, begins: &str, codes: &[i32]) -> Vec<Ran> {
        let block = blocks::block(page, begins);
        let before = self.left.borrow().len();
        self.left.borrow_mut().retain(|(on, first)| !(*on == page && begins.starts_with(first)));
        assert!(self.left.borrow().len() < before, "{page}: {begins}: not listed for this test, or run already");
        let commands = commands(&block);
        assert_eq!(commands.len(), codes.len(), "{page}: {begins}: {commands:#?}");
        let ran: Vec<Ran> =
            commands.iter().zip(codes).map(|(command, code)| self.command(command).expect(*code)).collect();
        if block.console {
            let shown: Vec<String> =
                commands.iter().zip(&ran).map(|(command, ran)| self.transcript(command, ran)).collect();
            let shown = shown.join("\n");
            if std::env::var_os("UPDATE_DOCS").is_some() && lasting(&block.text) != lasting(&shown) {
                block.replace(&shown);
            } else {
                assert!(
                    lasting(&block.text) == lasting(&shown),
                    "{page}: not up to date, UPDATE_DOCS=1 writes it anew. It should be:\n{shown}"
                );
            }
        }
        ran
    }

    /// The command, and all that it has printed.
    fn transcript(&self, command: &str, ran: &Ran) -> String {
        let mut text = format!("$ {command}\n");
        for line in ran.stdout.lines().chain(ran.stderr.lines()) {
            writeln!(text, "{}", settled(&self.written(line))).unwrap();
        }
        text
    }

    pub(super) fn command(&self, command: &str) -> Ran {
        if command.starts_with("landfall run ") {
            self.controllers.borrow_mut().push(self.start(command));
            return Ran { code: 0, stdout: String::new(), stderr: String::new() };
        }
        let endless =
            command.split(" #").next().unwrap_or_default().split(' ').any(|word| matches!(word, "-w" | "--follow"));
        if endless { self.until_a_line(command) } else { finish(&mut self.shell(command), "") }
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = clean(Command::new("bash"));
        let path = format!("{}:{}", self.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
        shell
            .args(["-c", &self.here(command)])
            .current_dir(self.path())
            .env("HOME", self.path().join("home"))
            .env_remove("XDG_STATE_HOME")
            .env("DOCKER_HOST", &self.docker)
            .env("PATH", path);
        shell
    }

    /// The socket of the default set.
    pub(super) fn socket(&self) -> PathBuf {
        self.path().join("home/.local/state/landfall/sets/default/landfall.sock")
    }

    /// A controller, which goes on until the place is gone.
    fn start(&self, command: &str) -> Child {
        // The usual address may be somebody's.
        let known = self.replaced.iter().any(|(written, _)| written == USUAL);
        let listen = if known { USUAL } else { "none" };
        let log = self.path().join("controller.log");
        let mut child = self
            .shell(&format!("exec {command} --listen {listen}"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let ready =
            ["-sf", "--unix-socket", self.socket().to_str().unwrap(), "http://localhost/readyz"].map(str::to_owned);
        wait_for("the controller is ready", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{command}: {}", fs::read_to_string(&log).unwrap());
            let asked = Command::new("curl").args(&ready).stdout(Stdio::null()).status().unwrap();
            asked.success().then_some(())
        });
        child
    }

    /// One that goes on until it is interrupted, which is once it has said something.
    fn until_a_line(&self, command: &str) -> Ran {
        let mut child = self
            .shell(&format!("exec {command}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut stdout).unwrap();
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // As a shell has it.
        let code = output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal));
        Ran { code: code.unwrap_or(-1), stdout, stderr }
    }

    /// Nothing of what is listed was left out.
    pub(super) fn done(self) {
        let left = self.left.take();
        assert!(left.is_empty(), "listed for this test, and not run: {left:?}");
    }
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in self.controllers.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Without what differs from one run to the next, or from one engine to the other: sizes, counts of files, and the times that archives are named by.
fn lasting(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for at in 0..words.len() {
            let unit = words.get(at + 1).map(|word| word.trim_end_matches([';', ',', '.']));
            if matches!(unit, Some("B" | "kB" | "MB" | "GB" | "entries")) {
                words[at] = "N".to_owned();
                words[at + 1] = words[at + 1].replace(['k', 'M', 'G'], "");
            }
            if let Some((before, time)) = words[at].rsplit_once('/')
                && time.len() == 16
                && time.ends_with('Z')
            {
                words[at] = format!("{before}/TIME");
            }
        }
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The commands of a block: what is continued on the next line is one.
fn commands(block: &Block) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut open = false;
    for line in block.text.lines() {
        let line = match (block.console, line.strip_prefix("$ ")) {
            (true, Some(command)) => command,
            // What a command has printed.
            (true, None) => continue,
            (false, _) => line,
        };
        if open {
            let last = commands.last_mut().unwrap();
            *last = format!("{last}\n{line}");
        } else if !line.trim().is_empty() {
            commands.push(line.to_owned());
        }
        open = line.ends_with('\\');
    }
    commands
}
