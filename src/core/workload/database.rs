//! Databases: what each engine needs to run, to be asked whether it is healthy, and to be reached.
//!
//! Passwords travel in files: they are in no argument, variable or label. A health check logs in with them and reads an answer, over the
//! network where the engine trusts its own host: `ping` succeeds with a wrong password.

use super::secret::{Form, SecretSource};
use super::{ContainerTemplate, File, Healthcheck, Mount, MountSource, Port, Secret, Value};
use crate::core::api::{DatabaseEngine, DatabaseField, RestartPolicy};

/// How a database is reached from its destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    pub engine: DatabaseEngine,
    /// As declared, or the engine's default.
    pub version: String,
    /// DNS name on the destination.
    pub host: String,
    pub port: u16,
    pub username: String,
    pub database: String,
    pub password: SecretSource,
    /// The volume with the data.
    pub volume: String,
    /// Of the Redis family: it keeps an append-only file, and reads nothing else when it starts.
    pub append_only: bool,
}

/// An engine and the version of it that has written data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub engine: DatabaseEngine,
    /// As in an image's tag.
    pub version: String,
}

impl Written {
    /// The first number of the version; `None` where there is none, as in `latest`.
    pub fn major(&self) -> Option<u64> {
        let digits: String = self.version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// Whether the declared version reads this data: the same engine, and the same major version as far as both are known.
    pub fn is_read_by(&self, declared: &Written) -> bool {
        self.engine == declared.engine
            && match (self.major(), declared.major()) {
                (Some(before), Some(declared)) => before == declared,
                _ => true,
            }
    }

    /// As a label's value.
    pub fn label(&self) -> String {
        format!("{}:{}", self.engine.as_str().to_ascii_lowercase(), self.version)
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.engine.as_str(), self.version)
    }
}

impl std::str::FromStr for Written {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = text.split_once(':').ok_or_else(|| format!("{text:?} is no engine with a version"))?;
        let engine = ENGINES.into_iter().find(|engine| engine.as_str().eq_ignore_ascii_case(name));
        let engine = engine.ok_or_else(|| format!("{name:?} is no engine"))?;
        Ok(Self { engine, version: version.to_owned() })
    }
}

const ENGINES: [DatabaseEngine; 8] = [
    DatabaseEngine::PostgreSQL,
    DatabaseEngine::MySQL,
    DatabaseEngine::MariaDB,
    DatabaseEngine::MongoDB,
    DatabaseEngine::Redis,
    DatabaseEngine::KeyDB,
    DatabaseEngine::Dragonfly,
    DatabaseEngine::ClickHouse,
];

/// What an engine's own image of that tag writes; `None` of any other image.
pub fn written_by_image(engine: DatabaseEngine, image: &str) -> Option<Written> {
    let version = image.strip_prefix(repository(engine))?.strip_prefix(':')?;
    Some(Written { engine, version: version.to_owned() })
}

/// What is declared of a database.
#[derive(Debug, Clone)]
pub struct Declared<'a> {
    pub engine: DatabaseEngine,
    pub version: Option<&'a str>,
    pub image: Option<&'a str>,
    pub host: &'a str,
    pub volume: &'a str,
    pub username: Option<&'a str>,
    pub database: Option<&'a str>,
    pub password: SecretSource,
    pub host_port: Option<u16>,
    pub args: &'a [String],
    pub config: Option<&'a str>,
    pub stop_grace: Option<u32>,
}

/// Where a one-shot container has the volume that it reads.
pub const READ_AT: &str = "/landfall-data";

/// What the script at [`READ`] prints of a Redis or KeyDB that kept a dump and no append-only file: one that is told to keep the latter begins
/// empty, and writes over the dump.
pub const ONLY_DUMP: &str = "only a dump";

