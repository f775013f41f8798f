//! What each engine is asked, by its own tools and within its own container: one shell script an engine, which answers to a few verbs.

use crate::core::api::DatabaseEngine;

macro_rules! script {
    ($file:literal) => {
        concat!(include_str!("scripts/secret.sh"), include_str!(concat!("scripts/", $file)))
    };
}

/// How an engine's data is got out and in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    script: &'static str,
    /// Roles and the like, which belong to no database, are dumped by themselves.
    pub has_globals: bool,
    /// What a file with a dump is called.
    pub extension: &'static str,
    /// Where its tools do not get in, as without a password that nothing in the container has, the files of the volumes are archived instead: they
    /// are a moment of it as well.
    pub may_be_absent: bool,
}

/// What a script is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Succeeds once the server takes connections as it will go on to.
    Ready,
    /// Prints the version of the server.
    Version,
    /// Prints the bytes that all databases take.
    Size,
    /// Prints the databases that are dumped one by one, a line each. An empty line: all of them together.
    Databases,
    /// Prints `database.schema.table`, a line each, of what people have put there; nothing where that is nothing.
    Tables,
    /// Prints the rows of each of them after a tab.
    Count,
    /// Prints what belongs to no database.
    Globals,
    /// Prints one database, or all.
    Dump,
    /// Reads what `Globals` has printed.
    RestoreGlobals,
    /// Reads what `Dump` has printed. What was there under the same name is gone afterwards.
    Restore,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Verb::Ready => "ready",
            Verb::Version => "version",
            Verb::Size => "size",
            Verb::Databases => "databases",
            Verb::Tables => "tables",
            Verb::Count => "count",
            Verb::Globals => "globals",
            Verb::Dump => "dump",
            Verb::RestoreGlobals => "restore-globals",
            Verb::Restore => "restore",
        }
    }
}

impl Tool {
    pub fn of(engine: DatabaseEngine) -> Tool {
        use DatabaseEngine as Engine;
        match engine {
            Engine::PostgreSQL => {
                Tool { script: script!("postgresql.sh"), has_globals: true, extension: "pgdump", may_be_absent: false }
            }
            Engine::MySQL | Engine::MariaDB => {
                Tool { script: script!("mysql.sh"), has_globals: false, extension: "sql", may_be_absent: false }
            }
            Engine::MongoDB => {
                Tool { script: script!("mongodb.sh"), has_globals: false, extension: "archive", may_be_absent: false }
            }
            Engine::Redis | Engine::KeyDB | Engine::Dragonfly => {
                Tool { script: script!("redis.sh"), has_globals: false, extension: "rdb", may_be_absent: true }
            }
            Engine::ClickHouse => {
                Tool { script: script!("clickhouse.sh"), has_globals: false, extension: "native", may_be_absent: true }
            }
        }
    }

    /// The command to run in the container.
    pub fn command<'a>(&self, verb: Verb, database: &'a str) -> [&'a str; 6] {
        ["sh", "-c", self.script, "landfall", verb.as_str(), database]
    }
}

/// The engine that an image of that name has, as far as it is one of the well-known ones.
pub fn engine_of_image(image: &str) -> Option<DatabaseEngine> {
    let name = image.split('@').next().unwrap_or(image);
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.split(':').next().unwrap_or(name);
    match name {
        "postgres" | "postgis" | "timescaledb" | "pgvector" | "postgresql" => Some(DatabaseEngine::PostgreSQL),
        "mysql" => Some(DatabaseEngine::MySQL),
        "mariadb" => Some(DatabaseEngine::MariaDB),
        "mongo" | "mongodb" => Some(DatabaseEngine::MongoDB),
        "redis" | "valkey" => Some(DatabaseEngine::Redis),
        "keydb" => Some(DatabaseEngine::KeyDB),
        "dragonfly" => Some(DatabaseEngine::Dragonfly),
        "clickhouse-server" | "clickhouse" => Some(DatabaseEngine::ClickHouse),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adopted_database_is_known_by_its_image() {
        let of = engine_of_image;
        assert_eq!(of("postgres:16-alpine"), Some(DatabaseEngine::PostgreSQL));
        assert_eq!(of("registry.example.com:5000/mirror/mariadb@sha256:00"), Some(DatabaseEngine::MariaDB));
        assert_eq!(of("clickhouse/clickhouse-server:25.11"), Some(DatabaseEngine::ClickHouse));
        assert_eq!(of("shop/frontend:1.4"), None);
    }
}
