//! `tcp://` with TLS against a rustls server, every way in which it fails to a message of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use landfall::shell::engine::connect::{ConnectOptions, DialError, Dialer, TcpDialer, TlsDialer, TlsMaterial};
use landfall::shell::engine::{DockerReader, EngineError, EngineErrorKind, Reader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::support::authority::{Authority, Certified, Validity};

/// A daemon that wants client certificates of an authority, and answers one request like dockerd's `_ping`.
struct Daemon {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Daemon {
    async fn start(authority: &Authority, certified: &Certified) -> Self {
        let provider = Arc::new(default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&certified.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&certified.key).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await;
                }
            }
        })
        .await
    }

    /// Without TLS, with this answer to whatever is said.
    async fn plain(response: &'static str) -> Self {
        Self::serve(move |mut stream| async move { answer(&mut stream, response).await }).await
    }

    async fn serve<F: Future<Output = ()> + Send>(serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream).await;
            }
        });
        Self { port, task }
    }

    fn dialer(&self, authority: &Authority, client: &Certified, server_name: Option<&str>) -> TlsDialer {
        let material = TlsMaterial {
            ca: authority.certificate(),
            client: Some((client.certificate.clone(), client.key.clone())),
            server_name: server_name.map(str::to_owned),
        };
        TlsDialer::new("127.0.0.1", self.port, material)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), response: &str) {
    let _ = stream.read(&mut [0; 4096]).await;
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn failure(dialer: &TlsDialer) -> DialError {
    match dialer.dial().await {
        Ok(_) => panic!("a stream was opened"),
        Err(error) => error,
    }
}

/// What a command would say.
async fn call(dialer: impl Dialer) -> EngineError {
    let options = ConnectOptions { read_timeout: Duration::from_secs(10), ..ConnectOptions::default() };
    DockerReader::new("default/edge-1", Arc::new(dialer), &options).info().await.unwrap_err()
}

#[tokio::test]
async fn a_client_certificate_opens_the_door() {
    let authority = Authority::new();
    let daemon = Daemon::start(&authority, &authority.server("IP:127.0.0.1", Validity::Now)).await;
    let mut stream = daemon.dialer(&authority, &authority.client(), None).dial().await.unwrap();
    assert!(crate::ssh::ping(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_expired_certificate_is_called_expired() {
    let authority = Authority::new();
    let daemon = Daemon::start(&authority, &authority.server("IP:127.0.0.1", Validity::Past)).await;
    let error = failure(&daemon.dialer(&authority, &authority.client(), None)).await;
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert_eq!(error.message, format!("the daemon's certificate at tcp://127.0.0.1:{} has expired", daemon.port));
}

#[tokio::test]
async fn a_certificate_of_tomorrow_points_at_the_clock() {
    let authority = Authority::new();
    let daemon = Daemon::start(&authority, &authority.server("IP:127.0.0.1", Validity::Future)).await;
    let error = failure(&daemon.dialer(&authority, &authority.client(), None)).await;
    assert!(error.message.contains("is not valid yet") && error.hint.unwrap().contains("clock"));
}

#[tokio::test]
async fn another_authority_is_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let daemon = Daemon::start(&authority, &authority.server("IP:127.0.0.1", Validity::Now)).await;
    let error = failure(&daemon.dialer(&other, &authority.client(), None)).await;
    let ca = other.certificate();
    assert!(error.message.ends_with(&format!("is not signed by the authority in {}", ca.display())), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_says_for_which() {
    let authority = Authority::new();
    let certified = authority.server("DNS:edge-1.example.com", Validity::Now);
    let daemon = Daemon::start(&authority, &certified).await;
    let client = authority.client();
    let error = failure(&daemon.dialer(&authority, &client, None)).await;
    assert!(
        error.message.contains("is not for 127.0.0.1 but for") && error.message.contains("edge-1.example.com"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("tls.serverName"));
    assert!(daemon.dialer(&authority, &client, Some("edge-1.example.com")).dial().await.is_ok());
}

#[tokio::test]
async fn a_daemon_without_tls_is_told_from_a_broken_one() {
    let authority = Authority::new();
    let daemon = Daemon::plain("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request").await;
    let error = failure(&daemon.dialer(&authority, &authority.client(), None)).await;
    assert!(error.message.contains("answers in plain text"), "{error}");
    assert!(error.hint.unwrap().contains("2376"));
}

/// The words of Go's HTTP server, and so of dockerd.
#[tokio::test]
async fn a_daemon_with_tls_is_recognised_when_spoken_to_in_plain_text() {
    let daemon =
        Daemon::plain("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n").await;
    let error = call(TcpDialer::new("127.0.0.1", daemon.port)).await;
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert!(error.message.contains("expects TLS on this port"), "{error}");
    assert!(error.hint.unwrap().contains("instead of `insecure: true`"));
}

/// In TLS 1.3 the refusal comes after the handshake, with the first answer.
#[tokio::test]
async fn a_client_certificate_of_another_authority_is_a_matter_of_permission() {
    let (authority, other) = (Authority::new(), Authority::new());
    let daemon = Daemon::start(&authority, &authority.server("IP:127.0.0.1", Validity::Now)).await;
    let error = call(daemon.dialer(&authority, &other.client(), None)).await;
    assert_eq!(error.kind, EngineErrorKind::PermissionDenied, "{error}");
    assert!(error.message.contains("refuses the client certificate"), "{error}");
    assert!(error.hint.unwrap().contains("--tlscacert"));
}

/// The refusal races with the request: it may come before the request, or while it is under way, or break the connection under the
/// request's first bytes. Whichever comes first, the reason is never lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_certificate_is_never_reported_as_a_connection_that_merely_broke() {
    let (authority, other) = (Authority::new(), Authority::new());
    let daemon = Daemon::start(&authority, &authority.server("IP:127.0.0.1", Validity::Now)).await;
    let client = other.client();
    let options = ConnectOptions { read_timeout: Duration::from_secs(10), ..ConnectOptions::default() };
    for attempt in 0..300 {
        let dialer = daemon.dialer(&authority, &client, None);
        let error = DockerReader::new("default/edge-1", Arc::new(dialer), &options).info().await.unwrap_err();
        assert_eq!(error.kind, EngineErrorKind::PermissionDenied, "attempt {attempt}: {error}");
    }
}

#[tokio::test]
async fn files_that_are_missing_or_no_pem_are_named_with_their_field() {
    let authority = Authority::new();
    let client = authority.client();
    let with = |ca: &Path, certificate: &Path, key: &Path| {
        let client = Some((certificate.to_owned(), key.to_owned()));
        TlsDialer::new("127.0.0.1", 1, TlsMaterial { ca: ca.to_owned(), client, server_name: None })
    };
    let (ca, nowhere) = (authority.certificate(), Path::new("/nowhere.pem"));
    for (dialer, words) in [
        (with(nowhere, &client.certificate, &client.key), "tls.caFile /nowhere.pem: No such file"),
        (with(&ca, nowhere, &client.key), "tls.certFile /nowhere.pem: No such file"),
        (with(&ca, &client.certificate, nowhere), "tls.keyFile /nowhere.pem: No such file"),
        (with(&ca, &client.certificate, &client.certificate), "has not an unencrypted private key in PEM form"),
        (with(&client.key, &client.certificate, &client.key), "has no certificate in PEM form"),
    ] {
        let error = failure(&dialer).await;
        assert!(error.message.contains(words), "{error}");
    }
}
