//! What an image's name says about the container that runs it.

use crate::core::api::{DatabaseEngine, ProxyType};
use crate::core::desired::ProxyInstance;
use crate::core::observed::{ObservedContainer, ObservedState};

/// The last part of the image's path, without tag and digest: `ghcr.io/team/postgres:16@sha256:…` is `postgres`.
fn repository(image: &str) -> &str {
    let path = image.split('@').next().unwrap_or(image);
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split(':').next().unwrap_or(last)
}

/// The engine of a database image.
pub(super) fn engine(image: &str) -> Option<DatabaseEngine> {
    Some(match repository(image) {
        "postgres" | "postgresql" | "postgis" | "pgvector" | "timescaledb" | "timescaledb-ha" => {
            DatabaseEngine::PostgreSQL
        }
        "mysql" | "mysql-server" => DatabaseEngine::MySQL,
        "mariadb" => DatabaseEngine::MariaDB,
        "mongo" | "mongodb" | "mongodb-community-server" => DatabaseEngine::MongoDB,
        "redis" | "redis-stack" | "redis-stack-server" => DatabaseEngine::Redis,
        "keydb" => DatabaseEngine::KeyDB,
        "dragonfly" => DatabaseEngine::Dragonfly,
        "clickhouse" | "clickhouse-server" => DatabaseEngine::ClickHouse,
        _ => return None,
    })
}

/// How sure it is that a container is the server's proxy, the surest first.
fn proxy(container: &ObservedContainer) -> Option<(u8, ProxyType)> {
    let repository = repository(&container.image);
    let by_image = match repository {
        "traefik" => Some((2, ProxyType::Traefik)),
        "nginx-proxy" | "nginx-proxy-manager" => Some((3, ProxyType::Nginx)),
        "caddy-docker-proxy" => Some((4, ProxyType::Caddy)),
        // Also serves as a web server of applications.
        "caddy" => Some((5, ProxyType::Caddy)),
        _ => None,
    };
    let proxy_type = by_image.map_or(ProxyType::Other, |(_, proxy_type)| proxy_type);
    if container.name == "coolify-proxy" {
        Some((0, proxy_type))
    } else if container.labels.get("coolify.proxy").is_some_and(|value| value == "true") {
        Some((1, proxy_type))
    } else {
        by_image
    }
}

/// The container, or Swarm service, that looks most like the server's proxy.
pub fn recognise_proxy(state: &ObservedState) -> Option<(ProxyInstance, ProxyType)> {
    let staying = state.containers.iter().filter(|container| !super::members::is_going(container));
    let candidates = staying.filter_map(|container| Some((proxy(container)?, container)));
    let ((_, proxy_type), container) = candidates.min_by_key(|((rank, _), container)| {
        (*rank, !container.state.is_live(), std::cmp::Reverse(container.endpoints.len()), container.name.clone())
    })?;
    let instance = match container.labels.get(super::members::SWARM_SERVICE) {
        Some(service) => ProxyInstance::Service(service.clone()),
        None => ProxyInstance::Container(container.name.clone()),
    };
    Some((instance, proxy_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_known_by_the_last_part_of_their_image() {
        for (image, expected) in [
            ("postgres", Some(DatabaseEngine::PostgreSQL)),
            ("postgres:16-alpine", Some(DatabaseEngine::PostgreSQL)),
            ("localhost:5000/team/mariadb:11@sha256:00", Some(DatabaseEngine::MariaDB)),
            ("docker.dragonflydb.io/dragonflydb/dragonfly", Some(DatabaseEngine::Dragonfly)),
            ("clickhouse/clickhouse-server:24", Some(DatabaseEngine::ClickHouse)),
            ("eqalpha/keydb", Some(DatabaseEngine::KeyDB)),
            ("mongo:7", Some(DatabaseEngine::MongoDB)),
            ("mysql/mysql-server", Some(DatabaseEngine::MySQL)),
            ("redis:7", Some(DatabaseEngine::Redis)),
            ("prometheuscommunity/postgres-exporter", None),
            ("mongo-express", None),
            ("sha256:0123", None),
            ("", None),
        ] {
            assert_eq!(engine(image), expected, "{image}");
        }
    }
}
