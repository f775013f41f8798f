//! `version`

use serde::Serialize;

use super::output::DataFormat;
use super::{Context, Error, Exit};
use crate::shell::compose::{Cli, Program};

/// Prints the version; with `-v` how this binary was built
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Output format
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<DataFormat>,
}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    /// Version of the manifests it reads.
    api_version: &'static str,
    target: &'static str,
    profile: &'static str,
    rustc: &'static str,
    /// Absent where it was not built from a Git repository, and in development builds.
    commit: Option<&'static str>,
    /// Docker Compose, which brings up service stacks: how it is called, and its version.
    compose: Option<String>,
    /// Version of the Docker CLI, which deploys service stacks on a Swarm.
    docker: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let asked = args.output.is_some() || context.verbose() > 0;
    let version = Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        api_version: crate::core::api::API_VERSION,
        target: env!("LANDFALL_TARGET"),
        profile: env!("LANDFALL_PROFILE"),
        rustc: env!("LANDFALL_RUSTC"),
        commit: option_env!("LANDFALL_COMMIT"),
        // A program is asked, which takes a moment.
        compose: asked.then(compose).flatten(),
        docker: asked.then(|| Cli::find().ok().map(|cli| cli.version)).flatten(),
    };
    match args.output {
        Some(format) => context.print_data(format, &version)?,
        None => {
            let mut text = format!("{} {}\n", version.name, version.version);
            if context.verbose() > 0 {
                text.push_str(&format!(
                    "api version: {}\ntarget: {}\nprofile: {}\nrustc: {}\n",
                    version.api_version, version.target, version.profile, version.rustc
                ));
                let compose = version.compose.as_deref().unwrap_or("none; service stacks need it");
                let docker = version.docker.as_deref().unwrap_or("none; service stacks on a Swarm need it");
                text.push_str(&format!("compose: {compose}\ndocker: {docker}\n"));
                if let Some(commit) = version.commit {
                    text.push_str(&format!("commit: {commit}\n"));
                }
            }
            context.print(&text)?;
        }
    }
    Ok(Exit::Done)
}

fn compose() -> Option<String> {
    Program::find().ok().map(|program| format!("{} {}", program.name(), program.version))
}
