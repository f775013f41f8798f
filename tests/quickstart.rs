//! `scripts/quickstart`, as a newcomer runs it; it checks what it shows itself.

use std::path::Path;
use std::process::Command;

/// In namespaces of its own, with a `/run` of its own: a tour that the developer left running is not disturbed, and nothing survives the test.
/// A second checkout has its tour beside it, on a daemon of its own.
#[test]
fn the_tour_runs_to_its_end_and_cleans_up_after_itself() {
    let script = r#"
        set -eu
        mount -t tmpfs tmpfs /run
        scripts/quickstart --yes
        socket=/run/landfall-quickstart/docker.sock
        containers() { docker --host "unix://$socket" ps --quiet --no-trunc | sort; }
        before=$(containers)
        second=$(mktemp -d)
        trap 'rm -rf "$second"' EXIT
        cp -r scripts manifests "$second"
        "$second/scripts/quickstart" --yes
        [ -S /run/landfall-quickstart-*/docker.sock ]
        "$second/scripts/quickstart" --clean
        [ -n "$before" ] && [ "$(containers)" = "$before" ]
        scripts/quickstart --clean
        scripts/quickstart --clean
        [ -z "$(ls -d /run/landfall-quickstart* 2> /dev/null)" ]
    "#;
    let ran = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("LANDFALL", env!("CARGO_BIN_EXE_landfall"))
        .env_remove("DOCKER_HOST")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}\n{stdout}\n{stderr}", ran.status);
    assert_eq!(stdout.matches("== That was the tour").count(), 2, "{stdout}\n{stderr}");
    assert!(stdout.contains("target/quickstart/manifests is a copy with this one's"), "{stdout}");
    assert!(stdout.ends_with("there is nothing to clean up\n"), "{stdout}");
}
