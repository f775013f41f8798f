//! Runs the built binary with a clean environment.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What became of one run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }

    /// Fails with everything that was printed unless it ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// `landfall` with nothing in its environment that could change what it does.
pub(crate) fn command() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_landfall")))
}

/// Where the Docker Compose of the tests is; `scripts/compose` fetches it.
pub(crate) fn compose() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/compose");
    std::env::var_os("LANDFALL_COMPOSE").map_or(default, PathBuf::from)
}

/// The command without anything in its environment that could change what `landfall` does.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let docker = name_text.starts_with("DOCKER_");
        let proxy = name_text.to_ascii_uppercase().ends_with("_PROXY");
        let ours = name_text.starts_with("LANDFALL_") || name_text.starts_with("OTEL_");
        if docker || proxy || ours || matches!(&*name_text, "NO_COLOR" | "CLICOLOR" | "CLICOLOR_FORCE" | "COLUMNS") {
            command.env_remove(name);
        }
    }
    command.env("PATH", format!("{}:{}", compose().display(), std::env::var("PATH").unwrap_or_default()));
    command
}

/// Runs it in `directory` with nothing on standard input.
pub(crate) fn landfall<A: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = A>) -> Ran {
    landfall_with_input(directory, arguments, "")
}

/// Runs it in `directory` with `input` on standard input.
pub(crate) fn landfall_with_input<A: AsRef<OsStr>>(
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
    input: &str,
) -> Ran {
    finish(command().current_dir(directory).args(arguments), input)
}

pub(crate) fn finish(command: &mut Command, input: &str) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    // It may end without reading it.
    let _ = child.stdin.take().expect("standard input is a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the binary ends");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
