//! `context://NAME`: an endpoint as the Docker CLI's contexts name it, and `context://current` for the one that `docker` would use now.
//!
//! A context lives in `~/.docker/contexts/meta/<sha256 of its name>/meta.json`, its TLS files beside in `contexts/tls`.
//!
//! By hand: `docker context inspect` needs the Docker CLI, which a machine that only runs Landfall may not have, and clients of the Engine leave contexts to it.

use std::path::PathBuf;

use serde::Deserialize;

use super::ssh::Target;
use super::tls::TlsMaterial;
use super::{DialError, SshEndpoint};
use crate::core::digest::digest;
use crate::shell::engine::EngineErrorKind;

/// What of this process decides about contexts.
#[derive(Debug, Clone, Default)]
pub struct ContextEnvironment {
    /// `DOCKER_CONFIG`, or `~/.docker`.
    pub directory: PathBuf,
    /// `DOCKER_HOST`
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`
    pub context: Option<String>,
    /// `DOCKER_TLS_VERIFY` is set to anything.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`
    pub cert_path: Option<PathBuf>,
}

impl ContextEnvironment {
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = std::env::home_dir().unwrap_or_default();
        Self {
            directory: variable("DOCKER_CONFIG").map_or_else(|| home.join(".docker"), PathBuf::from),
            host: variable("DOCKER_HOST"),
            context: variable("DOCKER_CONTEXT"),
            tls_verify: variable("DOCKER_TLS_VERIFY").is_some(),
            cert_path: variable("DOCKER_CERT_PATH").map(PathBuf::from),
        }
    }
}

/// Where a context leads.
#[derive(Debug, Clone, PartialEq)]
pub enum ContextTarget {
    Unix { path: String },
    Tls { host: String, port: u16, material: TlsMaterial },
    Ssh(SshEndpoint),
}

/// The name that stands for whatever `docker` would use.
const CURRENT: &str = "current";
/// The context that is made of environment variables.
const DEFAULT: &str = "default";
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
const TLS_PORT: u16 = 2376;

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
struct Endpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

#[derive(Deserialize, Default)]
struct CliConfig {
    #[serde(rename = "currentContext", default)]
    current_context: String,
}

/// Looks a context up.
pub fn resolve(name: &str, environment: &ContextEnvironment) -> Result<ContextTarget, DialError> {
    let store = Store { environment };
    let name = if name == CURRENT { store.current()? } else { name.to_owned() };
    if name == DEFAULT { store.default_target() } else { store.target(&name) }
}

struct Store<'a> {
    environment: &'a ContextEnvironment,
}

impl Store<'_> {
    /// As the Docker CLI decides: `DOCKER_HOST` beats `DOCKER_CONTEXT` beats `docker context use`.
    fn current(&self) -> Result<String, DialError> {
        if self.environment.host.is_some() {
            return Ok(DEFAULT.to_owned());
        }
        if let Some(context) = &self.environment.context {
            return Ok(context.clone());
        }
        let file = self.environment.directory.join("config.json");
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(DEFAULT.to_owned()),
            Err(error) => return Err(failure(format!("{} cannot be read: {error}", file.display()))),
        };
        let config: CliConfig = serde_json::from_slice(&text)
            .map_err(|error| failure(format!("{} cannot be read: {error}", file.display())))?;
        Ok(if config.current_context.is_empty() { DEFAULT.to_owned() } else { config.current_context })
    }

    fn default_target(&self) -> Result<ContextTarget, DialError> {
        let host = self.environment.host.as_deref().unwrap_or(DEFAULT_HOST);
        let files = self
            .environment
            .tls_verify
            .then(|| self.environment.cert_path.clone().unwrap_or_else(|| self.environment.directory.clone()));
        target(DEFAULT, host, files)
    }

    fn target(&self, name: &str) -> Result<ContextTarget, DialError> {
        let id = digest(name, 32);
        let contexts = self.environment.directory.join("contexts");
        let file = contexts.join("meta").join(&id).join("meta.json");
        let text = std::fs::read(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                failure(format!("there is no Docker context {name:?} in {}", self.environment.directory.display()))
            }
            _ => failure(format!("{} cannot be read: {error}", file.display())),
        })?;
        let meta: Meta = serde_json::from_slice(&text)
            .map_err(|error| failure(format!("{} cannot be read: {error}", file.display())))?;
        let endpoint = meta
            .endpoints
            .docker
            .ok_or_else(|| failure(format!("the Docker context {name:?} has no endpoint for docker")))?;
        if endpoint.skip_tls_verify {
            return Err(failure(format!(
                "the Docker context {name:?} skips the verification of the daemon's certificate, which is not supported"
            )));
        }
        let files = contexts.join("tls").join(&id).join("docker");
        target(name, &endpoint.host, files.is_dir().then_some(files))
    }
}

