//! `/`: everything at a glance, what needs attention first.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::lane::Lane;
use super::map::Map;
use super::parts::{GOOD, Mark, NoteLine, OperationLine, UNSURE, ago, count, href, moment, short, unsaved, word};
use super::pending::{Pending, waiting};
use super::timeline::{Row, rows};
use super::{Frame, render};
use crate::core::api::{Condition, Kind, ObjectKey};
use crate::core::plan::{NoteKind, Reason};
use crate::shell::controller::board::{Content, is_contended, is_down};
use crate::shell::store::records::PassRecord;
use crate::shell::web::answer::Asked;
use crate::shell::web::view::{DestinationView, Filter, ServerView, Standing, Tally, View};
use crate::shell::web::{Problem, WebState};

/// Destinations of a page.
const LANES: usize = 50;
/// Ends of a wire; the page of the destination has all of them.
const ENDS: usize = 12;
const NOTES: usize = 20;
const OPERATIONS: usize = 30;
const CHANGES: usize = 30;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::shell::web) struct Asking {
    q: String,
    show: String,
    pub(super) server: String,
    page: usize,
}

impl Asking {
    /// Everything of one server.
    pub(super) fn of_server(server: &str) -> Self {
        Self { server: server.to_owned(), ..Self::default() }
    }

    /// Address of the picture of the same.
    pub(super) fn topology(&self) -> String {
        self.href(1).replacen('/', "/topology.svg", 1)
    }

    pub(super) fn filter(&self) -> Filter {
        let standing = match self.show.as_str() {
            "attention" => vec![Standing::NotReady, Standing::Unknown],
            word => Standing::ALL.into_iter().filter(|it| it.label() == word).collect(),
        };
        let server = Some(self.server.clone()).filter(|server| !server.is_empty());
        Filter { text: self.q.trim().to_lowercase(), server, standing }
    }

