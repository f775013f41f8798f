//! Containers that Landfall runs, their images and volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::classify::{Failure, Operation};
use super::logs::log_lines;
use super::{
    DockerReader, DockerWriter, LARGEST_LIST, LARGEST_OBJECT, LARGEST_RECEIPT, TransportError, decoded, registry,
    request, succeeded, within,
};
use crate::core::observed::{ContainerId, EndpointSettings};
use crate::core::workload::compare::{restart_word, wrapped};
use crate::core::workload::identity::{DRAIN, FILES, UID, files_label};
use crate::core::workload::seen::{SeenImage, Storage};
use crate::core::workload::{
    ContainerCreate, ContainerTemplate, ContainerUpdate, File, Healthcheck, MountSource, NOWHERE, Port, Value,
};
use crate::shell::engine::{EngineError, EngineErrorKind, WorkloadDetail};

/// Longest wait for an image.
const PULL: Duration = Duration::from_secs(3600);
/// Name of the file that makes a wrapped health check fail.
const DRAIN_FILE: &str = "landfall-drain";
/// What a wrapped health check needs in the container.
const SHELL: &str = "/bin/sh";

impl DockerReader {
    pub(super) async fn seen_workload(&self, id: &ContainerId) -> Result<Option<WorkloadDetail>, EngineError> {
        let what = || format!("inspecting container {}", id.short());
        let explain = |failure: Failure| failure.explain(Operation::Read, &self.server, &what());
        let bytes = match self.get_bytes(&format!("/containers/{id}/json"), LARGEST_OBJECT).await.map_err(explain) {
            Ok(bytes) => bytes,
            Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.understood(super::seen::workload(&bytes), &what()).map(Some)
    }

    pub(super) async fn seen_image(&self, reference: &str) -> Result<Option<SeenImage>, EngineError> {
        let what = || format!("inspecting the image {reference}");
        self.check_reference(reference)?;
        match self.get::<super::seen::Image>(&format!("/images/{reference}/json"), LARGEST_OBJECT, what).await {
            Ok(image) => Ok(Some(image.into())),
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn registry_digest(&self, reference: &str) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        struct Distribution {
            #[serde(rename = "Descriptor")]
            descriptor: Descriptor,
        }
        #[derive(Deserialize)]
        struct Descriptor {
            digest: String,
        }
        let what = format!("asking the registry for {reference}");
        self.check_reference(reference)?;
        let exchange = async {
            let request = authorized(Method::GET, &format!("/distribution/{reference}/json"), reference).await?;
            let answer = succeeded(self.transport.send(request).await?).await?;
            decoded::<Distribution>(&answer.whole(LARGEST_OBJECT).await?)
        };
        let answer = within(self.options.read_timeout, exchange).await;
        answer
            .map(|answer| answer.descriptor.digest)
            .map_err(|failure| failure.explain(Operation::PullImage, &self.server, &what))
    }

    pub(super) async fn last_lines(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError> {
        let path = format!("/containers/{id}/logs?stdout=1&stderr=1&tail={}", lines.min(1000));
        let explain = |failure: Failure| {
            failure.explain(Operation::Read, &self.server, &format!("reading the log of container {}", id.short()))
        };
        Ok(log_lines(&self.get_bytes(&path, LARGEST_OBJECT).await.map_err(explain)?))
    }

    pub(super) async fn stored(&self) -> Result<Storage, EngineError> {
        use super::seen::{ListedContainer, ListedImage, ListedVolumes};

        let images = self.get("/images/json", LARGEST_LIST, || "listing the images".to_owned());
        let volumes = self.get("/volumes", LARGEST_LIST, || "listing the volumes".to_owned());
        let users = self.get("/containers/json?all=1", LARGEST_LIST, || "listing the containers".to_owned());
        // One after another: each may be as long as a list may be.
        let (images, volumes, users): (Vec<ListedImage>, ListedVolumes, Vec<ListedContainer>) =
            (images.await?, volumes.await?, users.await?);
        Ok(Storage {
            images: images.into_iter().map(Into::into).collect(),
            volumes: volumes.into(),
            users: users.into_iter().map(Into::into).collect(),
        })
    }

    pub(super) async fn sizes_of_volumes(&self) -> Result<BTreeMap<String, u64>, EngineError> {
        #[derive(Deserialize, Default)]
        #[serde(default, rename_all = "PascalCase")]
        struct Usage {
            volumes: Option<Vec<Volume>>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default, rename_all = "PascalCase")]
        struct Volume {
            name: String,
            usage_data: Option<Used>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default, rename_all = "PascalCase")]
        struct Used {
            size: i64,
        }
        // Older engines do not know the parameter and measure everything.
        let usage: Usage =
            self.get("/system/df?type=volume", LARGEST_LIST, || "measuring the volumes".to_owned()).await?;
        let size = |volume: Volume| Some((volume.name, u64::try_from(volume.usage_data?.size).ok()?));
        Ok(usage.volumes.into_iter().flatten().filter_map(size).collect())
    }

    /// A reference goes into a path. Manifests are checked when they are read; this is for whatever else names an image.
    fn check_reference(&self, reference: &str) -> Result<(), EngineError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:@/-".contains(c);
        if reference.chars().all(fits)
            && !reference.is_empty()
            && !reference.split('/').any(|part| part.starts_with('.'))
        {
            return Ok(());
        }
        let odd = super::wire::Odd(format!("{reference:?} is no image reference"));
        self.understood(Err(odd), "naming an image")
    }
}

