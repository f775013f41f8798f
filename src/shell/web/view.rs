//! The board as it is read: every declared object with what there is of it. The API and the page are two ways to write this down.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::core::api::{Condition, Kind, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredServer};
use crate::core::plan::facts::{DestinationFacts, ServerFacts};
use crate::core::report::json::{Document, FORMAT_VERSION, NoteDocument, OperationDocument, ServerDocument, Summary};
use crate::core::standing::Meaning;
pub(super) use crate::core::standing::{Standing, Tally};
use crate::shell::controller::board::{Content, Digest, ServerState};

/// A moment of the board.
pub(super) struct View {
    content: Content,
    /// What was found on the servers that were asked for, in the order of their paths.
    found: Vec<(String, OnceLock<ServerFacts>)>,
}

/// A declared server.
#[derive(Clone, Copy)]
pub(super) struct ServerView<'a> {
    pub(super) declared: &'a DesiredServer,
    /// `None`: not looked at yet.
    pub(super) state: Option<&'a ServerState>,
    found: Option<&'a OnceLock<ServerFacts>>,
}

impl<'a> ServerView<'a> {
    /// What there is on it; `None`: not observed. To get at it costs some of a millisecond the first time.
    pub(super) fn facts(&self) -> Option<&'a ServerFacts> {
        let found = self.state?.facts.as_ref()?;
        Some(self.found?.get_or_init(|| found.whole()))
    }

    /// The same without its destinations, and at no cost.
    pub(super) fn about(&self) -> Option<&'a ServerFacts> {
        Some(&self.state?.facts.as_ref()?.server)
    }

    /// Of one that does not answer: when it last did, and what was there.
    pub(super) fn last_known(&self) -> Option<(jiff::Timestamp, &'a ServerFacts)> {
        let (time, found) = self.state?.last_known.as_ref()?;
        Some((*time, self.found?.get_or_init(|| found.whole())))
    }

    pub(super) fn conditions(&self, object: &ObjectKey) -> &'a [Condition] {
        self.state.and_then(|state| state.conditions.get(object)).map_or(&[], AsRef::as_ref)
    }

    pub(super) fn standing(&self) -> Standing {
        Standing::of(self.conditions(&self.declared.key))
    }

    /// What was counted of it when its last pass ended, unless something else is declared since.
    fn digest(&self) -> Option<&'a Digest> {
        let digest = self.state?.digest.as_ref()?;
        std::ptr::eq(&raw const *digest.of, self.declared).then_some(digest)
    }

    fn may_mention(&self, text: &str) -> bool {
        self.state.and_then(|state| state.facts.as_ref()).is_some_and(|found| found.mentions(text))
    }

    /// How its destinations stand.
    pub(super) fn tally(self) -> Tally {
        match self.digest() {
            Some(digest) => digest.destinations,
            None => Tally::count(self.destinations().map(|destination| destination.conditions())),
        }
    }

    /// Whether it, or something on it, is that object.
    pub(super) fn declares(&self, object: &ObjectKey) -> bool {
        match (self.digest(), self.state) {
            (Some(_), Some(state)) => state.conditions.contains_key(object),
            _ => self.declared.key == *object || self.declared.has(object),
        }
    }

    pub(super) fn destinations(self) -> impl Iterator<Item = DestinationView<'a>> {
        self.declared.destinations.iter().map(move |declared| DestinationView { server: self, declared })
    }
}

/// A declared destination.
#[derive(Clone, Copy)]
pub(super) struct DestinationView<'a> {
    pub(super) server: ServerView<'a>,
    pub(super) declared: &'a DesiredDestination,
}

