//! One request, over a connection of its own. Redirects are not followed: an address that moved is to be declared anew, and what it was told must
//! not go elsewhere.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore, crypto};

/// Why it did not arrive. Says nothing of the address.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) worth_repeating: bool,
    /// When the other side wants to be asked again.
    pub(crate) after: Option<Duration>,
}

impl Failure {
    pub(crate) fn again(message: impl Into<String>) -> Self {
        Self { message: message.into(), worth_repeating: true, after: None }
    }

    pub(crate) fn for_good(message: impl Into<String>) -> Self {
        Self { message: message.into(), worth_repeating: false, after: None }
    }
}

/// To the host of the address, for that target on it.
pub(crate) async fn post(uri: &Uri, target: &str, headers: HeaderMap, body: Vec<u8>) -> Result<(), Failure> {
    let answer = answer(uri, target, headers, body.into()).await?;
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let message = format!("it answered with status {}", status.as_u16());
    if status.is_redirection() {
        return Err(Failure::for_good(message + ": redirects are not followed"));
    }
    // Seconds; the other form, a date, is as good as none.
    let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let again = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(Failure { message, worth_repeating: again, after: after.map(Duration::from_secs) })
}

/// The same, with whatever was answered but for its body.
pub(crate) async fn answer(uri: &Uri, target: &str, headers: HeaderMap, body: Bytes) -> Result<Parts, Failure> {
    Ok(request(Method::POST, uri, None, target, headers, body).await?.into_parts().0)
}

/// Any request of the address, with an answer whose body is still to be read.
pub(crate) async fn fetch(
    method: Method,
    uri: &Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Incoming>, Failure> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    request(method, uri, None, target, headers, body).await
}

/// A GET of the address. `via`: where to connect instead of to its host.
pub(crate) async fn get(uri: &Uri, via: Option<(&str, u16)>) -> Result<Parts, Failure> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Ok(request(Method::GET, uri, via, target, HeaderMap::new(), Bytes::new()).await?.into_parts().0)
}

async fn request(
    method: Method,
    uri: &Uri,
    via: Option<(&str, u16)>,
    target: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Incoming>, Failure> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Failure::for_good("the address is not a URL with a host"));
    };
    let secure = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(Failure::for_good("the address is neither http nor https")),
    };
    let host = authority.host();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let named = match authority.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, named)
        .header(USER_AGENT, concat!("landfall/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .map_err(|_| Failure::for_good("the address cannot be sent"))?;
    request.headers_mut().extend(headers);

    let bare = host.trim_matches(['[', ']']);
    let place = via.unwrap_or((bare, port));
    let stream = TcpStream::connect(place).await.map_err(|error| Failure::again(plain("connecting", &error)))?;
    if !secure {
        return exchange(stream, request).await;
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| Failure::for_good("the host has no valid name"))?;
    let connector = TlsConnector::from(config().map_err(Failure::for_good)?);
    let stream = connector.connect(name, stream).await.map_err(|error| Failure::again(untrusted(&error)))?;
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| Failure::again(format!("the exchange broke off: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the answer, or with whoever no longer waits for it.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

/// The authorities that the machine trusts, which a company's own may be among; read once.
fn config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this machine trusts no certificate authority; install ca-certificates, or set SSL_CERT_FILE".to_owned()
        );
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

const NO_TLS: &str = "the other side does not seem to speak it; is the address to begin with http:// instead?";

/// What was wrong with the handshake. rustls names the host, which is a part of the address.
fn untrusted(error: &io::Error) -> String {
    let problem = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let says = match problem {
        Some(TlsError::InvalidCertificate(problem)) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or this machine's clock is slow"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is of no authority that this machine trusts; SSL_CERT_FILE names others"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name than the host of the address"
            }
            _ => "its certificate is not right",
        },
        Some(TlsError::InvalidMessage(_)) => NO_TLS,
        Some(_) => "the other side would not have it",
        None if error.kind() == io::ErrorKind::UnexpectedEof => NO_TLS,
        None => return plain("TLS", error),
    };
    format!("TLS failed: {says}")
}

fn plain(what: &str, error: &io::Error) -> String {
    let text = error.to_string();
    format!("{what} failed: {}", text.split(" (os error").next().unwrap_or(&text))
}
