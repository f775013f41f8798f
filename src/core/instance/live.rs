//! Manifests of what something else runs, read off its containers.

use super::{InstanceError, Making};
use crate::core::api::{
    ApplicationSpec, ContainerSelector, CredentialsSpec, DatabaseEngine, DatabaseSpec, EnvVar, HealthcheckSpec,
    ObjectRef, PasswordSpec, PortSpec, ResourcesSpec, ValueFrom, VolumeSpec,
};
use crate::core::manifest::is_secret_name;
use crate::core::workload::database::{data_path, port};
use crate::core::workload::seen::{SeenConfig, SeenImage};
use crate::core::workload::{Healthcheck, MountSource, Resources};

/// What there is of a resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// In the order of their names.
    pub containers: Vec<LiveContainer>,
    /// Of a database.
    pub engine: Option<DatabaseEngine>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveContainer {
    pub name: String,
    /// As it was named.
    pub image: String,
    pub labels: std::collections::BTreeMap<String, String>,
    pub config: SeenConfig,
    /// `NAME=value`: values are often secrets.
    pub env: Vec<String>,
    /// What the image says by itself.
    pub of_image: SeenImage,
}

impl Live {
    /// Every volume, and whether it has no name but an id.
    pub(super) fn volumes(&self) -> impl Iterator<Item = (&str, bool)> {
        let mounts = self.containers.iter().flat_map(|it| &it.config.mounts);
        let volumes = mounts.filter_map(|it| match &it.mount.source {
            MountSource::Volume(name) => Some((name.as_str(), it.anonymous)),
            MountSource::Path(_) => None,
        });
        volumes.collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    /// Where they are mounted, in which container.
    pub(super) fn anonymous_volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.containers.iter().flat_map(|container| {
            let mounts = container.config.mounts.iter().filter(|it| it.anonymous);
            mounts.map(|it| (it.mount.target.as_str(), container.name.as_str()))
        })
    }
}

impl LiveContainer {
    /// Variables that the image does not bring.
    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.env.iter().filter_map(|line| line.split_once('='));
        all.filter(|(name, value)| self.of_image.env.get(*name).is_none_or(|of_image| of_image != value))
    }

    fn variable(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.variables().find(|(it, _)| it == name).map(|(_, value)| value))
    }

    /// The tag of its image where that is a version.
    fn version(&self) -> Option<&str> {
        let name = self.image.split('@').next()?.rsplit('/').next()?;
        let (_, tag) = name.split_once(':')?;
        tag.starts_with(|it: char| it.is_ascii_digit()).then_some(tag)
    }
}