impl DockerWriter {
    pub(super) async fn pull(&self, reference: &str, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<(), EngineError> {
        let what = format!("pulling the image {reference}");
        self.reader.check_reference(reference)?;
        let pull = async {
            // Without a tag the daemon would pull every one there is.
            let tagged = reference.contains('@') || reference.rsplit('/').next().is_some_and(|name| name.contains(':'));
            let full = if tagged { reference.to_owned() } else { format!("{reference}:latest") };
            let request = authorized(Method::POST, &format!("/images/create?fromImage={full}"), reference).await?;
            let mut pieces = succeeded(self.reader.transport.send(request).await?).await?.pieces();
            let mut steps = PullSteps::default();
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error| Failure::Broken(error.to_string()))?;
                let (current, total) = steps.take(&piece)?;
                progress(current, total);
            }
            Ok(())
        };
        let pulled = within(PULL, pull).await;
        pulled.map_err(|failure| failure.explain(Operation::PullImage, &self.reader.server, &what))
    }

    pub(super) async fn create(
        &self,
        container: &ContainerCreate,
        network: &str,
        settings: &EndpointSettings,
    ) -> Result<ContainerId, EngineError> {
        let what = format!("creating container {}", container.name);
        let created = within(self.reader.options.write_timeout, self.try_create(container, network, settings)).await;
        created.map_err(|failure| failure.explain(Operation::ChangeContainer, &self.reader.server, &what))
    }

    async fn try_create(
        &self,
        container: &ContainerCreate,
        network: &str,
        settings: &EndpointSettings,
    ) -> Result<ContainerId, Failure> {
        let image =
            self.reader.seen_image(&container.image).await.map_err(|error| Failure::Broken(error.to_string()))?;
        let check = container.template.healthcheck.clone().or(image.and_then(|image| image.healthcheck));
        let drain = container.drainable.then(|| drain_path(&container.template)).flatten();
        let wrapping =
            drain.as_ref().zip(check.as_ref()).and_then(|(drain, check)| Some((drain, wrapped(check, drain)?)));
        let id = match wrapping {
            None => {
                self.post_create(container, network, settings, container.template.healthcheck.as_ref(), None).await?
            }
            Some((drain, check)) => {
                let id = self.post_create(container, network, settings, Some(&check), Some(drain)).await?;
                if self.has_file(&id, SHELL).await? {
                    id
                } else {
                    // Without a shell a wrapped check would never succeed.
                    self.delete(&id).await?;
                    let check = container.template.healthcheck.as_ref();
                    self.post_create(container, network, settings, check, None).await?
                }
            }
        };
        if let Err(failure) = self.put_files(&id, &container.template.files).await {
            // A container without its files must not be started by anyone.
            let _ = self.delete(&id).await;
            return Err(failure);
        }
        Ok(id)
    }

    async fn post_create(
        &self,
        container: &ContainerCreate,
        network: &str,
        settings: &EndpointSettings,
        check: Option<&Healthcheck>,
        drain: Option<&String>,
    ) -> Result<ContainerId, Failure> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        let body = create_body(container, network, settings, check, drain)?;
        let request = request(Method::POST, &format!("/containers/create?name={}", container.name), &body)?;
        let answer = succeeded(self.reader.transport.send(request).await?).await?;
        let created: Created = decoded(&answer.whole(LARGEST_RECEIPT).await?)?;
        ContainerId::try_from(created.id).map_err(|odd| Failure::Unreadable(odd.to_string()))
    }

    async fn delete(&self, id: &ContainerId) -> Result<(), Failure> {
        let request = request(Method::DELETE, &format!("/containers/{id}?force=1&v=0"), &())?;
        succeeded(self.reader.transport.send(request).await?).await.map(|_| ())
    }

    /// `HEAD /containers/{id}/archive`.
    async fn has_file(&self, id: &ContainerId, path: &str) -> Result<bool, Failure> {
        let request = request(Method::HEAD, &format!("/containers/{id}/archive?path={path}"), &())?;
        Ok(self.reader.transport.send(request).await?.status().is_success())
    }

    /// `PUT /containers/{id}/archive`: a tar archive with the files, unpacked at the root.
    async fn put_files(&self, id: &ContainerId, files: &BTreeMap<String, File>) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let archive = archive(files).map_err(|error| Failure::Broken(error.to_string()))?;
        let request = Request::put(format!("http://docker/containers/{id}/archive?path=/"))
            .header(http::header::CONTENT_TYPE, "application/x-tar")
            .body(Full::new(Bytes::from(archive)))
            .map_err(TransportError::from)?;
        succeeded(self.reader.transport.send(request).await?).await.map(|_| ())
    }

    pub(super) async fn remove(&self, id: &ContainerId, force: bool) -> Result<(), EngineError> {
        let what = format!("removing container {}", id.short());
        let path = format!("/containers/{id}?force={}&v=0", u8::from(force));
        self.change(Operation::ChangeContainer, what, Method::DELETE, &path, &()).await
    }

    pub(super) async fn discard(&self, id: &ContainerId) -> Result<(), EngineError> {
        let what = format!("removing container {}", id.short());
        let path = format!("/containers/{id}?force=1&v=1");
        match self.change(Operation::ChangeContainer, what, Method::DELETE, &path, &()).await {
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    pub(super) async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), EngineError> {
        let what = format!("renaming container {} to {name}", id.short());
        let path = format!("/containers/{id}/rename?name={name}");
        self.change(Operation::ChangeContainer, what, Method::POST, &path, &()).await
    }

    pub(super) async fn update_limits(&self, id: &ContainerId, update: &ContainerUpdate) -> Result<(), EngineError> {
        let what = format!("updating container {}", id.short());
        let ContainerUpdate { restart, nano_cpus, memory, pids } = update;
        let fields = [
            ("RestartPolicy", restart.map(|policy| json!({ "Name": restart_word(policy) }))),
            ("NanoCpus", nano_cpus.map(|it| json!(it))),
            ("Memory", memory.map(|it| json!(it))),
            // Memory alone is refused where it would be more than the swap limit.
            ("MemorySwap", memory.map(|it| json!(it))),
            ("PidsLimit", pids.map(|it| json!(it))),
        ];
        let body: Map<String, Json> =
            fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        let path = format!("/containers/{id}/update");
        self.change(Operation::ChangeContainer, what, Method::POST, &path, &body).await
    }

    pub(super) async fn make_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let what = format!("creating volume {name}");
        let body = json!({ "Name": name, "Labels": labels });
        self.change(Operation::ChangeContainer, what, Method::POST, "/volumes/create", &body).await
    }

    pub(super) async fn drop_volume(&self, name: &str) -> Result<(), EngineError> {
        let what = format!("removing volume {name}");
        if !super::is_plain(name) {
            let odd = super::wire::Odd(format!("the volume name {name:?} cannot be put into a request"));
            return self.reader.understood(Err(odd), &what);
        }
        let path = format!("/volumes/{name}");
        match self.change(Operation::ChangeContainer, what, Method::DELETE, &path, &()).await {
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    pub(super) async fn run_in(&self, id: &ContainerId, command: &[&str]) -> Result<i64, EngineError> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        #[derive(Deserialize)]
        struct Seen {
            #[serde(rename = "Running")]
            running: bool,
            #[serde(rename = "ExitCode")]
            code: Option<i64>,
        }
        let what = format!("running a command in container {}", id.short());
        let run = async {
            let send = async |method: Method, path: &str, body: Json| {
                let answer = self.reader.transport.send(request(method, path, &body)?).await?;
                Ok::<_, Failure>(succeeded(answer).await?.whole(LARGEST_OBJECT).await?)
            };
            let body = json!({ "Cmd": command, "User": "0" });
            let created: Created = decoded(&send(Method::POST, &format!("/containers/{id}/exec"), body).await?)?;
            let exec = created.id;
            if exec.is_empty() || !exec.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(Failure::Unreadable(format!("{exec:?} is not the id of an exec")));
            }
            send(Method::POST, &format!("/exec/{exec}/start"), json!({ "Detach": true })).await?;
            loop {
                let seen: Seen = decoded(&send(Method::GET, &format!("/exec/{exec}/json"), Json::Null).await?)?;
                if !seen.running {
                    return Ok(seen.code.unwrap_or(-1));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = within(self.reader.options.write_timeout, run).await;
        ended.map_err(|failure| failure.explain(Operation::ChangeContainer, &self.reader.server, &what))
    }

    pub(super) async fn printed_by(
        &self,
        id: &ContainerId,
        command: &[&str],
        most: usize,
    ) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        let what = format!("running a command in container {}", id.short());
        let run = async {
            let send = async |path: &str, body: Json, most: usize| {
                let answer = self.reader.transport.send(request(Method::POST, path, &body)?).await?;
                Ok::<_, Failure>(succeeded(answer).await?.whole(most).await?)
            };
            // With a terminal what is printed comes as it is, without frames.
            let body = json!({ "Cmd": command, "User": "0", "AttachStdout": true, "Tty": true });
            let path = format!("/containers/{id}/exec");
            let created: Created = decoded(&send(&path, body, LARGEST_OBJECT).await?)?;
            let exec = created.id;
            if exec.is_empty() || !exec.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(Failure::Unreadable(format!("{exec:?} is not the id of an exec")));
            }
            let printed = send(&format!("/exec/{exec}/start"), json!({ "Detach": false, "Tty": true }), most).await?;
            Ok(String::from_utf8_lossy(&printed).into_owned())
        };
        let ended = within(self.reader.options.read_timeout, run).await;
        ended.map_err(|failure| failure.explain(Operation::ChangeContainer, &self.reader.server, &what))
    }
}