    pub(super) fn href(&self, page: usize) -> String {
        let pairs = [("q", self.q.as_str()), ("show", &self.show), ("server", &self.server)];
        let page = if page > 1 { page.to_string() } else { String::new() };
        let pairs = pairs.into_iter().chain([("page", page.as_str())]).filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        if query.is_empty() { "/".to_owned() } else { format!("/?{}", query.join("&")) }
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Where the manifests come from.
struct SourceLine {
    standing: Mark,
    /// Repository and path, or that they are files.
    place: String,
    branch: String,
    /// What is in force.
    commit: Option<CommitLine>,
    /// The newest, where that is another.
    newest: Option<CommitLine>,
    read: String,
    read_text: String,
    wrong: String,
}

struct CommitLine {
    short: String,
    revision: String,
    subject: String,
    author: String,
    time: String,
    time_text: String,
    ago: String,
}

/// What is known of a revision.
fn commit_line(content: &Content, revision: &str, now: jiff::Timestamp) -> CommitLine {
    let commit = content.manifests.source.as_ref().and_then(|source| source.commit(revision));
    CommitLine {
        short: short(revision).to_owned(),
        revision: revision.to_owned(),
        subject: commit.map(|it| it.subject.clone()).unwrap_or_default(),
        author: commit.map(|it| it.author.clone()).unwrap_or_default(),
        time: commit.map(|it| it.time.to_string()).unwrap_or_default(),
        time_text: commit.map(|it| moment(it.time)).unwrap_or_default(),
        ago: commit.map(|it| ago(it.time, now)).unwrap_or_default(),
    }
}

fn source_line(content: &Content, now: jiff::Timestamp) -> SourceLine {
    let manifests = &content.manifests;
    let source = manifests.source.as_ref();
    let in_force = manifests.revision.as_deref();
    let newest = source.and_then(|source| source.revision.as_deref()).filter(|it| Some(*it) != in_force);
    let read = source.and_then(|source| source.fetched).or(manifests.loaded);
    let mut wrong = Vec::new();
    if let Some(problem) = source.and_then(|source| source.problem.as_ref()) {
        wrong.push(format!("{}: {} Since {}.", problem.reason, sentence(&problem.message), ago(problem.since, now)));
    }
    if !manifests.problems.is_empty() {
        let what = count(manifests.problems.len(), "problem");
        wrong.push(format!("{what} in the newest manifests; what was good before stays in force."));
    }
    SourceLine {
        standing: if wrong.is_empty() { GOOD } else { UNSURE },
        place: match source {
            Some(source) if source.path.is_empty() => source.url.clone(),
            Some(source) => format!("{} · {}", source.url, source.path),
            None => "Files on the machine of this controller".to_owned(),
        },
        branch: source
            .map(|source| source.branch.clone().unwrap_or_else(|| "default branch".to_owned()))
            .unwrap_or_default(),
        commit: in_force.map(|revision| commit_line(content, revision, now)),
        newest: newest.map(|revision| commit_line(content, revision, now)),
        read: read.map(|it| it.to_string()).unwrap_or_default(),
        read_text: read
            .map(|it| format!("{} {}", if source.is_some() { "fetched" } else { "read" }, ago(it, now)))
            .unwrap_or_default(),
        wrong: wrong.join(" "),
    }
}

fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

struct Headline {
    standing: Mark,
    text: String,
    says: String,
}

struct Tile {
    class: &'static str,
    href: String,
    current: bool,
    count: usize,
    label: &'static str,
}

struct ServerPart {
    id: String,
    standing: Mark,
    word: &'static str,
    name: String,
    href: String,
    says: String,
    message: String,
    nothing: &'static str,
    lanes: Vec<Lane>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    headline: Headline,
    source: SourceLine,
    pending: Option<Pending>,
    map: Map,
    tiles: Vec<Tile>,
    problems: Vec<String>,
    problems_say: String,
    notes: Vec<NoteLine>,
    more_notes: usize,
    q: String,
    filtered: bool,
    found: usize,
    total: usize,
    servers: Vec<ServerPart>,
    nothing: &'static str,
    page: usize,
    pages: usize,
    previous: Option<String>,
    next: Option<String>,
    operations: Vec<OperationLine>,
    more_operations: usize,
    no_operations: &'static str,
    changes: Vec<Row>,
}

pub(in crate::shell::web) async fn overview(
    State(state): State<WebState>,
    Asked(asking): Asked<Asking>,
) -> Result<Response, Problem> {
    let view = View::new(state.board.snapshot());
    let pending = Pending::new(&view, &state, None);
    let passes = super::timeline::passes(&state).await;
    let filled = fill(&view, &asking, pending, state.token.is_some(), &passes);
    render(StatusCode::OK, &filled)
}

fn fill(view: &View, asking: &Asking, pending: Option<Pending>, acts: bool, passes: &[PassRecord]) -> Overview {
    let now = jiff::Timestamp::now();
    let content = view.content();
    let tally = view.total();
    let filter = asking.filter();
    let filtered = filter.is_narrow();
    let found: Vec<DestinationView<'_>> = view.destinations().filter(|it| filter.takes(it)).collect();
    let pages = found.len().div_ceil(LANES).max(1);
    let page = asking.page.clamp(1, pages);
    let shown = &found[(page - 1) * LANES..(page * LANES).min(found.len())];
    // Servers without destinations are shown too, on the first page of everything.
    let empty = |server: &ServerView<'_>| !filtered && page == 1 && server.declared.destinations.is_empty();
    let mut lanes: BTreeMap<&ObjectKey, Vec<Lane>> = BTreeMap::new();
    for destination in shown {
        lanes.entry(&destination.server.declared.key).or_default().push(Lane::new(destination, ENDS));
    }
    let mut servers = Vec::new();
    for server in view.servers() {
        let own = lanes.remove(&server.declared.key);
        if own.is_some() || empty(&server) {
            let keeper = view.content().keeper(&server.declared.key).map(|(keeper, _)| keeper);
            servers.push(server_part(&server, own.unwrap_or_default(), keeper));
        }
    }

    // What nobody declared is shown where it is; it asks for nothing.
    let mut notes: Vec<_> = view
        .asking()
        .into_iter()
        .filter(|note| matches!(note.kind, NoteKind::Refused | NoteKind::Waiting | NoteKind::Warning))
        // Shown above, with what it takes.
        .filter(|note| pending.is_none() || note.reason != Reason::MassDeletionRefused)
        .collect();
    notes.sort_by_key(|note| note.kind);
    // Whatever runs it does not, or not well: what is connected is not all that matters.
    let attention = |of: fn(&Condition) -> bool| {
        view.attention().filter_map(move |(server, object, all)| Some((server, object, all.iter().find(|it| of(it))?)))
    };
    let unhealthy: Vec<_> = attention(is_down).collect();
    let fought: Vec<_> = attention(is_contended).collect();
    let unsaved: Vec<NoteLine> = unsaved(content, |_| true).collect();
    let more_notes = (notes.len() + unhealthy.len() + fought.len() + unsaved.len()).saturating_sub(NOTES);
    // Lines only for what is shown: there may be tens of thousands.
    let notes = notes.into_iter().map(|note| NoteLine::new(note, linked(view, &note.object)));
    let unhealthy =
        unhealthy.into_iter().map(|(server, object, down)| NoteLine::unhealthy(&object.to_string(), server, down));
    let fought = fought.into_iter().map(|(server, object, it)| NoteLine::contended(&object.to_string(), server, it));
    let notes: Vec<NoteLine> = notes.chain(fought).chain(unsaved).chain(unhealthy).take(NOTES).collect();
    let problems = &content.manifests.problems;
    let unread = content.manifests.generation == 0;
    let headline = headline(view, tally);
    Overview {
        frame: Frame::new(format!("{} · Landfall", headline.text), content, acts),
        headline,
        source: source_line(content, now),
        pending,
        map: Map::new(view, asking, filtered.then_some(if asking.server.is_empty() { shown } else { &found })),
        tiles: tiles(tally, asking),
        problems: problems.iter().take(NOTES).map(|problem| problem.render(false)).collect(),
        problems_say: format!(
            "{} in the manifests{}",
            count(problems.len(), "problem"),
            if unread { ", and there were no good ones before." } else { ". The last good ones stay in force." }
        ),
        more_notes,
        notes,
        q: asking.q.clone(),
        filtered,
        found: found.len(),
        total: tally.total(),
        servers,
        nothing: match (unread, filtered) {
            (true, _) => "The manifests have not been read yet.",
            (false, true) => "No destination is like that.",
            (false, false) => "The manifests declare no server.",
        },
        page,
        pages,
        previous: (page > 1).then(|| asking.href(page - 1)),
        next: (page < pages).then(|| asking.href(page + 1)),
        more_operations: view.operations().count().saturating_sub(OPERATIONS),
        operations: view.operations().take(OPERATIONS).map(OperationLine::new).collect(),
        no_operations: if view.servers().any(|server| server.state.is_none_or(|state| !state.reachable)) {
            "Nothing to do as far as can be seen; not every server was observed."
        } else {
            "Nothing to do: the servers are as the manifests say."
        },
        changes: rows(content.recent.iter(), passes, CHANGES, now, |object| linked(view, object)),
    }
}

/// Only what is declared has a page.
fn linked(view: &View, object: &str) -> bool {
    let Ok(key) = object.parse::<ObjectKey>() else { return false };
    match key.kind {
        Kind::Server => view.server(&key).is_some(),
        Kind::Notifier => false,
        _ => view.servers().any(|server| server.declares(&key)),
    }
}

fn headline(view: &View, tally: Tally) -> Headline {
    let content = view.content();
    let total = tally.total();
    let [bad, unknown] = [Standing::NotReady, Standing::Unknown].map(|standing| tally.of(standing));
    let servers = view.servers().count();
    let away = view.servers().filter(|server| server.state.is_some_and(|state| !state.reachable)).count();
    let looked_at = view.servers().filter(|server| server.state.is_some()).count();
    let (standing, text) = if content.manifests.generation == 0 {
        (UNSURE, "Waiting for manifests".to_owned())
    } else if bad > 0 {
        let are = if bad == 1 { "is" } else { "are" };
        (Standing::NotReady.into(), format!("{bad} of {} {are} not ready", count(total, "destination")))
    } else if unknown > 0 {
        let are = if unknown == 1 { "is" } else { "are" };
        (UNSURE, format!("{unknown} of {} {are} not known", count(total, "destination")))
    } else if !content.manifests.problems.is_empty() {
        (UNSURE, "The manifests are invalid; the last good ones are in force".to_owned())
    } else if content.pending().next().is_some() {
        (UNSURE, waiting(content.pending().map(|(_, withheld)| withheld)))
    } else if let fought @ 1.. = contended(view) {
        let are = if fought == 1 { "is" } else { "are" };
        (UNSURE, format!("{} {are} undone again and again", count(fought, "object")))
    } else if total == 0 {
        (GOOD, "No destination is declared".to_owned())
    } else if total == 1 {
        (GOOD, "The destination is as declared".to_owned())
    } else {
        (GOOD, format!("All {total} destinations are as declared"))
    };
    let mut says = vec![count(servers, "server")];
    if away > 0 {
        says.push(format!("{away} not reachable"));
    }
    if looked_at < servers {
        says.push(format!("{} not looked at yet", servers - looked_at));
    }
    if content.stopping {
        says.push("stopping".to_owned());
    }
    Headline { standing, text, says: says.join(" · ") }
}

/// How many objects something keeps undoing.
fn contended(view: &View) -> usize {
    let fought = view.attention().filter(|(_, _, all)| all.iter().any(is_contended));
    fought.map(|(_, object, _)| object).collect::<BTreeSet<_>>().len()
}

fn tiles(tally: Tally, asking: &Asking) -> Vec<Tile> {
    let tile = |show: &'static str, class: &'static str, count: usize, label: &'static str| Tile {
        class: if count == 0 && !show.is_empty() { "" } else { class },
        href: Asking { show: show.to_owned(), page: 1, q: asking.q.clone(), server: asking.server.clone() }.href(1),
        current: asking.show == show,
        count,
        label,
    };
    vec![
        tile("", "", tally.total(), "destinations"),
        tile("true", "good", tally.of(Standing::Ready), "ready"),
        tile("false", "bad", tally.of(Standing::NotReady), "not ready"),
        tile("unknown", "unsure", tally.of(Standing::Unknown), "unknown"),
    ]
}

fn server_part(server: &ServerView<'_>, lanes: Vec<Lane>, keeper: Option<&str>) -> ServerPart {
    let key = &server.declared.key;
    let standing = server.standing();
    let ready = server.conditions(key).iter().find(|it| it.condition_type == "Ready");
    let mut says = Vec::new();
    if let Some(facts) = server.about() {
        says.push(format!("Docker {}", facts.engine.version));
        says.push(facts.server_type.describe().to_owned());
        says.push(count(facts.containers, "container"));
        if let Some(proxy) = &facts.proxy {
            says.push(format!("proxy {} {}", proxy.name, proxy.state));
        }
    }
    says.extend(keeper.map(|keeper| format!("kept by {keeper}")));
    let message = match (standing, ready) {
        (_, None) => "It has not been looked at yet.".to_owned(),
        (Standing::Ready, _) => String::new(),
        (_, Some(ready)) => format!("{}: {}", ready.reason, ready.message),
    };
    ServerPart {
        id: format!("server-{}-{}", key.namespace, key.name),
        standing: standing.into(),
        word: word(standing),
        name: key.path(),
        href: href(&key.to_string()),
        says: says.join(" · "),
        message,
        nothing: "No destinations are declared on it.",
        lanes,
    }
}
