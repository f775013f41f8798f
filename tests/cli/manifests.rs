//! `validate`, `schema` and `explain`.

use std::fs;

use super::run::{landfall, landfall_with_input};

const SERVER: &str = "apiVersion: landfall/v1\nkind: Server\nmetadata: { name: a }\nspec: {}\n";

#[test]
fn validate_says_how_many_objects_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let ran = landfall_with_input(directory.path(), ["validate", "-f", "-"], SERVER).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("1 object is valid\n", ""));
}

#[test]
fn validate_reads_the_default_directory_and_that_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let ran = landfall(directory.path(), ["validate"]).expect(2);
    assert!(ran.stderr.contains("./manifests") && ran.stderr.contains("no such file or directory"), "{ran}");
    fs::create_dir(directory.path().join("manifests")).unwrap();
    fs::write(directory.path().join("manifests/a.yaml"), SERVER).unwrap();
    landfall(directory.path(), ["validate"]).expect(0);
    let mut command = super::run::command();
    command.current_dir(directory.path()).env("LANDFALL_MANIFESTS", "manifests/a.yaml").arg("validate");
    super::run::finish(&mut command, "").expect(0);
}

#[test]
fn validate_counts_what_is_for_other_tools_when_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("manifests")).unwrap();
    fs::write(directory.path().join("manifests/a.yaml"), SERVER).unwrap();
    fs::write(directory.path().join("manifests/compose.yaml"), "services: {}").unwrap();
    fs::write(directory.path().join("manifests/d.yaml"), "apiVersion: apps/v1\nkind: Deployment\n").unwrap();
    let ran = landfall(directory.path(), ["validate"]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("1 object is valid\n", ""));
    let ran = landfall(directory.path(), ["validate", "-v"]).expect(0);
    let counted = "skipped 2 documents of other tools:\n  ./manifests/compose.yaml: a file of Compose\n  \
                   ./manifests/d.yaml:1: Deployment of apps/v1\n";
    assert_eq!(ran.stderr, counted);
    let ran = landfall(directory.path(), ["validate", "-o", "json"]).expect(0);
    assert_eq!(ran.json()["skipped"].as_array().unwrap().len(), 2);
}

#[test]
fn validate_shows_every_problem_and_exits_2() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.yaml"), SERVER.replace("spec: {}", "spec: { rolle: Build }")).unwrap();
    fs::write(directory.path().join("b.yaml"), "kind: Srever\n").unwrap();
    let ran = landfall(directory.path(), ["validate", "-f", "."]).expect(2);
    assert_eq!(ran.stdout, "");
    for said in ["./a.yaml:4:9", "did you mean `role`?", "./b.yaml:1:7", "did you mean `Server`?", "3 problems"] {
        assert!(ran.stderr.contains(said), "{said} is missing\n{ran}");
    }
    assert!(!ran.stderr.contains('\u{1b}'), "colours without a terminal\n{ran}");
    assert!(!ran.stderr.contains("nothing was done"), "there was nothing to do\n{ran}");
}

#[test]
fn validate_in_json_has_the_places_as_fields() {
    let directory = tempfile::tempdir().unwrap();
    let input = SERVER.replace("spec: {}", "spec: { rolle: Build }");
    let ran = landfall_with_input(directory.path(), ["validate", "-f", "-", "-o", "json"], &input).expect(2);
    let expected = serde_json::json!({
        "valid": false,
        "objects": null,
        "diagnostics": [{
            "severity": "error",
            "file": "<stdin>",
            "line": 4,
            "column": 9,
            "message": "unknown field `rolle`",
            "hint": "did you mean `role`?"
        }]
    });
    assert_eq!(ran.json(), expected);
    let ran = landfall_with_input(directory.path(), ["validate", "-f", "-", "-o", "json"], SERVER).expect(0);
    assert_eq!(ran.json(), serde_json::json!({ "valid": true, "objects": 1, "diagnostics": [] }));
}

#[test]
fn a_compose_file_is_read_to_validate_as_it_is_to_diff() {
    let directory = tempfile::tempdir().unwrap();
    let input = format!(
        "{SERVER}---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web }}\nspec: {{ server: a }}\n\
         ---\napiVersion: landfall/v1\nkind: Service\nmetadata: {{ name: app }}\nspec: {{ destination: web, compose: {{ project: app, file: app.yaml }} }}\n"
    );
    let ran = landfall_with_input(directory.path(), ["validate", "-f", "-"], &input).expect(2);
    assert!(ran.stderr.contains("app.yaml, which Service/default/app names, cannot be read: no such file"), "{ran}");
    assert!(ran.stderr.contains("--> <stdin>:11"), "{ran}");
    assert!(ran.stderr.ends_with("error: 1 problem in the manifests\n"), "{ran}");
    fs::write(directory.path().join("app.yaml"), "name: other\nservices: { web: { image: nginx } }\n").unwrap();
    let ran = landfall_with_input(directory.path(), ["validate", "-f", "-"], &input).expect(0);
    assert!(ran.stderr.contains("--> app.yaml:1") && ran.stderr.contains("what counts (ComposeInvalid)"), "{ran}");
    let json = landfall_with_input(directory.path(), ["validate", "-f", "-", "-o", "json"], &input).expect(0).json();
    assert_eq!((&json["valid"], &json["diagnostics"][0]["severity"]), (&true.into(), &"warning".into()));
}