/// What a pull tells, line by line: how far it is, and that it failed, which may come within an answer that began as a success.
#[derive(Default)]
struct PullSteps {
    rest: Vec<u8>,
    layers: BTreeMap<String, (u64, u64)>,
    /// Bytes so far.
    told: usize,
}

/// More than the steps of any pull come to: a daemon tells of a layer ten times a second at most, some 200 bytes each.
const MOST_STEPS: usize = 64 << 20;

/// A line longer than this is no step, and an image has no more layers than that.
const LONGEST_STEP: usize = 64 << 10;
const LAYERS: usize = 1024;

impl PullSteps {
    /// Bytes that have come, and bytes that are known of.
    fn take(&mut self, piece: &[u8]) -> Result<(u64, u64), Failure> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Step {
            id: String,
            error: String,
            #[serde(rename = "progressDetail")]
            detail: Detail,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Detail {
            current: u64,
            total: u64,
        }
        self.told = self.told.saturating_add(piece.len());
        if self.told > MOST_STEPS {
            return Err(Failure::Unreadable(format!("more than {} MiB of steps", MOST_STEPS >> 20)));
        }
        self.rest.extend_from_slice(piece);
        let complete = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..complete).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let step: Step = serde_json::from_slice(line).unwrap_or_default();
            if !step.error.is_empty() {
                return Err(Failure::Refused { status: 200, message: step.error.chars().take(500).collect() });
            }
            if step.detail.total > 0 && (self.layers.len() < LAYERS || self.layers.contains_key(&step.id)) {
                self.layers.insert(step.id, (step.detail.current, step.detail.total));
            }
        }
        if self.rest.len() > LONGEST_STEP {
            return Err(Failure::Unreadable(format!("a line of more than {LONGEST_STEP} bytes")));
        }
        let sum = |part: fn(&(u64, u64)) -> u64| self.layers.values().map(part).fold(0, u64::saturating_add);
        Ok((sum(|it| it.0), sum(|it| it.1)))
    }
}

