//! What `run` sends to an OpenTelemetry collector.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use super::run::command;
use super::world::{World, server};

/// Runs it against a server that is not there until it has looked once, then ends it. What it logged.
fn looked_once(variables: &[(&str, &str)]) -> String {
    let world = World::new(&server("unix:///nonexistent/docker.sock"));
    let mut command = command();
    command.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
    command.args(["run", "--listen", "none"]).envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        if line.contains("not reachable") {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
        log.push_str(&(line + "\n"));
    }
    assert!(child.wait().unwrap().success(), "{log}");
    log
}

/// One request to a collector.
fn received(listener: &TcpListener) -> (String, ExportTraceServiceRequest) {
    let mut reader = BufReader::new(listener.accept().unwrap().0);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        head.push_str(&line.to_lowercase());
        line.clear();
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    (head, ExportTraceServiceRequest::decode(&body[..]).unwrap())
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

#[test]
fn what_is_not_sent_yet_when_run_ends_is_sent_to_where_and_as_whom_the_environment_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    std::thread::spawn(move || sender.send(received(&listener)));
    let log = looked_once(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc, x-team=ops"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod,service.name=overridden"),
        ("OTEL_SERVICE_NAME", "landfall-prod"),
        // Nothing is sent before the end.
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ]);
    let (head, sent) = requests.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("nothing came\n{log}"));
    for expected in ["post /v1/traces http/1.1", "authorization: basic abc", "x-team: ops"] {
        assert!(head.contains(expected), "{head}");
    }
    let resource = &sent.resource_spans[0].resource.as_ref().unwrap().attributes;
    for expected in [attribute("deployment.environment", "prod"), attribute("service.name", "landfall-prod")] {
        assert!(resource.contains(&expected), "{resource:#?}");
    }
    assert_eq!(resource.iter().filter(|it| it.key == "service.name").count(), 1);
    let spans = &sent.resource_spans[0].scope_spans[0].spans;
    let pass = spans.iter().find(|span| span.name == "pass").unwrap();
    let look = spans.iter().find(|span| span.name == "observe" && span.parent_span_id == pass.span_id).unwrap();
    assert_eq!(look.trace_id, pass.trace_id);
    assert_eq!(look.attributes, [attribute("landfall.server", "infra/edge")]);
    let number = AnyValue { value: Some(Value::IntValue(1)) };
    assert!(
        pass.attributes.iter().any(|it| it.key == "landfall.pass" && it.value == Some(number.clone())),
        "{pass:#?}"
    );
    let status = look.status.as_ref().unwrap();
    assert!(status.code() == StatusCode::Error && status.message.contains("docker.sock"), "{status:?}");
}

#[test]
fn an_endpoint_that_is_none_is_said_and_run_goes_on_without() {
    let log = looked_once(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]);
    assert_eq!(log.matches("no traces are sent").count(), 1, "{log}");
    assert!(log.contains("the OTLP endpoint is not"), "{log}");
}

#[test]
fn a_collector_that_is_down_is_said_once_and_does_not_keep_run_from_ending() {
    let log = looked_once(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]);
    assert_eq!(log.matches("the collector takes no traces").count(), 1, "{log}");
    assert!(!log.contains("opentelemetry") && !log.contains("the last traces"), "{log}");
}

#[test]
fn a_collector_that_never_answers_is_not_waited_for_when_run_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let log = looked_once(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    // Before its own attempt is given up.
    assert!(log.contains("the last traces may be lost") && !log.contains("no answer within"), "{log}");
}
