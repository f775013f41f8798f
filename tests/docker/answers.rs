//! Daemons that this machine does not have: old ones, new ones, and what is no daemon at all.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use landfall::core::observed::{EndpointSettings, NetworkId};
use landfall::shell::engine::connect::{ConnectOptions, UnixDialer};
use landfall::shell::engine::{DockerWriter, EngineErrorKind, Reader, Writer};

/// Gives the same answer to every request and remembers the request lines.
struct Canned {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    fn answering(status: &str, headers: &str, body: &str) -> Self {
        let answer = answer(status, headers, body);
        Self::with(move |_| answer.clone())
    }

    /// What is answered to a request line.
    fn with(answers: impl Fn(&str) -> String + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                heard.lock().unwrap().extend(lines.first().cloned());
                let _ = stream.write_all(answers(lines.first().map_or("", String::as_str)).as_bytes());
            }
        });
        Self { directory, asked }
    }

    /// A proxy that lets nothing but GET through to a daemon, and answers everything else as given.
    fn filtering(status: &'static str, body: &'static str) -> Self {
        Self::with(move |line| match line.starts_with("GET") {
            true => answer("200 OK", "Api-Version: 1.41\r\n", "[]"),
            false => answer(status, "Content-Type: text/html\r\n", body),
        })
    }

    fn engine(&self) -> DockerWriter {
        let socket = self.directory.path().join("docker.sock").display().to_string();
        DockerWriter::new("default/test", Arc::new(UnixDialer::new(socket)), &ConnectOptions::default())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
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
async fn a_daemon_that_no_longer_speaks_what_is_known_here_says_that_landfall_is_too_old() {
    let refusal = r#"{"message":"client version 1.54 is too old. Minimum supported API version is 1.60, please upgrade your client to a newer version"}"#;
    let canned =
        Canned::answering("400 Bad Request", "Api-Version: 1.62\r\nContent-Type: application/json\r\n", refusal);
    let error = canned.engine().networks().await.unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::TooNew);
    assert!(error.message.contains("Minimum supported API version is 1.60"), "{error}");
    assert!(error.hint.unwrap().contains("install a newer Landfall"));
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

/// Docker is upgraded, or goes back, while its connections are in use: what was spoken before is refused, and nothing but that.
#[tokio::test]
async fn a_daemon_of_another_version_is_spoken_to_in_that_one_from_the_first_request_on() {
    let speaks: Arc<Mutex<(u16, u16)>> = Arc::new(Mutex::new((24, 41)));
    let now = Arc::clone(&speaks);
    let canned = Canned::with(move |line| {
        let (oldest, newest) = *now.lock().unwrap();
        let asked = line.split("/v1.").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap_or(newest);
        let headers = format!("Api-Version: 1.{newest}\r\nContent-Type: application/json\r\n");
        match (oldest..=newest).contains(&asked) {
            true => answer("200 OK", &headers, "[]"),
            false => answer("400 Bad Request", &headers, r#"{"message":"client version is too old or too new"}"#),
        }
    });
    let engine = canned.engine();
    engine.networks().await.unwrap();
    *speaks.lock().unwrap() = (44, 52);
    engine.networks().await.unwrap();
    engine.remove_network(&id()).await.unwrap();
    *speaks.lock().unwrap() = (24, 41);
    engine.remove_network(&id()).await.unwrap();
    let lines: Vec<String> = canned.asked().iter().map(|line| line.replace(id().as_str(), "ID")).collect();
    assert_eq!(
        lines,
        [
            "GET /networks HTTP/1.1",
            "GET /v1.41/networks HTTP/1.1",
            "GET /v1.52/networks HTTP/1.1",
            "DELETE /v1.52/networks/ID HTTP/1.1",
            "DELETE /v1.52/networks/ID HTTP/1.1",
            "DELETE /v1.41/networks/ID HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn a_daemon_from_the_future_is_spoken_to_in_the_newest_version_known() {
    let canned = Canned::answering("200 OK", "Api-Version: 1.99\r\n", "[]");
    let engine = canned.engine();
    engine.networks().await.unwrap();
    engine.networks().await.unwrap();
    assert_eq!(canned.asked()[1], "GET /v1.54/networks HTTP/1.1");
}

#[tokio::test]
async fn what_is_no_daemon_is_recognised() {
    let page = Canned::answering("200 OK", "", "<html>It works!</html>").engine().info().await.unwrap_err();
    assert_eq!(page.kind, EngineErrorKind::Protocol);
    let denied = Canned::answering("403 Forbidden", "", "<html>denied</html>").engine().info().await.unwrap_err();
    assert_eq!(denied.kind, EngineErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_proxy_that_refuses_a_change_denies_it_and_the_hint_says_what_to_allow() {
    let page = "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";
    for (status, body) in [("403 Forbidden", page), ("403 Forbidden", "Forbidden"), ("405 Method Not Allowed", "")] {
        let proxy = Canned::filtering(status, body);
        let engine = proxy.engine();
        let denied = engine.remove_network(&id()).await.unwrap_err();
        assert_eq!(denied.kind, EngineErrorKind::PermissionDenied, "{denied}");
        let hint = denied.hint.unwrap();
        assert!(hint.contains("allow `DELETE /networks/*`") && hint.contains("POST=1 NETWORKS=1"), "{hint}");
        let denied = engine.connect(&id(), &"1".repeat(64).try_into().unwrap(), &EndpointSettings::default()).await;
        let denied = denied.unwrap_err();
        assert_eq!(denied.kind, EngineErrorKind::PermissionDenied, "{denied}");
        assert!(denied.hint.unwrap().contains("allow `POST /networks/*/connect`"));
    }
}

#[tokio::test]
async fn a_page_that_says_404_is_not_the_daemon_saying_that_a_network_is_gone() {
    let page = "<html><head><title>404 Not Found</title></head></html>";
    let proxy = Canned::filtering("404 Not Found", page);
    let error = proxy.engine().remove_network(&id()).await.unwrap_err();
    assert_eq!(error.kind, EngineErrorKind::Protocol, "{error}");
}
