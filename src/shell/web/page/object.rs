//! `/objects/KIND/NAMESPACE/NAME`: one object with its conditions.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::inquiry::{Inquiries, Look};
use super::map::Map;
use super::parts::{ConditionLine, Mark, NoteLine, OperationLine, ago, count, href, moment, unsaved, word};
use super::pending::Pending;
use super::timeline::{Row, passes, rows};
use super::{Frame, render};
use crate::core::api::{Condition, Kind, ObjectKey};
use crate::core::plan::Reason;
use crate::core::subnets::{capacity, is_low};
use crate::shell::store::records::PassRecord;
use crate::shell::web::answer::Asked;
use crate::shell::web::guard::{Trusted, unauthorized};
use crate::shell::web::view::{DestinationView, View, kind};
use crate::shell::web::{Problem, WebState};

/// Destinations of a page.
const LANES: usize = 100;
/// Members that are listed.
const MEMBERS: usize = 500;
const CHANGES: usize = 30;

#[derive(Template)]
#[template(path = "object.html")]
struct ObjectPage {
    frame: Frame,
    kind: &'static str,
    name: String,
    standing: Mark,
    word: &'static str,
    says: String,
    pending: Option<Pending>,
    notes: Vec<NoteLine>,
    map_head: &'static str,
    map: Option<Map>,
    /// When the server last answered, where it does not now.
    last_seen: String,
    acts: Vec<Act>,
    compared: Vec<Compared>,
    members: Vec<MemberLine>,
    subnets: Vec<SubnetLine>,
    conditions: Vec<ConditionLine>,
    operations: Vec<OperationLine>,
    changes: Vec<Row>,
    /// `None`: not asked yet.
    inquiries: Option<Inquiries>,
}

/// Something that can be asked for from here.
struct Act {
    label: &'static str,
    path: &'static str,
    body: String,
    /// To be typed first; empty: nothing.
    confirm: String,
    says: String,
}

/// A field as declared and as observed.
struct Compared {
    field: String,
    declared: String,
    observed: String,
    differs: bool,
}

struct MemberLine {
    class: &'static str,
    sign: &'static str,
    container: String,
    resource: String,
    href: Option<String>,
    state: &'static str,
    address: String,
    aliases: String,
}

/// A range, and who has which of its addresses.
struct SubnetLine {
    subnet: String,
    gateway: String,
    total: u64,
    used: u64,
    free: u64,
    /// Of a hundred.
    share: u64,
    is_low: bool,
    held: Vec<(String, String)>,
}

/// The ranges of a destination's network, as far as they can be used up.
fn subnets(destination: &DestinationView<'_>) -> Vec<SubnetLine> {
    let Some(facts) = destination.facts() else { return Vec::new() };
    let Some(network) = &facts.network else { return Vec::new() };
    let members = facts.members.iter().map(|member| &member.endpoint);
    let all: Vec<_> = facts.proxy.iter().chain(members).chain(&facts.unmanaged).filter(|it| it.connected).collect();
    let lines = network.ipam.iter().filter_map(|range| {
        let total = capacity(&range.subnet, range.ip_range.as_deref())?;
        let net: ipnet::IpNet = range.subnet.parse().ok()?;
        let mut held: Vec<(std::net::IpAddr, String)> = all
            .iter()
            .flat_map(|endpoint| {
                let addresses = [&endpoint.ipv4_address, &endpoint.ipv6_address].into_iter();
                addresses.filter_map(|it| it.split('/').next()?.parse().ok()).map(|it| (it, endpoint.container.clone()))
            })
            .filter(|(address, _)| net.contains(address))
            .collect();
        held.sort();
        // The gateway has one too.
        let used = (held.len() as u64 + 1).min(total);
        Some(SubnetLine {
            subnet: range.subnet.clone(),
            gateway: range.gateway.clone().unwrap_or_default(),
            total,
            used,
            free: total - used,
            share: used * 100 / total.max(1),
            is_low: is_low(Some(total - used), Some(total)),
            held: held.into_iter().take(MEMBERS).map(|(address, name)| (address.to_string(), name)).collect(),
        })
    });
    lines.collect()
}