impl<'a> DestinationView<'a> {
    pub(super) fn key(&self) -> &'a ObjectKey {
        &self.declared.key
    }

    /// `None`: the server was not observed.
    pub(super) fn facts(&self) -> Option<&'a DestinationFacts> {
        let all = &self.server.facts()?.destinations;
        let at = all.binary_search_by(|(key, _)| key.cmp(&self.declared.key)).ok()?;
        Some(&all[at].1)
    }

    pub(super) fn conditions(&self) -> &'a [Condition] {
        self.server.conditions(&self.declared.key)
    }

    pub(super) fn standing(&self) -> Standing {
        Standing::of(self.conditions())
    }

    /// As declared, or `<server>-<network>` once the network has a name.
    pub(super) fn display_name(&self) -> Option<String> {
        self.declared.display_name.clone().or_else(|| {
            let present = self.facts().and_then(|facts| facts.network.as_ref()).map(|network| network.name.as_str());
            let network = present.or(self.declared.network.name.as_deref())?;
            Some(format!("{}-{network}", self.server.declared.key.name))
        })
    }

    /// Whether one of the names that belong to it holds the text.
    fn mentions(&self, text: &str) -> bool {
        let holds = |name: &str| name.to_lowercase().contains(text);
        let declared = self.declared;
        holds(&declared.key.path())
            || declared.display_name.as_deref().is_some_and(holds)
            || declared.network.name.as_deref().is_some_and(holds)
            || holds(&self.server.declared.key.path())
            || declared.members.iter().any(|member| holds(&member.resource.to_string()))
            || self.server.may_mention(text)
                && self.facts().is_some_and(|facts| {
                    facts.network.as_ref().is_some_and(|network| holds(&network.name))
                        || facts.members.iter().any(|member| holds(&member.endpoint.container))
                        || facts.unmanaged.iter().any(|endpoint| holds(&endpoint.container))
                })
    }
}

/// A declared resource: an application, a database or a service.
pub(super) struct ResourceView<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) destinations: Vec<DestinationView<'a>>,
}

impl ResourceView<'_> {
    /// A resource on several servers stands as it stands where it stands worst.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        let mut worst: Vec<Condition> = Vec::new();
        for condition in self.destinations.iter().flat_map(|it| it.server.conditions(self.key)) {
            match worst.iter_mut().find(|it| it.condition_type == condition.condition_type) {
                Some(known) if Meaning::rank(condition) > Meaning::rank(known) => known.clone_from(condition),
                Some(_) => {}
                None => worst.push(condition.clone()),
            }
        }
        worst
    }

    pub(super) fn standing(&self) -> Standing {
        Standing::of(&self.conditions())
    }
}

/// Which of the objects are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// Lower case.
    pub(super) text: String,
    /// `namespace/name`
    pub(super) server: Option<String>,
    pub(super) standing: Vec<Standing>,
}

impl Filter {
    /// Whether it leaves anything out.
    pub(super) fn is_narrow(&self) -> bool {
        !self.text.is_empty() || self.server.is_some() || !self.standing.is_empty()
    }

    pub(super) fn takes(&self, destination: &DestinationView<'_>) -> bool {
        self.server.as_ref().is_none_or(|server| destination.server.declared.key.path() == *server)
            && (self.standing.is_empty() || self.standing.contains(&destination.standing()))
            && (self.text.is_empty() || destination.mentions(&self.text))
    }

    pub(super) fn takes_resource(&self, resource: &ResourceView<'_>) -> bool {
        let on = |server: &String| resource.destinations.iter().any(|it| it.server.declared.key.path() == *server);
        self.server.as_ref().is_none_or(on)
            && (self.standing.is_empty() || self.standing.contains(&resource.standing()))
            && (self.text.is_empty() || resource.key.to_string().to_lowercase().contains(&self.text))
    }
}

impl View {
    pub(super) fn new(content: Content) -> Self {
        let found = content.servers.keys().map(|path| (path.clone(), OnceLock::new())).collect();
        Self { content, found }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = ServerView<'_>> {
        self.content.declared.servers.values().map(|declared| self.view(declared))
    }

