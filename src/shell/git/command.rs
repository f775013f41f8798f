//! Runs the system's git, held to what fetching and reading needs.
//!
//! The user's own configuration counts (credential helpers, proxies, certificates, ssh), the environment's repository variables do not.
//! No hook, pager, editor or prompt; no transport that runs a program of the address's choosing; every run ends by itself or is killed.
//! The address travels in the environment rather than in the arguments, which everybody on the machine can read.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::address::{Address, SCHEMES};

/// What git says on standard error is kept up to this.
const MAX_STDERR: usize = 16 << 10;
/// The remote as our configuration calls it.
pub(super) const REMOTE: &str = "landfall";

/// One repository's git.
pub(super) struct Git<'a> {
    pub(super) directory: &'a Path,
    pub(super) address: &'a Address,
    /// Besides what every run has.
    pub(super) config: Vec<(&'static str, String)>,
    /// Bytes that any file it writes may have.
    pub(super) max_file: u64,
}

/// How a run failed.
#[derive(Debug)]
pub(super) enum Failure {
    NotStarted(std::io::Error),
    TimedOut(Duration),
    TooMuch(usize),
    /// What it said, without credentials.
    Said(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NotStarted(error) => write!(f, "the program `git` cannot be started: {error}"),
            Failure::TimedOut(limit) => write!(f, "git did not end within {limit:?}"),
            Failure::TooMuch(most) => write!(f, "more than {most} bytes"),
            Failure::Said(text) => f.write_str(text),
        }
    }
}

/// Ends the program and what it started, however the run ends.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Gone already: all the better.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Git<'_> {
    /// Its standard output, at most `most` bytes.
    pub(super) async fn run<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        input: &[u8],
        most: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let mut command = Command::new("git");
        command.current_dir(self.directory).args(arguments);
        self.environment(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(Failure::NotStarted)?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let bound = Rlimit { current: Some(self.max_file), maximum: Some(self.max_file) };
        // Before it has read its configuration: what it starts to unpack with inherits the bound.
        let _ = rustix::process::prlimit(group.0, Resource::Fsize, bound);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let work = async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // It may end without reading it all.
                    let _ = stdin.write_all(input).await;
                }
            };
            let ((), out, said) = tokio::join!(write, bounded(stdout, most), last(stderr));
            (out, said, child.wait().await)
        };
        let Ok((out, said, status)) = tokio::time::timeout(limit, work).await else {
            return Err(Failure::TimedOut(limit));
        };
        let status = status.map_err(Failure::NotStarted)?;
        // Everything it started has ended with its output: the number may be somebody else's by now.
        group.0 = None;
        if out.len() > most {
            return Err(Failure::TooMuch(most));
        }
        if status.success() {
            return Ok(out);
        }
        let said = self.address.scrub(&String::from_utf8_lossy(&said));
        Err(Failure::Said(match sentence(&said) {
            text if text.is_empty() => format!("git ended with {status}"),
            text => text,
        }))
    }

    fn environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            // What chooses another repository, traces, or runs programs; what names the user's configuration and way in stays.
            let kept = ["GIT_SSH", "GIT_SSL", "GIT_HTTP", "GIT_PROXY", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL"];
            let kept = kept.iter().any(|kept| text.starts_with(kept))
                || matches!(&*text, "GIT_CONFIG_SYSTEM" | "GIT_CONFIG_NOSYSTEM" | "GIT_EXEC_PATH");
            if text.starts_with("GIT_") && !kept {
                command.env_remove(name);
            }
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", SCHEMES.join(":"))
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_LITERAL_PATHSPECS", "1")
            // Messages are read for what they mean.
            .env("LC_ALL", "C")
            .env("GIT_DIR", ".");
        let fixed = [
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("core.pager", "cat"),
            ("fetch.recurseSubmodules", "false"),
            ("fetch.writeCommitGraph", "false"),
            // In the foreground: nothing is left running.
            ("gc.autoDetach", "false"),
            ("maintenance.autoDetach", "false"),
            ("http.lowSpeedLimit", "1000"),
            ("http.lowSpeedTime", "30"),
            ("remote.landfall.url", self.address.raw()),
        ];
        let more = self.config.iter().map(|(name, value)| (*name, value.as_str()));
        let mut count = 0;
        for (name, value) in fixed.into_iter().chain(more) {
            command.env(format!("GIT_CONFIG_KEY_{count}"), name).env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
    }
}

/// All of it, but no more than one byte above `most`, so that too much can be told.
async fn bounded(from: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = (&mut from).take(most as u64 + 1).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The end of it. All is read: a program that nobody listens to any more is killed in the middle of its work.
async fn last(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut part = vec![0; 4096];
    if let Some(mut from) = from {
        while let Ok(count @ 1..) = from.read(&mut part).await {
            bytes.extend(part.get(..count).unwrap_or_default());
            bytes.drain(..bytes.len().saturating_sub(MAX_STDERR));
        }
    }
    bytes
}

/// Of what git said, the lines that say why, as one; without control characters, which a remote may send.
fn sentence(said: &str) -> String {
    let clean = |line: &str| {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = said.lines().map(clean).filter(|line| !line.is_empty()).collect();
    let telling = |line: &&String| ["fatal:", "error:", "remote:", "ssh:"].iter().any(|word| line.starts_with(word));
    let told: Vec<&String> = lines.iter().filter(telling).collect();
    let chosen: Vec<&String> = if told.is_empty() { lines.iter().collect() } else { told };
    let text: Vec<&str> = chosen.iter().rev().take(4).rev().map(|line| line.trim_start_matches("fatal: ")).collect();
    let text = text.join("; ");
    text.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn of_what_git_says_the_telling_lines_are_kept_without_control_characters() {
        let said = "hint: something\nremote: \u{1b}[31mRepository not found.\nfatal: repository 'x' not found\n";
        assert_eq!(sentence(said), "remote: [31mRepository not found.; repository 'x' not found");
        assert_eq!(sentence("nothing known\n"), "nothing known");
        assert_eq!(sentence(""), "");
    }
}
