//! Options that several commands share.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::style::styled;
use super::target::Target;
use super::{Context, Error};
use crate::core::api::{Kind, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::manifest::suggest::did_you_mean;
use crate::core::manifest::{self, Diagnostic, Manifests};
use crate::core::scope::{Scope, Selection};
use crate::core::selector::Selector;
use crate::shell::compose;
use crate::shell::secrets::{self, Generate};
use crate::shell::sources;

/// Where manifests are read from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ManifestArgs {
    /// Manifest file, directory (searched recursively) or `-` for standard input; repeats
    /// [default: $LANDFALL_MANIFESTS or ./manifests]
    // The environment is read below: clap takes what it holds for given, and shows it as required in its usage lines.
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    filename: Vec<PathBuf>,
}

const DEFAULT_MANIFESTS: &str = "./manifests";
const ENVIRONMENT: &str = "LANDFALL_MANIFESTS";

impl ManifestArgs {
    /// As if these had been given with `-f`.
    pub(super) fn of(filename: Vec<PathBuf>) -> Self {
        Self { filename }
    }

    /// What is to be read: as given, else as the environment has it, else the default.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        if self.filename.is_empty() { vec![unnamed().0] } else { self.filename.clone() }
    }

    /// Nothing says where the manifests are, and they are not where they usually are.
    pub(super) fn is_absent(&self) -> bool {
        let (path, is_default) = unnamed();
        self.filename.is_empty() && is_default && !path.exists()
    }

    /// Reads and validates all of them.
    pub(crate) fn load(&self) -> Result<Manifests, Error> {
        load(&self.paths())
    }

    /// Reads and validates all of them; what is wrong is the caller's data.
    pub(super) fn read(&self) -> Result<Manifests, Vec<Diagnostic>> {
        sources::load(&self.paths(), &mut std::io::stdin())
    }
}

/// Where manifests are unless `-f` says so, and whether that is the default. An empty variable is as good as none.
pub(super) fn unnamed() -> (PathBuf, bool) {
    match std::env::var_os(ENVIRONMENT).filter(|path| !path.is_empty()) {
        Some(path) => (path.into(), false),
        None => (DEFAULT_MANIFESTS.into(), true),
    }
}

/// Reads and validates what the paths name.
pub(super) fn load(paths: &[PathBuf]) -> Result<Manifests, Error> {
    load_with(paths, &mut std::io::stdin())
}

/// With something else for standard input.
pub(super) fn load_with(paths: &[PathBuf], stdin: &mut dyn std::io::Read) -> Result<Manifests, Error> {
    sources::load(paths, stdin).map_err(|problems| invalid(&problems))
}

/// What the manifests declare, as the set of that name, with the values that they name.
pub(crate) fn desired(manifests: &Manifests, set: &str) -> DesiredState {
    desired_with(manifests, set, Generate::No)
}

/// The same. `generate`: whether passwords that are to be generated are written down.
pub(crate) fn desired_with(manifests: &Manifests, set: &str, generate: Generate) -> DesiredState {
    let mut desired = manifests.desired(set);
    secrets::read(&mut desired, manifests.base(), generate);
    compose::read(&mut desired, manifests.base());
    desired
}

/// For a command that was to do something with them.
pub(super) fn invalid(problems: &[Diagnostic]) -> Error {
    wrong(problems, "; nothing was done")
}

/// `consequence`: what follows for the command.
pub(super) fn wrong(problems: &[Diagnostic], consequence: &str) -> Error {
    let details: Vec<String> = problems.iter().map(styled).collect();
    let count = match manifest::count(problems) {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    Error::new(format!("{count} in the manifests{consequence}")).details(details.join("\n\n"))
}

/// For another command's line.
pub(super) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::new(format!("{} is not valid UTF-8", path.display())))
}

/// Which of the declared objects a command is about.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ScopeArgs {
    /// Only objects of this namespace
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    pub(crate) namespace: Option<String>,
    /// Objects of all namespaces: the default
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Only objects with these labels, as for kubectl: `app=web,tier!=db,env in (a, b),!legacy`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<Selector>,
    /// Only what is on this server; several with commas between
    #[arg(long, value_name = "SERVER", value_delimiter = ',', add = clap_complete::ArgValueCompleter::new(super::completion::complete_servers))]
    pub(crate) server: Vec<String>,
}

impl ScopeArgs {
    /// The servers that are named, each of which is declared; `None` where none is, and all are meant.
    pub(super) fn servers(&self, manifests: &Manifests) -> Result<Option<BTreeSet<ObjectKey>>, Error> {
        let target = Target { kind: Kind::Server, names: Vec::new() };
        // The namespace is that of the objects.
        let servers = self.server.iter().map(|name| target.require(name, None, manifests));
        let servers: BTreeSet<ObjectKey> = servers.collect::<Result<_, _>>()?;
        Ok((!servers.is_empty()).then_some(servers))
    }

