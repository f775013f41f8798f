//! Answers that are no content: what went wrong, in one form everywhere.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was not served.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    reason: &'a str,
    message: &'a str,
}

impl Problem {
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { reason: self.reason, message: &self.message })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"landfall\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "NotFound", "There is nothing here.")
}

pub(super) async fn method_not_allowed() -> Problem {
    let message = "This takes another method; /api/v1/openapi.yaml says which.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}
