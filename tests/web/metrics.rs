//! `/metrics` as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall::core::api::ObjectKey;
use landfall::core::subnets;
use landfall::shell::controller::board::{BackupState, Levels};
use landfall::shell::store::etcd::keeper::Fleet;
use landfall::shell::store::etcd::share::{Holder, Live, Lock};

use super::inquiry::{manifests, street};
use super::page::{crowded, outpost, town};
use super::served::Served;

/// What a scrape holds, held against the rules of the format and the conventions that `promtool check metrics` knows.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    kinds: BTreeMap<String, String>,
    pub(crate) series: BTreeMap<String, f64>,
}

impl Scrape {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut helped = BTreeSet::new();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help text");
                assert!(helped.insert(name.to_owned()), "help for {name} twice");
                assert!(help.len() > 10, "{name} is hardly explained: {help:?}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert!(helped.contains(name), "{name} has no help before its type");
                assert!(scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "two types of {name}");
                scrape.check_name(name, kind);
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(scrape.series.insert(series.to_owned(), value).is_none(), "{series} twice");
                let name = series.split('{').next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it)).unwrap_or(name);
                assert!(scrape.kinds.contains_key(name) || scrape.kinds.contains_key(family), "{name} has no type");
            }
        }
        scrape
    }

    fn check_name(&self, name: &str, kind: &str) {
        assert!(name.starts_with("landfall_"), "{name}");
        assert!(name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for unit in ["milliseconds", "_ms", "minutes", "kilobytes", "percent"] {
            assert!(!name.contains(unit), "{name} has a unit that is none of the base units");
        }
        for suffix in ["_gauge", "_counter", "_histogram", "_bucket", "_sum", "_count", "_info_total"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
    }

    #[track_caller]
    pub(crate) fn of(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.series))
    }
}

#[test]
fn metrics_keep_to_the_conventions_of_prometheus() {
    let served = Served::new();
    let answer = served.get("/metrics").expect(200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4");
    Scrape::parse(&answer.body);

    served.show(&town());
    served.show(&outpost());
    served.board.count(|counts| {
        counts.took.add(std::time::Duration::from_millis(3));
        counts.took.add(std::time::Duration::from_secs(99));
        counts.drift.insert("MemberDetached".to_owned(), 2);
    });
    let scrape = Scrape::parse(&served.get("/metrics").expect(200).body);
    assert_eq!(scrape.of("landfall_reconcile_duration_seconds_bucket{le=\"0.005\"}"), 1.0);
    assert_eq!(scrape.of("landfall_reconcile_duration_seconds_bucket{le=\"30\"}"), 1.0);
    assert_eq!(scrape.of("landfall_reconcile_duration_seconds_bucket{le=\"+Inf\"}"), 2.0);
    assert_eq!(scrape.of("landfall_reconcile_duration_seconds_count"), 2.0);
    assert_eq!(scrape.of("landfall_drift_found_total{cause=\"MemberDetached\"}"), 2.0);
    assert_eq!(scrape.of("landfall_server_reachable{server=\"default/edge-1\"}"), 1.0);
    assert_eq!(scrape.of("landfall_server_reachable{server=\"default/outpost\"}"), 0.0);
    assert_eq!(scrape.of("landfall_destinations{server=\"default/edge-1\",ready=\"true\"}"), 2.0);
    assert_eq!(scrape.of("landfall_destinations{server=\"default/outpost\",ready=\"unknown\"}"), 1.0);
    assert_eq!(scrape.of("landfall_destinations_unused{server=\"default/edge-1\"}"), 1.0);
    assert!(scrape.of("landfall_server_last_success_timestamp_seconds{server=\"default/edge-1\"}") > 1.7e9);
    assert!(!scrape.series.contains_key("landfall_server_last_success_timestamp_seconds{server=\"default/outpost\"}"));
    assert_eq!(scrape.of(&format!("landfall_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}

/// Nothing that comes and goes is a label: a million containers are as many series as one.
#[test]
fn the_number_of_series_follows_the_servers_and_nothing_else() {
    let served = Served::new();
    served.show(&super::page::many(10));
    let few = Scrape::parse(&served.get("/metrics").body).series.len();
    served.show(&super::page::many(500));
    let many = Scrape::parse(&served.get("/metrics").body).series.len();
    assert_eq!(few, many);
}

#[test]
fn every_metric_is_documented() {
    let (served, host) = (Served::that_measures(), street());
    served.declare(&manifests(&host));
    served.measure();
    served.show(&town());
    served.board.count(|counts| {
        counts.drift.insert("MemberDetached".to_owned(), 1);
        counts.repairs.insert("MemberDetached".to_owned(), 1);
        counts.operations.insert(("ConnectEndpoint", "Done"), 1);
        counts.notices.insert("sent", 1);
    });
    show_addresses(&served);
    share(&served);
    let now = jiff::Timestamp::now();
    served.board.update(|board| {
        board.manifests.loaded = Some(now);
        let orders = ("Database/shop/orders".parse().unwrap(), "Server/default/edge-1".parse().unwrap());
        board.backups.insert(orders, BackupState { last_success: Some(now), ..BackupState::default() });
    });
    let mut table = String::from("| metric | type | |\n|---|---|---|\n");
    let text = served.get("/metrics").expect(200).body;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("# "));
    while let (Some(help), Some(kind)) = (lines.next(), lines.next()) {
        let (name, help) = help.strip_prefix("HELP ").unwrap().split_once(' ').unwrap();
        let kind = kind.rsplit(' ').next().unwrap();
        table.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
    }
    for name in named_in_the_source() {
        assert!(table.contains(&format!("| `{name}` |")), "nothing is shown here that {name} would be told of");
    }
    crate::documents::generated("docs/reference/http.md", "metrics", &table);
}

/// Every metric that there is a line for, whether or not it has a series here.
fn named_in_the_source() -> BTreeSet<String> {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/shell/web/metrics.rs")).unwrap();
    let is_name = |it: &&str| it.starts_with("landfall_") && it.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
    let names: BTreeSet<String> = source.split('"').filter(is_name).map(str::to_owned).collect();
    assert!(names.len() > 30, "{names:?}");
    names
}

/// What a pass finds out of the addresses of a server that has few left.
fn show_addresses(served: &Served) {
    let scenario = crowded();
    served.show(&scenario);
    for (key, server) in &scenario.desired.servers {
        let usage = subnets::of_server(server, scenario.observed[key].as_ref().unwrap());
        served.board.update(|board| {
            Arc::make_mut(board.servers.get_mut(&key.path()).unwrap()).usage = Some(Levels::of(&usage));
        });
    }
}

/// A store that is shared, in which this controller has all servers.
fn share(served: &Served) {
    let own = "here".to_owned();
    let holder = Holder { controller: own.clone(), since: jiff::Timestamp::now() };
    let lock = Lock { holder, created: 1, lease: 1 };
    served.board.update(|board| {
        let locks: BTreeMap<ObjectKey, Lock> =
            board.declared.servers.keys().map(|server| (server.clone(), lock.clone())).collect();
        let live = Arc::new(Live { locks, ..Live::default() });
        board.fleet = Some(Arc::new(Fleet { own, live, ..Fleet::default() }));
    });
}
