//! The store that several controllers share: where it is, and who is spoken to there.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::args::{SetArgs, StateArgs};
use super::{Error, record};
use crate::shell::store::Records;
use crate::shell::store::etcd::{Client, EtcdAddress, EtcdRecords, TlsFiles};

/// Bytes of a file with a password.
const PASSWORD: u64 = 4096;

/// Where the shared store is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct StoreArgs {
    /// etcd that several controllers share, in place of the state directory: etcd://[USER@]HOST:PORT[,HOST:PORT…][/PREFIX], or etcds:// with TLS
    #[arg(long, value_name = "URL", env = "LANDFALL_STORE", hide_env_values = true, help_heading = "Shared store")]
    store: Option<String>,
    /// File with the password of the URL's user; LANDFALL_STORE_PASSWORD has it otherwise
    #[arg(long, value_name = "FILE", env = "LANDFALL_STORE_PASSWORD_FILE", help_heading = "Shared store")]
    store_password_file: Option<PathBuf>,
    /// Authority that has signed the certificates of etcd's members
    #[arg(long, value_name = "FILE", env = "LANDFALL_STORE_CA", help_heading = "Shared store")]
    store_ca: Option<PathBuf>,
    /// Client certificate, where etcd asks for one
    #[arg(long, value_name = "FILE", env = "LANDFALL_STORE_CERT", help_heading = "Shared store")]
    store_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", env = "LANDFALL_STORE_KEY", help_heading = "Shared store")]
    store_key: Option<PathBuf>,
}

impl StoreArgs {
    /// `None`: the state directory.
    pub(super) fn client(&self) -> Result<Option<Client>, Error> {
        let Some(url) = self.store.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        Ok(Some(self.client_of(url)?))
    }

    pub(super) fn client_of(&self, url: &str) -> Result<Client, Error> {
        let tls =
            TlsFiles { ca: self.store_ca.clone(), certificate: self.store_cert.clone(), key: self.store_key.clone() };
        let address = EtcdAddress::parse(url, tls, self.password()?).map_err(|error| {
            Error::new("the address of the store cannot be used").caused_by(&error).hint(
                "etcd://USER@10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379, with the password in --store-password-file",
            )
        })?;
        Ok(Client::new(address))
    }

    /// What has to be there for a command that is about several controllers.
    pub(super) fn required(&self) -> Result<Client, Error> {
        self.client()?.ok_or_else(|| {
            Error::new("this is about controllers that share a store, and none is named")
                .hint("--store etcd://HOST:PORT, or LANDFALL_STORE")
        })
    }

    fn password(&self) -> Result<Option<SecretString>, Error> {
        use std::io::Read;
        let Some(file) = &self.store_password_file else {
            return Ok(std::env::var("LANDFALL_STORE_PASSWORD").ok().filter(|it| !it.is_empty()).map(Into::into));
        };
        let mut text = String::new();
        let read = std::fs::File::open(file).and_then(|file| file.take(PASSWORD).read_to_string(&mut text));
        read.map_err(|error| Error::new(format!("--store-password-file {}", file.display())).caused_by(&error))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned().into()))
    }

    /// The history that commands read.
    pub(super) fn records(&self, state: &StateArgs, set: &SetArgs) -> Result<Arc<dyn Records>, Error> {
        match self.client()? {
            Some(client) => Ok(Arc::new(EtcdRecords::new(client, &set.set, None))),
            None => record::store(state, set),
        }
    }
}
