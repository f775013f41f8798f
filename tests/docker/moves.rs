//! `clone` and `move`: the manifest, and the data with it, within a server and from one to another.

use std::path::PathBuf;

use serde_json::json;

use super::backup::{LOOK, databases, server, shell, sql};
use super::compose::STACK;
use super::workloads::names;
use crate::cli::world::World;
use crate::support::databases::import;
use crate::support::{Host, wait_for};

const SHOP: &str = "---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec:
  destination: web
  image: landfall/busybox:test
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  ports: [{ containerPort: 80, hostPort: 8080 }]
  domains: [shop.example.com]
  port: 80
  volumes: [{ volume: shop-uploads, mountPath: /data }]
";

const FILES: &str =
    "mkdir -p deep/er && echo one >one && ln one hard && ln -s ../outside soft && mkfifo pipe && : >empty
     head -c 3000000 /dev/urandom >deep/er/large && truncate -s 20M hole && printf end >>hole
     chown 1234:70000 one && chown -h 7:7 soft && chmod 4755 deep/er/large && chmod 000 empty
     touch -d '2001-02-03 04:05:06' one deep && chmod 0750 . && chown 999 .";

fn volume(host: &Host, name: &str) -> PathBuf {
    host.data_directory().join("volumes").join(name).join("_data")
}

