//! The JSON API, held against its description.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::client::over_socket;
use super::page::{many, outpost, town};
use super::served::{Served, TOKEN};

/// `schemas/openapi.yaml` with the anchors resolved.
pub(super) fn described() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/openapi.yaml")).unwrap();
    let document: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    serde_json::to_value(document).unwrap()
}

/// Fails unless the answer is of the schema that is described for it.
#[track_caller]
pub(super) fn check(document: &Value, path: &str, method: &str, status: u16, body: &Value) {
    let mut response = &document["paths"][path][method]["responses"][status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} has no answer {status} in the description");
    let schema = json!({ "$ref": schema["$ref"], "components": document["components"] });
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path} {status}: {errors:#?}\n{body:#}");
}

fn town_served() -> Served {
    let served = Served::new();
    served.show(&town());
    served.show(&outpost());
    served
}

/// What is read without saying of what.
pub(super) const READING: [&str; 11] = [
    "/api/v1/status",
    "/api/v1/manifests",
    "/api/v1/servers",
    "/api/v1/destinations",
    "/api/v1/resources",
    "/api/v1/diff",
    "/api/v1/events",
    "/api/v1/history",
    "/api/v1/pending",
    "/healthz",
    "/readyz",
];

#[test]
fn every_answer_is_as_described() {
    let served = town_served();
    let document = described();
    super::page::waiting(&served, &["carts", "search"]);
    for path in READING {
        let answer = served.get(path).expect(200);
        assert_eq!(answer.headers["content-type"], "application/json", "{path}");
        check(&document, path, "get", 200, &answer.json());
    }
    let object = "/api/v1/objects/{kind}/{namespace}/{name}";
    for path in ["Destination/shop/web", "server/default/edge-1", "Application/shop/frontend"] {
        check(&document, object, "get", 200, &served.get(&format!("/api/v1/objects/{path}")).expect(200).json());
    }
    for path in ["Destination/shop/nothing", "Nothing/shop/web"] {
        check(&document, object, "get", 404, &served.get(&format!("/api/v1/objects/{path}")).expect(404).json());
    }
    for query in ["?ready=perhaps", "?limit=-1", "?unknown=1"] {
        let answer = served.get(&format!("/api/v1/destinations{query}")).expect(400);
        check(&document, "/api/v1/destinations", "get", 400, &answer.json());
    }
    let post = |path: &str, token: &str| served.post(path, &[("Authorization", &format!("Bearer {token}"))]);
    let path = "/api/v1/reconcile";
    check(&document, path, "post", 401, &post(path, "wrong").expect(401).json());
    check(&document, path, "post", 404, &post("/api/v1/reconcile?server=nothing", TOKEN).expect(404).json());
    check(&document, path, "post", 202, &post("/api/v1/reconcile?server=edge-1", TOKEN).expect(202).json());
    let approve = |body: &str, status: u16| {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("Host", "localhost"), ("Authorization", &authorization), ("Content-Type", "application/json")];
        let stream = super::client::connect(served.address);
        let answer = super::client::send(stream, "POST /api/v1/approve", &headers, body).expect(status);
        check(&document, "/api/v1/approve", "post", status, &answer.json());
    };
    approve(r#"{"fingerprint": "0a1b2c3d4e5f0002"}"#, 202);
    approve(r#"{"fingerprint": "of-nothing"}"#, 404);
    approve("{}", 400);
    approve("nonsense", 400);
    approve(&format!("{{\"fingerprint\": \"{}\"}}", "x".repeat(64 * 1024)), 413);
}

/// Routes are read from where they are made: one that is forgotten in the description is found.
#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/shell/web/mod.rs")).unwrap();
    let made: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .map(|rest| {
            let (path, rest) = rest.split_once('"').unwrap();
            let method = rest.trim_start_matches([',', ' ', '\n']).split('(').next().unwrap();
            format!("{method} {path}")
        })
        .collect();
    let document = described();
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
        .collect();
    assert!(made.len() > 10, "{made:?}");
    assert_eq!(made, described);
}

#[test]
fn the_description_is_served() {
    let served = Served::new();
    assert!(served.get("/api/v1/openapi.yaml").expect(200).body.starts_with("openapi: 3.1.0\n"));
}

