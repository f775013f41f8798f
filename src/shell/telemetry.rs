//! Spans of passes, looks and operations for an OpenTelemetry collector: OTLP over HTTP, as protobuf.
//!
//! What is sent has the target [`TARGET`], which the log leaves out; nothing in it is a secret, for it is what the log says as well.
//! Configured by the variables that every exporter knows, most of which the SDK reads itself; without an endpoint there is none.
//!
//! Nobody waits for a collector: spans are sent by a thread of their own, what does not fit its queue is dropped, and what the
//! collector does not take is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::shell::http_client;

/// Of the spans that are told. No module has it, so that no filter of the log lets them in.
const TARGET: &str = "otel";
/// Of one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of the process waits for what is not sent yet.
const LAST: Duration = Duration::from_secs(3);

/// What takes spans, and sends them on.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// From the environment. `None`: nobody wants traces. An error: somebody does, and cannot have them.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let Some(address) = address(&variable)? else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(address)
            .with_http_client(Client::new()?)
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", "landfall"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            ])
            .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
        // Above the attributes, as it is specified; the SDK has it the other way round.
        let resource = match variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
            Some(name) => resource.with_service_name(name),
            None => resource,
        };
        let provider = SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter);
        Ok(Some(Self(provider.build())))
    }

    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let scope = InstrumentationScope::builder("landfall").with_version(env!("CARGO_PKG_VERSION")).build();
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer_with_scope(scope))
            // Spans are within each other as those of tracing are.
            .with_context_activation(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(tracing_subscriber::filter::filter_fn(ours))
    }

    /// Sends what waits to be sent, as far as it can be had soon.
    pub(crate) fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST) {
            tracing::warn!(error = error.to_string(), "the last traces may be lost");
        }
    }
}

/// Where spans are to be sent to, if anywhere. Looked at here, for the SDK has a default, and takes any scheme.
fn address(variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let own = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let common = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    let off = variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|it| it == "none");
    let address = match (own, common) {
        _ if off => return Ok(None),
        (Some(own), _) => own,
        (None, Some(common)) => format!("{}/v1/traces", common.trim_end_matches('/')),
        (None, None) => return Ok(None),
    };
    let uri: Uri = address.parse().map_err(|_| "the OTLP endpoint is not a URL".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return Err("the OTLP endpoint is not an http or https URL".to_owned());
    }
    Ok(Some(address))
}

/// Whether a span is one that is told.
fn ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

/// HTTP as the rest of Landfall has it. The thread of the SDK that sends batches has nothing else to do, and no runtime: it waits here.
#[derive(Debug)]
struct Client {
    runtime: Runtime,
    /// Whether the last attempt failed.
    failing: AtomicBool,
}