/// A request with the credentials for the image's registry.
async fn authorized(method: Method, path: &str, reference: &str) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = request(method, path, &())?;
    if let Some(auth) = registry_auth(reference).await? {
        let value = http::HeaderValue::from_str(&auth).map_err(|error| Failure::Broken(error.to_string()))?;
        request.headers_mut().insert("X-Registry-Auth", value);
    }
    Ok(request)
}

pub(super) async fn registry_auth(reference: &str) -> Result<Option<String>, Failure> {
    use base64::Engine as _;

    let owned = reference.to_owned();
    let credentials = tokio::task::spawn_blocking(move || registry::credentials(&owned))
        .await
        .map_err(|error| Failure::Broken(error.to_string()))?
        .map_err(|message| Failure::Refused { status: 401, message })?;
    let Some(credentials) = credentials else { return Ok(None) };
    let text = serde_json::to_string(&credentials).map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(Some(base64::engine::general_purpose::URL_SAFE.encode(text)))
}

/// Where the file that makes the health check fail can be written. `None`: nowhere.
fn drain_path(template: &ContainerTemplate) -> Option<String> {
    match (template.read_only, template.tmpfs.first()) {
        (false, _) => Some(format!("/{DRAIN_FILE}")),
        (true, Some(tmpfs)) => Some(format!("{}/{DRAIN_FILE}", tmpfs.trim_end_matches('/'))),
        (true, None) => None,
    }
}

