//! `/metrics`, in the text format of Prometheus.
//!
//! Cardinality is bounded by what is declared: servers are labels, destinations and containers are only counted; with `--usage` what is used
//! is told by destination and resource, of which there are so many at most.
//!
//! The format is the library's. The families are made here from what the controller knows already: in `prometheus` without protobuf they are plain values.
//! prometheus-client would have the same series go through its encoder, in a registry made anew for each request, and nothing would become shorter.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{TEXT_FORMAT, TextEncoder};

use super::meter::Measured;
use super::view::{Standing, View};
use super::{Problem, WebState};
use crate::core::api::ObjectKey;
use crate::core::usage::Usage;
use crate::shell::controller::board::{Content, Durations};

pub(super) async fn metrics(State(state): State<WebState>) -> Result<Response, Problem> {
    let mut families = families(&View::new(state.board.snapshot()), state.streams_open());
    families.extend(of_usage(&state.meter.read()));
    let text = TextEncoder::new().encode_to_string(&families).map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}

fn families(view: &View, streams: usize) -> Vec<MetricFamily> {
    let content = view.content();
    let counts = &content.counts;
    let mut all = vec![
        gauge("landfall_build_info", "Always 1; the version is a label.", [(vec![version()], 1.0)]),
        gauge("landfall_start_time_seconds", "When the controller started.", one(seconds(content.started))),
        counter("landfall_reconciles_total", "Passes over a server that ended.", one(whole(counts.passes))),
        counter(
            "landfall_reconciles_failed_total",
            "Passes that could not begin or broke off; a pass over an unreachable server is none.",
            one(whole(counts.failed_passes)),
        ),
        histogram("landfall_reconcile_duration_seconds", "How long a pass over a server took.", &counts.took),
        gauge(
            "landfall_queue_depth",
            "Servers that are known to need a pass and wait for one.",
            one(whole(counts.waiting as u64)),
        ),
        counter(
            "landfall_drift_found_total",
            "What had been as declared and no longer was, by cause.",
            counts.drift.iter().map(|(cause, count)| (vec![label("cause", cause)], whole(*count))),
        ),
        counter(
            "landfall_drift_healed_total",
            "Operations that put back what had been as declared, by cause.",
            counts.repairs.iter().map(|(cause, count)| (vec![label("cause", cause)], whole(*count))),
        ),
        counter(
            "landfall_operations_total",
            "Calls that change something on a server, by operation and outcome.",
            counts.operations.iter().map(|((operation, outcome), count)| {
                (vec![label("operation", operation), label("outcome", outcome)], whole(*count))
            }),
        ),
        counter("landfall_events_total", "Events of the servers that were taken.", one(whole(counts.events))),
        counter(
            "landfall_events_lost_total",
            "Events that were not taken because too many waited. The resync stands in for them.",
            one(whole(counts.lost_events)),
        ),
        counter(
            "landfall_event_streams_lost_total",
            "Streams of events that ended without having been closed.",
            one(whole(counts.lost_streams)),
        ),
        counter(
            "landfall_notices_total",
            "Notices to notifiers by what became of them: sent, failed after all attempts, or dropped because there were too many.",
            counts.notices.iter().map(|(outcome, count)| (vec![label("outcome", outcome)], whole(*count))),
        ),
        gauge(
            "landfall_http_event_streams",
            "Readers of the stream of changes at present.",
            one(whole(streams as u64)),
        ),
    ];
    let backups = || content.backups.iter();
    let of = |(object, server): &(ObjectKey, ObjectKey)| {
        vec![label("object", &object.to_string()), label("server", &server.path())]
    };
    all.extend([
        gauge(
            "landfall_backup_last_success_timestamp_seconds",
            "When the newest backup of a resource with a schedule was made.",
            backups().filter_map(|(key, state)| Some((of(key), seconds(state.last_success?)))),
        ),
        gauge(
            "landfall_backup_failed",
            "1 where the last backup that was due of a resource with a schedule was not written.",
            backups().map(|(key, state)| (of(key), f64::from(u8::from(state.problem.is_some())))),
        ),
    ]);
    all.extend(of_fleet(content));
    all.extend(of_manifests(content));
    all.extend(of_servers(view));
    // One without a series yet is nothing that the format could say.
    all.retain(|family| !family.get_metric().is_empty());
    all
}

