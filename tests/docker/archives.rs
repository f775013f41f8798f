//! Backups in a bucket and on a server that is reached over SSH, and what is left of them when something goes wrong.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::backup::{LOOK, application, damage, databases, shell, sql, with_volume};
use super::controller::{Controller, until};
use crate::cli::run::command;
use crate::cli::world::World;
use crate::support::bucket::Bucket;
use crate::support::databases::import;
use crate::support::sshd::Sshd;
use crate::support::{Host, wait_for};

/// An sshd with SFTP, and the variables by which `ssh -G` reads its client's configuration: a program in the place of ssh.
struct Shelf {
    sshd: Sshd,
    directory: tempfile::TempDir,
}

impl Shelf {
    fn start(option: &str) -> Self {
        let sshd = Sshd::builder().option(option).start();
        let shelf = Self { sshd, directory: tempfile::tempdir().unwrap() };
        shelf.sshd.client().configure("");
        let config = shelf.sshd.client().home().join(".ssh/config");
        let program = shelf.directory.path().join("bin/ssh");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display())).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        shelf
    }

    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.directory.path().join("bin").display())
    }

    fn files(&self) -> std::path::PathBuf {
        self.directory.path().join("srv/backups")
    }

    fn address(&self) -> String {
        format!("ssh://root@127.0.0.1:{}{}", self.sshd.port(), self.files().display())
    }
}

/// What is asked of every place: `files` is the same as a directory.
fn keeps_and_gives_back(address: &str, files: &Path, environment: &[(&str, &str)]) {
    let (host, world, volume) = with_volume();
    let run = |arguments: &str| world.run_with(environment, arguments);
    // More than one part of an upload.
    shell(
        &volume,
        "mkdir deep && head -c 9000000 /dev/urandom >deep/large && echo one >one && ln one hard && chown 7:8 one && ln -s one soft",
    );
    let before = shell(&volume, LOOK);
    let backed_up = run(&format!("backup app shop --to {address} --keep 2")).expect(0);
    assert!(backed_up.stdout.contains("while it was stopped: volume uploads"), "{backed_up}");
    let place = backed_up.stdout.lines().last().unwrap().to_owned();
    assert!(place.starts_with(address.split('?').next().unwrap()), "{backed_up}");
    let shelf = files.join("application/default/shop");
    let kept = || shell(&shelf, "ls -A").lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(shell(&shelf, "ls -A 2*"), "manifest.json\nvolume-0.tar.zst\n");
    assert_eq!(host.state("default-shop-1"), "running");
    let verified = run(&format!("backup verify app shop --from {address}")).expect(0);
    assert!(verified.stdout.contains("all as they were"), "{verified}");

    // Lost, and put back from the one that was named; what it replaces is kept beside.
    shell(&volume, "rm -r deep && echo other >one");
    run(&format!("restore app shop --from {address}")).expect(3);
    let restored = run(&format!("restore app shop --from {place} --replace")).expect(0);
    assert_eq!(shell(&volume, LOOK), before);
    assert!(restored.stderr.contains("application/default/shop/before-restore/2"), "{restored}");
    let way_back = restored.stderr.split('`').find(|it| it.starts_with("landfall restore")).unwrap().to_owned();
    run(&way_back["landfall ".len()..].replace('\'', "")).expect(0);
    assert_eq!(shell(&volume, "cat one"), "other\n");
    run(&format!("restore app shop --from {address} --replace --no-backup")).expect(0);
    assert_eq!(shell(&volume, LOOK), before);

    // Older ones go; what restores have replaced does not count.
    for _ in 0..2 {
        run(&format!("backup app shop --to {address} --keep 2 --live")).expect(0);
    }
    assert_eq!(kept().len(), 3, "two, and what a restore has replaced: {:?}", kept());
    let removed = run(&format!("backup app shop --to {address} --keep 1 --live -o json")).expect(0);
    assert!(removed.stdout.contains("\"removed\""), "{removed}");
    assert_eq!(kept().len(), 2);

    // Killed in the middle: nothing is there that could be taken for a backup, and it goes with the next.
    let newest = kept().into_iter().find(|it| it.starts_with('2')).unwrap();
    shell(&volume, "head -c 16000000 /dev/urandom >larger");
    let mut backup = world.command(&format!("backup app shop --to {address}"));
    let mut backup = backup.envs(environment.iter().copied()).spawn().unwrap();
    wait_for("it has begun", || (kept().len() > 2).then_some(()));
    backup.kill().unwrap();
    backup.wait().unwrap();
    let verified = run(&format!("backup verify app shop --from {address}")).expect(0);
    assert!(verified.stdout.contains(&newest), "{verified}");
    run(&format!("backup app shop --to {address} --keep 1 --live")).expect(0);
    assert_eq!(kept().len(), 2, "{:?}", kept());

    // Damaged: nothing is touched.
    let newest = kept().into_iter().find(|it| it.starts_with('2')).unwrap();
    let look = shell(&volume, LOOK);
    damage(&shelf.join(&newest).join("volume-0.tar.zst"));
    let damaged = run(&format!("restore app shop --from {address} --replace")).expect(2);
    assert!(damaged.stderr.contains("its checksum is not the one that was written down"), "{damaged}");
    assert_eq!((shell(&volume, LOOK), host.state("default-shop-1").as_str()), (look, "running"));
    let left = host.get("/containers/json?all=1");
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
}

