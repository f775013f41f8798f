//! `move KIND NAME`

use super::clone::{CopyArgs, Errand, Work};
use super::{Context, Error, Exit};

/// Prints the manifest of an application, database or service on another destination
///
/// The repository is the truth: commit what is printed in place of the present manifest, and `apply` makes it so. Between two servers its data has to go along: with
/// `--with-volumes` it is stopped, its volumes are copied and compared, and it is left stopped. Nothing of it is deleted; pruning removes its containers once the manifest says that it
/// is elsewhere, and its volumes stay. On one server the volumes are where they are, and a rollout moves it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: landfall move database orders --to far/web --with-volumes > manifests/orders.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    copy: CopyArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    Work::new(&args.copy, Errand::Move, context)?.run()
}
