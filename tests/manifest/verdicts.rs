//! Three ways to judge a document: `validate`, the schema with a library, and the schema with the tool that people run in CI.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use landfall::core::api::schema;
use serde_json::Value;

use super::load;

/// Samples whose fault is in the structure of a single document, so that the schema must find it as well.
const STRUCTURAL: [&str; 24] = [
    "destination-choices",
    "destination-missing-server",
    "destination-network-name",
    "destination-out-of-range",
    "destination-subnets",
    "destination-unknown-fields",
    "destination-wrong-types",
    "destination-wrong-types-within",
    "document-is-a-list",
    "document-is-no-manifest",
    "document-is-text",
    "document-kind-in-lower-case",
    "document-of-a-foreign-kind",
    "document-of-an-unknown-kind",
    "document-of-another-api-version",
    "document-with-status",
    "document-without-api-version",
    "metadata-names",
    "notifier-choices",
    "resource-circles",
    "resource-managed-fields",
    "resource-selector-names",
    "server-allowed-namespaces",
    "server-endpoint-scheme",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents of the samples in a directory, by the sample's name.
fn samples(directory: &str) -> BTreeMap<String, Vec<String>> {
    fs::read_dir(root().join("tests/manifest").join(directory))
        .expect("the samples")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a sample");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            // An empty document is nothing to `validate`, and a null to the schema.
            let documents = text.split("\n---\n").filter(|document| !document.trim().is_empty());
            (name, documents.map(str::to_owned).collect())
        })
        // What is wrong with YAML itself no schema sees, and an alias within itself brings Python down.
        .filter(|(name, _)| !name.starts_with("yaml-"))
        .collect()
}

#[track_caller]
fn compare(schema_accepts: impl Fn(&str, usize) -> bool) {
    for (name, documents) in samples("valid") {
        for number in 0..documents.len() {
            assert!(schema_accepts(&name, number), "the schema refuses document {number} of valid/{name}");
        }
        load(&documents.join("\n---\n")).unwrap_or_else(|found| panic!("valid/{name}: {}", found[0].render(false)));
    }
    let invalid = samples("invalid");
    for (name, documents) in &invalid {
        for (number, document) in documents.iter().enumerate() {
            let ours = load(document).is_ok();
            assert!(
                !ours || schema_accepts(name, number),
                "the schema alone refuses document {number} of invalid/{name}"
            );
        }
    }
    for name in STRUCTURAL {
        let documents = &invalid[name];
        assert!((0..documents.len()).any(|number| !schema_accepts(name, number)), "the schema accepts invalid/{name}");
    }
}

#[test]
fn the_schema_and_validate_agree() {
    let validator = jsonschema::validator_for(&schema::of_any_document()).expect("a schema");
    let all: BTreeMap<String, Vec<String>> = samples("valid").into_iter().chain(samples("invalid")).collect();
    compare(|name, number| match serde_yaml::from_str::<Value>(&all[name][number]) {
        Ok(document) => validator.is_valid(&document),
        Err(_) => false,
    });
}

#[test]
fn check_jsonschema_and_validate_agree() {
    let installed = Command::new(root().join("scripts/python-tools")).output().expect("sh");
    assert!(
        installed.status.success(),
        "scripts/python-tools could not install check-jsonschema:\n{}",
        String::from_utf8_lossy(&installed.stderr)
    );
    let directory = tempfile::tempdir().expect("a directory");
    let mut files: Vec<PathBuf> = Vec::new();
    for (name, documents) in samples("valid").into_iter().chain(samples("invalid")) {
        for (number, document) in documents.iter().enumerate() {
            let path = directory.path().join(format!("{name}.{number}.yaml"));
            fs::write(&path, document).expect("written");
            files.push(path);
        }
    }
    let output = Command::new(root().join("target/venv/bin/check-jsonschema"))
        .args(["--output-format", "json", "--schemafile"])
        .arg(root().join("schemas/landfall.json"))
        .args(&files)
        .output()
        .expect("check-jsonschema");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let refused: BTreeSet<&str> = ["errors", "parse_errors"]
        .iter()
        .flat_map(|list| report[*list].as_array().into_iter().flatten())
        .filter_map(|error| error["filename"].as_str())
        .collect();
    assert!(!refused.is_empty(), "{report:#}");
    compare(|name, number| {
        let file = directory.path().join(format!("{name}.{number}.yaml"));
        !refused.contains(file.to_str().expect("UTF-8"))
    });
}
