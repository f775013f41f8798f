//! Asking the controller that runs on this machine, over the socket in its state directory: the routes of the HTTP API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::Error;
use crate::web;

/// For one request.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of an answer.
const LARGEST: usize = 64 << 20;

/// The controller of a set.
pub(super) struct Controller {
    directory: PathBuf,
}

impl Controller {
    /// `None`: none runs, as far as the set's directory tells.
    pub(super) async fn of(directory: &Path) -> Option<Self> {
        web::connect_socket(directory).await.ok()?;
        Some(Self { directory: directory.to_path_buf() })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Error> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.request(Method::POST, path, body.to_string().into()).await
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Value, Error> {
        let failed = |error: &dyn std::error::Error| Error::new("the controller does not answer").caused_by(error);
        let asking = async {
            let stream = web::connect_socket(&self.directory).await.map_err(|error| failed(&error))?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            let connection = tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "localhost")
                .header("content-type", "application/json")
                .body(Full::new(body))
                .map_err(|error| failed(&error))?;
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let bytes = body.map_err(|error| failed(&*error))?.to_bytes();
            connection.abort();
            let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            if status.is_success() {
                return Ok(value);
            }
            let said = value["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
            Err(Error::new("the controller refuses").because(said))
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err(Error::new(format!("the controller does not answer within {PATIENCE:?}"))))
    }
}