#[test]
fn a_bucket_keeps_backups_and_gives_them_back() {
    let bucket = Bucket::start();
    keeps_and_gives_back(&bucket.address(), &bucket.files().join("landfall"), &bucket.environment());
}

#[test]
fn a_server_over_ssh_keeps_backups_and_gives_them_back_where_no_command_may_run() {
    let shelf = Shelf::start("Subsystem sftp internal-sftp");
    keeps_and_gives_back(&shelf.address(), &shelf.files(), &[("PATH", &shelf.path())]);
    assert!(!shelf.sshd.log().contains("Starting session: command"), "{}", shelf.sshd.log());
}

/// What cannot be had is an error that says why and what to do, and stops nothing.
#[test]
fn a_place_that_is_not_reached_is_said_and_stops_nothing() {
    let mut bucket = Bucket::start();
    let (host, world, volume) = with_volume();
    shell(&volume, "echo text >file");
    let started = host.inspect("default-shop-1")["State"]["StartedAt"].clone();
    let backup = format!("backup app shop --to {}", bucket.address());
    let without = world.run(&backup).expect(2);
    assert!(without.stderr.contains("there are no credentials for s3://kept"), "{without}");
    assert!(without.stderr.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{without}");
    let [key, _] = bucket.environment();
    let wrong = world.run_with(&[key, ("AWS_SECRET_ACCESS_KEY", "other-secret")], &backup).expect(2);
    assert!(wrong.stderr.contains("SignatureDoesNotMatch") && !wrong.stderr.contains("other-secret"), "{wrong}");
    let none = format!("{} ", backup.replace("s3://kept/", "s3://absent/"));
    let none = world.run_with(&bucket.environment(), &none).expect(2);
    assert!(none.stderr.contains("there is no such bucket"), "{none}");
    bucket.stop();
    let away = world.run_with(&bucket.environment(), &backup).expect(2);
    assert!(away.stderr.contains("connecting failed: Connection refused"), "{away}");

    let shelf = Shelf::start("MaxSessions 10");
    let path = shelf.path();
    let refused = world.run_with(&[("PATH", &path)], &format!("backup app shop --to {}", shelf.address())).expect(2);
    assert!(refused.stderr.contains("offers no SFTP") && refused.stderr.contains("Subsystem sftp"), "{refused}");
    let shelf = Shelf::start("Subsystem sftp internal-sftp");
    shelf.sshd.client().set_known_hosts("");
    let path = shelf.path();
    let unknown = world.run_with(&[("PATH", &path)], &format!("backup app shop --to {}", shelf.address())).expect(2);
    assert!(unknown.stderr.contains("known_hosts"), "{unknown}");
    assert!(!shelf.files().exists());
    assert_eq!(host.inspect("default-shop-1")["State"]["StartedAt"], started);
    for (address, problem) in [
        ("ftp://nas/backups", "archives are kept in a directory, on ssh://"),
        ("ssh://nas", "the path is missing"),
        ("s3://bucket?acl=public", "is neither `endpoint` nor `region`"),
    ] {
        let bad = world.run(&format!("backup app shop --to {address}")).expect(2);
        assert!(bad.stderr.contains(problem), "{bad}");
    }
}

/// By the schedule of `run`, and before a deletion: what is in the bucket counts, whoever has put it there.
#[test]
fn run_and_deletions_make_backups_in_a_bucket() {
    let mut bucket = Bucket::start();
    let host = Host::start();
    let _ = host.container("none");
    let backup = format!(
        "  backup: {{ to: '{}', schedule: '* * * * *', keep: 2, beforeDelete: true, live: true }}\n",
        bucket.address()
    );
    let world = World::new(&(application(&host) + &backup));
    world.run("apply").expect(0);
    shell(&host.data_directory().join("volumes/uploads/_data"), "echo text >file");
    world.run_with(&bucket.environment(), &format!("backup app shop --to {} --live", bucket.address())).expect(0);
    let shelf = bucket.files().join("landfall/application/default/shop");
    // As if it were of last week.
    shell(&shelf, "mv 2* 20260101T030001Z");
    let mut binary = command();
    binary.envs(bucket.environment());
    let mut controller = Controller::spawn(&world, binary, &[]);
    let kept = || shell(&shelf, "ls -d 2*").lines().count();
    until("the backup that was missed", &mut controller, || kept() == 2);
    let events = || world.run("events --for application/shop -o json").expect(0).stdout;
    until("the event", &mut controller, || {
        events().contains("backed up to s3://kept/landfall/application/default/shop/2")
    });
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);

    bucket.stop();
    let refused = world.run_with(&bucket.environment(), "delete app shop --yes").expect(3);
    assert!(refused.stderr.contains("was not backed up (BackupFailed), and is not removed"), "{refused}");
    assert_eq!(host.state("default-shop-1"), "running");
    bucket.run();
    shell(&shelf, "mv $(ls -d 2* | tail -n 1) 20260102T030001Z");
    let deleted = world.run_with(&bucket.environment(), "delete app shop --yes").expect(0);
    assert!(deleted.stderr.contains("backed up to s3://kept/landfall/application/default/shop/2"), "{deleted}");
    assert_eq!(super::workloads::names(&host), Vec::<String>::new(), "{deleted}");
}