fn compared(field: &str, declared: impl Into<String>, observed: impl Into<String>) -> Compared {
    let (declared, observed) = (declared.into(), observed.into());
    Compared { field: field.to_owned(), differs: declared != observed && !declared.is_empty(), declared, observed }
}

/// What is declared of a destination, beside what there is.
fn of_destination(destination: &DestinationView<'_>) -> Vec<Compared> {
    let declared = destination.declared;
    let facts = destination.facts();
    let network = facts.and_then(|facts| facts.network.as_ref());
    let seen = |text: &dyn Fn(&crate::core::plan::facts::NetworkFacts) -> String| match (facts, network) {
        (None, _) => "not observed".to_owned(),
        (_, None) => "does not exist".to_owned(),
        (_, Some(network)) => text(network),
    };
    let yes = |it: bool| if it { "yes" } else { "no" };
    let subnets: Vec<String> = declared.network.subnets.iter().map(|it| it.subnet.to_string()).collect();
    let mut lines = vec![
        compared("Network", declared.network.name.clone().unwrap_or_default(), seen(&|it| it.name.clone())),
        compared("Subnets", subnets.join(", "), seen(&|it| it.subnets.join(", "))),
        compared("Internal", yes(declared.network.internal), seen(&|it| yes(it.internal).to_owned())),
        compared("IPv6", yes(declared.network.ipv6), seen(&|it| yes(it.ipv6).to_owned())),
    ];
    if destination.server.declared.proxy.is_some() {
        let on = facts.map(|facts| yes(facts.proxy.as_ref().is_some_and(|proxy| proxy.connected)));
        lines.push(compared("Proxy connected", yes(declared.proxy && declared.active), on.unwrap_or("not observed")));
    }
    let connected = facts.map(|facts| {
        let own = facts.members.iter().filter(|it| it.expected);
        let (on, all) =
            own.fold((0, facts.missing.len()), |(on, all), it| (on + usize::from(it.endpoint.connected), all + 1));
        (format!("{all} connected"), format!("{on} connected"))
    });
    if let Some((wanted, on)) = connected {
        lines.push(compared("Members", wanted, on));
    }
    lines
}

