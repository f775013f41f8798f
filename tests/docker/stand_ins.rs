//! MySQL, MongoDB, KeyDB and Dragonfly by stand-ins: that what Landfall gives to their images is what these are documented to take. Of the servers
//! themselves this tells nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::cli::world::World;
use crate::support::Host;
use crate::support::host::text;

const IMAGE: &str = "landfall/stand-ins:test";
const SCRIPT: &str = include_str!("../support/stand-ins.sh");
const COMMANDS: [&str; 10] = [
    "mysqld",
    "mysql",
    "mongod",
    "mongosh",
    "mongodump",
    "mongorestore",
    "keydb-server",
    "keydb-cli",
    "dragonfly",
    "redis-cli",
];

/// The same, as the image of MongoDB is: its data is on volumes, declared or not.
const MONGODB: &str = "landfall/mongodb:test";

fn import(host: &Host) {
    import_as(host, IMAGE, &["ENTRYPOINT [\"/entry\"]"]);
}

fn import_as(host: &Host, image: &str, changes: &[&str]) {
    let programs = ["/usr/bin/redis-server", "/usr/bin/redis-cli", "/usr/bin/redis-check-rdb"];
    host.import_image_as(image, &programs, changes, |root| {
        fs::rename(root.join("usr/bin/redis-cli"), root.join("usr/bin/redis-client")).unwrap();
        fs::write(root.join("entry"), SCRIPT).unwrap();
        fs::set_permissions(root.join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
        for command in COMMANDS {
            symlink("/entry", root.join("usr/bin").join(command)).unwrap();
        }
    });
}

/// Name, engine, version, configuration, and where the data is.
const DATABASES: [(&str, &str, &str, &str, &str); 4] = [
    ("catalog", "MySQL", "8.4", "[mysqld]\\nmax_connections = 20\\n", "/var/lib/mysql"),
    ("events", "MongoDB", "7", "net:\\n  maxIncomingConnections: 20\\n", "/data/db"),
    ("queue", "KeyDB", "6.3", "maxclients 20", "/data"),
    ("cache", "Dragonfly", "1.25", "--dbnum=4", "/data"),
];

fn manifests(host: &Host, grace: u32) -> String {
    let mut text = format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec: {{ endpoint: '{}' }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge, network: {{ name: web-net }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop }}
spec:
  destination: web
  image: {IMAGE}
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  dependsOn: [Database/catalog, Database/events, Database/queue, Database/cache]
  env:
    - {{ name: CATALOG, valueFrom: {{ database: {{ name: catalog, field: url }} }} }}
    - {{ name: EVENTS, valueFrom: {{ database: {{ name: events, field: url }} }} }}
    - {{ name: QUEUE, valueFrom: {{ database: {{ name: queue, field: url }} }} }}
    - {{ name: CACHE, valueFrom: {{ database: {{ name: cache, field: url }} }} }}
",
        host.endpoint()
    );
    for (name, engine, version, config, _) in DATABASES {
        let user = if engine == "MySQL" || engine == "MongoDB" { "username: keeper, database: goods, " } else { "" };
        text.push_str(&format!(
            "---
apiVersion: landfall/v1
kind: Database
metadata: {{ name: {name} }}
spec:
  destination: web
  engine: {engine}
  version: '{version}'
  image: {IMAGE}
  config: \"{config}\"
  credentials: {{ {user}password: {{ file: ../{name}-password }} }}
  stopGracePeriodSeconds: {grace}
"
        ));
    }
    text
}

/// With everything in them that has a meaning to one of the ways that they take: a URL, a shell, a quoted string.
const PASSWORD: &str = "a/b@c:d%e'f$g h";

