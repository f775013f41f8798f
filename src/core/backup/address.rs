//! Where archives are kept, as `spec.backup.to`, `--to` and `--from` name it.

use std::fmt;
use std::path::PathBuf;

/// A directory for archives, of whatever kind of storage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Of this machine.
    Directory(PathBuf),
    /// `ssh://[user@]host[:port]/path`: written and read by SFTP. A path that begins with `/~/` is one below the user's home.
    Ssh { host: String, path: String },
    /// `s3://bucket/prefix?endpoint=https://…&region=…`
    S3 { bucket: String, prefix: String, endpoint: Option<String>, region: Option<String> },
}

const FORMS: &str = "archives are kept in a directory, on ssh://[user@]host[:port]/path, or in \
                     s3://bucket/prefix?endpoint=https://host&region=name";

impl Address {
    /// The problem, where it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(FORMS.to_owned());
        }
        match text.split_once("://") {
            Some(("ssh", rest)) => ssh(rest),
            Some(("s3", rest)) => s3(rest),
            Some((scheme, _)) if is_scheme(scheme) => {
                Err(format!("{FORMS}; mount what is elsewhere, with rclone for example"))
            }
            _ => Ok(Self::Directory(text.into())),
        }
    }

    /// The path does not depend on the directory that a process was started in.
    pub fn is_absolute(&self) -> bool {
        match self {
            Self::Directory(path) => path.is_absolute(),
            Self::Ssh { .. } | Self::S3 { .. } => true,
        }
    }

    /// What is below it, under that name or relative path.
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(path.join(name)),
            Self::Ssh { host, path } => Self::Ssh { host: host.clone(), path: below(path, name) },
            Self::S3 { bucket, prefix, endpoint, region } => Self::S3 {
                bucket: bucket.clone(),
                prefix: below(prefix, name),
                endpoint: endpoint.clone(),
                region: region.clone(),
            },
        }
    }

    /// What it is below, if it ends in that relative path.
    pub fn strip(&self, end: &str) -> Option<Self> {
        let above = |path: &str| {
            let rest = path.strip_suffix(end)?;
            if rest.is_empty() { Some(String::new()) } else { rest.strip_suffix('/').map(str::to_owned) }
        };
        Some(match self {
            Self::Directory(path) if path.ends_with(end) => {
                let parts = end.split('/').count();
                Self::Directory(path.ancestors().nth(parts)?.to_owned())
            }
            Self::Directory(_) => return None,
            // The root itself stays one.
            Self::Ssh { host, path } => {
                let above = above(path)?;
                Self::Ssh { host: host.clone(), path: if above.is_empty() { "/".to_owned() } else { above } }
            }
            Self::S3 { bucket, prefix, endpoint, region } => Self::S3 {
                bucket: bucket.clone(),
                prefix: above(prefix)?,
                endpoint: endpoint.clone(),
                region: region.clone(),
            },
        })
    }
}

/// A path within a directory of a storage. What is directly in a bucket has no directory.
pub fn below(directory: &str, name: &str) -> String {
    match directory.trim_end_matches('/') {
        "" if directory.is_empty() => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// As it is read again.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Ssh { host, path } => write!(f, "ssh://{host}{path}"),
            Self::S3 { bucket, prefix, endpoint, region } => {
                write!(f, "s3://{bucket}")?;
                if !prefix.is_empty() {
                    write!(f, "/{prefix}")?;
                }
                let query = [("endpoint", endpoint), ("region", region)];
                let given = query.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
                for (number, (name, value)) in given.enumerate() {
                    write!(f, "{}{name}={value}", if number == 0 { '?' } else { '&' })?;
                }
                Ok(())
            }
        }
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.'))
}

fn leads_out(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn ssh(rest: &str) -> Result<Address, String> {
    const FORM: &str = "write ssh://[user@]host[:port]/path";
    let Some((host, path)) = rest.split_once('/') else {
        return Err(format!("the path is missing; {FORM}"));
    };
    let (user, name) = host.rsplit_once('@').map_or((None, host), |(user, name)| (Some(user), name));
    if user.is_some_and(|user| user.contains(':')) {
        return Err("a password does not belong in an address; SSH uses the keys of the user that runs Landfall".into());
    }
    let is_odd = |text: &str| text.is_empty() || text.starts_with('-') || text.contains(char::is_whitespace);
    if user.is_some_and(is_odd) || is_odd(name) || name.starts_with(':') {
        return Err(format!("the user or host is not right; {FORM}"));
    }
    if leads_out(path) || path.trim_matches('/').is_empty() {
        return Err(format!("the path must name a directory, without `..`; {FORM}"));
    }
    Ok(Address::Ssh { host: host.to_owned(), path: format!("/{}", path.trim_matches('/')) })
}

fn s3(rest: &str) -> Result<Address, String> {
    const FORM: &str = "write s3://bucket/prefix?endpoint=https://host&region=name";
    let (place, query) = rest.split_once('?').map_or((rest, ""), |(place, query)| (place, query));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(plain) {
        return Err(format!("the name of the bucket is not right; {FORM}"));
    }
    if leads_out(prefix) || prefix.contains(['#', '\\']) {
        return Err(format!("the prefix is not right; {FORM}"));
    }
    let (mut endpoint, mut region) = (None, None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("endpoint", value)) if is_web(value) => endpoint = Some(value.trim_end_matches('/').to_owned()),
            Some(("endpoint", _)) => {
                return Err("`endpoint` is the address of the server, https://host[:port], without a user".to_owned());
            }
            Some(("region", value)) if !value.is_empty() && value.chars().all(plain) => region = Some(value.to_owned()),
            _ => return Err(format!("`{part}` is neither `endpoint` nor `region`; {FORM}")),
        }
    }
    Ok(Address::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned(), endpoint, region })
}

fn is_web(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '?', '#', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_read() {
        for text in [
            "/srv/backups",
            "backups",
            "ssh://backup@nas.example.com:2222/srv/backups",
            "ssh://nas/~/backups",
            "s3://bucket",
            "s3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu-central-1",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("s3://bucket//a/?").unwrap().to_string(), "s3://bucket/a");
    }

    #[test]
    fn what_is_below_leads_back() {
        for (text, below) in [
            ("/srv/backups", "/srv/backups/a/b"),
            ("ssh://nas/srv", "ssh://nas/srv/a/b"),
            ("s3://bucket", "s3://bucket/a/b"),
            ("s3://bucket/p?region=x", "s3://bucket/p/a/b?region=x"),
        ] {
            let address = Address::parse(text).unwrap();
            let joined = address.join("a").join("b");
            assert_eq!(joined.to_string(), below);
            assert_eq!(joined.strip("a/b"), Some(address));
            assert_eq!(joined.strip("other/b"), None);
        }
    }

    #[test]
    fn what_is_no_place_for_archives_is_refused() {
        for text in [
            "",
            "ftp://nas/backups",
            "ssh://nas",
            "ssh://nas/",
            "ssh:///backups",
            "ssh://user:secret@nas/backups",
            "ssh://-oProxyCommand=x/backups",
            "ssh://nas/srv/../etc",
            "s3:///prefix",
            "s3://bucket/../other",
            "s3://bucket?endpoint=nas",
            "s3://bucket?endpoint=https://key:secret@nas",
            "s3://bucket?acl=public",
            "/srv/\u{1b}[2J",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
