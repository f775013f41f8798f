//! The container recipe of docs/operating.md, built and run as it stands there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::cli::run::{Ran, clean, finish};
use crate::cli::world::World;
use crate::documents::block;
use crate::support::{Host, wait_for};

const PAGE: &str = "docs/operating.md";

/// A shell whose `docker` talks to that host.
fn shell(host: &Host, directory: &std::path::Path, script: &str) -> Ran {
    let mut command = clean(Command::new("sh"));
    command.args(["-euc", script]).current_dir(directory);
    command.env("DOCKER_HOST", host.endpoint()).env("DOCKER_CONFIG", directory.join("docker"));
    // The builder that needs no plugin.
    command.env("DOCKER_BUILDKIT", "0");
    finish(&mut command, "")
}

/// What the recipe names as its base comes from the internet. Stands in for it: busybox, the programs that the packages bring with the
/// libraries that these and Debian's own are linked to, and an `apt-get` that finds everything installed.
fn import_base(host: &Host, name: &str) {
    host.import_image_with(name, &["/usr/bin/git", "/usr/bin/openssl", "/usr/bin/apt-config"], |root| {
        let apt = root.join("bin/apt-get");
        fs::write(&apt, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&apt, fs::Permissions::from_mode(0o755)).unwrap();
    });
}

#[test]
fn the_container_recipe_builds_and_what_it_runs_converges_without_being_root() {
    let host = Host::start();
    let dockerfile = block(PAGE, "dockerfile", "landfall");
    let base = dockerfile.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap();
    import_base(&host, base);

    let world = World::new(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: { name: here }\n\
         spec: { endpoint: unix:///var/run/docker.sock }\n---\n\
         apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\n\
         spec: { server: here, network: { name: web-net } }\n",
    );
    // As /etc/landfall/manifests is: for everybody to read.
    for open in [world.path().to_owned(), world.path().join("manifests")] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.write("Dockerfile", &dockerfile);
    fs::create_dir(world.path().join("build")).unwrap();
    fs::rename(world.path().join("Dockerfile"), world.path().join("build/Dockerfile")).unwrap();
    // Without what only a debugger reads: the image is copied several times.
    let strip = Command::new("strip")
        .arg(env!("CARGO_BIN_EXE_landfall"))
        .arg("-o")
        .arg(world.path().join("build/landfall"))
        .status()
        .unwrap();
    assert!(strip.success());
    shell(&host, world.path(), "docker build --quiet --tag landfall build").expect(0);

    // A socket of a group, as packages make it.
    let socket = host.socket();
    std::os::unix::fs::chown(&socket, Some(0), Some(4242)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).unwrap();
    let here = |script: String| {
        script
            .replace("/var/run/docker.sock:", &format!("{}:", socket.display()))
            .replace("%g /var/run/docker.sock", &format!("%g {}", socket.display()))
            .replace("/etc/landfall/manifests", &world.path().join("manifests").display().to_string())
    };
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap();
    let once = text.split('`').find(|code| code.starts_with("docker run --rm -u 0 --entrypoint chown")).unwrap();
    shell(&host, world.path(), once).expect(0);
    let run = here(block(PAGE, "sh", "docker run -d --name landfall"));
    assert!(!run.contains("/var/run/docker.sock:") || run.contains(&format!("{}:", socket.display())), "{run}");
    shell(&host, world.path(), &run).expect(0);

    let log = || shell(&host, world.path(), "docker logs landfall").stderr;
    wait_for(&format!("the network is made: {}", log()), || (!host.network_ids("web-net").is_empty()).then_some(()));
    let container = host.inspect("landfall");
    assert_eq!(container["Config"]["User"], "65534:65534");
    assert_eq!(container["HostConfig"]["Privileged"], false);
    let process = format!("/proc/{}", container["State"]["Pid"]);
    assert_eq!(fs::metadata(&socket).unwrap().gid(), 4242);
    let groups = host.exec("landfall", &["id", "-G"]);
    assert_eq!(groups.trim(), "65534 4242", "{process}");

    // Its record is in the volume, and commands within the container find it and git.
    let asked = shell(&host, world.path(), "docker exec landfall landfall approve --state /state").expect(0);
    assert!(asked.stderr.contains("Nothing waits for an approval."), "{asked}");
    let events = shell(&host, world.path(), "docker exec landfall landfall events --state /state").expect(0);
    assert!(events.stdout.contains("NetworkMissing"), "{events}");
    assert!(host.exec("landfall", &["git", "--version"]).starts_with("git version"));
    // It stays away from itself.
    let networks = host.networks_of("landfall");
    assert_eq!(networks, ["host"]);
    let healed = host.network_ids("web-net");
    host.remove_network("web-net");
    wait_for("it is made again", || {
        let now = host.network_ids("web-net");
        (!now.is_empty() && now != healed).then_some(())
    });
    shell(&host, world.path(), "docker stop landfall").expect(0);
    assert_eq!(host.inspect("landfall")["State"]["ExitCode"], 0, "{}", log());
}