#[test]
fn stand_ins_for_the_other_engines_take_what_they_are_given_and_ask_for_the_password() {
    let host = Host::start();
    import(&host);
    let world = World::new(&manifests(&host, 1));
    for (name, ..) in DATABASES {
        world.write(&format!("{name}-password"), &format!("{PASSWORD}\n"));
    }
    world.run("apply --timeout 120s").expect(0);
    let shop = |line: &str| host.exec("default-shop-1", &["sh", "-c", line]).trim().to_owned();
    for (name, engine, _, _, data) in DATABASES {
        let container = format!("default-{name}");
        let seen = host.inspect(&container);
        assert_eq!(seen["State"]["Health"]["Status"], "healthy", "{engine}");
        for part in ["Config", "HostConfig", "Args", "Path", "Mounts"] {
            assert!(!seen[part].to_string().contains(PASSWORD), "{engine}: {part} holds the password");
        }
        let processes = host.exec(&container, &["ps"]);
        assert!(!processes.contains("a/b@c"), "{engine}: {processes}");
        let mounts = seen["Mounts"].as_array().unwrap();
        let volume = mounts.iter().find(|it| it["Destination"] == data).unwrap();
        assert_eq!(text(&volume["Name"]), format!("default-{name}-data"), "{engine}");

        // Another password than the server's, and the check says so.
        let check = text(&seen["Config"]["Healthcheck"]["Test"][1]);
        let checked = || host.exec(&container, &["sh", "-c", &format!("({check}) 2>&1; echo code $?")]);
        assert!(checked().trim().ends_with("code 0"), "{engine}: {}", checked());
        host.exec(
            &container,
            &["sh", "-c", "cd /landfall && cp -a . /tmp/kept && for f in *; do sed -i s/a/z/ $f; done"],
        );
        assert!(checked().trim().ends_with("code 1"), "{engine}: {}", checked());
        host.exec(&container, &["sh", "-c", "cp -a /tmp/kept/. /landfall/"]);
        assert!(checked().trim().ends_with("code 0"), "{engine}: {}", checked());
    }
    // What applications are given leads there.
    let written = "a%2Fb%40c%3Ad%25e%27f%24g%20h";
    assert_eq!(shop("echo $CATALOG"), format!("mysql://keeper:{written}@catalog:3306/goods"));
    assert!(
        shop("echo $EVENTS").starts_with(&format!("mongodb://keeper:{written}@events:27017/")),
        "{}",
        shop("echo $EVENTS")
    );
    for url in ["QUEUE", "CACHE"] {
        assert_eq!(shop(&format!("redis-cli -u \"${url}\" set greeting hello 2>/dev/null")), "OK", "{url}");
    }
    world.run("diff").expect(0);

    // Made anew on the same data: no second first start.
    world.write("manifests/all.yaml", &manifests(&host, 2));
    world.run("apply --timeout 120s").expect(0);
    for (name, file) in [("catalog", "/var/lib/mysql/starts"), ("events", "/data/db/starts")] {
        assert_eq!(host.exec(&format!("default-{name}"), &["cat", file]).trim(), "first", "{name}");
    }
    assert_eq!(shop("redis-cli -u \"$QUEUE\" get greeting 2>/dev/null"), "hello");
    world.run("diff").expect(0);
}

