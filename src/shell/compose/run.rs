//! Compose, and the Docker CLI for stacks of a Swarm, at work on a daemon.

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::Program;
use super::socket::Socket;
use crate::shell::engine::{EngineError, Writer};

/// What it said last is kept.
const KEPT: usize = 40;
/// Bytes of a line; of a longer one the beginning counts.
const LONGEST_LINE: usize = 8 << 10;

/// What lines about a step begin with, of Compose and of `docker stack`.
const STEPS: [&str; 7] = ["Container ", "Network ", "Volume ", "Image ", "Creating ", "Updating ", "Removing "];

/// What Compose is to do.
#[derive(Debug)]
pub struct Work<'a> {
    pub project: &'a str,
    /// That relative paths start from.
    pub directory: Option<&'a str>,
    /// Read from standard input: values of variables are in it, and on no disk.
    pub model: Option<String>,
    pub words: Vec<String>,
    /// After which it is ended.
    pub limit: Duration,
}

/// What became of it.
#[derive(Debug)]
pub struct Ran {
    pub success: bool,
    /// It took longer than it may.
    pub late: bool,
    /// Errors first, else what it said last.
    pub said: String,
    /// Its latest lines that are neither errors nor steps.
    pub talk: Vec<String>,
    /// Why the daemon could not be reached.
    pub unreachable: Option<EngineError>,
}

/// A line of Compose's.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// `Container shop-web-1 Started`, or `Creating service shop_web`
    Step(String),
    Error(String),
    Text(String),
}

impl Program {
    /// Runs it against the engine, to its end. `step` is told what is under way.
    pub async fn run(&self, work: Work<'_>, engine: &dyn Writer, step: &(dyn Fn(&str) + Sync)) -> io::Result<Ran> {
        let socket = Socket::open()?;
        let mut command = tokio::process::Command::from(self.command());
        if let Some(directory) = work.directory {
            command.current_dir(directory);
        }
        if work.model.is_some() {
            command.args(["-f", "-"]);
        }
        command.args(["-p", work.project]);
        command.args(work.directory.iter().flat_map(|directory| ["--project-directory", directory]));
        command.args([
            "--env-file",
            "/dev/null",
            "--ansi",
            "never",
            "--progress",
            if self.tells_json() { "json" } else { "plain" },
        ]);
        command.args(&work.words);
        operate(command, &socket, Input { text: work.model, limit: work.limit }, engine, step, std::future::pending())
            .await
    }
}

/// What a program reads, and after how long it is ended.
pub(super) struct Input {
    pub(super) text: Option<String>,
    pub(super) limit: Duration,
}

/// Runs a program against the engine, to its end. `beside`: what is done meanwhile.
pub(super) async fn operate(
    mut command: tokio::process::Command,
    socket: &Socket,
    input: Input,
    engine: &dyn Writer,
    step: &(dyn Fn(&str) + Sync),
    beside: impl Future<Output = ()>,
) -> io::Result<Ran> {
    command.env("DOCKER_HOST", socket.address());
    // An interrupt of the terminal is for Landfall, which completes what is under way.
    command.process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let heard = std::sync::Mutex::new(Heard::default());
    let hear = |line: &str| heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(line, step);
    let working = async {
        let write = async {
            if let (Some(mut stdin), Some(text)) = (stdin, &input.text) {
                // One that ends before it has read all says why itself.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let ((), (), (), status) = tokio::join!(write, lines(stdout, &hear), lines(stderr, &hear), child.wait());
        status
    };
    let serving = async {
        tokio::join!(socket.serve(engine), beside);
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(input.limit, working) => ended,
        () = serving => unreachable!("it serves for as long as it is waited for"),
    };
    let late = ended.is_err();
    let success = match ended {
        Ok(status) => status?.success(),
        Err(_) => {
            let _ = child.kill().await;
            false
        }
    };
    let heard = heard.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let talk = heard.others.iter().cloned().collect();
    Ok(Ran { success, late, talk, said: heard.verdict(), unreachable: socket.failure() })
}

#[derive(Default)]
struct Heard {
    errors: VecDeque<String>,
    others: VecDeque<String>,
}

impl Heard {
    fn take(&mut self, line: &str, step: &(dyn Fn(&str) + Sync)) {
        let (list, text) = match read(line) {
            Line::Step(text) => {
                step(&text);
                return;
            }
            Line::Error(text) => (&mut self.errors, text),
            Line::Text(text) => (&mut self.others, text),
        };
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(text);
    }

    fn verdict(self) -> String {
        let mut lines = if self.errors.is_empty() { self.others } else { self.errors };
        lines.pop_back().unwrap_or_else(|| "it says nothing".to_owned())
    }
}

fn read(line: &str) -> Line {
    let line = line.trim();
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line) else {
        let step = STEPS.iter().any(|kind| line.starts_with(kind));
        return if step && !line.contains(" Error") { Line::Step(words(line)) } else { Line::Text(line.to_owned()) };
    };
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    if fields.get("error").and_then(Value::as_bool).unwrap_or_default() {
        return Line::Error(text("message").to_owned());
    }
    let (id, word, status) = (text("id"), text("text"), text("status"));
    match (id, word) {
        ("", _) => Line::Text([text("msg"), text("message")].concat()),
        (id, "Error") => Line::Text(format!("{id}: {status}")),
        _ => Line::Step(words(&format!("{id} {word} {status}"))),
    }
}

/// With one space between two words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells the lines of a stream as they come.
async fn lines(stream: Option<impl AsyncRead + Unpin>, hear: &(impl Fn(&str) + Sync)) {
    let Some(mut stream) = stream else { return };
    let (mut line, mut chunk) = (Vec::new(), [0_u8; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        for byte in &chunk[..count] {
            match byte {
                b'\n' => {
                    hear(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                _ if line.len() < LONGEST_LINE => line.push(*byte),
                _ => {}
            }
        }
    }
    if !line.is_empty() {
        hear(&String::from_utf8_lossy(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_steps_errors_or_talk() {
        let step = |text: &str| Line::Step(text.to_owned());
        assert_eq!(read(r#"{"id":"Container shop-web-1","status":"Started"}"#), step("Container shop-web-1 Started"));
        assert_eq!(read(r#"{"id":"db","text":"Pulling"}"#), step("db Pulling"));
        assert_eq!(read(" Container shop-web-1  Started "), step("Container shop-web-1 Started"));
        assert_eq!(read("Creating service shop_web"), step("Creating service shop_web"));
        assert_eq!(read(r#"{"error":true,"message":"no"}"#), Line::Error("no".to_owned()));
        assert_eq!(read(r#"{"level":"warning","msg":"hm"}"#), Line::Text("hm".to_owned()));
        assert_eq!(read("panic: at the disco"), Line::Text("panic: at the disco".to_owned()));
    }

    #[test]
    fn an_error_counts_for_more_than_what_was_said_after_it() {
        let mut heard = Heard::default();
        for line in [r#"{"error":true,"message":"the error"}"#, "some talk"] {
            heard.take(line, &|_| {});
        }
        assert_eq!(heard.verdict(), "the error");
        let mut heard = Heard::default();
        (0..100).for_each(|number| heard.take(&format!("line {number}"), &|_| {}));
        assert_eq!((heard.others.len(), heard.verdict().as_str()), (KEPT, "line 99"));
    }
}
