//! What a container has used so far, as the daemon counts it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{DockerReader, LARGEST_OBJECT};
use crate::core::observed::ContainerId;
use crate::core::usage::Sample;
use crate::shell::engine::{EngineError, EngineErrorKind};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    read: String,
    cpu_stats: Cpu,
    memory_stats: Memory,
    networks: Option<BTreeMap<String, Network>>,
    blkio_stats: Blocks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: u64,
    limit: u64,
    stats: Option<BTreeMap<String, u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Blocks {
    io_service_bytes_recursive: Option<Vec<Block>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block {
    op: String,
    value: u64,
}

impl DockerReader {
    pub(super) async fn sampled(&self, id: &ContainerId) -> Result<Option<Sample>, EngineError> {
        // Without `one-shot` the daemon takes a second for a look of its own before.
        let path = format!("/containers/{id}/stats?stream=false&one-shot=true");
        match self.get::<Stats>(&path, LARGEST_OBJECT, || format!("measuring container {}", id.short())).await {
            Ok(stats) => Ok(sample(&stats)),
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Of one that does not run the time is that of no clock.
fn sample(stats: &Stats) -> Option<Sample> {
    let at = stats.read.parse::<jiff::Timestamp>().ok().filter(|at| at.as_second() > 0)?.as_nanosecond();
    let memory = &stats.memory_stats;
    // As `docker stats`: what only caches files counts for nothing; its name depends on the control groups' version.
    let cache = memory.stats.as_ref().and_then(|it| it.get("total_inactive_file").or(it.get("inactive_file")).copied());
    let networks = || stats.networks.iter().flat_map(BTreeMap::values);
    let blocks = |op: &str| {
        let all = stats.blkio_stats.io_service_bytes_recursive.iter().flatten();
        all.filter(|it| it.op.eq_ignore_ascii_case(op)).map(|it| it.value).fold(0, u64::saturating_add)
    };
    Some(Sample {
        at,
        cpu: stats.cpu_stats.cpu_usage.total_usage,
        memory: memory.usage.saturating_sub(cache.unwrap_or_default()),
        limit: memory.limit,
        received: networks().map(|it| it.rx_bytes).fold(0, u64::saturating_add),
        sent: networks().map(|it| it.tx_bytes).fold(0, u64::saturating_add),
        read: blocks("read"),
        written: blocks("write"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_of_both_versions_of_control_groups_and_of_none() {
        let of = |text: &str| sample(&serde_json::from_str(text).unwrap());
        let two = r#"{"read":"2026-11-29T12:00:00.5Z","cpu_stats":{"cpu_usage":{"total_usage":7}},
            "memory_stats":{"usage":100,"limit":1000,"stats":{"inactive_file":30}},
            "networks":{"eth0":{"rx_bytes":1,"tx_bytes":2},"eth1":{"rx_bytes":3,"tx_bytes":4}},
            "blkio_stats":{"io_service_bytes_recursive":[{"op":"read","value":5},{"op":"write","value":6}]}}"#;
        let sample = of(two).unwrap();
        assert_eq!((sample.cpu, sample.memory, sample.received, sample.sent), (7, 70, 4, 6));
        assert_eq!((sample.read, sample.written, sample.limit), (5, 6, 1000));
        let one = two.replace("inactive_file", "total_inactive_file").replace("\"op\":\"read\"", "\"op\":\"Read\"");
        assert_eq!(of(&one).unwrap(), sample);
        assert_eq!(of(r#"{"read":"0001-01-01T00:00:00Z","blkio_stats":{"io_service_bytes_recursive":null}}"#), None);
    }
}
