//! `etcd://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/PREFIX]`, and `etcds://` with TLS.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

const PORT: u16 = 2379;
const PREFIX: &str = "landfall";
/// Endpoints of one cluster: more than seven members nobody has.
const ENDPOINTS: usize = 16;

/// Where a cluster is, and as whom it is spoken to. Shown without the password.
#[derive(Debug, Clone)]
pub struct EtcdAddress {
    pub endpoints: Vec<(String, u16)>,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    /// Of every key, without a slash at either end.
    pub prefix: String,
    pub secure: bool,
    pub tls: TlsFiles,
}

/// PEM files of `etcds://`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// Says nothing of what may be a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("a store's address begins with etcd:// or etcds://")]
    Scheme,
    #[error("{0:?} is no HOST or HOST:PORT")]
    Endpoint(String),
    #[error("it names no endpoint, or more than {ENDPOINTS}")]
    Endpoints,
    #[error("user or password are not percent-encoded as they have to be")]
    Encoding,
    #[error("a prefix consists of letters, digits, `-`, `_`, `.` and single slashes")]
    Prefix,
    #[error("etcds:// needs the authority that has signed the members' certificates: --store-ca FILE")]
    NoAuthority,
    #[error("a client certificate is --store-cert FILE and --store-key FILE together")]
    HalfACertificate,
    #[error("certificates are for etcds://, which speaks TLS")]
    NotSecure,
    #[error("there is a password, and no user in the address: etcd://USER@HOST…")]
    NoUser,
}

impl EtcdAddress {
    pub fn parse(text: &str, tls: TlsFiles, password: Option<SecretString>) -> Result<Self, AddressError> {
        let (secure, rest) = match (text.strip_prefix("etcds://"), text.strip_prefix("etcd://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(AddressError::Scheme),
        };
        // A password may have any of these characters only percent-encoded.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, PREFIX));
        let endpoints = hosts.split(',').map(endpoint).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() || endpoints.len() > ENDPOINTS {
            return Err(AddressError::Endpoints);
        }
        let (user, own) =
            match credentials.map(|it| it.split_once(':').map_or((it, None), |(user, word)| (user, Some(word)))) {
                None => (None, None),
                Some((user, word)) => (Some(decoded(user)?), word.map(decoded).transpose()?),
            };
        let password = password.or(own.map(SecretString::from));
        if password.is_some() && user.as_ref().is_none_or(String::is_empty) {
            return Err(AddressError::NoUser);
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { PREFIX } else { prefix };
        let fits =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !prefix.split('/').all(fits) || prefix.len() > 128 {
            return Err(AddressError::Prefix);
        }
        match (secure, &tls) {
            (false, tls) if *tls != TlsFiles::default() => return Err(AddressError::NotSecure),
            (true, TlsFiles { ca: None, .. }) => return Err(AddressError::NoAuthority),
            (true, tls) if tls.certificate.is_some() != tls.key.is_some() => {
                return Err(AddressError::HalfACertificate);
            }
            _ => {}
        }
        Ok(Self { endpoints, user, password, prefix: prefix.to_owned(), secure, tls })
    }

    pub(super) fn credentials(&self) -> Option<(&str, &str)> {
        Some((self.user.as_deref()?, self.password.as_ref().map_or("", |it| it.expose_secret())))
    }
}

impl fmt::Display for EtcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.endpoints.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let scheme = if self.secure { "etcds" } else { "etcd" };
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        write!(f, "{scheme}://{user}{}/{}", hosts.join(","), self.prefix)
    }
}

fn endpoint(text: &str) -> Result<(String, u16), AddressError> {
    let odd = || AddressError::Endpoint(text.to_owned());
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without a port.
        Some(_) if text.ends_with(']') => (text, PORT),
        Some((host, port)) => (host, port.parse().map_err(|_| odd())?),
        None => (text, PORT),
    };
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let fits = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)),
    };
    if fits { Ok((host.to_owned(), port)) } else { Err(odd()) }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|it| char::from(it).to_digit(16));
                let number = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                number.and_then(|it| u8::try_from(it).ok()).ok_or(AddressError::Encoding)?
            }
            b'/' | b',' | b'@' => return Err(AddressError::Encoding),
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<EtcdAddress, AddressError> {
        EtcdAddress::parse(text, TlsFiles::default(), None)
    }

    #[test]
    fn an_address_has_hosts_a_user_and_a_prefix_and_is_shown_without_its_password() {
        let address = parsed("etcd://landfall:p%40ss%3A@one:2379,two,[::1]:3379,[::2]/shop/fleet").unwrap();
        let host = |name: &str, port| (name.to_owned(), port);
        assert_eq!(address.endpoints, [host("one", 2379), host("two", 2379), host("[::1]", 3379), host("[::2]", 2379)]);
        assert_eq!(address.credentials(), Some(("landfall", "p@ss:")));
        assert_eq!(address.to_string(), "etcd://landfall@one:2379,two:2379,[::1]:3379,[::2]:2379/shop/fleet");
        assert!(!format!("{address:?}").contains("p@ss"));
        assert_eq!(parsed("etcd://one").unwrap().prefix, "landfall");
        let given = EtcdAddress::parse("etcd://u@one", TlsFiles::default(), Some("other".to_owned().into())).unwrap();
        assert_eq!(given.credentials(), Some(("u", "other")));
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_part_of_a_password_is_repeated() {
        let refused = |text| parsed(text).unwrap_err();
        assert_eq!(refused("http://one:2379"), AddressError::Scheme);
        assert_eq!(refused("etcd://"), AddressError::Endpoint(String::new()));
        assert_eq!(refused("etcd://one:port"), AddressError::Endpoint("one:port".to_owned()));
        assert_eq!(refused("etcd://one/a//b"), AddressError::Prefix);
        assert_eq!(refused("etcd://u:se/cret@one"), AddressError::Encoding);
        assert_eq!(refused("etcd://u:%zz@one"), AddressError::Encoding);
        assert_eq!(refused("etcd://:secret@one"), AddressError::NoUser);
        assert_eq!(refused("etcds://one"), AddressError::NoAuthority);
        let half = TlsFiles { ca: Some("ca".into()), certificate: Some("cert".into()), key: None };
        let refused = |text, tls: &TlsFiles| EtcdAddress::parse(text, tls.clone(), None).unwrap_err();
        assert_eq!(refused("etcds://one", &half), AddressError::HalfACertificate);
        assert_eq!(refused("etcd://one", &half), AddressError::NotSecure);
    }
}
