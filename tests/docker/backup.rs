//! Backups of real databases and of volumes with everything that a file system can hold, and what is left of them when something goes wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::controller::{Controller, until};
use crate::cli::run::finish;
use crate::cli::world::World;
use crate::support::databases::{IMAGE, import, postgres_version};
use crate::support::{Host, wait_for};

const DESTINATION: &str = "---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: edge, network: { name: web-net } }
";

pub(super) fn server(host: &Host) -> String {
    format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge }}\nspec: {{ endpoint: '{}' }}\n{DESTINATION}",
        host.endpoint()
    )
}

pub(super) fn databases(host: &Host) -> String {
    let database = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: {name} }}\nspec:\n  destination: web\n  image: {IMAGE}\n  \
             credentials: {{ username: keeper, database: goods, password: {{ file: ../secrets/{name}, generate: true }} }}\n  \
             stopGracePeriodSeconds: 5\n{spec}\n"
        )
    };
    let postgres = database("orders", &format!("  engine: PostgreSQL\n  version: '{}'", postgres_version()));
    let mariadb = database("catalog", "  engine: MariaDB\n  version: '10.11'\n  args: [--innodb-buffer-pool-size=32M]");
    server(host) + &postgres + &mariadb
}

/// The only line of standard output: the path of the archive.
fn path_of(world: &World, printed: &str) -> PathBuf {
    world.path().join(printed.trim())
}

pub(super) fn sql(host: &Host, database: &str, statement: &str) -> String {
    let line = match database {
        "orders" | "copy" => {
            "PGPASSWORD=$(cat /landfall/password) psql -h 127.0.0.1 -U keeper -d goods -P pager=off -qtAc \"$0\""
        }
        _ => "MYSQL_PWD=$(cat /landfall/password) mariadb -h 127.0.0.1 -u keeper -D goods -B -N -e \"$0\"",
    };
    host.exec(&format!("default-{database}"), &["sh", "-c", line, statement]).trim().to_owned()
}

