//! Where a repository is: what git may be given, and how it is shown without its credentials.

use std::fmt;

/// The transports that need no helper program chosen by the address. `ext::` runs any command, so helpers are refused altogether.
pub(super) const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];

/// The address of a repository. Shown, logged and compared without what lets one in.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    raw: String,
    shown: String,
    /// Longest first, so that one that contains another goes first.
    secrets: Vec<String>,
}

impl Address {
    /// A URL, `[user@]host:path` as for ssh, or a path on this machine.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return Err("not the address of a repository".to_owned());
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            if !SCHEMES.contains(&scheme) {
                return Err(format!("`{scheme}://` is not supported: use https, http, ssh, git, file or a path"));
            }
            return Self::url(text, scheme, rest);
        }
        let (host, path) = text.split_once(':').unwrap_or((text, ""));
        if path.starts_with(':') && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-')) {
            return Err(format!("`{host}::` names a program for git to run, which is refused"));
        }
        // As git has it: with a slash before the colon it is a path.
        let raw = if path.is_empty() || host.contains('/') {
            let absolute = std::path::absolute(text).map_err(|error| error.to_string())?;
            absolute.to_str().ok_or("the path is not UTF-8")?.to_owned()
        } else {
            text.to_owned()
        };
        Ok(Self { shown: raw.clone(), raw, secrets: Vec::new() })
    }

    fn url(text: &str, scheme: &str, rest: &str) -> Result<Self, String> {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if (scheme == "file") != host.is_empty() || host.starts_with('-') || user.is_some_and(|it| it.starts_with('-'))
        {
            return Err("the address has no host".to_owned());
        }
        let (plain_path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let mut secrets: Vec<String> = query.map(str::to_owned).into_iter().collect();
        let mut shown_user = String::new();
        match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            // For ssh the name is part of the address; for http a token may stand in its place.
            Some((name, password)) if matches!(scheme, "ssh" | "git") => {
                shown_user = format!("{name}@");
                secrets.push(password.to_owned());
            }
            Some((name, password)) => secrets.extend([name, password].map(str::to_owned)),
            None => {}
        }
        secrets.extend(secrets.iter().map(|secret| decoded(secret)).collect::<Vec<_>>());
        // A word of two letters is in every other sentence, and no secret.
        secrets.retain(|secret| secret.len() > 3);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Ok(Self { raw: text.to_owned(), shown: format!("{scheme}://{shown_user}{host}{plain_path}"), secrets })
    }

    /// As it is known by whatever way it is reached: see [`super::origin::place`].
    pub fn place(&self) -> (Option<String>, String) {
        super::origin::place(&self.raw)
    }

    /// For git alone.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    /// Text that may quote the address, without its credentials.
    pub(super) fn scrub(&self, text: &str) -> String {
        let shown = text.replace(&self.raw, &self.shown);
        self.secrets.iter().fold(shown, |text, secret| text.replace(secret, "***"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:?})", self.shown)
    }
}

/// `%2F` and the like as what they stand for: messages may have it either way.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) if *byte == b'%' => {
                out.push(code);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_git_run_a_program_or_reads_as_an_option_is_refused() {
        for bad in [
            "",
            "-oProxyCommand=touch x",
            "--upload-pack=touch x",
            "ext::sh -c touch% x",
            "fd::3",
            "ssh://-oProxyCommand=x/repo",
            "ssh://-x@host/repo",
            "ftp://example.com/repo",
            "https:///repo",
            "https://example.com/a\nb",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
        for good in [
            "https://example.com/shop/manifests.git",
            "ssh://git@example.com:2222/shop.git",
            "git@example.com:shop/manifests.git",
            "git://127.0.0.1:9418/shop",
            "file:///srv/shop.git",
            "/srv/shop.git",
            "../shop.git",
        ] {
            assert!(Address::parse(good).is_ok(), "{good:?}: {:?}", Address::parse(good));
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        let shown = |text: &str| {
            let address = Address::parse(text).unwrap();
            let debug = format!("{address:?}");
            assert!(debug.contains(&address.to_string()));
            (
                address.to_string(),
                address.scrub(&format!("fatal: unable to access '{text}/': s3cr%74et s3crtet tok123")),
            )
        };
        assert_eq!(
            shown("https://deploy:s3cr%74et@example.com/shop.git?x=tok123"),
            (
                "https://example.com/shop.git".to_owned(),
                "fatal: unable to access 'https://example.com/shop.git/': *** *** tok123".to_owned()
            )
        );
        assert_eq!(shown("https://tok123@example.com/shop.git").0, "https://example.com/shop.git");
        assert!(shown("https://tok123@example.com/shop.git").1.ends_with("***"));
        assert_eq!(shown("ssh://git@example.com/shop.git").0, "ssh://git@example.com/shop.git");
        assert_eq!(shown("ssh://git:s3crtet@example.com/shop.git").0, "ssh://git@example.com/shop.git");
    }
}