fn volumes(host: &Host) -> Vec<String> {
    let all = host.get("/volumes")["Volumes"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = all.iter().map(|it| it["Name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Two servers with a destination each, `web` and `far`, and the application on the first.
fn two() -> (Host, Host, World) {
    let hosts = (Host::start(), Host::start());
    // Makes the image.
    let _ = (hosts.0.container("none"), hosts.1.container("none"));
    let far = format!(
        "---\napiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: remote }}\nspec: {{ endpoint: '{}' }}\n---\napiVersion: landfall/v1\nkind: \
         Destination\nmetadata: {{ name: far }}\nspec: {{ server: remote, network: {{ name: far-net }} }}\n",
        hosts.1.endpoint()
    );
    let world = World::new(&(server(&hosts.0) + &far + SHOP));
    world.run("apply").expect(0);
    (hosts.0, hosts.1, world)
}

#[test]
fn a_clone_has_its_own_of_everything_and_the_same_files() {
    let host = Host::start();
    let _ = host.container("none");
    let world = World::new(&(server(&host) + SHOP));
    world.run("apply").expect(0);
    shell(&volume(&host, "shop-uploads"), FILES);
    let before = shell(&volume(&host, "shop-uploads"), LOOK);
    let started = host.inspect("default-shop-1")["State"]["StartedAt"].clone();

    // The manifest alone: nothing is touched.
    let printed = world.run("clone app shop --to web").expect(0);
    assert!(
        printed.stdout.contains("name: shop-web") && printed.stdout.contains("volume: shop-web-uploads"),
        "{printed}"
    );
    for finding in [
        "domains are left out, for they lead to the original: shop.example.com",
        "port 8080 of the server is the original's",
    ] {
        assert!(printed.stdout.contains(&format!("# - {finding}")), "{printed}");
    }
    assert!(printed.stderr.contains("the data of shop-uploads is not copied; --with-volumes does"), "{printed}");
    assert_eq!((host.inspect("default-shop-1")["State"]["StartedAt"].clone(), volumes(&host).len()), (started, 1));

    let cloned = world.run("clone app shop --to web --name second --with-volumes").expect(0);
    assert!(cloned.stderr.contains("volume shop-uploads copied to second-uploads on default/edge"), "{cloned}");
    assert!(cloned.stderr.contains("the same at both ends"), "{cloned}");
    assert_eq!(host.state("default-shop-1"), "running");
    assert_eq!(shell(&volume(&host, "second-uploads"), LOOK), before);
    assert_eq!(names(&host), ["default-shop-1"], "no helper is left");
    world.write("manifests/second.yaml", &cloned.stdout);
    world.run("apply").expect(0);
    assert_eq!(host.exec("default-second-1", &["cat", "/data/one"]).trim(), "one");
    assert_eq!(host.state("default-shop-1"), "running");
    world.run("diff").expect(0);

    // Data that is there, and a container on it, are not written over.
    std::fs::remove_file(world.path().join("manifests/second.yaml")).unwrap();
    let refused = world.run("clone app shop --to web --name second --with-volumes").expect(3);
    assert!(
        refused.stderr.contains("default-second-1 runs on default/edge with the volume second-uploads"),
        "{refused}"
    );
    host.remove_container("default-second-1");
    let refused = world.run("clone app shop --to web --name second --with-volumes").expect(3);
    assert!(refused.stderr.contains("there is data already in the volume second-uploads"), "{refused}");
    assert_eq!(shell(&volume(&host, "second-uploads"), LOOK), before);
    assert_eq!(host.state("default-shop-1"), "running");
    let history = world.run("events --for app/shop -o json").expect(0);
    assert!(history.stdout.contains("\"Cloned\""), "{history}");
}

/// Attributes of each kind that is kept, on a file with two names too.
const ATTRIBUTES: &str = "setfattr -n user.note -v hello one && setfattr -n user.of -v directory deep
     setfattr -n security.capability -v 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= deep/er/large
     acl=0200000001000600ffffffff02000600d204000004000400ffffffff10000600ffffffff20000400ffffffff
     setfattr -n system.posix_acl_access -v 0x$acl empty && setfattr -n system.posix_acl_default -v 0x$acl deep";

/// Everything about the files, and whether the hole is one.
fn look(volume: &std::path::Path) -> (String, String, bool) {
    let attributes = "find . -type f -o -type d | LC_ALL=C sort | xargs -d '\\n' getfattr -d -m - -e hex";
    let blocks = shell(volume, "stat -c %b hole").trim().parse::<u64>().unwrap();
    (shell(volume, LOOK), shell(volume, attributes), blocks < 100)
}

/// A GNU tar reads and writes what the daemon does not: of the resource's image, or of one that is known to have it.
#[test]
fn extended_attributes_and_holes_are_kept_where_an_image_has_a_gnu_tar() {
    let (near, far, world) = two();
    let original = volume(&near, "shop-uploads");
    shell(&original, &format!("{FILES}\n{ATTRIBUTES}"));
    let before = look(&original);
    assert!(before.1.contains("user.note") && before.1.contains("posix_acl_default") && before.2, "{before:?}");

    // Without one it is said what is not kept.
    let plain = world.run("clone app shop --to far --name plain --with-volumes").expect(0);
    assert!(plain.stderr.contains("extended attributes of the files in the volume shop-uploads"), "{plain}");
    assert!(plain.stderr.contains("1 file in the volume shop-uploads may have holes"), "{plain}");
    let arrived = look(&volume(&far, "plain-uploads"));
    assert_eq!((&arrived.0, arrived.2), (&before.0, false));
    assert!(arrived.1.contains("security.capability") && !arrived.1.contains("user."), "{}", arrived.1);
    world.run("backup app shop --to plain").expect(0);

    near.import_image("debian:test", &["/usr/bin/tar"]);
    let half = world.run("clone app shop --to far --name half --with-volumes").expect(0);
    assert!(!half.stderr.contains("were not read"), "{half}");
    assert!(half.stderr.contains("in the volume half-uploads were written and not compared"), "{half}");
    // Files within would inherit them: the daemon sets attributes of directories first.
    assert!(
        half.stderr.contains("default ACLs (1) of directories in the volume half-uploads are not written"),
        "{half}"
    );
    let inherited = |attributes: &str| -> String {
        attributes.lines().filter(|line| !line.contains("posix_acl_default")).map(|line| format!("{line}\n")).collect()
    };
    let arrived = look(&volume(&far, "half-uploads"));
    assert_eq!((&arrived.0, &arrived.1, arrived.2), (&before.0, &inherited(&before.1), false));

    far.import_image("debian:test", &["/usr/bin/tar"]);
    let whole = world.run("clone app shop --to far --name whole --with-volumes").expect(0);
    assert!(!whole.stderr.contains("warning:"), "{whole}");
    assert_eq!(look(&volume(&far, "whole-uploads")), before);

    // So do archives, and those that were made without are read as before.
    let backed_up = world.run("backup app shop").expect(0);
    assert!(!backed_up.stderr.contains("warning:"), "{backed_up}");
    world.run("backup verify app shop").expect(0);
    shell(&original, "rm -r deep one hole");
    world.run("restore app shop --replace").expect(0);
    assert_eq!(look(&original), before);
    world.run("backup verify app shop --from plain").expect(0);
    assert_eq!(names(&near), ["default-shop-1"], "no helper is left");

    // Where the attributes cannot be compared, that is said, and they are there all the same.
    near.api("DELETE", "/images/debian:test?force=1", &json!(null));
    let verified = world.run("backup verify app shop").expect(0);
    assert!(verified.stderr.contains("were written and not compared"), "{verified}");
    let restored = world.run("restore app shop --replace --no-backup").expect(0);
    assert!(restored.stderr.contains("were written and not compared"), "{restored}");
    let arrived = look(&original);
    assert_eq!((&arrived.0, &arrived.1), (&before.0, &inherited(&before.1)));
}

#[test]
fn a_move_to_another_server_takes_the_data_along_and_deletes_nothing() {
    let (near, far, world) = two();
    shell(&volume(&near, "shop-uploads"), FILES);
    let before = shell(&volume(&near, "shop-uploads"), LOOK);
    let moved = world.run("move app shop --to far --with-volumes").expect(0);
    assert!(moved.stdout.contains("destination: far") && moved.stdout.contains("name: shop\n"), "{moved}");
    assert!(moved.stdout.contains("shop.example.com"), "its domain goes along: {moved}");
    assert!(
        moved.stderr.contains("left stopped on default/edge, and nothing of it deleted: default-shop-1"),
        "{moved}"
    );
    assert_eq!(shell(&volume(&far, "shop-uploads"), LOOK), before);
    assert_eq!(near.state("default-shop-1"), "exited");
    // As long as the manifest is the old one, it stays stopped.
    let waits = world.run("apply");
    assert!(
        waits.stdout.contains("its data was moved to default/far")
            || waits.stderr.contains("its data was moved to default/far"),
        "{waits}"
    );
    assert_eq!(near.state("default-shop-1"), "exited");

    let all = std::fs::read_to_string(world.path().join("manifests/all.yaml")).unwrap();
    world.write("manifests/all.yaml", all.split("---\napiVersion: landfall/v1\nkind: Application").next().unwrap());
    world.write("manifests/shop.yaml", &moved.stdout);
    world.run("apply --prune --yes").expect(0);
    assert_eq!(far.exec("default-shop-1", &["cat", "/data/one"]).trim(), "one");
    assert!(names(&near).is_empty(), "what held it is gone with it: {:?}", names(&near));
    assert_eq!(shell(&volume(&near, "shop-uploads"), LOOK), before, "its data stays");
    world.run("diff").expect(0);
}

#[test]
fn a_copy_that_is_killed_is_never_used_and_begun_anew() {
    let (near, far, world) = two();
    shell(&volume(&near, "shop-uploads"), "head -c 150000000 /dev/urandom >large && echo text >file");
    let mut copying = world.command("clone app shop --to far --name second --with-volumes").spawn().unwrap();
    wait_for("some of the data is there", || {
        let large = volume(&far, "second-uploads").join("large");
        std::fs::metadata(large).is_ok_and(|it| it.len() > 0).then_some(())
    });
    copying.kill().unwrap();
    copying.wait().unwrap();
    assert_eq!(near.state("default-shop-1"), "exited");

    // Whoever applies the manifest all the same gets nothing that runs on half of the data.
    let printed = world.run("clone app shop --to far --name second").expect(0);
    assert!(printed.stderr.contains("started again: default-shop-1"), "{printed}");
    assert_eq!(near.state("default-shop-1"), "running");
    world.write("manifests/second.yaml", &printed.stdout);
    let waits = world.run("apply");
    let said = format!("{waits}");
    assert!(said.contains("VolumeIncomplete") && said.contains("is being filled with a copy"), "{said}");
    assert!(names(&far).iter().all(|name| name.starts_with("landfall-")), "{:?}", names(&far));

    std::fs::remove_file(world.path().join("manifests/second.yaml")).unwrap();
    let cloned = world.run("clone app shop --to far --name second --with-volumes").expect(0);
    assert_eq!(shell(&volume(&far, "second-uploads"), "cat file; ls"), "text\nfile\nlarge\n");
    assert_eq!(names(&far), Vec::<String>::new(), "no helper is left");
    world.write("manifests/second.yaml", &cloned.stdout);
    world.run("apply").expect(0);
    assert_eq!(far.exec("default-second-1", &["cat", "/data/file"]).trim(), "text");
}

/// What something else runs is read off its container; its secrets are not printed.
#[test]
fn an_adopted_application_is_cloned_to_one_that_landfall_runs() {
    let host = Host::start();
    host.create_network("web-net");
    host.post("/volumes/create", json!({ "Name": "shop-data" }));
    host.container("shop")
        .network("web-net")
        .volume("shop-data", "/data")
        .env("LOG=info")
        .env("API_TOKEN=very-secret")
        .env("QUEUE=amqp://user:also-secret@queue/")
        .publish(80, 8081)
        .restart("always")
        .running();
    shell(&volume(&host, "shop-data"), "echo text >file");
    let manifests = server(&host).replace("{ name: web-net } }", "{ name: web-net }, adopt: true }")
        + "---\napiVersion: landfall/v1\nkind: Application\nmetadata: { name: shop }\nspec: { destination: web, containers: { names: [shop] } }\n";
    let world = World::new(&manifests);
    let cloned = world.run("clone app shop --to web --name second --with-volumes").expect(0);
    assert!(!format!("{cloned}").contains("secret@") && !format!("{cloned}").contains("very-secret"), "{cloned}");
    assert!(
        cloned.stdout.contains("the value of API_TOKEN is not printed: write it to secrets/second/API_TOKEN"),
        "{cloned}"
    );
    for line in ["value: info", "volume: second-data", "restart: always", "file: secrets/second/QUEUE", "image: "] {
        assert!(cloned.stdout.contains(line), "{line}: {cloned}");
    }
    assert!(!cloned.stdout.contains("8081\n"), "{cloned}");
    assert_eq!(host.state("shop"), "running");
    world.write("manifests/second.yaml", &cloned.stdout);
    std::fs::create_dir_all(world.path().join("manifests/secrets/second")).unwrap();
    world.write("manifests/secrets/second/API_TOKEN", "one");
    world.write("manifests/secrets/second/QUEUE", "two");
    world.run("apply").expect(0);
    assert_eq!(host.exec("default-second-1", &["cat", "/data/file"]).trim(), "text");
    world.run("diff").expect(0);
}

#[test]
fn a_database_is_cloned_with_its_data_and_password() {
    let host = Host::start();
    import(&host);
    let world = World::new(&databases(&host));
    world.run("apply --timeout 120s").expect(0);
    sql(&host, "orders", "create table t as select g, 'it''s ' || g note from generate_series(1, 1000) g");
    let cloned = world.run("clone database orders --to web --name copy --with-volumes").expect(0);
    assert!(cloned.stdout.contains("the password is the original's"), "{cloned}");
    world.write("manifests/copy.yaml", &cloned.stdout);
    world.run("apply --timeout 120s").expect(0);
    let question = "select count(*), md5(string_agg(note, ',' order by g)) from t";
    assert_eq!(sql(&host, "copy", question), sql(&host, "orders", question));
    world.run("diff").expect(0);
}

#[test]
fn a_stack_is_cloned_under_a_project_of_its_own() {
    let host = Host::start();
    let world = super::compose::world(
        &host,
        "---
apiVersion: landfall/v1
kind: Service
metadata: { name: blog, namespace: shop }
spec:
  destination: web
  compose: { project: blog, file: ../stack.yaml, healthTimeoutSeconds: 60 }
",
    );
    world.write("stack.yaml", STACK);
    world.run("apply --timeout 120s").expect(0);
    shell(&volume(&host, "blog_data"), "echo text >file");
    let cloned = world.run("clone service blog --to web --name second --with-volumes").expect(0);
    assert!(cloned.stdout.contains("project: second") && cloned.stderr.contains("copied to second_data"), "{cloned}");
    world.write("manifests/second.yaml", &cloned.stdout);
    world.run("apply --timeout 120s").expect(0);
    assert_eq!(host.exec("second-web-1", &["cat", "/data/file"]).trim(), "text");
    assert_eq!(host.state("blog-web-1"), "running");
    world.run("diff").expect(0);

    // What has moved is not brought up again, until what holds it stopped goes.
    let id = host.inspect("blog-web-1")["Id"].as_str().unwrap().to_owned();
    host.container("holder")
        .label("landfall.holds", &id)
        .label("landfall.held-until", "4102444800")
        .label("landfall.moved-to", "shop/far")
        .created();
    host.stop_container("blog-web-1");
    let waits = world.run("apply --timeout 120s");
    assert!(format!("{waits}").contains("blog-web-1 is left stopped: its data was moved to shop/far."), "{waits}");
    assert_eq!(host.state("blog-web-1"), "exited");
    host.remove_container("holder");
    world.run("apply --timeout 120s").expect(0);
    assert_eq!(host.state("blog-web-1"), "running");
}
