//! Managed resources: from the fields of a manifest to what Landfall runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::Loaded;
use super::check::quoted;
use super::resolve::{Reference, Resolver};
use super::text::Problem;
use super::tree::Step;
use crate::core::api::meta::{REPLACES, WAS};
use crate::core::api::{
    ApplicationRole, ApplicationSpec, ComposeSpec, ContainerSelector, DatabaseSpec, EnvVar, FileSpec, HealthcheckSpec,
    Kind, ObjectKey, ObjectRef, PasswordSpec, PortSpec, ProxyType, PullPolicy, RestartPolicy, RolloutStrategy,
    ServiceSpec, Spec, ValueFrom, VolumeSpec,
};
use crate::core::plan::Reason;
use crate::core::workload::database::{self, Connection};
use crate::core::workload::secret::SecretSource;
use crate::core::workload::stack::{Stack, Unmade};
use crate::core::workload::{
    ContainerTemplate, File, Healthcheck, Hook, HostPort, Logging, Mount, MountSource, Order, Port, Resources, Rollout,
    Secret, Value, Workload, identity, routes,
};

/// Seconds that a new container has to become healthy.
const HEALTH_TIMEOUT: u32 = 120;
/// What a proxy runs where its manifest does not say. Caddy is the one that reads labels.
const TRAEFIK: &str = "traefik:v3.6";
const CADDY: &str = "lucaslorentz/caddy-docker-proxy:2.10-alpine";
const SOCKET: &str = "/var/run/docker.sock";
/// HTTP, HTTPS, containers that ask for it, and certificates of Let's Encrypt for whoever names the resolver.
const TRAEFIK_COMMAND: [&str; 8] = [
    "traefik",
    "--entrypoints.web.address=:80",
    "--entrypoints.websecure.address=:443",
    "--providers.docker.exposedbydefault=false",
    "--ping=true",
    "--certificatesresolvers.letsencrypt.acme.storage=/certificates/acme.json",
    "--certificatesresolvers.letsencrypt.acme.httpchallenge=true",
    "--certificatesresolvers.letsencrypt.acme.httpchallenge.entrypoint=web",
];
/// Seconds that a hook may take.
const HOOK_TIMEOUT: u32 = 600;
/// Seconds between the moment that a proxy lets go of a container and its stop.
const DRAIN: u32 = 10;
/// Bytes of a file that is written out in a manifest.
const LARGEST_FILE: usize = 1 << 20;

/// The containers of a managed resource, by the labels that Landfall gives them. The set is the planner's to know.
pub(super) fn selector(resource: &ObjectKey, destination: &ObjectKey) -> ContainerSelector {
    let labels = [(identity::OBJECT, resource.to_string()), (identity::DESTINATION, destination.path())];
    ContainerSelector {
        labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
        ..ContainerSelector::default()
    }
}