fn create_body(
    container: &ContainerCreate,
    network: &str,
    settings: &EndpointSettings,
    check: Option<&Healthcheck>,
    drain: Option<&String>,
) -> Result<Json, Failure> {
    let template = &container.template;
    let mut labels = container.labels.clone();
    labels.extend(drain.map(|drain| (DRAIN.to_owned(), drain.clone())));
    if let Some(uid) = labels.get(UID).cloned() {
        labels.extend(files_label(template, &uid).map(|files| (FILES.to_owned(), files)));
    }
    let mut body = Map::new();
    body.insert("Image".to_owned(), json!(container.image));
    body.insert("Env".to_owned(), json!(variables(template)?));
    body.insert("Labels".to_owned(), json!(labels));
    for (key, value) in [
        ("Entrypoint", template.entrypoint.as_ref().map(|it| json!(it))),
        ("Cmd", template.command.as_ref().map(|it| json!(it))),
        ("WorkingDir", template.working_dir.as_ref().map(|it| json!(it))),
        ("User", template.user.as_ref().map(|it| json!(it))),
        ("Hostname", template.hostname.as_ref().map(|it| json!(it))),
        ("StopSignal", template.stop_signal.as_ref().map(|it| json!(it))),
        ("StopTimeout", template.stop_grace.map(|it| json!(it))),
        ("Healthcheck", check.map(health_body)),
    ] {
        body.extend(value.map(|value| (key.to_owned(), value)));
    }
    let exposed: Map<String, Json> = template.ports.iter().map(|port| (port.key(), json!({}))).collect();
    body.insert("ExposedPorts".to_owned(), Json::Object(exposed));
    body.insert("HostConfig".to_owned(), host_body(container, network));
    if network != NOWHERE {
        let endpoint = super::endpoint_request(settings);
        let endpoint = serde_json::to_value(endpoint).map_err(|error| Failure::Broken(error.to_string()))?;
        body.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": { network: endpoint } }));
    }
    Ok(Json::Object(body))
}

/// `NAME=value`, secrets included.
pub(super) fn variables(template: &ContainerTemplate) -> Result<Vec<String>, Failure> {
    template
        .env
        .iter()
        .map(|(name, value)| match value {
            Value::Literal(text) => Ok(format!("{name}={text}")),
            Value::Secret(secret) => match secret.expose() {
                Some(text) => Ok(format!("{name}={text}")),
                None => Err(Failure::Refused { status: 400, message: secret.problem().unwrap_or_default().to_owned() }),
            },
        })
        .collect()
}

pub(super) fn health_body(check: &Healthcheck) -> Json {
    let nanos = |seconds: Option<u32>| u64::from(seconds.unwrap_or_default()) * 1_000_000_000;
    json!({
        "Test": check.test,
        "Interval": nanos(check.interval),
        "Timeout": nanos(check.timeout),
        "StartPeriod": nanos(check.start_period),
        "Retries": check.retries.unwrap_or_default(),
    })
}