    pub(super) fn server(&self, key: &ObjectKey) -> Option<ServerView<'_>> {
        self.content.declared.servers.get(key).map(|declared| self.view(declared))
    }

    fn view<'a>(&'a self, declared: &'a DesiredServer) -> ServerView<'a> {
        let path = declared.key.path();
        let found = self.found.binary_search_by(|(other, _)| other.cmp(&path)).ok().map(|at| &self.found[at].1);
        ServerView { declared, state: self.content.servers.get(&path).map(AsRef::as_ref), found }
    }

    pub(super) fn destinations(&self) -> impl Iterator<Item = DestinationView<'_>> {
        self.servers().flat_map(ServerView::destinations)
    }

    pub(super) fn destination(&self, key: &ObjectKey) -> Option<DestinationView<'_>> {
        let server = self.servers().find(|server| server.declares(key))?;
        server.destinations().find(|destination| destination.declared.key == *key)
    }

    /// In the order of their keys.
    pub(super) fn resources(&self) -> Vec<ResourceView<'_>> {
        resources(self.destinations(), |_| true)
    }

    pub(super) fn resource(&self, key: &ObjectKey) -> Option<ResourceView<'_>> {
        let servers = self.servers().filter(|server| server.declares(key));
        resources(servers.flat_map(ServerView::destinations), |resource| resource == key).pop()
    }

    /// Objects that somebody has to look at although they may be connected, each with the path of its server.
    pub(super) fn attention(&self) -> impl Iterator<Item = (&str, &ObjectKey, &[Condition])> {
        self.content.servers.iter().flat_map(|(server, state)| {
            let objects = state.digest.iter().flat_map(|digest| &digest.attention);
            objects.filter_map(move |object| Some((server.as_str(), object, state.conditions.get(object)?.as_ref())))
        })
    }

    /// How the destinations of each server stand.
    pub(super) fn standing(&self) -> BTreeMap<String, Tally> {
        self.servers().map(|server| (server.declared.key.path(), server.tally())).collect()
    }

    pub(super) fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.servers().for_each(|server| total.add(server.tally()));
        total
    }

    /// What is not as declared.
    pub(super) fn operations(&self) -> impl Iterator<Item = &OperationDocument> {
        let reports = self.servers().filter_map(|server| Some(&server.state?.report));
        reports.flat_map(|report| report.operations()).filter(|operation| operation.outcome != "Done")
    }

    /// What is not done and why, but for what no manifest declares.
    pub(super) fn asking(&self) -> Vec<&NoteDocument> {
        once(self.servers().filter_map(|server| Some(&server.state?.report)).flat_map(|report| report.asking()))
    }

    /// What is not done and why, of the object.
    pub(super) fn notes_of(&self, object: &ObjectKey) -> Vec<NoteDocument> {
        let mut notes: Vec<Cow<'_, [NoteDocument]>> = Vec::new();
        for server in self.servers() {
            let Some(report) = server.state.map(|state| &state.report) else { continue };
            // Unpacked only where the object is.
            notes.push(if server.declares(object) { report.notes() } else { Cow::Borrowed(report.asking()) });
        }
        let text = object.to_string();
        let notes = once(notes.iter().flat_map(|notes| notes.iter()));
        notes.into_iter().filter(|note| note.object == text).cloned().collect()
    }

    /// What is not as declared, and what is not done and why: as `diff -o json` has it.
    pub(super) fn diff(&self) -> Document {
        let mut document = Document {
            format_version: FORMAT_VERSION.into(),
            set: self.content.set.clone(),
            revision: self.servers().find_map(|server| server.state?.report.revision().map(str::to_owned)),
            servers: Vec::new(),
            operations: Vec::new(),
            notes: Vec::new(),
            prune: Vec::new(),
            summary: Summary { operations: 0, refused: 0, unreachable: 0, failed: 0 },
        };
        for server in self.servers() {
            let Some(state) = server.state else {
                let name = server.declared.key.path();
                document.servers.push(ServerDocument { name, reachable: false, server_type: None });
                continue;
            };
            document.servers.extend(state.report.servers().iter().cloned());
        }
        document.operations.extend(self.operations().cloned());
        let all: Vec<_> = self.servers().filter_map(|server| Some(server.state?.report.notes())).collect();
        document.notes = once(all.iter().flat_map(|notes| notes.iter())).into_iter().cloned().collect();
        let summary = &mut document.summary;
        summary.operations = document.operations.len();
        summary.failed = document.operations.iter().filter(|operation| operation.outcome == "Failed").count();
        summary.refused =
            document.notes.iter().filter(|note| note.kind == crate::core::plan::NoteKind::Refused).count();
        summary.unreachable = document.servers.iter().filter(|server| !server.reachable).count();
        document
    }
}

fn resources<'a>(
    destinations: impl Iterator<Item = DestinationView<'a>>,
    takes: impl Fn(&ObjectKey) -> bool,
) -> Vec<ResourceView<'a>> {
    let mut found: BTreeMap<&ObjectKey, Vec<DestinationView<'_>>> = BTreeMap::new();
    for destination in destinations {
        for member in destination.declared.members.iter().filter(|member| takes(&member.resource)) {
            found.entry(&member.resource).or_default().push(destination);
        }
    }
    found.into_iter().map(|(key, destinations)| ResourceView { key, destinations }).collect()
}

/// `destination`, `Destination`, `application`, …
pub(super) fn kind(text: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
}

/// Each note once: what concerns no single server is in the report of each.
fn once<'a>(notes: impl Iterator<Item = &'a NoteDocument>) -> Vec<&'a NoteDocument> {
    let mut once: Vec<&NoteDocument> = Vec::new();
    for note in notes {
        if note.server.is_some() || !once.contains(&note) {
            once.push(note);
        }
    }
    once
}
