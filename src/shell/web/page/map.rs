//! The picture of the fleet: in full where there is little, or what was asked for; else each server as one of many.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::overview::Asking;
use crate::core::api::ObjectKey;
use crate::core::graph::{Cell, Drawn, Layout, Look, ServerShape, Tone, fleet, picture};
use crate::shell::web::answer::Asked;
use crate::shell::web::view::{DestinationView, ServerView, Standing, View};
use crate::shell::web::{Problem, WebState};

/// Servers and destinations that are drawn in full at a time.
const SERVERS: usize = 8;
const DESTINATIONS: usize = 40;
/// Of one server; the others are cells.
const OF_ONE: usize = 24;
/// Ends of a wire.
const ENDS: usize = 12;
/// Of a picture that is kept.
const KEPT: usize = 2_000;

/// The picture for wide windows and for narrow ones: a style sheet shows one of them.
pub(super) struct Map {
    pub(super) wide: String,
    pub(super) narrow: String,
    /// Address of the same as a file.
    pub(super) export: String,
}

impl Map {
    /// `found`: what was asked for, where that is not everything.
    pub(super) fn new(view: &View, asking: &Asking, found: Option<&[DestinationView<'_>]>) -> Self {
        let [wide, narrow] = [Layout::Wide, Layout::Narrow].map(|layout| {
            let drawn = Drawn { layout, alone: false, ends: ENDS, destinations: OF_ONE };
            draw(view, asking, found, drawn, DESTINATIONS)
        });
        Self { export: asking.topology(), wide, narrow }
    }

    /// Of some destinations, whatever else there is.
    pub(super) fn of(destinations: &[DestinationView<'_>]) -> Self {
        let first = destinations.first().map(|it| it.server.declared.key.path()).unwrap_or_default();
        let [wide, narrow] = [Layout::Wide, Layout::Narrow].map(|layout| {
            let drawn = Drawn { layout, alone: false, ends: 60, destinations: DESTINATIONS };
            picture(&shapes(&destinations.iter().collect::<Vec<_>>()), drawn)
        });
        let export = Asking::of_server(&first).topology();
        Self { export, wide, narrow }
    }
}

fn is_detail(view: &View, asking: &Asking, found: Option<&[DestinationView<'_>]>, most: usize) -> bool {
    match found {
        Some(_) if !asking.server.is_empty() => true,
        Some(found) => found.len() <= most && servers_of(found) <= SERVERS.max(most / 5),
        None => view.servers().count() <= SERVERS && view.destinations().count() <= most,
    }
}

fn servers_of(found: &[DestinationView<'_>]) -> usize {
    found.iter().map(|it| &it.server.declared.key).collect::<BTreeSet<_>>().len()
}

fn draw(view: &View, asking: &Asking, found: Option<&[DestinationView<'_>]>, drawn: Drawn, most: usize) -> String {
    if !is_detail(view, asking, found, most) {
        return fleet(&groups(view, found), drawn.layout, drawn.alone);
    }
    match found {
        Some(found) => picture(&shapes(&found.iter().collect::<Vec<_>>()), drawn),
        None => picture(&view.servers().map(|server| shape(&server, |_| true)).collect::<Vec<_>>(), drawn),
    }
}

/// The servers of these destinations, with nothing else on them.
fn shapes(destinations: &[&DestinationView<'_>]) -> Vec<ServerShape> {
    let mut wanted: BTreeMap<&ObjectKey, (ServerView<'_>, BTreeSet<&ObjectKey>)> = BTreeMap::new();
    for destination in destinations {
        let server = destination.server;
        wanted.entry(&server.declared.key).or_insert((server, BTreeSet::new())).1.insert(destination.key());
    }
    wanted.values().map(|(server, keys)| shape(server, |key| keys.contains(key))).collect()
}

fn shape(server: &ServerView<'_>, takes: impl Fn(&ObjectKey) -> bool) -> ServerShape {
    let look = match (server.state, server.facts()) {
        (None, _) => Look::None,
        (Some(_), Some(facts)) => Look::Done(facts),
        (Some(_), None) => Look::Failed { last: server.last_known().map(|(_, facts)| facts) },
    };
    ServerShape::new(server.declared, look, |key| server.conditions(key), |destination| takes(&destination.key))
}

/// Servers by namespace; with `found`, those that have something of it.
fn groups(view: &View, found: Option<&[DestinationView<'_>]>) -> Vec<(String, Vec<Cell>)> {
    let wanted: Option<BTreeSet<&ObjectKey>> =
        found.map(|found| found.iter().map(|it| &it.server.declared.key).collect());
    let mut groups: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
    for server in view.servers() {
        let key = &server.declared.key;
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(key)) {
            continue;
        }
        let tally = server.tally();
        let counts = [tally.of(Standing::NotReady), tally.of(Standing::Unknown), 0, tally.of(Standing::Ready)];
        let (own, word) = match (server.state, server.standing()) {
            (None, _) => (Tone::Unsure, "not looked at yet"),
            (Some(state), _) if !state.reachable => (Tone::Bad, "unreachable"),
            (_, Standing::NotReady) => (Tone::Bad, "not ready"),
            (_, Standing::Unknown) => (Tone::Unsure, "unknown"),
            (_, Standing::Ready) => (Tone::Good, "reachable"),
        };
        let of_counts = match counts {
            [0, 0, ..] => Tone::Good,
            [0, ..] => Tone::Unsure,
            _ => Tone::Bad,
        };
        let asking = Asking::of_server(&key.path());
        let cell =
            Cell { name: key.path(), href: format!("{}#map", asking.href(1)), tone: own.min(of_counts), word, counts };
        groups.entry(key.namespace.to_string()).or_default().push(cell);
    }
    groups.into_iter().collect()
}

/// The same to be kept: in reports, in documentation.
pub(in crate::shell::web) async fn topology(
    State(state): State<WebState>,
    Asked(asking): Asked<Asking>,
) -> Result<Response, Problem> {
    let view = View::new(state.board.snapshot());
    let filter = asking.filter();
    let found: Option<Vec<DestinationView<'_>>> =
        filter.is_narrow().then(|| view.destinations().filter(|it| filter.takes(it)).collect());
    let drawn = Drawn { layout: Layout::Wide, alone: true, ends: 60, destinations: KEPT };
    let text = draw(&view, &asking, found.as_deref(), drawn, KEPT);
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], text).into_response())
}
