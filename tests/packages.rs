//! What goes with the binary: packages, alert rules, the dashboard, templates for CI.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::web::served::Served;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs it in that directory of the project; what it says.
#[track_caller]
fn run(command: &mut Command, directory: &Path) -> String {
    let output = command.current_dir(directory).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn alert_rules_are_valid_and_fire_when_they_should() {
    let directory = root().join("packaging/prometheus");
    run(Command::new("promtool").args(["check", "rules", "alerts.yaml"]), &directory);
    run(Command::new("promtool").args(["test", "rules", "alerts.test.yaml"]), &directory);
}

/// Names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
    words.filter(|word| word.starts_with("landfall_")).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let served = Served::new();
    served.show(&crate::web::page::town());
    let told = served.get("/metrics").expect(200).body;
    let told: BTreeSet<String> = told
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .flat_map(|name| ["", "_bucket", "_sum", "_count"].map(|ending| format!("{name}{ending}")))
        .collect();
    // A counter with labels is told of once it has counted.
    let described = fs::read_to_string(root().join("docs/reference/http.md")).unwrap();
    let known: BTreeSet<String> = told.union(&metrics(&described)).cloned().collect();
    let dashboard = fs::read_to_string(root().join("packaging/grafana/dashboard.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert!(panels.len() >= 10 && ids.len() == panels.len());
    let rules = fs::read_to_string(root().join("packaging/prometheus/alerts.yaml")).unwrap();
    for (what, text) in [("the dashboard", dashboard), ("the rules", rules)] {
        let unknown: Vec<String> = metrics(&text).into_iter().filter(|name| !known.contains(name)).collect();
        assert_eq!(unknown, Vec::<String>::new(), "{what}");
    }
    // Every expression is one: promtool reads rules only, so each becomes a rule.
    let expressions: Vec<String> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m").replace("$instance", ".*"))
        .map(|expression| expression.replace("$server", ".*"))
        .collect();
    let rules: Vec<Value> = (0..)
        .zip(&expressions)
        .map(|(number, expr): (usize, _)| serde_json::json!({ "record": format!("panel:{number}"), "expr": expr }))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(directory.path().join("dashboard.yaml"), file.to_string()).unwrap();
    run(Command::new("promtool").args(["check", "rules", "dashboard.yaml"]), directory.path());
}

#[test]
fn templates_for_ci_are_what_the_forges_read() {
    run(&mut Command::new("scripts/python-tools"), &root());
    let check = |arguments: &[&str]| {
        run(Command::new("target/venv/bin/check-jsonschema").args(arguments), &root());
    };
    check(&["--builtin-schema", "vendor.github-actions", "action.yml"]);
    check(&["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", "packaging/gitlab/landfall.yml"]);
    // And the complete files of the guides.
    let directory = tempfile::tempdir().unwrap();
    let workflow = crate::documents::block("docs/guides/github-actions.md", "yaml", "on:");
    let pipeline = crate::documents::block("docs/guides/gitlab-ci.md", "yaml", "stages:");
    for (text, schema) in [(workflow, "vendor.github-workflows"), (pipeline, "vendor.gitlab-ci")] {
        let file = directory.path().join("file.yml");
        fs::write(&file, text).unwrap();
        check(&["--builtin-schema", schema, "--data-transform", "gitlab-ci", file.to_str().unwrap()]);
    }
}

#[test]
fn the_description_of_the_api_is_valid_for_a_validator() {
    run(&mut Command::new("scripts/python-tools"), &root());
    run(Command::new("target/venv/bin/openapi-spec-validator").arg("schemas/openapi.yaml"), &root());
}

#[test]
fn the_unit_of_the_package_is_one_and_gives_away_little() {
    let unit = fs::read_to_string(root().join("packaging/landfall.service")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("landfall.service");
    // The user comes with the package, and so does its manual page.
    let here = unit.replace("/usr/bin/landfall", env!("CARGO_BIN_EXE_landfall"));
    fs::write(
        &file,
        here.replace("=landfall\n", "=daemon\n").replace("StateDirectory=daemon", "StateDirectory=landfall"),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no", file]), directory.path());
    assert_eq!(said, "");
    let security = ["security", "--offline=yes", "--no-pager", "--threshold=30", file];
    run(Command::new("systemd-analyze").args(security).env("SYSTEMD_LOG_COLOR", "0"), directory.path());
}

/// As `cargo publish` makes it, but for the build: nothing that cargo would warn of, within what a registry takes, and with all that is compiled in.
#[test]
fn the_crate_is_packaged_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--locked", "--offline", "--no-verify", "--allow-dirty", "--target-dir"]);
    let said = run(cargo.arg(directory.path()).env("CARGO_TERM_COLOR", "never"), &root());
    assert!(!said.contains("warning"), "{said}");
    let package = format!("landfall-{}", env!("CARGO_PKG_VERSION"));
    let file = directory.path().join(format!("package/{package}.crate"));
    assert!(file.metadata().unwrap().len() < 10 << 20, "registries take no more");
    let listed = run(Command::new("tar").arg("-tzf").arg(&file), &root());
    for file in ["LICENSE", "README.md", "askama.toml", "docs/reference/reasons.md", ".cargo/config.toml"] {
        assert!(listed.lines().any(|line| line == format!("{package}/{file}")), "{file} is missing: {listed}");
    }
}

/// Around the binary of the tests: all but that it is static is as in a release.
#[test]
fn packages_are_made_alike_each_time_with_everything_in_them() {
    let directory = tempfile::tempdir().unwrap();
    let made: Vec<String> = ["one", "two"]
        .into_iter()
        .map(|name| {
            let to = directory.path().join(name);
            let binary = ["--binary", env!("CARGO_BIN_EXE_landfall"), "--to", to.to_str().unwrap()];
            run(Command::new("scripts/package").args(binary).env("LANDFALL_PACKAGE_LEVEL", "1"), &root());
            fs::read_to_string(to.join("SHA256SUMS")).unwrap()
        })
        .collect();
    assert_eq!(made[0], made[1], "two runs differ");
    let dist = directory.path().join("one");
    let find = |ending: &str| {
        let files = fs::read_dir(&dist).unwrap().map(|it| it.unwrap().path());
        files.into_iter().find(|it| it.to_str().unwrap().ends_with(ending)).unwrap_or_else(|| panic!("no {ending}"))
    };
    let package = find(".deb");
    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(&package), &root());
    for file in [
        "./usr/bin/landfall",
        "./usr/lib/systemd/system/landfall.service",
        "./etc/landfall/landfall.env",
        "./etc/landfall/manifests/",
        "./usr/share/man/man1/landfall.1.gz",
        "./usr/share/man/man1/landfall-rollout-restart.1.gz",
        "./usr/share/bash-completion/completions/landfall",
        "./usr/share/zsh/vendor-completions/_landfall",
        "./usr/share/fish/vendor_completions.d/landfall.fish",
        "./usr/share/landfall/schemas/landfall.json",
        "./usr/share/landfall/schemas/catalog.json",
        "./usr/share/landfall/grafana/dashboard.json",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(file)), "{file} is missing: {listed}");
    }
    let version = run(Command::new("dpkg-deb").arg("--field").arg(&package).arg("Version"), &root());
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
    // What the binary is made of: each with its licence, and nothing that only tests use.
    let bom: Value = serde_json::from_str(&fs::read_to_string(find(".cdx.json")).unwrap()).unwrap();
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = bom["components"].as_array().unwrap();
    let names: BTreeSet<&str> = components.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(names.contains("axum") && names.contains("ssh2") && !names.contains("proptest"), "{names:?}");
    assert!(components.iter().all(|it| it["licenses"].is_array() && it["hashes"].is_array()), "{bom:#}");
    // The image: whatever is named in it is there, and is what its name says.
    let image = directory.path().join("image");
    fs::create_dir(&image).unwrap();
    run(Command::new("tar").arg("-xf").arg(find(".oci.tar")), &image);
    let index: Value = serde_json::from_str(&fs::read_to_string(image.join("index.json")).unwrap()).unwrap();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let file = image.join("blobs/sha256").join(&digest);
        let sum = run(Command::new("sha256sum").arg(&file), &image);
        assert!(sum.starts_with(&digest), "{sum}");
        file
    };
    let manifest: Value = serde_json::from_str(&fs::read_to_string(blob(&index["manifests"][0])).unwrap()).unwrap();
    let config: Value = serde_json::from_str(&fs::read_to_string(blob(&manifest["config"])).unwrap()).unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");
    let layer = run(Command::new("tar").arg("-tzf").arg(blob(&manifest["layers"][0])), &image);
    assert!(layer.contains("usr/bin/landfall") && layer.contains("etc/ssl/certs/ca-certificates.crt"), "{layer}");
}
