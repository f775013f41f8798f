//! Hands facts about the build to `landfall version`.

use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    let profile = variable("PROFILE");
    set("LANDFALL_TARGET", &variable("TARGET"));
    set("LANDFALL_PROFILE", &profile);
    set("LANDFALL_RUSTC", &output(&variable("RUSTC"), &["--version"]).unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rerun-if-changed=build.rs");
    // Development builds leave the commit out: they would be compiled anew after every commit.
    if profile == "release" {
        if let Some(commit) = output("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]) {
            set("LANDFALL_COMMIT", &commit);
        }
        if let Some(log) = output("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo::rerun-if-changed={log}");
        }
    }
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env={name}={value}");
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