    /// What is to be looked at, and changed, on those servers alone. The others are known of still.
    pub(super) fn narrow(&self, desired: &mut DesiredState, manifests: &Manifests) -> Result<(), Error> {
        if let Some(servers) = self.servers(manifests)? {
            desired.narrow(|key, _| servers.contains(key));
        }
        Ok(())
    }

    /// Which of the declared objects are meant; `None` means all. A scope that means none is most likely a slip of the pen, and said.
    pub(super) fn select(&self, manifests: &Manifests, context: &Context) -> Option<Selection> {
        let selection = self.scope().select(manifests.objects().map(|located| &located.object));
        if selection.as_ref().is_some_and(Selection::is_empty) {
            let (message, hint) = self.nothing_selected(manifests);
            context.warn(&format!("{message}; {hint}"));
        }
        selection
    }

    /// The same for a command that would have nothing to do.
    pub(super) fn select_some(&self, manifests: &Manifests) -> Result<Option<Selection>, Error> {
        let selection = self.scope().select(manifests.objects().map(|located| &located.object));
        if selection.as_ref().is_some_and(Selection::is_empty) {
            let (message, hint) = self.nothing_selected(manifests);
            return Err(Error::new(message).hint(hint));
        }
        Ok(selection)
    }

    fn nothing_selected(&self, manifests: &Manifests) -> (String, String) {
        let place = self.namespace.as_ref().map(|namespace| format!(" in the namespace {namespace:?}"));
        let labels = self.selector.as_ref().map(|_| " with the labels of `-l`");
        let message =
            format!("no object{}{} is declared", place.as_deref().unwrap_or_default(), labels.unwrap_or_default());
        let namespaces: BTreeSet<&str> =
            manifests.objects().map(|located| located.object.metadata.namespace.as_str()).collect();
        let near = self.namespace.as_ref().filter(|namespace| !namespaces.contains(namespace.as_str()));
        let near = near.and_then(|namespace| did_you_mean(namespace, namespaces.into_iter()));
        (message, near.unwrap_or_else(|| "`landfall get all` lists what is declared".to_owned()))
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope { namespace: self.namespace.clone(), selector: self.selector.clone() }
    }
}

/// Which set of manifests this is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SetArgs {
    /// Name of this set of manifests: what it owns is marked with it, and it removes nothing else
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = parse_set)]
    pub(crate) set: String,
}

/// How servers are talked to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// How long to wait for a server before it counts as unreachable, such as `10s` or `2m`
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// How many servers are looked at, and changed, at the same time
    #[arg(long, value_name = "N", default_value_t = SERVERS_AT_ONCE, value_parser = parse_concurrency)]
    pub(crate) concurrency: usize,
}

/// Most of the time with a server is spent waiting for it; a connection over SSH takes a third of a megabyte.
pub(super) const SERVERS_AT_ONCE: usize = 32;

/// Where is what stays between runs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StateArgs {
    /// Directory for what stays between runs: history, journals, what is known of containers [default: $XDG_STATE_HOME/landfall]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// Sets end up in labels that people read and select by.
fn parse_set(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 63 || !text.bytes().all(fits) || !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(
            "a set's name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins with a letter or digit".to_owned()
        );
    }
    Ok(text.to_owned())
}

fn parse_concurrency(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one server has to be talked to at a time".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a number of servers".to_owned()),
    }
}

/// `30s`, `2m`, `1m 30s`; a bare number is seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .ok_or("not a duration; write `30s`, `500ms` or `2m`")?,
    };
    if duration.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(duration)
}

/// The same, and `30d`; `0` is nothing.
pub(super) fn parse_days(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<u32>().ok());
    match days {
        Some(days) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        None if matches!(text, "0" | "0s") => Ok(Duration::ZERO),
        None => parse_duration(text).map_err(|error| format!("{error}, or `30d`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_durations_too() {
        assert_eq!(parse_days("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!((parse_days("0"), parse_days("12h")), (Ok(Duration::ZERO), Ok(Duration::from_secs(43_200))));
        assert!(parse_days("d").is_err() && parse_days("-1d").is_err());
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
        for bad in ["", "0", "-1s", "soon", "0s"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_set_is_a_word_that_fits_a_label() {
        assert!(parse_set("team-a.prod_1").is_ok());
        for bad in ["", "-a", "a/b", "a b", "ä"] {
            assert!(parse_set(bad).is_err(), "{bad:?}");
        }
    }
}
