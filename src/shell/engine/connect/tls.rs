//! `tcp://` with TLS: the daemon proves itself to us by the declared authority, and we prove ourselves to it by a client certificate.
//!
//! Only the declared authority counts: what a browser trusts has no say in who may pose as a Docker daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, InvalidMessage, RootCertStore, crypto,
};

use super::tcp::{abrupt, address, connect};
use super::{BoxedStream, DialError, Dialer, Ends};
use crate::core::api::TlsSpec;
use crate::core::observed::OwnAddress;
use crate::shell::engine::EngineErrorKind;

/// Opens TLS streams.
pub struct TlsDialer {
    host: String,
    port: u16,
    material: TlsMaterial,
    /// Read when first needed, and kept.
    config: OnceLock<Arc<ClientConfig>>,
    ends: Ends,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsMaterial {
    pub ca: PathBuf,
    /// Certificate and private key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Expected in the daemon's certificate instead of the host.
    pub server_name: Option<String>,
}

impl From<&TlsSpec> for TlsMaterial {
    fn from(spec: &TlsSpec) -> Self {
        Self {
            ca: super::expand_home(&spec.ca_file),
            client: Some((super::expand_home(&spec.cert_file), super::expand_home(&spec.key_file))),
            server_name: spec.server_name.clone(),
        }
    }
}

impl TlsDialer {
    pub fn new(host: impl Into<String>, port: u16, material: TlsMaterial) -> Self {
        Self { host: host.into(), port, material, config: OnceLock::new(), ends: Ends::default() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, DialError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.material.load()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    fn server_name(&self) -> &str {
        self.material.server_name.as_deref().unwrap_or_else(|| self.host.trim_matches(['[', ']']))
    }

    fn explain(&self, error: &io::Error) -> DialError {
        match tls_error(error) {
            Some(problem) => self.explain_tls(problem),
            None => unreachable(
                format!("the TLS handshake with {} broke off: {error}", self.endpoint()),
                "check that the daemon's port speaks TLS, and its log",
            ),
        }
    }

    fn explain_tls(&self, problem: &TlsError) -> DialError {
        let ca = self.material.ca.display();
        match problem {
            TlsError::InvalidCertificate(problem) => self.explain_certificate(problem),
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => unreachable(
                format!("{} answers in plain text: its daemon does not use TLS on this port", address(&self.host, self.port)),
                "the port with TLS is usually 2376; start the daemon with --tlsverify, or, where only trusted machines reach the port, declare \
                 `insecure: true` instead of `tls`",
            ),
            TlsError::AlertReceived(alert) if concerns_our_certificate(*alert) => DialError {
                kind: EngineErrorKind::PermissionDenied,
                message: format!(
                    "the daemon at {} refuses the client certificate{}: {alert:?}",
                    self.endpoint(),
                    self.material.client.as_ref().map(|(file, _)| format!(" {}", file.display())).unwrap_or_default()
                ),
                hint: Some(
                    "the certificate must be signed by the authority of the daemon's --tlscacert, be in its time, and be for client \
                     authentication; see `openssl x509 -noout -text -in FILE`"
                        .to_owned(),
                ),
            },
            other => unreachable(
                format!("the TLS handshake with {} failed: {other}", self.endpoint()),
                &format!("`openssl s_client -connect {} -CAfile {ca}` shows more", address(&self.host, self.port)),
            ),
        }
    }

    fn explain_certificate(&self, problem: &CertificateError) -> DialError {
        let (endpoint, ca) = (self.endpoint(), self.material.ca.display());
        match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => unreachable(
                format!("the daemon's certificate at {endpoint} has expired"),
                "give the daemon a new certificate, or correct this machine's clock",
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => unreachable(
                format!("the daemon's certificate at {endpoint} is not valid yet"),
                "correct this machine's clock, or the daemon's certificate",
            ),
            CertificateError::UnknownIssuer | CertificateError::BadSignature => unreachable(
                format!("the daemon's certificate at {endpoint} is not signed by the authority in {ca}"),
                "correct tls.caFile; if it is right, another server may be answering at that address",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => unreachable(
                format!(
                    "the daemon's certificate at {endpoint} is not for {}{}",
                    self.server_name(),
                    presented(problem)
                ),
                "use a name of the certificate as the endpoint's host, or declare it as tls.serverName",
            ),
            other => unreachable(
                format!("the daemon's certificate at {endpoint} is not right: {other}"),
                "give the daemon a certificate for server authentication with its name as subjectAltName",
            ),
        }
    }
}

/// The names that a certificate is for, as words to append.
fn presented(problem: &CertificateError) -> String {
    match problem {
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            format!(" but for {}", presented.join(", "))
        }
        _ => String::new(),
    }
}

fn concerns_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied
            // A signature that does not verify: another authority of the same name.
            | AlertDescription::DecryptError
    )
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn unreachable(message: String, hint: &str) -> DialError {
    DialError { kind: EngineErrorKind::Unreachable, message, hint: Some(hint.to_owned()) }
}

impl TlsMaterial {
    fn load(&self) -> Result<ClientConfig, DialError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca, "tls.caFile")? {
            roots.add(certificate).map_err(|error| unusable("tls.caFile", &self.ca, &error.to_string()))?;
        }
        // Explicitly: the process-wide default would depend on what else is linked.
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unreachable(format!("TLS cannot be set up: {error}"), "report this"))?
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.client else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate, "tls.certFile")?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| unusable("tls.keyFile", key, &explain_pem(&error, "an unencrypted private key")))?;
        builder.with_client_auth_cert(chain, private).map_err(|error| unusable("tls.keyFile", key, &error.to_string()))
    }
}

