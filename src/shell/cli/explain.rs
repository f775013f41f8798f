//! `explain FIELD.PATH` and `explain REASON`

use clap_complete::ArgValueCompleter;

use super::completion::complete_paths;
use super::{Context, Error, Exit};
use crate::core::api::{Kind, explain};
use crate::core::manifest::suggest::nearest;
use crate::core::reasons;

/// Explains a kind or a field of a manifest, or a reason or condition that a plan, a status or an event gives
///
/// `landfall explain destination` lists the fields of a destination, `landfall explain destination.spec.network.mtu` explains one,
/// `landfall explain MassDeletionRefused` says what that means and what to do about it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind, and the names of fields, apart by dots; or a reason
    #[arg(value_name = "FIELD.PATH|REASON", add = ArgValueCompleter::new(complete_paths))]
    path: String,
    /// All fields below it, with their types
    #[arg(long)]
    recursive: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    if let Some(reason) = reasons::explain(&args.path) {
        context.print(&reason.to_string())?;
        return Ok(Exit::Done);
    }
    let explanation = explain::explain(&args.path).map_err(|message| match is_one_word(&args.path) {
        true => unknown(&args.path),
        false => Error::new(message),
    })?;
    let text = if args.recursive { explanation.recursive().to_string() } else { explanation.to_string() };
    context.print(&text)?;
    Ok(Exit::Done)
}

/// Not the path of a field: a kind, or a word that a plan, a status or an event gives.
fn is_one_word(path: &str) -> bool {
    !path.trim_matches('.').contains('.')
}

fn unknown(word: &str) -> Error {
    let kinds: Vec<String> = Kind::ALL.iter().map(|kind| kind.as_str().to_lowercase()).collect();
    let words: Vec<String> = reasons::all().map(|it| it.word).collect();
    let error = Error::new(format!("{word:?} is no kind, and no reason, cause, condition or event"));
    match nearest(word, kinds.iter().chain(&words).map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`? landfall explain {near}")),
        None => error.hint(format!(
            "kinds are {}; reasons and the like are written as `diff`, `get` and `events` print them, such as NetworkMissing",
            kinds.join(", ")
        )),
    }
}