/// The recovery of the source documents: the destination is deleted by mistake with everything on it, made again under the same name, its
/// resources are deployed again, and their data is restored.
#[test]
fn databases_answer_the_same_after_everything_was_lost_and_restored() {
    let host = Host::start();
    import(&host);
    let world = World::new(&databases(&host));
    world.run("apply --timeout 120s").expect(0);
    sql(&host, "orders", "create schema s; create table s.t (n serial primary key, note text)");
    sql(&host, "orders", "insert into s.t (note) select 'it''s ' || g || chr(10) from generate_series(1, 1000) g");
    sql(&host, "orders", "create role reader password 'r'; grant select on s.t to reader");
    sql(
        &host,
        "catalog",
        "create table t (n int primary key, b varbinary(8), note varchar(20)); insert into t values (1, x'00ff0a', 'ä'), (2, null, '')",
    );
    let answers = || {
        (
            sql(&host, "orders", "select count(*), sum(n), md5(string_agg(note, ',' order by n)) from s.t"),
            sql(&host, "orders", "select nextval('s.t_n_seq'), has_table_privilege('reader', 's.t', 'select')"),
            sql(&host, "catalog", "select n, hex(b), note from t order by n"),
        )
    };
    let before = answers();
    assert!(before.0.starts_with("1000|500500|"), "{before:?}");
    world.run("backup database orders --to kept").expect(0);
    let printed = world.run("backup database catalog --to kept -o name").expect(0);
    let archive = path_of(&world, &printed.stdout);
    assert!(archive.join("manifest.json").is_file(), "{printed}");
    for name in ["orders", "catalog"] {
        let secret = std::fs::read_to_string(world.path().join("secrets").join(name)).unwrap();
        let manifest = std::fs::read_to_string(archive.join("manifest.json")).unwrap();
        assert!(!manifest.contains(secret.trim()));
    }
    let verified = world.run("backup verify database orders --from kept").expect(0);
    assert!(verified.stdout.contains("goods.s.t: 1000 rows"), "{verified}");
    let verified = world.run("backup verify database catalog --from kept").expect(0);
    assert!(verified.stdout.contains("goods.t: 2 rows"), "{verified}");
    assert_eq!(super::workloads::names(&host), ["default-catalog", "default-orders"], "nothing is left of the trial");

    // Data that is there is not written over.
    let refused = world.run("restore database orders --from kept").expect(3);
    assert!(refused.stderr.contains("there is data already: 1 tables, among them goods.s.t"), "{refused}");

    for name in ["orders", "catalog"] {
        host.remove_container(&format!("default-{name}"));
        host.delete(&format!("/volumes/default-{name}-data"));
    }
    host.remove_network("web-net");
    world.run("apply --timeout 120s").expect(0);
    assert_eq!(sql(&host, "orders", "select count(*) from pg_tables where schemaname = 's'"), "0");
    world.run("restore database orders --from kept").expect(0);
    world.run("restore database catalog --from kept").expect(0);
    let mut expected = before.clone();
    // The sequence was asked before.
    expected.1 = expected.1.replace("1001|", "1002|");
    assert_eq!(answers(), expected);

    // Replaced, with what was there kept; a dump that is no good leaves what is there.
    sql(&host, "orders", "insert into s.t (note) values ('later')");
    world.run("restore database orders --from kept --replace").expect(0);
    assert_eq!(sql(&host, "orders", "select count(*) from s.t"), "1000");
    // The same again: it is the backup that is taken, not what the first one has replaced.
    sql(&host, "orders", "delete from s.t");
    let again = world.run("restore database orders --from kept --replace").expect(0);
    assert_eq!(sql(&host, "orders", "select count(*) from s.t"), "1000");
    let way_back = again.stderr.split('`').find(|it| it.starts_with("landfall restore")).expect("a command").to_owned();
    world.run("backup database orders --to kept --keep 1").expect(0);
    world.run(&way_back["landfall ".len()..]).expect(0);
    assert_eq!(sql(&host, "orders", "select count(*) from s.t"), "0", "what the last restore has replaced");
    world.run("restore database orders --from kept --replace").expect(0);
    let newest = newest(&world.path().join("kept/database/default/orders"));
    damage(&newest.join("database-0.pgdump.zst"));
    let damaged = world.run("restore database orders --from kept --replace").expect(2);
    assert!(damaged.stderr.contains("its checksum is not the one that was written down"), "{damaged}");
    world.run("backup verify database orders --from kept").expect(2);
    assert_eq!(sql(&host, "orders", "select count(*) from s.t"), "1000");
    world.run("diff").expect(0);

    // All of it is in the history, by the names of the archives.
    let events = world.run("events --for database/orders -o json").expect(0);
    let events: serde_json::Value = serde_json::from_str(&events.stdout).unwrap();
    let events: Vec<(String, String)> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["reason"].as_str().unwrap().to_owned(), it["message"].as_str().unwrap().to_owned()))
        .filter(|(reason, _)| matches!(reason.as_str(), "BackedUp" | "Restored" | "RestoreFailed" | "BackupFailed"))
        .collect();
    let reasons: Vec<&str> = events.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(
        reasons,
        ["BackedUp", "Restored", "Restored", "Restored", "BackedUp", "Restored", "Restored", "RestoreFailed"]
    );
    assert!(events[2].1.starts_with("restored from kept/database/default/orders/2"), "{events:?}");
    assert!(events[2].1.contains("what was there before is in kept/database/default/orders/before-restore/"));
    let history = world.run("history").expect(0);
    assert!(history.stdout.contains("restore") && history.stdout.contains("backup"), "{history}");
}

