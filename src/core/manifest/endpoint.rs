//! The endpoint of a Server: from the URL and the fields beside it to what the engine connects to.

use crate::core::api::ServerSpec;
use crate::core::desired::{Endpoint, TcpSecurity};

/// What is wrong, and with which field of `spec`, by its path.
#[derive(Debug, PartialEq)]
pub(super) struct Mistake {
    pub(super) field: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
    /// It is something that is not there.
    pub(super) absent: bool,
}

fn mistake(field: &'static str, message: impl Into<String>, hint: Option<&'static str>) -> Mistake {
    Mistake { field, message: message.into(), hint, absent: false }
}

/// Every mistake, and the endpoint if it can be told.
pub(super) fn resolve(spec: &ServerSpec) -> (Option<Endpoint>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let (scheme, rest) = spec.endpoint.split_once("://").unwrap_or(("", ""));
    let endpoint = match scheme {
        "unix" => unix(rest),
        "tcp" => tcp(rest, spec),
        "ssh" => ssh(rest, spec),
        "context" => context(rest),
        _ => Err(mistake("endpoint", "the scheme must be `unix`, `tcp`, `ssh` or `context`", None)),
    };
    let endpoint = endpoint.map_err(|problem| mistakes.push(problem)).ok();
    for (field, given, of) in
        [("ssh", spec.ssh.is_some(), "ssh"), ("tls", spec.tls.is_some(), "tcp"), ("insecure", spec.insecure, "tcp")]
    {
        if given && scheme != of {
            mistakes.push(mistake(
                field,
                format!("`{field}` is for `{of}://` endpoints, and this one is `{scheme}://`"),
                None,
            ));
        }
    }
    if scheme == "tcp" {
        match (&spec.tls, spec.insecure) {
            (None, false) => mistakes.push(Mistake {
                field: "endpoint",
                message: "a `tcp://` endpoint needs `tls` or `insecure: true`".to_owned(),
                hint: Some("whoever reaches a Docker port without TLS owns the machine"),
                absent: true,
            }),
            (Some(_), true) => {
                mistakes.push(mistake("insecure", "`insecure` contradicts `tls`", Some("take one of them out")))
            }
            _ => {}
        }
    }
    if let Some(ssh) = &spec.ssh
        && ssh.passphrase_file.is_some()
        && ssh.passphrase_env.is_some()
    {
        mistakes.push(mistake("ssh.passphraseEnv", "give one of `passphraseFile` and `passphraseEnv`", None));
    }
    (endpoint, mistakes)
}

fn unix(path: &str) -> Result<Endpoint, Mistake> {
    // Longer does not fit into the kernel's address of a socket.
    const LONGEST: usize = 107;
    if path.len() > LONGEST {
        return Err(mistake("endpoint", format!("the path of a socket has at most {LONGEST} bytes"), None));
    }
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(mistake(
            "endpoint",
            "`unix://` takes the absolute path of a socket",
            Some("such as unix:///var/run/docker.sock"),
        ));
    }
    Ok(Endpoint::Unix { path: path.to_owned() })
}

fn tcp(rest: &str, spec: &ServerSpec) -> Result<Endpoint, Mistake> {
    const FORM: Option<&str> = Some("write tcp://host:port");
    let (host, port, path) =
        authority(rest).ok_or_else(|| mistake("endpoint", "the host or port is not right", FORM))?;
    if !matches!(path, None | Some("/")) {
        return Err(mistake("endpoint", "a `tcp://` endpoint has no path", FORM));
    }
    if host.contains('@') {
        return Err(mistake("endpoint", "a `tcp://` endpoint has no user", FORM));
    }
    // Docker's registered ports.
    let port = port.unwrap_or(if spec.tls.is_some() { 2376 } else { 2375 });
    let security = spec.tls.clone().map_or(TcpSecurity::Plain, TcpSecurity::Tls);
    Ok(Endpoint::Tcp { host: host.to_owned(), port, security })
}

fn ssh(rest: &str, spec: &ServerSpec) -> Result<Endpoint, Mistake> {
    const FORM: Option<&str> = Some("write ssh://[user@]host[:port][/path/docker.sock]");
    let (user, rest) = match rest.split_once('/').map_or(rest, |(authority, _)| authority).rsplit_once('@') {
        Some((user, _)) => (Some(user), rest.get(user.len() + 1..).unwrap_or_default()),
        None => (None, rest),
    };
    match user {
        Some("") => return Err(mistake("endpoint", "the user is empty", FORM)),
        Some(user) if user.contains(':') => {
            return Err(mistake(
                "endpoint",
                "a password does not belong in an endpoint",
                Some("use a key: `ssh.identityFile`"),
            ));
        }
        Some(user) if user.starts_with('-') || user.contains(char::is_whitespace) => {
            return Err(mistake("endpoint", "the user is not right", FORM));
        }
        _ => {}
    }
    let (host, port, path) =
        authority(rest).ok_or_else(|| mistake("endpoint", "the host or port is not right", FORM))?;
    Ok(Endpoint::Ssh {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port,
        socket: path.filter(|path| *path != "/").map(str::to_owned),
        settings: spec.ssh.clone(),
    })
}

fn context(name: &str) -> Result<Endpoint, Mistake> {
    let valid = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c));
    if !valid {
        return Err(mistake(
            "endpoint",
            "`context://` takes the name of a Docker CLI context",
            Some("`docker context ls` lists them"),
        ));
    }
    Ok(Endpoint::Context { name: name.to_owned() })
}

/// `host`, `host:port` or `[v6]:port`, and the path after it.
fn authority(text: &str) -> Option<(&str, Option<u16>, Option<&str>)> {
    let (authority, path) = match text.find('/') {
        Some(slash) => (text.get(..slash)?, text.get(slash..)),
        None => (text, None),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let ok = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(ok) {
        return None;
    }
    let port = match port {
        None => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
    };
    Some((host, port, path))
}
