//! Daemons that this machine does not have: old ones, new ones, and what is no daemon at all.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use landfall::engine::connect::{ConnectOptions, UnixDialer};
use landfall::engine::{DockerWriter, EngineErrorKind, Reader, Writer};
use landfall::observed::NetworkId;

/// Gives the same answer to every request and remembers the request lines.
struct Canned {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    fn answering(status: &str, headers: &str, body: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                heard.lock().unwrap().extend(lines.first().cloned());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { directory, asked }
    }

    fn engine(&self) -> DockerWriter {
        let socket = self.directory.path().join("docker.sock").display().to_string();
        DockerWriter::new("default/test", Arc::new(UnixDialer::new(socket)), &ConnectOptions::default()).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn id() -> NetworkId {
    "0".repeat(64).try_into().unwrap()
}

#[tokio::test]
async fn a_daemon_that_is_too_old_is_told_so_and_left_alone() {
    let canned = Canned::answering("200 OK", "Api-Version: 1.39\r\n", "[]");
    let error = canned.engine().networks().await.unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::TooOld);
    assert!(error.message.contains("1.39") && error.message.contains("1.40"), "{error}");
    assert!(error.hint.unwrap().contains("upgrade Docker"));

    let canned = Canned::answering("200 OK", "Api-Version: 1.39\r\n", "");
    let error = canned.engine().remove_network(&id()).await.unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::TooOld);
    assert_eq!(canned.asked(), ["GET /_ping HTTP/1.1"]);
}

#[tokio::test]
async fn the_daemons_version_is_asked_once_and_spoken_from_then_on() {
    let canned = Canned::answering("200 OK", "Api-Version: 1.44\r\n", "[]");
    let engine = canned.engine();
    engine.networks().await.unwrap();
    engine.networks().await.unwrap();
    engine.remove_network(&id()).await.unwrap();
    let removal = format!("DELETE /v1.44/networks/{} HTTP/1.1", id());
    assert_eq!(canned.asked(), ["GET /networks HTTP/1.1", "GET /v1.44/networks HTTP/1.1", removal.as_str()]);
}

#[tokio::test]
async fn a_daemon_from_the_future_is_spoken_to_in_the_newest_version_known() {
    let canned = Canned::answering("200 OK", "Api-Version: 1.99\r\n", "[]");
    let engine = canned.engine();
    engine.networks().await.unwrap();
    engine.networks().await.unwrap();
    assert_eq!(canned.asked()[1], "GET /v1.53/networks HTTP/1.1");
}

#[tokio::test]
async fn what_is_no_daemon_is_recognised() {
    let page = Canned::answering("200 OK", "", "<html>It works!</html>").engine().info().await.unwrap_err();
    assert_eq!(page.kind, EngineErrorKind::Protocol);
    let denied = Canned::answering("403 Forbidden", "", "<html>denied</html>").engine().info().await.unwrap_err();
    assert_eq!(denied.kind, EngineErrorKind::PermissionDenied);
}
