//! Asking the controller that runs on this machine, over the socket in its state directory: the routes of the HTTP API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::Error;
use super::args::{SetArgs, StateArgs};
use super::record;
use crate::core::api::ObjectKey;
use crate::shell::store;
use crate::shell::web::{self, InForce};

/// For one request.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of an answer.
const LARGEST: usize = 64 << 20;
/// Of one with manifests, of which there may be as many as are read.
const MANIFESTS: usize = 512 << 20;

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

    /// What it says of a declared object; `None`: it does not keep it.
    pub(super) async fn object(&self, key: &ObjectKey) -> Option<Value> {
        self.get(&format!("/api/v1/objects/{key}")).await.ok()
    }

    /// The manifests that it keeps.
    pub(super) async fn manifests(&self) -> Result<InForce, Error> {
        let answered = self.request(Method::GET, "/api/v1/manifests/sources", Bytes::new(), MANIFESTS).await?;
        serde_json::from_value(answered).map_err(|error| {
            Error::new("the controller does not say which manifests are in force")
                .caused_by(&error)
                .hint("it may be of another version; restart it with this one")
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Error> {
        self.request(Method::GET, path, Bytes::new(), LARGEST).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.request(Method::POST, path, body.to_string().into(), LARGEST).await
    }

    async fn request(&self, method: Method, path: &str, body: Bytes, most: usize) -> Result<Value, Error> {
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
            let body = Limited::new(response.into_body(), most).collect().await;
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

/// Attempts to run something that the controller of the set makes no more: who plans beside it says the same of them. None, where none runs.
pub(super) async fn failed_attempts(state: &StateArgs, set: &SetArgs) -> BTreeMap<String, String> {
    let asked = async {
        let controller = Controller::of(&record::directory(state, set).ok()?).await?;
        let answered = controller.get("/api/v1/attempts").await;
        answered.map_err(|error| tracing::debug!("what the controller has given up is not known: {error}")).ok()
    };
    asked.await.and_then(|answered| serde_json::from_value(answered).ok()).unwrap_or_default()
}

/// What to do where no controller was found: there may be one with another set or directory.
pub(super) fn none_found(state: &StateArgs, set: &SetArgs) -> Error {
    let directory = record::directory(state, set).map(|it| it.display().to_string()).unwrap_or_default();
    let error = Error::new(format!("no `landfall run` keeps the set {:?} in {directory}", set.set));
    let own = rustix::process::geteuid().as_raw();
    let mut others = Vec::new();
    for directory in web::controllers() {
        use std::os::unix::fs::MetadataExt;
        let named = directory.file_name().and_then(|set| set.to_str());
        let (Some(name), Some(state)) = (named, directory.parent().and_then(Path::parent)) else { continue };
        let Ok(owner) = std::fs::metadata(directory.join(web::SOCKET)).map(|it| it.uid()) else { continue };
        // Nobody but root may open what is another user's.
        let user = if owner == own { String::new() } else { format!(" (as the user {owner})") };
        others.push(format!("`{}`{user}", store::options(name, Some(state)).trim_start()));
    }
    match others.as_slice() {
        [] => error.hint("--state and --set are those that `landfall run` was started with"),
        others => error.hint(format!("there is one on this machine: {}", others.join(", "))),
    }
}
