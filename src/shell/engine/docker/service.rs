//! Making and changing a Swarm service. The API takes whole definitions only, so the present one is read, changed in one place and sent back, as the JSON
//! that it is: models would lose the fields that they do not know. For the same reason it goes through the daemon's own version of the API;
//! in an older one the daemon drops what that version did not have. The daemon refuses a definition that is not of the latest version of the
//! service, so what somebody else changes in between is not lost either.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::classify::{Failure, Operation};
use super::workload::registry_auth;
use super::{DockerReader, DockerWriter, LARGEST_LIST, LARGEST_OBJECT, TransportError, decoded, succeeded, within};
use crate::core::observed::{NetworkId, ObservedService, Rollout, ServiceAttachment, ServiceId, ServiceNetwork};
use crate::core::workload::Value as Content;
use crate::core::workload::service::{SeenSecret, ServiceCreate, ServiceTask};
use crate::shell::engine::{EngineError, EngineErrorKind, ServiceNetworkUpdate, ServiceUpdate};

/// How often a definition is read anew because somebody else has changed it in between.
const ATTEMPTS: usize = 3;
/// Between two looks at a service that has just been updated.
const POLL: Duration = Duration::from_millis(50);
/// What the daemon says then.
const OUT_OF_SEQUENCE: &str = "update out of sequence";

pub(super) async fn update(
    writer: &DockerWriter,
    service: &ServiceId,
    change: ServiceUpdate<'_>,
) -> Result<(), EngineError> {
    let what = format!("updating the Swarm service {}", service.short());
    let limit = writer.reader.options.write_timeout;
    let mut attempts = 1..=ATTEMPTS;
    loop {
        attempts.next();
        match within(limit, once(&writer.reader, service, change)).await {
            Ok(Some(rollout)) => return Err(in_progress(rollout, what)),
            Err(Failure::Refused { message, .. }) if message.contains(OUT_OF_SEQUENCE) && !attempts.is_empty() => {}
            answer => {
                return answer
                    .map(|_| ())
                    .map_err(|failure| failure.explain(Operation::UpdateService, &writer.reader.server, &what));
            }
        }
    }
}

fn in_progress(rollout: Rollout, attempted: String) -> EngineError {
    let message = match rollout {
        Rollout::Updating => "a rollout of the service is under way",
        Rollout::Paused => "the rollout of the service is paused, and an update would resume it",
        Rollout::RollbackStarted => "the service is being rolled back",
        Rollout::RollbackPaused => "the rollback of the service is paused, and an update would resume it",
    };
    EngineError { kind: EngineErrorKind::RolloutInProgress, attempted, message: message.to_owned(), hint: None }
}

/// How long an update may be without a status that says how it goes.
const BEGINNING: Duration = Duration::from_secs(2);

/// The service as it is, once it says how its latest update goes: for some milliseconds after one it does not.
async fn definition(reader: &DockerReader, path: &str) -> Result<Value, Failure> {
    let deadline = Instant::now() + BEGINNING;
    loop {
        let seen = read(reader, path).await?;
        if !is_beginning(&seen) || Instant::now() >= deadline {
            return Ok(seen);
        }
        sleep(POLL).await;
    }
}

async fn read(reader: &DockerReader, path: &str) -> Result<Value, Failure> {
    let read = exchange(reader, http::Request::get(format!("http://docker{path}")), Bytes::new()).await?;
    decoded(&read)
}

/// Whether it was updated in a way that replaces tasks, and the Swarm has not said anything of that yet. Where there is no task to replace it
/// never does.
fn is_beginning(seen: &Value) -> bool {
    let template = |spec: &Value| spec["TaskTemplate"].clone();
    let none = |mode: &Value| mode["Replicated"]["Replicas"].as_u64() == Some(0);
    seen["UpdateStatus"]["State"].as_str().is_none_or(str::is_empty)
        && seen["PreviousSpec"].is_object()
        && template(&seen["PreviousSpec"]) != template(&seen["Spec"])
        && !none(&seen["Spec"]["Mode"])
}

