//! Secrets that the real sops has sealed for a key of age. `scripts/sops` fetches it.

use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret as _;
use serde_json::json;

use super::workloads::manifests;
use crate::cli::world::World;
use crate::support::Host;

fn program() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sops");
    let program = std::env::var_os("LANDFALL_SOPS").map_or(default, PathBuf::from).join("sops");
    assert!(program.exists(), "{} is missing; `scripts/sops` fetches it", program.display());
    program
}

#[test]
fn a_secret_that_sops_has_sealed_for_age_reaches_the_container_of_whoever_has_the_key() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let spec = "  image: landfall/busybox:test\n  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n  env: [{ name: TOKEN, valueFrom: { sops: { file: ../sealed.yaml, key: shop.token } } }]\n";
    let world = World::new(&manifests(&host, spec));
    let key = age::x25519::Identity::generate();
    world.write("key", &format!("{}\n", key.to_string().expose_secret()));
    world.write("plain.yaml", "shop:\n  token: hunter2\n");
    let sealed = Command::new(program())
        .args(["--encrypt", "--age", &key.to_public().to_string(), "plain.yaml"])
        .current_dir(world.path())
        .output()
        .unwrap();
    assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    let sealed = String::from_utf8(sealed.stdout).unwrap();
    assert!(!sealed.contains("hunter2"), "{sealed}");
    world.write("sealed.yaml", &sealed);
    std::fs::remove_file(world.path().join("plain.yaml")).unwrap();

    let path = format!("{}:{}", program().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let home = world.path().display().to_string();
    let key = world.path().join("key").display().to_string();
    let without = world.run_with(&[("PATH", &path), ("HOME", &home)], "apply").expect(3);
    assert!(without.stdout.contains("(SecretMissing)") && without.stdout.contains("sops cannot decrypt"), "{without}");
    let applied =
        world.run_with(&[("PATH", &path), ("HOME", &home), ("SOPS_AGE_KEY_FILE", &key)], "-vvv apply").expect(0);
    assert!(!applied.to_string().contains("hunter2"), "{applied}");
    let environment = host.inspect("shop-frontend-1")["Config"]["Env"].clone();
    assert!(environment.as_array().unwrap().contains(&json!("TOKEN=hunter2")), "{environment}");
}