/// Where there are several controllers.
fn of_fleet(content: &Content) -> [MetricFamily; 3] {
    let fleet = content.fleet.as_deref();
    let held = fleet.map(|fleet| fleet.live.held_by(&fleet.own).count());
    [
        gauge(
            "landfall_controllers",
            "Controllers that share the store. Absent without --store, as the next two.",
            fleet.map(|fleet| (Vec::new(), whole(fleet.live.members.len() as u64))),
        ),
        gauge(
            "landfall_servers_held",
            "Servers whose locks this controller has.",
            held.map(|held| (Vec::new(), whole(held as u64))),
        ),
        gauge(
            "landfall_store_reachable",
            "Whether the shared store does what is asked of it.",
            fleet.map(|fleet| (Vec::new(), truth(fleet.trouble.is_none()))),
        ),
    ]
}

fn of_manifests(content: &Content) -> [MetricFamily; 3] {
    let manifests = &content.manifests;
    let valid = manifests.generation > 0 && manifests.problems.is_empty();
    [
        gauge("landfall_manifests_valid", "Whether the manifests as they are now are in force.", one(truth(valid))),
        gauge(
            "landfall_manifests_generation",
            "Counts the valid manifests that were read since the start.",
            one(whole(manifests.generation)),
        ),
        gauge(
            "landfall_manifests_loaded_timestamp_seconds",
            "When the manifests in force were read.",
            manifests.loaded.iter().map(|loaded| (Vec::new(), seconds(*loaded))),
        ),
    ]
}

fn of_servers(view: &View) -> Vec<MetricFamily> {
    // Those of other controllers are for them to tell: the same server would be there twice, and its times would be old.
    let own = |name: &str| view.content().is_own(name);
    let servers = || view.content().servers.iter().filter(|(name, _)| own(name));
    let at = |name: &str| vec![label("server", name)];
    vec![
        gauge(
            "landfall_server_reachable",
            "Whether the last pass saw the server.",
            servers().map(|(name, server)| (at(name), truth(server.reachable))),
        ),
        gauge(
            "landfall_server_broken_passes",
            "Passes in a row that ended before anything was known, for a reason of the controller's own.",
            servers().map(|(name, server)| (at(name), whole(u64::from(server.broken)))),
        ),
        gauge(
            "landfall_server_last_pass_timestamp_seconds",
            "When the last pass over the server ended.",
            servers().map(|(name, server)| (at(name), seconds(server.finished))),
        ),
        gauge(
            "landfall_server_last_success_timestamp_seconds",
            "When a pass last saw the server and nothing in it failed.",
            servers().filter_map(|(name, server)| Some((at(name), seconds(server.last_success?)))),
        ),
        gauge(
            "landfall_destinations",
            "Declared destinations by server and by whether they are ready: true, false or unknown.",
            view.standing().into_iter().filter(|(name, _)| own(name)).flat_map(|(name, tally)| {
                Standing::ALL.map(|standing| {
                    let labels = vec![label("server", &name), label("ready", standing.label())];
                    (labels, whole(tally.of(standing) as u64))
                })
            }),
        ),
        gauge(
            "landfall_destinations_unused",
            "Declared destinations with a network that no container but the proxy is on, by server.",
            servers().filter_map(|(name, server)| Some((at(name), whole(server.facts.as_ref()?.unused as u64)))),
        ),
        gauge(
            "landfall_refusals",
            "What is refused on a server at present: blocked deletions, adoptions that no manifest asks for, and the like.",
            servers().map(|(name, server)| (at(name), whole(server.report.summary().refused as u64))),
        ),
        gauge(
            "landfall_addresses_free_fewest",
            "Addresses that the network of a declared destination has left: those of the one that has the fewest.",
            servers().filter_map(|(name, server)| Some((at(name), whole(server.usage.as_ref()?.fewest?)))),
        ),
        gauge(
            "landfall_address_pool_networks_free",
            "Networks that the daemon's own address pools have room for.",
            servers().filter_map(|(name, server)| Some((at(name), whole(server.usage.as_ref()?.networks_left)))),
        ),
        gauge(
            "landfall_addresses_low",
            "Addresses left to destinations of which less than a tenth is left; none for the others.",
            servers().flat_map(|(name, server)| {
                server.usage.iter().flat_map(|usage| &usage.low).map(move |(destination, subnet, _, free)| {
                    let further = [label("destination", destination), label("subnet", subnet)];
                    (vec![label("server", name)].into_iter().chain(further).collect(), whole(*free))
                })
            }),
        ),
    ]
}