/// What is declared of a resource's endpoint, beside what there is.
fn of_resource(key: &ObjectKey, destinations: &[DestinationView<'_>]) -> Vec<Compared> {
    let mut lines = Vec::new();
    for destination in destinations {
        let declared = destination.declared.members.iter().filter(|member| member.resource == *key);
        let seen = destination.facts().into_iter().flat_map(|facts| &facts.members).filter(|it| it.resource == *key);
        let seen: Vec<_> = seen.map(|member| &member.endpoint).collect();
        let on = destination.key().path();
        for member in declared {
            let aliases = member.endpoint.aliases.to_vec();
            let observed = seen.first().map(|it| {
                let own = it.aliases.iter().filter(|alias| aliases.is_empty() || aliases.contains(alias));
                own.cloned().collect::<Vec<_>>().join(", ")
            });
            let nothing = || "no container".to_owned();
            lines.push(compared(&format!("Aliases on {on}"), aliases.join(", "), observed.unwrap_or_else(nothing)));
            if let Some(address) = member.endpoint.ipv4_address {
                let observed = seen.first().map(|it| it.ipv4_address.split('/').next().unwrap_or_default().to_owned());
                lines.push(compared(
                    &format!("Address on {on}"),
                    address.to_string(),
                    observed.unwrap_or_else(nothing),
                ));
            }
        }
    }
    lines
}

/// With `of`, only those of that resource.
fn members(destinations: &[DestinationView<'_>], of: Option<&ObjectKey>) -> Vec<MemberLine> {
    let mut lines = Vec::new();
    for destination in destinations {
        let Some(facts) = destination.facts() else { continue };
        let line = |endpoint: &crate::core::plan::facts::EndpointFacts,
                    resource: Option<&ObjectKey>,
                    word: &'static str| {
            let trouble = endpoint.trouble().is_some();
            let (class, sign) = match (word, trouble) {
                ("not connected", _) | (_, true) => ("bad", "✕"),
                ("undeclared" | "on its own network", _) => ("plain", "·"),
                _ => ("good", "✓"),
            };
            MemberLine {
                class,
                sign,
                container: endpoint.container.clone(),
                resource: resource.map(ToString::to_string).unwrap_or_default(),
                href: resource.map(|key| href(&key.to_string())),
                state: if trouble { endpoint.health.unwrap_or(endpoint.state) } else { word },
                address: if endpoint.ipv4_address.is_empty() { &endpoint.ipv6_address } else { &endpoint.ipv4_address }
                    .clone(),
                aliases: endpoint.aliases.join(", "),
            }
        };
        for member in facts.members.iter().filter(|member| of.is_none_or(|of| member.resource == *of)) {
            let word = match (member.endpoint.connected, member.expected) {
                (true, _) => "connected",
                (false, true) => "not connected",
                (false, false) => "on its own network",
            };
            lines.push(line(&member.endpoint, Some(&member.resource), word));
        }
        if of.is_none() {
            let word = |endpoint: &crate::core::plan::facts::EndpointFacts| {
                if endpoint.kept_for.is_some() { "kept for now" } else { "undeclared" }
            };
            lines.extend(facts.unmanaged.iter().map(|endpoint| line(endpoint, None, word(endpoint))));
        }
    }
    lines.truncate(MEMBERS);
    lines
}

fn acts(view: &View, key: &ObjectKey, managed: bool) -> Vec<Act> {
    let object = key.to_string();
    let named = serde_json::json!({ "object": object });
    let mut acts = Vec::new();
    if key.kind == Kind::Server {
        acts.push(Act {
            label: "Look now",
            path: "/api/v1/reconcile",
            body: key.path(),
            confirm: String::new(),
            says: format!("Look at {} now, and put right what is not as declared.", key.path()),
        });
    }
    if managed {
        acts.push(Act {
            label: "Restart",
            path: "/api/v1/restart",
            body: named.to_string(),
            confirm: key.name.to_string(),
            says: format!("Every container of {object} is replaced by a new one, one after another."),
        });
    }
    if matches!(key.kind, Kind::Server | Kind::Destination) {
        let suspended = view.content().suspended.contains(key);
        acts.push(Act {
            label: if suspended { "Resume" } else { "Suspend" },
            path: "/api/v1/suspend",
            body: serde_json::json!({ "object": object, "suspend": !suspended }).to_string(),
            confirm: if suspended { String::new() } else { key.name.to_string() },
            says: match suspended {
                true => format!("{object} is kept as declared again."),
                false => {
                    format!("{object} is left as it is until it is resumed or the controller is started anew.")
                }
            },
        });
    }
    acts
}

#[derive(serde::Deserialize)]
pub(in crate::shell::web) struct Looking {
    look: Option<Look>,
}

pub(in crate::shell::web) async fn object(
    State(state): State<WebState>,
    Extension(trusted): Extension<Trusted>,
    Path((of, namespace, name)): Path<(String, String, String)>,
    Asked(asked): Asked<Looking>,
) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "NotFound", "No such object is declared.");
    let key = ObjectKey::new(kind(&of).ok_or_else(missing)?, &namespace, &name);
    let view = View::new(state.board.snapshot());
    let server = key.path();
    let pending = (key.kind == Kind::Server).then(|| Pending::new(&view, &state, Some(&server))).flatten();
    let told = passes(&state).await;
    let mut page = fill(&view, &key, pending, state.token.is_some(), &told).ok_or_else(missing)?;
    match Inquiries::new(&state, &key, asked.look, trusted).await {
        Ok(inquiries) => page.inquiries = Some(inquiries),
        Err(problem) => return Ok(unauthorized(&problem.message)),
    }
    page.frame.still = asked.look.is_some();
    render(StatusCode::OK, &page)
}

