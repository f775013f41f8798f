//! `schemas/` is what the types say, and says the same about a document as `validate`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use landfall::core::api::{Kind, schema};
use serde_json::{Value, json};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_committed_schemas_are_up_to_date() {
    for (name, content) in schema::files() {
        let committed = fs::read_to_string(root("schemas").join(&name)).unwrap_or_default();
        assert!(committed == content, "schemas/{name} is out of date: run `landfall schema --write schemas`");
    }
    // The API's description is there as well, and has tests of its own.
    let files = fs::read_dir(root("schemas")).expect("schemas/").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).count();
    assert_eq!(files, schema::files().len(), "a file in schemas/ belongs to no kind");
}

#[test]
fn every_schema_is_a_valid_schema_of_draft_2020_12() {
    for (name, content) in schema::files() {
        let schema: Value = serde_json::from_str(&content).expect("JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(schema["$id"].as_str().is_some_and(|id| id.starts_with("urn:landfall:v1:")), "{name}");
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Calls `each` with every schema and the path to it.
fn walk(schema: &Value, path: &str, each: &mut impl FnMut(&str, &Value)) {
    each(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), each);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            walk(&schema[inner], &format!("{path}[]"), each);
        }
    }
}

/// What `validate` checks, and what says nothing about which values are right.
const UNDERSTOOD: [&str; 23] = [
    "$defs",
    "$id",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "enum",
    "examples",
    "format",
    "items",
    "maximum",
    "maxLength",
    "minimum",
    "minItems",
    "minLength",
    "oneOf",
    "pattern",
    "patternErrorMessage",
    "properties",
    "required",
    "title",
];

#[test]
fn every_check_of_a_schema_is_one_that_validate_makes_too() {
    for kind in Kind::ALL {
        walk(&schema::of_kind(kind), kind.as_str(), &mut |path, schema| {
            let words = schema.as_object().into_iter().flatten().map(|(word, _)| word.as_str());
            let unknown: Vec<&str> =
                words.filter(|word| *word != "type" && !word.starts_with("x-") && !UNDERSTOOD.contains(word)).collect();
            assert!(unknown.is_empty(), "{path}: only editors would check {unknown:?}");
        });
    }
}

#[test]
fn every_field_is_described_and_every_pattern_is_in_words() {
    for kind in Kind::ALL {
        walk(&schema::of_kind(kind), kind.as_str(), &mut |path, schema| {
            assert!(path.ends_with("[]") || schema["description"].is_string(), "{path} has no description");
            assert!(
                schema["pattern"].is_null() || schema["patternErrorMessage"].is_string(),
                "{path} has a bare pattern"
            );
            if schema["type"] == "object" && schema["properties"].is_object() {
                assert_eq!(schema["additionalProperties"], json!(false), "{path} accepts unknown fields");
            }
        });
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_types() {
    let mut defaults = BTreeMap::new();
    for kind in Kind::ALL {
        walk(&schema::of_kind(kind), kind.as_str(), &mut |path, schema| {
            if let Some(default) = schema.get("default") {
                defaults.insert(path.to_owned(), default.clone());
            }
        });
    }
    let destination: landfall::core::api::DestinationSpec =
        serde_json::from_value(json!({ "server": "a" })).expect("minimal");
    let filled = json!({
        "server": "a",
        "network": { "internal": false, "ipv6": false, "icc": true, "encrypted": false },
        "proxy": defaults["Destination.spec.proxy"],
        "active": defaults["Destination.spec.active"],
        "adopt": defaults["Destination.spec.adopt"],
        "membership": defaults["Destination.spec.membership"],
        "replacement": defaults["Destination.spec.replacement"],
        "deletionPolicy": defaults["Destination.spec.deletionPolicy"],
        "suspend": defaults["Destination.spec.suspend"],
    });
    assert_eq!(destination, serde_json::from_value(filled).expect("filled"));
    for (field, value) in [("internal", false), ("ipv6", false), ("icc", true), ("encrypted", false)] {
        assert_eq!(defaults[&format!("Destination.spec.network.{field}")], json!(value));
    }
    let server: landfall::core::api::ServerSpec = serde_json::from_value(json!({})).expect("minimal");
    let filled = json!({
        "endpoint": defaults["Server.spec.endpoint"],
        "insecure": defaults["Server.spec.insecure"],
        "role": defaults["Server.spec.role"],
        "suspend": defaults["Server.spec.suspend"],
    });
    assert_eq!(server, serde_json::from_value(filled).expect("filled"));
}
