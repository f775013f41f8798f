//! Other programs that are asked a question: for a while, and for so many bytes.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For one question to a program.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const LARGEST: u64 = 8 << 20;

pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end, which has to come soon.
pub(crate) fn ask(command: &mut Command) -> io::Result<Answer> {
    wait(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// The same, with something to read.
pub(crate) fn tell(command: &mut Command, input: String) -> io::Result<Answer> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read is ended when its time is over, and the thread with it.
        std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    wait(child)
}

fn wait(mut child: Child) -> io::Result<Answer> {
    let collect = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(stream) = stream {
                // What comes beyond is not read, and the program ends when it notices.
                let _ = stream.take(LARGEST).read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = collect(child.stdout.take().map(|it| Box::new(it) as _));
    let stderr = collect(child.stderr.take().map(|it| Box::new(it) as _));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not end within {PATIENCE:?}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Answer { success: status.success(), stdout: text(stdout), stderr: text(stderr) })
}