/// The recovery of the source documents, by the words of the commands: `delete` takes the destination with all that is on it, the same manifests
/// make it again under the same name, resources are deployed again, and their data comes from a bucket.
#[test]
fn a_destination_that_was_deleted_by_mistake_comes_back_with_the_same_answers() {
    let (host, bucket) = (Host::start(), Bucket::start());
    import(&host);
    let _ = host.container("none");
    let manifests = databases(&host)
        + "---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec:
  destination: web
  image: landfall/busybox:test
  command: [sh, -c, 'exec httpd -f -p 80 -h /data']
  stopSignal: SIGKILL
  volumes: [{ volume: uploads, mountPath: /data }]
";
    let world = World::new(&manifests);
    let run = |arguments: &str| world.run_with(&bucket.environment(), arguments);
    run("apply --timeout 120s").expect(0);
    sql(
        &host,
        "orders",
        "create table t (n int, note text); insert into t select g, 'note ' || g from generate_series(1, 500) g",
    );
    sql(
        &host,
        "catalog",
        "create table t (n int primary key, b varbinary(8)); insert into t values (1, x'00ff0a'), (2, null)",
    );
    shell(&host.data_directory().join("volumes/uploads/_data"), "echo welcome >index.html");
    let answers = || {
        (
            sql(&host, "orders", "select count(*), sum(n), md5(string_agg(note, ',' order by n)) from t"),
            sql(&host, "catalog", "select n, hex(b) from t order by n"),
            host.exec("default-shop-1", &["wget", "-qO-", "http://shop/"]),
        )
    };
    let before = answers();
    assert_eq!(before.2.trim(), "welcome");
    for resource in ["database orders", "database catalog", "app shop"] {
        run(&format!("backup {resource} --to {}", bucket.address())).expect(0);
    }

    // The destination alone is refused; with all that is on it, it goes, and so do the volumes, by hand.
    let refused = run("delete destination web --yes").expect(3);
    assert!(refused.stdout.contains("You must delete all resources before deleting this destination."), "{refused}");
    run("delete -f manifests --yes").expect(0);
    assert!(super::workloads::names(&host).is_empty() && host.network_ids("web-net").is_empty());
    for volume in ["default-orders-data", "default-catalog-data", "uploads"] {
        host.delete(&format!("/volumes/{volume}"));
    }

    run("apply --timeout 120s").expect(0);
    assert_eq!(sql(&host, "orders", "select count(*) from pg_tables where schemaname = 'public'"), "0");
    for resource in ["database orders", "database catalog", "app shop"] {
        run(&format!("restore {resource} --from {}", bucket.address())).expect(0);
    }
    assert_eq!(answers(), before);
    run("diff").expect(0);
}

