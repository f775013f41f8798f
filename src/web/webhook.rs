//! `POST /api/v1/webhook/git`: a forge says that somebody has pushed.
//!
//! All that a delivery can do is to have the repository fetched a little earlier, so one that is replayed does no harm. It still has to
//! prove that it knows the secret: fetching costs.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::token::{Token, TokenError};
use super::{Problem, WebState};
use crate::controller::source::GitSource;

/// The largest delivery. What is larger is found by the next fetch.
pub(super) const LARGEST: usize = 1 << 20;
/// Deliveries that are read at the same time, so that strangers cannot have much memory held for them.
const AT_ONCE: usize = 8;
/// Shorter secrets can be guessed.
const SHORTEST: usize = 12;

/// What deliveries are checked against, and what they ask for.
#[derive(Clone)]
pub struct Webhook {
    secret: Arc<WebhookSecret>,
    source: GitSource,
    /// `None`: the repository decides, so any branch may be it.
    branch: Option<String>,
    room: Arc<Semaphore>,
}

impl Webhook {
    pub fn new(secret: WebhookSecret, source: GitSource, branch: Option<String>) -> Self {
        Self { secret: Arc::new(secret), source, branch, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// The secret that a forge was given for its deliveries.
pub struct WebhookSecret {
    /// Key of the signatures.
    key: Vec<u8>,
    /// The same as GitLab's signing token has it, where it is one.
    signing_key: Option<Vec<u8>>,
    token: Token,
}

/// There is no secret to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    Unusable(#[from] TokenError),
    #[error("the secret has fewer than {SHORTEST} characters")]
    TooShort,
}

impl WebhookSecret {
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Self::new(&Token::text(path)?)
    }

    /// White space around it is not part of it.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let token = Token::new(text)?;
        let text = text.trim();
        if text.len() < SHORTEST {
            return Err(SecretError::TooShort);
        }
        let signing_key = text.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
        Ok(Self { key: text.as_bytes().to_vec(), signing_key, token })
    }

    /// Whether the delivery knows the secret, in the way of GitHub, Gitea, Forgejo or GitLab.
    fn proves(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let signed = |hex: &str| unhex(hex).is_some_and(|tag| same(&tag, &mac(&self.key, &[body])));
        let github = text("x-hub-signature-256").and_then(|value| value.strip_prefix("sha256=")).is_some_and(signed);
        let gitea = ["x-gitea-signature", "x-forgejo-signature"].iter().any(|name| text(name).is_some_and(signed));
        let gitlab = text("x-gitlab-token").is_some_and(|guess| self.token.is(guess));
        github || gitea || gitlab || self.proves_by_signing_token(headers, body)
    }

    /// GitLab's signing tokens follow standardwebhooks.com: several signatures may be given while a token is being changed.
    fn proves_by_signing_token(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let parts = (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"), &self.signing_key);
        let (Some(id), Some(time), Some(signatures), Some(key)) = parts else { return false };
        let expected = mac(key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
        let tags = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
        tags.take(4).any(|tag| STANDARD.decode(tag).is_ok_and(|tag| same(&tag, &expected)))
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // Keys of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn same(left: &[u8], right: &[u8]) -> bool {
    !right.is_empty() && left.ct_eq(right).into()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (digits.len() == 64).then(|| digits.chunks(2).map(pair).collect()).flatten()
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: Option<String>,
}

#[derive(Serialize)]
struct Taken {
    accepted: bool,
    message: &'static str,
}

pub(super) async fn git(State(state): State<WebState>, request: Request) -> Response {
    let Some(webhook) = &state.webhook else {
        let message = "The controller follows no repository with a webhook: it needs --git and --webhook-secret-file.";
        return Problem::new(StatusCode::FORBIDDEN, "NoWebhook", message).into_response();
    };
    let Ok(_place) = webhook.room.acquire().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let headers = request.headers().clone();
    let body: Bytes = match axum::body::to_bytes(request.into_body(), LARGEST).await {
        Ok(body) => body,
        Err(_) => {
            let message = format!("A delivery may have {LARGEST} bytes; the next fetch finds what was pushed.");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message).into_response();
        }
    };
    if !webhook.secret.proves(&headers, &body) {
        let message = "The delivery is not signed with the secret of this webhook.";
        return Problem::new(StatusCode::FORBIDDEN, "SignatureInvalid", message).into_response();
    }
    let taken = |accepted, message| (StatusCode::ACCEPTED, Json(Taken { accepted, message })).into_response();
    let event = ["x-gitea-event", "x-forgejo-event", "x-github-event"].iter().find_map(|name| headers.get(*name));
    if event.is_some_and(|event| event == "ping") {
        return taken(false, "The secret is right.");
    }
    // A body in another form than JSON says nothing of a branch; then it may be any.
    let pushed = serde_json::from_slice::<Push>(&body).ok().and_then(|push| push.reference);
    let pushed = pushed.as_deref().and_then(|reference| reference.strip_prefix("refs/heads/"));
    match (pushed, &webhook.branch) {
        (Some(pushed), Some(followed)) if pushed != followed => taken(false, "Another branch is followed."),
        _ => {
            webhook.source.refresh();
            taken(true, "The repository is fetched.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// The example of GitHub's documentation ("Validating webhook deliveries", testing).
    #[test]
    fn a_signature_of_github_is_verified_as_documented() {
        let secret = WebhookSecret::new("It's-a-Secret-to-Everybody").unwrap();
        let tag = mac(b"It's a Secret to Everybody", &[b"Hello, World!"]);
        let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
        let own: String =
            mac(b"It's-a-Secret-to-Everybody", &[b"x"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(secret.proves(&headers(&[("x-hub-signature-256", &format!("sha256={own}"))]), b"x"));
        assert!(secret.proves(&headers(&[("x-gitea-signature", &own)]), b"x"));
        assert!(!secret.proves(&headers(&[("x-gitea-signature", &own)]), b"y"));
        assert!(!secret.proves(&headers(&[("x-hub-signature-256", &own)]), b"x"));
        for bad in ["", "sha256=", "sha256=zz", &format!("sha1={own}"), &format!("sha256={}", &own[..62])] {
            assert!(!secret.proves(&headers(&[("x-hub-signature-256", bad)]), b"x"), "{bad}");
        }
        assert!(!secret.proves(&HeaderMap::new(), b"x"));
    }

    #[test]
    fn gitlab_shows_the_token_or_signs_with_a_signing_token() {
        let secret = WebhookSecret::new("whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=\n").unwrap();
        assert!(
            secret.proves(&headers(&[("x-gitlab-token", "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=")]), b"")
        );
        assert!(!secret.proves(&headers(&[("x-gitlab-token", "whsec_dGVz")]), b""));
        let tag = STANDARD.encode(mac(b"testtesttesttesttesttesttesttest", &[b"msg_1.1700000000.{}"]));
        let signed = |signature: &str| {
            let pairs =
                [("webhook-id", "msg_1"), ("webhook-timestamp", "1700000000"), ("webhook-signature", signature)];
            secret.proves(&headers(&pairs), b"{}")
        };
        assert!(signed(&format!("v1,{tag}")));
        assert!(signed(&format!("v1,AAAA v1,{tag}")));
        assert!(!signed(&tag) && !signed("v1,") && !signed("v1,AAAA"));
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        assert!(matches!(WebhookSecret::new("short"), Err(SecretError::TooShort)));
        assert!(matches!(WebhookSecret::new(" \n"), Err(SecretError::Unusable(TokenError::Empty))));
    }
}