/// A shell's script that prints what wrote the data on the volume at [`READ_AT`], as a label has it, and nothing where that cannot be told: of
/// PostgreSQL from `PG_VERSION`, of MariaDB and MySQL from what their upgrades write down. Of the Redis family it prints [`ONLY_DUMP`] where that is so. The other engines leave nothing that a shell
/// could read.
pub const READ: &str = "cd /landfall-data || exit 0
[ -s dump.rdb ] && [ ! -e appendonlydir ] && [ ! -e appendonly.aof ] && echo 'only a dump' && exit 0
for file in PG_VERSION data/PG_VERSION */docker/PG_VERSION; do
    [ -f \"$file\" ] && echo \"postgresql:$(head -n 1 \"$file\")\" && exit 0
done
for file in mariadb_upgrade_info mysql_upgrade_info; do
    [ -f \"$file\" ] || continue
    case $(head -n 1 \"$file\" | tr -d '\\0') in
    *MariaDB*) echo \"mariadb:$(head -n 1 \"$file\" | tr -d '\\0')\" ;;
    *) echo \"mysql:$(head -n 1 \"$file\" | tr -d '\\0')\" ;;
    esac
    exit 0
done
[ -f mysql_upgrade_history ] &&
    echo \"mysql:$(grep -o '\"version\": *\"[0-9.]*' mysql_upgrade_history | tail -n 1 | grep -o '[0-9.]*$')\"
exit 0
";

/// Whether a Redis or a KeyDB keeps an append-only file, as Landfall has them do unless the configuration or the arguments say otherwise.
fn is_append_only(declared: &Declared<'_>) -> bool {
    if !matches!(declared.engine, DatabaseEngine::Redis | DatabaseEngine::KeyDB) {
        return false;
    }
    let lines = declared.config.unwrap_or_default().lines();
    let configured = lines.filter_map(|line| line.trim().split_once(char::is_whitespace));
    // Arguments come after the file, and the last word counts.
    let arguments = declared.args.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("--")?, pair[1].as_str())));
    let said = configured.chain(arguments).rfind(|(name, _)| name.eq_ignore_ascii_case("appendonly"));
    said.is_none_or(|(_, value)| !value.trim().eq_ignore_ascii_case("no"))
}

/// Where Landfall puts files into a database's container.
const DIRECTORY: &str = "/landfall";
const PASSWORD: &str = "/landfall/password";

/// The image, the container and the connection of a declared database.
pub fn container(declared: &Declared<'_>) -> (String, ContainerTemplate, Connection) {
    let engine = declared.engine;
    let version = declared.version.unwrap_or(default_version(engine)).to_owned();
    let image = declared.image.map_or_else(|| format!("{}:{version}", repository(engine)), str::to_owned);
    let username = declared.username.unwrap_or(default_user(engine)).to_owned();
    let database = declared.database.map_or_else(|| default_database(engine, &username), str::to_owned);
    let connection = Connection {
        engine,
        host: declared.host.to_owned(),
        port: port(engine),
        username,
        database,
        password: declared.password.clone(),
        volume: declared.volume.to_owned(),
        append_only: is_append_only(declared),
        version,
    };
    let mut container = ContainerTemplate {
        restart: Some(RestartPolicy::UnlessStopped),
        stop_grace: Some(declared.stop_grace.unwrap_or(60)),
        mounts: vec![Mount {
            target: data_path(engine, &connection.version).to_owned(),
            source: MountSource::Volume(declared.volume.to_owned()),
            read_only: false,
        }],
        ports: declared
            .host_port
            .map(|host_port| Port {
                container_port: connection.port,
                protocol: "tcp".to_owned(),
                host_port: Some(host_port),
                host_address: None,
            })
            .into_iter()
            .collect(),
        healthcheck: Some(Healthcheck {
            test: vec!["CMD-SHELL".to_owned(), health_check(&connection)],
            interval: Some(5),
            timeout: Some(5),
            retries: Some(10),
            start_period: Some(30),
        }),
        ..ContainerTemplate::default()
    };
    secret_file(&mut container, PASSWORD, declared.password.clone());
    settings(&mut container, declared, &connection);
    (image, container, connection)
}

fn secret_file(container: &mut ContainerTemplate, path: &str, source: SecretSource) {
    let content = Value::Secret(Secret::unread(source));
    container.files.insert(path.to_owned(), File { content, mode: 0o444 });
}