#[test]
fn a_clickhouse_is_dumped_table_by_table_while_it_is_used_and_odd_ones_as_files() {
    let host = Host::start();
    import(&host);
    let database = format!(
        "---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: metrics }}\nspec:\n  destination: web\n  image: {IMAGE}\n  \
         credentials: {{ username: keeper, password: {{ file: ../secrets/metrics, generate: true }} }}\n  \
         stopGracePeriodSeconds: 5\n  engine: ClickHouse\n  version: '18.16'\n"
    );
    let world = World::new(&(server(&host) + &database));
    world.run("apply --timeout 120s").expect(0);
    let ask = |query: &str| {
        let line = "clickhouse-client --config-file /landfall/client.xml --host 127.0.0.1 -q \"$0\"";
        host.exec("default-metrics", &["sh", "-c", line, query]).trim().to_owned()
    };
    ask("create database shop");
    ask("create table shop.hits (day Date, n UInt32, note String) engine = MergeTree(day, n, 8192)");
    ask(
        "insert into shop.hits select toDate('2020-01-01') + number % 900, number, 'it''s' from system.numbers limit 100000",
    );
    ask("create table shop.`it's \\`odd` (a Nullable(String)) engine = Log");
    ask("insert into shop.`it's \\`odd` values ('a'), (NULL)");
    ask("create table shop.empty (a UInt8) engine = TinyLog");
    ask("create view shop.counted as select count() as c from shop.hits");
    let answers = || {
        (
            ask("select count(), sum(cityHash64(day, n, note)) from shop.hits"),
            ask("select count(), count(a) from shop.`it's \\`odd`"),
            ask("select count() from shop.empty"),
            ask("select * from shop.counted"),
        )
    };
    let before = answers();
    assert!(before.0.starts_with("100000") && before.1 == "2\t1" && before.3 == "100000", "{before:?}");
    let started = host.inspect("default-metrics")["State"]["StartedAt"].clone();
    let made = world.run("backup database metrics --to kept").expect(0);
    assert!(!made.to_string().contains("instead of a dump"), "{made}");
    assert_eq!(host.inspect("default-metrics")["State"]["StartedAt"], started, "nothing was stopped");
    let verified = world.run("backup verify database metrics --from kept").expect(0);
    assert!(verified.stdout.contains("shop.hits: 100000 rows"), "{verified}");
    let refused = world.run("restore database metrics --from kept").expect(3);
    assert!(refused.stderr.contains("there is data already: 3 tables"), "{refused}");
    ask("drop table shop.hits");
    ask("insert into shop.empty values (1)");
    world.run("restore database metrics --from kept --replace").expect(0);
    assert_eq!(answers(), before);
    // A table that keeps its rows in a hidden one cannot be brought back by itself.
    ask("create materialized view shop.by_day engine = MergeTree(day, day, 8192) as select day, n from shop.hits");
    let files = world.run("backup database metrics --to files").expect(0);
    assert!(files.to_string().contains("the files of its volumes instead of a dump"), "{files}");
}

fn newest(shelf: &Path) -> PathBuf {
    let mut names: Vec<_> = std::fs::read_dir(shelf)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.join("manifest.json").is_file())
        .collect();
    names.sort();
    names.pop().unwrap()
}

pub(super) fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

pub(super) fn application(host: &Host) -> String {
    server(host)
        + "---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec:
  destination: web
  image: landfall/busybox:test
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  volumes: [{ volume: uploads, mountPath: /data }]
"
}

/// An application with a volume, and where the volume is on this machine.
pub(super) fn with_volume() -> (Host, World, PathBuf) {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let world = World::new(&application(&host));
    world.run("apply").expect(0);
    let volume = host.data_directory().join("volumes/uploads/_data");
    (host, world, volume)
}