/// Puts that into the place of the dump of the newest archive, with the sizes and checksums of it.
pub(super) fn forge(shelf: &Path, content: &[u8]) {
    let newest = shelf.join(shell(shelf, "ls -d 2* | tail -n 1").trim());
    let packed = zstd::encode_all(content, 0).unwrap();
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let manifest = newest.join("manifest.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let part = &mut value["parts"][0];
    (part["size"], part["sha256"]) = (packed.len().into(), digest(&packed).into());
    (part["contentSize"], part["contentSha256"]) = (content.len().into(), digest(content).into());
    std::fs::write(newest.join(part["file"].as_str().unwrap()), packed).unwrap();
    std::fs::write(manifest, value.to_string()).unwrap();
}

/// Dumped while it is used, and restored while it runs: with an append-only file and without, and what cannot be read replaces nothing.
#[test]
fn a_redis_is_dumped_as_a_replica_and_restored_at_once() {
    let host = Host::start();
    host.import_image("landfall/redis:test", &["/usr/bin/redis-server", "/usr/bin/redis-cli"]);
    let database = |config: &str| {
        super::backup::server(&host)
            + &format!(
                "---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: cache }}\nspec:\n  destination: web\n  engine: Redis\n  version: '7'\n  \
                 image: landfall/redis:test\n  credentials: {{ password: {{ file: ../secrets/cache, generate: true }} }}\n{config}"
            )
    };
    let world = World::new(&database(""));
    world.run("apply --timeout 120s").expect(0);
    let ask = |words: &str| {
        let line = format!("REDISCLI_AUTH=$(cat /landfall/password) redis-cli --raw {words}");
        host.exec("default-cache", &["sh", "-c", &line]).replace("\r\n", "\n").trim().to_owned()
    };
    ask("eval 'for i = 1, 500 do redis.call(\"set\", \"key\" .. i, string.rep(\"v\", i)) end' 0");
    ask("-n 3 rpush list a b c");
    let started = host.inspect("default-cache")["State"]["StartedAt"].clone();
    let backed_up = world.run("backup database cache").expect(0);
    assert!(backed_up.stdout.contains("from one snapshot of each database: all databases"), "{backed_up}");
    assert_eq!(host.inspect("default-cache")["State"]["StartedAt"], started, "it is not stopped");
    let verified = world.run("backup verify database cache").expect(0);
    assert!(verified.stdout.contains("db0: 500 rows") && verified.stdout.contains("db3: 1 row\n"), "{verified}");
    let refused = world.run("restore database cache").expect(3);
    assert!(refused.stderr.contains("there is data already"), "{refused}");

    ask("flushall");
    ask("set later 1");
    world.run("restore database cache --replace").expect(0);
    let is_back = || {
        assert_eq!(
            (ask("strlen key400"), ask("-n 3 lrange list 0 -1"), ask("exists later")),
            ("400".into(), "a\nb\nc".into(), "0".into())
        );
        assert!(ask("info replication").contains("role:master"));
        assert_eq!(ask("config get masterauth"), "masterauth");
    };
    is_back();
    assert_eq!(host.inspect("default-cache")["State"]["StartedAt"], started);
    // It has it on disk as well.
    host.post("/containers/default-cache/restart?t=5", serde_json::json!({}));
    wait_for("it has read its data", || (ask("ping") == "PONG").then_some(()));
    is_back();
    assert_eq!(host.exec("default-cache", &["sh", "-c", "ls -d /data/landfall.* 2>/dev/null"]), "");

    // A dump that is none, whole by its checksums: what is there stays.
    forge(&world.path().join("backups/database/default/cache"), b"REDIS0010 and nothing else");
    let none = world.run("restore database cache --replace --no-backup").expect(2);
    assert!(none.stderr.contains("the dump cannot be read"), "{none}");
    is_back();
}
