//! Documents to objects with source locations to a validated set, from which the desired state follows. Every problem of every
//! file is reported at once.
//!
//! ```text
//! bytes ─ text ─► text ─ tree ─► located nodes ─ check ─► objects ─ resolve ─► DesiredState
//! ```

mod check;
mod diagnostic;
mod endpoint;
mod json;
mod resolve;
pub(crate) mod suggest;
mod text;
mod tree;

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

pub use diagnostic::{Diagnostic, Severity};

use crate::api::{Kind, Object, ObjectKey, Spec};
use crate::desired::{DesiredServer, DesiredState};
use crate::notice::Notifier;
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
    servers: BTreeMap<ObjectKey, DesiredServer>,
    unsupported: Vec<Diagnostic>,
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

    /// Valid declarations that this version cannot bring about yet. To validate they are warnings; whoever wants to converge gets
    /// them as errors from [`Manifests::desired`].
    pub fn unsupported(&self) -> &[Diagnostic] {
        &self.unsupported
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

    /// What the manifests declare, as the set of that name; or what of it is not supported.
    pub fn desired(&self, set: &str) -> Result<DesiredState, Vec<Diagnostic>> {
        if self.unsupported.is_empty() {
            return Ok(DesiredState {
                set: set.to_owned(),
                source: None,
                servers: self.servers.clone(),
                elsewhere: BTreeMap::new(),
            });
        }
        let error = |diagnostic: &Diagnostic| Diagnostic { severity: Severity::Error, ..diagnostic.clone() };
        Err(self.unsupported.iter().map(error).collect())
    }
}

/// An object with the tree it was made from.
#[derive(Debug)]
struct Loaded {
    /// Index of its source.
    source: usize,
    root: Node,
    object: Object,
    /// Parts of the document were wrong and left out: what seems to be missing may have been among them.
    partial: bool,
}

/// Problems with the index of their source.
#[derive(Debug, Default)]
struct Problems(Vec<(usize, Severity, Problem)>);

impl Problems {
    fn error(&mut self, source: usize, problem: Problem) {
        self.0.push((source, Severity::Error, problem));
    }
}

/// Parses and validates. An error holds everything that is wrong, in the order of the sources.
pub fn load(sources: &[Source]) -> Result<Manifests, Vec<Diagnostic>> {
    let mut undecodable: Vec<(usize, Diagnostic)> = Vec::new();
    let mut texts: Vec<Option<Text<'_>>> = Vec::with_capacity(sources.len());
    let mut problems = Problems::default();
    let mut loaded = Vec::new();
    let mut broken = HashSet::new();
    for (source, bytes) in sources.iter().enumerate() {
        match Text::decode(bytes) {
            Err(diagnostic) => {
                undecodable.push((source, *diagnostic));
                texts.push(None);
            }
            Ok(text) => {
                tree::documents(text.content, |root, mut found| {
                    if let Some(root) = root {
                        object(source, root, &mut found, &mut loaded, &mut broken);
                    }
                    problems.0.extend(found.into_iter().map(|problem| (source, Severity::Error, problem)));
                });
                texts.push(Some(text));
            }
        }
    }
    let resolved = resolve::resolve(&loaded, &broken, &texts, &mut problems);

    problems.0.sort_by_key(|(source, _, problem)| (*source, problem.span));
    let mut diagnostics = undecodable;
    let (mut errors, mut unsupported) = (false, Vec::new());
    for (source, severity, problem) in &problems.0 {
        let Some(Some(text)) = texts.get(*source) else { continue };
        let diagnostic = text.diagnose(*severity, problem);
        match severity {
            Severity::Error => errors = true,
            Severity::Warning => unsupported.push(diagnostic.clone()),
        }
        diagnostics.push((*source, diagnostic));
    }
    if errors || diagnostics.len() > unsupported.len() {
        diagnostics.sort_by_key(|(source, _)| *source);
        return Err(diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect());
    }
    let objects = loaded.into_iter().filter_map(|loaded| {
        let location = locate(&texts, loaded.source, loaded.root.span)?;
        Some((loaded.object.key(), LocatedObject { object: loaded.object, location }))
    });
    Ok(Manifests { objects: objects.collect(), servers: resolved, unsupported })
}

fn locate(texts: &[Option<Text<'_>>], source: usize, span: Span) -> Option<Location> {
    let text = texts.get(source)?.as_ref()?;
    let (line, column) = text.position(span.start);
    Some(Location { file: text.name.to_owned(), line, column })
}

/// Checks one document and makes the object, also of what is partly wrong: a wrong field must not hide what is wrong beside it.
fn object(
    source: usize,
    mut root: Node,
    problems: &mut Vec<Problem>,
    loaded: &mut Vec<Loaded>,
    broken: &mut HashSet<ObjectKey>,
) {
    let Some((kind, mut value)) = check::document(&mut root, problems) else { return };
    let partial = !problems.is_empty();
    let mut part = |name: &str| value.get_mut(name).map(Value::take).unwrap_or_default();
    let (metadata, spec) = (part("metadata"), part("spec"));
    let named = metadata.get("name").and_then(Value::as_str).map(|name| {
        let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or(crate::api::DEFAULT_NAMESPACE);
        ObjectKey::new(kind, namespace, name)
    });
    match decode(kind, metadata, spec) {
        Ok(object) => loaded.push(Loaded { source, root, object, partial }),
        Err(error) => {
            broken.extend(named);
            if !partial {
                // The schema and the types are made of the same source; this would be a mistake in the program.
                problems.push(Problem::new(root.span, format!("the document cannot be read: {error}")));
            }
        }
    }
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
