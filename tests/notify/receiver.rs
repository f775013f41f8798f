//! A web server that takes notices, and answers as it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::authority::Certified;
use crate::support::wait_for;

#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) target: String,
    /// As sent, names in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) struct Receiver {
    port: u16,
    secure: bool,
    received: Arc<Mutex<Vec<Received>>>,
    stop: Arc<AtomicBool>,
}

impl Receiver {
    /// `answers`: status lines with further headers, one for each request; after the last one `200 OK`. `None`: never.
    pub(crate) fn start(answers: &[Option<&str>]) -> Self {
        Self::with(None, answers)
    }

    /// The same behind TLS.
    pub(crate) fn secure(certified: &Certified, answers: &[Option<&str>]) -> Self {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&certified.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&certified.key).unwrap(),
            )
            .unwrap();
        Self::with(Some(Arc::new(config)), answers)
    }

    fn with(tls: Option<Arc<ServerConfig>>, answers: &[Option<&str>]) -> Self {
        let secure = tls.is_some();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (Arc::clone(&received), Arc::clone(&stop));
        let mut answers: Vec<Option<String>> = answers.iter().rev().map(|it| it.map(str::to_owned)).collect();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let answer = answers.pop().unwrap_or_else(|| Some("200 OK".to_owned()));
                let log = Arc::clone(&log);
                let tls = tls.as_ref().map(|config| ServerConnection::new(Arc::clone(config)).unwrap());
                std::thread::spawn(move || match tls {
                    None => drop(serve(stream.unwrap(), &log, answer.as_deref())),
                    Some(tls) => drop(serve(StreamOwned::new(tls, stream.unwrap()), &log, answer.as_deref())),
                });
            }
        });
        Self { port, secure, received, stop }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", if self.secure { "https" } else { "http" }, self.port)
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until so many have come.
    pub(crate) fn wait(&self, count: usize) -> Vec<Received> {
        wait_for("the notices have come", || Some(self.all()).filter(|all| all.len() >= count))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: impl Read + Write, log: &Mutex<Vec<Received>>, answer: Option<&str>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        head.push_str(&line);
        head.push('\n');
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    log.lock().unwrap().push(Received { target, head, body });
    match answer {
        Some(answer) => write!(reader.get_mut(), "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        // Until the other side has had enough.
        None => reader.read(&mut [0; 1]).map(drop),
    }
}
