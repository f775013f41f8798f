//! `completion SHELL`, and what a shell is told when it asks: kinds, names, namespaces, servers, paths of fields.

use std::ffi::{OsStr, OsString};

use clap::CommandFactory;
use clap_complete::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};

use super::args::{ManifestArgs, SetArgs, StateArgs};
use super::repository::GitArgs;
use super::{Cli, Context, Error, Exit};
use crate::core::api::{Kind, ObjectKey, explain};
use crate::core::manifest::Manifests;
use crate::core::reasons;

/// The variable by which a shell asks.
const ASKED: &str = "COMPLETE";

/// Prints a completion script for a shell
///
/// For bash: `source <(landfall completion bash)`, or write it to a file in `~/.local/share/bash-completion/completions/`. The script asks
/// `landfall` for what fits, and so knows the kinds, names, namespaces and servers of the manifests at hand and the fields of every kind.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let (name, shells) = (args.shell.to_string(), Shells::builtins());
    let shell = shells.completer(&name).ok_or_else(|| Error::new(format!("there is no completion for {name}")))?;
    let mut script = Vec::new();
    shell
        .write_registration(ASKED, "landfall", "landfall", "landfall", &mut script)
        .map_err(|error| Error::new("the script cannot be written").caused_by(&error))?;
    context.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Answers a shell; false where none asks.
pub(super) fn answered(arguments: &[OsString]) -> clap::error::Result<bool> {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(Cli::command).var(ASKED).try_complete(arguments.iter().cloned(), here.as_deref())
}

/// The words of the command line that is being completed.
fn words() -> Vec<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.skip_while(|word| word != "--").skip(2).collect()
}

/// What the words name with `-f`, else what is usual, else what the controller beside them keeps.
fn manifests(words: &[String]) -> Option<Manifests> {
    let mut files = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let next = || words.get(at + 1).map(String::as_str);
        let value = match word.as_str() {
            "-f" | "--filename" => next(),
            word => word.strip_prefix("--filename=").or_else(|| word.strip_prefix("-f").filter(|it| !it.is_empty())),
        };
        files.extend(value.filter(|value| *value != "-").map(std::path::PathBuf::from));
    }
    let files = if files.is_empty() { ManifestArgs::default() } else { ManifestArgs::of(files) };
    // What it says beside the answer is nothing for a shell.
    let context = Context::capturing();
    GitArgs::default()
        .load_or_ask(&files, &StateArgs { state: None }, &SetArgs { set: "default".to_owned() }, &context)
        .ok()
        .map(|it| it.manifests)
}

fn beginning(current: &OsStr, words: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let mut fitting: Vec<String> = words.into_iter().filter(|word| word.starts_with(typed.as_ref())).collect();
    fitting.sort_by(|a, b| crate::core::printable::natural(a, b));
    fitting.dedup();
    fitting.into_iter().map(CompletionCandidate::new).collect()
}

/// Kinds in the singular, and `KIND/NAME` once a slash is typed.
pub(super) fn complete_kinds(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let Some((kind, _)) = typed.split_once('/') else {
        return beginning(current, Kind::ALL.map(|kind| kind.as_str().to_lowercase()));
    };
    let names = names(kind, None, manifests(&words()).as_ref());
    beginning(current, names.into_iter().map(|name| format!("{kind}/{name}")))
}

/// Names of the kind that is typed before them.
pub(super) fn complete_names(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = words();
    let Some(kind) = words.iter().find(|word| word.split(',').all(|word| word.parse::<Kind>().is_ok())) else {
        return Vec::new();
    };
    let namespace = after(&words, &["-n", "--namespace"]);
    beginning(current, names(kind, namespace.as_deref(), manifests(&words).as_ref()))
}

/// Kinds and `KIND/NAME` where names of a kind may follow.
pub(super) fn complete_objects(current: &OsStr) -> Vec<CompletionCandidate> {
    let kind_is_typed = words().iter().rev().skip(1).any(|word| word.parse::<Kind>().is_ok());
    if kind_is_typed { complete_names(current) } else { complete_kinds(current) }
}

pub(super) fn complete_servers(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    // Several with commas between.
    let before = typed.rfind(',').map_or("", |at| &typed[..=at]);
    let names = names("server", None, manifests(&words()).as_ref());
    beginning(current, names.into_iter().map(|name| format!("{before}{name}")))
}

pub(super) fn complete_namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    let manifests = manifests(&words());
    beginning(current, keys(manifests.as_ref()).map(|key| key.namespace.to_string()))
}

/// A step of a path after the other, and the reasons.
pub(super) fn complete_paths(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    match typed.rfind('.') {
        Some(at) => {
            let parent = &typed[..at];
            let Ok(found) = explain::explain(parent) else { return Vec::new() };
            beginning(current, found.names().map(|name| format!("{parent}.{name}")))
        }
        None => {
            let kinds = Kind::ALL.map(|kind| kind.as_str().to_lowercase());
            beginning(current, kinds.into_iter().chain(reasons::all().map(|it| it.word)))
        }
    }
}

fn keys(manifests: Option<&Manifests>) -> impl Iterator<Item = ObjectKey> {
    manifests.into_iter().flat_map(Manifests::objects).map(|located| located.object.key())
}

/// By which objects of some kinds can be called; with the namespace before it where the name is of several.
fn names(kinds: &str, namespace: Option<&str>, manifests: Option<&Manifests>) -> Vec<String> {
    let kinds: Vec<Kind> = kinds.split(',').filter_map(|kind| kind.parse().ok()).collect();
    let fitting: Vec<ObjectKey> = keys(manifests)
        .filter(|key| kinds.contains(&key.kind) && namespace.is_none_or(|namespace| key.namespace == namespace))
        .collect();
    let is_shared =
        |key: &ObjectKey| fitting.iter().any(|other| other.kind == key.kind && other.name == key.name && other != key);
    fitting.iter().map(|key| if is_shared(key) { key.path() } else { key.name.to_string() }).collect()
}

fn after(words: &[String], options: &[&str]) -> Option<String> {
    let at = words.iter().position(|word| options.contains(&word.as_str()))?;
    words.get(at + 1).cloned()
}
