//! Objects named on the command line: `KIND NAME`, `KIND/NAME`, singular, plural or short, with or without a namespace.

use clap_complete::ArgValueCompleter;

use super::Error;
use super::completion::{complete_kinds, complete_names};
use crate::core::api::{Kind, ObjectKey};
use crate::core::manifest::Manifests;
use crate::core::manifest::suggest::did_you_mean;

/// `KIND [NAME...]` as typed.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TargetArgs {
    /// Kind of object (server, destination, application, database, service or notifier; plurals and short forms too), or KIND/NAME
    #[arg(value_name = "KIND", add = ArgValueCompleter::new(complete_kinds))]
    pub(super) kind: String,
    /// Name of the object, or NAMESPACE/NAME
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete_names))]
    pub(super) names: Vec<String>,
}

/// A kind and the names that were given with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) names: Vec<String>,
}

impl TargetArgs {
    pub(super) fn parse(&self) -> Result<Target, Error> {
        parse(&self.kind, &self.names)
    }
}

pub(super) fn parse(kind: &str, names: &[String]) -> Result<Target, Error> {
    let (kind, first) = match kind.split_once('/') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (kind, None),
    };
    let kind = kind.parse::<Kind>().map_err(|message| {
        let words = Kind::ALL.iter().flat_map(|kind| [kind.plural(), kind.plural().trim_end_matches('s')]);
        let error = Error::new(message);
        match did_you_mean(&kind.to_lowercase(), words) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    Ok(Target { kind, names: first.into_iter().chain(names.iter().cloned()).collect() })
}

impl Target {
    /// The declared object of that name. Without `-n` any namespace will do, as long as there is one only.
    pub(super) fn find(
        &self,
        name: &str,
        namespace: Option<&str>,
        manifests: &Manifests,
    ) -> Result<Option<ObjectKey>, Error> {
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (namespace, name),
        };
        let keys = manifests.objects().map(|located| located.object.key());
        let mut found: Vec<ObjectKey> = keys
            .filter(|key| key.kind == self.kind && key.name == name)
            .filter(|key| namespace.is_none_or(|namespace| key.namespace == namespace))
            .collect();
        if found.len() > 1 {
            let namespaces: Vec<&str> = found.iter().map(|key| key.namespace.as_str()).collect();
            let word = self.kind.as_str().to_lowercase();
            return Err(Error::new(format!(
                "there is {} {word} {name:?} in {} namespaces",
                article(&word),
                found.len()
            ))
            .hint(format!("choose one with -n: {}", namespaces.join(", "))));
        }
        Ok(found.pop())
    }

    /// The declared object of that name, or what to say where there is none.
    pub(super) fn require(
        &self,
        name: &str,
        namespace: Option<&str>,
        manifests: &Manifests,
    ) -> Result<ObjectKey, Error> {
        self.find(name, namespace, manifests)?.ok_or_else(|| self.not_found(name, namespace, manifests))
    }

    pub(super) fn not_found(&self, name: &str, namespace: Option<&str>, manifests: &Manifests) -> Error {
        let word = self.kind.as_str().to_lowercase();
        let place = namespace.map(|namespace| format!(" in the namespace {namespace:?}")).unwrap_or_default();
        let error = Error::new(format!("no manifest declares {} {word} {name:?}{place}", article(&word)));
        match suggestion(&[self.kind], name, namespace, manifests) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("`landfall get {}` lists what is declared", self.kind.plural())),
        }
    }
}

/// What was probably meant by NAME or NAMESPACE/NAME: an object of that name in another namespace, else one of nearly that name.
pub(super) fn suggestion(kinds: &[Kind], name: &str, namespace: Option<&str>, manifests: &Manifests) -> Option<String> {
    let (with_name, bare) = match name.split_once('/') {
        Some((namespace, bare)) => (Some(namespace), bare),
        None => (None, name),
    };
    let keys: Vec<ObjectKey> =
        manifests.objects().map(|located| located.object.key()).filter(|key| kinds.contains(&key.kind)).collect();
    if let Some(elsewhere) = keys.iter().find(|key| key.name == bare) {
        return Some(format!("there is one in the namespace {:?}", elsewhere.namespace));
    }
    let within = with_name.or(namespace);
    let in_namespace = keys.iter().filter(|key| within.is_none_or(|namespace| key.namespace == namespace));
    if with_name.is_some() {
        let paths: Vec<String> = in_namespace.map(ObjectKey::path).collect();
        return did_you_mean(name, paths.iter().map(String::as_str));
    }
    did_you_mean(bare, in_namespace.map(|key| key.name.as_str()))
        .or_else(|| did_you_mean(bare, keys.iter().map(|key| key.name.as_str())))
}

pub(super) fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}
