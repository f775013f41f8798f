//! A bucket of rclone's S3 server on the loopback device, gone when dropped. `scripts/rclone` fetches the program.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait_for;

pub(crate) const BUCKET: &str = "kept";
const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI-secret";

pub(crate) struct Bucket {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Bucket {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut bucket = Self { directory: tempfile::tempdir().unwrap(), port, process: None };
        std::fs::create_dir_all(bucket.files()).unwrap();
        bucket.run();
        bucket
    }

    pub(crate) fn run(&mut self) {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rclone");
        let program = std::env::var_os("LANDFALL_RCLONE").map_or(default, PathBuf::from).join("rclone");
        let log = File::create(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(["serve", "s3", "--config", "/dev/null", "--auth-key", &format!("{KEY},{SECRET}")]);
        command.args(["--addr", &format!("127.0.0.1:{}", self.port)]);
        command
            .arg(self.directory.path().join("root"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(command.spawn().expect("rclone is there; `scripts/rclone` fetches it"));
        wait_for("rclone listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// As `--to` names it.
    pub(crate) fn address(&self) -> String {
        format!("s3://{BUCKET}/landfall?endpoint=http://127.0.0.1:{}", self.port)
    }

    /// What the bucket holds, as files.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("root").join(BUCKET)
    }

    pub(crate) fn environment(&self) -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.stop();
    }
}