fn fill(
    view: &View,
    key: &ObjectKey,
    pending: Option<Pending>,
    acting: bool,
    passes: &[PassRecord],
) -> Option<ObjectPage> {
    let now = jiff::Timestamp::now();
    let mut says = Vec::new();
    let mut last_seen = String::new();
    let mut managed = false;
    let (destinations, conditions, map_head): (Vec<DestinationView<'_>>, Vec<Condition>, &str) = match key.kind {
        Kind::Server => {
            let server = view.server(key)?;
            if let Some(facts) = server.about() {
                says.push(format!("Docker {} on {}", facts.engine.version, facts.engine.name));
                says.push(count(facts.networks, "network"));
                says.push(count(facts.containers, "container"));
            }
            says.push(count(server.declared.destinations.len(), "destination"));
            let keeper = view.content().keeper(key);
            says.extend(keeper.map(|(keeper, since)| format!("kept by {keeper} since {}", moment(since))));
            if let Some((time, _)) = server.last_known() {
                last_seen =
                    format!("It last answered {} ({}); what is drawn is from then.", ago(time, now), moment(time));
            }
            (server.destinations().take(LANES).collect(), server.conditions(key).to_vec(), "Topology")
        }
        Kind::Destination => {
            let destination = view.destination(key)?;
            says.extend(destination.display_name());
            says.push(format!("on {}", destination.server.declared.key.path()));
            (vec![destination], destination.conditions().to_vec(), "Topology")
        }
        Kind::Application | Kind::Database | Kind::Service => {
            let resource = view.resource(key)?;
            let conditions = resource.conditions();
            let own = resource.destinations.iter().flat_map(|it| &it.declared.members);
            managed = own.filter(|it| it.resource == *key).any(|it| it.workload.is_some());
            says.push(format!("on {}", count(resource.destinations.len(), "destination")));
            (resource.destinations.into_iter().take(LANES).collect(), conditions, "Topology")
        }
        // Its address is a secret, and it has no status.
        Kind::Notifier => return None,
    };
    let standing = crate::shell::web::view::Standing::of(&conditions);
    let object = key.to_string();
    Some(ObjectPage {
        frame: Frame::new(
            format!("{} {} · Landfall", key.path(), word(standing).to_lowercase()),
            view.content(),
            acting,
        ),
        kind: key.kind.as_str(),
        name: key.path(),
        standing: standing.into(),
        word: word(standing),
        says: says.join(" · "),
        notes: view
            .notes_of(key)
            .iter()
            .filter(|note| pending.is_none() || note.reason != Reason::MassDeletionRefused)
            .map(|note| NoteLine::new(note, false))
            .chain(unsaved(view.content(), |it| it == key))
            .collect(),
        pending,
        map_head,
        map: (!destinations.is_empty()).then(|| Map::of(&destinations)),
        last_seen,
        acts: acts(view, key, managed),
        compared: match key.kind {
            Kind::Destination => destinations.first().map(of_destination).unwrap_or_default(),
            Kind::Server | Kind::Notifier => Vec::new(),
            _ => of_resource(key, &destinations),
        },
        members: match key.kind {
            Kind::Destination => members(&destinations, None),
            Kind::Server | Kind::Notifier => Vec::new(),
            _ => members(&destinations, Some(key)),
        },
        subnets: match key.kind {
            Kind::Destination => destinations.first().map(subnets).unwrap_or_default(),
            _ => Vec::new(),
        },
        conditions: conditions.iter().map(ConditionLine::new).collect(),
        operations: view.operations().filter(|it| it.concerns(&object)).map(OperationLine::new).collect(),
        changes: rows(
            view.content().recent.iter().filter(|change| change.object.as_ref() == Some(key)),
            passes,
            CHANGES,
            now,
            |_| false,
        ),
        inquiries: None,
    })
}
