//! Spans of passes, looks and operations for an OpenTelemetry collector: OTLP over HTTP, in its JSON form.
//!
//! Written out here rather than with the OpenTelemetry crates: those are twenty packages, protobuf and gRPC types among them, for what is
//! one document and one POST. What is sent has the target [`TARGET`], which the log leaves out; nothing in it is a secret, for it is
//! what the log says as well. Configured by the variables that every exporter knows; without an endpoint there is none.
//!
//! Nobody waits for a collector: what does not fit the queue is dropped and counted, and what it does not take is gone.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Of the spans that are told. No module has it, so that no filter of the log lets them in.
const TARGET: &str = "otel";
/// Spans that wait to be sent.
const QUEUE: usize = 4096;
/// Spans sent at once.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const TOGETHER: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest text of an attribute.
const LONGEST: usize = 1000;

/// Where to, and as whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exporter {
    uri: Uri,
    headers: HeaderMap,
    resource: BTreeMap<String, String>,
}

impl Exporter {
    /// From the environment. `None`: nobody wants traces. An error: somebody does, and cannot have them.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
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
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let given = variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS"));
        for (name, value) in pairs(given.as_deref()) {
            let name: HeaderName = name.parse().map_err(|_| "a name in the OTLP headers is none of a header")?;
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| "a value in the OTLP headers is none of a header")?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let mut resource = BTreeMap::from([
            ("service.name".to_owned(), "landfall".to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        resource.extend(pairs(variable("OTEL_RESOURCE_ATTRIBUTES").as_deref()));
        resource.extend(variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
        Ok(Some(Self { uri, headers, resource }))
    }

    /// The layer that takes spans, and what sends them on for as long as the layer lives.
    pub(crate) fn start(self) -> (Traces, impl Future<Output = ()> + Send + 'static) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Traces { sender, random: RandomState::new() }, self.work(queue))
    }

    async fn work(self, mut queue: mpsc::Receiver<Span>) {
        let mut batch = Vec::new();
        let mut taken = true;
        while let Some(first) = queue.recv().await {
            batch.push(first);
            let fill = async { while batch.len() < BATCH && queue.recv_many(&mut batch, BATCH).await > 0 {} };
            let _ = tokio::time::timeout(TOGETHER, fill).await;
            let body = self.document(&batch).to_string().into_bytes();
            let spans = batch.len();
            batch.clear();
            let target = self.uri.path_and_query().map_or("/", |it| it.as_str());
            let sent = tokio::time::timeout(TIMEOUT, crate::post::post(&self.uri, target, self.headers.clone(), body));
            let why = match sent.await {
                Ok(Ok(())) => {
                    taken = true;
                    tracing::debug!(spans, "traces are sent");
                    continue;
                }
                Ok(Err(failure)) => failure.message,
                Err(_) => format!("no answer within {TIMEOUT:?}"),
            };
            // Once for as long as it lasts.
            if std::mem::take(&mut taken) {
                tracing::warn!(spans, error = why, "traces are lost");
            } else {
                tracing::debug!(spans, error = why, "traces are lost");
            }
        }
    }

    /// `ExportTraceServiceRequest` of OTLP 1.
    fn document(&self, spans: &[Span]) -> Value {
        let text = |(key, value): (&String, &String)| attribute(key, &json!(value));
        json!({ "resourceSpans": [{
            "resource": { "attributes": self.resource.iter().map(text).collect::<Vec<_>>() },
            "scopeSpans": [{
                "scope": { "name": "landfall", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans.iter().map(Span::document).collect::<Vec<_>>(),
            }],
        }] })
    }
}

/// `key=value,key=value`, with what is special in a URL escaped.
fn pairs(text: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((key.trim().to_owned(), unescaped(value.trim())))
    };
    text.unwrap_or_default().split(',').filter_map(pair).collect::<Vec<_>>().into_iter()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let escaped = others.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes the spans that end.
pub(crate) struct Traces {
    sender: mpsc::Sender<Span>,
    random: RandomState,
}

/// One that has begun, and then one that has ended.
#[derive(Debug, Clone)]
struct Span {
    name: &'static str,
    trace: u128,
    id: u64,
    parent: Option<u64>,
    begun: SystemTime,
    ended: SystemTime,
    attributes: Vec<(&'static str, Value)>,
}

impl Span {
    fn document(&self) -> Value {
        let nanoseconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            since.as_nanos().to_string()
        };
        let error = self.attributes.iter().find(|(name, _)| *name == "error");
        let attributes = self.attributes.iter().filter(|(name, _)| *name != "error");
        json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.id),
            "parentSpanId": self.parent.map(|id| format!("{id:016x}")).unwrap_or_default(),
            "name": self.name,
            // Internal.
            "kind": 1,
            "startTimeUnixNano": nanoseconds(self.begun),
            "endTimeUnixNano": nanoseconds(self.ended),
            "attributes": attributes.map(|(name, value)| attribute(&format!("landfall.{name}"), value)).collect::<Vec<_>>(),
            // Unset, or error.
            "status": error.map_or_else(|| json!({}), |(_, message)| json!({ "code": 2, "message": message })),
        })
    }
}

fn attribute(key: &str, value: &Value) -> Value {
    let value = match value {
        Value::Bool(it) => json!({ "boolValue": it }),
        // 64 bits are text in the JSON form of protobuf.
        Value::Number(it) => json!({ "intValue": it.to_string() }),
        Value::String(it) => json!({ "stringValue": it }),
        other => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": key, "value": value })
}

impl Traces {
    /// From the operating system's randomness by way of a hasher that is keyed with it: ids are to be different, not secret.
    fn random(&self) -> u64 {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        // Zero is none.
        hasher.finish().max(1)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Traces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !ours(attributes.metadata()) {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let above = span.scope().skip(1).find_map(|above| above.extensions().get::<Span>().map(|it| (it.trace, it.id)));
        let trace = above.map_or_else(|| u128::from(self.random()) << 64 | u128::from(self.random()), |it| it.0);
        let now = SystemTime::now();
        let mut new = Span {
            name: attributes.metadata().name(),
            trace,
            id: self.random(),
            parent: above.map(|it| it.1),
            begun: now,
            ended: now,
            attributes: Vec::new(),
        };
        attributes.record(&mut Fields(&mut new.attributes));
        span.extensions_mut().insert(new);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(known) = span.extensions_mut().get_mut::<Span>() {
            values.record(&mut Fields(&mut known.attributes));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(mut ended) = span.extensions_mut().remove::<Span>() else { return };
        ended.ended = SystemTime::now();
        let _ = self.sender.try_send(ended);
    }
}

/// Whether a span is one that is told.
pub(crate) fn ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

struct Fields<'a>(&'a mut Vec<(&'static str, Value)>);

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), json!(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), json!(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), json!(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), json!(value.chars().take(LONGEST).collect::<String>())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Exporter>, String> {
        Exporter::of(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_variables_are_those_of_every_exporter() {
        assert_eq!(of(&[]), Ok(None));
        let address = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(of(&[address, off]), Ok(None));
        }
        let exporter = of(&[
            address,
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc, x-team=ops"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod,service.name=overridden"),
            ("OTEL_SERVICE_NAME", "landfall-prod"),
        ]);
        let exporter = exporter.unwrap().unwrap();
        assert_eq!(exporter.uri, "http://collector:4318/v1/traces");
        assert_eq!(
            (&exporter.headers["authorization"], &exporter.headers["x-team"]),
            (&"Basic abc".parse().unwrap(), &"ops".parse().unwrap())
        );
        assert_eq!(exporter.resource["deployment.environment"], "prod");
        assert_eq!(exporter.resource["service.name"], "landfall-prod");
        assert!(!format!("{exporter:?}").contains("Basic abc"));
        let own = of(&[address, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example.com/in")]);
        assert_eq!(own.unwrap().unwrap().uri, "https://traces.example.com/in");
        for wrong in ["collector:4318", "grpc://collector:4317", "not a url"] {
            assert!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]).is_err(), "{wrong}");
        }
    }

    /// What a collector is sent.
    fn received(listener: &TcpListener) -> (String, Value) {
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
        write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}").unwrap();
        (head, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn a_collector_is_sent_spans_within_each_other_with_what_became_of_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let exporter = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")]);
        let (traces, work) = exporter.unwrap().unwrap().start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let collector = std::thread::spawn(move || received(&listener));
        let subscriber =
            tracing_subscriber::registry().with(traces.with_filter(tracing_subscriber::filter::filter_fn(ours)));
        let subscriber = tracing::Dispatch::new(subscriber);
        tracing::dispatcher::with_default(&subscriber, || {
            runtime.block_on(async {
                let pass = tracing::info_span!(target: TARGET, "pass", server = "infra/edge", pass = 7_u64);
                let work = async {
                    tracing::info_span!("of the log and not told").in_scope(|| {
                        let operation = tracing::info_span!(target: TARGET, "operation", cause = "MemberDetached", error = tracing::field::Empty);
                        operation.record("error", "the daemon said no");
                    });
                };
                work.instrument(pass).await;
            });
        });
        drop(subscriber);
        // Ends with what there was to send, for nothing can come any more.
        runtime.block_on(work);
        let (head, document) = collector.join().unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(head.contains("content-type: application/json") && head.contains("x-key: abc"), "{head}");
        let scope = &document["resourceSpans"][0]["scopeSpans"][0];
        let [operation, pass] = &scope["spans"].as_array().unwrap()[..] else { panic!("{document:#}") };
        assert_eq!((&operation["name"], &pass["name"]), (&json!("operation"), &json!("pass")));
        assert_eq!((&operation["traceId"], &operation["parentSpanId"]), (&pass["traceId"], &pass["spanId"]));
        assert_eq!(pass["parentSpanId"], "");
        assert_eq!((pass["traceId"].as_str().unwrap().len(), pass["spanId"].as_str().unwrap().len()), (32, 16));
        assert_eq!(operation["status"], json!({ "code": 2, "message": "the daemon said no" }));
        assert_eq!(pass["status"], json!({}));
        assert_eq!(
            pass["attributes"],
            json!([
                { "key": "landfall.server", "value": { "stringValue": "infra/edge" } },
                { "key": "landfall.pass", "value": { "intValue": "7" } },
            ])
        );
        let time = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
        assert!(time(pass, "startTimeUnixNano") <= time(operation, "startTimeUnixNano"));
        assert!(time(operation, "endTimeUnixNano") <= time(pass, "endTimeUnixNano"));
        assert!(time(pass, "startTimeUnixNano") > 1_700_000_000_000_000_000);
    }
}