pub(super) fn shell(directory: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything about the files that a backup keeps.
pub(super) const LOOK: &str = "find . -mindepth 1 -printf '%P %y %m %U:%G %l %Ts\\n' | LC_ALL=C sort; find . -type f ! -name hole -exec sha256sum {} + | LC_ALL=C sort; \
                    stat -c '%h %n' hard one; stat -c %a:%u .";

#[test]
fn files_come_back_as_they_were_whatever_they_are() {
    let (host, world, volume) = with_volume();
    shell(
        &volume,
        "mkdir -p deep/er 'with space' && echo one >one && ln one hard && ln -s ../outside soft && ln -s one dangling
         printf '%s' content >\"$(printf 'new\\nline')\" && mkfifo pipe && : >empty
         head -c 3000000 /dev/urandom >deep/er/large && truncate -s 20M hole && printf end >>hole
         long=$(printf 'd%.0s' $(seq 120)) && mkdir -p $long/$long && echo far >$long/$long/file
         chown 1234:70000 one && chown -h 7:7 soft && chmod 4755 deep/er/large && chmod 1777 'with space' && chmod 000 empty
         touch -d '2001-02-03 04:05:06' one deep && chmod 0750 . && chown 999 .",
    );
    let before = shell(&volume, LOOK);
    assert!(before.contains("one f 644 1234:70000") && before.contains("2 hard"), "{before}");
    let backed_up = world.run("backup app shop").expect(0);
    assert!(backed_up.stdout.contains("while it was stopped: volume uploads"), "{backed_up}");
    assert_eq!(host.state("default-shop-1"), "running");
    let verified = world.run("backup verify app shop").expect(0);
    assert!(verified.stdout.contains("all as they were"), "{verified}");

    let refused = world.run("restore app shop").expect(3);
    assert!(refused.stderr.contains("there is data already: files in the volume uploads"), "{refused}");
    shell(&volume, "rm -r deep one && echo other >stray && echo changed >empty");
    let restored = world.run("restore app shop --replace").expect(0);
    assert_eq!(shell(&volume, LOOK), before);
    assert_eq!(host.state("default-shop-1"), "running");
    assert!(
        restored.stderr.contains("what was there before is in ./backups/application/default/shop/before-restore/"),
        "{restored}"
    );
    let volumes = host.get("/volumes")["Volumes"].as_array().unwrap().len();
    assert_eq!((super::workloads::names(&host).len(), volumes), (1, 1), "no helper is left");
    world.run("diff").expect(0);

    // Lost as a whole, and put into an empty one.
    let older = world.path().join("backups/application/default/shop");
    let first = {
        let mut names: Vec<_> =
            std::fs::read_dir(&older).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_dir()).collect();
        names.sort();
        names[0].clone()
    };
    host.remove_container("default-shop-1");
    host.delete("/volumes/uploads");
    world.run("apply").expect(0);
    world.run(&format!("restore app shop --from {}", first.display())).expect(0);
    assert_eq!(shell(&volume, LOOK), before);
}

/// The only archive of a shelf, beside it and with another content noted than there is: that is found out when the volume is full.
pub(super) fn spoilt(shelf: &Path, beside: &Path) {
    shell(shelf, &format!("cp -r 2* '{}'", beside.display()));
    let path = beside.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["parts"][0]["tree"] = json!("0".repeat(64));
    std::fs::write(path, manifest.to_string()).unwrap();
}

#[test]
fn what_a_failed_restore_has_left_stopped_runs_once_one_has_succeeded() {
    let (host, world, volume) = with_volume();
    shell(&volume, "echo text >file");
    world.run("backup app shop").expect(0);
    let shelf = world.path().join("backups/application/default/shop");
    spoilt(&shelf, &world.path().join("spoilt"));
    let failed = world.run("restore app shop --from spoilt --replace --no-backup").expect(2);
    assert!(failed.stderr.contains("the containers stay stopped"), "{failed}");
    assert_eq!(host.state("default-shop-1"), "exited");
    let waits = world.run("apply");
    assert!(waits.to_string().contains("(LeftStopped)"), "{waits}");
    assert_eq!(host.state("default-shop-1"), "exited");
    world.run("restore app shop --replace --no-backup").expect(0);
    assert_eq!(host.state("default-shop-1"), "running");
    assert_eq!((super::workloads::names(&host).len(), shell(&volume, "cat file").as_str()), (1, "text\n"));
    world.run("diff").expect(0);
}

