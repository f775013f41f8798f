//! What stands before every handler.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Problem, Token, WebState};

/// The way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Tcp,
    /// The socket in the state directory: the file's mode has decided who may act.
    Socket,
}

/// Names under which this may be asked for over TCP. A page of somebody else whose name is made to point here comes with its own name, and
/// is turned away; an address cannot be made to point anywhere.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(pub Vec<String>);

impl AllowedHosts {
    fn allow(&self, host: &str) -> bool {
        let name = without_port(host);
        if name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = name.trim_end_matches('.');
        name.eq_ignore_ascii_case("localhost") || self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_bare_ipv6(host) => name,
        _ => host,
    }
}

/// No header may have it without brackets, but an `--allow-host` may look like it.
fn is_bare_ipv6(host: &str) -> bool {
    host.bytes().filter(|byte| *byte == b':').count() > 1 && !host.starts_with('[')
}

/// The name in the request, from the target in absolute form or the header; two headers are nobody's honest request.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut all = headers.get_all(header::HOST).iter();
    let header = all.next()?.to_str().ok()?;
    match (all.next(), uri.authority()) {
        (Some(_), _) => None,
        (None, Some(authority)) if authority.as_str() != header => None,
        (None, _) => Some(header),
    }
}

pub(super) async fn named_right(State((state, via)): State<(WebState, Via)>, request: Request, next: Next) -> Response {
    if via == Via::Tcp {
        match host(request.uri(), request.headers()) {
            Some(name) if state.hosts.allow(name) => {}
            Some(_) => {
                let message = "This is not a name of this controller; `landfall run --allow-host NAME` adds one.";
                return Problem::new(StatusCode::MISDIRECTED_REQUEST, "HostNotAllowed", message).into_response();
            }
            None => {
                let message = "The request names no host, or several.";
                return Problem::new(StatusCode::BAD_REQUEST, "HostMissing", message).into_response();
            }
        }
    }
    next.run(request).await
}

/// Where a request over TCP comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// What a reverse proxy says of whoever asks it.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Whether whoever asks has shown a token, or has opened the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trusted(pub(super) bool);

/// Reading is for whoever has a token, where there is one for it, and for this machine.
pub(super) async fn readable(
    State((state, via)): State<(WebState, Via)>,
    mut request: Request,
    next: Next,
) -> Response {
    let trusted = via == Via::Socket || knows_a_token(&state, request.headers());
    request.extensions_mut().insert(Trusted(trusted));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || request.uri().path() == super::PLAN;
    let here = request.extensions().get::<Peer>().is_some_and(|Peer(address)| address.is_loopback());
    let forwarded = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
    if state.read_token.is_none() || !reads || trusted || (here && !forwarded) {
        return next.run(request).await;
    }
    unauthorized("Reading needs `Authorization: Bearer TOKEN`, or the token as the password of any user.")
}

/// The token of those who act, or of those who read.
fn knows_a_token(state: &WebState, headers: &HeaderMap) -> bool {
    let is = |token: &Option<Token>, guess: &str| token.as_ref().is_some_and(|token| token.is(guess));
    let guess = bearer(headers).map(str::to_owned).or_else(|| password(headers));
    guess.is_some_and(|guess| is(&state.read_token, &guess) || is(&state.token, &guess))
}

/// A browser asks for it.
pub(super) fn unauthorized(message: &str) -> Response {
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", message).into_response();
    let challenge = HeaderValue::from_static("Basic realm=\"Landfall\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Of any user.
fn password(headers: &HeaderMap) -> Option<String> {
    let (scheme, both) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(both.trim()).ok())??;
    let decoded = String::from_utf8(decoded).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// Under whose name something is asked for.
#[derive(Debug, Clone)]
pub(super) struct Actor(pub(super) String);

pub(super) async fn authorized(
    State((state, via)): State<(WebState, Via)>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut actor = Actor("a user of this machine".to_owned());
    if via == Via::Tcp {
        let Some(token) = &state.token else {
            let message = "The controller has no token, so nothing can be asked of it over TCP; give it one with \
                           --token-file, or use the socket in its state directory.";
            return Problem::new(StatusCode::FORBIDDEN, "NoToken", message).into_response();
        };
        match bearer(request.headers()).and_then(|guess| token.whose(guess)) {
            Some(whose) => whose.clone_into(&mut actor.0),
            None => {
                let message = "This needs `Authorization: Bearer TOKEN` with the controller's token.";
                return Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", message).into_response();
            }
        }
    }
    request.extensions_mut().insert(actor);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(super) async fn in_time(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let patience = state.limits.answer;
    match tokio::time::timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("The request was not complete, or not answered, within {patience:?}.");
            Problem::new(StatusCode::REQUEST_TIMEOUT, "TooSlow", message).into_response()
        }
    }
}

/// Only what this controller serves itself may run, load or be framed, and nothing is kept by anybody on the way.
pub(super) async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_allowed_names_pass_and_other_names_do_not() {
        let hosts = AllowedHosts(vec!["landfall.example.com".to_owned()]);
        for good in [
            "127.0.0.1:7420",
            "[::1]:7420",
            "[::1]",
            "10.1.2.3",
            "localhost",
            "LOCALHOST:80",
            "localhost.:7420",
            "landfall.example.com",
            "Landfall.Example.com:443",
        ] {
            assert!(hosts.allow(good), "{good}");
        }
        for bad in
            ["", "evil.example.com", "localhost.evil.com", "127.0.0.1.evil.com:7420", "landfall.example.com.evil.com"]
        {
            assert!(!hosts.allow(bad), "{bad}");
        }
    }
}