/// The rollout that is in the way, if there is one.
async fn once(
    reader: &DockerReader,
    service: &ServiceId,
    change: ServiceUpdate<'_>,
) -> Result<Option<Rollout>, Failure> {
    // Nothing is changed through an API that has not been heard to be new enough.
    if reader.transport.version().is_none() {
        reader.probe().await?;
    }
    let path = format!("/services/{service}");
    let restores = matches!(change, ServiceUpdate::Restored(_) | ServiceUpdate::RolledBack);
    let seen = if restores { read(reader, &path).await? } else { definition(reader, &path).await? };
    let version = seen["Version"]["Index"].as_u64();
    let (Some(version), Value::Object(spec)) = (version, &seen["Spec"]) else {
        return Err(Failure::Unreadable("the service has no definition or no version".to_owned()));
    };
    let changed = match change {
        ServiceUpdate::Networks(changes) | ServiceUpdate::Restored(changes) => on_networks(spec.clone(), changes),
        ServiceUpdate::Replicas(replicas) => scaled(spec.clone(), replicas).map_err(|why| Failure::Refused {
            status: http::StatusCode::BAD_REQUEST.as_u16(),
            message: why.to_owned(),
        })?,
        ServiceUpdate::Definition { create, network, anew } => {
            let spec = defined(reader, spec.clone(), create, network).await?;
            if anew { Some(forced(spec)) } else { Some(spec).filter(|it| Value::Object(it.clone()) != seen["Spec"]) }
        }
        ServiceUpdate::RolledBack => Some(spec.clone()),
    };
    let Some(spec) = changed else { return Ok(None) };
    let rollout = seen["UpdateStatus"]["State"].as_str().and_then(Rollout::of);
    if rollout.is_some() && !restores {
        return Ok(rollout);
    }
    let back = if matches!(change, ServiceUpdate::RolledBack) { "&rollback=previous" } else { "" };
    let request = http::Request::post(format!("http://docker{path}/update?version={version}{back}"))
        .header(http::header::CONTENT_TYPE, "application/json");
    let request = match change {
        ServiceUpdate::Definition { create, .. } => with_credentials(request, &create.image).await?,
        _ => request,
    };
    exchange(reader, request, Bytes::from(Value::Object(spec).to_string())).await.map(|_| None)
}

async fn exchange(reader: &DockerReader, request: http::request::Builder, body: Bytes) -> Result<Bytes, Failure> {
    let request = request.body(Full::new(body)).map_err(TransportError::from)?;
    Ok(succeeded(reader.transport.send_as_is(request).await?).await?.whole(LARGEST_OBJECT).await?)
}

/// Nodes pull with what the manager is given, as `docker service create --with-registry-auth` does.
async fn with_credentials(request: http::request::Builder, image: &str) -> Result<http::request::Builder, Failure> {
    Ok(match registry_auth(image).await? {
        Some(auth) => request.header("X-Registry-Auth", auth),
        None => request,
    })
}

/// The definition as Landfall has it declared, with what it refers to by ids.
async fn defined(
    reader: &DockerReader,
    mut spec: Map<String, Value>,
    create: &ServiceCreate,
    network: &NetworkId,
) -> Result<Map<String, Value>, Failure> {
    let mut ids = BTreeMap::new();
    if !create.files.is_empty() {
        let secrets: Vec<SeenSecret> = listed_secrets(reader).await?;
        ids.extend(secrets.into_iter().map(|secret| (secret.name, secret.id)));
    }
    super::definition::write(&mut spec, create, &super::definition::Ids { secrets: &ids })?;
    let change = ServiceNetworkUpdate { id: network, name: "", attachment: Some(&create.attachment) };
    Ok(on_networks(spec.clone(), &[change]).unwrap_or(spec))
}

/// Its tasks are replaced: a Swarm compares them with the whole definition.
fn forced(mut spec: Map<String, Value>) -> Map<String, Value> {
    if let Some(template) = spec.get_mut("TaskTemplate").and_then(Value::as_object_mut) {
        let before = template.get("ForceUpdate").and_then(Value::as_u64).unwrap_or_default();
        template.insert("ForceUpdate".to_owned(), json!(before.wrapping_add(1)));
    }
    spec
}

pub(super) async fn create(
    writer: &DockerWriter,
    create: &ServiceCreate,
    network: &NetworkId,
) -> Result<ServiceId, EngineError> {
    #[derive(serde::Deserialize)]
    struct Created {
        #[serde(rename = "ID")]
        id: String,
    }
    let reader = &writer.reader;
    let what = format!("creating the Swarm service {}", create.name);
    let made = async {
        if reader.transport.version().is_none() {
            reader.probe().await?;
        }
        let spec = defined(reader, Map::new(), create, network).await?;
        let request =
            http::Request::post("http://docker/services/create").header(http::header::CONTENT_TYPE, "application/json");
        let request = with_credentials(request, &create.image).await?;
        let created: Created =
            decoded(&exchange(reader, request, Bytes::from(Value::Object(spec).to_string())).await?)?;
        ServiceId::try_from(created.id).map_err(|odd| Failure::Unreadable(odd.to_string()))
    };
    let made = within(reader.options.write_timeout, made).await;
    made.map_err(|failure| failure.explain(Operation::ChangeService, &reader.server, &what))
}