/// Where the controller measures what containers use.
fn of_usage(measured: &Measured) -> Vec<MetricFamily> {
    let series = |value: fn(&Usage) -> f64| {
        measured.uses.iter().map(move |((server, destination, resource), usage)| {
            let labels = [("server", server), ("destination", destination), ("resource", resource)];
            (labels.map(|(name, text)| label(name, text)).to_vec(), value(usage))
        })
    };
    if measured.uses.is_empty() {
        return Vec::new();
    }
    vec![
        gauge(
            "landfall_usage_cpu_cores",
            "Processors in use by the containers of a resource on a destination; the resource is empty where no manifest declares any. With run --usage, as the next six.",
            series(|usage| usage.cpu),
        ),
        gauge("landfall_usage_memory_bytes", "Memory that they use.", series(|usage| whole(usage.memory))),
        gauge(
            "landfall_usage_network_received_bytes_per_second",
            "What they receive over all of their networks.",
            series(|usage| usage.received),
        ),
        gauge(
            "landfall_usage_network_sent_bytes_per_second",
            "What they send over all of their networks.",
            series(|usage| usage.sent),
        ),
        gauge("landfall_usage_disk_read_bytes_per_second", "What they read from disks.", series(|usage| usage.read)),
        gauge(
            "landfall_usage_disk_written_bytes_per_second",
            "What they write to disks.",
            series(|usage| usage.written),
        ),
        gauge(
            "landfall_usage_containers_omitted",
            "Containers that are not in the figures, for there are more than 20,000 resources and destinations.",
            one(whole(measured.omitted as u64)),
        ),
    ]
}

type Series = (Vec<LabelPair>, f64);

fn one(value: f64) -> [Series; 1] {
    [(Vec::new(), value)]
}

#[allow(clippy::cast_precision_loss, reason = "counts do not come near 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

fn version() -> LabelPair {
    label("version", env!("CARGO_PKG_VERSION"))
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn gauge(name: &str, help: &str, series: impl IntoIterator<Item = Series>) -> MetricFamily {
    let metric = |(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(labels);
        metric.set_gauge(gauge);
        metric
    };
    family(name, help, MetricType::GAUGE, series.into_iter().map(metric).collect())
}

fn counter(name: &str, help: &str, series: impl IntoIterator<Item = Series>) -> MetricFamily {
    let metric = |(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(labels);
        metric.set_counter(counter);
        metric
    };
    family(name, help, MetricType::COUNTER, series.into_iter().map(metric).collect())
}

fn histogram(name: &str, help: &str, took: &Durations) -> MetricFamily {
    let mut total = 0;
    let mut buckets = Vec::new();
    for (count, bound) in took.counts.iter().zip(Durations::BOUNDS) {
        total += count;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(total);
        bucket.set_upper_bound(bound);
        buckets.push(bucket);
    }
    // Whatever took longer is in the bucket that the encoder adds.
    let mut histogram = Histogram::default();
    histogram.set_sample_count(took.counts.iter().sum());
    histogram.set_sample_sum(took.sum.as_secs_f64());
    histogram.set_bucket(buckets);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(name, help, MetricType::HISTOGRAM, vec![metric])
}
