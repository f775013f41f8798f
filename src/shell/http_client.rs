//! Requests to web servers that are no Docker engines: notifiers, buckets, collectors of traces. The client is reqwest; here is what it may do, and what
//! its failures say.
//!
//! Redirects are not followed: an address that moved is to be declared anew, and what it was told must not go elsewhere.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method};
use hyper::body::Bytes;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Client, ClientBuilder, Response, Url};
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

/// Makes requests, through the proxy that the environment names for an address, if any.
pub(crate) struct HttpClient {
    routed: Client,
    /// For this machine: no proxy reaches the loopback addresses of another, and Go's programs, Docker's among them, hold it so too.
    direct: Client,
}

impl HttpClient {
    /// Keeps so many connections to a host for the next request. They belong to the runtime that made them, and so should the client.
    pub(crate) fn keeping(connections: usize) -> Result<Self, Failure> {
        let builder = || builder().map(|builder| builder.pool_max_idle_per_host(connections));
        Ok(Self { routed: built(builder()?)?, direct: built(builder()?.no_proxy())? })
    }

    /// An answer, of any status, whose body is still to be read.
    pub(crate) async fn request(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: impl Into<reqwest::Body>,
    ) -> Result<Response, Failure> {
        check(&url)?;
        let through = through(&url);
        let client = if is_this_machine(&url) { &self.direct } else { &self.routed };
        let sent = client.request(method, url).headers(headers).body(body).send().await;
        sent.map_err(|error| Failure::again(explain(&error) + through))
    }
}

/// A POST that has to be taken.
pub(crate) async fn post(url: Url, headers: HeaderMap, body: Vec<u8>) -> Result<(), Failure> {
    let through = through(&url);
    let answer = answer(url, headers, body.into()).await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let message = format!("it answered with status {}{through}", status.as_u16());
    if status.is_redirection() {
        return Err(Failure::for_good(message + ": redirects are not followed"));
    }
    // Seconds; the other form, a date, is as good as none.
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let again = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(Failure { message, worth_repeating: again, after: after.map(Duration::from_secs) })
}

/// A POST, with what is answered to it. Over a connection of its own, so that any runtime may ask.
pub(crate) async fn answer(url: Url, headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    static CLIENT: OnceLock<HttpClient> = OnceLock::new();
    let client = match CLIENT.get() {
        Some(client) => client,
        None => {
            let client = HttpClient::keeping(0)?;
            CLIENT.get_or_init(|| client)
        }
    };
    client.request(Method::POST, url, headers, body).await
}

/// A GET of the address, through no proxy of the environment. `via`: where to connect instead of to its host.
pub(crate) async fn get(mut url: Url, via: Option<(&str, u16)>) -> Result<Response, Failure> {
    check(&url)?;
    let (mut client, mut headers) = (builder()?.no_proxy(), HeaderMap::new());
    if let Some((place, port)) = via {
        let found = tokio::net::lookup_host((place, port)).await;
        let found: Vec<_> = found.map_err(|error| Failure::again(plain("connecting", &error)))?.collect();
        let cannot = |()| Failure::for_good("the address cannot be asked for elsewhere");
        let host = url.host_str().unwrap_or_default().to_owned();
        let named = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        headers.insert(HOST, HeaderValue::from_str(&named).map_err(|_| cannot(()))?);
        url.set_port(Some(port)).map_err(cannot)?;
        match (address(&url), found.first()) {
            (None, _) => client = client.resolve_to_addrs(&host, &found),
            // An address is looked up nowhere, so nothing leads elsewhere from it.
            (Some(_), Some(first)) => url.set_ip_host(first.ip()).map_err(cannot)?,
            (Some(_), None) => return Err(cannot(())),
        }
    }
    let sent = built(client)?.get(url).headers(headers).send().await;
    sent.map_err(|error| Failure::again(explain(&error)))
}

fn check(url: &Url) -> Result<(), Failure> {
    match url.scheme() {
        "https" if trust().is_empty() => Err(Failure::for_good(
            "this machine trusts no certificate authority; install ca-certificates, or set SSL_CERT_FILE",
        )),
        "http" | "https" if url.has_host() => Ok(()),
        _ => Err(Failure::for_good("the address is neither http nor https")),
    }
}

fn is_this_machine(url: &Url) -> bool {
    let named = || url.host_str().is_some_and(|name| name == "localhost" || name.ends_with(".localhost"));
    address(url).map_or_else(named, |address| address.to_canonical().is_loopback())
}

/// Where the host is an address rather than a name.
fn address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// For what failed: a proxy may be at fault, and nothing that it says tells its answers from those of the other side.
fn through(url: &Url) -> &'static str {
    static MATCHER: OnceLock<Matcher> = OnceLock::new();
    let matcher = MATCHER.get_or_init(Matcher::from_env);
    let proxied = !is_this_machine(url) && url.as_str().parse().is_ok_and(|uri| matcher.intercept(&uri).is_some());
    if proxied { ", through the proxy of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)" } else { "" }
}

fn builder() -> Result<ClientBuilder, Failure> {
    // ring, as everywhere here: reqwest's own choice would bring a second provider.
    let tls = ClientConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::for_good(error.to_string()))?
        .with_root_certificates(trust().clone())
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION"))))
}

fn built(builder: ClientBuilder) -> Result<Client, Failure> {
    builder.build().map_err(|error| Failure::for_good(explain(&error)))
}

/// The authorities that the machine trusts, which a company's own may be among; read once.
fn trust() -> &'static RootCertStore {
    static TRUST: OnceLock<RootCertStore> = OnceLock::new();
    TRUST.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// From the causes of a failure alone: what reqwest says itself has the address in it.
pub(crate) fn explain(error: &reqwest::Error) -> String {
    let causes = || std::iter::successors(error.source(), |cause| (*cause).source());
    if let Some(problem) = causes().filter_map(|cause| cause.downcast_ref::<io::Error>()).last() {
        let problem = innermost(problem);
        if let Some(tls) = problem.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            return untrusted(tls);
        }
        if error.is_connect() {
            return plain("connecting", problem);
        }
    }
    let Some(last) = causes().last() else { return "the request cannot be sent".to_owned() };
    match last.to_string().strip_prefix("tunnel error: ") {
        Some(refused) => format!("the proxy makes no connection: {refused}"),
        None => format!("the exchange broke off: {last}"),
    }
}

/// What TLS reports is wrapped twice, and the wrapping is no source of it.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        error = inner;
    }
    error
}

const NO_TLS: &str = "the other side does not seem to speak it; is the address to begin with http:// instead?";

/// What was wrong with the handshake. rustls names the host, which is a part of the address.
fn untrusted(error: &TlsError) -> String {
    let says = match error {
        TlsError::InvalidCertificate(problem) => match problem {
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
        TlsError::InvalidMessage(_) => NO_TLS,
        _ => "the server rejected the handshake",
    };
    format!("TLS failed: {says}")
}

fn plain(what: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return format!("TLS failed: {NO_TLS}");
    }
    let text = error.to_string();
    format!("{what} failed: {}", text.split(" (os error").next().unwrap_or(&text))
}
