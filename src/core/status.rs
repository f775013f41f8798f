//! Status of the declared objects: what there is, and conditions in the manner of the Kubernetes API.
//!
//! Conditions follow from the facts and from a report: outstanding operations and notes say what is not as declared and why. An object of a
//! server that was not observed is `Unknown`, never missing.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::core::api::{Condition, ConditionStatus, Kind, ObjectKey, Statement};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredState};
use crate::core::observed::{Observations, Unobserved};
use crate::core::plan::facts::{DestinationFacts, EndpointFacts, MemberFacts, SERVICE, ServerFacts, facts};
use crate::core::plan::{Call, Cause, Note, NoteKind, Operation, Reason};
use crate::core::printable::capitalized;
use crate::core::report::{Failure, Outcome, Report};

/// Reason of `ProxyConnected` where the destination asks for no proxy: False as it should be, True where there is one all the same.
pub const NOT_WANTED: &str = "NotWanted";

/// Status of everything that is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// `None`: not observed.
    pub servers: BTreeMap<ObjectKey, Option<ServerFacts>>,
    pub conditions: BTreeMap<ObjectKey, Vec<Condition>>,
}

impl Status {
    /// `report`: of the plan for these two states, executed or not.
    pub fn new(desired: &DesiredState, observed: &Observations, report: &Report) -> Self {
        let mut status = Self { servers: BTreeMap::new(), conditions: BTreeMap::new() };
        let said = Said::new(report);
        let mut resources: BTreeMap<ObjectKey, Vec<Part>> = BTreeMap::new();
        for server in desired.servers.values() {
            let seen = observed.get(&server.key).map(Result::as_ref);
            let facts = facts(desired, server, observed);
            let unobserved = seen.and_then(Result::err);
            let mut readiness = Vec::new();
            for destination in &server.destinations {
                let facts = facts.as_ref().and_then(|facts| {
                    facts.destinations.iter().find(|(key, _)| *key == destination.key).map(|(_, facts)| facts)
                });
                let looked = Looked { server, destination, facts, unobserved };
                let conditions = looked.conditions(&said);
                if !destination.suspend {
                    readiness
                        .push((&destination.key, conditions.iter().find(|it| it.condition_type == "Ready").cloned()));
                }
                status.conditions.insert(destination.key.clone(), conditions);
                for member in &destination.members {
                    resources.entry(member.resource.clone()).or_default().push(looked.part(&member.resource));
                }
            }
            let conditions = server_conditions(server, facts.as_ref(), unobserved, &said, &readiness);
            status.conditions.insert(server.key.clone(), conditions);
            status.servers.insert(server.key.clone(), facts);
        }
        for (resource, parts) in resources {
            let conditions = resource_conditions(&resource, &parts, &said);
            status.conditions.insert(resource, conditions);
        }
        status
    }

    pub fn condition(&self, object: &ObjectKey, condition_type: &str) -> Option<&Condition> {
        self.conditions.get(object)?.iter().find(|condition| condition.condition_type == condition_type)
    }

    /// The facts of a declared destination; `None` where its server was not observed.
    pub fn destination(&self, server: &ObjectKey, key: &ObjectKey) -> Option<&DestinationFacts> {
        let facts = self.servers.get(server)?.as_ref()?;
        facts.destinations.iter().find(|(other, _)| other == key).map(|(_, facts)| facts)
    }
}

/// What the report says, by object.
struct Said<'a> {
    operations: BTreeMap<ObjectKey, Vec<(Operation, &'a Outcome)>>,
    notes: BTreeMap<&'a ObjectKey, Vec<&'a Note>>,
}

impl<'a> Said<'a> {
    fn new(report: &'a Report) -> Self {
        let mut said = Self { operations: BTreeMap::new(), notes: BTreeMap::new() };
        for server in &report.servers {
            for it in &server.operations {
                for part in it.operation.parts() {
                    said.operations.entry(part.object.clone()).or_default().push((part, &it.outcome));
                }
            }
        }
        for note in report.servers.iter().flat_map(|server| &server.notes).chain(&report.notes) {
            said.notes.entry(&note.object).or_default().push(note);
        }
        said
    }