/// Variables, arguments and files, engine by engine.
fn settings(container: &mut ContainerTemplate, declared: &Declared<'_>, connection: &Connection) {
    use DatabaseEngine as Engine;
    let Connection { username, database, .. } = connection;
    let mut env = |name: &str, value: &str| {
        container.env.insert(name.to_owned(), Value::Literal(value.to_owned()));
    };
    let mut arguments: Vec<String> = Vec::new();
    // Where a configuration file goes, and the argument that names it.
    let mut config = None;
    match declared.engine {
        Engine::PostgreSQL => {
            env("POSTGRES_USER", username);
            env("POSTGRES_DB", database);
            env("POSTGRES_PASSWORD_FILE", PASSWORD);
            config = Some((format!("{DIRECTORY}/postgresql.conf"), "-c"));
            if declared.config.is_some() {
                arguments.extend(["-c".to_owned(), format!("config_file={DIRECTORY}/postgresql.conf")]);
            }
        }
        Engine::MySQL | Engine::MariaDB => {
            let family = if declared.engine == Engine::MySQL { "MYSQL" } else { "MARIADB" };
            env(&format!("{family}_ROOT_PASSWORD_FILE"), PASSWORD);
            env(&format!("{family}_DATABASE"), database);
            if username != "root" {
                env(&format!("{family}_USER"), username);
                env(&format!("{family}_PASSWORD_FILE"), PASSWORD);
            }
            config = Some(("/etc/mysql/conf.d/landfall.cnf".to_owned(), ""));
        }
        Engine::MongoDB => {
            env("MONGO_INITDB_ROOT_USERNAME", username);
            env("MONGO_INITDB_ROOT_PASSWORD_FILE", PASSWORD);
            env("MONGO_INITDB_DATABASE", database);
            config = Some((format!("{DIRECTORY}/mongod.conf"), "--config"));
            let before = format!("db = connect(\"mongodb://{}:", Form::Url.write(username));
            let after = "@127.0.0.1:27017/admin\"); print(db.runCommand({ ping: 1 }).ok);\n";
            let check = declared.password.clone().within(before, after, Form::Url);
            secret_file(container, &format!("{DIRECTORY}/health.js"), check);
            // The configuration database is a volume of the image; unnamed it would be left behind with every container.
            container.mounts.push(Mount {
                target: "/data/configdb".to_owned(),
                source: MountSource::Volume(format!("{}-config", declared.volume)),
                read_only: false,
            });
        }
        Engine::Redis | Engine::KeyDB => {
            let (server, name) =
                if declared.engine == Engine::Redis { ("redis-server", "redis") } else { ("keydb-server", "keydb") };
            let path = format!("{DIRECTORY}/{name}.conf");
            let rest = declared.config.map_or_else(String::new, |text| format!("{text}\n"));
            let text = declared.password.clone().within(
                "requirepass ",
                format!("\nappendonly yes\ndir /data\n{rest}"),
                Form::Quoted,
            );
            secret_file(container, &path, text);
            arguments = vec![server.to_owned(), path];
        }
        Engine::Dragonfly => {
            let path = format!("{DIRECTORY}/dragonfly.flags");
            let rest = declared.config.map_or_else(String::new, |text| format!("{text}\n"));
            let text =
                declared.password.clone().within("--requirepass=", format!("\n--dir=/data\n{rest}"), Form::Plain);
            secret_file(container, &path, text);
            arguments = vec!["dragonfly".to_owned(), "--logtostderr".to_owned(), format!("--flagfile={path}")];
        }
        Engine::ClickHouse => {
            env("CLICKHOUSE_USER", username);
            env("CLICKHOUSE_DB", database);
            env("CLICKHOUSE_PASSWORD_FILE", PASSWORD);
            let before = format!("<config><user>{}</user><password>", Form::Xml.write(username));
            let check = declared.password.clone().within(before, "</password></config>\n", Form::Xml);
            secret_file(container, &format!("{DIRECTORY}/client.xml"), check);
            config = Some(("/etc/clickhouse-server/config.d/landfall.xml".to_owned(), ""));
        }
    }
    if let (Some(text), Some((path, argument))) = (declared.config, config) {
        let content = Value::Literal(text.to_owned());
        container.files.insert(path.clone(), File { content, mode: 0o444 });
        if argument == "--config" {
            arguments.extend([argument.to_owned(), path]);
        }
    }
    arguments.extend(declared.args.iter().cloned());
    if !arguments.is_empty() {
        // The images' entry points take arguments that begin with a dash for those of the server.
        container.command = Some(arguments);
    }
}

/// Logs in as applications do, and reads an answer.
fn health_check(connection: &Connection) -> String {
    use DatabaseEngine as Engine;
    let Connection { username, database, .. } = connection;
    let (user, database) = (shell(username), shell(database));
    let password = format!("\"$(cat {PASSWORD})\"");
    // The image trusts its own loopback address; the container's address asks for the password.
    let address = "\"$(hostname -i | cut -d' ' -f1)\"";
    match connection.engine {
        Engine::PostgreSQL => {
            format!("PGPASSWORD={password} psql -h {address} -U {user} -d {database} -tAc 'SELECT 1' | grep -qx 1")
        }
        Engine::MySQL | Engine::MariaDB => format!(
            "MYSQL_PWD={password} \"$(command -v mariadb || command -v mysql)\" -h 127.0.0.1 -u {user} -D {database} -N -e 'SELECT 1' | grep -qx 1"
        ),
        Engine::MongoDB => format!("mongosh --quiet --nodb --file {DIRECTORY}/health.js | grep -qx 1"),
        Engine::Redis | Engine::Dragonfly => format!("REDISCLI_AUTH={password} redis-cli ping | grep -qx PONG"),
        Engine::KeyDB => format!("REDISCLI_AUTH={password} keydb-cli ping | grep -qx PONG"),
        Engine::ClickHouse => format!(
            "clickhouse-client --config-file {DIRECTORY}/client.xml --host 127.0.0.1 -d {database} -q 'SELECT 1' | grep -qx 1"
        ),
    }
}

