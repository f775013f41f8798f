//! `scripts/quickstart`, as a newcomer runs it; it checks what it shows itself.

use std::path::Path;
use std::process::Command;

/// In namespaces of its own, with a `/run` of its own: a tour that the developer left running is not disturbed, and nothing survives the test.
#[test]
fn the_tour_runs_to_its_end_and_cleans_up_after_itself() {
    let script = "mount -t tmpfs tmpfs /run && scripts/quickstart --yes && scripts/quickstart --clean && [ ! -e /run/landfall-quickstart ]";
    let ran = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("LANDFALL", env!("CARGO_BIN_EXE_landfall"))
        .env_remove("DOCKER_HOST")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}\n{stdout}\n{stderr}", ran.status);
    assert!(stdout.contains("== That was the tour"), "{stdout}\n{stderr}");
}