    fn notes(&self, object: &ObjectKey, kind: NoteKind) -> impl Iterator<Item = &'a Note> {
        self.notes.get(object).into_iter().flatten().copied().filter(move |note| note.kind == kind)
    }

    /// Why the server's proxy cannot be connected anywhere.
    fn about_proxy(&self, server: &ObjectKey) -> Option<&'a Note> {
        let unreachable = self.notes(server, NoteKind::Refused).find(|note| note.reason == Reason::WrongScope);
        unreachable.or_else(|| self.notes(server, NoteKind::Waiting).next())
    }

    fn operations(&self, object: &ObjectKey) -> impl Iterator<Item = (&Operation, &'a Outcome)> {
        self.operations.get(object).into_iter().flatten().map(|(operation, outcome)| (operation, *outcome))
    }
}

/// Everything about one or several objects, digested.
#[derive(Default)]
struct Digest<'a> {
    /// Planned or skipped.
    outstanding: Vec<&'a Operation>,
    failed: Vec<(&'a Operation, &'a Failure)>,
    refused: Vec<&'a Note>,
    waiting: Vec<&'a Note>,
}

impl<'a> Digest<'a> {
    fn operations(&mut self, operations: impl Iterator<Item = (&'a Operation, &'a Outcome)>) {
        for (operation, outcome) in operations {
            match outcome {
                Outcome::Planned | Outcome::Skipped => self.outstanding.push(operation),
                Outcome::Failed(failure) => self.failed.push((operation, failure)),
                Outcome::Done => {}
            }
        }
    }

    fn notes(&mut self, said: &'a Said<'a>, object: &ObjectKey) {
        // What is no longer declared waits for an approval: of what is declared that says nothing.
        let withheld = |note: &&Note| note.reason == Reason::MassDeletionRefused;
        self.refused.extend(said.notes(object, NoteKind::Refused).filter(|note| !withheld(note)));
        self.waiting.extend(said.notes(object, NoteKind::Waiting));
    }

    /// Why it is not as it should be: what differs, or what is waited for.
    fn trouble(&self) -> Option<(String, String)> {
        let waiting = || self.waiting.first().map(|note| (note.reason.to_string(), note.message.clone()));
        self.difference().or_else(waiting)
    }

    /// Why it is not as declared: what failed, what was refused, what is outstanding. What is waited for is no difference.
    fn difference(&self) -> Option<(String, String)> {
        if let Some((operation, failure)) = self.failed.first() {
            let reason = failure.reason.map_or("OperationFailed", Reason::as_str);
            return Some((reason.to_owned(), format!("{}: {}", operation.call, failure.message)));
        }
        if let Some(note) = self.refused.first() {
            return Some((note.reason.to_string(), note.message.clone()));
        }
        self.outstanding.first().map(|operation| (operation.cause.to_string(), sentence(operation.cause)))
    }

    /// `Reconciling` and `Stalled`, as every object has them.
    fn progress(&self) -> [Condition; 2] {
        let reconciling = match self.outstanding.first() {
            Some(operation) => {
                let count = match self.outstanding.len() {
                    1 => "1 operation is outstanding".to_owned(),
                    count => format!("{count} operations are outstanding"),
                };
                let message = format!("{count}; `landfall diff` shows what, `landfall apply` does it.");
                condition("Reconciling", ConditionStatus::True, operation.cause.as_str(), message)
            }
            None => condition("Reconciling", ConditionStatus::False, "NothingOutstanding", ""),
        };
        let stalled = if self.failed.is_empty() && self.refused.is_empty() {
            condition("Stalled", ConditionStatus::False, "NothingRefused", "")
        } else {
            let (reason, message) = self.difference().unwrap_or_default();
            condition("Stalled", ConditionStatus::True, &reason, message)
        };
        [reconciling, stalled]
    }
}

fn condition(condition_type: &str, status: ConditionStatus, reason: &str, message: impl Into<SmolStr>) -> Condition {
    Condition::from(Statement {
        condition_type: condition_type.into(),
        status,
        reason: reason.into(),
        message: message.into(),
        observed_generation: None,
        last_transition_time: None,
    })
}

