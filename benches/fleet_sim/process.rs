//! A child process and what it takes of the machine, as /proc tells.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Clock ticks in a second: what /proc counts in, on every architecture.
const TICKS: f64 = 100.0;

/// A running program; killed when dropped.
pub(super) struct Process(Child);

/// What a command took that has ended.
pub(super) struct Taken {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    /// Mebibytes resident at most.
    pub(super) peak: f64,
    pub(super) success: bool,
}

impl Process {
    pub(super) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("the program starts"))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    fn status(&self, field: &str) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<f64>().ok().map(|kibibytes| kibibytes / 1024.0)
    }

    /// Mebibytes resident now, and at most so far.
    pub(super) fn resident(&self) -> (f64, f64) {
        (self.status("VmRSS").unwrap_or_default(), self.status("VmHWM").unwrap_or_default())
    }

    pub(super) fn cpu(&self) -> Duration {
        cpu_of(&self.0.id().to_string()).unwrap_or_default()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor time of a process so far: user and system.
pub(super) fn cpu_of(process: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(Duration::from_secs_f64(ticks / TICKS))
}

/// Runs a command to its end. Its peak is read while it runs, so the last moments may be missing from it.
pub(super) fn run(command: &mut Command) -> Taken {
    let started = Instant::now();
    let mut process = Process::start(command.stdout(Stdio::null()));
    let (mut cpu, mut peak) = (Duration::ZERO, 0_f64);
    let status = loop {
        // Of one that has ended and was not waited for, only the time can be read.
        cpu = cpu.max(process.cpu());
        peak = peak.max(process.resident().1);
        if let Some(status) = process.0.try_wait().expect("it can be waited for") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Taken { wall: started.elapsed(), cpu, peak, success: matches!(status.code(), Some(0 | 2)) }
}