fn certificates(file: &Path, field: &str) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let parsed = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(unusable(field, file, "has no certificate in PEM form")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(field, file, &explain_pem(&error, "a certificate"))),
    }
}

fn explain_pem(error: &tokio_rustls::rustls::pki_types::pem::Error, what: &str) -> String {
    use tokio_rustls::rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => format!("has not {what} in PEM form"),
        other => other.to_string(),
    }
}

fn unusable(field: &str, file: &Path, problem: &str) -> DialError {
    unreachable(format!("{field} {}: {problem}", file.display()), "correct the files of the server's `tls`")
}

#[async_trait]
impl Dialer for TlsDialer {
    async fn dial(&self) -> Result<BoxedStream, DialError> {
        self.dial_over(|tcp| tcp).await
    }

    async fn dial_abrupt(&self) -> Result<BoxedStream, DialError> {
        self.dial_over(abrupt).await
    }

    fn addresses(&self) -> Vec<OwnAddress> {
        self.ends.kept()
    }

    fn endpoint(&self) -> String {
        format!("tcp://{}", address(&self.host, self.port))
    }
}

impl TlsDialer {
    async fn dial_over(&self, prepared: impl Fn(TcpStream) -> TcpStream + Send) -> Result<BoxedStream, DialError> {
        let config = self.config()?;
        let name = ServerName::try_from(self.server_name().to_owned()).map_err(|_| {
            unreachable(
                format!("{:?} is no name that a certificate can have", self.server_name()),
                "correct tls.serverName",
            )
        })?;
        let tcp = prepared(connect(&self.host, self.port).await?);
        self.ends.keep(Ends::of(&tcp));
        let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| self.explain(&error))?;
        Ok(Box::new(Explained { stream, dialer: self.for_messages() }))
    }

    fn for_messages(&self) -> Self {
        Self::new(self.host.clone(), self.port, self.material.clone())
    }
}

/// In TLS 1.3 a daemon looks at the client certificate after our side of the handshake is done: its refusal comes with the first read.
struct Explained {
    stream: TlsStream<TcpStream>,
    dialer: TlsDialer,
}

impl Explained {
    fn explain(&self, error: io::Error) -> io::Error {
        match tls_error(&error) {
            Some(problem @ TlsError::AlertReceived(_)) => {
                io::Error::new(io::ErrorKind::ConnectionAborted, self.dialer.explain_tls(problem))
            }
            _ => error,
        }
    }

    /// A daemon that refuses us closes the connection: a request may find it closed before anyone has read why.
    fn explain_broken(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        match Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut [0; 1])) {
            Poll::Ready(Err(reason)) if tls_error(&reason).is_some() => self.explain(reason),
            _ => error,
        }
    }
}

impl AsyncRead for Explained {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        result.map_err(|error| self.explain(error))
    }
}

impl AsyncWrite for Explained {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, data);
        result.map_err(|error| self.explain_broken(cx, error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        result.map_err(|error| self.explain_broken(cx, error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