fn shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Connection {
    /// One part of the connection: what may be shown as it is, and what may not as a secret.
    pub fn field(&self, field: DatabaseField) -> Value {
        let literal = |text: &str| Value::Literal(text.to_owned());
        let secret = |source| Value::Secret(Secret::unread(source));
        match field {
            DatabaseField::Host => literal(&self.host),
            DatabaseField::Port => literal(&self.port.to_string()),
            DatabaseField::Username => literal(&self.username),
            DatabaseField::Database => literal(&self.database),
            DatabaseField::Password => secret(self.password.clone()),
            DatabaseField::Url => secret(self.url()),
        }
    }

    /// The URL that clients take, with the password in it.
    pub fn url(&self) -> SecretSource {
        let (before, after) = self.url_parts();
        self.password.clone().within(before, after, Form::Url)
    }

    /// The URL to show.
    pub fn masked_url(&self) -> String {
        let (before, after) = self.url_parts();
        format!("{before}***{after}")
    }

    fn url_parts(&self) -> (String, String) {
        use DatabaseEngine as Engine;
        let Connection { host, port, .. } = self;
        let (user, database) = (Form::Url.write(&self.username), Form::Url.write(&self.database));
        let scheme = match self.engine {
            Engine::PostgreSQL => "postgres",
            Engine::MySQL | Engine::MariaDB => "mysql",
            Engine::MongoDB => "mongodb",
            Engine::Redis | Engine::KeyDB | Engine::Dragonfly => "redis",
            Engine::ClickHouse => "clickhouse",
        };
        match self.engine {
            // All of the family have users from Redis 6 on, and some clients ask for the empty name where a URL has none.
            Engine::MongoDB => (
                format!("{scheme}://{user}:"),
                format!("@{host}:{port}/{database}?authSource=admin&directConnection=true"),
            ),
            _ => (format!("{scheme}://{user}:"), format!("@{host}:{port}/{database}")),
        }
    }

    /// The first number of a version: data of one is not read by another.
    pub fn major(version: &str) -> &str {
        let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
        &version[..end]
    }
}

pub fn repository(engine: DatabaseEngine) -> &'static str {
    match engine {
        DatabaseEngine::PostgreSQL => "postgres",
        DatabaseEngine::MySQL => "mysql",
        DatabaseEngine::MariaDB => "mariadb",
        DatabaseEngine::MongoDB => "mongo",
        DatabaseEngine::Redis => "redis",
        DatabaseEngine::KeyDB => "eqalpha/keydb",
        DatabaseEngine::Dragonfly => "docker.dragonflydb.io/dragonflydb/dragonfly",
        DatabaseEngine::ClickHouse => "clickhouse/clickhouse-server",
    }
}

fn default_version(engine: DatabaseEngine) -> &'static str {
    match engine {
        DatabaseEngine::PostgreSQL => "17-alpine",
        DatabaseEngine::MySQL => "8.4",
        DatabaseEngine::MariaDB => "11.8",
        DatabaseEngine::MongoDB => "8.0",
        DatabaseEngine::Redis => "7.4-alpine",
        DatabaseEngine::KeyDB | DatabaseEngine::Dragonfly => "latest",
        DatabaseEngine::ClickHouse => "25.11",
    }
}

fn default_user(engine: DatabaseEngine) -> &'static str {
    match engine {
        DatabaseEngine::PostgreSQL => "postgres",
        DatabaseEngine::MySQL | DatabaseEngine::MariaDB | DatabaseEngine::MongoDB => "root",
        DatabaseEngine::Redis | DatabaseEngine::KeyDB | DatabaseEngine::Dragonfly | DatabaseEngine::ClickHouse => {
            "default"
        }
    }
}

