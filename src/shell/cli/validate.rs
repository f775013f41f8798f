//! `validate -f PATH`

use serde::Serialize;

use super::args::{ManifestArgs, StateArgs, wrong};
use super::output::DataFormat;
use super::output::style::styled;
use super::repository::GitArgs;
use super::{Context, Error, Exit};
use crate::core::annotations;
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredState;
use crate::core::manifest::{self, Diagnostic, Manifests, Severity, Skipped};
use crate::core::plan::{self, Reason};
use crate::core::printable::one_line;
use crate::core::workload::stack;
use crate::shell::compose;
use crate::shell::secrets;

/// Of what was skipped, by name.
const LISTED: usize = 100;

/// Checks manifests without talking to any server
///
/// Syntax, schema and references: every problem of all files is reported at once, each with its place. Compose files of managed services are
/// read by Docker Compose, where it is installed. Values from elsewhere that are missing here are told as warnings.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: ManifestArgs,
    #[command(flatten)]
    git: GitArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Json,
    Yaml,
    /// Annotations of GitHub Actions, at the lines of the manifests
    Github,
    /// The code quality report of GitLab
    Gitlab,
    /// SARIF 2.1.0 for code scanning
    Sarif,
}

#[derive(Serialize)]
struct Verdict<'a> {
    valid: bool,
    /// How many objects are declared; absent where that cannot be told.
    objects: Option<usize>,
    diagnostics: &'a [Diagnostic],
    /// What is for other tools.
    #[serde(skip_serializing_if = "<[Skipped]>::is_empty")]
    skipped: &'a [Skipped],
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    // What `diff` cannot plan for is no more valid here than there.
    let read = match args.git.read(&args.state, context)? {
        Some((read, _)) => read,
        None => args.manifests.read(),
    };
    let read = read.and_then(|manifests| {
        let mut desired = manifests.desired("default");
        compose::read(&mut desired, manifests.base());
        let mut found = stack::diagnostics(&manifests, &desired);
        found.extend(missing_values(&manifests, &desired));
        found.extend(named_twice(&manifests, &desired));
        found.extend(overridden_routes(&manifests, &desired));
        if manifest::count(&found) > 0 { Err(found) } else { Ok((manifests, found)) }
    });
    match (read, args.output) {
        (Ok((manifests, found)), Some(format)) => {
            let diagnostics = found.as_slice();
            let (objects, skipped) = (Some(manifests.objects().len()), manifests.skipped());
            let verdict = Verdict { valid: true, objects, diagnostics, skipped };
            tell(context, format, &verdict)?;
        }
        (Ok((manifests, found)), None) => {
            found.iter().for_each(|warning| context.say(&styled(warning)));
            let count = manifests.objects().len();
            if context.verbose() > 0 {
                context.say(&skipped(manifests.skipped()));
            }
            context.print(&format!("{count} object{} valid\n", if count == 1 { " is" } else { "s are" }))?;
        }
        (Err(diagnostics), Some(format)) => {
            let verdict = Verdict { valid: false, objects: None, diagnostics: &diagnostics, skipped: &[] };
            tell(context, format, &verdict)?;
            return Ok(Exit::Failed);
        }
        (Err(diagnostics), None) => return Err(wrong(&diagnostics, "")),
    }
    Ok(Exit::Done)
}

fn tell(context: &Context, format: Format, verdict: &Verdict) -> Result<(), Error> {
    let found = || annotations::of_diagnostics(verdict.diagnostics);
    match format {
        Format::Json => context.print_data(DataFormat::Json, verdict),
        Format::Yaml => context.print_data(DataFormat::Yaml, verdict),
        Format::Github => context.print(&annotations::github(&found())),
        Format::Gitlab => context.print_data(DataFormat::Json, &annotations::gitlab(&found())),
        Format::Sarif => {
            let log = annotations::sarif_of_diagnostics(verdict.diagnostics, env!("CARGO_PKG_VERSION"));
            context.print_data(DataFormat::Json, &log)
        }
    }
}

/// What was left out, counted and then by name.
fn skipped(all: &[Skipped]) -> String {
    let mut text = match all.len() {
        0 => return "nothing was skipped".to_owned(),
        1 => "skipped 1 document of another tool:\n".to_owned(),
        count => format!("skipped {count} documents of other tools:\n"),
    };
    for Skipped { file, line, what } in all.iter().take(LISTED) {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        text.push_str(&format!("  {file}{line}: {}\n", one_line(what)));
    }
    if all.len() > LISTED {
        text.push_str(&format!("  and {} more\n", all.len() - LISTED));
    }
    text
}

/// Both get what both declare, which is hardly meant: a warning.
fn named_twice(manifests: &Manifests, desired: &DesiredState) -> Vec<Diagnostic> {
    let found = plan::named_twice(desired).into_iter();
    let told = found.filter_map(|(resource, what)| warning(manifests, &resource, what, Reason::OwnershipConflict));
    told.map(|it| it.with_hint("have one resource declare it, with the aliases and destinations of both")).collect()
}

/// As declared, which may not be what was meant: a warning.
fn overridden_routes(manifests: &Manifests, desired: &DesiredState) -> Vec<Diagnostic> {
    let found = plan::overridden_routes(desired).into_iter();
    found.filter_map(|(resource, what)| located(manifests, &resource, what)).collect()
}

fn warning(manifests: &Manifests, resource: &ObjectKey, what: String, reason: Reason) -> Option<Diagnostic> {
    located(manifests, resource, format!("{what} ({reason:?})"))
}

fn located(manifests: &Manifests, resource: &ObjectKey, what: String) -> Option<Diagnostic> {
    let location = &manifests.get(resource)?.location;
    let problem = Diagnostic::of_file(&location.file, what);
    let (line, column) = (Some(location.line), Some(location.column));
    Some(Diagnostic { severity: Severity::Warning, line, column, ..problem })
}

/// What is not here may be where the manifests are applied: a warning.
fn missing_values(manifests: &Manifests, desired: &DesiredState) -> Vec<Diagnostic> {
    let missing = secrets::missing(desired, manifests.base()).into_iter();
    let told = missing.filter_map(|(resource, why)| {
        let told = warning(manifests, &resource, why, Reason::SecretMissing)?;
        Some(told.with_hint(format!("`apply` refuses {resource} unless the value is there, where that runs")))
    });
    told.collect()
}