/// As Dragonfly documents it: `SAVE RDB` and `DFLY LOAD`, for it has no dump for replicas of Redis. What cannot be read replaces nothing.
#[test]
fn a_dragonfly_is_dumped_while_it_is_used_and_restored_while_it_runs() {
    let host = Host::start();
    import(&host);
    let world = World::new(
        &(super::backup::server(&host)
            + &format!(
                "---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: cache }}\nspec:\n  destination: web\n  engine: Dragonfly\n  \
                 version: '1.25'\n  image: {IMAGE}\n  credentials: {{ password: {{ file: ../secrets/cache, generate: true }} }}\n"
            )),
    );
    world.run("apply --timeout 120s").expect(0);
    let ask = |words: &str| {
        let line = format!("REDISCLI_AUTH=$(cat /landfall/password) redis-client --raw {words}");
        host.exec("default-cache", &["sh", "-c", &line]).replace("\r\n", "\n").trim().to_owned()
    };
    ask("eval 'for i = 1, 500 do redis.call(\"set\", \"key\" .. i, string.rep(\"v\", i)) end' 0");
    ask("-n 3 rpush list a b c");
    let started = host.inspect("default-cache")["State"]["StartedAt"].clone();
    let backed_up = world.run("backup database cache").expect(0);
    assert!(backed_up.stdout.contains("from one snapshot of each database: all databases"), "{backed_up}");
    let shelf = world.path().join("backups/database/default/cache");
    let manifest = super::backup::shell(&shelf, "cat 2*/manifest.json");
    assert!(manifest.contains("\"1.25.4\""), "{manifest}");
    let verified = world.run("backup verify database cache").expect(0);
    assert!(verified.stdout.contains("db0: 500 rows") && verified.stdout.contains("db3: 1 row\n"), "{verified}");

    ask("flushall");
    ask("set later 1");
    world.run("restore database cache --replace").expect(0);
    let is_back = || {
        assert_eq!(
            (ask("strlen key400"), ask("-n 3 lrange list 0 -1"), ask("exists later")),
            ("400".into(), "a\nb\nc".into(), "0".into())
        );
        assert_eq!(host.exec("default-cache", &["sh", "-c", "ls /data/landfall-* 2>/dev/null"]), "");
    };
    is_back();
    super::archives::forge(&shelf, b"REDIS0010 and nothing else");
    let none = world.run("restore database cache --replace --no-backup").expect(2);
    assert!(none.stderr.contains("the dump cannot be read: ERR Internal error when loading RDB file 5"), "{none}");
    is_back();
    assert_eq!(host.inspect("default-cache")["State"]["StartedAt"], started, "it was not stopped");
}

/// As the shell and the tools of MongoDB document their arguments; a password with everything in it that means something to YAML, a string or a shell.
#[test]
fn a_mongodb_is_dumped_while_it_is_used_and_restored_while_it_runs() {
    let host = Host::start();
    import_as(&host, MONGODB, &["ENTRYPOINT [\"/entry\"]", "VOLUME [\"/data/db\", \"/data/configdb\"]"]);
    let world = World::new(
        &(super::backup::server(&host)
            + &format!(
                "---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: events }}\nspec:\n  destination: web\n  engine: MongoDB\n  \
                 version: '7'\n  image: {MONGODB}\n  credentials: {{ username: keeper, password: {{ file: ../events-password }} }}\n"
            )),
    );
    world.write("events-password", &format!("{PASSWORD}\"\n"));
    world.run("apply --timeout 120s").expect(0);
    let ask = |line: &str| host.exec("default-events", &["sh", "-c", line]).replace("\r\n", "\n").trim().to_owned();
    ask("printf 'goods.customers\\t1200\\ngoods.orders\\t3\\n' >/data/db/collections");
    let started = host.inspect("default-events")["State"]["StartedAt"].clone();
    let backed_up = world.run("backup database events").expect(0);
    assert!(backed_up.stdout.contains("from one snapshot of each database: all databases"), "{backed_up}");
    let verified = world.run("backup verify database events").expect(0);
    assert!(verified.stdout.contains("goods.customers: 1200 rows"), "{verified}");

    let refused = world.run("restore database events").expect(3);
    assert!(refused.stderr.contains("there is data already: 2 tables, among them goods.customers"), "{refused}");
    ask("echo 'goods.stray\\t1' >/data/db/collections");
    world.run("restore database events --replace").expect(0);
    let is_back = || assert_eq!(ask("cat /data/db/collections"), "goods.customers\t1200\ngoods.orders\t3");
    is_back();
    super::archives::forge(&world.path().join("backups/database/default/events"), b"nothing\n");
    let none = world.run("restore database events --replace --no-backup").expect(2);
    assert!(none.stderr.contains("does not appear to be a mongodump archive"), "{none}");
    is_back();
    assert_eq!(host.inspect("default-events")["State"]["StartedAt"], started, "it was not stopped");
}