#[test]
fn an_encrypted_backup_opens_with_its_key_alone_and_only_as_many_as_wanted_stay() {
    let (_host, world, volume) = with_volume();
    shell(&volume, "echo 'very secret text' >file");
    let key = landfall::shell::transfer::Identities::generate();
    world.write("key", &format!("{key}\n"));
    let recipient = landfall::shell::transfer::Identities::read(&world.path().join("key")).unwrap().recipients();
    let recipient = recipient.names().join("");
    for _ in 0..3 {
        world.run(&format!("backup app shop --to kept --keep 2 --live --encrypt-to {recipient}")).expect(0);
    }
    let shelf = world.path().join("kept/application/default/shop");
    assert_eq!(shell(&shelf, "ls -d 2*/ | wc -l").trim(), "2");
    let files = shell(&shelf, "cat 2*/volume-0.tar.zst | head -c 21");
    assert_eq!(files, "age-encryption.org/v1");
    let closed = world.run("backup verify app shop --from kept").expect(2);
    assert!(closed.stderr.contains("--identity or SOPS_AGE_KEY_FILE"), "{closed}");
    world.run("backup verify app shop --from kept --identity key").expect(0);
    shell(&volume, "rm file");
    world.run_with(&[("SOPS_AGE_KEY_FILE", "key")], "restore app shop --from kept").expect(0);
    assert_eq!(shell(&volume, "cat file"), "very secret text\n");
    let live = world.run("backup app shop --live").expect(0);
    assert!(live.stderr.contains("files may be of different moments"), "{live}");
}

#[test]
fn what_was_stopped_for_a_copy_that_was_killed_is_started_by_the_next_command() {
    let (host, world, volume) = with_volume();
    shell(&volume, "head -c 60000000 /dev/urandom >large");
    let mut backup = world.command("backup app shop").spawn().unwrap();
    wait_for("the application is stopped for the copy", || (host.state("default-shop-1") == "exited").then_some(()));
    backup.kill().unwrap();
    backup.wait().unwrap();
    assert_eq!(host.state("default-shop-1"), "exited");
    let shelf = world.path().join("backups/application/default/shop");
    assert_eq!(shell(&shelf, "ls").trim(), "", "nothing is there that could be taken for a backup");
    let none = world.run("backup verify app shop").expect(2);
    assert!(none.stderr.contains("there is no backup of Application/default/shop"), "{none}");
    assert!(none.stderr.contains("started again: default-shop-1"), "{none}");
    assert_eq!(host.state("default-shop-1"), "running");
    world.run("backup app shop").expect(0);
    let left = shell(&shelf, "ls -A");
    assert!(!left.contains("partial"), "{left}");
    world.run("backup verify app shop").expect(0);

    // What an archive is tried in does not stay either.
    let volumes = || host.get("/volumes")["Volumes"].as_array().map_or(0, Vec::len);
    let mut verify = world.command("backup verify app shop").spawn().unwrap();
    wait_for("the volume that it is tried in", || (volumes() == 2).then_some(()));
    verify.kill().unwrap();
    verify.wait().unwrap();
    assert_eq!(volumes(), 2);
    world.run("backup app shop").expect(0);
    assert_eq!((super::workloads::names(&host).len(), volumes()), (1, 1), "no helper is left");
}

#[test]
fn a_full_disk_leaves_no_backup_and_the_application_running() {
    let (host, world, volume) = with_volume();
    shell(&volume, "head -c 8000000 /dev/urandom >large");
    std::fs::create_dir(world.path().join("small")).unwrap();
    let backup = |more: &str| {
        let line = world.command_line(&format!("backup app shop --to small {more}"));
        let script = format!("mount -t tmpfs -o size=4m none small && {{ {line}; code=$?; ls -R small; exit $code; }}");
        finish(Command::new("unshare").args(["-m", "sh", "-c", &script]).current_dir(world.path()), "")
    };
    let measured = backup("").expect(2);
    assert!(
        measured.stderr.contains("there are 7 MiB of data") && measured.stderr.contains("--no-space-check"),
        "{measured}"
    );
    let full = backup("--no-space-check").expect(2);
    assert!(full.stderr.contains("No space left on device") && full.stderr.contains("BackupFailed"), "{full}");
    assert_eq!(full.stderr.matches("No space left on device").count(), 1, "{full}");
    assert!(!full.stdout.contains("manifest") && !full.stdout.contains("volume-0"), "{full}");
    assert_eq!(host.state("default-shop-1"), "running");
    let left = host.get("/containers/json?all=1");
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
}

