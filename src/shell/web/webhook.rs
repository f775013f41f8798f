//! `POST /api/v1/webhook/git`: a forge says that somebody has pushed.
//!
//! All that a delivery can do is to have the repository fetched a little earlier, so one that is replayed does no harm. It still has to
//! prove that it knows the secret: fetching costs.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::token::{Token, TokenError};
use super::{Problem, WebState};
use crate::shell::controller::source::GitSource;

/// The largest delivery. What is larger is found by the next fetch.
pub(super) const LARGEST: usize = 1 << 20;
/// What is kept of one: as many as there may be connections are read at the same time, and strangers send them slowly.
const KEPT: usize = 64 << 10;
/// Shorter secrets can be guessed.
const SHORTEST: usize = 12;

/// What deliveries are checked against, and what they ask for.
#[derive(Clone)]
pub struct Webhook {
    secret: Arc<WebhookSecret>,
    source: GitSource,
    /// `None`: the repository decides, so any branch may be it.
    branch: Option<String>,
}

impl Webhook {
    pub fn new(secret: WebhookSecret, source: GitSource, branch: Option<String>) -> Self {
        Self { secret: Arc::new(secret), source, branch }
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

    /// What the delivery has to prove that it knows the secret, in the way of GitHub, Gitea, Forgejo or GitLab. `None`: nothing, and then none
    /// of its body need be read.
    fn claim(&self, headers: &HeaderMap) -> Option<Claim> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let github = text("x-hub-signature-256").and_then(|value| value.strip_prefix("sha256=")).and_then(unhex);
        let gitea = ["x-gitea-signature", "x-forgejo-signature"].iter().filter_map(|name| unhex(text(name)?));
        let mut claim = Claim {
            shown: text("x-gitlab-token").is_some_and(|guess| self.token.is(guess)),
            tags: github.into_iter().chain(gitea).collect(),
            mac: Hmac::new_from_slice(&self.key).ok()?,
            standard: None,
        };
        claim.standard = self.claim_by_signing_token(headers);
        (claim.shown || !claim.tags.is_empty() || claim.standard.is_some()).then_some(claim)
    }

    /// GitLab's signing tokens follow standardwebhooks.com: several signatures may be given while a token is being changed.
    fn claim_by_signing_token(&self, headers: &HeaderMap) -> Option<(Vec<Vec<u8>>, Hmac<Sha256>)> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (id, time, signatures) = (text("webhook-id")?, text("webhook-timestamp")?, text("webhook-signature")?);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.signing_key.as_ref()?).ok()?;
        for part in [id, ".", time, "."] {
            mac.update(part.as_bytes());
        }
        let tags = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
        let tags: Vec<_> = tags.take(4).filter_map(|tag| STANDARD.decode(tag).ok()).collect();
        (!tags.is_empty()).then_some((tags, mac))
    }

    #[cfg(test)]
    fn proves(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        self.claim(headers).is_some_and(|mut claim| {
            claim.take(body);
            claim.holds()
        })
    }
}

/// A delivery that says to know the secret. Its body is taken as it comes: what is kept of it does not grow with it.
struct Claim {
    /// The secret itself was shown.
    shown: bool,
    tags: Vec<Vec<u8>>,
    mac: Hmac<Sha256>,
    standard: Option<(Vec<Vec<u8>>, Hmac<Sha256>)>,
}

impl Claim {
    fn take(&mut self, piece: &[u8]) {
        self.mac.update(piece);
        if let Some((_, mac)) = &mut self.standard {
            mac.update(piece);
        }
    }

    fn holds(self) -> bool {
        let is = |tags: &[Vec<u8>], mac: Hmac<Sha256>| {
            let expected = mac.finalize().into_bytes();
            tags.iter().any(|tag| same(tag, &expected))
        };
        self.shown || is(&self.tags, self.mac) || self.standard.is_some_and(|(tags, mac)| is(&tags, mac))
    }
}

#[cfg(test)]
fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn same(left: &[u8], right: &[u8]) -> bool {
    !right.is_empty() && left.ct_eq(right).into()
}

/// Of 32 bytes.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (digits.len() == 64).then(|| digits.chunks(2).map(pair).collect()).flatten()
}

/// What was pushed, from the beginning of a delivery: forges put it there. `None`: it does not say, and it may have been anything.
fn reference(beginning: &[u8]) -> Option<String> {
    struct Push<'a>(&'a mut Option<String>);

    impl<'de> Visitor<'de> for Push<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a delivery")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
            while let Some(name) = fields.next_key::<String>()? {
                match name.as_str() {
                    "ref" => *self.0 = fields.next_value()?,
                    _ => drop(fields.next_value::<IgnoredAny>()?),
                }
            }
            Ok(())
        }
    }

    let mut found = None;
    // It ends in the middle of something where the delivery is longer.
    let _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(Push(&mut found));
    found
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
    let headers = request.headers().clone();
    let unsigned = || {
        let message = "The delivery is not signed with the secret of this webhook.";
        Problem::new(StatusCode::FORBIDDEN, "SignatureInvalid", message).into_response()
    };
    let Some(mut claim) = webhook.secret.claim(&headers) else { return unsigned() };
    let mut beginning = Vec::new();
    let mut body = Limited::new(request.into_body(), LARGEST);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let message = format!("A delivery may have {LARGEST} bytes; the next fetch finds what was pushed.");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message).into_response();
        };
        let Ok(piece) = frame.into_data() else { continue };
        claim.take(&piece);
        beginning.extend_from_slice(&piece[..piece.len().min(KEPT.saturating_sub(beginning.len()))]);
    }
    if !claim.holds() {
        return unsigned();
    }
    let taken = |accepted, message| (StatusCode::ACCEPTED, Json(Taken { accepted, message })).into_response();
    let event = ["x-gitea-event", "x-forgejo-event", "x-github-event"].iter().find_map(|name| headers.get(*name));
    if event.is_some_and(|event| event == "ping") {
        return taken(false, "The secret is right.");
    }
    let pushed = reference(&beginning);
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
    fn what_was_pushed_is_read_from_the_beginning_of_a_delivery() {
        assert_eq!(reference(br#"{"ref":"refs/heads/main","x":1}"#).as_deref(), Some("refs/heads/main"));
        let cut = br#"{"object_kind":"push","commits":[{"a":1}],"ref":"refs/heads/main","more":["#;
        assert_eq!(reference(cut).as_deref(), Some("refs/heads/main"));
        for unknown in ["", "[]", "payload=%7B%7D", r#"{"ref":null}"#, r#"{"ref":7}"#, r#"{"ref":"refs/he"#] {
            assert_eq!(reference(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        assert!(matches!(WebhookSecret::new("short"), Err(SecretError::TooShort)));
        assert!(matches!(WebhookSecret::new(" \n"), Err(SecretError::Unusable(TokenError::Empty))));
    }
}
