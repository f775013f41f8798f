//! Databases with the real servers of Debian's packages: their first start, their health, who reaches them, and whose data they touch.

use super::workloads::names;
use crate::cli::world::World;
use crate::support::Host;
use crate::support::databases::{IMAGE, import, postgres_version};

fn manifests(host: &Host, more: &str) -> String {
    let database = |name: &str, spec: &str| {
        format!(
            "---
apiVersion: landfall/v1
kind: Database
metadata: {{ name: {name} }}
spec:
  destination: web
  image: {IMAGE}
  credentials: {{ username: keeper, database: goods, password: {{ file: ../secrets/{name}, generate: true }} }}
  stopGracePeriodSeconds: 5
{spec}
"
        )
    };
    let postgres = database("orders", &format!("  engine: PostgreSQL\n  version: '{}'", postgres_version()));
    let mariadb = database("catalog", "  engine: MariaDB\n  version: '10.11'\n  args: [--innodb-buffer-pool-size=32M]");
    let clickhouse = database("metrics", "  engine: ClickHouse\n  version: '18.16'").replace("database: goods, ", "");
    format!(
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
kind: Destination
metadata: {{ name: other }}
spec: {{ server: edge, network: {{ name: other-net }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop }}
spec:
  destination: web
  image: {IMAGE}
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  dependsOn: [Database/orders, Database/catalog, Database/metrics]
  env:
    - {{ name: ORDERS, valueFrom: {{ database: {{ name: orders, field: url }} }} }}
    - {{ name: CATALOG_PASSWORD, valueFrom: {{ database: {{ name: catalog, field: password }} }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: outsider }}
spec: {{ destination: other, image: {IMAGE}, command: [sleep, '1000000'], stopSignal: SIGKILL }}
{postgres}{mariadb}{clickhouse}{more}",
        host.endpoint()
    )
}

#[test]
fn real_databases_start_once_are_reached_by_name_on_their_destination_and_never_touch_foreign_data() {
    let host = Host::start();
    import(&host);
    let world = World::new(&manifests(&host, ""));
    let applied = world.run("apply --timeout 120s").expect(0);
    let at = |text: &str| applied.stdout.find(text).unwrap_or_else(|| panic!("{text}: {applied}"));
    for database in ["orders", "catalog", "metrics"] {
        let started = format!("start default-{database} ");
        assert!(at(&started) < at("create container default-shop-1"), "dependants wait: {applied}");
        let password = std::fs::read_to_string(world.path().join("secrets").join(database)).unwrap();
        let password = password.trim();
        let seen = host.inspect(&format!("default-{database}"));
        assert_eq!(seen["State"]["Health"]["Status"], "healthy");
        for part in ["Config", "HostConfig", "Args", "Path", "Mounts"] {
            assert!(!seen[part].to_string().contains(password), "{database}: {part} holds the password");
        }
        let processes = host.exec(&format!("default-{database}"), &["ps"]);
        assert!(processes.lines().count() > 1 && !processes.contains(password), "{processes}");
    }
    world.run("diff").expect(0);
    let shop = |line: &str| host.exec("default-shop-1", &["sh", "-c", line]).trim().to_owned();
    assert_eq!(
        shop(
            "psql \"$ORDERS\" -P pager=off -qtAc 'create table t (n int); insert into t values (42); select n from t'"
        ),
        "42"
    );
    let asked = "MYSQL_PWD=$CATALOG_PASSWORD mariadb -h catalog -u keeper -D goods -B -N -e 'select 40 + 2'";
    assert_eq!(shop(asked), "42");
    assert_eq!(shop("MYSQL_PWD=wrong mariadb -h catalog -u keeper -N -e 'select 1' 2>&1 | grep -c denied"), "1");
    let outside =
        host.exec("default-outsider-1", &["psql", "-h", "orders", "-U", "keeper", "-d", "goods", "-tAc", "select 1"]);
    assert!(outside.contains("could not translate host name"), "the name is known on its destination only: {outside}");

    // Made anew on its data, which is looked at first.
    let changed = manifests(&host, "").replace("--innodb-buffer-pool-size=32M", "--innodb-buffer-pool-size=48M");
    let changed =
        changed.replace("engine: PostgreSQL", "args: [-c, log_min_duration_statement=500]\n  engine: PostgreSQL");
    world.write("manifests/all.yaml", &changed);
    let planned = world.run("diff").expect(1);
    let version = postgres_version();
    let check = format!("+ check that the data on default-orders-data is PostgreSQL {version}'s");
    assert!(planned.stdout.contains(&check) && planned.stdout.contains("is MariaDB 10.11's"), "{planned}");
    world.run("apply --timeout 120s").expect(0);
    assert_eq!(shop("psql \"$ORDERS\" -P pager=off -tAc 'select n from t'"), "42");
    assert_eq!(shop(asked), "42");
    world.run("diff").expect(0);

    // Data that somebody else has left on a volume, without a label that would tell.
    let left = |volume: &str, file: &str, content: &str| {
        host.post("/volumes/create", serde_json::json!({ "Name": volume }));
        let path = host.data_directory().join("volumes").join(volume).join("_data").join(file);
        std::fs::write(path, content).unwrap();
    };
    left("legacy", "PG_VERSION", "14\n");
    left("older", "mariadb_upgrade_info", "9.5.1-MariaDB");
    left("sessions", "dump.rdb", "REDIS0009 and everything that was ever set");
    let old = |name: &str, engine: &str, version: &str, volume: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: {name} }}\nspec: {{ destination: web, engine: {engine}, version: '{version}', image: {IMAGE}, \
             storage: {{ volume: {volume} }}, credentials: {{ password: {{ file: ../secrets/{name}, generate: true }} }} }}\n"
        )
    };
    let before = names(&host);
    let foreign = old("first", "PostgreSQL", &version, "legacy")
        + &old("second", "MariaDB", "10.11", "older")
        + &old("third", "Redis", "7", "sessions");
    world.write("manifests/all.yaml", &(changed + &foreign));
    let refused = world.run("apply").expect(2).to_string();
    let said = |text: &str| assert!(refused.contains(text), "{text}: {refused}");
    said(&format!(
        "The data was written by PostgreSQL 14, and the manifest declares PostgreSQL {version}; nothing was stopped."
    ));
    said("The data was written by MariaDB 9.5.1-MariaDB, and the manifest declares MariaDB 10.11");
    said("Redis 7 would be started with one: it would begin empty and write over the dump; nothing was stopped.");
    said("CONFIG SET appendonly yes");
    assert_eq!(names(&host), before, "and nothing is left of the look");
}