impl Resolver<'_> {
    /// What a managed application runs. `static_address`: it declares one.
    pub(super) fn application_workload(
        &mut self,
        at: usize,
        spec: &ApplicationSpec,
        static_address: bool,
    ) -> Option<Arc<Workload>> {
        let image = spec.image.clone()?;
        self.image(at, &image);
        let container = ContainerTemplate {
            entrypoint: (!spec.entrypoint.is_empty()).then(|| spec.entrypoint.clone()),
            command: (!spec.command.is_empty()).then(|| spec.command.clone()),
            working_dir: spec.working_dir.clone(),
            user: spec.user.clone(),
            hostname: spec.hostname.clone(),
            init: spec.init,
            stop_signal: spec.stop_signal.clone(),
            stop_grace: spec.stop_grace_period_seconds,
            env: self.environment(at, &spec.env),
            files: self.files(at, &spec.files, spec.read_only_root_filesystem),
            ports: self.ports(at, spec),
            mounts: self.mounts(at, &spec.volumes),
            tmpfs: self.tmpfs(at, &spec.tmpfs),
            restart: Some(spec.restart.unwrap_or(RestartPolicy::UnlessStopped)),
            resources: self.resources(at, spec.resources.as_deref()),
            healthcheck: spec.healthcheck.as_ref().map(|it| self.healthcheck(at, it)),
            read_only: spec.read_only_root_filesystem,
            cap_add: spec.cap_add.clone(),
            cap_drop: spec.cap_drop.clone(),
            extra_hosts: spec.extra_hosts.clone(),
            labels: self.labels(at, &spec.labels),
            logging: spec
                .logging
                .as_ref()
                .map(|logging| Logging { driver: logging.driver.clone(), options: logging.options.clone() }),
        };
        let routes = self.routes(at, &spec.domains);
        let replicas = spec.replicas.unwrap_or(1);
        let rollout = spec.rollout.clone().unwrap_or_default();
        let (order, why) = order(rollout.strategy, &container, replicas, static_address);
        if replicas > 1 {
            self.one_of_a_kind(at, spec, static_address);
        }
        if spec.container_name.is_some() && replicas > 1 {
            self.report_key(at, &["spec".into(), "containerName".into()], |span| {
                Problem::new(span, format!("one container name cannot be had by {replicas} replicas"))
            });
        }
        let pre_deploy = spec.hooks.as_ref().and_then(|hooks| hooks.pre_deploy.as_ref());
        Some(Arc::new(Workload {
            image,
            pull_policy: spec.pull_policy.unwrap_or(PullPolicy::IfNotPresent),
            replicas,
            container,
            container_name: spec.container_name.clone(),
            rollout: Rollout {
                order,
                why,
                health_timeout: rollout.health_timeout_seconds.unwrap_or(HEALTH_TIMEOUT),
                drain: rollout.drain_seconds.unwrap_or(if routes.is_empty() { 0 } else { DRAIN }),
            },
            pre_deploy: pre_deploy.map(|hook| Hook {
                command: hook.command.clone(),
                timeout: hook.timeout_seconds.unwrap_or(HOOK_TIMEOUT),
            }),
            depends_on: self.depends_on(at, &spec.depends_on),
            routes,
            port: spec.port.and_then(|port| u16::try_from(port).ok()),
            database: None,
            is_proxy: spec.role == Some(ApplicationRole::Proxy),
        }))
    }

    /// An application with `role: Proxy` and what it does not say of itself. `None`: it is none, or what is wrong was reported.
    pub(super) fn as_proxy(&mut self, at: usize, spec: &ApplicationSpec) -> Option<ApplicationSpec> {
        if spec.role.is_none() || spec.containers.is_some() {
            return None;
        }
        if !spec.additional_destinations.is_empty() {
            self.report_key(at, &["spec".into(), "additionalDestinations".into()], |span| {
                Problem::new(span, "the proxy of a server is on all of its active destinations by itself")
                    .hint("`destination` is the one that it is made on; take out `additionalDestinations`")
            });
        }
        let (name, proxy_type) = self.proxy_of(at, spec)?;
        let key = self.get(at)?.object.key();
        let mut filled = spec.clone();
        let is_caddy = proxy_type == ProxyType::Caddy;
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let image = if is_caddy { CADDY } else { TRAEFIK };
        filled.image.get_or_insert_with(|| image.to_owned());
        filled.container_name = Some(name);
        if filled.ports.is_empty() {
            let port = |port: u32, protocol: &str| PortSpec {
                container_port: port,
                host_port: Some(port),
                host_address: None,
                protocol: protocol.to_owned(),
            };
            filled.ports = vec![port(80, "tcp"), port(443, "tcp")];
            // HTTP/3, which Caddy speaks unasked.
            filled.ports.extend(is_caddy.then(|| port(443, "udp")));
        }
        let certificates = if is_caddy { "/data" } else { "/certificates" };
        for (mount_path, volume, host_path, read_only) in [
            (certificates, Some(format!("{}-{}-certificates", key.namespace, key.name)), None, false),
            (SOCKET, None, Some(SOCKET.to_owned()), true),
        ] {
            if filled.volumes.iter().all(|it| it.mount_path.trim_end_matches('/') != mount_path) {
                filled.volumes.push(VolumeSpec { volume, host_path, mount_path: mount_path.to_owned(), read_only });
            }
        }
        let interval = |command: Vec<String>| HealthcheckSpec {
            command,
            interval_seconds: Some(5),
            timeout_seconds: Some(5),
            retries: None,
            start_period_seconds: None,
        };
        if proxy_type == ProxyType::Traefik && filled.command.is_empty() {
            filled.command = words(&TRAEFIK_COMMAND);
            filled.healthcheck.get_or_insert_with(|| Box::new(interval(words(&["traefik", "healthcheck", "--ping"]))));
        }
        Some(filled)
    }

    /// What a managed database runs.
    pub(super) fn database_workload(&mut self, at: usize, spec: &DatabaseSpec) -> Option<Arc<Workload>> {
        spec.engine?;
        let (image, mut container, connection) = self.database_container(at, spec)?;
        container.resources = self.resources(at, spec.resources.as_ref());
        self.image(at, &image);
        Some(Arc::new(Workload {
            image,
            pull_policy: PullPolicy::IfNotPresent,
            replicas: 1,
            container,
            container_name: None,
            rollout: Rollout {
                order: Order::StopFirst,
                why: Some("it is a database".to_owned()),
                health_timeout: 300,
                drain: 0,
            },
            pre_deploy: None,
            depends_on: Vec::new(),
            routes: Vec::new(),
            port: None,
            database: Some(connection),
            is_proxy: false,
        }))
    }

    fn database_container(
        &mut self,
        at: usize,
        spec: &DatabaseSpec,
    ) -> Option<(String, ContainerTemplate, Connection)> {
        let key = self.get(at)?.object.key();
        let engine = spec.engine?;
        let Some(credentials) = &spec.credentials else {
            self.report_absent(at, &["spec".into(), "credentials".into()], |span| {
                Problem::new(span, "a managed database needs `credentials` with a `password`").hint(
                    "`credentials: { password: { file: secrets/orders, generate: true } }` makes one once and keeps it in that file",
                )
            });
            return None;
        };
        let password = self.password(at, &credentials.password)?;
        let volume = spec
            .storage
            .as_ref()
            .map_or_else(|| format!("{}-{}-data", key.namespace, key.name), |storage| storage.volume.clone());
        Some(database::container(&database::Declared {
            engine,
            version: spec.version.as_deref(),
            image: spec.image.as_deref(),
            host: &key.name,
            volume: &volume,
            username: credentials.username.as_deref(),
            database: credentials.database.as_deref(),
            password,
            host_port: spec.host_port.and_then(|port| u16::try_from(port).ok()),
            args: &spec.args,
            config: spec.config.as_deref(),
            stop_grace: spec.stop_grace_period_seconds,
        }))
    }

    pub(super) fn password(&mut self, at: usize, spec: &PasswordSpec) -> Option<SecretSource> {
        let path = [Step::Key("spec"), "credentials".into(), "password".into()];
        let PasswordSpec { env, file, sops, generate } = spec;
        if *generate && file.is_none() {
            self.report_key(at, &[path[0], path[1], path[2], "generate".into()], |span| {
                Problem::new(span, "`generate` needs `file`: the place where the password is kept")
            });
        }
        match (env, file, sops) {
            (Some(name), None, None) => Some(SecretSource::Env(name.clone())),
            (None, Some(file), None) => Some(SecretSource::File { path: self.beside(at, file), generate: *generate }),
            (None, None, Some(sops)) => {
                Some(SecretSource::Sops { file: self.beside(at, &sops.file), key: sops.key.clone() })
            }
            (None, None, None) => {
                self.report_absent(at, &path, |span| Problem::new(span, "give one of `env`, `file` and `sops`"));
                None
            }
            _ => {
                self.report(at, &path, |span| Problem::new(span, "give one of `env`, `file` and `sops`"));
                None
            }
        }
    }

    fn image(&mut self, at: usize, image: &str) {
        if let Some(wrong) = wrong_reference(image) {
            self.report(at, &["spec".into(), "image".into()], |span| {
                Problem::new(span, format!("{} is no image reference: {wrong}", quoted(image)))
                    .hint("such as registry.example.com/shop/frontend:1.4, or name@sha256:… for one that never changes")
            });
        }
    }

    fn environment(&mut self, at: usize, variables: &[EnvVar]) -> BTreeMap<String, Value> {
        let mut env = BTreeMap::new();
        let mut names = BTreeSet::new();
        for (number, variable) in variables.iter().enumerate() {
            let path = [Step::Key("spec"), "env".into(), number.into()];
            if !names.insert(&variable.name) {
                self.report(at, &[path[0], path[1], path[2], "name".into()], |span| {
                    Problem::new(span, format!("the variable `{}` is given twice", variable.name))
                });
            }
            let value = match (&variable.value, &variable.value_from) {
                (Some(text), None) => Some(Value::Literal(text.clone())),
                (None, Some(from)) => self.value_from(at, &[path[0], path[1], path[2], "valueFrom".into()], from),
                (Some(_), Some(_)) => {
                    self.report_key(at, &[path[0], path[1], path[2], "valueFrom".into()], |span| {
                        Problem::new(span, "give one of `value` and `valueFrom`")
                    });
                    None
                }
                (None, None) => {
                    self.report_absent(at, &path, |span| {
                        Problem::new(span, format!("`{}` needs a `value` or a `valueFrom`", variable.name))
                    });
                    None
                }
            };
            if let Some(value) = value {
                env.insert(variable.name.clone(), value);
            }
        }
        env
    }

    fn files(&mut self, at: usize, specs: &[FileSpec], read_only: bool) -> BTreeMap<String, File> {
        let mut files = BTreeMap::new();
        for (number, file) in specs.iter().enumerate() {
            let path = [Step::Key("spec"), "files".into(), number.into()];
            if read_only {
                self.report(at, &path, |span| {
                    Problem::new(
                        span,
                        "the daemon cannot put files into a container with `readOnlyRootFilesystem: true`",
                    )
                    .hint("mount a volume, or leave the root file system writable")
                });
            }
            if !is_plain_path(&file.path) {
                self.report(at, &[path[0], path[1], path[2], "path".into()], |span| {
                    Problem::new(span, "`path` must be an absolute path to a file, without `..`")
                });
                continue;
            }
            let content = match (&file.value, &file.value_from) {
                (Some(text), None) if text.len() > LARGEST_FILE => {
                    self.report(at, &[path[0], path[1], path[2], "value".into()], |span| {
                        Problem::new(span, format!("the file is larger than {} KiB", LARGEST_FILE >> 10))
                    });
                    None
                }
                (Some(text), None) => Some(Value::Literal(text.clone())),
                (None, Some(from)) => self.value_from(at, &[path[0], path[1], path[2], "valueFrom".into()], from),
                _ => {
                    self.report_absent(at, &path, |span| Problem::new(span, "give one of `value` and `valueFrom`"));
                    None
                }
            };
            let Some(content) = content else { continue };
            let mode = u32::from_str_radix(&file.mode, 8).unwrap_or(0o444);
            if files.insert(file.path.clone(), File { content, mode }).is_some() {
                self.report(at, &[path[0], path[1], path[2], "path".into()], |span| {
                    Problem::new(span, format!("the file `{}` is given twice", file.path))
                });
            }
        }
        files
    }

    /// `None`: what is wrong was reported.
    fn value_from(&mut self, at: usize, path: &[Step<'_>], from: &ValueFrom) -> Option<Value> {
        let ValueFrom { env, file, sops, database } = from;
        let given = [env.is_some(), file.is_some(), sops.is_some(), database.is_some()];
        let count = given.iter().filter(|given| **given).count();
        if count != 1 {
            let problem = |span| Problem::new(span, "give one of `env`, `file`, `sops` and `database`");
            if count == 0 {
                self.report_absent(at, path, problem)
            } else {
                self.report(at, path, problem)
            }
            return None;
        }
        let secret = |source| Some(Value::Secret(Secret::unread(source)));
        if let Some(name) = env {
            return secret(SecretSource::Env(name.clone()));
        }
        if let Some(file) = file {
            return secret(SecretSource::File { path: self.beside(at, file), generate: false });
        }
        if let Some(sops) = sops {
            return secret(SecretSource::Sops { file: self.beside(at, &sops.file), key: sops.key.clone() });
        }
        let wanted = database.as_ref()?;
        let place: Vec<Step<'_>> = path.iter().copied().chain(["database".into(), "name".into()]).collect();
        let connection = self.connection(at, &place, &wanted.name)?;
        Some(connection.field(wanted.field))
    }

    fn connection(&mut self, at: usize, path: &[Step<'_>], name: &ObjectRef) -> Option<Connection> {
        let Reference::Found(key) = self.reference(at, path, name, Kind::Database) else { return None };
        let database = self.at(&key)?;
        let Spec::Database(spec) = &self.get(database)?.object.spec else { return None };
        if spec.containers.is_some() || spec.engine.is_none() {
            self.report(at, path, |span| {
                Problem::new(span, format!("{key} is adopted: Landfall does not know its credentials"))
                    .hint("take the value from `env`, `file` or `sops`")
            });
            return None;
        }
        // What is wrong with the database itself is reported where it is declared.
        let spec = spec.clone();
        self.quietly(|resolver| resolver.database_container(database, &spec)).map(|(_, _, connection)| connection)
    }

    fn depends_on(&mut self, at: usize, names: &[String]) -> Vec<ObjectKey> {
        let mut found = Vec::new();
        for (number, text) in names.iter().enumerate() {
            let Some((kind, name)) = text.split_once('/') else { continue };
            let Ok(kind) = kind.parse::<Kind>() else { continue };
            let path = [Step::Key("spec"), "dependsOn".into(), number.into()];
            if let Reference::Found(key) = self.reference(at, &path, &ObjectRef(name.to_owned()), kind) {
                found.push((number, key));
            }
        }
        let keys = found.iter().map(|(_, key)| key.clone()).collect();
        if let Some(loaded) = self.get(at) {
            self.needs.insert(loaded.object.key(), found);
        }
        keys
    }

    fn healthcheck(&mut self, at: usize, spec: &HealthcheckSpec) -> Healthcheck {
        let HealthcheckSpec { command, interval_seconds, timeout_seconds, retries, start_period_seconds } = spec;
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let wrong = match words.as_slice() {
            ["CMD"] | ["CMD", "", ..] | ["", ..] => Some("names no program"),
            ["CMD-SHELL"] => Some("has nothing for the shell to run"),
            ["CMD-SHELL", _, _, ..] => Some("is one line of the shell: `[CMD-SHELL, \"…\"]`"),
            ["NONE", _, ..] => Some("is `[NONE]` alone where nothing is to be checked"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let path = [Step::Key("spec"), "healthcheck".into(), "command".into()];
            self.report(at, &path, |span| Problem::new(span, format!("the command of the health check {wrong}")));
        }
        let test = match words.as_slice() {
            ["NONE" | "CMD" | "CMD-SHELL", ..] => command.clone(),
            _ => std::iter::once("CMD".to_owned()).chain(command.iter().cloned()).collect(),
        };
        Healthcheck {
            test,
            interval: *interval_seconds,
            timeout: *timeout_seconds,
            retries: *retries,
            start_period: *start_period_seconds,
        }
    }

    fn ports(&mut self, at: usize, spec: &ApplicationSpec) -> Vec<Port> {
        let mut ports: Vec<Port> = Vec::new();
        for (number, port) in spec.ports.iter().enumerate() {
            let path = [Step::Key("spec"), "ports".into(), number.into()];
            if let Some(address) = &port.host_address {
                self.address(at, &[path[0], path[1], path[2], "hostAddress".into()], address);
            }
            let made = Port {
                container_port: u16::try_from(port.container_port).unwrap_or_default(),
                protocol: port.protocol.clone(),
                host_port: port.host_port.and_then(|port| u16::try_from(port).ok()),
                host_address: port.host_address.clone(),
            };
            if ports.contains(&made) {
                self.report(at, &path, |span| Problem::new(span, format!("the port {made} is given twice")));
            } else {
                ports.push(made);
            }
        }
        ports
    }

    fn mounts(&mut self, at: usize, volumes: &[VolumeSpec]) -> Vec<Mount> {
        let mut mounts: Vec<Mount> = Vec::new();
        for (number, volume) in volumes.iter().enumerate() {
            let path = [Step::Key("spec"), "volumes".into(), number.into()];
            self.exactly_one(at, &path, ["volume", "hostPath"], [volume.volume.is_some(), volume.host_path.is_some()]);
            for (field, value) in [("hostPath", volume.host_path.as_ref()), ("mountPath", Some(&volume.mount_path))] {
                if value.is_some_and(|value| !value.starts_with('/')) {
                    self.report(at, &[path[0], path[1], path[2], field.into()], |span| {
                        Problem::new(span, format!("`{field}` must be an absolute path"))
                    });
                }
            }
            let source = match (&volume.volume, &volume.host_path) {
                (Some(name), None) => MountSource::Volume(name.clone()),
                (None, Some(path)) => MountSource::Path(path.clone()),
                _ => continue,
            };
            let target = volume.mount_path.trim_end_matches('/').to_owned();
            if mounts.iter().any(|mount| mount.target == target) {
                self.report(at, &[path[0], path[1], path[2], "mountPath".into()], |span| {
                    Problem::new(span, format!("something is mounted at `{target}` already"))
                });
            }
            mounts.push(Mount { target, source, read_only: volume.read_only });
        }
        mounts
    }

    fn tmpfs(&mut self, at: usize, paths: &[String]) -> Vec<String> {
        for (number, path) in paths.iter().enumerate().filter(|(_, path)| !is_plain_path(path)) {
            self.report(at, &["spec".into(), "tmpfs".into(), number.into()], |span| {
                Problem::new(span, format!("{} must be an absolute path, without `..`", quoted(path)))
            });
        }
        paths.to_vec()
    }

    fn resources(&mut self, at: usize, spec: Option<&crate::core::api::ResourcesSpec>) -> Resources {
        let Some(spec) = spec else { return Resources::default() };
        let memory = spec.memory.as_deref().map(bytes);
        if memory.is_some_and(|memory| memory.is_none_or(|memory| memory < 6 << 20)) {
            self.report(at, &["spec".into(), "resources".into(), "memory".into()], |span| {
                Problem::new(span, "must be an amount of memory that a container can start with: 6Mi at least")
            });
        }
        let cpus = spec.cpus.as_deref().map(nano_cpus);
        if cpus.is_some_and(|cpus| cpus.is_none_or(|cpus| cpus < 10_000_000)) {
            self.report(at, &["spec".into(), "resources".into(), "cpus".into()], |span| {
                Problem::new(span, "must be a number of processors, 0.01 at least")
            });
        }
        Resources {
            nano_cpus: cpus.flatten().unwrap_or_default(),
            memory: memory.flatten().unwrap_or_default(),
            pids: spec.pids.unwrap_or_default(),
        }
    }

    fn labels(&mut self, at: usize, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        for key in labels.keys().filter(|key| crate::core::workload::compare::is_own(key)) {
            self.report_key(at, &["spec".into(), "labels".into(), Step::Key(key)], |span| {
                Problem::new(span, "labels that begin with `landfall.` are Landfall's own")
            });
        }
        labels.clone()
    }

    fn routes(&mut self, at: usize, domains: &[String]) -> Vec<routes::Route> {
        let mut found: Vec<routes::Route> = Vec::new();
        for (number, domain) in domains.iter().enumerate() {
            let path = [Step::Key("spec"), "domains".into(), number.into()];
            match routes::parse(domain) {
                Err(wrong) => self.report(at, &path, |span| Problem::new(span, wrong)),
                Ok(route) if found.contains(&route) => {
                    self.report(at, &path, |span| Problem::new(span, format!("the domain `{route}` is given twice")));
                }
                Ok(route) => found.push(route),
            }
        }
        found
    }

    /// What the annotations say that it was before: its former name, and containers that something else made.
    pub(super) fn predecessors(
        &mut self,
        at: usize,
        loaded: &Loaded,
        managed: bool,
    ) -> (Option<ObjectKey>, Vec<String>) {
        let annotations = &loaded.object.metadata.annotations;
        let key = loaded.object.key();
        let place = |name: &'static str| [Step::Key("metadata"), "annotations".into(), name.into()];
        for name in [WAS, REPLACES].into_iter().filter(|name| !managed && annotations.contains_key(*name)) {
            self.report_key(at, &place(name), |span| {
                Problem::new(span, format!("`{name}` is for what Landfall runs, and it does not run {key}"))
                    .hint("what is adopted is declared under its new name, and nothing else is to be said")
            });
        }
        let was = annotations.get(WAS).filter(|_| managed).and_then(|former| {
            let (namespace, name) = former.split_once('/').unwrap_or((&key.namespace, former));
            let was = ObjectKey::new(key.kind, namespace, name);
            let wrong = if name.is_empty() || namespace.is_empty() || name.contains('/') {
                "is neither a name nor `namespace/name`".to_owned()
            } else if was == key {
                "is what it is called now".to_owned()
            } else if self.at(&was).is_some() {
                format!("is declared as well: {was} cannot be what {key} was")
            } else {
                return Some(was);
            };
            self.report(at, &place(WAS), |span| {
                Problem::new(span, format!("{} {wrong}", quoted(former)))
                    .hint("it is the name that the object had before; take it out once it is moved")
            });
            None
        });
        let names = annotations.get(REPLACES).filter(|_| managed).map(String::as_str).unwrap_or_default();
        let replaces: Vec<String> =
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        (was, replaces)
    }

    /// What only one container can have.
    fn one_of_a_kind(&mut self, at: usize, spec: &ApplicationSpec, static_address: bool) {
        if let Some(number) = spec.ports.iter().position(|port| port.host_port.is_some()) {
            self.report(at, &["spec".into(), "ports".into(), number.into(), "hostPort".into()], |span| {
                Problem::new(span, "one port of the server cannot be had by several replicas")
                    .hint("leave `hostPort` out and let the proxy route to them, or have one replica")
            });
        }
        if static_address {
            self.report_key(at, &["spec".into(), "endpoint".into()], |span| {
                Problem::new(span, "one static address cannot be had by several replicas")
            });
        }
    }

    /// What a managed service brings up, as far as the manifest says it. The compose file is read by Compose, later.
    pub(super) fn stack(&mut self, at: usize, spec: &ServiceSpec, compose: &ComposeSpec) -> Option<Arc<Stack>> {
        let file = compose.file.as_deref()?;
        let mut routed: BTreeMap<String, Vec<routes::Route>> = BTreeMap::new();
        for (service, domains) in &spec.domains {
            let mut found: Vec<routes::Route> = Vec::new();
            for (number, domain) in domains.iter().enumerate() {
                let path = [Step::Key("spec"), "domains".into(), Step::Key(service), number.into()];
                match routes::parse(domain) {
                    Err(wrong) => self.report(at, &path, |span| Problem::new(span, wrong)),
                    Ok(route) if found.contains(&route) || routed.values().flatten().any(|other| *other == route) => {
                        self.report(at, &path, |span| {
                            Problem::new(span, format!("the domain `{route}` is given twice"))
                        });
                    }
                    Ok(route) => found.push(route),
                }
            }
            routed.insert(service.clone(), found);
        }
        for (service, port) in spec.target_ports.iter().filter(|(_, port)| !(1..=65_535).contains(*port)) {
            self.report(at, &["spec".into(), "targetPorts".into(), Step::Key(service)], |span| {
                Problem::new(span, format!("{port} is no port: from 1 to 65535"))
            });
        }
        let ports = spec.target_ports.iter();
        Some(Arc::new(Stack {
            project: compose.project.clone(),
            file: self.beside(at, file),
            env_file: compose.env_file.as_deref().map(|file| self.beside(at, file)),
            take_ownership: compose.take_ownership,
            health_timeout: compose.health_timeout_seconds.unwrap_or(HEALTH_TIMEOUT),
            routes: routed,
            target_ports: ports
                .filter_map(|(service, port)| Some((service.clone(), u16::try_from(*port).ok()?)))
                .collect(),
            made: Err(Unmade {
                reason: Reason::ComposeInvalid,
                message: format!("The compose file {file} was not read."),
                hint: "this is a bug in Landfall".to_owned(),
                line: None,
                unread: false,
            }),
        }))
    }

    /// What two managed resources of one server cannot both have: a host name, a volume with data, a port of the host, the name of a container.
    pub(super) fn claims(&mut self) {
        let mut claimed: BTreeMap<(ObjectKey, String), ObjectKey> = BTreeMap::new();
        let mut published: BTreeMap<ObjectKey, Vec<(HostPort, ObjectKey)>> = BTreeMap::new();
        let (mut conflicts, mut twice) = (Vec::new(), Vec::new());
        let formers = self.former_names();
        for (server, resource, stack) in self.stacks() {
            let routes = stack.routes.values().flatten().map(|route| format!("the domain {route}"));
            let project = format!("the Compose project {}", stack.project);
            for what in routes.chain([project]) {
                // On two destinations of one server it would be one stack all the same.
                match claimed.get(&(server.clone(), what.clone())) {
                    Some(other) => conflicts.push((resource.clone(), what, other.clone())),
                    None => {
                        claimed.insert((server.clone(), what), resource.clone());
                    }
                }
            }
        }
        for (server, resource, destination, workload) in self.managed() {
            let apart = self.is_apart(&server, &resource);
            let names = (1..=workload.replicas.min(1000)).map(|replica| {
                format!("the container name {}", workload.container_name(&resource, &destination, apart, replica))
            });
            let routes = workload.routes.iter().map(|route| format!("the domain {route}"));
            let volume = workload.database.iter().map(|database| format!("the volume {}", database.volume));
            for port in workload.container.ports.iter().filter_map(Port::taken) {
                let taken = published.entry(server.clone()).or_default();
                match taken.iter().find(|(it, _)| it.collides_with(&port)) {
                    Some((_, other)) if *other == resource => twice.push((resource.clone(), port)),
                    Some((it, other)) if *it == port => {
                        conflicts.push((resource.clone(), format!("the host port {port}"), other.clone()));
                    }
                    Some((it, other)) => {
                        let what = format!("the host port {port}, of which {it} is a part or the whole,");
                        conflicts.push((resource.clone(), what, other.clone()));
                    }
                    None => taken.push((port, resource.clone())),
                }
            }
            let former = formers.get(&resource).into_iter().map(|was| format!("the former name {was}"));
            let mut own: Vec<String> = names.chain(routes).chain(volume).chain(former).collect();
            own.sort();
            own.dedup();
            for what in own {
                match claimed.get(&(server.clone(), what.clone())) {
                    // The same application on another destination of the server.
                    Some(other) if *other == resource && !what.starts_with("the container") => {}
                    Some(other) => conflicts.push((resource.clone(), what, other.clone())),
                    None => {
                        claimed.insert((server.clone(), what), resource.clone());
                    }
                }
            }
        }
        for (resource, port) in twice {
            let Some(at) = self.at(&resource) else { continue };
            self.report(at, &["spec".into()], |span| {
                Problem::new(span, format!("the host port {port} can be published once on a server"))
                    .hint("publish another one, or deploy it to one destination of the server")
            });
        }
        for (resource, what, other) in conflicts {
            let Some(at) = self.at(&resource) else { continue };
            self.report(at, &["spec".into()], |span| {
                Problem::new(span, format!("{what} is {other}'s on the same server")).hint("give each its own")
            });
        }
    }

    /// A path of the manifest, seen from where Landfall runs.
    fn beside(&self, at: usize, path: &str) -> String {
        let name = self.source_name(at);
        match Path::new(name).parent() {
            Some(directory) if !path.starts_with('/') && !name.starts_with('<') => {
                directory.join(path).display().to_string()
            }
            _ => path.to_owned(),
        }
    }
}

/// Whether the new container starts before the old one stops, and why where the manifest leaves it open.
fn order(
    strategy: RolloutStrategy,
    container: &ContainerTemplate,
    replicas: u32,
    static_address: bool,
) -> (Order, Option<String>) {
    match strategy {
        RolloutStrategy::StartFirst => return (Order::StartFirst, None),
        RolloutStrategy::StopFirst => return (Order::StopFirst, None),
        RolloutStrategy::Auto => {}
    }
    if let Some(port) = container.ports.iter().find(|port| port.host_port.is_some()) {
        return (Order::StopFirst, Some(format!("it publishes the port {port}")));
    }
    if static_address {
        return (Order::StopFirst, Some("it has a static address".to_owned()));
    }
    match container.writable_mount() {
        Some(mount) if replicas <= 1 => (Order::StopFirst, Some(format!("it writes to {mount}"))),
        _ => (Order::StartFirst, None),
    }
}

fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() > 1
        && !path.split('/').any(|part| part == ".." || part == ".")
        && !path.contains('\0')
}

/// What is wrong with an image reference, as the engine would say: it goes into a request.
fn wrong_reference(image: &str) -> Option<&'static str> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()) {
            return Some("its digest is not `sha256:` and 64 hexadecimal digits");
        }
    }
    let colon = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
    let (path, tag) = colon.map_or((name, None), |colon| (&name[..colon], Some(&name[colon + 1..])));
    if let Some(tag) = tag {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.chars().all(fits) {
            return Some("its tag is not letters, digits, `_`, `.` and `-`");
        }
    }
    let component = |(number, part): (usize, &str)| {
        // A registry before the first slash may have a port and capital letters.
        let registry = number == 0 && path.contains('/') && (part.contains(['.', ':']) || part == "localhost");
        let fits = |c: char| {
            c.is_ascii_lowercase()
                || c.is_ascii_digit()
                || "_.-".contains(c)
                || (registry && (c == ':' || c.is_ascii_uppercase()))
        };
        !part.is_empty() && !part.starts_with(['.', '-', '_']) && part.chars().all(fits)
    };
    if path.is_empty() || path.len() > 255 || !path.split('/').enumerate().all(component) {
        return Some("its name is not lower-case letters, digits, `_`, `.` and `-`, with slashes between parts");
    }
    None
}

