//! A running `landfall run`, and waiting for what it does.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::cli::run::command;
use crate::cli::world::World;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running controller, killed when dropped.
pub(super) struct Controller {
    pub(super) child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Controller {
    pub(super) fn start(world: &World, arguments: &[&str]) -> Self {
        Self::spawn(world, command(), arguments)
    }

    /// `command`: what runs the binary.
    pub(super) fn spawn(world: &World, mut command: std::process::Command, arguments: &[&str]) -> Self {
        command.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
        // An interval longer than the test: what is healed is healed because it was told.
        command.args(["run", "--log-format", "json", "--interval", "1h", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = channel();
        std::thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log, seen: Vec::new() }
    }

    /// Waits for a line of the log that holds `text`.
    #[track_caller]
    pub(super) fn says(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push(line);
                    if found {
                        return;
                    }
                }
                Err(_) => panic!("{text:?} is not in the log:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// How many lines that were waited past hold `text`.
    pub(super) fn said(&self, text: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(text)).count()
    }

    /// The same, of lines that name a pass.
    pub(super) fn said_of_passes(&self, text: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(text) && line.contains(r#""pass":"#)).count()
    }

    pub(super) fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(super) fn ended(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.seen.join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(super) fn until(what: &str, controller: &mut Controller, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            controller.seen.extend(controller.log.try_iter());
            panic!("{what} does not come about:\n{}", controller.seen.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