#[test]
fn what_acts_needs_the_token_and_what_reads_does_not() {
    let served = town_served();
    for (path, methods) in described()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let line = path.replace("{kind}", "Server").replace("{namespace}", "default").replace("{name}", "edge-1");
            let secured = operation["security"].is_array();
            let plans = path.ends_with("/plan");
            assert_eq!(secured, (method == "post" && !plans) || path.ends_with("/logs"), "{method} {path}");
            let asks = ["/doctor", "/usage", "/logs"].iter().any(|it| path.ends_with(it));
            if path.contains("/webhook/") || plans || asks {
                // Signed, which tests/web/webhook.rs is about; for whoever may read, which tests/web/plan.rs is about; asked of servers, which
                // tests/web/inquiry.rs is about.
            } else if path.ends_with("/sources") || path.ends_with("/attempts") {
                // On the socket only.
                served.get(&line).expect(404);
                over_socket(&served.socket, &format!("GET {line}")).expect(200);
            } else if secured {
                served.post(&line, &[]).expect(401);
            } else if !path.contains("{file}") && !path.ends_with("/stream") {
                served.get(&line).expect(200);
            }
        }
    }
}

#[test]
fn the_diff_is_what_diff_prints_and_what_is_done_is_no_part_of_it() {
    let served = town_served();
    let diff = served.get("/api/v1/diff").json();
    assert_eq!(diff["set"], "default");
    assert_eq!(diff["servers"][1], json!({ "name": "default/outpost", "reachable": false, "type": null }));
    let refused = diff["notes"].as_array().unwrap().iter().find(|note| note["kind"] == "Refused").unwrap();
    assert_eq!(refused["reason"], "AdoptionRequired");
    assert_eq!(diff["summary"]["refused"], 1);
    assert_eq!(diff["summary"]["unreachable"], 1);
}

#[test]
fn lists_are_searched_narrowed_and_paged_by_the_server() {
    let served = Served::new();
    served.show(&many(300));
    let list = |query: &str| served.get(&format!("/api/v1/destinations{query}")).expect(200).json();
    assert_eq!(list("")["total"], 300);
    assert_eq!(list("")["items"].as_array().unwrap().len(), 100);
    assert_eq!(list("?limit=5&offset=298")["items"].as_array().unwrap().len(), 2);
    assert_eq!(list("?q=Net-00299")["total"], 1);
    assert_eq!(list("?q=net-00299")["items"][0]["metadata"]["name"], "d00299");
    assert_eq!(list("?server=edge-1")["total"], 300);
    assert_eq!(list("?server=elsewhere")["total"], 0);
    let by_standing = |ready: &str| list(&format!("?ready={ready}"))["total"].as_u64().unwrap();
    assert_eq!(by_standing("true") + by_standing("false") + by_standing("unknown"), 300);
}

#[test]
fn the_stream_says_at_once_and_with_every_change_that_there_is_something_to_read() {
    use std::io::{BufRead, BufReader, Write};
    let served = Served::new();
    let mut stream = super::client::connect(served.address);
    write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "content-type: text/event-stream"));
    assert!(lines.any(|line| line == "event: change"));
    served.show(&town());
    assert!(lines.any(|line| line == "event: change"));
}

#[test]
fn readers_of_the_stream_cannot_keep_others_out() {
    use std::io::{BufRead, BufReader, Write};
    let served = Served::new();
    let open = || {
        let mut stream = super::client::connect(served.address);
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        (status, reader)
    };
    let streams: Vec<_> = (0..64).map(|_| open()).collect();
    assert!(streams.iter().all(|(status, _)| status.contains("200")));
    assert!(open().0.contains("503"));
    served.get("/healthz").expect(200);
    assert!(served.get("/metrics").body.contains("landfall_http_event_streams 64"));
    drop(streams);
    crate::support::wait_for("a place is free again", || open().0.contains("200").then_some(()));
}