/// `256Mi` in bytes.
fn bytes(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..end].parse().ok()?;
    let factor: i64 = match &text[end..] {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `0.5` in billionths.
fn nano_cpus(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let part: i64 = if part.is_empty() { 0 } else { format!("{part:0<9}").parse().ok()? };
    whole.checked_mul(1_000_000_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_are_what_the_engine_takes() {
        for right in [
            "nginx",
            "nginx:1.27-alpine",
            "registry.example.com/shop/frontend:1.4",
            "localhost:5000/shop/frontend",
            "Registry.example.com:5000/a/b_c:T",
            &format!("nginx@sha256:{}", "a".repeat(64)),
        ] {
            assert_eq!(wrong_reference(right), None, "{right}");
        }
        for wrong in ["", "Nginx", "nginx:", "nginx:a b", "../etc", "a//b", "nginx@sha256:12", "a?b", "-a", "nginx:.x"]
        {
            assert!(wrong_reference(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_read_with_their_units() {
        assert_eq!(
            (bytes("256Mi"), bytes("1G"), bytes("7"), bytes("1T")),
            (Some(256 << 20), Some(1_000_000_000), Some(7), None)
        );
        assert_eq!(
            (nano_cpus("0.5"), nano_cpus("2"), nano_cpus("1.25")),
            (Some(500_000_000), Some(2_000_000_000), Some(1_250_000_000))
        );
    }

    #[test]
    fn a_container_that_cannot_be_there_twice_stops_first_and_says_why() {
        let plain = ContainerTemplate::default();
        assert_eq!(order(RolloutStrategy::Auto, &plain, 1, false), (Order::StartFirst, None));
        assert_eq!(order(RolloutStrategy::Auto, &plain, 1, true).0, Order::StopFirst);
        let mount =
            |read_only| Mount { target: "/data".to_owned(), source: MountSource::Volume("data".to_owned()), read_only };
        let writes = ContainerTemplate { mounts: vec![mount(false)], ..ContainerTemplate::default() };
        let reads = ContainerTemplate { mounts: vec![mount(true)], ..ContainerTemplate::default() };
        assert_eq!(
            order(RolloutStrategy::Auto, &writes, 1, false),
            (Order::StopFirst, Some("it writes to data:/data".to_owned()))
        );
        assert_eq!(order(RolloutStrategy::Auto, &writes, 2, false).0, Order::StartFirst);
        assert_eq!(order(RolloutStrategy::Auto, &reads, 1, false).0, Order::StartFirst);
        assert_eq!(order(RolloutStrategy::StartFirst, &writes, 1, true).0, Order::StartFirst);
    }
}