fn target(name: &str, url: &str, tls_files: Option<PathBuf>) -> Result<ContextTarget, DialError> {
    let bad = |problem: &str| failure(format!("the Docker context {name:?} leads to {url}: {problem}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("that is no URL"))?;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(ContextTarget::Unix { path: rest.to_owned() }),
        "ssh" => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let target = Target::parse(authority).map_err(|error| bad(&error.to_string()))?;
            let socket = Some(path.to_owned()).filter(|path| path.len() > 1);
            Ok(ContextTarget::Ssh(SshEndpoint { target, socket, settings: None }))
        }
        "tcp" | "https" => {
            let Some(files) = tls_files else {
                return Err(bad(
                    "plain TCP is not used on a context's word; declare the endpoint `tcp://…` with `insecure: true` in the Server instead",
                ));
            };
            let Target { host, port, .. } =
                Target::parse(rest.trim_end_matches('/')).map_err(|_| bad("that is no host and port"))?;
            let file = |name: &str| Some(files.join(name)).filter(|file| file.exists());
            let ca = file("ca.pem").ok_or_else(|| bad(&format!("there is no ca.pem in {}", files.display())))?;
            let client = file("cert.pem").zip(file("key.pem"));
            Ok(ContextTarget::Tls {
                host,
                port: port.unwrap_or(TLS_PORT),
                material: TlsMaterial { ca, client, server_name: None },
            })
        }
        _ => Err(bad("only unix://, ssh:// and tcp:// with TLS are supported")),
    }
}