/// What OpenAPI 3.1 allows where; whatever else stands there is a mistake of the writer, such as a description with a comma and no quotes.
#[test]
fn the_description_is_valid_openapi() {
    const REFERENCE: &[&str] = &["$ref", "summary", "description"];
    const ROOT: &[&str] =
        &["openapi", "info", "servers", "paths", "components", "security", "tags", "externalDocs", "jsonSchemaDialect"];
    const INFO: &[&str] = &["title", "summary", "description", "termsOfService", "contact", "license", "version"];
    const PATH: &[&str] = &[
        "summary",
        "description",
        "get",
        "put",
        "post",
        "delete",
        "options",
        "head",
        "patch",
        "trace",
        "servers",
        "parameters",
    ];
    const OPERATION: &[&str] = &[
        "tags",
        "summary",
        "description",
        "externalDocs",
        "operationId",
        "parameters",
        "requestBody",
        "responses",
        "callbacks",
        "deprecated",
        "security",
        "servers",
    ];
    const PARAMETER: &[&str] = &[
        "name",
        "in",
        "description",
        "required",
        "deprecated",
        "allowEmptyValue",
        "style",
        "explode",
        "allowReserved",
        "schema",
        "example",
        "examples",
        "content",
    ];
    const RESPONSE: &[&str] = &["description", "headers", "content", "links"];
    const BODY: &[&str] = &["description", "content", "required"];
    const MEDIA: &[&str] = &["schema", "example", "examples", "encoding"];
    const COMPONENTS: &[&str] = &[
        "schemas",
        "responses",
        "parameters",
        "examples",
        "requestBodies",
        "headers",
        "securitySchemes",
        "links",
        "callbacks",
        "pathItems",
    ];
    const SECURITY: &[&str] =
        &["type", "description", "name", "in", "scheme", "bearerFormat", "flows", "openIdConnectUrl"];
    let document = described();
    let mut wrong: Vec<String> = Vec::new();
    let mut only = |place: &str, value: &Value, allowed: &[&str], required: &[&str]| {
        let Some(fields) = value.as_object() else { return wrong.push(format!("{place} is no mapping")) };
        let allowed = if fields.contains_key("$ref") { REFERENCE } else { allowed };
        let required = if fields.contains_key("$ref") { &[] } else { required };
        wrong.extend(fields.keys().filter(|key| !allowed.contains(&key.as_str())).map(|key| format!("{place}: {key}")));
        wrong.extend(
            required.iter().filter(|key| !fields.contains_key(**key)).map(|key| format!("{place} lacks {key}")),
        );
    };
    let entries = |value: &Value| value.as_object().cloned().unwrap_or_default();
    only("root", &document, ROOT, &["openapi", "info", "paths"]);
    only("info", &document["info"], INFO, &["title", "version"]);
    only("components", &document["components"], COMPONENTS, &[]);
    for (path, item) in entries(&document["paths"]) {
        only(&path, &item, PATH, &[]);
        let mut declared: Vec<String> = Vec::new();
        let name = |parameter: &Value| {
            let referred = parameter["$ref"].as_str().and_then(|reference| document.pointer(&reference[1..]));
            referred.unwrap_or(parameter)["name"].as_str().map(str::to_owned)
        };
        let operations = entries(&item)
            .into_iter()
            .filter(|(method, _)| !["parameters", "summary", "description"].contains(&method.as_str()));
        for parameter in item["parameters"].as_array().into_iter().flatten() {
            only(&path, parameter, PARAMETER, &["name", "in"]);
            declared.extend(name(parameter));
        }
        for (method, operation) in operations {
            let place = format!("{method} {path}");
            only(&place, &operation, OPERATION, &["responses"]);
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                only(&place, parameter, PARAMETER, &["name", "in"]);
                declared.extend(name(parameter));
            }
            for (status, response) in entries(&operation["responses"]) {
                assert!(status == "default" || status.parse::<u16>().is_ok(), "{place}: {status}");
                only(&format!("{place} {status}"), &response, RESPONSE, &["description"]);
                for (media, content) in entries(&response["content"]) {
                    only(&format!("{place} {status} {media}"), &content, MEDIA, &[]);
                }
            }
            if !operation["requestBody"].is_null() {
                only(&place, &operation["requestBody"], BODY, &["content"]);
            }
        }
        for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            assert!(declared.iter().any(|it| it == part), "{path}: {part} is not described");
        }
    }
    for (name, response) in entries(&document["components"]["responses"]) {
        only(&name, &response, RESPONSE, &["description"]);
    }
    for (name, scheme) in entries(&document["components"]["securitySchemes"]) {
        only(&name, &scheme, SECURITY, &["type"]);
    }
    for (name, schema) in entries(&document["components"]["schemas"]) {
        if let Err(error) = jsonschema::meta::validate(&schema) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}
