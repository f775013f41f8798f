//! The sections of an object's page that are filled when somebody asks for them: what the doctor finds, what containers use, and what they print.

use super::parts::href;
use crate::core::api::{Kind, ObjectKey};
use crate::core::doctor::Finding;
use crate::core::printable::bytes;
use crate::core::usage::{ContainerUsage, Usage};
use crate::shell::inquiry::doctor::Diagnosis;
use crate::shell::web::guard::Trusted;
use crate::shell::web::inquiry::{Printed, Used, examine, printed, used};
use crate::shell::web::{Problem, WebState};

/// Lines of each container.
const LINES: usize = 100;

/// What is asked for, by the word in the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Look {
    Doctor,
    Usage,
    Logs,
}

/// A section, with its content where it was asked for.
pub(super) struct Section<T> {
    /// Where its content is asked for.
    pub(super) href: String,
    pub(super) content: Option<Result<T, String>>,
}

/// What the servers say of an object beyond what passes see.
pub(super) struct Inquiries {
    pub(super) doctor: Option<Section<Found>>,
    pub(super) usage: Option<Section<Table>>,
    pub(super) logs: Option<Section<Vec<Printed>>>,
}

pub(super) struct Found {
    pub(super) findings: Vec<FindingLine>,
    pub(super) says: String,
}

pub(super) struct FindingLine {
    pub(super) cause: String,
    pub(super) object: String,
    pub(super) href: Option<String>,
    pub(super) message: String,
    pub(super) seen: String,
    pub(super) evidence: Vec<String>,
    pub(super) advice: Option<String>,
    pub(super) fix: Vec<String>,
}

pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) problems: Vec<String>,
}

pub(super) struct Row {
    pub(super) container: String,
    pub(super) resource: String,
    pub(super) href: Option<String>,
    pub(super) cpu: String,
    pub(super) memory: String,
    pub(super) network: String,
    pub(super) disks: String,
    /// The last one adds up the others.
    pub(super) total: bool,
}

impl Inquiries {
    /// Asks what is asked for. An error where whoever asks has to say first who that is.
    pub(super) async fn new(
        state: &WebState,
        key: &ObjectKey,
        look: Option<Look>,
        trusted: Trusted,
    ) -> Result<Self, Problem> {
        let object = href(&key.to_string());
        let section = |word: &str| format!("{object}?look={word}#{word}");
        let asked = |it| look == Some(it);
        let is_resource = matches!(key.kind, Kind::Application | Kind::Database | Kind::Service);
        let doctor = match asked(Look::Doctor) {
            true => Some(examine(state, key, false).await.map(Found::new).map_err(|problem| problem.message)),
            false => None,
        };
        let usage = match asked(Look::Usage) && state.usage {
            true => Some(used(state, key).await.map(Table::new).map_err(|problem| problem.message)),
            false => None,
        };
        let logs = match asked(Look::Logs) && is_resource {
            true => match printed(state, key, trusted, LINES).await {
                Err(problem) if problem.status == axum::http::StatusCode::UNAUTHORIZED => return Err(problem),
                answered => Some(answered.map_err(|problem| problem.message)),
            },
            false => None,
        };
        // Of a database it can say nothing: no proxy leads there.
        let examined = !matches!(key.kind, Kind::Database | Kind::Notifier);
        Ok(Self {
            doctor: examined.then(|| Section { href: section("doctor"), content: doctor }),
            usage: state.usage.then(|| Section { href: section("usage"), content: usage }),
            logs: is_resource.then(|| Section { href: section("logs"), content: logs }),
        })
    }
}

impl Found {
    fn new(diagnosis: Diagnosis) -> Self {
        let examined: usize = diagnosis.servers.iter().map(|server| server.examined).sum();
        let unreachable = diagnosis.servers.iter().filter(|server| !server.reachable).count();
        let containers = super::parts::count(examined, "container");
        let unseen = match unreachable {
            0 => String::new(),
            some => format!("; {} could not be observed", super::parts::count(some, "server")),
        };
        let found = match diagnosis.findings.len() {
            0 => "Nothing found".to_owned(),
            some => format!("{} found", super::parts::count(some, "cause")),
        };
        Self {
            says: format!("{found}: {containers} examined{unseen}."),
            findings: diagnosis.findings.into_iter().map(FindingLine::new).collect(),
        }
    }
}

impl FindingLine {
    fn new(finding: Finding) -> Self {
        let object = finding.object.unwrap_or(finding.server);
        Self {
            cause: finding.cause.to_string(),
            href: object.parse::<ObjectKey>().is_ok().then(|| href(&object)),
            object,
            message: finding.message,
            seen: finding.seen,
            evidence: finding.evidence,
            advice: finding.advice,
            fix: finding.fix,
        }
    }
}

impl Table {
    fn new(used: Used) -> Self {
        let mut total = Usage::default();
        // A container on several destinations is one.
        let mut seen = std::collections::BTreeSet::new();
        let mut rows = Vec::new();
        for container in &used.containers {
            if seen.insert((&container.server, &container.container)) {
                total.add(&container.usage);
                rows.push(Row::of(container));
            }
        }
        if rows.len() > 1 {
            rows.push(Row { container: "All".to_owned(), total: true, ..Row::new(&total, None) });
        }
        Self { rows, problems: used.problems }
    }
}

impl Row {
    fn new(usage: &Usage, limit: Option<u64>) -> Self {
        let rate = |one: f64, other: f64| format!("{} / {}", bytes(one as u64), bytes(other as u64));
        let limit = limit.map(|limit| format!(" of {}", bytes(limit))).unwrap_or_default();
        Self {
            container: String::new(),
            resource: String::new(),
            href: None,
            cpu: format!("{:.2}", usage.cpu),
            memory: format!("{}{limit}", bytes(usage.memory)),
            network: rate(usage.received, usage.sent),
            disks: rate(usage.read, usage.written),
            total: false,
        }
    }

    fn of(container: &ContainerUsage) -> Self {
        Self {
            container: container.container.clone(),
            href: container.resource.as_deref().map(href),
            resource: container.resource.clone().unwrap_or_default(),
            ..Self::new(&container.usage, container.memory_limit)
        }
    }
}