fn failure(message: String) -> DialError {
    DialError {
        kind: EngineErrorKind::Unreachable,
        message,
        hint: Some("`docker context ls` lists the contexts, `docker context inspect NAME` shows one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A context store as `docker context create` leaves it.
    fn store(contexts: &[(&str, &str)]) -> (tempfile::TempDir, ContextEnvironment) {
        let directory = tempfile::tempdir().unwrap();
        for (name, endpoint) in contexts {
            let id = digest(name, 32);
            let meta = directory.path().join("contexts/meta").join(&id);
            std::fs::create_dir_all(&meta).unwrap();
            let json = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{endpoint}}}}}"#);
            std::fs::write(meta.join("meta.json"), json).unwrap();
            if endpoint.contains("tls.example.com") {
                let tls = directory.path().join("contexts/tls").join(id).join("docker");
                std::fs::create_dir_all(&tls).unwrap();
                for file in ["ca.pem", "cert.pem", "key.pem"] {
                    std::fs::write(tls.join(file), "").unwrap();
                }
            }
        }
        let environment = ContextEnvironment { directory: directory.path().to_owned(), ..Default::default() };
        (directory, environment)
    }

    fn ssh(user: Option<&str>, host: &str, port: Option<u16>, socket: Option<&str>) -> ContextTarget {
        ContextTarget::Ssh(SshEndpoint {
            target: Target { user: user.map(str::to_owned), host: host.to_owned(), port },
            socket: socket.map(str::to_owned),
            settings: None,
        })
    }

    fn unix(path: &str) -> ContextTarget {
        ContextTarget::Unix { path: path.to_owned() }
    }

    /// The directory is the one that `docker context create edge` makes.
    #[test]
    fn the_store_is_found_by_the_hash_of_the_name() {
        let (directory, environment) = store(&[("edge", r#"{"Host":"ssh://deploy@edge-1:2222"}"#)]);
        let id = "a1cb100f57e971cacf269e7c26e4630a25a8e9d4bdd35e32df1a80b66b896254";
        assert!(directory.path().join("contexts/meta").join(id).is_dir());
        assert_eq!(resolve("edge", &environment).unwrap(), ssh(Some("deploy"), "edge-1", Some(2222), None));
    }

    #[test]
    fn every_kind_of_endpoint_that_is_supported() {
        let (directory, environment) = store(&[
            ("local", r#"{"Host":"unix:///run/user/1000/docker.sock","SkipTLSVerify":false}"#),
            ("path", r#"{"Host":"ssh://edge-1/run/docker.sock"}"#),
            ("tls", r#"{"Host":"tcp://tls.example.com"}"#),
        ]);
        assert_eq!(resolve("local", &environment).unwrap(), unix("/run/user/1000/docker.sock"));
        assert_eq!(resolve("path", &environment).unwrap(), ssh(None, "edge-1", None, Some("/run/docker.sock")));
        let ContextTarget::Tls { host, port, material } = resolve("tls", &environment).unwrap() else { panic!() };
        assert_eq!((host.as_str(), port), ("tls.example.com", 2376));
        assert!(material.ca.starts_with(directory.path()) && material.ca.ends_with("docker/ca.pem"));
        assert!(material.client.unwrap().1.ends_with("docker/key.pem"));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let (_directory, environment) = store(&[
            ("plain", r#"{"Host":"tcp://10.0.0.7:2375"}"#),
            ("blind", r#"{"Host":"tcp://tls.example.com","SkipTLSVerify":true}"#),
            ("windows", r#"{"Host":"npipe:////./pipe/docker_engine"}"#),
            ("option", r#"{"Host":"ssh://-oProxyCommand=x"}"#),
        ]);
        for (name, words) in [
            ("plain", "plain TCP is not used on a context's word"),
            ("blind", "skips the verification"),
            ("windows", "only unix://, ssh:// and tcp:// with TLS"),
            ("option", "is no host name"),
            ("nothing", "there is no Docker context \"nothing\""),
        ] {
            let error = resolve(name, &environment).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn the_current_context_is_the_one_that_docker_would_use() {
        let (directory, mut environment) =
            store(&[("used", r#"{"Host":"unix:///used.sock"}"#), ("exported", r#"{"Host":"unix:///exported.sock"}"#)]);
        assert_eq!(resolve("current", &environment).unwrap(), unix("/var/run/docker.sock"));
        std::fs::write(directory.path().join("config.json"), r#"{"auths":{},"currentContext":"used"}"#).unwrap();
        assert_eq!(resolve("current", &environment).unwrap(), unix("/used.sock"));
        environment.context = Some("exported".to_owned());
        assert_eq!(resolve("current", &environment).unwrap(), unix("/exported.sock"));
        environment.host = Some("ssh://edge-1".to_owned());
        assert_eq!(resolve("current", &environment).unwrap(), ssh(None, "edge-1", None, None));
        assert_eq!(resolve("used", &environment).unwrap(), unix("/used.sock"), "a name is a name");
    }

    #[test]
    fn a_broken_configuration_is_an_error_and_not_the_default() {
        let (directory, environment) = store(&[]);
        std::fs::write(directory.path().join("config.json"), "{").unwrap();
        assert!(resolve("current", &environment).unwrap_err().message.contains("config.json cannot be read"));
    }
}