fn default_database(engine: DatabaseEngine, username: &str) -> String {
    match engine {
        DatabaseEngine::PostgreSQL => username.to_owned(),
        DatabaseEngine::MySQL | DatabaseEngine::MariaDB | DatabaseEngine::ClickHouse => "default".to_owned(),
        DatabaseEngine::MongoDB => "admin".to_owned(),
        DatabaseEngine::Redis | DatabaseEngine::KeyDB | DatabaseEngine::Dragonfly => "0".to_owned(),
    }
}

pub fn port(engine: DatabaseEngine) -> u16 {
    match engine {
        DatabaseEngine::PostgreSQL => 5432,
        DatabaseEngine::MySQL | DatabaseEngine::MariaDB => 3306,
        DatabaseEngine::MongoDB => 27017,
        DatabaseEngine::Redis | DatabaseEngine::KeyDB | DatabaseEngine::Dragonfly => 6379,
        DatabaseEngine::ClickHouse => 9000,
    }
}

/// Where an engine of that version keeps its data.
pub fn data_path(engine: DatabaseEngine, version: &str) -> &'static str {
    match engine {
        // From 18 on the image keeps a directory a version below it.
        DatabaseEngine::PostgreSQL if Connection::major(version).parse().is_ok_and(|major: u32| major >= 18) => {
            "/var/lib/postgresql"
        }
        DatabaseEngine::PostgreSQL => "/var/lib/postgresql/data",
        DatabaseEngine::MySQL | DatabaseEngine::MariaDB => "/var/lib/mysql",
        DatabaseEngine::MongoDB => "/data/db",
        DatabaseEngine::Redis | DatabaseEngine::KeyDB | DatabaseEngine::Dragonfly => "/data",
        DatabaseEngine::ClickHouse => "/var/lib/clickhouse",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(engine: DatabaseEngine) -> Declared<'static> {
        Declared {
            engine,
            version: None,
            image: None,
            host: "orders",
            volume: "orders-data",
            username: Some("o'brien"),
            database: Some("orders"),
            password: SecretSource::Env("PASSWORD".to_owned()),
            host_port: None,
            args: &[],
            config: None,
            stop_grace: None,
        }
    }

    #[test]
    fn a_password_is_in_files_only_and_every_health_check_logs_in_with_it() {
        for engine in ENGINES {
            let (_, container, _) = container(&declared(engine));
            assert!(container.env.values().all(|value| !value.is_secret()), "{engine:?}");
            assert!(container.files.values().any(|file| file.content.is_secret()), "{engine:?}");
            let check = container.healthcheck.unwrap().test.join(" ");
            assert!(
                [PASSWORD, "health.js", "client.xml"].iter().any(|file| check.contains(file)),
                "{engine:?}: {check}"
            );
            assert!(check.contains("grep -qx"), "{engine:?} reads an answer: {check}");
        }
    }

    #[test]
    fn what_a_volume_says_is_the_engine_and_its_version() {
        let written = |text: &str| text.parse::<Written>().map(|it| (it.engine, it.major())).ok();
        assert_eq!(written("postgresql:14"), Some((DatabaseEngine::PostgreSQL, Some(14))));
        assert_eq!(written("mariadb:10.11.6-MariaDB"), Some((DatabaseEngine::MariaDB, Some(10))));
        assert_eq!(written("mysql:"), Some((DatabaseEngine::MySQL, None)));
        assert_eq!(written("sh: can't open it"), None);
        let of = |engine, version: &str| Written { engine, version: version.to_owned() };
        let declared = of(DatabaseEngine::MariaDB, "10.11");
        assert!(of(DatabaseEngine::MariaDB, "10.6").is_read_by(&declared));
        assert!(!of(DatabaseEngine::MySQL, "10.6").is_read_by(&declared));
        assert!(!of(DatabaseEngine::MariaDB, "9").is_read_by(&declared));
    }

    #[test]
    fn postgresql_keeps_its_data_elsewhere_from_18_on() {
        assert_eq!(data_path(DatabaseEngine::PostgreSQL, "17.2-alpine"), "/var/lib/postgresql/data");
        assert_eq!(data_path(DatabaseEngine::PostgreSQL, "18"), "/var/lib/postgresql");
        assert_eq!(Connection::major("16-alpine"), "16");
    }

    #[test]
    fn the_url_that_is_shown_has_no_password() {
        for engine in ENGINES {
            let (_, _, connection) = container(&declared(engine));
            let url = connection.masked_url();
            assert!(url.contains("***@orders:"), "{url}");
        }
        let (_, _, connection) = container(&declared(DatabaseEngine::PostgreSQL));
        assert_eq!(connection.masked_url(), "postgres://o%27brien:***@orders:5432/orders");
    }
}
