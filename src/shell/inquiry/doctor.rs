//! Looks at servers, closer at what matters to their proxies, and names what keeps requests from their applications.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::doctor::{Asked, Examined, Finding, examine, narrow};
use crate::core::observed::{Observations, Unobserved, UnobservedReason};
use crate::shell::engine::{EngineError, Reader};
use crate::shell::observe::details::{Closer, look};
use crate::shell::observe::{Interest, ObserveLimits, observe_all};
use crate::shell::slots::Turns;
use crate::shell::store::known::Known;

/// What was found, as data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    pub findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    pub servers: Vec<Looked>,
}

#[derive(Debug, Serialize)]
pub struct Looked {
    pub server: String,
    pub reachable: bool,
    /// Containers that were inspected.
    pub examined: usize,
}

/// On whose behalf it is looked, and how much is told.
#[derive(Debug, Default)]
pub struct Complaint<'a> {
    /// What it is about; `None`: everything.
    pub object: Option<&'a ObjectKey>,
    /// A request through the proxy, and what came of it.
    pub asked: Option<Asked>,
    /// Also what may be a cause and may be none.
    pub possible: bool,
}

/// Examines the servers that the complaint is about. The second value: how they were seen, or why not.
pub async fn diagnose<R: Reader>(
    declared: &DesiredState,
    complaint: Complaint<'_>,
    connect: impl Fn(&DesiredServer) -> Result<R, EngineError>,
    limits: ObserveLimits,
) -> (Diagnosis, Observations) {
    let Complaint { object, asked, possible } = complaint;
    let mut desired = declared.clone();
    if let Some(object) = object {
        desired.narrow(|key, server| key == object || server.has(object));
    }
    let servers = desired.servers.values().map(AsRef::as_ref);
    let nothing_kept = Known::default();
    let mut observed = observe_all(servers, |_| Interest::Names([].into()), &connect, &nothing_kept, limits).await;
    let closer = look_closer(&desired, &mut observed, &connect, limits).await;
    let (mut findings, mut looked) = (Vec::new(), Vec::new());
    for (key, server) in &desired.servers {
        let Some(Ok(state)) = observed.get(key) else {
            looked.push(Looked { server: key.to_string(), reachable: false, examined: 0 });
            continue;
        };
        let nothing = Closer::default();
        let Closer { details, events } = closer.get(key).unwrap_or(&nothing);
        looked.push(Looked { server: key.to_string(), reachable: true, examined: details.len() });
        let mut found = examine(&Examined { server, observed: state, details, events, asked: asked.as_ref() });
        if let Some(object) = object {
            narrow(&mut found, server, object);
        }
        findings.extend(found);
    }
    let failed = asked.as_ref().is_some_and(Asked::failed);
    findings.retain(|finding| finding.certain || failed || possible);
    (Diagnosis { findings, asked, servers: looked }, observed)
}

/// Looks closer at every server that was observed; one that fails now counts as not observed.
async fn look_closer<R: Reader>(
    desired: &DesiredState,
    observed: &mut Observations,
    connect: impl Fn(&DesiredServer) -> Result<R, EngineError>,
    limits: ObserveLimits,
) -> BTreeMap<ObjectKey, Closer> {
    let looks = observed.iter_mut().filter_map(|(key, seen)| {
        let (server, state) = (desired.servers.get(key)?, seen.as_mut().ok()?);
        let reader = connect(server);
        Some(async move {
            let look = async {
                let reader = reader.map_err(|error| error.to_string())?;
                look(&reader, server, state).await.map_err(|error| error.to_string())
            };
            (key.clone(), in_time(limits.per_server, look).await)
        })
    });
    // Collected: kept as an iterator, the compiler cannot see that the whole may move between threads.
    let looks: Vec<_> = looks.collect();
    let looks = Turns::new(limits.concurrency).all(looks).await;
    let mut closer = BTreeMap::new();
    for (key, look) in looks {
        match look {
            Ok(look) => drop(closer.insert(key, look)),
            Err(message) => {
                let (reason, hint) = (UnobservedReason::ServerUnreachable, None);
                observed.insert(key, Err(Unobserved { reason, message, hint }));
            }
        }
    }
    closer
}

async fn in_time<T>(limit: Duration, look: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("it took longer than {limit:?}"));
    tokio::time::timeout(limit, look).await.unwrap_or_else(late)
}