/// Adopted: nothing but the live container says what it is.
#[test]
fn an_adopted_application_is_backed_up_and_a_container_beside_it_is_not_written_over() {
    let host = Host::start();
    host.create_network("web-net");
    host.post("/volumes/create", json!({ "Name": "shared" }));
    let volume = host.data_directory().join("volumes/shared/_data");
    host.container("shop").network("web-net").volume("shared", "/data").running();
    shell(&volume, "echo text >file");
    let manifests = server(&host).replace("{ name: web-net } }", "{ name: web-net }, adopt: true }")
        + "---\napiVersion: landfall/v1\nkind: Application\nmetadata: { name: shop }\nspec: { destination: web, containers: { names: [shop] } }\n";
    let world = World::new(&manifests);
    world.run("backup app shop").expect(0);
    assert_eq!(host.state("shop"), "running");
    host.container("writer").volume("shared", "/data").running();
    let refused = world.run("backup app shop").expect(3);
    assert!(
        refused
            .stderr
            .contains("writer, which is not of Application/default/shop, runs and writes to the volume shared"),
        "{refused}"
    );
    let refused = world.run("restore app shop --replace --no-backup").expect(3);
    assert!(refused.stderr.contains("stop it first"), "{refused}");
    assert_eq!(shell(&volume, "cat file"), "text\n");
}