impl Making<'_> {
    /// The containers, which have to be of one image.
    fn one<'l>(&self, live: &'l Live) -> Result<&'l LiveContainer, InstanceError> {
        let key = || self.wanted.object.key();
        let first = live.containers.first().ok_or_else(|| InstanceError::NotThere(key()))?;
        if first.labels.contains_key("com.docker.swarm.service.name") {
            return Err(InstanceError::Swarm(key()));
        }
        if live.containers.iter().any(|it| it.image != first.image) {
            return Err(InstanceError::Several(key()));
        }
        if first.image.starts_with("sha256:") {
            return Err(InstanceError::Image(key(), first.image.clone()));
        }
        Ok(first)
    }

    pub(super) fn application_of(
        &mut self,
        spec: &ApplicationSpec,
        live: &Live,
    ) -> Result<ApplicationSpec, InstanceError> {
        let container = self.one(live)?;
        let LiveContainer { config, of_image, .. } = container;
        let mut new = ApplicationSpec::adopted(ObjectRef(String::new()), ContainerSelector::default());
        new.containers = None;
        new.additional_destinations.clone_from(&spec.additional_destinations);
        (new.destination, new.server) = (spec.destination.clone(), spec.server.clone());
        new.image = Some(container.image.clone());
        new.replicas = u32::try_from(live.containers.len()).ok().filter(|count| *count > 1);
        let other = |words: &Vec<String>, usual: &Vec<String>| if words == usual { Vec::new() } else { words.clone() };
        new.entrypoint = other(&config.entrypoint, &of_image.entrypoint);
        new.command = other(&config.command, &of_image.command);
        let word = |word: &String, usual: &String| (word != usual && !word.is_empty()).then(|| word.clone());
        new.working_dir = word(&config.working_dir, &of_image.working_dir);
        new.user = word(&config.user, &of_image.user);
        new.stop_signal = word(&config.stop_signal, &of_image.stop_signal);
        new.init = config.init.filter(|init| *init);
        new.stop_grace_period_seconds = config.stop_grace;
        new.restart = config.restart;
        new.healthcheck = (config.healthcheck != of_image.healthcheck)
            .then(|| config.healthcheck.as_ref().and_then(check))
            .flatten()
            .map(Box::new);
        new.resources = resources(&config.resources).map(Box::new);
        new.read_only_root_filesystem = config.read_only;
        new.tmpfs.clone_from(&config.tmpfs);
        new.cap_add.clone_from(&config.cap_add);
        new.cap_drop.clone_from(&config.cap_drop);
        new.extra_hosts.clone_from(&config.extra_hosts);
        new.ports = config
            .ports
            .iter()
            .map(|port| PortSpec {
                container_port: port.container_port.into(),
                host_port: port.host_port.map(u32::from),
                host_address: port.host_address.clone().filter(|it| it != "0.0.0.0" && it != "::"),
                protocol: port.protocol.clone(),
            })
            .collect();
        let foreign = ["com.docker.", "landfall.", "coolify.", "desktop.docker.io"];
        let own = |(key, value): &(&String, &String)| {
            !foreign.iter().any(|prefix| key.starts_with(prefix)) && of_image.labels.get(*key) != Some(*value)
        };
        new.labels = container.labels.iter().filter(own).map(|(key, value)| (key.clone(), value.clone())).collect();
        for mount in &config.mounts {
            let (volume, host_path) = match &mount.mount.source {
                MountSource::Volume(name) if mount.anonymous => (Some(self.named(name, &mount.mount.target)), None),
                MountSource::Volume(name) => (Some(self.volume(name)), None),
                MountSource::Path(path) => (None, Some(path.clone())),
            };
            let (mount_path, read_only) = (mount.mount.target.clone(), mount.mount.read_only);
            new.volumes.push(VolumeSpec { volume, host_path, mount_path, read_only });
        }
        self.variables(container, &mut new.env);
        if config.logging.as_ref().is_some_and(|it| it.driver != "json-file" || !it.options.is_empty()) {
            self.find("how its log is kept is not taken over: `logging`");
        }
        Ok(new)
    }

    /// A volume without a name gets one.
    fn named(&mut self, id: &str, target: &str) -> String {
        let place: String =
            target.trim_matches('/').chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
        let name = format!("{}-{}", self.wanted.name(), place.to_lowercase());
        self.take(id, &name);
        name
    }

    /// Values that are secrets by their names, or by a password in an address, are not printed.
    fn variables(&mut self, container: &LiveContainer, env: &mut Vec<EnvVar>) {
        let mut files = Vec::new();
        for (name, value) in container.variables() {
            let (value, value_from) = if is_secret_name(name) || has_password(value) {
                let file = format!("secrets/{}/{name}", self.wanted.name());
                files.push((name.to_owned(), file.clone()));
                (None, Some(ValueFrom { file: Some(file), ..ValueFrom::default() }))
            } else {
                (Some(value.to_owned()), None)
            };
            env.push(EnvVar { name: name.to_owned(), value, value_from });
        }
        for (name, file) in files {
            self.find(format!(
                "the value of {name} is not printed: write it to {file} (docker inspect {} on its server)",
                container.name
            ));
        }
    }

    pub(super) fn database_of(&mut self, spec: &DatabaseSpec, live: &Live) -> Result<DatabaseSpec, InstanceError> {
        let key = self.wanted.object.key();
        let container = self.one(live)?;
        let unknown = || InstanceError::Version(key.clone(), container.image.clone());
        let engine = live.engine.ok_or_else(unknown)?;
        let version = spec.version.as_deref().or(container.version()).ok_or_else(unknown)?.to_owned();
        let mut new = spec.clone();
        new.containers = None;
        new.engine = Some(engine);
        new.image = Some(container.image.clone());
        new.resources = resources(&container.config.resources);
        let published = container.config.ports.iter().find(|it| it.container_port == port(engine));
        new.host_port = published.and_then(|it| it.host_port).map(u32::from);
        let place = data_path(engine, &version);
        let volumes = || container.config.mounts.iter().filter(|it| matches!(it.mount.source, MountSource::Volume(_)));
        let data = volumes().find(|it| it.mount.target == place).or_else(|| volumes().next());
        if let Some(mount) = data
            && let MountSource::Volume(name) = &mount.mount.source
        {
            new.storage = Some(match mount.anonymous {
                true => crate::core::api::StorageSpec { volume: self.named(name, "data") },
                false => self.storage(name),
            });
            if mount.mount.target != place {
                self.find(format!("its data is at {}, and is looked for at {place}", mount.mount.target));
            }
        }
        if container.config.command != container.of_image.command {
            self.find("arguments of the server process are not taken over: `args`");
        }
        new.credentials = Some(self.credentials(engine, container));
        new.version = Some(version);
        Ok(new)
    }

    fn credentials(&mut self, engine: DatabaseEngine, container: &LiveContainer) -> CredentialsSpec {
        use DatabaseEngine as Engine;
        let (user, database, password): (&[&str], &[&str], &[&str]) = match engine {
            Engine::PostgreSQL => (&["POSTGRES_USER"], &["POSTGRES_DB"], &["POSTGRES_PASSWORD"]),
            Engine::MySQL | Engine::MariaDB => (
                &["MARIADB_USER", "MYSQL_USER"],
                &["MARIADB_DATABASE", "MYSQL_DATABASE"],
                &["MARIADB_PASSWORD", "MYSQL_PASSWORD", "MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD"],
            ),
            Engine::MongoDB => {
                (&["MONGO_INITDB_ROOT_USERNAME"], &["MONGO_INITDB_DATABASE"], &["MONGO_INITDB_ROOT_PASSWORD"])
            }
            Engine::ClickHouse => (&["CLICKHOUSE_USER"], &["CLICKHOUSE_DB"], &["CLICKHOUSE_PASSWORD"]),
            Engine::Redis | Engine::KeyDB | Engine::Dragonfly => (&[], &[], &["REDIS_PASSWORD"]),
        };
        let file = format!("secrets/{}", self.wanted.name());
        let from = password.iter().find(|name| container.variable(&[name]).is_some());
        let where_it_is = from.map_or_else(String::new, |name| format!(": {name} of the container {}", container.name));
        self.find(format!("the password is not printed: write it to {file}{where_it_is}"));
        CredentialsSpec {
            username: container.variable(user).map(str::to_owned),
            database: container.variable(database).map(str::to_owned),
            password: PasswordSpec { env: None, file: Some(file), sops: None, generate: false },
        }
    }
}

/// `scheme://user:password@host`
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn check(check: &Healthcheck) -> Option<HealthcheckSpec> {
    let command = match check.test.split_first()? {
        (kind, rest) if kind == "CMD" => rest.to_vec(),
        (kind, [line]) if kind == "CMD-SHELL" => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
        _ => return None,
    };
    Some(HealthcheckSpec {
        command,
        interval_seconds: check.interval,
        timeout_seconds: check.timeout,
        retries: check.retries,
        start_period_seconds: check.start_period,
    })
}

fn resources(limits: &Resources) -> Option<ResourcesSpec> {
    let spec = ResourcesSpec {
        cpus: (limits.nano_cpus > 0).then(|| {
            let thousandths = limits.nano_cpus / 1_000_000;
            format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
        }),
        memory: (limits.memory > 0).then(|| limits.memory.to_string()),
        pids: (limits.pids > 0).then_some(limits.pids),
    };
    (spec != ResourcesSpec::default()).then_some(spec)
}