fn truth(holds: bool) -> ConditionStatus {
    if holds { ConditionStatus::True } else { ConditionStatus::False }
}

/// A cause as a sentence.
fn sentence(cause: Cause) -> String {
    format!("{}.", capitalized(cause.explain()))
}

fn unknown(condition_type: &str, server: &ObjectKey, unobserved: Option<&Unobserved>) -> Condition {
    let (reason, message) = unobserved_reason(server, unobserved);
    condition(condition_type, ConditionStatus::Unknown, reason, message)
}

fn unobserved_reason(server: &ObjectKey, unobserved: Option<&Unobserved>) -> (&'static str, String) {
    match unobserved {
        Some(unobserved) => (Reason::from(unobserved.reason).as_str(), unobserved.message.clone()),
        None => (Reason::ServerUnreachable.as_str(), format!("{server} was not observed.")),
    }
}

fn server_conditions(
    server: &DesiredServer,
    facts: Option<&ServerFacts>,
    unobserved: Option<&Unobserved>,
    said: &Said<'_>,
    destinations: &[(&ObjectKey, Option<Condition>)],
) -> Vec<Condition> {
    let Some(facts) = facts else {
        let (reason, message) = unobserved_reason(&server.key, unobserved);
        return vec![
            unknown("Ready", &server.key, unobserved),
            condition("Reconciling", ConditionStatus::False, reason, ""),
            condition("Stalled", ConditionStatus::True, reason, message.clone()),
            match reason {
                // Nobody has asked it.
                it if it == Reason::PassFailed.as_str() => unknown("Reachable", &server.key, unobserved),
                reason => condition("Reachable", ConditionStatus::False, reason, message),
            },
        ];
    };
    let mut digest = Digest::default();
    digest.operations(said.operations(&server.key));
    digest.notes(said, &server.key);
    let engine = format!("Docker Engine {} on {}.", facts.engine.version, facts.engine.name);
    let ready = if server.suspend {
        condition("Ready", ConditionStatus::Unknown, Reason::Suspended.as_str(), "Left as it is: `suspend: true`.")
    } else if let Some((reason, message)) = digest.trouble() {
        condition("Ready", ConditionStatus::False, &reason, message)
    } else {
        let ready = destinations.iter().filter_map(|(key, ready)| Some((*key, ready.as_ref()?)));
        let mut worst = ready.filter(|(_, ready)| ready.status != ConditionStatus::True);
        match worst.clone().find(|(_, ready)| ready.status == ConditionStatus::False).or_else(|| worst.next()) {
            Some((key, it)) => condition("Ready", it.status, &it.reason, format!("{key}: {}", it.message)),
            None => condition("Ready", ConditionStatus::True, "Reachable", ""),
        }
    };
    let mut conditions = vec![ready];
    conditions.extend(digest.progress());
    conditions.push(condition("Reachable", ConditionStatus::True, "Answered", engine));
    conditions
}

/// A destination as it was looked at.
struct Looked<'a> {
    server: &'a DesiredServer,
    destination: &'a DesiredDestination,
    facts: Option<&'a DestinationFacts>,
    unobserved: Option<&'a Unobserved>,
}