/// A controller is beside it, which starts what is stopped, and does not while it is copied; and does so after a crash.
#[test]
fn a_controller_leaves_stopped_what_is_copied_and_starts_it_when_the_copy_was_killed() {
    let (host, world, volume) = with_volume();
    shell(&volume, "head -c 60000000 /dev/urandom >large");
    let mut controller = Controller::start(&world, &[]);
    until("the first pass", &mut controller, || host.state("default-shop-1") == "running");
    let backed_up = world.run("backup app shop").expect(0);
    assert!(backed_up.stdout.contains("while it was stopped"), "{backed_up}");
    assert_eq!(host.state("default-shop-1"), "running");
    let mut backup = world.command("backup app shop").spawn().unwrap();
    wait_for("the application is stopped for the copy", || (host.state("default-shop-1") == "exited").then_some(()));
    backup.kill().unwrap();
    backup.wait().unwrap();
    until("started again", &mut controller, || host.state("default-shop-1") == "running");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

/// What was missed while no controller ran is made up for once, by a schedule; what fails is told.
#[test]
fn run_makes_the_backups_that_are_due_and_tells_of_those_that_fail() {
    let host = Host::start();
    let _ = host.container("none");
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let backup =
        format!("  backup: {{ to: {}, schedule: '0 3 * * *', timeZone: Europe/Berlin, keep: 2 }}\n", kept.display());
    let world = World::new(&(application(&host) + &backup));
    world.run("apply").expect(0);
    let volume = host.data_directory().join("volumes/uploads/_data");
    shell(&volume, "echo text >file");
    for _ in 0..2 {
        world.run(&format!("backup app shop --to {}", kept.display())).expect(0);
    }
    let shelf = kept.join("application/default/shop");
    // As if the controller had been down for a week.
    shell(&shelf, "n=1; for it in 2*; do mv $it 2026010${n}T030001Z; n=$((n + 1)); done");
    let mut controller = Controller::start(&world, &[]);
    let names = || shell(&shelf, "ls -d 2*").lines().map(str::to_owned).collect::<Vec<_>>();
    until("the backup that was missed", &mut controller, || !names().contains(&"20260101T030001Z".to_owned()));
    assert_eq!((names().len(), names()[0].as_str()), (2, "20260102T030001Z"), "one for all that were missed");
    until("started again", &mut controller, || host.state("default-shop-1") == "running");
    let events = || world.run("events --for application/shop -o json").expect(0).stdout;
    until("the event", &mut controller, || events().contains("\"BackedUp\""));
    assert!(events().contains(&format!("backed up to {}", shelf.join(&names()[1]).display())));
    let first = names();

    // What cannot be written is told, and repairs go on.
    shell(directory.path(), "mv kept away; echo >kept");
    let manifests = std::fs::read_to_string(world.path().join("manifests/all.yaml")).unwrap();
    world.write("manifests/all.yaml", &manifests.replace("0 3 * * *", "* * * * *"));
    until("the failure", &mut controller, || events().contains("\"BackupFailed\""));
    assert_eq!(host.state("default-shop-1"), "running");
    host.disconnect("web-net", "default-shop-1");
    until("the repair", &mut controller, || super::keep::is_on(&host, "default-shop-1", "web-net"));
    shell(directory.path(), "rm kept; mv away kept");
    assert_eq!(names(), first, "what is there stays where a backup fails");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

/// A deletion whose backup fails is refused, by `delete` and by pruning alike; one whose backup is there is done.
#[test]
fn nothing_is_removed_without_the_backup_that_has_to_be_there_first() {
    let host = Host::start();
    let _ = host.container("none");
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let shelf = kept.join("application/default/shop");
    let backup = format!("  backup: {{ to: {}, beforeDelete: true }}\n", kept.display());
    let with = application(&host) + &backup;
    let world = World::new(&with);
    world.run("apply").expect(0);
    shell(&host.data_directory().join("volumes/uploads/_data"), "echo text >file");

    // The directory cannot be written to.
    std::fs::write(&kept, "").unwrap();
    let refused = world.run("delete app shop --yes").expect(3);
    assert!(refused.stderr.contains("was not backed up (BackupFailed), and is not removed"), "{refused}");
    assert_eq!(host.state("default-shop-1"), "running");
    world.write("manifests/all.yaml", &server(&host));
    let refused = world.run("apply --prune --yes").expect(3);
    assert!(refused.stderr.contains("was not backed up (BackupFailed), and is not removed"), "{refused}");
    assert_eq!(host.state("default-shop-1"), "running");
    // What is said of it without `--prune` is what `--prune` does.
    for command in ["apply", "diff"] {
        let ran = world.run(command).expect(0);
        assert!(
            ran.stdout
                .contains("`--prune` makes the backup that `backup.beforeDelete` asks for, then stops and removes it"),
            "{ran}"
        );
        assert!(!ran.stdout.contains("would be refused"), "{ran}");
    }

    // Also where nothing but the container says so: a machine without a record.
    std::fs::remove_file(&kept).unwrap();
    let pruned = world.run("apply --prune --yes --state elsewhere").expect(0);
    assert!(pruned.stderr.contains("before it is removed"), "{pruned}");
    assert!(super::workloads::names(&host).is_empty());
    assert_eq!(shell(&shelf, "ls -d 2* | wc -l").trim(), "1");

    // As declared, and with what is wished in the manifest.
    world.write("manifests/all.yaml", &with);
    world.run("apply").expect(0);
    let deleted = world.run("delete app shop --yes").expect(0);
    assert!(deleted.stderr.contains("Application/default/shop backed up to"), "{deleted}");
    assert!(super::workloads::names(&host).is_empty());
    assert_eq!(shell(&shelf, "ls -d 2* | wc -l").trim(), "2");
    world.run("apply").expect(0);
    world.run("delete app shop --yes --no-backup").expect(0);
    assert_eq!(shell(&shelf, "ls -d 2* | wc -l").trim(), "2");
}