fn host_body(container: &ContainerCreate, network: &str) -> Json {
    let template = &container.template;
    let mut bindings: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for port in &template.ports {
        let Port { host_port, host_address, .. } = port;
        bindings.entry(port.key()).or_default().push(json!({
            "HostIp": host_address.clone().unwrap_or_default(),
            "HostPort": host_port.map(|port| port.to_string()).unwrap_or_default(),
        }));
    }
    let volumes = template.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume(name) => {
            Some(json!({ "Type": "volume", "Source": name, "Target": mount.target, "ReadOnly": mount.read_only }))
        }
        MountSource::Path(_) => None,
    });
    let inherited =
        container.inherited.iter().map(|(name, target)| json!({ "Type": "volume", "Source": name, "Target": target }));
    let binds = template.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Path(path) => {
            Some(format!("{path}:{}:{}", mount.target, if mount.read_only { "ro" } else { "rw" }))
        }
        MountSource::Volume(_) => None,
    });
    let mut host = json!({
        "NetworkMode": network,
        "PortBindings": bindings,
        "Mounts": volumes.chain(inherited).collect::<Vec<_>>(),
        "Binds": binds.collect::<Vec<_>>(),
        "Tmpfs": template.tmpfs.iter().map(|path| (path.clone(), json!(""))).collect::<Map<_, _>>(),
        "RestartPolicy": { "Name": template.restart.map_or("no", restart_word) },
        "ReadonlyRootfs": template.read_only,
        "CapAdd": template.cap_add,
        "CapDrop": template.cap_drop,
        "ExtraHosts": template.extra_hosts,
    });
    let resources = &template.resources;
    let optional = [
        ("Init", template.init.map(|it| json!(it))),
        ("NanoCpus", (resources.nano_cpus > 0).then(|| json!(resources.nano_cpus))),
        ("Memory", (resources.memory > 0).then(|| json!(resources.memory))),
        ("MemorySwap", (resources.memory > 0).then(|| json!(resources.memory))),
        ("PidsLimit", (resources.pids > 0).then(|| json!(resources.pids))),
        ("LogConfig", template.logging.as_ref().map(|it| json!({ "Type": it.driver, "Config": it.options }))),
    ];
    if let Json::Object(host) = &mut host {
        host.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    host
}

/// A tar archive of the files, with the directories that lead to them.
fn archive(files: &BTreeMap<String, File>) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in files {
        let content = match &file.content {
            Value::Literal(text) => text.as_str(),
            Value::Secret(secret) => secret.expose().unwrap_or_default(),
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(file.mode);
        header.set_mtime(0);
        archive.append_data(&mut header, path.trim_start_matches('/'), content.as_bytes())?;
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_fails_by_an_error_within_its_answer_and_tells_how_far_it_is() {
        let mut steps = PullSteps::default();
        let layer = |id: &str, current: u64| {
            format!(
                "{{\"status\":\"Downloading\",\"id\":\"{id}\",\"progressDetail\":{{\"current\":{current},\"total\":10}}}}\n"
            )
        };
        let text = format!("{}{}{}", layer("a", 3), layer("b", 5), layer("a", 7));
        let (first, second) = text.split_at(40);
        steps.take(first.as_bytes()).unwrap();
        assert_eq!(steps.take(second.as_bytes()).unwrap(), (12, 20));
        let failed = steps.take(b"{\"errorDetail\":{\"message\":\"gone\"},\"error\":\"manifest unknown\"}\n");
        assert!(matches!(failed, Err(Failure::Refused { message, .. }) if message == "manifest unknown"));
    }

    #[test]
    fn files_are_unpacked_at_their_paths_with_their_permissions() {
        let file = File { content: Value::Literal("secret".to_owned()), mode: 0o400 };
        let bytes = archive(&[("/run/secrets/key".to_owned(), file)].into()).unwrap();
        let mut read = tar::Archive::new(&bytes[..]);
        let entries: Vec<_> = read
            .entries()
            .unwrap()
            .map(|entry| {
                entry.map(|it| (it.path().unwrap().display().to_string(), it.header().mode().unwrap())).unwrap()
            })
            .collect();
        assert_eq!(entries, [("run/secrets/key".to_owned(), 0o400)]);
    }
}