#[test]
fn a_value_that_is_missing_is_told_by_validate_as_by_diff_and_may_be_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let input = format!(
        "{SERVER}---
{{ apiVersion: landfall/v1, kind: Destination, metadata: {{ name: web }}, spec: {{ server: a, network: {{ name: web }} }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: app }}
spec:
  destination: web
  image: example/app:1
  env:
    - {{ name: A, valueFrom: {{ file: /nonexistent/token }} }}
    - {{ name: B, valueFrom: {{ env: LANDFALL_TEST_NOT_SET }} }}
    - {{ name: C, valueFrom: {{ sops: {{ file: /nonexistent/sealed, key: c }} }} }}
    - {{ name: D, valueFrom: {{ file: /etc/hostname }} }}
"
    );
    let ran = landfall_with_input(directory.path(), ["validate", "-f", "-"], &input).expect(0);
    for expected in [
        "warning: the value of env A is missing: the file /nonexistent/token cannot be read: no such file or directory (SecretMissing)",
        "warning: the value of env B is missing: the environment variable LANDFALL_TEST_NOT_SET is not set (SecretMissing)",
        "warning: the value of env C is missing: the file /nonexistent/sealed cannot be read: no such file or directory (SecretMissing)",
        "3 objects are valid",
    ] {
        assert!(ran.to_string().contains(expected), "{expected}\n{ran}");
    }
    assert!(!ran.to_string().contains("env D"), "{ran}");
    let json = landfall_with_input(directory.path(), ["validate", "-f", "-", "-o", "json"], &input).expect(0).json();
    assert_eq!((&json["valid"], json["diagnostics"].as_array().unwrap().len()), (&true.into(), 3), "{json:#}");
}

#[test]
fn schema_prints_one_kind_or_any_document() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(landfall(directory.path(), ["schema", "dest"]).expect(0).json()["title"], "Destination");
    assert_eq!(landfall(directory.path(), ["schema"]).expect(0).json()["title"], "Landfall manifest");
    landfall(directory.path(), ["schema", "nonsense"]).expect(2);
    landfall(directory.path(), ["schema", "--write", "out"]).expect(0);
    assert_eq!(fs::read_dir(directory.path().join("out")).unwrap().count(), 7);
}

#[test]
fn explain_says_what_a_field_is() {
    let directory = tempfile::tempdir().unwrap();
    let ran = landfall(directory.path(), ["explain", "destination.spec.network.mtu"]).expect(0);
    assert_eq!(
        ran.stdout,
        "destination.spec.network.mtu <integer>\n\n  MTU in bytes. Absent: the daemon's default.\n  Must be: 68 to 65535\n  Example: 1450\n"
    );
    let ran = landfall(directory.path(), ["explain", "destinations.spec.membership"]).expect(0);
    assert!(ran.stdout.contains("Default: Shared") && ran.stdout.contains("They are disconnected."), "{ran}");
    let ran = landfall(directory.path(), ["explain", "dest.spec.network.subnets[].subnet"]).expect(0);
    assert!(ran.stdout.starts_with("destination.spec.network.subnets.subnet <string>, required\n"), "{ran}");
    for (path, hint) in [
        ("destnation", "did you mean `destination`?"),
        ("server.spec.proxi", "did you mean `server.spec.proxy`?"),
        ("destination.mtu", "did you mean `destination.spec.network.mtu`?"),
        ("destination.spec.network.mtu.x", "it is integer"),
    ] {
        let ran = landfall(directory.path(), ["explain", path]).expect(2);
        assert!(ran.stderr.contains(hint), "{ran}");
    }
}

/// A label of the manifest wins over that of a domain, and the others are no finding.
#[test]
fn validate_says_which_labels_stand_in_place_of_those_of_domains() {
    let ran = |labels: &str| {
        let manifests = format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: a }}\nspec: {{ proxy: {{ container: traefik, type: Traefik }} }}\n---\n\
             apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web }}\nspec: {{ server: a, network: {{ name: web-net }} }}\n---\n\
             apiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: shop }}\n\
             spec: {{ destination: web, image: 'shop:1', port: 80, domains: [shop.example.com], labels: {{ {labels} }} }}\n"
        );
        let directory = tempfile::tempdir().unwrap();
        landfall_with_input(directory.path(), ["validate", "-f", "-"], &manifests).expect(0)
    };
    let said = ran("traefik.http.routers.default-shop-0.rule: 'Host(`other.example.com`)', tier: front");
    let label = "the label `traefik.http.routers.default-shop-0.rule` of Application/default/shop is used in place of what its `domains` would set";
    assert!(said.stderr.contains("warning") && said.stderr.contains(label), "{said}");
    // What adds to them, and what says the same.
    let said = ran("traefik.http.routers.default-shop-0.middlewares: compress, traefik.docker.network: web-net");
    assert_eq!(said.stderr, "");
}
