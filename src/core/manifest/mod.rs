//! Documents to objects with source locations to a validated set, from which the desired state follows. Every problem of every
//! file is reported at once.
//!
//! ```text
//! bytes ─ text ─► text ─ tree ─► located nodes ─ check ─► objects ─ resolve ─► DesiredState
//! ```

mod base;
mod check;
mod diagnostic;
mod endpoint;
pub(crate) mod foreign;
mod json;
pub(crate) mod mask;
mod range;
mod resolve;
pub(crate) mod suggest;
mod text;
mod tree;
mod workload;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

pub use base::Base;
pub use diagnostic::{Diagnostic, Severity, count};
pub use mask::is_secret_name;

use crate::core::api::{Kind, Object, ObjectKey, Spec};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::notice::Notifier;
use text::{Problem, Span, Text};
use tree::Node;

/// Largest file that is read: 10,000 objects in one file fit several times.
pub const MAX_FILE_BYTES: usize = 8 << 20;
/// Most documents of one file.
pub const MAX_DOCUMENTS: usize = 50_000;
/// Most values of one document, counting what aliases repeat.
pub const MAX_NODES: usize = 100_000;
/// Deepest nesting of one document.
pub const MAX_DEPTH: usize = 64;
/// Problems that are told one by one.
pub const MAX_PROBLEMS: usize = 500;

/// One file, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As messages name it.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Where an object is declared.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Location {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A declared object and where it is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct LocatedObject {
    pub object: Object,
    pub location: Location,
}

/// A validated set of manifests.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifests {
    objects: BTreeMap<ObjectKey, LocatedObject>,
    servers: BTreeMap<ObjectKey, Arc<DesiredServer>>,
    skipped: Vec<Skipped>,
    base: Base,
}

/// Something among the manifests that is for another tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    pub file: String,
    /// Where the document begins; `None`: the whole file, or nobody can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In words.
    pub what: String,
}

impl Manifests {
    /// In the order of their keys.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &LocatedObject> {
        self.objects.values()
    }

    pub fn get(&self, key: &ObjectKey) -> Option<&LocatedObject> {
        self.objects.get(key)
    }

    /// What tells one form of an object from another: a digest of its spec, whatever the file, the layout and the comments.
    pub fn fingerprints(&self) -> BTreeMap<ObjectKey, String> {
        self.objects.iter().map(|(key, located)| (key.clone(), located.object.fingerprint())).collect()
    }

    /// What was left out because it is for other tools.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Adds what was left out before anything was read of it.
    pub(crate) fn skip(&mut self, files: Vec<Skipped>) {
        self.skipped.splice(0..0, files);
    }

    /// Where the files are that they name.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The same manifests, with the files that they name there.
    #[must_use]
    pub fn with_base(self, base: Base) -> Self {
        Self { base, ..self }
    }

    /// Whom `run` tells, in the order of their keys.
    pub fn notifiers(&self) -> Vec<Notifier> {
        let objects = self.objects.values().map(|located| &located.object);
        objects
            .filter_map(|object| match &object.spec {
                Spec::Notifier(spec) => Some(Notifier { key: object.key(), spec: (**spec).clone() }),
                _ => None,
            })
            .collect()
    }

    /// What the manifests declare, as the set of that name.
    pub fn desired(&self, set: &str) -> DesiredState {
        DesiredState::new(set, self.servers.clone())
    }
}

/// An object and where it was found.
#[derive(Debug)]
struct Loaded {
    /// Index of its source.
    source: usize,
    /// The bytes of the source that were parsed together.
    part: Range<usize>,
    /// The document's own.
    span: Span,
    object: Object,
    /// Parts of the document were wrong and left out: what seems to be missing may have been among them. The tree that is left. Of all others
    /// there is none, for it takes ten times as much memory as the document: it is made again where something has to be located.
    partial: Option<Box<Node>>,
}

/// Problems with the index of their source: the first of them, and how many there are.
#[derive(Debug, Default)]
struct Problems {
    first: Vec<(usize, Problem)>,
    count: usize,
}

impl Problems {
    fn error(&mut self, source: usize, problem: Problem) {
        self.count += 1;
        if self.first.len() < MAX_PROBLEMS {
            self.first.push((source, problem));
        }
    }

    /// Whether further ones are counted, and not kept.
    fn is_full(&self) -> bool {
        self.first.len() == MAX_PROBLEMS
    }

    /// Those beyond the first.
    fn further(&self) -> usize {
        self.count - self.first.len()
    }
}