pub(super) async fn listed_secrets(reader: &DockerReader) -> Result<Vec<SeenSecret>, Failure> {
    let listed: Vec<super::wire::Secret> = decoded(&reader.get_bytes("/secrets", LARGEST_LIST).await?)?;
    let mut secrets: Vec<SeenSecret> = listed.into_iter().map(Into::into).collect();
    secrets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(secrets)
}

impl DockerReader {
    pub(super) async fn seen_service(&self, id: &ServiceId) -> Result<Option<ObservedService>, EngineError> {
        let what = || format!("inspecting the Swarm service {}", id.short());
        match self.get::<super::wire::Service>(&format!("/services/{id}"), LARGEST_OBJECT, what).await {
            Ok(service) => self.understood(service.whole(), &what()).map(Some),
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn tasks_of(&self, id: &ServiceId) -> Result<Vec<ServiceTask>, EngineError> {
        // The id is of letters and digits alone.
        let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{id}%22%5D%7D");
        let what = || format!("listing the tasks of the Swarm service {}", id.short());
        let tasks: Vec<super::wire::Task> = self.get(&path, LARGEST_LIST, what).await?;
        let mut tasks: Vec<ServiceTask> = tasks.into_iter().map(Into::into).collect();
        tasks.sort_by(|one, other| (&other.since, &other.id).cmp(&(&one.since, &one.id)));
        Ok(tasks)
    }

    pub(super) async fn secrets_of_swarm(&self) -> Result<Vec<SeenSecret>, EngineError> {
        let listed = listed_secrets(self).await;
        listed.map_err(|failure| failure.explain(Operation::Read, &self.server, "listing the secrets of the Swarm"))
    }

    pub(super) async fn last_lines_of_task(&self, id: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        let what = format!("reading the log of the task {id}");
        checked(self, id, &what)?;
        let path = format!("/tasks/{id}/logs?stdout=1&stderr=1&tail={}", lines.min(1000));
        let read = self.get_bytes(&path, LARGEST_OBJECT).await;
        let read = read.map_err(|failure| failure.explain(Operation::Read, &self.server, &what))?;
        Ok(super::logs::log_lines(&read))
    }
}

/// An id that goes into a path, and that another answer of the daemon has.
pub(super) fn checked(reader: &DockerReader, id: &str, what: &str) -> Result<(), EngineError> {
    if !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    reader.understood(Err(super::wire::Odd(format!("{id:?} is no id of a Swarm"))), what)
}

impl DockerWriter {
    pub(super) async fn make_secret(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        content: &Content,
    ) -> Result<(), EngineError> {
        use base64::Engine as _;

        let what = format!("creating the Swarm secret {name}");
        let text = match content {
            Content::Literal(text) => text.as_str(),
            Content::Secret(secret) => secret.expose().unwrap_or_default(),
        };
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        let body = json!({ "Name": name, "Labels": labels, "Data": data });
        self.change(Operation::ChangeService, what, http::Method::POST, "/secrets/create", &body).await
    }

    pub(super) async fn drop_secret(&self, id: &str) -> Result<bool, EngineError> {
        let what = format!("removing the Swarm secret {id}");
        checked(&self.reader, id, &what)?;
        let path = format!("/secrets/{id}");
        match self.change(Operation::ChangeService, what, http::Method::DELETE, &path, &()).await {
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(true),
            Err(error) if error.message.contains("is in use by") => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    pub(super) async fn drop_service(&self, id: &ServiceId) -> Result<(), EngineError> {
        let what = format!("removing the Swarm service {}", id.short());
        let path = format!("/services/{id}");
        match self.change(Operation::ChangeService, what, http::Method::DELETE, &path, &()).await {
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// The definition with the networks as the changes say; `None` where it is so already.
fn on_networks(mut spec: Map<String, Value>, changes: &[ServiceNetworkUpdate<'_>]) -> Option<Map<String, Value>> {
    // Before API 1.25 the networks were beside the task template, and an update has to move them.
    let legacy = spec.remove("Networks").filter(|networks| networks.as_array().is_some_and(|it| !it.is_empty()));
    let template = spec.get_mut("TaskTemplate")?.as_object_mut()?;
    let networks = template.entry("Networks").or_insert(Value::Null);
    if networks.as_array().is_none_or(Vec::is_empty) {
        *networks = legacy.unwrap_or_else(|| json!([]));
    }
    let networks = networks.as_array_mut()?;
    let before = networks.clone();
    for ServiceNetworkUpdate { id, name, attachment } in changes {
        let is_it = |known: &Value| {
            let target = known["Target"].as_str().unwrap_or_default().to_owned();
            ServiceNetwork { target, attachment: ServiceAttachment::default() }.is(id, name)
        };
        let at = networks.iter().position(is_it);
        networks.retain(|known| !is_it(known));
        if let Some(ServiceAttachment { aliases, driver_opts }) = attachment {
            let mut entry = Map::new();
            entry.insert("Target".to_owned(), json!(id.as_str()));
            if !aliases.is_empty() {
                entry.insert("Aliases".to_owned(), json!(aliases));
            }
            if !driver_opts.is_empty() {
                entry.insert("DriverOpts".to_owned(), json!(driver_opts));
            }
            networks.insert(at.unwrap_or(networks.len()), Value::Object(entry));
        }
    }
    (*networks != before).then_some(spec)
}

/// The definition with so many replicas; `None` where it has them.
fn scaled(mut spec: Map<String, Value>, replicas: u64) -> Result<Option<Map<String, Value>>, &'static str> {
    let mode = spec.get_mut("Mode").and_then(|mode| mode.get_mut("Replicated")).and_then(Value::as_object_mut);
    let Some(mode) = mode else { return Err("the service is not replicated, and cannot be scaled") };
    let before = mode.insert("Replicas".to_owned(), json!(replicas));
    Ok((before != Some(json!(replicas))).then_some(spec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::observed::NetworkId;

    const ID: &str = "6yuvzemddvv4wc8x0ahvc9mva";

    fn changed(spec: Value, attachment: Option<ServiceAttachment>) -> Option<Value> {
        let id = NetworkId::try_from(ID.to_owned()).unwrap();
        let Value::Object(spec) = spec else { panic!("{spec}") };
        let change = ServiceNetworkUpdate { id: &id, name: "web-net", attachment: attachment.as_ref() };
        on_networks(spec, &[change]).map(Value::Object)
    }

    fn www() -> ServiceAttachment {
        ServiceAttachment { aliases: vec!["www".to_owned()], ..ServiceAttachment::default() }
    }

    #[test]
    fn nothing_of_a_definition_changes_but_the_network() {
        let spec = json!({
            "Name": "api", "FieldOfTheFuture": { "Nanoseconds": 9_007_199_254_740_993_u64 },
            "TaskTemplate": { "ForceUpdate": 3, "Networks": [{ "Target": "other", "Aliases": ["a"], "Priority": 7 }] }
        });
        let mut expected = spec.clone();
        expected["TaskTemplate"]["Networks"] = json!([
            { "Target": "other", "Aliases": ["a"], "Priority": 7 },
            { "Target": ID, "Aliases": ["www"] }
        ]);
        let attached = changed(spec.clone(), Some(www())).unwrap();
        assert_eq!(attached, expected);
        assert_eq!(changed(attached.clone(), Some(www())), None);
        assert_eq!(changed(attached, None), Some(spec.clone()));
        assert_eq!(changed(spec, None), None);
    }

    #[test]
    fn a_network_that_is_named_is_the_same_as_one_with_its_id() {
        let spec = json!({ "TaskTemplate": { "Networks": [{ "Target": "web-net" }, { "Target": "other" }] } });
        let expected =
            json!({ "TaskTemplate": { "Networks": [{ "Target": ID, "Aliases": ["www"] }, { "Target": "other" }] } });
        assert_eq!(changed(spec.clone(), Some(www())), Some(expected));
        assert_eq!(changed(spec, None), Some(json!({ "TaskTemplate": { "Networks": [{ "Target": "other" }] } })));
    }

    #[test]
    fn networks_of_an_old_definition_move_into_the_task_template() {
        let spec = json!({ "Networks": [{ "Target": "old" }], "TaskTemplate": {} });
        let expected =
            json!({ "TaskTemplate": { "Networks": [{ "Target": "old" }, { "Target": ID, "Aliases": ["www"] }] } });
        assert_eq!(changed(spec, Some(www())), Some(expected));
    }

    #[test]
    fn only_what_is_replicated_is_scaled() {
        let scaled = |mode: Value, replicas| {
            let Value::Object(spec) = json!({ "Name": "api", "Mode": mode }) else { unreachable!() };
            scaled(spec, replicas).map(|spec| spec.map(|spec| Value::Object(spec)["Mode"].clone()))
        };
        assert_eq!(
            scaled(json!({ "Replicated": { "Replicas": 3 } }), 0),
            Ok(Some(json!({ "Replicated": { "Replicas": 0 } })))
        );
        assert_eq!(scaled(json!({ "Replicated": { "Replicas": 3 } }), 3), Ok(None));
        assert!(scaled(json!({ "Global": {} }), 3).is_err());
    }
}
