//! A Git repository to push to and to be fetched from: by path, by `git daemon`, by http.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::wait_for;

/// A bare repository, and a clone that a person works in.
pub(crate) struct Upstream {
    directory: tempfile::TempDir,
}

impl Upstream {
    /// With the branch `main` and these files committed to it.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let upstream = Self { directory: tempfile::tempdir().unwrap() };
        git(upstream.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "shop.git"]);
        git(upstream.path(), &["init", "--quiet", "--initial-branch=main", "work"]);
        upstream.work(&["remote", "add", "origin", upstream.bare().to_str().unwrap()]);
        upstream.commit(files);
        upstream
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.path().join("shop.git")
    }

    pub(crate) fn work_tree(&self) -> PathBuf {
        self.path().join("work")
    }

    /// Runs git in the clone.
    pub(crate) fn work(&self, arguments: &[&str]) -> String {
        git(&self.work_tree(), arguments)
    }

    pub(crate) fn write(&self, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = self.work_tree().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Writes, commits and pushes; the revision.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        self.write(files);
        self.commit_with(&[])
    }

    /// Commits everything with these options, and pushes.
    pub(crate) fn commit_with(&self, options: &[&str]) -> String {
        self.work(&["add", "--all"]);
        let mut arguments = vec!["commit", "--quiet", "--allow-empty", "--message=change"];
        arguments.extend(options);
        self.work(&arguments);
        self.push(&[])
    }

    pub(crate) fn push(&self, options: &[&str]) -> String {
        let mut arguments = vec!["push", "--quiet"];
        arguments.extend(options);
        arguments.extend(["origin", "HEAD:main"]);
        self.work(&arguments);
        self.head()
    }

    pub(crate) fn head(&self) -> String {
        self.work(&["rev-parse", "HEAD"])
    }
}

/// Runs git with nothing of the machine's configuration.
#[track_caller]
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "gpg.format=ssh"])
        .args(arguments)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An SSH key made for a test, with the line of an allowed signers file.
pub(crate) fn signing_key(directory: &Path, name: &str) -> (PathBuf, String) {
    let key = directory.join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    (key, format!("ada@example.com {public}"))
}

/// `git daemon` on a port of its own.
pub(crate) struct GitDaemon {
    child: Child,
    pub(crate) url: String,
}

impl GitDaemon {
    pub(crate) fn serve(bare: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("git")
            .args(["daemon", "--listen=127.0.0.1", "--reuseaddr", "--export-all"])
            .args([format!("--port={port}"), format!("--base-path={}", bare.parent().unwrap().display())])
            .stderr(Stdio::null())
            .process_group_of_its_own()
            .spawn()
            .unwrap();
        let daemon =
            Self { child, url: format!("git://127.0.0.1:{port}/{}", bare.file_name().unwrap().to_str().unwrap()) };
        wait_for("git daemon listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        daemon
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

/// How [`HttpForge`] answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// Through `git http-backend`.
    Smart,
    /// Files as they are: what a plain web server offers.
    Dumb,
    /// Never.
    Silent,
}

/// A web server for one repository, behind a user's name and password.
pub(crate) struct HttpForge {
    pub(crate) port: u16,
    pub(crate) authority: String,
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicUsize>,
}

impl HttpForge {
    pub(crate) fn serve(bare: &Path, how: Http, credentials: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (bare, stopped, counted) = (bare.to_owned(), Arc::clone(&stop), Arc::clone(&begun));
        use base64::Engine as _;
        let expected = credentials.map(|it| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(it)));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (bare, expected, counted) = (bare.clone(), expected.clone(), Arc::clone(&counted));
                std::thread::spawn(move || drop(answer(stream.unwrap(), &bare, how, expected.as_deref(), &counted)));
            }
        });
        Self { port, authority: format!("127.0.0.1:{port}"), stop, begun }
    }

    /// How often somebody has begun to fetch.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/shop.git", self.authority)
    }
}

impl Drop for HttpForge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One request a connection.
fn answer(
    stream: TcpStream,
    bare: &Path,
    how: Http,
    expected: Option<&str>,
    begun: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (method, target) = line.trim_end().split_once(' ').unwrap_or_default();
    let target = target.split(' ').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    begun.fetch_add(usize::from(path.ends_with("/info/refs")), Ordering::SeqCst);
    let mut headers = std::collections::BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    if how == Http::Silent {
        // Until the other side has had enough.
        let _ = reader.read(&mut [0; 1]);
        return Ok(());
    }
    if expected.is_some() && headers.get("authorization").map(String::as_str) != expected {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"shop\"\r\n";
        return write!(out, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let within = path.trim_start_matches("/shop.git").trim_start_matches('/');
    if how == Http::Dumb {
        return match fs::read(bare.join(within)) {
            Ok(body) if !within.contains("..") => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
                out.write_all(&body)
            }
            _ => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        };
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length").and_then(|length| length.parse::<u64>().ok()) {
        (&mut reader).take(length).read_to_end(&mut body)?;
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut backend = Command::new("git")
        .arg("http-backend")
        .envs([
            ("GIT_PROJECT_ROOT", bare.parent().unwrap().to_str().unwrap()),
            ("GIT_HTTP_EXPORT_ALL", "1"),
            ("PATH_INFO", path),
            ("QUERY_STRING", query),
            ("REQUEST_METHOD", method),
            ("CONTENT_TYPE", &header("content-type")),
            ("HTTP_CONTENT_ENCODING", &header("content-encoding")),
            ("GIT_PROTOCOL", &header("git-protocol")),
            ("REMOTE_ADDR", "127.0.0.1"),
        ])
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = backend.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = backend.wait_with_output()?.stdout;
    let _ = writer.join();
    let split = output.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output[..split]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    write!(
        out,
        "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        output.len() - split - 4
    )?;
    out.write_all(&output[split + 4..])
}