/// Parses and validates. An error holds everything that is wrong, in the order of the sources.
pub fn load(sources: &[Source]) -> Result<Manifests, Vec<Diagnostic>> {
    let mut undecodable: Vec<(usize, Diagnostic)> = Vec::new();
    let mut texts: Vec<Option<Text<'_>>> = Vec::with_capacity(sources.len());
    let mut problems = Problems::default();
    let mut loaded = Vec::new();
    let mut broken = HashSet::new();
    let mut hidden = Hidden::new();
    let mut skipped = Vec::new();
    suggest::begin();
    for (source, bytes) in sources.iter().enumerate() {
        match Text::decode(bytes) {
            Err(diagnostic) => {
                undecodable.push((source, *diagnostic));
                texts.push(None);
            }
            Ok(text) => {
                tree::documents(text.content, |part, root, found| {
                    if root.is_none()
                        && let Some(tool) = text.content.get(part.clone()).and_then(foreign::tool_of_text)
                    {
                        skipped.push(Skipped { file: text.name.to_owned(), line: None, what: tool });
                        return;
                    }
                    // Those of the whole are told with the first of its documents.
                    let mut found: Vec<Problem> = found.into_iter().map(Problem::unread).collect();
                    let roots = root.map(|root| check::documents(root, &mut found)).unwrap_or_default();
                    for root in roots {
                        let mut own = std::mem::take(&mut found);
                        if let Some(tool) = foreign::tool(&root) {
                            // What other tools allow is not to be complained about.
                            let line = Some(text.position(root.span.start).0);
                            skipped.push(Skipped { file: text.name.to_owned(), line, what: tool });
                            continue;
                        }
                        let secrets = object((source, part), root, &mut own, &mut loaded, &mut broken);
                        hidden.entry(source).or_default().extend(secrets);
                        own.into_iter().for_each(|problem| problems.error(source, problem));
                    }
                    found.into_iter().for_each(|problem| problems.error(source, problem));
                });
                texts.push(Some(text));
            }
        }
    }
    let resolved = resolve::resolve(&loaded, &broken, &texts, &mut problems);

    let has_errors = problems.count + undecodable.len() > 0;
    let further = problems.further() + undecodable.len().saturating_sub(MAX_PROBLEMS);
    undecodable.truncate(MAX_PROBLEMS);
    if has_errors {
        let diagnostics = diagnose(undecodable, problems, &texts, hidden);
        let more = (further > 0).then(|| more(sources, further));
        return Err(diagnostics.into_iter().chain(more).collect());
    }
    let objects = loaded.into_iter().filter_map(|loaded| {
        let location = locate(&texts, loaded.source, loaded.span)?;
        Some((loaded.object.key(), LocatedObject { object: loaded.object, location }))
    });
    Ok(Manifests { objects: objects.collect(), servers: resolved, skipped, base: Base::default() })
}

/// Values that are not to be shown, by the index of their source.
type Hidden = HashMap<usize, Vec<Span>>;

/// All diagnostics in the order of the sources.
fn diagnose(
    mut diagnostics: Vec<(usize, Diagnostic)>,
    mut problems: Problems,
    texts: &[Option<Text<'_>>],
    mut hidden: Hidden,
) -> Vec<Diagnostic> {
    problems.first.sort_by_key(|(source, problem)| (*source, problem.span));
    for (source, problem) in &mut problems.first {
        hidden.entry(*source).or_default().append(&mut problem.hides);
    }
    hidden.values_mut().for_each(|spans| spans.sort());
    for (source, problem) in &problems.first {
        let Some(Some(text)) = texts.get(*source) else { continue };
        diagnostics.push((*source, text.diagnose(problem, hidden.get(source).map_or(&[], Vec::as_slice))));
    }
    diagnostics.sort_by_key(|(source, _)| *source);
    diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}

fn more(sources: &[Source], further: usize) -> Diagnostic {
    let file = sources.last().map_or("", |source| source.name.as_str());
    let words = if further == 1 { "and 1 more problem".to_owned() } else { format!("and {further} more problems") };
    let more = Diagnostic::of_file(file, words).with_hint("they are told once those before them are solved");
    Diagnostic { stands_for: further, ..more }
}

fn locate(texts: &[Option<Text<'_>>], source: usize, span: Span) -> Option<Location> {
    let text = texts.get(source)?.as_ref()?;
    let (line, column) = text.position(span.start);
    Some(Location { file: text.name.to_owned(), line, column })
}

/// Checks one document and makes the object; returns its secrets. Also of what is partly wrong: a wrong field must not hide what is wrong beside it.
fn object(
    (source, part): (usize, &Range<usize>),
    mut root: Node,
    problems: &mut Vec<Problem>,
    loaded: &mut Vec<Loaded>,
    broken: &mut HashSet<ObjectKey>,
) -> Vec<Span> {
    let secrets = check::secrets(&root);
    let Some((kind, mut value)) = check::document(&mut root, problems) else {
        // Of whichever kind it was meant to be: nothing that names it is wrong for that.
        broken.extend(check::named(&root).into_iter().flat_map(|(namespace, name)| {
            Kind::ALL.into_iter().map(move |kind| ObjectKey::new(kind, &namespace, &name))
        }));
        return secrets;
    };
    let partial = !problems.is_empty();
    let span = root.span;
    let mut take = |name: &str| value.get_mut(name).map(Value::take).unwrap_or_default();
    let (metadata, spec) = (take("metadata"), take("spec"));
    let named = metadata.get("name").and_then(Value::as_str).map(|name| {
        let namespace =
            metadata.get("namespace").and_then(Value::as_str).unwrap_or(crate::core::api::DEFAULT_NAMESPACE);
        ObjectKey::new(kind, namespace, name)
    });
    match decode(kind, metadata, spec) {
        Ok(object) => {
            let partial = partial.then(|| Box::new(root));
            loaded.push(Loaded { source, part: part.clone(), span, object, partial });
        }
        Err(error) => {
            broken.extend(named);
            if !partial {
                // The schema and the types are made of the same source; this would be a mistake in the program.
                problems.push(Problem::new(span, format!("the document cannot be read: {error}")));
            }
        }
    }
    secrets
}

fn decode(kind: Kind, metadata: Value, spec: Value) -> Result<Object, serde_json::Error> {
    let metadata = serde_json::from_value(metadata)?;
    let spec = match kind {
        Kind::Server => Spec::Server(serde_json::from_value(spec)?),
        Kind::Destination => Spec::Destination(serde_json::from_value(spec)?),
        Kind::Application => Spec::Application(serde_json::from_value(spec)?),
        Kind::Database => Spec::Database(serde_json::from_value(spec)?),
        Kind::Service => Spec::Service(serde_json::from_value(spec)?),
        Kind::Notifier => Spec::Notifier(serde_json::from_value(spec)?),
    };
    Ok(Object { metadata, spec })
}
