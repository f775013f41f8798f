//! Credentials for registries, from where `docker login` puts them.

use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Serialize;

/// As the header `X-Registry-Auth` has it. Neither shown nor logged.
#[derive(Serialize, Default)]
pub(super) struct Credentials {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(rename = "identitytoken", skip_serializing_if = "Option::is_none")]
    identity_token: Option<String>,
    #[serde(rename = "serveraddress")]
    server_address: String,
}

/// As the Docker configuration knows Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The registry that a reference is of: the part before the first slash, where it looks like a host.
pub(super) fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

/// The credentials for an image's registry: of the configuration file, or of the credential helper that it names. `None`: there are none, and the
/// registry is asked without. Runs a program; not for the threads of the runtime.
pub(super) fn credentials(reference: &str) -> Result<Option<Credentials>, String> {
    let registry = registry(reference);
    match docker_credential::get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(username, password)) => Ok(Some(Credentials {
            username: Some(username),
            password: Some(password),
            server_address: registry.to_owned(),
            ..Credentials::default()
        })),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credentials {
            identity_token: Some(token),
            server_address: registry.to_owned(),
            ..Credentials::default()
        })),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError,
        ) => Ok(None),
        // A helper that knows nothing of a registry fails as one that is broken does.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("not found") => Ok(None),
        Err(error) => Err(format!("the Docker credentials for {registry} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_host_is_of_docker_hub() {
        assert_eq!(registry("nginx:1.27"), DOCKER_HUB);
        assert_eq!(registry("library/nginx"), DOCKER_HUB);
        assert_eq!(registry("localhost:5000/shop/frontend:1"), "localhost:5000");
        assert_eq!(registry("registry.example.com/shop/frontend"), "registry.example.com");
    }
}
