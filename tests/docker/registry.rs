//! Images out of a real registry: pulled, pinned, moved, asked for with a password, and broken on the way.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use super::workloads::{manifests, names};
use crate::cli::world::World;
use crate::support::Host;
use crate::support::registry::{ADDRESS, Registry};

/// An image of its own for each version, some of them with a good deal to pull.
fn image(host: &Host, version: &str, megabytes: usize) -> String {
    let name = format!("landfall/shop:{version}");
    host.import_image_with(&name, &[], |root| {
        std::fs::write(root.join("version"), version).unwrap();
        // Not to be compressed to nothing.
        let bulk = root.join("bulk");
        let mut made = Command::new("dd");
        made.args(["if=/dev/urandom", "bs=1M", "status=none"]).arg(format!("count={megabytes}"));
        assert!(made.arg(format!("of={}", bulk.display())).status().unwrap().success());
    });
    name
}

fn running(image: &str, more: &str) -> String {
    format!("  image: {image}\n  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n{more}")
}

#[test]
fn a_tag_that_moves_is_rolled_out_where_it_is_asked_for_and_what_cannot_be_pulled_leaves_the_old_one() {
    let host = Host::start();
    let registry = Registry::start(&host, false);
    let tag = format!("{ADDRESS}/shop:latest");
    for (version, megabytes) in [("one", 24), ("two", 1)] {
        image(&host, version, megabytes);
    }
    registry.push("landfall/shop:one", "shop:latest");
    registry.forget("landfall/shop:one");
    let one = registry.digest("shop", "latest");
    let always = manifests(&host, &running(&tag, "  pullPolicy: Always\n"));
    let world = World::new(&always);
    let version = || host.exec("shop-frontend-1", &["cat", "/version"]);

    // How far the pull is, for whoever sits at a terminal.
    let shown = Command::new("script")
        .env("TERM", "xterm")
        .args(["-qec", &world.command_line("apply"), "/dev/null"])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("pull image {tag}: ")) && shown.contains(" of 2"), "{shown}");
    assert_eq!(version(), "one");
    world.run("diff").expect(0);
    let seen = world.run("get application frontend -n shop -o json").expect(0);
    let seen: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(seen["status"]["destinations"][0]["containers"][0]["image"], format!("{tag}@{one}"));

    registry.push("landfall/shop:two", "shop:latest");
    let moved = world.run("diff").expect(1);
    assert!(moved.stdout.contains("(ImageMoved)") && moved.stdout.contains(&format!("+ pull image {tag}")), "{moved}");
    world.run("drift").expect(1);
    world.run("apply").expect(0);
    assert_eq!(version(), "two");
    world.run("diff").expect(0);

    // A digest stays what it is.
    world.write("manifests/all.yaml", &manifests(&host, &running(&format!("{ADDRESS}/shop@{one}"), "")));
    world.run("apply").expect(0);
    assert_eq!(version(), "one");
    world.run("diff").expect(0);

    // Whoever does not ask for it does not get what a tag stands for now.
    image(&host, "three", 1);
    registry.push("landfall/shop:three", "shop:latest");
    world.write("manifests/all.yaml", &manifests(&host, &running(&tag, "")));
    world.run("apply").expect(0);
    assert_eq!(version(), "two");

    // A tag that is not there, and a layer that is lost: the daemon says the latter within an answer that began as a success.
    world.write("manifests/all.yaml", &manifests(&host, &running(&format!("{ADDRESS}/shop:nope"), "")));
    let unknown = world.run("apply").expect(2);
    assert!(unknown.to_string().contains("ImageUnavailable"), "{unknown}");
    image(&host, "four", 32);
    registry.push("landfall/shop:four", "shop:four");
    registry.forget("landfall/shop:four");
    registry.lose_largest_blob();
    world.write("manifests/all.yaml", &manifests(&host, &running(&format!("{ADDRESS}/shop:four"), "")));
    let broken = world.run("apply").expect(2);
    assert!(broken.to_string().contains("pulling the image"), "{broken}");
    assert_eq!((version(), names(&host)), ("two".to_owned(), vec!["shop-frontend-1".to_owned()]));
}

#[test]
fn a_registry_with_a_password_lets_in_whom_the_docker_configuration_or_its_helper_knows() {
    let host = Host::start();
    let registry = Registry::start(&host, true);
    for version in ["one", "two"] {
        image(&host, version, 1);
        registry.push(&format!("landfall/shop:{version}"), &format!("shop:{version}"));
        registry.forget(&format!("landfall/shop:{version}"));
    }
    let world = World::new(&manifests(&host, &running(&format!("{ADDRESS}/shop:one"), "")));
    let docker = world.path().join("docker");
    std::fs::create_dir(&docker).unwrap();
    let config = |text: &str| std::fs::write(docker.join("config.json"), text).unwrap();
    config("{}");
    let path = format!("{}:{}", docker.display(), std::env::var("PATH").unwrap_or_default());
    let run = |arguments: &str| {
        world.run_with(&[("DOCKER_CONFIG", &docker.display().to_string()), ("PATH", &path)], arguments)
    };

    let refused = run("apply").expect(2);
    assert!(
        refused.to_string().contains("ImageUnavailable") && refused.to_string().contains("docker login"),
        "{refused}"
    );
    // `shop:correct-horse`
    config(&format!("{{\"auths\": {{\"{ADDRESS}\": {{\"auth\": \"c2hvcDpjb3JyZWN0LWhvcnNl\"}}}}}}"));
    let applied = run("-vvv apply").expect(0);
    assert!(!applied.to_string().contains("correct-horse") && !applied.to_string().contains("c2hvcDpj"), "{applied}");
    assert_eq!(host.exec("shop-frontend-1", &["cat", "/version"]), "one");

    // The helper is asked for the very registry.
    let helper = docker.join("docker-credential-landfall-test");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = {ADDRESS} ] || exit 1\necho '{{\"ServerURL\":\"{ADDRESS}\",\"Username\":\"shop\",\"Secret\":\"correct-horse\"}}'\n"
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    config(&format!("{{\"credHelpers\": {{\"{ADDRESS}\": \"landfall-test\"}}}}"));
    world.write(
        "manifests/all.yaml",
        &manifests(&host, &running(&format!("{ADDRESS}/shop:two"), "  pullPolicy: Always\n")),
    );
    run("apply").expect(0);
    assert_eq!(host.exec("shop-frontend-1", &["cat", "/version"]), "two");
    run("diff").expect(0);
    // Without, whether the tag has moved is unknown, and nothing is stopped for that.
    config("{}");
    let unknown = run("diff").expect(0);
    assert!(unknown.to_string().contains("Whether 127.0.0.1:5000/shop:two has moved is unknown"), "{unknown}");
}