impl Looked<'_> {
    fn conditions(&self, said: &Said<'_>) -> Vec<Condition> {
        let Self { server, destination, facts, unobserved } = self;
        let active = match destination.active {
            true => condition("Active", ConditionStatus::True, "Declared", ""),
            false => condition(
                "Active",
                ConditionStatus::False,
                Cause::Deactivated.as_str(),
                "`active: false`: the network is kept, the proxy is disconnected, the declared resources are stopped.",
            ),
        };
        let deleting = self.deleting(said);
        let Some(facts) = facts else {
            let (reason, message) = unobserved_reason(&server.key, *unobserved);
            let mut conditions = vec![
                unknown("Ready", &server.key, *unobserved),
                condition("Reconciling", ConditionStatus::Unknown, reason, ""),
                condition("Stalled", ConditionStatus::True, reason, message),
            ];
            let types = ["NetworkExists", "ProxyConnected", "MembersConnected", "InSync"];
            conditions.extend(types.map(|name| condition(name, ConditionStatus::Unknown, reason, "")));
            conditions.extend([deleting, active]);
            return conditions;
        };

        // Only a manager knows the networks of a Swarm: where none can be asked, nobody does.
        let blind = said.notes(&destination.key, NoteKind::Refused).find(|it| it.reason == Reason::NotASwarmManager);
        if let Some(note) = blind {
            let unknown = |name| condition(name, ConditionStatus::Unknown, note.reason.as_str(), "");
            let reason = note.reason.as_str();
            let mut conditions = vec![
                condition("Ready", ConditionStatus::Unknown, reason, note.message.clone()),
                condition("Reconciling", ConditionStatus::Unknown, reason, ""),
                condition("Stalled", ConditionStatus::True, reason, note.message.clone()),
            ];
            conditions.extend(["NetworkExists", "ProxyConnected", "MembersConnected", "InSync"].map(unknown));
            conditions.extend([deleting, active]);
            return conditions;
        }
        let own = self.digest(said, &[]);
        let members: Vec<&ObjectKey> = destination.members.iter().map(|member| &member.resource).collect();
        let all = self.digest(said, &members);
        let exists = network_exists(facts, &own);
        let (proxy, proxy_matters) = self.proxy_connected(facts, said);
        let connected = self.members_connected(facts, said);
        let suspended = destination.suspend || server.suspend;
        let in_sync = if suspended {
            condition("InSync", ConditionStatus::Unknown, Reason::Suspended.as_str(), "")
        } else if let Some((reason, message)) = all.difference() {
            condition("InSync", ConditionStatus::False, &reason, message)
        } else {
            condition("InSync", ConditionStatus::True, "AsDeclared", "")
        };
        let ready = if suspended {
            condition("Ready", ConditionStatus::Unknown, Reason::Suspended.as_str(), "Left as it is: `suspend: true`.")
        } else {
            let parts = [Some(&exists), Some(&proxy).filter(|_| proxy_matters), Some(&connected), Some(&in_sync)];
            match parts.into_iter().flatten().find(|part| part.status != ConditionStatus::True) {
                Some(part) => condition("Ready", ConditionStatus::False, &part.reason, part.message.clone()),
                None if !destination.active => {
                    condition("Ready", ConditionStatus::True, Cause::Deactivated.as_str(), "")
                }
                None => condition("Ready", ConditionStatus::True, "AsDeclared", ""),
            }
        };
        let mut conditions = vec![ready];
        conditions.extend(all.progress());
        conditions.extend([exists, proxy, connected, in_sync, deleting, active]);
        conditions
    }

    /// What is said about the destination, and about `members` as far as it is about this destination.
    fn digest<'a>(&self, said: &'a Said<'a>, members: &[&ObjectKey]) -> Digest<'a> {
        let mut digest = Digest::default();
        digest.operations(said.operations(&self.destination.key));
        digest.notes(said, &self.destination.key);
        for member in members {
            let network = self.network_name();
            digest.operations(said.operations(member).filter(|(operation, _)| {
                operation.call.network().is_none() || operation.call.network() == network.as_deref()
            }));
            digest.notes(said, member);
        }
        digest
    }

    fn network_name(&self) -> Option<String> {
        let present = self.facts.and_then(|facts| facts.network.as_ref()).map(|network| network.name.clone());
        present.or_else(|| self.destination.network.name.clone())
    }

    /// The second value: whether it matters to the destination.
    fn proxy_connected(&self, facts: &DestinationFacts, said: &Said<'_>) -> (Condition, bool) {
        let wanted = self.destination.proxy && self.destination.active && self.server.proxy.is_some();
        let connected = facts.proxy.as_ref().is_some_and(|proxy| proxy.connected);
        let name = |word: &str| {
            let proxy = facts.proxy.as_ref().map(|proxy| proxy.container.clone());
            let proxy = proxy.or_else(|| self.server.proxy.as_ref().map(|proxy| proxy.instance.name().to_owned()));
            format!("{} {word}.", proxy.unwrap_or_else(|| "The proxy".to_owned()))
        };
        // A proxy that restarts serves nobody; one that is stopped may be so on purpose, and is connected all the same.
        let serves_nobody = |proxy: &&EndpointFacts| proxy.tasks.is_some() || proxy.is_restarting();
        let lacking = facts.proxy.as_ref().filter(serves_nobody).and_then(EndpointFacts::trouble);
        let found = match (wanted, connected) {
            (true, true) if let Some((reason, message)) = lacking => {
                condition("ProxyConnected", ConditionStatus::False, reason, message)
            }
            (true, true) => condition("ProxyConnected", ConditionStatus::True, "Connected", name("is connected")),
            (true, false) => match said.about_proxy(&self.server.key) {
                Some(note) => {
                    condition("ProxyConnected", ConditionStatus::False, note.reason.as_str(), note.message.clone())
                }
                None => condition(
                    "ProxyConnected",
                    ConditionStatus::False,
                    Cause::ProxyDetached.as_str(),
                    name("is not connected"),
                ),
            },
            (false, true) => condition(
                "ProxyConnected",
                ConditionStatus::True,
                NOT_WANTED,
                name("is connected without being asked for"),
            ),
            (false, false) => condition("ProxyConnected", ConditionStatus::False, NOT_WANTED, "None is wanted here."),
        };
        (found, wanted)
    }

    fn members_connected(&self, facts: &DestinationFacts, said: &Said<'_>) -> Condition {
        let expected: Vec<_> = facts.members.iter().filter(|member| member.expected).collect();
        let off = expected.iter().find(|member| !member.endpoint.connected);
        let waited_for =
            self.destination.members.iter().find_map(|member| said.notes(&member.resource, NoteKind::Waiting).next());
        if let Some(member) = off {
            let message = format!("{} of {} is not connected.", member.endpoint.container, member.resource);
            return condition("MembersConnected", ConditionStatus::False, Cause::MemberDetached.as_str(), message);
        }
        if let Some(note) = waited_for {
            return condition("MembersConnected", ConditionStatus::False, note.reason.as_str(), note.message.clone());
        }
        let lacking = expected.iter().filter(|member| member.endpoint.tasks.is_some());
        if let Some((reason, message)) = lacking.filter_map(|member| member.endpoint.trouble()).next() {
            return condition("MembersConnected", ConditionStatus::False, reason, message);
        }
        if expected.is_empty() {
            return condition("MembersConnected", ConditionStatus::True, "NoMembers", "");
        }
        let mut message = connected(&expected);
        // Connected is all that is promised, but whoever looks for the fault should see it.
        let still = expected.iter().filter(|member| !member.endpoint.is_running());
        let still: Vec<String> =
            still.map(|member| format!("{} is {}", member.endpoint.container, member.endpoint.state)).collect();
        if !still.is_empty() {
            message = format!("{message}; {}", still.join(", "));
        }
        condition("MembersConnected", ConditionStatus::True, "AllConnected", message + ".")
    }

    fn deleting(&self, said: &Said<'_>) -> Condition {
        let key = &self.destination.key;
        let blocked = said.notes(key, NoteKind::Refused).find(|note| note.reason == Reason::ResourcesRemain);
        let requested = |operation: &Operation| matches!(operation.cause, Cause::DeletionRequested | Cause::Undeclared);
        match blocked {
            Some(note) => condition("Deleting", ConditionStatus::True, note.reason.as_str(), note.message.clone()),
            None => {
                let requested = said.operations(key).any(|(operation, _)| requested(operation));
                let reason = if requested { "Requested" } else { "NotRequested" };
                condition("Deleting", truth(requested), reason, "")
            }
        }
    }

    /// What the destination contributes to the status of a resource on it.
    fn part(&self, resource: &ObjectKey) -> Part {
        let member = self.destination.members.iter().find(|member| member.resource == *resource);
        let containers = self.facts.map(|facts| {
            let own = facts.members.iter().filter(|member| member.resource == *resource);
            own.map(|member| !member.expected || member.endpoint.connected).collect()
        });
        let serving = self.facts.map(|facts| {
            let own = facts.members.iter().filter(|member| member.resource == *resource && member.expected);
            own.flat_map(|facts| {
                let trouble = facts.endpoint.trouble();
                match facts.endpoint.tasks.filter(|_| member.is_some_and(|it| it.workload.is_some())) {
                    // Each task is what a container is elsewhere.
                    Some(tasks) => {
                        let running = usize::try_from(tasks.running.min(MOST_TASKS)).unwrap_or_default();
                        let lacking = tasks.desired.saturating_sub(tasks.running).min(1);
                        let lacking = usize::try_from(lacking).unwrap_or_default();
                        std::iter::repeat_n(None, running).chain(std::iter::repeat_n(trouble, lacking)).collect()
                    }
                    None => vec![trouble],
                }
            })
            .collect()
        });
        Part {
            destination: self.destination.key.clone(),
            wanted: member.and_then(|member| Some(member.workload.as_ref()?.replicas as usize)),
            containers,
            serving,
            active: self.destination.active,
            unobserved: self.facts.is_none().then(|| {
                let (reason, message) = unobserved_reason(&self.server.key, self.unobserved);
                (reason.to_owned(), message)
            }),
            isolated: member.is_some_and(|member| !member.connect),
            suspended: self.server.suspend || self.destination.suspend,
        }
    }
}

