//! Where `run` answers, and to whom.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Error;
use crate::shell::web::{self, AllowedHosts, BindError, Listeners, Token, WebState};

const DEFAULT: &str = "127.0.0.1:7420";
/// Bytes of a file with a token that nobody guesses.
const SHORTEST: u64 = 16;

#[derive(Debug, clap::Args)]
pub(super) struct ListenArgs {
    /// Address for the status page, the API and the metrics; `none` for no address at all [default: 127.0.0.1:7420]
    #[arg(long, value_name = "HOST:PORT", help_heading = "HTTP")]
    listen: Option<String>,
    /// File with the token that those who act over HTTP have to show [default: the token in $LANDFALL_TOKEN]
    #[arg(long, value_name = "FILE", help_heading = "HTTP")]
    token_file: Option<PathBuf>,
    /// File with the token that those who read over HTTP have to show, unless they are on this machine [default: the token in
    /// $LANDFALL_READ_TOKEN]
    #[arg(long, alias = "read-token-file", value_name = "FILE", help_heading = "HTTP")]
    read_token: Option<PathBuf>,
    /// Show on the page and in the metrics what containers use: processors, memory, network and disks. Servers are asked with each look, and every
    /// 30 s for the metrics
    #[arg(long, help_heading = "HTTP")]
    usage: bool,
    /// Name under which it may be asked for, besides addresses and `localhost`; repeats
    #[arg(long, value_name = "NAME", help_heading = "HTTP")]
    allow_host: Vec<String>,
}

/// The arguments, checked.
#[derive(Debug)]
pub(super) struct Listening {
    address: Option<SocketAddr>,
    /// Somebody asked for this address: then it is an error that it cannot be had.
    asked: bool,
    pub(super) token: Option<Token>,
    pub(super) read_token: Option<Token>,
    pub(super) hosts: AllowedHosts,
    pub(super) usage: bool,
}

impl ListenArgs {
    pub(super) fn check(&self) -> Result<Listening, Error> {
        let token = token_of("--token-file", self.token_file.as_deref(), "LANDFALL_TOKEN")?;
        let read_token = token_of("--read-token", self.read_token.as_deref(), "LANDFALL_READ_TOKEN")?;
        let address = match self.listen.as_deref() {
            Some("none") => None,
            text => Some(address(text.unwrap_or(DEFAULT), token.is_some())?),
        };
        Ok(Listening {
            address,
            asked: self.listen.is_some(),
            token,
            read_token,
            hosts: AllowedHosts(self.allow_host.clone()),
            usage: self.usage,
        })
    }
}

/// The token in the file, or else in the variable.
fn token_of(flag: &str, file: Option<&Path>, variable: &str) -> Result<Option<Token>, Error> {
    let cannot = |what: String, error| Error::new(what).caused_by(&error);
    if let Some(path) = file {
        let token = Token::read(path);
        doubts(path);
        return token.map(Some).map_err(|error| cannot(format!("{flag} {}", path.display()), error));
    }
    match std::env::var_os(variable) {
        Some(text) => {
            let token = Token::new(&text.to_string_lossy());
            token.map(Some).map_err(|error| cannot(format!("the token in {variable}"), error))
        }
        None => Ok(None),
    }
}

/// A token that others can read or guess is no token.
fn doubts(path: &Path) {
    let Ok(file) = std::fs::metadata(path) else { return };
    if file.mode() & 0o004 != 0 {
        tracing::warn!("every user of this machine can read the token: chmod o-r {}", path.display());
    }
    if file.len() < SHORTEST {
        tracing::warn!("the token in {} is short enough to be guessed: take 16 characters or more", path.display());
    }
}

fn address(text: &str, token: bool) -> Result<SocketAddr, Error> {
    let found = web::resolve(text).map_err(|error| {
        let hint = format!("write an address and a port, such as {DEFAULT}, or `none`");
        Error::new(format!("--listen {text}: not an address to listen on")).caused_by(&error).hint(hint)
    })?;
    if let Some(outside) = found.iter().find(|address| !address.ip().to_canonical().is_loopback())
        && !token
    {
        return Err(Error::new(format!("refusing to listen on {outside}: others can reach it, and there is no token"))
            .hint("name a file with a token by --token-file, or listen on a loopback address"));
    }
    Ok(found[0])
}

impl Listening {
    /// Opens the socket and the address. What cannot be had without anybody having asked for it is said, and gone without.
    pub(super) async fn open(&self, state: &WebState, directory: &Path) -> Result<Listeners, Error> {
        let mut listeners = Listeners::default();
        match listeners.socket(state, directory).await {
            Ok(path) => tracing::info!(socket = %path.display(), "listening"),
            Err(error @ BindError::Taken { .. }) => {
                return Err(Error::new("another `landfall run` keeps this set already").caused_by(&error));
            }
            Err(error) => tracing::warn!(error = chain(&error), "going on without a socket"),
        }
        if let Some(address) = self.address {
            match listeners.tcp(state, address).await {
                Ok(bound) => tracing::info!(address = %bound, "listening on http://{bound}/"),
                Err(error) if self.asked => return Err(Error::new("--listen").caused_by(&error)),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "going on without HTTP; --listen names another address");
                }
            }
        }
        Ok(listeners)
    }
}

fn chain(error: &BindError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