impl Client {
    fn new() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { runtime: runtime.map_err(|error| error.to_string())?, failing: AtomicBool::new(false) })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string().parse().map_err(|_| "the OTLP endpoint is not a URL".to_owned())?;
        let answer = async { tokio::time::timeout(TIMEOUT, http_client::answer(url, head.headers, body)).await };
        match self.runtime.block_on(answer) {
            Ok(Ok(answer)) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = answer.status();
                *response.headers_mut() = answer.headers().clone();
                Ok(response)
            }
            Ok(Err(failure)) => Err(failure.message),
            Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.send(request);
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered with status {}", answer.status().as_u16())),
            Err(problem) => Some(problem.clone()),
        };
        // Once for as long as it lasts.
        let failed = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            None => tracing::debug!("traces are sent"),
            Some(problem) if failed => tracing::debug!(error = problem, "the collector takes no traces"),
            Some(problem) => tracing::warn!(error = problem, "the collector takes no traces"),
        }
        answer.map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
    use prost::Message;
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn variables(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_variables_are_those_of_every_exporter() {
        let of = |given: &[(&str, &str)]| address(variables(given));
        assert_eq!(of(&[]), Ok(None));
        let common = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(of(&[common, off]), Ok(None));
        }
        assert_eq!(of(&[common]).unwrap().unwrap(), "http://collector:4318/v1/traces");
        let own = of(&[common, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example.com/in")]);
        assert_eq!(own.unwrap().unwrap(), "https://traces.example.com/in");
        for wrong in ["collector:4318", "grpc://collector:4317", "not a url"] {
            assert!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]).is_err(), "{wrong}");
        }
    }

    /// What a collector is sent.
    fn received(listener: &TcpListener) -> (String, ExportTraceServiceRequest) {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).unwrap() > 2 {
            head.push_str(&line.to_lowercase());
            line.clear();
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        (head, ExportTraceServiceRequest::decode(&body[..]).unwrap())
    }

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    #[test]
    fn a_collector_is_sent_spans_within_each_other_with_what_became_of_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let given = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_SERVICE_NAME", "landfall-prod")];
        let traces = Traces::of(variables(&given)).unwrap().unwrap();
        let collector = std::thread::spawn(move || received(&listener));
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            runtime.block_on(async {
                let pass =
                    tracing::info_span!(target: TARGET, "pass", landfall.server = "infra/edge", landfall.pass = 7);
                let work = async {
                    tracing::info_span!("of the log and not told").in_scope(|| {
                        tracing::warn!(target: TARGET, "an event is for the log");
                        let operation =
                            tracing::info_span!(target: TARGET, "operation", otel.status_description = tracing::field::Empty);
                        operation.record("otel.status_description", "the daemon said no");
                    });
                };
                work.instrument(pass).await;
            });
        });
        traces.end();
        let (head, sent) = collector.join().unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let [of_resource] = &sent.resource_spans[..] else { panic!("{sent:#?}") };
        let resource = &of_resource.resource.as_ref().unwrap().attributes;
        for (key, value) in [("service.name", "landfall-prod"), ("service.version", env!("CARGO_PKG_VERSION"))] {
            assert!(resource.contains(&attribute(key, Value::StringValue(value.to_owned()))), "{resource:#?}");
        }
        let [of_scope] = &of_resource.scope_spans[..] else { panic!("{sent:#?}") };
        let [operation, pass] = &of_scope.spans[..] else { panic!("{sent:#?}") };
        assert_eq!((&*operation.name, &*pass.name), ("operation", "pass"));
        assert_eq!((&operation.trace_id, &operation.parent_span_id), (&pass.trace_id, &pass.span_id));
        assert!(pass.parent_span_id.is_empty());
        let status = operation.status.as_ref().unwrap();
        assert_eq!((status.code(), &*status.message), (StatusCode::Error, "the daemon said no"));
        assert_eq!(pass.status.as_ref().map_or(StatusCode::Unset, |status| status.code()), StatusCode::Unset);
        assert_eq!(
            pass.attributes,
            [
                attribute("landfall.server", Value::StringValue("infra/edge".to_owned())),
                attribute("landfall.pass", Value::IntValue(7)),
            ]
        );
        assert!(operation.attributes.is_empty() && operation.events.is_empty(), "{operation:#?}");
        assert!(pass.start_time_unix_nano <= operation.start_time_unix_nano);
        assert!(operation.end_time_unix_nano <= pass.end_time_unix_nano);
        assert!(pass.start_time_unix_nano > 1_700_000_000_000_000_000);
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_collector_that_is_down_is_told_once_for_as_long_as_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let up = listener.local_addr().unwrap().to_string();
        let down = "127.0.0.1:1";
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let client = Client::new().unwrap();
        let spans = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans::default()] }.encode_to_vec();
        let send = |address: &str| {
            let request = Request::post(format!("http://{address}/v1/traces")).body(spans.clone().into()).unwrap();
            futures::executor::block_on(client.send_bytes(request))
        };
        tracing::subscriber::with_default(subscriber, || {
            assert!(send(down).is_err() && send(down).is_err());
            let collector = std::thread::spawn(move || received(&listener));
            assert!(send(&up).unwrap().status().is_success());
            collector.join().unwrap();
            assert!(send(down).is_err());
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.matches("the collector takes no traces").count(), 2, "{log}");
        assert!(log.contains("connecting failed: Connection refused"), "{log}");
    }
}