/// Who is connected, in words: containers, and Swarm services with their tasks.
fn connected(members: &[&MemberFacts]) -> String {
    let (services, containers): (Vec<&MemberFacts>, Vec<&MemberFacts>) =
        members.iter().partition(|member| member.endpoint.state == SERVICE);
    let mut words = match containers.len() {
        0 => Vec::new(),
        1 => vec!["1 container".to_owned()],
        count => vec![format!("{count} containers")],
    };
    if !services.is_empty() {
        let tasks: u64 = services.iter().filter_map(|it| it.endpoint.tasks).map(|tasks| tasks.running).sum();
        let tasks = if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
        words.push(match services.len() {
            1 => format!("1 Swarm service with {tasks}"),
            count => format!("{count} Swarm services with {tasks}"),
        });
    }
    let verb = if members.len() == 1 { "is" } else { "are" };
    format!("{} {verb} connected", words.join(" and "))
}

/// More tasks of a service are not told apart.
const MOST_TASKS: u64 = 10_000;

/// One destination of a resource.
struct Part {
    destination: ObjectKey,
    /// How many containers Landfall is to run there; `None` where something else runs it.
    wanted: Option<usize>,
    /// Whether each of the containers is where it belongs; `None` where the server was not observed.
    containers: Option<Vec<bool>>,
    /// What is wrong with each of the containers that belong there; `None` where the server was not observed.
    serving: Option<Vec<Option<(&'static str, String)>>>,
    active: bool,
    /// Reason and message.
    unobserved: Option<(String, String)>,
    /// A service stack that keeps to its own network.
    isolated: bool,
    suspended: bool,
}

fn resource_conditions(resource: &ObjectKey, parts: &[Part], said: &Said<'_>) -> Vec<Condition> {
    debug_assert!(resource.kind != Kind::Server && resource.kind != Kind::Destination);
    let mut digest = Digest::default();
    digest.operations(said.operations(resource));
    digest.notes(said, resource);
    let [reconciling, stalled] = digest.progress();
    let off = parts.iter().find(|part| part.containers.as_ref().is_some_and(|all| all.contains(&false)));
    let ready = if let Some((reason, message)) = parts.iter().find_map(|part| part.unobserved.as_ref()) {
        condition("Ready", ConditionStatus::Unknown, reason, message.clone())
    } else if parts.iter().all(|part| part.suspended) {
        condition("Ready", ConditionStatus::Unknown, Reason::Suspended.as_str(), "Left as it is: `suspend: true`.")
    } else if let Some((reason, message)) = digest.trouble() {
        condition("Ready", ConditionStatus::False, &reason, message)
    } else if let Some(part) = off {
        let message = format!("A container is not connected to {}.", part.destination);
        condition("Ready", ConditionStatus::False, Cause::MemberDetached.as_str(), message)
    } else if parts.iter().all(|part| part.isolated) {
        condition("Ready", ConditionStatus::True, "Isolated", "It keeps to its own network.")
    } else {
        condition("Ready", ConditionStatus::True, "Connected", "")
    };
    let mut conditions = vec![ready, reconciling, stalled, healthy(parts)];
    if parts.iter().any(|part| part.wanted.is_some()) {
        conditions.extend([available(parts), progressing(&digest)]);
    }
    conditions
}

/// Whether somebody serves on each of its destinations: of what Landfall runs, as a Deployment of Kubernetes has it.
fn available(parts: &[Part]) -> Condition {
    if let Some((reason, message)) = parts.iter().find_map(|part| part.unobserved.as_ref()) {
        return condition("Available", ConditionStatus::Unknown, reason, message.clone());
    }
    let active: Vec<&Part> = parts.iter().filter(|part| part.active).collect();
    if active.is_empty() {
        let reason = Cause::Deactivated.as_str();
        return condition("Available", ConditionStatus::False, reason, "It is stopped on purpose.");
    }
    let serving = |part: &&&Part| {
        let serving = part.serving.iter().flatten().filter(|trouble| trouble.is_none()).count();
        // While a new container takes over there are two in one place.
        serving.min(part.wanted.unwrap_or_default())
    };
    let numbers =
        |part: &&Part| format!("{} of {} on {}", serving(&part), part.wanted.unwrap_or_default(), part.destination);
    let message = format!("{}.", active.iter().map(numbers).collect::<Vec<_>>().join(", "));
    match active.iter().find(|part| serving(part) == 0 && part.wanted != Some(0)) {
        Some(_) => condition("Available", ConditionStatus::False, "NotServing", message),
        None => condition("Available", ConditionStatus::True, "Serving", message),
    }
}

/// Whether it is on its way to what is declared. What has failed, or is refused, is on no way.
fn progressing(digest: &Digest<'_>) -> Condition {
    let is_rollout = |operation: &&&Operation| matches!(operation.call, Call::Workload(_));
    if !digest.failed.is_empty() || !digest.refused.is_empty() {
        let (reason, message) = digest.difference().unwrap_or_default();
        return condition("Progressing", ConditionStatus::False, &reason, message);
    }
    match digest.outstanding.iter().find(is_rollout) {
        Some(operation) => {
            let message = format!("{}.", operation.call);
            condition("Progressing", ConditionStatus::True, Reason::RolloutInProgress.as_str(), message)
        }
        None => condition("Progressing", ConditionStatus::False, "RolledOut", ""),
    }
}

/// Whether what is connected serves as well. It is no part of `Ready`: Landfall connects, and whoever runs the container has it run.
fn healthy(parts: &[Part]) -> Condition {
    if let Some((reason, message)) = parts.iter().find_map(|part| part.unobserved.as_ref()) {
        return condition("Healthy", ConditionStatus::Unknown, reason, message.clone());
    }
    if parts.iter().all(|part| !part.active) {
        return condition(
            "Healthy",
            ConditionStatus::Unknown,
            Cause::Deactivated.as_str(),
            "It is stopped on purpose.",
        );
    }
    let containers: Vec<_> =
        parts.iter().filter(|part| part.active).filter_map(|part| part.serving.as_ref()).flatten().collect();
    match containers.iter().find_map(|trouble| trouble.as_ref()) {
        Some((reason, message)) => condition("Healthy", ConditionStatus::False, reason, message.clone()),
        None if containers.is_empty() => condition(
            "Healthy",
            ConditionStatus::False,
            Reason::ContainerMissing.as_str(),
            "None of its containers exists.",
        ),
        None => condition("Healthy", ConditionStatus::True, "Serving", ""),
    }
}

fn network_exists(facts: &DestinationFacts, own: &Digest<'_>) -> Condition {
    match &facts.network {
        Some(network) => {
            let message = format!("{} ({})", network.name, network.id.get(..12).unwrap_or(&network.id));
            let reason = if network.adopted { "Adopted" } else { "Found" };
            condition("NetworkExists", ConditionStatus::True, reason, message)
        }
        None => {
            let (reason, message) =
                own.trouble().unwrap_or_else(|| (Cause::NetworkMissing.to_string(), sentence(Cause::NetworkMissing)));
            condition("NetworkExists", ConditionStatus::False, &reason, message)
        }
    }
}
